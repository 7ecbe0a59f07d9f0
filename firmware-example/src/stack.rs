//! The appliance over smoltcp: its interface and its sockets, around one node.

mod network;
mod page;

use cortex_m::singleton;
use peerdist_core::time::{Instant, earliest};
use peerdist_hal::smoltcp::{Driver, MIN_BUFFER};
use rand_core::CryptoRng;
use smoltcp::iface::{Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::Device;
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::EthernetAddress;
use static_cell::ConstStaticCell;

use crate::app::{Action, App, Peer, STREAMS};
use crate::store::Shelf;
use network::Network;
use page::Page;

/// Whether memory is scarce.
const SMALL: bool = cfg!(feature = "four-connections");

/// Bytes of a full segment.
const SEGMENT_BYTES: usize = 1_460;

/// Bytes that a connection buffers of what comes. Those of the two from an origin, which alone send
/// much, fit together into the queue of the card. One segment is enough: smoltcp tells at once that there is room
/// again, so that none waits for longer than it travels.
const RECEIVE_BYTES: usize = if SMALL { SEGMENT_BYTES } else { 4_096 };

/// Bytes that a connection buffers of what goes. With less than two segments, each would wait for an
/// acknowledgement that the other side delays.
const SEND_BYTES: usize = if SMALL { 2 * SEGMENT_BYTES } else { 8_192 };

/// Datagrams that wait, each way, and the bytes of them: one of 1,400 bytes at least.
const DATAGRAMS: usize = 8;
const RECEIVED_BYTES: usize = if SMALL { 2_048 } else { 8_192 };
const SENT_BYTES: usize = if SMALL { 1_408 } else { 8_192 };

/// Sockets in all: those for streams, one for discovery, the network's own, and the page's.
const SOCKETS: usize = STREAMS + 1 + network::SOCKETS + page::SOCKETS;

/// Why there is no stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackError {
    /// It has no room for a multicast group.
    Groups,
    /// It was started before.
    Taken,
}

/// An interface and its sockets, with what moves bytes between them, a node and the appliance.
pub struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    driver: Driver<STREAMS>,
    network: Network,
    page: Page,
    buffer: &'static mut [u8; MIN_BUFFER],
}

/// A card that can tell whether its cable is in.
pub trait Link {
    /// Whether it is.
    fn is_up(&mut self) -> bool;
}

impl Stack {
    /// A stack with that Ethernet address, for a node with that port. `seed` is drawn at random.
    #[inline(never)]
    pub fn new(
        now: Instant,
        ethernet: [u8; 6],
        card: &mut impl Device,
        port: u16,
        seed: u64,
    ) -> Result<Self, StackError> {
        let mut config = smoltcp::iface::Config::new(EthernetAddress(ethernet).into());
        config.random_seed = seed;
        let mut interface = Interface::new(config, card, stack_time(now));
        let storage = singleton!(: [SocketStorage<'static>; SOCKETS] = [SocketStorage::EMPTY; SOCKETS]);
        let mut sockets = SocketSet::new(&mut storage.ok_or(StackError::Taken)?[..]);
        let udp = add_udp(&mut sockets).ok_or(StackError::Taken)?;
        let tcp = add_tcp(&mut sockets).ok_or(StackError::Taken)?;
        let network = Network::new(&mut sockets).ok_or(StackError::Taken)?;
        let page = Page::new(&mut sockets).ok_or(StackError::Taken)?;
        static BUFFER: ConstStaticCell<[u8; MIN_BUFFER]> = ConstStaticCell::new([0; _]);
        let buffer = BUFFER.try_take().ok_or(StackError::Taken)?;
        // The other half of the draw: sequence numbers come from the first.
        let local_port = (seed >> 48) as u16;
        let driver = Driver::new(&mut interface, udp, tcp, port, local_port);
        let driver = driver.map_err(|_| StackError::Groups)?;
        Ok(Self { interface, sockets, driver, network, page, buffer })
    }

    /// Does all that there is to do at `now`, and says when to call again at the latest, or earlier
    /// when a frame comes.
    // What it calls is not inlined, nor is it: all of its stack would be that of the deepest call.
    #[inline(never)]
    pub fn poll<S: Shelf, R: CryptoRng>(
        &mut self,
        now: Instant,
        card: &mut (impl Device + Link),
        node: &mut Peer<S, R>,
        app: &mut App,
    ) -> Option<Instant> {
        let Self { interface, sockets, driver, network, page, buffer } = self;
        let up = card.is_up();
        if up && !app.has_link() {
            network.restart(sockets);
        }
        app.handle_link(now, up);
        let next = driver.poll(now, interface, card, sockets, node, &mut buffer[..], &mut |output| {
            app.handle_output(now, output);
        });
        let mut moved = network.poll(now, interface, sockets, node, app);
        while let Some(action) = app.poll(now, node) {
            moved = true;
            match action {
                Action::Address(place) => network.take(&place, interface, sockets),
                Action::Resolve(name) => {
                    if let Err(failure) = network.resolve(name, interface, sockets) {
                        app.handle_resolved(now, node, Err(failure));
                    }
                }
                Action::Node => {}
            }
        }
        let dropped = driver.dropped_datagrams;
        moved |= page.poll(sockets, |request, reply| app.answer(now, node, dropped, request, reply));
        // What they did has to be passed on.
        if moved { Some(now) } else { earliest(next, app.poll_timeout()) }
    }
}

#[inline(never)]
fn add_udp(sockets: &mut SocketSet<'static>) -> Option<SocketHandle> {
    type Metadata = [udp::PacketMetadata; DATAGRAMS];
    let received = singleton!(: Metadata = [udp::PacketMetadata::EMPTY; DATAGRAMS])?;
    let sent = singleton!(: Metadata = [udp::PacketMetadata::EMPTY; DATAGRAMS])?;
    static INCOMING: ConstStaticCell<[u8; RECEIVED_BYTES]> = ConstStaticCell::new([0; _]);
    static OUTGOING: ConstStaticCell<[u8; SENT_BYTES]> = ConstStaticCell::new([0; _]);
    let incoming = udp::PacketBuffer::new(&mut received[..], &mut INCOMING.try_take()?[..]);
    let outgoing = udp::PacketBuffer::new(&mut sent[..], &mut OUTGOING.try_take()?[..]);
    Some(sockets.add(udp::Socket::new(incoming, outgoing)))
}

#[inline(never)]
fn add_tcp(sockets: &mut SocketSet<'static>) -> Option<[SocketHandle; STREAMS]> {
    static INCOMING: ConstStaticCell<[[u8; RECEIVE_BYTES]; STREAMS]> = ConstStaticCell::new([[0; _]; _]);
    static OUTGOING: ConstStaticCell<[[u8; SEND_BYTES]; STREAMS]> = ConstStaticCell::new([[0; _]; _]);
    let mut buffers = INCOMING.try_take()?.iter_mut().zip(OUTGOING.try_take()?);
    let mut handles = [SocketHandle::default(); STREAMS];
    for (handle, (incoming, outgoing)) in handles.iter_mut().zip(&mut buffers) {
        let incoming = tcp::SocketBuffer::new(&mut incoming[..]);
        *handle = sockets.add(tcp::Socket::new(incoming, tcp::SocketBuffer::new(&mut outgoing[..])));
    }
    Some(handles)
}

fn stack_time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(now.micros() as i64)
}
