//! How fast it is: the benchmarks, `peerdist hash` beside openssl with the same file, `peer` and `get` on
//! loopback, and the core on a Cortex-M3.

mod net;
pub mod target;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::run::{cargo, first_program, run, shown, target_dir};
use crate::{Result, apt};

const FILE_BYTES: usize = 1 << 30;
const RUNS: usize = 5;
/// What `peerdist hash` stays below for files of up to 32 GiB.
pub const MEMORY_LIMIT_MIB: f64 = 48.0;

/// What is compared: the name, the options of `peerdist hash`, the digest of `openssl dgst`, and how
/// many times its CPU time and its wall time on two cores are the limits.
const COMPARISONS: &[(&str, &[&str], &str, f64, f64)] = &[
    ("version 1, SHA-256", &[], "-sha256", 1.1, 0.65),
    (
        "version 2, segments of 64 KiB",
        &["--content-info", "2", "--segment-size", "64KiB"],
        "-sha512",
        1.15,
        0.9,
    ),
    ("version 2, content-defined", &["--content-info", "2"], "-sha512", 1.6, 0.9),
];

/// Runs the benchmarks, and prints what is measured beside its limits: of the command as a whole, of `net`
/// only what it does on a network, of `target` only what it takes on a microcontroller. Being too slow is no failure: the machine may be busy.
pub fn bench(options: &[&str]) -> Result<()> {
    match options {
        [] => hash().and_then(|()| net::bench()).and_then(|()| target::bench()),
        ["net"] => {
            run(cargo().args(["build", "--release", "--package", "peerdist-sim"]))?;
            net::bench()
        }
        ["target"] => target::bench(),
        _ => Err("usage: cargo xtask bench [net | target]".into()),
    }
}

fn hash() -> Result<()> {
    run(cargo().args(["bench", "--package", "peerdist-tests"]))?;
    if first_program(&["openssl"]).is_none() {
        apt::install(&["openssl"])?;
    }
    run(cargo().args(["build", "--release", "--package", "peerdist-sim"]))?;
    let folder = target_dir().join("bench");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let content = folder.join("content");
    let compared = write_content(&content, FILE_BYTES).and_then(|()| compare(&content, &folder.join("info")));
    // A GiB that nobody needs any more.
    _ = fs::remove_file(&content);
    compared
}

fn compare(content: &Path, info: &Path) -> Result<()> {
    println!("    medians of {RUNS} runs over 1 GiB in the page cache");
    println!(
        "    {:30} {:>14} {:>12} {:>14} {:>12} {:>14}",
        "", "CPU/openssl", "limit", "wall/openssl", "limit", "peak memory"
    );
    for (name, options, digest, cpu_limit, wall_limit) in COMPARISONS {
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", digest]).arg(content);
        let mut peerdist = Command::new(peerdist());
        peerdist.arg("hash").arg(content).arg("-o").arg(info).args(["--secret", "bench"]).args(*options);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            theirs.push(measure(&mut openssl)?);
            ours.push(measure(&mut peerdist)?);
        }
        let ratio = |part: fn(&Cost) -> f64| median(&ours, part) / median(&theirs, part);
        let (cpu, wall) = (ratio(|cost| cost.cpu), ratio(|cost| cost.wall));
        let mib = ours.iter().map(|cost| cost.peak_kib as f64 / 1_024.0).fold(0.0, f64::max);
        println!(
            "    {name:30} {cpu:>13.2}{} {cpu_limit:>12.2} {wall:>13.2}{} {wall_limit:>12.2} {mib:>9.1} MiB{}",
            mark(cpu <= *cpu_limit),
            mark(wall <= *wall_limit),
            mark(mib < MEMORY_LIMIT_MIB),
        );
    }
    println!("    ! is above its limit; of memory that is {MEMORY_LIMIT_MIB} MiB");
    Ok(())
}

fn mark(good: bool) -> char {
    if good { ' ' } else { '!' }
}

/// The command as it is released.
pub fn peerdist() -> PathBuf {
    target_dir().join("release/peerdist")
}

/// Bytes in which places to cut are found, from a fixed seed.
fn write_content(path: &Path, bytes: usize) -> Result<()> {
    let failure = |error| format!("{}: {error}", path.display());
    let mut file = File::create(path).map_err(failure)?;
    let mut state = 1u64;
    let mut piece = vec![0; bytes.min(1 << 20)];
    for _ in 0..bytes / piece.len() {
        for word in piece.chunks_exact_mut(8) {
            // Xorshift (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&piece).map_err(failure)?;
    }
    Ok(())
}

/// What a run took.
pub struct Cost {
    wall: f64,
    /// Seconds of all cores, for the program and the kernel.
    cpu: f64,
    pub peak_kib: u64,
}

fn median(costs: &[Cost], part: fn(&Cost) -> f64) -> f64 {
    middle(costs.iter().map(part).collect())
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs `command` to its end, and reads from Linux what it took: until it is waited for, the process
/// is still listed.
pub fn measure(command: &mut Command) -> Result<Cost> {
    let name = shown(command);
    let failure = |error: &dyn std::fmt::Display| format!("{name}: {error}");
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().map_err(|error| failure(&error))?;
    let folder = format!("/proc/{}", child.id());
    let read = |name: &str| fs::read_to_string(format!("{folder}/{name}"));
    let mut peak_kib = 0;
    let ended = loop {
        match read("stat").ok().as_deref().and_then(Stat::parse) {
            Some(stat) if stat.over => break Ok((stat, start.elapsed())),
            Some(_) => peak_kib = read("status").ok().as_deref().and_then(peak).unwrap_or(peak_kib),
            None => break Err("cannot be measured here: /proc of Linux is needed"),
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let status = child.wait().map_err(|error| failure(&error))?;
    let (stat, wall) = ended.map_err(|reason| failure(&reason))?;
    if !status.success() {
        return Err(failure(&status));
    }
    Ok(Cost { wall: wall.as_secs_f64(), cpu: stat.ticks as f64 / TICKS_PER_SECOND, peak_kib })
}

/// How Linux counts CPU time towards programs, on all its architectures but two of the past.
const TICKS_PER_SECOND: f64 = 100.0;

/// What `/proc/PID/stat` says.
struct Stat {
    over: bool,
    ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name of the program, in parentheses, may have spaces of its own.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self { over: *fields.first()? == "Z", ticks: ticks(11)? + ticks(12)? })
    }
}

/// The most memory a process had so far, in KiB, from its `/proc/PID/status`.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_tells() {
        let stat = Stat::parse("77 (a) b) Z 1 2 3 4 5 6 7 8 9 10 120 34 0 0 20").unwrap();
        assert_eq!((stat.over, stat.ticks), (true, 154));
        assert!(!Stat::parse("77 (a) R 1 2 3 4 5 6 7 8 9 10 120 34 0").unwrap().over);
        assert!(Stat::parse("77 (a) R 1 2 3 4 5 6 7 8 9 10 120").is_none());
        assert_eq!(peak("Name:\tx\nVmHWM:\t    9876 kB\nVmRSS:\t 1 kB\n"), Some(9_876));
        assert_eq!(peak("Name:\tx\n"), None);
    }

    #[test]
    fn medians() {
        let costs = [3.0, 1.0, 2.0].map(|wall| Cost { wall, cpu: 0.0, peak_kib: 0 });
        assert_eq!(median(&costs, |cost| cost.wall), 2.0);
    }
}
