//! Scenarios drawn from a seed, in which anything may go wrong that a scenario can say.
//!
//! All faults that come and go are over after [`CALM`]; what stays (losses, liars, slow lines, small stores)
//! keeps nobody from the content for ever. So whatever is drawn, every client has to get all of it.

use peerdist_core::limits::{BLOCK_BYTES, SEGMENT_BYTES};
use peerdist_core::time::Duration;
use rand_core::Rng as _;

use super::{Clock, ContentSource, Fault, Group, Line, LineChange, Member, Scenario, Start};
use crate::link::Probability;
use crate::rng::{Rng, Seed};

/// By then after the beginning of the run, or of a client's download, whoever left is back, and no partition
/// is left.
pub const CALM: Duration = Duration::from_secs(60);

/// The longest time for which somebody is away or cut off: shorter than what a download bears of its origin.
const LONGEST_OUTAGE_MS: u64 = 15_000;

const MAX_SWARM: u64 = 12;

/// The largest content that is drawn often.
const LARGE: u64 = 6 << 20;

/// Clients that the rare content of more than one segment is for: it takes a while.
const MAX_FOR_SEGMENTS: u64 = 3;

const MBIT: u64 = 1_000_000;

impl Scenario {
    /// The scenario that `seed` stands for, which is its own seed too: what is drawn here and what is drawn in
    /// the run have nothing to do with each other.
    pub fn swarm(seed: u64) -> Self {
        let mut draw = Draw(Seed::new(seed).child("swarm", 0).rng());
        let segments = draw.chance(2);
        let clients = draw.between(2, if segments { MAX_FOR_SEGMENTS } else { MAX_SWARM }) as usize;
        let size = if segments { draw.segments() } else { draw.size() };
        let slowest_wan = if segments { 20 * MBIT } else { MBIT / 4 };
        let mut scenario = Self {
            clients,
            content: ContentSource::Generated(size),
            wan: draw.line(slowest_wan, 100 * MBIT, 300_000),
            lan: draw.line(if segments { 20 * MBIT } else { MBIT }, 1_000 * MBIT, 5_000),
            loss: if draw.chance(40) { draw.share(20) } else { Probability::NEVER },
            start: draw.start(clients),
            seed,
            groups: draw.groups(clients),
            ..Self::blank()
        };
        scenario.faults = draw.faults(clients);
        scenario
    }
}

/// Chance, in the shapes that are needed here. It knows integers only, which are the same everywhere.
struct Draw(Rng);

impl Draw {
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.next_u64() % (high - low + 1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.between(1, 100) <= percent
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.between(0, all.len() as u64 - 1) as usize]
    }

    /// Each doubling from `low` to `high` is equally likely.
    fn scale(&mut self, low: u64, high: u64) -> u64 {
        let low = low << self.between(0, (high / low).ilog2().into());
        self.between(low, high.min(2 * low))
    }

    fn time(&mut self, low_ms: u64, high_ms: u64) -> Duration {
        Duration::from_millis(self.scale(low_ms, high_ms))
    }

    /// Up to so many tenths of a per cent, and not nothing.
    fn share(&mut self, tenths: u64) -> Probability {
        let percent = self.between(1, tenths) as f64 / 10.0;
        Probability::from_percent(percent).expect("it lies between 0 and 100")
    }

    /// Mostly beside the end of a block, where mistakes are.
    fn size(&mut self) -> u64 {
        let block = u64::from(BLOCK_BYTES);
        match self.between(0, 9) {
            0..3 => self.pick(&[0, 1, 2, 15, 16, 17, block - 1, block, block + 1, block + 16]),
            3..5 => self.between(1, LARGE / block) * block - 1 + self.between(0, 2),
            5..9 => self.scale(1, LARGE),
            _ => self.between(LARGE / 2, LARGE),
        }
    }

    /// Around the end of the first segment.
    fn segments(&mut self) -> u64 {
        let (segment, block) = (u64::from(SEGMENT_BYTES), u64::from(BLOCK_BYTES));
        segment + self.pick(&[0, 1, block - 1, block, block + 1, 3 * block + 17])
    }

    fn line(&mut self, slowest: u64, fastest: u64, longest_us: u64) -> Line {
        // Whole thousands are easier to read.
        let rate = self.scale(slowest, fastest) / 1_000 * 1_000;
        let mut line = Line::new(rate, Duration::from_micros(self.scale(10, longest_us)));
        if self.chance(40) {
            line.jitter = Duration::from_micros(self.between(1, line.delay.micros()));
        }
        if self.chance(20) {
            line.loss = Some(self.share(20));
        }
        if self.chance(30) {
            line.duplicate = self.share(50);
        }
        if self.chance(30) {
            line.reorder = self.share(50);
        }
        if self.chance(30) {
            line.corrupt = self.share(10);
        }
        if self.chance(20) {
            line.queue = self.scale(32, 1_024) << 10;
        }
        line
    }

    fn start(&mut self, clients: usize) -> Start {
        match self.between(0, 3) {
            0 => Start::Staggered,
            1 => Start::At((0..clients).map(|_| self.time(1, 30_000)).collect()),
            _ => Start::Together,
        }
    }

    fn groups(&mut self, clients: usize) -> Vec<Group> {
        let mut groups = Vec::new();
        let mut left = clients as u64;
        for name in ["desks", "annex"] {
            if left > 0 && self.chance(35) {
                let clients = self.between(1, left);
                left -= clients;
                let Line { rate, delay, jitter, loss, duplicate, reorder, corrupt, queue } =
                    self.line(MBIT, 1_000 * MBIT, 10_000);
                let lan = LineChange {
                    rate: Some(rate),
                    delay: Some(delay),
                    jitter: Some(jitter),
                    loss,
                    duplicate: Some(duplicate),
                    reorder: Some(reorder),
                    corrupt: Some(corrupt),
                    queue: Some(queue),
                };
                groups.push(Group { name: name.into(), clients: clients as usize, lan });
            }
        }
        groups
    }

    /// In the order in which a file says them.
    fn faults(&mut self, clients: usize) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.chance(30) {
            let liars = self.some(clients, clients.div_ceil(3));
            faults.extend(liars.into_iter().map(|client| Fault::Corrupt { client }));
        }
        if self.chance(30) {
            for client in self.some(clients, 2) {
                let rate = self.scale(MBIT / 4, 4 * MBIT) / 1_000 * 1_000;
                faults.push(Fault::Slow { client, rate });
            }
        }
        if self.chance(30) {
            for client in self.some(clients, clients) {
                let store = self.scale(1, 32) * u64::from(BLOCK_BYTES);
                faults.push(Fault::Small { client, store });
            }
        }
        if self.chance(50) {
            for client in self.some(clients, clients) {
                let clock = self.pick(&[Clock::Run, Clock::Download]);
                let (at, back) = self.outage();
                faults.push(Fault::Leave { client, clock, at, back: Some(back) });
            }
        }
        if self.chance(30) {
            for _ in 0..self.between(1, 2) {
                let mut sides = [Vec::new(), Vec::new()];
                let members = (0..clients).map(Member::Client).chain([Member::Origin]);
                // Some are on neither side.
                members.for_each(|member| match self.between(0, 4) {
                    side @ 0..2 => sides[side as usize].push(member),
                    2 => sides[1].push(member),
                    _ => {}
                });
                let (from, to) = self.outage();
                if sides.iter().all(|side| !side.is_empty()) {
                    faults.push(Fault::Partition { between: sides, from, to: Some(to) });
                }
            }
        }
        faults
    }

    /// From one to `most` of the clients, in their order.
    fn some(&mut self, clients: usize, most: usize) -> Vec<usize> {
        let mut left: Vec<usize> = (0..clients).collect();
        let count = self.between(1, most as u64) as usize;
        while left.len() > count {
            left.remove(self.between(0, left.len() as u64 - 1) as usize);
        }
        left
    }

    /// From when to when.
    fn outage(&mut self) -> (Duration, Duration) {
        let from = self.time(1, CALM.millis() - LONGEST_OUTAGE_MS);
        (from, from + self.time(10, LONGEST_OUTAGE_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn() -> impl Iterator<Item = Scenario> {
        (0..2_000).map(Scenario::swarm)
    }

    #[test]
    fn whatever_is_drawn_can_be_run_and_written() {
        for scenario in drawn() {
            assert_eq!(scenario.validate(), Ok(()), "{scenario}");
            let text = scenario.to_toml().expect("no file is named");
            assert_eq!(Scenario::from_toml(&text), Ok(scenario), "{text}");
        }
    }

    #[test]
    fn one_seed_draws_one_scenario() {
        assert_eq!(Scenario::swarm(7), Scenario::swarm(7));
        let others =
            drawn().skip(1).filter(|other| Scenario { seed: 0, ..other.clone() } == Scenario::swarm(0));
        assert_eq!(others.count(), 0);
        // A literal, so that a changed drawing (which would change what every seed stands for) does not go
        // unseen.
        assert_eq!(
            Scenario::swarm(1).to_toml().expect("no file is named"),
            include_str!("swarm/seed-1.toml")
        );
    }

    /// Nobody is away for ever, so everybody has to get everything.
    #[test]
    fn faults_stop() {
        for fault in drawn().flat_map(|scenario| scenario.faults) {
            match fault {
                Fault::Leave { back: end, .. } | Fault::Partition { to: end, .. } => {
                    assert!(end.is_some_and(|end| end <= CALM), "{fault:?}");
                }
                Fault::Unplug { back, .. } => assert!(back.is_some(), "{fault:?}"),
                Fault::Corrupt { .. }
                | Fault::Slow { .. }
                | Fault::Small { .. }
                | Fault::Cable { .. }
                | Fault::Flood { .. } => {}
            }
        }
    }

    #[test]
    fn everything_is_drawn_now_and_then() {
        let seen = |what: &str, test: fn(&Scenario) -> bool| {
            let count = drawn().filter(test).count();
            assert!((10..2_000).contains(&count), "{what}: {count} of 2000");
        };
        let fault = |kind: fn(&Fault) -> bool| move |scenario: &Scenario| scenario.faults.iter().any(kind);
        let with = |what: &str, kind: fn(&Fault) -> bool| {
            let count = drawn().filter(fault(kind)).count();
            assert!((200..2_000).contains(&count), "{what}: {count} of 2000");
        };
        with("a liar", |fault| matches!(fault, Fault::Corrupt { .. }));
        with("a slow client", |fault| matches!(fault, Fault::Slow { .. }));
        with("a small store", |fault| matches!(fault, Fault::Small { .. }));
        with("a departure", |fault| matches!(fault, Fault::Leave { .. }));
        with("a partition", |fault| matches!(fault, Fault::Partition { .. }));
        seen("one byte", |scenario| scenario.content == ContentSource::Generated(1));
        seen(
            "two segments",
            |scenario| matches!(scenario.content, ContentSource::Generated(size) if size > u64::from(SEGMENT_BYTES)),
        );
        seen("two clients", |scenario| scenario.clients == 2);
        seen("twelve clients", |scenario| scenario.clients == 12);
        seen("a group", |scenario| !scenario.groups.is_empty());
        seen("together", |scenario| scenario.start == Start::Together);
        seen("staggered", |scenario| scenario.start == Start::Staggered);
        seen("at times", |scenario| matches!(scenario.start, Start::At(_)));
        seen("loss everywhere", |scenario| scenario.loss != Probability::NEVER);
        type Test = fn(&Line) -> bool;
        let lines: [(&str, Test); 5] = [
            ("jitter", |line| line.jitter != Duration::ZERO),
            ("copies", |line| line.duplicate != Probability::NEVER),
            ("overtaking", |line| line.reorder != Probability::NEVER),
            ("flipped bits", |line| line.corrupt != Probability::NEVER),
            ("a short queue", |line| line.queue < 100 << 10),
        ];
        for (what, test) in lines {
            let count = drawn().filter(|scenario| test(&scenario.wan) || test(&scenario.lan)).count();
            assert!((50..2_000).contains(&count), "{what}: {count} of 2000");
        }
    }
}
