//! The host's crypto providers: software, and a count of what it was asked to do; the fastest of a
//! core, and that of all cores.

use std::cell::Cell;
use std::rc::Rc;

use aes::{Aes128, Aes192, Aes256};
use cipher::array::Array;
use cipher::consts::U16;
use cipher::{BlockModeDecrypt, KeyIvInit as _};
use peerdist_core::crypto::{
    CipherBlock, CipherKey, Crypto, Digest, HashAlgorithm, HashState, Secret, SoftCrypto,
};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::lanes;

/// [`SoftCrypto`] with counters.
#[derive(Clone, Debug, Default)]
pub struct HostCrypto {
    counters: Rc<Counters>,
}

/// What a provider was asked to do.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes encrypted.
    pub encrypted: Cell<u64>,
    /// Bytes decrypted.
    pub decrypted: Cell<u64>,
    /// Bytes hashed.
    pub hashed: Cell<u64>,
}

impl HostCrypto {
    /// The counters, which go on counting.
    pub fn counters(&self) -> Rc<Counters> {
        self.counters.clone()
    }
}

impl Crypto for HostCrypto {
    fn hash_start(&mut self, algorithm: HashAlgorithm) -> HashState {
        SoftCrypto.hash_start(algorithm)
    }

    fn hash_update(&mut self, state: &mut HashState, data: &[u8]) {
        add(&self.counters.hashed, data.len());
        SoftCrypto.hash_update(state, data);
    }

    fn hash_finish(&mut self, state: HashState) -> Digest {
        SoftCrypto.hash_finish(state)
    }

    fn hmac(&mut self, algorithm: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Secret {
        SoftCrypto.hmac(algorithm, key, parts)
    }

    fn cbc_encrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]) {
        add(&self.counters.encrypted, size_of_val(blocks));
        SoftCrypto.cbc_encrypt(key, chain, blocks);
    }

    fn cbc_decrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]) {
        add(&self.counters.decrypted, size_of_val(blocks));
        SoftCrypto.cbc_decrypt(key, chain, blocks);
    }
}

fn add(counter: &Cell<u64>, bytes: usize) {
    counter.set(counter.get() + bytes as u64);
}

/// [`SoftCrypto`], but that it hashes several messages at once in the lanes of a vector unit, where
/// there is one and it is worth it: not for SHA-256, for which processors have instructions. And it
/// decrypts by the crate `cbc`, whose code is larger, and a sixth faster where many blocks go at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct FastCrypto;

impl Crypto for FastCrypto {
    fn hash_start(&mut self, algorithm: HashAlgorithm) -> HashState {
        SoftCrypto.hash_start(algorithm)
    }

    fn hash_update(&mut self, state: &mut HashState, data: &[u8]) {
        SoftCrypto.hash_update(state, data);
    }

    fn hash_finish(&mut self, state: HashState) -> Digest {
        SoftCrypto.hash_finish(state)
    }

    fn hash_many(&mut self, algorithm: HashAlgorithm, messages: &[&[u8]], digests: &mut [Digest]) {
        if messages.len() < 2 || !in_lanes(algorithm, messages, digests) {
            SoftCrypto.hash_many(algorithm, messages, digests);
        }
    }

    fn hmac(&mut self, algorithm: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Secret {
        SoftCrypto.hmac(algorithm, key, parts)
    }

    fn cbc_encrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]) {
        SoftCrypto.cbc_encrypt(key, chain, blocks);
    }

    fn cbc_decrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]) {
        let Some(&last) = blocks.last() else { return };
        let iv = (&*chain).into();
        match key {
            CipherKey::Aes128(key) => decrypt(cbc::Decryptor::<Aes128>::new(key.into(), iv), blocks),
            CipherKey::Aes192(key) => decrypt(cbc::Decryptor::<Aes192>::new(key.into(), iv), blocks),
            CipherKey::Aes256(key) => decrypt(cbc::Decryptor::<Aes256>::new(key.into(), iv), blocks),
        }
        *chain = last;
    }
}

fn decrypt<M: BlockModeDecrypt<BlockSize = U16>>(mut mode: M, blocks: &mut [CipherBlock]) {
    mode.decrypt_blocks(Array::cast_slice_from_core_mut(blocks));
}

/// [`FastCrypto`] on all cores at once, for who has many messages at hand.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllCores;

impl Crypto for AllCores {
    fn hash_start(&mut self, algorithm: HashAlgorithm) -> HashState {
        FastCrypto.hash_start(algorithm)
    }

    fn hash_update(&mut self, state: &mut HashState, data: &[u8]) {
        FastCrypto.hash_update(state, data);
    }

    fn hash_finish(&mut self, state: HashState) -> Digest {
        FastCrypto.hash_finish(state)
    }

    fn hash_many(&mut self, algorithm: HashAlgorithm, messages: &[&[u8]], digests: &mut [Digest]) {
        // Shares small enough that no core idles long at the end, and large enough to fill lanes.
        let share = messages.len().div_ceil(4 * rayon::current_num_threads()).max(MIN_SHARE);
        let shares = messages.par_chunks(share).zip(digests.par_chunks_mut(share));
        shares.for_each(|(messages, digests)| FastCrypto.hash_many(algorithm, messages, digests));
    }

    fn hmac(&mut self, algorithm: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Secret {
        FastCrypto.hmac(algorithm, key, parts)
    }

    fn cbc_encrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]) {
        FastCrypto.cbc_encrypt(key, chain, blocks);
    }

    fn cbc_decrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]) {
        FastCrypto.cbc_decrypt(key, chain, blocks);
    }
}

/// Messages that one core takes at least: twice the lanes of its vector unit.
const MIN_SHARE: usize = 16;

/// `false` if there are no lanes for `algorithm`.
#[cfg(target_arch = "x86_64")]
fn in_lanes(algorithm: HashAlgorithm, messages: &[&[u8]], digests: &mut [Digest]) -> bool {
    let initial = match algorithm {
        HashAlgorithm::Sha256 => return false,
        HashAlgorithm::Sha384 => &lanes::SHA384,
        HashAlgorithm::Sha512 | HashAlgorithm::TruncatedSha512 => &lanes::SHA512,
    };
    let mut states = vec![[0; 8]; messages.len()];
    if !lanes::hash_many(initial, messages, &mut states) {
        return false;
    }
    for (digest, state) in digests.iter_mut().zip(states) {
        let bytes = state.map(u64::to_be_bytes);
        let bytes = bytes.as_flattened().get(..algorithm.digest_len()).and_then(Digest::from_slice);
        *digest = bytes.expect("a state is as long as the longest digest");
    }
    true
}

#[cfg(not(target_arch = "x86_64"))]
fn in_lanes(_: HashAlgorithm, _: &[&[u8]], _: &mut [Digest]) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_at_once_are_as_one_by_one() {
        let content: Vec<u8> = (0..1_000u32).map(|i| (i * i % 253) as u8).collect();
        for count in [0, 1, 2, 9, 40] {
            let messages: Vec<&[u8]> = (0..count).map(|i| &content[i..21 * i]).collect();
            for algorithm in [
                HashAlgorithm::Sha256,
                HashAlgorithm::Sha384,
                HashAlgorithm::Sha512,
                HashAlgorithm::TruncatedSha512,
            ] {
                let (mut expected, mut digests) = (vec![Digest::EMPTY; count], vec![Digest::EMPTY; count]);
                SoftCrypto.hash_many(algorithm, &messages, &mut expected);
                FastCrypto.hash_many(algorithm, &messages, &mut digests);
                assert_eq!(digests, expected, "{count} {algorithm:?}");
                digests.fill(Digest::EMPTY);
                AllCores.hash_many(algorithm, &messages, &mut digests);
                assert_eq!(digests, expected, "{count} {algorithm:?}");
            }
        }
    }

    #[test]
    fn what_is_decrypted_is_as_in_core() {
        let (key, iv) = ([7; 32], [9; 16]);
        let sealed: Vec<CipherBlock> = (0..300u32).map(|i| [(i * i % 253) as u8; 16]).collect();
        for key in [
            CipherKey::Aes128(key.first_chunk().unwrap()),
            CipherKey::Aes192(key.first_chunk().unwrap()),
            CipherKey::Aes256(&key),
        ] {
            for count in [0, 1, 7, 8, 9, 63, 64, 130] {
                // The second piece goes on where the first one ended.
                let both: [&mut dyn Crypto; 2] = [&mut SoftCrypto, &mut FastCrypto];
                let [expected, found] = both.map(|crypto| {
                    let (mut blocks, mut chain) = (sealed.clone(), iv);
                    let (first, second) = blocks.split_at_mut(count);
                    crypto.cbc_decrypt(key, &mut chain, first);
                    crypto.cbc_decrypt(key, &mut chain, second);
                    (blocks, chain)
                });
                assert_eq!(found, expected, "{count}");
            }
        }
    }
}
