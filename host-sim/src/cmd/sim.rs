//! `peerdist sim`: a simulated branch office shares a file.

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValuesParser;
use indicatif::{ProgressBar, ProgressDrawTarget};
use peerdist_core::encoding::InfoVersion;
use peerdist_sim::link::Probability;
use peerdist_sim::port::{Jack, Lag, qemu};
use peerdist_sim::report;
use peerdist_sim::run::{self, Notice, Order, Orders, Progress, RunError, RunOptions, Watch};
use peerdist_sim::scenario::{self, ContentSource, Line, LineChange, MAX_MACHINES, PRESETS, Scenario};

use super::bar::{self, dumb, style};
use super::{Ending, Failure, print};

/// The preset that is drawn from the seed.
const SWARM: &str = "swarm";

/// The preset that runs a scenario in three ways.
const COMPARE: &str = "compare";

/// Those ways.
const WAYS: [&str; 3] = ["none", "distributed", "hosted"];

/// The seed if none is given.
const DEFAULT_SEED: u64 = 1;

/// What `--help` says at its end.
const EXIT_CODES: &str = "\
Exit codes:
  0  all clients hold the right bytes
  1  it ran, and one does not
  2  it could not be run, or not all be written: one line on stderr says why";

/// Simulates a branch office whose clients share what they download.
///
/// Everything is drawn from the seed: the same arguments give the same run. The content is held in memory, times
/// the clients and two more: at most 16 GiB.
///
/// A scenario is a file in TOML: clients and groups of them, lines in netem's words, and what goes wrong. What it
/// does not say is as in the preset `branch`, and an option is stronger than a file: `--print --preset rough`
/// shows one with everything in it. The preset `swarm` is another scenario for each seed.
#[derive(clap::Args, Default)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// The scenario, in TOML [default: the preset branch]
    #[arg(value_name = "FILE.toml", conflicts_with = "preset")]
    file: Option<PathBuf>,

    /// A scenario that comes with the program, or `swarm` for one that is drawn from the seed, or `compare` for the branch
    /// without caching, in distributed mode and with a hosted cache, one after the other
    #[arg(long, value_name = "NAME", value_parser = presets())]
    preset: Option<String>,

    /// The file that all clients want, up to 4 GiB [default: generated content]
    #[arg(long, value_name = "PATH", conflicts_with = "size")]
    content: Option<PathBuf>,

    /// How much content to generate, such as 64KiB: up to 4GiB [default: 4MiB]
    #[arg(long, allow_hyphen_values = true, value_parser = scenario::parse_size)]
    size: Option<u64>,

    /// Up to which version the clients ask for content information: 1 or 2 [default: 1]
    #[arg(long, value_name = "VERSION", allow_hyphen_values = true, value_parser = scenario::parse_content_info)]
    content_info: Option<InfoVersion>,

    /// How many clients there are: 1 to 1000 [default: 10]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = scenario::parse_clients)]
    clients: Option<usize>,

    /// The number that all chance comes from: 0 to 18446744073709551615 [default: 1]
    #[arg(long, value_name = "S", allow_hyphen_values = true, value_parser = scenario::parse_seed)]
    seed: Option<u64>,

    /// Whether the clients start together or each when the one before has ended [default: staggered]
    #[arg(long, ignore_case = true, allow_hyphen_values = true)]
    start: Option<Start>,

    /// How many frames are lost, on every link: 0 to 100 [default: 0]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = scenario::parse_loss)]
    loss: Option<Probability>,

    /// The line to the origin, in each direction: up to 1Tbit and 60s [default: 2Mbit/50ms]
    #[arg(long, value_name = "RATE/DELAY", allow_hyphen_values = true, value_parser = scenario::parse_line)]
    wan: Option<Line>,

    /// The cable of each client, in each direction: as for --wan [default: 1Gbit/0.05ms]
    ///
    /// What a group or a slow client of a scenario has of its own stays.
    #[arg(long, value_name = "RATE/DELAY", allow_hyphen_values = true, value_parser = scenario::parse_line)]
    lan: Option<Line>,

    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,

    /// Print who served whom and when, below the table; the JSON object always has it
    #[arg(long)]
    timeline: bool,

    /// Print the scenario as TOML that gives the same run, and do not run it
    #[arg(long, conflicts_with_all = ["json", "timeline", "pcap"])]
    print: bool,

    /// Write what each host sent and received to DIR/HOST.pcapng
    ///
    /// Until the end of the run the files are called HOST.pcapng.part. Older captures in DIR stay, unless a host
    /// of the same name is captured.
    #[arg(long, value_name = "DIR")]
    pcap: Option<PathBuf>,

    /// Put a real machine on the switch: QEMU's `-netdev socket,connect=ADDR:PORT`, or a TAP device of Linux
    ///
    /// May be given several times: the machines are called machine-01 and so on. The run is in real time then, and
    /// is another each time. The network is 10.0.0.0/16, and the content http://10.0.0.1/content; no client is in
    /// 10.0.9.0/24, of which DHCP gives addresses. On port 0, one that is free is taken; a line on stderr says which.
    #[arg(
        long,
        value_name = "qemu:ADDR:PORT|tap:NAME",
        value_parser = parse_attachment,
        conflicts_with = "print"
    )]
    attach: Vec<Attachment>,

    /// Let no client start before a line comes on stdin, while the machines are there already
    ///
    /// All times of the scenario count from that line, which is empty or `start`. At any time, `leave NAME` takes the
    /// cable from a host (origin, services, client-01, machine-01), `back NAME` gives it back, and `flood NAME` has a
    /// hostile host open 1,000 connections to a client or a machine.
    #[arg(long, requires = "attach")]
    hold: bool,
}

/// Where a machine comes from.
#[derive(Clone)]
enum Attachment {
    Qemu(SocketAddr),
    Tap(String),
}

#[derive(Clone, Copy, ValueEnum)]
enum Start {
    Together,
    Staggered,
}

/// Runs it and prints the result.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let Args { json, timeline, print: only_print, .. } = args;
    let compares = args.preset.as_deref() == Some(COMPARE);
    let options =
        RunOptions { pcap: args.pcap.clone(), jacks: jacks(&args.attach)?, orders: orders(args.hold) };
    let base = args.base();
    let content = match (&args.content, &base) {
        (None, Some(base)) => format!("{base}: content"),
        _ => "--content".into(),
    };
    let failure = |error| {
        Failure(match (error, &base) {
            (error @ RunError::Content { .. }, _) => format!("{content} {error}"),
            (error @ (RunError::Capture(_) | RunError::Uncaptured { .. }), _) => format!("--pcap {error}"),
            // By itself, it was right.
            (error @ RunError::Scenario(_), Some(base)) => format!("{base} with these options: {error}"),
            (error @ (RunError::Scenario(_) | RunError::Memory(_)), _) => error.to_string(),
        })
    };
    let scenario = args.scenario()?;
    if only_print {
        scenario.validate().map_err(|error| failure(error.into()))?;
        let text = scenario.to_toml().map_err(|error| Failure(format!("--print {error}")))?;
        print(&text)?;
        return Ok(Ending::Good);
    }
    if compares {
        return compare(&scenario, json, &failure);
    }
    let mut bar = Bar::new();
    let ran = run::run(&scenario, &options, &mut bar);
    bar.clear();
    if let Some(Lag { times, worst, total }) = bar.held_up {
        let (worst, total) = (worst.millis(), total.millis());
        eprintln!(
            "warning: this machine was too slow: time was held up {times} times, by up to {worst} ms, {total} ms in all"
        );
    }
    let (report, uncaptured) = match ran {
        Ok(report) => (report, None),
        Err(RunError::Uncaptured { report, error }) => (*report, Some(error)),
        Err(error) => return Err(failure(error)),
    };

    if json {
        print(&(report.to_json() + "\n"))?;
    } else {
        print(&report.to_text(&scenario, colour()))?;
        if timeline {
            print(&format!("\n{}", report.timeline_text(colour())))?;
        }
    }
    if let Some(error) = uncaptured {
        return Err(failure(RunError::Capture(error)));
    }
    Ok(if report.ok() { Ending::Good } else { Ending::Bad })
}

/// Runs it in each of the ways, and prints the results beside each other.
fn compare(
    scenario: &Scenario,
    json: bool,
    failure: &dyn Fn(RunError) -> Failure,
) -> Result<Ending, Failure> {
    let mut reports = Vec::new();
    for way in WAYS {
        let caching = scenario::parse_caching(way).map_err(|error| failure(error.into()))?;
        let mut bar = Bar::new();
        let ran = run::run(&Scenario { caching, ..scenario.clone() }, &RunOptions::default(), &mut bar);
        bar.clear();
        reports.push((way, ran.map_err(failure)?));
    }
    print(&match json {
        true => report::comparison_json(&reports) + "\n",
        false => report::comparison_text(&reports, scenario, colour()),
    })?;
    Ok(if reports.iter().all(|(_, report)| report.ok()) { Ending::Good } else { Ending::Bad })
}

impl Args {
    /// What the options are laid over, if somebody said so.
    fn base(&self) -> Option<String> {
        let file = self.file.as_ref().map(|file| file.display().to_string());
        file.or_else(|| self.preset.as_ref().map(|preset| format!("--preset {preset}")))
    }

    /// The file or preset, and what was said about it on the command line.
    fn scenario(self) -> Result<Scenario, Failure> {
        let mut scenario = match (&self.file, &self.preset) {
            (Some(file), _) => Scenario::load(file).map_err(|error| Failure(error.to_string()))?,
            (None, Some(name)) if name == COMPARE => Scenario::branch(),
            (None, Some(name)) if name == SWARM => Scenario::swarm(self.seed.unwrap_or(DEFAULT_SEED)),
            (None, Some(name)) => Scenario::preset(name).unwrap_or_else(Scenario::branch),
            (None, None) => Scenario::branch(),
        };
        match (self.content, self.size) {
            (Some(path), _) => scenario.content = ContentSource::File(path),
            (None, Some(size)) => scenario.content = ContentSource::Generated(size),
            (None, None) => {}
        }
        match self.start {
            Some(Start::Together) => scenario.start = scenario::Start::Together,
            Some(Start::Staggered) => scenario.start = scenario::Start::Staggered,
            None => {}
        }
        scenario.content_info = self.content_info.unwrap_or(scenario.content_info);
        scenario.clients = self.clients.unwrap_or(scenario.clients);
        scenario.seed = self.seed.unwrap_or(scenario.seed);
        if let Some(loss) = self.loss {
            // On every line, also on those of which the file says more.
            scenario.loss = loss;
            (scenario.wan.loss, scenario.lan.loss) = (None, None);
            scenario.groups.iter_mut().for_each(|group| group.lan.loss = None);
        }
        for (given, line) in [(self.wan, &mut scenario.wan), (self.lan, &mut scenario.lan)] {
            if let Some(Line { rate, delay, .. }) = given {
                let change = LineChange { rate: Some(rate), delay: Some(delay), ..LineChange::default() };
                *line = change.over(*line);
            }
        }
        Ok(scenario)
    }
}

/// `qemu:` and where a machine is waited for, or `tap:` and the name of a device.
fn parse_attachment(text: &str) -> Result<Attachment, String> {
    match text.split_once(':') {
        Some(("qemu", address)) => {
            let parsed = address.parse().map(Attachment::Qemu);
            parsed.map_err(|_| format!("`{address}` is no address with a port, such as 127.0.0.1:4000"))
        }
        Some(("tap", name)) if !name.is_empty() => Ok(Attachment::Tap(name.into())),
        Some(("tap", _)) => Err("a TAP device has a name, such as tap:tap0".into()),
        _ => Err("only `qemu:ADDR:PORT` and `tap:NAME` can be attached".into()),
    }
}

fn jacks(attachments: &[Attachment]) -> Result<Vec<Jack>, Failure> {
    if attachments.len() > MAX_MACHINES {
        return Err(Failure(format!("--attach: at most {MAX_MACHINES} machines can be attached")));
    }
    attachments.iter().map(jack).collect::<Result<_, _>>().map_err(Failure)
}

fn jack(attachment: &Attachment) -> Result<Jack, String> {
    match attachment {
        Attachment::Qemu(address) => {
            let listen = || {
                let jack = qemu::Jack::listen(*address)?;
                eprintln!("qemu: waiting at {}", jack.address()?);
                Ok(Jack::Qemu(jack))
            };
            listen().map_err(|error: io::Error| format!("--attach qemu:{address}: {error}"))
        }
        #[cfg(target_os = "linux")]
        Attachment::Tap(name) => {
            let opened = peerdist_sim::port::tap::Jack::open(name).map(Jack::Tap);
            opened.map_err(|error| format!("--attach tap:{name}: {error}"))
        }
        #[cfg(not(target_os = "linux"))]
        Attachment::Tap(name) => Err(format!("--attach tap:{name}: TAP devices are Linux's")),
    }
}

/// Those on stdin; its end is a start.
fn orders(hold: bool) -> Option<Orders> {
    let orders = hold.then(Orders::default)?;
    let given = orders.clone();
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            match parse_order(&line) {
                Ok(order) => given.give(order),
                Err(wrong) => eprintln!("stdin: {wrong}"),
            }
        }
        given.give(Order::Start);
    });
    Some(orders)
}

fn parse_order(line: &str) -> Result<Order, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let order: fn(_) -> _ = match words[..] {
        [] | ["start"] => return Ok(Order::Start),
        ["leave", _] => Order::Leave,
        ["back", _] => Order::Return,
        ["flood", _] => Order::Flood,
        _ => {
            let line = line.trim();
            return Err(format!("`{line}` is none of `start`, `leave NAME`, `back NAME` and `flood NAME`"));
        }
    };
    let name = words[1];
    scenario::parse_member(name).map(order).ok_or_else(|| format!("nobody is called `{name}`"))
}

fn presets() -> PossibleValuesParser {
    PossibleValuesParser::new(PRESETS.map(|(name, _)| name).into_iter().chain([SWARM, COMPARE]))
}

/// Progress on stderr, if that is a terminal: a spinner first, and a bar as soon as there is something to show.
struct Bar {
    bar: ProgressBar,
    begun: bool,
    held_up: Option<Lag>,
}

impl Bar {
    fn new() -> Self {
        Self::on(bar::target())
    }

    fn on(target: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style("{spinner} preparing"));
        bar.tick();
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, begun: false, held_up: None }
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Bar {
    fn progress(&mut self, progress: Progress) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_length(progress.expected);
        self.bar.set_position(progress.delivered);
        self.bar.set_message(format!("after {}", report::time(progress.now.micros() / 1_000)));
        if !std::mem::replace(&mut self.begun, true) {
            let template = "{bar:20} {binary_bytes} of {binary_total_bytes} delivered  {wide_msg}";
            self.bar.set_style(style(template));
        }
    }

    fn notice(&mut self, notice: &Notice) {
        self.bar.suspend(|| eprintln!("{notice}"));
    }

    fn held_up(&mut self, lag: Lag) {
        self.held_up = Some(lag);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Colours are for a terminal, and for people who did not say no (<https://no-color.org>).
fn colour() -> bool {
    io::stdout().is_terminal() && !dumb() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;
    use peerdist_core::time::Instant;

    use super::*;

    /// A terminal of 80 columns that remembers what was written, and `<` for a cleared line.
    #[derive(Clone, Debug, Default)]
    struct Paper(Arc<Mutex<Vec<String>>>);

    impl Paper {
        fn note(&self, text: &str) -> io::Result<()> {
            self.0.lock().expect("nobody panicked").push(text.into());
            Ok(())
        }
    }

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _n: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _n: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _n: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _n: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.note(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.note(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            self.note("<")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn orders_are_words() {
        use peerdist_sim::scenario::Member;
        for (line, order) in [
            ("", Order::Start),
            ("start", Order::Start),
            ("leave origin", Order::Leave(Member::Origin)),
            (" back  services", Order::Return(Member::Services)),
            ("flood machine-02", Order::Flood(Member::Machine(1))),
            ("leave client-1", Order::Leave(Member::Client(0))),
        ] {
            assert_eq!(parse_order(line), Ok(order), "{line}");
        }
        for (line, words) in
            [("go", "`go` is none of"), ("leave", "is none of"), ("flood me", "nobody is called `me`")]
        {
            assert!(parse_order(line).is_err_and(|wrong| wrong.contains(words)), "{line}");
        }
    }

    #[test]
    fn the_bar_follows_a_spinner_fits_and_goes() {
        let paper = Paper::default();
        let mut bar = Bar::on(ProgressDrawTarget::term_like(Box::new(paper.clone())));
        let written = || paper.0.lock().expect("nobody panicked").clone();
        assert!(written().iter().any(|text| text.contains("preparing")), "{:?}", written());
        let now = Instant::from_millis(3_600_000);
        bar.progress(Progress { now, delivered: 1023 << 20, expected: 16 << 30 });
        std::thread::sleep(Duration::from_millis(300));
        drop(bar);
        let written = written();
        let line = |word: &str| written.iter().any(|text| text.contains(word));
        assert!(line("16.00 GiB delivered") && line("after 1 h 00 min"), "{written:?}");
        assert!(!line("0 B of 0 B"), "{written:?}");
        assert!(written.iter().all(|text| text.chars().count() <= 80), "{written:?}");
        let last = written.iter().rposition(|text| text == "<");
        assert!(written[last.expect("cleared")..].iter().all(|text| text == "<" || text.trim().is_empty()));
    }
}
