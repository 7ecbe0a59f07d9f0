//! A host's network: a smoltcp stack behind a network card that is two queues.

use std::collections::VecDeque;

use peerdist_core::time::Instant;
use rand_core::Rng as _;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

use crate::run::{PREFIX_LEN, Seat};
use crate::world::Frame;

/// Bytes of an Ethernet frame without its check sequence.
const FRAME_BYTES: usize = 1514;

/// A stack and its card.
pub struct Stack {
    /// The stack.
    pub interface: Interface,
    /// The card.
    pub card: Card,
    /// The sockets.
    pub sockets: SocketSet<'static>,
}

/// A network card made of two queues.
#[derive(Debug, Default)]
pub struct Card {
    /// Frames that have arrived.
    pub incoming: VecDeque<Frame>,
    /// Frames to be sent.
    pub outgoing: Vec<Frame>,
    /// Where they are put together, one after the other.
    scratch: Vec<u8>,
}

impl Stack {
    /// The stack of the host that sits at `seat`.
    pub fn new(seat: &Seat) -> Self {
        let mut card = Card::default();
        let mut config = Config::new(EthernetAddress(seat.mac).into());
        config.random_seed = seat.seed.child("stack", 0).rng().next_u64();
        let mut interface = Interface::new(config, &mut card, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let [a, b, c, d] = seat.ip;
            // A fresh interface has room for one address.
            let _ = addresses.push(IpCidr::new(IpAddress::v4(a, b, c, d), PREFIX_LEN));
        });
        Self { interface, card, sockets: SocketSet::new(Vec::new()) }
    }

    /// Adds a TCP socket with so many bytes of buffer each way.
    pub fn add_tcp(&mut self, receive: usize, send: usize) -> SocketHandle {
        let buffer = |bytes| tcp::SocketBuffer::new(vec![0; bytes]);
        self.sockets.add(tcp::Socket::new(buffer(receive), buffer(send)))
    }

    /// Adds a UDP socket.
    pub fn add_udp(&mut self) -> SocketHandle {
        let packets = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; 65_536]);
        self.sockets.add(udp::Socket::new(packets(), packets()))
    }
}

/// The stack's clock shows the same time in other units.
pub fn stack_time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(now.micros() as i64)
}

/// And back.
pub fn world_time(at: smoltcp::time::Instant) -> Instant {
    Instant::from_micros(at.total_micros().max(0) as u64)
}

/// A frame that has arrived.
pub struct Incoming(Frame);

/// Room for a frame to be sent.
pub struct Outgoing<'q>(&'q mut Vec<Frame>, &'q mut Vec<u8>);

impl Device for Card {
    type RxToken<'q> = Incoming;
    type TxToken<'q> = Outgoing<'q>;

    fn receive(&mut self, _now: smoltcp::time::Instant) -> Option<(Incoming, Outgoing<'_>)> {
        let Self { incoming, outgoing, scratch } = self;
        Some((Incoming(incoming.pop_front()?), Outgoing(outgoing, scratch)))
    }

    fn transmit(&mut self, _now: smoltcp::time::Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing(&mut self.outgoing, &mut self.scratch))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities
    }
}

impl RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, use_frame: F) -> R {
        use_frame(&self.0)
    }
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let Self(outgoing, scratch) = self;
        scratch.clear();
        scratch.resize(length, 0);
        let result = fill(scratch);
        outgoing.push(scratch.as_slice().into());
        result
    }
}
