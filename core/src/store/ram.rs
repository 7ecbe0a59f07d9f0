//! A store in memory that the caller lends: pages for blocks, a table of blocks, and room for
//! content information.
//!
//! A full block with its padding takes exactly [`BLOCK_PAGES`] pages. Each page carries a checksum,
//! made when the block is committed and checked when reading enters the page, so that memory that
//! rots is found before its bytes leave the machine.

mod infos;

use self::infos::Infos;
use super::verify::Verified;
use super::{
    BlockId, InfoId, InfoStore, InfoStoreFull, Label, Labels, MAX_AGE, ReserveError, SlotId, Store,
    StoreError, Stored,
};
use crate::bytes::copy;
use crate::content::{InfoUnreadable, SegmentId};
use crate::crypto::{CipherAlgorithm, Seal};
use crate::time::{Duration, Instant, earliest};

/// Bytes of a page: a sixteenth of a full block and its padding, rounded up to cipher blocks.
pub const PAGE_BYTES: usize = 4_112;

/// Pages that a full block of 64 KiB takes.
pub const BLOCK_PAGES: usize = 16;

/// Content informations kept at once.
pub const INFO_SLOTS: usize = 8;

/// A piece of the arena.
#[derive(Clone)]
pub struct Page {
    data: [u8; PAGE_BYTES],
    checksum: u32,
    next: u32,
}

impl Page {
    /// A page without content.
    pub const EMPTY: Self = Self { data: [0; PAGE_BYTES], checksum: 0, next: NO_PAGE };
}

/// A row of the table of blocks.
#[derive(Clone)]
pub struct Entry {
    state: State,
    generation: u32,
    block: Option<BlockId>,
    seal: Seal,
    len: u32,
    plain_len: u32,
    first: u32,
    pins: u8,
    labels: Labels,
    /// When it was last used, by the store's own count.
    used: u32,
    /// When it was committed.
    since: Instant,
    /// The first row of each chain whose bucket has this row's number.
    heads: [u32; CHAINS],
    /// The next row of each chain that this one is in.
    nexts: [u32; CHAINS],
}

impl Entry {
    /// A row without a block.
    pub const EMPTY: Self = Self {
        state: State::Free,
        generation: 0,
        block: None,
        seal: Seal { algorithm: CipherAlgorithm::None, iv: [0; 16] },
        len: 0,
        plain_len: 0,
        first: NO_PAGE,
        pins: 0,
        labels: Labels::NONE,
        used: 0,
        since: Instant::ZERO,
        heads: [NO_ROW; CHAINS],
        nexts: [NO_ROW; CHAINS],
    };
}

/// Blocks and content information in lent memory: arrays, `&mut` slices or, on a host, `Vec`s.
pub struct RamStore<P, E, I: AsMut<[u8]>> {
    pages: P,
    entries: E,
    free: u32,
    /// Counts uses of blocks.
    clock: u32,
    /// The time, as far as it was told.
    now: Instant,
    max_age: Duration,
    /// No committed block is older.
    oldest: Instant,
    /// The committed page that was read last, and found to be whole.
    whole: u32,
    infos: Infos<I>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Reserved,
    Committed,
}

/// What a store knows of a segment.
struct Survey {
    blocks: u32,
    /// The first block after the one asked for.
    next: Option<u32>,
    /// When the oldest block was committed.
    oldest: Option<Instant>,
}

const NO_PAGE: u32 = u32::MAX;

const NO_ROW: u32 = u32::MAX;

/// Each row that is in use is in two chains: one has all rows of a segment, one those of a block.
/// They are those of two hash tables with as many buckets as there are rows, so that a lookup costs
/// the same in a store of any size.
const CHAINS: usize = 2;
const OF_SEGMENT: usize = 0;
const OF_BLOCK: usize = 1;

impl<P, E, I> RamStore<P, E, I>
where
    P: AsRef<[Page]> + AsMut<[Page]>,
    E: AsRef<[Entry]> + AsMut<[Entry]>,
    I: AsRef<[u8]> + AsMut<[u8]>,
{
    /// An empty store over `pages` and a table of as many blocks as `entries` has rows, with the
    /// bytes `infos` for content information.
    pub fn new(mut pages: P, mut entries: E, infos: I) -> Self {
        let count = pages.as_ref().len();
        for (index, page) in (1u32..).zip(pages.as_mut()) {
            page.next = if (index as usize) < count { index } else { NO_PAGE };
        }
        entries.as_mut().fill(Entry::EMPTY);
        let free = if count == 0 { NO_PAGE } else { 0 };
        let now = Instant::ZERO;
        Self {
            pages,
            entries,
            free,
            clock: 0,
            now,
            max_age: MAX_AGE,
            oldest: now,
            whole: NO_PAGE,
            infos: Infos::new(infos),
        }
    }

    /// Sets how long a block is kept after it was committed, if not for [`MAX_AGE`].
    pub fn set_max_age(&mut self, max_age: Duration) {
        self.max_age = max_age;
    }

    fn entry(&self, slot: SlotId) -> Result<&Entry, StoreError> {
        let entry = self.entries.as_ref().get(slot.index as usize).ok_or(StoreError::Stale)?;
        let live = entry.state != State::Free && entry.generation == slot.generation;
        if live { Ok(entry) } else { Err(StoreError::Stale) }
    }

    /// The page of `entry`'s chain that holds `offset`, and where in it.
    fn locate(&self, entry: &Entry, offset: u32) -> Option<(u32, usize)> {
        let (hops, within) = (offset / PAGE_BYTES as u32, offset as usize % PAGE_BYTES);
        let mut page = entry.first;
        for _ in 0..hops {
            page = self.page(page)?.next;
        }
        Some((page, within))
    }

    fn page(&self, index: u32) -> Option<&Page> {
        self.pages.as_ref().get(index as usize)
    }

    /// The bucket of one of a block's chains. Ids are hashes, so their bytes spread by themselves;
    /// the blocks of a segment get buckets in a row.
    fn bucket(&self, chain: usize, segment: &SegmentId, index: u32) -> Option<usize> {
        let (first, _) = segment.as_bytes().split_first_chunk()?;
        let index = if chain == OF_BLOCK { index } else { 0 };
        let hash = u32::from_le_bytes(*first).wrapping_add(index);
        (hash as usize).checked_rem(self.entries.as_ref().len())
    }

    /// The rows, reserved or committed, that share a chain with that block.
    fn chain<'a>(
        &'a self,
        chain: usize,
        segment: &SegmentId,
        index: u32,
    ) -> impl Iterator<Item = (u32, &'a Entry)> + use<'a, P, E, I> {
        let rows = self.entries.as_ref();
        let row = move |links: Option<&[u32; CHAINS]>| {
            let index = *links?.get(chain)?;
            rows.get(index as usize).map(|entry| (index, entry))
        };
        let bucket = self.bucket(chain, segment, index).and_then(|bucket| rows.get(bucket));
        core::iter::successors(row(bucket.map(|entry| &entry.heads)), move |(_, entry)| {
            row(Some(&entry.nexts))
        })
    }

    /// Puts a row at the head of its block's chains.
    fn link(&mut self, index: u32, block: &BlockId) {
        for chain in 0..CHAINS {
            let Some(head) = self.head(chain, block) else { return };
            let next = core::mem::replace(head, index);
            if let Some(link) = self.next(chain, index) {
                *link = next;
            }
        }
    }

    /// Takes a row out of its block's chains.
    fn unlink(&mut self, index: u32, block: &BlockId) {
        for chain in 0..CHAINS {
            let next = self.next(chain, index).map_or(NO_ROW, |next| *next);
            let before = self
                .chain(chain, &block.segment, block.index)
                .find(|(_, entry)| entry.nexts.get(chain) == Some(&index));
            let link = match before.map(|(before, _)| before) {
                Some(before) => self.next(chain, before),
                None => self.head(chain, block),
            };
            if let Some(link) = link {
                *link = next;
            }
        }
    }

    fn head(&mut self, chain: usize, block: &BlockId) -> Option<&mut u32> {
        let bucket = self.bucket(chain, &block.segment, block.index)?;
        self.entries.as_mut().get_mut(bucket)?.heads.get_mut(chain)
    }

    fn next(&mut self, chain: usize, index: u32) -> Option<&mut u32> {
        self.entries.as_mut().get_mut(index as usize)?.nexts.get_mut(chain)
    }

    /// The row of that block, reserved or committed.
    fn row(&self, block: &BlockId) -> Option<(u32, &Entry)> {
        self.chain(OF_BLOCK, &block.segment, block.index)
            .find(|(_, entry)| entry.block.as_ref() == Some(block))
    }

    /// What is known of a segment, and of its blocks after `index`.
    fn survey(&self, segment: &SegmentId, index: u32) -> Survey {
        let mut survey = Survey { blocks: 0, next: None, oldest: None };
        for (_, entry) in self.chain(OF_SEGMENT, segment, 0) {
            let Some(block) = entry.block.as_ref().filter(|block| block.segment == *segment) else {
                continue;
            };
            if !self.is_found(entry) {
                continue;
            }
            survey.blocks = survey.blocks.saturating_add(1);
            if block.index > index {
                survey.next = Some(survey.next.map_or(block.index, |next| next.min(block.index)));
            }
            survey.oldest = earliest(survey.oldest, Some(entry.since));
        }
        survey
    }

    fn is_found(&self, entry: &Entry) -> bool {
        entry.state == State::Committed && !self.is_expired(entry)
    }

    fn is_expired(&self, entry: &Entry) -> bool {
        self.now.since(entry.since) > self.max_age
    }

    /// Whether `wanted` pages become free once all goes that may.
    fn has_room(&self, wanted: u32) -> bool {
        let kept =
            self.entries.as_ref().iter().filter(|entry| entry.state == State::Reserved || entry.pins > 0);
        let kept = kept.map(|entry| pages(entry.len) as usize).fold(wanted as usize, usize::saturating_add);
        kept <= self.pages.as_ref().len()
    }

    /// The committed block that was not used for longest, if it is not pinned.
    fn least_used(&self) -> Option<SlotId> {
        let loose = |entry: &&Entry| entry.state == State::Committed && entry.pins == 0;
        let entries = (0u32..).zip(self.entries.as_ref()).filter(|(_, entry)| loose(entry));
        let age = |entry: &Entry| self.clock.wrapping_sub(entry.used);
        let (index, entry) = entries.max_by_key(|(_, entry)| age(entry))?;
        Some(SlotId { index, generation: entry.generation })
    }

    /// Counts a use of a block.
    fn touch(&mut self, slot: SlotId) {
        self.clock = self.clock.wrapping_add(1);
        if let Some(entry) = self.entries.as_mut().get_mut(slot.index as usize) {
            entry.used = self.clock;
        }
    }

    fn pinned(&mut self, slot: SlotId) -> Option<&mut u8> {
        self.entry(slot).ok()?;
        self.entries.as_mut().get_mut(slot.index as usize).map(|entry| &mut entry.pins)
    }

    /// Takes pages off the free list; gives them back if there are too few.
    fn take_pages(&mut self, wanted: u32) -> Option<u32> {
        let pages = self.pages.as_mut();
        let (mut first, mut taken) = (NO_PAGE, 0);
        while taken < wanted {
            let Some(page) = pages.get_mut(self.free as usize) else {
                self.give_pages(first);
                return None;
            };
            let index = self.free;
            self.free = page.next;
            page.next = first;
            first = index;
            taken += 1;
        }
        Some(first)
    }

    fn give_pages(&mut self, mut first: u32) {
        while let Some(page) = self.pages.as_mut().get_mut(first as usize) {
            let next = page.next;
            page.next = self.free;
            self.free = first;
            first = next;
        }
    }
}

impl<P, E, I> Store for RamStore<P, E, I>
where
    P: AsRef<[Page]> + AsMut<[Page]>,
    E: AsRef<[Entry]> + AsMut<[Entry]>,
    I: AsRef<[u8]> + AsMut<[u8]>,
{
    fn reserve(&mut self, block: &BlockId, len: u32) -> Result<SlotId, ReserveError> {
        if self.row(block).is_some() {
            return Err(ReserveError::Exists);
        }
        let wanted = pages(len);
        let free = |entry: &Entry| entry.state == State::Free;
        let (index, first) = loop {
            if let Some(index) = self.entries.as_ref().iter().position(free)
                && let Some(first) = self.take_pages(wanted)
            {
                break (index, first);
            }
            // Nobody goes in vain.
            let evicted = self.least_used().filter(|_| self.has_room(wanted)).ok_or(ReserveError::Full)?;
            self.release(evicted);
        };
        let entry = self.entries.as_mut().get_mut(index).ok_or(ReserveError::Full)?;
        let generation = entry.generation.wrapping_add(1);
        *entry = Entry {
            state: State::Reserved,
            generation,
            block: Some(*block),
            len,
            first,
            heads: entry.heads,
            ..Entry::EMPTY
        };
        self.link(index as u32, block);
        Ok(SlotId { index: index as u32, generation })
    }

    fn write(&mut self, slot: SlotId, offset: u32, mut bytes: &[u8]) -> Result<(), StoreError> {
        let entry = self.entry(slot)?;
        if entry.state != State::Reserved {
            return Err(StoreError::Stale);
        }
        in_range(entry, offset, bytes.len())?;
        let Some((mut page, mut within)) = self.locate(entry, offset) else {
            return Err(StoreError::OutOfRange);
        };
        while !bytes.is_empty() {
            let to = self.pages.as_mut().get_mut(page as usize).ok_or(StoreError::OutOfRange)?;
            let written = copy(to.data.get_mut(within..).unwrap_or_default(), bytes);
            bytes = bytes.get(written..).unwrap_or_default();
            (page, within) = (to.next, 0);
        }
        Ok(())
    }

    fn read(&mut self, slot: SlotId, offset: u32, mut buf: &mut [u8]) -> Result<(), StoreError> {
        let entry = self.entry(slot)?;
        let committed = entry.state == State::Committed;
        in_range(entry, offset, buf.len())?;
        let Some((mut page, mut within)) = self.locate(entry, offset) else {
            return Err(StoreError::OutOfRange);
        };
        let mut whole = self.whole;
        while !buf.is_empty() {
            let from = self.page(page).ok_or(StoreError::OutOfRange)?;
            // Each page is checked when reading enters it; small reads stay in one for a while.
            if committed && page != whole {
                if checksum(&from.data) != from.checksum {
                    return Err(StoreError::Damaged);
                }
                whole = page;
            }
            let read = copy(buf, from.data.get(within..).unwrap_or_default());
            buf = buf.get_mut(read..).unwrap_or_default();
            (page, within) = (from.next, 0);
        }
        self.whole = whole;
        if committed && offset == 0 {
            self.touch(slot);
        }
        Ok(())
    }

    fn commit(&mut self, verified: Verified) -> Result<(), StoreError> {
        let slot = verified.slot();
        let mut page = self.entry(slot)?.first;
        while let Some(piece) = self.pages.as_mut().get_mut(page as usize) {
            piece.checksum = checksum(&piece.data);
            page = piece.next;
        }
        let entry = self.entries.as_mut().get_mut(slot.index as usize).ok_or(StoreError::Stale)?;
        entry.state = State::Committed;
        entry.seal = verified.seal();
        entry.plain_len = verified.plain_len();
        entry.since = self.now;
        self.whole = NO_PAGE;
        self.touch(slot);
        Ok(())
    }

    fn pin(&mut self, slot: SlotId) {
        if let Some(pins) = self.pinned(slot) {
            *pins = pins.saturating_add(1);
        }
    }

    fn unpin(&mut self, slot: SlotId) {
        if let Some(pins) = self.pinned(slot) {
            *pins = pins.saturating_sub(1);
        }
    }

    fn release(&mut self, slot: SlotId) {
        let Ok(entry) = self.entry(slot) else { return };
        let (first, block) = (entry.first, entry.block);
        self.whole = NO_PAGE;
        self.give_pages(first);
        if let Some(block) = block {
            self.unlink(slot.index, &block);
        }
        if let Some(entry) = self.entries.as_mut().get_mut(slot.index as usize) {
            *entry = Entry { generation: entry.generation, heads: entry.heads, ..Entry::EMPTY };
        }
    }

    fn find(&self, block: &BlockId) -> Option<Stored> {
        let (index, entry) = self.row(block).filter(|(_, entry)| self.is_found(entry))?;
        Some(Stored {
            slot: SlotId { index, generation: entry.generation },
            seal: entry.seal,
            len: entry.len,
            plain_len: entry.plain_len,
        })
    }

    fn blocks(&self, segment: &SegmentId) -> u32 {
        self.survey(segment, 0).blocks
    }

    fn next_block(&self, segment: &SegmentId, index: u32) -> Option<u32> {
        let next = index.checked_add(1)?;
        // Mostly it is the very next one.
        if self.find(&BlockId { segment: *segment, index: next }).is_some() {
            return Some(next);
        }
        self.survey(segment, index).next
    }

    fn label(&mut self, slot: SlotId, label: Label) {
        if self.entry(slot).is_ok_and(|entry| entry.state == State::Committed)
            && let Some(entry) = self.entries.as_mut().get_mut(slot.index as usize)
        {
            entry.labels.put(label);
        }
    }

    fn forget_labelled(&mut self, label: Label) -> bool {
        for index in 0..self.entries.as_ref().len() {
            let Some(entry) = self.entries.as_mut().get_mut(index) else { break };
            let (generation, pinned) = (entry.generation, entry.pins > 0);
            if entry.labels.take_off(label, pinned) {
                self.release(SlotId { index: index as u32, generation });
            }
        }
        !self.is_labelled(label)
    }

    fn is_labelled(&self, label: Label) -> bool {
        self.entries.as_ref().iter().any(|entry| entry.labels.has(label))
    }

    fn set_time(&mut self, now: Instant) {
        self.now = now;
        if now.since(self.oldest) <= self.max_age {
            return;
        }
        self.oldest = now;
        for index in 0..self.entries.as_ref().len() {
            let Some(entry) = self.entries.as_ref().get(index) else { return };
            if entry.state != State::Committed {
                continue;
            }
            if self.is_expired(entry) && entry.pins == 0 {
                self.release(SlotId { index: index as u32, generation: entry.generation });
            } else {
                self.oldest = self.oldest.min(entry.since);
            }
        }
    }

    fn age(&self, segment: &SegmentId, now: Instant) -> Option<Duration> {
        self.survey(segment, 0).oldest.map(|oldest| now.since(oldest))
    }
}

impl<P, E, I> InfoStore for RamStore<P, E, I>
where
    P: AsRef<[Page]> + AsMut<[Page]>,
    E: AsRef<[Entry]> + AsMut<[Entry]>,
    I: AsRef<[u8]> + AsMut<[u8]>,
{
    fn create_info(&mut self) -> Result<InfoId, InfoStoreFull> {
        self.infos.create_info()
    }

    fn append_info(&mut self, id: InfoId, bytes: &[u8]) -> Result<(), InfoStoreFull> {
        self.infos.append_info(id, bytes)
    }

    fn info_len(&self, id: InfoId) -> u64 {
        self.infos.info_len(id)
    }

    fn read_info(&self, id: InfoId, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        self.infos.read_info(id, offset, buf)
    }

    fn remove_info(&mut self, id: InfoId) {
        self.infos.remove_info(id);
    }
}

/// Pages that `len` bytes take.
fn pages(len: u32) -> u32 {
    len.div_ceil(PAGE_BYTES as u32).max(1)
}

fn in_range(entry: &Entry, offset: u32, len: usize) -> Result<(), StoreError> {
    let end = u64::from(offset).saturating_add(len as u64);
    if end <= u64::from(entry.len) { Ok(()) } else { Err(StoreError::OutOfRange) }
}

/// Fletcher's sums over 32-bit words, folded: a few instructions a word on a microcontroller, where
/// a table-driven CRC would cost both flash and time. It guards against rot, not against malice.
fn checksum(data: &[u8; PAGE_BYTES]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for word in data.as_chunks::<4>().0 {
        a = a.wrapping_add(u32::from_le_bytes(*word));
        b = b.wrapping_add(a);
    }
    a ^ b.rotate_left(16)
}

#[cfg(test)]
mod tests;
