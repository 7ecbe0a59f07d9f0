//! [MS-PCCRR] section 2: the messages. All integers are big-endian (fact 32).
//!
//! [`Request`] and [`Reply`] are checked views of whole messages; nothing is copied. Requests have
//! no length in front; replies begin with the TRANSPORT_RESPONSE_HEADER, a 4-byte count of what
//! follows. What may be long is written in parts, so that a block goes straight from the store to
//! the socket and a list needs no buffer: [`BlockReply`], [`BlockListReply`], [`SegmentListReply`].

mod block;
mod list;
mod segments;

pub use self::block::{BLOCK_HEAD_BYTES, BLOCK_TAIL_BYTES, Block, BlockReply, GET_BLOCKS_BYTES, GetBlocks};
pub use self::list::{BlockList, BlockListReply, GetBlockList, LIST_HEAD_BYTES, RANGE_BYTES, Range, Ranges};
pub use self::segments::{
    GetSegmentList, REQUEST_ID_BYTES, SEGMENT_LIST_HEAD_BYTES, SegmentIds, SegmentList, SegmentListReply,
};

use crate::bytes::{NoRoom, Reader, Truncated, Writer, path_of};
use crate::crypto::CipherAlgorithm;
use crate::limits::{MAX_DIGEST_BYTES, MAX_REPLY_BYTES, MAX_REQUEST_BYTES};

/// The path that peers listen on (2.1.1).
pub const PATH: &str = "/116B50EB-ECE2-41ac-8429-9F9E963361B7/";

/// Bytes of MESSAGE_HEADER (2.2.3).
pub const HEADER_BYTES: usize = 16;

/// Bytes of TRANSPORT_RESPONSE_HEADER (2.2.2).
pub const TRANSPORT_BYTES: usize = 4;

/// Bytes of a whole MSG_NEGO_REQ (2.2.4.1).
pub const NEGOTIATION_BYTES: usize = HEADER_BYTES + 8;

/// A protocol version. On the wire the minor word comes first (2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Version {
    /// Compatibility is decided by this one alone (3.1.5.1).
    pub major: u16,
    /// Within a major version, each side uses its own.
    pub minor: u16,
}

/// Version 1.0: what block messages are sent with, whatever else the sender speaks.
pub const VERSION_1_0: Version = Version { major: 1, minor: 0 };

/// Version 2.0: adds lists of segments.
pub const VERSION_2_0: Version = Version { major: 2, minor: 0 };

/// The type of a message (2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MessageType {
    /// MSG_NEGO_REQ
    NegotiationRequest,
    /// MSG_NEGO_RESP
    NegotiationResponse,
    /// MSG_GETBLKLIST
    GetBlockList,
    /// MSG_GETBLKS
    GetBlocks,
    /// MSG_BLKLIST
    BlockList,
    /// MSG_BLK
    Block,
    /// MSG_GETSEGLIST
    GetSegmentList,
    /// MSG_SEGLIST
    SegmentList,
    /// A value the document does not know.
    Unknown(u32),
}

/// CryptoAlgoId as it stands in a header (2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CryptoAlgoId(pub u32);

/// MESSAGE_HEADER (2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Header {
    /// ProtVer
    pub version: Version,
    /// MsgType
    pub message: MessageType,
    /// MsgSize: bytes of header and body.
    pub size: u32,
    /// CryptoAlgoId: in a reply, how its block is encrypted; in a request, how the asker would like
    /// it, which a server may ignore.
    pub cipher: CryptoAlgoId,
}

/// Why a message is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Malformed {
    /// It ends too early.
    Truncated,
    /// A length or a count contradicts the bytes there are.
    Length,
    /// A segment id is empty or longer than any digest.
    SegmentId,
    /// MSG_GETSEGLIST names no segment (fact 39).
    NoSegment,
    /// A reply whose major version is not that of its type.
    Version,
}

impl From<Truncated> for Malformed {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the message ends too early",
            Self::Length => "MsgSize or a count contradicts the bytes there are",
            Self::SegmentId => "SizeOfSegmentID is 0 or more than any digest has",
            Self::NoSegment => "CountOfSegmentIDs is 0",
            Self::Version => "ProtVer is not that of the message's type",
        })
    }
}

/// A request as a server reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// MSG_NEGO_REQ (2.2.4.1): what the asker speaks.
    Negotiation(VersionRange),
    /// MSG_GETBLKLIST (2.2.4.2)
    GetBlockList(GetBlockList<'a>),
    /// MSG_GETBLKS (2.2.4.3)
    GetBlocks(GetBlocks<'a>),
    /// MSG_GETSEGLIST (2.2.4.4)
    GetSegmentList(GetSegmentList<'a>),
    /// Anything in a version that we do not speak: to be treated as a negotiation (3.2.5.2 to 3.2.5.4).
    OtherVersion(Version),
    /// A well-formed header of a message that is no request.
    Other(MessageType),
}

/// A reply as a client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// MSG_NEGO_RESP (2.2.5.1): what the server speaks.
    Negotiation(VersionRange),
    /// MSG_BLKLIST (2.2.5.2)
    BlockList(BlockList<'a>),
    /// MSG_BLK (2.2.5.3)
    Block(Block<'a>),
    /// MSG_SEGLIST (2.2.5.4)
    SegmentList(SegmentList<'a>),
    /// A well-formed header of a message that is no reply.
    Other(MessageType),
}

/// MSG_NEGO_REQ (2.2.4.1) and MSG_NEGO_RESP (2.2.5.1): the versions that their sender speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VersionRange {
    /// MinSupportedProtocolVersion
    pub min: Version,
    /// MaxSupportedProtocolVersion
    pub max: Version,
}

/// What we speak ourselves (fact 40).
pub const OUR_VERSIONS: VersionRange = VersionRange { min: VERSION_1_0, max: VERSION_2_0 };

/// Whether `target` is the retrieval path: any case, with or without the slash at its end, and
/// the doubled form that one client sends (fact 41).
pub fn is_retrieval_path(target: &[u8]) -> bool {
    let guid = PATH.as_bytes().get(1..37).unwrap_or_default();
    let (mut rest, mut names) = (path_of(target), 0u8);
    while let Some((b'/', behind)) = rest.split_first() {
        rest = behind;
        if let Some((name, behind)) = rest.split_at_checked(guid.len())
            && name.eq_ignore_ascii_case(guid)
        {
            (rest, names) = (behind, names.saturating_add(1));
        }
    }
    rest.is_empty() && (1..=2).contains(&names)
}

impl Version {
    /// From the wire's 32 bits: the minor word comes first.
    pub const fn from_wire(value: u32) -> Self {
        Self { major: value as u16, minor: (value >> 16) as u16 }
    }

    /// To the wire's 32 bits.
    pub const fn to_wire(self) -> u32 {
        (self.minor as u32) << 16 | self.major as u32
    }
}

impl VersionRange {
    /// Whether messages of `version` are in range: only major versions count (3.1.5.1).
    pub const fn speaks(&self, version: Version) -> bool {
        self.min.major <= version.major && version.major <= self.max.major
    }

    /// Reads the body of a negotiation message.
    pub fn parse(body: &[u8; 8]) -> Self {
        let [min @ .., _, _, _, _] = *body;
        let [_, _, _, _, max @ ..] = *body;
        Self {
            min: Version::from_wire(u32::from_be_bytes(min)),
            max: Version::from_wire(u32::from_be_bytes(max)),
        }
    }

    /// Writes a whole MSG_NEGO_REQ.
    pub fn emit_request(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        self.emit(MessageType::NegotiationRequest, writer)
    }

    /// Writes a whole MSG_NEGO_RESP, transport header included.
    pub fn emit_reply(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.u32_be(NEGOTIATION_BYTES as u32);
        self.emit(MessageType::NegotiationResponse, writer)
    }

    fn emit(&self, message: MessageType, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let cipher = CipherAlgorithm::Aes128.into();
        Header { version: message.version(), message, size: NEGOTIATION_BYTES as u32, cipher }
            .emit(writer)?;
        writer.u32_be(self.min.to_wire());
        writer.u32_be(self.max.to_wire());
        writer.check()
    }
}

impl MessageType {
    /// From the wire's 32 bits.
    pub const fn from_wire(value: u32) -> Self {
        match value {
            0 => Self::NegotiationRequest,
            1 => Self::NegotiationResponse,
            2 => Self::GetBlockList,
            3 => Self::GetBlocks,
            4 => Self::BlockList,
            5 => Self::Block,
            6 => Self::GetSegmentList,
            7 => Self::SegmentList,
            other => Self::Unknown(other),
        }
    }

    /// To the wire's 32 bits.
    pub const fn to_wire(self) -> u32 {
        match self {
            Self::NegotiationRequest => 0,
            Self::NegotiationResponse => 1,
            Self::GetBlockList => 2,
            Self::GetBlocks => 3,
            Self::BlockList => 4,
            Self::Block => 5,
            Self::GetSegmentList => 6,
            Self::SegmentList => 7,
            Self::Unknown(other) => other,
        }
    }

    /// The version that a message of this type MUST be sent with (2.2.3, fact 32): lists of segments
    /// with 2.0, all others with 1.0.
    pub const fn version(self) -> Version {
        match self {
            Self::GetSegmentList | Self::SegmentList => VERSION_2_0,
            _ => VERSION_1_0,
        }
    }
}

impl CryptoAlgoId {
    /// The cipher that it names; `None` for a value that the document does not know.
    pub const fn algorithm(self) -> Option<CipherAlgorithm> {
        match self.0 {
            0 => Some(CipherAlgorithm::None),
            1 => Some(CipherAlgorithm::Aes128),
            2 => Some(CipherAlgorithm::Aes192),
            3 => Some(CipherAlgorithm::Aes256),
            _ => None,
        }
    }
}

impl From<CipherAlgorithm> for CryptoAlgoId {
    fn from(cipher: CipherAlgorithm) -> Self {
        Self(match cipher {
            CipherAlgorithm::None => 0,
            CipherAlgorithm::Aes128 => 1,
            CipherAlgorithm::Aes192 => 2,
            CipherAlgorithm::Aes256 => 3,
        })
    }
}

impl Header {
    /// Reads a header.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let word = |index: usize| words.get(index).map_or(0, |word| u32::from_be_bytes(*word));
        Self {
            version: Version::from_wire(word(0)),
            message: MessageType::from_wire(word(1)),
            size: word(2),
            cipher: CryptoAlgoId(word(3)),
        }
    }

    /// Writes the header.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        for word in [self.version.to_wire(), self.message.to_wire(), self.size, self.cipher.0] {
            writer.u32_be(word);
        }
        writer.check()
    }
}

impl<'a> Request<'a> {
    /// Reads a whole request: the body of an HTTP request, nothing before and nothing after.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let header = Header::parse(reader.array()?);
        // 2.2.3: a request MUST be 16 to 98,304 bytes, and MsgSize says how many.
        if header.size as usize != bytes.len() || header.size > MAX_REQUEST_BYTES {
            return Err(Malformed::Length);
        }
        // 3.2.5.2 to 3.2.5.4: the version is looked at first.
        if !OUR_VERSIONS.speaks(header.version) {
            return Ok(Self::OtherVersion(header.version));
        }
        let (reader, cipher) = (&mut reader, header.cipher);
        let request = match header.message {
            MessageType::NegotiationRequest => Self::Negotiation(VersionRange::parse(reader.array()?)),
            MessageType::GetBlockList => Self::GetBlockList(GetBlockList::parse(reader, cipher)?),
            MessageType::GetBlocks => Self::GetBlocks(GetBlocks::parse(reader, cipher)?),
            MessageType::GetSegmentList => Self::GetSegmentList(GetSegmentList::parse(reader, cipher)?),
            other => return Ok(Self::Other(other)),
        };
        end(reader)?;
        Ok(request)
    }
}

impl<'a> Reply<'a> {
    /// Reads a whole reply: the body of an HTTP reply, transport header included.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let announced = reader.u32_be()?;
        // 2.2.3: a reply MUST be 16 to 393,216 bytes; both lengths count the same bytes.
        if announced as usize != reader.rest().len() || announced > MAX_REPLY_BYTES {
            return Err(Malformed::Length);
        }
        let header = Header::parse(reader.array()?);
        if header.size != announced {
            return Err(Malformed::Length);
        }
        // The type fixes the version (fact 32); only the major one counts (3.1.5.1).
        if header.version.major != header.message.version().major {
            return Err(Malformed::Version);
        }
        let (reader, cipher) = (&mut reader, header.cipher);
        let reply = match header.message {
            MessageType::NegotiationResponse => Self::Negotiation(VersionRange::parse(reader.array()?)),
            MessageType::BlockList => Self::BlockList(BlockList::parse(reader, cipher)?),
            MessageType::Block => Self::Block(Block::parse(reader, cipher)?),
            MessageType::SegmentList => Self::SegmentList(SegmentList::parse(reader, cipher)?),
            other => return Ok(Self::Other(other)),
        };
        end(reader)?;
        Ok(reply)
    }
}

/// Zero bytes that bring a field of `len` bytes to a multiple of 4 (2.2).
pub const fn pad(len: usize) -> usize {
    len.wrapping_neg() % 4
}

/// Takes a field with its size before and its pad behind it. A pad's bytes are not looked at.
fn padded<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let len = reader.u32_be()? as usize;
    let field = reader.take(len)?;
    reader.take(pad(len))?;
    Ok(field)
}

fn segment_id<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let id = padded(reader)?;
    if is_id_len(id.len()) { Ok(id) } else { Err(Malformed::SegmentId) }
}

/// Whether a segment id of `len` bytes is taken: real ones have 32, 48 or 64, and other lengths are
/// nobody's segment, but well-formed.
pub(super) const fn is_id_len(len: usize) -> bool {
    0 < len && len <= MAX_DIGEST_BYTES
}

fn emit_padded(writer: &mut Writer<'_>, field: &[u8]) {
    writer.u32_be(field.len() as u32);
    writer.put(field);
    writer.zeros(pad(field.len()));
}

/// Bytes of a field with its size and its pad.
const fn padded_len(len: usize) -> usize {
    len.saturating_add(pad(len)).saturating_add(4)
}

/// Writes the header of a message of `size` bytes, itself included.
fn emit_header(
    writer: &mut Writer<'_>,
    message: MessageType,
    size: usize,
    cipher: CryptoAlgoId,
) -> Result<(), NoRoom> {
    let size = u32::try_from(size).map_err(|_| NoRoom)?;
    Header { version: message.version(), message, size, cipher }.emit(writer)
}

/// Writes the transport header and the header of a reply of `len` bytes, both included.
fn emit_reply_header(
    writer: &mut Writer<'_>,
    message: MessageType,
    len: usize,
    cipher: CryptoAlgoId,
) -> Result<(), NoRoom> {
    let size = len.saturating_sub(TRANSPORT_BYTES);
    writer.u32_be(size as u32);
    emit_header(writer, message, size, cipher)
}

/// Writes a whole request for ranges of a segment's blocks, of which `ranges` says how many there are
/// and what they are: MSG_GETBLKLIST, and with `vrf` behind it MSG_GETBLKS.
fn emit_request(
    writer: &mut Writer<'_>,
    cipher: CryptoAlgoId,
    segment: &[u8],
    (count, ranges): (usize, &mut dyn Iterator<Item = Range>),
    vrf: Option<&[u8]>,
) -> Result<(), NoRoom> {
    let ranges_len = count.saturating_mul(RANGE_BYTES).saturating_add(4);
    let lens = [HEADER_BYTES, padded_len(segment.len()), ranges_len];
    let size = lens.into_iter().fold(vrf.map_or(0, |vrf| vrf.len().saturating_add(4)), usize::saturating_add);
    let message = if vrf.is_some() { MessageType::GetBlocks } else { MessageType::GetBlockList };
    emit_header(writer, message, size, cipher)?;
    emit_padded(writer, segment);
    writer.u32_be(count as u32);
    for range in ranges {
        writer.put(&range.to_wire());
    }
    if let Some(vrf) = vrf {
        writer.u32_be(vrf.len() as u32);
        writer.put(vrf);
    }
    writer.check()
}

fn end(reader: &Reader<'_>) -> Result<(), Malformed> {
    if reader.rest().is_empty() { Ok(()) } else { Err(Malformed::Length) }
}

#[cfg(test)]
mod tests;
