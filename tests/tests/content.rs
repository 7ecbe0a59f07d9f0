//! [MS-PCCRC] Content information against bytes that others made (`vectors/README.md`).

use std::ops::Range;

use peerdist_core::bytes::decode_hex;
use peerdist_core::content::publish;
use peerdist_core::content::segmenter::{SegmentLen, Segmentation};
use peerdist_core::content::v1::info_len;
use peerdist_core::content::v2::wire::MAX_CHUNK_SEGMENTS;
use peerdist_core::content::{
    EndForm, Info, InfoFault, InfoSource, SEGMENT_ID_CONSTANT, Segment, Version, segment_secret,
    server_secret,
};
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto, hash};
use peerdist_tests::info::{Random, block_range, check_hod, copy, excerpt, segments, vector as file};
use serde_json::Value;

/// Contents above this size are compared by length and hash, the others byte for byte.
const SMALL: u64 = 200_000;

#[test]
fn windows_made_it() {
    let expected = json("windows/expected.json");
    let passphrase = file("windows/server_passphrase.bin");
    assert_eq!(passphrase, hex(&expected["server_passphrase"]));
    assert_eq!(SEGMENT_ID_CONSTANT[..], hex(&expected["hohodk_constant_hex"]));
    let vectors = expected["vectors"].as_array().unwrap();
    for vector in vectors {
        let blob = file(&format!("windows/{}", vector["file"].as_str().unwrap()));
        assert_eq!(blob.len() as u64, vector["length"]);
        let digest = hash(&mut SoftCrypto, HashAlgorithm::Sha256, &blob);
        assert_eq!(digest.as_bytes(), hex(&vector["sha256_of_blob"]));

        let source = &blob.as_slice();
        let info = Info::parse(source).unwrap();
        let (version, name, code) = match info.algorithm() {
            HashAlgorithm::Sha256 => ("1.0", "sha256", "0x0000800c"),
            HashAlgorithm::TruncatedSha512 => ("2.0", "sha512", "0x04"),
            other => panic!("{other:?}"),
        };
        assert_eq!((&vector["version"], &vector["hash_algo"]), (&version.into(), &name.into()));
        assert_eq!(vector["hash_algo_field"], code);
        assert_eq!(info.algorithm().digest_len() as u64, vector["digest_size"]);
        assert_eq!((info.range(), info.range()), (range_of(&vector["range"]), range_of(&vector["trim"])));
        assert_eq!(info.content_end(), 99_710);
        assert_eq!(copy(source), blob);

        let ks = server_secret(&mut SoftCrypto, info.algorithm(), &passphrase);
        assert_eq!(ks.expose(), hex(&vector["server_secret_ks"]));
        let expected = vector["segments"].as_array().unwrap();
        assert_eq!(info.segment_count() as u64, vector["segment_count"]);
        assert_eq!(info.segment_count() as usize, expected.len());
        for (segment, expected) in segments(source).iter().zip(expected) {
            let kp = segment_secret(&mut SoftCrypto, info.algorithm(), &ks, segment.hod());
            assert!(*segment.secret() == kp);
            check_windows_segment(source, segment, expected);
        }
    }
    assert_eq!(vectors.len(), 2);
}

fn check_windows_segment(source: &dyn InfoSource, segment: &Segment, expected: &Value) {
    let range = range_of(&expected["range"]);
    assert_eq!(segment.index() as u64, expected["index"]);
    assert_eq!(segment.offset()..segment.offset() + u64::from(segment.byte_len()), range);
    assert_eq!(segment.block_count() as u64, expected["block_count"]);
    assert_eq!(segment.block_bytes() as u64, expected["block_size"]);
    assert_eq!(segment.hod().as_bytes(), hex(&expected["hod"]));
    assert_eq!(check_hod(source, segment), Ok(()));
    assert_eq!(segment.secret().expose(), hex(&expected["secret_kp"]));
    let id = segment.id(&mut SoftCrypto);
    assert_eq!(id.as_bytes(), hex(&expected["id_hohodk"]));
    let upper: String = id.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(upper, expected["id_hohodk_probe_scope"]);

    let blocks = expected["blocks"].as_array().unwrap();
    assert_eq!((segment.listed_blocks(), blocks.len()), (0..segment.block_count(), blocks.len()));
    assert_eq!(segment.blocks_in_range(), segment.listed_blocks());
    for (index, block) in (0..).zip(blocks) {
        assert_eq!(index as u64, block["index"]);
        assert_eq!(block_range(segment, index), range_of(&block["range"]));
        // All of the content is described, so no block is trimmed.
        assert_eq!(block_range(segment, index), range_of(&block["trim"]));
        assert_eq!(segment.block_hash(source, index).unwrap().unwrap().as_bytes(), hex(&block["hash"]));
    }
}

#[test]
fn windows_would_make_it_again() {
    let passphrase = file("windows/server_passphrase.bin");
    for name in ["windows/iis_85_png_v1.bin", "windows/iis_85_png_v2.bin"] {
        let blob = file(name);
        let source = &blob.as_slice();
        let info = Info::parse(source).unwrap();
        let ks = server_secret(&mut SoftCrypto, info.algorithm(), &passphrase);
        let mut made = vec![0xaa; blob.len()];
        let sink = &mut made.as_mut_slice();
        match info.version() {
            Version::V1 => {
                let mut publisher = publish::v1::Publisher::new(info.algorithm(), ks, 99_710).unwrap();
                let segment = info.segment(source, 0).unwrap();
                for index in segment.listed_blocks() {
                    let hash = segment.block_hash(source, index).unwrap().unwrap();
                    let len = segment.block_len(index).unwrap();
                    publisher.push_block(&mut SoftCrypto, &hash, len, sink).unwrap();
                }
                publisher.finish(sink).unwrap();
            }
            Version::V2 => {
                let mut publisher = publish::v2::Publisher::new(ks, Segmentation::ContentDefined);
                for segment in segments(source) {
                    let len = segment.byte_len();
                    publisher.push_segment(&mut SoftCrypto, segment.hod(), len, sink).unwrap();
                }
                publisher.finish(&mut SoftCrypto, sink).unwrap();
            }
        }
        assert_eq!(made, blob, "{name}");
    }
}

#[test]
fn small_contents_byte_for_byte() {
    let mut seen = [0; 4];
    for entry in entries("ok").filter(|entry| entry.range.is_none() && entry.size <= SMALL) {
        let (content, expected) = (content(entry.size), file(&entry.path));
        assert_eq!(publish(&entry, &content, &mut |left| left), expected, "{}", entry.path);
        assert_eq!(publish_hashes(&entry, &content), expected, "{}", entry.path);
        check(&entry, &expected);
        seen[entry.algorithm as usize] += 1;
    }
    assert_eq!(seen, [18, 14, 14, 6]);
}

#[test]
fn large_contents_by_their_hash() {
    let mut seen = [0; 4];
    let all = content(64 << 20);
    for entry in entries("ok").filter(|entry| entry.range.is_none() && entry.size > SMALL) {
        let made = publish(&entry, &all[..entry.size as usize], &mut |_| 1 << 20);
        check(&entry, &made);
        seen[entry.algorithm as usize] += 1;
    }
    assert_eq!(seen, [6, 4, 4, 1]);
}

#[test]
fn ranges_are_parts_of_the_whole() {
    let mut seen = [0; 4];
    for entry in entries("ok") {
        let Some(range) = entry.range.clone() else { continue };
        let whole = publish(&entry, &content(entry.size), &mut |left| left);
        check(&entry, &excerpt(&whole.as_slice(), &range, entry.form));
        seen[entry.algorithm as usize] += 1;
    }
    assert_eq!(seen, [7, 0, 0, 2]);
}

/// Each of them is one of the three kinds above.
#[test]
fn no_entry_is_left_out() {
    assert_eq!(entries("ok").count(), 52 + 15 + 9);
    assert_eq!(["SUSPECT", "WRONG", ""].map(|status| entries(status).count()), [15, 15, 106]);
}

/// The literal reading of 2.3.1.2, which leaves out the blocks before the range too (fact 9).
#[test]
fn ranges_without_their_leading_blocks() {
    let mut seen = 0;
    for entry in entries("SUSPECT") {
        let Some(range) = entry.range.clone() else { continue };
        let blob = file(&entry.path);
        let source = &blob.as_slice();
        assert_eq!(Info::parse(source).unwrap().range(), range);
        assert_eq!(copy(source), blob);
        let content = content(entry.size);
        for segment in segments(source) {
            assert_eq!(segment.listed_blocks(), segment.blocks_in_range());
            check_blocks(source, &segment, &content);
            if segment.index() == 0 {
                assert_eq!(check_hod(source, &segment), Err(InfoFault::PartialList));
            }
        }
        // A part of the part is right too, though nothing of it starts with block 0.
        let narrow = excerpt(source, &(range.end - 1..range.end), EndForm::Explicit);
        let source = &narrow.as_slice();
        check_blocks(source, &segments(source)[0], &content);
        seen += 1;
    }
    assert_eq!(seen, 4);
}

/// Where the server secret was hashed with another algorithm than the rest (fact 3), only the secrets
/// are other than ours.
#[test]
fn ks_of_another_algorithm() {
    let mut seen = 0;
    for entry in entries("SUSPECT").filter(|entry| entry.range.is_none() && entry.size > 0) {
        let theirs = file(&entry.path);
        let ours = publish(&entry, &content(entry.size), &mut |left| left);
        assert_ne!(theirs, ours, "{}", entry.path);
        let (theirs, ours) = (&theirs.as_slice(), &ours.as_slice());
        assert_eq!(Info::parse(theirs), Info::parse(ours));
        let ks = server_secret(&mut SoftCrypto, HashAlgorithm::Sha256, &entry.secret);
        for (theirs, ours) in segments(theirs).iter().zip(segments(ours)) {
            assert_eq!(theirs.hod(), ours.hod());
            assert!(*theirs.secret() == segment_secret(&mut SoftCrypto, entry.algorithm, &ks, ours.hod()));
        }
        seen += 1;
    }
    assert_eq!(seen, 8);
}

#[test]
fn malformed_on_purpose() {
    // SEGMENT_INFO_MESSAGE of MS-PCHC 2.2.1.4: content information follows 32 bytes of other fields.
    let refusal = |name: &str| {
        let message = file(&format!("pchc-segment-info-neg-{name}.bin"));
        let error = Info::parse(&&message[32..]).unwrap_err();
        (error.field, error.reason)
    };
    assert_eq!(refusal("version"), ("Version", InfoFault::Unsupported(0xfefe)));
    assert_eq!(refusal("hashalgo"), ("dwHashAlgo", InfoFault::Unsupported(0xfefe)));
    assert_eq!(refusal("nosegments"), ("cSegments", InfoFault::Truncated));
    assert_eq!(refusal("twosegments"), ("cBlocks", InfoFault::BlockCount(2)));
}

#[test]
fn malformed_by_mistake() {
    let refusals = |status| {
        entries(status).map(|entry| Info::parse(&file(&entry.path).as_slice()).map_err(|error| error.field))
    };
    // One hash for each segment, whatever it has.
    let wrong: Vec<_> = refusals("WRONG").collect();
    assert_eq!(wrong, [const { Err("cBlocks") }; 15]);
    // No segments.
    let empty: Vec<_> = refusals("SUSPECT: reference output for empty content").collect();
    assert_eq!(empty, [const { Err("cSegments") }; 3]);
}

#[test]
fn every_chunking_publishes_the_same() {
    let mut random = Random(0x5eed_0001);
    let mut seen = 0;
    for entry in entries("ok").filter(|entry| entry.range.is_none() && entry.size <= SMALL) {
        let (content, expected) = (content(entry.size), file(&entry.path));
        for _ in 0..4 {
            let most = 1 + random.below(100_000);
            assert_eq!(publish(&entry, &content, &mut |_| random.below(most + 1)), expected);
        }
        if matches!(entry.algorithm, HashAlgorithm::Sha256 | HashAlgorithm::TruncatedSha512) {
            assert_eq!(publish(&entry, &content, &mut |_| 1), expected);
        }
        seen += 1;
    }
    assert_eq!(seen, 52);
}

struct Entry {
    path: String,
    sha256: Vec<u8>,
    len: usize,
    algorithm: HashAlgorithm,
    size: u64,
    secret: Vec<u8>,
    /// Unless it is all of the content.
    range: Option<Range<u64>>,
    form: EndForm,
    /// Bytes of each segment, and segments of a chunk, in version 2.0.
    lengths: Vec<u32>,
    chunk: u32,
    segments: Vec<Value>,
}

/// The entries of both indices whose status begins with `status`.
fn entries(status: &str) -> impl Iterator<Item = Entry> {
    ["content-v1", "content-v2"].into_iter().flat_map(move |folder| {
        let mut index = json(&format!("{folder}/index.json"));
        let Value::Array(mut entries) = index["vectors"].take() else { panic!("{folder} has a list") };
        entries.retain(|entry| entry["status"].as_str().unwrap().starts_with(status));
        entries.into_iter().map(move |entry| Entry::new(folder, &entry))
    })
}

impl Entry {
    fn new(folder: &str, entry: &Value) -> Self {
        let (name, params) = (entry["file"].as_str().unwrap(), &entry["params"]);
        let size = params["size"].as_u64().unwrap();
        let range = params["range_start"].as_u64().map(|start| {
            let len = params["range_length"].as_u64().unwrap();
            start..start + len
        });
        let algorithm = match params["hash"].as_str() {
            Some("SHA256") => HashAlgorithm::Sha256,
            Some("SHA384") => HashAlgorithm::Sha384,
            Some("SHA512") => HashAlgorithm::Sha512,
            None => HashAlgorithm::TruncatedSha512,
            Some(other) => panic!("{other}"),
        };
        // Fact 7.
        let explicit = match algorithm {
            HashAlgorithm::TruncatedSha512 => !name.contains("lenzero"),
            _ => name.contains("explicitlen"),
        };
        let lengths = match &params["segment_lengths"] {
            Value::Array(lengths) => lengths.iter().map(|len| len.as_u64().unwrap() as u32).collect(),
            Value::String(text) => {
                assert_eq!(text, "131072 each, last shorter");
                (0..size).step_by(131_072).map(|start| (size - start).min(131_072) as u32).collect()
            }
            _ => Vec::new(),
        };
        Self {
            path: format!("{folder}/{name}"),
            sha256: hex(&entry["sha256"]),
            len: entry["length"].as_u64().unwrap() as usize,
            algorithm,
            size,
            secret: hex(&params["secret_hex"]),
            range: range.filter(|range| *range != (0..size)),
            form: if explicit { EndForm::Explicit } else { EndForm::Zero },
            lengths,
            chunk: params["segments_per_chunk"].as_u64().map_or(MAX_CHUNK_SEGMENTS, |n| n as u32),
            segments: params["segments"].as_array().cloned().unwrap_or_default(),
        }
    }

    /// The length that segments of version 2.0 have, if they all have one, but for the last.
    fn uniform(&self) -> Option<SegmentLen> {
        let (last, others) = self.lengths.split_last()?;
        let len = *others.first().unwrap_or(last);
        (others.iter().all(|&other| other == len) && *last <= len).then(|| SegmentLen::new(len))?
    }

    fn publisher_v1(&self) -> (publish::v1::Publisher, Vec<u8>) {
        let ks = server_secret(&mut SoftCrypto, self.algorithm, &self.secret);
        // The whole of which a range is taken ends as Windows writes it.
        let form = if self.range.is_some() { EndForm::Zero } else { self.form };
        let publisher = publish::v1::Publisher::with_end_form(self.algorithm, ks, self.size, form);
        let len = info_len(self.algorithm, self.size).unwrap();
        (publisher.unwrap(), vec![0xaa; len as usize])
    }

    fn publisher_v2(&self) -> (publish::v2::Publisher, Vec<u8>) {
        let ks = server_secret(&mut SoftCrypto, self.algorithm, &self.secret);
        let segmentation = self.uniform().map_or(Segmentation::ContentDefined, Segmentation::Fixed);
        let chunks = self.lengths.len().div_ceil(self.chunk as usize);
        (
            publish::v2::Publisher::with_layout(ks, segmentation, self.form, self.chunk),
            vec![0xaa; 31 + 5 * chunks + 68 * self.lengths.len()],
        )
    }
}

/// The content information of `content`, given in pieces as long as `piece_len` says; from hashes
/// where the cuts follow no rule.
fn publish(entry: &Entry, content: &[u8], piece_len: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
    let mut rest = content;
    let mut next_piece = || {
        let (now, later) = rest.split_at(piece_len(rest.len()).min(rest.len()));
        rest = later;
        (now, later.len() as u64)
    };
    if entry.algorithm != HashAlgorithm::TruncatedSha512 {
        let (mut publisher, mut made) = entry.publisher_v1();
        let sink = &mut made.as_mut_slice();
        while publisher.missing() > 0 {
            let (piece, left) = next_piece();
            publisher.update(&mut SoftCrypto, piece, sink).unwrap();
            assert_eq!(publisher.missing(), left);
        }
        publisher.finish(sink).unwrap();
        return made;
    }
    if entry.uniform().is_none() {
        return publish_hashes(entry, content);
    }
    let (mut publisher, mut made) = entry.publisher_v2();
    let sink = &mut made.as_mut_slice();
    loop {
        let (piece, left) = next_piece();
        publisher.update(&mut SoftCrypto, piece, sink).unwrap();
        if left == 0 {
            break;
        }
    }
    publisher.finish(&mut SoftCrypto, sink).unwrap();
    made
}

/// The same from the hashes of blocks or segments.
fn publish_hashes(entry: &Entry, content: &[u8]) -> Vec<u8> {
    let digest = |block: &[u8]| hash(&mut SoftCrypto, entry.algorithm, block);
    if entry.algorithm != HashAlgorithm::TruncatedSha512 {
        let (mut publisher, mut made) = entry.publisher_v1();
        let sink = &mut made.as_mut_slice();
        for block in content.chunks(65_536) {
            publisher.push_block(&mut SoftCrypto, &digest(block), block.len() as u32, sink).unwrap();
        }
        publisher.finish(sink).unwrap();
        return made;
    }
    let (mut publisher, mut made) = entry.publisher_v2();
    let sink = &mut made.as_mut_slice();
    let mut rest = content;
    for &len in &entry.lengths {
        let (segment, later) = rest.split_at(len as usize);
        publisher.push_segment(&mut SoftCrypto, &digest(segment), len, sink).unwrap();
        rest = later;
    }
    assert!(rest.is_empty());
    publisher.finish(&mut SoftCrypto, sink).unwrap();
    made
}

/// Holds `blob` against what the index says of it and of its segments, and against its copy.
fn check(entry: &Entry, blob: &[u8]) {
    assert_eq!(blob.len(), entry.len, "{}", entry.path);
    let digest = hash(&mut SoftCrypto, HashAlgorithm::Sha256, blob);
    assert_eq!(digest.as_bytes(), entry.sha256, "{}", entry.path);

    let source = &blob;
    assert_eq!(copy(source), blob);
    let segments = segments(source);
    assert!(entry.segments.is_empty() || entry.segments.len() == segments.len());
    for (segment, expected) in segments.iter().zip(&entry.segments) {
        assert_eq!(segment.offset(), expected["offset"].as_u64().unwrap());
        assert_eq!(u64::from(segment.byte_len()), expected["length"].as_u64().unwrap());
        // Version 2.0 has no lists of blocks.
        let listed = expected["blocks"].as_u64().unwrap_or(1);
        assert_eq!(segment.listed_blocks(), 0..listed as u32);
        assert_eq!(segment.hod().as_bytes(), hex(&expected["hod"]));
        assert_eq!(segment.secret().expose(), hex(&expected["kp"]));
        assert_eq!(segment.id(&mut SoftCrypto).as_bytes(), hex(&expected["segment_id"]));
        let full = segment.listed_blocks() == (0..segment.block_count());
        assert_eq!(check_hod(source, segment), if full { Ok(()) } else { Err(InfoFault::PartialList) });
    }
}

fn check_blocks(source: &dyn InfoSource, segment: &Segment, content: &[u8]) {
    for index in segment.listed_blocks() {
        let bytes = block_range(segment, index);
        let digest =
            hash(&mut SoftCrypto, HashAlgorithm::Sha256, &content[bytes.start as usize..bytes.end as usize]);
        assert_eq!(segment.block_hash(source, index), Ok(Some(digest)));
    }
}

fn content(len: u64) -> Vec<u8> {
    (0..len).map(|i| ((i * 7 + 3) % 251) as u8).collect()
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&file(path)).unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let mut out = vec![0; text.len() / 2];
    assert!(decode_hex(text.as_bytes(), &mut out).is_some());
    out
}

fn range_of(value: &Value) -> Range<u64> {
    value["start"].as_u64().unwrap()..value["end"].as_u64().unwrap()
}
