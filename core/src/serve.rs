//! The corridor of a block that somebody else wants: an HTTP request, by its path → the retrieval
//! server → the reply, block bytes straight from the store.

use heapless::Vec;

use crate::bytes::{NoRoom, Writer, copy};
use crate::http::conn::{Conn, Event};
use crate::http::wire as http;
use crate::limits::UPLOAD_TIMEOUT;
use crate::retrieval::server::{Answer, Incoming, Reply, Role};
use crate::retrieval::wire::is_retrieval_path;
use crate::store::{Store, StoreError};
use crate::time::Instant;

/// Bytes of the head of a reply.
const HEAD_BYTES: usize = 128;

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
}

/// A connection that a peer opened to us.
pub struct Upload {
    conn: Conn,
    phase: Phase,
    role: Role,
    request: Incoming,
    ours: bool,
    /// A request has begun to arrive.
    begun: bool,
    head: Vec<u8, HEAD_BYTES>,
    head_sent: usize,
    reply: Option<Reply>,
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

impl Upload {
    /// A connection that was just accepted by a server of that role.
    pub fn new(now: Instant, role: Role) -> Self {
        Self {
            conn: Conn::server(),
            phase: Phase::Receiving,
            role,
            request: Incoming::new(role),
            ours: false,
            begun: false,
            head: Vec::new(),
            head_sent: 0,
            reply: None,
            deadline: now + UPLOAD_TIMEOUT,
        }
    }

    /// When it is to be aborted (MS-PCCRR 3.2.2).
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether a client is being served: counts towards the limit of active clients.
    pub fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Sending { .. })
    }

    /// Whether nothing was asked since the last answer.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Receiving && !self.begun
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
        store: &dyn Store,
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
                Ok(Some(Event::Request { method, target, .. })) => {
                    self.begun = true;
                    // MS-PCCRR 3.2.2: the upload timer runs for each exchange; between them, the
                    // connection is only kept.
                    self.deadline = now + UPLOAD_TIMEOUT;
                    self.ours = method == b"POST" && is_retrieval_path(target);
                }
                Ok(Some(Event::HeadEnd(_))) => {
                    if self.conn.wants_continue() {
                        self.put_head(|writer| writer.put(http::CONTINUE));
                    }
                }
                Ok(Some(Event::Body(body))) if self.ours => self.request.handle(now, store, body),
                Ok(Some(Event::End)) => self.answer(store, counters, busy),
                Ok(Some(Event::Header { .. } | Event::Body(_) | Event::Status { .. })) => {}
                Err(error) => {
                    counters.dropped = counters.dropped.wrapping_add(1);
                    self.refuse(error.status());
                }
            }
        }
        used
    }

    /// The peer sends no more: after a whole request it may still read the reply.
    pub fn handle_eof(&mut self) {
        if self.phase == Phase::Receiving {
            self.phase = Phase::Over;
        } else if self.phase != Phase::Over {
            self.phase = Phase::Sending { close: true };
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
        let mut len = copy(buf, self.head.get(self.head_sent..).unwrap_or_default());
        self.head_sent = self.head_sent.saturating_add(len);
        if self.head_sent < self.head.len() {
            return Ok(len);
        }
        let Phase::Sending { close } = self.phase else { return Ok(len) };
        if let Some(reply) = &mut self.reply {
            let room = buf.get_mut(len..).unwrap_or_default();
            match reply.read(store, room) {
                Ok(read) => len = len.saturating_add(read),
                Err(error) => {
                    self.damaged(store, counters, error);
                    return Err(error);
                }
            }
            if !reply.is_empty() {
                return Ok(len);
            }
            if let Some(block) = reply.block() {
                counters.blocks = counters.blocks.wrapping_add(1);
                counters.block_bytes = counters.block_bytes.wrapping_add(u64::from(block.len));
            }
        }
        self.begin_again(now, close);
        Ok(len)
    }

    fn begin_again(&mut self, now: Instant, close: bool) {
        self.reply = None;
        self.head.clear();
        self.head_sent = 0;
        self.request = Incoming::new(self.role);
        self.begun = false;
        self.deadline = now + UPLOAD_TIMEOUT;
        let again = !close && self.conn.next_exchange().is_ok();
        self.phase = if again { Phase::Receiving } else { Phase::Over };
    }

    fn answer(&mut self, store: &dyn Store, counters: &mut Counters, busy: bool) {
        if !self.ours {
            counters.dropped = counters.dropped.wrapping_add(1);
            return self.refuse(404);
        }
        match self.request.finish(store, busy) {
            Answer::Reply(reply) => {
                counters.answered = counters.answered.wrapping_add(1);
                self.put_head(|writer| {
                    http::emit_status_line(writer, 200).map_err(|_| NoRoom)?;
                    http::emit_content_length(writer, u64::from(reply.len()))?;
                    http::emit_head_end(writer)
                });
                self.reply = Some(reply);
                self.phase = Phase::Sending { close: !self.conn.keep_alive() };
            }
            // Fact 39: "dropped" is a 400 without a body; an empty 200 would be taken for a reply.
            Answer::Drop => {
                counters.dropped = counters.dropped.wrapping_add(1);
                self.refuse(400);
            }
        }
    }

    fn refuse(&mut self, status: u16) {
        self.put_head(|writer| {
            http::emit_status_line(writer, status).map_err(|_| NoRoom)?;
            http::emit_content_length(writer, 0)?;
            writer.text("Connection: close\r\n")?;
            http::emit_head_end(writer)
        });
        self.phase = Phase::Sending { close: true };
    }

    /// Puts a head behind what is still unsent of an interim reply.
    fn put_head(&mut self, emit: impl FnOnce(&mut Writer<'_>) -> Result<(), NoRoom>) {
        let mut buf = [0; HEAD_BYTES];
        let mut writer = Writer::new(&mut buf);
        let unsent = self.head.get(self.head_sent..).unwrap_or_default();
        // The longest interim reply and the longest head fit together.
        let _ = writer.put(unsent).and_then(|()| emit(&mut writer));
        self.head = Vec::from_slice(writer.finish()).unwrap_or_default();
        self.head_sent = 0;
    }

    /// A block that rotted is nobody's any more.
    fn damaged(&mut self, store: &mut dyn Store, counters: &mut Counters, error: StoreError) {
        if error == StoreError::Damaged {
            counters.damaged = counters.damaged.wrapping_add(1);
            if let Some(block) = self.reply.as_ref().and_then(Reply::block) {
                store.release(block.slot);
            }
        }
        self.phase = Phase::Over;
    }
}

#[cfg(test)]
mod tests;
