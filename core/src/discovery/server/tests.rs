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
    at_home(Server::with_config(Config { sends: 1, ..Config::default() }, instance_id, rng))
}

/// The server on the subnet of [`from`].
fn at_home(mut server: Server) -> Server {
    server.set_addresses(&[subnet("192.0.2.1")]);
    server
}

fn subnet(address: &str) -> Subnet {
    let address: IpAddr = address.parse().unwrap();
    Subnet { address, prefix: if address.is_ipv4() { 24 } else { 64 } }
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
    let (to, len) = server.poll_transmit(now, 8_080, &mut buf)?;
    assert_eq!(to, from());
    Some(String::from_utf8(buf[..len].to_vec()).unwrap())
}

/// 3.2.2: who has a segment MUST answer when the back-off timer expires; 3.2.4.1: with a ProbeMatch
/// as of 2.2.2.2 and the right block counts, back to who asked. Its letters are those of facts 24
/// and 30.
#[test]
fn section_3_2_2_an_answer_after_the_back_off() {
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

/// 3.2.2: the back-off MUST be random, from 1 ms to APP_MAX_DELAY; that SHOULD be 65 ms, and can be
/// set.
#[test]
fn section_3_2_2_the_back_off_stays_within_its_bounds() {
    let Ok(Message::Probe(probe)) = parse(PROBE) else { panic!() };
    for (max_backoff, longest) in [(None, 65), (Some(200), 200), (Some(0), 1)] {
        let mut config = Config::default();
        config.max_backoff = max_backoff.map_or(config.max_backoff, Duration::from_millis);
        let (mut first, mut last) = (at(longest), at(0));
        for start in 0..=255 {
            let mut server = at_home(Server::with_config(config.clone(), 42, &mut CountingRng(0)));
            server.handle_probe(at(0), &mut CountingRng(start), from(), &probe, &mut |_| 1);
            let due = server.poll_timeout().unwrap();
            assert!((at(1)..=at(longest)).contains(&due));
            (first, last) = (first.min(due), last.max(due));
        }
        let spread = Duration::from_millis(longest - 1).micros();
        assert!(last.since(first).micros() >= spread / 2, "{first:?} {last:?}: not random");
    }
}

/// 3.2.2: who has none of the segments MUST ignore the probe; 3.2.4.1: it MUST be silently discarded,
/// as MUST one with empty or wrongly formatted scopes; 3.2.6: or any other malformed one.
#[test]
fn section_3_2_4_1_silence() {
    let mut server = single(42, &mut CountingRng(0));
    handle(&mut server, at(0), PROBE, 0);
    for scopes in ["", " ", "0", &PROBE_ID[1..], &std::format!("{PROBE_ID} x")] {
        handle(&mut server, at(0), &probe(1, scopes), 1);
    }
    for len in 0..PROBE.len() - 1 {
        handle(&mut server, at(0), &PROBE[..len], 1);
    }
    assert_eq!(server.poll_timeout(), None);
    let counters = Counters { probes: 1, no_match: 1, ..Counters::default() };
    assert_eq!(server.counters(), counters);
}

/// 3.2.4.1: Types and Scopes are checked to be of a peer: the same probe for another device.
#[test]
fn section_3_2_4_1_probes_for_other_services() {
    let mut server = single(42, &mut CountingRng(0));
    let text = String::from_utf8(PROBE.to_vec()).unwrap();
    for (old, new) in [
        ("PeerDist:PeerDistData<", "PeerDist:Device<"),
        ("PeerDist:PeerDistData<", "wsd:PeerDistData<"),
        ("<wsd:Types>PeerDist:PeerDistData</wsd:Types>", ""),
        ("/PeerDistributionDiscovery", "/PeerDistribution"),
    ] {
        assert!(text.contains(old));
        handle(&mut server, at(0), text.replace(old, new).as_bytes(), 1);
    }
    assert_eq!((server.poll_timeout(), server.counters()), (None, Counters::default()));
}

/// 3.2.6.1: the list MUST follow what is added and removed; nothing of it is kept here.
#[test]
fn section_3_2_6_1_segments_come_and_go() {
    let mut server = single(42, &mut CountingRng(0));
    for (number, blocks) in [(1, 0), (2, 7), (3, 8), (4, 0), (5, 1)] {
        let now = at(1_000 * u64::from(number));
        handle(&mut server, now, &probe(number, PROBE_ID), blocks);
        let answer = transmit(&mut server, now + MAX_BACKOFF);
        assert_eq!(answer.is_some(), blocks > 0);
        let count = std::format!("<PeerDist:BlockCount>{blocks:08X}</PeerDist:BlockCount>");
        assert!(answer.is_none_or(|answer| answer.contains(&count)));
    }
}

/// Nobody has our answers sent to a crowd, or where nothing can be sent; nor can we answer before we
/// know where we are ourselves.
#[test]
fn probes_from_no_host() {
    let mut server = single(42, &mut CountingRng(0));
    server.set_addresses(&[Subnet { address: "192.0.2.1".parse().unwrap(), prefix: 0 }]);
    let nobody = ["255.255.255.255:3702", "239.255.255.250:3702", "0.0.0.0:3702", "192.0.2.9:0"];
    for from in nobody {
        handle_from(&mut server, at(0), from.parse().unwrap(), PROBE, &mut |_| 1);
    }
    server.set_addresses(&[subnet("192.0.2.1")]);
    handle_from(&mut server, at(0), "192.0.2.255:3702".parse().unwrap(), PROBE, &mut |_| 1);
    server.set_addresses(&[]);
    handle(&mut server, at(0), PROBE, 1);
    assert_eq!((server.poll_timeout(), server.counters().not_local), (None, 6));
}

/// Fact 24: every client reads an address of IPv4 in version 1. In version 2, 2.2.3.8: it MUST be one
/// that the remote host can use, so it is of the family in which it asked.
#[test]
fn section_2_2_3_8_the_address_that_an_answer_names() {
    let (v4, v6) = ("192.0.2.1", "2001:db8::1");
    for (ours, asker, of_v1, of_v2) in [
        (&[v4, v6][..], "192.0.2.9:1", Some("192.0.2.1:81"), Some("192.0.2.1:81")),
        (&[v6, v4], "[fe80::9]:1", Some("192.0.2.1:81"), Some("[2001:db8::1]:81")),
        (&[v6], "[fe80::9]:1", Some("[2001:db8::1]:81"), Some("[2001:db8::1]:81")),
        (&[v4], "[fe80::9]:1", None, None),
    ] {
        let ours: Vec<_> = ours.iter().map(|address| subnet(address)).collect();
        let asker: SocketAddr = asker.parse().unwrap();
        let (Ok(Message::Probe(v1)), Ok(Message::ProbeV2(v2))) = (parse(PROBE), parse(PROBE_V2.as_bytes()))
        else {
            panic!()
        };
        for (version, expected) in [(1, of_v1), (2, of_v2)] {
            let mut server = single(42, &mut CountingRng(0));
            server.set_addresses(&ours);
            let rng = &mut CountingRng(7);
            match version {
                1 => server.handle_probe(at(0), rng, asker, &v1, &mut |_| 1),
                _ => server.handle_probe_v2(at(0), rng, asker, &v2, &mut |_| WHOLE),
            }
            let mut buf = [0; 1_399];
            let sent = server.poll_transmit(at(65), 81, &mut buf);
            assert_eq!(sent.map(|(to, _)| to), expected.map(|_| asker));
            let Some((_, len)) = sent else { continue };
            let answer = core::str::from_utf8(&buf[..len]).unwrap();
            let xaddrs = std::format!("<wsd:XAddrs>{}</wsd:XAddrs>", expected.unwrap());
            assert!(answer.contains(&xaddrs), "{answer}");
        }
    }

    // The address is gone before the back-off is over.
    let mut server = single(42, &mut CountingRng(0));
    handle(&mut server, at(0), PROBE, 1);
    server.set_addresses(&[]);
    assert_eq!(transmit(&mut server, at(65)), None);
    assert_eq!((server.poll_timeout(), server.counters().unsendable), (None, 1));
}

/// An answer is longer than its probe: who could name any address would have us send it there.
#[test]
fn probes_from_elsewhere() {
    let mut server = single(42, &mut CountingRng(0));
    for (address, counted) in [("192.0.3.1", 1), ("192.0.2.1", 1)] {
        server.set_addresses(&[subnet(address)]);
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
    let sent = server.poll_transmit(at(400), 80, &mut buf);
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
    assert_eq!(server.poll_transmit(at(65), 80, &mut [0; 100]), None);
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
    let ours: SocketAddr = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535".parse().unwrap();
    server.set_addresses(&[Subnet { address: ours.ip(), prefix: 64 }]);
    let asker = "[fe80::9]:3702".parse().unwrap();
    handle_from(&mut server, at(0), asker, &probe(1, &ids), &mut |_| 512);
    let mut buf = [0; 1_399];
    let (_, len) = server.poll_transmit(at(65), ours.port(), &mut buf).unwrap();
    assert!(core::str::from_utf8(&buf[..len]).unwrap().contains(&ours.to_string()));
    assert_eq!(server.poll_transmit(at(65), ours.port(), &mut buf), None);
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
        let mut server = at_home(Server::new(42, &mut CountingRng(start)));
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
    let mut server = at_home(Server::new(42, &mut CountingRng(0)));
    for number in 0..MAX_PENDING as u32 {
        handle(&mut server, at(0), &probe_of(number), 1);
    }
    assert!(transmit(&mut server, at(65)).is_some());
    handle(&mut server, at(65), &probe_of(100), 1);
    assert_eq!((server.pending.len(), server.counters().left_out), (MAX_PENDING, 0));
    handle(&mut server, at(65), &probe_of(101), 1);
    assert_eq!(server.counters().left_out, 1);
}

/// A probe may have several datagrams of answer, and each counts.
#[test]
fn probes_that_ask_for_long_answers() {
    let mut server = single(42, &mut CountingRng(0));
    let ids: Vec<_> = (0..9).map(|i: u32| std::format!("{i:064X}")).collect();
    for number in 0..60 {
        handle(&mut server, at(0), &probe(number, &ids.join(" ")), 1);
        while transmit(&mut server, at(65)).is_some() {}
    }
    assert_eq!(server.counters().sent, ANSWERS_AT_ONCE);
    assert_eq!(server.counters().too_many, 60 - ANSWERS_AT_ONCE / 5);
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
    server.set_addresses(&[subnet("2001:db8::1")]);
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

/// Product behaviour of 3.2.4.1: a probe is answered with a probability of 0.33, however often it is
/// repeated and however often it names the segment.
#[test]
fn section_3_2_4_1_one_draw_for_a_probe() {
    let mut server = single(42, &mut CountingRng(0));
    let Ok(Message::Probe(asked)) = parse(PROBE) else { panic!() };
    let segment = asked.scopes.ids().next().unwrap();
    server.learn(at(0), &segment, Replies { all: 12, whole: 9 });
    let (mut rng, mut answered) = (CountingRng(0), [0, 0]);
    for (version, answered) in answered.iter_mut().enumerate() {
        for number in 0..150 {
            let begin = 1_000 * u64::from(number);
            for repeat in [0, 100, 300, 700] {
                let now = at(begin + repeat);
                let (v1, v2) = (
                    probe(number, &[PROBE_ID; 4].join(" ")),
                    PROBE_V2.replace("13482503", &std::format!("{number:08x}")),
                );
                match (version, parse(&v1), parse(v2.as_bytes())) {
                    (0, Ok(Message::Probe(probe)), _) => {
                        server.handle_probe(now, &mut rng, from(), &probe, &mut |_| 1);
                    }
                    (1, _, Ok(Message::ProbeV2(probe))) => {
                        let mut held = [WHOLE, NOTHING].into_iter();
                        server.handle_probe_v2(now, &mut rng, from(), &probe, &mut |_| held.next().unwrap());
                    }
                    other => panic!("{other:?}"),
                }
            }
            *answered += u32::from(transmit(&mut server, at(begin + 900)).is_some());
            assert_eq!(transmit(&mut server, at(begin + 900)), None);
        }
    }
    assert!(answered.iter().all(|answered| (40..=60).contains(answered)), "{answered:?}");
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
