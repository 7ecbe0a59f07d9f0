//! `peerdist get`: fetches URLs through peers.

pub mod part;
mod report;
mod task;

use std::cell::LazyCell;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use peerdist_core::encoding::InfoVersion;
use peerdist_core::node::{DOWNLOADS, Output};
use peerdist_hal::std::rustls::{ClientConfig, RootCertStore, crypto};
use peerdist_sim::net::station::{Setup, Station};
use peerdist_sim::net::{cache, local};
use peerdist_sim::scenario;
use url::Url;

use super::offers::{Giving, HostedArgs, Telling};
use super::peer::{LimitArgs, warn_of_no_multicast};
use super::wire::{self, Bind, WireArgs};
use super::{Ending, Failure, bar, print, signals, tell};
use task::{State, Task};

/// What a process has that a signal ended, by convention.
const INTERRUPTED: u8 = 130;

/// What `--help` says at its end.
const EXIT_CODES: &str = "\
Exit codes:
  0    all files are there, and right
  1    an origin does not give the content: it refuses it, changed it, or is no proper server
  2    it could not be run: wrong arguments, or a file, folder or port that cannot be used
  3    an origin could not be reached, or the connection was lost
  130  a signal ended it
If several URLs fail, the others are fetched all the same, and the highest code counts. What came stays: the same
command goes on.";

/// Fetches URLs, through peers where the origin gives content information.
///
/// Everything that came from others is verified. What no peer has comes from the origin, block by block. A server
/// that does not speak peerdist simply gives the file. FILE appears when it is complete; until then it is FILE.part.
/// If it broke off, the same command goes on: with the blocks in the cache, or where FILE.part ends if the origin
/// tells that the content is still the same (FILE.part.from says what it was).
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// What to fetch, by http or https
    #[arg(value_name = "URL", required = true, value_parser = parse_url)]
    urls: Vec<Url>,

    /// Where to put it: a file, or a folder that exists [default: the URL's last part, here]
    #[arg(short, value_name = "FILE|DIR")]
    output: Option<PathBuf>,

    /// Only a part: the offset of its first byte, and of the first behind it; without B, to the end
    #[arg(long, value_name = "A-B", value_parser = parse_range)]
    range: Option<Range<u64>>,

    /// The address of this machine on the network with the peers [default: where the system sends multicast]
    #[arg(long, value_name = "ADDR")]
    bind: Option<Bind>,

    #[command(flatten)]
    wire: WireArgs,

    /// The folder for blocks, which are found there again [default: one in the user's cache folder]
    ///
    /// Of the default folders, each for one process at a time, the one is taken that an earlier attempt at one of
    /// these URLs has left blocks in, or else the first that is free.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    hosted: HostedArgs,

    /// Do not look for peers
    #[arg(long, conflicts_with_all = ["bind", "serve", "hosted"])]
    no_peers: bool,

    /// The newest version of content information that the origin is asked for [default: 2; 1 where all hosted caches are
    /// of version 1, which know no other]
    #[arg(long, value_name = "VERSION", value_parser = scenario::parse_content_info)]
    content_info: Option<InfoVersion>,

    /// Serve peers meanwhile what is here already
    #[arg(long)]
    serve: bool,

    /// Print where each part came from, and why from no better source
    #[arg(long)]
    why: bool,

    /// Print one JSON object instead
    #[arg(long)]
    json: bool,
}

fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    task::check(&url)?;
    Ok(url)
}

fn parse_range(text: &str) -> Result<Range<u64>, &'static str> {
    let (start, end) = text.split_once('-').ok_or("not A-B")?;
    let number = |text: &str| text.parse().map_err(|_| "not two numbers of bytes, A-B");
    match number(start)?..if end.is_empty() { u64::MAX } else { number(end)? } {
        range if range.is_empty() => Err("no bytes: B is the first that is left out"),
        range => Ok(range),
    }
}

/// Fetches all of them.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let mut tasks = args.tasks()?;
    // A redirect may lead to https, too.
    let tls: LazyCell<Arc<ClientConfig>> = LazyCell::new(trusted);
    let (mut station, directory) = args.station()?;
    args.hosted.secure(&mut station, || Arc::clone(&tls));
    let control = station.control();
    signals::on_end(move || control.stop());
    let (bar, mut telling) = (bar::of_bytes(None), Telling::default());
    let mut failed = station.node.storage().blocks.counters().failed;
    while !tasks.iter().all(Task::is_over) {
        if station.is_stopped() {
            bar.finish_and_clear();
            for task in &mut tasks {
                task.cancel(&mut station);
            }
            tell("ended by a signal; the same command goes on with what is in the cache");
            return Ok(Ending::Code(INTERRUPTED));
        }
        let mut begun = false;
        for at in 0..tasks.len() {
            // Who waits for a free download asks nobody for addresses, and opens no file.
            let is_free = || tasks.iter().filter(|task| task.is_under_way()).count() < DOWNLOADS;
            if tasks[at].is_under_way() || is_free() {
                begun |= tasks[at].begin(&mut station, &tls);
            }
        }
        let wait = station.poll(&mut |output| take(&mut tasks, output));
        let blocks = &station.node.storage().blocks;
        if let Some(trouble) = blocks.take_error() {
            // Others are of blocks that nobody waits for.
            let is_of_block = blocks.counters().failed > failed;
            failed = blocks.counters().failed;
            tasks.iter_mut().for_each(|task| task.take_file_trouble(&trouble, is_of_block));
        }
        // What ends makes room for what waits.
        let ended = tasks.iter_mut().fold(false, |ended, task| task.settle(&mut station) | ended);
        // Where there is no bar, nobody looks on.
        tasks.iter_mut().filter_map(Task::take_notice).for_each(|notice| bar.println(notice));
        telling.failure(&args.hosted, &mut station);
        report::show(&bar, &tasks);
        if !(begun || ended) {
            station.wait(wait).map_err(|error| Failure(format!("waiting for the network: {error}")))?;
        }
    }
    bar.finish_and_clear();
    give(&args.hosted, &mut telling, &mut station)?;
    for task in tasks.iter().filter(|task| matches!(task.state, State::Done(_))) {
        directory.iter().for_each(|directory| cache::end(directory, &task.asked));
    }
    match args.json {
        true => print(&report::json(&tasks))?,
        false => print(&report::text(&tasks, args.why))?,
    }
    let faults = tasks.iter().filter_map(Task::fault);
    faults.clone().for_each(|fault| tell(&fault.text));
    Ok(faults.map(|fault| fault.kind as u8).max().map_or(Ending::Good, Ending::Code))
}

/// Gives hosted caches what they are offered, which nobody else has.
fn give(hosted: &HostedArgs, telling: &mut Telling, station: &mut Station) -> Result<(), Failure> {
    let mut giving = Giving::new(station.now());
    while let Some(most) = giving.wait(station) {
        if station.is_stopped() {
            break;
        }
        let wait = station.poll(&mut |_| {});
        telling.failure(hosted, station);
        let wait = wait.map_or(most, |wait| wait.min(most));
        station.wait(Some(wait)).map_err(|error| Failure(format!("waiting for the network: {error}")))?;
    }
    let counters = station.node.offers().map(|offers| offers.state.counters);
    if let Some(blocks) = counters.map(|it| it.unusable).filter(|blocks| *blocks > 0) {
        tell(&format!(
            "hosted caches were not offered {blocks} blocks: they have no message for them, or there was no room to describe them"
        ));
    }
    if let Some(segments) = counters.map(|it| it.forgotten).filter(|segments| *segments > 0) {
        tell(&format!(
            "hosted caches were not offered {segments} segments: there were too many, or nobody took them"
        ));
    }
    Ok(())
}

fn take(tasks: &mut [Task], output: Output<'_>) {
    let (Output::Data { download, .. } | Output::Moved { download, .. } | Output::Download { download, .. }) =
        output
    else {
        return;
    };
    if let Some(task) = tasks.iter_mut().find(|task| task.state == State::Running(download)) {
        task.take(output);
    }
}

impl Args {
    fn tasks(&self) -> Result<Vec<Task>, Failure> {
        let folder = self.output.as_ref().filter(|path| path.is_dir());
        if folder.is_none() && self.output.is_some() && self.urls.len() > 1 {
            return Err(Failure("-o: for several URLs, a folder that exists".into()));
        }
        let range = self.range.clone().unwrap_or(0..u64::MAX);
        let mut tasks: Vec<Task> = Vec::new();
        for url in &self.urls {
            let file = match (folder, &self.output) {
                (None, Some(file)) => file.clone(),
                (folder, _) => {
                    let name = task::name_of(url).ok_or_else(|| {
                        Failure(format!("{url} has no name for a file; say which by -o FILE"))
                    })?;
                    folder.map_or_else(|| PathBuf::from(&name), |folder| folder.join(&name))
                }
            };
            if tasks.iter().any(|task| task.file == file) {
                return Err(Failure(format!("{}: two URLs for one file", file.display())));
            }
            tasks.push(Task::new(url.clone(), file, range.clone()));
        }
        Ok(tasks)
    }

    /// And which of the default caches it has.
    fn station(&self) -> Result<(Station, Option<PathBuf>), Failure> {
        let tap = self.wire.tap(self.bind)?;
        let hosted = &self.hosted;
        let usual = || if hosted.any() { hosted.ours() } else { local::usual() };
        let bind = self.bind.map(|bind| bind.address).or_else(usual);
        let no_peers = self.no_peers;
        let bind = bind.filter(|_| !no_peers && tap.is_none());
        let addresses = match bind.map(local::of_interface).transpose() {
            Ok(addresses) => addresses.unwrap_or_default(),
            Err(error) => return Err(Failure(format!("--bind: {error}"))),
        };
        if let Some(bind) = bind.filter(|_| hosted.uses_peers()) {
            warn_of_no_multicast(bind);
        }
        if addresses.is_empty() && !no_peers && tap.is_none() {
            tell(match hosted.any() {
                true => "no way to the hosted cache: nothing is offered to it",
                false => "no network with multicast: no peers are looked for",
            });
        }
        let limits = self.limits.limits();
        let storage = match &self.cache {
            Some(directory) => cache::open(directory, limits).map(|storage| (None, storage)),
            None => cache::open_default(limits, &self.urls).map(|(place, storage)| (Some(place), storage)),
        };
        let (place, storage) = storage.map_err(|error| Failure(format!("--cache {error}")))?;
        if let Some(trouble) = storage.blocks.take_error() {
            tell(&format!("the cache goes on without what cannot be used: {trouble}"));
        }
        // A hosted cache comes for what it is offered.
        let serve = (self.serve || hosted.any()).then_some(0);
        let hosting = hosted.hosting()?;
        let usual = if hosted.is_old() { InfoVersion::V1 } else { InfoVersion::V2 };
        let content_info = self.content_info.unwrap_or(usual);
        let station = wire::open(Setup { addresses, tap, serve, content_info, storage, hosting })?;
        Ok((station, place))
    }
}

/// TLS with the certificates that this machine trusts.
fn trusted() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    // Where there are none, every server's certificate is refused, which says what is missing.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has a cipher suite for each version");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}
