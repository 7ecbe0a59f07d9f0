//! Instructions for each byte on a Cortex-M3: `tests/instructions`, run in QEMU, which counts them.

use std::process::Command;

use crate::Result;
use crate::bare_metal::{CORTEX_M3, Toolchain};
use crate::firmware::{QEMU, need_qemu};
use crate::run::{output, run};

/// Both ends of each run, a workspace of its own.
pub const WORKSPACE: &str = "tests/instructions";

/// QEMU's board, on which an instruction takes a nanosecond.
const MACHINE: &str = "-M mps2-an385 -nographic -monitor none -serial none \
    -semihosting-config enable=on,target=native -icount shift=0";

/// What a figure is the difference of: runs, of which both sides count, or only the right one, which receives.
const FIGURES: [(&str, &str, Option<&str>, Sides, f64); 5] = [
    ("serving, above smoltcp alone sending the same bytes", "serve", Some("send"), Sides::Both, 25.0),
    ("receiving and verifying 1.0 with AES-128", "fetch-v1", None, Sides::Right, 300.0),
    ("receiving and verifying 2.0 with AES-128", "fetch-v2", None, Sides::Right, 340.0),
    ("the same 1.0, above smoltcp alone receiving", "fetch-v1", Some("serve"), Sides::Right, 300.0),
    ("the same 2.0, above smoltcp alone receiving", "fetch-v2", Some("serve"), Sides::Right, 340.0),
];

#[derive(Clone, Copy)]
enum Sides {
    Both,
    Right,
}

/// What the program prints of a run.
#[derive(Debug, PartialEq)]
struct Run {
    name: String,
    left: f64,
    right: f64,
    bytes: f64,
}

/// Builds, runs and prints.
pub fn bench() -> Result<()> {
    let toolchain = Toolchain::find(CORTEX_M3)?;
    run(&mut toolchain.build(WORKSPACE))?;
    need_qemu()?;
    let mut command = Command::new(QEMU);
    command
        .args(MACHINE.split_whitespace())
        .arg("-kernel")
        .arg(toolchain.artifact(WORKSPACE, "instructions"));
    let (success, said) = output(&mut command)?;
    if !success {
        return Err(format!("the program on the target failed: {}", said.trim()));
    }
    let runs: Vec<Run> = said.lines().filter_map(parse).collect();
    println!("    instructions for each byte of payload");
    println!("    {:52} {:>8} {:>8}", "", "wanted", "reached");
    for (name, run, twin, sides, wanted) in FIGURES {
        let reached = figure(&runs, run, twin, sides)
            .ok_or_else(|| format!("there was no run for `{name}`: {said}"))?;
        let mark = if reached <= wanted { ' ' } else { '!' };
        println!("    {name:52} {wanted:>8.0} {reached:>8.1}{mark}");
    }
    println!("    ! is above what is wanted");
    Ok(())
}

fn figure(runs: &[Run], run: &str, twin: Option<&str>, sides: Sides) -> Option<f64> {
    let find = |name: &str| runs.iter().find(|run| run.name == name);
    let spent = |run: &Run| match sides {
        Sides::Both => run.left + run.right,
        Sides::Right => run.right,
    };
    let run = find(run)?;
    let twin = twin.map_or(Some(0.0), |twin| find(twin).map(spent))?;
    Some((spent(run) - twin) / run.bytes)
}

fn parse(line: &str) -> Option<Run> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    let mut number = || words.next()?.parse().ok();
    let run = Run { name, left: number()?, right: number()?, bytes: number()? };
    words.next().is_none().then_some(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_runs() {
        let runs: Vec<Run> = "serve 300 50 10\nsend 200 40 10\nnot a run".lines().filter_map(parse).collect();
        assert_eq!(runs.len(), 2);
        assert_eq!(figure(&runs, "serve", Some("send"), Sides::Both), Some(11.0));
        assert_eq!(figure(&runs, "serve", None, Sides::Right), Some(5.0));
        assert_eq!(figure(&runs, "serve", Some("gone"), Sides::Right), None);
    }
}
