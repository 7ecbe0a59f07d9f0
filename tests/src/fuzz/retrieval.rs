//! Messages between peers: what a server reads, and what a client reads.

use peerdist_core::ages::{Ages, AgesRepr};
use peerdist_core::bytes::{NoRoom, Writer};
use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{CipherAlgorithm, Seal};
use peerdist_core::limits::{
    BLOCK_BYTES, MAX_DIGEST_BYTES, MAX_REPLY_BYTES, MAX_REQUEST_BYTES, SEGMENT_BLOCKS,
};
use peerdist_core::retrieval::client::{AcceptPlain, Exchange, Refusal, SegmentExchange, SegmentStep, Step};
use peerdist_core::retrieval::server::{self, Role};
use peerdist_core::retrieval::set::{IndexSet, SET_INDICES};
use peerdist_core::retrieval::wire::{
    Block, BlockReply, GetBlocks, HEADER_BYTES, Header, MessageType, OUR_VERSIONS, REQUEST_ID_BYTES, Range,
    Reply, Request, TRANSPORT_BYTES, Version,
};
use peerdist_core::store::BlockId;
use peerdist_core::store::ram::{Entry, Page, RamStore};
use peerdist_core::time::Instant;

use super::numbers;

/// A request that is accepted is as long as it says, means the same when it is written and read
/// again, and has an answer that a client takes for what was asked. Servers read it in pieces of any
/// size and take it or drop it as the codec does.
pub fn retrieval_request(data: &[u8]) {
    let request = Request::parse(data);
    for role in [Role::Peer, Role::HostedCache] {
        let reply = answer(role, data, 1 + numbers(data).1 as usize % 61);
        assert_eq!(answer(role, data, data.len().max(1)), reply);
        check_answer(role, &request, reply.as_deref());
    }
    let Some(bytes) = data.first_chunk::<HEADER_BYTES>() else { return assert!(request.is_err()) };
    let header = Header::parse(bytes);
    assert_eq!(Version::from_wire(header.version.to_wire()), header.version);
    assert_eq!(MessageType::from_wire(header.message.to_wire()), header.message);
    let Ok(request) = request else { return };
    assert_eq!(header.size as usize, data.len());
    assert!(header.size <= MAX_REQUEST_BYTES);
    assert!(Request::parse(&data[..data.len() - 1]).is_err(), "a byte less");
    assert!(Request::parse(&[data, &[0]].concat()).is_err(), "a byte more");
    let again = match request {
        Request::Negotiation(range) => written(data.len(), |writer| range.emit_request(writer)),
        Request::GetBlockList(list) => written(data.len(), |writer| list.emit(writer)),
        Request::GetBlocks(get_blocks) => {
            blocks(&get_blocks, numbers(data));
            written(data.len(), |writer| get_blocks.emit(writer))
        }
        Request::GetSegmentList(list) => written(data.len(), |writer| list.emit(writer)),
        Request::Other(message) => return assert_eq!(message, header.message),
        Request::OtherVersion(version) => return assert!(!OUR_VERSIONS.speaks(version)),
    };
    // What a pad holds is not looked at, so only the meaning is the same.
    assert_eq!(again.len(), data.len());
    assert_eq!(Request::parse(&again), Ok(request));
}

/// What a server without blocks answers.
fn answer(role: Role, request: &[u8], piece: usize) -> Option<Vec<u8>> {
    let mut store = RamStore::new([const { Page::EMPTY }; 1], [const { Entry::EMPTY }; 1], [0; 0]);
    let mut exchange = server::Exchange::new(role);
    request.chunks(piece).for_each(|piece| exchange.handle(Instant::ZERO, &store, piece));
    if !exchange.finish(&store, false) {
        return None;
    }
    let mut bytes = vec![0; exchange.len() as usize];
    assert_eq!(exchange.read(&mut store, &mut bytes), Ok(bytes.len()));
    Some(bytes)
}

fn check_answer(role: Role, request: &Result<Request<'_>, impl Sized>, reply: Option<&[u8]>) {
    let reply = reply.map(|reply| Reply::parse(reply).unwrap());
    match (request, reply) {
        (Err(_) | Ok(Request::Other(_)), None) => {}
        (Ok(Request::GetSegmentList(_)), None) => assert_eq!(role, Role::Peer),
        (Ok(Request::Negotiation(_) | Request::OtherVersion(_)), Some(Reply::Negotiation(range))) => {
            assert_eq!(range, OUR_VERSIONS);
        }
        (Ok(Request::GetBlockList(asked)), Some(Reply::BlockList(list))) => {
            assert_eq!(list.segment, asked.segment);
            assert!(list.ranges.is_empty() && list.next == 0);
        }
        (Ok(Request::GetBlocks(asked)), Some(Reply::Block(block))) => {
            assert_eq!(block.around.segment, asked.segment);
            assert!(asked.block().is_none_or(|index| index == block.around.index));
            assert!(block.block.is_empty());
        }
        (Ok(Request::GetSegmentList(asked)), Some(Reply::SegmentList(list))) => {
            assert_eq!(role, Role::HostedCache);
            assert!(list.blob.is_empty());
            assert!(list.ranges.is_empty() && list.answers(asked.request_id, 0));
            assert_eq!(asked.ids.iter().count(), asked.ids.len());
            assert!(asked.ids.iter().all(|id| (1..=MAX_DIGEST_BYTES).contains(&id.len())));
        }
        (_, reply) => panic!("{reply:?}"),
    }
}

/// What is emitted, into room for a message as long as one of `len` bytes, or as one of ours.
fn written(len: usize, emit: impl FnOnce(&mut Writer<'_>) -> Result<(), NoRoom>) -> Vec<u8> {
    let mut buf = vec![0; len.max(512)];
    let mut writer = Writer::new(&mut buf);
    emit(&mut writer).unwrap();
    writer.finish().to_vec()
}

fn blocks(request: &GetBlocks<'_>, (a, b): (u64, u64)) {
    assert!((1..=MAX_DIGEST_BYTES).contains(&request.segment.len()));
    let Some(index) = request.block() else { return };
    assert!(request.ranges.iter().any(|range| range.index == index && range.count > 0));

    let one = written(0, |writer| GetBlocks::emit_one(request.segment, index, writer));
    let Ok(Request::GetBlocks(one)) = Request::parse(&one) else { panic!() };
    assert_eq!((one.segment, one.block()), (request.segment, Some(index)));
    assert!(one.ranges.iter().eq([Range { index, count: 1 }]));

    let Some(segment) = SegmentId::from_slice(request.segment) else { return };
    let id = BlockId { segment, index };
    let plain_len = (a % 100) as u32 + 1;
    let algorithm =
        [CipherAlgorithm::Aes128, CipherAlgorithm::Aes192, CipherAlgorithm::Aes256][b as usize % 3];
    let seal = Seal { algorithm, iv: u128::from(b).to_le_bytes() };
    let block = vec![a as u8; algorithm.sealed_len(plain_len) as usize];
    for sealed in [Some((block.len() as u32, &seal)), None] {
        let around = BlockReply::new(request.segment, index, b as u32, sealed);
        let block = if sealed.is_some() { block.as_slice() } else { &[] };
        let bytes = written(0, |writer| Block { around, block }.emit(writer));
        assert_eq!(bytes.len(), around.len());
        let seen = read(Exchange::new(id, plain_len), &bytes, 7);
        assert_eq!(seen.block, block);
        assert_eq!(seen.end, sealed.map_or(End::Missing, |(_, seal)| End::Block(*seal)));
    }
}

/// A reply is as long as it says, has a block of the length that was asked for or none, and reads
/// the same in pieces of any size. What was asked for is what it seems to answer.
///
/// Whatever is accepted means the same when it is written and read again.
pub fn retrieval_reply(data: &[u8]) {
    ages(data);
    let reply = Reply::parse(data).ok();
    reply.iter().for_each(|reply| again(reply, data));
    lists(data, reply);
    segment_lists(data, reply);
    let (id, plain_len) = asked(data);
    plain(data, id, reply);
    let whole = read(Exchange::new(id, plain_len), data, data.len().max(1));
    for piece in [1, 2 + numbers(data).0 as usize % 61] {
        assert_eq!(read(Exchange::new(id, plain_len), data, piece), whole);
    }
    if matches!(whole.end, End::Failed(_) | End::Open) {
        return;
    }
    let announced = word(data, 0).unwrap();
    assert!(announced <= MAX_REPLY_BYTES);
    assert_eq!(announced as usize + TRANSPORT_BYTES, data.len());
    for wrong in [announced.wrapping_sub(1), announced + 1] {
        let mut data = data.to_vec();
        // TRANSPORT_RESPONSE_HEADER, and MsgSize of MESSAGE_HEADER.
        data[..4].copy_from_slice(&wrong.to_be_bytes());
        data[12..16].copy_from_slice(&wrong.to_be_bytes());
        assert!(matches!(read(Exchange::new(id, plain_len), &data, data.len()).end, End::Failed(_)));
    }
    match whole.end {
        End::Block(seal) => {
            let Some(Reply::Block(block)) = reply else { panic!("{reply:?}") };
            assert_eq!((block.block, block.around.iv), (&whole.block[..], &seal.iv[..]));
            assert_eq!(whole.begun, Some((seal.algorithm, whole.block.len() as u32)));
            assert_eq!(whole.block.len() as u32, seal.algorithm.sealed_len(plain_len));
            assert_ne!(seal.algorithm, CipherAlgorithm::None);
        }
        _ => assert!(whole.block.is_empty() && whole.begun.is_none()),
    }
}

/// Ages are as many as announced, and those that a blob of ours has room for are kept.
fn ages(blob: &[u8]) {
    let Some(ages) = Ages::parse(blob) else { return };
    let read: Vec<_> = ages.iter().collect();
    assert_eq!(read.len(), usize::from(blob[3]));
    assert!(blob.len() >= 4 + 4 * read.len());
    let once = written(4 + 4 * read.len(), |writer| AgesRepr(&read).emit(writer));
    assert_eq!(once.len(), AgesRepr(&read).buffer_len());
    // Rounded down to one unit, once: the second time, nothing changes.
    let again: Vec<_> = Ages::parse(&once).unwrap().iter().collect();
    assert_eq!(written(once.len(), |writer| AgesRepr(&again).emit(writer)), once);
    assert!(again.iter().zip(&read).all(|(now, before)| now.0 == before.0 && now.1 <= before.1));
}

fn again(reply: &Reply<'_>, data: &[u8]) {
    assert!(data.len() <= TRANSPORT_BYTES + MAX_REPLY_BYTES as usize);
    let bytes = match reply {
        Reply::Negotiation(range) => written(data.len(), |writer| range.emit_reply(writer)),
        Reply::BlockList(list) => written(data.len(), |writer| list.emit(writer)),
        Reply::Block(block) => written(data.len(), |writer| block.emit(writer)),
        Reply::SegmentList(list) => {
            assert!(list.ages().count() <= usize::from(u8::MAX));
            assert!(!list.answers(list.request_id, 0) || list.ranges.is_empty());
            written(data.len(), |writer| list.emit(writer))
        }
        Reply::Other(_) => return,
    };
    assert_eq!(bytes.len(), data.len());
    assert_eq!(Reply::parse(&bytes), Ok(*reply));
}

/// A client of a list takes what the codec takes, in pieces of any size, if it is about what was
/// asked; and of that it keeps what was asked for.
fn lists(data: &[u8], reply: Option<Reply<'_>>) {
    let (a, b) = numbers(data);
    let segment = match reply {
        Some(Reply::BlockList(list)) => SegmentId::from_slice(list.segment),
        _ => SegmentId::from_slice(&[0; 32]),
    };
    let Some(segment) = segment else { return };
    let mut all = IndexSet::EMPTY;
    all.insert_range(Range { index: 0, count: SEGMENT_BLOCKS });
    let mut some = IndexSet::EMPTY;
    some.insert_range(Range { index: a as u32 % SEGMENT_BLOCKS, count: b as u32 % SEGMENT_BLOCKS });
    for asked in [all, some] {
        let listed = list(Exchange::list(segment, asked), data, 1 + b as usize % 61);
        assert_eq!(list(Exchange::list(segment, asked), data, data.len().max(1)), listed);
        match (listed, reply) {
            (Ok((Step::Blocks, listed)), Some(Reply::BlockList(list))) => {
                let mut theirs = IndexSet::EMPTY;
                list.ranges.iter().for_each(|range| theirs.insert_range(range));
                assert_eq!(listed, theirs.intersection(&asked));
                assert!(list.ranges.iter().all(|range| range.count > 0));
                assert!(listed.ranges().all(|range| range.indices().all(|index| listed.contains(index))));
            }
            (Ok((Step::Negotiation(range), _)), reply) => {
                assert_eq!(reply, Some(Reply::Negotiation(range)));
            }
            (Ok((Step::More, _)), reply) => assert!(reply.is_none()),
            (Err(Refusal::NotAsked | Refusal::Malformed), Some(Reply::BlockList(list))) => {
                let mut theirs = list.ranges.iter().map(|range| {
                    let mut set = IndexSet::EMPTY;
                    set.insert_range(range);
                    set.intersection(&asked).is_empty()
                });
                assert!(theirs.any(|outside| outside));
            }
            (Err(_), Some(Reply::Negotiation(_) | Reply::BlockList(_))) => panic!("{listed:?}"),
            (Err(_), _) => {}
            (listed, reply) => panic!("{listed:?}, {reply:?}"),
        }
    }
}

fn list(mut exchange: Exchange, data: &[u8], piece: usize) -> Result<(Step<'_>, IndexSet), Refusal> {
    let mut last = Step::More;
    for mut bytes in data.chunks(piece) {
        while !bytes.is_empty() {
            let (used, step) = exchange.handle(bytes);
            assert!(used > 0, "it stands still");
            bytes = &bytes[used..];
            last = step?;
        }
    }
    Ok((last, exchange.blocks()))
}

/// A client of a list of segments takes what the codec takes, in pieces of any size, if it is the
/// answer to its request; and of ages, those of the segments that are listed.
fn segment_lists(data: &[u8], reply: Option<Reply<'_>>) {
    let (a, b) = numbers(data);
    let id = match reply {
        Some(Reply::SegmentList(list)) => *list.request_id,
        _ => [a as u8; REQUEST_ID_BYTES],
    };
    for asked in [SET_INDICES, 1 + b as u32 % 8] {
        let ids = vec![SegmentId::from_slice(&[0; 32]).unwrap(); asked as usize];
        let read = |piece: usize| {
            let mut buf = vec![0; 20_000];
            let mut exchange = SegmentExchange::ask(id, &ids, &[], &mut Writer::new(&mut buf)).unwrap();
            let (mut last, mut ages) = (SegmentStep::More, Vec::new());
            for mut bytes in data.chunks(piece) {
                while !bytes.is_empty() {
                    let (used, step) = exchange.handle(bytes, &mut |index, age| ages.push((index, age)));
                    assert!(used > 0, "it stands still");
                    bytes = &bytes[used..];
                    last = step.inspect_err(|_| assert!(exchange.is_done()))?;
                }
            }
            assert_eq!(exchange.is_done(), last != SegmentStep::More);
            Ok::<_, Refusal>((last, ages))
        };
        let whole = read(data.len().max(1));
        assert_eq!(read(1 + a as usize % 61), whole);
        match (whole, reply) {
            (Ok((SegmentStep::Segments(listed), ages)), Some(Reply::SegmentList(list))) => {
                assert!(list.answers(&id, asked));
                let mut theirs = IndexSet::EMPTY;
                list.ranges.iter().for_each(|range| theirs.insert_range(range));
                assert_eq!(listed, theirs);
                assert!(list.ages().filter(|(index, _)| listed.contains(*index)).eq(ages));
            }
            (Ok((SegmentStep::Negotiation(range), _)), reply) => {
                assert_eq!(reply, Some(Reply::Negotiation(range)));
            }
            (Ok((SegmentStep::More, _)), reply) => assert!(reply.is_none()),
            (Err(_), Some(Reply::SegmentList(list))) => assert!(!list.answers(&id, asked)),
            (Err(_), Some(Reply::Negotiation(_))) => panic!("{data:?}"),
            (Err(_), _) => {}
            (Ok(seen), reply) => panic!("{seen:?}, {reply:?}"),
        }
    }
}

/// A plain block is taken only where that is allowed, and then it is the message's.
fn plain(data: &[u8], id: BlockId, reply: Option<Reply<'_>>) {
    let Some(Reply::Block(block)) = reply else { return };
    let is_plain = block.around.cipher.algorithm() == Some(CipherAlgorithm::None);
    if !is_plain || block.block.is_empty() {
        return;
    }
    let len = block.block.len() as u32;
    let refused = read(Exchange::new(id, len), data, 61);
    assert!(matches!(refused.end, End::Failed(_)) && refused.block.is_empty());
    let taken = read(Exchange::with_policy(id, len, AcceptPlain::Yes), data, 61);
    if let End::Block(seal) = taken.end {
        assert_eq!((seal.algorithm, &taken.block[..]), (CipherAlgorithm::None, block.block));
    }
}

/// The segment, index and length that the reply `data` would be right for.
fn asked(data: &[u8]) -> (BlockId, u32) {
    const ID_AT: usize = TRANSPORT_BYTES + HEADER_BYTES;
    let id_len = word(data, ID_AT).unwrap_or_default() as usize;
    let id = data.get(ID_AT + 4..).and_then(|rest| rest.get(..id_len));
    let segment = id.and_then(SegmentId::from_slice);
    let behind = ID_AT + 4 + segment.map_or(0, |id| id.as_bytes().len());
    let index = word(data, behind).unwrap_or_default();
    let sealed_len = word(data, behind + 8).unwrap_or_default();
    // Each plaintext length that the padding allows.
    let pad = (numbers(data).0 % 16) as u32 + 1;
    let plain_len = sealed_len.saturating_sub(pad).min(BLOCK_BYTES);
    let none = SegmentId::from_slice(&[0; 32]).unwrap();
    (BlockId { segment: segment.unwrap_or(none), index }, plain_len)
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*data.get(at..)?.first_chunk()?))
}

/// All that a client gets to know of a reply.
#[derive(Debug, PartialEq)]
struct Seen {
    begun: Option<(CipherAlgorithm, u32)>,
    block: Vec<u8>,
    end: End,
}

#[derive(Debug, PartialEq)]
enum End {
    /// More is to come.
    Open,
    Block(Seal),
    Missing,
    Negotiation,
    Failed(Refusal),
}

fn read(mut exchange: Exchange, data: &[u8], piece: usize) -> Seen {
    let mut seen = Seen { begun: None, block: Vec::new(), end: End::Open };
    for mut bytes in data.chunks(piece) {
        while !bytes.is_empty() {
            let (used, step) = exchange.handle(bytes);
            assert!(used > 0, "it stands still");
            match step {
                Ok(Step::More) => {}
                Ok(Step::Begin { cipher, len }) => assert_eq!(seen.begun.replace((cipher, len)), None),
                Ok(Step::Piece(piece)) => seen.block.extend(piece),
                Ok(Step::Block(seal)) => seen.end = End::Block(seal),
                Ok(Step::Missing) => seen.end = End::Missing,
                Ok(Step::Blocks) => panic!("nobody asked for a list"),
                Ok(Step::Negotiation(_)) => seen.end = End::Negotiation,
                Err(refusal) => {
                    seen.end = End::Failed(refusal);
                    assert!(exchange.is_done());
                    return seen;
                }
            }
            bytes = &bytes[used..];
        }
    }
    assert_eq!(exchange.is_done(), seen.end != End::Open);
    seen
}
