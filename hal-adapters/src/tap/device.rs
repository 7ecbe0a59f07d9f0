//! The device itself: frames in, frames out.

use std::format;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::string::{String, ToString as _};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::OpenError;

/// Bytes of an Ethernet header, which the kernel does not count in what a device takes.
const HEADER_BYTES: usize = 14;

/// In the flags of a TUN or TAP device, that it is a TAP device (`IFF_TAP`).
const TAP: u32 = 2;

/// In the flags of a device, that it is up (`IFF_UP`).
const UP: u32 = 1;

/// A TAP device that is open: Ethernet frames without their check sequence.
///
/// Nobody else can open it meanwhile. Several threads may use it.
pub struct Tap {
    device: SyncDevice,
    name: String,
    frame_bytes: usize,
}

/// Waits for the frames of a [`Tap`].
pub struct Reader {
    tap: Arc<Tap>,
    poll: Poll,
    events: Events,
}

impl Tap {
    /// Opens a device that is there and up; it makes none.
    pub fn open(name: &str) -> Result<Self, OpenError> {
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
            let frame_bytes = HEADER_BYTES.saturating_add(device.mtu()?.into());
            Ok((device, frame_bytes))
        });
        let (device, frame_bytes) = opened.map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => OpenError::Busy(name.to_string()),
            io::ErrorKind::PermissionDenied => OpenError::NotOurs(name.to_string()),
            _ => OpenError::Device(name.to_string(), error),
        })?;
        Ok(Self { device, name: name.to_string(), frame_bytes })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of a frame at most, unless it has a tag of a VLAN.
    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// The next frame, to the front of `frame`: how many bytes it has, or that none is there. What does not fit is
    /// cut off. Fails if the device is gone.
    pub fn recv(&self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        match self.device.recv(frame) {
            Ok(len) => Ok(Some(len)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends `frame`. Fails if there is no room for it, or if the device is down or gone.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.device.send(frame).map(drop)
    }

    /// Something that waits for its frames. There is to be one.
    pub fn reader(self: &Arc<Self>) -> io::Result<Reader> {
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&self.as_raw_fd()), Token(0), Interest::READABLE)?;
        Ok(Reader { tap: Arc::clone(self), poll, events: Events::with_capacity(1) })
    }
}

impl Reader {
    /// As [`Tap::recv`], after waiting for `timeout` at most.
    pub fn recv(&mut self, frame: &mut [u8], timeout: Duration) -> io::Result<Option<usize>> {
        // Readiness is told once, so that it is waited for only when nothing is left.
        if let Some(len) = self.tap.recv(frame)? {
            return Ok(Some(len));
        }
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => self.tap.recv(frame),
        }
    }
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.device.as_raw_fd()
    }
}

impl core::fmt::Debug for Tap {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Tap").field("name", &self.name).finish_non_exhaustive()
    }
}
