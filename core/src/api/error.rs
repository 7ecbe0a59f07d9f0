//! What the calls of a client answer with, where they do not succeed or not wholly.

use crate::content::InfoError;
use crate::store::seal::SealError;

/// Misuse, or no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ApiError {
    /// The handle is closed, or was never open.
    InvalidHandle,
    /// Not in this state of the content: content information is not complete yet, or is already.
    InvalidState,
    /// The content information could not be parsed.
    CannotParse(InfoError),
    /// A table or a store is full.
    Full,
}

/// What became of data from the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Added {
    /// Taken; its block is not whole yet.
    Partial,
    /// Its block is whole, verified and in the store.
    Committed,
    /// Its block is in the store already, or on its way there.
    Known,
    /// Its block is whole and is not what the content information says: dropped.
    Bad,
    /// It begins inside a block whose beginning is not here: dropped.
    OutOfOrder,
}

/// Why a read's data could not be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ReadError {
    /// It is not there, or has no data.
    NoSuchRead,
    /// The store failed: the block rotted, or is gone.
    Store(SealError),
}
