//! `peerdist sim`: a simulated branch office shares a file.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use peerdist_sim::link::Loss;
use peerdist_sim::report;
use peerdist_sim::run::{self, Progress, RunError, RunOptions, Watch};
use peerdist_sim::scenario::{self, ContentSource, Line, Scenario};

use super::{Ending, Failure, print};

/// Simulates a branch office whose clients share what they download.
///
/// Everything is drawn from the seed: the same arguments give the same run. What is not given is as in the
/// preset `branch`: 10 clients that start one after the other, 4 MiB of generated content, an origin behind
/// 2 Mbit/s with 50 ms, and a LAN of 1 Gbit/s.
#[derive(clap::Args, Default)]
pub struct Args {
    /// The file that all clients want
    #[arg(long, value_name = "PATH", conflicts_with = "size")]
    content: Option<PathBuf>,

    /// How much content to generate, such as 64KiB or 4MiB
    #[arg(long, value_parser = scenario::parse_size)]
    size: Option<u64>,

    /// How many clients there are
    #[arg(long, value_name = "N", value_parser = scenario::parse_clients)]
    clients: Option<usize>,

    /// The number that all chance comes from
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// Whether the clients start together or each when the one before has ended
    #[arg(long)]
    start: Option<Start>,

    /// How many frames are lost, on every link
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = scenario::parse_loss)]
    loss: Option<Loss>,

    /// The line to the origin, in each direction, such as 2Mbit/50ms
    #[arg(long, value_name = "RATE/DELAY", value_parser = scenario::parse_line)]
    wan: Option<Line>,

    /// The cable of each client, in each direction, such as 1Gbit/0.05ms
    #[arg(long, value_name = "RATE/DELAY", value_parser = scenario::parse_line)]
    lan: Option<Line>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Write what each host sent and received to DIR/HOST.pcapng
    #[arg(long, value_name = "DIR")]
    pcap: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Start {
    Together,
    Staggered,
}

/// Runs it and prints the result.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let (json, options) = (args.json, RunOptions { pcap: args.pcap.clone() });
    let scenario = args.scenario();
    let mut bar = Bar::new();
    let report = run::run(&scenario, &options, &mut bar).map_err(failure)?;
    bar.clear();

    if json {
        print(&(report.to_json() + "\n"))?;
    } else {
        print(&report.to_text(&scenario, colour()))?;
    }
    Ok(if report.ok() { Ending::Good } else { Ending::Bad })
}

fn failure(error: RunError) -> Failure {
    Failure(match error {
        RunError::Content { .. } => format!("--content {error}"),
        RunError::Capture(_) => format!("--pcap {error}"),
        RunError::Scenario(_) => error.to_string(),
    })
}

impl Args {
    fn scenario(self) -> Scenario {
        let preset = Scenario::branch();
        let content = match (self.content, self.size) {
            (Some(path), _) => ContentSource::File(path),
            (None, Some(size)) => ContentSource::Generated(size),
            (None, None) => preset.content,
        };
        let start = match self.start {
            Some(Start::Together) => scenario::Start::Together,
            Some(Start::Staggered) => scenario::Start::Staggered,
            None => preset.start,
        };
        Scenario {
            content,
            start,
            clients: self.clients.unwrap_or(preset.clients),
            seed: self.seed.unwrap_or(preset.seed),
            loss: self.loss.unwrap_or(preset.loss),
            wan: self.wan.unwrap_or(preset.wan),
            lan: self.lan.unwrap_or(preset.lan),
            ..preset
        }
    }
}

/// A progress bar on stderr, if that is a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{bar:40} {binary_bytes} of {binary_total_bytes} delivered  {msg}";
        // The template is a constant: should it be wrong, the usual bar is good enough.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Watch for Bar {
    fn progress(&mut self, progress: Progress) {
        if self.0.is_hidden() {
            return;
        }
        self.0.set_length(progress.expected);
        self.0.set_position(progress.delivered);
        self.0.set_message(format!("{} of virtual time", report::time(progress.now.micros() / 1_000)));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Colours are for a terminal, and for people who did not say no (<https://no-color.org>).
fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
