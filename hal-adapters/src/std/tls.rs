//! TLS, between bytes that a node knows and those that a driver moves.

mod served;

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::vec::Vec;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

pub(super) use self::served::Served;

/// Plain bytes that are taken out of a session at once: those of a record.
const PLAIN_BYTES: usize = 16 * 1024;

/// Who has to be at the other end, and by what it is to be proven.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

pub(super) struct Session {
    connection: ClientConnection,
    /// Whether the other side has said that it sends no more.
    closed: bool,
}

impl Session {
    pub(super) fn new(peer: &Peer) -> io::Result<Self> {
        let connection = ClientConnection::new(peer.config.clone(), peer.name.clone());
        Ok(Self { connection: connection.map_err(io::Error::other)?, closed: false })
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the other side has said that it sends no more. An end that it did not announce is an error:
    /// anybody on the way could have made it.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes bytes off the wire, and adds what is in them to `plain`: how many were used, at least one.
    pub(super) fn decrypt(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> io::Result<usize> {
        let used = self.connection.read_tls(&mut bytes)?;
        let state = self.connection.process_new_packets();
        let state = state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.closed = state.peer_has_closed();
        if used == 0 {
            // Behind its end nothing counts.
            return Ok(bytes.len());
        }
        let mut left = state.plaintext_bytes_to_read();
        while left > 0 {
            let end = plain.len();
            plain.resize(end + left.min(PLAIN_BYTES), 0);
            let len = self.connection.reader().read(plain.get_mut(end..).unwrap_or_default())?;
            plain.truncate(end + len);
            left = left.saturating_sub(len.max(1));
        }
        Ok(used)
    }

    /// Takes plain bytes for the other side, after all that it holds was polled.
    pub(super) fn encrypt(&mut self, plain: &[u8]) -> io::Result<()> {
        self.connection.writer().write_all(plain)
    }

    /// Fills the front of `room` with bytes for the wire: how many.
    pub(super) fn poll(&mut self, room: &mut [u8]) -> usize {
        let mut filled = 0usize;
        while self.connection.wants_write() {
            let mut rest = room.get_mut(filled..).unwrap_or_default();
            match self.connection.write_tls(&mut rest) {
                Ok(len @ 1..) => filled = filled.saturating_add(len),
                _ => break,
            }
        }
        filled
    }

    /// No more will be sent, and the other side is told.
    pub(super) fn close(&mut self) {
        self.connection.send_close_notify();
    }
}
