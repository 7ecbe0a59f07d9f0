//! [MS-PCCRR] 3.2, the server: a request in, a reply out of the store. A stored block is copied,
//! no cipher runs.
//!
//! [`Incoming`] reads a request of any length as it arrives and keeps what it asks for, [`Reply`]
//! is read out in pieces; both are small, whatever the lengths of request and reply.

mod incoming;

use heapless::Vec;

pub use self::incoming::Incoming;
use self::incoming::UNKNOWN_AGE;
use super::set::IndexSet;
use super::wire::{
    BLOCK_HEAD_BYTES, BLOCK_TAIL_BYTES, BlockListReply, BlockReply, CryptoAlgoId, OUR_VERSIONS, RANGE_BYTES,
    REQUEST_ID_BYTES, Range, SegmentListReply,
};
use crate::ages::{Tell, blob_bytes, emit_ages};
use crate::bytes::{NoRoom, Writer, copy};
use crate::content::SegmentId;
use crate::store::{BlockId, Store, StoreError, Stored};
use crate::time::Duration;

/// Segments of a list that get an age (2.2.6: SHOULD): a fixed place for each is kept in every
/// request and reply, and a microcontroller has one of these for every connection.
pub const LISTED_AGES: usize = 64;

/// Bytes of the longest tail: that of a list of segments, or that of a block.
const TAIL_BYTES: usize = 4 + blob_bytes(LISTED_AGES);

const _: () = assert!(BLOCK_TAIL_BYTES <= TAIL_BYTES);

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

/// What becomes of a request.
pub enum Answer {
    /// 3.2.5.5: malformed messages and those of unknown types MUST be silently discarded.
    Drop,
    /// A reply to stream out.
    Reply(Reply),
}

/// A reply, read out piece by piece.
pub struct Reply {
    head: Vec<u8, BLOCK_HEAD_BYTES>,
    body: Body,
    tail: Vec<u8, TAIL_BYTES>,
    offset: u32,
}

/// What stands between head and tail.
enum Body {
    Nothing,
    Block(Stored),
    Ranges { set: IndexSet, count: u32 },
}

impl Body {
    fn ranges(set: IndexSet) -> Self {
        Self::Ranges { set, count: set.ranges().fold(0, |count, _| count.saturating_add(1)) }
    }

    fn count(&self) -> u32 {
        if let Self::Ranges { count, .. } = self { *count } else { 0 }
    }

    fn len(&self) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Block(stored) => stored.len,
            Self::Ranges { count, .. } => count.saturating_mul(RANGE_BYTES as u32),
        }
    }

    /// Fills the front of `room` from `offset` on and returns how much.
    fn read(&self, store: &mut dyn Store, offset: u32, room: &mut [u8]) -> Result<usize, StoreError> {
        match self {
            Self::Nothing => Ok(0),
            Self::Block(stored) => {
                let len = room.len().min(stored.len.saturating_sub(offset) as usize);
                store.read(stored.slot, offset, room.get_mut(..len).unwrap_or_default())?;
                Ok(len)
            }
            Self::Ranges { set, .. } => {
                let (nth, within) = (offset as usize / RANGE_BYTES, offset as usize % RANGE_BYTES);
                let range = set.ranges().nth(nth).map(|range| range.to_wire()).unwrap_or_default();
                Ok(copy(room, range.get(within..).unwrap_or_default()))
            }
        }
    }
}

impl Reply {
    /// Bytes in all.
    pub fn len(&self) -> u32 {
        self.body.len().saturating_add((self.head.len() + self.tail.len()) as u32)
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.offset >= self.len()
    }

    /// The stored block that this reply carries.
    pub fn block(&self) -> Option<Stored> {
        match self.body {
            Body::Block(stored) => Some(stored),
            _ => None,
        }
    }

    /// Fills the front of `buf` with what comes next and returns how much.
    pub fn read(&mut self, store: &mut dyn Store, buf: &mut [u8]) -> Result<usize, StoreError> {
        let mut filled = 0;
        while filled < buf.len() && !self.is_empty() {
            let room = buf.get_mut(filled..).unwrap_or_default();
            let len = self.read_part(store, room)?;
            filled = filled.saturating_add(len);
            self.offset = self.offset.saturating_add(len as u32);
        }
        Ok(filled)
    }

    fn read_part(&self, store: &mut dyn Store, room: &mut [u8]) -> Result<usize, StoreError> {
        if let Some(head) = self.head.get(self.offset as usize..).filter(|head| !head.is_empty()) {
            return Ok(copy(room, head));
        }
        let within = self.offset.saturating_sub(self.head.len() as u32);
        if within < self.body.len() {
            return self.body.read(store, within, room);
        }
        let within = within.saturating_sub(self.body.len()) as usize;
        Ok(copy(room, self.tail.get(within..).unwrap_or_default()))
    }

    /// Section 3: this side of negotiation MUST be implemented; 3.2.5.1: MUST answer with the
    /// minimum and the maximum version that we speak.
    fn to_negotiation() -> Self {
        Self::new(Body::Nothing, |head, _| OUR_VERSIONS.emit_reply(head))
    }

    fn to_get_blocks(name: &[u8], block: Option<u32>, index: u32, store: &dyn Store, busy: bool) -> Self {
        // 3.2.5.3: at the limit of active clients the server MUST reply with an empty block.
        let segment = SegmentId::from_slice(name).filter(|_| !busy);
        let found = segment.zip(block).and_then(|(segment, index)| store.find(&BlockId { segment, index }));
        // 3.2.5.3: MUST calculate NextBlockIndex: the next block to be had here, or zero.
        let next = segment.and_then(|segment| store.next_block(&segment, index)).unwrap_or(0);
        // 3.2.5.3: MUST include the block if it is here, under the cipher that was chosen when it was
        // sealed, and none otherwise; SegmentID and BlockIndex MUST be those of the request. 5.1: cipher
        // and IV stand in the message, the key never does.
        let sealed = found.as_ref().map(|stored| (stored.len, &stored.seal));
        let reply = BlockReply::new(name, index, next, sealed);
        let body = found.map_or(Body::Nothing, Body::Block);
        Self::new(body, |head, tail| reply.emit_head(head).and_then(|()| reply.emit_tail(tail)))
    }

    fn to_get_block_list(name: &[u8], needed: &IndexSet, store: &dyn Store, busy: bool) -> Self {
        // 3.2.5.2: at the limit of active clients the server MUST reply with an empty block range.
        let segment = SegmentId::from_slice(name).filter(|_| !busy);
        // ... MUST send the segment id of the request, and the intersection, be it empty.
        let held = segment.map_or(IndexSet::EMPTY, |segment| held(&segment, needed, store));
        // 2.2.5.2: what comes behind the last block listed, or zero.
        let last = held.last().or(needed.last());
        let next = segment.zip(last).and_then(|(segment, last)| store.next_block(&segment, last));
        let body = Body::ranges(held);
        let reply =
            BlockListReply { segment: name, cipher: PREFERRED, count: body.count(), next: next.unwrap_or(0) };
        Self::new(body, |head, tail| reply.emit_head(head).and_then(|()| reply.emit_tail(tail)))
    }

    fn to_get_segment_list(
        request_id: &[u8; REQUEST_ID_BYTES],
        held: IndexSet,
        ages: &[u32],
        busy: bool,
    ) -> Self {
        // 3.2.5.4: at the limit of active clients the server MUST reply with an empty segment range.
        let held = if busy { IndexSet::EMPTY } else { held };
        let mut blob = [0; blob_bytes(LISTED_AGES)];
        let mut writer = Writer::new(&mut blob);
        // 2.2.6: the blob SHOULD be included; where no age is known, it says nothing.
        // There is room for as many ages as a request keeps.
        let _ = emit_ages(&|tell| each_age(&held, ages, tell), &mut writer);
        let blob: &[u8] = match writer.finish() {
            [_, _, _, 0] => &[],
            blob => blob,
        };
        let body = Body::ranges(held);
        let reply = SegmentListReply { request_id, cipher: PREFERRED, count: body.count(), blob };
        Self::new(body, |head, tail| reply.emit_head(head).and_then(|()| reply.emit_tail(tail)))
    }

    fn new(body: Body, emit: impl FnOnce(&mut Writer<'_>, &mut Writer<'_>) -> Result<(), NoRoom>) -> Self {
        let (mut head, mut tail) = ([0; BLOCK_HEAD_BYTES], [0; TAIL_BYTES]);
        let (mut head, mut tail) = (Writer::new(&mut head), Writer::new(&mut tail));
        // A block has the longest head, a list of segments the longest tail, and both fit.
        let _ = emit(&mut head, &mut tail);
        let head = Vec::from_slice(head.finish()).unwrap_or_default();
        Self { head, body, tail: Vec::from_slice(tail.finish()).unwrap_or_default(), offset: 0 }
    }
}

/// CryptoAlgoId of a reply without a block, where it means nothing: AES-128, which others write.
const PREFERRED: CryptoAlgoId = CryptoAlgoId(1);

/// Tells the ages of the segments in `held`, numbered from the first of them (fact 42); those past
/// number 255 have none.
fn each_age(held: &IndexSet, ages: &[u32], tell: &mut Tell<'_>) {
    let first = held.first_from(0).unwrap_or_default();
    for (index, &age) in held.ranges().flat_map(Range::indices).zip(ages) {
        if let Ok(number) = u8::try_from(index.saturating_sub(first))
            && age != UNKNOWN_AGE
        {
            tell(number, Duration::from_millis(u64::from(age)));
        }
    }
}

/// 3.2.5.2: the intersection of what is needed and what the store has of `segment`.
fn held(segment: &SegmentId, needed: &IndexSet, store: &dyn Store) -> IndexSet {
    let mut held = IndexSet::EMPTY;
    // Stores find a block by its name faster than the one that follows another.
    for index in needed.iter().filter(|&index| store.find(&BlockId { segment: *segment, index }).is_some()) {
        held.insert(index);
    }
    held
}

#[cfg(test)]
mod tests;
