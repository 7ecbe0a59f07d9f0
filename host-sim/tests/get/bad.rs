//! What origins, peers and this machine may do wrong: a line says what, and no wrong file gets the final name.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use peerdist_tests::check::content;

use super::place::{Place, origin};

#[test]
fn redirects() {
    let place = Place::new(6);
    let end = place.site(origin(100_000, false));
    let mut first = origin(1, false);
    first.moved = Some((302, end.url()));
    let first = place.site(first);
    let got = place.get("cache", &first.url(), "file", &[]);
    got.assert_good();
    assert!(place.read("file") == content(100_000));
    assert_eq!(got.json["files"][0]["final_url"], end.url());

    for (location, reason) in [
        ("/content", "more than 20 redirects"),
        ("ftp://127.0.0.1/", "neither http nor https"),
        ("http://", "redirect to http://: "),
    ] {
        let mut lost = origin(1, false);
        lost.moved = Some((301, location.into()));
        let got = place.get("cache", &place.site(lost).url(), "lost", &[]);
        assert_eq!(got.code, 1, "{}", got.errors);
        assert!(got.errors.contains(reason) && got.errors.lines().count() == 1, "{}", got.errors);
        place.assert_nothing("lost");
    }
}

#[test]
fn origins_that_do_not_give_it() {
    let place = Place::new(7);
    let mut missing = origin(1_000, false);
    missing.manner.status = Some(404);
    let missing = place.site(missing);
    let got = place.get("cache", &missing.url(), "file", &[]);
    assert_eq!(got.code, 1);
    assert!(got.errors.contains(&missing.url()) && got.errors.contains("404"), "{}", got.errors);

    // What it gives is not what its content information says.
    let mut liar = origin(200_000, false);
    liar.content[70_000] ^= 1;
    let liar = place.site(liar);
    let got = place.get("cache", &liar.url(), "file", &[]);
    assert_eq!(got.code, 1);
    assert!(got.errors.contains("changed at byte 65536"), "{}", got.errors);

    let gone: SocketAddr = {
        let listener = TcpListener::bind((place.address(1), 0)).expect("a free port");
        listener.local_addr().expect("it is bound")
    };
    let got = place.get("cache", &format!("http://{gone}/file"), "file", &[]);
    assert_eq!(got.code, 3);
    assert!(got.errors.contains("refused"), "{}", got.errors);
    place.assert_nothing("file");

    let got = place.get("cache", "http://name.invalid/", "file", &[]);
    assert_eq!((got.code, got.errors.lines().count()), (3, 1), "{}", got.errors);
}

#[test]
fn what_cannot_be_run() {
    let place = Place::new(11);
    let site = place.site(origin(1_000, false));
    let url = site.url();
    for (file, more, reason) in [
        ("no/folder/file", &[][..], "No such file"),
        ("file", &["--range", "7-7"], "no bytes"),
        ("file", &["ftp://example.com/file"], "neither http nor https"),
        ("file", &["http://user@example.com/file"], "not sent"),
        ("file", &["http://example.com/other"], "a folder that exists"),
    ] {
        let got = place.get("cache", &url, file, more);
        assert_eq!((got.code, got.errors.lines().count()), (2, 1), "{}", got.errors);
        assert!(got.errors.contains(reason), "{reason}: {}", got.errors);
    }
    assert!(!Path::new("file").exists());

    // One cache is one process's.
    let _peer = place.peer("cache");
    let got = place.get("cache", &url, "file", &[]);
    assert_eq!(got.code, 2);
    assert!(got.errors.contains("in use"), "{}", got.errors);

    let taken = TcpListener::bind((place.address(3), 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let mut peer = Command::new(env!("CARGO_BIN_EXE_peerdist"));
    peer.args(["peer", "--port", &port, "--bind", &place.address(3).to_string()]);
    let output = peer.arg("--cache").arg(place.path("other")).output().expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    let ourselves = format!("(process {})", std::process::id());
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors.contains(&port) && (!cfg!(target_os = "linux") || errors.contains(&ourselves)),
        "{errors}"
    );

    let mut peer = Command::new(env!("CARGO_BIN_EXE_peerdist"));
    peer.args(["peer", "--bind", "203.0.113.1", "--cache"]).arg(place.path("other"));
    let output = peer.output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not an address of this machine"));
}
