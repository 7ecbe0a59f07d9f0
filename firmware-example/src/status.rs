//! `GET /status`: the appliance's numbers as JSON, for whoever is on the network.

use core::fmt::{self, Write as _};

use cortex_m::singleton;
use heapless::String;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Duration;

/// Where it is served.
pub const PORT: u16 = 3780;

/// Connections at once: one is answered while the next begins.
pub const SOCKETS: usize = 2;

/// Bytes of the part of a request that says what it wants.
const LINE_BYTES: usize = 64;

/// Bytes of a request at most: browsers send some hundred.
const MAX_REQUEST: usize = 2_048;

/// Bytes of a reply.
const REPLY_BYTES: usize = 1_024;

/// Whoever is silent for so long is cut off.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The page.
pub struct Page {
    connections: [Connection; SOCKETS],
}

struct Connection {
    handle: SocketHandle,
    request: Request,
    /// What of the reply has been sent, once there is one.
    sent: Option<usize>,
    reply: String<REPLY_BYTES>,
}

/// What a client has said so far.
#[derive(Default)]
struct Request {
    line: heapless::Vec<u8, LINE_BYTES>,
    line_ended: bool,
    /// Line feeds in a row, with nothing but carriage returns between.
    empty: u8,
    len: usize,
}

impl Page {
    /// Adds its sockets; `None` the second time.
    pub fn new(sockets: &mut SocketSet<'static>) -> Option<Self> {
        let incoming = singleton!(: [[u8; 256]; SOCKETS] = [[0; 256]; SOCKETS])?;
        let outgoing = singleton!(: [[u8; REPLY_BYTES]; SOCKETS] = [[0; REPLY_BYTES]; SOCKETS])?;
        let mut buffers = incoming.iter_mut().zip(outgoing);
        let mut connection = || {
            let (incoming, outgoing) = buffers.next()?;
            let incoming = tcp::SocketBuffer::new(&mut incoming[..]);
            let mut socket = tcp::Socket::new(incoming, tcp::SocketBuffer::new(&mut outgoing[..]));
            socket.set_timeout(Some(TIMEOUT));
            let handle = sockets.add(socket);
            Some(Connection { handle, request: Request::default(), sent: None, reply: String::new() })
        };
        Some(Self { connections: [connection()?, connection()?] })
    }

    /// Answers who asks, with `numbers` as the body; whether anything was done.
    pub fn poll(&mut self, sockets: &mut SocketSet<'_>, numbers: &dyn fmt::Display) -> bool {
        let mut done = false;
        for connection in &mut self.connections {
            done |= connection.poll(sockets.get_mut::<tcp::Socket<'_>>(connection.handle), numbers);
        }
        done
    }
}

impl Connection {
    fn poll(&mut self, socket: &mut tcp::Socket<'_>, numbers: &dyn fmt::Display) -> bool {
        if !socket.is_open() {
            (self.request, self.sent) = (Request::default(), None);
            // The port is not zero and the socket is closed, so this cannot fail.
            let _ = socket.listen(PORT);
            return true;
        }
        let mut done = false;
        while socket.can_recv() && self.sent.is_none() {
            let ended = socket.recv(|bytes| (bytes.len(), self.request.take(bytes)));
            done = true;
            if ended == Ok(true) {
                self.answer(numbers);
            } else if self.request.len > MAX_REQUEST {
                // It goes on and on.
                socket.abort();
            }
        }
        if let Some(sent) = &mut self.sent {
            let rest = self.reply.as_bytes().get(*sent..).unwrap_or_default();
            let taken = socket.send_slice(rest).unwrap_or(0);
            *sent = sent.saturating_add(taken);
            done |= taken > 0;
            if *sent >= self.reply.len() && socket.may_send() {
                socket.close();
                done = true;
            }
        } else if !socket.may_recv() && socket.may_send() {
            // The client has ended, and asked nothing.
            socket.close();
            done = true;
        }
        done
    }

    fn answer(&mut self, numbers: &dyn fmt::Display) {
        let mut words = self.request.line.split(|byte| *byte == b' ');
        let (status, body): (_, &dyn fmt::Display) = match (words.next(), words.next()) {
            (Some(b"GET"), Some(b"/status")) => ("200 OK", numbers),
            (Some(b"GET"), _) => ("404 Not Found", &r#"{"error":"only /status is here"}"#),
            _ => ("405 Method Not Allowed", &r#"{"error":"only GET is understood"}"#),
        };
        self.reply.clear();
        // The body ends with the connection, so nobody has to know its length beforehand.
        let written = write!(
            self.reply,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{body}\n"
        );
        if written.is_err() {
            self.reply.clear();
            // This is shorter than the reply's room.
            let _ = self.reply.push_str("HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n\r\n");
        }
        self.sent = Some(0);
    }
}

impl Request {
    /// Whether it has ended with these bytes.
    fn take(&mut self, bytes: &[u8]) -> bool {
        self.len = self.len.saturating_add(bytes.len());
        for byte in bytes {
            match byte {
                b'\r' => {}
                b'\n' => {
                    self.line_ended = true;
                    self.empty = self.empty.saturating_add(1);
                }
                other => {
                    self.empty = 0;
                    if !self.line_ended {
                        // Of a line that is longer, nothing would be found.
                        let _ = self.line.push(*other);
                    }
                }
            }
            if self.empty >= 2 {
                return true;
            }
        }
        false
    }
}
