//! Many who want the same segment at the same time: which blocks of it each of them has by now
//! (MSG_BLKLIST), and whose turn it is to get a block that nobody has.
//!
//! In a flash crowd all begin with nothing. Everybody who takes part knows the others by their
//! probes, which all can hear, and by their answers. A few of the members, by a hash of segment and
//! member, are its getters: they share the missing blocks out by rendezvous hashing, so that each
//! block is got by one of them from the origin for all. No message is needed for that, and where two
//! see different members, the worst is that a block is fetched twice.

use core::net::IpAddr;

use heapless::Vec;

use super::Fetch;
use super::holdings::LONGEST_WATCH;
use super::peers::{PeerSet, Peers, only, places};
use crate::content::SegmentId;
use crate::crypto::HashAlgorithm;
use crate::limits::REQUEST_TIMEOUT;
use crate::retrieval::set::IndexSet;
use crate::retrieval::wire::Range;
use crate::time::{Duration, Instant, earliest};

/// GETBLKLIST is worth its while only for more than 3 consecutive blocks (fact 40).
const FEW_BLOCKS: u32 = 3;

/// How often a peer is asked again for its list.
const LIST_AGAIN: Duration = Duration::from_millis(1_000);

/// Of so many peers that have a part of a segment, the lists are kept fresh. Each client draws its own,
/// so that a block finds its way through a crowd of any size from neighbour to neighbour.
const NEIGHBOURS: usize = 8;

/// Block lists known at once: those of two segments, and of neighbours that have been replaced and still
/// count as members.
pub const MAX_LISTS: usize = 4 * NEIGHBOURS;

/// A list that is older than this says nothing of what the peer does not have.
const FRESH: Duration = Duration::from_secs(10);

/// A peer that got no block for this long is no member any more, unless blocks take longer.
const IDLE: Duration = Duration::from_secs(10);

/// So many members of a crowd get blocks from the origin: enough to keep its link busy, and no more,
/// since the same link among more of them has each take longer for a block, and what is under way
/// nobody can ask for.
pub const GETTERS: usize = 8;

/// Probes that are remembered: those of the getters of two segments, as many as are surveyed at a time.
const MAX_HEARD: usize = 2 * GETTERS;

/// Who probes and is not heard again for this long is no member any more: one lost frame must not
/// make it one for some and none for others.
const HEARD: Duration = Duration::from_secs(36);
const _: () = assert!(HEARD.micros() > 2 * LONGEST_WATCH.micros());

/// A survey waits for the lists of those it finds first: the probe's time, and that of a question. Later ones
/// come as they come.
const SETTLES: Duration = Duration::from_micros(2 * REQUEST_TIMEOUT.micros());

/// What is known of a segment by now.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Blocks that some peer is thought to have, who may be asked for them.
    pub held: IndexSet,
    /// Whether any peer has any.
    pub anybody: bool,
    /// Whether the first answers are in: before that, what is not held is only not known.
    pub settled: bool,
    /// When there is something to ask again, which is never past.
    pub again: Option<Instant>,
}

/// What one peer has of one segment.
pub(super) struct List {
    /// The first bytes of the segment's id: enough to tell a few apart.
    key: u64,
    /// The peer's place.
    place: u8,
    state: State,
    /// Blocks it has: all, if it does not tell.
    blocks: IndexSet,
    /// The most that it ever said to have.
    most: u16,
    /// It has answered once, or failed to.
    told: bool,
    /// When `state` came about.
    at: Instant,
    /// When it was last seen to have more than before.
    grown: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not known.
    New,
    /// To be asked for.
    Due,
    /// Asked for.
    Asked,
    /// As of then.
    Known,
}

/// A list to ask a peer for.
pub(super) struct Due {
    pub(super) segment: u64,
    pub(super) place: u8,
}

/// The table.
#[derive(Default)]
pub(super) struct Lists(Vec<List, MAX_LISTS>);

impl Lists {
    /// Whether the peer in `place` need not be asked for the block: by its list, which is fresh, it does
    /// not have it, or others are asked for theirs instead.
    pub(super) fn denies(&self, now: Instant, segment: &SegmentId, block: u32, place: u8) -> bool {
        let key = key(segment);
        let fresh = |list: &List| list.state == State::Known && now.since(list.at) <= FRESH;
        match self.get(key, place) {
            Some(list) => fresh(list) && !list.blocks.contains(block),
            None => self.0.iter().filter(|list| list.key == key && fresh(list)).count() >= NEIGHBOURS,
        }
    }

    /// The lists that peers are to be asked for.
    pub(super) fn due(&self) -> impl Iterator<Item = Due> + '_ {
        let due = self.0.iter().filter(|list| list.state == State::Due);
        due.map(|list| Due { segment: list.key, place: list.place })
    }

    /// Whether the list is being asked for.
    pub(super) fn is_asked(&self, segment: &SegmentId, place: u8) -> bool {
        self.get(key(segment), place).is_some_and(|list| list.state == State::Asked)
    }

    /// The peer in `place` is being asked; or not after all, so that it has to be later.
    pub(super) fn ask(&mut self, now: Instant, segment: &SegmentId, place: u8, asked: bool) {
        if let Some(list) = self.get_mut(key(segment), place) {
            (list.state, list.at) = (if asked { State::Asked } else { State::Due }, now);
        }
    }

    /// The peer has answered, or failed to.
    pub(super) fn known(&mut self, now: Instant, segment: &SegmentId, place: u8, blocks: Option<IndexSet>) {
        let Some(list) = self.get_mut(key(segment), place) else { return };
        (list.state, list.told, list.at) = (State::Known, true, now);
        if let Some(blocks) = blocks {
            // Who shows by turns what it has gets no further.
            let shown = blocks.count() as u16;
            if shown > list.most {
                (list.grown, list.most) = (now, shown);
            }
            list.blocks = blocks;
        }
    }

    /// Forgets what peers have of a segment that nobody surveys any more; questions under way stay.
    pub(super) fn leave(&mut self, segment: &SegmentId) {
        self.0.retain(|list| list.key != key(segment) || list.state == State::Asked);
    }

    /// Forgets who lost its place in the table of peers.
    pub(super) fn forget(&mut self, place: u8) {
        self.0.retain(|list| list.place != place);
    }

    #[cfg(test)]
    pub(super) fn is_known(&self, segment: &SegmentId, place: u8) -> bool {
        self.get(key(segment), place).is_some_and(|list| list.told)
    }

    fn get(&self, key: u64, place: u8) -> Option<&List> {
        self.0.iter().find(|list| list.key == key && list.place == place)
    }

    fn get_mut(&mut self, key: u64, place: u8) -> Option<&mut List> {
        self.0.iter_mut().find(|list| list.key == key && list.place == place)
    }

    /// The row for a list. What is old gives way, and what another segment has beyond its share: of two
    /// that are surveyed at a time, neither drives the other out again and again.
    fn row(&mut self, now: Instant, key: u64, place: u8) -> Option<&mut List> {
        if self.get(key, place).is_none() {
            let list = List {
                key,
                place,
                state: State::New,
                told: false,
                blocks: IndexSet::EMPTY,
                most: 0,
                at: now,
                grown: now,
            };
            if let Err(list) = self.0.push(list) {
                let count = |key| self.0.iter().filter(|it| it.key == key).count();
                let gives_way = |it: &List| now.since(it.at) > FRESH || count(it.key) > count(key) + 1;
                let idle = self.0.iter().enumerate().filter(|(_, it)| it.state != State::Asked);
                let (place, _) = idle.filter(|(_, it)| gives_way(it)).min_by_key(|(_, it)| it.at)?;
                *self.0.get_mut(place)? = list;
            }
        }
        self.get_mut(key, place)
    }
}

/// Others who probed for a segment that we are getting.
#[derive(Default)]
pub(super) struct Heard(Vec<(Member, Instant), MAX_HEARD>);

/// One who is getting a segment, in the order in which members are its getters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    rank: u64,
    key: u64,
    word: u64,
}

impl Member {
    fn new(key: u64, address: IpAddr) -> Self {
        let word = word(address);
        Self { rank: mix(key ^ word), key, word }
    }
}

impl Heard {
    /// Each segment has room for its getters: who would be none is not remembered.
    fn note(&mut self, now: Instant, member: Member) {
        if let Some((_, at)) = self.0.iter_mut().find(|(known, _)| *known == member) {
            *at = now;
            return;
        }
        let silent = |at: Instant| at + HEARD < now;
        let of_segment = self.0.iter().filter(|(other, at)| other.key == member.key && !silent(*at)).count();
        let gives_way = |(other, at): &(Member, Instant)| {
            silent(*at) || (of_segment >= GETTERS && other.key == member.key && *other < member)
        };
        if of_segment < GETTERS && self.0.push((member, now)).is_ok() {
            return;
        }
        let rows = self.0.iter_mut().filter(|row| gives_way(row));
        if let Some(row) = rows.min_by_key(|(other, at)| (!silent(*at), *other)) {
            *row = (member, now);
        }
    }

    /// The segment is not surveyed any more.
    fn forget(&mut self, segment: &SegmentId) {
        let key = key(segment);
        self.0.retain(|(member, _)| member.key != key);
    }
}

impl Fetch {
    /// Another host probes for `segment`. Nothing proves that it gets any of it: whoever waits for
    /// others does so for a time only.
    pub fn heard(&mut self, now: Instant, from: IpAddr, segment: &SegmentId) {
        if self.may_be_member(from) && self.holdings.is_surveyed(segment) {
            self.heard.note(now, Member::new(key(segment), from));
        }
    }

    /// In one family alone: who is known in both is one member.
    fn may_be_member(&self, other: IpAddr) -> bool {
        self.us.is_some_and(|us| us.is_ipv4() == other.is_ipv4() && us.ip() != other)
    }

    /// What is known of a segment of so many blocks, several of which are wanted since `since`; call
    /// again when [`news`](Self::news) changes, or the time has come. While it is called, holders are looked
    /// for again and again, and those that have a part of the segment are asked which.
    pub fn survey(
        &mut self,
        now: Instant,
        segment: &SegmentId,
        algorithm: HashAlgorithm,
        blocks: u32,
        since: Instant,
    ) -> Survey {
        let Self { holdings, peers, lists, .. } = self;
        let mut survey = Survey { held: IndexSet::EMPTY, anybody: false, settled: true, again: None };
        let trusted = peers.trusted(now);
        let Some(holding) = holdings.meet(now, segment, algorithm, blocks, trusted) else {
            // It waits for its turn to be searched for.
            survey.settled = false;
            return survey;
        };
        survey.settled = !self.distributed || holding.watch(now, since);
        let mut all = IndexSet::EMPTY;
        all.insert_range(Range { index: 0, count: blocks });
        let willing = peers.willing(now, holding.holders);
        let in_parts = if blocks > FEW_BLOCKS { willing & holding.partial } else { 0 };
        survey.anybody = holding.holders != 0;
        survey.again = if self.distributed { holding.search_at() } else { None };
        if willing & !in_parts != 0 || self.hosted.is_some() {
            survey.held = all;
        }
        let us = self.us.map_or(0, |us| word(us.ip()));
        let neighbours = neighbours(now, in_parts, lists, peers, key(segment), us);
        for place in places(neighbours) {
            let Some(list) = lists.row(now, key(segment), place) else { break };
            let again = list.at + LIST_AGAIN;
            match list.state {
                State::New => list.state = State::Due,
                State::Known if again <= now => list.state = State::Due,
                _ => {}
            }
            if list.state == State::Known {
                survey.again = earliest(survey.again, Some(again));
            }
            survey.settled &= list.told || now.since(since) > SETTLES;
            survey.held = survey.held.union(&list.blocks);
        }
        survey
    }

    /// The segment is not surveyed any more: the lists of it make room for others'.
    pub fn end_survey(&mut self, segment: &SegmentId) {
        self.lists.leave(segment);
        self.heard.forget(segment);
        if let Some(holding) = self.holdings.get_mut(segment) {
            holding.end_survey();
        }
    }

    /// Who is getting this segment at the moment. `pace` is how long we take for a block.
    pub fn crowd(&self, now: Instant, segment: &SegmentId, pace: Duration) -> Crowd {
        let key = key(segment);
        let mut crowd = Crowd { key, us: None, getters: Vec::new() };
        // Who does not know its own address cannot be ranked among others.
        let Some(us) = self.us else { return crowd };
        crowd.add(Member::new(key, us.ip()));
        let heard = |(member, at): &&(Member, Instant)| member.key == key && *at + HEARD >= now;
        self.heard.0.iter().filter(heard).for_each(|(member, _)| crowd.add(*member));
        let idle = IDLE.max(pace + pace);
        let gets_on = |list: &&List| list.key == key && now.since(list.grown) <= idle;
        for list in self.lists.0.iter().filter(gets_on) {
            let peer = self.peers.get(list.place).filter(|_| self.peers.willing(now, only(list.place)) != 0);
            if let Some(peer) = peer.filter(|peer| self.may_be_member(peer.address.ip())) {
                crowd.add(Member::new(key, peer.address.ip()));
            }
        }
        crowd.us = Some(word(us.ip()));
        crowd
    }
}

/// Those who get blocks of the same segment from the origin at the same time.
pub struct Crowd {
    key: u64,
    us: Option<u64>,
    getters: Vec<Member, GETTERS>,
}

impl Crowd {
    fn add(&mut self, member: Member) {
        if self.getters.contains(&member) {
            return;
        }
        if let Err(member) = self.getters.push(member)
            && let Some(last) = self.getters.iter_mut().min().filter(|last| **last < member)
        {
            *last = member;
        }
    }

    /// How many others are to get this block from the origin before us; 0 means that it is our
    /// turn.
    pub fn turn(&self, block: u32) -> usize {
        let Some(us) = self.us else { return 0 };
        let block = mix(self.key ^ u64::from(block));
        let getter = self.getters.iter().any(|getter| getter.word == us);
        let ours = if getter { mix(block ^ us) } else { 0 };
        self.getters.iter().filter(|getter| mix(block ^ getter.word) > ours).count()
    }
}

/// Those of the peers in `set` that are asked for their lists: any, but sooner one that is new or gets
/// on than one that does not.
fn neighbours(now: Instant, set: PeerSet, lists: &Lists, peers: &Peers, key: u64, us: u64) -> PeerSet {
    let mut drawn = Vec::<(bool, u64, u8), NEIGHBOURS>::new();
    for place in places(set) {
        let Some(peer) = peers.get(place) else { continue };
        let stuck = lists.get(key, place).is_some_and(|list| now.since(list.grown) > IDLE);
        let row = (stuck, mix(us ^ word(peer.address.ip())), place);
        // Of one host, one port is enough.
        if drawn.iter().any(|other| other.1 == row.1) {
            continue;
        }
        if let Err(row) = drawn.push(row)
            && let Some(last) = drawn.iter_mut().max().filter(|last| **last > row)
        {
            *last = row;
        }
    }
    drawn.iter().map(|(.., place)| only(*place)).fold(0, |set, one| set | one)
}

/// The first bytes of an id, which is a hash.
pub(super) fn key(segment: &SegmentId) -> u64 {
    segment.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// A member in one word: the same wherever it is computed.
fn word(member: IpAddr) -> u64 {
    mix(match member {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => mix((ip.to_bits() >> 64) as u64) ^ ip.to_bits() as u64,
    })
}

/// Spreads every bit over all others: the last steps of SplitMix64.
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
