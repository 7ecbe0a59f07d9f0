use super::*;
use crate::content::SegmentId;
use crate::crypto::{CipherAlgorithm, HashAlgorithm, SoftCrypto, hash};
use crate::discovery::Subnet;
use crate::discovery::server::Server;
use crate::discovery::wire::{Message, parse};
use crate::store::ram::{Entry, Page, RamStore};
use crate::store::seal::Sealer;
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
            fetch: Fetch::new(discovery::Config::default()),
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
        self.fetch.want(self.now, &mut self.jobs, block, expected, &kp())
    }

    fn work(&mut self) -> bool {
        let Self { now, fetch, jobs, store, rng } = self;
        fetch.work(*now, jobs, store, &mut SoftCrypto, rng)
    }

    fn ask(&mut self) -> Option<Ask> {
        let Self { now, fetch, jobs, rng, .. } = self;
        fetch.next_ask(*now, jobs, rng, &|_| 0)
    }

    fn answer(&mut self, ask: &Ask, answer: Answer) {
        let Self { now, fetch, jobs, store, .. } = self;
        fetch.answered(*now, jobs, store, &mut SoftCrypto, (ask.job, ask.peer), answer);
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
        let block = BlockId { segment: segment(), index };
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
    assert_eq!((ask.peer, ask.block.index, ask.plain_len), (peer(1), 5, 19));
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
        assert!(Fetch::is_asking(&world.jobs, job, peer(1)));
        let sealed = world.sealed(0, 0);
        let Answer::Sealed { slot, .. } = sealed else { panic!("it was sealed") };
        if verifying {
            world.answer(&ask, sealed);
            Fetch::cancel(&mut world.store, &mut world.jobs, job);
        } else {
            Fetch::cancel(&mut world.store, &mut world.jobs, job);
            assert!(!Fetch::is_asking(&world.jobs, job, peer(1)));
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
