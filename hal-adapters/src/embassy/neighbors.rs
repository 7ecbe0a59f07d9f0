//! A network card of embassy-net that tells the stack its neighbours.

use core::task::Context;

use embassy_net::driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use smoltcp::wire::{ArpPacket, EthernetFrame, EthernetProtocol, Ipv4Packet};
use smoltcp::wire::{EthernetAddress, Ipv4Address};

use crate::neighbors::{Hint, Hints};

/// A card for [`embassy_net::new`] that tells the stack where those are who have sent discovery datagrams.
///
/// Without it, the stack asks for one unknown neighbour a second at most: who answers two probers within one
/// comes too late for the second. Whose address our own is shows in what the stack sends.
pub struct Learning<D> {
    inner: D,
    hints: Hints,
    ours: Option<Ipv4Address>,
}

/// A frame that came, or one that was put together here.
pub struct Received<'a, R>(From<'a, R>);

enum From<'a, R> {
    Card(R, &'a mut Hints),
    Us(Hint),
}

/// Room for a frame.
pub struct Sending<'a, T> {
    inner: T,
    ours: &'a mut Option<Ipv4Address>,
}

impl<D: Driver> Learning<D> {
    /// Around that card.
    pub fn new(inner: D) -> Self {
        Self { inner, hints: Hints::default(), ours: None }
    }
}

impl<D: Driver> Driver for Learning<D> {
    type RxToken<'a>
        = Received<'a, D::RxToken<'a>>
    where
        Self: 'a;
    type TxToken<'a>
        = Sending<'a, D::TxToken<'a>>
    where
        Self: 'a;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let hardware = self.inner.hardware_address();
        let Self { inner, hints, ours } = self;
        if let HardwareAddress::Ethernet(hardware) = hardware
            && !hints.is_empty()
        {
            // While nothing can be sent, the hint waits.
            let inner = inner.transmit(cx)?;
            let hint = hints.take((EthernetAddress(hardware), *ours))?;
            return Some((Received(From::Us(hint)), Sending { inner, ours }));
        }
        let (frame, inner) = inner.receive(cx)?;
        Some((Received(From::Card(frame, hints)), Sending { inner, ours }))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Self::TxToken<'_>> {
        let Self { inner, ours, .. } = self;
        inner.transmit(cx).map(|inner| Sending { inner, ours })
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        self.inner.link_state(cx)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn hardware_address(&self) -> HardwareAddress {
        self.inner.hardware_address()
    }
}

impl<R: RxToken> RxToken for Received<'_, R> {
    fn consume<T, F: FnOnce(&mut [u8]) -> T>(self, use_frame: F) -> T {
        match self.0 {
            From::Us(mut frame) => use_frame(&mut frame),
            From::Card(frame, hints) => frame.consume(|bytes| {
                hints.learn(bytes);
                use_frame(bytes)
            }),
        }
    }
}

impl<T: TxToken> TxToken for Sending<'_, T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let Self { inner, ours } = self;
        inner.consume(len, |frame| {
            let result = fill(frame);
            *ours = source(frame).or(*ours);
            result
        })
    }
}

/// From which address we have sent a frame, if it is one.
fn source(frame: &[u8]) -> Option<Ipv4Address> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let source = match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => Ipv4Packet::new_checked(ethernet.payload()).ok()?.src_addr(),
        EthernetProtocol::Arp => {
            let packet = ArpPacket::new_checked(ethernet.payload()).ok()?;
            Ipv4Address::from_octets(packet.source_protocol_addr().try_into().ok()?)
        }
        _ => return None,
    };
    (!source.is_unspecified()).then_some(source)
}
