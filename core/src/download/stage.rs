//! Plain bytes from the origin that wait to be handed out.

use heapless::Vec;

use crate::bytes::copy;
use crate::limits::rows;

/// How many can wait; and of the longest place that an origin can say its content is at instead.
const STAGE_BYTES: usize = rows(2_048, 1_024);

/// Plain bytes that wait to be handed out.
// Small fields come first: a microcontroller reaches those with short instructions.
#[repr(C)]
pub struct Stage {
    /// Where the first of them belongs.
    start: u64,
    /// How many of them have been handed out.
    given: usize,
    /// What waits is no content: it is where that is instead.
    is_place: bool,
    bytes: Vec<u8, STAGE_BYTES>,
}

impl Stage {
    /// None, of a content that is handed out from `start` on.
    pub(super) fn new(start: u64) -> Self {
        Self { bytes: Vec::new(), is_place: false, given: 0, start }
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
        (self.given, self.is_place) = (0, false);
    }

    /// Puts where the content is instead in the place of what waits; whether that is told.
    pub(super) fn set_place(&mut self, place: &[u8]) -> bool {
        self.clear();
        self.push(place);
        self.is_place = !self.is_empty();
        self.is_place
    }

    /// Where the next byte to hand out belongs.
    pub(super) fn offset(&self) -> u64 {
        self.start.saturating_add(self.given as u64)
    }

    /// Where the bytes end.
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes.len() as u64)
    }

    /// Fills the front of `buf` with bytes to hand out: where they belong and how many. If a `place` is asked
    /// for, content is not, and the other way about.
    #[inline(never)]
    pub(super) fn poll(&mut self, place: bool, buf: &mut [u8]) -> Option<(u64, usize)> {
        if self.is_empty() || self.is_place != place {
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
