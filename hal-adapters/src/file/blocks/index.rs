//! The table of blocks, packed: there may be millions of them, and each takes about 140 bytes, in the
//! row and the two sets.

use std::boxed::Box;
use std::collections::BTreeSet;
use std::vec::Vec;

use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{CipherAlgorithm, Seal};
use peerdist_core::store::{BlockId, Label, Labels, SlotId};

use super::packs::Place;

/// Bytes of nearly all segment ids. What is longer has a place of its own.
const ID_BYTES: usize = 32;

/// No row.
const NONE: u32 = u32::MAX;

/// A block, as its entry in a pack has it, and what becomes of it.
#[derive(Clone, Copy)]
pub struct Block {
    pub id: BlockId,
    pub seal: Seal,
    pub len: u32,
    pub plain_len: u32,
    /// When it was committed, in seconds of Unix.
    pub created: u32,
    /// The time of last use that its entry has, in seconds of Unix.
    pub stamped: u32,
    pub pins: u16,
    /// Where it lies, once it is there.
    pub place: Place,
}

/// Rows that slots name, with the committed ones by name, by use and by age.
pub struct Index {
    rows: Vec<Row>,
    /// Rows without a block.
    free: Vec<u32>,
    /// The first bytes of the segment, the index, and the row: those that share them lie together.
    names: BTreeSet<(u64, u32, u32)>,
    /// When it was committed, and the row.
    ages: BTreeSet<(u32, u32)>,
    /// The ends of the chain by use.
    oldest: u32,
    newest: u32,
}

struct Row {
    segment: [u8; ID_BYTES],
    /// The segment, if its id does not fit.
    long: Option<Box<SegmentId>>,
    iv: [u8; 16],
    index: u32,
    len: u32,
    created: u32,
    stamped: u32,
    generation: u32,
    /// The rows that were used before this one and after it.
    older: u32,
    newer: u32,
    pins: u16,
    labels: Labels,
    place: Place,
    /// Bytes by which the block is longer than its plaintext: a cipher's block at most.
    padding: u8,
    algorithm: CipherAlgorithm,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Reserved,
    Committed,
}

impl Default for Index {
    fn default() -> Self {
        let (names, ages) = (BTreeSet::new(), BTreeSet::new());
        Self { rows: Vec::new(), free: Vec::new(), names, ages, oldest: NONE, newest: NONE }
    }
}

impl Index {
    /// How many blocks are committed.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Takes a block that is not committed.
    pub fn insert(&mut self, block: &Block) -> SlotId {
        let index = self.free.pop().unwrap_or_else(|| {
            if self.rows.len() == self.rows.capacity() {
                // Twice as many, as usual, would be half of all memory.
                self.rows.reserve_exact(self.rows.len() / 8 + 64);
            }
            self.rows.push(Row::FREE);
            self.rows.len().saturating_sub(1) as u32
        });
        let generation = self.row(index).map_or(0, |row| row.generation);
        if let Some(row) = self.row_mut(index) {
            *row = Row { generation, ..Row::of(block) };
        }
        SlotId { index, generation }
    }

    /// Commits a row, as `block` says by now, and as the one used last.
    pub fn publish(&mut self, index: u32, block: &Block) {
        let Some(row) = self.row_mut(index).filter(|row| row.state == State::Reserved) else { return };
        *row = Row { generation: row.generation, state: State::Committed, ..Row::of(block) };
        self.names.insert((first(&block.id.segment), block.id.index, index));
        self.ages.insert((block.created, index));
        self.append(index);
    }

    /// Counts a use of a committed row, of which the entry is stamped.
    pub fn touch(&mut self, index: u32, stamped: u32) {
        let Some(row) = self.row_mut(index).filter(|row| row.state == State::Committed) else { return };
        row.stamped = stamped;
        self.unlink(index);
        self.append(index);
    }

    /// Frees a row: its block, and whether that was committed.
    pub fn remove(&mut self, index: u32) -> Option<(Block, bool)> {
        let block = self.block(index)?;
        let committed = self.row(index).is_some_and(|row| row.state == State::Committed);
        if committed {
            self.unlink(index);
            self.ages.remove(&(block.created, index));
            self.names.remove(&(first(&block.id.segment), block.id.index, index));
        }
        if let Some(row) = self.row_mut(index) {
            *row = Row { generation: row.generation.wrapping_add(1), ..Row::FREE };
        }
        self.free.push(index);
        Some((block, committed))
    }

    /// Pins a block once more, or once less.
    pub fn pin(&mut self, slot: SlotId, more: bool) {
        if let Some(row) = self.row_mut(slot.index)
            && row.generation == slot.generation
        {
            row.pins = if more { row.pins.saturating_add(1) } else { row.pins.saturating_sub(1) };
        }
    }

    /// Puts a label on a committed block.
    pub fn label(&mut self, slot: SlotId, label: Label) {
        if let Some(row) = self.row_mut(slot.index)
            && (row.generation, row.state) == (slot.generation, State::Committed)
        {
            row.labels.put(label);
        }
    }

    /// Takes a label off all blocks, as far as may be. The rows of those that have to go by that.
    pub fn unlabel(&mut self, label: Label) -> Vec<u32> {
        let rows = (0..).zip(&mut self.rows);
        let gone = rows.filter_map(|(index, row)| row.labels.take_off(label, row.pins > 0).then_some(index));
        gone.collect()
    }

    /// Whether any block has that label.
    pub fn is_labelled(&self, label: Label) -> bool {
        self.rows.iter().any(|row| row.labels.has(label))
    }

    /// The block of a row.
    pub fn block(&self, index: u32) -> Option<Block> {
        self.row(index)?.block()
    }

    /// The block of a slot, unless that is stale.
    pub fn at(&self, slot: SlotId) -> Option<Block> {
        self.row(slot.index).filter(|row| row.generation == slot.generation)?.block()
    }

    /// The slot of a row.
    pub fn slot(&self, index: u32) -> SlotId {
        SlotId { index, generation: self.row(index).map_or(0, |row| row.generation) }
    }

    /// The row of a committed block.
    pub fn find(&self, id: &BlockId) -> Option<u32> {
        self.of_segment(&id.segment, id.index..=id.index).map(|(row, _)| row).next()
    }

    /// The committed blocks of a segment whose index is in `indices`, in order.
    pub fn of_segment(
        &self,
        segment: &SegmentId,
        indices: core::ops::RangeInclusive<u32>,
    ) -> impl Iterator<Item = (u32, Block)> {
        let first = first(segment);
        let rows = self.names.range((first, *indices.start(), 0)..=(first, *indices.end(), u32::MAX));
        let blocks = rows.filter_map(|&(.., row)| Some((row, self.block(row)?)));
        blocks.filter(move |(_, block)| block.id.segment == *segment)
    }

    /// The committed rows, by the beginnings of their segments, and by their indices among those.
    pub fn by_name(&self) -> impl Iterator<Item = u32> {
        self.names.iter().map(|&(.., row)| row)
    }

    /// The committed rows, oldest first.
    pub fn by_age(&self) -> impl Iterator<Item = u32> {
        self.ages.iter().map(|&(_, row)| row)
    }

    /// The committed rows, least recently used first.
    pub fn by_use(&self) -> impl Iterator<Item = u32> {
        let row = |index: u32| Some(index).filter(|index| *index != NONE);
        core::iter::successors(row(self.oldest), move |index| row(self.row(*index)?.newer))
    }

    fn row(&self, index: u32) -> Option<&Row> {
        self.rows.get(index as usize)
    }

    fn row_mut(&mut self, index: u32) -> Option<&mut Row> {
        self.rows.get_mut(index as usize)
    }

    /// Makes a row the one used last.
    fn append(&mut self, index: u32) {
        let before = core::mem::replace(&mut self.newest, index);
        if let Some(row) = self.row_mut(index) {
            (row.older, row.newer) = (before, NONE);
        }
        match self.row_mut(before) {
            Some(row) => row.newer = index,
            None => self.oldest = index,
        }
    }

    /// Takes a row out of the chain.
    fn unlink(&mut self, index: u32) {
        let Some(&Row { older, newer, .. }) = self.row(index) else { return };
        match self.row_mut(older) {
            Some(row) => row.newer = newer,
            None => self.oldest = newer,
        }
        match self.row_mut(newer) {
            Some(row) => row.older = older,
            None => self.newest = older,
        }
    }
}

impl Row {
    const FREE: Self = Self {
        segment: [0; ID_BYTES],
        long: None,
        iv: [0; 16],
        index: 0,
        len: 0,
        created: 0,
        stamped: 0,
        generation: 0,
        older: NONE,
        newer: NONE,
        pins: 0,
        labels: Labels::NONE,
        place: Place::NONE,
        padding: 0,
        algorithm: CipherAlgorithm::None,
        state: State::Free,
    };

    fn of(block: &Block) -> Self {
        let Block { id, seal, len, plain_len, created, stamped, pins, place } = block;
        let short = <[u8; ID_BYTES]>::try_from(id.segment.as_bytes());
        Self {
            segment: short.unwrap_or([0; ID_BYTES]),
            long: short.is_err().then(|| Box::new(id.segment)),
            iv: seal.iv,
            index: id.index,
            len: *len,
            created: *created,
            stamped: *stamped,
            pins: *pins,
            place: *place,
            // Of a block that is not whole, it is not known.
            padding: len.saturating_sub(*plain_len) as u8,
            algorithm: seal.algorithm,
            state: State::Reserved,
            ..Self::FREE
        }
    }

    fn block(&self) -> Option<Block> {
        let Self { iv, index, len, created, stamped, pins, place, padding, algorithm, .. } = *self;
        let segment = match &self.long {
            _ if self.state == State::Free => return None,
            Some(segment) => **segment,
            None => SegmentId::from_slice(&self.segment)?,
        };
        let id = BlockId { segment, index };
        let plain_len = len.saturating_sub(padding.into());
        Some(Block { id, seal: Seal { algorithm, iv }, len, plain_len, created, stamped, pins, place })
    }
}

/// The first bytes of a segment's id, which is a hash.
fn first(segment: &SegmentId) -> u64 {
    segment.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(segment: &[u8], index: u32) -> Block {
        let id = BlockId { segment: SegmentId::from_slice(segment).unwrap(), index };
        let seal = Seal { algorithm: CipherAlgorithm::Aes192, iv: [9; 16] };
        let place = Place { pack: 3, entry: index as u8, start: 9 };
        Block { id, seal, len: 48, plain_len: 40, created: 7, stamped: 8, pins: 0, place }
    }

    #[test]
    fn a_row_is_small() {
        assert!(size_of::<Row>() <= 96);
    }

    #[test]
    fn names_that_begin_alike() {
        let mut index = Index::default();
        let [mut a, mut b, c] = [[5; 32].to_vec(), [5; 32].to_vec(), [5; 48].to_vec()];
        (a[31], b[31]) = (1, 2);
        let blocks = [block(&a, 3), block(&b, 3), block(&c, 3), block(&c, 4)];
        let slots = blocks.map(|block| index.insert(&block));
        assert!(blocks.iter().all(|block| index.find(&block.id).is_none()));
        for (slot, block) in slots.iter().zip(&blocks) {
            index.publish(slot.index, block);
        }
        for (slot, block) in slots.iter().zip(&blocks) {
            assert_eq!(index.find(&block.id), Some(slot.index));
            let found = index.at(*slot).unwrap();
            assert_eq!((found.id, found.seal, found.plain_len), (block.id, block.seal, 40));
        }
        let of_c = index.of_segment(&blocks[2].id.segment, 0..=u32::MAX);
        assert_eq!(of_c.map(|(row, _)| row).collect::<Vec<_>>(), [2, 3]);
        assert!(index.remove(1).is_some_and(|(_, committed)| committed));
        assert_eq!((index.find(&blocks[1].id), index.at(slots[1]).is_none()), (None, true));
        assert_eq!((index.find(&blocks[0].id), index.len()), (Some(0), 3));
        // The row is given again, under another generation.
        assert_ne!(index.insert(&blocks[1]), slots[1]);
    }

    #[test]
    fn the_chain_by_use() {
        let mut index = Index::default();
        let order = |index: &Index| index.by_use().collect::<Vec<_>>();
        for number in 0..4 {
            let block = block(&[1; 32], number);
            let slot = index.insert(&block);
            index.publish(slot.index, &block);
        }
        assert_eq!(order(&index), [0, 1, 2, 3]);
        for (touched, after) in [(0, [1, 2, 3, 0]), (0, [1, 2, 3, 0]), (2, [1, 3, 0, 2])] {
            index.touch(touched, 9);
            assert_eq!(order(&index), after);
        }
        for (removed, after) in [(3, &[1, 0, 2][..]), (1, &[0, 2]), (2, &[0]), (0, &[])] {
            index.remove(removed);
            assert_eq!(order(&index), after);
        }
        assert_eq!(index.by_age().next(), None);
    }
}
