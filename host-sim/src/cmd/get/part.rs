//! A file that is being fetched: under another name until it is complete.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// What is added to the name.
const SUFFIX: &str = ".part";

/// A file on its way. It is removed if it is dropped.
pub struct Part {
    file: File,
    path: PathBuf,
    end: PathBuf,
    /// Where the next byte goes if nobody seeks.
    at: u64,
    complete: bool,
}

impl Part {
    /// Begins `end`, from nothing: what was there of an earlier attempt is in the cache.
    pub fn new(end: &Path) -> io::Result<Self> {
        let mut name = end.as_os_str().to_os_string();
        name.push(SUFFIX);
        let path = PathBuf::from(name);
        let file = loop {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::other("another process is fetching it"));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Another process may just have given it its final name.
            if is_at(&file, &path) {
                break file;
            }
        };
        file.set_len(0)?;
        Ok(Self { file, path, end: end.to_path_buf(), at: 0, complete: false })
    }

    /// Writes `bytes` at `offset`.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.at != offset {
            self.file.seek(SeekFrom::Start(offset))?;
        }
        // Should it fail in the middle, nothing more is written.
        self.at = offset.saturating_add(bytes.len() as u64);
        self.file.write_all(bytes)
    }

    /// Gives it its name. It has `len` bytes.
    pub fn persist(mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        // Or else, after a loss of power, the name could be there without the bytes.
        self.file.sync_data()?;
        fs::rename(&self.path, &self.end)?;
        self.complete = true;
        Ok(())
    }
}

/// Whether the file is still the one of that name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Elsewhere, a file that is open keeps its name.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.complete {
            // Should it stay, the next attempt begins it anew.
            _ = fs::remove_file(&self.path);
        }
    }
}
