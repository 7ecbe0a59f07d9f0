//! Datagrams made to cost more than they may: each is refused, or read, in bounded work.

use super::*;

const SCOPE: &str = "12A942E4E51869CAC4220BE529DFD4E3C21BB73675429F2DA23B03786D6699AA";
const PACKED: &str = "ACACEqlC5OUYacrEIgvlKd/U48Ibtz";

/// A probe with `scopes` in place of its own.
fn with_scopes(scopes: &str) -> String {
    text(V1_PROBE).replace(SCOPE, scopes)
}

fn refused(datagram: &str) -> Malformed {
    parse(datagram.as_bytes()).map(|_| ()).unwrap_err()
}

fn xml_error(datagram: &str) -> XmlErrorKind {
    match refused(datagram) {
        Malformed::Xml(error) => error.kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ten_thousand_scopes() {
    // Beyond 32 KiB not a byte is looked at.
    assert_eq!(xml_error(&with_scopes(&format!("{SCOPE} ").repeat(10_000))), XmlErrorKind::TooLong);
    assert_eq!(refused(&with_scopes(&"0 ".repeat(10_000))), Malformed::Scopes);
    assert_eq!(refused(&with_scopes(&"\n".repeat(10_000))), Malformed::Scopes);
    assert_eq!(refused(&with_scopes(&format!("{SCOPE} ").repeat(400))), Malformed::Scopes);
}

#[test]
fn xml_without_end() {
    let open = |count: usize| format!("<a>{}", "<b>".repeat(count));
    assert_eq!(xml_error(&open(10_000)), XmlErrorKind::TooDeep);
    assert_eq!(xml_error(&with_scopes(&"<b>".repeat(5_000))), XmlErrorKind::NotText);
    assert_eq!(xml_error(&"<a>".to_owned().repeat(20_000)), XmlErrorKind::TooLong);
    assert_eq!(xml_error(&with_scopes(&"<!-- x -->".repeat(4_000))), XmlErrorKind::TooLong);
    assert_eq!(refused(&with_scopes(&"<!---->".repeat(4_000))), Malformed::Scopes);
    let endless = text(V1_PROBE).replace("</soap:Envelope>", &"<x/>".repeat(7_000));
    assert_eq!(xml_error(&endless), XmlErrorKind::Truncated);
    let entities = text(V1_PROBE).replace("<soap:Envelope", "<!DOCTYPE a [<!ENTITY b 'c'>]><soap:Envelope");
    assert_eq!(xml_error(&entities), XmlErrorKind::Doctype);
}

#[test]
fn base64_garbage() {
    let probe = text(OWN_PROBE_V2);
    assert!(probe.contains(PACKED));
    for bad in ["!", "=", "\u{e9}", "ACACEqlC5OUYacrEIgvlKd_U48Ibtz"] {
        assert_eq!(refused(&probe.replace(PACKED, bad)), Malformed::Scopes);
    }
    let long = probe.replace(PACKED, &"A".repeat(30_000));
    assert_eq!(refused(&long), Malformed::Scopes);
    // A count of 255 and a size of 64, which are not there.
    assert_eq!(refused(&probe.replace("ACACEqlC", "AED/EqlC")), Malformed::Scopes);
    let matches = text(OWN_MATCHES_V2);
    for bad in ["====", "4", "~~~~"] {
        let datagram = matches.replace("4A==", bad);
        let Ok(Message::ProbeMatches(all)) = parse(datagram.as_bytes()) else { panic!("{bad}") };
        assert_eq!((all.matches_v2.len(), all.discarded), (0, 1));
    }
    // A long list of bits is read as far as was asked.
    let datagram = matches.replace("4A==", &"/".repeat(30_000));
    let Ok(Message::ProbeMatches(all)) = parse(datagram.as_bytes()) else { panic!() };
    assert_eq!(all.matches_v2[0].availability(3).unwrap().count(), 3);
}

/// Block counts that are fewer than the scopes, or no numbers.
#[test]
fn counts_that_lie() {
    let matches = text(MATCHES);
    let with = |scopes: usize, counts: &str| {
        let datagram = matches.replace(TWO, &[TWO].repeat(scopes).join(" ")).replace("0000002A", counts);
        let Ok(Message::ProbeMatches(all)) = parse(datagram.as_bytes()) else { panic!() };
        assert_eq!(all.matches.len() as u32 + all.discarded, 1);
        all.matches.first().map(|one| one.segments().map(|(_, count)| count).sum::<u32>())
    };
    assert_eq!(with(MAX_SCOPES, &"00000001".repeat(MAX_SCOPES)), Some(MAX_SCOPES as u32));
    assert_eq!(with(MAX_SCOPES, &"0001".repeat(MAX_SCOPES)), Some(MAX_SCOPES as u32));
    assert_eq!(with(MAX_SCOPES, &"0001".repeat(MAX_SCOPES + 1)), None);
    assert_eq!(with(MAX_SCOPES, "00000001"), None);
    assert_eq!(with(1, &"00000001".repeat(3_000)), Some(1), "surplus is ignored");
    assert_eq!(with(1, &"0000000x".repeat(3_000)), None);
}
