//! [MS-PCCRD] 3.1: the client role. Asks the network who has a segment.
//!
//! Each probe is sent at once and repeated a few times, since nobody acknowledges a multicast; it
//! is outstanding until its request timer runs out. Matches are reported as they come, each as
//! often as a peer sends it.

use core::net::{IpAddr, SocketAddr};

use heapless::Vec;
use rand_core::CryptoRng;

use super::server::MAX_BACKOFF;
use super::wire::{MAX_PROBE_IDS, ProbeMatches, ProbeRepr, Uuid};
use super::{Subnet, count};
use crate::content::SegmentId;
use crate::time::{Duration, Instant, earliest};

/// Probes outstanding at the same time (3.1.1, Outstanding Probe List).
pub const MAX_PROBES: usize = 8;

/// Subnets that a peer may be on: those of the interfaces, in both families.
pub const MAX_SUBNETS: usize = 8;

/// Addresses taken of one match: a peer has one of each family. So one answer cannot fill the
/// table of holders.
pub const MAX_TAKEN_XADDRS: usize = 2;

/// Sends of one probe at most (SOAP-over-UDP, fact 29).
pub const MAX_SENDS: u8 = 4;

/// The first gap between two sends lies between these (SOAP-over-UDP, fact 29).
const FIRST_GAP: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));

/// No gap between two sends is longer (SOAP-over-UDP, fact 29).
const LONGEST_GAP: Duration = Duration::from_millis(500);

/// What can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long answers are waited for. 3.1.2: the default lies between 200 and 500 ms, and the
    /// time should not be shorter than the back-off of the server; a shorter one is raised to that.
    pub request_timeout: Duration,
    /// How often a probe is sent: 1 to [`MAX_SENDS`]; anything else is taken for the nearest.
    pub sends: u8,
    /// Where peers may be, beside our own subnet; addresses elsewhere are dropped.
    pub local: Vec<Subnet, MAX_SUBNETS>,
}

impl Default for Config {
    /// A request timer of 300 ms, 2 sends, no subnet beside our own.
    fn default() -> Self {
        Self { request_timeout: Duration::from_millis(300), sends: 2, local: Vec::new() }
    }
}

/// Names a probe to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ProbeId(u32);

/// Why a probe cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ProbeError {
    /// It asks for nothing.
    NoIds,
    /// It does not fit a datagram; the first `fitting` ids do.
    TooManyIds {
        /// How many ids fit.
        fitting: usize,
    },
    /// [`MAX_PROBES`] are outstanding.
    TooManyProbes,
}

/// A peer that has blocks of a segment. Only a hint: nothing of it is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The probe that asked.
    pub probe: ProbeId,
    /// The segment, one of those asked for.
    pub segment: SegmentId,
    /// Where the peer serves it.
    pub peer: SocketAddr,
    /// How many of its blocks the peer has; at least one.
    pub blocks: u32,
}

/// What happened so far; every number wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Probes started.
    pub probes: u32,
    /// Datagrams written, repeats included.
    pub sent: u32,
    /// Datagrams dropped since the buffer lent for them was too short.
    pub unsendable: u32,
    /// Messages of matches that an outstanding probe waits for.
    pub answers: u32,
    /// Messages of matches that no outstanding probe waits for.
    pub unsolicited: u32,
    /// Matches that were malformed.
    pub malformed: u32,
    /// Matches of version 2.
    pub version2: u32,
    /// Segments in matches that the probe had not asked for, or with no block.
    pub not_asked: u32,
    /// Addresses in matches that are not on the local subnet, or loopback's.
    pub not_local: u32,
    /// Addresses in matches beyond those that are taken of one.
    pub surplus: u32,
    /// Probes whose request timer ran out.
    pub expired: u32,
}

/// The client role.
#[derive(Debug)]
pub struct Client {
    config: Config,
    subnet: Option<Subnet>,
    next_id: u32,
    /// 3.1.1: the Outstanding Probe List.
    outstanding: Vec<Outstanding, MAX_PROBES>,
    counters: Counters,
}

#[derive(Debug)]
struct Outstanding {
    id: ProbeId,
    message_id: Uuid,
    ids: Vec<SegmentId, MAX_PROBE_IDS>,
    sends_left: u8,
    next_send: Instant,
    gap: Duration,
    /// When the request timer runs out.
    deadline: Instant,
}

impl Outstanding {
    /// When to send again, if ever: nobody waits for the answer once the timer has run out.
    fn send_at(&self) -> Option<Instant> {
        (self.sends_left > 0 && self.next_send < self.deadline).then_some(self.next_send)
    }
}

impl Client {
    /// A client with nothing outstanding.
    pub fn new(mut config: Config) -> Self {
        // 3.1.2: the waiting period SHOULD NOT be smaller than the maximum back-off.
        config.request_timeout = config.request_timeout.max(MAX_BACKOFF);
        config.sends = config.sends.clamp(1, MAX_SENDS);
        Self { config, subnet: None, next_id: 0, outstanding: Vec::new(), counters: Counters::default() }
    }

    /// Tells our own subnet, where peers are. While neither this nor [`Config::local`] tells of any,
    /// they may be anywhere.
    pub fn set_subnet(&mut self, subnet: Option<Subnet>) {
        self.subnet = subnet;
    }

    /// Starts to ask for `ids` (3.1.6.1). [`ProbeRepr::fitting`] tells how many fit one probe.
    pub fn probe(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        ids: &[SegmentId],
    ) -> Result<ProbeId, ProbeError> {
        if ids.is_empty() {
            return Err(ProbeError::NoIds);
        }
        if self.outstanding.is_full() {
            return Err(ProbeError::TooManyProbes);
        }
        let fitting = ProbeRepr::fitting(ids);
        let too_many = ProbeError::TooManyIds { fitting };
        if fitting < ids.len() {
            return Err(too_many);
        }
        let (shortest, longest) = FIRST_GAP;
        let spread = longest.micros().saturating_sub(shortest.micros()).saturating_add(1);
        let gap = u64::from(rng.next_u32()).checked_rem(spread).unwrap_or(0);
        let id = ProbeId(self.next_id);
        let probe = Outstanding {
            id,
            message_id: Uuid::random(rng),
            ids: Vec::from_slice(ids).map_err(|_| too_many)?,
            sends_left: self.config.sends,
            next_send: now,
            gap: shortest + Duration::from_micros(gap),
            // 3.1.2: the client MUST set a request timer when sending a probe.
            deadline: now + self.config.request_timeout,
        };
        self.outstanding.push(probe).map_err(|_| ProbeError::TooManyProbes)?;
        self.next_id = self.next_id.wrapping_add(1);
        count(&mut self.counters.probes);
        Ok(id)
    }

    /// Forgets a probe: it is sent no more, its matches are unsolicited, it does not expire.
    pub fn cancel(&mut self, probe: ProbeId) {
        self.outstanding.retain(|outstanding| outstanding.id != probe);
    }

    /// Takes an answer to a probe (3.1.4.1) and reports each pair of segment and address in it.
    pub fn handle_matches(&mut self, now: Instant, matches: &ProbeMatches<'_>, found: &mut dyn FnMut(Found)) {
        let Self { config, subnet, outstanding, counters, .. } = self;
        counters.malformed = counters.malformed.wrapping_add(matches.discarded);
        counters.version2 = counters.version2.wrapping_add(matches.version2);
        let uuid = matches.relates_to.uuid();
        // 3.1.5: a probe whose timer has run out is not outstanding, also if nobody asked yet.
        let asked = outstanding.iter().find(|it| Some(it.message_id) == uuid && it.deadline > now);
        let Some(probe) = asked else {
            count(&mut counters.unsolicited);
            return;
        };
        count(&mut counters.answers);
        let anywhere = config.local.is_empty() && subnet.is_none();
        let is_local = |ip: IpAddr| {
            let known = anywhere || config.local.iter().chain(subnet.iter()).any(|net| net.contains(ip));
            known && !ip.is_loopback()
        };
        for one in &matches.matches {
            let mut taken = 0;
            for peer in one.xaddrs.iter() {
                // 3.1.4.1: the XAddrs MUST be checked to be on the local subnet, ...
                if !is_local(peer.ip()) {
                    count(&mut counters.not_local);
                    continue;
                }
                if taken == MAX_TAKEN_XADDRS {
                    count(&mut counters.surplus);
                    continue;
                }
                taken += 1;
                for (segment, blocks) in one.segments() {
                    // ... and the HoHoDks to be associated with an outstanding probe.
                    if blocks == 0 || !probe.ids.contains(&segment) {
                        count(&mut counters.not_asked);
                        continue;
                    }
                    // If so, address, port and HoHoDk MUST be reported to the higher layer.
                    found(Found { probe: probe.id, segment, peer, blocks });
                }
            }
        }
    }

    /// Writes a datagram that is due to the front of `buf` and returns its bytes; it goes to
    /// [`GROUP_V4`](super::GROUP_V4) or [`GROUP_V6`](super::GROUP_V6), with a TTL of 1. `buf` needs
    /// [`MAX_SENT_BYTES`](super::wire::MAX_SENT_BYTES); what does not fit it is dropped.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        for probe in &mut self.outstanding {
            let due = probe.send_at().is_some_and(|at| at <= now);
            if !due || probe.deadline <= now {
                continue;
            }
            probe.sends_left = probe.sends_left.saturating_sub(1);
            probe.next_send = now + probe.gap;
            probe.gap = (probe.gap + probe.gap).min(LONGEST_GAP);
            // A repeat has the same id, and so it is the same byte for byte.
            match (ProbeRepr { message_id: probe.message_id, ids: &probe.ids }).emit(buf) {
                Ok(len) => {
                    count(&mut self.counters.sent);
                    return Some(len);
                }
                Err(_) => count(&mut self.counters.unsendable),
            }
        }
        None
    }

    /// A probe whose request timer has run out; each is told once.
    pub fn poll_expired(&mut self, now: Instant) -> Option<ProbeId> {
        let expired = self.outstanding.iter().find(|probe| probe.deadline <= now)?.id;
        // 3.1.2, 3.1.5: the probe and its HoHoDks MUST be removed from the list.
        self.cancel(expired);
        count(&mut self.counters.expired);
        Some(expired)
    }

    /// When to poll next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.outstanding
            .iter()
            .fold(None, |first, probe| earliest(first, earliest(probe.send_at(), Some(probe.deadline))))
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::super::CountingRng;
    use super::super::wire::{Message, parse};
    use super::*;

    const MATCHES: &[u8] = include_bytes!("../../../tests/vectors/pccrd-probematches.bin");

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn id(first: u8) -> SegmentId {
        let mut bytes = [0; 32];
        bytes[0] = first;
        SegmentId::from_slice(&bytes).unwrap()
    }

    /// The answer of a peer to the probe in `datagram`.
    fn answer(datagram: &[u8]) -> Vec<u8> {
        answer_at(datagram, "192.0.2.7:54321")
    }

    fn answer_at(datagram: &[u8], xaddrs: &str) -> Vec<u8> {
        let Ok(Message::Probe(probe)) = parse(datagram) else { panic!() };
        let asked = core::str::from_utf8(probe.message_id.as_bytes()).unwrap();
        String::from_utf8(MATCHES.to_vec())
            .unwrap()
            .replace("urn:uuid:00112233-4455-6677-8899-aabbccddeeff", asked)
            .replace("127.0.0.1:54321", xaddrs)
            .into_bytes()
    }

    fn found(client: &mut Client, now: Instant, datagram: &[u8]) -> Vec<Found> {
        let mut all = Vec::new();
        if let Ok(Message::ProbeMatches(matches)) = parse(datagram) {
            client.handle_matches(now, &matches, &mut |found| all.push(found));
        }
        all
    }

    fn transmit(client: &mut Client, now: Instant) -> Option<Vec<u8>> {
        let mut buf = [0; 1_399];
        client.poll_transmit(now, &mut buf).map(|len| buf[..len].to_vec())
    }

    #[test]
    fn a_probe_and_its_answer() {
        let mut client = Client::new(Config::default());
        assert_eq!(client.poll_timeout(), None);
        let probe = client.probe(at(1_000), &mut CountingRng(0), &[id(1), id(2)]).unwrap();

        assert_eq!(client.poll_timeout(), Some(at(1_000)));
        let datagram = transmit(&mut client, at(1_000)).unwrap();
        assert_eq!(transmit(&mut client, at(1_000)), None);

        let answer = answer(&datagram);
        let expected = Found { probe, segment: id(2), peer: "192.0.2.7:54321".parse().unwrap(), blocks: 42 };
        assert_eq!(found(&mut client, at(1_020), &answer), [expected]);
        assert_eq!(client.poll_expired(at(1_299)), None);
        assert_eq!(client.poll_expired(at(1_300)), Some(probe));
        assert_eq!(client.poll_expired(at(1_300)), None);
        assert_eq!(client.poll_timeout(), None);
        assert_eq!(found(&mut client, at(1_301), &answer), []);
        let counters =
            Counters { probes: 1, sent: 1, answers: 1, unsolicited: 1, expired: 1, ..Counters::default() };
        assert_eq!(client.counters(), counters);
    }

    #[test]
    fn repeats_are_identical_and_their_gaps_double() {
        let config = Config { sends: 9, request_timeout: Duration::from_secs(5), ..Config::default() };
        let mut client = Client::new(config);
        client.probe(at(0), &mut CountingRng(3), &[id(1)]).unwrap();
        let mut sent = Vec::new();
        let mut times = Vec::new();
        let mut now = at(0);
        while let Some(datagram) = transmit(&mut client, now) {
            now = client.poll_timeout().unwrap();
            times.push(now.micros());
            sent.push(datagram);
        }
        assert_eq!(sent.len(), 4);
        assert!(sent.iter().all(|datagram| *datagram == sent[0]));
        let first = times[0];
        assert!((50_000..=250_000).contains(&first), "{first}");
        let second = (2 * first).min(500_000);
        assert_eq!(times, [first, first + second, first + second + (2 * second).min(500_000), 5_000_000]);
    }

    #[test]
    fn nothing_is_sent_once_the_timer_has_run_out() {
        let mut client = Client::new(Config { request_timeout: Duration::ZERO, ..Config::default() });
        let probe = client.probe(at(0), &mut CountingRng(200), &[id(1)]).unwrap();
        assert!(transmit(&mut client, at(1)).is_some());
        assert_eq!(transmit(&mut client, at(65)), None);
        assert_eq!(client.poll_timeout(), Some(at(65)), "raised to the longest back-off");
        assert_eq!(client.poll_expired(at(65)), Some(probe));
    }

    #[test]
    fn answers_that_do_not_count() {
        let mut client = Client::new(Config::default());
        client.probe(at(0), &mut CountingRng(0), &[id(1)]).unwrap();
        let datagram = transmit(&mut client, at(0)).unwrap();
        assert_eq!(found(&mut client, at(1), MATCHES), []);
        assert_eq!(client.counters().unsolicited, 1);
        assert_eq!(found(&mut client, at(1), &answer(&datagram)), []);
        assert_eq!(client.counters().not_asked, 1);
        assert_eq!(found(&mut client, at(1), &datagram), []);
        assert_eq!(found(&mut client, at(300), &answer(&datagram)), []);
        assert_eq!(client.counters().unsolicited, 2);
    }

    #[test]
    fn peers_elsewhere_are_dropped() {
        let mut config = Config::default();
        config.local.push(Subnet { address: "192.0.2.0".parse().unwrap(), prefix: 8 }).unwrap();
        for (prefix, reported) in [(8, 1), (32, 0), (255, 0), (0, 1)] {
            config.local[0].prefix = prefix;
            let mut client = Client::new(config.clone());
            client.probe(at(0), &mut CountingRng(0), &[id(2)]).unwrap();
            let datagram = transmit(&mut client, at(0)).unwrap();
            assert_eq!(found(&mut client, at(1), &answer(&datagram)).len(), reported);
            assert_eq!(client.counters().not_local, 1 - reported as u32);
        }
        let subnet = Subnet { address: "fe80::".parse().unwrap(), prefix: 10 };
        assert!(subnet.contains("fe80::1".parse().unwrap()));
        assert!(!subnet.contains("fec0::1".parse().unwrap()));
        assert!(!subnet.contains("127.0.0.1".parse().unwrap()));
    }

    /// Our own subnet is one more; and nobody's blocks are to be found on ourselves.
    #[test]
    fn own_subnet_and_loopback() {
        let subnet = |address: &str| Subnet { address: address.parse().unwrap(), prefix: 24 };
        for (own, xaddr, reported) in [
            (Some("192.0.2.1"), "192.0.2.7:80", 1),
            (Some("192.0.3.1"), "192.0.2.7:80", 0),
            (Some("127.0.0.1"), "127.0.0.1:80", 0),
            (None, "127.0.0.1:80", 0),
        ] {
            let mut client = Client::new(Config::default());
            client.set_subnet(own.map(subnet));
            client.probe(at(0), &mut CountingRng(0), &[id(2)]).unwrap();
            let datagram = transmit(&mut client, at(0)).unwrap();
            let answer = answer_at(&datagram, xaddr);
            assert_eq!(found(&mut client, at(1), &answer).len(), reported, "{own:?} {xaddr}");
            assert_eq!(client.counters().not_local, 1 - reported as u32);
        }
    }

    #[test]
    fn one_match_has_two_addresses_at_most() {
        let mut client = Client::new(Config::default());
        client.probe(at(0), &mut CountingRng(0), &[id(2)]).unwrap();
        let datagram = transmit(&mut client, at(0)).unwrap();
        let xaddrs = "127.0.0.1:80 192.0.2.7:80 192.0.2.8:80 192.0.2.9:80 [2001:db8::1]:80";
        let found = found(&mut client, at(1), &answer_at(&datagram, xaddrs));
        let peers: Vec<_> = found.iter().map(|found| found.peer.ip().to_string()).collect();
        assert_eq!(peers, ["192.0.2.7", "192.0.2.8"]);
        assert_eq!((client.counters().surplus, client.counters().not_local), (2, 1));
    }

    #[test]
    fn bounds() {
        let mut client = Client::new(Config::default());
        let rng = &mut CountingRng(0);
        let ids: Vec<_> = (0..20).map(id).collect();
        assert_eq!(client.probe(at(0), rng, &[]), Err(ProbeError::NoIds));
        assert_eq!(client.probe(at(0), rng, &ids), Err(ProbeError::TooManyIds { fitting: MAX_PROBE_IDS }));
        let probes: Vec<_> = (0..MAX_PROBES).map(|_| client.probe(at(0), rng, &ids[..1]).unwrap()).collect();
        assert_eq!(client.probe(at(0), rng, &ids[..1]), Err(ProbeError::TooManyProbes));
        client.cancel(probes[3]);
        assert!(client.probe(at(0), rng, &ids[..MAX_PROBE_IDS]).is_ok());
        assert_eq!(client.poll_transmit(at(0), &mut [0; 700]), None);
        assert_eq!(client.counters().unsendable, 8);
        assert_eq!(client.counters().sent, 0);
    }
}
