//! [MS-PCCRC 2.4] The fixed parts of content information 2.0 as bytes: the header, a chunk's head
//! and a segment's description. All numbers are big-endian, except that the minor version stands
//! before the major one (fact 6).
//!
//! How many chunks and segments follow each other is the business of [`Info`](super::Info).

use crate::bytes::{NoRoom, Reader, Truncated, Writer};
use crate::content::{InfoError, InfoFault};
use crate::crypto::{Digest, Secret};
use crate::limits::MAX_SEGMENT_V2_BYTES;

/// The version as it stands: minor part, major part.
pub const VERSION: [u8; 2] = [0x00, 0x02];

/// Bytes of the header.
pub const HEADER_BYTES: usize = 31;

/// Bytes of a chunk's head.
pub const CHUNK_HEAD_BYTES: usize = 5;

/// Bytes of a segment's description.
pub const DESCRIPTION_BYTES: usize = 68;

/// Segments that the length of one chunk can count.
pub const MAX_CHUNK_SEGMENTS: u32 = u32::MAX / DESCRIPTION_BYTES as u32;

/// bHashAlgo of truncated SHA-512, the only one.
const TRUNCATED_SHA512: u8 = 0x04;

/// bChunkType of segment descriptions, the only one.
const DESCRIPTIONS: u8 = 0x00;

/// Where the header's fields stand.
pub(super) mod field {
    pub const INDEX_OF_FIRST: u64 = 11;
    pub const OFFSET_IN_FIRST: u64 = 19;
    pub const RANGE_LEN: u64 = 23;
}

/// The header (MS-PCCRC 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HeaderRepr {
    /// Where the first segment begins in the content.
    pub content_start: u64,
    /// Segments of the content before the first one.
    pub index_of_first: u64,
    /// Bytes of the first segment before the range.
    pub offset_in_first: u32,
    /// Bytes of the range, or 0 for all up to the last segment's end (fact 7).
    pub range_len: u64,
}

impl HeaderRepr {
    /// Reads the header at the front of `bytes`.
    ///
    /// Judges the version and the algorithm; what the other fields may be depends on the segments.
    pub fn parse(bytes: &[u8]) -> Result<Self, InfoError> {
        let mut reader = Reader::new(bytes);
        let version = *reader.array().map_err(InfoError::cut("bMinorVersion"))?;
        // 2.4: bMinorVersion MUST be 0x00 and bMajorVersion MUST be 0x02.
        if version != VERSION {
            let version = u32::from(u16::from_le_bytes(version));
            return Err(InfoError::new("bMinorVersion", 0, InfoFault::Unsupported(version)));
        }
        let code = reader.u8().map_err(InfoError::cut("bHashAlgo"))?;
        // 2.4: bHashAlgo MUST be 0x04.
        if code != TRUNCATED_SHA512 {
            return Err(InfoError::new("bHashAlgo", 2, InfoFault::Unsupported(code.into())));
        }
        let content_start = reader.u64_be().map_err(InfoError::cut("ullStartInContent"))?;
        let index_of_first = reader.u64_be().map_err(InfoError::cut("ullIndexOfFirstSegment"))?;
        let offset_in_first = reader.u32_be().map_err(InfoError::cut("dwOffsetInFirstSegment"))?;
        let range_len = reader.u64_be().map_err(InfoError::cut("ullLengthOfRange"))?;
        Ok(Self { content_start, index_of_first, offset_in_first, range_len })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_BYTES
    }

    /// Writes the header to the front of `buf`.
    pub fn emit(&self, buf: &mut [u8]) -> Result<(), NoRoom> {
        let mut writer = Writer::new(buf);
        writer.put(&VERSION);
        writer.put(&[TRUNCATED_SHA512]);
        writer.u64_be(self.content_start);
        writer.u64_be(self.index_of_first);
        writer.u32_be(self.offset_in_first);
        writer.u64_be(self.range_len);
        writer.check()
    }
}

/// The head of a chunk (MS-PCCRC 2.4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ChunkRepr {
    /// Segments that it describes: 1 to [`MAX_CHUNK_SEGMENTS`].
    pub segments: u32,
}

impl ChunkRepr {
    /// Reads the head at the front of `bytes`; offsets in an error count from there.
    pub fn parse(bytes: &[u8]) -> Result<Self, InfoError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8().map_err(InfoError::cut("bChunkType"))?;
        // 2.4.1.1: bChunkType MUST be set to 0x00.
        if kind != DESCRIPTIONS {
            return Err(InfoError::new("bChunkType", 0, InfoFault::Unsupported(kind.into())));
        }
        let len = reader.u32_be().map_err(InfoError::cut("dwChunkDataLength"))?;
        // 2.4.1.2: a chunk MUST contain at least one segment description, and nothing else fits in
        // between (fact 11).
        if len == 0 || !len.is_multiple_of(DESCRIPTION_BYTES as u32) {
            return Err(InfoError::new("dwChunkDataLength", 1, InfoFault::OutOfRange(len.into())));
        }
        Ok(Self { segments: len / DESCRIPTION_BYTES as u32 })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    pub const fn buffer_len(&self) -> usize {
        CHUNK_HEAD_BYTES
    }

    /// Writes the head to the front of `buf`.
    pub fn emit(&self, buf: &mut [u8]) -> Result<(), NoRoom> {
        let mut writer = Writer::new(buf);
        writer.put(&[DESCRIPTIONS]);
        writer.u32_be(self.segments.saturating_mul(DESCRIPTION_BYTES as u32));
        writer.check()
    }
}

/// A segment's description (MS-PCCRC 2.4.1.2).
#[derive(Clone, PartialEq, Eq)]
pub struct SegmentRepr {
    /// Bytes of the segment, however many of them the range covers: 1 to 131,072.
    pub len: u32,
    /// The hash of data, 32 bytes.
    pub hod: Digest,
    /// The segment secret Kp, 32 bytes.
    pub secret: Secret,
}

impl SegmentRepr {
    /// Reads the description at the front of `bytes`; offsets in an error count from there.
    pub fn parse(bytes: &[u8]) -> Result<Self, InfoError> {
        let mut reader = Reader::new(bytes);
        let len = parse_len(*reader.array().map_err(InfoError::cut("cbSegment"))?)?;
        let mut hash = |field| {
            let offset = reader.offset();
            let bytes: &[u8; 32] = reader.array().map_err(InfoError::cut(field))?;
            Ok((&bytes[..], InfoError::cut(field)(Truncated { offset })))
        };
        let (hod, error) = hash("SegmentHashOfData")?;
        let hod = Digest::from_slice(hod).ok_or(error)?;
        let (secret, error) = hash("SegmentSecret")?;
        let secret = Secret::from_slice(secret).ok_or(error)?;
        Ok(Self { len, hod, secret })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    pub const fn buffer_len(&self) -> usize {
        DESCRIPTION_BYTES
    }

    /// Writes the description to the front of `buf`.
    pub fn emit(&self, buf: &mut [u8]) -> Result<(), NoRoom> {
        let mut writer = Writer::new(buf);
        writer.u32_be(self.len);
        writer.put(self.hod.as_bytes());
        writer.put(self.secret.expose());
        writer.check()
    }
}

impl core::fmt::Debug for SegmentRepr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SegmentRepr").field("len", &self.len).field("hod", &self.hod).finish_non_exhaustive()
    }
}

/// Reads cbSegment.
pub(super) fn parse_len(bytes: [u8; 4]) -> Result<u32, InfoError> {
    let len = u32::from_be_bytes(bytes);
    // 2.4.1.2: cbSegment is neither zero nor more than 128 KiB.
    if len == 0 || len > MAX_SEGMENT_V2_BYTES {
        return Err(InfoError::new("cbSegment", 0, InfoFault::OutOfRange(len.into())));
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MS-PCCRC 3.7, with the bHashAlgo that 2.4 asks for: 10 KiB from 100 KiB on.
    const HEADER: [u8; HEADER_BYTES] = [
        0, 2, 4, 0, 0, 0, 0, 0, 0, 0xf0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0x28, 0,
    ];

    fn fault<T>(result: Result<T, InfoError>) -> (&'static str, u64, InfoFault) {
        let error = result.map(|_| ()).unwrap_err();
        (error.field, error.offset, error.reason)
    }

    #[test]
    fn header_there_and_back() {
        let repr = HeaderRepr::parse(&HEADER).unwrap();
        let expected = HeaderRepr {
            content_start: 61_440,
            index_of_first: 1,
            offset_in_first: 40_960,
            range_len: 10_240,
        };
        assert_eq!(repr, expected);
        let mut buf = [0; HEADER_BYTES];
        assert_eq!(repr.buffer_len(), buf.len());
        assert_eq!(repr.emit(&mut buf), Ok(()));
        assert_eq!(buf, HEADER);
        assert_eq!(repr.emit(&mut buf[1..]), Err(NoRoom));
    }

    #[test]
    fn header_faults_have_a_place() {
        let with = |at: usize, value: u8| {
            let mut bytes = HEADER;
            bytes[at] = value;
            fault(HeaderRepr::parse(&bytes))
        };
        assert_eq!(with(0, 1), ("bMinorVersion", 0, InfoFault::Unsupported(0x201)));
        assert_eq!(with(1, 1), ("bMinorVersion", 0, InfoFault::Unsupported(0x100)));
        // The example of 3.7 says 1, which the text does not know.
        assert_eq!(with(2, 1), ("bHashAlgo", 2, InfoFault::Unsupported(1)));
        let cut = |len: usize| fault(HeaderRepr::parse(&HEADER[..len]));
        assert_eq!(cut(1), ("bMinorVersion", 0, InfoFault::Truncated));
        assert_eq!(cut(18), ("ullIndexOfFirstSegment", 11, InfoFault::Truncated));
        assert_eq!(cut(30), ("ullLengthOfRange", 23, InfoFault::Truncated));
    }

    #[test]
    fn chunk_heads() {
        let head = [0, 0, 0, 0, 0xcc];
        let repr = ChunkRepr::parse(&head).unwrap();
        assert_eq!(repr.segments, 3);
        let mut buf = [0xff; CHUNK_HEAD_BYTES];
        assert_eq!(repr.buffer_len(), buf.len());
        assert_eq!(repr.emit(&mut buf), Ok(()));
        assert_eq!(buf, head);
        let parse = |bytes: &[u8]| fault(ChunkRepr::parse(bytes));
        assert_eq!(parse(&[1, 0, 0, 0, 68]), ("bChunkType", 0, InfoFault::Unsupported(1)));
        assert_eq!(parse(&[0, 0, 0, 0, 0]), ("dwChunkDataLength", 1, InfoFault::OutOfRange(0)));
        assert_eq!(parse(&[0, 0, 0, 0, 69]), ("dwChunkDataLength", 1, InfoFault::OutOfRange(69)));
        assert_eq!(parse(&[0, 0, 0, 0]), ("dwChunkDataLength", 1, InfoFault::Truncated));
        let most = ChunkRepr { segments: MAX_CHUNK_SEGMENTS };
        most.emit(&mut buf).unwrap();
        assert_eq!(ChunkRepr::parse(&buf), Ok(most));
    }

    #[test]
    fn descriptions() {
        let mut bytes = [0xaa; DESCRIPTION_BYTES];
        bytes[..4].copy_from_slice(&[0, 2, 0, 0]);
        bytes[36..].fill(0xbb);
        let repr = SegmentRepr::parse(&bytes).unwrap();
        assert_eq!(
            (repr.len, repr.hod.as_bytes(), repr.secret.expose()),
            (131_072, &[0xaa; 32][..], &[0xbb; 32][..])
        );
        let mut buf = [0; DESCRIPTION_BYTES];
        assert_eq!(repr.buffer_len(), buf.len());
        assert_eq!(repr.emit(&mut buf), Ok(()));
        assert_eq!(buf, bytes);

        assert_eq!(fault(SegmentRepr::parse(&bytes[..67])), ("SegmentSecret", 36, InfoFault::Truncated));
        bytes[3] = 1;
        assert_eq!(fault(SegmentRepr::parse(&bytes)), ("cbSegment", 0, InfoFault::OutOfRange(131_073)));
        bytes[..4].fill(0);
        assert_eq!(fault(SegmentRepr::parse(&bytes)), ("cbSegment", 0, InfoFault::OutOfRange(0)));
    }

    #[test]
    fn secrets_stay_out_of_debug() {
        extern crate std;
        let repr = SegmentRepr {
            len: 1,
            hod: Digest::from_slice(&[0xaa; 32]).unwrap(),
            secret: Secret::from_slice(&[0xbb; 32]).unwrap(),
        };
        let text = std::format!("{repr:?}");
        assert!(text.contains("aaaa") && !text.contains("bbbb") && !text.contains("187"));
    }
}
