//! `peerdist inspect` and `peerdist verify`, from outside.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use peerdist_core::content::publish::{v1, v2};
use peerdist_core::content::segmenter::{SegmentLen, Segmentation};
use peerdist_core::content::{EndForm, Info, InfoSink, InfoUnwritable, emit_empty, server_secret};
use peerdist_core::crypto::{HashAlgorithm, Secret, SoftCrypto};
use serde_json::{Value, json};
use tempfile::TempDir;

const V1: HashAlgorithm = HashAlgorithm::Sha256;
const V2: HashAlgorithm = HashAlgorithm::TruncatedSha512;
const SECRET: &str = "correct horse";

/// A folder with a content and what describes it.
struct Folder {
    folder: TempDir,
    content: Vec<u8>,
}

/// Content information that grows as it is written.
#[derive(Default)]
struct Growing(Vec<u8>);

impl InfoSink for Growing {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), InfoUnwritable> {
        let end = offset as usize + bytes.len();
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        self.0[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }
}

impl Folder {
    /// `content` holds this many bytes, none like those 251 before.
    fn new(len: usize) -> Self {
        let content: Vec<u8> = (0..len).map(|n| (n % 251) as u8 ^ (n / 251) as u8).collect();
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("content"), &content).expect("a writable folder");
        Self { folder, content }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a writable folder");
    }

    /// Writes `info`, of version 1.0, and returns it.
    fn publish_v1(&self, algorithm: HashAlgorithm) -> Vec<u8> {
        let mut sink = Growing::default();
        match v1::Publisher::new(algorithm, ks(algorithm), self.content.len() as u64) {
            Ok(mut publisher) => {
                publisher.update(&mut SoftCrypto, &self.content, &mut sink).expect("as announced");
                publisher.finish(&mut sink).expect("complete");
            }
            Err(_) => _ = emit_empty(algorithm, &mut sink).expect("it grows"),
        }
        self.write("info", &sink.0);
        sink.0
    }

    /// Writes `info`, of version 2.0, with segments of 50,000 bytes and three of them in a chunk.
    fn publish_v2(&self) -> Vec<u8> {
        self.publish_v2_with(50_000)
    }

    /// The same with segments of `len` bytes.
    fn publish_v2_with(&self, len: u32) -> Vec<u8> {
        let mut sink = Growing::default();
        let fixed = Segmentation::Fixed(SegmentLen::new(len).expect("a length"));
        let mut publisher = v2::Publisher::with_layout(ks(V2), fixed, EndForm::Zero, 3);
        if self.content.is_empty() {
            emit_empty(V2, &mut sink).expect("it grows");
        } else {
            publisher.update(&mut SoftCrypto, &self.content, &mut sink).expect("it grows");
            publisher.finish(&mut SoftCrypto, &mut sink).expect("it grows");
        }
        self.write("info", &sink.0);
        sink.0
    }

    /// Writes `info` anew for a part of the range of this one.
    fn excerpt(&self, whole: &[u8], range: std::ops::Range<u64>) -> Vec<u8> {
        let info = Info::parse(&whole).expect("valid");
        let mut sink = Growing::default();
        let excerpt = info.excerpt(&whole, range, EndForm::Zero).expect("readable").expect("in the range");
        excerpt.emit(&mut sink).expect("it grows");
        self.write("info", &sink.0);
        sink.0
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::cargo_bin("peerdist").expect("the binary is built");
        command.args(args).current_dir(self.folder.path()).output().expect("it can be started")
    }

    /// The exit code, and the lines of `verify info content` with more arguments.
    fn verify(&self, args: &[&str]) -> (i32, Vec<String>) {
        let output = self.run(&[&["verify", "info", "content"], args].concat());
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        (output.status.code().expect("an exit code"), text.lines().map(Into::into).collect())
    }

    /// Expects that `verify` finds all the same, and says so.
    fn verified(&self, args: &[&str], line: &str) {
        self.verified_lines(args, &[line]);
    }

    fn verified_lines(&self, args: &[&str], lines: &[&str]) {
        assert_eq!(self.verify(args), (0, lines.iter().map(ToString::to_string).collect()));
    }

    /// Expects that `verify` finds these differences.
    fn differs(&self, args: &[&str], lines: &[&str]) {
        let (code, found) = self.verify(args);
        let (last, found) = found.split_last().expect("lines");
        assert_eq!((code, found), (1, &lines.iter().map(ToString::to_string).collect::<Vec<_>>()[..]));
        assert!(last.starts_with("compared: "), "{last}");
    }

    fn inspect_json(&self, args: &[&str]) -> (i32, Value) {
        let output = self.run(&[&["inspect", "--json"], args].concat());
        let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
        });
        (output.status.code().expect("an exit code"), value)
    }

    /// Expects a refusal, and returns its line.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let line = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {line}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(line.starts_with("peerdist: ") && line.lines().count() == 1, "{args:?}: {line}");
        line
    }
}

fn ks(algorithm: HashAlgorithm) -> Secret {
    let key: Vec<u8> = SECRET.encode_utf16().flat_map(u16::to_le_bytes).collect();
    server_secret(&mut SoftCrypto, algorithm, &key)
}

fn vectors(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The secrets of the segments, in hexadecimal.
fn secrets(blob: &[u8]) -> Vec<String> {
    let info = Info::parse(&blob).expect("valid");
    let segments = 0..info.segment_count();
    segments.map(|n| hex(info.segment(&blob, n).expect("readable").secret().expose())).collect()
}

#[test]
fn what_windows_made() {
    let folder = Folder::new(0);
    let expected = fs::read(vectors("windows/expected.json")).expect("it is kept");
    let expected: Value = serde_json::from_slice(&expected).expect("JSON");
    let made = expected["vectors"].as_array().expect("a list");
    assert_eq!(made.len(), 2);
    for vector in made {
        let path = vectors("windows").join(vector["file"].as_str().expect("a name"));
        let (code, hidden) = folder.inspect_json(&[path.to_str().expect("UTF-8")]);
        assert_eq!(code, 0);
        let (_, shown) = folder.inspect_json(&[path.to_str().expect("UTF-8"), "--show-secrets"]);
        assert_eq!(shown["version"], vector["version"]);
        assert_eq!(shown["encoded_length"], vector["length"]);
        assert_eq!(shown["range"], vector["trim"]);
        assert_eq!(shown["content_end"], vector["range"]["end"]);
        assert_eq!(shown["hod_mismatches"], 0);
        let expected = vector["segments"].as_array().expect("a list");
        let segments = shown["segments"].as_array().expect("a list");
        assert_eq!(
            (segments.len(), json!(segments.len())),
            (expected.len(), vector["segment_count"].clone())
        );
        for (n, (segment, expected)) in segments.iter().zip(expected).enumerate() {
            for field in ["index", "range", "block_count", "block_size", "hod", "secret_kp", "id_hohodk"] {
                assert_eq!(segment[field], expected[field], "{field}");
            }
            assert!(hidden["segments"][n]["secret_kp"].is_null());
            let blocks = segment["blocks"].as_array().expect("a list");
            let expected = expected["blocks"].as_array().expect("a list");
            assert_eq!(blocks.len(), expected.len());
            for (block, expected) in blocks.iter().zip(expected) {
                for (field, name) in
                    [("index", "index"), ("range", "range"), ("in_range", "trim"), ("hash", "hash")]
                {
                    assert_eq!(block[field], expected[name], "{field}");
                }
            }
        }
    }
}

#[test]
fn fields_of_the_header() {
    let folder = Folder::new(200_000);
    let whole = folder.publish_v1(V1);
    folder.excerpt(&whole, 70_000..70_010);
    let (code, value) = folder.inspect_json(&["info"]);
    assert_eq!(code, 0);
    assert_eq!(
        value["header"],
        json!({
            "Version": 256, "dwHashAlgo": 0x800c, "dwOffsetInFirstSegment": 70_000,
            "dwReadBytesInLastSegment": 10, "cSegments": 1
        })
    );
    assert_eq!(value["range"], json!({"start": 70_000, "end": 70_010}));
    let segment = &value["segments"][0];
    assert_eq!(segment["hod_check"], "partial_list");
    assert_eq!(segment["in_range"], value["range"]);
    assert_eq!(segment["blocks_in_range"], json!({"start": 1, "end": 2}));
    assert_eq!(value["chunks"], Value::Null);

    let whole = folder.publish_v2();
    let (_, value) = folder.inspect_json(&["info"]);
    let chunk = |first, count| {
        json!({
            "bChunkType": 0, "dwChunkDataLength": 68 * count, "first_segment": first, "segment_count": count
        })
    };
    assert_eq!(value["chunks"], json!([chunk(0, 3), chunk(3, 1)]));
    folder.excerpt(&whole, 120_000..150_001);
    let (_, value) = folder.inspect_json(&["info"]);
    assert_eq!(
        value["header"],
        json!({
            "bMinorVersion": 0, "bMajorVersion": 2, "bHashAlgo": 4, "ullStartInContent": 100_000,
            "ullIndexOfFirstSegment": 2, "dwOffsetInFirstSegment": 20_000, "ullLengthOfRange": 30_001
        })
    );
    assert_eq!(value["segments"][1]["in_range"], json!({"start": 150_000, "end": 150_001}));
}

#[test]
fn text_fits_80_columns() {
    let folder = Folder::new(200_000);
    for blob in [folder.publish_v1(V1), folder.publish_v2()] {
        folder.write("info", &blob);
        let text = folder.run(&["inspect", "info"]).stdout;
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("32 bytes, not shown"), "{text}");
    }
    folder.publish_v1(V1);
    let text = folder.run(&["inspect", "info"]).stdout;
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(text.contains("matches the block hashes"), "{text}");
    assert!(text.contains("cBlocks                   4: blocks 0-3 of 4"), "{text}");
}

#[test]
fn secrets_are_shown_on_demand_only() {
    let folder = Folder::new(200_000);
    for (blob, algorithm) in [(folder.publish_v1(V1), V1), (folder.publish_v2(), V2)] {
        folder.write("info", &blob);
        let secrets = secrets(&blob);
        let key = hex(ks(algorithm).expose());
        let has = |output: &Output, text: &str| {
            let all = [&output.stdout[..], &output.stderr].concat();
            String::from_utf8(all).expect("UTF-8").to_lowercase().contains(text)
        };
        for args in [
            &["inspect", "info"][..],
            &["inspect", "info", "--json"],
            &["verify", "info", "content", "--secret", SECRET],
            &["verify", "info", "content", "--secret", SECRET, "--json"],
            &["verify", "info", "info", "--secret", "else"],
        ] {
            let output = folder.run(args);
            for secret in secrets.iter().chain([&key]) {
                assert!(!has(&output, secret), "{args:?}");
            }
            assert!(!has(&output, SECRET), "{args:?}");
        }
        for args in
            [&["inspect", "info", "--show-secrets"][..], &["inspect", "info", "--show-secrets", "--json"]]
        {
            let output = folder.run(args);
            assert!(secrets.iter().all(|secret| has(&output, secret)), "{args:?}");
        }
    }
}

#[test]
fn block_hashes_that_are_not_those_of_the_hod() {
    let folder = Folder::new(65_537);
    let mut blob = folder.publish_v1(V1);
    let hod = 18 + 16;
    blob[hod] ^= 1;
    folder.write("info", &blob);
    let (code, value) = folder.inspect_json(&["info"]);
    assert_eq!((code, &value["hod_mismatches"]), (1, &json!(1)));
    assert_eq!(value["segments"][0]["hod_check"], "mismatch");
    let output = folder.run(&["inspect", "info"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("DOES NOT MATCH"));
    folder.differs(&[], &["segment 0: the block hashes are those of content, but not those of the HoD"]);
}

#[test]
fn the_same() {
    for len in [1, 65_535, 65_536, 65_537, 3 << 20] {
        let folder = Folder::new(len);
        let (blocks, segments) = (len.div_ceil(65_536), len.div_ceil(50_000));
        let count = |number, noun| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
        let (end, blocks) = (len, count(blocks, "block"));
        for algorithm in [V1, HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
            folder.publish_v1(algorithm);
            folder.verified(&[], &format!("verified: bytes 0-{end}, 1 segment, {blocks}"));
        }
        folder.publish_v2();
        let counts = format!("{}, {}", count(segments, "segment"), count(segments, "block"));
        let line = format!("verified: bytes 0-{end}, {counts}");
        folder.verified(&["--part"], &line);
        folder.verified(&["--secret", SECRET], &format!("{line}, and every Kp follows from the secret"));
    }
}

#[test]
fn empty_content() {
    let folder = Folder::new(0);
    for (blob, version) in [(folder.publish_v1(V1), "1.0"), (folder.publish_v2(), "2.0")] {
        folder.write("info", &blob);
        folder.verified(&[], "verified: no bytes, 0 segments, 0 blocks");
        let (code, value) = folder.inspect_json(&["info"]);
        assert_eq!((code, &value["version"], &value["range"]), (0, &json!(version), &Value::Null));
        assert_eq!(value["segments"], json!([]));
        let text = folder.run(&["inspect", "info"]).stdout;
        assert!(String::from_utf8(text).expect("UTF-8").contains("none: this stands for empty content"));
        folder.write("content", b"x");
        folder.differs(&[], &["content goes on at byte 0, where the content information ends"]);
        folder.write("content", b"");
    }
}

#[test]
fn each_block_in_turn() {
    let folder = Folder::new(200_001);
    folder.publish_v1(V1);
    for (block, start) in (0..200_001).step_by(65_536).enumerate() {
        let end = (start + 65_536).min(200_001);
        for offset in [start, end - 1] {
            let mut content = folder.content.clone();
            content[offset] ^= 0x80;
            folder.write("content", &content);
            folder.differs(&[], &[&format!("segment 0, block {block} differs: bytes {start}-{end}")]);
        }
    }
    folder.publish_v2();
    for (segment, start) in (0..200_001).step_by(50_000).enumerate() {
        let end = (start + 50_000).min(200_001);
        for offset in [start, end - 1] {
            let mut content = folder.content.clone();
            content[offset] ^= 1;
            folder.write("content", &content);
            folder.differs(&[], &[&format!("segment {segment} differs: bytes {start}-{end}")]);
        }
    }
}

#[test]
fn several_segments_of_version_one() {
    let segment = 32 << 20;
    let folder = Folder::new(segment + 70_000);
    let whole = folder.publish_v1(V1);
    let end = segment + 70_000;
    let line = format!("verified: bytes 0-{end}, 2 segments, 514 blocks");
    folder.verified(&["--secret", SECRET], &format!("{line}, and every Kp follows from the secret"));
    let mut content = folder.content.clone();
    content[segment - 1] ^= 1;
    content[end - 1] ^= 1;
    folder.write("content", &content);
    folder.differs(
        &[],
        &[
            "segment 0, block 511 differs: bytes 33488896-33554432",
            "segment 1, block 1 differs: bytes 33619968-33624432",
        ],
    );
    // What describes the second segment alone is silent about the first, and lists one block of two.
    folder.excerpt(&whole, segment as u64..segment as u64 + 10);
    folder.differs(&[], &["segment 0 differs in a block whose hash is not listed: bytes 33619968-33624432"]);
    content[end - 1] ^= 1;
    folder.write("content", &content);
    folder.verified(&[], &format!("verified: bytes {segment}-{end}, 1 segment, 2 blocks"));
}

#[test]
fn more_than_is_read_at_once() {
    let folder = Folder::new(20_000_001);
    folder.publish_v2();
    folder.verified(&[], "verified: bytes 0-20000001, 401 segments, 401 blocks");
    let mut content = folder.content.clone();
    // On both sides of where the first 8 MiB end, and at the very end.
    for offset in [8_349_999, 8_350_000, 8_399_999, 8_400_000, 20_000_000] {
        content[offset] ^= 1;
    }
    folder.write("content", &content);
    let lines = [
        "segment 166 differs: bytes 8300000-8350000",
        "segment 167 differs: bytes 8350000-8400000",
        "segment 168 differs: bytes 8400000-8450000",
        "segment 400 differs: bytes 20000000-20000001",
    ];
    folder.differs(&[], &lines);
    folder.write("content", &folder.content[..17_000_000]);
    let line = "content ends at byte 17000000: bytes 17000000-20000001 are missing, from segment 340 on";
    folder.differs(&[], &[line]);

    let folder = Folder::new(10_000);
    folder.publish_v2_with(1);
    folder.verified(&[], "verified: bytes 0-10000, 10000 segments, 10000 blocks");
    let mut content = folder.content.clone();
    content[4_096] ^= 1;
    folder.write("content", &content);
    folder.differs(&[], &["segment 4096 differs: bytes 4096-4097"]);
}

#[test]
fn blocks_whose_hashes_are_left_out() {
    // Content information that others made, with the hash of block 1 alone.
    let mut folder = Folder::new(200_000);
    folder.content = (0..200_000_u32).map(|n| ((n * 7 + 3) % 251) as u8).collect();
    let info = vectors("content-v1/pccrc-v1-sha256-200000-range-70000-10-intersectonly.bin");
    fs::copy(info, folder.path("info")).expect("it is kept");
    folder.write("content", &folder.content);
    folder.verified(&[], "verified: bytes 0-200000, 1 segment, 4 blocks");
    for offset in [0, 65_535, 131_072, 199_999] {
        let mut content = folder.content.clone();
        content[offset] ^= 1;
        folder.write("content", &content);
        let (code, value) = verify_json(&folder, &[]);
        assert_eq!((code, &value["differences"]), (1, &json!(1)), "{offset}");
        let expected = json!([{
            "kind": "unlisted_block", "segment": 0,
            "ranges": [{"start": 0, "end": 65_536}, {"start": 131_072, "end": 200_000}]
        }]);
        assert_eq!(value["listed"], expected);
    }
    folder.differs(
        &[],
        &["segment 0 differs in a block whose hash is not listed: bytes 0-65536 or bytes 131072-200000"],
    );
    let mut content = folder.content.clone();
    content[70_000] ^= 1;
    folder.write("content", &content);
    folder.differs(&[], &["segment 0, block 1 differs: bytes 65536-131072"]);
    // What the range needs is there, but the HoD is of more.
    folder.write("content", &folder.content[..131_072]);
    folder.verified_lines(
        &[],
        &[
            "HoD not checked of 1 segment, which content does not have whole",
            "verified: bytes 65536-131072, 1 segment, 1 block",
        ],
    );
}

#[test]
fn too_short() {
    let folder = Folder::new(200_000);
    let whole = folder.publish_v1(V1);
    for (len, line) in [
        (0, "content ends at byte 0: bytes 0-200000 are missing, from block 0 of segment 0 on"),
        (65_536, "content ends at byte 65536: bytes 65536-200000 are missing, from block 1 of segment 0 on"),
        (
            199_999,
            "content ends at byte 199999: bytes 199999-200000 are missing, from block 3 of segment 0 on",
        ),
    ] {
        folder.write("content", &folder.content[..len]);
        let (code, lines) = folder.verify(&[]);
        assert_eq!((code, lines[0].as_str()), (1, line));
        let (_, value) = verify_json(&folder, &[]);
        assert_eq!((&value["same"], &value["differences"]), (&json!(false), &json!(1)));
    }
    // A range ends with its last block.
    folder.excerpt(&whole, 70_000..140_000);
    folder.write("content", &folder.content[..100]);
    folder.differs(
        &[],
        &["content ends at byte 100: bytes 65536-196608 are missing, from block 1 of segment 0 on"],
    );

    let whole = folder.publish_v2();
    folder.write("content", &folder.content[..150_001]);
    folder.differs(&[], &["content ends at byte 150001: bytes 150001-200000 are missing, from segment 3 on"]);
    folder.excerpt(&whole, 50_000..99_000);
    folder.verified(&[], "verified: bytes 50000-100000, 1 segment, 1 block");
}

#[test]
fn too_long() {
    let folder = Folder::new(200_000);
    let longer = [&folder.content[..], b"x"].concat();
    for whole in [folder.publish_v1(V1), folder.publish_v2()] {
        folder.write("info", &whole);
        folder.write("content", &longer);
        folder.differs(&[], &["content goes on at byte 200000, where the content information ends"]);
        let (code, _) = folder.verify(&["--part"]);
        assert_eq!(code, 0);
        // Parts, as anybody can see.
        for range in [1..200_000, 0..199_999] {
            folder.excerpt(&whole, range);
            assert_eq!(folder.verify(&[]).0, 0);
        }
    }
}

#[test]
fn a_secret_that_is_not_the_servers() {
    let folder = Folder::new(120_000);
    folder.publish_v2();
    let lines = [0, 1, 2].map(|n| format!("Kp of segment {n} does not follow from this secret"));
    folder.differs(&["--secret", "correct hors"], &lines.each_ref().map(String::as_str));
    let (_, value) = verify_json(&folder, &["--secret-hex", "00"]);
    assert_eq!((&value["differences"], &value["secret_checked"]), (&json!(3), &json!(true)));
    folder.publish_v1(V1);
    folder.differs(&["--secret", "x"], &["Kp of segment 0 does not follow from this secret"]);
    let key: Vec<u8> = SECRET.encode_utf16().flat_map(u16::to_le_bytes).collect();
    folder.write("key", &key);
    for args in [["--key", "key"], ["--secret-hex", &hex(&key)]] {
        assert_eq!(folder.verify(&args).0, 0);
    }
    // The secret is wrong even where the file is missing.
    folder.publish_v2();
    folder.write("content", b"");
    let (code, lines) = folder.verify(&["--secret", "x"]);
    assert_eq!((code, lines.len()), (1, 5), "{lines:?}");
}

#[test]
fn many_differences_are_counted() {
    let folder = Folder::new(120 * 65_536);
    folder.publish_v1(V1);
    folder.write("content", &vec![0xee; 120 * 65_536]);
    let (code, lines) = folder.verify(&[]);
    assert_eq!((code, lines.len()), (1, 102));
    assert_eq!(lines[99], "segment 0, block 99 differs: bytes 6488064-6553600");
    assert_eq!(lines[100], "… and 20 more differences");
    assert_eq!(lines[101], "compared: bytes 0-7864320, 1 segment, 120 blocks: 120 differences");
    let (_, value) = verify_json(&folder, &[]);
    assert_eq!(value["listed"].as_array().map(Vec::len), Some(100));
}

#[test]
fn either_may_be_stdin() {
    let folder = Folder::new(200_000);
    let whole = folder.publish_v1(V1);
    let run = |args: &[&str], stdin: &[u8]| {
        let mut command = Command::cargo_bin("peerdist").expect("the binary is built");
        command.args(args).current_dir(folder.folder.path()).write_stdin(stdin).output().expect("it ran")
    };
    let line = "verified: bytes 0-200000, 1 segment, 4 blocks\n";
    assert_eq!(String::from_utf8_lossy(&run(&["verify", "-", "content"], &whole).stdout), line);
    assert_eq!(String::from_utf8_lossy(&run(&["verify", "info", "-"], &folder.content).stdout), line);
    let part = folder.excerpt(&folder.publish_v2(), 60_000..60_001);
    let line = "verified: bytes 50000-100000, 1 segment, 1 block\n";
    assert_eq!(String::from_utf8_lossy(&run(&["verify", "info", "-"], &folder.content).stdout), line);
    let text = run(&["inspect", "-"], &part).stdout;
    assert!(String::from_utf8_lossy(&text).starts_with("stdin: content information 2.0, 104 bytes"));
    let output = run(&["verify", "info", "-"], b"short");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("stdin ends at byte 5: "));
    assert!(folder.refused(&["verify", "-", "-"]).contains("stdin cannot be both"));
}

#[test]
fn hostile_content_information() {
    let folder = Folder::new(200_000);
    for blob in [folder.publish_v1(V1), folder.publish_v2()] {
        for len in [0, 1, 2, 17, 30, 35, 36, 99, 100, blob.len() - 1] {
            folder.write("bad", &blob[..len]);
            for args in
                [&["inspect", "bad"][..], &["inspect", "bad", "--json"], &["verify", "bad", "content"]]
            {
                let line = folder.refused(args);
                assert!(line.starts_with("peerdist: bad: ") && line.contains(" at byte "), "{line}");
            }
        }
        folder.write("bad", &[&blob[..], b"x"].concat());
        folder.refused(&["inspect", "bad"]);
    }
    let mut counts = folder.publish_v1(V1);
    counts[14..18].fill(0xff);
    folder.write("bad", &counts);
    let line = folder.refused(&["inspect", "bad"]);
    assert!(line.contains("cSegments at byte 14: reaches past the end"), "{line}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = Folder::new(1);
    folder.publish_v1(V1);
    for args in [
        &["inspect", "missing\nfile"][..],
        &["inspect", "."],
        &["verify", "missing\nfile", "content"],
        &["verify", "info", "missing\nfile"],
        &["verify", "info", "."],
        &["verify", "info", "content", "--key", "missing\nfile"],
    ] {
        let line = folder.refused(args);
        assert!(
            line.contains(r"missing\nfile: No such file") || line.contains(".: Is a directory"),
            "{line}"
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn who_stops_reading_has_seen_enough() {
    let folder = Folder::new(32 << 20);
    folder.publish_v1(HashAlgorithm::Sha512);
    let command = Command::cargo_bin("peerdist").expect("the binary is built");
    for more in ["", "--json"] {
        let line = format!("(\"$0\" inspect info {more}; echo $? >code) | head -n 1");
        let output = Command::new("sh")
            .arg("-c")
            .arg(line)
            .arg(command.get_program())
            .current_dir(folder.folder.path())
            .output();
        let output = output.expect("a shell");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fs::read(folder.path("code")).expect("an exit code"), b"0\n");
    }
}

#[test]
fn past_four_gibibytes() {
    // One block at the end of the content, as in a range from far into it.
    let folder = Folder::new(200_000);
    let whole = folder.publish_v1(V1);
    let start = 5u64 << 30;
    let mut part = whole;
    part[18..26].copy_from_slice(&start.to_le_bytes());
    folder.write("info", &part);
    let file = fs::File::create(folder.path("content")).expect("a writable folder");
    file.set_len(start + 200_000).expect("a file with a hole");
    write_at(&file, start, &folder.content);
    folder.verified(&[], "verified: bytes 5368709120-5368909120, 1 segment, 4 blocks");
    write_at(&file, start + 70_000, b"?");
    folder.differs(&[], &["segment 0, block 1 differs: bytes 5368774656-5368840192"]);
}

fn write_at(mut file: &fs::File, offset: u64, bytes: &[u8]) {
    file.seek(SeekFrom::Start(offset)).expect("a place");
    file.write_all(bytes).expect("written");
}

/// The exit code and the object of `verify info content --json` with more arguments.
fn verify_json(folder: &Folder, args: &[&str]) -> (i32, Value) {
    let output = folder.run(&[&["verify", "info", "content", "--json"], args].concat());
    let value = serde_json::from_slice(&output.stdout).expect("JSON");
    (output.status.code().expect("an exit code"), value)
}
