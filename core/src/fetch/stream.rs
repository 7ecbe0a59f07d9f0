//! A connection to a peer that we ask: one question at a time, its answer straight into a
//! reserved slot of the store.

use core::net::SocketAddr;

use heapless::Vec;
use rand_core::CryptoRng;

use super::{Ask, Cause, Fetch, Job, Question, cannot_reserve};
use crate::bytes::{NoRoom, Writer, copy};
use crate::crypto::{CipherAlgorithm, Crypto, Seal};
use crate::http::conn::{Body, Conn, Event};
use crate::http::wire as http;
use crate::limits::REQUEST_TIMEOUT;
use crate::retrieval::client::{AcceptPlain, Exchange, ListExchange, ListStep, Refusal, Step};
use crate::retrieval::set::IndexSet;
use crate::retrieval::wire::{GET_BLOCKS_BYTES, GetBlocks, PATH, Range, VERSION_1_0, VersionRange};
use crate::store::{SlotId, Store};
use crate::time::{Duration, Instant};

/// Bytes of a question: the request's head, and MSG_GETBLKS.
const REQUEST_BYTES: usize = 160 + GET_BLOCKS_BYTES;

/// How long a connection to a peer may take to come about; the request timer begins after that,
/// since it begins when the request is sent (MS-PCCRR 3.1.2).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection is kept without a question, for the next one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// What came of a question.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// A block lies in its slot as it came, not verified yet.
    Sealed {
        /// The reserved slot.
        slot: SlotId,
        /// How it is sealed.
        seal: Seal,
        /// Its bytes as stored.
        len: u32,
    },
    /// A block that came unencrypted is in the store, sealed and verified on its way.
    Taken,
    /// The blocks that the peer has.
    Listed(IndexSet),
    /// Nothing came of it.
    Failed(Cause),
}

/// A connection to one peer.
pub struct PeerStream {
    peer: SocketAddr,
    accept_plain: AcceptPlain,
    conn: Conn,
    connected: bool,
    asking: Option<Asking>,
    out: Vec<u8, REQUEST_BYTES>,
    sent: usize,
    deadline: Instant,
}

struct Asking {
    ask: Ask,
    exchange: Talk,
    /// Whether the reply is a 200; other replies carry no message.
    ok: bool,
    /// Bytes of its body that are announced and still to come.
    left: u64,
    negotiated: bool,
    retried: bool,
    slot: Option<(SlotId, u32)>,
    written: u32,
    result: Option<Answer>,
}

/// The exchange that a question begins.
#[allow(clippy::large_enum_variant, reason = "there is no heap to put the large variant on")]
enum Talk {
    Block(Exchange),
    List(ListExchange),
}

impl Talk {
    fn new(question: &Question, accept_plain: AcceptPlain) -> Self {
        match *question {
            Question::Block { block, plain_len, .. } => {
                Self::Block(Exchange::with_policy(block, plain_len, accept_plain))
            }
            Question::List { segment, blocks } => {
                let mut asked = IndexSet::EMPTY;
                asked.insert_range(Range { index: 0, count: blocks });
                Self::List(ListExchange::new(segment, asked))
            }
        }
    }
}

/// The parts of the machine that an answer goes through.
pub struct Desk<'a> {
    /// The corridor, which waits for it.
    pub fetch: &'a mut Fetch,
    /// Its jobs.
    pub jobs: &'a mut [Job],
    /// Where a block goes.
    pub store: &'a mut dyn Store,
    /// The crypto provider, for what comes unencrypted.
    pub crypto: &'a mut dyn Crypto,
    /// The source of entropy, for the same.
    pub rng: &'a mut dyn CryptoRng,
}

impl PeerStream {
    /// A connection that is being opened.
    pub fn new(now: Instant, peer: SocketAddr, accept_plain: AcceptPlain) -> Self {
        Self {
            peer,
            accept_plain,
            conn: Conn::client(),
            connected: false,
            asking: None,
            out: Vec::new(),
            sent: 0,
            deadline: now + CONNECT_TIMEOUT,
        }
    }

    /// Whom it leads to.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether it is open and has nothing to do.
    pub fn is_idle(&self) -> bool {
        self.asking.is_none()
    }

    /// Whether the connection came about.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// What it asks.
    pub fn asks(&self) -> Option<Ask> {
        self.asking.as_ref().map(|asking| asking.ask)
    }

    /// When it has to be given up, or closed if it is idle.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The connection is open: the request timer begins.
    pub fn handle_connected(&mut self, now: Instant) {
        self.connected = true;
        self.deadline = now + REQUEST_TIMEOUT;
    }

    /// Puts a question; `false` if the connection cannot carry another.
    pub fn ask(&mut self, now: Instant, ask: &Ask) -> bool {
        let exchange = Talk::new(&ask.question, self.accept_plain);
        if self.conn.expect_reply(false).is_err() || self.emit(&ask.question, &exchange).is_err() {
            return false;
        }
        if self.connected {
            self.deadline = now + REQUEST_TIMEOUT;
        }
        self.asking = Some(Asking {
            ask: *ask,
            exchange,
            ok: false,
            left: 0,
            negotiated: false,
            retried: false,
            slot: None,
            written: 0,
            result: None,
        });
        true
    }

    /// What is still to be sent, into `buf`.
    pub fn poll(&mut self, buf: &mut [u8]) -> usize {
        let len = copy(buf, self.out.get(self.sent..).unwrap_or_default());
        self.sent = self.sent.saturating_add(len);
        len
    }

    /// Takes bytes from the peer. Returns how many were used, and what came of the question once
    /// that is known.
    pub fn handle(&mut self, now: Instant, desk: &mut Desk<'_>, bytes: &[u8]) -> (usize, Option<Answer>) {
        self.connected = true;
        let mut used = 0usize;
        loop {
            let (taken, event) = self.conn.handle(bytes.get(used..).unwrap_or_default());
            used = used.saturating_add(taken);
            let Some(asking) = &mut self.asking else { return (used, None) };
            let cause = match event {
                Err(_) => Some(Cause::BadReply),
                Ok(None) => return (used, None),
                Ok(Some(Event::Status { code, .. })) => {
                    asking.ok = code == 200;
                    None
                }
                Ok(Some(Event::HeadEnd(Body::None))) if asking.ok => Some(Cause::BadReply),
                Ok(Some(Event::HeadEnd(Body::Length(len)))) => {
                    asking.left = len;
                    None
                }
                Ok(Some(Event::Body(body))) if asking.ok => asking.handle_body(desk, body).err(),
                Ok(Some(Event::End)) => return (used, self.end(now, desk.store)),
                Ok(Some(_)) => None,
            };
            if let Some(cause) = cause {
                return (used, self.give_up(desk.store, cause));
            }
        }
    }

    /// The peer sends no more.
    pub fn handle_eof(&mut self, now: Instant, store: &mut dyn Store) -> Option<Answer> {
        match self.conn.handle_eof() {
            Ok(Some(Event::End)) => self.end(now, store),
            _ => self.give_up(store, Cause::Unreachable),
        }
    }

    /// Ends the question without an answer.
    pub fn give_up(&mut self, store: &mut dyn Store, cause: Cause) -> Option<Answer> {
        let asking = self.asking.take()?;
        if let Some((slot, _)) = asking.slot {
            store.release(slot);
        }
        Some(Answer::Failed(cause))
    }

    /// Whether another question can follow on this connection.
    pub fn keeps_open(&self) -> bool {
        self.conn.keep_alive()
    }

    /// Why it is being given up when its deadline passes.
    pub fn timeout_cause(&self) -> Cause {
        if self.connected { Cause::TimedOut } else { Cause::Unreachable }
    }

    fn end(&mut self, now: Instant, store: &mut dyn Store) -> Option<Answer> {
        let asking = self.asking.as_mut()?;
        // MS-PCCRR 3.1.5.1, fact 40: offered other versions, the request is sent again once,
        // unchanged, if the peer speaks its major version.
        if asking.negotiated && asking.result.is_none() && !core::mem::replace(&mut asking.retried, true) {
            let question = asking.ask.question;
            let exchange = Talk::new(&question, self.accept_plain);
            self.deadline = now + REQUEST_TIMEOUT;
            if self.conn.expect_reply(false).is_err() || self.emit(&question, &exchange).is_err() {
                return self.give_up(store, Cause::Refused);
            }
            self.asking.as_mut()?.exchange = exchange;
            return None;
        }
        self.deadline = now + IDLE_TIMEOUT;
        let asking = self.asking.take()?;
        let answer = match asking.result {
            Some(answer) => answer,
            None if !asking.ok => Answer::Failed(Cause::Refused),
            // No message, or one that stopped in the middle.
            None => Answer::Failed(Cause::BadReply),
        };
        if let (Answer::Failed(_), Some((slot, _))) = (&answer, asking.slot) {
            store.release(slot);
        }
        Some(answer)
    }

    fn emit(&mut self, question: &Question, exchange: &Talk) -> Result<(), NoRoom> {
        let mut body = [0; GET_BLOCKS_BYTES];
        let mut body = Writer::new(&mut body);
        match (question, exchange) {
            (Question::Block { block, .. }, _) => {
                GetBlocks::emit_one(block.segment.as_bytes(), block.index, &mut body)?;
            }
            // One range: no longer than MSG_GETBLKS.
            (_, Talk::List(list)) => list.emit(&mut body)?,
            _ => return Err(NoRoom),
        }
        let body = body.finish();

        let mut buf = [0; REQUEST_BYTES];
        let mut writer = Writer::new(&mut buf);
        http::emit_request_line(&mut writer, b"POST", PATH.as_bytes()).map_err(|_| NoRoom)?;
        writer.text("Host: ");
        emit_host(&mut writer, self.peer)?;
        writer.text("\r\n");
        http::emit_content_length(&mut writer, body.len() as u64)?;
        http::emit_head_end(&mut writer)?;
        writer.put(body);
        writer.check()?;
        self.sent = 0;
        self.out = Vec::from_slice(writer.finish()).map_err(|_| NoRoom)?;
        Ok(())
    }
}

impl Asking {
    fn handle_body(&mut self, desk: &mut Desk<'_>, mut body: &[u8]) -> Result<(), Cause> {
        self.left = self.left.saturating_sub(body.len() as u64);
        while !body.is_empty() {
            let used = match &mut self.exchange {
                Talk::Block(exchange) => {
                    let (used, step) = exchange.handle(body);
                    self.block(desk, step.map_err(refused)?)?;
                    used
                }
                Talk::List(exchange) => {
                    let (used, step) = exchange.handle(body);
                    match step.map_err(refused)? {
                        ListStep::More => {}
                        ListStep::Blocks(blocks) => self.result = Some(Answer::Listed(blocks)),
                        ListStep::Negotiation(range) => self.negotiate(range),
                    }
                    used
                }
            };
            body = body.get(used..).unwrap_or_default();
        }
        let is_done = match &self.exchange {
            Talk::Block(exchange) => exchange.is_done(),
            Talk::List(exchange) => exchange.is_done(),
        };
        // Bytes behind the message make a bad reply; announced, they need not be waited for.
        if is_done && self.left > 0 { Err(Cause::BadReply) } else { Ok(()) }
    }

    fn block(&mut self, desk: &mut Desk<'_>, step: Step<'_>) -> Result<(), Cause> {
        let Question::Block { block, .. } = self.ask.question else { return Err(Cause::BadReply) };
        match step {
            Step::More => {}
            // It is sealed on its way, into a slot of its own.
            Step::Begin { cipher: CipherAlgorithm::None, .. } => {}
            Step::Begin { len, .. } => {
                self.slot = Some((desk.store.reserve(&block, len).map_err(cannot_reserve)?, len));
            }
            Step::Piece(piece) => {
                let Some((slot, _)) = self.slot else {
                    let Desk { fetch, jobs, store, crypto, rng } = desk;
                    if fetch.take_plain(jobs, *store, *crypto, *rng, &self.ask, piece)? {
                        self.result = Some(Answer::Taken);
                    }
                    return Ok(());
                };
                desk.store.write(slot, self.written, piece).map_err(|_| Cause::StoreFull)?;
                self.written = self.written.saturating_add(piece.len() as u32);
            }
            Step::Block(seal) => match self.slot {
                Some((slot, len)) => self.result = Some(Answer::Sealed { slot, seal, len }),
                None if matches!(self.result, Some(Answer::Taken)) => {}
                None => return Err(Cause::BadReply),
            },
            Step::Missing => self.result = Some(Answer::Failed(Cause::NotHeld)),
            Step::Negotiation(range) => self.negotiate(range),
        }
        Ok(())
    }

    fn negotiate(&mut self, range: VersionRange) {
        if core::mem::replace(&mut self.negotiated, true) || !range.speaks(VERSION_1_0) {
            self.result = Some(Answer::Failed(Cause::BadReply));
        }
    }
}

const fn refused(refusal: Refusal) -> Cause {
    match refusal {
        // It is honest about it, and only of no use to us.
        Refusal::Cipher => Cause::Refused,
        _ => Cause::BadReply,
    }
}

/// `address:port`, IPv6 in brackets.
pub(crate) fn emit_host(writer: &mut Writer<'_>, address: SocketAddr) -> Result<(), NoRoom> {
    match address {
        SocketAddr::V4(v4) => {
            for (nth, octet) in (0u8..).zip(v4.ip().octets()) {
                if nth > 0 {
                    writer.text(".");
                }
                writer.decimal(u64::from(octet));
            }
        }
        SocketAddr::V6(v6) => {
            writer.text("[");
            for (nth, [high, low]) in (0u8..).zip(v6.ip().octets().as_chunks::<2>().0) {
                if nth > 0 {
                    writer.text(":");
                }
                writer.hex_upper(&[*high, *low]);
            }
            writer.text("]");
        }
    }
    writer.text(":");
    writer.decimal(u64::from(address.port()));
    writer.check()
}
