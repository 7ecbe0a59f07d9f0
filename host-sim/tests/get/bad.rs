//! What origins, peers and this machine may do wrong: a line says what, and no wrong file gets the final name.

use std::fs;
#[cfg(target_os = "linux")]
use std::fs::Permissions;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
#[cfg(target_os = "linux")]
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
#[cfg(target_os = "linux")]
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use peerdist_core::content::Info;
use peerdist_core::crypto::{CipherAlgorithm, HashAlgorithm, Seal, Secret, SoftCrypto, hash};
use peerdist_core::store::verify::{Expected, Intake};
use peerdist_core::store::{BlockId, Store as _};
use peerdist_sim::net::cache::{self, Limits};
use peerdist_tests::check::content;
use peerdist_tests::origin::Origin;
use peerdist_tests::site::Site;
use serde_json::Value;

use super::place::{Got, Place, origin};

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

/// What it got over is no error, but it is told.
#[test]
fn an_origin_that_fails_at_first() {
    let place = Place::new(48);
    let mut shaky = origin(1_000, false);
    shaky.manner.errors = 2;
    let got = place.get("cache", &place.site(shaky).url(), "file", &[]);
    got.assert_good();
    assert!(place.read("file") == content(1_000));
    let failures = serde_json::json!({ "origin answered with status 500": 2 });
    assert_eq!(got.json["files"][0]["origin_failures"], failures);
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

    // Neither the file nor the cache can have its place behind a file.
    fs::write(place.path("taken"), "").expect("a writable folder");
    for (cache, file, named) in
        [("cache", "taken/file", "taken/file.part"), ("taken", "file", "taken/blocks")]
    {
        let got = place.get(cache, &url, file, &[]);
        assert_eq!((got.code, got.errors.lines().count()), (2, 1), "{}", got.errors);
        assert!(got.errors.contains(named) && got.errors.contains("Not a directory"), "{}", got.errors);
    }

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

/// A peer that has something else under the name of every block, whole and sealed as if it were right.
#[test]
fn a_peer_that_gives_garbage() {
    for (net, v2) in [(16, false), (17, true)] {
        let (place, len) = (Place::new(net), 1_000_000);
        let site = place.site(origin(len, v2));
        let blocks = fill_with_garbage(&place.path("liar"), &site.origin().info);
        let _peer = place.peer("liar");
        let got = place.get("cache", &site.url(), "file", &["--why"]);
        got.assert_good();
        assert!(place.read("file") == content(len));
        assert_eq!((got.source("peers"), got.source("origin")), (0, len as u64), "{}", got.json);
        assert_eq!(place.committed("cache").len(), blocks);
        // Somebody asked it, and says what came of it.
        let liar = place.address(3).to_string();
        let parts = got.json["files"][0]["parts"].as_array().expect("parts").clone();
        let whys = parts.iter().filter_map(|part| part["why"].as_array()).flatten();
        assert!(whys.filter_map(Value::as_str).any(|why| why.starts_with(&liar)), "{}", got.json);
    }
}

/// How many blocks it has then.
pub fn fill_with_garbage(directory: &Path, info: &[u8]) -> usize {
    let crypto = &mut SoftCrypto;
    let mut store = cache::open(directory, Limits::default()).expect("a folder").blocks;
    let parsed = Info::parse(&info).expect("our own");
    let (mut number, mut offset) = (0, 0);
    while let Some(segment) = parsed.segment_at(&info, offset).expect("readable") {
        let id = segment.id(crypto);
        for index in 0..segment.block_count() {
            let len = segment.block_len(index).expect("there is one");
            let plain = vec![0x5a; len as usize];
            let hash = hash(crypto, HashAlgorithm::Sha256, &plain);
            let expected = Expected { algorithm: HashAlgorithm::Sha256, hash, len };
            let seal = Seal { algorithm: CipherAlgorithm::Aes128, iv: [1; 16] };
            let slot = store.reserve(&BlockId { segment: id, index }, seal.algorithm.sealed_len(len));
            let mut intake = Intake::new(crypto, slot.expect("room"), seal, expected);
            let key = Secret::from_slice(&[9; 32]).expect("a key");
            intake.update(&mut store, crypto, &key, &plain).expect("room");
            offset += u64::from(len);
            number += 1;
        }
    }
    number
}

/// What misbehaves, and what comes of it with content information and without: a part of the line, or the file.
type Case = (fn(&mut Origin), Outcome, Outcome);

#[derive(Clone, Copy)]
enum Outcome {
    File,
    /// This exit code, and a part of the line.
    Fails(i32, &'static str),
}

const INFO: Outcome = Outcome::Fails(1, "unusable content information");

const LIARS: &[Case] = &[
    (|origin| origin.manner.errors = 1, Outcome::File, Outcome::File),
    (|origin| origin.manner.errors = u32::MAX, Outcome::Fails(1, "500"), Outcome::Fails(1, "500")),
    (|origin| origin.manner.status = Some(416), Outcome::Fails(1, "416"), Outcome::Fails(1, "416")),
    // To where, it does not say.
    (|origin| origin.manner.status = Some(302), Outcome::Fails(1, "302"), Outcome::Fails(1, "302")),
    (|origin| origin.manner.breaks = 2, Outcome::File, Outcome::File),
    // Nobody could tell whether the rest belongs to the first half, without content information.
    (breaks_untagged, Outcome::File, Outcome::Fails(3, "lost")),
    (|origin| origin.manner.breaks = u32::MAX, Outcome::Fails(3, "lost"), Outcome::Fails(3, "lost")),
    (|origin| origin.manner.ignores_ranges = true, Outcome::File, Outcome::File),
    (|origin| origin.manner.shifts = true, Outcome::Fails(1, "bad reply"), Outcome::File),
    // One that comes right when it is asked again is not told from a line that flips bits.
    (|origin| origin.manner.wrong = u32::MAX, Outcome::Fails(1, "changed at byte"), Outcome::File),
    (|origin| origin.content.truncate(200_000), Outcome::Fails(1, ""), Outcome::File),
];

fn breaks_untagged(origin: &mut Origin) {
    origin.manner.breaks = 2;
    origin.etag = "W/\"1\"".into();
}

const LIARS_IN_INFO: &[Case] = &[
    (|origin| origin.info.truncate(origin.info.len() - 7), INFO, Outcome::File),
    (|origin| origin.info.truncate(3), INFO, Outcome::File),
    (|origin| origin.info.fill(0xff), INFO, Outcome::File),
    // The hash of a block: the list does not match the hash of the segment any more.
    (|origin| *origin.info.last_mut().expect("bytes") ^= 1, INFO, Outcome::File),
];

/// All at once, since some are tried again for half a minute.
#[test]
fn origins_that_lie() {
    let place = Place::new(18);
    thread::scope(|scope| {
        for (number, (misbehave, encoded, plain)) in LIARS.iter().enumerate() {
            for (has_info, outcome) in [(true, *encoded), (false, *plain)] {
                let mut origin = origin(300_000, false);
                if !has_info {
                    origin.info.clear();
                }
                misbehave(&mut origin);
                let (place, name) = (&place, format!("{number}-{has_info}"));
                scope.spawn(move || meet(place, &name, origin, outcome));
            }
        }
        for (number, (misbehave, outcome, _)) in LIARS_IN_INFO.iter().enumerate() {
            let mut origin = origin(300_000, false);
            misbehave(&mut origin);
            let (place, name) = (&place, format!("info-{number}"));
            scope.spawn(move || meet(place, &name, origin, *outcome));
        }
    });
}

/// Gets a file of that name from it.
fn meet(place: &Place, name: &str, origin: Origin, outcome: Outcome) {
    let content = origin.content.clone();
    let site = place.site(origin);
    let got = place.get(&format!("{name}.cache"), &site.url(), name, &[]);
    match outcome {
        Outcome::File => {
            assert_eq!((got.code, &*got.errors), (0, ""), "{name}");
            assert!(place.read(name) == content, "{name}");
        }
        Outcome::Fails(code, reason) => {
            assert_eq!((got.code, got.errors.lines().count()), (code, 1), "{name}: {}", got.errors);
            assert!(
                got.errors.contains(reason) && got.errors.contains(&site.url()),
                "{name}: {}",
                got.errors
            );
            assert!(!place.path(name).exists(), "{name}");
            // Only what can be gone on with is left.
            let left = ["part", "part.from"].map(|what| place.path(&format!("{name}.{what}")).exists());
            assert_eq!(left[0], left[1], "{name}");
        }
    }
}

/// The origin publishes something else in the middle: the file is what its content information says, or it is
/// none.
#[test]
fn content_that_changes_meanwhile() {
    let place = Place::new(19);
    let site = place.slow_site(origin(6_000_000, false), Duration::from_millis(5));
    let mut get = place.command("cache", &site.url(), "file");
    let get = get.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    assert!(site.wait_for_requests(5));
    site.origin().content.fill(7);
    let got = Got::of(&get.wait_with_output().expect("it ends"));
    assert_eq!((got.code, got.errors.lines().count()), (1, 1), "{}", got.errors);
    assert!(got.errors.contains("changed at byte"), "{}", got.errors);
    place.assert_nothing("file");
    // What came before the change is kept, and does not help.
    assert!(!place.committed("cache").is_empty());
    assert_eq!(place.get("cache", &site.url(), "file", &[]).code, 1);
    // What is published properly gets through.
    let old = content(6_000_000);
    site.origin().content = old.clone();
    place.get("cache", &site.url(), "file", &[]).assert_good();
    assert!(place.read("file") == old);
}

/// What all has come of is not thrown away where it cannot get its name.
#[test]
fn a_folder_in_the_place_of_the_file() {
    let place = Place::new(40);
    let mut origin = origin(100_000, false);
    // Nothing could go on with it.
    (origin.info, origin.etag) = (Vec::new(), String::new());
    let site = place.site(origin);
    fs::create_dir_all(place.path("folder/content")).expect("a writable folder");
    let got = place.get("cache", &site.url(), "folder", &[]);
    assert_eq!((got.code, got.errors.lines().count()), (2, 1), "{}", got.errors);
    let named = place.path("folder/content.part");
    assert!(got.errors.contains(&format!("what came is in {}", named.display())), "{}", got.errors);
    assert!(place.read("folder/content.part") == content(100_000));
}

/// Of more URLs than there are downloads, those that wait have no file yet.
#[cfg(unix)]
#[test]
fn more_urls_than_open_files() {
    let place = Place::new(41);
    let site = Site::open(Ipv4Addr::LOCALHOST.into(), origin(10, false), Duration::ZERO);
    fs::create_dir(place.path("folder")).expect("a writable folder");
    // A name has to be looked up.
    let url = |number: u32| format!("http://localhost:{}/{number}", site.address.port());
    let mut get = place.command("cache", &url(0), "folder");
    get.args((1..200).map(url)).arg("--no-peers");
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 100; exec \"$0\" \"$@\""]).arg(get.get_program());
    // There is no address to bind to without peers.
    let bind = place.address(2).to_string();
    shell.args(get.get_args().filter(|arg| *arg != "--bind" && *arg != bind.as_str()));
    Got::of(&shell.output().expect("there is a shell")).assert_good();
    for number in 0..200 {
        assert!(place.read(&format!("folder/{number}")) == content(10));
    }
}

/// The file of blocks in the cache of that name.
#[cfg(target_os = "linux")]
fn pack(place: &Place, cache: &str) -> PathBuf {
    let files = fs::read_dir(place.path(cache).join("blocks")).expect("it is there").flatten();
    let mut files = files.map(|entry| entry.path());
    files.find(|path| path.to_string_lossy().contains("peerdist-blocks-")).expect("blocks")
}

/// A get as somebody to whom the rights of files apply, even if it is root's.
#[cfg(target_os = "linux")]
fn unprivileged(get: &Command) -> Got {
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=-all", "--bounding-set=-all"]);
    Got::of(&command.arg(get.get_program()).args(get.get_args()).output().expect("util-linux is here"))
}

/// It is told once, and in the way of nothing.
#[cfg(target_os = "linux")]
#[test]
fn blocks_of_somebody_else_in_the_cache() {
    // Full blocks, which lie in one file.
    let (place, len) = (Place::new(42), 4 * 65_536);
    let site = place.site(origin(len, false));
    place.get("cache", &site.url(), "file", &[]).assert_good();
    let pack = pack(&place, "cache");
    fs::set_permissions(&pack, Permissions::from_mode(0o000)).expect("our file");
    let get = place.command("cache", &site.url(), "again");
    let got = match fs::File::open(&pack) {
        Ok(_) => unprivileged(&get),
        Err(_) => place.get("cache", &site.url(), "again", &[]),
    };
    assert_eq!((got.code, got.errors.lines().count()), (0, 1), "{}", got.errors);
    assert!(got.errors.contains(&*pack.to_string_lossy()), "{}", got.errors);
    assert!(place.read("again") == content(len));
    assert_eq!(got.source("origin"), len as u64);
}

/// Nor is what has to make room, and cannot be removed.
#[cfg(target_os = "linux")]
#[test]
fn blocks_that_stay_when_they_have_to_go() {
    let place = Place::new(44);
    let (old, site) = (place.site(origin(60_000, false)), place.site(origin(200_000, false)));
    place.get("cache", &old.url(), "old", &[]).assert_good();
    // Files there are their owners' to remove, or the folder's.
    let (folder, pack) = (place.path("cache/blocks"), pack(&place, "cache"));
    let nobody = Some(65_534);
    if [&folder, &pack].into_iter().any(|path| chown(path, nobody, None).is_err()) {
        eprintln!("nothing can be given away here: not tested");
        return;
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o1777)).expect("we are root");
    fs::set_permissions(&pack, Permissions::from_mode(0o666)).expect("we are root");
    let mut get = place.command("cache", &site.url(), "file");
    // One block.
    get.args(["--max-size", "100KiB"]);
    unprivileged(&get).assert_good();
    assert!(place.read("file") == content(200_000) && pack.exists());
}

/// A file may have no more than so many KiB: as if the disk were full in the middle.
#[cfg(unix)]
pub fn limited(place: &Place, url: &str, kib: u32) -> Got {
    let get = place.command("cache", url, "file");
    let mut command = Command::new("sh");
    // The signal, ignored, becomes an error of the write.
    command.args(["-c", &format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kib * 2)]);
    Got::of(&command.arg(get.get_program()).args(get.get_args()).output().expect("there is a shell"))
}

#[cfg(unix)]
#[test]
fn a_disk_that_is_full() {
    let (place, len) = (Place::new(20), 3_000_000);
    let site = place.site(origin(len, false));
    // Not even a block has room.
    let got = limited(&place, &site.url(), 32);
    assert_eq!((got.code, got.errors.lines().count()), (2, 1), "{}", got.errors);
    assert!(got.errors.contains("peerdist-blocks-"), "{}", got.errors);
    place.assert_nothing("file");

    let got = limited(&place, &site.url(), 1_000);
    assert_eq!((got.code, got.errors.lines().count()), (2, 1), "{}", got.errors);
    assert!(got.errors.contains("file.part, byte "), "{}", got.errors);
    place.assert_nothing("file");

    // What had come is there when there is room again.
    let kept = place.committed("cache").len();
    let got = place.get("cache", &site.url(), "file", &[]);
    got.assert_good();
    assert!(place.read("file") == content(len));
    assert_eq!(got.source("cache"), kept as u64 * 65_536);
    assert!(kept > 0);
}
