//! [MS-PCCRD] Discovery: who on the local network has a segment.
//!
//! A probe is multicast to [`GROUP_V4`] or [`GROUP_V6`]; peers that hold blocks of a segment it
//! names answer it by unicast. Both are WS-Discovery messages (April 2005): SOAP in XML in one UDP
//! datagram.
//!
//! - [`xml`]: a bounded, namespace-aware tokenizer; knows nothing of discovery.
//! - [`wire`]: the messages, parsed from a datagram and emitted into one.
//! - [`client`]: probes, repeats them, and reports which peer has what.
//! - [`server`]: answers probes for what we have.
//!
//! Messages of version 1 are spoken. Those of version 2 are recognised, counted and ignored.
//!
//! A socket that joined the group may hear its own probes: the caller drops datagrams that come
//! from itself.

pub mod client;
pub mod server;
mod text;
pub mod wire;
mod xaddr;
pub mod xml;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The UDP port of WS-Discovery (fact 29).
pub const PORT: u16 = 3_702;

/// Where probes go over IPv4 (fact 29).
pub const GROUP_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250)), PORT);

/// Where probes go over IPv6 (fact 29).
pub const GROUP_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x0c)), PORT);

/// A network by its address and the length of its prefix in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Any address of the network.
    pub address: IpAddr,
    /// Leading bits that its addresses share.
    pub prefix: u8,
}

impl Subnet {
    /// Whether `ip` is an address of this network.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let (ours, theirs, bits) = match (self.address, ip) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (ours.to_bits().into(), theirs.to_bits().into(), 32u8),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        let host_bits = u32::from(bits.saturating_sub(self.prefix));
        let difference: u128 = ours ^ theirs;
        difference.checked_shr(host_bits).unwrap_or(0) == 0
    }
}

fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}

/// A source of random bytes that anyone can predict, for tests.
#[cfg(test)]
struct CountingRng(u8);

#[cfg(test)]
impl rand_core::TryRng for CountingRng {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        for byte in dst {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

#[cfg(test)]
impl rand_core::TryCryptoRng for CountingRng {}
