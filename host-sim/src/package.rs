//! Packages: blocks of a cache in one file, which go to another cache by whatever carries files.
//!
//! A package has what a cache has: blocks as they travel, encrypted, under the names of their segments. Their keys
//! are in content information, which is never in a package. `docs/PACKAGE.md` has the format byte by byte.
//! Checksums tell what happened to the file on its way, and nothing of who made it: what it says is the content of
//! a segment is believed only if it matches content information that is at hand ([`take()`]).

mod known;
mod read;
mod take;
mod write;

use std::cmp::Ordering;
use std::fmt;
use std::io;

use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{CipherAlgorithm, Seal};
use peerdist_core::limits::{MAX_DIGEST_BYTES, MAX_SEGMENT_V2_BYTES, SEGMENT_BLOCKS};
use peerdist_core::retrieval::wire::CryptoAlgoId;
use peerdist_core::store::BlockId;

pub use self::known::{Known, MAX_SEGMENTS};
pub use self::read::Reader;
pub use self::take::{Outcome, TakeError, take};
pub use self::write::{Writer, is_packable};

/// What a package begins with; its last byte is the version of the format.
pub const MAGIC: [u8; 8] = *b"PeerDPk\x01";

/// Bytes of a record in front of its block.
pub const HEAD_BYTES: usize = 96;

/// Bytes of a checksum, which is a SHA-256.
pub const CHECKSUM_BYTES: usize = 32;

/// Bytes of what is behind the last record.
pub const END_BYTES: usize = END_HEAD_BYTES + CHECKSUM_BYTES;

/// The same without its checksum.
const END_HEAD_BYTES: usize = 16;

/// What a record begins with.
const RECORD: [u8; 4] = *b"Blok";

/// What the end begins with.
const END: [u8; 4] = *b"End.";

/// Bytes of the longest block: the plaintext of the longest segment of content information 2.0, sealed.
pub const MAX_BLOCK_BYTES: u32 = CipherAlgorithm::Aes128.sealed_len(MAX_SEGMENT_V2_BYTES);

/// What a record says of its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The name under which the block was kept.
    pub id: BlockId,
    /// How it is sealed: never in clear.
    pub seal: Seal,
    /// Bytes of the plaintext; those of the block follow from it.
    pub plain_len: u32,
}

/// One block of a package.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where its record begins in the package.
    pub offset: u64,
    /// What is said of it.
    pub head: Head,
    /// The block as it travels.
    pub bytes: &'a [u8],
}

/// Why a package cannot be read further.
#[derive(Debug)]
pub enum PackageError {
    /// What should stand at this byte of it could not be read.
    Unreadable(u64, io::Error),
    /// What stands at this byte of it is not as it must be.
    Damaged(u64, Fault),
}

/// What can be wrong with a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not begin as packages do.
    NoPackage,
    /// A version of the format other than 1.
    Version(u8),
    /// It ends in the middle.
    Truncated,
    /// Neither a record nor the end begins here.
    NoRecord,
    /// No cipher of MS-PCCRR, or none at all.
    Cipher(u8),
    /// No segment id has as many bytes.
    IdLength(u8),
    /// Bytes that have no meaning are not zero.
    NotZero,
    /// No segment has such a block.
    Index(u32),
    /// No block has as many bytes.
    Length(u32),
    /// The bytes are not those of the checksum behind them.
    Checksum,
    /// Not behind the block before, but the same or one before that.
    Order,
    /// The number of records is another.
    Count(u64),
    /// More bytes follow after the end.
    Trailing,
}

impl Head {
    /// Bytes of the block as it travels.
    pub const fn len(&self) -> u32 {
        self.seal.algorithm.sealed_len(self.plain_len)
    }

    /// Whether the block has no bytes, which none has as it travels.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn emit(&self) -> [u8; HEAD_BYTES] {
        let id = self.id.segment.as_bytes();
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&RECORD);
        bytes[4] = code(self.seal.algorithm);
        bytes[5] = id.len() as u8;
        bytes[8..12].copy_from_slice(&self.id.index.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.plain_len.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.seal.iv);
        bytes[32..32 + id.len()].copy_from_slice(id);
        bytes
    }

    /// What is wrong is told with its place.
    fn parse(bytes: &[u8; HEAD_BYTES]) -> Result<Self, (usize, Fault)> {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let algorithm = cipher(bytes[4]).ok_or((4, Fault::Cipher(bytes[4])))?;
        let id_len = usize::from(bytes[5]);
        let id = bytes[32..].get(..id_len).and_then(SegmentId::from_stored);
        let segment = id.ok_or((5, Fault::IdLength(bytes[5])))?;
        // A name for what is not verified is an id, and a zero.
        let zeros = 32 + id_len - usize::from(segment.is_unverifiable())..32 + MAX_DIGEST_BYTES;
        if let Some(at) = (6..8).chain(zeros).find(|&at| bytes[at] != 0) {
            return Err((at, Fault::NotZero));
        }
        let (index, plain_len) = (number(8), number(12));
        if index >= SEGMENT_BLOCKS {
            return Err((8, Fault::Index(index)));
        }
        if !(1..=MAX_SEGMENT_V2_BYTES).contains(&plain_len) {
            return Err((12, Fault::Length(plain_len)));
        }
        let iv = std::array::from_fn(|at| bytes[16 + at]);
        Ok(Self { id: BlockId { segment, index }, seal: Seal { algorithm, iv }, plain_len })
    }
}

/// CryptoAlgoId of MS-PCCRR 2.2.3.
fn code(algorithm: CipherAlgorithm) -> u8 {
    // No value is greater than 3.
    CryptoAlgoId::from(algorithm).0 as u8
}

/// Those that encrypt.
fn cipher(code: u8) -> Option<CipherAlgorithm> {
    CryptoAlgoId(code.into()).algorithm().filter(|algorithm| *algorithm != CipherAlgorithm::None)
}

/// The order of the records: by segment, and by block within it.
fn order(one: &BlockId, other: &BlockId) -> Ordering {
    (one.segment, one.index).cmp(&(other.segment, other.index))
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(offset, error) => write!(f, "at byte {offset}: {error}"),
            Self::Damaged(offset, fault) => write!(f, "at byte {offset}: {fault}"),
        }
    }
}

impl std::error::Error for PackageError {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPackage => f.write_str("no package begins like this"),
            Self::Version(version) => write!(f, "version {version} of the format is not supported"),
            Self::Truncated => f.write_str("the package ends too early"),
            Self::NoRecord => f.write_str("neither a block nor the end of the package"),
            Self::Cipher(code) => write!(f, "cipher {code} is not supported"),
            Self::IdLength(len) => write!(f, "no segment id has {len} bytes"),
            Self::NotZero => f.write_str("not zero, as it must be"),
            Self::Index(index) => write!(f, "no segment has a block {index}"),
            Self::Length(len) => write!(f, "no block has {len} bytes"),
            Self::Checksum => f.write_str("the checksum does not match"),
            Self::Order => f.write_str("a block twice, or not in its order"),
            Self::Count(count) => write!(f, "{count} blocks should have come"),
            Self::Trailing => f.write_str("more follows after the end of the package"),
        }
    }
}
