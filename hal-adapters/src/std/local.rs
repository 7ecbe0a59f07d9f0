//! Our own addresses: those of one interface.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use std::io;
use std::net::UdpSocket;
use std::string::{String, ToString as _};
use std::vec::Vec;

use if_addrs::{IfAddr, Interface, get_if_addrs};
use peerdist_core::discovery::{GROUP_V4, Subnet};

use super::Local;

/// Why there is no such address.
#[derive(Debug)]
pub enum LocalError {
    /// The system does not tell its interfaces.
    Interfaces(io::Error),
    /// No interface has it.
    Unknown {
        /// What was asked for.
        address: IpAddr,
        /// What there is.
        known: String,
    },
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interfaces(error) => write!(f, "the interfaces of this machine: {error}"),
            Self::Unknown { address, known } => {
                write!(f, "{address} is not an address of this machine, which has {known}")
            }
        }
    }
}

impl core::error::Error for LocalError {}

/// The address `bind` first, then one of the other family on the same interface, if there is one.
pub fn of_interface(bind: IpAddr) -> Result<Vec<Local>, LocalError> {
    let interfaces = get_if_addrs().map_err(LocalError::Interfaces)?;
    // All of 127.0.0.0/8 is ours, and one address of it is listed.
    let has = |it: &&Interface| it.ip() == bind || (bind.is_ipv4() && bind.is_loopback() && it.is_loopback());
    let Some(interface) = interfaces.iter().find(has) else {
        let known = interfaces.iter().map(|it| it.ip().to_string()).collect::<Vec<_>>().join(", ");
        return Err(LocalError::Unknown { address: bind, known });
    };
    let mut locals = std::vec![local(interface, bind)];
    // Loopback has no multicast of IPv6, and nobody there who would speak only that.
    if !bind.is_loopback() {
        let others = interfaces.iter().filter(|it| it.name == interface.name);
        let others = others.filter(|it| it.ip().is_ipv4() != bind.is_ipv4());
        // Where hosts have several, the link-local one is what all of them share.
        let other = others.min_by_key(|it| !it.is_link_local());
        locals.extend(other.map(|it| local(it, it.ip())));
    }
    Ok(locals)
}

/// The address from which the system would send to the group: `None` if it would not.
pub fn usual() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(GROUP_V4).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

/// The name of the interface with this address, if the system says that it takes no multicast: nobody is
/// found there. What is told of loopback does not count, as it brings everything back.
pub fn without_multicast(bind: IpAddr) -> Option<String> {
    let interface = get_if_addrs().ok()?.into_iter().find(|it| it.ip() == bind && !it.is_loopback())?;
    (!takes_multicast(&interface.name)?).then_some(interface.name)
}

/// On Linux, by the flags of the interface.
#[cfg(target_os = "linux")]
fn takes_multicast(interface: &str) -> Option<bool> {
    /// `IFF_MULTICAST` of netdevice(7).
    const MULTICAST: u32 = 0x1000;
    let flags = std::fs::read_to_string(std::format!("/sys/class/net/{interface}/flags")).ok()?;
    let flags = u32::from_str_radix(flags.trim().strip_prefix("0x")?, 16).ok()?;
    Some(flags & MULTICAST != 0)
}

/// Elsewhere nobody says.
#[cfg(not(target_os = "linux"))]
fn takes_multicast(_interface: &str) -> Option<bool> {
    None
}

fn local(interface: &Interface, address: IpAddr) -> Local {
    let prefix = match &interface.addr {
        IfAddr::V4(v4) => v4.prefixlen,
        IfAddr::V6(v6) => v6.prefixlen,
    };
    Local { subnet: Subnet { address, prefix }, interface: interface.index.unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_ours_and_alone() {
        for last in [1, 77] {
            let address = IpAddr::from([127, 0, 0, last]);
            let locals = of_interface(address).expect("there is a loopback interface");
            assert_eq!(locals.len(), 1);
            assert_eq!(locals[0].subnet, Subnet { address, prefix: 8 });
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn flags_of_interfaces() {
        // Loopback lacks the flag, and takes it all the same.
        assert_eq!((takes_multicast("lo"), takes_multicast("none such")), (Some(false), None));
        assert_eq!(without_multicast(IpAddr::from([127, 0, 0, 1])), None);
        assert_eq!(without_multicast(IpAddr::from([203, 0, 113, 1])), None);
    }

    #[test]
    fn what_is_not_ours() {
        // TEST-NET-3, which nobody has (RFC 5737).
        let error = of_interface(IpAddr::from([203, 0, 113, 1])).expect_err("nobody has it");
        assert!(error.to_string().contains("203.0.113.1 is not an address of this machine"), "{error}");
    }
}
