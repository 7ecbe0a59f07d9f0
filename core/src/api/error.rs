//! What the calls of a client answer with, where they do not succeed or not wholly.

use core::fmt;

use crate::content::InfoError;
use crate::store::seal::SealError;

/// Why a call, or an operation that was accepted, did not do what it is for. Each has a
/// [code](ApiError::code).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ApiError {
    /// The handle is closed, or was never open.
    InvalidHandle,
    /// A table or a store is full.
    Full,
    /// What was given makes no sense, or not now.
    InvalidParameter,
    /// Not in this state of the content: content information is not complete yet, or is already.
    InvalidState,
    /// Cancelled, or what it worked on was closed or removed.
    Aborted,
    /// Nothing is published under that identifier.
    NotFound,
    /// The service is switched off.
    Disabled,
    /// The service is on, and not ready.
    Unavailable,
    /// No version of content information that is at hand was asked for.
    InfoVersion,
    /// The content information could not be parsed.
    CannotParse(InfoError),
    /// The end was reached.
    NoMore,
    /// The service was switched off, or not ready, since the handle was opened: all that is left is to
    /// close it.
    Invalidated,
    /// The identifier is in use.
    AlreadyExists,
    /// There is no such operation, or it has ended.
    OperationNotFound,
    /// It was done before.
    AlreadyCompleted,
    /// Past the end of the content.
    OutOfBounds,
    /// No API of that version is here.
    VersionUnsupported,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}, error {}", self.code().number())
    }
}

impl core::error::Error for ApiError {}

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
    /// Content information, which has the block's key, cannot be read any more.
    Info(InfoError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchRead => f.write_str("there is no such read, or it has no data"),
            Self::Store(error) => write!(f, "the block cannot be read: {error:?}"),
            Self::Info(error) => write!(f, "the block's key cannot be read: {error}"),
        }
    }
}

impl core::error::Error for ReadError {}
