//! The device as a network card of smoltcp.
//!
//! smoltcp has a device for TAP of its own. It panics when the interface is set down or removed while it
//! is in use, which anybody may do at any time.

use std::format;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::vec::Vec;

use ::smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use ::smoltcp::time::Instant;

use super::{OpenError, Tap};

/// The card.
pub(super) struct Card {
    tap: Tap,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    bytes: (u64, u64),
    error: Option<io::Error>,
}

impl Card {
    pub(super) fn open(name: &str) -> Result<Self, OpenError> {
        let tap = Tap::open(name)?;
        let incoming = std::vec![0; tap.frame_bytes()];
        let outgoing = Vec::with_capacity(tap.frame_bytes());
        Ok(Self { tap, incoming, outgoing, bytes: (0, 0), error: None })
    }

    /// Bytes received, and sent.
    pub(super) fn bytes(&self) -> (u64, u64) {
        self.bytes
    }

    /// Whether it still can be read.
    pub(super) fn check(&mut self) -> io::Result<()> {
        let name = self.tap.name();
        self.error
            .take()
            .map_or(Ok(()), |error| Err(io::Error::new(error.kind(), format!("{name}: {error}"))))
    }
}

impl AsRawFd for Card {
    fn as_raw_fd(&self) -> RawFd {
        self.tap.as_raw_fd()
    }
}

/// A frame that has come.
pub(super) struct Incoming<'c>(&'c [u8]);

/// Room for a frame.
pub(super) struct Outgoing<'c> {
    tap: &'c Tap,
    frame: &'c mut Vec<u8>,
    sent: &'c mut u64,
}

impl Device for Card {
    type RxToken<'c> = Incoming<'c>;
    type TxToken<'c> = Outgoing<'c>;

    fn receive(&mut self, _now: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        match self.tap.recv(&mut self.incoming) {
            Ok(Some(len)) => {
                let frame = self.incoming.get(..len)?;
                self.bytes.0 += len as u64;
                let Self { tap, outgoing, bytes, .. } = self;
                Some((Incoming(frame), Outgoing { tap, frame: outgoing, sent: &mut bytes.1 }))
            }
            Ok(None) => None,
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        let Self { tap, outgoing, bytes, .. } = self;
        Some(Outgoing { tap, frame: outgoing, sent: &mut bytes.1 })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.tap.frame_bytes();
        capabilities
    }
}

impl RxToken for Incoming<'_> {
    fn consume<T, F: FnOnce(&[u8]) -> T>(self, use_frame: F) -> T {
        use_frame(self.0)
    }
}

impl TxToken for Outgoing<'_> {
    fn consume<T, F: FnOnce(&mut [u8]) -> T>(self, len: usize, fill: F) -> T {
        self.frame.clear();
        self.frame.resize(len, 0);
        let result = fill(self.frame);
        // What cannot be sent is lost, as on a cable that is not plugged in.
        if self.tap.send(self.frame).is_ok() {
            *self.sent += len as u64;
        }
        result
    }
}
