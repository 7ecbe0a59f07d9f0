//! The publisher's calls of the PeerDist API, against bytes that others made (`vectors/README.md`).

use std::ops::Range;

use peerdist_core::api::operation::Outcome;
use peerdist_core::api::{
    ApiError, InfoVersions, InstanceHandle, PublicationOptions, SUPPORTED_VERSION, Tabled, UserId,
};
use peerdist_core::bytes::decode_hex;
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto, hash};
use peerdist_core::node::{ClientOnly, Config, Node};
use peerdist_core::store::ram::{Entry, Page, RamStore};
use peerdist_core::time::Instant;
use peerdist_tests::info::vector;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::Value;

type Store = RamStore<[Page; 0], [Entry; 0], Vec<u8>>;
type Publisher = Node<Store, SoftCrypto, ChaCha20Rng, 1, 1, 0, ClientOnly, Tabled<1, 1, 1, 1, 0, 4, 0>>;

/// Where ullLengthOfRange stands in version 2.0.
const RANGE_LEN: Range<usize> = 23..31;

const ID: &[u8] = b"content";

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let mut bytes = vec![0; text.len() / 2];
    decode_hex(text.as_bytes(), &mut bytes).unwrap();
    bytes
}

fn entries(folder: &str) -> Vec<Value> {
    let index: Value = serde_json::from_slice(&vector(&format!("{folder}/index.json"))).unwrap();
    let mut entries = index["vectors"].as_array().unwrap().clone();
    entries.retain(|entry| entry["status"].as_str().unwrap().starts_with("ok"));
    entries
}

fn work(node: &mut Publisher) -> Outcome {
    let now = Instant::from_millis(1_000);
    while node.poll_output(now, &mut [0; 1_400]).is_some() {}
    node.api().poll_operation().unwrap().outcome
}

fn publish(secret: &[u8], content: &[u8]) -> (Publisher, InstanceHandle) {
    let store = Store::new([], [], vec![0; 1 << 20]);
    let mut node = Publisher::new(Config::default(), store, SoftCrypto, ChaCha20Rng::from_seed([1; 32]));
    node.api().set_server_secret(secret);
    let instance = node.api().startup(SUPPORTED_VERSION, UserId(0)).unwrap();
    let len = content.len() as u64;
    let stream = node.api().publish_stream(instance, ID, len, PublicationOptions::default(), 0).unwrap();
    for piece in content.chunks(1 << 20) {
        node.api().add_to_stream(stream, piece).unwrap();
        assert_eq!(work(&mut node), Outcome::Taken(piece.len() as u32));
    }
    node.api().complete_stream(stream).unwrap();
    assert_eq!(work(&mut node), Outcome::Done);
    (node, instance)
}

fn retrieve(node: &mut Publisher, instance: InstanceHandle, offset: u64, len: u64, version: u32) -> Vec<u8> {
    let versions = InfoVersions { min: version, max: version };
    let info = node.api().open_content_information_ex(instance, ID, offset, len, versions, 0).unwrap();
    let mut bytes = Vec::new();
    loop {
        node.api().retrieve_content_information(info, 4_096).unwrap();
        let (offset, len) = match work(node) {
            Outcome::Data { offset, len } => (offset, len as usize),
            Outcome::Failed(ApiError::NoMore) => break,
            other => panic!("{other:?}"),
        };
        let start = bytes.len();
        bytes.resize(start + len, 0);
        assert_eq!(node.api().copy_content_information(info, offset, &mut bytes[start..]), Ok(len));
    }
    node.api().close_content_information(info).unwrap();
    bytes
}

#[test]
fn version_1_is_as_others_make_it() {
    let mut seen = (0, 0);
    for entry in entries("content-v1") {
        let (name, params) = (entry["file"].as_str().unwrap(), &entry["params"]);
        // Windows uses this hash, and ends a range by 0 where it can (fact 7).
        if params["hash"] != "SHA256" || name.contains("explicitlen") {
            continue;
        }
        let content: Vec<u8> =
            (0..params["size"].as_u64().unwrap()).map(|i| ((i * 7 + 3) % 251) as u8).collect();
        let (mut node, instance) = publish(&hex(&params["secret_hex"]), &content);
        let start = params["range_start"].as_u64();
        let len = params["range_length"].as_u64();
        let blob = retrieve(&mut node, instance, start.unwrap_or(0), len.unwrap_or(0), 1);
        let digest = hash(&mut SoftCrypto, HashAlgorithm::Sha256, &blob);
        assert_eq!(digest.as_bytes(), hex(&entry["sha256"]), "{name}");
        if start.is_some() { seen.1 += 1 } else { seen.0 += 1 }
    }
    assert_eq!(seen, (22, 7));
}

/// Where others cut as we do: what has no cut to offer is cut at the maximum.
#[test]
fn version_2_is_as_others_make_it() {
    let mut seen = 0;
    for entry in entries("content-v2") {
        let params = &entry["params"];
        let size = params["size"].as_u64().unwrap();
        let cuts = (0..size).step_by(131_072).map(|start| Value::from((size - start).min(131_072)));
        if params["segment_lengths"] != Value::Array(cuts.collect()) {
            continue;
        }
        let content: Vec<u8> = (0..size).map(|i| ((i * 7 + 3) % 251) as u8).collect();
        let (mut node, instance) = publish(&hex(&params["secret_hex"]), &content);
        let blob = retrieve(&mut node, instance, 0, 0, 2);
        let mut expected = vector(&format!("content-v2/{}", entry["file"].as_str().unwrap()));
        // They write the length, Windows does not (fact 7).
        assert_eq!(expected[RANGE_LEN], size.to_be_bytes());
        expected[RANGE_LEN].fill(0);
        assert_eq!(blob, expected);
        seen += 1;
    }
    assert_eq!(seen, 3);
}
