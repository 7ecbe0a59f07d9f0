//! The world of a run, and who of it is where: hosts are attached, started, unplugged and looked at.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use peerdist_core::time::{Duration, Instant};
use rand_core::Rng as _;

use super::notice::{Notice, Step};
use super::orders::{Order, Orders};
use super::seats::{hosted_seat, hostile_seat, seat, services_seat};
use super::{
    ClientHost, ClientOutcome, Given, Giver, HostFactory, Nature, OriginHost, Prepared, Progress, Seat, Watch,
};
use crate::check::{Content, Delivery, Verdict};
use crate::hosted;
use crate::hostile::{Flood, Hostile, Stage};
use crate::pcap::Capture;
use crate::port::{Lag, Lan, Machine};
use crate::report::{ClientReport, ContentReport, Ending, HeldUp, Report, Service, WanReport};
use crate::rng::Seed;
use crate::scenario::{Clock, FLOOD, FLOOD_HOLD, FLOOD_PORT, Fault, Member, Scenario, Start, TOGETHER};
use crate::services::Services;
use crate::switch::PortId;
use crate::world::{Cut, Frame, Host, Outcome, World};

/// After how many instants [`Watch::progress`] is called.
const WATCH_EVERY: u64 = 1024;

/// How often it is asked whether a machine that is to be flooded has an address.
const ADDRESS_PAUSE: Duration = Duration::from_millis(100);

/// The world of a run.
pub(super) struct Branch {
    world: World<Station, Capture>,
    origin: PortId,
    clients: Vec<Client>,
    /// Real machines, if there are any, and the host that is there for them.
    machines: Vec<PortId>,
    services: Option<PortId>,
    hosted: Option<PortId>,
    hostiles: Vec<Enemy>,
    lan: Option<Lan<Station>>,
    orders: Option<Orders>,
    /// No client has been let go yet.
    held: bool,
    /// What the scenario has happen at which time, from when the clients may start.
    plan: Vec<(Instant, Action)>,
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
    Hostile(Box<Hostile>),
    Hosted(Box<dyn Host>),
}

struct Client {
    name: String,
    port: PortId,
    ip: IpAddr,
    /// What happens to it, by the time since its download began.
    after_start: Vec<(Duration, Action)>,
    started: Option<Instant>,
    killed: Option<Instant>,
    /// What was told of it last.
    told: Option<Step>,
}

/// A hostile host.
struct Enemy {
    name: String,
    port: PortId,
    target: Option<Target>,
    /// What was told of it last.
    told: Stage,
}

#[derive(Clone, Copy)]
struct Target {
    member: Member,
    connections: usize,
    port: u16,
    hold: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Start(usize),
    Kill(usize),
    Plug { member: Member, plugged: bool },
    Part { partition: usize, parted: bool },
    Flood(usize),
}

impl Branch {
    pub(super) fn build(prepared: Prepared<'_>, factory: &mut dyn HostFactory) -> Self {
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
            let lan = scenario.cable(Member::Client(index));
            let port = world.attach(Station::Client(host), lan, lan);
            let after_start = departures(scenario, Clock::Download, Some(index)).collect();
            Client { name, port, ip, after_start, started: None, killed: None, told: None }
        });
        let clients: Vec<Client> = clients.collect();

        let cable = scenario.link(scenario.lan);
        let machines = (0..options.jacks.len()).map(|index| {
            let cable = scenario.cable(Member::Machine(index));
            world.attach(Station::Machine(Machine::default()), cable, cable)
        });
        let machines: Vec<PortId> = machines.collect();
        let services = (!machines.is_empty()).then(|| {
            let services = Services::new(&services_seat(&seed), &origin_seat, scenario.lease);
            world.attach(Station::Services(Box::new(services)), cable, cable)
        });
        let hosted = scenario.is_hosted().then(|| hosted_seat(&seed));
        let hosted = hosted.and_then(|seat| factory.hosted(seat, &content)).map(|host| {
            let cable = scenario.cable(Member::Hosted);
            world.attach(Station::Hosted(host), cable, cable)
        });
        let hostiles = (0..options.hostiles(scenario)).map(|index| {
            let seat = hostile_seat(index, &seed);
            let port = world.attach(Station::Hostile(Box::new(Hostile::new(&seat))), cable, cable);
            Enemy { name: seat.name, port, target: None, told: Stage::Idle }
        });
        let hostiles = hostiles.collect();
        let lan =
            (!machines.is_empty()).then(|| Lan::new(&options.jacks, machines.clone(), Station::machine));
        let orders = options.orders.clone().filter(|_| options.takes_orders());
        let mut branch = Self {
            world,
            origin,
            machines,
            services,
            hosted,
            hostiles,
            lan,
            held: orders.is_some(),
            orders,
            plan: Vec::new(),
            agenda: Vec::new(),
            partitions: Vec::new(),
            staggered: scenario.start == Start::Staggered,
            expected: content.size() * clients.len() as u64,
            clients,
        };
        branch.make_plan(scenario, &seed);
        if !branch.held {
            branch.agenda.append(&mut branch.plan);
            branch.sort_agenda();
        }
        branch
    }

    fn make_plan(&mut self, scenario: &Scenario, seed: &Seed) {
        let clients = self.clients.len();
        self.plan = match &scenario.start {
            Start::Staggered => vec![(Instant::ZERO, Action::Start(0))],
            Start::Together => {
                (0..clients).map(|index| (together(seed, index), Action::Start(index))).collect()
            }
            Start::At(times) => {
                let times = times.iter().enumerate();
                times.map(|(index, time)| (Instant::ZERO + *time, Action::Start(index))).collect()
            }
        };
        let departures = departures(scenario, Clock::Run, None);
        self.plan.extend(departures.map(|(after, action)| (Instant::ZERO + after, action)));
        let mut floods = 0;
        for fault in &scenario.faults {
            match fault {
                Fault::Partition { between: [one, other], from, to } => {
                    let partition = self.partitions.len();
                    let part =
                        |at: Duration, parted| (Instant::ZERO + at, Action::Part { partition, parted });
                    self.plan.push(part(*from, true));
                    self.plan.extend(to.map(|to| part(to, false)));
                    let side = |members: &[Member]| members.iter().filter_map(|it| self.port(*it)).collect();
                    self.partitions.push((Cut(side(one), side(other)), false));
                }
                Fault::Flood { member, at, connections, port, hold } => {
                    let (member, connections, port, hold) = (*member, *connections, *port, *hold);
                    self.plan.push((Instant::ZERO + *at, Action::Flood(floods)));
                    self.hostiles[floods].target = Some(Target { member, connections, port, hold });
                    floods += 1;
                }
                _ => {}
            }
        }
    }

    pub(super) fn run(&mut self, mut limit: Instant, watch: &mut dyn Watch) -> Outcome {
        let watch = RefCell::new(watch);
        // Clients before this one have ended.
        let mut first_open = 0;
        let mut instants = 0u64;
        loop {
            while let Some(order) = self.orders.as_ref().and_then(Orders::take) {
                match order {
                    Order::Start => limit += self.let_go(),
                    order => {
                        if let Some(nobody) = self.obey(order) {
                            watch.borrow_mut().notice(&Notice::Nobody(nobody));
                        }
                    }
                }
            }
            let next = self.agenda.last().map(|(at, _)| *at).filter(|at| *at <= limit);
            // With staggered starts, a client's end makes the next one start.
            let wait_for = if self.staggered { started(&self.clients).max(1) } else { self.clients.len() };
            let outcome = {
                let Self { clients, hostiles, orders, expected, .. } = self;
                let real_time = self.lan.is_some();
                let done = |world: &World<Station, Capture>| {
                    instants += 1;
                    if instants.is_multiple_of(WATCH_EVERY) {
                        watch.borrow_mut().progress(progress(world, clients, *expected));
                    }
                    let mut notice = |notice| watch.borrow_mut().notice(&notice);
                    hostiles.iter_mut().filter_map(|enemy| enemy.look(world)).for_each(&mut notice);
                    if real_time {
                        let steps = clients.iter_mut().enumerate();
                        steps.filter_map(|(index, client)| client.look(index, world)).for_each(&mut notice);
                    }
                    first_open +=
                        clients[first_open..].iter().take_while(|client| client.ended(world)).count();
                    first_open >= wait_for || orders.as_ref().is_some_and(Orders::are_waiting)
                };
                let until = next.unwrap_or(limit);
                match &mut self.lan {
                    Some(lan) => lan.run_until(&mut self.world, until, done, &mut |index, news| {
                        let member = Member::Machine(index);
                        watch.borrow_mut().notice(&Notice::Machine { member, news });
                    }),
                    None => self.world.run_until(until, done),
                }
            };
            match outcome {
                Outcome::Done if first_open == self.clients.len() => break Outcome::Done,
                // The next one starts the moment the last one ended.
                Outcome::Done if first_open >= wait_for => self.act(Action::Start(first_open)),
                // Somebody has given an order.
                Outcome::Done => {}
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

    /// Lets the clients go; how long they were held. The second time nothing happens.
    fn let_go(&mut self) -> Duration {
        if !std::mem::replace(&mut self.held, false) {
            return Duration::ZERO;
        }
        let held = self.world.now().since(Instant::ZERO);
        self.agenda.extend(self.plan.drain(..).map(|(at, action)| (at + held, action)));
        self.sort_agenda();
        held
    }

    /// Does that at once; or says who is not there.
    fn obey(&mut self, order: Order) -> Option<Member> {
        let (Order::Leave(member) | Order::Return(member) | Order::Flood(member)) = order else {
            return None;
        };
        let there = self.port(member).is_some();
        match order {
            _ if !there => return Some(member),
            Order::Flood(Member::Origin | Member::Services) => return Some(member),
            Order::Flood(member) => {
                // The last one is there for orders.
                let index = self.hostiles.len().checked_sub(1)?;
                let (connections, port, hold) = (FLOOD, FLOOD_PORT, FLOOD_HOLD);
                self.hostiles[index].target = Some(Target { member, connections, port, hold });
                self.act(Action::Flood(index));
            }
            order => self.act(Action::Plug { member, plugged: matches!(order, Order::Return(_)) }),
        }
        None
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
            Action::Plug { member, plugged } => {
                if let Some(port) = self.port(member) {
                    self.world.plug(port, plugged);
                }
            }
            Action::Part { partition, parted } => {
                self.partitions[partition].1 = parted;
                let cuts = self.partitions.iter().filter(|(_, parted)| *parted);
                self.world.cut(cuts.map(|(cut, _)| cut.clone()).collect());
            }
            Action::Flood(index) => {
                let Enemy { port: enemy, target, .. } = self.hostiles[index];
                let Some(Target { member, connections, port, hold }) = target else { return };
                let Some(address) = self.address(member) else {
                    self.agenda.push((now + ADDRESS_PAUSE, action));
                    self.sort_agenda();
                    return;
                };
                if let Station::Hostile(hostile) = self.world.host_mut(enemy) {
                    hostile.begin(now, Flood { to: (address, port), connections, hold });
                }
            }
        }
    }

    /// Where that host is; `None` if there is none.
    fn port(&self, member: Member) -> Option<PortId> {
        match member {
            Member::Origin => Some(self.origin),
            Member::Client(index) => self.clients.get(index).map(|client| client.port),
            Member::Machine(index) => self.machines.get(index).copied(),
            Member::Services => self.services,
            Member::Hosted => self.hosted,
        }
    }

    /// The address of a client, or that which a machine has sent from last.
    fn address(&self, member: Member) -> Option<Ipv4Addr> {
        match (member, self.port(member).map(|port| self.world.host(port))) {
            (Member::Client(index), _) => match self.clients.get(index)?.ip {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            },
            (Member::Hosted, Some(_)) => Some(hosted::ADDRESS),
            (_, Some(Station::Machine(machine))) => machine.addresses().last().copied(),
            _ => None,
        }
    }

    /// The next action comes last; of two at one time, that of the first client, and others behind them.
    fn sort_agenda(&mut self) {
        self.agenda.sort_by_key(|(at, action)| {
            std::cmp::Reverse(match *action {
                Action::Start(client)
                | Action::Kill(client)
                | Action::Plug { member: Member::Client(client), .. } => (*at, 0, client),
                Action::Part { partition, .. } => (*at, 1, partition),
                Action::Plug { member: Member::Origin | Member::Services | Member::Hosted, .. } => {
                    (*at, 2, 0)
                }
                Action::Plug { member: Member::Machine(machine), .. } => (*at, 3, machine),
                Action::Flood(index) => (*at, 4, index),
            })
        });
    }

    /// How much a run in real time was held up so far.
    pub(super) fn lag(&self) -> Option<Lag> {
        self.lan.as_ref().map(Lan::lag)
    }

    pub(super) fn into_capture(self) -> Capture {
        self.world.into_observer()
    }

    pub(super) fn report(&self, scenario: &Scenario, content: &Content, outcome: Outcome) -> Report {
        let bytes = match self.world.host(self.origin) {
            Station::Origin(host) => host.body_bytes(),
            _ => 0,
        };
        Report {
            seed: scenario.seed,
            content: ContentReport { bytes: content.size(), sha256: content.sha256() },
            wan: WanReport { bytes, bytes_without: self.expected },
            clients: self.clients.iter().filter_map(|client| client.report(&self.world)).collect(),
            timeline: self.timeline(),
            virtual_ms: self.world.now().since(Instant::ZERO).millis(),
            trace_sha256: self.world.trace_sha256(),
            held_up: self.lag().filter(|lag| lag.times > 0).map(|Lag { times, worst, total }| HeldUp {
                times,
                worst_ms: worst.millis(),
                total_ms: total.millis(),
            }),
            outcome,
        }
    }

    /// Who served whom, in the order of the first blocks.
    fn timeline(&self) -> Vec<Service> {
        let clients = self.clients.iter().map(|client| (client.ip, client.name.clone()));
        let machines = self.machines.iter().enumerate().flat_map(|(index, port)| {
            let addresses = match self.world.host(*port) {
                Station::Machine(machine) => machine.addresses(),
                _ => &[],
            };
            addresses.iter().map(move |address| (IpAddr::V4(*address), Member::Machine(index).to_string()))
        });
        let hosted = self.hosted.map(|_| (hosted::ADDRESS.into(), Member::Hosted.to_string()));
        let names: BTreeMap<IpAddr, String> = machines.chain(clients).chain(hosted).collect();
        let mut timeline = Vec::new();
        for client in &self.clients {
            let given = client.host(&self.world).map(|host| host.outcome().given).unwrap_or_default();
            timeline.extend(given.into_iter().map(|(giver, Given { bytes, blocks, first, last })| Service {
                from: match giver {
                    Giver::Local => client.name.clone(),
                    Giver::Peer(ip) => names.get(&ip).cloned().unwrap_or_else(|| ip.to_string()),
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
            _ => None,
        }
    }

    fn ended(&self, world: &World<Station, Capture>) -> bool {
        self.killed.is_some() || self.host(world).is_none_or(|host| host.finished_at().is_some())
    }

    /// How far it is, if that was not told yet.
    fn look(&mut self, index: usize, world: &World<Station, Capture>) -> Option<Notice> {
        let host = self.host(world)?;
        let begun = self.started?;
        let (received, expected) = (host.delivery().received(), host.delivery().expected());
        let step = match host.finished_at() {
            Some(end) => Step::Ended(end.since(begun)),
            None if received >= expected / 2 && received > 0 => Step::Half,
            None => Step::Begun,
        };
        let member = Member::Client(index);
        (self.told < Some(step)).then(|| {
            self.told = Some(step);
            Notice::Client { member, step }
        })
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

impl Enemy {
    /// How far it is, if that was not told yet.
    fn look(&mut self, world: &World<Station, Capture>) -> Option<Notice> {
        let Station::Hostile(hostile) = world.host(self.port) else { return None };
        let stage = hostile.stage();
        let told = std::mem::replace(&mut self.told, stage);
        (told != stage).then(|| Notice::Flood { name: self.name.clone(), stage })
    }
}

impl Station {
    fn machine(&mut self) -> Option<&mut Machine> {
        match self {
            Self::Machine(machine) => Some(machine),
            _ => None,
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
            Self::Hostile(hostile) => hostile.receive(now, frame),
            Self::Hosted(host) => host.receive(now, frame),
        }
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
        match self {
            Self::Origin(host) => host.poll(now, send),
            Self::Client(host) => host.poll(now, send),
            Self::Machine(machine) => machine.poll(now, send),
            Self::Services(services) => services.poll(now, send),
            Self::Hostile(hostile) => hostile.poll(now, send),
            Self::Hosted(host) => host.poll(now, send),
        }
    }
}

/// Who goes and comes by that clock: all hosts or one client. A client that does not come back is killed.
fn departures(
    scenario: &Scenario,
    of_clock: Clock,
    of_client: Option<usize>,
) -> impl Iterator<Item = (Duration, Action)> {
    let departures = scenario.faults.iter().filter_map(move |fault| {
        let plug = |member, plugged| Action::Plug { member, plugged };
        let (member, leave, at, back) = match *fault {
            Fault::Leave { client, clock, at, back }
                if clock == of_clock && of_client.is_none_or(|index| index == client) =>
            {
                let member = Member::Client(client);
                let leave = if back.is_some() { plug(member, false) } else { Action::Kill(client) };
                (member, leave, at, back)
            }
            Fault::Unplug { member, at, back } if of_clock == Clock::Run => {
                (member, plug(member, false), at, back)
            }
            _ => return None,
        };
        Some([Some((at, leave)), back.map(|back| (back, plug(member, true)))])
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
