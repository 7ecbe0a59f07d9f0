//! The format of packages, and what is taken out of them: in this process.

mod format;
mod takes;

use std::io::Read;

use peerdist_core::content::publish::{v1, v2};
use peerdist_core::content::segmenter::{SegmentLen, Segmentation};
use peerdist_core::content::{EndForm, Info, InfoFault, SegmentId, server_secret};
use peerdist_core::crypto::{CipherAlgorithm, HashAlgorithm, Seal, SoftCrypto};
use peerdist_core::store::ram::{Entry, Page, RamStore};
use peerdist_core::store::verify::{Expected, Intake, VerifyError};
use peerdist_core::store::{BlockId, Store};
use peerdist_sim::package::{
    Fault, HEAD_BYTES, Head, Known, MAGIC, MAX_BLOCK_BYTES, Outcome, PackageError, Reader, TakeError, Writer,
    is_packable, take,
};

const SECRET: &[u8] = b"no more secrets";

type Block = (Head, Vec<u8>);

fn v1_of(content: &[u8]) -> &'static [u8] {
    let (algorithm, len) = (HashAlgorithm::Sha256, content.len() as u64);
    let mut info = vec![0; peerdist_core::content::v1::info_len(algorithm, len).expect("not empty") as usize];
    let ks = server_secret(&mut SoftCrypto, algorithm, SECRET);
    let mut publisher = v1::Publisher::new(algorithm, ks, len).expect("not empty");
    publisher.update(&mut SoftCrypto, content, &mut info.as_mut_slice()).expect("there is room");
    publisher.finish(&mut info.as_mut_slice()).expect("all was given");
    info.leak()
}

/// In segments of so many bytes.
fn v2_of(content: &[u8], segment: u32) -> &'static [u8] {
    let mut info = vec![0; 200 * content.len().div_ceil(segment as usize) + 200];
    let ks = server_secret(&mut SoftCrypto, HashAlgorithm::TruncatedSha512, SECRET);
    let segmentation = Segmentation::Fixed(SegmentLen::new(segment).expect("a length"));
    let mut publisher = v2::Publisher::new(ks, segmentation);
    publisher.update(&mut SoftCrypto, content, &mut info.as_mut_slice()).expect("there is room");
    let made = publisher.finish(&mut SoftCrypto, &mut info.as_mut_slice()).expect("all was given");
    info.truncate(made.encoded_len() as usize);
    info.leak()
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * 7 + at / 251) % 253) as u8).collect()
}

fn store() -> impl Store {
    RamStore::new(vec![Page::EMPTY; 1_000], vec![Entry::EMPTY; 100], [])
}

/// The blocks of a content as a cache has them, in the order of their names.
fn blocks(info: &[u8], content: &[u8], cipher: CipherAlgorithm) -> Vec<Block> {
    let (parsed, mut store) = (Info::parse(&info).expect("our own"), store());
    let (mut blocks, mut next) = (Vec::new(), Some(parsed.segment(&info, 0).expect("there is one")));
    while let Some(segment) = next {
        for index in 0..segment.block_count() {
            let id = BlockId { segment: segment.id(&mut SoftCrypto), index };
            let len = segment.block_len(index).expect("there is one");
            let hash = segment.block_hash(&info, index).expect("readable").expect("listed");
            let expected = Expected { algorithm: segment.algorithm(), hash, len };
            let slot = store.reserve(&id, cipher.sealed_len(len)).expect("room");
            let seal = Seal { algorithm: cipher, iv: std::array::from_fn(|at| at as u8) };
            let mut intake = Intake::new(&mut SoftCrypto, slot, seal, expected);
            let start = segment.offset() as usize + (index * segment.block_bytes()) as usize;
            let plain = &content[start..start + len as usize];
            intake.update(&mut store, &mut SoftCrypto, segment.secret(), plain).expect("it is right");
            let mut bytes = vec![0; cipher.sealed_len(len) as usize];
            store.read(slot, 0, &mut bytes).expect("it is there");
            blocks.push((Head { id, seal, plain_len: len }, bytes));
        }
        next = parsed.next_segment(&info, &segment).expect("readable");
    }
    blocks.sort_by_key(|(head, _)| (head.id.segment, head.id.index));
    blocks
}

fn pack(blocks: &[Block]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).expect("room");
    for (head, bytes) in blocks {
        writer.put(head, bytes).expect("in order");
    }
    let (package, len) = writer.finish().expect("room");
    assert_eq!(package.len() as u64, len);
    package
}

/// What is read before the package ends, and why it does if it should not.
fn unpack(package: impl Read) -> (Vec<Block>, Option<PackageError>) {
    let mut blocks = Vec::new();
    let mut reader = match Reader::new(package) {
        Ok(reader) => reader,
        Err(error) => return (blocks, Some(error)),
    };
    loop {
        match reader.next_record() {
            Ok(Some(record)) => blocks.push((record.head, record.bytes.to_vec())),
            Ok(None) => {
                assert!(matches!(reader.next_record(), Ok(None)));
                return (blocks, None);
            }
            Err(error) => {
                assert!(reader.next_record().is_err(), "nothing is whole after an error");
                return (blocks, Some(error));
            }
        }
    }
}

fn fault(package: &[u8]) -> (u64, Fault) {
    match unpack(package).1 {
        Some(PackageError::Damaged(offset, fault)) => (offset, fault),
        other => panic!("{other:?}"),
    }
}

/// Three blocks of 40 bytes or less.
fn small() -> (&'static [u8], Vec<Block>) {
    let content = content(100);
    let info = v2_of(&content, 40);
    let blocks = blocks(info, &content, CipherAlgorithm::Aes256);
    (info, blocks)
}
