//! One segment: what content information says of it, and the check that it says the same twice.

use core::ops::Range;

use zeroize::Zeroizing;

use super::{InfoError, InfoFault, InfoSource, SegmentId, read, segment_id, v2};
use crate::bytes::copy;
use crate::crypto::{Crypto, Digest, HashAlgorithm, HashState, Secret};
use crate::limits::{BLOCK_BYTES, MAX_DIGEST_BYTES, PIECE_BYTES};

/// One segment of content information, of either version, with its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    pub(super) algorithm: HashAlgorithm,
    pub(super) index: u32,
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) hod: Digest,
    pub(super) secret: Secret,
    pub(super) hod_at: u64,
    pub(super) blocks: Blocks,
}

/// What is known of a segment's blocks.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Blocks {
    /// Version 1.0: blocks of 64 KiB, whose hashes are listed.
    Listed {
        list: List,
        /// Where the first listed hash stands.
        hashes_at: u64,
        in_range: Range<u32>,
    },
    /// Version 2.0: one block, whose hash is the HoD (fact 12).
    Whole {
        in_range: bool,
        /// Where its description stands.
        place: v2::Place,
    },
}

/// Which block hashes of a segment stand in its SegmentContentBlocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct List {
    pub(super) start: u32,
    pub(super) count: u32,
}

impl Segment {
    /// The hash behind its digests.
    pub const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

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

    /// Where Kp stands in the content information, from where [`Info::secret_at`] reads it again.
    ///
    /// [`Info::secret_at`]: super::Info::secret_at
    pub const fn secret_at(&self) -> u64 {
        // 2.3.1.1 and 2.4.1.2: Kp follows HoD, and is as long.
        self.hod_at.saturating_add(self.algorithm.digest_len() as u64)
    }

    /// That it cannot be as long as is said.
    pub(crate) const fn wrong_len(&self) -> InfoError {
        // 2.3.1.1: cbSegment and cbBlockSize are in front of HoD; 2.4.1.2: cbSegment alone.
        let before = if matches!(self.blocks, Blocks::Listed { .. }) { 8 } else { 4 };
        InfoError::new(
            "cbSegment",
            self.hod_at.saturating_sub(before),
            InfoFault::OutOfRange(self.len as u64),
        )
    }

    /// Where it stands in content information 2.0, to search from there; `None` in version 1.0,
    /// which needs no search.
    pub const fn place(&self) -> Option<v2::Place> {
        match &self.blocks {
            Blocks::Listed { .. } => None,
            Blocks::Whole { place, .. } => Some(*place),
        }
    }

    /// The public identifier HoHoDk.
    pub fn id(&self, crypto: &mut dyn Crypto) -> SegmentId {
        segment_id(crypto, self.algorithm, &self.secret, &self.hod)
    }

    /// Bytes of each block but the last: 65,536, or the whole segment in version 2.0.
    pub const fn block_bytes(&self) -> u32 {
        match self.blocks {
            Blocks::Listed { .. } => BLOCK_BYTES,
            Blocks::Whole { .. } => self.len,
        }
    }

    /// How many blocks it has, listed or not: 1 to 512.
    pub const fn block_count(&self) -> u32 {
        match self.blocks {
            Blocks::Listed { .. } => self.len.div_ceil(BLOCK_BYTES),
            Blocks::Whole { .. } => 1,
        }
    }

    /// The blocks whose hashes are listed.
    pub const fn listed_blocks(&self) -> Range<u32> {
        match &self.blocks {
            Blocks::Listed { list, .. } => list.start..list.end(),
            Blocks::Whole { .. } => 0..1,
        }
    }

    /// Whether the hashes of all its blocks are listed, so that they can be checked against HoD.
    pub const fn is_whole(&self) -> bool {
        match &self.blocks {
            Blocks::Listed { list, .. } => list.start == 0 && list.count == self.block_count(),
            Blocks::Whole { .. } => true,
        }
    }

    /// The blocks that have bytes of the content information's range: always listed.
    pub const fn blocks_in_range(&self) -> Range<u32> {
        match &self.blocks {
            Blocks::Listed { in_range, .. } => in_range.start..in_range.end,
            Blocks::Whole { in_range, .. } => 0..(*in_range as u32),
        }
    }

    /// Bytes of the block with `index`: [`block_bytes`](Self::block_bytes), or fewer for the last
    /// block of the last segment. `None` if there is no such block.
    pub fn block_len(&self, index: u32) -> Option<u32> {
        let block_bytes = self.block_bytes();
        let rest = self.len.checked_sub(index.checked_mul(block_bytes)?)?;
        (rest > 0).then_some(rest.min(block_bytes))
    }

    /// Reads the hash of the block with `index` from the source that was parsed; `None` if it is
    /// not listed.
    #[inline(never)]
    pub fn block_hash(&self, source: &dyn InfoSource, index: u32) -> Result<Option<Digest>, InfoError> {
        let (list, hashes_at) = match &self.blocks {
            Blocks::Listed { list, hashes_at, .. } => (list, hashes_at),
            Blocks::Whole { .. } => return Ok((index == 0).then_some(self.hod)),
        };
        let Some(position) = index.checked_sub(list.start).filter(|&n| n < list.count) else {
            return Ok(None);
        };
        let mut hash = Digest::EMPTY;
        let bytes = hash.room(self.algorithm.digest_len());
        let at = hashes_at.saturating_add(u64::from(position) * bytes.len() as u64);
        read(source, "BlockHashes", at, bytes)?;
        Ok(Some(hash))
    }

    /// Reads HoD and Kp, which stand at [`Self::hod_at`] and behind it.
    pub(super) fn read_digests(&mut self, source: &dyn InfoSource) -> Result<(), InfoError> {
        let len = self.algorithm.digest_len();
        // Kp passes through this buffer.
        let mut buf = Zeroizing::new([0; 2 * MAX_DIGEST_BYTES]);
        let bytes = buf.get_mut(..2 * len).unwrap_or_default();
        read(source, "SegmentHashOfData", self.hod_at, bytes)?;
        self.set_digests(bytes);
        Ok(())
    }

    /// Sets HoD and Kp, as they stand behind each other in content information.
    pub(super) fn set_digests(&mut self, bytes: &[u8]) {
        let len = self.algorithm.digest_len();
        let (hod, secret) = bytes.split_at_checked(len).unwrap_or_default();
        copy(self.hod.room(len), hod);
        copy(self.secret.room(len), secret);
    }
}

impl List {
    pub(super) const fn end(self) -> u32 {
        self.start.saturating_add(self.count)
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
/// anybody. The other half, each block against its hash, is the store's. In version 2.0 that half
/// is all there is, so this check is over at once.
pub struct HodCheck {
    algorithm: HashAlgorithm,
    state: Option<HashState>,
    expected: Digest,
    expected_at: u64,
    next_at: u64,
    blocks_left: u32,
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
        let (state, next_at, blocks_left) = match &segment.blocks {
            Blocks::Listed { list, hashes_at, .. } => {
                (Some(crypto.hash_start(segment.algorithm)), *hashes_at, list.count)
            }
            Blocks::Whole { .. } => (None, segment.hod_at, 0),
        };
        Ok(Self {
            algorithm: segment.algorithm,
            state,
            expected: segment.hod,
            expected_at: segment.hod_at,
            next_at,
            blocks_left,
        })
    }

    /// Reads up to `max_blocks` block hashes from the source that was parsed. Once they are all
    /// read, each further call gives the same verdict.
    #[inline(never)]
    pub fn step(
        &mut self,
        source: &dyn InfoSource,
        crypto: &mut dyn Crypto,
        max_blocks: u32,
    ) -> Result<Progress, InfoError> {
        let Some(state) = &mut self.state else { return Ok(Progress::Done) };
        let digest_len = self.algorithm.digest_len() as u32;
        let mut buf = [0; PIECE_BYTES];
        let mut blocks = max_blocks.min(self.blocks_left);
        while blocks > 0 {
            let now = blocks.min(BLOCKS_PER_PIECE);
            let len = now.saturating_mul(digest_len);
            let piece = buf.get_mut(..len as usize).unwrap_or_default();
            read(source, "BlockHashes", self.next_at, piece)?;
            crypto.hash_update(state, piece);
            self.next_at = self.next_at.saturating_add(len.into());
            self.blocks_left = self.blocks_left.saturating_sub(now);
            blocks = blocks.saturating_sub(now);
        }
        if self.blocks_left > 0 {
            return Ok(Progress::More);
        }
        if crypto.hash_finish(state.clone()) != self.expected {
            return Err(InfoError::new("SegmentHashOfData", self.expected_at, InfoFault::HashMismatch));
        }
        Ok(Progress::Done)
    }
}

/// Block hashes of any algorithm that fit one piece.
const BLOCKS_PER_PIECE: u32 = (PIECE_BYTES / MAX_DIGEST_BYTES) as u32;
