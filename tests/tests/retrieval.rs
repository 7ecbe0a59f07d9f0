//! [MS-PCCRR] Every message of another implementation, both ways (`vectors/README-retrieval.md`).

use std::path::PathBuf;

use peerdist_core::ages::{Ages, AgesRepr};
use peerdist_core::bytes::{Writer, decode_hex};
use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{CipherAlgorithm, Crypto, HashAlgorithm, Seal, Secret, SoftCrypto, hash};
use peerdist_core::retrieval::client::{AcceptPlain, Exchange, SegmentExchange, SegmentStep, Step};
use peerdist_core::retrieval::server::{self, Role};
use peerdist_core::retrieval::set::IndexSet;
use peerdist_core::retrieval::wire::{
    Block, BlockReply, CryptoAlgoId, Malformed, Range, Ranges, Reply, Request, Version,
};
use peerdist_core::store::BlockId;
use peerdist_core::store::ram::{Entry, Page, RamStore};
use peerdist_core::time::Instant;
use serde_json::Value;

/// Files above this size are not kept, but made again.
const KEPT: u64 = 1_024;

#[test]
fn requests_both_ways() {
    let mut seen = 0;
    for (name, params, bytes) in vectors("pccrr-request", "ok") {
        let request = Request::parse(&bytes).unwrap();
        let emitted = emitted(|writer| match request {
            Request::Negotiation(range) => {
                assert_eq!((range.min, range.max), (version(&params["min"]), version(&params["max"])));
                range.emit_request(writer)
            }
            Request::GetBlockList(list) => {
                check_target(&params, list.segment, list.cipher);
                check_ranges(&params, list.ranges);
                list.emit(writer)
            }
            Request::GetBlocks(blocks) => {
                check_target(&params, blocks.segment, blocks.cipher);
                check_ranges(&params, blocks.ranges);
                assert_eq!(blocks.block().map(u64::from), params["ranges"][0][0].as_u64());
                blocks.emit(writer)
            }
            Request::GetSegmentList(list) => {
                assert_eq!(list.request_id[..], hex(&params["request_id_wire_hex"]));
                assert_eq!(u64::from(list.cipher.0), params["crypto"]);
                assert_eq!(list.blob, hex(&params["extensible_blob_hex"]));
                let ids = params["segment_ids_hex"].as_array().unwrap();
                assert_eq!(list.ids.len(), ids.len());
                assert!(list.ids.iter().eq(ids.iter().map(hex)));
                list.emit(writer)
            }
            other => panic!("{name}: {other:?}"),
        });
        assert_eq!(emitted, bytes, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 16);
}

#[test]
fn replies_both_ways() {
    let mut seen = 0;
    for (name, params, bytes) in vectors("pccrr-response", "ok") {
        let emitted = emitted(|writer| match Reply::parse(&bytes).unwrap() {
            Reply::Negotiation(range) => {
                assert_eq!((range.min, range.max), (version(&params["min"]), version(&params["max"])));
                range.emit_reply(writer)
            }
            Reply::BlockList(list) => {
                check_target(&params, list.segment, list.cipher);
                check_ranges(&params, list.ranges);
                assert_eq!(u64::from(list.next), params["next"]);
                list.emit(writer)
            }
            Reply::Block(block) => {
                let BlockReply { segment, index, next, cipher, iv, .. } = block.around;
                check_target(&params, segment, cipher);
                assert_eq!(
                    (u64::from(index), u64::from(next)),
                    (number(&params["index"]), number(&params["next"]))
                );
                assert_eq!(iv, hex_or_none(&params["iv_hex"]), "{name}");
                assert_eq!(opened(&params, &block), plaintext(&params), "{name}");
                block.emit(writer)
            }
            Reply::SegmentList(list) => {
                assert_eq!(list.request_id[..], hex(&params["request_id_wire_hex"]));
                check_ranges(&params, list.ranges);
                assert_eq!(list.blob, hex(&params["extensible_blob_hex"]));
                list.emit(writer)
            }
            other => panic!("{name}: {other:?}"),
        });
        assert_eq!(emitted, bytes, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 33);
}

#[test]
fn ages_both_ways() {
    let mut seen = 0;
    for (name, params, bytes) in vectors("pccrr-extensible-blob", "ok") {
        let ages: Vec<_> = Ages::parse(&bytes).unwrap().iter().collect();
        assert_eq!(u64::from(bytes[2]), params["units"]);
        let expected = params["ages"].as_array().unwrap().iter();
        let expected = expected.map(|age| (number(&age[0]), number(&age[1]) * 10_000));
        assert!(ages.iter().map(|(index, age)| (u64::from(*index), age.micros())).eq(expected));
        assert_eq!(emitted(|writer| AgesRepr(&ages).emit(writer)), bytes, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 1);
}

/// What a client makes of replies as they arrive is what they say.
#[test]
fn clients_read_the_replies() {
    let mut seen = 0;
    for (name, params, bytes) in vectors("pccrr-response", "ok") {
        match Reply::parse(&bytes).unwrap() {
            Reply::Block(block) => {
                let plain_len = plaintext(&params).len() as u32;
                let Some(segment) = SegmentId::from_slice(block.around.segment) else { panic!() };
                let asked = BlockId { segment, index: block.around.index };
                let mut exchange = Exchange::with_policy(asked, plain_len, AcceptPlain::Yes);
                let (mut got, mut end) = (Vec::new(), Step::More);
                for mut piece in bytes.chunks(1_009) {
                    while !piece.is_empty() {
                        let (used, step) = exchange.handle(piece);
                        match step.unwrap() {
                            Step::Piece(bytes) => got.extend_from_slice(bytes),
                            Step::Block(seal) => end = Step::Block(seal),
                            Step::Missing => end = Step::Missing,
                            _ => {}
                        }
                        piece = &piece[used..];
                    }
                }
                let algorithm = block.around.cipher.algorithm().unwrap();
                let iv = block.around.iv.try_into().unwrap_or_default();
                let whole = Step::Block(Seal { algorithm, iv });
                assert_eq!(end, if plain_len == 0 { Step::Missing } else { whole }, "{name}");
                assert!(got == block.block, "{name}");
            }
            Reply::BlockList(list) => {
                let Some(segment) = SegmentId::from_slice(list.segment) else { continue };
                let mut all = IndexSet::EMPTY;
                all.insert_range(Range { index: 0, count: 512 });
                let mut listed = IndexSet::EMPTY;
                list.ranges.iter().for_each(|range| listed.insert_range(range));
                let mut exchange = Exchange::list(segment, all);
                let mut left = &bytes[..];
                while !exchange.is_done() {
                    let (used, step) = exchange.handle(left);
                    left = &left[used..];
                    assert!([Ok(Step::More), Ok(Step::Blocks)].contains(&step));
                }
                assert!(left.is_empty() && exchange.blocks() == listed);
            }
            Reply::SegmentList(list) => {
                let (ids, mut buf) = ([SegmentId::from_slice(&[0; 32]).unwrap(); 6], [0; 512]);
                let writer = &mut Writer::new(&mut buf);
                let mut exchange = SegmentExchange::ask(*list.request_id, &ids, &[], writer).unwrap();
                let mut listed = IndexSet::EMPTY;
                list.ranges.iter().for_each(|range| listed.insert_range(range));
                let (mut left, mut ages) = (&bytes[..], Vec::new());
                while !exchange.is_done() {
                    let (used, step) = exchange.handle(left, &mut |index, age| ages.push((index, age)));
                    left = &left[used..];
                    assert!([Ok(SegmentStep::More), Ok(SegmentStep::Segments(listed))].contains(&step));
                }
                assert!(left.is_empty() && list.ages().eq(ages), "{name}");
            }
            _ => continue,
        }
        seen += 1;
    }
    assert_eq!(seen, 30);
}

/// Fact 39: nothing asked for is answered with nothing; what contradicts itself is dropped.
#[test]
fn servers_of_malformed_requests() {
    let mut seen = 0;
    for (name, _, bytes) in vectors("pccrr-request", "negative") {
        let reply = answer(&bytes);
        match (name.as_str(), reply.as_deref().map(Reply::parse)) {
            ("pccrr-getblklist-0ranges.bin", Some(Ok(Reply::BlockList(list)))) => {
                assert!(list.ranges.is_empty());
            }
            ("pccrr-getblks-count0.bin", Some(Ok(Reply::Block(block)))) => {
                assert!(block.block.is_empty() && block.around.index == 0);
            }
            (
                "pccrr-getblklist-neg-count10.bin"
                | "pccrr-getblks-neg-count10.bin"
                | "pccrr-getseglist-0.bin"
                | "pccrr-getseglist-neg-count2.bin",
                None,
            ) => assert!(Request::parse(&bytes).is_err()),
            (name, reply) => panic!("{name}: {reply:?}"),
        }
        seen += 1;
    }
    assert_eq!(seen, 6);
    for (name, _, bytes) in vectors("pccrr-request", "ok") {
        assert!(answer(&bytes).is_some_and(|reply| Reply::parse(&reply).is_ok()), "{name}");
    }
}

#[test]
fn malformed_replies_are_refused() {
    let mut seen = 0;
    for status in ["negative", "WRONG"] {
        for (name, _, bytes) in vectors("pccrr-response", status) {
            let refusal = Reply::parse(&bytes).unwrap_err();
            assert!(matches!(refusal, Malformed::Length | Malformed::Truncated), "{name}: {refusal}");
            seen += 1;
        }
    }
    assert_eq!(seen, 3);
}

/// What a hosted cache without a single block answers; `None` if it drops the request.
fn answer(request: &[u8]) -> Option<Vec<u8>> {
    let mut store = RamStore::new([Page::EMPTY], [Entry::EMPTY], [0; 0]);
    let mut exchange = server::Exchange::new(Role::HostedCache);
    request.chunks(5).for_each(|piece| exchange.handle(Instant::ZERO, &store, piece));
    if !exchange.finish(&store, false) {
        return None;
    }
    let mut bytes = vec![0; exchange.len() as usize];
    assert_eq!(exchange.read(&mut store, &mut bytes), Ok(bytes.len()));
    assert!(exchange.is_empty());
    Some(bytes)
}

fn emitted(emit: impl FnOnce(&mut Writer<'_>) -> Result<(), peerdist_core::bytes::NoRoom>) -> Vec<u8> {
    let mut buf = vec![0; 70_000];
    let mut writer = Writer::new(&mut buf);
    emit(&mut writer).unwrap();
    writer.finish().to_vec()
}

fn check_target(params: &Value, segment: &[u8], cipher: CryptoAlgoId) {
    assert_eq!(segment, hex(&params["segment_id_hex"]));
    assert_eq!(u64::from(cipher.0), params["crypto"]);
}

fn check_ranges(params: &Value, ranges: Ranges<'_>) {
    let expected = params["ranges"].as_array().unwrap();
    let expected = expected.iter().map(|range| (number(&range[0]), number(&range[1])));
    assert!(ranges.iter().map(|range| (u64::from(range.index), u64::from(range.count))).eq(expected));
}

fn plaintext(params: &Value) -> Vec<u8> {
    // "(i*7+3) mod 251, 17 bytes", or nothing where there is no block.
    let len = params["plaintext"].as_str().map_or(0, |text| {
        text.strip_prefix("(i*7+3) mod 251, ").unwrap().strip_suffix(" bytes").unwrap().parse().unwrap()
    });
    (0u64..len).map(|i| ((i * 7 + 3) % 251) as u8).collect()
}

/// The plaintext of a block, its padding checked.
fn opened(params: &Value, block: &Block<'_>) -> Vec<u8> {
    let algorithm = block.around.cipher.algorithm().unwrap();
    let mut plain = block.block.to_vec();
    if plain.is_empty() || algorithm == CipherAlgorithm::None {
        return plain;
    }
    let kp = Secret::from_slice(&hex(&params["kp_hex"])).unwrap();
    let mut chain = block.around.iv.try_into().unwrap();
    SoftCrypto.cbc_decrypt(algorithm.key(&kp).unwrap(), &mut chain, plain.as_chunks_mut().0);
    let pad = usize::from(*plain.last().unwrap());
    let len = plain.len() - pad;
    assert!(plain[len..].iter().all(|byte| usize::from(*byte) == pad) && (1..=16).contains(&pad));
    plain.truncate(len);
    plain
}

/// The message of a block that is too long to be kept here.
fn made_again(params: &Value) -> Vec<u8> {
    let (segment, mut block) = (hex(&params["segment_id_hex"]), plaintext(params));
    let algorithm = CryptoAlgoId(number(&params["crypto"]) as u32).algorithm().unwrap();
    let iv = hex_or_none(&params["iv_hex"]).try_into().unwrap_or_default();
    if algorithm != CipherAlgorithm::None {
        let pad = 16 - block.len() % 16;
        block.resize(block.len() + pad, pad as u8);
        let kp = Secret::from_slice(&hex(&params["kp_hex"])).unwrap();
        let mut chain = iv;
        SoftCrypto.cbc_encrypt(algorithm.key(&kp).unwrap(), &mut chain, block.as_chunks_mut().0);
    }
    let seal = Seal { algorithm, iv };
    let (index, next) = (number(&params["index"]) as u32, number(&params["next"]) as u32);
    let around = BlockReply::new(&segment, index, next, Some((block.len() as u32, &seal)));
    emitted(|writer| Block { around, block: &block }.emit(writer))
}

/// The entries of a kind whose status begins so: name, parameters, and bytes of the right hash.
fn vectors(kind: &str, status: &str) -> Vec<(String, Value, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let index = std::fs::read(folder.join("pccrr-index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let entries = index["vectors"].as_array().unwrap().iter();
    let chosen = entries.filter(|entry| entry["kind"] == kind);
    let chosen = chosen.filter(|entry| entry["status"].as_str().unwrap().starts_with(status));
    let vectors = chosen.map(|entry| {
        let (name, params) = (entry["file"].as_str().unwrap().to_owned(), entry["params"].clone());
        let kept = number(&entry["length"]) <= KEPT;
        let bytes = if kept { std::fs::read(folder.join(&name)).unwrap() } else { made_again(&params) };
        assert_eq!(bytes.len() as u64, entry["length"], "{name}");
        let digest = hash(&mut SoftCrypto, HashAlgorithm::Sha256, &bytes);
        assert_eq!(digest.as_bytes(), hex(&entry["sha256"]), "{name}");
        (name, params, bytes)
    });
    vectors.collect()
}

/// "1.65535", say.
fn version(value: &Value) -> Version {
    let (major, minor) = value.as_str().unwrap().split_once('.').unwrap();
    Version { major: major.parse().unwrap(), minor: minor.parse().unwrap() }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap().as_bytes();
    let mut bytes = vec![0; text.len() / 2];
    decode_hex(text, &mut bytes).unwrap();
    bytes
}

fn hex_or_none(value: &Value) -> Vec<u8> {
    if value.is_null() { Vec::new() } else { hex(value) }
}
