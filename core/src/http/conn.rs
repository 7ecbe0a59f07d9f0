//! [RFC 9112] Messages on a connection: heads, body framing, keep-alive, for both roles.
//!
//! A [`Conn`] reads what the other side sends; what we send needs no state and is written with
//! [`wire`]. It takes bytes as they come and gives one event at a time:
//!
//! ```text
//! Request | Status, Header*, HeadEnd(body), Body*, End
//! ```
//!
//! The contract: call [`Conn::handle`], drop the bytes it used, and call again until it returns
//! `None`; then bring more bytes. After `End` it takes nothing until the owner begins the next
//! exchange, so that pipelined requests wait with the caller.
//!
//! ```
//! use peerdist_core::http::conn::{Body, Conn, Event};
//!
//! let mut conn = Conn::server();
//! let mut input: &[u8] = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
//! let mut body = [0; 2];
//! loop {
//!     let (used, event) = conn.handle(input);
//!     match event.unwrap() {
//!         Some(Event::Request { target, .. }) => assert_eq!(target, b"/x"),
//!         Some(Event::HeadEnd(framing)) => assert_eq!(framing, Body::Length(2)),
//!         Some(Event::Body(bytes)) => body.copy_from_slice(bytes),
//!         Some(Event::Header { .. } | Event::Status { .. }) => {}
//!         Some(Event::End) | None => break,
//!     }
//!     input = &input[used..];
//! }
//! assert_eq!(&body, b"hi");
//! assert!(conn.keep_alive());
//! ```

use super::wire::{self, Header, Malformed, Version, items, name_eq};
use crate::bytes::{Len, parse_decimal};

/// Bytes of a line that are kept, without its LF: every line that matters to us is far shorter.
/// The value of a longer header is passed over.
pub const LINE_BYTES: usize = 512;

/// Bytes of a whole head with its line ends, interim replies before it included, and again of all
/// trailers: what other servers allow, so that long cookies and proxies' traces pass.
pub const HEAD_BYTES: usize = 16 * 1_024;

/// Header lines of a head, and again of the trailers.
pub const HEADERS: u16 = 100;

/// What came next on the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A request began (server role).
    Request {
        /// A token, case-sensitive.
        method: &'a [u8],
        /// The request target as sent.
        target: &'a [u8],
        /// HTTP/1.0 or HTTP/1.1.
        version: Version,
    },
    /// The final reply began (client role).
    Status {
        /// HTTP/1.0 or HTTP/1.1.
        version: Version,
        /// 200 to 999: interim replies are not shown.
        code: u16,
    },
    /// A header line. Those longer than [`LINE_BYTES`] are not shown.
    Header {
        /// A token, to be compared without case.
        name: &'a [u8],
        /// Without the white space around it.
        value: &'a [u8],
    },
    /// The head is complete, and the body is framed like this.
    HeadEnd(Body),
    /// The next bytes of the body, at least one, straight from the input.
    Body(&'a [u8]),
    /// The message is complete.
    End,
}

impl core::fmt::Debug for Event<'_> {
    /// Heads are shown: they say what is wanted, not what it is.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let text = |bytes| core::str::from_utf8(bytes).unwrap_or("?");
        match self {
            Self::Request { method, target, version } => {
                let mut shown = f.debug_struct("Request");
                shown.field("method", &text(method)).field("target", &text(target));
                shown.field("version", version).finish()
            }
            Self::Status { version, code } => {
                f.debug_struct("Status").field("version", version).field("code", code).finish()
            }
            Self::Header { name, value } => {
                f.debug_struct("Header").field("name", &text(name)).field("value", &text(value)).finish()
            }
            Self::HeadEnd(body) => f.debug_tuple("HeadEnd").field(body).finish(),
            Self::Body(bytes) => f.debug_tuple("Body").field(&Len(bytes)).finish(),
            Self::End => f.write_str("End"),
        }
    }
}

/// How a message's body is framed (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Body {
    /// There is none.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks, which [`Conn`] takes apart.
    Chunked,
    /// All bytes until the other side closes; replies only.
    UntilClose,
}

/// Why the connection cannot be read any further. It is final: answer, if we are the server, and
/// close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ConnError {
    /// Not HTTP, or framed in a way that two readers could understand differently.
    Malformed,
    /// The request line is longer than [`LINE_BYTES`].
    UriTooLong,
    /// The head goes beyond [`HEAD_BYTES`] or [`HEADERS`], or a line of it that decides about
    /// framing beyond [`LINE_BYTES`].
    HeadTooLarge,
    /// A transfer coding other than `chunked`, or a switch of protocols.
    Unsupported,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// The other side closed inside a message.
    Truncated,
}

impl ConnError {
    /// The status code with which a server answers.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::Truncated => 400,
            Self::UriTooLong => 414,
            Self::HeadTooLarge => 431,
            Self::Unsupported => 501,
            Self::Version => 505,
        }
    }
}

impl From<Malformed> for ConnError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// The owner asked for a next exchange while this one is not complete, on a connection that does
/// not stay open, or in the other role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct OutOfTurn;

/// The reading side of one connection.
#[derive(Debug)]
pub struct Conn {
    role: Role,
    phase: Phase,
    line: Line,
    head: Head,
    /// What the head, or the trailers, may still have.
    bytes_left: usize,
    headers_left: u16,
    /// Whether the client waits to be told to send its body.
    continue_due: bool,
}

impl Conn {
    /// Reads requests; ready for the first.
    pub const fn server() -> Self {
        Self::new(Role::Server, Phase::Start)
    }

    /// Reads replies, once [`Conn::expect_reply`] says that one is due.
    pub const fn client() -> Self {
        Self::new(Role::Client { to_head: false }, Phase::Done)
    }

    /// Server: begins the next exchange, after [`Event::End`].
    pub fn next_exchange(&mut self) -> Result<(), OutOfTurn> {
        match (self.role, self.phase) {
            // RFC 9112 9.6: a server MUST NOT process requests after one with `close`.
            (Role::Server, Phase::Done) if self.keep_alive() => {
                self.begin();
                Ok(())
            }
            _ => Err(OutOfTurn),
        }
    }

    /// Client: a request went out, and a reply is to come. `to_head` says that its method was
    /// HEAD, to which no reply has a body.
    ///
    /// Bytes that come before are not used: nobody asked for them, and the owner should close.
    pub fn expect_reply(&mut self, to_head: bool) -> Result<(), OutOfTurn> {
        match (self.role, self.phase) {
            (Role::Client { .. }, Phase::Done) if self.keep_alive() => {
                self.role = Role::Client { to_head };
                self.begin();
                Ok(())
            }
            _ => Err(OutOfTurn),
        }
    }

    /// Takes bytes from the front of `input`: how many were used, and the next event, or `None`
    /// if there is none before more bytes come. Errors stay.
    pub fn handle<'a>(&'a mut self, input: &'a [u8]) -> (usize, Result<Option<Event<'a>>, ConnError>) {
        let mut used = 0usize;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            match self.phase {
                Phase::Done => return (used, Ok(None)),
                Phase::Failed(error) => return (used, Err(error)),
                Phase::Body(0) => {
                    self.phase = Phase::Done;
                    return (used, Ok(Some(Event::End)));
                }
                Phase::Chunk(0) => self.phase = Phase::ChunkEnd,
                Phase::Body(_) | Phase::Chunk(_) | Phase::UntilClose => {
                    let data = self.take_data(rest);
                    let event = (!data.is_empty()).then_some(Event::Body(data));
                    return (used.saturating_add(data.len()), Ok(event));
                }
                Phase::Start | Phase::Headers | Phase::ChunkLine | Phase::ChunkEnd | Phase::Trailer => {
                    let (taken, complete) = self.gather(rest);
                    used = used.saturating_add(taken);
                    match complete {
                        Ok(true) => {}
                        Ok(false) => return (used, Ok(None)),
                        Err(error) => return (used, Err(self.fail(error))),
                    }
                    // The two lines whose events borrow from the line buffer.
                    if self.shows_request() {
                        return (used, self.handle_request_line().map(Some));
                    }
                    if self.shows_header() {
                        return (used, self.handle_header_line().map(Some));
                    }
                    match self.handle_line() {
                        Ok(None) => {}
                        Ok(event) => return (used, Ok(event)),
                        Err(error) => return (used, Err(self.fail(error))),
                    }
                }
            }
        }
    }

    /// The other side sends no more: [`Event::End`] if that completes the message, `None` between
    /// messages.
    pub fn handle_eof(&mut self) -> Result<Option<Event<'static>>, ConnError> {
        match self.phase {
            Phase::Done => Ok(None),
            Phase::Failed(error) => Err(error),
            Phase::Body(0) | Phase::UntilClose => {
                self.phase = Phase::Done;
                Ok(Some(Event::End))
            }
            Phase::Start if self.role == Role::Server && self.line.is_empty() => Ok(None),
            // RFC 9112 8: a client that receives an incomplete message MUST record it as such; a
            // server MAY answer with an error.
            _ => Err(self.fail(ConnError::Truncated)),
        }
    }

    /// Whether the connection stays open after this message, for all that the other side says
    /// (RFC 9112 9.3). Known from [`Event::HeadEnd`] on.
    pub fn keep_alive(&self) -> bool {
        !matches!(self.phase, Phase::Failed(_)) && self.head.keep_alive()
    }

    /// Server: whether the client holds its body back until it sees [`wire::CONTINUE`]. True from
    /// [`Event::HeadEnd`] until the body begins.
    pub const fn wants_continue(&self) -> bool {
        self.continue_due
    }

    const fn new(role: Role, phase: Phase) -> Self {
        Self {
            role,
            phase,
            line: Line::EMPTY,
            head: Head::NEW,
            bytes_left: HEAD_BYTES,
            headers_left: HEADERS,
            continue_due: false,
        }
    }

    fn begin(&mut self) {
        self.phase = Phase::Start;
        self.head = Head::NEW;
        self.bytes_left = HEAD_BYTES;
        self.headers_left = HEADERS;
    }

    fn fail(&mut self, error: ConnError) -> ConnError {
        self.continue_due = false;
        self.phase = Phase::Failed(error);
        error
    }

    /// Takes what `input` has of a body or chunk.
    fn take_data<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let (Phase::Body(left) | Phase::Chunk(left)) = &mut self.phase else { return input };
        let wanted = usize::try_from(*left).unwrap_or(usize::MAX);
        let data = input.get(..wanted).unwrap_or(input);
        *left = left.saturating_sub(data.len() as u64);
        if !data.is_empty() {
            self.continue_due = false;
        }
        data
    }

    /// Collects a line: bytes used, and whether it is complete. Whatever the pieces in which
    /// bytes come, each error is raised at the same byte.
    fn gather(&mut self, input: &[u8]) -> (usize, Result<bool, ConnError>) {
        self.line.begin();
        let bounded = matches!(self.phase, Phase::Start | Phase::Headers | Phase::Trailer);
        let limit = if bounded { self.bytes_left } else { usize::MAX };
        let window = input.get(..limit).unwrap_or(input);
        let (text, taken) = match window.iter().position(|&byte| byte == b'\n') {
            Some(at) => (window.get(..at).unwrap_or_default(), at.saturating_add(1)),
            None => (window, window.len()),
        };
        let complete = taken > text.len();
        if taken > 0 && !bounded {
            self.continue_due = false;
        }
        let excess = self.line.push(text);
        if !excess.is_empty() {
            if !self.line.is_cut()
                && let Err(error) = self.cut_line()
            {
                return (taken, Err(error));
            }
            if let Err(error) = self.line.pass_over(excess) {
                return (taken, Err(error.into()));
            }
        }
        if bounded {
            self.bytes_left = self.bytes_left.saturating_sub(taken);
            if self.bytes_left == 0 && !complete {
                return (taken, Err(ConnError::HeadTooLarge));
            }
        }
        self.line.complete = complete;
        (taken, Ok(complete))
    }

    /// The line is longer than its buffer: decides by its beginning whether the rest may go.
    fn cut_line(&mut self) -> Result<(), ConnError> {
        let start = self.line.kept();
        match (self.phase, self.role) {
            (Phase::Start, Role::Server) => match start.iter().position(|&byte| byte == b' ') {
                Some(at) if start.get(..at).is_some_and(wire::is_token) => return Err(ConnError::UriTooLong),
                _ => return Err(ConnError::Malformed),
            },
            (Phase::Start, Role::Client { .. }) => return Err(ConnError::HeadTooLarge),
            (Phase::Headers | Phase::Trailer, _) if wire::is_token(start) => {
                return Err(ConnError::HeadTooLarge);
            }
            (Phase::Headers, _) => {
                let header = wire::parse_header(start)?;
                self.head.note_cut(header.name)?;
            }
            (Phase::Trailer, _) => {
                wire::parse_header(start)?;
            }
            _ => return Err(ConnError::Malformed),
        }
        self.line.cut = Some(Cut { after_cr: false });
        Ok(())
    }

    fn shows_request(&self) -> bool {
        self.phase == Phase::Start && self.role == Role::Server && !self.line.text().is_empty()
    }

    fn shows_header(&self) -> bool {
        self.phase == Phase::Headers
            && !self.line.text().is_empty()
            && !self.line.is_cut()
            && !self.head.is_interim()
            && self.headers_left > 0
    }

    fn handle_request_line(&mut self) -> Result<Event<'_>, ConnError> {
        let parsed = wire::parse_request_line(self.line.text())
            .map_err(ConnError::from)
            .and_then(|line| known(line.version).map(|()| line));
        match parsed {
            Ok(line) => {
                self.head.version = line.version;
                self.phase = Phase::Headers;
                Ok(Event::Request { method: line.method, target: line.target, version: line.version })
            }
            Err(error) => {
                self.phase = Phase::Failed(error);
                Err(error)
            }
        }
    }

    fn handle_header_line(&mut self) -> Result<Event<'_>, ConnError> {
        self.headers_left = self.headers_left.saturating_sub(1);
        let parsed = wire::parse_header(self.line.text())
            .map_err(ConnError::from)
            .and_then(|header| self.head.note(&header).map(|()| header));
        match parsed {
            Ok(header) => Ok(Event::Header { name: header.name, value: header.value }),
            Err(error) => {
                self.phase = Phase::Failed(error);
                Err(error)
            }
        }
    }

    /// Handles every line that is not shown as it stands.
    fn handle_line(&mut self) -> Result<Option<Event<'static>>, ConnError> {
        let text = self.line.text();
        match self.phase {
            Phase::Start if text.is_empty() => {
                // RFC 9112 2.2: a server SHOULD ignore an empty line before a request line. Some
                // send one after a body, so the client role ignores it too.
                Ok(None)
            }
            Phase::Start => self.handle_status_line(),
            Phase::Headers if text.is_empty() => self.handle_head_end(),
            Phase::Headers => self.handle_unseen_header().map(|()| None),
            Phase::ChunkLine => {
                match self.line.crlf_text().map(wire::parse_chunk_line).ok_or(Malformed)?? {
                    0 => {
                        self.bytes_left = HEAD_BYTES;
                        self.headers_left = HEADERS;
                        self.phase = Phase::Trailer;
                    }
                    size => self.phase = Phase::Chunk(size),
                }
                Ok(None)
            }
            Phase::ChunkEnd => match self.line.crlf_text() {
                Some([]) => {
                    self.phase = Phase::ChunkLine;
                    Ok(None)
                }
                _ => Err(ConnError::Malformed),
            },
            Phase::Trailer if text.is_empty() => {
                self.phase = Phase::Done;
                Ok(Some(Event::End))
            }
            // RFC 9110 6.5.1: a recipient MUST NOT merge trailers into headers unless it
            // understands them. We drop them all.
            Phase::Trailer => self.handle_unseen_header().map(|()| None),
            Phase::Body(_) | Phase::Chunk(_) | Phase::UntilClose | Phase::Done | Phase::Failed(_) => Ok(None),
        }
    }

    fn handle_status_line(&mut self) -> Result<Option<Event<'static>>, ConnError> {
        let line = wire::parse_status_line(self.line.text())?;
        known(line.version)?;
        if line.code == 101 {
            // We never ask for another protocol, so what follows cannot be read.
            return Err(ConnError::Unsupported);
        }
        self.head = Head { version: line.version, code: line.code, ..Head::NEW };
        self.phase = Phase::Headers;
        if self.head.is_interim() {
            return Ok(None);
        }
        Ok(Some(Event::Status { version: line.version, code: line.code }))
    }

    fn handle_unseen_header(&mut self) -> Result<(), ConnError> {
        self.headers_left = self.headers_left.checked_sub(1).ok_or(ConnError::HeadTooLarge)?;
        if !self.line.is_cut() {
            wire::parse_header(self.line.text())?;
        }
        Ok(())
    }

    fn handle_head_end(&mut self) -> Result<Option<Event<'static>>, ConnError> {
        if self.head.is_interim() {
            // RFC 9110 15.2: a client MUST be able to parse any number of 1xx before the final
            // reply. The number is bounded by HEAD_BYTES, which they share with it.
            self.phase = Phase::Start;
            return Ok(None);
        }
        let body = match self.role {
            Role::Server => self.head.request_body()?,
            Role::Client { to_head } => self.head.reply_body(to_head)?,
        };
        self.phase = match body {
            Body::None => Phase::Body(0),
            Body::Length(len) => Phase::Body(len),
            Body::Chunked => Phase::ChunkLine,
            Body::UntilClose => Phase::UntilClose,
        };
        // RFC 9110 10.1.1: a server that receives a 100-continue expectation in an HTTP/1.0
        // request MUST ignore it.
        self.continue_due =
            self.head.expects && self.head.version > Version::HTTP_10 && self.phase != Phase::Body(0);
        self.head.close |= body == Body::UntilClose;
        Ok(Some(Event::HeadEnd(body)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Server,
    Client { to_head: bool },
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Start,
    Headers,
    /// A body with this many bytes to come.
    Body(u64),
    UntilClose,
    ChunkLine,
    /// A chunk with this many bytes to come.
    Chunk(u64),
    /// The line end behind a chunk's data.
    ChunkEnd,
    Trailer,
    /// No message: nothing, until the owner begins an exchange.
    Done,
    Failed(ConnError),
}

/// What the head of the message says about its framing and its connection.
#[derive(Debug)]
struct Head {
    version: Version,
    /// Of the status line; 0 in a request.
    code: u16,
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
    stay: bool,
    expects: bool,
    hosts: u8,
}

impl Head {
    const NEW: Self = Self {
        version: Version::HTTP_11,
        code: 0,
        content_length: None,
        chunked: false,
        close: false,
        stay: false,
        expects: false,
        hosts: 0,
    };

    fn note(&mut self, header: &Header<'_>) -> Result<(), ConnError> {
        let Header { name, value } = *header;
        if name_eq(name, b"Content-Length") {
            return self.note_content_length(value);
        }
        if name_eq(name, b"Transfer-Encoding") {
            return self.note_transfer_encoding(value);
        }
        if name_eq(name, b"Connection") {
            for item in items(value) {
                self.close |= name_eq(item.token, b"close");
                self.stay |= name_eq(item.token, b"keep-alive");
            }
        } else if name_eq(name, b"Expect") {
            self.expects |= items(value).any(|item| name_eq(item.token, b"100-continue"));
        } else if name_eq(name, b"Host") {
            self.hosts = self.hosts.saturating_add(1);
        }
        Ok(())
    }

    /// Notes a header whose value was too long to be read.
    fn note_cut(&mut self, name: &[u8]) -> Result<(), ConnError> {
        if self.is_interim() {
            return Ok(());
        }
        if name_eq(name, b"Content-Length") || name_eq(name, b"Transfer-Encoding") {
            return Err(ConnError::HeadTooLarge);
        }
        // It may say `close`, and closing is never wrong.
        self.close |= name_eq(name, b"Connection");
        self.hosts = self.hosts.saturating_add(u8::from(name_eq(name, b"Host")));
        Ok(())
    }

    fn note_content_length(&mut self, value: &[u8]) -> Result<(), ConnError> {
        // RFC 9112 6.3 (5): an invalid Content-Length is an unrecoverable error, and the server
        // MUST answer 400; repeats that all agree may be taken as one.
        for part in value.split(|&byte| byte == b',') {
            let len = parse_decimal(part.trim_ascii()).ok_or(Malformed)?;
            if self.content_length.is_some_and(|known| known != len) {
                return Err(ConnError::Malformed);
            }
            self.content_length = Some(len);
        }
        Ok(())
    }

    fn note_transfer_encoding(&mut self, value: &[u8]) -> Result<(), ConnError> {
        let mut codings = 0u8;
        for item in items(value) {
            codings = codings.saturating_add(1);
            // RFC 9112 6.1: a server that does not understand a transfer coding SHOULD answer 501.
            if !name_eq(item.token, b"chunked") || !item.params.is_empty() {
                return Err(ConnError::Unsupported);
            }
            // RFC 9112 6.1: a sender MUST NOT apply chunked more than once.
            if self.chunked {
                return Err(ConnError::Malformed);
            }
            self.chunked = true;
        }
        if codings == 0 { Err(ConnError::Malformed) } else { Ok(()) }
    }

    const fn is_interim(&self) -> bool {
        matches!(self.code, 100..=199)
    }

    fn request_body(&self) -> Result<Body, ConnError> {
        // RFC 9112 3.2: a server MUST answer 400 to an HTTP/1.1 request without Host, and to any
        // with more than one. Which host is meant does not matter to us.
        if self.hosts > 1 || self.hosts == 0 && self.version > Version::HTTP_10 {
            return Err(ConnError::Malformed);
        }
        Ok(self.coded_body()?.unwrap_or(Body::None))
    }

    fn reply_body(&self, to_head: bool) -> Result<Body, ConnError> {
        // RFC 9112 6.3 (1): these have no body, whatever their headers say.
        if to_head || matches!(self.code, 204 | 304) {
            return Ok(Body::None);
        }
        Ok(self.coded_body()?.unwrap_or(Body::UntilClose))
    }

    fn coded_body(&self) -> Result<Option<Body>, ConnError> {
        match (self.chunked, self.content_length) {
            (true, None) if self.version > Version::HTTP_10 => Ok(Some(Body::Chunked)),
            // RFC 9112 6.1: Transfer-Encoding in HTTP/1.0 MUST be treated as faulty framing.
            // RFC 9112 6.3 (3): with Content-Length beside it, it ought to be handled as an
            // error, since it may be an attempt to smuggle a request.
            (true, _) => Err(ConnError::Malformed),
            (false, Some(len)) => Ok(Some(Body::Length(len))),
            (false, None) => Ok(None),
        }
    }

    /// RFC 9112 9.3.
    fn keep_alive(&self) -> bool {
        !self.close && (self.version > Version::HTTP_10 || self.stay)
    }
}

/// The line being collected.
#[derive(Debug)]
struct Line {
    bytes: [u8; LINE_BYTES],
    len: usize,
    /// Set once it is longer than the buffer.
    cut: Option<Cut>,
    complete: bool,
}

/// The part of a line that is passed over.
#[derive(Clone, Copy, Debug)]
struct Cut {
    after_cr: bool,
}

impl Line {
    const EMPTY: Self = Self { bytes: [0; LINE_BYTES], len: 0, cut: None, complete: false };

    /// Makes room for the next line if this one is complete: until now an event could borrow it.
    fn begin(&mut self) {
        if self.complete {
            self.len = 0;
            self.cut = None;
            self.complete = false;
        }
    }

    /// Keeps what fits and returns the rest.
    fn push<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let (kept, excess) = text.split_at_checked(room.len()).unwrap_or((text, &[]));
        for (slot, &byte) in room.iter_mut().zip(kept) {
            *slot = byte;
        }
        self.len = self.len.saturating_add(kept.len());
        excess
    }

    /// Holds the part that is dropped to the same rules as the part that is kept.
    fn pass_over(&mut self, text: &[u8]) -> Result<(), Malformed> {
        let Some(cut) = &mut self.cut else { return Err(Malformed) };
        for &byte in text {
            if cut.after_cr {
                return Err(Malformed);
            }
            cut.after_cr = byte == b'\r';
            if !cut.after_cr && !wire::is_field_byte(byte) {
                return Err(Malformed);
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.complete || self.len == 0
    }

    const fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    fn kept(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The line without its end. RFC 9112 2.2: a recipient MAY take a lone LF as line end.
    fn text(&self) -> &[u8] {
        self.crlf_text().unwrap_or(self.kept())
    }

    /// The line without its end, if that is CRLF. Around chunks nothing else is taken: proxies
    /// disagree about a lone LF there, which lets requests be smuggled past them.
    fn crlf_text(&self) -> Option<&[u8]> {
        self.kept().strip_suffix(b"\r")
    }
}

/// RFC 9110 15.6.6: other major versions are not supported; HTTP/1.1 is the highest minor one.
fn known(version: Version) -> Result<(), ConnError> {
    match version {
        Version::HTTP_10 | Version::HTTP_11 => Ok(()),
        _ => Err(ConnError::Version),
    }
}
#[cfg(test)]
mod tests;
