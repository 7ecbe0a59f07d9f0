//! The corridor of what is offered to a hosted cache: from its table of offers to `fetch`, and what came of that
//! back again.

use core::net::SocketAddr;

use crate::crypto::Crypto;
use crate::fetch::{Cause, Fetch, Job, JobId, Outcome};
use crate::hosted::server::{Ended, Known, Server, Wanted};
use crate::limits::rows;
use crate::store::{Storage, Store};
use crate::time::{Duration, Instant, earliest};

/// Blocks asked of clients at a time, over all of them. Of four blocks in flight, one is left for who reads here.
pub const PULLS: usize = rows(16, 3);

/// How long a block is waited for, with all that keeps it from being asked for at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// Blocks that are being asked for.
pub struct Pulls {
    rows: [Option<Pull>; PULLS],
}

struct Pull {
    job: JobId,
    offer: usize,
    index: u32,
    client: SocketAddr,
    bytes: u32,
    until: Instant,
}

impl Default for Pulls {
    fn default() -> Self {
        Self { rows: [const { None }; PULLS] }
    }
}

impl Pulls {
    /// Tells the table what came, and asks for more. Returns whether there may be more to do at once.
    pub fn work(
        &mut self,
        now: Instant,
        server: &mut Server<'_>,
        fetch: &mut Fetch,
        jobs: &mut [Job],
        storage: &mut dyn Storage,
        crypto: &mut dyn Crypto,
    ) -> bool {
        let mut more = self.collect(now, server, fetch, jobs, storage);
        server.expire(now, storage);
        more |= server.check(storage, crypto);
        while Fetch::has_room(jobs) && self.rows.iter().any(Option::is_none) {
            // Another port makes no other client.
            let same = |client: SocketAddr| move |pull: &&Pull| pull.client.ip() == client.ip();
            let asked = |client| self.rows.iter().flatten().filter(same(client)).count();
            let Some(wanted) = server.next(now, storage, &asked) else { break };
            if !self.ask(now, &wanted, fetch, jobs) {
                server.ended(now, wanted.offer, wanted.client, wanted.block.index, Ended::Again);
                break;
            }
            more = true;
        }
        more
    }

    /// When [`work`](Self::work) has something to do without new input.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.rows.iter().flatten().fold(None, |next, pull| earliest(next, Some(pull.until)))
    }

    fn ask(&mut self, now: Instant, wanted: &Wanted, fetch: &mut Fetch, jobs: &mut [Job]) -> bool {
        let &Wanted { offer, client, block, ref known } = wanted;
        let (job, bytes) = match known {
            Known::Length(algorithm, len) => {
                (fetch.want_as_received(now, jobs, block, *algorithm, *len, client), *len)
            }
            Known::Hash(expected, kp) => {
                (fetch.want_of(now, jobs, block, *expected, kp, client), expected.len)
            }
        };
        let (Some(job), Some(row)) = (job, self.rows.iter_mut().find(|row| row.is_none())) else {
            return false;
        };
        *row = Some(Pull { job, offer, index: block.index, client, bytes, until: now + PATIENCE });
        true
    }

    /// Tells what has ended, or takes too long.
    fn collect(
        &mut self,
        now: Instant,
        server: &mut Server<'_>,
        fetch: &mut Fetch,
        jobs: &mut [Job],
        store: &mut dyn Store,
    ) -> bool {
        let mut some = false;
        for row in &mut self.rows {
            let Some(pull) = row else { continue };
            let ended = match Fetch::outcome(jobs, pull.job) {
                Some(outcome) => how(&outcome, pull.bytes),
                None if pull.until <= now => {
                    fetch.expire(now, store, jobs, pull.job);
                    Ended::Again
                }
                None => continue,
            };
            server.ended(now, pull.offer, pull.client, pull.index, ended);
            *row = None;
            some = true;
        }
        some
    }
}

fn how(outcome: &Outcome, bytes: u32) -> Ended {
    if outcome.source.is_some() {
        return Ended::Here(bytes);
    }
    match outcome.failures.last().map(|failure| failure.cause) {
        Some(Cause::NotHeld) => Ended::NotHeld,
        Some(Cause::Unreachable) => Ended::Unreachable,
        Some(Cause::BadReply | Cause::Refused) => Ended::Refused,
        Some(Cause::BadBlock) => Ended::Bad,
        Some(Cause::StoreFull) => Ended::Full,
        Some(Cause::Broken | Cause::NoPeer | Cause::Shunned | Cause::TimedOut | Cause::OnItsWay) | None => {
            Ended::Again
        }
    }
}
