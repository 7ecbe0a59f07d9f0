//! TLS between a connection and its bytes.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// Who has to be at the other end, and by what it is to be proven.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

pub(super) struct Session(ClientConnection);

impl Session {
    pub(super) fn new(peer: Peer) -> io::Result<Self> {
        ClientConnection::new(peer.config, peer.name).map(Self).map_err(io::Error::other)
    }

    /// Moves the handshake on; whether it is over.
    pub(super) fn handshake(&mut self, socket: &mut TcpStream) -> io::Result<bool> {
        while self.0.is_handshaking() {
            if !self.flush(socket)? {
                return Ok(false);
            }
            match self.receive(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                result => drop(result?),
            }
        }
        self.flush(socket)?;
        Ok(true)
    }

    pub(super) fn read(&mut self, socket: &mut TcpStream, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An end that the other side did not announce is an error here: anybody on the way could
                // have made it.
                result => return result,
            }
            self.receive(socket)?;
        }
    }

    pub(super) fn write(&mut self, socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.writer().write(bytes)?;
        self.flush(socket)?;
        if written == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(written)
    }

    /// Sends what is encrypted; whether the socket took all of it.
    pub(super) fn flush(&mut self, socket: &mut TcpStream) -> io::Result<bool> {
        while self.0.wants_write() {
            match self.0.write_tls(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                result => drop(result?),
            }
        }
        Ok(true)
    }

    pub(super) fn close(&mut self, socket: &mut TcpStream) {
        self.0.send_close_notify();
        // Who is gone need not be told.
        let _ = self.flush(socket);
    }

    fn receive(&mut self, socket: &mut TcpStream) -> io::Result<usize> {
        let len = self.0.read_tls(socket)?;
        if let Err(error) = self.0.process_new_packets() {
            // The other side learns why, if it can be told.
            let _ = self.flush(socket);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(len)
    }
}
