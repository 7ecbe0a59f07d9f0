//! Drives a node over smoltcp sockets, on a microcontroller as in the simulated LAN.
//!
//! One UDP socket carries discovery, a pool of TCP sockets the streams. smoltcp has no backlog: a
//! socket is one connection, so a few of the pool are always listening.
//!
//! The caller owns the interface, the device, the sockets and the node, and lends them to
//! [`Driver::poll`] whenever a frame has come or the time it returned is over.

mod neighbors;
#[cfg(test)]
mod tests;

use core::net::{IpAddr, SocketAddr};

use peerdist_core::api::Application;
use peerdist_core::crypto::Crypto;
use peerdist_core::discovery::{GROUP_V4, GROUP_V6, PORT as DISCOVERY_PORT};
use peerdist_core::limits::UPLOAD_TIMEOUT;
use peerdist_core::node::{Input, Node, Output, Service, StreamId};
use peerdist_core::store::Storage;
use peerdist_core::time::{Instant, earliest};
use rand_core::CryptoRng;
use smoltcp::iface::{Interface, MulticastError, SocketHandle, SocketSet};
use smoltcp::phy::Device;
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{HardwareAddress, IpListenEndpoint};

use crate::machine::{GONE, LINGER, Machine, PIECES, endpoint, listening};
use crate::neighbors::Hints;
use neighbors::Learning;

/// Bytes that [`Driver::poll`] wants lent for datagrams and data: one datagram at least.
pub const MIN_BUFFER: usize = 1_400;

/// Local ports of outgoing connections (RFC 6335): those with these bits.
const FIRST_EPHEMERAL: u16 = 49_152;

/// The state of a node's sockets: one for discovery, `SOCKETS` for streams.
pub struct Driver<const SOCKETS: usize> {
    udp: SocketHandle,
    tcp: [Tcp; SOCKETS],
    port: u16,
    #[cfg(feature = "std")]
    secured: Option<u16>,
    next_local_port: u16,
    hints: Hints,
    /// Datagrams that found no room in the socket.
    pub dropped_datagrams: u32,
}

struct Tcp {
    handle: SocketHandle,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Listening,
    Open {
        stream: StreamId,
        connected: bool,
        eof: bool,
        blocked: bool,
    },
    /// Closed or reset by us; the stack still has to say so, until `deadline` at the latest.
    Closing {
        deadline: Instant,
        /// All that was to be sent has been acknowledged.
        drained: bool,
    },
}

impl<const SOCKETS: usize> Driver<SOCKETS> {
    /// Takes over the sockets with these handles: `udp` for discovery, `tcp` for streams. Joins
    /// the discovery group of IPv4, and that of IPv6 if the feature `ipv6` is on and the interface
    /// has an address of that family; listens on the node's `port` at the first poll. An interface
    /// that gets its address of IPv6 later has to join [`GROUP_V6`] then.
    ///
    /// `local_port` is where outgoing connections begin to count their local ports, of which its low bits tell;
    /// drawn at random, a restart does not reuse those of old connections.
    pub fn new(
        interface: &mut Interface,
        udp: SocketHandle,
        tcp: [SocketHandle; SOCKETS],
        port: u16,
        local_port: u16,
    ) -> Result<Self, MulticastError> {
        interface.join_multicast_group(endpoint(GROUP_V4).addr)?;
        if interface.ip_addrs().iter().any(|cidr| IpAddr::from(cidr.address()).is_ipv6()) {
            interface.join_multicast_group(endpoint(GROUP_V6).addr)?;
        }
        Ok(Self {
            udp,
            tcp: tcp.map(|handle| Tcp { handle, state: State::Idle }),
            port,
            #[cfg(feature = "std")]
            secured: None,
            next_local_port: local_port | FIRST_EPHEMERAL,
            hints: Hints::default(),
            dropped_datagrams: 0,
        })
    }

    /// Listens on one more port, whose connections count as secured by something below: a simulation has no TLS.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn with_secured(self, port: u16) -> Self {
        Self { secured: Some(port), ..self }
    }

    /// Moves everything that can be moved at `now` between the network and the node. `buffer`
    /// takes at least [`MIN_BUFFER`] bytes. [`Output::Data`], [`Output::Moved`] and
    /// [`Output::Download`] go to
    /// `application`. Returns when to poll again at the latest.
    #[allow(clippy::too_many_arguments, reason = "the caller keeps all of these, and lends them")]
    pub fn poll<S, C, R, const STREAMS: usize, const BLOCKS: usize, const DOWNLOADS: usize, P, A>(
        &mut self,
        now: Instant,
        interface: &mut Interface,
        device: &mut (impl Device + ?Sized),
        sockets: &mut SocketSet<'_>,
        node: &mut Node<S, C, R, STREAMS, BLOCKS, DOWNLOADS, P, A>,
        buffer: &mut [u8],
        application: &mut dyn FnMut(Output<'_>),
    ) -> Option<Instant>
    where
        S: Storage,
        C: Crypto,
        R: CryptoRng,
        P: Service,
        A: Application,
    {
        self.drive(now, interface, device, sockets, node, buffer, application)
    }

    /// The same with whatever takes the place of a node.
    #[allow(clippy::too_many_arguments, reason = "the caller keeps all of these, and lends them")]
    pub(crate) fn drive(
        &mut self,
        now: Instant,
        interface: &mut Interface,
        device: &mut (impl Device + ?Sized),
        sockets: &mut SocketSet<'_>,
        node: &mut dyn Machine,
        buffer: &mut [u8],
        application: &mut dyn FnMut(Output<'_>),
    ) -> Option<Instant> {
        let time = smoltcp::time::Instant::from_micros(i64::try_from(now.micros()).unwrap_or(i64::MAX));
        let HardwareAddress::Ethernet(hardware) = interface.hardware_addr();
        let (mut more, mut pieces) = (true, PIECES);
        while more && pieces > 0 {
            let us = (hardware, interface.ipv4_addr());
            interface.poll(time, &mut Learning { inner: device, hints: &mut self.hints, us }, sockets);
            // Each datagram is taken whole, so what follows from them comes out in this turn.
            self.receive_datagrams(now, sockets, node);
            more = self.receive_streams(now, sockets, node);
            more |= self.drain(now, interface, sockets, node, buffer, &mut pieces, application);
            more |= self.send_streams(now, sockets, node);
            self.listen(sockets);
        }
        if more {
            return Some(now);
        }
        let stack =
            interface.poll_at(time, sockets).map(|at| Instant::from_micros(at.total_micros().max(0) as u64));
        earliest(earliest(stack, self.closing_deadline(sockets)), node.poll_timeout(now))
    }

    fn receive_datagrams(&self, now: Instant, sockets: &mut SocketSet<'_>, node: &mut dyn Machine) {
        let socket = sockets.get_mut::<udp::Socket>(self.udp);
        if !socket.is_open() {
            // Multicast is sent with a TTL of 1; answers go to the local subnet, where that is
            // enough. The port is not zero and the socket closed, so this cannot fail.
            socket.set_hop_limit(Some(1));
            let _ = socket.bind(DISCOVERY_PORT);
        }
        while let Ok((data, meta)) = socket.recv() {
            let from = SocketAddr::new(meta.endpoint.addr.into(), meta.endpoint.port);
            node.handle_input(now, Input::Datagram { from, data });
        }
    }

    fn receive_streams(&mut self, now: Instant, sockets: &mut SocketSet<'_>, node: &mut dyn Machine) -> bool {
        let mut received = false;
        for tcp in &mut self.tcp {
            let socket = sockets.get_mut::<tcp::Socket>(tcp.handle);
            let before = tcp.state;
            match tcp.state {
                State::Idle => {}
                #[cfg(feature = "std")]
                State::Listening if socket.listen_endpoint().port != self.port => {
                    tcp.accept(now, socket, &mut |remote| node.accept_secured(now, remote));
                }
                State::Listening => tcp.accept(now, socket, &mut |remote| node.accept(now, remote)),
                State::Open { .. } => received |= tcp.receive(now, socket, node),
                State::Closing { deadline, drained } => tcp.close(now, socket, deadline, drained),
            }
            received |= tcp.state != before;
        }
        received
    }

    /// Passes on what the node has to say, and `pieces` of downloads at most; whether that was anything. A
    /// piece is the last that a node has to say, so what does not come after it is pieces alone.
    #[allow(
        clippy::too_many_arguments,
        reason = "the caller of the driver keeps most of these, and lends them"
    )]
    fn drain(
        &mut self,
        now: Instant,
        interface: &mut Interface,
        sockets: &mut SocketSet<'_>,
        node: &mut dyn Machine,
        buffer: &mut [u8],
        pieces: &mut usize,
        application: &mut dyn FnMut(Output<'_>),
    ) -> bool {
        let mut drained = false;
        while *pieces > 0
            && let Some(output) = node.poll_output(now, buffer)
        {
            drained = true;
            match output {
                Output::Datagram { to, data } => {
                    let socket = sockets.get_mut::<udp::Socket>(self.udp);
                    if socket.send_slice(data, endpoint(to)).is_err() {
                        warning!("a datagram of {} bytes finds no room in its socket", data.len());
                        self.dropped_datagrams = self.dropped_datagrams.wrapping_add(1);
                    }
                }
                Output::Connect { stream, remote, .. } => {
                    if let Err(failed) = self.connect(interface, sockets, stream, remote) {
                        node.handle_input(now, failed);
                    }
                }
                Output::Close { stream } => {
                    if let Some(tcp) = self.find(stream) {
                        tcp.state = State::closing(now);
                        sockets.get_mut::<tcp::Socket>(tcp.handle).close();
                    }
                }
                Output::Abort { stream } => {
                    if let Some(tcp) = self.find(stream) {
                        tcp.state = State::closing(now);
                        sockets.get_mut::<tcp::Socket>(tcp.handle).abort();
                    }
                }
                Output::Resume { stream } => {
                    if let Some(Tcp { state: State::Open { blocked, .. }, .. }) = self.find(stream) {
                        *blocked = false;
                    }
                }
                other @ (Output::Data { .. } | Output::Moved { .. } | Output::Download { .. }) => {
                    *pieces -= usize::from(matches!(other, Output::Data { .. }));
                    application(other);
                }
            }
        }
        drained
    }

    fn send_streams(&mut self, now: Instant, sockets: &mut SocketSet<'_>, node: &mut dyn Machine) -> bool {
        let mut sent = false;
        for tcp in &mut self.tcp {
            let State::Open { stream, connected: true, .. } = tcp.state else { continue };
            let socket = sockets.get_mut::<tcp::Socket>(tcp.handle);
            while socket.can_send() {
                // The block goes from the store into the socket's own free room.
                let result = socket.send(|room| match node.poll_stream(now, stream, room) {
                    Ok(len) => (len, Ok(len)),
                    Err(error) => (0, Err(error)),
                });
                match result {
                    Ok(Ok(0)) | Err(_) => break,
                    Ok(Ok(_)) => sent = true,
                    Ok(Err(_)) => {
                        socket.abort();
                        tcp.state = State::closing(now);
                        sent = true;
                    }
                }
            }
        }
        sent
    }

    /// Keeps a part of the sockets listening.
    fn listen(&mut self, sockets: &mut SocketSet<'_>) {
        self.listen_on(sockets, self.port, listening(SOCKETS));
        #[cfg(feature = "std")]
        if let Some(port) = self.secured {
            self.listen_on(sockets, port, listening(SOCKETS));
        }
    }

    fn listen_on(&mut self, sockets: &mut SocketSet<'_>, port: u16, count: usize) {
        // One that a connection has begun on is no backlog any more, however long it takes.
        let is_open = |tcp: &&Tcp| {
            let socket = sockets.get::<tcp::Socket>(tcp.handle);
            let listens = socket.state() == tcp::State::Listen && socket.listen_endpoint().port == port;
            tcp.state == State::Listening && listens
        };
        let open = self.tcp.iter().filter(is_open).count();
        let mut missing = count.saturating_sub(open);
        for tcp in self.tcp.iter_mut().filter(|tcp| tcp.state == State::Idle) {
            if missing == 0 {
                break;
            }
            let socket = sockets.get_mut::<tcp::Socket>(tcp.handle);
            prepare(socket);
            if socket.listen(IpListenEndpoint { addr: None, port }).is_ok() {
                tcp.state = State::Listening;
                missing -= 1;
            }
        }
    }

    fn connect(
        &mut self,
        interface: &mut Interface,
        sockets: &mut SocketSet<'_>,
        stream: StreamId,
        remote: SocketAddr,
    ) -> Result<(), Input<'static>> {
        let tcp = self.spare(sockets).ok_or(Input::NoSocket { stream })?;
        let (handle, local_port) = (tcp.handle, self.next_local_port);
        self.next_local_port = local_port.checked_add(1).unwrap_or(FIRST_EPHEMERAL);
        let socket = sockets.get_mut::<tcp::Socket>(handle);
        prepare(socket);
        // An address that no packet can go to, or none of our own to come from: not for want of
        // sockets, so waiting for one would not help.
        let connected = socket.connect(interface.context(), endpoint(remote), local_port);
        connected.map_err(|_| Input::Lost { stream })?;
        if let Some(tcp) = self.tcp.iter_mut().find(|tcp| tcp.handle == handle) {
            tcp.state = State::Open { stream, connected: false, eof: false, blocked: false };
        }
        Ok(())
    }

    /// A socket for a new connection: idle, or one that only waits for stray segments, for the other
    /// side to close, or for a connection that may never come about.
    fn spare(&mut self, sockets: &mut SocketSet<'_>) -> Option<&mut Tcp> {
        let idle = self.tcp.iter().position(|tcp| tcp.state == State::Idle);
        let in_state = |wanted: tcp::State| {
            self.tcp.iter().position(|tcp| {
                let ours = matches!(tcp.state, State::Closing { .. } | State::Listening);
                ours && sockets.get::<tcp::Socket>(tcp.handle).state() == wanted
            })
        };
        let position = idle
            .or_else(|| in_state(tcp::State::TimeWait))
            .or_else(|| in_state(tcp::State::FinWait2))
            .or_else(|| in_state(tcp::State::SynReceived))?;
        let tcp = self.tcp.get_mut(position)?;
        let socket = sockets.get_mut::<tcp::Socket>(tcp.handle);
        if socket.state() != tcp::State::Closed {
            socket.abort();
        }
        tcp.state = State::Idle;
        Some(tcp)
    }

    /// When the first of the closed connections has to be reset.
    fn closing_deadline(&self, sockets: &SocketSet<'_>) -> Option<Instant> {
        self.tcp.iter().fold(None, |first, tcp| match tcp.state {
            State::Closing { deadline, .. } if !ends_itself(sockets.get(tcp.handle)) => {
                earliest(first, Some(deadline))
            }
            _ => first,
        })
    }

    fn find(&mut self, id: StreamId) -> Option<&mut Tcp> {
        self.tcp.iter_mut().find(|tcp| matches!(tcp.state, State::Open { stream, .. } if stream == id))
    }
}

impl State {
    /// What was polled may still be on its way: it has the time of an upload.
    fn closing(now: Instant) -> Self {
        Self::Closing { deadline: now + UPLOAD_TIMEOUT, drained: false }
    }
}

impl Tcp {
    fn close(&mut self, now: Instant, socket: &mut tcp::Socket<'_>, deadline: Instant, drained: bool) {
        if socket.state() == tcp::State::Closed {
            self.state = State::Idle;
        } else if !drained && socket.send_queue() == 0 {
            self.state = State::Closing { deadline: now + LINGER, drained: true };
        } else if deadline <= now && !ends_itself(socket) {
            // The next look at it finds it closed, and the stack has sent the reset by then.
            socket.abort();
            self.state = State::closing(now);
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        socket: &mut tcp::Socket<'_>,
        accept: &mut dyn FnMut(SocketAddr) -> Option<StreamId>,
    ) {
        match socket.state() {
            tcp::State::Listen | tcp::State::SynReceived => {}
            tcp::State::Closed => self.state = State::Idle,
            _ => {
                let remote =
                    socket.remote_endpoint().map(|remote| SocketAddr::new(remote.addr.into(), remote.port));
                match remote.and_then(accept) {
                    Some(stream) => {
                        self.state = State::Open { stream, connected: true, eof: false, blocked: false };
                    }
                    None => {
                        socket.abort();
                        self.state = State::closing(now);
                    }
                }
            }
        }
    }

    fn receive(&mut self, now: Instant, socket: &mut tcp::Socket<'_>, node: &mut dyn Machine) -> bool {
        let State::Open { stream, connected, eof, blocked } = &mut self.state else { return false };
        let stream = *stream;
        let mut received = false;
        if !*connected && socket.may_send() {
            *connected = true;
            node.handle_input(now, Input::Connected { stream });
            received = true;
        }
        // A ring gives only what lies in one piece: all of it is taken before an end counts.
        while !*blocked && socket.can_recv() {
            let result = socket.recv(|data| {
                let used = node.handle_input(now, Input::Data { stream, data });
                (used, (used, data.len()))
            });
            let Ok((used, offered)) = result else { break };
            *blocked = used < offered;
            received |= used > 0;
        }
        if socket.can_recv() {
            return received;
        }
        match socket.state() {
            tcp::State::Closed => {
                node.handle_input(now, Input::Lost { stream });
                self.state = State::Idle;
                true
            }
            _ if *connected && !*eof && !socket.may_recv() => {
                *eof = true;
                node.handle_input(now, Input::Eof { stream });
                true
            }
            _ => received,
        }
    }
}

/// Replies are written in a few large pieces, and requests in one: holding small segments back
/// would only add the other side's delayed acknowledgement to every exchange.
fn prepare(socket: &mut tcp::Socket<'_>) {
    socket.set_nagle_enabled(false);
    // A host that is gone acknowledges nothing, and its socket must not be lost to us for good.
    socket.set_timeout(Some(smoltcp::time::Duration::from_micros(GONE.micros())));
}

/// Whether the stack itself lets go of a closed connection, after a time of its own.
fn ends_itself(socket: &tcp::Socket<'_>) -> bool {
    matches!(socket.state(), tcp::State::TimeWait | tcp::State::Closed)
}
