//! Stacks and their sockets.

use peerdist_core::time::Instant;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::Device;
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Address, Ipv4Cidr};

use crate::machine::lend;

/// Where blocks are served.
pub const PORT: u16 = 80;

/// Bytes that a connection buffers, each way.
const STREAM_BYTES: usize = 8_192;

/// Datagrams that wait, each way, and the bytes of them.
const DATAGRAMS: usize = 8;
const DATAGRAM_BYTES: usize = 8_192;

/// Sockets of a stack.
const SOCKETS: usize = 8;

/// The address of a machine.
pub fn address(number: u8) -> Ipv4Address {
    Ipv4Address::new(10, 0, 0, number)
}

/// An interface with the address of that machine.
pub fn interface(number: u8, card: &mut impl Device) -> Interface {
    let mut config = Config::new(EthernetAddress([2, 0, 0, 0, 0, number]).into());
    config.random_seed = number.into();
    let mut interface = Interface::new(config, card, smoltcp::time::Instant::ZERO);
    interface.update_ip_addrs(|addresses| {
        addresses.push(IpCidr::Ipv4(Ipv4Cidr::new(address(number), 24))).unwrap();
    });
    interface
}

/// Room for sockets.
pub fn sockets() -> SocketSet<'static> {
    SocketSet::new(lend(SOCKETS, || SocketStorage::EMPTY))
}

/// Adds a socket for a connection.
pub fn add_tcp(sockets: &mut SocketSet<'static>) -> SocketHandle {
    let buffer = || tcp::SocketBuffer::new(lend(STREAM_BYTES, || 0));
    sockets.add(tcp::Socket::new(buffer(), buffer()))
}

/// Adds a socket for discovery.
pub fn add_udp(sockets: &mut SocketSet<'static>) -> SocketHandle {
    let metadata = || lend(DATAGRAMS, || udp::PacketMetadata::EMPTY);
    let buffer = || udp::PacketBuffer::new(metadata(), lend(DATAGRAM_BYTES, || 0));
    sockets.add(udp::Socket::new(buffer(), buffer()))
}

/// The time as smoltcp has it.
pub fn time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(now.micros() as i64)
}

/// The time as a node has it.
pub fn next(at: Option<smoltcp::time::Instant>) -> Option<Instant> {
    at.map(|at| Instant::from_micros(at.total_micros().max(0) as u64))
}
