//! The corridor of a block that somebody else wants: an HTTP request, by its path → the retrieval
//! server → the reply, block bytes straight from the store; or an offer → the hosted cache.

use core::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::bytes::{Writer, copy, path_of};
use crate::hosted::server::{Desk, Key};
use crate::hosted::wire::{RESPONSE_BYTES, ResponseCode, Version};
use crate::http::conn::{Body, Conn, Event};
use crate::http::wire::{self as http, Version as HttpVersion};
use crate::limits::{MAX_REQUEST_BYTES, REQUEST_TIMEOUT, UPLOAD_TIMEOUT};
use crate::retrieval::server::{Exchange, Role};
use crate::retrieval::wire::is_retrieval_path;
use crate::store::{Storage, Store, StoreError};
use crate::time::{Duration, Instant};

/// Bytes of the head of a reply, and of an interim reply before it.
const HEAD_BYTES: usize = 128;

/// After how long without a byte taken nobody is left who waits for the reply (fact 38).
const SILENCE: Duration = Duration::from_secs(5);

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Requests answered, with a block or without.
    pub answered: u32,
    /// Blocks sent whole.
    pub blocks: u32,
    /// Bytes of those blocks, as stored.
    pub block_bytes: u64,
    /// Requests dropped: malformed, of unknown type, or to another path.
    pub dropped: u32,
    /// Blocks that had rotted in the store.
    pub damaged: u32,
    /// Exchanges that the upload timer ended.
    pub timed_out: u32,
}

/// A connection that a peer opened to us.
pub struct Upload {
    conn: Conn,
    exchange: Exchange,
    phase: Phase,
    role: Role,
    client: IpAddr,
    /// The link that the client is on, where its address is one of a link (RFC 4007).
    link: u32,
    secured: bool,
    purpose: Purpose,
    /// What an offer is answered, and how much of that has been sent.
    code: Option<(ResponseCode, u8)>,
    /// The request is one of HTTP/1.0.
    http_10: bool,
    /// A request has begun to arrive.
    begun: bool,
    /// Bytes that its body may still have.
    body_left: u32,
    head: Head,
    /// When the request began, or bytes of its reply were taken last.
    moved: Instant,
    deadline: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The next request, or more of it, is awaited.
    Receiving,
    /// A reply is on its way; input waits.
    Sending { close: bool },
    /// All is said.
    Over,
}

/// What a request is for, by its path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Not known yet, or nothing of ours.
    None,
    Retrieval,
    /// An offer to a hosted cache, at the URL of that version.
    Offer(Version),
}

/// Where offers go, of a node that is a hosted cache.
pub struct Offers<'a> {
    /// The table.
    pub desk: &'a mut dyn Desk,
    /// What tells this connection from others.
    pub key: Key,
}

/// What is said of a reply in HTTP: so little that it is written again whenever more of it is sent.
struct Head {
    /// The client waits to be told to go on, and is.
    interim: bool,
    /// 0 before there is a reply.
    status: u16,
    connection: &'static str,
    /// Some of it is still to be sent, behind so many bytes.
    due: bool,
    sent: u8,
}

impl Head {
    const NONE: Self = Self { interim: false, status: 0, connection: "", due: false, sent: 0 };

    /// Fills the front of `buf` with what comes next and returns how much.
    fn poll(&mut self, body: u32, buf: &mut [u8]) -> usize {
        let mut head = [0; HEAD_BYTES];
        let mut writer = Writer::new(&mut head);
        // The longest interim reply and the longest head fit together.
        if self.interim {
            writer.put(http::CONTINUE);
        }
        if self.status > 0 {
            let _ = http::emit_status_line(&mut writer, self.status);
            let _ = http::emit_content_length(&mut writer, body.into());
            writer.text(self.connection);
            let _ = http::emit_head_end(&mut writer);
        }
        let left = writer.finish().get(self.sent.into()..).unwrap_or_default();
        let len = copy(buf, left);
        self.sent = self.sent.saturating_add(len as u8);
        self.due = len < left.len();
        len
    }
}

impl Upload {
    /// A connection that a client just opened to a server of that role, `secured` by TLS or not.
    pub fn new(now: Instant, client: SocketAddr, role: Role, secured: bool) -> Self {
        Self {
            conn: Conn::server(),
            exchange: Exchange::new(role),
            phase: Phase::Receiving,
            role,
            client: client.ip(),
            link: if let SocketAddr::V6(client) = client { client.scope_id() } else { 0 },
            secured,
            purpose: Purpose::None,
            code: None,
            http_10: false,
            begun: false,
            body_left: MAX_REQUEST_BYTES,
            head: Head::NONE,
            moved: now,
            deadline: now + UPLOAD_TIMEOUT,
        }
    }

    /// The client, by whatever port.
    fn client(&self) -> SocketAddr {
        match self.client {
            IpAddr::V4(ip) => SocketAddrV4::new(ip, 0).into(),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, 0, 0, self.link).into(),
        }
    }

    /// When it is to be aborted (MS-PCCRR 3.2.2, 3.2.6.1).
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether a client is being served: counts towards the limit of active clients (MS-PCCRR
    /// 3.2.1). It is counted, not kept, so it begins with none (3.2.3), and cannot become negative
    /// (3.2.5.3).
    pub fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Sending { .. })
    }

    /// Whether nothing was asked since the last answer.
    pub fn is_idle(&self) -> bool {
        self.wants_input() && !self.begun
    }

    /// Whether a new connection may take its place: nothing was asked, or nobody waits any more
    /// for what was. Without that, whoever lets requests trickle, or reads no replies, would keep
    /// everybody else out for as long as the upload timer runs.
    pub fn gives_way(&self, now: Instant) -> bool {
        match self.phase {
            // Who has not sent its request by then has given up on it itself (MS-PCCRR 3.1.2).
            Phase::Receiving => !self.begun || self.moved + REQUEST_TIMEOUT <= now,
            Phase::Sending { .. } => self.moved + SILENCE <= now,
            Phase::Over => false,
        }
    }

    /// Whether all is said and the connection is to be closed.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether it would take bytes now.
    pub fn wants_input(&self) -> bool {
        self.phase == Phase::Receiving
    }

    /// Takes bytes from the peer and returns how many were used. With `busy`, what it asks for is
    /// declared missing.
    pub fn handle(
        &mut self,
        now: Instant,
        store: &mut dyn Storage,
        mut offers: Option<Offers<'_>>,
        counters: &mut Counters,
        busy: bool,
        bytes: &[u8],
    ) -> usize {
        let mut used = 0usize;
        while self.phase == Phase::Receiving {
            let (taken, event) = self.conn.handle(bytes.get(used..).unwrap_or_default());
            used = used.saturating_add(taken);
            match event {
                Ok(None) => break,
                Ok(Some(Event::Request { method, target, version })) => {
                    self.begun = true;
                    // MS-PCCRR 3.2.2: the upload timer runs for each exchange; between them, the
                    // connection is only kept.
                    (self.moved, self.deadline) = (now, now + UPLOAD_TIMEOUT);
                    self.http_10 = version == HttpVersion::HTTP_10;
                    self.purpose =
                        if method == b"POST" { purpose_of(target, self.secured) } else { Purpose::None };
                    if let Purpose::Offer(version) = self.purpose {
                        let offers = offers.as_mut().filter(|offers| offers.desk.takes(version));
                        let Some(Offers { desk, key }) = offers else {
                            self.purpose = Purpose::None;
                            continue;
                        };
                        if !desk.begin(now, *key, self.client(), version, store) {
                            self.refuse(now, counters, 503);
                        }
                    }
                }
                // MS-PCCRR 2.2.3: no request is longer, so the rest need not be waited for.
                Ok(Some(Event::HeadEnd(Body::Length(len)))) if len > u64::from(MAX_REQUEST_BYTES) => {
                    self.drop_request(now, counters);
                }
                Ok(Some(Event::HeadEnd(_))) => match (self.conn.wants_continue(), self.purpose) {
                    (false, _) => {}
                    (true, Purpose::None) => self.drop_request(now, counters),
                    (true, _) => (self.head.interim, self.head.due) = (true, true),
                },
                Ok(Some(Event::Body(body))) => {
                    match self.body_left.checked_sub(u32::try_from(body.len()).unwrap_or(u32::MAX)) {
                        Some(left) => self.body_left = left,
                        None => {
                            self.drop_request(now, counters);
                            break;
                        }
                    }
                    match (self.purpose, &mut offers) {
                        (Purpose::Retrieval, _) => self.exchange.handle(now, store, body),
                        (Purpose::Offer(_), Some(Offers { desk, key })) => desk.take(now, *key, body, store),
                        _ => {}
                    }
                }
                Ok(Some(Event::End)) => {
                    let offers = offers.as_mut().filter(|_| matches!(self.purpose, Purpose::Offer(_)));
                    let code = offers.and_then(|Offers { desk, key }| desk.finish(now, *key, store));
                    self.code = code.map(|code| (code, 0));
                    self.answer(now, store, counters, busy);
                }
                Ok(Some(Event::Header { .. } | Event::Status { .. })) => {}
                Err(error) => {
                    counters.dropped = counters.dropped.wrapping_add(1);
                    self.send(now, error.status(), true);
                }
            }
        }
        // What is answered before its end has none.
        if let (Purpose::Offer(_), Some(Offers { desk, key })) = (self.purpose, &mut offers)
            && self.phase != Phase::Receiving
        {
            desk.forget(*key, store);
        }
        used
    }

    /// The peer sends no more: after a whole request it may still read the reply.
    pub fn handle_eof(&mut self) {
        match &mut self.phase {
            Phase::Sending { close } => *close = true,
            phase => *phase = Phase::Over,
        }
    }

    /// Fills the front of `buf` with what comes next; an error means that the connection must be
    /// reset, since what was promised cannot be sent.
    pub fn poll(
        &mut self,
        now: Instant,
        store: &mut dyn Store,
        counters: &mut Counters,
        buf: &mut [u8],
    ) -> Result<usize, StoreError> {
        let body = if self.code.is_some() { RESPONSE_BYTES as u32 } else { self.exchange.len() };
        let mut len = if self.head.due { self.head.poll(body, buf) } else { 0 };
        let Phase::Sending { close } = self.phase else { return Ok(len) };
        if let Some((code, sent)) = self.code.as_mut().filter(|_| !self.head.due) {
            let rest = code.to_wire();
            let room = buf.get_mut(len..).unwrap_or_default();
            let more = copy(room, rest.get(usize::from(*sent)..).unwrap_or_default());
            *sent = sent.saturating_add(more as u8);
            len = len.saturating_add(more);
        } else if !self.head.due {
            match self.exchange.read(store, buf.get_mut(len..).unwrap_or_default()) {
                Ok(read) => len = len.saturating_add(read),
                Err(error) => {
                    self.damaged(store, counters, error);
                    return Err(error);
                }
            }
        }
        let is_whole = match self.code {
            Some((_, sent)) => usize::from(sent) >= RESPONSE_BYTES,
            None => self.exchange.is_empty(),
        };
        if self.head.due || !is_whole {
            self.moved = if len > 0 { now } else { self.moved };
            return Ok(len);
        }
        if let Some(block) = self.exchange.block() {
            counters.blocks = counters.blocks.wrapping_add(1);
            counters.block_bytes = counters.block_bytes.wrapping_add(u64::from(block.len));
        }
        self.begin_again(now, close);
        Ok(len)
    }

    /// MS-PCCRR 3.2.5.2 to 3.2.5.4: once the reply is sent, the client MUST NOT count as active.
    fn begin_again(&mut self, now: Instant, close: bool) {
        self.head = Head::NONE;
        self.begun = false;
        (self.purpose, self.code) = (Purpose::None, None);
        self.body_left = MAX_REQUEST_BYTES;
        self.deadline = now + UPLOAD_TIMEOUT;
        self.exchange = Exchange::new(self.role);
        let again = !close && self.conn.next_exchange().is_ok();
        self.phase = if again { Phase::Receiving } else { Phase::Over };
    }

    fn answer(&mut self, now: Instant, store: &dyn Store, counters: &mut Counters, busy: bool) {
        let answered = match self.purpose {
            Purpose::None => false,
            Purpose::Retrieval => self.exchange.finish(store, busy),
            Purpose::Offer(_) => self.code.is_some(),
        };
        if !answered {
            return self.drop_request(now, counters);
        }
        counters.answered = counters.answered.wrapping_add(1);
        self.send(now, 200, !self.conn.keep_alive());
    }

    /// MS-PCCRR 3.2.5.5, fact 39: "dropped" is a 400 without a body; an empty 200 would be taken
    /// for a reply. Other paths than ours are no business of that protocol.
    fn drop_request(&mut self, now: Instant, counters: &mut Counters) {
        self.refuse(now, counters, if self.purpose == Purpose::None { 404 } else { 400 });
    }

    fn refuse(&mut self, now: Instant, counters: &mut Counters, status: u16) {
        counters.dropped = counters.dropped.wrapping_add(1);
        self.send(now, status, true);
    }

    /// Begins to send a reply: what the exchange comes to, which is nothing before it is finished.
    fn send(&mut self, now: Instant, status: u16, close: bool) {
        // RFC 9112 9.6: SHOULD say that the connection ends; 9.3, C.2.2: a client of HTTP/1.0 waits
        // for that end unless it is told that there is none.
        self.head.connection = match (close, self.http_10) {
            (true, _) => "Connection: close\r\n",
            (false, true) => "Connection: keep-alive\r\n",
            (false, false) => "",
        };
        (self.head.status, self.head.due) = (status, true);
        self.moved = now;
        self.phase = Phase::Sending { close };
    }

    /// A block that rotted is nobody's any more.
    fn damaged(&mut self, store: &mut dyn Store, counters: &mut Counters, error: StoreError) {
        if error == StoreError::Damaged {
            counters.damaged = counters.damaged.wrapping_add(1);
            self.exchange.block().into_iter().for_each(|block| store.release(block.slot));
        }
        self.phase = Phase::Over;
    }
}

/// MS-PCHC 2.1: version 1.0 is for HTTPS, and 2.0 for HTTP; neither URL is the other's.
fn purpose_of(target: &[u8], secured: bool) -> Purpose {
    if is_retrieval_path(target) {
        return Purpose::Retrieval;
    }
    match Version::of_path(path_of(target)) {
        Some(Version::V1) if secured => Purpose::Offer(Version::V1),
        Some(Version::V2) if !secured => Purpose::Offer(Version::V2),
        _ => Purpose::None,
    }
}

#[cfg(test)]
mod tests;
