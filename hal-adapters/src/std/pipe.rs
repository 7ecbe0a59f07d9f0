//! A TCP connection of the system.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;

use mio::event::Source as _;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

/// A connection of which bytes come out, and into which bytes go.
pub(super) struct Pipe(TcpStream);

impl Pipe {
    pub(super) fn new(socket: TcpStream) -> Self {
        // Replies are written in a few large pieces, and requests in one: holding small segments back
        // would only add the other side's delayed acknowledgement to every exchange.
        let _ = socket.set_nodelay(true);
        Self(socket)
    }

    /// Begins to connect.
    pub(super) fn connect(remote: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(remote).map(Self::new)
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.0.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Whether it is open by now.
    pub(super) fn finish_connect(&self) -> io::Result<bool> {
        if let Some(error) = self.0.take_error()? {
            return Err(error);
        }
        match self.0.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// No more will be sent.
    pub(super) fn shutdown(&self) {
        // It may be gone already, which is as good.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Ends it at once, and has the other side know.
    pub(super) fn reset(self) {
        let _ = SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
    }
}
