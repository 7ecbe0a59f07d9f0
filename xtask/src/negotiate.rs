//! Hosted caches that ask who we are: the feature that is built nowhere else, with a realm of Kerberos.

use std::path::Path;
use std::process::Command;

use crate::run::{cargo, run, succeeds};
use crate::{Result, apt};

/// What of Debian's packages the feature is built with, and what makes a realm.
const PACKAGES: [&str; 6] =
    ["krb5-admin-server", "krb5-kdc", "krb5-user", "libclang-dev", "libkrb5-dev", "pkg-config"];

const FEATURE: [&str; 3] = ["--workspace", "--features", "peerdist-sim/negotiate"];

pub fn check() -> Result<()> {
    // Not everybody has the programs of administrators at hand.
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let is_there = |name: &str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    let programs = ["kadmin.local", "kdb5_util", "kinit", "krb5kdc", "pkg-config"].into_iter().all(is_there);
    let library = || succeeds(Command::new("pkg-config").args(["--exists", "mit-krb5-gssapi"]));
    if !programs || !library() || !has_libclang() {
        apt::install(&PACKAGES).map_err(|error| format!("no Kerberos to test with: {error}"))?;
    }
    run(cargo()
        .arg("clippy")
        .args(FEATURE)
        .args(["--lib", "--bins", "--test", "get", "--", "-D", "warnings"]))?;
    run(cargo().arg("test").args(FEATURE).args(["--test", "get", "negotiated"]).env("PATH", &path))
}

/// Where Debian has it, or where somebody says that it is.
fn has_libclang() -> bool {
    let versions = Path::new("/usr/lib").read_dir().into_iter().flatten().flatten();
    std::env::var_os("LIBCLANG_PATH").is_some()
        || versions.map(|entry| entry.path().join("lib/libclang.so")).any(|path| path.exists())
}
