//! What a download is told, and what it has to say.

use core::net::SocketAddr;
use core::ops::Range;

use heapless::{String, Vec};

use super::origin::OriginFailure;
use crate::api::client::ApiError;
use crate::content::InfoError;
use crate::fetch::{Failures, Source};

/// Bytes of the path and query of a URL.
pub const PATH_BYTES: usize = 256;

/// Bytes of the host and port of a URL.
pub const HOST_BYTES: usize = 128;

/// Bytes of the longest validator that is kept: entity tags of usual servers have up to 70.
pub const VALIDATOR_BYTES: usize = 80;

/// What tells a content from a later one under the same URL: a strong entity tag, or a date of modification
/// that is as good (RFC 9110 8.8). Empty: nothing does.
pub type Validator = Vec<u8, VALIDATOR_BYTES>;

/// What to download.
#[derive(Clone, Debug)]
pub struct Url {
    /// The origin's address, resolved.
    pub origin: SocketAddr,
    /// Host and port as they go into the request.
    pub host: String<HOST_BYTES>,
    /// Path and query, beginning with a slash.
    pub path: String<PATH_BYTES>,
}

/// Why a download ended without the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DownloadError {
    /// The origin failed too often.
    Origin(OriginFailure),
    /// The origin's content information cannot be used.
    Info(InfoError),
    /// A store or a table is full.
    Full,
    /// A block from the origin is not what its own content information says: the content changed.
    Changed {
        /// Where the block begins.
        offset: u64,
    },
}

/// What a download has to say.
#[derive(Clone, Debug)]
pub enum DownloadEvent {
    /// The content's length is known.
    Begun {
        /// Bytes of it, if the origin says.
        len: Option<u64>,
        /// Whether it comes with content information, or plainly.
        encoded: bool,
    },
    /// A block has been handed out.
    Block {
        /// Offsets in the content.
        range: Range<u64>,
        /// Where it came from.
        source: Source,
        /// Why from no better source.
        failures: Failures,
    },
    /// The origin failed at what it was asked for, and is asked again a little later. Of several before this is
    /// polled, the latest; where none follows, [`Failed`](Self::Failed) says why.
    OriginFailed {
        /// How.
        failure: OriginFailure,
        /// Which attempt that was since the origin gave something.
        attempt: u8,
        /// How many there are before the download ends.
        of: u8,
    },
    /// All bytes have been handed out.
    Done {
        /// How many.
        len: u64,
    },
    /// It ended early. What was handed out was right.
    Failed(DownloadError),
}

impl From<ApiError> for DownloadError {
    /// What it means that content information cannot be taken or read.
    #[inline(never)]
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::CannotParse(error) => Self::Info(error),
            _ => Self::Full,
        }
    }
}

impl core::fmt::Display for DownloadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Origin(failure) => failure.fmt(f),
            Self::Info(error) => write!(f, "unusable content information: {error}"),
            Self::Full => f.write_str("a store or a table is full"),
            Self::Changed { offset } => write!(f, "content of the origin changed at byte {offset}"),
        }
    }
}
