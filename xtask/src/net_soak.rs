//! A soak on real sockets: 64 clients at once, while clients, peers and an origin are killed, and disks are
//! full; with `--hosted` they share two hosted caches, one of which is killed as well. No file of a client is ever
//! wrong, every failure says why, and what runs on does not grow.

mod hosted;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::hosted::Hosted;
use crate::Result;
use crate::lab::{Lab, Random, Running, address, line, socket, write_content};
use crate::run::{cargo, output, run as command};

/// Seconds if nothing else is asked for, and in every test.
const SECONDS: u64 = 60;
const SECONDS_OF_TEST: u64 = 10;

/// Hosts, each with this many clients, and with one peer.
const HOSTS: [(&str, u16); 4] = [("one", 1), ("two", 2), ("three", 3), ("four", 4)];
const CLIENTS_A_HOST: usize = 16;

/// One in so many clients has a disk that is full before long: half of them for its cache, half for its files.
const FULL_SHARE: usize = 8;
const FULL_MIB: u32 = 2;

/// Bytes of the files: from less than a block to many segments of content information 2.0.
const FILES: [usize; 6] = [1_000, 65_536, 300_001, 1_000_000, 2_500_000, 4_000_000];

/// Mbit/s of the origins' line.
const LINE_MBIT: u32 = 200;

/// The origin that runs on, and the one that is killed over and over.
const PORTS: [u16; 2] = [8_000, 8_001];

/// A client is killed within this time, if it is.
const KILL_MS: u64 = 1_500;

/// No client takes longer.
const CLIENT_SECONDS: u64 = 120;

/// How much the memory of a process may grow from the second quarter of the time to the last.
const GROWTH_KIB: u64 = 4_096;

/// Exit codes of `get` that a full disk, or an origin that was killed, explains.
const LOCAL: i32 = 2;
const NETWORK: i32 = 3;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    seconds: u64,
    seed: u64,
    hosted: bool,
}

impl Options {
    /// Reads `[--hosted] [--seconds N] [--seed SEED]`, in any order.
    fn parse(arguments: &[&str]) -> Option<Self> {
        let mut options = Self { seconds: SECONDS, seed: 0, hosted: false };
        let mut rest = arguments;
        loop {
            rest = match *rest {
                [] => return Some(options),
                ["--hosted", ref rest @ ..] => {
                    options.hosted = true;
                    rest
                }
                ["--seconds", number, ref rest @ ..] => {
                    options.seconds = number.parse().ok().filter(|&n| n > 0)?;
                    rest
                }
                ["--seed", seed, ref rest @ ..] => {
                    options.seed = seed.parse().ok()?;
                    rest
                }
                _ => return None,
            };
        }
    }
}

/// As long as was asked for.
pub fn soak(arguments: &[&str]) -> Result<()> {
    let usage = "usage: cargo xtask soak --net [--hosted] [--seconds N] [--seed SEED]";
    let options = Options::parse(arguments).ok_or(usage)?;
    command(cargo().args(["build", "--release", "--package", "peerdist-sim"]))?;
    run(&options)
}

/// Two short ones with the command that has been built.
pub fn check() -> Result<()> {
    [false, true]
        .into_iter()
        .try_for_each(|hosted| run(&Options { seconds: SECONDS_OF_TEST, seed: 0, hosted }))
}

/// What came of it.
#[derive(Default)]
struct Tally {
    done: AtomicU64,
    killed: AtomicU64,
    full: AtomicU64,
    lost: AtomicU64,
    restarts: AtomicU64,
}

/// A client: who it is, and where it keeps its things.
struct Client {
    host: &'static str,
    bind: String,
    cache: PathBuf,
    file: PathBuf,
    /// Whether its disk is small.
    small: bool,
    random: Random,
    /// The certificate of hosted caches, if it uses them.
    hosted: Option<String>,
}

/// How a client ended.
enum Ended {
    Good,
    Killed,
    Full,
    Lost,
}

fn run(options: &Options) -> Result<()> {
    let hosts = if options.hosted { [&HOSTS[..], &hosted::HOSTS].concat() } else { HOSTS.to_vec() };
    let Some(mut lab) = Lab::build(&hosts, LINE_MBIT)? else { return Ok(()) };
    fs::create_dir_all(lab.folder.join("root")).map_err(|error| error.to_string())?;
    let mut contents = Vec::new();
    for (index, len) in FILES.iter().enumerate() {
        contents.push(write_content(&lab.folder.join(format!("root/{index}")), *len, index as u64)?);
    }
    let hosted = options.hosted.then(|| Hosted::new(&mut lab)).transpose()?;
    let mut clients = clients(&mut lab, options.seed, hosted.as_ref())?;
    let (lab, hosted) = (&lab, hosted.as_ref());
    let stable = lab.origin(&socket(100, PORTS[0], false), &["--admin"], || lab.hashed())?;
    let peer = peer(lab, 0)?;
    let cache = hosted.map(|hosted| hosted.start(lab, 0, Path::new("hosted-a"))).transpose()?;
    let watched = [("origin", &stable), ("peer", &peer)].into_iter();
    let watched: Vec<_> = watched.chain(cache.as_ref().map(|cache| ("hosted cache", cache))).collect();

    let (tally, start) = (Tally::default(), Instant::now());
    let end = start + Duration::from_secs(options.seconds);
    let (tally_ref, contents_ref) = (&tally, &contents);
    let (memory, blocks) = thread::scope(|scope| {
        let mut random = Random(options.seed ^ 1);
        let disturbers = [
            scope.spawn(move || disturb_origin(lab, end, tally_ref)),
            scope.spawn(move || disturb_peers(lab, end, &mut random, tally_ref)),
        ];
        let clients: Vec<_> = clients
            .iter_mut()
            .map(|client| scope.spawn(move || client.run_until(lab, end, contents_ref, tally_ref)))
            .collect();
        let mut random = Random(options.seed ^ 2);
        let hosted =
            hosted.map(|hosted| scope.spawn(move || hosted.disturb(lab, end, &mut random, tally_ref)));
        let memory = watch(start, end, &watched);
        for thread in clients.into_iter().chain(disturbers) {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        let blocks = hosted.map(|thread| thread.join().map_err(|_| "a thread panicked")?).transpose()?;
        Ok::<_, String>((memory, blocks))
    })?;

    // In peace, each client gets everything that its disk has room for.
    thread::scope(|scope| {
        let clients = clients.iter_mut().filter(|client| !client.small);
        let threads: Vec<_> = clients
            .map(|client| {
                scope.spawn(move || match client.get(lab, FILES.len() - 1, 0, None, contents_ref)? {
                    Ended::Good => Ok(()),
                    _ => Err(format!("client {}: fails although nothing disturbs it", client.bind)),
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })?;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "    seed {}, {} s: {} files right, {} clients killed, {} disks full, {} connections lost, {} servers killed",
        options.seed,
        options.seconds,
        count(&tally.done),
        count(&tally.killed),
        count(&tally.full),
        count(&tally.lost),
        count(&tally.restarts)
    );
    for ((name, _), samples) in watched.iter().zip(memory) {
        flat(name, &samples)?;
    }
    let kept = || lab.status_of(hosted::HOSTS[0].0, "NumberOfBlocks").unwrap_or(0);
    match blocks.map(|blocks| (kept(), blocks)) {
        Some((0, _) | (_, 0)) => return Err("a hosted cache has nothing".into()),
        Some((kept, blocks)) => println!(
            "    hosted caches: one has {kept} blocks; the other came back with all that it had, {blocks} in the end"
        ),
        None => {}
    }
    Ok(())
}

/// All clients, each with an address of its own.
fn clients(lab: &mut Lab, seed: u64, hosted: Option<&Hosted>) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for (host, number) in HOSTS {
        for index in 0..CLIENTS_A_HOST {
            let own = (number << 8) + index as u16 + 1;
            lab.address(host, own)?;
            let folder = lab.folder.join(format!("client-{own}"));
            fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
            let full = match index % FULL_SHARE {
                0 => lab.small_disk(&format!("small-{own}"), FULL_MIB)?,
                _ => None,
            };
            let on = |full: Option<&Path>, name: &str| full.unwrap_or(&folder).join(name);
            // Of two clients of a host with a small disk, the cache of one and the files of the other.
            let (cache, file) = match index / FULL_SHARE % 2 {
                0 => (on(full.as_deref(), "cache"), on(None, "file")),
                _ => (on(None, "cache"), on(full.as_deref(), "file")),
            };
            clients.push(Client {
                host,
                bind: address(own, false),
                cache,
                file,
                small: full.is_some(),
                random: Random(seed << 16 | u64::from(own)),
                hosted: hosted.map(|hosted| hosted.certificate().to_string()),
            });
        }
    }
    Ok(clients)
}

impl Client {
    fn run_until(&mut self, lab: &Lab, end: Instant, contents: &[Vec<u8>], tally: &Tally) -> Result<()> {
        while Instant::now() < end {
            let file = self.random.below(FILES.len() as u64) as usize;
            let origin = self.random.below(PORTS.len() as u64) as usize;
            let kill = self.random.below(3) == 0;
            let kill = kill.then(|| Duration::from_millis(self.random.below(KILL_MS)));
            if self.random.below(4) == 0 {
                _ = fs::remove_dir_all(&self.cache);
            }
            let counter = match self.get(lab, file, origin, kill, contents)? {
                Ended::Good => &tally.done,
                Ended::Killed => &tally.killed,
                Ended::Full => &tally.full,
                Ended::Lost => &tally.lost,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Gets a file once; fails if what comes of it is wrong.
    fn get(
        &mut self,
        lab: &Lab,
        file: usize,
        origin: usize,
        kill: Option<Duration>,
        contents: &[Vec<u8>],
    ) -> Result<Ended> {
        let url = format!("http://{}/{file}", socket(100, PORTS[origin], false));
        let failed = |why: &str| Err(format!("client {}, {url}: {why}", self.bind));
        _ = fs::remove_file(&self.file);
        let version = if self.random.below(2) == 0 { "1" } else { "2" };
        let mut command =
            lab.peerdist(self.host, &["get", &url, "--bind", &self.bind, "--content-info", version]);
        command.arg("--cache").arg(&self.cache).arg("-o").arg(&self.file);
        if self.random.below(2) == 0 {
            command.arg("--serve");
        }
        if let Some(certificate) = &self.hosted {
            command.args(hosted::options(&mut self.random)).env("SSL_CERT_FILE", certificate);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut running = Running(child.map_err(|error| error.to_string())?);
        let start = Instant::now();
        while running.is_alive() {
            let age = start.elapsed();
            if kill.is_some_and(|kill| kill <= age) {
                running.0.kill().map_err(|error| error.to_string())?;
            } else if age.as_secs() >= CLIENT_SECONDS {
                return failed("does not end");
            }
            thread::sleep(Duration::from_millis(10));
        }
        // That a hosted cache does not take an offer is no error, nor that none was made.
        let is_error = |line: &&str| !line.starts_with("peerdist: hosted cache");
        let said: Vec<_> = running.errors().lines().filter(is_error).map(String::from).collect();
        let said = said.join("\n");
        let code = running.0.wait().map_err(|error| error.to_string())?.code();
        // Whatever happened: under its name there is the whole file, or nothing.
        match fs::read(&self.file) {
            Ok(bytes) if bytes != contents[file] => return failed("the file is wrong"),
            Err(_) if code == Some(0) => return failed("there is no file"),
            Ok(_) | Err(_) => {}
        }
        if code.is_some_and(|code| code != 0)
            && (said.lines().count() != 1 || !said.starts_with("peerdist: "))
        {
            return failed(&format!("its error is not a line: {said}"));
        }
        match code {
            Some(0) => Ok(Ended::Good),
            None if kill.is_some() => Ok(Ended::Killed),
            Some(LOCAL) if self.small && said.contains("No space") => Ok(Ended::Full),
            Some(NETWORK) if origin != 0 => Ok(Ended::Lost),
            _ => failed(&format!("code {code:?}: {}", line(&said))),
        }
    }
}

/// An origin comes and goes.
fn disturb_origin(lab: &Lab, end: Instant, tally: &Tally) -> Result<()> {
    while Instant::now() < end {
        let _origin = lab.origin(&socket(100, PORTS[1], false), &[], || true)?;
        thread::sleep(Duration::from_secs(3).min(end.saturating_duration_since(Instant::now())));
        tally.restarts.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// All peers but the first come and go.
fn disturb_peers(lab: &Lab, end: Instant, random: &mut Random, tally: &Tally) -> Result<()> {
    let mut peers = (1..HOSTS.len()).map(|index| peer(lab, index).map(Some)).collect::<Result<Vec<_>>>()?;
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(500 + random.below(1_000)));
        let index = random.below(peers.len() as u64) as usize;
        // The old one first: it has the port.
        peers[index] = None;
        peers[index] = Some(peer(lab, index + 1)?);
        tally.restarts.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// The peer of a host, with a cache in which the files are.
fn peer(lab: &Lab, index: usize) -> Result<Running> {
    let (host, number) = HOSTS[index];
    let (cache, bind) = (format!("peer-{index}"), address(number, false));
    if !lab.folder.join(&cache).exists() {
        let urls = (0..FILES.len()).map(|file| format!("http://{}/{file}", socket(100, PORTS[0], false)));
        let mut get = lab.peerdist(host, &["get", "--bind", &bind, "--cache", &cache, "-o", "."]);
        get.args(urls);
        let (done, said) = output(&mut get)?;
        if !done {
            return Err(format!("the cache of peer {index}: {}", line(&said)));
        }
    }
    lab.peer(host, &["--bind", &bind, "--cache", &cache])
}

/// The memory of processes, in KiB, four times a second.
fn watch(start: Instant, end: Instant, processes: &[(&str, &Running)]) -> Vec<Vec<u64>> {
    let mut samples = vec![vec![]; processes.len()];
    while Instant::now() < end {
        for (samples, (_, process)) in samples.iter_mut().zip(processes) {
            samples.extend(process.memory());
        }
        thread::sleep(Duration::from_millis(250).min((end - start) / 40));
    }
    samples
}

/// Whether memory does not grow once all is warm.
fn flat(name: &str, samples: &[u64]) -> Result<()> {
    let quarter = samples.len() / 4;
    let most = |samples: &[u64]| samples.iter().max().copied().unwrap_or(0);
    let (before, after) = (most(&samples[quarter..2 * quarter]), most(&samples[samples.len() - quarter..]));
    println!("    memory of the {name}: {before} KiB in the second quarter, {after} KiB in the last");
    if quarter == 0 {
        return Err(format!("the {name} did not live to the end"));
    }
    if after > before + GROWTH_KIB {
        return Err(format!("the memory of the {name} grows"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_in_any_order() {
        let options = |seconds, seed, hosted| Some(Options { seconds, seed, hosted });
        assert_eq!(Options::parse(&[]), options(SECONDS, 0, false));
        assert_eq!(Options::parse(&["--seed", "7", "--seconds", "5"]), options(5, 7, false));
        assert_eq!(Options::parse(&["--seed", "7", "--hosted"]), options(SECONDS, 7, true));
        for bad in [&["--seconds"][..], &["--seconds", "0"], &["5"], &["--seed", "-1"], &["--hosted", "5"]] {
            assert_eq!(Options::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn growth_is_found() {
        assert!(flat("process", &[9_000; 12]).is_ok());
        assert!(
            flat("process", &[0, 0, 0, 9_000, 9_000, 9_000, 9_000, 9_000, 9_000, 14_000, 9_000, 9_000])
                .is_err()
        );
        assert!(flat("process", &[]).is_err());
    }
}
