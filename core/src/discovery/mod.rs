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
use core::ops::Range;

use heapless::{Vec, VecView};
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
        match (self.address, ip) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => share(&ours.octets(), &theirs.octets(), self.prefix),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => share(&ours.octets(), &theirs.octets(), self.prefix),
            _ => false,
        }
    }

    /// Whether `ip` is a host on the link that this network, the local subnet, is on: one of its
    /// addresses, or where it is of IPv6, a link-local one, which every host there has beside others
    /// (RFC 4291, 2.5.6). The address of all its hosts is not that of a host: what is sent to it,
    /// each of them gets.
    pub fn is_local(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(_), IpAddr::V4(ip)) => {
                // RFC 3021: a network of 31 bits has no room for it.
                let hosts = u32::MAX.checked_shr(self.prefix.into()).filter(|hosts| *hosts > 1);
                let broadcast = hosts.is_some_and(|hosts| ip.to_bits() & hosts == hosts);
                self.contains(ip.into()) && !broadcast && !ip.is_unspecified() && !ip.is_multicast()
            }
            (IpAddr::V6(_), IpAddr::V6(ip)) => {
                (self.contains(ip.into()) && !ip.is_unspecified() && !ip.is_multicast())
                    || ip.is_unicast_link_local()
            }
            _ => false,
        }
    }
}

/// Whether the first `prefix` bits are alike.
#[inline(never)]
fn share(ours: &[u8], theirs: &[u8], prefix: u8) -> bool {
    let mut bits = u32::from(prefix);
    for (ours, theirs) in ours.iter().zip(theirs) {
        let host_bits = 0xffu8.checked_shr(bits).unwrap_or(0);
        if (ours ^ theirs) & !host_bits != 0 {
            return false;
        }
        bits = bits.saturating_sub(8);
    }
    true
}

/// Our own addresses at most: one of each family.
pub const MAX_ADDRESSES: usize = 2;

/// Our own addresses, each with its network.
#[derive(Clone, Debug, Default)]
pub struct Addresses(Vec<Subnet, MAX_ADDRESSES>);

impl Addresses {
    /// Of `all`, the first of each family.
    pub fn new(all: &[Subnet]) -> Self {
        let mut addresses = Self::default();
        for subnet in all {
            if addresses.of_family(subnet.address).is_none() {
                // Each family comes once, so there is room.
                let _ = addresses.0.push(*subnet);
            }
        }
        addresses
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Subnet> {
        self.0.iter()
    }

    /// The one under which a host at `ip` reaches us: that of its family.
    pub fn of_family(&self, ip: IpAddr) -> Option<IpAddr> {
        self.iter().map(|subnet| subnet.address).find(|address| address.is_ipv4() == ip.is_ipv4())
    }

    /// Whether `ip` is one of them.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.of_family(ip) == Some(ip)
    }

    /// Whether `ip` is a host on a link that we are on, as of [`Subnet::is_local`].
    pub fn is_local(&self, ip: IpAddr) -> bool {
        self.iter().any(|subnet| subnet.is_local(ip))
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
#[inline(never)]
fn fingerprint(ip: IpAddr, port: u16, bytes: &[u8]) -> u64 {
    let mut hash = match ip {
        IpAddr::V4(ip) => mix(FNV, &ip.octets()),
        IpAddr::V6(ip) => mix(FNV, &ip.octets()),
    };
    hash = mix(hash, &port.to_be_bytes());
    mix(hash, bytes)
}

/// Where a [`mix`] begins.
const FNV: u64 = 0xcbf2_9ce4_8422_2325;

#[inline(never)]
fn mix(mut hash: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

/// Takes `gone` out of `table`, and keeps the order of the rest.
fn cut<T: Copy>(table: &mut VecView<T>, gone: Range<usize>) {
    let mut len = gone.start;
    for from in gone.end..table.len() {
        let Some(&row) = table.get(from) else { break };
        if let Some(slot) = table.get_mut(len) {
            *slot = row;
        }
        len = len.saturating_add(1);
    }
    table.truncate(len);
}

fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}

/// A time between the two, both included.
#[inline(never)]
fn between((shortest, longest): (Duration, Duration), rng: &mut dyn CryptoRng) -> Duration {
    let spread = longest.micros().saturating_sub(shortest.micros()).saturating_add(1);
    // An hour is more than anybody waits.
    let spread = u32::try_from(spread).unwrap_or(u32::MAX);
    shortest + Duration::from_micros(rng.next_u32().checked_rem(spread).unwrap_or(0).into())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(address: &str, prefix: u8) -> Subnet {
        Subnet { address: address.parse().unwrap(), prefix }
    }

    /// Whoever could have us send to all hosts at once would have each of us send to each.
    #[test]
    fn all_hosts_are_no_host() {
        let cases = [
            ("192.0.2.1", 24, "192.0.2.254", true),
            ("192.0.2.1", 24, "192.0.2.255", false),
            ("192.0.2.1", 25, "192.0.2.127", false),
            ("192.0.2.1", 8, "192.0.2.255", true),
            ("192.0.2.1", 31, "192.0.2.1", true),
            ("192.0.2.1", 32, "192.0.2.1", true),
            ("192.0.2.1", 255, "192.0.2.1", true),
            ("192.0.2.1", 0, "255.255.255.255", false),
            ("192.0.2.1", 0, "239.255.255.250", false),
            ("192.0.2.1", 0, "0.0.0.0", false),
            ("192.0.2.1", 24, "::ffff:192.0.2.2", false),
            ("fe80::1", 64, "fe80::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", 64, "fe80::2", true),
            ("2001:db8::1", 0, "ff02::c", false),
            ("2001:db8::1", 0, "::", false),
            ("2001:db8::1", 64, "192.0.2.2", false),
        ];
        for (ours, prefix, ip, local) in cases {
            assert_eq!(subnet(ours, prefix).is_local(ip.parse().unwrap()), local, "{ours}/{prefix} {ip}");
        }
    }

    #[test]
    fn one_address_of_each_family() {
        let [v4, v6] = [subnet("192.0.2.1", 24), subnet("2001:db8::1", 64)];
        let addresses = Addresses::new(&[v4, subnet("198.51.100.1", 24), v6, subnet("fe80::1", 10)]);
        assert!(addresses.iter().eq([&v4, &v6]));
        assert!(addresses.contains(v4.address) && addresses.contains(v6.address));
        for (ip, ours, local) in [
            ("192.0.2.9", v4, true),
            ("198.51.100.1", v4, false),
            ("fe80::9", v6, true),
            ("2001:db8:1::9", v6, false),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!((addresses.of_family(ip), addresses.is_local(ip)), (Some(ours.address), local));
            assert!(!addresses.contains(ip));
        }
        assert_eq!(Addresses::new(&[v4]).of_family(v6.address), None);
        assert!(Addresses::default().is_empty() && !Addresses::default().is_local(v4.address));
    }
}
