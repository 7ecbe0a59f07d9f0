//! A set of blocks of one segment.

use crate::limits::SEGMENT_BLOCKS;

const WORDS: usize = SEGMENT_BLOCKS as usize / 64;

/// Which of a segment's up to 512 blocks are in the set.
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
    fn every_block_of_a_segment_fits() {
        let mut blocks = Blocks::default();
        for block in 0..SEGMENT_BLOCKS {
            assert!(!blocks.contains(block));
            blocks.insert(block);
            assert!(blocks.contains(block));
        }
        blocks.remove(511);
        assert!(!blocks.contains(511) && blocks.contains(510));
        blocks.insert(SEGMENT_BLOCKS);
        assert!(!blocks.contains(SEGMENT_BLOCKS));
    }
}
