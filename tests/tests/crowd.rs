//! Applications that read through the PeerDist API on a simulated LAN: who is told of a flash crowd, and when.

use std::collections::BTreeMap;

use peerdist_core::api::operation::{Completion, Outcome};
use peerdist_core::api::{CROWD, CROWD_LASTS, ContentHandle, Patience, SUPPORTED_VERSION, Standard, UserId};
use peerdist_core::content::segmenter::Segmentation;
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::discovery::Subnet;
use peerdist_core::node::{Config, Node, Serving};
use peerdist_core::store::ram::{Entry, Page, RamStore};
use peerdist_core::time::{Duration, Instant};
use peerdist_hal::smoltcp::Driver;
use peerdist_sim::link::LinkConfig;
use peerdist_sim::rng::{Rng, Seed};
use peerdist_sim::run::{PREFIX_LEN, Seat};
use peerdist_sim::stack::Stack;
use peerdist_sim::switch::PortId;
use peerdist_sim::world::{Frame, Host, Outcome as Ran, World};
use peerdist_tests::check::content;
use peerdist_tests::info::segments;
use peerdist_tests::origin::{publish, publish_v2};
use peerdist_tests::pair::memory;

/// Of one segment in either version, and of one block.
const LEN: usize = 30_000;

/// How long a reader that misses data waits before it reads again.
const PAUSE: Duration = Duration::from_millis(500);

/// Within it, a probe is sent as often as it ever is.
const REPEATS: Duration = Duration::from_secs(2);

const SOCKETS: usize = 4;

type ReadingNode =
    Node<RamStore<Vec<Page>, Vec<Entry>, Vec<u8>>, SoftCrypto, Rng, SOCKETS, 2, 0, Serving, Standard>;

/// A machine whose application reads the content from its beginning, and again while it is missing.
struct Reader {
    stack: Stack,
    driver: Driver<SOCKETS>,
    node: Box<ReadingNode>,
    content: ContentHandle,
    /// What is asked of each read; `None` while it reads nothing.
    patience: Option<Patience>,
    /// A read is under way, or content information is not complete yet.
    busy: bool,
    /// When it reads next.
    next: Instant,
    /// When a probe of each other machine came last, as the frames have it; nobody is listened for before the
    /// first read.
    heard: BTreeMap<[u8; 4], Instant>,
    listens: bool,
    /// What the application was told last.
    told: bool,
    /// What was read.
    data: Vec<u8>,
    buffer: Vec<u8>,
}

impl Reader {
    fn new(number: u8, info: &[u8]) -> Self {
        let seat = Seat {
            name: format!("reader-{number}"),
            mac: [2, 0, 0, 0, 0, number],
            ip: [10, 0, 0, number],
            seed: Seed::new(57).child("reader", number.into()),
            store: None,
        };
        let mut stack = Stack::new(&seat);
        let udp = stack.add_udp();
        let tcp = [(); SOCKETS].map(|()| stack.add_tcp(68 * 1_024, 68 * 1_024));
        let driver = Driver::new(&mut stack.interface, udp, tcp, 80, 50_000).unwrap();
        let rng = seat.seed.child("node", 0).rng();
        let mut node = Box::new(ReadingNode::new(Config::default(), memory(2, 1_024), SoftCrypto, rng));
        node.set_addresses(&[Subnet { address: seat.ip.into(), prefix: PREFIX_LEN }]);
        let mut api = node.api();
        let instance = api.startup(SUPPORTED_VERSION, UserId::default()).unwrap();
        let content = api.open_content(instance, [7; 16], 0).unwrap();
        api.add_content_information(content, info).unwrap();
        api.complete_content_information(content).unwrap();
        Self {
            stack,
            driver,
            node,
            content,
            patience: None,
            busy: true,
            next: Instant::ZERO,
            heard: BTreeMap::new(),
            listens: false,
            told: false,
            data: Vec::new(),
            buffer: vec![0; 4_096],
        }
    }

    /// Asks whether there is a crowd, which is no secret to who sees the frames.
    fn ask(&mut self, now: Instant) {
        self.told = self.node.api().information(now, self.content).unwrap().flash_crowd;
        let is_there = self.crowd_ends().is_some_and(|end| now <= end);
        assert_eq!(self.told, is_there, "at {now:?}: {:?}", self.heard);
    }

    /// When the crowd of those that were heard is over.
    fn crowd_ends(&self) -> Option<Instant> {
        let mut heard: Vec<Instant> = self.heard.values().copied().collect();
        heard.sort();
        Some(*heard.iter().rev().nth(CROWD - 1)? + CROWD_LASTS)
    }

    /// The origin has given the content.
    fn add(&mut self, bytes: &[u8]) {
        self.node.api().add_data(self.content, 0, bytes).unwrap();
    }

    fn take(&mut self, now: Instant, completion: &Completion) {
        match completion.outcome {
            Outcome::Taken(_) => return,
            Outcome::Done => {}
            Outcome::Missing { offset: 0, .. } | Outcome::TimedOut { offset: 0, .. } => {
                self.next = now + PAUSE;
            }
            Outcome::Data { offset: 0, len } => {
                self.data = vec![0; len as usize];
                let copied = self.node.api().copy_read(completion.operation, 0, &mut self.data);
                assert_eq!(copied, Ok(self.data.len()));
                self.node.api().end_read(completion.operation);
                self.patience = None;
            }
            ref other => panic!("{other:?}"),
        }
        self.busy = false;
    }
}

/// Who sent it, if it is a probe.
fn prober(frame: &[u8]) -> Option<[u8; 4]> {
    let is_discovery = frame.get(12..14)? == [8, 0]
        && frame.get(23)? == &17
        && frame.get(36..38)? == 3_702_u16.to_be_bytes();
    let action = b"/discovery/Probe<";
    let is_probe = frame.windows(action.len()).any(|part| part == action);
    (is_discovery && is_probe).then(|| frame[26..30].try_into().unwrap())
}

impl Host for Reader {
    fn receive(&mut self, now: Instant, frame: Frame) {
        if let Some(from) = prober(&frame).filter(|_| self.listens) {
            self.heard.insert(from, now);
        }
        self.stack.card.incoming.push_back(frame);
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
        if let Some(patience) = self.patience.filter(|_| !self.busy && self.next <= now) {
            self.node.api().block_read(now, self.content, 0, LEN as u32, patience).unwrap();
            (self.busy, self.listens) = (true, true);
        }
        let Stack { interface, card, sockets } = &mut self.stack;
        let (driver, node, buffer) = (&mut self.driver, &mut self.node, &mut self.buffer);
        let wake = driver.poll(now, interface, card, sockets, node, buffer, &mut |_| {});
        card.outgoing.drain(..).for_each(send);
        let mut ended = false;
        while let Some(completion) = self.node.api().poll_operation() {
            self.take(now, &completion);
            ended = true;
        }
        self.ask(now);
        let next = self.patience.filter(|_| !self.busy).map(|_| self.next);
        wake.into_iter().chain(next).chain(ended.then_some(now)).min()
    }
}

fn pass(world: &mut World<Reader>, time: Duration) {
    let until = world.now() + time;
    while world.now() < until && world.run_until(until, |_| false) == Ran::Stuck {
        world.skip_to(until);
    }
}

/// What each is told now.
fn told(world: &mut World<Reader>, ports: &[PortId]) -> Vec<bool> {
    let now = world.now();
    let told = |&port: &PortId| {
        let reader = world.host_mut(port);
        reader.ask(now);
        reader.told
    };
    ports.iter().map(told).collect()
}

/// 57, of a LAN: one machine listens, two others probe, then more. Those hear one less, since nobody hears himself.
#[test]
fn conformance_57_on_a_lan_a_flash_crowd_is_three_others_that_probe() {
    let bytes = content(LEN);
    let infos = [publish(&bytes), publish_v2(&bytes, Segmentation::ContentDefined)];
    for (info, others) in infos.iter().flat_map(|info| [(info, 3), (info, 6)]) {
        assert_eq!(segments(&&info[..]).len(), 1);
        let cable = LinkConfig::new(1_000_000_000, Duration::from_micros(50));
        let mut world = World::new(Seed::new(57));
        let mut attach = |number| world.attach(Reader::new(number, info), cable, cable);
        let ports: Vec<PortId> = (1..=others + 1).map(&mut attach).collect();
        world.host_mut(ports[0]).patience = Some(Patience::Local);
        ports[1..3].iter().for_each(|&port| world.host_mut(port).patience = Some(Patience::Endless));
        pass(&mut world, Duration::from_secs(15));
        assert_eq!(world.host(ports[0]).heard.len(), 2);
        assert!(told(&mut world, &ports).iter().all(|told| !told));

        ports[3..].iter().for_each(|&port| world.host_mut(port).patience = Some(Patience::Endless));
        let soon = world.now() + Duration::from_secs(1);
        assert_eq!(world.run_until(soon, |world| world.host(ports[0]).told), Ran::Done);
        pass(&mut world, Duration::from_secs(15));
        let hear_enough = |index: usize| index == 0 || others > 3;
        assert!(told(&mut world, &ports).into_iter().enumerate().all(|(at, told)| told == hear_enough(at)));

        // One of them goes to the origin after all, which is enough for everybody: nobody probes any more.
        world.host_mut(ports[0]).patience = Some(Patience::Endless);
        world.host_mut(ports[1]).add(&bytes);
        let soon = world.now() + Duration::from_secs(5);
        let all_read = |world: &World<Reader>| ports.iter().all(|&port| world.host(port).data == bytes);
        assert_eq!(world.run_until(soon, all_read), Ran::Done);
        // What was sent is repeated for a while.
        pass(&mut world, REPEATS);
        let end = world.host(ports[0]).crowd_ends().unwrap();
        let left = end - world.now();
        assert!(left > Duration::ZERO && left <= CROWD_LASTS);
        pass(&mut world, left);
        assert!(told(&mut world, &ports)[0]);
        pass(&mut world, Duration::from_micros(1));
        assert!(!told(&mut world, &ports)[0]);
    }
}
