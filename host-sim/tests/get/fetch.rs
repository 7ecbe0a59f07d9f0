//! Fetching, from origins and peers that do their part, and being killed.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::ops::Range;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use peerdist_core::content::Info;
use peerdist_core::crypto::SoftCrypto;
use peerdist_hal::std::rustls::crypto::ring;
use peerdist_hal::std::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use peerdist_hal::std::rustls::{ServerConfig, ServerConnection, StreamOwned};
use peerdist_sim::net::cache::{self, Limits};
use peerdist_tests::check::content;
use peerdist_tests::origin::Manner;

use super::place::{Draw, Got, Place, origin};

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

/// What an attempt is left to ask for at most before it is killed.
const MAX_REQUESTS: u64 = 6;

/// And how long it then goes on.
const MAX_PAUSE_MS: u64 = 25;

/// Killed over and over, at a moment drawn from a seed, it ends with the right file, and nothing that was
/// verified and committed is asked for again.
#[test]
fn killed_at_any_moment_it_goes_on() {
    killed_over_and_over(5, false, 50);
}

#[test]
fn and_with_segments_cut_by_content() {
    killed_over_and_over(15, true, 50);
}

fn killed_over_and_over(net: u8, v2: bool, kills: u32) {
    // More blocks than all attempts together can ask for.
    let (place, len) = (&Place::new(net), 32_000_000);
    let site = place.slow_site(origin(len, v2), Duration::from_millis(4));
    let blocks = blocks_of(&site.origin().info);
    let mut draw = Draw(12_345);
    let (mut asked, mut committed) = (0, Vec::new());
    let mut kept = 0;
    let mut check = |committed: &[Range<u64>]| {
        let requests = site.origin().requests.clone();
        for (first, last) in requests.iter().skip(asked).flatten() {
            let again = committed.iter().find(|block| block.start <= *last && *first < block.end);
            assert!(again.is_none(), "{first}-{last} was asked for, and {again:?} was there");
        }
        asked = requests.len();
        asked
    };
    for _ in 0..kills {
        let (requests, pause) = (draw.below(MAX_REQUESTS), draw.below(MAX_PAUSE_MS));
        let before = site.origin().requests.len();
        let mut child = place.command("cache", &site.url(), "file").spawn().expect("it starts");
        assert!(site.wait_for_requests(before + requests as usize));
        assert!(child.try_wait().expect("it was started").is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(pause));
        child.kill().expect("it can be killed");
        child.wait().expect("it was started");
        assert!(!place.path("file").exists());
        check(&committed);
        committed = place.committed("cache").iter().map(|name| blocks[name].clone()).collect();
        assert!(committed.len() >= kept, "what was kept stays");
        kept = committed.len();
    }
    assert!((1..blocks.len()).contains(&kept), "{kept} of {} blocks", blocks.len());
    place.get("cache", &site.url(), "file", &[]).assert_good();
    check(&committed);
    assert!(place.read("file") == content(len));
    assert!(!place.path("file.part").exists());
}

/// Where each block lies.
fn blocks_of(info: &[u8]) -> HashMap<(Vec<u8>, u32), Range<u64>> {
    let parsed = Info::parse(&info).expect("our own");
    let (mut blocks, mut offset) = (HashMap::new(), 0);
    while let Some(segment) = parsed.segment_at(&info, offset).expect("readable") {
        let id = segment.id(&mut SoftCrypto);
        for index in 0..segment.block_count() {
            let end = offset + u64::from(segment.block_len(index).expect("there is one"));
            blocks.insert((id.as_bytes().to_vec(), index), offset..end);
            offset = end;
        }
    }
    blocks
}

/// It answers probes no more, but its port is still known; or it is gone altogether.
#[test]
fn a_peer_that_dies() {
    let (place, len) = (Place::new(8), 8_000_000);
    let site = place.slow_site(origin(len, false), Duration::from_millis(1));
    place.get("first", &site.url(), "one", &[]).assert_good();
    let peer = place.peer("first");
    let mut get = place.command("second", &site.url(), "two");
    let mut get = get.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    while place.committed("second").is_empty() {
        assert!(get.try_wait().expect("it was started").is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(1));
    }
    drop(peer);
    let got = Got::of(&get.wait_with_output().expect("it ends"));
    got.assert_good();
    assert!(place.read("two") == content(len));
    assert_eq!(got.source("peers") + got.source("origin"), len as u64);
}

/// Another process has the first of the default caches, and then has it no more: what was verified in the second
/// is found there.
#[test]
fn what_an_earlier_run_left_in_another_default_cache() {
    let place = Place::new(21);
    let site = place.slow_site(origin(122 * 65_536, false), Duration::from_millis(4));
    let caches = place.path("home").join("peerdist");
    let other = cache::open(&caches.join("cache-0"), Limits::default()).expect("a writable folder");
    let get = || {
        let mut get = Command::new(env!("CARGO_BIN_EXE_peerdist"));
        get.args(["get", &site.url(), "--no-peers", "--json", "-o"]).arg(place.path("file"));
        get.env("XDG_CACHE_HOME", place.path("home")).stdout(Stdio::piped());
        get
    };
    let second = "home/peerdist/cache-1";
    let mut child = get().spawn().expect("it starts");
    while place.committed(second).len() < 3 {
        assert!(child.try_wait().expect("it was started").is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it was started");
    drop(other);
    let kept = place.committed(second).len() as u64;

    let got = Got::of(&get().output().expect("it starts"));
    got.assert_good();
    assert!(place.read("file") == content(122 * 65_536));
    assert_eq!(got.source("cache"), kept * 65_536);
    // Once it is complete, the first that is free will do again.
    let marks = fs::read_dir(caches.join("cache-1")).expect("it is there");
    assert_eq!(marks.count(), 2, "blocks and info");
}

/// What was begun and given up leaves no trace for ever.
#[test]
fn marks_of_what_is_long_gone() {
    let place = Place::new(43);
    let site = place.site(origin(1_000, false));
    let cache = place.path("home/peerdist/cache-0");
    fs::create_dir_all(&cache).expect("a writable folder");
    let day = Duration::from_secs(24 * 60 * 60);
    for (name, days) in [("unfinished-old", 8), ("unfinished-young", 6), ("other", 8)] {
        let file = fs::File::create(cache.join(name)).expect("a writable folder");
        file.set_modified(SystemTime::now() - day * days).expect("our file");
    }
    let mut get = Command::new(env!("CARGO_BIN_EXE_peerdist"));
    get.args(["get", &site.url(), "--no-peers", "--json", "--max-age", "7", "-o"]).arg(place.path("file"));
    Got::of(&get.env("XDG_CACHE_HOME", place.path("home")).output().expect("it starts")).assert_good();
    let left = ["unfinished-old", "unfinished-young", "other"].map(|name| cache.join(name).exists());
    assert_eq!(left, [false, true, true]);
}

/// The others finish, and the worst of what became of them is the exit code.
#[test]
fn one_of_several_fails() {
    let place = Place::new(22);
    fs::create_dir(place.path("folder")).expect("a writable folder");
    let mut missing = origin(1_000, false);
    missing.manner.status = Some(404);
    let (good, missing) = (place.site(origin(300_000, false)), place.site(missing));
    let gone = TcpListener::bind((place.address(1), 0)).and_then(|listener| listener.local_addr());
    let gone = format!("http://{}/gone", gone.expect("a free port"));
    let missing = format!("http://{}/missing", missing.address);
    for (failing, code) in [(vec![&missing], 1), (vec![&gone, &missing], 3)] {
        let mut command = place.command("cache", failing[0], "folder");
        command.arg(format!("http://{}/a", good.address)).args(&failing[1..]);
        let got = Got::of(&command.arg(format!("http://{}/b", good.address)).output().expect("it starts"));
        assert_eq!((got.code, got.errors.lines().count()), (code, failing.len()), "{}", got.errors);
        assert!(failing.iter().all(|url| got.errors.contains(url.as_str())), "{}", got.errors);
        for name in ["a", "b"] {
            assert!(place.read(&format!("folder/{name}")) == content(300_000));
            fs::remove_file(place.path("folder").join(name)).expect("it is ours");
        }
        ["gone", "missing"].iter().for_each(|name| place.assert_nothing(&format!("folder/{name}")));
    }
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
    let url = https_site(&place, place.address(1));
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

/// A server that is overloaded may hang up in the middle of the handshake: that is no refusal, and it is tried
/// again.
#[cfg(target_os = "linux")]
#[test]
fn https_at_the_second_attempt() {
    let place = Place::new(47);
    let url = https_site(&place, place.address(1));
    let server = url.trim_start_matches("https://").trim_end_matches("/content").to_string();
    let listener = TcpListener::bind((place.address(1), 0)).expect("a free port");
    let between = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let mut first = listener.accept().expect("a connection").0;
        // Its greeting has come, so the connection is there for both.
        _ = first.read(&mut [0; 100]);
        drop(first);
        for client in listener.incoming().flatten() {
            let origin = TcpStream::connect(&server).expect("it listens");
            let ways = [(client.try_clone(), origin.try_clone()), (Ok(origin), Ok(client))];
            for (from, to) in ways {
                let (mut from, mut to) = (from.expect("a handle"), to.expect("a handle"));
                thread::spawn(move || {
                    _ = io::copy(&mut from, &mut to);
                    _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    let mut command = place.command("cache", &format!("https://{between}/content"), "file");
    command.env("SSL_CERT_FILE", place.path("roots.pem"));
    Got::of(&command.output().expect("it starts")).assert_good();
    assert!(place.read("file") == content(500_000));
}

/// Through TLS on the stack of the firmware, on a TAP device in a network of its own; and what has no way there.
#[cfg(target_os = "linux")]
#[test]
fn https_on_tap() {
    const INSIDE: &str = "PEERDIST_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_none() {
        // What /sys tells is of the network that it was mounted in.
        let network = "mount -t sysfs network /sys && ip link set lo up && ip tuntap add dev tap0 mode tap && \
            ip address add 10.78.0.1/24 dev tap0 && ip link set tap0 up";
        let unshared = |command: &str| {
            let mut unshare = Command::new("unshare");
            unshare.args(["--map-root-user", "--mount", "--net", "sh", "-c", command, "sh"]);
            unshare
        };
        if !unshared(network).output().is_ok_and(|output| output.status.success()) {
            eprintln!("no TAP device can be made here (unshare, ip): not tested on one");
            return;
        }
        let inside = format!("{network} && exec \"$1\" --exact fetch::https_on_tap");
        let program = std::env::current_exe().expect("its path");
        assert!(unshared(&inside).arg(program).env(INSIDE, "1").status().expect("it runs").success());
        return;
    }
    let place = Place::new(11);
    let url = https_site(&place, [10, 78, 0, 1].into());
    let get = |url: &str, file: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peerdist"));
        command.args(["get", url, "--json", "--tap", "tap0", "--bind", "10.78.0.2/24", "-o"]);
        command.arg(place.path(file)).arg("--cache").arg(place.path("cache")).stdin(Stdio::null());
        command
    };
    let mut trusting = get(&url, "file");
    let got = Got::of(&trusting.env("SSL_CERT_FILE", place.path("roots.pem")).output().expect("it starts"));
    got.assert_good();
    assert!(place.read("file") == content(500_000));

    let nobody = TcpListener::bind(("10.78.0.1", 0)).and_then(|listener| listener.local_addr());
    let nobody = format!("http://{}/content", nobody.expect("a free port"));
    for (url, reason) in [
        (url.as_str(), "certificate"),
        (nobody.as_str(), "refused"),
        ("http://[2001:db8::1]/content", "no --gateway of IPv6 to 2001:db8::1"),
        ("http://192.0.2.1/content", "no --gateway of IPv4 to 192.0.2.1"),
    ] {
        let got = Got::of(&get(url, "none").output().expect("it starts"));
        assert_eq!((got.code, got.errors.lines().count()), (3, 1), "{}", got.errors);
        assert!(got.errors.contains(reason), "{}", got.errors);
        place.assert_nothing("none");
    }
}

/// A URL of 500,000 bytes on a server at this address, whose certificate is in the file `roots.pem`.
#[cfg(target_os = "linux")]
fn https_site(place: &Place, address: Ipv4Addr) -> String {
    let site = place.site(origin(500_000, false));
    let own = rcgen::generate_simple_self_signed([address.to_string()]).expect("a certificate");
    fs::write(place.path("roots.pem"), own.cert.pem()).expect("a writable folder");
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| {
            let chain = vec![CertificateDer::from(own.cert.der().to_vec())];
            config.with_no_client_auth().with_single_cert(chain, key.into())
        });
    let config = Arc::new(config.expect("a certificate with its key"));
    let listener = TcpListener::bind((address, 0)).expect("a free port");
    let url = format!("https://{}/content", listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let session = ServerConnection::new(config.clone()).expect("a good configuration");
            let site = site.clone();
            thread::spawn(move || site.serve(StreamOwned::new(session, socket), Duration::ZERO));
        }
    });
    url
}
