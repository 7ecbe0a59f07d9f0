//! A node as a server: probes, requests in any pieces, limits and timers.

use peerdist_core::ages::MAX_BLOB_BYTES;
use peerdist_core::api::client::Added;
use peerdist_core::bytes::Writer;
use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{
    CipherAlgorithm, CipherKey, Crypto, HashAlgorithm, Seal, Secret, SoftCrypto, hash,
};
use peerdist_core::discovery::wire::{Availability, MAX_SENT_BYTES, Message, ProbeV2Repr, Uuid, parse};
use peerdist_core::http::conn::{Conn, Event};
use peerdist_core::node::Config;
use peerdist_core::retrieval::wire::{GET_BLOCKS_BYTES, GetBlocks, PATH};
use peerdist_core::store::verify::{Expected, Intake};
use peerdist_core::store::{BlockId, Store};
use peerdist_core::time::Duration;
use peerdist_tests::captures::captures;
use peerdist_tests::check::{LONG, content, segments};
use peerdist_tests::pair::{Net, STREAMS};

const PROBE: &str = include_str!("../vectors/v1-probe.xml");
const GET_BLOCKS: &[u8] = include_bytes!("../vectors/client-wire/v1-getblks.bin");
const GET_BLOCKS_V2: &[u8] = include_bytes!("../vectors/client-wire/v2-getblks.bin");

/// A node that has all of `len` bytes, and the id of their first segment.
fn server(len: usize, config: Config) -> (Net, SegmentId) {
    let content = content(len);
    let mut net = Net::new(21, 0, 8, content.clone());
    net.add_host(21, 8, config);
    let info = net.origin.info.clone();
    let now = net.now;
    let node = net.node(0);
    let handle = node.open_content([0; 16]).unwrap();
    node.add_content_information(handle, &info).unwrap();
    node.complete_content_information(handle).unwrap();
    net.drive(Duration::from_secs(1));
    assert!(net.now >= now);
    let node = net.node(0);
    let mut offset = 0;
    while offset < len {
        let (used, added) = node.add_data(handle, offset as u64, &content[offset..]).unwrap();
        assert_eq!(added, Added::Committed);
        offset += used;
    }
    node.close_content(handle).unwrap();
    (net, segments(&info)[0])
}

fn post(body: &[u8]) -> Vec<u8> {
    let mut request =
        format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    request.extend(body);
    request
}

fn get_blocks(segment: &SegmentId, index: u32) -> Vec<u8> {
    let mut buf = [0; GET_BLOCKS_BYTES];
    let mut writer = Writer::new(&mut buf);
    GetBlocks::emit_one(segment.as_bytes(), index, &mut writer).unwrap();
    writer.finish().to_vec()
}

/// Takes replies apart: status and body of each.
fn replies(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut conn = Conn::client();
    conn.expect_reply(false).unwrap();
    let mut all = Vec::new();
    let (mut status, mut body) = (0, Vec::new());
    loop {
        let (used, event) = conn.handle(bytes);
        bytes = &bytes[used..];
        match event.unwrap() {
            Some(Event::Status { code, .. }) => status = code,
            Some(Event::Body(piece)) => body.extend_from_slice(piece),
            Some(Event::End) => {
                all.push((status, std::mem::take(&mut body)));
                if conn.expect_reply(false).is_err() {
                    return all;
                }
            }
            Some(_) => {}
            None => return all,
        }
    }
}

/// What comes on a connection until it is over or nothing more comes.
fn converse(net: &mut Net, id: u64, wait: Duration) -> (Vec<u8>, bool) {
    let (mut all, end) = (Vec::new(), net.now + wait);
    loop {
        let more = net.step();
        let (bytes, over) = net.received(id);
        all.extend(bytes);
        if over || !more || net.now >= end {
            return (all, over);
        }
    }
}

#[test]
fn a_stored_block_is_copied_without_a_cipher() {
    let (mut net, segment) = server(200_000, Config::default());
    let count = |net: &mut Net| {
        let crypto = net.node(0).crypto();
        (crypto.hashes, crypto.hmacs, crypto.ciphers)
    };
    let before = count(&mut net);
    let id = net.dial(0).unwrap();
    for index in 0..4 {
        net.send(id, &post(&get_blocks(&segment, index)));
    }
    let (bytes, _) = converse(&mut net, id, Duration::from_secs(2));
    let replies = replies(&bytes);
    assert_eq!(replies.len(), 4);
    for (index, (status, body)) in (0u32..).zip(&replies) {
        assert_eq!(*status, 200);
        let stored = net.hosts[0].store.find(&BlockId { segment, index }).unwrap();
        let mut sealed = vec![0; stored.len as usize];
        net.hosts[0].store.read(stored.slot, 0, &mut sealed).unwrap();
        assert!(body.windows(sealed.len()).any(|part| part == sealed), "as it is stored");
        assert!(body.ends_with(&stored.seal.iv));
    }
    assert_eq!(count(&mut net), before);
    assert_eq!(net.node(0).counters().serve.blocks, 4);
}

/// A probe of version 2 is answered by what the store has, and how long it has had it.
#[test]
fn a_probe_of_version_2() {
    answers_in_version_2(60_000, Availability::All);
    // Four blocks are of content information 1.0, and may be few of many: MS-PCCRD 2.2.3.3 asks for
    // all of them before it is said that all are here.
    answers_in_version_2(200_000, Availability::Some);
}

fn answers_in_version_2(len: usize, available: Availability) {
    let (mut net, segment) = server(len, Config::default());
    let minute = Duration::from_secs(60);
    net.drive_past(net.now + minute);
    let unknown = SegmentId::from_slice(&[7; 32]).unwrap();
    let message_id = Uuid::parse(b"13482503-2dd0-482d-f235-1d2b8562d76f").unwrap();
    let mut probe = [0; MAX_SENT_BYTES];
    let len = ProbeV2Repr::new(message_id, &[unknown, segment]).unwrap().emit(&mut probe).unwrap();
    net.multicast(([10, 0, 3, 1], 40_000).into(), &probe[..len]);
    net.drive(Duration::from_millis(500));
    assert_eq!(net.node(0).counters().answer.version2, 1);
    let [(_, answer), _] = &net.outside[..] else { panic!("one answer and its repeat") };
    let Ok(Message::ProbeMatches(answer)) = parse(answer) else { panic!("no answer") };
    let [one] = &answer.matches_v2[..] else { panic!("not one match") };
    assert!(one.availability(2).unwrap().eq([Availability::Nothing, available]));
    assert!(one.xaddrs.iter().eq([([10, 0, 0, 1], 80).into()]));
    let mut buf = [0; MAX_BLOB_BYTES];
    let [(1, age)] = one.ages(&mut buf).unwrap().iter().collect::<Vec<_>>()[..] else { panic!("no age") };
    assert!(age >= minute && age < minute + minute, "{age:?}");
}

/// Puts a block of `plain` into the store of the first host, sealed with `seal` and `kp`.
fn keep(net: &mut Net, id: BlockId, plain: &[u8], kp: &Secret, seal: Seal) {
    let algorithm = HashAlgorithm::Sha256;
    let len = plain.len() as u32;
    let expected = Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, plain), len };
    let store = &mut net.hosts[0].store;
    let slot = store.reserve(&id, seal.algorithm.sealed_len(len)).unwrap();
    let mut intake = Intake::new(&mut SoftCrypto, slot, seal, expected);
    intake.update(store, &mut SoftCrypto, kp, plain).unwrap();
}

/// The recorded requests of two other clients are answered with the block that they ask for, byte
/// for byte as MS-PCCRR 2.2.5.3 has it, and decrypted with the beginning of Kp it is that block
/// (facts 33 and 34).
#[test]
fn recorded_requests_get_their_blocks() {
    let captured = captures().into_iter().find(|(name, ..)| name == "PCCRR MSG_GETBLKS").unwrap();
    let ipxe =
        format!("POST {PATH} HTTP/1.1\r\nConnection: keep-alive\r\nHost: 10.0.0.1\r\nContent-Length: 68");
    let kp: [u8; 32] = core::array::from_fn(|i| 0xa0 + i as u8);
    for (head, request, len, algorithm, key_len) in [
        (&ipxe, GET_BLOCKS, 65_536, CipherAlgorithm::Aes128, 16),
        (&ipxe, GET_BLOCKS_V2, 40_001, CipherAlgorithm::Aes256, 32),
        (&captured.1, &captured.2, 17, CipherAlgorithm::Aes192, 24),
    ] {
        let segment = SegmentId::from_slice(&request[20..52]).unwrap();
        let index = u32::from_be_bytes(request[56..60].try_into().unwrap());
        let plain = content(len);
        let seal = Seal { algorithm, iv: core::array::from_fn(|i| 0x50 ^ i as u8) };
        let mut net = Net::new(21, 0, 8, Vec::new());
        net.add_host(21, 8, Config::default());
        for (at, bytes) in [(index, &plain[..]), (index + 3, b"another")] {
            keep(&mut net, BlockId { segment, index: at }, bytes, &Secret::from_slice(&kp).unwrap(), seal);
        }
        let id = net.dial(0).unwrap();
        net.send(id, &[head.as_bytes(), b"\r\n\r\n", request].concat());
        let (bytes, over) = converse(&mut net, id, Duration::from_secs(1));
        assert!(!over, "kept for the next request");

        let sealed_len = len - len % 16 + 16;
        let message_len = 16 + 4 + 32 + 4 + 4 + 4 + sealed_len + 4 + 4 + 16;
        let mut expected = Vec::new();
        if head.contains("100-continue") {
            expected.extend(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        expected.extend(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", message_len + 4).bytes());
        let id_at = [message_len as u32, 1, 5, message_len as u32, key_len as u32 / 8 - 1, 32];
        expected.extend(id_at.iter().flat_map(|word| word.to_be_bytes()));
        expected.extend(segment.as_bytes());
        expected.extend([index, index + 3, sealed_len as u32].iter().flat_map(|word| word.to_be_bytes()));
        let block = bytes[expected.len()..][..sealed_len].to_vec();
        expected.extend(&block);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 16]);
        expected.extend(seal.iv);
        assert!(bytes == expected, "{algorithm:?}");

        let (mut opened, mut chain) = (block, seal.iv);
        let key = match key_len {
            16 => CipherKey::Aes128(kp.first_chunk().unwrap()),
            24 => CipherKey::Aes192(kp.first_chunk().unwrap()),
            _ => CipherKey::Aes256(&kp),
        };
        SoftCrypto.cbc_decrypt(key, &mut chain, opened.as_chunks_mut().0);
        let pad = (sealed_len - len) as u8;
        assert!(opened[..len] == plain && opened[len..].iter().all(|byte| *byte == pad));
    }
}

/// Facts 23 and 24: a probe as iPXE sends it is answered, and so are its requests.
#[test]
fn the_probe_and_the_request_of_another_client() {
    let (mut net, segment) = server(200_000, Config::default());
    let id: String = segment.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
    let recorded = "12A942E4E51869CAC4220BE529DFD4E3C21BB73675429F2DA23B03786D6699AA";
    let probe = PROBE.replace(recorded, &id);
    assert_ne!(probe, PROBE);
    // From elsewhere than the branch, it is not: nobody's answers are to be sent far away.
    net.multicast(([10, 3, 0, 1], 40_000).into(), probe.as_bytes());
    let from = ([10, 0, 3, 1], 40_000).into();
    net.multicast(from, probe.as_bytes());
    net.multicast(from, PROBE.as_bytes());
    net.drive(Duration::from_millis(500));
    let [(to, answer), repeat] = &net.outside[..] else {
        panic!("one answer and its repeat, to what is here: {}", net.outside.len())
    };
    assert_eq!((*to, (to, answer)), (from, (&repeat.0, &repeat.1)));
    let answer = String::from_utf8(answer.clone()).unwrap();
    for part in [
        format!("<wsd:Scopes>{id}</wsd:Scopes>"),
        "<wsd:XAddrs>10.0.0.1:80</wsd:XAddrs>".into(),
        "<PeerDist:BlockCount>00000004</PeerDist:BlockCount>".into(),
        "urn:uuid:13482503-2dd0-482d-f235-1d2b8562d76f".into(),
    ] {
        assert!(answer.contains(&part), "{part} in {answer}");
    }

    let mut request = GET_BLOCKS.to_vec();
    request[20..52].copy_from_slice(segment.as_bytes());
    for (index, held) in [(3u32, true), (15, false)] {
        request[56..60].copy_from_slice(&index.to_be_bytes());
        let id = net.dial(0).unwrap();
        let mut head =
            format!("POST {PATH} HTTP/1.1\r\nConnection: keep-alive\r\nUser-Agent: iPXE/1.21.1\r\n");
        head.push_str(&format!("Host: 10.0.0.1:80\r\nContent-Length: {}\r\n\r\n", request.len()));
        net.send(id, &[head.as_bytes(), &request].concat());
        let (bytes, _) = converse(&mut net, id, Duration::from_secs(1));
        let [(200, body)] = &replies(&bytes)[..] else { panic!("{}", bytes.escape_ascii()) };
        assert_eq!(body[64..68] != [0; 4], held, "SizeOfBlock");
    }
}

#[test]
fn a_request_in_single_bytes_and_two_at_once() {
    let (mut net, segment) = server(70_000, Config::default());
    let request = post(&get_blocks(&segment, 1));
    let id = net.dial(0).unwrap();
    for byte in &request {
        net.send(id, &[*byte]);
        net.step();
    }
    let (single, _) = converse(&mut net, id, Duration::from_secs(1));
    let id = net.dial(0).unwrap();
    net.send(id, &[&request[..], &request[..]].concat());
    let (double, _) = converse(&mut net, id, Duration::from_secs(1));
    let (single, double) = (replies(&single), replies(&double));
    assert_eq!((single.len(), double.len()), (1, 2));
    assert!(double.iter().all(|reply| *reply == single[0]));
}

#[test]
fn nonsense_is_dropped_with_a_400() {
    let (mut net, segment) = server(1_000, Config::default());
    let good = get_blocks(&segment, 0);
    let cases: [(Vec<u8>, u16); 6] = [
        (post(&good[..60]), 400),
        (post(&[0; 68]), 400),
        (post(&[0; 5_000]), 400),
        (b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 404),
        (b"\x16\x03\x01\x02\n\r\n".to_vec(), 400),
        (b"POST / HTTP/3.0\r\n\r\n".to_vec(), 505),
    ];
    for (request, status) in cases {
        let id = net.dial(0).unwrap();
        net.send(id, &request);
        let (bytes, over) = converse(&mut net, id, Duration::from_secs(1));
        assert!(bytes.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{}", bytes.escape_ascii());
        assert!(bytes.ends_with(b"\r\n\r\n") && over);
    }
    assert_eq!(net.node(0).counters().serve.dropped, 6);
}

/// MS-PCCRR 3.2.2 and 3.2.6.1: 15 seconds for an upload, then it is aborted; a client that trickles gets no more.
#[test]
fn time_is_limited() {
    let (mut net, segment) = server(200_000, Config::default());
    // An idle connection, one whose request trickles, one that does not read its reply.
    let (idle, slow, deaf) = (net.dial(0).unwrap(), net.dial(0).unwrap(), net.dial(0).unwrap());
    net.send(deaf, &post(&get_blocks(&segment, 0)));
    // And one that stops behind the line of its request.
    let half = net.dial(0).unwrap();
    net.send(half, b"POST / HTTP/1.1\r\n");
    let begun = net.now;
    for byte in post(&get_blocks(&segment, 1)).iter().take(14) {
        net.send(slow, &[*byte]);
        let next = net.now + Duration::from_secs(1);
        net.drive_past(next);
    }
    assert_eq!(net.open_connections(), 4);
    net.drive_past(begun + Duration::from_millis(15_100));
    let _ = net.received(idle);
    assert_eq!(net.open_connections(), 0);
    assert_eq!(
        net.node(0).counters().serve.timed_out,
        1,
        "the others had not begun to ask, or had their answer"
    );
}

/// MS-PCCRR 3.2.1 and 3.2.5.3: the limit is configurable; at it, replies are empty.
#[test]
fn beyond_the_limit_of_uploads_nothing_is_here() {
    let (mut net, segment) = server(200_000, Config { max_uploads: 2, ..Config::default() });
    net.reads_nothing = true;
    let ids: Vec<_> = (0..3).map(|_| net.dial(0).unwrap()).collect();
    for id in &ids {
        net.send(*id, &post(&get_blocks(&segment, 0)));
        let soon = net.now + Duration::from_millis(20);
        net.drive_past(soon);
    }
    net.reads_nothing = false;
    let mut sizes: Vec<_> = ids
        .into_iter()
        .map(|id| replies(&converse(&mut net, id, Duration::from_millis(500)).0)[0].1.len())
        .collect();
    sizes.sort_unstable();
    assert!(sizes[0] < 100 && sizes[1] > 65_552 && sizes[2] > 65_552, "{sizes:?}");
}

/// Whoever says nothing gives way to who may have a question; the reserve stays.
#[test]
fn idle_connections_give_way() {
    let (mut net, segment) = server(1_000, Config::default());
    let kept = STREAMS - net.node(0).config().reserved_streams;
    for _ in 0..2 * STREAMS {
        assert!(net.dial(0).is_some());
        let soon = net.now + Duration::from_millis(1);
        net.drive_past(soon);
        assert!(net.open_connections() <= kept);
    }
    let id = net.dial(0).unwrap();
    net.send(id, &post(&get_blocks(&segment, 0)));
    assert_eq!(replies(&converse(&mut net, id, Duration::from_millis(500)).0)[0].0, 200);
}

/// Requests that trickle do not keep everybody else out: after the time that a client waits itself
/// (MS-PCCRR 3.1.2), they give way, the oldest first.
#[test]
fn trickled_requests_give_way() {
    let (mut net, segment) = server(1_000, Config::default());
    let kept = STREAMS - net.node(0).config().reserved_streams;
    let request = post(&get_blocks(&segment, 0));
    let slow: Vec<_> = (0..kept).map(|_| net.dial(0).unwrap()).collect();
    // The first piece has the request line.
    let cuts = [0, 60, 70, 80];
    for at in 0..3 {
        for id in &slow {
            net.send(*id, &request[cuts[at]..cuts[at + 1]]);
        }
        let next = net.now + Duration::from_millis(900);
        net.drive_past(next);
        assert_eq!(net.dial(0).is_some(), at == 2, "{at}");
    }
    let id = net.dial(0).unwrap();
    net.send(id, &request);
    // Those whose place was not needed may still go on.
    let last = slow[kept - 1];
    net.send(last, &request[cuts[3]..]);
    let next = net.now + Duration::from_millis(500);
    net.drive_past(next);
    for id in [id, last] {
        assert_eq!(replies(&net.received(id).0)[0].0, 200);
    }
}

/// Nor do replies that nobody reads, after the time that anybody waits for more of one (fact 38).
#[test]
fn unread_replies_give_way() {
    let (mut net, segment) = server(65_536, Config::default());
    let kept = STREAMS - net.node(0).config().reserved_streams;
    net.reads_nothing = true;
    for _ in 0..kept {
        let id = net.dial(0).unwrap();
        net.send(id, &post(&get_blocks(&segment, 0)));
    }
    for wait in [1_000, 3_900] {
        let next = net.now + Duration::from_millis(wait);
        net.drive_past(next);
        assert!(net.dial(0).is_none());
    }
    let next = net.now + Duration::from_millis(200);
    net.drive_past(next);
    let id = net.dial(0).unwrap();
    net.reads_nothing = false;
    net.send(id, &post(&get_blocks(&segment, 0)));
    assert_eq!(replies(&converse(&mut net, id, Duration::from_millis(500)).0)[0].0, 200);
}

/// Those that are being served do not give way, and the reserve is not for others.
#[test]
fn streams_are_kept_for_fetching() {
    let (mut net, segment) = server(65_536, Config::default());
    let kept = STREAMS - net.node(0).config().reserved_streams;
    net.reads_nothing = true;
    for _ in 0..kept {
        let id = net.dial(0).unwrap();
        net.send(id, &post(&get_blocks(&segment, 0)));
        let soon = net.now + Duration::from_millis(20);
        net.drive_past(soon);
    }
    assert!(net.dial(0).is_none());
    assert_eq!(net.node(0).counters().refused, 1);
    net.reads_nothing = false;
    net.drive(LONG);
    assert_eq!(net.open_connections(), 0);
    assert!(net.dial(0).is_some());
}
