//! A store that a node and a test share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use peerdist_core::content::{InfoUnreadable, SegmentId};
use peerdist_core::limits::SEGMENT_BLOCKS;
use peerdist_core::store::verify::Verified;
use peerdist_core::store::{
    BlockId, InfoId, InfoStore, InfoStoreFull, Label, ReserveError, SlotId, Storage, Store, StoreError,
    Stored,
};
use peerdist_core::time::{Duration, Instant};

/// A handle on a store of any kind.
#[derive(Clone)]
pub struct Shared(Rc<RefCell<dyn Storage>>, Rc<Cell<Option<u32>>>, Rc<Cell<u64>>);

impl Shared {
    /// The first handle.
    pub fn new(store: impl Storage + 'static) -> Self {
        Self(Rc::new(RefCell::new(store)), Rc::default(), Rc::default())
    }

    /// The read after so many others finds its block rotted, once.
    pub fn rot_after(&mut self, reads: u32) {
        self.1.set(Some(reads));
    }

    /// How often content information was read so far.
    pub fn info_reads(&self) -> u64 {
        self.2.get()
    }

    /// Drops every block of `segments`.
    pub fn forget(&mut self, segments: &[SegmentId]) {
        for segment in segments {
            for index in 0..SEGMENT_BLOCKS {
                if let Some(stored) = self.find(&BlockId { segment: *segment, index }) {
                    self.release(stored.slot);
                }
            }
        }
    }
}

impl Store for Shared {
    fn reserve(&mut self, block: &BlockId, len: u32) -> Result<SlotId, ReserveError> {
        self.0.borrow_mut().reserve(block, len)
    }

    fn write(&mut self, slot: SlotId, offset: u32, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.borrow_mut().write(slot, offset, bytes)
    }

    fn read(&mut self, slot: SlotId, offset: u32, buf: &mut [u8]) -> Result<(), StoreError> {
        let left = self.1.get();
        self.1.set(left.and_then(|left| left.checked_sub(1)));
        if left == Some(0) {
            return Err(StoreError::Damaged);
        }
        self.0.borrow_mut().read(slot, offset, buf)
    }

    fn commit(&mut self, verified: Verified) -> Result<(), StoreError> {
        self.0.borrow_mut().commit(verified)
    }

    fn release(&mut self, slot: SlotId) {
        self.0.borrow_mut().release(slot);
    }

    fn pin(&mut self, slot: SlotId) {
        self.0.borrow_mut().pin(slot);
    }

    fn unpin(&mut self, slot: SlotId) {
        self.0.borrow_mut().unpin(slot);
    }

    fn find(&self, block: &BlockId) -> Option<Stored> {
        self.0.borrow().find(block)
    }

    fn blocks(&self, segment: &SegmentId) -> u32 {
        self.0.borrow().blocks(segment)
    }

    fn next_block(&self, segment: &SegmentId, index: u32) -> Option<u32> {
        self.0.borrow().next_block(segment, index)
    }

    fn label(&mut self, slot: SlotId, label: Label) {
        self.0.borrow_mut().label(slot, label);
    }

    fn forget_labelled(&mut self, label: Label) -> bool {
        self.0.borrow_mut().forget_labelled(label)
    }

    fn is_labelled(&self, label: Label) -> bool {
        self.0.borrow().is_labelled(label)
    }

    fn set_time(&mut self, now: Instant) {
        self.0.borrow_mut().set_time(now);
    }

    fn age(&self, segment: &SegmentId, now: Instant) -> Option<Duration> {
        self.0.borrow().age(segment, now)
    }
}

impl InfoStore for Shared {
    fn create_info(&mut self) -> Result<InfoId, InfoStoreFull> {
        self.0.borrow_mut().create_info()
    }

    fn append_info(&mut self, id: InfoId, bytes: &[u8]) -> Result<(), InfoStoreFull> {
        self.0.borrow_mut().append_info(id, bytes)
    }

    fn info_len(&self, id: InfoId) -> u64 {
        self.0.borrow().info_len(id)
    }

    fn read_info(&self, id: InfoId, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        self.2.set(self.2.get() + 1);
        self.0.borrow().read_info(id, offset, buf)
    }

    fn remove_info(&mut self, id: InfoId) {
        self.0.borrow_mut().remove_info(id);
    }
}
