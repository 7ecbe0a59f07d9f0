//! Version 2: the scopes of probes and matches, and the ages.

use super::*;
use crate::time::Duration;

const A: &str = "12A942E4E51869CAC4220BE529DFD4E3C21BB73675429F2DA23B03786D6699AA";
const B: &str = "1699C1F54E5B8E5B111B2C35B56457C9D2A7ABE044C849B6C90CA2046C103277";

/// The first probe of the document, 2.2.2.1: one id of 32 bytes.
const SCOPE_OF_ONE: &str = "ACABKQEaAQAAAAAwHRoBAAAAAEEAQQBEAHkAZwBNAE0AMQA=";

/// The second, 4.2: two, which are the same.
const SCOPE_OF_TWO: &str =
    "ACACI74aAQAAAAAwHRoBAAAAAEEAQQBEAHkAZwBNAE0AMQAjvhoBAAAAADAdGgEAAAAAQQBBAEQAeQBnAE0ATQAxAA==";

fn probe_v2(datagram: &[u8]) -> ProbeV2<'_> {
    match parse(datagram) {
        Ok(Message::ProbeV2(probe)) => probe,
        other => panic!("{other:?}"),
    }
}

/// The ids of our probe with another scope.
fn ids(scope: &str) -> Option<Vec<SegmentId>> {
    let datagram = text(OWN_PROBE_V2);
    let (front, rest) = datagram.split_once("MatchingRule\">").unwrap();
    let (_, back) = rest.split_once("</wsd:Scopes>").unwrap();
    let datagram = format!("{front}MatchingRule\">{scope}</wsd:Scopes>{back}");
    match parse(datagram.as_bytes()) {
        Ok(Message::ProbeV2(probe)) => Some(probe.ids.iter().collect()),
        Err(Malformed::Scopes) => None,
        other => panic!("{other:?}"),
    }
}

fn base64(bytes: &[u8]) -> String {
    let mut buf = [0; 24_000];
    let mut writer = Writer::new(&mut buf);
    crate::discovery::base64::Encoder::all(bytes, &mut writer);
    text(writer.finish())
}

/// What our answer says of `asked` segments, with one part of it replaced.
fn answered(old: &str, new: &str, asked: usize) -> Option<Vec<Availability>> {
    let datagram = text(OWN_MATCHES_V2);
    assert!(datagram.contains(old), "{old}");
    let datagram = datagram.replacen(old, new, 1);
    let all = matches(datagram.as_bytes());
    assert_eq!((all.matches.len(), all.matches_v2.len() as u32 + all.discarded), (0, 1));
    Some(all.matches_v2.first()?.availability(asked)?.collect())
}

#[test]
fn our_own_probe() {
    let message_id = Uuid::parse(b"urn:uuid:13482503-2dd0-482d-f235-1d2b8562d76f").unwrap();
    let asked = [id(A), id(B)];
    let repr = ProbeV2Repr::new(message_id, &asked).unwrap();
    let mut buf = [0; MAX_SENT_BYTES];
    let len = repr.emit(&mut buf).unwrap();
    assert_eq!(text(&buf[..len]), text(OWN_PROBE_V2));
    let probe = probe_v2(&buf[..len]);
    assert!(probe.ids.iter().eq(asked));
    assert_eq!(probe.message_id.uuid(), Some(message_id));
    for short in 0..len {
        assert_eq!(repr.emit(&mut buf[..short]), Err(NoRoom));
    }
}

#[test]
fn our_own_answer() {
    let relates_to = probe_v2(OWN_PROBE_V2).message_id;
    let mut availability = Availabilities::new();
    availability.push(Availability::All).unwrap();
    availability.push(Availability::Some).unwrap();
    let repr = ProbeMatchesV2Repr {
        message_id: Uuid::parse(b"0b0c0d0e-0f10-4112-9314-15161718191a").unwrap(),
        relates_to: &relates_to,
        instance_id: 42,
        message_number: 1,
        endpoint: Uuid::parse(b"b0b1b2b3-b4b5-46b7-b8b9-babbbcbdbebf").unwrap(),
        availability: &availability,
        ages: &[0, 1, 3, 2, 0, 0x60, 0xea, 0, 1, 7, 0, 0],
        xaddr: "192.0.2.1:8080".parse().unwrap(),
    };
    let mut buf = [0; MAX_SENT_BYTES];
    let len = repr.emit(&mut buf).unwrap();
    assert_eq!(text(&buf[..len]), text(OWN_MATCHES_V2).trim_end());
    for short in 0..len {
        assert_eq!(repr.emit(&mut buf[..short]), Err(NoRoom));
    }
    let all = matches(OWN_MATCHES_V2);
    let one = &all.matches_v2[0];
    assert!(one.availability(2).unwrap().eq(availability.iter()));
    assert!(one.xaddrs.iter().eq([repr.xaddr]));
    let mut blob = [0; 1_024];
    let ages = one.ages(&mut blob).unwrap();
    assert!(ages.iter().eq([(0, Duration::from_secs(600)), (1, Duration::from_millis(70))]));
}

#[test]
fn the_probes_of_the_document() {
    let first = "29011A0100000000301D1A0100000000410041004400790067004D004D003100";
    assert_eq!(ids(SCOPE_OF_ONE), Some([id(first)].to_vec()));
    let second = "23BE1A0100000000301D1A0100000000410041004400790067004D004D003100";
    assert_eq!(ids(SCOPE_OF_TWO), Some([id(second), id(second)].to_vec()));
    // White space is stripped, wherever it stands.
    let (front, back) = SCOPE_OF_ONE.split_at(17);
    assert_eq!(ids(&format!("\n\t{front}\r\n {back} \n")), Some([id(first)].to_vec()));
    assert_eq!(ids(&format!("{front}<!-- --><![CDATA[{back}]]>")), Some([id(first)].to_vec()));
}

/// Fact 26: the length must be that of the ids.
#[test]
fn scopes_that_are_malformed() {
    let scope = |size: u16, count: u8, bytes: usize| {
        let [high, low] = size.to_be_bytes();
        let mut scope = std::vec![high, low, count];
        scope.resize(3 + bytes, 7);
        ids(&base64(&scope)).map(|ids| ids.len())
    };
    for size in [32, 48, 64] {
        assert_eq!(scope(size, 1, size.into()), Some(1));
        assert_eq!(scope(size, 255, 255 * usize::from(size)), Some(255));
        assert_eq!(scope(size, 2, usize::from(size)), None);
        assert_eq!(scope(size, 1, usize::from(size) + 1), None);
        assert_eq!(scope(size, 1, usize::from(size) - 1), None);
        assert_eq!(scope(size, 0, 0), None);
        assert_eq!(scope(size, 0, usize::from(size)), None);
    }
    for size in [0, 1, 33, 65, 0xffff] {
        assert_eq!(scope(size, 1, usize::from(size).min(100)), None);
    }
    let last = SCOPE_OF_ONE.len() - 1;
    for bad in ["", " ", "A", "AAAA", "====", A, &SCOPE_OF_ONE[..last], &SCOPE_OF_ONE[..last - 3]] {
        assert_eq!(ids(bad), None, "{bad}");
    }
    assert_eq!(ids(&format!("{SCOPE_OF_ONE}{SCOPE_OF_ONE}")), None, "two scopes");
}

/// Fact 27, and the example of the document: 40 segments, all of each.
#[test]
fn two_bits_for_each_segment() {
    use Availability::{All, Nothing, Some as Part};
    let scope = |text: &str, asked| answered("4A==", text, asked);
    assert_eq!(scope("/////////////w==", 40), Some([All; 40].to_vec()));
    // 1101 1000 11...: the high bits first; "all" without "some" is nothing.
    assert_eq!(scope("2MA=", 5), Some([All, Nothing, Part, Nothing, All].to_vec()));
    assert_eq!(
        scope("2MA=", 8),
        Some([All, Nothing, Part, Nothing, All, Nothing, Nothing, Nothing].to_vec())
    );
    assert_eq!(scope("2MA=", 1), Some([All].to_vec()), "longer: the surplus is ignored");
    assert_eq!(scope("2MA=", 9), None, "shorter: discarded");
    for bad in ["", " ", "=", "2MA", "2MA= 2MA=", "2-A="] {
        assert_eq!(scope(bad, 1), None, "{bad}");
    }
    assert_eq!(answered("192.0.2.1:8080", "", 1), None);
    // Fact 24: either MetadataVersion on either.
    assert!(answered("<wsd:MetadataVersion>2<", "<wsd:MetadataVersion>1<", 2).is_some());
}

/// Fact 28: a match is good without ages, or with bad ones.
#[test]
fn ages() {
    let ages = |new: &str| {
        let old = "AAEDAgBg6gABBwAA";
        assert!(answered(old, new, 2).is_some());
        let datagram = text(OWN_MATCHES_V2).replace(old, new);
        let all = matches(datagram.as_bytes());
        let mut buf = [0; 1_024];
        all.matches_v2[0].ages(&mut buf).map(|ages| ages.iter().collect::<Vec<_>>())
    };
    let minutes = Duration::from_secs(600);
    assert_eq!(ages("AAEDAgBg6gACYOoA"), Some([(0, minutes), (2, minutes)].to_vec()));
    for bad in ["", "AAEDAgBg6gACYOo", "AAEDAgBg6gA=", "AAIDAgBg6gACYOoA", "garbage!", "AAEDAA==x"] {
        assert_eq!(ages(bad), None, "{bad}");
    }
    let mut blob = std::vec![0, 1, 4, 255];
    blob.resize(4 + 4 * 255 + 500, 1);
    assert_eq!(ages(&base64(&blob)).map(|ages| ages.len()), Some(255), "surplus is ignored");
    let without = text(OWN_MATCHES_V2)
        .replace("<PeerDist:SegmentAges>AAEDAgBg6gABBwAA</PeerDist:SegmentAges>", "<PeerDist:X/>");
    assert!(matches(without.as_bytes()).matches_v2[0].ages(&mut [0; 1_024]).is_none());
}

#[test]
fn packing() {
    use Availability::{All, Nothing, Some as Part};
    let mut packed = Availabilities::new();
    assert!(packed.is_empty() && !packed.any());
    let all: Vec<_> = [Nothing, Part, All].into_iter().cycle().take(MAX_IDS).collect();
    for one in &all {
        packed.push(*one).unwrap();
    }
    assert_eq!(packed.push(All), Err(All));
    assert!(packed.any() && packed.iter().eq(all) && packed.len() == 255);
}

#[test]
fn how_many_fit() {
    assert_eq!(MAX_PROBE_V2_IDS, 14);
    let mut buf = [0; 2 * MAX_SENT_BYTES];
    let message_id = Uuid::parse(b"13482503-2dd0-482d-f235-1d2b8562d76f").unwrap();
    for bytes in [32, 48, 64] {
        let ids = [SegmentId::from_slice(&[7; 64][..bytes]).unwrap(); 30];
        let fitting = ProbeV2Repr::fitting(&ids);
        assert_eq!(fitting, ProbeV2Repr::capacity(bytes));
        let mut len = |count| ProbeV2Repr::new(message_id, &ids[..count]).unwrap().emit(&mut buf).unwrap();
        assert!(len(fitting) <= MAX_SENT_BYTES && len(fitting + 1) > MAX_SENT_BYTES);
    }
    let (short, long) = (id(A), id(&A.repeat(2)));
    assert_eq!(ProbeV2Repr::fitting(&[short, short, long, short]), 2);
    assert_eq!(ProbeV2Repr::fitting(&[]), 0);
    for bad in [&[][..], &[short, long], &[short; 256]] {
        assert!(ProbeV2Repr::new(message_id, bad).is_none());
    }

    for asked in [1, 16, 255] {
        let mut availability = Availabilities::new();
        (0..asked).for_each(|_| availability.push(Availability::All).unwrap());
        for text in ["<a>a</a>", "<a>urn:uuid:13482503-2dd0-482d-f235-1d2b8562d76f</a>"] {
            let relates_to = MessageId::parse(Some(text_of(text))).unwrap();
            let fitting = ProbeMatchesV2Repr::fitting_ages(&relates_to, asked).unwrap();
            let mut len = |count| {
                ProbeMatchesV2Repr {
                    message_id,
                    relates_to: &relates_to,
                    instance_id: u32::MAX,
                    message_number: u32::MAX,
                    endpoint: message_id,
                    availability: &availability,
                    ages: &[0; 400][..crate::ages::blob_bytes(count)],
                    xaddr: "[1111:2222:3333:4444:5555:6666:7777:8888]:65535".parse().unwrap(),
                }
                .emit(&mut buf)
                .unwrap()
            };
            assert!(len(fitting) <= MAX_SENT_BYTES && len(fitting + 1) > MAX_SENT_BYTES);
            assert!(asked == 255 || fitting >= 16, "what we ask for can be answered with ages");
        }
    }
    let datagram =
        text(OWN_PROBE_V2).replace("urn:uuid:13482503-2dd0-482d-f235-1d2b8562d76f", &"&amp;".repeat(80));
    assert_eq!(ProbeMatchesV2Repr::fitting_ages(&probe_v2(datagram.as_bytes()).message_id, 1), None);
}
