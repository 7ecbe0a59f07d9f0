//! Drives a node over embassy-net sockets: one future for each socket, and one for datagrams and time.
//!
//! All of them share one node in a [`Driver`], on one executor and without a lock: a future borrows it for
//! one call, and never while it waits. They wake each other: who has told the node something wakes
//! [`Driver::run`], which passes on what the node wants, and wakes those who may have something to send.
//!
//! ```no_run
//! # use embassy_net::{Stack, tcp::TcpSocket, udp::UdpSocket};
//! # use peerdist_core::{crypto::Crypto, node::Node, store::Storage};
//! # use peerdist_hal::embassy::{Driver, MIN_BUFFER};
//! # async fn appliance<S: Storage, C: Crypto, R: rand_core::CryptoRng>(
//! #     node: &mut Node<S, C, R, 2, 1>, stack: Stack<'static>, udp: UdpSocket<'_>, one: TcpSocket<'_>, two: TcpSocket<'_>,
//! # ) {
//! let driver = Driver::<_, 2>::new(node);
//! let mut buffer = [0; MIN_BUFFER];
//! // On a board, each of these is a task of its own.
//! embassy_futures::join::join3(
//!     driver.run(stack, udp, &mut buffer, &mut |_output| ()),
//!     driver.drive(one),
//!     driver.drive(two),
//! )
//! .await;
//! # }
//! ```

mod neighbors;

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::net::{Ipv4Addr, SocketAddr};
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use embassy_net::tcp::{State as Tcp, TcpSocket};
use embassy_net::udp::UdpSocket;
use embassy_net::{MulticastError, Stack};
use embassy_sync::waitqueue::WakerRegistration;
use embassy_time::Timer;
use peerdist_core::api::Application;
use peerdist_core::crypto::Crypto;
#[cfg(feature = "ipv6")]
use peerdist_core::discovery::GROUP_V6;
use peerdist_core::discovery::{GROUP_V4, PORT as DISCOVERY_PORT};
use peerdist_core::limits::UPLOAD_TIMEOUT;
use peerdist_core::node::{Input, Node, Output, Service, StreamId};
use peerdist_core::store::Storage;
use peerdist_core::time::{Duration, Instant};
use rand_core::CryptoRng;

use crate::machine::{GONE, LINGER, Machine, PIECES, endpoint, listening};

pub use neighbors::Learning;

/// Bytes that [`Driver::run`] wants lent for datagrams and data: one datagram at least.
pub const MIN_BUFFER: usize = 1_400;

/// How long a stack has to say that it leaves a group: who joins again before has never left.
const LEAVING: Duration = Duration::from_millis(50);

/// A node and the state of its sockets: `SOCKETS` for streams.
///
/// It is not `Sync`: all its futures belong to one executor.
pub struct Driver<'n, N, const SOCKETS: usize> {
    node: RefCell<&'n mut N>,
    sockets: [Socket; SOCKETS],
    desk: Desk,
}

/// What is of all sockets together.
struct Desk {
    /// Where peers find us.
    port: u16,
    /// Of [`Driver::run`].
    waker: RefCell<WakerRegistration>,
    /// Nothing has come to the node since it was drained. Until then, a stream may be over that it has not said to
    /// close yet: nobody may ask what there is to send.
    drained: Cell<bool>,
    dropped_datagrams: Cell<u32>,
}

/// A [`Driver`] of any size, whatever its node is made of: so the code exists once.
#[derive(Clone, Copy)]
struct Shared<'d> {
    node: &'d RefCell<dyn Machine + 'd>,
    sockets: &'d [Socket],
    desk: &'d Desk,
}

/// A socket, as those see it who do not own it.
struct Socket {
    phase: Cell<Phase>,
    waker: RefCell<WakerRegistration>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody drives it.
    Absent,
    Idle,
    Listening {
        /// A connection has begun on it, so it is no backlog any more, however long that takes.
        begun: bool,
    },
    /// To be connected, whatever it is doing.
    Dial {
        stream: StreamId,
        remote: SocketAddr,
    },
    Open {
        stream: StreamId,
        connected: bool,
        eof: bool,
        blocked: bool,
    },
    /// To be closed or reset.
    Ending {
        reset: bool,
    },
    /// Closed or reset by us; the stack still has to say so, until `deadline` at the latest.
    Closing {
        deadline: Instant,
        /// All that was to be sent has been acknowledged.
        drained: bool,
        tcp: Tcp,
    },
}

impl<
    'n,
    S,
    C,
    R,
    const STREAMS: usize,
    const BLOCKS: usize,
    const DOWNLOADS: usize,
    P,
    A,
    const SOCKETS: usize,
> Driver<'n, Node<S, C, R, STREAMS, BLOCKS, DOWNLOADS, P, A>, SOCKETS>
where
    S: Storage,
    C: Crypto,
    R: CryptoRng,
    P: Service,
    A: Application,
{
    /// Takes over the node.
    pub fn new(node: &'n mut Node<S, C, R, STREAMS, BLOCKS, DOWNLOADS, P, A>) -> Self {
        let (port, waker) = (node.config().port, RefCell::new(WakerRegistration::new()));
        let desk = Desk { port, waker, drained: Cell::new(false), dropped_datagrams: Cell::new(0) };
        Self { node: RefCell::new(node), sockets: core::array::from_fn(|_| Socket::absent()), desk }
    }

    /// Lends the node for one call, and sees to it that what comes of it is passed on. Not to be called
    /// by itself again.
    pub fn with_node<T>(
        &self,
        call: impl FnOnce(&mut Node<S, C, R, STREAMS, BLOCKS, DOWNLOADS, P, A>) -> T,
    ) -> T {
        let result = call(&mut self.node.borrow_mut());
        self.shared().touched();
        result
    }

    /// Moves datagrams and time between the network and the node, and passes on what the node wants: one
    /// future of a [`Driver`]. `buffer` takes at least [`MIN_BUFFER`] bytes. [`Output::Data`],
    /// [`Output::Moved`] and [`Output::Download`] go to `application`.
    ///
    /// It joins the discovery group of IPv4, and that of IPv6 if the feature `ipv6` is on and the stack has
    /// an address of that family, and joins again when the stack's address is another: it looks whenever
    /// the node was lent, as it is to be told its addresses. Ends only if the stack has no room for a group.
    pub async fn run(
        &self,
        stack: Stack<'_>,
        mut udp: UdpSocket<'_>,
        buffer: &mut [u8],
        application: &mut dyn FnMut(Output<'_>),
    ) -> Result<Infallible, MulticastError> {
        let (shared, mut groups) = (self.shared(), Groups::default());
        poll_fn(|cx| {
            if let Err(error) = groups.poll(now(), stack) {
                return Poll::Ready(Err(error));
            }
            shared.pump(cx, &mut udp, buffer, application);
            sleep(cx, groups.join_at);
            Poll::Pending
        })
        .await
    }

    /// Moves bytes between a socket and the node: one future for each of the `SOCKETS`. It ends at once if
    /// so many have one.
    pub async fn drive(&self, mut socket: TcpSocket<'_>) {
        let Some(place) = Place::take(self.shared()) else { return };
        // Replies are written in a few large pieces, and requests in one: holding small segments back
        // would only add the other side's delayed acknowledgement to every exchange.
        socket.set_nagle_enabled(false);
        // A host that is gone acknowledges nothing, and its socket must not be lost to us for good.
        socket.set_timeout(Some(embassy_time::Duration::from_micros(GONE.micros())));
        poll_fn(|cx| {
            place.shared.turn(cx, place.state, &mut socket);
            Poll::Pending
        })
        .await
    }

    /// Datagrams that found no room in the socket.
    pub fn dropped_datagrams(&self) -> u32 {
        self.desk.dropped_datagrams.get()
    }

    fn shared(&self) -> Shared<'_> {
        Shared { node: &self.node, sockets: &self.sockets, desk: &self.desk }
    }
}

impl<'d> Shared<'d> {
    /// Something has come to the node.
    fn touched(&self) {
        self.desk.drained.set(false);
        self.wake();
    }

    /// The node may want something.
    fn wake(&self) {
        self.desk.waker.borrow_mut().wake();
    }

    /// Wakes idle sockets if too few are listening.
    fn listen_more(&self) {
        if self.missing_listeners() {
            self.sockets.iter().filter(|socket| socket.phase.get() == Phase::Idle).for_each(Socket::wake);
        }
    }

    fn missing_listeners(&self) -> bool {
        let open = |socket: &&Socket| socket.phase.get() == Phase::Listening { begun: false };
        self.sockets.iter().filter(open).count() < listening(self.sockets.len())
    }

    fn find(&self, id: StreamId) -> Option<&'d Socket> {
        self.sockets.iter().find(|socket| socket.phase.get().stream() == Some(id))
    }

    /// A socket for a new connection: idle, or one that only waits for stray segments, for the other
    /// side to close, for a connection that may never come about, or for a reset to be sent.
    fn spare(&self) -> Option<&'d Socket> {
        let first = |wanted: fn(Phase) -> bool| self.sockets.iter().find(|socket| wanted(socket.phase.get()));
        first(|phase| phase == Phase::Idle)
            .or_else(|| first(|phase| matches!(phase, Phase::Closing { tcp: Tcp::TimeWait, .. })))
            .or_else(|| first(|phase| matches!(phase, Phase::Closing { tcp: Tcp::FinWait2, .. })))
            .or_else(|| first(|phase| phase == Phase::Listening { begun: true }))
            .or_else(|| first(|phase| matches!(phase, Phase::Closing { tcp: Tcp::Closed, .. })))
    }

    fn tell(&self, input: Input<'_>) -> usize {
        let used = self.node.borrow_mut().handle_input(now(), input);
        self.touched();
        used
    }

    fn pump(
        &self,
        cx: &mut Context<'_>,
        udp: &mut UdpSocket<'_>,
        buffer: &mut [u8],
        application: &mut dyn FnMut(Output<'_>),
    ) {
        // First: what the application does in between is for another turn.
        self.desk.waker.borrow_mut().register(cx.waker());
        if !udp.is_open() {
            // Multicast is sent with a TTL of 1; answers go to the local subnet, where that is
            // enough. The port is not zero and the socket closed, so this cannot fail.
            udp.set_hop_limit(Some(1));
            let _ = udp.bind(DISCOVERY_PORT);
        }
        let now = now();
        while udp.may_recv() {
            let _ = at_once(udp.recv_from_with(|data, meta| {
                let from = SocketAddr::new(meta.endpoint.addr.into(), meta.endpoint.port);
                self.node.borrow_mut().handle_input(now, Input::Datagram { from, data });
            }));
        }
        self.drain(now, udp, buffer, application);
        self.desk.drained.set(true);
        // Whatever has happened, there may be something to be sent.
        let connected = |phase| matches!(phase, Phase::Open { connected: true, .. });
        self.sockets.iter().filter(|socket| connected(socket.phase.get())).for_each(Socket::wake);
        let _ = udp.poll_recv_ready(cx);
        let timeout = self.node.borrow().poll_timeout(now);
        sleep(cx, timeout);
    }

    fn drain(
        &self,
        now: Instant,
        udp: &UdpSocket<'_>,
        buffer: &mut [u8],
        application: &mut dyn FnMut(Output<'_>),
    ) {
        let mut pieces = PIECES;
        loop {
            if pieces == 0 {
                // A piece is the last that a node has to say, so there are pieces alone: in another turn.
                self.wake();
                break;
            }
            let output = self.node.borrow_mut().poll_output(now, buffer);
            let Some(output) = output else { break };
            match output {
                Output::Datagram { to, data } => {
                    // Who waits for room sends late what is of no use late.
                    if !matches!(at_once(udp.send_to(data, endpoint(to))), Some(Ok(()))) {
                        let dropped = &self.desk.dropped_datagrams;
                        dropped.set(dropped.get().wrapping_add(1));
                    }
                }
                Output::Connect { stream, remote, .. } => match self.spare() {
                    Some(socket) => socket.assign(Phase::Dial { stream, remote }),
                    None => {
                        self.node.borrow_mut().handle_input(now, Input::NoSocket { stream });
                    }
                },
                Output::Close { stream } => self.end(stream, false),
                Output::Abort { stream } => self.end(stream, true),
                Output::Resume { stream } => {
                    if let Some(socket) = self.find(stream)
                        && let Phase::Open { stream, connected, eof, .. } = socket.phase.get()
                    {
                        socket.assign(Phase::Open { stream, connected, eof, blocked: false });
                    }
                }
                other @ (Output::Data { .. } | Output::Moved { .. } | Output::Download { .. }) => {
                    pieces -= usize::from(matches!(other, Output::Data { .. }));
                    application(other);
                }
            }
        }
    }

    fn end(&self, stream: StreamId, reset: bool) {
        if let Some(socket) = self.find(stream) {
            // What has not been dialled is whatever it was before: only a reset makes an end of that.
            let reset = reset || matches!(socket.phase.get(), Phase::Dial { .. });
            socket.assign(Phase::Ending { reset });
        }
    }

    /// Does all that there is to do for a socket.
    fn turn(&self, cx: &mut Context<'_>, state: &Socket, socket: &mut TcpSocket<'_>) {
        loop {
            let before = state.phase.get();
            match before {
                Phase::Absent => {}
                Phase::Idle => self.listen(state, socket),
                Phase::Listening { .. } => self.accept(state, socket),
                Phase::Dial { stream, remote } => self.dial(state, socket, stream, remote),
                Phase::Open { .. } => {
                    self.receive(state, socket);
                    self.send(state, socket);
                }
                Phase::Ending { reset: false } => {
                    socket.close();
                    state.phase.set(Phase::closing(now(), socket));
                }
                Phase::Ending { reset: true } => {
                    socket.abort();
                    state.phase.set(Phase::reset(now()));
                }
                Phase::Closing { deadline, drained, .. } => close(state, socket, deadline, drained),
            }
            if state.phase.get() == before {
                break;
            }
            // Others have to listen where this one does not any more.
            self.listen_more();
        }
        state.waker.borrow_mut().register(cx.waker());
        // The stack forgets a waker once it has used it.
        let _ = pin!(socket.wait_read_ready()).poll(cx);
        let _ = pin!(socket.wait_write_ready()).poll(cx);
        if let Phase::Closing { deadline, .. } = state.phase.get()
            && socket.state() != Tcp::TimeWait
        {
            sleep(cx, Some(deadline));
        }
    }

    fn listen(&self, state: &Socket, socket: &mut TcpSocket<'_>) {
        if self.missing_listeners() {
            // The port is not zero and the socket closed, so this waits.
            let waits = at_once(socket.accept(self.desk.port)).is_none();
            if waits {
                state.phase.set(Phase::Listening { begun: false });
            }
        }
    }

    fn accept(&self, state: &Socket, socket: &TcpSocket<'_>) {
        match socket.state() {
            Tcp::Listen => state.phase.set(Phase::Listening { begun: false }),
            Tcp::SynReceived => state.phase.set(Phase::Listening { begun: true }),
            Tcp::Closed => state.phase.set(Phase::reset(now())),
            _ => {
                let remote =
                    socket.remote_endpoint().map(|remote| SocketAddr::new(remote.addr.into(), remote.port));
                let accepted = remote.and_then(|remote| self.node.borrow_mut().accept(now(), remote));
                // Another connection may have to end for it.
                self.touched();
                state.phase.set(match accepted {
                    Some(stream) => Phase::Open { stream, connected: true, eof: false, blocked: false },
                    None => Phase::Ending { reset: true },
                });
            }
        }
    }

    fn dial(&self, state: &Socket, socket: &mut TcpSocket<'_>, stream: StreamId, remote: SocketAddr) {
        if socket.state() != Tcp::Closed {
            socket.abort();
        }
        // An address that no packet can go to, or none of our own to come from: not for want of
        // sockets, so waiting for one would not help.
        if at_once(socket.connect(endpoint(remote))).is_some_and(|result| result.is_err()) {
            state.phase.set(Phase::Idle);
            self.tell(Input::Lost { stream });
        } else {
            state.phase.set(Phase::Open { stream, connected: false, eof: false, blocked: false });
        }
    }

    fn receive(&self, state: &Socket, socket: &mut TcpSocket<'_>) {
        let Phase::Open { stream, mut connected, mut eof, mut blocked } = state.phase.get() else { return };
        if !connected && socket.may_send() {
            connected = true;
            self.tell(Input::Connected { stream });
        }
        // A ring gives only what lies in one piece: all of it is taken before an end counts.
        while !blocked && socket.can_recv() {
            let read = at_once(socket.read_with(|data| {
                let used = self.tell(Input::Data { stream, data });
                (used, used < data.len())
            }));
            let Some(Ok(left)) = read else { break };
            blocked = left;
        }
        if !socket.can_recv() {
            if socket.state() == Tcp::Closed {
                self.tell(Input::Lost { stream });
                state.phase.set(Phase::reset(now()));
                return;
            }
            if connected && !eof && !socket.may_recv() {
                eof = true;
                self.tell(Input::Eof { stream });
            }
        }
        state.phase.set(Phase::Open { stream, connected, eof, blocked });
    }

    fn send(&self, state: &Socket, socket: &mut TcpSocket<'_>) {
        let Phase::Open { stream, connected: true, .. } = state.phase.get() else { return };
        // Whoever drains it wakes all that are connected.
        while self.desk.drained.get() && socket.can_send() {
            // The block goes from the store into the socket's own free room.
            let written = at_once(socket.write_with(|room| {
                match self.node.borrow_mut().poll_stream(now(), stream, room) {
                    Ok(len) => (len, Ok(len)),
                    Err(error) => (0, Err(error)),
                }
            }));
            match written {
                None | Some(Err(_) | Ok(Ok(0))) => break,
                Some(Ok(Ok(_))) => self.wake(),
                Some(Ok(Err(_))) => {
                    state.phase.set(Phase::Ending { reset: true });
                    self.wake();
                    break;
                }
            }
        }
    }
}

fn close(state: &Socket, socket: &TcpSocket<'_>, deadline: Instant, drained: bool) {
    let (tcp, now) = (socket.state(), now());
    let over = deadline <= now;
    state.phase.set(match tcp {
        // The reset has been sent, or cannot be.
        Tcp::Closed if socket.remote_endpoint().is_none() || over => Phase::Idle,
        Tcp::Closed | Tcp::TimeWait => Phase::Closing { deadline, drained, tcp },
        _ if !drained && socket.send_queue() == 0 => {
            Phase::Closing { deadline: now + LINGER, drained: true, tcp }
        }
        _ if over => Phase::Ending { reset: true },
        _ => Phase::Closing { deadline, drained, tcp },
    });
}

impl Socket {
    fn absent() -> Self {
        Self { phase: Cell::new(Phase::Absent), waker: RefCell::new(WakerRegistration::new()) }
    }

    fn wake(&self) {
        self.waker.borrow_mut().wake();
    }

    /// Has its owner do something else.
    fn assign(&self, phase: Phase) {
        self.phase.set(phase);
        self.wake();
    }
}

impl Phase {
    /// What was polled may still be on its way: it has the time of an upload.
    fn closing(now: Instant, socket: &TcpSocket<'_>) -> Self {
        Self::Closing { deadline: now + UPLOAD_TIMEOUT, drained: false, tcp: socket.state() }
    }

    /// The other side is still to be told.
    fn reset(now: Instant) -> Self {
        Self::Closing { deadline: now + LINGER, drained: true, tcp: Tcp::Closed }
    }

    fn stream(self) -> Option<StreamId> {
        match self {
            Self::Dial { stream, .. } | Self::Open { stream, .. } => Some(stream),
            _ => None,
        }
    }
}

/// Who drives a socket; its place is free again where that ends.
struct Place<'d> {
    shared: Shared<'d>,
    state: &'d Socket,
}

impl<'d> Place<'d> {
    fn take(shared: Shared<'d>) -> Option<Self> {
        let state = shared.sockets.iter().find(|socket| socket.phase.get() == Phase::Absent)?;
        state.phase.set(Phase::Idle);
        Some(Self { shared, state })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let phase = self.state.phase.replace(Phase::Absent);
        if let Some(stream) = phase.stream() {
            self.shared.tell(Input::Lost { stream });
        }
        self.shared.listen_more();
    }
}

/// The groups of discovery.
#[derive(Default)]
struct Groups {
    /// The address with which we joined.
    joined: Option<Option<Ipv4Addr>>,
    /// When the stack will have told everybody that we left.
    join_at: Option<Instant>,
    #[cfg(feature = "ipv6")]
    joined_v6: bool,
}

impl Groups {
    fn poll(&mut self, now: Instant, stack: Stack<'_>) -> Result<(), MulticastError> {
        #[cfg(feature = "ipv6")]
        if !self.joined_v6 && stack.config_v6().is_some() {
            stack.join_multicast_group(endpoint(GROUP_V6).addr)?;
            self.joined_v6 = true;
        }
        let group = endpoint(GROUP_V4).addr;
        let ours = stack.config_v4().map(|config| config.address.address());
        if self.joined == Some(ours) {
            return Ok(());
        }
        // Whoever joined without an address, or with another, has told nobody of this one.
        if self.joined.take().is_some() {
            self.join_at = Some(now + LEAVING);
            return stack.leave_multicast_group(group);
        }
        if self.join_at.is_none_or(|at| at <= now) {
            stack.join_multicast_group(group)?;
            (self.joined, self.join_at) = (Some(ours), None);
        }
        Ok(())
    }
}

/// What a future gives without waiting.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// Has the task woken at `at`, or after the others if that is over.
fn sleep(cx: &mut Context<'_>, at: Option<Instant>) {
    match at {
        Some(at) if at <= now() => cx.waker().wake_by_ref(),
        Some(at) => {
            let timer = Timer::at(embassy_time::Instant::from_micros(at.micros()));
            let _ = pin!(timer).poll(cx);
        }
        None => {}
    }
}

fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}

#[cfg(test)]
mod tests;
