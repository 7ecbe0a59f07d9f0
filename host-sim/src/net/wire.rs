//! The two ways of a node onto the network: the sockets of the kernel, and smoltcp on a TAP device.

use std::io;
#[cfg(target_os = "linux")]
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use peerdist_core::node::Output;
use peerdist_core::time::Instant;
use peerdist_hal::std::{Counters, Driver, Origins, Waker};
#[cfg(target_os = "linux")]
use peerdist_hal::tap;

use super::station::NetNode;

/// A stack of its own on a TAP device.
#[cfg(target_os = "linux")]
pub type Tap = tap::Options;

/// There are none here.
#[cfg(not(target_os = "linux"))]
#[derive(Clone, Copy, Debug)]
pub enum Tap {}

/// What moves a node's bytes.
pub enum Wire {
    /// The kernel's sockets.
    Sockets(Box<Driver>),
    /// The stack of the firmware.
    #[cfg(target_os = "linux")]
    Tap(Box<tap::Driver>),
}

impl Wire {
    /// The port that it listens on, if it does.
    pub fn port(&self) -> u16 {
        match self {
            Self::Sockets(driver) => driver.port(),
            #[cfg(target_os = "linux")]
            Self::Tap(driver) => driver.port(),
        }
    }

    /// What other threads wake it by.
    pub fn waker(&self) -> Waker {
        match self {
            Self::Sockets(driver) => driver.waker(),
            #[cfg(target_os = "linux")]
            Self::Tap(driver) => driver.waker(),
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        match self {
            Self::Sockets(driver) => driver.counters(),
            #[cfg(target_os = "linux")]
            Self::Tap(driver) => driver.counters(),
        }
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        match self {
            Self::Sockets(driver) => driver.connections(),
            #[cfg(target_os = "linux")]
            Self::Tap(driver) => driver.connections(),
        }
    }

    /// Those of the addresses that there is a way to; if there is to none of them, why.
    pub fn reachable(&self, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
        match self {
            Self::Sockets(_) => Ok(addresses),
            #[cfg(target_os = "linux")]
            Self::Tap(driver) => {
                let (near, far): (Vec<_>, Vec<_>) =
                    addresses.into_iter().partition(|address| driver.has_way_to(address.ip()));
                if !near.is_empty() || far.is_empty() {
                    return Ok(near);
                }
                let family = match far[0].ip() {
                    one if far.iter().any(|other| other.is_ipv4() != one.is_ipv4()) => "",
                    IpAddr::V4(_) => " of IPv4",
                    IpAddr::V6(_) => " of IPv6",
                };
                let far: Vec<_> = far.iter().map(|address| address.ip().to_string()).collect();
                Err(format!("the stack on the TAP device has no --gateway{family} to {}", far.join(", ")))
            }
        }
    }

    /// The origins of downloads.
    pub fn origins(&mut self) -> &mut Origins {
        match self {
            Self::Sockets(driver) => driver.origins(),
            #[cfg(target_os = "linux")]
            Self::Tap(driver) => driver.origins(),
        }
    }

    /// Moves all that can be moved.
    pub fn poll<const STREAMS: usize>(
        &mut self,
        now: Instant,
        node: &mut NetNode<STREAMS>,
        application: &mut dyn FnMut(Output<'_>),
    ) -> Option<Instant> {
        match self {
            Self::Sockets(driver) => driver.poll(now, node, application),
            #[cfg(target_os = "linux")]
            Self::Tap(driver) => driver.poll(now, node, application),
        }
    }

    /// Waits until something comes, for so long at most.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Sockets(driver) => driver.wait(timeout),
            #[cfg(target_os = "linux")]
            Self::Tap(driver) => driver.wait(timeout),
        }
    }
}
