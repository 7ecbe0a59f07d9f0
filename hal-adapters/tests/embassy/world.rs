//! Two embassy-net stacks on a cable, and tasks, in time that passes only when nobody has anything to do.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

use embassy_net::tcp::TcpSocket;
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{ConfigV4, Ipv4Address, Ipv4Cidr, Stack, StackResources, StaticConfigV4};
use embassy_net_driver_channel::driver::{HardwareAddress, LinkState};
use embassy_net_driver_channel::{Device, RxRunner, State, TxRunner};
use embassy_time::MockDriver;
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::discovery::Subnet;
use peerdist_core::node::{Config, Node, Output};
use peerdist_core::store::ram::{BLOCK_PAGES, Entry, Page, RamStore};
use peerdist_core::time::Instant;
use peerdist_hal::embassy::{Driver, Learning, MIN_BUFFER};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

pub const PORT: u16 = 80;

/// Blocks that a store has room for.
const BLOCKS: usize = 8;

/// The longest Ethernet frame.
const FRAME: usize = 1_514;

/// Rounds in which everybody may act without time passing.
const MAX_ROUNDS: u32 = 100_000;

/// Of a socket, each way.
pub const BUFFER: usize = 4_096;

pub type TestNode = Node<RamStore<Vec<Page>, Vec<Entry>, Vec<u8>>, SoftCrypto, ChaCha20Rng, 16, 4>;

pub type TestDriver<const SOCKETS: usize> = Driver<'static, TestNode, SOCKETS>;

/// embassy-time has one clock in a process.
static CLOCK: Mutex<()> = Mutex::new(());

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Flag>,
    over: bool,
}

/// What is between the two stacks.
#[derive(Default)]
pub struct Cable {
    /// Loses all frames, once so many are [`frames`](Self::frames).
    pub cut_at: Cell<Option<usize>>,
    /// Loses one in so many frames, either way.
    pub loses: Cell<Option<usize>>,
    carried: Cell<usize>,
    /// Loses the TCP segments of the first stack.
    pub mute: Cell<bool>,
    /// Every frame of the first stack.
    pub frames: RefCell<Vec<Vec<u8>>>,
}

pub struct World {
    tasks: Vec<Task>,
    /// How often somebody had something to do.
    pub turns: usize,
    pub cable: Rc<Cable>,
    /// Those of 10.0.0.1 and 10.0.0.2.
    pub stacks: [Stack<'static>; 2],
    _clock: MutexGuard<'static, ()>,
}

/// A driver on one of the stacks.
pub struct Host<const SOCKETS: usize> {
    pub driver: &'static TestDriver<SOCKETS>,
    stack: Stack<'static>,
    /// What came out for the application.
    pub outputs: Rc<RefCell<Outputs>>,
    pub info: Vec<u8>,
}

#[derive(Default)]
pub struct Outputs {
    pub data: Vec<(u64, Vec<u8>)>,
    pub events: Vec<peerdist_core::download::DownloadEvent>,
}

impl World {
    /// Both stacks have an address.
    pub fn new() -> Self {
        let world = Self::without_addresses();
        for (last, stack) in (1..).zip(&world.stacks) {
            stack.set_config_v4(ConfigV4::Static(config(last)));
        }
        world
    }

    pub fn without_addresses() -> Self {
        let clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
        MockDriver::get().reset();
        // A node's time does not begin at zero.
        MockDriver::get().advance(embassy_time::Duration::from_secs(1));
        let cable = Rc::<Cable>::default();
        let mut tasks = Vec::new();
        let (one, sent_by_one, for_one) = stack(&mut tasks, 1);
        let (two, sent_by_two, for_two) = stack(&mut tasks, 2);
        tasks.push(Task::new(carry(sent_by_one, for_two, cable.clone(), true)));
        tasks.push(Task::new(carry(sent_by_two, for_one, cable.clone(), false)));
        Self { tasks, turns: 0, cable, stacks: [one, two], _clock: clock }
    }

    /// A driver on the stack with this last byte of its address. Its sockets are still to be driven.
    pub fn host<const SOCKETS: usize>(&mut self, last: u8, config: Config, info: &[u8]) -> Host<SOCKETS> {
        let store = RamStore::new(
            vec![Page::EMPTY; BLOCKS * BLOCK_PAGES],
            vec![Entry::EMPTY; BLOCKS],
            vec![0; 9_000],
        );
        let node = Node::new(config, store, SoftCrypto, ChaCha20Rng::from_seed([last; 32]));
        let driver: &'static TestDriver<SOCKETS> = leak(Driver::new(leak(node)));
        let stack = self.stacks[usize::from(last) - 1];
        let outputs = Rc::<RefCell<Outputs>>::default();
        let seen = outputs.clone();
        let subnet = Subnet { address: address(last).into(), prefix: 24 };
        driver.with_node(|node| node.set_addresses(&[subnet]));
        self.spawn(async move {
            let mut buffer = [0; MIN_BUFFER];
            let mut take = |output: Output<'_>| seen.borrow_mut().take(output);
            match driver.run(stack, udp(stack), &mut buffer, &mut take).await {
                Ok(never) => match never {},
                Err(error) => panic!("{error:?}"),
            }
        });
        Host { driver, stack, outputs, info: info.to_vec() }
    }

    /// The same, with all of its sockets.
    pub fn full_host<const SOCKETS: usize>(
        &mut self,
        last: u8,
        config: Config,
        info: &[u8],
    ) -> Host<SOCKETS> {
        let host = self.host(last, config, info);
        for _ in 0..SOCKETS {
            self.spawn(host.socket());
        }
        host
    }

    pub fn spawn(&mut self, future: impl Future<Output = ()> + 'static) -> usize {
        self.tasks.push(Task::new(future));
        self.tasks.len() - 1
    }

    /// Ends a task where it stands.
    pub fn kill(&mut self, task: usize) {
        self.tasks[task] = Task::new(async {});
    }

    /// Whether a task has ended.
    pub fn is_over(&self, task: usize) -> bool {
        self.tasks[task].over
    }

    /// Everybody acts until nobody has anything to do.
    pub fn settle(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let mut rest = true;
            for task in &mut self.tasks {
                if !task.over && task.woken.0.swap(false, Ordering::Relaxed) {
                    rest = false;
                    self.turns += 1;
                    let waker = Waker::from(task.woken.clone());
                    task.over = task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
                }
            }
            if rest {
                return;
            }
        }
        panic!("the tasks never come to rest");
    }

    /// Lets so many milliseconds pass.
    pub fn run(&mut self, millis: u64) {
        self.settle();
        for _ in 0..millis {
            MockDriver::get().advance(embassy_time::Duration::from_millis(1));
            self.settle();
        }
    }

    /// Lets time pass until `done`, at most so many milliseconds.
    pub fn run_until(&mut self, millis: u64, mut done: impl FnMut() -> bool) {
        self.settle();
        for _ in 0..millis {
            if done() {
                return;
            }
            self.run(1);
        }
        panic!("not done after {millis} ms");
    }
}

impl<const SOCKETS: usize> Host<SOCKETS> {
    /// What drives one of its sockets.
    pub fn socket(&self) -> impl Future<Output = ()> + 'static {
        let (driver, stack) = (self.driver, self.stack);
        async move { driver.drive(tcp(stack)).await }
    }
}

impl Outputs {
    fn take(&mut self, output: Output<'_>) {
        match output {
            Output::Data { offset, data, .. } => self.data.push((offset, data.to_vec())),
            Output::Download { event, .. } => self.events.push(event),
            _ => panic!("not for an application"),
        }
    }
}

impl Task {
    fn new(future: impl Future<Output = ()> + 'static) -> Self {
        Self { future: Box::pin(future), woken: Arc::new(Flag(AtomicBool::new(true))), over: false }
    }
}

type Sent = TxRunner<'static, FRAME>;
type Received = RxRunner<'static, FRAME>;

fn stack(tasks: &mut Vec<Task>, last: u8) -> (Stack<'static>, Sent, Received) {
    let hardware = HardwareAddress::Ethernet([2, 0, 0, 0, 0, last]);
    let state = leak(State::<FRAME, 8, 8>::new());
    let (card, device): (_, Device<'static, FRAME>) = embassy_net_driver_channel::new(state, hardware);
    let (link, for_us, sent) = card.split();
    link.set_link_state(LinkState::Up);
    let resources = leak(StackResources::<24>::new());
    let (stack, mut runner) =
        embassy_net::new(Learning::new(device), embassy_net::Config::default(), resources, last.into());
    tasks.push(Task::new(async move { runner.run().await }));
    (stack, sent, for_us)
}

/// Moves frames from one stack to the other.
async fn carry(mut from: Sent, mut to: Received, cable: Rc<Cable>, first: bool) {
    loop {
        let frame = from.tx_buf().await.to_vec();
        from.tx_done();
        // IPv4 in Ethernet, TCP in IPv4.
        let tcp = frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&6);
        if first {
            cable.frames.borrow_mut().push(frame.clone());
        }
        let cut = cable.cut_at.get().is_some_and(|at| cable.frames.borrow().len() >= at);
        cable.carried.set(cable.carried.get() + 1);
        let lost = cable.loses.get().is_some_and(|one_in| cable.carried.get().is_multiple_of(one_in));
        if cut || lost || (first && tcp && cable.mute.get()) {
            continue;
        }
        to.rx_buf().await[..frame.len()].copy_from_slice(&frame);
        to.rx_done(frame.len());
    }
}

pub fn tcp(stack: Stack<'static>) -> TcpSocket<'static> {
    TcpSocket::new(stack, leak([0; BUFFER]), leak([0; BUFFER]))
}

fn udp(stack: Stack<'static>) -> UdpSocket<'static> {
    let metadata = || leak([PacketMetadata::EMPTY; 8]);
    UdpSocket::new(stack, metadata(), leak([0; 8_192]), metadata(), leak([0; 8_192]))
}

pub fn config(last: u8) -> StaticConfigV4 {
    StaticConfigV4 {
        address: Ipv4Cidr::new(address(last), 24),
        gateway: None,
        dns_servers: Default::default(),
    }
}

pub fn address(last: u8) -> Ipv4Address {
    Ipv4Address::new(10, 0, 0, last)
}

pub fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}

/// embassy wants memory that is there for ever.
pub fn leak<T>(value: T) -> &'static mut T {
    Box::leak(Box::new(value))
}
