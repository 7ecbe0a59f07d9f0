//! The index: what is known of the blocks without the disk. There may be millions of them, and each takes 56 bytes for
//! its row, in pages of [`PAGE_ROWS`], and each segment up to 5 more for its place in the table.

mod row;
mod table;

use core::ops::RangeInclusive;
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use peerdist_core::content::SegmentId;
use peerdist_core::crypto::CipherAlgorithm;
use peerdist_core::store::{BlockId, Label, SlotId};

use self::row::{NONE, Name, Row, State};
use self::table::{Hash, Table};
use super::packs::Place;

/// Rows that get their memory at once, and that are looked through together for those that are too old.
const PAGE_ROWS: usize = 256;

/// A block, as far as it is known without the disk.
#[derive(Clone, Copy)]
pub struct Block {
    pub id: BlockId,
    pub algorithm: CipherAlgorithm,
    /// Bytes as stored: as many as the cipher makes of the plaintext.
    pub len: u32,
    pub plain_len: u32,
    /// When it was committed, in seconds of Unix.
    pub created: u32,
    /// Where it lies, once it is there.
    pub place: Place,
}

/// Rows that slots name, with the committed ones by name, by use and by age.
pub struct Index {
    pages: Vec<Page>,
    /// Rows that there are.
    rows: u32,
    /// The first row without a block.
    free: u32,
    committed: usize,
    /// The first row of each segment.
    names: Table,
    /// All rows of segments with more than one, in order, by the first.
    families: BTreeMap<u32, Vec<u32>>,
    /// Names that do not fit a row: of segments with ids of 48 and 64 bytes.
    long: BTreeMap<u32, Box<BlockId>>,
    pins: BTreeMap<u32, u16>,
    /// Pages with committed blocks that are not pinned, by [`Page::oldest`].
    ages: BTreeSet<(u32, u32)>,
    /// The ends of the chain by use.
    oldest: u32,
    newest: u32,
    #[cfg(test)]
    pub looked_at: core::cell::Cell<usize>,
}

struct Page {
    rows: Box<[Row]>,
    /// None of those that are not pinned was committed before; none has gone since it was looked through last.
    oldest: u32,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            rows: 0,
            free: NONE,
            committed: 0,
            names: Table::default(),
            families: BTreeMap::new(),
            long: BTreeMap::new(),
            pins: BTreeMap::new(),
            ages: BTreeSet::new(),
            oldest: NONE,
            newest: NONE,
            #[cfg(test)]
            looked_at: core::cell::Cell::new(0),
        }
    }
}

impl Index {
    /// How many blocks are committed.
    pub fn len(&self) -> usize {
        self.committed
    }

    /// Takes a block that is not committed: there are fewer than [`MAX_BLOCKS`](super::MAX_BLOCKS).
    pub fn insert(&mut self, block: &Block) -> SlotId {
        let index = match self.free {
            NONE => self.add_row(),
            free => free,
        };
        let (next, generation) = self.row(index).map_or((NONE, 0), |row| (row.older(), row.generation));
        if index == self.free {
            self.free = next;
        }
        self.set(index, block, State::Reserved);
        SlotId { index, generation }
    }

    fn add_row(&mut self) -> u32 {
        let index = self.rows;
        if self.pages.len() <= page_of(index) {
            let rows = core::iter::repeat_with(|| Row::free(0)).take(PAGE_ROWS).collect();
            self.pages.push(Page { rows, oldest: u32::MAX });
        }
        self.rows = index.saturating_add(1);
        index
    }

    fn set(&mut self, index: u32, block: &Block, state: State) {
        let Some(row) = self.row_mut(index) else { return };
        *row = Row::of(block, state, row.generation);
        if row.name() == Name::Long {
            self.long.insert(index, Box::new(block.id));
        }
    }

    /// Commits a row, as `block` says by now, and as the one used last.
    pub fn publish(&mut self, index: u32, block: &Block) {
        if self.row(index).is_none_or(|row| row.state() != State::Reserved) {
            return;
        }
        self.set(index, block, State::Committed);
        self.committed += 1;
        self.enter(index, &block.id);
        if !self.pins.contains_key(&index) {
            self.has_age(index, block.created);
        }
        self.append(index);
    }

    /// Counts a use of a committed row.
    pub fn touch(&mut self, index: u32) {
        if self.row(index).is_some_and(Row::is_committed) {
            self.unlink(index);
            self.append(index);
        }
    }

    /// Frees a row: its block, and whether that was committed.
    pub fn remove(&mut self, index: u32) -> Option<(Block, bool)> {
        let block = self.block(index)?;
        let committed = self.row(index).is_some_and(Row::is_committed);
        if committed {
            self.committed = self.committed.saturating_sub(1);
            self.unlink(index);
            self.leave(index, &block.id.segment);
        }
        self.long.remove(&index);
        self.pins.remove(&index);
        let next = core::mem::replace(&mut self.free, index);
        if let Some(row) = self.row_mut(index) {
            *row = Row::free(row.generation.wrapping_add(1));
            row.set_older(next);
        }
        Some((block, committed))
    }

    /// Adds a committed row to those of its segment.
    fn enter(&mut self, index: u32, id: &BlockId) {
        let hash = self.names.hash(hashed(&id.segment));
        let Some(first) = self.first(hash, &id.segment) else {
            let Self { names, pages, long, .. } = self;
            return names.insert(hash, index, |row| hashed_in(pages, long, row));
        };
        let mut family = self.families.remove(&first).unwrap_or_else(|| Vec::from([first]));
        if family.len() == family.capacity() {
            // Twice as many, as usual, would be more than most have in the end.
            family.reserve_exact(family.len() / 8 + 3);
        }
        let at = family.partition_point(|&other| self.index_of(other) < id.index);
        family.insert(at, index);
        self.families.insert(first, family);
    }

    /// Takes a committed row from those of its segment.
    fn leave(&mut self, index: u32, segment: &SegmentId) {
        let hash = self.names.hash(hashed(segment));
        let Some(first) = self.first(hash, segment) else { return };
        let Some(mut family) = self.families.remove(&first) else {
            let Self { names, pages, long, .. } = self;
            return names.remove(hash, index, |row| hashed_in(pages, long, row));
        };
        family.retain(|&other| other != index);
        let Some(&next) = family.first() else { return };
        if first == index {
            self.names.replace(hash, first, next);
        }
        if family.len() > 1 {
            self.families.insert(if first == index { next } else { first }, family);
        }
    }

    /// The row by which the table has a segment.
    fn first(&self, hash: Hash, segment: &SegmentId) -> Option<u32> {
        self.names.find(hash, |index| {
            let row = self.row(index).filter(|row| segment.as_bytes().starts_with(row.begins()));
            row.is_some_and(|row| match row.name() {
                Name::Id => segment.as_bytes().len() == row.begins().len(),
                Name::Apart => row.segment() == Some(*segment),
                Name::Long => self.long.get(&index).is_some_and(|id| id.segment == *segment),
            })
        })
    }

    /// Pins a block once more, or once less.
    pub fn pin(&mut self, slot: SlotId, more: bool) {
        if self.at(slot).is_none() {
            return;
        }
        let pins = self.pins.get(&slot.index).copied().unwrap_or(0);
        match if more { pins.saturating_add(1) } else { pins.saturating_sub(1) } {
            0 => {
                self.pins.remove(&slot.index);
                if let Some(row) = self.row(slot.index).filter(|row| row.is_committed()) {
                    self.has_age(slot.index, row.created);
                }
            }
            pins => drop(self.pins.insert(slot.index, pins)),
        }
    }

    /// Whether a block is pinned.
    pub fn is_pinned(&self, index: u32) -> bool {
        self.pins.contains_key(&index)
    }

    /// Puts a label on a committed block.
    pub fn label(&mut self, slot: SlotId, label: Label) {
        if let Some(row) = self.row_mut(slot.index)
            && row.is_committed()
            && row.generation == slot.generation
        {
            row.labels.put(label);
        }
    }

    /// Takes a label off all blocks, as far as may be. The rows of those that have to go by that.
    pub fn unlabel(&mut self, label: Label) -> Vec<u32> {
        let rows = (0..).zip(self.pages.iter_mut().flat_map(|page| &mut page.rows));
        let pins = &self.pins;
        let gone = rows.filter_map(|(index, row)| {
            row.labels.take_off(label, pins.contains_key(&index)).then_some(index)
        });
        gone.collect()
    }

    /// Whether any block has that label.
    pub fn is_labelled(&self, label: Label) -> bool {
        self.pages.iter().flat_map(|page| &page.rows).any(|row| row.labels.has(label))
    }

    /// The block of a row.
    pub fn block(&self, index: u32) -> Option<Block> {
        let row = self.row(index).filter(|row| row.state() != State::Free)?;
        let id = match row.segment() {
            Some(segment) => BlockId { segment, index: row.index() },
            None => **self.long.get(&index)?,
        };
        let (algorithm, plain_len) = (row.algorithm(), row.plain_len());
        let len = algorithm.sealed_len(plain_len);
        Some(Block { id, algorithm, len, plain_len, created: row.created, place: row.place() })
    }

    /// The block of a slot, unless that is stale.
    pub fn at(&self, slot: SlotId) -> Option<Block> {
        self.row(slot.index).filter(|row| row.generation == slot.generation)?;
        self.block(slot.index)
    }

    /// The slot of a row.
    pub fn slot(&self, index: u32) -> SlotId {
        SlotId { index, generation: self.row(index).map_or(0, |row| row.generation) }
    }

    /// Marks a block of which the entry is not what it should be.
    pub fn set_unreadable(&self, index: u32) {
        self.row(index).into_iter().for_each(Row::set_unreadable);
    }

    /// Whether a block has that mark.
    pub fn is_unreadable(&self, index: u32) -> bool {
        self.row(index).is_some_and(Row::is_unreadable)
    }

    /// The row of a committed block.
    pub fn find(&self, id: &BlockId) -> Option<u32> {
        self.of_segment(&id.segment, id.index..=id.index).map(|(row, _)| row).next()
    }

    /// The committed blocks of a segment whose index is in `indices`, in order.
    pub fn of_segment(
        &self,
        segment: &SegmentId,
        indices: RangeInclusive<u32>,
    ) -> impl Iterator<Item = (u32, Block)> {
        let first = self.first(self.names.hash(hashed(segment)), segment);
        let family = first.and_then(|first| self.families.get(&first)).map_or(&[][..], Vec::as_slice);
        let from = family.partition_point(|&row| self.index_of(row) < *indices.start());
        let only = first.filter(|_| family.is_empty());
        let rows = only.into_iter().chain(family.iter().skip(from).copied());
        let blocks = rows.filter_map(|row| Some((row, self.block(row)?)));
        let (start, end) = indices.into_inner();
        blocks
            .skip_while(move |(_, block)| block.id.index < start)
            .take_while(move |(_, block)| block.id.index <= end)
    }

    /// The committed rows.
    pub fn committed(&self) -> impl Iterator<Item = u32> {
        (0..self.rows).filter(|&index| self.row(index).is_some_and(Row::is_committed))
    }

    /// The committed rows, least recently used first.
    pub fn by_use(&self) -> impl Iterator<Item = u32> {
        let row = |index: u32| Some(index).filter(|index| *index != NONE);
        core::iter::successors(row(self.oldest), move |index| row(self.row(*index)?.newer()))
    }

    /// Up to `at_most` committed rows that are not pinned and were committed at a time that `is_old`, as are all
    /// before it. Who does not remove them may not find them again.
    pub fn take_old(&mut self, at_most: usize, is_old: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut old = Vec::new();
        while old.len() < at_most
            && let Some(&(_, number)) = self.ages.first().filter(|(oldest, _)| is_old(*oldest))
            && let Some(page) = self.pages.get(number as usize)
        {
            let first = number * PAGE_ROWS as u32;
            let rows = (first..)
                .zip(&page.rows)
                .filter(|(index, row)| row.is_committed() && !self.is_pinned(*index));
            let mut oldest = u32::MAX;
            for (index, row) in rows {
                if old.len() < at_most && is_old(row.created) {
                    old.push(index);
                } else {
                    oldest = oldest.min(row.created);
                }
            }
            self.set_oldest(number, oldest);
        }
        old
    }

    /// A row was committed then, and may go by its age.
    fn has_age(&mut self, index: u32, created: u32) {
        let number = page_of(index);
        if self.pages.get(number).is_some_and(|page| created < page.oldest) {
            self.set_oldest(number as u32, created);
        }
    }

    fn set_oldest(&mut self, number: u32, oldest: u32) {
        let Some(page) = self.pages.get_mut(number as usize) else { return };
        self.ages.remove(&(page.oldest, number));
        page.oldest = oldest;
        if oldest < u32::MAX {
            self.ages.insert((oldest, number));
        }
    }

    fn row(&self, index: u32) -> Option<&Row> {
        #[cfg(test)]
        self.looked_at.set(self.looked_at.get() + 1);
        row_in(&self.pages, index)
    }

    fn row_mut(&mut self, index: u32) -> Option<&mut Row> {
        self.pages.get_mut(page_of(index))?.rows.get_mut(index as usize % PAGE_ROWS)
    }

    /// Which block of its segment a row has.
    fn index_of(&self, index: u32) -> u32 {
        match self.row(index) {
            Some(row) if row.name() != Name::Long => row.index(),
            _ => self.long.get(&index).map_or(0, |id| id.index),
        }
    }

    /// Makes a row the one used last.
    fn append(&mut self, index: u32) {
        let before = core::mem::replace(&mut self.newest, index);
        if let Some(row) = self.row_mut(index) {
            row.set_older(before);
            row.set_newer(NONE);
        }
        match self.row_mut(before) {
            Some(row) => row.set_newer(index),
            None => self.oldest = index,
        }
    }

    /// Takes a row out of the chain.
    fn unlink(&mut self, index: u32) {
        let Some((older, newer)) = self.row(index).map(|row| (row.older(), row.newer())) else { return };
        match self.row_mut(older) {
            Some(row) => row.set_newer(newer),
            None => self.oldest = newer,
        }
        match self.row_mut(newer) {
            Some(row) => row.set_older(older),
            None => self.newest = older,
        }
    }
}

fn page_of(index: u32) -> usize {
    index as usize / PAGE_ROWS
}

fn row_in(pages: &[Page], index: u32) -> Option<&Row> {
    pages.get(page_of(index))?.rows.get(index as usize % PAGE_ROWS)
}

/// What the table hashes of a segment's name: of one for what cannot be verified, what its row has as well.
fn hashed(segment: &SegmentId) -> &[u8] {
    match segment.as_bytes() {
        name if segment.is_unverifiable() => name.split_last().map_or(name, |(_, id)| id),
        name => name,
    }
}

fn hashed_in<'a>(pages: &'a [Page], long: &'a BTreeMap<u32, Box<BlockId>>, index: u32) -> &'a [u8] {
    match row_in(pages, index) {
        Some(row) if row.name() != Name::Long => row.begins(),
        _ => long.get(&index).map_or(&[], |id| hashed(&id.segment)),
    }
}

#[cfg(test)]
mod tests;
