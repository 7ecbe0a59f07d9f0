//! A connection to the origin server: asks for content information, or for a range that no peer
//! has ([MS-PCCRTP] 3.1), and tells what its reply carries.

use core::ops::Range;

use heapless::Vec;

use super::{HOST_BYTES, PATH_BYTES, Stage, Url, VALIDATOR_BYTES, Validator};
use crate::bytes::{Len, Writer, copy};
use crate::encoding::{self, InfoVersion, Reply, ReplyCoding};
use crate::http::conn::{Body, Conn, Event};
use crate::http::wire::{self as http, ByteRange, ContentRange, EmitError};
use crate::time::{Duration, Instant};

/// Bytes of a request's head.
const REQUEST_BYTES: usize = PATH_BYTES + HOST_BYTES + VALIDATOR_BYTES + 336;

/// Bytes of a date as servers write it (RFC 9110 5.6.7).
const DATE_BYTES: usize = 29;

/// How long the origin may be silent: it is far away, and its link may be slow and lossy.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a connection is kept without a request, for the next one.
const IDLE: Duration = Duration::from_secs(15);

/// What is asked of the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// The content information, or the content itself if there is none.
    Info,
    /// These bytes of the content.
    Range(Range<u64>),
}

/// What a reply brings.
pub enum OriginEvent<'a> {
    /// Content information follows.
    InfoBegun {
        /// Bytes of the content that it describes.
        content_len: u64,
    },
    /// The next bytes of content information.
    Info(&'a [u8]),
    /// The content information is complete.
    InfoEnd,
    /// The content itself follows.
    PlainBegun {
        /// Bytes of it, if the origin says.
        len: Option<u64>,
    },
    /// The next bytes of the content.
    Plain(&'a [u8]),
    /// The content is complete.
    PlainEnd,
    /// Bytes of the range asked for.
    Data {
        /// Where they belong in the content.
        offset: u64,
        /// What they are.
        bytes: &'a [u8],
    },
    /// The range asked for, which began there, is over.
    DataEnd {
        /// Its first byte.
        start: u64,
    },
    /// The content is at another place, which has been told.
    Moved,
}

impl core::fmt::Debug for OriginEvent<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::InfoBegun { content_len } => {
                f.debug_struct("InfoBegun").field("content_len", content_len).finish()
            }
            Self::Info(bytes) => f.debug_tuple("Info").field(&Len(bytes)).finish(),
            Self::InfoEnd => f.write_str("InfoEnd"),
            Self::PlainBegun { len } => f.debug_struct("PlainBegun").field("len", len).finish(),
            Self::Plain(bytes) => f.debug_tuple("Plain").field(&Len(bytes)).finish(),
            Self::PlainEnd => f.write_str("PlainEnd"),
            Self::Data { offset, bytes } => {
                f.debug_struct("Data").field("offset", offset).field("bytes", &Len(bytes)).finish()
            }
            Self::DataEnd { start } => f.debug_struct("DataEnd").field("start", start).finish(),
            Self::Moved => f.write_str("Moved"),
        }
    }
}

/// Why the origin did not give what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OriginFailure {
    /// No connection came about.
    Unreachable,
    /// The connection broke.
    Broken,
    /// The connection is there, and nothing came on it for too long.
    Silent,
    /// It answered with this status.
    Status(u16),
    /// What it answered is not HTTP, or not what was asked for.
    BadReply,
    /// The content is another one than that whose rest was asked for.
    Changed,
    /// The URL has bytes that no request can carry, such as a space.
    Url,
    /// It used a content coding that we do not know.
    Coding,
}

impl OriginFailure {
    /// Whether asking again is of no use.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Status(status) => status < 500,
            Self::Coding | Self::Url | Self::Changed => true,
            Self::Unreachable | Self::Broken | Self::Silent | Self::BadReply => false,
        }
    }
}

/// A connection to the origin.
// Small fields come first: a microcontroller reaches those with short instructions.
#[repr(C)]
pub struct OriginStream {
    connected: bool,
    failed: bool,
    /// Bytes of the request that have been sent, while there are more.
    sent: Option<u16>,
    deadline: Instant,
    want: Option<Want>,
    reply: ReplyHead,
    conn: Conn,
}

/// What goes into requests, beside what they are for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Of what.
    pub url: &'a Url,
    /// The highest version of content information that the client takes.
    pub max_info: InfoVersion,
    /// What has to tell the content, in requests on that condition.
    pub condition: &'a Validator,
}

/// What tells the content of a reply from others (RFC 9110 8.8).
#[derive(Default)]
pub struct Tags {
    /// The one that is kept.
    pub(super) kept: Validator,
    /// That of the latest reply.
    told: Validator,
    /// It has an entity tag, strong or not.
    tagged: bool,
    /// When the reply was made.
    date: Vec<u8, DATE_BYTES>,
}

impl Tags {
    /// Keeps that of the latest reply, if none is kept.
    pub(super) fn keep(&mut self) {
        if self.kept.is_empty() {
            self.kept.clone_from(&self.told);
        }
    }

    /// A reply begins.
    fn clear(&mut self) {
        self.told.clear();
        self.date.clear();
        self.tagged = false;
    }

    /// Notes a header of the reply; most are none of its business.
    #[inline(never)]
    fn header(&mut self, name: &[u8], value: &[u8]) {
        if http::name_eq(name, b"ETag") {
            self.tagged = true;
            // A weak one (`W/`) tells nothing about single bytes. A longer one is as good as none.
            let strong = value.len() > 2 && value.starts_with(b"\"") && value.ends_with(b"\"");
            replace(&mut self.told, if strong { value } else { &[] });
        } else if http::name_eq(name, b"Last-Modified") {
            // RFC 9110 13.1.5: If-Range MUST NOT have a date if there is an entity tag.
            if !self.tagged {
                replace(&mut self.told, if value.len() == DATE_BYTES { value } else { &[] });
            }
        } else if http::name_eq(name, b"Date") {
            replace(&mut self.date, value);
        }
    }

    /// The head of the reply is over.
    fn finish(&mut self) {
        // RFC 9110 8.8.2.2: a date is strong if the reply was made at least a second later.
        if !self.tagged && (self.date.len() != DATE_BYTES || *self.date == *self.told) {
            self.told.clear();
        }
    }
}

/// Puts `bytes` in place of what `text` was, if they are not too many.
fn replace<const N: usize>(text: &mut Vec<u8, N>, bytes: &[u8]) {
    text.clear();
    let _ = text.extend_from_slice(bytes);
}

/// What has been read of a reply.
struct ReplyHead {
    status: u16,
    coding: ReplyCoding,
    body: Carries,
    /// Only the content that is told by what the request said is wanted.
    conditional: bool,
    /// It has a range, which is the one that was asked for.
    fits: bool,
    /// It has told where the content is instead.
    moved: bool,
    /// Where the next byte of the body belongs in the content.
    offset: u64,
    /// Where the range ends that it has to give.
    end: u64,
    /// Bytes of the content, once content information or a reply has told.
    content_len: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Carries {
    Nothing,
    Info,
    Plain,
    Range,
}

impl ReplyHead {
    #[inline(never)]
    fn new(content_len: u64, end: u64, conditional: bool) -> Self {
        Self {
            status: 0,
            coding: ReplyCoding::default(),
            body: Carries::Nothing,
            conditional,
            fits: false,
            moved: false,
            offset: 0,
            end,
            content_len,
        }
    }

    #[inline(never)]
    fn header(&mut self, want: &Want, location: Option<&mut Stage>, name: &[u8], value: &[u8]) {
        if http::name_eq(name, b"Content-Range") {
            let range = ContentRange::parse(value);
            self.fits = false;
            if let (206, Want::Range(asked), Ok(ContentRange::Part { first, last, total })) =
                (self.status, want, range)
            {
                let total = total.unwrap_or(u64::MAX);
                let behind = last.saturating_add(1);
                // All that was asked for, or all there is of it.
                self.fits = first == asked.start && behind >= asked.end.min(self.content_len).min(total);
                // More than that is none of it, and less is not all of it.
                self.end = asked.end.min(behind);
                self.content_len = self.content_len.min(total);
            }
        } else if http::name_eq(name, b"Location") {
            // RFC 9110, 15.4: of these, the content is at another place.
            if let (301 | 302 | 303 | 307 | 308, Some(location)) = (self.status, location) {
                self.moved = location.set_place(value);
            }
        } else {
            self.coding.header(name, value);
        }
    }

    #[inline(never)]
    fn head_end(
        &mut self,
        want: &Want,
        tags: &Tags,
        framing: Body,
    ) -> Result<Option<OriginEvent<'static>>, OriginFailure> {
        if self.moved {
            return Ok(Some(OriginEvent::Moved));
        }
        let status = self.status;
        // A server that ignores ranges sends everything.
        if status != 200 && !(status == 206 && *want != Want::Info) {
            return Err(OriginFailure::Status(status));
        }
        let coding = self.coding.decide().map_err(|_| OriginFailure::Coding)?;
        let (body, event) = match (want, coding) {
            (Want::Info, Reply::Encoded { content_len, .. }) => {
                (Carries::Info, Some(OriginEvent::InfoBegun { content_len }))
            }
            (Want::Info, Reply::Plain { .. }) => {
                let len = match framing {
                    Body::None => Some(0),
                    Body::Length(len) => Some(len),
                    Body::Chunked | Body::UntilClose => None,
                };
                (Carries::Plain, Some(OriginEvent::PlainBegun { len }))
            }
            (Want::Range(_), Reply::Encoded { .. }) => return Err(OriginFailure::Coding),
            (Want::Range(range), Reply::Plain { .. }) => {
                // RFC 9110 13.1.5: all of another content; 15.3.7.3: only parts that have the same strong
                // validator may be combined, whatever the server makes of the condition.
                if self.conditional && (status != 206 || tags.told != tags.kept) {
                    return Err(OriginFailure::Changed);
                }
                if status == 206 {
                    if !self.fits {
                        return Err(OriginFailure::BadReply);
                    }
                    self.offset = range.start;
                }
                (Carries::Range, None)
            }
        };
        self.body = body;
        Ok(event)
    }

    fn body<'a>(&mut self, want: &Want, bytes: &'a [u8]) -> Option<OriginEvent<'a>> {
        let offset = self.offset;
        self.offset = offset.saturating_add(bytes.len() as u64);
        match (self.body, want) {
            (Carries::Info, _) => Some(OriginEvent::Info(bytes)),
            (Carries::Plain, _) => Some(OriginEvent::Plain(bytes)),
            (Carries::Range, Want::Range(range)) => {
                let skip = usize::try_from(range.start.saturating_sub(offset)).unwrap_or(usize::MAX);
                let len = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
                let wanted = bytes.get(skip..len.min(bytes.len())).filter(|bytes| !bytes.is_empty())?;
                Some(OriginEvent::Data { offset: offset.max(range.start), bytes: wanted })
            }
            (Carries::Nothing | Carries::Range, _) => None,
        }
    }
}

impl OriginStream {
    /// A connection that is being opened.
    pub fn new(now: Instant) -> Self {
        Self {
            conn: Conn::client(),
            connected: false,
            failed: false,
            want: None,
            sent: None,
            deadline: now + SILENCE,
            reply: ReplyHead::new(u64::MAX, 0, false),
        }
    }

    /// Whether the connection came about.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// What it is asking for.
    pub fn want(&self) -> Option<&Want> {
        self.want.as_ref()
    }

    /// Whether it asks for a range that begins there.
    pub fn asks_from(&self, start: u64) -> bool {
        matches!(&self.want, Some(Want::Range(range)) if range.start == start)
    }

    /// Whether more is to come of a reply that nobody waits for: no block is `awaited` that begins
    /// where it began. What is still to come of its frame alone is taken, and ends in silence: the
    /// same block may be awaited from another request by then.
    pub fn is_spare(&mut self, awaited: &dyn Fn(u64) -> bool) -> bool {
        let reply = &mut self.reply;
        let (Carries::Range, Some(Want::Range(range))) = (reply.body, &self.want) else { return false };
        if awaited(range.start) {
            return false;
        }
        // A server that ignores ranges sends on to the end of the content.
        let more = reply.offset < reply.end.min(reply.content_len) || reply.status == 200;
        reply.body = Carries::Nothing;
        more
    }

    /// Gives its request up.
    pub fn take_want(&mut self) -> Option<Want> {
        self.failed = true;
        self.want.take()
    }

    /// Whether its request was given up, so that no other can follow.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// When it has to be given up, or closed if it is idle.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Bytes of the content, if the request or a reply with a part of it said so.
    pub fn content_len(&self) -> Option<u64> {
        Some(self.reply.content_len).filter(|len| *len < u64::MAX)
    }

    /// Whether another request can follow on this connection.
    pub fn keeps_open(&self) -> bool {
        // A server that answers before it was asked all cannot tell where the next request begins.
        self.conn.keep_alive() && self.sent.is_none()
    }

    /// The connection is open.
    pub fn handle_connected(&mut self, now: Instant) {
        self.connected = true;
        self.deadline = now + SILENCE;
    }

    /// Puts a request about a content of `content_len` bytes, if that is known; if `conditional` only of
    /// the content that its condition tells. `false` if the connection cannot carry another, or no request
    /// can carry the URL.
    pub fn ask(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        want: &Want,
        content_len: Option<u64>,
        conditional: bool,
    ) -> bool {
        let buf = &mut [0; REQUEST_BYTES];
        let torn = self.sent.is_some() || emit(request, want, conditional, buf).is_err();
        if torn || self.conn.expect_reply(false).is_err() {
            return false;
        }
        let end = if let Want::Range(range) = want { range.end } else { 0 };
        self.reply = ReplyHead::new(content_len.unwrap_or(u64::MAX), end, conditional);
        self.want = Some(want.clone());
        self.sent = Some(0);
        self.deadline = now + SILENCE;
        true
    }

    /// What is still to be sent of the request that was put, into `buf`.
    pub fn poll(&mut self, request: &Request<'_>, buf: &mut [u8]) -> usize {
        let (Some(sent), Some(want)) = (self.sent, &self.want) else { return 0 };
        let all = &mut [0; REQUEST_BYTES];
        let all = emit(request, want, self.reply.conditional, all).unwrap_or_default();
        let rest = all.get(sent.into()..).unwrap_or_default();
        let len = copy(buf, rest);
        // A request is shorter than 64 KiB.
        self.sent = (len < rest.len()).then_some(sent.saturating_add(len as u16));
        len
    }

    /// Takes bytes from the origin: how many were used, and what they bring. What tells the content goes to
    /// `tags`, and where it is instead to `location`, if that is minded.
    pub fn handle<'a>(
        &mut self,
        now: Instant,
        tags: &mut Tags,
        mut location: Option<&mut Stage>,
        bytes: &'a [u8],
    ) -> (usize, Result<Option<OriginEvent<'a>>, OriginFailure>) {
        let Self { conn, reply, want: Some(want), .. } = self else {
            // Nothing was asked, so nothing is taken: idle, or out of turn.
            return (0, if bytes.is_empty() { Ok(None) } else { Err(OriginFailure::BadReply) });
        };
        (self.connected, self.deadline) = (true, now + SILENCE);
        // A server that ignores ranges sends on to the end of the content: it is cut off.
        if reply.body == Carries::Range && reply.status == 200 && reply.offset >= reply.end {
            self.failed = true;
            return (bytes.len(), self.end(now));
        }
        let mut used = 0usize;
        loop {
            let (taken, event) = conn.handle(bytes.get(used..).unwrap_or_default());
            used = used.saturating_add(taken);
            match event {
                Err(_) => return (used, Err(OriginFailure::BadReply)),
                Ok(None) => return (used, Ok(None)),
                Ok(Some(Event::Status { code, .. })) => {
                    reply.status = code;
                    tags.clear();
                }
                Ok(Some(Event::Header { name, value })) => {
                    tags.header(name, value);
                    reply.header(want, location.as_deref_mut(), name, value);
                }
                Ok(Some(Event::Request { .. })) => {}
                Ok(Some(Event::HeadEnd(framing))) => {
                    tags.finish();
                    match reply.head_end(want, tags, framing) {
                        Ok(None) => {}
                        other => return (used, other),
                    }
                }
                Ok(Some(Event::Body(body))) => {
                    // The same bytes again, for as long as the input lives: a body is the end of
                    // what was taken.
                    let body = bytes.get(used.saturating_sub(body.len())..used).unwrap_or_default();
                    match reply.body(want, body) {
                        None => {}
                        event => return (used, Ok(event)),
                    }
                }
                Ok(Some(Event::End)) => return (used, self.end(now)),
            }
        }
    }

    /// The origin sends no more.
    pub fn handle_eof(&mut self, now: Instant) -> Result<Option<OriginEvent<'static>>, OriginFailure> {
        match self.conn.handle_eof() {
            Ok(Some(_)) if self.want.is_some() => self.end(now),
            Ok(_) if self.want.is_none() => Ok(None),
            _ => Err(self.broken(false)),
        }
    }

    /// What a lost connection means at this point; `silent` if it was its deadline that ended it.
    pub fn broken(&self, silent: bool) -> OriginFailure {
        match (self.connected, silent) {
            (false, _) => OriginFailure::Unreachable,
            (true, false) => OriginFailure::Broken,
            (true, true) => OriginFailure::Silent,
        }
    }

    fn end(&mut self, now: Instant) -> Result<Option<OriginEvent<'static>>, OriginFailure> {
        self.deadline = now + IDLE;
        let reply = &self.reply;
        // A body that goes on until the connection is closed ends, too, where the line breaks.
        if reply.body == Carries::Range && reply.status == 206 && reply.offset < reply.end {
            return Err(OriginFailure::Broken);
        }
        Ok(match (reply.body, self.want.take()) {
            (Carries::Info, _) => Some(OriginEvent::InfoEnd),
            (Carries::Plain, _) => Some(OriginEvent::PlainEnd),
            (Carries::Range, Some(Want::Range(range))) => Some(OriginEvent::DataEnd { start: range.start }),
            _ => None,
        })
    }
}

/// Writes a request into `buf`.
fn emit<'b>(
    request: &Request<'_>,
    want: &Want,
    conditional: bool,
    buf: &'b mut [u8],
) -> Result<&'b [u8], EmitError> {
    let mut writer = Writer::new(buf);
    http::emit_request_line(&mut writer, b"GET", request.url.path.as_bytes())?;
    http::emit_header(&mut writer, b"Host", request.url.host.as_bytes())?;
    match want {
        Want::Info => encoding::emit_ask(&mut writer, request.max_info)?,
        Want::Range(range) => {
            encoding::emit_missing_data(&mut writer, request.max_info)?;
            let last = range.end.saturating_sub(1);
            ByteRange::Between { first: range.start, last }.emit(&mut writer)?;
            if conditional {
                http::emit_header(&mut writer, b"If-Range", request.condition)?;
            }
        }
    }
    http::emit_head_end(&mut writer)?;
    Ok(writer.finish())
}

impl core::fmt::Display for OriginFailure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unreachable => f.write_str("origin unreachable"),
            Self::Broken => f.write_str("connection to the origin lost"),
            Self::Silent => f.write_str("origin silent"),
            Self::Status(status) => write!(f, "origin answered with status {status}"),
            Self::BadReply => f.write_str("bad reply from the origin"),
            Self::Changed => f.write_str("content of the origin changed meanwhile"),
            Self::Url => f.write_str("URL that no request can carry"),
            Self::Coding => f.write_str("content coding of the origin unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(1_000);

    fn url() -> Url {
        let (host, path) = ("origin".try_into().unwrap(), "/".try_into().unwrap());
        Url { origin: ([10, 1, 0, 1], 80).into(), host, path }
    }

    /// Takes bytes of a reply to somebody who does not mind what tells the content.
    fn handle<'a>(
        origin: &mut OriginStream,
        bytes: &'a [u8],
    ) -> (usize, Result<Option<OriginEvent<'a>>, OriginFailure>) {
        origin.handle(NOW, &mut Tags::default(), None, bytes)
    }

    /// A request for the bytes 100 to 199, and so many of them that came.
    fn asking(status: &str, fields: &str, came: usize) -> OriginStream {
        extern crate std;
        let mut origin = OriginStream::new(NOW);
        let request = Request { url: &url(), max_info: InfoVersion::V1, condition: &Validator::new() };
        assert!(origin.ask(NOW, &request, &Want::Range(100..200), Some(1_000), false));
        origin.poll(&request, &mut [0; REQUEST_BYTES]);
        let head = std::format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n");
        assert!(matches!(handle(&mut origin, head.as_bytes()), (used, Ok(None)) if used == head.len()));
        let (used, event) = handle(&mut origin, &[0xd3; 1_000][..came]);
        assert!(used == came && matches!(event, Ok(Some(OriginEvent::Data { offset: 100, .. }))));
        origin
    }

    fn part(came: usize) -> OriginStream {
        asking("206 Partial Content", "Content-Range: bytes 100-199/1000\r\nContent-Length: 100", came)
    }

    /// What a range's reply says at its end, with nothing more to come.
    fn end(origin: &mut OriginStream) -> Option<u64> {
        match handle(origin, &[]) {
            (0, Ok(Some(OriginEvent::DataEnd { start }))) => Some(start),
            (0, Ok(None)) => None,
            _ => panic!("neither an end nor nothing"),
        }
    }

    #[test]
    fn a_reply_that_nobody_waits_for() {
        assert!(!part(60).is_spare(&|start| start == 100), "somebody does");
        assert!(part(60).is_spare(&|start| start == 0), "and nobody for the rest of it");
        let mut all = asking("200 OK", "Content-Length: 1000", 200);
        assert!(all.is_spare(&|_| false), "the end of the content is still to come");
    }

    /// What it makes of a reply to a request for the rest of what `"a"` tells; and what tells the reply.
    fn rest(told: &str, status: &str, fields: &str) -> (Option<OriginFailure>, Validator) {
        extern crate std;
        let mut origin = OriginStream::new(NOW);
        let told = Validator::from_slice(told.as_bytes()).unwrap();
        let request = Request { url: &url(), max_info: InfoVersion::V1, condition: &told };
        assert!(origin.ask(NOW, &request, &Want::Range(100..200), None, true));
        let mut buf = [0; REQUEST_BYTES];
        // However little room there is at a time, it is the same request.
        let mut len = 0;
        while origin.sent.is_some() {
            len += origin.poll(&request, &mut buf[len..][..7]);
        }
        assert_eq!(origin.poll(&request, &mut [0; 7]), 0);
        let mut tags = Tags { kept: told.clone(), ..Tags::default() };
        let asked = std::format!("Range: bytes=100-199\r\nIf-Range: {}\r\n", str::from_utf8(&told).unwrap());
        assert!(str::from_utf8(&buf[..len]).unwrap().contains(&asked));
        let framing = "Content-Range: bytes 100-199/1000\r\nContent-Length: 100";
        let head = std::format!("HTTP/1.1 {status}\r\n{framing}\r\n{fields}\r\n");
        let failure = match origin.handle(NOW, &mut tags, None, head.as_bytes()) {
            (_, Err(failure)) => Some(failure),
            (used, result) => {
                assert!(used == head.len() && matches!(result, Ok(None)));
                None
            }
        };
        (failure, tags.told)
    }

    /// Who is answered before all was asked has not said where the next request begins.
    #[test]
    fn a_torn_request_ends_its_connection() {
        let request = Request { url: &url(), max_info: InfoVersion::V1, condition: &Validator::new() };
        for room in [10, REQUEST_BYTES] {
            let mut origin = OriginStream::new(NOW);
            assert!(origin.ask(NOW, &request, &Want::Range(100..200), Some(1_000), false));
            origin.poll(&request, &mut [0; REQUEST_BYTES][..room]);
            let head = b"HTTP/1.1 206 x\r\nContent-Range: bytes 100-199/1000\r\nContent-Length: 100\r\n\r\n";
            assert!(matches!(handle(&mut origin, head), (_, Ok(None))));
            assert!(matches!(handle(&mut origin, &[0xd3; 100]), (100, Ok(Some(_)))));
            assert_eq!(end(&mut origin), Some(100));
            let whole = room == REQUEST_BYTES;
            assert_eq!(origin.keeps_open(), whole);
            assert_eq!(origin.ask(NOW, &request, &Want::Range(0..1), Some(1_000), false), whole);
        }
    }

    #[test]
    fn only_parts_of_the_same_content_are_taken() {
        let failure = |told: &str, status: &str, fields: &str| rest(told, status, fields).0;
        assert_eq!(failure("\"a\"", "206 x", "ETag: \"a\"\r\n"), None);
        for (status, fields) in [
            ("200 x", "ETag: \"a\"\r\n"),
            ("206 x", "ETag: \"b\"\r\n"),
            ("206 x", "ETag: W/\"a\"\r\n"),
            // Whatever else it says.
            ("206 x", ""),
        ] {
            assert_eq!(failure("\"a\"", status, fields), Some(OriginFailure::Changed), "{status} {fields}");
        }
        assert_eq!(failure("\"a\"", "416 x", ""), Some(OriginFailure::Status(416)));
        let date = "Sun, 06 Nov 1994 08:49:36 GMT";
        let later = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nLast-Modified: Sun, 06 Nov 1994 08:49:36 GMT\r\n";
        assert_eq!(failure(date, "206 x", later), None);
        assert_eq!(failure("Sun, 06 Nov 1994 08:49:35 GMT", "206 x", later), Some(OriginFailure::Changed));
    }

    #[test]
    fn what_tells_a_content() {
        let told = |fields: &str| rest("\"a\"", "206 x", fields).1;
        assert_eq!(*told("ETag: \"b\"\r\n"), *b"\"b\"");
        let modified = "Last-Modified: Sun, 06 Nov 1994 08:49:36 GMT\r\n";
        let (later, then) =
            ("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "Date: Sun, 06 Nov 1994 08:49:36 GMT\r\n");
        extern crate std;
        assert_eq!(*told(&std::format!("{modified}{later}")), *b"Sun, 06 Nov 1994 08:49:36 GMT");
        assert_eq!(*told(&std::format!("{later}{modified}ETag: \"b\"\r\n")), *b"\"b\"");
        let long = std::format!("ETag: \"{}\"\r\n", "b".repeat(VALIDATOR_BYTES - 1));
        // As new as the reply, undated, weak, too long, or beside a tag that is no use.
        for fields in [
            std::format!("{modified}{then}"),
            modified.into(),
            "ETag: W/\"b\"\r\n".into(),
            "ETag: \"\r\n".into(),
            std::format!("{long}{later}"),
            std::format!("ETag: W/\"b\"\r\n{modified}{later}"),
            std::format!("{later}{modified}ETag: W/\"b\"\r\n"),
        ] {
            assert!(told(&fields).is_empty(), "{fields}");
        }
    }

    /// Without a length, only what the reply says of its range tells an end from a line that broke.
    #[test]
    fn a_part_that_ends_early() {
        let fields = "Content-Range: bytes 100-199/1000\r\nConnection: close";
        for (came, result) in [(99, Err(OriginFailure::Broken)), (100, Ok(())), (101, Ok(()))] {
            let mut origin = asking("206 Partial Content", fields, came);
            assert_eq!(origin.handle_eof(NOW).map(drop), result, "{came}");
            assert_eq!(origin.want().is_some(), result.is_err(), "it is to be asked for again");
        }
        // By its own framing it is whole.
        let fields = "Content-Range: bytes 100-199/1000\r\nContent-Length: 99";
        let mut origin = asking("206 Partial Content", fields, 99);
        assert!(matches!(handle(&mut origin, &[]), (0, Err(OriginFailure::Broken))));
        // The content ends before the range that was asked for does.
        let mut origin =
            asking("206 Partial Content", "Content-Range: bytes 100-149/150\r\nConnection: close", 50);
        assert!(matches!(handle(&mut origin, b"beyond"), (6, Ok(None))));
        assert!(matches!(origin.handle_eof(NOW), Ok(Some(OriginEvent::DataEnd { start: 100 }))));
    }

    /// By the time that the end of a reply comes its block may have been given up, and be asked for
    /// anew on another connection: that is not over with this one.
    #[test]
    fn a_stale_end_says_nothing() {
        let mut origin = part(100);
        assert!(!origin.is_spare(&|_| true));
        assert_eq!(end(&mut origin), Some(100));

        let mut origin = part(100);
        assert!(!origin.is_spare(&|_| false), "nothing more is to come, so it can be kept");
        assert!(!origin.is_spare(&|_| true), "its block is awaited again");
        assert_eq!(end(&mut origin), None);
        assert!(origin.want().is_none() && origin.keeps_open());
    }
}
