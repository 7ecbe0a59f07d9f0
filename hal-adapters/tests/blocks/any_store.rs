//! What any store does; each has room for three blocks of three pages.

use super::*;

const LEN: usize = 3 * PAGE_BYTES - 100;

fn on_both(check: fn(&mut dyn Store)) {
    check(&mut RamStore::new(vec![Page::EMPTY; 9], vec![Entry::EMPTY; 3], []));
    let (_directory, mut files) = fresh(Options { max_size: 3 * (3 * 4_096 + 256) + 1, ..ROOM });
    check(&mut files);
}

#[test]
fn nothing_is_found_before_it_is_committed() {
    on_both(|store| {
        let slot = store.reserve(&block(3), 5_000).unwrap();
        store.write(slot, 0, &[1; 5_000]).unwrap();
        assert_eq!((store.find(&block(3)), store.blocks(&segment(7))), (None, 0));
        assert_eq!(store.next_block(&segment(7), 0), None);
        assert_eq!(store.reserve(&block(3), 16), Err(ReserveError::Exists));
        store.release(slot);
        put(store, 3, LEN).unwrap();
        assert_eq!(store.reserve(&block(3), 16), Err(ReserveError::Exists));
    });
}

#[test]
fn pieces_in_any_order() {
    on_both(|store| {
        let slot = store.reserve(&block(0), 10_000).unwrap();
        let bytes = text(9, 10_000);
        for at in [9_999, 3, 4_096, 8_000, 0] {
            let end = [3, 4_096, 8_000, 9_999, 10_000].into_iter().find(|end| *end > at).unwrap();
            store.write(slot, at as u32, &bytes[at..end]).unwrap();
        }
        let mut back = vec![0; 10_000];
        store.read(slot, 0, &mut back).unwrap();
        assert_eq!(back, bytes);
        store.read(slot, 4_000, &mut back[..5_000]).unwrap();
        assert_eq!(back[..5_000], bytes[4_000..9_000]);
        store.read(slot, 10_000, &mut []).unwrap();
        for (offset, len) in [(9_999, 2), (10_000, 1), (u32::MAX, 1)] {
            assert_eq!(store.write(slot, offset, &back[..len]), Err(StoreError::OutOfRange));
            assert_eq!(store.read(slot, offset, &mut back[..len]), Err(StoreError::OutOfRange));
        }
    });
}

#[test]
fn a_committed_block_is_read_at_any_offset() {
    on_both(|store| {
        let slot = put(store, 1, LEN).unwrap();
        assert!(has(store, 1, LEN));
        assert_eq!(store.write(slot, 0, &[0]), Err(StoreError::Stale));
        let stored = store.find(&block(1)).unwrap();
        assert_eq!((stored.slot, stored.plain_len, stored.len % 16), (slot, LEN as u32, 0));
        let mut sealed = vec![0; stored.len as usize];
        store.read(slot, 0, &mut sealed).unwrap();
        for (offset, len) in [(4_095, 2), (5_000, 5_000), (sealed.len() - 1, 1), (sealed.len(), 0), (1, 0)] {
            let mut piece = vec![0; len];
            store.read(slot, offset as u32, &mut piece).unwrap();
            assert_eq!(piece, sealed[offset..offset + len]);
        }
        assert_eq!(store.read(slot, stored.len, &mut [0]), Err(StoreError::OutOfRange));
    });
}

#[test]
fn a_block_from_a_peer_is_verified_where_it_lies() {
    on_both(|store| {
        put(store, 1, LEN).unwrap();
        let stored = store.find(&block(1)).unwrap();
        let mut sealed = vec![0; stored.len as usize];
        store.read(stored.slot, 0, &mut sealed).unwrap();
        store.release(stored.slot);
        for wrong in [true, false] {
            let slot = store.reserve(&block(1), stored.len).unwrap();
            sealed[5_000] ^= u8::from(wrong);
            store.write(slot, 0, &sealed).unwrap();
            sealed[5_000] ^= u8::from(wrong);
            let expected = expected(&text(1, LEN));
            let mut verifier =
                Verifier::new(&mut SoftCrypto, slot, stored.seal, stored.len, expected).unwrap();
            let result = loop {
                match verifier.step(store, &mut SoftCrypto, &key(), 1_000) {
                    Ok(false) => {}
                    result => break result,
                }
            };
            assert_eq!(result, if wrong { Err(VerifyError::Hash) } else { Ok(true) });
            assert_eq!(has(store, 1, LEN), !wrong);
            if wrong {
                store.release(slot);
            }
        }
    });
}

#[test]
fn what_is_gone_is_stale() {
    on_both(|store| stores::what_is_gone_is_stale(store, put_block, LEN));
}

#[test]
fn parts_of_segments() {
    on_both(|store| stores::parts_of_segments(store, put_block));
}

#[test]
fn what_cannot_be_verified_is_apart() {
    on_both(|store| stores::what_cannot_be_verified_is_apart(store, put_block));
}

#[test]
fn the_least_used_block_makes_room_unless_it_is_pinned() {
    on_both(|store| {
        let slots = [0, 1, 2].map(|index| put(store, index, LEN).unwrap());
        // Block 0 is used, so block 1 goes first; then 2 stays, and 0 is pinned.
        assert!(has(store, 0, LEN));
        put(store, 3, LEN).unwrap();
        assert_eq!(which(store, 0..4), [0, 2, 3]);
        store.pin(slots[0]);
        assert!(has(store, 2, LEN));
        put(store, 4, LEN).unwrap();
        assert_eq!(which(store, 0..5), [0, 2, 4]);
        for index in [0, 2, 4] {
            let slot = store.find(&block(index)).unwrap().slot;
            store.pin(slot);
        }
        assert_eq!(put(store, 5, LEN), Err(ReserveError::Full));
        store.unpin(slots[0]);
        assert_eq!(put(store, 5, LEN), Err(ReserveError::Full), "it was pinned twice");
        store.unpin(slots[0]);
        put(store, 5, LEN).unwrap();
        assert_eq!(which(store, 0..6), [2, 4, 5]);
    });
}

#[test]
fn what_never_fits_moves_nobody() {
    on_both(|store| {
        let reserved = [0, 1].map(|index| reserve(store, &block(index), LEN).unwrap());
        put(store, 2, LEN).unwrap();
        store.pin(store.find(&block(2)).unwrap().slot);
        assert_eq!(reserve(store, &block(3), LEN), Err(ReserveError::Full));
        reserved.into_iter().for_each(|slot| store.release(slot));
        assert_eq!(store.reserve(&block(3), u32::MAX), Err(ReserveError::Full));
        assert!(has(store, 2, LEN));
    });
}

#[test]
fn who_may_go_stays_if_that_is_not_enough() {
    on_both(|store| {
        let reserved = [0, 1].map(|index| reserve(store, &block(index), LEN).unwrap());
        put(store, 2, 100).unwrap();
        store.release(reserved[1]);
        put(store, 1, LEN).unwrap();
        store.pin(store.find(&block(1)).unwrap().slot);
        assert_eq!(reserve(store, &block(3), 4 * PAGE_BYTES), Err(ReserveError::Full));
        assert!(has(store, 2, 100));
        store.unpin(store.find(&block(1)).unwrap().slot);
        reserve(store, &block(3), 4 * PAGE_BYTES).unwrap();
        assert_eq!(which(store, 0..4), [2]);
    });
}

#[test]
fn blocks_are_forgotten_by_label() {
    on_both(|store| {
        let [first, second] = [0, 7].map(|number| Label::new(number).unwrap());
        assert_eq!(Label::new(8), None);
        let [ours, shared, theirs] = [0, 1, 2].map(|index| put(store, index, LEN).unwrap());
        for (slot, label) in [(ours, first), (shared, first), (shared, second), (theirs, second)] {
            store.label(slot, label);
        }
        let here = |store: &mut dyn Store| [0, 1, 2].map(|index| has(store, index, LEN));
        store.pin(ours);
        assert!(!store.forget_labelled(first), "it is being read");
        assert_eq!(here(store), [true; 3]);
        assert!(store.is_labelled(first));
        store.unpin(ours);
        assert!(store.forget_labelled(first));
        assert_eq!(here(store), [false, true, true]);
        assert!(!store.is_labelled(first));

        // Neither a block that is not whole has a label, nor one that comes later.
        let reserved = reserve(store, &block(5), LEN).unwrap();
        store.label(reserved, second);
        store.label(ours, second);
        assert!(store.forget_labelled(second));
        store.release(reserved);
        assert_eq!((here(store), store.is_labelled(second)), ([false; 3], false));
        put(store, 0, LEN).unwrap();
        assert!(store.forget_labelled(second) && store.forget_labelled(first));
        assert!(has(store, 0, LEN));
    });
}
