//! The hash cache: content information of both versions, in a file for each file that is served.
//!
//! ```text
//! magic, state of the file, two lengths, path    so that an entry is of this very file in this very state
//! content information 1.0
//! content information 2.0
//! tag                                            made with the server secret key: of this server, and whole
//! ```
//!
//! An entry is complete when it appears. It holds segment secrets: its owner alone may read it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use peerdist_core::content::{Info, InfoSink, InfoSource, InfoUnreadable, InfoUnwritable, server_secret};
use peerdist_core::crypto::{Crypto as _, HashAlgorithm, Secret, SoftCrypto};
use peerdist_core::encoding::InfoVersion;
use peerdist_hal::file::InfoFile;
use tempfile::NamedTempFile;

use super::files::{State, os_string};
use crate::crypto::FastCrypto;

/// What an entry begins with: the kind of file, and the version of its form.
const MAGIC: &[u8; 16] = b"peerdist hashes1";

/// Bytes of an entry before the path: the magic, the state, and three lengths.
const HEAD_BYTES: usize = MAGIC.len() + 4 * 8 + 3 * 8;

/// Bytes of the tag at the end: of HMAC-SHA-256.
const TAG_BYTES: usize = 32;

/// The algorithm of tags and names.
const TAG: HashAlgorithm = HashAlgorithm::Sha256;

/// What parts tags from whatever else is made with the server secret, and from names.
const TAG_LABEL: &[u8] = b"peerdist hash cache: entry";
const NAME_LABEL: &[u8] = b"peerdist hash cache: name";

/// What names of entries end with, and those of entries that are not complete begin with.
const SUFFIX: &str = ".hashes";
const UNFINISHED: &str = ".peerdist-";

/// The file that is locked while a server uses the folder.
const LOCK: &str = "lock";

/// Entries that are kept open: they are not checked again, and nobody can change them unseen.
const MAX_OPEN: usize = 128;

/// Bytes of the longest path that is believed before the tag is checked: systems have 4 KiB at most, or 32.
const MAX_PATH_BYTES: u64 = 64 * 1_024;

/// Bytes that are checked at a time.
const PIECE_BYTES: usize = 64 * 1_024;

/// A folder of content information, which one server uses at a time.
pub struct HashCache {
    folder: PathBuf,
    /// What tags and names are made with.
    key: Secret,
    max_bytes: u64,
    /// Of all entries; locked while one appears or goes.
    bytes: Mutex<u64>,
    open: Mutex<Open>,
    _lock: File,
}

#[derive(Default)]
struct Open {
    entries: HashMap<PathBuf, (Arc<Entry>, u64)>,
    /// Counts uses, by which the one is found that is longest ago.
    uses: u64,
}

/// Content information of a file in one state.
pub struct Entry {
    state: State,
    file: File,
    v1: Range<u64>,
    v2: Range<u64>,
}

impl HashCache {
    /// Takes a folder, which should be its owner's alone, for a server with this secret key; of `max_bytes` in all, as
    /// far as entries can be removed for it. What a server that was killed has not finished is removed.
    pub fn open(folder: &Path, secret_key: &[u8], max_bytes: u64) -> io::Result<Self> {
        let lock = File::options().create(true).write(true).truncate(false).open(folder.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another server uses it")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        let key = server_secret(&mut SoftCrypto, TAG, secret_key);
        let cache = Self {
            folder: folder.into(),
            key,
            max_bytes,
            bytes: Mutex::default(),
            open: Mutex::default(),
            _lock: lock,
        };
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path())?;
            }
        }
        *cache.counted() = cache.listed()?.iter().map(|(_, len, _)| len).sum();
        Ok(cache)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes of all entries.
    pub fn bytes(&self) -> u64 {
        *self.counted()
    }

    /// Bytes that it may have.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// The content information of the file at `path` in this state, if it is here and whole.
    pub fn get(&self, path: &Path, state: &State) -> Option<Arc<Entry>> {
        let mut open = self.opened();
        open.uses += 1;
        let now = open.uses;
        match open.entries.get_mut(path) {
            Some((entry, used)) if entry.state == *state => {
                *used = now;
                return Some(entry.clone());
            }
            Some(_) => _ = open.entries.remove(path),
            None => {}
        }
        // Checking a long one takes its time.
        drop(open);
        let file = File::open(self.place(path)).ok()?;
        let entry = Arc::new(self.checked(file, path, state)?);
        self.keep(path, entry.clone());
        Some(entry)
    }

    /// Whether there seems to be content information of the file at `path` in this state: only its head is
    /// looked at.
    pub fn seems_here(&self, path: &Path, state: &State) -> bool {
        let head = File::open(self.place(path)).and_then(|mut file| {
            let mut head = [0; HEAD_BYTES];
            file.read_exact(&mut head).map(|()| head)
        });
        head.is_ok_and(|head| Head::parse(&head).is_some_and(|head| head.state == *state))
    }

    /// Whether there is room for up to `info_bytes` of content information of the file at `path` without that of
    /// another having to go.
    pub fn has_room(&self, path: &Path, info_bytes: u64) -> bool {
        let own = (HEAD_BYTES + path.as_os_str().len() + TAG_BYTES) as u64;
        let old = fs::metadata(self.place(path)).map_or(0, |metadata| metadata.len());
        let others = self.bytes().saturating_sub(old);
        others.saturating_add(own).saturating_add(info_bytes) <= self.max_bytes
    }

    /// Removes the entries that are of no use any more: those of files that `is_there` does not find in the
    /// state that they describe, and those of another key.
    pub fn sweep(&self, is_there: impl Fn(&Path, &State) -> bool) -> io::Result<()> {
        for (place, ..) in self.listed()? {
            let named = named(&place).filter(|(path, _)| self.place(path) == place);
            if named.as_ref().is_none_or(|(path, state)| !is_there(path, state)) {
                self.remove(&place)?;
                named.and_then(|(path, _)| self.opened().entries.remove(&path));
            }
        }
        Ok(())
    }

    /// Makes an entry of the file at `path` in this state: `make` writes content information of each version
    /// to a sink, and returns its bytes. `len_v1` is the number of bytes of that of version 1.0.
    pub fn put<E: From<io::Error>>(
        &self,
        path: &Path,
        state: State,
        len_v1: u64,
        make: impl FnOnce(&mut Sink, &mut Sink) -> Result<u64, E>,
    ) -> Result<(), E> {
        let path_bytes = path.as_os_str().as_encoded_bytes();
        let mut temporary = NamedTempFile::with_prefix_in(UNFINISHED, &self.folder)?;
        let start = (HEAD_BYTES + path_bytes.len()) as u64;
        let sink = |start| Ok::<_, io::Error>(Sink { file: InfoFile::new(temporary.reopen()?)?, start });
        let (mut v1, mut v2) = (sink(start)?, sink(start + len_v1)?);
        let len_v2 = make(&mut v1, &mut v2)?;
        let head = Head { state, len_v1, len_v2, len_path: path_bytes.len() as u64 };
        let end = start + len_v1 + len_v2;
        temporary.write_all(&head.emit())?;
        temporary.write_all(path_bytes)?;
        let file = temporary.as_file_mut();
        file.set_len(end)?;
        file.rewind()?;
        let tag = self.tag(file, end)?;
        file.write_all(tag.expose())?;
        // Or else, after a loss of power, the name could be there without the bytes.
        file.sync_data()?;

        let place = self.place(path);
        let mut bytes = self.counted();
        let old = fs::metadata(&place).map_or(0, |metadata| metadata.len());
        let file = temporary.persist(&place).map_err(|error| error.error)?;
        *bytes = bytes.saturating_sub(old) + end + TAG_BYTES as u64;
        drop(bytes);
        self.keep(path, Arc::new(Entry { state, file, v1: start..start + len_v1, v2: start + len_v1..end }));
        self.make_room(&place)?;
        Ok(())
    }

    /// Forgets the entry of the file at `path`, which cannot be read.
    pub fn forget(&self, path: &Path) {
        self.opened().entries.remove(path);
        // What cannot be removed stays, and is found broken once more.
        _ = self.remove(&self.place(path));
    }

    /// Removes all entries, and says how many.
    pub fn clear(&self) -> io::Result<u64> {
        self.opened().entries.clear();
        let mut cleared = 0;
        for (place, ..) in self.listed()? {
            cleared += u64::from(self.remove(&place)?);
        }
        Ok(cleared)
    }

    /// Entries, whoever made them.
    pub fn count(&self) -> u64 {
        self.listed().map_or(0, |listed| listed.len() as u64)
    }

    /// Removes the oldest entries until there is room, but not that at `newest`.
    fn make_room(&self, newest: &Path) -> io::Result<()> {
        if self.bytes() <= self.max_bytes {
            return Ok(());
        }
        let mut listed = self.listed()?;
        listed.sort_by_key(|(_, _, modified)| *modified);
        for (place, ..) in listed.iter().filter(|(place, ..)| place != newest) {
            if self.bytes() <= self.max_bytes {
                break;
            }
            self.remove(place)?;
            self.opened().entries.retain(|path, _| self.place(path) != *place);
        }
        Ok(())
    }

    /// Removes an entry, unless another thread was first.
    fn remove(&self, place: &Path) -> io::Result<bool> {
        let mut bytes = self.counted();
        let Some(metadata) = found(fs::metadata(place))? else { return Ok(false) };
        let removed = found(fs::remove_file(place))?.is_some();
        if removed {
            *bytes = bytes.saturating_sub(metadata.len());
        }
        Ok(removed)
    }

    fn listed(&self) -> io::Result<Vec<(PathBuf, u64, SystemTime)>> {
        let mut listed = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(SUFFIX) {
                // Another thread may have removed it.
                let Some(metadata) = found(entry.metadata())? else { continue };
                listed.push((entry.path(), metadata.len(), metadata.modified()?));
            }
        }
        Ok(listed)
    }

    fn counted(&self) -> MutexGuard<'_, u64> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, path: &Path, entry: Arc<Entry>) {
        let mut open = self.opened();
        open.uses += 1;
        let now = open.uses;
        open.entries.insert(path.into(), (entry, now));
        if open.entries.len() > MAX_OPEN {
            let oldest = open.entries.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(path, _)| path.clone()) {
                open.entries.remove(&oldest);
            }
        }
    }

    /// Where the entry of the file at `path` is. The name tells nobody else which file that is.
    fn place(&self, path: &Path) -> PathBuf {
        let name = self.mac(&[NAME_LABEL, path.as_os_str().as_encoded_bytes()]);
        let hex: String = name.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(hex + SUFFIX)
    }

    fn mac(&self, parts: &[&[u8]]) -> Secret {
        SoftCrypto.hmac(TAG, self.key.expose(), parts)
    }

    /// The tag of the next `len` bytes.
    fn tag(&self, file: &mut File, len: u64) -> io::Result<Secret> {
        let mut state = FastCrypto.hash_start(TAG);
        let mut piece = zeroize::Zeroizing::new(vec![0; PIECE_BYTES]);
        let mut left = len;
        while left > 0 {
            let piece = &mut piece[..left.min(PIECE_BYTES as u64) as usize];
            file.read_exact(piece)?;
            FastCrypto.hash_update(&mut state, piece);
            left -= piece.len() as u64;
        }
        Ok(self.mac(&[TAG_LABEL, FastCrypto.hash_finish(state).as_bytes()]))
    }

    /// The entry in `file`, if it is one of ours, whole, and of this file in this state.
    fn checked(&self, mut file: File, path: &Path, state: &State) -> Option<Entry> {
        let mut head = [0; HEAD_BYTES];
        file.read_exact(&mut head).ok()?;
        let head = Head::parse(&head).filter(|head| head.state == *state)?;
        let path = path.as_os_str().as_encoded_bytes();
        if head.len_path != path.len() as u64 {
            return None;
        }
        let start = HEAD_BYTES as u64 + head.len_path;
        let middle = start.checked_add(head.len_v1)?;
        let end = middle.checked_add(head.len_v2)?;
        if file.metadata().ok()?.len() != end.checked_add(TAG_BYTES as u64)? {
            return None;
        }
        let mut own = vec![0; path.len()];
        file.read_exact(&mut own).ok()?;
        file.rewind().ok()?;
        let tag = self.tag(&mut file, end).ok()?;
        let mut found = [0; TAG_BYTES];
        file.read_exact(&mut found).ok()?;
        if own != path || Secret::from_slice(&found)? != tag {
            return None;
        }
        let entry = Entry { state: *state, file, v1: start..middle, v2: middle..end };
        [InfoVersion::V1, InfoVersion::V2]
            .iter()
            .all(|version| entry.info(*version).is_some())
            .then_some(entry)
    }
}

/// What is told of a file; `None` if it is not there.
fn found<T>(told: io::Result<T>) -> io::Result<Option<T>> {
    match told {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        told => told.map(Some),
    }
}

/// The file that an entry is of, and its state, as the entry has it: unchecked.
fn named(place: &Path) -> Option<(PathBuf, State)> {
    let mut file = File::open(place).ok()?;
    let mut head = [0; HEAD_BYTES];
    file.read_exact(&mut head).ok()?;
    let head = Head::parse(&head).filter(|head| head.len_path <= MAX_PATH_BYTES)?;
    let mut path = vec![0; head.len_path as usize];
    file.read_exact(&mut path).ok()?;
    Some((os_string(path)?.into(), head.state))
}

impl Entry {
    /// The content information in a version, and its checked view; `None` if it cannot be read.
    pub fn info(&self, version: InfoVersion) -> Option<(Source, Info)> {
        let range = match version {
            InfoVersion::V1 => &self.v1,
            InfoVersion::V2 => &self.v2,
        };
        let file = self.file.try_clone().and_then(InfoFile::new).ok()?;
        let source = Source { file, range: range.clone() };
        let info = Info::parse(&source).ok()?;
        (info.range() == (0..self.state.len)).then_some((source, info))
    }
}

/// The first bytes of an entry.
struct Head {
    state: State,
    len_v1: u64,
    len_v2: u64,
    len_path: u64,
}

impl Head {
    fn emit(&self) -> [u8; HEAD_BYTES] {
        let State { len, modified, changed, file } = self.state;
        let words = [len, modified as u64, changed as u64, file, self.len_v1, self.len_v2, self.len_path];
        let mut head = [0; HEAD_BYTES];
        let (magic, rest) = head.split_at_mut(MAGIC.len());
        magic.copy_from_slice(MAGIC);
        for (bytes, word) in rest.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        head
    }

    fn parse(head: &[u8; HEAD_BYTES]) -> Option<Self> {
        let (words, []) = head.strip_prefix(MAGIC)?.as_chunks() else { return None };
        let &[len, modified, changed, file, len_v1, len_v2, len_path] = words else { return None };
        let word = u64::from_le_bytes;
        let state = State {
            len: word(len),
            modified: i64::from_le_bytes(modified),
            changed: i64::from_le_bytes(changed),
            file: word(file),
        };
        Some(Self { state, len_v1: word(len_v1), len_v2: word(len_v2), len_path: word(len_path) })
    }
}

/// Content information of one version, in an entry.
pub struct Source {
    file: InfoFile,
    range: Range<u64>,
}

impl InfoSource for Source {
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.len());
        end.ok_or(InfoUnreadable { offset })?;
        self.file.read_at(self.range.start + offset, buf).map_err(|_| InfoUnreadable { offset })
    }
}

/// Takes content information of one version for an entry.
pub struct Sink {
    file: InfoFile,
    start: u64,
}

impl InfoSink for Sink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), InfoUnwritable> {
        let at = self.start.checked_add(offset).ok_or(InfoUnwritable { offset })?;
        self.file.write_at(at, bytes).map_err(|_| InfoUnwritable { offset })
    }
}

impl Sink {
    /// Why it could not be written to last.
    pub fn take_error(&self) -> Option<io::Error> {
        self.file.take_error()
    }
}

#[cfg(test)]
mod tests {
    use peerdist_core::content::segmenter::Segmentation;
    use peerdist_core::content::v1::info_len;

    use super::*;
    use crate::publish::{Layout, Order, publish};

    const STATE: State = State { len: 100_000, modified: -1, changed: 2, file: 3 };

    fn open(folder: &Path, key: &[u8], max_bytes: u64) -> HashCache {
        HashCache::open(folder, key, max_bytes).expect("a writable folder")
    }

    fn put(cache: &HashCache, path: &str, state: State) {
        let content = vec![7; state.len as usize];
        let len_v1 = info_len(TAG, state.len).expect("not empty");
        let made = cache.put(Path::new(path), state, len_v1, |v1, v2| {
            let make = |layout, sink: &mut Sink| {
                let order = Order { layout, key: b"key", workers: 1, watch: &mut |_| {} };
                let info = publish(&mut &content[..], Some(state.len), order, sink);
                info.expect("a disk with room").expect("not empty").encoded_len()
            };
            assert_eq!(make(Layout::V1(TAG), v1), len_v1);
            Ok::<_, io::Error>(make(Layout::V2(Segmentation::ContentDefined), v2))
        });
        made.expect("a disk with room");
    }

    fn entry_of(cache: &HashCache, path: &str) -> Option<Arc<Entry>> {
        cache.get(Path::new(path), &STATE)
    }

    #[test]
    fn entries_outlive_the_server_that_made_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = open(folder.path(), b"key", u64::MAX);
        assert!(entry_of(&cache, "a/b").is_none());
        put(&cache, "a/b", STATE);
        fs::write(folder.path().join(".peerdist-left"), "over").expect("it is ours");
        assert!(HashCache::open(folder.path(), b"key", 1).is_err(), "it is in use");
        drop(cache);
        let cache = open(folder.path(), b"key", u64::MAX);
        assert!(!folder.path().join(".peerdist-left").exists());
        let entry = entry_of(&cache, "a/b").expect("it is there");
        for version in [InfoVersion::V1, InfoVersion::V2] {
            let (source, info) = entry.info(version).expect("readable");
            assert_eq!((info.range(), info.encoded_len()), (0..STATE.len, source.len()));
        }
        assert!(cache.seems_here(Path::new("a/b"), &STATE));
        // Another state, another file, another server.
        for state in [
            State { len: 99_999, ..STATE },
            State { modified: 0, ..STATE },
            State { changed: 0, ..STATE },
            State { file: 0, ..STATE },
        ] {
            assert!(cache.get(Path::new("a/b"), &state).is_none());
            assert!(!cache.seems_here(Path::new("a/b"), &state));
        }
        assert!(entry_of(&cache, "a/c").is_none());
        let (bytes, count) = (cache.bytes(), cache.count());
        drop(cache);
        let cache = open(folder.path(), b"other", u64::MAX);
        assert!(entry_of(&cache, "a/b").is_none());
        assert_eq!((cache.bytes(), cache.count(), cache.clear().ok()), (bytes, count, Some(1)));
        assert_eq!((cache.bytes(), cache.count()), (0, 0));
    }

    #[test]
    fn what_is_broken_is_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = open(folder.path(), b"key", u64::MAX);
        put(&cache, "a", STATE);
        let place = cache.place(Path::new("a"));
        let whole = fs::read(&place).expect("it is there");
        let reads = |bytes: &[u8]| {
            cache.opened().entries.clear();
            fs::write(&place, bytes).expect("it is ours");
            entry_of(&cache, "a").is_some()
        };
        assert!(reads(&whole));
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(!reads(&flipped), "{at}");
            assert!(!reads(&whole[..at]), "{at}");
        }
        assert!(!reads(&[&whole[..], b"x"].concat()));
        // The entry of another file, under this one's name.
        put(&cache, "b", STATE);
        let other = fs::read(cache.place(Path::new("b"))).expect("it is there");
        assert!(!reads(&other));
        assert!(reads(&whole));
        cache.forget(Path::new("a"));
        assert!(entry_of(&cache, "a").is_none() && cache.count() == 1);
    }

    #[test]
    fn the_oldest_make_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = open(folder.path(), b"key", u64::MAX);
        put(&cache, "0", STATE);
        let one = cache.bytes();
        drop(cache);
        let cache = open(folder.path(), b"key", 3 * one);
        for (name, age) in [("0", 30), ("1", 20), ("2", 10), ("3", 0)] {
            put(&cache, name, STATE);
            let file = File::options().write(true).open(cache.place(Path::new(name))).expect("it is there");
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).expect("it is ours");
        }
        let kept = ["0", "1", "2", "3"].map(|name| entry_of(&cache, name).is_some());
        assert_eq!((kept, cache.bytes()), ([false, true, true, true], 3 * one));
        // One that is as large as all stays alone.
        drop(cache);
        let cache = open(folder.path(), b"key", 1);
        put(&cache, "4", STATE);
        assert_eq!((cache.count(), entry_of(&cache, "4").is_some()), (1, true));
    }

    #[test]
    fn room_is_made_by_what_is_of_no_use() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = open(folder.path(), b"other", u64::MAX);
        put(&cache, "of another key", STATE);
        drop(cache);
        let cache = open(folder.path(), b"key", u64::MAX);
        for name in ["here", "gone", "changed"] {
            put(&cache, name, STATE);
        }
        cache.sweep(|path, state| path == Path::new("here") && *state == STATE).expect("it is ours");
        let kept = ["here", "gone", "changed"].map(|name| entry_of(&cache, name).is_some());
        assert_eq!((kept, cache.count()), ([true, false, false], 1));
        let one = cache.bytes();
        drop(cache);
        // An entry that takes the place of one needs no more room.
        let cache = open(folder.path(), b"key", one);
        let info = one - (HEAD_BYTES + "here".len() + TAG_BYTES) as u64;
        let room = |path: &str, bytes| cache.has_room(Path::new(path), bytes);
        assert!(room("here", info) && !room("here", info + 1) && !room("gone", 0));
        cache.clear().expect("it is ours");
        assert!(room("gone", info) && !room("gone", info + 1) && !room("gone", u64::MAX));
    }

    #[test]
    fn what_another_thread_removes_first_is_no_fault() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = open(folder.path(), b"key", u64::MAX);
        for clears in [true, false] {
            ["a", "b"].iter().for_each(|name| put(&cache, name, STATE));
            let swept = cache.sweep(|_, _| {
                match clears {
                    true => _ = cache.clear().expect("it is ours"),
                    false => ["a", "b"].iter().for_each(|name| cache.forget(Path::new(name))),
                }
                false
            });
            assert!(swept.is_ok(), "{swept:?}");
            assert_eq!((cache.bytes(), cache.count()), (0, 0));
        }
    }

    #[test]
    fn bytes_are_right_whoever_comes_and_goes() {
        const ROUNDS: usize = 100;
        let state = State { len: 10, ..STATE };
        let folder = tempfile::tempdir().expect("a folder");
        let cache = open(folder.path(), b"key", u64::MAX);
        put(&cache, "a", state);
        let one = cache.bytes();
        drop(cache);
        let cache = &open(folder.path(), b"key", one);
        std::thread::scope(|scope| {
            for name in ["a", "b"] {
                scope.spawn(move || (0..ROUNDS).for_each(|_| put(cache, name, state)));
            }
            scope.spawn(|| (0..ROUNDS).for_each(|_| cache.forget(Path::new("a"))));
            scope.spawn(|| (0..ROUNDS).for_each(|_| _ = cache.clear().expect("it is ours")));
            scope.spawn(|| (0..ROUNDS).for_each(|_| cache.sweep(|_, _| false).expect("it is ours")));
        });
        let listed = cache.listed().expect("it is ours");
        assert_eq!(cache.bytes(), listed.iter().map(|(_, len, _)| len).sum::<u64>());
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = open(folder.path(), b"key", u64::MAX);
        let failed = cache.put(Path::new("a"), STATE, 100, |v1, _| {
            v1.write_at(0, b"secret").expect("a disk with room");
            Err(io::Error::other("changed"))
        });
        assert!(failed.is_err() && cache.bytes() == 0);
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1, "the lock alone");
    }
}
