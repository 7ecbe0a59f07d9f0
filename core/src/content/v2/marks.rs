//! Where some of the segments stand, so that any other one is found by a bounded walk.

use heapless::Vec;

use crate::limits::rows;

use super::wire::{CHUNK_HEAD_BYTES, DESCRIPTION_BYTES, HEADER_BYTES};

/// Places remembered: a search walks over no more than one in `MARKS / 2` of the segments.
pub const MARKS: usize = rows(32, 8);

/// Which segment is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sought {
    /// The one with this index.
    Index(u32),
    /// The one that holds the byte at this offset of the content.
    Offset(u64),
}

/// The place of a segment among the descriptions and in the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(in crate::content) struct Mark {
    /// Among the segments of the structure.
    pub index: u32,
    /// Among the segments of its chunk.
    pub within: u32,
    /// Where the segments of its chunk begin.
    pub chunk_at: u64,
    /// Where it begins in the content.
    pub offset: u64,
}

impl Mark {
    /// Where its description stands.
    pub(in crate::content) fn at(&self) -> u64 {
        self.chunk_at.saturating_add(u64::from(self.within) * DESCRIPTION_BYTES as u64)
    }

    /// Whether what is sought is this segment, or one behind it.
    pub(super) fn is_before(&self, sought: Sought) -> bool {
        match sought {
            Sought::Index(index) => self.index <= index,
            Sought::Offset(offset) => self.offset <= offset,
        }
    }
}

/// The places of every so many segments, from the first on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::content) struct Marks {
    marks: Vec<Kept, MARKS>,
    /// Segments from one mark to the next.
    stride: u32,
}

/// What is kept of a mark: the rest follows from its place among the others, since nothing stands between
/// descriptions but heads of chunks (fact 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    within: u32,
    /// Heads of chunks in front of it.
    chunks: u32,
    offset: u64,
}

impl Marks {
    pub(super) const fn new() -> Self {
        Self { marks: Vec::new(), stride: 1 }
    }

    /// Takes note of the next segment: every one has to be shown, in order.
    pub(super) fn note(&mut self, mark: Mark) {
        if !mark.index.is_multiple_of(self.stride) {
            return;
        }
        if self.marks.is_full() {
            // Every other mark goes.
            for kept in 0..MARKS / 2 {
                if let Some(&mark) = self.marks.get(2 * kept)
                    && let Some(place) = self.marks.get_mut(kept)
                {
                    *place = mark;
                }
            }
            self.marks.truncate(MARKS / 2);
            self.stride = self.stride.saturating_mul(2);
        }
        if mark.index.is_multiple_of(self.stride) {
            let heads = mark.chunk_at.saturating_sub(chunk_at(mark.index, mark.within, 0));
            let chunks = (heads / CHUNK_HEAD_BYTES as u64) as u32;
            // There is room, so this cannot fail.
            _ = self.marks.push(Kept { within: mark.within, chunks, offset: mark.offset });
        }
    }

    /// The mark nearest before the segment that is sought, or at it.
    pub(super) fn before(&self, sought: Sought) -> Option<Mark> {
        let marks = (0u32..).zip(&self.marks).map(|(place, kept)| {
            let Kept { within, chunks, offset } = *kept;
            let index = place.saturating_mul(self.stride);
            Mark { index, within, chunk_at: chunk_at(index, within, chunks), offset }
        });
        marks.take_while(|mark| mark.is_before(sought)).last()
    }
}

/// Where the segments of a chunk begin, of which the one with `index` is the one `within` it, and which has
/// that many heads of chunks in front of it.
fn chunk_at(index: u32, within: u32, chunks: u32) -> u64 {
    let descriptions = u64::from(index.saturating_sub(within)) * DESCRIPTION_BYTES as u64;
    HEADER_BYTES as u64 + descriptions + u64::from(chunks) * CHUNK_HEAD_BYTES as u64
}

#[cfg(feature = "defmt")]
impl defmt::Format for Marks {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=usize} marks, {=u32} apart", self.marks.len(), self.stride);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(index: u32) -> Mark {
        Mark { index, within: index, chunk_at: 36, offset: u64::from(index) * 10 }
    }

    #[test]
    fn no_walk_is_long() {
        for segments in [1, 2, 31, 32, 33, 64, 65, 1_000, 65_536] {
            let mut marks = Marks::new();
            (0..segments).for_each(|index| marks.note(mark(index)));
            let longest = (0..segments).map(|index| {
                let found = marks.before(Sought::Index(index)).unwrap();
                assert!(found.index <= index);
                assert_eq!(marks.before(Sought::Offset(u64::from(index) * 10 + 9)), Some(found));
                index - found.index
            });
            assert!(longest.max().unwrap() <= segments / (MARKS as u32 / 2), "{segments}");
        }
    }

    #[test]
    fn nothing_stands_before_the_first() {
        let mut marks = Marks::new();
        assert_eq!(marks.before(Sought::Index(0)), None);
        marks.note(Mark { offset: 5, ..mark(0) });
        assert_eq!(marks.before(Sought::Offset(4)), None);
        assert_eq!(marks.before(Sought::Index(7)), Some(Mark { offset: 5, ..mark(0) }));
    }
}
