//! [RFC 4559] A message to a hosted cache that asks who we are ([MS-PCHC] 2.1): it is sent again, with a token.
//!
//! This stands between what a node sends and what TLS makes of it. A message is kept until its reply is complete, and
//! so is the reply: one by which the hosted cache asks is not for the node.

#[cfg(feature = "negotiate")]
mod tokens;

use std::string::String;
use std::vec::Vec;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use peerdist_core::http::conn::{Conn, Event};
use zeroize::{Zeroize as _, Zeroizing};

#[cfg(feature = "negotiate")]
pub(super) use self::tokens::Tokens;

/// Bytes of a message that are kept: more than one about a segment of 512 blocks has.
const MESSAGE_BYTES: usize = 64 * 1024;

/// Bytes of a reply that are kept: a token, and a page for people.
const REPLY_BYTES: usize = 64 * 1024;

/// How often a message is sent: without a token, and with those of three rounds, which no mechanism exceeds.
const TIMES: u8 = 4;

const UNAUTHORIZED: u16 = 401;

/// A connection's message and its reply.
pub(super) struct Exchange {
    message: Zeroizing<Vec<u8>>,
    /// The header line with the token, if there is one.
    proof: Zeroizing<Vec<u8>>,
    /// Bytes that went out of both.
    sent: usize,
    times: u8,
    /// The message waits for a token.
    waits: bool,
    /// It needs another connection.
    is_cut: bool,
    conn: Conn,
    status: u16,
    reply: Vec<u8>,
}

/// What became of the bytes of a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is not complete.
    More,
    /// The node may have these.
    Reply(Vec<u8>),
    /// A token is wanted, in answer to this one if there is one.
    Asked(Option<Vec<u8>>),
    /// The node may have these, by which the message is refused for good.
    Refused(Vec<u8>, &'static str),
}

impl Exchange {
    pub(super) fn new() -> Self {
        Self {
            // A buffer that grows would leave copies behind that nobody wipes.
            message: Zeroizing::new(Vec::with_capacity(MESSAGE_BYTES)),
            proof: Zeroizing::default(),
            sent: 0,
            times: 0,
            waits: false,
            is_cut: false,
            conn: Conn::client(),
            status: 0,
            reply: Vec::new(),
        }
    }

    /// Whether the message waits for a token.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Whether the message has to go out on another connection.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The connection has ended while the message waits for a token.
    pub(super) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Another connection is there, if it was needed: the node does not learn of it.
    pub(super) fn reconnected(&mut self) -> bool {
        core::mem::take(&mut self.is_cut)
    }

    /// Fills the front of `room` with what goes out, and takes what the node has from `read`. `None` if a token is
    /// wanted first, since the hosted cache `asks`.
    pub(super) fn poll<E>(
        &mut self,
        room: &mut [u8],
        asks: bool,
        mut read: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Option<usize>, E> {
        while self.message.len() < MESSAGE_BYTES {
            let most = room.len().min(MESSAGE_BYTES.saturating_sub(self.message.len()));
            let len = read(room.get_mut(..most).unwrap_or_default())?;
            if len == 0 {
                break;
            }
            self.message.extend_from_slice(room.get(..len).unwrap_or_default());
        }
        if self.times == 0 && !self.waits && !self.message.is_empty() {
            if asks {
                self.waits = true;
                return Ok(None);
            }
            self.send();
        }
        if self.waits || self.is_cut {
            return Ok(Some(0));
        }
        let len = self.fill(room);
        // What is longer is not kept.
        if len == 0 && self.message.len() == MESSAGE_BYTES { read(room).map(Some) } else { Ok(Some(len)) }
    }

    /// The message goes out, from its beginning.
    fn send(&mut self) {
        (self.sent, self.waits, self.status) = (0, false, 0);
        self.times = self.times.saturating_add(1);
        self.reply.clear();
        if self.is_cut {
            self.conn = Conn::client();
        }
        // The last reply was complete, and left the connection open.
        let _ = self.conn.expect_reply(false);
    }

    /// The token goes behind the first line.
    fn fill(&mut self, room: &mut [u8]) -> usize {
        let first = self.message.iter().position(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
        let (line, rest) = self.message.split_at_checked(first).unwrap_or_default();
        let bytes = line.iter().chain(self.proof.iter()).chain(rest);
        let mut len = 0usize;
        for (to, from) in room.iter_mut().zip(bytes.skip(self.sent)) {
            *to = *from;
            len = len.saturating_add(1);
        }
        self.sent = self.sent.saturating_add(len);
        len
    }

    /// The token that was wanted; whether the message goes out with it for a second time or more.
    pub(super) fn prove(&mut self, token: &[u8]) -> bool {
        self.proof.zeroize();
        let head = "Authorization: Negotiate ";
        let mut line = Zeroizing::new(String::with_capacity(head.len() + token.len().div_ceil(3) * 4 + 2));
        line.push_str(head);
        BASE64_STANDARD.encode_string(token, &mut line);
        line.push_str("\r\n");
        self.proof = Zeroizing::new(core::mem::take(&mut *line).into_bytes());
        self.send();
        self.times > 1
    }

    /// There is no token: the message goes out without, or the node may have the reply that asked for one.
    pub(super) fn give_up(&mut self) -> Option<Vec<u8>> {
        if self.times == 0 {
            self.send();
            return None;
        }
        Some(self.end())
    }

    /// Takes bytes of the reply, or its end if there are none.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Taken {
        self.reply.extend_from_slice(bytes);
        if self.times == 0 {
            // Nobody asked for it.
            return Taken::Reply(core::mem::take(&mut self.reply));
        }
        let mut used = 0usize;
        let is_complete = loop {
            let (taken, event) = self.conn.handle(bytes.get(used..).unwrap_or_default());
            used = used.saturating_add(taken);
            match event {
                Ok(Some(Event::End)) => break true,
                Ok(Some(Event::Status { code, .. })) => self.status = code,
                Ok(Some(_)) => {}
                Ok(None) if bytes.is_empty() => break matches!(self.conn.handle_eof(), Ok(Some(Event::End))),
                Ok(None) if self.reply.len() < REPLY_BYTES => return Taken::More,
                Ok(None) | Err(_) => break false,
            }
        };
        if self.status != UNAUTHORIZED {
            return Taken::Reply(self.end());
        }
        let refused = match challenge(&self.reply) {
            _ if !is_complete => "with a reply that is too long, or none",
            None => "and not by Negotiate, which is all that is known here",
            Some(None) if !self.proof.is_empty() => "and refuses the ticket that it was given",
            Some(_) if self.times >= TIMES => "again and again",
            Some(_) if self.message.len() == MESSAGE_BYTES => "and the message is too long to be sent again",
            Some(token) => {
                // What answers nothing is none; what does is for the same connection.
                let token = token.filter(|_| !self.proof.is_empty());
                let is_open = self.conn.keep_alive() && used == bytes.len() && self.is_sent();
                if is_open || token.is_none() {
                    (self.waits, self.is_cut) = (true, !is_open);
                    return Taken::Asked(token);
                }
                "and ends the connection before that is complete"
            }
        };
        Taken::Refused(self.end(), refused)
    }

    fn is_sent(&self) -> bool {
        self.sent == self.message.len().saturating_add(self.proof.len())
    }

    /// Nothing is left to do for this message: its reply.
    fn end(&mut self) -> Vec<u8> {
        self.message.zeroize();
        self.proof.zeroize();
        (self.sent, self.times, self.waits, self.is_cut) = (0, 0, false, false);
        core::mem::take(&mut self.reply)
    }
}

/// Whether a reply asks for Negotiate, and the token that it brings.
fn challenge(reply: &[u8]) -> Option<Option<Vec<u8>>> {
    let (head, rest) = reply.split_at_checked(end_of_head(reply)).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    // RFC 9110 15.2: any number of interim replies come first.
    if head.split_whitespace().nth(1).is_some_and(|code| code.starts_with('1')) {
        return challenge(rest);
    }
    let values = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("WWW-Authenticate").then_some(value)
    });
    // RFC 9110 11.6.1: a list, or a header for each.
    values.flat_map(|value| value.split(',')).find_map(|item| {
        let (scheme, token) = item.trim().split_once(' ').unwrap_or((item.trim(), ""));
        let token = || BASE64_STANDARD.decode(token.trim()).ok().filter(|token| !token.is_empty());
        scheme.eq_ignore_ascii_case("Negotiate").then(token)
    })
}

fn end_of_head(reply: &[u8]) -> usize {
    let end = reply.windows(4).position(|window| window == b"\r\n\r\n");
    end.map_or(reply.len(), |end| end.saturating_add(4))
}

#[cfg(test)]
mod tests;
