extern crate std;

use super::*;
use crate::content::SegmentId;
use crate::crypto::{CipherAlgorithm, HashAlgorithm, Seal, Secret, SoftCrypto, hash};
use crate::retrieval::wire::{OUR_VERSIONS, Range, Reply as Message};
use crate::store::BlockId;
use crate::store::ram::{Entry, Page, RamStore};
use crate::store::verify::{Expected, Intake};
use crate::time::Duration;

const ASK: &[u8] = include_bytes!("../../../tests/vectors/pccrr-getblks-0.bin");
const ASK_LIST: &[u8; 64] = include_bytes!("../../../tests/vectors/pccrr-getblklist-crypto1.bin");
const ASK_SEGMENTS: &[u8] = include_bytes!("../../../tests/vectors/pccrr-getseglist-1.bin");
const ASK_NEGOTIATION: &[u8] = include_bytes!("../../../tests/vectors/pccrr-nego-req-1.0-2.0.bin");
const HEAD: &[u8] =
    b"POST /116B50EB-ECE2-41ac-8429-9F9E963361B7/ HTTP/1.1\r\nHost: x\r\nContent-Length: 68\r\n\r\n";

const CLIENT: SocketAddr =
    SocketAddr::V4(core::net::SocketAddrV4::new(core::net::Ipv4Addr::new(10, 0, 0, 7), 50_000));

type TestStore = RamStore<[Page; 1], [Entry; 1], [u8; 0]>;

/// Block 0 of the vectors' segment.
fn store() -> TestStore {
    let mut store = RamStore::new([Page::EMPTY], [Entry::EMPTY], []);
    let segment = SegmentId::from_slice(&core::array::from_fn::<u8, 32, _>(|i| i as u8)).unwrap();
    let kp = Secret::from_slice(&[1; 32]).unwrap();
    let algorithm = HashAlgorithm::Sha256;
    let expected = Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, b"stored"), len: 6 };
    let slot = store.reserve(&BlockId { segment, index: 0 }, 16).unwrap();
    let seal = Seal { algorithm: CipherAlgorithm::Aes128, iv: [5; 16] };
    let mut intake = Intake::new(&mut SoftCrypto, slot, seal, expected);
    intake.update(&mut store, &mut SoftCrypto, &kp, b"stored").unwrap();
    store
}

struct Dialogue {
    upload: Upload,
    store: TestStore,
    counters: Counters,
    now: Instant,
}

impl Dialogue {
    fn new() -> Self {
        Self::with(Role::Peer)
    }

    fn with(role: Role) -> Self {
        let now = Instant::from_millis(1_000);
        Self {
            upload: Upload::new(now, CLIENT, role, false),
            store: store(),
            counters: Counters::default(),
            now,
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> usize {
        self.upload.handle(self.now, &mut self.store, None, &mut self.counters, false, bytes)
    }

    fn say(&mut self, room: usize) -> heapless::Vec<u8, 512> {
        let mut all = heapless::Vec::new();
        let mut buf = [0; 512];
        loop {
            let Self { upload, store, counters, now } = self;
            match upload.poll(*now, store, counters, &mut buf[..room]).unwrap() {
                0 => return all,
                len => all.extend_from_slice(&buf[..len]).unwrap(),
            }
        }
    }
}

#[test]
fn a_block_in_any_room() {
    for room in [1, 7, 512] {
        let mut dialogue = Dialogue::new();
        assert_eq!(dialogue.hear(HEAD), HEAD.len());
        assert!(!dialogue.upload.is_idle() && dialogue.upload.wants_input());
        assert_eq!(dialogue.hear(&ASK[..60]), 60);
        // The next request waits until this one is answered.
        let mut rest = heapless::Vec::<u8, 256>::from_slice(&ASK[60..]).unwrap();
        rest.extend_from_slice(HEAD).unwrap();
        assert_eq!(dialogue.hear(&rest), 8);
        assert!(dialogue.upload.is_active());
        let reply = dialogue.say(room);
        assert!(reply.starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(reply.ends_with(&[5; 16]));
        assert!(dialogue.upload.is_idle() && !dialogue.upload.is_active());
        assert_eq!((dialogue.counters.answered, dialogue.counters.blocks), (1, 1));
        assert_eq!(dialogue.counters.block_bytes, 16);
    }
}

/// MS-PCCRR 3.2.2: the timer runs from the request on, however long the connection was kept
/// before, and whatever trickles after.
#[test]
fn the_timer_is_per_exchange() {
    let mut dialogue = Dialogue::new();
    let opened = dialogue.now;
    dialogue.now += Duration::from_secs(14);
    dialogue.hear(&HEAD[..9]);
    assert_eq!(dialogue.upload.deadline(), opened + UPLOAD_TIMEOUT, "that is no request line");
    dialogue.hear(&HEAD[9..]);
    let begun = dialogue.now;
    assert_eq!(dialogue.upload.deadline(), begun + UPLOAD_TIMEOUT);
    dialogue.now += Duration::from_secs(9);
    dialogue.hear(&ASK[..9]);
    assert_eq!(dialogue.upload.deadline(), begun + UPLOAD_TIMEOUT);
    dialogue.hear(&ASK[9..]);
    dialogue.say(512);
    assert_eq!(dialogue.upload.deadline(), dialogue.now + UPLOAD_TIMEOUT);
}

#[test]
fn a_client_that_waits_to_be_told() {
    let mut dialogue = Dialogue::new();
    let head = b"POST /116B50EB-ECE2-41ac-8429-9F9E963361B7 HTTP/1.1\r\nHost: x\r\nContent-Length: 68\r\nExpect: 100-continue\r\n\r\n";
    dialogue.hear(head);
    assert!(dialogue.say(5).starts_with(b"HTTP/1.1 100 "));
    dialogue.hear(ASK);
    assert!(dialogue.say(5).starts_with(b"HTTP/1.1 200 OK\r\n"));
}

fn post(body: &[u8]) -> heapless::Vec<u8, 512> {
    let mut buf = [0; 512];
    let mut writer = Writer::new(&mut buf);
    http::emit_request_line(&mut writer, b"POST", b"/116B50EB-ECE2-41ac-8429-9F9E963361B7").unwrap();
    writer.text("Host: x\r\n");
    http::emit_content_length(&mut writer, body.len() as u64).unwrap();
    http::emit_head_end(&mut writer).unwrap();
    writer.put(body);
    heapless::Vec::from_slice(writer.finish()).unwrap()
}

/// The message in a reply, after its head.
fn message(reply: &[u8]) -> Message<'_> {
    let body = reply.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    Message::parse(&reply[body..]).unwrap()
}

/// MS-PCCRR 3.2.5.1 to 3.2.5.3, one after the other on one connection: each begins the timer anew.
#[test]
fn every_exchange_of_a_peer() {
    let mut dialogue = Dialogue::new();
    let mut other_version = *ASK_LIST;
    other_version[3] = 9;
    for request in [ASK_NEGOTIATION, ASK_LIST, ASK, &other_version] {
        dialogue.now += Duration::from_secs(3);
        let request = post(request);
        assert_eq!(dialogue.hear(&request), request.len());
        assert_eq!(dialogue.upload.deadline(), dialogue.now + UPLOAD_TIMEOUT);
        let reply = dialogue.say(9);
        assert!(reply.starts_with(b"HTTP/1.1 200 OK\r\n"));
        match message(&reply) {
            Message::BlockList(list) => assert!(list.ranges.iter().eq([Range { index: 0, count: 1 }])),
            Message::Block(block) => assert_eq!(block.around.iv, [5; 16]),
            Message::Negotiation(range) => assert_eq!(range, OUR_VERSIONS),
            other => panic!("{other:?}"),
        }
        assert!(dialogue.upload.is_idle() && !dialogue.upload.is_active());
    }
    assert_eq!((dialogue.counters.answered, dialogue.counters.blocks, dialogue.counters.dropped), (4, 1, 0));
}

/// MS-PCCRR 3.2.5.2 and 3.2.5.3: at the limit of active clients, replies are empty; a negotiation
/// is not refused.
#[test]
fn a_full_house() {
    let mut dialogue = Dialogue::new();
    for request in [ASK_LIST, ASK, ASK_NEGOTIATION] {
        let Dialogue { upload, store, counters, now } = &mut dialogue;
        upload.handle(*now, store, None, counters, true, &post(request));
        assert!(upload.is_active());
        match message(&dialogue.say(512)) {
            Message::BlockList(list) => assert!(list.ranges.is_empty() && list.next == 0),
            Message::Block(block) => assert!(block.block.is_empty() && block.around.next == 0),
            Message::Negotiation(range) => assert_eq!(range, OUR_VERSIONS),
            other => panic!("{other:?}"),
        }
        assert!(!dialogue.upload.is_active(), "the reply is sent");
    }
    assert_eq!(dialogue.counters.blocks, 0);
}

/// Fact 39: dropped is a 400 without a body, and the end of the connection. MS-PCCRR 3.2.5.5:
/// malformed messages, and those of unknown types; section 3: lists of segments are not for a peer.
#[test]
fn what_is_dropped() {
    let mut unknown = *ASK_LIST;
    unknown[7] = 8;
    let reply_type = {
        let mut bytes = *ASK_LIST;
        bytes[7] = 4;
        bytes
    };
    for (role, request) in [
        (Role::Peer, ASK_SEGMENTS),
        (Role::Peer, &unknown),
        (Role::Peer, &reply_type),
        (Role::Peer, include_bytes!("../../../tests/vectors/pccrr-getblklist-neg-count10.bin")),
        (Role::Peer, include_bytes!("../../../tests/vectors/pccrr-getblks-neg-count10.bin")),
        (Role::HostedCache, include_bytes!("../../../tests/vectors/pccrr-getseglist-neg-count2.bin")),
        (Role::HostedCache, include_bytes!("../../../tests/vectors/pccrr-getseglist-0.bin")),
        (Role::HostedCache, &[]),
    ] {
        let mut dialogue = Dialogue::with(role);
        dialogue.hear(&post(request));
        let reply = dialogue.say(512);
        assert!(
            reply.starts_with(b"HTTP/1.1 400 ") && reply.ends_with(b"\r\n\r\n"),
            "{}",
            reply.escape_ascii()
        );
        assert!(dialogue.upload.is_over());
        assert_eq!((dialogue.counters.answered, dialogue.counters.dropped), (0, 1));
    }
}

/// MS-PCCRR 3.2.5.4
#[test]
fn a_hosted_cache_lists_segments() {
    let mut dialogue = Dialogue::with(Role::HostedCache);
    for _ in 0..2 {
        dialogue.hear(&post(ASK_SEGMENTS));
        let reply = dialogue.say(11);
        let Message::SegmentList(list) = message(&reply) else { panic!() };
        assert!(list.answers(ASK_SEGMENTS[16..32].try_into().unwrap(), 1));
        assert!(list.ranges.iter().eq([Range { index: 0, count: 1 }]));
    }
}

/// 2.2.6: how long the segment has been here, in hundredths of a second, and after 46.6 hours in
/// seconds (fact 42).
#[test]
fn a_hosted_cache_tells_ages() {
    let mut dialogue = Dialogue::with(Role::HostedCache);
    for (secs, age) in [
        (1, [0, 1, 3, 1, 0, 100, 0, 0]),
        // 167,772.15 s are the most hundredths that fit.
        (167_772, [0, 1, 3, 1, 0, 0xf0, 0xff, 0xff]),
        (167_773, [0, 1, 1, 1, 0, 0x5d, 0x8f, 2]),
    ] {
        // The block came at 0; the request's last byte decides, not its first.
        dialogue.now = Instant::from_millis(secs * 1_000 - 700);
        let request = post(ASK_SEGMENTS);
        let (first, last) = request.split_at(request.len() - 9);
        dialogue.hear(first);
        dialogue.now = Instant::from_millis(secs * 1_000);
        dialogue.hear(last);
        let reply = dialogue.say(11);
        let Message::SegmentList(list) = message(&reply) else { panic!() };
        assert_eq!(list.blob, age);
    }
}

/// Who has not said what it wants within the client's own timer (MS-PCCRR 3.1.2), or takes nothing
/// of its reply for longer than anybody waits (fact 38), gives way to others.
#[test]
fn who_keeps_a_connection_without_using_it_gives_way() {
    let mut dialogue = Dialogue::new();
    assert!(dialogue.upload.gives_way(dialogue.now), "nothing was asked");
    dialogue.hear(HEAD);
    let begun = dialogue.now;
    for byte in &ASK[..3] {
        dialogue.hear(&[*byte]);
        assert!(!dialogue.upload.gives_way(dialogue.now));
        dialogue.now += Duration::from_millis(600);
    }
    assert!(!dialogue.upload.gives_way(begun + Duration::from_micros(1_999_999)));
    assert!(dialogue.upload.gives_way(begun + Duration::from_secs(2)), "it trickles");
    dialogue.hear(&ASK[3..]);
    for _ in 0..3 {
        assert!(!dialogue.upload.gives_way(dialogue.now + Duration::from_micros(4_999_999)));
        assert!(dialogue.upload.gives_way(dialogue.now + Duration::from_secs(5)), "nothing is taken");
        dialogue.now += Duration::from_millis(4_000);
        let Dialogue { upload, store, counters, now } = &mut dialogue;
        assert_eq!(upload.poll(*now, store, counters, &mut [0; 40]), Ok(40));
        assert!(upload.is_active(), "until all is sent (MS-PCCRR 3.2.5.3)");
        // No room is no progress.
        assert_eq!(upload.poll(*now + Duration::from_secs(1), store, counters, &mut []), Ok(0));
    }
    dialogue.say(512);
    assert!(dialogue.upload.gives_way(dialogue.now) && dialogue.upload.is_idle());
}

/// MS-PCCRR 2.2.3: a request MUST be 98,304 bytes at most; what is longer is not waited for.
#[test]
fn a_body_that_is_too_long_is_refused_at_once() {
    let path = "/116B50EB-ECE2-41ac-8429-9F9E963361B7/";
    for (path, status) in [(path, "400"), ("/x", "404")] {
        let mut long = Dialogue::new();
        let head = std::format!("POST {path} HTTP/1.1\r\nHost: x\r\n");
        long.hear(head.as_bytes());
        long.hear(b"Content-Length: 98305\r\nExpect: 100-continue\r\n\r\n");
        let reply = long.say(512);
        assert!(reply.starts_with(std::format!("HTTP/1.1 {status} ").as_bytes()));
        assert!(long.upload.is_over() && long.counters.dropped == 1);

        let mut chunked = Dialogue::new();
        chunked.hear(head.as_bytes());
        chunked.hear(b"Transfer-Encoding: chunked\r\n\r\n");
        for _ in 0..98_304 / 4_096 {
            chunked.hear(b"1000\r\n");
            assert_eq!(chunked.hear(&[0; 4_096]), 4_096);
            assert_eq!(chunked.hear(b"\r\n"), 2);
        }
        assert!(chunked.upload.wants_input());
        chunked.hear(b"1\r\n0");
        let reply = chunked.say(512);
        assert!(reply.starts_with(std::format!("HTTP/1.1 {status} ").as_bytes()));
        assert!(chunked.upload.is_over() && chunked.counters.dropped == 1);
    }
}

/// RFC 9112 9.3 and 9.6: a reply says whether the connection ends, where the client may not know.
#[test]
fn what_becomes_of_the_connection() {
    for (version, wish, told, over) in [
        ("1.1", "", "", false),
        ("1.1", "Connection: close\r\n", "Connection: close\r\n", true),
        ("1.0", "Connection: keep-alive\r\n", "Connection: keep-alive\r\n", false),
        ("1.0", "", "Connection: close\r\n", true),
    ] {
        let mut dialogue = Dialogue::new();
        let path = "/116B50EB-ECE2-41ac-8429-9F9E963361B7/";
        let head = std::format!("POST {path} HTTP/{version}\r\nHost: x\r\n{wish}Content-Length: 68\r\n\r\n");
        dialogue.hear(head.as_bytes());
        dialogue.hear(ASK);
        let reply = dialogue.say(512);
        // 76 bytes of headers and sizes, a sealed block of 16, an IV.
        let expected = std::format!("HTTP/1.1 200 OK\r\nContent-Length: 108\r\n{told}\r\n");
        assert!(reply.starts_with(expected.as_bytes()), "{}", reply.escape_ascii());
        assert_eq!((reply.len(), dialogue.upload.is_over()), (expected.len() + 108, over));
    }
}

/// RFC 9110 10.1.1: who waits to be told to send is told no, where that is known.
#[test]
fn nobody_is_asked_to_send_to_another_path() {
    let mut dialogue = Dialogue::new();
    dialogue.hear(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert!(dialogue.say(512).starts_with(b"HTTP/1.1 404 "));
    assert!(dialogue.upload.is_over());
}

#[test]
fn the_other_side_sends_no_more() {
    let mut dialogue = Dialogue::new();
    dialogue.upload.handle_eof();
    assert!(dialogue.upload.is_over());

    let mut dialogue = Dialogue::new();
    dialogue.hear(HEAD);
    dialogue.hear(ASK);
    dialogue.upload.handle_eof();
    assert!(!dialogue.upload.is_over(), "it may still read the reply");
    assert!(dialogue.say(64).ends_with(&[5; 16]));
    assert!(dialogue.upload.is_over());
}

#[test]
fn rot_resets_the_connection_and_drops_the_block() {
    let mut dialogue = Dialogue::new();
    dialogue.hear(HEAD);
    dialogue.hear(ASK);
    let slot = dialogue.upload.exchange.block().unwrap().slot;
    dialogue.store.rot(slot, 3);
    let Dialogue { upload, store, counters, now } = &mut dialogue;
    assert_eq!(upload.poll(*now, store, counters, &mut [0; 512]), Err(StoreError::Damaged));
    assert!(upload.is_over());
    assert_eq!((counters.damaged, counters.blocks), (1, 0));
    assert!(store.read(slot, 0, &mut [0]).is_err());
}
