//! [MS-PCCRR] 2.2.4.3 and 2.2.5.3: a block asked for, and a block sent.

use super::{
    CryptoAlgoId, HEADER_BYTES, Malformed, MessageType, RANGE_BYTES, Range, Ranges, TRANSPORT_BYTES,
    emit_padded, emit_reply_header, emit_request, pad, padded, padded_len, segment_id,
};
use crate::bytes::{Len, NoRoom, Reader, Writer};
use crate::crypto::{CipherAlgorithm, Seal};
use crate::limits::MAX_DIGEST_BYTES;

/// Bytes that [`GetBlocks::emit_one`] needs at most.
pub const GET_BLOCKS_BYTES: usize = HEADER_BYTES + 4 + MAX_DIGEST_BYTES + 4 + RANGE_BYTES + 4;

/// Bytes that [`BlockReply::emit_head`] needs at most.
pub const BLOCK_HEAD_BYTES: usize = TRANSPORT_BYTES + HEADER_BYTES + 4 + MAX_DIGEST_BYTES + 12;

/// Bytes that [`BlockReply::emit_tail`] needs at most without a VrfBlock: a pad, two sizes, an IV.
pub const BLOCK_TAIL_BYTES: usize = 3 + 4 + 4 + 16;

/// MSG_GETBLKS (2.2.4.3): a request for one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetBlocks<'a> {
    /// SegmentID, of any length up to [`MAX_DIGEST_BYTES`].
    pub segment: &'a [u8],
    /// How the asker would like it encrypted.
    pub cipher: CryptoAlgoId,
    /// ReqBlockRanges: one range of one block, if the asker keeps to the document.
    pub ranges: Ranges<'a>,
    /// DataForVrfBlock, which means nothing.
    pub vrf: &'a [u8],
}

/// What stands around the block in MSG_BLK (2.2.5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockReply<'a> {
    /// SegmentId, that of the request.
    pub segment: &'a [u8],
    /// BlockIndex
    pub index: u32,
    /// NextBlockIndex, 0 for none.
    pub next: u32,
    /// How the block is encrypted.
    pub cipher: CryptoAlgoId,
    /// SizeOfBlock: bytes as stored; 0 if the block is not to be had.
    pub block_len: u32,
    /// VrfBlock, which means nothing and is not sent.
    pub vrf: &'a [u8],
    /// IVBlock
    pub iv: &'a [u8],
}

/// MSG_BLK (2.2.5.3), whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// What stands around the block.
    pub around: BlockReply<'a>,
    /// The block as it travels.
    pub block: &'a [u8],
}

impl<'a> GetBlocks<'a> {
    pub(super) fn parse(reader: &mut Reader<'a>, cipher: CryptoAlgoId) -> Result<Self, Malformed> {
        let segment = segment_id(reader)?;
        let ranges = Ranges::parse(reader)?;
        let vrf_len = reader.u32_be()?;
        // No pad behind it (fact 33).
        let vrf = reader.take(vrf_len as usize)?;
        Ok(Self { segment, cipher, ranges, vrf })
    }

    /// The block asked for. `None` where there is no range, or only empty ones (fact 39).
    pub fn block(&self) -> Option<u32> {
        // 3.2.5.3: of several blocks the server SHOULD select the one with the smallest index.
        self.ranges.iter().filter(|range| range.count > 0).map(|range| range.index).min()
    }

    /// Writes the whole message.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let ranges = (self.ranges.len(), &mut self.ranges.iter() as &mut dyn Iterator<Item = Range>);
        emit_request(writer, self.cipher, self.segment, ranges, Some(self.vrf))
    }

    /// Writes a whole request for one block, asking for AES-128 (2.2.3: SHOULD). 3.1.4.3: segment id and
    /// block MUST be those asked for.
    pub fn emit_one(segment: &[u8], index: u32, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        // 3.1.4.3: MUST request one block per exchange; 2.2.4.3: a single range of one block.
        let range = &mut core::iter::once(Range { index, count: 1 });
        emit_request(writer, CipherAlgorithm::Aes128.into(), segment, (1, range), Some(&[]))
    }
}

impl<'a> BlockReply<'a> {
    /// Around a stored block: its bytes, and how it is sealed. `None` for one that is not here.
    pub fn new(segment: &'a [u8], index: u32, next: u32, block: Option<(u32, &'a Seal)>) -> Self {
        // Fact 36: a missing block goes out as algorithm 0, size 0, without an IV. 2.2.5.3: its size
        // MUST be zero.
        let (block_len, cipher, iv): (_, _, &[u8]) = match block {
            None => (0, CipherAlgorithm::None, &[]),
            Some((len, Seal { algorithm: CipherAlgorithm::None, .. })) => (len, CipherAlgorithm::None, &[]),
            Some((len, seal)) => (len, seal.algorithm, &seal.iv),
        };
        Self { segment, index, next, cipher: cipher.into(), block_len, vrf: &[], iv }
    }

    /// Bytes of the whole reply, transport header included.
    pub fn len(&self) -> usize {
        let block = self.block_len as usize;
        let head = BLOCK_HEAD_BYTES - MAX_DIGEST_BYTES - 4 + padded_len(self.segment.len());
        let tail = [block, pad(block), padded_len(self.vrf.len()), 4, self.iv.len()];
        tail.into_iter().fold(head, usize::saturating_add)
    }

    /// Never: a reply has a header.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes everything before the block.
    pub fn emit_head(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        emit_reply_header(writer, MessageType::Block, self.len(), self.cipher)?;
        emit_padded(writer, self.segment);
        for word in [self.index, self.next, self.block_len] {
            writer.u32_be(word);
        }
        writer.check()
    }

    /// Writes everything behind the block: its pad, VrfBlock with its own, the IV without (fact 33).
    pub fn emit_tail(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.zeros(pad(self.block_len as usize));
        emit_padded(writer, self.vrf);
        writer.u32_be(self.iv.len() as u32);
        writer.put(self.iv);
        writer.check()
    }
}

impl<'a> Block<'a> {
    pub(super) fn parse(reader: &mut Reader<'a>, cipher: CryptoAlgoId) -> Result<Self, Malformed> {
        let segment = segment_id(reader)?;
        let (index, next) = (reader.u32_be()?, reader.u32_be()?);
        let block = padded(reader)?;
        let vrf = padded(reader)?;
        let iv_len = reader.u32_be()?;
        let iv = reader.take(iv_len as usize)?;
        let block_len = block.len() as u32;
        Ok(Self { around: BlockReply { segment, index, next, cipher, block_len, vrf, iv }, block })
    }

    /// Writes the whole message, transport header included.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        self.around.emit_head(writer)?;
        writer.put(self.block);
        self.around.emit_tail(writer)
    }
}

impl core::fmt::Debug for Block<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Block").field("around", &self.around).field("block", &Len(self.block)).finish()
    }
}
