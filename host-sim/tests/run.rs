//! Runs from start to end, with hosts simple enough to see through: they speak a protocol of their own over
//! bare Ethernet, and ask the origin for one piece after the other.

use peerdist_core::time::{Duration, Instant};
use peerdist_sim::check::{Content, Delivery};
use peerdist_sim::report::{Ending, Report, Sources};
use peerdist_sim::run::{
    ClientHost, ClientOutcome, HostFactory, Nature, OriginHost, Progress, RunOptions, Seat, Watch, run_with,
};
use peerdist_sim::scenario::{
    self, Clock, ContentSource, Fault, LineChange, Member, Scenario, Start, parse_loss,
};
use peerdist_sim::world::{Frame, Host, Outcome};

const PIECE: usize = 1000;
const RETRY: Duration = Duration::from_millis(400);
const SIZE: u64 = 100_500;

fn branch() -> Scenario {
    Scenario { clients: 3, content: ContentSource::Generated(SIZE), ..Scenario::branch() }
}

fn run(scenario: &Scenario) -> Report {
    run_with(scenario, &RunOptions::default(), &mut Toys, &mut ())
        .expect("nothing is wrong with the scenario")
}

#[test]
fn everybody_gets_everything_and_a_scenario_repeats_itself() {
    for start in [Start::Staggered, Start::Together] {
        let lossy = Scenario { start, loss: parse_loss("5").expect("a loss"), ..branch() };
        let report = run(&lossy);
        assert!(report.ok() && report.outcome == Outcome::Done);
        assert!(report.clients.iter().all(|client| client.sha256 == report.content.sha256));
        assert_eq!(report.wan.bytes_without, 3 * SIZE);
        assert_eq!(report.to_json(), run(&lossy).to_json());
        assert_ne!(report.trace_sha256, run(&Scenario { seed: 2, ..lossy }).trace_sha256);
    }
}

#[test]
fn staggered_clients_wait_for_each_other() {
    let report = run(&branch());
    let sum: u64 = report.clients.iter().map(|client| client.virtual_ms).sum();
    // Whole milliseconds, rounded down.
    assert!(report.virtual_ms.abs_diff(sum) <= 3, "{} {sum}", report.virtual_ms);
    let together = run(&Scenario { start: Start::Together, ..branch() });
    assert!(together.virtual_ms < report.virtual_ms);
    assert!(together.clients.iter().all(|client| client.virtual_ms + 100 >= together.virtual_ms / 2));
}

#[test]
fn the_killed_has_not_all_and_does_not_keep_the_others_waiting() {
    let faults = vec![Fault::Leave {
        client: 1,
        clock: Clock::Download,
        at: Duration::from_millis(2_000),
        back: None,
    }];
    for start in [Start::Staggered, Start::Together] {
        let report = run(&Scenario { faults: faults.clone(), start, ..branch() });
        let ok: Vec<bool> = report.clients.iter().map(|client| client.ok).collect();
        assert_eq!(ok, [true, false, true]);
        assert_eq!(report.clients[1].ending, Ending::Killed);
        assert_eq!(report.clients[1].virtual_ms, 2_000);
        assert_eq!(report.outcome, Outcome::Done);
    }
}

#[test]
fn who_left_before_its_turn_is_passed_over() {
    let gone = Fault::Leave { client: 1, clock: Clock::Run, at: Duration::from_millis(1), back: None };
    let report = run(&Scenario { faults: vec![gone], ..branch() });
    let endings: Vec<Ending> = report.clients.iter().map(|client| client.ending).collect();
    assert_eq!(endings, [Ending::Right, Ending::Killed, Ending::Right]);
    assert_eq!((report.outcome, report.clients[1].virtual_ms), (Outcome::Done, 0));
}

#[test]
fn who_comes_back_goes_on_and_is_waited_for() {
    let seconds = Duration::from_secs;
    let away = Fault::Leave { client: 0, clock: Clock::Run, at: seconds(1), back: Some(seconds(60)) };
    let parted = Fault::Partition {
        between: [vec![Member::Client(1)], vec![Member::Origin]],
        from: Duration::ZERO,
        to: Some(seconds(90)),
    };
    for start in [Start::Staggered, Start::Together, Start::At([0, 0, 100].map(seconds).to_vec())] {
        let report = run(&Scenario { faults: vec![away.clone(), parted.clone()], start, ..branch() });
        assert!(report.ok() && report.outcome == Outcome::Done, "{}", report.to_json());
        assert!(report.clients[0].virtual_ms >= 59_000 && report.virtual_ms > 90_000);
        // Nothing keeps the last from the origin.
        assert!(report.clients[2].virtual_ms < 59_000);
    }
}

#[test]
fn an_origin_that_vanishes_is_waited_for_if_it_comes_back() {
    let seconds = Duration::from_secs;
    let away = |back| Fault::Unplug { member: Member::Origin, at: seconds(1), back };
    let report = run(&Scenario { faults: vec![away(Some(seconds(60)))], ..branch() });
    assert!(report.ok() && report.clients[0].virtual_ms >= 60_000, "{}", report.to_json());
    let time_limit = Some(seconds(300));
    let report = run(&Scenario { faults: vec![away(None)], time_limit, ..branch() });
    assert!(!report.ok() && report.outcome == Outcome::TimeLimit, "{}", report.to_json());
}

#[test]
fn a_cable_of_its_own_is_as_it_is_said() {
    let slow = scenario::parse_line("64kbit/100ms").expect("a line");
    let lan = LineChange { rate: Some(slow.rate), delay: Some(slow.delay), ..LineChange::default() };
    let report = run(&Scenario { faults: vec![Fault::Cable { member: Member::Client(1), lan }], ..branch() });
    assert!(report.ok());
    // 100,500 bytes at 8,000 a second, and 100 ms for each question and each of the 101 answers.
    let times: Vec<u64> = report.clients.iter().map(|client| client.virtual_ms).collect();
    assert!(times[1] > 12_500 + 20_200 && times[0] < 20_000 && times[2] < 20_000, "{times:?}");
}

#[test]
fn wrong_bytes_are_found_whatever_the_client_says() {
    // A toy of corrupt nature spoils what it delivers.
    let report = run(&Scenario { faults: vec![Fault::Corrupt { client: 2 }], ..branch() });
    assert!(report.clients[1].ok && !report.clients[2].ok);
    assert_eq!(report.clients[2].ending, Ending::Wrong(0));
    assert_ne!(report.clients[2].sha256, report.content.sha256);
}

#[test]
fn a_run_that_gets_nowhere_ends() {
    let report = run(&Scenario { loss: parse_loss("100").expect("a loss"), ..branch() });
    assert!(!report.ok() && report.clients.iter().all(|client| client.ending == Ending::Incomplete));
    assert_eq!(report.outcome, Outcome::TimeLimit);
    let report = run(&Scenario { event_limit: 100, ..branch() });
    assert_eq!(report.outcome, Outcome::EventLimit);
}

#[test]
fn an_empty_file_and_one_of_a_byte() {
    for size in [0, 1] {
        let report = run(&Scenario { content: ContentSource::Generated(size), ..branch() });
        assert!(report.ok());
        assert_eq!(report.wan.bytes, 3 * size);
    }
}

#[test]
fn one_capture_for_each_host_and_progress_meanwhile() {
    #[derive(Default)]
    struct Last(Option<Progress>);
    impl Watch for Last {
        fn progress(&mut self, progress: Progress) {
            assert!(
                self.0.is_none_or(|last| last.now <= progress.now && last.delivered <= progress.delivered)
            );
            self.0 = Some(progress);
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let options = RunOptions { pcap: Some(folder.path().join("captures")), ..RunOptions::default() };
    let mut last = Last::default();
    let big = Scenario { content: ContentSource::Generated(1_000_000), ..branch() };
    run_with(&big, &options, &mut Toys, &mut last).expect("a run");
    let last = last.0.expect("the run was long enough");
    assert!(last.expected == 3_000_000 && last.delivered > 0);
    for name in ["origin", "client-01", "client-02", "client-03"] {
        let file = folder.path().join(format!("captures/{name}.pcapng"));
        assert!(file.metadata().expect("a capture").len() > 1_000_000);
    }
}

/// Makes hosts whose frames are: to, from, a type, and an offset, and in answers the bytes there.
struct Toys;

impl HostFactory for Toys {
    fn origin(&mut self, seat: Seat, content: &Content) -> Box<dyn OriginHost> {
        Box::new(Origin { seat, content: content.clone(), sent: 0, outbox: Vec::new() })
    }

    fn client(
        &mut self,
        seat: Seat,
        origin: &Seat,
        delivery: Delivery,
        nature: Nature,
    ) -> Box<dyn ClientHost> {
        let origin = origin.mac;
        Box::new(Client { seat, origin, delivery, nature, next_ask: None, ended: None })
    }
}

struct Origin {
    seat: Seat,
    content: Content,
    sent: u64,
    outbox: Vec<Frame>,
}

struct Client {
    seat: Seat,
    origin: [u8; 6],
    delivery: Delivery,
    nature: Nature,
    next_ask: Option<Instant>,
    ended: Option<Instant>,
}

fn frame(to: [u8; 6], from: [u8; 6], offset: u64, size: u64, bytes: &[u8]) -> Frame {
    Frame::from([&to[..], &from, &[0x88, 0xb5], &offset.to_be_bytes(), &size.to_be_bytes(), bytes].concat())
}

/// The sender, the offset, the size, and the bytes, of a frame for `mac`.
fn read(mac: [u8; 6], frame: &[u8]) -> Option<([u8; 6], u64, u64, &[u8])> {
    let (to, rest) = frame.split_first_chunk::<6>()?;
    let (from, rest) = rest.split_first_chunk::<6>()?;
    let (_, rest) = rest.split_first_chunk::<2>()?;
    let (offset, rest) = rest.split_first_chunk::<8>()?;
    let (size, bytes) = rest.split_first_chunk::<8>()?;
    (*to == mac).then_some((*from, u64::from_be_bytes(*offset), u64::from_be_bytes(*size), bytes))
}

impl Host for Origin {
    fn receive(&mut self, _now: Instant, incoming: Frame) {
        let Some((from, offset, _, _)) = read(self.seat.mac, &incoming) else { return };
        let bytes = &self.content.bytes()[offset as usize..];
        let bytes = &bytes[..bytes.len().min(PIECE)];
        self.sent += bytes.len() as u64;
        self.outbox.push(frame(from, self.seat.mac, offset, self.content.size(), bytes));
    }

    fn poll(&mut self, _now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
        self.outbox.drain(..).for_each(send);
        None
    }
}

impl OriginHost for Origin {
    fn body_bytes(&self) -> u64 {
        self.sent
    }
}

impl Host for Client {
    fn receive(&mut self, now: Instant, frame: Frame) {
        let Some((_, offset, size, bytes)) = read(self.seat.mac, &frame) else { return };
        if offset != self.delivery.received() || self.ended.is_some() {
            return;
        }
        let mut bytes = bytes.to_vec();
        if self.nature == Nature::Corrupt {
            bytes.iter_mut().for_each(|byte| *byte ^= 1);
        }
        self.delivery.push(&bytes);
        self.next_ask = Some(now);
        if self.delivery.received() >= size {
            (self.ended, self.next_ask) = (Some(now), None);
        }
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
        if self.next_ask.is_some_and(|at| at <= now) {
            send(frame(self.origin, self.seat.mac, self.delivery.received(), 0, &[]));
            self.next_ask = Some(now + RETRY);
        }
        self.next_ask
    }
}

impl ClientHost for Client {
    fn start(&mut self, now: Instant) {
        self.next_ask = Some(now);
    }

    fn finished_at(&self) -> Option<Instant> {
        self.ended
    }

    fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    fn outcome(&self) -> ClientOutcome {
        let bytes = Sources { origin: self.delivery.received(), ..Sources::default() };
        ClientOutcome { bytes, ..ClientOutcome::default() }
    }
}
