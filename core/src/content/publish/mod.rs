//! Publishing: content in, content information out, in one pass and with constant memory.
//!
//! A publisher takes the bytes in pieces of any length, or the hashes that somebody else has made
//! of them, and keeps no more than two hashes under way. It writes every field to its place in an
//! [`InfoSink`](super::InfoSink); the header is last, so what was not finished does not parse.

pub mod v1;
pub mod v2;

use super::InfoUnwritable;

/// Content information cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PublishError {
    /// Empty content has no content information (fact 13): it is served plainly.
    Empty,
    /// The content has more than 2^32 - 1 segments.
    TooLarge,
    /// More content was given than was announced.
    TooLong,
    /// Less content was given than was announced.
    TooShort {
        /// Bytes that did not come.
        missing: u64,
    },
    /// Version 1.0 has no code for that algorithm.
    Algorithm,
    /// A hash was pushed in the middle of a block or segment that began as bytes.
    MidBlock,
    /// A hash was pushed for a block of another length than the next one has.
    BlockLength {
        /// Bytes of the next block; of a segment of version 2.0, the most it can have.
        expected: u32,
    },
    /// A hash was pushed that is not as long as the algorithm's.
    DigestLength,
    /// The sink could not take the content information.
    Sink(InfoUnwritable),
    /// The sink failed before, so a part is missing.
    Failed,
}

impl From<InfoUnwritable> for PublishError {
    fn from(error: InfoUnwritable) -> Self {
        Self::Sink(error)
    }
}

impl core::fmt::Display for PublishError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Empty => f.write_str("empty content has no content information"),
            Self::TooLarge => f.write_str("the content has too many segments"),
            Self::TooLong => f.write_str("the content is longer than announced"),
            Self::TooShort { missing } => write!(f, "the content ended {missing} bytes early"),
            Self::Algorithm => f.write_str("content information 1.0 has no code for this hash algorithm"),
            Self::MidBlock => f.write_str("a hash was pushed in the middle of a block"),
            Self::BlockLength { expected } => write!(f, "the next block has {expected} bytes"),
            Self::DigestLength => f.write_str("a hash is not as long as the algorithm's"),
            Self::Sink(error) => write!(f, "content information cannot be written at {}", error.offset),
            Self::Failed => f.write_str("content information could not be written before"),
        }
    }
}

impl core::error::Error for PublishError {}
