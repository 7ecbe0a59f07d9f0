//! Two stores as one: blocks in one place, content information in another.

use super::verify::Verified;
use super::{
    BlockId, InfoId, InfoStore, InfoStoreFull, Label, ReserveError, SlotId, Store, StoreError, Stored,
};
use crate::content::{InfoUnreadable, SegmentId};
use crate::time::{Duration, Instant};

/// A [`Storage`](super::Storage) of two halves, each asked for what it is there for: say, blocks in
/// memory, and content information, which has to be kept for as long as it is used, in a file.
#[derive(Clone, Debug, Default)]
pub struct Split<B, I> {
    /// Where blocks are kept.
    pub blocks: B,
    /// Where content information is kept.
    pub infos: I,
}

impl<B: Store, I> Store for Split<B, I> {
    fn reserve(&mut self, block: &BlockId, len: u32) -> Result<SlotId, ReserveError> {
        self.blocks.reserve(block, len)
    }

    fn write(&mut self, slot: SlotId, offset: u32, bytes: &[u8]) -> Result<(), StoreError> {
        self.blocks.write(slot, offset, bytes)
    }

    fn read(&mut self, slot: SlotId, offset: u32, buf: &mut [u8]) -> Result<(), StoreError> {
        self.blocks.read(slot, offset, buf)
    }

    fn commit(&mut self, verified: Verified) -> Result<(), StoreError> {
        self.blocks.commit(verified)
    }

    fn release(&mut self, slot: SlotId) {
        self.blocks.release(slot);
    }

    fn pin(&mut self, slot: SlotId) {
        self.blocks.pin(slot);
    }

    fn unpin(&mut self, slot: SlotId) {
        self.blocks.unpin(slot);
    }

    fn find(&self, block: &BlockId) -> Option<Stored> {
        self.blocks.find(block)
    }

    fn has(&self, block: &BlockId) -> bool {
        self.blocks.has(block)
    }

    fn blocks(&self, segment: &SegmentId) -> u32 {
        self.blocks.blocks(segment)
    }

    fn next_block(&self, segment: &SegmentId, index: u32) -> Option<u32> {
        self.blocks.next_block(segment, index)
    }

    fn label(&mut self, slot: SlotId, label: Label) {
        self.blocks.label(slot, label);
    }

    fn forget_labelled(&mut self, label: Label) -> bool {
        self.blocks.forget_labelled(label)
    }

    fn is_labelled(&self, label: Label) -> bool {
        self.blocks.is_labelled(label)
    }

    fn set_time(&mut self, now: Instant) {
        self.blocks.set_time(now);
    }

    fn age(&self, segment: &SegmentId, now: Instant) -> Option<Duration> {
        self.blocks.age(segment, now)
    }
}

impl<B, I: InfoStore> InfoStore for Split<B, I> {
    fn create_info(&mut self) -> Result<InfoId, InfoStoreFull> {
        self.infos.create_info()
    }

    fn append_info(&mut self, id: InfoId, bytes: &[u8]) -> Result<(), InfoStoreFull> {
        self.infos.append_info(id, bytes)
    }

    fn info_len(&self, id: InfoId) -> u64 {
        self.infos.info_len(id)
    }

    fn read_info(&self, id: InfoId, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        self.infos.read_info(id, offset, buf)
    }

    fn remove_info(&mut self, id: InfoId) {
        self.infos.remove_info(id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::ram::{Entry, Page, RamStore};
    use super::super::{InfoView, Storage};
    use super::*;
    use crate::content::InfoSource;

    /// Each half has no room for what is the other's.
    #[test]
    fn each_half_gets_its_own() {
        let blocks = RamStore::new([Page::EMPTY], [Entry::EMPTY], []);
        let infos = RamStore::new([], [], [0; 4]);
        let mut split = Split { blocks, infos };
        let storage: &mut dyn Storage = &mut split;

        let segment = SegmentId::from_slice(&[7; 32]).unwrap();
        let slot = storage.reserve(&BlockId { segment, index: 0 }, 3).unwrap();
        storage.write(slot, 0, b"abc").unwrap();
        let mut buf = [0; 3];
        storage.read(slot, 0, &mut buf).unwrap();
        assert_eq!(&buf, b"abc");

        let id = storage.create_info().unwrap();
        storage.append_info(id, b"info").unwrap();
        assert_eq!(storage.append_info(id, b"!"), Err(InfoStoreFull));
        let mut buf = [0; 2];
        InfoView { store: storage, id }.read_at(2, &mut buf).unwrap();
        assert_eq!((storage.info_len(id), &buf), (4, b"fo"));

        storage.release(slot);
        assert_eq!(storage.read(slot, 0, &mut buf), Err(StoreError::Stale));
        storage.remove_info(id);
        assert_eq!(split.infos.info_len(id), 0);
    }
}
