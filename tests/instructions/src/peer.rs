//! A node over smoltcp, as in the firmware.

use core::convert::Infallible;
use core::net::IpAddr;

use peerdist_core::api::client::{ContentHandle, ReadResult};
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::discovery::Subnet;
use peerdist_core::fetch::Source;
use peerdist_core::node::{Config, Node};
use peerdist_core::store::ram::{BLOCK_PAGES, Entry, Page, RamStore};
use peerdist_core::time::{Duration, Instant};
use peerdist_hal::smoltcp::{Driver, MIN_BUFFER};
use rand_core::{TryCryptoRng, TryRng};
use smoltcp::iface::{Interface, SocketSet};

use crate::cable::Card;
use crate::machine::lend;
use crate::stack;

/// Connections at once, and blocks in flight.
const STREAMS: usize = 4;
const FETCHES: usize = 2;

/// Reads at once.
const READS: usize = 2;

/// Bytes of content information that a store has room for.
const INFO_BYTES: usize = 4_096;

/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(60);

type Store = RamStore<&'static mut [Page], &'static mut [Entry], &'static mut [u8]>;

/// The node.
pub type PeerNode = Node<Store, SoftCrypto, Entropy, STREAMS, FETCHES>;

/// A node with its stack, on a cable.
pub struct Peer<'c> {
    card: Card<'c>,
    interface: Interface,
    sockets: SocketSet<'static>,
    driver: Driver<STREAMS>,
    buffer: [u8; MIN_BUFFER],
    /// The node.
    pub node: &'static mut PeerNode,
}

/// What is still to be read of a content.
pub struct Reading {
    content: ContentHandle,
    /// Bytes of each block, and of all.
    block: u64,
    len: u64,
    asked: u64,
    done: u64,
}

impl<'c> Peer<'c> {
    /// The machine of that number, with room for so many blocks.
    pub fn new(number: u8, mut card: Card<'c>, blocks: usize) -> Self {
        let store = RamStore::new(
            lend(blocks * BLOCK_PAGES, || Page::EMPTY),
            lend(blocks, || Entry::EMPTY),
            lend(INFO_BYTES, || 0),
        );
        let config = Config { max_uploads: STREAMS - 2, reserved_streams: 2, ..Config::default() };
        let mut store = Some(store);
        let [node] = lend(1, || {
            let store = store.take().expect("it is made once");
            Node::new(config.clone(), store, SoftCrypto, Entropy(number.into()))
        }) else {
            unreachable!("one was asked for")
        };
        node.set_addresses(&[Subnet { address: IpAddr::V4(stack::address(number)), prefix: 24 }]);
        let mut interface = stack::interface(number, &mut card);
        let mut sockets = stack::sockets();
        let udp = stack::add_udp(&mut sockets);
        let tcp = core::array::from_fn(|_| stack::add_tcp(&mut sockets));
        let driver = Driver::new(&mut interface, udp, tcp, stack::PORT, 50_000).unwrap();
        Self { card, interface, sockets, driver, buffer: [0; MIN_BUFFER], node }
    }

    /// Moves what there is to move.
    pub fn poll(&mut self, now: Instant) -> Option<Instant> {
        let Self { card, interface, sockets, driver, buffer, node } = self;
        driver.poll(now, interface, card, sockets, node, buffer, &mut |_| {})
    }

    /// Opens the content that `info` describes, by itself.
    pub fn open(&mut self, info: &[u8]) -> ContentHandle {
        let content = self.node.open_content([0; 16]).unwrap();
        self.node.add_content_information(content, info).unwrap();
        self.node.complete_content_information(content).unwrap();
        let mut now = Instant::ZERO;
        while !self.node.is_ready(content).unwrap() {
            now = self.poll(now).unwrap_or(now);
        }
        content
    }

    /// Closes a content.
    pub fn close(&mut self, content: ContentHandle) {
        self.node.close_content(content).unwrap();
    }

    /// Goes on with `reading`; and whether all blocks are here, received and verified.
    pub fn read(&mut self, now: Instant, reading: &mut Reading) -> (Option<Instant>, bool) {
        let next = self.poll(now);
        let mut moved = false;
        while let Some(completion) = self.node.poll_completion() {
            let ReadResult::Data { range, source: Source::Peer(_) } = completion.result else {
                panic!("a block did not come from the peer: {completion:?}");
            };
            reading.done += range.end - range.start;
            self.node.end_read(completion.read);
            moved = true;
        }
        while reading.asked < reading.len && reading.asked - reading.done < READS as u64 * reading.block {
            let Reading { content, block, asked, .. } = *reading;
            self.node.block_read(now, content, asked, block, PATIENCE).unwrap();
            reading.asked += block;
            moved = true;
        }
        (if moved { Some(now) } else { next }, reading.done == reading.len)
    }
}

impl Reading {
    /// All `len` bytes of `content`, in blocks of `block` bytes.
    pub fn new(content: ContentHandle, block: u64, len: u64) -> Self {
        Self { content, block, len, asked: 0, done: 0 }
    }
}

/// Numbers that look random (SplitMix64), and are not.
pub struct Entropy(u64);

impl TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| (number >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(mixed ^ mixed >> 31)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let number = self.try_next_u64()?.to_le_bytes();
            chunk.iter_mut().zip(number).for_each(|(byte, random)| *byte = random);
        }
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}
