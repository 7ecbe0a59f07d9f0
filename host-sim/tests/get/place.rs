//! Where tests take place: a folder, addresses of loopback, and processes.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use peerdist_core::content::segmenter::Segmentation;
use peerdist_tests::check::content;
use peerdist_tests::origin::{Origin, publish_v2};
use peerdist_tests::site::Site;
use serde_json::Value;
use tempfile::TempDir;

/// A folder for everything, and addresses that no other test uses.
pub struct Place {
    pub folder: TempDir,
    pub net: u8,
}

/// What a get has said.
pub struct Got {
    pub code: i32,
    pub json: Value,
    pub errors: String,
}

/// Numbers from a seed.
pub struct Draw(pub u64);

/// A process that is killed in the end.
pub struct Peer(pub Child);

impl Drop for Peer {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

impl Draw {
    /// A number below this one.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

impl Place {
    pub fn new(net: u8) -> Self {
        Self { folder: TempDir::new().expect("a folder"), net }
    }

    pub fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 1, self.net, last)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn site(&self, origin: Origin) -> Site {
        self.slow_site(origin, Duration::ZERO)
    }

    pub fn slow_site(&self, origin: Origin, pace: Duration) -> Site {
        Site::open(self.address(1).into(), origin, pace)
    }

    /// A get from address 2, with a cache of that name.
    pub fn command(&self, cache: &str, url: &str, file: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peerdist"));
        command.args(["get", url, "--json", "-o"]).arg(self.path(file));
        command.arg("--cache").arg(self.path(cache)).args(["--bind", &self.address(2).to_string()]);
        command.stdin(Stdio::null());
        command
    }

    pub fn get(&self, cache: &str, url: &str, file: &str, more: &[&str]) -> Got {
        Got::of(&self.command(cache, url, file).args(more).output().expect("it starts"))
    }

    /// A get from no address in particular.
    pub fn get_of(&self, cache: &str, url: &str, file: &str, more: &[&str]) -> Got {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peerdist"));
        command.args(["get", url, "--json", "-o"]).arg(self.path(file)).arg("--cache").arg(self.path(cache));
        Got::of(&command.args(more).stdin(Stdio::null()).output().expect("it starts"))
    }

    /// A peer at address 3 with a cache of that name, that is ready.
    pub fn peer(&self, cache: &str) -> Peer {
        self.start(&mut self.peer_command(cache)).0
    }

    /// The same, and where it tells how it does.
    pub fn peer_with_admin(&self, cache: &str) -> (Peer, SocketAddr) {
        let (peer, mut lines) = self.start(self.peer_command(cache).args(["--admin", "127.0.0.1:0"]));
        let line = lines.next().expect("a second line").expect("text");
        let address = line.strip_prefix("admin on http://").and_then(|rest| rest.strip_suffix('/'));
        (peer, address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{line}")))
    }

    fn peer_command(&self, cache: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peerdist"));
        command.args(["peer", "--port", "0", "--bind", &self.address(3).to_string()]);
        command.arg("--cache").arg(self.path(cache));
        command
    }

    fn start(&self, command: &mut Command) -> (Peer, Lines<BufReader<ChildStdout>>) {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = lines.next().expect("a line").expect("text");
        assert!(line.starts_with(&format!("ready {}:", self.address(3))), "{line}");
        (Peer(child), lines)
    }

    /// The committed blocks in the cache of that name; none if there is no cache yet.
    pub fn committed(&self, cache: &str) -> Vec<(Vec<u8>, u32)> {
        let blocks = peerdist_hal::file::committed(&self.path(cache).join("blocks")).unwrap_or_default();
        blocks.iter().map(|block| (block.segment.as_bytes().to_vec(), block.index)).collect()
    }

    pub fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).expect("it is there")
    }

    /// No file has that name, finished or not.
    pub fn assert_nothing(&self, file: &str) {
        for file in [file.to_string(), format!("{file}.part")] {
            assert!(!self.path(&file).exists(), "{file}");
        }
    }
}

impl Got {
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().expect("no signal"),
            json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn source(&self, name: &str) -> u64 {
        let source = &self.json["files"][0]["sources"][name];
        match source.as_object() {
            Some(peers) => peers.values().filter_map(Value::as_u64).sum(),
            None => source.as_u64().expect("a number"),
        }
    }

    #[track_caller]
    pub fn assert_good(&self) {
        assert_eq!((self.code, self.errors.as_str()), (0, ""), "{}", self.json);
    }
}

pub fn origin(len: usize, v2: bool) -> Origin {
    let mut origin = Origin::new(content(len));
    if v2 {
        origin.info = publish_v2(&origin.content, Segmentation::ContentDefined);
    }
    origin
}

/// In lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}
