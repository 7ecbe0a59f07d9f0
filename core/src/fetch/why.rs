//! Why a block came from where it came: its source, and what failed before.

use core::net::SocketAddr;

use heapless::Vec;

use crate::limits::rows;

/// Failures kept for the answer to "why did this block come from there".
pub const FAILURES_KEPT: usize = rows(4, 2);

/// Where a block came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Source {
    /// The store had it.
    Local,
    /// A peer sent it.
    Peer(#[cfg_attr(feature = "defmt", defmt(Debug2Format))] SocketAddr),
    /// The hosted cache sent it.
    HostedCache(#[cfg_attr(feature = "defmt", defmt(Debug2Format))] SocketAddr),
    /// The origin server sent it.
    Origin,
}

/// Why a better source failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Cause {
    /// Nobody answered the probe.
    NoPeer,
    /// Only peers that are shunned answered it.
    Shunned,
    /// The peer does not have the block, or was too busy.
    NotHeld,
    /// No connection came about.
    Unreachable,
    /// The connection broke.
    Broken,
    /// The exchange took longer than the request timer allows.
    TimedOut,
    /// The peer answered that it would not, in HTTP.
    Refused,
    /// The reply was no proper reply to the request.
    BadReply,
    /// The block was not what the content information says.
    BadBlock,
    /// The store had no room for it.
    StoreFull,
    /// It is being put into the store already, from elsewhere.
    OnItsWay,
}

impl Cause {
    /// The cause in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoPeer => "no peer answered",
            Self::Shunned => "only shunned peers answered",
            Self::NotHeld => "not held",
            Self::Unreachable => "unreachable",
            Self::Broken => "connection broke",
            Self::TimedOut => "timed out",
            Self::Refused => "refused",
            Self::BadReply => "bad reply",
            Self::BadBlock => "bad block",
            Self::StoreFull => "store full",
            Self::OnItsWay => "on its way already",
        }
    }

    /// Whether it is no peer's doing, so that asking others would not help.
    pub(super) const fn is_ours(self) -> bool {
        matches!(self, Self::StoreFull | Self::OnItsWay)
    }
}

impl core::fmt::Display for Cause {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failure on the way to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Failure {
    /// Whose, if it was one peer's.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub peer: Option<SocketAddr>,
    /// What.
    pub cause: Cause,
}

impl Failure {
    /// Whether it is that the store was full.
    pub(crate) fn is_full(&self) -> bool {
        self.cause == Cause::StoreFull
    }
}

/// The failures before a block came, or before it was given up; the first [`FAILURES_KEPT`].
pub type Failures = Vec<Failure, FAILURES_KEPT>;

/// How a job ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Where the block came from; `None` if no peer could give it.
    pub source: Option<Source>,
    /// What failed on the way.
    pub failures: Failures,
}
