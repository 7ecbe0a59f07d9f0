//! A simulated branch office, whole: real stacks, real nodes, a slow line, and what goes wrong.

use std::cell::RefCell;
use std::rc::Rc;

use peerdist_core::encoding::InfoVersion;
use peerdist_core::node;
use peerdist_core::time::{Duration, Instant};
use peerdist_sim::check::{Blocks, Content, Delivery};
use peerdist_sim::crypto::Counters;
use peerdist_sim::host::{Client, Nodes};
use peerdist_sim::link::LinkConfig;
use peerdist_sim::origin::Origin;
use peerdist_sim::report::{Ending, Report};
use peerdist_sim::rng::Seed;
use peerdist_sim::run::{
    ClientHost, ClientOutcome, HostFactory, Nature, OriginHost, RunOptions, Seat, run, run_with,
};
use peerdist_sim::scenario::{Clock, ContentSource, Fault, Scenario, Start, parse_loss};
use peerdist_sim::world::{Frame, Host, Outcome, World};

const BLOCK: u64 = 65_536;

fn branch(clients: usize, bytes: u64) -> Scenario {
    Scenario { clients, content: ContentSource::Generated(bytes), ..Scenario::branch() }
}

fn report(scenario: &Scenario) -> Report {
    run(scenario, &RunOptions::default(), &mut ()).expect("nothing is wrong with the scenario")
}

/// All clients, or all but the killed, hold the right bytes.
fn assert_right(report: &Report, killed: Option<usize>) {
    assert_eq!(report.outcome, Outcome::Done);
    for (index, client) in report.clients.iter().enumerate() {
        assert_eq!(client.ok, killed != Some(index), "{} {:?}", client.name, client.reasons);
        assert!(!client.ok || client.sha256 == report.content.sha256);
    }
}

#[test]
fn a_staggered_branch_fetches_the_content_once() {
    let size = (1 << 20) + 12_345;
    let report = report(&branch(6, size));
    assert_right(&report, None);
    assert!(report.wan.bytes * 100 <= size * 105, "{} of {size} crossed the WAN", report.wan.bytes);
    assert_eq!(report.clients[0].bytes.origin, size);
    for client in &report.clients[1..] {
        assert_eq!((client.bytes.peer, client.blocks.peer), (size, size.div_ceil(BLOCK)), "{}", client.name);
        assert!(client.reasons.is_empty());
    }
    assert_eq!(report.clients[0].reasons["no peer answered"], size.div_ceil(BLOCK));
}

#[test]
fn content_information_2_0_is_shared_as_well() {
    for size in [0, 1, (1 << 20) + 12_345] {
        let scenario = Scenario { content_info: InfoVersion::V2, ..branch(4, size) };
        let first = report(&scenario);
        assert_right(&first, None);
        let (bytes, blocks) = (first.clients[0].bytes, first.clients[0].blocks);
        assert_eq!(bytes.origin, size);
        for client in first.clients[1..].iter().filter(|_| size > 0) {
            assert_eq!((client.bytes.peer, client.blocks.peer), (size, blocks.origin), "{}", client.name);
        }
        assert_eq!(first.to_json(), report(&scenario).to_json(), "a scenario repeats itself");
    }
}

#[test]
fn sizes_around_a_block_and_an_empty_file() {
    for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7] {
        let report = report(&branch(3, size));
        assert_right(&report, None);
        let of = |index: usize| report.clients[index].bytes;
        assert_eq!((of(0).origin, of(1).peer, of(2).peer), (size, size, size));
        if size == 0 {
            assert_eq!(report.wan.bytes, 0, "an empty file goes plainly");
        }
    }
}

#[test]
fn losses_cost_time_and_nothing_else() {
    for start in [Start::Staggered, Start::Together] {
        let lossy = Scenario { start, loss: parse_loss("5").expect("a loss"), seed: 7, ..branch(5, 700_000) };
        let first = report(&lossy);
        assert_right(&first, None);
        assert_eq!(first.to_json(), report(&lossy).to_json(), "a scenario repeats itself");
        let other = report(&Scenario { seed: 8, ..lossy });
        assert_right(&other, None);
        assert_ne!(first.trace_sha256, other.trace_sha256);
    }
}

#[test]
fn a_branch_that_starts_together_shares_too() {
    let size = 16 * BLOCK;
    let report = report(&Scenario { start: Start::Together, ..branch(5, size) });
    assert_right(&report, None);
    assert!(report.wan.bytes < report.wan.bytes_without * 7 / 10, "{}", report.wan.bytes);
    assert!(report.clients.iter().all(|client| client.bytes.peer > 0));
}

#[test]
fn one_client_is_killed_in_the_middle() {
    // The first, while all others depend on it; and one that is fetching from it.
    for (client, after) in [(0, 2_000), (1, 300)] {
        for start in [Start::Staggered, Start::Together] {
            let at = Duration::from_millis(after);
            let fault = Fault::Leave { client, clock: Clock::Download, at, back: None };
            let report = report(&Scenario { start, faults: vec![fault], ..branch(4, 16 * BLOCK) });
            assert_right(&report, Some(client));
        }
    }
}

#[test]
fn a_liar_is_named_and_shunned() {
    // Client 1 holds everything and corrupts every block it serves; client 0 is honest.
    // So many that both have answered the probe long before the last block is here.
    let blocks = 150;
    let lying = Scenario { faults: vec![Fault::Corrupt { client: 1 }], ..branch(4, blocks * BLOCK) };
    let report = report(&lying);
    assert_right(&report, None);
    let liar = "10.0.1.2: bad block";
    let caught: u64 = report.clients.iter().filter_map(|client| client.reasons.get(liar)).sum();
    assert!(caught > 0, "nobody noticed the liar");
    for client in &report.clients[2..] {
        // No more questions than were out when the first answer turned out to be wrong.
        let times = client.reasons.get(liar).copied().unwrap_or(0);
        assert!(times <= 8, "{} asked the liar {times} times", client.name);
        assert_eq!(client.bytes.origin, 0, "the honest peer has everything");
    }
}

#[test]
fn when_only_a_liar_has_it_the_origin_gives_it() {
    let lying = Scenario { faults: vec![Fault::Corrupt { client: 0 }], ..branch(2, 6 * BLOCK) };
    let report = report(&lying);
    assert_right(&report, None);
    let second = &report.clients[1];
    assert_eq!((second.bytes.peer, second.bytes.origin), (0, 6 * BLOCK));
    assert!(second.reasons["10.0.1.1: bad block"] > 0);
}

/// Makes nodes and keeps an eye on what their crypto providers are asked to do.
struct Watched {
    nodes: Nodes,
    counters: Rc<RefCell<Vec<Rc<Counters>>>>,
}

impl HostFactory for Watched {
    fn origin(&mut self, seat: Seat, content: &Content) -> Box<dyn OriginHost> {
        self.nodes.origin(seat, content)
    }

    fn client(
        &mut self,
        seat: Seat,
        origin: &Seat,
        delivery: Delivery,
        nature: Nature,
    ) -> Box<dyn ClientHost> {
        let client = Client::new(seat, origin.clone(), delivery, nature);
        self.counters.borrow_mut().push(client.crypto());
        Box::new(client)
    }
}

/// Makes nodes that one checks who takes other bytes for the content.
struct Mistaken {
    nodes: Nodes,
    blocks: Option<Rc<Blocks>>,
}

impl HostFactory for Mistaken {
    fn origin(&mut self, seat: Seat, content: &Content) -> Box<dyn OriginHost> {
        let mut bytes = content.bytes().to_vec();
        bytes[BLOCK as usize] ^= 1;
        let info = Origin::new(&seat, content, 1).info(InfoVersion::V1).to_vec();
        self.blocks = Some(Rc::new(Blocks::new(&Content::new(bytes), &info)));
        self.nodes.origin(seat, content)
    }

    fn client(
        &mut self,
        seat: Seat,
        origin: &Seat,
        delivery: Delivery,
        nature: Nature,
    ) -> Box<dyn ClientHost> {
        let config = node::Config::default();
        Box::new(Client::with_config(seat, origin.clone(), delivery, nature, config, self.blocks.clone()))
    }
}

/// The node is right and the checker is wrong, which takes less than the other way round to set up.
#[test]
fn a_block_that_would_be_served_is_checked_beside_what_is_delivered() {
    let mut hosts = Mistaken { nodes: Nodes::new(2), blocks: None };
    let scenario = branch(2, 3 * BLOCK + 5);
    let report = run_with(&scenario, &RunOptions::default(), &mut hosts, &mut ()).expect("a run");
    for client in &report.clients {
        assert_eq!((client.ok, client.ending), (false, Ending::WrongBlocks(1)));
        assert_eq!(client.sha256, report.content.sha256);
    }
}

#[test]
fn serving_a_stored_block_runs_no_cipher() {
    let size = 12 * BLOCK + 5;
    let counters = Rc::default();
    let mut hosts = Watched { nodes: Nodes::new(4), counters: Rc::clone(&counters) };
    let report = run_with(&branch(4, size), &RunOptions::default(), &mut hosts, &mut ()).expect("a run");
    assert_right(&report, None);
    let served: u64 = report.clients.iter().map(|client| client.bytes.peer).sum();
    assert_eq!(served, 3 * size);
    let sealed = 12 * (BLOCK + 16) + 16;
    for (index, counters) in counters.borrow().iter().enumerate() {
        // The first sealed what came from the origin, once. Whoever fetched from peers decrypted
        // each block twice: to verify it, and to hand it out. Serving added nothing to either.
        let (encrypted, decrypted) = if index == 0 { (sealed, sealed) } else { (0, 2 * sealed) };
        assert_eq!(counters.encrypted.get(), encrypted, "client {index}");
        assert!(counters.decrypted.get() <= decrypted, "client {index}: {}", counters.decrypted.get());
    }
}

/// Makes nodes of which the first takes four connections at a time.
struct FirstNarrow(Nodes);

impl HostFactory for FirstNarrow {
    fn origin(&mut self, seat: Seat, content: &Content) -> Box<dyn OriginHost> {
        self.0.origin(seat, content)
    }

    fn client(
        &mut self,
        seat: Seat,
        origin: &Seat,
        delivery: Delivery,
        nature: Nature,
    ) -> Box<dyn ClientHost> {
        let nature = if seat.name == "client-01" { Nature::Narrow } else { nature };
        self.0.client(seat, origin, delivery, nature)
    }
}

/// Who can ask for much at a time gets everything from a peer that takes few connections.
#[test]
fn a_peer_with_four_connections_gives_everything() {
    for seed in 1..=5 {
        let size = 200 * BLOCK + 5;
        let scenario = Scenario { seed, ..branch(2, size) };
        let options = RunOptions::default();
        let report = run_with(&scenario, &options, &mut FirstNarrow(Nodes::new(2)), &mut ()).expect("a run");
        assert_right(&report, None);
        let second = &report.clients[1];
        assert_eq!((second.bytes.peer, second.bytes.origin), (size, 0), "seed {seed}: {:?}", second.reasons);
        assert!(second.reasons.is_empty(), "{:?}", second.reasons);
    }
}

/// Sends what nobody can make sense of to everybody: broken discovery, and bytes that are no HTTP.
struct Noise {
    rounds: u8,
}

impl Host for Noise {
    fn receive(&mut self, _now: Instant, _frame: Frame) {}

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
        self.rounds = self.rounds.checked_sub(1)?;
        let payloads: [&[u8]; 4] = [
            b"\x00\xff\x00\xff",
            b"<soap:Envelope>",
            b"<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY a \"aaaa\">]><a>&a;</a>",
            include_bytes!("../vectors/pccrr-getblks-0.bin"),
        ];
        payloads.iter().for_each(|payload| send(datagram(payload)));
        Some(now + Duration::from_millis(20))
    }
}

/// A frame to the discovery group from 10.0.9.9, without a UDP checksum.
fn datagram(payload: &[u8]) -> Frame {
    let mut frame = vec![0x01, 0, 0x5e, 0x7f, 0xff, 0xfa, 2, 0, 0, 0, 9, 9, 8, 0];
    let length = 28 + payload.len() as u16;
    let mut ip = vec![0x45, 0];
    ip.extend(length.to_be_bytes());
    ip.extend([0, 0, 0, 0, 1, 17, 0, 0, 10, 0, 9, 9, 239, 255, 255, 250]);
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(ip);
    frame.extend([0x0e, 0x76, 0x0e, 0x76]);
    frame.extend((length - 20).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame.into()
}

/// A world put together by hand: an origin, two clients, and somebody who shouts.
#[test]
fn malformed_packets_are_counted_and_dropped() {
    enum Station {
        Origin(Box<dyn OriginHost>),
        Client(Box<Client>),
        Noise(Noise),
    }
    impl Station {
        fn host(&mut self) -> &mut dyn Host {
            match self {
                Self::Origin(host) => &mut **host as &mut dyn Host,
                Self::Client(host) => &mut **host,
                Self::Noise(host) => host,
            }
        }
    }
    impl Host for Station {
        fn receive(&mut self, now: Instant, frame: Frame) {
            self.host().receive(now, frame);
        }
        fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
            self.host().poll(now, send)
        }
    }

    let seed = Seed::new(3);
    let seat = |n: u8| Seat {
        name: format!("host-{n}"),
        mac: [2, 0, 0, 0, 0, n],
        ip: [10, 0, 0, n],
        seed: seed.child("host", n.into()),
        store: None,
    };
    let content = Content::new(vec![0x5a; 3 * BLOCK as usize]);
    let scenario = Scenario::branch();
    let lan: LinkConfig = scenario.link(scenario.lan);
    let mut world = World::new(seed.child("links", 0));
    let origin = Station::Origin(Nodes::new(2).origin(seat(1), &content));
    world.attach(origin, lan, lan);
    let clients = [2, 3].map(|n| {
        let client = Client::new(seat(n), seat(1), Delivery::new(content.clone()), Nature::Honest);
        world.attach(Station::Client(Box::new(client)), lan, lan)
    });
    world.attach(Station::Noise(Noise { rounds: 50 }), lan, lan);

    for port in clients {
        let now = world.now();
        let Station::Client(client) = world.host_mut(port) else { unreachable!("a client") };
        client.start(now);
        let outcome = world.run_until(now + Duration::from_secs(60), |world| match world.host(port) {
            Station::Client(client) => client.finished_at().is_some(),
            _ => false,
        });
        assert_eq!(outcome, Outcome::Done);
    }
    world.run_until(world.now() + Duration::from_secs(5), |_| false);
    for port in clients {
        let Station::Client(client) = world.host(port) else { unreachable!("a client") };
        assert_eq!(client.delivery().sha256(), content.sha256());
        assert_eq!(client.failure(), None);
        assert_eq!(client.node().counters().malformed_datagrams, 4 * 50);
    }
    let ClientOutcome { bytes, .. } = match world.host(clients[1]) {
        Station::Client(client) => client.outcome(),
        _ => unreachable!("a client"),
    };
    assert_eq!(bytes.peer, 3 * BLOCK);
}
