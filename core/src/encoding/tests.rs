extern crate std;

use super::*;

const ALL: Available = Available { v1: true, v2: true, coming: false };
const ONLY_V1: Available = Available { v1: true, v2: false, coming: false };
const SOON: Available = Available { v1: false, v2: false, coming: true };
const PLAIN: Coding = Coding::Plain { make_hash_request: false };
const V1_OF_1_0: Coding = Coding::Encoded { version: Version::V1_0, info: InfoVersion::V1 };
const V1_OF_1_1: Coding = Coding::Encoded { version: Version::V1_1, info: InfoVersion::V1 };
const V2_OF_1_1: Coding = Coding::Encoded { version: Version::V1_1, info: InfoVersion::V2 };

fn lines(head: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().as_bytes(), value.trim().as_bytes()))
    })
}

fn request(head: &str) -> ServerRequest {
    let mut request = ServerRequest::default();
    lines(head).for_each(|(name, value)| request.header(name, value));
    request
}

fn answer(head: &str, available: Available) -> Coding {
    request(head).decide(b"GET", true, available)
}

fn reply(head: &str) -> Result<Reply, ReplyError> {
    let mut reply = ReplyCoding::default();
    lines(head).for_each(|(name, value)| reply.header(name, value));
    reply.decide()
}

const ASK_1_0: &str = "Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1.0";
const ASK_1_1: &str = "Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1.1\n\
    X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0";

#[test]
fn versions_are_numbers() {
    assert!(Version::parse(b"1.23") > Version::parse(b"1.3"));
    assert_eq!(Version::parse(b"999.999"), Some(Version { major: 999, minor: 999 }));
    for bad in [&b""[..], b"1", b"1.", b".1", b"1. 1", b"1.1.1", b"1.-1", b"4294967296.0"] {
        assert_eq!(Version::parse(bad), None, "{bad:?}");
    }
}

#[test]
fn who_asks_is_answered_in_its_version() {
    assert_eq!(answer(ASK_1_0, ALL), V1_OF_1_0);
    assert_eq!(answer(ASK_1_1, ALL), V2_OF_1_1);
    assert_eq!(answer(ASK_1_1, ONLY_V1), V1_OF_1_1);
    assert_eq!(answer("Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1.1", ALL), V1_OF_1_1);
    assert_eq!(answer("accept-encoding:gzip,PEERDIST\nx-p2p-peerdist:version=1.23", ALL), V1_OF_1_1);
    // MS-PCCRTP 4.
    let example = "Accept-Encoding: gzip, deflate, peerdist\nX-P2P-PeerDist: Version=1.1\n\
        X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=1.0";
    assert_eq!(answer(example, ALL), V1_OF_1_1);
}

#[test]
fn who_does_not_ask_gets_the_content() {
    for head in [
        "",
        "Accept-Encoding: peerdist",
        "X-P2P-PeerDist: Version=1.0",
        "Accept-Encoding: *\nX-P2P-PeerDist: Version=1.0",
        "Accept-Encoding: peerdistx\nX-P2P-PeerDist: Version=1.0",
        "Accept-Encoding: peerdist;q=0\nX-P2P-PeerDist: Version=1.0",
        "Accept-Encoding: peerdist ; Q=0.000, *\nX-P2P-PeerDist: Version=1.0",
        "Accept-Encoding: peerdist;q=x\nX-P2P-PeerDist: Version=1.0",
        "Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=999.999",
        "Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=2.0",
        "Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=0.9",
        "Accept-Encoding: peerdist\nX-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0",
        "Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1 .0",
        "Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1.0, Version=1.1",
        "Accept-Encoding: peerdist\nX-P2P-PeerDist: ContentLength=7",
    ] {
        assert_eq!(answer(head, ALL), PLAIN, "{head}");
    }
    assert_eq!(answer(&ASK_1_0.replace("peerdist\n", "peerdist;q=0.1\n"), ALL), V1_OF_1_0);
    for method in [&b"HEAD"[..], b"POST", b"get"] {
        assert_eq!(request(ASK_1_1).decide(method, true, ALL), PLAIN);
    }
    assert_eq!(request(ASK_1_0).decide(b"GET", false, ALL), V1_OF_1_0);
}

#[test]
fn ranges_of_content_information() {
    for (range, all, only_v1) in [
        ("Min={1.0}, Max={1.0}", V1_OF_1_1, V1_OF_1_1),
        ("Min={2.0}, Max={2.0}", V2_OF_1_1, PLAIN),
        ("Min={1.0},Max={1.23}", V1_OF_1_1, V1_OF_1_1),
        ("Min={0.5}, Max={3.0}", V2_OF_1_1, V1_OF_1_1),
        // Numbers, not text: 10 is more than 2, and 10 more than 9.
        ("Min={1.0}, Max={10.0}", V2_OF_1_1, V1_OF_1_1),
        ("Min={0.10}, Max={1.0}", V1_OF_1_1, V1_OF_1_1),
        ("Min={1.3}, Max={1.23}", PLAIN, PLAIN),
        ("Min={1.3}, Max={2.0}", V2_OF_1_1, PLAIN),
        ("Min={1.1}, Max={1.9}", PLAIN, PLAIN),
        ("Min={3.0}, Max={4.0}", PLAIN, PLAIN),
        ("Min={2.0}, Max={1.0}", PLAIN, PLAIN),
        ("Min={1.0}", PLAIN, PLAIN),
        ("Min={1.0}, Max={x}", PLAIN, PLAIN),
        ("Other=1", V1_OF_1_1, V1_OF_1_1),
    ] {
        let range = range.replace("={", "ContentInformation=").replace('}', "");
        let head =
            std::format!("Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1.1\nX-P2P-PeerDistEx: {range}");
        assert_eq!(answer(&head, ALL), all, "{head}");
        assert_eq!(answer(&head, ONLY_V1), only_v1, "{head}");
    }
    // A client of coding 1.0 does not know of content information 2.0.
    assert_eq!(answer(&ASK_1_1.replace("Version=1.1", "Version=1.0"), ALL), V1_OF_1_0);
}

#[test]
fn missing_data_beats_everything_but_false() {
    for (value, expected) in [("true", PLAIN), ("yes", PLAIN), ("", PLAIN), ("false", V1_OF_1_0)] {
        for comma in [",", ", "] {
            let head = std::format!("{ASK_1_0}{comma}MissingDataRequest={value}");
            assert_eq!(answer(&head, ALL), expected, "{head}");
            assert_eq!(request(&head).is_missing_data(), value == "true");
            // Nor is it told to come again, or a hash request.
            let head = std::format!(
                "X-P2P-PeerDist: Version=1.1{comma}MissingDataRequest={value}\n\
                 X-P2P-PeerDistEx: HashRequest=true"
            );
            let hashes = if value == "false" { V1_OF_1_1 } else { PLAIN };
            assert_eq!(answer(&head, ALL), hashes, "{head}");
            let head = head.replace("HashRequest=true", "Other=1") + "\nAccept-Encoding: peerdist";
            let hint = Coding::Plain { make_hash_request: value == "false" };
            assert_eq!(answer(&head, SOON), hint, "{head}");
        }
    }
}

#[test]
fn hash_requests() {
    let hint = Coding::Plain { make_hash_request: true };
    assert_eq!(answer(ASK_1_1, SOON), hint);
    // Whoever knows the hint, whatever else it says (fact 19).
    assert_eq!(answer("Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1.1", SOON), hint);
    assert_eq!(answer("Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1.23", SOON), hint);
    assert_eq!(answer(ASK_1_0, SOON), PLAIN);
    assert_eq!(answer("", SOON), PLAIN);
    // What would be plain with hashes is not worth asking for again.
    let none = ASK_1_1.replace("=1.0, Max", "=3.0, Max").replace("=2.0", "=4.0");
    assert_eq!(answer(&none, SOON), PLAIN);
    assert_eq!(request(ASK_1_1).decide(b"HEAD", true, SOON), PLAIN);
    assert_eq!(answer(ASK_1_1, Available::default()), PLAIN);
    // MS-PCCRTP 4: without Accept-Encoding.
    let again = "X-P2P-PeerDist: Version=1.1\n\
        X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0, HashRequest=true";
    assert!(request(again).is_hash_request() && !request(ASK_1_1).is_hash_request());
    assert_eq!(answer(again, ALL), V2_OF_1_1);
    assert_eq!(answer(again, SOON), PLAIN);
    assert_eq!(request(again).decide(b"GET", false, ALL), PLAIN);
    assert_eq!(answer(&again.replace("=true", "=1"), ALL), PLAIN);
    assert_eq!(answer(&again.replace("=true", "=TRUE"), ALL), V2_OF_1_1);
    // A coding that is refused is not used, whoever asks for hashes.
    assert_eq!(answer(&std::format!("{again}\nAccept-Encoding: peerdist;q=0"), ALL), PLAIN);
    assert_eq!(answer(&std::format!("{again}\nAccept-Encoding: gzip"), ALL), V2_OF_1_1);
    assert_eq!(request(again).decide(b"HEAD", true, ALL), PLAIN);
}

#[test]
fn who_would_take_content_information() {
    for (head, http_1_1, wants) in [
        (ASK_1_0, true, true),
        (ASK_1_0, false, true),
        (ASK_1_1, true, true),
        ("X-P2P-PeerDist: Version=1.1\nX-P2P-PeerDistEx: HashRequest=true", true, true),
        ("X-P2P-PeerDist: Version=1.1\nX-P2P-PeerDistEx: HashRequest=true", false, false),
        ("X-P2P-PeerDist: Version=1.1,MissingDataRequest=true\nAccept-Encoding: peerdist", true, false),
        ("Accept-Encoding: peerdist", true, false),
    ] {
        assert_eq!(request(head).wants_info(b"GET", http_1_1), wants, "{head}");
        assert!(!request(head).wants_info(b"HEAD", http_1_1), "{head}");
    }
}

fn emitted(emit: impl FnOnce(&mut Writer<'_>) -> Result<(), NoRoom>) -> std::string::String {
    let mut buf = [0; 256];
    let mut writer = Writer::new(&mut buf);
    emit(&mut writer).unwrap();
    core::str::from_utf8(writer.finish()).unwrap().into()
}

#[test]
fn headers_of_answers() {
    const COMMON: &str =
        "Vary: Accept-Encoding, X-P2P-PeerDist, X-P2P-PeerDistEx\r\nAccept-Ranges: bytes\r\n";
    for (coding, text) in [
        (PLAIN, ""),
        (
            Coding::Plain { make_hash_request: true },
            "X-P2P-PeerDist: Version=1.1\r\nX-P2P-PeerDistEx: MakeHashRequest=true\r\n",
        ),
        (
            V1_OF_1_0,
            "Content-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.0, ContentLength=5000000000\r\n\
                 Cache-Control: private\r\n",
        ),
        (
            V2_OF_1_1,
            "Content-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1, ContentLength=5000000000\r\n\
                 Cache-Control: private\r\n",
        ),
    ] {
        let head = emitted(|writer| coding.emit_headers(writer, 5_000_000_000));
        assert_eq!(head, std::format!("{text}{COMMON}"));
        let understood = match coding {
            Coding::Plain { make_hash_request } => Reply::Plain { make_hash_request },
            Coding::Encoded { version, .. } => Reply::Encoded { content_len: 5_000_000_000, version },
        };
        assert_eq!(reply(&head), Ok(understood));
    }
    for room in 0..110 {
        let mut buf = [0; 256];
        let result = V1_OF_1_0.emit_headers(&mut Writer::new(&mut buf[..room]), 7);
        assert_eq!(result, Err(NoRoom));
    }
}

#[test]
fn headers_of_requests() {
    let ask = emitted(|writer| emit_ask(writer, InfoVersion::V1));
    assert_eq!(
        ask,
        "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1\r\n\
         X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=1.0\r\n"
    );
    assert_eq!(answer(&ask, ALL), V1_OF_1_1);
    assert_eq!(answer(&emitted(|writer| emit_ask(writer, InfoVersion::V2)), ALL), V2_OF_1_1);
    let again = emitted(|writer| emit_hash_request(writer, InfoVersion::V2));
    assert!(again.ends_with("MaxContentInformation=2.0, HashRequest=true\r\n"));
    assert_eq!(answer(&again, SOON), PLAIN);
    assert_eq!(answer(&again, ALL), V2_OF_1_1);
    let missing = emitted(|writer| emit_missing_data(writer, InfoVersion::V1));
    assert_eq!(
        missing,
        "X-P2P-PeerDist: Version=1.1, MissingDataRequest=true\r\n\
         X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=1.0\r\n"
    );
    assert!(request(&missing).is_missing_data());
    assert_eq!(answer(&missing, ALL), PLAIN);
}

#[test]
fn replies() {
    let encoded = |content_len, version| Ok(Reply::Encoded { content_len, version });
    for (head, expected) in [
        ("Content-Length: 7", Ok(Reply::Plain { make_hash_request: false })),
        ("Content-Encoding: identity", Ok(Reply::Plain { make_hash_request: false })),
        ("X-P2P-PeerDistEx: MakeHashRequest=false", Ok(Reply::Plain { make_hash_request: false })),
        (
            "X-P2P-PeerDist: Version=1.1\nX-P2P-PeerDistEx: MakeHashRequest=true",
            Ok(Reply::Plain { make_hash_request: true }),
        ),
        (
            "Content-Encoding: PeerDist\nX-P2P-PeerDist: Version=1.0, ContentLength=102400",
            encoded(102_400, Version::V1_0),
        ),
        (
            "content-encoding: peerdist\nx-p2p-peerdist: contentlength=1,version=1.1",
            encoded(1, Version::V1_1),
        ),
        ("Content-Encoding: gzip", Err(ReplyError::OtherCoding)),
        (
            "Content-Encoding: peerdist, gzip\nX-P2P-PeerDist: Version=1.0, ContentLength=1",
            Err(ReplyError::OtherCoding),
        ),
        (
            "Content-Encoding: peerdist, peerdist\nX-P2P-PeerDist: Version=1.0, ContentLength=1",
            Err(ReplyError::OtherCoding),
        ),
        ("Content-Encoding: peerdist", Err(ReplyError::Version)),
        (
            "Content-Encoding: peerdist\nX-P2P-PeerDist: Version=2.0, ContentLength=1",
            Err(ReplyError::Version),
        ),
        ("Content-Encoding: peerdist\nX-P2P-PeerDist: ContentLength=1", Err(ReplyError::Version)),
        ("Content-Encoding: peerdist\nX-P2P-PeerDist: Version=1.0", Err(ReplyError::ContentLength)),
        (
            "Content-Encoding: peerdist\nX-P2P-PeerDist: Version=1.0, ContentLength=-1",
            Err(ReplyError::ContentLength),
        ),
        (
            "Content-Encoding: peerdist\nX-P2P-PeerDist: Version=1.0, ContentLength=1\n\
             X-P2P-PeerDist: ContentLength=2",
            Err(ReplyError::ContentLength),
        ),
        ("X-P2P-PeerDist: Version=1.0, ContentLength=1", Err(ReplyError::NotEncoded)),
    ] {
        assert_eq!(reply(head), expected, "{head}");
    }
}
