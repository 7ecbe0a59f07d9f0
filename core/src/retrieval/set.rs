//! Which blocks of a segment, or which segment ids of a request: what a list of ranges comes down
//! to, in 64 bytes however many ranges there were.

use super::wire::Range;
use crate::limits::SEGMENT_BLOCKS;

/// Indices that a set has room for. No segment has more blocks. Of the segments that one request
/// asks for, those beyond are not listed, and so will be asked for one by one.
pub const SET_INDICES: u32 = SEGMENT_BLOCKS;

const WORDS: usize = SET_INDICES.div_ceil(u64::BITS) as usize;

/// A set of indices below [`SET_INDICES`]; those above are left out.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexSet([u64; WORDS]);

impl IndexSet {
    /// The empty set.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// Adds one index.
    pub fn insert(&mut self, index: u32) {
        self.insert_range(Range { index, count: 1 });
    }

    /// Adds all indices of a range.
    pub fn insert_range(&mut self, range: Range) {
        let indices = range.indices();
        for (first, word) in (0..).step_by(u64::BITS as usize).zip(&mut self.0) {
            // Where in this word the range begins and ends.
            let start = indices.start.saturating_sub(first);
            let end = indices.end.saturating_sub(first).min(u64::BITS);
            if start < end {
                *word |= (u64::MAX >> (u64::BITS - (end - start))) << start;
            }
        }
    }

    /// Takes one index out.
    pub fn remove(&mut self, index: u32) {
        if let Some(word) = self.0.get_mut((index / u64::BITS) as usize) {
            *word &= !(1 << (index % u64::BITS));
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// Whether `index` is one of them.
    pub fn contains(&self, index: u32) -> bool {
        self.0.get((index / u64::BITS) as usize).is_some_and(|word| word >> (index % u64::BITS) & 1 == 1)
    }

    /// Those of this set that are in `other` as well.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = *self;
        both.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= other);
        both
    }

    /// Those that are in this set, in `other`, or in both.
    pub fn union(&self, other: &Self) -> Self {
        let mut either = *self;
        either.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
        either
    }

    /// Those of this set that are not in `other`.
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = *self;
        rest.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= !other);
        rest
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<> {
        (0u32..).step_by(u64::BITS as usize).zip(self.0).flat_map(|(first, word)| {
            let mut left = word;
            core::iter::from_fn(move || {
                let index = first.saturating_add(left.trailing_zeros());
                let found = left != 0;
                left &= left.wrapping_sub(1);
                found.then_some(index)
            })
        })
    }

    /// The first index from `from` on.
    pub fn first_from(&self, from: u32) -> Option<u32> {
        first_from(self.0.iter().copied(), from)
    }

    /// The greatest index.
    pub fn last(&self) -> Option<u32> {
        let (first, word) =
            (0u32..).step_by(u64::BITS as usize).zip(&self.0).filter(|(_, word)| **word > 0).last()?;
        Some(first.saturating_add(word.checked_ilog2()?))
    }

    /// Its indices as bits, the lowest of the first word first.
    pub(crate) const fn words(&self) -> &[u64; WORDS] {
        &self.0
    }

    /// The set as ranges, in order, as few as possible: the form that Windows sends.
    pub fn ranges(&self) -> impl Iterator<Item = Range> + Clone + use<'_> {
        let mut from = 0;
        core::iter::from_fn(move || {
            let index = self.first_from(from)?;
            let end = first_from(self.0.iter().map(|word| !word), index).unwrap_or(SET_INDICES);
            from = end;
            Some(Range { index, count: end.saturating_sub(index) })
        })
    }
}

impl core::fmt::Debug for IndexSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.ranges().map(|range| range.indices())).finish()
    }
}

/// The first bit from `from` on that is set in `words`.
fn first_from(words: impl Iterator<Item = u64>, from: u32) -> Option<u32> {
    (0u32..).step_by(u64::BITS as usize).zip(words).find_map(|(first, word)| {
        let skipped = from.saturating_sub(first);
        let rest = word & u64::MAX.checked_shl(skipped).unwrap_or(0);
        (rest > 0).then(|| first.saturating_add(rest.trailing_zeros()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(u32, u32)]) -> IndexSet {
        let mut set = IndexSet::EMPTY;
        ranges.iter().for_each(|&(index, count)| set.insert_range(Range { index, count }));
        set
    }

    fn ranges(set: &IndexSet) -> heapless::Vec<(u32, u32), 256> {
        set.ranges().map(|range| (range.index, range.count)).collect()
    }

    #[test]
    fn ranges_are_normal() {
        assert_eq!(
            ranges(&set(&[(511, 1), (42, 7), (49, 15), (0, 1), (40, 4)]))[..],
            [(0, 1), (40, 24), (511, 1)]
        );
        assert_eq!(ranges(&set(&[(0, 512)]))[..], [(0, 512)]);
        assert_eq!(ranges(&set(&[(63, 2), (128, 64)]))[..], [(63, 2), (128, 64)]);
        assert!(ranges(&set(&[(7, 0)])).is_empty() && set(&[(7, 0)]).is_empty());
        assert_eq!(ranges(&set(&[(510, u32::MAX), (512, 1), (u32::MAX, u32::MAX)]))[..], [(510, 2)]);
        let mut every_other = IndexSet::EMPTY;
        (0..512).step_by(2).for_each(|index| every_other.insert(index));
        assert_eq!(ranges(&every_other).len(), 256, "more there cannot be");
    }

    #[test]
    fn ends_and_members() {
        let some = set(&[(64, 1), (100, 3)]);
        assert_eq!(
            (some.first_from(0), some.first_from(64), some.first_from(65)),
            (Some(64), Some(64), Some(100))
        );
        assert_eq!((some.first_from(103), some.first_from(u32::MAX)), (None, None));
        assert_eq!(
            (some.last(), IndexSet::EMPTY.last(), set(&[(0, 512)]).last()),
            (Some(102), None, Some(511))
        );
        assert_eq!((some.count(), IndexSet::EMPTY.count(), set(&[(0, 512)]).count()), (4, 0, 512));
        assert!(some.iter().eq([64, 100, 101, 102]) && set(&[(0, 512)]).iter().eq(0..512));
        assert_eq!(some.without(&set(&[(0, 101)])), set(&[(101, 2)]));
        let mut other = some;
        [64, 101, 103, 512].into_iter().for_each(|index| other.remove(index));
        assert_eq!(other, set(&[(100, 1), (102, 1)]));
        assert!(some.contains(102) && !some.contains(103) && !some.contains(512) && !some.contains(99));
        assert_eq!(some.intersection(&set(&[(65, 36)])), set(&[(100, 1)]));
    }
}
