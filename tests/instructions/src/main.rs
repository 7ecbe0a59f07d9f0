//! How many instructions a Cortex-M3 takes to serve a byte, and to receive and verify one: printed by
//! `cargo xtask bench target`, which runs this in QEMU with a nanosecond for each instruction.
//!
//! Both ends are here, on a cable in memory. What is measured is told apart from smoltcp by its twin: the
//! same bytes, between stacks that have no node. Each line is a run: its name, the instructions of the left
//! side, which serves, and of the right one, and the bytes of payload.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod cable;
#[allow(unsafe_code, reason = "registers, and memory that is lent; each place says why it is sound")]
mod machine;
mod peer;
mod plain;
mod stack;

use core::cell::RefCell;

use cortex_m_rt::entry;
use peerdist_core::content::publish::{v1, v2};
use peerdist_core::content::segmenter::{SegmentLen, Segmentation};
use peerdist_core::content::{Info, InfoSink, InfoSource, InfoUnwritable, server_secret};
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};
use peerdist_core::store::{BlockId, Store};
use peerdist_core::time::{Duration, Instant, earliest};

use cable::{Card, Queue};
use machine::print;
use peer::{Peer, Reading};

/// Bytes of a block, and of the content, in both versions.
const BLOCK: usize = 65_536;
const BLOCKS: usize = 8;
const LEN: usize = BLOCKS * BLOCK;

/// Bytes of its content information at most.
const INFO_BYTES: usize = 2_048;

/// Bytes that are made and added at a time.
const PIECE: usize = 1_024;

/// The machines: the peer that serves and the one that fetches, and what is nothing but smoltcp.
const SERVING: u8 = 1;
const FETCHING: u8 = 2;
const PLAIN_CLIENT: u8 = 3;
const PLAIN_SERVER: u8 = 4;

#[entry]
fn main() -> ! {
    machine::start_counter();
    measure();
    machine::exit(0)
}

fn measure() {
    let (there, back) = (RefCell::new(Queue::EMPTY), RefCell::new(Queue::EMPTY));
    let left = || Card { incoming: &back, outgoing: &there };
    let right = || Card { incoming: &there, outgoing: &back };
    let cable = || there.borrow().sent.wrapping_add(back.borrow().sent);

    let (mut first, mut second) = (Written::NOTHING, Written::NOTHING);
    publish_v1(&mut first);
    publish_v2(&mut second);
    let mut serving = Peer::new(SERVING, left(), 2 * BLOCKS);
    for info in [&first, &second] {
        let content = serving.open(info.bytes());
        add(&mut serving, content);
        serving.close(content);
    }
    let segment = {
        let source: &dyn InfoSource = &first.bytes();
        let info = Info::parse(source).unwrap();
        info.segment(source, 0).unwrap().id(&mut SoftCrypto)
    };
    let block = BlockId { segment, index: 0 };
    let mut clock = Instant::from_micros(1_000_000);

    // A node serves, smoltcp receives and forgets.
    let mut client = plain::Client::new(PLAIN_CLIENT, right(), block, BLOCKS as u32);
    client.connect(SERVING);
    run("serve", &mut clock, &cable, &mut |now| (serving.poll(now), false), &mut |now| client.poll(now));

    // The twin: smoltcp alone sends the same bytes out of the same store.
    let stored = serving.node.storage().find(&block).unwrap();
    let mut head = client.head.clone();
    head.resize(client.len - stored.len as usize, 0).unwrap();
    let mut server = plain::Server::new(PLAIN_SERVER, left(), block, head);
    client.connect(PLAIN_SERVER);
    {
        let store: RefCell<&mut dyn Store> = RefCell::new(serving.node.storage_mut());
        let serve = &mut |now| server.poll(now, &store);
        run("send", &mut clock, &cable, serve, &mut |now| client.poll(now));
    }

    // A node serves, another receives and verifies.
    let mut fetching = Peer::new(FETCHING, right(), 2 * BLOCKS);
    for (name, info) in [("fetch-v1", &first), ("fetch-v2", &second)] {
        let content = fetching.open(info.bytes());
        let mut reading = Reading::new(content, BLOCK as u64, LEN as u64);
        let fetch = &mut |now| fetching.read(now, &mut reading);
        run(name, &mut clock, &cable, &mut |now| (serving.poll(now), false), fetch);
        fetching.close(content);
    }
}

/// One side: what it does when it is polled, when it wants to be polled again, and whether it is done.
type Side<'s> = &'s mut dyn FnMut(Instant) -> (Option<Instant>, bool);

/// Polls both sides by turns until one is done, and prints what each took.
fn run(name: &str, clock: &mut Instant, cable: &dyn Fn() -> u32, left: Side<'_>, right: Side<'_>) {
    let mut spent = [0; 2];
    let end = *clock + Duration::from_secs(60);
    loop {
        let before = cable();
        let mut next = None;
        let mut over = false;
        let mut poll = |side: &mut dyn FnMut(Instant) -> (Option<Instant>, bool), spent: &mut u64| {
            let start = machine::ticks();
            let (at, done) = side(*clock);
            *spent += machine::since(start);
            over |= done;
            next = earliest(next, at);
        };
        poll(left, &mut spent[0]);
        poll(right, &mut spent[1]);
        if over {
            break;
        }
        // Where no frame has moved, nothing happens until the next timer. Else it is a while that counts for
        // no timer: the time between two looks at the cable.
        if cable() == before {
            *clock = next.expect("one of them waits for something").max(*clock + Duration::from_micros(1));
        } else {
            *clock += Duration::from_micros(10);
        }
        assert!(*clock < end, "{name} does not end");
    }
    print(format_args!("{name} {} {} {LEN}", spent[0], spent[1]));
}

/// Content information 1.0 of the content.
fn publish_v1(info: &mut Written) {
    let ks = server_secret(&mut SoftCrypto, HashAlgorithm::Sha256, b"bench");
    let mut publisher = v1::Publisher::new(HashAlgorithm::Sha256, ks, LEN as u64).unwrap();
    pieces(|_, piece| _ = publisher.update(&mut SoftCrypto, piece, info).unwrap());
    publisher.finish(info).unwrap();
}

/// Content information 2.0 of the content, a block in each segment.
fn publish_v2(info: &mut Written) {
    let ks = server_secret(&mut SoftCrypto, HashAlgorithm::TruncatedSha512, b"bench");
    let segmentation = Segmentation::Fixed(SegmentLen::new(BLOCK as u32).unwrap());
    let mut publisher = v2::Publisher::new(ks, segmentation);
    pieces(|_, piece| _ = publisher.update(&mut SoftCrypto, piece, info).unwrap());
    publisher.finish(&mut SoftCrypto, info).unwrap();
}

/// What was written, up to its end.
struct Written {
    bytes: [u8; INFO_BYTES],
    len: usize,
}

impl Written {
    const NOTHING: Self = Self { bytes: [0; INFO_BYTES], len: 0 };

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl InfoSink for Written {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), InfoUnwritable> {
        let start = offset as usize;
        let end = start + bytes.len();
        self.bytes.get_mut(start..end).ok_or(InfoUnwritable { offset })?.copy_from_slice(bytes);
        self.len = self.len.max(end);
        Ok(())
    }
}

/// Adds the content, which then can be served.
fn add(peer: &mut Peer<'_>, content: peerdist_core::api::client::ContentHandle) {
    pieces(|offset, piece| {
        let (used, _) = peer.node.add_data(content, offset as u64, piece).unwrap();
        assert_eq!(used, piece.len());
    });
}

/// The content, piece by piece.
fn pieces(mut each: impl FnMut(usize, &[u8])) {
    for offset in (0..LEN).step_by(PIECE) {
        let piece: [u8; PIECE] = core::array::from_fn(|at| ((offset + at) * 7 / 3 % 251) as u8);
        each(offset, &piece);
    }
}
