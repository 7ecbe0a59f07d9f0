//! A connection to the origin server: asks for content information, or for a range that no peer
//! has ([MS-PCCRTP] 3.1), and tells what its reply carries.

use core::ops::Range;

use heapless::Vec;

use super::{HOST_BYTES, PATH_BYTES, Url, VALIDATOR_BYTES, Validator};
use crate::bytes::{Len, NoRoom, Writer, copy};
use crate::encoding::{self, InfoVersion, Reply, ReplyCoding};
use crate::http::conn::{Body, Conn, Event};
use crate::http::wire::{self as http, ByteRange, ContentRange};
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
        }
    }
}

/// Why the origin did not give what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OriginFailure {
    /// No connection came about.
    Unreachable,
    /// The connection broke or fell silent.
    Broken,
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
            Self::Unreachable | Self::Broken | Self::BadReply => false,
        }
    }
}

/// A connection to the origin.
pub struct OriginStream {
    conn: Conn,
    connected: bool,
    failed: bool,
    want: Option<Want>,
    out: Vec<u8, REQUEST_BYTES>,
    sent: usize,
    deadline: Instant,
    status: u16,
    coding: ReplyCoding,
    body: Carries,
    content_range: Option<ContentRange>,
    /// Where the next byte of the body belongs in the content.
    offset: u64,
    /// Bytes of the content, once content information or a reply has told.
    content_len: u64,
    /// The reply says that the content is elsewhere, and `out` where.
    moved: bool,
    /// What tells the content of the reply from others.
    validator: Validator,
    /// It has an entity tag, strong or not.
    tagged: bool,
    /// When the reply was made.
    date: Vec<u8, DATE_BYTES>,
    /// What has to tell it, if the request says so.
    condition: Option<Validator>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Carries {
    Nothing,
    Info,
    Plain,
    Range,
}

impl OriginStream {
    /// A connection that is being opened.
    pub fn new(now: Instant) -> Self {
        Self {
            conn: Conn::client(),
            connected: false,
            failed: false,
            want: None,
            out: Vec::new(),
            sent: 0,
            deadline: now + SILENCE,
            status: 0,
            coding: ReplyCoding::default(),
            body: Carries::Nothing,
            content_range: None,
            offset: 0,
            content_len: u64::MAX,
            moved: false,
            validator: Validator::new(),
            tagged: false,
            date: Vec::new(),
            condition: None,
        }
    }

    /// Whether the connection came about.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// What it is asking for; of a range, once the reply has begun, what that has to give of it.
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
        let (Carries::Range, Some(Want::Range(range))) = (self.body, &self.want) else { return false };
        if awaited(range.start) {
            return false;
        }
        // A server that ignores ranges sends on to the end of the content.
        let more = self.offset < range.end.min(self.content_len) || self.status == 200;
        self.body = Carries::Nothing;
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

    /// Where the content is instead, if the reply to a request for content information said so.
    pub fn location(&self) -> Option<&[u8]> {
        self.moved.then_some(&*self.out)
    }

    /// What tells the content that the reply carries from others.
    pub fn validator(&self) -> &Validator {
        &self.validator
    }

    /// Bytes of the content, if the request or a reply with a part of it said so.
    pub fn content_len(&self) -> Option<u64> {
        Some(self.content_len).filter(|len| *len < u64::MAX)
    }

    /// Whether another request can follow on this connection.
    pub fn keeps_open(&self) -> bool {
        self.conn.keep_alive()
    }

    /// The connection is open.
    pub fn handle_connected(&mut self, now: Instant) {
        self.connected = true;
        self.deadline = now + SILENCE;
    }

    /// Sends a request about a content of `content_len` bytes, if that is known, by a client that
    /// takes content information up to `max_info`, and if there is a `condition` only of the content that it
    /// tells; `false` if the connection cannot carry another.
    pub fn ask(
        &mut self,
        now: Instant,
        url: &Url,
        max_info: InfoVersion,
        want: Want,
        content_len: Option<u64>,
        condition: Option<&Validator>,
    ) -> bool {
        self.condition = condition.cloned();
        if self.conn.expect_reply(false).is_err() || self.emit(url, max_info, &want).is_err() {
            return false;
        }
        self.validator.clear();
        self.date.clear();
        self.tagged = false;
        (self.coding, self.content_range) = (ReplyCoding::default(), None);
        (self.body, self.content_len) = (Carries::Nothing, content_len.unwrap_or(u64::MAX));
        self.moved = false;
        self.want = Some(want);
        self.deadline = now + SILENCE;
        true
    }

    /// What is still to be sent, into `buf`.
    pub fn poll(&mut self, buf: &mut [u8]) -> usize {
        let len = copy(buf, self.out.get(self.sent..).unwrap_or_default());
        self.sent = self.sent.saturating_add(len);
        len
    }

    /// Takes bytes from the origin: how many were used, and what they bring.
    pub fn handle<'a>(
        &'a mut self,
        now: Instant,
        bytes: &'a [u8],
    ) -> (usize, Result<Option<OriginEvent<'a>>, OriginFailure>) {
        if self.want.is_none() {
            // Nothing was asked, so nothing is taken: idle, or out of turn.
            return (0, if bytes.is_empty() { Ok(None) } else { Err(OriginFailure::BadReply) });
        }
        (self.connected, self.deadline) = (true, now + SILENCE);
        // A server that ignores ranges sends on to the end of the content: it is cut off.
        if let (Carries::Range, 200, Some(Want::Range(range))) = (self.body, self.status, &self.want)
            && self.offset >= range.end
        {
            self.failed = true;
            return (bytes.len(), self.end(now));
        }
        let mut used = 0usize;
        loop {
            let Self {
                conn, coding, content_range, status, out, sent, moved, validator, tagged, date, ..
            } = self;
            let (taken, event) = conn.handle(bytes.get(used..).unwrap_or_default());
            used = used.saturating_add(taken);
            match event {
                Err(_) => return (used, Err(OriginFailure::BadReply)),
                Ok(None) => return (used, Ok(None)),
                Ok(Some(Event::Status { code, .. })) => *status = code,
                Ok(Some(Event::Header { name, value })) => {
                    coding.header(name, value);
                    if http::name_eq(name, b"Content-Range") {
                        *content_range = ContentRange::parse(value).ok();
                    }
                    if http::name_eq(name, b"ETag") {
                        *tagged = true;
                        validator.clear();
                        // A weak one (`W/`) tells nothing about single bytes. A longer one is as good as none.
                        let strong = value.len() > 2 && value.starts_with(b"\"") && value.ends_with(b"\"");
                        let _ = strong.then(|| validator.extend_from_slice(value));
                    }
                    // RFC 9110 13.1.5: If-Range MUST NOT have a date if there is an entity tag.
                    if http::name_eq(name, b"Last-Modified") && !*tagged {
                        validator.clear();
                        let _ = (value.len() == DATE_BYTES).then(|| validator.extend_from_slice(value));
                    }
                    if http::name_eq(name, b"Date") {
                        date.clear();
                        let _ = date.extend_from_slice(value);
                    }
                    // RFC 9110, 15.4: of these, the content is at another place.
                    if matches!(*status, 301 | 302 | 303 | 307 | 308) && http::name_eq(name, b"Location") {
                        // It takes the place of the request, which has its answer. A longer one than
                        // that is none.
                        out.clear();
                        *moved = out.extend_from_slice(value).is_ok() && !value.is_empty();
                        *sent = out.len();
                    }
                }
                Ok(Some(Event::Request { .. })) => {}
                Ok(Some(Event::HeadEnd(framing))) => match self.head_end(framing) {
                    Ok(None) => {}
                    other => return (used, other),
                },
                Ok(Some(Event::Body(body))) => {
                    // The same bytes again, for as long as the input lives: a body is the end of
                    // what was taken.
                    let body = bytes.get(used.saturating_sub(body.len())..used).unwrap_or_default();
                    match self.body(body) {
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
            _ => Err(self.broken()),
        }
    }

    /// What a lost connection means at this point.
    pub fn broken(&self) -> OriginFailure {
        if self.connected { OriginFailure::Broken } else { OriginFailure::Unreachable }
    }

    fn head_end(&mut self, framing: Body) -> Result<Option<OriginEvent<'static>>, OriginFailure> {
        // RFC 9110 8.8.2.2: a date is strong if the reply was made at least a second later.
        if !self.tagged && (self.date.len() != DATE_BYTES || *self.date == *self.validator) {
            self.validator.clear();
        }
        match (&mut self.want, self.status) {
            (Some(Want::Info), 200) => match self.coding.decide() {
                Ok(Reply::Encoded { content_len, .. }) => {
                    self.body = Carries::Info;
                    Ok(Some(OriginEvent::InfoBegun { content_len }))
                }
                Ok(Reply::Plain { .. }) => {
                    self.body = Carries::Plain;
                    self.offset = 0;
                    let len = match framing {
                        Body::None => Some(0),
                        Body::Length(len) => Some(len),
                        Body::Chunked | Body::UntilClose => None,
                    };
                    Ok(Some(OriginEvent::PlainBegun { len }))
                }
                Err(_) => Err(OriginFailure::Coding),
            },
            // 206, or a server that ignores ranges and sends everything.
            (Some(Want::Range(range)), 200 | 206) => {
                if !matches!(self.coding.decide(), Ok(Reply::Plain { .. })) {
                    return Err(OriginFailure::Coding);
                }
                // RFC 9110 13.1.5: all of another content; 15.3.7.3: only parts that have the same strong
                // validator may be combined, whatever the server makes of the condition.
                let same = |told: &Validator| self.status == 206 && *told == self.validator;
                if self.condition.as_ref().is_some_and(|told| !same(told)) {
                    return Err(OriginFailure::Changed);
                }
                let end = range.end.min(self.content_len);
                self.offset = match (self.status, self.content_range) {
                    (200, _) => 0,
                    // All that was asked for, or all there is of it.
                    (_, Some(ContentRange::Part { first, last, total }))
                        if first == range.start
                            && last.saturating_add(1) >= end.min(total.unwrap_or(u64::MAX)) =>
                    {
                        // More than that is none of it, and less is not all of it.
                        range.end = range.end.min(last.saturating_add(1));
                        self.content_len = self.content_len.min(total.unwrap_or(u64::MAX));
                        first
                    }
                    _ => return Err(OriginFailure::BadReply),
                };
                self.body = Carries::Range;
                Ok(None)
            }
            (_, status) => Err(OriginFailure::Status(status)),
        }
    }

    fn body<'a>(&mut self, bytes: &'a [u8]) -> Option<OriginEvent<'a>> {
        let offset = self.offset;
        self.offset = offset.saturating_add(bytes.len() as u64);
        match (self.body, &self.want) {
            (Carries::Info, _) => Some(OriginEvent::Info(bytes)),
            (Carries::Plain, _) => Some(OriginEvent::Plain(bytes)),
            (Carries::Range, Some(Want::Range(range))) => {
                let skip = usize::try_from(range.start.saturating_sub(offset)).unwrap_or(usize::MAX);
                let len = usize::try_from(range.end.saturating_sub(offset)).unwrap_or(usize::MAX);
                let wanted = bytes.get(skip..len.min(bytes.len())).filter(|bytes| !bytes.is_empty())?;
                Some(OriginEvent::Data { offset: offset.max(range.start), bytes: wanted })
            }
            (Carries::Nothing | Carries::Range, _) => None,
        }
    }

    fn end(&mut self, now: Instant) -> Result<Option<OriginEvent<'static>>, OriginFailure> {
        self.deadline = now + IDLE;
        // A body that goes on until the connection is closed ends, too, where the line breaks.
        if let (Carries::Range, 206, Some(Want::Range(range))) = (self.body, self.status, &self.want)
            && self.offset < range.end
        {
            return Err(OriginFailure::Broken);
        }
        Ok(match (self.body, self.want.take()) {
            (Carries::Info, _) => Some(OriginEvent::InfoEnd),
            (Carries::Plain, _) => Some(OriginEvent::PlainEnd),
            (Carries::Range, Some(Want::Range(range))) => Some(OriginEvent::DataEnd { start: range.start }),
            _ => None,
        })
    }

    fn emit(&mut self, url: &Url, max_info: InfoVersion, want: &Want) -> Result<(), NoRoom> {
        let mut buf = [0; REQUEST_BYTES];
        let mut writer = Writer::new(&mut buf);
        http::emit_request_line(&mut writer, b"GET", url.path.as_bytes()).map_err(|_| NoRoom)?;
        http::emit_header(&mut writer, b"Host", url.host.as_bytes()).map_err(|_| NoRoom)?;
        match want {
            Want::Info => encoding::emit_ask(&mut writer, max_info)?,
            Want::Range(range) => {
                encoding::emit_missing_data(&mut writer, max_info)?;
                let last = range.end.saturating_sub(1);
                ByteRange::Between { first: range.start, last }.emit(&mut writer)?;
                if let Some(condition) = &self.condition {
                    http::emit_header(&mut writer, b"If-Range", condition).map_err(|_| NoRoom)?;
                }
            }
        }
        http::emit_head_end(&mut writer)?;
        self.sent = 0;
        self.out = Vec::from_slice(writer.finish()).map_err(|_| NoRoom)?;
        Ok(())
    }
}

impl core::fmt::Display for OriginFailure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unreachable => f.write_str("origin unreachable"),
            Self::Broken => f.write_str("connection to the origin lost"),
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

    /// A request for the bytes 100 to 199, and so many of them that came.
    fn asking(status: &str, fields: &str, came: usize) -> OriginStream {
        extern crate std;
        let mut origin = OriginStream::new(NOW);
        let (host, path) = ("origin".try_into().unwrap(), "/".try_into().unwrap());
        let url = Url { origin: ([10, 1, 0, 1], 80).into(), host, path };
        assert!(origin.ask(NOW, &url, InfoVersion::V1, Want::Range(100..200), Some(1_000), None));
        let head = std::format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n");
        assert!(matches!(origin.handle(NOW, head.as_bytes()), (used, Ok(None)) if used == head.len()));
        let (used, event) = origin.handle(NOW, &[0xd3; 1_000][..came]);
        assert!(used == came && matches!(event, Ok(Some(OriginEvent::Data { offset: 100, .. }))));
        origin
    }

    fn part(came: usize) -> OriginStream {
        asking("206 Partial Content", "Content-Range: bytes 100-199/1000\r\nContent-Length: 100", came)
    }

    /// What a range's reply says at its end, with nothing more to come.
    fn end(origin: &mut OriginStream) -> Option<u64> {
        match origin.handle(NOW, &[]) {
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
        let (host, path) = ("origin".try_into().unwrap(), "/".try_into().unwrap());
        let url = Url { origin: ([10, 1, 0, 1], 80).into(), host, path };
        let told = Validator::from_slice(told.as_bytes()).unwrap();
        assert!(origin.ask(NOW, &url, InfoVersion::V1, Want::Range(100..200), None, Some(&told)));
        let mut buf = [0; REQUEST_BYTES];
        let len = origin.poll(&mut buf);
        let asked = std::format!("Range: bytes=100-199\r\nIf-Range: {}\r\n", str::from_utf8(&told).unwrap());
        assert!(str::from_utf8(&buf[..len]).unwrap().contains(&asked));
        let framing = "Content-Range: bytes 100-199/1000\r\nContent-Length: 100";
        let head = std::format!("HTTP/1.1 {status}\r\n{framing}\r\n{fields}\r\n");
        let failure = match origin.handle(NOW, head.as_bytes()) {
            (_, Err(failure)) => Some(failure),
            (used, result) => {
                assert!(used == head.len() && matches!(result, Ok(None)));
                None
            }
        };
        (failure, origin.validator().clone())
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
        assert!(matches!(origin.handle(NOW, &[]), (0, Err(OriginFailure::Broken))));
        // The content ends before the range that was asked for does.
        let mut origin =
            asking("206 Partial Content", "Content-Range: bytes 100-149/150\r\nConnection: close", 50);
        assert!(matches!(origin.handle(NOW, b"beyond"), (6, Ok(None))));
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
