//! `peerdist get` and `peerdist peer` as processes on loopback, with origins that the test runs itself.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use peerdist_core::content::segmenter::Segmentation;
use peerdist_hal::std::rustls::crypto::ring;
use peerdist_hal::std::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use peerdist_hal::std::rustls::{ServerConfig, ServerConnection, StreamOwned};
use peerdist_tests::check::content;
use peerdist_tests::origin::{Manner, Origin, publish_v2};
use peerdist_tests::site::Site;
use serde_json::Value;
use tempfile::TempDir;

/// A folder for everything, and addresses that no other test uses.
struct Place {
    folder: TempDir,
    net: u8,
}

/// What a get has said.
struct Got {
    code: i32,
    json: Value,
    errors: String,
}

/// A process that is killed in the end.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

impl Place {
    fn new(net: u8) -> Self {
        Self { folder: TempDir::new().expect("a folder"), net }
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 1, self.net, last)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn site(&self, origin: Origin) -> Site {
        self.slow_site(origin, Duration::ZERO)
    }

    fn slow_site(&self, origin: Origin, pace: Duration) -> Site {
        Site::open(self.address(1).into(), origin, pace)
    }

    /// A get from address 2, with a cache of that name.
    fn command(&self, cache: &str, url: &str, file: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peerdist"));
        command.args(["get", url, "--json", "-o"]).arg(self.path(file));
        command.arg("--cache").arg(self.path(cache)).args(["--bind", &self.address(2).to_string()]);
        command.stdin(Stdio::null());
        command
    }

    fn get(&self, cache: &str, url: &str, file: &str, more: &[&str]) -> Got {
        Got::of(&self.command(cache, url, file).args(more).output().expect("it starts"))
    }

    /// A peer at address 3 with a cache of that name, that is ready.
    fn peer(&self, cache: &str) -> Peer {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peerdist"));
        command.args(["peer", "--port", "0", "--bind", &self.address(3).to_string()]);
        command.arg("--cache").arg(self.path(cache));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert!(line.starts_with(&format!("ready {}:", self.address(3))), "{line}");
        Peer(child)
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).expect("it is there")
    }

    /// No file has that name, finished or not.
    fn assert_nothing(&self, file: &str) {
        for file in [file.to_string(), format!("{file}.part")] {
            assert!(!self.path(&file).exists(), "{file}");
        }
    }
}

impl Got {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().expect("no signal"),
            json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn source(&self, name: &str) -> u64 {
        let source = &self.json["files"][0]["sources"][name];
        match source.as_object() {
            Some(peers) => peers.values().filter_map(Value::as_u64).sum(),
            None => source.as_u64().expect("a number"),
        }
    }

    #[track_caller]
    fn assert_good(&self) {
        assert_eq!((self.code, self.errors.as_str()), (0, ""), "{}", self.json);
    }
}

fn origin(len: usize, v2: bool) -> Origin {
    let mut origin = Origin::new(content(len));
    if v2 {
        origin.info = publish_v2(&origin.content, Segmentation::ContentDefined);
    }
    origin
}

#[test]
fn a_server_that_does_not_speak_peerdist_gives_the_file() {
    let place = Place::new(1);
    for (len, chunked, closes) in [(0, false, false), (300_000, true, false), (300_000, false, true)] {
        let mut origin = origin(len, false);
        origin.info.clear();
        origin.manner = Manner { chunked, closes, ..Manner::default() };
        let site = place.site(origin);
        let got = place.get("cache", &site.url(), "file", &[]);
        got.assert_good();
        assert!(place.read("file") == content(len));
        assert_eq!((got.source("origin"), got.source("peers")), (len as u64, 0));
        assert_eq!(got.json["files"][0]["content_information"], false);
    }
}

#[test]
fn the_second_gets_it_from_the_first() {
    for (net, v2) in [(2, false), (3, true)] {
        let (place, len) = (Place::new(net), 3_000_000);
        let site = place.site(origin(len, v2));
        let got = place.get("first", &site.url(), "one", &[]);
        got.assert_good();
        assert!(place.read("one") == content(len));
        assert_eq!(got.source("origin"), len as u64);
        let before = site.origin().body_bytes;

        let _peer = place.peer("first");
        let got = place.get("second", &site.url(), "two", &["--why"]);
        got.assert_good();
        assert!(place.read("two") == content(len));
        assert_eq!((got.source("peers"), got.source("origin")), (len as u64, 0), "{}", got.json);
        assert_eq!(site.origin().body_bytes, before, "no content comes from the origin");

        // And from its own cache, whoever is there.
        let got = place.get("second", &site.url(), "three", &[]);
        got.assert_good();
        assert!(place.read("three") == content(len));
        assert_eq!((got.source("cache"), site.origin().body_bytes), (len as u64, before));
    }
}

#[test]
fn a_range_and_no_more() {
    let place = Place::new(4);
    for (v2, plain) in [(false, false), (true, false), (false, true)] {
        let mut origin = origin(1_000_000, v2);
        if plain {
            origin.info.clear();
        }
        let site = place.site(origin);
        let cache = format!("cache-{v2}-{plain}");
        for (range, start, end) in [("70000-70001", 70_000, 70_001), ("300000-", 300_000, 1_000_000)] {
            let got = place.get(&cache, &site.url(), "file", &["--range", range]);
            got.assert_good();
            assert!(place.read("file") == content(1_000_000)[start..end], "{v2} {plain} {range}");
        }
        let got = place.get(&cache, &site.url(), "none", &["--range", "1000000-1000001"]);
        assert_eq!(got.code, 1);
        assert!(got.errors.contains("416"), "{}", got.errors);
        place.assert_nothing("none");
    }
}

/// Killed over and over, it ends with the right file, and no block that was verified is fetched twice.
#[test]
fn killed_at_any_moment_it_goes_on() {
    let (place, len) = (Place::new(5), 6_000_000usize);
    let site = place.slow_site(origin(len, false), Duration::from_millis(5));
    let mut state = 12_345u64;
    for _ in 0..6 {
        let mut child = place.command("cache", &site.url(), "file").spawn().expect("it starts");
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_millis(state >> 33 & 255));
        child.kill().expect("it can be killed");
        child.wait().expect("it was started");
    }
    place.get("cache", &site.url(), "file", &[]).assert_good();
    assert!(place.read("file") == content(len));
    assert!(!place.path("file.part").exists());
    // Each run may have had two blocks on their way when it was killed, and they alone come again.
    let mut asked: Vec<_> = site.origin().requests.iter().flatten().copied().collect();
    let all = asked.len();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), len.div_ceil(65_536));
    assert!(all - asked.len() <= 6 * 3, "{all} requests");
}

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

/// It answers probes no more, but its port is still known; or it is gone altogether.
#[test]
fn a_peer_that_dies() {
    let (place, len) = (Place::new(8), 8_000_000);
    let site = place.slow_site(origin(len, false), Duration::from_millis(1));
    place.get("first", &site.url(), "one", &[]).assert_good();
    let peer = place.peer("first");
    let mut get = place.command("second", &site.url(), "two");
    let get = get.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    thread::sleep(Duration::from_millis(300));
    drop(peer);
    let got = Got::of(&get.wait_with_output().expect("it ends"));
    got.assert_good();
    assert!(place.read("two") == content(len));
    assert_eq!(got.source("peers") + got.source("origin"), len as u64);
}

#[test]
fn several_at_once_into_a_folder() {
    let place = Place::new(9);
    fs::create_dir(place.path("folder")).expect("a writable folder");
    let sites = [100_000, 200_000, 300_000, 50].map(|len| (len, place.site(origin(len, len % 200_000 == 0))));
    let names = ["a", "b", "c", "d"];
    let mut command = place.command("cache", &format!("http://{}/a", sites[0].1.address), "folder");
    for ((_, site), name) in sites.iter().zip(names).skip(1) {
        command.arg(format!("http://{}/path/{name}?query", site.address));
    }
    let got = Got::of(&command.output().expect("it starts"));
    got.assert_good();
    for ((len, _), name) in sites.iter().zip(names) {
        assert!(place.read(&format!("folder/{name}")) == content(*len), "{name}");
    }
}

/// Through TLS, with a certificate that the machine trusts, and with one that it does not.
#[cfg(target_os = "linux")]
#[test]
fn https() {
    let place = Place::new(10);
    let site = place.site(origin(500_000, false));
    let own = rcgen::generate_simple_self_signed([place.address(1).to_string()]).expect("a certificate");
    fs::write(place.path("roots.pem"), own.cert.pem()).expect("a writable folder");
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| {
            let chain = vec![CertificateDer::from(own.cert.der().to_vec())];
            config.with_no_client_auth().with_single_cert(chain, key.into())
        });
    let config = Arc::new(config.expect("a certificate with its key"));
    let listener = TcpListener::bind((place.address(1), 0)).expect("a free port");
    let url = format!("https://{}/content", listener.local_addr().expect("it is bound"));
    let behind = site.clone();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let session = ServerConnection::new(config.clone()).expect("a good configuration");
            let site = behind.clone();
            thread::spawn(move || site.serve(StreamOwned::new(session, socket), Duration::ZERO));
        }
    });

    let mut trusting = place.command("cache", &url, "file");
    trusting.env("SSL_CERT_FILE", place.path("roots.pem"));
    let got = Got::of(&trusting.output().expect("it starts"));
    got.assert_good();
    assert!(place.read("file") == content(500_000));
    assert_eq!(got.source("origin"), 500_000);

    let got = place.get("cache", &url, "none", &[]);
    assert_eq!(got.code, 3);
    assert!(got.errors.contains("certificate") && got.errors.lines().count() == 1, "{}", got.errors);
    place.assert_nothing("none");
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
        ("file", &["--max-size", "257GiB"], "256GiB at most"),
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

#[cfg(unix)]
#[test]
fn a_peer_ends_cleanly_when_it_is_told_to() {
    let place = Place::new(12);
    let mut peer = place.peer("cache");
    let kill = Command::new("kill").arg(peer.0.id().to_string()).status().expect("there is kill");
    assert!(kill.success());
    assert_eq!(peer.0.wait().expect("it was started").code(), Some(0));
}
