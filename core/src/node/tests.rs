use super::*;
use crate::crypto::SoftCrypto;
use crate::store::ram::{Entry, Page, RamStore};

struct NoEntropy;

impl rand_core::TryRng for NoEntropy {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(4)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(4)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.fill(4);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for NoEntropy {}

type Sized<const STREAMS: usize, const BLOCKS: usize> =
    Node<RamStore<[Page; 0], [Entry; 0], [u8; 0]>, SoftCrypto, NoEntropy, STREAMS, BLOCKS>;

/// A block of 64 KiB must not need a buffer of 64 KiB, nor anything near it.
#[test]
fn a_block_in_flight_takes_little_memory() {
    let block = (size_of::<Sized<4, 9>>() - size_of::<Sized<4, 1>>()) / 8;
    assert!(block <= 1_024, "{block} bytes for each block in flight");
    let stream = (size_of::<Sized<12, 1>>() - size_of::<Sized<4, 1>>()) / 8;
    assert!(stream <= 2_048, "{stream} bytes for each stream");
    let rest = size_of::<Sized<0, 0>>();
    assert!(rest <= 68 * 1_024, "{rest} bytes for all the rest");
    let rest = size_of::<Sized<0, 0>>();
    assert!(rest <= 68 * 1_024, "{rest} bytes for all the rest");
}
