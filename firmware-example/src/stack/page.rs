//! The sockets of the page.

use heapless::Vec;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Duration;
use static_cell::ConstStaticCell;

use crate::page::{PORT, Progress, REPLY_BYTES, Request};

/// Connections at once: one is answered while the next begins, where there is memory for it.
pub const SOCKETS: usize = if cfg!(feature = "four-connections") { 1 } else { 2 };

/// Bytes that wait of a request.
const RECEIVE_BYTES: usize = 256;

/// Whoever is silent for so long is cut off.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The page.
pub struct Page {
    connections: Vec<Connection, SOCKETS>,
}

struct Connection {
    handle: SocketHandle,
    request: Request,
    answered: bool,
}

impl Page {
    /// Adds its sockets; `None` the second time.
    pub fn new(sockets: &mut SocketSet<'static>) -> Option<Self> {
        static INCOMING: ConstStaticCell<[[u8; RECEIVE_BYTES]; SOCKETS]> = ConstStaticCell::new([[0; _]; _]);
        static OUTGOING: ConstStaticCell<[[u8; REPLY_BYTES]; SOCKETS]> = ConstStaticCell::new([[0; _]; _]);
        let buffers = INCOMING.try_take()?.iter_mut().zip(OUTGOING.try_take()?);
        let mut connections = Vec::new();
        for (incoming, outgoing) in buffers {
            let incoming = tcp::SocketBuffer::new(&mut incoming[..]);
            let mut socket = tcp::Socket::new(incoming, tcp::SocketBuffer::new(&mut outgoing[..]));
            socket.set_timeout(Some(TIMEOUT));
            let handle = sockets.add(socket);
            // There are as many places as buffers.
            let _ = connections.push(Connection { handle, request: Request::default(), answered: false });
        }
        Some(Self { connections })
    }

    /// Answers who asks, with what `answer` writes for a request; whether anything was done.
    #[inline(never)]
    pub fn poll(
        &mut self,
        sockets: &mut SocketSet<'_>,
        mut answer: impl FnMut(&Request, &mut [u8]) -> usize,
    ) -> bool {
        let mut done = false;
        for connection in &mut self.connections {
            done |= connection.poll(sockets.get_mut::<tcp::Socket<'_>>(connection.handle), &mut answer);
        }
        done
    }
}

impl Connection {
    fn poll(
        &mut self,
        socket: &mut tcp::Socket<'_>,
        answer: &mut dyn FnMut(&Request, &mut [u8]) -> usize,
    ) -> bool {
        if !socket.is_open() {
            (self.request, self.answered) = (Request::default(), false);
            // The port is not zero and the socket is closed, so this cannot fail.
            let _ = socket.listen(PORT);
            return true;
        }
        let mut done = false;
        while socket.can_recv() && !self.answered {
            let progress = socket.recv(|bytes| (bytes.len(), self.request.take(bytes)));
            done = true;
            match progress {
                Ok(Progress::Whole) => {
                    // Nothing has been sent on this connection, so all its room is in one piece.
                    let _ = socket.send(|room| (answer(&self.request, room), ()));
                    socket.close();
                    self.answered = true;
                }
                Ok(Progress::Endless) => socket.abort(),
                Ok(Progress::More) | Err(_) => {}
            }
        }
        if !self.answered && !socket.may_recv() && socket.may_send() {
            // The client has ended, and asked nothing.
            socket.close();
            done = true;
        }
        done
    }
}
