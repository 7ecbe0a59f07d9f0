//! A crypto provider that tells how much it was used.

use peerdist_core::crypto::{
    CipherBlock, CipherKey, Crypto, Digest, HashAlgorithm, HashState, Secret, SoftCrypto,
};

/// [`SoftCrypto`] that counts how often it is called.
#[derive(Default)]
pub struct Counting {
    /// Hashes begun.
    pub hashes: u64,
    /// HMACs.
    pub hmacs: u64,
    /// Calls of the cipher, either way.
    pub ciphers: u64,
}

impl Crypto for Counting {
    fn hash_start(&mut self, algorithm: HashAlgorithm) -> HashState {
        self.hashes += 1;
        SoftCrypto.hash_start(algorithm)
    }

    fn hash_update(&mut self, state: &mut HashState, data: &[u8]) {
        SoftCrypto.hash_update(state, data);
    }

    fn hash_finish(&mut self, state: HashState) -> Digest {
        SoftCrypto.hash_finish(state)
    }

    fn hmac(&mut self, algorithm: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Secret {
        self.hmacs += 1;
        SoftCrypto.hmac(algorithm, key, parts)
    }

    fn cbc_encrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]) {
        self.ciphers += 1;
        SoftCrypto.cbc_encrypt(key, chain, blocks);
    }

    fn cbc_decrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]) {
        self.ciphers += 1;
        SoftCrypto.cbc_decrypt(key, chain, blocks);
    }
}
