//! Who has a port that we wanted.

use std::net::SocketAddr;
#[cfg(target_os = "linux")]
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What ports there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Those that are listened on.
    Tcp,
    /// Those of datagrams.
    Udp,
}

/// A line that says who has the port of `address`, as far as the system tells.
pub fn taken(protocol: Protocol, address: SocketAddr) -> String {
    let holder = of_port(protocol, address).unwrap_or_else(|| "another process".into());
    let name = if protocol == Protocol::Tcp { "TCP" } else { "UDP" };
    format!("{name} port {} of {} is taken by {holder}", address.port(), address.ip())
}

/// The process that has the port of `address`, as its name and number, where the system tells: on Linux, of all
/// processes to root, and of his own to anybody. Where several share a port, the first of them.
#[cfg(target_os = "linux")]
pub fn of_port(protocol: Protocol, address: SocketAddr) -> Option<String> {
    let tables = match protocol {
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    };
    let tables = tables.map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines());
    let sockets: Vec<String> = lines.filter_map(|line| holder(line, protocol, address)).collect();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(number) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let files = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let mut links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        if links.any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str())) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {number})", name.trim_end()));
        }
    }
    None
}

/// Elsewhere nobody says.
#[cfg(not(target_os = "linux"))]
pub fn of_port(_protocol: Protocol, _address: SocketAddr) -> Option<String> {
    None
}

/// What the file of a socket links to, if a line of the table is one that keeps others from `address`.
#[cfg(target_os = "linux")]
fn holder(line: &str, protocol: Protocol, address: SocketAddr) -> Option<String> {
    // `TCP_LISTEN`, and `TCP_CLOSE`, which a socket for datagrams is in unless it has a single partner.
    let state = if protocol == Protocol::Tcp { "0A" } else { "07" };
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let (ip, port) = local.split_once(':')?;
    let is_it = conflict(parse_ip(ip)?, address.ip())
        && u16::from_str_radix(port, 16) == Ok(address.port())
        && fields.nth(1)? == state;
    let inode = fields.nth(5)?;
    is_it.then(|| format!("socket:[{inode}]"))
}

/// An address as the table has it: words of 32 bits, each with its bytes in the order of the machine.
#[cfg(target_os = "linux")]
fn parse_ip(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(digits.get(at..at.checked_add(8)?)?, 16).ok()?;
        Some(u32::from_be_bytes(word.to_ne_bytes()))
    };
    match digits.len() {
        8 => word(0).map(|word| Ipv4Addr::from(word).into()),
        32 => {
            let bits = (0..4).try_fold(0u128, |bits, at| Some(bits << 32 | u128::from(word(at * 8)?)))?;
            Some(Ipv6Addr::from(bits).into())
        }
        _ => None,
    }
}

/// Whether a socket at the one address keeps others from the other: the same, however it is written, or that
/// of all. All of IPv6 may be all of IPv4, too; the table does not say.
#[cfg(target_os = "linux")]
fn conflict(theirs: IpAddr, ours: IpAddr) -> bool {
    let (theirs, ours) = (theirs.to_canonical(), ours.to_canonical());
    let covers = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    theirs == ours || covers(theirs, ours) || covers(ours, theirs)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::Protocol::{Tcp, Udp};
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().expect("an address")
    }

    #[test]
    fn a_line_of_the_table() {
        let line = "   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 \
                    18446 1 0000000000000000 100 0 0 10 0";
        assert_eq!(holder(line, Tcp, at("192.0.2.1:80")).as_deref(), Some("socket:[18446]"));
        assert_eq!(holder(line, Tcp, at("192.0.2.1:81")), None);
        assert_eq!(holder(line, Udp, at("192.0.2.1:80")), None);
        assert_eq!(holder(&line.replace(" 0A ", " 01 "), Tcp, at("192.0.2.1:80")), None);
        let own = line.replace("00000000:0050", "7F7F7F7F:0050");
        assert_eq!(holder(&own, Tcp, at("192.0.2.1:80")), None);
        assert!(holder(&own, Tcp, at("127.127.127.127:80")).is_some());
        assert_eq!(holder("  sl  local_address rem_address   st tx_queue", Tcp, at("192.0.2.1:80")), None);

        let line = "  366: 00000000:0E76 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 \
                    20119 2 0000000000000000 0";
        assert_eq!(holder(line, Udp, at("192.0.2.1:3702")).as_deref(), Some("socket:[20119]"));
        assert_eq!(holder(line, Udp, at("[2001:db8::1]:3702")), None);
    }

    #[test]
    fn addresses_of_the_table() {
        for (digits, address) in [
            (0x7f00_0001u32.to_be_bytes().to_vec(), "127.0.0.1"),
            (Ipv6Addr::LOCALHOST.octets().to_vec(), "::1"),
            ("2001:db8::1:2".parse::<Ipv6Addr>().expect("an address").octets().to_vec(), "2001:db8::1:2"),
            (vec![0; 16], "::"),
        ] {
            let words = digits.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().expect("four bytes")));
            let digits: String = words.map(|word| format!("{word:08X}")).collect();
            assert_eq!(parse_ip(&digits).map(|ip| ip.to_string()).as_deref(), Some(address));
        }
        for bad in ["", "0100007", "0100007G", "01000000000000000000000000000000A"] {
            assert_eq!(parse_ip(bad), None);
        }
    }

    #[test]
    fn who_keeps_whom_away() {
        let conflict = |theirs: &str, ours: &str| {
            conflict(theirs.parse().expect("an address"), ours.parse().expect("an address"))
        };
        for (theirs, ours) in [
            ("::1", "::1"),
            ("::", "::1"),
            ("::", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::ffff:0.0.0.0", "192.0.2.1"),
            ("192.0.2.1", "0.0.0.0"),
            ("2001:db8::1", "::"),
        ] {
            assert!(conflict(theirs, ours), "{theirs} {ours}");
        }
        for (theirs, ours) in
            [("2001:db8::1", "2001:db8::2"), ("0.0.0.0", "::1"), ("::ffff:192.0.2.1", "192.0.2.2")]
        {
            assert!(!conflict(theirs, ours), "{theirs} {ours}");
        }
    }

    #[test]
    fn we_have_it_ourselves() {
        let us = format!("(process {})", std::process::id());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        for (protocol, address) in [(Tcp, listener.local_addr()), (Udp, socket.local_addr())] {
            let line = taken(protocol, address.expect("it is bound"));
            assert!(line.ends_with(&us), "{line}");
        }
    }
}
