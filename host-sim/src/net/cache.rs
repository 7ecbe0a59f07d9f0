//! The files of a node: blocks, and beside them what content information it needs.

use std::fs::{self, DirBuilder, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peerdist_core::limits::BLOCK_BYTES;
use peerdist_core::store::split::Split;
use peerdist_hal::file::{FileBlocks, FileInfos, MAX_BLOCKS, OpenError, Options};
use sha2::{Digest as _, Sha256};
use url::Url;

/// What a node keeps its things in.
pub type Storage = Split<FileBlocks, FileInfos>;

/// How many caches of the default place may be in use at once.
const DEFAULT_CACHES: usize = 16;

/// Bytes of blocks that are kept, unless somebody says otherwise.
pub const DEFAULT_MAX_SIZE: u64 = 16 << 30;

/// Bytes of blocks that a cache can be made to keep: of more, the index would have no room.
pub const MOST_BYTES: u64 = MAX_BLOCKS as u64 * BLOCK_BYTES as u64;

/// Days that blocks are kept, unless somebody says otherwise: as long as Windows keeps them.
pub const DEFAULT_MAX_AGE_DAYS: u64 = 28;

/// How the names of [marks](mark) begin.
const MARK_PREFIX: &str = "unfinished-";

/// How much a cache keeps, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of its files.
    pub max_size: u64,
    /// The age at which blocks go.
    pub max_age: Duration,
}

/// Why a cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// There is no home directory to have one in.
    #[error("no place for a cache: neither XDG_CACHE_HOME nor HOME is set")]
    NoPlace,
    /// The directory could not be made.
    #[error("{0}: {1}")]
    Make(PathBuf, io::Error),
    /// What is in it could not be opened, or another process has it.
    #[error("{0}")]
    Open(OpenError),
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_size: DEFAULT_MAX_SIZE, max_age: days(DEFAULT_MAX_AGE_DAYS) }
    }
}

/// So many days.
pub fn days(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(24 * 60 * 60))
}

/// Opens the cache in `directory`, which is made if it is not there.
pub fn open(directory: &Path, limits: Limits) -> Result<Storage, CacheError> {
    // Apart, since who copies the blocks should not get their keys as well.
    let (blocks, infos) = (directory.join("blocks"), directory.join("info"));
    for directory in [&blocks, &infos] {
        make(directory).map_err(|error| CacheError::Make(directory.clone(), error))?;
    }
    // A process that is killed loses nothing; what a loss of power spoils is found when it is read.
    let options = Options { max_size: limits.max_size, max_age: limits.max_age, sync: false };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let blocks = FileBlocks::open(&blocks, options, now).map_err(CacheError::Open)?;
    let infos = FileInfos::open(&infos).map_err(CacheError::Open)?;
    Ok(Split { blocks, infos })
}

/// Opens a cache of the default place that nobody uses: which one, and what is in it. It is one that has been
/// used for any of these URLs without [an end](end), or else the first.
pub fn open_default(limits: Limits, urls: &[Url]) -> Result<(PathBuf, Storage), CacheError> {
    let place = default_place().ok_or(CacheError::NoPlace)?;
    let mut directories: Vec<_> =
        (0..DEFAULT_CACHES).map(|number| place.join(format!("cache-{number}"))).collect();
    directories.sort_by_key(|directory| !urls.iter().any(|url| mark(directory, url).exists()));
    let mut result = Err(CacheError::NoPlace);
    for directory in directories {
        result = open(&directory, limits).map(|storage| (directory, storage));
        if !matches!(result, Err(CacheError::Open(OpenError::InUse(_)))) {
            break;
        }
    }
    if let Ok((directory, _)) = &result {
        remove_marks(directory, limits.max_age);
        // Without a mark, what is there is fetched again at worst.
        urls.iter().for_each(|url| _ = fs::write(mark(directory, url), []));
    }
    result
}

/// What was fetched from this URL by way of that default cache is complete.
pub fn end(directory: &Path, url: &Url) {
    _ = fs::remove_file(mark(directory, url));
}

/// The file that says that something of this URL is in the cache, and it is not complete.
fn mark(directory: &Path, url: &Url) -> PathBuf {
    // A URL may be longer than a name, and have a secret in it.
    let hash = Sha256::digest(url.as_str());
    let name = hash[..16].iter().fold(MARK_PREFIX.to_string(), |name, byte| format!("{name}{byte:02x}"));
    directory.join(name)
}

/// Removes the marks that are older than any block.
fn remove_marks(directory: &Path, max_age: Duration) {
    let is_old = |entry: &DirEntry| {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(MARK_PREFIX));
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        ours && modified.is_ok_and(|then| then.elapsed().is_ok_and(|age| age > max_age))
    };
    // Those that stay cost a name each.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten().filter(is_old) {
        _ = fs::remove_file(entry.path());
    }
}

/// The folder for caches, as the XDG Base Directory Specification has it.
fn default_place() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    let base = base.or_else(|| folder("LOCALAPPDATA"));
    base.map(|base| base.join("peerdist"))
}

/// Makes a directory that is its owner's alone; one that is there stays as it is.
fn make(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).and_then(|()| fs::metadata(directory)).map(drop)
}
