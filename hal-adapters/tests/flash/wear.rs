//! Erases are few, one at a time, and even.

use super::*;

#[test]
fn sectors_are_erased_in_turn() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        let sectors = flash.erases.len() as u32;
        let mut written = 0;
        for round in 0..40 {
            let mut store = mount(&mut flash, 99);
            for index in 0..7 {
                let len = 500 + 613 * index as usize;
                put(&mut store, round * 7 + index, len).unwrap();
                written += len as u32;
            }
        }
        let (least, most) = (flash.erases.iter().min().unwrap(), flash.erases.iter().max().unwrap());
        assert!(most - least <= 1 && *least > 3, "{:?}", flash.erases);
        let erases: u32 = flash.erases.iter().sum();
        assert_eq!(mount(&mut flash, 99).sectors_used(), erases);
        // The log has what was written and little more.
        assert!(u64::from(erases) * (S as u64) < u64::from(written) * 3 / 2, "{erases} for {written}");
        assert!(erases > sectors);
    }
    on_all!(check);
}

#[test]
fn one_erase_in_a_call() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        let count = |store: &FlashStore<&mut Mock<R, W, S>, Vec<Entry>>| store.sectors_used();
        let erased = |flash: &Mock<R, W, S>| flash.erases.iter().sum::<u32>();
        for index in 0..30 {
            let before = erased(&flash);
            let mut store = mount(&mut flash, 99);
            let used = count(&store);
            let slot = store.reserve(&block(index), 9_000).unwrap();
            // A reservation erases where its record begins; its room is its own at once.
            assert!(count(&store) - used >= 9_000 / S as u32);
            drop(store);
            assert!(erased(&flash) - before <= 1, "{:?}", slot);
        }
        let mut flash = Mock::<R, W, S>::new(flash.erases.len(), 1);
        // A piece that is no longer than a sector reaches one more at most.
        for piece in (1..=40).map(|index| index * 200 % S.min(1_024)).filter(|piece| *piece > 0) {
            let mut left = flash.clone();
            let mut store = mount(&mut left, 99);
            let slot = store.reserve(&block(1), 9_000).unwrap();
            let bytes = text(1, 9_000);
            let pieces = 3 * S / piece;
            for at in 0..pieces.min(9_000 / piece) {
                store.write(slot, (at * piece) as u32, &bytes[at * piece..(at + 1) * piece]).unwrap();
            }
            drop(store);
            assert!(erased(&left) as usize <= 2 + (pieces + 1) * piece / (S - 64));
            flash = left;
            flash.erases.fill(0);
        }
    }
    on_all!(check);
}

/// 1 MiB of an STM32H743, and blocks as they travel: 15 with their records.
#[test]
fn full_blocks_in_large_sectors() {
    const LEN: usize = 65_536 + 16;
    let mut flash = Mock::<1, 32, 131_072>::new(8, 1);
    let mut store = mount(&mut flash, 16);
    put_all(&mut store, 0..40, LEN);
    // One that is read stays, beside what comes in eight at a time.
    store.pin(store.find(&block(30)).unwrap().slot);
    for first in [40, 48, 56] {
        let slots: Vec<_> = (first..first + 8)
            .map(|index| (index, store.reserve(&block(index), LEN as u32).unwrap()))
            .collect();
        for (index, slot) in slots {
            fill(&mut store, slot, index, LEN).unwrap();
            finish(&mut store, slot, index, LEN).unwrap();
        }
    }
    assert!(has(&mut store, 30, LEN));
    store.unpin(store.find(&block(30)).unwrap().slot);
    put(&mut store, 64, 2 * 65_536 + 16).unwrap();
    let kept = which(&store, 50..64);
    assert!(kept.len() > 8 && kept.iter().all(|index| has(&mut store, *index, LEN)), "{kept:?}");
    let mut store = mount(&mut flash, 16);
    assert_eq!(which(&store, 50..64), kept);
    assert!(has(&mut store, 64, 2 * 65_536 + 16));
}

/// Who keeps a block pinned does not wear out the rest.
#[test]
fn the_log_jumps_over_what_is_pinned() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        let mut store = mount(&mut flash, 99);
        let slot = put(&mut store, 0, 100).unwrap();
        store.pin(slot);
        put_all(&mut store, 1..100, 3_000);
        assert!(has(&mut store, 0, 100));
        drop(store);
        // The last ones before it are too few for a whole block.
        let [first, ref rest @ ..] = flash.erases[..flash.erases.len() * 9 / 10] else { panic!() };
        let (least, most) = (rest.iter().min().unwrap(), rest.iter().max().unwrap());
        assert!(first == 1 && *least > 3 && most - least <= 1, "{:?}", flash.erases);
    }
    on_all!(check);
}

/// Where all others are held, the log does not erase its own sector: cut off in that, it would be taken for
/// the newest when it is mounted.
#[test]
fn the_sector_of_the_log_stays() {
    let mut flash = Words4::new(2, 1);
    let store = &mut mount(&mut flash, 9);
    let slot = put(store, 0, 3_000).unwrap();
    put(store, 1, 3_000).unwrap();
    store.pin(slot);
    assert_eq!(store.reserve(&block(2), 3_000), Err(ReserveError::Full));
    assert!(has(store, 0, 3_000) && has(store, 1, 3_000));
    store.unpin(slot);
    put(store, 2, 3_000).unwrap();
    assert!(has(store, 2, 3_000));
}
