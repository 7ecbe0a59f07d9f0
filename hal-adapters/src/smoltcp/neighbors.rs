//! Neighbours learnt from discovery.
//!
//! smoltcp asks for one unknown neighbour a second at most, over all of them. A peer that answers
//! two probers within a second would be too late for the second, whose request timer runs for
//! 300 ms, and a prober that hears from three peers could connect to one of them. But whoever has
//! sent us a datagram has told us its Ethernet address: this device hands it to the stack, as the
//! ARP reply that would have come.

use smoltcp::phy::{Device, DeviceCapabilities, RxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    IpProtocol, Ipv4Address, Ipv4Packet, UdpPacket,
};

use peerdist_core::discovery::PORT;

/// Bytes of an ARP packet in an Ethernet frame.
const ARP_BYTES: usize = 42;

/// Neighbours to be told to the stack; those beyond are found the usual way.
const HINTS: usize = 8;

/// What is still to be told.
#[derive(Debug, Default)]
pub(super) struct Hints(heapless::Vec<(EthernetAddress, Ipv4Address), HINTS>);

/// A device that tells the stack who its neighbours are.
pub(super) struct Learning<'a, D: ?Sized> {
    pub(super) inner: &'a mut D,
    pub(super) hints: &'a mut Hints,
    pub(super) us: Option<(EthernetAddress, Ipv4Address)>,
}

/// A frame that came, or one that was put together here.
pub(super) enum Received<'a, R> {
    Frame(R, &'a mut Hints),
    Hint([u8; ARP_BYTES]),
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
        if let (Some(us), Some(neighbour)) = (self.us, self.hints.0.last().copied()) {
            // While nothing can be sent, the hint waits.
            let answer = self.inner.transmit(now)?;
            self.hints.0.pop();
            return Some((Received::Hint(reply(neighbour, us)), answer));
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
                if let Some(neighbour) = sender(bytes)
                    && !hints.0.contains(&neighbour)
                {
                    // Past the bound, the stack asks for itself.
                    let _ = hints.0.push(neighbour);
                }
                use_frame(bytes)
            }),
        }
    }
}

/// Who sent a discovery datagram.
fn sender(frame: &[u8]) -> Option<(EthernetAddress, Ipv4Address)> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Ipv4 || !ethernet.src_addr().is_unicast() {
        return None;
    }
    let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    if ip.next_header() != IpProtocol::Udp || ip.frag_offset() != 0 || ip.src_addr().is_unspecified() {
        return None;
    }
    let udp = UdpPacket::new_checked(ip.payload()).ok()?;
    (udp.dst_port() == PORT).then_some((ethernet.src_addr(), ip.src_addr()))
}

/// The ARP reply that `neighbour` would have sent to `us`.
fn reply(neighbour: (EthernetAddress, Ipv4Address), us: (EthernetAddress, Ipv4Address)) -> [u8; ARP_BYTES] {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: neighbour.0,
        source_protocol_addr: neighbour.1,
        target_hardware_addr: us.0,
        target_protocol_addr: us.1,
    };
    let ethernet = EthernetRepr { src_addr: neighbour.0, dst_addr: us.0, ethertype: EthernetProtocol::Arp };
    let mut bytes = [0; ARP_BYTES];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.emit(&mut frame);
    arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{Ipv4Repr, UdpRepr};

    const PEER: (EthernetAddress, Ipv4Address) =
        (EthernetAddress([2, 0, 0, 0, 0, 7]), Ipv4Address::new(10, 0, 0, 7));

    fn datagram(port: u16) -> [u8; 64] {
        let mut bytes = [0; 64];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
        EthernetRepr {
            src_addr: PEER.0,
            dst_addr: EthernetAddress([1, 0, 0x5e, 0x7f, 0xff, 0xfa]),
            ethertype: EthernetProtocol::Ipv4,
        }
        .emit(&mut frame);
        let ip = Ipv4Repr {
            src_addr: PEER.1,
            dst_addr: Ipv4Address::new(239, 255, 255, 250),
            next_header: IpProtocol::Udp,
            payload_len: 12,
            hop_limit: 1,
        };
        let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
        ip.emit(&mut packet, &ChecksumCapabilities::default());
        UdpRepr { src_port: 50_000, dst_port: port }.emit(
            &mut UdpPacket::new_unchecked(packet.payload_mut()),
            &ip.src_addr.into(),
            &ip.dst_addr.into(),
            4,
            |payload| payload.fill(1),
            &ChecksumCapabilities::default(),
        );
        bytes
    }

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
        hints.0.push(PEER).unwrap();
        for (sends, told) in [(false, false), (true, true), (true, false)] {
            let mut card = Silent(sends);
            let mut learning = Learning { inner: &mut card, hints: &mut hints, us: Some(PEER) };
            assert_eq!(learning.receive(Instant::ZERO).is_some(), told);
        }
    }

    #[test]
    fn only_discovery_teaches() {
        assert_eq!(sender(&datagram(3_702)), Some(PEER));
        assert_eq!(sender(&datagram(3_703)), None);
        for len in 0..46 {
            assert_eq!(sender(&datagram(3_702)[..len]), None, "{len}");
        }
    }

    #[test]
    fn the_stack_is_told_in_its_own_words() {
        let us = (EthernetAddress([2, 0, 0, 0, 0, 1]), Ipv4Address::new(10, 0, 0, 1));
        let bytes = reply(PEER, us);
        let frame = EthernetFrame::new_checked(&bytes[..]).unwrap();
        assert_eq!((frame.dst_addr(), frame.src_addr()), (us.0, PEER.0));
        let arp = ArpRepr::parse(&ArpPacket::new_checked(frame.payload()).unwrap()).unwrap();
        let ArpRepr::EthernetIpv4 { operation, source_protocol_addr, target_protocol_addr, .. } = arp else {
            panic!("{arp:?}");
        };
        assert_eq!(
            (operation, source_protocol_addr, target_protocol_addr),
            (ArpOperation::Reply, PEER.1, us.1)
        );
    }
}
