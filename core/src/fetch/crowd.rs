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
use super::tick::{Tick, least};
use crate::content::SegmentId;
use crate::crypto::HashAlgorithm;
use crate::limits::{DOWNLOADS, REQUEST_TIMEOUT, rows};
use crate::retrieval::set::IndexSet;
use crate::time::{Duration, Instant};

/// GETBLKLIST is worth its while only for more than 3 consecutive blocks (fact 40).
const FEW_BLOCKS: u32 = 3;

/// How often a peer is asked again for its list, in milliseconds.
const LIST_AGAIN: u32 = 1_000;

/// Of so many peers that have a part of a segment, the lists are kept fresh. Each client draws its own,
/// so that a block finds its way through a crowd of any size from neighbour to neighbour.
pub(super) const NEIGHBOURS: usize = rows(8, 4);

/// Block lists known at once: those of as many segments as are surveyed at a time, and as many of neighbours
/// that have been replaced and still count as members.
pub const MAX_LISTS: usize = DOWNLOADS * 2 * NEIGHBOURS;

/// A list that is older than this, in milliseconds, says nothing of what the peer does not have.
const FRESH: u32 = 10_000;

/// A peer that got no block for this long is no member any more, unless blocks take longer; in
/// milliseconds.
const IDLE: u32 = 10_000;

/// So many members of a crowd get blocks from the origin: enough to keep its link busy, and no more,
/// since the same link among more of them has each take longer for a block, and what is under way
/// nobody can ask for. The same everywhere, for all members have to see the same ones.
pub const GETTERS: usize = 8;

/// Probes that are remembered: those of the getters of as many segments as are surveyed at a time.
const MAX_HEARD: usize = DOWNLOADS * GETTERS;

/// Who probes and is not heard again for so many milliseconds is no member any more: one lost frame
/// must not make it one for some and none for others.
const HEARD: u32 = 36_000;
const _: () = assert!(HEARD as u64 > 2 * LONGEST_WATCH.millis());

/// A survey waits so many milliseconds for the lists of those it finds first: the probe's time, and that
/// of a question. Later ones come as they come.
const SETTLES: u32 = 2 * REQUEST_TIMEOUT.millis() as u32;

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
struct List {
    /// The segment's [`key`].
    key: u32,
    /// When `state` came about.
    at: Tick,
    /// When it was last seen to have more than before.
    grown: Tick,
    /// Blocks it has: all, if it does not tell.
    blocks: IndexSet,
    /// The most that it ever said to have.
    most: u16,
    /// The peer's place.
    place: u8,
    state: State,
    /// It has answered once, or failed to.
    told: bool,
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

impl List {
    /// Whether what it does not name, the peer does not have.
    fn is_fresh(&self, now: Tick) -> bool {
        self.state == State::Known && self.at.age(now) <= FRESH
    }
}

/// The table.
#[derive(Default)]
pub(super) struct Lists(Vec<List, MAX_LISTS>);

impl Lists {
    /// Whether the peer in `place` need not be asked for the block: by its list, which is fresh, it does
    /// not have it, or others are asked for theirs instead.
    pub(super) fn denies(&self, now: Tick, segment: &SegmentId, block: u32, place: u8) -> bool {
        let key = key(segment);
        let mut others = 0;
        for list in self.0.iter().filter(|list| list.key == key) {
            if list.place == place {
                return list.is_fresh(now) && !list.blocks.contains(block);
            }
            others += usize::from(list.is_fresh(now));
        }
        others >= NEIGHBOURS
    }

    /// The lists that peers are to be asked for: of which segment, by its key, and the peers' places.
    pub(super) fn due(&self) -> impl Iterator<Item = (u32, u8)> + '_ {
        let due = self.0.iter().filter(|list| list.state == State::Due);
        due.map(|list| (list.key, list.place))
    }

    /// Whether the list is being asked for.
    pub(super) fn is_asked(&self, segment: &SegmentId, place: u8) -> bool {
        self.get(key(segment), place).is_some_and(|list| list.state == State::Asked)
    }

    /// The peer in `place` is being asked; or not after all, so that it has to be later.
    pub(super) fn ask(&mut self, now: Tick, key: u32, place: u8, asked: bool) {
        if let Some(list) = self.get_mut(key, place) {
            (list.state, list.at) = (if asked { State::Asked } else { State::Due }, now);
        }
    }

    /// The peer has answered, or failed to.
    pub(super) fn known(&mut self, now: Tick, segment: &SegmentId, place: u8, blocks: Option<&IndexSet>) {
        let Some(list) = self.get_mut(key(segment), place) else { return };
        (list.state, list.told, list.at) = (State::Known, true, now);
        if let Some(blocks) = blocks {
            // Who shows by turns what it has gets no further.
            let shown = blocks.count() as u16;
            if shown > list.most {
                (list.grown, list.most) = (now, shown);
            }
            list.blocks = *blocks;
        }
    }

    /// Forgets what peers have of a segment that nobody surveys any more; questions under way stay.
    fn leave(&mut self, key: u32) {
        self.forget_if(&|list| list.key == key && list.state != State::Asked);
    }

    /// Forgets who lost its place in the table of peers.
    pub(super) fn forget(&mut self, place: u8) {
        self.forget_if(&|list| list.place == place);
    }

    fn forget_if(&mut self, is_one: &dyn Fn(&List) -> bool) {
        while let Some(row) = self.0.iter().position(is_one) {
            // It is one of them.
            if row < self.0.len() {
                self.0.swap_remove(row);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_known(&self, segment: &SegmentId, place: u8) -> bool {
        self.get(key(segment), place).is_some_and(|list| list.told)
    }

    fn row(&self, key: u32, place: u8) -> Option<usize> {
        self.0.iter().position(|list| list.key == key && list.place == place)
    }

    fn get(&self, key: u32, place: u8) -> Option<&List> {
        self.0.get(self.row(key, place)?)
    }

    fn get_mut(&mut self, key: u32, place: u8) -> Option<&mut List> {
        let row = self.row(key, place)?;
        self.0.get_mut(row)
    }

    /// The row for a list. What is old gives way, and what another segment has beyond its share: of two
    /// that are surveyed at a time, neither drives the other out again and again.
    #[inline(never)]
    fn get_or_make(&mut self, now: Tick, key: u32, place: u8) -> Option<&mut List> {
        if self.row(key, place).is_none() {
            let list = List {
                key,
                at: now,
                grown: now,
                blocks: IndexSet::EMPTY,
                most: 0,
                place,
                state: State::New,
                told: false,
            };
            if let Err(list) = self.0.push(list) {
                let count = |key| self.0.iter().filter(|it| it.key == key).count();
                let share = count(key).saturating_add(1);
                let rank = |it: &List| {
                    let gives_way = it.at.age(now) > FRESH || count(it.key) > share;
                    (gives_way && it.state != State::Asked).then(|| !it.at.age(now))
                };
                let row = least(self.0.iter().map(rank))?;
                *self.0.get_mut(row)? = list;
            }
        }
        self.get_mut(key, place)
    }
}

/// Others who probed for a segment that we are getting.
#[derive(Default)]
pub(super) struct Heard(Vec<Member, MAX_HEARD>);

/// One who is getting a segment.
struct Member {
    /// The segment's.
    key: u32,
    rank: u32,
    /// When it probed last.
    at: Tick,
}

impl Heard {
    /// Each segment has room for its getters: who would be none is not remembered.
    fn note(&mut self, now: Tick, key: u32, rank: u32) {
        let mut of_segment = 0;
        for member in self.0.iter_mut().filter(|member| member.key == key) {
            if member.rank == rank {
                member.at = now;
                return;
            }
            of_segment += usize::from(member.at.age(now) <= HEARD);
        }
        let member = Member { key, rank, at: now };
        let is_full = of_segment >= GETTERS;
        if is_full || self.0.is_full() {
            // The silent go first.
            let gives_way = |it: &Member| match it.at.age(now) {
                0..=HEARD => (is_full && it.key == key && it.rank < rank).then_some(it.rank),
                _ => Some(0),
            };
            let row = least(self.0.iter().map(gives_way));
            if let Some(row) = row.and_then(|row| self.0.get_mut(row)) {
                *row = member;
            }
        } else {
            let _ = self.0.push(member);
        }
    }

    /// The segment is not surveyed any more.
    fn forget(&mut self, key: u32) {
        while let Some(row) = self.0.iter().position(|member| member.key == key) {
            // It is one of them.
            if row < self.0.len() {
                self.0.swap_remove(row);
            }
        }
    }
}

impl Fetch {
    /// Another host probes for `segment`. Nothing proves that it gets any of it: whoever waits for
    /// others does so for a time only.
    pub fn heard(&mut self, now: Instant, from: IpAddr, segment: &SegmentId) {
        if self.may_be_member(from) && self.holdings.is_surveyed(segment) {
            let key = key(segment);
            self.heard.note(Tick::of(now), key, rank(key, from));
        }
    }

    /// In one family alone: who is known in both is one member.
    #[inline(never)]
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
        let hosted = self.meet_hosted(Tick::of(now));
        let Self { holdings, peers, lists, .. } = self;
        let mut survey = Survey { held: IndexSet::EMPTY, anybody: false, settled: false, again: None };
        let (tick, since) = (Tick::of(now), Tick::of(since));
        let trusted = peers.trusted(tick);
        let Some(holding) = holdings.meet(segment, algorithm, blocks, trusted) else {
            // It waits for its turn to be searched for.
            return survey;
        };
        survey.settled = !self.distributed || holding.watch(tick, since);
        let willing = peers.willing(tick, holding.holders);
        let mut in_parts = if blocks > FEW_BLOCKS { willing & holding.partial } else { 0 };
        survey.anybody = holding.holders != 0 || hosted.is_some();
        let mut again = if self.distributed { holding.search_in(tick) } else { None };
        if hosted.is_none() && !self.hosted.is_empty() {
            // All of them rest: nothing else tells when one has rested.
            again = Some(again.map_or(LIST_AGAIN, |again| again.min(LIST_AGAIN)));
        }
        // A hosted cache may have any part of it.
        let hosted = hosted.map_or(0, only);
        if willing & !in_parts != 0 || (hosted != 0 && blocks <= FEW_BLOCKS) {
            survey.held = IndexSet::up_to(blocks);
        }
        let key = key(segment);
        let us = self.us.map_or(0, |us| rank(0, us.ip()));
        in_parts = neighbours(tick, in_parts & !hosted, lists, peers, key, us);
        if blocks > FEW_BLOCKS {
            in_parts |= hosted;
        }
        for place in places(in_parts) {
            let Some(list) = lists.get_or_make(tick, key, place) else { break };
            let left = LIST_AGAIN.saturating_sub(list.at.age(tick));
            if list.state == State::New || (list.state == State::Known && left == 0) {
                list.state = State::Due;
            } else if list.state == State::Known {
                again = Some(again.map_or(left, |again| again.min(left)));
            }
            survey.settled &= list.told || since.age(tick) > SETTLES;
            survey.held = survey.held.union(&list.blocks);
        }
        survey.again = again.map(|again| now + Duration::from_millis(again.into()));
        survey
    }

    /// The place of the first hosted cache that can be asked.
    fn meet_hosted(&mut self, now: Tick) -> Option<u8> {
        (0..self.hosted.len()).find_map(|index| {
            let place = self.meet(now, *self.hosted.get(index)?)?;
            (self.peers.willing(now, only(place)) != 0).then_some(place)
        })
    }

    /// Whether whoever else gets something is not seen, since what all of them get goes through a hosted cache.
    pub fn is_hosted_alone(&self) -> bool {
        !self.distributed && !self.hosted.is_empty()
    }

    /// The segment is not surveyed any more: the lists of it make room for others'.
    pub fn end_survey(&mut self, segment: &SegmentId) {
        let key = key(segment);
        self.lists.leave(key);
        self.heard.forget(key);
        if let Some(holding) = self.holdings.get_mut(segment) {
            holding.end_survey();
        }
    }

    /// Who is getting this segment at the moment. `pace` is how long we take for a block.
    pub fn crowd(&self, now: Instant, segment: &SegmentId, pace: Duration) -> Crowd {
        let (now, key) = (Tick::of(now), key(segment));
        let mut crowd = Crowd { key, us: None, getters: Vec::new() };
        // Who does not know its own address cannot be ranked among others.
        let Some(us) = self.us else { return crowd };
        let us = rank(key, us.ip());
        crowd.us = Some(us);
        keep_greatest(&mut crowd.getters, us, u32::MAX);
        for member in &self.heard.0 {
            if member.key == key && member.at.age(now) <= HEARD {
                keep_greatest(&mut crowd.getters, member.rank, u32::MAX);
            }
        }
        let willing = self.peers.willing(now, PeerSet::MAX);
        let idle = u32::try_from((pace + pace).millis()).unwrap_or(u32::MAX).max(IDLE);
        for list in &self.lists.0 {
            if list.key == key
                && list.grown.age(now) <= idle
                && willing & only(list.place) != 0
                && let Some(peer) = self.peers.address(list.place)
                && self.may_be_member(peer.ip())
            {
                keep_greatest(&mut crowd.getters, rank(key, peer.ip()), u32::MAX);
            }
        }
        crowd
    }
}

/// Those who get blocks of the same segment from the origin at the same time.
pub struct Crowd {
    key: u32,
    /// Our rank, and those of the getters.
    us: Option<u32>,
    getters: Vec<u32, GETTERS>,
}

impl Crowd {
    /// How many others are to get this block from the origin before us; 0 means that it is our
    /// turn.
    pub fn turn(&self, block: u32) -> usize {
        let Some(us) = self.us else { return 0 };
        let block = mix(self.key ^ block);
        let ours = if self.getters.contains(&us) { mix(block ^ us) } else { 0 };
        self.getters.iter().filter(|getter| mix(block ^ **getter) > ours).count()
    }
}

/// Keeps the greatest numbers, and one alone of those that are the same in the bits of `mask`.
#[inline(never)]
fn keep_greatest<const N: usize>(numbers: &mut Vec<u32, N>, number: u32, mask: u32) {
    if numbers.iter().any(|other| (other ^ number) & mask == 0) {
        return;
    }
    if numbers.push(number).is_err()
        && let Some(last) = numbers.iter_mut().min()
    {
        *last = number.max(*last);
    }
}

/// Those of the peers in `set` that are asked for their lists: any, but sooner one that is new or gets
/// on than one that does not.
fn neighbours(now: Tick, set: PeerSet, lists: &Lists, peers: &Peers, key: u32, us: u32) -> PeerSet {
    /// A peer is drawn by one number: whether it gets on, a hash of its host, and its place.
    const GETS_ON: u32 = 1 << 31;
    const PLACE: u32 = PeerSet::BITS - 1;
    const HOST: u32 = !(GETS_ON | PLACE);
    let mut drawn = Vec::<u32, NEIGHBOURS>::new();
    for place in places(set) {
        let Some(peer) = peers.address(place) else { continue };
        let is_stuck = lists.get(key, place).is_some_and(|list| list.grown.age(now) > IDLE);
        let gets_on = if is_stuck { 0 } else { GETS_ON };
        let host = rank(us, peer.ip()) & HOST;
        // Of one host, one port is enough.
        keep_greatest(&mut drawn, gets_on | host | u32::from(place), HOST);
    }
    drawn.iter().fold(0, |set, number| set | only((number & PLACE) as u8))
}

/// The first bytes of a segment's id, which is a hash: enough to tell a few apart.
#[inline(never)]
pub(super) fn key(segment: &SegmentId) -> u32 {
    segment.as_bytes().first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Where a host stands among those who get a segment: the same wherever it is computed.
#[inline(never)]
fn rank(key: u32, host: IpAddr) -> u32 {
    let (v4, v6);
    let octets: &[u8] = match host {
        IpAddr::V4(ip) => {
            v4 = ip.octets();
            &v4
        }
        IpAddr::V6(ip) => {
            v6 = ip.octets();
            &v6
        }
    };
    octets.as_chunks().0.iter().fold(key, |rank, word| mix(rank ^ u32::from_be_bytes(*word)))
}

/// Spreads every bit over all others, and keeps different words different.
#[inline(never)]
const fn mix(word: u32) -> u32 {
    let word = word.wrapping_add(0x9e37_79b9);
    let word = (word ^ (word >> 16)).wrapping_mul(0x7feb_352d);
    let word = (word ^ (word >> 15)).wrapping_mul(0x846c_a68b);
    word ^ (word >> 16)
}
