//! A hosted cache is asked which of 128 segments it has: of as many as are in a small cache, and in a great one.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use peerdist_core::bytes::Writer;
use peerdist_core::content::SegmentId;
use peerdist_core::retrieval::server::Role;
use peerdist_core::retrieval::wire::{CryptoAlgoId, GetSegmentList, PATH};
use peerdist_core::serve::{Counters, Upload};
use peerdist_core::store::Storage;
use peerdist_core::store::ram::RamStore;
use peerdist_core::store::split::Split;
use peerdist_core::time::Instant;
use peerdist_hal::file::{FileBlocks, Options};
use peerdist_tests::packs;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Segments of a request. Half of them are there.
const ASKED: usize = 128;

/// Requests that take turns, so that a great cache does not find all that is asked for at hand.
const REQUESTS: usize = 512;

fn id(number: u32) -> SegmentId {
    let mut id = [7; 32];
    id[..4].copy_from_slice(&number.to_le_bytes());
    SegmentId::from_slice(&id).expect("32 bytes")
}

/// Kept as clients offer them that tell no keys.
fn name(number: u32) -> SegmentId {
    id(number).unverifiable().expect("of 32 bytes")
}

/// A whole HTTP request for segments, drawn from twice as many as there are.
fn request(rng: &mut ChaCha8Rng, count: u32) -> Vec<u8> {
    let ids: [SegmentId; ASKED] = std::array::from_fn(|_| id(rng.next_u32() % (2 * count)));
    let mut body = [0; 8_192];
    let mut writer = Writer::new(&mut body);
    let ids = ids.iter().map(SegmentId::as_bytes);
    GetSegmentList::emit_for(&[7; 16], CryptoAlgoId(1), ids, &[], &mut writer).expect("room for 128 ids");
    let body = writer.finish();
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The reply to a request, by the server as a connection has it. How many bytes it has.
fn answer(upload: &mut Upload, store: &mut dyn Storage, request: &[u8]) -> usize {
    let (mut counters, mut room, mut len) = (Counters::default(), [0; 4_096], 0);
    assert_eq!(upload.handle(Instant::ZERO, store, None, &mut counters, false, request), request.len());
    while !upload.wants_input() {
        len += upload.poll(Instant::ZERO, store, &mut counters, &mut room).expect("a reply");
    }
    assert_eq!(counters.answered, 1);
    len
}

fn lists(c: &mut Criterion) {
    // `cargo test` runs benches too, to see that they work.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let mut group = c.benchmark_group("which of 128 segments are here");
    for count in if is_bench { [1_000, 100_000, 1_000_000] } else { [100, 500, 1_000] } {
        let directory = tempfile::tempdir().expect("a directory");
        packs::write(directory.path(), 0..count, |number| (name(number).as_bytes().to_vec(), 0))
            .expect("room");
        let options = Options::new(1 << 40);
        let blocks = FileBlocks::open(directory.path(), options, 1_700_000_000).expect("a directory");
        assert_eq!(blocks.count(), count as usize);
        let mut store = Split { blocks, infos: RamStore::new([], [], []) };
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let requests: Vec<Vec<u8>> = (0..REQUESTS).map(|_| request(&mut rng, count)).collect();
        let mut turns = requests.iter().cycle();
        let client = "10.0.0.7:49152".parse().expect("an address");
        let mut upload = Upload::new(Instant::ZERO, client, Role::HostedCache, false);
        group.bench_function(BenchmarkId::new("segments", count), |b| {
            b.iter(|| answer(&mut upload, &mut store, turns.next().expect("it has no end")));
        });
    }
    group.finish();
}

criterion_group!(benches, lists);
criterion_main!(benches);
