//! [MS-PCCRD] 2.2.3.8: transport addresses, read in every form that peers write (fact 25), written
//! in the one that every client reads (fact 24).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use heapless::Vec;

use super::wire::strip_prefix_ignoring_case;
use super::xml::Text;
use crate::bytes::{Writer, hex_digit, hex_value, parse_decimal, split_byte};

/// Transport addresses (2.2.3.8).
#[derive(Clone, Copy, Debug)]
pub struct XAddrs<'a>(Text<'a>);

impl<'a> XAddrs<'a> {
    /// The addresses that can be connected to: numeric, with a port, and of a single host. Names
    /// are passed over, since nothing here resolves them.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> + use<'a> {
        let mut tokens = self.0.tokens();
        core::iter::from_fn(move || {
            loop {
                let mut buf = [0; MAX_XADDR_BYTES];
                if let Some(xaddr) = tokens.next_token(&mut buf)?.ok().and_then(parse_xaddr) {
                    return Some(xaddr);
                }
            }
        })
    }

    pub(super) fn check(text: Text<'a>) -> Option<Self> {
        // As many as a datagram holds: a host may have a dozen, and the one on our subnet last.
        text.tokens().next_token(&mut []).is_some().then_some(Self(text))
    }
}

/// Bytes of one transport address, scheme and path included. Longer ones are passed over.
const MAX_XADDR_BYTES: usize = 128;

/// Characters of the longest one that is written: an IPv6 address of 39 with brackets and port.
pub(super) const MAX_XADDR_TEXT: usize = 47;

/// `IPv4:port`, `[IPv6]:port`, without a port (80), with `http://` before it, with a path after it
/// (fact 25).
#[inline(never)]
fn parse_xaddr(token: &[u8]) -> Option<SocketAddr> {
    let token = strip_prefix_ignoring_case(token, b"http://");
    let authority = before(token, b'/');
    let (ip, port) = match authority.strip_prefix(b"[") {
        Some(tail) => {
            let (ip, port) = split_byte(tail, b']')?;
            // A zone means something to the sender only (RFC 6874).
            let ip = IpAddr::V6(parse_ipv6(before(ip, b'%'))?);
            (ip, if port.is_empty() { None } else { Some(port.strip_prefix(b":")?) })
        }
        None => {
            let split = split_byte(authority, b':');
            (IpAddr::V4(parse_ipv4(split.map_or(authority, |(ip, _)| ip))?), split.map(|(_, port)| port))
        }
    };
    let port = match port {
        None => 80,
        Some(port) => u16::try_from(parse_decimal(port)?).ok()?,
    };
    let single = port != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast(ip);
    single.then_some(SocketAddr::new(ip, port))
}

/// What stands before the first `byte`, or all.
fn before(text: &[u8], byte: u8) -> &[u8] {
    split_byte(text, byte).map_or(text, |(head, _)| head)
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(Ipv4Addr::BROADCAST))
}

#[inline(never)]
fn parse_ipv4(mut text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    for (index, octet) in octets.iter_mut().enumerate() {
        let (digits, rest) = if index < 3 { split_byte(text, b'.')? } else { (text, &[][..]) };
        if digits.len() > 3 {
            return None;
        }
        *octet = u8::try_from(parse_decimal(digits)?).ok()?;
        text = rest;
    }
    Some(Ipv4Addr::from(octets))
}

/// RFC 4291, 2.2, all three forms.
#[inline(never)]
fn parse_ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    let mut groups = Vec::<u16, 8>::new();
    // How many groups stand before `::`.
    let mut gap = text.starts_with(b"::").then_some(0);
    let mut rest = if gap.is_some() { text.get(2..)? } else { text };
    while !rest.is_empty() {
        let (part, tail) = match split_byte(rest, b':') {
            Some((part, tail)) => (part, Some(tail)),
            None => (rest, None),
        };
        if tail.is_none() && part.contains(&b'.') {
            let [a, b, c, d] = parse_ipv4(part)?.octets();
            groups.push(u16::from_be_bytes([a, b])).ok()?;
            groups.push(u16::from_be_bytes([c, d])).ok()?;
            break;
        }
        if part.is_empty() || part.len() > 4 {
            return None;
        }
        let mut group = 0u16;
        for digit in part {
            group = group << 4 | u16::from(hex_value(*digit)?);
        }
        groups.push(group).ok()?;
        rest = match tail {
            None => break,
            Some([]) => return None,
            Some([b':', _tail @ ..]) if gap.is_some() => return None,
            Some([b':', tail @ ..]) => {
                gap = Some(groups.len());
                tail
            }
            Some(tail) => tail,
        };
    }
    // `::` stands for at least one group.
    let (head, tail) = match gap {
        None if groups.is_full() => (groups.as_slice(), &[][..]),
        Some(gap) if !groups.is_full() => groups.split_at_checked(gap)?,
        _ => return None,
    };
    let mut all = [0u16; 8];
    all.iter_mut().zip(head).for_each(|(slot, group)| *slot = *group);
    all.iter_mut().rev().zip(tail.iter().rev()).for_each(|(slot, group)| *slot = *group);
    Some(Ipv6Addr::from(all))
}

/// Writes `IPv4:port` or `[IPv6]:port`.
#[inline(never)]
pub(super) fn emit_xaddr(xaddr: SocketAddr, writer: &mut Writer<'_>) {
    match xaddr.ip() {
        IpAddr::V4(ip) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                writer.text(if index == 0 { "" } else { "." });
                writer.decimal(octet.into());
            }
        }
        IpAddr::V6(ip) => {
            writer.text("[");
            emit_ipv6(ip, writer);
            writer.text("]");
        }
    }
    writer.text(":");
    writer.decimal(xaddr.port().into());
}

/// RFC 5952, 4: lower case, no leading zeros, the longest run of zero groups as `::`.
fn emit_ipv6(ip: Ipv6Addr, writer: &mut Writer<'_>) {
    let groups = ip.segments();
    let (mut gap_at, mut gap_end) = (8usize, 9usize);
    let mut run = 0usize;
    for (index, group) in (1usize..).zip(groups) {
        run = if group == 0 { run.saturating_add(1) } else { 0 };
        if run > gap_end.saturating_sub(gap_at) {
            (gap_at, gap_end) = (index.saturating_sub(run), index);
        }
    }
    for (index, group) in groups.into_iter().enumerate() {
        if index == gap_at {
            writer.text("::");
        }
        if (gap_at..gap_end).contains(&index) {
            continue;
        }
        if index != 0 && index != gap_end {
            writer.text(":");
        }
        for shift in [12, 8, 4, 0] {
            if shift == 0 || group >> shift != 0 {
                writer.put(&[hex_digit((group >> shift) as u8, true)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;

    #[test]
    fn ipv6_as_the_standard_library_has_it() {
        let cases = [
            "::",
            "::1",
            "1::",
            "fe80::1",
            "1:2:3:4:5:6:7:8",
            "1::8",
            "1:0:0:4:0:0:0:8",
            "0:0:3::",
            "::ffff:1.2.3.4",
            "1:2:3:4:5:6:1.2.3.4",
            "2001:db8::1:0:0:1",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1::2::3",
            ":::",
            ":",
            ":1",
            "1:",
            "12345::",
            "g::",
            "1.2.3.4",
            "::1.2.3",
            "1.2.3.4::",
            "1:2:3:4:5:6:7:1.2.3.4",
            "::1.2.3.4:5",
            "1:2:3:4:5:6:7:8::",
            "",
            "abcd:ef01::",
            "0:1:0:1:0:1:0:1",
            "1:0:0:1:1:0:0:1",
        ];
        for case in cases {
            let expected = case.parse::<Ipv6Addr>().ok();
            assert_eq!(parse_ipv6(case.as_bytes()), expected, "{case}");
            let Some(ip) = expected.filter(|ip| ip.to_ipv4_mapped().is_none()) else { continue };
            let mut buf = [0; 47];
            let mut writer = Writer::new(&mut buf);
            emit_ipv6(ip, &mut writer);
            assert_eq!(core::str::from_utf8(writer.finish()).unwrap(), ip.to_string());
        }
    }
}
