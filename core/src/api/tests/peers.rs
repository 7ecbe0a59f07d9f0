//! Reads that ask peers: two nodes, and a network between them.

use super::client::*;
use super::*;
use crate::discovery::Subnet;
use crate::node::{Input, StreamId};
use crate::time::Duration;
use core::net::{IpAddr, SocketAddr};
use std::boxed::Box;

/// A consumer and a peer that share a link.
pub(super) struct Link {
    pub(super) now: Instant,
    pub(super) nodes: [Box<ClientNode>; 2],
    /// Connections: which node has it by which name.
    streams: Vec<[Option<StreamId>; 2]>,
    /// How long a datagram takes.
    delay: Duration,
    datagrams: Vec<(Instant, usize, SocketAddr, Vec<u8>)>,
}

fn address(node: usize) -> IpAddr {
    [10, 0, 0, node as u8 + 1].into()
}

impl Link {
    pub(super) fn new(delay: Duration) -> Self {
        let nodes = [0, 1].map(|n| {
            let mut node: Box<ClientNode> = Box::new(node_of(1 << 16, 8));
            node.set_addresses(&[Subnet { address: address(n), prefix: 24 }]);
            node
        });
        Self { now: NOW, nodes, streams: Vec::new(), delay, datagrams: Vec::new() }
    }

    /// Lets everybody act at this time.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            let mut moved = false;
            for at in 0..2 {
                moved |= self.act(at);
            }
            if !moved {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn act(&mut self, at: usize) -> bool {
        let (now, other) = (self.now, 1 - at);
        let mut moved = false;
        let mut buf = [0; 4_096];
        while let Some(due) = self.datagrams.iter().position(|(when, to, ..)| *when <= now && *to == at) {
            let (_, _, from, data) = self.datagrams.remove(due);
            self.nodes[at].handle_input(now, Input::Datagram { from, data: &data });
            moved = true;
        }
        while let Some(output) = self.nodes[at].poll_output(now, &mut buf) {
            moved = true;
            match output {
                Output::Datagram { data, .. } => {
                    let from = SocketAddr::new(address(at), 3_702);
                    self.datagrams.push((now + self.delay, other, from, data.to_vec()));
                }
                Output::Connect { stream, remote, .. } => {
                    assert_eq!(remote.ip(), address(other));
                    let from = SocketAddr::new(address(at), 40_000);
                    let theirs = self.nodes[other].accept(now, from).unwrap();
                    let mut ends = [None; 2];
                    (ends[at], ends[other]) = (Some(stream), Some(theirs));
                    self.streams.push(ends);
                    self.nodes[at].handle_input(now, Input::Connected { stream });
                }
                Output::Close { stream } | Output::Abort { stream } => {
                    let ends = self.streams.iter().position(|ends| ends[at] == Some(stream)).unwrap();
                    if let Some(theirs) = self.streams.remove(ends)[other] {
                        self.nodes[other].handle_input(now, Input::Lost { stream: theirs });
                    }
                }
                _ => {}
            }
        }
        moved |= self.nodes[at].poll_timeout(now) == Some(now);
        for index in 0..self.streams.len() {
            let Some([Some(ours), Some(theirs)]) =
                self.streams.get(index).map(|ends| [ends[at], ends[other]])
            else {
                continue;
            };
            let sent = self.nodes[at].poll_stream(now, ours, &mut buf).unwrap();
            let mut rest = &buf[..sent];
            while !rest.is_empty() {
                moved = true;
                let used = self.nodes[other].handle_input(now, Input::Data { stream: theirs, data: rest });
                rest = &rest[used..];
            }
        }
        moved
    }

    /// Until an operation has ended; its completion, and how long it took.
    pub(super) fn until_end(&mut self, at: usize) -> (Completion, Duration) {
        let since = self.now;
        loop {
            self.settle();
            if let Some(completion) = self.nodes[at].api().poll_operation() {
                return (completion, self.now.since(since));
            }
            let wakes = self.nodes.iter().filter_map(|node| node.poll_timeout(self.now));
            let next = wakes.chain(self.datagrams.iter().map(|(when, ..)| *when)).min();
            self.now = next.expect("somebody waits").max(self.now + Duration::from_micros(1));
        }
    }

    /// One of them opens the content, in an instance of its own.
    pub(super) fn open(&mut self, at: usize, bytes: &[u8], version: Version) -> ContentHandle {
        let node = &mut self.nodes[at];
        let instance = start(node);
        open_content(node, instance, &expected(bytes, version))
    }

    /// Both open the content; the peer has all of it.
    pub(super) fn share(&mut self, bytes: &[u8], version: Version) -> ContentHandle {
        let contents = [0, 1].map(|at| self.open(at, bytes, version));
        add_data(&mut self.nodes[1], contents[1], 0, bytes);
        contents[0]
    }
}

#[test]
fn conformance_41_a_peer_has_it() {
    let bytes = random(100_000);
    for version in [Version::V1, Version::V2] {
        let mut link = Link::new(Duration::from_millis(1));
        let content = link.share(&bytes, version);
        let now = link.now;
        let operation = link.nodes[0]
            .api()
            .block_read(now, content, 100, 50_000, Patience::from_millis(0xffff_fffe))
            .unwrap();
        let (completion, _) = link.until_end(0);
        assert_eq!((completion.operation, completion.code()), (operation, Code::Success));
        assert_eq!((completion.offset(), completion.bytes()), (Some(100), 50_000));
        let mut buf = std::vec![0; 50_000];
        assert_eq!(link.nodes[0].api().copy_read(operation, 0, &mut buf), Ok(50_000));
        assert_eq!(buf, bytes[100..50_100]);
        link.nodes[0].api().end_read(operation);
        // It is here now.
        assert!(bytes_at(&mut link.nodes[0], content, 0, 9).is_some());
    }
}

#[test]
fn conformance_42_a_peer_that_is_late_is_a_timeout_with_the_range() {
    let bytes = random(100_000);
    let mut link = Link::new(Duration::from_millis(90));
    let content = link.share(&bytes, Version::V1);
    // Peers may have what is behind the block: nobody has asked.
    for (is_stream, start, len) in [(false, 7, 65_529), (true, 0, 65_536), (true, 65_536, 34_464)] {
        let now = link.now;
        let timeout = Patience::from_millis(50);
        match is_stream {
            false => link.nodes[0].api().block_read(now, content, 7, 10, timeout).unwrap(),
            true => link.nodes[0].api().stream_read(now, content, 10, timeout).unwrap(),
        };
        let (completion, took) = link.until_end(0);
        assert_eq!(completion.code(), Code::Timeout);
        assert_eq!((completion.offset(), completion.bytes()), (Some(start), len));
        assert_eq!(took, Duration::from_millis(50));
    }
    // The holes are behind the stream.
    let now = link.now;
    link.nodes[0].api().stream_read(now, content, 10, Patience::from_millis(0xffff_fffe)).unwrap();
    assert_eq!(link.until_end(0).0.code(), Code::NoMore);
}

/// What another handle has begun, and does not go on with, is in nobody's way.
#[test]
fn what_another_content_left_unfinished_is_fetched() {
    let bytes = random(100_000);
    for version in [Version::V1, Version::V2] {
        let mut link = Link::new(Duration::from_millis(1));
        let content = link.share(&bytes, version);
        let other = link.open(0, &bytes, version);
        add_data(&mut link.nodes[0], other, 0, &bytes[..1_000]);
        link.settle();
        link.now += Duration::from_secs(2);
        link.settle();
        let now = link.now;
        link.nodes[0].api().block_read(now, content, 0, 10, Patience::Endless).unwrap();
        assert_eq!(link.until_end(0).0.outcome, Outcome::Data { offset: 0, len: 10 }, "{version:?}");
    }
}

/// Nobody has it, and that is known before the time is over.
#[test]
fn what_nobody_has_is_missing() {
    let bytes = random(100_000);
    let mut link = Link::new(Duration::from_millis(1));
    let content = link.open(0, &bytes, Version::V1);
    let now = link.now;
    link.nodes[0].api().block_read(now, content, 0, 10, Patience::Endless).unwrap();
    let (completion, _) = link.until_end(0);
    assert_eq!((completion.code(), completion.bytes()), (Code::MissingData, 65_536));
}

/// A read ends as soon as there is data, wherever that comes from.
#[test]
fn what_is_added_while_peers_are_asked_is_read_at_once() {
    let bytes = random(100_000);
    for version in [Version::V1, Version::V2] {
        let mut link = Link::new(Duration::from_millis(1));
        let content = link.open(0, &bytes, version);
        let now = link.now;
        let read = link.nodes[0].api().block_read(now, content, 5, 10, Patience::Endless).unwrap();
        link.settle();
        assert!(link.nodes[0].api().is_pending(read));
        link.nodes[0].api().add_data(content, 0, &bytes).unwrap();
        link.settle();
        let ended: Vec<_> = core::iter::from_fn(|| link.nodes[0].api().poll_operation()).collect();
        assert_eq!(ended[1].outcome, Outcome::Data { offset: 5, len: 10 });
    }
}

/// A probe of another host, for the segment of a content.
fn probe(rng: &mut Xorshift, version: Version, content: &[u8]) -> Vec<u8> {
    use crate::content::Info;
    use crate::discovery::wire::{ProbeRepr, ProbeV2Repr, Uuid};
    let info = expected(content, version);
    let source = &info.as_slice();
    let segment = Info::parse(source).unwrap().segment(source, 0).unwrap();
    let ids = [segment.id(&mut SoftCrypto)];
    let mut buf = std::vec![0; 2_048];
    let message_id = Uuid::random(rng);
    let len = match version {
        Version::V1 => ProbeRepr { message_id, ids: &ids }.emit(&mut buf),
        Version::V2 => ProbeV2Repr::new(message_id, &ids).unwrap().emit(&mut buf),
    };
    buf.truncate(len.unwrap());
    buf
}

/// Who reads on still knows who was heard a moment ago.
#[test]
fn a_flash_crowd_outlasts_its_segment() {
    let bytes = random(400_000);
    let (mut node, instance) = client();
    node.set_addresses(&[Subnet { address: address(0), prefix: 24 }]);
    let content = open_content(&mut node, instance, &expected(&bytes, Version::V2));
    read(&mut node, content, 0, 1);
    let mut rng = Xorshift(5);
    for host in 2..5 {
        let from = SocketAddr::from(([10, 0, 0, host], 3_702));
        node.handle_input(NOW, Input::Datagram { from, data: &probe(&mut rng, Version::V2, &bytes) });
    }
    read(&mut node, content, 399_999, 1);
    assert!(node.api().information(NOW, content).unwrap().flash_crowd);
}

/// 57, of a single node.
#[test]
fn conformance_57_a_flash_crowd_is_three_others_within_ten_seconds() {
    let bytes = random(30_000);
    for version in [Version::V1, Version::V2] {
        let (mut node, instance) = client();
        node.set_addresses(&[Subnet { address: address(0), prefix: 24 }]);
        let content = open_content(&mut node, instance, &expected(&bytes, version));
        let mut rng = Xorshift(5);
        let mut hear = |node: &mut ClientNode, host: u8, at: u64, what: &[u8]| {
            let from = SocketAddr::from(([10, 0, 0, host], 3_702));
            let data = probe(&mut rng, version, what);
            let now = NOW + Duration::from_secs(at);
            node.handle_input(now, Input::Datagram { from, data: &data });
            node.api().information(now, content).unwrap().flash_crowd
        };
        // Nothing has been read yet: nobody knows what to listen for.
        assert!((2..6).all(|host| !hear(&mut node, host, 0, &bytes)));
        assert_eq!(read(&mut node, content, 0, 1), Outcome::Missing { offset: 0, len: 30_000 });
        assert!(!hear(&mut node, 2, 0, &bytes));
        assert!(!hear(&mut node, 3, 1, &bytes));
        // The same again, ourselves, another network's, another content's.
        assert!(!hear(&mut node, 3, 2, &bytes));
        assert!(!hear(&mut node, 1, 2, &bytes));
        assert!(!hear(&mut node, 4, 2, b"something else"));
        assert!(hear(&mut node, 5, 2, &bytes));
        assert!(node.api().information(NOW + Duration::from_secs(10), content).unwrap().flash_crowd);
        // The first of them is silent for too long, and then another is there.
        assert!(!node.api().information(NOW + Duration::from_millis(10_001), content).unwrap().flash_crowd);
        assert!(hear(&mut node, 6, 11, &bytes));
        node.api().close_content(content).unwrap();
        assert_eq!(node.api().information(NOW, content), Err(ApiError::InvalidHandle));
    }
}
