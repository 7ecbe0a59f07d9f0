//! QEMU's `mps2-an385`: a Cortex-M3 at 25 MHz with 4 MiB of memory and a LAN9118, over smoltcp.

mod clock;
mod console;
mod entropy;
mod faults;
mod lan9118;
mod watchdog;

use core::convert::Infallible;

use cortex_m::{Peripherals, interrupt, singleton};
use cortex_m_rt::entry;
use heapless::Vec;
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::node::Node;
use peerdist_core::store::ram::{BLOCK_PAGES, Entry, Page, RamStore};

use crate::app::{self, App, Peer};
use crate::config::Config;
use crate::log::log;
use crate::stack::{Stack, StackError};
use entropy::Entropy;
use lan9118::{CardError, Lan9118};
use watchdog::Dog;

/// Full blocks that the store has room for.
const BLOCKS: usize = 40;

/// Bytes of content information that the store has room for: a segment of 32 MiB takes 16 KiB.
const INFO_BYTES: usize = 18 * 1_024;

/// The status with which QEMU ends where the appliance cannot start.
const UNFIT: u32 = 1;

type Store = RamStore<&'static mut [Page], &'static mut [Entry], &'static mut [u8]>;

/// Why the appliance cannot start.
enum Problem {
    Card(CardError),
    Stack(StackError),
    /// It was started before.
    Taken,
}

#[entry]
fn main() -> ! {
    let Err(problem) = run();
    log!("cannot start: {}", problem.words());
    console::exit(UNFIT)
}

fn run() -> Result<Infallible, Problem> {
    let mut peripherals = Peripherals::take().ok_or(Problem::Taken)?;
    clock::start(&mut peripherals.SYST);
    let mut card = Lan9118::start().map_err(Problem::Card)?;
    let address = card.address();
    let [a, b, c, d, e, f] = address;
    log!("LAN9118 at {=[u8]:02x}", address);
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
    let config = Config::default();
    let seed = rand_core::Rng::next_u64(&mut entropy);
    let mut stack =
        Stack::new(clock::now(), address, &mut card, config.port, seed).map_err(Problem::Stack)?;
    let node = singleton!(: Peer<Store, Entropy> =
        Node::new(app::node_config(&config), store, SoftCrypto, entropy));
    let node = node.ok_or(Problem::Taken)?;
    let mut app = App::new(clock::now(), config);

    let mut dog = Dog::start();
    loop {
        let next = stack.poll(clock::now(), &mut card, node, &mut app);
        dog.feed();
        if next.is_none_or(|at| at > clock::now()) {
            idle(&mut card);
        }
    }
}

/// Sleeps until a frame comes or the clock ticks, which is at the latest a millisecond from now.
fn idle(card: &mut Lan9118) {
    // With interrupts held back, none comes between the look and the sleep: one that is pending ends
    // the sleep, and is taken afterwards.
    interrupt::free(|_| {
        card.listen();
        if !card.has_frame() {
            cortex_m::asm::wfi();
        }
    });
}

impl Problem {
    fn words(&self) -> &'static str {
        match self {
            Self::Card(CardError::Absent) => "there is no LAN9118",
            Self::Card(CardError::Silent) => "the LAN9118 does not answer",
            Self::Stack(StackError::Groups) => "the stack has no room for a multicast group",
            Self::Stack(StackError::Taken) | Self::Taken => "it was started before",
        }
    }
}
