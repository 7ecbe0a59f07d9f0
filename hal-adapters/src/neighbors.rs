//! Neighbours learnt from discovery.
//!
//! smoltcp asks for one unknown neighbour a second at most, over all of them. A peer that answers
//! two probers within a second would be too late for the second, whose request timer runs for
//! 300 ms, and a prober that hears from three peers could connect to one of them. But whoever has
//! sent us a datagram has told us its Ethernet address: the adapters' devices hand it to the stack, as the
//! ARP reply that would have come, or in IPv6 the neighbour advertisement.

use core::net::IpAddr;

use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    IpProtocol, Ipv4Address, Ipv4Packet, UdpPacket,
};
#[cfg(feature = "ipv6")]
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        IPV6_LINK_LOCAL_ALL_NODES, Icmpv6Packet, Icmpv6Repr, Ipv6Address, Ipv6Packet, Ipv6Repr,
        NdiscNeighborFlags, NdiscRepr,
    },
};

use peerdist_core::discovery::PORT;

/// Bytes of an Ethernet frame with an ARP packet.
const ARP_BYTES: usize = 42;

/// Bytes of an Ethernet frame with a neighbour advertisement that names an Ethernet address.
const ADVERT_BYTES: usize = 86;

/// Neighbours to be told to the stack; those beyond are found the usual way.
const HINTS: usize = 8;

/// A neighbour.
type Known = (EthernetAddress, IpAddr);

/// What tells the stack where a neighbour is: a frame.
pub(crate) type Hint = heapless::Vec<u8, ADVERT_BYTES>;

/// What is still to be told.
#[derive(Debug, Default)]
pub(crate) struct Hints(heapless::Vec<Known, HINTS>);

impl Hints {
    /// Whether there is something to tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next one, as a frame for `us`.
    pub(crate) fn take(&mut self, us: (EthernetAddress, Option<Ipv4Address>)) -> Option<Hint> {
        self.0.pop().map(|neighbour| told(neighbour, us))
    }

    /// Learns from a frame that has come.
    pub(crate) fn learn(&mut self, frame: &[u8]) {
        if let Some(neighbour) = sender(frame)
            && !self.0.contains(&neighbour)
        {
            // Past the bound, the stack asks for itself.
            let _ = self.0.push(neighbour);
        }
    }
}

/// Who sent a discovery datagram.
fn sender(frame: &[u8]) -> Option<Known> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if !ethernet.src_addr().is_unicast() {
        return None;
    }
    let (ip, payload) = match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
            let udp = ip.next_header() == IpProtocol::Udp && ip.frag_offset() == 0;
            (IpAddr::V4(ip.src_addr()), udp.then_some(ip.payload())?)
        }
        #[cfg(feature = "ipv6")]
        EthernetProtocol::Ipv6 => {
            let ip = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
            (IpAddr::V6(ip.src_addr()), (ip.next_header() == IpProtocol::Udp).then_some(ip.payload())?)
        }
        _ => return None,
    };
    let udp = UdpPacket::new_checked(payload).ok()?;
    let known = udp.dst_port() == PORT && !ip.is_unspecified() && !ip.is_multicast();
    known.then_some((ethernet.src_addr(), ip))
}

/// What tells the stack where `neighbour` is.
fn told(
    (hardware, ip): (EthernetAddress, IpAddr),
    (our_hardware, ours): (EthernetAddress, Option<Ipv4Address>),
) -> Hint {
    let frame = match ip {
        IpAddr::V4(ip) => {
            let us = (our_hardware, ours.unwrap_or(Ipv4Address::UNSPECIFIED));
            heapless::Vec::from_slice(&reply((hardware, ip), us))
        }
        #[cfg(feature = "ipv6")]
        IpAddr::V6(ip) => heapless::Vec::from_slice(&advert((hardware, ip), our_hardware)),
        #[cfg(not(feature = "ipv6"))]
        IpAddr::V6(_) => return heapless::Vec::new(),
    };
    // Both fit.
    frame.unwrap_or_default()
}

/// The advertisement that `neighbour` would have sent to all nodes of the link (RFC 4861, 7.2.6).
#[cfg(feature = "ipv6")]
fn advert(neighbour: (EthernetAddress, Ipv6Address), our_hardware: EthernetAddress) -> [u8; ADVERT_BYTES] {
    let (hardware, ip) = neighbour;
    let advert = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
        flags: NdiscNeighborFlags::OVERRIDE,
        target_addr: ip,
        lladdr: Some(hardware.into()),
    });
    let packet = Ipv6Repr {
        src_addr: ip,
        dst_addr: IPV6_LINK_LOCAL_ALL_NODES,
        next_header: IpProtocol::Icmpv6,
        payload_len: advert.buffer_len(),
        // RFC 4861, 7.1.2: no router has passed it on.
        hop_limit: 255,
    };
    let ethernet =
        EthernetRepr { src_addr: hardware, dst_addr: our_hardware, ethertype: EthernetProtocol::Ipv6 };
    let mut bytes = [0; ADVERT_BYTES];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.emit(&mut frame);
    let mut ip = Ipv6Packet::new_unchecked(frame.payload_mut());
    packet.emit(&mut ip);
    let mut icmp = Icmpv6Packet::new_unchecked(ip.payload_mut());
    advert.emit(&packet.src_addr, &packet.dst_addr, &mut icmp, &ChecksumCapabilities::default());
    bytes
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
pub(crate) mod tests {
    use super::*;
    #[cfg(not(feature = "ipv6"))]
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{Ipv4Repr, UdpRepr};

    pub(crate) const PEER: (EthernetAddress, Ipv4Address) =
        (EthernetAddress([2, 0, 0, 0, 0, 7]), Ipv4Address::new(10, 0, 0, 7));

    pub(crate) fn datagram(port: u16) -> [u8; 64] {
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

    #[test]
    fn only_discovery_teaches() {
        assert_eq!(sender(&datagram(3_702)), Some((PEER.0, PEER.1.into())));
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
    #[cfg(feature = "ipv6")]
    const PEER_V6: (EthernetAddress, Ipv6Address) = (PEER.0, Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 7));

    #[cfg(feature = "ipv6")]
    #[test]
    fn discovery_teaches_in_ipv6() {
        let datagram = |port| {
            let mut bytes = [0; 14 + 40 + 8 + 12];
            let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
            EthernetRepr {
                src_addr: PEER.0,
                dst_addr: EthernetAddress([0x33, 0x33, 0, 0, 0, 0x0c]),
                ethertype: EthernetProtocol::Ipv6,
            }
            .emit(&mut frame);
            let ip = Ipv6Repr {
                src_addr: PEER_V6.1,
                dst_addr: Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 0x0c),
                next_header: IpProtocol::Udp,
                payload_len: 20,
                hop_limit: 1,
            };
            let mut packet = Ipv6Packet::new_unchecked(frame.payload_mut());
            ip.emit(&mut packet);
            UdpRepr { src_port: 50_000, dst_port: port }.emit(
                &mut UdpPacket::new_unchecked(packet.payload_mut()),
                &ip.src_addr.into(),
                &ip.dst_addr.into(),
                12,
                |payload| payload.fill(1),
                &ChecksumCapabilities::default(),
            );
            bytes
        };
        assert_eq!(sender(&datagram(3_702)), Some((PEER.0, PEER_V6.1.into())));
        assert_eq!(sender(&datagram(3_703)), None);
        for len in 0..74 {
            assert_eq!(sender(&datagram(3_702)[..len]), None, "{len}");
        }
    }

    #[cfg(feature = "ipv6")]
    #[test]
    fn the_stack_is_told_in_ipv6() {
        let us = EthernetAddress([2, 0, 0, 0, 0, 1]);
        let bytes = told((PEER.0, PEER_V6.1.into()), (us, None));
        assert_eq!(bytes.len(), ADVERT_BYTES);
        let frame = EthernetFrame::new_checked(&bytes[..]).unwrap();
        assert_eq!((frame.dst_addr(), frame.src_addr()), (us, PEER.0));
        let packet = Ipv6Packet::new_checked(frame.payload()).unwrap();
        assert_eq!((packet.src_addr(), packet.hop_limit()), (PEER_V6.1, 255));
        let checksums = ChecksumCapabilities::default();
        let icmp = Icmpv6Packet::new_checked(packet.payload()).unwrap();
        let advert = Icmpv6Repr::parse(&packet.src_addr(), &packet.dst_addr(), &icmp, &checksums).unwrap();
        let Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { target_addr, lladdr, flags }) = advert else {
            panic!("{advert:?}");
        };
        assert_eq!((target_addr, lladdr), (PEER_V6.1, Some(PEER.0.into())));
        assert_eq!(flags, NdiscNeighborFlags::OVERRIDE);
    }
}
