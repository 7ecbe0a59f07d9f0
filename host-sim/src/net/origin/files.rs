//! The files that are served: by which paths, in which state, and none outside of the folder.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cap_fs_ext::OpenOptionsSyncExt as _;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, ReadDir};

use crate::net::percent;

/// How old a state must be before it counts as one that no other can be mistaken for: the clocks of file
/// systems are as coarse as two seconds (FAT), and what is written within one tick shows no difference.
pub const SETTLE: Duration = Duration::from_secs(2);

/// Files dated before this, a day after the clocks begin, have no date: tools that make the same output twice
/// write 0 or 1 into whatever they make.
const FIRST_DATE: i64 = 86_400 * 1_000_000_000;

/// A folder whose files are served, or a single file.
///
/// Paths are followed by the system itself, which never leaves the folder on the way, by links neither, even
/// if somebody changes the folder meanwhile. Links that stay within are followed.
pub struct Root {
    dir: Dir,
    /// The name of the only file that is served.
    only: Option<OsString>,
    path: PathBuf,
}

/// Why a path is not served.
#[derive(Debug)]
pub enum Refusal {
    /// It is not a path, or leads upwards.
    Malformed,
    /// There is nothing.
    Missing,
    /// What is there is not served, for this reason.
    Forbidden(&'static str),
    /// The system fails.
    Failed(io::Error),
}

/// A file that is open, and its state when it was opened.
pub struct Opened {
    /// The file.
    pub file: File,
    /// Its state.
    pub state: State,
}

/// By what the bytes of a file are known to be the same as before, however often another takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Bytes.
    pub len: u64,
    /// When they were written last, in nanoseconds since 1970.
    pub modified: i64,
    /// When anything about the file has changed last, where the system keeps it: nobody can set it back.
    pub changed: i64,
    /// Which file it is, where the system has numbers for them.
    pub file: u64,
}

impl Root {
    /// Takes a folder, or a single file of it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let metadata = fs::metadata(&path)?;
        if metadata.is_dir() {
            // A folder may be opened that nothing can be read from.
            fs::read_dir(&path)?;
            return Ok(Self { dir: Dir::open_ambient_dir(&path, ambient_authority())?, only: None, path });
        }
        match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) if metadata.is_file() => Ok(Self {
                dir: Dir::open_ambient_dir(folder, ambient_authority())?,
                only: Some(name.into()),
                path: folder.into(),
            }),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a folder nor a regular file")),
        }
    }

    /// The folder, as an absolute path without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether `path`, which is there, is served or lies in what is.
    pub fn serves(&self, path: &Path) -> io::Result<bool> {
        let path = fs::canonicalize(path)?;
        Ok(match &self.only {
            Some(only) => path == self.path.join(only),
            None => path.starts_with(&self.path),
        })
    }

    /// Where in the folder the path of a URL leads, if it is one that can be served.
    pub fn find(&self, url_path: &str) -> Result<PathBuf, Refusal> {
        self.joined(url_path, |segment| percent::decode(segment.as_bytes()))
    }

    /// The same for a path that has no escapes any more.
    pub fn find_decoded(&self, path: &str) -> Result<PathBuf, Refusal> {
        self.joined(path, |segment| Some(segment.into()))
    }

    fn joined(&self, path: &str, decode: fn(&str) -> Option<Vec<u8>>) -> Result<PathBuf, Refusal> {
        let path = path.strip_prefix('/').ok_or(Refusal::Malformed)?;
        let mut found = PathBuf::new();
        for segment in path.split('/') {
            let name = decode(segment).ok_or(Refusal::Malformed)?;
            match &name[..] {
                // The folder itself, another with a slash behind it, or nothing that this path is the only one of.
                b"" => return Err(Refusal::Missing),
                // Clients take these out before they ask, so whoever sends them is up to something.
                b"." | b".." => return Err(Refusal::Malformed),
                name if name.iter().any(|byte| b"/\0".contains(byte)) => return Err(Refusal::Malformed),
                // Elsewhere these part names, drives and streams.
                name if !cfg!(unix) && name.iter().any(|byte| b"\\:".contains(byte)) => {
                    return Err(Refusal::Malformed);
                }
                _ => found.push(os_string(name).ok_or(Refusal::Missing)?),
            }
        }
        match &self.only {
            Some(only) if found != Path::new(only) => Err(Refusal::Missing),
            _ => Ok(found),
        }
    }

    /// Opens a file by where it is in the folder.
    pub fn open_file(&self, path: &Path) -> Result<Opened, Refusal> {
        // Opening some devices does something already.
        let metadata = match self.dir.metadata(path).map_err(refusal) {
            Err(Refusal::Failed(_)) if self.is_link(path) => {
                return Err(Refusal::Forbidden("a link that leads nowhere"));
            }
            other => other?,
        };
        is_served(metadata.is_file(), metadata.is_dir())?;
        // Should it be another by now: a pipe keeps nobody waiting.
        let file = self.dir.open_with(path, OpenOptions::new().read(true).nonblock(true)).map_err(refusal)?;
        let file = file.into_std();
        let metadata = file.metadata().map_err(refusal)?;
        is_served(metadata.is_file(), metadata.is_dir())?;
        Ok(Opened { state: State::from(&metadata), file })
    }

    fn is_link(&self, path: &Path) -> bool {
        self.dir.symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
    }

    /// All files below the folder, but for links: they lead to files that are there anyway, or round in circles.
    pub fn walk(&self) -> Walk {
        match &self.only {
            Some(only) => Walk { only: Some(only.into()), folders: Vec::new() },
            None => {
                // A folder that cannot be read has no files to hash.
                let folders = self.dir.entries().map(|entries| (PathBuf::new(), entries));
                Walk { only: None, folders: folders.into_iter().collect() }
            }
        }
    }
}

fn is_served(file: bool, folder: bool) -> Result<(), Refusal> {
    match (file, folder) {
        (true, _) => Ok(()),
        (_, true) => Err(Refusal::Forbidden("a folder")),
        _ => Err(Refusal::Forbidden("not a regular file")),
    }
}

fn refusal(error: io::Error) -> Refusal {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound, PermissionDenied};
    match error.kind() {
        NotFound | NotADirectory | InvalidFilename => Refusal::Missing,
        PermissionDenied => Refusal::Forbidden("not for you"),
        _ => Refusal::Failed(error),
    }
}

/// The name that is written with these bytes.
#[cfg(unix)]
pub fn os_string(name: Vec<u8>) -> Option<OsString> {
    Some(std::os::unix::ffi::OsStringExt::from_vec(name))
}

/// The name that is written with these bytes, if it is one.
#[cfg(not(unix))]
pub fn os_string(name: Vec<u8>) -> Option<OsString> {
    String::from_utf8(name).ok().map(OsString::from)
}

/// Files, one after the other.
pub struct Walk {
    only: Option<PathBuf>,
    folders: Vec<(PathBuf, ReadDir)>,
}

impl Iterator for Walk {
    type Item = PathBuf;

    fn next(&mut self) -> Option<PathBuf> {
        if let Some(only) = self.only.take() {
            return Some(only);
        }
        loop {
            let (folder, entries) = self.folders.last_mut()?;
            let Some(entry) = entries.next() else {
                self.folders.pop();
                continue;
            };
            // What cannot be read is not hashed; whoever asks for it is told why.
            let Ok(entry) = entry else { continue };
            let path = folder.join(entry.file_name());
            match entry.file_type() {
                Ok(kind) if kind.is_file() => return Some(path),
                Ok(kind) if kind.is_dir() => {
                    if let Ok(entries) = entry.open_dir().and_then(|dir| dir.entries()) {
                        self.folders.push((path, entries));
                    }
                }
                _ => {}
            }
        }
    }
}

impl State {
    /// That of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Self::from(&metadata))
    }

    #[cfg(unix)]
    fn from(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            len: metadata.len(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            file: metadata.ino(),
        }
    }

    #[cfg(not(unix))]
    fn from(metadata: &Metadata) -> Self {
        let modified = metadata.modified().map_or(0, nanoseconds);
        Self { len: metadata.len(), modified, changed: 0, file: 0 }
    }

    /// Whether whatever is written from now on makes another state.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let latest = nanoseconds(now).saturating_sub(SETTLE.as_nanos() as i64);
        // What is dated ahead is not what the system would write now.
        let past = |time: i64| time <= latest || time > nanoseconds(now);
        past(self.modified) && past(self.changed)
    }

    /// Whether a file that is open has the bytes that it had: whatever writes to it moves the one or the other.
    /// A new name, or another file under its old one, only moves the time of its last change.
    pub fn has_bytes_of(&self, other: &Self) -> bool {
        (self.len, self.modified) == (other.len, other.modified)
    }

    /// Whether length and date tell this file from another that had its name before.
    pub fn is_strong(&self, now: SystemTime) -> bool {
        self.modified >= FIRST_DATE && self.is_settled(now)
    }

    /// The entity tag, in its quotes; weak as long as the state may change unseen.
    ///
    /// It is made of what copies of a file have in common, so that servers with the same files can stand for
    /// each other: a client that began with one goes on with another. RFC 9110 8.8.1 wants a strong tag never
    /// to be that of two contents of one URL. Somebody would have to replace a file by one of the same length
    /// and give it, to the nanosecond, the same date: the number of the file and its last change would tell,
    /// but differ on every server. Whoever has content information would find out even so, since that is never
    /// kept by the tag. Where files have no date, the tag is weak.
    pub fn etag(&self, now: SystemTime) -> String {
        let weak = if self.is_strong(now) { "" } else { "W/" };
        format!("{weak}\"{:x}-{:x}\"", self.modified, self.len)
    }

    /// When it was modified, in seconds since 1970.
    pub fn modified_seconds(&self) -> u64 {
        u64::try_from(self.modified / 1_000_000_000).unwrap_or(0)
    }
}

fn nanoseconds(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |before| -before),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |name: &str| fs::write(folder.path().join(name), "x").expect("a writable folder");
        fs::create_dir_all(folder.path().join("root/deep/er")).expect("a writable folder");
        ["outside", "root/a b", "root/deep/é", "root/deep/er/%41"].into_iter().for_each(put);
        folder
    }

    fn opens(root: &Root, path: &str) -> Result<(), Refusal> {
        root.open_file(&root.find(path)?).map(drop)
    }

    #[test]
    fn paths() {
        let folder = folder();
        let root = Root::open(&folder.path().join("root")).expect("a folder");
        for path in ["/a%20b", "/deep/%c3%a9", "/d%65ep/er/%2541"] {
            assert!(opens(&root, path).is_ok(), "{path}");
        }
        for path in ["/", "//a%20b", "/a%20b/", "/a%20b/x", "/deep//er", "/b", "/\\..\\outside", "/%ff"] {
            assert!(matches!(opens(&root, path), Err(Refusal::Missing)), "{path}");
        }
        for path in [
            "",
            "a%20b",
            "/../outside",
            "/deep/../../outside",
            "/%2e%2e/outside",
            "/.%2E/outside",
            "/./a%20b",
            "/..%2foutside",
            "/deep%2fer",
            "/a%00b",
            "/a%2",
            "/%zz",
        ] {
            assert!(matches!(opens(&root, path), Err(Refusal::Malformed)), "{path}");
        }
        assert!(matches!(opens(&root, "/deep"), Err(Refusal::Forbidden("a folder"))));
        let long = format!("/{}", "x".repeat(5_000));
        assert!(matches!(opens(&root, &long), Err(Refusal::Missing)));
    }

    #[cfg(unix)]
    #[test]
    fn links_and_special_files() {
        use std::os::unix::fs::symlink;
        use std::os::unix::net::UnixListener;

        let folder = folder();
        let at = |name: &str| folder.path().join("root").join(name);
        let outside = folder.path().join("outside");
        for (name, end) in [
            ("up", Path::new("../outside")),
            ("absolute", &outside),
            ("folder", Path::new("..")),
            ("round", Path::new("round")),
            ("within", Path::new("deep/../deep/é")),
            ("null", Path::new("/dev/null")),
        ] {
            symlink(end, at(name)).expect("a writable folder");
        }
        let _socket = UnixListener::bind(at("socket")).expect("a short path");
        let status = std::process::Command::new("mkfifo").arg(at("pipe")).status().expect("it is there");
        assert!(status.success());
        let root = Root::open(&folder.path().join("root")).expect("a folder");
        assert!(opens(&root, "/within").is_ok());
        for path in ["/up", "/absolute", "/folder/outside", "/null", "/socket", "/pipe", "/round"] {
            assert!(
                matches!(opens(&root, path), Err(Refusal::Forbidden(_))),
                "{path}: {:?}",
                opens(&root, path)
            );
        }
        let found: BTreeSet<PathBuf> = root.walk().collect();
        assert_eq!(found, ["a b", "deep/é", "deep/er/%41"].map(PathBuf::from).into());
    }

    #[test]
    fn a_single_file() {
        let folder = folder();
        let root = Root::open(&folder.path().join("root/a b")).expect("a file");
        assert!(opens(&root, "/a%20b").is_ok());
        assert!(matches!(opens(&root, "/deep/%c3%a9"), Err(Refusal::Missing)));
        assert_eq!(root.walk().collect::<Vec<_>>(), [PathBuf::from("a b")]);
        assert!(Root::open(&folder.path().join("absent")).is_err());
    }

    #[test]
    fn states() {
        let folder = folder();
        let path = folder.path().join("outside");
        let file = File::options().write(true).open(&path).expect("it is there");
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        file.set_modified(at(1_000)).expect("it is ours");
        let state = State::of(&file).expect("readable");
        assert_eq!((state.len, state.modified_seconds()), (1, 1_000));
        let later = SystemTime::now() + 2 * SETTLE;
        assert!(state.is_settled(later));
        assert_eq!(state.etag(later), "W/\"e8d4a51000-1\"", "1970 is no date");
        // The time of a change cannot be set back, where there is one.
        assert_eq!(state.is_settled(SystemTime::now()), !cfg!(unix));
        file.set_modified(at(1_001)).expect("it is ours");
        assert_ne!(State::of(&file).expect("readable"), state);
        // A copy has the same tag: it is another file, changed at another time.
        let dated = State { modified: 1_700_000_000_123_456_789, ..state };
        assert_eq!(dated.etag(later), "\"17979cfe3d85cd15-1\"");
        assert_eq!(State { changed: 1, file: 2, ..dated }.etag(later), dated.etag(later));
        for other in [State { modified: dated.modified + 1, ..dated }, State { len: 2, ..dated }] {
            assert_ne!(other.etag(later), dated.etag(later));
        }
        let fresh = State { modified: nanoseconds(SystemTime::now()), ..state };
        assert!(!fresh.is_settled(SystemTime::now()) && fresh.etag(SystemTime::now()).starts_with("W/\""));
    }
}
