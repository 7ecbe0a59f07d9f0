//! [MS-PCCRD] 2.2.3.8: transport addresses, read in every form that peers write (fact 25), written
//! in the one that every client reads (fact 24).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use heapless::Vec;

use super::wire::strip_prefix_ignoring_case;
use super::xml::Text;
use crate::bytes::{Writer, hex_digit, hex_value, parse_decimal};

/// Transport addresses (2.2.3.8).
#[derive(Clone, Copy, Debug)]
pub struct XAddrs<'a>(Text<'a>);

impl<'a> XAddrs<'a> {
    /// The addresses that can be connected to: numeric, with a port, and of a single host. Names
    /// are passed over, since nothing here resolves them.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> + use<'a> {
        let mut tokens = self.0.tokens();
        core::iter::from_fn(move || {
            let mut buf = [0; MAX_XADDR_BYTES];
            Some(tokens.next_token(&mut buf)?.ok().and_then(parse_xaddr))
        })
        .flatten()
    }

    pub(super) fn check(text: Text<'a>) -> Option<Self> {
        // As many as a datagram holds: a host may have a dozen, and the one on our subnet last.
        text.tokens().next_token(&mut []).is_some().then_some(Self(text))
    }
}

/// Bytes of one transport address, scheme and path included. Longer ones are passed over.
const MAX_XADDR_BYTES: usize = 128;

/// `IPv4:port`, `[IPv6]:port`, without a port (80), with `http://` before it, with a path after it
/// (fact 25).
fn parse_xaddr(token: &[u8]) -> Option<SocketAddr> {
    let token = strip_prefix_ignoring_case(token, b"http://");
    let authority = token.split(|&byte| byte == b'/').next()?;
    let (ip, port) = match authority.strip_prefix(b"[") {
        Some(tail) => {
            let mut parts = tail.splitn(2, |&byte| byte == b']');
            // A zone means something to the sender only (RFC 6874).
            let ip = parts.next()?.split(|&byte| byte == b'%').next()?;
            let port = match parts.next()? {
                [] => None,
                [b':', port @ ..] => Some(port),
                _ => return None,
            };
            (IpAddr::V6(parse_ipv6(ip)?), port)
        }
        None => {
            let mut parts = authority.splitn(2, |&byte| byte == b':');
            (IpAddr::V4(parse_ipv4(parts.next()?)?), parts.next())
        }
    };
    let port = match port {
        None => 80,
        Some(port) => u16::try_from(parse_decimal(port)?).ok()?,
    };
    let single = port != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast(ip);
    single.then_some(SocketAddr::new(ip, port))
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(Ipv4Addr::BROADCAST))
}

fn parse_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split(|&byte| byte == b'.');
    for octet in &mut octets {
        let digits = parts.next().filter(|digits| digits.len() <= 3)?;
        *octet = u8::try_from(parse_decimal(digits)?).ok()?;
    }
    parts.next().is_none().then_some(Ipv4Addr::from(octets))
}

/// RFC 4291, 2.2, all three forms.
fn parse_ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    let gap = text.windows(2).position(|pair| pair == b"::");
    let (head, tail) = match gap {
        Some(at) => (text.get(..at)?, Some(text.get(at.checked_add(2)?..)?)),
        None => (text, None),
    };
    let head = parse_ipv6_groups(head, tail.is_none())?;
    let Some(tail) = tail else {
        return head.into_array::<8>().ok().map(Ipv6Addr::from);
    };
    let tail = parse_ipv6_groups(tail, true)?;
    // `::` stands for at least one group.
    if head.len().checked_add(tail.len())? > 7 {
        return None;
    }
    let mut groups = [0u16; 8];
    for (slot, group) in groups.iter_mut().zip(&head) {
        *slot = *group;
    }
    for (slot, group) in groups.iter_mut().rev().zip(tail.iter().rev()) {
        *slot = *group;
    }
    Some(Ipv6Addr::from(groups))
}

fn parse_ipv6_groups(text: &[u8], may_end_in_ipv4: bool) -> Option<Vec<u16, 8>> {
    let mut groups = Vec::new();
    if text.is_empty() {
        return Some(groups);
    }
    let mut parts = text.split(|&byte| byte == b':').peekable();
    while let Some(part) = parts.next() {
        if part.contains(&b'.') && may_end_in_ipv4 && parts.peek().is_none() {
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
    }
    Some(groups)
}

/// Writes `IPv4:port` or `[IPv6]:port`.
pub(super) fn emit_xaddr(xaddr: SocketAddr, writer: &mut Writer<'_>) {
    match xaddr.ip() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            writer.decimal(a.into());
            for octet in [b, c, d] {
                writer.text(".");
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
    let (mut gap_at, mut gap_len) = (8usize, 1usize);
    let mut run = 0usize;
    for (index, group) in groups.iter().enumerate() {
        run = if *group == 0 { run.saturating_add(1) } else { 0 };
        if run > gap_len {
            gap_len = run;
            gap_at = index.saturating_add(1).saturating_sub(run);
        }
    }
    let gap = gap_at..gap_at.saturating_add(gap_len);
    for (index, group) in groups.iter().enumerate() {
        if index == gap.start {
            writer.text("::");
        }
        if gap.contains(&index) {
            continue;
        }
        if index != 0 && index != gap.end {
            writer.text(":");
        }
        let [a, b] = group.to_be_bytes();
        let digits = [a >> 4, a & 15, b >> 4, b & 15].map(|nibble| hex_digit(nibble, true));
        let zeros = digits.iter().take(3).take_while(|&&digit| digit == b'0').count();
        writer.put(digits.get(zeros..).unwrap_or_default());
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
