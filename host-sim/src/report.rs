//! What a run came to: as one JSON object for machines, and as a table for people.

mod compare;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::IpAddr;

use anstyle::{AnsiColor, Style};
use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Table, Width,
    presets,
};
use serde::{Serialize, Serializer};

pub use self::compare::{comparison_json, comparison_text};
use crate::scenario::Scenario;
use crate::world::Outcome;

/// Columns of the terminal that the table is made for.
const COLUMNS: u16 = 80;

/// Columns that reasons get even if the table becomes wider.
const REASON_COLUMNS: u16 = 15;

/// What took no longer says nothing of how fast it went, as times are told in milliseconds.
pub const SHORTEST_MS: u64 = 100;

/// Columns of the bars of the timeline.
const BAR_COLUMNS: usize = 16;

/// Everything that is known after a run. Serialising it gives what `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The number that repeats this run.
    pub seed: u64,
    /// What the clients wanted.
    pub content: ContentReport,
    /// What crossed the WAN.
    pub wan: WanReport,
    /// The clients, in the order of their names.
    pub clients: Vec<ClientReport>,
    /// Who served whom, in the order of the first blocks: in sum, what the clients say.
    pub timeline: Vec<Service>,
    /// How long the run took, in virtual time.
    pub virtual_ms: u64,
    /// SHA-256 over all frames with their times: equal for equal scenarios.
    #[serde(serialize_with = "hex")]
    pub trace_sha256: [u8; 32],
    /// How much a run in real time was held up, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_up: Option<HeldUp>,
    /// Why the run ended.
    #[serde(skip)]
    pub outcome: Outcome,
}

/// How far this computer fell behind the clock on the wall: clients and machines may not have behaved as they do on
/// a real network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HeldUp {
    /// How often.
    pub times: u64,
    /// By how much at most.
    pub worst_ms: u64,
    /// By how much in all.
    pub total_ms: u64,
}

/// The content.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ContentReport {
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    #[serde(serialize_with = "hex")]
    pub sha256: [u8; 32],
}

/// The line to the origin.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct WanReport {
    /// Bytes of HTTP bodies that left the origin.
    pub bytes: u64,
    /// The same if every client had fetched everything from the origin.
    pub bytes_without: u64,
}

/// One client.
#[derive(Clone, Debug, Serialize)]
pub struct ClientReport {
    /// What it is called, in captures too.
    pub name: String,
    /// Whether it has every byte, and every one right.
    pub ok: bool,
    /// SHA-256 of what arrived.
    #[serde(serialize_with = "hex")]
    pub sha256: [u8; 32],
    /// From its start to its end; to the end of the run if it did not end.
    pub virtual_ms: u64,
    /// Where its bytes came from.
    pub bytes: Sources,
    /// Where its blocks came from.
    pub blocks: Sources,
    /// Why blocks did not come from a better source, and how often.
    pub reasons: BTreeMap<String, u64>,
    /// What its download came to.
    #[serde(skip)]
    pub ending: Ending,
}

/// What one host gave another.
#[derive(Clone, Debug, Serialize)]
pub struct Service {
    /// Who gave it: a client, the origin, or for its own cache the client itself.
    pub from: String,
    /// Who got it.
    pub to: String,
    /// Bytes of content.
    pub bytes: u64,
    /// Blocks; none for what came plainly.
    pub blocks: u64,
    /// When the first was there, from the beginning of the run.
    pub first_ms: u64,
    /// When the last was there.
    pub last_ms: u64,
}

/// What a client's download came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It has every byte, and every one right.
    Right,
    /// What it has is right, but it is not all.
    Incomplete,
    /// The same, because it lost its plug.
    Killed,
    /// The byte at this offset is wrong.
    Wrong(u64),
    /// It would serve so many blocks that are wrong.
    WrongBlocks(u64),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Right => f.write_str("right"),
            Self::Incomplete => f.write_str("incomplete"),
            Self::Killed => f.write_str("killed"),
            Self::Wrong(offset) => write!(f, "WRONG at {offset}"),
            Self::WrongBlocks(blocks) => write!(f, "{blocks} WRONG to serve"),
        }
    }
}

/// Something counted by where it came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sources {
    /// The client's own cache.
    pub local: u64,
    /// Other clients.
    pub peer: u64,
    /// The hosted cache.
    pub hosted: u64,
    /// The origin, over the WAN.
    pub origin: u64,
}

impl Report {
    /// Whether every client has the right bytes.
    pub fn ok(&self) -> bool {
        self.clients.iter().all(|client| client.ok)
    }

    /// How fast peers gave a client its blocks, in bits per second of content: from when the first of
    /// them was there to the last. `None` if that took less than [`SHORTEST_MS`].
    pub fn rate_from_peers(&self, client: &str) -> Option<u64> {
        let from_peer = |it: &&Service| it.to == client && it.from != client && it.from != "origin";
        let given = || self.timeline.iter().filter(from_peer);
        let (bytes, blocks) =
            given().fold((0, 0), |(bytes, blocks), it| (bytes + it.bytes, blocks + it.blocks));
        let (first, last) = (given().map(|it| it.first_ms).min()?, given().map(|it| it.last_ms).max()?);
        // The first block came before the time that is measured.
        let bits = u128::from(bytes) * 8 * u128::from(blocks.checked_sub(1)?) / u128::from(blocks);
        let rate = (bits * 1_000).checked_div(u128::from(last - first))?;
        (last - first >= SHORTEST_MS).then_some(rate as u64)
    }

    /// The JSON object, on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a report has only string keys, and nothing in it can fail")
    }

    /// The table and the summary, coloured or plain.
    pub fn to_text(&self, scenario: &Scenario, colour: bool) -> String {
        let mut text =
            format!("\n{}\n{}\n\n", style(Style::new().bold(), "peerdist branch", colour), scenario);
        text += &self.table(colour);
        text += "\n\n";
        self.summary(&mut text, colour);
        text
    }

    fn table(&self, colour: bool) -> String {
        let hosted = self.clients.iter().any(|client| client.bytes.hosted > 0);
        let reasons = self.clients.iter().any(|client| !client.reasons.is_empty());
        let mut header =
            vec!["client", "local", "peers", "hosted", "origin", "time", "content", "why not nearer"];
        let shown = |column: &str| match column {
            "hosted" => hosted,
            "why not nearer" => reasons,
            _ => true,
        };
        header.retain(|column| shown(column));

        let mut table = bare_table(&header, colour);
        for client in &self.clients {
            table.add_row(header.iter().map(|column| client.cell(column)));
        }
        for (column, name) in table.column_iter_mut().zip(&header) {
            if matches!(*name, "local" | "peers" | "hosted" | "origin" | "time") {
                column.set_cell_alignment(CellAlignment::Right);
            }
            // Two spaces between columns: this one, and the place of a rule that is not drawn.
            column.set_padding((0, 1));
            column.set_constraint(match *name {
                "why not nearer" => ColumnConstraint::LowerBoundary(Width::Fixed(REASON_COLUMNS)),
                _ => ColumnConstraint::ContentWidth,
            });
        }
        table.trim_fmt()
    }

    /// The timeline as a table: a line for each two hosts, with a bar from the first block to the last.
    pub fn timeline_text(&self, colour: bool) -> String {
        let header = ["from", "to", "bytes", "first", "last", "when"];
        let mut table = bare_table(&header, colour);
        for Service { from, to, bytes, first_ms, last_ms, .. } in &self.timeline {
            let from_colour = match from.as_str() {
                "origin" => Color::Yellow,
                _ if from == to => Color::Cyan,
                _ => Color::Green,
            };
            table.add_row([
                Cell::new(from).fg(from_colour),
                Cell::new(to),
                Cell::new(size(*bytes)),
                Cell::new(time(*first_ms)),
                Cell::new(time(*last_ms)),
                Cell::new(bar(*first_ms, *last_ms, self.virtual_ms)).fg(from_colour),
            ]);
        }
        for (column, name) in table.column_iter_mut().zip(header) {
            if matches!(name, "bytes" | "first" | "last") {
                column.set_cell_alignment(CellAlignment::Right);
            }
            column.set_padding((0, 1));
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        format!("{}\n\n", table.trim_fmt())
    }

    fn summary(&self, text: &mut String, colour: bool) {
        let WanReport { bytes, bytes_without } = self.wan;
        let good = Style::new().fg_color(Some(AnsiColor::Green.into())).bold();
        let bad = Style::new().fg_color(Some(AnsiColor::Red.into())).bold();

        let compared = match bytes_without {
            // What is missing is not saved.
            _ if !self.ok() => String::new(),
            0 if bytes == 0 => String::new(),
            without if bytes <= without => {
                let percent = (without - bytes) as f64 * 100.0 / without as f64;
                format!(": {}", style(good, &format!("{percent:.1} % saved"), colour))
            }
            without => format!(": {}", style(bad, &format!("{} more", size(bytes - without)), colour)),
        };
        let mut line = |name: &str, value: String| _ = writeln!(text, "  {name:<9} {value}");
        line("WAN", format!("{}, without peerdist {}{compared}", size(bytes), size(bytes_without)));
        if self.content.bytes > 0 && self.clients.len() > 1 {
            line(
                "factor",
                format!("{:.2} × the content over the WAN", bytes as f64 / self.content.bytes as f64),
            );
        }
        let rates = self.clients.iter().filter_map(|it| Some((self.rate_from_peers(&it.name)?, &it.name)));
        if let Some((rate, client)) = rates.max_by_key(|(rate, _)| *rate) {
            line("peers", format!("{:.0} Mbit/s at most, to {client}", rate as f64 / 1e6));
        }
        line("time", format!("{} of virtual time", time(self.virtual_ms)));
        line("content", size(self.content.bytes));
        line("SHA-256", to_hex(&self.content.sha256));

        let right = self.clients.iter().filter(|client| client.ok).count();
        let arrived = match self.clients.len() {
            1 if right == 1 => style(good, "right at the one client", colour),
            all if right == all => style(good, &format!("right at all {all} clients"), colour),
            all => style(bad, &format!("right at {right} of {all}{}", ended(self.outcome)), colour),
        };
        line("arrived", arrived);
        line("trace", to_hex(&self.trace_sha256));
    }
}

impl ClientReport {
    fn cell(&self, column: &str) -> Cell {
        let amount = |bytes: u64, colour| match bytes {
            0 => Cell::new("-").add_attribute(Attribute::Dim),
            bytes => Cell::new(size(bytes)).fg(colour),
        };
        match column {
            "client" => Cell::new(&self.name),
            "local" => amount(self.bytes.local, Color::Cyan),
            "peers" => amount(self.bytes.peer, Color::Green),
            "hosted" => amount(self.bytes.hosted, Color::Green),
            "origin" => amount(self.bytes.origin, Color::Yellow),
            "time" => Cell::new(time(self.virtual_ms)),
            "content" => {
                let cell = Cell::new(self.ending.to_string());
                match self.ending {
                    Ending::Right => cell.fg(Color::Green),
                    Ending::Incomplete | Ending::Killed => cell.fg(Color::Yellow),
                    Ending::Wrong(_) | Ending::WrongBlocks(_) => {
                        cell.fg(Color::Red).add_attribute(Attribute::Bold)
                    }
                }
            }
            _ => Cell::new(summed(&self.reasons).join("\n")),
        }
    }
}

/// A table with one line for each row, without rules between them.
fn bare_table(header: &[&str], colour: bool) -> Table {
    let mut table = Table::new();
    let mut look = presets::UTF8_HORIZONTAL_ONLY;
    look.row_separator = LineStyle::none();
    table.load_style(look);
    // Only what has no fixed width is broken into lines.
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(COLUMNS);
    if colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    table
}

/// When something happened, out of `all` of the time: at least one place of [`BAR_COLUMNS`].
fn bar(first: u64, last: u64, all: u64) -> String {
    let column = |millis: u64| {
        let column = u128::from(millis) * BAR_COLUMNS as u128 / u128::from(all.max(1));
        column.min(BAR_COLUMNS as u128 - 1) as usize
    };
    let (first, last) = (column(first), column(last));
    format!("{}{}", "·".repeat(first), "━".repeat(last - first + 1)) + &"·".repeat(BAR_COLUMNS - 1 - last)
}

/// One line for each reason, the most frequent first: who it was only if that is one peer or a liar.
fn summed(reasons: &BTreeMap<String, u64>) -> Vec<String> {
    // For each reason its peers; `None` for what was no single peer's doing.
    let mut peers = BTreeMap::<&str, BTreeMap<Option<&str>, u64>>::new();
    for (reason, &times) in reasons {
        let (peer, reason) = match reason.split_once(": ") {
            Some((peer, cause)) if peer.parse::<IpAddr>().is_ok() => (Some(peer), cause),
            _ => (None, reason.as_str()),
        };
        *peers.entry(reason).or_default().entry(peer).or_default() += times;
    }
    let mut lines = Vec::new();
    for (reason, mut peers) in peers {
        if let Some(times) = peers.remove(&None) {
            let by = if reason == "not held" { ", by anybody" } else { "" };
            lines.push((times, format!("{reason}{by}")));
        }
        let liars = matches!(reason, "bad block" | "bad reply");
        let by = if liars || matches!(reason, "not held" | "refused") { "by " } else { "" };
        match peers.len() {
            2.. if !liars => {
                lines.push((peers.values().sum(), format!("{reason}, {by}{} peers", peers.len())))
            }
            _ => lines.extend(
                peers
                    .into_iter()
                    .filter_map(|(peer, times)| peer.map(|peer| (times, format!("{reason}, {by}{peer}")))),
            ),
        }
    }
    lines.sort_by_key(|&(times, _)| std::cmp::Reverse(times));
    lines.into_iter().map(|(times, line)| format!("{times} × {line}")).collect()
}

/// Bytes as people read them: `4.0 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // As soon as it would be printed as 1024.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    // Three digits say enough.
    let places = usize::from(value < 99.95);
    format!("{value:.places$} {}", UNITS[unit])
}

/// Milliseconds as people read them: `850 ms`, `17.3 s`, `2 min 05 s`.
pub fn time(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {:02} s", millis / 60_000, millis / 1_000 % 60),
        _ => format!("{} h {:02} min", millis / 3_600_000, millis / 60_000 % 60),
    }
}

fn ended(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "",
        Outcome::TimeLimit => "; stopped at the limit of virtual time",
        Outcome::EventLimit => "; stopped at the limit of events",
        Outcome::Stuck => "; stopped because nothing would ever happen again",
    }
}

fn style(style: Style, text: &str, colour: bool) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.to_string() }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

fn hex<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&to_hex(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(from: &str, to: &str) -> Service {
        let (from, to) = (from.into(), to.into());
        Service { from, to, bytes: 4 << 20, blocks: 64, first_ms: 700, last_ms: 17_345 }
    }

    fn report() -> Report {
        let client = |name: &str, ok, bytes| ClientReport {
            name: name.into(),
            ok,
            sha256: [0xab; 32],
            virtual_ms: 17_345,
            bytes,
            blocks: Sources::default(),
            reasons: BTreeMap::new(),
            ending: if ok { Ending::Right } else { Ending::Incomplete },
        };
        Report {
            seed: 7,
            content: ContentReport { bytes: 4 << 20, sha256: [0xab; 32] },
            wan: WanReport { bytes: 4 << 20, bytes_without: 8 << 20 },
            clients: vec![
                client("client-1", true, Sources { origin: 4 << 20, ..Sources::default() }),
                client("client-2", true, Sources { peer: 4 << 20, ..Sources::default() }),
            ],
            timeline: vec![service("origin", "client-1"), service("client-1", "client-2")],
            virtual_ms: 20_000,
            trace_sha256: [1; 32],
            held_up: None,
            outcome: Outcome::Done,
        }
    }

    #[test]
    fn the_json_has_the_fields_it_should_have_and_no_others() {
        let mut report = report();
        report.clients.truncate(1);
        report.timeline.truncate(1);
        report.clients[0].reasons.insert("no reply".into(), 64);
        let expected = format!(
            concat!(
                r#"{{"seed":7,"content":{{"bytes":4194304,"sha256":"{ab}"}},"#,
                r#""wan":{{"bytes":4194304,"bytes_without":8388608}},"#,
                r#""clients":[{{"name":"client-1","ok":true,"sha256":"{ab}","virtual_ms":17345,"#,
                r#""bytes":{{"local":0,"peer":0,"hosted":0,"origin":4194304}},"#,
                r#""blocks":{{"local":0,"peer":0,"hosted":0,"origin":0}},"reasons":{{"no reply":64}}}}],"#,
                r#""timeline":[{{"from":"origin","to":"client-1","bytes":4194304,"blocks":64,"#,
                r#""first_ms":700,"last_ms":17345}}],"#,
                r#""virtual_ms":20000,"trace_sha256":"{trace}"}}"#,
            ),
            ab = "ab".repeat(32),
            trace = "01".repeat(32),
        );
        assert_eq!(report.to_json(), expected);
    }

    #[test]
    fn the_table_is_plain_unless_coloured() {
        let plain = report().to_text(&Scenario::branch(), false);
        println!("{plain}");
        assert!(!plain.contains('\x1b'));
        assert!(plain.contains("4.0 MiB, without peerdist 8.0 MiB: 50.0 % saved"));
        assert!(plain.contains("right at all 2 clients"));
        assert!(!plain.contains("hosted") && !plain.contains("why not nearer"));
        let coloured = report().to_text(&Scenario::branch(), true);
        assert!(coloured.contains("\x1b["));
    }

    #[test]
    fn what_went_wrong_is_seen() {
        for (ending, word) in [
            (Ending::Incomplete, "incomplete"),
            (Ending::Killed, "killed"),
            (Ending::Wrong(65_536), "WRONG at 65536"),
            (Ending::WrongBlocks(2), "2 WRONG to serve"),
        ] {
            let mut report = report();
            (report.clients[1].ok, report.clients[1].ending) = (false, ending);
            report.outcome = Outcome::TimeLimit;
            assert!(!report.ok());
            let text = report.to_text(&Scenario::branch(), false);
            assert!(text.contains(word), "{text}");
            let wrong = matches!(ending, Ending::Wrong(_) | Ending::WrongBlocks(_));
            assert_eq!(text.contains("WRONG"), wrong, "{text}");
            assert!(text.contains("right at 1 of 2; stopped at the limit of virtual time"), "{text}");
            assert!(!text.contains("saved") && !text.contains("more"), "{text}");
        }
    }

    #[test]
    fn more_than_without_is_told_in_bytes() {
        let mut report = report();
        report.wan = WanReport { bytes: 675, bytes_without: 5 };
        let text = report.to_text(&Scenario::branch(), false);
        assert!(text.contains("675 B, without peerdist 5 B: 670 B more"), "{text}");
        report.wan = WanReport { bytes: 0, bytes_without: 0 };
        let text = report.to_text(&Scenario::branch(), false);
        assert!(text.contains("0 B, without peerdist 0 B\n"), "{text}");
    }

    #[test]
    fn reasons_are_summed_and_liars_named() {
        let mut reasons = BTreeMap::from([
            ("10.0.1.1: timed out".into(), 4),
            ("10.0.1.2: bad block".into(), 3),
            ("10.0.1.3: bad block".into(), 2),
            ("fe80::1: bad reply".into(), 1),
            ("no peer answered".into(), 5),
            ("not held".into(), 6),
            ("unusable content information: dwTotal at byte 3: 9 is out of range".into(), 1),
        ]);
        reasons.extend((1..=14).map(|peer| (format!("10.0.1.{peer}: not held"), 10 + peer)));
        reasons.extend((1..=2).map(|peer| (format!("10.0.1.{peer}: unreachable"), 10)));
        let expected = [
            "245 × not held, by 14 peers",
            "20 × unreachable, 2 peers",
            "6 × not held, by anybody",
            "5 × no peer answered",
            "4 × timed out, 10.0.1.1",
            "3 × bad block, by 10.0.1.2",
            "2 × bad block, by 10.0.1.3",
            "1 × bad reply, by fe80::1",
            "1 × unusable content information: dwTotal at byte 3: 9 is out of range",
        ];
        assert_eq!(summed(&reasons), expected);
        let mut report = report();
        report.clients[1].reasons = reasons;
        // In full for machines.
        assert!(report.to_json().contains(r#""10.0.1.14: not held":24"#));
    }

    #[test]
    fn fits_a_terminal_of_80_columns() {
        let mut report = report();
        report.clients[0].name = "client-1000".into();
        report.clients[0].bytes = Sources { origin: 1_000 << 10, peer: 1_000 << 20, ..Sources::default() };
        report.clients[0].virtual_ms = 600_000;
        report.clients[1].ending = Ending::Incomplete;
        report.clients[1].reasons = BTreeMap::from([
            ("no peer answered".into(), 64),
            ("unusable content information: dwTotal at byte 3: 9 is out of range".into(), 1),
        ]);
        let text = report.to_text(&Scenario::branch(), false);
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{widest:?}:\n{text}");
        for hash in ["ab", "01"] {
            assert!(text.contains(&hash.repeat(32)), "{text}");
        }
    }

    #[test]
    fn the_timeline_fits_80_columns_at_its_widest() {
        let mut report = report();
        for service in &mut report.timeline {
            (service.from, service.to) = ("client-1000".into(), "client-1000".into());
            (service.bytes, service.blocks) = (1_000 << 20, 65_536);
            (service.first_ms, service.last_ms) = (600_000, 3_599_000);
        }
        report.virtual_ms = 3_600_000;
        let text = report.timeline_text(false);
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{widest:?}:\n{text}");
        // Neither the header nor a row is broken into lines.
        assert_eq!(text.trim_end().lines().count(), 6, "{text}");
        assert!(text.contains("59 min 59 s  ··━━━━━━━━━━━━━━"), "{text}");
    }

    #[test]
    fn a_bar_has_a_place_for_every_time() {
        for (first, last, all, text) in [
            (0, 0, 0, "━···············"),
            (0, 16, 16, "━━━━━━━━━━━━━━━━"),
            (8, 8, 16, "········━·······"),
            (16, 16, 16, "···············━"),
        ] {
            assert_eq!(bar(first, last, all), text);
        }
    }

    #[test]
    fn numbers_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (99 << 20, "99.0 MiB"),
            (200 << 20, "200 MiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (millis, text) in
            [(999, "999 ms"), (17_345, "17.3 s"), (125_000, "2 min 05 s"), (7_260_000, "2 h 01 min")]
        {
            assert_eq!(time(millis), text);
        }
    }
}
