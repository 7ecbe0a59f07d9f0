//! A server that is running, and requests to it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_peerdist");

/// The server secret of all servers here.
pub const SECRET: [&str; 2] = ["--secret", "no more secrets"];

/// What a client of Windows 8 sends.
pub const ASK: &str = "Accept-Encoding: gzip, deflate, peerdist\r\nX-P2P-PeerDist: Version=1.1\r\n\
    X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0\r\n";

/// The same, once it was told to come again.
pub const AGAIN: &str = "X-P2P-PeerDist: Version=1.1\r\n\
    X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0, HashRequest=true\r\n";

/// Between two looks at something that takes a while.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks at something that comes to pass on the slowest machine.
const LOOKS: u32 = 2_400;

/// Bytes that look different everywhere.
pub fn varied(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// A folder to serve, one for the cache, and the server, which ends with it.
pub struct Server {
    pub folder: TempDir,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub child: Child,
}

impl Server {
    /// Serves these files, with more arguments.
    pub fn new(files: &[(&str, &[u8])], args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        fs::create_dir(&root).expect("a writable folder");
        for (name, bytes) in files {
            fs::write(root.join(name), bytes).expect("a writable folder");
        }
        Self::on(folder, args)
    }

    /// Serves what is in this folder.
    pub fn on(folder: TempDir, args: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .current_dir(folder.path())
            .args(["origin", "--root", "root", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--hash-cache", "cache"])
            .args(SECRET)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is built");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut address = |before: &str| {
            let line = lines.next().expect("a line").expect("text");
            let address = line.strip_prefix(before).and_then(|rest| rest.strip_suffix('/'));
            address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{line}"))
        };
        let (address, admin) = (address("listening on http://"), address("admin on http://"));
        Self { folder, address, admin, child }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    /// `GET`, with more headers.
    pub fn get(&self, target: &str, headers: &str) -> Reply {
        ask(self.address, &format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n"))
    }

    /// Waits until there is content information of a file, for which it asks.
    pub fn wait_for(&self, target: &str) {
        until(|| self.get(target, AGAIN).header("Content-Encoding") == Some("peerdist"));
    }

    /// A number of the status.
    pub fn number(&self, pointer: &str) -> u64 {
        let status = ask(self.admin, "GET /status HTTP/1.0\r\n\r\n").json();
        status.pointer(pointer).and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("{status}"))
    }

    /// Ends it as a loss of power would, and gives back its folder.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a folder"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Looks again and again until it is so.
pub fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..LOOKS {
        if is_so() {
            return;
        }
        sleep(PAUSE);
    }
    panic!("it does not come to pass");
}

/// What `peerdist` prints with these arguments, if it succeeds.
pub fn peerdist(folder: &TempDir, args: &[&str]) -> Vec<u8> {
    let output = Command::new(PROGRAM).current_dir(folder.path()).args(args).output().expect("it is built");
    assert!(output.status.success(), "{args:?}: {output:?}");
    output.stdout
}

/// A reply.
#[derive(Debug)]
pub struct Reply {
    pub head: String,
    pub status: u16,
    pub body: Vec<u8>,
}

impl Reply {
    /// A header, by its name to the letter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

/// Sends a request whose reply ends with the connection.
pub fn ask(address: SocketAddr, request: &str) -> Reply {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.write_all(request.as_bytes()).expect("it is open");
    read(&mut stream)
}

/// Reads a reply that ends with the connection.
pub fn read(stream: &mut impl Read) -> Reply {
    try_read(stream).expect("a whole reply")
}

/// Reads a reply that ends with the connection; `None` if that breaks before the end.
pub fn try_read(stream: &mut impl Read) -> Option<Reply> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
    // Clients search the status line for the space behind the code (fact 20).
    let reason = head.lines().next().and_then(|line| line.splitn(3, ' ').nth(2));
    assert!(reason.is_some_and(|reason| !reason.is_empty()), "{head}");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let reply = Reply { head, status, body: bytes.split_off(end + 4) };
    let len = reply.header("Content-Length").map(|len| len.parse().expect("a number"));
    (reply.body.is_empty() || len == Some(reply.body.len())).then_some(reply)
}
