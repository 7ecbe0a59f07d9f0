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
use crate::node::{Config, Node, Output, Serving};
use crate::store::ram::{Entry, Page, RamStore};
use crate::time::Instant;

mod begun;
mod cancel;
mod client;
mod flush;
mod held;
mod peers;
mod publish;
mod queued;
mod retrieve;
mod status;

type Store = RamStore<Vec<Page>, Vec<Entry>, Vec<u8>>;

type NodeOf<A> = Node<Store, SoftCrypto, Xorshift, 4, 2, 0, Serving, A>;

/// Small tables, so that they can be full.
type TestNode = NodeOf<Tabled<3, 4, 4, 4, 3, 8, 400>>;

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

/// A node with room for so many bytes of content information, and so many blocks.
fn node_of<A: Installed>(info_bytes: usize, blocks: usize) -> NodeOf<A> {
    let pages = std::vec![Page::EMPTY; 16 * blocks];
    let store = RamStore::new(pages, std::vec![Entry::EMPTY; blocks], std::vec![0; info_bytes]);
    let mut node = NodeOf::<A>::new(Config::default(), store, SoftCrypto, Xorshift(1));
    node.api().set_server_secret(KEY);
    node
}

fn node_with(published: Published, info_bytes: usize) -> TestNode {
    let mut node = node_of(info_bytes, 0);
    node.api().set_published(published);
    node
}

fn node() -> TestNode {
    node_with(Published::Both, 1 << 20)
}

fn start<A: Installed>(node: &mut NodeOf<A>) -> InstanceHandle {
    node.api().startup(SUPPORTED_VERSION, USER).unwrap()
}

/// When tests happen that have no time.
const NOW: Instant = Instant::from_millis(1_000);

/// Lets the node work, and takes what has ended.
fn ended<A: Installed>(node: &mut NodeOf<A>) -> Vec<Completion> {
    let now = NOW;
    let mut buf = [0; 1_400];
    loop {
        let output = node.poll_output(now, &mut buf);
        // Nothing goes out to anybody.
        assert!(!matches!(output, Some(Output::Datagram { .. } | Output::Connect { .. })));
        if output.is_none() && node.poll_timeout(now) != Some(now) {
            break;
        }
    }
    core::iter::from_fn(|| node.api().poll_operation()).collect()
}

/// What an operation came to, where nothing else has ended.
fn outcome<A: Installed>(node: &mut NodeOf<A>, operation: Result<OperationId, ApiError>) -> Outcome {
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

/// The content information of a part, made from that of the whole.
fn part(content: &[u8], version: Version, range: core::ops::Range<u64>) -> Vec<u8> {
    use crate::content::{EndForm, Info, InfoSource};
    let whole = expected(content, version);
    let source = &whole.as_slice();
    let excerpt = Info::parse(source).unwrap().excerpt(source, range, EndForm::Zero).unwrap().unwrap();
    let mut bytes = std::vec![0; excerpt.len() as usize];
    excerpt.emit(&mut bytes.as_mut_slice()).unwrap();
    bytes
}

fn random(len: usize) -> Vec<u8> {
    let mut rng = Xorshift(9);
    core::iter::repeat_with(|| rng.next() as u8).take(len).collect()
}

std::thread_local! {
    /// How often rows of operations were looked at.
    static LOOKS: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
}

pub(super) fn count_look() {
    LOOKS.with(|looks| looks.set(looks.get() + 1));
}

/// What publishing takes where it is wanted, and where it is not.
#[test]
fn an_application_takes_as_much_as_its_tables() {
    type Without = Node<Store, SoftCrypto, Xorshift, 4, 2, 0>;
    type Stream<const N: usize> = NodeOf<Tabled<1, 1, N, 1, 1, 1, 0>>;
    let kib = |bytes: usize| bytes.div_ceil(1_024);
    assert_eq!(size_of::<Without>(), size_of::<NodeOf<NoApplication>>());
    assert!(kib(size_of::<Stream<2>>() - size_of::<Stream<1>>()) <= 2);
    let standard = kib(size_of::<NodeOf<Standard>>() - size_of::<Without>());
    assert!(standard <= 381, "{standard}");
}
