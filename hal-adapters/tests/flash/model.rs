//! Any calls in any order, held against a model.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::*;

const BLOCKS: u32 = 24;

/// Bytes of a block, which differ from one time that it is stored to the next.
fn len_of(index: u32, round: u32) -> usize {
    (index * 613 + round * 97) as usize % 7_000
}

/// What must be true of a store.
#[derive(Default)]
struct Model {
    /// Blocks that were committed and not released, maybe evicted since: their round.
    kept: BTreeMap<u32, u32>,
    pinned: BTreeMap<u32, SlotId>,
    /// Slot, round and bytes so far.
    reserved: BTreeMap<u32, (SlotId, u32, usize)>,
}

fn play<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut below = move |bound: u32| rng.next_u32() % bound;
    let (mut model, mut committed, mut evicted) = (Model::default(), 0, 0);
    let mut store = mount(&mut flash, 16);
    for round in 0..600 {
        let index = below(BLOCKS);
        match below(12) {
            0..4 => match store.reserve(&block(index), len_of(index, round) as u32) {
                Ok(slot) => {
                    assert!(!model.reserved.contains_key(&index) && !model.pinned.contains_key(&index));
                    model.kept.remove(&index);
                    model.reserved.insert(index, (slot, round, 0));
                }
                Err(ReserveError::Exists) => {
                    assert!(model.reserved.contains_key(&index) || model.kept.contains_key(&index));
                }
                Err(ReserveError::Full) => assert!(!model.reserved.is_empty() || !model.pinned.is_empty()),
            },
            4..9 => {
                let Some((&index, &mut (slot, round, ref mut at))) = model.reserved.iter_mut().next() else {
                    continue;
                };
                let text = text(index, len_of(index, round));
                let end = text.len().min(*at + below(3_000) as usize);
                store.write(slot, *at as u32, &text[*at..end]).unwrap();
                *at = end;
                if end == text.len() {
                    finish(&mut store, slot, index, end).unwrap();
                    committed += 1;
                    model.reserved.remove(&index);
                    model.kept.insert(index, round);
                    assert!(store.find(&block(index)).is_some());
                }
            }
            9 => {
                if let Some(stored) = store.find(&block(index)) {
                    if model.pinned.remove(&index).is_some() {
                        store.unpin(stored.slot);
                    } else if model.pinned.len() < 3 {
                        store.pin(stored.slot);
                        model.pinned.insert(index, stored.slot);
                    }
                }
            }
            10 => {
                let slot = store.find(&block(index)).map(|stored| stored.slot);
                let slot = slot.or(model.reserved.get(&index).map(|(slot, ..)| *slot));
                if let Some(slot) = slot {
                    store.release(slot);
                    assert_eq!(store.read(slot, 0, &mut []), Err(StoreError::Stale));
                    model.kept.remove(&index);
                    model.pinned.remove(&index);
                    model.reserved.remove(&index);
                }
            }
            _ if below(4) == 0 => {
                let before = which(&store, 0..BLOCKS);
                store = mount(&mut flash, 16);
                assert_eq!(which(&store, 0..BLOCKS), before);
                (model.pinned, model.reserved) = Default::default();
            }
            _ => {}
        }
        for index in 0..BLOCKS {
            let found = store.find(&block(index));
            assert!(found.is_none() || model.kept.contains_key(&index), "block {index} came from nowhere");
            let pinned = model.pinned.get(&index);
            assert!(pinned.is_none() || pinned == found.map(|stored| stored.slot).as_ref());
            if found.is_none() && model.kept.remove(&index).is_some() {
                evicted += 1;
            }
        }
        if let Some((&index, &of)) = model.kept.iter().nth(below(BLOCKS) as usize) {
            assert!(has(&mut store, index, len_of(index, of)));
        }
        let listed: Vec<_> = std::iter::successors(store.next_block(&segment(7), 0), |index| {
            store.next_block(&segment(7), *index)
        })
        .collect();
        assert_eq!(listed, which(&store, 1..BLOCKS));
        assert_eq!(store.blocks(&segment(7)) as usize, which(&store, 0..BLOCKS).len());
    }
    assert!(committed > 50 && evicted > 5, "{committed} {evicted}");
}

#[test]
fn any_calls_in_any_order() {
    for seed in 0..12 {
        play(Words4::new(10, seed), seed);
        play(Words32::new(14, seed), seed);
        play(Bytes::new(200, seed), seed);
    }
}
