//! Who has which segment: what probes have found, and when to probe again.

use heapless::Vec;
use rand_core::CryptoRng;

use super::peers::{PeerSet, only};
use crate::content::SegmentId;
use crate::crypto::HashAlgorithm;
use crate::discovery::client::{Client, Config, Extent, Found, ProbeError, ProbeId};
use crate::time::{Duration, Instant};

/// Segments with known holders; past that the one that nobody asked about for longest is forgotten.
pub const MAX_SEGMENTS: usize = 32;

/// A search for a segment's holders is worth this long; a block wanted later has them looked for
/// again, since in a flash crowd holders appear while we download.
pub const SEARCH_AGAIN: Duration = Duration::from_millis(1_000);

/// While a segment is watched it is searched for again and again, at intervals that double up to
/// this.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// With so many holders known, more of them are not looked for as eagerly.
const ENOUGH_HOLDERS: u32 = 16;

/// The pause then.
const CROWD_PAUSE: Duration = Duration::from_secs(16);

/// Whoever watches a segment probes for it as often as this, request timer included.
pub(super) const LONGEST_WATCH: Duration = Duration::from_secs(17);

/// The table, and the client that fills it.
pub(super) struct Holdings {
    pub(super) discovery: Client,
    pub(super) table: Vec<Holding, MAX_SEGMENTS>,
}

/// What is known of one segment.
pub(super) struct Holding {
    pub(super) segment: SegmentId,
    /// Whether it is described by content information 2.0, and so probed for in version 2.
    version2: bool,
    /// How many blocks it has.
    blocks: u32,
    search: Search,
    /// When somebody was last interested.
    used: Instant,
    /// Between two searches while it is watched.
    pause: Duration,
    /// It is watched.
    surveyed: bool,
    /// It was searched for already since then, so what is being searched for now is only more.
    watched: Option<Instant>,
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
    Ended(Instant),
}

impl Holdings {
    pub(super) fn new(config: Config) -> Self {
        Self { discovery: Client::new(config), table: Vec::new() }
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
    pub(super) fn meet(
        &mut self,
        now: Instant,
        segment: &SegmentId,
        algorithm: HashAlgorithm,
        blocks: u32,
        trusted: PeerSet,
    ) -> Option<&mut Holding> {
        if let Some(place) = self.table.iter().position(|holding| holding.segment == *segment) {
            let holding = self.table.get_mut(place)?;
            (holding.used, holding.blocks) = (now, holding.blocks.min(blocks));
            return Some(holding);
        }
        let holding = Holding {
            segment: *segment,
            version2: algorithm == HashAlgorithm::TruncatedSha512,
            blocks,
            search: if trusted == 0 { Search::Due } else { Search::Untried },
            used: now,
            pause: SEARCH_AGAIN,
            surveyed: false,
            watched: None,
            holders: trusted,
            recent: 0,
            partial: 0,
        };
        if let Err(holding) = self.table.push(holding) {
            let settled = |it: &&mut Holding| !matches!(it.search, Search::Due | Search::Out(_));
            // While all are being searched for, this one waits for its turn.
            *self.table.iter_mut().filter(settled).min_by_key(|it| it.used)? = holding;
        }
        self.get_mut(segment)
    }

    /// The id behind the first bytes of one, and how many blocks the segment has.
    pub(super) fn by_key(&self, key: u64) -> Option<(SegmentId, u32)> {
        let holding = self.table.iter().find(|holding| super::crowd::key(&holding.segment) == key)?;
        Some((holding.segment, holding.blocks))
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

    fn probe_some(&mut self, now: Instant, rng: &mut dyn CryptoRng, version2: bool) -> Option<()> {
        let mut due: Vec<SegmentId, MAX_SEGMENTS> = Vec::new();
        let is_due = |it: &&Holding| it.search == Search::Due && it.version2 == version2;
        for holding in self.table.iter().filter(is_due) {
            // There is room for every segment.
            let _ = due.push(holding.segment);
        }
        let mut send = |ids: &[SegmentId]| match version2 {
            true => self.discovery.probe_v2(now, rng, ids),
            false => self.discovery.probe(now, rng, ids),
        };
        let probe = match send(&due) {
            Err(ProbeError::TooManyIds { fitting }) => {
                due.truncate(fitting);
                send(&due)
            }
            probe => probe,
        };
        // With too many probes out, the segments stay due until one of them ends.
        let probe = probe.ok()?;
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
                holding.search = Search::Ended(now);
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
        Extent::Blocks(blocks) if blocks < holding.blocks => holding.partial |= peer,
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

    /// Has holders looked for, unless that was done [`SEARCH_AGAIN`] before `since` or later.
    /// Whether an answer is worth waiting for.
    pub(super) fn search(&mut self, since: Instant) -> bool {
        match self.search {
            Search::Due | Search::Out(_) => true,
            Search::Ended(at) if at + SEARCH_AGAIN >= since => false,
            Search::Untried | Search::Ended(_) => {
                (self.search, self.watched) = (Search::Due, None);
                true
            }
        }
    }

    /// Has holders looked for if it is time to do so for one that is watched since `since`. Whether
    /// all who could answer by then have.
    pub(super) fn watch(&mut self, now: Instant, since: Instant) -> bool {
        self.surveyed = true;
        let fresh = matches!(self.search, Search::Ended(at) if at + SEARCH_AGAIN >= since);
        match self.search {
            Search::Due | Search::Out(_) => return self.watched.is_some_and(|watched| watched >= since),
            _ if !fresh => (self.search, self.pause, self.watched) = (Search::Due, SEARCH_AGAIN, None),
            _ if self.search_at().is_some_and(|at| at <= now) => {
                let pause = (self.pause + self.pause).min(LONGEST_PAUSE);
                (self.search, self.pause, self.watched) = (Search::Due, pause, Some(since));
            }
            _ => {}
        }
        fresh
    }

    /// It is not watched any more.
    pub(super) fn end_survey(&mut self) {
        (self.surveyed, self.watched) = (false, None);
    }

    /// When that is.
    pub(super) fn search_at(&self) -> Option<Instant> {
        let pause = match self.holders.count_ones() {
            count if count >= ENOUGH_HOLDERS => CROWD_PAUSE,
            _ => self.pause,
        };
        match self.search {
            Search::Ended(at) => Some(at + pause),
            Search::Untried => Some(self.used),
            Search::Due | Search::Out(_) => None,
        }
    }
}
