//! [MS-PCHC] 2.2: what a client tells a hosted cache, and the byte that it is answered.
//!
//! ```text
//! MESSAGE_HEADER           minor, major version, type, 4 bytes of pad
//! CONNECTION_INFORMATION   the client's port, 6 bytes of pad
//! then                     version 1.0: a segment id; or a tag and content information 1.0
//!                          version 2.0: 1 to 128 descriptors of 59 bytes
//! ```
//!
//! All is big-endian, but for content information 1.0, which is carried as it is (fact 43).

use crate::bytes::{NoRoom, Reader, Truncated, Writer};
use crate::crypto::HashAlgorithm;
use crate::limits::MAX_DIGEST_BYTES;

/// Bytes of a content tag (2.2.1.4, 2.2.1.5).
pub const TAG_BYTES: usize = 16;

/// Bytes before what a message says: MESSAGE_HEADER and CONNECTION_INFORMATION.
pub const OPENING_BYTES: usize = 16;

/// Bytes of a segment id in a descriptor: both algorithms that have a number have as many.
pub const ID_BYTES: usize = 32;

/// Bytes of a descriptor.
pub const DESCRIPTOR_BYTES: usize = 10 + TAG_BYTES + 1 + ID_BYTES;

/// Descriptors of a BATCHED_OFFER_MESSAGE: it MUST NOT contain more (2.2.1.5).
pub const MAX_DESCRIPTORS: usize = 128;

/// Bytes of the longest BATCHED_OFFER_MESSAGE.
pub const MAX_BATCHED_BYTES: usize = OPENING_BYTES + MAX_DESCRIPTORS * DESCRIPTOR_BYTES;

/// Bytes of the longest INITIAL_OFFER_MESSAGE.
pub const MAX_INITIAL_BYTES: usize = OPENING_BYTES + MAX_DIGEST_BYTES;

/// Bytes of every response, transport header included.
pub const RESPONSE_BYTES: usize = 5;

/// A content tag: who cached it, by what applications call themselves (fact 48).
pub type ContentTag = [u8; TAG_BYTES];

/// The version of a message: the URL that it comes to fixes it (2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Version {
    /// 1.0, over HTTPS: a hosted cache gets the secrets, and verifies.
    V1,
    /// 2.0, over HTTP: it gets none.
    V2,
}

/// MESSAGE_HEADER's Type (2.2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MessageType {
    /// INITIAL_OFFER_MESSAGE, of version 1.0 alone.
    InitialOffer,
    /// SEGMENT_INFO_MESSAGE, of version 1.0 alone.
    SegmentInfo,
    /// BATCHED_OFFER_MESSAGE, of version 2.0 alone.
    BatchedOffer,
    /// A value that the document does not know.
    Unknown(u16),
}

/// MESSAGE_HEADER and CONNECTION_INFORMATION (2.2.1.1, 2.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Opening {
    /// Minor and major version, as they stand there.
    pub version: [u8; 2],
    /// Type
    pub message: MessageType,
    /// Port: where the client serves what it offers.
    pub port: u16,
}

/// SegmentDescriptor (2.2.1.5)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Descriptor {
    /// BlockSize
    pub block_bytes: u32,
    /// SegmentSize
    pub segment_bytes: u32,
    /// ContentTag
    pub tag: ContentTag,
    /// HashAlgorithm
    pub algorithm: HashAlgorithm,
    /// SegmentHoHoDk
    pub segment: [u8; ID_BYTES],
}

/// Why a descriptor cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Malformed {
    /// SizeOfContentTag is not 16: the message is dropped (fact 44).
    Tag(u16),
    /// HashAlgorithm has no meaning, so that nobody knows where the next descriptor begins: what comes from
    /// here on is ignored (fact 44).
    Algorithm(u8),
    /// The bytes end before it does.
    Truncated,
}

/// ResponseCode (2.2.2.2)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ResponseCode {
    /// The hosted cache knows enough to get the segment.
    Ok,
    /// It needs the block hashes first.
    Interested,
}

/// Why a response cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BadResponse {
    /// The transport header does not say 1 byte.
    Size(u32),
    /// A code that the document does not know.
    Code(u8),
}

impl Version {
    /// The path of its URL (2.1, fact 45).
    pub const fn path(self) -> &'static str {
        match self {
            Self::V1 => "/C574AC30-5794-4AEE-B1BB-6651C5315029",
            Self::V2 => "/0131501b-d67f-491b-9a40-c4bf27bcb4d4",
        }
    }

    /// The version whose URL has that path, in any case, with or without a slash at its end (fact 45).
    pub fn of_path(path: &[u8]) -> Option<Self> {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        [Self::V1, Self::V2].into_iter().find(|version| path.eq_ignore_ascii_case(version.path().as_bytes()))
    }

    /// MinorVersion and MajorVersion, in this order (2.2.1.1): the minor one MUST be 0.
    pub const fn to_wire(self) -> [u8; 2] {
        match self {
            Self::V1 => [0, 1],
            Self::V2 => [0, 2],
        }
    }
}

impl MessageType {
    /// From the wire's 16 bits.
    pub const fn from_wire(value: u16) -> Self {
        match value {
            1 => Self::InitialOffer,
            2 => Self::SegmentInfo,
            3 => Self::BatchedOffer,
            other => Self::Unknown(other),
        }
    }

    /// To the wire's 16 bits.
    pub const fn to_wire(self) -> u16 {
        match self {
            Self::InitialOffer => 1,
            Self::SegmentInfo => 2,
            Self::BatchedOffer => 3,
            Self::Unknown(other) => other,
        }
    }
}

impl Opening {
    /// The beginning of a message of that version.
    pub const fn new(version: Version, message: MessageType, port: u16) -> Self {
        Self { version: version.to_wire(), message, port }
    }

    /// Reads it. What the pads hold MUST be ignored (2.2.1.1, 2.2.1.2).
    pub const fn parse(bytes: &[u8; OPENING_BYTES]) -> Self {
        let [minor, major, t0, t1, _, _, _, _, p0, p1, ..] = *bytes;
        Self {
            version: [minor, major],
            message: MessageType::from_wire(u16::from_be_bytes([t0, t1])),
            port: u16::from_be_bytes([p0, p1]),
        }
    }

    /// Writes it.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.put(&self.version);
        writer.put(&self.message.to_wire().to_be_bytes());
        writer.zeros(4);
        writer.put(&self.port.to_be_bytes());
        writer.zeros(6);
        writer.check()
    }

    /// Whether a message that begins like this may come to the URL of that version: neither URL takes the
    /// other's (2.1, fact 45).
    pub fn is_of(&self, version: Version) -> bool {
        let of = match self.message {
            MessageType::InitialOffer | MessageType::SegmentInfo => Version::V1,
            MessageType::BatchedOffer => Version::V2,
            MessageType::Unknown(_) => return false,
        };
        of == version && self.version == version.to_wire()
    }
}

impl Descriptor {
    /// Reads a descriptor.
    pub fn parse(bytes: &[u8; DESCRIPTOR_BYTES]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (block_bytes, segment_bytes) = (reader.u32_be()?, reader.u32_be()?);
        // This field MUST be set to 16.
        let tag_bytes = u16::from_be_bytes(*reader.array()?);
        if usize::from(tag_bytes) != TAG_BYTES {
            return Err(Malformed::Tag(tag_bytes));
        }
        let tag = *reader.array()?;
        let algorithm = match reader.u8()? {
            1 => HashAlgorithm::Sha256,
            4 => HashAlgorithm::TruncatedSha512,
            other => return Err(Malformed::Algorithm(other)),
        };
        Ok(Self { block_bytes, segment_bytes, tag, algorithm, segment: *reader.array()? })
    }

    /// Writes the descriptor; there is no number for SHA-384 and SHA-512.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let algorithm = match self.algorithm {
            HashAlgorithm::Sha256 => 1,
            HashAlgorithm::TruncatedSha512 => 4,
            HashAlgorithm::Sha384 | HashAlgorithm::Sha512 => return Err(NoRoom),
        };
        writer.u32_be(self.block_bytes);
        writer.u32_be(self.segment_bytes);
        writer.put(&(TAG_BYTES as u16).to_be_bytes());
        writer.put(&self.tag);
        writer.put(&[algorithm]);
        writer.put(&self.segment);
        writer.check()
    }

    /// How many blocks the segment has: SegmentSize may exceed BlockSize (fact 44). `None` if they have no
    /// bytes.
    pub const fn blocks(&self) -> Option<u32> {
        match self.block_bytes {
            0 => None,
            block => match self.segment_bytes.div_ceil(block) {
                0 => None,
                blocks => Some(blocks),
            },
        }
    }
}

impl From<Truncated> for Malformed {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

impl ResponseCode {
    /// The whole response: the transport header counts the code alone (2.2.2.1).
    pub const fn to_wire(self) -> [u8; RESPONSE_BYTES] {
        let code = match self {
            Self::Ok => 0,
            Self::Interested => 1,
        };
        [0, 0, 0, 1, code]
    }

    /// Reads a whole response.
    pub const fn parse(bytes: &[u8; RESPONSE_BYTES]) -> Result<Self, BadResponse> {
        let [a, b, c, d, code] = *bytes;
        match (u32::from_be_bytes([a, b, c, d]), code) {
            (1, 0) => Ok(Self::Ok),
            (1, 1) => Ok(Self::Interested),
            (1, other) => Err(BadResponse::Code(other)),
            (size, _) => Err(BadResponse::Size(size)),
        }
    }
}

#[cfg(test)]
mod tests;
