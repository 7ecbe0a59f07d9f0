//! `peerdist origin`: a content server.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use peerdist_sim::hashing::cores;
use peerdist_sim::net::origin::{Config, Origin, StartError, When};
use peerdist_sim::scenario::parse_size;

use super::admin::{self, AdminArgs};
use super::secret::SecretArgs;
use super::{Ending, Failure, one_line, print, tell};

/// What `--help` says at its end.
const EXIT_CODES: &str = "\
Exit codes:
  0  it was asked to end, by SIGTERM or Ctrl-C, and did
  2  it could not be started: one line on stderr says why";

/// Bytes of the shortest file that is hashed, by default: those of a block. A shorter one is fetched more
/// quickly than found.
const MIN_SIZE: &str = "64KiB";

/// Bytes of content information that are kept, by default: of 650 GiB of files.
const HASH_CACHE_SIZE: &str = "1GiB";

/// Serves files over HTTP: to clients of the BranchCache, content information in place of them.
///
/// A client that asks for content information before there is any gets the file, and is told to come again.
/// Any other gets the file in any case.
///
/// Without a key, one is drawn and kept in the hash cache. All servers with the same files and the same key can
/// stand for each other.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// The folder to serve, or a single file
    #[arg(long, value_name = "DIR|FILE")]
    root: PathBuf,

    /// Where to listen; port 0 is any that is free
    #[arg(long, value_name = "ADDR:PORT")]
    listen: SocketAddr,

    #[command(flatten)]
    secret: SecretArgs,

    /// Shorter files are not hashed
    #[arg(long, value_name = "SIZE", default_value = MIN_SIZE, allow_hyphen_values = true, value_parser = size)]
    min_size: u64,

    /// When files are hashed: when a client asks for one, or from the start, as long as there is room
    #[arg(long, value_name = "WHEN", default_value = "lazy")]
    hash: Hash,

    /// Cores that hash at once
    #[arg(long, value_name = "N", default_value = "1", allow_hyphen_values = true, value_parser = threads)]
    hash_threads: usize,

    /// Where content information is kept [default: peerdist/origin where the user keeps caches]
    #[arg(long, value_name = "DIR")]
    hash_cache: Option<PathBuf>,

    /// Bytes of content information that are kept; the oldest makes room for what a client asks for
    #[arg(
        long, value_name = "SIZE", default_value = HASH_CACHE_SIZE, allow_hyphen_values = true,
        value_parser = size
    )]
    hash_cache_size: u64,

    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Hash {
    Lazy,
    Eager,
}

fn size(text: &str) -> Result<u64, &'static str> {
    parse_size(text).map_err(|_| "not a number of bytes, such as 64KiB")
}

fn threads(text: &str) -> Result<usize, String> {
    let most = cores();
    text.parse().ok().filter(|n| (1..=most).contains(n)).ok_or(format!("not a number from 1 to {most}"))
}

/// Serves until it is asked to end.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let hash_cache = match args.hash_cache {
        Some(folder) => folder,
        None => default_folder()
            .ok_or(Failure("--hash-cache: needed, as the user has no place for caches".into()))?,
    };
    let failure = |what: String, error: &dyn std::fmt::Display| Failure(format!("{what}: {error}"));
    let config = Config {
        root: args.root.clone(),
        listen: args.listen,
        hash_cache: hash_cache.clone(),
        hash_cache_bytes: args.hash_cache_size,
        key: args.secret.key()?,
        key_file: args.secret.key.clone(),
        min_size: args.min_size,
        when: match args.hash {
            Hash::Lazy => When::Asked,
            Hash::Eager => When::Always,
        },
        workers: args.hash_threads,
        tell,
    };
    let admin = args.admin.bind()?;
    let origin = Origin::start(config).map_err(|error| {
        let what = match error {
            StartError::Root(_) | StartError::Served(_) => format!("--root {}", args.root.display()),
            StartError::Listen(_) => format!("--listen {}", args.listen),
            StartError::HashCache(_) => format!("--hash-cache {}", hash_cache.display()),
            StartError::System(_) => "a thread".into(),
        };
        failure(what, &error)
    })?;
    let mut lines = format!("listening on http://{}/\n", origin.address());
    if let Some(admin) = admin {
        lines += &admin::start(admin, origin.administered())?;
    }
    lines += &format!("hash cache in {}\n", one_line(&hash_cache.display().to_string()));
    print(&lines)?;
    origin.run().map_err(|error| failure("the server".into(), &error))?;
    Ok(Ending::Good)
}

/// Where the system keeps what can be made again: for a service of systemd, or for the user.
fn default_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    if let Some(folder) = folder("CACHE_DIRECTORY") {
        return Some(folder.join("origin"));
    }
    let caches = folder("XDG_CACHE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .or_else(|| folder("LOCALAPPDATA"));
    Some(caches?.join("peerdist").join("origin"))
}
