//! NUCLEO-H743ZI: a Cortex-M7 at 400 MHz with 1 MiB of memory, 2 MiB of flash and Ethernet, over embassy-net.
//!
//! Tasks share node and appliance, each of which is borrowed for one call: one for each socket, one for
//! datagrams and time, one for what is the board's to do, those of the page, and the stack's own. All are on
//! one executor. If one of them does not give way, that of the watchdog does not run, and the machine is reset.

mod entropy;
mod flash;
mod network;
mod page;
mod sram;

use core::cell::RefCell;

use defmt_rtt as _;
use embassy_executor::{SpawnError, Spawner};
use embassy_net::tcp::TcpSocket;
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{Runner, Stack, StackResources};
use embassy_stm32::eth::{Ethernet, GenericPhy, PacketQueue, Sma};
use embassy_stm32::flash::{Blocking, Flash};
use embassy_stm32::peripherals::{ETH, ETH_SMA, IWDG1, RNG};
use embassy_stm32::rng::Rng;
use embassy_stm32::wdg::IndependentWatchdog;
use embassy_stm32::{Peripherals, bind_interrupts, eth, pac, rcc, rng, uid};
use embassy_time::Timer;
use embedded_storage::nor_flash::ReadNorFlash as _;
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto, hash};
use peerdist_core::node::{Node, Output};
use peerdist_core::time::Instant;
use peerdist_hal::embassy::{Driver, Learning, MIN_BUFFER};
use peerdist_hal::flash::{Entry, count_start};
use static_cell::{ConstStaticCell, StaticCell};

use super::faults;
use crate::app::{self, App, Peer, STREAMS};
use crate::config::Config;
use crate::log::log;
use crate::start::{Cause, Start};
use crate::store::{self, FlashAndRam, INFO_BYTES, ROWS};
use entropy::Entropy;
use flash::{BLOCKS, Part, SHEET, STARTS};

/// Bytes that a connection buffers of what comes, and of what goes.
const RECEIVE_BYTES: usize = 2_048;
const SEND_BYTES: usize = 4_096;

/// Datagrams that wait, each way, and the bytes of them.
const DATAGRAMS: usize = 8;
const DATAGRAM_BYTES: usize = 8_192;

/// Frames that wait in the card, each way. The stack offers no larger window than those that go.
const FRAMES: usize = 8;

/// Sockets in all: those for streams, one for discovery, one for DHCP, one for DNS, and the page's.
const SOCKETS: usize = STREAMS + 3 + page::SOCKETS;

/// Bytes of the owner's sheet at most.
const SHEET_BYTES: usize = 2_048;

/// Microseconds without food before the watchdog resets the machine: longer than the slowest erase of a
/// sector, 4 s.
const PATIENCE: u32 = 8_000_000;

/// Milliseconds from one feeding to the next.
const MEAL: u64 = 1_000;

type Store = FlashAndRam<Part<'static>>;

type AppDriver = Driver<'static, Peer<Store, Entropy>, STREAMS>;

type Card = Learning<Ethernet<'static, ETH, GenericPhy<Sma<'static, ETH_SMA>>>>;

/// What the tasks share.
#[derive(Clone, Copy)]
struct Shared {
    driver: &'static AppDriver,
    app: &'static RefCell<App>,
    stack: Stack<'static>,
}

/// Why the appliance cannot start.
enum Problem {
    /// The flash is smaller than what is to be on it.
    Flash,
    /// There are more tasks than places for them.
    Tasks,
}

bind_interrupts!(struct Interrupts {
    ETH => eth::InterruptHandler;
    RNG => rng::InterruptHandler<RNG>;
});

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let peripherals = embassy_stm32::init(clocks());
    // Of instructions alone: what the Ethernet's DMA reads and writes would not show in one of data.
    if let Some(mut core) = cortex_m::Peripherals::take() {
        core.SCB.enable_icache();
    }
    if let Err(problem) = start(spawner, peripherals) {
        // The watchdog does not run yet: to try the same again would bring nothing else.
        log!("cannot start: {=str}", problem.words());
    }
}

/// 400 MHz from the internal oscillator: the external one of the board depends on its revision.
fn clocks() -> embassy_stm32::Config {
    use rcc::*;
    let mut config = embassy_stm32::Config::default();
    config.rcc.hsi = Some(HSIPrescaler::DIV1);
    config.rcc.csi = true;
    // That of the source of entropy.
    config.rcc.hsi48 = Some(Hsi48Config::default());
    config.rcc.pll1 = Some(Pll {
        source: PllSource::HSI,
        prediv: PllPreDiv::DIV4,
        mul: PllMul::MUL50,
        fracn: None,
        divp: Some(PllDiv::DIV2),
        divq: None,
        divr: None,
    });
    config.rcc.sys = Sysclk::PLL1_P;
    config.rcc.ahb_pre = AHBPrescaler::DIV2;
    config.rcc.apb1_pre = APBPrescaler::DIV2;
    config.rcc.apb2_pre = APBPrescaler::DIV2;
    config.rcc.apb3_pre = APBPrescaler::DIV2;
    config.rcc.apb4_pre = APBPrescaler::DIV2;
    config.rcc.voltage_scale = VoltageScale::Scale1;
    config
}

fn start(spawner: Spawner, p: Peripherals) -> Result<(), Problem> {
    let mut entropy = Entropy(Rng::new(p.RNG, Interrupts));
    let address = ethernet_address();
    log!("STM32H743 at {=[u8]:02x}", address);

    static QUEUE: ConstStaticCell<PacketQueue<FRAMES, FRAMES>> = ConstStaticCell::new(PacketQueue::new());
    let card = Ethernet::new(
        QUEUE.take(),
        p.ETH,
        Interrupts,
        p.PA1,
        p.PA7,
        p.PC4,
        p.PC5,
        p.PG13,
        p.PB13,
        p.PG11,
        address,
        p.ETH_SMA,
        p.PA2,
        p.PC1,
    );
    static RESOURCES: ConstStaticCell<StackResources<SOCKETS>> = ConstStaticCell::new(StackResources::new());
    let seed = rand_core::Rng::next_u64(&mut entropy);
    let dhcp = embassy_net::Config::dhcpv4(Default::default());
    let (stack, runner) = embassy_net::new(Learning::new(card), dhcp, RESOURCES.take(), seed);

    static FLASH: StaticCell<Flash<'static, Blocking>> = StaticCell::new();
    let flash = FLASH.init(Flash::new_blocking(p.FLASH));
    let start = Start { starts: count_start(Part::new(flash, STARTS)).unwrap_or(0), ..why() };
    let mut sheet = [0xff; SHEET_BYTES];
    // Of one that cannot be read, nothing is taken: it does not come to its end.
    let _ = Part::new(flash, SHEET).read(0, &mut sheet);
    static APP: StaticCell<RefCell<App>> = StaticCell::new();
    let app = APP.init_with(|| RefCell::new(App::new(now(), start, app::read_config(&sheet))));
    let node = node(flash, app.borrow().config(), &start, entropy)?;
    log!("{} blocks on flash", node.storage().blocks.count());

    static DRIVER: StaticCell<AppDriver> = StaticCell::new();
    let driver = DRIVER.init_with(|| Driver::new(node));
    let shared = Shared { driver, app, stack };

    static BUFFER: ConstStaticCell<[u8; MIN_BUFFER]> = ConstStaticCell::new([0; MIN_BUFFER]);
    spawner.spawn(run_stack(runner)?);
    spawner.spawn(run_node(shared, udp(stack), BUFFER.take())?);
    spawner.spawn(run_network(shared)?);
    for (incoming, outgoing) in sram::take().into_iter().flatten() {
        spawner.spawn(run_stream(shared, TcpSocket::new(stack, incoming, outgoing))?);
    }
    type PageBuffers = [([u8; page::RECEIVE_BYTES], [u8; page::SEND_BYTES]); page::SOCKETS];
    static PAGE_BUFFERS: ConstStaticCell<PageBuffers> =
        ConstStaticCell::new([([0; page::RECEIVE_BYTES], [0; page::SEND_BYTES]); page::SOCKETS]);
    for (incoming, outgoing) in PAGE_BUFFERS.take() {
        spawner.spawn(run_page(shared, TcpSocket::new(stack, incoming, outgoing))?);
    }
    let mut dog = IndependentWatchdog::new(p.IWDG1, PATIENCE);
    dog.unleash();
    spawner.spawn(feed(dog)?);
    Ok(())
}

/// Not inlined, as the stack of all that makes it would stay for good.
#[inline(never)]
fn node(
    flash: &'static mut Flash<'static, Blocking>,
    config: &Config,
    start: &Start,
    entropy: Entropy,
) -> Result<&'static mut Peer<Store, Entropy>, Problem> {
    static ROW: ConstStaticCell<[Entry; ROWS]> = ConstStaticCell::new([const { Entry::EMPTY }; ROWS]);
    static INFOS: ConstStaticCell<[u8; INFO_BYTES]> = ConstStaticCell::new([0; INFO_BYTES]);
    static NODE: StaticCell<Peer<Store, Entropy>> = StaticCell::new();
    let store = store::mount(Part::new(flash, BLOCKS), &mut ROW.take()[..], &mut INFOS.take()[..])
        .map_err(|_| Problem::Flash)?;
    Ok(NODE.init_with(|| Node::new(app::node_config(config, start), store, SoftCrypto, entropy)))
}

fn udp(stack: Stack<'static>) -> UdpSocket<'static> {
    type Metadata = [PacketMetadata; DATAGRAMS];
    static METADATA: ConstStaticCell<[Metadata; 2]> =
        ConstStaticCell::new([[PacketMetadata::EMPTY; DATAGRAMS]; 2]);
    static BYTES: ConstStaticCell<[[u8; DATAGRAM_BYTES]; 2]> = ConstStaticCell::new([[0; DATAGRAM_BYTES]; 2]);
    let ([received, sent], [incoming, outgoing]) = (METADATA.take(), BYTES.take());
    UdpSocket::new(stack, received, incoming, sent, outgoing)
}

#[embassy_executor::task]
async fn run_stack(mut runner: Runner<'static, Card>) {
    runner.run().await
}

#[embassy_executor::task]
async fn run_node(shared: Shared, udp: UdpSocket<'static>, buffer: &'static mut [u8; MIN_BUFFER]) {
    let Shared { driver, app, stack } = shared;
    let mut take = |output: Output<'_>| app.borrow_mut().handle_output(now(), output);
    // It comes back only if there is no room for the groups of discovery: then nobody finds us.
    if driver.run(stack, udp, buffer, &mut take).await.is_err() {
        log!("the stack has no room for a multicast group");
    }
}

#[embassy_executor::task(pool_size = STREAMS)]
async fn run_stream(shared: Shared, socket: TcpSocket<'static>) {
    shared.driver.drive(socket).await;
}

#[embassy_executor::task(pool_size = page::SOCKETS)]
async fn run_page(shared: Shared, socket: TcpSocket<'static>) {
    page::run(shared, socket).await
}

#[embassy_executor::task]
async fn run_network(shared: Shared) {
    network::run(shared).await
}

#[embassy_executor::task]
async fn feed(mut dog: IndependentWatchdog<'static, IWDG1>) {
    loop {
        dog.pet();
        Timer::after_millis(MEAL).await;
    }
}

impl From<SpawnError> for Problem {
    fn from(_: SpawnError) -> Self {
        Self::Tasks
    }
}

impl Problem {
    fn words(&self) -> &'static str {
        match self {
            Self::Flash => "the flash is too small",
            Self::Tasks => "there are more tasks than places for them",
        }
    }
}

/// Why there was a reset: a panic and a fault have left a note, and the watchdog a flag.
fn why() -> Start {
    let start = faults::take_note();
    let watchdog = pac::RCC.rsr().read().iwdg1rstf();
    pac::RCC.rsr().modify(|w| w.set_rmvf(true));
    match start.cause {
        Cause::Outside if watchdog => Start { cause: Cause::Watchdog, ..start },
        _ => start,
    }
}

/// Locally administered, and the same after every reset: from the number that each chip has.
fn ethernet_address() -> [u8; 6] {
    let digest = hash(&mut SoftCrypto, HashAlgorithm::Sha256, &uid::uid());
    let mut address = [2; 6];
    address.iter_mut().skip(1).zip(digest.as_bytes()).for_each(|(byte, random)| *byte = *random);
    address
}

fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}
