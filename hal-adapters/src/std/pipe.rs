//! A TCP connection of the system, secured by TLS or not.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
#[cfg(feature = "tls")]
use std::{boxed::Box, sync::Arc};

use mio::event::Source as _;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

#[cfg(feature = "tls")]
use super::tls::Served;

/// A connection of which bytes come out, and into which bytes go.
pub(super) struct Pipe {
    socket: TcpStream,
    #[cfg(feature = "tls")]
    secured: Option<Box<Served>>,
}

impl Pipe {
    pub(super) fn new(socket: TcpStream) -> Self {
        // Replies are written in a few large pieces, and requests in one: holding small segments back
        // would only add the other side's delayed acknowledgement to every exchange.
        let _ = socket.set_nodelay(true);
        Self {
            socket,
            #[cfg(feature = "tls")]
            secured: None,
        }
    }

    /// One that somebody opened, and that is secured first.
    #[cfg(feature = "tls")]
    pub(super) fn secured(socket: TcpStream, config: Arc<rustls::ServerConfig>) -> io::Result<Self> {
        let secured = Some(Box::new(Served::new(config)?));
        Ok(Self { secured, ..Self::new(socket) })
    }

    /// Moves the handshake on, as far as that goes: it is over, or an error says why not.
    #[cfg(feature = "tls")]
    pub(super) fn greet(&mut self) -> io::Result<()> {
        self.secured.as_mut().map_or(Ok(()), |secured| secured.greet(&mut self.socket))
    }

    /// Begins to connect.
    pub(super) fn connect(remote: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(remote).map(Self::new)
    }

    /// Begins to connect from an address of this machine, which the other side will remember.
    pub(super) fn connect_from(local: IpAddr, remote: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(local, 0).into())?;
        match socket.connect(&remote.into()) {
            Err(error) if !is_under_way(&error) => return Err(error),
            _ => {}
        }
        Ok(Self::new(TcpStream::from_std(socket.into())))
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Whether it is open by now.
    pub(super) fn finish_connect(&self) -> io::Result<bool> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(secured) = &mut self.secured {
            return secured.read(&mut self.socket, buf);
        }
        self.socket.read(buf)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(secured) = &mut self.secured {
            return secured.write(&mut self.socket, bytes);
        }
        self.socket.write(bytes)
    }

    /// Writes what was encrypted and is still here.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(secured) = &mut self.secured {
            return secured.flush(&mut self.socket);
        }
        self.socket.flush()
    }

    /// All was written: the other side of a secured connection is told, once.
    #[cfg(feature = "tls")]
    pub(super) fn announce_end(&mut self) {
        if let Some(secured) = &mut self.secured {
            secured.close();
        }
    }

    /// No more will be sent.
    pub(super) fn shutdown(&self) {
        // It may be gone already, which is as good.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Ends it at once, and has the other side know.
    pub(super) fn reset(self) {
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }
}

/// Whether a connection is only not open yet.
fn is_under_way(error: &io::Error) -> bool {
    // EINPROGRESS, on Linux and on the systems of BSD; Windows says that it would block.
    let under_way = cfg!(unix) && matches!(error.raw_os_error(), Some(115 | 36));
    under_way || error.kind() == io::ErrorKind::WouldBlock
}
