//! A node on the network, and what other threads may know and ask of it.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peerdist_core::discovery::server::{self as answering, Server};
use peerdist_core::discovery::{GROUP_V4, GROUP_V6};
use peerdist_core::encoding::InfoVersion;
use peerdist_core::hosted::client::{self, Client, Counters as OfferingCounters, News, Place, Places};
use peerdist_core::hosted::server::{Counters as OfferCounters, Limits, Rules};
use peerdist_core::limits::MAX_UPLOADS;
use peerdist_core::node::{Config, Counters, DOWNLOADS, Hosted, HostedCache, Node, Output, Service, Serving};
use peerdist_core::retrieval::server::Role as ServerRole;
use peerdist_core::time::{Instant, earliest};
use peerdist_hal::file::{self, MAX_INFOS};
use peerdist_hal::std::rustls::ServerConfig;
use peerdist_hal::std::{Clock, Counters as SocketCounters, Driver, Local, OpenError, Options, Waker};
#[cfg(target_os = "linux")]
use peerdist_hal::tap;
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng as _};

use super::cache::Storage;
use super::holder;
use super::names::Names;
use super::wire::{Tap, Wire};
use crate::crypto::FastCrypto;

/// Connections of a node at once: those of 64 uploads, and of our own downloads.
pub const PEER_STREAMS: usize = MAX_UPLOADS + 32;

/// Uploads of a hosted cache at once (fact 48).
const HOSTED_UPLOADS: usize = 1_024;

/// Connections of a hosted cache at once: those of its uploads, and to clients that offer.
pub const HOSTED_STREAMS: usize = HOSTED_UPLOADS + 96;

/// Of these, what incoming connections never take.
const RESERVED_STREAMS: usize = 24;

/// Connections of the system for each of the node's: some are being closed, or secured.
const CONNECTIONS_PER_STREAM: usize = 2;

/// The share of these that one remote address may take: enough for several peers behind it, and not enough to
/// shut out the others.
const CLIENTS: usize = 4;

/// Blocks that are fetched at once: what two downloads ask for.
const BLOCKS: usize = 32;

/// How old a snapshot may be while the node is at work.
const SNAPSHOT_AGE: peerdist_core::time::Duration = peerdist_core::time::Duration::from_millis(100);

/// How long who asks something of the node waits for it to have the time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Segments on offer to a hosted cache at a time.
const OFFERS: usize = 4096;

/// Segments that wait to be offered to a hosted cache: of those that a download gets meanwhile, what comes in a second.
const NEWS: usize = 1024;

/// Of these, so many are described for hosted caches of version 1: half of the places for content information. Of a
/// download of 100 Mbit/s, that is what comes while all hosted caches rest.
const DESCRIPTIONS: usize = MAX_INFOS / 2;

/// The node, with so many connections.
pub type NetNode<const STREAMS: usize = PEER_STREAMS> =
    Node<Storage, FastCrypto, ChaCha20Rng, STREAMS, BLOCKS, DOWNLOADS, Role<STREAMS>>;

/// What a node is to others: a peer, until it is made a hosted cache, or one that offers to hosted caches.
pub struct Role<const STREAMS: usize> {
    peer: Serving,
    /// Without rows, nothing is offered.
    news: Vec<News>,
    offers: client::State,
    hosted: Option<Box<HostedCache<OFFERS, STREAMS>>>,
}

impl<const STREAMS: usize> Service for Role<STREAMS> {
    const SERVES: bool = true;
    const OFFERS: bool = true;

    fn new(config: answering::Config, instance_id: u32, rng: &mut dyn CryptoRng) -> Self {
        let peer = Serving::new(config, instance_id, rng);
        Self { peer, news: Vec::new(), offers: client::State::default(), hosted: None }
    }

    fn role(&self) -> ServerRole {
        self.hosted.as_ref().map_or(ServerRole::Peer, |hosted| hosted.role())
    }

    fn server(&self) -> Option<&Server> {
        self.hosted.is_none().then(|| self.peer.server()).flatten()
    }

    fn server_mut(&mut self) -> Option<&mut Server> {
        if self.hosted.is_some() { None } else { self.peer.server_mut() }
    }

    fn hosted(&mut self) -> Option<Hosted<'_>> {
        self.hosted.as_mut()?.hosted()
    }

    fn poll_timeout(&self, now: Instant, places: &Places) -> Option<Instant> {
        let hosted = self.hosted.as_ref().and_then(|hosted| hosted.poll_timeout(now, places));
        earliest(hosted, client::poll_timeout(&self.news, &self.offers, places))
    }

    fn offers(&mut self) -> Option<Client<'_>> {
        let Self { news, offers, .. } = self;
        (!news.is_empty()).then_some(Client { news, state: offers })
    }
}

/// Something to do with the node, between two of its steps.
pub type Command<const STREAMS: usize> = Box<dyn FnOnce(&mut NetNode<STREAMS>) + Send>;

/// How a station is set up.
pub struct Setup {
    /// Where peers are looked for; none: nowhere.
    pub addresses: Vec<Local>,
    /// A stack of its own, in place of the kernel's sockets at these addresses.
    pub tap: Option<Tap>,
    /// Whether others are served, and on which port; 0: any.
    pub serve: Option<u16>,
    /// The newest content information that origins are asked for.
    pub content_info: InfoVersion,
    /// What it keeps its things in.
    pub storage: Storage,
    /// Whether it uses a hosted cache, or is one.
    pub hosting: Hosting,
}

/// A node and hosted caches.
#[derive(Clone, Debug, Default)]
pub enum Hosting {
    /// It asks its peers (distributed mode).
    #[default]
    Distributed,
    /// It asks hosted caches, and offers them what comes from origins.
    At {
        /// The first choice first.
        places: Vec<Place>,
        /// Whether peers are asked too, and answered.
        with_peers: bool,
    },
    /// It is one itself.
    Here(HostedSetup),
}

/// How a hosted cache is offered something.
#[derive(Clone, Debug, Default)]
pub struct HostedSetup {
    /// What is done for one client.
    pub limits: Limits,
    /// What is taken.
    pub rules: Rules,
    /// Where version 1 is: on one more port, where connections are secured in this way.
    pub tls: Option<(u16, Arc<ServerConfig>)>,
}

/// Connections of the system for a node with so many, and so files.
pub const fn connections(streams: usize) -> usize {
    CONNECTIONS_PER_STREAM * streams
}

/// Why a station could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Sockets.
    #[error("{0}")]
    Sockets(#[from] OpenError),
    /// The TAP device.
    #[cfg(target_os = "linux")]
    #[error("--tap: {0}")]
    Tap(#[from] tap::OpenError),
    /// No random numbers, so no keys.
    #[error("the random source of the system: {0}")]
    Random(#[from] getrandom::Error),
}

impl SetupError {
    /// The error; where a port is taken, by whom.
    pub fn told(&self) -> String {
        use holder::Protocol::{Tcp, Udp};
        let group = |ip: &IpAddr| if ip.is_ipv4() { GROUP_V4 } else { GROUP_V6 };
        let (protocol, address, error) = match self {
            Self::Sockets(OpenError::Listen(address, error)) => (Tcp, *address, error),
            Self::Sockets(OpenError::Discovery(address, error)) => (Udp, *address, error),
            Self::Sockets(OpenError::Join(ip, error)) => (Udp, group(ip), error),
            _ => return self.to_string(),
        };
        if error.kind() != io::ErrorKind::AddrInUse {
            return self.to_string();
        }
        holder::taken(protocol, address)
    }
}

/// A node with its sockets.
pub struct Station<const STREAMS: usize = PEER_STREAMS> {
    /// The sockets.
    pub driver: Wire,
    /// The node.
    pub node: Box<NetNode<STREAMS>>,
    /// What it goes without, in a line: the second family of addresses.
    pub warning: Option<String>,
    /// The resolver of the system.
    pub names: Names,
    /// The port where connections are secured, if there is one.
    pub tls_port: Option<u16>,
    clock: Clock,
    control: Control<STREAMS>,
    commands: Receiver<Command<STREAMS>>,
    /// When the snapshot was taken.
    taken: Instant,
}

/// How other threads reach a station.
#[derive(Clone)]
pub struct Control<const STREAMS: usize = PEER_STREAMS> {
    waker: Waker,
    clock: Clock,
    stop: Arc<AtomicBool>,
    commands: Sender<Command<STREAMS>>,
    snapshot: Arc<Mutex<Snapshot>>,
}

/// A station in numbers, a moment ago.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it began.
    pub started: SystemTime,
    /// Where it is reached, the first address first.
    pub addresses: Vec<Local>,
    /// The port on which it serves, if it does.
    pub port: Option<u16>,
    /// The one where connections are secured.
    pub tls_port: Option<u16>,
    /// What the node counted.
    pub node: Counters,
    /// What a hosted cache was offered.
    pub offers: Option<OfferCounters>,
    /// Whether peers are looked for, and answered.
    pub distributed: bool,
    /// What hosted caches were offered.
    pub offering: Option<OfferingCounters>,
    /// What the sockets counted.
    pub sockets: SocketCounters,
    /// Open connections.
    pub connections: usize,
    /// What became of stored blocks.
    pub blocks: file::Counters,
    /// How many there are.
    pub count: usize,
    /// Bytes that they take.
    pub size: u64,
}

impl<const STREAMS: usize> Station<STREAMS> {
    /// Opens the sockets. Where there is an address of each family, the second may be without; then there is a
    /// [`warning`](Self::warning).
    pub fn open(setup: Setup) -> Result<Self, SetupError> {
        let Setup { addresses, tap, serve, content_info, storage, hosting } = setup;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let is_hosted = matches!(hosting, Hosting::Here(_));
        let (mut driver, addresses, warning) = match tap {
            Some(tap) => on_tap(tap, serve)?,
            None => on_sockets(addresses, serve, connections(STREAMS))?,
        };
        let tls_port = match (&hosting, &mut driver) {
            (Hosting::Here(HostedSetup { tls: Some((port, config)), .. }), Wire::Sockets(driver)) => {
                Some(driver.listen_secured(*port, config.clone())?)
            }
            _ => None,
        };
        let started = SystemTime::now();
        let config = Config {
            port: driver.port(),
            // Seconds, of which those that do not fit matter to nobody.
            instance_id: started.duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs() as u32),
            reserved_streams: RESERVED_STREAMS,
            max_uploads: if is_hosted { HOSTED_UPLOADS } else { MAX_UPLOADS },
            distributed: !addresses.is_empty()
                && matches!(hosting, Hosting::Distributed | Hosting::At { with_peers: true, .. }),
            hosted_caches: match &hosting {
                Hosting::At { places, .. } => places.iter().copied().collect(),
                Hosting::Distributed | Hosting::Here(_) => Places::new(),
            },
            content_information: content_info,
            ..Config::default()
        };
        let mut node: Box<NetNode<STREAMS>> =
            Box::new(Node::new(config, storage, FastCrypto, ChaCha20Rng::from_seed(seed)));
        match hosting {
            Hosting::Distributed => {}
            Hosting::At { .. } => {
                node.service().news = (0..NEWS).map(|_| News::FREE).collect();
                node.service().offers.descriptions = DESCRIPTIONS;
            }
            Hosting::Here(HostedSetup { limits, rules, .. }) => {
                node.service().hosted = Some(Box::default());
                node.hosted().into_iter().for_each(|state| (state.limits, state.rules) = (limits, rules));
            }
        }
        let subnets: Vec<_> = addresses.iter().map(|local| local.subnet).collect();
        node.set_addresses(&subnets);
        let (sender, commands) = channel();
        let snapshot = Snapshot {
            started,
            addresses,
            port: serve.map(|_| driver.port()),
            tls_port,
            node: node.counters(),
            offers: node.hosted().map(|state| state.counters),
            distributed: node.config().distributed,
            offering: node.offers().map(|offers| offers.state.counters),
            sockets: driver.counters(),
            connections: 0,
            blocks: node.storage().blocks.counters(),
            count: node.storage().blocks.count(),
            size: node.storage().blocks.size(),
        };
        let clock = Clock::new();
        let control = Control {
            waker: driver.waker(),
            clock,
            stop: Arc::default(),
            commands: sender,
            snapshot: Arc::new(Mutex::new(snapshot)),
        };
        let names = Names::new(driver.waker());
        let taken = Instant::ZERO;
        Ok(Self { driver, node, warning, names, tls_port, clock, control, commands, taken })
    }

    /// How other threads reach it.
    pub fn control(&self) -> Control<STREAMS> {
        self.control.clone()
    }

    /// Whether somebody asked it to stop.
    pub fn is_stopped(&self) -> bool {
        self.control.stop.load(Ordering::Relaxed)
    }

    /// The time of the node.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Does all that can be done now. What the node hands out goes to `application`. Returns how
    /// long there is nothing to do, unless something comes.
    pub fn poll(&mut self, application: &mut dyn FnMut(Output<'_>)) -> Option<Duration> {
        while let Ok(command) = self.commands.try_recv() {
            command(&mut self.node);
        }
        let now = self.clock.now();
        let next = self.driver.poll(now, &mut self.node, application);
        let wait = self.clock.until(next);
        let idle = wait.is_none_or(|wait| !wait.is_zero());
        if idle || self.taken + SNAPSHOT_AGE <= now {
            self.take_snapshot(now);
        }
        wait
    }

    /// Waits until something comes, for so long at most.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.driver.wait(timeout)
    }

    fn take_snapshot(&mut self, now: Instant) {
        self.taken = now;
        let mut snapshot = self.control.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.node = self.node.counters();
        snapshot.offers = self.node.hosted().map(|state| state.counters);
        snapshot.offering = self.node.offers().map(|offers| offers.state.counters);
        snapshot.sockets = self.driver.counters();
        snapshot.connections = self.driver.connections();
        let blocks = &self.node.storage().blocks;
        (snapshot.blocks, snapshot.count, snapshot.size) = (blocks.counters(), blocks.count(), blocks.size());
    }
}

/// A way onto the network, the addresses that it has, and what it goes without.
type Opened = (Wire, Vec<Local>, Option<String>);

/// The kernel's sockets.
fn on_sockets(
    mut addresses: Vec<Local>,
    serve: Option<u16>,
    connections: usize,
) -> Result<Opened, SetupError> {
    // On loopback all clients have the same address, and whoever can reach it could do worse.
    let shared = addresses.first().is_some_and(|local| local.subnet.address.is_loopback());
    let mut options = Options {
        addresses: addresses.clone(),
        serve: serve.is_some(),
        port: serve.unwrap_or(0),
        connections,
        per_client: if shared { connections } else { connections / CLIENTS },
    };
    let mut warning = None;
    let driver = match Driver::new(&options) {
        Err(error) if addresses.len() > 1 => {
            // The first is the one that was asked for: without it, there is nothing to work with.
            addresses.truncate(1);
            options.addresses = addresses.clone();
            let driver = Driver::new(&options)?;
            let (without, with) = if addresses[0].subnet.address.is_ipv4() { (6, 4) } else { (4, 6) };
            let error = SetupError::from(error);
            warning = Some(format!("{}: no peers over IPv{without}, only over IPv{with}", error.told()));
            driver
        }
        result => result?,
    };
    Ok((Wire::Sockets(Box::new(driver)), addresses, warning))
}

/// A stack of its own.
#[cfg(target_os = "linux")]
fn on_tap(tap: Tap, serve: Option<u16>) -> Result<Opened, SetupError> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed)?;
    let options = Tap { serve, seed: u64::from_le_bytes(seed), ..tap };
    let driver = tap::Driver::new(&options)?;
    let addresses = options.addresses.iter().map(|&subnet| Local { subnet, interface: 0 }).collect();
    Ok((Wire::Tap(Box::new(driver)), addresses, None))
}

/// There are none of them here.
#[cfg(not(target_os = "linux"))]
fn on_tap(tap: Tap, _serve: Option<u16>) -> Result<Opened, SetupError> {
    match tap {}
}

impl<const STREAMS: usize> Control<STREAMS> {
    /// Has it stop; who runs it sees to that.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    /// Has it do something; `false` if it is gone. The thread of the node does it before it does
    /// anything else, so it should not take long.
    pub fn send(&self, command: Command<STREAMS>) -> bool {
        let sent = self.commands.send(command).is_ok();
        self.waker.wake();
        sent
    }

    /// Asks it something and waits for the answer; `None` if it is gone, or has no time.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut NetNode<STREAMS>) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = channel();
        // Who asked may have given up.
        let sent = self.send(Box::new(move |node| _ = answer.send(question(node))));
        if sent { answered.recv_timeout(PATIENCE).ok() } else { None }
    }

    /// The time of the node.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// What it counted, a moment ago.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use peerdist_core::discovery::Subnet;

    use super::*;

    fn local(address: impl Into<IpAddr>, prefix: u8) -> Local {
        Local { subnet: Subnet { address: address.into(), prefix }, interface: 0 }
    }

    #[test]
    fn without_its_second_family() {
        // Documentation's, so nobody's (RFC 3849).
        let nobodys = local([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 64);
        let ours = local([127, 0, 78, 1], 8);
        let (_, addresses, warning) = on_sockets(vec![ours, nobodys], Some(0), 4).expect("the first is ours");
        assert_eq!(addresses, [ours]);
        let warning = warning.expect("it is told");
        assert!(warning.starts_with("UDP [2001:db8::1]:3702: "), "{warning}");
        assert!(warning.ends_with(": no peers over IPv6, only over IPv4"), "{warning}");

        assert!(on_sockets(vec![nobodys, nobodys], Some(0), 4).is_err(), "neither of them");
        let (.., warning) = on_sockets(vec![ours], Some(0), 4).expect("it is ours");
        assert_eq!(warning, None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_has_the_port_of_discovery() {
        // Without the option by which sockets share a port.
        let _theirs = std::net::UdpSocket::bind("127.0.78.2:3702").expect("nobody has it");
        let error = on_sockets(vec![local([127, 0, 78, 2], 8)], Some(0), 4).err().expect("it is taken");
        let us = format!("(process {})", std::process::id());
        let told = error.told();
        assert!(
            told.starts_with("UDP port 3702 of 127.0.78.2 is taken by ") && told.ends_with(&us),
            "{told}"
        );
    }
}
