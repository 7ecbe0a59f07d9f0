//! Blocks and content information in files of a host, on Unix and Windows: blocks that outlive the
//! process, in [`FileBlocks`]; content information that is there already, as an [`InfoFile`], and
//! that which a node keeps while it needs it, in [`FileInfos`]. The two stores make one storage in
//! [`Split`](peerdist_core::store::split::Split). Give each a directory of its own: content
//! information has the keys of the blocks, and who copies those should not get these as well.
//!
//! Content information that a node keeps has a few pages in memory, which are wiped: a search in version
//! 2.0 reads the same segments again and again. Core's traits say little of a failure; all three types
//! keep the reason, for `take_error` to give.

mod blocks;
mod infos;

use core::cell::RefCell;
use core::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use peerdist_core::content::{InfoSink, InfoSource, InfoUnreadable, InfoUnwritable};

pub use self::blocks::{Counters, FileBlocks, FileError, MAX_BLOCKS, MAX_RESERVED, Options, committed};
pub use self::infos::{FileInfos, MAX_INFOS};

/// A file with content information: a source where it is open for reading, a sink where it is open
/// for writing.
///
/// Its length is that of when it was given to [`new`](Self::new), or where the furthest write
/// through this value has ended since. It does not follow what others do to the file: what they
/// cut off cannot be read.
#[derive(Debug)]
pub struct InfoFile {
    file: File,
    len: u64,
    error: RefCell<Option<io::Error>>,
}

/// Why a directory cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Another process, or another value in this one, uses this directory.
    InUse(PathBuf),
    /// This directory or file could not be read, made, locked, overwritten or removed.
    Io(PathBuf, io::Error),
}

impl InfoFile {
    /// Takes a file that is open.
    ///
    /// Fails where its length cannot be told, and with [`io::ErrorKind::InvalidInput`] where it is
    /// no regular file: a pipe has neither a length nor offsets.
    pub fn new(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Self { file, len: metadata.len(), error: RefCell::new(None) })
    }

    /// Why reading or writing failed last, once.
    pub fn take_error(&self) -> Option<io::Error> {
        self.error.take()
    }
}

impl InfoSource for InfoFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        read_within(&self.file, self.len, offset, buf).map_err(|error| {
            self.error.replace(Some(error));
            InfoUnreadable { offset }
        })
    }
}

impl InfoSink for InfoFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), InfoUnwritable> {
        match write_all_at(&self.file, bytes, offset) {
            Ok(end) => {
                self.len = self.len.max(end);
                Ok(())
            }
            Err(error) => {
                self.error.replace(Some(error));
                Err(InfoUnwritable { offset })
            }
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(f, "{} is in use", path.display()),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl core::error::Error for OpenError {}

/// A locked file, for as long as this value lives.
#[derive(Debug)]
struct Lock(File);

/// A child that is just being started has the file open, too, until its program runs: closing it
/// here would not be enough.
impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Locks the file `name` of `directory`.
fn lock(directory: &Path, name: &str) -> Result<Lock, OpenError> {
    let path = directory.join(name);
    let file = match private().create(true).truncate(false).open(&path) {
        Ok(file) => file,
        Err(error) => return Err(OpenError::Io(path, error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(directory.into())),
        Err(TryLockError::Error(error)) => Err(OpenError::Io(path, error)),
    }
}

/// Options for reading and writing, which give a new file to its owner alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Fills `buf` from `offset` on, if all of it lies in the first `len` bytes.
fn read_within(file: &File, len: u64, offset: u64, buf: &mut [u8]) -> io::Result<()> {
    match offset.checked_add(buf.len() as u64) {
        Some(end) if end <= len => read_exact_at(file, buf, offset),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buf, offset)
}

/// Unlike on Unix, this moves the position of the file, which nothing here goes by.
#[cfg(windows)]
fn read_exact_at(file: &File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buf, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buf = buf.get_mut(read..).unwrap_or_default();
                offset = offset.saturating_add(read as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes `bytes` from `offset` on; says where they end.
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<u64> {
    let end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
    #[cfg(unix)]
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)?;
    #[cfg(windows)]
    seek_write_all(file, bytes, offset)?;
    Ok(end)
}

#[cfg(windows)]
fn seek_write_all(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset = offset.saturating_add(written as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::vec;
    use std::vec::Vec;

    use peerdist_core::content::publish::v1::Publisher;
    use peerdist_core::content::server_secret;
    use peerdist_core::content::v1::{Info, info_len};
    use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};
    use tempfile::{NamedTempFile, tempfile};

    use super::*;

    fn file_of(bytes: &[u8]) -> NamedTempFile {
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        file
    }

    fn kind(file: &InfoFile) -> Option<ErrorKind> {
        file.take_error().map(|error| error.kind())
    }

    #[test]
    fn a_file_is_a_source() {
        let named = file_of(&[1, 2, 3]);
        let file = InfoFile::new(named.reopen().unwrap()).unwrap();
        let mut buf = [0; 2];
        assert_eq!(file.len(), 3);
        assert_eq!((file.read_at(1, &mut buf), buf), (Ok(()), [2, 3]));
        assert_eq!((file.read_at(0, &mut buf), buf), (Ok(()), [1, 2]));
        assert_eq!(file.read_at(3, &mut []), Ok(()));
        assert_eq!(kind(&file), None);
        for offset in [2, 4, u64::MAX] {
            assert_eq!(file.read_at(offset, &mut buf), Err(InfoUnreadable { offset }));
            assert_eq!((kind(&file), kind(&file)), (Some(ErrorKind::UnexpectedEof), None));
        }

        // The length is that of the opening.
        fs::write(named.path(), [4, 5, 6, 7]).unwrap();
        assert_eq!((file.len(), file.read_at(2, &mut buf)), (3, Err(InfoUnreadable { offset: 2 })));
        fs::write(named.path(), [8]).unwrap();
        assert_eq!((file.len(), file.read_at(1, &mut buf)), (3, Err(InfoUnreadable { offset: 1 })));
        assert_eq!(kind(&file), Some(ErrorKind::UnexpectedEof));
    }

    #[test]
    fn a_file_is_a_sink() {
        let named = NamedTempFile::new().unwrap();
        let mut file = InfoFile::new(named.reopen().unwrap()).unwrap();
        assert!(file.is_empty());
        assert_eq!(file.write_at(2, &[3, 4]), Ok(()));
        assert_eq!(file.write_at(0, &[1]), Ok(()));
        assert_eq!(file.len(), 4);
        assert_eq!(fs::read(named.path()).unwrap(), [1, 0, 3, 4]);
        let mut buf = [0; 3];
        assert_eq!((file.read_at(1, &mut buf), buf), (Ok(()), [0, 3, 4]));

        assert_eq!(file.write_at(u64::MAX, &[5]), Err(InfoUnwritable { offset: u64::MAX }));
        assert_eq!((kind(&file), file.len()), (Some(ErrorKind::FileTooLarge), 4));
        let mut file = InfoFile::new(File::open(named.path()).unwrap()).unwrap();
        assert_eq!(file.write_at(0, &[5]), Err(InfoUnwritable { offset: 0 }));
        assert!(file.take_error().is_some());
        assert_eq!(fs::read(named.path()).unwrap(), [1, 0, 3, 4]);
    }

    #[test]
    fn past_four_gibibytes() {
        let far = (1 << 32) + 5;
        let mut file = InfoFile::new(tempfile().unwrap()).unwrap();
        assert_eq!(file.write_at(far, &[7, 8]), Ok(()));
        assert_eq!(file.len(), far + 2);
        let mut buf = [9; 3];
        assert_eq!((file.read_at(far - 1, &mut buf), buf), (Ok(()), [0, 7, 8]));
        assert_eq!((file.read_at(4, &mut buf), buf), (Ok(()), [0; 3]));
        assert_eq!(file.read_at(far, &mut buf), Err(InfoUnreadable { offset: far }));
    }

    #[test]
    fn published_into_a_file_and_parsed_there() {
        let algorithm = HashAlgorithm::Sha256;
        let content = vec![0x5a; 70_000];
        let publish = |sink: &mut dyn InfoSink| {
            let ks = server_secret(&mut SoftCrypto, algorithm, b"no more secrets");
            let mut publisher = Publisher::new(algorithm, ks, content.len() as u64).unwrap();
            publisher.update(&mut SoftCrypto, &content, sink).unwrap();
            publisher.finish(sink).unwrap()
        };
        let mut expected: Vec<u8> = vec![0; info_len(algorithm, 70_000).unwrap() as usize];
        publish(&mut expected.as_mut_slice());
        let named = NamedTempFile::new().unwrap();
        let mut file = InfoFile::new(named.reopen().unwrap()).unwrap();
        let info = publish(&mut file);
        assert_eq!(Info::parse(&file), Ok(info));
        assert_eq!(fs::read(named.path()).unwrap(), expected);
    }

    #[cfg(unix)]
    #[test]
    fn only_regular_files() {
        for path in ["/", "/dev/null"] {
            let error = InfoFile::new(File::open(path).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(std::format!("{error}"), "not a regular file");
        }
    }
}
