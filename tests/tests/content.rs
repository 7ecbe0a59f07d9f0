//! [MS-PCCRC] Content information 1.0 against bytes that others made (`vectors/README.md`).

use std::ops::Range;
use std::path::PathBuf;

use peerdist_core::bytes::decode_hex;
use peerdist_core::content::publish::v1::Publisher;
use peerdist_core::content::v1::{Info, info_len};
use peerdist_core::content::{
    self, EndForm, HodCheck, InfoFault, InfoSource, Progress, Segment, segment_secret, server_secret,
};
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto, hash};
use serde_json::Value;

const ALGORITHMS: [HashAlgorithm; 3] = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];

/// Entries above this size are compared by length and hash, the others byte for byte.
const SMALL: u64 = 200_000;

#[test]
fn windows_made_it() {
    let blob = file("windows/iis_85_png_v1.bin");
    let expected = json("windows/expected.json");
    let ks = server_secret(&mut SoftCrypto, HashAlgorithm::Sha256, &file("windows/server_passphrase.bin"));
    let vector = &expected["vectors"][0];
    assert_eq!(ks.expose(), hex(&vector["server_secret_ks"]));

    let source = &blob.as_slice();
    let info = Info::parse(source).unwrap();
    assert_eq!(info.algorithm(), HashAlgorithm::Sha256);
    assert_eq!(info.range(), range_of(&vector["range"]));
    assert_eq!(info.content_end(), 99_710);
    assert_eq!(emit(&blob), blob);

    let expected = &vector["segments"][0];
    assert_eq!(info.segment_count(), 1);
    let segment = info.segment(source, 0).unwrap();
    assert_eq!(segment.hod().as_bytes(), hex(&expected["hod"]));
    assert_eq!(segment.secret().expose(), hex(&expected["secret_kp"]));
    assert!(*segment.secret() == segment_secret(&mut SoftCrypto, info.algorithm(), &ks, segment.hod()));
    assert_eq!(segment.id(&mut SoftCrypto).as_bytes(), hex(&expected["id_hohodk"]));
    assert_eq!(check_hod(source, &segment), Ok(()));

    let blocks = expected["blocks"].as_array().unwrap();
    assert_eq!((segment.listed_blocks(), blocks.len()), (0..2, 2));
    for (index, block) in (0..).zip(blocks) {
        let range = range_of(&block["range"]);
        assert_eq!(u64::from(segment.block_len(index).unwrap()), range.end - range.start);
        assert_eq!(segment.block_hash(source, index).unwrap().unwrap().as_bytes(), hex(&block["hash"]));
    }
}

#[test]
fn windows_would_make_it_again() {
    let blob = file("windows/iis_85_png_v1.bin");
    let source = &blob.as_slice();
    let segment = Info::parse(source).unwrap().segment(source, 0).unwrap();
    let ks = server_secret(&mut SoftCrypto, HashAlgorithm::Sha256, &file("windows/server_passphrase.bin"));
    let mut publisher = Publisher::new(HashAlgorithm::Sha256, ks, 99_710).unwrap();
    let mut made = vec![0; blob.len()];
    let sink = &mut made.as_mut_slice();
    for index in segment.listed_blocks() {
        let hash = segment.block_hash(source, index).unwrap().unwrap();
        publisher.push_block(&mut SoftCrypto, &hash, segment.block_len(index).unwrap(), sink).unwrap();
    }
    publisher.finish(sink).unwrap();
    assert_eq!(made, blob);
}

#[test]
fn small_contents_byte_for_byte() {
    let mut seen = [0; 3];
    for entry in entries("ok").filter(|entry| entry.range.is_none() && entry.size <= SMALL) {
        let expected = file(&entry.path);
        let made = publish(&entry, &content(entry.size), &mut |left| left);
        assert_eq!(made, expected, "{}", entry.path);
        assert_eq!(emit(&expected), expected, "{}", entry.path);
        check_segments(&entry, &made);
        seen[position(entry.algorithm)] += 1;
    }
    assert_eq!(seen, [18, 14, 14]);
}

#[test]
fn large_contents_by_their_hash() {
    let mut seen = [0; 3];
    let all = content(64 << 20);
    for entry in entries("ok").filter(|entry| entry.range.is_none() && entry.size > SMALL) {
        let made = publish(&entry, &all[..entry.size as usize], &mut |_| 1 << 20);
        assert_is(&entry, &made);
        assert_is(&entry, &emit(&made));
        check_segments(&entry, &made);
        seen[position(entry.algorithm)] += 1;
    }
    assert_eq!(seen, [6, 4, 4]);
}

#[test]
fn ranges_are_parts_of_the_whole() {
    let mut seen = 0;
    for entry in entries("ok") {
        let Some(range) = entry.range.clone() else { continue };
        let whole = publish(&entry, &content(entry.size), &mut |left| left);
        let source = &whole.as_slice();
        let excerpt = Info::parse(source).unwrap().excerpt(source, range.clone(), EndForm::Zero).unwrap();
        let mut part = vec![0; excerpt.len() as usize];
        excerpt.emit(&mut part.as_mut_slice()).unwrap();
        assert_is(&entry, &part);
        let info = Info::parse(&part.as_slice()).unwrap();
        assert_eq!((info.range(), &content::Info::V1(info)), (range, excerpt.info()), "{}", entry.path);
        check_segments(&entry, &part);
        seen += 1;
    }
    assert_eq!(seen, 7);
}

/// The literal reading of 2.3.1.2, which leaves out the blocks before the range too (fact 9).
#[test]
fn ranges_without_their_leading_blocks() {
    let mut seen = 0;
    for entry in entries("SUSPECT") {
        let Some(range) = entry.range.clone() else { continue };
        let blob = file(&entry.path);
        let source = &blob.as_slice();
        let info = Info::parse(source).unwrap();
        assert_eq!(info.range(), range);
        assert_eq!(emit(&blob), blob);
        let content = content(entry.size);
        for index in 0..info.segment_count() {
            let segment = info.segment(source, index).unwrap();
            assert_eq!(segment.listed_blocks(), segment.blocks_in_range());
            check_blocks(source, &segment, &content);
            if index == 0 {
                assert_eq!(check_hod(source, &segment), Err(InfoFault::PartialList));
            }
        }
        // A part of the part is right too, though nothing of it starts with block 0.
        let narrow = range.end - 1..range.end;
        let excerpt = info.excerpt(source, narrow.clone(), EndForm::Explicit).unwrap();
        let segment = Info::parse(&excerpt).unwrap().segment(&excerpt, 0).unwrap();
        assert_eq!(Info::parse(&excerpt).unwrap().range(), narrow);
        check_blocks(&excerpt, &segment, &content);
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[test]
fn malformed_on_purpose_or_by_mistake() {
    let refusal = |name: &str| {
        let error = Info::parse(&file(&format!("content-v1/{name}")).as_slice()).unwrap_err();
        (error.field, error.reason)
    };
    assert_eq!(refusal("pccrc-v1-rawgen-sha256-0.bin"), ("cSegments", InfoFault::OutOfRange(0)));
    assert_eq!(refusal("pccrc-v1-rawgen-sha256-200000.bin").0, "cBlocks");
    assert_eq!(refusal("pccrc-v1-rawgen-sha256-33624432.bin").0, "cBlocks");
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
        if entry.algorithm == HashAlgorithm::Sha256 {
            assert_eq!(publish(&entry, &content, &mut |_| 1), expected);
        }
        assert_eq!(publish_blocks(&entry, &content), expected);
        seen += 1;
    }
    assert_eq!(seen, 46);
}

#[test]
fn every_cut_is_refused() {
    let mut seen = 0;
    for blob in valid_blobs() {
        assert!(Info::parse(&blob.as_slice()).is_ok());
        for len in 0..blob.len() {
            let error = Info::parse(&&blob[..len]).unwrap_err();
            assert_eq!(error.reason, InfoFault::Truncated, "{len} of {}: {error}", blob.len());
        }
        let mut longer = blob.clone();
        longer.push(0);
        assert_eq!(Info::parse(&longer.as_slice()).unwrap_err().reason, InfoFault::Trailing);
        seen += 1;
    }
    assert_eq!(seen, 56);
}

#[test]
fn flipped_bits_never_panic() {
    let (mut accepted, mut refused) = (0, 0);
    for mut blob in valid_blobs() {
        for bit in 0..blob.len() * 8 {
            blob[bit / 8] ^= 1 << (bit % 8);
            if use_everything(&blob) {
                accepted += 1
            } else {
                refused += 1
            }
            blob[bit / 8] ^= 1 << (bit % 8);
        }
    }
    assert!(accepted > 0 && refused > 0);
}

#[test]
fn many_flipped_bits_never_panic() {
    let mut random = Random(0x5eed_0002);
    let blobs: Vec<_> = valid_blobs().collect();
    for _ in 0..20_000 {
        let mut blob = blobs[random.below(blobs.len())].clone();
        for _ in 0..1 + random.below(8) {
            // Mostly where the structure is; a hash may be anything.
            let at = random.below(blob.len().min(110));
            blob[at] = random.below(256) as u8;
        }
        blob.truncate(blob.len() - random.below(2) * random.below(40));
        use_everything(&blob);
    }
}

struct Entry {
    path: String,
    sha256: Vec<u8>,
    len: usize,
    algorithm: HashAlgorithm,
    size: u64,
    secret: Vec<u8>,
    range: Option<Range<u64>>,
    form: EndForm,
    segments: Vec<Value>,
}

/// The index's entries whose status begins with `status`.
fn entries(status: &str) -> impl Iterator<Item = Entry> {
    let index = json("content-v1/index.json");
    let entries: Vec<Value> = index["vectors"].as_array().unwrap().clone();
    entries.into_iter().filter(move |entry| entry["status"].as_str().unwrap().starts_with(status)).map(
        |entry| {
            let name = entry["file"].as_str().unwrap();
            let params = &entry["params"];
            let range = params["range_start"].as_u64().map(|start| {
                let len = params["range_length"].as_u64().unwrap();
                start..start + len
            });
            Entry {
                path: format!("content-v1/{name}"),
                sha256: hex(&entry["sha256"]),
                len: entry["length"].as_u64().unwrap() as usize,
                algorithm: match params["hash"].as_str().unwrap() {
                    "SHA256" => HashAlgorithm::Sha256,
                    "SHA384" => HashAlgorithm::Sha384,
                    "SHA512" => HashAlgorithm::Sha512,
                    other => panic!("{other}"),
                },
                size: params["size"].as_u64().unwrap(),
                secret: hex(&params["secret_hex"]),
                range,
                form: if name.contains("explicitlen") { EndForm::Explicit } else { EndForm::Zero },
                segments: params["segments"].as_array().cloned().unwrap_or_default(),
            }
        },
    )
}

/// The content information of `content`, given in pieces as long as `piece_len` says.
fn publish(entry: &Entry, content: &[u8], piece_len: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
    let (mut publisher, mut made) = begin(entry, content);
    let sink = &mut made.as_mut_slice();
    let mut rest = content;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece_len(rest.len()).min(rest.len()));
        publisher.update(&mut SoftCrypto, now, sink).unwrap();
        rest = later;
        assert_eq!(publisher.missing(), rest.len() as u64);
    }
    publisher.finish(sink).unwrap();
    made
}

/// The same from the hashes of blocks.
fn publish_blocks(entry: &Entry, content: &[u8]) -> Vec<u8> {
    let (mut publisher, mut made) = begin(entry, content);
    let sink = &mut made.as_mut_slice();
    for block in content.chunks(65_536) {
        let digest = hash(&mut SoftCrypto, entry.algorithm, block);
        publisher.push_block(&mut SoftCrypto, &digest, block.len() as u32, sink).unwrap();
    }
    publisher.finish(sink).unwrap();
    made
}

fn begin(entry: &Entry, content: &[u8]) -> (Publisher, Vec<u8>) {
    let len = content.len() as u64;
    let ks = server_secret(&mut SoftCrypto, entry.algorithm, &entry.secret);
    let publisher = Publisher::with_end_form(entry.algorithm, ks, len, entry.form).unwrap();
    (publisher, vec![0xaa; info_len(entry.algorithm, len).unwrap() as usize])
}

fn emit(blob: &[u8]) -> Vec<u8> {
    let mut out = vec![0xaa; blob.len()];
    let whole = Info::parse(&blob).unwrap();
    whole.whole(&blob).emit(&mut out.as_mut_slice()).unwrap();
    out
}

fn assert_is(entry: &Entry, bytes: &[u8]) {
    assert_eq!(bytes.len(), entry.len, "{}", entry.path);
    let digest = hash(&mut SoftCrypto, HashAlgorithm::Sha256, bytes);
    assert_eq!(digest.as_bytes(), entry.sha256, "{}", entry.path);
}

/// Holds the segments of `blob` against what the index says of them.
fn check_segments(entry: &Entry, blob: &[u8]) {
    let source = &blob;
    let info = Info::parse(source).unwrap();
    for (index, expected) in (0..).zip(&entry.segments) {
        let segment = info.segment(source, index).unwrap();
        assert_eq!(segment.offset(), expected["offset"].as_u64().unwrap());
        assert_eq!(u64::from(segment.byte_len()), expected["length"].as_u64().unwrap());
        assert_eq!(u64::from(segment.listed_blocks().end), expected["blocks"].as_u64().unwrap());
        assert_eq!(segment.hod().as_bytes(), hex(&expected["hod"]));
        assert_eq!(segment.secret().expose(), hex(&expected["kp"]));
        assert_eq!(segment.id(&mut SoftCrypto).as_bytes(), hex(&expected["segment_id"]));
        let full = segment.listed_blocks() == (0..segment.block_count());
        assert_eq!(check_hod(source, &segment), if full { Ok(()) } else { Err(InfoFault::PartialList) });
    }
    assert!(entry.segments.is_empty() || entry.segments.len() as u32 == info.segment_count());
}

fn check_blocks(source: &dyn InfoSource, segment: &Segment, content: &[u8]) {
    for index in segment.listed_blocks() {
        let start = segment.offset() as usize + index as usize * 65_536;
        let block = &content[start..][..segment.block_len(index).unwrap() as usize];
        let digest = hash(&mut SoftCrypto, HashAlgorithm::Sha256, block);
        assert_eq!(segment.block_hash(source, index), Ok(Some(digest)));
    }
}

fn check_hod(source: &dyn InfoSource, segment: &Segment) -> Result<(), InfoFault> {
    let mut check = HodCheck::new(&mut SoftCrypto, segment).map_err(|error| error.reason)?;
    while check.step(source, &mut SoftCrypto, 3).map_err(|error| error.reason)? == Progress::More {}
    Ok(())
}

/// Asks `blob` everything, and tells whether it parses. What parses can be emitted unchanged.
fn use_everything(blob: &[u8]) -> bool {
    let source = &blob;
    let info = match Info::parse(source) {
        Ok(info) => info,
        Err(error) => {
            assert!(error.to_string().starts_with(error.field));
            return false;
        }
    };
    assert_eq!(emit(blob), blob);
    let range = info.range();
    assert!(range.start < range.end && range.end <= info.content_end());
    for offset in [0, range.start, range.end - 1, info.content_end(), u64::MAX] {
        let Some(index) = info.segment_at(offset) else { continue };
        let segment = info.segment(source, index).unwrap();
        let in_segment = (offset - segment.offset()) as u32;
        assert!(in_segment < segment.byte_len());
        assert!(segment.block_len(in_segment / 65_536).is_some());
    }
    for index in 0..info.segment_count() {
        let segment = info.segment(source, index).unwrap();
        segment.id(&mut SoftCrypto);
        let _ = check_hod(source, &segment);
        let (listed, in_range) = (segment.listed_blocks(), segment.blocks_in_range());
        assert!(listed.start <= in_range.start && in_range.end <= listed.end && !in_range.is_empty());
        for block in 0..=segment.block_count() {
            let hash = segment.block_hash(source, block).unwrap();
            assert_eq!(hash.is_some(), listed.contains(&block));
        }
    }
    let last_byte = range.end - 1..range.end;
    assert!(Info::parse(&info.excerpt(source, last_byte, EndForm::Zero).unwrap()).is_ok());
    true
}

/// All kept blobs that parse.
fn valid_blobs() -> impl Iterator<Item = Vec<u8>> {
    entries("ok")
        .chain(entries("SUSPECT").filter(|entry| entry.range.is_some()))
        .filter(|entry| entry.len <= 1_024)
        .map(|entry| file(&entry.path))
        .chain([file("windows/iis_85_png_v1.bin")])
}

fn position(algorithm: HashAlgorithm) -> usize {
    ALGORITHMS.iter().position(|&other| other == algorithm).unwrap()
}

fn content(len: u64) -> Vec<u8> {
    (0..len).map(|i| ((i * 7 + 3) % 251) as u8).collect()
}

fn file(path: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
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

/// The generator splitmix64: a seed always draws the same numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
