//! The API as an application uses it, on a whole node. The tests that the reference wants are here by
//! number and name; what is C's alone, such as pointers that are NULL, is tested there.

extern crate std;

use std::vec::Vec;

use super::operation::{Completion, OperationId, Outcome};
use super::*;
use crate::content::publish::{v1, v2};
use crate::content::segmenter::Segmentation;
use crate::content::{Version, server_secret, v1::info_len};
use crate::crypto::{HashAlgorithm, SoftCrypto};
use crate::node::{ClientOnly, Config, Node};
use crate::store::ram::{Entry, Page, RamStore};
use crate::time::Instant;

mod cancel;
mod publish;
mod retrieve;
mod status;

type Store = RamStore<[Page; 0], [Entry; 0], Vec<u8>>;

/// Small tables, so that they can be full.
type TestNode = Node<Store, SoftCrypto, Xorshift, 2, 1, 0, ClientOnly, Tabled<3, 4, 4, 4, 8>>;

const USER: UserId = UserId(7);
const KEY: &[u8] = b"no more secrets";

/// Predictable, and never twice the same.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }
}

impl rand_core::TryRng for Xorshift {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.next() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.fill_with(|| self.next() as u8);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Xorshift {}

fn node_with(published: Published, info_bytes: usize) -> TestNode {
    let store = RamStore::new([], [], std::vec![0; info_bytes]);
    let mut node = TestNode::new(Config::default(), store, SoftCrypto, Xorshift(1));
    node.api().set_published(published);
    node.api().set_server_secret(KEY);
    node
}

fn node() -> TestNode {
    node_with(Published::Both, 1 << 20)
}

fn start(node: &mut TestNode) -> InstanceHandle {
    node.api().startup(SUPPORTED_VERSION, USER).unwrap()
}

/// Lets the node work, and takes what has ended.
fn ended(node: &mut TestNode) -> Vec<Completion> {
    let now = Instant::from_millis(1_000);
    while node.poll_output(now, &mut [0; 1_400]).is_some() {}
    assert_ne!(node.poll_timeout(now), Some(now), "all is done");
    let completions: Vec<Completion> = core::iter::from_fn(|| node.api().poll_operation()).collect();
    completions
}

/// What an operation came to, where nothing else has ended.
fn outcome(node: &mut TestNode, operation: Result<OperationId, ApiError>) -> Outcome {
    let operation = operation.unwrap();
    let [completion] = ended(node)[..] else { panic!("one operation") };
    assert_eq!(completion.operation, operation);
    completion.outcome
}

fn open(
    node: &mut TestNode,
    instance: InstanceHandle,
    id: &[u8],
    len: u64,
) -> Result<StreamHandle, ApiError> {
    node.api().publish_stream(instance, id, len, PublicationOptions::default(), 0)
}

fn add(node: &mut TestNode, stream: StreamHandle, bytes: &[u8]) -> Outcome {
    let operation = node.api().add_to_stream(stream, bytes);
    outcome(node, operation)
}

fn complete(node: &mut TestNode, stream: StreamHandle) -> Outcome {
    let operation = node.api().complete_stream(stream);
    outcome(node, operation)
}

/// Publishes `content`, in pieces of that length.
fn publish(node: &mut TestNode, instance: InstanceHandle, id: &[u8], content: &[u8], piece: usize) {
    let stream = open(node, instance, id, 0).unwrap();
    for bytes in content.chunks(piece) {
        assert_eq!(add(node, stream, bytes), Outcome::Taken(bytes.len() as u32));
    }
    assert_eq!(complete(node, stream), Outcome::Done);
    node.api().close_stream(stream).unwrap();
}

/// All that can be retrieved, `max` bytes at a time.
fn retrieve_all(node: &mut TestNode, info: InfoHandle, max: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let operation = node.api().retrieve_content_information(info, max);
        match outcome(node, operation) {
            Outcome::Data { offset, len } => {
                assert_eq!(offset, bytes.len() as u64);
                assert!((1..=max).contains(&len));
                let mut piece = std::vec![0; len as usize];
                let copied = node.api().copy_content_information(info, offset, &mut piece);
                assert_eq!(copied, Ok(piece.len()));
                bytes.append(&mut piece);
            }
            Outcome::Failed(ApiError::NoMore) => return bytes,
            other => panic!("{other:?}"),
        }
    }
}

/// The content information of a part of what is published, in the version that is asked for.
fn info_of(
    node: &mut TestNode,
    instance: InstanceHandle,
    id: &[u8],
    (offset, len): (u64, u64),
    version: u32,
) -> Result<Vec<u8>, ApiError> {
    let versions = InfoVersions { min: version, max: version };
    let info = node.api().open_content_information_ex(instance, id, offset, len, versions, 0)?;
    let bytes = retrieve_all(node, info, 1 << 20);
    node.api().close_content_information(info).unwrap();
    Ok(bytes)
}

/// What the publishers make of a content in one go: the oracle.
fn expected(content: &[u8], version: Version) -> Vec<u8> {
    let crypto = &mut SoftCrypto;
    match version {
        Version::V1 => {
            let algorithm = HashAlgorithm::Sha256;
            let ks = server_secret(crypto, algorithm, KEY);
            let len = content.len() as u64;
            let mut bytes = std::vec![0; info_len(algorithm, len).unwrap() as usize];
            let sink = &mut bytes.as_mut_slice();
            let mut publisher = v1::Publisher::new(algorithm, ks, len).unwrap();
            publisher.update(crypto, content, sink).unwrap();
            publisher.finish(sink).unwrap();
            bytes
        }
        Version::V2 => {
            let ks = server_secret(crypto, HashAlgorithm::TruncatedSha512, KEY);
            let mut bytes = std::vec![0; 36 + 68 * content.len().div_ceil(32_768)];
            let sink = &mut bytes.as_mut_slice();
            let mut publisher = v2::Publisher::new(ks, Segmentation::ContentDefined);
            publisher.update(crypto, content, sink).unwrap();
            let info = publisher.finish(crypto, sink).unwrap();
            bytes.truncate(info.encoded_len() as usize);
            bytes
        }
    }
}

fn random(len: usize) -> Vec<u8> {
    let mut rng = Xorshift(9);
    core::iter::repeat_with(|| rng.next() as u8).take(len).collect()
}

/// What publishing takes where it is wanted, and where it is not.
#[test]
fn an_application_takes_as_much_as_its_tables() {
    type Without = Node<Store, SoftCrypto, Xorshift, 2, 1, 0, ClientOnly>;
    type With<A> = Node<Store, SoftCrypto, Xorshift, 2, 1, 0, ClientOnly, A>;
    type Stream<const N: usize> = With<Tabled<1, 1, N, 1, 1>>;
    let kib = |bytes: usize| bytes.div_ceil(1_024);
    assert_eq!(size_of::<Without>(), size_of::<With<NoApplication>>());
    assert!(kib(size_of::<Stream<2>>() - size_of::<Stream<1>>()) <= 2);
    assert!(kib(size_of::<With<Standard>>() - size_of::<Without>()) <= 81);
}
