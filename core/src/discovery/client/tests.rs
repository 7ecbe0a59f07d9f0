extern crate std;

use std::string::{String, ToString};
use std::vec::Vec;

use super::*;
use crate::discovery::CountingRng;
use crate::discovery::wire::{Message, parse};

const MATCHES: &[u8] = include_bytes!("../../../../tests/vectors/pccrd-probematches.bin");

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn id(first: u8) -> SegmentId {
    let mut bytes = [0; 32];
    bytes[0] = first;
    SegmentId::from_slice(&bytes).unwrap()
}

/// The answer of a peer to the probe in `datagram`.
fn answer(datagram: &[u8]) -> Vec<u8> {
    answer_at(datagram, "192.0.2.7:54321")
}

fn answer_at(datagram: &[u8], xaddrs: &str) -> Vec<u8> {
    let Ok(Message::Probe(probe)) = parse(datagram) else { panic!() };
    let asked = core::str::from_utf8(probe.message_id.as_bytes()).unwrap();
    String::from_utf8(MATCHES.to_vec())
        .unwrap()
        .replace("urn:uuid:00112233-4455-6677-8899-aabbccddeeff", asked)
        .replace("127.0.0.1:54321", xaddrs)
        .into_bytes()
}

/// What is found by an answer that comes from the local subnet.
fn found(client: &mut Client, now: Instant, datagram: &[u8]) -> Vec<Found> {
    let net = client.addresses.iter().chain(&client.config.local).next();
    let from = net.map_or("192.0.2.7".parse().unwrap(), |net| net.address);
    found_from(client, now, from, datagram)
}

fn found_from(client: &mut Client, now: Instant, from: IpAddr, datagram: &[u8]) -> Vec<Found> {
    let mut all = Vec::new();
    if let Ok(Message::ProbeMatches(matches)) = parse(datagram) {
        client.handle_matches(now, SocketAddr::new(from, 3_702), &matches, &mut |found| all.push(found));
    }
    all
}

fn transmit(client: &mut Client, now: Instant) -> Option<Vec<u8>> {
    let mut buf = [0; 1_399];
    client.poll_transmit(now, &mut buf).map(|(_, len)| buf[..len].to_vec())
}

/// 3.1.3: the elements of a probe MUST be as of 2.2.2.1, its ids those that the application gave. All
/// of it is literal, as facts 24, 26 and 30 have it, but for the MessageID, which is drawn.
#[test]
fn section_3_1_3_the_probe() {
    let hex = [
        "12A942E4E51869CAC4220BE529DFD4E3C21BB73675429F2DA23B03786D6699AA",
        "1699C1F54E5B8E5B111B2C35B56457C9D2A7ABE044C849B6C90CA2046C103277",
    ];
    let ids = hex.map(|hex| {
        let mut bytes = [0; 32];
        SegmentId::from_slice(crate::bytes::decode_hex(hex.as_bytes(), &mut bytes).unwrap()).unwrap()
    });
    let v1 = include_str!("../../../../tests/vectors/v1-probe.xml").replace(hex[0], &hex.join(" "));
    let v2 = include_str!("../../../../tests/vectors/own-probe-v2.xml");
    for version in [Version::V1, Version::V2] {
        let mut client = Client::new(Config::default());
        let rng = &mut CountingRng(7);
        let (expected, probe) = match version {
            Version::V1 => (v1.as_str(), client.probe(at(0), rng, &ids)),
            Version::V2 => (v2, client.probe_v2(at(0), rng, &ids)),
        };
        assert!(probe.is_ok());
        // Four bytes went into the gap.
        let expected = expected
            .trim_end()
            .replace("13482503-2dd0-482d-f235-1d2b8562d76f", "0b0c0d0e-0f10-4112-9314-15161718191a");
        let sent = String::from_utf8(transmit(&mut client, at(0)).unwrap()).unwrap();
        assert_eq!(sent, expected);
    }
}

/// 3.1.6.1: the probe is sent, put on the list and given a timer; 3.1.4.1: what is found for it MUST
/// be reported with IP address, port and HoHoDk; 3.1.5: the timer ends it.
#[test]
fn section_3_1_6_1_a_probe_and_its_answer() {
    let mut client = Client::new(Config::default());
    assert_eq!(client.poll_timeout(), None);
    let probe = client.probe(at(1_000), &mut CountingRng(0), &[id(1), id(2)]).unwrap();

    assert_eq!(client.poll_timeout(), Some(at(1_000)));
    let datagram = transmit(&mut client, at(1_000)).unwrap();
    assert_eq!(transmit(&mut client, at(1_000)), None);

    let answer = answer(&datagram);
    let peer = "192.0.2.7:54321".parse().unwrap();
    let expected = Found { probe, segment: id(2), peer, extent: Extent::Blocks(42), age: None };
    assert_eq!(found(&mut client, at(1_020), &answer), [expected]);
    assert_eq!(client.poll_expired(at(1_299)), None);
    assert_eq!(client.poll_expired(at(1_300)), Some(probe));
    assert_eq!(client.poll_expired(at(1_300)), None);
    assert_eq!(client.poll_timeout(), None);
    assert_eq!(found(&mut client, at(1_301), &answer), []);
    let counters =
        Counters { probes: 1, sent: 1, answers: 1, unsolicited: 1, expired: 1, ..Counters::default() };
    assert_eq!(client.counters(), counters);
}

#[test]
fn repeats_are_identical_and_their_gaps_double() {
    let config = Config { sends: 9, request_timeout: Duration::from_secs(5), ..Config::default() };
    let mut client = Client::new(config);
    client.probe(at(0), &mut CountingRng(3), &[id(1)]).unwrap();
    let mut sent = Vec::new();
    let mut times = Vec::new();
    let mut now = at(0);
    while let Some(datagram) = transmit(&mut client, now) {
        now = client.poll_timeout().unwrap();
        times.push(now.micros());
        sent.push(datagram);
    }
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|datagram| *datagram == sent[0]));
    let first = times[0];
    assert!((50_000..=250_000).contains(&first), "{first}");
    let second = (2 * first).min(500_000);
    assert_eq!(times, [first, first + second, first + second + (2 * second).min(500_000), 5_000_000]);
}

/// 3.1.2: the request timer SHOULD NOT be shorter than the longest back-off; its default is 200 to
/// 500 ms.
#[test]
fn section_3_1_2_nothing_is_sent_once_the_timer_has_run_out() {
    let default = Config::default().request_timeout;
    assert!((Duration::from_millis(200)..=Duration::from_millis(500)).contains(&default));
    let mut client = Client::new(Config { request_timeout: Duration::ZERO, ..Config::default() });
    let probe = client.probe(at(0), &mut CountingRng(200), &[id(1)]).unwrap();
    assert!(transmit(&mut client, at(1)).is_some());
    assert_eq!(transmit(&mut client, at(65)), None);
    assert_eq!(client.poll_timeout(), Some(at(65)), "raised to the longest back-off");
    assert_eq!(client.poll_expired(at(65)), Some(probe));
}

/// 3.1.4.1: the HoHoDks MUST be of a probe on the Outstanding Probe List.
#[test]
fn section_3_1_4_1_answers_that_do_not_count() {
    let mut client = Client::new(Config::default());
    client.probe(at(0), &mut CountingRng(0), &[id(1)]).unwrap();
    let datagram = transmit(&mut client, at(0)).unwrap();
    assert_eq!(found(&mut client, at(1), MATCHES), []);
    assert_eq!(client.counters().unsolicited, 1);
    assert_eq!(found(&mut client, at(1), &answer(&datagram)), []);
    assert_eq!(client.counters().not_asked, 1);
    assert_eq!(found(&mut client, at(1), &datagram), []);
    assert_eq!(found(&mut client, at(300), &answer(&datagram)), []);
    assert_eq!(client.counters().unsolicited, 2);
}

/// 3.1.4.1: Types MUST be checked; all malformed matches MUST be silently discarded, as 3.1.6 says of
/// all messages.
#[test]
fn section_3_1_4_1_types_and_malformed_matches() {
    let mut client = Client::new(Config::default());
    client.probe(at(0), &mut CountingRng(0), &[id(2)]).unwrap();
    let answer = String::from_utf8(answer(&transmit(&mut client, at(0)).unwrap())).unwrap();
    let before = client.counters();
    for len in 0..answer.trim_end().len() {
        assert_eq!(found(&mut client, at(1), &answer.as_bytes()[..len]), []);
    }
    for (old, new) in [
        ("PeerDistData</wsd:Types>", "Device</wsd:Types>"),
        ("/PeerDistributionDiscovery", "/PeerDistribution"),
        ("discovery/ProbeMatches</", "discovery/ResolveMatches</"),
    ] {
        assert!(answer.contains(old), "{old}");
        assert_eq!(found(&mut client, at(1), answer.replace(old, new).as_bytes()), [], "{old}");
    }
    assert_eq!(client.counters(), before);
    for (old, new) in [("0000002A", "2A"), ("0000002A", "00000000"), ("192.0.2.7:54321", "")] {
        assert_eq!(found(&mut client, at(1), answer.replace(old, new).as_bytes()), [], "{old}");
    }
    assert_eq!((client.counters().malformed, client.counters().not_asked), (2, 1));
    assert_eq!(found(&mut client, at(1), answer.as_bytes()).len(), 1);
}

/// 3.1.4.1, 5: an answer MUST be of the local subnet, and so is who sends it.
#[test]
fn section_3_1_4_1_answers_from_elsewhere() {
    let mut client = Client::new(Config::default());
    client.set_addresses(&[subnet(V4), subnet(V6)]);
    client.probe(at(0), &mut CountingRng(0), &[id(2)]).unwrap();
    let datagram = transmit(&mut client, at(0)).unwrap();
    for (from, reported) in [
        ("192.0.2.9", 1),
        ("fe80::9", 1),
        ("2001:db8::9", 1),
        ("192.0.3.9", 0),
        ("192.0.2.255", 0),
        ("2002:db8::9", 0),
    ] {
        let found = found_from(&mut client, at(1), from.parse().unwrap(), &answer(&datagram));
        assert_eq!(found.len(), reported, "{from}");
    }
    assert_eq!((client.counters().answers, client.counters().not_local), (3, 3));
    // All hosts at once are no peer to connect to.
    assert_eq!(found(&mut client, at(1), &answer_at(&datagram, "192.0.2.255:80")), []);
    assert_eq!(client.counters().not_local, 4);
}

/// 3.1.4.1: XAddrs MUST be of the local subnet.
#[test]
fn section_3_1_4_1_peers_elsewhere_are_dropped() {
    let mut config = Config::default();
    config.local.push(Subnet { address: "192.0.2.0".parse().unwrap(), prefix: 8 }).unwrap();
    for (prefix, reported) in [(8, 1), (32, 0), (255, 0), (0, 1)] {
        config.local[0].prefix = prefix;
        let mut client = Client::new(config.clone());
        client.probe(at(0), &mut CountingRng(0), &[id(2)]).unwrap();
        let datagram = transmit(&mut client, at(0)).unwrap();
        assert_eq!(found(&mut client, at(1), &answer(&datagram)).len(), reported);
        assert_eq!(client.counters().not_local, 1 - reported as u32);
    }
    let subnet = Subnet { address: "fe80::".parse().unwrap(), prefix: 10 };
    assert!(subnet.contains("fe80::1".parse().unwrap()));
    assert!(!subnet.contains("fec0::1".parse().unwrap()));
    assert!(!subnet.contains("127.0.0.1".parse().unwrap()));
}

/// Our own subnet is one more; and nobody's blocks are to be found on ourselves, unless loopback is where
/// all of us are.
#[test]
fn own_subnet_and_loopback() {
    let subnet = |address: &str| Subnet { address: address.parse().unwrap(), prefix: 24 };
    for (own, xaddr, reported) in [
        (Some("192.0.2.1"), "192.0.2.7:80", 1),
        (Some("192.0.3.1"), "192.0.2.7:80", 0),
        (Some("127.0.0.1"), "127.0.0.2:80", 1),
        (None, "127.0.0.1:80", 0),
    ] {
        let mut client = Client::new(Config::default());
        client.set_addresses(own.map(subnet).as_slice());
        client.probe(at(0), &mut CountingRng(0), &[id(2)]).unwrap();
        let datagram = transmit(&mut client, at(0)).unwrap();
        let answer = answer_at(&datagram, xaddr);
        assert_eq!(found(&mut client, at(1), &answer).len(), reported, "{own:?} {xaddr}");
        assert_eq!(client.counters().not_local, 1 - reported as u32);
    }
}

#[test]
fn one_match_has_two_addresses_at_most() {
    let mut client = Client::new(Config::default());
    client.probe(at(0), &mut CountingRng(0), &[id(2)]).unwrap();
    let datagram = transmit(&mut client, at(0)).unwrap();
    let xaddrs = "127.0.0.1:80 192.0.2.7:80 192.0.2.8:80 192.0.2.9:80 [2001:db8::1]:80";
    let found = found(&mut client, at(1), &answer_at(&datagram, xaddrs));
    let peers: Vec<_> = found.iter().map(|found| found.peer.ip().to_string()).collect();
    assert_eq!(peers, ["192.0.2.7", "192.0.2.8"]);
    assert_eq!((client.counters().surplus, client.counters().not_local), (2, 1));
}

#[test]
fn bounds() {
    let mut client = Client::new(Config::default());
    let rng = &mut CountingRng(0);
    let ids: Vec<_> = (0..20).map(id).collect();
    assert_eq!(client.probe(at(0), rng, &[]), Err(ProbeError::NoIds));
    let fitting = MAX_PROBE_IDS.min(MAX_SEARCHED);
    assert_eq!(client.probe(at(0), rng, &ids), Err(ProbeError::TooManyIds { fitting }));
    let probes: Vec<_> = (0..MAX_PROBES).map(|_| client.probe(at(0), rng, &ids[..1]).unwrap()).collect();
    assert_eq!(client.probe(at(0), rng, &ids[..1]), Err(ProbeError::TooManyProbes));
    client.cancel(probes[1]);
    let rest = fitting.min(MAX_SEARCHED - (MAX_PROBES - 1));
    assert!(client.probe(at(0), rng, &ids[..rest]).is_ok());
    assert_eq!(client.poll_transmit(at(0), &mut [0; 100]), None);
    assert_eq!(client.counters().unsendable as usize, MAX_PROBES);
    assert_eq!(client.counters().sent, 0);
}

const V4: &str = "192.0.2.1";
const V6: &str = "2001:db8::1";

fn subnet(address: &str) -> Subnet {
    Subnet { address: address.parse().unwrap(), prefix: 24 }
}

/// An answer of version 2 to the probe in `datagram`, from this address.
fn answer_v2(datagram: &[u8], scope: &str, xaddrs: &str) -> Vec<u8> {
    let Ok(Message::ProbeV2(probe)) = parse(datagram) else { panic!() };
    let asked = core::str::from_utf8(probe.message_id.as_bytes()).unwrap();
    include_str!("../../../../tests/vectors/own-probematches-v2.xml")
        .replace("urn:uuid:13482503-2dd0-482d-f235-1d2b8562d76f", asked)
        .replace("4A==", scope)
        .replace("192.0.2.1:8080", xaddrs)
        .into_bytes()
}

/// MS-PCCRD 3.1.6.1 and 3.1.4.1 in version 2: the probe names all segments, the answer says of each
/// whether some or all of it is there, and every address counts for each (fact 25).
#[test]
fn section_3_1_4_1_a_probe_of_version_2_and_its_answer() {
    let mut client = Client::new(Config::default());
    let asked = [id(1), id(2), id(3), id(4)];
    let probe = client.probe_v2(at(0), &mut CountingRng(0), &asked).unwrap();
    let datagram = transmit(&mut client, at(0)).unwrap();
    let Ok(Message::ProbeV2(sent)) = parse(&datagram) else { panic!("no probe of version 2") };
    assert!(sent.ids.iter().eq(asked));

    // 11 10 00 11: all of the first and the last, some of the second.
    let answer = answer_v2(&datagram, "4w==", "192.0.2.7:80 [2001:db8::7]:81");
    let found = found(&mut client, at(1), &answer);
    let ages = [Some(Duration::from_secs(600)), Some(Duration::from_millis(70)), None];
    let extents = [Extent::Whole, Extent::Part, Extent::Whole];
    let mut expected = Vec::new();
    for ((segment, extent), age) in [id(1), id(2), id(4)].into_iter().zip(extents).zip(ages) {
        for peer in ["192.0.2.7:80", "[2001:db8::7]:81"] {
            expected.push(Found { probe, segment, peer: peer.parse().unwrap(), extent, age });
        }
    }
    assert_eq!(found, expected);
    assert_eq!((client.counters().version2, client.counters().malformed), (1, 0));
    assert_eq!(client.poll_expired(at(300)), Some(probe));
}

/// 3.1.4.1: all malformed matches MUST be silently discarded; 2.2.2: an answer is of the version of
/// its probe, else its two bits would be taken for the wrong segments.
#[test]
fn section_3_1_4_1_answers_to_discard() {
    let mut client = Client::new(Config::default());
    let ids = [id(1); 5];
    client.probe_v2(at(0), &mut CountingRng(0), &ids).unwrap();
    let datagram = transmit(&mut client, at(0)).unwrap();
    for (scope, malformed) in [("/w==", 1), ("", 2), ("!", 3)] {
        assert_eq!(found(&mut client, at(1), &answer_v2(&datagram, scope, "192.0.2.7:80")), []);
        assert_eq!(client.counters().malformed, malformed, "{scope}");
    }
    // Two bytes do for five; "all" without "some" is nothing (fact 27).
    assert_eq!(found(&mut client, at(1), &answer_v2(&datagram, "VVU=", "192.0.2.7:80")), []);
    assert_eq!(found(&mut client, at(1), &answer_v2(&datagram, "VVX/", "192.0.2.7:80")).len(), 0);
    assert_eq!(found(&mut client, at(1), &answer_v2(&datagram, "VcA=", "192.0.2.7:80")).len(), 1);
    assert_eq!(client.counters().malformed, 3);

    let relates_to = parse(&datagram);
    let Ok(Message::ProbeV2(probe)) = relates_to else { panic!() };
    let asked = core::str::from_utf8(probe.message_id.as_bytes()).unwrap();
    let of_version_1 = String::from_utf8(MATCHES.to_vec())
        .unwrap()
        .replace("urn:uuid:00112233-4455-6677-8899-aabbccddeeff", asked);
    assert_eq!(found(&mut client, at(1), of_version_1.as_bytes()), []);
    assert_eq!(client.counters().malformed, 4);
}

/// 3.1.2: the request timer MUST remove the probe; 3.1.5: also where nobody polled it out yet.
#[test]
fn section_3_1_2_the_request_timer() {
    let mut client = Client::new(Config::default());
    let probe = client.probe_v2(at(0), &mut CountingRng(0), &[id(1)]).unwrap();
    let datagram = transmit(&mut client, at(0)).unwrap();
    let answer = answer_v2(&datagram, "wA==", "192.0.2.7:80");
    assert_eq!(found(&mut client, at(299), &answer).len(), 1);
    assert_eq!(found(&mut client, at(300), &answer), []);
    assert_eq!(client.poll_expired(at(300)), Some(probe));
    assert_eq!(client.poll_timeout(), None);
}

/// The groups follow from the addresses that are known; each is sent the same bytes.
#[test]
fn groups_of_both_families() {
    let cases = [
        (None, None, &[GROUP_V4][..]),
        (Some(V4), None, &[GROUP_V4]),
        (Some(V6), None, &[GROUP_V6]),
        (Some(V6), Some(V6), &[GROUP_V6]),
        (Some(V4), Some(V6), &[GROUP_V4, GROUP_V6]),
        (None, Some(V6), &[GROUP_V6]),
    ];
    for (own, other, groups) in cases {
        let mut config = Config::default();
        config.local.extend(other.map(subnet));
        let mut client = Client::new(config);
        client.set_addresses(own.map(subnet).as_slice());
        client.probe(at(0), &mut CountingRng(0), &[id(1)]).unwrap();
        let mut buf = [0; 1_399];
        let mut sent = Vec::new();
        for now in [at(0), at(250)] {
            while let Some((to, len)) = client.poll_transmit(now, &mut buf) {
                sent.push((to, buf[..len].to_vec()));
            }
        }
        let to: Vec<_> = sent.iter().map(|(to, _)| *to).collect();
        assert_eq!(to, [groups, groups].concat(), "{own:?} {other:?}");
        assert!(sent.iter().all(|(_, datagram)| *datagram == sent[0].1));
        assert_eq!(client.poll_timeout(), Some(at(300)));
    }
}

/// 3.1.4.1: XAddrs of the local subnet, which in IPv6 has link-local addresses beside its own.
#[test]
fn section_3_1_4_1_link_local_peers() {
    for (own, xaddr, reported) in [
        (V6, "[2001:db8::7]:80", 1),
        (V6, "[fe80::7]:80", 1),
        (V6, "[2001:1::7]:80", 0),
        (V6, "[fec0::7]:80", 0),
        (V4, "[fe80::7]:80", 0),
    ] {
        let mut client = Client::new(Config::default());
        client.set_addresses(&[subnet(own)]);
        client.probe(at(0), &mut CountingRng(0), &[id(2)]).unwrap();
        let datagram = transmit(&mut client, at(0)).unwrap();
        let answer = answer_at(&datagram, xaddr);
        assert_eq!(found(&mut client, at(1), &answer).len(), reported, "{own} {xaddr}");
    }
}

/// Each peer counts once, however often it answers and at how many addresses.
#[test]
fn how_many_have_answered() {
    let mut client = Client::new(Config::default());
    client.probe_v2(at(0), &mut CountingRng(0), &[id(1), id(2)]).unwrap();
    let datagram = transmit(&mut client, at(0)).unwrap();
    for peer in 0..20 {
        for again in 0..2 {
            // The first ten have all of the first segment, the others some; of the second, nothing.
            let scope = if peer < 10 { "wA==" } else { "gA==" };
            let xaddrs = std::format!("192.0.2.{}:80 192.0.2.{}:80", peer + again, peer + 100);
            let answer = answer_v2(&datagram, scope, &xaddrs);
            let from = IpAddr::from([192, 0, 2, peer]);
            assert_eq!(found_from(&mut client, at(1), from, &answer).len(), 2);
        }
    }
    let mut told = Vec::new();
    client.replies(at(299), &mut |id, replies| told.push((*id, replies)));
    assert_eq!(told, [], "others may still answer");
    client.replies(at(300), &mut |id, replies| told.push((*id, replies)));
    let counted = Replies { all: MAX_REPLIERS as u8, whole: 10 };
    assert_eq!(told, [(id(1), counted), (id(2), Replies::default())]);

    // In version 1, all of a segment is known only by the most that one can have.
    for (blocks, whole) in [("000001FF", 0), ("00000200", 1)] {
        let mut client = Client::new(Config::default());
        client.probe(at(0), &mut CountingRng(0), &[id(2)]).unwrap();
        let datagram = transmit(&mut client, at(0)).unwrap();
        let answer = String::from_utf8(answer(&datagram)).unwrap().replace("0000002A", blocks);
        assert_eq!(found(&mut client, at(1), answer.as_bytes()).len(), 1);
        client.replies(at(300), &mut |_, replies| assert_eq!(replies, Replies { all: 1, whole }));
    }
}

/// Whoever could count for many would silence us: with ten answers, a segment is left to others.
#[test]
fn one_host_counts_once() {
    let mut client = Client::new(Config::default());
    client.set_addresses(&[subnet(V4), subnet(V6)]);
    client.probe(at(0), &mut CountingRng(0), &[id(2)]).unwrap();
    let text = String::from_utf8(answer(&transmit(&mut client, at(0)).unwrap())).unwrap();
    let (head, rest) = text.split_once("<wsd:ProbeMatch>").unwrap();
    let (one, tail) = rest.split_once("</wsd:ProbeMatch>").unwrap();
    let many: String = (10..18)
        .map(|peer| {
            std::format!("<wsd:ProbeMatch>{one}</wsd:ProbeMatch>")
                .replace("2.7:54321", &std::format!("2.{peer}:80"))
        })
        .collect();
    let many = std::format!("{head}{many}{tail}");
    // The second comes from the same host in the other family: it was asked in both.
    for from in ["192.0.2.9", "fe80::9", "192.0.2.9"] {
        assert_eq!(found_from(&mut client, at(1), from.parse().unwrap(), many.as_bytes()).len(), 8);
    }
    client.replies(at(300), &mut |_, replies| assert_eq!(replies, Replies { all: 1, whole: 0 }));
}

#[test]
fn bounds_of_version_2() {
    let mut client = Client::new(Config::default());
    let rng = &mut CountingRng(0);
    let ids: Vec<_> = (0..20).map(id).collect();
    assert_eq!(client.probe_v2(at(0), rng, &[]), Err(ProbeError::NoIds));
    let fitting = MAX_PROBE_V2_IDS.min(MAX_SEARCHED);
    assert_eq!(client.probe_v2(at(0), rng, &ids), Err(ProbeError::TooManyIds { fitting }));
    let long = SegmentId::from_slice(&[1; 48]).unwrap();
    assert_eq!(client.probe_v2(at(0), rng, &[id(1), long]), Err(ProbeError::TooManyIds { fitting: 1 }));
    assert!(client.probe_v2(at(0), rng, &ids[..fitting]).is_ok());
    assert!(transmit(&mut client, at(0)).unwrap().len() < 1_400);
}
