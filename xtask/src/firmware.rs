//! The appliance of `firmware-example`: its image, and a run of it in QEMU on the simulated LAN.

mod monitor;

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::bare_metal::{CORTEX_M3, CORTEX_M7, FIRMWARE, Toolchain};
use crate::run::{cargo, first_program, repository, run, shown, succeeds, target_dir};
use crate::{Result, apt, size};
use monitor::Monitor;

/// The image's name.
pub const IMAGE: &str = "peerdist-firmware";

/// The emulator.
pub const QEMU: &str = "qemu-system-arm";

/// What has the log back from its numbers, and the words from the image.
const DEFMT_PRINT: &str = "defmt-print";
const DEFMT_PRINT_VERSION: &str = "1.2.0";

/// The machine, with its card on the cable that follows.
const MACHINE: &str = "-M mps2-an385 -nographic -serial none \
    -semihosting-config enable=on,target=native -net nic,model=lan9118,netdev=lan";

/// What the appliance prints when it is ready for clients.
const READY: &str = " preloaded ";

/// What it prints where the origin's name is unknown.
const FAILED: &str = " preloading failed: ";

/// What its page has then: the address that QEMU gives, and that it failed once.
const NUMBERS: &str = r#""address":"10.0.2.15","preload":{"state":"waiting","bytes":0,"origin_bytes":0,"failures":1,"failure":"the name has no address""#;

/// How long each may take: as long as the simulation waits.
const PATIENCE: Duration = Duration::from_secs(120);

/// The two clients of `lan.toml`, as the report has them: all 1 MiB from peers.
const FROM_PEERS: &str = r#""bytes":{"local":0,"peer":1048576,"hosted":0,"origin":0}"#;
const CLIENTS: usize = 2;

/// What peers gave there is the appliance's: it is where the first client has all of it from.
const FROM_APPLIANCE: &str = r#"{"from":"10.0.9.1","to":"client-01","bytes":1048576,"#;

/// A board of the appliance: its feature, and its processor.
struct Board {
    feature: &'static str,
    target: &'static str,
}

/// The first is QEMU's.
const BOARDS: [Board; 2] =
    [Board { feature: "mps2-an385", target: CORTEX_M3 }, Board { feature: "stm32h743", target: CORTEX_M7 }];

/// What anybody has from the appliance.
const GIVEN: &str = r#"{"from":"10.0.9.1","to":"client-"#;

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
    let elf = image(qemu)?;
    deepest_stack(&elf, judge)?;
    println!("    {CLIENTS} clients have the content from the appliance, and nothing of it from the origin");
    tells_its_numbers(&elf)
}

/// What the report of the simulation, and whether it was content with itself, must say.
pub type Judge = fn(&str, bool) -> Result<()>;

/// Runs `elf` until it has preloaded, and served two clients as `judge` wants it; and returns how deep its stack
/// was at most, in bytes.
pub fn deepest_stack(elf: &Path, judge: Judge) -> Result<u64> {
    need_qemu()?;
    run(cargo().args(["build", "--release", "--package", "peerdist-sim"]))?;
    let bytes = serves_clients(elf, judge)?;
    println!("    its stack was {bytes} bytes deep at most");
    Ok(bytes)
}

/// Installs QEMU where it is missing.
pub fn need_qemu() -> Result<()> {
    if first_program(&[QEMU]).is_some() { Ok(()) } else { apt::install(&[QEMU]) }
}

/// Builds the image of a board.
fn image(board: &Board) -> Result<PathBuf> {
    let toolchain = Toolchain::find(board.target)?;
    let mut build = toolchain.build(FIRMWARE);
    // Only QEMU's board is among the default features, and has need of more than its own.
    if board.feature != BOARDS[0].feature {
        build.args(["--no-default-features", "--features", board.feature]);
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

/// Two clients of a simulated LAN get from the appliance what it has preloaded. Returns how deep its stack was.
fn serves_clients(elf: &Path, judge: Judge) -> Result<u64> {
    let (mut lan, address) = start_lan()?;
    let (mut qemu, monitor, log) = start_qemu(elf, &format!("socket,id=lan,connect={address}"))?;
    if let Err(reason) = wait_for(&log, READY) {
        return Err(match qemu.0.try_wait() {
            Ok(Some(status)) => format!("the appliance ended: {status}"),
            _ => reason,
        });
    }
    let stdin = lan.0.stdin.take().ok_or("the simulation has no stdin")?;
    { stdin }.write_all(b"\n").map_err(|error| format!("the simulation: {error}"))?;
    let mut report = String::new();
    let stdout = lan.0.stdout.as_mut().ok_or("the simulation has no stdout")?;
    stdout.read_to_string(&mut report).map_err(|error| format!("the simulation: {error}"))?;
    let status = lan.0.wait().map_err(|error| error.to_string())?;
    judge(&report, status.success())?;
    if let Ok(Some(status)) = qemu.0.try_wait() {
        return Err(format!("the appliance ended: {status}"));
    }
    monitor.deepest_stack(elf)
}

/// In QEMU's own network, where nobody knows the origin's name, the appliance has an address and a page.
fn tells_its_numbers(elf: &Path) -> Result<()> {
    // Somebody else may take it meanwhile: then QEMU says so.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let page = free.map_err(|error| format!("no free port: {error}"))?;
    let (_qemu, _monitor, log) = start_qemu(elf, &format!("user,id=lan,hostfwd=tcp:{page}-:3780"))?;
    wait_for(&log, FAILED)?;
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
            Some((head, body)) if head.starts_with("HTTP/1.1 200 ") && body.contains(NUMBERS) => {
                numbers = body.trim().to_owned();
            }
            _ => return Err(format!("http://{page}/status: {reply:?}")),
        }
    }
    println!("    {numbers}");
    Ok(())
}

/// Whether the clients have what they should, and some of it from the appliance: one with few connections
/// refuses some, and who is refused goes elsewhere.
pub fn judge_small(report: &str, success: bool) -> Result<()> {
    let good = success && report.contains(GIVEN);
    if good { Ok(()) } else { Err(format!("the clients have nothing from the appliance: {report}")) }
}

/// Whether the clients have what they should, and from whom.
fn judge(report: &str, success: bool) -> Result<()> {
    let good = success && report.matches(FROM_PEERS).count() == CLIENTS && report.contains(FROM_APPLIANCE);
    if good { Ok(()) } else { Err(format!("the clients have not all content from the appliance: {report}")) }
}

/// The simulated LAN, and where it waits for the appliance.
fn start_lan() -> Result<(Running, String)> {
    let mut command = Command::new(target_dir().join("release/peerdist"));
    command.args(["sim", "--attach", "qemu:127.0.0.1:0", "--hold", "--json"]);
    command.arg(repository().join(FIRMWARE).join("lan.toml"));
    let (lan, log) = start(command, "lan")?;
    let line = wait_for(&log, "qemu: waiting at ")?;
    let address = line.rsplit(' ').next().unwrap_or_default().to_owned();
    Ok((lan, address))
}

/// The appliance, with its cable in that network device of QEMU.
fn start_qemu(elf: &Path, netdev: &str) -> Result<(Running, Monitor, Receiver<String>)> {
    let mut command = Command::new(QEMU);
    command.args(MACHINE.split_whitespace()).args(["-netdev", netdev, "-kernel"]).arg(elf);
    let monitor = Monitor::add(&mut command);
    let mut qemu = spawn(command)?;
    let (sender, log) = mpsc::channel();
    follow(qemu.0.stderr.take(), "qemu", sender.clone())?;
    let mut command = Command::new(need_defmt_print()?);
    command.args(["--log-format", "{t} {s}", "-e"]).arg(elf);
    command.stdin(qemu.0.stdout.take().ok_or("QEMU has no stdout")?).stdout(Stdio::piped());
    let mut decoder = command.spawn().map_err(|error| format!("{}: {error}", shown(&command)))?;
    // It ends with QEMU, whose log it reads.
    follow(decoder.stdout.take(), "appliance", sender)?;
    Ok((qemu, monitor, log))
}

/// Starts `command`, and prints and passes on what it says on stderr.
fn start(command: Command, name: &'static str) -> Result<(Running, Receiver<String>)> {
    let mut running = spawn(command)?;
    let (sender, log) = mpsc::channel();
    follow(running.0.stderr.take(), name, sender)?;
    Ok((running, log))
}

fn spawn(mut command: Command) -> Result<Running> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| format!("{}: {error}", shown(&command)))?;
    Ok(Running(child))
}

/// Prints and passes on the lines of `stream`.
fn follow(
    stream: Option<impl Read + Send + 'static>,
    name: &'static str,
    sender: Sender<String>,
) -> Result<()> {
    let stream = stream.ok_or("a child has no such stream")?;
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(std::result::Result::ok) {
            println!("    {name}: {line}");
            // Nobody may be interested any more.
            let _ = sender.send(line);
        }
    });
    Ok(())
}

/// The program that decodes the log: installed below the target folder.
fn need_defmt_print() -> Result<PathBuf> {
    let root = target_dir().join("xtask");
    let program = root.join("bin").join(DEFMT_PRINT);
    if !succeeds(Command::new(&program).arg("--version")) {
        println!("    installing {DEFMT_PRINT} {DEFMT_PRINT_VERSION} into {}", root.display());
        let version = ["--version", DEFMT_PRINT_VERSION];
        let mut command = cargo();
        command.args(["install", "--quiet", "--locked", DEFMT_PRINT]).args(version).arg("--root").arg(&root);
        run(&mut command).map_err(|error| format!("no {DEFMT_PRINT}: {error}"))?;
    }
    Ok(program)
}

/// The first line with `words` in it.
fn wait_for(log: &Receiver<String>, words: &str) -> Result<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let line = log.recv_timeout(left).map_err(|_| format!("nobody said `{}`", words.trim()))?;
        if line.contains(words) {
            return Ok(line);
        }
    }
}

/// A process that does not outlive us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clients_have_all_of_it_and_one_from_the_appliance() {
        let client = format!(r#"{{"name":"client-01",{FROM_PEERS}}}"#);
        let good = format!(r#"{{"clients":[{client},{client}],"timeline":[{FROM_APPLIANCE}"blocks":16}}]}}"#);
        assert_eq!(judge(&good, true), Ok(()));
        assert!(judge(&good, false).is_err());
        assert!(judge(&good.replacen(r#""origin":0"#, r#""origin":65536"#, 1), true).is_err());
        assert!(judge(&good.replace("10.0.9.1", "client-02"), true).is_err());
        let small = good.replace("1048576", "131072");
        assert!(judge(&small, true).is_err());
        assert_eq!(judge_small(&small, true), Ok(()));
        assert!(judge_small(&small, false).is_err());
        assert!(judge_small(&small.replace("10.0.9.1", "client-02"), true).is_err());
    }
}
