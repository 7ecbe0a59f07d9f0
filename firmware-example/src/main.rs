//! peerdist on a bare Cortex-M3.
//!
//! A whole node over smoltcp, without an operating system, an allocator or `std`. It looks for
//! peers and would serve them, but it hears nobody but itself: its network is a [`Loop`], since
//! there is no driver of a network card here yet. Nor is there a source of entropy: see
//! [`Predictable`] before any of this is taken into a product.
#![no_std]
#![no_main]

use core::cell::Cell;
use core::convert::Infallible;
use core::net::{IpAddr, Ipv4Addr};
use core::panic::PanicInfo;

use cortex_m::interrupt::{self, Mutex};
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::singleton;
use cortex_m_rt::{entry, exception};
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::discovery::Subnet;
use peerdist_core::node::{Config, Node, Output};
use peerdist_core::store::ram::{BLOCK_PAGES, Entry, Page, RamStore};
use peerdist_core::time::Instant;
use peerdist_hal::smoltcp::{Driver, MIN_BUFFER};
use rand_core::{Rng, TryCryptoRng, TryRng};
use smoltcp::iface::{Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

/// Connections at once.
const STREAMS: usize = 6;

/// Blocks that are fetched at once.
const FETCHES: usize = 2;

/// Full blocks that the store has room for.
const BLOCKS: usize = 2;

/// Bytes of content information that the store has room for.
const INFO_BYTES: usize = 4_096;

/// Bytes that a connection buffers, each way.
const WINDOW_BYTES: usize = 2_048;

const FRAME_BYTES: usize = 1_514;
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PREFIX: u8 = 24;
const CARD: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

/// Ticks a second of the board's clock, that of the MPS2 images.
const CLOCK_HZ: u32 = 25_000_000;

type Store = RamStore<&'static mut [Page], &'static mut [Entry], &'static mut [u8]>;
type Peer = Node<Store, SoftCrypto, Predictable, STREAMS, FETCHES>;

#[entry]
fn main() -> ! {
    start_clock();
    // Each of these exists once, so none of them fails.
    run().unwrap_or(());
    loop {
        cortex_m::asm::wfi();
    }
}

fn run() -> Option<()> {
    let mut entropy = Predictable(1);
    let (mut device, mut config) = (Loop::new(), smoltcp::iface::Config::new(CARD.into()));
    config.random_seed = entropy.next_u64();
    let mut interface = Interface::new(config, &mut device, stack_time(now()));
    interface.update_ip_addrs(|addresses| {
        // A fresh interface has room for one address.
        let _ = addresses.push(IpCidr::new(IpAddress::Ipv4(ADDRESS), PREFIX));
    });
    let storage = singleton!(: [SocketStorage<'static>; STREAMS + 1] = [SocketStorage::EMPTY; STREAMS + 1])?;
    let mut sockets = SocketSet::new(&mut storage[..]);
    let udp = add_udp(&mut sockets)?;
    let tcp = add_tcp(&mut sockets)?;

    let config = Config { reserved_streams: 2, max_uploads: 2, ..Config::default() };
    let mut driver =
        Driver::<STREAMS>::new(&mut interface, udp, tcp, config.port, entropy.next_u32() as u16).ok()?;
    // Made in place, piece by piece: as a constant, it would lie in flash as well.
    let pages = singleton!(: [Page; BLOCKS * BLOCK_PAGES] = core::array::from_fn(|_| Page::EMPTY))?;
    let entries = singleton!(: [Entry; BLOCKS] = [const { Entry::EMPTY }; BLOCKS])?;
    let infos = singleton!(: [u8; INFO_BYTES] = [0; INFO_BYTES])?;
    let store = RamStore::new(&mut pages[..], &mut entries[..], &mut infos[..]);
    let node = singleton!(: Peer = Node::new(config, store, SoftCrypto, entropy))?;
    node.set_addresses(&[Subnet { address: IpAddr::V4(ADDRESS), prefix: PREFIX }]);

    let buffer = singleton!(: [u8; MIN_BUFFER] = [0; MIN_BUFFER])?;
    let mut handed_out = 0u32;
    loop {
        let application = &mut |output: Output<'_>| {
            if let Output::Data { data, .. } = output {
                handed_out = handed_out.wrapping_add(data.len() as u32);
            }
        };
        driver.poll(now(), &mut interface, &mut device, &mut sockets, node, buffer, application);
        // Every tick wakes it, which is more often than it asks for.
        cortex_m::asm::wfi();
    }
}

fn add_udp(sockets: &mut SocketSet<'static>) -> Option<SocketHandle> {
    let received = singleton!(: [udp::PacketMetadata; 4] = [udp::PacketMetadata::EMPTY; 4])?;
    let sent = singleton!(: [udp::PacketMetadata; 4] = [udp::PacketMetadata::EMPTY; 4])?;
    let incoming = singleton!(: [u8; 2 * FRAME_BYTES] = [0; 2 * FRAME_BYTES])?;
    let outgoing = singleton!(: [u8; 2 * FRAME_BYTES] = [0; 2 * FRAME_BYTES])?;
    let incoming = udp::PacketBuffer::new(&mut received[..], &mut incoming[..]);
    let outgoing = udp::PacketBuffer::new(&mut sent[..], &mut outgoing[..]);
    Some(sockets.add(udp::Socket::new(incoming, outgoing)))
}

fn add_tcp(sockets: &mut SocketSet<'static>) -> Option<[SocketHandle; STREAMS]> {
    type Buffers = [[[u8; WINDOW_BYTES]; 2]; STREAMS];
    let buffers = singleton!(: Buffers = [[[0; WINDOW_BYTES]; 2]; STREAMS])?;
    Some(buffers.each_mut().map(|[incoming, outgoing]| {
        let incoming = tcp::SocketBuffer::new(&mut incoming[..]);
        let outgoing = tcp::SocketBuffer::new(&mut outgoing[..]);
        sockets.add(tcp::Socket::new(incoming, outgoing))
    }))
}

/// Milliseconds since the start.
static CLOCK: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));

fn start_clock() {
    if let Some(mut peripherals) = cortex_m::Peripherals::take() {
        peripherals.SYST.set_clock_source(SystClkSource::Core);
        peripherals.SYST.set_reload(CLOCK_HZ / 1_000 - 1);
        peripherals.SYST.clear_current();
        peripherals.SYST.enable_counter();
        peripherals.SYST.enable_interrupt();
    }
}

#[exception]
fn SysTick() {
    interrupt::free(|free| {
        let clock = CLOCK.borrow(free);
        clock.set(clock.get().wrapping_add(1));
    });
}

fn now() -> Instant {
    Instant::from_millis(interrupt::free(|free| CLOCK.borrow(free).get()))
}

fn stack_time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(now.micros() as i64)
}

/// A network card whose cable leads back into it: it holds one frame, and loses the rest.
struct Loop {
    frame: [u8; FRAME_BYTES],
    len: usize,
}

impl Loop {
    const fn new() -> Self {
        Self { frame: [0; FRAME_BYTES], len: 0 }
    }
}

struct Incoming([u8; FRAME_BYTES], usize);

struct Outgoing<'a>(&'a mut Loop);

impl Device for Loop {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Incoming, Outgoing<'_>)> {
        let len = core::mem::take(&mut self.len);
        (len > 0).then(|| (Incoming(self.frame, len), Outgoing(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities
    }
}

impl RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0.get(..self.1).unwrap_or_default())
    }
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        // smoltcp keeps to the size that the capabilities tell.
        let room = self.0.frame.get_mut(..len).unwrap_or_default();
        self.0.len = room.len();
        fill(room)
    }
}

/// No source of entropy at all, where a board's own belongs: whoever knows this can predict IVs.
struct Predictable(u64);

impl TryRng for Predictable {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| (number >> 32) as u32)
    }

    /// SplitMix64.
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

impl TryCryptoRng for Predictable {}

/// There is no console to complain to: stop, where a debugger finds the panic.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        cortex_m::asm::udf();
    }
}
