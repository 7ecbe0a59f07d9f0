//! Fetching, from origins and peers that do their part, and being killed.

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use peerdist_hal::std::rustls::crypto::ring;
use peerdist_hal::std::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use peerdist_hal::std::rustls::{ServerConfig, ServerConnection, StreamOwned};
use peerdist_tests::check::content;
use peerdist_tests::origin::Manner;

use super::place::{Got, Place, origin};

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
