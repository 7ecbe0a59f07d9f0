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
//! Version 2 asks for more segments at once, and is told of each whether all of it is there. Which
//! one to speak goes by the version of the content information (2.2.2); an answer is of the version
//! of its probe.
//!
//! A socket that joined the group may hear its own probes: the caller drops datagrams that come
//! from itself.

mod base64;
pub mod client;
pub mod server;
mod text;
pub mod wire;
mod xaddr;
pub mod xml;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rand_core::CryptoRng;

use crate::time::Duration;

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

    /// Whether `ip` is a host on the link that this network, the local subnet, is on: one of its
    /// addresses, or where it is of IPv6, a link-local one, which every host there has beside others
    /// (RFC 4291, 2.5.6).
    pub fn is_local(&self, ip: IpAddr) -> bool {
        self.contains(ip)
            || matches!((self.address, ip), (IpAddr::V6(_), IpAddr::V6(ip)) if ip.is_unicast_link_local())
    }
}

/// The first gap between two sends of one datagram lies between these (SOAP-over-UDP, fact 29).
const FIRST_GAP: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));

/// Answers that a probe for one segment had: what a peer knows of how many others have it (product
/// behaviour of 3.2.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Replies {
    /// Peers that have some of the segment; more than 255 are 255.
    pub all: u8,
    /// Peers among them that are known to have all of it.
    pub whole: u8,
}

/// What an address and some bytes beside it are remembered by, where the whole of both would take
/// ten times the room (FNV-1a). Who can make two of them meet gains nothing by it.
fn fingerprint(address: Option<SocketAddr>, bytes: &[u8]) -> u64 {
    let (ip, port) = match address {
        None => (Ipv6Addr::UNSPECIFIED, 0),
        Some(SocketAddr::V4(address)) => (address.ip().to_ipv6_mapped(), address.port()),
        Some(SocketAddr::V6(address)) => (*address.ip(), address.port()),
    };
    let all = ip.octets().into_iter().chain(port.to_be_bytes()).chain(bytes.iter().copied());
    all.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}

/// A time between the two, both included.
fn between((shortest, longest): (Duration, Duration), rng: &mut dyn CryptoRng) -> Duration {
    let spread = longest.micros().saturating_sub(shortest.micros()).saturating_add(1);
    shortest + Duration::from_micros(u64::from(rng.next_u32()).checked_rem(spread).unwrap_or(0))
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
