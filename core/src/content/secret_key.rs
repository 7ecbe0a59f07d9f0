//! [MS-PCCRC 2.5] The file that carries a server secret key from one content server to another,
//! sealed by a passphrase.
//!
//! ```text
//! key of the cipher = SHA-256(passphrase in UTF-16LE, without a NUL)
//! file              = AES-256-CBC(IV of zeros, PKCS#7, SHA-256(secret key) + secret key)
//! ```
//!
//! What is in the file is the secret key as it is, not the server secret Ks: that is its hash, by
//! [`server_secret`](super::server_secret). The document names UTF-16 and no order of its bytes;
//! that it is little-endian, as a passphrase is everywhere else (fact 5), is our decision.

use core::ops::Range;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::bytes::Writer;
use crate::crypto::{CipherAlgorithm, CipherBlock, Crypto, HashAlgorithm, Secret, hash};

const CIPHER_BLOCK: usize = size_of::<CipherBlock>();

/// Bytes of the hash in front of the secret key.
const HASH_BYTES: usize = HashAlgorithm::Sha256.digest_len();

/// Bytes of the shortest file: the hash of an empty key, and a cipher block of padding.
pub const MIN_FILE_BYTES: usize = HASH_BYTES + CIPHER_BLOCK;

/// Bytes of a passphrase in UTF-16 that are hashed at a time: a block of SHA-256.
const PASSPHRASE_PIECE_BYTES: usize = 64;

/// Why a key file could not be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum KeyFileError {
    /// There is no room for the file: it needs [`export_len`] bytes.
    NoRoom,
    /// The file has a length that no key file has.
    Truncated {
        /// Bytes of the file.
        len: usize,
    },
    /// The passphrase is not the one that sealed the file, or the file is damaged.
    WrongPassphrase,
    /// The crypto provider's SHA-256 does not have 32 bytes.
    Provider,
}

impl core::fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoRoom => f.write_str("no room for the key file"),
            Self::Truncated { len } => write!(
                f,
                "the key file is cut: it has {len} bytes, and should have a multiple of {CIPHER_BLOCK}, \
                 at least {MIN_FILE_BYTES}"
            ),
            Self::WrongPassphrase => f.write_str("wrong passphrase, or the key file is damaged"),
            Self::Provider => f.write_str("the crypto provider gives no SHA-256"),
        }
    }
}

impl core::error::Error for KeyFileError {}

/// Bytes of the file for a secret key of `key_len` bytes; `None` if they cannot be counted.
pub const fn export_len(key_len: usize) -> Option<usize> {
    // PKCS#7 always adds 1 to 16 bytes.
    match key_len.checked_add(HASH_BYTES + CIPHER_BLOCK) {
        Some(len) => Some(len / CIPHER_BLOCK * CIPHER_BLOCK),
        None => None,
    }
}

/// Writes the file for `secret_key`, of any length, to the front of `out` and returns its length,
/// which is [`export_len`].
///
/// The document asks that there be a passphrase; how long it is to be is up to the caller. Nothing
/// but ciphertext is left in `out`, and nothing is written in case of an error.
pub fn export(
    crypto: &mut dyn Crypto,
    passphrase: &str,
    secret_key: &[u8],
    out: &mut [u8],
) -> Result<usize, KeyFileError> {
    let len = export_len(secret_key.len()).ok_or(KeyFileError::NoRoom)?;
    let out = out.get_mut(..len).ok_or(KeyFileError::NoRoom)?;
    let sealed_by = passphrase_hash(crypto, passphrase);
    let key = CipherAlgorithm::Aes256.key(&sealed_by).ok_or(KeyFileError::Provider)?;
    let check = key_hash(crypto, secret_key)?;

    let pad = len.saturating_sub(HASH_BYTES).saturating_sub(secret_key.len());
    out.fill(pad as u8);
    let mut writer = Writer::new(out);
    writer.put(check.expose());
    writer.put(secret_key);
    writer.check().map_err(|_| KeyFileError::NoRoom)?;
    // 2.5: the IV is a block of zeros.
    crypto.cbc_encrypt(key, &mut [0; CIPHER_BLOCK], out.as_chunks_mut().0);
    Ok(len)
}

/// Opens `file` in place and returns the secret key in it.
///
/// A file of a length that none can have is [`Truncated`](KeyFileError::Truncated) and stays as it
/// is. Everything else that does not verify is [`WrongPassphrase`](KeyFileError::WrongPassphrase):
/// nothing outside of the ciphertext tells its length, so a file that was cut at a multiple of 16
/// bytes looks just like one that another passphrase sealed. From then on `file` holds zeros; if
/// it verifies, it does once the returned key is dropped.
pub fn import<'a>(
    crypto: &mut dyn Crypto,
    passphrase: &str,
    file: &'a mut [u8],
) -> Result<SecretKey<'a>, KeyFileError> {
    let len = file.len();
    if len < MIN_FILE_BYTES || !len.is_multiple_of(CIPHER_BLOCK) {
        return Err(KeyFileError::Truncated { len });
    }
    let sealed_by = passphrase_hash(crypto, passphrase);
    let key = CipherAlgorithm::Aes256.key(&sealed_by).ok_or(KeyFileError::Provider)?;
    // From here on, whatever happens, the plaintext is wiped by the drop of this.
    let mut opened = SecretKey { plain: file, key: 0..0 };
    crypto.cbc_decrypt(key, &mut [0; CIPHER_BLOCK], opened.plain.as_chunks_mut().0);

    let end = unpadded_len(opened.plain).ok_or(KeyFileError::WrongPassphrase)?;
    opened.key = HASH_BYTES..end;
    let check = opened.plain.get(..HASH_BYTES).and_then(Secret::from_slice);
    // Secrets compare in constant time.
    if check != Some(key_hash(crypto, opened.expose())?) {
        return Err(KeyFileError::WrongPassphrase);
    }
    Ok(opened)
}

/// A server secret key, in the memory that was lent for its file, which is wiped on drop.
pub struct SecretKey<'a> {
    plain: &'a mut [u8],
    key: Range<usize>,
}

impl SecretKey<'_> {
    /// The secret bytes. Whoever calls this keeps them out of logs and traces, and wipes copies.
    pub fn expose(&self) -> &[u8] {
        self.plain.get(self.key.clone()).unwrap_or_default()
    }
}

impl core::fmt::Debug for SecretKey<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SecretKey").finish_non_exhaustive()
    }
}

impl Drop for SecretKey<'_> {
    fn drop(&mut self) {
        self.plain.zeroize();
    }
}

impl ZeroizeOnDrop for SecretKey<'_> {}

/// 2.5: the passphrase, excluding its NUL, is hashed by SHA-256 as a UTF-16 string.
fn passphrase_hash(crypto: &mut dyn Crypto, passphrase: &str) -> Secret {
    let mut state = crypto.hash_start(HashAlgorithm::Sha256);
    let mut piece = Zeroizing::new([0; PASSPHRASE_PIECE_BYTES]);
    let mut units = passphrase.encode_utf16();
    loop {
        let mut len = 0;
        for (bytes, unit) in piece.as_chunks_mut::<2>().0.iter_mut().zip(&mut units) {
            *bytes = unit.to_le_bytes();
            len += bytes.len();
        }
        if len == 0 {
            return Secret::from(&mut crypto.hash_finish(state));
        }
        crypto.hash_update(&mut state, piece.get(..len).unwrap_or_default());
    }
}

/// 2.5: in front of the secret key stands its SHA-256.
fn key_hash(crypto: &mut dyn Crypto, secret_key: &[u8]) -> Result<Secret, KeyFileError> {
    let check = Secret::from(&mut hash(crypto, HashAlgorithm::Sha256, secret_key));
    if check.expose().len() == HASH_BYTES { Ok(check) } else { Err(KeyFileError::Provider) }
}

/// How many bytes stand in front of the PKCS#7 padding; `None` if there is none.
fn unpadded_len(plain: &[u8]) -> Option<usize> {
    let pad = usize::from(*plain.last()?);
    let end = plain.len().checked_sub(pad)?;
    let padding = plain.get(end..)?;
    let is_padding = padding.iter().all(|&byte| usize::from(byte) == pad);
    ((1..=CIPHER_BLOCK).contains(&pad) && is_padding).then_some(end)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;
    use std::vec::Vec;

    use super::*;
    use crate::bytes::decode_hex;
    use crate::crypto::{CipherKey, Digest, HashState, SoftCrypto};

    /// With two characters beyond ASCII, the second of two UTF-16 units.
    const PASSPHRASE: &str = "pass-w\u{f6}rd \u{1f511}";
    const KEY: &[u8] = b"no more secrets";

    /// Made by OpenSSL 3, glibc's iconv and coreutils, from a terminal in UTF-8:
    ///
    /// ```console
    /// $ K=$(printf 'pass-wörd 🔑' | iconv -t UTF-16LE | openssl sha256 -r | cut -c1-64)
    /// $ (printf 'no more secrets' | openssl sha256 -binary; printf 'no more secrets') |
    ///     openssl enc -aes-256-cbc -K $K -iv 00000000000000000000000000000000 | xxd -p
    /// ```
    const FILE: &str = "476fc69e03be9e2850fbc70ef0c6714927443b88bba7b5004020462992181986\
                        826afdd0e90453c95fa037ea3b67aa6d";

    /// The same of an empty passphrase and an empty key.
    const EMPTY_FILE: &str = "e48b5f8e489d9faefa49beaa11193d8b9c8e9df0036549eb1fed749c1e324627\
                              bdb4240c228a142a6efc9b696f69b4de";

    fn hex(text: &str) -> Vec<u8> {
        let mut out = [0; 64];
        decode_hex(text.as_bytes(), &mut out).unwrap().to_vec()
    }

    fn exported(passphrase: &str, key: &[u8]) -> Vec<u8> {
        let mut out = std::vec![0; export_len(key.len()).unwrap()];
        assert_eq!(export(&mut SoftCrypto, passphrase, key, &mut out), Ok(out.len()));
        out
    }

    fn imported(passphrase: &str, mut file: Vec<u8>) -> Result<Vec<u8>, KeyFileError> {
        import(&mut SoftCrypto, passphrase, &mut file).map(|key| key.expose().to_vec())
    }

    #[test]
    fn the_file_of_another_implementation() {
        assert_eq!(exported(PASSPHRASE, KEY), hex(FILE));
        assert_eq!(imported(PASSPHRASE, hex(FILE)), Ok(KEY.to_vec()));
        assert_eq!(exported("", b""), hex(EMPTY_FILE));
        assert_eq!(imported("", hex(EMPTY_FILE)), Ok(Vec::new()));
    }

    #[test]
    fn keys_of_any_length() {
        for (len, file_len) in [(0, 48), (1, 48), (15, 48), (16, 64), (17, 64), (32, 80), (1_000, 1_040)] {
            let key: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let file = exported("x", &key);
            assert_eq!(file.len(), file_len);
            assert_eq!(imported("x", file), Ok(key));
        }
        assert_eq!(export_len(usize::MAX), None);
    }

    #[test]
    fn passphrases_of_any_length() {
        // Around the bounds of the pieces in which they are hashed, with characters across them.
        for passphrase in ["a", "\u{1f511}"].into_iter().flat_map(|one| (0..70).map(|n| one.repeat(n))) {
            let odd = std::format!("-{passphrase}");
            for passphrase in [&passphrase, &odd] {
                let utf16: Vec<u8> = passphrase.encode_utf16().flat_map(u16::to_le_bytes).collect();
                let expected = hash(&mut SoftCrypto, HashAlgorithm::Sha256, &utf16);
                assert_eq!(passphrase_hash(&mut SoftCrypto, passphrase).publish(), expected);
            }
        }
    }

    #[test]
    fn wrong_passphrases() {
        let mut others: Vec<&str> = std::vec!["", "pass-w\u{f6}rd ", "pass-wo\u{308}rd \u{1f511}"];
        others.extend(["pass-w\u{f6}rd \u{1f511}\0", "pass-w\u{f6}rd \u{f511}", "Pass-w\u{f6}rd \u{1f511}"]);
        for other in others {
            assert_eq!(imported(other, hex(FILE)), Err(KeyFileError::WrongPassphrase), "{other:?}");
        }
        let text = KeyFileError::WrongPassphrase.to_string();
        assert_eq!(text, "wrong passphrase, or the key file is damaged");
    }

    #[test]
    fn cut_anywhere() {
        let file = exported(PASSPHRASE, &[7; 100]);
        assert_eq!(file.len(), 144);
        for len in 0..file.len() {
            let expected = match len {
                48 | 64 | 80 | 96 | 112 | 128 => KeyFileError::WrongPassphrase,
                _ => KeyFileError::Truncated { len },
            };
            assert_eq!(imported(PASSPHRASE, file[..len].to_vec()), Err(expected), "{len}");
        }
        assert_eq!(
            KeyFileError::Truncated { len: 47 }.to_string(),
            "the key file is cut: it has 47 bytes, and should have a multiple of 16, at least 48"
        );
    }

    #[test]
    fn damaged_anywhere() {
        for key in [&b""[..], KEY, &[0; 16]] {
            let file = exported(PASSPHRASE, key);
            for bit in 0..file.len() * 8 {
                let mut damaged = file.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(imported(PASSPHRASE, damaged), Err(KeyFileError::WrongPassphrase), "{bit}");
            }
        }
    }

    /// Seals `plain`, whatever it is.
    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut file = plain.to_vec();
        let sealed_by = passphrase_hash(&mut SoftCrypto, PASSPHRASE);
        let key = CipherAlgorithm::Aes256.key(&sealed_by).unwrap();
        SoftCrypto.cbc_encrypt(key, &mut [0; 16], file.as_chunks_mut().0);
        file
    }

    #[test]
    fn padding_is_checked() {
        let check = hash(&mut SoftCrypto, HashAlgorithm::Sha256, KEY);
        let plain = |padding: &[u8]| [check.as_bytes(), KEY, padding].concat();
        assert_eq!(imported(PASSPHRASE, sealed(&plain(&[1]))), Ok(KEY.to_vec()));
        for padding in [0, 2, 17, 48, 49, 255] {
            let file = sealed(&plain(&[padding]));
            assert_eq!(imported(PASSPHRASE, file), Err(KeyFileError::WrongPassphrase), "{padding}");
        }
        // As long as PKCS#7 allows, and one block longer.
        let mut long = [&plain(&[])[..], &[17; 17]].concat();
        assert_eq!(imported(PASSPHRASE, sealed(&long)), Err(KeyFileError::WrongPassphrase));
        let end = long.len();
        long[end - 17..].fill(16);
        assert_eq!(imported(PASSPHRASE, sealed(&long)), Err(KeyFileError::WrongPassphrase));
    }

    #[test]
    fn nothing_is_left_behind() {
        let mut file = hex(FILE);
        assert!(import(&mut SoftCrypto, PASSPHRASE, &mut file).is_ok());
        assert_eq!(file, [0; 48]);

        let mut file = hex(FILE);
        assert!(import(&mut SoftCrypto, "another", &mut file).is_err());
        assert_eq!(file, [0; 48]);

        // Right padding, wrong hash.
        let mut file = sealed(&[16; 64]);
        assert!(import(&mut SoftCrypto, PASSPHRASE, &mut file).is_err());
        assert_eq!(file, [0; 64]);

        let mut file = hex(FILE);
        assert!(import(&mut SoftCrypto, PASSPHRASE, &mut file[..47]).is_err());
        assert_eq!(file, hex(FILE));

        let mut file = hex(FILE);
        let text = std::format!("{:?}", import(&mut SoftCrypto, PASSPHRASE, &mut file).unwrap());
        assert_eq!(text, "SecretKey { .. }");
    }

    #[test]
    fn room_must_suffice() {
        let mut out = [0xaa; 64];
        for room in 0..48 {
            assert_eq!(export(&mut SoftCrypto, PASSPHRASE, KEY, &mut out[..room]), Err(KeyFileError::NoRoom));
        }
        assert_eq!(out, [0xaa; 64]);
        assert_eq!(export(&mut SoftCrypto, PASSPHRASE, KEY, &mut out), Ok(48));
        assert_eq!((&out[..48], &out[48..]), (&hex(FILE)[..], &[0xaa; 16][..]));
    }

    /// An engine whose hashes, from the one numbered so on, come out empty.
    struct Broken(u32);

    impl Crypto for Broken {
        fn hash_start(&mut self, algorithm: HashAlgorithm) -> HashState {
            SoftCrypto.hash_start(algorithm)
        }
        fn hash_update(&mut self, state: &mut HashState, data: &[u8]) {
            SoftCrypto.hash_update(state, data);
        }
        fn hash_finish(&mut self, state: HashState) -> Digest {
            let Some(left) = self.0.checked_sub(1) else { return Digest::from_slice(&[]).unwrap() };
            self.0 = left;
            SoftCrypto.hash_finish(state)
        }
        fn hmac(&mut self, algorithm: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Secret {
            SoftCrypto.hmac(algorithm, key, parts)
        }
        fn cbc_encrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]) {
            SoftCrypto.cbc_encrypt(key, chain, blocks);
        }
        fn cbc_decrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]) {
            SoftCrypto.cbc_decrypt(key, chain, blocks);
        }
    }

    #[test]
    fn a_broken_engine_seals_nothing() {
        for hashes in 0..2 {
            let mut out = [0xaa; 48];
            assert_eq!(export(&mut Broken(hashes), PASSPHRASE, KEY, &mut out), Err(KeyFileError::Provider));
            assert_eq!(out, [0xaa; 48]);
            let mut file = hex(FILE);
            let result = import(&mut Broken(hashes), PASSPHRASE, &mut file);
            assert_eq!(result.err(), Some(KeyFileError::Provider));
        }
        assert_eq!(export(&mut Broken(2), PASSPHRASE, KEY, &mut [0; 48]), Ok(48));
    }
}
