//! A hosted cache: a client offers what it has and goes; others have it from there.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use peerdist_core::bytes::Writer;
use peerdist_core::content::Info;
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::hosted::wire::{
    DESCRIPTOR_BYTES, Descriptor, MAX_DESCRIPTORS, MessageType, OPENING_BYTES, Opening, Version,
};
use peerdist_tests::check::content;
use peerdist_tests::site::Site;
use serde_json::{Value, json};

use super::peer::ask_json;
use super::place::{Peer, Place, origin};

/// A process that serves, and where; with the lines that it says behind `ready`.
pub fn serve(
    place: &Place,
    command: &str,
    last: u8,
    cache: &str,
    more: &[&str],
) -> (Peer, SocketAddr, Vec<String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_peerdist"))
        .args([command, "--port", "0", "--bind", &place.address(last).to_string(), "--cache"])
        .arg(place.path(cache))
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let ready = lines.next().expect("a line").expect("text");
    let address = ready.strip_prefix("ready ").and_then(|rest| rest.split(',').next());
    let address = address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{ready}"));
    let urls = if more.contains(&"--tls-port") && !more.contains(&"--accept") { 2 } else { 1 };
    let count = if command == "hosted" { urls + usize::from(more.contains(&"--admin")) } else { 0 };
    let said = lines.by_ref().take(count).map(|line| line.expect("text")).collect();
    (Peer(child), address, said)
}

/// An offer of every segment of this content information, by who serves on that port.
pub fn batch(info: &[u8], port: u16) -> Vec<u8> {
    let parsed = Info::parse(&info).expect("our own");
    let mut message = vec![0; OPENING_BYTES];
    let opening = Opening::new(Version::V2, MessageType::BatchedOffer, port);
    opening.emit(&mut Writer::new(&mut message)).expect("room");
    for index in 0..parsed.segment_count() {
        let segment = parsed.segment(&info, index).expect("there is one");
        let descriptor = Descriptor {
            block_bytes: segment.block_bytes(),
            segment_bytes: segment.byte_len(),
            tag: *b"WinINet\0\0\0\0\0\0\0\0\0",
            algorithm: segment.algorithm(),
            segment: segment.id(&mut SoftCrypto).as_bytes().try_into().expect("32 bytes"),
        };
        let mut room = [0; DESCRIPTOR_BYTES];
        descriptor.emit(&mut Writer::new(&mut room)).expect("room");
        message.extend(room);
    }
    assert!(parsed.segment_count() as usize <= MAX_DESCRIPTORS);
    message
}

/// Posts it as a client of that address would; the status and the body.
pub fn post(place: &Place, from: Ipv4Addr, url: &str, message: &[u8]) -> (String, Vec<u8>) {
    post_by(place, from, url, message, &[])
}

/// The same with these options of curl.
pub fn post_by(
    place: &Place,
    from: Ipv4Addr,
    url: &str,
    message: &[u8],
    options: &[&str],
) -> (String, Vec<u8>) {
    let (sent, got) = (place.path("message"), place.path("answer"));
    fs::write(&sent, message).expect("room");
    let data = format!("@{}", sent.display());
    let curl = Command::new("curl")
        .args(["-sS", "--interface", &from.to_string(), "--data-binary", &data, "-w", "%{http_code}", "-o"])
        .args([got.to_str().expect("text"), url])
        .args(options)
        .output()
        .expect("there is curl");
    assert!(curl.status.success(), "{}", String::from_utf8_lossy(&curl.stderr));
    (String::from_utf8(curl.stdout).expect("text"), fs::read(got).unwrap_or_default())
}

/// Where the endpoint is of which the last of those lines tells.
pub fn admin(said: &[String]) -> SocketAddr {
    let line = said.last().expect("a line");
    let address = line.strip_prefix("admin on http://").and_then(|rest| rest.strip_suffix('/'));
    address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

/// What it tells of itself, once `is_so`.
pub fn status_when(admin: SocketAddr, is_so: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let status = ask_json(admin, "GET /status");
        if is_so(&status) {
            return status;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{status}");
        thread::sleep(Duration::from_millis(50));
    }
}

pub fn url(cache: SocketAddr, version: Version) -> String {
    format!("http://{cache}{}", version.path())
}

/// A second client has all of the content from that hosted cache, and from the origin only what describes it.
fn has_all_from(place: &Place, site: &Site, len: usize, hosted: &str) {
    let before = site.origin().body_bytes;
    let got = place.get_of("second", &site.url(), "two", &["--hosted", hosted]);
    got.assert_good();
    assert_eq!(got.source("hosted"), len as u64, "{}", got.json);
    assert_eq!(site.origin().body_bytes, before, "nothing but content information");
    assert!(place.read("two") == content(len));
}

#[test]
fn what_a_client_leaves_behind() {
    for (net, v2) in [(40, false), (41, true)] {
        let (place, len) = (Place::new(net), 700_000);
        let site = place.site(origin(len, v2));
        place.get_of("first", &site.url(), "one", &["--no-peers"]).assert_good();
        let count = place.committed("first").len();
        let (peer, at, _) = serve(&place, "peer", 3, "first", &[]);
        let (cache, hosted, said) = serve(&place, "hosted", 4, "hosted", &["--admin", "127.0.0.1:0"]);
        assert_eq!(said[0], format!("offers to {}", url(hosted, Version::V2)));
        let admin = admin(&said);

        let message = batch(&site.origin().info, at.port());
        let ok = ("200".to_string(), vec![0, 0, 0, 1, 0]);
        assert_eq!(post(&place, place.address(3), &url(hosted, Version::V2), &message), ok);
        let status = status_when(admin, |it| it["HostedCacheServer"]["BlocksReceived"] == json!(count));
        assert_eq!(status["Role"], "HostedCache");
        let received = json!({ "WinINet": len, "WebIO": 0, "BITS": 0, "SMB": 0, "Other": 0 });
        assert_eq!(status["HostedCacheServer"]["BytesReceived"], received);
        drop(peer);

        // It is started again, and has it still.
        drop(cache);
        let (_cache, hosted, _) = serve(&place, "hosted", 4, "hosted", &[]);
        has_all_from(&place, &site, len, &hosted.to_string());
    }
}

#[test]
fn a_client_that_cannot_be_reached_is_named() {
    let (place, len) = (Place::new(42), 70_000);
    let site = place.site(origin(len, true));
    let (mut cache, hosted, _) = serve(&place, "hosted", 4, "hosted", &[]);
    let message = batch(&site.origin().info, 9);
    assert_eq!(post(&place, place.address(3), &url(hosted, Version::V2), &message).0, "200");
    let mut lines = BufReader::new(cache.0.stderr.take().expect("a pipe")).lines();
    let line = lines.next().expect("a line").expect("text");
    let named =
        format!("peerdist: client port unreachable: {}:9; what it offers is given up", place.address(3));
    assert_eq!(line, named);
    assert_eq!(post(&place, place.address(3), &url(hosted, Version::V1), &message).0, "404");
    assert_eq!(post(&place, place.address(3), &url(hosted, Version::V2), &message[..20]).0, "400");
}

/// A client gets a file from the origin and offers it by itself before it ends; the next one has it from the hosted
/// cache.
#[test]
fn a_client_offers_what_it_got() {
    for (net, v2) in [(43, false), (44, true)] {
        let (place, len) = (Place::new(net), 700_000);
        let site = place.site(origin(len, v2));
        let (_cache, hosted, _) = serve(&place, "hosted", 4, "hosted", &[]);
        let hosted = hosted.to_string();
        let first = place.get_of("first", &site.url(), "one", &["--hosted", &hosted]);
        first.assert_good();
        assert_eq!((first.source("origin"), first.source("hosted")), (len as u64, 0), "{}", first.json);
        has_all_from(&place, &site, len, &hosted);
    }
}

/// Where the first hosted cache is not there, that is said, and the next one has its part.
#[test]
fn the_next_hosted_cache_stands_in() {
    let (place, len) = (Place::new(45), 200_000);
    let site = place.site(origin(len, true));
    let (_cache, hosted, _) = serve(&place, "hosted", 4, "hosted", &[]);
    let (gone, hosted) = (format!("{}:9", place.address(5)), hosted.to_string());
    let first = place.get_of("first", &site.url(), "one", &["--hosted", &gone, "--hosted", &hosted]);
    assert_eq!(first.code, 0, "{}", first.errors);
    let said = format!("peerdist: hosted cache {gone}: cannot be reached");
    assert!(first.errors.starts_with(&said), "{}", first.errors);
    has_all_from(&place, &site, len, &hosted);
}

/// Without any hosted cache to take it, a client does not wait.
#[test]
fn who_cannot_offer_ends() {
    let (place, len) = (Place::new(46), 70_000);
    let site = place.site(origin(len, true));
    let gone = format!("{}:9", place.address(5));
    let begun = Instant::now();
    let got = place.get_of("first", &site.url(), "one", &["--hosted", &gone]);
    assert_eq!(got.code, 0, "{}", got.errors);
    assert!(begun.elapsed() < Duration::from_secs(20), "it waits for nobody");
    assert!(got.errors.contains(&format!("hosted cache {gone}: ")), "{}", got.errors);
}

/// A peer offers what its cache has when it starts, so that the hosted cache has it when the peer is gone.
#[test]
fn a_peer_offers_its_cache() {
    for (net, v2) in [(47, false), (48, true)] {
        let (place, len) = (Place::new(net), 700_000);
        let site = place.site(origin(len, v2));
        place.get_of("first", &site.url(), "one", &["--no-peers"]).assert_good();
        let count = place.committed("first").len();
        let (_cache, hosted, said) = serve(&place, "hosted", 4, "hosted", &["--admin", "127.0.0.1:0"]);
        let hosted = hosted.to_string();
        let (peer, ..) = serve(&place, "peer", 3, "first", &["--hosted", &hosted]);
        status_when(admin(&said), |it| it["HostedCacheServer"]["BlocksReceived"] == json!(count));
        drop(peer);
        has_all_from(&place, &site, len, &hosted);
    }
}

/// What a hosted cache lets wait of one client is less than a peer has: the rest comes with later offers.
#[test]
fn what_had_no_room_is_offered_again() {
    let (place, len) = (Place::new(50), 700_000);
    let site = place.site(origin(len, true));
    place.get_of("first", &site.url(), "one", &["--no-peers"]).assert_good();
    let count = place.committed("first").len();
    let most = (count / 2 + 1).to_string();
    let options = ["--admin", "127.0.0.1:0", "--per-client", &most];
    let (_cache, hosted, said) = serve(&place, "hosted", 4, "hosted", &options);
    let (_peer, ..) = serve(&place, "peer", 3, "first", &["--hosted", &hosted.to_string()]);
    let status = status_when(admin(&said), |it| it["HostedCacheServer"]["BlocksReceived"] == json!(count));
    assert!(status["HostedCacheServer"]["SegmentsRefused"].as_u64() > Some(0), "{status}");
}

/// Version 1 has no message for content information 2.0, which is not asked for unless somebody says so.
#[test]
fn what_cannot_be_offered_is_told() {
    let (place, len) = (Place::new(49), 70_000);
    let site = place.site(origin(len, true));
    let gone = format!("https://{}:9", place.address(5));
    let options = ["--hosted", &gone, "--content-info", "2"];
    let got = place.get_of("first", &site.url(), "one", &options);
    assert_eq!(got.code, 0, "{}", got.errors);
    let blocks = got.json["files"][0]["parts"].as_array().expect("blocks").len();
    let told =
        format!("peerdist: hosted caches were not offered {blocks} blocks: they have no message for them");
    assert!(got.errors.starts_with(&told) && got.errors.lines().count() == 1, "{}", got.errors);
}
