//! A request as it arrives: what it asks for is kept, in the same few bytes for a request of 68
//! bytes and of 98,304.

use super::{Exchange, Role, UNKNOWN_AGE};
use crate::bytes::{Reader, Truncated, copy};
use crate::content::SegmentId;
use crate::limits::MAX_REQUEST_BYTES;
use crate::retrieval::fields::Overrun;
use crate::retrieval::set::SET_INDICES;
use crate::retrieval::wire::{
    HEADER_BYTES, Header, MessageType, OUR_VERSIONS, RANGE_BYTES, REQUEST_ID_BYTES, Range, is_id_len, pad,
};
use crate::store::Store;
use crate::time::Instant;

/// What comes next of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Header,
    Versions,
    RequestId,
    IdSize,
    Id(usize),
    /// Of ranges, or of segment ids.
    Count,
    Range,
    /// Of DataForVrfBlock or ExtensibleBlob.
    LastSize,
    /// The same itself, which means nothing.
    Last,
    /// The rest of a message in a version that we do not speak.
    OtherVersion,
    Done,
    /// The request will be dropped.
    Malformed,
}

struct Malformed;

impl From<Truncated> for Malformed {
    fn from(_: Truncated) -> Self {
        Self
    }
}

impl From<Overrun> for Malformed {
    fn from(_: Overrun) -> Self {
        Self
    }
}

impl Exchange {
    /// Reads on: the next bytes of the body of an HTTP request. Segments that are asked for by the
    /// list are looked up on the way.
    pub fn handle(&mut self, now: Instant, store: &dyn Store, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = match self.phase {
                Phase::Malformed => return,
                Phase::Done | Phase::Last | Phase::OtherVersion => {
                    let used = bytes.len().min(self.fields.left as usize);
                    self.fields.left = self.fields.left.saturating_sub(used as u32);
                    match (self.phase, self.fields.left) {
                        // MsgSize counts more than the fields have, or fewer than came.
                        (Phase::Done, _) => self.phase = Phase::Malformed,
                        _ if used < bytes.len() => self.phase = Phase::Malformed,
                        (Phase::Last, 0) => self.phase = Phase::Done,
                        _ => {}
                    }
                    used
                }
                _ => {
                    let (used, field) = self.fields.fill(bytes);
                    if let Some(field) = field
                        && self.field_complete(&mut Reader::new(&field), now, store).is_err()
                    {
                        self.phase = Phase::Malformed;
                    }
                    used
                }
            };
            bytes = bytes.get(used..).unwrap_or_default();
        }
    }

    fn collect(&mut self, phase: Phase, need: usize) -> Result<(), Malformed> {
        self.phase = phase;
        Ok(self.fields.collect(need)?)
    }

    fn field_complete(
        &mut self,
        reader: &mut Reader<'_>,
        now: Instant,
        store: &dyn Store,
    ) -> Result<(), Malformed> {
        match self.phase {
            Phase::Header => self.header(&Header::parse(reader.array()?)),
            Phase::RequestId => {
                self.set_name(reader.take(REQUEST_ID_BYTES)?);
                self.collect(Phase::Count, 4)
            }
            Phase::IdSize => {
                let len = reader.u32_be()? as usize;
                if !is_id_len(len) {
                    return Err(Malformed);
                }
                self.collect(Phase::Id(len), len.saturating_add(pad(len)))
            }
            Phase::Id(len) => {
                let id = reader.take(len)?;
                if self.message == MessageType::GetSegmentList {
                    self.segment(id, now, store);
                    return self.next_item();
                }
                self.set_name(id);
                self.collect(Phase::Count, 4)
            }
            Phase::Count => {
                self.count = reader.u32_be()?;
                // Fact 39: without a segment id, the request is dropped.
                if self.count == 0 && self.message == MessageType::GetSegmentList {
                    return Err(Malformed);
                }
                self.next_item()
            }
            Phase::Range => {
                self.range(Range::from_wire(*reader.array()?));
                self.next_item()
            }
            Phase::LastSize => {
                let len = reader.u32_be()?;
                self.phase = if len == 0 { Phase::Done } else { Phase::Last };
                // Nothing comes behind it.
                if len == self.fields.left { Ok(()) } else { Err(Malformed) }
            }
            Phase::Versions => {
                self.phase = Phase::Done;
                Ok(())
            }
            // These do not collect a field.
            Phase::Last | Phase::OtherVersion | Phase::Done | Phase::Malformed => Ok(()),
        }
    }

    fn header(&mut self, header: &Header) -> Result<(), Malformed> {
        // 2.2.3: a request MUST be 16 to 98,304 bytes, and MsgSize says how many.
        if header.size > MAX_REQUEST_BYTES {
            return Err(Malformed);
        }
        self.fields.left = header.size;
        self.fields.spend(HEADER_BYTES as u32)?;
        self.message = header.message;
        // 3.2.5.2 to 3.2.5.4: the version MUST be checked first.
        if !OUR_VERSIONS.speaks(header.version) {
            self.phase = Phase::OtherVersion;
            return Ok(());
        }
        match header.message {
            MessageType::NegotiationRequest => self.collect(Phase::Versions, 8),
            MessageType::GetBlockList | MessageType::GetBlocks => self.collect(Phase::IdSize, 4),
            // Section 3: MUST only be sent to a hosted cache (fact 41).
            MessageType::GetSegmentList if self.role == Role::HostedCache => {
                self.collect(Phase::RequestId, REQUEST_ID_BYTES)
            }
            _ => Err(Malformed),
        }
    }

    fn set_name(&mut self, name: &[u8]) {
        self.name_len = copy(&mut self.name, name) as u8;
    }

    fn range(&mut self, range: Range) {
        // Fact 39: a request for nothing is answered, too, under the index that it names.
        if self.items == 0 {
            self.index = range.index;
        }
        self.items = self.items.saturating_add(1);
        if range.count > 0 {
            // 3.2.5.3: of several blocks the server SHOULD select the one with the smallest index.
            self.index = self.block.map_or(range.index, |first| first.min(range.index));
            self.block = Some(self.index);
            self.set.insert_range(range);
        }
    }

    fn next_item(&mut self) -> Result<(), Malformed> {
        match self.message {
            MessageType::GetSegmentList if self.items < self.count => self.collect(Phase::IdSize, 4),
            _ if self.items < self.count => self.collect(Phase::Range, RANGE_BYTES),
            MessageType::GetBlockList => {
                self.phase = Phase::Done;
                Ok(())
            }
            _ => self.collect(Phase::LastSize, 4),
        }
    }

    /// 3.2.5.4: MUST retrieve the availability of each of the segments, partial ones too.
    fn segment(&mut self, id: &[u8], now: Instant, store: &dyn Store) {
        let apart = |segment| self.role.apart(&segment);
        let segment = SegmentId::from_slice(id).and_then(|segment| {
            [Some(segment), apart(segment)].into_iter().flatten().find(|name| store.blocks(name) > 0)
        });
        if self.items < SET_INDICES
            && let Some(segment) = segment
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
}
