//! Who has which segment: what probes have found, and when to probe again.

use core::net::SocketAddr;

use heapless::Vec;
use rand_core::CryptoRng;

use super::SEARCH_AGAIN;
use crate::content::SegmentId;
use crate::discovery::client::{Client, Config, ProbeError, ProbeId};
use crate::time::Instant;

/// Segments with known holders; past that the one probed for longest ago is forgotten.
const SESSIONS: usize = 16;

/// Holders remembered of a segment: as many as a [`Asked`] has bits.
const HOLDERS: usize = Asked::BITS as usize;

/// Which holders of a segment have been asked, by their place in its table. Should the segment be
/// forgotten and found again meanwhile, somebody may be asked twice, or not at all.
pub(super) type Asked = u16;

pub(super) struct Sessions {
    pub(super) discovery: Client,
    table: Vec<Session, SESSIONS>,
}

struct Session {
    segment: SegmentId,
    search: Search,
    holders: Vec<Holder, HOLDERS>,
}

struct Holder {
    peer: SocketAddr,
    /// It has answered the latest probe that ended, or the one that is out.
    recent: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Search {
    /// A probe is to go out.
    Due,
    /// A probe is out.
    Out(ProbeId),
    /// The last probe's time ran out then.
    Ended(Instant),
}

impl Sessions {
    pub(super) fn new(config: Config) -> Self {
        Self { discovery: Client::new(config), table: Vec::new() }
    }

    /// Known holders of `segment`, each with the bit that it has in [`Asked`].
    pub(super) fn peers(&self, segment: &SegmentId) -> impl Iterator<Item = (Asked, SocketAddr)> + '_ {
        let session = self.table.iter().find(|session| session.segment == *segment);
        let holders =
            session.into_iter().flat_map(|session| session.holders.iter().map(|holder| holder.peer));
        (0..Asked::BITS).map(|bit| 1 << bit).zip(holders)
    }

    /// Has holders of `segment` looked for, unless that was done [`SEARCH_AGAIN`] before `since`
    /// or later. Whether an answer is worth waiting for.
    pub(super) fn search(&mut self, segment: &SegmentId, since: Instant) -> bool {
        let Some(session) = self.table.iter_mut().find(|session| session.segment == *segment) else {
            return self.begin(segment);
        };
        match session.search {
            Search::Due | Search::Out(_) => true,
            Search::Ended(at) if at + SEARCH_AGAIN < since => {
                session.search = Search::Due;
                session.holders.iter_mut().for_each(|holder| holder.recent = false);
                true
            }
            Search::Ended(_) => false,
        }
    }

    /// Sends a probe for all segments that are due, as many as fit one message.
    pub(super) fn probe(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        let mut due: Vec<SegmentId, SESSIONS> = Vec::new();
        for session in self.table.iter().filter(|session| session.search == Search::Due) {
            // There is room for every session.
            let _ = due.push(session.segment);
        }
        if due.is_empty() {
            return;
        }
        let mut probe = self.discovery.probe(now, rng, &due);
        if let Err(ProbeError::TooManyIds { fitting }) = probe {
            due.truncate(fitting);
            probe = self.discovery.probe(now, rng, &due);
        }
        // With too many probes out, the segments stay due until one of them ends.
        let Ok(probe) = probe else { return };
        for session in self.table.iter_mut().filter(|session| due.contains(&session.segment)) {
            session.search = Search::Out(probe);
        }
    }

    /// Takes what the discovery client has found in `datagram`.
    pub(super) fn handle_matches(
        &mut self,
        now: Instant,
        from: SocketAddr,
        matches: &crate::discovery::wire::ProbeMatches<'_>,
        is_us: &dyn Fn(SocketAddr) -> bool,
    ) {
        let table = &mut self.table;
        self.discovery.handle_matches(now, from, matches, &mut |found| {
            if is_us(found.peer) {
                return;
            }
            if let Some(session) = table.iter_mut().find(|session| session.segment == found.segment) {
                session.found(found.peer);
            }
        });
    }

    /// Ends searches whose request timer has run out.
    pub(super) fn handle_expired(&mut self, now: Instant) {
        while let Some(probe) = self.discovery.poll_expired(now) {
            for session in self.table.iter_mut().filter(|session| session.search == Search::Out(probe)) {
                session.search = Search::Ended(now);
                session.forget_absent();
            }
        }
    }

    fn begin(&mut self, segment: &SegmentId) -> bool {
        let session = Session { segment: *segment, search: Search::Due, holders: Vec::new() };
        if let Err(session) = self.table.push(session) {
            let ended = |session: &Session| match session.search {
                Search::Ended(at) => Some(at),
                _ => None,
            };
            let oldest =
                self.table.iter_mut().filter(|session| ended(session).is_some()).min_by_key(|s| ended(s));
            match oldest {
                Some(oldest) => *oldest = session,
                // All are being searched for: this one waits for its turn.
                None => return true,
            }
        }
        true
    }
}

impl Session {
    /// A peer has answered. Where there is no room, it takes the place of one that has not.
    fn found(&mut self, peer: SocketAddr) {
        let holder = Holder { peer, recent: true };
        if let Some(known) = self.holders.iter_mut().find(|known| known.peer == peer) {
            known.recent = true;
        } else if let Err(holder) = self.holders.push(holder)
            && let Some(absent) = self.holders.iter_mut().find(|known| !known.recent)
        {
            *absent = holder;
        }
    }

    /// Holders that no longer answer are forgotten, unless nobody answered: then the probe may
    /// have been lost.
    fn forget_absent(&mut self) {
        if self.holders.iter().any(|holder| holder.recent) {
            self.holders.retain(|holder| holder.recent);
        }
    }
}
