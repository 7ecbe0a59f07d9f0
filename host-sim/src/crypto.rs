//! The host's crypto provider: software, and a count of what it was asked to do.

use std::cell::Cell;
use std::rc::Rc;

use peerdist_core::crypto::{
    CipherBlock, CipherKey, Crypto, Digest, HashAlgorithm, HashState, Secret, SoftCrypto,
};

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
