//! [MS-PCCRC 2.3] Content information 1.0.
//!
//! ```text
//! header                                 version, algorithm, range, number of segments
//! description of segment 0, 1, …         offset, length, HoD, Kp
//! blocks of segment 0, 1, …              count, then that many block hashes
//! ```
//!
//! [`Info::parse`] checks the whole structure once and keeps a few numbers of it. Since every
//! segment but the last has 512 blocks, each later question is answered with one read at a
//! computed place; nothing is scanned and nothing is held in memory.
//!
//! The structure may describe a part of the content only. Then the first and the last segment
//! may leave out block hashes (fact 9), and only a full list can be checked against its HoD with
//! [`HodCheck`](super::HodCheck). [`Excerpt`](super::Excerpt) is such a part.

mod excerpt;
pub mod wire;

use core::ops::Range;

use self::wire::{EXTENT_BYTES, HEADER_BYTES, HeaderRepr, description_bytes, field, parse_extent};
use super::segment::{Blocks, List};
use super::{EndForm, InfoError, InfoFault, InfoSource, Segment, read};
use crate::bytes::Reader;
use crate::crypto::{Digest, HashAlgorithm, Secret};
use crate::limits::{BLOCK_BYTES, SEGMENT_BLOCKS, SEGMENT_BYTES};

/// Content information that has been checked: its version, its range and its layout.
///
/// It holds no hashes. The methods that need some read them from the source that was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Info {
    algorithm: HashAlgorithm,
    /// Where the first segment begins in the content.
    content_start: u64,
    /// At least one.
    segments: u32,
    /// Bytes of the last segment, 1 to 32 MiB; all others have 32 MiB.
    last_len: u32,
    offset_in_first: u32,
    read_in_last: u32,
    /// Block hashes of the first segment, and of the last; the same if there is only one.
    first_list: List,
    last_list: List,
}

impl Info {
    /// Checks the structure that `source` holds, all of it except what its hashes are hashes of.
    ///
    /// Takes two small reads for each segment. Counts are held against the length of the source
    /// before anything is done that many times.
    #[inline(never)]
    pub fn parse(source: &dyn InfoSource) -> Result<Self, InfoError> {
        let header = read_header(source)?;
        let mut info = Self {
            algorithm: header.algorithm,
            content_start: 0,
            segments: header.segments,
            last_len: SEGMENT_BYTES,
            offset_in_first: header.offset_in_first,
            read_in_last: header.read_in_last,
            first_list: List::FULL,
            last_list: List::FULL,
        };
        if info.list_at(0) > source.len() {
            return Err(InfoError::new("cSegments", field::SEGMENTS, InfoFault::Truncated));
        }
        (info.content_start, _) = info.read_extent(source, 0)?;
        (_, info.last_len) = info.read_extent(source, info.last())?;
        info.check_range()?;
        info.first_list = info.read_list(source, 0)?;
        info.last_list = info.read_list(source, info.last())?;
        if info.encoded_len() < source.len() {
            return Err(InfoError::new("BlockHashes", info.encoded_len(), InfoFault::Trailing));
        }
        for index in 0..info.segments {
            info.check_segment(source, index)?;
        }
        Ok(info)
    }

    /// The hash behind all digests of the structure.
    pub const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// How many segments are described: at least one.
    pub const fn segment_count(&self) -> u32 {
        self.segments
    }

    /// Bytes of the structure.
    pub fn encoded_len(&self) -> u64 {
        let last = u64::from(self.last_list.count) * self.digest_len();
        self.list_at(self.last()).saturating_add(4 + last)
    }

    /// The part of the content that is described, in bytes: never empty (MS-PCCRC 2.3).
    pub fn range(&self) -> Range<u64> {
        let start = self.content_start.saturating_add(self.offset_in_first.into());
        let end = self.segment_start(self.last()).saturating_add(self.end_in_last().into());
        start..end
    }

    /// Where the last segment ends, in bytes of the content: nothing is known of what lies past it,
    /// except that there is nothing if that segment is shorter than 32 MiB.
    pub fn content_end(&self) -> u64 {
        self.segment_start(self.last()).saturating_add(self.last_len.into())
    }

    /// The index of the segment that holds the byte at `offset` of the content.
    pub fn segment_at(&self, offset: u64) -> Option<u32> {
        let distance = offset.checked_sub(self.content_start)?;
        let index = u32::try_from(distance / u64::from(SEGMENT_BYTES)).ok()?;
        (offset < self.content_end()).then_some(index)
    }

    /// Reads the segment with `index` from the source that was parsed.
    #[inline(never)]
    pub fn segment(&self, source: &dyn InfoSource, index: u32) -> Result<Segment, InfoError> {
        let at = self.description_at(index);
        if index >= self.segments {
            return Err(InfoError::new("segments", at, InfoFault::NoSuchSegment(index)));
        }
        let (offset, len) = self.read_extent(source, index)?;
        if offset != self.segment_start(index) || len != self.segment_len(index) {
            return Err(InfoError::new("segments", at, InfoFault::Changed));
        }
        let mut segment = Segment {
            algorithm: self.algorithm,
            index,
            offset,
            len,
            hod: Digest::EMPTY,
            secret: Secret::EMPTY,
            hod_at: at.saturating_add(EXTENT_BYTES as u64),
            blocks: Blocks::Listed {
                list: self.list(index),
                hashes_at: self.list_at(index).saturating_add(4),
                in_range: self.blocks_in_range(index),
            },
        };
        segment.read_digests(source)?;
        Ok(segment)
    }

    /// The layout for a whole content of `content_len` bytes; `None` if it is empty (fact 13) or
    /// has more segments than can be counted, or if the algorithm is not one of version 1.0.
    pub(super) fn of_content(algorithm: HashAlgorithm, content_len: u64, form: EndForm) -> Option<Self> {
        // 2.3: dwHashAlgo has no value for the hash of version 2.0.
        if algorithm == HashAlgorithm::TruncatedSha512 {
            return None;
        }
        let last_byte = content_len.checked_sub(1)?;
        let last = u32::try_from(last_byte / u64::from(SEGMENT_BYTES)).ok()?;
        let last_len = (last_byte % u64::from(SEGMENT_BYTES)) as u32 + 1;
        let full = List { start: 0, count: last_len.div_ceil(BLOCK_BYTES) };
        Some(Self {
            algorithm,
            content_start: 0,
            segments: last.checked_add(1)?,
            last_len,
            offset_in_first: 0,
            read_in_last: match form {
                EndForm::Zero => 0,
                EndForm::Explicit => last_len,
            },
            first_list: if last == 0 { full } else { List::FULL },
            last_list: full,
        })
    }

    pub(super) const fn header(&self) -> HeaderRepr {
        HeaderRepr {
            algorithm: self.algorithm,
            offset_in_first: self.offset_in_first,
            read_in_last: self.read_in_last,
            segments: self.segments,
        }
    }

    /// Where the description of the segment with `index` stands.
    pub(super) fn description_at(&self, index: u32) -> u64 {
        HEADER_BYTES as u64 + u64::from(index) * description_bytes(self.algorithm) as u64
    }

    /// Where the count and the block hashes of the segment with `index` stand.
    pub(super) fn list_at(&self, index: u32) -> u64 {
        let lists = self.description_at(self.segments);
        match index.checked_sub(1) {
            None => lists,
            Some(full) => {
                let first = self.list_bytes(self.first_list);
                lists + first + u64::from(full) * self.list_bytes(List::FULL)
            }
        }
    }

    /// Where what was gathered of the segment with `index` begins: its block hashes, and then its
    /// description.
    pub(super) fn gathered_at(&self, index: u32) -> u64 {
        let hashes = u64::from(SEGMENT_BLOCKS) * self.digest_len();
        u64::from(index) * (hashes + description_bytes(self.algorithm) as u64)
    }

    /// How many bytes the segment with `index` has.
    pub(super) fn segment_len(&self, index: u32) -> u32 {
        if index == self.last() { self.last_len } else { SEGMENT_BYTES }
    }

    /// Bytes of a digest.
    pub(super) const fn digest_len(&self) -> u64 {
        self.algorithm.digest_len() as u64
    }

    fn last(&self) -> u32 {
        self.segments.saturating_sub(1)
    }

    fn segment_start(&self, index: u32) -> u64 {
        self.content_start.saturating_add(u64::from(index) * u64::from(SEGMENT_BYTES))
    }

    fn list(&self, index: u32) -> List {
        match index {
            0 => self.first_list,
            _ if index == self.last() => self.last_list,
            _ => List::FULL,
        }
    }

    fn list_bytes(&self, list: List) -> u64 {
        4 + u64::from(list.count) * self.digest_len()
    }

    /// Where the range ends, in bytes from the start of the last segment (fact 8).
    fn end_in_last(&self) -> u32 {
        match self.read_in_last {
            // 2.3: dwReadBytesInLastSegment of 0 stands for the whole last segment.
            0 => self.last_len,
            // Offers of a segment to a hosted cache name its whole length, wherever the range
            // begins (MS-PCHC 2.2.1.4).
            read if self.segments == 1 && read == self.last_len => self.last_len,
            // 2.3.1.1: in a single segment, dwReadBytesInLastSegment is the range's length.
            read if self.segments == 1 => self.offset_in_first.saturating_add(read),
            read => read,
        }
    }

    /// The blocks of the segment with `index` that have bytes of the range.
    fn blocks_in_range(&self, index: u32) -> Range<u32> {
        let first = if index == 0 { self.offset_in_first / BLOCK_BYTES } else { 0 };
        let end = if index == self.last() { self.end_in_last() } else { SEGMENT_BYTES };
        first..end.div_ceil(BLOCK_BYTES)
    }

    fn check_range(&self) -> Result<(), InfoError> {
        // 2.3: the range begins inside its first segment.
        if self.offset_in_first >= self.segment_len(0) {
            let reason = InfoFault::OutOfRange(self.offset_in_first.into());
            return Err(InfoError::new("dwOffsetInFirstSegment", field::OFFSET_IN_FIRST, reason));
        }
        // 2.3: the range does not end behind its last segment.
        if self.end_in_last() > self.last_len {
            let reason = InfoFault::OutOfRange(self.read_in_last.into());
            return Err(InfoError::new("dwReadBytesInLastSegment", field::READ_IN_LAST, reason));
        }
        Ok(())
    }

    fn check_segment(&self, source: &dyn InfoSource, index: u32) -> Result<(), InfoError> {
        let (offset, len) = self.read_extent(source, index)?;
        let at = self.description_at(index);
        // 2.3.1.1: segments stand in the order of the content, and without gaps, since one range
        // covers them. The last one ends below 2^64.
        let expected = u64::from(index)
            .checked_mul(SEGMENT_BYTES.into())
            .and_then(|n| n.checked_add(self.content_start));
        if expected != Some(offset) || offset.checked_add(len.into()).is_none() {
            return Err(InfoError::new("ullOffsetInContent", at, InfoFault::Misplaced(offset)));
        }
        // 2.3.1.1: all segments but the last MUST have 32 MiB.
        if len != self.segment_len(index) {
            return Err(InfoError::new("cbSegment", at.saturating_add(8), InfoFault::OutOfRange(len.into())));
        }
        if self.read_list(source, index)? != self.list(index) {
            return Err(InfoError::new("cBlocks", self.list_at(index), InfoFault::Changed));
        }
        Ok(())
    }

    /// Reads where the segment with `index` begins in the content, and its bytes.
    fn read_extent(&self, source: &dyn InfoSource, index: u32) -> Result<(u64, u32), InfoError> {
        let at = self.description_at(index);
        let mut bytes = [0; EXTENT_BYTES];
        read(source, "segments", at, &mut bytes)?;
        parse_extent(&mut Reader::new(&bytes)).map_err(|error| error.within(at))
    }

    /// Reads how many block hashes the segment with `index` lists and finds out which.
    fn read_list(&self, source: &dyn InfoSource, index: u32) -> Result<List, InfoError> {
        let at = self.list_at(index);
        let mut bytes = [0; 4];
        read(source, "cBlocks", at, &mut bytes)?;
        let count = u32::from_le_bytes(bytes);
        let list = List::of(count, self.blocks_in_range(index), self.segment_len(index))
            .ok_or(InfoError::new("cBlocks", at, InfoFault::BlockCount(count)))?;
        if at.saturating_add(self.list_bytes(list)) > source.len() {
            return Err(InfoError::new("cBlocks", at, InfoFault::Truncated));
        }
        Ok(list)
    }
}

/// Bytes of the content information for a whole content of `content_len` bytes; `None` if it is
/// empty (fact 13) or longer than 2^57 bytes less one segment, or if version 1.0 does not know the
/// algorithm.
pub fn info_len(algorithm: HashAlgorithm, content_len: u64) -> Option<u64> {
    Info::of_content(algorithm, content_len, EndForm::Zero).map(|info| info.encoded_len())
}

impl List {
    const FULL: Self = Self { start: 0, count: SEGMENT_BLOCKS };

    /// Which blocks `count` hashes are of, in a segment of `segment_len` bytes of which the blocks
    /// `in_range` have bytes of the range (MS-PCCRC 2.3.1.2, fact 9).
    fn of(count: u32, in_range: Range<u32>, segment_len: u32) -> Option<Self> {
        let intersecting = in_range.end.checked_sub(in_range.start)?;
        if count == in_range.end || count == segment_len.div_ceil(BLOCK_BYTES) {
            Some(Self { start: 0, count })
        } else if count == intersecting {
            Some(Self { start: in_range.start, count })
        } else {
            None
        }
    }
}

fn read_header(source: &dyn InfoSource) -> Result<HeaderRepr, InfoError> {
    let mut buf = [0; HEADER_BYTES];
    let len = usize::try_from(source.len()).unwrap_or(HEADER_BYTES).min(HEADER_BYTES);
    let bytes = buf.get_mut(..len).unwrap_or_default();
    read(source, "Version", 0, bytes)?;
    HeaderRepr::parse(bytes)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::content::v1::wire::SegmentRepr;
    use crate::content::{HodCheck, Progress};
    use crate::crypto::{Secret, SoftCrypto, hash};

    const DESCRIPTION: usize = 80;

    /// A structure with the header's three last fields and `(offset, length, block hashes)` for
    /// each segment. Block hash n of any segment is 32 bytes of n; its HoD is right if it starts
    /// with block 0.
    fn blob(header: (u32, u32, u32), segments: &[(u64, u32, u32)]) -> Vec<u8> {
        let (offset_in_first, read_in_last, count) = header;
        let algorithm = HashAlgorithm::Sha256;
        let mut bytes = std::vec![0; HEADER_BYTES];
        HeaderRepr { algorithm, offset_in_first, read_in_last, segments: count }.emit(&mut bytes).unwrap();
        let hashes = |count: u32| (0..count).flat_map(|n| [n as u8; 32]).collect::<Vec<_>>();
        for &(offset, len, _) in segments {
            let at = bytes.len();
            bytes.resize(at + DESCRIPTION, 0);
            let hod = hash(&mut SoftCrypto, algorithm, &hashes(len.div_ceil(BLOCK_BYTES)));
            let secret = Secret::from_slice(&[0xcc; 32]).unwrap();
            SegmentRepr { offset, len, hod, secret }.emit(&mut bytes[at..]).unwrap();
        }
        for &(_, _, count) in segments {
            bytes.extend(count.to_le_bytes());
            bytes.extend(hashes(count));
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Info, InfoError> {
        Info::parse(&bytes)
    }

    fn refusal(bytes: &[u8]) -> (&'static str, u64, InfoFault) {
        let error = parse(bytes).unwrap_err();
        (error.field, error.offset, error.reason)
    }

    #[test]
    fn three_segments_far_into_a_content() {
        let start = (1u64 << 33) - u64::from(SEGMENT_BYTES);
        let step = u64::from(SEGMENT_BYTES);
        let bytes = blob(
            (65_536 + 5, 70_000, 3),
            &[
                (start, SEGMENT_BYTES, 511),
                (start + step, SEGMENT_BYTES, 512),
                (start + 2 * step, 200_000, 2),
            ],
        );
        let source = &bytes.as_slice();
        let info = Info::parse(source).unwrap();
        assert_eq!(info.encoded_len(), bytes.len() as u64);
        assert_eq!(info.segment_count(), 3);
        assert_eq!(info.range(), start + 65_541..start + 2 * step + 70_000);
        assert_eq!(info.content_end(), start + 2 * step + 200_000);
        assert_eq!(info.segment_at(start - 1), None);
        assert_eq!(info.segment_at(start), Some(0));
        assert_eq!(info.segment_at(1 << 33), Some(1));
        assert_eq!(info.segment_at(start + 2 * step + 199_999), Some(2));
        assert_eq!(info.segment_at(start + 2 * step + 200_000), None);

        // Fact 9: the first segment leaves out block 0, so its list begins with block 1.
        let first = info.segment(source, 0).unwrap();
        assert_eq!((first.listed_blocks(), first.blocks_in_range()), (1..512, 1..512));
        assert_eq!(first.block_hash(source, 0), Ok(None));
        assert_eq!(first.block_hash(source, 1).unwrap().unwrap().as_bytes(), [0; 32]);
        assert_eq!(HodCheck::new(&mut SoftCrypto, &first).err().unwrap().reason, InfoFault::PartialList);

        let second = info.segment(source, 1).unwrap();
        assert_eq!((second.offset(), second.byte_len(), second.index()), (1 << 33, SEGMENT_BYTES, 1));
        assert_eq!(second.block_hash(source, 511).unwrap().unwrap().as_bytes(), [0xff; 32]);
        assert_eq!(second.block_hash(source, 512), Ok(None));

        let last = info.segment(source, 2).unwrap();
        assert_eq!((last.listed_blocks(), last.block_count()), (0..2, 4));
        assert_eq!([0, 3, 4].map(|index| last.block_len(index)), [Some(65_536), Some(3_392), None]);
        assert_eq!(last.block_len(u32::MAX), None);
        assert_eq!(info.segment(source, 3).unwrap_err().reason, InfoFault::NoSuchSegment(3));
    }

    #[test]
    fn hod_in_steps() {
        let bytes = blob((0, 0, 2), &[(0, SEGMENT_BYTES, 512), (SEGMENT_BYTES.into(), 65_537, 2)]);
        let source = &bytes.as_slice();
        let info = Info::parse(source).unwrap();
        let segment = info.segment(source, 0).unwrap();
        for (step, calls) in [(1, 512), (100, 6), (512, 1), (u32::MAX, 1)] {
            let mut check = HodCheck::new(&mut SoftCrypto, &segment).unwrap();
            for _ in 1..calls {
                assert_eq!(check.step(source, &mut SoftCrypto, step), Ok(Progress::More));
            }
            assert_eq!(check.step(source, &mut SoftCrypto, step), Ok(Progress::Done));
            assert_eq!(check.step(source, &mut SoftCrypto, step), Ok(Progress::Done));
        }
        let mut check = HodCheck::new(&mut SoftCrypto, &segment).unwrap();
        assert_eq!(check.step(source, &mut SoftCrypto, 0), Ok(Progress::More));

        let mut other = bytes.clone();
        *other.last_mut().unwrap() ^= 1;
        let source = &other.as_slice();
        let segment = info.segment(source, 1).unwrap();
        let mut check = HodCheck::new(&mut SoftCrypto, &segment).unwrap();
        let error = check.step(source, &mut SoftCrypto, 2).unwrap_err();
        assert_eq!(error, InfoError::new("SegmentHashOfData", 18 + 80 + 16, InfoFault::HashMismatch));
    }

    #[test]
    fn hostile_counts_are_refused_unread() {
        /// Refuses to be asked more often than a refusal needs.
        struct Metered<'a>(&'a [u8], core::cell::Cell<u32>);
        impl InfoSource for Metered<'_> {
            fn len(&self) -> u64 {
                self.0.len() as u64
            }
            fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), crate::content::InfoUnreadable> {
                self.1.set(self.1.get() + 1);
                assert!(self.1.get() < 8);
                self.0.read_at(offset, buf)
            }
        }
        let refusal = |bytes: &[u8]| {
            let error = Info::parse(&Metered(bytes, core::cell::Cell::new(0))).unwrap_err();
            (error.field, error.offset, error.reason)
        };
        let one = [(0, 65_537, 2)];
        assert_eq!(refusal(&blob((0, 0, u32::MAX), &one)), ("cSegments", 14, InfoFault::Truncated));
        let mut many = blob((0, 0, 1_000), &one);
        many.resize(90_000, 0);
        many[18 + 999 * DESCRIPTION..][..DESCRIPTION].copy_from_slice(&blob((0, 0, 1), &one)[18..98]);
        assert_eq!(refusal(&many).0, "cBlocks");
        let mut blocks = blob((0, 0, 1), &one);
        blocks[98..102].fill(0xff);
        assert_eq!(refusal(&blocks), ("cBlocks", 98, InfoFault::BlockCount(u32::MAX)));
        assert_eq!(refusal(&[]), ("Version", 0, InfoFault::Truncated));
    }

    #[test]
    fn ranges_in_one_segment() {
        let range = |offset_in_first, read_in_last, count| {
            parse(&blob((offset_in_first, read_in_last, 1), &[(1 << 25, 200_000, count)]))
                .map(|info| (info.range().start - (1 << 25), info.range().end - (1 << 25)))
                .map_err(|error| (error.field, error.reason))
        };
        assert_eq!(range(0, 0, 4), Ok((0, 200_000)));
        assert_eq!(range(0, 200_000, 4), Ok((0, 200_000)));
        assert_eq!(range(70_000, 10, 2), Ok((70_000, 70_010)));
        assert_eq!(range(70_000, 10, 1), Ok((70_000, 70_010)));
        assert_eq!(range(70_000, 10, 4), Ok((70_000, 70_010)));
        assert_eq!(range(70_000, 10, 3), Err(("cBlocks", InfoFault::BlockCount(3))));
        assert_eq!(range(70_000, 10, 0), Err(("cBlocks", InfoFault::BlockCount(0))));
        assert_eq!(range(199_999, 1, 4), Ok((199_999, 200_000)));
        // As in an offer to a hosted cache.
        assert_eq!(range(70_000, 200_000, 4), Ok((70_000, 200_000)));
        let refused = |field, value| Err((field, InfoFault::OutOfRange(value)));
        assert_eq!(range(200_000, 0, 4), refused("dwOffsetInFirstSegment", 200_000));
        assert_eq!(range(0, 200_001, 4), refused("dwReadBytesInLastSegment", 200_001));
        assert_eq!(range(199_999, 2, 4), refused("dwReadBytesInLastSegment", 2));
        assert_eq!(range(1, u32::MAX, 4), refused("dwReadBytesInLastSegment", u32::MAX.into()));
    }

    #[test]
    fn segments_out_of_place() {
        let full = SEGMENT_BYTES;
        let two = |first, second| refusal(&blob((0, 0, 2), &[first, second]));
        assert_eq!(two((0, full, 512), (1, 1, 1)), ("ullOffsetInContent", 98, InfoFault::Misplaced(1)));
        assert_eq!(
            two((0, full - 1, 512), (full.into(), 1, 1)),
            ("cbSegment", 26, InfoFault::OutOfRange(u64::from(full) - 1))
        );
        let end = u64::MAX - u64::from(full);
        assert_eq!(two((end, full, 512), (u64::MAX, 1, 1)).2, InfoFault::Misplaced(u64::MAX));
        assert_eq!(
            refusal(&blob((0, 0, 1), &[(u64::MAX, 1, 1)])),
            ("ullOffsetInContent", 18, InfoFault::Misplaced(u64::MAX))
        );
        let mut long = blob((0, 0, 1), &[(0, 1, 1)]);
        long.push(0);
        assert_eq!(refusal(&long), ("BlockHashes", 134, InfoFault::Trailing));
    }

    #[test]
    fn a_middle_segment_lists_all_its_blocks() {
        let step = u64::from(SEGMENT_BYTES);
        let mut bytes =
            blob((0, 0, 3), &[(0, SEGMENT_BYTES, 512), (step, SEGMENT_BYTES, 512), (2 * step, 1, 1)]);
        assert!(parse(&bytes).is_ok());
        let at = 18 + 3 * DESCRIPTION + 4 + 512 * 32;
        bytes[at] = 1;
        assert_eq!(refusal(&bytes), ("cBlocks", at as u64, InfoFault::BlockCount(513)));
    }

    #[test]
    fn a_source_that_changed_is_noticed() {
        let bytes = blob((0, 0, 1), &[(0, 65_537, 2)]);
        let info = parse(&bytes).unwrap();
        let other = blob((0, 0, 1), &[(0, 65_536, 1)]);
        assert_eq!(info.segment(&other.as_slice(), 0).unwrap_err().reason, InfoFault::Changed);
    }

    #[test]
    fn lengths_are_computed_before_hashing() {
        let len = |content_len| info_len(HashAlgorithm::Sha256, content_len);
        assert_eq!(len(0), None);
        assert_eq!(len(1), Some(134));
        assert_eq!(len(65_537), Some(166));
        // MS-PCCRC 3.4: 125 MB with its last block hash at 64,322.
        assert_eq!(len(125 << 20), Some(64_322 + 32));
        let most = u64::from(u32::MAX) << 25;
        assert_eq!(len(most), Some(18 + u64::from(u32::MAX) * (80 + 4 + 512 * 32)));
        assert_eq!(len(most + 1), None);
        assert_eq!(len(u64::MAX), None);
    }

    #[test]
    fn secrets_stay_out_of_debug() {
        let bytes = blob((0, 0, 1), &[(0, 1, 1)]);
        let segment = parse(&bytes).unwrap().segment(&bytes.as_slice(), 0).unwrap();
        assert_eq!(segment.secret().expose(), [0xcc; 32]);
        let text = std::format!("{segment:?}");
        assert!(!text.contains("hod") && !text.contains("cccc") && !text.contains("204"));
    }
}
