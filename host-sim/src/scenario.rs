//! What is simulated: plain data that says everything about a run. The same scenario gives the same run.

use std::fmt;
use std::path::PathBuf;

use peerdist_core::time::Duration;

use crate::link::{DEFAULT_QUEUE, LinkConfig, Loss};
use crate::report;

/// Clients that one branch can have: their addresses are the hosts of 10.0.1.0 to 10.0.4.0.
pub const MAX_CLIENTS: usize = 1000;

/// Bytes of content that one run can have: it is held in memory.
pub const MAX_CONTENT: u64 = 4 << 30;

/// Bytes of memory that the copies of the content may take in one run: the origin's, one in the store of each
/// client, and one that is being checked.
pub const MAX_MEMORY: u64 = 16 << 30;

/// Clients that start together start within this time.
pub const TOGETHER: Duration = Duration::from_millis(100);

/// Losses in per cent that a run is given more time for.
const MAX_COUNTED_LOSS: f64 = 30.0;

/// The slowest delay that a line can have; anything longer is a slip of the pen.
const MAX_DELAY_MICROS: f64 = 60e6;
const MAX_RATE: f64 = 1e12;

/// A run, completely.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// How many clients there are.
    pub clients: usize,
    /// What they all want.
    pub content: ContentSource,
    /// The line between the branch's switch and the origin, in each direction.
    pub wan: Line,
    /// The cable between the branch's switch and each client, in each direction.
    pub lan: Line,
    /// How many frames are lost, on every line and in each direction.
    pub loss: Loss,
    /// When the clients start.
    pub start: Start,
    /// The number that all chance comes from.
    pub seed: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// How much virtual time the run may take; `None` for a bound that a run which gets on does not reach.
    pub time_limit: Option<Duration>,
    /// How many events the run may take.
    pub event_limit: u64,
}

/// Where the content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentSource {
    /// So many random bytes, drawn from the seed.
    Generated(u64),
    /// A file.
    File(PathBuf),
}

/// One direction of a line, in netem's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Bits per second.
    pub rate: u64,
    /// How long each frame is under way.
    pub delay: Duration,
    /// Bytes that wait before the line.
    pub queue: u64,
}

/// When the clients start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// All within [`TOGETHER`].
    Together,
    /// Each when the one before it has ended.
    Staggered,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A client loses its plug this long after its download began.
    Kill {
        /// Which client, from zero.
        client: usize,
        /// When.
        after: Duration,
    },
    /// A client serves corrupted blocks.
    Corrupt {
        /// Which client, from zero.
        client: usize,
    },
}

/// Why a value is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidScenario(String);

impl Scenario {
    /// The default: ten clients of a branch that start one after the other, behind a slow line.
    pub fn branch() -> Self {
        Self {
            clients: 10,
            content: ContentSource::Generated(4 << 20),
            wan: Line::new(2_000_000, Duration::from_millis(50)),
            lan: Line::new(1_000_000_000, Duration::from_micros(50)),
            loss: Loss::NONE,
            start: Start::Staggered,
            seed: 1,
            faults: Vec::new(),
            time_limit: None,
            event_limit: 4_000_000_000,
        }
    }

    /// Whether this can be run at all.
    pub fn validate(&self) -> Result<(), InvalidScenario> {
        check_clients(self.clients)?;
        for line in [self.wan, self.lan] {
            if line.rate == 0 {
                return invalid("a rate of 0 bit/s never delivers anything");
            }
        }
        if let ContentSource::Generated(size) = self.content {
            check_size(size)?;
            self.check_memory(size)?;
        }
        for fault in &self.faults {
            let (Fault::Kill { client, .. } | Fault::Corrupt { client }) = *fault;
            if client >= self.clients {
                return invalid(format!(
                    "a fault names client {client}, but there are only {}",
                    self.clients
                ));
            }
        }
        Ok(())
    }

    /// How much memory the copies of content of `size` bytes take.
    pub fn memory(&self, size: u64) -> u64 {
        size.saturating_mul(self.clients as u64 + 2)
    }

    /// Whether content of `size` bytes, for so many clients, stays within [`MAX_MEMORY`].
    pub fn check_memory(&self, size: u64) -> Result<(), InvalidScenario> {
        let needed = self.memory(size);
        if needed > MAX_MEMORY {
            return invalid(format!(
                "{} of content for {} clients would take {} of memory: at most {} may be taken",
                report::size(size),
                self.clients,
                report::size(needed),
                report::size(MAX_MEMORY)
            ));
        }
        Ok(())
    }

    /// How much virtual time the run may take, for content of `size` bytes.
    pub fn virtual_time_limit(&self, size: u64) -> Duration {
        self.time_limit.unwrap_or_else(|| {
            // As if each client fetched everything over the WAN, at a quarter of its rate, or of the 1 Mbit/s
            // that TCP still reaches with some loss; and ten minutes for time-outs.
            let rate = self.wan.rate.clamp(1, 1_000_000);
            let transfer = u128::from(size) * 8 * 4 * 1_000_000 / u128::from(rate);
            // TCP's time-outs grow faster than the loss; past a third, nothing gets on anyway.
            let percent = self.loss.percent().min(MAX_COUNTED_LOSS);
            let patience = 1 + (percent * percent / 10.0) as u128;
            let total = (transfer + 600_000_000) * patience * self.clients as u128;
            Duration::from_micros(u64::try_from(total).unwrap_or(u64::MAX))
        })
    }

    /// The link that a line makes under this scenario's loss.
    pub fn link(&self, line: Line) -> LinkConfig {
        LinkConfig { rate: line.rate, delay: line.delay, loss: self.loss, queue: line.queue }
    }
}

impl fmt::Display for Scenario {
    /// A few short lines from which a person knows what was run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, wan, lan, loss, seed, .. } = self;
        let plural = if *clients == 1 { "client" } else { "clients" };
        let start = match self.start {
            Start::Together => "together",
            Start::Staggered => "one after the other",
        };
        write!(f, "{clients} {plural}")?;
        if *clients != 1 {
            write!(f, ", {start}")?;
        }
        write!(f, "\nWAN {wan}, LAN {lan}")?;
        if *loss != Loss::NONE {
            write!(f, ", {} % loss", (loss.percent() * 1e6).round() / 1e6)?;
        }
        write!(f, "\nseed {seed}")
    }
}

impl Line {
    /// A line with the usual queue.
    pub const fn new(rate: u64, delay: Duration) -> Self {
        Self { rate, delay, queue: DEFAULT_QUEUE }
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

/// Reads a number of clients.
pub fn parse_clients(text: &str) -> Result<usize, InvalidScenario> {
    let clients = text.parse().or_else(|_| invalid(format!("not a number from 1 to {MAX_CLIENTS}")))?;
    check_clients(clients)?;
    Ok(clients)
}

/// Reads a seed.
pub fn parse_seed(text: &str) -> Result<u64, InvalidScenario> {
    text.parse().or_else(|_| invalid(format!("not a number from 0 to {}", u64::MAX)))
}

/// Reads a loss in per cent, such as `5`, `0.1` or `2%`.
pub fn parse_loss(text: &str) -> Result<Loss, InvalidScenario> {
    let number = text.trim().trim_end_matches('%').trim_end();
    let percent: f64 = number.parse().or_else(|_| invalid("not a number of per cent, such as 5 or 0.1"))?;
    Loss::from_percent(percent).map_or_else(|| invalid("a loss lies between 0 and 100 per cent"), Ok)
}

/// Reads a size in bytes, such as `100000`, `64KiB`, `4MiB` or `1.5GB`.
pub fn parse_size(text: &str) -> Result<u64, InvalidScenario> {
    const UNITS: [(&str, f64); 8] = [
        ("", 1.0),
        ("b", 1.0),
        ("kb", 1e3),
        ("mb", 1e6),
        ("gb", 1e9),
        ("kib", 1024.0),
        ("mib", 1048576.0),
        ("gib", 1073741824.0),
    ];
    let size = quantity(text, &UNITS);
    let size = size.map_or_else(|| invalid("not a size such as 100000, 64KiB, 4MiB or 1.5GB"), Ok)?;
    // A size too large for the type saturates, and is refused like any that is too large.
    check_size(size.round() as u64)?;
    Ok(size.round() as u64)
}

/// Reads a line as `RATE/DELAY`, such as `2Mbit/50ms` or `1 Gbit/s / 0.2 ms`.
pub fn parse_line(text: &str) -> Result<Line, InvalidScenario> {
    // The last slash: a rate may have one of its own.
    let parts = text.rsplit_once('/').filter(|(_, delay)| delay.trim() != "s");
    let Some((rate, delay)) = parts else {
        return invalid("not of the form RATE/DELAY, such as 2Mbit/50ms");
    };
    Ok(Line::new(parse_rate(rate)?, parse_delay(delay)?))
}

fn parse_rate(text: &str) -> Result<u64, InvalidScenario> {
    const UNITS: [(&str, f64); 5] =
        [("bit", 1.0), ("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9), ("tbit", 1e12)];
    let text = text.trim();
    if text.to_ascii_lowercase().ends_with("bps") {
        return invalid(format!(
            "`{text}`: bps is bytes to tc and bits to others; write bit, kbit, Mbit or Gbit"
        ));
    }
    let rate = quantity(text.strip_suffix("/s").unwrap_or(text), &UNITS);
    let Some(rate) = rate else {
        return invalid(format!("`{text}` is not a rate such as 512kbit, 2Mbit or 1Gbit/s"));
    };
    if !(1.0..=MAX_RATE).contains(&rate) {
        return invalid(format!("a rate lies between 1 bit/s and 1 Tbit/s, not `{text}`"));
    }
    Ok(rate.round() as u64)
}

fn parse_delay(text: &str) -> Result<Duration, InvalidScenario> {
    const UNITS: [(&str, f64); 5] = [("us", 1.0), ("usec", 1.0), ("ms", 1e3), ("msec", 1e3), ("s", 1e6)];
    let text = text.trim();
    // Nothing needs no unit.
    let micros = if text == "0" { Some(0.0) } else { quantity(text, &UNITS) };
    let Some(micros) = micros else {
        return invalid(format!("`{text}` is not a delay such as 50ms, 0.2ms or 80us"));
    };
    if micros > MAX_DELAY_MICROS {
        return invalid(format!("a delay is at most 60 s, not `{text}`"));
    }
    Ok(Duration::from_micros(micros.round() as u64))
}

/// A number that is not negative, then one of `units` in any case, perhaps with spaces between.
fn quantity(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    Some(number.parse::<f64>().ok()? * factor)
}

fn check_clients(clients: usize) -> Result<(), InvalidScenario> {
    match clients {
        0 => invalid("at least one client is needed"),
        1..=MAX_CLIENTS => Ok(()),
        _ => invalid(format!("at most {MAX_CLIENTS} clients fit into the branch")),
    }
}

fn check_size(size: u64) -> Result<(), InvalidScenario> {
    if size > MAX_CONTENT {
        return invalid(format!(
            "content of {size} bytes is too large: at most {} GiB are held in memory",
            MAX_CONTENT >> 30
        ));
    }
    Ok(())
}

fn invalid<T>(reason: impl Into<String>) -> Result<T, InvalidScenario> {
    Err(InvalidScenario(reason.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<(u64, u64), String> {
        parse_line(text).map(|line| (line.rate, line.delay.micros())).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_in_netems_words() {
        assert_eq!(line("2Mbit/50ms"), Ok((2_000_000, 50_000)));
        assert_eq!(line("2 Mbit/s / 50 ms"), Ok((2_000_000, 50_000)));
        assert_eq!(line("1Gbit/0.2ms"), Ok((1_000_000_000, 200)));
        assert_eq!(line("512kbit/1.5s"), Ok((512_000, 1_500_000)));
        assert_eq!(line("9600bit/0"), Ok((9_600, 0)));
        assert_eq!(line("10mbit/80usec"), Ok((10_000_000, 80)));
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        for (text, word) in [
            ("", "RATE/DELAY"),
            ("2Mbit", "RATE/DELAY"),
            ("2Mbit/s", "RATE/DELAY"),
            ("2/50ms", "`2` is not a rate"),
            ("Mbit/50ms", "not a rate"),
            ("-2Mbit/50ms", "not a rate"),
            ("2Mbps/50ms", "bytes"),
            ("0Mbit/50ms", "between 1 bit/s"),
            ("9999Tbit/50ms", "between 1 bit/s"),
            ("2Mbit/50", "`50` is not a delay"),
            ("2Mbit/-50ms", "not a delay"),
            ("2Mbit/2h", "not a delay"),
            ("2Mbit/61s", "at most 60 s"),
            ("1.2.3Mbit/50ms", "not a rate"),
        ] {
            let error = line(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_losses_and_clients() {
        assert_eq!(parse_size("100000"), Ok(100_000));
        assert_eq!(parse_size("4 MiB"), Ok(4 << 20));
        assert_eq!(parse_size("1.5kb"), Ok(1_500));
        assert!(parse_size("4 hours").is_err());
        assert!(parse_size("99999999999999999999999GiB").is_err());
        assert_eq!(parse_loss("5%").ok(), Loss::from_percent(5.0));
        assert_eq!(parse_loss("0"), Ok(Loss::NONE));
        for wrong in ["101", "-1", "NaN", "inf", "five", ""] {
            assert!(parse_loss(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_clients("1000"), Ok(1000));
        for wrong in ["0", "1001", "-1", "ten", ""] {
            assert!(parse_clients(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        assert_eq!(Scenario::branch().validate(), Ok(()));
        let faulty = |fault| Scenario { faults: vec![fault], ..Scenario::branch() }.validate();
        assert_eq!(faulty(Fault::Corrupt { client: 9 }), Ok(()));
        assert!(faulty(Fault::Corrupt { client: 10 }).is_err());
        assert!(faulty(Fault::Kill { client: 10, after: Duration::ZERO }).is_err());
        let sized = |clients, size| {
            Scenario { clients, content: ContentSource::Generated(size), ..Scenario::branch() }.validate()
        };
        assert_eq!(sized(2, MAX_CONTENT), Ok(()));
        let error = sized(3, MAX_CONTENT).unwrap_err().to_string();
        assert!(error.contains("3 clients would take 20.0 GiB of memory: at most 16.0 GiB"), "{error}");
        assert!(sized(MAX_CLIENTS, 16 << 20).is_ok() && sized(MAX_CLIENTS, 17 << 20).is_err());
        assert!(Scenario { clients: 0, ..Scenario::branch() }.validate().is_err());
        assert!(Scenario { lan: Line::new(0, Duration::ZERO), ..Scenario::branch() }.validate().is_err());
    }

    #[test]
    fn reads_well() {
        let text =
            "10 clients, one after the other\nWAN 2 Mbit/s with 50 ms, LAN 1 Gbit/s with 0.05 ms\nseed 1";
        assert_eq!(Scenario::branch().to_string(), text);
        let loss = parse_loss("0.1").unwrap();
        let text = Scenario { clients: 1, start: Start::Together, loss, ..Scenario::branch() }.to_string();
        assert!(text.starts_with("1 client\nWAN") && text.contains(", 0.1 % loss\n"), "{text}");
    }
}
