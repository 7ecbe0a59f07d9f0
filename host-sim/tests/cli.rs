//! The `peerdist` command, from outside: bad input is one line on stderr and exit code 2.

use std::fs;

use assert_cmd::Command;

/// Runs it and expects it to refuse, in one line.
fn refuses(args: &[&str]) -> String {
    let mut command = Command::cargo_bin("peerdist").expect("the binary is built");
    let output = command.args(args).output().expect("it can be started");
    let line = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{args:?}: {line}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert!(
        line.starts_with("peerdist: ") && line.ends_with('\n') && line.lines().count() == 1,
        "{args:?}: {line}"
    );
    line
}

#[test]
fn wrong_values_name_the_flag_and_the_reason() {
    for (args, flag, reason) in [
        (["--clients", "0"], "--clients", "at least one client is needed"),
        (["--clients", "ten"], "--clients", "not a number from 1 to 1000"),
        (["--loss", "101"], "--loss", "between 0 and 100"),
        (["--loss", "-1"], "--loss", "between 0 and 100"),
        (["--wan", "2Mbit"], "--wan", "RATE/DELAY"),
        (["--lan", "2Mbps/50ms"], "--lan", "bytes to tc"),
        (["--size", "much"], "--size", "not a size"),
        (["--start", "later"], "--start", "later"),
        (["--seed", "x"], "--seed", "invalid digit"),
        (["--speed", "9"], "--speed", "unexpected argument"),
    ] {
        let line = refuses(&[&["sim"][..], &args].concat());
        assert!(line.contains(flag) && line.contains(reason), "{line}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.bin");
    let line = refuses(&["sim", "--content", missing.to_str().expect("UTF-8")]);
    assert!(line.contains("missing.bin: No such file"), "{line}");
    let line = refuses(&["sim", "--content", folder.path().to_str().expect("UTF-8")]);
    assert!(line.contains("directory"), "{line}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "content").expect("a writable folder");
    for pcap in [file.clone(), file.join("below")] {
        let line = refuses(&["sim", "--size", "1", "--pcap", pcap.to_str().expect("UTF-8")]);
        assert!(line.contains("--pcap") && line.contains("file"), "{line}");
    }
    // The content is missing, so no captures are begun either.
    let captures = folder.path().join("captures");
    let (missing, captures_text) = (folder.path().join("missing"), captures.to_str().expect("UTF-8"));
    refuses(&["sim", "--content", missing.to_str().expect("UTF-8"), "--pcap", captures_text]);
    assert!(!captures.exists());
    assert_eq!(fs::read(&file).expect("still there"), b"content");
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["sim", "--help"], &["--version"]] {
        let output = Command::cargo_bin("peerdist").expect("the binary is built").args(args).output();
        let output = output.expect("it can be started");
        assert!(output.status.success() && output.stderr.is_empty() && !output.stdout.is_empty(), "{args:?}");
    }
}
