//! TLS of a connection that somebody opened to us, between its socket and plain bytes.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{ServerConfig, ServerConnection};

/// Plain bytes that are encrypted at once: those of a record. More is not taken before that is the system's, so a
/// client that reads nothing costs no more.
const PLAIN_BYTES: usize = 16 * 1024;

/// Reads from a socket for one of plain bytes: records that carry none may not go on for ever.
const READS: usize = 16;

pub(in super::super) struct Served(ServerConnection);

impl Served {
    pub(in super::super) fn new(config: Arc<ServerConfig>) -> io::Result<Self> {
        ServerConnection::new(config).map(Self).map_err(io::Error::other)
    }

    /// Moves the handshake on, as far as that goes.
    pub(in super::super) fn greet(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        while self.0.is_handshaking() {
            if self.take(socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    pub(in super::super) fn read(&mut self, socket: &mut TcpStream, buf: &mut [u8]) -> io::Result<usize> {
        for _ in 0..READS {
            match self.0.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.take(socket)?;
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    pub(in super::super) fn write(&mut self, socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        self.flush(socket)?;
        let piece = bytes.get(..PLAIN_BYTES.min(bytes.len())).unwrap_or_default();
        let len = self.0.writer().write(piece)?;
        // These are taken; an error shows when there are more, or the rest of them goes out.
        let _ = self.flush(socket);
        Ok(len)
    }

    pub(in super::super) fn flush(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        while self.0.wants_write() {
            if self.0.write_tls(socket)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// No more will be written, and the other side is told.
    pub(in super::super) fn close(&mut self) {
        self.0.send_close_notify();
    }

    /// Takes bytes off the wire: how many.
    fn take(&mut self, socket: &mut TcpStream) -> io::Result<usize> {
        let len = self.0.read_tls(socket)?;
        let state = self.0.process_new_packets();
        // What is to be said of that goes out, and of what is wrong why. What does not go now does later.
        let _ = self.flush(socket);
        state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(len)
    }
}
