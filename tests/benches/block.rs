//! One block of 64 KiB on its way: out of a store, and into another.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use peerdist_core::bytes::Writer;
use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{CipherAlgorithm, HashAlgorithm, Seal, Secret, SoftCrypto, hash};
use peerdist_core::retrieval::client::{Exchange, Step};
use peerdist_core::retrieval::server::{self, Role};
use peerdist_core::retrieval::wire::{GET_BLOCKS_BYTES, GetBlocks};
use peerdist_core::store::ram::{BLOCK_PAGES, Entry, Page, RamStore};
use peerdist_core::store::seal::open_at;
use peerdist_core::store::verify::{Expected, Intake, Verifier};
use peerdist_core::store::{BlockId, Store};
use peerdist_core::time::Instant;

const BLOCK: usize = 65_536;
/// As much of a socket's buffer as is free at a time.
const ROOM: usize = 16 * 1024;

type Memory = RamStore<Vec<Page>, Vec<Entry>, [u8; 0]>;

fn memory() -> Memory {
    RamStore::new(vec![Page::EMPTY; BLOCK_PAGES], vec![Entry::EMPTY; 1], [])
}

fn block() -> BlockId {
    BlockId { segment: SegmentId::from_slice(&[7; 32]).expect("32 bytes"), index: 0 }
}

fn kp() -> Secret {
    Secret::from_slice(&[5; 32]).expect("32 bytes")
}

fn plain() -> Vec<u8> {
    (0..BLOCK).map(|i| ((i * 7 + 3) % 251) as u8).collect()
}

fn expected(plain: &[u8]) -> Expected {
    let algorithm = HashAlgorithm::Sha256;
    Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, plain), len: plain.len() as u32 }
}

/// From the origin: sealed, hashed and committed in one pass.
fn take_in(plain: &[u8], expected: Expected) -> Memory {
    let mut store = memory();
    let seal = Seal { algorithm: CipherAlgorithm::Aes128, iv: [9; 16] };
    let slot = store.reserve(&block(), seal.algorithm.sealed_len(expected.len)).expect("room for one");
    let mut intake = Intake::new(&mut SoftCrypto, slot, seal, expected);
    for piece in plain.chunks(1_460) {
        intake.update(&mut store, &mut SoftCrypto, &kp(), piece).expect("the right bytes");
    }
    store
}

/// The server's half: a request in, a whole reply out.
fn serve(store: &mut Memory, request: &[u8], out: &mut Vec<u8>) {
    let mut exchange = server::Exchange::new(Role::Peer);
    exchange.handle(Instant::ZERO, store, request);
    assert!(exchange.finish(store, false), "a proper request");
    out.clear();
    let mut room = [0; ROOM];
    while !exchange.is_empty() {
        let len = exchange.read(store, &mut room).expect("an undamaged block");
        out.extend_from_slice(&room[..len]);
    }
}

/// The client's half: a reply in, a verified and committed block in the store.
fn receive(store: &mut Memory, reply: &[u8], expected: Expected) {
    let mut exchange = Exchange::new(block(), expected.len);
    let (mut slot, mut len, mut written, mut rest) = (None, 0, 0, reply);
    while !rest.is_empty() {
        let (used, step) = exchange.handle(&rest[..rest.len().min(1_460)]);
        rest = &rest[used..];
        match step.expect("a proper reply") {
            Step::Begin { len: announced, .. } => {
                len = announced;
                slot = Some(store.reserve(&block(), len).expect("room for one"));
            }
            Step::Piece(piece) => {
                store.write(slot.expect("begun"), written, piece).expect("in range");
                written += piece.len() as u32;
            }
            Step::Block(seal) => {
                let slot = slot.expect("begun");
                let mut verifier =
                    Verifier::new(&mut SoftCrypto, slot, seal, len, expected).expect("the right length");
                let done = verifier.step(store, &mut SoftCrypto, &kp(), u32::MAX);
                assert!(done.expect("the right bytes"));
            }
            Step::More | Step::Missing | Step::Blocks | Step::Negotiation(_) => {}
        }
    }
}

fn one_block(c: &mut Criterion) {
    let plain = plain();
    let expected = expected(&plain);
    let mut store = take_in(&plain, expected);
    let mut request = [0; GET_BLOCKS_BYTES];
    let mut writer = Writer::new(&mut request);
    GetBlocks::emit_one(block().segment.as_bytes(), 0, &mut writer).expect("room for a request");
    let request = writer.finish().to_vec();
    let mut reply = Vec::new();
    serve(&mut store, &request, &mut reply);
    let stored = store.find(&block()).expect("committed");

    let mut group = c.benchmark_group("one block");
    group.throughput(Throughput::Bytes(BLOCK as u64));
    group.bench_function("take in from the origin", |b| b.iter(|| take_in(black_box(&plain), expected)));
    group.bench_function("serve", |b| {
        let mut out = Vec::with_capacity(reply.len());
        b.iter(|| serve(&mut store, black_box(&request), &mut out));
    });
    group.bench_function("receive and verify", |b| {
        b.iter_batched_ref(
            memory,
            |store| receive(store, black_box(&reply), expected),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("read", |b| {
        let mut out = vec![0; BLOCK];
        b.iter(|| open_at(&mut store, &mut SoftCrypto, &kp(), &stored, 0, black_box(&mut out)));
    });
    group.finish();
}

criterion_group!(benches, one_block);
criterion_main!(benches);
