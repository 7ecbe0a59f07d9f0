//! The crypto provider: digest, HMAC and AES-CBC, each in pieces.
//!
//! The machine calls a [`Crypto`] that is given to it, so that a chip's hash and cipher engines,
//! or the many cores of a host, can stand in for [`SoftCrypto`].

use aes::{Aes128, Aes192, Aes256};
use cipher::array::Array;
use cipher::consts::U16;
use cipher::inout::InOutBuf;
use cipher::typenum::Unsigned;
use cipher::{
    BlockCipherDecBackend, BlockCipherDecClosure, BlockCipherDecrypt, BlockModeEncrypt, BlockSizeUser,
    KeyInit, KeyIvInit, ParBlocks,
};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::bytes::copy;
use crate::limits::MAX_DIGEST_BYTES;

/// A block of the AES cipher, and its chaining value in CBC mode.
pub type CipherBlock = [u8; 16];

/// Words of state that an engine of its own may keep in a [`HashState`]: what the hash processors
/// of common microcontrollers save when they switch context.
pub const ENGINE_STATE_WORDS: usize = 54;

/// Bytes that SHA-384 and SHA-512 take at a time.
const MAX_HASH_BLOCK_BYTES: usize = 128;

/// Bytes of SHA-512 that content information 2.0 uses.
const TRUNCATED_BYTES: usize = 32;

/// The digest behind a content information structure (MS-PCCRC 2.3 and 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum HashAlgorithm {
    /// SHA-256, what Windows uses.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// The first 32 bytes of SHA-512, behind content information 2.0 (MS-PCCRC 2.4). An HMAC of it
    /// is that of the whole SHA-512; only its output is cut (fact 4).
    TruncatedSha512,
}

impl HashAlgorithm {
    /// Bytes of a digest.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha256 | Self::TruncatedSha512 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Bytes that the hash takes at a time: what RFC 2104 calls B.
    const fn block_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 | Self::TruncatedSha512 => MAX_HASH_BLOCK_BYTES,
        }
    }
}

/// The output of a hash: public, such as a block hash or a segment hash of data (HoD).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    bytes: [u8; MAX_DIGEST_BYTES],
    len: u8,
}

impl Digest {
    /// Copies `bytes`; `None` if there are more than [`MAX_DIGEST_BYTES`].
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut digest = Self { bytes: [0; MAX_DIGEST_BYTES], len: u8::try_from(bytes.len()).ok()? };
        digest.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(digest)
    }

    /// No bytes at all: room for a digest.
    pub const EMPTY: Self = Self { bytes: [0; MAX_DIGEST_BYTES], len: 0 };

    /// Room for `len` bytes of a digest, [`MAX_DIGEST_BYTES`] at most, which are its bytes from now on.
    pub(crate) fn room(&mut self, len: usize) -> &mut [u8] {
        let len = len.min(MAX_DIGEST_BYTES);
        self.len = len as u8;
        self.bytes.get_mut(..len).unwrap_or_default()
    }

    /// As many of `bytes` as there is room for.
    fn cut(bytes: &[u8]) -> Self {
        let mut digest = Self::EMPTY;
        digest.len = copy(&mut digest.bytes, bytes) as u8;
        digest
    }

    /// The bytes of the digest.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    fn truncated(self) -> Self {
        let mut digest = Self::cut(self.bytes.get(..TRUNCATED_BYTES).unwrap_or_default());
        digest.len = digest.len.min(self.len);
        digest
    }

    fn wipe(&mut self) {
        self.bytes.zeroize();
    }
}

impl core::fmt::Debug for Digest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Digest {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=[u8]:02x}", self.as_bytes());
    }
}

/// Secret bytes as long as a digest: Ks, Kp and Ke. Wiped on drop, impossible to print, compared
/// in constant time.
#[derive(Clone)]
pub struct Secret(Digest);

impl Secret {
    /// No bytes at all: room for a secret.
    pub(crate) const EMPTY: Self = Self(Digest::EMPTY);

    /// Room for `len` secret bytes, [`MAX_DIGEST_BYTES`] at most: they get here without a buffer on the way.
    pub(crate) fn room(&mut self, len: usize) -> &mut [u8] {
        self.0.room(len)
    }

    /// Copies `bytes`; `None` if there are more than [`MAX_DIGEST_BYTES`].
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Digest::from_slice(bytes).map(Self)
    }

    /// The same bytes as a public value: for what is derived by HMAC and yet public, such as HoHoDk.
    pub fn publish(&self) -> Digest {
        self.0
    }

    /// The secret bytes. Whoever calls this keeps them out of logs and traces.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// What a hash of secret bytes gives is secret, too: it is wiped where it was.
impl From<&mut Digest> for Secret {
    fn from(digest: &mut Digest) -> Self {
        let secret = Self(*digest);
        digest.wipe();
        secret
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for Secret {}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

impl ZeroizeOnDrop for Secret {}

/// How a block is encrypted on the wire and at rest (MS-PCCRR 2.2.3, CryptoAlgoId).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CipherAlgorithm {
    /// No encryption.
    None,
    /// AES-128 in CBC mode.
    Aes128,
    /// AES-192 in CBC mode.
    Aes192,
    /// AES-256 in CBC mode.
    Aes256,
}

/// A key of one of the AES sizes, borrowed from a segment secret.
#[derive(Clone, Copy)]
pub enum CipherKey<'a> {
    /// 16 bytes.
    Aes128(&'a [u8; 16]),
    /// 24 bytes.
    Aes192(&'a [u8; 24]),
    /// 32 bytes.
    Aes256(&'a [u8; 32]),
}

impl CipherAlgorithm {
    /// The key that the segment secret `kp` gives: its first 16, 24 or 32 bytes (fact 34). `None`
    /// without encryption, or where the secret is shorter than the key.
    pub fn key(self, kp: &Secret) -> Option<CipherKey<'_>> {
        let kp = kp.expose();
        match self {
            Self::None => None,
            Self::Aes128 => kp.first_chunk().map(CipherKey::Aes128),
            Self::Aes192 => kp.first_chunk().map(CipherKey::Aes192),
            Self::Aes256 => kp.first_chunk().map(CipherKey::Aes256),
        }
    }

    /// Bytes that `plain` bytes take once encrypted: PKCS#7 always adds 1 to 16 (fact 34).
    pub const fn sealed_len(self, plain: u32) -> u32 {
        match self {
            Self::None => plain,
            _ => (plain / 16).saturating_add(1).saturating_mul(16),
        }
    }
}

/// How one block is sealed: what a receiver needs beside the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Seal {
    /// The cipher.
    pub algorithm: CipherAlgorithm,
    /// The initialization vector; meaningless without a cipher.
    pub iv: CipherBlock,
}

/// A hash under way. It moves freely: it holds no reference to its provider.
#[derive(Clone)]
pub enum HashState {
    /// SHA-256 in software.
    Sha256(Sha256),
    /// SHA-384 in software.
    Sha384(Sha384),
    /// SHA-512 in software.
    Sha512(Sha512),
    /// SHA-512 in software, of which 32 bytes count.
    TruncatedSha512(Sha512),
    /// Whatever an engine of its own saves between pieces.
    Engine([u32; ENGINE_STATE_WORDS]),
}

/// A provider of the primitives. The caller of each method hands in as much as it has, at best
/// [`PIECE_BYTES`](crate::limits::PIECE_BYTES) or more at a time.
pub trait Crypto {
    /// Begins a hash.
    fn hash_start(&mut self, algorithm: HashAlgorithm) -> HashState;

    /// Adds `data` to a hash that this provider began.
    fn hash_update(&mut self, state: &mut HashState, data: &[u8]);

    /// Ends a hash that this provider began.
    fn hash_finish(&mut self, state: HashState) -> Digest;

    /// The digests of several messages at once, each in the place of its message: where many cores
    /// or lanes are, they all have something to do. Neither slice is longer than
    /// [`HASH_BATCH`](crate::limits::HASH_BATCH) when core calls it.
    fn hash_many(&mut self, algorithm: HashAlgorithm, messages: &[&[u8]], digests: &mut [Digest]) {
        for (message, digest) in messages.iter().zip(digests) {
            let mut state = self.hash_start(algorithm);
            self.hash_update(&mut state, message);
            *digest = self.hash_finish(state);
        }
    }

    /// HMAC (RFC 2104) of the concatenation of `parts`. Segment secrets are HMACs, so each is taken
    /// for a secret until somebody says otherwise.
    fn hmac(&mut self, algorithm: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Secret;

    /// Encrypts `blocks` in place in CBC mode; `chain` holds the IV before and the last
    /// ciphertext block after, so that the next piece can follow.
    fn cbc_encrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]);

    /// Decrypts `blocks` in place in CBC mode; `chain` as for [`cbc_encrypt`](Self::cbc_encrypt).
    fn cbc_decrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]);
}

/// The RustCrypto crates as the provider: portable software, faster where the CPU has
/// instructions for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoftCrypto;

impl Crypto for SoftCrypto {
    fn hash_start(&mut self, algorithm: HashAlgorithm) -> HashState {
        match algorithm {
            HashAlgorithm::Sha256 => HashState::Sha256(Sha256::new()),
            HashAlgorithm::Sha384 => HashState::Sha384(Sha384::new()),
            HashAlgorithm::Sha512 => HashState::Sha512(Sha512::new()),
            HashAlgorithm::TruncatedSha512 => HashState::TruncatedSha512(Sha512::new()),
        }
    }

    fn hash_update(&mut self, state: &mut HashState, data: &[u8]) {
        match state {
            HashState::Sha256(hash) => hash.update(data),
            HashState::Sha384(hash) => hash.update(data),
            HashState::Sha512(hash) | HashState::TruncatedSha512(hash) => hash.update(data),
            // Only states begun by this provider come back to it, and it begins none of these.
            HashState::Engine(_) => {}
        }
    }

    fn hash_finish(&mut self, state: HashState) -> Digest {
        match state {
            HashState::Sha256(hash) => finish(hash),
            HashState::Sha384(hash) => finish(hash),
            HashState::Sha512(hash) => finish(hash),
            HashState::TruncatedSha512(hash) => finish(hash).truncated(),
            HashState::Engine(_) => Digest::cut(&[]),
        }
    }

    fn hmac(&mut self, algorithm: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Secret {
        hmac(self, algorithm, key, parts)
    }

    fn cbc_encrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]) {
        let iv = &Array::from(*chain);
        match key {
            CipherKey::Aes128(key) => run_encrypt(cbc::Encryptor::<Aes128>::new(key.into(), iv), blocks),
            CipherKey::Aes192(key) => run_encrypt(cbc::Encryptor::<Aes192>::new(key.into(), iv), blocks),
            CipherKey::Aes256(key) => run_encrypt(cbc::Encryptor::<Aes256>::new(key.into(), iv), blocks),
        }
        if let Some(last) = blocks.last() {
            *chain = *last;
        }
    }

    fn cbc_decrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]) {
        let batches = Batches { chain, blocks };
        match key {
            CipherKey::Aes128(key) => Aes128::new(key.into()).decrypt_with_backend(batches),
            CipherKey::Aes192(key) => Aes192::new(key.into()).decrypt_with_backend(batches),
            CipherKey::Aes256(key) => Aes256::new(key.into()).decrypt_with_backend(batches),
        }
    }
}

/// The digest of `data` in one go.
pub fn hash(crypto: &mut dyn Crypto, algorithm: HashAlgorithm, data: &[u8]) -> Digest {
    hash_all(crypto, algorithm, data, &[])
}

/// The digest of `data` and what follows it.
#[inline(never)]
fn hash_all(crypto: &mut dyn Crypto, algorithm: HashAlgorithm, data: &[u8], more: &[&[u8]]) -> Digest {
    let mut state = crypto.hash_start(algorithm);
    crypto.hash_update(&mut state, data);
    more.iter().for_each(|part| crypto.hash_update(&mut state, part));
    crypto.hash_finish(state)
}

/// Ends a hash, and leaves no other copy of its digest, which may be a key.
fn finish(hash: impl sha2::Digest) -> Digest {
    let mut bytes = hash.finalize();
    let digest = Digest::cut(&bytes);
    bytes.as_mut_slice().zeroize();
    digest
}

fn run_encrypt<M: BlockModeEncrypt<BlockSize = U16>>(mut mode: M, blocks: &mut [CipherBlock]) {
    mode.encrypt_blocks_inout(InOutBuf::from(Array::cast_slice_from_core_mut(blocks)));
}

/// CBC backwards, in batches as large as the cipher takes at a time, the last one filled up, so
/// that its code for single blocks is not linked.
struct Batches<'a> {
    chain: &'a mut CipherBlock,
    blocks: &'a mut [CipherBlock],
}

impl BlockSizeUser for Batches<'_> {
    type BlockSize = U16;
}

impl BlockCipherDecClosure for Batches<'_> {
    #[inline(always)]
    fn call<B: BlockCipherDecBackend<BlockSize = U16>>(self, backend: &B) {
        let mut batch = ParBlocks::<B>::default();
        for blocks in self.blocks.chunks_mut(B::ParBlocksSize::USIZE) {
            batch.iter_mut().zip(&*blocks).for_each(|(text, block)| text.copy_from_slice(block));
            backend.decrypt_par_blocks_inplace(&mut batch);
            unchain(self.chain, blocks, Array::cast_slice_to_core(&batch));
        }
        batch.iter_mut().for_each(|text| text.zeroize());
    }
}

/// The second half of CBC backwards: what the cipher made of each of `blocks`, with the block before.
fn unchain(chain: &mut CipherBlock, blocks: &mut [CipherBlock], deciphered: &[CipherBlock]) {
    for (block, deciphered) in blocks.iter_mut().zip(deciphered) {
        let text = u128::from_ne_bytes(*deciphered) ^ u128::from_ne_bytes(*chain);
        *chain = *block;
        *block = text.to_ne_bytes();
    }
}

/// HMAC (RFC 2104) by the hash of a provider, one for all algorithms.
fn hmac(crypto: &mut dyn Crypto, algorithm: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Secret {
    const INNER: u8 = 0x36;
    const OUTER: u8 = 0x5c;
    // Fact 4: the inner digest is whole, only the output is cut.
    let (whole, is_cut) = match algorithm {
        HashAlgorithm::TruncatedSha512 => (HashAlgorithm::Sha512, true),
        other => (other, false),
    };
    let mut buf = Zeroizing::new([0; MAX_HASH_BLOCK_BYTES]);
    let pad = buf.get_mut(..whole.block_len()).unwrap_or_default();
    if key.len() > pad.len() {
        let mut short = hash(crypto, whole, key);
        copy(pad, short.as_bytes());
        short.wipe();
    } else {
        copy(pad, key);
    }
    pad.iter_mut().for_each(|byte| *byte ^= INNER);
    let mut inner = hash_all(crypto, whole, pad, parts);
    pad.iter_mut().for_each(|byte| *byte ^= INNER ^ OUTER);
    let mut outer = hash_all(crypto, whole, pad, &[inner.as_bytes()]);
    inner.wipe();
    if is_cut {
        outer.len = TRUNCATED_BYTES as u8;
        outer.bytes.iter_mut().skip(TRUNCATED_BYTES).for_each(|byte| *byte = 0);
    }
    Secret::from(&mut outer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::decode_hex;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let mut out = [0; N];
        assert_eq!(decode_hex(text.as_bytes(), &mut out).map(<[u8]>::len), Some(N));
        out
    }

    /// FIPS 180-2, appendices B.1, D.1 and C.1: the message "abc".
    #[test]
    fn digests_of_abc() {
        let mut crypto = SoftCrypto;
        assert_eq!(
            hash(&mut crypto, HashAlgorithm::Sha256, b"abc").as_bytes(),
            hex::<32>("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        assert_eq!(
            hash(&mut crypto, HashAlgorithm::Sha384, b"abc").as_bytes(),
            hex::<48>(
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
                 8086072ba1e7cc2358baeca134c825a7"
            )
        );
        let whole = hash(&mut crypto, HashAlgorithm::Sha512, b"abc");
        assert_eq!(whole.as_bytes().len(), 64);
        assert_eq!(whole.as_bytes()[..4], hex::<4>("ddaf35a1"));
        let cut = hash(&mut crypto, HashAlgorithm::TruncatedSha512, b"abc");
        assert_eq!(cut.as_bytes(), &whole.as_bytes()[..32]);
    }

    #[test]
    fn several_at_once() {
        let messages: [&[u8]; 3] = [b"", b"abc", b"abcd"];
        for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::TruncatedSha512] {
            let mut digests = [Digest::EMPTY; 3];
            SoftCrypto.hash_many(algorithm, &messages, &mut digests);
            assert_eq!(digests, messages.map(|message| hash(&mut SoftCrypto, algorithm, message)));
        }
    }

    #[test]
    fn hmac_is_cut_at_its_end_only() {
        let whole = SoftCrypto.hmac(HashAlgorithm::Sha512, b"Jefe", &[b"what do ya want for nothing?"]);
        let cut =
            SoftCrypto.hmac(HashAlgorithm::TruncatedSha512, b"Jefe", &[b"what do ya want for nothing?"]);
        assert_eq!(cut.expose(), &whole.expose()[..32]);
    }

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_of_parts() {
        let mac =
            SoftCrypto.hmac(HashAlgorithm::Sha256, b"Jefe", &[b"what do ya want ", b"", b"for nothing?"]);
        assert_eq!(
            mac.expose(),
            hex::<32>("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        );
    }

    /// RFC 4231, test cases 1, 3, 4, 6 and 7: keys shorter than a block of the hash, and longer.
    #[test]
    fn hmacs_of_rfc_4231() {
        let numbers: [u8; 25] = core::array::from_fn(|n| n as u8 + 1);
        let hash_first = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let hash_both =
            b"This is a test using a larger than block-size key and a larger than block-size data. \
            The key needs to be hashed before being used by the HMAC algorithm.";
        // The key, the data, and the HMAC by SHA-256, SHA-384 and SHA-512.
        type Case<'a> = (&'a [u8], &'a [u8], &'a str, &'a str, &'a str);
        #[rustfmt::skip]
        let cases: [Case<'_>; 5] = [
            (
                &[0x0b; 20], b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
                "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c\
                 faea9ea9076ede7f4af152e8b2fa9cb6",
                "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
                 daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            ),
            (
                &[0xaa; 20], &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
                "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b\
                 2a5ab39dc13814b94e3ab6e101a34f27",
                "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39\
                 bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
            ),
            (
                &numbers, &[0xcd; 50],
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
                "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e\
                 6801dd23c4a7d679ccf8a386c674cffb",
                "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db\
                 a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd",
            ),
            (
                &[0xaa; 131], hash_first,
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
                "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6\
                 0c2ef6ab4030fe8296248df163f44952",
                "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352\
                 6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
            ),
            (
                &[0xaa; 131], hash_both,
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
                "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5\
                 a678cc31e799176d3860e6110c46523e",
                "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944\
                 b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58",
            ),
        ];
        for (key, data, sha256, sha384, sha512) in cases {
            let mac = |algorithm| SoftCrypto.hmac(algorithm, key, &[data]);
            assert_eq!(mac(HashAlgorithm::Sha256).expose(), hex::<32>(sha256));
            assert_eq!(mac(HashAlgorithm::Sha384).expose(), hex::<48>(sha384));
            assert_eq!(mac(HashAlgorithm::Sha512).expose(), hex::<64>(sha512));
        }
    }

    /// The crates for both as oracles: keys and data of any length, in any number of pieces.
    #[test]
    fn as_the_crates_have_it() {
        use cipher::BlockModeDecrypt;
        use hmac::{Hmac, Mac};

        let bytes: [u8; 300] = core::array::from_fn(|n| (n * 7 + n / 16) as u8);
        for len in [0, 1, 63, 64, 65, 127, 128, 129, 300] {
            let (key, data) = (&bytes[..len], &bytes[len / 2..]);
            let mut oracle = <Hmac<Sha384> as KeyInit>::new_from_slice(key).unwrap();
            oracle.update(data);
            let parts = data.split_at(data.len() / 3);
            let mac = SoftCrypto.hmac(HashAlgorithm::Sha384, key, &[parts.0, parts.1]);
            assert_eq!(mac.expose(), oracle.finalize().into_bytes().as_slice());
        }
        let (key, iv) = (hex::<24>("8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b"), [3; 16]);
        let blocks: [CipherBlock; 133] = core::array::from_fn(|n| [n as u8; 16]);
        for len in [0, 1, 3, 4, 5, 63, 64, 65, 133] {
            let mut expected = blocks;
            let mut oracle = cbc::Decryptor::<Aes192>::new((&key).into(), (&iv).into());
            oracle.decrypt_blocks(Array::cast_slice_from_core_mut(&mut expected[..len]));
            let (mut found, mut chain) = (blocks, iv);
            SoftCrypto.cbc_decrypt(CipherKey::Aes192(&key), &mut chain, &mut found[..len]);
            assert_eq!(found, expected);
            assert_eq!(chain, len.checked_sub(1).map_or(iv, |last| blocks[last]));
        }
    }

    #[test]
    fn what_holds_secrets_is_wiped() {
        fn is_wiped<T: ZeroizeOnDrop>() {}
        is_wiped::<Secret>();
        is_wiped::<Sha256>();
        is_wiped::<Sha384>();
        is_wiped::<Sha512>();
        is_wiped::<Aes128>();
        is_wiped::<Aes192>();
        is_wiped::<Aes256>();
        is_wiped::<cbc::Encryptor<Aes128>>();

        let mut digest = hash(&mut SoftCrypto, HashAlgorithm::Sha256, b"key");
        let secret = Secret::from(&mut digest);
        assert_ne!(secret.expose(), [0; 32]);
        assert_eq!(digest.as_bytes(), [0; 32]);
    }

    /// NIST SP 800-38A, F.2.1, F.2.3 and F.2.5: CBC in two pieces equals CBC in one.
    #[test]
    fn cbc_in_pieces() {
        let plain: [CipherBlock; 2] =
            [hex("6bc1bee22e409f96e93d7e117393172a"), hex("ae2d8a571e03ac9c9eb76fac45af8e51")];
        let iv: CipherBlock = hex("000102030405060708090a0b0c0d0e0f");
        let key = Secret::from_slice(&hex::<16>("2b7e151628aed2a6abf7158809cf4f3c")).unwrap();
        let key = CipherAlgorithm::Aes128.key(&key).unwrap();

        let (mut sealed, mut chain) = (plain, iv);
        let (first, second) = sealed.split_at_mut(1);
        SoftCrypto.cbc_encrypt(key, &mut chain, first);
        SoftCrypto.cbc_encrypt(key, &mut chain, second);
        assert_eq!(sealed[0], hex("7649abac8119b246cee98e9b12e9197d"));
        assert_eq!(sealed[1], hex("5086cb9b507219ee95db113a917678b2"));
        assert_eq!(chain, sealed[1]);

        let mut chain = iv;
        SoftCrypto.cbc_decrypt(key, &mut chain, &mut sealed);
        assert_eq!(sealed, plain);
        SoftCrypto.cbc_decrypt(key, &mut chain, &mut []);
    }

    #[test]
    fn longer_keys() {
        let block: CipherBlock = hex("6bc1bee22e409f96e93d7e117393172a");
        let iv: CipherBlock = hex("000102030405060708090a0b0c0d0e0f");
        let key: [u8; 32] = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let mut sealed = [block];
        SoftCrypto.cbc_encrypt(CipherKey::Aes256(&key), &mut iv.clone(), &mut sealed);
        assert_eq!(sealed[0], hex("f58c4c04d6e5f1ba779eabfb5f7bfbd6"));

        let key: [u8; 24] = hex("8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b");
        let mut sealed = [block];
        SoftCrypto.cbc_encrypt(CipherKey::Aes192(&key), &mut iv.clone(), &mut sealed);
        assert_eq!(sealed[0], hex("4f021db243bc633d7178183a9fa071e8"));
    }

    #[test]
    fn padding_always_adds() {
        assert_eq!(CipherAlgorithm::Aes128.sealed_len(65_536), 65_552);
        assert_eq!(CipherAlgorithm::Aes256.sealed_len(15), 16);
        assert_eq!(CipherAlgorithm::None.sealed_len(15), 15);
        assert!(CipherAlgorithm::Aes256.key(&Secret::from_slice(&[0; 31]).unwrap()).is_none());
    }
}
