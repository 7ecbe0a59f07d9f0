//! Packages: from the cache of who got a file to that of a branch, which serves it then.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use peerdist_sim::package::{Reader, Writer};
use peerdist_tests::check::content;
use peerdist_tests::site::Site;
use serde_json::json;

use super::hosted::serve;
use super::place::{Got, Place, hex, origin};

/// Runs a command of packages in the folder.
fn package(place: &Place, args: &[&str]) -> Got {
    Got::of(&command(place, args).output().expect("it starts"))
}

fn command(place: &Place, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peerdist"));
    command.current_dir(place.folder.path()).arg("package").args(args).stdin(Stdio::null());
    command
}

fn export(place: &Place, cache: &str, more: &[&str]) -> Got {
    package(place, &[&["export", "--json", "--cache", cache, "-o", "package"], more].concat())
}

fn import(place: &Place, cache: &str, more: &[&str]) -> Got {
    package(place, &[&["import", "--json", "--cache", cache, "package"], more].concat())
}

/// A line that says why nothing was done.
#[track_caller]
fn assert_refused(got: &Got, line: &str) {
    assert_eq!((got.code, got.errors.as_str()), (2, format!("peerdist: {line}\n").as_str()), "{}", got.json);
}

/// A cache of the name `first` with all blocks of such a file, whose content information is in `info`.
fn filled(place: &Place, len: usize, v2: bool) -> Site {
    let site = place.site(origin(len, v2));
    place.get("first", &site.url(), "one", &[]).assert_good();
    fs::write(place.path("info"), &site.origin().info).expect("room");
    site
}

#[test]
fn a_branch_that_was_loaded_asks_no_origin() {
    for (net, v2) in [(80, false), (81, true)] {
        let (place, len) = (Place::new(net), 1_000_000);
        let site = filled(&place, len, v2);
        let count = place.committed("first").len();
        let packed = export(&place, "first", &[]);
        packed.assert_good();
        assert_eq!((&packed.json["blocks"], &packed.json["missing"]), (&json!(count), &json!(0)));
        assert_eq!(packed.json["bytes"], fs::metadata(place.path("package")).expect("it is there").len());
        place.assert_nothing("package.part");

        let taken = import(&place, "branch", &["--info", "info"]);
        taken.assert_good();
        assert_eq!((&taken.json["verified"], &taken.json["complete"]), (&json!(count), &json!(true)));
        assert_eq!(place.committed("branch").len(), count);
        let again = import(&place, "branch", &["--info", "info"]);
        again.assert_good();
        assert_eq!((&again.json["verified"], &again.json["present"]), (&json!(0), &json!(count)));

        let before = site.origin().body_bytes;
        let _peer = place.peer("branch");
        let got = place.get("second", &site.url(), "two", &[]);
        got.assert_good();
        assert_eq!((got.source("peers"), got.source("origin")), (len as u64, 0), "{}", got.json);
        assert_eq!(site.origin().body_bytes, before, "nothing but content information");
        assert!(place.read("two") == content(len));
    }
}

/// Without content information, only a hosted cache has a use for it; with some, it is verified still when it comes out
/// of that.
#[test]
fn as_received_it_is_for_a_hosted_cache_alone() {
    let (place, len) = (Place::new(82), 400_000);
    let site = filled(&place, len, false);
    let count = place.committed("first").len();
    export(&place, "first", &[]).assert_good();
    let left = import(&place, "branch", &[]);
    assert_eq!((left.code, &left.json["unknown"], &left.json["verified"]), (1, &json!(count), &json!(0)));
    assert_eq!(place.committed("branch").len(), 0);
    let taken = import(&place, "branch", &["--as-received"]);
    taken.assert_good();
    assert_eq!((&taken.json["as_received"], &taken.json["verified"]), (&json!(count), &json!(0)));

    let peer = place.peer("branch");
    let got = place.get("second", &site.url(), "two", &[]);
    got.assert_good();
    assert_eq!((got.source("peers"), got.source("origin")), (0, len as u64), "no peer serves it");
    drop(peer);
    let before = site.origin().body_bytes;
    let (hosting, hosted, _) = serve(&place, "hosted", 4, "branch", &[]);
    let got = place.get_of("third", &site.url(), "three", &["--hosted", &hosted.to_string()]);
    got.assert_good();
    assert_eq!((got.source("hosted"), site.origin().body_bytes), (len as u64, before), "{}", got.json);
    assert!(place.read("three") == content(len));
    drop(hosting);

    export(&place, "branch", &["--force", "--info", "info"]).assert_good();
    let taken = import(&place, "fourth", &["--info", "info"]);
    taken.assert_good();
    assert_eq!(taken.json["verified"], count);
}

/// A package with right checksums proves nothing: what it has is held against content information.
#[test]
fn what_is_not_the_content_is_refused() {
    let (place, len) = (Place::new(83), 300_000);
    let _site = filled(&place, len, false);
    export(&place, "first", &[]).assert_good();
    let good = place.read("package");
    let mut reader = Reader::new(good.as_slice()).expect("a package");
    let mut writer = Writer::new(Vec::new()).expect("room");
    let (mut offset, mut name) = (0, String::new());
    while let Some(record) = reader.next_record().expect("whole") {
        let mut bytes = record.bytes.to_vec();
        if record.head.id.index == 2 {
            bytes[40_000] ^= 1;
            (offset, name) = (record.offset, hex(record.head.id.segment.as_bytes()));
        }
        writer.put(&record.head, &bytes).expect("in order");
    }
    fs::write(place.path("package"), writer.finish().expect("room").0).expect("room");
    let taken = import(&place, "branch", &["--info", "info", "--as-received"]);
    assert_eq!((taken.code, &taken.json["refused"], &taken.json["verified"]), (1, &json!(1), &json!(4)));
    let line = format!("package: at byte {offset}: block 2 of segment {name}");
    let line = format!("peerdist: {line} is not what its content information says: its hash differs\n");
    assert_eq!(taken.errors, line);
    assert_eq!(place.committed("branch").len(), 4);

    // Content information of another content tells nothing of it, and one that is wrong is not gone by.
    fs::write(place.path("other"), &origin(len + 1, false).info).expect("room");
    let taken = import(&place, "other-branch", &["--info", "other"]);
    assert_eq!((taken.code, &taken.json["unknown"]), (1, &json!(5)), "{}", taken.errors);
    let mut wrong = place.read("info");
    *wrong.last_mut().expect("a hash") ^= 1;
    fs::write(place.path("wrong"), &wrong).expect("room");
    let refused = import(&place, "other-branch", &["--info", "wrong"]);
    assert_eq!(refused.code, 2);
    assert!(refused.errors.ends_with("is not the hash of the block hashes\n"), "{}", refused.errors);
}

/// Found in any place, and what came before stays: a good copy goes on from there.
#[test]
fn damage_is_told_and_what_came_before_stays() {
    let (place, len) = (Place::new(84), 300_000);
    let _site = filled(&place, len, false);
    export(&place, "first", &[]).assert_good();
    let good = place.read("package");
    let record = 96 + 65_552 + 32;
    for (at, offset, before) in [(3, 0, 0), (8, 8, 0), (8 + record + 9_999, 8 + record, 1)] {
        let mut damaged = good.clone();
        damaged[at] ^= 0x40;
        fs::write(place.path("package"), &damaged).expect("room");
        let cache = format!("branch-{at}");
        let taken = import(&place, &cache, &["--info", "info"]);
        assert_eq!(taken.code, 2, "{}", taken.json);
        assert!(
            taken.errors.starts_with(&format!("peerdist: package: at byte {offset}: ")),
            "{}",
            taken.errors
        );
        assert_eq!(taken.errors.lines().count(), 1);
        assert_eq!(place.committed(&cache).len(), before);
        if at == 3 {
            assert!(!place.path(&cache).exists(), "there is no cache for what is no package");
            continue;
        }
        assert_eq!(taken.json["complete"], false);
    }
    fs::write(place.path("package"), &good[..good.len() - 1]).expect("room");
    let taken = import(&place, "branch", &["--info", "info"]);
    assert_refused(&taken, &format!("package: at byte {}: the package ends too early", good.len() - 1));
    assert_eq!((&taken.json["verified"], &taken.json["complete"]), (&json!(5), &json!(false)));
    fs::write(place.path("package"), &good).expect("room");
    let taken = import(&place, "branch", &["--info", "info"]);
    taken.assert_good();
    assert_eq!(taken.json["present"], 5);
}

#[test]
fn killed_in_the_middle_it_keeps_what_was_verified() {
    let (place, len) = (Place::new(85), 1_000_000);
    let _site = filled(&place, len, false);
    export(&place, "first", &[]).assert_good();
    let package = place.read("package");
    let mut child = command(&place, &["import", "--cache", "branch", "-", "--info", "info"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    // Eight blocks and a half.
    pipe.write_all(&package[..8 + 8 * 65_680 + 30_000]).expect("it reads");
    let begun = Instant::now();
    while place.committed("branch").len() < 8 {
        assert!(begun.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(10));
    }
    let busy = import(&place, "branch", &["--info", "info"]);
    assert_eq!(busy.code, 2);
    assert!(busy.errors.ends_with(&format!("{} is in use\n", blocks("branch").display())), "{}", busy.errors);
    let busy = export(&place, "branch", &["--force"]);
    assert!(busy.code == 2 && busy.errors.ends_with(" is in use\n"), "{}", busy.errors);
    child.kill().expect("it waits");
    child.wait().expect("it was started");
    assert_eq!(place.committed("branch").len(), 8);
    let taken = import(&place, "branch", &["--info", "info"]);
    taken.assert_good();
    assert_eq!((&taken.json["present"], &taken.json["verified"]), (&json!(8), &json!(8)));
}

fn blocks(cache: &str) -> std::path::PathBuf {
    Path::new(cache).join("blocks")
}

/// Only what content information tells of, and whether that is all; by a pipe, too.
#[test]
fn a_part_of_a_cache() {
    let (place, len) = (Place::new(86), 300_000);
    let _site = filled(&place, len, false);
    let other = place.site(origin(500_000, true));
    place.get("first", &other.url(), "other", &["--range", "0-100000"]).assert_good();
    fs::write(place.path("info2"), &other.origin().info).expect("room");
    let all = place.committed("first").len();
    let packed = export(&place, "first", &["--info", "info"]);
    packed.assert_good();
    assert_eq!((&packed.json["blocks"], &packed.json["segments"]), (&json!(5), &json!(1)));
    assert_refused(&export(&place, "first", &[]), "-o package: exists; --force replaces it");
    let packed = export(&place, "first", &["--info", "info2", "--force"]);
    assert_eq!((packed.code, &packed.json["blocks"]), (1, &json!(all - 5)));
    let missing = packed.json["missing"].as_u64().expect("a number");
    assert_eq!(packed.errors, format!("peerdist: {missing} blocks of the content are not in the cache\n"));
    assert_eq!(place.committed("first").len(), all);

    let piped = command(&place, &["export", "--cache", "first", "-o", "-"]).output().expect("it starts");
    assert!(piped.status.success() && piped.stderr.is_empty());
    fs::write(place.path("package"), &piped.stdout).expect("room");
    let taken = import(&place, "branch", &["--info", "info", "--info", "info2"]);
    taken.assert_good();
    assert_eq!(taken.json["verified"], all);
}

/// What was not used for longest goes, as everywhere.
#[test]
fn a_cache_that_is_full() {
    let (place, len) = (Place::new(87), 1_000_000);
    let _site = filled(&place, len, false);
    export(&place, "first", &[]).assert_good();
    let taken = import(&place, "branch", &["--info", "info", "--max-size", "500KiB"]);
    taken.assert_good();
    assert_eq!((&taken.json["verified"], place.committed("branch").len()), (&json!(16), 8));
    assert_eq!(taken.json["evicted"], 8);
    let taken = import(&place, "small", &["--info", "info", "--max-size", "50KiB"]);
    assert_refused(&taken, "--cache small: no room for a block");
}

#[test]
fn what_cannot_be_done_is_told_in_a_line() {
    let place = Place::new(88);
    let _site = filled(&place, 70_000, false);
    assert_refused(&export(&place, "nowhere", &[]), "--cache nowhere: there is no cache");
    assert!(!place.path("nowhere").exists());
    fs::write(place.path("package.part"), [7; 100_000]).expect("room");
    export(&place, "first", &[]).assert_good();
    let package_bytes = place.read("package");
    place.assert_nothing("package.part");
    import(&place, "branch", &["--info", "info"]).assert_good();
    fs::create_dir(place.path("folder")).expect("room");
    for (args, line) in [
        (
            &["export", "--cache", "first", "-o", "folder", "--force"][..],
            "-o folder: exists, and is not a regular file",
        ),
        (&["export", "--cache", "first", "-o", "-", "--json"], "-o -: stdout takes the package, and no JSON"),
        (
            &["export", "--cache", "first", "-o", "new", "--info", "package"],
            "package: Version at byte 0: 0x6550 is not supported",
        ),
        (&["import", "--cache", "new", "info"], "info: at byte 0: no package begins like this"),
        (&["import", "--cache", "new", "-", "--info", "-"], "stdin cannot be two files"),
        (&["import", "--cache", "new", "-"], "stdin: at byte 0: no package begins like this"),
    ] {
        assert_refused(&package(&place, args), line);
        assert!(!place.path("new").exists());
    }
    assert!(place.read("package") == package_bytes);
}
