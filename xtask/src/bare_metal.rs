//! Building for bare metal, with whatever toolchain knows the target.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{cargo_path, first_program, output, repository, run, target_dir};
use crate::{Result, apt};

/// The example, a workspace of its own.
pub const FIRMWARE: &str = "firmware-example";

/// A Cortex-M3.
pub const CORTEX_M3: &str = "thumbv7m-none-eabi";

/// A Cortex-M7 with its floating point unit.
pub const CORTEX_M7: &str = "thumbv7em-none-eabihf";

/// Processors that core and the adapters for firmware compile for beside that of QEMU's board: without
/// compare-and-swap, with a floating point unit, of another kind.
const OTHER_TARGETS: [&str; 3] = ["thumbv6m-none-eabi", CORTEX_M7, "riscv32imac-unknown-none-elf"];

/// What compiles for all of them.
const PORTABLE: [&str; 6] = [
    "--package",
    "peerdist-core",
    "--package",
    "peerdist-hal",
    "--features",
    "peerdist-hal/smoltcp,peerdist-hal/flash",
];

/// Debian's compiler. It has no `core` for these targets but brings its source; its LLVM is the
/// linker's.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "lld-22"];
const DEBIAN_LINKERS: [&str; 2] = ["ld.lld-22", "ld.lld"];

/// A way to compile and link for a target.
pub struct Toolchain {
    target: &'static str,
    kind: Kind,
}

enum Kind {
    /// The toolchain that cargo came with has the target installed.
    Rustup,
    /// Debian's rustc builds `core` from source, linked by the named program.
    Debian { linker: &'static str },
}

impl Toolchain {
    /// Looks for a toolchain for `target`, and installs Debian's if there is none.
    pub fn find(target: &'static str) -> Result<Self> {
        if sysroot("rustc").is_some_and(|sysroot| sysroot.join("lib/rustlib").join(target).is_dir()) {
            println!("    the installed target {target}");
            return Ok(Self { target, kind: Kind::Rustup });
        }
        if Self::debian().is_none() {
            apt::install(&DEBIAN_PACKAGES).map_err(|error| {
                format!("no toolchain for {target}: run `rustup target add {target}`, or {error}")
            })?;
        }
        let kind = Self::debian().ok_or_else(|| {
            let linkers = DEBIAN_LINKERS.join(" or ");
            format!("{DEBIAN_RUSTC}, the source of core or {linkers} is missing even so: run `rustup target add {target}`")
        })?;
        println!("    {DEBIAN_RUSTC} with core from source, {target}");
        Ok(Self { target, kind })
    }

    fn debian() -> Option<Kind> {
        let source = sysroot(DEBIAN_RUSTC)?.join("lib/rustlib/src/rust/library/core");
        let linker = first_program(&DEBIAN_LINKERS)?;
        source.is_dir().then_some(Kind::Debian { linker })
    }

    /// A release build of the `workspace`, a folder of the repository with its own lock file and
    /// `.cargo/config.toml`.
    pub fn build(&self, workspace: &str) -> Command {
        self.cargo("build", workspace)
    }

    /// As [`build`](Self::build), with another of cargo's subcommands that compile.
    pub fn cargo(&self, subcommand: &str, workspace: &str) -> Command {
        let mut command = self.bare(subcommand);
        command.current_dir(repository().join(workspace)).arg("--release");
        command.arg("--target-dir").arg(build_dir(workspace));
        command
    }

    fn bare(&self, subcommand: &str) -> Command {
        let mut command = Command::new(cargo_path());
        command.args([subcommand, "--locked", "--target", self.target]);
        for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
            command.env_remove(name);
        }
        if let Kind::Debian { linker } = self.kind {
            // Set for us by rustup and cargo, and meant for another compiler than this one.
            for name in ["RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "LD_LIBRARY_PATH"] {
                command.env_remove(name);
            }
            command
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1")
                .env(format!("CARGO_TARGET_{}_LINKER", self.target.to_uppercase().replace('-', "_")), linker)
                .arg("-Zbuild-std=core");
        }
        command
    }

    /// What the compiler says it is.
    pub fn version(&self) -> Result<String> {
        let rustc = if matches!(self.kind, Kind::Rustup) { "rustc" } else { DEBIAN_RUSTC };
        let (_, version) = output(Command::new(rustc).arg("--version"))?;
        Ok(version.lines().next().unwrap_or_default().to_owned())
    }

    /// Where [`build`](Self::build) leaves `binary`.
    pub fn artifact(&self, workspace: &str, binary: &str) -> PathBuf {
        build_dir(workspace).join(self.target).join("release").join(binary)
    }
}

/// Compiles core and the adapters for firmware for other processors than that of QEMU's board.
pub fn compile_elsewhere() -> Result<()> {
    for target in OTHER_TARGETS {
        let mut command = Toolchain::find(target)?.bare("build");
        command
            .current_dir(repository())
            .args(PORTABLE)
            .arg("--target-dir")
            .arg(target_dir().join("elsewhere"));
        // Nobody runs it, so the compiler need not try hard.
        command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
        run(&mut command)?;
    }
    Ok(())
}

fn build_dir(workspace: &str) -> PathBuf {
    target_dir().join(Path::new(workspace).file_name().unwrap_or_default())
}

/// Where `rustc` keeps its libraries; `None` if there is no such compiler.
fn sysroot(rustc: &str) -> Option<PathBuf> {
    let mut command = Command::new(rustc);
    if rustc == DEBIAN_RUSTC {
        command.env_remove("LD_LIBRARY_PATH");
    }
    let output = command.args(["--print", "sysroot"]).output().ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
