//! A block's cipher, on the wire and at rest (MS-PCCRR 2.2.3 and 5.1): sealing plaintext on its
//! way into a slot, and opening any part of a sealed block.

use super::{SlotId, Store, StoreError, Stored};
use crate::bytes::copy;
use crate::crypto::{CipherBlock, Crypto, Seal, Secret};
use crate::limits::PIECE_BYTES;

const CIPHER_BLOCK: usize = size_of::<CipherBlock>();

/// Why a block could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SealError {
    /// The store failed.
    Store(StoreError),
    /// The segment secret is too short for the block's cipher.
    NoKey,
}

impl From<StoreError> for SealError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Encrypts plaintext, as it arrives in pieces of any length, into a reserved slot.
///
/// A stored block is encrypted once, here, with an IV of its own; afterwards it is copied.
pub struct Sealer {
    slot: SlotId,
    seal: Seal,
    chain: CipherBlock,
    /// Plaintext that does not fill a cipher block yet.
    rest: CipherBlock,
    rest_len: usize,
    offset: u32,
}

impl Sealer {
    /// Seals into `slot` as `seal` says. Its IV must be fresh: one per encryption.
    pub fn new(slot: SlotId, seal: Seal) -> Self {
        Self { slot, seal, chain: seal.iv, rest: [0; CIPHER_BLOCK], rest_len: 0, offset: 0 }
    }

    /// The slot being filled.
    pub fn slot(&self) -> SlotId {
        self.slot
    }

    /// How the block is sealed.
    pub fn seal(&self) -> Seal {
        self.seal
    }

    /// Encrypts and writes `plain`.
    pub fn update(
        &mut self,
        store: &mut dyn Store,
        crypto: &mut dyn Crypto,
        kp: &Secret,
        mut plain: &[u8],
    ) -> Result<(), SealError> {
        let mut piece = [0; PIECE_BYTES];
        while self.rest_len + plain.len() >= CIPHER_BLOCK {
            let rest = self.rest.get(..self.rest_len).unwrap_or_default();
            let carried = copy(&mut piece, rest);
            let taken = copy(piece.get_mut(carried..).unwrap_or_default(), plain);
            let whole = (carried + taken) / CIPHER_BLOCK * CIPHER_BLOCK;
            plain = plain.get(whole.saturating_sub(carried)..).unwrap_or_default();
            self.rest_len = 0;
            self.write(store, crypto, kp, piece.get_mut(..whole).unwrap_or_default())?;
        }
        self.rest_len += copy(self.rest.get_mut(self.rest_len..).unwrap_or_default(), plain);
        Ok(())
    }

    /// Pads by PKCS#7, always (fact 34), and writes the last cipher block.
    pub fn finish(
        &mut self,
        store: &mut dyn Store,
        crypto: &mut dyn Crypto,
        kp: &Secret,
    ) -> Result<(), SealError> {
        let pad = CIPHER_BLOCK.saturating_sub(self.rest_len) as u8;
        let mut last = self.rest;
        last.iter_mut().skip(self.rest_len).for_each(|byte| *byte = pad);
        self.rest_len = 0;
        self.write(store, crypto, kp, &mut last)
    }

    fn write(
        &mut self,
        store: &mut dyn Store,
        crypto: &mut dyn Crypto,
        kp: &Secret,
        whole: &mut [u8],
    ) -> Result<(), SealError> {
        let key = self.seal.algorithm.key(kp).ok_or(SealError::NoKey)?;
        crypto.cbc_encrypt(key, &mut self.chain, whole.as_chunks_mut().0);
        store.write(self.slot, self.offset, whole)?;
        self.offset = self.offset.saturating_add(whole.len() as u32);
        Ok(())
    }
}

/// Decrypts up to `buf.len()` bytes of a stored block from plaintext `offset` on, and returns how
/// many: fewer at the block's end. CBC needs only the 16 bytes before.
pub fn open_at(
    store: &mut dyn Store,
    crypto: &mut dyn Crypto,
    kp: &Secret,
    stored: &Stored,
    offset: u32,
    buf: &mut [u8],
) -> Result<usize, SealError> {
    let left = stored.plain_len.saturating_sub(offset) as usize;
    let len = buf.len().min(left);
    let out = buf.get_mut(..len).unwrap_or_default();
    if stored.seal.algorithm == crate::crypto::CipherAlgorithm::None {
        store.read(stored.slot, offset, out)?;
        return Ok(len);
    }
    let key = stored.seal.algorithm.key(kp).ok_or(SealError::NoKey)?;
    let mut done = 0;
    while done < len {
        let at = offset.saturating_add(done as u32);
        let aligned = at / CIPHER_BLOCK as u32 * CIPHER_BLOCK as u32;
        let skip = (at - aligned) as usize;
        let want = (len - done).saturating_add(skip).min(PIECE_BYTES).next_multiple_of(CIPHER_BLOCK);
        let mut piece = [0; PIECE_BYTES];
        let piece = piece.get_mut(..want.min(PIECE_BYTES)).unwrap_or_default();
        let mut chain = stored.seal.iv;
        if let Some(before) = aligned.checked_sub(CIPHER_BLOCK as u32) {
            store.read(stored.slot, before, &mut chain)?;
        }
        store.read(stored.slot, aligned, piece)?;
        crypto.cbc_decrypt(key, &mut chain, piece.as_chunks_mut().0);
        done += copy(out.get_mut(done..).unwrap_or_default(), piece.get(skip..).unwrap_or_default());
    }
    Ok(len)
}
