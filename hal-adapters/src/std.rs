//! Drives a node over the sockets of an operating system.
//!
//! For each address: a UDP socket for discovery, one more that hears the group where the node
//! answers probes, and there a listener for streams. All are non-blocking; the caller's thread is
//! the only one. It calls [`Driver::poll`], which moves all that can be moved, then
//! [`Driver::wait`], which sleeps until there is something to move or somebody calls
//! [`Waker::wake`], and so on.
//!
//! Sockets are bound to one address, never to all: several nodes on a machine then hear the
//! answers to their own probes only, if each has an address of its own. Of nodes that share one,
//! the kernel gives answers to whoever came last, on Linux; that is the one that asks, if it came
//! to fetch something from the others.

mod connection;
pub mod local;
#[cfg(any(feature = "negotiate", test))]
mod negotiate;
pub(crate) mod origins;
mod pipe;
mod sockets;
#[cfg(feature = "tls")]
mod tls;

#[cfg(feature = "tls")]
use core::cmp::Reverse;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time;
use std::vec::Vec;

#[cfg(feature = "tls")]
use mio::net::TcpStream;
use mio::{Events, Poll, Token};
use peerdist_core::api::Application;
use peerdist_core::crypto::Crypto;
use peerdist_core::discovery::Subnet;
use peerdist_core::node::{Input, Node, Output, Purpose, Service, StreamId};
use peerdist_core::store::Storage;
use peerdist_core::time::{self as node_time, Instant, earliest};
use rand_core::CryptoRng;

use self::connection::{Connection, Moved};
use self::origins::Layer;
pub use self::origins::Origins;
use self::pipe::Pipe;
use self::sockets::{Echoes, Way};
use crate::machine::Machine;

#[cfg(feature = "tls")]
pub use rustls;

/// Bytes that are taken from the node, or read from a socket, at once: the longest block, with its
/// headers.
const BUFFER_BYTES: usize = 132 * 1024;

/// Passes over all sockets in one [`Driver::poll`]; what is left is for the next, so that the
/// caller gets a word in.
const PASSES: usize = 16;

/// Datagrams that are taken from a socket in one pass.
const DATAGRAMS: usize = 64;

/// Connections that are taken from a listener in one pass.
const ACCEPTS: usize = 64;

/// How long no connection is taken after one found no room in the system's table of files.
const FILES_WAIT: node_time::Duration = node_time::Duration::from_millis(100);

/// Events that one [`Driver::wait`] fetches.
const EVENTS: usize = 256;

const WAKER: Token = Token(0);

/// The tokens of a way's sockets begin here; there are as many as there are families.
const FIRST_WAY: usize = 1;
const WAY_SOCKETS: usize = 4;

/// The tokens of connections begin here.
const FIRST_CONNECTION: usize = 16;

/// How long a client may take to secure its connection: several round trips, and the time to look at a certificate.
#[cfg(feature = "tls")]
const HANDSHAKE: node_time::Duration = node_time::Duration::from_secs(10);

/// Connections that are being secured at once, and half of all at most. One more makes room for itself: with it goes
/// the oldest of the client that has most of them, so nobody is kept out by what others have abandoned.
#[cfg(feature = "tls")]
const HANDSHAKES: usize = 64;

/// An address of this machine, with its network and the number of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The address, and how much of it is the network's.
    pub subnet: Subnet,
    /// The index of its interface, which addresses of IPv6 with a link-local scope need.
    pub interface: u32,
}

/// What sockets a driver opens.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where peers are looked for, one address of each family at most: without any, nowhere.
    pub addresses: Vec<Local>,
    /// Whether probes are heard and connections taken.
    pub serve: bool,
    /// The TCP port for that; 0 has the system choose one, for [`Driver::port`] to tell.
    pub port: u16,
    /// Connections at once, those that are being closed among them.
    pub connections: usize,
    /// Of these, what one remote address may take, so that it does not shut out all others.
    pub per_client: usize,
}

/// Which socket could not be opened, and why.
#[derive(Debug)]
pub enum OpenError {
    /// The system has no way to wait for sockets.
    Poll(io::Error),
    /// The socket for discovery.
    Discovery(SocketAddr, io::Error),
    /// The group, on the interface of this address.
    Join(IpAddr, io::Error),
    /// The listener.
    Listen(SocketAddr, io::Error),
}

/// Ports that are tried for one that is free in both families.
const PORT_TRIES: u32 = 16;

/// A clock for a node: time since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(time::Instant);

/// Wakes a driver that waits, from any thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<mio::Waker>);

/// How the latest connection to the origin of a download ended.
#[derive(Debug)]
pub struct Trouble {
    /// Whether any connection to it came about so far.
    pub connected: bool,
    /// Whether another attempt is of no use: at each address somebody refused, was not the one who was asked
    /// for, or could not be reached at all. Where one was only silent, or ended it in the middle, it may be.
    pub refused: bool,
    /// The reason.
    pub error: io::Error,
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that could not be sent.
    pub dropped_datagrams: u64,
    /// Connections taken.
    pub accepted: u64,
    /// Connections that were refused, since the driver or the node had no room, or their client had its share.
    pub refused: u64,
    /// Bytes received over connections, and sent.
    pub received: u64,
    /// See `received`.
    pub sent: u64,
    /// Connections that were to be secured, and were not: what came was no TLS, or none that we speak, or not all of
    /// it in time.
    pub not_secured: u64,
}

/// The sockets of a node.
pub struct Driver {
    poll: Poll,
    events: Events,
    waker: Waker,
    ways: Vec<Way>,
    port: u16,
    echoes: Echoes,
    /// As many places as were taken at once lately: each is looked at whenever anything moves.
    connections: Vec<Option<Connection>>,
    /// Places at most.
    most: usize,
    /// Where in `connections` a stream is.
    by_stream: HashMap<StreamId, usize>,
    origins: Origins,
    /// By what connections are secured, where that is so.
    #[cfg(feature = "tls")]
    secured: Option<Arc<rustls::ServerConfig>>,
    per_client: usize,
    /// Before then, no connection is taken: there was no room for the last one.
    accept_after: Instant,
    buffer: Vec<u8>,
    output: Vec<u8>,
    counters: Counters,
}

impl Driver {
    /// Opens the sockets.
    pub fn new(options: &Options) -> Result<Self, OpenError> {
        let poll = Poll::new().map_err(OpenError::Poll)?;
        let waker = mio::Waker::new(poll.registry(), WAKER).map_err(OpenError::Poll)?;
        let (ways, port) = any_port(options.port, || {
            let (mut ways, mut port) = (Vec::new(), options.port);
            for (index, local) in options.addresses.iter().enumerate().take(2) {
                let port_served = options.serve.then_some(port);
                let way = Way::open(local, port_served, poll.registry(), first_token(index))?;
                port = way.port().unwrap_or(port);
                ways.push(way);
            }
            Ok((ways, port))
        })?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            waker: Waker(Arc::new(waker)),
            ways,
            port,
            echoes: Echoes::default(),
            connections: Vec::new(),
            most: options.connections,
            by_stream: HashMap::new(),
            origins: Origins::default(),
            #[cfg(feature = "tls")]
            secured: None,
            per_client: options.per_client,
            accept_after: Instant::ZERO,
            buffer: std::vec![0; BUFFER_BYTES],
            output: std::vec![0; BUFFER_BYTES],
            counters: Counters::default(),
        })
    }

    /// Takes connections on one more port, at the same addresses, which are secured by TLS before the node knows of
    /// them. Returns the port: 0 has the system choose one.
    #[cfg(feature = "tls")]
    pub fn listen_secured(&mut self, port: u16, config: Arc<rustls::ServerConfig>) -> Result<u16, OpenError> {
        self.secured = Some(config);
        let Self { ways, poll, .. } = self;
        any_port(port, || {
            ways.iter_mut().enumerate().try_fold(port, |port, (index, way)| {
                way.listen_secured(port, poll.registry(), first_token(index))
            })
        })
    }

    /// The port that it listens on, if it does.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What other threads wake it by.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many connections there are, those that are being closed among them.
    pub fn connections(&self) -> usize {
        self.connections.iter().flatten().count()
    }

    /// The origins of downloads: where they are, what secures the way, and what went wrong with it.
    pub fn origins(&mut self) -> &mut Origins {
        &mut self.origins
    }

    /// Moves everything that can be moved at `now` between the network and the node.
    /// [`Output::Data`], [`Output::Moved`] and [`Output::Download`] go to `application`. Returns when to poll again at
    /// the latest; `now` means at once, after [`wait`](Self::wait) has looked for events.
    pub fn poll<S, C, R, const STREAMS: usize, const BLOCKS: usize, const DOWNLOADS: usize, P, A>(
        &mut self,
        now: Instant,
        node: &mut Node<S, C, R, STREAMS, BLOCKS, DOWNLOADS, P, A>,
        application: &mut dyn FnMut(Output<'_>),
    ) -> Option<Instant>
    where
        S: Storage,
        C: Crypto,
        R: CryptoRng,
        P: Service,
        A: Application,
    {
        let mut origins = std::mem::take(&mut self.origins);
        let next = self.drive(now, &mut Layer { node, origins: &mut origins }, application);
        self.origins = origins;
        next
    }

    fn drive(
        &mut self,
        now: Instant,
        node: &mut Layer<'_>,
        application: &mut dyn FnMut(Output<'_>),
    ) -> Option<Instant> {
        for _ in 0..PASSES {
            let mut more = self.receive_datagrams(now, node);
            more |= self.accept(now, node);
            more |= self.receive_streams(now, node);
            more |= self.drain(now, node, application);
            more |= self.send_streams(now, node);
            let next = earliest(self.deadline(now), node.poll_timeout(now));
            // What the node has left to do needs no event.
            if !more && next.is_none_or(|next| next > now) {
                while self.connections.pop_if(|last| last.is_none()).is_some() {}
                return next;
            }
        }
        Some(now)
    }

    /// Sleeps until a socket is ready, the waker wakes, or `timeout` is over; without one, for as
    /// long as it takes.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            let Token(token) = event.token();
            let readable = event.is_readable() || event.is_read_closed() || event.is_error();
            let writable = event.is_writable() || event.is_write_closed() || event.is_error();
            if let Some(index) = token.checked_sub(FIRST_CONNECTION) {
                if let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) {
                    connection.ready(readable, writable);
                }
            } else if let Some(token) = token.checked_sub(FIRST_WAY)
                && let Some(way) = self.ways.get_mut(token / WAY_SOCKETS)
            {
                way.ready(token % WAY_SOCKETS);
            }
        }
        Ok(())
    }

    fn receive_datagrams(&mut self, now: Instant, node: &mut dyn Machine) -> bool {
        let mut received = false;
        for way in &mut self.ways {
            for _ in 0..DATAGRAMS {
                let Some((len, from)) = way.receive(&mut self.buffer) else { break };
                received = true;
                let data = self.buffer.get(..len).unwrap_or_default();
                // The group brings back what we send to it ourselves.
                if !self.echoes.heard(data) {
                    node.handle_input(now, Input::Datagram { from: unscoped(from), data });
                }
            }
        }
        received
    }

    fn accept(&mut self, now: Instant, node: &mut dyn Machine) -> bool {
        let mut accepted = false;
        if now < self.accept_after {
            return false;
        }
        for index in 0..self.ways.len() {
            for _ in 0..ACCEPTS {
                let Some(result) = self.ways.get_mut(index).and_then(Way::accept) else { break };
                let Ok((socket, from)) = result else {
                    self.accept_after = now + FILES_WAIT;
                    return accepted;
                };
                accepted = true;
                self.admit(now, node, Pipe::new(socket), unscoped(from));
            }
            #[cfg(feature = "tls")]
            for _ in 0..ACCEPTS {
                let Some(result) = self.ways.get_mut(index).and_then(Way::accept_secured) else { break };
                let Ok((socket, from)) = result else {
                    self.accept_after = now + FILES_WAIT;
                    return accepted;
                };
                accepted = true;
                self.greet(now, socket, unscoped(from).ip());
            }
        }
        accepted
    }

    /// Offers the node a connection.
    fn admit(&mut self, now: Instant, node: &mut dyn Machine, pipe: Pipe, from: SocketAddr) {
        // Nobody gives way to a connection that the node does not want.
        let room = self.room().filter(|_| self.connections_of(from.ip()) < self.per_client);
        let stream = room.and_then(|room| Some((room, node.accept(now, from)?)));
        let Some((room, stream)) = stream else {
            self.counters.refused += 1;
            return pipe.reset();
        };
        self.counters.accepted += 1;
        if !self.keep(room, Connection::accepted(pipe, stream, from.ip()), Some(stream)) {
            node.handle_input(now, Input::Lost { stream });
        }
    }

    /// Begins to secure a connection, before the node knows of it.
    #[cfg(feature = "tls")]
    fn greet(&mut self, now: Instant, socket: TcpStream, client: IpAddr) {
        let Some(config) = self.secured.clone() else { return };
        if self.connections_of(client) >= self.per_client {
            self.counters.refused += 1;
            return Pipe::new(socket).reset();
        }
        let greeting = |connection: &Connection| Some((connection.client?, connection.greeting_deadline()?));
        let rows = || self.connections.iter().enumerate();
        let clients = || rows().filter_map(|(_, row)| Some(greeting(row.as_ref()?)?.0));
        if clients().count() >= HANDSHAKES.min(self.most / 2) {
            let mine = |client: IpAddr| clients().filter(|other| *other == client).count();
            let oldest = rows().filter_map(|(index, row)| {
                let (client, deadline) = greeting(row.as_ref()?)?;
                Some((mine(client), Reverse(deadline), index))
            });
            let oldest = oldest.max().and_then(|(.., index)| self.connections.get_mut(index)?.take());
            oldest.into_iter().for_each(Connection::reset);
            self.counters.not_secured += 1;
        }
        let room = self.room().zip(Pipe::secured(socket, config).ok());
        let kept = room.is_some_and(|(room, pipe)| {
            self.keep(room, Connection::greeting(pipe, now + HANDSHAKE, client), None)
        });
        self.counters.refused += u64::from(!kept);
    }

    /// Tells the node of a connection that is secured; whether it takes it.
    #[cfg(feature = "tls")]
    fn greeted(&mut self, now: Instant, node: &mut dyn Machine, index: usize) {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else { return };
        // Of whom the address is all that matters.
        let remote = connection.client.map(|client| SocketAddr::new(client, 0));
        match remote.and_then(|remote| node.accept_secured(now, remote)) {
            Some(stream) => {
                connection.open(stream);
                self.by_stream.insert(stream, index);
                self.counters.accepted += 1;
            }
            None => {
                self.counters.refused += 1;
                self.connections
                    .get_mut(index)
                    .and_then(Option::take)
                    .into_iter()
                    .for_each(Connection::reset);
            }
        }
    }

    fn receive_streams(&mut self, now: Instant, node: &mut Layer<'_>) -> bool {
        let mut moved = false;
        for index in 0..self.connections.len() {
            let Self { connections, by_stream, buffer, counters, .. } = self;
            let Some(slot) = connections.get_mut(index) else { break };
            let Some(connection) = slot else { continue };
            match connection.receive(now, node, buffer, counters) {
                Moved::Nothing => {}
                Moved::Something => moved = true,
                Moved::Lost(stream, error) => {
                    moved = true;
                    by_stream.remove(&stream);
                    *slot = None;
                    node.lost(now, stream, error);
                }
                Moved::Gone => *slot = None,
                #[cfg(feature = "tls")]
                Moved::Greeted => {
                    moved = true;
                    self.greeted(now, node, index);
                }
                #[cfg(feature = "tls")]
                Moved::Rejected => {
                    counters.not_secured += 1;
                    *slot = None;
                }
            }
        }
        moved
    }

    fn drain(&mut self, now: Instant, node: &mut Layer<'_>, application: &mut dyn FnMut(Output<'_>)) -> bool {
        let mut drained = false;
        let mut buffer = std::mem::take(&mut self.output);
        while let Some(output) = node.poll_output(now, &mut buffer) {
            drained = true;
            match output {
                Output::Datagram { to, data } => self.send_datagram(to, data),
                Output::Connect { stream, remote, purpose } => match self.connect(stream, remote, purpose) {
                    Ok(()) => {}
                    // No address of ours for that family is no want of sockets: it does not pass.
                    Err(error)
                        if sockets::is_shortage(&error)
                            && error.kind() != io::ErrorKind::AddrNotAvailable =>
                    {
                        node.handle_input(now, Input::NoSocket { stream });
                    }
                    Err(error) => node.lost(now, stream, error),
                },
                Output::Close { stream } => {
                    if let Some(connection) = self.take(stream) {
                        connection.close(now);
                    }
                }
                Output::Abort { stream } => {
                    if let Some(index) = self.by_stream.remove(&stream)
                        && let Some(connection) = self.connections.get_mut(index).and_then(Option::take)
                    {
                        connection.reset();
                    }
                }
                Output::Resume { stream } => {
                    let index = self.by_stream.get(&stream).copied();
                    let connection = index.and_then(|index| self.connections.get_mut(index)?.as_mut());
                    if let Some(connection) = connection {
                        connection.resume();
                        connection.receive_held(now, node);
                    }
                }
                other @ (Output::Data { .. } | Output::Moved { .. } | Output::Download { .. }) => {
                    application(other);
                }
            }
        }
        self.output = buffer;
        drained
    }

    fn send_streams(&mut self, now: Instant, node: &mut dyn Machine) -> bool {
        let mut moved = false;
        let Self { connections, by_stream, buffer, counters, .. } = self;
        for slot in connections {
            let Some(connection) = slot else { continue };
            match connection.send(now, node, buffer, counters) {
                Moved::Nothing => {}
                Moved::Something => moved = true,
                // What broke while it was written is told by what is read, or by the node's own
                // deadline; only what the node itself gave up ends here.
                Moved::Lost(stream, _) => {
                    moved = true;
                    by_stream.remove(&stream);
                    if let Some(connection) = slot.take() {
                        connection.reset();
                    }
                }
                Moved::Gone => *slot = None,
                #[cfg(feature = "tls")]
                Moved::Greeted | Moved::Rejected => {}
            }
        }
        moved
    }

    fn send_datagram(&mut self, to: SocketAddr, data: &[u8]) {
        if to.ip().is_multicast() {
            self.echoes.sent(data);
        }
        let way = self.ways.iter().find(|way| way.local.subnet.address.is_ipv4() == to.is_ipv4());
        if !way.is_some_and(|way| way.send(data, way.scoped(to))) {
            self.counters.dropped_datagrams += 1;
        }
    }

    /// Begins to connect. An error may be a shortage, which passes.
    fn connect(&mut self, stream: StreamId, remote: SocketAddr, purpose: Purpose) -> io::Result<()> {
        let room = self.room().ok_or(io::ErrorKind::OutOfMemory)?;
        let way = self.ways.iter().find(|way| way.local.subnet.address.is_ipv4() == remote.is_ipv4());
        let remote = way.map_or(remote, |way| way.scoped(remote));
        let pipe = match (purpose, way) {
            // A hosted cache comes for what it is offered to where the offer came from.
            (Purpose::Offers(_), Some(way)) => {
                let local = way.local.subnet.address;
                Pipe::connect_from(local, remote).or_else(|_| Pipe::connect(remote))
            }
            _ => Pipe::connect(remote),
        };
        let connection = Connection::connecting(pipe?, stream);
        if self.keep(room, connection, Some(stream)) {
            Ok(())
        } else {
            Err(io::ErrorKind::OutOfMemory.into())
        }
    }

    /// A place for a connection: an empty one, or that of one that has only to be closed.
    fn room(&mut self) -> Option<usize> {
        let empty = self.connections.iter().position(Option::is_none);
        empty.or_else(|| {
            if self.connections.len() < self.most {
                self.connections.push(None);
                return self.connections.len().checked_sub(1);
            }
            let closing = self.connections.iter().enumerate();
            let deadlines = closing.filter_map(|(index, it)| Some((it.as_ref()?.closing_deadline()?, index)));
            deadlines.min().map(|(_, index)| index)
        })
    }

    /// How many connections a client has.
    fn connections_of(&self, client: IpAddr) -> usize {
        self.connections.iter().flatten().filter(|connection| connection.client == Some(client)).count()
    }

    /// Keeps a connection in a place. What was being closed there ends.
    fn keep(&mut self, index: usize, mut connection: Connection, stream: Option<StreamId>) -> bool {
        let token = Token(FIRST_CONNECTION.saturating_add(index));
        let kept = connection.register(self.poll.registry(), token).is_ok();
        if let (true, Some(slot)) = (kept, self.connections.get_mut(index)) {
            if let Some(closing) = slot.replace(connection) {
                closing.reset();
            }
            self.by_stream.extend(stream.map(|stream| (stream, index)));
        }
        kept
    }

    fn take(&mut self, stream: StreamId) -> Option<&mut Connection> {
        let index = self.by_stream.remove(&stream)?;
        self.connections.get_mut(index)?.as_mut()
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let accept = Some(self.accept_after).filter(|at| *at > now);
        let closing = self.connections.iter().flatten().filter_map(Connection::deadline).min();
        earliest(accept, closing)
    }
}

impl Clock {
    /// Begins now. The time is not zero then, as in a system that has run for a while.
    #[allow(clippy::new_without_default, reason = "it depends on when it is called")]
    pub fn new() -> Self {
        Self(time::Instant::now())
    }

    /// The time.
    pub fn now(&self) -> Instant {
        let micros = self.0.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX).saturating_add(1))
    }

    /// How long to wait until then.
    pub fn until(&self, then: Option<Instant>) -> Option<Duration> {
        then.map(|then| Duration::from_micros(then.since(self.now()).micros()))
    }
}

/// Opens listeners. If the port is the system's to choose, it chooses among those that are free at the first
/// address; at the second, somebody may have it.
fn any_port<T>(port: u16, mut open: impl FnMut() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let mut tries = PORT_TRIES;
    loop {
        match open() {
            Err(OpenError::Listen(_, error))
                if port == 0 && tries > 1 && error.kind() == io::ErrorKind::AddrInUse =>
            {
                tries -= 1;
            }
            result => return result,
        }
    }
}

impl Waker {
    #[cfg(all(feature = "tap", target_os = "linux"))]
    pub(crate) fn new(waker: mio::Waker) -> Self {
        Self(Arc::new(waker))
    }

    /// Ends the wait that is under way, or the next.
    pub fn wake(&self) {
        // Who cannot be woken is gone, or wakes for something else before long.
        let _ = self.0.wake();
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poll(error) => write!(f, "cannot wait for sockets: {error}"),
            Self::Discovery(address, error) => write!(f, "UDP {address}: {error}"),
            Self::Join(address, error) => write!(f, "no multicast on the interface of {address}: {error}"),
            Self::Listen(address, error) => write!(f, "TCP {address}: {error}"),
        }
    }
}

impl core::error::Error for OpenError {}

/// The token of the first socket of a way.
fn first_token(way: usize) -> usize {
    FIRST_WAY.saturating_add(way.saturating_mul(WAY_SOCKETS))
}

/// The address as the node knows it: the number of an interface means nothing to it, and would make two
/// peers out of one.
fn unscoped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_free_at_both_addresses() {
        let taken = |kind: io::ErrorKind| OpenError::Listen(([127, 0, 0, 1], 81).into(), kind.into());
        let tries = |port, free_after, kind| {
            let mut count = 0;
            let result = any_port(port, || {
                count += 1;
                if count > free_after { Ok(()) } else { Err(taken(kind)) }
            });
            (result.is_ok(), count)
        };
        assert_eq!(tries(0, 3, io::ErrorKind::AddrInUse), (true, 4));
        assert_eq!(tries(0, 99, io::ErrorKind::AddrInUse), (false, 16));
        assert_eq!(tries(81, 3, io::ErrorKind::AddrInUse), (false, 1), "it was asked for");
        assert_eq!(tries(0, 3, io::ErrorKind::PermissionDenied), (false, 1));
    }
}
