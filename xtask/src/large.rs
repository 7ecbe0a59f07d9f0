//! Content information of a file of more than 4 GiB, by the command as it is released: what needs
//! more than 32 bits goes wrong only there, and memory must not grow with the file.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::bench::{MEMORY_LIMIT_MIB, measure, peerdist};
use crate::run::{shown, target_dir};

/// Bytes of the file, most of which take no room on a disk.
const FILE_BYTES: u64 = (5 << 30) + 12_345;

/// Where a byte is changed, and found.
const FLIPPED_AT: u64 = (1 << 32) + 70_001;

/// The part that is described alone: from below 4 GiB to above.
const PART: [u64; 2] = [(1 << 32) - 1_000, (1 << 32) + 200_000];

const KEY: [&str; 2] = ["--secret", "large"];

/// Describes, shows and verifies a sparse file in both versions, whole and in part.
pub fn check() -> Result<()> {
    let folder = target_dir().join("large");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let outcome = make(&folder.join("content")).and_then(|()| {
        for version in ["1", "2"] {
            round_trip(&folder, version)?;
        }
        Ok(())
    });
    _ = fs::remove_dir_all(&folder);
    outcome
}

/// Writes something here and there: a block of it differs from the zeros around.
fn make(path: &Path) -> Result<()> {
    let written = File::create(path).and_then(|mut file| {
        file.set_len(FILE_BYTES)?;
        for at in [0, PART[0], FLIPPED_AT - 9, FILE_BYTES - 8] {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&at.to_le_bytes())?;
        }
        Ok(())
    });
    written.map_err(|error| format!("{}: {error}", path.display()))
}

fn round_trip(folder: &Path, version: &str) -> Result<()> {
    let command = |arguments: &[&str]| {
        let mut command = Command::new(peerdist());
        command.current_dir(folder).args(arguments);
        command
    };
    let hash = [&["hash", "content", "-o", "info", "--content-info", version], &KEY[..]].concat();
    let verify = [&["verify", "info", "content", "--json"], &KEY[..]].concat();

    if cfg!(target_os = "linux") {
        let mib = measure(&mut command(&hash))?.peak_kib as f64 / 1_024.0;
        println!("    version {version}: {FILE_BYTES} bytes hashed in {mib:.1} MiB");
        if mib >= MEMORY_LIMIT_MIB {
            return Err(format!("hash took {mib:.1} MiB of memory: {MEMORY_LIMIT_MIB} is the limit"));
        }
    } else {
        expect(&mut command(&hash), 0, "")?;
        println!(
            "    version {version}: {FILE_BYTES} bytes hashed; how much memory it took, only Linux tells"
        );
    }
    expect(&mut command(&["inspect", "info", "--json"]), 0, &range(0, FILE_BYTES))?;
    expect(&mut command(&verify), 0, &range(0, FILE_BYTES))?;
    flip(&folder.join("content"))?;
    // Of version 2.0, where its segments lie is not known here.
    let block = FLIPPED_AT / 65_536 * 65_536;
    let found = if version == "1" { range(block, block + 65_536) } else { r#""kind":"block""#.into() };
    expect(&mut command(&verify), 1, &found)?;
    flip(&folder.join("content"))?;

    let part = format!("{}-{}", PART[0], PART[1]);
    expect(&mut command(&[&hash[..], &["--range", &part]].concat()), 0, "")?;
    expect(&mut command(&["inspect", "info", "--json"]), 0, &range(PART[0], PART[1]))?;
    expect(&mut command(&verify), 0, r#""same":true"#)
}

/// A range as JSON, without spaces.
fn range(start: u64, end: u64) -> String {
    format!(r#"{{"start":{start},"end":{end}}}"#)
}

/// Runs `command` and checks its exit code and that its output, without spaces, has `text` in it.
fn expect(command: &mut Command, code: i32, text: &str) -> Result<()> {
    let name = shown(command);
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    let stdout: String = String::from_utf8_lossy(&output.stdout).split_whitespace().collect();
    if output.status.code() != Some(code) || !stdout.contains(text) {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let shown: String = stdout.chars().take(400).collect();
        return Err(format!("{name}: {}, and not {code} with {text}: {shown} {stderr}", output.status));
    }
    Ok(())
}

/// Turns a bit of one byte; twice is as if never.
fn flip(path: &Path) -> Result<()> {
    let flipped = OpenOptions::new().read(true).write(true).open(path).and_then(|mut file| {
        let mut byte = [0];
        file.seek(SeekFrom::Start(FLIPPED_AT))?;
        file.read_exact(&mut byte)?;
        byte[0] ^= 1;
        file.seek(SeekFrom::Start(FLIPPED_AT))?;
        file.write_all(&byte)
    });
    flipped.map_err(|error| format!("{}: {error}", path.display()))
}
