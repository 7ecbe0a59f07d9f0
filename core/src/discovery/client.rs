//! [MS-PCCRD] 3.1: the client role. Asks the network who has a segment.
//!
//! Each probe is sent at once and repeated a few times, since nobody acknowledges a multicast; it
//! is outstanding until its request timer runs out. Matches are reported as they come, each as
//! often as a peer sends it; how many peers have answered is told at the end.

use core::net::{IpAddr, SocketAddr};

use heapless::Vec;
use rand_core::CryptoRng;

use super::server::MAX_BACKOFF;
use super::wire::{
    Availability, MAX_PROBE_IDS, MAX_PROBE_V2_IDS, ProbeMatches, ProbeRepr, ProbeV2Repr, Uuid, XAddrs,
};
use super::{Addresses, FIRST_GAP, GROUP_V4, GROUP_V6, Replies, Subnet, between, count, fingerprint};
use crate::ages::MAX_BLOB_BYTES;
use crate::content::SegmentId;
use crate::limits::SEGMENT_BLOCKS;
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

/// Peers of one probe that are told apart, to count each once. What servers decide by such numbers
/// begins at 10 (product behaviour of 3.2.4.1).
const MAX_REPLIERS: usize = 12;

/// Segments of one probe, of either version.
const MAX_ASKED: usize = if MAX_PROBE_IDS > MAX_PROBE_V2_IDS { MAX_PROBE_IDS } else { MAX_PROBE_V2_IDS };

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
    /// Where peers may be, beside the networks of our own addresses; what is elsewhere is dropped.
    pub local: Vec<Subnet, MAX_SUBNETS>,
}

impl Default for Config {
    /// A request timer of 300 ms, 2 sends, no network beside our own.
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
    /// How much of it the peer has.
    pub extent: Extent,
    /// How long the peer has had it, if it tells.
    pub age: Option<Duration>,
}

/// How much a peer says it has of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Extent {
    /// As many blocks, at least one: version 1. Whether that is all is for who knows how many there
    /// are, unless it is as many as a segment can have.
    Blocks(u32),
    /// Some of it, not all: version 2.
    Part,
    /// All of it: version 2.
    Whole,
}

impl Extent {
    /// Whether it is all of the segment, as far as can be told from here.
    pub const fn is_whole(self) -> bool {
        match self {
            Self::Blocks(blocks) => blocks >= SEGMENT_BLOCKS,
            Self::Part => false,
            Self::Whole => true,
        }
    }
}

/// What happened so far; every number wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Probes started, of both versions.
    pub probes: u32,
    /// Datagrams written, repeats included.
    pub sent: u32,
    /// Datagrams dropped since the buffer lent for them was too short.
    pub unsendable: u32,
    /// Messages of matches that an outstanding probe waits for.
    pub answers: u32,
    /// Messages of matches that no outstanding probe waits for.
    pub unsolicited: u32,
    /// Matches that were malformed, or of another version than their probe.
    pub malformed: u32,
    /// Matches of version 2 that were taken.
    pub version2: u32,
    /// Segments in matches that the probe had not asked for, or with no block.
    pub not_asked: u32,
    /// Messages of matches from elsewhere than the local subnet, and addresses in others that are not
    /// on it, or loopback's where we are elsewhere.
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
    addresses: Addresses,
    next_id: u32,
    /// 3.1.1: the Outstanding Probe List.
    outstanding: Vec<Outstanding, MAX_PROBES>,
    counters: Counters,
}

#[derive(Debug)]
struct Outstanding {
    id: ProbeId,
    message_id: Uuid,
    version: Version,
    ids: Vec<SegmentId, MAX_ASKED>,
    /// Who has answered, and what: to count each peer once.
    repliers: Vec<Replier, MAX_REPLIERS>,
    sends_left: u8,
    /// Groups that the datagram under way still goes to.
    groups: Groups,
    next_send: Instant,
    gap: Duration,
    /// When the request timer runs out.
    deadline: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// The multicast groups of the families.
#[derive(Clone, Copy, Debug, Default)]
struct Groups {
    v4: bool,
    v6: bool,
}

impl Groups {
    const fn is_empty(self) -> bool {
        !self.v4 && !self.v6
    }

    /// Takes one of them.
    fn take(&mut self) -> Option<SocketAddr> {
        if core::mem::take(&mut self.v4) {
            return Some(GROUP_V4);
        }
        core::mem::take(&mut self.v6).then_some(GROUP_V6)
    }
}

/// A peer, and one bit for each id of the probe: of which it has some, and of which all.
#[derive(Debug)]
struct Replier {
    /// Half of its [`fingerprint`].
    peer: u32,
    some: u16,
    all: u16,
}

const _: () = assert!(MAX_ASKED <= u16::BITS as usize, "a bit for each id");

impl Outstanding {
    /// When to send again, if ever: nobody waits for the answer once the timer has run out.
    fn send_at(&self) -> Option<Instant> {
        let left = self.sends_left > 0 || !self.groups.is_empty();
        (left && self.next_send < self.deadline).then_some(self.next_send)
    }

    /// Takes the next group that the probe is to be sent to at `now`.
    fn next_group(&mut self, now: Instant, groups: Groups) -> Option<SocketAddr> {
        let due = self.send_at().is_some_and(|at| at <= now);
        if !due || self.deadline <= now {
            return None;
        }
        if self.groups.is_empty() {
            self.groups = groups;
            self.sends_left = self.sends_left.saturating_sub(1);
        }
        let group = self.groups.take();
        if self.groups.is_empty() {
            self.next_send = now + self.gap;
            self.gap = (self.gap + self.gap).min(LONGEST_GAP);
        }
        group
    }

    /// Remembers that `peer` has the segment with this index.
    fn heard(&mut self, peer: IpAddr, index: usize, extent: Extent) {
        let bit = u32::try_from(index).ok().and_then(|index| 1u16.checked_shl(index)).unwrap_or(0);
        let all = if extent.is_whole() { bit } else { 0 };
        let peer = fingerprint(Some(SocketAddr::new(peer, 0)), &[]) as u32;
        match self.repliers.iter_mut().find(|replier| replier.peer == peer) {
            Some(replier) => {
                replier.some |= bit;
                replier.all |= all;
            }
            // More than there is room for are as good as many.
            None => drop(self.repliers.push(Replier { peer, some: bit, all })),
        }
    }

    /// How many peers have said that they have the segment with this index.
    fn replies(&self, index: usize) -> Replies {
        let shift = u32::try_from(index).unwrap_or(u32::MAX);
        let have = |bits: u16| u8::from(bits.checked_shr(shift).unwrap_or(0) & 1 == 1);
        let mut replies = Replies::default();
        for replier in &self.repliers {
            replies.all = replies.all.saturating_add(have(replier.some));
            replies.whole = replies.whole.saturating_add(have(replier.all));
        }
        replies
    }
}

impl Client {
    /// A client with nothing outstanding.
    pub fn new(mut config: Config) -> Self {
        // 3.1.2: the waiting period SHOULD NOT be smaller than the maximum back-off.
        config.request_timeout = config.request_timeout.max(MAX_BACKOFF);
        config.sends = config.sends.clamp(1, MAX_SENDS);
        Self {
            config,
            addresses: Addresses::default(),
            next_id: 0,
            outstanding: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Tells our own addresses, in whose networks peers are: one of each family at most, the first
    /// that is named. While neither this nor [`Config::local`] tells of any, they may be anywhere.
    pub fn set_addresses(&mut self, addresses: &[Subnet]) {
        self.addresses = Addresses::new(addresses);
    }

    /// Starts to ask for `ids` (3.1.6.1). [`ProbeRepr::fitting`] tells how many fit one probe.
    pub fn probe(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        ids: &[SegmentId],
    ) -> Result<ProbeId, ProbeError> {
        self.start(now, rng, ids, Version::V1, ProbeRepr::fitting(ids))
    }

    /// Starts to ask for `ids` in version 2, which is that of content information 2.0 (2.2.2).
    /// [`ProbeV2Repr::fitting`] tells how many fit one probe; all are of one length.
    pub fn probe_v2(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        ids: &[SegmentId],
    ) -> Result<ProbeId, ProbeError> {
        self.start(now, rng, ids, Version::V2, ProbeV2Repr::fitting(ids))
    }

    /// A probe that has just begun is sent a single time, without repeats: should it be lost, another
    /// follows before long.
    pub fn send_once(&mut self, id: ProbeId) {
        if let Some(probe) = self.outstanding.iter_mut().find(|probe| probe.id == id) {
            probe.sends_left = probe.sends_left.min(1);
        }
    }

    fn start(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        ids: &[SegmentId],
        version: Version,
        fitting: usize,
    ) -> Result<ProbeId, ProbeError> {
        if ids.is_empty() {
            return Err(ProbeError::NoIds);
        }
        if self.outstanding.is_full() {
            return Err(ProbeError::TooManyProbes);
        }
        let too_many = ProbeError::TooManyIds { fitting };
        if fitting < ids.len() {
            return Err(too_many);
        }
        let gap = between(FIRST_GAP, rng);
        let id = ProbeId(self.next_id);
        let probe = Outstanding {
            id,
            message_id: Uuid::random(rng),
            version,
            // 3.1.3, 3.1.6.1: the HoHoDks MUST be those that the application gave; the probe is added
            // to the list with them.
            ids: Vec::from_slice(ids).map_err(|_| too_many)?,
            repliers: Vec::new(),
            sends_left: self.config.sends,
            groups: Groups::default(),
            next_send: now,
            gap,
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

    /// Takes an answer to a probe (3.1.4.1), which came from `from`, and reports each pair of segment
    /// and address in it.
    pub fn handle_matches(
        &mut self,
        now: Instant,
        from: SocketAddr,
        matches: &ProbeMatches<'_>,
        found: &mut dyn FnMut(Found),
    ) {
        let groups = self.groups();
        let Self { config, addresses, outstanding, counters, .. } = self;
        let anywhere = config.local.is_empty() && addresses.is_empty();
        let is_local = |ip: IpAddr| {
            anywhere || addresses.is_local(ip) || config.local.iter().any(|net| net.is_local(ip))
        };
        // Section 5: answers of any other subnet than the local one are rejected.
        if !is_local(from.ip()) {
            count(&mut counters.not_local);
            return;
        }
        counters.malformed = counters.malformed.wrapping_add(matches.discarded);
        let uuid = matches.relates_to.uuid();
        // 3.1.5: a probe whose timer has run out is not outstanding, also if nobody asked yet.
        let asked = outstanding.iter_mut().find(|it| Some(it.message_id) == uuid && it.deadline > now);
        let Some(probe) = asked else {
            count(&mut counters.unsolicited);
            return;
        };
        count(&mut counters.answers);
        // Peers on loopback are ourselves, unless that is the network that we are on.
        let ours = addresses.of_family(from.ip());
        let on_loopback = ours.is_some_and(|ours| ours.is_loopback());
        let is_peer = |ip: IpAddr| is_local(ip) && (on_loopback || !ip.is_loopback());
        // A peer of both families answers in each, so where we ask in both, one of them is counted.
        let counts = from.is_ipv4() || !groups.v4;
        let mut report = |probe: &mut Outstanding, peers: &[SocketAddr], index, extent, age| {
            let Some(&segment) = probe.ids.get(index) else { return };
            // Whoever answers counts once, however many answers he gives and addresses he names.
            if counts && !peers.is_empty() {
                probe.heard(from.ip(), index, extent);
            }
            // 3.1.4.1: address, port and HoHoDk MUST be reported to the higher layer; fact 25:
            // every address counts for every segment.
            for &peer in peers {
                found(Found { probe: probe.id, segment, peer, extent, age });
            }
        };
        // 2.2.2: an answer MUST be of the version of its probe.
        let (taken, others) = match probe.version {
            Version::V1 => (matches.matches.len(), matches.matches_v2.len()),
            Version::V2 => (matches.matches_v2.len(), matches.matches.len()),
        };
        counters.malformed = counters.malformed.wrapping_add(others as u32);
        if probe.version == Version::V2 {
            counters.version2 = counters.version2.wrapping_add(taken as u32);
            for one in &matches.matches_v2 {
                let Some(availability) = one.availability(probe.ids.len()) else {
                    count(&mut counters.malformed);
                    continue;
                };
                let peers = take_peers(&one.xaddrs, is_peer, counters);
                let mut buf = [0; MAX_BLOB_BYTES];
                let ages = one.ages(&mut buf);
                for (index, available) in availability.enumerate() {
                    let extent = match available {
                        Availability::Nothing => continue,
                        Availability::Some => Extent::Part,
                        Availability::All => Extent::Whole,
                    };
                    // Fact 28: the ages count the ids of the probe from 0.
                    let age = u8::try_from(index).ok().and_then(|index| ages?.get(index));
                    report(probe, &peers, index, extent, age);
                }
            }
            return;
        }
        for one in &matches.matches {
            let peers = take_peers(&one.xaddrs, is_peer, counters);
            if peers.is_empty() {
                continue;
            }
            for (segment, blocks) in one.segments() {
                // 3.1.4.1: the HoHoDks MUST be checked to be associated with an outstanding probe.
                let asked = probe.ids.iter().position(|id| *id == segment).filter(|_| blocks != 0);
                match asked {
                    Some(index) => report(probe, &peers, index, Extent::Blocks(blocks), None),
                    None => count(&mut counters.not_asked),
                }
            }
        }
    }

    /// Tells of each probe that [`poll_expired`](Self::poll_expired) is about to end at `now` how
    /// many peers have answered for each of its segments, as [`Server::learn`] takes it.
    ///
    /// [`Server::learn`]: super::server::Server::learn
    pub fn replies(&self, now: Instant, told: &mut dyn FnMut(&SegmentId, Replies)) {
        for probe in self.outstanding.iter().filter(|probe| probe.deadline <= now) {
            for (index, id) in probe.ids.iter().enumerate() {
                told(id, probe.replies(index));
            }
        }
    }

    /// Writes a datagram that is due to the front of `buf` and returns where to send it, with a TTL
    /// of 1, and its bytes. It goes to the group of each family that [`set_addresses`](Self::set_addresses)
    /// and [`Config::local`] have networks of, to that of IPv4 if there is none. `buf` needs
    /// [`MAX_SENT_BYTES`](super::wire::MAX_SENT_BYTES); what does not fit it is dropped.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let groups = self.groups();
        for probe in &mut self.outstanding {
            while let Some(group) = probe.next_group(now, groups) {
                // A repeat has the same id, and so it is the same byte for byte (fact 29).
                let (message_id, ids) = (probe.message_id, &probe.ids);
                let emitted = match (probe.version, ProbeV2Repr::new(message_id, ids)) {
                    (Version::V2, Some(repr)) => repr.emit(buf),
                    _ => ProbeRepr { message_id, ids }.emit(buf),
                };
                match emitted {
                    Ok(len) => {
                        count(&mut self.counters.sent);
                        return Some((group, len));
                    }
                    Err(_) => count(&mut self.counters.unsendable),
                }
            }
        }
        None
    }

    fn groups(&self) -> Groups {
        let mut groups = Groups::default();
        for net in self.addresses.iter().chain(&self.config.local) {
            match net.address {
                IpAddr::V4(_) => groups.v4 = true,
                IpAddr::V6(_) => groups.v6 = true,
            }
        }
        groups.v4 |= groups.is_empty();
        groups
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

/// The addresses of a match that are of the local subnet, as many as are taken.
fn take_peers(
    xaddrs: &XAddrs<'_>,
    is_local: impl Fn(IpAddr) -> bool,
    counters: &mut Counters,
) -> Vec<SocketAddr, MAX_TAKEN_XADDRS> {
    let mut peers = Vec::new();
    for peer in xaddrs.iter() {
        // 3.1.4.1: the XAddrs MUST be checked to be on the local subnet.
        if !is_local(peer.ip()) {
            count(&mut counters.not_local);
        } else if peers.push(peer).is_err() {
            count(&mut counters.surplus);
        }
    }
    peers
}

#[cfg(test)]
mod tests;
