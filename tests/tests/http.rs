//! HTTP framing and the `peerdist` coding against captured requests, against `httparse`, and in
//! pieces of every size.

use httparse::Status;
use peerdist_core::encoding::{Available, Coding, InfoVersion, ServerRequest, Version};
use peerdist_core::http::conn::{Body, Conn, ConnError, Event};
use peerdist_core::http::wire::{parse_chunk_line, parse_request_line};
use peerdist_tests::captures::captures;

#[test]
fn captured_requests_are_read() {
    for (name, head, body) in captures() {
        let message = [head.as_bytes(), b"\r\n\r\n", &body].concat();
        let seen = read(Conn::server(), &message, &mut Pieces::Whole);
        assert_eq!(seen.end, End::Complete, "{name}");
        assert_eq!(seen.body, body, "{name}");
        let framing = if body.is_empty() { Body::None } else { Body::Length(body.len() as u64) };
        assert_eq!(seen.framing, Some(framing), "{name}");
        let lines: Vec<_> = head
            .lines()
            .skip(1)
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap();
                (name.as_bytes().to_vec(), value.as_bytes().to_vec())
            })
            .collect();
        assert_eq!(seen.headers, lines, "{name}");
        assert!(seen.keep_alive, "{name}");
        assert_eq!(seen.wanted_continue, head.contains("Expect"), "{name}");
    }
}

#[test]
fn captured_requests_get_their_coding() {
    let encoded = |version, info| Coding::Encoded { version, info };
    let plain = Coding::Plain { make_hash_request: false };
    let expected = [
        ("PCCRTP GET v1 ", encoded(Version::V1_0, InfoVersion::V1), encoded(Version::V1_0, InfoVersion::V1)),
        ("PCCRTP GET v2 ", encoded(Version::V1_1, InfoVersion::V2), encoded(Version::V1_1, InfoVersion::V1)),
        ("PCCRTP GET v1 missing", plain, plain),
        ("PCCRTP GET v2 missing", plain, plain),
    ];
    for (name, both, only_v1) in expected {
        let (_, head, _) = captures().into_iter().find(|(other, ..)| other == name).unwrap();
        let message = [head.as_bytes(), b"\r\n\r\n"].concat();
        let mut request = ServerRequest::default();
        for (name, value) in read(Conn::server(), &message, &mut Pieces::Whole).headers {
            request.header(&name, &value);
        }
        assert_eq!(request.is_missing_data(), name.ends_with("missing"), "{name}");
        for (v2, answer) in [(true, both), (false, only_v1)] {
            let available = Available { v1: true, v2, coming: false };
            assert_eq!(request.decide(b"GET", true, available), answer, "{name}");
        }
    }
}

#[test]
fn pieces_do_not_matter() {
    let mut random = Random(1);
    let mut messages = requests();
    messages.extend(replies());
    for (role, message) in messages {
        let whole = read(role(), &message, &mut Pieces::Whole);
        for _ in 0..50 {
            assert_eq!(read(role(), &message, &mut Pieces::Random(&mut random)), whole);
        }
        for _ in 0..500 {
            let mutant = mutate(&message, &mut random);
            let whole = read(role(), &mutant, &mut Pieces::Whole);
            let pieces = read(role(), &mutant, &mut Pieces::Random(&mut random));
            assert_eq!(pieces, whole, "{}", mutant.escape_ascii());
        }
    }
}

#[test]
fn messages_cut_anywhere_are_truncated() {
    let mut messages = requests();
    messages.extend(replies());
    for (role, message) in messages {
        let whole = read(role(), &message, &mut Pieces::Whole);
        for end in 0..message.len() {
            let seen = read(role(), &message[..end], &mut Pieces::Whole);
            match seen.end {
                End::Idle => assert_eq!(end, 0),
                End::Complete => assert_eq!(whole.framing, Some(Body::UntilClose)),
                End::Failed(error) => assert_eq!(error, ConnError::Truncated),
            }
        }
    }
}

#[test]
fn requests_get_the_verdict_of_httparse() {
    let mut random = Random(2);
    let mut accepted = 0;
    for (role, message) in requests() {
        for _ in 0..20_000 {
            let input = mutate(head_of(&message), &mut random);
            let shown = input.escape_ascii();
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut request = httparse::Request::new(&mut headers);
            match request.parse(&input) {
                Ok(Status::Complete(len)) => {
                    let seen = read(role(), &input[..len], &mut Pieces::Whole);
                    let version = request.version.unwrap();
                    if seen.framing.is_none() {
                        let target = request.path.unwrap();
                        let justified = !target.is_ascii() || faulty_framing(request.headers, version, true);
                        assert!(justified, "{shown}: {:?}", seen.end);
                        continue;
                    }
                    accepted += 1;
                    let first = format!("{} {} {version}", request.method.unwrap(), request.path.unwrap());
                    assert_eq!(seen.first, first, "{shown}");
                    assert_eq!(seen.headers, owned(request.headers), "{shown}");
                }
                verdict => assert_not_accepted(role(), &input, verdict.is_err()),
            }
        }
    }
    assert!(accepted > 10_000, "too few mutants are valid to say anything: {accepted}");
}

#[test]
fn replies_get_the_verdict_of_httparse() {
    let mut random = Random(3);
    let mut accepted = 0;
    for (role, message) in replies() {
        if message.starts_with(b"HTTP/1.1 100") {
            continue;
        }
        for _ in 0..20_000 {
            let input = mutate(head_of(&message), &mut random);
            let shown = input.escape_ascii();
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut headers);
            match response.parse(&input) {
                Ok(Status::Complete(len)) => {
                    let seen = read(role(), &input[..len], &mut Pieces::Whole);
                    let (version, code) = (response.version.unwrap(), response.code.unwrap());
                    if seen.framing.is_none() {
                        // A code of 0xx does not exist; 1xx are not final.
                        let justified = code < 200 || faulty_framing(response.headers, version, false);
                        assert!(justified, "{shown}: {:?}", seen.end);
                        continue;
                    }
                    accepted += 1;
                    assert_eq!(seen.first, format!("{code} {version}"), "{shown}");
                    assert_eq!(seen.headers, owned(response.headers), "{shown}");
                }
                verdict => assert_not_accepted(role(), &input, verdict.is_err()),
            }
        }
    }
    assert!(accepted > 10_000, "too few mutants are valid to say anything: {accepted}");
}

#[test]
fn chunk_lines_get_the_verdict_of_httparse() {
    let mut random = Random(4);
    for line in [&b"1aF"[..], b"0", b"5;name=value", b"ffffffffffffffff", b"10 \t;x"] {
        for _ in 0..20_000 {
            let mut line = mutate(line, &mut random);
            line.retain(|&byte| byte != b'\n');
            let shown = line.escape_ascii().to_string();
            let ours = parse_chunk_line(&line);
            let terminated = [&line[..], b"\r\n"].concat();
            match httparse::parse_chunk_size(&terminated) {
                Ok(Status::Complete((_, size))) if ours.is_ok() => assert_eq!(ours, Ok(size), "{shown}"),
                Ok(Status::Complete(_)) => {
                    // It takes no digits at all for zero, and any byte in an extension.
                    let no_digits = !line.first().is_some_and(u8::is_ascii_hexdigit);
                    let control = line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
                    assert!(no_digits || control, "{shown}");
                }
                _ => assert!(ours.is_err(), "{shown}"),
            }
        }
    }
}

#[test]
fn request_lines_never_panic() {
    let mut random = Random(5);
    for _ in 0..100_000 {
        let bytes: Vec<u8> = (0..random.below(40)).map(|_| random.byte()).collect();
        let _ = parse_request_line(&bytes);
        let _ = read(Conn::server(), &bytes, &mut Pieces::Random(&mut random));
    }
}

/// Whether a head that is good syntax may be refused for what it says about framing: by the rules
/// of RFC 9112 3.2, 6.1 and 6.3, which `httparse` leaves to its user.
fn faulty_framing(headers: &[httparse::Header<'_>], minor: u8, request: bool) -> bool {
    let values = |name: &str| {
        headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).collect::<Vec<_>>()
    };
    let hosts = values("Host").len();
    let lengths: Vec<Option<u64>> = values("Content-Length")
        .iter()
        .flat_map(|header| header.value.split(|&byte| byte == b','))
        .map(|text| str::from_utf8(text.trim_ascii()).ok()?.parse().ok())
        .collect();
    let codings = values("Transfer-Encoding");
    let plain_chunked = codings.len() == 1 && codings[0].value.eq_ignore_ascii_case(b"chunked");
    request && (hosts > 1 || hosts == 0 && minor == 1)
        || lengths.iter().any(|len| len.is_none() || *len != lengths[0])
        || lengths.len() + codings.len() > 1
        || !codings.is_empty() && (minor == 0 || !plain_chunked)
}

/// Where `httparse` accepts nothing, neither do we; and where it sees an error, so do we as soon
/// as the line is complete.
fn assert_not_accepted(conn: Conn, input: &[u8], error: bool) {
    let input = if error { [input, b"\n\n"].concat() } else { input.to_vec() };
    let seen = read(conn, &input, &mut Pieces::Whole);
    assert_eq!(seen.framing, None, "{}", input.escape_ascii());
    if error {
        assert!(
            matches!(seen.end, End::Failed(error) if error != ConnError::Truncated),
            "{}: {:?}",
            input.escape_ascii(),
            seen.end
        );
    }
}

/// All that the owner of a connection gets to know of one message.
#[derive(Debug, PartialEq)]
struct Seen {
    first: String,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    framing: Option<Body>,
    body: Vec<u8>,
    keep_alive: bool,
    wanted_continue: bool,
    end: End,
}

#[derive(Debug, PartialEq)]
enum End {
    /// No message began.
    Idle,
    Complete,
    Failed(ConnError),
}

enum Pieces<'r> {
    Whole,
    Random(&'r mut Random),
}

fn read(mut conn: Conn, input: &[u8], pieces: &mut Pieces<'_>) -> Seen {
    let mut seen = Seen {
        first: String::new(),
        headers: Vec::new(),
        framing: None,
        body: Vec::new(),
        keep_alive: false,
        wanted_continue: false,
        end: End::Idle,
    };
    let (mut start, mut end) = (0, 0);
    loop {
        let (used, result) = conn.handle(&input[start..end]);
        match result {
            Ok(Some(Event::Request { method, target, version })) => {
                let text = |bytes| str::from_utf8(bytes).unwrap();
                seen.first = format!("{} {} {}", text(method), text(target), version.minor);
            }
            Ok(Some(Event::Status { version, code })) => seen.first = format!("{code} {}", version.minor),
            Ok(Some(Event::Header { name, value })) => seen.headers.push((name.to_vec(), value.to_vec())),
            Ok(Some(Event::HeadEnd(framing))) => {
                seen.framing = Some(framing);
                seen.keep_alive = conn.keep_alive();
                seen.wanted_continue = conn.wants_continue();
            }
            Ok(Some(Event::Body(bytes))) => seen.body.extend(bytes),
            Ok(Some(Event::End)) => {
                seen.end = End::Complete;
                return seen;
            }
            Ok(None) => {
                assert_eq!(used, end - start);
                if end == input.len() {
                    break;
                }
                end = match pieces {
                    Pieces::Whole => input.len(),
                    Pieces::Random(random) => input.len().min(end + 1 + random.below(9)),
                };
            }
            Err(error) => {
                seen.end = End::Failed(error);
                return seen;
            }
        }
        start += used;
    }
    match conn.handle_eof() {
        Ok(Some(_)) => seen.end = End::Complete,
        Ok(None) => {}
        Err(error) => seen.end = End::Failed(error),
    }
    seen
}

type Role = fn() -> Conn;

fn reply_due() -> Conn {
    let mut conn = Conn::client();
    conn.expect_reply(false).unwrap();
    conn
}

fn requests() -> Vec<(Role, Vec<u8>)> {
    let mut requests: Vec<(Role, Vec<u8>)> = captures()
        .into_iter()
        .map(|(_, head, body)| (Conn::server as Role, [head.as_bytes(), b"\r\n\r\n", &body].concat()))
        .collect();
    for text in [
        "GET / HTTP/1.0\r\n\r\n",
        "POST /x HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
    ] {
        requests.push((Conn::server, text.into()));
    }
    requests
}

fn replies() -> Vec<(Role, Vec<u8>)> {
    [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Encoding: peerdist\r\n\r\nhello",
        "HTTP/1.1 206\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\nnothing",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 \r\nA:\r\n\r\n",
    ]
    .map(|text| (reply_due as Role, text.into()))
    .into()
}

/// The message up to the empty line.
fn head_of(message: &[u8]) -> &[u8] {
    let end = |mark: &[u8]| message.windows(mark.len()).position(|at| at == mark).map(|at| at + mark.len());
    &message[..end(b"\r\n\r\n").or(end(b"\n\n")).unwrap()]
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers.iter().map(|header| (header.name.as_bytes().to_vec(), header.value.to_vec())).collect()
}

/// `bytes` with one to three bytes put in, replaced, left out or doubled, of the kind that
/// matters to a parser.
fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    const TELLING: &[u8] = b"\r\n \t:;,=/.-019aAfFxX\0\x01\x0b\x0c\x7f\x80\xc3\xa4\xff(){}\"";
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        let byte = TELLING[random.below(TELLING.len())];
        match random.below(5) {
            0 | 1 => bytes.insert(at, byte),
            2 if at < bytes.len() => bytes[at] = byte,
            3 if at < bytes.len() => drop(bytes.remove(at)),
            _ => {
                let end = bytes.len().min(at + random.below(20));
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
        }
    }
    bytes
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }
}
