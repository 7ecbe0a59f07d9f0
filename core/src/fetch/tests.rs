mod crowd;
mod offered;

use super::crowd::NEIGHBOURS;
use super::*;
use crate::content::SegmentId;
use crate::crypto::{CipherAlgorithm, HashAlgorithm, SoftCrypto, hash};
use crate::discovery::Subnet;
use crate::discovery::server::Server;
use crate::discovery::wire::{Message, parse};
use crate::limits::DOWNLOADS;
use crate::store::ram::{Entry, Page, RamStore};
use crate::store::seal::Sealer;
use crate::time::Duration;
use core::convert::Infallible;
use core::net::Ipv4Addr;
use rand_core::{TryCryptoRng, TryRng};

type TestStore = RamStore<[Page; 4], [Entry; 4], [u8; 0]>;

/// Counts: enough for message ids and gaps that have to differ.
struct Counter(u64);

impl TryRng for Counter {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|word| word as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(1);
        Ok(self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn try_fill_bytes(&mut self, buf: &mut [u8]) -> Result<(), Infallible> {
        buf.iter_mut().for_each(|byte| *byte = self.0 as u8);
        Ok(())
    }
}

impl TryCryptoRng for Counter {}

/// The machine with its surroundings, and the time.
struct World {
    now: Instant,
    fetch: Fetch,
    jobs: [Job; 2],
    store: TestStore,
    rng: Counter,
}

const PLAIN: &[u8] = b"what is stored here";

fn segment() -> SegmentId {
    SegmentId::from_slice(&[7; 32]).unwrap()
}

fn kp() -> Secret {
    Secret::from_slice(&[9; 32]).unwrap()
}

fn peer(last: u8) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, last), 80).into()
}

impl World {
    fn new() -> Self {
        Self {
            now: Instant::from_millis(1_000),
            fetch: Fetch::new(Config::default()),
            jobs: [const { Job::FREE }; 2],
            store: RamStore::new([const { Page::EMPTY }; 4], [const { Entry::EMPTY }; 4], []),
            rng: Counter(1),
        }
    }

    fn want(&mut self, index: u32) -> Option<JobId> {
        let algorithm = HashAlgorithm::Sha256;
        let expected =
            Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, PLAIN), len: PLAIN.len() as u32 };
        let block = BlockId { segment: segment(), index };
        self.fetch.want(self.now, &mut self.jobs, block, expected, true, &kp())
    }

    fn work(&mut self) -> bool {
        let Self { now, fetch, jobs, store, rng } = self;
        fetch.work(*now, jobs, store, &mut SoftCrypto, rng)
    }

    fn ask(&mut self) -> Option<Ask> {
        let Self { now, fetch, jobs, rng, .. } = self;
        fetch.next_ask(*now, jobs, rng, &|_| true)
    }

    fn answer(&mut self, ask: &Ask, answer: Answer) {
        let Self { now, fetch, jobs, store, .. } = self;
        fetch.answered(*now, jobs, store, &mut SoftCrypto, ask, answer);
    }

    fn outcome(&mut self, job: JobId) -> Option<Outcome> {
        Fetch::outcome(&mut self.jobs, job)
    }

    /// Time passes, and the machine acts.
    fn after(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.work();
    }

    /// The probe goes out, and `peers` answer it. `false` if there is none.
    fn peers_answer(&mut self, peers: &[SocketAddr]) -> bool {
        let mut probe = [0; 1_400];
        let Some((_, len)) = self.fetch.discovery().poll_transmit(self.now, &mut probe) else { return false };
        for peer in peers {
            let mut server = Server::new(1, &mut self.rng);
            server.set_addresses(&[Subnet { address: peer.ip(), prefix: 0 }]);
            let from = (Ipv4Addr::LOCALHOST, 3_702).into();
            let Ok(Message::Probe(asked)) = parse(&probe[..len]) else { panic!("no probe") };
            server.handle_probe(self.now, &mut self.rng, from, &asked, &mut |_| 1);
            let mut buf = [0; 1_400];
            let later = self.now + Duration::from_millis(100);
            let (_, len) = server.poll_transmit(later, peer.port(), &mut buf).unwrap();
            let Ok(Message::ProbeMatches(matches)) = parse(&buf[..len]) else { panic!("no match") };
            self.fetch.handle_matches(self.now, *peer, &matches, &|_| false);
        }
        true
    }

    /// A reserved slot with the block as a peer sent it, its text changed by `flip`.
    fn sealed(&mut self, index: u32, flip: u8) -> Answer {
        self.sealed_in(BlockId { segment: segment(), index }, flip)
    }

    /// The same in a slot of any name.
    fn sealed_in(&mut self, block: BlockId, flip: u8) -> Answer {
        let seal = Seal { algorithm: CipherAlgorithm::Aes128, iv: [3; 16] };
        let len = seal.algorithm.sealed_len(PLAIN.len() as u32);
        let slot = self.store.reserve(&block, len).unwrap();
        let mut plain = [0; PLAIN.len()];
        plain.copy_from_slice(PLAIN);
        plain[0] ^= flip;
        let mut sealer = Sealer::new(slot, seal);
        sealer.update(&mut self.store, &mut SoftCrypto, &kp(), &plain).unwrap();
        sealer.finish(&mut self.store, &mut SoftCrypto, &kp()).unwrap();
        Answer::Sealed { slot, seal, len }
    }

    fn holds(&self, index: u32) -> bool {
        self.store.find(&BlockId { segment: segment(), index }).is_some()
    }
}

#[test]
fn search_probe_ask_verify() {
    let mut world = World::new();
    let job = world.want(5).unwrap();
    assert!(world.ask().is_none(), "nobody is known");
    assert!(!world.work());
    assert!(world.peers_answer(&[peer(1)]));
    let ask = world.ask().unwrap();
    let Question::Block { block, plain_len, .. } = ask.question else { panic!("not for a block") };
    assert_eq!((ask.peer, block.index, plain_len), (peer(1), 5, 19));
    assert!(world.ask().is_none(), "one question at a time");
    let sealed = world.sealed(5, 0);
    world.answer(&ask, sealed);
    assert!(world.outcome(job).is_none() && !world.holds(5), "not before it is verified");
    world.work();
    let outcome = world.outcome(job).unwrap();
    assert_eq!((outcome.source, outcome.failures.len()), (Some(Source::Peer(peer(1))), 0));
    assert!(world.holds(5));
    assert!(world.outcome(job).is_none(), "it is told once");
}

/// MS-PCCRD 3.1.2: after the request timer nobody is waited for.
#[test]
fn nobody_answers() {
    let mut world = World::new();
    let job = world.want(5).unwrap();
    world.work();
    assert!(world.peers_answer(&[]));
    world.after(299);
    assert!(world.outcome(job).is_none());
    world.after(1);
    let outcome = world.outcome(job).unwrap();
    assert_eq!(outcome.source, None);
    assert_eq!(*outcome.failures, [Failure { peer: None, cause: Cause::NoPeer }]);

    // That is believed for a second; then it is worth another probe.
    let job = world.want(6).unwrap();
    world.after(0);
    assert!(world.outcome(job).is_some());
    world.now += SEARCH_AGAIN + Duration::from_millis(1);
    let job = world.want(6).unwrap();
    world.work();
    assert!(world.outcome(job).is_none());
    assert!(world.peers_answer(&[peer(1)]));
    assert!(world.ask().is_some());
}

#[test]
fn a_bad_block_and_then_elsewhere() {
    let mut world = World::new();
    let job = world.want(0).unwrap();
    world.work();
    world.peers_answer(&[peer(1), peer(2)]);
    let first = world.ask().unwrap();
    let sealed = world.sealed(0, 1);
    world.answer(&first, sealed);
    assert!(world.work(), "there is another to ask");
    assert!(!world.holds(0));
    let second = world.ask().unwrap();
    assert_ne!(first.peer, second.peer);
    world.answer(&second, Answer::Failed(Cause::NotHeld));
    world.after(300);
    let outcome = world.outcome(job).unwrap();
    let failure = |ask: &Ask, cause| Failure { peer: Some(ask.peer), cause };
    assert_eq!(outcome.source, None);
    assert_eq!(*outcome.failures, [failure(&first, Cause::BadBlock), failure(&second, Cause::NotHeld)]);
    assert_eq!((world.fetch.counters.bad_blocks, world.fetch.counters.shunned), (1, 1));

    // Only the honest one is asked for the next block.
    world.want(1).unwrap();
    assert_eq!(world.ask().map(|ask| ask.peer), Some(second.peer));
    assert!(world.ask().is_none());
}

#[test]
fn readers_share_a_job() {
    let mut world = World::new();
    let (first, second) = (world.want(0).unwrap(), world.want(0).unwrap());
    assert_eq!(first, second);
    let other = world.want(1).unwrap();
    assert!(world.want(2).is_none(), "all jobs are taken");
    Fetch::cancel(&mut world.store, &mut world.jobs, other);
    assert!(world.want(2).is_some());
    world.work();
    world.peers_answer(&[]);
    world.after(300);
    assert!(world.outcome(first).is_some() && world.outcome(second).is_some());
    assert!(world.outcome(first).is_none());
}

/// What is answered to nobody is given free.
#[test]
fn cancelled_while_asking_and_while_verifying() {
    for verifying in [false, true] {
        let mut world = World::new();
        let job = world.want(0).unwrap();
        world.work();
        world.peers_answer(&[peer(1)]);
        let ask = world.ask().unwrap();
        assert!(world.fetch.is_awaited(&world.jobs, &ask));
        let sealed = world.sealed(0, 0);
        let Answer::Sealed { slot, .. } = sealed else { panic!("it was sealed") };
        if verifying {
            world.answer(&ask, sealed);
            Fetch::cancel(&mut world.store, &mut world.jobs, job);
        } else {
            Fetch::cancel(&mut world.store, &mut world.jobs, job);
            assert!(!world.fetch.is_awaited(&world.jobs, &ask));
            world.answer(&ask, sealed);
        }
        world.work();
        assert!(world.store.read(slot, 0, &mut [0]).is_err() && !world.holds(0));
        assert!(world.outcome(job).is_none());
    }
}

#[test]
fn a_full_store_is_nobodys_fault() {
    let mut world = World::new();
    let job = world.want(0).unwrap();
    world.work();
    world.peers_answer(&[peer(1), peer(2)]);
    let ask = world.ask().unwrap();
    world.answer(&ask, Answer::Failed(Cause::StoreFull));
    assert!(world.ask().is_none(), "asking others would not help");
    assert_eq!(world.outcome(job).unwrap().failures[0].cause, Cause::StoreFull);
    assert_eq!(world.fetch.counters.shunned, 0);
}

/// A segment of content information 2.0.
fn segment_v2(first: u8) -> SegmentId {
    SegmentId::from_slice(&[first; 32]).unwrap()
}

impl World {
    fn want_v2(&mut self, segment: u8) -> JobId {
        let algorithm = HashAlgorithm::TruncatedSha512;
        let expected =
            Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, PLAIN), len: PLAIN.len() as u32 };
        let block = BlockId { segment: segment_v2(segment), index: 0 };
        self.fetch.want(self.now, &mut self.jobs, block, expected, true, &kp()).unwrap()
    }

    /// A block that `peer` has sent verifies.
    fn gives(&mut self, index: u32) {
        self.want(index).unwrap();
        self.work();
        let ask = self.ask().unwrap();
        let sealed = self.sealed(index, 0);
        self.answer(&ask, sealed);
        self.work();
    }

    /// A segment of so many blocks is surveyed, and one peer answers that it has one of them.
    fn surveying(blocks: u32) -> Self {
        let mut world = Self::new();
        world.survey(blocks);
        world.work();
        world.peers_answer(&[peer(1)]);
        world
    }

    fn survey(&mut self, blocks: u32) -> Survey {
        let begun = Instant::from_millis(1_000);
        self.fetch.survey(self.now, &segment(), HashAlgorithm::Sha256, blocks, begun)
    }
}

/// MS-PCCRD 2.2.2: segments of content information 2.0 are asked for in version 2, many in one
/// message.
#[test]
fn segments_of_version_2_share_a_probe() {
    let mut world = World::new();
    let jobs = [world.want_v2(1), world.want_v2(2)];
    world.work();
    let mut probe = [0; 1_400];
    let (_, len) = world.fetch.discovery().poll_transmit(world.now, &mut probe).unwrap();
    let Ok(Message::ProbeV2(asked)) = parse(&probe[..len]) else { panic!("no probe of version 2") };
    assert!(asked.ids.iter().eq([segment_v2(1), segment_v2(2)]));
    assert_eq!(world.fetch.probe_counters().probes, 1);
    world.after(300);
    assert!(jobs.into_iter().all(|job| world.outcome(job).is_some()));
}

#[test]
fn who_gave_blocks_is_asked_for_other_segments_without_a_probe() {
    let mut world = World::new();
    world.want(0).unwrap();
    world.work();
    world.peers_answer(&[peer(1)]);
    Fetch::cancel(&mut world.store, &mut world.jobs, JobId { index: 0, generation: 1 });
    world.gives(0);
    let probes = world.fetch.probe_counters().probes;
    let first = world.want_v2(1);
    assert!(world.work(), "somebody can be asked at once");
    let ask = world.ask().unwrap();
    assert_eq!((ask.peer, world.fetch.probe_counters().probes), (peer(1), probes));

    // It does not have that one: now it is probed for, and the peer is not asked again.
    world.answer(&ask, Answer::Failed(Cause::NotHeld));
    world.work();
    assert!(world.ask().is_none());
    assert_eq!(world.fetch.probe_counters().probes, probes + 1);
    world.after(300);
    let failures = world.outcome(first).unwrap().failures;
    assert_eq!(*failures, [Failure { peer: Some(peer(1)), cause: Cause::NotHeld }]);
}

/// More segments at the same moment than there are rows: two that are looked for do not drive each
/// other out.
#[test]
fn more_segments_than_there_is_room_for() {
    let mut world = World::new();
    world.want(0).unwrap();
    world.work();
    world.peers_answer(&[peer(1)]);
    Fetch::cancel(&mut world.store, &mut world.jobs, JobId { index: 0, generation: 1 });
    world.gives(0);
    world.outcome(JobId { index: 0, generation: 2 }).unwrap();
    for first in (100..100 + 2 * MAX_SEGMENTS as u8).step_by(2) {
        let jobs = [first, first + 1].map(|segment| world.want_v2(segment));
        world.work();
        for segment in [first, first + 1] {
            let Some(Ask { question: Question::Block { block, .. }, .. }) = world.ask() else { panic!() };
            assert_eq!(block.segment, segment_v2(segment));
        }
        jobs.into_iter().for_each(|job| Fetch::cancel(&mut world.store, &mut world.jobs, job));
        // What was asked is answered to nobody.
        (0..2).for_each(|_| world.fetch.peers.over(0));
    }
}

/// Nobody is asked for more than its window.
#[test]
fn a_window_is_full() {
    let mut world = World::new();
    let jobs = [world.want(0).unwrap(), world.want(1).unwrap()];
    world.work();
    world.peers_answer(&[peer(1)]);
    let place = world.fetch.peers.place(peer(1)).unwrap();
    (0..3).for_each(|_| world.fetch.peers.asked(place));
    let first = world.ask().unwrap();
    assert!(world.ask().is_none(), "four at a time");
    assert!(jobs.into_iter().all(|job| world.outcome(job).is_none()), "but it waits");
    world.answer(&first, Answer::Failed(Cause::TimedOut));
    assert!(world.ask().is_none(), "the window has shrunk");
    (0..3).for_each(|_| world.fetch.peers.over(place));
    assert!(world.ask().is_some());
}

/// A peer that takes one connection of two is asked for both blocks over that one, and nothing has failed.
#[test]
fn what_a_peer_does_not_take_waits_for_what_it_took() {
    let mut world = World::new();
    let jobs = [world.want(0).unwrap(), world.want(1).unwrap()];
    world.work();
    world.peers_answer(&[peer(1)]);
    let asks = [world.ask().unwrap(), world.ask().unwrap()];
    let World { now, fetch, jobs: rows, .. } = &mut world;
    fetch.crowded(*now, rows, &asks[1], 1);
    assert!(!world.work() && world.ask().is_none(), "one at a time");
    let sealed = world.sealed(0, 0);
    world.answer(&asks[0], sealed);
    world.work();
    let again = world.ask().unwrap();
    let sealed = world.sealed(1, 0);
    world.answer(&again, sealed);
    world.work();
    for job in jobs {
        let outcome = world.outcome(job).unwrap();
        assert_eq!((outcome.source, outcome.failures.len()), (Some(Source::Peer(peer(1))), 0));
    }
    assert_eq!((world.fetch.counters.asked, world.fetch.counters.shunned), (2, 0));
}

/// Fact 40: who has a part of a segment is asked which, once for all blocks.
#[test]
fn lists_tell_who_has_which_block() {
    let mut world = World::new();
    let survey = world.survey(8);
    assert!(!survey.settled && survey.held.is_empty() && !survey.anybody);
    world.work();
    world.peers_answer(&[peer(1), peer(2)]);
    let survey = world.survey(8);
    assert!(survey.anybody && survey.held.is_empty(), "one block each, nobody knows which");
    let lists = [world.ask().unwrap(), world.ask().unwrap()];
    assert!(world.ask().is_none());
    let mut held = IndexSet::EMPTY;
    for (ask, index) in lists.iter().zip([3, 5]) {
        assert!(matches!(ask.question, Question::List { blocks: 8, .. }));
        assert!(world.fetch.is_awaited(&world.jobs, ask));
        let mut list = IndexSet::EMPTY;
        list.insert(index);
        held.insert(index);
        world.answer(ask, Answer::Listed(list));
        assert!(!world.fetch.is_awaited(&world.jobs, ask));
    }
    world.after(300);
    let survey = world.survey(8);
    assert!(survey.settled && survey.held == held);

    // Each is asked for what it has, and for nothing else.
    let nobodys = world.want(0).unwrap();
    let third = world.want(3).unwrap();
    world.work();
    assert_eq!(world.ask().map(|ask| ask.peer), Some(lists[0].peer));
    assert!(world.ask().is_none());
    assert_eq!(world.outcome(nobodys).unwrap().failures[0].cause, Cause::NotHeld);
    Fetch::cancel(&mut world.store, &mut world.jobs, third);

    // After a second they are asked again; who does not tell is thought to have it all.
    assert_eq!(survey.again, Some(Instant::from_millis(2_000)));
    world.now = Instant::from_millis(2_000);
    world.survey(8);
    let again = world.ask().unwrap();
    world.answer(&again, Answer::Failed(Cause::Refused));
    assert_eq!(world.survey(8).held.ranges().next().map(|all| all.count), Some(8));
    assert_eq!(world.fetch.counters.shunned, 0);
}

/// Of a few blocks no list is worth a question: they are asked for.
#[test]
fn a_few_blocks_need_no_list() {
    let mut world = World::surveying(3);
    assert!(world.survey(3).held.contains(2));
    assert!(world.ask().is_none());
}

/// A list that cannot be asked for is due again, and a peer that fails is out.
#[test]
fn a_list_that_does_not_come() {
    let mut world = World::surveying(8);
    world.survey(8);
    let ask = world.ask().unwrap();
    world.fetch.not_carried(world.now, &mut world.jobs, &ask);
    assert_eq!(world.fetch.counters.lists, 0);
    let ask = world.ask().unwrap();
    world.answer(&ask, Answer::Failed(Cause::Unreachable));
    assert!(world.ask().is_none());
    world.after(300);
    let survey = world.survey(8);
    assert!(survey.settled && survey.anybody && survey.held.is_empty());
    assert_eq!(world.fetch.counters.shunned, 1);
}

/// What nobody has is shared out: each block is one member's, whoever computes it.
#[test]
fn a_crowd_agrees_on_whose_turn_it_is() {
    let turn = |world: &World, block, pace| {
        world.fetch.crowd(world.now, &segment(), Duration::from_secs(pace)).turn(block)
    };
    let mut worlds = [World::new(), World::new(), World::new()];
    for (us, world) in (1..).zip(&mut worlds) {
        world.fetch.set_us(Some(peer(us)));
        assert_eq!(turn(world, 0, 0), 0, "nobody else is there");
        world.survey(64);
        world.work();
        let others: Vec<SocketAddr, 2> = (1..=3).filter(|other| *other != us).map(peer).collect();
        world.peers_answer(&others);
        world.survey(64);
        while let Some(ask) = world.ask() {
            world.answer(&ask, Answer::Listed(IndexSet::EMPTY));
        }
    }
    let mut shares = [0; 3];
    for block in 0..64 {
        let turns = worlds.each_ref().map(|world| turn(world, block, 0));
        let mut sorted = turns;
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2], "block {block}: {turns:?}");
        shares[turns.iter().position(|turn| *turn == 0).unwrap()] += 1;
    }
    assert!(shares.iter().all(|share| *share > 10), "{shares:?}");

    // Who gets nothing for long is no member any more.
    let world = &mut worlds[0];
    let turns = |world: &World, pace| (0..64).map(|block| turn(world, block, pace)).max();
    world.now += Duration::from_millis(10_001);
    assert_eq!((turns(world, 0), turns(world, 6)), (Some(0), Some(2)));
}

/// The hosted cache comes after the peers, and alone where peers are not looked for.
#[test]
fn the_hosted_cache_is_asked_last() {
    for distributed in [true, false] {
        let mut world = World::new();
        world.fetch =
            Fetch::new(Config { hosted: [peer(9)].into_iter().collect(), distributed, ..Config::default() });
        let job = world.want(5).unwrap();
        world.work();
        assert_eq!(world.peers_answer(&[peer(1)]), distributed, "otherwise nobody is probed for");
        if distributed {
            let ask = world.ask().unwrap();
            assert_eq!(ask.peer, peer(1));
            world.answer(&ask, Answer::Failed(Cause::NotHeld));
            world.after(300);
        }
        world.work();
        let ask = world.ask().unwrap();
        assert_eq!(ask.peer, peer(9));
        let sealed = world.sealed(5, 0);
        world.answer(&ask, sealed);
        world.work();
        assert_eq!(world.outcome(job).unwrap().source, Some(Source::HostedCache(peer(9))));

        // It does not have everything either.
        let job = world.want(6).unwrap();
        world.work();
        while let Some(ask) = world.ask() {
            world.answer(&ask, Answer::Failed(Cause::NotHeld));
            world.after(0);
        }
        world.after(300);
        let outcome = world.outcome(job).unwrap();
        assert!(outcome.source.is_none());
        assert_eq!(outcome.failures.last().unwrap().peer, Some(peer(9)));
    }
}

/// What is taken unencrypted is sealed on its way: not a byte of it is kept in clear.
#[test]
fn plain_blocks_are_sealed_as_they_come() {
    for (flip, from_there) in [(0, true), (1, false)] {
        let mut world = World::new();
        let job = world.want(5).unwrap();
        world.work();
        world.peers_answer(&[peer(1)]);
        let ask = world.ask().unwrap();
        let mut plain = [0; PLAIN.len()];
        plain.copy_from_slice(PLAIN);
        plain[7] ^= flip;
        let World { fetch, jobs, store, rng, .. } = &mut world;
        let mut take = |bytes| fetch.take_plain(jobs, store, &mut SoftCrypto, rng, &ask, bytes);
        assert_eq!(take(&plain[..10]), Ok(false));
        let last = take(&plain[10..]);
        match from_there {
            true => assert_eq!((last, take(b"more")), (Ok(true), Err(Cause::BadReply))),
            false => assert_eq!(last, Err(Cause::BadBlock)),
        }
        world.answer(&ask, if from_there { Answer::Taken } else { Answer::Failed(Cause::BadBlock) });
        world.after(300);
        let source = world.outcome(job).unwrap().source;
        assert_eq!((source, world.holds(5)), (from_there.then_some(Source::Peer(peer(1))), from_there));
        let Some(stored) = world.store.find(&BlockId { segment: segment(), index: 5 }) else { continue };
        let mut raw = [0; 16];
        world.store.read(stored.slot, 0, &mut raw).unwrap();
        assert_ne!(raw, PLAIN[..16]);
        let mut text = [0; PLAIN.len()];
        crate::store::seal::open_at(&mut world.store, &mut SoftCrypto, &kp(), &stored, 0, &mut text).unwrap();
        assert_eq!(text, PLAIN);
    }
}

/// Who answers slowly with an empty list every time keeps nothing unsettled, once it has answered.
#[test]
fn an_empty_list_counts_as_an_answer() {
    let mut world = World::surveying(8);
    world.after(300);
    assert!(!world.survey(8).settled, "its list is not here yet");
    let ask = world.ask().unwrap();
    world.answer(&ask, Answer::Listed(IndexSet::EMPTY));
    assert!(world.survey(8).settled);
    world.after(1_000);
    world.survey(8);
    assert!(world.ask().is_some(), "it is asked again");
    assert!(world.survey(8).settled);
}

/// Who shows its blocks by turns is no member that gets on.
#[test]
fn a_list_grows_only_beyond_what_it_showed() {
    let mut world = World::new();
    world.fetch.set_us(Some(peer(9)));
    world.survey(8);
    world.work();
    world.peers_answer(&[peer(1)]);
    for turn in 0..20 {
        world.survey(8);
        if let Some(ask) = world.ask() {
            let mut list = IndexSet::EMPTY;
            list.insert(turn % 2);
            world.answer(&ask, Answer::Listed(list));
        }
        world.after(1_000);
        world.peers_answer(&[peer(1)]);
    }
    let crowd = world.fetch.crowd(world.now, &segment(), Duration::ZERO);
    assert!((0..64).all(|block| crowd.turn(block) == 0));
}

/// A peer that said that it had a part, and then all, is asked for what its list did not have.
#[test]
fn an_old_list_does_not_deny_what_is_there_now() {
    let mut world = World::surveying(8);
    world.survey(8);
    let ask = world.ask().unwrap();
    world.answer(&ask, Answer::Listed(IndexSet::EMPTY));
    let place = world.fetch.peers.place(peer(1)).unwrap();
    world.want(5).unwrap();
    assert!(world.ask().is_none());
    world.fetch.holdings.get_mut(&segment()).unwrap().partial &= !only(place);
    assert!(world.ask().is_some());
}

/// What cannot be carried is not counted, whether somebody still wants it or not.
#[test]
fn a_block_that_is_not_asked_for_after_all() {
    let mut world = World::new();
    let job = world.want(0).unwrap();
    world.work();
    world.peers_answer(&[peer(1)]);
    for wanted in [true, false] {
        let ask = world.ask().unwrap();
        if !wanted {
            Fetch::cancel(&mut world.store, &mut world.jobs, job);
        }
        world.fetch.not_carried(world.now, &mut world.jobs, &ask);
        assert_eq!(world.fetch.counters.asked, 0);
    }
    assert_eq!(world.fetch.peers.load(0).0, 0);
}

/// Until it is known what a block is worth, nobody else has the place of the peer that sent it.
#[test]
fn a_peer_on_trial_keeps_its_place() {
    let mut world = World::new();
    let job = world.want(0).unwrap();
    world.work();
    world.peers_answer(&[peer(1)]);
    let ask = world.ask().unwrap();
    let sealed = world.sealed(0, 0);
    world.answer(&ask, sealed);
    world.now += Duration::from_secs(11);
    let meet = |world: &mut World, last| world.fetch.peers.meet(Tick::of(world.now), peer(last));
    (2..=MAX_PEERS as u8).for_each(|last| assert_eq!(meet(&mut world, last), Some((last - 1, false))));
    assert_eq!(meet(&mut world, 100), None);
    world.work();
    assert_eq!(world.outcome(job).unwrap().source, Some(Source::Peer(peer(1))));
    world.work();
    assert_eq!(meet(&mut world, 100), Some((0, true)), "it was silent for long");
}

/// A host that names one port after the other does not get the places of others.
#[test]
fn many_ports_of_one_host() {
    let mut world = World::new();
    world.want(0).unwrap();
    world.work();
    let ports = (1..=40).map(|port| SocketAddr::new(peer(1).ip(), port));
    let answering: Vec<SocketAddr, 41> = ports.chain([peer(2)]).collect();
    world.peers_answer(&answering);
    assert_eq!(world.fetch.counters.surplus, 36);
    assert!(world.fetch.peers.place(peer(2)).is_some());
}

/// Who claims to have everything and says no to each question, as late as it may, is asked ever more
/// rarely, however often it answers probes.
#[test]
fn slow_empty_hands_are_not_asked_for_ever() {
    let mut world = World::new();
    let begun = world.now;
    let mut index = 0;
    while world.now < begun + Duration::from_secs(60) {
        index += 1;
        let job = world.want(index).unwrap();
        world.work();
        world.peers_answer(&[peer(1)]);
        if let Some(ask) = world.ask() {
            world.now += Duration::from_millis(1_900);
            world.answer(&ask, Answer::Failed(Cause::NotHeld));
        }
        world.after(300);
        world.after(300);
        assert!(world.outcome(job).is_some(), "nobody is waited for that rests");
    }
    let asked = world.fetch.counters.asked;
    assert!((5..=8).contains(&asked), "{asked} questions in a minute");
}

/// A peer that is trusted may be shunned all the same, since its host lied on another port: then it
/// is nobody to ask, and others are looked for.
#[test]
fn who_is_trusted_and_shunned_is_not_waited_for() {
    let mut world = World::new();
    let (trusted, liar) = (peer(1), SocketAddr::new(peer(1).ip(), 8_080));
    for there in [trusted, liar] {
        world.fetch.peers.meet(Tick::of(world.now), there).unwrap();
    }
    world.fetch.peers.trust(0);
    world.fetch.peers.punish(Tick::of(world.now), 1, Cause::BadBlock, true);
    assert_eq!(world.fetch.peers.trusted(Tick::of(world.now)), only(0));
    let job = world.want_v2(1);
    assert!(!world.work(), "there is nothing to do at once");
    assert!(world.ask().is_none());
    assert!(world.fetch.discovery().poll_transmit(world.now, &mut [0; 1_400]).is_some(), "it is probed for");
    assert!(world.fetch.poll_timeout().is_some_and(|at| at > world.now));
    world.after(300);
    assert!(world.outcome(job).is_some());
    assert!(world.survey(8).again.is_none_or(|at| at > world.now));
}

/// A question that there is no connection for keeps none back that there is one for.
#[test]
fn who_cannot_be_reached_keeps_nobody_waiting() {
    let ask = |world: &mut World, reach: &dyn Fn(SocketAddr) -> bool| {
        let World { now, fetch, jobs, rng, .. } = world;
        fetch.next_ask(*now, jobs, rng, reach)
    };
    let mut world = World::new();
    world.survey(8);
    world.want(0).unwrap();
    world.work();
    world.peers_answer(&[peer(1), peer(2)]);
    world.survey(8);
    assert!(ask(&mut world, &|_| false).is_none(), "two lists are due");
    let second = |there| there == peer(2);
    let questions = [ask(&mut world, &second).unwrap(), ask(&mut world, &second).unwrap()];
    assert!(questions.iter().all(|question| question.peer == peer(2)));
    assert!(questions.iter().map(|it| matches!(it.question, Question::List { .. })).eq([true, false]));
    assert!(ask(&mut world, &second).is_none());
    assert!(ask(&mut world, &|_| true).is_some_and(|question| question.peer == peer(1)));
}

/// More than are asked for their lists, and no more than are known.
const CROWD: usize = if MAX_PEERS < 20 { MAX_PEERS } else { 20 };

/// A crowd in which everybody has a part of as many segments as are surveyed at a time, after so many surveys of
/// each.
fn surveys(turns: u32) -> (World, [SegmentId; DOWNLOADS]) {
    let (mut world, segments) = (World::new(), core::array::from_fn(|n| segment_v2(n as u8 + 1)));
    let begun = world.now;
    let crowd: Vec<SocketAddr, CROWD> = (1..=CROWD as u8).map(peer).collect();
    for turn in 0..turns {
        for id in &segments {
            world.fetch.survey(world.now, id, HashAlgorithm::Sha256, 64, begun);
        }
        while let Some(ask) = world.ask() {
            world.answer(&ask, Answer::Listed(IndexSet::EMPTY));
        }
        if turn == 0 {
            world.work();
            world.peers_answer(&crowd);
        }
        world.after(10);
    }
    (world, segments)
}

/// Downloads of different segments share the table of lists, and do not ask for the same ones again and again.
#[test]
fn two_surveys_do_not_drive_each_other_out() {
    let (world, segments) = surveys(1_000);
    let (lists, at_once) = (world.fetch.counters.lists, (DOWNLOADS * NEIGHBOURS) as u32);
    assert!((8 * at_once..=11 * at_once).contains(&lists), "{lists} lists in ten seconds");
    for id in segments {
        let known = (0..CROWD as u8).filter(|place| world.fetch.lists.is_known(&id, *place)).count();
        assert_eq!(known, NEIGHBOURS);
    }
}

/// What is not surveyed any more makes room for what comes next.
#[test]
fn a_survey_that_ends_leaves_its_rows() {
    let (mut world, segments) = surveys(100);
    world.fetch.end_survey(&segments[0]);
    for (number, id) in segments.iter().enumerate() {
        let known = (0..CROWD as u8).filter(|place| world.fetch.lists.is_known(id, *place)).count();
        assert_eq!(known, if number == 0 { 0 } else { NEIGHBOURS });
    }
}
