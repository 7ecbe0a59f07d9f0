//! The power goes in each write and each erase: what was committed is there.

use embedded_storage::nor_flash::NorFlash;

use super::*;

const LEN: [usize; 8] = [900, 3_000, 17, 5_000, 4_096, 1_500, 8_200, 100];

/// Blocks of the script, and one that comes after a cut.
const BLOCKS: u32 = 26;

fn len_of(index: u32) -> usize {
    LEN[index as usize % LEN.len()]
}

/// A part of a script that changes what is found, if anything does.
#[derive(Clone, Copy)]
enum Step {
    Put(u32),
    /// Begins a block and writes half of it.
    Begin(u32),
    /// Writes the other half, and commits it.
    End(u32),
    Release(u32),
    Pin(u32),
    Unpin(u32),
}

/// Blocks of many lengths, more than fit: alone, by turns, one that is never committed, and one that keeps
/// its sectors while the log comes round.
fn script() -> Vec<Step> {
    use Step::*;
    let mut steps = vec![Put(0), Begin(1), Begin(2), Put(3), End(2), End(1), Release(3), Begin(4), Put(5)];
    steps.extend([Pin(5), Put(6), Put(7), Release(0), Put(3)]);
    steps.extend((8..20).map(Put));
    steps.extend([Unpin(5), Begin(20), Begin(21), Release(18), End(21), Put(22), Put(23), Put(24)]);
    steps
}

/// Does a step; what fails is left.
fn step(store: &mut dyn Store, step: Step, slots: &mut Vec<(u32, SlotId)>) {
    let half = |index| len_of(index) / 2;
    match step {
        Step::Put(index) => {
            let Ok(slot) = store.reserve(&block(index), len_of(index) as u32) else { return };
            if fill(store, slot, index, len_of(index)).is_ok() {
                let _ = finish(store, slot, index, len_of(index));
            }
        }
        Step::Begin(index) => {
            let Ok(slot) = store.reserve(&block(index), len_of(index) as u32) else { return };
            let _ = store.write(slot, 0, &text(index, len_of(index))[..half(index)]);
            slots.push((index, slot));
        }
        Step::End(index) => {
            let Some((_, slot)) = slots.iter().find(|(other, _)| *other == index) else { return };
            let rest = &text(index, len_of(index))[half(index)..];
            if store.write(*slot, half(index) as u32, rest).is_ok() {
                let _ = finish(store, *slot, index, len_of(index));
            }
        }
        Step::Release(index) | Step::Pin(index) | Step::Unpin(index) => {
            let Some(stored) = store.find(&block(index)) else { return };
            match step {
                Step::Release(_) => store.release(stored.slot),
                Step::Pin(_) => store.pin(stored.slot),
                _ => store.unpin(stored.slot),
            }
        }
    }
}

/// Runs a script until the power goes; what is found before it and after each step.
fn run<F: NorFlash>(mut store: FlashStore<F, Vec<Entry>>, steps: &[Step]) -> Vec<Vec<u32>> {
    let (mut slots, mut found) = (Vec::new(), vec![which(&store, 0..BLOCKS)]);
    for part in steps {
        step(&mut store, *part, &mut slots);
        if store.take_error().is_some() {
            break;
        }
        found.push(which(&store, 0..BLOCKS));
    }
    found
}

/// What is found after a cut: what was there before the step and after it, maybe what was either, and each
/// with its text.
fn look<const R: usize, const W: usize, const S: usize>(
    flash: &mut Mock<R, W, S>,
    rows: usize,
    before: &[u32],
    after: &[u32],
) -> Vec<u32> {
    let mut store = mount(flash, rows);
    let found = which(&store, 0..BLOCKS);
    for index in 0..BLOCKS {
        let (was, is) = (before.contains(&index), after.contains(&index));
        assert!(found.contains(&index) || !was || !is, "block {index} is lost");
        assert!(!found.contains(&index) || was || is, "block {index} came from nowhere");
        assert_eq!(has(&mut store, index, len_of(index)), found.contains(&index));
    }
    found
}

fn every_cut<const R: usize, const W: usize, const S: usize>(
    new: Mock<R, W, S>,
    rows: usize,
    strides: [usize; 2],
) {
    let steps = script();
    let mut flash = new.clone();
    let found = run(mount(&mut flash, rows), &steps);
    assert!(found.len() == steps.len() + 1 && found.iter().any(|found| found.len() > 6));
    let again = flash.erases.iter().filter(|erases| **erases > 1).count();
    assert!(again * 3 > flash.erases.len() * 2, "{:?}: the log came round", flash.erases);
    for cut in (0..flash.operations).step_by(strides[0]) {
        let mut flash = new.clone();
        flash.cut = Some(cut);
        let done = run(mount(&mut flash, rows), &steps);
        let at = done.len();
        assert!(flash.is_off() && done == found[..at], "the same, up to the cut");
        flash.revive();
        let left = look(&mut flash, rows, &found[at - 1], &found[at]);

        // Once more, in each operation of what comes then.
        let again = [Step::Put(25), Step::Put(4)];
        let mut whole = flash.clone();
        let found = run(mount(&mut whole, rows), &again);
        assert_eq!(found[0], left, "each mount finds the same");
        for second in (flash.operations..whole.operations).step_by(strides[1]) {
            let mut flash = flash.clone();
            flash.cut = Some(second);
            let at = run(mount(&mut flash, rows), &again).len();
            assert!(flash.is_off());
            flash.revive();
            look(&mut flash, rows, &found[at - 1], &found[at]);
            let known = found[at].contains(&24);
            assert_eq!(put(&mut mount(&mut flash, rows), 24, 100).is_ok(), !known);
        }
    }
}

#[test]
fn in_words_of_4_bytes() {
    every_cut(Words4::new(8, 1), 30, [1, 3]);
}

#[test]
fn in_words_of_32_bytes() {
    every_cut(Words32::new(8, 2), 30, [1, 3]);
}

#[test]
fn in_bytes() {
    every_cut(Bytes::new(130, 3), 30, [3, 11]);
}

/// The index has less rows than there is room for blocks.
#[test]
fn with_few_rows() {
    every_cut(Words32::new(8, 4), 8, [2, 7]);
}
