//! [MS-PCCRR] 3.2, the server: a request in, a reply out of the store. A stored block is copied,
//! no cipher runs.
//!
//! An [`Exchange`] reads a request of any length as it arrives, keeps what it asks for, and is read
//! out as the reply in pieces: it is small, whatever the lengths of request and reply.

mod incoming;

use heapless::Vec;

use self::incoming::Phase;
use super::fields::Fields;
use super::set::IndexSet;
use super::wire::{
    BLOCK_TAIL_BYTES, BlockListReply, BlockReply, CryptoAlgoId, HEADER_BYTES, MessageType, OUR_VERSIONS,
    RANGE_BYTES, SegmentListReply,
};
use crate::ages::{Tell, blob_bytes, emit_ages};
use crate::bytes::{NoRoom, Writer, copy};
use crate::content::SegmentId;
use crate::limits::{MAX_DIGEST_BYTES, rows};
use crate::store::{BlockId, Store, StoreError, Stored};
use crate::time::Duration;

/// Segments of a list that get an age (2.2.6: SHOULD): a fixed place for each is kept in every
/// exchange, and a microcontroller has one of these for every connection.
pub const LISTED_AGES: usize = rows(64, 24);

/// Bytes of the longest part of a reply beside block and ranges: the ages of a list of segments.
const PART_BYTES: usize = 4 + blob_bytes(LISTED_AGES);

const _: () = assert!(BLOCK_TAIL_BYTES <= PART_BYTES && super::wire::BLOCK_HEAD_BYTES <= PART_BYTES);

/// An age that the store does not know.
const UNKNOWN_AGE: u32 = u32::MAX;

/// What a server is, and so what it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Role {
    /// A peer among peers: MSG_GETSEGLIST is not for it (section 3), and dropped.
    #[default]
    Peer,
    /// A hosted cache.
    HostedCache,
}

impl Role {
    /// The name under which a segment's blocks are kept that cannot be verified, for who may hand them out.
    pub(super) fn apart(self, segment: &SegmentId) -> Option<SegmentId> {
        match self {
            Self::Peer => None,
            Self::HostedCache => segment.unverifiable(),
        }
    }
}

/// One exchange: what is asked for, and then the answer, read out piece by piece.
pub struct Exchange {
    role: Role,
    fields: Fields,
    phase: Phase,
    /// The type of the request.
    message: MessageType,
    /// SegmentID or RequestID, and its length.
    name: [u8; MAX_DIGEST_BYTES],
    name_len: u8,
    /// Ranges, or segment ids, that have been read.
    items: u32,
    /// How many there are; in the answer, how many ranges.
    count: u32,
    /// The smallest block asked for, which may lie outside of the set.
    block: Option<u32>,
    /// The index under which a block is answered: that one's, or what a request for nothing names.
    index: u32,
    /// The blocks asked for, or the segments asked for that are here, by their number; in the answer,
    /// those of them that are here.
    set: IndexSet,
    /// How long the first of those segments have been here, in milliseconds; [`UNKNOWN_AGE`] if
    /// the store cannot tell.
    ages: Vec<u32, LISTED_AGES>,
    /// The block of the answer.
    stored: Option<Stored>,
    /// NextBlockIndex of the answer.
    next: u32,
    /// Bytes of the answer: before block and ranges, of these, and in all.
    head: u32,
    body: u32,
    len: u32,
    /// How many have been read.
    offset: u32,
}

impl Exchange {
    /// An exchange of which nothing has come, with a server of that role.
    #[inline(never)]
    pub fn new(role: Role) -> Self {
        Self {
            role,
            fields: Fields::new(HEADER_BYTES as u8),
            phase: Phase::Header,
            message: MessageType::NegotiationRequest,
            name: [0; MAX_DIGEST_BYTES],
            name_len: 0,
            items: 0,
            count: 0,
            block: None,
            index: 0,
            set: IndexSet::EMPTY,
            ages: Vec::new(),
            stored: None,
            next: 0,
            head: 0,
            body: 0,
            len: 0,
            offset: 0,
        }
    }

    /// The request is over: whether there is an answer to be read out. 3.2.5.5: malformed messages and
    /// those of unknown types MUST be silently discarded.
    ///
    /// With `busy`, everything asked for is declared missing.
    pub fn finish(&mut self, store: &dyn Store, busy: bool) -> bool {
        // 2.2.3: MsgSize says how many bytes there are.
        if self.fields.left > 0 {
            return false;
        }
        match self.phase {
            Phase::Done => {}
            // 3.2.5.2 to 3.2.5.4, their first step: a version that we do not speak is answered with
            // those that we do.
            Phase::OtherVersion => self.message = MessageType::NegotiationRequest,
            _ => return false,
        }
        // At the limit of active clients nothing is here.
        let segment = SegmentId::from_slice(self.name()).filter(|_| !busy);
        match self.message {
            MessageType::GetBlockList => self.list_blocks(segment, store),
            MessageType::GetBlocks => self.find_block(segment, store),
            // 3.2.5.4: at the limit of active clients the server MUST reply with an empty segment range.
            MessageType::GetSegmentList if busy => self.set = IndexSet::EMPTY,
            _ => {}
        }
        self.count = self.set.ranges().fold(0, |count, _| count.saturating_add(1));
        let ranges = self.count.saturating_mul(RANGE_BYTES as u32);
        self.body = self.stored.map_or(ranges, |stored| stored.len);
        let mut part = [0; PART_BYTES];
        self.head = self.part(true, &mut part).len() as u32;
        let tail = self.part(false, &mut part).len() as u32;
        self.len = self.head.saturating_add(self.body).saturating_add(tail);
        true
    }

    /// Bytes of the answer in all.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether all of it has been read.
    pub fn is_empty(&self) -> bool {
        self.offset >= self.len
    }

    /// The stored block that it carries.
    pub fn block(&self) -> Option<Stored> {
        self.stored
    }

    /// Fills the front of `buf` with what comes next of the answer and returns how much.
    pub fn read(&mut self, store: &mut dyn Store, buf: &mut [u8]) -> Result<usize, StoreError> {
        let mut filled = 0;
        while filled < buf.len() && !self.is_empty() {
            let room = buf.get_mut(filled..).unwrap_or_default();
            let len = self.read_some(store, room)?;
            filled = filled.saturating_add(len);
            self.offset = self.offset.saturating_add(len as u32);
        }
        Ok(filled)
    }

    fn read_some(&self, store: &mut dyn Store, room: &mut [u8]) -> Result<usize, StoreError> {
        let behind_head = self.offset.checked_sub(self.head);
        let from = match behind_head {
            Some(within) if within < self.body => return self.read_body(store, within, room),
            Some(within) => within.saturating_sub(self.body),
            None => self.offset,
        };
        let mut part = [0; PART_BYTES];
        let part = self.part(behind_head.is_none(), &mut part);
        Ok(copy(room, part.get(from as usize..).unwrap_or_default()))
    }

    /// Fills the front of `room` with the block, or the ranges, from `offset` on.
    fn read_body(&self, store: &mut dyn Store, offset: u32, room: &mut [u8]) -> Result<usize, StoreError> {
        let Some(stored) = self.stored else {
            let (nth, within) = (offset as usize / RANGE_BYTES, offset as usize % RANGE_BYTES);
            let range = self.set.ranges().nth(nth).map(|range| range.to_wire()).unwrap_or_default();
            return Ok(copy(room, range.get(within..).unwrap_or_default()));
        };
        let len = room.len().min(stored.len.saturating_sub(offset) as usize);
        store.read(stored.slot, offset, room.get_mut(..len).unwrap_or_default())?;
        Ok(len)
    }

    /// What stands before block and ranges, or behind them.
    fn part<'b>(&self, is_head: bool, buf: &'b mut [u8; PART_BYTES]) -> &'b [u8] {
        let mut writer = Writer::new(buf);
        // Each of them fits.
        let _ = self.emit(is_head, &mut writer);
        writer.finish()
    }

    fn emit(&self, is_head: bool, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let (name, cipher, count) = (self.name(), PREFERRED, self.count);
        match self.message {
            MessageType::GetBlocks => {
                // 3.2.5.3: MUST include the block if it is here, under the cipher that was chosen when it
                // was sealed, and none otherwise; SegmentID and BlockIndex MUST be those of the request.
                // 5.1: cipher and IV stand in the message, the key never does.
                let sealed = self.stored.as_ref().map(|stored| (stored.len, &stored.seal));
                let reply = BlockReply::new(name, self.index, self.next, sealed);
                if is_head { reply.emit_head(writer) } else { reply.emit_tail(writer) }
            }
            MessageType::GetBlockList => {
                // 3.2.5.2: MUST send the segment id of the request, and the intersection, be it empty.
                let reply = BlockListReply { segment: name, cipher, count, next: self.next };
                if is_head { reply.emit_head(writer) } else { reply.emit_tail(writer) }
            }
            MessageType::GetSegmentList => {
                let Some(request_id) = name.first_chunk() else { return Ok(()) };
                let mut blob = [0; blob_bytes(LISTED_AGES)];
                let mut blob = Writer::new(&mut blob);
                // 2.2.6: the blob SHOULD be included; where no age is known, it says nothing.
                // There is room for as many ages as an exchange keeps.
                let _ = emit_ages(&|tell| self.each_age(tell), &mut blob);
                let blob: &[u8] = match blob.finish() {
                    [_, _, _, 0] => &[],
                    blob => blob,
                };
                let reply = SegmentListReply { request_id, cipher, count, blob };
                if is_head { reply.emit_head(writer) } else { reply.emit_tail(writer) }
            }
            // Section 3: this side of negotiation MUST be implemented; 3.2.5.1: MUST answer with the
            // minimum and the maximum version that we speak.
            _ if is_head => OUR_VERSIONS.emit_reply(writer),
            _ => Ok(()),
        }
    }

    /// Tells the ages of the segments in the set, numbered from the first of them (fact 42); those past
    /// number 255 have none.
    fn each_age(&self, tell: &mut Tell<'_>) {
        let first = self.set.first_from(0).unwrap_or_default();
        for (index, &age) in self.set.iter().zip(&self.ages) {
            if let Ok(number) = u8::try_from(index.saturating_sub(first))
                && age != UNKNOWN_AGE
            {
                tell(number, Duration::from_millis(u64::from(age)));
            }
        }
    }

    fn name(&self) -> &[u8] {
        self.name.get(..self.name_len.into()).unwrap_or_default()
    }

    /// 3.2.5.3: at the limit of active clients the server MUST reply with an empty block.
    fn find_block(&mut self, segment: Option<SegmentId>, store: &dyn Store) {
        self.set = IndexSet::EMPTY;
        let Some(segment) = segment else { return };
        self.stored = self.block.and_then(|index| self.find(store, BlockId { segment, index }));
        // 3.2.5.3: MUST calculate NextBlockIndex: the next block to be had here, or zero.
        self.next = self.next_block(store, &segment, self.index);
    }

    /// A block that is here. A hosted cache hands out as well what it cannot verify, as it came (fact 47); a peer
    /// never does.
    fn find(&self, store: &dyn Store, block: BlockId) -> Option<Stored> {
        store.find(&block).or_else(|| {
            let segment = self.role.apart(&block.segment)?;
            store.find(&BlockId { segment, ..block })
        })
    }

    /// Whether there is such a block.
    fn has(&self, store: &dyn Store, block: BlockId) -> bool {
        let apart = || self.role.apart(&block.segment);
        store.has(&block) || apart().is_some_and(|segment| store.has(&BlockId { segment, ..block }))
    }

    /// The next block of a segment that is here.
    fn next_block(&self, store: &dyn Store, segment: &SegmentId, index: u32) -> u32 {
        let apart = self.role.apart(segment).and_then(|apart| store.next_block(&apart, index));
        let next = store.next_block(segment, index);
        next.into_iter().chain(apart).min().unwrap_or(0)
    }

    /// 3.2.5.2: the intersection of what is needed and what is here; at the limit of active clients the
    /// server MUST reply with an empty block range.
    fn list_blocks(&mut self, segment: Option<SegmentId>, store: &dyn Store) {
        let needed = core::mem::take(&mut self.set);
        let Some(segment) = segment else { return };
        // Stores find a block by its name faster than the one that follows another.
        for index in needed.iter() {
            if self.has(store, BlockId { segment, index }) {
                self.set.insert(index);
            }
        }
        // 2.2.5.2: what comes behind the last block listed, or zero.
        let last = self.set.last().or(needed.last());
        self.next = last.map_or(0, |last| self.next_block(store, &segment, last));
    }
}

/// CryptoAlgoId of a reply without a block, where it means nothing: AES-128, which others write.
const PREFERRED: CryptoAlgoId = CryptoAlgoId(1);

#[cfg(test)]
mod tests;
