//! This board has no source of entropy: what stands here is not secure.
//!
//! IVs and the names of messages come from it, and whoever knows when the machine was started can
//! predict them. A board for use has a hardware source, and no feature `insecure-entropy`.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

#[cfg(not(feature = "insecure-entropy"))]
compile_error!(
    "mps2-an385 has no source of entropy: build for a board that has one, or with the feature \
     `insecure-entropy` to try it in QEMU"
);

/// Numbers that look random (SplitMix64), and are not.
pub struct Entropy(u64);

impl Entropy {
    /// From a seed that at best differs from machine to machine.
    pub fn insecure(seed: u64) -> Self {
        Self(seed)
    }
}

impl TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| (number >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(mixed ^ mixed >> 31)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let number = self.try_next_u64()?.to_le_bytes();
            chunk.iter_mut().zip(number).for_each(|(byte, random)| *byte = random);
        }
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}
