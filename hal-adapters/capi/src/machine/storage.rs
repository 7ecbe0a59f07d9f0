//! What the node of a host keeps its things in: blocks in memory or in a folder, content information, which has
//! keys in it, in memory only.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use peerdist_core::content::{InfoUnreadable, SegmentId};
use peerdist_core::limits::BLOCK_BYTES;
use peerdist_core::store::ram::{BLOCK_PAGES, Entry, Page, RamStore};
use peerdist_core::store::split::Split;
use peerdist_core::store::verify::Verified;
use peerdist_core::store::{
    BlockId, InfoId, InfoStore, InfoStoreFull, Label, ReserveError, SlotId, Store, StoreError, Stored,
};
use peerdist_core::time::{Duration, Instant};
use peerdist_hal::file::{FileBlocks, Options};
use zeroize::Zeroizing;

/// Both.
pub(crate) type Storage = Split<Blocks, Infos>;

/// Where blocks are.
pub(crate) enum Blocks {
    Memory(Box<RamStore<Vec<Page>, Vec<Entry>, [u8; 0]>>),
    Folder(Box<FileBlocks>),
}

/// Content information, wiped when it is removed.
#[derive(Default)]
pub(crate) struct Infos {
    infos: BTreeMap<u8, Zeroizing<Vec<u8>>>,
    next: u8,
}

/// Content informations at once: as many as there are ids.
const MAX_INFOS: usize = 256;

/// Opens a cache of so many bytes, in a folder or in memory.
pub(super) fn open(folder: Option<&Path>, bytes: u64) -> Result<Storage, String> {
    let blocks = match folder {
        Some(folder) => Blocks::Folder(Box::new(in_folder(folder, bytes)?)),
        None => {
            let count = usize::try_from(bytes / BLOCK_BYTES as u64).unwrap_or(usize::MAX);
            // Segments of 2.0 are shorter than blocks of 1.0 and have a row each.
            let entries = filled(Entry::EMPTY, count.max(1).checked_mul(2));
            let pages = filled(Page::EMPTY, count.checked_mul(BLOCK_PAGES));
            let (entries, pages) = entries.zip(pages).ok_or("there is no memory for such a cache")?;
            Blocks::Memory(Box::new(RamStore::new(pages, entries, [])))
        }
    };
    Ok(Split { blocks, infos: Infos::default() })
}

/// So many of it; `None` without the memory for them.
fn filled<T: Clone>(value: T, count: Option<usize>) -> Option<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(count?).ok()?;
    all.resize(count?, value);
    Some(all)
}

/// A folder that is its owner's alone, if it was not there before.
fn in_folder(folder: &Path, bytes: u64) -> Result<FileBlocks, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", folder.display());
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| told(&error))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    FileBlocks::open(folder, Options::new(bytes), now).map_err(|error| told(&error))
}

impl Blocks {
    fn store(&self) -> &dyn Store {
        match self {
            Self::Memory(store) => &**store,
            Self::Folder(store) => &**store,
        }
    }

    fn store_mut(&mut self) -> &mut dyn Store {
        match self {
            Self::Memory(store) => &mut **store,
            Self::Folder(store) => &mut **store,
        }
    }
}

impl Store for Blocks {
    fn reserve(&mut self, block: &BlockId, len: u32) -> Result<SlotId, ReserveError> {
        self.store_mut().reserve(block, len)
    }

    fn write(&mut self, slot: SlotId, offset: u32, bytes: &[u8]) -> Result<(), StoreError> {
        self.store_mut().write(slot, offset, bytes)
    }

    fn read(&mut self, slot: SlotId, offset: u32, buf: &mut [u8]) -> Result<(), StoreError> {
        self.store_mut().read(slot, offset, buf)
    }

    fn commit(&mut self, verified: Verified) -> Result<(), StoreError> {
        self.store_mut().commit(verified)
    }

    fn release(&mut self, slot: SlotId) {
        self.store_mut().release(slot);
    }

    fn pin(&mut self, slot: SlotId) {
        self.store_mut().pin(slot);
    }

    fn unpin(&mut self, slot: SlotId) {
        self.store_mut().unpin(slot);
    }

    fn find(&self, block: &BlockId) -> Option<Stored> {
        self.store().find(block)
    }

    fn has(&self, block: &BlockId) -> bool {
        self.store().has(block)
    }

    fn blocks(&self, segment: &SegmentId) -> u32 {
        self.store().blocks(segment)
    }

    fn next_block(&self, segment: &SegmentId, index: u32) -> Option<u32> {
        self.store().next_block(segment, index)
    }

    fn set_time(&mut self, now: Instant) {
        self.store_mut().set_time(now);
    }

    fn age(&self, segment: &SegmentId, now: Instant) -> Option<Duration> {
        self.store().age(segment, now)
    }

    fn label(&mut self, slot: SlotId, label: Label) {
        self.store_mut().label(slot, label);
    }

    fn forget_labelled(&mut self, label: Label) -> bool {
        self.store_mut().forget_labelled(label)
    }

    fn is_labelled(&self, label: Label) -> bool {
        self.store().is_labelled(label)
    }
}

impl InfoStore for Infos {
    fn create_info(&mut self) -> Result<InfoId, InfoStoreFull> {
        if self.infos.len() >= MAX_INFOS {
            return Err(InfoStoreFull);
        }
        while self.infos.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let id = self.next;
        self.next = id.wrapping_add(1);
        self.infos.insert(id, Zeroizing::default());
        Ok(InfoId(id))
    }

    fn append_info(&mut self, id: InfoId, bytes: &[u8]) -> Result<(), InfoStoreFull> {
        let info = self.infos.get_mut(&id.0).ok_or(InfoStoreFull)?;
        if info.capacity() - info.len() < bytes.len() {
            // What is left behind when it grows would not be wiped.
            let mut grown =
                Zeroizing::new(Vec::with_capacity((info.len() + bytes.len()).next_power_of_two()));
            grown.extend_from_slice(info);
            *info = grown;
        }
        info.extend_from_slice(bytes);
        Ok(())
    }

    fn info_len(&self, id: InfoId) -> u64 {
        self.infos.get(&id.0).map_or(0, |info| info.len() as u64)
    }

    fn read_info(&self, id: InfoId, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        let unreadable = InfoUnreadable { offset };
        let info = self.infos.get(&id.0).ok_or(unreadable)?;
        let from = usize::try_from(offset).map_err(|_| unreadable)?;
        let bytes = from.checked_add(buf.len()).and_then(|end| info.get(from..end)).ok_or(unreadable)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    fn remove_info(&mut self, id: InfoId) {
        self.infos.remove(&id.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_for_which_there_is_no_memory() {
        for bytes in [1 << 50, 1 << 62, u64::MAX] {
            assert!(open(None, bytes).is_err());
        }
        assert!(open(None, 1 << 20).is_ok() && open(None, 1).is_ok());
    }

    #[test]
    fn content_information_in_memory() {
        let mut infos = Infos::default();
        let ids: Vec<_> = (0..MAX_INFOS).map(|_| infos.create_info().unwrap()).collect();
        assert_eq!(infos.create_info(), Err(InfoStoreFull));
        infos.append_info(ids[7], b"abc").unwrap();
        infos.append_info(ids[7], &[b'd'; 9_000]).unwrap();
        let mut buf = [0; 2];
        infos.read_info(ids[7], 2, &mut buf).unwrap();
        assert_eq!((&buf, infos.info_len(ids[7]), infos.info_len(ids[8])), (b"cd", 9_003, 0));
        assert!(infos.read_info(ids[7], 9_002, &mut buf).is_err());
        assert!(infos.read_info(ids[7], u64::MAX, &mut buf).is_err());
        infos.remove_info(ids[7]);
        assert_eq!(infos.append_info(ids[7], b"x"), Err(InfoStoreFull));
        assert_eq!(infos.create_info(), Ok(ids[7]));
    }
}
