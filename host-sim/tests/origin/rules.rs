//! The rules of the coding, of ranges and of preconditions.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::server::{AGAIN, ASK, Reply, SECRET, Server, ask, peerdist, read, varied};

const LEN: usize = 300_000;

fn server() -> Server {
    let server = Server::new(&[("big file.bin", &varied(LEN)), ("small.txt", b"small"), ("empty", b"")], &[]);
    server.wait_for(TARGET);
    server
}

const TARGET: &str = "/big%20file.bin";

/// The content information that `peerdist hash` makes, with more arguments.
fn hashed(server: &Server, args: &[&str]) -> Vec<u8> {
    let command = [&["hash", "root/big file.bin", "-o", "-"], &SECRET[..], args].concat();
    peerdist(&server.folder, &command)
}

#[track_caller]
fn is_plain(reply: &Reply) {
    assert_eq!((reply.status, reply.header("Content-Encoding")), (200, None), "{}", reply.head);
    assert_eq!(
        (reply.header("X-P2P-PeerDist"), reply.header("X-P2P-PeerDistEx")),
        (None, None),
        "{}",
        reply.head
    );
    assert!(reply.body == varied(LEN), "{}", reply.head);
    has_common_headers(reply);
}

#[track_caller]
fn has_common_headers(reply: &Reply) {
    let vary = "Accept-Encoding, X-P2P-PeerDist, X-P2P-PeerDistEx";
    assert_eq!(reply.header("Vary"), Some(vary), "{}", reply.head);
    assert_eq!(reply.header("Accept-Ranges"), Some("bytes"), "{}", reply.head);
    assert!(reply.header("ETag").is_some_and(|tag| tag.ends_with('"')), "{}", reply.head);
    assert!(reply.header("Last-Modified").is_some_and(|date| date.ends_with(" GMT")), "{}", reply.head);
    assert!(reply.header("Content-Length").is_some(), "{}", reply.head);
}

#[track_caller]
fn is_encoded(reply: &Reply, version: &str, info: &[u8]) {
    assert_eq!((reply.status, reply.header("Content-Encoding")), (200, Some("peerdist")), "{}", reply.head);
    let value = format!("Version={version}, ContentLength={LEN}");
    assert_eq!(reply.header("X-P2P-PeerDist"), Some(&*value), "{}", reply.head);
    assert_eq!(reply.header("Cache-Control"), Some("private"), "{}", reply.head);
    assert!(reply.body == info, "{}", reply.head);
    has_common_headers(reply);
}

#[test]
fn the_first_is_told_to_come_again() {
    let server = Server::new(&[("a.png", &varied(LEN))], &[]);
    let first = server.get("/a.png", ASK);
    assert_eq!(first.status, 200);
    assert_eq!(first.header("X-P2P-PeerDist"), Some("Version=1.1"));
    assert_eq!(first.header("X-P2P-PeerDistEx"), Some("MakeHashRequest=true"));
    assert_eq!(first.header("Content-Type"), Some("image/png"));
    assert_eq!(first.body, varied(LEN));
    has_common_headers(&first);
    // A range of it is honoured as it would be otherwise (fact 20), and so is who asks for data alone (fact 18).
    let server_of_part = Server::new(&[("a.png", &varied(LEN))], &[]);
    let data =
        format!("{}\r\n", ASK.trim_end()).replace("Version=1.1", "Version=1.1,MissingDataRequest=true");
    is_plain(&server_of_part.get("/a.png", &data));
    assert_eq!(server_of_part.number("/Hashing/FilesWaiting"), 0);
    let part = server_of_part.get("/a.png", &format!("{ASK}Range: bytes=7-8\r\n"));
    assert_eq!((part.status, part.header("Content-Encoding")), (206, None));
    assert_eq!(part.header("X-P2P-PeerDistEx"), Some("MakeHashRequest=true"));
    assert_eq!(part.header("Content-Range"), Some(&*format!("bytes 7-8/{LEN}")));
    assert_eq!(part.body, varied(LEN)[7..=8]);
    // A client of 1.0 does not know the hint.
    let old = server.get("/a.png", "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.0\r\n");
    assert!(
        old.header("Content-Encoding").is_some() || old.header("X-P2P-PeerDist").is_none(),
        "{}",
        old.head
    );
    server.wait_for("/a.png");
    let again = server.get("/a.png", AGAIN);
    assert_eq!(again.header("X-P2P-PeerDist"), Some(&*format!("Version=1.1, ContentLength={LEN}")));
    assert_eq!(server.number("/Hashing/FilesHashed"), 1);
}

#[test]
fn every_version_gets_its_own() {
    let server = server();
    let (v1, v2) = (hashed(&server, &[]), hashed(&server, &["--content-info", "2"]));
    let encoding = "Accept-Encoding: peerdist\r\n";
    let version = |version: &str| format!("{encoding}X-P2P-PeerDist: Version={version}\r\n");
    let range = |min: &str, max: &str| {
        version("1.1")
            + &format!("X-P2P-PeerDistEx: MinContentInformation={min}, MaxContentInformation={max}\r\n")
    };
    is_encoded(&server.get(TARGET, &version("1.0")), "1.0", &v1);
    is_encoded(&server.get(TARGET, &version("1.1")), "1.1", &v1);
    is_encoded(&server.get(TARGET, &version("1.23")), "1.1", &v1);
    is_encoded(&server.get(TARGET, &range("1.0", "1.0")), "1.1", &v1);
    is_encoded(&server.get(TARGET, &range("1.0", "2.0")), "1.1", &v2);
    is_encoded(&server.get(TARGET, &range("2.0", "2.0")), "1.1", &v2);
    is_encoded(&server.get(TARGET, ASK), "1.1", &v2);
    is_encoded(&server.get(TARGET, AGAIN), "1.1", &v2);
    is_encoded(&server.get(TARGET, &ASK.to_lowercase()), "1.1", &v2);
    for plain in [
        "",
        encoding,
        "Accept-Encoding: *\r\nX-P2P-PeerDist: Version=1.0\r\n",
        "Accept-Encoding: peerdist;q=0\r\nX-P2P-PeerDist: Version=1.0\r\n",
        "Accept-Encoding: gzip\r\nX-P2P-PeerDist: Version=1.0\r\n",
        "X-P2P-PeerDist: Version=1.0\r\n",
        &version("999.999"),
        &version("1. 0"),
        &range("3.0", "4.0"),
        &range("1.1", "1.9"),
    ] {
        is_plain(&server.get(TARGET, plain));
    }
    for (value, encoded) in [("true", false), ("other", false), ("false", true)] {
        for comma in [",", ", "] {
            let headers = version("1.0").replace("1.0", &format!("1.0{comma}MissingDataRequest={value}"));
            let reply = server.get(TARGET, &headers);
            if encoded { is_encoded(&reply, "1.0", &v1) } else { is_plain(&reply) }
        }
    }
    // HTTP/1.0 has to name the coding, and a cache of its time must not keep the reply.
    let of_1_0 = |headers: &str| ask(server.address, &format!("GET {TARGET} HTTP/1.0\r\n{headers}\r\n"));
    let reply = of_1_0(ASK);
    is_encoded(&reply, "1.1", &v2);
    assert_eq!(reply.header("Expires"), Some("0"));
    is_plain(&of_1_0(AGAIN));
    is_plain(&of_1_0(""));
    // As a proxy asks.
    is_encoded(&server.get(&format!("http://x{TARGET}?query"), ASK), "1.1", &v2);
}

#[test]
fn content_information_is_verified() {
    let server = server();
    for headers in [ASK, "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.0\r\n"] {
        let reply = server.get(TARGET, headers);
        fs::write(server.folder.path().join("info"), &reply.body).expect("a writable folder");
        let verify = [&["verify", "info", "root/big file.bin"], &SECRET[..]].concat();
        peerdist(&server.folder, &verify);
    }
}

#[test]
fn ranges() {
    let server = server();
    let content = varied(LEN);
    let range =
        |value: &str, headers: &str| server.get(TARGET, &format!("Range: bytes={value}\r\n{headers}"));
    let missing = "X-P2P-PeerDist: Version=1.1, MissingDataRequest=true\r\n";
    let both = "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.0,MissingDataRequest=true\r\n";
    for (value, first, last) in [
        ("0-0", 0, 0),
        ("65536-131071", 65_536, 131_071),
        ("299999-", 299_999, 299_999),
        ("-10", 299_990, 299_999),
        ("100-9999999", 100, 299_999),
    ] {
        for headers in ["", missing, both] {
            let reply = range(value, headers);
            assert_eq!(reply.status, 206);
            assert_eq!(reply.header("Content-Range"), Some(&*format!("bytes {first}-{last}/{LEN}")));
            assert!(reply.header("Content-Encoding").is_none() && reply.body == content[first..=last]);
            has_common_headers(&reply);
        }
        // Encoded: content information of the range, whose numbers are those of the content.
        let (part, len) = (format!("{first}-{}", last + 1), last + 1 - first);
        let v1 = "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.0\r\n";
        for (headers, version, args) in [
            (v1, "1.0", &[][..]),
            (ASK, "1.1", &["--content-info", "2"]),
            (AGAIN, "1.1", &["--content-info", "2"]),
        ] {
            let reply = range(value, headers);
            assert_eq!((reply.status, reply.header("Content-Encoding")), (206, Some("peerdist")));
            has_common_headers(&reply);
            assert_eq!(reply.header("Content-Range"), Some(&*format!("bytes {first}-{last}/{LEN}")));
            let value = format!("Version={version}, ContentLength={len}");
            assert_eq!(reply.header("X-P2P-PeerDist"), Some(&*value));
            assert!(reply.body == hashed(&server, &[&["--range", &part], args].concat()), "{part}");
        }
    }
    for value in ["300000-", "-0", "999999-1000000"] {
        for headers in ["", ASK] {
            let reply = range(value, headers);
            assert_eq!((reply.status, reply.header("Content-Range")), (416, Some("bytes */300000")));
            assert!(reply.header("Content-Encoding").is_none());
        }
    }
    // RFC 9110 14.2: whoever asks for several ranges, or none, may get everything.
    for value in ["0-1,5-6", "5-4", "x", "0-1, -1"] {
        is_plain(&range(value, ""));
    }
    assert_eq!(server.get("/empty", "Range: bytes=0-0\r\n").status, 416);
    assert_eq!(server.get("/small.txt", "Range: bytes=1-2\r\n").body, b"ma");
}

#[test]
fn preconditions() {
    let server = server();
    let whole = server.get(TARGET, "");
    let (etag, date) = (whole.header("ETag").expect("a tag"), whole.header("Last-Modified").expect("a date"));
    assert!(etag.starts_with('"'), "it is strong by now: {etag}");
    let part = "Range: bytes=5-9\r\n";
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (headers, status) in [
        (format!("If-None-Match: {etag}\r\n"), 304),
        (format!("If-None-Match: \"x\", W/{etag}\r\n{ASK}"), 304),
        (format!("If-None-Match: {etag}\r\n{part}"), 304),
        ("If-None-Match: *\r\n".into(), 304),
        ("If-None-Match: \"x\"\r\n".into(), 200),
        (format!("If-Modified-Since: {date}\r\n"), 304),
        (format!("If-Modified-Since: {old}\r\n"), 200),
        (format!("If-Modified-Since: {date}\r\nIf-None-Match: \"x\"\r\n"), 200),
        (format!("If-Match: {etag}\r\n{part}"), 206),
        (format!("If-Match: \"x\"\r\n{part}"), 412),
        (format!("If-Unmodified-Since: {date}\r\n{part}"), 206),
        (format!("If-Unmodified-Since: {old}\r\n{ASK}"), 412),
        (format!("If-Range: {etag}\r\n{part}"), 206),
        (format!("If-Range: {date}\r\n{part}"), 206),
        (format!("If-Range: {etag}\r\n{part}{ASK}"), 206),
        (format!("If-Range: \"x\"\r\n{part}"), 200),
        (format!("If-Range: W/{etag}\r\n{part}"), 200),
        (format!("If-Range: {old}\r\n{part}"), 200),
    ] {
        let reply = server.get(TARGET, &headers);
        assert_eq!(reply.status, status, "{headers}");
        if status == 304 {
            assert!(reply.body.is_empty() && reply.header("ETag") == Some(etag), "{}", reply.head);
            assert!(reply.header("Vary").is_some(), "{}", reply.head);
        }
    }
    // Both forms have one tag: a client names it when it fetches what is missing.
    let encoded = server.get(TARGET, ASK);
    assert_eq!((encoded.header("ETag"), encoded.header("Last-Modified")), (Some(etag), Some(date)));
}

#[test]
fn methods_and_connections() {
    let server = server();
    let head = |headers: &str| {
        ask(
            server.address,
            &format!("HEAD {TARGET} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n"),
        )
    };
    for headers in ["", ASK, "Range: bytes=0-1\r\n"] {
        let reply = head(headers);
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{headers}");
        assert_eq!(reply.header("Content-Length"), Some("300000"), "{headers}");
        assert!(reply.header("Content-Encoding").is_none(), "{headers}");
        has_common_headers(&reply);
    }
    for method in ["POST", "PUT", "DELETE", "get", "OPTIONS"] {
        let request = format!("{method} {TARGET} HTTP/1.1\r\nHost: x\r\n{ASK}Connection: close\r\n\r\n");
        let reply = ask(server.address, &request);
        assert_eq!((reply.status, reply.header("Allow")), (405, Some("GET, HEAD")), "{method}");
    }
    // Two requests at once, on one connection.
    let mut stream = TcpStream::connect(server.address).expect("it listens");
    let one = format!("GET /small.txt HTTP/1.1\r\nHost: x\r\n{ASK}\r\n");
    let two = format!("GET /empty HTTP/1.1\r\nHost: x\r\n{ASK}Connection: close\r\n\r\n");
    stream.write_all((one + &two).as_bytes()).expect("it is open");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{text}");
    // Neither the short nor the empty file is encoded, nor will it be.
    assert!(text.contains("\r\n\r\nsmallHTTP/1.1") && !text.contains("X-P2P-PeerDist:"), "{text}");
    // A request that is too long, and ones that are none.
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(100_000));
    let mut stream = TcpStream::connect(server.address).expect("it listens");
    // It may be refused before it has been sent.
    _ = stream.write_all(long.as_bytes());
    let mut answer = [0; 12];
    if stream.read_exact(&mut answer).is_ok() {
        assert!(answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    }
    assert_eq!(ask(server.address, "hello\r\n\r\n").status, 400);
    // HTTP/1.0 that keeps its connection.
    let mut stream = TcpStream::connect(server.address).expect("it listens");
    for last in [false, true] {
        let kind = if last { "close" } else { "keep-alive" };
        let request = format!("GET /small.txt HTTP/1.0\r\nConnection: {kind}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it is open");
        if last {
            assert_eq!(read(&mut stream).body, b"small");
        } else {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\nsmall") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("more comes");
                head.extend(byte);
            }
        }
    }
}

/// A reply on a connection that stays open.
fn next(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    let byte = |stream: &mut TcpStream| {
        let mut byte = [0];
        stream.read_exact(&mut byte).map(|()| byte[0]).expect("more comes")
    };
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(byte(stream));
    }
    let head = read(&mut &*bytes);
    let len: usize = head.header("Content-Length").expect("a length").parse().expect("a number");
    (0..len).for_each(|_| bytes.push(byte(stream)));
    read(&mut &*bytes)
}

/// Clients ask for one thing after the other on a connection, and wait for leave before they send a body (fact 21).
#[test]
fn captured_connections() {
    let server = Server::new(&[("MultipleBlocks.txt", &varied(LEN))], &[]);
    server.wait_for("/MultipleBlocks.txt");
    let captures: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/http-captures.json")).expect("JSON");
    let heads = |method: &str| -> Vec<String> {
        let heads =
            captures.as_array().expect("a list").iter().map(|one| one["head"].as_str().expect("text"));
        let heads: Vec<_> = heads.filter(|head| head.starts_with(method)).map(String::from).collect();
        assert!(!heads.is_empty(), "{method}");
        heads
    };
    let mut stream = TcpStream::connect(server.address).expect("it listens");
    for head in [heads("GET"), heads("GET")].concat() {
        stream.write_all(format!("{head}\r\n\r\n").as_bytes()).expect("it is open");
        let reply = next(&mut stream);
        let encoded = !head.contains("MissingData");
        assert_eq!((reply.status, reply.header("Content-Encoding").is_some()), (200, encoded), "{head}");
        assert!(encoded || reply.body == varied(LEN), "{head}");
    }
    for head in heads("POST") {
        let mut stream = TcpStream::connect(server.address).expect("it listens");
        stream.write_all(format!("{head}\r\n\r\n").as_bytes()).expect("it is open");
        assert_eq!(next(&mut stream).status, 405, "{head}");
    }
    // Nobody has to be given leave who has no body.
    let mut stream = TcpStream::connect(server.address).expect("it listens");
    let head =
        format!("GET {} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{ASK}\r\n", "/MultipleBlocks.txt");
    for _ in 0..2 {
        stream.write_all(head.as_bytes()).expect("it is open");
        assert_eq!(next(&mut stream).header("Content-Encoding"), Some("peerdist"));
    }
}

#[test]
fn captured_requests() {
    let server = Server::new(&[("MultipleBlocks.txt", &varied(LEN))], &[]);
    let target = "/MultipleBlocks.txt";
    server.wait_for(target);
    let captures: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/http-captures.json")).expect("JSON");
    let mut seen = 0;
    for capture in captures.as_array().expect("a list") {
        let text = |key: &str| capture[key].as_str().expect("text");
        // The body of the others, which are for peers and hosted caches, does not come.
        let head = text("head").replace("keep-alive", "close");
        let reply = ask(server.address, &(head + "\r\n\r\n"));
        match text("name") {
            "PCCRTP GET v1 " => {
                assert_eq!(reply.header("X-P2P-PeerDist"), Some("Version=1.0, ContentLength=300000"));
                assert_eq!(reply.body[..2], [0, 1]);
            }
            "PCCRTP GET v2 " => {
                assert_eq!(reply.header("X-P2P-PeerDist"), Some("Version=1.1, ContentLength=300000"));
                assert_eq!(reply.body[..2], [0, 2]);
            }
            "PCCRTP GET v1 missing" | "PCCRTP GET v2 missing" => {
                assert!(reply.header("Content-Encoding").is_none() && reply.body == varied(LEN));
            }
            other => {
                assert_eq!(reply.status, 405, "{other}");
                seen -= 1;
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 4);
}
