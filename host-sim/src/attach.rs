//! Real machines on the simulated switch, in real time.
//!
//! A machine comes as QEMU's socket network device (`-netdev socket,connect=ADDR:PORT`): a TCP connection that
//! carries frames, each behind its length in four bytes, the most significant first. On the switch it is a host
//! like the others, whose links can lose and delay what passes.
//!
//! Virtual time follows the clock of this machine then, so no two runs are the same. Where this machine is too
//! slow, virtual time is held up: to make up for it would let timers of the clients run out before the machine
//! had time to answer.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time;

use peerdist_core::time::{Duration, Instant};

use crate::switch::PortId;
use crate::world::{Frame, Host, Observer, Outcome, World};

/// Bytes of the longest frame that QEMU sends.
const MAX_FRAME: usize = 4_096 + 65_536;

/// Frames that wait for a machine that does not take them; what comes on top is lost. And frames of machines that
/// wait for the world; what comes on top waits with its sender.
const WAITING_FRAMES: usize = 1_024;

/// Events whose turn was so long ago are late; for answers to a probe, 300 ms are waited.
const LATE: Duration = Duration::from_millis(50);

/// How long nobody is taken after that failed.
const ACCEPT_PAUSE: time::Duration = time::Duration::from_millis(100);

/// How often it is asked whether the run is over while nothing happens.
const TURN: Duration = Duration::from_millis(20);

/// The socket of the switch that one machine's cable goes into.
#[derive(Clone, Debug)]
pub struct Jack(Arc<TcpListener>);

impl Jack {
    /// Waits for a machine at `address`; on port 0, at one that is free.
    pub fn listen(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).map(|listener| Self(Arc::new(listener)))
    }

    /// Where it waits.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Holds the clients back until it is opened.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    /// Lets the clients go.
    pub fn open(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether they may.
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How much a run was held up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// How often something was much too late.
    pub times: u64,
    /// By how much at most.
    pub worst: Duration,
}

/// A frame between threads.
type Bytes = Vec<u8>;

/// A machine, as the world sees it.
#[derive(Debug, Default)]
pub struct Machine {
    incoming: Vec<Frame>,
    /// What it is sent goes there, while it is connected.
    cable: Option<SyncSender<Bytes>>,
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

enum Event {
    Plugged(SyncSender<Bytes>),
    Frame(Bytes),
    Unplugged,
}

/// The machines of a world whose hosts are `H`, and the clock.
pub struct Lan<H> {
    events: Receiver<(usize, Event)>,
    ports: Vec<PortId>,
    machine: fn(&mut H) -> Option<&mut Machine>,
    /// When time began, put off by all that it was held up.
    started: time::Instant,
    lag: Lag,
}

impl<H: Host> Lan<H> {
    /// A machine for each jack, the first at the first of `ports`; `machine` finds it in the host there. Time
    /// begins now.
    pub fn new(jacks: &[Jack], ports: Vec<PortId>, machine: fn(&mut H) -> Option<&mut Machine>) -> Self {
        let (sender, events) = mpsc::sync_channel(WAITING_FRAMES);
        for (index, jack) in jacks.iter().enumerate() {
            let (jack, sender) = (jack.clone(), sender.clone());
            // It ends with the process, or with the first machine that comes when the run is over.
            thread::spawn(move || accept(&jack, index, &sender));
        }
        Self { events, ports, machine, started: time::Instant::now(), lag: Lag::default() }
    }

    /// As [`World::run_until`], in real time.
    pub fn run_until<O: Observer>(
        &mut self,
        world: &mut World<H, O>,
        until: Instant,
        mut done: impl FnMut(&World<H, O>) -> bool,
    ) -> Outcome {
        loop {
            self.hold_up(world.next_event());
            let now = self.now().min(until);
            match world.run_until(now, &mut done) {
                Outcome::TimeLimit | Outcome::Stuck => world.skip_to(now),
                over => return over,
            }
            if now >= until {
                return Outcome::TimeLimit;
            }
            let soon = until.min(now + TURN);
            self.wait(world, world.next_event().map_or(soon, |at| at.min(soon)));
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
        }
    }

    /// Takes what comes from machines, until `next` at the latest.
    fn wait<O: Observer>(&self, world: &mut World<H, O>, next: Instant) {
        let micros = next.since(self.now()).micros();
        let first = self.events.recv_timeout(time::Duration::from_micros(micros)).ok();
        // No machine keeps the world from its turn by sending on and on.
        for (index, what) in first.into_iter().chain(self.events.try_iter().take(WAITING_FRAMES)) {
            let port = self.ports.get(index);
            match (what, port.and_then(|&port| (self.machine)(world.host_mut(port)))) {
                (Event::Plugged(cable), Some(machine)) => machine.cable = Some(cable),
                (Event::Unplugged, Some(machine)) => machine.cable = None,
                (Event::Frame(bytes), Some(machine)) => machine.incoming.push(bytes.into()),
                (_, None) => {}
            }
        }
    }
}

/// Takes machines at a jack, one after the other.
fn accept(jack: &Jack, index: usize, events: &SyncSender<(usize, Event)>) {
    loop {
        let Ok((stream, _)) = jack.0.accept() else {
            // A machine that went again, or too many open files: it passes.
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        let (cable, frames) = mpsc::sync_channel(WAITING_FRAMES);
        let Ok(writer) = stream.try_clone() else { continue };
        thread::spawn(move || write_frames(writer, &frames));
        if events.send((index, Event::Plugged(cable))).is_err() {
            return;
        }
        read_frames(stream, |frame| events.send((index, Event::Frame(frame))).is_ok());
        if events.send((index, Event::Unplugged)).is_err() {
            return;
        }
    }
}

/// Passes on what a machine sends, until it goes, says nonsense, or `pass` has enough.
fn read_frames(stream: impl io::Read, mut pass: impl FnMut(Bytes) -> bool) {
    let mut stream = io::BufReader::new(stream);
    let mut head = [0; 4];
    while stream.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes(head) as usize;
        if length > MAX_FRAME {
            return;
        }
        let mut frame = vec![0; length];
        if stream.read_exact(&mut frame).is_err() || !pass(frame) {
            return;
        }
    }
}

fn write_frames(mut stream: TcpStream, frames: &Receiver<Bytes>) {
    // Without it, frames only arrive later.
    let _ = stream.set_nodelay(true);
    let mut bytes = Vec::new();
    for frame in frames {
        bytes.clear();
        bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&frame);
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(stream: &[u8]) -> Vec<Bytes> {
        let mut frames = Vec::new();
        read_frames(stream, |frame| {
            frames.push(frame);
            true
        });
        frames
    }

    #[test]
    fn frames_are_behind_their_lengths() {
        assert_eq!(frames(b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c"), [&b"ab"[..], b"", b"c"]);
    }

    #[test]
    fn what_is_cut_short_or_too_long_ends_it() {
        assert_eq!(frames(b"\0\0\0\x02ab\0\0\0\x03cd"), [b"ab"]);
        let mut stream = (MAX_FRAME as u32 + 1).to_be_bytes().to_vec();
        stream.resize(MAX_FRAME + 10, 0);
        assert_eq!(frames(&stream), [b""; 0]);
        stream[..4].copy_from_slice(&(MAX_FRAME as u32).to_be_bytes());
        assert_eq!(frames(&stream).first().map(Vec::len), Some(MAX_FRAME));
    }

    #[test]
    fn a_machine_that_takes_nothing_loses_frames_and_holds_nobody_up() {
        let (cable, frames) = mpsc::sync_channel(2);
        let mut machine = Machine { cable: Some(cable), ..Machine::default() };
        for byte in 0..5 {
            machine.receive(Instant::ZERO, Frame::from(&[byte][..]));
        }
        assert_eq!(frames.try_iter().collect::<Vec<_>>(), [[0], [1]]);
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
        lan.run_until(&mut world, Instant::ZERO, |_| false);
        thread::sleep(time::Duration::from_millis(200));
        let wanted = Instant::from_millis(10);
        let polled = |world: &World<Waiting>| world.host(port).0.last() >= Some(&wanted);
        let outcome = lan.run_until(&mut world, Instant::from_millis(20), polled);
        assert_eq!((outcome, world.host(port).0.last()), (Outcome::Done, Some(&wanted)));
        assert!(lan.lag().times >= 1);
        assert!(lan.lag().worst >= LATE, "{:?}", lan.lag());
    }
}
