//! What a person types who wants to see content information.

use std::fs;
use std::process::Command;

use super::server::{SECRET, Server, peerdist, varied};

const LEN: usize = 300_000;

/// The headers, word for word.
const HEADERS: [&str; 6] = [
    "-H",
    "Accept-Encoding: peerdist",
    "-H",
    "X-P2P-PeerDist: Version=1.1",
    "-H",
    "X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0",
];

/// What `curl` with these arguments puts into the file `got`.
fn curl(server: &Server, args: &[&str]) -> Vec<u8> {
    let mut command = Command::new("curl");
    command.current_dir(server.folder.path()).args(["--silent", "--show-error", "--fail", "--noproxy", "*"]);
    command.args(args).arg(format!("http://{}/file.bin", server.address)).args(["-o", "got"]);
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("curl cannot be run, which this test needs: {error}"));
    assert!(output.status.success(), "{args:?}: {output:?}");
    fs::read(server.folder.path().join("got")).expect("it is written")
}

#[test]
fn content_information_by_curl() {
    let server = Server::new(&[("file.bin", &varied(LEN))], &["--hash", "eager"]);
    server.wait_for("/file.bin");
    assert!(curl(&server, &[]) == varied(LEN));
    let verify = |version: u8, args: &[&str]| {
        let command = [&["verify", "--json", "got", "root/file.bin"], &SECRET[..], args].concat();
        let report: serde_json::Value =
            serde_json::from_slice(&peerdist(&server.folder, &command)).expect("JSON");
        assert_eq!((&report["same"], &report["secret_checked"]), (&true.into(), &true.into()), "{report}");
        assert_eq!(fs::read(server.folder.path().join("got")).expect("it is there")[..2], [0, version]);
        (report["verified"]["start"].clone(), report["verified"]["end"].clone())
    };
    let (whole, v1) = ((0.into(), LEN.into()), &HEADERS[..4]);
    for (headers, version) in [(&HEADERS[..], 2), (v1, 1)] {
        let info = curl(&server, headers);
        assert!(info.len() < LEN / 100, "{} bytes", info.len());
        assert_eq!(verify(version, &[]), whole);
        for (range, first, last) in [
            ("0-0", 0, 0),
            ("65536-131071", 65_536, 131_071),
            ("70000-", 70_000, LEN - 1),
            ("-5", LEN - 5, LEN - 1),
        ] {
            assert!(curl(&server, &["-r", range]) == varied(LEN)[first..=last], "{range}");
            curl(&server, &[headers, &["-r", range]].concat());
            let (start, end) = verify(version, &["--part"]);
            let covered = start.as_u64().zip(end.as_u64()).expect("numbers");
            assert!(covered.0 <= first as u64 && covered.1 > last as u64, "{range}: {covered:?}");
        }
    }
}
