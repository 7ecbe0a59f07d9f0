//! A peer, and what it tells of itself.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use peerdist_core::content::Info;
use peerdist_core::crypto::SoftCrypto;
use peerdist_tests::check::content;
use serde_json::{Value, json};

use super::place::{Place, hex, origin};

/// What the endpoint answers.
fn ask(admin: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(admin).expect("somebody listens");
    stream.write_all(format!("{request} HTTP/1.0\r\n\r\n").as_bytes()).expect("it is open");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("text");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
    (head[9..12].parse().expect("a status"), body.into())
}

pub fn ask_json(admin: SocketAddr, request: &str) -> Value {
    let (status, body) = ask(admin, request);
    assert_eq!(status, 200, "{request}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

/// The id of the first segment of this content information.
fn first_segment(info: &[u8]) -> String {
    let parsed = Info::parse(&info).expect("our own");
    let segment = parsed.segment(&info, 0).expect("there is one");
    hex(segment.id(&mut SoftCrypto).as_bytes())
}

#[test]
fn status_metrics_segments_and_clearing() {
    let (place, len) = (Place::new(13), 300_000);
    let site = place.site(origin(len, false));
    place.get("first", &site.url(), "one", &[]).assert_good();
    let (_peer, admin) = place.peer_with_admin("first");

    let status = ask_json(admin, "GET /status");
    assert_eq!((&status["Role"], &status["BranchCacheServiceStatus"]), (&json!("Peer"), &json!("Running")));
    assert_eq!(status["NetworkConfiguration"]["Addresses"], json!([place.address(3).to_string()]));
    assert_eq!(status["DataCache"]["NumberOfBlocks"], 5);
    // Four full blocks and a short one, each sealed, rounded up to 4 KiB, and with an entry in a table.
    assert_eq!(status["DataCache"]["CurrentActiveCacheSize"], 4 * 69_632 + 40_960 + 5 * 256);
    assert_eq!(status["ContentRetrieval"]["BlocksServed"], 0);

    let id = first_segment(&site.origin().info);
    let kept = ask_json(admin, &format!("GET /segments?id={id}"));
    assert_eq!((&kept["Blocks"], &kept["NumberOfBytes"]), (&json!(["0-4"]), &json!(len)));
    assert!(kept["AgeSeconds"].as_u64().is_some(), "{kept}");
    assert_eq!(ask(admin, &format!("GET /segments?id={}", "0".repeat(64))).0, 404);
    assert_eq!(ask(admin, "GET /segments?id=00").0, 404);
    assert_eq!(ask(admin, "GET /hashes?path=/x").0, 404);
    assert_eq!(ask(admin, "POST /hashes/clear").0, 404);

    let got = place.get("second", &site.url(), "two", &[]);
    got.assert_good();
    assert_eq!(got.source("peers"), len as u64);
    let status = ask_json(admin, "GET /status");
    assert_eq!(status["ContentRetrieval"]["BlocksServed"], 5);
    assert!(status["PeerDiscovery"]["AnswersSent"].as_u64() >= Some(1), "{status}");
    let (_, metrics) = ask(admin, "GET /metrics");
    assert!(metrics.contains("\npeerdist_peer_served_blocks_total 5\n"), "{metrics}");
    assert!(metrics.contains("\npeerdist_peer_requests_total{outcome=\"answered\"} "), "{metrics}");

    let shown = Command::new(env!("CARGO_BIN_EXE_peerdist"))
        .args(["status", &admin.to_string()])
        .output()
        .expect("it starts");
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(shown.contains("\nContentRetrieval:\n  BlocksServed       : 5\n"), "{shown}");

    assert_eq!(ask_json(admin, "POST /cache/clear"), json!({ "Cleared": 5 }));
    assert_eq!(ask(admin, &format!("GET /segments?id={id}")).0, 404);
    assert_eq!(ask_json(admin, "POST /cache/clear"), json!({ "Cleared": 0 }));
    let got = place.get("third", &site.url(), "three", &[]);
    got.assert_good();
    assert_eq!(got.source("origin"), len as u64);
}

/// Hundreds of blocks go by and by, and none that comes back is gone.
#[test]
fn a_cache_that_is_cleared_can_be_filled_again() {
    let (place, len) = (Place::new(14), 12_000_000);
    let site = place.site(origin(len, true));
    place.get("cache", &site.url(), "one", &[]).assert_good();
    let (peer, admin) = place.peer_with_admin("cache");
    let kept = ask_json(admin, "GET /status")["DataCache"]["NumberOfBlocks"].as_u64();
    assert!(kept > Some(128), "{kept:?}: more than are forgotten at once");
    assert_eq!(ask_json(admin, "POST /cache/clear")["Cleared"].as_u64(), kept);
    drop(peer);
    place.get("cache", &site.url(), "one", &[]).assert_good();
    let (_peer, admin) = place.peer_with_admin("cache");
    assert_eq!(ask_json(admin, "GET /status")["DataCache"]["NumberOfBlocks"].as_u64(), kept);
    assert!(place.read("one") == content(len));
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
