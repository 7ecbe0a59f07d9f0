//! The chores of this repository: `cargo xtask test` is what `.ci/run` runs.
//!
//! It depends on nothing but the standard library, so that it starts at once on a machine that
//! never saw the project.

mod apt;
mod bare_metal;
mod bench;
mod capi;
mod firmware;
mod fuzz;
mod lab;
mod large;
mod negotiate;
mod net_soak;
mod netns;
mod no_panic;
mod page;
mod run;
mod size;
mod soak;

use std::process::{Command, ExitCode};
use std::time::Instant;

use run::{cargo, run, succeeds};

/// What went wrong, in one line for a person.
type Result<T, E = String> = std::result::Result<T, E>;

const USAGE: &str = "\
usage: cargo xtask <chore>

  test        everything that must hold: format, lints, documentation, tests, Kerberos, release run,
              a few dozen drawn simulations, a network of namespaces, a large file, the status
              page in a browser, C programs, bare-metal build, sizes, the firmware in QEMU, no-panic link
  bare-metal  builds firmware-example for each of its boards, and prints its flash and static RAM; compiles core
              and the adapters for firmware for thumbv6m, thumbv7em and riscv32imac
  size [--json | --update]
              prints the flash and the memory of the image, its stack as QEMU has seen it, and of core by what it
              does, beside what is wanted; fails if one has grown by more than 2 % against tests/size/table.txt,
              which --update writes
  capi        compiles and runs the tests and examples of the C interface, also under valgrind, and on a Cortex-M3
  no-panic    links every codec and machine without a panic path; checks that the proof can fail
  net         in namespaces of Linux: clients, one on a TAP device, get a file from each other, not from
              the origin; simulated ones get another from a real one; a hosted cache has what a client
              got that is gone; then a short `soak --net`, without hosted caches and with them
  negotiate   checks the feature by which hosted caches are told who a client is, in a realm of Kerberos
  large-file  describes and verifies a file of more than 4 GiB with the command as it is released
  page        renders the status page in headless Chromium, with scripts and without
  firmware [--board NAME | --run]
              builds the image for each board, or for one; runs that of QEMU's board on simulated LANs, where it
              preloads a file that clients then get from it, also after a reset and other troubles
  fuzz [TARGET] [--seconds N]
              runs every fuzz target, or one, for 10 seconds, or N: on random bytes, so not in test
  soak [--seeds N] [--from SEED]
              simulates 1,000 branches, or N, each drawn from its seed, and names the seeds that fail
  soak --net [--hosted] [--seconds N] [--seed SEED]
              for 60 seconds, or N: 64 clients at once in namespaces of Linux, while processes are killed
              and disks are full; with two hosted caches, one of which is killed as well
  bench [net | target]
              runs the benchmarks; compares `peerdist hash` with openssl and `peerdist peer` with nginx, and
              measures `peerdist get`, in time and memory; and counts the instructions that core takes for a byte
              on a Cortex-M3; or only what goes over the network, or only the last";

/// Sets of features beside what the workspace builds anyway; `log` and `defmt` exclude each other.
const FEATURE_SETS: &[(&str, &[&str])] = &[
    ("peerdist-core", &[]),
    ("peerdist-core", &["log"]),
    ("peerdist-core", &["defmt"]),
    ("peerdist-hal", &[]),
    ("peerdist-hal", &["embassy"]),
    ("peerdist-hal", &["file"]),
    ("peerdist-hal", &["flash"]),
    ("peerdist-hal", &["smoltcp"]),
    ("peerdist-hal", &["ipv6"]),
    ("peerdist-hal", &["std"]),
    ("peerdist-hal", &["tls"]),
    ("peerdist-hal", &["tap"]),
    ("peerdist-hal", &["smoltcp", "std"]),
    ("peerdist-hal", &["embassy", "ipv6"]),
    ("peerdist-hal", &["flash", "smoltcp", "defmt"]),
    ("peerdist-capi", &[]),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test(),
        ["bare-metal"] => step("bare-metal", bare_metal),
        ["size", "--json"] => size::check(&["--json"]),
        ["size", ref options @ ..] => step("size", || size::check(options)),
        ["no-panic"] => step("no-panic", no_panic::check),
        ["firmware", ref options @ ..] => step("firmware", || firmware::check(options)),
        ["net"] => step("net", net),
        ["large-file"] => step("large-file", large_file),
        ["fuzz", ref options @ ..] => step("fuzz", || fuzz::check(options)),
        ["negotiate"] => step("negotiate", negotiate::check),
        ["page"] => step("page", page::check),
        ["capi"] => step("capi", capi::check),
        ["soak", "--net", ref options @ ..] => step("soak", || net_soak::soak(options)),
        ["soak", ref options @ ..] => step("soak", || soak::soak(options)),
        ["bench", ref options @ ..] => step("bench", || bench::bench(options)),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// From the quickest to the slowest to tell, so that what fails often fails early.
fn test() -> Result<()> {
    let start = Instant::now();
    step("fmt", fmt)?;
    step("clippy", clippy)?;
    step("rustdoc", rustdoc)?;
    step("tests", tests)?;
    step("negotiate", negotiate::check)?;
    step("release", release)?;
    step("soak", soak::check)?;
    step("net", net)?;
    step("large-file", large_file)?;
    step("page", page::check)?;
    step("capi", capi::check)?;
    step("bare-metal", bare_metal)?;
    step("size", || size::check(&[]))?;
    step("firmware", || firmware::check(&["--run"]))?;
    step("no-panic", no_panic::check)?;
    println!("==> all steps passed in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs one step between a line that announces it and a line with its time.
fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("==> {name}");
    let start = Instant::now();
    let outcome = work();
    let seconds = start.elapsed().as_secs_f64();
    match outcome {
        Ok(()) => {
            println!("<== {name}: ok in {seconds:.1} s");
            Ok(())
        }
        Err(reason) => Err(format!("{name} FAILED after {seconds:.1} s: {reason}")),
    }
}

fn fmt() -> Result<()> {
    need_component("fmt", "rustfmt", "rustfmt-web")?;
    run(cargo().args(["fmt", "--all", "--check"]))?;
    for workspace in
        [bare_metal::FIRMWARE, no_panic::HARNESS, fuzz::WORKSPACE, size::HARNESSES, bench::target::WORKSPACE]
    {
        run(cargo().args(["fmt", "--check", "--manifest-path", &format!("{workspace}/Cargo.toml")]))?;
    }
    Ok(())
}

fn clippy() -> Result<()> {
    need_component("clippy", "clippy", "rust-web-clippy")?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    for (package, features) in FEATURE_SETS {
        let features = features.join(",");
        let arguments = ["clippy", "--package", package, "--no-default-features", "--features", &features];
        run(cargo().args(arguments).args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

fn rustdoc() -> Result<()> {
    run(cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// One of the tests sees content information as a person would: with curl. Core is tested with its small tables
/// as well, which the workspace does not have.
fn tests() -> Result<()> {
    if run::first_program(&["curl"]).is_none() {
        apt::install(&["curl"]).map_err(|error| format!("no curl to test with: {error}"))?;
    }
    run(cargo().args(["test", "--workspace"]))?;
    run(cargo().args(["test", "--package", "peerdist-core", "--no-default-features"]))
}

/// Builds what is released, as later steps use it: the workspace as a whole has other features, and would have
/// everything compiled twice. The C library has a step of its own. A simulated office is the shortest proof that
/// it works, so the default command is run.
fn release() -> Result<()> {
    run(cargo().args(["build", "--release", "--package", "peerdist-sim"]))?;
    run(cargo().args(["run", "--release"]))
}

fn net() -> Result<()> {
    run(cargo().args(["build", "--release", "--package", "peerdist-sim"]))?;
    netns::check()?;
    net_soak::check()
}

fn large_file() -> Result<()> {
    run(cargo().args(["build", "--release", "--package", "peerdist-sim"]))?;
    large::check()
}

fn bare_metal() -> Result<()> {
    firmware::check(&[])?;
    bare_metal::compile_elsewhere()
}

/// Fails in one line unless `cargo <subcommand>` works. Only a Debian toolchain can be completed
/// here; rustup's components are the user's to choose.
fn need_component(subcommand: &str, component: &str, package: &str) -> Result<()> {
    let there = || succeeds(cargo().args([subcommand, "--version"]));
    if there() {
        return Ok(());
    }
    let rustup = succeeds(Command::new("rustup").arg("--version"));
    if !rustup {
        apt::install(&[package])?;
        if there() {
            return Ok(());
        }
    }
    Err(format!("`cargo {subcommand}` is missing: run `rustup component add {component}`"))
}
