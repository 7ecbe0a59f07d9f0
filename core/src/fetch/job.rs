//! The rows of the table of jobs: a block being looked for, for whom, and how far it is.

use core::net::SocketAddr;

use super::peers::PeerSet;
use super::tick::Tick;
use super::{Ask, Cause, Failure, Failures, Question, Source};
use crate::crypto::{Crypto, Secret};
use crate::store::verify::{Expected, Intake, Verifier};
use crate::store::{BlockId, SlotId, Store};
use crate::time::Instant;

/// A block being looked for: an index into the table of jobs, and its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct JobId {
    pub(super) index: u16,
    pub(super) generation: u32,
}

/// A row of the table of jobs.
pub struct Job {
    pub(super) generation: u32,
    pub(super) work: Option<Work>,
}

pub(super) struct Work {
    pub(super) block: BlockId,
    pub(super) expected: Expected,
    pub(super) trust: Trust,
    pub(super) kp: Secret,
    /// The only one who is asked, if nobody is looked for.
    pub(super) only: Option<SocketAddr>,
    pub(super) since: Tick,
    /// How many readers wait for the outcome.
    pub(super) readers: u8,
    pub(super) state: State,
    /// Whom it was asked of already. Who loses its place meanwhile may be asked twice.
    pub(super) asked: PeerSet,
    /// Nobody else has it: so many hosted caches may be asked.
    pub(super) to_hosted: u8,
    pub(super) failures: Failures,
}

/// What a block is held against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// A hash that is known to be one of the segment's.
    Proven,
    /// A hash that is only said to be.
    Said,
    /// Nothing: a hosted cache without keys keeps it as it comes (fact 47).
    AsReceived,
}

#[allow(clippy::large_enum_variant, reason = "there is no heap to put the large variant on")]
pub(super) enum State {
    Searching,
    /// A peer, by its place, which it keeps meanwhile, and since when.
    Asking(u8, Instant),
    /// The peer sends it unencrypted: it is sealed and verified as it comes, and `None` is left once
    /// it is in the store.
    Taking(u8, Option<Intake>),
    Verifying(u8, SlotId, Verifier),
    Ended(Option<Source>),
}

impl Job {
    /// A row without a job.
    pub const FREE: Self = Self { generation: 0, work: None };

    /// A reader leaves, and if it is the last one the row is free, with what it has in `store`.
    #[inline(never)]
    pub(super) fn leave(&mut self, store: Option<&mut dyn Store>) {
        let Some(work) = &mut self.work else { return };
        work.readers = work.readers.saturating_sub(1);
        if work.readers == 0 {
            store.into_iter().for_each(|store| work.release(store));
            self.work = None;
        }
    }
}

impl Work {
    /// For how long it is being asked for already, in microseconds.
    pub(super) fn took(&self, now: Instant) -> Option<u32> {
        let State::Asking(_, since) = self.state else { return None };
        Some(u32::try_from(now.since(since).micros()).unwrap_or(u32::MAX))
    }

    /// Whether it is being asked of the peer in `place`.
    pub(super) fn is_asking(&self, place: u8) -> bool {
        matches!(self.state, State::Asking(asked, _) | State::Taking(asked, _) if asked == place)
    }

    /// The name under which it is kept; `None` if it cannot be kept.
    pub(super) fn kept_as(&self, crypto: &mut dyn Crypto) -> Option<BlockId> {
        match self.trust {
            Trust::AsReceived => {
                self.block.segment.unverifiable().map(|segment| BlockId { segment, ..self.block })
            }
            trust => Some(self.expected.kept_as(crypto, &self.block, trust == Trust::Proven)),
        }
    }

    /// Gives the slot free that it has in the store.
    pub(super) fn release(&self, store: &mut dyn Store) {
        match &self.state {
            State::Verifying(_, slot, _) => store.release(*slot),
            State::Taking(_, Some(intake)) => store.release(intake.slot()),
            State::Taking(_, None) | State::Searching | State::Asking(..) | State::Ended(_) => {}
        }
    }
}

#[inline(never)]
pub(super) fn job(jobs: &mut [Job], id: JobId) -> Option<&mut Job> {
    jobs.get_mut(usize::from(id.index)).filter(|job| job.generation == id.generation)
}

/// The work that waits for the answer to `ask`.
#[inline(never)]
pub(super) fn work<'a>(jobs: &'a mut [Job], ask: &Ask) -> Option<&'a mut Work> {
    let Question::Block { job: id, .. } = ask.question else { return None };
    job(jobs, id)?.work.as_mut().filter(|work| work.is_asking(ask.place))
}

pub(super) fn note(work: &mut Work, peer: Option<SocketAddr>, cause: Cause) {
    // Past the bound the first ones stay: they are why it went wrong.
    let _ = work.failures.push(Failure { peer, cause });
}
