//! What is simulated: plain data that says everything about a run. The same scenario gives the same run.
//!
//! People write scenarios as TOML ([`Scenario::load`]); [`PRESETS`] come with the package, and
//! [`Scenario::swarm`] draws others.

mod check;
mod file;
mod swarm;
mod units;

use std::fmt;
use std::path::PathBuf;

use peerdist_core::encoding::InfoVersion;
use peerdist_core::hosted::wire::Version;
use peerdist_core::time::Duration;

use self::check::{check_clients, check_size};
pub use self::file::{FileError, LoadError, member as parse_member};
pub use self::swarm::CALM;
pub use self::units::{
    parse_caching, parse_clients, parse_content_info, parse_delay, parse_line, parse_loss, parse_rate,
    parse_room, parse_seed, parse_size, parse_time,
};
use crate::link::{DEFAULT_QUEUE, LinkConfig, Probability};
use crate::services::MAX_LEASES;

/// Clients that one branch can have: their addresses are the hosts of 10.0.1.0 to 10.0.4.0.
pub const MAX_CLIENTS: usize = 1000;

/// Bytes of content that one run can have: it is held in memory.
pub const MAX_CONTENT: u64 = 4 << 30;

/// Bytes of memory that the copies of the content may take in one run: the origin's, one in the store of each
/// client, and one that is being checked.
pub const MAX_MEMORY: u64 = 16 << 30;

/// Real machines that one run can have: as many as get an address.
pub const MAX_MACHINES: usize = MAX_LEASES;

/// Connections that a hostile host can open: each has a port of its own.
pub const MAX_FLOOD: usize = 10_000;

/// How many it opens if nothing else is said.
pub const FLOOD: usize = 1_000;

/// How long it keeps them then.
pub const FLOOD_HOLD: Duration = Duration::from_secs(5);

/// The port that it opens them to: that of retrieval.
pub const FLOOD_PORT: u16 = 80;

/// How long machines may use an address that they get.
pub const LEASE: Duration = Duration::from_secs(600);

/// Clients that start together start within this time.
pub const TOGETHER: Duration = Duration::from_millis(100);

/// The scenarios that come with the package, by name. The first is the default, and every other file is laid
/// over it.
pub const PRESETS: [(&str, &str); 4] = [
    ("branch", include_str!("../presets/branch.toml")),
    ("rough", include_str!("../presets/rough.toml")),
    ("hosted", include_str!("../presets/hosted.toml")),
    ("hosted-v1", include_str!("../presets/hosted-v1.toml")),
];

/// Losses in per cent that a run is given more time for.
const MAX_COUNTED_LOSS: f64 = 30.0;

/// A run, completely.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// How many clients there are.
    pub clients: usize,
    /// What they all want.
    pub content: ContentSource,
    /// Up to which version they ask for content information.
    pub content_info: InfoVersion,
    /// Where clients look for blocks before they turn to the origin.
    pub caching: Caching,
    /// Who is the hosted cache, where there is one: a simulated host, or the first machine.
    pub hosted_cache: Member,
    /// The line between the branch's switch and the origin, in each direction.
    pub wan: Line,
    /// The cable between the branch's switch and each client, in each direction.
    pub lan: Line,
    /// How many frames are lost, on every line that does not say so itself and in each direction.
    pub loss: Probability,
    /// When the clients start.
    pub start: Start,
    /// The number that all chance comes from.
    pub seed: u64,
    /// Clients with something in common: the first group has the first clients, and so on.
    pub groups: Vec<Group>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// How long machines may use the address that they get, in whole seconds.
    pub lease: Duration,
    /// How much virtual time the run may take; `None` for a bound that a run which gets on does not reach.
    pub time_limit: Option<Duration>,
    /// How many events the run may take.
    pub event_limit: u64,
}

/// Where clients look for blocks before they turn to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Nowhere.
    None,
    /// Among each other.
    Distributed,
    /// In a hosted cache.
    Hosted {
        /// The protocol's version, by which they offer it what comes from the origin.
        version: Version,
        /// Whether they look among each other as well, and first.
        with_peers: bool,
    },
}

/// Where the content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentSource {
    /// So many random bytes, drawn from the seed.
    Generated(u64),
    /// A file.
    File(PathBuf),
}

/// One direction of a line, in netem's words: see [`LinkConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Bits per second.
    pub rate: u64,
    /// How long each frame is under way.
    pub delay: Duration,
    /// By how much that differs at most.
    pub jitter: Duration,
    /// How many frames are lost; `None` for as many as on every line.
    pub loss: Option<Probability>,
    /// How many frames come twice.
    pub duplicate: Probability,
    /// How many frames overtake others.
    pub reorder: Probability,
    /// How many frames have a bit flipped.
    pub corrupt: Probability,
    /// Bytes that wait before the line.
    pub queue: u64,
}

/// Clients that have something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What it is called.
    pub name: String,
    /// How many clients it has.
    pub clients: usize,
    /// In what their cables differ from [`Scenario::lan`].
    pub lan: LineChange,
}

/// In what a line differs from another: `None` for what is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineChange {
    /// [`Line::rate`].
    pub rate: Option<u64>,
    /// [`Line::delay`].
    pub delay: Option<Duration>,
    /// [`Line::jitter`].
    pub jitter: Option<Duration>,
    /// [`Line::loss`].
    pub loss: Option<Probability>,
    /// [`Line::duplicate`].
    pub duplicate: Option<Probability>,
    /// [`Line::reorder`].
    pub reorder: Option<Probability>,
    /// [`Line::corrupt`].
    pub corrupt: Option<Probability>,
    /// [`Line::queue`].
    pub queue: Option<u64>,
}

/// When the clients start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// All within [`TOGETHER`].
    Together,
    /// Each when the one before it has ended.
    Staggered,
    /// Each at its time, from the beginning of the run.
    At(Vec<Duration>),
}

/// Something that goes wrong. Clients are counted from zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A client leaves.
    Leave {
        /// Which client.
        client: usize,
        /// What the times are counted from.
        clock: Clock,
        /// When it leaves.
        at: Duration,
        /// When it comes back: until then it is without its cable. `None` if it never does: it is switched off.
        back: Option<Duration>,
    },
    /// A client serves corrupted blocks, as soon as it has them all.
    Corrupt {
        /// Which client.
        client: usize,
    },
    /// A client's cable is slow.
    Slow {
        /// Which client.
        client: usize,
        /// Its rate in bits per second.
        rate: u64,
    },
    /// A client has little memory for blocks.
    Small {
        /// Which client.
        client: usize,
        /// How many bytes, of which it uses whole blocks.
        store: u64,
    },
    /// A host that is no client is without its cable.
    Unplug {
        /// Which host.
        member: Member,
        /// From when, from the beginning of the run.
        at: Duration,
        /// When it has it again; `None` for never.
        back: Option<Duration>,
    },
    /// A client or a machine has a cable of its own.
    Cable {
        /// Which of them.
        member: Member,
        /// In what it differs from those of the group, or of all.
        lan: LineChange,
    },
    /// A hostile host opens many TCP connections to a client or a machine, and says nothing.
    Flood {
        /// To whom.
        member: Member,
        /// When, from the beginning of the run. A machine without an address is waited for.
        at: Duration,
        /// How many.
        connections: usize,
        /// To which port.
        port: u16,
        /// How long it keeps them, once each is open or refused.
        hold: Duration,
    },
    /// Two sides do not hear each other for a time.
    Partition {
        /// Who they are.
        between: [Vec<Member>; 2],
        /// When it begins, from the beginning of the run.
        from: Duration,
        /// When they hear each other again; `None` for never.
        to: Option<Duration>,
    },
}

/// What times are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The beginning of the run.
    Run,
    /// The beginning of the client's download.
    Download,
}

/// A host of the branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// The origin.
    Origin,
    /// A client, from zero.
    Client(usize),
    /// A real machine, from zero.
    Machine(usize),
    /// Where there are machines, the host that gives them addresses, and that of the origin by its name.
    Services,
    /// The hosted cache, if there is one.
    Hosted,
}

impl fmt::Display for Member {
    /// What the host is called everywhere: in files, reports and captures.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin => f.write_str("origin"),
            Self::Client(index) => write!(f, "client-{:02}", index + 1),
            Self::Machine(index) => write!(f, "machine-{:02}", index + 1),
            Self::Services => f.write_str("services"),
            Self::Hosted => f.write_str("hosted-cache"),
        }
    }
}

/// Why a value is not one, or a scenario cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidScenario {
    reason: String,
    part: Part,
}

/// What of a scenario is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// A value by itself.
    Value,
    Clients,
    Content,
    Wan,
    Lan,
    Start,
    Services,
    HostedCache,
    Group(usize),
    Fault(usize),
}

impl InvalidScenario {
    fn of(self, part: Part) -> Self {
        Self { part, ..self }
    }
}

impl Scenario {
    /// The default: ten clients of a branch that start one after the other, behind a slow line.
    pub fn branch() -> Self {
        Self::preset(PRESETS[0].0).expect("it comes with the package")
    }

    /// Whether there is a simulated hosted cache.
    pub fn is_hosted(&self) -> bool {
        matches!(self.caching, Caching::Hosted { .. }) && self.hosted_cache == Member::Hosted
    }

    /// How much memory the copies of content of `size` bytes take.
    pub fn memory(&self, size: u64) -> u64 {
        size.saturating_mul(self.clients as u64 + 2 + u64::from(self.is_hosted()))
    }

    /// How much virtual time the run may take, for content of `size` bytes.
    pub fn virtual_time_limit(&self, size: u64) -> Duration {
        self.time_limit.unwrap_or_else(|| {
            let cables = || (0..self.clients).map(Member::Client).chain(self.machines());
            let links = || cables().map(|member| self.cable(member)).chain([self.link(self.wan)]);
            // As if each client fetched everything at a quarter of the slowest line's rate, or of the 1 Mbit/s
            // that TCP still reaches with some loss; and ten minutes for time-outs.
            let rate = links().map(|link| link.rate).fold(1_000_000, u64::min).max(1);
            let transfer = u128::from(size) * 8 * 4 * 1_000_000 / u128::from(rate);
            // TCP's time-outs grow faster than the loss; past a third, nothing gets on anyway.
            let missing = |link: LinkConfig| link.loss.percent() + link.corrupt.percent();
            let percent = links().map(missing).fold(0.0, f64::max).min(MAX_COUNTED_LOSS);
            let patience = 1 + (percent * percent / 10.0) as u128;
            let total = (transfer + 600_000_000) * patience * self.clients as u128;
            let total = total + self.planned() * self.clients as u128;
            Duration::from_micros(u64::try_from(total).unwrap_or(u64::MAX))
        })
    }

    /// The last time in microseconds at which something is planned to happen.
    fn planned(&self) -> u128 {
        let starts = match &self.start {
            Start::At(times) => times.as_slice(),
            Start::Together | Start::Staggered => &[],
        };
        let faults = self.faults.iter().flat_map(|fault| match fault {
            Fault::Leave { at, back, .. } | Fault::Unplug { at, back, .. } => [Some(*at), *back],
            Fault::Partition { from, to, .. } => [Some(*from), *to],
            Fault::Flood { at, hold, .. } => [Some(*at), Some(*at + *hold)],
            Fault::Corrupt { .. } | Fault::Slow { .. } | Fault::Small { .. } | Fault::Cable { .. } => {
                [None, None]
            }
        });
        let times = starts.iter().copied().chain(faults.flatten());
        times.map(|time| u128::from(time.micros())).max().unwrap_or(0)
    }

    /// The link that a line makes under this scenario's loss.
    pub fn link(&self, line: Line) -> LinkConfig {
        let Line { rate, delay, jitter, loss, duplicate, reorder, corrupt, queue } = line;
        let loss = loss.unwrap_or(self.loss);
        LinkConfig { rate, delay, jitter, loss, duplicate, reorder, corrupt, queue }
    }

    /// The link of a client or a machine: its group's or that of all, with what it has of its own.
    pub fn cable(&self, member: Member) -> LinkConfig {
        let mut first = 0;
        let group = self.groups.iter().find(|group| {
            first += group.clients;
            matches!(member, Member::Client(client) if client < first)
        });
        let mut line = group.map_or(self.lan, |group| group.lan.over(self.lan));
        for fault in &self.faults {
            match fault {
                Fault::Slow { client, rate } if Member::Client(*client) == member => line.rate = *rate,
                Fault::Cable { member: other, lan } if *other == member => line = lan.over(line),
                _ => {}
            }
        }
        self.link(line)
    }

    /// Machines with cables of their own.
    fn machines(&self) -> impl Iterator<Item = Member> {
        self.faults.iter().filter_map(|fault| match fault {
            Fault::Cable { member: machine @ Member::Machine(_), .. } => Some(*machine),
            _ => None,
        })
    }

    /// How many bytes of blocks a client can keep; `None` for the whole content.
    pub fn store(&self, client: usize) -> Option<u64> {
        self.faults.iter().rev().find_map(|fault| match fault {
            Fault::Small { client: small, store } if *small == client => Some(*store),
            _ => None,
        })
    }
}

impl fmt::Display for Scenario {
    /// A few short lines from which a person knows what was run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, wan, lan, loss, seed, .. } = self;
        write!(f, "{}", count(*clients, "client", "clients"))?;
        if *clients != 1 {
            f.write_str(match self.start {
                Start::Together => ", together",
                Start::Staggered => ", one after the other",
                Start::At(_) => ", at times",
            })?;
        }
        if !self.groups.is_empty() {
            write!(f, ", {}", count(self.groups.len(), "group", "groups"))?;
        }
        if self.content_info == InfoVersion::V2 {
            f.write_str(", content information 2.0")?;
        }
        f.write_str(match self.caching {
            Caching::Distributed => "",
            Caching::None => ", no caching",
            Caching::Hosted { version: Version::V1, with_peers: false } => ", a hosted cache (1.0)",
            Caching::Hosted { version: Version::V2, with_peers: false } => ", a hosted cache",
            Caching::Hosted { version: Version::V1, with_peers: true } => ", peers and a hosted cache (1.0)",
            Caching::Hosted { version: Version::V2, with_peers: true } => ", peers and a hosted cache",
        })?;
        if self.hosted_cache != Member::Hosted {
            write!(f, ": {}", self.hosted_cache)?;
        }
        write!(f, "\nWAN {wan}, LAN {lan}")?;
        if *loss != Probability::NEVER {
            write!(f, ", {} % loss", (loss.percent() * 1e6).round() / 1e6)?;
        }
        for (name, line) in [("WAN", wan), ("LAN", lan)] {
            line.mishaps(f, name)?;
        }
        let of = |kind: fn(&Fault) -> bool| self.faults.iter().filter(|fault| kind(fault)).count();
        let faults = [
            (
                of(|fault| matches!(fault, Fault::Leave { .. } | Fault::Unplug { .. })),
                "departure",
                "departures",
            ),
            (of(|fault| matches!(fault, Fault::Partition { .. })), "partition", "partitions"),
            (of(|fault| matches!(fault, Fault::Corrupt { .. })), "liar", "liars"),
            (of(|fault| matches!(fault, Fault::Slow { .. })), "slow client", "slow clients"),
            (of(|fault| matches!(fault, Fault::Small { .. })), "small store", "small stores"),
            (of(|fault| matches!(fault, Fault::Cable { .. })), "cable of its own", "cables of their own"),
            (of(|fault| matches!(fault, Fault::Flood { .. })), "flood", "floods"),
        ];
        let faults = faults.iter().filter(|(times, ..)| *times > 0);
        let faults: Vec<String> = faults.map(|(times, one, many)| count(*times, one, many)).collect();
        if !faults.is_empty() {
            write!(f, "\n{}", faults.join(", "))?;
        }
        write!(f, "\nseed {seed}")
    }
}

impl Line {
    /// A line that does nothing to its frames, with the usual queue.
    pub const fn new(rate: u64, delay: Duration) -> Self {
        Self {
            rate,
            delay,
            jitter: Duration::ZERO,
            loss: None,
            duplicate: Probability::NEVER,
            reorder: Probability::NEVER,
            corrupt: Probability::NEVER,
            queue: DEFAULT_QUEUE,
        }
    }

    /// What happens to frames on this line beyond the loss of every line.
    fn mishaps(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let shares = [
            (self.loss.unwrap_or_default(), "lost"),
            (self.duplicate, "doubled"),
            (self.reorder, "reordered"),
            (self.corrupt, "corrupted"),
        ];
        let shares = shares.iter().filter(|(share, _)| *share != Probability::NEVER);
        let mut texts: Vec<String> =
            shares.map(|(share, what)| format!("{} {what}", units::share(*share))).collect();
        if self.jitter != Duration::ZERO {
            texts.insert(0, format!("± {}", units::time(self.jitter)));
        }
        if texts.is_empty() {
            return Ok(());
        }
        write!(f, "\n{name}: {}", texts.join(", "))
    }
}

impl LineChange {
    /// The line that is like `line` but for these changes.
    pub fn over(&self, line: Line) -> Line {
        Line {
            rate: self.rate.unwrap_or(line.rate),
            delay: self.delay.unwrap_or(line.delay),
            jitter: self.jitter.unwrap_or(line.jitter),
            loss: self.loss.or(line.loss),
            duplicate: self.duplicate.unwrap_or(line.duplicate),
            reorder: self.reorder.unwrap_or(line.reorder),
            corrupt: self.corrupt.unwrap_or(line.corrupt),
            queue: self.queue.unwrap_or(line.queue),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, unit) = match self.rate {
            rate if rate >= 1_000_000_000 => (rate as f64 / 1e9, "Gbit/s"),
            rate if rate >= 1_000_000 => (rate as f64 / 1e6, "Mbit/s"),
            rate if rate >= 1_000 => (rate as f64 / 1e3, "kbit/s"),
            rate => (rate as f64, "bit/s"),
        };
        write!(f, "{rate} {unit} with {} ms", self.delay.micros() as f64 / 1e3)
    }
}

fn count(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn invalid<T>(reason: impl Into<String>) -> Result<T, InvalidScenario> {
    Err(InvalidScenario { reason: reason.into(), part: Part::Value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_well() {
        let text =
            "10 clients, one after the other\nWAN 2 Mbit/s with 50 ms, LAN 1 Gbit/s with 0.05 ms\nseed 1";
        assert_eq!(Scenario::branch().to_string(), text);
        let loss = parse_loss("0.1").unwrap();
        let text = Scenario { clients: 1, start: Start::Together, loss, ..Scenario::branch() }.to_string();
        assert!(text.starts_with("1 client\nWAN") && text.contains(", 0.1 % loss\n"), "{text}");
        let text = Scenario { content_info: InfoVersion::V2, ..Scenario::branch() }.to_string();
        assert!(text.contains(", content information 2.0\nWAN"), "{text}");
        let hosted = Scenario::preset("hosted").unwrap();
        let text = Scenario { hosted_cache: Member::Machine(0), ..hosted }.to_string();
        assert!(text.contains(", a hosted cache: machine-01\nWAN"), "{text}");
    }

    #[test]
    fn mishaps_are_told_in_80_columns() {
        let rough = Scenario::preset("rough").expect("it comes with the package").to_string();
        assert!(
            rough.contains("doubled, ") && rough.contains("1 slow client, 1 small store\nseed"),
            "{rough}"
        );
        assert!(rough.lines().all(|line| line.chars().count() <= 80), "{rough}");
    }

    #[test]
    fn planned_times_and_slow_lines_are_waited_for() {
        let branch = Scenario::branch();
        let limit = branch.virtual_time_limit(4 << 20);
        let later = Scenario { start: Start::At(vec![Duration::from_secs(3600); 10]), ..branch.clone() };
        assert_eq!(later.virtual_time_limit(4 << 20).micros(), limit.micros() + 36_000_000_000);
        let slow = Scenario { faults: vec![Fault::Slow { client: 9, rate: 1_000 }], ..branch };
        // 4 MiB at a quarter of 1 kbit/s.
        assert!(slow.virtual_time_limit(4 << 20) > Duration::from_secs(10 * 4 * (32 << 10)));
    }
}
