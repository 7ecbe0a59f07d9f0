//! The content server: files over HTTP, and in place of them content information for who asks for it.
//!
//! ```text
//!   answer ──▶ body            what a request gets; it is read as it is sent
//!     │ │
//!     │ └──▶ cache             content information, on disk
//!     │        ▲
//!     │      hasher            makes it, in the background
//!     │        │
//!   files ◀────┘               which files there are, and in which state
//! ```
//!
//! What is sent is always of the state that its entity tag names: a file that changes while it is sent breaks
//! the connection, and one that changes while it is hashed is hashed again. Content information is of the
//! very state that the file is in when it is asked for, or the file is sent as it is.
//!
//! Files that are written through a memory map show it late, or never: those should not be served while they
//! are written.

mod answer;
mod body;
mod cache;
mod files;
mod hasher;
mod private;
mod status;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, HeaderMap};
use hyper::{Request, Response, StatusCode};
use zeroize::Zeroizing;

use self::body::Sent;
use self::cache::HashCache;
use self::files::Root;
pub use self::hasher::When;
use self::hasher::{Hasher, Task};
use self::private::{make_private, own_key};
use super::http1::{self, Body, Limits, Names};
use super::listen::listen;

/// Connections at once: a branch office or two; each takes a piece of a file and a few buffers in memory.
const MAX_CONNECTIONS: usize = 512;

/// Of these, those of one client: a branch office behind one address has as many clients, and a browser opens six.
const MAX_CONNECTIONS_OF_ONE: usize = 64;

/// Threads that read files, at most: for each connection one, and one that waits for content information.
const MAX_READERS: usize = 2 * MAX_CONNECTIONS;

/// What is served, and how.
pub struct Config {
    /// The folder, or the single file.
    pub root: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where content information is kept.
    pub hash_cache: PathBuf,
    /// Bytes of content information that are kept.
    pub hash_cache_bytes: u64,
    /// The server secret key; without one, that which the hash cache has, where one is drawn at first.
    pub key: Option<Zeroizing<Vec<u8>>>,
    /// A file that must not be served, as it has the key.
    pub key_file: Option<PathBuf>,
    /// Bytes of the shortest file that there is content information of.
    pub min_size: u64,
    /// When files are hashed.
    pub when: When,
    /// Cores that hash at once.
    pub workers: usize,
    /// Is told, in a line, what fails.
    pub tell: fn(&str),
}

/// Why a server cannot be started: what is at fault, and the reason.
#[derive(Debug)]
pub enum StartError {
    /// What is to be served.
    Root(io::Error),
    /// The address to listen on.
    Listen(io::Error),
    /// The hash cache.
    HashCache(io::Error),
    /// Everybody could read this, which holds secrets.
    Served(PathBuf),
    /// The machine has no room for it.
    System(io::Error),
}

/// A content server that has its port, and hashes; it answers when it is [run](Self::run).
pub struct Origin {
    listener: TcpListener,
    site: Arc<Site>,
}

/// What answers need.
struct Site {
    root: Arc<Root>,
    cache: Arc<HashCache>,
    hasher: Hasher,
    min_size: u64,
    address: SocketAddr,
    sent: Arc<Sent>,
    replies: Replies,
    limits: Limits,
    begun: Instant,
}

/// Replies, by kind.
#[derive(Debug, Default)]
struct Replies {
    plain: AtomicU64,
    encoded: AtomicU64,
    /// Plain ones that told the client to ask again.
    hints: AtomicU64,
    not_modified: AtomicU64,
    refused: AtomicU64,
}

impl Origin {
    /// Takes the port and the hash cache, and begins to hash.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let root = Root::open(&config.root).map_err(StartError::Root)?;
        make_private(&config.hash_cache).map_err(StartError::HashCache)?;
        for private in [Some(&config.hash_cache), config.key_file.as_ref()].into_iter().flatten() {
            if root.serves(private).map_err(StartError::HashCache)? {
                return Err(StartError::Served(private.clone()));
            }
        }
        let key =
            config.key.map_or_else(|| own_key(&config.hash_cache), Ok).map_err(StartError::HashCache)?;
        let cache = HashCache::open(&config.hash_cache, &key, config.hash_cache_bytes)
            .map_err(StartError::HashCache)?;
        let listener = listen(config.listen).map_err(StartError::Listen)?;
        let address = listener.local_addr().map_err(StartError::Listen)?;
        let (root, cache) = (Arc::new(root), Arc::new(cache));
        // There is no content information of empty content (fact 13).
        let min_size = config.min_size.max(1);
        let hasher = Hasher::start(Task {
            root: root.clone(),
            cache: cache.clone(),
            key,
            min_size,
            workers: config.workers,
            when: config.when,
            tell: config.tell,
        });
        let site = Site {
            root,
            cache,
            hasher: hasher.map_err(StartError::System)?,
            min_size,
            address,
            sent: Arc::default(),
            replies: Replies::default(),
            limits: Limits::new(MAX_CONNECTIONS, MAX_CONNECTIONS_OF_ONE),
            begun: Instant::now(),
        };
        Ok(Self { listener, site: Arc::new(site) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.site.address
    }

    /// What tells how it does.
    pub fn administered(&self) -> Arc<dyn super::admin::Administered> {
        self.site.clone()
    }

    /// Answers until the process is asked to end, by a signal or at the terminal. Replies on their way have
    /// ten seconds then.
    pub fn run(self) -> io::Result<()> {
        static NAMES: Names = Names::new();
        let Self { listener, site } = self;
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.enable_all().max_blocking_threads(MAX_READERS).build()?;
        let answering = site.clone();
        let answer = move |request: Request<Incoming>| {
            let site = answering.clone();
            async move {
                // The body of a request is of no use here: hyper reads it, or closes behind the reply.
                let (parts, _) = request.into_parts();
                match tokio::task::spawn_blocking(move || site.answer(&parts)).await {
                    Ok(reply) => reply,
                    Err(_) => {
                        let mut reply = Response::new(Body::default());
                        *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                        reply
                    }
                }
            }
        };
        runtime
            .block_on(async {
                NAMES.learn(&answer::NAMES).await?;
                let end = ended()?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                http1::serve(listener, &site.limits, &NAMES, answer, end).await;
                Ok(())
            })
            .inspect(|()| site.hasher.end())
    }
}

/// Ready when the process is asked to end.
#[cfg(unix)]
fn ended() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn ended() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move { _ = interrupt.recv().await })
}

impl Replies {
    fn count(&self, reply: &Response<Body>) {
        let has = |headers: &HeaderMap, name| headers.contains_key(name);
        let kind = match reply.status() {
            StatusCode::NOT_MODIFIED => &self.not_modified,
            status if !status.is_success() => &self.refused,
            _ if has(reply.headers(), CONTENT_ENCODING.as_str()) => &self.encoded,
            _ if has(reply.headers(), "x-p2p-peerdistex") => &self.hints,
            _ => &self.plain,
        };
        kind.fetch_add(1, Ordering::Relaxed);
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root(error) | Self::Listen(error) | Self::HashCache(error) | Self::System(error) => {
                error.fmt(f)
            }
            Self::Served(path) => {
                write!(f, "{} would be served, and holds secrets", path.display())
            }
        }
    }
}

impl std::error::Error for StartError {}
