//! What is around the node: peers and an origin that answer, an application, and who checks.

use std::net::SocketAddr;
use std::sync::OnceLock;

use peerdist_core::api::client::{ContentHandle, ReadId, ReadResult};
use peerdist_core::bytes::Writer;
use peerdist_core::content::v1::Info;
use peerdist_core::content::{Segment, SegmentId};
use peerdist_core::crypto::{CipherAlgorithm, CipherBlock, Crypto, SoftCrypto};
use peerdist_core::discovery::Subnet;
use peerdist_core::discovery::server::Server;
use peerdist_core::discovery::wire::{Message, parse};
use peerdist_core::download::{DownloadEvent, Url};
use peerdist_core::http::conn::{Conn, Event};
use peerdist_core::limits::BLOCK_BYTES;
use peerdist_core::node::{Config, DownloadId, Input, Node, Output, StreamId};
use peerdist_core::retrieval::wire::{Block, GET_BLOCKS_BYTES, GetBlocks, PATH, Reply};
use peerdist_core::store::seal::open_at;
use peerdist_core::store::{BlockId, SlotId, Store};
use peerdist_core::time::{Duration, Instant};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::Piece;
use crate::origin::{Manner, Origin, Session, publish};
use crate::pair::memory;
use crate::shared::Shared;

/// A node as small as it gets.
type SmallNode = Node<Shared, SoftCrypto, ChaCha20Rng, STREAMS, 4>;

const STREAMS: usize = 6;

/// Blocks that it has room for.
const ROOM: usize = 3;

/// Bytes that a full block takes.
const SEALED: u32 = BLOCK_BYTES + 16;

/// Rounds in which a node that is only drained has to come to rest: far more than a content has pieces.
const MAX_ROUNDS: usize = 2_000;

/// Wake-ups after which nothing can be left to wait for.
const MAX_WAKES: usize = 5_000;

const ORIGIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 1)), 80);

/// A content, and what its blocks are.
struct Known {
    content: Vec<u8>,
    info: Vec<u8>,
    id: SegmentId,
    segment: Segment,
}

/// One block, and one and a bit.
fn known() -> &'static [Known; 2] {
    static KNOWN: OnceLock<[Known; 2]> = OnceLock::new();
    KNOWN.get_or_init(|| {
        [1_000, BLOCK_BYTES as usize + 100].map(|len| {
            let content = crate::check::content(len);
            let info = publish(&content);
            let slice = info.as_slice();
            let segment = Info::parse(&slice).unwrap().segment(&slice, 0).unwrap();
            Known { content, id: segment.id(&mut SoftCrypto), segment, info }
        })
    })
}

impl Known {
    fn block(&self, index: u32) -> Option<&[u8]> {
        let start = index as usize * BLOCK_BYTES as usize;
        self.content.get(start..).map(|rest| &rest[..rest.len().min(BLOCK_BYTES as usize)])
    }
}

pub(super) struct World {
    now: Instant,
    node: Box<SmallNode>,
    store: Shared,
    origin: Origin,
    has_address: bool,
    open: Vec<Connection>,
    /// Whatever was open.
    streams: Vec<StreamId>,
    downloads: Vec<Download>,
    contents: Vec<(ContentHandle, Option<usize>)>,
    reads: Vec<(ReadId, Option<usize>)>,
    /// The latest probe that was not answered.
    probe: Option<Vec<u8>>,
    /// Which slot of the store was found right, for the blocks that we know.
    checked: Vec<(BlockId, SlotId)>,
    whole: u32,
    served: u32,
}

/// A connection of the node's.
struct Connection {
    stream: StreamId,
    other: Other,
    connected: bool,
    /// What is on its way to the node.
    coming: Vec<u8>,
}

enum Other {
    /// A peer that asks us: it reads our replies.
    Client {
        http: Box<Conn>,
        body: Vec<u8>,
    },
    /// A holder: it reads our questions.
    Holder {
        http: Box<Conn>,
        body: Vec<u8>,
    },
    Origin(Box<Session>),
}

struct Download {
    id: DownloadId,
    encoded: bool,
    given: Vec<bool>,
}

impl World {
    pub(super) fn new() -> Self {
        let store = Shared::new(memory(ROOM, 2_048));
        let rng = ChaCha20Rng::seed_from_u64(1);
        let node = Box::new(Node::new(Config::default(), store.clone(), SoftCrypto, rng));
        let Known { content, info, .. } = &known()[1];
        let origin = Origin {
            content: content.clone(),
            info: info.clone(),
            manner: Manner::default(),
            etag: "\"1\"".into(),
            modified: String::new(),
            moved: None,
            body_bytes: 0,
            info_bytes: 0,
            requests: Vec::new(),
        };
        let mut world = Self {
            now: Instant::from_millis(1_000),
            node,
            store,
            origin,
            has_address: false,
            open: Vec::new(),
            streams: Vec::new(),
            downloads: Vec::new(),
            contents: Vec::new(),
            reads: Vec::new(),
            probe: None,
            checked: Vec::new(),
            whole: 0,
            served: 0,
        };
        world.toggle_address();
        world
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(super) fn sleep(&mut self) {
        self.now = self.node.poll_timeout(self.now).unwrap_or(self.now).max(self.now);
    }

    pub(super) fn datagram(&mut self, from: u8, data: &[u8]) {
        let from = ([10, 0, 0, from], 3_702).into();
        self.node.handle_input(self.now, Input::Datagram { from, data });
    }

    /// A holder answers as one does that has everything.
    pub(super) fn answer_probe(&mut self, holder: u8) {
        let Some(probe) = self.probe.take() else { return };
        let Ok(Message::Probe(probe)) = parse(&probe) else { return };
        let (mut rng, mut buf) = (ChaCha20Rng::seed_from_u64(holder.into()), [0; 2_048]);
        let mut server = Server::new(1, &mut rng);
        let address = holder_address(holder);
        server.set_addresses(&[Subnet { address: address.ip(), prefix: 16 }]);
        server.handle_probe(self.now, &mut rng, ([10, 0, 0, 1], 3_702).into(), &probe, &mut |_| 2);
        let later = self.now + Duration::from_secs(1);
        if let Some((_, len)) = server.poll_transmit(later, address.port(), &mut buf) {
            let from = SocketAddr::new(address.ip(), 3_702);
            self.node.handle_input(self.now, Input::Datagram { from, data: &buf[..len] });
        }
    }

    pub(super) fn probe(&mut self, which: u8) {
        const RECORDED: &str = "12A942E4E51869CAC4220BE529DFD4E3C21BB73675429F2DA23B03786D6699AA";
        let id = &known()[usize::from(which) % 2].id;
        let id: String = id.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
        let probe = include_str!("../../../vectors/v1-probe.xml").replace(RECORDED, &id);
        self.datagram(9, probe.as_bytes());
    }

    pub(super) fn accept(&mut self) {
        let Some(stream) = self.node.accept(self.now, ([10, 0, 0, 9], 4_000).into()) else { return };
        let mut http = Box::new(Conn::client());
        http.expect_reply(false).unwrap();
        self.connection(stream, Other::Client { http, body: Vec::new() }, true);
    }

    fn connection(&mut self, stream: StreamId, other: Other, connected: bool) {
        assert!(usize::from(stream.index) < STREAMS, "{stream:?}");
        // A row that is taken again was closed before.
        let taken = self.open.iter().find(|open| open.stream.index == stream.index);
        assert!(taken.is_none_or(|open| open.stream.generation != stream.generation), "{stream:?} twice");
        self.open.push(Connection { stream, other, connected, coming: Vec::new() });
        self.streams.push(stream);
    }

    /// Something happens on a stream: one that is open, or if the greatest bit is set one that ever was.
    pub(super) fn with_stream<'a>(&mut self, which: u8, input: impl FnOnce(StreamId) -> Input<'a>) {
        let stream = match which & 0x80 {
            0 => self.open.get(usize::from(which) % self.open.len().max(1)).map(|open| open.stream),
            _ => self.streams.get(usize::from(which & 0x7f) % self.streams.len().max(1)).copied(),
        };
        let Some(stream) = stream else { return };
        let input = input(stream);
        let offered = if let Input::Data { data, .. } = input { data.len() } else { 0 };
        match input {
            Input::Lost { .. } | Input::NoSocket { .. } => self.forget_stream(stream),
            Input::Connected { .. } => {
                self.open
                    .iter_mut()
                    .filter(|open| open.stream == stream)
                    .for_each(|open| open.connected = true);
            }
            _ => {}
        }
        assert!(self.node.handle_input(self.now, input) <= offered);
    }

    fn forget_stream(&mut self, stream: StreamId) {
        self.open.retain(|open| open.stream != stream);
    }

    pub(super) fn ask(&mut self, which: u8, block: u8) {
        let mut buf = [0; GET_BLOCKS_BYTES];
        let mut writer = Writer::new(&mut buf);
        // The block of the first content, or the blocks of the second and one that there is not.
        let (known, index) =
            if block.is_multiple_of(4) { (&known()[0], 0) } else { (&known()[1], block % 4 - 1) };
        GetBlocks::emit_one(known.id.as_bytes(), index.into(), &mut writer).unwrap();
        let question = writer.finish();
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", question.len());
        let len = self.open.len().max(1);
        let Some(open) = self.open.get_mut(usize::from(which) % len) else { return };
        open.coming.extend([head.as_bytes(), question].concat());
    }

    pub(super) fn feed(&mut self, which: u8, piece: Piece) {
        let len = self.open.len().max(1);
        let Some(open) = self.open.get_mut(usize::from(which) % len) else { return };
        let len = piece.len.min(open.coming.len());
        let at = piece.at % len.max(1);
        if let Some(byte) = open.coming[..len].get_mut(at) {
            *byte ^= piece.xor;
        }
        let stream = open.stream;
        let data = &open.coming[..len];
        let used = self.node.handle_input(self.now, Input::Data { stream, data });
        assert!(used <= len);
        open.coming.drain(..used);
    }

    /// Takes one output; whether there was one.
    pub(super) fn output(&mut self, buffer: usize) -> bool {
        let mut buf = vec![0; buffer];
        let Some(output) = self.node.poll_output(self.now, &mut buf) else { return false };
        match output {
            Output::Datagram { data, .. } => {
                if let Ok(Message::Probe(_)) = parse(data) {
                    self.probe = Some(data.to_vec());
                }
            }
            Output::Connect { stream, remote, .. } => {
                let http = Box::new(Conn::server());
                let other = match remote {
                    ORIGIN => Other::Origin(Box::default()),
                    _ => Other::Holder { http, body: Vec::new() },
                };
                self.connection(stream, other, false);
            }
            Output::Close { stream } | Output::Abort { stream } => {
                assert!(self.open.iter().any(|open| open.stream == stream), "{stream:?} is not open");
                self.forget_stream(stream);
            }
            Output::Resume { stream } => {
                assert!(self.open.iter().any(|open| open.stream == stream), "{stream:?} is not open");
            }
            Output::Data { download, offset, data } => {
                let download = self.downloads.iter_mut().find(|other| other.id == download);
                let download = download.expect("it is under way");
                if download.encoded {
                    let (start, end) = (offset as usize, offset as usize + data.len());
                    assert!(known()[1].content.get(start..end) == Some(data), "wrong bytes at {offset}");
                    for given in &mut download.given[start..end] {
                        assert!(!std::mem::replace(given, true), "twice: {offset}");
                    }
                }
            }
            Output::Moved { download, .. } => self.downloads.retain(|other| other.id != download),
            Output::Download { download: id, event } => {
                let position = self.downloads.iter().position(|other| other.id == id);
                let position = position.expect("it is under way");
                match event {
                    DownloadEvent::Begun { encoded, .. } => self.downloads[position].encoded = encoded,
                    DownloadEvent::Block { .. } | DownloadEvent::OriginFailed { .. } => {}
                    DownloadEvent::Failed(_) => drop(self.downloads.remove(position)),
                    DownloadEvent::Done { len } => {
                        let download = self.downloads.remove(position);
                        let all = download.given.iter().all(|given| *given);
                        assert!(!download.encoded || (all && len == download.given.len() as u64));
                        self.whole += 1;
                    }
                }
            }
        }
        true
    }

    /// Takes what one stream has to send once.
    pub(super) fn stream(&mut self, which: u8, buffer: usize) {
        let which = usize::from(which) % self.open.len().max(1);
        if which < self.open.len() {
            self.poll_stream(which, buffer);
        }
    }

    /// Whether it sent anything, or broke.
    fn poll_stream(&mut self, which: usize, buffer: usize) -> bool {
        let mut buf = vec![0; buffer];
        let Self { now, node, open, origin, .. } = self;
        let connection = &mut open[which];
        match node.poll_stream(*now, connection.stream, &mut buf) {
            Ok(len) => {
                let bytes = &buf[..len];
                match &mut connection.other {
                    Other::Client { http, body } => self.served += read_replies(http, body, bytes),
                    Other::Holder { http, body } => connection.coming.extend(answer(http, body, bytes)),
                    Other::Origin(session) if len > 0 => {
                        connection.coming.extend(session.handle(origin, bytes).0);
                    }
                    Other::Origin(_) => {}
                }
                len > 0
            }
            Err(_) => {
                open.remove(which);
                true
            }
        }
    }

    pub(super) fn download(&mut self) {
        let path = "/".try_into().unwrap();
        let url = Url { origin: ORIGIN, host: "origin".try_into().unwrap(), path };
        let Some(id) = self.node.download(self.now, url) else { return };
        let given = vec![false; known()[1].content.len()];
        self.downloads.push(Download { id, encoded: false, given });
    }

    pub(super) fn cancel(&mut self, which: u8) {
        if self.downloads.is_empty() {
            return;
        }
        let download = self.downloads.remove(usize::from(which) % self.downloads.len());
        self.node.cancel_download(download.id);
    }

    pub(super) fn open(&mut self, which: u8) {
        let which = usize::from(which) % 2;
        self.open_info(&known()[which].info, Some(which));
    }

    pub(super) fn open_raw(&mut self, info: &[u8]) {
        self.open_info(info, None);
    }

    fn open_info(&mut self, info: &[u8], known: Option<usize>) {
        let Ok(handle) = self.node.open_content([0; 16]) else { return };
        let added = self.node.add_content_information(handle, info);
        let complete = added.and_then(|()| self.node.complete_content_information(handle));
        self.contents.push((handle, known.filter(|_| complete.is_ok())));
    }

    pub(super) fn read(&mut self, which: u8, block: Option<u8>, timeout: u8) {
        let which = usize::from(which) % self.contents.len().max(1);
        let Some(&(handle, known)) = self.contents.get(which) else { return };
        let timeout = Duration::from_micros(1 << (timeout % 28));
        let read = match block {
            Some(block) => {
                let offset = u64::from(block) * u64::from(BLOCK_BYTES);
                self.node.block_read(self.now, handle, offset, BLOCK_BYTES.into(), timeout)
            }
            None => self.node.stream_read(self.now, handle, BLOCK_BYTES.into(), timeout),
        };
        if let Ok(read) = read {
            self.reads.push((read, known));
        }
    }

    /// What has been read is the content's.
    pub(super) fn completions(&mut self) {
        while let Some(completion) = self.node.poll_completion() {
            // It may have been ended meanwhile.
            let Some((_, known_at)) = self.reads.iter().find(|(read, _)| *read == completion.read) else {
                continue;
            };
            let ReadResult::Data { range, .. } = completion.result else { continue };
            let len = (range.end - range.start) as usize;
            let mut data = vec![0; len];
            if let (Ok(copied), Some(which)) = (self.node.copy_read(completion.read, 0, &mut data), *known_at)
            {
                assert_eq!(copied, len);
                assert!(data == known()[which].content[range.start as usize..range.end as usize]);
                self.whole += 1;
            }
        }
    }

    pub(super) fn end_read(&mut self, which: u8) {
        if self.reads.is_empty() {
            return;
        }
        let (read, _) = self.reads.remove(usize::from(which) % self.reads.len());
        self.node.end_read(read);
    }

    pub(super) fn add_data(&mut self, which: u8, block: u8, piece: Piece) {
        let which = usize::from(which) % self.contents.len().max(1);
        let Some(&(handle, at)) = self.contents.get(which) else { return };
        let content = &known()[at.unwrap_or(0)].content;
        let start = (usize::from(block) * BLOCK_BYTES as usize).min(content.len());
        // A length of two bytes is one short of a block's.
        let len = if piece.len == 0xffff { BLOCK_BYTES as usize } else { piece.len };
        let mut data = content[start..content.len().min(start + len)].to_vec();
        let at = piece.at % data.len().max(1);
        if let Some(byte) = data.get_mut(at) {
            *byte ^= piece.xor;
        }
        if let Ok((used, _)) = self.node.add_data(handle, start as u64, &data) {
            assert!(used <= data.len());
        }
    }

    pub(super) fn close(&mut self, which: u8) {
        if self.contents.is_empty() {
            return;
        }
        let (handle, _) = self.contents.remove(usize::from(which) % self.contents.len());
        self.node.close_content(handle).expect("it is open");
    }

    pub(super) fn toggle_address(&mut self) {
        self.has_address = !self.has_address;
        let subnet = Subnet { address: [10, 0, 0, 1].into(), prefix: 16 };
        let subnets = [subnet];
        self.node.set_addresses(if self.has_address { &subnets } else { &[] });
    }

    pub(super) fn rot(&mut self, reads: u8) {
        self.store.rot_after(reads.into());
    }

    pub(super) fn manner(&mut self, bits: u8) {
        let bit = |bit: u8| bits & (1 << bit) != 0;
        self.origin.manner = Manner {
            silent: bit(0),
            status: bit(1).then_some(404),
            errors: bit(2).into(),
            ignores_ranges: bit(3),
            wrong: bit(4).into(),
            chunked: bit(5),
            closes: bit(6),
            ..Manner::default()
        };
        let info = if bit(7) { &[][..] } else { &known()[1].info };
        self.origin.info = info.to_vec();
    }

    pub(super) fn forget(&mut self) {
        self.store.forget(&known().each_ref().map(|known| known.id));
    }

    /// The timeout contract: who only takes what there is comes to an end, and is then told a time that has not
    /// come yet.
    pub(super) fn drain(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let mut acted = false;
            while self.output(2_048) {
                acted = true;
            }
            let mut which = 0;
            while which < self.open.len() {
                let before = self.open.len();
                let polled = self.open[which].connected && self.poll_stream(which, 4_096);
                acted |= polled;
                which += usize::from(!polled && self.open.len() == before);
            }
            let due = self.node.poll_timeout(self.now).is_some_and(|at| at <= self.now);
            if !due && !acted {
                return;
            }
        }
        panic!("no rest at {:?}: {:?}", self.now, self.node.poll_timeout(self.now));
    }

    /// Nothing that we know by its name is in the store but as it should be.
    pub(super) fn check(&mut self) {
        for known in known() {
            for index in 0..2 {
                let block = BlockId { segment: known.id, index };
                let Some(stored) = self.store.find(&block) else { continue };
                if self.checked.contains(&(block, stored.slot)) {
                    continue;
                }
                let expected = known.block(index).expect("there is such a block");
                let mut plain = vec![0; stored.plain_len as usize];
                match open_at(
                    &mut self.store,
                    &mut SoftCrypto,
                    known.segment.secret(),
                    &stored,
                    0,
                    &mut plain,
                ) {
                    Ok(len) => {
                        assert!(len == plain.len() && plain == expected, "a wrong block is in the store")
                    }
                    // The test itself may have made it rot.
                    Err(_) => continue,
                }
                self.checked.push((block, stored.slot));
            }
        }
        let indices = self.open.iter().map(|open| open.stream.index);
        assert!(indices.clone().all(|index| usize::from(index) < STREAMS));
    }

    /// Nothing comes any more: everything ends by itself, and all is given back. Either nobody answers, or there
    /// is nobody.
    pub(super) fn rest(&mut self, silent: bool) {
        self.drain();
        let mut wakes = 0;
        while let Some(at) = self.node.poll_timeout(self.now) {
            assert!(at > self.now, "it was drained");
            self.now = at;
            let gone = if silent { Vec::new() } else { std::mem::take(&mut self.open) };
            for Connection { stream, .. } in gone {
                self.node.handle_input(self.now, Input::Lost { stream });
            }
            self.drain();
            self.check();
            wakes += 1;
            assert!(wakes < MAX_WAKES, "no end at {:?}", self.now);
        }
        assert!(self.open.is_empty(), "{} streams are left", self.open.len());
        assert!(self.downloads.is_empty(), "{} downloads do not end", self.downloads.len());
        self.completions();
        while !self.reads.is_empty() {
            self.end_read(0);
        }
        while !self.contents.is_empty() {
            self.close(0);
        }
        self.drain();
        let segment = SegmentId::from_slice(&[0xee; 32]).unwrap();
        for index in 0..ROOM as u32 {
            assert!(self.store.reserve(&BlockId { segment, index }, SEALED).is_ok(), "a slot is lost");
        }
        for _ in 0..STREAMS - Config::default().reserved_streams.min(STREAMS / 2) {
            assert!(self.node.accept(self.now, ([10, 0, 0, 9], 4_000).into()).is_some(), "a stream is lost");
        }
    }

    // What the recorder of seeds asks.

    pub(super) fn unconnected(&self) -> Option<u8> {
        self.open.iter().position(|open| !open.connected).map(|which| which as u8)
    }

    pub(super) fn unfed(&self) -> Option<u8> {
        self.open.iter().position(|open| !open.coming.is_empty()).map(|which| which as u8)
    }

    pub(super) fn unanswered(&self) -> bool {
        self.probe.is_some()
    }

    pub(super) fn is_working(&self) -> bool {
        let waiting = self.reads.len() > self.whole as usize + 1;
        !self.downloads.is_empty() || waiting
    }

    pub(super) fn is_satisfied(&self) -> bool {
        self.whole > 0 || self.served > 0
    }
}

fn holder_address(holder: u8) -> SocketAddr {
    ([10, 0, 1, holder % 4], 80).into()
}

/// Reads what we send as a server: blocks that are the content's and nothing else. How many.
fn read_replies(http: &mut Conn, body: &mut Vec<u8>, mut bytes: &[u8]) -> u32 {
    let mut blocks = 0;
    loop {
        let (used, event) = http.handle(bytes);
        bytes = &bytes[used..];
        match event.expect("what we send is HTTP") {
            Some(Event::Body(piece)) => body.extend_from_slice(piece),
            Some(Event::End) => {
                if let Ok(Reply::Block(block)) = Reply::parse(body) {
                    blocks += served(&block);
                }
                body.clear();
                if http.expect_reply(false).is_err() {
                    return blocks;
                }
            }
            Some(_) => {}
            None => return blocks,
        }
    }
}

/// Opens a block that we serve; how many it is.
fn served(block: &Block<'_>) -> u32 {
    let known = known().iter().find(|known| known.id.as_bytes() == block.around.segment);
    let (Some(known), false) = (known, block.block.is_empty()) else { return 0 };
    let expected = known.block(block.around.index).expect("there is such a block");
    let mut blocks: Vec<CipherBlock> = block.block.as_chunks().0.to_vec();
    let key = CipherAlgorithm::Aes128.key(known.segment.secret()).unwrap();
    SoftCrypto.cbc_decrypt(key, &mut block.around.iv.try_into().unwrap(), &mut blocks);
    assert!(blocks.concat().starts_with(expected), "a wrong block is served");
    1
}

/// What an honest holder answers to what has come.
fn answer(http: &mut Conn, body: &mut Vec<u8>, mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let (used, event) = http.handle(bytes);
        bytes = &bytes[used..];
        match event.expect("what we send is HTTP") {
            Some(Event::Body(piece)) => body.extend_from_slice(piece),
            Some(Event::End) => {
                let reply = reply(body);
                out.extend(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", reply.len()).bytes());
                out.extend(reply);
                body.clear();
                http.next_exchange().unwrap();
            }
            Some(_) => {}
            None => return out,
        }
    }
}

/// MSG_BLK for a MSG_GETBLKS.
fn reply(question: &[u8]) -> Vec<u8> {
    const IV: CipherBlock = [7; 16];
    let (id, index) = (&question[20..52], &question[56..60]);
    let known = known().iter().find(|known| known.id.as_bytes() == id);
    let index_value = u32::from_be_bytes(index.try_into().unwrap());
    let block = known.and_then(|known| Some((known, known.block(index_value)?)));
    let block = block.map_or(Vec::new(), |(known, plain)| {
        let padding = 16 - plain.len() % 16;
        let padded = [plain, &vec![padding as u8; padding]].concat();
        let mut blocks: Vec<CipherBlock> = padded.as_chunks().0.to_vec();
        let key = CipherAlgorithm::Aes128.key(known.segment.secret()).unwrap();
        SoftCrypto.cbc_encrypt(key, &mut IV.clone(), &mut blocks);
        blocks.concat()
    });
    let size = (16 + 4 + 32 + 12 + block.len() + 4 + 4 + 16) as u32;
    let mut out = Vec::new();
    for value in [size, 1, 5, size, 1, 32] {
        out.extend(value.to_be_bytes());
    }
    out.extend(id);
    out.extend(index);
    out.extend([0; 4]);
    out.extend((block.len() as u32).to_be_bytes());
    out.extend(block);
    out.extend([0, 0, 0, 0, 0, 0, 0, 16]);
    out.extend(IV);
    out
}
