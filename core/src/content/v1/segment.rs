//! One segment: what content information says of it, and the check that it says the same twice.

use core::ops::Range;

use super::{List, read};
use crate::content::{InfoError, InfoFault, InfoSource, SegmentId, segment_id};
use crate::crypto::{Crypto, Digest, HashAlgorithm, HashState, Secret};
use crate::limits::{BLOCK_BYTES, MAX_DIGEST_BYTES, PIECE_BYTES};

/// One segment of content information, with its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    pub(super) algorithm: HashAlgorithm,
    pub(super) index: u32,
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) hod: Digest,
    pub(super) secret: Secret,
    pub(super) hod_at: u64,
    pub(super) list: List,
    pub(super) hashes_at: u64,
    pub(super) in_range: Range<u32>,
}

impl Segment {
    /// Its place among the segments of the content information.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Where it begins, in bytes of the content.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes it has, however many of them are in the range.
    pub const fn byte_len(&self) -> u32 {
        self.len
    }

    /// The hash of data, HoD.
    pub const fn hod(&self) -> &Digest {
        &self.hod
    }

    /// The segment secret Kp, which is also the key Ke.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The public identifier HoHoDk.
    pub fn id(&self, crypto: &mut dyn Crypto) -> SegmentId {
        segment_id(crypto, self.algorithm, &self.secret, &self.hod)
    }

    /// How many blocks it has, listed or not: 1 to 512.
    pub const fn block_count(&self) -> u32 {
        self.len.div_ceil(BLOCK_BYTES)
    }

    /// The blocks whose hashes are listed.
    pub fn listed_blocks(&self) -> Range<u32> {
        self.list.start..self.list.end()
    }

    /// The blocks that have bytes of the content information's range: always listed.
    pub fn blocks_in_range(&self) -> Range<u32> {
        self.in_range.clone()
    }

    /// Bytes of the block with `index`: 65,536, or fewer for the last block of the last segment.
    /// `None` if there is no such block.
    pub fn block_len(&self, index: u32) -> Option<u32> {
        let rest = self.len.checked_sub(index.checked_mul(BLOCK_BYTES)?)?;
        (rest > 0).then_some(rest.min(BLOCK_BYTES))
    }

    /// Reads the hash of the block with `index` from the source that was parsed; `None` if it is
    /// not listed.
    pub fn block_hash(&self, source: &dyn InfoSource, index: u32) -> Result<Option<Digest>, InfoError> {
        let Some(position) = index.checked_sub(self.list.start).filter(|&n| n < self.list.count) else {
            return Ok(None);
        };
        let mut buf = [0; MAX_DIGEST_BYTES];
        let bytes = buf.get_mut(..self.algorithm.digest_len()).unwrap_or_default();
        let at = self.hashes_at.saturating_add(u64::from(position) * bytes.len() as u64);
        read(source, "BlockHashes", at, bytes)?;
        Ok(Digest::from_slice(bytes))
    }
}

impl core::fmt::Debug for Segment {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Segment")
            .field("index", &self.index)
            .field("offset", &self.offset)
            .field("len", &self.len)
            .field("listed_blocks", &self.listed_blocks())
            .finish_non_exhaustive()
    }
}

/// The check of a segment's block hashes against its HoD, in as many steps as the caller likes.
///
/// MS-PCCRC 2.2: the block hashes MUST match HoD before a block of the segment is handed to
/// anybody. The other half, each block against its hash, is the store's.
pub struct HodCheck {
    state: HashState,
    expected: Digest,
    expected_at: u64,
    next_at: u64,
    blocks_left: u32,
    digest_len: u32,
}

/// How far a [`HodCheck`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// There are block hashes left to read.
    More,
    /// The block hashes are those of the HoD.
    Done,
}

impl HodCheck {
    /// Begins; an error if `segment` does not list all its blocks, since what is left out cannot
    /// be checked (fact 9).
    pub fn new(crypto: &mut dyn Crypto, segment: &Segment) -> Result<Self, InfoError> {
        if segment.listed_blocks() != (0..segment.block_count()) {
            return Err(InfoError::new("SegmentHashOfData", segment.hod_at, InfoFault::PartialList));
        }
        Ok(Self {
            state: crypto.hash_start(segment.algorithm),
            expected: segment.hod,
            expected_at: segment.hod_at,
            next_at: segment.hashes_at,
            blocks_left: segment.list.count,
            digest_len: segment.algorithm.digest_len() as u32,
        })
    }

    /// Reads up to `max_blocks` block hashes from the source that was parsed. Once they are all
    /// read, each further call gives the same verdict.
    pub fn step(
        &mut self,
        source: &dyn InfoSource,
        crypto: &mut dyn Crypto,
        max_blocks: u32,
    ) -> Result<Progress, InfoError> {
        let mut buf = [0; PIECE_BYTES];
        let mut blocks = max_blocks.min(self.blocks_left);
        while blocks > 0 {
            let now = blocks.min(BLOCKS_PER_PIECE);
            let len = now.saturating_mul(self.digest_len);
            let piece = buf.get_mut(..len as usize).unwrap_or_default();
            read(source, "BlockHashes", self.next_at, piece)?;
            crypto.hash_update(&mut self.state, piece);
            self.next_at = self.next_at.saturating_add(len.into());
            self.blocks_left = self.blocks_left.saturating_sub(now);
            blocks = blocks.saturating_sub(now);
        }
        if self.blocks_left > 0 {
            return Ok(Progress::More);
        }
        if crypto.hash_finish(self.state.clone()) != self.expected {
            return Err(InfoError::new("SegmentHashOfData", self.expected_at, InfoFault::HashMismatch));
        }
        Ok(Progress::Done)
    }
}

/// Block hashes of any algorithm that fit one piece.
const BLOCKS_PER_PIECE: u32 = (PIECE_BYTES / MAX_DIGEST_BYTES) as u32;
