//! A connection between the node and a socket.

use core::net::IpAddr;
use std::io;
use std::vec::Vec;

use mio::{Registry, Token};
use peerdist_core::limits::UPLOAD_TIMEOUT;
use peerdist_core::node::{Input, StreamId};
use peerdist_core::time::Instant;

use super::Counters;
use super::pipe::Pipe;
use crate::machine::{LINGER, Machine};

/// Bytes that are read from a connection in one pass, so that none starves the others.
const PASS_BYTES: usize = 512 * 1024;

/// What a read counts for that brought no plain bytes.
const INTERRUPTED_BYTES: usize = PASS_BYTES / 4;

pub(super) struct Connection {
    pipe: Pipe,
    state: State,
    /// Who has connected.
    pub(super) client: Option<IpAddr>,
    readable: bool,
    writable: bool,
    /// Read, and not used by the node so far: what is behind `used`.
    held: Vec<u8>,
    used: usize,
    unsent: Unsent,
    /// Why it takes no more.
    broken: Option<io::Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The handshake of TLS is under way, and has to be over by then. The node does not know of it.
    #[cfg(feature = "tls")]
    Greeting(Instant),
    Open {
        stream: StreamId,
        connected: bool,
        eof: bool,
        blocked: bool,
    },
    /// Closed by us, and dropped at `deadline` at the latest.
    Closing {
        deadline: Instant,
        /// All that was to be sent is the system's.
        drained: bool,
    },
}

/// Given by the node, and not taken by the socket so far: what is behind `taken`.
#[derive(Default)]
struct Unsent {
    bytes: Vec<u8>,
    taken: usize,
}

/// What came of moving bytes.
pub(super) enum Moved {
    Nothing,
    Something,
    /// The stream has to be forgotten, and the node told.
    Lost(StreamId, io::Error),
    /// It is secured, and the node may be told.
    #[cfg(feature = "tls")]
    Greeted,
    /// It could not be secured, or not in time.
    #[cfg(feature = "tls")]
    Rejected,
    /// There is nothing left to do for it.
    Gone,
}

impl Connection {
    pub(super) fn accepted(pipe: Pipe, stream: StreamId, client: IpAddr) -> Self {
        Self::new(pipe, State::opened(stream), Some(client))
    }

    pub(super) fn connecting(pipe: Pipe, stream: StreamId) -> Self {
        Self::new(pipe, State::Open { stream, connected: false, eof: false, blocked: false }, None)
    }

    /// One that has to be secured until then.
    #[cfg(feature = "tls")]
    pub(super) fn greeting(pipe: Pipe, deadline: Instant, client: IpAddr) -> Self {
        Self::new(pipe, State::Greeting(deadline), Some(client))
    }

    fn new(pipe: Pipe, state: State, client: Option<IpAddr>) -> Self {
        let connected = client.is_some();
        // The first event says when it is ready; what is open may be so before.
        let (readable, writable) = (connected, connected);
        let (held, unsent) = (Vec::new(), Unsent::default());
        Self { pipe, state, client, readable, writable, held, used: 0, unsent, broken: None }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.pipe.register(registry, token)
    }

    pub(super) fn ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// It is secured, and that stream of the node's.
    #[cfg(feature = "tls")]
    pub(super) fn open(&mut self, stream: StreamId) {
        self.state = State::opened(stream);
    }

    /// Until when it has to be secured, if it has.
    #[cfg(feature = "tls")]
    pub(super) fn greeting_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Greeting(deadline) => Some(deadline),
            State::Open { .. } | State::Closing { .. } => None,
        }
    }

    /// The node takes bytes again.
    pub(super) fn resume(&mut self) {
        if let State::Open { blocked, .. } = &mut self.state {
            *blocked = false;
        }
    }

    /// Sends what has been given, then closes.
    pub(super) fn close(&mut self, now: Instant) {
        // What was polled may still be on its way: it has the time of an upload.
        self.state = State::Closing { deadline: now + UPLOAD_TIMEOUT, drained: false };
        (self.held, self.readable) = (Vec::new(), true);
    }

    pub(super) fn reset(self) {
        self.pipe.reset();
    }

    pub(super) fn closing_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Closing { deadline, .. } => Some(deadline),
            _ => None,
        }
    }

    /// When it ends, unless it moves on.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            #[cfg(feature = "tls")]
            State::Greeting(deadline) => Some(deadline),
            State::Closing { deadline, .. } => Some(deadline),
            State::Open { .. } => None,
        }
    }

    /// Reads what has come, for the node.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        node: &mut dyn Machine,
        buffer: &mut [u8],
        counters: &mut Counters,
    ) -> Moved {
        let stream = match self.state {
            #[cfg(feature = "tls")]
            State::Greeting(deadline) => return self.greet(now, deadline),
            State::Closing { deadline, drained } => return self.linger(now, deadline, drained, buffer),
            State::Open { stream, connected: false, .. } => {
                if !self.readable && !self.writable {
                    return Moved::Nothing;
                }
                return match self.pipe.finish_connect() {
                    Ok(true) => {
                        (self.readable, self.writable) = (true, true);
                        self.state = State::opened(stream);
                        node.handle_input(now, Input::Connected { stream });
                        Moved::Something
                    }
                    Ok(false) => {
                        (self.readable, self.writable) = (false, false);
                        Moved::Nothing
                    }
                    Err(error) => Moved::Lost(stream, error),
                };
            }
            State::Open { stream, .. } => stream,
        };
        let mut moved = self.receive_held(now, node);
        let mut passed = 0usize;
        while let State::Open { eof: false, blocked: false, .. } = self.state
            && self.readable
            && self.held.is_empty()
            && passed < PASS_BYTES
        {
            match self.pipe.read(buffer) {
                Ok(0) => {
                    self.state = State::Open { stream, connected: true, eof: true, blocked: false };
                    node.handle_input(now, Input::Eof { stream });
                    moved = true;
                }
                Ok(len) => {
                    let data = buffer.get(..len).unwrap_or_default();
                    let used = node.handle_input(now, Input::Data { stream, data });
                    if let Some(rest) = data.get(used..).filter(|rest| !rest.is_empty()) {
                        (self.held, self.used) = (rest.to_vec(), 0);
                        self.block();
                    }
                    counters.received = counters.received.saturating_add(len as u64);
                    passed = passed.saturating_add(len);
                    moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    (passed, moved) = (passed.saturating_add(INTERRUPTED_BYTES), true);
                }
                Err(error) => return Moved::Lost(stream, error),
            }
        }
        if moved { Moved::Something } else { Moved::Nothing }
    }

    #[cfg(feature = "tls")]
    fn greet(&mut self, now: Instant, deadline: Instant) -> Moved {
        if now >= deadline {
            return Moved::Rejected;
        }
        if !self.readable {
            return Moved::Nothing;
        }
        match self.pipe.greet() {
            Ok(()) => Moved::Greeted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Moved::Something
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Moved::Something,
            Err(_) => Moved::Rejected,
        }
    }

    /// Offers the node what it did not use before; whether it used any.
    pub(super) fn receive_held(&mut self, now: Instant, node: &mut dyn Machine) -> bool {
        let State::Open { stream, blocked: false, .. } = self.state else { return false };
        if self.held.is_empty() {
            return false;
        }
        let data = self.held.get(self.used..).unwrap_or_default();
        let used = node.handle_input(now, Input::Data { stream, data });
        self.used = self.used.saturating_add(used);
        if self.used < self.held.len() {
            self.block();
        } else {
            self.held = Vec::new();
        }
        used > 0
    }

    /// The node takes no more for now.
    fn block(&mut self) {
        if let State::Open { blocked, .. } = &mut self.state {
            *blocked = true;
        }
    }

    /// Sends what the node has.
    pub(super) fn send(
        &mut self,
        now: Instant,
        node: &mut dyn Machine,
        buffer: &mut [u8],
        counters: &mut Counters,
    ) -> Moved {
        let State::Open { stream, connected: true, .. } = self.state else {
            self.flush();
            return Moved::Nothing;
        };
        let mut moved = false;
        while self.flush() {
            if !self.unsent.is_empty() {
                moved |= self.send_unsent(counters);
                continue;
            }
            let len = match node.poll_stream(now, stream, buffer) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) => return Moved::Lost(stream, io::Error::other(error)),
            };
            moved = true;
            let bytes = buffer.get(..len).unwrap_or_default();
            let sent = self.write(bytes, counters);
            self.unsent.hold(bytes.get(sent..).unwrap_or_default());
        }
        // After the other side's end, nothing is read any more that would tell.
        if let (Some(error), State::Open { eof: true, .. }) = (self.broken.take(), &self.state) {
            return Moved::Lost(stream, error);
        }
        if moved { Moved::Something } else { Moved::Nothing }
    }

    fn send_unsent(&mut self, counters: &mut Counters) -> bool {
        let mut unsent = std::mem::take(&mut self.unsent);
        let sent = self.write(unsent.rest(), counters);
        unsent.take(sent);
        self.unsent = unsent;
        sent > 0
    }

    /// Writes the front of `bytes`: how much. A connection that is broken takes nothing more; what is read
    /// from it tells why.
    fn write(&mut self, bytes: &[u8], counters: &mut Counters) -> usize {
        loop {
            match self.pipe.write(bytes) {
                Ok(sent) => {
                    counters.sent = counters.sent.saturating_add(sent as u64);
                    return sent;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.stop(error);
                    return 0;
                }
            }
        }
    }

    /// Writes what was encrypted and is still here; whether it takes more.
    fn flush(&mut self) -> bool {
        while self.writable {
            match self.pipe.flush() {
                Ok(()) => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.stop(error),
            }
        }
        false
    }

    /// It takes nothing, for now or for good.
    fn stop(&mut self, error: io::Error) {
        self.writable = false;
        if error.kind() != io::ErrorKind::WouldBlock {
            self.readable = true;
            self.broken = Some(error);
        }
    }

    /// Sends the rest, and waits for the other side to close.
    fn linger(&mut self, now: Instant, deadline: Instant, mut drained: bool, buffer: &mut [u8]) -> Moved {
        if now >= deadline {
            return Moved::Gone;
        }
        let mut counters = Counters::default();
        while self.flush() && !self.unsent.is_empty() {
            self.send_unsent(&mut counters);
        }
        #[cfg(feature = "tls")]
        if self.unsent.is_empty() {
            self.pipe.announce_end();
        }
        if !drained && self.unsent.is_empty() && self.flush() {
            self.pipe.shutdown();
            (drained, self.readable) = (true, true);
            self.state = State::Closing { deadline: now + LINGER, drained };
        }
        let mut passed = 0usize;
        while self.readable && passed < PASS_BYTES {
            match self.pipe.read(buffer) {
                Ok(0) if drained => return Moved::Gone,
                Ok(0) => self.readable = false,
                Ok(len) => passed = passed.saturating_add(len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    passed = passed.saturating_add(INTERRUPTED_BYTES);
                }
                Err(_) => return Moved::Gone,
            }
        }
        if passed > 0 { Moved::Something } else { Moved::Nothing }
    }
}

impl State {
    /// A stream of the node's, on which bytes pass.
    fn opened(stream: StreamId) -> Self {
        Self::Open { stream, connected: true, eof: false, blocked: false }
    }
}

impl Unsent {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// So many went. The others stay where they are: to move them each time would cost more than to send them.
    fn take(&mut self, len: usize) {
        self.taken = self.taken.saturating_add(len);
        if self.rest().is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_moves_nothing() {
        let mut unsent = Unsent::default();
        unsent.hold(b"abcdef");
        let first = unsent.rest().as_ptr();
        unsent.take(2);
        assert_eq!((unsent.rest(), unsent.rest().as_ptr()), (&b"cdef"[..], first.wrapping_add(2)));
        unsent.take(4);
        assert!(unsent.is_empty() && unsent.bytes.capacity() == 0);
    }
}
