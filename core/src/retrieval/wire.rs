//! [MS-PCCRR] section 2: the messages. All integers are big-endian (fact 32).
//!
//! Requests have no length in front; replies begin with the TRANSPORT_RESPONSE_HEADER, a 4-byte
//! count of what follows. A reply that carries a block is written in three parts, so that the
//! block itself goes from the store to the socket: [`BlockReply::emit_head`], the stored bytes,
//! [`BlockReply::emit_tail`].

use crate::bytes::{NoRoom, Reader, Truncated, Writer};
use crate::crypto::{CipherAlgorithm, Seal};
use crate::limits::{MAX_DIGEST_BYTES, MAX_REQUEST_BYTES};

/// The path that peers listen on (2.1.1).
pub const PATH: &str = "/116B50EB-ECE2-41ac-8429-9F9E963361B7/";

/// Bytes of MESSAGE_HEADER (2.2.3).
pub const HEADER_BYTES: usize = 16;

/// Bytes of TRANSPORT_RESPONSE_HEADER (2.2.2).
pub const TRANSPORT_BYTES: usize = 4;

/// Bytes that [`GetBlocks::emit`] needs at most.
pub const GET_BLOCKS_BYTES: usize = HEADER_BYTES + 4 + MAX_DIGEST_BYTES + 4 + 8 + 4;

/// Bytes that [`BlockReply::emit_head`] needs at most.
pub const BLOCK_HEAD_BYTES: usize = TRANSPORT_BYTES + HEADER_BYTES + 4 + MAX_DIGEST_BYTES + 12;

/// Bytes that [`BlockReply::emit_tail`] needs at most: a pad, two sizes and an IV.
pub const BLOCK_TAIL_BYTES: usize = 3 + 4 + 4 + 16;

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
    /// CryptoAlgoId; `None` for a value the document does not know.
    pub cipher: Option<CipherAlgorithm>,
}

/// Why a message is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Malformed {
    /// It ends too early.
    Truncated,
    /// A length or a count contradicts the bytes there are.
    Length,
    /// The segment id is empty or longer than any digest.
    SegmentId,
}

impl From<Truncated> for Malformed {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// A request as a server reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// MSG_NEGO_REQ, or anything else in a version we do not speak (3.2.5.2 to 3.2.5.4).
    Negotiation,
    /// MSG_GETBLKS (2.2.4.3)
    GetBlocks(GetBlocks<'a>),
    /// A well-formed header of a message that this server does not answer.
    Other(MessageType),
}

/// MSG_GETBLKS (2.2.4.3): a request for one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetBlocks<'a> {
    /// SegmentID, of any length up to [`MAX_DIGEST_BYTES`].
    pub segment: &'a [u8],
    /// The block asked for. `None` where there is no range, or an empty one (fact 39).
    pub block: Option<u32>,
    /// How the asker would like it encrypted; a server may ignore it (2.2.3).
    pub cipher: Option<CipherAlgorithm>,
}

/// MSG_NEGO_RESP (2.2.5.1)
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

/// MSG_BLK (2.2.5.3) as a server writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockReply<'a> {
    /// SegmentId, that of the request.
    pub segment: &'a [u8],
    /// BlockIndex
    pub index: u32,
    /// NextBlockIndex, 0 for none.
    pub next: u32,
    /// The sealed block: bytes as stored, and how. `None` where it is not to be had.
    pub block: Option<(u32, Seal)>,
}

/// Whether `target` is the retrieval path: any case, with or without the slash at its end, and
/// the doubled form that one client sends (fact 41).
pub fn is_retrieval_path(target: &[u8]) -> bool {
    let guid = PATH.as_bytes().get(1..37).unwrap_or_default();
    let mut names = target.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
    let (first, second, third) = (names.next(), names.next(), names.next());
    let matches = |name: &[u8]| name.eq_ignore_ascii_case(guid);
    target.first() == Some(&b'/')
        && first.is_some_and(matches)
        && second.is_none_or(matches)
        && third.is_none()
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

    /// Writes a whole MSG_NEGO_RESP, transport header included.
    pub fn emit_reply(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        const SIZE: u32 = HEADER_BYTES as u32 + 8;
        writer.u32_be(SIZE)?;
        // 2.2.3: for negotiation the version MUST be 1.0.
        emit_header(writer, MessageType::NegotiationResponse, SIZE, CipherAlgorithm::Aes128)?;
        writer.u32_be(self.min.to_wire())?;
        writer.u32_be(self.max.to_wire())
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
            cipher: cipher_from_wire(word(3)),
        }
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
        if !OUR_VERSIONS.speaks(header.version) {
            return Ok(Self::Negotiation);
        }
        match header.message {
            MessageType::NegotiationRequest => {
                reader.take(8)?;
                end(&reader)?;
                Ok(Self::Negotiation)
            }
            MessageType::GetBlocks => GetBlocks::parse_body(reader, header.cipher).map(Self::GetBlocks),
            other => Ok(Self::Other(other)),
        }
    }
}

impl<'a> GetBlocks<'a> {
    fn parse_body(mut reader: Reader<'a>, cipher: Option<CipherAlgorithm>) -> Result<Self, Malformed> {
        let segment = segment_id(&mut reader)?;
        let count = reader.u32_be()?;
        // 2.2.4.3 asks for one range of one block; of several, the first block is meant (3.2.5.3).
        let ranges = reader.take((count as usize).checked_mul(8).ok_or(Malformed::Length)?)?;
        let mut block: Option<u32> = None;
        for range in ranges.as_chunks::<8>().0 {
            let [index @ .., _, _, _, _] = *range;
            let [_, _, _, _, blocks @ ..] = *range;
            let index = u32::from_be_bytes(index);
            if u32::from_be_bytes(blocks) != 0 && block.is_none_or(|first| index < first) {
                block = Some(index);
            }
        }
        let vrf = reader.u32_be()?;
        reader.take(vrf as usize)?;
        end(&reader)?;
        Ok(Self { segment, block, cipher })
    }

    /// Writes a whole MSG_GETBLKS for one block, asking for AES-128 (2.2.3: SHOULD).
    pub fn emit(segment: &[u8], index: u32, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let size = HEADER_BYTES + 4 + segment.len() + pad(segment.len()) + 4 + 8 + 4;
        emit_header(writer, MessageType::GetBlocks, size as u32, CipherAlgorithm::Aes128)?;
        emit_segment_id(writer, segment)?;
        // 3.1.4.3: MUST request one block per exchange; 2.2.4.3: a single range of one block.
        for word in [1, index, 1, 0] {
            writer.u32_be(word)?;
        }
        Ok(())
    }
}

impl BlockReply<'_> {
    /// Bytes of the whole reply, transport header included.
    pub fn len(&self) -> u32 {
        let (block, seal) = self.block.map_or((0, None), |(len, seal)| (len, Some(seal)));
        let head = BLOCK_HEAD_BYTES - MAX_DIGEST_BYTES + self.segment.len() + pad(self.segment.len());
        let tail = pad(block as usize) + 8 + seal.map_or(0, iv_len);
        block.saturating_add((head + tail) as u32)
    }

    /// Never: a reply has a header.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes everything before the block.
    pub fn emit_head(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let size = self.len().saturating_sub(TRANSPORT_BYTES as u32);
        writer.u32_be(size)?;
        // Fact 36: a missing block goes out as algorithm 0, size 0.
        let cipher = self.block.map_or(CipherAlgorithm::None, |(_, seal)| seal.algorithm);
        emit_header(writer, MessageType::Block, size, cipher)?;
        emit_segment_id(writer, self.segment)?;
        // 2.2.5.3: NextBlockIndex MUST be zero if there is none; SizeOfBlock MUST be zero if the
        // server does not have the block.
        for word in [self.index, self.next, self.block.map_or(0, |(len, _)| len)] {
            writer.u32_be(word)?;
        }
        Ok(())
    }

    /// Writes everything behind the block: pad, an empty VrfBlock, the IV (fact 33).
    pub fn emit_tail(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.zeros(self.block.map_or(0, |(len, _)| pad(len as usize)))?;
        writer.u32_be(0)?;
        match self.block {
            Some((_, seal)) if iv_len(seal) > 0 => {
                writer.u32_be(iv_len(seal) as u32)?;
                writer.put(&seal.iv)
            }
            _ => writer.u32_be(0),
        }
    }
}

/// Zero bytes that bring a field of `len` bytes to a multiple of 4 (2.2).
pub const fn pad(len: usize) -> usize {
    len.wrapping_neg() % 4
}

fn iv_len(seal: Seal) -> usize {
    if seal.algorithm == CipherAlgorithm::None { 0 } else { seal.iv.len() }
}

fn segment_id<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let len = reader.u32_be()? as usize;
    if len == 0 || len > MAX_DIGEST_BYTES {
        return Err(Malformed::SegmentId);
    }
    let id = reader.take(len)?;
    reader.take(pad(len))?;
    Ok(id)
}

fn emit_segment_id(writer: &mut Writer<'_>, id: &[u8]) -> Result<(), NoRoom> {
    writer.u32_be(id.len() as u32)?;
    writer.put(id)?;
    writer.zeros(pad(id.len()))
}

fn emit_header(
    writer: &mut Writer<'_>,
    message: MessageType,
    size: u32,
    cipher: CipherAlgorithm,
) -> Result<(), NoRoom> {
    // 2.2.3: the message type fixes the version; all of these MUST be sent with 1.0.
    writer.u32_be(VERSION_1_0.to_wire())?;
    writer.u32_be(message.to_wire())?;
    writer.u32_be(size)?;
    writer.u32_be(match cipher {
        CipherAlgorithm::None => 0,
        CipherAlgorithm::Aes128 => 1,
        CipherAlgorithm::Aes192 => 2,
        CipherAlgorithm::Aes256 => 3,
    })
}

const fn cipher_from_wire(value: u32) -> Option<CipherAlgorithm> {
    match value {
        0 => Some(CipherAlgorithm::None),
        1 => Some(CipherAlgorithm::Aes128),
        2 => Some(CipherAlgorithm::Aes192),
        3 => Some(CipherAlgorithm::Aes256),
        _ => None,
    }
}

fn end(reader: &Reader<'_>) -> Result<(), Malformed> {
    if reader.rest().is_empty() { Ok(()) } else { Err(Malformed::Length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! vector {
        ($name:literal) => {
            include_bytes!(concat!("../../../tests/vectors/", $name))
        };
    }

    fn id() -> [u8; 32] {
        core::array::from_fn(|i| i as u8)
    }

    fn get_blocks(bytes: &[u8]) -> GetBlocks<'_> {
        match Request::parse(bytes) {
            Ok(Request::GetBlocks(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_of_other_implementations() {
        let request = get_blocks(vector!("pccrr-getblks-511.bin"));
        assert_eq!((request.segment, request.block), (&id()[..], Some(511)));
        assert_eq!(request.cipher, Some(CipherAlgorithm::Aes256));
        assert_eq!(get_blocks(vector!("client-wire/v1-getblks.bin")).block, Some(15));
        // Fact 39: an empty range is answered, a count that lies is dropped.
        assert_eq!(get_blocks(vector!("pccrr-getblks-count0.bin")).block, None);
        assert_eq!(Request::parse(vector!("pccrr-getblks-neg-count10.bin")), Err(Malformed::Truncated));
        assert_eq!(Request::parse(vector!("pccrr-nego-req-1.0-2.0.bin")), Ok(Request::Negotiation));
    }

    #[test]
    fn our_request_is_theirs() {
        let mut buf = [0; GET_BLOCKS_BYTES];
        let mut writer = Writer::new(&mut buf);
        GetBlocks::emit(&id(), 0, &mut writer).unwrap();
        assert_eq!(writer.finish(), vector!("pccrr-getblks-0.bin"));
    }

    #[test]
    fn several_ranges_mean_the_first_block() {
        let mut bytes = [0u8; 92];
        bytes[..68].copy_from_slice(vector!("pccrr-getblks-0.bin"));
        bytes[11] = 92;
        bytes[55] = 4;
        for (at, (index, count)) in (56..).step_by(8).zip([(9u8, 1u8), (3, 0), (7, 2), (8, 1)]) {
            bytes[at..at + 8].copy_from_slice(&[0, 0, 0, index, 0, 0, 0, count]);
        }
        assert_eq!(get_blocks(&bytes).block, Some(7));
    }

    fn emit(reply: &BlockReply<'_>, block: &[u8]) -> ([u8; 256], usize) {
        let mut buf = [0; 256];
        let mut writer = Writer::new(&mut buf);
        reply.emit_head(&mut writer).unwrap();
        writer.put(block).unwrap();
        reply.emit_tail(&mut writer).unwrap();
        let len = writer.len();
        assert_eq!(len, reply.len() as usize);
        (buf, len)
    }

    #[test]
    fn our_replies_are_theirs() {
        let iv = core::array::from_fn(|i| i as u8);
        let segment = &id()[..];
        for (algorithm, vector) in [
            (CipherAlgorithm::Aes128, &vector!("pccrr-blk-aes128-15.bin")[..]),
            (CipherAlgorithm::None, vector!("pccrr-blk-plain-15.bin")),
        ] {
            let len = algorithm.sealed_len(15);
            let block = Some((len, Seal { algorithm, iv }));
            let reply = BlockReply { segment, index: 5, next: 6, block };
            let (buf, total) = emit(&reply, &vector[68..68 + len as usize]);
            assert_eq!(&buf[..total], vector);
        }
        let (buf, len) = emit(&BlockReply { segment, index: 0, next: 0, block: None }, &[]);
        let mut empty = *vector!("pccrr-blk-empty-noiv.bin");
        // The vector says AES-128 for its empty block; fact 36 says algorithm 0.
        empty[19] = 0;
        assert_eq!(buf[..len], empty);

        let mut writer_buf = [0; 28];
        let mut writer = Writer::new(&mut writer_buf);
        OUR_VERSIONS.emit_reply(&mut writer).unwrap();
        assert_eq!(writer.finish(), vector!("pccrr-nego-resp-1.0-2.0.bin"));
    }

    #[test]
    fn other_versions_are_answered_with_ours() {
        let mut bytes = *vector!("pccrr-getblks-0.bin");
        bytes[3] = 3;
        assert_eq!(Request::parse(&bytes), Ok(Request::Negotiation));
        bytes[3] = 2;
        bytes[1] = 9;
        assert!(matches!(Request::parse(&bytes), Ok(Request::GetBlocks(_))), "minor versions do not matter");
        bytes[7] = 99;
        assert_eq!(Request::parse(&bytes), Ok(Request::Other(MessageType::Unknown(99))));
    }

    #[test]
    fn every_cut_is_malformed() {
        let bytes = vector!("pccrr-getblks-511.bin");
        for len in 0..bytes.len() {
            let mut cut = *bytes;
            assert!(Request::parse(&cut[..len]).is_err());
            if len >= HEADER_BYTES {
                cut[11] = len as u8;
                assert!(Request::parse(&cut[..len]).is_err(), "{len}");
            }
        }
    }

    #[test]
    fn the_path_in_the_forms_seen() {
        assert!(is_retrieval_path(PATH.as_bytes()));
        for good in [
            "/116b50eb-ece2-41AC-8429-9f9e963361b7",
            "/116B50EB-ECE2-41ac-8429-9F9E963361B7//116B50EB-ECE2-41ac-8429-9F9E963361B7/",
        ] {
            assert!(is_retrieval_path(good.as_bytes()), "{good}");
        }
        for bad in
            ["/", "", "116B50EB-ECE2-41ac-8429-9F9E963361B7", "/116B50EB-ECE2-41ac-8429-9F9E963361B7/x"]
        {
            assert!(!is_retrieval_path(bad.as_bytes()), "{bad}");
        }
    }
}
