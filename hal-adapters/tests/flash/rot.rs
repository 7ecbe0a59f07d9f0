//! Damage anywhere: what is damaged is not there, or is told; the rest is.

use super::*;

const LENS: [usize; 5] = [700, 3_000, 50, 6_000, 1_200];

fn len_of(index: u32) -> usize {
    LENS[index as usize % LENS.len()]
}

/// What is found after damage, and what can be read; whatever is read is right.
fn survey(store: &mut dyn Store, blocks: u32) -> [Vec<u32>; 2] {
    let found = which(store, 0..blocks);
    let reads = |index: &u32| {
        let stored = store.find(&block(*index)).unwrap();
        let mut back = vec![0; stored.len as usize];
        match store.read(stored.slot, 0, &mut back) {
            Ok(()) => assert!(back == text(*index, len_of(*index)), "block {index} has another text"),
            Err(error) => assert_eq!(error, StoreError::Damaged),
        }
        store.read(stored.slot, 0, &mut back).is_ok()
    };
    let read = found.iter().copied().filter(reads).collect();
    [found, read]
}

fn try_put(store: &mut dyn Store, index: u32) -> bool {
    let slot = store.reserve(&block(index), len_of(index) as u32).unwrap();
    fill(store, slot, index, len_of(index)).unwrap();
    let done = finish(store, slot, index, len_of(index)).is_ok();
    if !done {
        store.release(slot);
    }
    done
}

#[test]
fn one_page_after_another() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        const BLOCKS: u32 = 60;
        let touched = flash.touched.clone();
        let mut store = mount(&mut flash, 99);
        let mut sectors_of = Vec::new();
        for index in 0..BLOCKS {
            touched.take();
            put(&mut store, index, len_of(index)).unwrap();
            sectors_of.push(touched.take());
        }
        let all = which(&store, 0..BLOCKS);
        assert!(all.len() > 10 && all.len() < BLOCKS as usize);
        let page = S.min(512);
        let (mut lost, mut told) = (0, 0);
        let pages = (0..flash.bytes.len()).step_by(page);
        for (from, readable) in pages.flat_map(|from| [(from, true), (from, false)]) {
            let mut flash = flash.clone();
            if readable {
                let other = Mock::<R, W, S>::new(12, from as u64);
                flash.bytes[from..from + page].copy_from_slice(&other.bytes[..page]);
            } else {
                flash.unreadable = from..from + page;
            }
            let mut store = mount(&mut flash, 99);
            let [found, read] = survey(&mut store, BLOCKS);
            assert!(found.iter().all(|index| all.contains(index)));
            // Whoever has nothing in that sector is there.
            let apart = |index: &&u32| !sectors_of[**index as usize].contains(&(from / S));
            assert!(all.iter().filter(apart).all(|index| read.contains(index)), "{read:?} of {all:?}");
            lost += all.len() - found.len();
            told += found.len() - read.len();

            // It goes on, and what is damaged is written again.
            for index in all.iter().filter(|index| !read.contains(index)) {
                if let Some(stored) = store.find(&block(*index)) {
                    store.release(stored.slot);
                }
                // Where what is erased was damaged, it does not verify.
                assert!((0..6).any(|_| try_put(&mut store, *index)), "block {index}");
                assert!(has(&mut store, *index, len_of(*index)));
            }
        }
        assert!(lost > 0 && told > 0);
    }
    on_all!(check);
}

/// Whole sectors, as who erases the wrong one or has a worn one: whatever is in others stays.
#[test]
fn one_sector_after_another() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        const BLOCKS: u32 = 30;
        let touched = flash.touched.clone();
        let mut store = mount(&mut flash, 99);
        let mut sectors_of = Vec::new();
        for index in 0..BLOCKS {
            touched.take();
            put(&mut store, index, len_of(index)).unwrap();
            sectors_of.push(touched.take());
        }
        let all = which(&store, 0..BLOCKS);
        for sector in 0..flash.erases.len() {
            let bytes = sector * S..(sector + 1) * S;
            for damage in 0..4 {
                let mut flash = flash.clone();
                match damage {
                    0 => flash.bytes[bytes.clone()].fill(0),
                    1 => flash.bytes[bytes.clone()].fill(0xff),
                    2 => flash.unreadable = bytes.clone(),
                    _ => {
                        let noise = Mock::<R, W, S>::new(1, sector as u64).bytes;
                        flash.bytes[bytes.clone()].copy_from_slice(&noise);
                    }
                }
                let mut store = mount(&mut flash, 99);
                let [found, read] = survey(&mut store, BLOCKS);
                let intact = all.iter().filter(|index| !sectors_of[**index as usize].contains(&sector));
                let intact: Vec<u32> = intact.copied().collect();
                assert_eq!(read, intact, "sector {sector}, damage {damage}");
                assert!(found.iter().all(|index| all.contains(index)));
                // And the log goes on.
                for index in BLOCKS..BLOCKS + 3 {
                    assert!((0..6).any(|_| try_put(&mut store, index)), "block {index}");
                }
                drop(store);
                let mut store = mount(&mut flash, 99);
                assert!(has(&mut store, BLOCKS + 2, len_of(BLOCKS + 2)));
            }
        }
    }
    on_all!(check);
}

#[test]
fn anything_at_all_is_mounted() {
    fn check<const R: usize, const W: usize, const S: usize>(flash: Mock<R, W, S>) {
        let mut good = flash.clone();
        let mut store = mount(&mut good, 99);
        for index in 0..40 {
            put(&mut store, index, len_of(index)).unwrap();
        }
        for seed in 0..100 {
            // Sectors in any order, some twice, and bytes that changed here and there.
            let mut dice = Mock::<1, 1, 256>::new(8, seed).bytes.into_iter();
            let mut roll = |bound: usize| {
                let bytes = [dice.next().unwrap(), dice.next().unwrap(), dice.next().unwrap(), 0];
                u32::from_le_bytes(bytes) as usize % bound
            };
            let mut flash = good.clone();
            let sectors = flash.bytes.len() / S;
            for _ in 0..roll(sectors) {
                let (from, to) = (roll(sectors) * S, roll(sectors) * S);
                flash.copy_sector(from, to);
            }
            for _ in 0..roll(20) {
                let at = roll(flash.bytes.len());
                flash.bytes[at] ^= 1 << roll(8);
            }
            let [_, read] = survey(&mut mount(&mut flash, 99), 40);
            let [_, few] = survey(&mut mount(&mut flash, 3), 40);
            assert!(few.len() <= 3 && few.len() <= read.len());
        }
        // Nobody's bytes are an empty flash.
        let mut none = flash.clone();
        assert_eq!(mount(&mut none, 9).count(), 0);
        none.bytes.fill(0xff);
        assert_eq!(mount(&mut none, 9).count(), 0);
        none.bytes.fill(0);
        assert_eq!(mount(&mut none, 9).count(), 0);
    }
    on_all!(check);
}

/// A block was committed in the sector into which one goes on that was reserved before it.
#[test]
fn a_header_that_cannot_be_read_once() {
    let mut flash = Words4::new(12, 1);
    let once = flash.unreadable_once.clone();
    let store = &mut mount(&mut flash, 9);
    let slot = store.reserve(&block(0), 5_000).unwrap();
    put(store, 1, 900).unwrap();
    let text = text(0, 5_000);
    store.write(slot, 0, &text[..3_000]).unwrap();
    // The second sector begins with its header.
    once.set(Some(4_096));
    assert_eq!(store.write(slot, 3_000, &text[3_000..]), Err(StoreError::Damaged));
    assert_eq!(once.get(), None, "it was read");
    assert!(has(store, 1, 900));
}
