//! Takes a block of a package into a store.

use peerdist_core::content::InfoError;
use peerdist_core::crypto::Crypto;
use peerdist_core::store::seal::SealError;
use peerdist_core::store::verify::{Verifier, VerifyError, keep_as_received};
use peerdist_core::store::{BlockId, ReserveError, SlotId, Store, StoreError};

use super::known::{Known, Match, named};
use super::{Head, Record};

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is what content information says, and in the store now.
    Verified,
    /// No content information tells of it: it is kept as a hosted cache of version 2 keeps what it gets, under a name
    /// by which no peer serves it.
    AsReceived,
    /// The store has it.
    Present,
    /// No content information tells of it.
    Unknown,
    /// It is not what content information says.
    Refused(VerifyError),
}

/// Why nothing more can be taken.
#[derive(Debug)]
pub enum TakeError {
    /// Content information, by its number, cannot be read any more.
    Info(usize, InfoError),
    /// The store has no room for the block, or could not write it.
    Full,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for TakeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Verifies a block against what is known of it, and commits it. One that nothing is known of is kept `as_received`, if
/// that is wanted and its segment has a name for it.
pub fn take(
    store: &mut dyn Store,
    crypto: &mut dyn Crypto,
    known: &Known<'_>,
    record: &Record<'_>,
    as_received: bool,
) -> Result<Outcome, TakeError> {
    let Record { head, bytes, .. } = record;
    let block = named(&head.id);
    let found = known.find(crypto, &block).map_err(|(number, error)| TakeError::Info(number, error))?;
    if let Some(Match { kept, expected, key }) = found {
        return put(store, &kept, bytes, |store, slot| {
            let mut verifier = Verifier::new(crypto, slot, head.seal, head.len(), expected)?;
            while !verifier.step(store, crypto, &key, head.len())? {}
            Ok(Outcome::Verified)
        });
    }
    match block.segment.unverifiable() {
        Some(_) if as_received && store.find(&block).is_some() => Ok(Outcome::Present),
        Some(segment) if as_received => {
            let kept = BlockId { segment, ..block };
            let Head { seal, plain_len, .. } = *head;
            put(store, &kept, bytes, |store, slot| {
                keep_as_received(store, &kept, slot, seal, head.len(), plain_len)?;
                Ok(Outcome::AsReceived)
            })
        }
        _ => Ok(Outcome::Unknown),
    }
}

/// Puts a block into the store, which `commit` commits.
fn put(
    store: &mut dyn Store,
    kept: &BlockId,
    bytes: &[u8],
    commit: impl FnOnce(&mut dyn Store, SlotId) -> Result<Outcome, VerifyError>,
) -> Result<Outcome, TakeError> {
    let slot = match store.reserve(kept, bytes.len() as u32) {
        Ok(slot) => slot,
        Err(ReserveError::Exists) => return Ok(Outcome::Present),
        Err(ReserveError::Full) => return Err(TakeError::Full),
    };
    let written = store.write(slot, 0, bytes).map_err(VerifyError::from);
    match written.and_then(|()| commit(store, slot)) {
        Ok(outcome) => Ok(outcome),
        Err(error) => {
            store.release(slot);
            match error {
                VerifyError::Seal(SealError::Store(error)) => Err(TakeError::Store(error)),
                error => Ok(Outcome::Refused(error)),
            }
        }
    }
}
