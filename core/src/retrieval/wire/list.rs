//! [MS-PCCRR] 2.2.4.2 and 2.2.5.2: which blocks of a segment are there.

use super::{
    CryptoAlgoId, HEADER_BYTES, Malformed, MessageType, TRANSPORT_BYTES, emit_padded, emit_reply_header,
    emit_request, padded_len, segment_id,
};
use crate::bytes::{NoRoom, Reader, Writer};
use crate::limits::MAX_DIGEST_BYTES;

/// Bytes of BLOCK_RANGE and of SEGMENT_RANGE (2.2.1.1, 2.2.1.2).
pub const RANGE_BYTES: usize = 8;

/// Bytes that [`BlockListReply::emit_head`] needs at most.
pub const LIST_HEAD_BYTES: usize = TRANSPORT_BYTES + HEADER_BYTES + 4 + MAX_DIGEST_BYTES + 4;

/// BLOCK_RANGE or SEGMENT_RANGE (2.2.1.1, 2.2.1.2): consecutive blocks of a segment, or consecutive
/// segment ids of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Range {
    /// The first one.
    pub index: u32,
    /// How many. 0 is tolerated in a request, where it asks for nothing (fact 39).
    pub count: u32,
}

/// BLOCK_RANGE_ARRAY or SEGMENT_RANGE_ARRAY (2.2.1.3, 2.2.1.4) as it stands in a message, in any
/// order; ranges may overlap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ranges<'a>(&'a [[u8; RANGE_BYTES]]);

/// MSG_GETBLKLIST (2.2.4.2): which of these blocks does the server have?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetBlockList<'a> {
    /// SegmentID, of any length up to [`MAX_DIGEST_BYTES`].
    pub segment: &'a [u8],
    /// CryptoAlgoId, which means nothing here.
    pub cipher: CryptoAlgoId,
    /// NeededBlockRanges
    pub ranges: Ranges<'a>,
}

/// MSG_BLKLIST (2.2.5.2), whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockList<'a> {
    /// SegmentId, that of the request.
    pub segment: &'a [u8],
    /// CryptoAlgoId, which means nothing here.
    pub cipher: CryptoAlgoId,
    /// BlockRanges
    pub ranges: Ranges<'a>,
    /// NextBlockIndex, 0 for none.
    pub next: u32,
}

/// What stands around the ranges in MSG_BLKLIST (2.2.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockListReply<'a> {
    /// SegmentId, that of the request.
    pub segment: &'a [u8],
    /// CryptoAlgoId, which means nothing here.
    pub cipher: CryptoAlgoId,
    /// BlockRangeCount
    pub count: u32,
    /// NextBlockIndex, 0 for none.
    pub next: u32,
}

impl Range {
    /// From the wire's two integers.
    pub const fn from_wire(bytes: [u8; RANGE_BYTES]) -> Self {
        let [a, b, c, d, count @ ..] = bytes;
        Self { index: u32::from_be_bytes([a, b, c, d]), count: u32::from_be_bytes(count) }
    }

    /// To the wire's two integers.
    pub const fn to_wire(self) -> [u8; RANGE_BYTES] {
        ((self.index as u64) << 32 | self.count as u64).to_be_bytes()
    }

    /// The indices that it covers; those past 2^32 do not exist.
    pub const fn indices(self) -> core::ops::Range<u32> {
        self.index..self.index.saturating_add(self.count)
    }
}

impl<'a> Ranges<'a> {
    /// These ranges, in the form of the wire.
    pub const fn new(ranges: &'a [[u8; RANGE_BYTES]]) -> Self {
        Self(ranges)
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let count = reader.u32_be()? as usize;
        // 2.2.4.2 and 2.2.4.3 say 1 to 256; what counts is that they are all there (fact 39).
        let bytes = reader.take(count.checked_mul(RANGE_BYTES).ok_or(Malformed::Length)?)?;
        Ok(Self(bytes.as_chunks().0))
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Range> + Clone + use<'a> {
        self.0.iter().map(|range| Range::from_wire(*range))
    }
}

impl core::fmt::Debug for Ranges<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> GetBlockList<'a> {
    pub(super) fn parse(reader: &mut Reader<'a>, cipher: CryptoAlgoId) -> Result<Self, Malformed> {
        Ok(Self { segment: segment_id(reader)?, cipher, ranges: Ranges::parse(reader)? })
    }

    /// Writes the whole message.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        Self::emit_for(self.segment, self.cipher, self.ranges.iter(), writer)
    }

    /// Writes a whole message that asks for `ranges`.
    pub fn emit_for(
        segment: &[u8],
        cipher: CryptoAlgoId,
        mut ranges: impl Iterator<Item = Range> + Clone,
        writer: &mut Writer<'_>,
    ) -> Result<(), NoRoom> {
        let count = ranges.clone().fold(0usize, |count, _| count.saturating_add(1));
        emit_request(writer, cipher, segment, (count, &mut ranges), None)
    }
}

impl<'a> BlockList<'a> {
    pub(super) fn parse(reader: &mut Reader<'a>, cipher: CryptoAlgoId) -> Result<Self, Malformed> {
        let (segment, ranges) = (segment_id(reader)?, Ranges::parse(reader)?);
        Ok(Self { segment, cipher, ranges, next: reader.u32_be()? })
    }

    /// Writes the whole message, transport header included.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let Self { segment, cipher, ranges, next } = *self;
        let around = BlockListReply { segment, cipher, count: ranges.len() as u32, next };
        around.emit_head(writer)?;
        writer.put(ranges.0.as_flattened());
        around.emit_tail(writer)
    }
}

impl BlockListReply<'_> {
    /// Bytes of the whole reply, transport header included.
    pub const fn len(&self) -> usize {
        let head = LIST_HEAD_BYTES - MAX_DIGEST_BYTES - 4 + padded_len(self.segment.len());
        (self.count as usize).saturating_mul(RANGE_BYTES).saturating_add(head + 4)
    }

    /// Never: a reply has a header.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes everything before the ranges; each of them follows as [`Range::to_wire`] gives it.
    pub fn emit_head(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        emit_reply_header(writer, MessageType::BlockList, self.len(), self.cipher)?;
        emit_padded(writer, self.segment);
        writer.u32_be(self.count);
        writer.check()
    }

    /// Writes everything behind the ranges.
    pub fn emit_tail(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.u32_be(self.next);
        writer.check()
    }
}
