extern crate std;

use std::string::{String, ToString};
use std::vec::Vec;

use super::*;
use crate::discovery::CountingRng;
use crate::discovery::wire::{Message, ProbeRepr, parse};

const PROBE: &[u8] = include_bytes!("../../../../tests/vectors/v1-probe.xml");
const PROBE_ID: &str = "12A942E4E51869CAC4220BE529DFD4E3C21BB73675429F2DA23B03786D6699AA";

/// A server that sends each answer once.
fn single(instance_id: u32, rng: &mut CountingRng) -> Server {
    Server::with_config(Config { sends: 1, ..Config::default() }, instance_id, rng)
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn from() -> SocketAddr {
    "192.0.2.9:45678".parse().unwrap()
}

/// The probe of a client with another MessageID and these scopes.
fn probe(number: u32, scopes: &str) -> Vec<u8> {
    let text = String::from_utf8(PROBE.to_vec()).unwrap();
    text.replace("13482503", &std::format!("{number:08x}")).replace(PROBE_ID, scopes).into_bytes()
}

fn handle(server: &mut Server, now: Instant, datagram: &[u8], blocks: u32) {
    handle_from(server, now, from(), datagram, &mut |_| blocks);
}

fn handle_from(
    server: &mut Server,
    now: Instant,
    from: SocketAddr,
    datagram: &[u8],
    have: &mut dyn FnMut(&SegmentId) -> u32,
) {
    if let Ok(Message::Probe(probe)) = parse(datagram) {
        server.handle_probe(now, &mut CountingRng(7), from, &probe, have);
    }
}

fn transmit(server: &mut Server, now: Instant) -> Option<String> {
    let mut buf = [0; 1_399];
    let (to, len) = server.poll_transmit(now, "192.0.2.1:8080".parse().unwrap(), &mut buf)?;
    assert_eq!(to, from());
    Some(String::from_utf8(buf[..len].to_vec()).unwrap())
}

#[test]
fn an_answer_after_the_back_off() {
    let mut server = single(42, &mut CountingRng(0xa0));
    handle(&mut server, at(0), PROBE, 3);
    let due = server.poll_timeout().unwrap();
    assert!((at(1)..=at(65)).contains(&due), "{due:?}");
    assert_eq!(transmit(&mut server, Instant::from_micros(due.micros() - 1)), None);

    let answer = transmit(&mut server, due).unwrap();
    assert_eq!(
        answer,
        include_str!("../../../../tests/vectors/own-probematches.xml").trim_end(),
        "the form that every known client takes"
    );
    assert_eq!(transmit(&mut server, at(1_000)), None);
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn the_back_off_stays_within_its_bounds() {
    for start in 0..=255 {
        let backoff = between((MIN_BACKOFF, MAX_BACKOFF), &mut CountingRng(start));
        assert!((MIN_BACKOFF..=MAX_BACKOFF).contains(&backoff));
    }
}

#[test]
fn silence() {
    let mut server = single(42, &mut CountingRng(0));
    handle(&mut server, at(0), PROBE, 0);
    handle(&mut server, at(0), &probe(1, ""), 1);
    assert_eq!(server.poll_timeout(), None);
    let counters = Counters { probes: 1, no_match: 1, ..Counters::default() };
    assert_eq!(server.counters(), counters);
}

/// An answer is longer than its probe: who could name any address would have us send it there.
#[test]
fn probes_from_elsewhere() {
    let mut server = single(42, &mut CountingRng(0));
    for (address, counted) in [("192.0.3.1", 1), ("192.0.2.1", 1)] {
        server.set_subnet(Some(Subnet { address: address.parse().unwrap(), prefix: 24 }));
        handle(&mut server, at(0), PROBE, 1);
        assert_eq!(server.counters().not_local, counted);
        assert_eq!(server.poll_timeout().is_some(), address == "192.0.2.1");
    }
}

#[test]
fn a_repeat_is_answered_after_a_second_only() {
    let mut server = single(42, &mut CountingRng(0));
    handle(&mut server, at(0), PROBE, 1);
    handle(&mut server, at(10), PROBE, 1);
    assert!(transmit(&mut server, at(70)).unwrap().contains("MessageNumber=\"1\""));
    handle(&mut server, at(250), PROBE, 1);
    assert_eq!(transmit(&mut server, at(900)), None);
    assert_eq!(server.counters().repeats, 2);

    // Another port is another client.
    let other = "192.0.2.9:45679".parse().unwrap();
    handle_from(&mut server, at(300), other, PROBE, &mut |_| 1);
    assert!(server.poll_timeout().is_some());
    let mut buf = [0; 1_399];
    let sent = server.poll_transmit(at(400), "192.0.2.1:80".parse().unwrap(), &mut buf);
    assert_eq!(sent.map(|(to, _)| to), Some(other));

    handle(&mut server, at(1_000), PROBE, 1);
    assert!(transmit(&mut server, at(1_065)).unwrap().contains("MessageNumber=\"3\""));
}

#[test]
fn only_what_we_have_and_as_it_was_written() {
    let mut server = single(42, &mut CountingRng(0));
    let (mixed, absent) = ("aB".repeat(48), "0".repeat(64));
    let datagram = probe(1, &[mixed.as_str(), &absent, &mixed].join("\n"));
    handle_from(&mut server, at(0), from(), &datagram, &mut |id| {
        if id.as_bytes().len() == 48 { 512 } else { 0 }
    });
    let answer = transmit(&mut server, at(65)).unwrap();
    assert!(answer.contains(&std::format!("<wsd:Scopes>{mixed}</wsd:Scopes>")));
    assert!(answer.contains("<PeerDist:BlockCount>00000200</PeerDist:BlockCount>"));
    assert_eq!(transmit(&mut server, at(65)), None);
}

#[test]
fn a_long_answer_goes_on_in_the_next_datagram() {
    let mut server = single(u32::MAX, &mut CountingRng(0));
    let ids: Vec<_> = (0..9).map(|i: u32| std::format!("{i:064X}")).collect();
    handle(&mut server, at(0), &probe(1, &ids.join(" ")), 512);
    let mut answers = Vec::new();
    while let Some(answer) = transmit(&mut server, at(65)) {
        assert!(answer.len() < 1_400);
        answers.push(answer);
    }
    assert_eq!(answers.len(), 5);
    for (i, id) in ids.iter().enumerate() {
        assert!(answers[i / MAX_ANSWER_IDS].contains(id), "in the order of the probe");
    }
    for (i, answer) in answers.iter().enumerate() {
        assert!(answer.contains(&std::format!("MessageNumber=\"{}\"", i + 1)));
    }
    assert_eq!(server.counters().left_out, 0);
}

#[test]
fn whatever_fits_a_probe_can_be_answered() {
    for bytes in [32, 48, 64] {
        let datagrams = ProbeRepr::capacity(bytes).div_ceil(ProbeMatchesRepr::capacity(45, bytes));
        assert!(datagrams <= MAX_PER_PROBE, "{datagrams}");
    }
}

#[test]
fn bounds() {
    let mut server = single(42, &mut CountingRng(0));
    let ids: Vec<_> = (0..MAX_SCOPES).map(|i| std::format!("{i:0128X}")).collect();
    handle(&mut server, at(0), &probe(1, &ids.join(" ")), 1);
    assert_eq!(server.counters().left_out as usize, MAX_SCOPES - MAX_PER_PROBE);
    for number in 0..100 {
        handle(&mut server, at(0), &probe(number + 2, PROBE_ID), 1);
    }
    assert_eq!(server.pending.len(), MAX_PENDING);
    assert_eq!(server.counters().repeats, 0);
    assert_eq!(server.poll_transmit(at(65), from(), &mut [0; 100]), None);
    assert_eq!(server.counters().unsendable as usize, MAX_PENDING);
    assert_eq!(server.poll_timeout(), None);

    // What found no room has not been answered, so its repeat is.
    handle(&mut server, at(500), &probe(90, PROBE_ID), 1);
    assert!(transmit(&mut server, at(565)).is_some());
    for number in 0..100 {
        handle(&mut server, at(600), &probe(number + 200, PROBE_ID), 1);
        assert!(transmit(&mut server, at(665)).is_some());
    }
    handle(&mut server, at(700), &probe(299, PROBE_ID), 1);
    handle(&mut server, at(700), &probe(284, PROBE_ID), 1);
    assert_eq!(server.counters().repeats, 2, "the youngest are remembered");
    handle(&mut server, at(700), &probe(283, PROBE_ID), 1);
    assert_eq!(server.counters().repeats, 2);
}

#[test]
fn the_longest_answer_fits() {
    let mut server = single(u32::MAX, &mut CountingRng(0));
    server.message_number = u32::MAX - 1;
    let ids = [0u8; 3].map(|i| std::format!("{i:096X}")).join(" ");
    let ours = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535".parse().unwrap();
    handle(&mut server, at(0), &probe(1, &ids), 512);
    let mut buf = [0; 1_399];
    let (_, len) = server.poll_transmit(at(65), ours, &mut buf).unwrap();
    assert!(core::str::from_utf8(&buf[..len]).unwrap().contains(&ours.to_string()));
    assert_eq!(server.poll_transmit(at(65), ours, &mut buf), None);
    assert_eq!(server.message_number, u32::MAX);
    assert_eq!(server.next_sequence(), (0, 1));
}

const PROBE_V2: &str = include_str!("../../../../tests/vectors/own-probe-v2.xml");

/// What it has of the segments of [`PROBE_V2`] in turn.
fn handle_v2(server: &mut Server, now: Instant, rng: &mut CountingRng, held: &[Holding]) {
    let Ok(Message::ProbeV2(probe)) = parse(PROBE_V2.as_bytes()) else { panic!() };
    let mut held = held.iter().copied();
    server.handle_probe_v2(now, rng, from(), &probe, &mut |_| held.next().unwrap());
}

const NOTHING: Holding = Holding { availability: Availability::Nothing, age: None };
const WHOLE: Holding = Holding { availability: Availability::All, age: None };

/// 3.2.4.1 and 3.2.2 in version 2.
#[test]
fn section_3_2_4_1_an_answer_of_version_2() {
    let mut server = single(42, &mut CountingRng(0xa0));
    let first = Holding { age: Some(Duration::from_secs(600)), ..WHOLE };
    let second = Holding { availability: Availability::Some, age: Some(Duration::from_millis(79)) };
    handle_v2(&mut server, at(0), &mut CountingRng(7), &[first, second]);
    let due = server.poll_timeout().unwrap();
    assert!((at(1)..=at(65)).contains(&due), "{due:?}");
    assert_eq!(transmit(&mut server, Instant::from_micros(due.micros() - 1)), None);
    let expected = include_str!("../../../../tests/vectors/own-probematches-v2.xml").trim_end();
    assert_eq!(transmit(&mut server, due).as_deref(), Some(expected));
    assert_eq!((server.counters().version2, server.counters().sent), (1, 1));
}

/// 3.2.2, 3.2.4.1: who has nothing of it MUST ignore the probe.
#[test]
fn section_3_2_2_silence_without_a_match() {
    let mut server = single(42, &mut CountingRng(0));
    let aged = Holding { age: Some(Duration::ZERO), ..NOTHING };
    handle_v2(&mut server, at(0), &mut CountingRng(7), &[NOTHING, aged]);
    assert_eq!((server.poll_timeout(), server.counters().no_match), (None, 1));
    handle_v2(&mut server, at(0), &mut CountingRng(7), &[aged, WHOLE]);
    let answer = transmit(&mut server, at(65)).unwrap();
    // 00 11, and no age for what is not here.
    assert!(answer.contains("<wsd:Scopes>MA==</wsd:Scopes>") && answer.contains(">AAEDAA==<"));
}

/// 3.2.3, fact 30: two endpoints, and one count of messages over both.
#[test]
fn section_3_2_3_an_endpoint_for_each_version() {
    let mut server = single(42, &mut CountingRng(0xa0));
    let mut addresses = Vec::new();
    for number in 1..=4 {
        match number % 2 {
            1 => handle(&mut server, at(1_000 * number), PROBE, 1),
            _ => handle_v2(&mut server, at(1_000 * number), &mut CountingRng(7), &[WHOLE, NOTHING]),
        }
        let answer = transmit(&mut server, at(1_000 * number + 65)).unwrap();
        assert!(answer.contains(&std::format!("InstanceId=\"42\" MessageNumber=\"{number}\"")));
        let (_, rest) = answer.split_once("<wsa:Address>").unwrap();
        addresses.push(String::from(rest.split_once('<').unwrap().0));
    }
    assert!(addresses[0] != addresses[1] && addresses[..2] == addresses[2..]);
    assert!(addresses.iter().all(|address| address.starts_with("urn:uuid:")));
}

/// Fact 29: a unicast goes out twice at most, the same bytes, 50 to 250 ms apart.
#[test]
fn an_answer_and_its_repeat() {
    for start in 0..50 {
        let mut server = Server::new(42, &mut CountingRng(start));
        let Ok(Message::Probe(probe)) = parse(PROBE) else { panic!() };
        server.handle_probe(at(0), &mut CountingRng(start), from(), &probe, &mut |_| 1);
        let first = server.poll_timeout().unwrap();
        let sent = transmit(&mut server, first).unwrap();
        let second = server.poll_timeout().unwrap();
        let gap = second.since(first);
        assert!((Duration::from_millis(50)..=Duration::from_millis(250)).contains(&gap), "{gap:?}");
        // What is sent in between has the next number.
        handle(&mut server, first, &probe_of(9), 1);
        assert!(transmit(&mut server, first + Duration::from_millis(65)).is_some());
        assert_eq!(server.message_number, 2);
        let mut repeats = Vec::new();
        while let Some(answer) = transmit(&mut server, at(1_000)) {
            repeats.push(answer);
        }
        assert!(repeats.len() == 2 && repeats.contains(&sent));
        assert_eq!((server.poll_timeout(), server.counters().sent), (None, 4));
    }
}

fn probe_of(number: u32) -> Vec<u8> {
    probe(number, PROBE_ID)
}

#[test]
fn a_repeat_gives_way_to_an_answer() {
    let mut server = Server::new(42, &mut CountingRng(0));
    for number in 0..MAX_PENDING as u32 {
        handle(&mut server, at(0), &probe_of(number), 1);
    }
    assert!(transmit(&mut server, at(65)).is_some());
    handle(&mut server, at(65), &probe_of(100), 1);
    assert_eq!((server.pending.len(), server.counters().left_out), (MAX_PENDING, 0));
    handle(&mut server, at(65), &probe_of(101), 1);
    assert_eq!(server.counters().left_out, 1);
}

/// So many answers a second, and no more.
#[test]
fn probes_beyond_the_allowance() {
    let mut server = single(42, &mut CountingRng(0));
    let answered = |server: &mut Server, from: u64, probes: u32| {
        let before = server.counters().sent;
        for number in 0..probes {
            handle(server, at(from), &probe_of(number + 1_000 * from as u32), 1);
            drop(transmit(server, at(from + 65)));
        }
        server.counters().sent - before
    };
    assert_eq!(answered(&mut server, 0, 300), ANSWERS_AT_ONCE);
    assert_eq!(server.counters().too_many, 300 - ANSWERS_AT_ONCE);
    assert_eq!(answered(&mut server, 100, 300), ANSWERS_PER_SECOND / 10);
    // What is for nobody costs nothing.
    handle(&mut server, at(200), &probe_of(1), 0);
    assert_eq!(answered(&mut server, 200, 300), ANSWERS_PER_SECOND / 10);
    assert_eq!(answered(&mut server, 5_000, 300), ANSWERS_AT_ONCE);
}

/// Probes from the link, in IPv6 also from link-local addresses; and in each version.
#[test]
fn probes_from_elsewhere_over_ipv6() {
    let mut server = single(42, &mut CountingRng(0));
    server.set_subnet(Some(Subnet { address: "2001:db8::1".parse().unwrap(), prefix: 64 }));
    let Ok(Message::ProbeV2(probe)) = parse(PROBE_V2.as_bytes()) else { panic!() };
    let cases =
        [("2001:db8::2", 1), ("fe80::2", 2), ("2001:db8:0:1::2", 2), ("fec0::1", 2), ("192.0.2.9", 2)];
    for (address, answered) in cases {
        let from = SocketAddr::new(address.parse().unwrap(), 3_702);
        server.handle_probe_v2(at(0), &mut CountingRng(0), from, &probe, &mut |_| WHOLE);
        assert_eq!(server.pending.len(), answered, "{address}");
    }
    assert_eq!((server.counters().not_local, server.counters().version2), (3, 2));
}

#[test]
fn a_repeat_of_version_2_is_one() {
    let mut server = single(42, &mut CountingRng(0));
    for (now, pending) in [(0, 1), (10, 1), (899, 1), (900, 2)] {
        handle_v2(&mut server, at(now), &mut CountingRng(0), &[WHOLE, NOTHING]);
        assert_eq!(server.pending.len(), pending);
    }
    assert_eq!(server.counters().repeats, 2);
}

/// Product behaviour of 3.2.4.1: by what we heard when we looked for the segment ourselves.
#[test]
fn section_3_2_4_1_many_others_have_it() {
    let Ok(Message::Probe(asked)) = parse(PROBE) else { panic!() };
    let segment = asked.scopes.ids().next().unwrap();
    let answers = |all, whole, later: Duration| {
        let mut server = single(42, &mut CountingRng(0));
        server.learn(at(0), &segment, Replies { all, whole });
        let mut rng = CountingRng(0);
        for number in 0..150 {
            let datagram = probe_of(number);
            let Ok(Message::Probe(probe)) = parse(&datagram) else { panic!() };
            server.handle_probe(at(0) + later, &mut rng, from(), &probe, &mut |_| 1);
            drop(transmit(&mut server, at(65) + later));
        }
        assert_eq!(server.counters().sent + server.counters().crowded, 150);
        assert_eq!(server.counters().no_match, 0);
        server.counters().sent
    };
    // Fewer than 10 replies.
    assert_eq!(answers(9, 9, Duration::ZERO), 150);
    // 10, and all of them with all of it.
    assert_eq!(answers(10, 10, Duration::ZERO), 0);
    // 10, but fewer with all of it: a third.
    let third = answers(12, 9, Duration::ZERO);
    assert!((40..=60).contains(&third), "{third}");
    // In the end, those that answered may be gone.
    assert_eq!(answers(10, 10, CROWDED_FOR), 150);

    // In version 2 the other segments are answered for.
    let mut server = single(42, &mut CountingRng(0));
    server.learn(at(0), &segment, Replies { all: 10, whole: 10 });
    handle_v2(&mut server, at(0), &mut CountingRng(0), &[WHOLE, WHOLE]);
    assert!(transmit(&mut server, at(65)).unwrap().contains("<wsd:Scopes>MA==</wsd:Scopes>"));
    // The last time counts.
    server.learn(at(0), &segment, Replies { all: 3, whole: 0 });
    handle_v2(&mut server, at(1_000), &mut CountingRng(0), &[WHOLE, WHOLE]);
    assert!(transmit(&mut server, at(1_065)).unwrap().contains("<wsd:Scopes>8A==</wsd:Scopes>"));
}

#[test]
fn the_table_of_crowds_forgets_the_oldest() {
    let mut server = single(42, &mut CountingRng(0));
    let id = |index: usize| SegmentId::from_slice(&[index as u8; 32]).unwrap();
    for index in 0..=MAX_CROWDS {
        server.learn(at(index as u64), &id(index), Replies { all: 255, whole: 255 });
    }
    let known = |index| server.crowds.whole(at(100), &id(index)).is_some();
    assert!(!known(0) && (1..=MAX_CROWDS).all(known));
}

/// A message id that leaves no room for the answer (fact 24: one datagram).
#[test]
fn a_probe_that_cannot_be_answered() {
    let mut server = single(42, &mut CountingRng(0));
    let datagram = PROBE_V2.replace("urn:uuid:13482503-2dd0-482d-f235-1d2b8562d76f", &"&amp;".repeat(80));
    let Ok(Message::ProbeV2(probe)) = parse(datagram.as_bytes()) else { panic!() };
    server.handle_probe_v2(at(0), &mut CountingRng(0), from(), &probe, &mut |_| WHOLE);
    assert_eq!((server.poll_timeout(), server.counters().left_out), (None, 1));
}
