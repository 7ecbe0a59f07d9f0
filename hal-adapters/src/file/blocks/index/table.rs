//! Where the row of a segment is: a hash table of row numbers, 5 bytes for each at most.
//!
//! The hash has a key that nobody else knows, since who offers blocks chooses their names. The table is in [`SHARDS`]
//! parts that grow by an eighth each, so that neither half of it is empty after it grew, nor all of it there twice
//! while it grows, and so that nobody waits for a million rows to move.

use core::hash::BuildHasher;
use std::collections::hash_map::RandomState;
use std::vec;
use std::vec::Vec;

use super::row::NONE;

/// Parts of the table.
const SHARDS: usize = 256;

/// Bits of a slot that its row has; the others are of the hash, so that few rows are looked at in vain.
const ROW_BITS: u32 = NONE.count_ones();

/// Nothing: its row is none.
const EMPTY: u32 = u32::MAX;

/// Of so many slots, [`FILLED`] are taken at most: who looks for what is not there finds an end.
const SLOTS: usize = 10;
const FILLED: usize = 9;

/// Rows by hash. The names themselves are in the rows, and callers look there.
pub struct Table {
    key: RandomState,
    shards: Vec<Shard>,
}

#[derive(Clone, Default)]
struct Shard {
    slots: Vec<u32>,
    taken: usize,
}

/// What a name comes to.
#[derive(Clone, Copy)]
pub struct Hash(u64);

impl Default for Table {
    fn default() -> Self {
        Self { key: RandomState::new(), shards: vec![Shard::default(); SHARDS] }
    }
}

impl Table {
    pub fn hash(&self, name: &[u8]) -> Hash {
        hash_of(&self.key, name)
    }

    /// The row of that hash that `is_it`.
    pub fn find(&self, hash: Hash, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let shard = self.shards.get(hash.shard())?;
        shard.position(hash, is_it).map(|(_, row)| row)
    }

    /// Adds a row which is not there; `name` says what was hashed of any that is.
    pub fn insert<'a>(&mut self, hash: Hash, row: u32, name: impl Fn(u32) -> &'a [u8]) {
        let Some(shard) = self.shards.get_mut(hash.shard()) else { return };
        if (shard.taken + 1) * SLOTS > shard.slots.len() * FILLED {
            // Most rows are far from the processor. To ask for all at once takes a third of the time.
            let rows = shard.slots.iter().filter(|slot| **slot != EMPTY).map(|slot| slot & NONE);
            let near = rows.fold(0, |sum, row| sum ^ name(row).first().copied().unwrap_or(0));
            core::hint::black_box(near);
            shard.grow(|row| hash_of(&self.key, name(row)));
        }
        shard.insert(hash, row);
    }

    /// Puts a row in the place of another of the same hash.
    pub fn replace(&mut self, hash: Hash, old: u32, new: u32) {
        let Some(shard) = self.shards.get_mut(hash.shard()) else { return };
        if let Some((at, _)) = shard.position(hash, |row| row == old)
            && let Some(slot) = shard.slots.get_mut(at)
        {
            *slot = hash.slot(new);
        }
    }

    /// Removes a row.
    pub fn remove<'a>(&mut self, hash: Hash, row: u32, name: impl Fn(u32) -> &'a [u8]) {
        let Some(shard) = self.shards.get_mut(hash.shard()) else { return };
        if let Some((at, _)) = shard.position(hash, |other| other == row) {
            shard.remove(at, |row| hash_of(&self.key, name(row)));
        }
    }
}

fn hash_of(key: &RandomState, name: &[u8]) -> Hash {
    Hash(key.hash_one(name))
}

impl Shard {
    /// The slot at which the search for a hash begins.
    fn home(&self, hash: Hash) -> usize {
        let spread = u64::from(hash.0 as u32).saturating_mul(self.slots.len() as u64);
        (spread >> u32::BITS) as usize
    }

    /// All slots from one on.
    fn from(&self, start: usize) -> impl Iterator<Item = (usize, u32)> {
        let slots = self.slots.iter().copied().enumerate();
        slots.clone().skip(start).chain(slots.take(start))
    }

    fn position(&self, hash: Hash, is_it: impl Fn(u32) -> bool) -> Option<(usize, u32)> {
        let taken = self.from(self.home(hash)).take_while(|(_, slot)| *slot != EMPTY);
        let mut alike = taken.filter(|(_, slot)| (slot ^ hash.slot(0)) >> ROW_BITS == 0);
        alike.find_map(|(at, slot)| Some((at, slot & NONE)).filter(|(_, row)| is_it(*row)))
    }

    /// Takes the first empty slot. There is one.
    fn insert(&mut self, hash: Hash, row: u32) {
        let empty = self.from(self.home(hash)).find(|(_, slot)| *slot == EMPTY);
        if let Some((at, _)) = empty
            && let Some(slot) = self.slots.get_mut(at)
        {
            *slot = hash.slot(row);
            self.taken += 1;
        }
    }

    fn grow(&mut self, hash_of: impl Fn(u32) -> Hash) {
        let len = self.slots.len() + self.slots.len() / 8 + 8;
        let old = core::mem::replace(self, Self { slots: vec![EMPTY; len], taken: 0 });
        for slot in old.slots.into_iter().filter(|slot| *slot != EMPTY) {
            let row = slot & NONE;
            self.insert(hash_of(row), row);
        }
    }

    /// Empties a slot, into which moves who was displaced by it, and so on.
    fn remove(&mut self, mut hole: usize, hash_of: impl Fn(u32) -> Hash) {
        let len = self.slots.len();
        let behind = |from: usize, to: usize| if to >= from { to - from } else { to + len - from };
        let mut at = hole;
        loop {
            at = (at + 1) % len;
            let Some(&slot) = self.slots.get(at).filter(|slot| **slot != EMPTY) else { break };
            // Who would be before its home there stays.
            if behind(self.home(hash_of(slot & NONE)), at) < behind(hole, at) {
                continue;
            }
            self.slots.swap(hole, at);
            hole = at;
        }
        if let Some(slot) = self.slots.get_mut(hole) {
            *slot = EMPTY;
            self.taken = self.taken.saturating_sub(1);
        }
    }
}

impl Hash {
    fn shard(self) -> usize {
        (self.0 >> u32::BITS) as usize % SHARDS
    }

    /// The row with as much of the hash as fits, of bits that say neither shard nor home.
    fn slot(self, row: u32) -> u32 {
        ((self.0 >> ROW_BITS >> u32::BITS) as u32) << ROW_BITS | row & NONE
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rows(shard: &Shard) -> usize {
        shard.slots.iter().filter(|slot| **slot != EMPTY).count()
    }

    /// Rows that share homes, also those of the end whose search goes on at the beginning, and with hashes that the
    /// slot cannot tell apart.
    #[test]
    fn rows_that_are_in_each_others_way() {
        // The home, from where it is, and what else the slot has.
        let hash = |row: u32| {
            let (home, tag) = ([0, 1, u32::MAX / 2, u32::MAX - 1, u32::MAX][row as usize % 5], row % 3);
            Hash(u64::from(tag) << (u32::BITS + ROW_BITS) | u64::from(home))
        };
        let (mut shard, mut there) = (Shard::default(), BTreeMap::new());
        let mut random = 3u32;
        for step in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let row = (random >> 8) % 60;
            let grows = step / 500 % 2 == 0;
            let found = shard.position(hash(row), |other| other == row);
            assert_eq!(found.is_some(), there.contains_key(&row), "row {row}");
            match found {
                None if grows => {
                    if (shard.taken + 1) * SLOTS > shard.slots.len() * FILLED {
                        shard.grow(hash);
                    }
                    shard.insert(hash(row), row);
                    there.insert(row, ());
                }
                Some((at, _)) if !grows => {
                    shard.remove(at, hash);
                    there.remove(&row);
                }
                _ => {}
            }
            assert_eq!((shard.taken, rows(&shard)), (there.len(), there.len()));
            for &row in there.keys() {
                assert!(shard.position(hash(row), |other| other == row).is_some(), "{row} at {step}");
            }
        }
        assert!(shard.slots.len() > 60);
    }

    /// No more slots than five for four rows, and always an empty one.
    #[test]
    fn a_shard_is_neither_empty_nor_full() {
        let mut shard = Shard::default();
        let hash = |row: u32| Hash(u64::from(row.wrapping_mul(2_654_435_761)));
        for row in 0..20_000 {
            if (shard.taken + 1) * SLOTS > shard.slots.len() * FILLED {
                shard.grow(hash);
            }
            shard.insert(hash(row), row);
            let (slots, taken) = (shard.slots.len(), shard.taken);
            assert!(taken < slots && (slots * 4 <= taken * 5 + 40), "{taken} of {slots}");
            assert_eq!(shard.slots.capacity(), slots);
        }
    }

    /// Nobody who does not know the key can make names that share a place.
    #[test]
    fn each_table_has_its_own_key() {
        let hashes = [Table::default(), Table::default()].map(|table| table.hash(&[7; 32]).0);
        assert_ne!(hashes[0], hashes[1]);
    }
}
