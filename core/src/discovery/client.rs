//! [MS-PCCRD] 3.1: the client role. Asks the network who has a segment.
//!
//! Each probe is sent at once and repeated a few times, since nobody acknowledges a multicast; it
//! is outstanding until its request timer runs out. Matches are reported as they come, each as
//! often as a peer sends it; how many peers have answered is told at the end.

use core::net::{IpAddr, SocketAddr};
use core::ops::Range;

use heapless::Vec;
use rand_core::CryptoRng;

use super::server::MAX_BACKOFF;
use super::wire::{
    Availability, MAX_PROBE_IDS, MAX_PROBE_V2_IDS, ProbeMatches, ProbeRepr, ProbeV2Repr, Uuid, Version,
    XAddrs, emit_probe,
};
use super::{Addresses, FIRST_GAP, GROUP_V4, GROUP_V6, Replies, Subnet, between, count, cut, fingerprint};
use crate::ages::blob_bytes;
use crate::content::SegmentId;
use crate::limits::{SEGMENT_BLOCKS, rows};
use crate::time::{Duration, Instant, earliest};

/// Probes outstanding at the same time (3.1.1, Outstanding Probe List).
pub const MAX_PROBES: usize = rows(8, 3);

/// Subnets that a peer may be on: those of the interfaces, in both families.
pub const MAX_SUBNETS: usize = rows(8, 2);

/// Addresses taken of one match: a peer has one of each family. So one answer cannot fill the
/// table of holders.
pub const MAX_TAKEN_XADDRS: usize = 2;

/// Sends of one probe at most (SOAP-over-UDP, fact 29).
pub const MAX_SENDS: u8 = 4;

/// Peers of one probe that are told apart, to count each once. What servers decide by such numbers
/// begins at 10 (product behaviour of 3.2.4.1).
const MAX_REPLIERS: usize = 12;

/// Segments that all outstanding probes ask for together.
pub const MAX_SEARCHED: usize = rows(32, 8);

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
    /// It does not fit a datagram, or what is left of [`MAX_SEARCHED`]; the first `fitting` ids do.
    TooManyIds {
        /// How many ids fit.
        fitting: usize,
    },
    /// [`MAX_PROBES`] are outstanding, or they ask for [`MAX_SEARCHED`] segments.
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
    /// The segments of these, in their order.
    ids: Vec<SegmentId, MAX_SEARCHED>,
    counters: Counters,
}

#[derive(Debug)]
struct Outstanding {
    id: ProbeId,
    message_id: Uuid,
    version: Version,
    /// How many segments it asks for.
    asked: u8,
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
#[derive(Clone, Copy, Debug)]
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

    /// Remembers what a peer has said that it has: once, however often it says so.
    fn heard(&mut self, heard: &Replier) {
        match self.repliers.iter_mut().find(|replier| replier.peer == heard.peer) {
            Some(replier) => {
                replier.some |= heard.some;
                replier.all |= heard.all;
            }
            // More than there is room for are as good as many.
            None => drop(self.repliers.push(*heard)),
        }
    }

    /// How many peers have said that they have the segment with this index.
    fn replies(&self, index: usize) -> Replies {
        let bit = bit(index);
        let mut replies = Replies::default();
        for replier in &self.repliers {
            // There are no more than 255 of them.
            replies.all += u8::from(replier.some & bit != 0);
            replies.whole += u8::from(replier.all & bit != 0);
        }
        replies
    }
}

/// The bit of the segment with this index.
fn bit(index: usize) -> u16 {
    1u16.checked_shl(index as u32).unwrap_or(0)
}

impl Client {
    /// A client with nothing outstanding.
    #[inline(always)]
    pub fn new(mut config: Config) -> Self {
        // 3.1.2: the waiting period SHOULD NOT be smaller than the maximum back-off.
        config.request_timeout = config.request_timeout.max(MAX_BACKOFF);
        config.sends = config.sends.clamp(1, MAX_SENDS);
        Self {
            config,
            addresses: Addresses::default(),
            next_id: 0,
            outstanding: Vec::new(),
            ids: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Tells our own addresses, in whose networks peers are: one of each family at most, the first
    /// that is named. While neither this nor [`Config::local`] tells of any, they may be anywhere.
    pub fn set_addresses(&mut self, addresses: &[Subnet]) {
        self.addresses = Addresses::new(addresses);
    }

    /// Our own addresses.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
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
        let room = MAX_SEARCHED.saturating_sub(self.ids.len());
        if room == 0 {
            return Err(ProbeError::TooManyProbes);
        }
        let fitting = fitting.min(room);
        if fitting < ids.len() {
            return Err(ProbeError::TooManyIds { fitting });
        }
        let gap = between(FIRST_GAP, rng);
        let id = ProbeId(self.next_id);
        let probe = Outstanding {
            id,
            message_id: Uuid::random(rng),
            version,
            asked: ids.len() as u8,
            repliers: Vec::new(),
            sends_left: self.config.sends,
            groups: Groups::default(),
            next_send: now,
            gap,
            // 3.1.2: the client MUST set a request timer when sending a probe.
            deadline: now + self.config.request_timeout,
        };
        // 3.1.3, 3.1.6.1: the HoHoDks MUST be those that the application gave; the probe is added to the
        // list with them. There is room for both.
        let _ = (self.ids.extend_from_slice(ids), self.outstanding.push(probe));
        self.next_id = self.next_id.wrapping_add(1);
        count(&mut self.counters.probes);
        Ok(id)
    }

    /// Where the segments of the probe in `place` stand.
    #[inline(never)]
    fn ids_of(&self, place: usize) -> Range<usize> {
        let asked = |probe: &Outstanding| usize::from(probe.asked);
        let begin = self.outstanding.iter().take(place).map(asked).sum::<usize>();
        begin..begin.saturating_add(self.outstanding.get(place).map_or(0, asked))
    }

    /// Forgets a probe: it is sent no more, its matches are unsolicited, it does not expire.
    #[inline(never)]
    pub fn cancel(&mut self, probe: ProbeId) {
        let Some(place) = self.outstanding.iter().position(|it| it.id == probe) else { return };
        let gone = self.ids_of(place);
        cut(&mut self.ids, gone);
        self.outstanding.retain(|it| it.id != probe);
    }

    /// Takes an answer to a probe (3.1.4.1), which came from `from`, and reports each pair of segment
    /// and address in it.
    #[inline(never)]
    pub fn handle_matches(
        &mut self,
        now: Instant,
        from: SocketAddr,
        matches: &ProbeMatches<'_>,
        found: &mut dyn FnMut(Found),
    ) {
        // Section 5: answers of any other subnet than the local one are rejected.
        if !self.is_local(from.ip()) {
            count(&mut self.counters.not_local);
            return;
        }
        let counters = &mut self.counters;
        counters.malformed = counters.malformed.wrapping_add(matches.discarded);
        let uuid = matches.relates_to.uuid();
        // 3.1.5: a probe whose timer has run out is not outstanding, also if nobody asked yet.
        let asked = |it: &Outstanding| Some(it.message_id) == uuid && it.deadline > now;
        let Some(place) = self.outstanding.iter().position(asked) else {
            count(&mut counters.unsolicited);
            return;
        };
        count(&mut counters.answers);
        let ids = self.ids_of(place);
        let Some(&Outstanding { version, .. }) = self.outstanding.get(place) else { return };
        // 2.2.2: an answer MUST be of the version of its probe.
        let (v1, v2) = (matches.matches.len() as u32, matches.matches_v2.len() as u32);
        let others = if version == Version::V1 { v2 } else { v1 };
        self.counters.malformed = self.counters.malformed.wrapping_add(others);
        let mut heard = Replier { peer: fingerprint(from.ip(), 0, &[]) as u32, some: 0, all: 0 };
        if version == Version::V2 {
            self.counters.version2 = self.counters.version2.wrapping_add(v2);
            for one in &matches.matches_v2 {
                let Some(availability) = one.availability(ids.len()) else {
                    count(&mut self.counters.malformed);
                    continue;
                };
                let peers = self.take_peers(from.ip(), &one.xaddrs);
                // Nobody has an age for a segment that was not asked for.
                let mut buf = [0; blob_bytes(MAX_ASKED)];
                let ages = one.ages(&mut buf);
                for (index, available) in availability.enumerate() {
                    let extent = match available {
                        Availability::Nothing => continue,
                        Availability::Some => Extent::Part,
                        Availability::All => Extent::Whole,
                    };
                    // Fact 28: the ages count the ids of the probe from 0.
                    let age = u8::try_from(index).ok().and_then(|index| ages?.get(index));
                    self.report(place, &mut heard, &peers, (index, extent, age), found);
                }
            }
        }
        for one in matches.matches.iter().filter(|_| version == Version::V1) {
            let peers = self.take_peers(from.ip(), &one.xaddrs);
            if peers.is_empty() {
                continue;
            }
            for (segment, blocks) in one.segments() {
                // 3.1.4.1: the HoHoDks MUST be checked to be associated with an outstanding probe.
                let asked = self.ids.get(ids.clone()).unwrap_or_default();
                match asked.iter().position(|id| *id == segment).filter(|_| blocks != 0) {
                    Some(index) => {
                        self.report(place, &mut heard, &peers, (index, Extent::Blocks(blocks), None), found);
                    }
                    None => count(&mut self.counters.not_asked),
                }
            }
        }
        // A peer of both families answers in each, so where we ask in both, one of them is counted.
        if heard.some != 0
            && (from.is_ipv4() || !self.groups().v4)
            && let Some(probe) = self.outstanding.get_mut(place)
        {
            probe.heard(&heard);
        }
    }

    /// Reports what `peers` have of the segment with this index in the probe in `place`, and adds it to
    /// what was heard.
    #[inline(never)]
    fn report(
        &self,
        place: usize,
        heard: &mut Replier,
        peers: &[SocketAddr],
        (index, extent, age): (usize, Extent, Option<Duration>),
        found: &mut dyn FnMut(Found),
    ) {
        let at = self.ids_of(place).start.saturating_add(index);
        let (Some(probe), Some(segment)) = (self.outstanding.get(place), self.ids.get(at)) else {
            return;
        };
        if !peers.is_empty() {
            heard.some |= bit(index);
            heard.all |= if extent.is_whole() { bit(index) } else { 0 };
        }
        // 3.1.4.1: address, port and HoHoDk MUST be reported to the higher layer; fact 25: every
        // address counts for every segment.
        for &peer in peers {
            found(Found { probe: probe.id, segment: *segment, peer, extent, age });
        }
    }

    /// Whether `ip` is where peers are.
    #[inline(never)]
    fn is_local(&self, ip: IpAddr) -> bool {
        let Self { config, addresses, .. } = self;
        (config.local.is_empty() && addresses.is_empty())
            || addresses.iter().chain(&config.local).any(|net| net.is_local(ip))
    }

    /// The addresses of a match from `from` that are of the local subnet, as many as are taken.
    #[inline(never)]
    fn take_peers(&mut self, from: IpAddr, xaddrs: &XAddrs<'_>) -> Vec<SocketAddr, MAX_TAKEN_XADDRS> {
        // Peers on loopback are ourselves, unless that is the network that we are on.
        let on_loopback = self.addresses.of_family(from).is_some_and(|ours| ours.is_loopback());
        let mut peers = Vec::new();
        for peer in xaddrs.iter() {
            // 3.1.4.1: the XAddrs MUST be checked to be on the local subnet.
            if !self.is_local(peer.ip()) || peer.ip().is_loopback() && !on_loopback {
                count(&mut self.counters.not_local);
            } else if peers.push(peer).is_err() {
                count(&mut self.counters.surplus);
            }
        }
        peers
    }

    /// Tells of each probe that [`poll_expired`](Self::poll_expired) is about to end at `now` how
    /// many peers have answered for each of its segments, as [`Server::learn`] takes it.
    ///
    /// [`Server::learn`]: super::server::Server::learn
    #[inline(never)]
    pub fn replies(&self, now: Instant, told: &mut dyn FnMut(&SegmentId, Replies)) {
        let mut ids = self.ids.iter();
        for probe in &self.outstanding {
            for (index, id) in ids.by_ref().take(probe.asked.into()).enumerate() {
                if probe.deadline <= now {
                    told(id, probe.replies(index));
                }
            }
        }
    }

    /// Writes a datagram that is due to the front of `buf` and returns where to send it, with a TTL
    /// of 1, and its bytes. It goes to the group of each family that [`set_addresses`](Self::set_addresses)
    /// and [`Config::local`] have networks of, to that of IPv4 if there is none. `buf` needs
    /// [`MAX_SENT_BYTES`](super::wire::MAX_SENT_BYTES); what does not fit it is dropped.
    #[inline(never)]
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let groups = self.groups();
        let mut ids = self.ids.as_slice();
        for probe in &mut self.outstanding {
            let (asked, others) = ids.split_at_checked(probe.asked.into())?;
            ids = others;
            while let Some(group) = probe.next_group(now, groups) {
                // A repeat has the same id, and so it is the same byte for byte (fact 29).
                match emit_probe(probe.version, &probe.message_id, asked, buf) {
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
    #[inline(never)]
    pub fn poll_expired(&mut self, now: Instant) -> Option<ProbeId> {
        let expired = self.outstanding.iter().find(|probe| probe.deadline <= now)?.id;
        // 3.1.2, 3.1.5: the probe and its HoHoDks MUST be removed from the list.
        self.cancel(expired);
        count(&mut self.counters.expired);
        Some(expired)
    }

    /// When to poll next.
    #[inline(never)]
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
mod tests;
