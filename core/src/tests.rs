//! What tests of several rooms share.

extern crate std;

use core::convert::Infallible;
use std::vec;
use std::vec::Vec;

use rand_core::{TryCryptoRng, TryRng};

use crate::content::segmenter::Segmentation;
use crate::content::{publish, server_secret, v1};
use crate::crypto::{HashAlgorithm, SoftCrypto};

/// Always draws the same number.
pub struct Fixed(pub u32);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.into())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(self.0 as u8);
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

/// The content information 1.0 of a content.
pub fn published_v1(content: &[u8]) -> Vec<u8> {
    published_by(HashAlgorithm::Sha256, content)
}

/// The same by any algorithm.
pub fn published_by(algorithm: HashAlgorithm, content: &[u8]) -> Vec<u8> {
    let len = content.len() as u64;
    let mut info = vec![0; v1::info_len(algorithm, len).unwrap() as usize];
    let ks = server_secret(&mut SoftCrypto, algorithm, b"secret");
    let mut publisher = publish::v1::Publisher::new(algorithm, ks, len).unwrap();
    publisher.update(&mut SoftCrypto, content, &mut info.as_mut_slice()).unwrap();
    publisher.finish(&mut info.as_mut_slice()).unwrap();
    info
}

/// The content information 2.0 of a content of not too many segments.
pub fn published_v2(content: &[u8], segmentation: Segmentation) -> Vec<u8> {
    let mut room = vec![0; 4_096 + content.len()];
    let ks = server_secret(&mut SoftCrypto, HashAlgorithm::TruncatedSha512, b"secret");
    let mut publisher = publish::v2::Publisher::new(ks, segmentation);
    publisher.update(&mut SoftCrypto, content, &mut room.as_mut_slice()).unwrap();
    let info = publisher.finish(&mut SoftCrypto, &mut room.as_mut_slice()).unwrap();
    room.truncate(info.encoded_len() as usize);
    room
}
