//! A short run of the fuzz targets: see `tests/src/fuzz.rs` for what they are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{cargo, first_program, output, repository, run, shown, succeeds, target_dir};
use crate::{Result, apt};

/// The wrappers of the targets, a workspace of its own.
pub const WORKSPACE: &str = "tests/fuzz";

/// How long each target runs if nothing else is asked for.
const SECONDS: u64 = 10;

/// A single input that takes longer hangs: the slowest takes milliseconds.
const HANG_SECONDS: u64 = 10;

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    seconds: u64,
    /// Every target, if there is none.
    target: Option<String>,
}

impl Options {
    /// Reads `[TARGET] [--seconds N]`, in any order.
    fn parse(arguments: &[&str]) -> Option<Self> {
        let mut options = Self { seconds: SECONDS, target: None };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match *argument {
                "--seconds" => options.seconds = rest.next()?.parse().ok().filter(|&seconds| seconds > 0)?,
                name if name.starts_with('-') || options.target.is_some() => return None,
                name => options.target = Some(name.to_owned()),
            }
        }
        Some(options)
    }
}

/// Builds the targets and runs each for its time, beginning with the vectors and with what earlier
/// runs found, crashes included.
pub fn check(arguments: &[&str]) -> Result<()> {
    let options = Options::parse(arguments).ok_or("usage: cargo xtask fuzz [TARGET] [--seconds N]")?;
    let all = targets()?;
    let chosen: Vec<&String> =
        all.iter().filter(|name| options.target.as_ref().is_none_or(|target| target == *name)).collect();
    if chosen.is_empty() {
        return Err(format!("no such target; there are {}", all.join(", ")));
    }
    need_compiler()?;
    let path = need_cargo_fuzz()?;
    let host = host()?;

    let folder = target_dir().join("fuzz");
    let seeds = folder.join("seeds");
    let package = ["run", "--quiet", "--package", "peerdist-tests", "--bin", "fuzz-seeds", "--"];
    run(cargo().args(package).arg(&seeds))?;
    // `cargo fuzz` has no option `--locked`.
    let manifest = format!("{WORKSPACE}/Cargo.toml");
    run(cargo().args(["fetch", "--quiet", "--locked", "--manifest-path", &manifest]))?;
    for name in &chosen {
        let mut command = cargo();
        command.args(["fuzz", "build", "--fuzz-dir", WORKSPACE, "--target", &host, "--target-dir"]);
        command.arg(&folder).arg(name).env("PATH", &path);
        // The flags for coverage and for AddressSanitizer, the default of `cargo fuzz`, are
        // unstable; a stable compiler takes them like this, and brings the sanitizer's runtime.
        run(command.env("RUSTC_BOOTSTRAP", "1"))?;
    }
    let binaries = folder.join(host).join("release");
    for name in &chosen {
        fuzz(name, options.seconds, &binaries.join(name), &folder)?;
    }
    println!("    nothing found in {} s for each target", options.seconds);
    Ok(())
}

/// The names of the targets.
fn targets() -> Result<Vec<String>> {
    let folder = repository().join(WORKSPACE).join("fuzz_targets");
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let stem = |path: PathBuf| Some(path.file_stem()?.to_string_lossy().into_owned());
    let mut names: Vec<String> = entries.filter_map(|entry| stem(entry.ok()?.path())).collect();
    names.sort();
    Ok(names)
}

/// libFuzzer is C++, and is built for each machine.
fn need_compiler() -> Result<()> {
    if std::env::var_os("CXX").is_some() || first_program(&["c++"]).is_some() {
        return Ok(());
    }
    apt::install(&["g++"]).map_err(|error| format!("no C++ compiler: {error}"))
}

/// The PATH on which there is `cargo fuzz`: installed below the target folder, unless the user has
/// it.
fn need_cargo_fuzz() -> Result<OsString> {
    let root = target_dir().join("xtask");
    let own = std::iter::once(root.join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(own.chain(std::env::split_paths(&path)))
        .map_err(|error| format!("{}: {error}", root.display()))?;
    if !succeeds(cargo().args(["fuzz", "--version"]).env("PATH", &path)) {
        println!("    installing cargo-fuzz into {}", root.display());
        run(cargo().args(["install", "--quiet", "--locked", "cargo-fuzz", "--root"]).arg(&root))
            .map_err(|error| format!("no cargo-fuzz: {error}"))?;
    }
    Ok(path)
}

/// The target that the compiler runs on.
fn host() -> Result<String> {
    let (_, text) = output(Command::new("rustc").arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| format!("`rustc -vV` names no host: {text}"))
}

/// Runs one target, and names the bytes that it fails on.
fn fuzz(name: &str, seconds: u64, binary: &Path, folder: &Path) -> Result<()> {
    let [corpus, seeds, found] = ["corpus", "seeds", "found"].map(|kind| folder.join(kind).join(name));
    for folder in [&corpus, &found] {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let mut command = Command::new(binary);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={HANG_SECONDS}"));
    command.arg(format!("-artifact_prefix={}/", found.display())).arg("-print_final_stats=1");
    // What is new goes to the first folder; the others are only read.
    let (success, log) = output(command.args([&corpus, &seeds, &found]))?;
    if success {
        println!("    {name}: {}", summary(&log));
        return Ok(());
    }
    print!("{log}");
    match reproducer(&log) {
        Some(path) => Err(format!("{name} fails; run it again with `{} {path}`", binary.display())),
        None => Err(format!("{name} fails, on no input: {}", shown(&command))),
    }
}

/// The file with the bytes that a target failed on.
fn reproducer(log: &str) -> Option<&str> {
    log.lines().find_map(|line| Some(line.rsplit_once("Test unit written to ")?.1.trim()))
}

/// How much a target was run.
fn summary(log: &str) -> String {
    let stat = |name: &str| {
        let values = log.lines().filter_map(|line| line.strip_prefix("stat::")?.split_once(':'));
        values.filter(|(key, _)| *key == name).map(|(_, value)| value.trim()).next().unwrap_or("?")
    };
    format!("{} runs, {} a second", stat("number_of_executed_units"), stat("average_exec_per_sec"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_in_any_order() {
        let options =
            |seconds, target: Option<&str>| Some(Options { seconds, target: target.map(Into::into) });
        assert_eq!(Options::parse(&[]), options(SECONDS, None));
        assert_eq!(Options::parse(&["xml"]), options(SECONDS, Some("xml")));
        assert_eq!(Options::parse(&["--seconds", "60", "xml"]), options(60, Some("xml")));
        assert_eq!(Options::parse(&["xml", "--seconds", "60"]), options(60, Some("xml")));
        for bad in [&["--seconds"][..], &["--seconds", "0"], &["--seconds", "x"], &["a", "b"], &["--fast"]] {
            assert_eq!(Options::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_libfuzzer_says_is_read() {
        let log = "\
artifact_prefix='/t/found/xml/'; Test unit written to /t/found/xml/crash-0a
Base64: AA==
stat::number_of_executed_units: 1234
stat::average_exec_per_sec:     617
stat::new_units_added:          5
";
        assert_eq!(reproducer(log), Some("/t/found/xml/crash-0a"));
        assert_eq!(reproducer("Done 5 runs in 1 second(s)"), None);
        assert_eq!(summary(log), "1234 runs, 617 a second");
        assert_eq!(summary(""), "? runs, ? a second");
    }
}
