//! The connections of downloads to their origins, and those to hosted caches that take offers: to which address
//! they go, and whether by TLS.
//!
//! This is a layer between a node and its driver, whichever that is. The node asks for one connection; the
//! layer tries one address of the origin after the other until one comes about, secures it if it has to be,
//! and passes plain bytes between the two.

use core::net::SocketAddr;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::string::String;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::vec::Vec;

use peerdist_core::node::{DownloadId, Input, Output, Purpose, StreamError, StreamId};
use peerdist_core::time::{Duration, Instant, earliest};

use super::Trouble;
#[cfg(feature = "negotiate")]
use super::negotiate::{Exchange, Tokens};
#[cfg(feature = "tls")]
use super::tls::{Peer, Session};
#[cfg(feature = "tls")]
use crate::machine::LINGER;
use crate::machine::Machine;

/// How long an address may be silent before the next one is tried: of the segments that open a connection
/// three are sent by then (RFC 6298, 2), and no line takes as long. The last one has all the time that the
/// node gives it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the handshake of TLS may take on an open connection before the next address is tried.
#[cfg(feature = "tls")]
const HANDSHAKE: Duration = Duration::from_secs(20);

/// Plain bytes that are taken from the node at once; a session holds what becomes of more than that.
#[cfg(feature = "tls")]
const PLAIN_BYTES: usize = 16 * 1024;

/// What is known of the origins of downloads, and their connections.
#[derive(Default)]
pub struct Origins {
    origins: HashMap<Purpose, Origin>,
    streams: HashMap<StreamId, Stream>,
    /// For the driver, before what the node says.
    due: VecDeque<Due>,
}

#[derive(Default)]
struct Origin {
    addresses: Vec<SocketAddr>,
    /// That of the latest connection which came about.
    best: usize,
    connected: bool,
    trouble: Option<Trouble>,
    #[cfg(feature = "tls")]
    tls: Option<Peer>,
    /// What tells it who we are, if it may be told.
    #[cfg(feature = "negotiate")]
    tokens: Option<Tokens>,
}

struct Stream {
    purpose: Purpose,
    phase: Phase,
    /// Which address was tried first.
    first: usize,
    /// Those that were tried before this one, and why in vain.
    failed: Vec<(SocketAddr, io::Error)>,
    /// If it has to be secured: nothing else passes then, whatever becomes of the download.
    #[cfg(feature = "tls")]
    peer: Option<Peer>,
    #[cfg(feature = "tls")]
    secured: Option<Secured>,
    /// The message to who may be told who we are.
    #[cfg(feature = "negotiate")]
    exchange: Option<std::boxed::Box<Exchange>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The next address is about to be tried. What the driver still says is about the last one.
    Redialing,
    /// It has to be open, or its handshake over, by then, if there is another address.
    Opening(Option<Instant>),
    Open,
    /// The node has forgotten it; what is encrypted still goes out, until then.
    #[cfg(feature = "tls")]
    Closing(Instant),
}

#[cfg(feature = "tls")]
struct Secured {
    session: Session,
    /// Plain bytes that the node did not use so far: what is behind `used`.
    held: Vec<u8>,
    used: usize,
    /// Whether the node knows the end.
    ended: bool,
    /// How the connection ended before its end was announced: the node learns it behind what is held.
    cut: Option<io::Error>,
}

#[derive(Clone, Copy)]
enum Due {
    Connect(StreamId, SocketAddr),
    #[cfg(feature = "tls")]
    Close(StreamId),
    Abort(StreamId),
    #[cfg(feature = "negotiate")]
    Resume(StreamId),
}

/// A node, as its driver sees it.
pub(crate) struct Layer<'a> {
    pub(crate) node: &'a mut dyn Machine,
    pub(crate) origins: &'a mut Origins,
}

impl Origins {
    /// The addresses of a download's origin, which are tried in this order until a connection comes about;
    /// without this, it is the one that the node knows. To be called before the node is polled.
    pub fn reach(&mut self, download: DownloadId, addresses: Vec<SocketAddr>) {
        self.origins.entry(Purpose::Origin(download)).or_default().addresses = addresses;
    }

    /// The connections of a download to its origin are secured by TLS, and the origin has to prove
    /// that it is `name`. To be called before the node is polled.
    #[cfg(feature = "tls")]
    pub fn secure(
        &mut self,
        download: DownloadId,
        config: Arc<rustls::ClientConfig>,
        name: rustls::pki_types::ServerName<'static>,
    ) {
        self.origins.entry(Purpose::Origin(download)).or_default().tls = Some(Peer { config, name });
    }

    /// The same of connections by which something is offered to the hosted cache of that number (MS-PCHC 2.1: those of
    /// version 1.0).
    #[cfg(feature = "tls")]
    pub fn secure_offers(
        &mut self,
        number: u8,
        config: Arc<rustls::ClientConfig>,
        name: rustls::pki_types::ServerName<'static>,
    ) {
        self.origins.entry(Purpose::Offers(number)).or_default().tls = Some(Peer { config, name });
    }

    /// Why the latest connection by which something was to be offered to that hosted cache failed, once.
    pub fn take_offers_trouble(&mut self, number: u8) -> Option<Trouble> {
        self.origins.get_mut(&Purpose::Offers(number))?.trouble.take()
    }

    /// Why the latest connection of a download to its origin failed, once. If it came about at none of
    /// several addresses, that of each is named.
    pub fn take_trouble(&mut self, download: DownloadId) -> Option<Trouble> {
        let origin = self.origins.get_mut(&Purpose::Origin(download))?;
        origin.trouble.take().map(|trouble| Trouble { connected: origin.connected, ..trouble })
    }

    /// A download is over: nothing of it is kept.
    pub fn forget(&mut self, download: DownloadId) {
        self.origins.remove(&Purpose::Origin(download));
    }

    /// Whether anything is done to connections of that kind: to those of all downloads, and of offers only where they
    /// are secured.
    fn cares_for(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Blocks => false,
            Purpose::Origin(_) => true,
            Purpose::Offers(_) => self.origins.contains_key(&purpose),
        }
    }

    /// The end of the time that an attempt on a stream has, if there is another address to try.
    fn deadline(&self, now: Instant, row: &Stream, patience: Duration) -> Option<Instant> {
        let origin = self.origins.get(&row.purpose)?;
        (row.failed.len().saturating_add(1) < origin.addresses.len()).then_some(now + patience)
    }

    fn begin(&mut self, now: Instant, stream: StreamId, mut row: Stream) {
        row.phase = Phase::Opening(self.deadline(now, &row, PATIENCE));
        self.streams.insert(stream, row);
    }
}

impl Machine for Layer<'_> {
    fn accept(&mut self, now: Instant, remote: SocketAddr) -> Option<StreamId> {
        self.node.accept(now, remote)
    }

    #[cfg(any(feature = "tls", all(feature = "smoltcp", feature = "std")))]
    fn accept_secured(&mut self, now: Instant, remote: SocketAddr) -> Option<StreamId> {
        self.node.accept_secured(now, remote)
    }

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        let (stream, len) = match input {
            Input::Data { stream, data } => (stream, data.len()),
            Input::Connected { stream }
            | Input::Eof { stream }
            | Input::Lost { stream }
            | Input::NoSocket { stream } => (stream, 0),
            Input::Timeout | Input::Datagram { .. } => return self.node.handle_input(now, input),
        };
        let Some(row) = self.origins.streams.get(&stream) else { return self.node.handle_input(now, input) };
        match (input, row.phase) {
            (Input::NoSocket { .. }, _) => {
                self.origins.streams.remove(&stream);
                self.node.handle_input(now, input);
            }
            (Input::Lost { .. }, _) => {
                let kind = if row.is_secured() {
                    io::ErrorKind::ConnectionReset
                } else {
                    io::ErrorKind::NotConnected
                };
                self.lost(now, stream, io::Error::new(kind, "refused, unreachable or lost"));
            }
            (Input::Connected { .. }, Phase::Opening(_)) if !row.is_secured() => {
                self.handle_connected(now, stream);
            }
            #[cfg(feature = "tls")]
            (Input::Data { data, .. }, Phase::Opening(_) | Phase::Open) if row.is_secured() => {
                return self.handle_encrypted(now, stream, data);
            }
            #[cfg(feature = "tls")]
            (Input::Eof { .. }, Phase::Opening(_) | Phase::Open) if row.is_secured() => {
                if let Some(error) = self.defer(stream, io::ErrorKind::UnexpectedEof.into()) {
                    self.give_up(now, stream, error);
                }
            }
            (Input::Data { .. } | Input::Eof { .. }, Phase::Open) => {
                return self.node.handle_input(now, input);
            }
            // Of a connection that is not open for the node, it hears nothing.
            _ => {}
        }
        len
    }

    fn poll_output<'b>(&mut self, now: Instant, buffer: &'b mut [u8]) -> Option<Output<'b>> {
        self.expire(now);
        #[cfg(feature = "negotiate")]
        self.prove(now);
        while let Some(due) = self.origins.due.pop_front() {
            match due {
                Due::Connect(stream, remote) => {
                    let Some(row) = self.origins.streams.remove(&stream) else { continue };
                    let purpose = row.purpose;
                    self.origins.begin(now, stream, row);
                    return Some(Output::Connect { stream, remote, purpose });
                }
                Due::Abort(stream) => return Some(Output::Abort { stream }),
                #[cfg(feature = "tls")]
                Due::Close(stream) => return Some(Output::Close { stream }),
                #[cfg(feature = "negotiate")]
                Due::Resume(stream) => return Some(Output::Resume { stream }),
            }
        }
        let output = self.node.poll_output(now, buffer)?;
        match output {
            Output::Connect { stream, remote, purpose } if self.origins.cares_for(purpose) => {
                let origin = self.origins.origins.entry(purpose).or_default();
                if origin.addresses.is_empty() {
                    origin.addresses.push(remote);
                }
                let remote = origin.addresses.get(origin.best).copied().unwrap_or(remote);
                let row = Stream::new(purpose, origin);
                self.origins.begin(now, stream, row);
                Some(Output::Connect { stream, remote, purpose })
            }
            #[cfg(feature = "tls")]
            Output::Close { stream } if self.origins.streams.get(&stream).is_some_and(Stream::is_secured) => {
                self.close(now, stream);
                // The end of it comes when its last bytes have been polled, for which it is looked at.
                Some(Output::Resume { stream })
            }
            Output::Close { stream } | Output::Abort { stream } => {
                if let Some(row) = self.origins.streams.remove(&stream) {
                    self.dropped(row);
                }
                Some(output)
            }
            #[cfg(feature = "tls")]
            Output::Resume { stream } => {
                self.deliver(now, stream);
                Some(output)
            }
            output => Some(output),
        }
    }

    fn poll_stream(&mut self, now: Instant, stream: StreamId, room: &mut [u8]) -> Result<usize, StreamError> {
        #[cfg(feature = "tls")]
        if let Some(row) = self.origins.streams.get_mut(&stream)
            && let Some(secured) = &mut row.secured
        {
            let len = secured.session.poll(room);
            return match row.phase {
                _ if len > 0 => Ok(len),
                Phase::Redialing | Phase::Opening(_) => Ok(0),
                Phase::Open => self.poll_plain(now, stream, room),
                Phase::Closing(_) => {
                    self.origins.streams.remove(&stream);
                    self.origins.due.push_back(Due::Close(stream));
                    Ok(0)
                }
            };
        }
        if self.origins.streams.get(&stream).is_some_and(|row| row.phase != Phase::Open) {
            return Ok(0);
        }
        let result = self.node.poll_stream(now, stream, room);
        if result.is_err() {
            self.origins.streams.remove(&stream);
        }
        result
    }

    fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if !self.origins.due.is_empty() {
            return Some(now);
        }
        let deadlines = self.origins.streams.values().filter_map(Stream::deadline);
        let next = earliest(deadlines.min(), self.node.poll_timeout(now));
        #[cfg(feature = "negotiate")]
        let next = earliest(next, self.origins.token_timeout(now));
        next
    }
}

impl Layer<'_> {
    /// A connection is lost, or did not come about: the driver knows no more of it.
    pub(crate) fn lost(&mut self, now: Instant, stream: StreamId, error: io::Error) {
        match self.origins.streams.get(&stream).map(|row| row.phase) {
            None => {
                self.node.handle_input(now, Input::Lost { stream });
                return;
            }
            Some(Phase::Redialing) => return,
            Some(_) => {}
        }
        #[cfg(feature = "tls")]
        let Some(error) = self.defer(stream, error) else { return };
        let Some(mut row) = self.origins.streams.remove(&stream) else { return };
        match self.next_address(&mut row, error) {
            _ if row.is_closing() => {}
            Ok(next) => self.redial(stream, row, next),
            Err(error) => self.tell(now, stream, &row, error),
        }
    }

    /// We end a connection of which the driver still knows.
    fn give_up(&mut self, now: Instant, stream: StreamId, error: io::Error) {
        let Some(mut row) = self.origins.streams.remove(&stream) else { return };
        match self.next_address(&mut row, error) {
            Ok(next) => {
                self.origins.due.push_back(Due::Abort(stream));
                self.redial(stream, row, next);
            }
            Err(error) => {
                self.tell(now, stream, &row, error);
                #[cfg(feature = "tls")]
                if row.secured.is_some() {
                    // The other side learns why, if it can be told.
                    row.phase = Phase::Closing(now + LINGER);
                    self.origins.streams.insert(stream, row);
                    return;
                }
                self.origins.due.push_back(Due::Abort(stream));
            }
        }
    }

    /// The address to try after `error`, or what is to be said if there is none.
    fn next_address(&self, row: &mut Stream, error: io::Error) -> io::Result<SocketAddr> {
        let (Phase::Opening(_), Some(origin)) = (row.phase, self.origins.origins.get(&row.purpose)) else {
            return Err(error);
        };
        let Some(tried) = origin.address(row) else { return Err(error) };
        row.failed.push((tried, error));
        if row.failed.len() < origin.addresses.len()
            && let Some(next) = origin.address(row)
        {
            return Ok(next);
        }
        Err(row.failures())
    }

    fn redial(&mut self, stream: StreamId, mut row: Stream, next: SocketAddr) {
        row.phase = Phase::Redialing;
        #[cfg(feature = "tls")]
        {
            row.secured = None;
        }
        self.origins.streams.insert(stream, row);
        self.origins.due.push_back(Due::Connect(stream, next));
    }

    /// The node and who asks learn that a connection is lost.
    fn tell(&mut self, now: Instant, stream: StreamId, row: &Stream, error: io::Error) {
        if let Some(origin) = self.origins.origins.get_mut(&row.purpose) {
            origin.trouble(row, error);
        }
        self.node.handle_input(now, Input::Lost { stream });
    }

    /// The node has dropped a connection: if it did not come about, that was for silence.
    fn dropped(&mut self, mut row: Stream) {
        if let Phase::Opening(_) = row.phase
            && let Some(origin) = self.origins.origins.get_mut(&row.purpose).filter(|it| !it.connected)
            && let Some(address) = origin.address(&row)
        {
            row.failed.push((address, io::ErrorKind::TimedOut.into()));
            origin.trouble(&row, row.failures());
        }
    }

    fn handle_connected(&mut self, now: Instant, stream: StreamId) {
        #[cfg(feature = "tls")]
        if let Some(row) = self.origins.streams.get(&stream)
            && let Some(peer) = &row.peer
        {
            let deadline = self.origins.deadline(now, row, HANDSHAKE);
            let session = match Session::new(peer) {
                Ok(session) => session,
                Err(error) => return self.give_up(now, stream, error),
            };
            if let Some(row) = self.origins.streams.get_mut(&stream) {
                row.secured = Some(Secured::new(session));
                row.phase = Phase::Opening(deadline);
            }
            return;
        }
        self.opened(now, stream);
    }

    /// Plain bytes can pass.
    fn opened(&mut self, now: Instant, stream: StreamId) {
        let Origins { origins, streams, .. } = &mut *self.origins;
        let Some(row) = streams.get_mut(&stream) else { return };
        row.phase = Phase::Open;
        if let Some(origin) = origins.get_mut(&row.purpose) {
            origin.best = origin.index(row);
            origin.connected = true;
        }
        row.failed = Vec::new();
        #[cfg(feature = "negotiate")]
        if row.exchange.as_mut().is_some_and(|exchange| exchange.reconnected()) {
            return;
        }
        self.node.handle_input(now, Input::Connected { stream });
    }

    /// Gives up what has run out of time.
    fn expire(&mut self, now: Instant) {
        let due = |(stream, row): (&StreamId, &Stream)| {
            row.deadline().is_some_and(|deadline| deadline <= now).then_some((*stream, row.phase))
        };
        while let Some((stream, phase)) = self.origins.streams.iter().find_map(due) {
            match phase {
                #[cfg(feature = "tls")]
                Phase::Closing(_) => {
                    self.origins.streams.remove(&stream);
                    self.origins.due.push_back(Due::Close(stream));
                }
                _ => self.give_up(now, stream, io::ErrorKind::TimedOut.into()),
            }
        }
    }
}

#[cfg(feature = "tls")]
impl Layer<'_> {
    /// Takes note that a connection ended with `error`. Hands that back if it counts now: not while the node
    /// has still to take what came before, and not at all once the end was announced.
    fn defer(&mut self, stream: StreamId, error: io::Error) -> Option<io::Error> {
        #[cfg(feature = "negotiate")]
        if self.origins.cut(stream) {
            return None;
        }
        let open = self.origins.streams.get_mut(&stream).filter(|row| row.phase == Phase::Open);
        let Some(secured) = open.and_then(|row| row.secured.as_mut()) else { return Some(error) };
        if secured.session.is_closed() {
            return None;
        }
        if secured.used == secured.held.len() {
            return Some(error);
        }
        secured.cut = Some(error);
        None
    }

    fn handle_encrypted(&mut self, now: Instant, stream: StreamId, data: &[u8]) -> usize {
        let mut used = 0usize;
        while used < data.len() && self.deliver(now, stream) {
            let Some(row) = self.origins.streams.get_mut(&stream) else { return data.len() };
            let (phase, Some(secured)) = (row.phase, &mut row.secured) else { return data.len() };
            if matches!(phase, Phase::Closing(_)) {
                return data.len();
            }
            match secured.session.decrypt(data.get(used..).unwrap_or_default(), &mut secured.held) {
                Ok(len) => used = used.saturating_add(len),
                Err(error) => {
                    self.give_up(now, stream, error);
                    return data.len();
                }
            }
            let is_secured = !secured.session.is_handshaking();
            #[cfg(feature = "negotiate")]
            self.origins.take_reply(now, stream);
            if matches!(phase, Phase::Opening(_)) && is_secured {
                self.opened(now, stream);
            }
        }
        self.deliver(now, stream);
        used
    }

    /// Offers the node the plain bytes that it did not use before, and behind them the end; whether it used all.
    fn deliver(&mut self, now: Instant, stream: StreamId) -> bool {
        #[cfg(feature = "negotiate")]
        if self.origins.take_end(now, stream) {
            return true;
        }
        let Self { node, origins } = self;
        let Some(row) = origins.streams.get_mut(&stream).filter(|row| row.phase == Phase::Open) else {
            return true;
        };
        let Some(secured) = &mut row.secured else { return true };
        let data = secured.held.get(secured.used..).unwrap_or_default();
        if !data.is_empty() {
            secured.used = secured.used.saturating_add(node.handle_input(now, Input::Data { stream, data }));
            if secured.used < secured.held.len() {
                return false;
            }
            secured.held.clear();
            secured.used = 0;
        }
        if secured.session.is_closed() && !core::mem::replace(&mut secured.ended, true) {
            node.handle_input(now, Input::Eof { stream });
        }
        if let Some(error) = secured.cut.take() {
            self.give_up(now, stream, error);
        }
        true
    }

    /// What the node wants to send, encrypted.
    fn poll_plain(&mut self, now: Instant, stream: StreamId, room: &mut [u8]) -> Result<usize, StreamError> {
        let most = room.len().min(PLAIN_BYTES);
        let room_for_plain = room.get_mut(..most).unwrap_or_default();
        #[cfg(feature = "negotiate")]
        let len = self.poll_message(now, stream, room_for_plain);
        #[cfg(not(feature = "negotiate"))]
        let len = self.node.poll_stream(now, stream, room_for_plain);
        let row = self.origins.streams.get_mut(&stream).and_then(|row| row.secured.as_mut());
        let (Ok(len), Some(Secured { session, .. })) = (len, row) else {
            self.origins.streams.remove(&stream);
            return Err(StreamError);
        };
        match session.encrypt(room.get(..len).unwrap_or_default()) {
            Ok(()) => Ok(session.poll(room)),
            Err(error) => {
                if let Some(row) = self.origins.streams.remove(&stream) {
                    self.tell(now, stream, &row, error);
                }
                Err(StreamError)
            }
        }
    }

    /// The node has no more to say.
    fn close(&mut self, now: Instant, stream: StreamId) {
        let Some(row) = self.origins.streams.get_mut(&stream) else { return };
        row.phase = Phase::Closing(now + LINGER);
        if let Some(secured) = &mut row.secured {
            secured.session.close();
        }
    }
}

impl Origin {
    /// Which address a connection goes to.
    fn index(&self, row: &Stream) -> usize {
        row.first.saturating_add(row.failed.len()).checked_rem(self.addresses.len()).unwrap_or_default()
    }

    fn address(&self, row: &Stream) -> Option<SocketAddr> {
        self.addresses.get(self.index(row)).copied()
    }

    fn trouble(&mut self, row: &Stream, error: io::Error) {
        let refused = !row.failed.is_empty() && row.failed.iter().all(|(_, error)| is_refusal(error));
        self.trouble = Some(Trouble { connected: self.connected, refused, error });
    }
}

impl Stream {
    /// A connection that nothing was done for so far.
    fn new(purpose: Purpose, origin: &Origin) -> Self {
        Self {
            purpose,
            phase: Phase::Redialing,
            first: origin.best,
            failed: Vec::new(),
            #[cfg(feature = "tls")]
            peer: origin.tls.clone(),
            #[cfg(feature = "tls")]
            secured: None,
            #[cfg(feature = "negotiate")]
            exchange: origin.tokens.as_ref().map(|_| Exchange::new().into()),
        }
    }

    #[cfg(feature = "tls")]
    fn is_secured(&self) -> bool {
        self.secured.is_some()
    }

    #[cfg(not(feature = "tls"))]
    fn is_secured(&self) -> bool {
        false
    }

    #[cfg(feature = "tls")]
    fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing(_))
    }

    #[cfg(not(feature = "tls"))]
    fn is_closing(&self) -> bool {
        false
    }

    /// Why no connection came about at any of the addresses.
    fn failures(&self) -> io::Error {
        let kind = self.failed.last().map_or(io::ErrorKind::Other, |(_, error)| error.kind());
        let all = self.failed.iter().map(|(address, error)| std::format!("{address}: {error}"));
        io::Error::new(kind, all.collect::<Vec<String>>().join("; "))
    }

    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Redialing | Phase::Open => None,
            Phase::Opening(deadline) => deadline,
            #[cfg(feature = "tls")]
            Phase::Closing(deadline) => Some(deadline),
        }
    }
}

#[cfg(feature = "tls")]
impl Secured {
    fn new(session: Session) -> Self {
        Self { session, held: Vec::new(), used: 0, ended: false, cut: None }
    }
}

/// Whether an attempt was in vain for a reason that stays: not for silence, nor for an end in the middle.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    let passes = matches!(error.kind(), E::TimedOut | E::ConnectionReset | E::ConnectionAborted);
    !passes && !matches!(error.kind(), E::BrokenPipe | E::UnexpectedEof)
}

#[cfg(feature = "negotiate")]
mod negotiated;
#[cfg(test)]
mod tests;
