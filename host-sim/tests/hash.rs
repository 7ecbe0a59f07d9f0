//! `peerdist hash`, from outside: against core's publishers, run plainly.

use std::fs;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use peerdist_core::content::publish::{v1, v2};
use peerdist_core::content::segmenter::{SegmentLen, Segmentation};
use peerdist_core::content::{EndForm, Info, InfoSource as _, emit_empty, server_secret};
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto, hash};
use tempfile::TempDir;

const HEX: [&str; 2] = ["--secret-hex", "6e6f206d6f72652073656372657473"];

fn peerdist(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("peerdist").expect("the binary is built");
    command.current_dir(folder.path()).arg("hash").args(args);
    command
}

fn succeeds(folder: &TempDir, args: &[&str]) -> String {
    let output = peerdist(folder, args).output().expect("it can be started");
    assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stderr).lines().map(String::from).collect()
}

/// Runs it and expects it to refuse, in one line.
fn refuses(folder: &TempDir, args: &[&str]) -> String {
    let output = peerdist(folder, args).output().expect("it can be started");
    let [line] = &lines(&output)[..] else { panic!("{args:?}: {output:?}") };
    assert!(output.status.code() == Some(2) && output.stdout.is_empty(), "{args:?}: {output:?}");
    line.strip_prefix("peerdist: ").unwrap_or_else(|| panic!("{line}")).to_string()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 7 + 3) % 251) as u8).collect()
}

/// Content in which places to cut are found.
fn varied(len: usize) -> Vec<u8> {
    let digest = |n: u32| hash(&mut SoftCrypto, HashAlgorithm::Sha512, &n.to_le_bytes()).as_bytes().to_vec();
    (0..len.div_ceil(64) as u32).flat_map(digest).take(len).collect()
}

fn put(folder: &TempDir, name: &str, bytes: &[u8]) {
    fs::write(folder.path().join(name), bytes).expect("a writable folder");
}

fn get(folder: &TempDir, name: impl AsRef<Path>) -> Vec<u8> {
    fs::read(folder.path().join(name)).expect("a readable file")
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).expect("a readable folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn v1_of(algorithm: HashAlgorithm, key: &[u8], content: &[u8]) -> Vec<u8> {
    let len = content.len() as u64;
    let mut info = vec![0; peerdist_core::content::v1::info_len(algorithm, len).expect("not empty") as usize];
    let ks = server_secret(&mut SoftCrypto, algorithm, key);
    let mut publisher = v1::Publisher::new(algorithm, ks, len).expect("not empty");
    publisher.update(&mut SoftCrypto, content, &mut info.as_mut_slice()).expect("there is room");
    publisher.finish(&mut info.as_mut_slice()).expect("all was given");
    info
}

fn v2_of(segmentation: Segmentation, key: &[u8], content: &[u8]) -> Vec<u8> {
    let mut info = vec![0; 40 + 68 * content.len()];
    let ks = server_secret(&mut SoftCrypto, HashAlgorithm::TruncatedSha512, key);
    let mut publisher = v2::Publisher::new(ks, segmentation);
    publisher.update(&mut SoftCrypto, content, &mut info.as_mut_slice()).expect("there is room");
    let made = publisher.finish(&mut SoftCrypto, &mut info.as_mut_slice()).expect("not empty");
    info.truncate(made.encoded_len() as usize);
    info
}

fn fixed(len: u32) -> Segmentation {
    Segmentation::Fixed(SegmentLen::new(len).expect("a length"))
}

fn excerpt(info: &[u8], range: std::ops::Range<u64>) -> Vec<u8> {
    let excerpt = Info::parse(&info).expect("it was published").excerpt(&info, range, EndForm::Zero);
    let excerpt = excerpt.expect("readable").expect("in range");
    let mut bytes = vec![0; excerpt.len() as usize];
    excerpt.read_at(0, &mut bytes).expect("readable");
    bytes
}

#[test]
fn golden_vectors() {
    let folder = folder();
    for (len, algorithm, sha256) in VECTORS {
        put(&folder, "content", &content(*len));
        succeeds(&folder, &["content", "-o", "info", "--algo", algorithm, HEX[0], HEX[1]]);
        let digest = hash(&mut SoftCrypto, HashAlgorithm::Sha256, &get(&folder, "info"));
        assert_eq!(format!("{digest:?}"), *sha256, "{len} {algorithm}");
    }
}

#[test]
fn version_1_as_core_publishes_it() {
    let folder = folder();
    let key = b"no more secrets";
    for len in [1, 65_536, 262_144, 300_000, 35 << 20] {
        let content = content(len);
        put(&folder, "content", &content);
        for (name, algorithm) in [
            ("sha256", HashAlgorithm::Sha256),
            ("sha384", HashAlgorithm::Sha384),
            ("SHA512", HashAlgorithm::Sha512),
        ] {
            let expected = v1_of(algorithm, key, &content);
            let said = succeeds(&folder, &["content", "-o", "info", "--algo", name, HEX[0], HEX[1]]);
            assert!(get(&folder, "info") == expected, "{len} {name}");
            let (bytes, segments) = (if len == 1 { "byte" } else { "bytes" }, len.div_ceil(32 << 20));
            let plural = if segments == 1 { "" } else { "s" };
            assert_eq!(said, format!("content: {len} {bytes}, {segments} segment{plural}, info\n"));
            let args = ["-", "--output", "-", "--algo", name, HEX[0], HEX[1]];
            let output = peerdist(&folder, &args).write_stdin(content.clone()).output();
            let output = output.expect("it can be started");
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
            assert!(output.stdout == expected, "{len} {name}");
        }
    }
}

#[test]
fn version_2_as_core_publishes_it() {
    let folder = folder();
    let key = b"\x31\0";
    for len in [1, 131_072, 1_000_000, 5 << 20] {
        let content = varied(len);
        put(&folder, "content", &content);
        for (size, segmentation) in [
            (None, Segmentation::ContentDefined),
            (Some("64KiB"), fixed(65_536)),
            (Some("131072"), fixed(131_072)),
            (Some("99991"), fixed(99_991)),
            (Some("7"), fixed(7)),
        ] {
            if len > 1_000_000 && size == Some("7") {
                continue;
            }
            let expected = v2_of(segmentation, key, &content);
            let mut args = vec!["content", "-o", "info", "--content-info", "2", "--secret", "1"];
            args.extend(size.iter().flat_map(|size| ["--segment-size", size]));
            succeeds(&folder, &args);
            assert!(get(&folder, "info") == expected, "{len} {size:?}");
            [args[0], args[2]] = ["-", "-"];
            let output = peerdist(&folder, &args).write_stdin(content.clone()).output();
            assert!(output.expect("it can be started").stdout == expected, "{len} {size:?}");
        }
    }
}

#[test]
fn ranges() {
    let folder = folder();
    let content = varied(400_000);
    put(&folder, "content", &content);
    let key = b"no more secrets";
    for (version, whole) in
        [("1", v1_of(HashAlgorithm::Sha256, key, &content)), ("2", v2_of(fixed(100_000), key, &content))]
    {
        for (range, expected) in
            [("0-400000", 0..400_000), ("70000-70010", 70_000..70_010), ("399999-400000", 399_999..400_000)]
        {
            let mut args = vec!["content", "-o", "info", "--content-info", version, "--range", range];
            args.extend(HEX);
            if version == "2" {
                args.extend(["--segment-size", "100000"]);
            }
            let said = succeeds(&folder, &args);
            assert!(said.contains(&format!(" {} byte", expected.end - expected.start)), "{said}");
            assert_eq!(get(&folder, "info"), excerpt(&whole, expected.clone()), "{version} {range}");
            args[2] = "-";
            assert_eq!(succeeds_raw(&folder, &args), excerpt(&whole, expected), "{version} {range}");
        }
        let line =
            refuses(&folder, &["content", "-o", "new", "--content-info", version, "--range", "0-400001"]);
        assert_eq!(line, "content: --range reaches beyond its 400000 bytes");
    }
    put(&folder, "empty", b"");
    let line = refuses(&folder, &["empty", "-o", "new", "--range", "0-1"]);
    assert_eq!(line, "empty: --range reaches beyond its 0 bytes");
    assert_eq!(names(&folder), ["content", "empty", "info"]);
}

fn succeeds_raw(folder: &TempDir, args: &[&str]) -> Vec<u8> {
    let output = peerdist(folder, args).output().expect("it can be started");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    output.stdout
}

#[test]
fn empty_content_has_a_mere_header() {
    let folder = folder();
    put(&folder, "content", b"");
    for (args, algorithm) in [
        (&["--algo", "sha384"][..], HashAlgorithm::Sha384),
        (&["--content-info", "2"], HashAlgorithm::TruncatedSha512),
    ] {
        let mut room = [0; 31];
        let len = emit_empty(algorithm, &mut room.as_mut_slice()).expect("there is room") as usize;
        let args = [&["content", "-o", "info", "--secret", "x"], args].concat();
        assert_eq!(succeeds(&folder, &args), "content: 0 bytes, 0 segments, info\n");
        assert_eq!(get(&folder, "info"), room[..len]);
        let args = [&["-", "-o", "-"], &args[3..]].concat();
        assert_eq!(succeeds_raw(&folder, &args), room[..len]);
    }
}

#[test]
fn keys() {
    let folder = folder();
    put(&folder, "content", &content(5));
    put(&folder, "key", b"\x00\xff");
    let made = |args: &[&str]| {
        succeeds(&folder, &[&["content", "-o", "info"], args].concat());
        get(&folder, "info")
    };
    let expected = |key: &[u8]| v1_of(HashAlgorithm::Sha256, key, &content(5));
    assert_eq!(made(&["--secret", "aé"]), expected(b"a\0\xe9\0"));
    assert_eq!(made(&["--secret-hex", "00Ff"]), expected(b"\x00\xff"));
    assert_eq!(made(&["--key", "key"]), expected(b"\x00\xff"));

    let drawn: Vec<Vec<u8>> = (0..2)
        .map(|_| {
            let output = peerdist(&folder, &["content", "-o", "info"]).output().expect("it can be started");
            let [line] = &lines(&output)[..] else { panic!("{output:?}") };
            assert!(output.status.success() && line.contains("random key") && line.contains("Kp"), "{line}");
            get(&folder, "info")
        })
        .collect();
    assert_ne!(drawn[0], drawn[1]);
}

#[test]
fn several_files() {
    let folder = folder();
    for (name, len) in [("one", 70_000), ("two", 3)] {
        put(&folder, name, &content(len));
    }
    let args = ["one", "absent", "two", ".", "-o", "to/infos", HEX[0], HEX[1]];
    let line = refuses(&folder, &args);
    assert_eq!(line, ".: has no name to call its content information by");
    fs::create_dir(folder.path().join("sub")).expect("a writable folder");
    let args = ["one", "absent", "two", "sub", "-o", "to/infos", HEX[0], HEX[1]];
    let output = peerdist(&folder, &args).output().expect("it can be started");
    let errors = lines(&output);
    assert_eq!((output.status.code(), errors.len()), (Some(2), 2), "{output:?}");
    assert!(errors[0].starts_with("peerdist: absent: No such file"), "{errors:?}");
    assert!(errors[1].starts_with("peerdist: sub: Is a directory"), "{errors:?}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "one: 70000 bytes, 1 segment, to/infos/one.info\ntwo: 3 bytes, 1 segment, to/infos/two.info\n"
    );
    for (name, len) in [("one", 70_000), ("two", 3)] {
        let expected = v1_of(HashAlgorithm::Sha256, b"no more secrets", &content(len));
        assert_eq!(get(&folder, Path::new("to/infos").join(name).with_extension("info")), expected);
    }
    let made = fs::read_dir(folder.path().join("to/infos")).expect("it was made");
    assert_eq!(made.count(), 2);
}

#[test]
fn what_is_refused_before_anything_is_hashed() {
    let folder = folder();
    fs::create_dir(folder.path().join("sub")).expect("a writable folder");
    for name in ["a", "a.info", "b.info", "key", "sub/a", "sub/b"] {
        put(&folder, name, b"content");
    }
    for (args, line) in [
        (&["a", "sub/a", "-o", "to"][..], "a and sub/a: both would become to/a.info"),
        (&["a", "a.info", "-o", "."], "-o ./a.info: is a file to be hashed"),
        (&["a", "-o", "sub/../a"], "-o sub/../a: is a file to be hashed"),
        (&["a", "-o", "sub"], "-o sub: is a folder"),
        (&["a", "-o", "sub/../key", "--key", "key"], "-o sub/../key: is the server secret key"),
        (&["a", "sub/b", "-o", ".", "--key", "b.info"], "-o ./b.info: is the server secret key"),
        (&["a", "-", "-o", "to"], "-: stdin is hashed alone"),
        (&["a", "sub/a", "-o", "-"], "-o -: stdout takes the content information of one file"),
        (
            &["a", "-o", "b", "--content-info", "2", "--algo", "sha256"],
            "--algo: content information 2 has one",
        ),
        (&["a", "-o", "b", "--segment-size", "9"], "--segment-size: segments of content information 1 have"),
        (&["a", "-o", "b", "--content-info", "3"], "invalid value '3' for '--content-info"),
        (&["a", "-o", "b", "--algo", "md5"], "invalid value 'md5' for '--algo"),
        (&["a", "-o", "b", "--secret", ""], "--secret: an empty key keeps no secret"),
        (&["a", "-o", "b", "--secret-hex", "abc"], "--secret-hex: not pairs of hex digits"),
        (&["a", "-o", "b", "--key", "absent"], "--key absent: No such file"),
        (
            &["a", "-o", "b", "--key", "sub", "--secret", "x"],
            "the argument '--key <FILE>' cannot be used with",
        ),
        (&["a", "--secret", "x"], "missing: --output <INFO>"),
        (&["-o", "b", "--secret", "x"], "missing: <FILE>..."),
    ] {
        let refusal = refuses(&folder, args);
        assert!(refusal.starts_with(line), "{args:?}: {refusal}");
    }
    for (range, reason) in [("5", "not A-B"), ("5-5", "no bytes"), ("5-4", "no bytes"), ("-1-5", "not two")] {
        let refusal = refuses(&folder, &["a", "-o", "b", "--range", range]);
        assert!(refusal.contains("--range") && refusal.contains(reason), "{refusal}");
    }
    for size in ["0", "131073", "x", "-1"] {
        let refusal = refuses(&folder, &["a", "-o", "b", "--content-info", "2", "--segment-size", size]);
        assert!(refusal.contains("--segment-size") && refusal.contains("131072"), "{refusal}");
    }
    assert_eq!(names(&folder), ["a", "a.info", "b.info", "key", "sub"]);
    for name in ["a", "a.info", "b.info", "key"] {
        assert_eq!(get(&folder, name), b"content");
    }
}

#[test]
fn an_older_info_stays_until_the_new_one_is_whole() {
    let folder = folder();
    put(&folder, "content", &content(9));
    put(&folder, "info", b"older");
    for args in [&["absent", "-o", "info"][..], &["content", "-o", "info", "--range", "0-10"]] {
        refuses(&folder, args);
        assert_eq!(get(&folder, "info"), b"older");
    }
    let line = refuses(&folder, &["content", "-o", "no/info"]);
    assert!(line.starts_with("-o no/info: No such file"), "{line}");
    assert_eq!(names(&folder), ["content", "info"]);
    succeeds(&folder, &["content", "-o", "info", "--secret", "x"]);
    assert_eq!(get(&folder, "info"), v1_of(HashAlgorithm::Sha256, b"x\0", &content(9)));
    assert_eq!(names(&folder), ["content", "info"]);
}

#[test]
fn help_tells_the_exit_codes_of_hashing() {
    let folder = folder();
    let help = succeeds(&folder, &["--help"]);
    assert!(help.contains("2  of one there is none") && !help.contains("all clients"), "{help}");
    assert!(help.contains("from A up to, not including, B"), "{help}");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::process::ExitStatusExt as _;
    use std::{process, thread};

    use super::*;

    /// Runs a line of the shell, in which `$0` is the command.
    fn shell(folder: &TempDir, line: &str) -> Output {
        let command = Command::cargo_bin("peerdist").expect("the binary is built");
        let mut shell = Command::new("sh");
        shell.current_dir(folder.path()).arg("-c").arg(line).arg(command.get_program());
        shell.output().expect("a shell")
    }

    #[test]
    fn it_is_its_owners_alone_and_links_are_kept() {
        let folder = folder();
        put(&folder, "content", b"content");
        put(&folder, "info", b"older");
        symlink("info", folder.path().join("link")).expect("a writable folder");
        succeeds(&folder, &["content", "-o", "link", "--secret", "x"]);
        assert_eq!(get(&folder, "info"), v1_of(HashAlgorithm::Sha256, b"x\0", b"content"));
        let mode = fs::metadata(folder.path().join("info")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(names(&folder), ["content", "info", "link"]);
        // Nor is a device replaced.
        assert_eq!(refuses(&folder, &["content", "-o", "/dev/null"]), "-o /dev/null: not a regular file");
    }

    #[test]
    fn a_full_disk_leaves_nothing() {
        let folder = folder();
        put(&folder, "content", &content(1 << 20));
        put(&folder, "info", b"older");
        let limited = "trap '' XFSZ && ulimit -f 1 && exec \"$0\" hash content --secret x";
        for (args, place) in [
            ("-o info", "-o info: File too large"),
            ("-o info --content-info 2 --segment-size 1000 --range 1-2", "a file in .: File too large"),
            ("-o -", "a file in "),
        ] {
            let output = shell(&folder, &format!("{limited} {args}"));
            let [line] = &lines(&output)[..] else { panic!("{output:?}") };
            assert_eq!(output.status.code(), Some(2), "{line}");
            assert!(line.starts_with(&format!("peerdist: {place}")), "{line}");
            assert!(line.contains("File too large") && output.stdout.is_empty(), "{output:?}");
        }
        let limited = limited.replace(" content", " -");
        let output = shell(&folder, &format!("{limited} -o info < content"));
        assert!(lines(&output).concat().contains("File too large"), "{output:?}");
        assert_eq!(names(&folder), ["content", "info"]);
        assert_eq!(get(&folder, "info"), b"older");
    }

    #[test]
    fn links_may_lead_to_another_disk_or_to_what_is_not_there_yet() {
        let folder = folder();
        put(&folder, "content", b"content");
        let expected = v1_of(HashAlgorithm::Sha256, b"x\0", b"content");
        fs::create_dir(folder.path().join("sub")).expect("a writable folder");
        symlink("sub/next", folder.path().join("link")).expect("a writable folder");
        symlink("new", folder.path().join("sub/next")).expect("a writable folder");
        succeeds(&folder, &["content", "-o", "link", "--secret", "x"]);
        assert!(folder.path().join("link").is_symlink() && folder.path().join("sub/next").is_symlink());
        assert_eq!(get(&folder, "sub/new"), expected);

        let memory = tempfile::tempdir_in("/dev/shm").expect("a file system of its own");
        symlink(memory.path().join("info"), folder.path().join("far")).expect("a writable folder");
        for older in [false, true] {
            succeeds(&folder, &["content", "-o", "far", "--secret", "x", "--range", "0-7"]);
            assert_eq!(get(&memory, "info"), expected, "{older}");
        }
        assert_eq!(names(&memory), ["info"]);
        symlink("round", folder.path().join("round")).expect("a writable folder");
        let line = refuses(&folder, &["content", "-o", "round"]);
        assert_eq!(line, "-o round: links that lead nowhere");
        assert_eq!(names(&folder), ["content", "far", "link", "round", "sub"]);
    }

    #[test]
    fn a_signal_leaves_nothing() {
        for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
            let folder = folder();
            // Longer than can be hashed before the signal comes.
            let content = tempfile::NamedTempFile::new().expect("a folder for temporary files");
            content.as_file().set_len(64 << 30).expect("a sparse file");
            let command = Command::cargo_bin("peerdist").expect("the binary is built");
            let mut child = process::Command::new("env")
                .arg(format!("--default-signal={name}"))
                .arg(command.get_program())
                .args(["hash", "--secret", "x", "-o", "info"])
                .arg(content.path())
                .current_dir(folder.path())
                .spawn()
                .expect("it can be started");
            while names(&folder).is_empty() {
                assert_eq!(child.try_wait().expect("it is ours"), None);
                thread::yield_now();
            }
            assert!(names(&folder)[0].starts_with(".peerdist-"), "{:?}", names(&folder));
            let id = child.id().to_string();
            let sent = process::Command::new("kill").args([&format!("-{name}"), &id]).status();
            assert!(sent.expect("it can be started").success());
            assert_eq!(child.wait().expect("it is ours").signal(), Some(number));
            assert_eq!(names(&folder), [""; 0]);
        }
    }

    #[test]
    fn an_ignored_signal_stays_ignored() {
        let folder = folder();
        put(&folder, "content", &content(70_000));
        // It goes on when the signal has come, as nohup wants it to.
        let line = "trap '' HUP && mkfifo pipe && exec 3<>pipe && { \"$0\" hash pipe -o info --secret x 3<&- & } \
            && until ls -A | grep -q .peerdist-; do :; done && kill -HUP $! && cat content >pipe && exec 3<&- \
            && wait $!";
        let output = shell(&folder, line);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(get(&folder, "info"), v1_of(HashAlgorithm::Sha256, b"x\0", &content(70_000)));
    }

    #[test]
    fn a_system_without_threads_to_spare_will_do() {
        let folder = folder();
        put(&folder, "content", &content(3 << 20));
        // No thread has room for its stack.
        let output = shell(&folder, "RUST_MIN_STACK=$((1 << 47)) \"$0\" hash content -o info --secret x");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert_eq!(get(&folder, "info"), v1_of(HashAlgorithm::Sha256, b"x\0", &content(3 << 20)));
    }

    #[test]
    fn files_that_the_system_makes_up() {
        let folder = folder();
        for args in [&["--content-info", "1"][..], &["--content-info", "2", "--segment-size", "10"]] {
            let version = fs::read("/proc/version").expect("a system of this kind");
            let args = [&["/proc/version", "-o", "info", "--secret", "x"], args].concat();
            let said = succeeds(&folder, &args);
            assert!(said.starts_with(&format!("/proc/version: {} bytes, ", version.len())), "{said}");
        }
        // Of others it tells a page.
        let online = "/sys/devices/system/cpu/online";
        let page = fs::metadata(online).expect("a system of this kind").len();
        let line = format!("{online}: gives other than the {page} bytes that it should have: try a pipe");
        for args in [&["--content-info", "1"][..], &["--content-info", "2"]] {
            assert_eq!(refuses(&folder, &[&[online, "-o", "none"], args].concat()), line);
        }
    }

    #[test]
    fn stdout_that_is_full_or_closed() {
        let folder = folder();
        put(&folder, "content", b"content");
        // The bytes of some have a newline among them, at which stdout is written to, and others have not.
        for secret in ["a", "b", "c", "d", "e", "f"] {
            let output = shell(&folder, &format!("\"$0\" hash content -o - --secret {secret} > /dev/full"));
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(lines(&output).concat().starts_with("peerdist: stdout: No space left"), "{output:?}");
        }
        put(&folder, "content", &content(9 << 20));
        // It begins when nobody reads any more.
        let line = "mkfifo gate && { cat gate; \"$0\" hash content -o - --secret x; echo $? > status; } \
            | { exec <&-; : > gate; }";
        let output = shell(&folder, line);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert_eq!(get(&folder, "status"), b"0\n");
    }

    #[test]
    fn a_pipe_by_name_is_read_to_its_end() {
        let folder = folder();
        put(&folder, "content", &content(200_000));
        let line = "mkfifo pipe && (cat content > pipe &) && \"$0\" hash pipe -o info --secret x";
        let output = shell(&folder, line);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(get(&folder, "info"), v1_of(HashAlgorithm::Sha256, b"x\0", &content(200_000)));
    }
}

/// SHA-256 of vectors of another implementation, whose secret is [`HEX`].
const VECTORS: &[(usize, &str, &str)] = &[
    (1, "sha256", "06f1d2ddf212e40e4c3a7264178504c18fdfc6708bb9c660f79509b218449516"),
    (1, "sha384", "a9009c591821e05c1794a15b12d627a6447ac7d44114033836635216200941c9"),
    (1, "sha512", "af6a5b706c33573f4b3a681529a39e987cf190ee89e1ae9e8f33572bb32858fd"),
    (65535, "sha256", "152af48bc55122be001d424235cced7e85dcb06ff5d16c532f01f3991f438112"),
    (65535, "sha384", "be6c96dfa102af4c592bcbe862329f9f8b47244a84668468b997481bee668731"),
    (65535, "sha512", "296f72de8e2eb6c9c82924b28327af7f50ef01c762748867a64b98c07f05fbf2"),
    (65536, "sha256", "354e8fe1d13c31211e2f8b08bb9e36c410e27a3dc6074195c2936b714378586d"),
    (65536, "sha384", "8c61ffdf4d264ed48e8fd25c6b02850f285835ffb57888b1b511b08de51ab1e5"),
    (65536, "sha512", "57e6f8431d75ac0afa500d0e5bf6a035e66441beb84b1167cea1cff4c0a693ce"),
    (65537, "sha256", "cb8eaf7314e33d517d7bedcfe5e68347784d5d902e8e08833fc5726d0da57740"),
    (65537, "sha384", "9ea25908df5f7d3def1f8973b5eb6d137a780a0feef8aae661c480bb68e430f9"),
    (65537, "sha512", "ca8fcdf0b59ecccecbd1b618d4b4c17ddb15ae45575e086498a5289ef430d138"),
    (128000, "sha256", "648ccd189ea81984260bf389020590a0b5e7ca63657c22cfd781f7cce4818320"),
    (128000, "sha384", "6757446f16777de96426dd0fb2f36c3aa6d31cf5ee5be0359fe011753847d7f2"),
    (128000, "sha512", "3d2aad63dc869a2342d8a8a85a3745f43f1c759923852590d937f9a1591f72fc"),
    (131072, "sha256", "867d66f244125923e97f5723cae9f657a0b00bd218365bdb12880a97d471924e"),
    (131072, "sha384", "4ab0602602ea67a3ec7dd80a263fa74b4c8aaf9a1a9e801a8200e4246c9f9dbc"),
    (131072, "sha512", "89103bf00e87172617323ee3fd62b88115eff1de6e5ebfc86fa9bebc04f2121f"),
    (200000, "sha256", "4b0e8a853beb0c84f66d3f6e5474cda0c486990feb60b688dc67cd17778f69c9"),
    (200000, "sha384", "002545fb14695e044bd244407b81bf7156e74d1efc5f9970276a733ceac2ba27"),
    (200000, "sha512", "eaebed121e2b60870c7fbecc5178e0a903da156be16abfe033dc29678db7354b"),
    (33554433, "sha256", "a3e21da52e96a31c1a69ef963176979525cec84521a76bc17a0fe3795be7f917"),
    (33554433, "sha384", "062f604fc0c33cc54cde9441eed1dd196de31d3c0478ab408ed3e56861716e83"),
    (33554433, "sha512", "c980989e9847676cef93e7b0f82e981dabfd9c3dd10c3cc1ca3038f811c2a0fc"),
];
