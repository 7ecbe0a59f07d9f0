//! How fast content is hashed: each algorithm alone, a whole publication, and the cuts of version 2.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerdist_core::content::publish::v1::Publisher;
use peerdist_core::content::segmenter::{Segmentation, Segmenter};
use peerdist_core::content::server_secret;
use peerdist_core::content::v1::info_len;
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto, hash};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

const BLOCK: usize = 65_536;
const CONTENT: usize = 8 << 20;

fn digests(c: &mut Criterion) {
    let block = vec![0x5a; BLOCK];
    let mut group = c.benchmark_group("digest of a block");
    group.throughput(Throughput::Bytes(BLOCK as u64));
    for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
        group.bench_function(BenchmarkId::from_parameter(format!("{algorithm:?}")), |b| {
            b.iter(|| hash(&mut SoftCrypto, algorithm, black_box(&block)));
        });
    }
    group.finish();
}

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
    let mut content = vec![0; CONTENT];
    ChaCha20Rng::seed_from_u64(1).fill_bytes(&mut content);
    let mut group = c.benchmark_group("segmenter");
    group.throughput(Throughput::Bytes(CONTENT as u64));
    for piece in [1_400, 65_536] {
        group.bench_function(BenchmarkId::new("content-defined", piece), |b| {
            b.iter(|| segments(&content, piece));
        });
    }
    group.finish();
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

criterion_group!(benches, digests, publications, cuts);
criterion_main!(benches);
