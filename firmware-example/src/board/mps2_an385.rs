//! QEMU's `mps2-an385`: a Cortex-M3 at 25 MHz with 4 MiB of memory and a LAN9118, over smoltcp.

mod clock;
mod console;
mod entropy;
mod interrupts;
mod lan9118;
mod nor;
mod watchdog;

use core::convert::Infallible;

use cortex_m::{Peripherals, interrupt, singleton};
use cortex_m_rt::entry;
use heapless::Vec;
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::node::Node;
use peerdist_hal::flash::{Entry, count_start};
use static_cell::ConstStaticCell;

use super::faults;
use crate::app::{self, App, Peer};
use crate::config::Config;
use crate::log::log;
use crate::stack::{Stack, StackError};
use crate::start::Start;
use crate::store::{self, FlashAndRam, INFO_BYTES, ROWS};
use entropy::Entropy;
use lan9118::{CardError, Lan9118};
use nor::Nor;
use watchdog::Dog;

/// Sectors of the flash for the owner's sheet, and for the number of starts; the rest is for blocks. QEMU loads a
/// sheet to where the flash begins: `-device loader,file=SHEET,addr=0x21000000,force-raw=on`.
const SHEET_SECTORS: usize = 1;
const START_SECTORS: usize = 2;

/// The status with which QEMU ends where the appliance cannot start.
const UNFIT: u32 = 1;

type ThisPeer = Peer<FlashAndRam<Nor>, Entropy>;

/// Why the appliance cannot start.
enum Problem {
    Card(CardError),
    Stack(StackError),
    /// The flash is smaller than what is to be on it.
    Flash,
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
    let (sheet, rest) = Nor::take().and_then(|nor| nor.split(SHEET_SECTORS)).ok_or(Problem::Flash)?;
    let (starts, blocks) = rest.split(START_SECTORS).ok_or(Problem::Flash)?;
    let start = Start { starts: count(starts), ..faults::take_note() };
    // After a reset, too, ports and sequence numbers are others: an origin may still have connections of before.
    let [s, t] = (start.starts as u16).to_be_bytes();
    let mut entropy = Entropy::insecure(u64::from_be_bytes([s, t, a, b, c, d, e, f]));
    log!("entropy is NOT SECURE on this board");
    let mut app = new_app(start, sheet);
    let seed = rand_core::Rng::next_u64(&mut entropy);
    let mut stack =
        Stack::new(clock::now(), address, &mut card, app.config().port, seed).map_err(Problem::Stack)?;
    let store = new_store(blocks)?;
    // Not in a static: the compiler would make it on the stack first, and have it twice.
    let mut node = new_node(app.config(), &start, store, entropy);

    let mut dog = Dog::start();
    loop {
        let next = stack.poll(clock::now(), &mut card, &mut node, &mut app);
        dog.feed();
        if next.is_none_or(|at| at > clock::now()) {
            idle(&mut card);
        }
    }
}

/// The index of the blocks, and room for content information.
#[inline(never)]
fn store_memory() -> Option<(&'static mut [Entry], &'static mut [u8])> {
    // Filled in place, piece by piece: as a constant it would lie in flash as well, as a value on the
    // stack first.
    let rows = singleton!(: Vec<Entry, ROWS> = Vec::new())?;
    while rows.push(Entry::EMPTY).is_ok() {}
    static INFOS: ConstStaticCell<[u8; INFO_BYTES]> = ConstStaticCell::new([0; _]);
    Some((&mut rows[..], &mut INFOS.try_take()?[..]))
}

// These are not inlined, as the stack of all that makes them would stay for good.

#[inline(never)]
fn count(starts: Nor) -> u32 {
    count_start(starts).unwrap_or(0)
}

#[inline(never)]
fn new_app(start: Start, sheet: Nor) -> App {
    App::new(clock::now(), start, app::read_config(sheet.bytes()))
}

#[inline(never)]
fn new_store(blocks: Nor) -> Result<FlashAndRam<Nor>, Problem> {
    let (rows, infos) = store_memory().ok_or(Problem::Taken)?;
    let store = store::mount(blocks, rows, infos).map_err(|_| Problem::Flash)?;
    log!("{} blocks on flash", store.blocks.count());
    Ok(store)
}

#[inline(never)]
fn new_node(config: &Config, start: &Start, store: FlashAndRam<Nor>, entropy: Entropy) -> ThisPeer {
    Node::new(app::node_config(config, start), store, SoftCrypto, entropy)
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
            Self::Flash => "the flash is too small",
            Self::Stack(StackError::Taken) | Self::Taken => "it was started before",
        }
    }
}
