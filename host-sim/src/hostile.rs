//! A hostile host: it opens many TCP connections to another at once, says nothing, and keeps them for a while.

use std::net::Ipv4Addr;

use peerdist_core::time::{Duration, Instant, earliest};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;

use crate::run::Seat;
use crate::stack::{Stack, stack_time, world_time};
use crate::world::{Frame, Host};

/// How long an answer to each of its connections is waited for.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Bytes of a socket's buffers, each way: nothing is to be sent.
const BUFFER_BYTES: usize = 64;

/// The local port of the first connection (RFC 6335, 6).
const FIRST_PORT: u16 = 49_152;

/// What it is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    /// To whom it opens connections.
    pub to: (Ipv4Addr, u16),
    /// How many; each takes a port of the 16,384 from 49152.
    pub connections: usize,
    /// How long it keeps them, once all are open, refused or without an answer.
    pub hold: Duration,
}

/// What became of its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// They were opened, whatever became of them then.
    pub open: usize,
    /// They were reset.
    pub refused: usize,
    /// Nobody answered.
    pub silent: usize,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It does nothing.
    Idle,
    /// Answers are waited for.
    Opening,
    /// Each connection has been answered or given up.
    Open(Answers),
    /// It has reset what it had; of the open ones, so many had been closed from the other side before.
    Over {
        /// Those.
        closed: usize,
    },
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waiting,
    Open,
    Refused,
    Silent,
}

/// The host.
pub struct Hostile {
    stack: Stack,
    connections: Vec<(SocketHandle, Fate)>,
    flood: Option<(Instant, Flood)>,
    stage: Stage,
    release_at: Option<Instant>,
}

impl Hostile {
    /// One that sits at `seat`.
    pub fn new(seat: &Seat) -> Self {
        let (connections, stage) = (Vec::new(), Stage::Idle);
        Self { stack: Stack::new(seat), connections, flood: None, stage, release_at: None }
    }

    /// It begins as soon as it is polled. What it had before is gone.
    pub fn begin(&mut self, now: Instant, flood: Flood) {
        for (handle, _) in self.connections.drain(..) {
            self.stack.sockets.remove(handle);
        }
        (self.flood, self.stage, self.release_at) = (Some((now, flood)), Stage::Opening, None);
        let (address, port) = flood.to;
        for local in (FIRST_PORT..=u16::MAX).take(flood.connections) {
            let handle = self.stack.add_tcp(BUFFER_BYTES, BUFFER_BYTES);
            let socket = self.stack.sockets.get_mut::<tcp::Socket<'_>>(handle);
            socket.set_timeout(Some(smoltcp::time::Duration::from_micros(ANSWER_TIME.micros())));
            // A fresh socket, and no port is zero.
            let _ = socket.connect(self.stack.interface.context(), (address, port), local);
            self.connections.push((handle, Fate::Waiting));
        }
    }

    /// How far it is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    fn state(&self, handle: SocketHandle) -> tcp::State {
        self.stack.sockets.get::<tcp::Socket<'_>>(handle).state()
    }

    fn step(&mut self, now: Instant) {
        let Some((begun, flood)) = self.flood else { return };
        match self.stage {
            Stage::Opening => {
                // One that ends by itself so late had no answer; one that ends before was reset.
                let late = now.since(begun) >= ANSWER_TIME;
                for index in 0..self.connections.len() {
                    let (handle, fate) = self.connections[index];
                    self.connections[index].1 = match (fate, self.state(handle)) {
                        (Fate::Waiting, tcp::State::SynSent) => Fate::Waiting,
                        (Fate::Waiting, tcp::State::Closed) if late => Fate::Silent,
                        (Fate::Waiting, tcp::State::Closed) => Fate::Refused,
                        (Fate::Waiting, _) => Fate::Open,
                        (fate, _) => fate,
                    };
                }
                let of = |fate| self.connections.iter().filter(|(_, other)| *other == fate).count();
                if of(Fate::Waiting) == 0 {
                    let (open, refused, silent) = (of(Fate::Open), of(Fate::Refused), of(Fate::Silent));
                    self.stage = Stage::Open(Answers { open, refused, silent });
                    self.release_at = Some(now + flood.hold);
                }
            }
            Stage::Open(Answers { open, .. }) if self.release_at.is_some_and(|at| at <= now) => {
                self.release_at = None;
                let still = self.connections.iter();
                let still =
                    still.filter(|(handle, _)| self.state(*handle) == tcp::State::Established).count();
                self.stage = Stage::Over { closed: open.saturating_sub(still) };
                for (handle, _) in &self.connections {
                    self.stack.sockets.get_mut::<tcp::Socket<'_>>(*handle).abort();
                }
            }
            _ => {}
        }
    }
}

impl Host for Hostile {
    fn receive(&mut self, _now: Instant, frame: Frame) {
        self.stack.card.incoming.push_back(frame);
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
        let time = stack_time(now);
        let Stack { interface, card, sockets } = &mut self.stack;
        interface.poll(time, card, sockets);
        self.step(now);
        let Stack { interface, card, sockets } = &mut self.stack;
        interface.poll(time, card, sockets);
        card.outgoing.drain(..).for_each(send);
        earliest(interface.poll_at(time, sockets).map(world_time), self.release_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::LinkConfig;
    use crate::rng::Seed;
    use crate::world::{Outcome, World};

    /// A host with so many sockets that listen.
    struct Victim(Stack);

    impl Host for Victim {
        fn receive(&mut self, _now: Instant, frame: Frame) {
            self.0.card.incoming.push_back(frame);
        }

        fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
            let Stack { interface, card, sockets } = &mut self.0;
            interface.poll(stack_time(now), card, sockets);
            card.outgoing.drain(..).for_each(send);
            interface.poll_at(stack_time(now), sockets).map(world_time)
        }
    }

    fn seat(last: u8) -> Seat {
        let (name, seed) = (format!("host-{last}"), Seed::new(last.into()));
        Seat { name, mac: [2, 0, 0, 0, 0, last], ip: [10, 0, 0, last], seed, store: None }
    }

    fn flood(connections: usize, to: u8) -> Flood {
        Flood { to: ([10, 0, 0, to].into(), 80), connections, hold: Duration::from_secs(2) }
    }

    /// What came of it, and when it was over.
    fn run(listening: usize, flood: Flood) -> (Answers, Duration) {
        run_over(LinkConfig::new(100_000_000, Duration::from_micros(50)), listening, flood)
    }

    /// The same where what goes to the other host takes that link.
    fn run_over(down: LinkConfig, listening: usize, flood: Flood) -> (Answers, Duration) {
        let cable = LinkConfig::new(100_000_000, Duration::from_micros(50));
        let mut world: World<Box<dyn Host>> = World::new(Seed::new(1));
        let mut victim = Stack::new(&seat(1));
        for _ in 0..listening {
            let handle = victim.add_tcp(BUFFER_BYTES, BUFFER_BYTES);
            victim.sockets.get_mut::<tcp::Socket<'_>>(handle).listen(80).expect("a fresh socket");
        }
        world.attach(Box::new(Victim(victim)), cable, down);
        let mut hostile = Hostile::new(&seat(2));
        hostile.begin(Instant::ZERO, flood);
        let shared = std::rc::Rc::new(std::cell::RefCell::new(hostile));
        world.attach(Box::new(Shared(shared.clone())), cable, cable);
        let mut answers = None;
        let outcome = world.run_until(Instant::from_millis(60_000), |_| match shared.borrow().stage() {
            Stage::Open(all) => {
                answers = Some(all);
                false
            }
            stage => matches!(stage, Stage::Over { .. }),
        });
        assert_eq!(outcome, Outcome::Done);
        (answers.expect("answers"), world.now().since(Instant::ZERO))
    }

    struct Shared(std::rc::Rc<std::cell::RefCell<Hostile>>);

    impl Host for Shared {
        fn receive(&mut self, now: Instant, frame: Frame) {
            self.0.borrow_mut().receive(now, frame);
        }

        fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
            self.0.borrow_mut().poll(now, send)
        }
    }

    #[test]
    fn as_many_are_open_as_there_are_listeners_and_the_others_refused() {
        let (answers, time) = run(30, flood(1_000, 1));
        assert_eq!(answers, Answers { open: 30, refused: 970, silent: 0 });
        assert!(time >= Duration::from_secs(2) && time < Duration::from_secs(5), "{time:?}");
    }

    /// What overflows comes again, and at last no more: who was refused and who had no answer are told apart.
    #[test]
    fn more_at_once_than_a_queue_takes() {
        let queue = 8 << 10;
        let down = LinkConfig { queue, ..LinkConfig::new(1_000_000, Duration::from_micros(50)) };
        let (Answers { open, refused, silent }, _) = run_over(down, 30, flood(1_000, 1));
        assert_eq!((open, open + refused + silent), (30, 1_000));
        assert!(refused > 50 && silent > 50, "{refused} {silent}");
    }

    #[test]
    fn nobody_is_there() {
        let (answers, time) = run(0, flood(100, 9));
        assert_eq!(answers, Answers { open: 0, refused: 0, silent: 100 });
        assert!(time >= Duration::from_secs(12), "{time:?}");
    }
}
