//! The number of starts grows, whatever happens to the power.

use peerdist_hal::flash::{Uncountable, count_start};

use super::*;

#[test]
fn each_start_is_one_more() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>) {
        // The flash comes with any bytes on it.
        for start in 1..300 {
            assert_eq!(count_start(&mut flash), Ok(start));
        }
        assert!(flash.erases.iter().sum::<u32>() > 2, "the pages came round");
    }
    check(Words4::new(2, 1));
    check(Words32::new(3, 2));
    check(Bytes::new(2, 3));
}

#[test]
fn the_power_goes_in_each_operation() {
    fn check<const R: usize, const W: usize, const S: usize>(mut flash: Mock<R, W, S>, before: u32) {
        for start in 1..=before {
            assert_eq!(count_start(&mut flash), Ok(start));
        }
        // So many starts that each page is begun, filled and erased.
        for start in before + 1..before + 160 {
            let mut whole = flash.clone();
            assert_eq!(count_start(&mut whole), Ok(start));
            for cut in flash.operations..whole.operations {
                let mut flash = flash.clone();
                flash.cut = Some(cut);
                assert!(count_start(&mut flash).is_err() && flash.is_off());
                flash.revive();
                let next = count_start(&mut flash).unwrap();
                // What was cut off was no start, or it was one.
                assert!(next == start || next == start + 1, "{next} after {}", start - 1);
                assert_eq!(count_start(&mut flash), Ok(next + 1));
            }
            flash = whole;
        }
    }
    check(Words4::new(2, 1), 200);
    check(Words32::new(2, 2), 20);
    check(Bytes::new(2, 3), 1);
}

/// Any bytes in place of some: the starts that are left count.
#[test]
fn damage_takes_the_starts_that_it_hits() {
    fn check<const R: usize, const W: usize, const S: usize>(sectors: usize, starts: u32) {
        let mut whole = Mock::<R, W, S>::new(sectors, 1);
        for start in 1..=starts {
            assert_eq!(count_start(&mut whole), Ok(start));
        }
        for seed in 0..400 {
            let mut flash = whole.clone();
            let noise = Mock::<R, W, S>::new(sectors, seed).bytes;
            let at = seed as usize * 40_503 % noise.len();
            let len = (noise.len() - at).min(1 + seed as usize);
            flash.bytes[at..at + len].copy_from_slice(&noise[..len]);
            if seed % 3 == 0 {
                // The mock's errors go with an erase of the sector in which they begin.
                flash.unreadable = at..(at + len).min(at / S * S + S);
            }
            let mut next = count_start(&mut flash).unwrap();
            // As many as structures of 32 bytes are hit, in part or whole.
            let hit = (len as u32).div_ceil(32) + 1;
            assert!(next <= starts + 1 && next + hit > starts, "{next} of {starts}, {hit} hit");
            // It goes on from there.
            for _ in 0..9 {
                let now = count_start(&mut flash).unwrap();
                assert!(now == next + 1, "{now} after {next}");
                next = now;
            }
        }
    }
    check::<4, 4, 4_096>(2, 300);
    check::<1, 32, 4_096>(3, 100);
    check::<1, 1, 256>(4, 30);
}

#[test]
fn one_sector_is_too_few() {
    assert_eq!(count_start(Words4::new(1, 1)), Err(Uncountable));
}
