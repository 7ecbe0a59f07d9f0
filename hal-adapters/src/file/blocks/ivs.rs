//! The IVs of blocks that were found or committed last: who finds a block is about to read it, and may look for it
//! again before each piece.

use core::cell::Cell;
use std::boxed::Box;

use peerdist_core::store::SlotId;

/// IVs that are kept, of the blocks that several hundred readers are in the middle of.
const PLACES: usize = 512;

pub struct Ivs(Box<[Kept]>);

type Iv = [u8; 16];

/// One of them, and whose it is.
type Kept = Cell<Option<(SlotId, Iv)>>;

impl Default for Ivs {
    fn default() -> Self {
        Self(core::iter::repeat_with(|| Cell::new(None)).take(PLACES).collect())
    }
}

impl Ivs {
    pub fn get(&self, slot: SlotId) -> Option<Iv> {
        self.place(slot)?.get().filter(|(kept, _)| *kept == slot).map(|(_, iv)| iv)
    }

    /// Keeps one, in the place of who had it.
    pub fn keep(&self, slot: SlotId, iv: Iv) {
        self.place(slot).into_iter().for_each(|place| place.set(Some((slot, iv))));
    }

    fn place(&self, slot: SlotId) -> Option<&Kept> {
        self.0.get(slot.index as usize % PLACES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shares_a_place_has_no_others_iv() {
        let (ivs, places) = (Ivs::default(), PLACES as u32);
        let slots = [(3, 0), (3, 1), (3 + places, 0)].map(|(index, generation)| SlotId { index, generation });
        for (&slot, byte) in slots.iter().zip(1..) {
            ivs.keep(slot, [byte; 16]);
            for other in slots {
                assert_eq!(ivs.get(other), (other == slot).then_some([byte; 16]));
            }
        }
    }
}
