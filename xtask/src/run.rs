//! Running programs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;

/// Where the workspace is.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository")
}

/// Where the workspace's builds go; variants for other targets get folders of their own in it.
pub fn target_dir() -> PathBuf {
    // A relative CARGO_TARGET_DIR counts from where cargo was started, and that is our folder too.
    let dir = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    std::path::absolute(&dir).unwrap_or(dir)
}

/// The cargo that started us, in the root of the repository.
pub fn cargo() -> Command {
    let mut command = Command::new(cargo_path());
    command.current_dir(repository()).env("CARGO_TARGET_DIR", target_dir());
    command
}

/// The path of the cargo that started us: the toolchain's own, not rustup's proxy.
pub fn cargo_path() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs `command`, its output being ours.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|error| format!("{}: {error}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", shown(command))) }
}

/// Runs `command` for its output, both streams together, and whether it succeeded.
pub fn output(command: &mut Command) -> Result<(bool, String)> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{}: {error}", shown(command)))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), text))
}

/// Whether `command` can be run and succeeds; it stays silent.
pub fn succeeds(command: &mut Command) -> bool {
    output(command).is_ok_and(|(success, _)| success)
}

/// The first of `names` that is a program on the PATH.
pub fn first_program<'a>(names: &[&'a str]) -> Option<&'a str> {
    let path = std::env::var_os("PATH")?;
    let there = |name: &&&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    names.iter().find(there).copied()
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    format!("`{}`", words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "))
}
