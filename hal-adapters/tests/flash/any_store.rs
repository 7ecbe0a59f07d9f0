//! What any store does.

use super::*;

/// Half of what there is room for in 12 sectors of 4 KiB.
const LEN: usize = 5_000;

#[test]
fn nothing_is_found_before_it_is_committed() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        let store = &mut mount(&mut flash, 5);
        let slot = store.reserve(&block(3), LEN as u32).unwrap();
        fill(store, slot, 3, LEN).unwrap();
        assert_eq!((store.find(&block(3)), store.blocks(&segment(7)), store.count()), (None, 0, 0));
        assert_eq!(store.next_block(&segment(7), 0), None);
        assert_eq!(store.reserve(&block(3), 16), Err(ReserveError::Exists));
        store.release(slot);
        put(store, 3, LEN).unwrap();
        assert_eq!(store.reserve(&block(3), 16), Err(ReserveError::Exists));
    }
    on_all!(check);
}

#[test]
fn pieces_in_order_and_read_at_any_offset() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        let store = &mut mount(&mut flash, 5);
        let bytes = text(1, LEN);
        let slot = store.reserve(&block(1), LEN as u32).unwrap();
        store.write(slot, 0, &bytes[..7]).unwrap();
        for (offset, len) in [(0, 7), (8, 1), (LEN as u32, 1), (u32::MAX, 1), (4, LEN)] {
            assert_eq!(store.write(slot, offset, &bytes[..len]), Err(StoreError::OutOfRange));
        }
        assert_eq!(store.read(slot, 0, &mut [0; 7]), Err(StoreError::OutOfRange), "it is not full");
        assert!(finish(store, slot, 1, LEN).is_err());
        for (at, end) in [(7, 7), (7, 8), (8, 4_096), (4_096, LEN)] {
            store.write(slot, at, &bytes[at as usize..end]).unwrap();
        }
        for committed in [false, true] {
            for (offset, len) in [(0, LEN), (4_095, 2), (4_096, 904), (7, 1), (LEN, 0), (13, 4_500)] {
                let mut piece = vec![0; len];
                store.read(slot, offset as u32, &mut piece).unwrap();
                assert!(piece == bytes[offset..offset + len], "{offset} {len} {committed}");
            }
            for (offset, len) in [(LEN as u32 - 1, 2), (LEN as u32, 1), (u32::MAX, 1)] {
                assert_eq!(store.read(slot, offset, &mut [0; 2][..len]), Err(StoreError::OutOfRange));
            }
            if !committed {
                finish(store, slot, 1, LEN).unwrap();
            }
        }
        assert_eq!(store.write(slot, 0, &[0]), Err(StoreError::Stale));
        assert!(has(store, 1, LEN));
    }
    on_all!(check);
}

#[test]
fn what_is_gone_is_stale() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        stores::what_is_gone_is_stale(&mut mount(&mut flash, 1), put_block, LEN);
    }
    on_all!(check);
}

#[test]
fn parts_of_segments() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        let store = &mut mount(&mut flash, 5);
        stores::parts_of_segments(store, put_block);
        assert_eq!(store.age(&segment(9), Instant::ZERO), None);
    }
    on_all!(check);
}

#[test]
fn what_cannot_be_verified_is_apart() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        stores::what_cannot_be_verified_is_apart(&mut mount(&mut flash, 5), put_block);
    }
    on_all!(check);
}

#[test]
fn the_oldest_block_makes_room_unless_it_is_pinned() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        for rows in [5, 99] {
            let store = &mut mount(&mut flash, rows);
            let slots: Vec<_> = (0..5).map(|index| put(store, index, LEN).unwrap()).collect();
            store.pin(slots[0]);
            store.pin(slots[2]);
            store.pin(slots[2]);
            put_all(store, 5..40, LEN);
            assert!(has(store, 0, LEN) && has(store, 2, LEN) && has(store, 39, LEN));
            // Who lies beside them may stay, too.
            assert_eq!(which(store, 4..35), []);
            store.unpin(slots[0]);
            store.unpin(slots[2]);
            put_all(store, 50..70, LEN);
            assert!(!has(store, 0, LEN) && has(store, 2, LEN));
            for index in which(store, 0..99) {
                store.release(store.find(&block(index)).unwrap().slot);
            }
            assert_eq!(store.count(), 0);
        }
    }
    on_all!(check);
}

#[test]
fn what_never_fits_moves_nobody() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        let store = &mut mount(&mut flash, 99);
        put(store, 0, LEN).unwrap();
        for len in [12 * 4_096, u32::MAX] {
            assert_eq!(store.reserve(&block(1), len), Err(ReserveError::Full));
        }
        assert!(has(store, 0, LEN));
        // Everything is pinned or reserved, but for the last one.
        store.pin(store.find(&block(0)).unwrap().slot);
        let mut reserved = Vec::new();
        while reserved.len() < 5 {
            let index = 1 + reserved.len() as u32;
            reserved.push(store.reserve(&block(index), LEN as u32).unwrap());
        }
        put(store, 20, LEN).unwrap();
        assert_eq!(store.reserve(&block(30), 6 * LEN as u32), Err(ReserveError::Full));
        assert!(has(store, 0, LEN) && has(store, 20, LEN));
        // They are written by turns, and none disturbs the other.
        let texts: Vec<_> = (1..=5).map(|index| text(index, LEN)).collect();
        for at in (0..LEN).step_by(50) {
            for (slot, text) in reserved.iter().zip(&texts) {
                store.write(*slot, at as u32, &text[at..at + 50]).unwrap();
            }
        }
        for (before, slot) in reserved.iter().enumerate().rev() {
            finish(store, *slot, before as u32 + 1, LEN).unwrap();
        }
        assert_eq!(which(store, 0..40), [0, 1, 2, 3, 4, 5, 20]);
        assert!((0..=5).all(|index| has(store, index, LEN)) && has(store, 20, LEN));
        // All of the flash, once nobody holds any.
        store.unpin(store.find(&block(0)).unwrap().slot);
        put(store, 40, 35_000).unwrap();
        assert!(has(store, 40, 35_000));
    }
    on_all!(check);
}

#[test]
fn a_table_without_a_free_row_is_full() {
    let mut flash = Words4::new(12, 1);
    let store = &mut mount(&mut flash, 2);
    let slot = put(store, 0, 100).unwrap();
    store.pin(slot);
    store.reserve(&block(1), 100).unwrap();
    assert_eq!(store.reserve(&block(2), 100), Err(ReserveError::Full));
    store.unpin(slot);
    put(store, 2, 100).unwrap();
    assert_eq!(which(store, 0..3), [2]);
}
