//! The appliance of `firmware-example`: its image, and runs of it in QEMU on simulated LANs.

mod appliance;
mod capture;
mod lan;
mod log;
mod monitor;
mod pace;
mod report;
mod runs;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use self::appliance::Appliance;
use self::log::PATIENCE;
use crate::bare_metal::{CORTEX_M3, CORTEX_M7, FIRMWARE, Toolchain};
use crate::run::{cargo, first_program, run, target_dir};
use crate::{Result, apt, size};

/// The image's name.
pub const IMAGE: &str = "peerdist-firmware";

/// The image that is a hosted cache.
const HOSTED_CACHE: &str = "hosted-cache";

/// The emulator.
pub const QEMU: &str = "qemu-system-arm";

/// What its page has where nobody knows the origin's name: the address that QEMU gives, and that it failed once.
const NUMBERS: &str = r#""address":"10.0.2.15","preload":{"state":"waiting","bytes":0,"origin_bytes":0,"failures":1,"failure":"the name has no address""#;

/// What that of a hosted cache has as well, where nobody has offered anything.
const OFFERS: &str = r#""offers":{"messages":0,"segments":0,"unusable":0,"refused":0,"given_up":0,"blocks":0,"block_bytes":0}"#;

/// A board of the appliance: its feature, and its processor.
struct Board {
    feature: &'static str,
    target: &'static str,
}

/// The first is QEMU's.
const BOARDS: [Board; 2] =
    [Board { feature: "mps2-an385", target: CORTEX_M3 }, Board { feature: "stm32h743", target: CORTEX_M7 }];

/// Builds the image of each board, or of one; or that of QEMU's board, and runs it.
pub fn check(options: &[&str]) -> Result<()> {
    let [qemu, _] = &BOARDS;
    match options {
        [] => return BOARDS.iter().try_for_each(|board| image(board).map(drop)),
        ["--board", name] => {
            let board = BOARDS.iter().find(|board| board.feature == *name).ok_or_else(|| {
                let names = BOARDS.map(|board| board.feature).join(" and ");
                format!("there is no board `{name}`: {names} are there")
            })?;
            return image(board).map(drop);
        }
        ["--run"] => {}
        _ => return Err(format!("`firmware {}`: only --run and --board are known", options.join(" "))),
    }
    // First, so that the usual one is left there.
    let hosted_cache =
        image_aside(&Toolchain::find(qemu.target)?, &["--features", HOSTED_CACHE], HOSTED_CACHE)?;
    let elf = image(qemu)?;
    deepest_stack(&elf)?;
    println!("    2 clients have the content from the appliance, and nothing of it from the origin");
    runs::all(&elf, &hosted_cache)?;
    tells_its_numbers(&elf, &[NUMBERS])?;
    tells_its_numbers(&hosted_cache, &[NUMBERS, OFFERS])
}

/// Runs `elf` until it has preloaded, and served two clients; and returns how deep its stack was at most, in bytes.
pub fn deepest_stack(elf: &Path) -> Result<u64> {
    need_qemu()?;
    appliance::need_defmt_print()?;
    run(cargo().args(["build", "--release", "--package", "peerdist-sim"]))?;
    let bytes = runs::serve_two(elf)?;
    println!("    its stack was {bytes} bytes deep at most");
    Ok(bytes)
}

/// Installs QEMU where it is missing.
pub fn need_qemu() -> Result<()> {
    if first_program(&[QEMU]).is_some() { Ok(()) } else { apt::install(&[QEMU]) }
}

/// Builds the image of QEMU's board with other features, and keeps it apart from the usual one.
pub fn image_aside(toolchain: &Toolchain, options: &[&str], name: &str) -> Result<PathBuf> {
    run(toolchain.build(FIRMWARE).args(options))?;
    let aside = target_dir().join(format!("{IMAGE}-{name}"));
    let built = toolchain.artifact(FIRMWARE, IMAGE);
    fs::copy(&built, &aside).map_err(|error| format!("{}: {error}", built.display()))?;
    Ok(aside)
}

/// Builds the image of a board.
fn image(board: &Board) -> Result<PathBuf> {
    let toolchain = Toolchain::find(board.target)?;
    let mut build = toolchain.build(FIRMWARE);
    // Only QEMU's board is among the default features, and has need of more than its own.
    if board.feature != BOARDS[0].feature {
        build.args(["--no-default-features", "--features", &format!("{},large-tables", board.feature)]);
    }
    run(&mut build)?;
    let elf = toolchain.artifact(FIRMWARE, IMAGE);
    let size = size::read(&elf)?;
    println!(
        "    {}: flash {} bytes, static RAM {} bytes: {}",
        board.feature,
        size.flash,
        size.ram,
        elf.display()
    );
    Ok(elf)
}

/// In QEMU's own network, where nobody knows the origin's name, the appliance has an address and a page.
fn tells_its_numbers(elf: &Path, numbers: &[&str]) -> Result<()> {
    runs::in_time(|_| {
        // The port is for the system to choose, so nobody else has it.
        let appliance = Appliance::start(elf, "user,id=lan,hostfwd=tcp:127.0.0.1:0-:3780")?;
        let ports = appliance.monitor.command("info usernet")?;
        let port = forwarded(&ports).ok_or_else(|| format!("QEMU forwards no port: {ports}"))?;
        appliance.says("preloading failed: ")?;
        Ok(ask_for_numbers(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), numbers)?)
    })
}

/// The port of this computer that QEMU forwards, from its table of connections.
fn forwarded(table: &str) -> Option<u16> {
    let line = table.lines().find(|line| line.contains("TCP[HOST_FORWARD]"))?;
    // Protocol and state, a number, address, port.
    line.split_whitespace().nth(3)?.parse().ok()
}

fn ask_for_numbers(page: SocketAddr, wanted: &[&str]) -> Result<()> {
    let ask = || {
        let mut stream = TcpStream::connect(page)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /status HTTP/1.1\r\nHost: appliance\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).map(|_| reply)
    };
    // It has two sockets for this, which those who asked before must not keep.
    let mut numbers = String::new();
    for _ in 0..3 {
        let reply = ask().map_err(|error| format!("http://{page}/status: {error}"))?;
        match reply.split_once("\r\n\r\n") {
            Some((head, body))
                if head.starts_with("HTTP/1.1 200 ") && wanted.iter().all(|words| body.contains(words)) =>
            {
                numbers = body.trim().to_owned();
            }
            _ => return Err(format!("http://{page}/status: {reply:?}")),
        }
    }
    println!("    {numbers}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_that_qemu_chose() {
        let table = "Hub -1 (lan):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
                     TCP[HOST_FORWARD]  12       127.0.0.1 43211       10.0.2.15  3780     0     0\r\n";
        assert_eq!(forwarded(table), Some(43_211));
        assert_eq!(forwarded("lan: nothing"), None);
    }
}
