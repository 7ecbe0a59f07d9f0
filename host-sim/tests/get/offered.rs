//! Clients that offer by version 1, over TLS, what they got from an origin.

use std::time::{Duration, Instant};

use peerdist_tests::check::content;
use serde_json::json;

use super::hosted::status_when;
use super::place::{Got, Place, origin};
use super::secured::{at, certify, hosted};

/// A get by that hosted cache, on a machine that trusts no certificate but that one.
fn get(place: &Place, url: &str, name: &str, secured: &str, port: u16, cert: &str) -> Got {
    let mut command = place.command(&format!("{name}-cache"), url, name);
    command.args(["--hosted", &format!("https://{}", at(secured)), "--hosted-port", &port.to_string()]);
    Got::of(&command.env("SSL_CERT_FILE", cert).env_remove("SSL_CERT_DIR").output().expect("it starts"))
}

/// What a client got it offers before it ends. The hosted cache verifies it, and the next client has all of it from
/// there.
#[test]
fn over_tls() {
    let (place, len) = (Place::new(70), 700_000);
    let site = place.site(origin(len, false));
    let (cert, key) = certify(&place);
    let options = ["--tls-port", "0", "--cert", &cert, "--key", &key, "--admin", "127.0.0.1:0"];
    let (_cache, secured, plain, admin) = hosted(&place, "hosted", &options);
    let get = |name: &str| get(&place, &site.url(), name, &secured, plain.port(), &cert);

    let first = get("one");
    first.assert_good();
    assert_eq!((first.source("origin"), first.source("hosted")), (len as u64, 0), "{}", first.json);
    let status = status_when(admin, |it| it["HostedCacheServer"]["BytesReceived"]["Other"] == json!(len));
    assert_eq!(status["HostedCacheServer"]["SegmentsNotAsOffered"], 0);
    // Under its own name a block is kept that was verified.
    let [mut kept, mut right] = ["hosted", "one-cache"].map(|cache| place.committed(cache));
    kept.sort();
    right.sort();
    assert_eq!(kept, right);

    let before = site.origin().body_bytes;
    let got = get("two");
    got.assert_good();
    assert_eq!(got.source("hosted"), len as u64, "{}", got.json);
    assert_eq!(site.origin().body_bytes, before, "nothing but content information");
    assert!(place.read("two") == content(len));
}

/// One line says why a hosted cache is offered nothing; the file comes all the same, and nobody waits behind it.
#[test]
fn no_certificate_that_is_trusted() {
    let (place, len) = (Place::new(71), 70_000);
    let site = place.site(origin(len, false));
    let (cert, key) = certify(&place);
    let options = ["--tls-port", "0", "--cert", &cert, "--key", &key, "--admin", "127.0.0.1:0"];
    let (_cache, secured, plain, admin) = hosted(&place, "hosted", &options);
    let stranger = Place::new(72);
    let (other, _) = certify(&stranger);
    for (name, trusted) in [("other", other.as_str()), ("none", "/nowhere")] {
        let begun = Instant::now();
        let got = get(&place, &site.url(), name, &secured, plain.port(), trusted);
        assert!(begun.elapsed() < Duration::from_secs(18), "it would stay for 20 s");
        assert_eq!((got.code, got.source("origin")), (0, len as u64), "{}", got.json);
        assert!(place.read(name) == content(len));
        let said = format!("peerdist: hosted cache {}: invalid peer certificate: ", at(&secured));
        let is_line = got.errors.starts_with(&said) && got.errors.lines().count() == 1;
        assert!(is_line, "{}", got.errors);
    }
    let status = status_when(admin, |it| it["HostedCacheServer"]["ConnectionsNotSecured"] == json!(2));
    assert_eq!(status["HostedCacheServer"]["SegmentsOffered"], 0);
}
