//! Blocks that are asked of one client alone, which offered them to a hosted cache.

use super::*;

fn apart(index: u32) -> BlockId {
    BlockId { segment: segment().unverifiable().unwrap(), index }
}

impl World {
    fn want_as_received(&mut self, index: u32) -> JobId {
        let block = BlockId { segment: segment(), index };
        let (algorithm, len) = (HashAlgorithm::Sha256, PLAIN.len() as u32);
        let Self { now, fetch, jobs, .. } = self;
        fetch.want_as_received(*now, jobs, block, algorithm, len, peer(1)).unwrap()
    }
}

/// Fact 47: without keys it is kept as it comes, under a name of its own.
#[test]
fn kept_as_it_comes() {
    let mut world = World::new();
    let job = world.want_as_received(5);
    assert!(world.work());
    assert!(!world.peers_answer(&[]), "nobody is looked for");
    let ask = world.ask().unwrap();
    let Question::Block { block, plain_len, .. } = ask.question else { panic!("not for a block") };
    assert_eq!((ask.peer, block.segment, plain_len), (peer(1), segment(), 19));
    let kept = world.fetch.kept_as(&mut world.jobs, &mut SoftCrypto, &ask);
    assert_eq!(kept, Some(apart(5)));
    // Nobody can tell that it is not what it should be.
    let sealed = world.sealed_in(apart(5), 1);
    world.answer(&ask, sealed);
    assert_eq!(world.outcome(job).unwrap().source, Some(Source::Peer(peer(1))));
    assert!(!world.holds(5));
    assert!(world.store.find(&apart(5)).is_some());
    // That it gave something which nobody verified is no reason to trust it.
    let counters = world.fetch.counters;
    assert_eq!((counters.received, counters.verified), (1, 0));
    world.want(6).unwrap();
    world.work();
    assert!(world.ask().is_none());
}

/// Neither in clear, nor of another length, nor under another name.
#[test]
fn not_everything_is_kept() {
    let mut world = World::new();
    for bad in 0..3 {
        let job = world.want_as_received(5);
        world.work();
        let ask = world.ask().unwrap();
        if bad == 0 {
            let World { fetch, jobs, store, rng, .. } = &mut world;
            let taken = fetch.take_plain(jobs, store, &mut SoftCrypto, rng, &ask, PLAIN);
            assert_eq!(taken, Err(Cause::Refused));
            world.answer(&ask, Answer::Failed(Cause::Refused));
        } else if bad == 1 {
            let sealed = world.sealed(5, 0);
            world.answer(&ask, sealed);
        } else {
            let Answer::Sealed { slot, seal, len } = world.sealed_in(apart(5), 0) else { panic!() };
            world.answer(&ask, Answer::Sealed { slot, seal, len: len + 16 });
        }
        world.work();
        assert_eq!(world.outcome(job).unwrap().source, None);
        assert!(!world.holds(5) && world.store.find(&apart(5)).is_none());
        // A new name for the same client: what it sent may rest it.
        world.now += Duration::from_secs(400);
    }
}

/// With its hash it is verified, whoever sends it.
#[test]
fn verified_with_its_hash() {
    for (flip, source) in [(0, Some(Source::Peer(peer(1)))), (1, None)] {
        let mut world = World::new();
        let algorithm = HashAlgorithm::Sha256;
        let expected =
            Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, PLAIN), len: PLAIN.len() as u32 };
        let block = BlockId { segment: segment(), index: 5 };
        let job = world.fetch.want_of(world.now, &mut world.jobs, block, expected, &kp(), peer(1)).unwrap();
        world.work();
        let ask = world.ask().unwrap();
        let sealed = world.sealed(5, flip);
        world.answer(&ask, sealed);
        world.work();
        world.work();
        assert_eq!(world.outcome(job).unwrap().source, source);
        assert_eq!(world.holds(5), flip == 0);
        assert!(world.ask().is_none() && !world.peers_answer(&[]), "nobody else is asked");
    }
}

/// Who does not answer is not waited for, nor asked again at once.
#[test]
fn a_client_that_does_not_answer() {
    let mut world = World::new();
    let job = world.want_as_received(5);
    world.work();
    let ask = world.ask().unwrap();
    world.answer(&ask, Answer::Failed(Cause::Unreachable));
    world.work();
    let failures = world.outcome(job).unwrap().failures;
    assert_eq!(*failures, [Failure { peer: Some(peer(1)), cause: Cause::Unreachable }]);
    let job = world.want_as_received(5);
    world.work();
    assert!(world.ask().is_none());
    let failures = world.outcome(job).unwrap().failures;
    assert_eq!(*failures, [Failure { peer: Some(peer(1)), cause: Cause::Shunned }]);
}

/// While all whom we know are at work there is no place for one more, and nobody is waited for.
#[test]
fn a_client_for_whom_there_is_no_place() {
    let mut world = World::new();
    for last in 10..10 + MAX_PEERS as u8 {
        assert!(world.fetch.peers.meet(Tick::of(world.now), peer(last)).is_some());
    }
    let job = world.want_as_received(5);
    assert!(world.work());
    assert_eq!(*world.outcome(job).unwrap().failures, [Failure { peer: None, cause: Cause::NoPeer }]);
    // One that was silent for long makes room.
    world.now += Duration::from_secs(11);
    world.want_as_received(5);
    world.work();
    assert_eq!(world.ask().map(|ask| ask.peer), Some(peer(1)));
}

/// Who is slow to say what it does not have makes up for it with the blocks that it gives, verified or not.
#[test]
fn blocks_make_up_for_empty_hands() {
    let mut world = World::new();
    for round in 0..4 {
        for index in 0..4 {
            let job = world.want_as_received(index);
            world.work();
            let ask = world.ask().unwrap_or_else(|| panic!("shunned in round {round}"));
            world.now += Duration::from_millis(1_900);
            let answer =
                if index < 3 { Answer::Failed(Cause::NotHeld) } else { world.sealed_in(apart(3), 0) };
            world.answer(&ask, answer);
            world.work();
            let outcome = world.outcome(job).unwrap();
            assert_eq!(outcome.source.is_some(), index == 3);
        }
        let slot = world.store.find(&apart(3)).unwrap().slot;
        world.store.release(slot);
    }
    assert_eq!(world.fetch.counters.shunned, 0);
}
