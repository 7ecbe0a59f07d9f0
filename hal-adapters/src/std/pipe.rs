//! A TCP connection, secured or not.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;

use mio::event::Source as _;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

#[cfg(feature = "tls")]
use super::tls::{Peer, Session};

/// A connection of which bytes come out, and into which bytes go.
pub(super) struct Pipe {
    socket: TcpStream,
    #[cfg(feature = "tls")]
    session: Option<Session>,
}

impl Pipe {
    pub(super) fn new(socket: TcpStream) -> Self {
        // Replies are written in a few large pieces, and requests in one: holding small segments back
        // would only add the other side's delayed acknowledgement to every exchange.
        let _ = socket.set_nodelay(true);
        Self {
            socket,
            #[cfg(feature = "tls")]
            session: None,
        }
    }

    /// Begins to connect.
    pub(super) fn connect(remote: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(remote).map(Self::new)
    }

    /// The same, secured if there is a name that the other side has to prove.
    #[cfg(feature = "tls")]
    pub(super) fn secured(self, peer: Option<Peer>) -> io::Result<Self> {
        let session = peer.map(Session::new).transpose()?;
        Ok(Self { session, ..self })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Whether it is open by now, and bytes can pass.
    pub(super) fn finish_connect(&mut self) -> io::Result<bool> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(error),
        }
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.session {
            return session.handshake(&mut self.socket);
        }
        Ok(true)
    }

    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.session {
            return session.read(&mut self.socket, buf);
        }
        self.socket.read(buf)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.session {
            return session.write(&mut self.socket, bytes);
        }
        self.socket.write(bytes)
    }

    /// Sends what it still holds itself; whether that is all of it.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.session {
            return session.flush(&mut self.socket);
        }
        Ok(true)
    }

    /// No more will be sent.
    pub(super) fn shutdown(&mut self) {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.session {
            session.close(&mut self.socket);
        }
        // It may be gone already, which is as good.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Ends it at once, and has the other side know.
    pub(super) fn reset(self) {
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }
}
