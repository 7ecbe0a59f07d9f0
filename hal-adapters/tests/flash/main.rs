//! Blocks on NOR flash: what any store does, and what only one does that outlives a loss of power.

mod any_store;
mod cuts;
mod mock;
mod model;
mod rot;
mod starts;
#[path = "../stores/mod.rs"]
mod stores;
mod wear;

use std::ops::Range;

use mock::Mock;
use peerdist_core::crypto::{CipherAlgorithm, HashAlgorithm, Seal, Secret, SoftCrypto, hash};
use peerdist_core::store::verify::{Expected, Verifier, VerifyError};
use peerdist_core::store::{BlockId, Label, ReserveError, SlotId, Store, StoreError};
use peerdist_core::time::{Duration, Instant};
use peerdist_hal::flash::{Entry, FlashStore, TooSmall};
use stores::{block, segment, text, which};

/// Words of 4 bytes, as on most microcontrollers.
type Words4 = Mock<4, 4, 4_096>;

/// An STM32H743's words; its sectors have 128 KiB.
type Words32 = Mock<1, 32, 4_096>;

/// Bytes, as on serial flash, with the smallest sectors that may be.
type Bytes = Mock<1, 1, 256>;

/// Runs a test on each geometry.
macro_rules! on_all {
    ($check:ident) => {{
        $check::<4, 4, 4_096>(Words4::new(12, 1));
        $check::<1, 32, 4_096>(Words32::new(12, 2));
        $check::<1, 1, 256>(Bytes::new(192, 3));
    }};
}
use on_all;

fn mount<const R: usize, const W: usize, const S: usize>(
    flash: &mut Mock<R, W, S>,
    rows: usize,
) -> FlashStore<&mut Mock<R, W, S>, Vec<Entry>> {
    FlashStore::mount(flash, vec![Entry::EMPTY; rows], 0).unwrap()
}

fn seal(index: u32) -> Seal {
    Seal { algorithm: CipherAlgorithm::None, iv: [index as u8; 16] }
}

/// Verifies what is in a slot as what comes from a peer, and commits it.
fn finish(store: &mut dyn Store, slot: SlotId, index: u32, len: usize) -> Result<(), VerifyError> {
    let (algorithm, plain) = (HashAlgorithm::Sha256, text(index, len));
    let hash = hash(&mut SoftCrypto, algorithm, &plain);
    let expected = Expected { algorithm, hash, len: len as u32 };
    let mut verifier = Verifier::new(&mut SoftCrypto, slot, seal(index), len as u32, expected).unwrap();
    let key = Secret::from_slice(&[5; 32]).unwrap();
    while !verifier.step(store, &mut SoftCrypto, &key, u32::MAX)? {}
    Ok(())
}

/// Writes a block in pieces of many lengths.
fn fill(store: &mut dyn Store, slot: SlotId, index: u32, len: usize) -> Result<(), StoreError> {
    let (text, mut at) = (text(index, len), 0);
    for piece in [1_024, 1, 16, 700, 33].into_iter().cycle() {
        let end = len.min(at + piece);
        store.write(slot, at as u32, &text[at..end])?;
        at = end;
        if at == len {
            break;
        }
    }
    Ok(())
}

fn put_block(store: &mut dyn Store, id: BlockId, len: usize) -> Result<SlotId, ReserveError> {
    let slot = store.reserve(&id, len as u32)?;
    fill(store, slot, id.index, len).unwrap();
    finish(store, slot, id.index, len).unwrap();
    Ok(slot)
}

fn put(store: &mut dyn Store, index: u32, len: usize) -> Result<SlotId, ReserveError> {
    put_block(store, block(index), len)
}

/// Stores some blocks of one length.
fn put_all(store: &mut dyn Store, indices: Range<u32>, len: usize) {
    for index in indices {
        put(store, index, len).unwrap();
    }
}

/// Whether a block is there; if it is, it has the right text.
fn has(store: &mut dyn Store, index: u32, len: usize) -> bool {
    let Some(stored) = store.find(&block(index)) else { return false };
    assert_eq!((stored.len, stored.plain_len, stored.seal), (len as u32, len as u32, seal(index)));
    let mut back = vec![0; len];
    store.read(stored.slot, 0, &mut back).unwrap();
    assert!(back == text(index, len), "block {index} has another text");
    true
}

#[test]
fn a_flash_of_one_sector_is_too_small() {
    assert_eq!(FlashStore::mount(Words4::new(1, 1), [Entry::EMPTY; 1], 0).err(), Some(TooSmall));
    assert!(FlashStore::mount(Words4::new(2, 1), [Entry::EMPTY; 1], 0).is_ok());
}

#[test]
fn blocks_outlive_a_reset() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        let mut store = mount(&mut flash, 9);
        let lens = [5_000, 0, 1, 4_096, 4_097, 12_000];
        for (index, len) in (0..).zip(lens) {
            put(&mut store, index, len).unwrap();
        }
        store.release(store.find(&block(2)).unwrap().slot);
        let pending = store.reserve(&block(7), 4_000).unwrap();
        fill(&mut store, pending, 7, 4_000).unwrap();
        for _ in 0..2 {
            store = mount(&mut flash, 9);
            assert_eq!((which(&store, 0..9), store.count()), (vec![0, 1, 3, 4, 5], 5));
            assert!((0..).zip(lens).all(|(index, len)| index == 2 || has(&mut store, index, len)));
        }
        put(&mut store, 7, 4_000).unwrap();
        assert!(has(&mut mount(&mut flash, 9), 7, 4_000));
    }
    on_all!(check);
}

#[test]
fn blocks_are_forgotten_by_label_for_good() {
    let mut flash = Words4::new(12, 1);
    let mut store = mount(&mut flash, 9);
    let [first, second] = [0, 7].map(|number| Label::new(number).unwrap());
    let [ours, shared, theirs] = [0, 1, 2].map(|index| put(&mut store, index, 4_000).unwrap());
    for (slot, label) in [(ours, first), (shared, first), (shared, second), (theirs, second)] {
        store.label(slot, label);
    }
    store.pin(ours);
    assert!(!store.forget_labelled(first), "it is being read");
    assert!(store.is_labelled(first) && has(&mut store, 0, 4_000));
    store.unpin(ours);
    assert!(store.forget_labelled(first) && !store.is_labelled(first));
    assert_eq!(which(&store, 0..9), [1, 2]);

    // Neither a block that is not whole has a label, nor one that comes later.
    let reserved = store.reserve(&block(5), 4_000).unwrap();
    store.label(reserved, first);
    store.label(ours, first);
    assert!(!store.is_labelled(first));
    store.release(reserved);
    put(&mut store, 0, 4_000).unwrap();
    assert!(store.forget_labelled(first) && has(&mut store, 0, 4_000));
    // What was forgotten stays so; labels do not outlast a reset, and their blocks do.
    let mut store = mount(&mut flash, 9);
    assert!(!store.is_labelled(second) && store.forget_labelled(second));
    assert_eq!(which(&store, 0..9), [0, 1, 2]);
}

#[test]
fn ages_count_powered_time_without_a_clock() {
    let mut flash = Words4::new(8, 1);
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    let age = |store: &dyn Store, now| store.age(&segment(7), now).map(|age| age.millis() / 1_000);
    let mut store = mount(&mut flash, 9);
    store.set_time(at(1_000));
    put(&mut store, 0, 100).unwrap();
    store.set_time(at(1_060));
    put(&mut store, 1, 100).unwrap();
    assert_eq!(age(&store, at(1_100)), Some(100));
    // The origin of time is another one.
    let mut store = mount(&mut flash, 9);
    assert_eq!(age(&store, at(0)), Some(60));
    store.set_time(at(5));
    store.set_max_age(Duration::from_secs(100));
    assert_eq!((age(&store, at(15)), store.blocks(&segment(7))), (Some(70), 2));
    store.pin(store.find(&block(0)).unwrap().slot);
    store.set_time(at(5 + 41));
    assert_eq!((which(&store, 0..2), age(&store, at(5 + 41)), store.count()), (vec![1], Some(41), 2));
    store.set_time(at(5 + 101));
    // The one that is pinned stays for who reads it.
    assert_eq!((which(&store, 0..2), store.count()), (vec![], 1));
    assert_eq!(store.reserve(&block(0), 1), Err(ReserveError::Exists));
    put(&mut store, 1, 100).unwrap();

    // With a clock, all time counts.
    let mut store = FlashStore::mount(&mut flash, vec![Entry::EMPTY; 9], 1_000_000).unwrap();
    store.set_max_age(Duration::from_secs(100));
    assert_eq!((store.count(), store.blocks(&segment(7))), (2, 0));
    assert_eq!((store.expired(), store.segments()), (2, 1));
    put(&mut store, 1, 100).unwrap();
    assert_eq!(age(&store, at(0)), Some(0));
    put_block(&mut store, BlockId { segment: segment(8), index: 0 }, 100).unwrap();
    assert_eq!((store.count(), store.expired(), store.segments()), (3, 1, 2));
}

#[test]
fn what_the_flash_cannot_write_is_no_block() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        flash.failing = Some(|operation| operation.wrapping_mul(2_654_435_761) >> 26 == 0);
        let mut store = mount(&mut flash, 9);
        let mut failed = [0; 3];
        for round in 0..200 {
            let index = round % 30;
            let Ok(slot) = store.reserve(&block(index), 3_000) else {
                failed[0] += 1;
                continue;
            };
            if let Err(error) = fill(&mut store, slot, index, 3_000) {
                assert_eq!(error, StoreError::Damaged);
                assert_eq!(store.write(slot, 0, &[1]), Err(StoreError::OutOfRange));
                assert_eq!(store.read(slot, 0, &mut [0]), Err(StoreError::OutOfRange));
                failed[1] += 1;
            } else if finish(&mut store, slot, index, 3_000).is_err() {
                failed[2] += 1;
            } else {
                assert!(has(&mut store, index, 3_000));
                continue;
            }
            assert!(store.find(&block(index)).is_none() && store.take_error().is_some());
            store.release(slot);
        }
        // What it could write is there.
        assert!(failed[0] > 0 && failed[1] > 0, "{failed:?}");
        let left = which(&store, 0..30);
        assert!(left.iter().all(|index| has(&mut store, *index, 3_000)));
        let mut store = mount(&mut flash, 9);
        for index in which(&store, 0..30) {
            assert!(has(&mut store, index, 3_000));
        }
    }
    on_all!(check);
}
