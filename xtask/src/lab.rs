//! A small network in namespaces of Linux: hosts on a bridge, the origin behind a slow line.
//!
//! Everything is named after this process and goes with it, also when something fails.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::bench::peerdist;
use crate::run::{first_program, output, shown, target_dir};
use crate::{Result, apt};

/// Where the origin is; hosts are 10.77.x.y and fd77::x:y.
pub const ORIGIN: &str = "origin";

/// The namespace with the bridge, and with the TAP device.
pub const SWITCH: &str = "switch";

/// The TAP device, in the namespace of the switch.
pub const TAP: &str = "tap0";

/// How long a process may take to say that it is ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// The network.
pub struct Lab {
    prefix: String,
    namespaces: Vec<String>,
    mounts: Vec<PathBuf>,
    /// Where everything is kept.
    pub folder: PathBuf,
    /// Whether there are addresses of IPv6.
    pub ipv6: bool,
    /// Whether there is a TAP device.
    pub tap: bool,
}

/// A process that is killed when it is let go of.
pub struct Running(pub Child);

impl Lab {
    /// Hosts of these names with their numbers, beside the origin. The line of the origin takes so many Mbit/s.
    /// `None` where there can be none: a line has said why.
    pub fn build(hosts: &[(&str, u16)], mbit: u32) -> Result<Option<Self>> {
        if !cfg!(target_os = "linux") {
            println!("    skipped: network namespaces are Linux's");
            return Ok(None);
        }
        if first_program(&["ip"]).is_none() || first_program(&["tc"]).is_none() {
            apt::install(&["iproute2"])?;
        }
        remove_abandoned();
        let prefix = format!("peerdist-{}", std::process::id());
        let folder = target_dir().join(format!("net-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut lab = Self { prefix, namespaces: vec![], mounts: vec![], folder, ipv6: true, tap: true };
        for name in hosts.iter().map(|(name, _)| *name).chain([SWITCH, ORIGIN]) {
            if !lab.has("network namespaces", &["netns", "add", &lab.namespace(name)]) {
                return Ok(None);
            }
            lab.namespaces.push(name.to_string());
            lab.ip(name, &["link", "set", "lo", "up"])?;
        }
        // A bridge that snoops but hears no querier forgets who is a member.
        let bridge =
            ["-n", &lab.namespace(SWITCH), "link", "add", "br0", "type", "bridge", "mcast_snooping", "0"];
        if !lab.has("bridges", &bridge) {
            return Ok(None);
        }
        lab.ip(SWITCH, &["link", "set", "br0", "up"])?;
        for (name, number) in hosts.iter().copied().chain([(ORIGIN, 100)]) {
            let (switch, host) = (lab.namespace(SWITCH), lab.namespace(name));
            let port = format!("p{number}");
            let pair = ["-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0"];
            if !lab.has("veth pairs", &[&pair[..], &["netns", &host]].concat()) {
                return Ok(None);
            }
            lab.ip(SWITCH, &["link", "set", &port, "master", "br0", "up"])?;
            lab.ip(name, &["link", "set", "eth0", "up"])?;
            lab.address(name, number)?;
        }
        let rate = format!("{mbit}mbit");
        let shape = [
            "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", &rate, "burst", "64kb", "latency", "400ms",
        ];
        let mut tc = Command::new("tc");
        tc.args(["-n", &lab.namespace(ORIGIN)]).args(shape);
        if let (false, why) = output(&mut tc)? {
            println!("    tc tbf is missing here: the origin's line is as fast as any ({})", line(&why));
        }
        let namespace = lab.namespace(SWITCH);
        lab.tap = lab.has("TAP devices", &["-n", &namespace, "tuntap", "add", "dev", TAP, "mode", "tap"]);
        if lab.tap {
            lab.ip(SWITCH, &["link", "set", TAP, "master", "br0", "up"])?;
        }
        Ok(Some(lab))
    }

    /// Gives a host an address more, of both families.
    pub fn address(&mut self, host: &str, number: u16) -> Result<()> {
        let (v4, v6) = (format!("{}/16", address(number, false)), format!("{}/64", address(number, true)));
        self.ip(host, &["address", "add", &v4, "dev", "eth0"])?;
        if self.ipv6 && self.ip(host, &["address", "add", &v6, "dev", "eth0", "nodad"]).is_err() {
            println!("    IPv6 is missing here: only IPv4 is tried");
            self.ipv6 = false;
        }
        Ok(())
    }

    /// Gives a host an address in another network.
    pub fn own_address(&self, host: &str, address: &str) -> Result<()> {
        self.ip(host, &["address", "add", address, "dev", "eth0"])
    }

    /// A file system of so many MiB.
    pub fn small_disk(&mut self, name: &str, mib: u32) -> Result<Option<PathBuf>> {
        let path = self.folder.join(name);
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "peerdist"]).arg(&path);
        match output(&mut mount)? {
            (true, _) => self.mounts.push(path.clone()),
            (false, why) => {
                println!("    tmpfs cannot be mounted here: no disk is full ({})", line(&why));
                return Ok(None);
            }
        }
        Ok(Some(path))
    }

    /// `peerdist` on a host.
    pub fn peerdist(&self, host: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(host)]).arg(peerdist()).args(arguments);
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    /// The content server of the folder `root`, when it is `ready`.
    pub fn origin(&self, listen: &str, more: &[&str], ready: impl Fn() -> bool) -> Result<Running> {
        let fixed = ["origin", "--root", "root", "--secret", "lab", "--hash", "eager", "--listen", listen];
        let mut command = self.peerdist(ORIGIN, &fixed);
        let hashes = format!("hashes-{}", listen.rsplit(':').next().unwrap_or_default());
        command.args(["--hash-cache", &hashes]).args(more);
        self.start(command, ready)
    }

    /// A peer that is ready.
    pub fn peer(&self, host: &str, options: &[&str]) -> Result<Running> {
        self.start(self.peerdist(host, &[&["peer"], options].concat()), || true)
    }

    /// A hosted cache that is ready, and tells how it does.
    pub fn hosted(&self, host: &str, options: &[&str]) -> Result<Running> {
        let mut command = self.peerdist(host, &[&["hosted", "--admin"], options].concat());
        // It tells of each client that is gone before it has given what it offered.
        command.stderr(Stdio::null());
        self.start(command, || true)
    }

    /// A certificate for the addresses of these hosts, and its key: the names of both files.
    pub fn certificate(&self, name: &str, numbers: &[u16]) -> Result<(String, String)> {
        if first_program(&["openssl"]).is_none() {
            apt::install(&["openssl"])?;
        }
        let files = (format!("{name}.cert"), format!("{name}.key"));
        let addresses = numbers.iter().flat_map(|&number| [false, true].map(|ipv6| address(number, ipv6)));
        let addresses: Vec<String> = addresses.map(|address| format!("IP:{address}")).collect();
        let mut openssl = Command::new("openssl");
        openssl.current_dir(&self.folder).args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=lab"]);
        openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-addext"]);
        openssl.arg(format!("subjectAltName={}", addresses.join(",")));
        match output(openssl.args(["-out", &files.0, "-keyout", &files.1]))? {
            (true, _) => Ok(files),
            (false, why) => Err(format!("{}: {}", shown(&openssl), line(&why))),
        }
    }

    /// Plugs the cable of a host in, or pulls it out.
    pub fn plug(&self, number: u16, is_in: bool) -> Result<()> {
        self.ip(SWITCH, &["link", "set", &format!("p{number}"), if is_in { "up" } else { "down" }])
    }

    /// Starts a server, and waits until it has said so and `ready`.
    fn start(&self, mut command: Command, ready: impl Fn() -> bool) -> Result<Running> {
        let name = shown(&command);
        let failed = |error: std::io::Error| format!("{name}: {error}");
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
        let stdout = child.stdout.take();
        let running = Running(child);
        let mut line = String::new();
        stdout.map(|stdout| BufReader::new(stdout).read_line(&mut line)).transpose().map_err(failed)?;
        let start = Instant::now();
        while line.is_empty() || !ready() {
            if line.is_empty() || start.elapsed() > PATIENCE {
                return Err(format!("{name} does not get ready"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }

    /// Whether the origin has hashed all its files.
    pub fn hashed(&self) -> bool {
        self.status("NumberOfFiles") >= Some(1) && self.status("FilesWaiting") == Some(0)
    }

    /// A number of the origin's status, the first of that name.
    pub fn status(&self, name: &str) -> Option<u64> {
        self.status_of(ORIGIN, name)
    }

    /// The same of another host's.
    pub fn status_of(&self, host: &str, name: &str) -> Option<u64> {
        let (true, text) = output(&mut self.peerdist(host, &["status", "--json"])).ok()? else {
            return None;
        };
        number(&text, name)
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn ip(&self, host: &str, arguments: &[&str]) -> Result<()> {
        match output(Command::new("ip").args(["-n", &self.namespace(host)]).args(arguments))? {
            (true, _) => Ok(()),
            (false, why) => Err(format!("ip {}: {}", arguments.join(" "), line(&why))),
        }
    }

    /// Whether `ip` can do it; if not, a line says what is missing.
    fn has(&self, what: &str, arguments: &[&str]) -> bool {
        let (done, why) = output(Command::new("ip").args(arguments)).unwrap_or_else(|why| (false, why));
        if !done {
            println!("    {what} cannot be had here: what needs them is skipped ({})", line(&why));
        }
        done
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for mount in &self.mounts {
            _ = output(Command::new("umount").arg("-l").arg(mount));
        }
        for name in &self.namespaces {
            _ = output(Command::new("ip").args(["netns", "delete", &self.namespace(name)]));
        }
        _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes namespaces, disks and folders of processes that were ended before they could.
fn remove_abandoned() {
    let is_gone =
        |owner: &str| owner.parse::<u32>().is_ok_and(|owner| !Path::new(&format!("/proc/{owner}")).exists());
    if let Ok((true, list)) = output(Command::new("ip").args(["netns", "list"])) {
        for name in list.lines().filter_map(|line| line.split_whitespace().next()) {
            let owner = name.strip_prefix("peerdist-").and_then(|rest| rest.split('-').next());
            if owner.is_some_and(is_gone) {
                _ = output(Command::new("ip").args(["netns", "delete", name]));
            }
        }
    }
    let folders = fs::read_dir(target_dir()).into_iter().flatten().flatten().map(|entry| entry.path());
    for folder in folders {
        let name = folder.file_name().and_then(|name| name.to_str());
        if name.and_then(|name| name.strip_prefix("net-")).is_some_and(is_gone) {
            // Those without a disk of their own are not mounted, which is not worth a word.
            let disks = fs::read_dir(&folder).into_iter().flatten().flatten();
            disks.for_each(|disk| _ = output(Command::new("umount").arg("-l").arg(disk.path())));
            _ = fs::remove_dir_all(&folder);
        }
    }
}

impl Running {
    /// Whether it has not ended by itself.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// What it has said on stderr, which is a pipe, once it has ended.
    pub fn errors(&mut self) -> String {
        let mut said = Vec::new();
        // What cannot be read was not said.
        _ = self.0.stderr.as_mut().map(|stderr| stderr.read_to_end(&mut said));
        String::from_utf8_lossy(&said).into_owned()
    }

    /// KiB of memory that it has.
    pub fn memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// The address of a host.
pub fn address(number: u16, ipv6: bool) -> String {
    let [high, low] = number.to_be_bytes();
    if ipv6 { format!("fd77::{high:x}:{low:x}") } else { format!("10.77.{high}.{low}") }
}

/// The same with a port.
pub fn socket(number: u16, port: u16, ipv6: bool) -> String {
    let address = address(number, ipv6);
    if ipv6 { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// The number of that name in JSON.
pub fn number(json: &str, name: &str) -> Option<u64> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    let rest = rest.trim_start();
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Bytes without a pattern, to a file.
pub fn write_content(path: &Path, len: usize, seed: u64) -> Result<Vec<u8>> {
    let mut random = Random(seed);
    let content: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).take(len).collect();
    fs::write(path, &content).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(content)
}

/// Numbers that a seed repeats.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next (splitmix64).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// One of `0..end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The first line.
pub fn line(text: &str) -> &str {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_json() {
        let json = "{\n \"Replies\": { \"ContentBytes\": 812, \"Other\":7 } }";
        assert_eq!((number(json, "ContentBytes"), number(json, "Other")), (Some(812), Some(7)));
        assert_eq!(number(json, "None"), None);
    }

    #[test]
    fn addresses_of_hosts() {
        assert_eq!(address(0x0102, false), "10.77.1.2");
        assert_eq!(address(0x0102, true), "fd77::1:2");
    }
}
