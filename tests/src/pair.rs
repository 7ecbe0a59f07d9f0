//! Nodes, an origin and scripted peers around a virtual clock, in the manner of quinn's `Pair`:
//! [`Net::step`] lets everybody act and jumps to the next wake-up, [`Net::drive`] repeats that.
//!
//! The way it treats a node is the contract in the documentation of
//! [`node`](peerdist_core::node), and it panics where a node never comes to rest.

mod counting;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;

use peerdist_core::api::client::ContentHandle;
use peerdist_core::content::SegmentId;
use peerdist_core::discovery::Subnet;
use peerdist_core::discovery::server::{self as answering, Server};
use peerdist_core::discovery::wire::{Message, parse};
use peerdist_core::download::{DownloadEvent, Url};
use peerdist_core::http::conn::{Conn as HttpConn, Event as HttpEvent};
use peerdist_core::limits::SEGMENT_BLOCKS;
use peerdist_core::node::{Config, DownloadId, Input, Node, Output, StreamId};
use peerdist_core::store::ram::{BLOCK_PAGES, Entry, Page, RamStore};
use peerdist_core::time::{Duration, Instant};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::origin::{Origin, Session};
pub use counting::Counting;

/// Both stores of a node under test, which the test can look into.
pub type Storage = crate::shared::Shared;

/// A node under test.
pub type TestNode = Node<Storage, Counting, ChaCha20Rng, STREAMS, BLOCKS>;

/// Connections of a node.
pub const STREAMS: usize = 24;

/// Blocks that a node fetches at once.
pub const BLOCKS: usize = 16;

/// Where the origin is.
pub const ORIGIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)), 80);

/// Bits of the branch's network: 10.0.0.0 to 10.0.255.255.
const PREFIX: u8 = 16;

/// Rounds in which everybody may act without time passing.
const MAX_ROUNDS: u32 = 200_000;

/// A node and what it has handed out.
pub struct Host {
    node: Box<TestNode>,
    /// Something was changed, so it has to be drained.
    touched: bool,
    /// When it wants to be called, as it said when it was last drained.
    wake_up: Option<Instant>,
    /// Its stores.
    pub store: Storage,
    /// Downloads by id.
    pub downloads: BTreeMap<u64, Seen>,
    current: Vec<(DownloadId, u64)>,
    /// Changes a byte of what its uploads send: connection, offset in the stream, byte.
    pub tamper: Option<fn(u64) -> u8>,
}

/// What a download has handed out.
#[derive(Default)]
pub struct Seen {
    /// All events.
    pub events: Vec<(Instant, DownloadEvent)>,
    /// The bytes, where they belong.
    pub data: Vec<u8>,
    /// How often each byte came.
    pub times: Vec<u8>,
}

/// How a host refuses a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not come about, which shows before others are open.
    AtOnce,
    /// It is reset as soon as it is open.
    Reset,
}

/// What a scripted peer does with a question.
pub enum Act {
    /// Says nothing.
    Silence,
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes and closes.
    SendAndClose(Vec<u8>),
}

/// What a scripted peer does with a question.
type Script = Box<dyn FnMut(&[u8]) -> Act>;

/// A scripted peer: claims to have segments, and answers questions as it is told.
pub struct Fake {
    discovery: Server,
    rng: ChaCha20Rng,
    claims: Vec<SegmentId>,
    script: Script,
    /// Questions it got.
    pub asked: u32,
    /// Where it claims to serve blocks, if elsewhere than at its address.
    pub claimed: Option<SocketAddr>,
}

/// The world.
pub struct Net {
    /// The time.
    pub now: Instant,
    /// The nodes.
    pub hosts: Vec<Host>,
    /// Scripted peers.
    pub fakes: Vec<Fake>,
    /// Whether scripted peers take no connections.
    pub fakes_refuse: bool,
    /// Connections that still find no socket on the side that asks for them.
    pub no_sockets: u32,
    /// For connections to there, there is never a socket.
    pub no_socket_to: Option<SocketAddr>,
    /// How many connections each node takes at a time; how it refuses others.
    pub takes: Option<(usize, Refusal)>,
    /// Whether connections of the test take what comes.
    pub reads_nothing: bool,
    /// The origin.
    pub origin: Origin,
    /// What is downloaded.
    pub path: &'static str,
    /// How long everything takes to arrive.
    pub latency: Duration,
    /// Bytes that arrive at once.
    pub chunk: usize,
    /// Bytes on their way in one direction of a connection.
    pub window: usize,
    /// How often a datagram arrives: its number, the receiving node.
    pub datagram_hook: fn(u64, usize) -> u32,
    /// Datagrams sent to nobody we know.
    pub outside: Vec<(SocketAddr, Vec<u8>)>,
    /// What happened, a line each.
    pub transcript: Vec<String>,
    /// Connections made so far to each address.
    pub dialled: BTreeMap<SocketAddr, u32>,
    conns: Vec<Conn>,
    datagrams: Vec<(Instant, u64, SocketAddr, To, Vec<u8>)>,
    /// What came on connections of the test.
    inboxes: BTreeMap<u64, Vec<u8>>,
    sent: u64,
    downloads: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Host(usize),
    Fake(usize),
}

/// A connection: `pipes[0]` leads from `ends[0]` to `ends[1]`.
struct Conn {
    ends: [End; 2],
    pipes: [Pipe; 2],
    /// When the one who opened it learns that it is open, or refused.
    answer: Option<(Instant, bool)>,
    dead: bool,
}

enum End {
    Node { host: usize, stream: StreamId, resume: bool, serves: bool },
    Origin(Session),
    Fake(usize, HttpConn, Vec<u8>),
    Test(u64),
    Nobody,
}

#[derive(Default)]
struct Pipe {
    /// Not sent yet, for want of a window.
    backlog: VecDeque<u8>,
    flight: VecDeque<(Instant, Vec<u8>)>,
    arrived: Vec<u8>,
    in_flight: usize,
    fin: Option<Instant>,
    closing: bool,
    reset: Option<Instant>,
    eof_told: bool,
    fresh: bool,
    total: u64,
}

impl Net {
    /// `count` nodes with room for `blocks` full blocks each, and an origin with `content`.
    pub fn new(seed: u64, count: usize, blocks: usize, content: Vec<u8>) -> Self {
        let mut net = Self {
            now: Instant::from_millis(1_000),
            hosts: Vec::new(),
            fakes: Vec::new(),
            fakes_refuse: false,
            no_sockets: 0,
            no_socket_to: None,
            takes: None,
            reads_nothing: false,
            origin: Origin::new(content),
            path: "/file",
            latency: Duration::from_micros(200),
            chunk: 1_460,
            window: 16 * 1_024,
            datagram_hook: |_, _| 1,
            outside: Vec::new(),
            transcript: Vec::new(),
            dialled: BTreeMap::new(),
            conns: Vec::new(),
            datagrams: Vec::new(),
            inboxes: BTreeMap::new(),
            sent: 0,
            downloads: 0,
        };
        for index in 0..count {
            net.add_host(seed.wrapping_add(index as u64), blocks, Config::default());
        }
        net
    }

    /// Adds a node with room for `blocks` full blocks.
    pub fn add_host(&mut self, seed: u64, blocks: usize, config: Config) -> usize {
        self.add_host_with(seed, Storage::new(memory(blocks, 64 * 1_024)), config)
    }

    /// Adds a node that keeps what it has in `storage`.
    pub fn add_host_with(&mut self, seed: u64, storage: Storage, config: Config) -> usize {
        let store = storage.clone();
        let rng = ChaCha20Rng::seed_from_u64(seed);
        let mut node = Box::new(Node::new(config, storage, Counting::default(), rng));
        let index = self.hosts.len();
        node.set_addresses(&[Subnet { address: host_address(index).ip(), prefix: PREFIX }]);
        self.hosts.push(Host {
            node,
            touched: true,
            wake_up: None,
            store,
            downloads: BTreeMap::new(),
            current: Vec::new(),
            tamper: None,
        });
        index
    }

    /// Adds a scripted peer that claims to have `claims`.
    pub fn add_fake(&mut self, claims: Vec<SegmentId>, script: impl FnMut(&[u8]) -> Act + 'static) -> usize {
        let mut rng = ChaCha20Rng::seed_from_u64(1_000 + self.fakes.len() as u64);
        // It answers before anybody else can, so that it is asked.
        let config = answering::Config { max_backoff: Duration::ZERO, ..answering::Config::default() };
        let discovery = Server::with_config(config, 1, &mut rng);
        self.fakes.push(Fake { discovery, rng, claims, script: Box::new(script), asked: 0, claimed: None });
        self.fakes.len() - 1
    }

    /// A node, to do something with it.
    pub fn node(&mut self, host: usize) -> &mut TestNode {
        self.hosts[host].touched = true;
        &mut self.hosts[host].node
    }

    /// Has a node download the origin's content; names the download.
    pub fn download(&mut self, host: usize) -> u64 {
        self.download_range(host, 0..u64::MAX)
    }

    /// The same for a part of it.
    pub fn download_range(&mut self, host: usize, range: Range<u64>) -> u64 {
        let url = Url {
            origin: ORIGIN,
            host: "origin.example".try_into().unwrap(),
            path: self.path.try_into().unwrap(),
        };
        let now = self.now;
        let id = self.node(host).download_range(now, url, range).expect("a download is free");
        self.downloads += 1;
        let host = &mut self.hosts[host];
        host.current.retain(|(other, _)| *other != id);
        host.current.push((id, self.downloads));
        host.downloads.insert(self.downloads, Seen::default());
        self.downloads
    }

    /// Ends a download early.
    pub fn cancel_download(&mut self, host: usize, download: u64) {
        let host = &mut self.hosts[host];
        let position = host.current.iter().position(|(_, ours)| *ours == download).unwrap();
        let (id, _) = host.current.remove(position);
        host.touched = true;
        host.node.cancel_download(id);
    }

    /// What a download has handed out.
    pub fn seen(&self, host: usize, download: u64) -> &Seen {
        &self.hosts[host].downloads[&download]
    }

    /// Opens a connection to a node from the test itself; `None` if it is refused.
    pub fn dial(&mut self, host: usize) -> Option<u64> {
        self.sent += 1;
        let now = self.now;
        let stream = self.node(host).accept(now, ([10, 2, 0, 1], 4_000).into())?;
        let node = End::Node { host, stream, resume: false, serves: true };
        self.conns.push(Conn::new(End::Test(self.sent), node, None));
        Some(self.sent)
    }

    /// Sends on a connection of the test.
    pub fn send(&mut self, dialled: u64, bytes: &[u8]) {
        let (chunk, at) = (self.chunk, self.now + self.latency);
        let conn = self.test_conn(dialled).expect("the connection is open");
        conn.pipes[0].push(bytes, at, chunk, usize::MAX);
    }

    /// What came on a connection of the test, and whether it is over.
    pub fn received(&mut self, dialled: u64) -> (Vec<u8>, bool) {
        let over = self.test_conn(dialled).is_none();
        (self.inboxes.remove(&dialled).unwrap_or_default(), over)
    }

    /// Sends a datagram to every node from elsewhere.
    pub fn multicast(&mut self, from: SocketAddr, data: &[u8]) {
        self.send_datagram(from, None, data);
    }

    /// Everybody acts until nobody has more to do now; then time jumps to the next wake-up.
    /// `false` if there is none.
    pub fn step(&mut self) -> bool {
        self.settle();
        match self.next_wake_up() {
            Some(at) => {
                assert!(at > self.now, "all is done, and yet something is due");
                self.now = at;
                true
            }
            None => false,
        }
    }

    /// Steps until nothing is left to do, or `limit` has passed.
    pub fn drive(&mut self, limit: Duration) {
        let end = self.now + limit;
        while self.step() && self.now < end {}
    }

    /// Steps until `end`, to which time jumps if nothing else happens before.
    pub fn drive_past(&mut self, end: Instant) {
        loop {
            self.settle();
            match self.next_wake_up().filter(|at| *at <= end) {
                Some(at) => self.now = at,
                None => break,
            }
        }
        self.now = end;
        self.settle();
    }

    /// Steps until `goal` is met; panics if it is not within `limit`.
    pub fn drive_until(&mut self, limit: Duration, goal: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        while !goal(self) {
            let more = self.step();
            if goal(self) {
                break;
            }
            assert!(more, "all is at rest at {:?}", self.now);
            assert!(self.now < end, "out of time at {:?}", self.now);
        }
    }

    /// Steps until a download has ended.
    pub fn drive_download(&mut self, host: usize, download: u64, limit: Duration) {
        self.drive_until(limit, |net| net.seen(host, download).is_over());
    }

    /// Connections that are not closed yet.
    pub fn open_connections(&self) -> usize {
        self.conns.len()
    }

    /// Everybody acts until nobody has more to do now.
    pub fn settle(&mut self) {
        let mut rounds = 0;
        while self.act() {
            rounds += 1;
            assert!(rounds < MAX_ROUNDS, "no rest at {:?}: {:?}", self.now, self.transcript.last());
        }
    }

    fn act(&mut self) -> bool {
        let mut acted = self.deliver_datagrams();
        acted |= self.fakes_answer();
        for index in 0..self.hosts.len() {
            let now = self.now;
            if self.hosts[index].wake_up.is_some_and(|at| at <= now) {
                self.hosts[index].handle_input(now, Input::Timeout);
            }
            if std::mem::take(&mut self.hosts[index].touched) {
                self.drain(index);
                self.hosts[index].wake_up = self.hosts[index].node.poll_timeout(now);
                acted = true;
            }
        }
        for index in 0..self.conns.len() {
            acted |= self.move_bytes(index);
        }
        self.conns.retain(|conn| !conn.is_over());
        acted || self.next_wake_up().is_some_and(|at| at <= self.now)
    }

    fn next_wake_up(&self) -> Option<Instant> {
        let nodes = self.hosts.iter().filter_map(|host| host.wake_up);
        let fakes = self.fakes.iter().filter_map(|fake| fake.discovery.poll_timeout());
        let datagrams = self.datagrams.iter().map(|(at, ..)| *at);
        let conns = self.conns.iter().flat_map(|conn| conn.wake_ups().filter(|at| *at > self.now));
        nodes.chain(fakes).chain(datagrams).chain(conns).min()
    }

    fn note(&mut self, line: String) {
        self.transcript.push(format!("{:>10} {line}", self.now.micros()));
    }

    /// Takes everything out of a node.
    fn drain(&mut self, index: usize) {
        let mut buf = vec![0; 4_096];
        loop {
            let host = &mut self.hosts[index];
            let Some(output) = host.node.poll_output(self.now, &mut buf) else { break };
            match output {
                Output::Datagram { to, data } => {
                    let data = data.to_vec();
                    self.note(format!("{index} datagram to {to}: {:x}", digest(&data)));
                    let group = to.ip().is_multicast();
                    self.send_datagram(discovery_address(index), (!group).then_some(to), &data);
                }
                Output::Connect { stream, remote, .. } => {
                    self.note(format!("{index} connect {stream:?} to {remote}"));
                    self.connect(index, stream, remote);
                }
                Output::Close { stream } => {
                    self.note(format!("{index} close {stream:?}"));
                    let (conn, side) = self.find(index, stream).expect("it is open");
                    conn.pipes[side].closing = true;
                    conn.ends[side] = End::Nobody;
                }
                Output::Abort { stream } => {
                    self.note(format!("{index} abort {stream:?}"));
                    let at = self.now + self.latency;
                    let (conn, side) = self.find(index, stream).expect("it is open");
                    conn.pipes[side].reset = Some(at);
                    conn.ends[side] = End::Nobody;
                }
                Output::Resume { stream } => {
                    if let Some((conn, side)) = self.find(index, stream)
                        && let End::Node { resume, .. } = &mut conn.ends[side]
                    {
                        *resume = true;
                    }
                }
                Output::Data { download, offset, data } => {
                    let line = format!("{index} data {offset}+{}: {:x}", data.len(), digest(data));
                    host.seen(download).data(offset, data);
                    self.note(line);
                }
                Output::Moved { .. } => unreachable!("no origin here has moved"),
                Output::Download { download, event } => {
                    let line = format!("{index} event {event:?}");
                    host.seen(download).events.push((self.now, event));
                    self.note(line);
                }
            }
        }
    }

    fn connect(&mut self, index: usize, stream: StreamId, remote: SocketAddr) {
        let left = self.no_sockets.checked_sub(1);
        if left.is_some() || self.no_socket_to == Some(remote) {
            self.no_sockets = left.unwrap_or_default();
            self.hosts[index].handle_input(self.now, Input::NoSocket { stream });
            return;
        }
        *self.dialled.entry(remote).or_default() += 1;
        let there = if remote == ORIGIN {
            (!self.origin.manner.refuses).then(|| End::Origin(Session::default()))
        } else if let Some(host) = (0..self.hosts.len()).find(|host| host_address(*host) == remote) {
            let now = self.now;
            match self.takes {
                Some((most, refusal)) if self.served_by(host) >= most => {
                    (refusal == Refusal::Reset).then_some(End::Nobody)
                }
                _ => {
                    let stream = self.node(host).accept(now, discovery_address(index));
                    stream.map(|stream| End::Node { host, stream, resume: false, serves: true })
                }
            }
        } else {
            let there = |fake: &usize| fake_address(*fake) == remote && !self.fakes_refuse;
            let fake = (0..self.fakes.len()).find(there);
            fake.map(|fake| End::Fake(fake, HttpConn::server(), Vec::new()))
        };
        let open = there.is_some();
        let quick = !open && self.takes.is_some();
        let at = self.now + self.latency + if quick { Duration::ZERO } else { self.latency };
        let here = End::Node { host: index, stream, resume: false, serves: false };
        let reset = matches!(there, Some(End::Nobody)).then_some(at + self.latency);
        let mut conn = Conn::new(here, there.unwrap_or(End::Nobody), Some((at, open)));
        conn.pipes[1].reset = reset;
        self.conns.push(conn);
    }

    /// Connections that a node serves others on.
    fn served_by(&self, host: usize) -> usize {
        let is =
            |conn: &&Conn| matches!(conn.ends[1], End::Node { host: it, serves: true, .. } if it == host);
        self.conns.iter().filter(is).count()
    }

    fn find(&mut self, index: usize, id: StreamId) -> Option<(&mut Conn, usize)> {
        self.conns.iter_mut().find_map(|conn| {
            let is =
                |end: &End| matches!(end, End::Node { host, stream, .. } if *host == index && *stream == id);
            let side = conn.ends.iter().position(is)?;
            Some((conn, side))
        })
    }

    fn test_conn(&mut self, id: u64) -> Option<&mut Conn> {
        self.conns.iter_mut().find(|conn| matches!(conn.ends[0], End::Test(other) if other == id))
    }

    fn send_datagram(&mut self, from: SocketAddr, to: Option<SocketAddr>, data: &[u8]) {
        self.sent += 1;
        let at = self.now + self.latency;
        let hosts = (0..self.hosts.len()).map(|host| (discovery_address(host), To::Host(host)));
        let fakes = (0..self.fakes.len())
            .map(|fake| (SocketAddr::new(fake_address(fake).ip(), 3_702), To::Fake(fake)));
        let mut known = false;
        for (address, receiver) in hosts.chain(fakes) {
            if address == from || to.is_some_and(|to| to != address) {
                continue;
            }
            known = true;
            let times = match receiver {
                To::Host(host) => (self.datagram_hook)(self.sent, host),
                To::Fake(_) => 1,
            };
            for _ in 0..times {
                self.datagrams.push((at, self.sent, from, receiver, data.to_vec()));
            }
        }
        if let (false, Some(to)) = (known, to) {
            self.outside.push((to, data.to_vec()));
        }
    }

    fn deliver_datagrams(&mut self) -> bool {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.datagrams).into_iter().partition(|(at, ..)| *at <= self.now);
        self.datagrams = later;
        let acted = !due.is_empty();
        for (_, _, from, to, data) in due {
            match to {
                To::Host(host) => {
                    self.hosts[host].handle_input(self.now, Input::Datagram { from, data: &data });
                }
                To::Fake(fake) => {
                    let Fake { discovery, rng, claims, claimed, .. } = &mut self.fakes[fake];
                    let address = claimed.unwrap_or(fake_address(fake)).ip();
                    discovery.set_addresses(&[Subnet { address, prefix: 0 }]);
                    // As who has all blocks of a segment, however many those are.
                    let mut have = |id: &SegmentId| if claims.contains(id) { SEGMENT_BLOCKS } else { 0 };
                    if let Ok(Message::Probe(probe)) = parse(&data) {
                        discovery.handle_probe(self.now, rng, from, &probe, &mut have);
                    }
                }
            }
        }
        acted
    }

    fn fakes_answer(&mut self) -> bool {
        let (mut acted, mut buf) = (false, vec![0; 4_096]);
        for index in 0..self.fakes.len() {
            let port = self.fakes[index].claimed.unwrap_or(fake_address(index)).port();
            while let Some((to, len)) = self.fakes[index].discovery.poll_transmit(self.now, port, &mut buf) {
                let from = SocketAddr::new(fake_address(index).ip(), 3_702);
                self.send_datagram(from, Some(to), &buf[..len]);
                acted = true;
            }
        }
        acted
    }

    /// Moves what one connection carries on.
    fn move_bytes(&mut self, index: usize) -> bool {
        let Self { now, hosts, fakes, origin, conns, latency, chunk, window, reads_nothing, inboxes, .. } =
            self;
        let (now, at) = (*now, *now + *latency);
        let conn = &mut conns[index];
        let mut acted = false;
        if let Some((_, open)) = conn.answer.take_if(|(at, _)| *at <= now) {
            acted = true;
            if let End::Node { host, stream, .. } = &conn.ends[0] {
                let input = match open {
                    true => Input::Connected { stream: *stream },
                    false => Input::Lost { stream: *stream },
                };
                hosts[*host].handle_input(now, input);
            }
            if !open {
                conn.dead = true;
                return true;
            }
        }
        if conn.answer.is_some() {
            return acted;
        }
        for side in 0..2 {
            acted |= conn.pipes[side].arrive(now);
            let other = 1 - side;
            // What has come to `other`.
            let Conn { ends, pipes, .. } = conn;
            let (from, to) = match side {
                0 => {
                    let [from, to] = pipes;
                    (from, to)
                }
                _ => {
                    let [to, from] = pipes;
                    (from, to)
                }
            };
            if from.reset.is_some_and(|at| at <= now) {
                if let End::Node { host, stream, .. } = &ends[other] {
                    hosts[*host].handle_input(now, Input::Lost { stream: *stream });
                }
                conn.dead = true;
                return true;
            }
            match &mut ends[other] {
                End::Node { host, stream, resume, .. } => {
                    let again = std::mem::take(resume) | std::mem::take(&mut from.fresh);
                    if again && !from.arrived.is_empty() {
                        let input = Input::Data { stream: *stream, data: &from.arrived };
                        let used = hosts[*host].handle_input(now, input);
                        from.arrived.drain(..used);
                        acted = true;
                    }
                    if from.is_at_end(now) && !std::mem::replace(&mut from.eof_told, true) {
                        hosts[*host].handle_input(now, Input::Eof { stream: *stream });
                        acted = true;
                    }
                }
                End::Origin(session) => {
                    let bytes = std::mem::take(&mut from.arrived);
                    if !bytes.is_empty() && !to.closing {
                        let (reply, close) = session.handle(origin, &bytes);
                        to.backlog.extend(reply);
                        to.closing |= close;
                        acted = true;
                    }
                    if from.is_at_end(now) && !std::mem::replace(&mut from.eof_told, true) {
                        to.closing = true;
                        acted = true;
                    }
                }
                End::Fake(fake, http, question) => {
                    let bytes = std::mem::take(&mut from.arrived);
                    acted |= fakes[*fake].handle(http, question, &bytes, to);
                    if from.is_at_end(now) && !std::mem::replace(&mut from.eof_told, true) {
                        to.closing = true;
                        acted = true;
                    }
                }
                End::Test(id) => {
                    if !*reads_nothing && !from.arrived.is_empty() {
                        inboxes.entry(*id).or_default().append(&mut from.arrived);
                        acted = true;
                    }
                    if from.is_at_end(now) && !std::mem::replace(&mut from.eof_told, true) {
                        to.closing = true;
                        acted = true;
                    }
                }
                End::Nobody => {
                    from.arrived.clear();
                    from.eof_told |= from.is_at_end(now);
                }
            }
        }
        for side in 0..2 {
            let Conn { ends, pipes, .. } = conn;
            let pipe = &mut pipes[side];
            if let End::Node { host, stream, serves, .. } = &ends[side]
                && !pipe.closing
            {
                let host = &mut hosts[*host];
                let room = window.saturating_sub(pipe.in_flight + pipe.arrived.len()).min(*chunk);
                let mut buf = vec![0; room];
                if room > 0 {
                    match host.node.poll_stream(now, *stream, &mut buf) {
                        Ok(0) => {}
                        Ok(len) => {
                            host.touched = true;
                            let bytes = &mut buf[..len];
                            if let (Some(tamper), true) = (host.tamper, *serves) {
                                for (offset, byte) in (pipe.total..).zip(bytes.iter_mut()) {
                                    *byte ^= tamper(offset);
                                }
                            }
                            pipe.push(bytes, at, *chunk, usize::MAX);
                            acted = true;
                        }
                        Err(_) => {
                            host.touched = true;
                            pipe.reset = Some(at);
                            conn.ends[side] = End::Nobody;
                            return true;
                        }
                    }
                }
            }
            acted |= pipe.send_backlog(at, *chunk, *window);
        }
        acted
    }
}

impl Conn {
    fn new(here: End, there: End, answer: Option<(Instant, bool)>) -> Self {
        Self { ends: [here, there], pipes: Default::default(), answer, dead: false }
    }

    fn is_over(&self) -> bool {
        let nobody = |end: &End| matches!(end, End::Nobody);
        let said = |pipe: &Pipe| pipe.eof_told || pipe.reset.is_some();
        self.dead
            || (self.ends.iter().all(nobody) && self.pipes.iter().all(|pipe| pipe.reset.is_none()))
            || self.pipes.iter().all(|pipe| said(pipe) && pipe.arrived.is_empty() && pipe.reset.is_none())
    }

    fn wake_ups(&self) -> impl Iterator<Item = Instant> + '_ {
        let pipes = self.pipes.iter().flat_map(|pipe| {
            let next = pipe.flight.front().map(|(at, _)| *at);
            next.into_iter().chain(pipe.fin).chain(pipe.reset)
        });
        pipes.chain(self.answer.map(|(at, _)| at))
    }
}

impl Pipe {
    fn push(&mut self, bytes: &[u8], at: Instant, chunk: usize, window: usize) {
        for piece in bytes.chunks(chunk.min(window).max(1)) {
            self.flight.push_back((at, piece.to_vec()));
            self.in_flight += piece.len();
            self.total += piece.len() as u64;
        }
    }

    fn arrive(&mut self, now: Instant) -> bool {
        let mut arrived = false;
        while self.flight.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, bytes)) = self.flight.pop_front() else { break };
            self.in_flight -= bytes.len();
            self.arrived.extend(bytes);
            (self.fresh, arrived) = (true, true);
        }
        arrived
    }

    fn send_backlog(&mut self, at: Instant, chunk: usize, window: usize) -> bool {
        let mut sent = false;
        while !self.backlog.is_empty() && self.in_flight + self.arrived.len() < window {
            let room = window - self.in_flight - self.arrived.len();
            let len = self.backlog.len().min(chunk).min(room);
            let bytes: Vec<u8> = self.backlog.drain(..len).collect();
            self.push(&bytes, at, chunk, window);
            sent = true;
        }
        if self.closing && self.backlog.is_empty() && self.fin.is_none() {
            self.fin = Some(at);
            sent = true;
        }
        sent
    }

    /// The end has come, and everything before it was used.
    fn is_at_end(&self, now: Instant) -> bool {
        self.fin.is_some_and(|at| at <= now) && self.flight.is_empty() && self.arrived.is_empty()
    }
}

impl Fake {
    fn handle(
        &mut self,
        http: &mut HttpConn,
        question: &mut Vec<u8>,
        mut bytes: &[u8],
        to: &mut Pipe,
    ) -> bool {
        let acted = !bytes.is_empty();
        while !bytes.is_empty() {
            let (used, event) = http.handle(bytes);
            bytes = &bytes[used..];
            if let Ok(Some(HttpEvent::Body(body))) = event {
                question.extend_from_slice(body);
            }
            if !bytes.is_empty() {
                continue;
            }
            if let (_, Ok(Some(HttpEvent::End))) = http.handle(&[]) {
                self.asked += 1;
                match (self.script)(question) {
                    Act::Silence => {}
                    Act::Send(bytes) => to.backlog.extend(bytes),
                    Act::SendAndClose(bytes) => {
                        to.backlog.extend(bytes);
                        to.closing = true;
                    }
                }
                question.clear();
                let _ = http.next_exchange();
            }
        }
        acted
    }
}

impl Host {
    /// Whether reads of a content can begin.
    pub fn is_ready(&self, content: ContentHandle) -> bool {
        self.node.is_ready(content) == Ok(true)
    }

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        self.touched = true;
        self.node.handle_input(now, input)
    }

    fn seen(&mut self, id: DownloadId) -> &mut Seen {
        let (_, ours) = self.current.iter().find(|(other, _)| *other == id).expect("it was begun");
        self.downloads.get_mut(ours).expect("it was begun")
    }
}

impl Seen {
    /// Whether the download has ended.
    pub fn is_over(&self) -> bool {
        let over =
            |event: &DownloadEvent| matches!(event, DownloadEvent::Done { .. } | DownloadEvent::Failed(_));
        self.events.last().is_some_and(|(_, event)| over(event))
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if self.data.len() < end {
            self.data.resize(end, 0);
            self.times.resize(end, 0);
        }
        self.data[start..end].copy_from_slice(bytes);
        self.times[start..end].iter_mut().for_each(|times| *times += 1);
    }
}

/// Memory for so many full blocks, and so many bytes of content information.
pub fn memory(blocks: usize, info_bytes: usize) -> RamStore<Vec<Page>, Vec<Entry>, Vec<u8>> {
    let pages = vec![Page::EMPTY; blocks * BLOCK_PAGES];
    RamStore::new(pages, vec![Entry::EMPTY; blocks], vec![0; info_bytes])
}

/// Where a node serves blocks.
pub fn host_address(index: usize) -> SocketAddr {
    ([10, 0, 0, index as u8 + 1], 80).into()
}

/// Where a scripted peer claims to serve blocks.
pub fn fake_address(index: usize) -> SocketAddr {
    ([10, 0, 1, index as u8 + 1], 80).into()
}

fn discovery_address(index: usize) -> SocketAddr {
    SocketAddr::new(host_address(index).ip(), 3_702)
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
