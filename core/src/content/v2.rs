//! [MS-PCCRC 2.4] Content information 2.0.
//!
//! ```text
//! header                                 version, algorithm, range
//! chunk 0, 1, …                          length, and as many descriptions as it has room for
//!   description of segment 0, 1, …       length, HoD, Kp
//! ```
//!
//! A segment has any length up to 128 KiB and is one block. So where a segment stands and begins
//! depends on all before it: [`Info::parse`] walks over them once and remembers 32 places, from
//! which every later search starts. [`Info::next_segment`] needs no search at all.

mod excerpt;
mod marks;
pub mod wire;

use core::ops::Range;

use zeroize::Zeroizing;

pub use self::marks::MARKS;
use self::marks::Sought;
pub(super) use self::marks::{Mark, Marks};
use self::wire::{CHUNK_HEAD_BYTES, ChunkRepr, DESCRIPTION_BYTES, HEADER_BYTES, HeaderRepr, field};
use super::segment::Blocks;
use super::{InfoError, InfoFault, InfoSource, Segment, read};
use crate::crypto::{Digest, HashAlgorithm, Secret};
use crate::limits::MAX_SEGMENT_V2_BYTES;

/// Content information that has been checked: its range, and where some of its segments stand.
///
/// It holds no hashes. The methods that need some read them from the source that was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Info {
    header: HeaderRepr,
    /// At least one.
    segments: u32,
    /// Where the last segment ends in the content.
    content_end: u64,
    encoded_len: u64,
    marks: Marks,
}

impl Info {
    /// Checks the structure that `source` holds.
    ///
    /// Takes a read of 4 bytes for each segment and one of 5 for each chunk.
    #[inline(never)]
    pub fn parse(source: &dyn InfoSource) -> Result<Self, InfoError> {
        let header = read_header(source)?;
        let mut info = Self {
            header,
            segments: 0,
            content_end: header.content_start,
            encoded_len: HEADER_BYTES as u64,
            marks: Marks::new(),
        };
        // A range is never empty, so at least one chunk follows.
        loop {
            let chunk = read_chunk(source, info.encoded_len)?;
            let chunk_at = info.encoded_len.saturating_add(CHUNK_HEAD_BYTES as u64);
            let bytes = u64::from(chunk.segments) * DESCRIPTION_BYTES as u64;
            if chunk_at.saturating_add(bytes) > source.len() {
                return Err(InfoError::new(
                    "dwChunkDataLength",
                    info.encoded_len.saturating_add(1),
                    InfoFault::Truncated,
                ));
            }
            for n in 0..chunk.segments {
                let mark = Mark { index: info.segments, within: n, chunk_at, offset: info.content_end };
                let len = read_len(source, mark.at())?;
                let misplaced = InfoError::new("cbSegment", mark.at(), InfoFault::Misplaced(mark.offset));
                info.add_segment(mark, len).ok_or(misplaced)?;
            }
            if info.encoded_len == source.len() {
                break;
            }
        }
        info.check_range(source)?;
        Ok(info)
    }

    /// The hash behind all digests of the structure.
    pub const fn algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::TruncatedSha512
    }

    /// How many segments are described: at least one.
    pub const fn segment_count(&self) -> u32 {
        self.segments
    }

    /// Segments of the content before the first one that is described.
    pub const fn index_of_first(&self) -> u64 {
        self.header.index_of_first
    }

    /// Bytes of the structure.
    pub const fn encoded_len(&self) -> u64 {
        self.encoded_len
    }

    /// The part of the content that is described, in bytes: never empty.
    pub const fn range(&self) -> Range<u64> {
        let start = self.header.content_start.saturating_add(self.header.offset_in_first as u64);
        let end = match self.header.range_len {
            0 => self.content_end,
            len => start.saturating_add(len),
        };
        start..end
    }

    /// Where the last segment ends, in bytes of the content: nothing is known of what lies past it.
    pub const fn content_end(&self) -> u64 {
        self.content_end
    }

    /// Reads the segment that holds the byte at `offset` of the content from the source that was
    /// parsed, `None` if there is none. Walks over no more than 1 in 16 segments.
    pub fn segment_at(&self, source: &dyn InfoSource, offset: u64) -> Result<Option<Segment>, InfoError> {
        self.segment_at_near(source, None, offset)
    }

    /// Like [`segment_at`](Self::segment_at); searches from the segment at `near`, if that is nearer.
    pub fn segment_at_near(
        &self,
        source: &dyn InfoSource,
        near: Option<Place>,
        offset: u64,
    ) -> Result<Option<Segment>, InfoError> {
        let sought = Sought::Offset(offset);
        match self.marks.before(sought) {
            Some(mark) if offset < self.content_end => self.walk(source, mark, near, sought).map(Some),
            _ => Ok(None),
        }
    }

    /// Reads the segment with `index` from the source that was parsed. Walks over no more than 1 in
    /// 16 segments.
    pub fn segment(&self, source: &dyn InfoSource, index: u32) -> Result<Segment, InfoError> {
        self.segment_near(source, None, index)
    }

    /// Like [`segment`](Self::segment); searches from the segment at `near`, if that is nearer.
    pub fn segment_near(
        &self,
        source: &dyn InfoSource,
        near: Option<Place>,
        index: u32,
    ) -> Result<Segment, InfoError> {
        let sought = Sought::Index(index);
        match self.marks.before(sought) {
            Some(mark) if index < self.segments => self.walk(source, mark, near, sought),
            _ => Err(InfoError::new("chunks", self.encoded_len, InfoFault::NoSuchSegment(index))),
        }
    }

    /// Reads the segment that follows `segment`, `None` after the last.
    pub fn next_segment(
        &self,
        source: &dyn InfoSource,
        segment: &Segment,
    ) -> Result<Option<Segment>, InfoError> {
        // A segment of version 1.0 is none of ours.
        let Blocks::Whole { place, .. } = &segment.blocks else { return Ok(None) };
        match self.step(source, *place, segment.len)? {
            Some(place) => self.read_segment(source, place).map(Some),
            None => Ok(None),
        }
    }

    /// The content information of a whole content, as [`publish`](crate::content::publish) makes it.
    pub(super) const fn of_content() -> Self {
        let header = HeaderRepr { content_start: 0, index_of_first: 0, offset_in_first: 0, range_len: 0 };
        Self { header, segments: 0, content_end: 0, encoded_len: HEADER_BYTES as u64, marks: Marks::new() }
    }

    /// Adds the next segment, of `len` bytes; `None` if the content ends past 2^64 or has too many.
    pub(super) fn add_segment(&mut self, mark: Mark, len: u32) -> Option<()> {
        self.content_end = mark.offset.checked_add(len.into())?;
        self.segments = mark.index.checked_add(1)?;
        self.encoded_len = mark.at().checked_add(DESCRIPTION_BYTES as u64)?;
        self.marks.note(mark);
        Some(())
    }

    pub(super) const fn header(&self) -> &HeaderRepr {
        &self.header
    }

    pub(super) fn set_range_len(&mut self, len: u64) {
        self.header.range_len = len;
    }

    fn check_range(&self, source: &dyn InfoSource) -> Result<(), InfoError> {
        let HeaderRepr { content_start, index_of_first, offset_in_first, range_len } = self.header;
        // Every segment before the first has 1 to 131,072 bytes (2.4.1.2).
        let shortest = index_of_first;
        let longest = index_of_first.saturating_mul(MAX_SEGMENT_V2_BYTES.into());
        if !(shortest..=longest).contains(&content_start) {
            let reason = InfoFault::OutOfRange(index_of_first);
            return Err(InfoError::new("ullIndexOfFirstSegment", field::INDEX_OF_FIRST, reason));
        }
        // 2.4: the range begins within the first segment.
        if offset_in_first >= read_len(source, (HEADER_BYTES + CHUNK_HEAD_BYTES) as u64)? {
            let reason = InfoFault::OutOfRange(offset_in_first.into());
            return Err(InfoError::new("dwOffsetInFirstSegment", field::OFFSET_IN_FIRST, reason));
        }
        // The range does not end behind the last segment.
        let start = content_start.saturating_add(offset_in_first.into());
        if range_len > self.content_end.saturating_sub(start) {
            let reason = InfoFault::OutOfRange(range_len);
            return Err(InfoError::new("ullLengthOfRange", field::RANGE_LEN, reason));
        }
        Ok(())
    }

    /// Goes from segment to segment, from `mark` or from what is behind it and still before what is
    /// sought, until it is there.
    fn walk(
        &self,
        source: &dyn InfoSource,
        mark: Mark,
        near: Option<Place>,
        sought: Sought,
    ) -> Result<Segment, InfoError> {
        let mut place = match near.filter(|near| near.mark.index >= mark.index && near.mark.is_before(sought))
        {
            Some(near) => near,
            None => {
                let head_at = mark.chunk_at.saturating_sub(CHUNK_HEAD_BYTES as u64);
                Place { mark, chunk_segments: read_chunk(source, head_at)?.segments }
            }
        };
        loop {
            let at = place.mark.at();
            let len = read_len(source, at)?;
            let reached = match sought {
                Sought::Index(index) => place.mark.index >= index,
                Sought::Offset(offset) => place.mark.offset.saturating_add(len.into()) > offset,
            };
            if reached {
                return self.read_segment(source, place);
            }
            let changed = InfoError::new("chunks", at, InfoFault::Changed);
            place = self.step(source, place, len)?.ok_or(changed)?;
        }
    }

    /// The place of the segment after the one of `len` bytes at `place`; `None` after the last.
    #[inline(never)]
    fn step(&self, source: &dyn InfoSource, place: Place, len: u32) -> Result<Option<Place>, InfoError> {
        let Place { mark, chunk_segments } = place;
        let (index, within) = (mark.index.saturating_add(1), mark.within.saturating_add(1));
        if index >= self.segments {
            return Ok(None);
        }
        let offset = mark.offset.saturating_add(len.into());
        if within < chunk_segments {
            return Ok(Some(Place { mark: Mark { index, within, offset, ..mark }, chunk_segments }));
        }
        let head_at = mark.at().saturating_add(DESCRIPTION_BYTES as u64);
        let chunk_segments = read_chunk(source, head_at)?.segments;
        let chunk_at = head_at.saturating_add(CHUNK_HEAD_BYTES as u64);
        Ok(Some(Place { mark: Mark { index, within: 0, chunk_at, offset }, chunk_segments }))
    }

    /// Reads the segment at `place`, by one read.
    #[inline(never)]
    fn read_segment(&self, source: &dyn InfoSource, place: Place) -> Result<Segment, InfoError> {
        let (at, offset) = (place.mark.at(), place.mark.offset);
        // Kp passes through this buffer.
        let mut buf = Zeroizing::new([0; DESCRIPTION_BYTES]);
        read(source, "cbSegment", at, &mut buf[..])?;
        let cut = InfoError::new("cbSegment", at, InfoFault::Truncated);
        let (len, digests) = buf.split_first_chunk().ok_or(cut)?;
        let len = wire::parse_len(*len).map_err(|error| error.within(at))?;
        let end = offset.saturating_add(len.into());
        // Where a place is remembered it must be this one.
        let known = self.marks.before(Sought::Index(place.mark.index));
        let known = known.filter(|known| known.index == place.mark.index);
        if end > self.content_end || known.is_some_and(|known| known != place.mark) {
            return Err(InfoError::new("cbSegment", at, InfoFault::Changed));
        }
        let range = self.range();
        let mut segment = Segment {
            algorithm: self.algorithm(),
            index: place.mark.index,
            offset,
            len,
            hod: Digest::EMPTY,
            secret: Secret::EMPTY,
            hod_at: at.saturating_add(4),
            blocks: Blocks::Whole { in_range: offset < range.end && end > range.start, place },
        };
        segment.set_digests(digests);
        Ok(segment)
    }
}

/// Where a segment stands in the content information that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Place {
    mark: Mark,
    /// Segments of its chunk.
    chunk_segments: u32,
}

impl Place {
    /// The segment's place among those of the content information.
    pub const fn index(&self) -> u32 {
        self.mark.index
    }
}

fn read_header(source: &dyn InfoSource) -> Result<HeaderRepr, InfoError> {
    let mut buf = [0; HEADER_BYTES];
    let len = usize::try_from(source.len()).unwrap_or(HEADER_BYTES).min(HEADER_BYTES);
    let bytes = buf.get_mut(..len).unwrap_or_default();
    read(source, "bMinorVersion", 0, bytes)?;
    HeaderRepr::parse(bytes)
}

fn read_chunk(source: &dyn InfoSource, at: u64) -> Result<ChunkRepr, InfoError> {
    let mut buf = [0; CHUNK_HEAD_BYTES];
    read(source, "bChunkType", at, &mut buf)?;
    ChunkRepr::parse(&buf).map_err(|error| error.within(at))
}

pub(super) fn read_len(source: &dyn InfoSource, at: u64) -> Result<u32, InfoError> {
    let mut buf = [0; 4];
    read(source, "cbSegment", at, &mut buf)?;
    wire::parse_len(buf).map_err(|error| error.within(at))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::wire::SegmentRepr;
    use super::*;

    /// A structure of chunks that have segments of these lengths; each HoD is 32 bytes of the
    /// segment's number, each secret 32 bytes more than that.
    fn blob(header: HeaderRepr, chunks: &[&[u32]]) -> Vec<u8> {
        let mut bytes = std::vec![0; HEADER_BYTES];
        header.emit(&mut bytes).unwrap();
        let mut number = 0u8;
        for lengths in chunks {
            let at = bytes.len();
            bytes.resize(at + CHUNK_HEAD_BYTES + lengths.len() * DESCRIPTION_BYTES, 0);
            ChunkRepr { segments: lengths.len() as u32 }.emit(&mut bytes[at..]).unwrap();
            for (n, &len) in lengths.iter().enumerate() {
                let hod = Digest::from_slice(&[number; 32]).unwrap();
                let secret = Secret::from_slice(&[number + 100; 32]).unwrap();
                let at = at + CHUNK_HEAD_BYTES + n * DESCRIPTION_BYTES;
                SegmentRepr { len, hod, secret }.emit(&mut bytes[at..]).unwrap();
                number += 1;
            }
        }
        bytes
    }

    const WHOLE: HeaderRepr =
        HeaderRepr { content_start: 0, index_of_first: 0, offset_in_first: 0, range_len: 0 };

    fn refusal(bytes: &[u8]) -> (&'static str, u64, InfoFault) {
        let error = Info::parse(&bytes).unwrap_err();
        (error.field, error.offset, error.reason)
    }

    #[test]
    fn segments_far_into_a_content() {
        let header = HeaderRepr {
            content_start: 1 << 40,
            index_of_first: 1 << 24,
            offset_in_first: 60_000,
            range_len: 190_001,
        };
        let bytes = blob(header, &[&[61_440, 131_072], &[1], &[70_000, 5]]);
        let source = &bytes.as_slice();
        let info = Info::parse(source).unwrap();
        assert_eq!((info.segment_count(), info.index_of_first()), (5, 1 << 24));
        assert_eq!(info.encoded_len(), bytes.len() as u64);
        let start = 1u64 << 40;
        assert_eq!(info.range(), start + 60_000..start + 250_001);
        assert_eq!(info.content_end(), start + 262_518);

        let places = [(0, 61_440), (61_440, 131_072), (192_512, 1), (192_513, 70_000), (262_513, 5)];
        let mut next = Some(info.segment(source, 0).unwrap());
        for (index, (offset, len)) in (0..).zip(places) {
            let segment = next.unwrap();
            assert_eq!((segment.index(), segment.offset(), segment.byte_len()), (index, start + offset, len));
            assert_eq!(segment.hod().as_bytes(), [index as u8; 32]);
            assert_eq!(segment.secret().expose(), [index as u8 + 100; 32]);
            assert_eq!((segment.block_count(), segment.listed_blocks()), (1, 0..1));
            assert_eq!(segment.block_bytes(), len);
            assert_eq!([0, 1].map(|block| segment.block_len(block)), [Some(len), None]);
            assert_eq!(segment.block_hash(source, 0), Ok(Some(*segment.hod())));
            assert_eq!(segment.block_hash(source, 1), Ok(None));
            // The last segment has nothing of the range.
            assert_eq!(segment.blocks_in_range(), 0..u32::from(index < 4));
            assert_eq!(info.segment(source, index).unwrap(), segment);
            for at in [0, len - 1] {
                let found = info.segment_at(source, segment.offset() + u64::from(at)).unwrap();
                assert_eq!(found.as_ref(), Some(&segment));
            }
            next = info.next_segment(source, &segment).unwrap();
        }
        assert_eq!(next, None);
        assert_eq!(info.segment_at(source, start - 1), Ok(None));
        assert_eq!(info.segment_at(source, start + 262_518), Ok(None));
        assert_eq!(info.segment(source, 5).unwrap_err().reason, InfoFault::NoSuchSegment(5));
    }

    #[test]
    fn thousands_of_segments_are_found_in_bounded_steps() {
        use core::cell::Cell;
        struct Counted<'a>(&'a [u8], Cell<u32>);
        impl InfoSource for Counted<'_> {
            fn len(&self) -> u64 {
                self.0.len() as u64
            }
            fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), crate::content::InfoUnreadable> {
                self.1.set(self.1.get() + 1);
                self.0.read_at(offset, buf)
            }
        }
        let bytes = blob(WHOLE, &std::vec![&[7u32, 9][..]; 50]);
        // Of 100 segments in 50 chunks a search sees two more than lie between two places, and each may have a
        // head of its chunk; what is read is a head of the structure, and of those.
        let most = if MARKS == 32 { 14 } else { 50 };
        let source = Counted(&bytes, Cell::new(0));
        let info = Info::parse(&source).unwrap();
        for offset in 0..info.content_end() {
            source.1.set(0);
            let segment = info.segment_at(&source, offset).unwrap().unwrap();
            assert!((segment.offset()..segment.offset() + 9).contains(&offset));
            assert!(source.1.get() <= most, "{} reads", source.1.get());
        }
        // From the segment before, the next one is two reads away.
        for index in 1..info.segment_count() {
            let near = info.segment(&source, index - 1).unwrap().place();
            let segment = info.segment(&source, index).unwrap();
            source.1.set(0);
            assert_eq!(info.segment_near(&source, near, index), Ok(segment.clone()));
            assert_eq!(info.segment_at_near(&source, near, segment.offset()), Ok(Some(segment.clone())));
            assert!(source.1.get() <= 8, "{} reads", source.1.get());
            // What stands behind is of no use.
            let near = segment.place();
            assert_eq!(info.segment_near(&source, near, index - 1).unwrap().index(), index - 1);
            let before = info.segment_at_near(&source, near, segment.offset() - 1).unwrap().unwrap();
            assert_eq!(before.index(), index - 1);
        }
    }

    #[test]
    fn what_has_changed_since_is_noticed() {
        let [bytes, changed] = [[10, 10, 10], [5, 15, 10]].map(|lens| blob(WHOLE, &[&lens]));
        let (source, changed) = (&bytes.as_slice(), &changed.as_slice());
        let info = Info::parse(source).unwrap();
        let first = info.segment(changed, 0).unwrap();
        assert_eq!(info.next_segment(changed, &first).unwrap_err().reason, InfoFault::Changed);
        assert!(info.next_segment(source, &info.segment(source, 0).unwrap()).is_ok());
        assert_eq!(info.segment(&&bytes[..100], 1).unwrap_err().reason, InfoFault::Truncated);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let good = [&[5u32, 131_072][..], &[131_072]];
        let with = |header| refusal(&blob(header, &good));
        let range_len = |range_len| with(HeaderRepr { range_len, offset_in_first: 1, ..WHOLE });
        assert_eq!(range_len(262_149), ("ullLengthOfRange", 23, InfoFault::OutOfRange(262_149)));
        assert_eq!(range_len(u64::MAX).2, InfoFault::OutOfRange(u64::MAX));
        let offset = |offset_in_first| with(HeaderRepr { offset_in_first, ..WHOLE });
        assert_eq!(offset(5), ("dwOffsetInFirstSegment", 19, InfoFault::OutOfRange(5)));
        let index = |index_of_first| with(HeaderRepr { content_start: 131_073, index_of_first, ..WHOLE });
        for wrong in [0, 1, 131_074] {
            assert_eq!(index(wrong), ("ullIndexOfFirstSegment", 11, InfoFault::OutOfRange(wrong)));
        }
        let start = u64::MAX - 131_076;
        let past = HeaderRepr { content_start: start, index_of_first: start, ..WHOLE };
        assert_eq!(with(past), ("cbSegment", 36 + 68, InfoFault::Misplaced(start + 5)));

        // A header alone, a head alone, a description too few, one byte too many.
        let bytes = blob(WHOLE, &good);
        assert_eq!(refusal(&bytes[..31]), ("bChunkType", 31, InfoFault::Truncated));
        assert_eq!(refusal(&bytes[..36]), ("dwChunkDataLength", 32, InfoFault::Truncated));
        assert_eq!(refusal(&bytes[..171]), ("dwChunkDataLength", 32, InfoFault::Truncated));
        assert_eq!(refusal(&[&bytes[..], &[0]].concat()), ("bChunkType", 245, InfoFault::Truncated));
        // A count of 4 billion bytes is seen at once.
        let mut bytes = bytes;
        bytes[32..36].fill(0xff);
        assert_eq!(refusal(&bytes).2, InfoFault::OutOfRange(u64::from(u32::MAX)));
        bytes[32..36].copy_from_slice(&(u32::MAX / 68 * 68).to_be_bytes());
        assert_eq!(refusal(&bytes), ("dwChunkDataLength", 32, InfoFault::Truncated));
    }
}
