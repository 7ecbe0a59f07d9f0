//! Many who want the same segment at once.

use super::*;
use core::net::{IpAddr, Ipv6Addr};

fn turn(world: &World, block: u32) -> usize {
    world.fetch.crowd(world.now, &segment(), Duration::ZERO).turn(block)
}

/// A host that is getting the segment, and hears the probes of so many others, from the last on.
fn member(us: u8, others: u8) -> World {
    let mut world = World::new();
    world.fetch.set_us(Some(peer(us)));
    world.survey(64);
    (1..=others).rev().for_each(|other| world.fetch.heard(world.now, peer(other).ip(), &segment()));
    world
}

/// More than can be remembered; each block is got by one of a few, whoever computes it.
#[test]
fn a_large_crowd_has_few_getters() {
    const CROWD: usize = 40;
    let turns: [[usize; 64]; CROWD] = core::array::from_fn(|us| {
        let world = member(us as u8 + 1, CROWD as u8);
        core::array::from_fn(|block| turn(&world, block as u32))
    });
    let mut shares = [0; CROWD];
    for block in 0..64 {
        let turns = turns.map(|turns| turns[block]);
        let mut sorted = turns;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq((0..CROWD).map(|turn| turn.min(GETTERS))), "{turns:?}");
        shares[turns.iter().position(|turn| *turn == 0).unwrap()] += 1;
    }
    assert_eq!(shares.iter().filter(|share| **share > 0).count(), GETTERS, "{shares:?}");
}

#[test]
fn a_probe_makes_a_member_for_a_while() {
    let beaten = |world: &World| (0..64).any(|block| turn(world, block) > 0);
    let mut world = member(1, 2);
    assert!(beaten(&world));
    world.now += Duration::from_secs(30);
    world.fetch.heard(world.now, peer(2).ip(), &segment());
    world.now += Duration::from_secs(36);
    assert!(beaten(&world), "it probed again");
    world.now += Duration::from_millis(1);
    assert!(!beaten(&world));

    let mut world = member(1, 1);
    assert!(!beaten(&world), "our own probes come back");
    world.fetch.heard(world.now, IpAddr::V6(Ipv6Addr::LOCALHOST), &segment());
    assert!(!beaten(&world), "who probes in both families is one");
    let other = SegmentId::from_slice(&[8; 32]).unwrap();
    world.fetch.heard(world.now, peer(2).ip(), &other);
    assert!(!beaten(&world), "for a segment that we do not want");
    world.fetch.set_us(None);
    world.fetch.heard(world.now, peer(2).ip(), &segment());
    assert!(!beaten(&world), "who has no address has no turn");
}

/// Whoever is silent leaves its place to one that is heard.
#[test]
fn the_silent_do_not_fill_the_memory() {
    let mut world = member(1, 40);
    world.now += Duration::from_secs(37);
    (50..52).for_each(|other| world.fetch.heard(world.now, peer(other).ip(), &segment()));
    let turns = (0..64).map(|block| turn(&world, block)).max();
    assert_eq!(turns, Some(2));
}

/// A large crowd leaves room for that of another segment, and goes when it is not surveyed any more.
#[test]
fn a_large_crowd_does_not_hide_a_small_one() {
    let mut world = member(1, 40);
    let small = segment_v2(8);
    world.fetch.survey(world.now, &small, HashAlgorithm::Sha256, 64, world.now);
    (50..53).for_each(|other| world.fetch.heard(world.now, peer(other).ip(), &small));
    (60..200).for_each(|other| world.fetch.heard(world.now, peer(other).ip(), &segment()));
    let most = |world: &World, id: &SegmentId| {
        let crowd = world.fetch.crowd(world.now, id, Duration::ZERO);
        (0..64).map(|block| crowd.turn(block)).max()
    };
    // Where there is one download, there is room for one crowd.
    let small_one = if DOWNLOADS > 1 { 3 } else { 0 };
    assert_eq!((most(&world, &segment()), most(&world, &small)), (Some(GETTERS), Some(small_one)));
    world.fetch.end_survey(&segment());
    (50..53).for_each(|other| world.fetch.heard(world.now, peer(other).ip(), &small));
    assert_eq!((most(&world, &segment()), most(&world, &small)), (Some(0), Some(3)));
    world.fetch.heard(world.now, peer(2).ip(), &segment());
    assert_eq!(most(&world, &segment()), Some(0), "nobody wants it any more");
}

/// A survey of a crowd that has a part each: whose lists were asked for.
fn lists(world: &mut World, list: &IndexSet) -> PeerSet {
    world.survey(64);
    let mut asked = 0;
    while let Some(ask) = world.ask() {
        assert!(matches!(ask.question, Question::List { .. }));
        asked |= only(world.fetch.peers.place(ask.peer).unwrap());
        world.answer(&ask, Answer::Listed(*list));
    }
    asked
}

/// Everybody asks a few others for their lists, each client others; who gets no further is replaced.
#[test]
fn a_few_neighbours_show_their_lists() {
    let others: Vec<SocketAddr, CROWD> = (100..100 + CROWD as u8).map(peer).collect();
    let mut drawn = Vec::<PeerSet, 2>::new();
    for us in [1, 2] {
        let mut world = World::new();
        world.fetch.set_us(Some(peer(us)));
        world.survey(64);
        world.work();
        world.peers_answer(&others);
        let mut list = IndexSet::EMPTY;
        list.insert(3);
        let first = lists(&mut world, &list);
        assert_eq!(first.count_ones() as usize, NEIGHBOURS);
        drawn.push(first).unwrap();

        // Only those who showed it are asked for a block.
        let jobs = [3, 4].map(|block| world.want(block).unwrap());
        let mut asked = 0;
        while let Some(ask) = world.ask() {
            assert!(matches!(ask.question, Question::Block { block, .. } if block.index == 3), "{ask:?}");
            asked |= only(world.fetch.peers.place(ask.peer).unwrap());
            world.answer(&ask, Answer::Failed(Cause::NotHeld));
        }
        assert_eq!(asked, first);
        jobs.into_iter().for_each(|job| Fetch::cancel(&mut world.store, &mut world.jobs, job));

        world.after(9_000);
        assert_eq!(lists(&mut world, &list), first, "they are asked again");
        world.after(1_001);
        let second = lists(&mut world, &list);
        assert_eq!(
            (second.count_ones() as usize, second & first),
            (NEIGHBOURS, 0),
            "they got nothing for 10 s"
        );
    }
    assert_ne!(drawn[0], drawn[1]);
}

/// What is watched is searched for again before long: its probes need no repeats.
#[test]
fn a_search_that_is_repeated_sends_once() {
    let mut world = World::new();
    let sends = |world: &mut World| {
        world.survey(64);
        world.work();
        let mut sends = 0;
        for _ in 0..400 {
            sends += usize::from(world.peers_answer(&[]));
            world.after(1);
        }
        sends
    };
    assert_eq!(sends(&mut world), 2);
    world.after(1_000);
    assert_eq!(sends(&mut world), 1);
    world.fetch.end_survey(&segment());
    world.after(10_000);
    world.want(5).unwrap();
    world.work();
    let mut sends = 0;
    for _ in 0..400 {
        sends += usize::from(world.peers_answer(&[]));
        world.after(1);
    }
    assert_eq!(sends, 2, "this one is not repeated");
}

/// One host has no more neighbours than one, whatever ports it names.
#[test]
fn a_host_is_one_neighbour() {
    let mut world = World::new();
    world.fetch.set_us(Some(peer(1)));
    world.survey(64);
    world.work();
    let ports: Vec<SocketAddr, 4> = (81..85).map(|port| SocketAddr::new(peer(2).ip(), port)).collect();
    world.peers_answer(&ports);
    assert_eq!(lists(&mut world, &IndexSet::EMPTY).count_ones(), 1);
}

/// Lists that never come keep nobody from the origin for long.
#[test]
fn a_survey_settles_without_those_who_come_later() {
    let mut world = World::new();
    world.survey(64);
    world.work();
    world.peers_answer(&[peer(2)]);
    world.after(300);
    assert!(!world.survey(64).settled, "its list may come");
    world.after(3_701);
    assert!(world.survey(64).settled);
}

/// A hosted cache tells which blocks it has; one that does not is thought to have all, and one that is not there is
/// not waited for.
#[test]
fn a_hosted_cache_is_asked_for_its_list() {
    let mut world = World::new();
    let hosted = [peer(9), peer(8)].into_iter().collect();
    world.fetch = Fetch::new(Config { hosted, distributed: false, ..Config::default() });
    assert!(world.fetch.is_hosted_alone());
    let survey = world.survey(64);
    assert!(!survey.settled && survey.held.is_empty(), "its list may come");
    let ask = world.ask().unwrap();
    assert_eq!(ask.peer, peer(9));
    assert!(matches!(ask.question, Question::List { blocks: 64, .. }));
    world.answer(&ask, Answer::Listed(IndexSet::up_to(5)));
    let survey = world.survey(64);
    assert!(survey.settled && survey.held == IndexSet::up_to(5));

    world.after(1_000);
    world.survey(64);
    let ask = world.ask().unwrap();
    world.answer(&ask, Answer::Failed(Cause::Refused));
    assert_eq!(world.survey(64).held.count(), 64);

    world.after(1_000);
    world.survey(64);
    let ask = world.ask().unwrap();
    world.answer(&ask, Answer::Failed(Cause::Unreachable));
    world.survey(64);
    let ask = world.ask().unwrap();
    assert_eq!(ask.peer, peer(8), "the next one stands in");
    world.answer(&ask, Answer::Failed(Cause::Unreachable));
    let survey = world.survey(64);
    assert_eq!(survey.again, Some(world.now + Duration::from_secs(1)), "somebody may have rested by then");
    world.after(5_001);
    world.survey(64);
    assert_eq!(world.ask().unwrap().peer, peer(9));
}
