//! An [`InfoStore`] over a directory, with one file for each content information.

use core::cell::RefCell;
use core::fmt;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::format;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{self, Path, PathBuf};
use std::string::String;
use std::vec;
use std::vec::Vec;

use peerdist_core::content::InfoUnreadable;
use peerdist_core::store::{InfoId, InfoStore, InfoStoreFull};
use zeroize::Zeroizing;

use super::{Lock, OpenError, lock, private, read_within, write_all_at};

/// Content informations kept at once. A node keeps one for each content that is open, a handful;
/// each holds a file open, of which systems give a process as few as 256.
pub const MAX_INFOS: usize = 32;

/// The file that is locked while a directory is in use. It stays, for whoever removes a lock file
/// may remove the next one's.
const LOCK_NAME: &str = "peerdist-info.lock";

/// What names of content information begin with; two hexadecimal digits, the id, follow.
const PREFIX: &str = "peerdist-info-";

/// Bytes that are read at once: whoever searches segments reads a few dozen at a time.
const PAGE_BYTES: u64 = 4_096;

/// Pages of each content information in memory: the segments that a search of version 2.0 walks over, and
/// the two places that parsing reads by turns.
const PAGES: usize = 8;

/// Bytes that are overwritten at once.
const WIPE_BYTES: usize = 16 * 1_024;

/// A directory of content information, for as long as this value lives: what it made is removed
/// when it is dropped, and what a run that was killed has left, when the directory is opened anew.
///
/// Content information holds segment secrets. So the files are their owner's alone where there
/// are such rights (mode 0600), and before one is removed it is overwritten with zeros, which
/// reach the medium first. A file system that writes to another place than before, or a flash
/// disk, may still have the old bytes; what must not be there at all belongs on an encrypted disk
/// or in memory.
#[derive(Debug)]
pub struct FileInfos {
    infos: BTreeMap<u8, Kept>,
    next: u8,
    directory: PathBuf,
    error: RefCell<Option<io::Error>>,
    _lock: Lock,
}

/// A content information, and how many bytes it has.
struct Kept {
    file: File,
    len: u64,
    /// The pages that were read last, the latest first.
    pages: RefCell<Vec<Page>>,
}

/// Bytes of a content information, wiped when they are dropped.
struct Page {
    start: u64,
    bytes: Zeroizing<Vec<u8>>,
}

impl Kept {
    /// Fills `buf` from `offset` on, by way of the pages; what is long goes past them.
    fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = offset / PAGE_BYTES * PAGE_BYTES;
        let end = self.len.min(start.saturating_add(PAGE_BYTES));
        if offset.checked_add(buf.len() as u64).is_none_or(|wanted| wanted > end) {
            return read_within(&self.file, self.len, offset, buf);
        }
        let mut pages = self.pages.borrow_mut();
        match pages.iter().position(|page| page.start == start) {
            Some(position) => pages.get_mut(..=position).unwrap_or_default().rotate_right(1),
            None => {
                let mut bytes = Zeroizing::new(vec![0; end.saturating_sub(start) as usize]);
                read_within(&self.file, self.len, start, &mut bytes)?;
                pages.truncate(PAGES - 1);
                pages.insert(0, Page { start, bytes });
            }
        }
        let within = offset.saturating_sub(start) as usize;
        let page = pages.first().and_then(|page| page.bytes.get(within..within.saturating_add(buf.len())));
        buf.copy_from_slice(page.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("len", &self.len).finish_non_exhaustive()
    }
}

impl FileInfos {
    /// Takes `directory`, which must exist and should be its owner's alone, and removes what an
    /// earlier run has left. Other people's files in it are not touched.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        // The process may go to another working directory.
        let directory =
            path::absolute(&directory).map_err(|error| OpenError::Io(directory.as_ref().into(), error))?;
        let lock = lock(&directory, LOCK_NAME)?;
        remove_left_overs(&directory)?;
        Ok(Self { infos: BTreeMap::new(), next: 0, directory, error: RefCell::new(None), _lock: lock })
    }

    /// Why the file of a content information could not be made, written, read or removed last,
    /// once. There is no reason where the store was full, or had none of that id.
    pub fn take_error(&self) -> Option<io::Error> {
        self.error.take()
    }

    fn path(&self, id: u8) -> PathBuf {
        self.directory.join(file_name(id))
    }

    fn remove(&mut self, id: u8) {
        let Some(Kept { file, .. }) = self.infos.remove(&id) else { return };
        let wiped = wipe(&file, 0);
        // Not every system removes what is open. It goes even where it could not be overwritten.
        drop(file);
        if let Err(error) = wiped.and(fs::remove_file(self.path(id))) {
            self.error.replace(Some(error));
        }
    }
}

impl InfoStore for FileInfos {
    fn create_info(&mut self) -> Result<InfoId, InfoStoreFull> {
        if self.infos.len() >= MAX_INFOS {
            return Err(InfoStoreFull);
        }
        while self.infos.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let id = self.next;
        self.next = id.wrapping_add(1);
        match private().create_new(true).open(self.path(id)) {
            Ok(file) => {
                self.infos.insert(id, Kept { file, len: 0, pages: RefCell::default() });
                Ok(InfoId(id))
            }
            Err(error) => {
                self.error.replace(Some(error));
                Err(InfoStoreFull)
            }
        }
    }

    fn append_info(&mut self, id: InfoId, bytes: &[u8]) -> Result<(), InfoStoreFull> {
        let Kept { file, len, pages } = self.infos.get_mut(&id.0).ok_or(InfoStoreFull)?;
        // The last page has become longer.
        pages.get_mut().clear();
        match write_all_at(file, bytes, *len) {
            Ok(end) => {
                *len = end;
                Ok(())
            }
            Err(error) => {
                // What is behind the end is never read. Should it not go now, it does with the rest.
                let _ = wipe(file, *len).and_then(|()| file.set_len(*len));
                self.error.replace(Some(error));
                Err(InfoStoreFull)
            }
        }
    }

    fn info_len(&self, id: InfoId) -> u64 {
        self.infos.get(&id.0).map_or(0, |kept| kept.len)
    }

    fn read_info(&self, id: InfoId, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        let unreadable = InfoUnreadable { offset };
        let kept = self.infos.get(&id.0).ok_or(unreadable)?;
        kept.read(offset, buf).map_err(|error| {
            self.error.replace(Some(error));
            unreadable
        })
    }

    fn remove_info(&mut self, id: InfoId) {
        self.remove(id.0);
    }
}

impl Drop for FileInfos {
    fn drop(&mut self) {
        while let Some((&id, _)) = self.infos.first_key_value() {
            self.remove(id);
        }
    }
}

fn remove_left_overs(directory: &Path) -> Result<(), OpenError> {
    let unusable = |error| OpenError::Io(directory.into(), error);
    for entry in fs::read_dir(directory).map_err(unusable)? {
        let entry = entry.map_err(unusable)?;
        if !is_ours(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        let removed = || {
            // Who follows a link overwrites somebody else's file.
            if entry.file_type()?.is_file() {
                wipe(&OpenOptions::new().write(true).open(&path)?, 0)?;
            }
            fs::remove_file(&path)
        };
        removed().map_err(|error| OpenError::Io(path.clone(), error))?;
    }
    Ok(())
}

/// Overwrites `file` with zeros, from `start` to its end and down to the medium.
fn wipe(file: &File, start: u64) -> io::Result<()> {
    let (mut at, end) = (start, file.metadata()?.len());
    let zeros = [0; WIPE_BYTES];
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(WIPE_BYTES).min(WIPE_BYTES);
        at = write_all_at(file, zeros.get(..len).unwrap_or_default(), at)?;
    }
    file.sync_data()
}

fn file_name(id: u8) -> String {
    format!("{PREFIX}{id:02x}")
}

fn is_ours(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    let id = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
    id.is_some_and(|id| name == file_name(id).as_str())
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use peerdist_core::content::InfoSource;
    use peerdist_core::store::InfoView;
    use tempfile::{TempDir, tempdir};

    use super::*;

    fn fresh() -> (TempDir, FileInfos) {
        let directory = tempdir().unwrap();
        let infos = FileInfos::open(directory.path()).unwrap();
        (directory, infos)
    }

    /// What is there beside the lock, in order.
    fn names(directory: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "peerdist-info.lock").collect();
        names.sort();
        names
    }

    fn read(infos: &FileInfos, id: InfoId) -> Vec<u8> {
        let mut bytes = vec![0; infos.info_len(id) as usize];
        infos.read_info(id, 0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn pieces_in_two_files() {
        let (directory, mut infos) = fresh();
        let (a, b) = (infos.create_info().unwrap(), infos.create_info().unwrap());
        for (id, piece) in [(a, "one"), (b, "1"), (a, ""), (a, "two"), (b, "2")] {
            infos.append_info(id, piece.as_bytes()).unwrap();
        }
        assert_eq!(names(&directory), ["peerdist-info-00", "peerdist-info-01"]);
        assert_eq!(fs::read(directory.path().join("peerdist-info-00")).unwrap(), b"onetwo");
        assert_eq!((read(&infos, a), read(&infos, b)), (b"onetwo".to_vec(), b"12".to_vec()));

        let view = InfoView { store: &infos, id: a };
        let mut buf = [0; 3];
        assert_eq!((view.read_at(2, &mut buf), &buf), (Ok(()), b"etw"));
        assert!(infos.take_error().is_none());
        for offset in [4, 7, u64::MAX] {
            assert_eq!(view.read_at(offset, &mut buf), Err(InfoUnreadable { offset }));
            assert_eq!(infos.take_error().unwrap().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    /// Whatever is in memory by then, within pages and across them, while it grows.
    #[test]
    fn any_bytes_in_any_order() {
        let (_directory, mut infos) = fresh();
        let id = infos.create_info().unwrap();
        let all: Vec<u8> = (0..12 * 4_096u32 + 77).map(|at| (at ^ (at >> 8)) as u8).collect();
        let mut random = 1u32;
        for piece in all.chunks(7_777) {
            infos.append_info(id, piece).unwrap();
            for _ in 0..200 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let start = (random >> 8) as usize % infos.info_len(id) as usize;
                let end = all.len().min(start + (random >> 28) as usize * 40);
                let mut buf = vec![0; end - start];
                let read = infos.read_info(id, start as u64, &mut buf);
                if end as u64 <= infos.info_len(id) {
                    assert_eq!((read, &buf[..]), (Ok(()), &all[start..end]));
                } else {
                    assert_eq!(read, Err(InfoUnreadable { offset: start as u64 }));
                }
            }
        }
    }

    #[test]
    fn what_is_gone_is_nobodys() {
        let (directory, mut infos) = fresh();
        let id = infos.create_info().unwrap();
        infos.append_info(id, b"abc").unwrap();
        infos.remove_info(id);
        infos.remove_info(id);
        assert!(infos.take_error().is_none());
        assert_eq!((names(&directory).len(), infos.info_len(id)), (0, 0));
        assert_eq!(infos.append_info(id, b"d"), Err(InfoStoreFull));
        assert_eq!(infos.read_info(id, 0, &mut []), Err(InfoUnreadable { offset: 0 }));
        // An id is not given again at once, so that a stale one fails.
        assert_ne!(infos.create_info(), Ok(id));
    }

    #[test]
    fn as_many_as_the_bound() {
        let (directory, mut infos) = fresh();
        let ids: Vec<_> = (0..MAX_INFOS).map(|_| infos.create_info().unwrap()).collect();
        assert_eq!((infos.create_info(), names(&directory).len()), (Err(InfoStoreFull), MAX_INFOS));
        assert!(infos.take_error().is_none());
        // More than there are ids: those in use are left out.
        for _ in 0..300 {
            infos.remove_info(ids[3]);
            let id = infos.create_info().unwrap();
            assert!(id == ids[3] || !ids.contains(&id));
            infos.append_info(id, b"x").unwrap();
            infos.remove_info(id);
        }
        assert_eq!(names(&directory).len(), MAX_INFOS - 1);
        drop(infos);
        assert_eq!(names(&directory), [""; 0]);
    }

    #[test]
    fn removed_means_overwritten() {
        let (directory, mut infos) = fresh();
        let id = infos.create_info().unwrap();
        let secret = vec![0x5e; WIPE_BYTES * 2 + 5];
        infos.append_info(id, &secret).unwrap();
        let path = directory.path().join("peerdist-info-00");
        let other_name = directory.path().join("other name");
        fs::hard_link(&path, &other_name).unwrap();
        assert_eq!(fs::read(&other_name).unwrap(), secret);
        infos.remove_info(id);
        assert!(!path.exists());
        assert_eq!(fs::read(&other_name).unwrap(), vec![0; secret.len()]);
    }

    #[test]
    fn left_overs_go_and_other_files_stay() {
        let directory = tempdir().unwrap();
        let put = |name: &str| fs::write(directory.path().join(name), b"bytes").unwrap();
        let others = ["notes", "peerdist-info-", "peerdist-info-+1", "peerdist-info-0", "peerdist-info-0A"];
        let others =
            [&others[..], &["peerdist-info-000", "peerdist-info-00.bak", "peerdist-info-zz"]].concat();
        others.iter().copied().for_each(put);
        ["peerdist-info-00", "peerdist-info-a7", "peerdist-info-ff"].into_iter().for_each(put);
        let left = directory.path().join("peerdist-info-a7");
        fs::hard_link(left, directory.path().join("same file")).unwrap();

        let mut infos = FileInfos::open(directory.path()).unwrap();
        let mut expected = [&others[..], &["same file"]].concat();
        expected.sort();
        assert_eq!(names(&directory), expected);
        assert_eq!(fs::read(directory.path().join("same file")).unwrap(), [0; 5]);
        infos.create_info().unwrap();
        drop(infos);
        assert_eq!(names(&directory), expected);
        for name in others {
            assert_eq!(fs::read(directory.path().join(name)).unwrap(), b"bytes");
        }
    }

    #[test]
    fn one_at_a_time() {
        let (directory, mut infos) = fresh();
        let id = infos.create_info().unwrap();
        infos.append_info(id, b"abc").unwrap();
        let error = FileInfos::open(directory.path()).unwrap_err();
        assert_eq!(error.to_string(), format!("{} is in use", directory.path().display()));
        assert_eq!(read(&infos, id), b"abc");
        drop(infos);
        FileInfos::open(directory.path()).unwrap();
    }

    #[test]
    fn directories_that_cannot_be_used() {
        let directory = tempdir().unwrap();
        let absent = directory.path().join("absent");
        let Err(OpenError::Io(path, error)) = FileInfos::open(&absent) else { panic!("it is not there") };
        assert_eq!((path, error.kind()), (absent.join(LOCK_NAME), io::ErrorKind::NotFound));
        // It has our name, and is no file.
        let ours = directory.path().join("peerdist-info-00");
        fs::create_dir(&ours).unwrap();
        let Err(OpenError::Io(path, _)) = FileInfos::open(directory.path()) else { panic!("it cannot go") };
        assert_eq!(path, ours);
    }

    #[test]
    fn a_name_that_is_taken_is_not_written_to() {
        let (directory, mut infos) = fresh();
        let path = directory.path().join("peerdist-info-00");
        fs::write(&path, b"bytes").unwrap();
        assert_eq!(infos.create_info(), Err(InfoStoreFull));
        assert_eq!(infos.take_error().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(infos.create_info(), Ok(InfoId(1)));
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
    }

    #[cfg(unix)]
    mod unix {
        use std::os::unix::fs::{PermissionsExt, symlink};
        use std::process::Command;

        use super::*;

        #[test]
        fn files_are_their_owners_alone() {
            let (directory, mut infos) = fresh();
            infos.create_info().unwrap();
            for name in ["peerdist-info-00", LOCK_NAME] {
                let metadata = fs::metadata(directory.path().join(name)).unwrap();
                assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
            }
        }

        #[test]
        fn links_are_not_followed() {
            let directory = tempdir().unwrap();
            let target = directory.path().join("target");
            fs::write(&target, b"bytes").unwrap();
            symlink(&target, directory.path().join("peerdist-info-00")).unwrap();
            FileInfos::open(directory.path()).unwrap();
            assert_eq!(names(&directory), ["target"]);
            assert_eq!(fs::read(&target).unwrap(), b"bytes");
        }

        /// Runs itself anew where no file may grow beyond a few KiB: there, a write ends in the
        /// middle.
        #[test]
        fn all_or_nothing() {
            const LIMITED: &str = "PEERDIST_TEST_LIMITED";
            let name = "file::infos::tests::unix::all_or_nothing";
            if std::env::var_os(LIMITED).is_none() {
                // Without the trap, the signal of the limit ends the process.
                let run = "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact \"$1\"";
                let this = std::env::current_exe().unwrap();
                let mut shell = Command::new("sh");
                let output = shell.args(["-c", run]).arg(this).arg(name).env(LIMITED, "1").output().unwrap();
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
                return;
            }
            let (directory, mut infos) = fresh();
            let id = infos.create_info().unwrap();
            infos.append_info(id, &[1; 100]).unwrap();
            assert_eq!(infos.append_info(id, &[2; 100_000]), Err(InfoStoreFull));
            assert_eq!(infos.take_error().unwrap().kind(), io::ErrorKind::FileTooLarge);
            assert_eq!((infos.info_len(id), read(&infos, id)), (100, vec![1; 100]));
            let path = directory.path().join("peerdist-info-00");
            assert_eq!(fs::metadata(&path).unwrap().len(), 100);
            infos.append_info(id, &[3; 10]).unwrap();
            assert_eq!(fs::read(&path).unwrap(), [vec![1; 100], vec![3; 10]].concat());
        }
    }
}
