//! What people write for rates, delays, sizes and shares of frames, in netem's words: read and written.

use peerdist_core::encoding::InfoVersion;
use peerdist_core::hosted::wire::Version;
use peerdist_core::time::Duration;

use super::{Caching, InvalidScenario, Line, MAX_CLIENTS, MAX_FLOOD, check_clients, check_size, invalid};
use crate::link::Probability;

/// The slowest delay that a line can have; anything longer is a slip of the pen.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// The latest time at which something can happen: a week, longer than any run that is worth its while.
const MAX_TIME: Duration = Duration::from_secs(7 * 24 * 3600);

const MAX_RATE: f64 = 1e12;

/// The largest room for frames or blocks; no more than a terabyte ever waits or is kept.
const MAX_ROOM: u64 = 1 << 40;

/// Reads a number of clients.
pub fn parse_clients(text: &str) -> Result<usize, InvalidScenario> {
    let clients = text.parse().or_else(|_| invalid(format!("not a number from 1 to {MAX_CLIENTS}")))?;
    check_clients(clients)?;
    Ok(clients)
}

/// Reads a seed.
pub fn parse_seed(text: &str) -> Result<u64, InvalidScenario> {
    parse_number(text)
}

/// Reads a number.
pub fn parse_number(text: &str) -> Result<u64, InvalidScenario> {
    text.parse().or_else(|_| invalid(format!("not a number from 0 to {}", u64::MAX)))
}

/// Reads how many connections a flood has.
pub fn parse_connections(text: &str) -> Result<usize, InvalidScenario> {
    text.parse().or_else(|_| invalid(format!("`{text}` is not a number of connections, 1 to {MAX_FLOOD}")))
}

/// Reads the number of a port.
pub fn parse_port(text: &str) -> Result<u16, InvalidScenario> {
    text.parse().or_else(|_| invalid(format!("`{text}` is not the number of a port, 1 to 65535")))
}

/// Reads a version of content information: `1` or `2`.
pub fn parse_content_info(text: &str) -> Result<InfoVersion, InvalidScenario> {
    match text.trim() {
        "1" => Ok(InfoVersion::V1),
        "2" => Ok(InfoVersion::V2),
        other => invalid(format!("`{other}` is not a version of content information: 1 or 2")),
    }
}

/// The names of the ways of caching.
const CACHING: [(&str, Caching); 6] = [
    ("distributed", Caching::Distributed),
    ("none", Caching::None),
    ("hosted", Caching::Hosted { version: Version::V2, with_peers: false }),
    ("hosted-v1", Caching::Hosted { version: Version::V1, with_peers: false }),
    ("both", Caching::Hosted { version: Version::V2, with_peers: true }),
    ("both-v1", Caching::Hosted { version: Version::V1, with_peers: true }),
];

/// Reads where clients look for blocks: `distributed`, `none`, `hosted`, `hosted-v1`, `both` or `both-v1`.
pub fn parse_caching(text: &str) -> Result<Caching, InvalidScenario> {
    let known = CACHING.iter().find(|(name, _)| *name == text.trim());
    known.map_or_else(
        || {
            let names = CACHING.map(|(name, _)| name).join(", ");
            invalid(format!("`{text}` is no way of caching, which are {names}"))
        },
        |(_, caching)| Ok(*caching),
    )
}

/// Reads how many frames something happens to in per cent, such as `5`, `0.1` or `2 %`.
pub fn parse_loss(text: &str) -> Result<Probability, InvalidScenario> {
    let text = text.trim();
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    let percent = number.parse();
    let percent: f64 =
        percent.or_else(|_| invalid(format!("`{text}` is not a number of per cent, such as 5 or 0.1")))?;
    let share = Probability::from_percent(percent);
    let wrong = || invalid(format!("a share of frames lies between 0 and 100 per cent, not `{text}`"));
    share.map_or_else(wrong, Ok)
}

/// Reads the size of content in bytes, such as `100000`, `64KiB`, `4MiB` or `1.5GB`.
pub fn parse_size(text: &str) -> Result<u64, InvalidScenario> {
    let size = bytes(text)?;
    check_size(size)?;
    Ok(size)
}

/// Reads how many bytes a queue or a store has room for, as [`parse_size`] does: at most 1 TiB.
pub fn parse_room(text: &str) -> Result<u64, InvalidScenario> {
    let room = bytes(text)?;
    if room > MAX_ROOM {
        return invalid(format!("a queue or a store has at most 1 TiB, not `{}`", text.trim()));
    }
    Ok(room)
}

/// A size too large for the type saturates, and is refused like any that is too large.
fn bytes(text: &str) -> Result<u64, InvalidScenario> {
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
    let wrong = || invalid(format!("`{}` is not a size such as 100000, 64KiB, 4MiB or 1.5GB", text.trim()));
    quantity(text, &UNITS).map_or_else(wrong, |size| Ok(size.round() as u64))
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

/// Reads bits per second, such as `512kbit`, `2Mbit` or `1 Gbit/s`.
pub fn parse_rate(text: &str) -> Result<u64, InvalidScenario> {
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

/// Reads the delay of a line, such as `50ms`, `0.2 ms` or `80us`: at most 60 s.
pub fn parse_delay(text: &str) -> Result<Duration, InvalidScenario> {
    let Some(delay) = duration(text, &TIME_UNITS[..DELAY_UNITS]) else {
        return invalid(format!("`{}` is not a delay such as 50ms, 0.2ms or 80us", text.trim()));
    };
    if delay > MAX_DELAY {
        return invalid(format!("a delay is at most 60 s, not `{}`", text.trim()));
    }
    Ok(delay)
}

/// Reads when something happens, such as `2.5 s`, `300ms` or `10 min`: at most a week.
pub fn parse_time(text: &str) -> Result<Duration, InvalidScenario> {
    let Some(time) = duration(text, &TIME_UNITS) else {
        return invalid(format!("`{}` is not a time such as 2.5s, 300ms or 10min", text.trim()));
    };
    if time > MAX_TIME {
        return invalid(format!("a time is at most a week, not `{}`", text.trim()));
    }
    Ok(time)
}

/// Units of time, in microseconds. Delays have those up to seconds.
const TIME_UNITS: [(&str, f64); 11] = [
    ("us", 1.0),
    ("usec", 1.0),
    ("usecs", 1.0),
    ("ms", 1e3),
    ("msec", 1e3),
    ("msecs", 1e3),
    ("s", 1e6),
    ("sec", 1e6),
    ("secs", 1e6),
    ("min", 60e6),
    ("h", 3600e6),
];
const DELAY_UNITS: usize = 9;

fn duration(text: &str, units: &[(&str, f64)]) -> Option<Duration> {
    // Nothing needs no unit.
    let micros = if text.trim() == "0" { 0.0 } else { quantity(text, units)? };
    Some(Duration::from_micros(micros.round() as u64))
}

/// Writes bits per second so that [`parse_rate`] reads the same.
pub fn rate(rate: u64) -> String {
    let units = [("Tbit/s", 1_000_000_000_000), ("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000)];
    exactly(rate, &[&units[..], &[("kbit/s", 1_000)]].concat(), "bit/s")
}

/// Writes a way of caching so that [`parse_caching`] reads the same.
pub fn caching(caching: Caching) -> String {
    CACHING.iter().find(|(_, known)| *known == caching).map_or("", |(name, _)| name).into()
}

/// Writes a version of content information so that [`parse_content_info`] reads the same.
pub fn content_info(version: InfoVersion) -> String {
    match version {
        InfoVersion::V1 => "1".into(),
        InfoVersion::V2 => "2".into(),
    }
}

/// Writes a delay or a time so that [`parse_delay`] or [`parse_time`] reads the same.
pub fn time(time: Duration) -> String {
    exactly(time.micros(), &[("s", 1_000_000), ("ms", 1_000)], "us")
}

/// Writes a size so that [`parse_size`] reads the same.
pub fn size(size: u64) -> String {
    exactly(size, &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)], "B")
}

/// Writes a share of frames so that [`parse_loss`] reads the same, with no more digits than that takes.
pub fn share(share: Probability) -> String {
    let percent = share.percent();
    let mut short = (0..=12).map(|places| format!("{percent:.places$}"));
    let same = |text: &String| text.parse().ok().and_then(Probability::from_percent) == Some(share);
    format!("{} %", short.find(same).unwrap_or_else(|| percent.to_string()))
}

/// The largest unit of which `value` is a whole number.
fn exactly(value: u64, units: &[(&str, u64)], smallest: &str) -> String {
    let unit = units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
    let (name, factor) = unit.copied().unwrap_or((smallest, 1));
    format!("{} {name}", value / factor)
}

/// A number that is not negative, then one of `units` in any case, perhaps with spaces between.
fn quantity(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    Some(number.parse::<f64>().ok()? * factor)
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
        for delay in ["80us", "80usec", "80usecs", "0.08 msecs", "0.00008secs"] {
            assert_eq!(line(&format!("10mbit/{delay}")), Ok((10_000_000, 80)));
        }
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
        assert_eq!(parse_loss("5%").ok(), Probability::from_percent(5.0));
        assert_eq!(parse_loss("0"), Ok(Probability::NEVER));
        assert_eq!(parse_room("5 GiB"), Ok(5 << 30));
        assert!(parse_size("5 GiB").is_err() && parse_room("1025 GiB").is_err());
        for wrong in ["101", "-1", "NaN", "inf", "five", "", "%", "5 %%", "1% 25%"] {
            assert!(parse_loss(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_clients("1000"), Ok(1000));
        for wrong in ["0", "1001", "-1", "ten", ""] {
            assert!(parse_clients(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_may_be_longer_than_delays() {
        for (text, micros) in [
            ("2.5 s", 2_500_000),
            ("300ms", 300_000),
            ("10 min", 600_000_000),
            ("1h", 3_600_000_000),
            ("0", 0),
        ] {
            assert_eq!(parse_time(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for (text, word) in
            [("5", "not a time"), ("soon", "not a time"), ("-1 s", "not a time"), ("169 h", "at most a week")]
        {
            let error = parse_time(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for (value, text) in [
            (1_000_000_000_000, "1 Tbit/s"),
            (1_500_000_000, "1500 Mbit/s"),
            (512_000, "512 kbit/s"),
            (9_601, "9601 bit/s"),
        ] {
            assert_eq!((rate(value), parse_rate(text)), (text.to_string(), Ok(value)));
        }
        for (micros, text) in [(50_000, "50 ms"), (50, "50 us"), (0, "0 us"), (60_000_000, "60 s")] {
            let delay = Duration::from_micros(micros);
            assert_eq!((time(delay), parse_delay(text)), (text.to_string(), Ok(delay)));
        }
        assert_eq!((size(MAX_ROOM), parse_room("1024 GiB")), ("1024 GiB".to_string(), Ok(MAX_ROOM)));
        for (bytes, text) in [(4 << 20, "4 MiB"), (100_500, "100500 B"), (0, "0 B"), (1 << 32, "4 GiB")] {
            assert_eq!((size(bytes), parse_size(text)), (text.to_string(), Ok(bytes)));
        }
        for text in ["0 %", "0.1 %", "12.5 %", "100 %", "0.0000001 %"] {
            assert_eq!(share(parse_loss(text).unwrap()), text);
        }
    }
}
