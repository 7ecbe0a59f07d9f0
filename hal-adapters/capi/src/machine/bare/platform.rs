//! What the platform is asked for: its callbacks, and addresses as it has them.

use core::convert::Infallible;
use core::ffi::c_void;
use core::net::{IpAddr, SocketAddr};

use rand_core::{TryCryptoRng, TryRng};

use super::{peerdist_address, peerdist_platform};
use crate::types::*;

/// The callbacks, each of which is there.
#[derive(Clone, Copy)]
pub(super) struct Platform {
    pub(super) context: *mut c_void,
    pub(super) send_datagram: unsafe extern "C" fn(*mut c_void, *const peerdist_address, *const u8, usize),
    pub(super) open: unsafe extern "C" fn(*mut c_void, DWORD, *const peerdist_address) -> BOOL,
    pub(super) close: unsafe extern "C" fn(*mut c_void, DWORD),
    pub(super) reset: unsafe extern "C" fn(*mut c_void, DWORD),
    pub(super) room: unsafe extern "C" fn(*mut c_void, DWORD) -> usize,
    pub(super) send: unsafe extern "C" fn(*mut c_void, DWORD, *const u8, usize),
    pub(super) resume: unsafe extern "C" fn(*mut c_void, DWORD),
    #[cfg_attr(not(target_os = "none"), expect(dead_code, reason = "a host has a panic handler of its own"))]
    pub(super) fatal: unsafe extern "C" fn(*mut c_void),
}

/// Random bytes, by the callback.
pub(crate) struct Entropy {
    context: *mut c_void,
    fill: unsafe extern "C" fn(*mut c_void, *mut u8, usize),
}

pub(super) fn callbacks(platform: &peerdist_platform) -> Option<(Platform, Entropy)> {
    let context = platform.context;
    let callbacks = Platform {
        context,
        send_datagram: platform.send_datagram?,
        open: platform.open?,
        close: platform.close?,
        reset: platform.reset?,
        room: platform.room?,
        send: platform.send?,
        resume: platform.resume?,
        fatal: platform.fatal?,
    };
    Some((callbacks, Entropy { context, fill: platform.entropy? }))
}

pub(super) fn address(socket: SocketAddr) -> peerdist_address {
    let mut address = peerdist_address { family: 4, prefix: 0, port: socket.port(), bytes: [0; 16] };
    match socket.ip() {
        IpAddr::V4(ip) => address.bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => (address.family, address.bytes) = (6, ip.octets()),
    }
    address
}

pub(super) fn socket(address: &peerdist_address) -> Option<SocketAddr> {
    let ip = match (address.family, address.bytes) {
        (4, [a, b, c, d, ..]) => IpAddr::from([a, b, c, d]),
        (6, bytes) => IpAddr::from(bytes),
        _ => return None,
    };
    Some(SocketAddr::new(ip, address.port))
}

impl TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        // SAFETY: who gave the callback promises that it can be called like this.
        unsafe { (self.fill)(self.context, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}
