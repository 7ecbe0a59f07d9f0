//! The host of a hosted cache: a real smoltcp stack running a node that takes what clients offer.

use std::net::{Ipv4Addr, SocketAddr};

use peerdist_core::discovery::server as answering;
use peerdist_core::encoding::InfoVersion;
use peerdist_core::hosted::client::{Place, Places};
use peerdist_core::hosted::server::{self, Message, Offer, Server, State};
use peerdist_core::hosted::wire::Version;
use peerdist_core::node::{self, Hosted, Node, Service};
use peerdist_core::pull::Pulls;
use peerdist_core::retrieval::server::Role;
use peerdist_core::time::{Instant, earliest};
use peerdist_hal::smoltcp::Driver;
use rand_core::{CryptoRng, Rng as _};

use crate::crypto::HostCrypto;
use crate::host::{HostStore, memory_for};
use crate::rng::Rng;
use crate::run::Seat;
use crate::scenario::Member;
use crate::services::FIRST_ADDRESS;
use crate::stack::Stack;
use crate::world::{Frame, Host};

/// Where it is. No client of a scenario has that address.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

/// Where it serves blocks, and takes offers of version 2.0.
const PORT: u16 = 80;

/// Where it takes offers of version 1.0. TLS is not simulated: whatever comes to this port counts as secured.
const SECURED_PORT: u16 = 443;

/// Connections at once.
const STREAMS: usize = 512;

/// Of these, what incoming ones never take: it fetches what is offered.
const RESERVED: usize = 32;

/// Blocks that it fetches at a time.
const BLOCKS: usize = 24;

/// Segments on offer at a time.
const OFFERS: usize = 4_096;

/// Messages that arrive at a time.
const MESSAGES: usize = 256;

/// Bytes of a socket's buffers: what comes are questions, offers and some blocks, what goes are blocks.
const RECEIVE_BYTES: usize = 16 * 1_024;
const SEND_BYTES: usize = 68 * 1_024;

/// Bytes that the node hands out at a time.
const BUFFER_BYTES: usize = 4 * 1_024;

type CacheNode = Node<HostStore, HostCrypto, Rng, STREAMS, BLOCKS, 0, Tables>;

/// What a hosted cache knows of offers; a stack has no room for as much.
struct Tables {
    offers: Vec<Offer>,
    messages: Vec<Message>,
    state: State,
    pulls: Pulls,
}

impl Service for Tables {
    const SERVES: bool = true;

    fn role(&self) -> Role {
        Role::HostedCache
    }

    fn new(_: answering::Config, _: u32, _: &mut dyn CryptoRng) -> Self {
        let offers = (0..OFFERS).map(|_| Offer::FREE).collect();
        let messages = (0..MESSAGES).map(|_| Message::FREE).collect();
        Self { offers, messages, state: State::default(), pulls: Pulls::default() }
    }

    fn server(&self) -> Option<&answering::Server> {
        None
    }

    fn server_mut(&mut self) -> Option<&mut answering::Server> {
        None
    }

    fn hosted(&mut self) -> Option<Hosted<'_>> {
        let Self { offers, messages, state, pulls } = self;
        Some(Hosted { server: Server { offers, messages, state }, pulls })
    }

    fn poll_timeout(&self, now: Instant, _: &Places) -> Option<Instant> {
        let Self { offers, messages, state, pulls } = self;
        earliest(server::poll_timeout(offers, messages, &state.limits, now), pulls.poll_timeout())
    }
}

/// A hosted cache.
pub struct Cache {
    stack: Stack,
    driver: Driver<STREAMS>,
    node: Box<CacheNode>,
    buffer: Vec<u8>,
}

/// How clients reach `member`, a hosted cache of that version: a machine has the first address that is given away.
pub fn place(version: Version, member: Member) -> Place {
    let address = if let Member::Machine(_) = member { FIRST_ADDRESS } else { ADDRESS };
    let at = |port| SocketAddr::from((address, port));
    match version {
        Version::V1 => Place { blocks: at(PORT), offers: at(SECURED_PORT), version },
        Version::V2 => Place::v2(at(PORT)),
    }
}

impl Cache {
    /// At `seat`, with room for content of so many bytes, which clients know by that content information.
    pub fn new(seat: &Seat, content: u64, info: InfoVersion) -> Self {
        let mut stack = Stack::new(seat);
        let udp = stack.add_udp();
        let tcp = std::array::from_fn(|_| stack.add_tcp(RECEIVE_BYTES, SEND_BYTES));
        let local_port = 49_152 + (seat.seed.child("port", 0).rng().next_u32() % 16_384) as u16;
        let driver = Driver::new(&mut stack.interface, udp, tcp, PORT, local_port)
            .expect("a fresh interface has room for a group")
            .with_secured(SECURED_PORT);
        let config = node::Config {
            distributed: false,
            max_uploads: STREAMS,
            reserved_streams: RESERVED,
            ..node::Config::default()
        };
        let store = HostStore::new(memory_for(content, info, seat.store), None);
        let rng = seat.seed.child("node", 0).rng();
        let node = Box::new(Node::new(config, store, HostCrypto::default(), rng));
        Self { stack, driver, node, buffer: vec![0; BUFFER_BYTES] }
    }
}

impl Host for Cache {
    fn receive(&mut self, _now: Instant, frame: Frame) {
        self.stack.card.incoming.push_back(frame);
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
        let Self { stack: Stack { interface, card, sockets }, driver, node, buffer } = self;
        let next = driver.poll(now, interface, card, sockets, node, buffer, &mut |_| {});
        card.outgoing.drain(..).for_each(send);
        next
    }
}
