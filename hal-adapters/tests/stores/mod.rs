//! What the tests of all stores share: blocks that no other has, and what any store does.

use std::ops::Range;

use peerdist_core::content::SegmentId;
use peerdist_core::store::{BlockId, ReserveError, SlotId, Store, StoreError};

/// Writes, verifies and commits a block of so many bytes.
pub type Put = fn(&mut dyn Store, BlockId, usize) -> Result<SlotId, ReserveError>;

/// The greatest index that a store has to tell from all others: no segment has anywhere near as many blocks.
const LAST: u32 = (1 << 31) - 1;

pub fn segment(of: u8) -> SegmentId {
    SegmentId::from_slice(&[of; 32]).unwrap()
}

pub fn block(index: u32) -> BlockId {
    BlockId { segment: segment(7), index }
}

/// The plaintext of a block, which no other has.
pub fn text(index: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ index.wrapping_mul(101)) as u8).collect()
}

pub fn which(store: &dyn Store, indices: Range<u32>) -> Vec<u32> {
    let found = |index: &u32| {
        let id = block(*index);
        assert_eq!(store.has(&id), store.find(&id).is_some());
        store.has(&id)
    };
    indices.filter(found).collect()
}

pub fn what_is_gone_is_stale(store: &mut dyn Store, put: Put, len: usize) {
    let slot = put(store, block(0), len).unwrap();
    store.release(slot);
    store.release(slot);
    let other = put(store, block(1), len).unwrap();
    assert_eq!(store.read(slot, 0, &mut [0]), Err(StoreError::Stale));
    assert_eq!(store.write(slot, 0, &[0]), Err(StoreError::Stale));
    store.release(slot);
    store.pin(slot);
    store.unpin(slot);
    assert_eq!((store.find(&block(0)), store.find(&block(1)).unwrap().slot), (None, other));
    let nowhere = SlotId { index: 99, generation: 0 };
    assert_eq!(store.read(nowhere, 0, &mut [0]), Err(StoreError::Stale));
}

pub fn parts_of_segments(store: &mut dyn Store, put: Put) {
    put(store, block(9), 100).unwrap();
    put(store, block(LAST), 100).unwrap();
    put(store, BlockId { segment: segment(8), index: 10 }, 100).unwrap();
    assert_eq!([7, 8, 9].map(|of| store.blocks(&segment(of))), [2, 1, 0]);
    let after = [0, 8, 9, LAST - 1, LAST].map(|index| store.next_block(&segment(7), index));
    assert_eq!(after, [Some(9), Some(9), Some(LAST), Some(LAST), None]);
}

/// A name for what cannot be verified is not the segment's, however alike they are.
pub fn what_cannot_be_verified_is_apart(store: &mut dyn Store, put: Put) {
    let apart = segment(7).unverifiable().unwrap();
    let of = |store: &dyn Store, segment, index| store.find(&BlockId { segment, index }).is_some();
    put(store, BlockId { segment: apart, index: 1 }, 100).unwrap();
    assert!(of(store, apart, 1) && !of(store, segment(7), 1) && !of(store, segment(7), 1 | 1 << 31));
    put(store, block(1), 100).unwrap();
    put(store, block(2), 100).unwrap();
    assert!(of(store, apart, 1) && of(store, segment(7), 1) && !of(store, apart, 2));
    assert_eq!([apart, segment(7)].map(|segment| store.blocks(&segment)), [1, 2]);
    assert_eq!([apart, segment(7)].map(|segment| store.next_block(&segment, 1)), [None, Some(2)]);
}
