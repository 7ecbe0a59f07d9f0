//! The packs of a directory: which pages of them are free, and their files.
//!
//! Blocks do not have a file each: to make thousands costs a file system more than to fill them, to find
//! them again costs one look at each, and a server would open another for every block.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::vec;
use std::vec::Vec;

use super::disk::{
    ENTRY_BYTES, Entry, MAX_PAGES, PAGE_BYTES, STAMP_AT, TABLE_BYTES, TABLE_PAGES, file_name, pages_of,
};
use crate::file::{private, read_exact_at, write_all_at};

/// Files that are held open. Systems give a process as few as 256.
const MAX_FILES: usize = 64;

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub pack: u16,
    /// Its entry in the pack's table.
    pub entry: u8,
    /// The page at which it begins.
    pub start: u16,
}

impl Place {
    /// That of a block which has none yet.
    pub const NONE: Self = Self { pack: 0, entry: 0, start: 0 };

    fn offset(self) -> u64 {
        u64::from(self.start) * PAGE_BYTES as u64
    }

    fn entry_offset(self) -> u64 {
        u64::from(self.entry) * ENTRY_BYTES as u64
    }
}

pub struct Packs {
    directory: PathBuf,
    /// Whether what is written has to reach the disk.
    sync: bool,
    packs: BTreeMap<u16, Pack>,
    /// Packs that have a free entry, by the longest run of pages that is free in them.
    by_room: BTreeSet<(u16, u16)>,
    /// The one that grows if no other has room.
    growing: Option<u16>,
    /// Most recently used first.
    files: Vec<(u16, File)>,
    /// What is closed when there are too many open files.
    spare: Option<File>,
}

/// What is free in a pack.
#[derive(Debug, PartialEq, Eq)]
pub struct Pack {
    /// A bit for each entry that is taken.
    entries: u128,
    /// Runs of free pages before the end, in order: where each begins, and how many they are.
    free: Vec<(u16, u16)>,
    /// The page after the last.
    end: u16,
}

impl Pack {
    pub const EMPTY: Self = Self { entries: 0, free: Vec::new(), end: TABLE_PAGES };

    /// One that takes nothing: it is not ours, or cannot be read.
    pub const CLOSED: Self = Self { entries: u128::MAX, free: Vec::new(), end: MAX_PAGES };

    /// Takes the pages of a block that lies there, unless one of them is another's.
    pub fn occupy(&mut self, place: Place, len: u32) -> bool {
        let (start, pages) = (place.start, pages_of(len));
        let end = start.saturating_add(pages);
        if end > self.end {
            self.give(self.end, end - self.end);
            self.end = end;
        }
        let is_around = |&(from, count): &(u16, u16)| from <= start && end <= from.saturating_add(count);
        let Some(at) = self.free.iter().position(is_around) else { return false };
        let (from, count) = self.free.remove(at);
        let after = from.saturating_add(count) - end;
        let left = [(from, start - from), (end, after)];
        self.free.splice(at..at, left.into_iter().filter(|(_, count)| *count > 0));
        self.entries |= bit(place.entry);
        true
    }

    /// The longest run of free pages, if there is an entry for who takes it.
    fn room(&self) -> u16 {
        let longest = self.free.iter().map(|(_, count)| *count).max().unwrap_or(0);
        if self.entries == u128::MAX { 0 } else { longest }
    }

    fn grows(&self, pages: u16) -> bool {
        self.entries != u128::MAX && self.end.saturating_add(pages) <= MAX_PAGES
    }

    /// Gives an entry and as many pages, of a free run or at the end.
    fn take(&mut self, pages: u16) -> (u8, u16) {
        let entry = self.entries.trailing_ones() as u8;
        self.entries |= bit(entry);
        let start = match self.free.iter_mut().find(|(_, count)| *count >= pages) {
            Some((from, count)) => {
                let start = *from;
                (*from, *count) = (start.saturating_add(pages), *count - pages);
                self.free.retain(|(_, count)| *count > 0);
                start
            }
            None => {
                let start = self.end;
                self.end = start.saturating_add(pages);
                start
            }
        };
        (entry, start)
    }

    /// Takes pages back.
    fn give(&mut self, start: u16, pages: u16) {
        let at = self.free.partition_point(|(from, _)| *from < start);
        self.free.insert(at, (start, pages));
        // Neighbours become one.
        self.free.dedup_by(|next, run| {
            let touches = run.0.saturating_add(run.1) == next.0;
            if touches {
                run.1 = run.1.saturating_add(next.1);
            }
            touches
        });
    }
}

fn bit(entry: u8) -> u128 {
    1u128.checked_shl(entry.into()).unwrap_or(0)
}

impl Packs {
    pub fn new(directory: PathBuf, sync: bool) -> Self {
        let (packs, by_room) = (BTreeMap::new(), BTreeSet::new());
        Self { directory, sync, packs, by_room, growing: None, files: Vec::new(), spare: None }
    }

    pub fn path(&self, pack: u16) -> PathBuf {
        self.directory.join(file_name(pack))
    }

    /// Takes a pack as it was found, with its file if that was opened. One without blocks goes.
    pub fn adopt(&mut self, number: u16, pack: Pack, file: Option<File>) -> io::Result<()> {
        if pack.entries == 0 {
            return fs::remove_file(self.path(number)).inspect_err(|_| {
                self.packs.insert(number, Pack::CLOSED);
            });
        }
        if let Some(file) = file {
            // What was written behind, and not committed. Should it not go now, it is used again.
            let _ = file.set_len(u64::from(pack.end) * PAGE_BYTES as u64);
            self.hold(number, file);
        }
        if pack.grows(1) {
            self.growing = Some(number);
        }
        self.packs.insert(number, pack);
        self.list(number);
        Ok(())
    }

    /// Finds room for a block, in a new pack if need be.
    pub fn take(&mut self, len: u32) -> io::Result<Place> {
        let pages = pages_of(len);
        let grows = |number: &u16| self.packs.get(number).is_some_and(|pack| pack.grows(pages));
        let fitting = self.by_room.range((pages, 0)..).next().map(|&(_, number)| number);
        let number = match fitting.or(self.growing.filter(grows)) {
            Some(number) => number,
            None => self.create()?,
        };
        let pack = self.packs.entry(number).or_insert(Pack::EMPTY);
        self.by_room.remove(&(pack.room(), number));
        let (entry, start) = pack.take(pages);
        self.list(number);
        Ok(Place { pack: number, entry, start })
    }

    /// Takes the room of a block back, after which there is no such block. Where that cannot be written, the
    /// room is not used again.
    pub fn give(&mut self, place: Place, len: u32, committed: bool) -> io::Result<()> {
        let number = place.pack;
        let Some(pack) = self.packs.get_mut(&number) else { return Ok(()) };
        if pack.entries == bit(place.entry) {
            self.by_room.remove(&(pack.room(), number));
            self.packs.remove(&number);
            self.growing = self.growing.filter(|growing| *growing != number);
            // Not every system removes what is open.
            self.files.retain(|(open, _)| *open != number);
            return match fs::remove_file(self.path(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    self.packs.insert(number, Pack::CLOSED);
                    Err(error)
                }
                _ => Ok(()),
            };
        }
        if committed {
            self.erase(place)?;
        }
        if let Ok(file) = self.file(number) {
            punch(file, place.offset(), pages_of(len));
        }
        if let Some(pack) = self.packs.get_mut(&number) {
            self.by_room.remove(&(pack.room(), number));
            pack.entries &= !bit(place.entry);
            pack.give(place.start, pages_of(len));
        }
        self.list(number);
        Ok(())
    }

    /// Writes the bytes of a block.
    pub fn write(&mut self, place: Place, bytes: &[u8]) -> io::Result<()> {
        write_all_at(self.file(place.pack)?, bytes, place.offset()).map(|_| ())
    }

    /// Writes the entry of a block whose bytes are written: from then on, there is that block.
    pub fn commit(&mut self, place: Place, entry: &Entry) -> io::Result<()> {
        let sync = self.sync;
        let file = self.file(place.pack)?;
        // The entry must not be on the disk before the bytes.
        let sync = || if sync { file.sync_all() } else { Ok(()) };
        sync()?;
        write_all_at(file, &entry.emit(), place.entry_offset())?;
        sync()
    }

    /// The entry and the bytes of a block, of which `buf` has the length.
    pub fn read(&mut self, place: Place, buf: &mut [u8]) -> io::Result<Option<Entry>> {
        let file = self.file(place.pack)?;
        let mut entry = [0; ENTRY_BYTES];
        read_exact_at(file, &mut entry, place.entry_offset())?;
        read_exact_at(file, buf, place.offset())?;
        Ok(Entry::parse(&entry).filter(|entry| entry.start == place.start))
    }

    /// Writes when a block was used last.
    pub fn stamp(&mut self, place: Place, stamped: u32) -> io::Result<()> {
        let at = place.entry_offset().saturating_add(STAMP_AT as u64);
        write_all_at(self.file(place.pack)?, &stamped.to_le_bytes(), at).map(|_| ())
    }

    /// Writes zeros over an entry.
    fn erase(&mut self, place: Place) -> io::Result<()> {
        erase(self.file(place.pack)?, place.entry)
    }

    /// Takes a place in the table of open files, for when there is no other.
    pub fn take_spare(&mut self, name: &str) {
        if self.spare.is_none() {
            self.spare = File::open(self.directory.join(name)).ok();
        }
    }

    /// Makes a pack, under the first number that is free.
    fn create(&mut self) -> io::Result<u16> {
        let numbers = (0..=u16::MAX).zip(self.packs.keys().map(Some).chain(core::iter::repeat(None)));
        let free = numbers.into_iter().find(|(number, used)| Some(number) != *used).map(|(number, _)| number);
        let number = free.ok_or(io::ErrorKind::StorageFull)?;
        let file = self.open(private().create_new(true), number)?;
        if self.sync {
            sync_directory(&self.directory)?;
        }
        self.hold(number, file);
        self.growing = Some(number);
        self.packs.insert(number, Pack::EMPTY);
        Ok(number)
    }

    /// The file of a pack, which stays open for the next who wants it.
    fn file(&mut self, number: u16) -> io::Result<&File> {
        match self.files.iter().position(|(open, _)| *open == number) {
            Some(position) => self.files.get_mut(..=position).unwrap_or_default().rotate_right(1),
            None => {
                let file = self.open(&private(), number)?;
                self.hold(number, file);
            }
        }
        self.files.first().map(|(_, file)| file).ok_or(io::ErrorKind::NotFound.into())
    }

    fn hold(&mut self, number: u16, file: File) {
        self.files.truncate(MAX_FILES - 1);
        self.files.insert(0, (number, file));
    }

    /// Opens a file, in the place of another or the spare one if there is no free one.
    fn open(&mut self, options: &OpenOptions, number: u16) -> io::Result<File> {
        let path = self.path(number);
        options.open(&path).or_else(|error| {
            let other = self.files.pop().map(|(_, file)| file);
            drop(other.or_else(|| self.spare.take()).ok_or(error)?);
            options.open(&path)
        })
    }

    fn list(&mut self, number: u16) {
        match self.packs.get(&number).map_or(0, Pack::room) {
            0 => {}
            room => _ = self.by_room.insert((room, number)),
        }
    }
}

/// The entries of a pack that are not zeros, whole or damaged, by their number.
pub fn entries(file: &File) -> io::Result<Vec<(u8, Option<Entry>)>> {
    let mut table = vec![0; TABLE_BYTES];
    let len = file.metadata()?.len().min(TABLE_BYTES as u64) as usize;
    read_exact_at(file, table.get_mut(..len).unwrap_or_default(), 0)?;
    let entries = table.as_chunks::<ENTRY_BYTES>().0.iter().zip(0..);
    let entries = entries.filter(|(bytes, _)| bytes.iter().any(|byte| *byte != 0));
    Ok(entries.map(|(bytes, number)| (number, Entry::parse(bytes))).collect())
}

/// Writes zeros over an entry.
pub fn erase(file: &File, entry: u8) -> io::Result<()> {
    write_all_at(file, &[0; ENTRY_BYTES], u64::from(entry) * ENTRY_BYTES as u64).map(|_| ())
}

/// Gives the room of free pages back to the disk, where a system has files with holes: elsewhere, and on file
/// systems without, it serves the blocks that come next.
fn punch(file: &File, offset: u64, pages: u16) {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        let len = u64::from(pages) * PAGE_BYTES as u64;
        let _ = fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, offset, pages);
}

/// Has the names in a directory reach the disk. Elsewhere than on Unix, that is the file system's
/// business.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(entry: u8, start: u16) -> Place {
        Place { pack: 0, entry, start }
    }

    fn bytes(pages: u32) -> u32 {
        pages * PAGE_BYTES as u32
    }

    #[test]
    fn runs_are_taken_and_given_back() {
        let mut pack = Pack::EMPTY;
        for (entry, start) in [(0, 8), (1, 10), (2, 12), (3, 14)] {
            assert_eq!((pack.take(2), pack.room()), ((entry, start), 0));
        }
        pack.entries &= !0b110;
        pack.give(12, 2);
        pack.give(10, 2);
        assert_eq!((&pack.free, pack.room()), (&vec![(10, 4)], 4));
        assert_eq!((pack.take(3), &pack.free), ((1, 10), &vec![(13, 1)]));
        assert_eq!((pack.take(2), pack.end), ((2, 16), 18));
        assert_eq!((pack.take(1), pack.room()), ((4, 13), 0));
        pack.give(8, 2);
        pack.give(14, 2);
        pack.give(10, 3);
        assert_eq!(pack.free, [(8, 5), (14, 2)]);
    }

    #[test]
    fn nobody_has_anothers_pages() {
        let mut pack = Pack::EMPTY;
        assert!(pack.occupy(place(5, 20), bytes(3)));
        assert_eq!((&pack.free, pack.end), (&vec![(8, 12)], 23));
        assert!(pack.occupy(place(6, 8), bytes(2)));
        assert!(pack.occupy(place(7, 18), bytes(2)));
        assert_eq!(pack.free, [(10, 8)]);
        for (start, pages) in [(7, 1), (9, 2), (17, 2), (20, 1), (22, 2), (18, 9)] {
            assert!(!pack.occupy(place(8, start), bytes(pages)), "{start} {pages}");
        }
        assert_eq!(pack.entries, 0b1110_0000);
    }

    #[test]
    fn a_pack_is_full() {
        let mut pack = Pack::EMPTY;
        let taken: Vec<_> = (0..128).map(|_| (pack.grows(33), pack.take(33))).collect();
        assert!(taken.iter().all(|(grows, _)| *grows));
        assert_eq!((pack.end, pack.grows(1), pack.room()), (MAX_PAGES, false, 0));
        pack.give(8, 33);
        assert_eq!(pack.room(), 0, "there is no entry");
        pack.entries &= !1;
        assert_eq!((pack.room(), pack.grows(1)), (33, false));
    }
}
