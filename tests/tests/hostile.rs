//! Peers that want more than blocks: memory, time, streams, or a wrong block in the store. Each gets none of it,
//! is counted, and leaves nothing behind; an honest transfer beside it comes through.

use peerdist_core::content::v1::Info;
use peerdist_core::content::{Segment, SegmentId};
use peerdist_core::crypto::{CipherAlgorithm, Crypto, SoftCrypto};
use peerdist_core::discovery::Subnet;
use peerdist_core::discovery::server::Server;
use peerdist_core::discovery::wire::{Message, parse};
use peerdist_core::fetch::{Cause, Failure, Source};
use peerdist_core::limits::{REQUEST_TIMEOUT, UPLOAD_TIMEOUT};
use peerdist_core::node::{Config, Input, Output, StreamId};
use peerdist_core::retrieval::wire::PATH;
use peerdist_core::store::{BlockId, Store};
use peerdist_core::time::{Duration, Instant};
use peerdist_tests::check::{LONG, assert_whole, blocks, content, segments, verify_store};
use peerdist_tests::origin::publish;
use peerdist_tests::pair::{Act, Counting, Net, STREAMS, Storage, TestNode, fake_address, memory};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

/// Blocks that each node here has room for.
const ROOM: usize = 8;

/// Three blocks and a bit, which is what the honest transfers are of.
const LEN: usize = 200_000;

/// Bytes of a full block as it is sealed.
const SEALED: u32 = 65_552;

/// Two nodes, of which the first has everything.
fn honest(seed: u64) -> Net {
    let mut net = Net::new(seed, 2, ROOM, content(LEN));
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    net
}

/// Nothing was left behind: no connection, no row of the table of streams, no slot of the store.
fn all_free(net: &mut Net, host: usize) {
    net.reads_nothing = false;
    net.drive(LONG);
    assert_eq!(net.open_connections(), 0);
    let kept = STREAMS - net.node(host).config().reserved_streams;
    for _ in 0..kept {
        assert!(net.dial(host).is_some());
    }
    net.settle();
    // Had a row been in use, the last would have taken the place of the first.
    assert_eq!(net.open_connections(), kept);
    net.drive(LONG);
    assert_eq!(net.open_connections(), 0);
    slots_free(&mut net.hosts[host].store);
}

/// Every slot of the store can be had: none is reserved or pinned.
fn slots_free(store: &mut Storage) {
    let segment = SegmentId::from_slice(&[0xee; 32]).unwrap();
    let slots: Vec<_> = (0..ROOM as u32)
        .map(|index| store.reserve(&BlockId { segment, index }, SEALED).expect("a slot is free"))
        .collect();
    slots.into_iter().for_each(|slot| store.release(slot));
}

/// The second node downloads from the first, now, and gets everything.
fn honest_transfer(net: &mut Net) {
    let sent = net.origin.body_bytes;
    let id = net.download(1);
    net.drive_download(1, id, LONG);
    let content = net.origin.content.clone();
    assert_whole(net.seen(1, id), &content, true);
    assert_eq!(net.origin.body_bytes, sent, "the first node has everything");
}

fn http(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {status}\r\n{headers}\r\n").as_bytes(), body].concat()
}

fn with_length(body: &[u8]) -> Vec<u8> {
    http("200 OK", &format!("Content-Length: {}\r\n", body.len()), body)
}

/// MSG_BLK for `question`, a MSG_GETBLKS, with a sealed block.
fn msg_blk(question: &[u8], block: &[u8]) -> Vec<u8> {
    let size = 16 + 4 + 32 + 12 + block.len() + 4 + 4 + 16;
    let mut out = Vec::new();
    for value in [size as u32, 1, 5, size as u32, 1, 32] {
        out.extend(value.to_be_bytes());
    }
    out.extend(&question[20..52]);
    out.extend(&question[56..60]);
    out.extend([0; 4]);
    out.extend((block.len() as u32).to_be_bytes());
    out.extend(block);
    out.extend([0, 0, 0, 0, 0, 0, 0, 16]);
    out.extend(IV);
    out
}

/// Where these stand in [`msg_blk`].
const MSG_SIZE: usize = 12;
const BLOCK_INDEX: usize = 56;
const SIZE_OF_BLOCK: usize = 64;

const IV: [u8; 16] = [7; 16];

/// `plain` and `padding`, sealed as they are.
fn sealed(plain: &[u8], padding: &[u8], segment: &Segment) -> Vec<u8> {
    let mut blocks: Vec<[u8; 16]> =
        [plain, padding].concat().chunks_exact(16).map(|block| block.try_into().unwrap()).collect();
    let key = CipherAlgorithm::Aes128.key(segment.secret()).unwrap();
    SoftCrypto.cbc_encrypt(key, &mut IV.clone(), &mut blocks);
    blocks.concat()
}

/// The block that `question` asks for, as an honest peer has it.
fn honest_block(question: &[u8], content: &[u8], segment: &Segment) -> Vec<u8> {
    let index = u32::from_be_bytes(question[56..60].try_into().unwrap()) as usize;
    let plain = &content[index * 65_536..content.len().min((index + 1) * 65_536)];
    let padding = 16 - plain.len() % 16;
    msg_blk(question, &sealed(plain, &vec![padding as u8; padding], segment))
}

fn first_segment(info: &[u8]) -> Segment {
    Info::parse(&info).unwrap().segment(&info, 0).unwrap()
}

/// A probe of version 1 in which `scopes` stand for those of the recording.
fn probe(scopes: &str) -> Vec<u8> {
    const PROBE: &str = include_str!("../vectors/v1-probe.xml");
    let (before, rest) = PROBE.split_once("strcmp0\">").unwrap();
    let (_, after) = rest.split_once("</wsd:Scopes>").unwrap();
    format!("{before}strcmp0\">{scopes}</wsd:Scopes>{after}").into_bytes()
}

/// As many datagrams that are no messages as fit between those of an honest transfer.
#[test]
fn documents_without_end_or_bottom() {
    let id = "12A942E4E51869CAC4220BE529DFD4E3C21BB73675429F2DA23B03786D6699AA";
    let (before, after) = include_str!("../vectors/own-probematches.xml").split_once("<soap:Body>").unwrap();
    let documents = [
        // As long as UDP carries.
        probe(&"x".repeat(60_000)),
        format!("{before}<soap:Body>{}", "<wsd:ProbeMatches>".repeat(3_500)).into_bytes(),
        format!("{before}<soap:Body>{}", "<!-- endless -->".repeat(4_000)).into_bytes(),
        // Short enough to be looked at.
        "<a>".repeat(10_000).into_bytes(),
        format!("{before}<soap:Body>{}", "<a>".repeat(9_000)).into_bytes(),
        format!("{before}<soap:Body a='{}", "&amp;".repeat(5_000)).into_bytes(),
        format!("<a {}/>", "b='' ".repeat(6_000)).into_bytes(),
        format!("<a {}/>", (0..1_500).map(|n| format!("xmlns:n{n}='u' ")).collect::<String>()).into_bytes(),
        probe(&"AB ".repeat(10_000)),
        probe(&format!("{id} ").repeat(400)),
        format!("{before}<soap:Body>{}", after.repeat(20)).into_bytes(),
    ];
    let mut net = honest(31);
    let answered = net.node(0).counters().answer.probes;
    let id = net.download(1);
    let mut sent = 0;
    while !net.seen(1, id).is_over() {
        for document in &documents {
            assert!(document.len() < 65_508, "it fits a datagram");
            net.multicast(([10, 0, 3, 1], 40_000).into(), document);
            sent += 1;
        }
        let soon = net.now + Duration::from_millis(1);
        net.drive_past(soon);
    }
    net.drive(Duration::from_secs(1));
    let content = net.origin.content.clone();
    assert_whole(net.seen(1, id), &content, true);
    assert!(blocks(net.seen(1, id)).iter().all(|(source, _)| matches!(source, Source::Peer(_))));

    assert!(sent > 10 * documents.len() as u32);
    for host in 0..2 {
        let counters = net.node(host).counters();
        assert_eq!(counters.malformed_datagrams, sent);
        assert!(counters.probe.unsolicited < 10, "a repeat that came late at most");
        all_free(&mut net, host);
    }
    let probes = net.node(0).counters().answer.probes - answered;
    assert!(u64::from(probes) < 10, "only the honest node's");
    assert_eq!(net.outside, [], "nobody was answered");
}

/// A fake that claims to have everything beside the first node, and answers as `script` says: how often the
/// second node asked it, and what it counted. The content comes all the same, and nobody keeps a thing.
fn beside(seed: u64, mut script: impl FnMut(Vec<u8>, &[u8]) -> Act + 'static) -> (Net, u32) {
    let mut net = honest(seed);
    let info = net.origin.info.clone();
    let (content, segment) = (net.origin.content.clone(), first_segment(&info));
    net.add_fake(segments(&info), move |question| {
        let reply = if question.len() > 60 { honest_block(question, &content, &segment) } else { Vec::new() };
        script(reply, question)
    });
    honest_transfer(&mut net);
    assert_eq!(verify_store(&mut net, 1, &info), 4);
    all_free(&mut net, 1);
    let asked = net.fakes[0].asked;
    (net, asked)
}

/// The honest answer with a number in it changed.
fn lie(mut message: Vec<u8>, at: usize, value: u32) -> Vec<u8> {
    message[at..at + 4].copy_from_slice(&value.to_be_bytes());
    message
}

/// The helpers above are what they say: without a lie, all is taken.
#[test]
fn a_truthful_fake_is_believed() {
    let (mut net, asked) = beside(36, |reply, _| Act::Send(with_length(&reply)));
    let counters = net.node(1).counters().fetch;
    assert!(asked > 0);
    assert_eq!(
        (counters.bad_replies, counters.bad_blocks, counters.timed_out, counters.shunned),
        (0, 0, 0, 0)
    );
}

#[test]
fn lengths_that_lie() {
    type Lie = fn(Vec<u8>) -> Vec<u8>;
    let lies: [(&str, Lie); 11] = [
        ("MsgSize too large", |reply| with_length(&lie(reply, MSG_SIZE, u32::MAX))),
        ("MsgSize one more", |reply| with_length(&lie(reply.clone(), MSG_SIZE, reply.len() as u32 - 3))),
        ("MsgSize too small", |reply| with_length(&lie(reply, MSG_SIZE, 16))),
        ("MsgSize nothing", |reply| with_length(&lie(reply, MSG_SIZE, 0))),
        ("the transport's size too large", |reply| with_length(&lie(reply, 0, u32::MAX))),
        ("the transport's size too small", |reply| with_length(&lie(reply, 0, 64))),
        ("SizeOfBlock too large", |reply| with_length(&lie(reply, SIZE_OF_BLOCK, u32::MAX))),
        ("SizeOfBlock a block more", |reply| with_length(&lie(reply, SIZE_OF_BLOCK, SEALED + 16))),
        ("SizeOfBlock too small", |reply| with_length(&lie(reply, SIZE_OF_BLOCK, 16))),
        ("another index", |reply| with_length(&lie(reply, BLOCK_INDEX, 77))),
        ("Content-Length too small", |reply| {
            http("200 OK", &format!("Content-Length: {}\r\n", reply.len() / 2), &reply)
        }),
    ];
    for (what, lie) in lies {
        let (mut net, asked) = beside(36, move |reply, _| Act::Send(lie(reply)));
        let counters = net.node(1).counters().fetch;
        assert!(asked > 0, "{what}");
        assert_eq!(counters.bad_replies, asked, "{what}: {counters:?}");
        assert_eq!((counters.bad_blocks, counters.timed_out), (0, 0), "{what}: {counters:?}");
    }
}

/// A message that is whole, and behind which HTTP promises more: that makes it a bad reply, and is not waited
/// for.
#[test]
fn content_lengths_that_are_not_kept() {
    for more in [1, u64::MAX / 2] {
        let (mut net, asked) = beside(36, move |reply, _| {
            let length = reply.len() as u64 + more;
            Act::Send(http("200 OK", &format!("Content-Length: {length}\r\n"), &reply))
        });
        let counters = net.node(1).counters().fetch;
        assert!(asked > 0);
        assert_eq!((counters.timed_out, counters.bad_replies, counters.bad_blocks), (0, asked, 0), "{more}");
    }
}

/// Bodies that would go on for ever are given up as soon as they are longer than what was asked for.
#[test]
fn replies_that_never_end() {
    const MANY: usize = 8 << 20;
    type Reply = fn(Vec<u8>) -> Vec<u8>;
    let replies: [(&str, Reply); 4] = [
        ("chunks for ever", |reply| {
            let chunk = format!("{:x}\r\n", reply.len());
            let first = [chunk.as_bytes(), &reply, b"\r\n"].concat();
            let more = b"10\r\n0123456789abcdef\r\n".repeat(MANY / 22);
            http("200 OK", "Transfer-Encoding: chunked\r\n", &[first, more].concat())
        }),
        ("a chunk for ever", |_| {
            let chunk = [&b"ffffffffffff\r\n"[..], &vec![0; MANY]].concat();
            http("200 OK", "Transfer-Encoding: chunked\r\n", &chunk)
        }),
        ("until it closes, and it never does", |reply| http("200 OK", "", &[reply, vec![0; MANY]].concat())),
        ("headers for ever", |_| http("200 OK", &"X-More: and more\r\n".repeat(MANY / 18), b"")),
    ];
    for (what, reply) in replies {
        let (mut net, asked) = beside(34, move |honest, _| Act::Send(reply(honest)));
        let counters = net.node(1).counters().fetch;
        assert!(asked > 0, "{what}");
        assert_eq!(counters.bad_replies, asked, "{what}: {counters:?}");
        assert_eq!((counters.bad_blocks, counters.timed_out), (0, 0), "{what}: {counters:?}");
    }
}

/// The same on the other side: what has no room is refused as soon as that shows.
#[test]
fn requests_that_never_end() {
    const PIECE: usize = 1_000;
    let line = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\n");
    let chunk = [format!("{PIECE:x}\r\n").as_bytes(), &[0; PIECE], b"\r\n"].concat();
    // How each begins and goes on, and how many pieces are read of it.
    let cases: [(&str, String, Vec<u8>, usize); 5] = [
        ("chunks", format!("{line}Transfer-Encoding: chunked\r\n\r\n"), chunk, 110),
        ("a chunk", format!("{line}Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n"), vec![0; PIECE], 110),
        ("length", format!("{line}Content-Length: 18446744073709551615\r\n\r\n"), vec![0; PIECE], 110),
        ("headers", line.clone(), b"X-More: and more\r\n".repeat(PIECE / 18), 20),
        ("a line", format!("{line}X-More: "), vec![b'x'; PIECE], 20),
    ];
    for (what, head, more, pieces) in cases {
        let mut net = honest(35);
        let before = net.node(0).counters().serve;
        let begun = net.now;
        let id = net.dial(0).unwrap();
        net.send(id, head.as_bytes());
        let download = net.download(1);
        let (mut sent, mut reply, mut over) = (0, Vec::new(), false);
        while !over {
            net.send(id, &more);
            sent += more.len();
            let soon = net.now + Duration::from_millis(5);
            net.drive_past(soon);
            let (bytes, ended) = net.received(id);
            reply.extend(bytes);
            over = ended;
            assert!(net.now.since(begun) < UPLOAD_TIMEOUT + Duration::from_millis(50), "{what}");
        }
        assert!(reply.starts_with(b"HTTP/1.1 4") && sent < pieces * PIECE, "{what}: {sent} bytes");
        net.drive_download(1, download, LONG);
        let content = net.origin.content.clone();
        assert_whole(net.seen(1, download), &content, true);
        let after = net.node(0).counters().serve;
        let dropped = after.dropped - before.dropped;
        assert_eq!((dropped, after.blocks - before.blocks), (1, 4), "{what}");
        all_free(&mut net, 0);
    }
}

/// The right bytes under the right key are not enough: as we would serve them on, their padding counts too.
#[test]
fn right_plaintext_with_wrong_padding() {
    let content = content(1_000);
    let cases: [&[u8]; 6] = [
        &[0; 8],
        &[7; 8],
        &[9; 8],
        &[8, 8, 8, 8, 8, 8, 8, 9],
        &[1, 8, 8, 8, 8, 8, 8, 8],
        &[8, 8, 8, 8, 8, 8, 8, 0x18],
    ];
    for padding in cases {
        let mut net = Net::new(36, 1, ROOM, content.clone());
        let info = net.origin.info.clone();
        let (segment, id) = (first_segment(&info), segments(&info)[0]);
        let block = sealed(&content, padding, &segment);
        net.add_fake(vec![id], move |question| Act::Send(with_length(&msg_blk(question, &block))));
        // First of all without an origin that would bring a right one.
        let node = net.node(0);
        let handle = node.open_content([0; 16]).unwrap();
        node.add_content_information(handle, &info).unwrap();
        node.complete_content_information(handle).unwrap();
        net.drive_until(LONG, |net| net.hosts[0].is_ready(handle));
        let now = net.now;
        let read = net.node(0).block_read(now, handle, 0, 1_000, Duration::from_secs(5)).unwrap();
        net.drive_past(now + Duration::from_secs(2));
        let completion = net.node(0).poll_completion().expect("it has ended");
        assert_eq!(completion.read, read);
        let bad = Failure { peer: Some(fake_address(0)), cause: Cause::BadBlock };
        assert_eq!(completion.failures.as_slice(), [bad], "{padding:?}");
        let mut data = [0; 16];
        assert!(net.node(0).copy_read(read, 0, &mut data).is_err());
        net.node(0).end_read(read);
        let counters = net.node(0).counters().fetch;
        assert_eq!((counters.asked, counters.bad_blocks, counters.verified), (1, 1, 0), "{padding:?}");
        assert!(net.hosts[0].store.find(&BlockId { segment: id, index: 0 }).is_none());

        // Whoever asks us gets nothing, until the origin has brought it.
        let mut question = include_bytes!("../vectors/client-wire/v1-getblks.bin").to_vec();
        question[20..52].copy_from_slice(id.as_bytes());
        question[56..60].copy_from_slice(&[0; 4]);
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", question.len());
        let request = [head.as_bytes(), &question].concat();
        let dialled = net.dial(0).unwrap();
        net.send(dialled, &request);
        net.drive_past(net.now + Duration::from_millis(500));
        let (reply, _) = net.received(dialled);
        assert!(reply.starts_with(b"HTTP/1.1 200 ") && reply.len() < 200, "{}", reply.escape_ascii());
        assert_eq!(net.node(0).counters().serve.blocks, 0);
        net.node(0).close_content(handle).unwrap();
        let download = net.download(0);
        net.drive_download(0, download, LONG);
        assert_whole(net.seen(0, download), &content, true);
        assert_eq!(verify_store(&mut net, 0, &info), 1);
        assert_eq!(net.node(0).counters().fetch.bad_blocks, 1, "it is shunned");
        all_free(&mut net, 0);
    }
}

/// Whoever keeps a connection without a question gives way to the next, and to the honest.
#[test]
fn a_thousand_silent_connections() {
    let mut net = honest(37);
    let download = net.download(1);
    for _ in 0..1_000 {
        assert!(net.dial(0).is_some());
        let soon = net.now + Duration::from_micros(500);
        net.drive_past(soon);
        assert!(net.open_connections() <= 2 * STREAMS);
    }
    net.drive_download(1, download, LONG);
    let content = net.origin.content.clone();
    assert_whole(net.seen(1, download), &content, true);
    let counters = net.node(0).counters();
    assert_eq!((counters.refused, counters.serve.dropped), (0, 0));
    for host in 0..2 {
        all_free(&mut net, host);
    }
}

/// A thousand that begin a question and never end it have every stream but the reserve, for as long as an upload
/// may take. Meanwhile the node fetches.
#[test]
fn a_thousand_slow_questions() {
    let content = content(LEN);
    let mut net = Net::new(38, 2, ROOM, content.clone());
    let first = net.download(1);
    net.drive_download(1, first, LONG);
    let kept = STREAMS - net.node(0).config().reserved_streams;
    let begun = net.now;
    let mut dribbling = Vec::new();
    for number in 0..1_000 {
        let dialled = net.dial(0);
        assert_eq!(dialled.is_some(), number < kept);
        if let Some(id) = dialled {
            net.send(id, format!("POST {PATH} HTTP/1.1\r\nX: ").as_bytes());
            dribbling.push(id);
        }
        let soon = net.now + Duration::from_millis(1);
        net.drive_past(soon);
    }
    assert_eq!(net.node(0).counters().refused as usize, 1_000 - kept);
    let sent = net.origin.body_bytes;
    let second = net.download(0);
    while net.now + Duration::from_secs(2) < begun + UPLOAD_TIMEOUT {
        let next = net.now + Duration::from_secs(1);
        dribbling.iter().for_each(|id| net.send(*id, b"x"));
        net.drive_past(next);
    }
    assert!(net.seen(0, second).is_over(), "it does not wait for them");
    assert_whole(net.seen(0, second), &content, true);
    assert_eq!(net.origin.body_bytes, sent, "the other node has everything");
    assert!(net.open_connections() >= kept);
    all_free(&mut net, 0);
    assert_eq!(net.node(0).counters().serve.answered, 0);
}

/// Holders around a node that the test itself leads by the hand, so that it can send byte by byte.
struct Alone {
    now: Instant,
    node: Box<TestNode>,
    store: Storage,
    holders: Vec<Holder>,
    rng: ChaCha20Rng,
    aborted: u32,
}

/// A peer that claims to have everything.
struct Holder {
    discovery: Server,
    /// How long it takes for each byte.
    pause: Duration,
    asked: u32,
    conns: Vec<Exchange>,
}

/// A connection to a holder: what came of the question, and what is still to be said.
struct Exchange {
    stream: StreamId,
    question: Vec<u8>,
    reply: Vec<u8>,
    next: Instant,
}

impl Alone {
    fn new(pauses: &[Duration]) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(39);
        let store = Storage::new(memory(ROOM, 4_096));
        let node = TestNode::new(Config::default(), store.clone(), Counting::default(), rng.clone());
        let mut node = Box::new(node);
        node.set_addresses(&[Subnet { address: [10, 0, 0, 1].into(), prefix: 16 }]);
        let holders = pauses.iter().enumerate().map(|(index, &pause)| Holder {
            discovery: {
                let mut discovery = Server::new(1, &mut rng);
                let address = fake_address(index).ip();
                discovery.set_addresses(&[Subnet { address, prefix: 16 }]);
                discovery
            },
            pause,
            asked: 0,
            conns: Vec::new(),
        });
        let holders = holders.collect();
        Self { now: Instant::from_millis(1_000), node, store, holders, rng, aborted: 0 }
    }

    /// Moves on until nothing more happens before `end`; `answer` is what holders have for a question.
    fn drive(&mut self, end: Instant, answer: &dyn Fn(&[u8]) -> Vec<u8>) {
        loop {
            while self.act(answer) {}
            let said = self.holders.iter().flat_map(|holder| &holder.conns);
            let said = said.filter(|exchange| !exchange.reply.is_empty()).map(|exchange| exchange.next);
            let answers = self.holders.iter().filter_map(|holder| holder.discovery.poll_timeout());
            let next = said.chain(answers).chain(self.node.poll_timeout(self.now)).min();
            match next.filter(|next| *next <= end) {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
        }
        self.now = end;
    }

    fn act(&mut self, answer: &dyn Fn(&[u8]) -> Vec<u8>) -> bool {
        let (now, mut buf, mut acted) = (self.now, [0; 4_096], false);
        while let Some(output) = self.node.poll_output(now, &mut buf) {
            acted = true;
            match output {
                Output::Datagram { data, .. } => {
                    let Ok(Message::Probe(probe)) = parse(data) else { continue };
                    for holder in &mut self.holders {
                        let from = ([10, 0, 0, 1], 3_702).into();
                        holder.discovery.handle_probe(now, &mut self.rng, from, &probe, &mut |_| 2);
                    }
                }
                Output::Connect { stream, remote, .. } => {
                    let holder = self.holders.iter_mut().enumerate();
                    let mut holder = holder.filter(|(index, _)| fake_address(*index) == remote);
                    let (_, holder) = holder.next().expect("a holder");
                    let exchange = Exchange { stream, question: Vec::new(), reply: Vec::new(), next: now };
                    holder.conns.push(exchange);
                    self.node.handle_input(now, Input::Connected { stream });
                }
                Output::Abort { stream } | Output::Close { stream } => {
                    self.aborted += u32::from(matches!(output, Output::Abort { .. }));
                    let conns = self.holders.iter_mut().map(|holder| &mut holder.conns);
                    conns.for_each(|conns| conns.retain(|exchange| exchange.stream != stream));
                }
                _ => {}
            }
        }
        for (index, holder) in self.holders.iter_mut().enumerate() {
            let from = std::net::SocketAddr::new(fake_address(index).ip(), 3_702);
            while let Some((_, len)) =
                holder.discovery.poll_transmit(now, fake_address(index).port(), &mut buf)
            {
                self.node.handle_input(now, Input::Datagram { from, data: &buf[..len] });
                acted = true;
            }
            for exchange in &mut holder.conns {
                while let Ok(len @ 1..) = self.node.poll_stream(now, exchange.stream, &mut buf) {
                    exchange.question.extend_from_slice(&buf[..len]);
                    acted = true;
                }
                let head = exchange.question.windows(4).position(|end| end == b"\r\n\r\n");
                if let Some(body) = head.map(|head| &exchange.question[head + 4..])
                    && body.len() >= 4
                    && body.len() == u32::from_be_bytes(body[8..12].try_into().unwrap()) as usize
                {
                    exchange.reply = with_length(&answer(body));
                    exchange.question.clear();
                    exchange.next = now + holder.pause;
                    holder.asked += 1;
                }
                while !exchange.reply.is_empty() && exchange.next <= now {
                    let piece = if holder.pause == Duration::ZERO { exchange.reply.len() } else { 1 };
                    let input = Input::Data { stream: exchange.stream, data: &exchange.reply[..piece] };
                    let used = self.node.handle_input(now, input);
                    exchange.reply.drain(..used);
                    exchange.next = now + holder.pause;
                    acted = true;
                }
            }
        }
        acted
    }
}

/// MS-PCCRR 3.1.2: each byte of a reply may come in time, and the reply as a whole does not.
#[test]
fn a_reply_of_a_byte_a_second() {
    let content = content(2 * 65_536);
    let info = publish(&content);
    let segment = first_segment(&info);
    let answer = |question: &[u8]| honest_block(question, &content, &segment);
    let mut alone = Alone::new(&[Duration::from_secs(1), Duration::ZERO]);
    let handle = alone.node.open_content([0; 16]).unwrap();
    alone.node.add_content_information(handle, &info).unwrap();
    alone.node.complete_content_information(handle).unwrap();
    alone.drive(alone.now + Duration::from_secs(1), &answer);
    let reads = [0, 65_536].map(|offset| {
        alone.node.block_read(alone.now, handle, offset, 65_536, Duration::from_secs(10)).unwrap()
    });
    let begun = alone.now;
    alone.drive(begun + REQUEST_TIMEOUT + Duration::from_secs(2), &answer);
    let [slow, quick] = [alone.holders[0].asked, alone.holders[1].asked];
    let counters = alone.node.counters().fetch;
    assert!(slow > 0 && quick == 2, "{slow} and {quick}");
    assert_eq!((counters.timed_out, alone.aborted), (slow, slow));
    assert_eq!((counters.asked, counters.verified, counters.bad_replies), (slow + quick, 2, 0));
    let mut data = vec![0; 65_536];
    while let Some(completion) = alone.node.poll_completion() {
        let block = reads.iter().position(|read| *read == completion.read).unwrap();
        assert_eq!(alone.node.copy_read(completion.read, 0, &mut data), Ok(65_536));
        assert!(data == content[block * 65_536..][..65_536]);
        alone.node.end_read(completion.read);
    }
    alone.drive(alone.now + LONG, &answer);
    assert!(alone.holders.iter().all(|holder| holder.conns.is_empty()), "every connection was closed");
    slots_free(&mut alone.store);
}
