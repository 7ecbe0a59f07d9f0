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

use super::wire::{self, Header, Malformed, RequestLine, StatusLine, Version, items, name_eq};
use crate::bytes::{Len, copy, parse_decimal, split_byte};
use crate::limits::rows;

/// Bytes of a line that are kept, without its LF: every line that matters to us is far shorter.
/// The value of a longer header is passed over.
pub const LINE_BYTES: usize = rows(512, 256);

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
// Small fields come first: a microcontroller reaches those with short instructions.
#[derive(Debug)]
#[repr(C)]
pub struct Conn {
    role: Role,
    phase: Phase,
    /// Whether the client waits to be told to send its body.
    continue_due: bool,
    /// What the head, or the trailers, may still have.
    headers_left: u16,
    bytes_left: usize,
    /// Bytes to come of the body, or of a chunk; without end, if only the end of the connection tells.
    left: u64,
    head: Head,
    line: Line,
}

/// What a line comes to.
enum Step {
    /// Nothing that is shown.
    More,
    /// A request line, and it is shown.
    Request,
    /// A header that is shown.
    Header,
    /// Something that does not lie in the line.
    Event(Event<'static>),
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
        if self.role == Role::Server { self.begin() } else { Err(OutOfTurn) }
    }

    /// Client: a request went out, and a reply is to come. `to_head` says that its method was
    /// HEAD, to which no reply has a body.
    ///
    /// Bytes that come before are not used: nobody asked for them, and the owner should close.
    pub fn expect_reply(&mut self, to_head: bool) -> Result<(), OutOfTurn> {
        if self.role == Role::Server {
            return Err(OutOfTurn);
        }
        self.begin()?;
        self.role = Role::Client { to_head };
        Ok(())
    }

    /// Takes bytes from the front of `input`: how many were used, and the next event, or `None`
    /// if there is none before more bytes come. Errors stay.
    #[inline(never)]
    pub fn handle<'a>(&'a mut self, input: &'a [u8]) -> (usize, Result<Option<Event<'a>>, ConnError>) {
        let mut used = 0usize;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            match self.phase {
                Phase::Done => return (used, Ok(None)),
                Phase::Failed(error) => return (used, Err(error)),
                Phase::Body if self.left == 0 => {
                    self.phase = Phase::Done;
                    return (used, Ok(Some(Event::End)));
                }
                Phase::Chunk if self.left == 0 => self.phase = Phase::ChunkEnd,
                Phase::Body | Phase::Chunk | Phase::UntilClose => {
                    let data = self.take_data(rest);
                    let event = (!data.is_empty()).then_some(Event::Body(data));
                    return (used.saturating_add(data.len()), Ok(event));
                }
                Phase::Start | Phase::Headers | Phase::ChunkLine | Phase::ChunkEnd | Phase::Trailer => {
                    let step = match self.gather(rest, &mut used) {
                        Ok(true) => self.handle_line(),
                        Ok(false) => return (used, Ok(None)),
                        Err(error) => Err(error),
                    };
                    let event = match step {
                        Ok(Step::More) => continue,
                        Ok(Step::Event(event)) => Ok(event),
                        // The two lines whose events borrow from the line buffer; they have been read before.
                        Ok(Step::Request) => wire::parse_request_line(self.line.text())
                            .map(|RequestLine { method, target, version }| Event::Request {
                                method,
                                target,
                                version,
                            })
                            .map_err(ConnError::from),
                        Ok(Step::Header) => wire::parse_header(self.line.text())
                            .map(|Header { name, value }| Event::Header { name, value })
                            .map_err(ConnError::from),
                        Err(error) => {
                            self.continue_due = false;
                            self.phase = Phase::Failed(error);
                            Err(error)
                        }
                    };
                    return (used, event.map(Some));
                }
            }
        }
    }

    /// The other side sends no more: [`Event::End`] if that completes the message, `None` between
    /// messages.
    pub fn handle_eof(&mut self) -> Result<Option<Event<'static>>, ConnError> {
        let begun = self.phase != Phase::Start || self.role != Role::Server || !self.line.is_empty();
        match self.phase {
            Phase::Done => Ok(None),
            Phase::Failed(error) => Err(error),
            Phase::Body if self.left > 0 => self.fail(),
            Phase::Body | Phase::UntilClose => {
                self.phase = Phase::Done;
                Ok(Some(Event::End))
            }
            _ if begun => self.fail(),
            _ => Ok(None),
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
            left: 0,
            bytes_left: HEAD_BYTES,
            headers_left: HEADERS,
            continue_due: false,
        }
    }

    fn begin(&mut self) -> Result<(), OutOfTurn> {
        // RFC 9112 9.6: a server MUST NOT process requests after one with `close`.
        if self.phase != Phase::Done || !self.keep_alive() {
            return Err(OutOfTurn);
        }
        self.phase = Phase::Start;
        self.head = Head::NEW;
        (self.bytes_left, self.headers_left) = (HEAD_BYTES, HEADERS);
        Ok(())
    }

    /// RFC 9112 8: a client that receives an incomplete message MUST record it as such; a server MAY
    /// answer with an error.
    fn fail(&mut self) -> Result<Option<Event<'static>>, ConnError> {
        self.continue_due = false;
        self.phase = Phase::Failed(ConnError::Truncated);
        Err(ConnError::Truncated)
    }

    /// Takes what `input` has of a body or chunk.
    fn take_data<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
        let data = input.get(..wanted).unwrap_or(input);
        if self.phase != Phase::UntilClose {
            self.left = self.left.saturating_sub(data.len() as u64);
        }
        if !data.is_empty() {
            self.continue_due = false;
        }
        data
    }

    /// Collects a line, and counts the bytes `used` for it: whether it is complete. Whatever the pieces in
    /// which bytes come, each error is raised at the same byte.
    #[inline(never)]
    fn gather(&mut self, input: &[u8], used: &mut usize) -> Result<bool, ConnError> {
        self.line.begin();
        let bounded = matches!(self.phase, Phase::Start | Phase::Headers | Phase::Trailer);
        let limit = if bounded { self.bytes_left } else { usize::MAX };
        let window = input.get(..limit).unwrap_or(input);
        let end = window.iter().position(|&byte| byte == b'\n');
        let text = end.and_then(|end| window.get(..end)).unwrap_or(window);
        let complete = end.is_some();
        let taken = text.len().saturating_add(complete.into());
        *used = used.saturating_add(taken);
        if taken > 0 && !bounded {
            self.continue_due = false;
        }
        let excess = self.line.push(text);
        if !excess.is_empty() {
            if !self.line.cut {
                self.cut_line()?;
            }
            self.line.pass_over(excess)?;
        }
        if bounded {
            self.bytes_left = self.bytes_left.saturating_sub(taken);
            if self.bytes_left == 0 && !complete {
                return Err(ConnError::HeadTooLarge);
            }
        }
        self.line.complete = complete;
        Ok(complete)
    }

    /// The line is longer than its buffer: decides by its beginning whether the rest may go.
    fn cut_line(&mut self) -> Result<(), ConnError> {
        let start = self.line.kept();
        let token = match split_byte(start, b' ') {
            Some((method, _)) if self.phase == Phase::Start => wire::is_token(method),
            _ => wire::is_token(start),
        };
        match (self.phase, self.role) {
            (Phase::Start, Role::Server) if token && start.contains(&b' ') => Err(ConnError::UriTooLong),
            (Phase::Start, Role::Client { .. }) => Err(ConnError::HeadTooLarge),
            (Phase::Headers | Phase::Trailer, _) if token => Err(ConnError::HeadTooLarge),
            (Phase::Headers | Phase::Trailer, _) => {
                let header = wire::parse_header(start)?;
                if self.phase == Phase::Headers {
                    self.head.note(header.name, None)?;
                }
                (self.line.cut, self.line.after_cr) = (true, false);
                Ok(())
            }
            _ => Err(ConnError::Malformed),
        }
    }

    /// Handles a line that is complete.
    #[inline(never)]
    fn handle_line(&mut self) -> Result<Step, ConnError> {
        let text = self.line.text();
        match self.phase {
            // RFC 9112 2.2: a server SHOULD ignore an empty line before a request line. Some
            // send one after a body, so the client role ignores it too.
            Phase::Start if text.is_empty() => Ok(Step::More),
            Phase::Start if self.role == Role::Server => {
                self.head.version = known(wire::parse_request_line(text)?.version)?;
                self.phase = Phase::Headers;
                Ok(Step::Request)
            }
            Phase::Start => {
                let StatusLine { version, code } = wire::parse_status_line(text)?;
                known(version)?;
                if code == 101 {
                    // We never ask for another protocol, so what follows cannot be read.
                    return Err(ConnError::Unsupported);
                }
                self.head = Head { version, code, ..Head::NEW };
                self.phase = Phase::Headers;
                if self.head.is_interim() {
                    return Ok(Step::More);
                }
                Ok(Step::Event(Event::Status { version, code }))
            }
            Phase::Headers if text.is_empty() => self.handle_head_end(),
            Phase::Trailer if text.is_empty() => {
                self.phase = Phase::Done;
                Ok(Step::Event(Event::End))
            }
            Phase::Headers | Phase::Trailer => {
                self.headers_left = self.headers_left.checked_sub(1).ok_or(ConnError::HeadTooLarge)?;
                if self.line.cut {
                    return Ok(Step::More);
                }
                let Header { name, value } = wire::parse_header(text)?;
                // RFC 9110 6.5.1: a recipient MUST NOT merge trailers into headers unless it
                // understands them. We drop them all.
                if self.phase == Phase::Trailer || self.head.is_interim() {
                    return Ok(Step::More);
                }
                self.head.note(name, Some(value))?;
                Ok(Step::Header)
            }
            Phase::ChunkLine => {
                self.left = wire::parse_chunk_line(self.line.crlf_text().ok_or(Malformed)?)?;
                self.phase = Phase::Chunk;
                if self.left == 0 {
                    self.phase = Phase::Trailer;
                    (self.bytes_left, self.headers_left) = (HEAD_BYTES, HEADERS);
                }
                Ok(Step::More)
            }
            Phase::ChunkEnd if self.line.crlf_text() == Some(&[]) => {
                self.phase = Phase::ChunkLine;
                Ok(Step::More)
            }
            _ => Err(ConnError::Malformed),
        }
    }

    fn handle_head_end(&mut self) -> Result<Step, ConnError> {
        if self.head.is_interim() {
            // RFC 9110 15.2: a client MUST be able to parse any number of 1xx before the final
            // reply. The number is bounded by HEAD_BYTES, which they share with it.
            self.phase = Phase::Start;
            return Ok(Step::More);
        }
        let body = self.head.body(self.role)?;
        (self.phase, self.left) = match body {
            Body::None => (Phase::Body, 0),
            Body::Length(len) => (Phase::Body, len),
            Body::Chunked => (Phase::ChunkLine, 0),
            Body::UntilClose => (Phase::UntilClose, u64::MAX),
        };
        // RFC 9110 10.1.1: a server that receives a 100-continue expectation in an HTTP/1.0
        // request MUST ignore it.
        let none = matches!(body, Body::None | Body::Length(0));
        self.continue_due = self.head.expects && self.head.version > Version::HTTP_10 && !none;
        self.head.close |= body == Body::UntilClose;
        Ok(Step::Event(Event::HeadEnd(body)))
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
    Body,
    UntilClose,
    ChunkLine,
    Chunk,
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

    /// Notes a header; of one that was too long to be read, without its value.
    #[inline(never)]
    fn note(&mut self, name: &[u8], value: Option<&[u8]>) -> Result<(), ConnError> {
        if self.is_interim() {
            return Ok(());
        }
        // What cannot be read may say `close`, and closing is never wrong.
        let says = |token: &[u8], unread: bool| {
            value.map_or(unread, |value| items(value).any(|item| name_eq(item.token, token)))
        };
        if name_eq(name, b"Connection") {
            self.close |= says(b"close", true);
            self.stay |= says(b"keep-alive", false);
        } else if name_eq(name, b"Expect") {
            self.expects |= says(b"100-continue", false);
        } else if name_eq(name, b"Host") {
            self.hosts = self.hosts.saturating_add(1);
        } else if name_eq(name, b"Content-Length") {
            // RFC 9112 6.3 (5): an invalid Content-Length is an unrecoverable error, and the server
            // MUST answer 400; repeats that all agree may be taken as one.
            for part in value.ok_or(ConnError::HeadTooLarge)?.split(|&byte| byte == b',') {
                let len = parse_decimal(part.trim_ascii()).ok_or(Malformed)?;
                if self.content_length.is_some_and(|known| known != len) {
                    return Err(ConnError::Malformed);
                }
                self.content_length = Some(len);
            }
        } else if name_eq(name, b"Transfer-Encoding") {
            let before = self.chunked;
            for item in items(value.ok_or(ConnError::HeadTooLarge)?) {
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
            if self.chunked == before {
                return Err(ConnError::Malformed);
            }
        }
        Ok(())
    }

    const fn is_interim(&self) -> bool {
        matches!(self.code, 100..=199)
    }

    fn body(&self, role: Role) -> Result<Body, ConnError> {
        match role {
            // RFC 9112 3.2: a server MUST answer 400 to an HTTP/1.1 request without Host, and to any
            // with more than one. Which host is meant does not matter to us.
            Role::Server if self.hosts > 1 || self.hosts == 0 && self.version > Version::HTTP_10 => {
                return Err(ConnError::Malformed);
            }
            // RFC 9112 6.3 (1): these have no body, whatever their headers say.
            Role::Client { to_head } if to_head || matches!(self.code, 204 | 304) => return Ok(Body::None),
            _ => {}
        }
        match (self.chunked, self.content_length) {
            (true, None) if self.version > Version::HTTP_10 => Ok(Body::Chunked),
            // RFC 9112 6.1: Transfer-Encoding in HTTP/1.0 MUST be treated as faulty framing.
            // RFC 9112 6.3 (3): with Content-Length beside it, it ought to be handled as an
            // error, since it may be an attempt to smuggle a request.
            (true, _) => Err(ConnError::Malformed),
            (false, Some(len)) => Ok(Body::Length(len)),
            (false, None) if role == Role::Server => Ok(Body::None),
            (false, None) => Ok(Body::UntilClose),
        }
    }

    /// RFC 9112 9.3.
    fn keep_alive(&self) -> bool {
        !self.close && (self.version > Version::HTTP_10 || self.stay)
    }
}

/// The line being collected.
#[derive(Debug)]
#[repr(C)]
struct Line {
    len: u16,
    /// It is longer than the buffer.
    cut: bool,
    /// The part that is passed over ends with CR so far.
    after_cr: bool,
    complete: bool,
    bytes: [u8; LINE_BYTES],
}

impl Line {
    const EMPTY: Self = Self { bytes: [0; LINE_BYTES], len: 0, cut: false, after_cr: false, complete: false };

    /// Makes room for the next line if this one is complete: until now an event could borrow it.
    fn begin(&mut self) {
        if self.complete {
            (self.len, self.cut, self.complete) = (0, false, false);
        }
    }

    /// Keeps what fits and returns the rest.
    fn push<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let kept = copy(self.bytes.get_mut(self.len.into()..).unwrap_or_default(), text);
        self.len = self.len.saturating_add(kept as u16);
        text.get(kept..).unwrap_or_default()
    }

    /// Holds the part that is dropped to the same rules as the part that is kept.
    fn pass_over(&mut self, text: &[u8]) -> Result<(), Malformed> {
        for &byte in text {
            if self.after_cr || byte != b'\r' && !wire::is_field_byte(byte) {
                return Err(Malformed);
            }
            self.after_cr = byte == b'\r';
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.complete || self.len == 0
    }

    fn kept(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
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
fn known(version: Version) -> Result<Version, ConnError> {
    match version {
        Version::HTTP_10 | Version::HTTP_11 => Ok(version),
        _ => Err(ConnError::Version),
    }
}

#[cfg(test)]
mod tests;
