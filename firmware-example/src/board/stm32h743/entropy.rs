//! The hardware's source of random numbers, which is analog noise, with tests of its own.

use core::convert::Infallible;

use embassy_stm32::peripherals::RNG;
use embassy_stm32::rng::Rng;
use rand_core::{TryCryptoRng, TryRng};

/// It. While its tests fail, it begins anew, and whoever asks waits: in the end for the watchdog.
pub struct Entropy(pub Rng<'static, RNG>);

impl TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}
