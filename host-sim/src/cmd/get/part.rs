//! A file that is being fetched: under another name until it is complete.
//!
//! What came in blocks is in the cache. What came plainly is in the file alone: a note beside it tells what it is
//! a part of, so that another attempt can go on with it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What is added to the name.
const SUFFIX: &str = ".part";

/// What is added to that for the note.
const NOTE_SUFFIX: &str = ".from";

/// What the bytes of a file on its way are a part of.
#[derive(Serialize, Deserialize)]
pub struct Note {
    /// The URL that was asked for.
    pub asked: String,
    /// The one that gave it; of it the query, which may be a signature, is left out.
    pub url: String,
    /// Where in the content the file begins.
    pub start: u64,
    /// Bytes of the content, if the origin said.
    pub total: Option<u64>,
    /// What tells the content from others.
    pub validator: String,
    /// Which run of the machine it is.
    boot: Option<String>,
}

/// A file on its way. If it is dropped, it is removed unless it is complete or there is a note of it.
pub struct Part {
    file: File,
    path: PathBuf,
    end: PathBuf,
    /// Where the next byte goes if nobody seeks.
    at: u64,
    note_path: PathBuf,
    note: Option<Note>,
    complete: bool,
}

impl Part {
    /// Begins `end`, or takes up what an earlier attempt has left if there is a [note](Self::note) of it.
    pub fn new(end: &Path) -> io::Result<Self> {
        let mut name = end.as_os_str().to_os_string();
        name.push(SUFFIX);
        let path = PathBuf::from(&name);
        name.push(NOTE_SUFFIX);
        let note_path = PathBuf::from(name);
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
                    return Err(io::Error::other("another process is writing it"));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Another process may just have given it its final name.
            if is_at(&file, &path) {
                break file;
            }
        };
        let note = fs::read(&note_path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        // After a loss of power, a file may have a length and not the bytes.
        let note = note.filter(|note: &Note| note.boot == boot());
        let mut part = Self { file, path, end: end.to_path_buf(), at: 0, note_path, note, complete: false };
        if part.note.is_none() {
            part.clear()?;
        }
        Ok(part)
    }

    /// What it has so far is a part of, if that is known.
    pub fn note(&self) -> Option<&Note> {
        self.note.as_ref()
    }

    /// How much it has so far.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Forgets all it has.
    pub fn clear(&mut self) -> io::Result<()> {
        self.note = None;
        match fs::remove_file(&self.note_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.file.set_len(0)
    }

    /// Notes what it has so far, and what follows, is a part of.
    pub fn keep(&mut self, note: Note) -> io::Result<()> {
        let note = Note { boot: boot(), ..note };
        let text = serde_json::to_string(&note)?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(&self.note_path)?;
        // One that is cut off cannot be read, and so is none; but it would be in the way of the next.
        file.write_all(text.as_bytes()).inspect_err(|_| _ = fs::remove_file(&self.note_path))?;
        self.note = Some(note);
        Ok(())
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

    /// Gives it its name. It has `len` bytes, which stay under the other one if that fails.
    pub fn persist(mut self, len: u64) -> io::Result<()> {
        self.complete = true;
        self.file.set_len(len)?;
        // Or else, after a loss of power, the name could be there without the bytes.
        self.file.sync_data()?;
        fs::rename(&self.path, &self.end)?;
        // Without its file, it says nothing.
        _ = fs::remove_file(&self.note_path);
        Ok(())
    }
}

impl Note {
    /// A note of content from `url`.
    pub fn new(asked: String, url: String, start: u64, total: Option<u64>, validator: String) -> Self {
        Self { asked, url, start, total, validator, boot: None }
    }
}

/// What tells this run of the machine from others, where the system says.
fn boot() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()
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
        if !self.complete && self.note.is_none() {
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

        // Nor is anything written through the name of the note.
        std::os::unix::fs::symlink(at("precious"), at("five.part.from")).expect("a link");
        drop(Part::new(&at("five")).expect("it is a file"));
        assert_eq!(fs::read(at("precious")).expect("it is there"), b"mine");

        fs::write(at("four.part"), "of an earlier attempt").expect("it can be written");
        let mut part = Part::new(&at("four")).expect("it is a file");
        part.write_at(0, b"all").expect("it can be written");
        part.persist(3).expect("it gets its name");
        assert_eq!(fs::read(at("four")).expect("it is there"), b"all");
    }
    /// Runs itself anew where nothing can be written into a file, as on a disk that is full.
    #[test]
    fn a_note_that_cannot_be_written_is_not_in_the_way() {
        const LIMITED: &str = "PEERDIST_TEST_LIMITED";
        let name = "cmd::get::part::tests::a_note_that_cannot_be_written_is_not_in_the_way";
        if std::env::var_os(LIMITED).is_none() {
            // Without the trap, the signal of the limit ends the process.
            let run = "trap '' XFSZ; ulimit -f 0; exec \"$0\" --exact \"$1\"";
            let this = std::env::current_exe().expect("its path");
            let mut shell = std::process::Command::new("sh");
            let output = shell.args(["-c", run]).arg(this).arg(name).env(LIMITED, "1").output();
            let output = output.expect("there is a shell");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let mut part = Part::new(&folder.path().join("file")).expect("it is a file");
        for _ in 0..2 {
            let note = Note::new("a".into(), "a".into(), 0, None, "\"1\"".into());
            let error = part.keep(note).expect_err("nothing can be written");
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
            assert!(part.note().is_none() && !folder.path().join("file.part.from").exists());
        }
    }
}
