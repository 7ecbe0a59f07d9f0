//! Many who want the same segment at the same time: which blocks of it each of them has by now
//! (MSG_BLKLIST), and whose turn it is to get a block that nobody has.
//!
//! In a flash crowd all begin with nothing. Everybody who takes part knows the others by their
//! answers to probes, and shares the missing blocks out by rendezvous hashing: for each block all
//! members are ranked by a hash of block and member, and who comes first gets it from the origin
//! for all. No message is needed for that, and where two see different members, the worst is that
//! a block is fetched twice.

use core::net::{IpAddr, SocketAddr};

use heapless::Vec;

use super::Fetch;
use super::peers::{only, places};
use crate::content::SegmentId;
use crate::crypto::HashAlgorithm;
use crate::retrieval::set::IndexSet;
use crate::retrieval::wire::Range;
use crate::time::{Duration, Instant, earliest};

/// Block lists known at once: one of each peer, as long as one segment is being downloaded; of two,
/// each has its half.
pub const MAX_LISTS: usize = 32;

/// GETBLKLIST is worth its while only for more than 3 consecutive blocks (fact 40).
const FEW_BLOCKS: u32 = 3;

/// How often a peer is asked again for its list, for each [`LISTS_AT_ONCE`] that there are.
const LIST_AGAIN: Duration = Duration::from_millis(1_000);

/// So many lists are kept fresh each second.
const LISTS_AT_ONCE: u32 = 8;

/// A list that is older than this says nothing of what the peer does not have.
const FRESH: Duration = Duration::from_secs(10);

/// A peer that got no block for this long is no member any more, unless blocks take longer.
const IDLE: Duration = Duration::from_secs(10);

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
    /// Whether a fresh list of the peer in `place` says that it does not have the block.
    pub(super) fn denies(&self, now: Instant, segment: &SegmentId, block: u32, place: u8) -> bool {
        let fresh = |list: &List| list.state == State::Known && now.since(list.at) <= FRESH;
        self.get(key(segment), place).is_some_and(|list| fresh(list) && !list.blocks.contains(block))
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

    /// The row for a list. What is old of another segment gives way, and what that has beyond its
    /// share: of two that are surveyed at a time, neither drives the other out again and again.
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
                let others = self.0.iter().enumerate();
                let others = others.filter(|(_, it)| it.key != key && it.state != State::Asked);
                let (place, _) = others.filter(|(_, it)| gives_way(it)).min_by_key(|(_, it)| it.at)?;
                *self.0.get_mut(place)? = list;
            }
        }
        self.get_mut(key, place)
    }
}

impl Fetch {
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
        let pause = LIST_AGAIN.micros() * u64::from(1 + in_parts.count_ones() / LISTS_AT_ONCE);
        for place in places(in_parts) {
            let Some(list) = lists.row(now, key(segment), place) else { break };
            let again = list.at + Duration::from_micros(pause);
            match list.state {
                State::New => list.state = State::Due,
                State::Known if again <= now => list.state = State::Due,
                _ => {}
            }
            if list.state == State::Known {
                survey.again = earliest(survey.again, Some(again));
            }
            survey.settled &= list.told;
            survey.held = survey.held.union(&list.blocks);
        }
        survey
    }

    /// The segment is not surveyed any more: the lists of it make room for others'.
    pub fn end_survey(&mut self, segment: &SegmentId) {
        self.lists.leave(segment);
    }

    /// Who else is getting this segment at the moment. `pace` is how long we take for a block.
    pub fn crowd(&self, now: Instant, segment: &SegmentId, pace: Duration) -> Crowd {
        let key = key(segment);
        let idle = IDLE.max(pace + pace);
        let member = |list: &&List| list.key == key && now.since(list.grown) <= idle;
        let mut others = Vec::new();
        for list in self.lists.0.iter().filter(member) {
            let peer = self.peers.get(list.place).filter(|_| self.peers.willing(now, only(list.place)) != 0);
            // Who does not know its own address cannot be ranked among others.
            if let Some(peer) = peer.filter(|_| self.us.is_some()) {
                // There is room for all lists.
                let _ = others.push(word(peer.address));
            }
        }
        Crowd { key, us: self.us.map_or(0, word), others }
    }
}

/// Those who are getting the same segment at the same time, ourselves among them.
pub struct Crowd {
    key: u64,
    us: u64,
    others: Vec<u64, MAX_LISTS>,
}

impl Crowd {
    /// How many members are to get this block from the origin before us; 0 means that it is our
    /// turn.
    pub fn turn(&self, block: u32) -> usize {
        let block = mix(self.key ^ u64::from(block));
        let ours = mix(block ^ self.us);
        self.others.iter().filter(|other| mix(block ^ **other) > ours).count()
    }
}

/// The first bytes of an id, which is a hash.
pub(super) fn key(segment: &SegmentId) -> u64 {
    segment.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// A member in one word: the same wherever it is computed, as long as members are known by the same
/// address.
fn word(member: SocketAddr) -> u64 {
    let address = match member.ip() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => mix((ip.to_bits() >> 64) as u64) ^ ip.to_bits() as u64,
    };
    mix(address ^ u64::from(member.port()).rotate_left(32))
}

/// Spreads every bit over all others: the last steps of SplitMix64.
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
