//! A row of the index: what is known of a block without the disk, in 56 bytes.
//!
//! What is not here is in the block's entry: its IV, which is read when somebody wants the block, and the time of last
//! use.

use core::cell::Cell;

use peerdist_core::content::SegmentId;
use peerdist_core::crypto::CipherAlgorithm;
use peerdist_core::store::Labels;

use super::Block;
use crate::file::MAX_BLOCKS;
use crate::file::blocks::disk::{ENTRIES, MAX_LEN, MAX_PAGES};
use crate::file::blocks::packs::Place;

/// Bytes of nearly all segment ids.
const ID_BYTES: usize = 32;

/// No row: the greatest number of a link.
pub const NONE: u32 = LINK.most();

/// What fits a word beside other things.
#[derive(Clone, Copy)]
struct Bits {
    at: u32,
    len: u32,
}

/// A row before or behind.
const LINK: Bits = Bits { at: 0, len: 23 };

// Behind the link to the older one.
const INDEX: Bits = Bits { at: 23, len: 9 };

// Behind the link to the newer one.
const ENTRY: Bits = Bits { at: 23, len: 7 };
const STATE: Bits = Bits { at: 30, len: 2 };

// Of the size: that of the block of 128 KiB and of its padding fits.
const PLAIN_LEN: Bits = Bits { at: 0, len: 18 };
const ALGORITHM: Bits = Bits { at: 18, len: 2 };
const NAME: Bits = Bits { at: 20, len: 2 };

// Of the place.
const PACK: Bits = Bits { at: 0, len: 16 };
const START: Bits = Bits { at: 16, len: 13 };
const UNREADABLE: Bits = Bits { at: 29, len: 1 };

const _: () = assert!(MAX_BLOCKS <= NONE as usize && MAX_LEN <= PLAIN_LEN.most());
const _: () = assert!(ENTRIES <= ENTRY.most() as usize + 1 && MAX_PAGES as u32 <= START.most());

pub struct Row {
    /// The segment's id, or its beginning.
    segment: [u8; ID_BYTES],
    /// When the block was committed, in seconds of Unix.
    pub created: u32,
    pub generation: u32,
    /// The rows that were used before this one and after it; of a free one, the next that is free.
    older: u32,
    newer: u32,
    place: Cell<u32>,
    size: [u8; 3],
    pub labels: Labels,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Free,
    Reserved,
    Committed,
}

/// How a block is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// By the id that the row has.
    Id,
    /// By the name for what cannot be verified of that segment: most of what a hosted cache has.
    Apart,
    /// Longer than a row: it is kept elsewhere.
    Long,
}

impl Row {
    pub fn free(generation: u32) -> Self {
        Self {
            segment: [0; ID_BYTES],
            created: 0,
            generation,
            older: NONE,
            newer: NONE,
            place: Cell::new(0),
            size: [0; _],
            labels: Labels::NONE,
        }
    }

    /// That of a block, which is committed or not.
    pub fn of(block: &Block, state: State, generation: u32) -> Self {
        let Block { id, algorithm, plain_len, created, place, .. } = *block;
        let mut row = Self { created, ..Self::free(generation) };
        let bytes = id.segment.as_bytes();
        if let Some(first) = bytes.first_chunk() {
            row.segment = *first;
        }
        let name = match id.segment {
            _ if id.index > INDEX.most() => Name::Long,
            segment if SegmentId::from_slice(&row.segment) == Some(segment) => Name::Id,
            segment if row.apart() == Some(segment) => Name::Apart,
            _ => Name::Long,
        };
        INDEX.put(&mut row.older, id.index);
        ENTRY.put(&mut row.newer, place.entry.into());
        STATE.put(&mut row.newer, state as u32);
        let mut size = 0;
        PLAIN_LEN.put(&mut size, plain_len);
        ALGORITHM.put(&mut size, algorithm_code(algorithm));
        NAME.put(&mut size, name as u32);
        [row.size[0], row.size[1], row.size[2], _] = size.to_le_bytes();
        PACK.put(row.place.get_mut(), place.pack.into());
        START.put(row.place.get_mut(), place.start.into());
        row
    }

    pub fn state(&self) -> State {
        match STATE.of(self.newer) {
            0 => State::Free,
            1 => State::Reserved,
            _ => State::Committed,
        }
    }

    pub fn is_committed(&self) -> bool {
        self.state() == State::Committed
    }

    pub fn name(&self) -> Name {
        match NAME.of(self.size()) {
            0 => Name::Id,
            1 => Name::Apart,
            _ => Name::Long,
        }
    }

    /// The segment, unless the name is long.
    pub fn segment(&self) -> Option<SegmentId> {
        match self.name() {
            Name::Id => SegmentId::from_slice(&self.segment),
            Name::Apart => self.apart(),
            Name::Long => None,
        }
    }

    fn apart(&self) -> Option<SegmentId> {
        SegmentId::from_slice(&self.segment)?.unverifiable()
    }

    /// What the segment's name begins with.
    pub fn begins(&self) -> &[u8; ID_BYTES] {
        &self.segment
    }

    pub fn index(&self) -> u32 {
        INDEX.of(self.older)
    }

    pub fn place(&self) -> Place {
        let place = self.place.get();
        let (pack, start) = (PACK.of(place) as u16, START.of(place) as u16);
        Place { pack, entry: ENTRY.of(self.newer) as u8, start }
    }

    pub fn plain_len(&self) -> u32 {
        PLAIN_LEN.of(self.size())
    }

    pub fn algorithm(&self) -> CipherAlgorithm {
        use CipherAlgorithm::{Aes128, Aes192, Aes256, None};
        match ALGORITHM.of(self.size()) {
            0 => None,
            1 => Aes128,
            2 => Aes192,
            _ => Aes256,
        }
    }

    fn size(&self) -> u32 {
        let [low, middle, high] = self.size;
        u32::from_le_bytes([low, middle, high, 0])
    }

    pub fn is_unreadable(&self) -> bool {
        UNREADABLE.of(self.place.get()) > 0
    }

    /// The entry of this block was not what it should be.
    pub fn set_unreadable(&self) {
        let mut place = self.place.get();
        UNREADABLE.put(&mut place, 1);
        self.place.set(place);
    }

    pub fn older(&self) -> u32 {
        LINK.of(self.older)
    }

    pub fn newer(&self) -> u32 {
        LINK.of(self.newer)
    }

    pub fn set_older(&mut self, row: u32) {
        LINK.put(&mut self.older, row);
    }

    pub fn set_newer(&mut self, row: u32) {
        LINK.put(&mut self.newer, row);
    }
}

impl Bits {
    /// The greatest number that fits.
    const fn most(self) -> u32 {
        (1 << self.len) - 1
    }

    const fn of(self, word: u32) -> u32 {
        word >> self.at & self.most()
    }

    /// Puts a number there; of one that is too great, what fits.
    const fn put(self, word: &mut u32, number: u32) {
        *word = *word & !(self.most() << self.at) | (number & self.most()) << self.at;
    }
}

fn algorithm_code(algorithm: CipherAlgorithm) -> u32 {
    match algorithm {
        CipherAlgorithm::None => 0,
        CipherAlgorithm::Aes128 => 1,
        CipherAlgorithm::Aes192 => 2,
        CipherAlgorithm::Aes256 => 3,
    }
}

#[cfg(test)]
mod tests {
    use peerdist_core::store::{BlockId, Label};

    use super::*;

    #[test]
    fn a_row_is_small() {
        assert_eq!(size_of::<Row>(), 56);
    }

    /// Each field at its greatest beside the others at their least, and the other way round.
    #[test]
    fn nobody_has_anothers_bits() {
        let id = SegmentId::from_slice(&[0xa5; 32]).unwrap();
        let apart = id.unverifiable().unwrap();
        let place = |pack, entry, start| Place { pack, entry, start };
        for (segment, index, algorithm, plain_len, place) in [
            (id, 511, CipherAlgorithm::None, 0, place(0, 0, 0)),
            (id, 0, CipherAlgorithm::Aes256, 0, place(0, 127, 0)),
            (id, 0, CipherAlgorithm::None, MAX_LEN, place(0, 0, MAX_PAGES)),
            (apart, 0, CipherAlgorithm::Aes128, 0, place(u16::MAX, 0, 0)),
            (apart, 511, CipherAlgorithm::Aes192, MAX_LEN, place(u16::MAX, 127, MAX_PAGES)),
        ] {
            let id = BlockId { segment, index };
            let len = algorithm.sealed_len(plain_len);
            let block = Block { id, algorithm, len, plain_len, created: 7, place };
            for (older, newer) in [(0, 0), (NONE, 0), (0, NONE), (NONE, NONE)] {
                for state in [State::Free, State::Reserved, State::Committed] {
                    let mut row = Row::of(&block, state, u32::MAX);
                    row.set_older(older);
                    row.set_newer(newer);
                    let is_same = |row: &Row| {
                        assert_eq!((row.segment(), row.index(), row.place()), (Some(segment), index, place));
                        assert_eq!((row.algorithm(), row.plain_len()), (algorithm, plain_len));
                        assert_eq!((row.older(), row.newer(), row.state()), (older, newer, state));
                        assert_eq!((row.created, row.generation), (7, u32::MAX));
                    };
                    is_same(&row);
                    assert!(!row.is_unreadable());
                    row.set_unreadable();
                    row.labels.put(Label::new(7).unwrap());
                    assert!(row.is_unreadable());
                    is_same(&row);
                }
            }
        }
    }

    #[test]
    fn names_that_do_not_fit() {
        let name = |segment: &[u8], index| {
            let segment = SegmentId::from_stored(segment).unwrap();
            let id = BlockId { segment, index };
            let (algorithm, place) = (CipherAlgorithm::None, Place::NONE);
            Row::of(&Block { id, algorithm, len: 0, plain_len: 0, created: 0, place }, State::Committed, 0)
                .name()
        };
        let mut odd = [7; 33];
        assert_eq!(
            (name(&odd, 0), name(&[7; 48], 0), name(&[7; 64], 0)),
            (Name::Long, Name::Long, Name::Long)
        );
        odd[32] = 0;
        assert_eq!((name(&odd, 511), name(&[7; 32], 511)), (Name::Apart, Name::Id));
        assert_eq!((name(&odd, 512), name(&[7; 32], u32::MAX)), (Name::Long, Name::Long));
    }
}
