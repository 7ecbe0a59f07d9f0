//! Which blocks of a segment, or which segment ids of a request: what a list of ranges comes down
//! to, in 64 bytes however many ranges there were.

use super::wire::Range;
use crate::limits::SEGMENT_BLOCKS;

/// Indices that a set has room for. No segment has more blocks. Of the segments that one request
/// asks for, those beyond are not listed, and so will be asked for one by one.
pub const SET_INDICES: u32 = SEGMENT_BLOCKS;

const WORDS: usize = SET_INDICES.div_ceil(u32::BITS) as usize;

/// A set of indices below [`SET_INDICES`]; those above are left out.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexSet([u32; WORDS]);

impl IndexSet {
    /// The empty set.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// The first `count` indices.
    pub fn up_to(count: u32) -> Self {
        let mut set = Self::EMPTY;
        set.insert_range(Range { index: 0, count });
        set
    }

    /// Adds one index.
    pub fn insert(&mut self, index: u32) {
        self.insert_range(Range { index, count: 1 });
    }

    /// Adds all indices of a range.
    #[inline(never)]
    pub fn insert_range(&mut self, range: Range) {
        let indices = range.indices();
        let mut first = 0u32;
        for word in &mut self.0 {
            // Where in this word the range begins and ends.
            let start = indices.start.saturating_sub(first);
            let end = indices.end.saturating_sub(first).min(u32::BITS);
            if start < end {
                *word |= (u32::MAX >> (u32::BITS - (end - start))) << start;
            }
            first = first.saturating_add(u32::BITS);
        }
    }

    /// Takes one index out.
    pub fn remove(&mut self, index: u32) {
        if let Some(word) = self.0.get_mut((index / u32::BITS) as usize) {
            *word &= !(1 << (index % u32::BITS));
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// Whether `index` is one of them.
    pub fn contains(&self, index: u32) -> bool {
        self.0.get((index / u32::BITS) as usize).is_some_and(|word| word >> (index % u32::BITS) & 1 == 1)
    }

    /// Those of this set that are in `other` as well.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = *self;
        both.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
        both
    }

    /// Those that are in this set, in `other`, or in both.
    pub fn union(&self, other: &Self) -> Self {
        let mut either = *self;
        either.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
        either
    }

    /// Those of this set that are not in `other`.
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = *self;
        rest.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
        rest
    }

    /// How many there are.
    #[inline(never)]
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<> {
        let (set, mut from) = (*self, 0u32);
        core::iter::from_fn(move || {
            let index = set.first_from(from)?;
            from = index.saturating_add(1);
            Some(index)
        })
    }

    /// The first index from `from` on.
    pub fn first_from(&self, from: u32) -> Option<u32> {
        self.first(from, 0)
    }

    /// The greatest index.
    pub fn last(&self) -> Option<u32> {
        let (at, word) = self.0.iter().enumerate().rfind(|(_, word)| **word > 0)?;
        Some((at as u32).saturating_mul(u32::BITS).saturating_add(word.checked_ilog2()?))
    }

    /// Its indices as bits, the lowest of the first word first.
    pub(crate) const fn words(&self) -> &[u32; WORDS] {
        &self.0
    }

    /// The set as ranges, in order, as few as possible: the form that Windows sends.
    pub fn ranges(&self) -> impl Iterator<Item = Range> + Clone + use<'_> {
        let mut from = 0;
        core::iter::from_fn(move || {
            let index = self.first(from, 0)?;
            from = self.first(index, u32::MAX).unwrap_or(SET_INDICES);
            Some(Range { index, count: from.saturating_sub(index) })
        })
    }

    /// The first index from `from` on whose bit is set; with all bits in `flip`, whose bit is not.
    #[inline(never)]
    fn first(&self, from: u32, flip: u32) -> Option<u32> {
        let mut first = from & !(u32::BITS - 1);
        let mut mask = u32::MAX << (from % u32::BITS);
        for word in self.0.get((from / u32::BITS) as usize..).unwrap_or_default() {
            let rest = (word ^ flip) & mask;
            if rest > 0 {
                return Some(first.saturating_add(rest.trailing_zeros()));
            }
            (first, mask) = (first.saturating_add(u32::BITS), u32::MAX);
        }
        None
    }
}

impl core::fmt::Debug for IndexSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.ranges().map(|range| range.indices())).finish()
    }
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
