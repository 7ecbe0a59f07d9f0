//! As many uploads as a hosted cache has at once.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use peerdist_core::bytes::Writer;
use peerdist_core::content::Info;
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::retrieval::wire::{GET_BLOCKS_BYTES, GetBlocks, PATH, Reply};

use super::hosted::{admin, serve, status_when};
use super::place::{Place, origin};

/// Fact 48.
const UPLOADS: usize = 1_024;

/// An HTTP request for a block.
fn request(segment: &[u8], index: u32) -> Vec<u8> {
    let mut room = [0; GET_BLOCKS_BYTES];
    let mut writer = Writer::new(&mut room);
    GetBlocks::emit_one(segment, index, &mut writer).expect("room");
    let body = writer.finish();
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: cache\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The body of the next reply.
fn reply(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a reply");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; len.and_then(|len| len.parse().ok()).unwrap_or_else(|| panic!("{head}"))];
    stream.read_exact(&mut body).expect("all of it");
    body
}

#[test]
fn a_whole_office_at_once() {
    let (place, len) = (Place::new(67), 700_000);
    let site = place.site(origin(len, false));
    place.get_of("first", &site.url(), "one", &["--no-peers"]).assert_good();
    let count = place.committed("first").len() as u32;
    let info = site.origin().info.clone();
    let parsed = Info::parse(&info.as_slice()).expect("our own");
    let segment = parsed.segment(&info.as_slice(), 0).expect("there is one").id(&mut SoftCrypto);
    let (_cache, plain, said) = serve(&place, "hosted", 4, "first", &["--admin", "127.0.0.1:0"]);
    let admin: SocketAddr = admin(&said);

    let mut clients: Vec<TcpStream> =
        (0..UPLOADS).map(|_| TcpStream::connect(plain).expect("somebody listens")).collect();
    status_when(admin, |it| it["NetworkConfiguration"]["OpenConnections"].as_u64() == Some(UPLOADS as u64));
    for round in 0..2 {
        let block = |client: usize| (client as u32 + round) % count;
        for (client, stream) in clients.iter_mut().enumerate() {
            stream.write_all(&request(segment.as_bytes(), block(client))).expect("it is open");
        }
        let mut seen = vec![Vec::new(); count as usize];
        for (client, stream) in clients.iter_mut().enumerate() {
            let (body, index) = (reply(stream), block(client));
            match Reply::parse(&body).expect("a reply") {
                Reply::Block(it) => {
                    assert!(it.around.index == index && !it.block.is_empty(), "{client}: {index}");
                }
                _ => panic!("{client} gets no block"),
            }
            let first = &mut seen[index as usize];
            if first.is_empty() {
                first.clone_from(&body);
            }
            assert!(*first == body, "{client}: other bytes of {index}");
        }
    }
    let status =
        status_when(admin, |it| it["ContentRetrieval"]["BlocksServed"].as_u64() == Some(2 * UPLOADS as u64));
    assert_eq!(status["NetworkConfiguration"]["ConnectionsRefused"], 0);
}
