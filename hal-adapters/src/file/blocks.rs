//! A [`Store`] over a directory, with files of many blocks each.

mod disk;
mod files;
mod index;
mod ivs;
mod opened;
mod packs;

use core::cell::{Cell, RefCell};
use core::fmt;
use core::ops::Range;
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs::{self, DirEntry, File};
use std::io;
use std::path::{self, Path, PathBuf};
use std::vec;
use std::vec::Vec;

use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{CipherAlgorithm, Seal};
use peerdist_core::store::verify::Verified;
use peerdist_core::store::{BlockId, Label, MAX_AGE, ReserveError, SlotId, Store, StoreError, Stored};
use peerdist_core::time::{self, Instant};

use self::disk::{ENTRIES, ENTRY_BYTES, Entry, MAX_LEN, PAGE_BYTES, pages_of, parse_file_name};
use self::index::{Block, Index};
use self::ivs::Ivs;
use self::opened::Opened;
use self::packs::{Pack, Packs, Place};
use super::{Lock, OpenError, lock, private};
use crate::clock::Clock;

/// Blocks kept at once: 256 GiB of full ones. Of the most that were there since the directory was opened, each takes 62
/// bytes of memory, as the only one of its segment or as one of many. Those of a segment that has few take some 70 more
/// together; one of a segment with an id of 48 or 64 bytes, or from the 513th of a segment on, takes 100 more. Until a
/// directory is open, it takes 8 more for each; one without blocks takes some 30 KB.
pub const MAX_BLOCKS: usize = 1 << 22;

/// Blocks reserved at once. A node has one for each that it fetches or takes in; each is in memory
/// until it is committed, 128 KiB at most.
pub const MAX_RESERVED: usize = 64;

/// The file that is locked while a directory is in use. It stays, for whoever removes a lock file
/// may remove the next one's.
const LOCK_NAME: &str = "peerdist-block.lock";

/// How many seconds old the time of last use on the disk may become: the order of use need not
/// survive by the second, and each update costs the disk a write.
const USE_STAMP_SECONDS: u64 = 60 * 60;

/// Blocks that are too old that go with one call. When a clock is set, all may have become so, and to
/// remove one can take a disk a millisecond.
const EXPIRED_AT_ONCE: usize = 16;

/// How much is kept, how long and how well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes that blocks take at most, each 256 and its own, which are rounded up to 4 KiB. Room that
    /// went free between them is used again, and given back to the disk before that where it can be: on
    /// Linux.
    pub max_size: u64,
    /// How long a block is kept after it was committed.
    pub max_age: Duration,
    /// Whether a committed block survives a loss of power, too: `commit` then waits for the disk,
    /// twice for each block. Without it, what was committed in the last seconds before may be
    /// gone, or be found [`StoreError::Damaged`] when it is read. A process that is killed loses
    /// nothing either way.
    pub sync: bool,
}

impl Options {
    /// Up to `max_size` bytes, for [`MAX_AGE`], safe against loss of power.
    pub const fn new(max_size: u64) -> Self {
        Self { max_size, max_age: Duration::from_micros(MAX_AGE.micros()), sync: true }
    }
}

/// A directory of blocks, which outlive this value and the process.
///
/// Blocks are kept as they travel, encrypted; their keys are elsewhere. They lie in files of up to 128
/// each. A block comes into memory, and is written when it is committed: its bytes first, then its entry in
/// a table, without which there is no such block, whenever the process ends. At opening, what is damaged is
/// removed, as far as the entry tells; the rest is checked, page by page, when it is read. After a block
/// could not be written, others have their room on the disk before they come, so that nobody fetches for a
/// disk that is full. Opening reads 256 bytes of each block, at most [`MAX_BLOCKS`] times. Which blocks there are is
/// known without the disk; [`Store::find`] reads the 256 bytes anew, for the IV, of who was not found lately.
///
/// The time comes from outside, in seconds since the beginning of 1970, and goes on by what
/// [`Store::set_time`] tells; where the clock is set, [`set_now`](Self::set_now) follows it. A block
/// that was committed later than now is new; one that was committed before the clock was right has the
/// age that the right clock gives it, and may go at once.
pub struct FileBlocks {
    directory: PathBuf,
    options: Options,
    clock: Cell<Clock>,
    /// What the clock said first.
    opened_at: u64,
    index: Index,
    /// Blocks that come, by row.
    reserved: BTreeMap<u32, Pending>,
    opened: Opened,
    ivs: Ivs,
    packs: Packs,
    /// A file could not be written: the disk may be full.
    suspect: bool,
    /// Bytes that all blocks take.
    size: u64,
    counters: Counters,
    error: RefCell<Option<FileError>>,
    _lock: Lock,
}

/// What became of blocks, since the directory was opened and while it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Removed at opening: not what was written. And reads that found the same.
    pub damaged: u64,
    /// Files that were left as they are at opening, and whose blocks are not found: they could not be
    /// read, which may pass.
    pub unreadable: u64,
    /// Removed because of their age.
    pub expired: u64,
    /// Removed to make room.
    pub evicted: u64,
    /// Blocks that could not be reserved, written or committed, because a file could not.
    pub failed: u64,
}

/// A file that could not be used, and why.
#[derive(Debug)]
pub struct FileError {
    /// Its path.
    pub path: PathBuf,
    /// The reason.
    pub error: io::Error,
}

/// A block that is not committed.
struct Pending {
    bytes: Vec<u8>,
    /// Its room, if that had to be taken first.
    place: Option<Place>,
}

impl FileBlocks {
    /// Takes `directory`, which must exist and should be its owner's alone, and finds what is in
    /// it at the time `now`. Other people's files in it are not touched.
    pub fn open(directory: impl AsRef<Path>, options: Options, now: u64) -> Result<Self, OpenError> {
        // The process may go to another working directory.
        let directory =
            path::absolute(&directory).map_err(|error| OpenError::Io(directory.as_ref().into(), error))?;
        let lock = lock(&directory, LOCK_NAME)?;
        let mut store = Self {
            packs: Packs::new(directory.clone(), options.sync),
            directory,
            options,
            clock: Cell::new(Clock::new(now)),
            opened_at: now,
            index: Index::default(),
            reserved: BTreeMap::new(),
            opened: Opened::default(),
            ivs: Ivs::default(),
            suspect: false,
            size: 0,
            counters: Counters::default(),
            error: RefCell::new(None),
            _lock: lock,
        };
        store.load()?;
        store.take_spare();
        store.remove_expired(usize::MAX);
        store.make_room(0);
        Ok(store)
    }

    /// Sets the clock, in seconds of Unix. Blocks that are too old are not found from now on; they go,
    /// some at a time, with calls that tell the time, reserve or unpin, but for those that are pinned.
    pub fn set_now(&self, now: u64) {
        let mut clock = self.clock.get();
        clock.set(now);
        self.clock.set(clock);
    }

    fn now(&self) -> u64 {
        self.clock.get().now()
    }

    /// Bytes that blocks take, reserved ones among them: each 256 and its own, rounded up to 4 KiB.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Committed blocks.
    pub fn count(&self) -> usize {
        self.index.len()
    }

    /// Forgets up to `at_most` committed blocks, those first that were not used for longest, but for
    /// those that are pinned, and says how many. To remove one can take a disk a millisecond.
    pub fn forget(&mut self, at_most: usize) -> usize {
        let loose = self.index.by_use().filter(|&row| !self.index.is_pinned(row));
        let rows: Vec<u32> = loose.take(at_most).collect();
        rows.iter().for_each(|&row| self.remove(row));
        rows.len()
    }

    /// The slots of all committed blocks, in the order of their names: 8 bytes for each.
    pub fn slots(&self) -> Vec<SlotId> {
        let mut rows: Vec<u32> = self.index.committed().collect();
        let name = |row: u32| self.index.block(row).map(|block| (block.id.segment, block.id.index));
        rows.sort_unstable_by_key(|&row| name(row));
        rows.iter().map(|&row| self.index.slot(row)).collect()
    }

    /// The name of the committed block in a slot, and the bytes of its plaintext: what is known without the disk.
    pub fn named_at(&self, slot: SlotId) -> Option<(BlockId, u32)> {
        let is_reserved = self.reserved.contains_key(&slot.index);
        let block = self.index.at(slot).filter(|_| !is_reserved)?;
        Some((block.id, block.plain_len))
    }

    /// The name of the committed block in a slot, and how it is stored, which is read from the disk.
    pub fn committed_at(&self, slot: SlotId) -> Option<(BlockId, Stored)> {
        let is_reserved = self.reserved.contains_key(&slot.index);
        let block = self.index.at(slot).filter(|_| !is_reserved)?;
        Some((block.id, self.stored(slot, &block)))
    }

    /// Reads a whole committed block, whose bytes are all in `buf` then, without counting it as a use: who
    /// copies all blocks does not change the order in which they go.
    pub fn peek(&mut self, slot: SlotId, buf: &mut Vec<u8>) -> Result<(), StoreError> {
        let block = self.block(slot)?;
        if self.reserved.contains_key(&slot.index) {
            return Err(StoreError::Stale);
        }
        buf.resize(block.len as usize, 0);
        let read = self.read_block(slot.index, &block, 0, buf);
        self.take_spare();
        read.map(|_| ()).map_err(|error| self.failed(self.packs.path(block.place.pack), true, error))
    }

    /// What became of blocks.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Which file could not be made, written, read or removed last, and why, once.
    pub fn take_error(&self) -> Option<FileError> {
        self.error.take()
    }

    /// Fills the index from the directory.
    fn load(&mut self) -> Result<(), OpenError> {
        let packs = list(&self.directory)?;
        let mut found = Vec::with_capacity(packs.len().saturating_mul(ENTRIES).min(MAX_BLOCKS));
        for (number, entry) in packs {
            if let Err(error) = self.load_pack(number, &entry, &mut found) {
                self.packs.avoid(number);
                self.note(entry.path(), error);
            }
        }
        found.sort_unstable();
        found.into_iter().for_each(|(_, row)| self.index.touch(row));
        Ok(())
    }

    /// Adds the rows of a pack to `found`, each after the time when it was used last.
    fn load_pack(&mut self, number: u16, entry: &DirEntry, found: &mut Vec<(u32, u32)>) -> io::Result<()> {
        // Who follows a link reads somebody else's file.
        if !entry.file_type()?.is_file() {
            self.counters.damaged += 1;
            self.packs.adopt(number, Pack::EMPTY, None)?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
        }
        let read = private().open(entry.path()).and_then(|file| Ok((packs::entries(&file)?, file)));
        // Nothing says that the blocks of one that fails are not whole: there may be too many open files.
        let (entries, file) = read.inspect_err(|_| self.counters.unreadable += 1)?;
        let whole = entries.iter().filter_map(|(_, entry)| entry.as_ref());
        let (mut pack, mut result, mut erased) =
            (Pack::of(whole.map(|entry| (entry.len, entry.start))), Ok(()), true);
        for (number_in, parsed) in entries {
            let place = |start| Place { pack: number, entry: number_in, start };
            match parsed {
                // It came anew while this file could not be read; or it was removed, and power went.
                Some(entry) if self.index.find(&entry.id).is_some() => {}
                Some(_) if found.len() >= MAX_BLOCKS => self.counters.evicted += 1,
                Some(entry) if pack.occupy(place(entry.start), entry.len) => {
                    let block = block_of(&entry, place(entry.start));
                    let row = self.index.insert(&block).index;
                    self.index.publish(row, &block);
                    self.size = self.size.saturating_add(disk_size(block.len));
                    found.push((entry.stamped, row));
                    continue;
                }
                _ => {
                    self.counters.damaged += 1;
                    result = Err(damaged_entry(number_in));
                }
            }
            if let Err(error) = packs::erase(&file, number_in) {
                (result, erased) = (Err(error), false);
            }
        }
        if !erased {
            // What stays would be found again, and what has its room by then be taken for damaged.
            pack.shut();
        }
        self.packs.adopt(number, pack, Some(file)).and(result)
    }

    fn block(&self, slot: SlotId) -> Result<Block, StoreError> {
        self.index.at(slot).ok_or(StoreError::Stale)
    }

    /// The committed blocks of `segment` from `index` on that are not too old, in order.
    fn committed(&self, segment: &SegmentId, index: u32) -> impl Iterator<Item = Block> {
        let blocks = self.index.of_segment(segment, index..=u32::MAX).map(|(_, block)| block);
        blocks.filter(|block| !self.is_expired(block))
    }

    fn is_expired(&self, block: &Block) -> bool {
        is_old(self.now(), self.options.max_age, block.created)
    }

    /// How a committed block is stored. If its entry cannot be read, or is another's, the IV is nobody's, and no
    /// byte of the block will be read.
    fn stored(&self, slot: SlotId, block: &Block) -> Stored {
        let iv = self.ivs.get(slot).unwrap_or_else(|| {
            let entry = self.entry(block);
            self.take_spare();
            match entry {
                Ok(entry) => {
                    self.ivs.keep(slot, entry.seal.iv);
                    entry.seal.iv
                }
                Err(error) => {
                    self.note(self.packs.path(block.place.pack), error);
                    self.index.set_unreadable(slot.index);
                    [0; _]
                }
            }
        });
        let seal = Seal { algorithm: block.algorithm, iv };
        Stored { slot, seal, len: block.len, plain_len: block.plain_len }
    }

    /// Removes the committed blocks that are too old, unless they are pinned, and up to `at_most`.
    fn remove_expired(&mut self, at_most: usize) {
        let (now, max_age) = (self.now(), self.options.max_age);
        for row in self.index.take_old(at_most, |created| is_old(now, max_age, created)) {
            self.remove(row);
            self.counters.expired += 1;
        }
    }

    /// Removes the blocks that were not used for longest until `wanted` more bytes fit; none, if
    /// they do not even then.
    fn make_room(&mut self, wanted: u64) -> bool {
        let mut size = self.size.saturating_add(wanted);
        let mut count = self.index.len() + self.reserved.len();
        let loose = self.index.by_use().filter(|&row| !self.index.is_pinned(row));
        let mut loose = loose.filter_map(|row| Some((row, self.index.block(row)?.len)));
        let mut going = Vec::new();
        while size > self.options.max_size || count >= MAX_BLOCKS {
            let Some((row, len)) = loose.next() else { return false };
            size = size.saturating_sub(disk_size(len));
            count = count.saturating_sub(1);
            going.push(row);
        }
        drop(loose);
        for row in going {
            self.remove(row);
            self.counters.evicted += 1;
        }
        true
    }

    /// Removes a block, reserved or committed.
    fn remove(&mut self, index: u32) {
        let Some((block, committed)) = self.index.remove(index) else { return };
        self.size = self.size.saturating_sub(disk_size(block.len));
        self.opened.forget(index);
        let place = match self.reserved.remove(&index) {
            Some(pending) => pending.place,
            None => Some(block.place),
        };
        if let Some(place) = place
            && let Err(error) = self.packs.give(place, block.len, committed)
        {
            self.note(self.packs.path(place.pack), error);
        }
    }

    fn note(&self, path: PathBuf, error: io::Error) {
        self.error.replace(Some(FileError { path, error }));
    }

    /// Keeps why a file failed. Core's traits have one word for it.
    fn failed(&mut self, path: PathBuf, committed: bool, error: io::Error) -> StoreError {
        self.note(path, error);
        let counter = if committed { &mut self.counters.damaged } else { &mut self.counters.failed };
        *counter += 1;
        StoreError::Damaged
    }

    /// Takes room for a block, and writes what it has so far.
    fn place(&mut self, bytes: &[u8]) -> Result<Place, FileError> {
        let len = bytes.len() as u32;
        let nowhere = |error| FileError { path: self.directory.clone(), error };
        let place = self.packs.take(len).map_err(nowhere)?;
        self.packs.write(place, bytes).map_err(|error| self.unplace(place, len, false, error))?;
        Ok(place)
    }

    /// Gives room back where `error` came in between. If the entry may have been written, it goes.
    fn unplace(&mut self, place: Place, len: u32, entry: bool, error: io::Error) -> FileError {
        // Should it fail, too, the room is free again after the next opening.
        let _ = self.packs.give(place, len, entry);
        FileError { path: self.packs.path(place.pack), error }
    }

    /// Writes a whole block, and that it is there. Until then, and if the process ends before, there is no
    /// such block.
    fn finish(&mut self, pending: &mut Pending, seal: Seal, block: &mut Block) -> Result<(), FileError> {
        let Block { id, len, plain_len, created, .. } = *block;
        let (stamped, created) = (created, created.into());
        let mut entry = Entry { id, seal, len, plain_len, created, pages: [0; _], start: 0, stamped };
        for (crc, page) in entry.pages.iter_mut().zip(pending.bytes.chunks(PAGE_BYTES)) {
            *crc = crc32fast::hash(page);
        }
        let place = match pending.place.take() {
            Some(place) => match self.packs.write(place, &pending.bytes) {
                Ok(()) => place,
                Err(error) => return Err(self.unplace(place, block.len, false, error)),
            },
            None => self.place(&pending.bytes)?,
        };
        (entry.start, block.place) = (place.start, place);
        // What may not last is not committed.
        self.packs.commit(place, &entry).map_err(|error| self.unplace(place, block.len, true, error))
    }

    fn read_committed(&mut self, index: u32, block: &Block, offset: u32, buf: &mut [u8]) -> io::Result<()> {
        let stamped = self.read_block(index, block, offset, buf)?;
        if offset == 0 {
            let now = self.now();
            // Of one that is later than now, one clock is not right: this one may be before long.
            let last = if u64::from(stamped) > now { self.opened_at } else { stamped.into() };
            if now.saturating_sub(last) >= USE_STAMP_SECONDS {
                let now = seconds(now);
                // Should it fail, only the order of use after the next opening is less exact.
                let _ = self.packs.stamp(block.place, now);
                self.opened.stamp(index, now);
            }
            self.index.touch(index);
        }
        Ok(())
    }

    /// The entry of a committed block.
    fn entry(&self, block: &Block) -> io::Result<Entry> {
        self.packs.entry(block.place).and_then(|entry| opened::of_block(block, entry))
    }

    /// Fills `buf` from `offset` of a committed block on. The time of last use that its entry has.
    fn read_block(&mut self, index: u32, block: &Block, offset: u32, buf: &mut [u8]) -> io::Result<u32> {
        if self.index.is_unreadable(index) {
            // Should it be right now, the reader may still have the wrong IV.
            return self.entry(block).and_then(|_| Err(damaged_entry(block.place.entry)));
        }
        // Whoever tries again after an error reads the file again.
        let read = self.opened.read(index, block, offset, buf, &self.packs);
        read.inspect_err(|_| self.opened.forget(index))
    }

    /// Keeps a place in the table of open files.
    fn take_spare(&self) {
        self.packs.take_spare(LOCK_NAME);
    }
}

impl Store for FileBlocks {
    fn reserve(&mut self, block: &BlockId, len: u32) -> Result<SlotId, ReserveError> {
        self.remove_expired(EXPIRED_AT_ONCE);
        let is_same = |row: &u32| self.index.block(*row).is_some_and(|have| have.id == *block);
        if self.index.find(block).is_some() || self.reserved.keys().any(is_same) {
            return Err(ReserveError::Exists);
        }
        let size = disk_size(len);
        if len > MAX_LEN || size > self.options.max_size || self.reserved.len() >= MAX_RESERVED {
            return Err(ReserveError::Full);
        }
        if !self.make_room(size) {
            return Err(ReserveError::Full);
        }
        let mut pending = Pending { bytes: vec![0; len as usize], place: None };
        if self.suspect {
            let place = self.place(&pending.bytes).map_err(|FileError { path, error }| {
                self.failed(path, false, error);
                ReserveError::Full
            })?;
            (pending.place, self.suspect) = (Some(place), false);
        }
        let (id, algorithm, plain_len, place) = (*block, CipherAlgorithm::None, len, Place::NONE);
        let block = Block { id, algorithm, len, plain_len, created: 0, place };
        let slot = self.index.insert(&block);
        self.reserved.insert(slot.index, pending);
        self.size = self.size.saturating_add(size);
        Ok(slot)
    }

    fn write(&mut self, slot: SlotId, offset: u32, bytes: &[u8]) -> Result<(), StoreError> {
        let len = self.block(slot)?.len;
        let range = within(len, offset, bytes.len())?;
        let pending = self.reserved.get_mut(&slot.index).ok_or(StoreError::Stale)?;
        let room = pending.bytes.get_mut(range).ok_or(StoreError::OutOfRange)?;
        room.copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, slot: SlotId, offset: u32, buf: &mut [u8]) -> Result<(), StoreError> {
        let block = self.block(slot)?;
        let range = within(block.len, offset, buf.len())?;
        if let Some(pending) = self.reserved.get(&slot.index) {
            buf.copy_from_slice(pending.bytes.get(range).ok_or(StoreError::OutOfRange)?);
            return Ok(());
        }
        let read = self.read_committed(slot.index, &block, offset, buf);
        self.take_spare();
        read.map_err(|error| self.failed(self.packs.path(block.place.pack), true, error))
    }

    fn commit(&mut self, verified: Verified) -> Result<(), StoreError> {
        let slot = verified.slot();
        let now = seconds(self.now());
        let (seal, plain_len) = (verified.seal(), verified.plain_len());
        let mut block = Block { algorithm: seal.algorithm, plain_len, created: now, ..self.block(slot)? };
        // Its entry would be taken for a damaged one.
        if seal.algorithm.sealed_len(plain_len) != block.len {
            return Err(StoreError::OutOfRange);
        }
        let mut pending = self.reserved.remove(&slot.index).ok_or(StoreError::Stale)?;
        let finished = self.finish(&mut pending, seal, &mut block);
        self.take_spare();
        if let Err(FileError { path, error }) = finished {
            // The slot is its owner's to release.
            self.reserved.insert(slot.index, pending);
            self.suspect = true;
            return Err(self.failed(path, false, error));
        }
        self.index.publish(slot.index, &block);
        self.ivs.keep(slot, seal.iv);
        self.opened.keep(slot.index, pending.bytes, now);
        Ok(())
    }

    fn release(&mut self, slot: SlotId) {
        if self.block(slot).is_ok() {
            self.remove(slot.index);
        }
    }

    fn pin(&mut self, slot: SlotId) {
        self.index.pin(slot, true);
    }

    fn unpin(&mut self, slot: SlotId) {
        self.index.pin(slot, false);
        self.remove_expired(EXPIRED_AT_ONCE);
    }

    fn find(&self, block: &BlockId) -> Option<Stored> {
        let row = self.index.find(block)?;
        let block = self.index.block(row).filter(|block| !self.is_expired(block))?;
        Some(self.stored(self.index.slot(row), &block))
    }

    fn has(&self, block: &BlockId) -> bool {
        let found = self.index.find(block).and_then(|row| self.index.block(row));
        found.is_some_and(|block| !self.is_expired(&block))
    }

    fn blocks(&self, segment: &SegmentId) -> u32 {
        self.committed(segment, 0).count() as u32
    }

    fn next_block(&self, segment: &SegmentId, index: u32) -> Option<u32> {
        let mut blocks = self.committed(segment, index.checked_add(1)?);
        blocks.next().map(|block| block.id.index)
    }

    fn label(&mut self, slot: SlotId, label: Label) {
        self.index.label(slot, label);
    }

    fn forget_labelled(&mut self, label: Label) -> bool {
        self.index.unlabel(label).into_iter().for_each(|row| self.remove(row));
        !self.is_labelled(label)
    }

    fn is_labelled(&self, label: Label) -> bool {
        self.index.is_labelled(label)
    }

    fn set_time(&mut self, now: Instant) {
        self.clock.get_mut().tell(now);
        self.remove_expired(EXPIRED_AT_ONCE);
    }

    fn age(&self, segment: &SegmentId, now: Instant) -> Option<time::Duration> {
        let oldest = self.committed(segment, 0).map(|block| block.created).min()?;
        let now = self.clock.get().at(now);
        Some(time::Duration::from_secs(now.saturating_sub(oldest.into())))
    }
}

/// What was not committed goes at once, and not at the next opening.
impl Drop for FileBlocks {
    fn drop(&mut self) {
        while let Some((&index, _)) = self.reserved.first_key_value() {
            self.remove(index);
        }
    }
}

impl fmt::Debug for FileBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, options, size, counters, .. } = self;
        let mut shown = f.debug_struct("FileBlocks");
        shown.field("directory", directory).field("options", options).field("size", size);
        shown.field("counters", counters).finish_non_exhaustive()
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl core::error::Error for FileError {}

/// The blocks that are committed in `directory`, which may be in use: what is read while somebody writes it
/// is left out.
pub fn committed(directory: &Path) -> Result<Vec<BlockId>, OpenError> {
    let mut blocks = Vec::new();
    for (_, entry) in list(directory)? {
        let read = || {
            if entry.file_type()?.is_file() {
                packs::entries(&File::open(entry.path())?)
            } else {
                Ok(Vec::new())
            }
        };
        match read() {
            Ok(entries) => blocks.extend(entries.into_iter().filter_map(|(_, entry)| Some(entry?.id))),
            // It went in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(OpenError::Io(entry.path(), error)),
        }
    }
    Ok(blocks)
}

/// The packs in a directory, by their number.
fn list(directory: &Path) -> Result<BTreeMap<u16, DirEntry>, OpenError> {
    let unusable = |error| OpenError::Io(directory.into(), error);
    let mut packs = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(unusable)? {
        let entry = entry.map_err(unusable)?;
        if let Some(number) = parse_file_name(&entry.file_name()) {
            packs.insert(number, entry);
        }
    }
    Ok(packs)
}

fn block_of(entry: &Entry, place: Place) -> Block {
    let Entry { id, seal, len, plain_len, created, .. } = *entry;
    Block { id, algorithm: seal.algorithm, len, plain_len, created: seconds(created), place }
}

/// Whether what was committed then is too old.
fn is_old(now: u64, max_age: Duration, created: u32) -> bool {
    Duration::from_secs(now.saturating_sub(created.into())) > max_age
}

fn damaged_entry(number: u8) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, std::format!("entry {number} of the table is damaged"))
}

/// Which bytes of a block are meant, if it has them.
fn within(block_len: u32, offset: u32, len: usize) -> Result<Range<usize>, StoreError> {
    let start = offset as usize;
    let end = start.checked_add(len).filter(|end| *end <= block_len as usize);
    end.map(|end| start..end).ok_or(StoreError::OutOfRange)
}

/// Seconds of Unix as the index has them; what is later than the year 2106 is of that year.
fn seconds(unix: u64) -> u32 {
    u32::try_from(unix).unwrap_or(u32::MAX)
}

/// Bytes of a disk that a block takes.
fn disk_size(len: u32) -> u64 {
    u64::from(pages_of(len)) * PAGE_BYTES as u64 + ENTRY_BYTES as u64
}
