//! Plain bytes from the origin that wait to be handed out.

use heapless::Vec;

use crate::bytes::copy;

/// How many can wait; and of the longest place that an origin can say its content is at instead.
const STAGE_BYTES: usize = 2_048;

/// Plain bytes that wait to be handed out.
// Small fields come first: a microcontroller reaches those with short instructions.
#[repr(C)]
pub struct Stage {
    /// Where the first of them belongs.
    start: u64,
    /// How many of them have been handed out.
    given: usize,
    bytes: Vec<u8, STAGE_BYTES>,
}

impl Stage {
    /// None, of a content that is handed out from `start` on.
    pub(super) fn new(start: u64) -> Self {
        Self { bytes: Vec::new(), given: 0, start }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that there is room for.
    pub(super) fn room(&self) -> usize {
        STAGE_BYTES.saturating_sub(self.bytes.len())
    }

    /// Adds `bytes`, if there is room for all.
    #[inline(never)]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let _ = self.bytes.extend_from_slice(bytes);
    }

    /// Forgets what has not been handed out.
    #[inline(never)]
    pub(super) fn clear(&mut self) {
        self.start = self.offset();
        self.bytes.clear();
        self.given = 0;
    }

    /// Where the next byte to hand out belongs.
    pub(super) fn offset(&self) -> u64 {
        self.start.saturating_add(self.given as u64)
    }

    /// Where the bytes end.
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes.len() as u64)
    }

    /// Fills the front of `buf` with bytes to hand out: where they belong and how many.
    #[inline(never)]
    pub(super) fn poll(&mut self, buf: &mut [u8]) -> Option<(u64, usize)> {
        if self.is_empty() {
            return None;
        }
        let offset = self.offset();
        let len = copy(buf, self.bytes.get(self.given..).unwrap_or_default());
        self.given = self.given.saturating_add(len);
        if self.given >= self.bytes.len() {
            self.clear();
        }
        Some((offset, len))
    }
}
