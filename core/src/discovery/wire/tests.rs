extern crate std;

mod hostile;
mod v2;

use core::net::SocketAddr;
use std::borrow::ToOwned;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::bytes::NoRoom;
use crate::discovery::xml::{Event, XmlErrorKind};

const V1_PROBE: &[u8] = include_bytes!("../../../../tests/vectors/v1-probe.xml");
const V2_PROBE: &[u8] = include_bytes!("../../../../tests/vectors/v2-probe.xml");
const PROBE: &[u8] = include_bytes!("../../../../tests/vectors/pccrd-probe.bin");
const MATCHES: &[u8] = include_bytes!("../../../../tests/vectors/pccrd-probematches.bin");
const OWN_MATCHES: &[u8] = include_bytes!("../../../../tests/vectors/own-probematches.xml");

const OWN_PROBE_V2: &[u8] = include_bytes!("../../../../tests/vectors/own-probe-v2.xml");
const OWN_MATCHES_V2: &[u8] = include_bytes!("../../../../tests/vectors/own-probematches-v2.xml");

const TWO: &str = "0200000000000000000000000000000000000000000000000000000000000000";

/// The same message in another guise: other prefixes, a default namespace, a prefix declared
/// where it is used, white space and line breaks, other headers in another order, elements
/// nobody knows, comments, CDATA, references.
const PROBE_IN_DISGUISE: &str = "\u{feff}<?xml version='1.0' encoding='UTF-8' standalone='yes'?>
    <!-- a probe --><e:Envelope xmlns:e='http://www.w3.org/2003/05/soap-envelope'>
    <e:Header xmlns='http://schemas.xmlsoap.org/ws/2004/08/addressing'>
        <x:Y xmlns:x='urn:x' e:mustUnderstand='0'><x:Z/>z</x:Y>
        <MessageID> urn:uuid:<![CDATA[0011]]>2233-4455-6677-8899-AABBCCDDEEFF\r\n</MessageID>
        <ReplyTo><Address>urn:me</Address></ReplyTo>
        <Action>\n\thttp://schemas.xmlsoap.org/ws/2005/04/discovery/&#80;robe\n</Action>
    </e:Header><e:Body>
    <d:Probe xmlns:d='http://schemas.xmlsoap.org/ws/2005/04/discovery'><d:Scopes>
        02000000000000000000<!-- -->00000000000000000000000000000000000000000000
        AbCdEf0000000000000000000000000000000000000000000000000000000000
        </d:Scopes><x xmlns=''/>
        <d:Types xmlns:q='http://schemas.microsoft.com/p2p/2007/09/PeerDistributionDiscovery'>
        d:Device z:Undeclared Plain  q:PeerDistData </d:Types></d:Probe></e:Body></e:Envelope>\n";

fn text(datagram: &[u8]) -> String {
    core::str::from_utf8(datagram).unwrap().to_owned()
}

fn id(text: &str) -> SegmentId {
    Scope::parse(text.as_bytes()).unwrap().id
}

fn probe(datagram: &[u8]) -> Probe<'_> {
    match parse(datagram) {
        Ok(Message::Probe(probe)) => probe,
        other => panic!("{other:?}"),
    }
}

fn matches(datagram: &[u8]) -> ProbeMatches<'_> {
    match parse(datagram) {
        Ok(Message::ProbeMatches(matches)) => matches,
        other => panic!("{other:?}"),
    }
}

/// The addresses and segments of a match.
type Heard = (Vec<SocketAddr>, Vec<(SegmentId, u32)>);

/// The match of the vector with one part replaced, if it is kept.
fn changed(old: &str, new: &str) -> Option<Heard> {
    let datagram = text(MATCHES);
    assert!(datagram.contains(old), "{old}");
    let datagram = datagram.replacen(old, new, 1);
    let matches = matches(datagram.as_bytes());
    assert_eq!(matches.matches.len() as u32 + matches.discarded, 1);
    let one = matches.matches.first()?;
    Some((one.xaddrs.iter().collect(), one.segments().collect()))
}

#[test]
fn probes_of_others() {
    let message = probe(V1_PROBE);
    assert_eq!(message.message_id.as_bytes(), b"urn:uuid:13482503-2dd0-482d-f235-1d2b8562d76f");
    let asked = "12A942E4E51869CAC4220BE529DFD4E3C21BB73675429F2DA23B03786D6699AA";
    assert!(message.scopes.ids().eq([id(asked)]));
    // A probe for a segment of content information 2.0 in the form of version 1 (fact 23).
    assert_eq!(probe(V2_PROBE).scopes.ids().count(), 1);

    let message = probe(PROBE);
    assert_eq!(message.message_id.as_bytes(), b"urn:uuid:00112233-4455-6677-8899-aabbccddeeff");
    assert!(message.scopes.ids().eq([id(TWO)]));
}

#[test]
fn a_probe_in_disguise() {
    let message = probe(PROBE_IN_DISGUISE.as_bytes());
    assert_eq!(message.message_id.as_bytes(), b"urn:uuid:00112233-4455-6677-8899-AABBCCDDEEFF");
    let second = "ABCDEF0000000000000000000000000000000000000000000000000000000000";
    assert!(message.scopes.ids().eq([id(TWO), id(second)]));
}

#[test]
fn matches_of_others() {
    let message = matches(MATCHES);
    assert_eq!(message.relates_to.as_bytes(), b"urn:uuid:00112233-4455-6677-8899-aabbccddeeff");
    assert_eq!((message.matches.len(), message.discarded, message.matches_v2.len()), (1, 0, 0));
    let one = &message.matches[0];
    assert!(one.segments().eq([(id(TWO), 42)]));
    assert!(one.xaddrs.iter().eq(["127.0.0.1:54321".parse().unwrap()]));
}

#[test]
fn our_own_probe_is_what_a_known_client_sends() {
    let message_id = Uuid::parse(b"urn:uuid:13482503-2dd0-482d-f235-1d2b8562d76f").unwrap();
    let ids = [id("12A942E4E51869CAC4220BE529DFD4E3C21BB73675429F2DA23B03786D6699AA")];
    let mut buf = [0; MAX_SENT_BYTES];
    let len = ProbeRepr { message_id, ids: &ids }.emit(&mut buf).unwrap();
    assert_eq!(text(&buf[..len]), text(V1_PROBE));
    for short in 0..len {
        assert_eq!(ProbeRepr { message_id, ids: &ids }.emit(&mut buf[..short]), Err(NoRoom));
    }
}

#[test]
fn our_own_answer() {
    let (id, message_id) = (probe(V1_PROBE).scopes.iter().next().unwrap(), probe(V1_PROBE).message_id);
    let repr = ProbeMatchesRepr {
        message_id: Uuid::parse(b"0b0c0d0e-0f10-4112-9314-15161718191a").unwrap(),
        relates_to: &message_id,
        instance_id: 42,
        message_number: 1,
        endpoint: Uuid::parse(b"a0a1a2a3-a4a5-46a7-a8a9-aaabacadaeaf").unwrap(),
        scopes: &[(id, 3)],
        xaddr: "192.0.2.1:8080".parse().unwrap(),
    };
    let mut buf = [0; MAX_SENT_BYTES];
    let len = repr.emit(&mut buf).unwrap();
    assert_eq!(text(&buf[..len]), text(OWN_MATCHES).trim_end());
    for short in 0..len {
        assert_eq!(repr.emit(&mut buf[..short]), Err(NoRoom));
    }
    // What a client that searches for strings looks for (fact 24).
    for tag in ["wsd:Scopes", "wsd:XAddrs", "PeerDist:PeerDistData", "PeerDist:BlockCount"] {
        assert_eq!(text(&buf[..len]).matches(&format!("<{tag}>")).count(), 1);
        assert_eq!(text(&buf[..len]).matches(&format!("</{tag}>")).count(), 1);
    }
    let answer = matches(&buf[..len]);
    assert!(answer.matches[0].segments().eq([(id.id, 3)]));
    assert!(answer.matches[0].xaddrs.iter().eq([repr.xaddr]));
}

#[test]
fn how_many_ids_fit() {
    assert_eq!((MAX_PROBE_IDS, MAX_ANSWER_IDS), (10, 2));
    let mut buf = [0; 2 * MAX_SENT_BYTES];
    let message_id = Uuid::parse(b"13482503-2dd0-482d-f235-1d2b8562d76f").unwrap();
    for bytes in [32, 48, 64] {
        let ids = [SegmentId::from_slice(&[7; 64][..bytes]).unwrap(); 20];
        let fitting = ProbeRepr::fitting(&ids);
        assert_eq!(fitting, ProbeRepr::capacity(bytes));
        let mut len = |count| ProbeRepr { message_id, ids: &ids[..count] }.emit(&mut buf).unwrap();
        assert!(len(fitting) <= MAX_SENT_BYTES && len(fitting + 1) > MAX_SENT_BYTES);

        let id = MessageId::parse(Some(text_of("<a>urn:uuid:&amp;&amp;</a>"))).unwrap();
        let scopes = ids.map(|id| (Scope::new(id), u32::MAX));
        let fitting = ProbeMatchesRepr::fitting(&id, &scopes);
        assert_eq!(fitting, ProbeMatchesRepr::capacity(19, bytes));
        let mut len = |count| {
            ProbeMatchesRepr {
                message_id,
                relates_to: &id,
                instance_id: u32::MAX,
                message_number: u32::MAX,
                endpoint: message_id,
                scopes: &scopes[..count],
                xaddr: "[1111:2222:3333:4444:5555:6666:7777:8888]:65535".parse().unwrap(),
            }
            .emit(&mut buf)
            .unwrap()
        };
        assert!(len(fitting) <= MAX_SENT_BYTES && len(fitting + 1) > MAX_SENT_BYTES);
    }
}

#[test]
fn an_answer_repeats_the_message_id_verbatim() {
    let datagram = text(V1_PROBE).replace("urn:uuid:13482503", "HTTP://x/?a=1&amp;B='2'&#x27;");
    let message_id = probe(datagram.as_bytes()).message_id;
    assert_eq!(message_id.as_bytes(), b"HTTP://x/?a=1&B='2''-2dd0-482d-f235-1d2b8562d76f");
    let mut buf = [0; 128];
    let mut writer = Writer::new(&mut buf);
    message_id.emit(&mut writer);
    assert_eq!(writer.len(), message_id.emitted_len());
    let emitted = format!("<a>{}</a>", text(writer.finish()));
    assert!(text_of(&emitted).is(message_id.as_bytes()));
}

#[test]
fn probes_that_are_malformed() {
    let broken = |old: &str, new: &str| {
        let datagram = text(V1_PROBE);
        assert!(datagram.contains(old), "{old}");
        parse(datagram.replacen(old, new, 1).as_bytes()).map(|_| ())
    };
    let scope = "12A942E4E51869CAC4220BE529DFD4E3C21BB73675429F2DA23B03786D6699AA";
    // 3.2.4.1: empty or wrongly formatted scopes; an id broken over two lines is one of them.
    let (front, back) = scope.split_at(30);
    let bad = ["", " ", "0", front, "G", &format!("{front}\n{back}"), &format!("{scope}00")];
    for bad in bad {
        assert_eq!(broken(scope, bad), Err(Malformed::Scopes), "{bad}");
    }
    assert_eq!(broken(scope, &format!("{scope} x")), Err(Malformed::Scopes));
    let many = |count| [scope].repeat(count).join(" ");
    assert_eq!(broken(scope, &many(MAX_SCOPES)), Ok(()));
    assert_eq!(broken(scope, &many(MAX_SCOPES + 1)), Err(Malformed::Scopes));
    assert_eq!(broken("wsd:Scopes>", "wsd:Scope>").map_err(|_| ()), Err(()));
    assert_eq!(broken("</wsd:Scopes>", "</wsd:Scopes><wsd:Scopes/>"), Err(Malformed::Repeated));
    assert_eq!(broken("urn:uuid:13482503", ""), Ok(()));
    assert_eq!(broken("urn:uuid:13482503", "a b"), Err(Malformed::MessageId));
    assert_eq!(broken("urn:uuid:13482503", "a&lt;b"), Err(Malformed::MessageId));
    assert_eq!(broken("urn:uuid:13482503", &"a".repeat(80)), Err(Malformed::MessageId));
    assert_eq!(broken("<soap:Body>", "<soap:Header/><soap:Body>"), Err(Malformed::Repeated));
    assert_eq!(broken("discovery/Probe<", "discovery/Bye<"), Err(Malformed::Action));
    let kind = broken("</soap:Body>", "").map_err(|error| match error {
        Malformed::Xml(error) => Some(error.kind),
        _ => None,
    });
    assert_eq!(kind, Err(Some(XmlErrorKind::Mismatch)));
    assert_eq!(
        broken("PeerDist:PeerDistData<", &format!("{}<", "PeerDist:PeerDistData ".repeat(17))),
        Err(Malformed::TooManyTypes)
    );
}

#[test]
fn messages_of_others() {
    let kind = |old: &str, new: &str| match parse(text(V1_PROBE).replacen(old, new, 1).as_bytes()) {
        Ok(Message::Probe(_)) => "probe",
        Ok(Message::ProbeMatches(_)) => "matches",
        Ok(Message::ProbeV2(_)) => "version 2",
        Ok(Message::Other) => "other",
        Err(_) => "malformed",
    };
    // Version 2, but its scope is one of version 1.
    assert_eq!(kind("PeerDistData<", "PeerDistDataV2<"), "malformed");
    assert_eq!(kind("PeerDistData<", "Device<"), "other");
    assert_eq!(kind("PeerDist:PeerDistData<", "PeerDistData<"), "other");
    assert_eq!(kind("p2p/2007/09", "p2p/2008/09"), "other");
    assert_eq!(kind("<wsd:Types>PeerDist:PeerDistData</wsd:Types>", ""), "other");
    assert_eq!(kind("2003/05/soap-envelope", "2003/06/soap-envelope"), "other");
    assert_eq!(kind("ws/2005/04/discovery\"", "ws/2009/01/discovery\""), "other");
    assert_eq!(parse(b"<a/>").map(|_| ()), Ok(()));
    let mut buf = [0; 2];
    assert!(parse(Writer::new(&mut buf).finish()).is_err());
}

#[test]
fn block_counts() {
    let scopes = |datagram: &str| changed(TWO, datagram);
    let counts = |old, new| changed(old, new).map(|(_, segments)| segments);
    assert_eq!(counts("0000002A", "0019"), Some(std::vec![(id(TWO), 25)]));
    assert_eq!(counts("0000002A", "\n0000\t002a \n"), Some(std::vec![(id(TWO), 42)]));
    assert_eq!(counts("0000002A", "0000002A0000"), Some(std::vec![(id(TWO), 42)]));
    for bad in ["", "2A", "00002A", "0000002", "0000002G", "x0000002A"] {
        assert_eq!(counts("0000002A", bad), None, "{bad}");
    }
    // Two scopes for 8 digits: the 16-bit form.
    let (_, segments) = scopes(&format!("{TWO} {}", "F".repeat(96))).unwrap();
    assert_eq!(segments, [(id(TWO), 0), (id(&"f".repeat(96)), 42)]);
    assert_eq!(scopes(&format!("{TWO} {TWO} {TWO}")), None);
    assert_eq!(scopes(&format!("{TWO} 00")), None);
}

#[test]
fn transport_addresses() {
    let parsed = |xaddrs: &str| changed("127.0.0.1:54321", xaddrs).map(|(xaddrs, _)| xaddrs);
    let list = |addresses: &[&str]| Some(addresses.iter().map(|it| it.parse().unwrap()).collect());
    assert_eq!(parsed(" 1.2.3.4\n[::1]:81\t"), list(&["1.2.3.4:80", "[::1]:81"]));
    assert_eq!(parsed("http://1.2.3.4:5/x/y HTTP://[fe80::1%25eth0]/"), list(&["1.2.3.4:5", "[fe80::1]:80"]));
    let skipped = "name:80 1.2.3:80 1.2.3.256 1.2.3.4:0 1.2.3.4:65536 0.0.0.0:80 239.255.255.250";
    assert_eq!(parsed(skipped), list(&[]));
    let skipped = "255.255.255.255:1 [ff02::c]:80 [::]:80 [::1 [::1]80 1.2.3.4: https://1.2.3.4 1.2.3.4.5";
    assert_eq!(parsed(skipped), list(&[]));
    assert_eq!(parsed(&format!("1.2.3.4/{} 1.2.3.5", "x".repeat(200))), list(&["1.2.3.5:80"]));
    // A host with many interfaces: which of its addresses count is for the client to say.
    assert_eq!(parsed(&["1.2.3.4"; 100].join(" ")).map(|all| all.len()), Some(100));
    assert_eq!(parsed(""), None);
}

#[test]
fn uuids() {
    let uuid = Uuid::parse(b"00112233-4455-6677-8899-aabbccddeeff");
    assert!(uuid.is_some());
    assert_eq!(Uuid::parse(b"URN:UUID:00112233-4455-6677-8899-AABBCCDDEEFF"), uuid);
    assert_eq!(Uuid::parse(b"uuid:00112233-4455-6677-8899-aabbccddeeff"), uuid);
    for bad in ["", "urn:uuid:", "00112233-4455-6677-8899-aabbccddee", "0011223344556677-8899-aabbccddeeff-"]
    {
        assert_eq!(Uuid::parse(bad.as_bytes()), None);
    }
    assert_eq!(Uuid::parse(b"00112233-4455-6677-8899-aabbccddeeff-00"), None);
}

#[test]
fn several_matches_in_one_message() {
    let datagram = text(MATCHES);
    let (front, rest) = datagram.split_once("<wsd:ProbeMatch>").unwrap();
    let (one, back) = rest.split_once("</wsd:ProbeMatch>").unwrap();
    let one = format!("<wsd:ProbeMatch>{one}</wsd:ProbeMatch>");
    let join = |all: &[&str]| format!("{front}{}{back}", all.concat());
    let v2 = one.replace("PeerDistData<", "PeerDistDataV2<");
    let bad = one.replace("0000002A", "");
    let datagram = join(&[&one, &v2, &bad, "<wsd:X/>", &one]);
    let all = matches(datagram.as_bytes());
    // The scope of version 1 is base64 as well: of too many bits, which is no harm.
    assert_eq!((all.matches.len(), all.matches_v2.len(), all.discarded), (2, 1, 1));
    assert!(parse(join(&[one.as_str(); MAX_MATCHES]).as_bytes()).is_ok());
    let datagram = join(&[one.as_str(); MAX_MATCHES + 1]);
    assert_eq!(parse(datagram.as_bytes()).map(|_| ()), Err(Malformed::TooManyMatches));
}

/// Reads everything that a datagram holds; what matters is that it returns.
fn exhaust(datagram: &[u8]) -> bool {
    match parse(datagram) {
        Ok(Message::Probe(probe)) => probe.scopes.ids().count() > 0,
        Ok(Message::ProbeV2(probe)) => probe.ids.iter().count() > 0,
        Ok(Message::ProbeMatches(all)) => {
            let v1 = all.matches.iter().map(|one| one.segments().count() + one.xaddrs.iter().count());
            let v2 = all.matches_v2.iter().map(|one| {
                let ages = one.ages(&mut [0; 1_024]).map_or(0, |ages| ages.iter().count());
                ages + one.availability(1).map_or(0, Iterator::count)
            });
            v1.sum::<usize>() + v2.sum::<usize>() > 0
        }
        Ok(_) | Err(_) => false,
    }
}

#[test]
fn cut_and_damaged_datagrams() {
    let disguise = PROBE_IN_DISGUISE.trim_end().as_bytes();
    for datagram in [V1_PROBE, PROBE, MATCHES, OWN_PROBE_V2, OWN_MATCHES_V2.trim_ascii_end(), disguise] {
        assert!(exhaust(datagram));
        for len in 0..datagram.len() {
            assert!(!exhaust(&datagram[..len]), "cut at {len}");
        }
        let mut damaged = datagram.to_owned();
        for at in 0..damaged.len() {
            for bit in 0..8 {
                damaged[at] ^= 1 << bit;
                exhaust(&damaged);
                damaged[at] ^= 1 << bit;
            }
        }
    }
}

/// The character data of a document of one element.
fn text_of(document: &str) -> Text<'_> {
    let mut xml = Tokenizer::new(document.as_bytes()).unwrap();
    assert!(matches!(xml.next_event(), Ok(Some(Event::Start(_)))));
    xml.text().unwrap()
}
