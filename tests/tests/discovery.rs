//! Discovery against what others say: the XML tokenizer of core against quick-xml, and a client
//! against a server through bytes alone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;

use peerdist_core::content::SegmentId;
use peerdist_core::discovery::client::{Client, Config, Extent, Found};
use peerdist_core::discovery::server::{self, Holding, Server};
use peerdist_core::discovery::wire::{
    Availability, MAX_PROBE_IDS, MAX_PROBE_V2_IDS, MAX_SENT_BYTES, Message, parse,
};
use peerdist_core::discovery::xml::MAX_DOCUMENT_BYTES;
use peerdist_core::discovery::{GROUP_V4, GROUP_V6, Subnet};
use peerdist_core::time::{Duration, Instant, earliest};
use peerdist_tests::fuzz::agree;
use rand_core::{TryCryptoRng, TryRng};

const CORPUS: [&[u8]; 11] = [
    include_bytes!("../vectors/v1-probe.xml"),
    include_bytes!("../vectors/pccrd-probe.bin"),
    include_bytes!("../vectors/pccrd-probematches.bin"),
    include_bytes!("../vectors/own-probe-v2.xml"),
    include_bytes!("../vectors/own-probematches-v2.xml"),
    b"<?xml version='1.0' encoding='utf-8' standalone='no'?><!-- c --><a b='1' c=\"2\">t</a><?p i?>",
    b"<a xmlns='u' xmlns:p='v'><p:b p:c='1' c='2'/><d xmlns=''><e/></d><f xmlns:p='w'><p:g/></f></a>",
    b"<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x1F600;<![CDATA[<x>&y;]]]]><!-- - -->\r\n z\r</a >",
    b"<a b='&lt;&#10;\t\r\n' c='>/>'> <b/> <c></c> </a>\n",
    "<\u{e9}t\u{e9} na\u{ef}f='\u{4e2d}'>\u{6587}</\u{e9}t\u{e9}>".as_bytes(),
    b"<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a></a></a></a></a></a></a></a>",
];

const SNIPPETS: [&str; 40] = [
    "<",
    ">",
    "/",
    "&",
    ";",
    "'",
    "\"",
    "=",
    " ",
    "\r",
    "\n",
    "x",
    ":",
    "-",
    "?",
    "!",
    "]]>",
    "]]",
    "<!--",
    "-->",
    "--",
    "<![CDATA[",
    "<?p q?>",
    "<?xml version='1.0'?>",
    "<!DOCTYPE a>",
    "<b>",
    "</b>",
    "<b/>",
    "</a>",
    "<a ",
    "&lt;",
    "&#65;",
    "&#x0;",
    "&nbsp;",
    " b='1'",
    " xmlns='u'",
    " xmlns:p='v'",
    " p:c='3'",
    "\u{feff}",
    "\u{1}",
];

/// Every vector of discovery, ours and those of others, says what its `README` tells: facts 23 to 28.
#[test]
fn what_the_vectors_say() {
    let of_others = "0200000000000000000000000000000000000000000000000000000000000000";
    let [first, second] = [
        "12A942E4E51869CAC4220BE529DFD4E3C21BB73675429F2DA23B03786D6699AA",
        "1699C1F54E5B8E5B111B2C35B56457C9D2A7ABE044C849B6C90CA2046C103277",
    ];
    let expected = [
        ("own-probe-v2.xml", format!("probe 2 {first} {second}")),
        ("own-probematches-v2.xml", "matches 2 All Some 192.0.2.1:8080".into()),
        ("own-probematches.xml", format!("matches 1 {first}=3 192.0.2.1:8080")),
        ("pccrd-probe.bin", format!("probe 1 {of_others}")),
        ("pccrd-probematches.bin", format!("matches 1 {of_others}=42 127.0.0.1:54321")),
        ("v1-probe.xml", format!("probe 1 {first}")),
        ("v2-probe.xml", format!("probe 1 {second}")),
    ];
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
    let mut said: Vec<(String, String)> = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        let is_ours =
            ["pccrd-", "own-prob"].iter().any(|it| name.starts_with(it)) || name.ends_with("-probe.xml");
        if is_ours {
            let datagram = std::fs::read(entry.unwrap().path()).unwrap();
            said.push((name, summary(&datagram)));
        }
    }
    said.sort();
    assert_eq!(said, expected.map(|(name, says)| (name.to_owned(), says)));
}

fn summary(datagram: &[u8]) -> String {
    let hex = |id: SegmentId| id.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let join = |all: Vec<String>| all.join(" ");
    match parse(datagram).unwrap() {
        Message::Probe(probe) => format!("probe 1 {}", join(probe.scopes.ids().map(hex).collect())),
        Message::ProbeV2(probe) => format!("probe 2 {}", join(probe.ids.iter().map(hex).collect())),
        Message::ProbeMatches(all) => match (&all.matches[..], &all.matches_v2[..]) {
            ([one], []) => {
                let held = one.segments().map(|(id, count)| format!("{}={count}", hex(id))).collect();
                let at = one.xaddrs.iter().map(|at| at.to_string()).collect();
                format!("matches 1 {} {}", join(held), join(at))
            }
            ([], [one]) => {
                let held = one.availability(2).unwrap().map(|it| format!("{it:?}")).collect();
                let at = one.xaddrs.iter().map(|at| at.to_string()).collect();
                format!("matches 2 {} {}", join(held), join(at))
            }
            other => panic!("{other:?}"),
        },
        Message::Other => panic!("none of ours"),
    }
}

#[test]
fn the_corpus_is_accepted_by_both() {
    for document in CORPUS {
        assert_eq!(agree(document), (Ok(()), true));
    }
}

#[test]
fn agrees_with_quick_xml_on_mutated_documents() {
    let mut rng = XorShift(0x9e37_79b9_7f4a_7c15);
    let (mut accepted, mut refused) = (0u32, 0u32);
    let mut stricter = BTreeMap::<String, u32>::new();
    for round in 0..200_000 {
        let mut document = CORPUS[round % CORPUS.len()].to_vec();
        for _ in 0..=rng.below(3) {
            mutate(&mut document, &mut rng);
        }
        match agree(&document) {
            (Ok(()), _) => accepted += 1,
            (Err(_), false) => refused += 1,
            (Err(kind), true) => *stricter.entry(format!("{kind:?}")).or_default() += 1,
        }
    }
    println!("both accept {accepted}, both refuse {refused}, only we refuse {stricter:?}");
    assert!(accepted > 20_000 && refused > 20_000);
}

#[test]
fn whatever_the_tokenizer_accepts_the_codec_survives() {
    let mut rng = XorShift(1);
    let mut messages = 0;
    for round in 0..100_000 {
        let mut document = CORPUS[round % 5].to_vec();
        mutate(&mut document, &mut rng);
        match parse(&document) {
            Ok(Message::Probe(probe)) => messages += probe.scopes.ids().count().min(1),
            Ok(Message::ProbeV2(probe)) => messages += probe.ids.iter().count().min(1),
            Ok(Message::ProbeMatches(all)) => {
                messages += all.matches_v2.iter().filter(|one| one.availability(2).is_some()).count();
                messages += all
                    .matches
                    .iter()
                    .map(|one| one.segments().count() * one.xaddrs.iter().count())
                    .sum::<usize>();
            }
            Ok(_) | Err(_) => {}
        }
    }
    assert!(messages > 10_000);
}

/// A client that asks for as much as fits, and a server that has it all: nothing but datagrams and
/// time pass between them.
#[test]
fn a_client_finds_a_server() {
    let mut rng = XorShift(7);
    let mut client = Client::new(Config::default());
    let once = server::Config { sends: 1, ..server::Config::default() };
    let mut server = Server::with_config(once, 1_700_000_000, &mut rng);
    let ids: Vec<_> = (0..MAX_PROBE_IDS as u8).map(|n| SegmentId::from_slice(&[n; 32]).unwrap()).collect();
    let client_addr = "192.0.2.2:50000".parse().unwrap();
    let server_addr: SocketAddr = "192.0.2.1:8080".parse().unwrap();
    server.set_addresses(&[Subnet { address: server_addr.ip(), prefix: 24 }]);
    let mut now = Instant::ZERO;
    let probe = client.probe(now, &mut rng, &ids).unwrap();
    let (mut found, mut expired) = (Vec::new(), None);
    let mut buf = [0; MAX_SENT_BYTES];
    loop {
        while let Some((to, len)) = client.poll_transmit(now, &mut buf) {
            assert_eq!(to, GROUP_V4);
            let Ok(Message::Probe(probe)) = parse(&buf[..len]) else { panic!("no probe") };
            server
                .handle_probe(now, &mut rng, client_addr, &probe, &mut |id| u32::from(id.as_bytes()[0]) + 1);
        }
        while let Some((to, len)) = server.poll_transmit(now, server_addr.port(), &mut buf) {
            assert_eq!(to, client_addr);
            let Ok(Message::ProbeMatches(matches)) = parse(&buf[..len]) else { panic!("no match") };
            client.handle_matches(now, server_addr, &matches, &mut |one| found.push(one));
        }
        expired = client.poll_expired(now).or(expired);
        match earliest(client.poll_timeout(), server.poll_timeout()) {
            Some(next) => now = next,
            None => break,
        }
    }
    assert_eq!(expired, Some(probe));
    assert_eq!(now, Instant::from_millis(300));
    let expected: Vec<_> = (1..)
        .zip(&ids)
        .map(|(blocks, &segment)| {
            let extent = Extent::Blocks(blocks);
            Found { probe, segment, peer: server_addr, extent, age: None }
        })
        .collect();
    assert_eq!(found, expected, "each once, though the probe was sent twice");
    assert_eq!((client.counters().sent, server.counters().repeats), (2, 1));
}

/// The same in version 2 over IPv6, with answers that are repeated.
#[test]
fn a_client_finds_a_server_in_version_2() {
    let mut rng = XorShift(9);
    let (mut client, mut server) = (Client::new(Config::default()), Server::new(7, &mut rng));
    let ours = [Subnet { address: "2001:db8::1".parse().unwrap(), prefix: 64 }];
    client.set_addresses(&ours);
    server.set_addresses(&ours);
    let ids: Vec<_> = (0..MAX_PROBE_V2_IDS as u8).map(|n| SegmentId::from_slice(&[n; 32]).unwrap()).collect();
    let client_addr = "[fe80::2]:50000".parse().unwrap();
    let server_addr: SocketAddr = "[2001:db8::1]:8080".parse().unwrap();
    let age = Duration::from_secs(3_600);
    let of = [Availability::Nothing, Availability::Some, Availability::All];
    let holding =
        |n: u8| Holding { availability: of[usize::from(n) % 3], age: n.is_multiple_of(2).then_some(age) };
    let mut now = Instant::ZERO;
    let probe = client.probe_v2(now, &mut rng, &ids).unwrap();
    let (mut found, mut answers) = (Vec::new(), 0);
    let mut buf = [0; MAX_SENT_BYTES];
    loop {
        while let Some((to, len)) = client.poll_transmit(now, &mut buf) {
            assert_eq!(to, GROUP_V6);
            let Ok(Message::ProbeV2(probe)) = parse(&buf[..len]) else { panic!("no probe") };
            let mut have = |id: &SegmentId| holding(id.as_bytes()[0]);
            server.handle_probe_v2(now, &mut rng, client_addr, &probe, &mut have);
        }
        while let Some((_, len)) = server.poll_transmit(now, server_addr.port(), &mut buf) {
            let Ok(Message::ProbeMatches(matches)) = parse(&buf[..len]) else { panic!("no match") };
            answers += 1;
            client.handle_matches(now, server_addr, &matches, &mut |one| found.push(one));
        }
        client.replies(now, &mut |id, replies| {
            let held = holding(id.as_bytes()[0]).availability;
            assert_eq!(replies.all, u8::from(held != Availability::Nothing));
            assert_eq!(replies.whole, u8::from(held == Availability::All));
        });
        client.poll_expired(now);
        match earliest(client.poll_timeout(), server.poll_timeout()) {
            Some(next) => now = next,
            None => break,
        }
    }
    assert_eq!((answers, server.counters().repeats), (2, 1), "one answer, sent twice");
    let mut expected = Vec::new();
    for (n, &segment) in (0..).zip(&ids) {
        let Holding { availability, age } = holding(n);
        let extent = match availability {
            Availability::Nothing => continue,
            Availability::Some => Extent::Part,
            Availability::All => Extent::Whole,
        };
        expected.push(Found { probe, segment, peer: server_addr, extent, age });
    }
    assert_eq!(found[..expected.len()], expected);
    // The repeat may have come too late.
    assert!(found.len() == expected.len() || found[expected.len()..] == expected);
}

fn mutate(document: &mut Vec<u8>, rng: &mut XorShift) {
    let at = rng.below(document.len() + 1);
    let end = (at + rng.below(20)).min(document.len());
    match rng.below(6) {
        0 => {
            if let Some(byte) = document.get_mut(at) {
                *byte ^= 1 << rng.below(7);
            }
        }
        1 => drop(document.drain(at..end)),
        2 => {
            let piece = document[at..end].to_vec();
            let to = rng.below(document.len() + 1);
            document.splice(to..to, piece);
        }
        3 => document.truncate(at),
        _ => {
            let snippet = SNIPPETS[rng.below(SNIPPETS.len())];
            document.splice(at..at, snippet.bytes());
        }
    }
    assert!(document.len() <= MAX_DOCUMENT_BYTES);
}

/// Marsaglia's generator: a run is its seed. Anyone can predict it.
struct XorShift(u64);

impl TryRng for XorShift {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.below(1 << 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from(self.try_next_u32()?) << 32 | u64::from(self.try_next_u32()?))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        dst.iter_mut().for_each(|byte| *byte = self.below(256) as u8);
        Ok(())
    }
}

impl TryCryptoRng for XorShift {}

impl XorShift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
