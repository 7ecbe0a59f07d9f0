//! [MS-PCCRR] 3.1, the client's half of one exchange: [`Exchange`] reads the reply to MSG_GETBLKS or
//! to MSG_GETBLKLIST as it arrives, [`SegmentExchange`] that to MSG_GETSEGLIST.
//!
//! The block's bytes pass straight through, as they are; the IV comes last. Only headers, sizes
//! and names are judged here, whether the block is the right one is the store's to say.

mod segments;

pub use self::segments::{AskError, SegmentExchange, SegmentStep};
use super::fields::{Fields, Overrun};
use super::set::IndexSet;
use super::wire::{
    GetBlockList, GetBlocks, HEADER_BYTES, Header, MessageType, RANGE_BYTES, Range, TRANSPORT_BYTES,
    VersionRange, pad,
};
use crate::bytes::{Len, NoRoom, Reader, Truncated, Writer};
use crate::content::SegmentId;
use crate::crypto::{CipherAlgorithm, CipherBlock, Seal};
use crate::limits::MAX_REPLY_BYTES;
use crate::store::BlockId;

/// What the next bytes of a reply turned out to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing to act on yet.
    More,
    /// A block of `len` sealed bytes follows.
    Begin {
        /// Its cipher.
        cipher: CipherAlgorithm,
        /// Its bytes as they travel.
        len: u32,
    },
    /// The next bytes of the block.
    Piece(&'a [u8]),
    /// The reply is complete, and this is how its block is sealed.
    Block(Seal),
    /// The reply is complete: the peer does not have the block, or is too busy to send it.
    Missing,
    /// The reply is complete: of what was asked for, the peer has [`Exchange::blocks`].
    Blocks,
    /// The reply is complete: the peer would rather speak these versions (3.1.5.1).
    Negotiation(VersionRange),
}

impl core::fmt::Debug for Step<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::More => f.write_str("More"),
            Self::Begin { cipher, len } => {
                f.debug_struct("Begin").field("cipher", cipher).field("len", len).finish()
            }
            Self::Piece(bytes) => f.debug_tuple("Piece").field(&Len(bytes)).finish(),
            Self::Block(seal) => f.debug_tuple("Block").field(seal).finish(),
            Self::Missing => f.write_str("Missing"),
            Self::Blocks => f.write_str("Blocks"),
            Self::Negotiation(versions) => f.debug_tuple("Negotiation").field(versions).finish(),
        }
    }
}

/// Whether a block that was not encrypted is taken from a peer.
///
/// Its bytes could be read by anybody on the wire, and a store keeps blocks as they travel: whoever
/// says `Yes` seals the pieces on their way into the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AcceptPlain {
    /// It is refused (fact 36).
    #[default]
    No,
    /// It is taken.
    Yes,
}

/// Why a reply is not to be used. All are the peer's doing; 3.1.5.2 to 3.1.5.5: it MUST be
/// silently discarded and the exchange aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refusal {
    /// Sizes contradict each other, or bytes are missing or left over.
    Malformed,
    /// A message of another type, or of another major version.
    Unexpected,
    /// Another segment's, or about other blocks.
    NotAsked,
    /// The block cannot be as long as it claims to be.
    Length,
    /// Not encrypted, or by a cipher that is not known.
    Cipher,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "sizes contradict each other, or bytes are missing or left over",
            Self::Unexpected => "a message of another type or another major version",
            Self::NotAsked => "the answer to another question",
            Self::Length => "the block cannot be as long as it claims to be",
            Self::Cipher => "not encrypted, or by an unknown cipher",
        })
    }
}

impl From<Truncated> for Refusal {
    fn from(_: Truncated) -> Self {
        Self::Malformed
    }
}

impl From<Overrun> for Refusal {
    fn from(_: Overrun) -> Self {
        Self::Malformed
    }
}

/// One exchange: what was asked for, and how far its reply has come. However many ranges a list has,
/// what is kept of them is one set.
pub struct Exchange {
    segment: SegmentId,
    asked: Asked,
    phase: Phase,
    fields: Fields,
}

enum Asked {
    /// One block, of which this is known by now.
    Block { index: u32, plain_len: u32, accept_plain: AcceptPlain, cipher: CipherAlgorithm, len: u32 },
    /// Which of these blocks there are.
    List { asked: IndexSet, listed: IndexSet },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Header,
    IdSize,
    Id,
    /// So much of the block is still to come.
    Block(u32),
    VrfSize,
    Vrf(u32),
    IvSize,
    Iv,
    /// So many ranges are still to come.
    Range(u32),
    Next,
    Negotiation,
    Done,
}

impl Exchange {
    /// An exchange that asked for `asked`, whose plaintext has `plain_len` bytes.
    pub fn new(asked: BlockId, plain_len: u32) -> Self {
        Self::with_policy(asked, plain_len, AcceptPlain::No)
    }

    /// The same, with a word about unencrypted blocks.
    pub fn with_policy(asked: BlockId, plain_len: u32, accept_plain: AcceptPlain) -> Self {
        let BlockId { segment, index } = asked;
        let cipher = CipherAlgorithm::None;
        Self::begin(segment, Asked::Block { index, plain_len, accept_plain, cipher, len: 0 })
    }

    /// An exchange that asks which of the blocks `asked` of `segment` the peer has.
    pub fn list(segment: SegmentId, asked: IndexSet) -> Self {
        Self::begin(segment, Asked::List { asked, listed: IndexSet::EMPTY })
    }

    fn begin(segment: SegmentId, asked: Asked) -> Self {
        Self { segment, asked, phase: Phase::Header, fields: reply_fields() }
    }

    /// The reply is awaited again from its beginning.
    pub fn restart(&mut self) {
        (self.phase, self.fields) = (Phase::Header, reply_fields());
    }

    /// Writes the request, the same each time: 2,140 bytes at most, and
    /// [`GET_BLOCKS_BYTES`](super::wire::GET_BLOCKS_BYTES) where a single range is asked for. 3.1.4.2,
    /// 3.1.4.3: its segment id and blocks MUST be those asked for.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let segment = self.segment.as_bytes();
        match &self.asked {
            Asked::Block { index, .. } => GetBlocks::emit_one(segment, *index, writer),
            // 2.2.3: SHOULD indicate AES-128 in a request.
            Asked::List { asked, .. } => {
                GetBlockList::emit_for(segment, CipherAlgorithm::Aes128.into(), asked.ranges(), writer)
            }
        }
    }

    /// Whether the reply is complete.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// The blocks that a list has named so far.
    pub fn blocks(&self) -> IndexSet {
        if let Asked::List { listed, .. } = self.asked { listed } else { IndexSet::EMPTY }
    }

    /// Reads on. Returns how many bytes were used; call again while bytes are left.
    pub fn handle<'a>(&mut self, bytes: &'a [u8]) -> (usize, Result<Step<'a>, Refusal>) {
        let (used, step) = match self.phase {
            // Nothing may follow a complete reply.
            Phase::Done if bytes.is_empty() => (0, Ok(Step::More)),
            Phase::Done => (bytes.len(), Err(Refusal::Malformed)),
            Phase::Block(left) => {
                let piece = bytes.get(..left as usize).unwrap_or(bytes);
                let left = left.saturating_sub(piece.len() as u32);
                (piece.len(), self.after_block(left).map(|()| Step::Piece(piece)))
            }
            Phase::Vrf(left) => {
                let used = bytes.len().min(left as usize);
                let left = left.saturating_sub(used as u32);
                (used, self.after_vrf(left).map(|()| Step::More))
            }
            phase => {
                let (used, field) = self.fields.fill(bytes);
                let step = field.map_or(Ok(Step::More), |field| {
                    let reader = &mut Reader::new(&field);
                    self.field_complete(*reader).and_then(|()| self.step(phase, reader))
                });
                (used, step)
            }
        };
        if step.is_err() {
            self.phase = Phase::Done;
        }
        (used, step)
    }

    /// What has come about with the last field of `phase`.
    fn step(&self, phase: Phase, field: &mut Reader<'_>) -> Result<Step<'static>, Refusal> {
        Ok(match (self.phase, phase, &self.asked) {
            (Phase::Block(len), _, Asked::Block { cipher, .. }) => Step::Begin { cipher: *cipher, len },
            (Phase::Done, Phase::Negotiation, _) => Step::Negotiation(VersionRange::parse(field.array()?)),
            (Phase::Done, _, Asked::List { .. }) => Step::Blocks,
            (Phase::Done, _, Asked::Block { len: 0, .. }) => Step::Missing,
            (Phase::Done, Phase::Iv, Asked::Block { cipher, .. }) => {
                Step::Block(Seal { algorithm: *cipher, iv: *field.array()? })
            }
            (Phase::Done, _, Asked::Block { cipher, .. }) => {
                Step::Block(Seal { algorithm: *cipher, iv: [0; 16] })
            }
            _ => Step::More,
        })
    }

    fn collect(&mut self, phase: Phase, need: usize) -> Result<(), Refusal> {
        self.phase = phase;
        Ok(self.fields.collect(need)?)
    }

    #[inline(never)]
    fn field_complete(&mut self, mut reader: Reader<'_>) -> Result<(), Refusal> {
        let reader = &mut reader;
        let id = self.segment.as_bytes();
        match self.phase {
            Phase::Header => {
                let header = open(&mut self.fields, reader)?;
                match (header.message, &mut self.asked) {
                    (MessageType::NegotiationResponse, _) => return self.collect(Phase::Negotiation, 8),
                    // The reply's own CryptoAlgoId counts, not what was asked for (fact 34).
                    (MessageType::Block, Asked::Block { cipher, .. }) => {
                        *cipher = header.cipher.algorithm().ok_or(Refusal::Cipher)?;
                    }
                    (MessageType::BlockList, Asked::List { .. }) => {}
                    _ => return Err(Refusal::Unexpected),
                }
                self.collect(Phase::IdSize, 4)
            }
            Phase::IdSize => {
                if reader.u32_be()? as usize != id.len() {
                    return Err(Refusal::NotAsked);
                }
                let behind = if matches!(self.asked, Asked::Block { .. }) { 12 } else { 4 };
                self.collect(Phase::Id, padded(id).saturating_add(behind))
            }
            Phase::Id => {
                // 3.1.5.2, 3.1.5.3: MUST correspond to the request: segment and block index match.
                if !reader.take(padded(id))?.starts_with(id) {
                    return Err(Refusal::NotAsked);
                }
                match self.asked {
                    Asked::Block { index, .. } => {
                        if reader.u32_be()? != index {
                            return Err(Refusal::NotAsked);
                        }
                        // NextBlockIndex is a hint at best, and not to be trusted (fact 40).
                        let _next = reader.u32_be()?;
                        self.block(reader.u32_be()?)
                    }
                    Asked::List { .. } => self.ranges(reader.u32_be()?),
                }
            }
            Phase::Range(left) => {
                self.range(range(reader)?)?;
                self.ranges(left)
            }
            Phase::VrfSize => {
                let pad = pad(self.block_len() as usize);
                reader.take(pad)?;
                let size = reader.u32_be()?;
                let skipped = size.checked_add(self::pad(size as usize) as u32).ok_or(Overrun)?;
                self.fields.spend(skipped)?;
                self.after_vrf(skipped)
            }
            Phase::IvSize => self.iv_size(reader.u32_be()?),
            // NextBlockIndex is not to be trusted (fact 40), and says nothing that was asked.
            Phase::Next | Phase::Iv | Phase::Negotiation => self.end(),
            // These do not collect a field.
            Phase::Block(_) | Phase::Vrf(_) | Phase::Done => Err(Refusal::Malformed),
        }
    }

    fn block(&mut self, size: u32) -> Result<(), Refusal> {
        let Asked::Block { plain_len, accept_plain, cipher, ref mut len, .. } = self.asked else {
            return Err(Refusal::Malformed);
        };
        *len = size;
        self.fields.spend(size)?;
        if size == 0 {
            return self.collect(Phase::VrfSize, 4);
        }
        if cipher == CipherAlgorithm::None && accept_plain == AcceptPlain::No {
            return Err(Refusal::Cipher);
        }
        if size != cipher.sealed_len(plain_len) {
            return Err(Refusal::Length);
        }
        self.phase = Phase::Block(size);
        Ok(())
    }

    fn block_len(&self) -> u32 {
        if let Asked::Block { len, .. } = self.asked { len } else { 0 }
    }

    /// So much of the block is still to come.
    fn after_block(&mut self, left: u32) -> Result<(), Refusal> {
        self.phase = Phase::Block(left);
        if left > 0 {
            return Ok(());
        }
        self.collect(Phase::VrfSize, pad(self.block_len() as usize) + 4)
    }

    /// So much of VrfBlock is still to come, which is passed over (fact 33).
    fn after_vrf(&mut self, left: u32) -> Result<(), Refusal> {
        self.phase = Phase::Vrf(left);
        if left > 0 {
            return Ok(());
        }
        self.collect(Phase::IvSize, 4)
    }

    fn iv_size(&mut self, size: u32) -> Result<(), Refusal> {
        let Asked::Block { cipher, len, .. } = self.asked else { return Err(Refusal::Malformed) };
        match size as usize {
            // A missing block may come with or without an IV (fact 36), a plain one does not need it; a
            // sealed one does.
            0 if len == 0 || cipher == CipherAlgorithm::None => self.end(),
            size if size == size_of::<CipherBlock>() => self.collect(Phase::Iv, size),
            _ => Err(Refusal::Malformed),
        }
    }

    fn ranges(&mut self, left: u32) -> Result<(), Refusal> {
        match left.checked_sub(1) {
            Some(left) => self.collect(Phase::Range(left), RANGE_BYTES),
            None => self.collect(Phase::Next, 4),
        }
    }

    /// 3.1.5.2: MUST check that the ranges overlap with those of the request, or else discard the
    /// reply. Of a range that reaches beyond them, what was asked for counts.
    fn range(&mut self, range: Range) -> Result<(), Refusal> {
        let Asked::List { asked, listed } = &mut self.asked else { return Err(Refusal::Malformed) };
        let mut blocks = IndexSet::EMPTY;
        blocks.insert_range(range);
        let blocks = blocks.intersection(asked);
        if blocks.is_empty() {
            return Err(Refusal::NotAsked);
        }
        *listed = listed.union(&blocks);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refusal> {
        self.phase = Phase::Done;
        if self.fields.left == 0 { Ok(()) } else { Err(Refusal::Malformed) }
    }
}

/// Both headers come first.
const fn reply_fields() -> Fields {
    Fields::new((TRANSPORT_BYTES + HEADER_BYTES) as u8)
}

/// Reads both headers of a reply; MsgSize is what both of them say.
fn open(fields: &mut Fields, reader: &mut Reader<'_>) -> Result<Header, Refusal> {
    let announced = reader.u32_be()?;
    let header = Header::parse(reader.array()?);
    // 2.2.3: a reply MUST be 16 to 393,216 bytes; both lengths mean the same bytes.
    if announced != header.size || announced > MAX_REPLY_BYTES {
        return Err(Refusal::Malformed);
    }
    // The type fixes the version (fact 32), and another major one is not for us (fact 36).
    if header.version.major != header.message.version().major {
        return Err(Refusal::Unexpected);
    }
    fields.left = header.size;
    fields.spend(HEADER_BYTES as u32)?;
    Ok(header)
}

/// Bytes of a segment id and its pad.
fn padded(id: &[u8]) -> usize {
    id.len().saturating_add(pad(id.len()))
}

/// A range of blocks or of segments.
fn range(reader: &mut Reader<'_>) -> Result<Range, Refusal> {
    let range = Range::from_wire(*reader.array()?);
    // 2.2.1.1, 2.2.1.2: Count MUST be greater than 0.
    if range.count == 0 { Err(Refusal::Malformed) } else { Ok(range) }
}

#[cfg(test)]
mod tests;
