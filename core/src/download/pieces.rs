//! Blocks on their way: from the origin, into the store, and out to the application.

use core::ops::Range;

use crate::api::client::ReadId;
use crate::fetch::{Failures, Source};
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
    pub(super) failures: Failures,
}

/// A block from the origin, in the store.
pub(super) struct Landed {
    pub(super) block: u32,
    pub(super) failures: Failures,
    pub(super) reading: bool,
    /// By this download.
    pub(super) fetched: bool,
}

/// A block being fetched from the origin.
pub(super) struct Hole {
    pub(super) block: u32,
    /// What is fetched.
    pub(super) range: Range<u64>,
    pub(super) failures: Failures,
    pub(super) received: u32,
    pub(super) since: Instant,
}

impl Hole {
    pub(super) fn is_nearly_full(&self) -> bool {
        let len = self.range.end.saturating_sub(self.range.start);
        u64::from(self.received).saturating_mul(4) >= len.saturating_mul(3)
    }

    pub(super) fn is_half_full(&self) -> bool {
        u64::from(self.received).saturating_mul(2) >= self.range.end.saturating_sub(self.range.start)
    }
}
