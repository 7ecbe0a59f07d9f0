//! What a pack of blocks looks like: its name, the table at its beginning, and the blocks behind.
//!
//! All numbers are little-endian. The table has [`ENTRIES`] entries of [`ENTRY_BYTES`], each of which is
//! zeros or says everything that the index needs of a block, so that opening a directory reads the tables
//! and no more. An entry has a CRC-32 of itself, and those of the pages of [`PAGE_BYTES`] that its block's
//! sealed bytes are in. A block begins at a page; which pages are free is what no entry says otherwise of.

use std::ffi::OsStr;
use std::format;
use std::string::String;
use std::vec::Vec;

use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{CipherAlgorithm, Seal};
use peerdist_core::limits::{MAX_DIGEST_BYTES, MAX_SEGMENT_V2_BYTES};
use peerdist_core::store::BlockId;

/// Blocks of a pack: so many that a download makes few files, so few that one who serves its blocks
/// among many others holds few bytes of nobody's.
pub const ENTRIES: usize = 128;

/// Bytes of an entry. It lies in one sector of a disk.
pub const ENTRY_BYTES: usize = 256;

/// Bytes of the table.
pub const TABLE_BYTES: usize = ENTRIES * ENTRY_BYTES;

/// Bytes that one checksum covers: what a read costs at least. And what file systems give at once.
pub const PAGE_BYTES: usize = 4_096;

/// Pages at a multiple of which a block begins that has as many itself, where files can have holes: a cache of
/// pages holds 64 KiB in one piece then, and reads them a quarter faster.
pub const GRAIN: u16 = if cfg!(target_os = "linux") { 16 } else { 1 };

/// The first page that a block may have: behind the table, at a multiple of any [`GRAIN`].
pub const TABLE_PAGES: u16 = ((TABLE_BYTES / PAGE_BYTES) as u16).next_multiple_of(16);

/// Bytes of the longest block as it is stored: the block of the longest segment of version 2, in
/// which it is the only one.
pub const MAX_LEN: u32 = CipherAlgorithm::Aes128.sealed_len(MAX_SEGMENT_V2_BYTES);

/// Pages of the longest block.
const MAX_BLOCK_PAGES: u16 = pages_of(MAX_LEN);

/// Pages of a pack: all of its blocks may be the longest.
pub const MAX_PAGES: u16 = TABLE_PAGES + ENTRIES as u16 * MAX_BLOCK_PAGES.next_multiple_of(16);

/// What an entry begins with; its last byte is the version.
const MAGIC: [u8; 8] = *b"PeerDBk\x02";

/// Where an entry has its CRC, which covers what is before it.
const CRC_AT: usize = ENTRY_BYTES - 2 * size_of::<u32>();

/// Where it has the time of last use, which changes when nothing else does: no CRC covers it, since
/// only the order in which blocks go depends on it.
pub const STAMP_AT: usize = ENTRY_BYTES - size_of::<u32>();

/// What names of packs begin with. The pack's number follows in [`DIGITS`] hexadecimal digits.
const PREFIX: &str = "peerdist-blocks-";

const DIGITS: usize = 4;

/// What the table says of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: BlockId,
    pub seal: Seal,
    /// Bytes as stored.
    pub len: u32,
    pub plain_len: u32,
    /// When it was committed, in seconds of Unix.
    pub created: u64,
    /// The checksum of each page.
    pub pages: [u32; MAX_BLOCK_PAGES as usize],
    /// The page of the pack at which it begins.
    pub start: u16,
    /// When it was last used, in seconds of Unix.
    pub stamped: u32,
}

impl Entry {
    pub fn emit(&self) -> Vec<u8> {
        let id = self.id.segment.as_bytes();
        let mut bytes = Vec::with_capacity(ENTRY_BYTES);
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
        bytes.extend(self.start.to_le_bytes());
        bytes.resize(CRC_AT, 0);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.extend(self.stamped.to_le_bytes());
        bytes
    }

    /// `None` unless it is whole, of our version, and at one with itself.
    pub fn parse(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let (bytes, stamped) = bytes.split_last_chunk()?;
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
        let segment = SegmentId::from_stored(id.get(..id_len.into())?)?;
        let (crcs, fields) = fields.split_at_checked(usize::from(MAX_BLOCK_PAGES) * size_of::<u32>())?;
        let mut pages = [0; _];
        for (page, crc) in pages.iter_mut().zip(crcs.as_chunks().0) {
            *page = u32::from_le_bytes(*crc);
        }
        let entry = Self {
            id: BlockId { segment, index: u32::from_le_bytes(*index) },
            seal: Seal { algorithm: cipher(code)?, iv: *iv },
            len: u32::from_le_bytes(*len),
            plain_len: u32::from_le_bytes(*plain_len),
            created: u64::from_le_bytes(*created),
            pages,
            start: u16::from_le_bytes(*fields.first_chunk()?),
            stamped: u32::from_le_bytes(*stamped),
        };
        let fits = entry.len <= MAX_LEN && entry.len == entry.seal.algorithm.sealed_len(entry.plain_len);
        let last = MAX_PAGES.saturating_sub(pages_of(entry.len));
        let lies = (TABLE_PAGES..=last).contains(&entry.start);
        (*magic == MAGIC && fits && lies).then_some(entry)
    }
}

/// Pages that as many bytes take, of the longest block at most. One without any has a page, too.
pub const fn pages_of(len: u32) -> u16 {
    let len = if len > MAX_LEN { MAX_LEN } else { len };
    let pages = (len as usize).div_ceil(PAGE_BYTES);
    if pages == 0 { 1 } else { pages as u16 }
}

/// The name of a pack.
pub fn file_name(number: u16) -> String {
    format!("{PREFIX}{number:0DIGITS$x}")
}

/// The number of the pack that has this name; `None` if it is not one of ours.
pub fn parse_file_name(name: &OsStr) -> Option<u16> {
    let text = name.to_str()?;
    let number = u16::from_str_radix(text.strip_prefix(PREFIX)?, 16).ok()?;
    // Signs, upper case and missing zeros are somebody else's.
    (file_name(number) == text).then_some(number)
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

    fn entry(id: &[u8], algorithm: CipherAlgorithm, plain_len: u32) -> Entry {
        Entry {
            id: BlockId { segment: SegmentId::from_slice(id).unwrap(), index: 0x0102_0304 },
            seal: Seal { algorithm, iv: [0xaa; 16] },
            len: algorithm.sealed_len(plain_len),
            plain_len,
            created: 0x0a0b_0c0d,
            pages: core::array::from_fn(|page| page as u32),
            start: 0x0ff0,
            stamped: 0x0506_0708,
        }
    }

    #[test]
    fn literal_bytes() {
        let bytes = entry(&[7; 32], CipherAlgorithm::Aes256, 5).emit();
        let mut expected =
            b"PeerDBk\x02\x04\x03\x02\x01\x10\0\0\0\x05\0\0\0\x0d\x0c\x0b\x0a\0\0\0\0\x03\x20".to_vec();
        expected.extend([0xaa; 16]);
        expected.extend([7; 32]);
        expected.extend([0; 32]);
        expected.extend((0..33u32).flat_map(u32::to_le_bytes));
        expected.extend(b"\xf0\x0f\0\0\0\0");
        assert_eq!(bytes[..CRC_AT], expected);
        assert_eq!((CRC_AT, STAMP_AT, bytes.len()), (248, 252, ENTRY_BYTES));
        assert_eq!(bytes[STAMP_AT..], [8, 7, 6, 5]);
        assert_eq!((TABLE_PAGES, MAX_BLOCK_PAGES, MAX_PAGES), (16, 33, 6_160));
    }

    #[test]
    fn emitted_and_parsed() {
        let longest = entry(&[9; 64], CipherAlgorithm::None, MAX_LEN);
        // The name of what cannot be verified comes back as it is.
        let mut apart = entry(&[5; 32], CipherAlgorithm::Aes128, 9);
        apart.id.segment = apart.id.segment.unverifiable().unwrap();
        for entry in [entry(&[7; 48], CipherAlgorithm::Aes128, MAX_SEGMENT_V2_BYTES), longest, apart] {
            let bytes = entry.emit();
            assert_eq!(Entry::parse(bytes.first_chunk().unwrap()), Some(entry));
            for at in 0..STAMP_AT * 8 {
                let mut flipped = bytes.clone();
                flipped[at / 8] ^= 1 << (at % 8);
                assert_eq!(Entry::parse(flipped.first_chunk().unwrap()), None, "bit {at}");
            }
            let mut used = bytes.clone();
            used[STAMP_AT] ^= 1;
            let stamped = entry.stamped ^ 1;
            assert_eq!(Entry::parse(used.first_chunk().unwrap()), Some(Entry { stamped, ..entry }));
        }
        assert_eq!(Entry::parse(&[0; ENTRY_BYTES]), None);
    }

    /// Fields that contradict each other, behind a checksum that is right.
    #[test]
    fn entries_that_make_no_sense() {
        let good = entry(&[7; 32], CipherAlgorithm::Aes128, 100);
        let last = MAX_PAGES - 1;
        assert!(Entry::parse(Entry { start: last, ..good }.emit().first_chunk().unwrap()).is_some());
        let mut bad: Vec<_> = [
            Entry { len: 111, ..good },
            Entry { plain_len: 112, ..good },
            Entry { start: TABLE_PAGES - 1, ..good },
            Entry { start: last + 1, ..good },
            entry(&[7; 32], CipherAlgorithm::None, MAX_LEN + 1),
        ]
        .map(|entry| entry.emit())
        .into();
        for (at, value) in [(7, 1), (0, b'p'), (28, 4), (29, 34), (29, 65), (29, 0)] {
            let mut bytes = good.emit();
            bytes[at] = value;
            let crc = crc32fast::hash(&bytes[..CRC_AT]).to_le_bytes();
            bytes[CRC_AT..STAMP_AT].copy_from_slice(&crc);
            bad.push(bytes);
        }
        for bytes in bad {
            assert_eq!(Entry::parse(bytes.first_chunk().unwrap()), None, "{bytes:?}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(file_name(0x2a), "peerdist-blocks-002a");
        for number in [0, 0xabcd, u16::MAX] {
            assert_eq!(parse_file_name(file_name(number).as_ref()), Some(number));
        }
        for foreign in [
            "",
            "peerdist-blocks-",
            "peerdist-blocks.lock",
            "peerdist-blocks-00AB",
            "peerdist-blocks-02a",
            "peerdist-blocks-0002a",
            "peerdist-blocks-+02a",
            "peerdist-blocks-002a.bak",
        ] {
            assert_eq!(parse_file_name(foreign.as_ref()), None, "{foreign}");
        }
    }
}
