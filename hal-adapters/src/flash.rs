//! A [`Store`] on NOR flash: blocks that outlive a reset and a loss of power at any time.
//!
//! The flash is a ring of sectors with a log in it. A reservation takes its room at the head of the log;
//! its bytes are written there as they come, with a checksum behind each page, and none is written twice
//! between two erases. The commit comes last, in 32 bytes with a checksum of their own, without which there
//! is no such block. A sector is erased when the log comes to it: at most one in a call, unless the piece
//! that is written is longer than a sector.
//!
//! **Which block goes.** The sector that was written longest ago, with all its blocks, used or not: to keep
//! those in use would mean to copy them, which wears the flash. The log jumps over sectors with blocks that
//! are pinned or being written. Sectors are erased in turn, so that their erase counts differ by one, and by
//! one more for each time that one was jumped over, with those before it that are too few for a block, or
//! that the power went during its erase. What was reserved and not committed has its room until the log
//! comes round, and has evicted others for it: who sends blocks that do not verify wears the flash.
//!
//! **What it takes** beside the bytes of blocks: 32 bytes of each sector, 64 and a word of each block, and
//! a word of each 4 KiB of one. In RAM, a row of the index for each block; no block is ever in it.
//!
//! **After a loss of power** each block is there whose commit had returned, unless it had to go. A flash
//! must read a word whose writing was cut off as anything but erased, or let it be written again; and must
//! fail, and not trap, where an ECC finds a word damaged.
//!
//! **Damage** is found by checksums: at mounting in what is read then, 64 bytes and a word for each block
//! and 32 for each sector; in a block's pages when they are read. A damaged record takes those behind it
//! that begin in the same sector along, since only it says where they begin.
//!
//! **Age.** Flash has no clock. Blocks have the seconds of a clock that whoever mounts may know, such as
//! that of a battery; without one it goes on from the latest time that is found in the flash: what
//! is not powered, and what passes after the last write before a reset, does not count.
//!
//! Why not sequential-storage 8: an item must lie in one sector and in one buffer in RAM; a block of 64 KiB
//! often fits in neither. It is async, which a [`Store`] is not.

mod device;
mod layout;
mod starts;

use core::fmt;

use embedded_storage::nor_flash::NorFlash;
use peerdist_core::content::SegmentId;
use peerdist_core::store::verify::Verified;
use peerdist_core::store::{
    BlockId, Label, Labels, MAX_AGE, ReserveError, SlotId, Store, StoreError, Stored,
};
use peerdist_core::time::{Duration, Instant};

use self::device::{Device, Failed, MAX_WORD, Opening, Span};
use self::layout::{Commit, Crc, Name, PAGE_BYTES, Record, Sector, Words};
use crate::clock::Clock;

pub use starts::{Uncountable, count_start};

/// Bytes of a page that are read at once to check it, on the stack.
const CHECK_BYTES: usize = 128;

/// A row of the index: a block that is committed or being written, in less than 100 bytes.
#[derive(Clone)]
pub struct Entry {
    name: Name,
    span: Span,
    generation: u32,
    pins: u8,
    labels: Labels,
    state: State,
}

impl Entry {
    /// A row without a block.
    pub const EMPTY: Self = Self {
        name: Name { tag: [0; 4], index: 0 },
        span: Span { sector: 0, within: 0, seq: 0, len: 0 },
        generation: 0,
        pins: 0,
        labels: Labels::NONE,
        state: State::Free,
    };
}

/// Blocks on a NOR flash, with an index in memory that the caller lends: an array, a `&mut` slice or, on a
/// host, a `Vec`, of as many rows as blocks are kept at most.
///
/// Bytes of a block are written in order, as everybody in core does: pieces of any length, each where the
/// last one ended, or they are [`StoreError::OutOfRange`]. A slot is read once it is full. A write that
/// fails is [`StoreError::Damaged`] and the end of its slot, which its owner releases.
///
/// An erase can take seconds, in which the caller waits.
pub struct FlashStore<F: NorFlash, E> {
    device: Device<F>,
    entries: E,
    head: Head,
    clock: Clock,
    max_age: Duration,
    /// The page that was read last, and found to be whole: row and number.
    whole: Option<(u32, u32)>,
    evicted: u32,
}

/// The flash has less than two sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;

#[derive(Clone, Copy)]
enum State {
    Free,
    Reserved(Writer),
    Committed(Commit),
}

/// How far the writing of a block is.
#[derive(Clone, Copy)]
struct Writer {
    /// Bytes that have come, the rest of a word among them. [`FAILED`] if a write failed.
    written: u32,
    /// Of the page so far.
    crc: Crc,
    /// What does not fill a word yet.
    rest: [u8; MAX_WORD],
}

/// No offset: a block is shorter.
const FAILED: u32 = u32::MAX;

/// Where the log goes on: as a [`Span`]. At the end of a sector it is `PAYLOAD` within.
#[derive(Clone, Copy)]
struct Head {
    sector: u32,
    within: u32,
    seq: u32,
}

/// Room for a record, and the sectors that are erased for it.
struct Room {
    span: Span,
    first: u32,
    count: u32,
}

impl<F: NorFlash, E: AsRef<[Entry]> + AsMut<[Entry]>> FlashStore<F, E> {
    /// Takes a flash that is nobody else's, and finds the blocks on it. What is on it else is taken for an
    /// erased one. If there are more blocks than rows, the oldest go. A mount reads, but for these.
    ///
    /// `seconds` is the time by a clock that goes on over resets, such as that of Unix; 0 without one.
    pub fn mount(flash: F, mut entries: E, seconds: u32) -> Result<Self, TooSmall> {
        entries.as_mut().fill(Entry::EMPTY);
        let device = Device::new(flash).ok_or(TooSmall)?;
        // As if the last sector were full: the log begins at the first.
        let sector = device.sectors().saturating_sub(1);
        let head = Head { sector, within: Device::<F>::PAYLOAD, seq: 0 };
        let clock = Clock::new(seconds.into());
        let mut store = Self { device, entries, head, clock, max_age: MAX_AGE, whole: None, evicted: 0 };
        for sector in 0..store.device.sectors() {
            store.load(sector);
        }
        Ok(store)
    }

    /// Sets how long a block is kept after it was committed, if not for [`MAX_AGE`].
    pub fn set_max_age(&mut self, max_age: Duration) {
        self.max_age = max_age;
    }

    /// Committed blocks.
    pub fn count(&self) -> usize {
        self.entries.as_ref().iter().filter(|entry| entry.committed().is_some()).count()
    }

    /// Those of them that are too old to be found, and will go.
    pub fn expired(&self) -> usize {
        let expired = |entry: &&Entry| entry.committed().is_some_and(|commit| self.is_expired(commit));
        self.entries.as_ref().iter().filter(expired).count()
    }

    /// Segments that have committed blocks.
    pub fn segments(&self) -> usize {
        let tag = |entry: &Entry| entry.committed().map(|_| entry.name.tag);
        let tags = || self.entries.as_ref().iter().map(tag);
        // Each counts where it is for the first time.
        let first =
            |(row, it): &(usize, Option<_>)| it.is_some() && !tags().take(*row).any(|other| other == *it);
        tags().enumerate().filter(first).count()
    }

    /// How many sectors the log has come to since the flash was new: divided by how many there are, about
    /// how often each was erased.
    pub fn sectors_used(&self) -> u32 {
        self.head.seq
    }

    /// How many blocks have gone for others since it was mounted.
    pub fn evicted(&self) -> u32 {
        self.evicted
    }

    /// How often the flash has failed since then.
    pub fn failures(&self) -> u32 {
        self.device.failures
    }

    /// Why the flash failed last, once.
    pub fn take_error(&mut self) -> Option<F::Error> {
        self.device.error.take()
    }

    /// Finds what begins in a sector.
    fn load(&mut self, sector: u32) {
        let Ok(Some(header)) = self.device.header(sector) else { return };
        self.go_on_from(header.seconds);
        let mut within = header.first;
        while within <= Device::<F>::PAYLOAD - Device::<F>::FRONT {
            let mut words: Words = [[0; 4]; _];
            let mut span = Span { sector, within, seq: header.seq, len: 0 };
            let read = self.device.read_record(&span, Device::<F>::RECORD, words.as_flattened_mut());
            if read.is_ok() && words.as_flattened().iter().all(|byte| *byte == 0xff) {
                // Nothing was written here yet.
                break;
            }
            let record = Record::parse(&words).filter(|record| read.is_ok() && record.seq == header.seq);
            let end = record.and_then(|record| {
                let len = self.device.record_len(record.len)?;
                span.len = record.len;
                self.adopt(&record, span);
                Some(len)
            });
            // Who was damaged, or cut off, does not tell where the next one begins.
            within = within.saturating_add(end.unwrap_or(Device::<F>::PAYLOAD));
        }
        if header.seq > self.head.seq {
            self.head = Head { sector, within: within.min(Device::<F>::PAYLOAD), seq: header.seq };
        }
    }

    /// Takes a record into the index if it was committed, and not removed since.
    fn adopt(&mut self, record: &Record, span: Span) {
        let (mut mark, mut words) = ([0; MAX_WORD], [[0; 4]; _]);
        let mark = mark.get_mut(..F::WRITE_SIZE).unwrap_or_default();
        let read = self.device.read_record(&span, 0, mark);
        let read = read.and(self.device.read_record(&span, Device::<F>::COMMIT, words.as_flattened_mut()));
        let Some(commit) = Commit::parse(&words, record.seed()) else { return };
        if read.is_err() || mark.iter().any(|byte| *byte != 0xff) {
            return;
        }
        self.go_on_from(commit.seconds);
        // A removal that failed may have left an older one of the same name.
        let other = self.row(&record.name).or_else(|| self.free()).or_else(|| self.oldest());
        let Some(index) = other else { return };
        let age = |span: &Span| (span.seq, span.within);
        if self.entry_at(index).is_none_or(|entry| entry.is_free() || age(&entry.span) < age(&span)) {
            self.remove(index);
            self.set(index, record.name, span, State::Committed(commit));
        }
    }

    fn entry_at(&self, index: u32) -> Option<&Entry> {
        self.entries.as_ref().get(index as usize)
    }

    fn entry(&self, slot: SlotId) -> Result<&Entry, StoreError> {
        let live = |entry: &&Entry| !entry.is_free() && entry.generation == slot.generation;
        self.entry_at(slot.index).filter(live).ok_or(StoreError::Stale)
    }

    /// The writer of a slot that is reserved.
    fn writer(&self, slot: SlotId) -> Result<(&Entry, Writer), StoreError> {
        let entry = self.entry(slot)?;
        let State::Reserved(writer) = entry.state else { return Err(StoreError::Stale) };
        Ok((entry, writer))
    }

    fn entry_mut(&mut self, slot: SlotId) -> Option<&mut Entry> {
        self.entry(slot).ok()?;
        self.entries.as_mut().get_mut(slot.index as usize)
    }

    /// Gives a row to another block.
    fn set(&mut self, index: u32, name: Name, span: Span, state: State) -> SlotId {
        let mut slot = SlotId { index, generation: 0 };
        if let Some(entry) = self.entries.as_mut().get_mut(index as usize) {
            slot.generation = entry.generation.wrapping_add(1);
            *entry = Entry { name, span, generation: slot.generation, pins: 0, labels: Labels::NONE, state };
        }
        slot
    }

    /// Puts another state in place of a slot's own.
    fn set_state(&mut self, slot: SlotId, state: State) {
        if let Some(entry) = self.entry_mut(slot) {
            entry.state = state;
        }
    }

    fn rows(&self) -> impl Iterator<Item = (u32, &Entry)> {
        (0u32..).zip(self.entries.as_ref())
    }

    /// The row of that block, reserved or committed.
    fn row(&self, name: &Name) -> Option<u32> {
        let is_it = |(_, entry): &(u32, &Entry)| !entry.is_free() && entry.name == *name;
        self.rows().find(is_it).map(|(index, _)| index)
    }

    fn free(&self) -> Option<u32> {
        self.rows().find(|(_, entry)| entry.is_free()).map(|(index, _)| index)
    }

    /// The committed block that was written longest ago, if it is not pinned.
    fn oldest(&self) -> Option<u32> {
        let loose = self.rows().filter(|(_, entry)| entry.committed().is_some() && entry.pins == 0);
        loose.min_by_key(|(_, entry)| (entry.span.seq, entry.span.within)).map(|(index, _)| index)
    }

    /// The committed blocks of `segment` that are not too old.
    fn of_segment(&self, segment: &SegmentId) -> impl Iterator<Item = (u32, Commit)> {
        let segment = *segment;
        self.entries.as_ref().iter().filter_map(move |entry| {
            let commit = entry.committed().filter(|commit| !self.is_expired(commit))?;
            Some((entry.name.index_in(&segment)?, *commit))
        })
    }

    /// How a record goes on into sectors.
    fn opening(&self, span: &Span) -> Opening {
        let last = span.seq.saturating_add(self.device.sectors_of(span).saturating_sub(1));
        let behind = |entry: &Entry| !entry.is_free() && entry.span.seq > span.seq && entry.span.seq <= last;
        Opening { seconds: self.seconds(), shared: self.entries.as_ref().iter().any(behind) }
    }

    /// Whether it is too old, and nobody reads it.
    fn may_expire(&self, entry: &Entry) -> bool {
        entry.pins == 0 && entry.committed().is_some_and(|commit| self.is_expired(commit))
    }

    /// The clock is not behind what was written by it.
    fn go_on_from(&mut self, seconds: u32) {
        self.clock.set(self.clock.now().max(seconds.into()));
    }

    /// Seconds as they are written; what is later than the year 2106 is of that year.
    fn seconds(&self) -> u32 {
        u32::try_from(self.clock.now()).unwrap_or(u32::MAX)
    }

    fn is_expired(&self, commit: &Commit) -> bool {
        let age = self.clock.now().saturating_sub(commit.seconds.into());
        Duration::from_secs(age) > self.max_age
    }

    /// Empties a row. A committed block is marked in the flash; should that fail, it may come back with the
    /// next mount, and goes again with its sector.
    fn remove(&mut self, index: u32) {
        let Some(entry) = self.entries.as_mut().get_mut(index as usize) else { return };
        let Entry { span, generation, state, .. } = core::mem::replace(entry, Entry::EMPTY);
        entry.generation = generation;
        self.whole = None;
        if let State::Committed(_) = state {
            let mark = [0; MAX_WORD];
            let mark = mark.get(..F::WRITE_SIZE).unwrap_or_default();
            let _ = self.device.write_record(&span, 0, mark, Opening::default());
        }
    }

    /// The same, for another block.
    fn evict(&mut self, index: u32) {
        let gone = self.entry_at(index).is_some_and(|entry| entry.committed().is_some());
        self.evicted = self.evicted.saturating_add(gone.into());
        self.remove(index);
    }

    /// Finds room for a record: where the log is, if nobody holds the sectors to which it would go on from
    /// there, or else from the next sector that begins enough that nobody holds.
    fn room(&self, len: u32) -> Option<Room> {
        let record = self.device.record_len(len)?;
        let Head { sector, within, seq } = self.head;
        if within <= Device::<F>::PAYLOAD - Device::<F>::FRONT {
            let span = Span { sector, within, seq, len };
            let (first, count) =
                (self.device.after(sector, 1), self.device.sectors_of(&span).saturating_sub(1));
            if count < self.device.sectors() && self.holder(first, count).is_none() {
                return Some(Room { span, first, count });
            }
        }
        let count = record.div_ceil(Device::<F>::PAYLOAD);
        let mut ahead = 1;
        // Not round to the log's own: half erased, it would still look like the newest.
        while ahead < self.device.sectors() {
            let first = self.device.after(sector, ahead);
            match self.holder(first, count) {
                Some(past) => ahead = ahead.saturating_add(past),
                None => {
                    let span = Span { sector: first, within: 0, seq: seq.saturating_add(1), len };
                    return Some(Room { span, first, count });
                }
            }
        }
        None
    }

    /// Whether somebody who may not go is in one of `count` sectors; how many it takes to get past.
    fn holder(&self, first: u32, count: u32) -> Option<u32> {
        let held = |entry: &&Entry| entry.pins > 0 || matches!(entry.state, State::Reserved(_));
        let mut held = self.entries.as_ref().iter().filter(held);
        held.find_map(|entry| self.overlap(&entry.span, first, count))
    }

    /// Whether a record lies in one of `count` sectors; how many it takes to get past.
    fn overlap(&self, span: &Span, first: u32, count: u32) -> Option<u32> {
        let (before, all) = (self.device.distance(first, span.sector), self.device.sectors());
        let end = before.saturating_add(self.device.sectors_of(span));
        let meets = count > 0 && (before < count || end > all);
        meets.then(|| end.checked_sub(all).filter(|past| *past > 0).unwrap_or(end))
    }

    /// Removes the blocks in a room's sectors, and begins its record.
    fn begin(&mut self, room: &Room, name: Name) -> Result<(), Failed> {
        for index in 0..self.entries.as_ref().len() as u32 {
            let goes = |entry: &&Entry| {
                !entry.is_free() && self.overlap(&entry.span, room.first, room.count).is_some()
            };
            if self.entry_at(index).filter(goes).is_some() {
                self.evict(index);
            }
        }
        let Span { sector, within, seq, len } = room.span;
        // What begins behind this record is behind it, should it fail.
        self.head = Head { sector, within: Device::<F>::PAYLOAD, seq };
        let opening = self.opening(&room.span);
        let header = Sector { seq, first: within, seconds: opening.seconds };
        self.device.open(sector, header, within > 0)?;
        let record = Record { name, seq, len }.emit();
        self.device.write_record(&room.span, Device::<F>::RECORD, record.as_flattened(), opening)?;
        let end = within.saturating_add(self.device.record_len(len).unwrap_or(0));
        let passed = self.device.sectors_of(&room.span).saturating_sub(1);
        self.head = Head {
            sector: self.device.after(sector, passed),
            within: end.saturating_sub(passed.saturating_mul(Device::<F>::PAYLOAD)),
            seq: seq.saturating_add(passed),
        };
        Ok(())
    }

    /// Writes the next bytes of a block, in whole words as far as they go, and the checksum of each page
    /// that is full.
    fn put(&mut self, entry: &Entry, writer: &mut Writer, mut bytes: &[u8]) -> Result<(), Failed> {
        let Entry { span, .. } = entry;
        let (word, opening) = (F::WRITE_SIZE, self.opening(span));
        while !bytes.is_empty() {
            let (page, within) = (writer.written / PAGE_BYTES, writer.written % PAGE_BYTES);
            let page_len = page_len(span.len, page);
            if within == 0 {
                writer.crc = page_crc(entry, page);
            }
            let (now, later) = bytes.split_at_checked((page_len - within) as usize).unwrap_or((bytes, &[]));
            writer.crc.update(now);
            let at = Device::<F>::page_at(page).saturating_add(within);
            let end = within.saturating_add(now.len() as u32);
            // First the word that has begun, then those that are whole, and the rest is kept.
            let begun = within as usize % word;
            let fill = if begun == 0 { 0 } else { now.len().min(word - begun) };
            let (head, now) = now.split_at_checked(fill).unwrap_or((now, &[]));
            let rest = writer.rest.get_mut(begun..).unwrap_or_default();
            rest.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
            if begun > 0 && begun + fill == word {
                self.write_rest(span, at - begun as u32, &writer.rest)?;
            }
            let (whole, tail) = now.split_at_checked(now.len() / word * word).unwrap_or((now, &[]));
            self.device.write_record(span, at.saturating_add(fill as u32), whole, opening)?;
            writer.rest.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
            if end == page_len {
                let mut at = Device::<F>::page_at(page).saturating_add(end);
                let begun = end as usize % word;
                if begun > 0 {
                    writer.rest.iter_mut().skip(begun).for_each(|byte| *byte = 0xff);
                    self.write_rest(span, at - begun as u32, &writer.rest)?;
                    at = at.next_multiple_of(Device::<F>::WORD);
                }
                let mut padded = [0xff; MAX_WORD];
                padded.iter_mut().zip(writer.crc.value().to_le_bytes()).for_each(|(to, from)| *to = from);
                let checksum = padded.get(..Device::<F>::CHECKSUM as usize).unwrap_or_default();
                self.device.write_record(span, at, checksum, opening)?;
            }
            writer.written = writer.written.saturating_add((head.len() + now.len()) as u32);
            bytes = later;
        }
        Ok(())
    }

    fn write_rest(&mut self, span: &Span, at: u32, rest: &[u8; MAX_WORD]) -> Result<(), Failed> {
        let word = rest.get(..F::WRITE_SIZE).unwrap_or_default();
        self.device.write_record(span, at, word, self.opening(span))
    }

    /// Whether a page of a block is what was written.
    fn check(&mut self, entry: &Entry, page: u32) -> Result<(), StoreError> {
        let mut crc = page_crc(entry, page);
        let mut at = Device::<F>::page_at(page);
        let len = page_len(entry.span.len, page);
        let mut left = len as usize;
        while left > 0 {
            let mut piece = [0; CHECK_BYTES];
            let piece = piece.get_mut(..left.min(CHECK_BYTES)).unwrap_or_default();
            self.device.read_record(&entry.span, at, piece)?;
            crc.update(piece);
            at = at.saturating_add(piece.len() as u32);
            left -= piece.len();
        }
        let mut checksum = [0; 4];
        let at = Device::<F>::page_at(page).saturating_add(len.next_multiple_of(Device::<F>::WORD));
        self.device.read_record(&entry.span, at, &mut checksum)?;
        if u32::from_le_bytes(checksum) == crc.value() {
            return Ok(());
        }
        warning!("page {} of a block in sector {} is damaged", page, entry.span.sector);
        Err(StoreError::Damaged)
    }
}

impl<F: NorFlash, E: AsRef<[Entry]> + AsMut<[Entry]>> Store for FlashStore<F, E> {
    fn reserve(&mut self, block: &BlockId, len: u32) -> Result<SlotId, ReserveError> {
        let name = Name::of(block);
        if let Some(index) = self.row(&name) {
            if !self.entry_at(index).is_some_and(|entry| self.may_expire(entry)) {
                return Err(ReserveError::Exists);
            }
            self.remove(index);
        }
        // Nobody goes in vain.
        let room = self.room(len).ok_or(ReserveError::Full)?;
        self.free().or_else(|| self.oldest()).ok_or(ReserveError::Full)?;
        self.begin(&room, name).map_err(|Failed| ReserveError::Full)?;
        let index = self.free().or_else(|| self.oldest()).ok_or(ReserveError::Full)?;
        self.evict(index);
        let writer = Writer { written: 0, crc: Crc::new(0), rest: [0; _] };
        Ok(self.set(index, name, room.span, State::Reserved(writer)))
    }

    fn write(&mut self, slot: SlotId, offset: u32, bytes: &[u8]) -> Result<(), StoreError> {
        let (entry, mut writer) = self.writer(slot)?;
        entry.has(offset, bytes.len())?;
        if offset != writer.written {
            return Err(StoreError::OutOfRange);
        }
        let entry = entry.clone();
        let put = self.put(&entry, &mut writer, bytes);
        if put.is_err() {
            writer.written = FAILED;
        }
        self.set_state(slot, State::Reserved(writer));
        Ok(put?)
    }

    fn read(&mut self, slot: SlotId, mut offset: u32, mut buf: &mut [u8]) -> Result<(), StoreError> {
        let entry = self.entry(slot)?;
        entry.has(offset, buf.len())?;
        if matches!(entry.state, State::Reserved(Writer { written, .. }) if written != entry.span.len) {
            return Err(StoreError::OutOfRange);
        }
        let entry = entry.clone();
        while !buf.is_empty() {
            let (page, within) = (offset / PAGE_BYTES, offset % PAGE_BYTES);
            // Each page is checked when reading enters it; small reads stay in one for a while.
            if self.whole != Some((slot.index, page)) {
                self.check(&entry, page)?;
                self.whole = Some((slot.index, page));
            }
            let left = page_len(entry.span.len, page).saturating_sub(within);
            let now = buf.len().min(left as usize);
            let (now, later) = core::mem::take(&mut buf).split_at_mut(now);
            self.device.read_record(&entry.span, Device::<F>::page_at(page).saturating_add(within), now)?;
            offset = offset.saturating_add(left);
            buf = later;
        }
        Ok(())
    }

    fn commit(&mut self, verified: Verified) -> Result<(), StoreError> {
        let slot = verified.slot();
        let (&Entry { name, span, .. }, mut writer) = self.writer(slot)?;
        if writer.written != span.len {
            return Err(StoreError::OutOfRange);
        }
        let seconds = self.seconds();
        let commit = Commit { seal: verified.seal(), plain_len: verified.plain_len(), seconds };
        let words = commit.emit(Record { name, seq: span.seq, len: span.len }.seed());
        let written = self.device.write_record(
            &span,
            Device::<F>::COMMIT,
            words.as_flattened(),
            Opening { seconds, shared: true },
        );
        if written.is_err() {
            writer.written = FAILED;
        }
        self.set_state(
            slot,
            if written.is_ok() { State::Committed(commit) } else { State::Reserved(writer) },
        );
        Ok(written?)
    }

    fn release(&mut self, slot: SlotId) {
        if self.entry(slot).is_ok() {
            self.remove(slot.index);
        }
    }

    fn pin(&mut self, slot: SlotId) {
        if let Some(entry) = self.entry_mut(slot) {
            entry.pins = entry.pins.saturating_add(1);
        }
    }

    fn unpin(&mut self, slot: SlotId) {
        if let Some(entry) = self.entry_mut(slot) {
            entry.pins = entry.pins.saturating_sub(1);
        }
    }

    fn find(&self, block: &BlockId) -> Option<Stored> {
        let index = self.row(&Name::of(block))?;
        let entry = self.entry_at(index)?;
        let commit = entry.committed().filter(|commit| !self.is_expired(commit))?;
        Some(Stored {
            slot: SlotId { index, generation: entry.generation },
            seal: commit.seal,
            len: entry.span.len,
            plain_len: commit.plain_len,
        })
    }

    fn blocks(&self, segment: &SegmentId) -> u32 {
        self.of_segment(segment).count() as u32
    }

    fn next_block(&self, segment: &SegmentId, index: u32) -> Option<u32> {
        self.of_segment(segment).map(|(other, _)| other).filter(|other| *other > index).min()
    }

    fn label(&mut self, slot: SlotId, label: Label) {
        if let Some(entry) = self.entry_mut(slot).filter(|entry| entry.committed().is_some()) {
            entry.labels.put(label);
        }
    }

    fn forget_labelled(&mut self, label: Label) -> bool {
        for index in 0..self.entries.as_ref().len() {
            let Some(entry) = self.entries.as_mut().get_mut(index) else { break };
            let pinned = entry.pins > 0;
            if entry.labels.take_off(label, pinned) {
                self.remove(index as u32);
            }
        }
        !self.is_labelled(label)
    }

    fn is_labelled(&self, label: Label) -> bool {
        self.entries.as_ref().iter().any(|entry| entry.labels.has(label))
    }

    /// Too old blocks are not found; one goes with each second that passes, since each is a write.
    fn set_time(&mut self, now: Instant) {
        if !self.clock.tell(now) {
            return;
        }
        let found = self.rows().find(|(_, entry)| self.may_expire(entry)).map(|(index, _)| index);
        if let Some(index) = found {
            self.remove(index);
        }
    }

    fn age(&self, segment: &SegmentId, now: Instant) -> Option<Duration> {
        let oldest = self.of_segment(segment).map(|(_, commit)| commit.seconds).min()?;
        Some(Duration::from_secs(self.clock.at(now).saturating_sub(oldest.into())))
    }
}

impl Entry {
    fn is_free(&self) -> bool {
        matches!(self.state, State::Free)
    }

    fn committed(&self) -> Option<&Commit> {
        match &self.state {
            State::Committed(commit) => Some(commit),
            State::Free | State::Reserved(_) => None,
        }
    }

    /// Whether the block has these bytes.
    fn has(&self, offset: u32, len: usize) -> Result<(), StoreError> {
        let end = u64::from(offset).saturating_add(len as u64);
        if end <= u64::from(self.span.len) { Ok(()) } else { Err(StoreError::OutOfRange) }
    }
}

impl From<Failed> for StoreError {
    /// Core has one word for it.
    fn from(Failed: Failed) -> Self {
        Self::Damaged
    }
}

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the flash has less than two sectors")
    }
}

impl core::error::Error for TooSmall {}

/// Bytes of a page of a block of `len`.
fn page_len(len: u32, page: u32) -> u32 {
    len.saturating_sub(page.saturating_mul(PAGE_BYTES)).min(PAGE_BYTES)
}

/// The checksum of no bytes of a page: it belongs to its record and its place there.
fn page_crc(entry: &Entry, page: u32) -> Crc {
    let Entry { name, span: Span { seq, len, .. }, .. } = *entry;
    let mut crc = Crc::new(Record { name, seq, len }.seed());
    crc.update(&page.to_le_bytes());
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_small() {
        assert!(size_of::<Entry>() < 100);
    }
}
