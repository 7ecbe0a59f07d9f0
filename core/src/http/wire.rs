//! [RFC 9112] Lines of HTTP heads, and the few [RFC 9110] header values that frame messages or
//! name byte ranges.
//!
//! A head is read and written line by line, so none needs a buffer of its own size. Lines are
//! given without their line end. What is read is strict: single spaces in start lines, nothing
//! between a header's name and its colon, no folded lines, no control characters.

use crate::bytes::{List, NoRoom, Reader, Writer, eq_no_case, parse_decimal, split_byte};

/// The line or header value does not have the form that HTTP gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Malformed;

/// Why a line was not written. The writer may then hold part of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum EmitError {
    /// The buffer is too short.
    NoRoom,
    /// A part holds a byte that may not stand there, such as a line end inside a value.
    Illegal,
}

impl From<NoRoom> for EmitError {
    fn from(_: NoRoom) -> Self {
        Self::NoRoom
    }
}

/// A protocol version, `HTTP/major.minor` (RFC 9112 2.3). Versions that do not exist are values
/// too, so that a server can answer them with 505.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Version {
    /// The digit before the dot.
    pub major: u8,
    /// The digit after the dot.
    pub minor: u8,
}

impl Version {
    /// HTTP/1.0.
    pub const HTTP_10: Self = Self { major: 1, minor: 0 };
    /// HTTP/1.1.
    pub const HTTP_11: Self = Self { major: 1, minor: 1 };
}

/// `method SP target SP version` (RFC 9112 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// A token, case-sensitive.
    pub method: &'a [u8],
    /// At least one visible ASCII character; its form (path, absolute, `*`) is not looked at.
    pub target: &'a [u8],
    /// As it stands on the line.
    pub version: Version,
}

/// `version SP code SP reason` (RFC 9112 4). The reason says nothing and is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusLine {
    /// As it stands on the line.
    pub version: Version,
    /// Three digits, 100 to 999.
    pub code: u16,
}

/// `name: value` (RFC 9112 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// A token, to be compared with [`name_eq`].
    pub name: &'a [u8],
    /// Without the white space around it; may be empty.
    pub value: &'a [u8],
}

/// Reads a request line.
#[inline(never)]
pub fn parse_request_line(line: &[u8]) -> Result<RequestLine<'_>, Malformed> {
    let (method, rest) = split_byte(line, b' ').ok_or(Malformed)?;
    let (target, version) = split_byte(rest, b' ').ok_or(Malformed)?;
    if !is_token(method) || !is_target(target) {
        return Err(Malformed);
    }
    match parse_version(version)? {
        (version, []) => Ok(RequestLine { method, target, version }),
        _ => Err(Malformed),
    }
}

/// Reads a status line. An empty reason may come with or without the space before it: RFC 9112 4
/// wants the space, some servers leave it out.
#[inline(never)]
pub fn parse_status_line(line: &[u8]) -> Result<StatusLine, Malformed> {
    let (version, rest) = parse_version(line)?;
    let [b' ', a, b, c, reason @ ..] = rest else { return Err(Malformed) };
    let code = parse_decimal(&[*a, *b, *c]).and_then(|code| u16::try_from(code).ok()).ok_or(Malformed)?;
    match reason {
        [] => {}
        [b' ', text @ ..] if is_field_text(text) => {}
        _ => return Err(Malformed),
    }
    if code < 100 {
        return Err(Malformed);
    }
    Ok(StatusLine { version, code })
}

/// Reads a header line.
#[inline(never)]
pub fn parse_header(line: &[u8]) -> Result<Header<'_>, Malformed> {
    // RFC 9112 5.2: a server MUST reject a folded line or replace the fold. A fold begins with
    // white space, which is no token, so it is rejected here.
    // RFC 9112 5.1: a server MUST reject white space between name and colon: neither is that one.
    let (name, value) = split_byte(line, b':').ok_or(Malformed)?;
    if !is_token(name) || !is_field_text(value) {
        return Err(Malformed);
    }
    Ok(Header { name, value: value.trim_ascii() })
}

/// Reads the line before a chunk's data: its size in hexadecimal, then extensions, which are
/// ignored (RFC 9112 7.1).
#[inline(never)]
pub fn parse_chunk_line(line: &[u8]) -> Result<u64, Malformed> {
    // RFC 9112 7.1.1: a recipient MUST ignore unrecognised chunk extensions. All are, to us.
    let size = split_byte(line, b';').map_or(line, |(size, _)| size);
    if !is_field_text(line) {
        return Err(Malformed);
    }
    let digits = size.trim_ascii_end();
    if digits.is_empty() || digits.len() > MAX_CHUNK_DIGITS {
        return Err(Malformed);
    }
    let mut value = 0u64;
    for &digit in digits {
        // RFC 9112 7.1: a recipient MUST anticipate large numbers and prevent overflow: the count
        // of digits is bounded above by what 64 bits hold.
        value = value << 4 | u64::from(crate::bytes::hex_value(digit).ok_or(Malformed)?);
    }
    Ok(value)
}

/// Writes a request line of HTTP/1.1.
pub fn emit_request_line(writer: &mut Writer<'_>, method: &[u8], target: &[u8]) -> Result<(), EmitError> {
    if !is_token(method) || !is_target(target) {
        return Err(EmitError::Illegal);
    }
    writer.put(method);
    writer.put(b" ");
    writer.put(target);
    writer.put(b" HTTP/1.1\r\n");
    Ok(writer.check()?)
}

/// Writes a status line of HTTP/1.1 with the usual reason: some clients read on until the space
/// after the code, and some want a reason behind it (fact 20). `code` is 100 to 999.
pub fn emit_status_line(writer: &mut Writer<'_>, code: u16) -> Result<(), EmitError> {
    if !(100..=999).contains(&code) {
        return Err(EmitError::Illegal);
    }
    writer.put(b"HTTP/1.1 ");
    writer.decimal(u64::from(code));
    writer.put(b" ");
    writer.text(reason(code));
    writer.put(b"\r\n");
    Ok(writer.check()?)
}

/// Writes a header line.
pub fn emit_header(writer: &mut Writer<'_>, name: &[u8], value: &[u8]) -> Result<(), EmitError> {
    if !is_token(name) || !is_field_text(value) {
        return Err(EmitError::Illegal);
    }
    writer.put(name);
    writer.put(b": ");
    writer.put(value);
    writer.put(b"\r\n");
    Ok(writer.check()?)
}

/// Writes `Content-Length: len`.
pub fn emit_content_length(writer: &mut Writer<'_>, len: u64) -> Result<(), NoRoom> {
    writer.put(b"Content-Length: ");
    writer.decimal(len);
    writer.put(b"\r\n");
    writer.check()
}

/// Writes the empty line that ends a head.
pub fn emit_head_end(writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    writer.put(b"\r\n");
    writer.check()
}

/// The whole interim reply that asks a client to go on and send its body (RFC 9110 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A single byte range as a request names it (RFC 9110 14.1.2). Positions count from 0 and
/// include the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ByteRange {
    /// `first-last`, where `first` is not beyond `last`.
    Between {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// `first-`: up to the end.
    From(u64),
    /// `-count`: the last `count` bytes.
    Suffix(u64),
}

impl ByteRange {
    /// Reads the value of a `Range` header.
    ///
    /// An error means that the header is to be ignored and the whole content served: it is
    /// malformed, of another unit, or asks for several ranges, which we never serve (RFC 9110
    /// 14.2 lets a server ignore any `Range`).
    pub fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let (unit, set) = split_byte(value, b'=').ok_or(Malformed)?;
        if !name_eq(unit.trim_ascii(), b"bytes") {
            return Err(Malformed);
        }
        let (first, last) = split_byte(set.trim_ascii(), b'-').ok_or(Malformed)?;
        match (first, last) {
            ([], count) => Ok(Self::Suffix(parse_decimal(count).ok_or(Malformed)?)),
            (first, []) => Ok(Self::From(parse_decimal(first).ok_or(Malformed)?)),
            (first, last) => {
                let first = parse_decimal(first).ok_or(Malformed)?;
                let last = parse_decimal(last).ok_or(Malformed)?;
                // RFC 9110 14.1.1: a range whose end lies before its start is invalid.
                if first <= last { Ok(Self::Between { first, last }) } else { Err(Malformed) }
            }
        }
    }

    /// The first and last byte that the range has in content of `total` bytes; `None` if it has
    /// none (416).
    pub fn resolve(self, total: u64) -> Option<(u64, u64)> {
        let end = total.checked_sub(1)?;
        let (first, last) = match self {
            // RFC 9110 14.1.2: a last position beyond the content means its end.
            Self::Between { first, last } => (first, last.min(end)),
            Self::From(first) => (first, end),
            Self::Suffix(0) => return None,
            // RFC 9110 14.1.2: if the content is shorter than the suffix, all of it is meant.
            Self::Suffix(count) => (total.saturating_sub(count), end),
        };
        (first <= last).then_some((first, last))
    }

    /// Writes the whole `Range` header line.
    pub fn emit(self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.put(b"Range: bytes=");
        match self {
            Self::Between { first, last } => {
                writer.decimal(first);
                writer.put(b"-");
                writer.decimal(last);
            }
            Self::From(first) => {
                writer.decimal(first);
                writer.put(b"-");
            }
            Self::Suffix(count) => {
                writer.put(b"-");
                writer.decimal(count);
            }
        }
        writer.put(b"\r\n");
        writer.check()
    }
}

/// Which part of the content a reply carries (RFC 9110 14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ContentRange {
    /// `bytes first-last/total`, where `first` is not beyond `last` and `last` is inside `total`.
    Part {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
        /// Bytes of the whole content; `None` where the server wrote `*`.
        total: Option<u64>,
    },
    /// `bytes */total`, in a 416.
    Unsatisfied {
        /// Bytes of the whole content.
        total: u64,
    },
}

impl ContentRange {
    /// Reads the value of a `Content-Range` header.
    pub fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let (unit, rest) = split_byte(value, b' ').ok_or(Malformed)?;
        if !name_eq(unit, b"bytes") {
            return Err(Malformed);
        }
        let (range, total) = split_byte(rest.trim_ascii_start(), b'/').ok_or(Malformed)?;
        let total = match total {
            b"*" => None,
            digits => Some(parse_decimal(digits).ok_or(Malformed)?),
        };
        if range == b"*" {
            return total.map(|total| Self::Unsatisfied { total }).ok_or(Malformed);
        }
        let (first, last) = split_byte(range, b'-').ok_or(Malformed)?;
        let first = parse_decimal(first).ok_or(Malformed)?;
        let last = parse_decimal(last).ok_or(Malformed)?;
        // RFC 9110 14.4: a recipient MUST NOT attempt to recombine a part whose last position is
        // before its first or not inside the total.
        if first > last || total.is_some_and(|total| last >= total) {
            return Err(Malformed);
        }
        Ok(Self::Part { first, last, total })
    }

    /// Writes the whole `Content-Range` header line.
    pub fn emit(self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.put(b"Content-Range: bytes ");
        let total = match self {
            Self::Part { first, last, total } => {
                writer.decimal(first);
                writer.put(b"-");
                writer.decimal(last);
                total
            }
            Self::Unsatisfied { total } => {
                writer.put(b"*");
                Some(total)
            }
        };
        writer.put(b"/");
        match total {
            Some(total) => writer.decimal(total),
            None => writer.put(b"*"),
        }
        writer.put(b"\r\n");
        writer.check()
    }
}

/// Compares header names, tokens and units, which know no case.
pub fn name_eq(a: &[u8], b: &[u8]) -> bool {
    eq_no_case(a, b)
}

/// One element of a comma-separated list: `token`, or `token;params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// What stands before the first semicolon, without white space around it. Not checked to be
    /// a token.
    pub token: &'a [u8],
    /// What stands behind it, parameters and their semicolons; empty if there are none.
    pub params: &'a [u8],
}

/// The elements of a comma-separated list; empty ones are skipped (RFC 9110 5.6.1). Lists of
/// quoted strings are none of ours: a comma ends an element wherever it stands.
pub fn items(value: &[u8]) -> impl Iterator<Item = Item<'_>> {
    List::new(value, b';').map(|(token, params)| Item { token, params })
}

/// Whether `text` is a token (RFC 9110 5.6.2): a method or a header name can be nothing else.
#[inline(never)]
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// Whether `byte` may stand in a header value or a reason (RFC 9110 5.5).
pub const fn is_field_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// The usual words for a status code (RFC 9110 15).
pub const fn reason(code: u16) -> &'static str {
    match code {
        100 => "Continue",
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}

/// Hexadecimal digits of the largest chunk that 64 bits can count.
const MAX_CHUNK_DIGITS: usize = 16;

/// Reads a version off the front of `line`, and returns what follows it.
#[inline(never)]
fn parse_version(line: &[u8]) -> Result<(Version, &[u8]), Malformed> {
    let mut reader = Reader::new(line);
    // RFC 9112 2.3: the name is case-sensitive.
    let Ok([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]) = reader.array::<8>() else {
        return Err(Malformed);
    };
    let digit = |byte: u8| byte.is_ascii_digit().then_some(byte & 15).ok_or(Malformed);
    Ok((Version { major: digit(*major)?, minor: digit(*minor)? }, reader.rest()))
}

#[inline(never)]
fn is_target(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_graphic)
}

#[inline(never)]
fn is_field_text(text: &[u8]) -> bool {
    text.iter().all(|&byte| is_field_byte(byte))
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emitted<E: core::fmt::Debug>(
        emit: impl FnOnce(&mut Writer<'_>) -> Result<(), E>,
    ) -> ([u8; 96], usize) {
        let mut buf = [0; 96];
        let mut writer = Writer::new(&mut buf);
        emit(&mut writer).unwrap();
        let len = writer.len();
        (buf, len)
    }

    macro_rules! assert_emits {
        ($emit:expr, $text:expr) => {
            let (buf, len) = emitted($emit);
            assert_eq!(&buf[..len], $text.as_slice());
        };
    }

    #[test]
    fn request_lines() {
        assert_eq!(
            parse_request_line(b"POST /116B50EB-ECE2-41ac-8429-9F9E963361B7/ HTTP/1.1"),
            Ok(RequestLine {
                method: b"POST",
                target: b"/116B50EB-ECE2-41ac-8429-9F9E963361B7/",
                version: Version::HTTP_11
            })
        );
        assert_eq!(parse_request_line(b"G / HTTP/7.3").unwrap().version, Version { major: 7, minor: 3 });
        for bad in [
            &b""[..],
            b"GET",
            b"GET /",
            b"GET / ",
            b" GET / HTTP/1.1",
            b"GET  / HTTP/1.1",
            b"GET /  HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b"GET / HTTP/11",
            b"GET / http/1.1",
            b"GET / HTTP/1.x",
            b"G@T / HTTP/1.1",
            b"GET /\x01 HTTP/1.1",
            b"GET /\xc3\xa4 HTTP/1.1",
            b"GET\t/\tHTTP/1.1",
        ] {
            assert_eq!(parse_request_line(bad), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn status_lines() {
        let ok = Ok(StatusLine { version: Version::HTTP_11, code: 200 });
        assert_eq!(parse_status_line(b"HTTP/1.1 200 OK"), ok);
        assert_eq!(parse_status_line(b"HTTP/1.1 200 "), ok);
        assert_eq!(parse_status_line(b"HTTP/1.1 200"), ok);
        assert_eq!(parse_status_line(b"HTTP/1.1 200 \xe4\tb  c"), ok);
        for bad in [
            &b""[..],
            b"HTTP/1.1",
            b"HTTP/1.1 20",
            b"HTTP/1.1 2000",
            b"HTTP/1.1 200OK",
            b"HTTP/1.1 +20 OK",
            b"HTTP/1.1 099 OK",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1 200 \x7f",
        ] {
            assert_eq!(parse_status_line(bad), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn header_lines() {
        let header = parse_header(b"X-P2P-PeerDist: \t Version=1.1, ContentLength=7 \t").unwrap();
        assert_eq!(header, Header { name: b"X-P2P-PeerDist", value: b"Version=1.1, ContentLength=7" });
        assert_eq!(parse_header(b"a:"), Ok(Header { name: b"a", value: b"" }));
        assert_eq!(parse_header(b"a:b:c"), Ok(Header { name: b"a", value: b"b:c" }));
        for bad in [&b""[..], b"a", b":b", b"a : b", b" a: b", b"\ta", b"a: b\rc", b"a: \x0cb", b"a: b\0"] {
            assert_eq!(parse_header(bad), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn chunk_lines() {
        for (line, size) in [
            (&b"0"[..], 0),
            (b"1aF", 0x1af),
            (b"5 ; name=\"v;al\"", 5),
            (b"5;", 5),
            (b"ffffffffffffffff", u64::MAX),
        ] {
            assert_eq!(parse_chunk_line(line), Ok(size), "{line:?}");
        }
        for bad in [&b""[..], b";x", b" 5", b"5 6", b"0x5", b"-5", b"10000000000000000", b"5;\x01", b"5\r"] {
            assert_eq!(parse_chunk_line(bad), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn ranges_asked() {
        for (text, range, resolved) in [
            (&b"bytes=0-0"[..], ByteRange::Between { first: 0, last: 0 }, Some((0, 0))),
            (b"bytes=5-99", ByteRange::Between { first: 5, last: 99 }, Some((5, 9))),
            (b"bytes=9-", ByteRange::From(9), Some((9, 9))),
            (b"bytes=10-", ByteRange::From(10), None),
            (b"bytes=-3", ByteRange::Suffix(3), Some((7, 9))),
            (b"bytes=-30", ByteRange::Suffix(30), Some((0, 9))),
            (b"bytes=-0", ByteRange::Suffix(0), None),
        ] {
            assert_eq!(ByteRange::parse(text), Ok(range), "{text:?}");
            assert_eq!(range.resolve(10), resolved, "{text:?}");
            assert_eq!(range.resolve(0), None, "{text:?}");
            let (buf, len) = emitted(|writer| range.emit(writer));
            assert_eq!(buf[..len].strip_prefix(b"Range: ").unwrap().trim_ascii_end(), text);
        }
        assert_eq!(ByteRange::parse(b"Bytes= 1-2 "), Ok(ByteRange::Between { first: 1, last: 2 }));
        for bad in [
            &b""[..],
            b"bytes",
            b"bytes=",
            b"bytes=-",
            b"bytes=2-1",
            b"bytes=1-2,4-5",
            b"bytes=+1-2",
            b"bytes=1-18446744073709551616",
            b"pages=1-2",
        ] {
            assert_eq!(ByteRange::parse(bad), Err(Malformed), "{bad:?}");
        }
        assert_eq!(ByteRange::From(5 << 32).resolve(6 << 32), Some((5 << 32, (6 << 32) - 1)));
    }

    #[test]
    fn ranges_told() {
        for (text, range) in [
            (&b"bytes 0-9/10"[..], ContentRange::Part { first: 0, last: 9, total: Some(10) }),
            (b"bytes 5-5/*", ContentRange::Part { first: 5, last: 5, total: None }),
            (b"bytes */10", ContentRange::Unsatisfied { total: 10 }),
        ] {
            assert_eq!(ContentRange::parse(text), Ok(range), "{text:?}");
            let (buf, len) = emitted(|writer| range.emit(writer));
            assert_eq!(buf[..len].strip_prefix(b"Content-Range: ").unwrap().trim_ascii_end(), text);
        }
        for bad in [
            &b""[..],
            b"bytes",
            b"bytes 0-9",
            b"bytes 9-0/10",
            b"bytes 0-10/10",
            b"bytes */*",
            b"bytes 0-/10",
            b"pages 0-9/10",
        ] {
            assert_eq!(ContentRange::parse(bad), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn list_elements() {
        let mut list = items(b" gzip;q=0.5 , , PeerDist ; q=0;x=y,");
        assert_eq!(list.next(), Some(Item { token: b"gzip", params: b"q=0.5" }));
        assert_eq!(list.next(), Some(Item { token: b"PeerDist", params: b"q=0;x=y" }));
        assert_eq!(list.next(), None);
        assert_eq!(items(b"").next(), None);
    }

    #[test]
    fn what_is_written_reads_back() {
        assert_emits!(|w| emit_request_line(w, b"GET", b"/a?b=c"), b"GET /a?b=c HTTP/1.1\r\n");
        assert_emits!(|w| emit_status_line(w, 206), b"HTTP/1.1 206 Partial Content\r\n");
        assert_emits!(|w| emit_status_line(w, 299), b"HTTP/1.1 299 Status\r\n");
        assert_emits!(|w| emit_header(w, b"Host", b"[::1]:80"), b"Host: [::1]:80\r\n");
        assert_emits!(|w| emit_content_length(w, u64::MAX), b"Content-Length: 18446744073709551615\r\n");
        assert_emits!(emit_head_end, b"\r\n");
    }

    #[test]
    fn nothing_can_be_smuggled_into_a_line() {
        let mut buf = [0; 64];
        let mut writer = Writer::new(&mut buf);
        for result in [
            emit_request_line(&mut writer, b"GET", b"/ HTTP/1.1\r\nx: y"),
            emit_request_line(&mut writer, b"GET", b""),
            emit_request_line(&mut writer, b"G T", b"/"),
            emit_header(&mut writer, b"Host", b"a\r\nb: c"),
            emit_header(&mut writer, b"Host:", b"a"),
            emit_status_line(&mut writer, 99),
        ] {
            assert_eq!(result, Err(EmitError::Illegal));
        }
        assert!(writer.is_empty());
        assert_eq!(emit_header(&mut writer, b"Host", &[b'a'; 64]), Err(EmitError::NoRoom));
    }
}
