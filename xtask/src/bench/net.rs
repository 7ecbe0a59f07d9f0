//! The command on loopback: what a peer serves beside what nginx serves, and how fast `get` is.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Cost, RUNS, Stat, TICKS_PER_SECOND, mark, measure, median, middle, peerdist, write_content};
use crate::run::{first_program, output, shown, target_dir};
use crate::{Result, apt};

const CONTENT_BYTES: usize = 512 << 20;

/// Of `get`, in millions of bytes a second, and what its memory stays below.
const SPEED_WANTED: f64 = 200.0;
const MEMORY_LIMIT_MIB: f64 = 64.0;

/// What a peer serves in a second of CPU, of what nginx does.
const SHARE_WANTED: f64 = 0.7;

/// Blocks that are served, and files of nginx, all of them in the page cache: what many want at about the same
/// time, and more than a peer holds open.
const SETS: [usize; 2] = [64, 512];
const BLOCK_BYTES: usize = 65_536;

/// The table of a file of blocks, and an entry of it.
const TABLE_BYTES: u64 = 128 * ENTRY_BYTES as u64;
const ENTRY_BYTES: usize = 256;

/// Connections that ask, and for how long.
const CONNECTIONS: usize = 8;
const SERVING: Duration = Duration::from_secs(2);

/// How long a server may take to start, or to hash the content.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long after many files went ext4 is slow to make new ones: it steps over their inodes, one by one.
const INODE_REST: Duration = Duration::from_secs(6);

/// Where peers listen (MS-PCCRR 2.1.1).
const RETRIEVAL_PATH: &str = "/116B50EB-ECE2-41ac-8429-9F9E963361B7/";

/// Runs both; what is too slow is marked.
pub fn bench() -> Result<()> {
    if nginx().is_none() {
        apt::install(&["nginx-light"])?;
    }
    let folder = target_dir().join("bench/net");
    // What a run that was interrupted has left.
    _ = fs::remove_dir_all(&folder);
    let done = in_folder(&folder);
    // Some GiB that nobody needs any more: half a dozen at most.
    _ = fs::remove_dir_all(&folder);
    done
}

fn in_folder(folder: &Path) -> Result<()> {
    let root = folder.join("root");
    fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
    write_content(&root.join("content"), CONTENT_BYTES)?;
    for index in 0..SETS[1] {
        write_content(&root.join(index.to_string()), BLOCK_BYTES)?;
    }
    let mut origin = Command::new(peerdist());
    origin.args(["origin", "--listen", "127.0.0.1:0", "--secret", "bench", "--root"]).arg(&root);
    let (_origin, line) = Server::start(origin.arg("--hash-cache").arg(folder.join("hashes")))?;
    let origin = address(&line)?;
    await_content_information(origin)?;
    let web = Web::start(folder, &root, origin)?;

    let cache = folder.join("v1");
    run_get(&mut get(web.version_1, &cache, folder, &["--no-peers"]))?;
    for count in SETS {
        serve(&cache, &web, count)?;
    }

    println!("    get, {} MiB from a peer on loopback, medians of {RUNS} runs", CONTENT_BYTES >> 20);
    println!(
        "    {:30} {:>12} {:>16} {:>8} {:>16} {:>8}",
        "", "MB/CPU s", "MB/s", "wanted", "peak memory", "limit"
    );
    fetch("version 1", web.version_1, folder, &cache)?;
    let cache = folder.join("v2");
    run_get(&mut get(origin, &cache, folder, &["--no-peers"]))?;
    fetch("version 2", origin, folder, &cache)?;
    println!("    ! is not as it is wanted; the machine may be busy");
    Ok(())
}

/// Bytes that servers send in a second of their CPU, by turns.
fn serve(cache: &Path, web: &Web, count: usize) -> Result<()> {
    let (peer, line) = Server::start(&mut serving(cache))?;
    let peer_at = address(&line)?;
    let blocks: Vec<_> = requests_of(cache, peer_at, count)?;
    let files = |at: SocketAddr| -> Vec<Vec<u8>> {
        let request = |index: usize| format!("GET /{index} HTTP/1.1\r\nHost: {at}\r\n\r\n").into_bytes();
        (0..count).map(request).collect()
    };
    let servers = [
        ("peerdist peer", peer.0.id(), peer_at, blocks),
        ("nginx, sendfile on", web.server.0.id(), web.sending, files(web.sending)),
        ("nginx, sendfile off", web.server.0.id(), web.copying, files(web.copying)),
    ];
    let mut speeds = [const { Vec::new() }; 3];
    for _ in 0..RUNS {
        for ((_, process, at, requests), speeds) in servers.iter().zip(&mut speeds) {
            speeds.push(load(*process, *at, requests)?);
        }
    }
    let speeds = speeds.map(middle);
    println!(
        "    {count} blocks over {CONNECTIONS} connections, {BLOCK_BYTES} bytes each, medians of {RUNS} runs"
    );
    println!("    {:30} {:>12} {:>16} {:>8}", "", "MB/CPU s", "peerdist/nginx", "wanted");
    for ((name, ..), speed) in servers.iter().zip(speeds) {
        let share = speeds[0] / speed;
        let wanted = format!("{share:>16.2}{} {SHARE_WANTED:>7.2}", mark(share >= SHARE_WANTED));
        println!("    {name:30} {:>12.0} {}", speed / 1e6, if speed == speeds[0] { "" } else { &wanted });
    }
    Ok(())
}

/// The speed and memory of `get`, everything from a peer with `cache`.
fn fetch(name: &str, origin: SocketAddr, folder: &Path, cache: &Path) -> Result<()> {
    let (_peer, _) = Server::start(&mut serving(cache))?;
    let caches = folder.join("caches");
    let mut costs = Vec::new();
    for run in 0..=RUNS {
        let own = caches.join(run.to_string());
        let mut get = get(origin, &own, folder, &["--bind", "127.0.0.3"]);
        if run == 0 {
            let said = run_get(&mut get)?;
            if !said.contains("peers 100 %") {
                return Err(format!("not everything came from the peer: {}", said.trim_end()));
            }
        } else {
            costs.push(measure(&mut get)?);
        }
    }
    _ = fs::remove_dir_all(&caches);
    thread::sleep(INODE_REST);
    let speed = |part: fn(&Cost) -> f64| CONTENT_BYTES as f64 / 1e6 / median(&costs, part);
    let (by_cpu, speed) = (speed(|cost| cost.cpu), speed(|cost| cost.wall));
    let mib = costs.iter().map(|cost| cost.peak_kib as f64 / 1_024.0).fold(0.0, f64::max);
    println!(
        "    {name:30} {by_cpu:>12.0} {speed:>16.0}{} {SPEED_WANTED:>7.0} {mib:>12.1} MiB{} {MEMORY_LIMIT_MIB:>7.0}",
        mark(speed >= SPEED_WANTED),
        mark(mib < MEMORY_LIMIT_MIB),
    );
    Ok(())
}

fn get(origin: SocketAddr, cache: &Path, folder: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(peerdist());
    command.arg("get").arg(format!("http://{origin}/content")).arg("-o").arg(folder.join("out"));
    command.arg("--cache").arg(cache).args(options);
    command
}

fn run_get(command: &mut Command) -> Result<String> {
    let (good, said) = output(command)?;
    if good { Ok(said) } else { Err(said) }
}

fn serving(cache: &Path) -> Command {
    let mut command = Command::new(peerdist());
    command.args(["peer", "--bind", "127.0.0.2", "--port", "0", "--cache"]).arg(cache);
    command
}

/// Asks from all connections for a while. Bytes of bodies, by a second of the server's CPU.
fn load(process: u32, at: SocketAddr, requests: &[Vec<u8>]) -> Result<f64> {
    let (over, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    let before = ticks(process)?;
    thread::scope(|scope| {
        let (over, bytes) = (&over, &bytes);
        let ask = |nth: usize| {
            let mut connection = Connection::open(at)?;
            // Each in an order of its own.
            let from = nth * requests.len() / CONNECTIONS;
            for request in requests.iter().cycle().skip(from) {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                bytes.fetch_add(connection.ask(request)?, Ordering::Relaxed);
            }
            Ok(())
        };
        let asking: Vec<_> = (0..CONNECTIONS).map(|nth| scope.spawn(move || ask(nth))).collect();
        thread::sleep(SERVING);
        over.store(true, Ordering::Relaxed);
        let ended = asking.into_iter().map(|thread| thread.join().expect("it does not panic"));
        ended.collect::<std::io::Result<()>>()
    })
    .map_err(|error| format!("asking {at}: {error}"))?;
    let seconds = ticks(process)?.saturating_sub(before) as f64 / TICKS_PER_SECOND;
    Ok(bytes.into_inner() as f64 / seconds)
}

fn ticks(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    Stat::parse(&text).map(|stat| stat.ticks).ok_or(format!("{path}: not as expected"))
}

/// A connection that is kept.
struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(at: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpStream::connect(at)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, buffer: vec![0; 2 * BLOCK_BYTES] })
    }

    /// Bytes of the body, of which there are those of a block at least.
    fn ask(&mut self, request: &[u8]) -> std::io::Result<u64> {
        self.socket.write_all(request)?;
        let mut filled = 0;
        let (head, body) = loop {
            let len = self.socket.read(&mut self.buffer[filled..])?;
            filled += len;
            if let Some(end) = self.buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
                break (String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase(), end + 4);
            }
            if len == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        };
        let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let len = value.and_then(|value| value.trim().parse::<usize>().ok()).unwrap_or(0);
        if !head.starts_with("http/1.1 200") || len < BLOCK_BYTES {
            return Err(std::io::Error::other(format!("not a block: {head}")));
        }
        let mut left = (body + len).saturating_sub(filled);
        while left > 0 {
            let room = left.min(self.buffer.len());
            self.socket.read_exact(&mut self.buffer[..room])?;
            left -= room;
        }
        Ok(len as u64)
    }
}

/// Requests for blocks of a cache, which its files begin with a table of.
fn requests_of(cache: &Path, at: SocketAddr, count: usize) -> Result<Vec<Vec<u8>>> {
    let folder = cache.join("blocks");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut requests = Vec::new();
    for entry in entries.flatten() {
        let mut table = Vec::new();
        let read =
            fs::File::open(entry.path()).and_then(|file| file.take(TABLE_BYTES).read_to_end(&mut table));
        read.map_err(|error| format!("{}: {error}", entry.path().display()))?;
        requests.extend(table.as_chunks().0.iter().filter_map(|entry| request(entry, at)));
    }
    requests.truncate(count);
    if requests.len() == count { Ok(requests) } else { Err(format!("{}: too few blocks", folder.display())) }
}

/// A request for the block of an entry.
fn request(entry: &[u8; ENTRY_BYTES], at: SocketAddr) -> Option<Vec<u8>> {
    let fields = entry.strip_prefix(b"PeerDBk\x02")?;
    let index = u32::from_le_bytes(*fields.first_chunk()?);
    let segment = fields.get(38..38 + usize::from(*fields.get(21)?))?.to_vec();
    // MSG_GETBLKS of version 1.0 (MS-PCCRR 2.2.3, 2.2.4.3): type 3, AES-128, one range of one block.
    let size = 16 + 4 + segment.len() as u32 + 4 + 8 + 4;
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>();
    let body =
        [numbers(&[1, 3, size, 1, segment.len() as u32]), segment, numbers(&[1, index, 1, 0])].concat();
    let head =
        format!("POST {RETRIEVAL_PATH} HTTP/1.1\r\nHost: {at}\r\nContent-Length: {}\r\n\r\n", body.len());
    Some([head.into_bytes(), body].concat())
}

/// Waits until the origin has hashed the content, for which somebody has to ask.
fn await_content_information(origin: SocketAddr) -> Result<()> {
    let begun = Instant::now();
    let head = format!(
        "GET /content HTTP/1.1\r\nHost: {origin}\r\nConnection: close\r\nAccept-Encoding: peerdist\r\n\
         X-P2P-PeerDist: Version=1.1\r\nX-P2P-PeerDistEx: MinContentInformation=1.0, \
         MaxContentInformation=2.0\r\n\r\n"
    );
    let ask = || {
        let mut socket = TcpStream::connect(origin)?;
        socket.write_all(head.as_bytes())?;
        let lines = BufReader::new(socket).lines().map_while(std::io::Result::ok);
        let mut lines = lines.take_while(|line| !line.is_empty());
        std::io::Result::Ok(lines.any(|line| line.eq_ignore_ascii_case("content-encoding: peerdist")))
    };
    while begun.elapsed() < PATIENCE {
        if ask().map_err(|error| format!("asking the origin: {error}"))? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(200));
    }
    Err("the origin has no content information".into())
}

/// A process that ends with this value.
struct Server(Child);

impl Server {
    /// Starts it, and waits for its first line.
    fn start(command: &mut Command) -> Result<(Self, String)> {
        let name = shown(command);
        let failure = |error| format!("{name}: {error}");
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut server = Self(child.map_err(failure)?);
        let mut line = String::new();
        // It says nothing more that fills the pipe.
        if let Some(stdout) = &mut server.0.stdout {
            BufReader::new(stdout).read_line(&mut line).map_err(failure)?;
        }
        Ok((server, line))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// The address and port that a line has somewhere.
fn address(line: &str) -> Result<SocketAddr> {
    let part = |c: char| !c.is_ascii_digit() && c != '.' && c != ':';
    let mut parts = line.split(part).map(|part| part.trim_matches(':')).filter_map(|part| part.parse().ok());
    parts.next().ok_or_else(|| format!("no address in `{}`", line.trim_end()))
}

/// nginx with one worker: what it is compared with, and a proxy that has the origin give version 1.
struct Web {
    server: Server,
    sending: SocketAddr,
    copying: SocketAddr,
    version_1: SocketAddr,
}

impl Web {
    fn start(folder: &Path, root: &Path, origin: SocketAddr) -> Result<Self> {
        let failure = |error: std::io::Error| format!("nginx: {error}");
        let mut ports = [None, None, None];
        for port in &mut ports {
            // All are taken at a time, so that they differ.
            *port = Some(TcpListener::bind("127.0.0.1:0").map_err(failure)?);
        }
        let [sending, copying, version_1] =
            ports.map(|port| port.expect("it was bound").local_addr().expect("it has an address"));
        let (folder, root) = (folder.display(), root.display());
        let config = format!(
            "daemon off; master_process off; worker_processes 1;\n\
             pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n\
             access_log off; keepalive_requests 1000000000; tcp_nopush on;\n\
             client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
             server {{ listen {sending}; root {root}; sendfile on; }}\n\
             server {{ listen {copying}; root {root}; sendfile off; }}\n\
             server {{ listen {version_1}; location / {{\n\
             proxy_pass http://{origin}; proxy_http_version 1.1; proxy_buffering off;\n\
             proxy_set_header X-P2P-PeerDistEx \"\"; proxy_set_header Range $http_range; }} }}\n\
             }}\n"
        );
        let path = format!("{folder}/nginx.conf");
        fs::write(&path, config).map_err(failure)?;
        let program = nginx().ok_or("nginx: not found")?;
        let log = format!("{folder}/nginx.log");
        let child = Command::new(program).args(["-e", &log, "-c", &path]).stdin(Stdio::null()).spawn();
        let server = Server(child.map_err(failure)?);
        let begun = Instant::now();
        while TcpStream::connect(version_1).is_err() {
            if begun.elapsed() > PATIENCE {
                return Err(format!("nginx: {}", fs::read_to_string(&log).unwrap_or_default().trim_end()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { server, sending, copying, version_1 })
    }
}

/// Where nginx is: not always on the path of who is not root.
fn nginx() -> Option<PathBuf> {
    let there = PathBuf::from("/usr/sbin/nginx");
    if first_program(&["nginx"]).is_some() {
        Some("nginx".into())
    } else {
        Some(there).filter(|path| path.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_servers() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(address("listening on http://127.0.0.1:43069/\n"), Ok(at("127.0.0.1:43069")));
        assert_eq!(address("ready 127.0.0.2:80, 17 bytes in demo/cache\n"), Ok(at("127.0.0.2:80")));
        assert!(address("ready\n").is_err());
    }

    #[test]
    fn a_request_for_a_block() {
        let at = "127.0.0.2:80".parse().unwrap();
        let mut entry = [0; ENTRY_BYTES];
        assert_eq!(request(&entry, at), None);
        let fields = [&b"PeerDBk\x02\x0a\0\0\0"[..], &[7; 16], &[1, 32], &[9; 16], &[0x1f; 32]].concat();
        entry[..fields.len()].copy_from_slice(&fields);
        let request = request(&entry, at).unwrap();
        let end = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let mut expected = b"\0\0\0\x01\0\0\0\x03\0\0\0\x44\0\0\0\x01\0\0\0\x20".to_vec();
        expected.extend([0x1f; 32]);
        expected.extend(b"\0\0\0\x01\0\0\0\x0a\0\0\0\x01\0\0\0\0");
        assert_eq!(request[end..], expected);
        assert!(request.starts_with(b"POST /116B50EB-ECE2-41ac-8429-9F9E963361B7/ HTTP/1.1\r\n"));
    }
}
