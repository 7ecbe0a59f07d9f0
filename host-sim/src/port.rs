//! Real machines on the simulated switch, in real time.
//!
//! A machine comes as QEMU's socket network device ([`qemu`]), or through a TAP device of Linux ([`tap`]). On the
//! switch it is a host like the others, whose links can lose and delay what passes.
//!
//! Virtual time follows the clock of this machine then, so no two runs are the same. Where this machine is too
//! slow, virtual time is held up: to make up for it would let timers of the clients run out before the machine
//! had time to answer.

pub mod qemu;
#[cfg(target_os = "linux")]
pub mod tap;

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time;

use peerdist_core::time::{Duration, Instant};

use crate::run::is_inside;
use crate::switch::PortId;
use crate::world::{Frame, Host, Observer, Outcome, World};

/// Bytes of a frame of Ethernet without its check sequence: header, and header with a VLAN's tag and a full packet.
const MIN_FRAME: usize = 14;
const MAX_FRAME: usize = 18 + 1_500;

/// Frames that wait for a machine that does not take them; what comes on top is lost. And frames of machines that
/// wait for the world; what comes on top waits with its sender.
const WAITING_FRAMES: usize = 1_024;

/// Addresses of a machine that are remembered.
const MAX_ADDRESSES: usize = 16;

/// Events whose turn was so long ago are late; for answers to a probe, 300 ms are waited.
const LATE: Duration = Duration::from_millis(50);

/// How often it is asked whether the run is over while nothing happens.
const TURN: Duration = Duration::from_millis(20);

/// Where a machine comes from.
#[derive(Clone, Debug)]
pub enum Jack {
    /// QEMU's socket network device.
    Qemu(qemu::Jack),
    /// A TAP device.
    #[cfg(target_os = "linux")]
    Tap(tap::Jack),
}

impl Jack {
    fn serve(&self, line: &Line) {
        match self {
            Self::Qemu(jack) => jack.serve(line),
            #[cfg(target_os = "linux")]
            Self::Tap(jack) => jack.serve(line),
        }
    }
}

/// How much a run was held up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// How often something was much too late.
    pub times: u64,
    /// By how much at most.
    pub worst: Duration,
    /// By how much in all: so far the run is behind the clock on the wall.
    pub total: Duration,
}

/// What happens to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It is there: from where.
    Plugged(String),
    /// It has gone, and why. It may come again.
    Unplugged(String),
    /// It has sent a packet from an address that was not seen of it before.
    Address(Ipv4Addr),
    /// It has sent so many bytes as a frame, and no frame is so short or so long: they were dropped. Told once.
    Misfit(usize),
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plugged(from) => write!(f, "is there, from {from}"),
            Self::Unplugged(why) => write!(f, "has gone: {why}; it may come again"),
            Self::Address(address) => write!(f, "has the address {address}"),
            Self::Misfit(length) => write!(
                f,
                "has sent a frame of {length} bytes, and Ethernet has {MIN_FRAME} to {MAX_FRAME}: such frames are \
                 dropped"
            ),
        }
    }
}

/// A frame between threads.
type Bytes = Vec<u8>;

/// A machine, as the world sees it.
#[derive(Debug, Default)]
pub struct Machine {
    incoming: Vec<Frame>,
    /// What it is sent goes there, while it is connected.
    cable: Option<SyncSender<Bytes>>,
    /// Those that it has sent from, the latest last.
    addresses: Vec<Ipv4Addr>,
    /// Frames that were none.
    misfits: u64,
}

impl Machine {
    /// The addresses in the network of the simulation that it has sent from, the latest last.
    pub fn addresses(&self) -> &[Ipv4Addr] {
        &self.addresses
    }

    /// What it sends; whether that told an address of it.
    fn take(&mut self, frame: Bytes) -> Option<Ipv4Addr> {
        let sender = sender(&frame).filter(|sender| is_inside(*sender));
        self.incoming.push(frame.into());
        let sender = sender.filter(|sender| self.addresses.last() != Some(sender))?;
        let known = self.addresses.iter().position(|address| *address == sender);
        match known {
            Some(index) => _ = self.addresses.remove(index),
            None if self.addresses.len() == MAX_ADDRESSES => _ = self.addresses.remove(0),
            None => {}
        }
        self.addresses.push(sender);
        known.is_none().then_some(sender)
    }
}

impl Host for Machine {
    fn receive(&mut self, _now: Instant, frame: Frame) {
        // Whoever does not take its frames loses them, as from a switch with a full queue.
        let _ = self.cable.as_ref().map(|cable| cable.try_send(frame.to_vec()));
    }

    fn poll(&mut self, _now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
        self.incoming.drain(..).for_each(send);
        None
    }
}

/// Whom a packet of IPv4 is from, without options of Ethernet.
fn sender(frame: &[u8]) -> Option<Ipv4Addr> {
    const ETHERTYPE: [u8; 2] = [0x08, 0x00];
    let ours = frame.get(12..14)? == ETHERTYPE;
    let bytes: [u8; 4] = *frame.get(26..)?.first_chunk()?;
    ours.then_some(bytes.into())
}

enum Event {
    Plugged { from: String, cable: SyncSender<Bytes> },
    Frame(Bytes),
    Misfit(usize),
    Unplugged { why: String },
}

/// What the threads of a port tell the world by.
struct Line {
    machine: usize,
    events: SyncSender<(usize, Event)>,
    over: Arc<AtomicBool>,
}

impl Line {
    /// A machine is there: what it is to be sent, or nothing if nobody wants it any more.
    fn plug(&self, from: &dyn fmt::Display) -> Option<Receiver<Bytes>> {
        let (cable, frames) = mpsc::sync_channel(WAITING_FRAMES);
        self.tell(Event::Plugged { from: from.to_string(), cable }).then_some(frames)
    }

    /// It has sent that; whether there may be more.
    fn pass(&self, frame: Bytes) -> bool {
        let fits = (MIN_FRAME..=MAX_FRAME).contains(&frame.len());
        self.tell(if fits { Event::Frame(frame) } else { Event::Misfit(frame.len()) })
    }

    /// It has gone; whether another may come.
    fn unplug(&self, why: &dyn fmt::Display) -> bool {
        self.tell(Event::Unplugged { why: why.to_string() })
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn tell(&self, event: Event) -> bool {
        self.events.send((self.machine, event)).is_ok()
    }
}

/// The machines of a world whose hosts are `H`, and the clock.
pub struct Lan<H> {
    events: Receiver<(usize, Event)>,
    ports: Vec<PortId>,
    machine: fn(&mut H) -> Option<&mut Machine>,
    /// When time began, put off by all that it was held up.
    started: time::Instant,
    lag: Lag,
    over: Arc<AtomicBool>,
}

impl<H: Host> Lan<H> {
    /// A machine for each jack, the first at the first of `ports`; `machine` finds it in the host there. Time
    /// begins now.
    pub fn new(jacks: &[Jack], ports: Vec<PortId>, machine: fn(&mut H) -> Option<&mut Machine>) -> Self {
        let (events, receiver) = mpsc::sync_channel(WAITING_FRAMES);
        let over = Arc::new(AtomicBool::new(false));
        for (machine, jack) in jacks.iter().cloned().enumerate() {
            let line = Line { machine, events: events.clone(), over: over.clone() };
            // It ends when it finds out that the run is over, or with the process.
            thread::spawn(move || jack.serve(&line));
        }
        let (started, lag) = (time::Instant::now(), Lag::default());
        Self { events: receiver, ports, machine, started, lag, over }
    }

    /// As [`World::run_until`], in real time. What happens to machines is told with their number, from 0.
    pub fn run_until<O: Observer>(
        &mut self,
        world: &mut World<H, O>,
        until: Instant,
        mut done: impl FnMut(&World<H, O>) -> bool,
        tell: &mut dyn FnMut(usize, News),
    ) -> Outcome {
        loop {
            self.hold_up(world.next_event());
            let now = self.now().min(until);
            match world.run_until(now, &mut done) {
                Outcome::TimeLimit | Outcome::Stuck => world.skip_to(now),
                over => return over,
            }
            if world.switch().poll_timeout() <= now {
                world.ask_memberships();
            }
            // Something outside may have become so while nothing happened in the world.
            if done(world) {
                return Outcome::Done;
            }
            if now >= until {
                return Outcome::TimeLimit;
            }
            let soon = until.min(now + TURN);
            self.wait(world, world.next_event().map_or(soon, |at| at.min(soon)), tell);
        }
    }

    /// How much it was held up so far.
    pub fn lag(&self) -> Lag {
        self.lag
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.started.elapsed().as_micros() as u64)
    }

    /// Lets time go on from what was due long ago.
    fn hold_up(&mut self, due: Option<Instant>) {
        let late = due.map_or(Duration::ZERO, |due| self.now().since(due));
        if late > LATE {
            self.started += time::Duration::from_micros(late.micros());
            self.lag.times += 1;
            self.lag.worst = self.lag.worst.max(late);
            self.lag.total = self.lag.total + late;
        }
    }

    /// Takes what comes from machines, until `next` at the latest.
    fn wait<O: Observer>(&self, world: &mut World<H, O>, next: Instant, tell: &mut dyn FnMut(usize, News)) {
        let micros = next.since(self.now()).micros();
        let first = self.events.recv_timeout(time::Duration::from_micros(micros)).ok();
        // No machine keeps the world from its turn by sending on and on.
        for (index, what) in first.into_iter().chain(self.events.try_iter().take(WAITING_FRAMES)) {
            let port = self.ports.get(index);
            let machine = port.and_then(|&port| (self.machine)(world.host_mut(port)));
            if let Some(news) = machine.and_then(|machine| machine.handle(what)) {
                // What the switch asked before it has not heard.
                if let News::Plugged(_) = news {
                    world.ask_memberships();
                }
                tell(index, news);
            }
        }
    }
}

impl<H> Drop for Lan<H> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Machine {
    fn handle(&mut self, event: Event) -> Option<News> {
        match event {
            Event::Plugged { from, cable } => {
                self.cable = Some(cable);
                Some(News::Plugged(from))
            }
            Event::Unplugged { why } => {
                self.cable = None;
                Some(News::Unplugged(why))
            }
            Event::Frame(bytes) => self.take(bytes).map(News::Address),
            Event::Misfit(length) => {
                self.misfits += 1;
                (self.misfits == 1).then_some(News::Misfit(length))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_takes_nothing_loses_frames_and_holds_nobody_up() {
        let (cable, frames) = mpsc::sync_channel(2);
        let mut machine = Machine { cable: Some(cable), ..Machine::default() };
        for byte in 0..5 {
            machine.receive(Instant::ZERO, Frame::from(&[byte][..]));
        }
        assert_eq!(frames.try_iter().collect::<Vec<_>>(), [[0], [1]]);
    }

    fn packet(from: [u8; 4]) -> Bytes {
        let mut frame = vec![0; 60];
        frame[12] = 8;
        frame[26..30].copy_from_slice(&from);
        frame
    }

    #[test]
    fn its_addresses_are_those_it_has_sent_from() {
        let mut machine = Machine::default();
        let mut told = Vec::new();
        // While it asks for an address it has none, and those of other networks are not of the simulation.
        for from in [[0, 0, 0, 0], [10, 0, 9, 1], [169, 254, 7, 7], [10, 0, 9, 200], [10, 0, 9, 1]] {
            told.extend(machine.handle(Event::Frame(packet(from))));
        }
        let [first, second] = [[10, 0, 9, 1], [10, 0, 9, 200]].map(Ipv4Addr::from);
        assert_eq!(told, [News::Address(first), News::Address(second)]);
        assert_eq!(machine.addresses(), [second, first]);
        let mut arp = packet([10, 0, 9, 7]);
        arp[13] = 6;
        assert_eq!(machine.handle(Event::Frame(arp)), None);
        assert_eq!(machine.incoming.len(), 6);
        for last in 0..=255 {
            machine.take(packet([10, 0, 8, last]));
        }
        assert_eq!(machine.addresses().len(), MAX_ADDRESSES);
    }

    #[test]
    fn what_is_no_frame_is_dropped_and_told_once() {
        let (events, receiver) = mpsc::sync_channel(9);
        let line = Line { machine: 0, events, over: Arc::default() };
        for length in [0, 13, 14, 1_518, 1_519, 65_536] {
            assert!(line.pass(vec![0; length]));
        }
        let mut machine = Machine::default();
        let news: Vec<_> = receiver.try_iter().filter_map(|(_, event)| machine.handle(event)).collect();
        assert_eq!((news, machine.misfits), (vec![News::Misfit(0)], 4));
        assert_eq!(machine.incoming.iter().map(|frame| frame.len()).collect::<Vec<_>>(), [14, 1_518]);
    }

    /// Wants to be polled after 10 ms, and notes when it was.
    #[derive(Default)]
    struct Waiting(Vec<Instant>);

    impl Host for Waiting {
        fn receive(&mut self, _now: Instant, _frame: Frame) {}

        fn poll(&mut self, now: Instant, _send: &mut dyn FnMut(Frame)) -> Option<Instant> {
            self.0.push(now);
            Some(Instant::from_millis(10)).filter(|at| *at > now)
        }
    }

    #[test]
    fn what_is_late_holds_time_up() {
        let link = crate::link::LinkConfig::new(1_000_000, Duration::ZERO);
        let mut world = World::new(crate::rng::Seed::new(1));
        let port = world.attach(Waiting::default(), link, link);
        let mut lan = Lan::new(&[], Vec::new(), |_| None);
        // At time zero this machine does something else for longer than the host waits.
        lan.run_until(&mut world, Instant::ZERO, |_| false, &mut |_, _| {});
        thread::sleep(time::Duration::from_millis(200));
        let wanted = Instant::from_millis(10);
        let polled = |world: &World<Waiting>| world.host(port).0.last() >= Some(&wanted);
        let outcome = lan.run_until(&mut world, Instant::from_millis(20), polled, &mut |_, _| {});
        assert_eq!((outcome, world.host(port).0.last()), (Outcome::Done, Some(&wanted)));
        let Lag { times, worst, total } = lan.lag();
        assert!(times >= 1 && worst >= LATE && total >= worst, "{:?}", lan.lag());
    }
}
