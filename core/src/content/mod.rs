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
//! [`Info`] is the structure that carries HoD, Kp and the block hashes, in version 1.0 ([`v1`]) or
//! 2.0 ([`v2`]); [`publish`] makes one from content in a single pass. Neither holds the structure
//! in memory: it is read through an [`InfoSource`] and written through an [`InfoSink`].

mod excerpt;
mod gathered;
pub mod hash_file;
mod info;
pub mod publish;
pub mod secret_key;
mod segment;
pub mod segmenter;
pub mod v1;
pub mod v2;

pub use self::excerpt::{EmitError, EndForm, Excerpt, Plan};
pub use self::gathered::{Gathered, gathered_front};
pub use self::info::{Info, Version, emit_empty, parse_empty};
pub use self::segment::{HodCheck, Progress, Segment};
use crate::bytes::{Truncated, copy};
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

    /// The name under which blocks of this segment are kept that nobody here can verify: those of a hosted cache
    /// that has no keys (fact 47). It has a byte more than an identifier, so that it is nobody's, and
    /// nobody can ask for it. `None` of 48 and 64 bytes, which are not offered without keys.
    pub fn unverifiable(&self) -> Option<Self> {
        let id: &[u8; UNVERIFIABLE_BYTES - 1] = self.as_bytes().try_into().ok()?;
        let mut name = [0; UNVERIFIABLE_BYTES];
        copy(&mut name, id);
        Digest::from_slice(&name).map(Self)
    }

    /// Whether it is such a name.
    pub fn is_unverifiable(&self) -> bool {
        self.as_bytes().len() == UNVERIFIABLE_BYTES
    }

    /// Takes bytes that a store kept: those of an identifier, or of such a name.
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            UNVERIFIABLE_BYTES => Digest::from_slice(bytes).map(Self),
            _ => Self::from_slice(bytes),
        }
    }

    /// The bytes of the identifier.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Bytes of a name for blocks that cannot be verified: no digest has as many.
const UNVERIFIABLE_BYTES: usize = 33;

impl core::fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// The server secret Ks: the hash of the server secret key, with the content information's own
/// algorithm (MS-PCCRC 2.5, fact 3).
pub fn server_secret(crypto: &mut dyn Crypto, algorithm: HashAlgorithm, secret_key: &[u8]) -> Secret {
    Secret::from(&mut hash(crypto, algorithm, secret_key))
}

/// The segment secret Kp of the segment whose hash of data is `hod` (MS-PCCRC 2.2, fact 2).
pub fn segment_secret(
    crypto: &mut dyn Crypto,
    algorithm: HashAlgorithm,
    ks: &Secret,
    hod: &Digest,
) -> Secret {
    crypto.hmac(algorithm, ks.expose(), &[hod.as_bytes()])
}

/// The segment identifier HoHoDk that `kp` and `hod` give (MS-PCCRC 2.2, fact 1).
pub fn segment_id(crypto: &mut dyn Crypto, algorithm: HashAlgorithm, kp: &Secret, hod: &Digest) -> SegmentId {
    let id = crypto.hmac(algorithm, kp.expose(), &[hod.as_bytes(), &SEGMENT_ID_CONSTANT]);
    SegmentId(id.publish())
}

/// A name under which a block is kept whose hash could not be checked against its segment's HoD: nobody finds
/// it who does not have that hash, so it is never handed out or served as the segment's.
pub fn apart_id(
    crypto: &mut dyn Crypto,
    algorithm: HashAlgorithm,
    segment: &SegmentId,
    hash: &Digest,
) -> SegmentId {
    SegmentId(crypto.hmac(algorithm, hash.as_bytes(), &[segment.as_bytes(), b"kept apart"]).publish())
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
        let bytes = self.get(start..).and_then(|rest| rest.get(..buf.len())).ok_or(unreadable)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

/// A reference to a source is one too, so that a slice can become a `&dyn InfoSource`.
impl<T: InfoSource + ?Sized> InfoSource for &T {
    fn len(&self) -> u64 {
        T::len(self)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        T::read_at(self, offset, buf)
    }
}

/// Where content information is written to, piece by piece and not in order: a slice, flash, a
/// file. No byte is written twice.
pub trait InfoSink {
    /// Writes `bytes` from `offset` on.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), InfoUnwritable>;
}

/// The place that takes content information could not take bytes at `offset`: there is no room,
/// or its medium failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InfoUnwritable {
    /// Where writing was to begin.
    pub offset: u64,
}

impl InfoSink for [u8] {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), InfoUnwritable> {
        let unwritable = InfoUnwritable { offset };
        let start = usize::try_from(offset).map_err(|_| unwritable)?;
        let room = self.get_mut(start..).and_then(|rest| rest.get_mut(..bytes.len())).ok_or(unwritable)?;
        room.copy_from_slice(bytes);
        Ok(())
    }
}

/// A reference to a sink is one too, so that a slice can become a `&mut dyn InfoSink`.
impl<T: InfoSink + ?Sized> InfoSink for &mut T {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), InfoUnwritable> {
        T::write_at(self, offset, bytes)
    }
}

/// Content information is refused: which field, where it stands, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InfoError {
    /// The field's name in MS-PCCRC, or in MS-SMB2 if that is whose structure it is.
    pub field: &'static str,
    /// Where the field begins, in bytes from the start of the structure.
    pub offset: u64,
    /// What is wrong with it.
    pub reason: InfoFault,
}

/// What can be wrong with a field of content information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum InfoFault {
    /// The source failed to give it.
    Unreadable,
    /// It, or what it announces, reaches past the end of the structure.
    Truncated,
    /// It should be the end, and more bytes follow.
    Trailing,
    /// A version or an algorithm other than those of MS-PCCRC.
    Unsupported(u32),
    /// A number that the document or the other fields forbid.
    OutOfRange(u64),
    /// A segment that does not begin where the one before ends, or ends past 2^64.
    Misplaced(u64),
    /// A number of block hashes that fits neither the range nor the segment.
    BlockCount(u32),
    /// A hash of data that is not the hash of the block hashes.
    HashMismatch,
    /// A list of block hashes that cannot be checked, since it leaves some out.
    PartialList,
    /// A segment that the structure does not have.
    NoSuchSegment(u32),
    /// Other than it was when the structure was parsed.
    Changed,
}

/// Fills `buf` with what `source` has from `at` on; an error names the field that stands there.
fn read(source: &dyn InfoSource, field: &'static str, at: u64, buf: &mut [u8]) -> Result<(), InfoError> {
    match at.checked_add(buf.len() as u64) {
        Some(end) if end <= source.len() => {
            source.read_at(at, buf).map_err(|_| InfoError::new(field, at, InfoFault::Unreadable))
        }
        _ => Err(InfoError::new(field, at, InfoFault::Truncated)),
    }
}

impl InfoError {
    pub(crate) const fn new(field: &'static str, offset: u64, reason: InfoFault) -> Self {
        Self { field, offset, reason }
    }

    /// For a codec: the bytes ended before `field` did.
    fn cut(field: &'static str) -> impl Fn(Truncated) -> Self {
        move |Truncated { offset }| Self::new(field, offset as u64, InfoFault::Truncated)
    }

    /// Whether the structure is of a version that nobody here knows, well made or not.
    pub(crate) const fn is_version(&self) -> bool {
        // It is the first field of either version, and nothing else stands there.
        self.offset == 0 && matches!(self.reason, InfoFault::Unsupported(_))
    }

    /// The same error in a structure in which the part that was parsed begins at `start`.
    pub(crate) const fn within(self, start: u64) -> Self {
        Self { offset: self.offset.saturating_add(start), ..self }
    }
}

impl core::fmt::Display for InfoError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} at byte {}: {}", self.field, self.offset, self.reason)
    }
}

impl core::fmt::Display for InfoFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unreadable => f.write_str("cannot be read"),
            Self::Truncated => f.write_str("reaches past the end of the content information"),
            Self::Trailing => f.write_str("more bytes follow"),
            Self::Unsupported(value) => write!(f, "{value:#06x} is not supported"),
            Self::OutOfRange(value) => write!(f, "{value} is out of range"),
            Self::Misplaced(value) => write!(f, "a segment cannot begin at {value}"),
            Self::BlockCount(value) => write!(f, "{value} block hashes fit neither range nor segment"),
            Self::HashMismatch => f.write_str("is not the hash of the block hashes"),
            Self::PartialList => f.write_str("cannot be checked, since some block hashes are left out"),
            Self::NoSuchSegment(index) => write!(f, "there is no segment {index}"),
            Self::Changed => f.write_str("has changed since the content information was parsed"),
        }
    }
}

impl core::error::Error for InfoError {}

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
    fn what_cannot_be_verified_has_a_name_of_its_own() {
        let id = SegmentId::from_slice(&[7; 32]).unwrap();
        let name = id.unverifiable().unwrap();
        assert!(name.is_unverifiable() && !id.is_unverifiable() && name != id);
        // It comes back from a store, and from nowhere else.
        assert_eq!(SegmentId::from_stored(name.as_bytes()), Some(name));
        assert_eq!(SegmentId::from_slice(name.as_bytes()), None);
        assert_eq!(SegmentId::from_stored(id.as_bytes()), Some(id));
        assert_eq!(name.unverifiable(), None);
        for len in [48, 64] {
            assert_eq!(SegmentId::from_slice(&[7; 64][..len]).unwrap().unverifiable(), None);
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
    fn a_slice_is_a_sink() {
        let mut room = [0; 3];
        let sink: &mut dyn InfoSink = &mut room.as_mut_slice();
        assert_eq!(sink.write_at(1, &[2, 3]), Ok(()));
        assert_eq!(sink.write_at(2, &[4, 5]), Err(InfoUnwritable { offset: 2 }));
        assert_eq!(sink.write_at(u64::MAX, &[4]), Err(InfoUnwritable { offset: u64::MAX }));
        assert_eq!(room, [0, 2, 3]);
    }

    #[test]
    fn errors_name_field_place_and_reason() {
        extern crate std;
        use std::string::ToString;
        let error = InfoError::new("cbBlockSize", 12, InfoFault::OutOfRange(7)).within(18);
        assert_eq!(error.to_string(), "cbBlockSize at byte 30: 7 is out of range");
        let error = InfoError::new("Version", 0, InfoFault::Unsupported(0x200));
        assert_eq!(error.to_string(), "Version at byte 0: 0x0200 is not supported");
    }

    #[test]
    fn secrets_compare() {
        let ks = server_secret(&mut SoftCrypto, HashAlgorithm::Sha256, b"no more secrets");
        assert!(ks == ks.clone());
        assert!(ks != server_secret(&mut SoftCrypto, HashAlgorithm::Sha256, b"some more secrets"));
    }
}
