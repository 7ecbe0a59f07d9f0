//! A scripted origin: an HTTP server that publishes one content, built from core's own parts, and
//! that can be told to misbehave.

use peerdist_core::bytes::Writer;
use peerdist_core::content::publish;
use peerdist_core::content::segmenter::{MIN_SEGMENT_BYTES, Segmentation};
use peerdist_core::content::v2::wire::{CHUNK_HEAD_BYTES, DESCRIPTION_BYTES, HEADER_BYTES};
use peerdist_core::content::{server_secret, v1};
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};
use peerdist_core::encoding::{Available, Coding, ServerRequest};
use peerdist_core::http::conn::{Conn, Event};
use peerdist_core::http::wire::{self as http, ByteRange, ContentRange};

/// The server secret of every content published here.
pub const SECRET: &[u8] = b"no more secrets";

/// When all its replies are made.
pub const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

/// The origin, its content, and what it has done so far.
pub struct Origin {
    /// What it serves.
    pub content: Vec<u8>,
    /// Its content information, which it has of one version only; empty: it serves plainly only.
    pub info: Vec<u8>,
    /// The entity tag of the content; empty: it has none.
    pub etag: String,
    /// When the content was changed; empty: it does not say.
    pub modified: String,
    /// How it misbehaves.
    pub manner: Manner,
    /// Where it sends those who ask for all of it, and with what status.
    pub moved: Option<(u16, String)>,
    /// Bytes of content sent.
    pub body_bytes: u64,
    /// Bytes of content information sent.
    pub info_bytes: u64,
    /// What was asked: the range, or `None` for all of it.
    pub requests: Vec<Option<(u64, u64)>>,
}

/// How an origin misbehaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Takes no connection.
    pub refuses: bool,
    /// Says nothing.
    pub silent: bool,
    /// Answers with this status.
    pub status: Option<u16>,
    /// Answers so many requests with a 500 first.
    pub errors: u32,
    /// Closes after half the body, so many times.
    pub breaks: u32,
    /// Sends everything whatever range is asked for.
    pub ignores_ranges: bool,
    /// Says of ranges that they begin a byte later.
    pub shifts: bool,
    /// Sends the range whatever content it was asked of.
    pub ignores_conditions: bool,
    /// Flips a bit in so many replies to range requests.
    pub wrong: u32,
    /// Sends bodies in chunks.
    pub chunked: bool,
    /// Ends bodies by closing.
    pub closes: bool,
}

/// One connection to the origin.
pub struct Session {
    conn: Conn,
    coding: ServerRequest,
    get: bool,
    range: Option<ByteRange>,
    condition: Option<Vec<u8>>,
}

impl Origin {
    /// Publishes `content`.
    pub fn new(content: Vec<u8>) -> Self {
        let info = publish(&content);
        let manner = Manner::default();
        let (body_bytes, info_bytes, requests) = (0, 0, Vec::new());
        let (etag, modified) = ("\"1\"".into(), String::new());
        Self { content, info, etag, modified, manner, moved: None, body_bytes, info_bytes, requests }
    }

    fn reply(&mut self, session: &Session) -> (Vec<u8>, bool) {
        let total = self.content.len() as u64;
        let manner = &mut self.manner;
        let status = match manner.errors.checked_sub(1) {
            Some(left) => {
                manner.errors = left;
                Some(500)
            }
            None => manner.status,
        };
        let range = session.range.and_then(|range| range.resolve(total));
        self.requests.push(range);
        if manner.silent {
            return (Vec::new(), false);
        }
        if let Some(status) = status {
            return (head(status, |writer| http::emit_content_length(writer, 0).unwrap()), false);
        }
        if let (true, Some((status, location))) =
            (session.range.is_none() || session.condition.is_some(), &self.moved)
        {
            let redirect = head(*status, |writer| {
                http::emit_header(writer, b"Location", location.as_bytes()).unwrap();
                http::emit_content_length(writer, 0).unwrap();
            });
            return (redirect, false);
        }
        let current = [self.etag.as_bytes(), self.modified.as_bytes()];
        let other = session.condition.as_ref().is_some_and(|told| !current.contains(&told.as_slice()));
        let range = range.filter(|_| !manner.ignores_ranges && (!other || manner.ignores_conditions));
        if range.is_none() && session.range.is_some() && !manner.ignores_ranges && !other {
            return (head(416, |writer| http::emit_content_length(writer, 0).unwrap()), false);
        }
        let has_info = !self.info.is_empty() && session.range.is_none();
        let is_v2 = self.info.get(1) == Some(&2);
        let available = Available { v1: has_info && !is_v2, v2: has_info && is_v2, coming: false };
        let method: &[u8] = if session.get { b"GET" } else { b"POST" };
        let coding = session.coding.decide(method, true, available);
        let encoded = matches!(coding, Coding::Encoded { .. });
        let mut body = match (encoded, range) {
            (true, _) => self.info.clone(),
            (_, Some((first, last))) => self.content[first as usize..=last as usize].to_vec(),
            (_, None) => self.content.clone(),
        };
        if let (Some(_), Some(left)) = (range, manner.wrong.checked_sub(1)) {
            manner.wrong = left;
            body[0] ^= 1;
        }
        let mut reply = head(if range.is_some() { 206 } else { 200 }, |writer| {
            coding.emit_headers(writer, total).unwrap();
            http::emit_header(writer, b"Date", DATE).unwrap();
            for (name, value) in [("ETag", &self.etag), ("Last-Modified", &self.modified)] {
                if !value.is_empty() {
                    http::emit_header(writer, name.as_bytes(), value.as_bytes()).unwrap();
                }
            }
            if let Some((first, last)) = range {
                let first = first + u64::from(manner.shifts);
                ContentRange::Part { first, last, total: Some(total) }.emit(writer).unwrap();
            }
            if manner.chunked {
                writer.text("Transfer-Encoding: chunked\r\n");
            } else if manner.closes {
                writer.text("Connection: close\r\n");
            } else {
                http::emit_content_length(writer, body.len() as u64).unwrap();
            }
        });
        let mut close = manner.closes;
        if let Some(left) = manner.breaks.checked_sub(1) {
            manner.breaks = left;
            body.truncate(body.len() / 2);
            close = true;
        }
        *(if encoded { &mut self.info_bytes } else { &mut self.body_bytes }) += body.len() as u64;
        if manner.chunked {
            for chunk in body.chunks(5_000) {
                reply.extend(format!("{:x}\r\n", chunk.len()).bytes());
                reply.extend(chunk);
                reply.extend(b"\r\n");
            }
            reply.extend(if close { &b""[..] } else { b"0\r\n\r\n" });
        } else {
            reply.extend(body);
        }
        (reply, close)
    }
}

impl Default for Session {
    fn default() -> Self {
        let (coding, range, condition) = (ServerRequest::default(), None, None);
        Self { conn: Conn::server(), coding, get: false, range, condition }
    }
}

impl Session {
    /// Takes bytes of a client: what goes back, and whether the connection is closed after it.
    pub fn handle(&mut self, origin: &mut Origin, mut bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        loop {
            let (used, event) = self.conn.handle(bytes);
            bytes = &bytes[used..];
            match event.expect("our own requests are proper") {
                Some(Event::Request { method, .. }) => self.get = method == b"GET",
                Some(Event::Header { name, value }) => {
                    self.coding.header(name, value);
                    if http::name_eq(name, b"Range") {
                        self.range = ByteRange::parse(value).ok();
                    }
                    if http::name_eq(name, b"If-Range") {
                        self.condition = Some(value.to_vec());
                    }
                }
                Some(Event::End) => {
                    let (reply, close) = origin.reply(self);
                    out.extend(reply);
                    if close || self.conn.next_exchange().is_err() {
                        return (out, true);
                    }
                    (self.coding, self.range, self.condition) = (ServerRequest::default(), None, None);
                }
                Some(_) => {}
                None => return (out, false),
            }
        }
    }
}

/// Content information 1.0 of `content`; nothing for empty content.
pub fn publish(content: &[u8]) -> Vec<u8> {
    let algorithm = HashAlgorithm::Sha256;
    if content.is_empty() {
        return Vec::new();
    }
    let len = content.len() as u64;
    let mut info = vec![0; v1::info_len(algorithm, len).unwrap() as usize];
    let ks = server_secret(&mut SoftCrypto, algorithm, SECRET);
    let mut publisher = publish::v1::Publisher::new(algorithm, ks, len).unwrap();
    publisher.update(&mut SoftCrypto, content, &mut info.as_mut_slice()).unwrap();
    publisher.finish(&mut info.as_mut_slice()).unwrap();
    info
}

/// Content information 2.0 of `content`, which is not empty.
pub fn publish_v2(content: &[u8], segmentation: Segmentation) -> Vec<u8> {
    let ks = server_secret(&mut SoftCrypto, HashAlgorithm::TruncatedSha512, SECRET);
    let shortest = match segmentation {
        Segmentation::Fixed(len) => len.get(),
        Segmentation::ContentDefined => MIN_SEGMENT_BYTES,
    };
    let segments = content.len().div_ceil(shortest as usize);
    let mut info = vec![0; HEADER_BYTES + CHUNK_HEAD_BYTES + segments * DESCRIPTION_BYTES];
    let mut publisher = publish::v2::Publisher::new(ks, segmentation);
    publisher.update(&mut SoftCrypto, content, &mut info.as_mut_slice()).unwrap();
    let published = publisher.finish(&mut SoftCrypto, &mut info.as_mut_slice()).unwrap();
    info.truncate(published.encoded_len() as usize);
    info
}

fn head(status: u16, fields: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buf = [0; 4_096];
    let mut writer = Writer::new(&mut buf);
    http::emit_status_line(&mut writer, status).unwrap();
    fields(&mut writer);
    http::emit_head_end(&mut writer).unwrap();
    writer.finish().to_vec()
}
