//! Version 1 of a hosted cache: by TLS, and nothing is kept that was not verified, unless that is wanted.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use peerdist_core::bytes::Writer;
use peerdist_core::content::Info;
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::hosted::wire::{MessageType, OPENING_BYTES, Opening, Version};
use peerdist_hal::std::rustls::crypto::ring;
use peerdist_hal::std::rustls::pki_types::{CertificateDer, pem::PemObject as _};
use peerdist_hal::std::rustls::{ClientConfig, ClientConnection, RootCertStore};
use peerdist_tests::check::content;
use serde_json::json;

use super::bad::fill_with_garbage;
use super::hosted::{admin, batch, post, post_by, serve, status_when, url};
use super::peer::ask_json;
use super::place::{Peer, Place, origin};

/// The tag that stands before content information.
const TAG: &[u8; 16] = b"WinINet\0\0\0\0\0\0\0\0\0";

const SELF_SIGNED: [&str; 5] = ["--tls-port", "0", "--tls-self-signed", "--admin", "127.0.0.1:0"];

/// What curl needs to accept such a certificate.
const ANY: &[&str] = &["-k"];

/// What a hosted cache answers.
const OK: [u8; 5] = [0, 0, 0, 1, 0];
const INTERESTED: [u8; 5] = [0, 0, 0, 1, 1];

fn answered(code: [u8; 5]) -> (String, Vec<u8>) {
    ("200".into(), code.into())
}

fn refused(status: &str) -> (String, Vec<u8>) {
    (status.into(), Vec::new())
}

fn message(kind: MessageType, port: u16, behind: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![0; OPENING_BYTES];
    Opening::new(Version::V1, kind, port).emit(&mut Writer::new(&mut message)).expect("room");
    behind.iter().for_each(|bytes| message.extend_from_slice(bytes));
    message
}

/// The id of the one segment of this content information.
fn segment_id(info: &[u8]) -> Vec<u8> {
    let segment = Info::parse(&info).and_then(|parsed| parsed.segment(&info, 0)).expect("our own");
    segment.id(&mut SoftCrypto).as_bytes().to_vec()
}

fn initial(info: &[u8], port: u16) -> Vec<u8> {
    message(MessageType::InitialOffer, port, &[&segment_id(info)])
}

fn described(info: &[u8], port: u16) -> Vec<u8> {
    message(MessageType::SegmentInfo, port, &[TAG, info])
}

/// A hosted cache with these options and that cache, at address 4: its URL of version 1, its plain address, and
/// where it tells how it does.
pub fn hosted(place: &Place, cache: &str, options: &[&str]) -> (Peer, String, SocketAddr, SocketAddr) {
    let (peer, plain, said) = serve(place, "hosted", 4, cache, options);
    let secured = said.iter().find_map(|line| line.strip_prefix("offers to https://"));
    let secured = format!("https://{}", secured.unwrap_or_else(|| panic!("{said:?}")));
    assert!(secured.ends_with(Version::V1.path()), "{secured}");
    (peer, secured, plain, admin(&said))
}

/// The same address with the path of version 2.
fn other_path(secured: &str) -> String {
    secured.replace(Version::V1.path(), Version::V2.path())
}

pub fn at(secured: &str) -> SocketAddr {
    let rest = secured.strip_prefix("https://").and_then(|rest| rest.split('/').next());
    rest.and_then(|address| address.parse().ok()).expect("an address")
}

/// Writes a certificate for that address, and its key; the folder of both.
pub fn certify(place: &Place) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([place.address(4).to_string()]).expect("a certificate");
    let (cert, key) = (place.path("cert.pem"), place.path("key.pem"));
    fs::write(&cert, made.cert.pem()).expect("room");
    fs::write(&key, made.signing_key.serialize_pem()).expect("room");
    (cert.display().to_string(), key.display().to_string())
}

#[test]
fn what_a_client_leaves_behind_is_verified() {
    for (net, tls) in [(60, ["--tls-max", "1.2"]), (61, ["--tlsv1.3", "-4"])] {
        let (place, len) = (Place::new(net), 700_000);
        let site = place.site(origin(len, false));
        let info = site.origin().info.clone();
        place.get_of("first", &site.url(), "one", &["--no-peers"]).assert_good();
        let count = place.committed("first").len();
        let (peer, serving, _) = serve(&place, "peer", 3, "first", &[]);
        let (cert, key) = certify(&place);
        let options = ["--tls-port", "0", "--cert", &cert, "--key", &key, "--admin", "127.0.0.1:0"];
        let (_cache, secured, plain, admin) = hosted(&place, "hosted", &options);
        // A client that verifies has no objection.
        let by_tls = [&tls[..], &["--cacert", &cert]].concat();
        let offer = |message: &[u8]| post_by(&place, place.address(3), &secured, message, &by_tls);

        assert_eq!(offer(&initial(&info, serving.port())), answered(INTERESTED));
        assert_eq!(offer(&described(&info, serving.port())), answered(OK));
        let status = status_when(admin, |it| it["HostedCacheServer"]["BlocksReceived"] == json!(count));
        assert_eq!(status["HostedCacheServer"]["BytesReceived"]["WinINet"], json!(len));
        assert_eq!(status["HostedCacheServer"]["HttpsPort"], json!(at(&secured).port()));
        assert_eq!(offer(&initial(&info, serving.port())), answered(OK), "all its hashes are here");
        drop(peer);

        // Under its own name a block is kept that was verified.
        let mut kept = place.committed("hosted");
        kept.sort();
        let mut right = place.committed("first");
        right.sort();
        assert_eq!(kept, right);
        let before = site.origin().body_bytes;
        let got = place.get_of("second", &site.url(), "two", &["--hosted", &plain.to_string()]);
        got.assert_good();
        assert_eq!(got.source("hosted"), len as u64, "{}", got.json);
        assert_eq!(site.origin().body_bytes, before, "nothing but content information");
        assert!(place.read("two") == content(len));
    }
}

/// A client that serves other bytes than it hashed: they are kept where that is wanted, apart from what peers give
/// each other, and nowhere else.
#[test]
fn other_bytes_than_it_hashed() {
    for (net, trusts) in [(62, false), (63, true)] {
        let (place, len) = (Place::new(net), 300_000);
        let site = place.site(origin(len, false));
        let info = site.origin().info.clone();
        let blocks = fill_with_garbage(&place.path("liar"), &info);
        let (liar, serving, _) = serve(&place, "peer", 3, "liar", &[]);
        let options =
            if trusts { [&SELF_SIGNED[..], &["--trust-offers"]].concat() } else { SELF_SIGNED.into() };
        let (mut cache, secured, plain, admin) = hosted(&place, "hosted", &options);
        if trusts {
            let mut lines = BufReader::new(cache.0.stderr.take().expect("a pipe")).lines();
            let line = lines.next().expect("a line").expect("text");
            assert!(line.contains("--trust-offers") && line.contains("NOT verified"), "{line}");
        }
        let described = described(&info, serving.port());
        assert_eq!(post_by(&place, place.address(3), &secured, &described, ANY), answered(OK));
        let status = status_when(admin, |status| {
            let offers = &status["HostedCacheServer"];
            let ended = if trusts { "BlocksReceived" } else { "SegmentsNotAsOffered" };
            offers[ended].as_u64() >= Some(if trusts { blocks as u64 } else { 1 })
        });
        drop(liar);
        let kept = place.committed("hosted");
        if !trusts {
            assert_eq!((kept.len(), &status["HostedCacheServer"]["BlocksReceived"]), (0, &json!(0)));
            continue;
        }
        assert_eq!(status["HostedCacheServer"]["SegmentsNotAsOffered"], 0);
        let real = segment_id(&info);
        assert_eq!(kept.len(), blocks);
        assert!(kept.iter().all(|(name, _)| *name != real && name.starts_with(&real)), "{kept:?}");

        // It is handed out, and whoever gets it finds out.
        let got = place.get_of("second", &site.url(), "two", &["--hosted", &plain.to_string()]);
        got.assert_good();
        assert_eq!((got.source("hosted"), got.source("origin")), (0, len as u64), "{}", got.json);
        let served = ask_json(admin, "GET /status")["ContentRetrieval"]["BlocksServed"].as_u64();
        assert!(served >= Some(1), "{served:?}");
        assert!(place.read("two") == content(len));

        // A peer hands out none of it.
        drop(cache);
        let (_peer, admin) = place.peer_with_admin("hosted");
        let got = place.get("third", &site.url(), "three", &[]);
        got.assert_good();
        assert_eq!((got.source("peers"), got.source("origin")), (0, len as u64), "{}", got.json);
        assert_eq!(ask_json(admin, "GET /status")["ContentRetrieval"]["BlocksServed"], 0);
    }
}

/// Neither URL takes the other's version, nor is there one of what is not taken.
#[test]
fn each_version_has_its_url() {
    let (place, from) = (Place::new(64), Place::new(64).address(3));
    let info = origin(70_000, false).info;
    let (v1, v2) = (described(&info, 9), batch(&info, 9));
    let (cache, secured, plain, _) = hosted(&place, "hosted", &SELF_SIGNED);
    let by_tls = |url: &str, message: &[u8]| post_by(&place, from, url, message, ANY);
    assert_eq!(post(&place, from, &url(plain, Version::V1), &v1), refused("404"));
    assert_eq!(by_tls(&other_path(&secured), &v2), refused("404"));
    assert_eq!(by_tls(&secured, &v2), refused("400"));
    assert_eq!(post(&place, from, &url(plain, Version::V2), &v1), refused("400"));
    assert_eq!(by_tls(&format!("{secured}/"), &v1), answered(OK));
    assert_eq!(post(&place, from, &url(plain, Version::V2), &v2), answered(OK));
    drop(cache);

    let (_cache, secured, plain, _) =
        hosted(&place, "hosted", &[&SELF_SIGNED[..], &["--accept", "v1"]].concat());
    assert_eq!(post(&place, from, &url(plain, Version::V2), &v2), refused("404"));
    assert_eq!(by_tls(&secured, &v1), answered(OK));
}

/// What is no TLS is dropped and counted, and hundreds of connections of which nothing comes keep nobody out.
#[test]
fn garbage_and_what_is_abandoned() {
    let (place, info) = (Place::new(65), origin(70_000, false).info);
    let (_cache, secured, _, admin) = hosted(&place, "hosted", &SELF_SIGNED);
    let offer = || post_by(&place, place.address(3), &secured, &initial(&info, 9), ANY);
    let not_secured = |it: &serde_json::Value| it["HostedCacheServer"]["ConnectionsNotSecured"].as_u64();

    let plain = format!("POST {} HTTP/1.1\r\nHost: cache\r\nContent-Length: 0\r\n\r\n", Version::V1.path());
    // A handshake whose record is said to be of the greatest length, and what is none at all.
    let garbage: [&[u8]; 4] =
        [plain.as_bytes(), &[0; 64], &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3], &[0xff; 70_000]];
    for bytes in garbage {
        let mut stream = TcpStream::connect(at(&secured)).expect("somebody listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
        // It may be gone before it has all.
        _ = stream.write_all(bytes);
        let mut reply = Vec::new();
        let ended = stream.read_to_end(&mut reply);
        let timed_out = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "it waits for more");
        assert!(!reply.starts_with(b"HTTP"), "an answer in clear");
    }
    status_when(admin, |it| not_secured(it) == Some(garbage.len() as u64));
    assert_eq!(offer(), answered(INTERESTED));

    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let abandoned: Vec<TcpStream> = (0..400)
        .map(|number| {
            let mut stream = TcpStream::connect(at(&secured)).expect("somebody listens");
            if number % 2 == 0 {
                stream.write_all(&hello).expect("it is open");
            }
            stream
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(offer(), answered(INTERESTED));
    }
    let status = status_when(admin, |it| not_secured(it) >= Some(300));
    // No more of them are kept than are secured at once.
    assert!(status["NetworkConfiguration"]["OpenConnections"].as_u64() <= Some(80), "{status}");
    drop(abandoned);
    status_when(admin, |it| not_secured(it) == Some(404));
    assert_eq!(offer(), answered(INTERESTED));
}

/// More secured connections on which nothing comes than there are uploads: who asks something has a place.
#[test]
fn secured_and_silent() {
    let (place, info) = (Place::new(68), origin(70_000, false).info);
    let (cert, key) = certify(&place);
    let options = ["--tls-port", "0", "--cert", &cert, "--key", &key, "--admin", "127.0.0.1:0"];
    let (_cache, secured, plain, admin) = hosted(&place, "hosted", &options);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&cert).expect("ours")).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has both");
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let silent: Vec<_> = (0..1_200)
        .map(|_| {
            let mut socket = TcpStream::connect(at(&secured)).expect("somebody listens");
            let name = IpAddr::from(place.address(4)).into();
            let mut session = ClientConnection::new(config.clone(), name).expect("a name");
            while session.is_handshaking() {
                session.complete_io(&mut socket).expect("it answers");
            }
            (session, socket)
        })
        .collect();
    status_when(admin, |it| it["NetworkConfiguration"]["ConnectionsTaken"].as_u64() == Some(1_200));
    let from = place.address(3);
    assert_eq!(post_by(&place, from, &secured, &initial(&info, 9), ANY), answered(INTERESTED));
    assert_eq!(post(&place, from, &url(plain, Version::V2), &batch(&info, 9)), answered(OK));
    let status = ask_json(admin, "GET /status");
    assert_eq!(status["NetworkConfiguration"]["ConnectionsRefused"], 0);
    assert_eq!(status["HostedCacheServer"]["ConnectionsNotSecured"], 0);
    drop(silent);
}

/// One line says which file, and what is wrong with it.
#[test]
fn certificates_that_cannot_be_used() {
    let place = Place::new(66);
    let (cert, key) = certify(&place);
    let other = rcgen::generate_simple_self_signed(["other".to_string()]).expect("a certificate");
    let write = |name: &str, text: &str| {
        fs::write(place.path(name), text).expect("room");
        place.path(name).display().to_string()
    };
    let other = write("other.pem", &other.signing_key.serialize_pem());
    let empty = write("empty.pem", "nothing\n");
    let pem = fs::read_to_string(&cert).expect("ours");
    let cut = write("cut.pem", pem.split_at(pem.len() / 2).0);
    let nonsense = write("nonsense.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked = write("locked.pem", locked);
    let broken = write("broken.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let gone = place.path("gone.pem").display().to_string();
    for (cert_file, key_file, at_cert, reason) in [
        (&gone, &key, true, "No such file"),
        (&empty, &key, true, "no certificate in PEM form"),
        (&key, &key, true, "no certificate in PEM form"),
        (&cut, &key, true, ""),
        (&nonsense, &key, true, ""),
        (&cert, &gone, false, "No such file"),
        (&cert, &cert, false, "no private key in PEM form"),
        (&cert, &locked, false, "the key is encrypted"),
        (&cert, &broken, false, ""),
        (&cert, &other, false, &format!("not the key of the certificate in {cert}")),
    ] {
        let line = cannot_start(&place, &["--cert", cert_file, "--key", key_file]);
        let named = if at_cert { format!("--cert {cert_file}: ") } else { format!("--key {key_file}: ") };
        let said = line.strip_prefix(&named).unwrap_or_else(|| panic!("{named}{line}"));
        assert!(said.contains(reason) && !said.is_empty(), "{line}");
    }
    assert!(!Path::new(&place.path("hosted")).exists(), "before that, nothing is made");

    for (options, reason) in [
        (&["--accept", "v1"][..], "--accept v1: that is by TLS: --cert and --key, or --tls-self-signed"),
        (&["--accept", "v2", "--tls-self-signed"], "--accept v2: a certificate is for v1 alone"),
        (&["--accept", "v3"], "possible values: v1, v2"),
        (&["--trust-offers"], "--trust-offers: of v1 alone"),
        (&["--tls-port", "1"], "missing: <--cert <FILE>|--tls-self-signed>"),
        (&["--cert", &cert], "missing: --key <FILE>"),
        (&["--key", &key], "missing: --cert <FILE>"),
        (&["--tls-self-signed", "--cert", &cert, "--key", &key], "cannot be used with"),
    ] {
        let line = cannot_start(&place, options);
        assert!(line.contains(reason), "{line}");
    }
}

/// The line that a hosted cache with these options ends with.
fn cannot_start(place: &Place, options: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peerdist"));
    command.args(["hosted", "--port", "0", "--bind", &place.address(4).to_string(), "--cache"]);
    let output = command.arg(place.path("hosted")).args(options).output().expect("it starts");
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), errors.lines().count()), (Some(2), 1), "{errors}");
    errors.strip_prefix("peerdist: ").expect("whose it is").trim_end().to_string()
}
