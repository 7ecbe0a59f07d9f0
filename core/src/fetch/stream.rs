//! A connection to a peer that we ask: one question at a time, its answer straight into a
//! reserved slot of the store.

use core::net::SocketAddr;

use rand_core::CryptoRng;

use super::{Ask, Cause, Fetch, Job, Question, cannot_reserve};
use crate::bytes::{NoRoom, Writer, copy};
use crate::crypto::{CipherAlgorithm, Crypto, Seal};
use crate::http::conn::{Body, Conn, Event};
use crate::http::wire as http;
use crate::limits::REQUEST_TIMEOUT;
use crate::retrieval::client::{AcceptPlain, Exchange, Refusal, Step};
use crate::retrieval::set::IndexSet;
use crate::retrieval::wire::{GET_BLOCKS_BYTES, PATH, VERSION_1_0, VersionRange};
use crate::store::{SlotId, Store};
use crate::time::{Duration, Instant};

/// Bytes of a question: the request's head, and MSG_GETBLKS, or MSG_GETBLKLIST with one range, which
/// is no longer.
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
    connected: bool,
    /// Something has come in reply to the question.
    begun: bool,
    /// Bytes of the question that have been sent, while some are left: it is so short that it is
    /// written again whenever more of it is sent.
    sent: Option<u16>,
    conn: Conn,
    asking: Option<Asking>,
    deadline: Instant,
}

struct Asking {
    ask: Ask,
    exchange: Exchange,
    /// Whether the reply is a 200; other replies carry no message.
    ok: bool,
    negotiated: bool,
    retried: bool,
    /// Bytes of its body that are announced and still to come.
    left: u64,
    slot: Option<(SlotId, u32)>,
    written: u32,
    result: Option<Answer>,
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
            connected: false,
            begun: false,
            sent: None,
            conn: Conn::client(),
            asking: None,
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

    /// What it asks in vain if it ends now, since not a byte came in reply: the peer may not want this
    /// connection, and answer on another.
    pub fn asks_in_vain(&self) -> Option<Ask> {
        self.asks().filter(|_| !self.begun)
    }

    /// What it asks.
    #[inline(never)]
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
        if !self.keeps_open() || self.conn.expect_reply(false).is_err() {
            return false;
        }
        if self.connected {
            self.deadline = now + REQUEST_TIMEOUT;
        }
        (self.sent, self.begun) = (Some(0), false);
        let exchange = match ask.question {
            Question::Block { block, plain_len, .. } => {
                Exchange::with_policy(block, plain_len, self.accept_plain)
            }
            Question::List { segment, blocks } => Exchange::list(segment, IndexSet::up_to(blocks)),
        };
        self.asking = Some(Asking {
            ask: *ask,
            exchange,
            ok: false,
            negotiated: false,
            retried: false,
            left: 0,
            slot: None,
            written: 0,
            result: None,
        });
        true
    }

    /// What is still to be sent, into `buf`.
    pub fn poll(&mut self, buf: &mut [u8]) -> usize {
        let (Some(sent), Some(asking)) = (self.sent, &self.asking) else { return 0 };
        let mut request = [0; REQUEST_BYTES];
        let mut writer = Writer::new(&mut request);
        // There is room for any address, and for any segment id.
        emit(self.peer, &asking.exchange, &mut writer);
        let left = writer.finish().get(sent.into()..).unwrap_or_default();
        let len = copy(buf, left);
        self.sent = (len < left.len()).then(|| sent.saturating_add(len as u16));
        len
    }

    /// Takes bytes from the peer. Returns how many were used, and what came of the question once
    /// that is known.
    pub fn handle(&mut self, now: Instant, desk: &mut Desk<'_>, bytes: &[u8]) -> (usize, Option<Answer>) {
        self.connected = true;
        self.begun |= !bytes.is_empty();
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
            _ => self.give_up(store, Cause::Broken),
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
        // A peer that answers before all has been asked cannot tell where the next question begins.
        self.conn.keep_alive() && self.sent.is_none()
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
            asking.exchange.restart();
            self.deadline = now + REQUEST_TIMEOUT;
            if !self.keeps_open() || self.conn.expect_reply(false).is_err() {
                return self.give_up(store, Cause::Refused);
            }
            self.sent = Some(0);
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
}

impl Asking {
    fn handle_body(&mut self, desk: &mut Desk<'_>, mut body: &[u8]) -> Result<(), Cause> {
        self.left = self.left.saturating_sub(body.len() as u64);
        while !body.is_empty() {
            let (used, step) = self.exchange.handle(body);
            self.step(desk, step.map_err(refused)?)?;
            body = body.get(used..).unwrap_or_default();
        }
        // Bytes behind the message make a bad reply; announced, they need not be waited for.
        if self.exchange.is_done() && self.left > 0 { Err(Cause::BadReply) } else { Ok(()) }
    }

    fn step(&mut self, desk: &mut Desk<'_>, step: Step<'_>) -> Result<(), Cause> {
        match step {
            Step::More => {}
            // It is sealed on its way, into a slot of its own.
            Step::Begin { cipher: CipherAlgorithm::None, .. } => {}
            Step::Begin { len, .. } => {
                let Question::Block { .. } = self.ask.question else { return Err(Cause::BadReply) };
                let Desk { fetch, jobs, store, crypto, .. } = desk;
                let kept = fetch.kept_as(jobs, *crypto, &self.ask).ok_or(Cause::OnItsWay)?;
                self.slot = Some((store.reserve(&kept, len).map_err(cannot_reserve)?, len));
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
            Step::Blocks => self.result = Some(Answer::Listed(self.exchange.blocks())),
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

/// Writes the whole request of an exchange.
fn emit(peer: SocketAddr, exchange: &Exchange, writer: &mut Writer<'_>) {
    let mut body = [0; GET_BLOCKS_BYTES];
    let mut body = Writer::new(&mut body);
    let _ = exchange.emit(&mut body);
    let body = body.finish();
    writer.text("POST ");
    writer.text(PATH);
    writer.text(" HTTP/1.1\r\nHost: ");
    let _ = emit_host(writer, peer);
    writer.text("\r\n");
    let _ = http::emit_content_length(writer, body.len() as u64);
    let _ = http::emit_head_end(writer);
    writer.put(body);
}

/// `address:port`, IPv6 in brackets.
pub(crate) fn emit_host(writer: &mut Writer<'_>, address: SocketAddr) -> Result<(), NoRoom> {
    let mut between = "";
    match address {
        SocketAddr::V4(v4) => {
            for octet in v4.ip().octets() {
                writer.text(between);
                writer.decimal(octet.into());
                between = ".";
            }
        }
        SocketAddr::V6(v6) => {
            writer.text("[");
            for pair in v6.ip().octets().as_chunks::<2>().0 {
                writer.text(between);
                writer.hex_upper(pair);
                between = ":";
            }
            writer.text("]");
        }
    }
    writer.text(":");
    writer.decimal(address.port().into());
    writer.check()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::SegmentId;
    use crate::store::BlockId;

    #[test]
    fn the_longest_question_fits() {
        // An address of IPv6, a segment id of SHA-512, and numbers with all their digits.
        let peer = SocketAddr::from(([0xffff; 8], u16::MAX));
        let segment = SegmentId::from_slice(&[0xff; 64]).unwrap();
        let block = Exchange::new(BlockId { segment, index: u32::MAX }, u32::MAX);
        for exchange in [block, Exchange::list(segment, IndexSet::up_to(512))] {
            let mut request = [0; REQUEST_BYTES];
            let mut writer = Writer::new(&mut request);
            emit(peer, &exchange, &mut writer);
            assert_eq!(writer.check(), Ok(()));
            assert!(writer.finish().starts_with(b"POST "));
            let mut body = [0; GET_BLOCKS_BYTES];
            assert_eq!(exchange.emit(&mut Writer::new(&mut body)), Ok(()));
        }
    }
}
