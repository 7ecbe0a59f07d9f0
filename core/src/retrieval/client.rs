//! [MS-PCCRR] 3.1, the client's half of one exchange: [`Exchange`] reads the reply to MSG_GETBLKS as
//! it arrives, [`ListExchange`] that to MSG_GETBLKLIST, [`SegmentExchange`] that to MSG_GETSEGLIST.
//!
//! The block's bytes pass straight through, as they are; the IV comes last. Only headers, sizes
//! and names are judged here, whether the block is the right one is the store's to say.

mod list;
mod segments;

pub use self::list::{ListExchange, ListStep};
pub use self::segments::{AskError, SegmentExchange, SegmentStep};
use super::wire::{
    BLOCK_HEAD_BYTES, HEADER_BYTES, Header, MessageType, Range, TRANSPORT_BYTES, VersionRange, pad,
};
use crate::bytes::{Len, Reader, copy};
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

/// One exchange: what was asked for, and how far its reply has come.
pub struct Exchange {
    asked: BlockId,
    plain_len: u32,
    accept_plain: AcceptPlain,
    phase: Phase,
    fields: Fields,
    cipher: CipherAlgorithm,
    block_len: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Header,
    IdSize,
    Id(usize),
    Block(u32),
    VrfSize,
    Vrf(u32),
    IvSize,
    Iv,
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
        Self {
            asked,
            plain_len,
            accept_plain,
            phase: Phase::Header,
            fields: Fields::NEW,
            cipher: CipherAlgorithm::None,
            block_len: 0,
        }
    }

    /// Whether the reply is complete.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Reads on. Returns how many bytes were used; call again while bytes are left.
    pub fn handle<'a>(&mut self, bytes: &'a [u8]) -> (usize, Result<Step<'a>, Refusal>) {
        match self.phase {
            // Nothing may follow a complete reply.
            Phase::Done if bytes.is_empty() => (0, Ok(Step::More)),
            Phase::Done => (bytes.len(), Err(Refusal::Malformed)),
            Phase::Block(left) => {
                let len = bytes.len().min(left as usize);
                let piece = bytes.get(..len).unwrap_or_default();
                self.phase = Phase::Block(left.saturating_sub(len as u32));
                if len == left as usize {
                    self.collect(Phase::VrfSize, pad(self.block_len as usize) + 4);
                }
                (len, Ok(Step::Piece(piece)))
            }
            Phase::Vrf(left) => {
                let len = bytes.len().min(left as usize);
                self.phase = Phase::Vrf(left.saturating_sub(len as u32));
                if len == left as usize {
                    self.collect(Phase::IvSize, 4);
                }
                (len, Ok(Step::More))
            }
            _ => {
                let (used, whole) = self.fields.fill(bytes);
                if !whole {
                    return (used, Ok(Step::More));
                }
                let fields = self.fields;
                let step = self.field_complete(&mut fields.reader());
                if step.is_err() {
                    self.phase = Phase::Done;
                }
                (used, step)
            }
        }
    }

    fn collect(&mut self, phase: Phase, need: usize) {
        self.phase = phase;
        self.fields.collect(need);
    }

    fn field_complete(&mut self, reader: &mut Reader<'_>) -> Result<Step<'static>, Refusal> {
        let malformed = |_| Refusal::Malformed;
        match self.phase {
            Phase::Header => {
                let header = self.fields.open(reader)?;
                self.header(header)
            }
            Phase::IdSize => {
                let len = reader.u32_be().map_err(malformed)? as usize;
                if len != self.asked.segment.as_bytes().len() {
                    return Err(Refusal::NotAsked);
                }
                let need = len.saturating_add(pad(len)).saturating_add(12);
                self.fields.spend(need as u32)?;
                self.collect(Phase::Id(len), need);
                Ok(Step::More)
            }
            Phase::Id(len) => {
                let id = reader.take(len).map_err(malformed)?;
                reader.take(pad(len)).map_err(malformed)?;
                let index = reader.u32_be().map_err(malformed)?;
                // NextBlockIndex is a hint at best, and not to be trusted (fact 40).
                let _next = reader.u32_be().map_err(malformed)?;
                let size = reader.u32_be().map_err(malformed)?;
                // 3.1.5.3: MUST correspond to the request: segment and block index match.
                if id != self.asked.segment.as_bytes() || index != self.asked.index {
                    return Err(Refusal::NotAsked);
                }
                self.block(size)
            }
            Phase::VrfSize => {
                reader.take(pad(self.block_len as usize)).map_err(malformed)?;
                let size = reader.u32_be().map_err(malformed)?;
                let skipped = size.checked_add(pad(size as usize) as u32).ok_or(Refusal::Malformed)?;
                self.fields.spend(skipped)?;
                self.fields.spend(4)?;
                match skipped {
                    0 => self.collect(Phase::IvSize, 4),
                    _ => self.phase = Phase::Vrf(skipped),
                }
                Ok(Step::More)
            }
            Phase::IvSize => self.iv_size(reader.u32_be().map_err(malformed)?),
            Phase::Iv => self.done(*reader.array().map_err(malformed)?),
            Phase::Negotiation => self.end(Step::Negotiation(versions(reader)?)),
            // These do not collect a field.
            Phase::Block(_) | Phase::Vrf(_) | Phase::Done => Err(Refusal::Malformed),
        }
    }

    fn header(&mut self, header: Header) -> Result<Step<'static>, Refusal> {
        match header.message {
            MessageType::NegotiationResponse => {
                self.fields.spend(8)?;
                self.collect(Phase::Negotiation, 8);
            }
            MessageType::Block => {
                // The reply's own CryptoAlgoId counts, not what was asked for (fact 34).
                self.cipher = header.cipher.algorithm().ok_or(Refusal::Cipher)?;
                self.fields.spend(4)?;
                self.collect(Phase::IdSize, 4);
            }
            _ => return Err(Refusal::Unexpected),
        }
        Ok(Step::More)
    }

    fn block(&mut self, size: u32) -> Result<Step<'static>, Refusal> {
        self.block_len = size;
        self.fields.spend(size)?;
        let behind = (pad(size as usize) + 4) as u32;
        self.fields.spend(behind)?;
        if size == 0 {
            self.collect(Phase::VrfSize, 4);
            return Ok(Step::More);
        }
        if self.cipher == CipherAlgorithm::None && self.accept_plain == AcceptPlain::No {
            return Err(Refusal::Cipher);
        }
        if size != self.cipher.sealed_len(self.plain_len) {
            return Err(Refusal::Length);
        }
        self.phase = Phase::Block(size);
        Ok(Step::Begin { cipher: self.cipher, len: size })
    }

    fn iv_size(&mut self, size: u32) -> Result<Step<'static>, Refusal> {
        self.fields.spend(size)?;
        match size as usize {
            // A missing block may come with or without an IV (fact 36), a plain one does not need it; a
            // sealed one does.
            0 if self.block_len == 0 || self.cipher == CipherAlgorithm::None => self.done([0; 16]),
            len if len == size_of::<CipherBlock>() => {
                self.collect(Phase::Iv, len);
                Ok(Step::More)
            }
            _ => Err(Refusal::Malformed),
        }
    }

    fn done(&mut self, iv: CipherBlock) -> Result<Step<'static>, Refusal> {
        match self.block_len {
            0 => self.end(Step::Missing),
            _ => self.end(Step::Block(Seal { algorithm: self.cipher, iv })),
        }
    }

    fn end(&mut self, step: Step<'static>) -> Result<Step<'static>, Refusal> {
        self.phase = Phase::Done;
        self.fields.end(step)
    }
}

/// The fields of a reply, collected one after the other as its bytes come.
#[derive(Clone, Copy)]
struct Fields {
    /// Bytes of the message that are still to come, as MsgSize said.
    left: u32,
    field: [u8; BLOCK_HEAD_BYTES],
    have: usize,
    need: usize,
}

impl Fields {
    /// Both headers come first.
    const NEW: Self =
        Self { left: 0, field: [0; BLOCK_HEAD_BYTES], have: 0, need: TRANSPORT_BYTES + HEADER_BYTES };

    /// Takes bytes: how many were used, and whether the field is whole.
    fn fill(&mut self, bytes: &[u8]) -> (usize, bool) {
        let room = self.field.get_mut(self.have..self.need).unwrap_or_default();
        let used = copy(room, bytes);
        self.have = self.have.saturating_add(used);
        (used, self.have >= self.need)
    }

    /// The field that is whole.
    fn reader(&self) -> Reader<'_> {
        Reader::new(self.field.get(..self.need).unwrap_or_default())
    }

    /// Begins with the next field, of `need` bytes.
    fn collect(&mut self, need: usize) {
        (self.have, self.need) = (0, need);
    }

    /// Takes `count` bytes off what MsgSize announced.
    fn spend(&mut self, count: u32) -> Result<(), Refusal> {
        self.left = self.left.checked_sub(count).ok_or(Refusal::Malformed)?;
        Ok(())
    }

    /// Reads both headers of a reply; MsgSize is what both of them say.
    fn open(&mut self, reader: &mut Reader<'_>) -> Result<Header, Refusal> {
        let malformed = |_| Refusal::Malformed;
        let announced = reader.u32_be().map_err(malformed)?;
        let header = Header::parse(reader.array().map_err(malformed)?);
        // 2.2.3: a reply MUST be 16 to 393,216 bytes; both lengths mean the same bytes.
        if announced != header.size || announced > MAX_REPLY_BYTES {
            return Err(Refusal::Malformed);
        }
        // The type fixes the version (fact 32), and another major one is not for us (fact 36).
        if header.version.major != header.message.version().major {
            return Err(Refusal::Unexpected);
        }
        self.left = header.size;
        self.spend(HEADER_BYTES as u32)?;
        Ok(header)
    }

    /// What the reply comes to, if it ends here.
    fn end<T>(&self, step: T) -> Result<T, Refusal> {
        if self.left == 0 { Ok(step) } else { Err(Refusal::Malformed) }
    }
}

fn versions(reader: &mut Reader<'_>) -> Result<VersionRange, Refusal> {
    reader.array().map(VersionRange::parse).map_err(|_| Refusal::Malformed)
}

/// A range of blocks or of segments.
fn range(reader: &mut Reader<'_>) -> Result<Range, Refusal> {
    let range = Range::from_wire(*reader.array().map_err(|_| Refusal::Malformed)?);
    // 2.2.1.1, 2.2.1.2: Count MUST be greater than 0.
    if range.count == 0 { Err(Refusal::Malformed) } else { Ok(range) }
}

#[cfg(test)]
mod tests;
