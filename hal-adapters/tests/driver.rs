//! The driver beside a plain stack, on a cable that can be told what to lose.

mod cable;

use peerdist_core::crypto::SoftCrypto;
use peerdist_core::download::{DownloadEvent, Url};
use peerdist_core::node::{Config, Node, Output};
use peerdist_core::store::ram::{Entry, Page, RamStore};
use peerdist_core::time::{Duration, Instant};
use peerdist_hal::smoltcp::{Driver, MIN_BUFFER};
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, Ipv4Address};

use cable::{Card, Queue};

const PORT: u16 = 80;

type TestNode = Node<RamStore<[Page; 0], [Entry; 0], [u8; 0]>, SoftCrypto, Predictable, 8, 1>;

/// A stack with some TCP sockets.
struct Stack {
    card: Card,
    interface: Interface,
    sockets: SocketSet<'static>,
    tcp: Vec<SocketHandle>,
}

/// A node behind its driver, and a plain stack with three sockets.
struct World<const SOCKETS: usize> {
    now: Instant,
    ours: Stack,
    driver: Driver<SOCKETS>,
    node: Box<TestNode>,
    theirs: Stack,
    failed: bool,
}

impl<const SOCKETS: usize> World<SOCKETS> {
    fn new() -> Self {
        let (there, back) = (Queue::default(), Queue::default());
        let mut ours = Stack::new(1, SOCKETS, Card::new(&back, &there));
        let packets = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 4], vec![0; 4_096]);
        let udp = ours.sockets.add(udp::Socket::new(packets(), packets()));
        let tcp = core::array::from_fn(|index| ours.tcp[index]);
        let driver = Driver::new(&mut ours.interface, udp, tcp, PORT, 50_000).unwrap();
        let store = RamStore::new([], [], []);
        let config = Config { reserved_streams: 1, ..Config::default() };
        let node = Box::new(Node::new(config, store, SoftCrypto, Predictable));
        let theirs = Stack::new(2, 3, Card::new(&there, &back));
        Self { now: Instant::from_millis(1), ours, driver, node, theirs, failed: false }
    }

    /// Both sides act, a millisecond apart, for so long. Returns when the driver wants to be
    /// polled next.
    fn run(&mut self, duration: Duration) -> Option<Instant> {
        let end = self.now + duration;
        let mut buffer = [0; MIN_BUFFER];
        loop {
            let Stack { card, interface, sockets, .. } = &mut self.ours;
            let failed = &mut self.failed;
            let next = self.driver.poll(
                self.now,
                interface,
                card,
                sockets,
                &mut self.node,
                &mut buffer,
                &mut |out| {
                    *failed |= matches!(out, Output::Download { event: DownloadEvent::Failed(_), .. });
                },
            );
            self.theirs.poll(self.now);
            if self.now >= end {
                return next;
            }
            self.now += Duration::from_millis(1);
        }
    }

    fn connect(&mut self, index: usize) {
        let Stack { interface, sockets, tcp, .. } = &mut self.theirs;
        let socket = sockets.get_mut::<tcp::Socket>(tcp[index]);
        let remote = (IpAddress::Ipv4(address(1)), PORT);
        socket.connect(interface.context(), remote, 40_000 + index as u16).unwrap();
    }

    fn socket(&mut self, index: usize) -> &mut tcp::Socket<'static> {
        let handle = self.theirs.tcp[index];
        self.theirs.sockets.get_mut(handle)
    }
}

/// Connections that never come about are no reason to refuse others.
#[test]
fn half_open_connections_do_not_close_the_port() {
    let mut world = World::<8>::new();
    world.run(Duration::from_millis(5));
    world.ours.card.mute = true;
    world.connect(0);
    world.connect(1);
    world.run(Duration::from_millis(20));
    world.ours.card.mute = false;
    world.connect(2);
    world.run(Duration::from_millis(20));
    assert_eq!(world.socket(2).state(), tcp::State::Established);
}

/// Who fetches two blocks at a time connects twice at once, to a small peer too.
#[test]
fn two_that_connect_at_once_find_four_sockets() {
    let mut world = World::<4>::new();
    world.run(Duration::from_millis(5));
    world.connect(0);
    world.connect(1);
    world.run(Duration::from_millis(20));
    for index in 0..2 {
        assert_eq!(world.socket(index).state(), tcp::State::Established);
    }
}

/// The node closes; the other side does not, and goes on talking.
#[test]
fn who_never_closes_is_reset() {
    let mut world = World::<4>::new();
    world.run(Duration::from_millis(5));
    world.connect(0);
    world.run(Duration::from_millis(20));
    world.socket(0).send_slice(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    world.run(Duration::from_millis(50));
    assert_eq!(world.socket(0).state(), tcp::State::CloseWait);
    let closed = world.now;
    let mut next = None;
    for _ in 0..11 {
        assert_eq!(world.socket(0).state(), tcp::State::CloseWait, "{:?}", world.now.since(closed));
        let _ = world.socket(0).send_slice(b"more");
        next = world.run(Duration::from_millis(400));
    }
    assert!(next.is_some_and(|at| at <= closed + Duration::from_secs(5)), "{next:?} after {closed:?}");
    let _ = world.socket(0).send_slice(b"more");
    world.run(Duration::from_millis(700));
    assert_eq!(world.socket(0).state(), tcp::State::Closed);
}

/// The only socket listens: the origin is not to blame, and the download waits.
#[test]
fn want_of_sockets_ends_no_download() {
    let mut world = World::<1>::new();
    let url = Url {
        origin: (address(2), 80).into(),
        host: "origin".try_into().unwrap(),
        path: "/".try_into().unwrap(),
    };
    world.node.download(world.now, url).unwrap();
    world.run(Duration::from_secs(60));
    assert!(!world.failed);
}

/// No packet can go to port 0: that is the origin's fault, and waiting for a socket would not help.
#[test]
fn an_address_that_nobody_can_have_ends_the_download() {
    let mut world = World::<4>::new();
    let url = Url {
        origin: (address(2), 0).into(),
        host: "origin".try_into().unwrap(),
        path: "/".try_into().unwrap(),
    };
    world.node.download(world.now, url).unwrap();
    world.run(Duration::from_secs(60));
    assert!(world.failed);
}

impl Stack {
    fn new(last: u8, sockets: usize, mut card: Card) -> Self {
        let hardware = EthernetAddress([2, 0, 0, 0, 0, last]);
        let config = smoltcp::iface::Config::new(hardware.into());
        let mut interface = Interface::new(config, &mut card, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::Ipv4(address(last)), 24)).unwrap();
        });
        let mut set = SocketSet::new(Vec::new());
        let buffer = || tcp::SocketBuffer::new(vec![0; 4_096]);
        let tcp = (0..sockets).map(|_| set.add(tcp::Socket::new(buffer(), buffer()))).collect();
        Self { card, interface, sockets: set, tcp }
    }

    fn poll(&mut self, now: Instant) {
        let now = smoltcp::time::Instant::from_micros(now.micros() as i64);
        self.interface.poll(now, &mut self.card, &mut self.sockets);
    }
}

fn address(last: u8) -> Ipv4Address {
    Ipv4Address::new(10, 0, 0, last)
}

/// No source of entropy: none is needed here.
struct Predictable;

impl rand_core::TryRng for Predictable {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(4)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(4)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.fill(4);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Predictable {}
