//! The corridor of a block that we want: store → peers → "missing", and why.
//!
//! A [`Job`] is one block being looked for. [`Fetch`] knows which peers have which segment, whom
//! not to ask for a while, and decides whom to ask next; [`stream`] carries one question to one
//! peer and its answer into the store. The node opens streams and passes results between them.

mod penalty;
mod session;
pub mod stream;

use core::net::SocketAddr;

use heapless::Vec;
use rand_core::CryptoRng;

use crate::crypto::{Crypto, Seal, Secret};
use crate::discovery::client as discovery;
use crate::discovery::wire::ProbeMatches;
use crate::limits::{BLOCK_BYTES, VERIFY_STEP_BYTES};
use crate::store::verify::{Expected, Verifier, VerifyError};
use crate::store::{BlockId, SlotId, Store};
use crate::time::{Duration, Instant};
use penalty::Penalties;
use session::{Asked, Sessions};
use stream::Answer;

/// Failures kept for the answer to "why did this block come from there".
pub const FAILURES_KEPT: usize = 4;

/// Exchanges with one peer at a time.
pub const PEER_WINDOW: usize = 4;

/// A search for a segment's holders is worth this long; a block wanted later has them looked for
/// again, since in a flash crowd holders appear while we download.
pub const SEARCH_AGAIN: Duration = Duration::from_millis(1_000);

/// A block being looked for: an index into the table of jobs, and its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct JobId {
    index: u16,
    generation: u32,
}

/// Where a block came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Source {
    /// The store had it.
    Local,
    /// A peer sent it.
    Peer(#[cfg_attr(feature = "defmt", defmt(Debug2Format))] SocketAddr),
    /// The origin server sent it.
    Origin,
}

/// Why a better source failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Cause {
    /// Nobody answered the probe.
    NoPeer,
    /// Only peers that are shunned answered it.
    Shunned,
    /// The peer does not have the block, or was too busy.
    NotHeld,
    /// No connection came about, or it broke.
    Unreachable,
    /// The exchange took longer than the request timer allows.
    TimedOut,
    /// The peer answered that it would not, in HTTP.
    Refused,
    /// The reply was no proper reply to the request.
    BadReply,
    /// The block was not what the content information says.
    BadBlock,
    /// The store had no room for it.
    StoreFull,
    /// It is being put into the store already, from elsewhere.
    OnItsWay,
}

impl Cause {
    /// The cause in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoPeer => "no peer answered",
            Self::Shunned => "only shunned peers answered",
            Self::NotHeld => "not held",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed out",
            Self::Refused => "refused",
            Self::BadReply => "bad reply",
            Self::BadBlock => "bad block",
            Self::StoreFull => "store full",
            Self::OnItsWay => "on its way already",
        }
    }
}

impl Cause {
    /// Whether it is no peer's doing, so that asking others would not help.
    const fn is_ours(self) -> bool {
        matches!(self, Self::StoreFull | Self::OnItsWay)
    }
}

impl core::fmt::Display for Cause {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failure on the way to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Failure {
    /// Whose, if it was one peer's.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub peer: Option<SocketAddr>,
    /// What.
    pub cause: Cause,
}

/// The failures before a block came, or before it was given up; the first [`FAILURES_KEPT`].
pub type Failures = Vec<Failure, FAILURES_KEPT>;

/// How a job ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Where the block came from; `None` if no peer could give it.
    pub source: Option<Source>,
    /// What failed on the way.
    pub failures: Failures,
}

/// A row of the table of jobs.
pub struct Job {
    generation: u32,
    work: Option<Work>,
}

struct Work {
    block: BlockId,
    expected: Expected,
    kp: Secret,
    since: Instant,
    /// How many readers wait for the outcome.
    readers: u8,
    state: State,
    asked: Asked,
    failures: Failures,
}

#[allow(clippy::large_enum_variant, reason = "there is no heap to put the large variant on")]
enum State {
    Searching,
    Asking(SocketAddr),
    Verifying(SocketAddr, SlotId, Verifier),
    Ended(Option<Source>),
}

/// A question to carry to a peer.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// For whom.
    pub job: JobId,
    /// To whom.
    pub peer: SocketAddr,
    /// What.
    pub block: BlockId,
    /// Bytes of the plaintext.
    pub plain_len: u32,
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Questions sent.
    pub asked: u32,
    /// Blocks received from peers and verified.
    pub verified: u32,
    /// Blocks that did not verify.
    pub bad_blocks: u32,
    /// Replies that were no proper replies.
    pub bad_replies: u32,
    /// Exchanges that ran out of time.
    pub timed_out: u32,
    /// Times a peer was shunned.
    pub shunned: u32,
}

/// The decisions; the table of jobs is the node's and lent to each call.
pub struct Fetch {
    sessions: Sessions,
    penalties: Penalties,
    /// Counters of what happened so far.
    pub counters: Counters,
}

impl Job {
    /// A row without a job.
    pub const FREE: Self = Self { generation: 0, work: None };

    /// Whether this row's job is the one asking `peer`.
    fn is_asking(&self, id: JobId, peer: SocketAddr) -> bool {
        let asking = |work: &Work| matches!(work.state, State::Asking(asked) if asked == peer);
        self.generation == id.generation && self.work.as_ref().is_some_and(asking)
    }
}

impl Fetch {
    /// Nothing known, nobody shunned.
    pub fn new(discovery: discovery::Config) -> Self {
        Self {
            sessions: Sessions::new(discovery),
            penalties: Penalties::default(),
            counters: Counters::default(),
        }
    }

    /// The discovery client, to hand datagrams in and out.
    pub fn discovery(&mut self) -> &mut discovery::Client {
        &mut self.sessions.discovery
    }

    /// Wants `block`. Two readers of the same block share a job; `None` while all jobs are taken.
    pub fn want(
        &mut self,
        now: Instant,
        jobs: &mut [Job],
        block: BlockId,
        expected: Expected,
        kp: &Secret,
    ) -> Option<JobId> {
        let same = |work: &Work| {
            work.block == block && work.expected == expected && !matches!(work.state, State::Ended(_))
        };
        for (index, job) in (0u16..).zip(jobs.iter_mut()) {
            if let Some(work) = job.work.as_mut().filter(|work| same(work)) {
                work.readers = work.readers.checked_add(1)?;
                return Some(JobId { index, generation: job.generation });
            }
        }
        let (index, job) = (0u16..).zip(jobs).find(|(_, job)| job.work.is_none())?;
        job.generation = job.generation.wrapping_add(1);
        job.work = Some(Work {
            block,
            expected,
            kp: kp.clone(),
            since: now,
            readers: 1,
            state: State::Searching,
            asked: 0,
            failures: Vec::new(),
        });
        Some(JobId { index, generation: job.generation })
    }

    /// The outcome, once: a job whose last reader has it is gone.
    pub fn outcome(jobs: &mut [Job], id: JobId) -> Option<Outcome> {
        let job = job(jobs, id)?;
        let work = job.work.as_mut()?;
        let State::Ended(source) = work.state else { return None };
        let failures = work.failures.clone();
        work.readers = work.readers.saturating_sub(1);
        if work.readers == 0 {
            job.work = None;
        }
        Some(Outcome { source, failures })
    }

    /// A reader's time is over: what failed until then. The peer that was being asked was too
    /// slow for it.
    pub fn expire(&mut self, now: Instant, store: &mut dyn Store, jobs: &mut [Job], id: JobId) -> Failures {
        let Some(work) = job(jobs, id).and_then(|job| job.work.as_mut()) else { return Failures::new() };
        let mut failures = work.failures.clone();
        if let State::Asking(peer) = work.state {
            let _ = failures.push(Failure { peer: Some(peer), cause: Cause::TimedOut });
            if work.readers == 1 {
                self.penalties.punish(now, peer, Cause::TimedOut, true);
            }
        }
        Self::cancel(store, jobs, id);
        failures
    }

    /// Whether a job is free.
    pub fn has_room(jobs: &[Job]) -> bool {
        jobs.iter().any(|job| job.work.is_none())
    }

    /// A reader does not want its block any more.
    pub fn cancel(store: &mut dyn Store, jobs: &mut [Job], id: JobId) {
        let Some(job) = job(jobs, id) else { return };
        let Some(work) = job.work.as_mut() else { return };
        work.readers = work.readers.saturating_sub(1);
        if work.readers == 0 {
            if let State::Verifying(_, slot, _) = work.state {
                store.release(slot);
            }
            // A stream that is still asking finds its job gone and is closed.
            job.work = None;
        }
    }

    /// Whether the job still waits for `peer`'s answer.
    pub fn is_asking(jobs: &[Job], id: JobId, peer: SocketAddr) -> bool {
        jobs.get(usize::from(id.index)).is_some_and(|job| job.is_asking(id, peer))
    }

    /// Takes what `peer` answered.
    pub fn answered(
        &mut self,
        now: Instant,
        jobs: &mut [Job],
        store: &mut dyn Store,
        crypto: &mut dyn Crypto,
        ask: (JobId, SocketAddr),
        answer: Answer,
    ) {
        let (id, peer) = ask;
        let work = job(jobs, id).filter(|job| job.is_asking(id, peer)).and_then(|job| job.work.as_mut());
        let Some(work) = work else {
            if let Answer::Sealed { slot, .. } = answer {
                store.release(slot);
            }
            return;
        };
        let cause = match answer {
            Answer::Sealed { slot, seal, len } => match sealed(work, crypto, peer, slot, seal, len) {
                Ok(()) => return,
                Err(_) => {
                    store.release(slot);
                    Cause::BadBlock
                }
            },
            Answer::Failed(cause) => cause,
        };
        self.failed(now, work, peer, cause);
    }

    /// Works on what needs no stream: searches, and a few KiB of verifying. Returns whether
    /// anything moved, so that there may be more to do at once.
    pub fn work(
        &mut self,
        now: Instant,
        jobs: &mut [Job],
        store: &mut dyn Store,
        crypto: &mut dyn Crypto,
        rng: &mut dyn CryptoRng,
    ) -> bool {
        self.sessions.handle_expired(now);
        let mut more = false;
        for work in jobs.iter_mut().filter_map(|job| job.work.as_mut()) {
            match &mut work.state {
                State::Searching => more |= self.search(now, work),
                State::Verifying(peer, slot, verifier) => {
                    let (peer, slot) = (*peer, *slot);
                    match verifier.step(store, crypto, &work.kp, VERIFY_STEP_BYTES) {
                        Ok(true) => {
                            more = true;
                            self.penalties.forgive(peer);
                            self.counters.verified = self.counters.verified.wrapping_add(1);
                            work.state = State::Ended(Some(Source::Peer(peer)));
                        }
                        Ok(false) => more = true,
                        Err(error) => {
                            store.release(slot);
                            let cause = match error {
                                VerifyError::Length | VerifyError::Hash | VerifyError::Padding => {
                                    Cause::BadBlock
                                }
                                VerifyError::Seal(_) => Cause::StoreFull,
                            };
                            self.failed(now, work, peer, cause);
                            more = true;
                        }
                    }
                }
                State::Asking(_) | State::Ended(_) => {}
            }
        }
        self.sessions.probe(now, rng);
        more
    }

    /// The next question to carry to a peer, if a peer can be asked; `load` tells how many
    /// exchanges with a peer are under way. Whoever gets a question must answer it by
    /// [`Fetch::answered`].
    pub fn next_ask(
        &mut self,
        now: Instant,
        jobs: &mut [Job],
        rng: &mut dyn CryptoRng,
        load: &dyn Fn(SocketAddr) -> usize,
    ) -> Option<Ask> {
        for (index, job) in (0u16..).zip(jobs) {
            let id = JobId { index, generation: job.generation };
            let Some(work) = job.work.as_mut().filter(|work| matches!(work.state, State::Searching)) else {
                continue;
            };
            // Of those that can be asked, the least loaded; among equals, any, so that not
            // everybody turns to the same one.
            let start = rng.next_u32();
            let mut best: Option<(usize, u32, Asked, SocketAddr)> = None;
            for (bit, peer) in self.askable(now, work) {
                let load = load(peer);
                let turn = u32::from(bit).wrapping_add(start).wrapping_mul(0x9e37_79b1);
                if load < PEER_WINDOW && best.is_none_or(|(least, first, ..)| (load, turn) < (least, first)) {
                    best = Some((load, turn, bit, peer));
                }
            }
            if let Some((_, _, bit, peer)) = best {
                work.asked |= bit;
                work.state = State::Asking(peer);
                self.counters.asked = self.counters.asked.wrapping_add(1);
                return Some(Ask { job: id, peer, block: work.block, plain_len: work.expected.len });
            }
        }
        None
    }

    /// No stream or socket was free for a question: it is asked again later.
    pub fn not_carried(&mut self, jobs: &mut [Job], id: JobId, asked: SocketAddr) {
        let work = job(jobs, id).filter(|job| job.is_asking(id, asked)).and_then(|job| job.work.as_mut());
        if let Some(work) = work {
            let bit = self.sessions.peers(&work.block.segment).find(|(_, peer)| *peer == asked);
            work.asked &= !bit.map_or(0, |(bit, _)| bit);
            work.state = State::Searching;
            self.counters.asked = self.counters.asked.wrapping_sub(1);
        }
    }

    /// Takes answers to our probes; `is_us` tells our own address, where we need not ask.
    pub fn handle_matches(
        &mut self,
        now: Instant,
        from: SocketAddr,
        matches: &ProbeMatches<'_>,
        is_us: &dyn Fn(SocketAddr) -> bool,
    ) {
        self.sessions.handle_matches(now, from, matches, is_us);
    }

    /// What happened to our probes.
    pub fn probe_counters(&self) -> discovery::Counters {
        self.sessions.discovery.counters()
    }

    /// When [`work`](Self::work) has something to do without new input.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sessions.discovery.poll_timeout()
    }

    fn askable<'a>(&'a self, now: Instant, work: &'a Work) -> impl Iterator<Item = (Asked, SocketAddr)> + 'a {
        self.sessions
            .peers(&work.block.segment)
            .filter(move |(bit, peer)| work.asked & bit == 0 && !self.penalties.is_shunned(now, *peer))
    }

    /// Moves a search on: waits, has its segment probed for, or gives up; whether it gave up.
    fn search(&mut self, now: Instant, work: &mut Work) -> bool {
        if self.askable(now, work).next().is_some() {
            return false;
        }
        if self.sessions.search(&work.block.segment, work.since) {
            return false;
        }
        if work.asked == 0 {
            let anybody = self.sessions.peers(&work.block.segment).next().is_some();
            note(work, None, if anybody { Cause::Shunned } else { Cause::NoPeer });
        }
        work.state = State::Ended(None);
        true
    }

    fn failed(&mut self, now: Instant, work: &mut Work, peer: SocketAddr, cause: Cause) {
        note(work, (!cause.is_ours()).then_some(peer), cause);
        let counter = match cause {
            Cause::BadBlock => Some(&mut self.counters.bad_blocks),
            Cause::BadReply => Some(&mut self.counters.bad_replies),
            Cause::TimedOut => Some(&mut self.counters.timed_out),
            _ => None,
        };
        if let Some(counter) = counter {
            *counter = counter.wrapping_add(1);
        }
        // HoD binds block hashes, and not the length of a segment's last block: what does not fit
        // it may be the fault of whoever wrote the content information.
        let certain = work.expected.len == BLOCK_BYTES;
        if self.penalties.punish(now, peer, cause, certain) {
            debug!("peer shunned");
            self.counters.shunned = self.counters.shunned.wrapping_add(1);
        }
        work.state = if cause.is_ours() { State::Ended(None) } else { State::Searching };
    }
}

fn job(jobs: &mut [Job], id: JobId) -> Option<&mut Job> {
    jobs.get_mut(usize::from(id.index)).filter(|job| job.generation == id.generation)
}

fn sealed(
    work: &mut Work,
    crypto: &mut dyn Crypto,
    peer: SocketAddr,
    slot: SlotId,
    seal: Seal,
    len: u32,
) -> Result<(), VerifyError> {
    let verifier = Verifier::new(crypto, slot, seal, len, work.expected)?;
    work.state = State::Verifying(peer, slot, verifier);
    Ok(())
}

fn note(work: &mut Work, peer: Option<SocketAddr>, cause: Cause) {
    // Past the bound the first ones stay: they are why it went wrong.
    let _ = work.failures.push(Failure { peer, cause });
}

#[cfg(test)]
mod tests;
