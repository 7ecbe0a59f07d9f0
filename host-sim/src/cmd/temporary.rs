//! Files on their way: outputs, which appear when they are complete, and spools, which have no name.
//!
//! They hold segment secrets and keys. What is given up, on errors and on a signal that ends the process,
//! too, is removed, and overwritten with zeros: it stays on no disk that is written in place.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::{NamedTempFile, TempPath};

/// Links in a row that are followed: as many as Linux follows.
const MAX_LINKS: usize = 40;

/// The files that are neither in their place nor given up, with the names they have.
static PENDING: Mutex<Vec<(Arc<File>, Option<PathBuf>)>> = Mutex::new(Vec::new());

fn pending() -> MutexGuard<'static, Vec<(Arc<File>, Option<PathBuf>)>> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that nobody else can open. It is wiped when it is dropped.
pub struct Spool {
    file: Arc<File>,
}

impl Spool {
    /// Makes one on the disk that `folder` is on.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let (spool, ()) = Self::register(|| Ok((tempfile::tempfile_in(folder)?, None, ())))?;
        Ok(spool)
    }

    /// No signal comes between the making of a file and its registration.
    fn register<T>(make: impl FnOnce() -> io::Result<(File, Option<PathBuf>, T)>) -> io::Result<(Self, T)> {
        #[cfg(unix)]
        signals::watch();
        let mut pending = pending();
        let (file, path, rest) = make()?;
        let file = Arc::new(file);
        pending.push((file.clone(), path));
        Ok((Self { file }, rest))
    }

    /// The file, for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn is_in(&self, pending: &[(Arc<File>, Option<PathBuf>)]) -> bool {
        pending.iter().any(|(file, _)| Arc::ptr_eq(file, &self.file))
    }

    fn forget(&self, pending: &mut Vec<(Arc<File>, Option<PathBuf>)>) {
        pending.retain(|(file, _)| !Arc::ptr_eq(file, &self.file));
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let given_up = self.is_in(&pending());
        if given_up {
            // Nothing depends on it, and why the file is given up has been told.
            _ = wipe(&self.file);
            self.forget(&mut pending());
        }
    }
}

/// A file to be, which its owner alone may read. It is removed and wiped if it is dropped.
pub struct Output {
    // Removed first, then wiped.
    path: TempPath,
    spool: Spool,
    end: PathBuf,
}

impl Output {
    /// Begins the file `end`, in the same folder.
    pub fn new(end: PathBuf) -> io::Result<Self> {
        let (spool, path) = Spool::register(|| {
            let (file, path) = NamedTempFile::with_prefix_in(".peerdist-", folder_of(&end))?.into_parts();
            Ok((file, Some(path.to_path_buf()), path))
        })?;
        Ok(Self { path, spool, end })
    }

    /// The file, for reading and writing.
    pub fn file(&self) -> &File {
        self.spool.file()
    }

    /// Puts it in its place, complete, where `replaces` says whether there may be a file.
    pub fn persist(self, replaces: bool) -> io::Result<()> {
        let Self { path, spool, end } = self;
        // Or else, after a loss of power, the name could be there without the bytes.
        spool.file.sync_all()?;
        let mut pending = pending();
        let moved = if replaces { path.persist(&end) } else { path.persist_noclobber(&end) };
        if moved.is_ok() {
            spool.forget(&mut pending);
        }
        drop(pending);
        moved?;
        // Not all systems can; the file is in its place all the same.
        _ = File::open(folder_of(&end)).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

/// The folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where the bytes of a file are, or would be, that `path` names: the end of the links.
pub fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut end = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&end) {
            Ok(next) => end = folder_of(&end).join(next),
            // It is no link, or what is wrong with it is found when the file is made.
            Err(_) => return Ok(end),
        }
    }
    Err(io::Error::other("links that lead nowhere"))
}

/// Overwrites all of it.
fn wipe(mut file: &File) -> io::Result<()> {
    let len = file.metadata()?.len();
    file.rewind()?;
    io::copy(&mut io::repeat(0).take(len), &mut file)?;
    // A file without a name is never written to the disk otherwise, which has its bytes of before.
    file.sync_data()
}

#[cfg(unix)]
mod signals {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Once, mpsc};
    use std::thread;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::{flag, low_level};

    use super::*;

    /// From now on, the signals that end the process give up what is pending first.
    pub fn watch() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let (sender, ready) = mpsc::channel();
            // Without a thread for it they end the process as ever.
            if thread::Builder::new().spawn(|| clear_at_signal(sender)).is_ok() {
                _ = ready.recv();
            }
        });
    }

    fn clear_at_signal(ready: mpsc::Sender<()>) {
        let ignored = ignored();
        let signals = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
        let Ok(mut caught) = Signals::new(signals.clone()) else { return };
        // A second one, while a long file is wiped, ends it at once.
        let clearing = Arc::new(AtomicBool::new(false));
        for signal in signals {
            _ = flag::register_conditional_default(signal, clearing.clone());
        }
        drop(ready);
        if let Some(signal) = caught.forever().next() {
            // Held to the end: no file is made, nor put in its place, any more.
            let pending = pending();
            for path in pending.iter().filter_map(|(_, path)| path.as_ref()) {
                _ = fs::remove_file(path);
            }
            clearing.store(true, Ordering::SeqCst);
            for (file, _) in pending.iter() {
                _ = wipe(file);
            }
            _ = low_level::emulate_default_handler(signal);
        }
    }

    /// A bit for each signal that whoever started the process wants ignored, as `nohup` does SIGHUP: that
    /// one is left alone where the system does not tell.
    fn ignored() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(1 << (SIGHUP - 1))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn bytes_of(mut file: &File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("readable");
        bytes
    }

    #[test]
    fn what_is_given_up_is_wiped() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::new(folder.path()).expect("a writable folder");
        let output = Output::new(folder.path().join("end")).expect("a writable folder");
        let files = [spool.file.clone(), output.spool.file.clone()];
        for mut file in files.iter().map(|file| &**file) {
            file.write_all(&[7; 10_000]).expect("a disk with room");
        }
        drop((spool, output));
        for file in files {
            assert_eq!(bytes_of(&file), [0; 10_000]);
            assert!(!pending().iter().any(|(pending, _)| Arc::ptr_eq(pending, &file)));
        }
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
    }

    #[test]
    fn what_is_complete_is_in_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let end = folder.path().join("end");
        for (bytes, replaces) in [([1; 9], false), ([2; 9], true)] {
            let output = Output::new(end.clone()).expect("a writable folder");
            output.file().write_all(&bytes).expect("a disk with room");
            output.persist(replaces).expect("it may be there");
            assert_eq!(fs::read(&end).expect("it is there"), bytes);
        }
        let output = Output::new(end.clone()).expect("a writable folder");
        let error = output.persist(false).expect_err("there is one");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&end).expect("it is there"), [2; 9]);
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
    }

    #[test]
    fn folders() {
        for (path, folder) in [("a", "."), ("a/b", "a"), ("/a", "/"), ("../a", "..")] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
        }
    }
}
