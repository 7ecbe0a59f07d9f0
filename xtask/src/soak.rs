//! Many simulated branches, each drawn from a seed (`peerdist sim --preset swarm`), on all cores.

use std::io::{IsTerminal as _, Write as _};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use crate::Result;
use crate::bench::peerdist;
use crate::run::{cargo, output, run};

/// How many seeds are run if nothing else is asked for.
const SEEDS: u64 = 1_000;

/// How many are run in every test: half a minute's work of two cores.
const SEEDS_OF_TEST: u64 = 60;

/// What repeats the run of a seed, but for the seed.
const REPEAT: &str = "cargo run --release -- sim --preset swarm --seed";

/// Between two lines of progress where they cannot be written over each other.
const SEEDS_A_LINE: u64 = 100;

/// What is to be run: so many seeds from the first.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    seeds: u64,
    from: u64,
}

impl Options {
    /// Reads `[--seeds N] [--from SEED]`, in any order.
    fn parse(arguments: &[&str]) -> Option<Self> {
        let mut options = Self { seeds: SEEDS, from: 0 };
        for pair in arguments.chunks(2) {
            match *pair {
                ["--seeds", number] => options.seeds = number.parse().ok().filter(|&seeds| seeds > 0)?,
                ["--from", seed] => options.from = seed.parse().ok()?,
                _ => return None,
            }
        }
        options.from.checked_add(options.seeds)?;
        Some(options)
    }
}

/// Runs the seeds that were asked for.
pub fn soak(arguments: &[&str]) -> Result<()> {
    let options = Options::parse(arguments).ok_or("usage: cargo xtask soak [--seeds N] [--from SEED]")?;
    run(cargo().args(["build", "--release", "--package", "peerdist-sim"]))?;
    all(&options)
}

/// Runs the first few seeds with the command that has been built.
pub fn check() -> Result<()> {
    all(&Options { seeds: SEEDS_OF_TEST, from: 0 })
}

/// Shared by the workers.
struct Progress {
    next: u64,
    done: u64,
    failed: Vec<u64>,
}

fn all(options: &Options) -> Result<()> {
    let start = Instant::now();
    let end = options.from + options.seeds;
    let progress = Mutex::new(Progress { next: options.from, done: 0, failed: Vec::new() });
    let work = || -> Result<()> {
        loop {
            let seed = {
                let mut progress = progress.lock().map_err(|_| "another worker panicked")?;
                let seed = progress.next;
                progress.next = seed.saturating_add(1);
                seed
            };
            if seed >= end {
                return Ok(());
            }
            let failure = try_seed(seed)?;
            let mut progress = progress.lock().map_err(|_| "another worker panicked")?;
            progress.done += 1;
            tell(&mut progress, seed, failure, options.seeds);
        }
    };
    let workers = thread::available_parallelism().map_or(1, |cores| cores.get());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker panicked")?)
    })?;

    let Progress { mut failed, .. } = progress.into_inner().map_err(|_| "a worker panicked")?;
    let seconds = start.elapsed().as_secs_f64();
    println!("    {} seeds from {} in {seconds:.1} s, {} failed", options.seeds, options.from, failed.len());
    failed.sort_unstable();
    let seeds: Vec<String> = failed.iter().map(u64::to_string).collect();
    match seeds.is_empty() {
        true => Ok(()),
        false => Err(format!("of {} seeds these fail: {}", options.seeds, seeds.join(" "))),
    }
}

/// Runs one seed; why it failed, if it did.
fn try_seed(seed: u64) -> Result<Option<String>> {
    let mut command = Command::new(peerdist());
    command.args(["sim", "--preset", "swarm", "--json", "--seed", &seed.to_string()]);
    let started = Instant::now();
    let (success, text) = output(&mut command)?;
    if success {
        return Ok(None);
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Some(format!("after {seconds:.1} s: {}", reason(&text))))
}

/// A line of progress, and one for a failure that stays.
fn tell(progress: &mut Progress, seed: u64, failure: Option<String>, seeds: u64) {
    let terminal = std::io::stdout().is_terminal();
    if let Some(failure) = failure {
        progress.failed.push(seed);
        println!("{}    {REPEAT} {seed}\n      {failure}", if terminal { "\r" } else { "" });
    }
    let Progress { done, failed, .. } = progress;
    let line = format!("    {done} of {seeds} seeds, {} failed", failed.len());
    match terminal {
        true => print!("\r{line}{}", if *done == seeds { "\n" } else { "" }),
        false if done.is_multiple_of(SEEDS_A_LINE) && *done < seeds => println!("{line}"),
        false => {}
    }
    // A terminal that is gone is no reason to stop.
    let _ = std::io::stdout().flush();
}

/// What a run that failed says: the clients that are not right, or its last words.
fn reason(text: &str) -> String {
    let clients = text.split("{\"name\":\"").skip(1).filter(|client| client.contains("\"ok\":false"));
    let names: Vec<&str> = clients.filter_map(|client| client.split('"').next()).collect();
    match names.is_empty() {
        true => text.lines().next().unwrap_or("it said nothing").to_owned(),
        false => format!("not right: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_in_any_order() {
        let options = |seeds, from| Some(Options { seeds, from });
        assert_eq!(Options::parse(&[]), options(SEEDS, 0));
        assert_eq!(Options::parse(&["--seeds", "5"]), options(5, 0));
        assert_eq!(Options::parse(&["--from", "7", "--seeds", "5"]), options(5, 7));
        for bad in [
            &["--seeds"][..],
            &["--seeds", "0"],
            &["--from", "-1"],
            &["5"],
            &["--from", "18446744073709551615"],
        ] {
            assert_eq!(Options::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn who_is_not_right_is_named() {
        let json = r#"{"seed":1,"clients":[{"name":"client-01","ok":true},{"name":"client-02","ok":false}]}"#;
        assert_eq!(reason(json), "not right: client-02");
        assert_eq!(reason("thread 'main' panicked\nnote:"), "thread 'main' panicked");
        assert_eq!(reason(""), "it said nothing");
    }
}
