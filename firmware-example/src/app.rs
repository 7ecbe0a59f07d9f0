//! The appliance: a node that answers, serves and preloads, with a page of its numbers.
//!
//! It knows no board: what it is lent is a network card, a store, a source of entropy and the time.

use core::fmt;

use cortex_m::singleton;
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::discovery::Subnet;
use peerdist_core::node::{self, Node};
use peerdist_core::store::Storage;
use peerdist_core::time::{Instant, earliest};
use peerdist_hal::smoltcp::{Driver, MIN_BUFFER};
use rand_core::CryptoRng;
use smoltcp::iface::{Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::Device;
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::EthernetAddress;

use crate::board::lan9118::CardError;
use crate::config::Config;
use crate::network::{self, Network};
use crate::preload::{Preload, UrlError};
use crate::status::{self, Page};

/// Connections at once. Windows asks for a segment over as many as 34 (fact 38).
pub const STREAMS: usize = 36;

/// Blocks that are fetched at once.
pub const FETCHES: usize = 2;

/// Bytes that a connection buffers of what comes. Those of the two from an origin, which alone send
/// much, fit together into the queue of the card.
const RECEIVE_BYTES: usize = 4_096;

/// Bytes that a connection buffers of what goes.
const SEND_BYTES: usize = 8_192;

/// Datagrams that wait, each way, and the bytes of them.
const DATAGRAMS: usize = 8;
const DATAGRAM_BYTES: usize = 8_192;

/// Sockets in all: those for streams, one for discovery, the network's own, and the page's.
const SOCKETS: usize = STREAMS + 1 + network::SOCKETS + status::SOCKETS;

/// Why the appliance cannot start.
#[derive(Debug)]
pub enum Problem {
    /// The network card.
    Card(CardError),
    /// The URL to preload.
    Url(UrlError),
    /// The stack has no room for a multicast group.
    Groups,
    /// It was started before.
    Taken,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(error) => error.fmt(f),
            Self::Url(error) => error.fmt(f),
            Self::Groups => f.write_str("no room for a multicast group"),
            Self::Taken => f.write_str("it was started before"),
        }
    }
}

/// How the node of an appliance is set.
pub fn node_config() -> node::Config {
    node::Config { max_uploads: STREAMS - 2, reserved_streams: 2, ..node::Config::default() }
}

/// The appliance, over a store `S` and a source of entropy `R`.
pub struct Appliance<S: Storage + 'static, R: CryptoRng + 'static> {
    interface: Interface,
    sockets: SocketSet<'static>,
    driver: Driver<STREAMS>,
    node: &'static mut Node<S, SoftCrypto, R, STREAMS, FETCHES>,
    network: Network,
    preload: Preload,
    page: Page,
    buffer: &'static mut [u8; MIN_BUFFER],
}

impl<S: Storage, R: CryptoRng> Appliance<S, R> {
    /// An appliance with that Ethernet address. `seed` is drawn at random.
    pub fn new(
        config: &'static Config,
        now: Instant,
        ethernet: [u8; 6],
        card: &mut impl Device,
        node: &'static mut Node<S, SoftCrypto, R, STREAMS, FETCHES>,
        seed: u64,
    ) -> Result<Self, Problem> {
        let preload = Preload::new(now, config.preload).map_err(Problem::Url)?;
        let mut stack = smoltcp::iface::Config::new(EthernetAddress(ethernet).into());
        stack.random_seed = seed;
        let mut interface = Interface::new(stack, card, stack_time(now));
        let storage = singleton!(: [SocketStorage<'static>; SOCKETS] = [SocketStorage::EMPTY; SOCKETS]);
        let mut sockets = SocketSet::new(&mut storage.ok_or(Problem::Taken)?[..]);
        let udp = add_udp(&mut sockets).ok_or(Problem::Taken)?;
        let tcp = add_tcp(&mut sockets).ok_or(Problem::Taken)?;
        let network = Network::new(config, now, &mut sockets).ok_or(Problem::Taken)?;
        let page = Page::new(&mut sockets).ok_or(Problem::Taken)?;
        let buffer = singleton!(: [u8; MIN_BUFFER] = [0; MIN_BUFFER]).ok_or(Problem::Taken)?;
        // The other half of the draw: sequence numbers come from the first.
        let local_port = (seed >> 48) as u16;
        let driver = Driver::new(&mut interface, udp, tcp, node.config().port, local_port);
        let driver = driver.map_err(|_| Problem::Groups)?;
        Ok(Self { interface, sockets, driver, node, network, preload, page, buffer })
    }

    /// Does all that there is to do at `now`, and says when to call again at the latest, or earlier
    /// when a frame comes.
    pub fn poll(&mut self, now: Instant, card: &mut impl Device) -> Option<Instant> {
        let Self { interface, sockets, driver, node, network, preload, page, buffer } = self;
        let next = driver.poll(now, interface, card, sockets, node, &mut buffer[..], &mut |output| {
            preload.take(now, output);
        });
        let before = network.subnet();
        let moved = network.poll(now, interface, sockets);
        if let Some(subnet) = network.subnet().filter(|_| network.subnet() != before) {
            node.set_addresses(&[subnet]);
        }
        let begun = network.subnet().is_some()
            && preload.poll(
                now,
                |name| network.resolve(name, interface, sockets),
                |url| node.download(now, url),
            );
        let (counters, subnet) = (node.counters(), network.subnet());
        let numbers = Numbers { now, subnet, preload, node: counters, dropped: driver.dropped_datagrams };
        let served = page.poll(sockets, &numbers);
        // What they did has to be passed on.
        if moved || begun || served {
            return Some(now);
        }
        let preloading = preload.poll_timeout().filter(|_| subnet.is_some());
        earliest(next, earliest(preloading, network.poll_timeout()))
    }
}

/// What the page shows.
struct Numbers<'a> {
    now: Instant,
    subnet: Option<Subnet>,
    preload: &'a Preload,
    node: node::Counters,
    dropped: u32,
}

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { now, subnet, preload, node, dropped } = self;
        write!(f, r#"{{"uptime_ms":{},"#, now.micros() / 1_000)?;
        match subnet {
            Some(subnet) => write!(f, r#""address":"{}","#, subnet.address)?,
            None => f.write_str(r#""address":null,"#)?,
        }
        write!(
            f,
            r#""preload":{{"state":"{}","bytes":{},"origin_bytes":{},"failures":{}}},"#,
            preload.state().word(),
            preload.bytes,
            preload.from_origin,
            preload.failures
        )?;
        let serve = &node.serve;
        write!(
            f,
            r#""serve":{{"answered":{},"blocks":{},"block_bytes":{},"dropped":{},"damaged":{},"timed_out":{},"refused":{}}},"#,
            serve.answered,
            serve.blocks,
            serve.block_bytes,
            serve.dropped,
            serve.damaged,
            serve.timed_out,
            node.refused
        )?;
        let (fetch, answer) = (&node.fetch, &node.answer);
        write!(
            f,
            r#""fetch":{{"asked":{},"verified":{},"bad_blocks":{},"timed_out":{}}},"#,
            fetch.asked, fetch.verified, fetch.bad_blocks, fetch.timed_out
        )?;
        write!(
            f,
            r#""answer":{{"probes":{},"no_match":{},"sent":{}}},"malformed_datagrams":{},"dropped_datagrams":{dropped}}}"#,
            answer.probes, answer.no_match, answer.sent, node.malformed_datagrams
        )
    }
}

fn add_udp(sockets: &mut SocketSet<'static>) -> Option<SocketHandle> {
    type Metadata = [udp::PacketMetadata; DATAGRAMS];
    let received = singleton!(: Metadata = [udp::PacketMetadata::EMPTY; DATAGRAMS])?;
    let sent = singleton!(: Metadata = [udp::PacketMetadata::EMPTY; DATAGRAMS])?;
    let incoming = singleton!(: [u8; DATAGRAM_BYTES] = [0; DATAGRAM_BYTES])?;
    let outgoing = singleton!(: [u8; DATAGRAM_BYTES] = [0; DATAGRAM_BYTES])?;
    let incoming = udp::PacketBuffer::new(&mut received[..], &mut incoming[..]);
    let outgoing = udp::PacketBuffer::new(&mut sent[..], &mut outgoing[..]);
    Some(sockets.add(udp::Socket::new(incoming, outgoing)))
}

fn add_tcp(sockets: &mut SocketSet<'static>) -> Option<[SocketHandle; STREAMS]> {
    let incoming = singleton!(: [[u8; RECEIVE_BYTES]; STREAMS] = [[0; RECEIVE_BYTES]; STREAMS])?;
    let outgoing = singleton!(: [[u8; SEND_BYTES]; STREAMS] = [[0; SEND_BYTES]; STREAMS])?;
    let mut buffers = incoming.iter_mut().zip(outgoing);
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
