//! Blocks on their way: from the origin, into the store, and out to the application.

use core::ops::Range;

use crate::api::client::ReadId;
use crate::fetch::Source;
use crate::time::Instant;

/// A read with data that is being handed out.
pub(super) struct Ready {
    pub(super) read: ReadId,
    pub(super) block: u32,
    pub(super) start: u64,
    /// Bytes of it, and how many of them have been handed out.
    pub(super) len: u32,
    pub(super) given: u32,
    pub(super) source: Source,
    /// It was missing before it came, from wherever it did.
    pub(super) missed: bool,
}

impl Ready {
    /// Whether all of it has been handed out.
    pub(super) fn is_over(&self) -> bool {
        self.given >= self.len
    }
}

/// A block that no peer had.
pub(super) struct Missed {
    pub(super) block: u32,
    pub(super) place: Place,
    /// Where it begins, and how many bytes it has at most.
    pub(super) start: u64,
    pub(super) len: u32,
    /// Bytes that came from the origin, which was asked at that time.
    pub(super) received: u32,
    pub(super) since: Instant,
}

/// Where a block is that no peer had.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The origin is asked for it.
    Asked,
    /// In the store, from the origin if so, or by another download.
    Stored { fetched: bool },
    /// It is being read from the store.
    Read { fetched: bool },
}

impl Missed {
    /// Whether the origin is asked for it, and it has the byte at `offset`.
    pub(super) fn is_asked(&self, offset: u64) -> bool {
        self.place == Place::Asked && self.range().contains(&offset)
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.len.into())
    }

    pub(super) fn is_nearly_full(&self) -> bool {
        self.received.saturating_mul(4) >= self.len.saturating_mul(3)
    }

    pub(super) fn is_half_full(&self) -> bool {
        self.received.saturating_mul(2) >= self.len
    }
}
