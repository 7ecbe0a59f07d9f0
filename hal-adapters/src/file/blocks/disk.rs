//! What the file of a block looks like: its name, its header, and the pages behind.
//!
//! All numbers are little-endian. The header says everything that the index needs, so that opening
//! a directory reads [`HEADER_BYTES`] of each file and no more; it ends with a CRC-32 of itself.
//! The sealed bytes follow, in pages of [`PAGE_BYTES`] whose CRC-32s stand in the header.

use std::ffi::OsStr;
use std::format;
use std::string::String;
use std::vec::Vec;

use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{CipherAlgorithm, Seal};
use peerdist_core::limits::{MAX_DIGEST_BYTES, MAX_SEGMENT_V2_BYTES};
use peerdist_core::store::BlockId;

/// Bytes in front of a block's own. Together with those of a full block of 64 KiB, they take as
/// many pages of a disk as these alone.
pub const HEADER_BYTES: usize = 256;

/// Bytes that one checksum covers: what a read costs at least.
pub const PAGE_BYTES: usize = 4_096;

/// Bytes of the longest block as it is stored: the block of the longest segment of version 2, in
/// which it is the only one.
pub const MAX_LEN: u32 = CipherAlgorithm::Aes128.sealed_len(MAX_SEGMENT_V2_BYTES);

/// Pages of the longest block.
const MAX_PAGES: usize = (MAX_LEN as usize).div_ceil(PAGE_BYTES);

/// What the header begins with; its last byte is the version.
const MAGIC: [u8; 8] = *b"PeerDBk\x01";

/// What names of blocks begin with. The segment's id follows in hexadecimal digits, a hyphen, and
/// the block's index in eight digits more.
const PREFIX: &str = "peerdist-block-";

/// What names end with before the block is committed.
const PART: &str = ".part";

const INDEX_DIGITS: usize = 8;

/// What is in front of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub id: BlockId,
    pub seal: Seal,
    /// Bytes as stored.
    pub len: u32,
    pub plain_len: u32,
    /// When it was committed, in seconds of Unix.
    pub created: u64,
    /// The checksum of each page.
    pub pages: [u32; MAX_PAGES],
}

impl Header {
    pub fn emit(&self) -> Vec<u8> {
        let id = self.id.segment.as_bytes();
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(self.id.index.to_le_bytes());
        bytes.extend(self.len.to_le_bytes());
        bytes.extend(self.plain_len.to_le_bytes());
        bytes.extend(self.created.to_le_bytes());
        bytes.extend([cipher_code(self.seal.algorithm), id.len() as u8]);
        bytes.extend(self.seal.iv);
        bytes.extend(id);
        bytes.extend(core::iter::repeat_n(0, MAX_DIGEST_BYTES - id.len()));
        bytes.extend(self.pages.iter().flat_map(|page| page.to_le_bytes()));
        bytes.resize(HEADER_BYTES - size_of::<u32>(), 0);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// `None` unless it is whole, of our version, and at one with itself.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (fields, crc) = bytes.split_last_chunk()?;
        if crc32fast::hash(fields) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (magic, fields) = fields.split_first_chunk()?;
        let (index, fields) = fields.split_first_chunk()?;
        let (len, fields) = fields.split_first_chunk()?;
        let (plain_len, fields) = fields.split_first_chunk()?;
        let (created, fields) = fields.split_first_chunk()?;
        let (&[code, id_len], fields) = fields.split_first_chunk()?;
        let (iv, fields) = fields.split_first_chunk()?;
        let (id, fields) = fields.split_first_chunk::<MAX_DIGEST_BYTES>()?;
        let segment = SegmentId::from_slice(id.get(..id_len.into())?)?;
        let mut pages = [0; MAX_PAGES];
        for (page, crc) in pages.iter_mut().zip(fields.as_chunks().0) {
            *page = u32::from_le_bytes(*crc);
        }
        let header = Self {
            id: BlockId { segment, index: u32::from_le_bytes(*index) },
            seal: Seal { algorithm: cipher(code)?, iv: *iv },
            len: u32::from_le_bytes(*len),
            plain_len: u32::from_le_bytes(*plain_len),
            created: u64::from_le_bytes(*created),
            pages,
        };
        let fits = header.len <= MAX_LEN && header.len == header.seal.algorithm.sealed_len(header.plain_len);
        (*magic == MAGIC && fits).then_some(header)
    }
}

/// The name of a block's file, before it is committed or from then on.
pub fn file_name(id: &BlockId, committed: bool) -> String {
    let mut name = String::from(PREFIX);
    for byte in id.segment.as_bytes() {
        let digits = [byte >> 4, byte & 0xf].map(|digit| char::from_digit(digit.into(), 16));
        name.extend(digits.into_iter().flatten());
    }
    let end = if committed { "" } else { PART };
    name += &format!("-{:0INDEX_DIGITS$x}{end}", id.index);
    name
}

/// Whose file this is, and whether it was committed; `None` if it has no name of ours.
pub fn parse_file_name(name: &OsStr) -> Option<(BlockId, bool)> {
    let text = name.to_str()?;
    let digits = text.strip_prefix(PREFIX)?;
    let (digits, committed) = match digits.strip_suffix(PART) {
        Some(digits) => (digits, false),
        None => (digits, true),
    };
    let (segment, index) = digits.split_once('-')?;
    let pairs = segment
        .as_bytes()
        .chunks(2)
        .map(|pair| core::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()));
    let segment = pairs.collect::<Option<Vec<u8>>>()?;
    let id =
        BlockId { segment: SegmentId::from_slice(&segment)?, index: u32::from_str_radix(index, 16).ok()? };
    // Signs, upper case and missing zeros are somebody else's.
    (file_name(&id, committed) == text).then_some((id, committed))
}

/// CryptoAlgoId of MS-PCCRR 2.2.3.
fn cipher_code(algorithm: CipherAlgorithm) -> u8 {
    match algorithm {
        CipherAlgorithm::None => 0,
        CipherAlgorithm::Aes128 => 1,
        CipherAlgorithm::Aes192 => 2,
        CipherAlgorithm::Aes256 => 3,
    }
}

fn cipher(code: u8) -> Option<CipherAlgorithm> {
    use CipherAlgorithm::{Aes128, Aes192, Aes256, None as Plain};
    [Plain, Aes128, Aes192, Aes256].into_iter().find(|&algorithm| cipher_code(algorithm) == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(id: &[u8], algorithm: CipherAlgorithm, plain_len: u32) -> Header {
        Header {
            id: BlockId { segment: SegmentId::from_slice(id).unwrap(), index: 0x0102_0304 },
            seal: Seal { algorithm, iv: [0xaa; 16] },
            len: algorithm.sealed_len(plain_len),
            plain_len,
            created: 0x0a0b_0c0d,
            pages: core::array::from_fn(|page| page as u32),
        }
    }

    #[test]
    fn literal_bytes() {
        let bytes = header(&[7; 32], CipherAlgorithm::Aes256, 5).emit();
        let mut expected =
            b"PeerDBk\x01\x04\x03\x02\x01\x10\0\0\0\x05\0\0\0\x0d\x0c\x0b\x0a\0\0\0\0\x03\x20".to_vec();
        expected.extend([0xaa; 16]);
        expected.extend([7; 32]);
        expected.extend([0; 32]);
        expected.extend((0..33u32).flat_map(u32::to_le_bytes));
        assert_eq!(bytes[..expected.len()], expected);
        assert_eq!((expected.len(), bytes.len()), (242, HEADER_BYTES));
    }

    #[test]
    fn emitted_and_parsed() {
        let longest = header(&[9; 64], CipherAlgorithm::None, MAX_LEN);
        for header in [header(&[7; 48], CipherAlgorithm::Aes128, MAX_SEGMENT_V2_BYTES), longest] {
            let bytes = header.emit();
            assert_eq!(Header::parse(bytes.first_chunk().unwrap()), Some(header));
            for at in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[at / 8] ^= 1 << (at % 8);
                assert_eq!(Header::parse(flipped.first_chunk().unwrap()), None, "bit {at}");
            }
        }
    }

    /// Fields that contradict each other, behind a checksum that is right.
    #[test]
    fn headers_that_make_no_sense() {
        let good = header(&[7; 32], CipherAlgorithm::Aes128, 100);
        let mut bad: Vec<_> = [
            Header { len: 111, ..good },
            Header { plain_len: 112, ..good },
            header(&[7; 32], CipherAlgorithm::None, MAX_LEN + 1),
        ]
        .map(|header| header.emit())
        .into();
        for (at, value) in [(7, 2), (0, b'p'), (28, 4), (29, 33), (29, 65), (29, 0)] {
            let mut bytes = good.emit();
            bytes[at] = value;
            let crc = crc32fast::hash(&bytes[..HEADER_BYTES - 4]).to_le_bytes();
            bytes[HEADER_BYTES - 4..].copy_from_slice(&crc);
            bad.push(bytes);
        }
        for bytes in bad {
            assert_eq!(Header::parse(bytes.first_chunk().unwrap()), None, "{bytes:?}");
        }
    }

    #[test]
    fn names() {
        let id = BlockId { segment: SegmentId::from_slice(&[0x1f; 32]).unwrap(), index: 0xa };
        let hex = "1f".repeat(32);
        let name = format!("peerdist-block-{hex}-0000000a");
        assert_eq!((file_name(&id, true), file_name(&id, false)), (name.clone(), format!("{name}.part")));
        for length in [32, 48, 64] {
            let id =
                BlockId { segment: SegmentId::from_slice(&[0xe0; 64][..length]).unwrap(), index: u32::MAX };
            for committed in [false, true] {
                let name = file_name(&id, committed);
                assert_eq!(parse_file_name(name.as_ref()), Some((id, committed)));
            }
        }
        let upper = format!("peerdist-block-{}-0000000a", hex.to_uppercase());
        let short = format!("peerdist-block-{}-0000000a", &hex[2..]);
        let odd = format!("peerdist-block-{}-0000000a", &hex[1..]);
        let sign = format!("peerdist-block-{hex}-+000000a");
        let bak = format!("{name}.part.bak");
        for foreign in
            ["", "peerdist-block-", "peerdist-block.lock", &upper, &short, &odd, &sign, &bak, &name[1..]]
        {
            assert_eq!(parse_file_name(foreign.as_ref()), None, "{foreign}");
        }
    }
}
