//! [MS-PCCRC 2.3] The fixed parts of content information 1.0 as bytes: the header and a segment's
//! description. All fields are little-endian.
//!
//! What stands between and behind them (how many, where, which block hashes) is the business of
//! [`Info`](super::Info).

use crate::bytes::{NoRoom, Reader, Truncated, Writer};
use crate::content::{InfoError, InfoFault};
use crate::crypto::{Digest, HashAlgorithm, Secret};
use crate::limits::{BLOCK_BYTES, MAX_DIGEST_BYTES, SEGMENT_BYTES};

/// The version as a number: the low byte is the minor part, the high byte the major part.
pub const VERSION: u16 = 0x0100;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 18;

/// Bytes of the longest segment description.
pub const MAX_DESCRIPTION_BYTES: usize = EXTENT_BYTES + 2 * MAX_DIGEST_BYTES;

/// Bytes of a description before its digests.
pub const EXTENT_BYTES: usize = 16;

/// Bytes of the count in front of a segment's block hashes.
pub const COUNT_BYTES: usize = 4;

/// Where the header's fields stand.
pub(super) mod field {
    pub const OFFSET_IN_FIRST: u64 = 6;
    pub const READ_IN_LAST: u64 = 10;
    pub const SEGMENTS: u64 = 14;
}

/// The header (MS-PCCRC 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HeaderRepr {
    /// The hash behind everything that follows: not that of version 2.0.
    pub algorithm: HashAlgorithm,
    /// Bytes of the first segment before the range.
    pub offset_in_first: u32,
    /// Bytes of the range in the last segment, or 0 for all up to that segment's end.
    pub read_in_last: u32,
    /// Segments that follow.
    pub segments: u32,
}

impl HeaderRepr {
    /// Reads the header at the front of `bytes`.
    ///
    /// Judges the version, the algorithm and that there are segments; what the other two fields
    /// may be depends on the segments.
    pub fn parse(bytes: &[u8]) -> Result<Self, InfoError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u16_le().map_err(InfoError::cut("Version"))?;
        // 2.3: Version MUST be 0x0100.
        if version != VERSION {
            return Err(InfoError::new("Version", 0, InfoFault::Unsupported(version.into())));
        }
        let code = reader.u32_le().map_err(InfoError::cut("dwHashAlgo"))?;
        // 2.3: dwHashAlgo MUST be that of SHA-256, SHA-384 or SHA-512.
        let algorithm =
            algorithm_of(code).ok_or(InfoError::new("dwHashAlgo", 2, InfoFault::Unsupported(code)))?;
        let offset_in_first = reader.u32_le().map_err(InfoError::cut("dwOffsetInFirstSegment"))?;
        let read_in_last = reader.u32_le().map_err(InfoError::cut("dwReadBytesInLastSegment"))?;
        let segments = reader.u32_le().map_err(InfoError::cut("cSegments"))?;
        // 2.3: a range has at least one byte, and so one segment (fact 11).
        if segments == 0 {
            return Err(InfoError::new("cSegments", field::SEGMENTS, InfoFault::OutOfRange(0)));
        }
        Ok(Self { algorithm, offset_in_first, read_in_last, segments })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_BYTES
    }

    /// Writes the header to the front of `buf`.
    pub fn emit(&self, buf: &mut [u8]) -> Result<(), NoRoom> {
        let mut writer = Writer::new(buf);
        writer.u16_le(VERSION);
        writer.u32_le(code_of(self.algorithm));
        writer.u32_le(self.offset_in_first);
        writer.u32_le(self.read_in_last);
        writer.u32_le(self.segments);
        writer.check()
    }
}

/// A segment's description (MS-PCCRC 2.3.1.1).
#[derive(Clone, PartialEq, Eq)]
pub struct SegmentRepr {
    /// Where the segment begins in the content.
    pub offset: u64,
    /// Bytes of the segment, however many of them the range covers: 1 to 32 MiB.
    pub len: u32,
    /// The hash of data.
    pub hod: Digest,
    /// The segment secret Kp.
    pub secret: Secret,
}

impl SegmentRepr {
    /// Reads the description at the front of `bytes`, whose digests are of `algorithm`.
    ///
    /// Judges the segment's length and block size; offsets in an error count from the front of
    /// `bytes`.
    pub fn parse(algorithm: HashAlgorithm, bytes: &[u8]) -> Result<Self, InfoError> {
        let mut reader = Reader::new(bytes);
        let (offset, len) = parse_extent(&mut reader)?;
        // 2.3.1.1: both hashes have 32, 48 or 64 bytes, as dwHashAlgo says.
        let hod = take_digest(&mut reader, algorithm, "SegmentHashOfData", Digest::from_slice)?;
        let secret = take_digest(&mut reader, algorithm, "SegmentSecret", Secret::from_slice)?;
        Ok(Self { offset, len, hod, secret })
    }

    /// Bytes that [`emit`](Self::emit) writes.
    pub fn buffer_len(&self) -> usize {
        EXTENT_BYTES + self.hod.as_bytes().len() + self.secret.expose().len()
    }

    /// Writes the description to the front of `buf`.
    pub fn emit(&self, buf: &mut [u8]) -> Result<(), NoRoom> {
        let mut writer = Writer::new(buf);
        writer.u64_le(self.offset);
        writer.u32_le(self.len);
        writer.u32_le(BLOCK_BYTES);
        writer.put(self.hod.as_bytes());
        writer.put(self.secret.expose());
        writer.check()
    }
}

impl core::fmt::Debug for SegmentRepr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SegmentRepr")
            .field("offset", &self.offset)
            .field("len", &self.len)
            .field("hod", &self.hod)
            .finish_non_exhaustive()
    }
}

/// Reads the front of a description: where the segment begins in the content, and its bytes.
pub(super) fn parse_extent(reader: &mut Reader<'_>) -> Result<(u64, u32), InfoError> {
    let offset = reader.u64_le().map_err(InfoError::cut("ullOffsetInContent"))?;
    let len = reader.u32_le().map_err(InfoError::cut("cbSegment"))?;
    // 2.3.1.1: no segment is longer than 32 MiB; 2.3: and none of a range is empty.
    if len == 0 || len > SEGMENT_BYTES {
        return Err(InfoError::new("cbSegment", 8, InfoFault::OutOfRange(len.into())));
    }
    let block_bytes = reader.u32_le().map_err(InfoError::cut("cbBlockSize"))?;
    // 2.3.1.1: the block size MUST be 65536, in short segments too (fact 12).
    if block_bytes != BLOCK_BYTES {
        return Err(InfoError::new("cbBlockSize", 12, InfoFault::OutOfRange(block_bytes.into())));
    }
    Ok((offset, len))
}

/// Bytes of a segment's description.
pub const fn description_bytes(algorithm: HashAlgorithm) -> usize {
    EXTENT_BYTES + 2 * algorithm.digest_len()
}

/// Version 1.0 has no code for the hash of version 2.0: nobody accepts this 0.
const fn code_of(algorithm: HashAlgorithm) -> u32 {
    match algorithm {
        HashAlgorithm::Sha256 => 0x800c,
        HashAlgorithm::Sha384 => 0x800d,
        HashAlgorithm::Sha512 => 0x800e,
        HashAlgorithm::TruncatedSha512 => 0,
    }
}

const fn algorithm_of(code: u32) -> Option<HashAlgorithm> {
    match code {
        0x800c => Some(HashAlgorithm::Sha256),
        0x800d => Some(HashAlgorithm::Sha384),
        0x800e => Some(HashAlgorithm::Sha512),
        _ => None,
    }
}

fn take_digest<T>(
    reader: &mut Reader<'_>,
    algorithm: HashAlgorithm,
    field: &'static str,
    make: fn(&[u8]) -> Option<T>,
) -> Result<T, InfoError> {
    let offset = reader.offset();
    let bytes = reader.take(algorithm.digest_len()).map_err(InfoError::cut(field))?;
    make(bytes).ok_or(InfoError::cut(field)(Truncated { offset }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MS-PCCRC 3.3: from 102,400 to the end of 128,000 bytes.
    const HEADER: [u8; HEADER_BYTES] =
        [0x00, 0x01, 0x0c, 0x80, 0, 0, 0x00, 0x90, 0x01, 0, 0, 0, 0, 0, 1, 0, 0, 0];

    fn description() -> [u8; 80] {
        let mut bytes = [0; 80];
        bytes[..8].copy_from_slice(&[0, 0, 0, 2, 0, 0, 0, 0]);
        bytes[8..12].copy_from_slice(&[0x00, 0xf4, 0x01, 0]);
        bytes[12..16].copy_from_slice(&[0, 0, 1, 0]);
        bytes[16..48].fill(0xaa);
        bytes[48..].fill(0xbb);
        bytes
    }

    fn fault<T>(result: Result<T, InfoError>) -> (&'static str, u64, InfoFault) {
        let error = result.map(|_| ()).unwrap_err();
        (error.field, error.offset, error.reason)
    }

    #[test]
    fn header_there_and_back() {
        let repr = HeaderRepr::parse(&HEADER).unwrap();
        assert_eq!(
            repr,
            HeaderRepr {
                algorithm: HashAlgorithm::Sha256,
                offset_in_first: 102_400,
                read_in_last: 0,
                segments: 1
            }
        );
        let mut buf = [0; HEADER_BYTES];
        assert_eq!(buf.len(), repr.buffer_len());
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
        assert_eq!(with(1, 2), ("Version", 0, InfoFault::Unsupported(0x200)));
        assert_eq!(with(2, 4), ("dwHashAlgo", 2, InfoFault::Unsupported(0x8004)));
        assert_eq!(with(14, 0), ("cSegments", 14, InfoFault::OutOfRange(0)));
        assert_eq!(
            fault(HeaderRepr::parse(&HEADER[..12])),
            ("dwReadBytesInLastSegment", 10, InfoFault::Truncated)
        );
    }

    #[test]
    fn description_there_and_back() {
        let bytes = description();
        let repr = SegmentRepr::parse(HashAlgorithm::Sha256, &bytes).unwrap();
        assert_eq!((repr.offset, repr.len), (0x0200_0000, 128_000));
        assert_eq!(repr.hod.as_bytes(), [0xaa; 32]);
        assert_eq!(repr.secret.expose(), [0xbb; 32]);
        let mut buf = [0; 80];
        assert_eq!(repr.buffer_len(), description_bytes(HashAlgorithm::Sha256));
        assert_eq!(repr.emit(&mut buf), Ok(()));
        assert_eq!(buf, bytes);
    }

    #[test]
    fn description_faults_have_a_place() {
        let parse = |bytes: &[u8]| fault(SegmentRepr::parse(HashAlgorithm::Sha256, bytes));
        let mut bytes = description();
        bytes[8..12].fill(0);
        assert_eq!(parse(&bytes), ("cbSegment", 8, InfoFault::OutOfRange(0)));
        bytes[8..12].copy_from_slice(&[1, 0, 0, 2]);
        assert_eq!(parse(&bytes), ("cbSegment", 8, InfoFault::OutOfRange(0x0200_0001)));
        let mut bytes = description();
        bytes[14] = 2;
        assert_eq!(parse(&bytes), ("cbBlockSize", 12, InfoFault::OutOfRange(131_072)));
        assert_eq!(parse(&description()[..79]), ("SegmentSecret", 48, InfoFault::Truncated));
    }

    #[test]
    fn secrets_stay_out_of_debug() {
        extern crate std;
        let repr = SegmentRepr::parse(HashAlgorithm::Sha256, &description()).unwrap();
        let text = std::format!("{repr:?}");
        assert!(text.contains("aaaa") && !text.contains("bbbb") && !text.contains("187"));
    }
}
