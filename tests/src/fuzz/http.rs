//! HTTP: single lines, and all that comes on a connection.

use httparse::Status;
use peerdist_core::bytes::{Writer, decode_hex, parse_decimal};
use peerdist_core::http::conn::{Body, Conn, ConnError, Event, HEADERS, LINE_BYTES};
use peerdist_core::http::date::{self, MAX_DATE};
use peerdist_core::http::select::{Selected, Selection, Validators};
use peerdist_core::http::wire::{
    ByteRange, ContentRange, Version, emit_header, emit_request_line, emit_status_line, is_token, items,
    name_eq, parse_chunk_line, parse_header, parse_request_line, parse_status_line,
};

use super::numbers;

/// A line or value that is accepted says the same when it is written and read again, and ranges
/// lie within their content.
pub fn http_lines(data: &[u8]) {
    if let Ok(line) = parse_request_line(data) {
        let again = emitted(data, |writer| emit_request_line(writer, line.method, line.target).unwrap());
        let versionless = |line: &[u8]| line[..line.len() - "1.1".len()].to_vec();
        assert_eq!(versionless(&again), versionless(data));
        assert_eq!(parse_request_line(&again).unwrap().version, Version::HTTP_11);
    }
    if let Ok(line) = parse_status_line(data) {
        assert!((100..=999).contains(&line.code));
        let again = emitted(data, |writer| emit_status_line(writer, line.code).unwrap());
        assert_eq!(parse_status_line(&again).unwrap().code, line.code);
    }
    if let Ok(header) = parse_header(data) {
        assert!(is_token(header.name));
        assert_eq!(header.value.trim_ascii(), header.value);
        let again = emitted(data, |writer| emit_header(writer, header.name, header.value).unwrap());
        assert_eq!(parse_header(&again), Ok(header));
    }
    if let Ok(size) = parse_chunk_line(data) {
        assert_eq!(parse_chunk_line(format!("{size:x}").as_bytes()), Ok(size));
    }
    if let Ok(range) = ByteRange::parse(data) {
        let again = emitted(data, |writer| range.emit(writer).unwrap());
        assert_eq!(ByteRange::parse(parse_header(&again).unwrap().value), Ok(range));
        let total = numbers(data).0;
        for total in [0, 1, total % 1_000, total, u64::MAX] {
            let within = |(first, last)| first <= last && last < total;
            assert!(range.resolve(total).is_none_or(within), "{range:?} of {total}");
        }
    }
    if let Ok(range) = ContentRange::parse(data) {
        let again = emitted(data, |writer| range.emit(writer).unwrap());
        assert_eq!(ContentRange::parse(parse_header(&again).unwrap().value), Ok(range));
    }
    if let Some(seconds) = date::parse(data) {
        assert!(seconds <= MAX_DATE + 1, "a leap second may be the last");
        let again = date_of(seconds);
        assert_eq!(date::parse(&again), Some(seconds.min(MAX_DATE)));
    }
    assert_eq!(date::parse(&date_of(numbers(data).0)), Some(numbers(data).0.min(MAX_DATE)));
    select(data);
    for item in items(data) {
        assert!(!item.token.is_empty() || data.contains(&b';'));
        assert!(!item.token.contains(&b',') && !item.params.contains(&b','));
    }
    if let Some(number) = parse_decimal(data) {
        assert_eq!(parse_decimal(number.to_string().as_bytes()), Some(number));
    }
    let mut bytes = vec![0; data.len() / 2];
    if let Some(bytes) = decode_hex(data, &mut bytes) {
        let mut buf = vec![0; data.len()];
        let mut writer = Writer::new(&mut buf);
        writer.hex_upper(bytes);
        assert!(writer.finish().eq_ignore_ascii_case(data));
    }
}

/// Whatever is selected lies within the content, and is of the state that the request names.
fn select(data: &[u8]) {
    let validators = Validators { etag: b"\"a\"", modified: numbers(data).0, modified_is_strong: true };
    let lines = data.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut selection = Selection::new(validators);
    let mut refused = false;
    for header in lines.filter_map(|line| parse_header(line).ok()) {
        selection.header(header.name, header.value);
        refused |= name_eq(header.name, b"If-Match") && !header.value.contains(&b'"') && header.value != b"*";
    }
    for len in [0, 1, numbers(data).0 % 1_000, u64::MAX] {
        let selected = selection.decide(b"GET", len);
        match selected {
            Selected::Part { first, last } => assert!(first <= last && last < len),
            Selected::Whole | Selected::NotModified | Selected::Failed | Selected::Unsatisfied => {}
        }
        let of_head = selection.decide(b"HEAD", len);
        assert!(of_head == selected || of_head == Selected::Whole);
        assert!(!matches!(selection.decide(b"PUT", len), Selected::Part { .. } | Selected::NotModified));
    }
    let accepted = |line: &[u8]| parse_header(line).is_ok_and(|header| name_eq(header.name, b"If-Match"));
    if refused && data.split(|&byte| byte == b'\n').filter(|line| accepted(line)).count() == 1 {
        assert_eq!(selection.decide(b"GET", 1), Selected::Failed);
    }
}

fn date_of(seconds: u64) -> Vec<u8> {
    let mut buf = [0; 32];
    let mut writer = Writer::new(&mut buf);
    date::emit(&mut writer, seconds).unwrap();
    writer.finish().to_vec()
}

/// What `emit` writes of `data`, without its line end.
fn emitted(data: &[u8], emit: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    // Names, digits and reasons that are ours come on top.
    let mut buf = vec![0; data.len() + 128];
    let mut writer = Writer::new(&mut buf);
    emit(&mut writer);
    writer.finish().strip_suffix(b"\r\n").expect("a line end").to_vec()
}

/// Events come in their order and keep their bounds, the pieces in which bytes come make no
/// difference, and `httparse` reads the same from the first head, or refuses it as we do.
pub fn http_conn(data: &[u8]) {
    for role in [Role::Server, Role::Client] {
        let whole = read(role, data, data.len().max(1));
        for piece in [1, 2 + numbers(data).0 as usize % 61] {
            assert_eq!(read(role, data, piece), whole);
        }
        for message in &whole {
            check(message);
        }
        match role {
            Role::Server => request_of_httparse(data, &whole[0]),
            Role::Client => reply_of_httparse(data, &whole[0]),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Server,
    Client,
}

/// All that the owner of a connection gets to know of one message.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    first: Option<String>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    framing: Option<Body>,
    body: Vec<u8>,
    keep_alive: bool,
    wanted_continue: bool,
    end: End,
}

#[derive(Debug, Default, PartialEq)]
enum End {
    /// No message began.
    #[default]
    Idle,
    Complete,
    Failed(ConnError),
}

/// Reads messages one after the other, the last of which may be none.
fn read(role: Role, data: &[u8], piece: usize) -> Vec<Seen> {
    let mut conn = if role == Role::Server { Conn::server() } else { Conn::client() };
    let mut messages = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        if role == Role::Client {
            conn.expect_reply(false).unwrap();
        } else if !messages.is_empty() {
            conn.next_exchange().unwrap();
        }
        messages.push(read_one(&mut conn, data, piece, &mut start, &mut end));
        if messages.last().is_some_and(|seen| seen.end != End::Complete || !seen.keep_alive) {
            return messages;
        }
    }
}

fn read_one(conn: &mut Conn, data: &[u8], piece: usize, start: &mut usize, end: &mut usize) -> Seen {
    let mut seen = Seen::default();
    loop {
        let (used, result) = conn.handle(&data[*start..*end]);
        match result {
            Ok(Some(event)) => {
                let framed = matches!(event, Event::HeadEnd(_));
                let ended = note(&mut seen, event);
                if framed {
                    seen.keep_alive = conn.keep_alive();
                    seen.wanted_continue = conn.wants_continue();
                }
                *start += used;
                if ended {
                    return seen;
                }
            }
            Ok(None) => {
                assert_eq!(used, *end - *start, "bytes are left");
                *start += used;
                if *end == data.len() {
                    match conn.handle_eof() {
                        Ok(Some(event)) => assert!(note(&mut seen, event)),
                        Ok(None) => {}
                        Err(error) => seen.end = End::Failed(error),
                    }
                    return seen;
                }
                *end = data.len().min(*end + piece);
            }
            Err(error) => {
                seen.end = End::Failed(error);
                assert_eq!(conn.handle(b"x").1, Err(error), "errors stay");
                assert!(!conn.keep_alive());
                return seen;
            }
        }
    }
}

/// Notes `event`, which must be in turn; whether it was the last.
fn note(seen: &mut Seen, event: Event<'_>) -> bool {
    let text = |bytes: &[u8]| str::from_utf8(bytes).unwrap().to_owned();
    assert_eq!(seen.first.is_none(), matches!(event, Event::Request { .. } | Event::Status { .. }));
    assert_eq!(seen.framing.is_some(), matches!(event, Event::Body(_) | Event::End));
    match event {
        Event::Request { method, target, version } => {
            let mut buf = [0; LINE_BYTES + 16];
            emit_request_line(&mut Writer::new(&mut buf), method, target).unwrap();
            seen.first = Some(format!("{} {} {}", text(method), text(target), version.minor));
        }
        Event::Status { version, code } => {
            assert!((200..=999).contains(&code));
            seen.first = Some(format!("{code} {}", version.minor));
        }
        Event::Header { name, value } => {
            assert!(name.len() + value.len() < LINE_BYTES);
            seen.headers.push((name.to_vec(), value.to_vec()));
        }
        Event::HeadEnd(framing) => seen.framing = Some(framing),
        Event::Body(bytes) => {
            assert!(!bytes.is_empty());
            seen.body.extend(bytes);
        }
        Event::End => {
            seen.end = End::Complete;
            return true;
        }
    }
    false
}

fn check(seen: &Seen) {
    assert!(seen.headers.len() <= usize::from(HEADERS));
    for (name, value) in &seen.headers {
        let mut buf = [0; LINE_BYTES + 4];
        emit_header(&mut Writer::new(&mut buf), name, value).unwrap();
    }
    let len = seen.body.len() as u64;
    let complete = seen.end == End::Complete;
    match seen.framing {
        None | Some(Body::None) => assert_eq!(len, 0),
        Some(Body::Length(announced)) => assert!(len == announced || len < announced && !complete),
        Some(Body::Chunked) => {}
        Some(Body::UntilClose) => assert!(complete && !seen.keep_alive),
    }
}

fn request_of_httparse(data: &[u8], seen: &Seen) {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS as usize];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(data) {
        Ok(Status::Complete(len)) if seen.framing.is_some() => {
            let version = request.version.unwrap();
            let first = format!("{} {} {version}", request.method.unwrap(), request.path.unwrap());
            assert_eq!(seen.first, Some(first));
            same_headers(&data[..len], seen, request.headers);
        }
        // It leaves framing to its user, so we may refuse more.
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) | Err(_) => assert_eq!(seen.framing, None),
    }
}

fn reply_of_httparse(data: &[u8], seen: &Seen) {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS as usize];
    let mut reply = httparse::Response::new(&mut headers);
    match reply.parse(data) {
        // We pass over interim replies.
        Ok(_) if reply.code.is_some_and(|code| code < 200) => {}
        Ok(Status::Complete(len)) if seen.framing.is_some() => {
            let first = format!("{} {}", reply.code.unwrap(), reply.version.unwrap());
            assert_eq!(seen.first, Some(first));
            same_headers(&data[..len], seen, reply.headers);
        }
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => assert_eq!(seen.framing, None),
        Err(_) => assert_eq!(seen.framing, None),
    }
}

fn same_headers(head: &[u8], seen: &Seen, headers: &[httparse::Header<'_>]) {
    // Headers with a long line are not shown.
    if head.split(|&byte| byte == b'\n').all(|line| line.len() <= LINE_BYTES) {
        let headers = headers.iter().map(|header| (header.name.as_bytes(), header.value));
        assert!(seen.headers.iter().map(|(name, value)| (&name[..], &value[..])).eq(headers));
    }
}
