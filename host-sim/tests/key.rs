//! `peerdist key`, from outside: keys are carried as they are, and never shown.

use std::fs;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

const KEY: &str = "no more secrets";
const PASSPHRASE: &str = "pass-w\u{f6}rd \u{1f511}";
const OTHER_PASSPHRASE: &str = "another-passphrase";

/// KEY, protected by PASSPHRASE, by OpenSSL 3, glibc's iconv and coreutils, from a terminal in UTF-8:
///
/// ```console
/// $ K=$(printf 'pass-wörd 🔑' | iconv -t UTF-16LE | openssl sha256 -r | cut -c1-64)
/// $ (printf 'no more secrets' | openssl sha256 -binary; printf 'no more secrets') |
///     openssl enc -aes-256-cbc -K $K -iv 00000000000000000000000000000000 | xxd -p
/// ```
const SEALED: [u8; 48] = [
    0x47, 0x6f, 0xc6, 0x9e, 0x03, 0xbe, 0x9e, 0x28, 0x50, 0xfb, 0xc7, 0x0e, 0xf0, 0xc6, 0x71, 0x49, 0x27,
    0x44, 0x3b, 0x88, 0xbb, 0xa7, 0xb5, 0x00, 0x40, 0x20, 0x46, 0x29, 0x92, 0x18, 0x19, 0x86, 0x82, 0x6a,
    0xfd, 0xd0, 0xe9, 0x04, 0x53, 0xc9, 0x5f, 0xa0, 0x37, 0xea, 0x3b, 0x67, 0xaa, 0x6d,
];

/// What `show` says of KEY. By Python, the first of them:
///
/// ```python
/// ks = hashlib.sha256(b"no more secrets").digest()
/// hmac.new(ks, b"peerdist key fingerprint", "sha256").hexdigest()[:16]
/// ```
const SHOWN: &str = "15 bytes
  version 1.0, SHA-256: 8dc6f5ce7f4a49a0
  version 1.0, SHA-384: 17b0ab96fa924575
  version 1.0, SHA-512: 06927601cb310fa8
  version 2.0, SHA-512: 29abace98c49c7f7
";

/// Runs `peerdist key` in a folder, with `stdin`. Neither the key nor a passphrase may come out, but a
/// raw key where that was asked for by `-o -`.
fn key(folder: &TempDir, args: &[&str], stdin: &[u8]) -> Output {
    let mut command = Command::cargo_bin("peerdist").expect("the binary is built");
    let command = command.current_dir(folder).arg("key").args(args).write_stdin(stdin);
    let output = command.output().expect("it can be started");
    let shown = match args {
        ["import", .., "-o", "-"] | ["new", .., "-o", "-"] => output.stderr.clone(),
        _ => [&output.stdout[..], &output.stderr].concat(),
    };
    // The raw keys that the folder has by now, and what passphrases look like in UTF-8 and UTF-16.
    let mut secrets = vec![KEY.into(), PASSPHRASE.into(), OTHER_PASSPHRASE.into()];
    secrets.extend(
        [PASSPHRASE, OTHER_PASSPHRASE].map(|text| text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
    );
    secrets.extend(fs::read(folder.path().join("new")).ok().filter(|key| key.len() >= 32));
    for secret in secrets {
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        for form in [&secret, hex.as_bytes(), hex.to_uppercase().as_bytes()] {
            assert!(!shown.windows(form.len()).any(|window| window == form), "{args:?} shows a secret");
        }
    }
    output
}

/// What it prints, if it succeeds.
fn does(folder: &TempDir, args: &[&str], stdin: &[u8]) -> Vec<u8> {
    let output = key(folder, args, stdin);
    let line = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*line), (Some(0), ""), "{args:?}");
    output.stdout
}

/// The one line it prints, if it fails.
fn refuses(folder: &TempDir, args: &[&str], stdin: &[u8]) -> String {
    let before = listing(folder.path());
    let output = key(folder, args, stdin);
    let line = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!((output.status.code(), line.lines().count()), (Some(2), 1), "{args:?}: {line}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert_eq!(listing(folder.path()), before, "{args:?}: nothing is left behind or changed");
    line.strip_prefix("peerdist: ").expect("the name").trim_end().to_string()
}

/// All there is in a folder.
fn listing(folder: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let mut all: Vec<_> = entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).ok()))
        .collect();
    all.sort();
    all
}

/// A folder with `key` and `sealed`.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("key"), KEY).expect("a writable folder");
    fs::write(folder.path().join("sealed"), SEALED).expect("a writable folder");
    folder
}

fn file(folder: &TempDir, name: &str) -> Vec<u8> {
    fs::read(folder.path().join(name)).expect("it is there")
}

#[test]
fn the_file_of_another_implementation() {
    let folder = folder();
    does(&folder, &["export", "key", "-o", "mine", "--passphrase", PASSPHRASE], b"");
    assert_eq!(file(&folder, "mine"), SEALED);
    let shown = does(&folder, &["import", "sealed", "-o", "raw", "--passphrase", PASSPHRASE], b"");
    assert_eq!(file(&folder, "raw"), KEY.as_bytes());
    assert_eq!(String::from_utf8(shown).expect("UTF-8"), format!("raw: {SHOWN}"));
}

#[test]
fn a_new_key_there_and_back() {
    for bytes in [1, 16, 32, 33, 65_536] {
        let folder = folder();
        let bytes_text = bytes.to_string();
        let made = does(&folder, &["new", "-o", "new", "--bytes", &bytes_text], b"");
        assert_eq!(file(&folder, "new").len(), bytes);
        does(&folder, &["export", "new", "-o", "new-sealed", "--passphrase=-x"], b"");
        let sealed = file(&folder, "new-sealed");
        assert_eq!(sealed.len(), (32 + bytes) / 16 * 16 + 16);
        let opened = does(&folder, &["import", "new-sealed", "-o", "back", "--passphrase", "-x"], b"");
        assert_eq!(file(&folder, "back"), file(&folder, "new"));
        let fingerprints = |text: Vec<u8>| String::from_utf8(text).expect("UTF-8").replace("back", "new");
        assert_eq!(fingerprints(opened), fingerprints(made));
    }
}

#[test]
fn a_new_key_is_another_each_time() {
    let folder = folder();
    let shown = does(&folder, &["new", "-o", "new"], b"");
    let first = file(&folder, "new");
    let text = String::from_utf8(shown.clone()).expect("UTF-8");
    assert!(text.starts_with("new: 32 bytes\n  version 1.0, SHA-256: "), "{text}");
    assert_eq!(does(&folder, &["show", "new"], b""), shown);
    let other = does(&folder, &["new", "--output", "new", "--force"], b"");
    assert_eq!(file(&folder, "new").len(), 32);
    assert!(file(&folder, "new") != first && other != shown);
}

#[test]
fn what_is_shown_of_a_key() {
    let folder = folder();
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    assert_eq!(text(does(&folder, &["show", "key"], b"")), format!("key: {SHOWN}"));
    assert_eq!(text(does(&folder, &["show", "-"], KEY.as_bytes())), format!("stdin: {SHOWN}"));
    assert!(text(does(&folder, &["show", "-"], b"x")).starts_with("stdin: 1 byte\n"));
    fs::write(folder.path().join("two\nlines"), KEY).expect("a writable folder");
    assert_eq!(text(does(&folder, &["show", "two\nlines"], b"")), format!("two\\nlines: {SHOWN}"));
}

#[test]
fn through_pipes() {
    let folder = folder();
    fs::write(folder.path().join("line"), format!("{PASSPHRASE}\n")).expect("a writable folder");
    let sealed = does(&folder, &["export", "-", "--passphrase-file", "line", "-o", "-"], KEY.as_bytes());
    assert_eq!(sealed, SEALED);
    let raw = does(&folder, &["import", "-", "--passphrase-file", "line", "-o", "-"], &SEALED);
    assert_eq!(raw, KEY.as_bytes());
    for line in [PASSPHRASE.to_string(), format!("{PASSPHRASE}\n"), format!("{PASSPHRASE}\r\n")] {
        let args = ["import", "sealed", "--passphrase-file", "-", "-o", "-"];
        assert_eq!(does(&folder, &args, line.as_bytes()), KEY.as_bytes());
    }
    assert_eq!(does(&folder, &["new", "--bytes", "7", "-o", "-"], b"").len(), 7);
    assert!(!folder.path().join("-").exists());
}

#[test]
fn wrong_passphrases_and_damaged_files() {
    let folder = folder();
    let import = |passphrase| ["import", "sealed", "-o", "raw", "--passphrase", passphrase];
    let wrong = "sealed: wrong passphrase, or the key file is damaged";
    assert_eq!(refuses(&folder, &import(OTHER_PASSPHRASE), b""), wrong);
    assert_eq!(refuses(&folder, &import(""), b""), wrong);
    for len in [0, 32, 47] {
        fs::write(folder.path().join("sealed"), &SEALED[..len]).expect("a writable folder");
        let cut = format!("sealed: the key file is cut: it has {len} bytes, and should have ");
        assert!(refuses(&folder, &import(PASSPHRASE), b"").starts_with(&cut));
    }
    let long = vec![7; 65_536 + 49];
    fs::write(folder.path().join("sealed"), &long[1..]).expect("a writable folder");
    assert_eq!(refuses(&folder, &import(PASSPHRASE), b""), wrong);
    fs::write(folder.path().join("sealed"), &long).expect("a writable folder");
    assert_eq!(refuses(&folder, &import(PASSPHRASE), b""), "sealed: too long: more than 65584 bytes");
}

/// The file of an empty key, by an empty passphrase; made as SEALED is.
const SEALED_NOTHING: [u8; 48] = [
    0xe4, 0x8b, 0x5f, 0x8e, 0x48, 0x9d, 0x9f, 0xae, 0xfa, 0x49, 0xbe, 0xaa, 0x11, 0x19, 0x3d, 0x8b, 0x9c,
    0x8e, 0x9d, 0xf0, 0x03, 0x65, 0x49, 0xeb, 0x1f, 0xed, 0x74, 0x9c, 0x1e, 0x32, 0x46, 0x27, 0xbd, 0xb4,
    0x24, 0x0c, 0x22, 0x8a, 0x14, 0x2a, 0x6e, 0xfc, 0x9b, 0x69, 0x6f, 0x69, 0xb4, 0xde,
];

#[test]
fn empty_keys_and_passphrases() {
    let folder = folder();
    let empty = "stdin: an empty key keeps no secret";
    assert_eq!(refuses(&folder, &["show", "-"], b""), empty);
    assert_eq!(refuses(&folder, &["export", "-", "-o", "new", "--passphrase", PASSPHRASE], b""), empty);
    assert_eq!(refuses(&folder, &["import", "-", "-o", "new", "--passphrase", ""], &SEALED_NOTHING), empty);
    let empty = "the passphrase: empty, so it protects nothing";
    assert_eq!(refuses(&folder, &["export", "key", "-o", "new", "--passphrase", ""], b""), empty);
    for stdin in [&b""[..], b"\n", b"\r\n"] {
        assert_eq!(refuses(&folder, &["export", "key", "-o", "new", "--passphrase-file", "-"], stdin), empty);
    }
}

#[test]
fn inputs_that_are_no_keys() {
    let folder = folder();
    fs::create_dir(folder.path().join("folder")).expect("a writable folder");
    fs::write(folder.path().join("long"), vec![7; 65_537]).expect("a writable folder");
    for args in [
        &["show"][..],
        &["export", "-o", "new", "--passphrase", PASSPHRASE],
        &["import", "-o", "new", "--passphrase", PASSPHRASE],
    ] {
        let refused = |input, stdin: &[u8]| refuses(&folder, &[args, &[input]].concat(), stdin);
        assert!(refused("missing", b"").starts_with("missing: No such file"));
        assert_eq!(refused("folder", b""), "folder: not a regular file");
        #[cfg(unix)]
        assert_eq!(refused("/dev/zero", b""), "/dev/zero: not a regular file");
        if args[0] != "import" {
            assert_eq!(refused("long", b""), "long: too long: more than 65536 bytes");
            assert_eq!(refused("-", &[7; 65_537]), "stdin: too long: more than 65536 bytes");
        }
    }
}

#[test]
fn passphrase_files_that_are_no_passphrase() {
    let folder = folder();
    let refused = |path, stdin: &[u8]| {
        refuses(&folder, &["import", "sealed", "-o", "new", "--passphrase-file", path], stdin)
    };
    assert!(refused("missing", b"").starts_with("missing: No such file"));
    assert!(refused(".", b"").starts_with(".: "));
    let two = format!("{PASSPHRASE}\n{OTHER_PASSPHRASE}\n");
    assert_eq!(refused("-", two.as_bytes()), "stdin: more than the one line of a passphrase");
    assert_eq!(refused("-", b"pass\n\n"), "stdin: more than the one line of a passphrase");
    assert_eq!(refused("-", b"pass\xff"), "stdin: a passphrase that is not UTF-8");
    assert_eq!(refused("-", &[b'x'; 65_537]), "stdin: too long: more than 65536 bytes");
    let both = refuses(&folder, &["export", "-", "-o", "new", "--passphrase-file", "-"], KEY.as_bytes());
    assert_eq!(both, "stdin: cannot be both the key and the passphrase");
}

#[test]
fn outputs_that_exist_are_kept() {
    let folder = folder();
    fs::create_dir(folder.path().join("folder")).expect("a writable folder");
    fs::write(folder.path().join("new"), "what was there").expect("a writable folder");
    for args in [
        &["new"][..],
        &["export", "key", "--passphrase", PASSPHRASE],
        &["import", "sealed", "--passphrase", PASSPHRASE],
    ] {
        let refused = |output, more: &[&str]| refuses(&folder, &[args, &["-o", output], more].concat(), b"");
        assert_eq!(refused("new", &[]), "new: exists; --force replaces it");
        for more in [&[][..], &["--force"]] {
            assert_eq!(refused("folder", more), "folder: exists, and is not a regular file");
            let line = refused("missing/new", more);
            assert_eq!(line, "missing/new: No such file or directory (os error 2)");
            assert!(refused("key/below", more).starts_with("key/below: Not a directory"));
        }
    }
    // What is wrong with the output is said before anybody types a passphrase.
    assert_eq!(refuses(&folder, &["export", "key", "-o", "new"], b""), "new: exists; --force replaces it");
    does(&folder, &["export", "key", "--passphrase", PASSPHRASE, "-o", "new", "--force"], b"");
    assert_eq!(file(&folder, "new"), SEALED);
}

#[test]
#[cfg(unix)]
fn only_the_owner_may_read_what_is_written() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = folder();
    let mode = |name: &str| {
        let metadata = fs::metadata(folder.path().join(name)).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    does(&folder, &["new", "-o", "a"], b"");
    does(&folder, &["export", "key", "-o", "b", "--passphrase", PASSPHRASE], b"");
    does(&folder, &["import", "sealed", "-o", "c", "--passphrase", PASSPHRASE], b"");
    fs::set_permissions(folder.path().join("key"), PermissionsExt::from_mode(0o644)).expect("our file");
    does(&folder, &["new", "-o", "key", "--force"], b"");
    assert_eq!(["a", "b", "c", "key"].map(mode), [0o600; 4]);

    symlink("sealed", folder.path().join("link")).expect("a writable folder");
    symlink("nowhere", folder.path().join("dangling")).expect("a writable folder");
    for output in ["link", "dangling", "/dev/null"] {
        let line = refuses(&folder, &["new", "--force", "-o", output], b"");
        assert_eq!(line, format!("{output}: exists, and is not a regular file"));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_or_closed_stdout_is_told() {
    use std::process::{Command, Stdio};

    let full = fs::File::create("/dev/full").expect("Linux has it");
    let (_, unread) = std::io::pipe().expect("a pipe");
    for (stdout, reason) in [(Stdio::from(full), "No space left"), (Stdio::from(unread), "Broken pipe")] {
        let program = assert_cmd::Command::cargo_bin("peerdist").expect("the binary is built");
        let mut command = Command::new(program.get_program());
        let output = command.args(["key", "new", "-o", "-"]).stdout(stdout).stderr(Stdio::piped()).output();
        let output = output.expect("it can be started");
        let line = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), line.lines().count()), (Some(2), 1), "{line}");
        assert!(line.starts_with(&format!("peerdist: stdout: {reason}")), "{line}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn without_a_terminal_nobody_is_asked() {
    let folder = folder();
    for args in [["export", "key", "-o", "new"], ["import", "sealed", "-o", "new"]] {
        let program = Command::cargo_bin("peerdist").expect("the binary is built");
        // In a session of its own, that has no terminal.
        let mut command = Command::new("setsid");
        let command = command.current_dir(&folder).arg(program.get_program()).arg("key").args(args);
        let output = command.output().expect("setsid");
        let line = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), line.lines().count()), (Some(2), 1), "{line}");
        assert!(line.starts_with("peerdist: no passphrase from a terminal ("), "{line}");
        assert!(line.ends_with("): --passphrase-file takes it from a file\n"), "{line}");
    }
}

#[test]
fn wrong_arguments() {
    let folder = folder();
    for bytes in ["0", "65537", "-1", "many"] {
        let line = refuses(&folder, &["new", "-o", "new", "--bytes", bytes], b"");
        assert_eq!(line, format!("invalid value '{bytes}' for '--bytes <N>': not a number from 1 to 65536"));
    }
    assert_eq!(refuses(&folder, &["new"], b""), "missing: --output <FILE>");
    assert_eq!(refuses(&folder, &["export"], b""), "missing: --output <FILE>, <KEY>");
    assert!(refuses(&folder, &[], b"").contains("requires a subcommand"));
    let line = refuses(
        &folder,
        &["export", "key", "-o", "new", "--passphrase", PASSPHRASE, "--passphrase-file", "-"],
        b"",
    );
    assert_eq!(line, "the argument '--passphrase <TEXT>' cannot be used with '--passphrase-file <PATH>'");
}

#[test]
fn help_tells_what_is_disclosed() {
    let folder = folder();
    let help = |args: &[&str]| {
        let text = String::from_utf8(does(&folder, args, b"")).expect("UTF-8");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(help(&["new", "--help"]).contains("1 to 65536 [default: 32]"));
    assert!(help(&["export", "--help"]).contains("others on this machine can see it"));
    let show = help(&["show", "--help"]);
    for words in ["HMAC(Ks, \"peerdist key fingerprint\")", "can test guesses", "2 it could not be done"] {
        assert!(show.contains(words), "{show}");
    }
}
