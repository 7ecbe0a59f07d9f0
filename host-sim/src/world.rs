//! Virtual time: the loop that moves frames between hosts.
//!
//! Events are ordered by (time, sequence), so a run depends on its scenario and its seed alone. Time jumps
//! from event to event. All frames that reach a host at one instant are handed over before it is polled once.
//!
//! Each host hangs on a port of the one [`Switch`] by two [`Link`]s, up to the switch and down from it. A host
//! behind a slow line is a host with slow links.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Deref;
use std::rc::Rc;

use peerdist_core::time::{Duration, Instant};
use sha2::{Digest, Sha256};

use crate::link::{Arrival, Link, LinkConfig};
use crate::rng::Seed;
use crate::switch::{PortId, Switch};

/// A station on the LAN.
pub trait Host {
    /// A frame arrives. All frames of one instant come before the [`Host::poll`] that follows.
    fn receive(&mut self, now: Instant, frame: Frame);

    /// The host does what it has to do now, and says when it wants to be polled next at the latest.
    ///
    /// A time that is not after `now` means "as soon as time has moved", one microsecond later.
    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant>;
}

impl<H: Host + ?Sized> Host for Box<H> {
    fn receive(&mut self, now: Instant, frame: Frame) {
        (**self).receive(now, frame);
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
        (**self).poll(now, send)
    }
}

/// An Ethernet frame without its check sequence. Cloning it copies no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Rc<[u8]>);

impl From<&[u8]> for Frame {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl Frame {
    /// With that bit flipped, counted from the first; as it is without one.
    fn flip(self, bit: Option<usize>) -> Self {
        let Some(bit) = bit else { return self };
        let mut bytes = self.0.to_vec();
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 0x80 >> (bit % 8);
        }
        bytes.into()
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Sees every frame go by, and changes nothing.
pub trait Observer {
    /// A frame passes a point at `port`.
    fn observe(&mut self, now: Instant, port: PortId, point: Point, frame: &[u8]);
}

impl Observer for () {
    fn observe(&mut self, _now: Instant, _port: PortId, _point: Point, _frame: &[u8]) {}
}

/// After it was polled, a host hears of frames again at the earliest so much later, as from a network
/// card that moderates its interrupts: a frame that comes alone is not held up, and those of a burst are
/// taken together.
pub const MODERATION: Duration = Duration::from_micros(100);

/// Where a frame is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// It leaves the host and enters the link up to the switch, which may lose it.
    Sent,
    /// It leaves the switch and enters the link down to the host, which may lose it.
    Forwarded,
    /// It reaches the host.
    Received,
}

/// Why [`World::run_until`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was waited for has come.
    Done,
    /// The time is up.
    TimeLimit,
    /// As many events as [`World::limit_events`] allows have happened.
    EventLimit,
    /// No frame is on its way and no host wants to be woken: nothing will ever happen again.
    Stuck,
}

/// Two sides of the LAN that do not hear each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut(pub Vec<PortId>, pub Vec<PortId>);

impl Cut {
    fn parts(&self, a: PortId, b: PortId) -> bool {
        let Self(one, other) = self;
        (one.contains(&a) && other.contains(&b)) || (one.contains(&b) && other.contains(&a))
    }
}

/// Hosts, links, the switch between them, and the time.
pub struct World<H, O = ()> {
    now: Instant,
    sequence: u64,
    events_left: u64,
    events: BinaryHeap<Event>,
    ports: Vec<Port<H>>,
    switch: Switch,
    cuts: Vec<Cut>,
    seed: Seed,
    trace: Sha256,
    observer: O,
    /// Ports to be polled at this instant, each at most once.
    due: Vec<PortId>,
    /// Kept only so that the loop does not allocate.
    egress: Vec<PortId>,
    outbox: Vec<Frame>,
}

struct Port<H> {
    host: H,
    up: Link,
    down: Link,
    alive: bool,
    plugged: bool,
    /// It is in `World::due`.
    due: bool,
    /// When the host was last polled.
    polled: Option<Instant>,
    /// When the host wants to be polled.
    wake: Option<Instant>,
    /// The one wake event in the queue that counts. It may be earlier than `wake` but is never later:
    /// hosts put timers off with nearly every frame, and that must not grow the queue.
    queued: Option<Instant>,
}

struct Event {
    at: Instant,
    sequence: u64,
    port: PortId,
    what: What,
}

enum What {
    AtSwitch(Frame),
    AtHost(Frame),
    Wake,
}

impl<H: Host> World<H> {
    /// An empty LAN at time zero, whose links draw their losses from `seed`.
    pub fn new(seed: Seed) -> Self {
        Self::with_observer(seed, ())
    }
}

impl<H: Host, O: Observer> World<H, O> {
    /// The same, with an observer.
    pub fn with_observer(seed: Seed, observer: O) -> Self {
        Self {
            now: Instant::ZERO,
            sequence: 0,
            events_left: u64::MAX,
            events: BinaryHeap::new(),
            ports: Vec::new(),
            switch: Switch::new(),
            cuts: Vec::new(),
            seed,
            trace: Sha256::new(),
            observer,
            due: Vec::new(),
            egress: Vec::new(),
            outbox: Vec::new(),
        }
    }

    /// Plugs a host in, now or in the middle of a run. It is polled for the first time when the run goes on.
    pub fn attach(&mut self, host: H, up: LinkConfig, down: LinkConfig) -> PortId {
        let port = self.switch.add_port();
        let number = u64::from(port.0);
        self.ports.push(Port {
            host,
            up: Link::new(up, &self.seed.child("up", number)),
            down: Link::new(down, &self.seed.child("down", number)),
            alive: true,
            plugged: true,
            due: false,
            polled: None,
            wake: None,
            queued: None,
        });
        self.set_due(port);
        port
    }

    /// Pulls the cable, or puts it back. Without it the host goes on, but what it sends goes nowhere, and what
    /// reaches it does not arrive. What it has sent before is still on its way.
    pub fn plug(&mut self, port: PortId, plugged: bool) {
        self.ports[port.index()].plugged = plugged;
    }

    /// Has the switch ask for memberships: something new is at one of its ports, or it is time to and nothing else
    /// happens, which would not make it.
    pub fn ask_memberships(&mut self) {
        self.switch.ask_now(self.now);
        if let Some(query) = self.switch.poll(self.now, &mut self.egress) {
            self.send_down(Frame::from(&query[..]));
        }
    }

    /// From now on, no frame passes the switch between the two sides of any of `cuts`, which take the place of
    /// those before. What has passed the switch arrives.
    pub fn cut(&mut self, cuts: Vec<Cut>) {
        self.cuts = cuts;
    }

    /// Switches the host off: from now on it neither hears nor says anything. What it has sent is still on its way.
    pub fn kill(&mut self, port: PortId) {
        self.ports[port.index()].alive = false;
    }

    /// No more than `events` events (arrivals of frames, wakes) from now on.
    pub fn limit_events(&mut self, events: u64) {
        self.events_left = events;
    }

    /// Runs until `done` says so, which is asked after each instant, or until there is a reason to stop.
    ///
    /// `done` sees the whole world, so that it can report progress too. On [`Outcome::TimeLimit`] the clock
    /// stands at `until`, and everything up to and including that instant has happened.
    pub fn run_until(&mut self, until: Instant, mut done: impl FnMut(&Self) -> bool) -> Outcome {
        loop {
            self.poll_due();
            if self.events_left == 0 {
                return Outcome::EventLimit;
            }
            let Some(next) = self.next_event() else {
                return if done(self) { Outcome::Done } else { Outcome::Stuck };
            };
            // The instant is over when nothing is left that happens at it.
            if next > self.now && done(self) {
                return Outcome::Done;
            }
            let next = next.min(self.switch.poll_timeout());
            if next > until {
                self.skip_to(until);
                return Outcome::TimeLimit;
            }
            // The switch's question may have become due while the clock was skipped forward.
            self.now = self.now.max(next);
            self.step();
        }
    }

    /// Moves the clock forward to `at`, or to the next event if that is earlier.
    ///
    /// For a world that is [`Outcome::Stuck`] until something from outside happens.
    pub fn skip_to(&mut self, at: Instant) {
        let next = self.next_event().map_or(at, |next| next.min(at));
        self.now = self.now.max(next);
    }

    /// When something happens next: a frame arrives, or a host wants to be polled.
    pub fn next_event(&self) -> Option<Instant> {
        self.events.peek().map(|event| event.at)
    }

    /// What time it is.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The host at `port`.
    pub fn host(&self, port: PortId) -> &H {
        &self.ports[port.index()].host
    }

    /// The host at `port`, to tell it something: it is polled when the run goes on.
    pub fn host_mut(&mut self, port: PortId) -> &mut H {
        self.set_due(port);
        &mut self.ports[port.index()].host
    }

    /// The links at `port`: up to the switch, and down from it.
    pub fn links(&self, port: PortId) -> (&Link, &Link) {
        let port = &self.ports[port.index()];
        (&port.up, &port.down)
    }

    /// The switch.
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// SHA-256 over all frames so far as they entered a link: the bytes of each, then its time, length and
    /// direction with each port, of which a frame that leaves the switch may have several.
    pub fn trace_sha256(&self) -> [u8; 32] {
        self.trace.clone().finalize().into()
    }

    /// Gives the observer back.
    pub fn into_observer(self) -> O {
        self.observer
    }

    /// Everything that happens now: an instant may take several steps if links take no time.
    fn step(&mut self) {
        if let Some(query) = self.switch.poll(self.now, &mut self.egress) {
            self.send_down(Frame::from(&query[..]));
        }
        while self.events_left > 0 {
            let Some(event) = self.events.peek() else { return };
            if event.at > self.now {
                return;
            }
            let Some(Event { at, port, what, .. }) = self.events.pop() else { return };
            self.events_left -= 1;
            match what {
                What::AtSwitch(frame) => {
                    self.switch.forward(self.now, port, &frame, &mut self.egress);
                    self.egress.retain(|&out| !self.cuts.iter().any(|cut| cut.parts(port, out)));
                    self.send_down(frame);
                }
                What::AtHost(frame) => self.receive(port, frame),
                What::Wake => self.wake(port, at),
            }
        }
    }

    fn receive(&mut self, id: PortId, frame: Frame) {
        let port = &mut self.ports[id.index()];
        if port.alive && port.plugged {
            self.observer.observe(self.now, id, Point::Received, &frame);
            port.host.receive(self.now, frame);
            match port.polled.map(|polled| polled + MODERATION) {
                Some(at) if at > self.now => {
                    port.wake = Some(port.wake.map_or(at, |wake| wake.min(at)));
                    self.queue_wake(id);
                }
                _ => self.set_due(id),
            }
        }
    }

    fn wake(&mut self, id: PortId, at: Instant) {
        let port = &mut self.ports[id.index()];
        if port.queued != Some(at) {
            return; // An earlier wake has taken this one's place.
        }
        port.queued = None;
        match port.wake {
            Some(wake) if wake > self.now => self.queue_wake(id),
            Some(_) => self.set_due(id),
            None => {}
        }
    }

    fn set_due(&mut self, id: PortId) {
        let port = &mut self.ports[id.index()];
        if !port.due {
            port.due = true;
            self.due.push(id);
        }
    }

    fn poll_due(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        for id in due.drain(..) {
            self.ports[id.index()].due = false;
            self.poll(id);
        }
        // Polling makes nobody due, so this gives the list its memory back.
        self.due = due;
    }

    fn poll(&mut self, id: PortId) {
        let port = &mut self.ports[id.index()];
        if !port.alive {
            return;
        }
        port.polled = Some(self.now);
        let mut outbox = std::mem::take(&mut self.outbox);
        let wake = port.host.poll(self.now, &mut |frame| outbox.push(frame));
        // Never at once, so that a host which always has something to do cannot stop time.
        port.wake = wake.map(|wake| wake.max(self.now + Duration::from_micros(1)));
        self.queue_wake(id);
        for frame in outbox.drain(..) {
            self.send_up(id, frame);
        }
        self.outbox = outbox;
    }

    fn queue_wake(&mut self, id: PortId) {
        let port = &mut self.ports[id.index()];
        let Some(wake) = port.wake else { return };
        if port.queued.is_none_or(|queued| wake < queued) {
            port.queued = Some(wake);
            self.push(wake, id, What::Wake);
        }
    }

    fn send_up(&mut self, id: PortId, frame: Frame) {
        if !self.ports[id.index()].plugged {
            return;
        }
        self.trace.update(&*frame);
        self.record(id, Point::Sent, &frame);
        let arrivals = self.ports[id.index()].up.send(self.now, frame.len());
        for Arrival { at, flipped } in arrivals.into_iter().flatten() {
            self.push(at, id, What::AtSwitch(frame.clone().flip(flipped)));
        }
    }

    /// Sends `frame` out of the ports in `egress`.
    fn send_down(&mut self, frame: Frame) {
        if self.egress.is_empty() {
            return;
        }
        let egress = std::mem::take(&mut self.egress);
        self.trace.update(&*frame);
        for &id in &egress {
            self.record(id, Point::Forwarded, &frame);
            let arrivals = self.ports[id.index()].down.send(self.now, frame.len());
            for Arrival { at, flipped } in arrivals.into_iter().flatten() {
                self.push(at, id, What::AtHost(frame.clone().flip(flipped)));
            }
        }
        self.egress = egress;
    }

    fn push(&mut self, at: Instant, port: PortId, what: What) {
        self.sequence += 1;
        self.events.push(Event { at, sequence: self.sequence, port, what });
    }

    fn record(&mut self, port: PortId, point: Point, frame: &[u8]) {
        let mut head = [0; 17];
        head[..8].copy_from_slice(&self.now.micros().to_le_bytes());
        head[8..12].copy_from_slice(&port.0.to_le_bytes());
        head[12..16].copy_from_slice(&(frame.len() as u32).to_le_bytes());
        head[16] = u8::from(point == Point::Forwarded);
        self.trace.update(head);
        self.observer.observe(self.now, port, point, frame);
    }
}

/// The heap gives the greatest first: that is the earliest, and of those the first to be pushed.
impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Event {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Probability;

    /// 84 bytes on the wire take 84 us; two links take 2 * (84 + 16) = 200 us.
    const LINK: LinkConfig = LinkConfig::new(8_000_000, Duration::from_micros(16));

    /// Writes down what happens to it, and sends what it was told to when it was told to.
    #[derive(Default)]
    struct Scripted {
        script: Vec<(u64, Vec<u8>)>,
        next_wake: Option<u64>,
        diary: Vec<(u64, String)>,
    }

    impl Host for Scripted {
        fn receive(&mut self, now: Instant, frame: Frame) {
            self.diary.push((now.micros(), format!("got {}", frame[14])));
        }

        fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
            self.diary.push((now.micros(), "poll".into()));
            self.script.retain(|(at, frame)| {
                let due = *at <= now.micros();
                if due {
                    send(frame.as_slice().into());
                }
                !due
            });
            self.next_wake.or(self.script.iter().map(|(at, _)| *at).min()).map(Instant::from_micros)
        }
    }

    fn frame(mark: u8) -> Vec<u8> {
        let mut frame = vec![0xff; 60];
        frame[6] = 2;
        frame[14] = mark;
        frame
    }

    fn diary(host: &Scripted) -> Vec<(u64, &str)> {
        host.diary.iter().map(|(at, what)| (*at, what.as_str())).collect()
    }

    fn host(script: &[(u64, u8)]) -> Scripted {
        Scripted {
            script: script.iter().map(|&(at, mark)| (at, frame(mark))).collect(),
            ..Scripted::default()
        }
    }

    const LATER: Instant = Instant::from_millis(1_000);

    #[test]
    fn frames_of_one_instant_lead_to_one_poll() {
        let mut world = World::new(Seed::new(1));
        world.attach(host(&[(0, 1)]), LINK, LINK);
        world.attach(host(&[(0, 2)]), LINK, LINK);
        // So fast that what arrives at the switch at once leaves it within the same microsecond.
        let fast = LinkConfig { rate: 1_000_000_000_000, ..LINK };
        let listener = world.attach(host(&[]), LINK, fast);
        assert_eq!(world.run_until(Instant::from_millis(10), |_| false), Outcome::Stuck);
        // Before that it was polled when it was attached, and heard the switch's question for memberships
        // 100 us later. What comes soon after that has to wait.
        let heard: Vec<_> = diary(world.host(listener)).into_iter().filter(|&(at, _)| at > 100).collect();
        assert_eq!(heard, [(117, "got 1"), (117, "got 2"), (200, "poll")]);
    }

    #[test]
    fn a_wake_put_off_does_not_fire_and_an_earlier_one_does() {
        let mut world = World::new(Seed::new(1));
        let port = world.attach(Scripted { next_wake: Some(500), ..Scripted::default() }, LINK, LINK);
        assert_eq!(world.run_until(Instant::from_micros(300), |_| false), Outcome::TimeLimit);
        world.host_mut(port).next_wake = Some(900);
        assert_eq!(world.run_until(Instant::from_micros(800), |_| false), Outcome::TimeLimit);
        world.host_mut(port).next_wake = Some(850);
        assert_eq!(world.run_until(Instant::from_micros(850), |_| false), Outcome::TimeLimit);
        let polls: Vec<u64> = diary(world.host(port)).iter().filter(|e| e.1 == "poll").map(|e| e.0).collect();
        assert_eq!(polls, [0, 100, 300, 800, 850]);
    }

    #[test]
    fn the_dead_are_silent() {
        let mut world = World::new(Seed::new(1));
        let victim = world.attach(host(&[(0, 1), (1_000, 2)]), LINK, LINK);
        let other = world.attach(host(&[(900, 3)]), LINK, LINK);
        world.run_until(Instant::from_micros(10), |_| false);
        world.kill(victim);
        world.run_until(LATER, |_| false);
        let got = |port| diary(world.host(port)).iter().filter(|e| e.1.len() == 5).count();
        // What was on its way arrives.
        assert!(diary(world.host(other)).contains(&(200, "got 1")));
        assert_eq!(got(other), 1);
        assert_eq!(got(victim), 0);
    }

    #[test]
    fn without_its_cable_a_host_goes_on_unheard_and_deaf() {
        let mut world = World::new(Seed::new(1));
        let away = world.attach(host(&[(1_000, 1), (2_000, 2)]), LINK, LINK);
        let other = world.attach(host(&[(1_000, 3), (2_000, 4)]), LINK, LINK);
        world.run_until(Instant::from_micros(999), |_| false);
        world.plug(away, false);
        world.run_until(Instant::from_micros(1_500), |_| false);
        world.plug(away, true);
        world.run_until(LATER, |_| false);
        let heard = |port| -> Vec<_> {
            diary(world.host(port)).into_iter().filter(|&(at, what)| at > 200 && what != "poll").collect()
        };
        assert_eq!(heard(other), [(2_200, "got 2")]);
        assert_eq!(heard(away), [(2_200, "got 4")]);
        // It kept its time meanwhile.
        assert!(diary(world.host(away)).contains(&(1_000, "poll")));
    }

    #[test]
    fn two_sides_do_not_hear_each_other_until_they_are_joined() {
        let mut world = World::new(Seed::new(1));
        let script = |mark| host(&[(1_000, mark), (2_000, mark + 1)]);
        let [a, b, c] = [10, 20, 30].map(|mark| world.attach(script(mark), LINK, LINK));
        world.cut(vec![Cut(vec![a], vec![b])]);
        world.run_until(Instant::from_micros(1_500), |_| false);
        world.cut(Vec::new());
        world.run_until(LATER, |_| false);
        let heard = |port| -> Vec<_> {
            let diary = diary(world.host(port)).into_iter();
            diary.filter(|&(at, what)| at > 200 && what != "poll").map(|(_, what)| what).collect()
        };
        assert_eq!(heard(a), ["got 30", "got 21", "got 31"]);
        assert_eq!(heard(b), ["got 30", "got 11", "got 31"]);
        assert_eq!(heard(c), ["got 10", "got 20", "got 11", "got 21"]);
    }

    #[test]
    fn copies_and_flipped_bits_reach_the_host() {
        let all = Probability::from_percent(100.0).expect("a probability");
        let doubled = LinkConfig { duplicate: all, ..LINK };
        let mut world = World::new(Seed::new(1));
        world.attach(host(&[(1_000, 1)]), doubled, LINK);
        let listener = world.attach(host(&[]), LINK, LINK);
        world.run_until(LATER, |_| false);
        let heard: Vec<_> = diary(world.host(listener)).into_iter().filter(|e| e.1 == "got 1").collect();
        assert_eq!(heard, [(1_200, "got 1"), (1_284, "got 1")]);
        let whole = Frame::from(vec![0, 0]);
        assert_eq!(*whole.clone().flip(Some(9)), [0, 0x40]);
        assert_eq!(whole.clone().flip(None), whole);
    }

    #[test]
    fn a_run_always_ends() {
        let mut world = World::new(Seed::new(1));
        assert_eq!(world.run_until(LATER, |_| false), Outcome::Stuck);
        let port = world.attach(Scripted { next_wake: Some(0), ..Scripted::default() }, LINK, LINK);
        world.limit_events(1_000);
        assert_eq!(world.run_until(LATER, |_| false), Outcome::EventLimit);
        world.limit_events(u64::MAX);
        assert_eq!(world.run_until(Instant::from_millis(2), |_| false), Outcome::TimeLimit);
        assert_eq!(world.now(), Instant::from_millis(2));
        assert_eq!(world.run_until(LATER, |world| world.now() >= Instant::from_millis(3)), Outcome::Done);
        assert_eq!(world.now(), Instant::from_millis(3));
        world.kill(port);
        assert_eq!(world.run_until(LATER, |_| false), Outcome::Stuck);
    }

    #[test]
    fn memberships_are_asked_for_also_where_nothing_happens() {
        let mut world = World::new(Seed::new(1));
        let port = world.attach(host(&[]), LINK, LINK);
        assert_eq!(world.run_until(LATER, |_| false), Outcome::Stuck);
        world.skip_to(LATER);
        // The first byte of IGMP's packets.
        let asked = |world: &World<Scripted>| diary(world.host(port)).contains(&(1_000_100, "got 70"));
        assert!(!asked(&world));
        world.ask_memberships();
        world.run_until(LATER + Duration::from_secs(1), |_| false);
        assert!(asked(&world));
    }

    #[test]
    fn a_host_may_come_later() {
        let mut world = World::new(Seed::new(1));
        let first = world.attach(host(&[]), LINK, LINK);
        assert_eq!(world.run_until(LATER, |_| false), Outcome::Stuck);
        world.skip_to(LATER);
        let second = world.attach(host(&[(0, 7)]), LINK, LINK);
        world.run_until(LATER + Duration::from_secs(1), |_| false);
        assert_eq!(diary(world.host(second))[0], (1_000_000, "poll"));
        assert!(diary(world.host(first)).contains(&(1_000_200, "got 7")));
    }
}
