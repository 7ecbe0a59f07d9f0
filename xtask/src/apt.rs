//! Installing what is missing, where that is ours to do: Debian, as root or with sudo that does
//! not ask.

use std::process::Command;

use crate::Result;
use crate::run::{first_program, output, run, succeeds};

/// Installs `packages`, or says in one line what to install.
pub fn install(packages: &[&str]) -> Result<()> {
    let by_hand = |why: &str| format!("run `apt-get install {}` (not done here: {why})", packages.join(" "));
    if first_program(&["apt-get"]).is_none() {
        return Err(by_hand("there is no apt-get"));
    }
    let root = output(Command::new("id").arg("-u")).is_ok_and(|(_, id)| id.trim() == "0");
    if !root && !succeeds(Command::new("sudo").args(["-n", "true"])) {
        return Err(by_hand("neither root nor a sudo that does not ask"));
    }
    let apt_get = |arguments: &[&str]| {
        let mut command = if root {
            Command::new("apt-get")
        } else {
            let mut command = Command::new("sudo");
            command.args(["-n", "apt-get"]);
            command
        };
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        run(&mut command)
    };
    // The lists of a fresh image are empty, and those of an old one name packages that are gone.
    println!("    installing {}", packages.join(" "));
    apt_get(&["update", "-qq"]).map_err(|error| by_hand(&error))?;
    let arguments = ["install", "-qq", "--yes", "--no-install-recommends"];
    apt_get(&[&arguments[..], packages].concat()).map_err(|error| by_hand(&error))
}
