//! A cache of a branch office on a bare Cortex-M3: no operating system, no allocator, no `std`.
//!
//! This is the whole program but for the [`app`], which any board could run, and the [`board`], which
//! any program could use.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod app;
#[allow(unsafe_code, reason = "registers, and what the machine calls; each place says why it is sound")]
mod board;
mod config;
mod log;
mod network;
mod preload;
mod status;

use core::convert::Infallible;

use cortex_m::{Peripherals, singleton};
use cortex_m_rt::entry;
use heapless::Vec;
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::node::Node;
use peerdist_core::store::ram::{BLOCK_PAGES, Entry, Page, RamStore};

use app::{Appliance, Problem};
use board::clock;
use board::entropy::Entropy;
use board::lan9118::Lan9118;
use board::watchdog::Dog;
use config::CONFIG;
use log::log;

/// Full blocks that the store has room for.
const BLOCKS: usize = 40;

/// Bytes of content information that the store has room for: a segment of 32 MiB takes 16 KiB.
const INFO_BYTES: usize = 18 * 1_024;

/// The status with which QEMU ends where the appliance cannot start.
const UNFIT: u32 = 1;

type Store = RamStore<&'static mut [Page], &'static mut [Entry], &'static mut [u8]>;
type Peer = Node<Store, SoftCrypto, Entropy, { app::STREAMS }, { app::FETCHES }>;

#[entry]
fn main() -> ! {
    let Err(problem) = run();
    log!("cannot start: {problem}");
    board::console::exit(UNFIT)
}

fn run() -> Result<Infallible, Problem> {
    let mut peripherals = Peripherals::take().ok_or(Problem::Taken)?;
    clock::start(&mut peripherals.SYST);
    let mut card = Lan9118::start().map_err(Problem::Card)?;
    let address = card.address();
    let [a, b, c, d, e, f] = address;
    log!("LAN9118 at {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
    let mut entropy = Entropy::insecure(u64::from_be_bytes([0, 0, a, b, c, d, e, f]));
    log!("entropy is NOT SECURE on this board");

    // Filled in place, piece by piece: as a constant it would lie in flash as well, as a value on the
    // stack first.
    let pages = singleton!(: Vec<Page, { BLOCKS * BLOCK_PAGES }> = Vec::new());
    let entries = singleton!(: [Entry; BLOCKS] = [const { Entry::EMPTY }; BLOCKS]);
    let infos = singleton!(: [u8; INFO_BYTES] = [0; INFO_BYTES]);
    let (Some(pages), Some(entries), Some(infos)) = (pages, entries, infos) else {
        return Err(Problem::Taken);
    };
    while pages.push(Page::EMPTY).is_ok() {}
    let store = RamStore::new(&mut pages[..], &mut entries[..], &mut infos[..]);
    let stack_seed = rand_core::Rng::next_u64(&mut entropy);
    let node = singleton!(: Peer = Node::new(app::node_config(), store, SoftCrypto, entropy));
    let node = node.ok_or(Problem::Taken)?;
    let mut appliance = Appliance::new(&CONFIG, clock::now(), address, &mut card, node, stack_seed)?;

    let mut dog = Dog::start();
    loop {
        let next = appliance.poll(clock::now(), &mut card);
        dog.feed();
        if next.is_none_or(|at| at > clock::now()) {
            board::idle(&mut card);
        }
    }
}
