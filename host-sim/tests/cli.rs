//! The `peerdist` command, from outside: bad input is one line on stderr and exit code 2.

use std::fs;

use assert_cmd::Command;
use peerdist_sim::scenario::{ContentSource, MAX_CLIENTS, MAX_MEMORY, Scenario, parse_line};

/// Runs it and expects it to refuse, in one line.
fn refuses(args: &[&str]) -> String {
    let mut command = Command::cargo_bin("peerdist").expect("the binary is built");
    let output = command.args(args).output().expect("it can be started");
    let line = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{args:?}: {line}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert!(
        line.starts_with("peerdist: ") && line.ends_with('\n') && line.lines().count() == 1,
        "{args:?}: {line}"
    );
    line
}

#[test]
fn wrong_values_name_the_flag_and_the_reason() {
    for (args, flag, reason) in [
        (["--clients", "0"], "--clients", "at least one client is needed"),
        (["--clients", "ten"], "--clients", "not a number from 1 to 1000"),
        (["--loss", "101"], "--loss", "between 0 and 100"),
        (["--loss", "-1"], "--loss", "between 0 and 100"),
        (["--wan", "2Mbit"], "--wan", "RATE/DELAY"),
        (["--lan", "2Mbps/50ms"], "--lan", "bytes to tc"),
        (["--size", "much"], "--size", "not a size"),
        (["--content-info", "2.1"], "--content-info", "not a version of content information"),
        (["--start", "later"], "--start", "possible values: together, staggered"),
        (["--seed", "x"], "--seed", "not a number from 0 to"),
        (["--seed", "-1"], "--seed", "not a number from 0 to"),
        (["--clients", "-1"], "--clients", "not a number from 1 to 1000"),
        (["--size", "-1"], "--size", "not a size"),
        (["--wan", "-2Mbit/5ms"], "--wan", "not a rate"),
        (["--lan", "2\nMbit/5ms\x1b[2J"], "--lan", r"2\nMbit/5ms\u{1b}"),
        (["--start", "la\nter"], "--start", r"'la\nter'"),
        (["--spe\ned", "9"], r"--spe\ned", "unexpected argument"),
        (["--size", "2GiB"], "10 clients", "24.0 GiB of memory: at most 16.0 GiB"),
        (["--speed", "9"], "--speed", "unexpected argument"),
    ] {
        let line = refuses(&[&["sim"][..], &args].concat());
        assert!(line.contains(flag) && line.contains(reason), "{line}");
    }
}

/// One that lets nothing of a client wait would answer all offers, and take none.
#[test]
fn a_hosted_cache_takes_something() {
    let line = refuses(&["hosted", "--bind", "127.0.0.1", "--cache", "nowhere", "--per-client", "0"]);
    assert!(line.contains("--per-client") && line.contains("0 is not in 1..=65535"), "{line}");
}

#[test]
fn what_cannot_be_attached_is_refused() {
    for (attachment, reason) in [
        ("tap0", "only `qemu:ADDR:PORT` and `tap:NAME` can be attached"),
        ("usb:3", "only `qemu:ADDR:PORT` and `tap:NAME` can be attached"),
        ("qemu:4000", "`4000` is no address with a port"),
        ("qemu:192.0.2.1:0", "--attach qemu:192.0.2.1:0: "),
        ("tap:", "a TAP device has a name"),
        #[cfg(target_os = "linux")]
        ("tap:no-such-tap", "--attach tap:no-such-tap: no-such-tap: there is no such device"),
        #[cfg(target_os = "linux")]
        ("tap:lo", "lo is no TAP device"),
    ] {
        let line = refuses(&["sim", "--attach", attachment]);
        assert!(line.contains(reason), "{line}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lan.toml");
    fs::write(&file, "[[leave]]\nwho = 'machine-01'\nat = '1 s'").expect("written");
    let line = refuses(&["sim", &file.display().to_string()]);
    assert!(line.contains("there is no machine-01: no machine is attached"), "{line}");
}

/// What is drawn can be changed like any preset, and what is printed gives the same run.
#[test]
fn ways_of_caching_are_compared() {
    let few = ["sim", "--preset", "compare", "--clients", "3", "--size", "512KiB"];
    let json: serde_json::Value =
        serde_json::from_str(&prints(&[&few[..], &["--json"]].concat())).expect("one JSON object");
    let wan = |way: &str| json[way]["wan"]["bytes"].as_u64().expect("a number");
    let content = 512 << 10;
    assert!(wan("none") >= 3 * content, "{}", wan("none"));
    assert!(wan("distributed") < 2 * content && wan("hosted") < 2 * content);
    let of = |way: &str, from: &str| json[way]["clients"][2]["bytes"][from].as_u64();
    assert_eq!((of("distributed", "peer"), of("distributed", "hosted")), (Some(content), Some(0)));
    assert_eq!((of("hosted", "peer"), of("hosted", "hosted")), (Some(0), Some(content)));
    let text = prints(&few);
    for way in ["none", "distributed", "hosted"] {
        assert!(text.lines().any(|line| line.starts_with(way) && line.ends_with("right")), "{text}");
    }
}

#[test]
fn a_swarm_is_drawn_from_the_seed() {
    let stdout = |args: &[&str]| {
        let mut command = Command::cargo_bin("peerdist").expect("the binary is built");
        let output = command.arg("sim").args(args).output().expect("it can be started");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let swarm = ["--preset", "swarm", "--seed", "4"];
    let printed = stdout(&[&swarm[..], &["--print"]].concat());
    assert_eq!(printed, Scenario::swarm(4).to_toml().expect("no file is named"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("swarm.toml");
    fs::write(&file, printed).expect("a file");
    let changed = ["--size", "70000", "--json"];
    let drawn = stdout(&[&swarm[..], &changed].concat());
    assert_eq!(drawn, stdout(&[&[file.to_str().expect("UTF-8")][..], &changed].concat()));
    assert!(drawn.contains("\"bytes\":70000,"), "{drawn}");
}

#[test]
fn a_start_in_any_case() {
    let mut command = Command::cargo_bin("peerdist").expect("the binary is built");
    command.args(["sim", "--size", "1", "--clients", "2", "--start", "Together"]).assert().success();
}

#[test]
fn the_default_output_fits_80_columns() {
    let output = Command::cargo_bin("peerdist").expect("the binary is built").output();
    let text = String::from_utf8(output.expect("it can be started").stdout).expect("UTF-8");
    assert!(text.contains("64 × no peer answered") && text.contains("right at all 10 clients"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn who_gave_up_has_not_even_got_nothing() {
    for (loss, code) in [("0", 0), ("100", 1)] {
        let mut command = Command::cargo_bin("peerdist").expect("the binary is built");
        command.args(["sim", "--size", "0", "--clients", "1", "--loss", loss]).assert().code(code);
    }
}

#[test]
fn who_got_nothing_is_not_wrong() {
    let mut command = Command::cargo_bin("peerdist").expect("the binary is built");
    let output = command.args(["sim", "--size", "64", "--clients", "1", "--loss", "100"]).output();
    let output = output.expect("it can be started");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("incomplete  8 × origin unreachable"), "{text}");
    assert!(!text.contains("WRONG") && !text.contains("saved") && !text.contains("one after"), "{text}");
}

#[test]
fn help_tells_defaults_ranges_and_exit_codes() {
    let output =
        Command::cargo_bin("peerdist").expect("the binary is built").args(["sim", "--help"]).output();
    let text = String::from_utf8(output.expect("it can be started").stdout).expect("UTF-8");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let branch = Scenario::branch();
    assert!(text.contains(&format!("1 to {MAX_CLIENTS} [default: {}]", branch.clients)), "{text}");
    assert!(text.contains(&format!("0 to {} [default: {}]", u64::MAX, branch.seed)), "{text}");
    assert!(text.contains("[default: 4MiB]") && branch.content == ContentSource::Generated(4 << 20));
    assert!(text.contains("[default: 2Mbit/50ms]") && parse_line("2Mbit/50ms") == Ok(branch.wan));
    assert!(text.contains("[default: 1Gbit/0.05ms]") && parse_line("1Gbit/0.05ms") == Ok(branch.lan));
    assert!(text.contains(&format!("at most {} GiB", MAX_MEMORY >> 30)), "{text}");
    for words in ["Exit codes: 0", "Older captures in DIR stay", "[default: staggered]"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// Runs a line of the shell, in which `$0` is the command.
#[cfg(target_os = "linux")]
fn shell(line: &str) -> std::process::Output {
    let command = Command::cargo_bin("peerdist").expect("the binary is built");
    let output = Command::new("sh").arg("-c").arg(line).arg(command.get_program()).output();
    output.expect("a shell")
}

#[test]
#[cfg(target_os = "linux")]
fn without_memory_there_is_one_line() {
    let output = shell("ulimit -v 1000000 && exec \"$0\" sim --size 400MiB");
    let line = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!((output.status.code(), line.lines().count()), (Some(2), 1), "{line}");
    assert!(line.starts_with("peerdist: no ") && line.contains("GiB of memory"), "{line}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_costs_the_captures_and_not_the_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let captures = folder.path().join("captures");
    let folder_text = captures.to_str().expect("UTF-8");
    let limits = "trap '' XFSZ && ulimit -f 64";
    let output =
        shell(&format!("{limits} && exec \"$0\" sim --size 1MiB --clients 2 --pcap '{folder_text}'"));
    let line = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!((output.status.code(), line.lines().count()), (Some(2), 1), "{line}");
    assert!(line.starts_with("peerdist: --pcap ") && line.contains(".pcapng: File too large"), "{line}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("right at all 2 clients"));
    assert!(!captures.exists());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.bin");
    let line = refuses(&["sim", "--content", missing.to_str().expect("UTF-8")]);
    assert!(line.contains("missing.bin: No such file"), "{line}");
    let line = refuses(&["sim", "--content", folder.path().to_str().expect("UTF-8")]);
    assert!(line.contains("directory"), "{line}");
    let line = refuses(&["sim", "--content", "two\nlines\x1b[2J\u{2028}"]);
    assert!(line.contains(r"two\nlines\u{1b}[2J\u{2028}: No such file"), "{line}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "content").expect("a writable folder");
    for pcap in [file.clone(), file.join("below")] {
        let line = refuses(&["sim", "--size", "1", "--pcap", pcap.to_str().expect("UTF-8")]);
        assert!(line.contains("--pcap") && line.contains("file"), "{line}");
    }
    // The content is missing, so no captures are begun either.
    let captures = folder.path().join("captures");
    let (missing, captures_text) = (folder.path().join("missing"), captures.to_str().expect("UTF-8"));
    refuses(&["sim", "--content", missing.to_str().expect("UTF-8"), "--pcap", captures_text]);
    assert!(!captures.exists());
    assert_eq!(fs::read(&file).expect("still there"), b"content");
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["sim", "--help"], &["--version"]] {
        let output = Command::cargo_bin("peerdist").expect("the binary is built").args(args).output();
        let output = output.expect("it can be started");
        assert!(output.status.success() && output.stderr.is_empty() && !output.stdout.is_empty(), "{args:?}");
    }
}

/// What the command prints, which succeeds.
fn prints(args: &[&str]) -> String {
    let output = Command::cargo_bin("peerdist").expect("the binary is built").args(args).output();
    let output = output.expect("it can be started");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_scenario_file_runs_and_options_are_stronger() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("small.toml");
    fs::write(folder.path().join("content"), vec![7; 70_000]).expect("a writable folder");
    let text = "clients = 2\nwan = { rate = '8 Mbit/s', loss = '1 %', duplicate = '1 %' }\n\
                content = { file = 'content' }\n";
    fs::write(&file, text).expect("a writable folder");
    let file = file.to_str().expect("UTF-8");

    let json = prints(&["sim", file, "--json"]);
    assert!(json.contains(r#""content":{"bytes":70000,"#), "{json}");
    assert!(
        json.contains(r#""timeline":[{"from":"origin","to":"client-01","bytes":70000,"blocks":2,"#),
        "{json}"
    );

    // What is printed, from anywhere, is the same run; and what overrides it is in it.
    let printed = prints(&["sim", file, "--print"]);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let copy = elsewhere.path().join("printed.toml");
    fs::write(&copy, &printed).expect("a writable folder");
    assert_eq!(prints(&["sim", copy.to_str().expect("UTF-8"), "--json"]), json);
    let options = [
        "sim",
        file,
        "--print",
        "--wan",
        "1Mbit/5ms",
        "--loss",
        "3",
        "--clients",
        "4",
        "--seed",
        "9",
        "--start",
        "together",
        "--size",
        "64KiB",
        "--content-info",
        "2",
    ];
    let expected = "clients = 4\nseed = 9\nstart = \"together\"\nloss = \"3 %\"\ncontent-info = \"2\"\n\n\
                    [content]\nsize = \"64 KiB\"\n\n\
                    [wan]\nrate = \"1 Mbit/s\"\ndelay = \"5 ms\"\nduplicate = \"1 %\"\n\n\
                    [lan]\nrate = \"1 Gbit/s\"\ndelay = \"50 us\"\n";
    assert_eq!(prints(&options), expected);
}

#[test]
fn a_wrong_file_is_named_with_the_place_and_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wrong.toml");
    let path = file.to_str().expect("UTF-8");
    for (text, place, reason) in [
        ("clients = 3\n[lan]\nrate = '2 furlongs'\n", ":3:8: ", "`2 furlongs` is not a rate"),
        ("clients = 3\nlatency = 5\n", ":2:1: ", "unknown field `latency`"),
        (
            "[wan]\ndelay = '5 ms'\njitter = '6 ms'\n",
            ":1:1: ",
            "a jitter of 6 ms is more than the delay of 5 ms",
        ),
        ("lying = 'client-4'\nclients = 3\n", ":1:9: ", "there is no client-04, only 3 clients"),
    ] {
        fs::write(&file, text).expect("a writable folder");
        let line = refuses(&["sim", path]);
        assert!(line.contains(&format!("{path}{place}")) && line.contains(reason), "{line}");
    }
    fs::write(&file, b"seed = '\xff'").expect("a writable folder");
    assert!(refuses(&["sim", path]).contains("UTF-8"));
    fs::write(&file, "lying = 'client-04'\n").expect("a writable folder");
    let line = refuses(&["sim", path, "--clients", "3"]);
    assert!(line.contains(&format!("{path} with these options: there is no client-04")), "{line}");
    // The content is named where it was.
    fs::write(&file, "content = { file = 'missing.bin' }").expect("a writable folder");
    let line = refuses(&["sim", path]);
    assert!(
        line.contains(&format!("peerdist: {path}: content ")) && line.contains("missing.bin: "),
        "{line}"
    );
    let line = refuses(&["sim", path, "--content", "absent.bin"]);
    assert!(line.contains("peerdist: --content absent.bin: "), "{line}");
    assert!(refuses(&["sim", path, "--preset", "branch"]).contains("--preset"));
    assert!(refuses(&["sim", "missing.toml"]).contains("missing.toml: No such file"));
    assert!(refuses(&["sim", "--preset", "moon"]).contains("possible values: branch, rough"));
    assert!(refuses(&["sim", "--print", "--lan", "1Mbit/0", "--preset", "rough"]).contains("a jitter of"));
}

#[test]
fn the_default_is_the_preset_and_what_it_prints() {
    let printed = prints(&["sim", "--print"]);
    assert_eq!(prints(&["sim", "--print", "--preset", "branch"]), printed);
    assert_eq!(Scenario::from_toml(&printed), Ok(Scenario::branch()));
}

#[test]
fn the_timeline_comes_below_the_table_in_80_columns() {
    let text = prints(&["sim", "--size", "100kB", "--clients", "3", "--timeline"]);
    let (table, timeline) = text.split_once("from").expect("a header");
    assert!(table.contains("right at all 3 clients") && timeline.contains("client-01"), "{text}");
    assert!(timeline.matches("97.7 KiB").count() >= 2, "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}
