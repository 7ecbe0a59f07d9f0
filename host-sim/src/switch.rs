//! The branch's switch: learns where stations are, and who listens to which IPv4 multicast group.
//!
//! IGMP snooping as RFC 4541 describes it: a group's packets go to its members only, so that a search for
//! peers stays off the slow line to the origin. There is no router, so the switch asks for memberships
//! itself (RFC 2236, 3): otherwise one lost report would leave a host deaf for good.
//!
//! It understands versions 1 and 2 of IGMP, floods IPv6 multicast, and passes reports to nobody: hearing another's
//! report makes a host hold back its own (RFC 4541, 2.1.1).

use std::collections::BTreeMap;

use peerdist_core::time::{Duration, Instant};

/// Stations that the switch remembers; frames to others are flooded.
pub const MAX_STATIONS: usize = 4096;

/// Multicast groups that the switch remembers; others have no members.
pub const MAX_GROUPS: usize = 256;

/// A station that has been silent for this long is forgotten (802.1D's default).
pub const STATION_AGE: Duration = Duration::from_secs(300);

/// How often the switch asks for memberships. Far below RFC 2236's 125 s: with losses, a report that did not
/// arrive is repeated soon.
pub const QUERY_INTERVAL: Duration = Duration::from_secs(15);

/// A member that has not reported for this long is forgotten: it missed three queries.
pub const MEMBER_AGE: Duration = Duration::from_secs(50);

const HEADER: usize = 14;
const MAC_IPV4_MULTICAST: [u8; 3] = [0x01, 0x00, 0x5e];
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const PROTOCOL_IGMP: u8 = 2;
const IGMP_QUERY: u8 = 0x11;
const IGMP_V1_REPORT: u8 = 0x12;
const IGMP_V2_REPORT: u8 = 0x16;
const IGMP_LEAVE: u8 = 0x17;
/// How long a host may wait with its answer, in tenths of a second: the LAN is small.
const IGMP_MAX_RESPONSE: u8 = 10;

/// A socket of the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u32);

impl PortId {
    /// The port's place in a list of all ports.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A learning switch.
#[derive(Debug, Default)]
pub struct Switch {
    ports: u32,
    stations: BTreeMap<[u8; 6], Seen>,
    groups: BTreeMap<[u8; 4], Vec<Seen>>,
    next_query: Instant,
    malformed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    port: PortId,
    at: Instant,
}

enum Multicast {
    Flood,
    Group([u8; 4]),
    Join([u8; 4]),
    Leave([u8; 4]),
}

impl Switch {
    /// A switch without ports.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more port.
    pub fn add_port(&mut self) -> PortId {
        let port = PortId(self.ports);
        self.ports += 1;
        port
    }

    /// A frame comes in at `ingress`: the ports it leaves by replace what was in `egress`.
    pub fn forward(&mut self, now: Instant, ingress: PortId, frame: &[u8], egress: &mut Vec<PortId>) {
        egress.clear();
        let Some((head, payload)) = frame.split_first_chunk::<HEADER>() else {
            self.malformed += 1;
            return;
        };
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, ethertype @ ..] = *head;
        let destination = [d0, d1, d2, d3, d4, d5];
        self.learn(now, [s0, s1, s2, s3, s4, s5], ingress);

        if destination[0] & 1 == 0 {
            match self.stations.get(&destination) {
                Some(seen) if now.since(seen.at) <= STATION_AGE => {
                    // Where a station sits on the port that a frame for it came from, it has it already.
                    egress.extend((seen.port != ingress).then_some(seen.port));
                }
                _ => self.flood(Some(ingress), egress),
            }
        } else if ethertype == ETHERTYPE_IPV4 && destination.starts_with(&MAC_IPV4_MULTICAST) {
            match multicast(payload) {
                None => self.malformed += 1,
                Some(Multicast::Flood) => self.flood(Some(ingress), egress),
                Some(Multicast::Group(group)) => self.members(now, group, ingress, egress),
                Some(Multicast::Join(group)) => self.join(now, group, ingress),
                Some(Multicast::Leave(group)) => self.leave(group, ingress),
            }
        } else {
            self.flood(Some(ingress), egress);
        }
    }

    /// If it is time to ask for memberships: the question, and all ports in `egress`.
    pub fn poll(&mut self, now: Instant, egress: &mut Vec<PortId>) -> Option<[u8; 46]> {
        if now < self.next_query {
            return None;
        }
        self.next_query = now + QUERY_INTERVAL;
        egress.clear();
        self.flood(None, egress);
        Some(general_query())
    }

    /// A cable has been plugged in, and nobody knows what is behind it: memberships are asked for at `now` (RFC 4541,
    /// 2.1.1). Who hears it also learns which version of IGMP is spoken here.
    pub fn ask_now(&mut self, now: Instant) {
        self.next_query = now;
    }

    /// When [`Switch::poll`] has something next.
    pub fn poll_timeout(&self) -> Instant {
        self.next_query
    }

    /// Frames dropped because they were cut short.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    fn flood(&self, ingress: Option<PortId>, egress: &mut Vec<PortId>) {
        egress.extend((0..self.ports).map(PortId).filter(|&port| Some(port) != ingress));
    }

    fn learn(&mut self, now: Instant, source: [u8; 6], port: PortId) {
        if source[0] & 1 != 0 {
            return; // Not a station's address: nobody can send from a group.
        }
        if self.stations.len() >= MAX_STATIONS && !self.stations.contains_key(&source) {
            self.stations.retain(|_, seen| now.since(seen.at) <= STATION_AGE);
            if self.stations.len() >= MAX_STATIONS {
                return;
            }
        }
        self.stations.insert(source, Seen { port, at: now });
    }

    fn join(&mut self, now: Instant, group: [u8; 4], port: PortId) {
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&group) {
            return;
        }
        let members = self.groups.entry(group).or_default();
        match members.iter_mut().find(|member| member.port == port) {
            Some(member) => member.at = now,
            None => members.push(Seen { port, at: now }),
        }
    }

    fn leave(&mut self, group: [u8; 4], port: PortId) {
        // A port has one host, so nobody else on it can still want the group.
        if let Some(members) = self.groups.get_mut(&group) {
            members.retain(|member| member.port != port);
            if members.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    fn members(&mut self, now: Instant, group: [u8; 4], ingress: PortId, egress: &mut Vec<PortId>) {
        let Some(members) = self.groups.get_mut(&group) else { return };
        members.retain(|member| now.since(member.at) <= MEMBER_AGE);
        if members.is_empty() {
            self.groups.remove(&group);
            return;
        }
        egress.extend(members.iter().map(|member| member.port).filter(|&port| port != ingress));
    }
}

/// What an IPv4 multicast packet asks of a switch; `None` if it is cut short.
fn multicast(packet: &[u8]) -> Option<Multicast> {
    let header_len = usize::from(packet.first()? & 0x0f) * 4;
    let (protocol, destination) = (*packet.get(9)?, packet.get(16..)?.first_chunk::<4>()?);
    if protocol == PROTOCOL_IGMP {
        let igmp = packet.get(header_len.max(20)..)?.first_chunk::<8>()?;
        let group = [igmp[4], igmp[5], igmp[6], igmp[7]];
        match igmp[0] {
            IGMP_V1_REPORT | IGMP_V2_REPORT => return Some(Multicast::Join(group)),
            IGMP_LEAVE => return Some(Multicast::Leave(group)),
            _ => {}
        }
    }
    // The local network control block goes everywhere (RFC 4541, 2.1.2): its users need not report.
    Some(if destination.starts_with(&[224, 0, 0]) {
        Multicast::Flood
    } else {
        Multicast::Group(*destination)
    })
}

/// An IGMPv2 general query, from 0.0.0.0 as RFC 4541 (2.1.1) has it for a switch without an address.
fn general_query() -> [u8; 46] {
    let mut frame = [0; 46];
    let (ethernet, packet) = frame.split_at_mut(HEADER);
    ethernet[..6].copy_from_slice(&[0x01, 0x00, 0x5e, 0x00, 0x00, 0x01]);
    ethernet[6..12].copy_from_slice(&[0x02, 0x00, 0x00, 0x00, 0x00, 0xfe]);
    ethernet[12..].copy_from_slice(&ETHERTYPE_IPV4);

    let (header, igmp) = packet.split_at_mut(24);
    // Version and length (six words), precedence, total length 32; TTL 1; router alert (RFC 2236, 2).
    header[..4].copy_from_slice(&[0x46, 0xc0, 0x00, 0x20]);
    header[8..10].copy_from_slice(&[0x01, PROTOCOL_IGMP]);
    header[16..20].copy_from_slice(&[224, 0, 0, 1]);
    header[20..].copy_from_slice(&[0x94, 0x04, 0x00, 0x00]);
    let sum = checksum(header);
    header[10..12].copy_from_slice(&sum);

    igmp[..2].copy_from_slice(&[IGMP_QUERY, IGMP_MAX_RESPONSE]);
    let sum = checksum(igmp);
    igmp[2..4].copy_from_slice(&sum);
    frame
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let sum: u32 = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC_BROADCAST: [u8; 6] = [0xff; 6];
    const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
    const WS_DISCOVERY: [u8; 4] = [239, 255, 255, 250];

    /// A switch with four ports and a clock in seconds.
    struct Lab(Switch);

    impl Lab {
        fn new() -> Self {
            let mut switch = Switch::new();
            (0..4).for_each(|n| assert_eq!(switch.add_port(), PortId(n)));
            Self(switch)
        }

        fn send(&mut self, second: u64, port: u32, frame: &[u8]) -> Vec<u32> {
            let mut egress = vec![PortId(99)];
            self.0.forward(Instant::from_millis(second * 1_000), PortId(port), frame, &mut egress);
            egress.iter().map(|port| port.0).collect()
        }
    }

    fn frame(to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
        [&to[..], &from, &[0x12, 0x34], b"payload"].concat()
    }

    fn packet(from: [u8; 6], to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
        let ethernet = [1, 0, 0x5e, to[1] & 0x7f, to[2], to[3]];
        let header = [0x45, 0, 0, 28, 0, 0, 0, 0, 1, protocol, 0, 0, 10, 0, 0, 1, to[0], to[1], to[2], to[3]];
        [&ethernet[..], &from, &ETHERTYPE_IPV4, &header, payload].concat()
    }

    fn igmp(from: [u8; 6], kind: u8, group: [u8; 4]) -> Vec<u8> {
        let to = if kind == IGMP_LEAVE { [224, 0, 0, 2] } else { group };
        packet(from, to, PROTOCOL_IGMP, &[&[kind, 0, 0, 0][..], &group].concat())
    }

    fn probe(from: [u8; 6]) -> Vec<u8> {
        packet(from, WS_DISCOVERY, 17, b"12345678")
    }

    #[test]
    fn floods_the_unknown_and_learns() {
        let mut lab = Lab::new();
        assert_eq!(lab.send(0, 0, &frame(B, A)), [1, 2, 3]);
        assert_eq!(lab.send(0, 2, &frame(A, B)), [0]);
        assert_eq!(lab.send(0, 0, &frame(B, A)), [2]);
        assert_eq!(lab.send(0, 1, &frame(MAC_BROADCAST, [2, 0, 0, 0, 0, 0xc])), [0, 2, 3]);
        // B moves; a frame never goes back where it came from.
        assert_eq!(lab.send(1, 3, &frame(A, B)), [0]);
        assert_eq!(lab.send(1, 0, &frame(B, A)), [3]);
        assert_eq!(lab.send(1, 3, &frame(B, B)), [0; 0]);
    }

    #[test]
    fn forgets_the_silent() {
        let mut lab = Lab::new();
        lab.send(0, 2, &frame(A, B));
        assert_eq!(lab.send(300, 0, &frame(B, A)), [2]);
        assert_eq!(lab.send(301, 0, &frame(B, A)), [1, 2, 3]);
    }

    #[test]
    fn the_table_is_bounded_and_makes_room_by_age() {
        let mut lab = Lab::new();
        let station =
            |n: u32| [2, 1, n.to_be_bytes()[0], n.to_be_bytes()[1], n.to_be_bytes()[2], n.to_be_bytes()[3]];
        (0..MAX_STATIONS as u32).for_each(|n| _ = lab.send(0, 1, &frame(A, station(n))));
        lab.send(0, 2, &frame(A, B));
        assert_eq!(lab.0.stations.len(), MAX_STATIONS);
        assert_eq!(lab.send(0, 0, &frame(B, A)), [1, 2, 3]);
        lab.send(301, 2, &frame(A, B));
        assert_eq!(lab.send(301, 0, &frame(B, A)), [2]);
    }

    #[test]
    fn multicast_goes_to_members_only() {
        let mut lab = Lab::new();
        assert_eq!(lab.send(0, 0, &probe(A)), [0; 0]);
        assert_eq!(lab.send(0, 1, &igmp(B, IGMP_V2_REPORT, WS_DISCOVERY)), [0; 0]);
        assert_eq!(lab.send(0, 0, &igmp(A, IGMP_V1_REPORT, WS_DISCOVERY)), [0; 0]);
        assert_eq!(lab.send(1, 0, &probe(A)), [1]);
        assert_eq!(lab.send(1, 2, &probe(A)), [1, 0]);
        assert_eq!(lab.send(2, 1, &igmp(B, IGMP_LEAVE, WS_DISCOVERY)), [0; 0]);
        assert_eq!(lab.send(2, 2, &probe(A)), [0]);
        // Another group, and the local control block.
        assert_eq!(lab.send(2, 2, &packet(A, [239, 1, 2, 3], 17, b"12345678")), [0; 0]);
        assert_eq!(lab.send(2, 2, &packet(A, [224, 0, 0, 251], 17, b"12345678")), [0, 1, 3]);
        // The member at port 0 has not reported since.
        assert_eq!(lab.send(50, 2, &probe(A)), [0]);
        assert_eq!(lab.send(51, 2, &probe(A)), [0; 0]);
    }

    #[test]
    fn asks_for_memberships() {
        let mut lab = Lab::new();
        let mut egress = Vec::new();
        let query = lab.0.poll(Instant::ZERO, &mut egress).unwrap();
        assert_eq!(egress, [0, 1, 2, 3].map(PortId));
        assert_eq!(
            query[14..38].chunks_exact(2).map(|p| u32::from(p[0]) << 8 | u32::from(p[1])).sum::<u32>()
                % 0xffff,
            0
        );
        assert_eq!(query[38..], [0x11, 10, 0xee, 0xf5, 0, 0, 0, 0]);
        assert_eq!(lab.0.poll(Instant::from_millis(14_999), &mut egress), None);
        assert_eq!(lab.0.poll_timeout(), Instant::from_millis(15_000));
    }

    #[test]
    fn every_cut_is_dropped_and_counted() {
        let whole = igmp(A, IGMP_V2_REPORT, WS_DISCOVERY);
        for length in 0..whole.len() {
            let mut lab = Lab::new();
            assert_eq!(lab.send(0, 0, &whole[..length]), [0; 0]);
            assert_eq!(lab.0.malformed(), 1, "{length}");
        }
    }
}
