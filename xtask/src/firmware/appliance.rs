//! The appliance in QEMU: its log, decoded, and QEMU's monitor.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::QEMU;
use super::log::{Failure, Log, Running, boxed, dies_with_us};
use super::monitor::Monitor;
use crate::Result;
use crate::run::{cargo, run, succeeds, target_dir};

/// What has the log back from its numbers, and the words from the image.
const DEFMT_PRINT: &str = "defmt-print";
const DEFMT_PRINT_VERSION: &str = "1.2.0";

/// The machine, with its card on the cable that follows. The log comes on stdout.
const MACHINE: &str = "-M mps2-an385 -nographic -serial none \
    -semihosting-config enable=on,target=native -net nic,model=lan9118,netdev=lan";

/// Where its flash begins, and on it the owner's settings.
const SETTINGS: u32 = 0x2100_0000;

/// The appliance, running.
pub struct Appliance {
    qemu: Running,
    /// It ends with QEMU, whose log it reads.
    _decoder: Running,
    /// What it says.
    pub log: Log,
    /// What one would do to it from outside.
    pub monitor: Monitor,
}

impl Appliance {
    /// Switches it on, with its cable in that network device of QEMU.
    pub fn start(elf: &Path, netdev: &str) -> Result<Self> {
        Self::start_as_set(elf, netdev, None)
    }

    /// The same with the owner's settings of that file, if there is one.
    pub fn start_as_set(elf: &Path, netdev: &str, settings: Option<&Path>) -> Result<Self> {
        let mut command = dies_with_us(QEMU);
        command.args(MACHINE.split_whitespace()).args(["-netdev", netdev, "-kernel"]).arg(elf);
        if let Some(file) = settings {
            let device = format!("loader,file={},addr={SETTINGS:#x},force-raw=on", file.display());
            command.args(["-device", &device]);
        }
        let monitor = Monitor::add(&mut command);
        let mut qemu = Running::start(command.stdin(Stdio::null()))?;
        let mut command = Command::new(defmt_print());
        command.args(["--log-format", "{t} {s}", "-e"]).arg(elf);
        command.stdin(qemu.0.stdout.take().ok_or("QEMU has no stdout")?);
        let mut decoder = Running::start(&mut command)?;
        let streams =
            vec![boxed(qemu.0.stderr.take()), boxed(decoder.0.stdout.take()), boxed(decoder.0.stderr.take())];
        let log = Log::follow("appliance", streams)?;
        Ok(Self { qemu, _decoder: decoder, log, monitor })
    }

    /// Has QEMU's monitor do that.
    pub fn command(&self, command: &str) -> Result<()> {
        println!("    monitor: {command}");
        match self.monitor.command(command)?.as_str() {
            "" => Ok(()),
            wrong => Err(format!("QEMU's monitor, `{command}`: {wrong}")),
        }
    }

    /// The next line of its log with `words` in it.
    pub fn says(&self, words: &str) -> Result<String, Failure> {
        self.log.wait_for(words)
    }

    /// Whether it is still running.
    pub fn is_alive(&mut self) -> Result<()> {
        self.qemu.ended().map_or(Ok(()), |status| Err(format!("the appliance ended: {status}")))
    }
}

/// Installs the program that decodes the log where it is missing, below the target folder.
pub fn need_defmt_print() -> Result<()> {
    if succeeds(Command::new(defmt_print()).arg("--version")) {
        return Ok(());
    }
    let root = tools();
    println!("    installing {DEFMT_PRINT} {DEFMT_PRINT_VERSION} into {}", root.display());
    let version = ["--version", DEFMT_PRINT_VERSION];
    let mut command = cargo();
    command.args(["install", "--quiet", "--locked", DEFMT_PRINT]).args(version).arg("--root").arg(&root);
    run(&mut command).map_err(|error| format!("no {DEFMT_PRINT}: {error}"))
}

fn tools() -> PathBuf {
    target_dir().join("xtask")
}

fn defmt_print() -> PathBuf {
    tools().join("bin").join(DEFMT_PRINT)
}
