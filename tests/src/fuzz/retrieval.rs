//! Messages between peers: what a server reads, and what a client reads.

use peerdist_core::bytes::Writer;
use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{CipherAlgorithm, Seal};
use peerdist_core::limits::{BLOCK_BYTES, MAX_DIGEST_BYTES, MAX_REPLY_BYTES, MAX_REQUEST_BYTES};
use peerdist_core::retrieval::client::{Exchange, Refusal, Step};
use peerdist_core::retrieval::wire::{
    BLOCK_HEAD_BYTES, BLOCK_TAIL_BYTES, BlockReply, GET_BLOCKS_BYTES, GetBlocks, HEADER_BYTES, Header,
    MessageType, OUR_VERSIONS, Request, TRANSPORT_BYTES, Version,
};
use peerdist_core::store::BlockId;

use super::numbers;

/// A request that is accepted is as long as it says, means the same when we ask for it, and has an
/// answer that a client takes for what was asked.
pub fn retrieval_request(data: &[u8]) {
    let request = Request::parse(data);
    let Some(bytes) = data.first_chunk::<HEADER_BYTES>() else { return assert!(request.is_err()) };
    let header = Header::parse(bytes);
    assert_eq!(Version::from_wire(header.version.to_wire()), header.version);
    assert_eq!(MessageType::from_wire(header.message.to_wire()), header.message);
    let Ok(request) = request else { return };
    assert_eq!(header.size as usize, data.len());
    assert!(header.size <= MAX_REQUEST_BYTES);
    assert!(Request::parse(&data[..data.len() - 1]).is_err(), "a byte less");
    assert!(Request::parse(&[data, &[0]].concat()).is_err(), "a byte more");
    match request {
        Request::GetBlocks(get_blocks) => blocks(&get_blocks, &header, numbers(data)),
        Request::Other(message) => assert_eq!(message, header.message),
        Request::Negotiation => {
            let asked = header.message == MessageType::NegotiationRequest;
            assert!(asked || !OUR_VERSIONS.speaks(header.version));
        }
    }
}

fn blocks(request: &GetBlocks<'_>, header: &Header, (a, b): (u64, u64)) {
    assert_eq!((header.message, header.cipher), (MessageType::GetBlocks, request.cipher));
    assert!((1..=MAX_DIGEST_BYTES).contains(&request.segment.len()));
    let Some(index) = request.block else { return };

    let mut buf = [0; GET_BLOCKS_BYTES];
    let mut writer = Writer::new(&mut buf);
    GetBlocks::emit(request.segment, index, &mut writer).unwrap();
    let cipher = Some(CipherAlgorithm::Aes128);
    assert_eq!(Request::parse(writer.finish()), Ok(Request::GetBlocks(GetBlocks { cipher, ..*request })));

    let Some(segment) = SegmentId::from_slice(request.segment) else { return };
    let id = BlockId { segment, index };
    let plain_len = (a % 100) as u32 + 1;
    let algorithm =
        [CipherAlgorithm::Aes128, CipherAlgorithm::Aes192, CipherAlgorithm::Aes256][b as usize % 3];
    let seal = Seal { algorithm, iv: u128::from(b).to_le_bytes() };
    let block = vec![a as u8; algorithm.sealed_len(plain_len) as usize];
    for sealed in [Some((block.len() as u32, seal)), None] {
        let reply = BlockReply { segment: request.segment, index, next: b as u32, block: sealed };
        let block = if sealed.is_some() { block.as_slice() } else { &[] };
        let seen = read(Exchange::new(id, plain_len), &emitted(&reply, block), 7);
        assert_eq!(seen.block, block);
        assert_eq!(seen.end, sealed.map_or(End::Missing, |(_, seal)| End::Block(seal)));
    }
}

fn emitted(reply: &BlockReply<'_>, block: &[u8]) -> Vec<u8> {
    let (mut head, mut tail) = ([0; BLOCK_HEAD_BYTES], [0; BLOCK_TAIL_BYTES]);
    let mut writer = Writer::new(&mut head);
    reply.emit_head(&mut writer).unwrap();
    let head: &[u8] = writer.finish();
    let mut writer = Writer::new(&mut tail);
    reply.emit_tail(&mut writer).unwrap();
    let bytes = [head, block, writer.finish()].concat();
    assert_eq!(bytes.len(), reply.len() as usize);
    bytes
}

/// A reply is as long as it says, has a block of the length that was asked for or none, and reads
/// the same in pieces of any size. What was asked for is what it seems to answer.
pub fn retrieval_reply(data: &[u8]) {
    let (id, plain_len) = asked(data);
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
            assert_eq!(whole.begun, Some((seal.algorithm, whole.block.len() as u32)));
            assert_eq!(whole.block.len() as u32, seal.algorithm.sealed_len(plain_len));
            assert_ne!(seal.algorithm, CipherAlgorithm::None);
        }
        _ => assert!(whole.block.is_empty() && whole.begun.is_none()),
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
