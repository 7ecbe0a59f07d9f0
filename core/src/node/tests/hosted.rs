//! A client offers what it has, a hosted cache gets it, and another client has it from there.

extern crate std;

mod bad_clients;

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use super::super::{
    Config, ContentHandle, HostedCache, Input, Node, Output, Service, Serving, SocketAddr, StreamId,
};
use crate::api::client::ReadResult;
use crate::content::{Info, Segment, SegmentId};
use crate::crypto::{HashAlgorithm, SoftCrypto};
use crate::fetch::Source;
use crate::hosted::client::Place;
use crate::hosted::server::{Application as By, Counters, Rules};
use crate::hosted::wire::{Descriptor, MessageType, OPENING_BYTES, Opening, Version};
use crate::store::ram::{BLOCK_PAGES, Entry, Page, RamStore};
use crate::store::{BlockId, Store};
use crate::tests::{Fixed, published_v1};
use crate::time::{Duration, Instant};

type TestStore = RamStore<Vec<Page>, Vec<Entry>, Vec<u8>>;
type Client<P> = Node<TestStore, SoftCrypto, Fixed, 8, 4, 0, P>;
type Cache = Node<TestStore, SoftCrypto, Fixed, 8, 4, 0, HostedCache<8, 2>>;

const NOW: Instant = Instant::from_millis(1_000);
const CACHE: usize = 0;
const OFFERS: usize = 1;
const READS: usize = 2;

/// The port of connections that are secured.
const TLS: u16 = 443;

/// Any node, on our network.
trait Machine {
    fn input(&mut self, now: Instant, input: Input<'_>) -> usize;
    fn output<'b>(&mut self, now: Instant, buf: &'b mut [u8]) -> Option<Output<'b>>;
    fn stream(&mut self, now: Instant, id: StreamId, buf: &mut [u8]) -> usize;
    fn admit(&mut self, now: Instant, from: SocketAddr, secured: bool) -> Option<StreamId>;
    fn wakes(&self, now: Instant) -> Option<Instant>;
}

impl<P: Service> Machine for Node<TestStore, SoftCrypto, Fixed, 8, 4, 0, P> {
    fn input(&mut self, now: Instant, input: Input<'_>) -> usize {
        self.handle_input(now, input)
    }

    fn output<'b>(&mut self, now: Instant, buf: &'b mut [u8]) -> Option<Output<'b>> {
        self.poll_output(now, buf)
    }

    fn stream(&mut self, now: Instant, id: StreamId, buf: &mut [u8]) -> usize {
        self.poll_stream(now, id, buf).unwrap()
    }

    fn admit(&mut self, now: Instant, from: SocketAddr, secured: bool) -> Option<StreamId> {
        if secured { self.accept_secured(now, from) } else { self.accept(now, from) }
    }

    fn wakes(&self, now: Instant) -> Option<Instant> {
        self.poll_timeout(now)
    }
}

fn address(node: usize) -> SocketAddr {
    ([10, 0, 0, node as u8 + 1], 80).into()
}

fn config() -> Config {
    with_caches(&[Place::v2(address(CACHE))])
}

fn with_caches(places: &[Place]) -> Config {
    Config { distributed: false, hosted_caches: places.iter().copied().collect(), ..Config::default() }
}

fn store(blocks: usize) -> TestStore {
    RamStore::new(vec![Page::EMPTY; blocks * BLOCK_PAGES], vec![Entry::EMPTY; blocks], vec![0; 1 << 16])
}

struct Office<P: Service = Serving> {
    now: Instant,
    cache: Box<Cache>,
    clients: [Box<Client<P>>; 2],
    /// Connections: their ends, each a node and its name for it; who opened it comes first.
    streams: Vec<[(usize, StreamId); 2]>,
    /// What becomes of what a client answers to the hosted cache.
    trick: Option<(usize, Trick)>,
}

/// What becomes of an answer.
#[derive(Clone, Copy)]
enum Trick {
    /// A bit of each long piece is another one.
    Garble,
    /// The connection breaks in the middle of it, so many times.
    Break(u8),
    /// It is that instead.
    Say(&'static [u8]),
}

impl Office {
    fn new() -> Self {
        Self::with_room(8)
    }

    /// With a hosted cache of so many blocks.
    fn with_room(blocks: usize) -> Self {
        Self::with_config(config(), blocks)
    }
}

impl<P: Service> Office<P> {
    /// The same, with clients that are set up so.
    fn with_config(clients: Config, blocks: usize) -> Self {
        let client = || Box::new(Client::new(clients.clone(), store(8), SoftCrypto, Fixed(7)));
        let cache = Box::new(Cache::new(config(), store(blocks), SoftCrypto, Fixed(5)));
        Self { now: NOW, cache, clients: [client(), client()], streams: Vec::new(), trick: None }
    }

    fn node(&mut self, at: usize) -> &mut dyn Machine {
        match at.checked_sub(1) {
            None => &mut *self.cache,
            Some(client) => &mut *self.clients[client],
        }
    }

    fn counters(&mut self) -> Counters {
        self.cache.hosted().unwrap().counters
    }

    fn act(&mut self, at: usize) -> bool {
        let now = self.now;
        let mut buf = vec![0; 4_096];
        let mut moved = false;
        while let Some(output) = self.node(at).output(now, &mut buf) {
            moved = true;
            match output {
                Output::Connect { stream, remote, .. } => {
                    let other = (0..3).find(|other| address(*other).ip() == remote.ip());
                    let secured = remote.port() == TLS;
                    let other = other.filter(|_| secured || remote.port() == address(0).port());
                    let from = SocketAddr::new(address(at).ip(), 40_000);
                    match other.and_then(|other| Some((other, self.node(other).admit(now, from, secured)?))) {
                        Some(theirs) => {
                            self.streams.push([(at, stream), theirs]);
                            self.node(at).input(now, Input::Connected { stream });
                        }
                        None => {
                            self.node(at).input(now, Input::Lost { stream });
                        }
                    }
                }
                Output::Close { stream } | Output::Abort { stream } => self.lose(at, stream),
                Output::Datagram { .. } => panic!("nobody is looked for"),
                _ => {}
            }
        }
        moved |= self.node(at).wakes(now) == Some(now);
        for ends in self.streams.clone() {
            let Some((_, ours)) = ends.iter().find(|(node, _)| *node == at).copied() else { continue };
            let (other, theirs) = ends.into_iter().find(|(node, _)| *node != at).unwrap();
            let mut sent = self.node(at).stream(now, ours, &mut buf);
            match &mut self.trick {
                Some((client, trick)) if *client == at && sent > 0 && ends[0].0 == CACHE => match trick {
                    Trick::Garble if sent == buf.len() => buf[sent / 2] ^= 1,
                    Trick::Break(left @ 1..) => {
                        *left -= 1;
                        self.node(other).input(now, Input::Data { stream: theirs, data: &buf[..sent / 2] });
                        self.lose(at, ours);
                        self.node(at).input(now, Input::Lost { stream: ours });
                        continue;
                    }
                    Trick::Say(answer) => {
                        sent = answer.len();
                        buf[..sent].copy_from_slice(answer);
                    }
                    Trick::Garble | Trick::Break(_) => {}
                },
                _ => {}
            }
            let mut rest = &buf[..sent];
            while !rest.is_empty() {
                moved = true;
                let used = self.node(other).input(now, Input::Data { stream: theirs, data: rest });
                rest = &rest[used..];
            }
        }
        moved
    }

    fn lose(&mut self, at: usize, stream: StreamId) {
        let now = self.now;
        let Some(index) = self.streams.iter().position(|ends| ends.contains(&(at, stream))) else { return };
        let ends = self.streams.remove(index);
        let (other, theirs) = ends.into_iter().find(|(node, _)| *node != at).unwrap();
        self.node(other).input(now, Input::Lost { stream: theirs });
    }

    /// Lets everybody act for so many seconds.
    fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            while (0..3).any(|at| self.act(at)) {}
            let now = self.now;
            let wakes = (0..3).filter_map(|at| self.node(at).wakes(now)).filter(|at| *at > now).min();
            match wakes.filter(|at| *at <= end) {
                Some(at) => self.now = at,
                None => break,
            }
        }
        self.now = end;
    }

    /// Sends a message to the hosted cache, and returns the status of its answer and the body.
    fn send(&mut self, path: &str, secured: bool, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
        self.send_from(address(OFFERS), path, secured, message)
    }

    fn send_from(
        &mut self,
        client: SocketAddr,
        path: &str,
        secured: bool,
        message: &[u8],
    ) -> (Vec<u8>, Vec<u8>) {
        let now = self.now;
        let stream = self.cache.admit(now, client, secured).unwrap();
        let head =
            std::format!("POST {path} HTTP/1.1\r\nHost: cache\r\nContent-Length: {}\r\n\r\n", message.len());
        for piece in head.as_bytes().chunks(11).chain(message.chunks(100)) {
            assert_eq!(self.cache.input(now, Input::Data { stream, data: piece }), piece.len());
        }
        let (mut reply, mut room) = (Vec::new(), [0; 3]);
        loop {
            match self.cache.stream(now, stream, &mut room) {
                0 => break,
                len => reply.extend_from_slice(&room[..len]),
            }
        }
        self.cache.input(now, Input::Lost { stream });
        let end = reply.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        (reply[9..12].to_vec(), reply[end + 4..].to_vec())
    }

    /// A client's content, with all its blocks.
    fn fill(&mut self, client: usize, content: &[u8]) {
        let handle = self.open(client, content);
        let node = &mut self.clients[client - 1];
        let mut at = 0;
        while at < content.len() {
            at += node.add_data(handle, at as u64, &content[at..]).unwrap().0;
        }
        node.close_content(handle).unwrap();
    }

    fn open(&mut self, client: usize, content: &[u8]) -> ContentHandle {
        let node = &mut self.clients[client - 1];
        let handle = node.open_content([0; 16]).unwrap();
        node.add_content_information(handle, &published_v1(content)).unwrap();
        node.complete_content_information(handle).unwrap();
        let mut buf = [0; 2_048];
        while !node.is_ready(handle).unwrap() {
            assert!(node.poll_output(self.now, &mut buf).is_none());
        }
        handle
    }

    /// Reads the first block of a content; where it came from, and whether it is right.
    fn read(&mut self, client: usize, content: &[u8]) -> Option<Source> {
        let handle = self.open(client, content);
        let now = self.now;
        let node = &mut self.clients[client - 1];
        let read = node.block_read(now, handle, 0, 1 << 16, Duration::from_secs(5)).unwrap();
        self.run(6);
        let node = &mut self.clients[client - 1];
        let completion = node.poll_completion().unwrap();
        let source = match completion.result {
            ReadResult::Data { source, range } => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                assert_eq!(node.copy_read(read, 0, &mut bytes), Ok(bytes.len()));
                assert_eq!(bytes, content[..bytes.len()]);
                Some(source)
            }
            _ => None,
        };
        node.end_read(read);
        node.close_content(handle).unwrap();
        source
    }
}

fn content() -> Vec<u8> {
    (0..150_000u32).map(|n| (n * 7 + n / 300) as u8).collect()
}

fn segment(content: &[u8]) -> (Segment, SegmentId) {
    let info = published_v1(content);
    let source = info.as_slice();
    let segment = Info::parse(&source).unwrap().segment(&source, 0).unwrap();
    let id = segment.id(&mut SoftCrypto);
    (segment, id)
}

fn message(version: Version, kind: MessageType, port: u16, behind: &[u8]) -> Vec<u8> {
    let mut opening = [0; OPENING_BYTES];
    Opening::new(version, kind, port).emit(&mut crate::bytes::Writer::new(&mut opening)).unwrap();
    [&opening[..], behind].concat()
}

fn batch(port: u16, content: &[u8]) -> Vec<u8> {
    let (segment, id) = segment(content);
    let descriptor = Descriptor {
        block_bytes: segment.block_bytes(),
        segment_bytes: segment.byte_len(),
        tag: *b"WinINet\0\0\0\0\0\0\0\0\0",
        algorithm: HashAlgorithm::Sha256,
        segment: id.as_bytes().try_into().unwrap(),
    };
    let mut room = [0; 64];
    let mut writer = crate::bytes::Writer::new(&mut room);
    descriptor.emit(&mut writer).unwrap();
    message(Version::V2, MessageType::BatchedOffer, port, writer.finish())
}

fn described(port: u16, content: &[u8]) -> Vec<u8> {
    let info = [&[0; 16][..], &published_v1(content)].concat();
    message(Version::V1, MessageType::SegmentInfo, port, &info)
}

fn ok() -> (Vec<u8>, Vec<u8>) {
    (b"200".to_vec(), vec![0, 0, 0, 1, 0])
}

mod offering;

/// MS-PCHC 3.1.5.3, fact 47: without keys, what is offered is kept as it comes, and handed out so.
#[test]
fn version_2() {
    let content = content();
    let mut office = Office::new();
    office.fill(OFFERS, &content);
    assert_eq!(office.send(Version::V2.path(), false, &batch(80, &content)), ok());
    office.run(2);
    let counters = office.counters();
    assert_eq!((counters.blocks, counters.bytes[By::WinInet as usize]), (3, 150_000));
    // It is no block that a peer would hand out.
    let (_, id) = segment(&content);
    for index in 0..3 {
        assert!(office.cache.storage().find(&BlockId { segment: id, index }).is_none());
    }
    assert_eq!(office.read(READS, &content), Some(Source::HostedCache(address(CACHE))));
    // Offered again, nothing is asked for.
    let asked = office.cache.counters().fetch.asked;
    assert_eq!(office.send(Version::V2.path(), false, &batch(80, &content)), ok());
    office.run(2);
    assert_eq!(office.cache.counters().fetch.asked, asked);
}

/// MS-PCHC 3.1.5.1, 3.1.5.2: with its secret, each block is verified before it is kept.
#[test]
fn version_1() {
    let content = content();
    let mut office = Office::new();
    office.fill(OFFERS, &content);
    let (_, id) = segment(&content);
    let initial = message(Version::V1, MessageType::InitialOffer, 80, id.as_bytes());
    let interested = (b"200".to_vec(), vec![0, 0, 0, 1, 1]);
    assert_eq!(office.send(Version::V1.path(), true, &initial), interested);
    assert_eq!(office.send(Version::V1.path(), true, &described(80, &content)), ok());
    office.run(2);
    for index in 0..3 {
        assert!(office.cache.storage().find(&BlockId { segment: id, index }).is_some());
    }
    assert_eq!(office.read(READS, &content), Some(Source::HostedCache(address(CACHE))));
    assert_eq!(office.send(Version::V1.path(), true, &initial), ok());
}

/// 2.1, fact 45: each version at its own URL, over its own transport; anything else is dropped (3.1.5.4).
#[test]
fn each_version_has_its_url() {
    let content = content();
    let (v1, v2) = (described(80, &content), batch(80, &content));
    let mut office = Office::new();
    let empty = |status: &[u8]| (status.to_vec(), vec![]);
    for (path, secured, message, status) in [
        (Version::V1.path(), false, &v1, b"404"),
        (Version::V2.path(), true, &v2, b"404"),
        (Version::V1.path(), true, &v2, b"400"),
        (Version::V2.path(), false, &v1, b"400"),
        ("/", false, &v2, b"404"),
    ] {
        assert_eq!(office.send(path, secured, message), empty(status), "{path} {secured}");
    }
    // Nor is there a URL of a version that is not taken.
    office.cache.hosted().unwrap().rules = Rules { v1: false, v2: false, trusts: false };
    for (version, message) in [(Version::V1, &v1), (Version::V2, &v2)] {
        assert_eq!(office.send(version.path(), version == Version::V1, message), empty(b"404"));
    }
    office.cache.hosted().unwrap().rules = Rules::default();
    let path = std::format!("http://cache{}/", Version::V2.path().to_uppercase());
    assert_eq!(office.send(&path, false, &v2), ok());
    assert_eq!(office.counters().dropped, 2);
    // A peer is no hosted cache.
    let from = address(READS);
    let stream = office.clients[0].admit(NOW, from, false).unwrap();
    let head = std::format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", Version::V2.path());
    office.clients[0].input(NOW, Input::Data { stream, data: head.as_bytes() });
    let mut room = [0; 100];
    office.clients[0].stream(NOW, stream, &mut room);
    assert!(room.starts_with(b"HTTP/1.1 404"));
}

/// A client that nobody can reach is told of by name; one that has nothing is left alone.
#[test]
fn clients_that_do_not_serve() {
    let content = content();
    let mut office = Office::new();
    assert_eq!(office.send(Version::V2.path(), false, &batch(81, &content)), ok());
    office.run(3);
    assert_eq!(office.counters().given_up, 0, "one attempt is none");
    office.run(5);
    let state = office.cache.hosted().unwrap();
    assert_eq!(state.poll_unreachable(), Some(SocketAddr::new(address(OFFERS).ip(), 81)));
    assert_eq!(state.counters.given_up, 1);
    assert_eq!(office.send(Version::V2.path(), false, &batch(80, &content)), ok());
    office.run(40);
    let state = office.cache.hosted().unwrap();
    assert_eq!((state.poll_unreachable(), state.counters.blocks), (None, 0));
    assert_eq!(office.read(READS, &content), None);
}

/// Content information that lies gets nothing into the cache: the client's bytes are not those of the hashes.
#[test]
fn other_bytes_than_it_hashed() {
    let (content, other) = (content(), vec![5; 150_000]);
    let mut office = Office::new();
    office.fill(OFFERS, &content);
    // The hashes are those of other bytes, and the secret is that of their segment: the id is another one, and
    // nobody has it.
    assert_eq!(office.send(Version::V1.path(), true, &described(80, &other)), ok());
    office.run(40);
    assert_eq!(office.counters().blocks, 0);
    let mut lie = described(80, &content);
    *lie.last_mut().unwrap() ^= 1;
    assert_eq!(office.send(Version::V1.path(), true, &lie), ok());
    office.run(40);
    assert_eq!((office.counters().lies, office.counters().blocks), (1, 0));
}

/// A store that is full of other things gives way, block by block, and what is asked for is there.
#[test]
fn more_than_there_is_room_for() {
    let mut office = Office::with_room(4);
    for number in 0..4u8 {
        let content: Vec<u8> = content().iter().map(|byte| byte ^ number).collect();
        office.fill(OFFERS, &content);
        assert_eq!(office.send(Version::V2.path(), false, &batch(80, &content)), ok());
        office.run(3);
        assert_eq!(office.read(READS, &content), Some(Source::HostedCache(address(CACHE))));
    }
    assert_eq!(office.counters().blocks, 12);
}
