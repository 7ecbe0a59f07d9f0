//! A request as it arrives: what it asks for is kept, in the same few bytes for a request of 68
//! bytes and of 98,304.

use heapless::Vec;

use super::{Answer, LISTED_AGES, Reply, Role};
use crate::bytes::{Reader, Truncated, copy};
use crate::content::SegmentId;
use crate::limits::{MAX_DIGEST_BYTES, MAX_REQUEST_BYTES};
use crate::retrieval::set::{IndexSet, SET_INDICES};
use crate::retrieval::wire::{
    HEADER_BYTES, Header, MessageType, OUR_VERSIONS, RANGE_BYTES, REQUEST_ID_BYTES, Range, is_id_len, pad,
};
use crate::store::Store;
use crate::time::Instant;

/// A request that is being read.
pub struct Incoming {
    role: Role,
    phase: Phase,
    /// Bytes that have come.
    taken: u32,
    header: Option<Header>,
    /// SegmentID or RequestID, and its length.
    name: [u8; MAX_DIGEST_BYTES],
    name_len: usize,
    /// Ranges, or segment ids, that have been read.
    items: u32,
    /// How many there are.
    count: u32,
    /// The first range, for the index of an answer to a request for nothing.
    first: Option<Range>,
    /// The blocks asked for, or the segments asked for that are here, by their number.
    set: IndexSet,
    /// How long the first of those segments have been here, in milliseconds; [`UNKNOWN_AGE`] if
    /// the store cannot tell.
    ages: Vec<u32, LISTED_AGES>,
    /// The smallest block asked for, which may lie outside of the set.
    block: Option<u32>,
    /// A field that is being collected.
    field: [u8; MAX_DIGEST_BYTES],
    have: usize,
    need: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Header,
    Versions,
    SegmentIdSize,
    SegmentId(usize),
    RangeCount,
    Range,
    RequestId,
    IdCount,
    IdSize,
    Id(usize),
    /// Of DataForVrfBlock or ExtensibleBlob.
    LastSize,
    Last(u32),
    Done,
    /// What comes is not looked at.
    Ignored,
}

/// An age that the store does not know.
pub(super) const UNKNOWN_AGE: u32 = u32::MAX;

/// The request is malformed: it will be dropped.
struct Malformed;

impl From<Truncated> for Malformed {
    fn from(_: Truncated) -> Self {
        Self
    }
}

impl Incoming {
    /// A request of which nothing has come, to a server of that role.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            phase: Phase::Header,
            taken: 0,
            header: None,
            name: [0; MAX_DIGEST_BYTES],
            name_len: 0,
            items: 0,
            count: 0,
            first: None,
            set: IndexSet::EMPTY,
            ages: Vec::new(),
            block: None,
            field: [0; MAX_DIGEST_BYTES],
            have: 0,
            need: HEADER_BYTES,
        }
    }

    /// Reads on: the next bytes of the body of an HTTP request. Segments that are asked for by the
    /// list are looked up on the way.
    pub fn handle(&mut self, now: Instant, store: &dyn Store, mut bytes: &[u8]) {
        self.taken = self.taken.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        while !bytes.is_empty() {
            let used = match self.phase {
                Phase::Ignored => return,
                // MsgSize counts more than the fields have.
                Phase::Done => {
                    self.phase = Phase::Ignored;
                    return;
                }
                Phase::Last(left) => {
                    let used = bytes.len().min(left as usize);
                    self.last(left.saturating_sub(used as u32));
                    used
                }
                _ => {
                    let room = self.field.get_mut(self.have..self.need).unwrap_or_default();
                    let used = copy(room, bytes);
                    self.have = self.have.saturating_add(used);
                    if self.have >= self.need && self.field_complete(now, store).is_err() {
                        self.phase = Phase::Ignored;
                    }
                    used
                }
            };
            bytes = bytes.get(used..).unwrap_or_default();
        }
    }

    /// The request is over: answers it. With `busy`, everything asked for is declared missing.
    pub fn finish(&self, store: &dyn Store, busy: bool) -> Answer {
        let Some(header) = self.header else { return Answer::Drop };
        // 2.2.3: a request MUST be 16 to 98,304 bytes, and MsgSize says how many.
        if header.size != self.taken || header.size > MAX_REQUEST_BYTES {
            return Answer::Drop;
        }
        // 3.2.5.2 to 3.2.5.4, their first step: the version MUST be checked, and one that we do not
        // speak is answered with those that we do.
        if !OUR_VERSIONS.speaks(header.version) {
            return Answer::Reply(Reply::to_negotiation());
        }
        if self.phase != Phase::Done {
            return Answer::Drop;
        }
        let name = self.name.get(..self.name_len).unwrap_or_default();
        Answer::Reply(match header.message {
            MessageType::NegotiationRequest => Reply::to_negotiation(),
            MessageType::GetBlockList => Reply::to_get_block_list(name, &self.set, store, busy),
            MessageType::GetBlocks => {
                // Fact 39: a request for nothing is answered, too, under the index that it names.
                let index = self.block.or(self.first.map(|range| range.index)).unwrap_or(0);
                Reply::to_get_blocks(name, self.block, index, store, busy)
            }
            MessageType::GetSegmentList => match name.first_chunk() {
                Some(request_id) => Reply::to_get_segment_list(request_id, self.set, &self.ages, busy),
                None => return Answer::Drop,
            },
            _ => return Answer::Drop,
        })
    }

    fn collect(&mut self, phase: Phase, need: usize) {
        (self.phase, self.have, self.need) = (phase, 0, need);
    }

    fn field_complete(&mut self, now: Instant, store: &dyn Store) -> Result<(), Malformed> {
        let field = self.field;
        let mut reader = Reader::new(field.get(..self.need).unwrap_or_default());
        match self.phase {
            Phase::Header => self.header(Header::parse(reader.array()?)),
            Phase::Versions => self.phase = Phase::Done,
            Phase::SegmentIdSize => {
                let len = id_len(&mut reader)?;
                self.collect(Phase::SegmentId(len), len.saturating_add(pad(len)));
            }
            Phase::SegmentId(len) => {
                self.name(reader.take(len)?);
                self.collect(Phase::RangeCount, 4);
            }
            Phase::RangeCount => {
                self.count = reader.u32_be()?;
                self.next_range();
            }
            Phase::Range => {
                self.range(Range::from_wire(*reader.array()?));
                self.next_range();
            }
            Phase::RequestId => {
                self.name(reader.take(REQUEST_ID_BYTES)?);
                self.collect(Phase::IdCount, 4);
            }
            Phase::IdCount => {
                self.count = reader.u32_be()?;
                // Fact 39: without a segment id, the request is dropped.
                if self.count == 0 {
                    return Err(Malformed);
                }
                self.collect(Phase::IdSize, 4);
            }
            Phase::IdSize => {
                let len = id_len(&mut reader)?;
                self.collect(Phase::Id(len), len.saturating_add(pad(len)));
            }
            Phase::Id(len) => {
                self.segment(reader.take(len)?, now, store);
                self.collect(if self.items < self.count { Phase::IdSize } else { Phase::LastSize }, 4);
            }
            Phase::LastSize => self.last(reader.u32_be()?),
            // These do not collect a field.
            Phase::Last(_) | Phase::Done | Phase::Ignored => {}
        }
        Ok(())
    }

    fn header(&mut self, header: Header) {
        self.header = Some(header);
        if header.size > MAX_REQUEST_BYTES || !OUR_VERSIONS.speaks(header.version) {
            self.phase = Phase::Ignored;
            return;
        }
        match header.message {
            MessageType::NegotiationRequest => self.collect(Phase::Versions, 8),
            MessageType::GetBlockList | MessageType::GetBlocks => self.collect(Phase::SegmentIdSize, 4),
            // Section 3: MUST only be sent to a hosted cache (fact 41).
            MessageType::GetSegmentList if self.role == Role::HostedCache => {
                self.collect(Phase::RequestId, REQUEST_ID_BYTES);
            }
            _ => self.phase = Phase::Ignored,
        }
    }

    fn name(&mut self, name: &[u8]) {
        self.name_len = copy(&mut self.name, name);
    }

    fn range(&mut self, range: Range) {
        self.items = self.items.saturating_add(1);
        self.first = self.first.or(Some(range));
        if range.count > 0 {
            // 3.2.5.3: of several blocks the server SHOULD select the one with the smallest index.
            self.block = Some(self.block.map_or(range.index, |first| first.min(range.index)));
            self.set.insert_range(range);
        }
    }

    fn next_range(&mut self) {
        let asks_for_block = self.header.is_some_and(|header| header.message == MessageType::GetBlocks);
        match self.items < self.count {
            true => self.collect(Phase::Range, RANGE_BYTES),
            false if asks_for_block => self.collect(Phase::LastSize, 4),
            false => self.phase = Phase::Done,
        }
    }

    /// 3.2.5.4: MUST retrieve the availability of each of the segments, partial ones too.
    fn segment(&mut self, id: &[u8], now: Instant, store: &dyn Store) {
        if self.items < SET_INDICES
            && let Some(segment) = SegmentId::from_slice(id)
            && store.blocks(&segment) > 0
        {
            self.set.insert(self.items);
            let age = store.age(&segment, now).map_or(UNKNOWN_AGE, |age| {
                u32::try_from(age.millis()).unwrap_or(UNKNOWN_AGE).min(UNKNOWN_AGE - 1)
            });
            // Those beyond are listed without an age.
            let _ = self.ages.push(age);
        }
        self.items = self.items.saturating_add(1);
    }

    fn last(&mut self, left: u32) {
        self.phase = if left == 0 { Phase::Done } else { Phase::Last(left) };
    }
}

fn id_len(reader: &mut Reader<'_>) -> Result<usize, Malformed> {
    let len = reader.u32_be()? as usize;
    if is_id_len(len) { Ok(len) } else { Err(Malformed) }
}
