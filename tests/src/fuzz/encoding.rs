//! The `peerdist` coding: headers in, decision out.

use peerdist_core::bytes::Writer;
use peerdist_core::encoding::{
    Available, Coding, InfoVersion, Reply, ReplyCoding, ReplyError, ServerRequest, Version,
};
use peerdist_core::http::wire::{Header, parse_header};

use super::numbers;

/// The order of headers does not matter, nor that a request repeats itself; nobody gets what is
/// not available or was not asked for; and a client takes our answer for what we meant.
pub fn encoding(data: &[u8]) {
    let lines = data.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let headers: Vec<Header<'_>> = lines.filter_map(|line| parse_header(line).ok()).collect();
    let content_len = numbers(data).0;
    server(&headers, content_len);

    let reply = reply_of(headers.iter());
    assert_eq!(reply_of(headers.iter().rev()), reply);
    if let Ok(Reply::Encoded { content_len, version }) = reply {
        assert_eq!(version.major, 1);
        let again = Coding::Encoded { version, info: InfoVersion::V1 };
        assert_eq!(understood(again, content_len), reply);
    }
}

fn server(headers: &[Header<'_>], content_len: u64) {
    let request = request_of(headers.iter());
    assert_eq!(request_of(headers.iter().rev()), request);
    assert_eq!(request_of(headers.iter().chain(headers)), request);
    for choice in 0..16u8 {
        let bit = |at: u8| choice >> at & 1 == 1;
        let available = Available { v1: bit(0), v2: bit(1), coming: bit(2) };
        assert_eq!(request.decide(b"POST", bit(3), available), Coding::Plain { make_hash_request: false });
        let coding = request.decide(b"GET", bit(3), available);
        match coding {
            Coding::Encoded { version, info } => {
                assert!(if info == InfoVersion::V1 { available.v1 } else { available.v2 });
                assert!(version == Version::V1_0 && info == InfoVersion::V1 || version == Version::V1_1);
                assert!(!request.is_missing_data());
                assert_eq!(understood(coding, content_len), Ok(Reply::Encoded { content_len, version }));
            }
            Coding::Plain { make_hash_request } => {
                assert!(!make_hash_request || available.coming);
                assert_eq!(understood(coding, content_len), Ok(Reply::Plain { make_hash_request }));
            }
        }
    }
}

/// What a client makes of the headers that `coding` writes.
fn understood(coding: Coding, content_len: u64) -> Result<Reply, ReplyError> {
    let mut buf = [0; 512];
    let mut writer = Writer::new(&mut buf);
    coding.emit_headers(&mut writer, content_len).unwrap();
    let text = writer.finish().strip_suffix(b"\r\n").unwrap();
    let lines = text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let headers: Vec<Header<'_>> = lines.map(|line| parse_header(line).unwrap()).collect();
    reply_of(headers.iter())
}

fn request_of<'h>(headers: impl Iterator<Item = &'h Header<'h>>) -> ServerRequest {
    let mut request = ServerRequest::default();
    headers.for_each(|header| request.header(header.name, header.value));
    request
}

fn reply_of<'h>(headers: impl Iterator<Item = &'h Header<'h>>) -> Result<Reply, ReplyError> {
    let mut reply = ReplyCoding::default();
    headers.for_each(|header| reply.header(header.name, header.value));
    reply.decide()
}
