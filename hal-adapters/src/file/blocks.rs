//! A [`Store`] over a directory, with one file for each block.

mod disk;
mod index;
mod opened;

use core::cell::{Cell, RefCell};
use core::fmt;
use core::ops::Range;
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs::{self, DirEntry, File, OpenOptions};
use std::io::{self, Read};
use std::path::{self, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::vec;
use std::vec::Vec;

use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{CipherAlgorithm, Seal};
use peerdist_core::store::verify::Verified;
use peerdist_core::store::{BlockId, MAX_AGE, ReserveError, SlotId, Store, StoreError, Stored};
use peerdist_core::time::{self, Instant};

use self::disk::{HEADER_BYTES, Header, MAX_LEN, PAGE_BYTES, file_name, parse_file_name};
use self::index::{Block, Index};
use self::opened::Opened;
use super::{Lock, OpenError, lock, private, read_exact_at, write_all_at};

/// Blocks kept at once: 256 GiB of full ones. The index takes about 140 bytes of memory for each
/// that is there.
pub const MAX_BLOCKS: usize = 1 << 22;

/// Blocks reserved at once. A node has one for each that it fetches or takes in; each is in memory
/// until it is committed, 128 KiB at most.
pub const MAX_RESERVED: usize = 64;

/// The file that is locked while a directory is in use. It stays, for whoever removes a lock file
/// may remove the next one's.
const LOCK_NAME: &str = "peerdist-block.lock";

/// What file systems give at once: a file of one byte takes as much.
const DISK_BLOCK: u64 = 4_096;

/// How many seconds old the time of last use in a file may become: the order of use need not
/// survive by the second, and each update costs the disk a write.
const USE_STAMP_SECONDS: u64 = 60 * 60;

/// Files of blocks that are too old that go with one call. When a clock is set, all may have become
/// so, and to remove a file can take a disk a millisecond.
const EXPIRED_AT_ONCE: usize = 16;

/// How much is kept, how long and how well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes that the files take at most, each rounded up to 4 KiB.
    pub max_size: u64,
    /// How long a block is kept after it was committed.
    pub max_age: Duration,
    /// Whether a committed block survives a loss of power, too: `commit` then waits for the disk,
    /// twice for each block. Without it, what was committed in the last seconds before may be
    /// gone, or be found [`StoreError::Damaged`] when it is read. A process that is killed loses
    /// nothing either way.
    pub sync: bool,
}

impl Options {
    /// Up to `max_size` bytes, for [`MAX_AGE`], safe against loss of power.
    pub const fn new(max_size: u64) -> Self {
        Self { max_size, max_age: Duration::from_micros(MAX_AGE.micros()), sync: true }
    }
}

/// A directory of blocks, which outlive this value and the process.
///
/// Blocks are kept as they travel, encrypted; their keys are elsewhere. A block comes into memory, and
/// is written at once when it is committed, under another name until it is whole; what has that name
/// is removed when the directory is opened the next time. So is what is damaged, as far as the header
/// tells; the rest is checked, page by page, when it is read. After a file could not be written,
/// blocks have their room on the disk before they come, so that nobody fetches for a disk that is full.
/// Opening reads the directory and 256 bytes of each block, at most [`MAX_BLOCKS`] times.
///
/// The time comes from outside, in seconds since the beginning of 1970, and goes on by what
/// [`Store::set_time`] tells; where the clock is set, [`set_now`](Self::set_now) follows it. A block
/// that was committed later than now is new; one that was committed before the clock was right has the
/// age that the right clock gives it, and may go at once.
pub struct FileBlocks {
    directory: PathBuf,
    options: Options,
    clock: Cell<Clock>,
    index: Index,
    /// Blocks that come, by row.
    reserved: BTreeMap<u32, Pending>,
    opened: Opened,
    /// A file could not be written: the disk may be full.
    suspect: bool,
    /// What is closed when there are too many open files.
    spare: RefCell<Option<File>>,
    /// Bytes that all files take.
    size: u64,
    counters: Counters,
    error: RefCell<Option<FileError>>,
    _lock: Lock,
}

/// What became of blocks, since the directory was opened and while it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Removed at opening: not committed when the process before ended.
    pub unfinished: u64,
    /// Removed at opening: not what was written. And reads that found the same.
    pub damaged: u64,
    /// Left as they are at opening, and not found: their files could not be read, which may pass.
    pub unreadable: u64,
    /// Removed because of their age.
    pub expired: u64,
    /// Removed to make room.
    pub evicted: u64,
    /// Blocks that could not be reserved, written or committed, because a file could not.
    pub failed: u64,
}

/// A file that could not be used, and why.
#[derive(Debug)]
pub struct FileError {
    /// Its path.
    pub path: PathBuf,
    /// The reason.
    pub error: io::Error,
}

/// The time of day, which goes on with the time that a [`Store`] is told.
#[derive(Clone, Copy)]
struct Clock {
    /// Seconds of Unix when it was set.
    unix: u64,
    /// What the store had been told last by then.
    set: Option<Instant>,
    /// What it has been told last.
    told: Option<Instant>,
}

impl Clock {
    /// Seconds of Unix at `now`.
    fn at(&self, now: Option<Instant>) -> u64 {
        let passed = now.zip(self.set).map_or(0, |(now, set)| now.since(set).millis() / 1_000);
        self.unix.saturating_add(passed)
    }
}

/// A block that is not committed.
struct Pending {
    /// What its file is to have: [`HEADER_BYTES`], and the block.
    bytes: Vec<u8>,
    /// The file, if its room had to be taken first.
    file: Option<File>,
}

impl Pending {
    fn new(len: u32) -> Self {
        Self { bytes: vec![0; HEADER_BYTES.saturating_add(len as usize)], file: None }
    }

    fn data(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    fn data_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(HEADER_BYTES..).unwrap_or_default()
    }

    fn set_header(&mut self, header: &[u8]) {
        self.bytes.iter_mut().zip(header).for_each(|(to, from)| *to = *from);
    }
}

impl FileBlocks {
    /// Takes `directory`, which must exist and should be its owner's alone, and finds what is in
    /// it at the time `now`. Other people's files in it are not touched.
    pub fn open(directory: impl AsRef<Path>, options: Options, now: u64) -> Result<Self, OpenError> {
        // The process may go to another working directory.
        let directory =
            path::absolute(&directory).map_err(|error| OpenError::Io(directory.as_ref().into(), error))?;
        let lock = lock(&directory, LOCK_NAME)?;
        let mut store = Self {
            directory,
            options,
            clock: Cell::new(Clock { unix: now, set: None, told: None }),
            index: Index::default(),
            reserved: BTreeMap::new(),
            opened: Opened::default(),
            suspect: false,
            spare: RefCell::new(None),
            size: 0,
            counters: Counters::default(),
            error: RefCell::new(None),
            _lock: lock,
        };
        store.load()?;
        store.take_spare();
        store.remove_expired(usize::MAX);
        store.make_room(0);
        Ok(store)
    }

    /// Sets the clock, in seconds of Unix. Blocks that are too old are not found from now on; their
    /// files go, some at a time, with calls that tell the time, reserve or unpin, but for those that
    /// are pinned.
    pub fn set_now(&self, now: u64) {
        let Clock { told, .. } = self.clock.get();
        self.clock.set(Clock { unix: now, set: told, told });
    }

    fn now(&self) -> u64 {
        let clock = self.clock.get();
        clock.at(clock.told)
    }

    /// Bytes that the files take, each rounded up to 4 KiB.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Committed blocks.
    pub fn count(&self) -> usize {
        self.index.len()
    }

    /// Forgets up to `at_most` committed blocks, those first that were not used for longest, but for
    /// those that are pinned, and says how many. To remove a file can take a disk a millisecond.
    pub fn forget(&mut self, at_most: usize) -> usize {
        let loose = self.index.by_use().filter(|&row| self.loose(row).is_some());
        let rows: Vec<u32> = loose.take(at_most).collect();
        rows.iter().for_each(|&row| self.remove(row));
        rows.len()
    }

    /// What became of blocks.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Which file could not be made, written, read or removed last, and why, once.
    pub fn take_error(&self) -> Option<FileError> {
        self.error.take()
    }

    /// Fills the index from the directory.
    fn load(&mut self) -> Result<(), OpenError> {
        let unusable = |error| OpenError::Io(self.directory.clone(), error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(unusable)? {
            let entry = entry.map_err(unusable)?;
            let Some((id, committed)) = parse_file_name(&entry.file_name()) else { continue };
            let counter = if !committed {
                &mut self.counters.unfinished
            } else if found.len() >= MAX_BLOCKS {
                &mut self.counters.evicted
            } else {
                match inspect(&entry, &id) {
                    Ok(block) => {
                        found.push((block.stamped, self.index.insert(&block).index));
                        continue;
                    }
                    Err(error) => {
                        use io::ErrorKind::{InvalidData, UnexpectedEof};
                        let is_damaged = matches!(error.kind(), InvalidData | UnexpectedEof);
                        self.error.replace(Some(FileError { path: entry.path(), error }));
                        if !is_damaged {
                            // Nothing says that the block is not whole: there may be too many open files.
                            self.counters.unreadable += 1;
                            continue;
                        }
                        &mut self.counters.damaged
                    }
                }
            };
            *counter += 1;
            if let Err(error) = fs::remove_file(entry.path()) {
                self.error.replace(Some(FileError { path: entry.path(), error }));
            }
        }
        let now = seconds(self.now());
        found.sort_unstable();
        for (_, row) in found {
            let Some(block) = self.index.block(row) else { continue };
            self.size = self.size.saturating_add(disk_size(block.len));
            self.index.publish(row, &Block { stamped: block.stamped.min(now), ..block });
        }
        Ok(())
    }

    fn block(&self, slot: SlotId) -> Result<Block, StoreError> {
        self.index.at(slot).ok_or(StoreError::Stale)
    }

    /// The committed blocks of `segment` from `index` on that are not too old, in order.
    fn committed(&self, segment: &SegmentId, index: u32) -> impl Iterator<Item = Block> {
        let blocks = self.index.of_segment(segment, index..=u32::MAX).map(|(_, block)| block);
        blocks.filter(|block| !self.is_expired(block))
    }

    fn is_expired(&self, block: &Block) -> bool {
        Duration::from_secs(self.now().saturating_sub(block.created.into())) > self.options.max_age
    }

    /// The block of a row, unless it is pinned.
    fn loose(&self, row: u32) -> Option<Block> {
        self.index.block(row).filter(|block| block.pins == 0)
    }

    /// Removes the committed blocks that are too old, unless they are pinned, and up to `at_most`.
    fn remove_expired(&mut self, at_most: usize) {
        let is_old = |row: &u32| self.index.block(*row).is_some_and(|block| self.is_expired(&block));
        let rows = self.index.by_age().take_while(is_old);
        let rows: Vec<u32> = rows.filter(|&row| self.loose(row).is_some()).take(at_most).collect();
        for row in rows {
            self.remove(row);
            self.counters.expired += 1;
        }
    }

    /// Removes the blocks that were not used for longest until `wanted` more bytes fit; none, if
    /// they do not even then.
    fn make_room(&mut self, wanted: u64) -> bool {
        let mut size = self.size.saturating_add(wanted);
        let mut count = self.index.len() + self.reserved.len();
        let mut loose = self.index.by_use().filter_map(|row| Some((row, self.loose(row)?.len)));
        let mut going = Vec::new();
        while size > self.options.max_size || count >= MAX_BLOCKS {
            let Some((row, len)) = loose.next() else { return false };
            size = size.saturating_sub(disk_size(len));
            count = count.saturating_sub(1);
            going.push(row);
        }
        drop(loose);
        for row in going {
            self.remove(row);
            self.counters.evicted += 1;
        }
        true
    }

    /// Removes a block, reserved or committed, and its file.
    fn remove(&mut self, index: u32) {
        let Some((block, committed)) = self.index.remove(index) else { return };
        self.size = self.size.saturating_sub(disk_size(block.len));
        // Not every system removes what is open.
        self.reserved.remove(&index);
        self.opened.forget(index);
        let path = self.path(&block.id, committed);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => self.note(path, error),
            _ => {}
        }
    }

    fn path(&self, id: &BlockId, committed: bool) -> PathBuf {
        self.directory.join(file_name(id, committed))
    }

    fn note(&self, path: PathBuf, error: io::Error) {
        self.error.replace(Some(FileError { path, error }));
    }

    /// Keeps why a file of `id` failed. Core's traits have one word for it.
    fn failed(&mut self, id: &BlockId, committed: bool, error: io::Error) -> StoreError {
        self.note(self.path(id, committed), error);
        let counter = if committed { &mut self.counters.damaged } else { &mut self.counters.failed };
        *counter += 1;
        StoreError::Damaged
    }

    /// Takes a place in the table of open files, for when there is no other.
    fn take_spare(&self) {
        let mut spare = self.spare.borrow_mut();
        if spare.is_none() {
            *spare = File::open(self.directory.join(LOCK_NAME)).ok();
        }
    }

    /// Opens a file, in the spare place if there is no other.
    fn open_file(&self, options: &OpenOptions, path: &Path) -> io::Result<File> {
        options.open(path).or_else(|error| {
            drop(self.spare.take().ok_or(error)?);
            options.open(path)
        })
    }

    /// Makes the file of a block that is not committed.
    fn create(&self, id: &BlockId) -> io::Result<File> {
        self.open_file(private().create_new(true), &self.path(id, false))
    }

    /// The same, with all its room taken.
    fn create_full(&self, id: &BlockId, bytes: &[u8]) -> io::Result<File> {
        let file = self.create(id)?;
        write_all_at(&file, bytes, 0).inspect_err(|_| {
            // Should it not go now, it does at the next opening.
            let _ = fs::remove_file(self.path(id, false));
        })?;
        Ok(file)
    }

    /// Writes a whole block and gives its file its name. Until then, and if the process ends before,
    /// there is no such block.
    fn finish(&self, pending: &mut Pending, block: &Block) -> io::Result<()> {
        let mut header = Header {
            id: block.id,
            seal: block.seal,
            len: block.len,
            plain_len: block.plain_len,
            created: block.created.into(),
            pages: [0; _],
        };
        for (crc, page) in header.pages.iter_mut().zip(pending.data().chunks(PAGE_BYTES)) {
            *crc = crc32fast::hash(page);
        }
        pending.set_header(&header.emit());
        let file = match pending.file.take() {
            Some(file) => file,
            None => self.create(&block.id)?,
        };
        let part = self.path(&block.id, false);
        let path = self.path(&block.id, true);
        let written = write_all_at(&file, &pending.bytes, 0)
            .and_then(|_| stamp(&file, block.stamped.into()))
            .and_then(|()| if self.options.sync { file.sync_all() } else { Ok(()) })
            .and_then(|()| fs::rename(&part, &path));
        if written.is_err() {
            // Should it not go now, it does at the next opening.
            let _ = fs::remove_file(&part);
        }
        written?;
        if self.options.sync
            && let Err(error) = sync_directory(&self.directory)
        {
            // What may not last is not committed.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(())
    }

    fn read_committed(&mut self, index: u32, block: &Block, offset: u32, buf: &mut [u8]) -> io::Result<()> {
        let mut opened = core::mem::take(&mut self.opened);
        let open = || self.open_file(File::options().read(true), &self.path(&block.id, true));
        let result = opened.read(index, block, offset, buf, open);
        self.opened = opened;
        self.take_spare();
        result?;
        if offset == 0 {
            let now = self.now();
            let is_due = now.saturating_sub(block.stamped.into()) >= USE_STAMP_SECONDS;
            if is_due {
                // Should it fail, only the order of use after the next opening is less exact.
                let _ = private().open(self.path(&block.id, true)).and_then(|file| stamp(&file, now));
            }
            self.index.touch(index, if is_due { seconds(now) } else { block.stamped });
        }
        Ok(())
    }
}

impl Store for FileBlocks {
    fn reserve(&mut self, block: &BlockId, len: u32) -> Result<SlotId, ReserveError> {
        self.remove_expired(EXPIRED_AT_ONCE);
        let is_same = |row: &u32| self.index.block(*row).is_some_and(|have| have.id == *block);
        if self.index.find(block).is_some() || self.reserved.keys().any(is_same) {
            return Err(ReserveError::Exists);
        }
        let size = disk_size(len);
        if len > MAX_LEN || size > self.options.max_size || self.reserved.len() >= MAX_RESERVED {
            return Err(ReserveError::Full);
        }
        if !self.make_room(size) {
            return Err(ReserveError::Full);
        }
        let mut pending = Pending::new(len);
        if self.suspect {
            let file = self.create_full(block, &pending.bytes).map_err(|error| {
                self.failed(block, false, error);
                ReserveError::Full
            })?;
            (pending.file, self.suspect) = (Some(file), false);
        }
        let seal = Seal { algorithm: CipherAlgorithm::None, iv: [0; 16] };
        let (id, plain_len) = (*block, len);
        let slot = self.index.insert(&Block { id, seal, len, plain_len, created: 0, stamped: 0, pins: 0 });
        self.reserved.insert(slot.index, pending);
        self.size = self.size.saturating_add(size);
        Ok(slot)
    }

    fn write(&mut self, slot: SlotId, offset: u32, bytes: &[u8]) -> Result<(), StoreError> {
        let len = self.block(slot)?.len;
        let range = within(len, offset, bytes.len())?;
        let pending = self.reserved.get_mut(&slot.index).ok_or(StoreError::Stale)?;
        let room = pending.data_mut().get_mut(range).ok_or(StoreError::OutOfRange)?;
        room.copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, slot: SlotId, offset: u32, buf: &mut [u8]) -> Result<(), StoreError> {
        let block = self.block(slot)?;
        let range = within(block.len, offset, buf.len())?;
        if let Some(pending) = self.reserved.get(&slot.index) {
            buf.copy_from_slice(pending.data().get(range).ok_or(StoreError::OutOfRange)?);
            return Ok(());
        }
        self.read_committed(slot.index, &block, offset, buf)
            .map_err(|error| self.failed(&block.id, true, error))
    }

    fn commit(&mut self, verified: Verified) -> Result<(), StoreError> {
        let slot = verified.slot();
        let now = seconds(self.now());
        let block = Block {
            seal: verified.seal(),
            plain_len: verified.plain_len(),
            created: now,
            stamped: now,
            ..self.block(slot)?
        };
        let mut pending = self.reserved.remove(&slot.index).ok_or(StoreError::Stale)?;
        let finished = self.finish(&mut pending, &block);
        self.take_spare();
        if let Err(error) = finished {
            // The slot is its owner's to release.
            self.reserved.insert(slot.index, pending);
            self.suspect = true;
            return Err(self.failed(&block.id, false, error));
        }
        self.index.publish(slot.index, &block);
        self.opened.keep(slot.index, pending.bytes);
        Ok(())
    }

    fn release(&mut self, slot: SlotId) {
        if self.block(slot).is_ok() {
            self.remove(slot.index);
        }
    }

    fn pin(&mut self, slot: SlotId) {
        self.index.pin(slot, true);
    }

    fn unpin(&mut self, slot: SlotId) {
        self.index.pin(slot, false);
        self.remove_expired(EXPIRED_AT_ONCE);
    }

    fn find(&self, block: &BlockId) -> Option<Stored> {
        let row = self.index.find(block)?;
        let block = self.index.block(row).filter(|block| !self.is_expired(block))?;
        let Block { seal, len, plain_len, .. } = block;
        Some(Stored { slot: self.index.slot(row), seal, len, plain_len })
    }

    fn blocks(&self, segment: &SegmentId) -> u32 {
        self.committed(segment, 0).count() as u32
    }

    fn next_block(&self, segment: &SegmentId, index: u32) -> Option<u32> {
        let mut blocks = self.committed(segment, index.checked_add(1)?);
        blocks.next().map(|block| block.id.index)
    }

    fn set_time(&mut self, now: Instant) {
        let Clock { unix, set, .. } = self.clock.get();
        self.clock.set(Clock { unix, set: set.or(Some(now)), told: Some(now) });
        self.remove_expired(EXPIRED_AT_ONCE);
    }

    fn age(&self, segment: &SegmentId, now: Instant) -> Option<time::Duration> {
        let oldest = self.committed(segment, 0).map(|block| block.created).min()?;
        let now = self.clock.get().at(Some(now));
        Some(time::Duration::from_secs(now.saturating_sub(oldest.into())))
    }
}

/// What was not committed goes at once, and not at the next opening.
impl Drop for FileBlocks {
    fn drop(&mut self) {
        while let Some((&index, _)) = self.reserved.first_key_value() {
            self.remove(index);
        }
    }
}

impl fmt::Debug for FileBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, options, size, counters, .. } = self;
        let mut shown = f.debug_struct("FileBlocks");
        shown.field("directory", directory).field("options", options).field("size", size);
        shown.field("counters", counters).finish_non_exhaustive()
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl core::error::Error for FileError {}

/// What the file of a committed block says of it, without its pages.
fn inspect(entry: &DirEntry, id: &BlockId) -> io::Result<Block> {
    let damaged = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    // Who follows a link reads somebody else's file.
    if !entry.file_type()?.is_file() {
        return Err(damaged("not a regular file"));
    }
    let mut file = File::open(entry.path())?;
    let (mut bytes, metadata) = ([0; HEADER_BYTES], file.metadata()?);
    file.read_exact(&mut bytes)?;
    let header = Header::parse(&bytes).ok_or_else(|| damaged("the header is damaged"))?;
    if header.id != *id {
        return Err(damaged("the header names another block"));
    }
    if metadata.len() != (HEADER_BYTES as u64).saturating_add(header.len.into()) {
        return Err(damaged("the length differs from the header's"));
    }
    let stamped = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let Header { id, seal, len, plain_len, created, .. } = header;
    let (created, stamped) = (seconds(created), seconds(stamped.as_secs()));
    Ok(Block { id, seal, len, plain_len, created, stamped, pins: 0 })
}

/// Which bytes of a block are meant, if it has them.
fn within(block_len: u32, offset: u32, len: usize) -> Result<Range<usize>, StoreError> {
    let start = offset as usize;
    let end = start.checked_add(len).filter(|end| *end <= block_len as usize);
    end.map(|end| start..end).ok_or(StoreError::OutOfRange)
}

/// Seconds of Unix as the index has them; what is later than the year 2106 is of that year.
fn seconds(unix: u64) -> u32 {
    u32::try_from(unix).unwrap_or(u32::MAX)
}

/// Bytes of a disk that the file of a block takes.
fn disk_size(len: u32) -> u64 {
    (HEADER_BYTES as u64).saturating_add(len.into()).next_multiple_of(DISK_BLOCK)
}

/// Makes `now` a file's time of modification, which tells when a block was last used.
fn stamp(file: &File, now: u64) -> io::Result<()> {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(now));
    file.set_modified(time.unwrap_or(SystemTime::UNIX_EPOCH))
}

/// Has the names in a directory reach the disk. Elsewhere than on Unix, that is the file system's
/// business.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
