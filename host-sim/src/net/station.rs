//! A node on the network, and what other threads may know and ask of it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peerdist_core::encoding::InfoVersion;
use peerdist_core::node::{Config, Counters, Node, Output};
use peerdist_core::time::Instant;
use peerdist_hal::file;
use peerdist_hal::std::{Clock, Counters as SocketCounters, Driver, Local, OpenError, Options, Waker};
#[cfg(target_os = "linux")]
use peerdist_hal::tap;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::cache::Storage;
use super::wire::{Tap, Wire};
use crate::crypto::FastCrypto;

/// Connections of a node at once: those of 64 uploads, and of our own downloads.
const STREAMS: usize = 96;

/// Of these, what incoming connections never take.
const RESERVED_STREAMS: usize = 24;

/// Connections of the system: some are being closed, beside those of the node.
const CONNECTIONS: usize = STREAMS * 2;

/// Blocks that are fetched at once: what two downloads ask for.
const BLOCKS: usize = 32;

/// How old a snapshot may be while the node is at work.
const SNAPSHOT_AGE: peerdist_core::time::Duration = peerdist_core::time::Duration::from_millis(100);

/// How long who asks something of the node waits for it to have the time.
const PATIENCE: Duration = Duration::from_secs(10);

/// The node.
pub type NetNode = Node<Storage, FastCrypto, ChaCha20Rng, STREAMS, BLOCKS>;

/// Something to do with the node, between two of its steps.
pub type Command = Box<dyn FnOnce(&mut NetNode) + Send>;

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

/// A node with its sockets.
pub struct Station {
    /// The sockets.
    pub driver: Wire,
    /// The node.
    pub node: Box<NetNode>,
    clock: Clock,
    control: Control,
    commands: Receiver<Command>,
    /// When the snapshot was taken.
    taken: Instant,
}

/// How other threads reach a station.
#[derive(Clone)]
pub struct Control {
    waker: Waker,
    clock: Clock,
    stop: Arc<AtomicBool>,
    commands: Sender<Command>,
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
    /// What the node counted.
    pub node: Counters,
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

impl Station {
    /// Opens the sockets. Where there is an address of each family, the second may be without.
    pub fn open(setup: Setup) -> Result<Self, SetupError> {
        let Setup { addresses, tap, serve, content_info, storage } = setup;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let (driver, addresses) = match tap {
            Some(tap) => on_tap(tap, serve)?,
            None => on_sockets(addresses, serve)?,
        };
        let started = SystemTime::now();
        let config = Config {
            port: driver.port(),
            // Seconds, of which those that do not fit matter to nobody.
            instance_id: started.duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs() as u32),
            reserved_streams: RESERVED_STREAMS,
            distributed: !addresses.is_empty(),
            content_information: content_info,
            ..Config::default()
        };
        let mut node = Box::new(Node::new(config, storage, FastCrypto, ChaCha20Rng::from_seed(seed)));
        let subnets: Vec<_> = addresses.iter().map(|local| local.subnet).collect();
        node.set_addresses(&subnets);
        let (sender, commands) = channel();
        let snapshot = Snapshot {
            started,
            addresses,
            port: serve.map(|_| driver.port()),
            node: node.counters(),
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
        Ok(Self { driver, node, clock, control, commands, taken: Instant::ZERO })
    }

    /// How other threads reach it.
    pub fn control(&self) -> Control {
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
        snapshot.sockets = self.driver.counters();
        snapshot.connections = self.driver.connections();
        let blocks = &self.node.storage().blocks;
        (snapshot.blocks, snapshot.count, snapshot.size) = (blocks.counters(), blocks.count(), blocks.size());
    }
}

/// The kernel's sockets, and the addresses that they have.
fn on_sockets(mut addresses: Vec<Local>, serve: Option<u16>) -> Result<(Wire, Vec<Local>), SetupError> {
    let mut options = Options {
        addresses: addresses.clone(),
        serve: serve.is_some(),
        port: serve.unwrap_or(0),
        connections: CONNECTIONS,
    };
    let driver = match Driver::new(&options) {
        Err(_) if addresses.len() > 1 => {
            addresses.truncate(1);
            options.addresses = addresses.clone();
            Driver::new(&options)?
        }
        result => result?,
    };
    Ok((Wire::Sockets(Box::new(driver)), addresses))
}

/// A stack of its own, and the addresses that it has.
#[cfg(target_os = "linux")]
fn on_tap(tap: Tap, serve: Option<u16>) -> Result<(Wire, Vec<Local>), SetupError> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed)?;
    let options = Tap { serve, seed: u64::from_le_bytes(seed), ..tap };
    let driver = tap::Driver::new(&options)?;
    let addresses = options.addresses.iter().map(|&subnet| Local { subnet, interface: 0 }).collect();
    Ok((Wire::Tap(Box::new(driver)), addresses))
}

/// There are none of them here.
#[cfg(not(target_os = "linux"))]
fn on_tap(tap: Tap, _serve: Option<u16>) -> Result<(Wire, Vec<Local>), SetupError> {
    match tap {}
}

impl Control {
    /// Has it stop; who runs it sees to that.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    /// Has it do something; `false` if it is gone. The thread of the node does it before it does
    /// anything else, so it should not take long.
    pub fn send(&self, command: Command) -> bool {
        let sent = self.commands.send(command).is_ok();
        self.waker.wake();
        sent
    }

    /// Asks it something and waits for the answer; `None` if it is gone, or has no time.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut NetNode) -> T + Send + 'static,
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
