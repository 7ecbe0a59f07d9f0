//! A cable in memory: frames are written and read where they lie, and are not copied on the way.

use core::cell::RefCell;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// Bytes of an Ethernet frame without its check sequence.
const FRAME_BYTES: usize = 1_514;

/// Frames on their way to one side.
const FRAMES: usize = 16;

/// Frames on their way to one side.
pub struct Queue {
    frames: [([u8; FRAME_BYTES], usize); FRAMES],
    first: usize,
    len: usize,
    /// How many there have been.
    pub sent: u32,
}

/// One end of the cable.
pub struct Card<'c> {
    /// What comes.
    pub incoming: &'c RefCell<Queue>,
    /// What goes.
    pub outgoing: &'c RefCell<Queue>,
}

/// A frame that has come, or room for one to be sent.
pub struct Token<'c>(&'c RefCell<Queue>);

impl Queue {
    /// Without frames.
    pub const EMPTY: Self = Self { frames: [([0; FRAME_BYTES], 0); FRAMES], first: 0, len: 0, sent: 0 };
}

impl<'c> Device for Card<'c> {
    type RxToken<'a>
        = Token<'c>
    where
        Self: 'a;
    type TxToken<'a>
        = Token<'c>
    where
        Self: 'a;

    fn receive(&mut self, now: Instant) -> Option<(Token<'c>, Token<'c>)> {
        let answer = self.transmit(now)?;
        (self.incoming.borrow().len > 0).then_some((Token(self.incoming), answer))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Token<'c>> {
        (self.outgoing.borrow().len < FRAMES).then_some(Token(self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities
    }
}

impl RxToken for Token<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        let queue = &mut *self.0.borrow_mut();
        let (frame, len) = &queue.frames[queue.first];
        let result = take(&frame[..*len]);
        queue.first = (queue.first + 1) % FRAMES;
        queue.len -= 1;
        result
    }
}

impl TxToken for Token<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let queue = &mut *self.0.borrow_mut();
        let (frame, frame_len) = &mut queue.frames[(queue.first + queue.len) % FRAMES];
        *frame_len = len;
        let result = fill(&mut frame[..len]);
        queue.len += 1;
        queue.sent += 1;
        result
    }
}
