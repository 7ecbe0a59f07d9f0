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

/// Long namespaces in many names: each byte of a datagram may be looked at a few times, for each of
/// the declarations that there can be, and not once for each name.
#[test]
fn namespaces_that_are_alike() {
    for prefixes in [2usize, 4, 8, 12] {
        let (mut declared, mut named) = (String::new(), String::new());
        for prefix in 0..prefixes {
            let alike = "x".repeat(16_000 / prefixes);
            declared += &format!(" xmlns:p{prefix}='{alike}{prefix}'");
            named += &format!(" p{prefix}:a=''");
        }
        let elements = format!("<b{named}/>").repeat(14_000 / (named.len() + 4));
        let datagram = format!("<e:Envelope xmlns:e='{}'{declared}>{elements}</e:Envelope>", text(SOAP));
        assert!((28_000..32_768).contains(&datagram.len()));
        crate::discovery::text::work::done();
        assert!(matches!(parse(datagram.as_bytes()), Ok(Message::Other)));
        let work = crate::discovery::text::work::done();
        let most = (2 * prefixes as u64).max(8) * datagram.len() as u64;
        assert!(work <= most, "{work} bytes of text for a datagram of {}", datagram.len());
    }
}

/// Whatever is done to a message of ours, and however long it grows, its text is read a few times.
#[test]
fn no_text_is_read_often() {
    let longest = |old: &str, of: &[u8], unit: &str| {
        let text = text(of);
        let count = (32_000 - text.len()) / unit.len();
        text.replacen(old, &[old, &unit.repeat(count)].concat(), 1)
    };
    let cases = [
        longest(SCOPE, V1_PROBE, &format!(" {SCOPE}")),
        longest(SCOPE, V1_PROBE, "<!---->"),
        longest("PeerDist:PeerDistData", V1_PROBE, " PeerDist:P"),
        longest("PeerDist:PeerDistData", V1_PROBE, "\n"),
        longest("<soap:Header>", V1_PROBE, "<x/>"),
        longest("discovery/Probe", V1_PROBE, "&#65;"),
        longest("127.0.0.1:54321", MATCHES, " [::1]:1"),
        longest("0000002A", MATCHES, "0000002A"),
        longest(PACKED, OWN_PROBE_V2, "A"),
        longest("4A==", OWN_MATCHES_V2, "\n"),
    ];
    for datagram in cases {
        assert!((31_000..32_768).contains(&datagram.len()), "{}", datagram.len());
        crate::discovery::text::work::done();
        exhaust(datagram.as_bytes());
        let work = crate::discovery::text::work::done();
        assert!(work <= 8 * datagram.len() as u64, "{work} for {}", &datagram[..900]);
    }
}
