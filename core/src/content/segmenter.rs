//! Where the segments of content information 2.0 end (MS-PCCRC 2.4.1.2): after a fixed number of
//! bytes, or where the content itself says so.
//!
//! MS-PCCRC bounds the length of a segment and says nothing else of where to cut, so any server
//! may cut as it likes (fact 12). Fixed lengths cost nothing, but a byte inserted renames all
//! segments behind it. Content-defined cuts follow the content: two versions of a file share all
//! segments but those around a change, and a cache that holds the old version serves most of the
//! new one.
//!
//! The content-defined cuts come from a gear hash (Xia et al., "Ddelta: A deduplication-inspired
//! fast delta compression approach", Performance Evaluation 79, 2014), used as in FastCDC (Xia et
//! al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach for Data Deduplication",
//! USENIX ATC 2016): nothing is hashed where a cut would come too early, and a cut is made hard to
//! find before the normal length and easy after it.
//!
//! - The hash of a place is a function of the 64 bytes before it and of nothing else: each byte
//!   shifts what was there left by one of 64 bits. It is warmed over the last 64 bytes of the
//!   minimum, so whether the content allows a cut at a place does not depend on where the
//!   segment began. That is why two versions come back into step.
//! - Below [`NORMAL_SEGMENT_BYTES`] a cut needs 16 leading zero bits, from there on 14. So every
//!   place good enough for the first is good enough for the second.
//! - No segment is shorter than [`MIN_SEGMENT_BYTES`], but for a content's last, nor longer than
//!   [`MAX_SEGMENT_V2_BYTES`]. What has no cut to offer, such as a long run of one byte, is cut at
//!   the maximum.
//!
//! Changing the table, the bounds or the numbers of bits changes where all content is cut: what was
//! published before and what is published after share nothing, and caches start afresh. They are
//! fixed for ever, and a test holds them to literal cuts.
//!
//! The figures were chosen by edits of one byte each (replaced, inserted or deleted in turn). Of
//! 60,000 edits to 64 MiB of random bytes, 99.96 % change at most 3 segments and none more than 10;
//! with words as text 99.95 % and 6. Segments have 67 KiB on average, and 1 % are cut at the maximum.
//! Executables, with their runs of zeros, have 9 % of those: 96.5 % of edits change at most 3
//! segments, and none more than 13. Reading from a random place of random bytes is in step with the
//! content's own cuts after 10 segments at most. With a minimum of 24 KiB that is 9, but segments
//! are smaller, and each costs 68 bytes of content information and an identifier to ask for. With
//! 12 bits instead of 14 hardly a segment reaches the maximum, but it can take 20: when any place will
//! do, the first one behind the normal length is taken, wherever that is counted from.
//!
//! ```
//! use peerdist_core::content::segmenter::{SegmentLen, Segmentation, Segmenter};
//!
//! let four = SegmentLen::new(4).ok_or("not a length")?;
//! let mut segmenter = Segmenter::new(Segmentation::Fixed(four));
//! assert_eq!(segmenter.push(b"con"), None);
//! assert_eq!(segmenter.push(b"tent"), Some(1)); // "cont", and "ent" is yet to be given
//! assert_eq!(segmenter.push(b"ent"), None);
//! assert_eq!(segmenter.len(), 3); // the last segment, if the content ends here
//! # Ok::<(), &str>(())
//! ```

use crate::limits::MAX_SEGMENT_V2_BYTES;

/// Bytes of the shortest content-defined segment, unless the content ends: half of what a segment
/// has on average.
pub const MIN_SEGMENT_BYTES: u32 = 32_768;

/// From this length on, content-defined segments end more readily: near the average of 67 KiB, so
/// that lengths gather around it, and few of them reach the maximum.
pub const NORMAL_SEGMENT_BYTES: u32 = 65_536;

/// How content is cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Segmentation {
    /// Each segment has this many bytes, but for the last, which has the rest.
    Fixed(SegmentLen),
    /// Segments end where the content says so, near 64 KiB.
    ContentDefined,
}

/// Bytes of a segment of content information 2.0: 1 to [`MAX_SEGMENT_V2_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SegmentLen(u32);

impl SegmentLen {
    /// The longest.
    pub const MAX: Self = Self(MAX_SEGMENT_V2_BYTES);

    /// `None` unless `bytes` are at least 1 and at most [`MAX_SEGMENT_V2_BYTES`].
    pub const fn new(bytes: u32) -> Option<Self> {
        // MS-PCCRC 2.4.1.2: cbSegment is not zero and at most 128 kilobytes.
        match bytes {
            1..=MAX_SEGMENT_V2_BYTES => Some(Self(bytes)),
            _ => None,
        }
    }

    /// The number of bytes.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Tells where segments end, while content passes by in pieces of any length. The pieces make no
/// difference to the cuts.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Segmenter {
    segmentation: Segmentation,
    /// Bytes of the segment under way, fewer than a segment may have.
    len: u32,
    /// Of its last 64 bytes, from where a cut is near.
    hash: u64,
}

impl Segmenter {
    /// Begins a content.
    pub const fn new(segmentation: Segmentation) -> Self {
        Self { segmentation, len: 0, hash: 0 }
    }

    /// Looks at the next bytes of the content.
    ///
    /// `Some(n)`: the segment under way ends after the first `n` bytes of `data`, which is at
    /// least one. The others were not looked at: give them again. `None`: all of `data` belongs
    /// to the segment under way, which goes on. At the end of the content it ends as it is.
    pub fn push(&mut self, data: &[u8]) -> Option<usize> {
        let (max, found) = match self.segmentation {
            Segmentation::Fixed(len) => (len.get(), None),
            Segmentation::ContentDefined => (MAX_SEGMENT_V2_BYTES, self.find(data)),
        };
        let room = max.saturating_sub(self.len) as usize;
        let end = found.or((room <= data.len()).then_some(room));
        match end {
            Some(_) => *self = Self::new(self.segmentation),
            None => self.len = self.len.saturating_add(data.len() as u32),
        }
        end
    }

    /// Bytes of the segment under way.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether no segment is under way: the last byte that was looked at ended one.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The length of the shortest prefix of `data` after which the content allows a cut, below the
    /// maximum.
    fn find(&mut self, data: &[u8]) -> Option<usize> {
        let mut len = self.len;
        let mut rest = data;
        for stretch in &STRETCHES {
            let missing = stretch.end.saturating_sub(len) as usize;
            let (now, later) = rest.split_at_checked(missing).unwrap_or((rest, &[]));
            if let Some(limit) = stretch.limit
                && let Some(index) = roll(&mut self.hash, now, limit)
            {
                let behind = data.len().saturating_sub(rest.len());
                return Some(behind.saturating_add(index).saturating_add(1));
            }
            len = len.saturating_add(now.len() as u32);
            rest = later;
        }
        None
    }
}

/// Adds `data` to the hash up to the first byte that makes it fall below `limit`; the index of
/// that byte.
#[inline]
fn roll(hash: &mut u64, data: &[u8], limit: u64) -> Option<usize> {
    // In a register, not in memory, for as long as the loop runs.
    let mut value = *hash;
    let found = data.iter().position(|&byte| {
        value = (value << 1).wrapping_add(GEAR[usize::from(byte)]);
        value < limit
    });
    *hash = value;
    found
}

/// A part of a content-defined segment in which one rule holds.
struct Stretch {
    /// How long a segment is that ends where the stretch does.
    end: u32,
    /// A hash below this ends the segment. `None`: the bytes are not hashed.
    limit: Option<u64>,
}

/// Bytes that the hash remembers: one for each of its bits.
const WINDOW_BYTES: u32 = u64::BITS;

const STRETCHES: [Stretch; 4] = [
    Stretch { end: MIN_SEGMENT_BYTES - WINDOW_BYTES, limit: None },
    // The hash warms up, one byte short of the first that may end the segment.
    Stretch { end: MIN_SEGMENT_BYTES - 1, limit: Some(0) },
    Stretch { end: NORMAL_SEGMENT_BYTES - 1, limit: Some(1 << (u64::BITS - 16)) },
    Stretch { end: MAX_SEGMENT_V2_BYTES - 1, limit: Some(1 << (u64::BITS - 14)) },
];

/// A random number for each byte.
static GEAR: [u64; 256] = gear();

/// The outputs of SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators",
/// OOPSLA 2014) from a seed that is the name of the project.
const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let mut state = u64::from_be_bytes(*b"peerdist");
    let mut index = 0;
    while index < table.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[index] = mixed ^ (mixed >> 31);
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;
    use std::vec::Vec;

    use super::*;

    const MAX: usize = MAX_SEGMENT_V2_BYTES as usize;

    /// Xorshift64, another generator than the table's.
    fn random(len: usize, mut state: u64) -> Vec<u8> {
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 56) as u8
        };
        core::iter::repeat_with(next).take(len).collect()
    }

    /// Where segments end in `content`, given in pieces of these lengths over and over.
    fn cuts(segmentation: Segmentation, content: &[u8], pieces: &[usize]) -> Vec<usize> {
        let mut segmenter = Segmenter::new(segmentation);
        let (mut found, mut at) = (Vec::new(), 0);
        for &piece in pieces.iter().cycle() {
            if at == content.len() {
                break;
            }
            let end = content.len().min(at + piece);
            while let Some(n) = segmenter.push(&content[at..end]) {
                assert!((1..=end - at).contains(&n));
                at += n;
                found.push(at);
                assert!(segmenter.is_empty());
            }
            at = end;
            assert_eq!(segmenter.len() as usize, at - found.last().unwrap_or(&0));
        }
        found
    }

    fn content_defined(content: &[u8]) -> Vec<usize> {
        cuts(Segmentation::ContentDefined, content, &[usize::MAX / 2])
    }

    fn lengths(cuts: &[usize]) -> Vec<usize> {
        cuts.iter().scan(0, |start, &end| Some(end - core::mem::replace(start, end))).collect()
    }

    /// If this fails, all content that was ever published is cut anew: undo the change.
    #[test]
    fn cuts_are_fixed_for_ever() {
        let expected = [
            80_102, 138_499, 227_577, 265_953, 352_085, 445_965, 484_370, 537_942, 611_014, 664_676, 764_920,
            831_104, 900_697, 978_780,
        ];
        assert_eq!(content_defined(&random(1 << 20, 1)), expected);
    }

    #[test]
    fn pieces_make_no_difference() {
        let content = random(1 << 20, 2);
        let whole = content_defined(&content);
        for pieces in [&[1][..], &[1_460], &[0, 7, 65_536], &[32_767, 1, 63, 0, 64], &[131_072]] {
            assert_eq!(cuts(Segmentation::ContentDefined, &content, pieces), whole, "{pieces:?}");
        }
    }

    #[test]
    fn lengths_keep_to_the_bounds() {
        let content = random(16 << 20, 3);
        let lengths = lengths(&content_defined(&content));
        assert!(lengths.iter().all(|len| (MIN_SEGMENT_BYTES as usize..=MAX).contains(len)));
        let average = content.len() / lengths.len();
        assert!((60 << 10..72 << 10).contains(&average), "{average}");
    }

    /// Two cuts of `cuts_are_fixed_for_ever`: one that is good enough for any length, and one that
    /// is good enough from the normal length on.
    #[test]
    fn a_place_is_judged_by_the_64_bytes_before_it() {
        let content = random(1 << 20, 1);
        let [any, normal] = [138_499, 227_577].map(|cut| &content[cut - 64..cut]);
        let [min, norm] = [MIN_SEGMENT_BYTES, NORMAL_SEGMENT_BYTES].map(|len| len as usize);
        let first_cut = |window: &[u8], len: usize, around: u8| {
            let mut content = vec![around; 2 * MAX];
            content[len - 64..len].copy_from_slice(window);
            content_defined(&content)[0]
        };
        for around in [0, 255] {
            for len in [min, min + 1, norm - 1, norm, MAX - 1] {
                assert_eq!(first_cut(any, len, around), len);
            }
            for len in [min - 1, MAX + 1] {
                assert_eq!(first_cut(any, len, around), MAX);
            }
            for len in [norm, norm + 1, MAX - 1] {
                assert_eq!(first_cut(normal, len, around), len);
            }
            for len in [min, norm - 1] {
                assert_eq!(first_cut(normal, len, around), MAX);
            }
        }
        // The first of the 64 bytes weighs one bit, the highest.
        let mut other = any.to_vec();
        let verdicts = (0..=255).map(|first| {
            other[0] = first;
            first_cut(&other, min, 0)
        });
        let kept = verdicts.filter(|&cut| cut == min).count();
        assert!((64..192).contains(&kept), "{kept}");
    }

    #[test]
    fn content_without_a_cut_is_cut_at_the_maximum() {
        for byte in 0..=255 {
            assert_eq!(content_defined(&vec![byte; 2 * MAX + 1]), [MAX, 2 * MAX], "{byte}");
        }
        let periodic: Vec<u8> = (0..2 * MAX as u32).map(|i| ((i * 7 + 3) % 251) as u8).collect();
        assert_eq!(content_defined(&periodic), [MAX, 2 * MAX]);
    }

    #[test]
    fn fixed_lengths() {
        for (len, content_len, expected) in [
            (1, 3, &[1, 2, 3][..]),
            (4, 3, &[]),
            (4, 4, &[4]),
            (4, 9, &[4, 8]),
            (65_536, 200_000, &[65_536, 131_072, 196_608]),
            (131_072, 262_144, &[131_072, 262_144]),
        ] {
            let segmentation = Segmentation::Fixed(SegmentLen::new(len).unwrap());
            for pieces in [&[1][..], &[3, 0, 2], &[usize::MAX / 2]] {
                assert_eq!(cuts(segmentation, &random(content_len, 4), pieces), expected, "{len} {pieces:?}");
            }
        }
    }

    #[test]
    fn no_bytes_change_nothing() {
        for segmentation in [Segmentation::ContentDefined, Segmentation::Fixed(SegmentLen::MAX)] {
            let mut segmenter = Segmenter::new(segmentation);
            assert_eq!(segmenter.push(&[]), None);
            assert!(segmenter.is_empty());
            assert_eq!(segmenter.push(&vec![0; MAX - 1]), None);
            assert_eq!(segmenter.push(&[]), None);
            assert_eq!(segmenter.len() as usize, MAX - 1);
            assert_eq!(segmenter.push(&[0, 0]), Some(1));
            assert_eq!(segmenter.push(&[]), None);
            assert!(segmenter.is_empty());
        }
    }

    #[test]
    fn a_segment_has_1_to_131072_bytes() {
        assert_eq!([0, 131_073, u32::MAX].map(SegmentLen::new), [None; 3]);
        assert_eq!(
            [1, 131_072].map(|len| SegmentLen::new(len).map(SegmentLen::get)),
            [Some(1), Some(131_072)]
        );
        assert_eq!(SegmentLen::new(131_072), Some(SegmentLen::MAX));
    }
}
