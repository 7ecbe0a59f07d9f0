//! Building for a Cortex-M3, with whatever toolchain knows it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{cargo_path, first_program, repository, target_dir};
use crate::{Result, apt};

/// The example, a workspace of its own.
pub const FIRMWARE: &str = "firmware-example";

const TARGET: &str = "thumbv7m-none-eabi";

/// Debian's compiler. It has no `core` for the target but brings its source; its LLVM is the
/// linker's.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "lld-22"];
const DEBIAN_LINKERS: [&str; 2] = ["ld.lld-22", "ld.lld"];

/// A way to compile and link for the target.
pub enum Toolchain {
    /// The toolchain that cargo came with has the target installed.
    Rustup,
    /// Debian's rustc builds `core` from source, linked by the named program.
    Debian { linker: &'static str },
}

impl Toolchain {
    /// Looks for a toolchain, and installs Debian's if there is none.
    pub fn find() -> Result<Self> {
        if sysroot("rustc").is_some_and(|sysroot| sysroot.join("lib/rustlib").join(TARGET).is_dir()) {
            println!("    the installed target {TARGET}");
            return Ok(Self::Rustup);
        }
        if Self::debian().is_none() {
            apt::install(&DEBIAN_PACKAGES).map_err(|error| {
                format!("no toolchain for {TARGET}: run `rustup target add {TARGET}`, or {error}")
            })?;
        }
        let found = Self::debian().ok_or_else(|| {
            let linkers = DEBIAN_LINKERS.join(" or ");
            format!("{DEBIAN_RUSTC}, the source of core or {linkers} is missing even so: run `rustup target add {TARGET}`")
        })?;
        println!("    {DEBIAN_RUSTC} with core from source, {TARGET}");
        Ok(found)
    }

    fn debian() -> Option<Self> {
        let source = sysroot(DEBIAN_RUSTC)?.join("lib/rustlib/src/rust/library/core");
        let linker = first_program(&DEBIAN_LINKERS)?;
        source.is_dir().then_some(Self::Debian { linker })
    }

    /// A release build of the `workspace`, a folder of the repository with its own lock file and
    /// `.cargo/config.toml`.
    pub fn build(&self, workspace: &str) -> Command {
        self.cargo("build", workspace)
    }

    /// As [`build`](Self::build), with another of cargo's subcommands that compile.
    pub fn cargo(&self, subcommand: &str, workspace: &str) -> Command {
        let mut command = Command::new(cargo_path());
        command.current_dir(repository().join(workspace));
        command.args([subcommand, "--release", "--locked", "--target", TARGET]);
        command.arg("--target-dir").arg(build_dir(workspace));
        for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
            command.env_remove(name);
        }
        if let Self::Debian { linker } = self {
            // Set for us by rustup and cargo, and meant for another compiler than this one.
            for name in ["RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "LD_LIBRARY_PATH"] {
                command.env_remove(name);
            }
            command
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_THUMBV7M_NONE_EABI_LINKER", linker)
                .arg("-Zbuild-std=core");
        }
        command
    }

    /// Where [`build`](Self::build) leaves `binary`.
    pub fn artifact(&self, workspace: &str, binary: &str) -> PathBuf {
        build_dir(workspace).join(TARGET).join("release").join(binary)
    }
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
