//! The connections of downloads to their origins: to which address they go, and whether by TLS.
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

use peerdist_core::node::{DownloadId, Input, Output, StreamError, StreamId};
use peerdist_core::time::{Duration, Instant, earliest};

use super::Trouble;
#[cfg(feature = "tls")]
use super::tls::{Peer, Session};
#[cfg(feature = "tls")]
use crate::machine::LINGER;
use crate::machine::Machine;

/// How long an address may be silent before the next one is tried: of the segments that open a connection
/// three are sent by then (RFC 6298, 2), and no line takes as long.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the handshake of TLS may take on an open connection.
#[cfg(feature = "tls")]
const HANDSHAKE: Duration = Duration::from_secs(20);

/// Plain bytes that are taken from the node at once; a session holds what becomes of more than that.
#[cfg(feature = "tls")]
const PLAIN_BYTES: usize = 16 * 1024;

/// What is known of the origins of downloads, and their connections.
#[derive(Default)]
pub(crate) struct Origins {
    downloads: HashMap<DownloadId, Origin>,
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
    error: Option<io::Error>,
    #[cfg(feature = "tls")]
    tls: Option<Peer>,
}

struct Stream {
    download: DownloadId,
    phase: Phase,
    /// Which address was tried first.
    first: usize,
    /// Those that were tried before this one, and why in vain.
    failed: Vec<(SocketAddr, io::Error)>,
    #[cfg(feature = "tls")]
    secured: Option<Secured>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has to be open, and its handshake over, by then.
    Opening(Instant),
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
}

#[derive(Clone, Copy)]
enum Due {
    Connect(StreamId, SocketAddr, DownloadId),
    #[cfg(feature = "tls")]
    Close(StreamId),
    Abort(StreamId),
}

/// A node, as its driver sees it.
pub(crate) struct Layer<'a> {
    pub(crate) node: &'a mut dyn Machine,
    pub(crate) origins: &'a mut Origins,
}

impl Origins {
    /// The addresses of a download's origin, in the order in which they are tried.
    pub(crate) fn reach(&mut self, download: DownloadId, addresses: Vec<SocketAddr>) {
        self.downloads.entry(download).or_default().addresses = addresses;
    }

    /// The connections of a download are secured.
    #[cfg(feature = "tls")]
    pub(crate) fn secure(
        &mut self,
        download: DownloadId,
        config: Arc<rustls::ClientConfig>,
        name: rustls::pki_types::ServerName<'static>,
    ) {
        self.downloads.entry(download).or_default().tls = Some(Peer { config, name });
    }

    /// Why the latest connection failed, once.
    pub(crate) fn take_trouble(&mut self, download: DownloadId) -> Option<Trouble> {
        let origin = self.downloads.get_mut(&download)?;
        origin.error.take().map(|error| Trouble { connected: origin.connected, error })
    }

    /// A download is over.
    pub(crate) fn forget(&mut self, download: DownloadId) {
        self.downloads.remove(&download);
    }
}

impl Machine for Layer<'_> {
    fn accept(&mut self, now: Instant, remote: SocketAddr) -> Option<StreamId> {
        self.node.accept(now, remote)
    }

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        match input {
            Input::Connected { stream } if self.origins.streams.contains_key(&stream) => {
                self.handle_connected(now, stream);
                0
            }
            Input::Lost { stream } if self.origins.streams.contains_key(&stream) => {
                let error = io::Error::new(io::ErrorKind::NotConnected, "refused, unreachable or lost");
                self.lost(now, stream, error);
                0
            }
            Input::NoSocket { stream } => {
                self.origins.streams.remove(&stream);
                self.node.handle_input(now, input)
            }
            #[cfg(feature = "tls")]
            Input::Data { stream, data } if self.secured(stream).is_some() => {
                self.handle_encrypted(now, stream, data)
            }
            #[cfg(feature = "tls")]
            Input::Eof { stream } if self.secured(stream).is_some() => {
                // What the session announced is told when the node has taken all that came before.
                let open = |row: &Stream| {
                    let closed = row.secured.as_ref().is_some_and(|secured| secured.session.is_closed());
                    !closed && !row.is_closing()
                };
                if self.origins.streams.get(&stream).is_some_and(open) {
                    self.give_up(now, stream, io::ErrorKind::UnexpectedEof.into());
                }
                0
            }
            input => self.node.handle_input(now, input),
        }
    }

    fn poll_output<'b>(&mut self, now: Instant, buffer: &'b mut [u8]) -> Option<Output<'b>> {
        self.expire(now);
        match self.origins.due.pop_front() {
            Some(Due::Connect(stream, remote, download)) => {
                return Some(Output::Connect { stream, remote, download: Some(download) });
            }
            Some(Due::Abort(stream)) => return Some(Output::Abort { stream }),
            #[cfg(feature = "tls")]
            Some(Due::Close(stream)) => return Some(Output::Close { stream }),
            None => {}
        }
        let output = self.node.poll_output(now, buffer)?;
        match output {
            Output::Connect { stream, remote, download: Some(download) } => {
                let origin = self.origins.downloads.entry(download).or_default();
                if origin.addresses.is_empty() {
                    origin.addresses.push(remote);
                }
                let remote = origin.addresses.get(origin.best).copied().unwrap_or(remote);
                self.origins.streams.insert(stream, Stream::new(now, download, origin.best));
                Some(Output::Connect { stream, remote, download: Some(download) })
            }
            #[cfg(feature = "tls")]
            Output::Close { stream } if self.secured(stream).is_some() => {
                self.close(now, stream);
                // The end of it comes when its last bytes have been polled, for which it is looked at.
                Some(Output::Resume { stream })
            }
            Output::Close { stream } | Output::Abort { stream } => {
                self.origins.streams.remove(&stream);
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
                Phase::Opening(_) => Ok(0),
                Phase::Open => self.poll_plain(now, stream, room),
                Phase::Closing(_) => {
                    self.origins.streams.remove(&stream);
                    self.origins.due.push_back(Due::Close(stream));
                    Ok(0)
                }
            };
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
        earliest(deadlines.min(), self.node.poll_timeout(now))
    }
}

impl Layer<'_> {
    /// A connection is lost, or did not come about: the driver knows no more of it.
    pub(crate) fn lost(&mut self, now: Instant, stream: StreamId, error: io::Error) {
        let Some(mut row) = self.origins.streams.remove(&stream) else {
            self.node.handle_input(now, Input::Lost { stream });
            return;
        };
        match self.next_address(&mut row, error) {
            _ if row.is_closing() => {}
            Ok(next) => self.redial(now, stream, row, next),
            Err(error) => self.tell(now, stream, &row, error),
        }
    }

    /// We end a connection of which the driver still knows.
    fn give_up(&mut self, now: Instant, stream: StreamId, error: io::Error) {
        let Some(mut row) = self.origins.streams.remove(&stream) else { return };
        match self.next_address(&mut row, error) {
            Ok(next) => {
                self.origins.due.push_back(Due::Abort(stream));
                self.redial(now, stream, row, next);
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
        let (Phase::Opening(_), Some(origin)) = (row.phase, self.origins.downloads.get(&row.download)) else {
            return Err(error);
        };
        let Some(tried) = origin.address(row) else { return Err(error) };
        row.failed.push((tried, error));
        if row.failed.len() < origin.addresses.len()
            && let Some(next) = origin.address(row)
        {
            return Ok(next);
        }
        let kind = row.failed.last().map_or(io::ErrorKind::Other, |(_, error)| error.kind());
        let all = row.failed.iter().map(|(address, error)| std::format!("{address}: {error}"));
        Err(io::Error::new(kind, all.collect::<Vec<String>>().join("; ")))
    }

    fn redial(&mut self, now: Instant, stream: StreamId, row: Stream, next: SocketAddr) {
        let Stream { download, first, failed, .. } = row;
        self.origins.streams.insert(stream, Stream { failed, ..Stream::new(now, download, first) });
        self.origins.due.push_back(Due::Connect(stream, next, download));
    }

    /// The node and who asks learn that a connection is lost.
    fn tell(&mut self, now: Instant, stream: StreamId, row: &Stream, error: io::Error) {
        if let Some(origin) = self.origins.downloads.get_mut(&row.download) {
            origin.error = Some(error);
        }
        self.node.handle_input(now, Input::Lost { stream });
    }

    fn handle_connected(&mut self, now: Instant, stream: StreamId) {
        #[cfg(feature = "tls")]
        if let Some(row) = self.origins.streams.get_mut(&stream)
            && let Some(origin) = self.origins.downloads.get(&row.download)
            && let Some(peer) = &origin.tls
        {
            match Session::new(peer) {
                Ok(session) => {
                    row.secured = Some(Secured { session, held: Vec::new(), used: 0, ended: false });
                    row.phase = Phase::Opening(now + HANDSHAKE);
                }
                Err(error) => self.give_up(now, stream, error),
            }
            return;
        }
        self.opened(now, stream);
    }

    /// Plain bytes can pass.
    fn opened(&mut self, now: Instant, stream: StreamId) {
        let Origins { downloads, streams, .. } = &mut *self.origins;
        let Some(row) = streams.get_mut(&stream) else { return };
        row.phase = Phase::Open;
        if let Some(origin) = downloads.get_mut(&row.download) {
            origin.best = origin.index(row);
            origin.connected = true;
        }
        row.failed = Vec::new();
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
    fn secured(&mut self, stream: StreamId) -> Option<&mut Secured> {
        self.origins.streams.get_mut(&stream)?.secured.as_mut()
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
            if matches!(phase, Phase::Opening(_)) && !secured.session.is_handshaking() {
                self.opened(now, stream);
            }
        }
        self.deliver(now, stream);
        used
    }

    /// Offers the node the plain bytes that it did not use before; whether it used all.
    fn deliver(&mut self, now: Instant, stream: StreamId) -> bool {
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
        true
    }

    /// What the node wants to send, encrypted.
    fn poll_plain(&mut self, now: Instant, stream: StreamId, room: &mut [u8]) -> Result<usize, StreamError> {
        let most = room.len().min(PLAIN_BYTES);
        let len = self.node.poll_stream(now, stream, room.get_mut(..most).unwrap_or_default());
        let encrypted = len.and_then(|len| {
            let session = &mut self.secured(stream).ok_or(StreamError)?.session;
            session.encrypt(room.get(..len).unwrap_or_default()).map_err(|_| StreamError)?;
            Ok(session.poll(room))
        });
        if encrypted.is_err() {
            self.origins.streams.remove(&stream);
        }
        encrypted
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
}

impl Stream {
    fn new(now: Instant, download: DownloadId, first: usize) -> Self {
        Self {
            download,
            phase: Phase::Opening(now + PATIENCE),
            first,
            failed: Vec::new(),
            #[cfg(feature = "tls")]
            secured: None,
        }
    }

    #[cfg(feature = "tls")]
    fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing(_))
    }

    #[cfg(not(feature = "tls"))]
    fn is_closing(&self) -> bool {
        false
    }

    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open => None,
            Phase::Opening(deadline) => Some(deadline),
            #[cfg(feature = "tls")]
            Phase::Closing(deadline) => Some(deadline),
        }
    }
}

#[cfg(test)]
mod tests;
