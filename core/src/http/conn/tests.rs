extern crate std;

use std::string::String;
use std::{format, vec};

use super::*;

/// What the owner of `conn` sees of `input` in pieces of `step` bytes, then of its end: `|`
/// stands for the point where it begins the next exchange.
fn transcript(mut conn: Conn, input: &[u8], step: usize) -> String {
    let mut seen = String::new();
    let mut waiting: &[u8] = &[];
    let mut pieces = input.chunks(step);
    let mut offset = 0;
    loop {
        let (used, result) = conn.handle(waiting);
        match result {
            Ok(Some(event)) => note(&mut seen, event),
            Ok(None) if used < waiting.len() => break seen.push_str("unused "),
            Ok(None) => match pieces.next() {
                Some(piece) => {
                    waiting = &input[offset..offset + piece.len()];
                    offset += piece.len();
                    continue;
                }
                None => break,
            },
            Err(error) => {
                assert_eq!(conn.handle(b"GET"), (0, Err(error)));
                assert_eq!(conn.handle_eof(), Err(error));
                assert!(!conn.keep_alive() && !conn.wants_continue());
                seen.push_str(&format!("{error:?}"));
                return seen;
            }
        }
        waiting = &waiting[used..];
        if seen.ends_with("End ") && conn.next_exchange().is_ok() {
            seen.push_str("| ");
        }
    }
    match conn.handle_eof() {
        Ok(Some(event)) => note(&mut seen, event),
        Ok(None) => {}
        Err(error) => seen.push_str(&format!("{error:?}")),
    }
    seen
}

/// Joins body pieces, whose number depends on the pieces of the input.
fn note(seen: &mut String, event: Event<'_>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let words = match event {
        Event::Request { method, target, version } => {
            format!("{} {} 1.{} ", text(method), text(target), version.minor)
        }
        Event::Status { version, code } => format!("1.{} {code} ", version.minor),
        Event::Header { name, value } => format!("{}={} ", text(name), text(value)),
        Event::HeadEnd(body) => format!("{body:?} "),
        Event::Body(bytes) => {
            assert!(!bytes.is_empty());
            if seen.ends_with('\'') {
                seen.pop();
                format!("{}'", text(bytes))
            } else {
                format!("'{}'", text(bytes))
            }
        }
        Event::End => "End ".into(),
    };
    seen.push_str(&words);
}

/// The same verdict however the bytes come, and no panic wherever they end.
fn check(conn: fn() -> Conn, input: &[u8], expected: &str) {
    for step in [input.len().max(1), 1, 2, 3, 7] {
        assert_eq!(transcript(conn(), input, step), expected, "step {step}");
    }
    for end in 0..input.len().min(2_000) {
        transcript(conn(), &input[..end], end.max(1));
    }
}

fn reply_due() -> Conn {
    let mut conn = Conn::client();
    conn.expect_reply(false).unwrap();
    conn
}

fn reply_to_head_due() -> Conn {
    let mut conn = Conn::client();
    conn.expect_reply(true).unwrap();
    conn
}

#[test]
fn requests_follow_each_other() {
    check(
        Conn::server,
        b"\r\n\nPOST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
          GET /b HTTP/1.1\nhOsT:h\n\n\
          POST /c HTTP/1.1\r\nHost:\r\ncontent-length: 0, 0\r\nContent-Length: 0\r\n\r\n\
          GET /d HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n\
          GET /e HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET",
        "POST /a 1.1 Host=h Content-Length=3 Length(3) 'abc'End | \
         GET /b 1.1 hOsT=h None End | \
         POST /c 1.1 Host= content-length=0, 0 Content-Length=0 Length(0) End | \
         GET /d 1.0 Connection=x, Keep-Alive None End | \
         GET /e 1.1 Host=h Connection=close None End unused ",
    );
    check(Conn::server, b"GET /f HTTP/1.0\r\n\r\nGET", "GET /f 1.0 None End unused ");
}

#[test]
fn chunks() {
    check(
        Conn::server,
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n\
          3\r\nabc\r\n0A ; x=\"y\"\r\n0123456789\r\n0\r\nContent-Length: 9\r\n\r\nG",
        "POST / 1.1 Host=h Transfer-Encoding=Chunked Chunked 'abc0123456789'End | Truncated",
    );
    check(
        reply_due,
        b"HTTP/1.1 200\r\nTransfer-Encoding:chunked\r\n\r\n0\r\n\n",
        "1.1 200 Transfer-Encoding=chunked Chunked End ",
    );
    for bad in ["3\nabc", "3\r\nabcd\r\n", "3\r\nabc\n", "\r\n", "x\r\n", "11111111111111111\r\n"] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let seen = transcript(reply_due(), format!("{head}{bad}").as_bytes(), 1);
        assert!(seen.ends_with("Malformed"), "{bad:?}: {seen}");
    }
}

#[test]
fn framing_that_can_be_read_in_two_ways_is_refused() {
    for (lines, error) in [
        ("Content-Length: 3\r\nContent-Length: 4", ConnError::Malformed),
        ("Content-Length: 3, 4", ConnError::Malformed),
        ("Content-Length: 3,", ConnError::Malformed),
        ("Content-Length: +3", ConnError::Malformed),
        ("Content-Length:", ConnError::Malformed),
        ("Content-Length: 18446744073709551616", ConnError::Malformed),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", ConnError::Malformed),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", ConnError::Malformed),
        ("Transfer-Encoding: chunked, chunked", ConnError::Malformed),
        ("Transfer-Encoding:", ConnError::Malformed),
        ("Transfer-Encoding: gzip, chunked", ConnError::Unsupported),
        ("Transfer-Encoding: xchunked", ConnError::Unsupported),
        ("Transfer-Encoding: chunked;q=1", ConnError::Unsupported),
        ("Host: h", ConnError::Malformed),
        ("A: b\r\n c", ConnError::Malformed),
        ("A : b", ConnError::Malformed),
        ("A: b\rc", ConnError::Malformed),
    ] {
        let input = format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n");
        let seen = transcript(Conn::server(), input.as_bytes(), 1);
        assert!(seen.ends_with(&format!("{error:?}")), "{lines}: {seen}");
    }
    check(
        Conn::server,
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / 1.0 Transfer-Encoding=chunked Malformed",
    );
    check(Conn::server, b"GET / HTTP/1.1\r\n\r\n", "GET / 1.1 Malformed");
    check(Conn::server, b"GET / HTTP/2.0\r\n", "Version");
    check(Conn::server, b"HELO\r\n", "Malformed");
}

#[test]
fn replies() {
    check(
        reply_due,
        b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nHTTP/1.1 103 \r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "1.1 200 Content-Length=2 Length(2) 'hi'End ",
    );
    check(reply_due, b"HTTP/1.0 200 OK\r\n\r\nhello", "1.0 200 UntilClose 'hello'End ");
    check(reply_due, b"HTTP/1.1 200 OK\r\n\r\n", "1.1 200 UntilClose End ");
    check(
        reply_due,
        b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nx",
        "1.1 204 Content-Length=3 None End unused ",
    );
    check(
        reply_to_head_due,
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
        "1.1 200 Content-Length=3 None End ",
    );
    check(reply_due, b"HTTP/1.1 304 \r\n\r\n", "1.1 304 None End ");
    check(
        reply_due,
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
        "1.1 200 Content-Length=3 Length(3) 'hi'Truncated",
    );
    check(reply_due, b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "Unsupported");
    check(reply_due, b"HTTP/1.1 100 Continue\r\n\r\n", "Truncated");
    check(reply_due, b"", "Truncated");
    check(Conn::client, b"HTTP/1.1 408 \r\n\r\n", "unused ");
}

#[test]
fn a_client_takes_turns() {
    let mut conn = Conn::client();
    assert_eq!(conn.next_exchange(), Err(OutOfTurn));
    for _ in 0..2 {
        assert_eq!(conn.expect_reply(false), Ok(()));
        assert_eq!(conn.expect_reply(false), Err(OutOfTurn));
        let (used, event) = conn.handle(b"HTTP/1.1 204 \r\n\r\n");
        assert_eq!(event, Ok(Some(Event::Status { version: Version::HTTP_11, code: 204 })));
        assert_eq!(used, 15);
        assert_eq!(conn.handle(b"\r\n"), (2, Ok(Some(Event::HeadEnd(Body::None)))));
        assert_eq!(conn.handle(b""), (0, Ok(Some(Event::End))));
        assert_eq!(conn.handle(b"x"), (0, Ok(None)));
        assert_eq!(conn.handle_eof(), Ok(None));
    }
    conn.expect_reply(false).unwrap();
    for piece in [&b"HTTP/1.1 200 OK\r\n"[..], b"\r\n"] {
        assert_eq!(conn.handle(piece).0, piece.len());
    }
    assert!(!conn.keep_alive());
    assert_eq!(conn.handle_eof(), Ok(Some(Event::End)));
    assert_eq!(conn.expect_reply(false), Err(OutOfTurn));
}

#[test]
fn a_client_that_waits_is_told_once() {
    for (head, wanted) in [
        ("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n", true),
        ("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\nContent-Length: 2\r\n\r\n", false),
        ("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", false),
    ] {
        let mut conn = Conn::server();
        let mut input = head.as_bytes();
        loop {
            assert!(!conn.wants_continue());
            let (used, event) = conn.handle(input);
            input = &input[used..];
            if let Ok(Some(Event::HeadEnd(_))) = event {
                break;
            }
        }
        assert_eq!(conn.wants_continue(), wanted, "{head}");
        let _ = conn.handle(b"");
        assert_eq!(conn.wants_continue(), wanted, "{head}");
        let _ = conn.handle(b"h");
        assert!(!conn.wants_continue());
    }
}

#[test]
fn long_lines() {
    let long = |len| String::from_utf8(vec![b'v'; len]).unwrap();
    // As long as a line can be, with and without CR; then longer ones, whose value is dropped.
    let fits = long(LINE_BYTES - 3);
    for (value, end, shown) in [
        (&fits, "\n", true),
        (&fits[1..].into(), "\r\n", true),
        (&fits, "\r\n", true),
        (&long(LINE_BYTES - 2), "\n", true),
        (&long(LINE_BYTES - 2), "\r\n", false),
        (&long(LINE_BYTES - 1), "\n", false),
        (&long(9_000), "\r\n", false),
    ] {
        let input = format!("GET / HTTP/1.1\r\nHost: h\r\na:{value}{end}b: c\r\n\r\n");
        let header = if shown { format!("a={value} ") } else { String::new() };
        let expected = format!("GET / 1.1 Host=h {header}b=c None End | ");
        check(Conn::server, input.as_bytes(), &expected);
    }
    let value = long(600);
    for (line, verdict) in [
        (format!("Content-Length: {value}"), "HeadTooLarge"),
        (format!("Transfer-Encoding: {value}"), "HeadTooLarge"),
        (format!("{value}: v"), "HeadTooLarge"),
        (format!("A b: {value}"), "Malformed"),
        (format!("A: {value}\rv"), "Malformed"),
        (format!("A: {value}\x01"), "Malformed"),
        (format!("A: {value}\r\n folded"), "Malformed"),
        (format!("Host: {value}"), "Malformed"),
        (format!("Connection: {value}"), "None End "),
    ] {
        let input = format!("GET / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n");
        check(Conn::server, input.as_bytes(), &format!("GET / 1.1 Host=h {verdict}"));
    }
    check(Conn::server, format!("GET /{value} HTTP/1.1\r\n").as_bytes(), "UriTooLong");
    check(Conn::server, value.as_bytes(), "Malformed");
    check(reply_due, format!("HTTP/1.1 200 {value}\r\n").as_bytes(), "HeadTooLarge");
    assert_eq!(ConnError::UriTooLong.status(), 414);
}

#[test]
fn long_heads() {
    let lines = |count: usize, line: &str| line.repeat(count);
    let head = "GET / HTTP/1.0\r\n";
    for (input, verdict) in [
        (format!("{head}{}\r\n", lines(100, "a: b\r\n")), "None End "),
        (format!("{head}{}", lines(101, "a: b\r\n")), "HeadTooLarge"),
        (format!("{head}{}", lines(40, &format!("a: {}\r\n", "b".repeat(500)))), "HeadTooLarge"),
        (format!("{head}a: {}", "b".repeat(HEAD_BYTES)), "HeadTooLarge"),
        (lines(HEAD_BYTES, "\r\n"), "HeadTooLarge"),
        (format!("{head}a: {}\r\n\r\n", "b".repeat(HEAD_BYTES - 16 - 7)), "None End "),
        (format!("{head}a: {}\r\n\r\n", "b".repeat(HEAD_BYTES - 16 - 6)), "HeadTooLarge"),
    ] {
        let all = transcript(Conn::server(), input.as_bytes(), input.len());
        assert!(all.ends_with(verdict), "{all}");
        assert_eq!(transcript(Conn::server(), input.as_bytes(), 1), all);
    }
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
    let interim = lines(1_000, "HTTP/1.1 100 Continue\r\n\r\n");
    for input in [format!("{chunked}{}", lines(101, "a: b\r\n")), interim] {
        assert!(transcript(reply_due(), input.as_bytes(), 5).ends_with("HeadTooLarge"));
    }
}
