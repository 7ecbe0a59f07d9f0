//! How fast content is hashed: each algorithm alone, with each provider, a whole publication, and the
//! cuts of version 2.

use std::hint::black_box;
use std::io;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerdist_core::content::publish::v1::Publisher;
use peerdist_core::content::segmenter::{SegmentLen, Segmentation, Segmenter};
use peerdist_core::content::server_secret;
use peerdist_core::content::v1::info_len;
use peerdist_core::crypto::{Crypto, Digest, HashAlgorithm, SoftCrypto};
use peerdist_core::limits::HASH_BATCH;
use peerdist_sim::crypto::FastCrypto;
use peerdist_sim::hashing::cores;
use peerdist_sim::publish::{Layout, Order};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

const BLOCK: usize = 65_536;
const CONTENT: usize = 8 << 20;
const ALGORITHMS: [HashAlgorithm; 4] =
    [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512, HashAlgorithm::TruncatedSha512];

/// On one core.
fn digests(c: &mut Criterion) {
    let blocks = vec![0x5a; HASH_BATCH * BLOCK];
    let blocks: Vec<&[u8]> = blocks.chunks(BLOCK).collect();
    let mut group = c.benchmark_group("digests of blocks");
    group.throughput(Throughput::Bytes((HASH_BATCH * BLOCK) as u64)).sample_size(20);
    let mut digests = [Digest::EMPTY; HASH_BATCH];
    for algorithm in ALGORITHMS {
        group.bench_function(BenchmarkId::new("software", format!("{algorithm:?}")), |b| {
            b.iter(|| SoftCrypto.hash_many(algorithm, black_box(&blocks), &mut digests));
        });
        group.bench_function(BenchmarkId::new("host", format!("{algorithm:?}")), |b| {
            b.iter(|| FastCrypto.hash_many(algorithm, black_box(&blocks), &mut digests));
        });
    }
    group.finish();
}

/// As core does it, in pieces as they come from a network or a disk.
fn publications(c: &mut Criterion) {
    let content = vec![0x5a; CONTENT];
    let mut group = c.benchmark_group("publish content information 1.0");
    group.throughput(Throughput::Bytes(CONTENT as u64)).sample_size(20);
    for chunk in [1_400, 65_536] {
        group.bench_function(BenchmarkId::new("chunk", chunk), |b| b.iter(|| publish(&content, chunk)));
    }
    group.finish();
}

fn publish(content: &[u8], chunk: usize) -> Vec<u8> {
    let algorithm = HashAlgorithm::Sha256;
    let len = content.len() as u64;
    let mut info = vec![0; info_len(algorithm, len).expect("it is not empty") as usize];
    let ks = server_secret(&mut SoftCrypto, algorithm, b"no more secrets");
    let mut publisher = Publisher::new(algorithm, ks, len).expect("it is not empty");
    let sink = &mut info.as_mut_slice();
    for piece in content.chunks(chunk) {
        publisher.update(&mut SoftCrypto, piece, sink).expect("the sink has room");
    }
    publisher.finish(sink).expect("all is there");
    info
}

fn cuts(c: &mut Criterion) {
    let content = random_content();
    let mut group = c.benchmark_group("segmenter");
    group.throughput(Throughput::Bytes(CONTENT as u64));
    for piece in [1_400, 65_536] {
        group.bench_function(BenchmarkId::new("content-defined", piece), |b| {
            b.iter(|| segments(&content, piece));
        });
    }
    group.finish();
}

/// As a host does it, with all its cores.
fn host_publications(c: &mut Criterion) {
    let content = random_content();
    let fixed = Segmentation::Fixed(SegmentLen::new(BLOCK as u32).expect("a length"));
    let mut group = c.benchmark_group("publish with all cores");
    group.throughput(Throughput::Bytes(CONTENT as u64)).sample_size(20);
    for (name, layout) in [
        ("1.0", Layout::V1(HashAlgorithm::Sha256)),
        ("2.0 fixed", Layout::V2(fixed)),
        ("2.0 content-defined", Layout::V2(Segmentation::ContentDefined)),
    ] {
        let mut info = vec![0; 64 * 1_024];
        group.bench_function(name, |b| {
            b.iter(|| {
                let order = Order { layout, key: b"no more secrets", workers: cores(), watch: &mut |_| {} };
                let (mut content, sink) = (io::Cursor::new(&content), &mut info.as_mut_slice());
                peerdist_sim::publish::publish(&mut content, Some(CONTENT as u64), order, sink)
                    .expect("the sink has room")
            });
        });
    }
    group.finish();
}

/// No place to cut is like another: a constant would be cut at the maximum alone.
fn random_content() -> Vec<u8> {
    let mut content = vec![0; CONTENT];
    ChaCha20Rng::seed_from_u64(1).fill_bytes(&mut content);
    content
}

fn segments(content: &[u8], piece: usize) -> usize {
    let mut segmenter = Segmenter::new(Segmentation::ContentDefined);
    let mut count = 0;
    for mut rest in content.chunks(piece) {
        while let Some(n) = segmenter.push(rest) {
            count += 1;
            rest = &rest[n..];
        }
    }
    count
}

criterion_group!(benches, digests, publications, host_publications, cuts);
criterion_main!(benches);
