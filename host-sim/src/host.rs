//! A client host: a real smoltcp stack running a node, and an application that downloads one URL.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use peerdist_core::content::v1::info_len;
use peerdist_core::content::{InfoUnreadable, SegmentId};
use peerdist_core::crypto::HashAlgorithm;
use peerdist_core::discovery::Subnet;
use peerdist_core::download::{DownloadEvent, Url};
use peerdist_core::encoding::InfoVersion;
use peerdist_core::fetch::{Failures, Source};
use peerdist_core::limits::{BLOCK_BYTES, MAX_SEGMENT_V2_BYTES};
use peerdist_core::node::{self, DOWNLOADS, Node, Offering, Output};
use peerdist_core::store::ram::{BLOCK_PAGES, Entry, PAGE_BYTES, Page, RamStore};
use peerdist_core::store::verify::Verified;
use peerdist_core::store::{
    BlockId, InfoId, InfoStore, InfoStoreFull, Label, ReserveError, SlotId, Store, StoreError, Stored,
};
use peerdist_core::time::{Duration, Instant};
use peerdist_hal::smoltcp::Driver;
use rand_core::Rng as _;
use smoltcp::iface::SocketHandle;

use crate::check::{Blocks, Content, Delivery};
use crate::crypto::{Counters, HostCrypto};
use crate::hosted::{self, Cache};
use crate::origin::{Origin, PATH, PORT, max_info_len_v2, max_segments_v2};
use crate::report::Sources;
use crate::rng::Rng;
use crate::run::{
    ClientHost, ClientOutcome, Given, Giver, HostFactory, Nature, OriginHost, PREFIX_LEN, Seat,
};
use crate::scenario::{Caching, Member};
use crate::stack::Stack;
use crate::world::{Frame, Host};

/// Connections of a node at once.
pub const STREAMS: usize = 48;

/// Blocks that a node fetches at once.
pub const BLOCKS: usize = 16;

/// Segments that wait to be offered to a hosted cache.
const NEWS: usize = 256;

/// Sockets: some more than streams, since a closed connection keeps its socket for a while.
const SOCKETS: usize = 64;

/// Those of a narrow host.
const FEW_SOCKETS: usize = 4;

/// Bytes of a socket's buffer, each way: a block and its headers.
const SOCKET_BYTES: usize = 68 * 1024;

/// Bytes that the node hands out at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// The node of a simulated host.
pub type SimNode = Node<HostStore, HostCrypto, Rng, STREAMS, BLOCKS, DOWNLOADS, Offering<NEWS>>;

/// A client.
pub struct Client {
    seat: Seat,
    origin: Seat,
    stack: Stack,
    driver: Sockets,
    node: SimNode,
    crypto: Rc<Counters>,
    buffer: Vec<u8>,
    nature: Nature,
    lying: Rc<Cell<bool>>,
    application: Application,
}

#[allow(clippy::large_enum_variant, reason = "nearly all hosts have the large one")]
enum Sockets {
    Usual(Driver<SOCKETS>),
    Few(Driver<FEW_SOCKETS>),
}

/// The application: takes what is handed out and keeps the accounts.
struct Application {
    delivery: Delivery,
    outcome: ClientOutcome,
    /// When the first bytes were handed out, and the last.
    handed_out: Option<(Instant, Instant)>,
    finished_at: Option<Instant>,
    failure: Option<String>,
    wrong_blocks: Rc<Cell<u64>>,
}

/// Makes nodes and their origin.
pub struct Nodes {
    clients: usize,
    content_info: InfoVersion,
    caching: Caching,
    hosted_cache: Member,
    blocks: Option<Rc<Blocks>>,
}

impl Nodes {
    /// For a branch of so many clients, which ask for content information 1.0.
    pub fn new(clients: usize) -> Self {
        let (content_info, caching) = (InfoVersion::V1, Caching::Distributed);
        Self { clients, content_info, caching, hosted_cache: Member::Hosted, blocks: None }
    }

    /// The same with clients that ask for content information up to that version.
    pub fn with_content_info(self, content_info: InfoVersion) -> Self {
        Self { content_info, ..self }
    }

    /// The same with clients that look for blocks there; `hosted_cache`: who that is, if they use one.
    pub fn with_caching(self, caching: Caching, hosted_cache: Member) -> Self {
        Self { caching, hosted_cache, ..self }
    }
}

impl HostFactory for Nodes {
    fn origin(&mut self, seat: Seat, content: &Content) -> Box<dyn OriginHost> {
        let origin = Origin::new(&seat, content, self.clients);
        self.blocks = Some(Rc::new(Blocks::new(content, origin.info(self.content_info))));
        Box::new(origin)
    }

    fn client(
        &mut self,
        seat: Seat,
        origin: &Seat,
        delivery: Delivery,
        nature: Nature,
    ) -> Box<dyn ClientHost> {
        let (distributed, hosted) = match self.caching {
            Caching::None => (false, None),
            Caching::Distributed => (true, None),
            Caching::Hosted { version, with_peers } => {
                (with_peers, Some(hosted::place(version, self.hosted_cache)))
            }
        };
        let config = node::Config {
            content_information: self.content_info,
            distributed,
            hosted_caches: hosted.into_iter().collect(),
            ..node::Config::default()
        };
        Box::new(Client::with_config(seat, origin.clone(), delivery, nature, config, self.blocks.clone()))
    }

    fn hosted(&mut self, seat: Seat, content: &Content) -> Option<Box<dyn Host>> {
        Some(Box::new(Cache::new(&seat, content.size(), self.content_info)))
    }
}

impl Client {
    /// A client at `seat` that will download from `origin`.
    pub fn new(seat: Seat, origin: Seat, delivery: Delivery, nature: Nature) -> Self {
        Self::with_config(seat, origin, delivery, nature, node::Config::default(), None)
    }

    /// The same with a node that is set so; whatever it takes for verified is looked at by `checker`
    /// too.
    pub fn with_config(
        seat: Seat,
        origin: Seat,
        delivery: Delivery,
        nature: Nature,
        config: node::Config,
        checker: Option<Rc<Blocks>>,
    ) -> Self {
        let mut stack = Stack::new(&seat);
        let udp = stack.add_udp();
        let port_draw = seat.seed.child("port", 0).rng().next_u32();
        let ports = (config.port, 49_152 + (port_draw % 16_384) as u16);
        let driver = match nature {
            Nature::Narrow => Sockets::Few(driver(&mut stack, udp, ports)),
            Nature::Honest | Nature::Corrupt => Sockets::Usual(driver(&mut stack, udp, ports)),
        };

        let lying = Rc::new(Cell::new(false));
        let wrong_blocks = Rc::new(Cell::new(0));
        let store = HostStore {
            lying: lying.clone(),
            wrong: wrong_blocks.clone(),
            ..HostStore::new(memory_for(delivery.expected(), config.content_information, seat.store), checker)
        };
        let crypto = HostCrypto::default();
        let counters = crypto.counters();
        let mut node = Node::new(config, store, crypto, seat.seed.child("node", 0).rng());
        node.set_addresses(&[Subnet { address: IpAddr::from(seat.ip), prefix: PREFIX_LEN }]);
        let application = Application {
            delivery,
            outcome: ClientOutcome::default(),
            handed_out: None,
            finished_at: None,
            failure: None,
            wrong_blocks,
        };
        let buffer = vec![0; BUFFER_BYTES];
        Self { seat, origin, stack, driver, node, crypto: counters, buffer, nature, lying, application }
    }

    /// The node.
    pub fn node(&self) -> &SimNode {
        &self.node
    }

    /// What the node asks of its crypto provider; goes on counting.
    pub fn crypto(&self) -> Rc<Counters> {
        self.crypto.clone()
    }

    /// Why the download failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        self.application.failure.as_deref()
    }
}

impl Host for Client {
    fn receive(&mut self, _now: Instant, frame: Frame) {
        self.stack.card.incoming.push_back(frame);
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
        let Self { stack, driver, node, buffer, application, .. } = self;
        let Stack { interface, card, sockets } = stack;
        let take = &mut |output: Output<'_>| application.take(now, output);
        let next = match driver {
            Sockets::Usual(driver) => driver.poll(now, interface, card, sockets, node, buffer, take),
            Sockets::Few(driver) => driver.poll(now, interface, card, sockets, node, buffer, take),
        };
        card.outgoing.drain(..).for_each(send);
        if self.nature == Nature::Corrupt && self.application.finished_at.is_some() {
            self.lying.set(true);
        }
        next
    }
}

impl ClientHost for Client {
    fn start(&mut self, now: Instant) {
        let origin = SocketAddr::from((self.origin.ip, PORT));
        let host = self.origin.name.as_str().try_into();
        let url = host.ok().zip(PATH.try_into().ok()).map(|(host, path)| Url { origin, host, path });
        let begun = url.and_then(|url| self.node.download(now, url));
        if begun.is_none() {
            self.application.fail(now, format!("{}: no room for a download", self.seat.name));
        }
    }

    fn finished_at(&self) -> Option<Instant> {
        self.application.finished_at
    }

    fn delivery(&self) -> &Delivery {
        &self.application.delivery
    }

    fn outcome(&self) -> ClientOutcome {
        let Application { outcome, failure, wrong_blocks, .. } = &self.application;
        ClientOutcome { failed: failure.is_some(), wrong_blocks: wrong_blocks.get(), ..outcome.clone() }
    }
}

impl Application {
    fn take(&mut self, now: Instant, output: Output<'_>) {
        match output {
            Output::Data { offset, data, .. } => {
                self.handed_out = Some((self.handed_out.map_or(now, |(first, _)| first), now));
                self.delivery.write_at(offset, data);
            }
            Output::Download { event, .. } => match event {
                DownloadEvent::Begun { .. } => {}
                DownloadEvent::Block { range, source, failures } => {
                    self.account(now, range.end - range.start, source, &failures);
                }
                DownloadEvent::OriginFailed { failure, .. } => {
                    *self.outcome.reasons.entry(failure.to_string()).or_default() += 1;
                }
                DownloadEvent::Done { .. } => {
                    self.finished_at = Some(now);
                    // What no block accounts for came plainly, from the origin.
                    let Sources { local, peer, hosted, origin } = self.outcome.bytes;
                    let plain = self.delivery.received() - (local + peer + hosted + origin);
                    self.outcome.bytes.origin += plain;
                    if let (1.., Some((first, last))) = (plain, self.handed_out) {
                        self.give(Giver::Origin, Given { bytes: plain, blocks: 0, first, last });
                    }
                }
                DownloadEvent::Failed(error) => self.fail(now, error.to_string()),
            },
            _ => {}
        }
    }

    fn account(&mut self, now: Instant, bytes: u64, source: Source, failures: &Failures) {
        let Sources { local, peer, hosted, origin } = &mut self.outcome.bytes;
        let Sources { local: locals, peer: peers, hosted: cached, origin: origins } =
            &mut self.outcome.blocks;
        let (bytes_of, blocks_of) = match source {
            Source::Local => (local, locals),
            Source::Peer(_) => (peer, peers),
            Source::HostedCache(_) => (hosted, cached),
            Source::Origin => (origin, origins),
        };
        *bytes_of += bytes;
        *blocks_of += 1;
        let giver = match source {
            Source::Local => Giver::Local,
            Source::Peer(peer) | Source::HostedCache(peer) => Giver::Peer(peer.ip()),
            Source::Origin => Giver::Origin,
        };
        self.give(giver, Given { bytes, blocks: 1, first: now, last: now });
        for failure in failures {
            let reason = match failure.peer {
                Some(peer) => format!("{}: {}", peer.ip(), failure.cause),
                None => failure.cause.to_string(),
            };
            *self.outcome.reasons.entry(reason).or_default() += 1;
        }
    }

    fn give(&mut self, giver: Giver, given: Given) {
        let sum = self.outcome.given.entry(giver).or_insert(Given { bytes: 0, blocks: 0, ..given });
        sum.bytes += given.bytes;
        sum.blocks += given.blocks;
        (sum.first, sum.last) = (sum.first.min(given.first), sum.last.max(given.last));
    }

    fn fail(&mut self, now: Instant, failure: String) {
        *self.outcome.reasons.entry(failure.clone()).or_default() += 1;
        self.failure = Some(failure);
        self.finished_at = Some(now);
    }
}

/// A driver with so many sockets; `ports`: where peers find it, and the first that it connects from.
fn driver<const COUNT: usize>(stack: &mut Stack, udp: SocketHandle, ports: (u16, u16)) -> Driver<COUNT> {
    let tcp: [SocketHandle; COUNT] = std::array::from_fn(|_| stack.add_tcp(SOCKET_BYTES, SOCKET_BYTES));
    Driver::new(&mut stack.interface, udp, tcp, ports.0, ports.1)
        .expect("a fresh interface has room for a group")
}

/// Memory for blocks and content information.
pub(crate) type Memory = RamStore<Vec<Page>, Vec<Entry>, Vec<u8>>;

/// Memory for a whole content and its content information, of which a hosted cache may be told once more; or for
/// `store` bytes of its blocks.
pub(crate) fn memory_for(content: u64, version: InfoVersion, store: Option<u64>) -> Memory {
    let (blocks, pages, info) = match version {
        InfoVersion::V1 => {
            let blocks = content.div_ceil(BLOCK_BYTES.into()) as usize + BLOCKS;
            let info = info_len(HashAlgorithm::Sha256, content).unwrap_or(0) as usize;
            (blocks, blocks * BLOCK_PAGES, info)
        }
        InfoVersion::V2 => {
            // The last page of each block is half empty; its padding is less than that.
            let segments = max_segments_v2(content);
            let pages = content.div_ceil(PAGE_BYTES as u64) as usize + segments;
            let spare = BLOCKS * (MAX_SEGMENT_V2_BYTES as usize).div_ceil(PAGE_BYTES);
            (segments + BLOCKS, pages + spare, max_info_len_v2(content))
        }
    };
    let room = store.map_or(pages, |store| (store / u64::from(BLOCK_BYTES)) as usize * BLOCK_PAGES);
    let pages = pages.min(room);
    RamStore::new(vec![Page::EMPTY; pages], vec![Entry::EMPTY; blocks.min(pages)], vec![0; 2 * info])
}

/// The store of a simulated host: memory, which can be made to lie about every block it serves, and whose
/// committed blocks a checker looks at.
pub struct HostStore {
    ram: Memory,
    lying: Rc<Cell<bool>>,
    checker: Option<Rc<Blocks>>,
    /// What the slots were reserved for, by their indices.
    reserved: HashMap<u32, BlockId>,
    /// Blocks that were committed and that the checker found wrong.
    wrong: Rc<Cell<u64>>,
}

impl HostStore {
    /// An honest one, whose blocks `checker` looks at.
    pub(crate) fn new(ram: Memory, checker: Option<Rc<Blocks>>) -> Self {
        Self { ram, lying: Rc::default(), checker, reserved: HashMap::new(), wrong: Rc::default() }
    }
}

impl Store for HostStore {
    fn reserve(&mut self, block: &BlockId, len: u32) -> Result<SlotId, ReserveError> {
        let slot = self.ram.reserve(block, len)?;
        self.reserved.insert(slot.index, *block);
        Ok(slot)
    }

    fn write(&mut self, slot: SlotId, offset: u32, bytes: &[u8]) -> Result<(), StoreError> {
        self.ram.write(slot, offset, bytes)
    }

    fn read(&mut self, slot: SlotId, offset: u32, buf: &mut [u8]) -> Result<(), StoreError> {
        self.ram.read(slot, offset, buf)?;
        if let (true, Some(first)) = (self.lying.get(), buf.first_mut()) {
            *first ^= 1;
        }
        Ok(())
    }

    fn commit(&mut self, verified: Verified) -> Result<(), StoreError> {
        let block = self.reserved.remove(&verified.slot().index);
        self.ram.commit(verified)?;
        let right = |blocks: &Rc<Blocks>| block.is_some_and(|block| blocks.right(&mut self.ram, &block));
        if !self.checker.as_ref().is_none_or(right) {
            self.wrong.set(self.wrong.get() + 1);
        }
        Ok(())
    }

    fn release(&mut self, slot: SlotId) {
        self.ram.release(slot);
    }

    fn pin(&mut self, slot: SlotId) {
        self.ram.pin(slot);
    }

    fn unpin(&mut self, slot: SlotId) {
        self.ram.unpin(slot);
    }

    fn find(&self, block: &BlockId) -> Option<Stored> {
        self.ram.find(block)
    }

    fn blocks(&self, segment: &SegmentId) -> u32 {
        self.ram.blocks(segment)
    }

    fn next_block(&self, segment: &SegmentId, index: u32) -> Option<u32> {
        self.ram.next_block(segment, index)
    }

    fn label(&mut self, slot: SlotId, label: Label) {
        self.ram.label(slot, label);
    }

    fn forget_labelled(&mut self, label: Label) -> bool {
        self.ram.forget_labelled(label)
    }

    fn is_labelled(&self, label: Label) -> bool {
        self.ram.is_labelled(label)
    }

    fn set_time(&mut self, now: Instant) {
        self.ram.set_time(now);
    }

    fn age(&self, segment: &SegmentId, now: Instant) -> Option<Duration> {
        self.ram.age(segment, now)
    }
}

impl InfoStore for HostStore {
    fn create_info(&mut self) -> Result<InfoId, InfoStoreFull> {
        self.ram.create_info()
    }

    fn append_info(&mut self, id: InfoId, bytes: &[u8]) -> Result<(), InfoStoreFull> {
        self.ram.append_info(id, bytes)
    }

    fn info_len(&self, id: InfoId) -> u64 {
        self.ram.info_len(id)
    }

    fn read_info(&self, id: InfoId, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        self.ram.read_info(id, offset, buf)
    }

    fn remove_info(&mut self, id: InfoId) {
        self.ram.remove_info(id);
    }
}
