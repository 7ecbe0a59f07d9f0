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
            // What somebody else has put there is neither followed nor written to.
            match fs::symlink_metadata(&path) {
                Ok(there) if !is_ours(&there) => {
                    return Err(io::Error::other(format!("{} is no file of its own", path.display())));
                }
                _ => {}
            }
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

/// Whether it is a file that has that name alone.
#[cfg(unix)]
fn is_ours(there: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    there.is_file() && there.nlink() == 1
}

/// Whether it is a file, and no link to one.
#[cfg(not(unix))]
fn is_ours(there: &fs::Metadata) -> bool {
    there.is_file()
}

/// Whether the file is still the one of that name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), fs::symlink_metadata(path)) {
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_put_there_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("precious"), "mine").expect("it can be written");
        std::os::unix::fs::symlink(at("precious"), at("one.part")).expect("a link");
        fs::hard_link(at("precious"), at("two.part")).expect("a second name");
        fs::create_dir(at("three.part")).expect("a folder");
        for name in ["one", "two", "three"] {
            let error = Part::new(&at(name)).err().expect("it is refused").to_string();
            assert!(error.ends_with("is no file of its own"), "{error}");
        }
        assert_eq!(fs::read(at("precious")).expect("it is there"), b"mine");

        fs::write(at("four.part"), "of an earlier attempt").expect("it can be written");
        let mut part = Part::new(&at("four")).expect("it is a file");
        part.write_at(0, b"all").expect("it can be written");
        part.persist(3).expect("it gets its name");
        assert_eq!(fs::read(at("four")).expect("it is there"), b"all");
    }
}
