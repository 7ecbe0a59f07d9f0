//! The origin host: serves one content over HTTP with the `peerdist` coding, with core's own
//! framing and coding, over a smoltcp stack.

use std::cell::OnceCell;
use std::sync::Arc;

use peerdist_core::bytes::{NoRoom, Writer};
use peerdist_core::content::publish::{PublishError, v1, v2};
use peerdist_core::content::segmenter::{MIN_SEGMENT_BYTES, Segmentation};
use peerdist_core::content::server_secret;
use peerdist_core::content::v1::info_len;
use peerdist_core::content::v2::wire::{CHUNK_HEAD_BYTES, DESCRIPTION_BYTES, HEADER_BYTES};
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};
use peerdist_core::encoding::{Available, Coding, InfoVersion, ServerRequest};
use peerdist_core::http::conn::{Conn, Event};
use peerdist_core::http::wire::{self, ByteRange, ContentRange, Version};
use peerdist_core::time::Instant;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;

use crate::check::Content;
use crate::run::{OriginHost, Seat};
use crate::stack::{Stack, stack_time, world_time};
use crate::world::{Frame, Host};

/// The port it listens on.
pub const PORT: u16 = 80;

/// The path of the content.
pub const PATH: &str = "/content";

/// Connections for each client: two that are open, and those that are still being closed.
const SOCKETS_A_CLIENT: usize = 4;

/// Bytes of a socket's buffers.
const RECEIVE_BYTES: usize = 4 * 1024;
const SEND_BYTES: usize = 64 * 1024;

/// Bytes of the head of a reply.
const HEAD_BYTES: usize = 512;

/// The origin.
pub struct Origin {
    stack: Stack,
    connections: Vec<Connection>,
    site: Site,
}

/// What it serves.
struct Site {
    content: Arc<[u8]>,
    /// Its content information of both versions, once asked for; empty content has none (fact 13).
    infos: [OnceCell<Arc<[u8]>>; 2],
    /// What the server secret is made of.
    key: [u8; 32],
    etag: String,
    body_bytes: u64,
}

struct Connection {
    handle: SocketHandle,
    /// `None` while it listens.
    exchange: Option<Exchange>,
}

/// One connection's reading and writing half.
struct Exchange {
    conn: Conn,
    request: Request,
    reply: Option<Reply>,
}

#[derive(Default)]
struct Request {
    method: Vec<u8>,
    found: bool,
    http_1_1: bool,
    range: Option<ByteRange>,
    coding: ServerRequest,
}

struct Reply {
    head: Vec<u8>,
    body: Arc<[u8]>,
    /// What of head and body is still to be sent.
    head_sent: usize,
    next: usize,
    end: usize,
}

impl Origin {
    /// An origin at `seat` for `clients` clients.
    pub fn new(seat: &Seat, content: &Content, clients: usize) -> Self {
        let mut stack = Stack::new(seat);
        let connections = (0..clients * SOCKETS_A_CLIENT)
            .map(|_| Connection { handle: stack.add_tcp(RECEIVE_BYTES, SEND_BYTES), exchange: None })
            .collect();
        let hash = content.sha256();
        let etag =
            hash[..8].iter().fold(String::from('"'), |text, byte| text + &format!("{byte:02x}")) + "\"";
        let mut key = [0; 32];
        rand_core::Rng::fill_bytes(&mut seat.seed.child("secret", 0).rng(), &mut key);
        let site =
            Site { content: content.bytes().clone(), infos: Default::default(), key, etag, body_bytes: 0 };
        Self { stack, connections, site }
    }

    /// The content information that it serves in `version`; none for empty content.
    pub fn info(&self, version: InfoVersion) -> &[u8] {
        if self.site.content.is_empty() {
            return &[];
        }
        self.site.info(version)
    }
}

impl Host for Origin {
    fn receive(&mut self, _now: Instant, frame: Frame) {
        self.stack.card.incoming.push_back(frame);
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
        let Self { stack: Stack { interface, card, sockets }, connections, site } = self;
        let time = stack_time(now);
        let mut more = true;
        while more {
            interface.poll(time, card, sockets);
            more = false;
            for connection in connections.iter_mut() {
                more |= connection.work(sockets.get_mut::<tcp::Socket<'_>>(connection.handle), site);
            }
        }
        card.outgoing.drain(..).for_each(send);
        interface.poll_at(time, sockets).map(world_time)
    }
}

impl OriginHost for Origin {
    fn body_bytes(&self) -> u64 {
        self.site.body_bytes
    }
}

impl Connection {
    /// Does what can be done now; whether anything was.
    fn work(&mut self, socket: &mut tcp::Socket<'_>, site: &mut Site) -> bool {
        if socket.state() == tcp::State::Closed {
            self.exchange = None;
            socket.set_nagle_enabled(false);
            // A closed socket can listen on a port that is not zero.
            return socket.listen(PORT).is_ok();
        }
        if !socket.may_send() {
            return false;
        }
        let exchange = self.exchange.get_or_insert_with(Exchange::new);
        let mut done = exchange.receive(socket, site);
        done |= exchange.send(socket, site);
        if exchange.reply.is_none() && !(socket.may_recv() && exchange.conn.keep_alive()) {
            socket.close();
        }
        done
    }
}

impl Exchange {
    fn new() -> Self {
        Self { conn: Conn::server(), request: Request::default(), reply: None }
    }

    fn receive(&mut self, socket: &mut tcp::Socket<'_>, site: &Site) -> bool {
        let mut done = false;
        while self.reply.is_none() && socket.can_recv() {
            let used = socket.recv(|bytes| {
                let used = self.handle(bytes, site);
                (used, used)
            });
            match used {
                Ok(used) if used > 0 => done = true,
                _ => break,
            }
        }
        done
    }

    fn handle(&mut self, bytes: &[u8], site: &Site) -> usize {
        let mut used = 0;
        while self.reply.is_none() {
            let (taken, event) = self.conn.handle(&bytes[used..]);
            used += taken;
            match event {
                Ok(None) => break,
                Ok(Some(Event::Request { method, target, version })) => {
                    self.request = Request {
                        method: method.to_vec(),
                        found: target == PATH.as_bytes(),
                        http_1_1: version == Version::HTTP_11,
                        ..Request::default()
                    };
                }
                Ok(Some(Event::Header { name, value })) => {
                    self.request.coding.header(name, value);
                    if wire::name_eq(name, b"Range") {
                        self.request.range = ByteRange::parse(value).ok();
                    }
                }
                Ok(Some(Event::End)) => self.reply = Some(self.request.answer(site)),
                Ok(Some(Event::HeadEnd(_) | Event::Body(_) | Event::Status { .. })) => {}
                Err(error) => self.reply = Some(Reply::bare(error.status())),
            }
        }
        used
    }

    fn send(&mut self, socket: &mut tcp::Socket<'_>, site: &mut Site) -> bool {
        let mut done = false;
        while let Some(reply) = &mut self.reply {
            if reply.is_sent() {
                self.reply = None;
                // On a connection that closes there is no next exchange.
                let _ = self.conn.next_exchange();
                return true;
            }
            let sent = match socket.can_send() {
                true => socket.send(|room| reply.fill(room, &mut site.body_bytes)),
                false => break,
            };
            match sent {
                Ok(_) => done = true,
                Err(_) => break,
            }
        }
        done
    }
}

impl Request {
    fn answer(&self, site: &Site) -> Reply {
        if !self.found {
            return Reply::bare(404);
        }
        if self.method != b"GET" {
            return Reply::bare(405);
        }
        let described = !site.content.is_empty();
        let available = Available { v1: described, v2: described, coming: false };
        let coding = match self.range {
            // Content information of a range is not made here; the range itself is given.
            Some(_) => Coding::Plain { make_hash_request: false },
            None => self.coding.decide(&self.method, self.http_1_1, available),
        };
        let total = site.content.len() as u64;
        let (body, part) = match (coding, self.range.map(|range| range.resolve(total))) {
            (Coding::Encoded { info, .. }, _) => (site.info(info), None),
            (_, None) => (&site.content, None),
            (_, Some(Some(part))) => (&site.content, Some(part)),
            (_, Some(None)) => {
                return Reply::new(416, &site.content, 0..0, |writer| {
                    ContentRange::Unsatisfied { total }.emit(writer)
                });
            }
        };
        let (status, range) = match part {
            Some((first, last)) => (206, first as usize..last as usize + 1),
            None => (200, 0..body.len()),
        };
        Reply::new(status, body, range, |writer| {
            writer.text("ETag: ");
            writer.text(&site.etag);
            writer.text("\r\n");
            if let Some((first, last)) = part {
                ContentRange::Part { first, last, total: Some(total) }.emit(writer)?;
            }
            coding.emit_headers(writer, total)
        })
    }
}

impl Reply {
    fn new(
        status: u16,
        body: &Arc<[u8]>,
        range: std::ops::Range<usize>,
        headers: impl FnOnce(&mut Writer<'_>) -> Result<(), NoRoom>,
    ) -> Self {
        let mut head = [0; HEAD_BYTES];
        let mut writer = Writer::new(&mut head);
        let written = wire::emit_status_line(&mut writer, status)
            .map_err(|_| NoRoom)
            .and_then(|()| wire::emit_content_length(&mut writer, range.len() as u64))
            .and_then(|()| headers(&mut writer))
            .and_then(|()| wire::emit_head_end(&mut writer));
        assert!(written.is_ok(), "all heads that are written here are short");
        let head = writer.finish().to_vec();
        Self { head, body: body.clone(), head_sent: 0, next: range.start, end: range.end }
    }

    fn bare(status: u16) -> Self {
        Self::new(status, &Arc::from([]), 0..0, |_| Ok(()))
    }

    fn is_sent(&self) -> bool {
        self.head_sent == self.head.len() && self.next == self.end
    }

    /// Fills the front of `room` with what comes next and returns how much; bytes of the body are
    /// counted.
    fn fill(&mut self, room: &mut [u8], body_bytes: &mut u64) -> (usize, usize) {
        let head = &self.head[self.head_sent..];
        let from_head = head.len().min(room.len());
        room[..from_head].copy_from_slice(&head[..from_head]);
        self.head_sent += from_head;
        let room = &mut room[from_head..];
        let from_body = room.len().min(self.end - self.next);
        room[..from_body].copy_from_slice(&self.body[self.next..self.next + from_body]);
        self.next += from_body;
        *body_bytes += from_body as u64;
        (from_head + from_body, from_head + from_body)
    }
}

impl Site {
    fn info(&self, version: InfoVersion) -> &Arc<[u8]> {
        let [v1, v2] = &self.infos;
        match version {
            InfoVersion::V1 => v1.get_or_init(|| published(self.publish_v1())),
            InfoVersion::V2 => v2.get_or_init(|| published(self.publish_v2())),
        }
    }

    fn publish_v1(&self) -> Result<Vec<u8>, PublishError> {
        const ALGORITHM: HashAlgorithm = HashAlgorithm::Sha256;
        let ks = server_secret(&mut SoftCrypto, ALGORITHM, &self.key);
        let len = self.content.len() as u64;
        let mut info = vec![0; info_len(ALGORITHM, len).unwrap_or(0) as usize];
        let sink = &mut info.as_mut_slice();
        let mut publisher = v1::Publisher::new(ALGORITHM, ks, len)?;
        publisher.update(&mut SoftCrypto, &self.content, sink)?;
        publisher.finish(sink)?;
        Ok(info)
    }

    fn publish_v2(&self) -> Result<Vec<u8>, PublishError> {
        let ks = server_secret(&mut SoftCrypto, HashAlgorithm::TruncatedSha512, &self.key);
        let mut info = vec![0; max_info_len_v2(self.content.len() as u64)];
        let sink = &mut info.as_mut_slice();
        let mut publisher = v2::Publisher::new(ks, Segmentation::ContentDefined);
        publisher.update(&mut SoftCrypto, &self.content, sink)?;
        let len = publisher.finish(&mut SoftCrypto, sink)?.encoded_len();
        info.truncate(len as usize);
        Ok(info)
    }
}

/// Bytes that the content information 2.0 of `len` bytes takes at most.
pub fn max_info_len_v2(len: u64) -> usize {
    HEADER_BYTES + CHUNK_HEAD_BYTES + max_segments_v2(len) * DESCRIPTION_BYTES
}

/// Segments of content information 2.0 that `len` bytes have at most.
pub fn max_segments_v2(len: u64) -> usize {
    len.div_ceil(MIN_SEGMENT_BYTES.into()) as usize
}

fn published(info: Result<Vec<u8>, PublishError>) -> Arc<[u8]> {
    info.expect("any content that fits memory can be described").into()
}
