//! A set of blocks of one stretch.

use super::stretch::STRETCH_BLOCKS;

const WORDS: usize = STRETCH_BLOCKS as usize / 64;

/// Which of a stretch's up to 512 blocks are in the set.
#[derive(Clone, Default)]
pub(super) struct Blocks([u64; WORDS]);

impl Blocks {
    pub(super) fn contains(&self, block: u32) -> bool {
        self.0.get(block as usize / 64).is_some_and(|word| word >> (block % 64) & 1 == 1)
    }

    pub(super) fn insert(&mut self, block: u32) {
        if let Some(word) = self.0.get_mut(block as usize / 64) {
            *word |= 1 << (block % 64);
        }
    }

    pub(super) fn remove(&mut self, block: u32) {
        if let Some(word) = self.0.get_mut(block as usize / 64) {
            *word &= !(1 << (block % 64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_of_a_stretch_fits() {
        let mut blocks = Blocks::default();
        for block in 0..STRETCH_BLOCKS {
            assert!(!blocks.contains(block));
            blocks.insert(block);
            assert!(blocks.contains(block));
        }
        blocks.remove(511);
        assert!(!blocks.contains(511) && blocks.contains(510));
        blocks.insert(STRETCH_BLOCKS);
        assert!(!blocks.contains(STRETCH_BLOCKS));
    }
}
