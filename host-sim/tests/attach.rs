//! A machine on the simulated switch: here a test at the other end of the cable, in place of QEMU.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use peerdist_core::time::Duration as SimDuration;
use peerdist_sim::hostile::{Answers, Stage};
use peerdist_sim::link::Probability;
use peerdist_sim::port::{Jack, News, qemu};
use peerdist_sim::report::Report;
use peerdist_sim::run::{Notice, Order, Orders, Progress, RunOptions, Step, Watch, run};
use peerdist_sim::scenario::{ContentSource, Fault, LineChange, Member, Scenario, Start};

const MACHINE: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const ORIGIN: [u8; 4] = [10, 0, 0, 1];
const US: [u8; 4] = [10, 0, 9, 1];

/// The other end of the cable.
struct Cable(TcpStream);

impl Cable {
    fn plug(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the switch");
        // So that the test ends where it fails.
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        Self(stream)
    }

    fn send(&mut self, frame: &[u8]) {
        self.0.write_all(&(frame.len() as u32).to_be_bytes()).expect("sent");
        self.0.write_all(frame).expect("sent");
    }

    /// The next frame; `None` if the other end has closed.
    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).expect("a frame");
        Some(frame)
    }

    /// Who has 10.0.0.1, asked by 10.0.9.1 (RFC 826).
    fn ask(&mut self) {
        let mut frame = [&[0xff; 6][..], &MACHINE, &[0x08, 0x06], &[0, 1, 8, 0, 6, 4, 0, 1]].concat();
        frame.extend_from_slice(&MACHINE);
        frame.extend_from_slice(&[&US[..], &[0; 6], &ORIGIN].concat());
        self.send(&frame);
    }

    /// The answer to that.
    fn answer(&mut self) -> Vec<u8> {
        let mut frames = std::iter::from_fn(|| self.receive());
        frames.find(|frame| arp(frame) == Some(2)).expect("an answer")
    }
}

/// Whether that is a question of ARP, or an answer.
fn arp(frame: &[u8]) -> Option<u8> {
    (frame.get(12..14)? == [8, 6]).then_some(*frame.get(21)?)
}

/// Writes down what it is told, and gives orders to the run upon it.
struct Diary<F> {
    notices: Vec<Notice>,
    orders: Orders,
    upon: F,
}

impl<F: FnMut(&Notice) -> Option<Order>> Watch for Diary<F> {
    fn progress(&mut self, _progress: Progress) {}

    fn notice(&mut self, notice: &Notice) {
        self.notices.push(notice.clone());
        if let Some(order) = (self.upon)(notice) {
            self.orders.give(order);
        }
    }
}

/// Two clients that want 100,000 bytes.
fn scenario(faults: &[Fault]) -> Scenario {
    let content = ContentSource::Generated(100_000);
    Scenario { clients: 2, content, faults: faults.to_vec(), ..Scenario::branch() }
}

/// Runs the scenario with that machine; orders come from it, and upon notices.
fn attached<T: Send + 'static>(
    scenario: &Scenario,
    machine: impl FnOnce(SocketAddr, Orders) -> T + Send + 'static,
    upon: impl FnMut(&Notice) -> Option<Order>,
) -> (Report, Vec<Notice>, T) {
    let jack = qemu::Jack::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let address = jack.address().expect("an address");
    let orders = Orders::default();
    let theirs = orders.clone();
    let machine: JoinHandle<T> = thread::spawn(move || machine(address, theirs));
    let options = RunOptions { jacks: vec![Jack::Qemu(jack)], orders: Some(orders.clone()), pcap: None };
    let mut diary = Diary { notices: Vec::new(), orders, upon };
    let report = run(scenario, &options, &mut diary).expect("a run");
    (report, diary.notices, machine.join().expect("a machine"))
}

#[test]
fn a_machine_talks_to_the_origin_and_lets_the_clients_go() {
    let jack = qemu::Jack::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let address = jack.address().expect("an address");
    let orders = Orders::default();
    let given = orders.clone();
    let machine = thread::spawn(move || {
        let mut cable = Cable::plug(address);
        cable.ask();
        let answer = cable.answer();
        given.give(Order::Start);
        (cable, answer)
    });
    let folder = tempfile::tempdir().expect("a folder");
    let captures = folder.path().join("captures");
    let jacks = vec![Jack::Qemu(jack)];
    let options = RunOptions { pcap: Some(captures.clone()), jacks, orders: Some(orders) };
    let report = run(&scenario(&[]), &options, &mut ()).expect("a run");

    let (_cable, answer) = machine.join().expect("a machine");
    let origin = [2, 0, 0, 0, 0, 0];
    assert_eq!((&answer[..6], &answer[6..12], &answer[28..32]), (&MACHINE[..], &origin[..], &ORIGIN[..]));
    assert!(report.ok());
    for host in ["machine-01", "services", "origin", "hostile-01"] {
        let captured = std::fs::metadata(captures.join(format!("{host}.pcapng"))).expect("a capture").len();
        assert!(captured > 100, "{host}: {captured}");
    }
    let captured = std::fs::metadata(captures.join("machine-01.pcapng")).expect("a capture").len();
    assert!(captured > 300, "{captured}");
}

/// Nobody lets them, and no client asks for anything.
#[test]
fn clients_that_are_held() {
    let time_limit = Some(SimDuration::from_millis(300));
    let (report, ..) = attached(&Scenario { time_limit, ..scenario(&[]) }, |_, _| (), |_| None);
    assert!(!report.ok());
    assert!(report.to_json().contains(r#""wan":{"bytes":0,"#), "{}", report.to_json());
}

/// It sends what is no frame, then nonsense, is cut off, and comes again: the run goes on.
#[test]
fn a_machine_that_goes_may_come_again() {
    let machine = |address, orders: Orders| {
        let mut cable = Cable::plug(address);
        cable.send(&[]);
        cable.send(&[0; 13]);
        cable.send(&[0; 2_000]);
        cable.ask();
        cable.answer();
        cable.0.write_all(&[0xff; 8]).expect("sent");
        while cable.receive().is_some() {}
        let mut cable = Cable::plug(address);
        cable.ask();
        cable.answer();
        orders.give(Order::Start);
        cable
    };
    let (report, notices, _cable) = attached(&scenario(&[]), machine, |_| None);
    assert!(report.ok());
    let news = notices.iter().filter_map(|notice| match notice {
        Notice::Machine { member: Member::Machine(0), news } => Some(news),
        _ => None,
    });
    match news.collect::<Vec<_>>()[..] {
        [News::Plugged(_), News::Misfit(0), News::Unplugged(why), News::Plugged(_)] => {
            assert!(why.starts_with("a length of 4294967295 bytes came"), "{why}");
        }
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn faults_of_its_cable_are_those_of_the_scenario() {
    let delay = SimDuration::from_millis(200);
    let duplicate = Probability::from_percent(100.0);
    let lan = LineChange { delay: Some(delay), duplicate, ..LineChange::default() };
    let machine = |address, orders: Orders| {
        let mut cable = Cable::plug(address);
        let asked = Instant::now();
        cable.ask();
        cable.answer();
        let time = asked.elapsed();
        // Each of two questions has an answer, and each of these comes twice.
        (0..3).for_each(|_| drop(cable.answer()));
        orders.give(Order::Start);
        (cable, time)
    };
    let cable = Fault::Cable { member: Member::Machine(0), lan };
    let (report, _, (_cable, time)) = attached(&scenario(&[cable]), machine, |_| None);
    assert!(report.ok());
    assert!(time >= Duration::from_millis(400), "{time:?}");
}

#[test]
fn without_its_cable_a_machine_hears_nothing() {
    let machine = |address, orders: Orders| {
        let mut cable = Cable::plug(address);
        cable.ask();
        cable.answer();
        orders.give(Order::Start);
        // Until the run is over: the first client asks everybody who the origin is.
        std::iter::from_fn(|| cable.receive()).filter(|frame| arp(frame) == Some(1)).count()
    };
    let member = Member::Machine(0);
    let away = Fault::Unplug { member, at: SimDuration::ZERO, back: None };
    let (report, _, heard) = attached(&scenario(&[]), machine, |_| None);
    assert!(report.ok() && heard > 0, "{heard}");
    let (report, _, heard) = attached(&scenario(&[away]), machine, |_| None);
    assert!(report.ok() && heard == 0, "{heard}");
}

/// What happens is told, and somebody does something about it.
#[test]
fn orders_are_followed_when_they_come() {
    let machine = |address, orders: Orders| {
        let mut cable = Cable::plug(address);
        cable.ask();
        cable.answer();
        orders.give(Order::Leave(Member::Machine(7)));
        orders.give(Order::Leave(Member::Origin));
        orders.give(Order::Start);
        cable
    };
    let upon = |notice: &Notice| match notice {
        // Without the origin, it gets nowhere.
        Notice::Client { member: Member::Client(0), step: Step::Begun } => {
            Some(Order::Return(Member::Origin))
        }
        Notice::Client { member: Member::Client(0), step: Step::Half } => {
            Some(Order::Leave(Member::Services))
        }
        Notice::Client { member: Member::Client(1), step: Step::Begun } => {
            Some(Order::Flood(Member::Client(0)))
        }
        _ => None,
    };
    let (report, notices, _cable) = attached(&scenario(&[]), machine, upon);
    assert!(report.ok());
    assert!(notices.contains(&Notice::Nobody(Member::Machine(7))), "{notices:?}");
    let told = |wanted: &dyn Fn(&Notice) -> bool| notices.iter().any(wanted);
    for index in 0..2 {
        let member = Member::Client(index);
        assert!(told(&|notice| *notice == Notice::Client { member, step: Step::Begun }));
        let ended = |notice: &Notice| matches!(notice, Notice::Client { member: of, step: Step::Ended(_) } if *of == member);
        assert!(told(&ended), "{notices:?}");
    }
    assert!(told(&|notice| matches!(notice, Notice::Flood { stage: Stage::Opening, .. })), "{notices:?}");
}

/// In virtual time, with clients alone: whoever opens all connections of a client keeps nobody from the content.
#[test]
fn a_flood_ends_and_everybody_has_everything() {
    let flood = Fault::Flood {
        member: Member::Client(0),
        at: SimDuration::ZERO,
        connections: 1_000,
        port: 80,
        hold: SimDuration::from_secs(2),
    };
    let content = ContentSource::Generated(2_000_000);
    let start = Start::Staggered;
    let scenario = Scenario { clients: 2, content, start, faults: vec![flood], ..Scenario::branch() };
    let (mut open, mut over) = (None, false);
    let upon = |notice: &Notice| {
        match notice {
            Notice::Flood { stage: Stage::Open(answers), name } => open = Some((name.clone(), *answers)),
            Notice::Flood { stage: Stage::Over { .. }, .. } => over = true,
            _ => {}
        }
        None
    };
    let mut diary = Diary { notices: Vec::new(), orders: Orders::default(), upon };
    let report = run(&scenario, &RunOptions::default(), &mut diary).expect("a run");
    assert!(report.ok(), "{}", report.to_json());
    let (name, Answers { open, refused, silent }) = open.expect("answers");
    assert_eq!((name.as_str(), open + refused + silent), ("hostile-01", 1_000));
    assert!(open > 0 && refused > 0 && over, "{open} {refused} {silent}");
    // Without the flood it is the same, with another trace.
    let calm = run(&Scenario { faults: vec![], ..scenario.clone() }, &RunOptions::default(), &mut ());
    assert_ne!(calm.expect("a run").trace_sha256, report.trace_sha256);
    let again = run(&scenario, &RunOptions::default(), &mut ()).expect("a run");
    assert_eq!(again.trace_sha256, report.trace_sha256);
}
