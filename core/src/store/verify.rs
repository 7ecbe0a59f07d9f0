//! The only door into the store: it alone makes a [`Verified`], without which nothing is
//! committed (MS-PCCRC 2.2: before any received block reaches the higher layer, a peer or a hosted
//! cache, it MUST be verified).
//!
//! Two ways lead through it. [`Verifier`] reads a sealed block back from its slot, decrypts and
//! hashes it in small pieces; [`Intake`] hashes plaintext on its way into a slot. Beside it, [`keep_as_received`]
//! lets in what cannot be verified, under names that nobody asks for.

use super::seal::{SealError, Sealer};
use super::{BlockId, SlotId, Store, StoreError};
use crate::content::apart_id;
use crate::crypto::{CipherAlgorithm, CipherBlock, Crypto, Digest, HashAlgorithm, HashState, Seal, Secret};
use crate::limits::PIECE_BYTES;

/// What content information says about a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The digest's algorithm.
    pub algorithm: HashAlgorithm,
    /// The digest of the plaintext.
    pub hash: Digest,
    /// Bytes of the plaintext.
    pub len: u32,
}

impl Expected {
    /// The name under which `block` is kept: its own, if its hash is proven to be the segment's, and one that
    /// nobody finds without that hash otherwise.
    #[inline(never)]
    pub fn kept_as(&self, crypto: &mut dyn Crypto, block: &BlockId, proven: bool) -> BlockId {
        if proven {
            return *block;
        }
        BlockId { segment: apart_id(crypto, self.algorithm, &block.segment, &self.hash), index: block.index }
    }
}

impl core::fmt::Debug for Expected {
    /// The hash is left out: of a short or predictable block, it tells the content.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { algorithm, len, .. } = self;
        let mut shown = f.debug_struct("Expected");
        shown.field("algorithm", algorithm).field("len", len).finish_non_exhaustive()
    }
}

/// A block that matches its content information. Nothing outside this module can make one.
#[derive(Debug)]
pub struct Verified {
    slot: SlotId,
    seal: Seal,
    plain_len: u32,
}

impl Verified {
    /// The slot that holds the block.
    pub fn slot(&self) -> SlotId {
        self.slot
    }

    /// How the block is sealed.
    pub fn seal(&self) -> Seal {
        self.seal
    }

    /// Bytes of the plaintext.
    pub fn plain_len(&self) -> u32 {
        self.plain_len
    }
}

/// Commits what lies in `slot`, as a hosted cache keeps it that has no keys: the one exception from
/// verifying (fact 47). The slot was reserved for `block`, whose segment has the
/// [name](crate::content::SegmentId::unverifiable) under which nobody finds a verified block.
///
/// After an error the slot is the caller's to release.
pub fn keep_as_received(
    store: &mut dyn Store,
    block: &BlockId,
    slot: SlotId,
    seal: Seal,
    len: u32,
    plain_len: u32,
) -> Result<(), VerifyError> {
    // Content at rest is never in clear.
    let sealed = seal.algorithm != CipherAlgorithm::None && len == seal.algorithm.sealed_len(plain_len);
    if !sealed || !block.segment.is_unverifiable() {
        return Err(VerifyError::Length);
    }
    store.commit(Verified { slot, seal, plain_len })?;
    // Whatever was reserved under another name is not found here, and must not be found there.
    match store.find(block) {
        Some(stored) if stored.slot == slot => Ok(()),
        _ => Err(VerifyError::Seal(StoreError::Stale.into())),
    }
}

/// Why a block did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum VerifyError {
    /// The stored length is not what the plaintext's length asks for.
    Length,
    /// The plaintext's digest differs.
    Hash,
    /// The padding is not PKCS#7: garbage behind good text would be relayed under our name.
    Padding,
    /// The store or the key failed; the block may be good.
    Seal(SealError),
}

impl From<StoreError> for VerifyError {
    fn from(error: StoreError) -> Self {
        Self::Seal(error.into())
    }
}

impl From<SealError> for VerifyError {
    fn from(error: SealError) -> Self {
        Self::Seal(error)
    }
}

/// Verifies a sealed block that lies in its slot, a few KiB at a time.
pub struct Verifier {
    slot: SlotId,
    seal: Seal,
    expected: Expected,
    offset: u32,
    len: u32,
    chain: CipherBlock,
    hash: HashState,
}

impl Verifier {
    /// Begins with the `len` bytes stored in `slot`.
    pub fn new(
        crypto: &mut dyn Crypto,
        slot: SlotId,
        seal: Seal,
        len: u32,
        expected: Expected,
    ) -> Result<Self, VerifyError> {
        if len != seal.algorithm.sealed_len(expected.len) {
            return Err(VerifyError::Length);
        }
        let hash = crypto.hash_start(expected.algorithm);
        Ok(Self { slot, seal, expected, offset: 0, len, chain: seal.iv, hash })
    }

    /// Works through up to `budget` stored bytes. `Ok(true)` once the block has been verified and
    /// committed; after an error the slot is the caller's to release.
    pub fn step(
        &mut self,
        store: &mut dyn Store,
        crypto: &mut dyn Crypto,
        kp: &Secret,
        budget: u32,
    ) -> Result<bool, VerifyError> {
        let end = self.offset.saturating_add(budget).min(self.len);
        while self.offset < end {
            self.piece(store, crypto, kp)?;
        }
        if self.offset < self.len {
            return Ok(false);
        }
        let state = core::mem::replace(&mut self.hash, HashState::Engine([0; _]));
        // MS-PCCRC 2.2: the hash of each dataBlock MUST match its block hash.
        if crypto.hash_finish(state) != self.expected.hash {
            return Err(VerifyError::Hash);
        }
        store.commit(Verified { slot: self.slot, seal: self.seal, plain_len: self.expected.len })?;
        Ok(true)
    }

    #[inline(never)]
    fn piece(
        &mut self,
        store: &mut dyn Store,
        crypto: &mut dyn Crypto,
        kp: &Secret,
    ) -> Result<(), VerifyError> {
        let mut piece = [0; PIECE_BYTES];
        let len = PIECE_BYTES.min((self.len - self.offset) as usize);
        let piece = piece.get_mut(..len).unwrap_or_default();
        store.read(self.slot, self.offset, piece)?;
        if self.seal.algorithm != CipherAlgorithm::None {
            let key = self.seal.algorithm.key(kp).ok_or(SealError::NoKey)?;
            crypto.cbc_decrypt(key, &mut self.chain, piece.as_chunks_mut().0);
        }
        let left = self.expected.len.saturating_sub(self.offset) as usize;
        let (text, padding) = piece.split_at_checked(left).unwrap_or((piece, &[]));
        crypto.hash_update(&mut self.hash, text);
        // PKCS#7: every byte of the padding is its length.
        let pad = self.len.saturating_sub(self.expected.len);
        if padding.iter().any(|&byte| u32::from(byte) != pad) {
            return Err(VerifyError::Padding);
        }
        self.offset = self.offset.saturating_add(len as u32);
        Ok(())
    }
}

/// Takes a block's plaintext in order, in pieces of any length: seals it into a reserved slot,
/// hashes it on the way, and commits it if it matches.
pub struct Intake {
    sealer: Sealer,
    expected: Expected,
    hash: HashState,
    taken: u32,
}

impl Intake {
    /// Begins to fill `slot`, sealed as `seal` says.
    pub fn new(crypto: &mut dyn Crypto, slot: SlotId, seal: Seal, expected: Expected) -> Self {
        let hash = crypto.hash_start(expected.algorithm);
        Self { sealer: Sealer::new(slot, seal), expected, hash, taken: 0 }
    }

    /// The slot being filled.
    pub fn slot(&self) -> SlotId {
        self.sealer.slot()
    }

    /// Bytes of the plaintext in all.
    pub fn plain_len(&self) -> u32 {
        self.expected.len
    }

    /// Bytes of plaintext taken so far.
    pub fn taken(&self) -> u32 {
        self.taken
    }

    /// Takes what `plain` has of this block and returns how much that was. `Ok((_, true))` once
    /// the block is whole, verified and committed.
    pub fn update(
        &mut self,
        store: &mut dyn Store,
        crypto: &mut dyn Crypto,
        kp: &Secret,
        plain: &[u8],
    ) -> Result<(usize, bool), VerifyError> {
        let left = self.expected.len.saturating_sub(self.taken) as usize;
        let plain = plain.get(..left.min(plain.len())).unwrap_or_default();
        crypto.hash_update(&mut self.hash, plain);
        self.sealer.update(store, crypto, kp, plain)?;
        self.taken = self.taken.saturating_add(plain.len() as u32);
        if self.taken < self.expected.len {
            return Ok((plain.len(), false));
        }
        self.sealer.finish(store, crypto, kp)?;
        let state = core::mem::replace(&mut self.hash, HashState::Engine([0; _]));
        if crypto.hash_finish(state) != self.expected.hash {
            return Err(VerifyError::Hash);
        }
        let (slot, seal) = (self.sealer.slot(), self.sealer.seal());
        store.commit(Verified { slot, seal, plain_len: self.expected.len })?;
        Ok((plain.len(), true))
    }
}

#[cfg(test)]
mod tests;
