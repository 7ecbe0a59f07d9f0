//! The options by which a node is put on a network.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use peerdist_core::discovery::Subnet;
use peerdist_sim::net::station::{Setup, Station};
use peerdist_sim::net::wire::Tap;

use super::{Failure, tell};

/// How a node reaches the network, beside its address.
#[derive(clap::Args)]
pub struct WireArgs {
    /// Linux: use the network stack of the firmware on this TAP device, instead of the system's. Then --bind takes
    /// ADDR/PREFIX, an address that nobody has
    #[arg(long, value_name = "NAME", requires = "bind")]
    tap: Option<String>,

    /// With --tap: the router to other networks
    #[arg(long, value_name = "ADDR", requires = "tap")]
    gateway: Option<IpAddr>,

    /// With --tap: the Ethernet address of the stack [default: made from its address]
    #[arg(long, value_name = "MAC", requires = "tap", value_parser = parse_mac)]
    mac: Option<Mac>,
}

/// An address of this machine; with its prefix, one that is to be of its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The address.
    pub address: IpAddr,
    prefix: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mac([u8; 6]);

impl FromStr for Bind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| "not an IP address")?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map(|prefix| prefix.parse().ok().filter(|prefix| (1..=bits).contains(prefix)));
        match prefix {
            Some(None) => Err("not the length of a prefix"),
            prefix => Ok(Self { address, prefix: prefix.flatten() }),
        }
    }
}

impl Bind {
    /// Without --tap, the system knows the prefix.
    pub fn of_this_machine(&self) -> Result<(), Failure> {
        match self.prefix {
            Some(_) => Err(Failure(
                "--bind: a prefix is for --tap; the system knows that of its own addresses".into(),
            )),
            None => Ok(()),
        }
    }
}

/// Puts a node on the network. What it has to go without is told.
pub fn open<const STREAMS: usize>(setup: Setup) -> Result<Station<STREAMS>, Failure> {
    let station = Station::open(setup).map_err(|error| Failure(error.told()))?;
    station.warning.iter().for_each(|warning| tell(warning));
    Ok(station)
}

fn parse_mac(text: &str) -> Result<Mac, &'static str> {
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2);
        *byte = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or("not six bytes, 02:...")?;
    }
    match (parts.next(), mac) {
        (None, [first, ..]) if first & 1 == 0 && mac != [0; 6] => Ok(Mac(mac)),
        _ => Err("not the address of one host"),
    }
}

impl WireArgs {
    /// The stack that is asked for, if one is.
    pub fn tap(&self, bind: Option<Bind>) -> Result<Option<Tap>, Failure> {
        let failure = |text: &str| Failure(text.to_string());
        match (&self.tap, bind) {
            (None, Some(bind)) => bind.of_this_machine().map(|()| None),
            (_, None) => Ok(None),
            (Some(_), Some(Bind { prefix: None, .. })) => {
                Err(failure("--bind: with --tap, ADDR/PREFIX, such as 192.168.1.10/24"))
            }
            (Some(name), Some(Bind { address, prefix: Some(prefix) })) => {
                self.stack(name, Subnet { address, prefix }).map(Some)
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn stack(&self, name: &str, subnet: Subnet) -> Result<Tap, Failure> {
        if self.gateway.is_some_and(|gateway| gateway.is_ipv4() != subnet.address.is_ipv4()) {
            return Err(Failure("--gateway: not of the family of --bind".into()));
        }
        let Mac(mac) = self.mac.unwrap_or_else(|| Mac::of(subnet.address));
        let mut addresses = vec![subnet];
        // So it speaks both families, as other hosts do; a node has one address of each.
        if subnet.address.is_ipv4() {
            addresses.push(Subnet { address: link_local(mac).into(), prefix: 64 });
        }
        // What is to be served and drawn at random is added where the node is made.
        Ok(Tap { name: name.to_string(), mac, addresses, gateway: self.gateway, serve: None, seed: 0 })
    }

    #[cfg(not(target_os = "linux"))]
    fn stack(&self, name: &str, _subnet: Subnet) -> Result<Tap, Failure> {
        Err(Failure(format!("--tap {name}: only Linux has such devices")))
    }
}

impl Mac {
    /// One that no manufacturer has given away, and that differs where the addresses of hosts do.
    fn of(address: IpAddr) -> Self {
        let [a, b, c, d] = match address {
            IpAddr::V4(address) => address.octets(),
            IpAddr::V6(address) => (address.to_bits() as u32).to_be_bytes(),
        };
        Self([0x02, 0x50, a, b, c, d])
    }
}

/// The address that a host makes of its Ethernet address (RFC 4291, appendix A).
fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    let word = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, word(a ^ 2, b), word(c, 0xff), word(0xfe, d), word(e, f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_a_prefix() {
        let bind = |text: &str| text.parse::<Bind>();
        let v4 = IpAddr::from([192, 168, 1, 10]);
        assert_eq!(bind("192.168.1.10"), Ok(Bind { address: v4, prefix: None }));
        assert_eq!(bind("192.168.1.10/24"), Ok(Bind { address: v4, prefix: Some(24) }));
        assert_eq!(bind("fd00::1/64").map(|bind| bind.prefix), Ok(Some(64)));
        for bad in ["192.168.1", "192.168.1.10/33", "192.168.1.10/0", "192.168.1.10/", "fd00::1/129", ""] {
            assert!(bind(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ethernet_addresses() {
        assert_eq!(parse_mac("02:00:00:00:01:ff"), Ok(Mac([2, 0, 0, 0, 1, 255])));
        assert_eq!(parse_mac("02-00-00-00-01-FF"), Ok(Mac([2, 0, 0, 0, 1, 255])));
        for bad in
            ["", "02:00:00:00:01", "02:00:00:00:01:ff:00", "01:00:00:00:00:01", "2:0:0:0:1:1", "0:0:0:0:0:+1"]
        {
            assert!(parse_mac(bad).is_err(), "{bad}");
        }
        assert_eq!(Mac::of(IpAddr::from([10, 9, 0, 7])), Mac([2, 0x50, 10, 9, 0, 7]));
        assert_eq!(link_local([2, 0x50, 10, 9, 0, 7]).to_string(), "fe80::50:aff:fe09:7");
    }
}
