//! `hash`, then `inspect`, then `verify`, from outside: what one writes the others read.

use std::fs;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use serde_json::{Value, json};
use tempfile::TempDir;

const KEY: [&str; 2] = ["--secret", "round trip"];
const MIB: usize = 1 << 20;

fn run(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("peerdist").expect("the binary is built");
    command.current_dir(folder).args(args).output().expect("it can be started")
}

/// Runs it, and reads the JSON that it prints besides its exit code.
fn json(folder: &Path, args: &[&str]) -> (Option<i32>, Value) {
    let output = run(folder, &[args, &["--json"]].concat());
    assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("one JSON object"))
}

/// Bytes without a period that a segment or a block could have.
fn content(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // Xorshift (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The ways to describe a content.
const FORMS: [&[&str]; 4] = [
    &[],
    &["--algo", "sha512"],
    &["--content-info", "2"],
    &["--content-info", "2", "--segment-size", "50000"],
];

fn folder_with(len: usize) -> (TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let content = content(len);
    fs::write(folder.path().join("content"), &content).expect("a writable folder");
    (folder, content)
}

fn hash(folder: &Path, options: &[&str]) {
    let output = run(folder, &[&["hash", "content", "-o", "info"], &KEY[..], options].concat());
    assert!(output.status.success(), "{options:?}: {output:?}");
}

#[test]
fn whole_files() {
    for len in [0, 1, 65_535, 65_536, 65_537, 33 * MIB] {
        let (folder, mut content) = folder_with(len);
        let folder = folder.path();
        for form in FORMS {
            hash(folder, form);
            let (code, info) = json(folder, &["inspect", "info"]);
            assert_eq!(code, Some(0), "{info}");
            let whole = if len == 0 { Value::Null } else { json!({ "start": 0, "end": len }) };
            assert_eq!(info["range"], whole, "{len} {form:?}");
            let verify = [&["verify", "info", "content"], &KEY[..]].concat();
            let (code, verdict) = json(folder, &verify);
            assert_eq!((code, &verdict["same"], &verdict["verified"]), (Some(0), &json!(true), &whole));
            assert_eq!(verdict["secret_checked"], json!(len > 0));

            // The flipped byte is found where it is.
            for at in [0, len / 2, len.saturating_sub(1)].into_iter().filter(|_| len > 0) {
                content[at] ^= 0x10;
                fs::write(folder.join("content"), &content).expect("a writable folder");
                let (code, verdict) = json(folder, &verify);
                assert_eq!((code, &verdict["differences"]), (Some(1), &json!(1)), "{len} {form:?} {at}");
                let listed = &verdict["listed"][0];
                let bound = |name: &str| listed["range"][name].as_u64().expect("a range") as usize;
                assert!((bound("start")..bound("end")).contains(&at), "{at}: {listed}");
                assert!(bound("end") - bound("start") <= 131_072, "{listed}");
                content[at] ^= 0x10;
            }
            fs::write(folder.join("content"), &content).expect("a writable folder");
        }
    }
}

#[test]
fn parts_of_files() {
    let len = 33 * MIB;
    let (folder, mut content) = folder_with(len);
    let folder = folder.path();
    for form in FORMS {
        for (start, end) in [(0, 1), (70_000, 70_001), (32 * MIB - 1, 32 * MIB + 1), (5_000_000, len - 7)] {
            let range = format!("{start}-{end}");
            hash(folder, &[form, &["--range", &range]].concat());
            let described = json!({ "start": start, "end": end });
            assert_eq!(json(folder, &["inspect", "info"]).1["range"], described, "{form:?}");
            let verify = [&["verify", "info", "content"], &KEY[..]].concat();
            let (code, verdict) = json(folder, &verify);
            assert_eq!((code, &verdict["same"]), (Some(0), &json!(true)), "{form:?} {range}: {verdict}");
            content[end - 1] ^= 1;
            fs::write(folder.join("content"), &content).expect("a writable folder");
            let (code, verdict) = json(folder, &verify);
            assert_eq!((code, &verdict["same"]), (Some(1), &json!(false)), "{form:?} {range}");
            content[end - 1] ^= 1;
            fs::write(folder.join("content"), &content).expect("a writable folder");
        }
    }
}

#[test]
fn another_key_is_noticed() {
    let (folder, _) = folder_with(200_000);
    for form in FORMS {
        hash(folder.path(), form);
        let (code, verdict) = json(folder.path(), &["verify", "info", "content", "--secret", "another"]);
        assert_eq!((code, &verdict["listed"][0]["kind"]), (Some(1), &json!("secret")), "{verdict}");
    }
}

#[test]
fn through_pipes() {
    let (folder, content) = folder_with(300_000);
    for form in FORMS {
        hash(folder.path(), form);
        let args = [&["hash", "-", "-o", "-"], &KEY[..], form].concat();
        let mut command = Command::cargo_bin("peerdist").expect("the binary is built");
        let piped = command.args(args).write_stdin(content.clone()).output().expect("it can be started");
        let written = fs::read(folder.path().join("info")).expect("it was written");
        assert!(piped.status.success() && piped.stdout == written, "{form:?}");
        let mut command = Command::cargo_bin("peerdist").expect("the binary is built");
        command.current_dir(folder.path()).args(["verify", "-", "content"]).write_stdin(written);
        assert!(command.output().expect("it can be started").status.success(), "{form:?}");
    }
}
