//! A run from start to end: loads the content, builds the world, starts and kills clients, and judges.
//!
//! How the hosts behave is not decided here: they come from a [`HostFactory`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use peerdist_core::time::{Duration, Instant};
use rand_core::Rng as _;

use crate::attach::{Gate, Jack, Lag, Lan, Machine};
use crate::check::{Content, Delivery, Verdict};
use crate::host::Nodes;
use crate::pcap::{Capture, CaptureError};
use crate::report::{ClientReport, ContentReport, Ending, Report, Service, Sources, WanReport, size};
use crate::rng::Seed;
use crate::scenario::{
    Clock, ContentSource, Fault, InvalidScenario, MAX_CONTENT, Member, Scenario, Start, TOGETHER,
};
use crate::services::Services;
use crate::switch::PortId;
use crate::world::{Cut, Frame, Host, Outcome, World};

/// After how many instants [`Watch::progress`] is called.
const WATCH_EVERY: u64 = 1024;

/// What the host is called that gives machines their addresses, and the origin's.
const SERVICES: &str = "services";

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
    /// With machines: no client starts before this is open, and all times of the scenario count from then.
    pub gate: Option<Gate>,
}

/// Watches a run that takes a while.
pub trait Watch {
    /// Called now and then.
    fn progress(&mut self, progress: Progress);

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
    let mut nodes =
        Nodes::new(scenario.clients + options.jacks.len()).with_content_info(scenario.content_info);
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
            Some(folder) => Capture::create(folder, &names(scenario.clients, options.jacks.len()))?,
            None => Capture::default(),
        };
        Ok(Self { scenario, options, seed, content, capture })
    }

    fn run(self, factory: &mut dyn HostFactory, watch: &mut dyn Watch) -> Result<Report, RunError> {
        let (scenario, content) = (self.scenario, self.content.clone());
        let limit = Instant::ZERO + scenario.virtual_time_limit(content.size());
        let mut branch = Branch::build(self, factory);
        let outcome = branch.run(limit, watch);
        if let Some(lag) = branch.lan.as_ref().map(Lan::lag).filter(|lag| lag.times > 0) {
            watch.held_up(lag);
        }
        let report = branch.report(scenario, &content, outcome);
        match branch.world.into_observer().finish() {
            Ok(()) => Ok(report),
            Err(error) => Err(RunError::Uncaptured { report: Box::new(report), error }),
        }
    }
}

/// The world of a run, and who of it is where.
struct Branch {
    world: World<Station, Capture>,
    origin: PortId,
    clients: Vec<Client>,
    /// Real machines, if there are any.
    lan: Option<Lan<Station>>,
    gate: Option<Gate>,
    /// What happens at which time, the next last.
    agenda: Vec<(Instant, Action)>,
    /// What parts the LAN, and whether it does now.
    partitions: Vec<(Cut, bool)>,
    staggered: bool,
    expected: u64,
}

enum Station {
    Origin(Box<dyn OriginHost>),
    Client(Box<dyn ClientHost>),
    Machine(Machine),
    Services(Box<Services>),
}

struct Client {
    name: String,
    port: PortId,
    ip: IpAddr,
    /// What happens to it, by the time since its download began.
    after_start: Vec<(Duration, Action)>,
    started: Option<Instant>,
    killed: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Start(usize),
    Kill(usize),
    Plug { client: usize, plugged: bool },
    Part { partition: usize, parted: bool },
}

impl Branch {
    fn build(prepared: Prepared<'_>, factory: &mut dyn HostFactory) -> Self {
        let Prepared { scenario, options, seed, content, capture } = prepared;
        let mut world = World::with_observer(seed.child("links", 0), capture);
        world.limit_events(scenario.event_limit);

        let wan = scenario.link(scenario.wan);
        let origin_seat = seat(0, &seed);
        let origin = world.attach(Station::Origin(factory.origin(origin_seat.clone(), &content)), wan, wan);
        let clients = (0..scenario.clients).map(|index| {
            let seat = Seat { store: scenario.store(index), ..seat(index + 1, &seed) };
            let corrupt = scenario.faults.contains(&Fault::Corrupt { client: index });
            let nature = if corrupt { Nature::Corrupt } else { Nature::Honest };
            let (name, ip) = (seat.name.clone(), seat.ip.into());
            let host = factory.client(seat, &origin_seat, Delivery::new(content.clone()), nature);
            let lan = scenario.cable(index);
            let port = world.attach(Station::Client(host), lan, lan);
            let after_start = departures(scenario, Clock::Download, Some(index)).collect();
            Client { name, port, ip, after_start, started: None, killed: None }
        });
        let clients: Vec<Client> = clients.collect();

        let mut agenda: Vec<(Instant, Action)> = match &scenario.start {
            Start::Staggered => vec![(Instant::ZERO, Action::Start(0))],
            Start::Together => {
                (0..clients.len()).map(|index| (together(&seed, index), Action::Start(index))).collect()
            }
            Start::At(times) => {
                let times = times.iter().enumerate();
                times.map(|(index, time)| (Instant::ZERO + *time, Action::Start(index))).collect()
            }
        };
        let departures = departures(scenario, Clock::Run, None);
        agenda.extend(departures.map(|(after, action)| (Instant::ZERO + after, action)));
        let port = |member: &Member| match member {
            Member::Origin => origin,
            Member::Client(index) => clients[*index].port,
        };
        let mut partitions = Vec::new();
        for fault in &scenario.faults {
            let Fault::Partition { between: [one, other], from, to } = fault else { continue };
            let partition = partitions.len();
            let part = |at: Duration, parted| (Instant::ZERO + at, Action::Part { partition, parted });
            agenda.push(part(*from, true));
            agenda.extend(to.map(|to| part(to, false)));
            let cut = Cut(one.iter().map(port).collect(), other.iter().map(port).collect());
            partitions.push((cut, false));
        }
        let cable = scenario.link(scenario.lan);
        let machines = options.jacks.iter().map(|_| {
            let machine = Station::Machine(Machine::default());
            world.attach(machine, cable, cable)
        });
        let machines: Vec<PortId> = machines.collect();
        if !machines.is_empty() {
            let services = Services::new(&services_seat(&seed), &origin_seat);
            world.attach(Station::Services(Box::new(services)), cable, cable);
        }
        let lan = (!machines.is_empty()).then(|| Lan::new(&options.jacks, machines, Station::machine));
        let gate = options.gate.clone();
        let staggered = scenario.start == Start::Staggered;
        let expected = content.size() * clients.len() as u64;
        let mut branch = Self { world, origin, clients, lan, gate, agenda, partitions, staggered, expected };
        branch.sort_agenda();
        branch
    }

    fn run(&mut self, mut limit: Instant, watch: &mut dyn Watch) -> Outcome {
        if let (Some(lan), Some(gate)) = (&mut self.lan, &self.gate) {
            let outcome = lan.run_until(&mut self.world, limit, |_| gate.is_open());
            if outcome != Outcome::Done {
                return outcome;
            }
            let held = self.world.now().since(Instant::ZERO);
            limit += held;
            self.agenda.iter_mut().for_each(|(at, _)| *at += held);
        }
        // Clients before this one have ended.
        let mut first_open = 0;
        let mut instants = 0u64;
        loop {
            let next = self.agenda.last().map(|(at, _)| *at).filter(|at| *at <= limit);
            let outcome = {
                let (clients, expected) = (&self.clients, self.expected);
                // With staggered starts, a client's end makes the next one start.
                let wait_for = if self.staggered { started(clients) } else { clients.len() };
                let done = |world: &World<Station, Capture>| {
                    instants += 1;
                    if instants.is_multiple_of(WATCH_EVERY) {
                        watch.progress(progress(world, clients, expected));
                    }
                    first_open +=
                        clients[first_open..].iter().take_while(|client| client.ended(world)).count();
                    first_open >= wait_for.max(1)
                };
                let until = next.unwrap_or(limit);
                match &mut self.lan {
                    Some(lan) => lan.run_until(&mut self.world, until, done),
                    None => self.world.run_until(until, done),
                }
            };
            match outcome {
                Outcome::Done if first_open == self.clients.len() => break Outcome::Done,
                // The next one starts the moment the last one ended.
                Outcome::Done => self.act(Action::Start(first_open)),
                Outcome::EventLimit => break Outcome::EventLimit,
                Outcome::Stuck | Outcome::TimeLimit => {
                    let Some(at) = next else { break outcome };
                    self.world.skip_to(at);
                    while self.agenda.last().is_some_and(|(at, _)| *at <= self.world.now()) {
                        let Some((_, action)) = self.agenda.pop() else { break };
                        self.act(action);
                    }
                }
            }
        }
    }

    fn act(&mut self, action: Action) {
        let now = self.world.now();
        match action {
            Action::Start(index) => {
                let client = &mut self.clients[index];
                client.started = Some(now);
                self.agenda.extend(client.after_start.drain(..).map(|(after, action)| (now + after, action)));
                if let Station::Client(host) = self.world.host_mut(client.port) {
                    host.start(now);
                }
                self.sort_agenda();
            }
            Action::Kill(index) => {
                let client = &mut self.clients[index];
                client.killed = Some(now);
                self.world.kill(client.port);
            }
            Action::Plug { client, plugged } => self.world.plug(self.clients[client].port, plugged),
            Action::Part { partition, parted } => {
                self.partitions[partition].1 = parted;
                let cuts = self.partitions.iter().filter(|(_, parted)| *parted);
                self.world.cut(cuts.map(|(cut, _)| cut.clone()).collect());
            }
        }
    }

    /// The next action comes last; of two at one time, that of the first client, and partitions behind them.
    fn sort_agenda(&mut self) {
        self.agenda.sort_by_key(|(at, action)| {
            std::cmp::Reverse(match *action {
                Action::Start(client) | Action::Kill(client) | Action::Plug { client, .. } => {
                    (*at, false, client)
                }
                Action::Part { partition, .. } => (*at, true, partition),
            })
        });
    }

    fn report(&self, scenario: &Scenario, content: &Content, outcome: Outcome) -> Report {
        let bytes = match self.world.host(self.origin) {
            Station::Origin(host) => host.body_bytes(),
            Station::Client(_) | Station::Machine(_) | Station::Services(_) => 0,
        };
        Report {
            seed: scenario.seed,
            content: ContentReport { bytes: content.size(), sha256: content.sha256() },
            wan: WanReport { bytes, bytes_without: self.expected },
            clients: self.clients.iter().filter_map(|client| client.report(&self.world)).collect(),
            timeline: self.timeline(),
            virtual_ms: self.world.now().since(Instant::ZERO).millis(),
            trace_sha256: self.world.trace_sha256(),
            outcome,
        }
    }
}

impl Branch {
    /// Who served whom, in the order of the first blocks.
    fn timeline(&self) -> Vec<Service> {
        let names: BTreeMap<IpAddr, &str> =
            self.clients.iter().map(|client| (client.ip, client.name.as_str())).collect();
        let mut timeline = Vec::new();
        for client in &self.clients {
            let given = client.host(&self.world).map(|host| host.outcome().given).unwrap_or_default();
            timeline.extend(given.into_iter().map(|(giver, Given { bytes, blocks, first, last })| Service {
                from: match giver {
                    Giver::Local => client.name.clone(),
                    Giver::Peer(ip) => names.get(&ip).map_or_else(|| ip.to_string(), |name| (*name).into()),
                    Giver::Origin => Member::Origin.to_string(),
                },
                to: client.name.clone(),
                bytes,
                blocks,
                first_ms: first.since(Instant::ZERO).millis(),
                last_ms: last.since(Instant::ZERO).millis(),
            }));
        }
        // Stable: of those that begin at once, the clients in their order.
        timeline.sort_by_key(|service| service.first_ms);
        timeline
    }
}

impl Client {
    fn host<'w>(&self, world: &'w World<Station, Capture>) -> Option<&'w dyn ClientHost> {
        match world.host(self.port) {
            Station::Client(host) => Some(&**host),
            Station::Origin(_) | Station::Machine(_) | Station::Services(_) => None,
        }
    }

    fn ended(&self, world: &World<Station, Capture>) -> bool {
        self.killed.is_some() || self.host(world).is_none_or(|host| host.finished_at().is_some())
    }

    fn report(&self, world: &World<Station, Capture>) -> Option<ClientReport> {
        let host = self.host(world)?;
        let ClientOutcome { bytes, blocks, reasons, failed, wrong_blocks, .. } = host.outcome();
        let delivery = host.delivery();
        let finished = host.finished_at();
        let end = finished.or(self.killed).unwrap_or(world.now());
        let ending = match delivery.verdict() {
            Verdict::Wrong(offset) => Ending::Wrong(offset),
            _ if wrong_blocks > 0 => Ending::WrongBlocks(wrong_blocks),
            Verdict::Complete if finished.is_some() && !failed => Ending::Right,
            _ if finished.is_none() && self.killed.is_some() => Ending::Killed,
            _ => Ending::Incomplete,
        };
        Some(ClientReport {
            name: self.name.clone(),
            ok: ending == Ending::Right,
            sha256: delivery.sha256(),
            virtual_ms: self.started.map_or(0, |started| end.since(started).millis()),
            bytes,
            blocks,
            reasons,
            ending,
        })
    }
}

impl Station {
    fn machine(&mut self) -> Option<&mut Machine> {
        match self {
            Self::Machine(machine) => Some(machine),
            Self::Origin(_) | Self::Client(_) | Self::Services(_) => None,
        }
    }
}

impl Host for Station {
    fn receive(&mut self, now: Instant, frame: Frame) {
        match self {
            Self::Origin(host) => host.receive(now, frame),
            Self::Client(host) => host.receive(now, frame),
            Self::Machine(machine) => machine.receive(now, frame),
            Self::Services(services) => services.receive(now, frame),
        }
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
        match self {
            Self::Origin(host) => host.poll(now, send),
            Self::Client(host) => host.poll(now, send),
            Self::Machine(machine) => machine.poll(now, send),
            Self::Services(services) => services.poll(now, send),
        }
    }
}

/// Seat 0 is the origin's.
fn seat(number: usize, seed: &Seed) -> Seat {
    let [high, low] = (number as u16).to_be_bytes();
    // 250 clients to a third byte, so that no address looks like a network's or a broadcast's.
    let ip = match number.checked_sub(1) {
        None => [10, 0, 0, 1],
        Some(client) => [10, 0, 1 + (client / 250) as u8, 1 + (client % 250) as u8],
    };
    let (mac, seed) = ([0x02, 0, 0, 0, high, low], seed.child("host", number as u64));
    Seat { name: name(number), mac, ip, seed, store: None }
}

/// Only where there are machines.
fn services_seat(seed: &Seed) -> Seat {
    let seed = seed.child("services", 0);
    Seat { name: SERVICES.into(), mac: [0x02, 0, 0, 1, 0, 0], ip: [10, 0, 0, 2], seed, store: None }
}

fn names(clients: usize, machines: usize) -> Vec<String> {
    let services = (machines > 0).then(|| SERVICES.into());
    let machines = (1..=machines).map(|number| format!("machine-{number:02}"));
    (0..=clients).map(name).chain(machines).chain(services).collect()
}

fn name(number: usize) -> String {
    number.checked_sub(1).map_or(Member::Origin, Member::Client).to_string()
}

/// Who goes and comes by that clock: all clients or one, and whoever does not come back is killed.
fn departures(
    scenario: &Scenario,
    of_clock: Clock,
    of_client: Option<usize>,
) -> impl Iterator<Item = (Duration, Action)> {
    let departures = scenario.faults.iter().filter_map(move |fault| match *fault {
        Fault::Leave { client, clock, at, back }
            if clock == of_clock && of_client.is_none_or(|index| index == client) =>
        {
            let leave = match back {
                Some(_) => Action::Plug { client, plugged: false },
                None => Action::Kill(client),
            };
            Some([Some((at, leave)), back.map(|back| (back, Action::Plug { client, plugged: true }))])
        }
        _ => None,
    });
    departures.flatten().flatten()
}

fn together(seed: &Seed, index: usize) -> Instant {
    let offset = seed.child("start", index as u64).rng().next_u64() % TOGETHER.micros();
    Instant::ZERO + Duration::from_micros(offset)
}

/// How many clients there are up to the last that has started: of those before it, some may have left before
/// it was their turn.
fn started(clients: &[Client]) -> usize {
    clients.iter().rposition(|client| client.started.is_some()).map_or(0, |last| last + 1)
}

fn progress(world: &World<Station, Capture>, clients: &[Client], expected: u64) -> Progress {
    let hosts = clients.iter().filter_map(|client| client.host(world));
    Progress { now: world.now(), delivered: hosts.map(|host| host.delivery().received()).sum(), expected }
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
