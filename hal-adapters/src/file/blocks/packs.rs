//! The packs of a directory: which pages of them are free, and their files.
//!
//! Blocks do not have a file each: to make thousands costs a file system more than to fill them, to find
//! them again costs one look at each, and a server would open another for every block.

use core::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::vec;
use std::vec::Vec;

use super::disk::{
    ENTRY_BYTES, Entry, GRAIN, MAX_LEN, MAX_PAGES, PAGE_BYTES, STAMP_AT, TABLE_BYTES, TABLE_PAGES, pages_of,
};
use super::files::Files;
use crate::file::{private, read_exact_at, write_all_at};

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
    /// Who looks for a block reads its entry.
    files: RefCell<Files>,
    /// Whether what is written has to reach the disk.
    sync: bool,
    packs: BTreeMap<u16, Pack>,
    /// Packs that have a free entry, by their grain and the longest run of pages that is free in them.
    by_room: BTreeSet<(u16, u16, u16)>,
    /// The one of each grain that grows if no other has room.
    growing: BTreeMap<u16, u16>,
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
    /// All runs and all blocks begin at a multiple of so many pages, and take a multiple of them; what they do
    /// not fill is a hole.
    grain: u16,
    /// Nothing is given in it any more.
    shut: bool,
}

/// The grain of packs that blocks of that length go to.
fn grain(len: u32) -> u16 {
    if pages_of(len) < GRAIN { 1 } else { GRAIN }
}

impl Pack {
    pub const EMPTY: Self = Self::new(1);

    /// One that takes nothing: it is not ours, or cannot be read.
    pub const CLOSED: Self =
        Self { entries: u128::MAX, free: Vec::new(), end: MAX_PAGES, grain: 1, shut: true };

    const fn new(grain: u16) -> Self {
        Self { entries: 0, free: Vec::new(), end: TABLE_PAGES, grain, shut: false }
    }

    /// The one that such blocks lie in, by their lengths and first pages.
    pub fn of(blocks: impl IntoIterator<Item = (u32, u16)>) -> Self {
        let has_grain = |(len, start): (u32, u16)| grain(len) == GRAIN && start.is_multiple_of(GRAIN);
        Self::new(if blocks.into_iter().all(has_grain) { GRAIN } else { 1 })
    }

    fn pages(&self, len: u32) -> u16 {
        pages_of(len).next_multiple_of(self.grain)
    }

    /// Takes the pages of a block that lies there, unless one of them is another's.
    pub fn occupy(&mut self, place: Place, len: u32) -> bool {
        let (start, pages) = (place.start, self.pages(len));
        let end = start.saturating_add(pages);
        if end > self.end {
            self.free_run(self.end, end - self.end);
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

    /// Gives nothing any more.
    pub fn shut(&mut self) {
        self.shut = true;
    }

    /// The longest run of free pages, if there is an entry for who takes it.
    fn room(&self) -> u16 {
        let longest = self.free.iter().map(|(_, count)| *count).max().unwrap_or(0);
        if self.is_full() { 0 } else { longest }
    }

    fn is_full(&self) -> bool {
        self.shut || self.entries == u128::MAX
    }

    fn grows(&self, len: u32) -> bool {
        !self.is_full() && self.end.saturating_add(self.pages(len)) <= MAX_PAGES
    }

    /// Gives an entry and the pages for a block, of a free run or at the end.
    fn take(&mut self, len: u32) -> (u8, u16) {
        let pages = self.pages(len);
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

    /// Takes the entry and the pages of a block back.
    fn give(&mut self, place: Place, len: u32) {
        self.entries &= !bit(place.entry);
        self.free_run(place.start, self.pages(len));
    }

    fn free_run(&mut self, start: u16, pages: u16) {
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
        Self { files: RefCell::new(Files::new(directory)), sync, packs, by_room, growing: BTreeMap::new() }
    }

    pub fn path(&self, pack: u16) -> PathBuf {
        self.files.borrow().path(pack)
    }

    /// Takes a pack as it was found, with its file if that was opened. One without blocks goes.
    pub fn adopt(&mut self, number: u16, pack: Pack, file: Option<File>) -> io::Result<()> {
        if pack.entries == 0 && !pack.shut {
            return fs::remove_file(self.path(number)).inspect_err(|_| {
                self.packs.insert(number, Pack::CLOSED);
            });
        }
        if let Some(file) = file {
            // What was written behind, and not committed. Should it not go now, it is used again.
            let _ = file.set_len(u64::from(pack.end) * PAGE_BYTES as u64);
            self.files.get_mut().hold(number, file);
        }
        if pack.grows(MAX_LEN) {
            self.growing.insert(pack.grain, number);
        }
        self.packs.insert(number, pack);
        self.list(number);
        Ok(())
    }

    /// Makes no pack under a number that was found to be taken.
    pub fn avoid(&mut self, number: u16) {
        self.packs.entry(number).or_insert(Pack::CLOSED);
    }

    /// Finds room for a block, in a new pack if need be.
    pub fn take(&mut self, len: u32) -> io::Result<Place> {
        let grain = grain(len);
        let pages = pages_of(len).next_multiple_of(grain);
        let fitting = self.by_room.range((grain, pages, 0)..(grain.saturating_add(1), 0, 0)).next();
        let fitting = fitting.map(|&(.., number)| number);
        let grows = |number: &u16| self.packs.get(number).is_some_and(|pack| pack.grows(len));
        let number = match fitting.or(self.growing.get(&grain).copied().filter(grows)) {
            Some(number) => number,
            None => self.create(grain)?,
        };
        let pack = self.packs.entry(number).or_insert(Pack::new(grain));
        self.by_room.remove(&(grain, pack.room(), number));
        let (entry, start) = pack.take(len);
        self.list(number);
        Ok(Place { pack: number, entry, start })
    }

    /// Takes the room of a block back, after which there is no such block. Where that cannot be written, the
    /// room is not used again.
    pub fn give(&mut self, place: Place, len: u32, committed: bool) -> io::Result<()> {
        let number = place.pack;
        let Some(pack) = self.packs.get(&number) else { return Ok(()) };
        if pack.entries == bit(place.entry) {
            self.close(number);
            return match fs::remove_file(self.path(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => {
                    self.packs.remove(&number);
                    Ok(())
                }
            };
        }
        // Where it cannot be, the next who comes there does with it what he likes.
        let _ = self.with(number, |file| {
            punch(file, place.offset(), pages_of(len));
            Ok(())
        });
        if committed {
            self.with(number, |file| erase(file, place.entry))?;
        }
        if let Some(pack) = self.packs.get_mut(&number) {
            self.by_room.remove(&(pack.grain, pack.room(), number));
            pack.give(place, len);
        }
        self.list(number);
        Ok(())
    }

    /// Gives no more room in a pack.
    fn close(&mut self, number: u16) {
        if let Some(pack) = self.packs.insert(number, Pack::CLOSED) {
            self.by_room.remove(&(pack.grain, pack.room(), number));
        }
        self.growing.retain(|_, growing| *growing != number);
        // Not every system removes what is open.
        self.files.get_mut().close(number);
    }

    /// Writes the bytes of a block.
    pub fn write(&mut self, place: Place, bytes: &[u8]) -> io::Result<()> {
        let written = self.with(place.pack, |file| write_all_at(file, bytes, place.offset()));
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            // Somebody has removed the file. The next block goes elsewhere.
            self.close(place.pack);
        }
        written.map(|_| ())
    }

    /// Writes the entry of a block whose bytes are written: from then on, there is that block.
    pub fn commit(&self, place: Place, entry: &Entry) -> io::Result<()> {
        self.with(place.pack, |file| {
            // The entry must not be on the disk before the bytes.
            let sync = || if self.sync { file.sync_all() } else { Ok(()) };
            sync()?;
            write_all_at(file, &entry.emit(), place.entry_offset())?;
            sync()
        })
    }

    /// The entry of a block, if it is whole and of one that lies there.
    pub fn entry(&self, place: Place) -> io::Result<Option<Entry>> {
        let mut entry = [0; ENTRY_BYTES];
        self.with(place.pack, |file| read_exact_at(file, &mut entry, place.entry_offset()))?;
        Ok(Entry::parse(&entry).filter(|entry| entry.start == place.start))
    }

    /// The entry and the bytes of a block, of which `buf` has the length.
    pub fn read(&self, place: Place, buf: &mut [u8]) -> io::Result<Option<Entry>> {
        let entry = self.entry(place)?;
        self.with(place.pack, |file| read_exact_at(file, buf, place.offset()))?;
        Ok(entry)
    }

    /// Writes when a block was used last.
    pub fn stamp(&self, place: Place, stamped: u32) -> io::Result<()> {
        let at = place.entry_offset().saturating_add(STAMP_AT as u64);
        self.with(place.pack, |file| write_all_at(file, &stamped.to_le_bytes(), at).map(|_| ()))
    }

    /// Takes a place in the table of open files, for when there is no other.
    pub fn take_spare(&self, name: &str) {
        self.files.borrow_mut().take_spare(name);
    }

    /// Does something with the file of a pack.
    fn with<T>(&self, number: u16, what: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        what(self.files.borrow_mut().file(number)?)
    }

    /// Makes a pack, under the first number that is free.
    fn create(&mut self, grain: u16) -> io::Result<u16> {
        let numbers = (0..=u16::MAX).zip(self.packs.keys().map(Some).chain(core::iter::repeat(None)));
        let free = numbers.into_iter().find(|(number, used)| Some(number) != *used).map(|(number, _)| number);
        let number = free.ok_or(io::ErrorKind::StorageFull)?;
        let file = match self.files.get_mut().open(private().create_new(true), number) {
            Ok(file) => file,
            Err(error) => {
                if error.kind() == io::ErrorKind::AlreadyExists {
                    // Somebody else's: another number the next time.
                    self.packs.insert(number, Pack::CLOSED);
                }
                return Err(error);
            }
        };
        if self.sync
            && let Err(error) = sync_directory(&self.files.get_mut().directory)
        {
            let _ = fs::remove_file(self.path(number));
            return Err(error);
        }
        self.files.get_mut().hold(number, file);
        self.growing.insert(grain, number);
        self.packs.insert(number, Pack::new(grain));
        Ok(number)
    }

    fn list(&mut self, number: u16) {
        if let Some(pack) = self.packs.get(&number).filter(|pack| pack.room() > 0) {
            self.by_room.insert((pack.grain, pack.room(), number));
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
        for (entry, start) in [(0, 16), (1, 18), (2, 20), (3, 22)] {
            assert_eq!((pack.take(bytes(2)), pack.room()), ((entry, start), 0));
        }
        pack.give(place(2, 20), bytes(2));
        pack.give(place(1, 18), bytes(2));
        assert_eq!((&pack.free, pack.room()), (&vec![(18, 4)], 4));
        assert_eq!((pack.take(bytes(3)), &pack.free), ((1, 18), &vec![(21, 1)]));
        assert_eq!((pack.take(bytes(2)), pack.end), ((2, 24), 26));
        assert_eq!((pack.take(1), pack.room()), ((4, 21), 0));
        for (entry, start, pages) in [(0, 16, 2), (3, 22, 2), (1, 18, 3)] {
            pack.give(place(entry, start), bytes(pages));
        }
        assert_eq!((&pack.free, pack.entries), (&vec![(16, 5), (22, 2)], 0b1_0100));
    }

    #[test]
    fn long_blocks_begin_at_multiples() {
        let mut pack = Pack::new(16);
        assert_eq!(
            [16, 17, 33, 16].map(|pages| pack.take(bytes(pages))),
            [(0, 16), (1, 32), (2, 64), (3, 112)]
        );
        pack.give(place(1, 32), bytes(17));
        assert_eq!((pack.room(), pack.take(bytes(32)), pack.room(), pack.end), (32, (1, 32), 0, 128));
        if GRAIN > 1 {
            assert_eq!([0, 1, 15 * 4_096, 61_441, 65_552].map(grain), [1, 1, 1, 16, 16]);
        }
    }

    #[test]
    fn nobody_has_anothers_pages() {
        let mut pack = Pack::EMPTY;
        assert!(pack.occupy(place(5, 28), bytes(3)));
        assert_eq!((&pack.free, pack.end), (&vec![(16, 12)], 31));
        assert!(pack.occupy(place(6, 16), bytes(2)));
        assert!(pack.occupy(place(7, 26), bytes(2)));
        assert_eq!(pack.free, [(18, 8)]);
        for (start, pages) in [(15, 1), (17, 2), (25, 2), (28, 1), (30, 2), (26, 9)] {
            assert!(!pack.occupy(place(8, start), bytes(pages)), "{start} {pages}");
        }
        assert_eq!(pack.entries, 0b1110_0000);
    }

    /// Written where files have no holes, and found where they have.
    #[cfg(target_os = "linux")]
    #[test]
    fn packs_of_other_systems() {
        let blocks = [(bytes(17), 16), (bytes(17), 33)];
        let mut pack = Pack::of(blocks);
        assert_eq!(pack.grain, 1);
        assert!(blocks.iter().zip(0..).all(|(&(len, start), entry)| pack.occupy(place(entry, start), len)));
        assert_eq!((pack.end, pack.room()), (50, 0));
        assert_eq!(Pack::of([(bytes(17), 16), (bytes(33), 48)]).grain, GRAIN);
        assert_eq!(Pack::of([(bytes(17), 16), (bytes(2), 48)]).grain, 1);
    }

    #[test]
    fn a_pack_that_somebody_removes() {
        let directory = tempfile::tempdir().unwrap();
        let mut packs = Packs::new(directory.path().to_path_buf(), true);
        let places = [5, 5, 5].map(|len| packs.take(len).unwrap());
        assert!(places.iter().all(|place| place.pack == 0));
        packs.write(places[1], b"bytes").unwrap();
        // While it is open, nobody notices.
        fs::remove_file(packs.path(0)).unwrap();
        packs.write(places[1], b"bytes").unwrap();
        packs.files.get_mut().close(0);
        assert_eq!(packs.write(places[2], b"bytes").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(packs.give(places[2], 5, true).is_err());
        let place = packs.take(5).unwrap();
        assert_eq!(place.pack, 1);
        packs.write(place, b"bytes").unwrap();
    }

    /// As after a commit of which nobody knows whether it has reached the disk.
    #[test]
    fn who_is_given_back_has_no_entry() {
        let directory = tempfile::tempdir().unwrap();
        let mut packs = Packs::new(directory.path().to_path_buf(), false);
        let (first, second) = (packs.take(5).unwrap(), packs.take(5).unwrap());
        let segment = peerdist_core::content::SegmentId::from_slice(&[7; 32]).unwrap();
        let id = peerdist_core::store::BlockId { segment, index: 3 };
        let algorithm = peerdist_core::crypto::CipherAlgorithm::None;
        let seal = peerdist_core::crypto::Seal { algorithm, iv: [0; 16] };
        for place in [first, second] {
            let Place { start, .. } = place;
            let (created, stamped) = (1, 2);
            let entry = Entry { id, seal, len: 5, plain_len: 5, created, pages: [0; _], start, stamped };
            packs.commit(place, &entry).unwrap();
        }
        let numbers = |packs: &Packs| {
            let entries = packs.with(0, entries).unwrap();
            entries.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&packs), [0, 1]);
        packs.give(first, 5, true).unwrap();
        assert_eq!(numbers(&packs), [1]);
        assert_eq!(packs.take(5).unwrap(), first);
    }

    #[test]
    fn a_pack_that_is_shut_stays_so() {
        let mut pack = Pack::EMPTY;
        assert!([(0, 16), (1, 17)].iter().all(|&(entry, start)| pack.occupy(place(entry, start), bytes(1))));
        pack.shut();
        pack.give(place(0, 16), bytes(1));
        assert_eq!((pack.room(), pack.grows(1)), (0, false));
    }

    #[test]
    fn a_pack_is_full() {
        let mut pack = Pack::new(16);
        let taken: Vec<_> = (0..128).map(|_| (pack.grows(bytes(33)), pack.take(bytes(33)))).collect();
        assert!(taken.iter().all(|(grows, _)| *grows));
        assert_eq!((pack.end, pack.grows(1), pack.room()), (MAX_PAGES, false, 0));
        pack.free_run(16, 48);
        assert_eq!(pack.room(), 0, "there is no entry");
        pack.entries &= !1;
        assert_eq!((pack.room(), pack.grows(1)), (48, false));
    }
}
