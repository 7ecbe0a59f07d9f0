//! [MS-PCCRC] Content identification: what segments and blocks are called, and how their secrets
//! derive from each other.
//!
//! ```text
//! Ks     = Hash(server secret key)              never leaves the content server
//! HoD    = Hash(block hashes of the segment)    in the content information
//! Kp     = HMAC(Ks, HoD)                        in the content information
//! Ke     = Kp                                   encrypts blocks between peers
//! HoHoDk = HMAC(Kp, HoD + C2)                   public: what peers ask each other for
//! ```
//!
//! [`v1`] is the structure that carries HoD, Kp and the block hashes; [`publish`] makes one from
//! content in a single pass.

pub mod publish;
pub mod v1;

use crate::crypto::{Crypto, Digest, HashAlgorithm, Secret, hash};

/// C2 of MS-PCCRC 2.2: `MS_P2P_CACHING` with its NUL, in UTF-16LE. The document says ASCII, which
/// no Windows does (fact 1).
pub const SEGMENT_ID_CONSTANT: [u8; 30] = *b"M\0S\0_\0P\x002\0P\0_\0C\0A\0C\0H\0I\0N\0G\0\0\0";

/// A segment's public identifier, HoHoDk: 32, 48 or 64 bytes. Knowing it proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SegmentId(Digest);

impl SegmentId {
    /// Takes `bytes` as an identifier; `None` unless they are as many as a digest of MS-PCCRC
    /// has (32, 48 or 64).
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            32 | 48 | 64 => Digest::from_slice(bytes).map(Self),
            _ => None,
        }
    }

    /// The bytes of the identifier.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl core::fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// The server secret Ks: the hash of the server secret key, with the content information's own
/// algorithm (MS-PCCRC 2.5, fact 3).
pub fn server_secret(crypto: &mut dyn Crypto, algorithm: HashAlgorithm, secret_key: &[u8]) -> Secret {
    hash(crypto, algorithm, secret_key).into()
}

/// The segment secret Kp of the segment whose hash of data is `hod` (MS-PCCRC 2.2, fact 2).
pub fn segment_secret(
    crypto: &mut dyn Crypto,
    algorithm: HashAlgorithm,
    ks: &Secret,
    hod: &Digest,
) -> Secret {
    crypto.hmac(algorithm, ks.expose(), &[hod.as_bytes()]).into()
}

/// The segment identifier HoHoDk that `kp` and `hod` give (MS-PCCRC 2.2, fact 1).
pub fn segment_id(crypto: &mut dyn Crypto, algorithm: HashAlgorithm, kp: &Secret, hod: &Digest) -> SegmentId {
    SegmentId(crypto.hmac(algorithm, kp.expose(), &[hod.as_bytes(), &SEGMENT_ID_CONSTANT]))
}

/// Content information kept somewhere and read in pieces: a slice, flash, a file.
pub trait InfoSource {
    /// Bytes of content information there are.
    fn len(&self) -> u64;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `offset` on.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable>;
}

/// The place that keeps content information could not give bytes at `offset`: they lie past its
/// end, or its medium failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InfoUnreadable {
    /// Where reading was to begin.
    pub offset: u64,
}

impl InfoSource for [u8] {
    fn len(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        let unreadable = InfoUnreadable { offset };
        let start = usize::try_from(offset).map_err(|_| unreadable)?;
        let end = start.checked_add(buf.len()).ok_or(unreadable)?;
        let bytes = self.get(start..end).ok_or(unreadable)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SoftCrypto;

    #[test]
    fn the_constant_is_utf16() {
        let text: [u8; 30] = core::array::from_fn(|i| {
            let unit = u16::from(*b"MS_P2P_CACHING\0".get(i / 2).unwrap());
            unit.to_le_bytes()[i % 2]
        });
        assert_eq!(SEGMENT_ID_CONSTANT, text);
    }

    #[test]
    fn identifiers_are_as_long_as_digests() {
        for len in 0..80 {
            assert_eq!(SegmentId::from_slice(&[1; 80][..len]).is_some(), [32, 48, 64].contains(&len));
        }
    }

    #[test]
    fn a_slice_is_a_source() {
        let source: &[u8] = &[1, 2, 3];
        let mut buf = [0; 2];
        assert_eq!(source.read_at(1, &mut buf), Ok(()));
        assert_eq!(buf, [2, 3]);
        assert_eq!(source.read_at(2, &mut buf), Err(InfoUnreadable { offset: 2 }));
        assert_eq!(source.read_at(u64::MAX, &mut buf), Err(InfoUnreadable { offset: u64::MAX }));
    }

    #[test]
    fn secrets_compare() {
        let ks = server_secret(&mut SoftCrypto, HashAlgorithm::Sha256, b"no more secrets");
        assert!(ks == ks.clone());
        assert!(ks != server_secret(&mut SoftCrypto, HashAlgorithm::Sha256, b"some more secrets"));
    }
}
