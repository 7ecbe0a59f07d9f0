//! Who has which segment: what probes have found, and when to probe again.

use heapless::Vec;
use rand_core::CryptoRng;

use super::peers::{PeerSet, only};
use super::tick::{Tick, least};
use crate::content::SegmentId;
use crate::crypto::HashAlgorithm;
use crate::discovery::client::{Client, Config, Extent, Found, MAX_SEARCHED, ProbeError, ProbeId};
use crate::limits::rows;
use crate::time::{Duration, Instant};

/// Segments with known holders; past that the one that nobody asked about for longest is forgotten.
pub const MAX_SEGMENTS: usize = rows(32, 8);

/// A search for a segment's holders is worth this long; a block wanted later has them looked for
/// again, since in a flash crowd holders appear while we download.
pub const SEARCH_AGAIN: Duration = Duration::from_millis(AGAIN as u64);

/// The same, in milliseconds.
const AGAIN: u16 = 1_000;

/// While a segment is watched it is searched for again and again, at intervals that double up to
/// this; in milliseconds.
const LONGEST_PAUSE: u16 = 4_000;

/// With so many holders known, more of them are not looked for as eagerly.
const ENOUGH_HOLDERS: u32 = 16;

/// The pause then, in milliseconds.
const CROWD_PAUSE: u16 = 16_000;

/// Whoever watches a segment probes for it as often as this, request timer included.
pub(super) const LONGEST_WATCH: Duration = Duration::from_secs(17);

/// Segments that are put into a probe at most; those beyond are for the next one.
const PROBED: usize = rows(16, 8);
const _: () = assert!(PROBED <= MAX_SEGMENTS && PROBED <= MAX_SEARCHED);

/// The table, and the client that fills it.
pub(super) struct Holdings {
    pub(super) discovery: Client,
    pub(super) table: Vec<Holding, MAX_SEGMENTS>,
    /// How often somebody was interested in a segment.
    uses: u32,
}

/// What is known of one segment.
pub(super) struct Holding {
    pub(super) segment: SegmentId,
    /// Whether it is described by content information 2.0, and so probed for in version 2.
    version2: bool,
    /// It is watched.
    surveyed: bool,
    /// How many blocks it has.
    blocks: u16,
    /// Between two searches while it is watched, in milliseconds.
    pause: u16,
    search: Search,
    /// Which of these was the last for this one. Times could be the same for two, which would then
    /// drive each other out again and again.
    used: u32,
    /// It was searched for already since then, so what is being searched for now is only more.
    watched: Option<Tick>,
    pub(super) holders: PeerSet,
    /// Those that answered the latest search that ended, or the one that is out.
    recent: PeerSet,
    /// Holders that have only a part of it, as they said or as was seen.
    pub(super) partial: PeerSet,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Search {
    /// Nobody was ever asked: peers that gave us other segments may have this one too.
    Untried,
    /// A probe is to go out.
    Due,
    /// A probe is out.
    Out(ProbeId),
    /// The last probe's time ran out then.
    Ended(Tick),
}

impl Holdings {
    #[inline(always)]
    pub(super) fn new(config: Config) -> Self {
        Self { discovery: Client::new(config), table: Vec::new(), uses: 0 }
    }

    pub(super) fn get(&self, segment: &SegmentId) -> Option<&Holding> {
        self.table.iter().find(|holding| holding.segment == *segment)
    }

    pub(super) fn get_mut(&mut self, segment: &SegmentId) -> Option<&mut Holding> {
        self.table.iter_mut().find(|holding| holding.segment == *segment)
    }

    /// Whether others are looked for again and again who have `segment`, or want it.
    pub(super) fn is_surveyed(&self, segment: &SegmentId) -> bool {
        self.get(segment).is_some_and(|holding| holding.surveyed)
    }

    /// The peers that are thought to have some of `segment`.
    pub(super) fn holders(&self, segment: &SegmentId) -> PeerSet {
        self.get(segment).map_or(0, |holding| holding.holders)
    }

    /// Somebody is interested in `segment`: it has a row from now on, if there is room for one.
    /// It has `blocks` at most. `trusted` are peers that may have it, as they had others.
    #[inline(never)]
    pub(super) fn meet(
        &mut self,
        segment: &SegmentId,
        algorithm: HashAlgorithm,
        blocks: u32,
        trusted: PeerSet,
    ) -> Option<&mut Holding> {
        // No segment has more blocks than this can count.
        let blocks = u16::try_from(blocks).unwrap_or(u16::MAX);
        self.uses = self.uses.wrapping_add(1);
        let place = match self.table.iter().position(|holding| holding.segment == *segment) {
            Some(place) => place,
            None => {
                let holding = Holding {
                    segment: *segment,
                    version2: algorithm == HashAlgorithm::TruncatedSha512,
                    surveyed: false,
                    blocks,
                    pause: AGAIN,
                    search: if trusted == 0 { Search::Due } else { Search::Untried },
                    used: self.uses,
                    watched: None,
                    holders: trusted,
                    recent: 0,
                    partial: 0,
                };
                match self.table.push(holding) {
                    Ok(()) => self.table.len().saturating_sub(1),
                    Err(holding) => {
                        // While all are being searched for, this one waits for its turn.
                        let rank =
                            |it: &Holding| (!it.is_awaited()).then(|| !self.uses.wrapping_sub(it.used));
                        let place = least(self.table.iter().map(rank))?;
                        *self.table.get_mut(place)? = holding;
                        place
                    }
                }
            }
        };
        let holding = self.table.get_mut(place)?;
        (holding.used, holding.blocks) = (self.uses, holding.blocks.min(blocks));
        Some(holding)
    }

    /// The id behind the first bytes of one, and how many blocks the segment has.
    pub(super) fn by_key(&self, key: u32) -> Option<(&SegmentId, u32)> {
        let holding = self.table.iter().find(|holding| super::crowd::key(&holding.segment) == key)?;
        Some((&holding.segment, holding.blocks.into()))
    }

    /// The peer in `place` did not have a block of `segment` that it was asked for.
    pub(super) fn lacks(&mut self, segment: &SegmentId, place: u8) {
        match self.get_mut(segment) {
            Some(holding) if holding.version2 => holding.drop_holder(place),
            Some(holding) => holding.partial |= holding.holders & only(place),
            None => {}
        }
    }

    /// Sends probes for all segments that are due, as many in each as fit one message.
    pub(super) fn probe(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        for version2 in [false, true] {
            while self.probe_some(now, rng, version2).is_some() {}
        }
    }

    #[inline(never)]
    fn probe_some(&mut self, now: Instant, rng: &mut dyn CryptoRng, version2: bool) -> Option<()> {
        let mut due: Vec<SegmentId, PROBED> = Vec::new();
        for holding in &self.table {
            if holding.search == Search::Due && holding.version2 == version2 && !due.is_full() {
                let _ = due.push(holding.segment);
            }
        }
        let probe = loop {
            let probe = match version2 {
                true => self.discovery.probe_v2(now, rng, &due),
                false => self.discovery.probe(now, rng, &due),
            };
            match probe {
                Err(ProbeError::TooManyIds { fitting }) if fitting < due.len() => due.truncate(fitting),
                // With too many probes out, the segments stay due until one of them ends.
                probe => break probe.ok()?,
            }
        };
        let mut once = true;
        for holding in self.table.iter_mut().filter(|holding| due.contains(&holding.segment)) {
            (holding.search, holding.recent) = (Search::Out(probe), 0);
            once &= holding.watched.is_some();
        }
        // What is watched is soon searched for again.
        if once {
            self.discovery.send_once(probe);
        }
        Some(())
    }

    /// Ends searches whose request timer has run out; whether there was one.
    pub(super) fn handle_expired(&mut self, now: Instant) -> bool {
        let mut ended = false;
        while let Some(probe) = self.discovery.poll_expired(now) {
            ended = true;
            for holding in self.table.iter_mut().filter(|holding| holding.search == Search::Out(probe)) {
                holding.search = Search::Ended(Tick::of(now));
                // Holders that no longer answer are forgotten, unless nobody answered: then the
                // probe may have been lost.
                if holding.recent != 0 {
                    holding.holders = holding.recent;
                }
            }
        }
        ended
    }
}

/// Forgets who lost its place in the table of peers.
pub(super) fn forget(table: &mut [Holding], place: u8) {
    table.iter_mut().for_each(|holding| holding.drop_holder(place));
}

/// The peer in `place` has answered a probe.
pub(super) fn found(table: &mut [Holding], found: &Found, place: u8) {
    let Some(holding) = table.iter_mut().find(|it| it.segment == found.segment) else { return };
    let peer = only(place);
    holding.holders |= peer;
    holding.recent |= peer;
    match found.extent {
        Extent::Blocks(blocks) if blocks < holding.blocks.into() => holding.partial |= peer,
        // Of the one block of version 2 there is no part worth a list.
        Extent::Blocks(_) | Extent::Part | Extent::Whole => holding.partial &= !peer,
    }
}

impl Holding {
    /// The peer in `place` has nothing of it.
    pub(super) fn drop_holder(&mut self, place: u8) {
        let others = !only(place);
        self.holders &= others;
        self.recent &= others;
        self.partial &= others;
    }

    /// Whether its holders are only thought to be.
    pub(super) fn is_untried(&self) -> bool {
        self.search == Search::Untried
    }

    /// Whether it is being searched for.
    fn is_awaited(&self) -> bool {
        matches!(self.search, Search::Due | Search::Out(_))
    }

    /// Whether a search has ended not much earlier than `since`, or later.
    fn is_fresh(&self, now: Tick, since: Tick) -> bool {
        let lately = since.age(now).saturating_add(AGAIN.into());
        matches!(self.search, Search::Ended(at) if at.age(now) <= lately)
    }

    /// Has holders looked for, unless that was done [`SEARCH_AGAIN`] before `since` or later.
    /// Whether an answer is worth waiting for.
    pub(super) fn search(&mut self, now: Tick, since: Tick) -> bool {
        if !self.is_awaited() {
            if self.is_fresh(now, since) {
                return false;
            }
            (self.search, self.watched) = (Search::Due, None);
        }
        true
    }

    /// Has holders looked for if it is time to do so for one that is watched since `since`. Whether
    /// all who could answer by then have.
    pub(super) fn watch(&mut self, now: Tick, since: Tick) -> bool {
        self.surveyed = true;
        if self.is_awaited() {
            return self.watched.is_some_and(|watched| watched.age(now) <= since.age(now));
        }
        let fresh = self.is_fresh(now, since);
        if !fresh {
            (self.search, self.pause, self.watched) = (Search::Due, AGAIN, None);
        } else if self.search_in(now) == Some(0) {
            let pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
            (self.search, self.pause, self.watched) = (Search::Due, pause, Some(since));
        }
        fresh
    }

    /// It is not watched any more.
    pub(super) fn end_survey(&mut self) {
        (self.surveyed, self.watched) = (false, None);
    }

    /// In how many milliseconds it is to be searched for again while it is watched.
    pub(super) fn search_in(&self, now: Tick) -> Option<u32> {
        let pause = if self.holders.count_ones() >= ENOUGH_HOLDERS { CROWD_PAUSE } else { self.pause };
        match self.search {
            Search::Ended(at) => Some(u32::from(pause).saturating_sub(at.age(now))),
            _ => None,
        }
    }
}
