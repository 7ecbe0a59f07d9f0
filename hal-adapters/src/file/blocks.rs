//! A [`Store`] over a directory, with one file for each block.

mod disk;
mod opened;

use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry, File};
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
use self::opened::Opened;
use super::{Lock, OpenError, lock, private, read_exact_at, write_all_at};

/// Blocks kept at once: 64 GiB of full ones. The index takes about 300 bytes of memory for each
/// that is there.
pub const MAX_BLOCKS: usize = 1 << 20;

/// Blocks reserved at once. A node has one for each that it fetches or takes in; each holds a file
/// open, of which systems give a process as few as 256.
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
/// Blocks are kept as they travel, encrypted; their keys are elsewhere. A block that is not
/// committed has another name, and is removed when the directory is opened the next time. So is
/// what is damaged, as far as the header tells; the rest is checked, page by page, when it is read.
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
    rows: Vec<Row>,
    /// Rows without a block.
    free: Vec<u32>,
    /// The rows of committed blocks, by name.
    index: BTreeMap<(SegmentId, u32), u32>,
    /// The rows of committed blocks, least recently used first.
    by_use: BTreeMap<u64, u32>,
    /// The rows of committed blocks with when that was, oldest first.
    by_age: BTreeSet<(u64, u32)>,
    /// Counts uses of blocks.
    uses: u64,
    /// Files that are written, by row.
    reserved: BTreeMap<u32, File>,
    opened: Opened,
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

/// A place in the table that slots name.
struct Row {
    generation: u32,
    block: Option<Block>,
}

#[derive(Clone, Copy)]
struct Block {
    id: BlockId,
    seal: Seal,
    len: u32,
    plain_len: u32,
    created: u64,
    /// When it was last used, by the store's own count.
    used: u64,
    /// The time of last use that its file has.
    stamped: u64,
    pins: u32,
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
            rows: Vec::new(),
            free: Vec::new(),
            index: BTreeMap::new(),
            by_use: BTreeMap::new(),
            by_age: BTreeSet::new(),
            uses: 0,
            reserved: BTreeMap::new(),
            opened: Opened::default(),
            size: 0,
            counters: Counters::default(),
            error: RefCell::new(None),
            _lock: lock,
        };
        store.load()?;
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
        let loose = self.by_use.values().copied().filter(|&row| self.loose(row).is_some());
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
                    Ok(kept) => {
                        found.push(kept);
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
        let now = self.now();
        found.sort_by_key(|block: &Block| block.stamped);
        for block in found {
            let block = Block { stamped: block.stamped.min(now), ..block };
            self.size = self.size.saturating_add(disk_size(block.len));
            let index = self.insert(block);
            self.publish(index, block);
        }
        Ok(())
    }

    fn insert(&mut self, block: Block) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.rows.push(Row { generation: 0, block: None });
            // There are at most MAX_BLOCKS.
            self.rows.len().saturating_sub(1) as u32
        });
        if let Some(row) = self.rows.get_mut(index as usize) {
            row.block = Some(block);
        }
        index
    }

    /// Makes a block visible.
    fn publish(&mut self, index: u32, block: Block) {
        if let Some(row) = self.rows.get_mut(index as usize) {
            row.block = Some(block);
        }
        self.by_age.insert((block.created, index));
        self.index.insert((block.id.segment, block.id.index), index);
        self.touch(index);
    }

    /// Counts a use of a committed block.
    fn touch(&mut self, index: u32) {
        let Some(block) = self.rows.get_mut(index as usize).and_then(|row| row.block.as_mut()) else {
            return;
        };
        self.by_use.remove(&block.used);
        self.uses = self.uses.saturating_add(1);
        block.used = self.uses;
        self.by_use.insert(block.used, index);
    }

    fn block(&self, slot: SlotId) -> Result<&Block, StoreError> {
        let row = self.rows.get(slot.index as usize).filter(|row| row.generation == slot.generation);
        row.and_then(|row| row.block.as_ref()).ok_or(StoreError::Stale)
    }

    fn block_mut(&mut self, slot: SlotId) -> Option<&mut Block> {
        let row = self.rows.get_mut(slot.index as usize)?;
        row.block.as_mut().filter(|_| row.generation == slot.generation)
    }

    /// The committed blocks of `segment` from `index` on that are not too old, in order.
    fn committed(&self, segment: &SegmentId, index: u32) -> impl Iterator<Item = &Block> {
        let range = self.index.range((*segment, index)..=(*segment, u32::MAX));
        let blocks = range.filter_map(|(_, &row)| self.rows.get(row as usize)?.block.as_ref());
        blocks.filter(|block| !self.is_expired(block))
    }

    fn is_expired(&self, block: &Block) -> bool {
        Duration::from_secs(self.now().saturating_sub(block.created)) > self.options.max_age
    }

    /// The block of a row, unless it is pinned.
    fn loose(&self, index: u32) -> Option<&Block> {
        self.rows.get(index as usize)?.block.as_ref().filter(|block| block.pins == 0)
    }

    /// Removes the committed blocks that are too old, unless they are pinned, and up to `at_most`.
    fn remove_expired(&mut self, at_most: usize) {
        let block = |row: u32| self.rows.get(row as usize)?.block.as_ref();
        let rows = self.by_age.iter().map(|&(_, row)| row);
        let rows = rows.take_while(|&row| block(row).is_some_and(|block| self.is_expired(block)));
        let rows: Vec<u32> = rows.filter(|&row| self.loose(row).is_some()).take(at_most).collect();
        for index in rows {
            self.remove(index);
            self.counters.expired += 1;
        }
    }

    /// Removes the blocks that were not used for longest until `wanted` more bytes fit; none, if
    /// they do not even then.
    fn make_room(&mut self, wanted: u64) -> bool {
        let mut size = self.size.saturating_add(wanted);
        let mut count = self.index.len() + self.reserved.len();
        let mut loose = self.by_use.values().filter_map(|&row| Some((row, self.loose(row)?.len)));
        let mut going = Vec::new();
        while size > self.options.max_size || count >= MAX_BLOCKS {
            let Some((row, len)) = loose.next() else { return false };
            size = size.saturating_sub(disk_size(len));
            count = count.saturating_sub(1);
            going.push(row);
        }
        for row in going {
            self.remove(row);
            self.counters.evicted += 1;
        }
        true
    }

    /// Removes a block, reserved or committed, and its file.
    fn remove(&mut self, index: u32) {
        let Some(row) = self.rows.get_mut(index as usize) else { return };
        let Some(block) = row.block.take() else { return };
        row.generation = row.generation.wrapping_add(1);
        self.free.push(index);
        self.size = self.size.saturating_sub(disk_size(block.len));
        // Not every system removes what is open.
        let committed = self.reserved.remove(&index).is_none();
        self.opened.forget(index);
        if committed {
            self.by_use.remove(&block.used);
            self.by_age.remove(&(block.created, index));
            self.index.remove(&(block.id.segment, block.id.index));
        }
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

    /// Makes the file of a block, and has it take all its room, so that a full disk shows before
    /// the block has come.
    fn create(&self, id: &BlockId, len: u32) -> io::Result<File> {
        let path = self.path(id, false);
        let file = private().create_new(true).open(&path)?;
        let room = vec![0; HEADER_BYTES.saturating_add(len as usize)];
        write_all_at(&file, &room, 0).inspect_err(|_| {
            // Should it not go now, it does at the next opening.
            let _ = fs::remove_file(&path);
        })?;
        Ok(file)
    }

    /// Writes the header of a whole block and gives the file its name. Until then, and if the
    /// process ends before, there is no such block.
    fn finish(&self, file: &File, block: &Block) -> io::Result<()> {
        let mut header = Header {
            id: block.id,
            seal: block.seal,
            len: block.len,
            plain_len: block.plain_len,
            created: block.created,
            pages: [0; _],
        };
        let (mut page, mut at, mut left) = ([0; PAGE_BYTES], HEADER_BYTES as u64, block.len as usize);
        for crc in header.pages.iter_mut().take(left.div_ceil(PAGE_BYTES)) {
            let piece = page.get_mut(..left.min(PAGE_BYTES)).unwrap_or_default();
            read_exact_at(file, piece, at)?;
            *crc = crc32fast::hash(piece);
            (at, left) = (at.saturating_add(piece.len() as u64), left.saturating_sub(piece.len()));
        }
        write_all_at(file, &header.emit(), 0)?;
        stamp(file, block.stamped)?;
        if self.options.sync {
            file.sync_all()?;
        }
        let path = self.path(&block.id, true);
        fs::rename(self.path(&block.id, false), &path)?;
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
        let path = self.path(&block.id, true);
        self.opened.read(index, block, &path, offset, buf)?;
        if offset == 0 {
            self.touch(index);
            let now = self.now();
            if now.saturating_sub(block.stamped) >= USE_STAMP_SECONDS {
                // Should it fail, only the order of use after the next opening is less exact.
                let _ = self.opened.last().map(|file| stamp(file, now));
                if let Some(block) = self.rows.get_mut(index as usize).and_then(|row| row.block.as_mut()) {
                    block.stamped = now;
                }
            }
        }
        Ok(())
    }
}

impl Store for FileBlocks {
    fn reserve(&mut self, block: &BlockId, len: u32) -> Result<SlotId, ReserveError> {
        self.remove_expired(EXPIRED_AT_ONCE);
        let is_same = |row: &u32| {
            self.rows.get(*row as usize).and_then(|row| row.block).is_some_and(|have| have.id == *block)
        };
        if self.index.contains_key(&(block.segment, block.index)) || self.reserved.keys().any(is_same) {
            return Err(ReserveError::Exists);
        }
        let size = disk_size(len);
        if len > MAX_LEN || size > self.options.max_size || self.reserved.len() >= MAX_RESERVED {
            return Err(ReserveError::Full);
        }
        if !self.make_room(size) {
            return Err(ReserveError::Full);
        }
        let file = self.create(block, len).map_err(|error| {
            self.failed(block, false, error);
            ReserveError::Full
        })?;
        let seal = Seal { algorithm: CipherAlgorithm::None, iv: [0; 16] };
        let index = self.insert(Block {
            id: *block,
            seal,
            len,
            plain_len: 0,
            created: 0,
            used: 0,
            stamped: 0,
            pins: 0,
        });
        self.reserved.insert(index, file);
        self.size = self.size.saturating_add(size);
        let generation = self.rows.get(index as usize).map_or(0, |row| row.generation);
        Ok(SlotId { index, generation })
    }

    fn write(&mut self, slot: SlotId, offset: u32, bytes: &[u8]) -> Result<(), StoreError> {
        let Block { id, len, .. } = *self.block(slot)?;
        let file = self.reserved.get(&slot.index).ok_or(StoreError::Stale)?;
        let at = position(len, offset, bytes.len())?;
        write_all_at(file, bytes, at).map_err(|error| self.failed(&id, false, error))?;
        Ok(())
    }

    fn read(&mut self, slot: SlotId, offset: u32, buf: &mut [u8]) -> Result<(), StoreError> {
        let block = *self.block(slot)?;
        let at = position(block.len, offset, buf.len())?;
        match self.reserved.get(&slot.index) {
            Some(file) => read_exact_at(file, buf, at).map_err(|error| self.failed(&block.id, false, error)),
            None => self
                .read_committed(slot.index, &block, offset, buf)
                .map_err(|error| self.failed(&block.id, true, error)),
        }
    }

    fn commit(&mut self, verified: Verified) -> Result<(), StoreError> {
        let slot = verified.slot();
        let now = self.now();
        let block = Block {
            seal: verified.seal(),
            plain_len: verified.plain_len(),
            created: now,
            stamped: now,
            ..*self.block(slot)?
        };
        let file = self.reserved.get(&slot.index).ok_or(StoreError::Stale)?;
        self.finish(file, &block).map_err(|error| self.failed(&block.id, false, error))?;
        self.reserved.remove(&slot.index);
        self.publish(slot.index, block);
        Ok(())
    }

    fn release(&mut self, slot: SlotId) {
        if self.block(slot).is_ok() {
            self.remove(slot.index);
        }
    }

    fn pin(&mut self, slot: SlotId) {
        if let Some(block) = self.block_mut(slot) {
            block.pins = block.pins.saturating_add(1);
        }
    }

    fn unpin(&mut self, slot: SlotId) {
        if let Some(block) = self.block_mut(slot) {
            block.pins = block.pins.saturating_sub(1);
        }
        self.remove_expired(EXPIRED_AT_ONCE);
    }

    fn find(&self, block: &BlockId) -> Option<Stored> {
        let &index = self.index.get(&(block.segment, block.index))?;
        let row = self.rows.get(index as usize)?;
        let block = row.block.as_ref().filter(|block| !self.is_expired(block))?;
        Some(Stored {
            slot: SlotId { index, generation: row.generation },
            seal: block.seal,
            len: block.len,
            plain_len: block.plain_len,
        })
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
        Some(time::Duration::from_secs(now.saturating_sub(oldest)))
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
    Ok(Block { id, seal, len, plain_len, created, used: 0, stamped: stamped.as_secs(), pins: 0 })
}

/// Where the bytes of a block lie in its file.
fn position(block_len: u32, offset: u32, len: usize) -> Result<u64, StoreError> {
    let end = u64::from(offset).saturating_add(len as u64);
    if end > block_len.into() {
        return Err(StoreError::OutOfRange);
    }
    Ok((HEADER_BYTES as u64).saturating_add(offset.into()))
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
