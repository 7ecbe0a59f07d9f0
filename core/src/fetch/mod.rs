//! The corridor of a block that we want: store → peers → hosted cache → "missing", and why.
//!
//! A [`Job`] is one block being looked for. [`Fetch`] knows which peers have which segment, whom
//! not to ask for a while, and decides whom to ask next and for how much; [`stream`] carries one
//! question to one peer and its answer into the store. The node opens streams and passes results
//! between them.

mod crowd;
mod holdings;
mod job;
mod peers;
pub mod stream;
mod tick;
mod why;

use core::net::SocketAddr;

use heapless::Vec;
use rand_core::CryptoRng;

pub use self::crowd::{Crowd, GETTERS, MAX_LISTS, Survey};
pub use self::holdings::{MAX_SEGMENTS, SEARCH_AGAIN};
pub use self::job::{Job, JobId};
pub use self::peers::{MAX_PEERS, MAX_WINDOW};
pub use self::why::{Cause, FAILURES_KEPT, Failure, Failures, Outcome, Source};
use crate::content::SegmentId;
use crate::crypto::{CipherAlgorithm, Crypto, Digest, HashAlgorithm, Seal, Secret};
use crate::discovery::client as discovery;
use crate::discovery::wire::ProbeMatches;
use crate::limits::{BLOCK_BYTES, HOSTED_CACHES, SEGMENT_BLOCKS, VERIFY_STEP_BYTES};
use crate::retrieval::set::IndexSet;
use crate::store::verify::{Expected, Intake, Verifier, VerifyError, keep_as_received};
use crate::store::{BlockId, ReserveError, Store};
use crate::time::Instant;
use crowd::{Heard, Lists};
use holdings::Holdings;
use job::{State, Trust, Work, job, note, work};
use peers::{PeerSet, Peers, only, places};
use stream::Answer;
use tick::Tick;

/// What can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Probing.
    pub discovery: discovery::Config,
    /// Where hosted caches serve blocks: asked for what no peer has, the next where one cannot be.
    pub hosted: Vec<SocketAddr, HOSTED_CACHES>,
    /// Whether peers are looked for (distributed mode). Without it, nothing is probed for.
    pub distributed: bool,
    /// How what comes unencrypted is encrypted on its way into the store.
    pub cipher: CipherAlgorithm,
}

impl Default for Config {
    /// Distributed mode, no hosted cache, AES-128.
    fn default() -> Self {
        Self {
            discovery: discovery::Config::default(),
            hosted: Vec::new(),
            distributed: true,
            cipher: CipherAlgorithm::Aes128,
        }
    }
}

/// A question to carry to a peer.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// To whom.
    pub peer: SocketAddr,
    /// Its place in the table of peers, which it keeps until the question is over.
    place: u8,
    /// What.
    pub question: Question,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub enum Question {
    /// For a block (MSG_GETBLKS).
    Block {
        /// For whom.
        job: JobId,
        /// Which.
        block: BlockId,
        /// Bytes of its plaintext.
        plain_len: u32,
    },
    /// Which blocks there are (MSG_GETBLKLIST).
    List {
        /// Of which segment.
        segment: SegmentId,
        /// How many it has.
        blocks: u32,
    },
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Blocks asked for.
    pub asked: u32,
    /// Lists of blocks asked for.
    pub lists: u32,
    /// Blocks received from peers and verified.
    pub verified: u32,
    /// Blocks kept as they came from who offered them.
    pub received: u32,
    /// Blocks that did not verify.
    pub bad_blocks: u32,
    /// Replies that were no proper replies.
    pub bad_replies: u32,
    /// Exchanges that ran out of time.
    pub timed_out: u32,
    /// Times a peer was shunned.
    pub shunned: u32,
    /// Peers that answered while the table of peers had no place for them.
    pub surplus: u32,
}

/// The decisions; the table of jobs is the node's and lent to each call.
pub struct Fetch {
    holdings: Holdings,
    peers: Peers,
    lists: Lists,
    heard: Heard,
    hosted: Vec<SocketAddr, HOSTED_CACHES>,
    distributed: bool,
    cipher: CipherAlgorithm,
    /// The address by which others know us.
    us: Option<SocketAddr>,
    news: u32,
    /// Counters of what happened so far.
    pub counters: Counters,
}

impl Fetch {
    /// Nothing known, nobody shunned.
    // Inlined, it is built where the node is, and never lies on the stack beside it.
    #[inline(always)]
    pub fn new(config: Config) -> Self {
        Self {
            holdings: Holdings::new(config.discovery),
            peers: Peers::default(),
            lists: Lists::default(),
            heard: Heard::default(),
            hosted: config.hosted,
            distributed: config.distributed,
            cipher: config.cipher,
            us: None,
            news: 0,
            counters: Counters::default(),
        }
    }

    /// The discovery client, to hand datagrams in and out.
    pub fn discovery(&mut self) -> &mut discovery::Client {
        &mut self.holdings.discovery
    }

    /// Tells the address under which our own blocks are served.
    pub fn set_us(&mut self, us: Option<SocketAddr>) {
        self.us = us;
    }

    /// Tells where hosted caches serve blocks, of which the first [`HOSTED_CACHES`] count.
    pub fn set_hosted(&mut self, hosted: &[SocketAddr]) {
        self.hosted = hosted.iter().copied().take(HOSTED_CACHES).collect();
    }

    /// Changes whenever more may be known of who has what.
    pub fn news(&self) -> u32 {
        self.news
    }

    /// Wants `block`, whose hash is `proven` to be one of its segment, or only said to be. Two readers of the same block share a job; `None` while all jobs are taken.
    pub fn want(
        &mut self,
        now: Instant,
        jobs: &mut [Job],
        block: BlockId,
        expected: Expected,
        proven: bool,
        kp: &Secret,
    ) -> Option<JobId> {
        let trust = if proven { Trust::Proven } else { Trust::Said };
        Self::begin(now, jobs, block, expected, trust, kp, None)
    }

    /// Wants `block` of `client`, and of nobody else: what it offers to a hosted cache.
    pub fn want_of(
        &mut self,
        now: Instant,
        jobs: &mut [Job],
        block: BlockId,
        expected: Expected,
        kp: &Secret,
        client: SocketAddr,
    ) -> Option<JobId> {
        Self::begin(now, jobs, block, expected, Trust::Proven, kp, Some(client))
    }

    /// The same of a block of which only the length of its plaintext is known: it is kept as it comes, apart
    /// from what is verified (fact 47). It has to be encrypted.
    pub fn want_as_received(
        &mut self,
        now: Instant,
        jobs: &mut [Job],
        block: BlockId,
        algorithm: HashAlgorithm,
        len: u32,
        client: SocketAddr,
    ) -> Option<JobId> {
        let expected = Expected { algorithm, hash: Digest::EMPTY, len };
        Self::begin(now, jobs, block, expected, Trust::AsReceived, &Secret::EMPTY, Some(client))
    }

    #[allow(clippy::too_many_arguments, reason = "what a row is made of")]
    fn begin(
        now: Instant,
        jobs: &mut [Job],
        block: BlockId,
        expected: Expected,
        trust: Trust,
        kp: &Secret,
        only: Option<SocketAddr>,
    ) -> Option<JobId> {
        let same = |work: &Work| {
            work.block == block
                && work.expected == expected
                && work.trust == trust
                && work.only == only
                && !matches!(work.state, State::Ended(_))
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
            trust,
            kp: kp.clone(),
            only,
            since: Tick::of(now),
            readers: 1,
            state: State::Searching,
            asked: 0,
            to_hosted: 0,
            failures: Vec::new(),
        });
        Some(JobId { index, generation: job.generation })
    }

    /// The outcome, once: a job whose last reader has it is gone.
    pub fn outcome(jobs: &mut [Job], id: JobId) -> Option<Outcome> {
        let row = job(jobs, id)?;
        let work = row.work.as_mut()?;
        let State::Ended(source) = work.state else { return None };
        let failures = work.failures.clone();
        row.leave(None);
        Some(Outcome { source, failures })
    }

    /// A reader's time is over: what failed until then. The peer that was being asked was too
    /// slow for it.
    pub fn expire(&mut self, now: Instant, store: &mut dyn Store, jobs: &mut [Job], id: JobId) -> Failures {
        let Some(work) = job(jobs, id).and_then(|job| job.work.as_mut()) else { return Failures::new() };
        let mut failures = work.failures.clone();
        if let State::Asking(place, _) | State::Taking(place, _) = work.state {
            let _ = failures.push(Failure { peer: self.peers.address(place), cause: Cause::TimedOut });
            if work.readers == 1 {
                self.peers.punish(Tick::of(now), place, Cause::TimedOut, true);
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
        // A stream that is still asking finds its job gone and is closed.
        if let Some(row) = job(jobs, id) {
            row.leave(Some(store));
        }
    }

    /// Whether somebody still waits for the answer to `ask`.
    pub fn is_awaited(&self, jobs: &[Job], ask: &Ask) -> bool {
        match ask.question {
            Question::Block { job, .. } => {
                let row = jobs.get(usize::from(job.index)).filter(|row| row.generation == job.generation);
                row.and_then(|row| row.work.as_ref()).is_some_and(|work| work.is_asking(ask.place))
            }
            Question::List { segment, .. } => self.lists.is_asked(&segment, ask.place),
        }
    }

    /// The name under which the block is kept that `ask` is for; `None` if nobody awaits it any more.
    pub fn kept_as(&self, jobs: &mut [Job], crypto: &mut dyn Crypto, ask: &Ask) -> Option<BlockId> {
        let work = work(jobs, ask)?;
        work.kept_as(crypto)
    }

    /// Takes the next bytes of a block that its peer sends unencrypted: seals them on their way
    /// into the store, where nothing is kept in clear. `Ok(true)` once the block is in it.
    pub fn take_plain(
        &mut self,
        jobs: &mut [Job],
        store: &mut dyn Store,
        crypto: &mut dyn Crypto,
        rng: &mut dyn CryptoRng,
        ask: &Ask,
        bytes: &[u8],
    ) -> Result<bool, Cause> {
        let work = work(jobs, ask).ok_or(Cause::NotHeld)?;
        // What nobody here has a key for cannot be sealed.
        if work.trust == Trust::AsReceived {
            return Err(Cause::Refused);
        }
        if let State::Asking(place, _) = work.state {
            let len = self.cipher.sealed_len(work.expected.len);
            let kept = work.kept_as(crypto).ok_or(Cause::NotHeld)?;
            let slot = store.reserve(&kept, len).map_err(cannot_reserve)?;
            // MS-PCCRR 5.1: an IV suitable for the cipher: fresh for each encryption.
            let mut iv = [0; 16];
            rng.fill_bytes(&mut iv);
            let seal = Seal { algorithm: self.cipher, iv };
            work.state = State::Taking(place, Some(Intake::new(crypto, slot, seal, work.expected)));
        }
        let State::Taking(_, taking) = &mut work.state else { return Err(Cause::BadReply) };
        let intake = taking.as_mut().ok_or(Cause::BadReply)?;
        let (_, committed) = intake.update(store, crypto, &work.kp, bytes).map_err(|error| why(&error))?;
        if committed {
            *taking = None;
        }
        Ok(committed)
    }

    /// Takes the answer to `ask`, or how it ended without one. Each question that
    /// [`next_ask`](Self::next_ask) gave out ends here or in [`not_carried`](Self::not_carried).
    pub fn answered(
        &mut self,
        now: Instant,
        jobs: &mut [Job],
        store: &mut dyn Store,
        crypto: &mut dyn Crypto,
        ask: &Ask,
        answer: Answer,
    ) {
        let tick = Tick::of(now);
        let place = ask.place;
        self.peers.over(place);
        if let Question::List { segment, blocks } = &ask.question {
            return self.listed(tick, place, segment, *blocks, &answer);
        }
        let Some(work) = work(jobs, ask) else {
            if let Answer::Sealed { slot, .. } = answer {
                store.release(slot);
            }
            return;
        };
        let cause = match answer {
            Answer::Sealed { slot, seal, len } if work.trust == Trust::AsReceived => {
                let plain_len = work.expected.len;
                let result = match work.kept_as(crypto) {
                    Some(kept) => keep_as_received(store, &kept, slot, seal, len, plain_len),
                    None => Err(VerifyError::Length),
                };
                match result {
                    Ok(()) => {
                        if let Some(took) = work.took(now) {
                            self.peers.answered(tick, place, took, plain_len);
                        }
                        self.peers.made_up(place);
                        self.counters.received = self.counters.received.wrapping_add(1);
                        work.state = State::Ended(self.peers.address(place).map(Source::Peer));
                        return;
                    }
                    Err(error) => {
                        store.release(slot);
                        why(&error)
                    }
                }
            }
            Answer::Sealed { slot, seal, len } => match Verifier::new(crypto, slot, seal, len, work.expected)
            {
                Ok(verifier) => {
                    if let Some(took) = work.took(now) {
                        self.peers.answered(tick, place, took, work.expected.len);
                    }
                    self.peers.on_trial |= only(place);
                    work.state = State::Verifying(place, slot, verifier);
                    return;
                }
                Err(_) => {
                    store.release(slot);
                    Cause::BadBlock
                }
            },
            Answer::Taken => {
                self.peers.heard(tick, place);
                return self.verified(work, place);
            }
            Answer::Listed(_) => Cause::BadReply,
            Answer::Failed(cause) => cause,
        };
        work.release(store);
        self.failed(now, work, place, cause);
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
        let mut more = self.holdings.handle_expired(now);
        if more {
            self.news = self.news.wrapping_add(1);
        }
        let on_trial = |job: &Job| match &job.work {
            Some(Work { state: State::Verifying(place, ..), .. }) => only(*place),
            _ => 0,
        };
        self.peers.on_trial = jobs.iter().fold(0, |set, job| set | on_trial(job));
        for work in jobs.iter_mut().filter_map(|job| job.work.as_mut()) {
            match &mut work.state {
                State::Searching => more |= self.search(now, work),
                State::Verifying(place, slot, verifier) => {
                    let (place, slot) = (*place, *slot);
                    more = true;
                    match verifier.step(store, crypto, &work.kp, VERIFY_STEP_BYTES) {
                        Ok(true) => self.verified(work, place),
                        Ok(false) => {}
                        Err(error) => {
                            store.release(slot);
                            self.failed(now, work, place, why(&error));
                        }
                    }
                }
                State::Asking(..) | State::Taking(..) | State::Ended(_) => {}
            }
        }
        self.holdings.probe(now, rng);
        more
    }

    /// The next question to carry to a peer, of those for which `reach` is true: to others there is no
    /// connection, and none can be made now.
    pub fn next_ask(
        &mut self,
        now: Instant,
        jobs: &mut [Job],
        rng: &mut dyn CryptoRng,
        reach: &dyn Fn(SocketAddr) -> bool,
    ) -> Option<Ask> {
        let tick = Tick::of(now);
        if let Some(ask) = self.next_list(tick, reach) {
            return Some(ask);
        }
        for (index, job) in (0u16..).zip(jobs) {
            let id = JobId { index, generation: job.generation };
            let Some(work) = job.work.as_mut().filter(|work| matches!(work.state, State::Searching)) else {
                continue;
            };
            // Of those that can be asked, the least loaded; among equals, any, so that not
            // everybody turns to the same one.
            let askable = self.askable(tick, work);
            let start = if askable.is_power_of_two() { 0 } else { rng.next_u32() };
            let mut best = None;
            for place in places(askable) {
                let turn = u32::from(place).wrapping_add(start).wrapping_mul(0x9e37_79b1);
                let rank = (self.peers.load(place).0, turn);
                if best.is_none_or(|(least, _)| rank < least) && self.peers.is_free(place, reach) {
                    best = Some((rank, place));
                }
            }
            let Some((_, place)) = best else { continue };
            let Some(peer) = self.peers.address(place) else { continue };
            work.asked |= only(place);
            work.state = State::Asking(place, now);
            self.peers.asked(place);
            self.counters.asked = self.counters.asked.wrapping_add(1);
            let question = Question::Block { job: id, block: work.block, plain_len: work.expected.len };
            return Some(Ask { peer, place, question });
        }
        None
    }

    /// No stream or socket was free for a question: it is asked again later.
    pub fn not_carried(&mut self, now: Instant, jobs: &mut [Job], ask: &Ask) {
        self.peers.over(ask.place);
        match &ask.question {
            Question::List { segment, .. } => {
                self.lists.ask(Tick::of(now), crowd::key(segment), ask.place, false);
                self.counters.lists = self.counters.lists.wrapping_sub(1);
            }
            Question::Block { .. } => {
                self.counters.asked = self.counters.asked.wrapping_sub(1);
                let Some(work) = work(jobs, ask) else { return };
                work.asked &= !only(ask.place);
                work.state = State::Searching;
            }
        }
    }

    /// A peer did not take the connection that a question was for, but there are `others`: it is asked over
    /// those, and for no more at a time than they carry.
    pub fn crowded(&mut self, now: Instant, jobs: &mut [Job], ask: &Ask, others: u8) {
        self.not_carried(now, jobs, ask);
        self.peers.crowded(ask.place, others);
    }

    /// Takes answers to our probes; `is_us` tells our own address, where we need not ask.
    pub fn handle_matches(
        &mut self,
        now: Instant,
        from: SocketAddr,
        matches: &ProbeMatches<'_>,
        is_us: &dyn Fn(SocketAddr) -> bool,
    ) {
        let Self { holdings: Holdings { discovery, table, .. }, peers, lists, counters, news, .. } = self;
        let tick = Tick::of(now);
        discovery.handle_matches(now, from, matches, &mut |one| {
            if is_us(one.peer) {
                return;
            }
            let Some((place, instead)) = peers.meet(tick, one.peer) else {
                counters.surplus = counters.surplus.wrapping_add(1);
                return;
            };
            if instead {
                holdings::forget(table, place);
                lists.forget(place);
            }
            holdings::found(table, &one, place);
            *news = news.wrapping_add(1);
        });
    }

    /// What happened to our probes.
    pub fn probe_counters(&self) -> discovery::Counters {
        self.holdings.discovery.counters()
    }

    /// When [`work`](Self::work) has something to do without new input.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.holdings.discovery.poll_timeout()
    }

    /// Whom to ask for a block, in whatever order.
    #[inline(never)]
    fn askable(&self, now: Tick, work: &Work) -> PeerSet {
        if let Some(only) = work.only {
            let place = self.peers.place(only).map_or(0, self::only);
            return self.peers.willing(now, place & !work.asked);
        }
        let BlockId { segment, index } = &work.block;
        let (mut holders, partial) =
            self.holdings.get(segment).map_or((0, 0), |holding| (holding.holders, holding.partial));
        let hosted = self.hosted.iter().take(work.to_hosted.into());
        hosted.filter_map(|hosted| self.peers.place(*hosted)).for_each(|place| holders |= only(place));
        let mut willing = self.peers.willing(now, holders & !work.asked);
        // Who has it all by now has more than its last list said.
        for place in places(willing & partial) {
            if self.lists.denies(now, segment, *index, place) {
                willing &= !only(place);
            }
        }
        willing
    }

    /// Moves a search on: waits, has its segment probed for, turns to the hosted cache, or gives
    /// up; whether it gave up.
    fn search(&mut self, now: Instant, work: &mut Work) -> bool {
        let now = Tick::of(now);
        if self.askable(now, work) != 0 {
            return false;
        }
        let (segment, algorithm) = (&work.block.segment, work.expected.algorithm);
        if let Some(only) = work.only {
            return self.search_one(now, work, only);
        }
        if self.distributed {
            let trusted = self.peers.trusted(now);
            let Some(holding) = self.holdings.meet(segment, algorithm, SEGMENT_BLOCKS, trusted) else {
                return false;
            };
            let may = self.peers.willing(now, holding.holders & trusted & !work.asked);
            if may != 0 && holding.is_untried() {
                return true;
            }
            if holding.search(now, work.since) {
                return false;
            }
        }
        if let Some(hosted) = self.next_hosted(now, work) {
            work.to_hosted = work.to_hosted.saturating_add(1);
            self.meet(now, hosted);
            return true;
        }
        if work.asked == 0 {
            let holders = self.holdings.holders(segment);
            let cause = match self.peers.willing(now, holders) {
                _ if holders == 0 => Cause::NoPeer,
                0 => Cause::Shunned,
                _ => Cause::NotHeld,
            };
            note(work, None, cause);
        }
        work.state = State::Ended(None);
        true
    }

    /// The hosted cache to turn to: the first one, and the next only where those before it cannot be asked.
    fn next_hosted(&self, now: Tick, work: &Work) -> Option<SocketAddr> {
        let before = self.hosted.iter().take(work.to_hosted.into());
        let places =
            before.filter_map(|hosted| self.peers.place(*hosted)).fold(0, |set, place| set | only(place));
        let answered = self.peers.willing(now, places & work.asked) != 0;
        self.hosted.get(usize::from(work.to_hosted)).copied().filter(|_| !answered)
    }

    /// A place for a peer; what was noted of whoever has lost it is forgotten.
    #[inline(never)]
    fn meet(&mut self, now: Tick, peer: SocketAddr) -> Option<u8> {
        let (place, instead) = self.peers.meet(now, peer)?;
        if instead {
            holdings::forget(&mut self.holdings.table, place);
            self.lists.forget(place);
        }
        Some(place)
    }

    /// Gets to know the only one who is asked, or gives up: it was asked, or is not asked for a while.
    fn search_one(&mut self, now: Tick, work: &mut Work, only: SocketAddr) -> bool {
        if work.asked == 0 && self.peers.place(only).is_none() {
            if self.meet(now, only).is_none() {
                // All whom we know are at work. Who waits here would keep others from being asked.
                note(work, None, Cause::NoPeer);
                work.state = State::Ended(None);
            }
            return true;
        }
        let place = self.peers.place(only).map_or(0, self::only);
        if work.asked == 0 && self.peers.willing(now, place) == 0 {
            note(work, Some(only), Cause::Shunned);
        }
        work.state = State::Ended(None);
        true
    }

    fn verified(&mut self, work: &mut Work, place: u8) {
        self.peers.trust(place);
        self.counters.verified = self.counters.verified.wrapping_add(1);
        let source = |peer| match self.hosted.contains(&peer) {
            true => Source::HostedCache(peer),
            false => Source::Peer(peer),
        };
        work.state = State::Ended(self.peers.address(place).map(source));
    }

    fn failed(&mut self, now: Instant, work: &mut Work, place: u8, cause: Cause) {
        note(work, if cause.is_ours() { None } else { self.peers.address(place) }, cause);
        let tick = Tick::of(now);
        if let (Cause::NotHeld, Some(took)) = (cause, work.took(now)) {
            let rests = self.peers.disappoint(tick, place, took);
            self.shunned(rests);
            self.holdings.lacks(&work.block.segment, place);
        }
        // A hash that nothing proves accuses nobody. HoD binds block hashes, and not the length of a segment's last block, nor that of the only
        // one in version 2: what does not fit it may be the fault of whoever wrote the content
        // information.
        let version1 = work.expected.algorithm != HashAlgorithm::TruncatedSha512;
        let certain = work.trust == Trust::Proven && version1 && work.expected.len == BLOCK_BYTES;
        // Nor does a hosted cache answer for what it cannot verify (fact 47).
        let certain = certain && self.peers.address(place).is_none_or(|peer| !self.hosted.contains(&peer));
        self.blame(tick, place, cause, certain);
        work.state = if cause.is_ours() { State::Ended(None) } else { State::Searching };
    }

    /// Counts a failure, and what it means for the peer.
    #[inline(never)]
    fn blame(&mut self, now: Tick, place: u8, cause: Cause, certain: bool) {
        let counter = match cause {
            Cause::BadBlock => Some(&mut self.counters.bad_blocks),
            Cause::BadReply => Some(&mut self.counters.bad_replies),
            Cause::TimedOut => Some(&mut self.counters.timed_out),
            _ => None,
        };
        if let Some(counter) = counter {
            *counter = counter.wrapping_add(1);
        }
        let shunned = self.peers.punish(now, place, cause, certain);
        self.shunned(shunned);
    }

    /// Counts a peer that is not asked for a while, if it is so.
    fn shunned(&mut self, is_so: bool) {
        if is_so {
            debug!("peer shunned");
            self.counters.shunned = self.counters.shunned.wrapping_add(1);
            self.news = self.news.wrapping_add(1);
        }
    }

    #[inline(never)]
    fn next_list(&mut self, now: Tick, reach: &dyn Fn(SocketAddr) -> bool) -> Option<Ask> {
        let Self { lists, peers, holdings, counters, .. } = self;
        let can_be_asked = |&(key, place): &(u32, u8)| {
            peers.is_free(place, reach)
                && peers.willing(now, only(place)) != 0
                && holdings.by_key(key).is_some()
        };
        let (key, place) = lists.due().find(can_be_asked)?;
        let (&segment, blocks) = holdings.by_key(key)?;
        let peer = peers.address(place)?;
        lists.ask(now, key, place, true);
        peers.asked(place);
        counters.lists = counters.lists.wrapping_add(1);
        Some(Ask { peer, place, question: Question::List { segment, blocks } })
    }

    #[inline(never)]
    fn listed(&mut self, now: Tick, place: u8, segment: &SegmentId, blocks: u32, answer: &Answer) {
        let all = IndexSet::up_to(blocks);
        let list = match answer {
            Answer::Listed(list) => {
                self.peers.heard(now, place);
                Some(list)
            }
            // Who does not tell has to be asked for each block.
            Answer::Failed(Cause::Refused | Cause::NotHeld) => Some(&all),
            Answer::Failed(cause) => {
                self.blame(now, place, *cause, true);
                None
            }
            Answer::Sealed { .. } | Answer::Taken => None,
        };
        if list == Some(&all)
            && let Some(holding) = self.holdings.get_mut(segment)
        {
            holding.partial &= !only(place);
        }
        // A hosted cache that does not tell what it has is asked for each block.
        let all = IndexSet::up_to(SEGMENT_BLOCKS);
        let is_hosted = self.peers.address(place).is_some_and(|peer| self.hosted.contains(&peer));
        self.lists.known(now, segment, place, list.or(is_hosted.then_some(&all)));
        self.news = self.news.wrapping_add(1);
    }
}

const fn why(error: &VerifyError) -> Cause {
    match error {
        VerifyError::Length | VerifyError::Hash | VerifyError::Padding => Cause::BadBlock,
        VerifyError::Seal(_) => Cause::StoreFull,
    }
}

pub(crate) const fn cannot_reserve(error: ReserveError) -> Cause {
    match error {
        ReserveError::Full => Cause::StoreFull,
        ReserveError::Exists => Cause::OnItsWay,
    }
}

#[cfg(test)]
mod tests;
