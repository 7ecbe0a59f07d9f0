//! The corridor of what is offered to a hosted cache: from the room's message to a connection, one at a time, and its
//! response back again.

use core::net::SocketAddr;

use crate::bytes::{Writer, copy};
use crate::fetch::stream::emit_host;
use crate::hosted::client::{Client, Failure, Place};
use crate::hosted::wire::{RESPONSE_BYTES, ResponseCode, Version};
use crate::http::conn::{Conn, Event};
use crate::http::wire as http;
use crate::store::InfoStore;
use crate::time::{Duration, Instant};

/// Bytes of a message's head.
const HEAD_BYTES: usize = 192;

/// How long a connection may take to come about, with all that secures it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection is kept without a message, for the next one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to one hosted cache.
pub struct OfferStream {
    place: u8,
    remote: SocketAddr,
    secured: bool,
    connected: bool,
    /// Bytes of the message that have been sent, with its head, while some are left.
    sent: Option<u64>,
    conn: Conn,
    asking: bool,
    /// It has carried a message before this one, and nothing has come in reply to this one.
    stale: bool,
    status: u16,
    body: [u8; RESPONSE_BYTES],
    body_len: usize,
    deadline: Instant,
}

impl OfferStream {
    /// A connection that is being opened, to a hosted cache of that number in the list.
    pub fn new(now: Instant, number: u8, place: &Place) -> Self {
        Self {
            place: number,
            remote: place.offers,
            secured: place.version == Version::V1,
            connected: false,
            sent: None,
            conn: Conn::client(),
            asking: false,
            stale: false,
            status: 0,
            body: [0; RESPONSE_BYTES],
            body_len: 0,
            deadline: now + CONNECT_TIMEOUT,
        }
    }

    /// The number of the hosted cache that it leads to.
    pub const fn place(&self) -> u8 {
        self.place
    }

    /// Where it leads to.
    pub const fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Whether it has to be secured.
    pub const fn is_secured(&self) -> bool {
        self.secured
    }

    /// Whether no message is under way on it.
    pub const fn is_idle(&self) -> bool {
        !self.asking
    }

    /// Whether the connection came about.
    pub const fn is_connected(&self) -> bool {
        self.connected
    }

    /// When it has to be given up if it is not open, or closed if it is idle; a message has a time of its own.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.connected || !self.asking).then_some(self.deadline)
    }

    /// The connection is open.
    pub fn handle_connected(&mut self, now: Instant) {
        (self.connected, self.deadline) = (true, now + IDLE_TIMEOUT);
    }

    /// Begins with the message under way; `false` if the connection cannot carry it.
    pub fn begin(&mut self) -> bool {
        if self.asking || !self.keeps_open() || self.conn.expect_reply(false).is_err() {
            return false;
        }
        (self.asking, self.sent, self.status, self.body_len) = (true, Some(0), 0, 0);
        self.stale = self.connected;
        true
    }

    /// What is still to be sent, into `buf`; the message says that blocks are served at `port`. Where it cannot be read
    /// to its end any more, the connection is of no use.
    pub fn poll(
        &mut self,
        client: &Client<'_>,
        port: u16,
        infos: &dyn InfoStore,
        buf: &mut [u8],
    ) -> Result<usize, Failure> {
        let Some(sent) = self.sent else { return Ok(0) };
        let (path, body) = client.message(infos).ok_or(Failure::Unreadable)?;
        let mut head = [0; HEAD_BYTES];
        let mut writer = Writer::new(&mut head);
        // There is room for any address.
        writer.text("POST ");
        writer.text(path);
        writer.text(" HTTP/1.1\r\nHost: ");
        let _ = emit_host(&mut writer, self.remote);
        writer.text("\r\n");
        let _ = http::emit_content_length(&mut writer, body);
        let _ = http::emit_head_end(&mut writer);
        let head = writer.finish();
        let end = body.saturating_add(head.len() as u64);
        let mut at = sent;
        let mut len = 0usize;
        while at < end
            && let Some(room) = buf.get_mut(len..).filter(|room| !room.is_empty())
        {
            let some =
                match usize::try_from(at).ok().and_then(|at| head.get(at..)).filter(|it| !it.is_empty()) {
                    Some(left) => copy(room, left),
                    None => client.read_message(port, infos, at.saturating_sub(head.len() as u64), room),
                };
            if some == 0 {
                return Err(Failure::Unreadable);
            }
            len = len.saturating_add(some);
            at = at.saturating_add(some as u64);
        }
        self.sent = (at < end).then_some(at);
        Ok(len)
    }

    /// Takes bytes from the hosted cache. Returns how many were used, and what came of the message once that is
    /// known.
    pub fn handle(&mut self, now: Instant, bytes: &[u8]) -> (usize, Option<Result<ResponseCode, Failure>>) {
        self.stale &= bytes.is_empty();
        let mut used = 0usize;
        loop {
            let (taken, event) = self.conn.handle(bytes.get(used..).unwrap_or_default());
            used = used.saturating_add(taken);
            match event {
                _ if !self.asking => return (used, None),
                Err(_) => return (used, self.end(now, Err(Failure::BadResponse))),
                Ok(None) => return (used, None),
                Ok(Some(Event::Status { code, .. })) => self.status = code,
                Ok(Some(Event::Body(body))) => {
                    copy(self.body.get_mut(self.body_len..).unwrap_or_default(), body);
                    self.body_len = self.body_len.saturating_add(body.len());
                }
                Ok(Some(Event::End)) => {
                    let result = self.result();
                    return (used, self.end(now, result));
                }
                Ok(Some(_)) => {}
            }
        }
    }

    /// The hosted cache sends no more.
    pub fn handle_eof(&mut self, now: Instant) -> Option<Result<ResponseCode, Failure>> {
        let result = match self.conn.handle_eof() {
            Ok(Some(Event::End)) => self.result(),
            _ => Err(Failure::Lost),
        };
        self.end(now, result)
    }

    /// Whether the hosted cache may have closed a connection that was kept before it saw the message on it: that is sent
    /// again on another.
    pub const fn is_stale(&self) -> bool {
        self.asking && self.stale
    }

    /// Whether another message can follow on this connection.
    pub fn keeps_open(&self) -> bool {
        self.conn.keep_alive() && self.sent.is_none()
    }

    fn result(&self) -> Result<ResponseCode, Failure> {
        match self.status {
            200 if self.body_len == RESPONSE_BYTES => {
                // 3.2.5.5: whatever else comes MUST be dropped, and the sequence aborted.
                ResponseCode::parse(&self.body).map_err(|_| Failure::BadResponse)
            }
            200 => Err(Failure::BadResponse),
            401 => Err(Failure::Unauthorized),
            status => Err(Failure::Status(status)),
        }
    }

    fn end(
        &mut self,
        now: Instant,
        result: Result<ResponseCode, Failure>,
    ) -> Option<Result<ResponseCode, Failure>> {
        let asked = core::mem::take(&mut self.asking);
        self.deadline = now + IDLE_TIMEOUT;
        asked.then_some(result)
    }
}
