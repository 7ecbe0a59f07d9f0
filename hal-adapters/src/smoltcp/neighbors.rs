//! A device of smoltcp that tells the stack its neighbours.

use smoltcp::phy::{Device, DeviceCapabilities, RxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, Ipv4Address};

use crate::neighbors::{Hint, Hints};

/// A device that tells the stack who its neighbours are.
pub(super) struct Learning<'a, D: ?Sized> {
    pub(super) inner: &'a mut D,
    pub(super) hints: &'a mut Hints,
    pub(super) us: (EthernetAddress, Option<Ipv4Address>),
}

/// A frame that came, or one that was put together here.
pub(super) enum Received<'a, R> {
    Frame(R, &'a mut Hints),
    Hint(Hint),
}

impl<D: Device + ?Sized> Device for Learning<'_, D> {
    type RxToken<'b>
        = Received<'b, D::RxToken<'b>>
    where
        Self: 'b;
    type TxToken<'b>
        = D::TxToken<'b>
    where
        Self: 'b;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        if !self.hints.is_empty() {
            // While nothing can be sent, the hint waits.
            let answer = self.inner.transmit(now)?;
            return self.hints.take(self.us).map(|hint| (Received::Hint(hint), answer));
        }
        let (frame, answer) = self.inner.receive(now)?;
        Some((Received::Frame(frame, self.hints), answer))
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        self.inner.transmit(now)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.inner.capabilities()
    }
}

impl<R: RxToken> RxToken for Received<'_, R> {
    fn consume<T, F: FnOnce(&[u8]) -> T>(self, use_frame: F) -> T {
        match self {
            Self::Hint(frame) => use_frame(&frame),
            Self::Frame(frame, hints) => frame.consume(|bytes| {
                hints.learn(bytes);
                use_frame(bytes)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbors::tests::{PEER, datagram};

    /// A card without frames, which can send or not.
    struct Silent(bool);

    struct Nothing;

    impl Device for Silent {
        type RxToken<'a> = Nothing;
        type TxToken<'a> = Nothing;

        fn receive(&mut self, _: Instant) -> Option<(Nothing, Nothing)> {
            None
        }

        fn transmit(&mut self, _: Instant) -> Option<Nothing> {
            self.0.then_some(Nothing)
        }

        fn capabilities(&self) -> DeviceCapabilities {
            DeviceCapabilities::default()
        }
    }

    impl RxToken for Nothing {
        fn consume<T, F: FnOnce(&[u8]) -> T>(self, use_frame: F) -> T {
            use_frame(&[])
        }
    }

    impl smoltcp::phy::TxToken for Nothing {
        fn consume<T, F: FnOnce(&mut [u8]) -> T>(self, _: usize, fill: F) -> T {
            fill(&mut [])
        }
    }

    #[test]
    fn a_hint_waits_while_nothing_can_be_sent() {
        let mut hints = Hints::default();
        hints.learn(&datagram(3_702));
        for (sends, told) in [(false, false), (true, true), (true, false)] {
            let mut card = Silent(sends);
            let us = (PEER.0, Some(PEER.1));
            let mut learning = Learning { inner: &mut card, hints: &mut hints, us };
            assert_eq!(learning.receive(Instant::ZERO).is_some(), told);
        }
    }
}
