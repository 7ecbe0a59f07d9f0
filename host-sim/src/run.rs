//! A run from start to end: loads the content, builds the world, starts and kills clients, and judges.
//!
//! How the hosts behave is not decided here: they come from a [`HostFactory`].

mod branch;
mod notice;
mod orders;
mod seats;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use peerdist_core::time::Instant;
use rand_core::Rng as _;

use self::branch::Branch;
pub use self::notice::{Notice, Step};
pub use self::orders::{Order, Orders};
pub use self::seats::is_inside;
use crate::check::{Content, Delivery};
use crate::host::Nodes;
use crate::pcap::{Capture, CaptureError};
use crate::port::{Jack, Lag};
use crate::report::{Report, Sources, size};
use crate::rng::Seed;
use crate::scenario::{ContentSource, Fault, InvalidScenario, MAX_CONTENT, Scenario};
use crate::world::Host;

/// Makes the hosts of a run.
pub trait HostFactory {
    /// The origin, which serves `content`.
    fn origin(&mut self, seat: Seat, content: &Content) -> Box<dyn OriginHost>;

    /// A client that, once started, fetches the content from `origin` and hands it to `delivery`.
    fn client(
        &mut self,
        seat: Seat,
        origin: &Seat,
        delivery: Delivery,
        nature: Nature,
    ) -> Box<dyn ClientHost>;

    /// The hosted cache, with room for `content`; `None` where this makes none.
    fn hosted(&mut self, _seat: Seat, _content: &Content) -> Option<Box<dyn Host>> {
        None
    }
}

/// Where a host sits.
#[derive(Clone, Debug)]
pub struct Seat {
    /// What it is called.
    pub name: String,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its IPv4 address, in [`PREFIX_LEN`] bits of network.
    pub ip: [u8; 4],
    /// What it draws from.
    pub seed: Seed,
    /// How many bytes of blocks it can keep; `None` for the whole content.
    pub store: Option<u64>,
}

/// Bits of the network part of all addresses: there is one network and no router.
pub const PREFIX_LEN: u8 = 16;

/// How a client is disposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// As it should be.
    Honest,
    /// It serves corrupted blocks.
    Corrupt,
    /// It has four sockets, as the smallest device.
    Narrow,
}

/// The host that has the content.
pub trait OriginHost: Host {
    /// Bytes of HTTP bodies that it has sent, each counted once.
    fn body_bytes(&self) -> u64;
}

/// A host that wants the content. From the beginning it takes part in the LAN; it waits for its start.
pub trait ClientHost: Host {
    /// Its download begins.
    fn start(&mut self, now: Instant);

    /// When its download ended, well or badly.
    fn finished_at(&self) -> Option<Instant>;

    /// What it has delivered so far.
    fn delivery(&self) -> &Delivery;

    /// What it says about where everything came from.
    fn outcome(&self) -> ClientOutcome;
}

/// What a client says about its download. Whether the bytes are right is not its to say.
#[derive(Clone, Debug, Default)]
pub struct ClientOutcome {
    /// Where the bytes came from.
    pub bytes: Sources,
    /// Where the blocks came from.
    pub blocks: Sources,
    /// Why blocks did not come from a better source, and how often.
    pub reasons: BTreeMap<String, u64>,
    /// Who gave it what, and when: in sum, the bytes and blocks above.
    pub given: BTreeMap<Giver, Given>,
    /// It gave up, and says so.
    pub failed: bool,
    /// Blocks that it took for verified and that are not the content's: found out by [`check::Blocks`], not by
    /// itself.
    ///
    /// [`check::Blocks`]: crate::check::Blocks
    pub wrong_blocks: u64,
}

/// Who gave bytes to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Giver {
    /// Its own cache.
    Local,
    /// The peer of that address.
    Peer(IpAddr),
    /// The origin.
    Origin,
}

/// What a client was given by one giver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Bytes of content.
    pub bytes: u64,
    /// Blocks.
    pub blocks: u64,
    /// When the first of them was there.
    pub first: Instant,
    /// When the last of them was there.
    pub last: Instant,
}

/// What a run leaves behind beside its report.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The folder for captures.
    pub pcap: Option<PathBuf>,
    /// Real machines on the switch: with one, the run goes on in real time.
    pub jacks: Vec<Jack>,
    /// With machines: no client starts before [`Order::Start`] comes here, and all times of the scenario count from
    /// then. Other orders are followed before it and after it.
    pub orders: Option<Orders>,
}

impl RunOptions {
    /// How many hostile hosts `scenario` has, and one for orders.
    fn hostiles(&self, scenario: &Scenario) -> usize {
        let floods = scenario.faults.iter().filter(|fault| matches!(fault, Fault::Flood { .. }));
        floods.count() + usize::from(self.takes_orders())
    }

    fn takes_orders(&self) -> bool {
        self.orders.is_some() && !self.jacks.is_empty()
    }
}

/// Watches a run that takes a while.
pub trait Watch {
    /// Called now and then.
    fn progress(&mut self, progress: Progress);

    /// Something has happened. What becomes of clients is told in real time only.
    fn notice(&mut self, _notice: &Notice) {}

    /// A run in real time is over, and was held up.
    fn held_up(&mut self, _lag: Lag) {}
}

impl Watch for () {
    fn progress(&mut self, _progress: Progress) {}
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The virtual time.
    pub now: Instant,
    /// Bytes that arrived at clients.
    pub delivered: u64,
    /// Bytes that are to arrive in all.
    pub expected: u64,
}

/// Why there was no run, or not all that it should leave behind.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The scenario makes no sense.
    #[error(transparent)]
    Scenario(#[from] InvalidScenario),
    /// The content cannot be read.
    #[error("{}: {error}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The machine does not have the memory.
    #[error("no {} of memory for the content and its copies", size(*.0))]
    Memory(u64),
    /// A capture cannot be begun.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// There was a run, but its captures could not be written: there are none.
    #[error("{error}")]
    Uncaptured {
        /// What the run came to.
        report: Box<Report>,
        /// Why.
        error: CaptureError,
    },
}

/// Runs `scenario` with this project's hosts: a node each, and an origin.
pub fn run(scenario: &Scenario, options: &RunOptions, watch: &mut dyn Watch) -> Result<Report, RunError> {
    let nodes = Nodes::new(scenario.clients + options.jacks.len()).with_content_info(scenario.content_info);
    let mut nodes = nodes.with_caching(scenario.caching, scenario.hosted_cache);
    run_with(scenario, options, &mut nodes, watch)
}

/// Runs `scenario` with hosts from `factory`.
pub fn run_with(
    scenario: &Scenario,
    options: &RunOptions,
    factory: &mut dyn HostFactory,
    watch: &mut dyn Watch,
) -> Result<Report, RunError> {
    Prepared::new(scenario, options)?.run(factory, watch)
}

/// A scenario whose content is there and whose capture files are open: from here on it runs.
struct Prepared<'s> {
    scenario: &'s Scenario,
    options: &'s RunOptions,
    seed: Seed,
    content: Content,
    capture: Capture,
}

impl<'s> Prepared<'s> {
    fn new(scenario: &'s Scenario, options: &'s RunOptions) -> Result<Self, RunError> {
        scenario.validate()?;
        scenario.check_attached(options.jacks.len())?;
        let seed = Seed::new(scenario.seed);
        let bytes = match &scenario.content {
            ContentSource::Generated(size) => generate(&seed, *size)?,
            ContentSource::File(path) => load(path, scenario)?,
        };
        // The copies are made one by one, and then it would be too late to say so.
        let copies = scenario.memory(bytes.len() as u64) - bytes.len() as u64;
        reserve(copies).map(drop)?;
        let content = Content::new(bytes);
        // Last, so that no other error leaves files behind.
        let capture = match &options.pcap {
            Some(folder) => {
                let (machines, hostiles) = (options.jacks.len(), options.hostiles(scenario));
                Capture::create(
                    folder,
                    &seats::names(scenario.clients, machines, scenario.is_hosted(), hostiles),
                )?
            }
            None => Capture::default(),
        };
        Ok(Self { scenario, options, seed, content, capture })
    }

    fn run(self, factory: &mut dyn HostFactory, watch: &mut dyn Watch) -> Result<Report, RunError> {
        let (scenario, content) = (self.scenario, self.content.clone());
        let limit = Instant::ZERO + scenario.virtual_time_limit(content.size());
        let mut branch = Branch::build(self, factory);
        let outcome = branch.run(limit, watch);
        if let Some(lag) = branch.lag().filter(|lag| lag.times > 0) {
            watch.held_up(lag);
        }
        let report = branch.report(scenario, &content, outcome);
        match branch.into_capture().finish() {
            Ok(()) => Ok(report),
            Err(error) => Err(RunError::Uncaptured { report: Box::new(report), error }),
        }
    }
}

fn generate(seed: &Seed, size: u64) -> Result<Vec<u8>, RunError> {
    let mut bytes = reserve(size)?;
    // It was reserved, so it fits the type.
    bytes.resize(size as usize, 0);
    seed.child("content", 0).rng().fill_bytes(&mut bytes);
    Ok(bytes)
}

fn reserve(size: u64) -> Result<Vec<u8>, RunError> {
    let mut bytes = Vec::new();
    let reserved = usize::try_from(size).is_ok_and(|size| bytes.try_reserve_exact(size).is_ok());
    if reserved { Ok(bytes) } else { Err(RunError::Memory(size)) }
}

fn load(path: &Path, scenario: &Scenario) -> Result<Vec<u8>, RunError> {
    let read = || {
        let mut bytes = Vec::new();
        // A pipe or a device may have no end.
        let length = File::open(path)?.take(MAX_CONTENT + 1).read_to_end(&mut bytes)? as u64;
        if length > MAX_CONTENT {
            let reason = format!("larger than the {} GiB that are held in memory", MAX_CONTENT >> 30);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        let fits = scenario.check_memory(length);
        fits.map_err(|error| io::Error::new(io::ErrorKind::FileTooLarge, error.to_string()))?;
        Ok(bytes)
    };
    read().map_err(|error| RunError::Content { path: path.into(), error })
}
