//! The device as a network card of smoltcp.
//!
//! smoltcp has a device for TAP of its own. It panics when the interface is set down or removed while it
//! is in use, which anybody may do at any time.

use std::format;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::string::{String, ToString as _};
use std::vec::Vec;

use ::smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use ::smoltcp::time::Instant;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::OpenError;

/// Bytes of an Ethernet header, which the kernel does not count in what a device takes.
const HEADER_BYTES: usize = 14;

/// In the flags of a TUN or TAP device, that it is a TAP device (`IFF_TAP`).
const TAP: u32 = 2;

/// In the flags of a device, that it is up (`IFF_UP`).
const UP: u32 = 1;

/// The card.
pub(super) struct Card {
    device: SyncDevice,
    name: String,
    mtu: usize,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    bytes: (u64, u64),
    error: Option<io::Error>,
}

impl Card {
    pub(super) fn open(name: &str) -> Result<Self, OpenError> {
        // The kernel would make a device that is missing, on no bridge, and gone with us.
        let folder = format!("/sys/class/net/{name}");
        let plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
        if !plain || !fs::exists(&folder).unwrap_or(false) {
            return Err(OpenError::Missing(name.to_string()));
        }
        let flags = |file: &str| {
            let text = fs::read_to_string(format!("{folder}/{file}")).ok()?;
            u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
        };
        if flags("tun_flags").is_none_or(|flags| flags & TAP == 0) {
            return Err(OpenError::NotTap(name.to_string()));
        }
        if flags("flags").is_some_and(|flags| flags & UP == 0) {
            return Err(OpenError::Down(name.to_string()));
        }
        let device = DeviceBuilder::new().name(name).layer(Layer::L2).inherit_enable_state().build_sync();
        let opened = device.and_then(|device| {
            device.set_nonblocking(true)?;
            let mtu = HEADER_BYTES.saturating_add(device.mtu()?.into());
            Ok((device, mtu))
        });
        let (device, mtu) = opened.map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => OpenError::Busy(name.to_string()),
            io::ErrorKind::PermissionDenied => OpenError::NotOurs(name.to_string()),
            _ => OpenError::Device(name.to_string(), error),
        })?;
        Ok(Self {
            device,
            name: name.to_string(),
            mtu,
            incoming: std::vec![0; mtu],
            outgoing: Vec::with_capacity(mtu),
            bytes: (0, 0),
            error: None,
        })
    }

    /// Bytes received, and sent.
    pub(super) fn bytes(&self) -> (u64, u64) {
        self.bytes
    }

    /// Whether it still can be read.
    pub(super) fn check(&mut self) -> io::Result<()> {
        let name = &self.name;
        self.error
            .take()
            .map_or(Ok(()), |error| Err(io::Error::new(error.kind(), format!("{name}: {error}"))))
    }
}

impl AsRawFd for Card {
    fn as_raw_fd(&self) -> RawFd {
        self.device.as_raw_fd()
    }
}

/// A frame that has come.
pub(super) struct Incoming<'c>(&'c [u8]);

/// Room for a frame.
pub(super) struct Outgoing<'c> {
    device: &'c SyncDevice,
    frame: &'c mut Vec<u8>,
    sent: &'c mut u64,
}

impl Device for Card {
    type RxToken<'c> = Incoming<'c>;
    type TxToken<'c> = Outgoing<'c>;

    fn receive(&mut self, _now: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        match self.device.recv(&mut self.incoming) {
            Ok(len) => {
                let frame = self.incoming.get(..len)?;
                self.bytes.0 += len as u64;
                let Self { device, outgoing, bytes, .. } = self;
                Some((Incoming(frame), Outgoing { device, frame: outgoing, sent: &mut bytes.1 }))
            }
            Err(error) => {
                if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                    self.error = Some(error);
                }
                None
            }
        }
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        let Self { device, outgoing, bytes, .. } = self;
        Some(Outgoing { device, frame: outgoing, sent: &mut bytes.1 })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu;
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
        if self.device.send(self.frame).is_ok() {
            *self.sent += len as u64;
        }
        result
    }
}
