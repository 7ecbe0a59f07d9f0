//! The exchange of MSG_GETSEGLIST: which of many segments a hosted cache has, and since when.

use super::{Fields, Refusal, open, range, reply_fields};
use crate::ages::{AGE_BYTES, BLOB_HEAD_BYTES, parse_age, parse_head};
use crate::bytes::{NoRoom, Reader, Writer};
use crate::content::SegmentId;
use crate::crypto::CipherAlgorithm;
use crate::limits::MAX_REQUEST_BYTES;
use crate::retrieval::set::{IndexSet, SET_INDICES};
use crate::retrieval::wire::{
    GetSegmentList, MessageType, RANGE_BYTES, REQUEST_ID_BYTES, Range, VersionRange,
};
use crate::time::Duration;

/// What the next bytes of a reply turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentStep {
    /// Nothing to act on yet.
    More,
    /// The reply is complete: of the segments asked for, the cache has those with these numbers, or
    /// parts of them.
    Segments(IndexSet),
    /// The reply is complete: the cache speaks these versions, and no lists of segments. Its blocks
    /// are to be asked for one by one (fact 40).
    Negotiation(VersionRange),
}

/// Why nothing can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AskError {
    /// There is no segment to ask for: such a request is dropped (fact 39).
    NoSegment,
    /// More segments than [`SET_INDICES`].
    TooMany,
    /// The request would be longer than [`MAX_REQUEST_BYTES`].
    TooLong,
    /// The buffer lent for it is too short.
    NoRoom,
}

impl From<NoRoom> for AskError {
    fn from(_: NoRoom) -> Self {
        Self::NoRoom
    }
}

impl core::fmt::Display for AskError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NoSegment => "there is no segment to ask for",
            Self::TooMany => "more segments than one request may ask for",
            Self::TooLong => "the request would be too long",
            Self::NoRoom => "the buffer is too short for the request",
        })
    }
}

impl core::error::Error for AskError {}

/// One exchange: what was asked for, and how far its reply has come. However many ranges the reply
/// has, what is kept of them is one set; ages are handed out as they come.
pub struct SegmentExchange {
    request_id: [u8; REQUEST_ID_BYTES],
    /// How many segments were asked for.
    asked: u32,
    listed: IndexSet,
    /// The first segment of the first range, from which the numbers of ages count.
    first: u32,
    phase: Phase,
    fields: Fields,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Header,
    RequestId,
    /// So many ranges are still to come.
    Range(u32),
    BlobSize,
    BlobHead,
    /// So many ages are still to come.
    Age {
        unit: u64,
        count: u8,
    },
    /// The rest of the blob, which says nothing.
    Surplus,
    Negotiation,
    Done,
}

impl SegmentExchange {
    /// 3.1.4.4: writes the request for `ids`, with `blob` behind it, which is mostly empty: the ages of the
    /// segments that the asker has. `request_id` MUST NOT be that of another request (3.1.4.4): a
    /// sequence, or random.
    ///
    /// A list of segments MUST only be asked of a hosted cache (section 3).
    pub fn ask(
        request_id: [u8; REQUEST_ID_BYTES],
        ids: &[SegmentId],
        blob: &[u8],
        writer: &mut Writer<'_>,
    ) -> Result<Self, AskError> {
        let asked = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        if asked == 0 {
            return Err(AskError::NoSegment);
        }
        if asked > SET_INDICES {
            return Err(AskError::TooMany);
        }
        // 2.2.3: SHOULD indicate AES-128 in a request; a request MUST be 98,304 bytes at most.
        let cipher = CipherAlgorithm::Aes128.into();
        let names = ids.iter().map(SegmentId::as_bytes);
        if GetSegmentList::len_for(names.clone(), blob) > MAX_REQUEST_BYTES as usize {
            return Err(AskError::TooLong);
        }
        GetSegmentList::emit_for(&request_id, cipher, names, blob, writer)?;
        Ok(Self {
            request_id,
            asked,
            listed: IndexSet::EMPTY,
            first: 0,
            phase: Phase::Header,
            fields: reply_fields(),
        })
    }

    /// Whether the reply is complete.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Reads on. Returns how many bytes were used; call again while bytes are left. `age` is told
    /// the number of each segment whose age the reply has, and the age; they count once the reply is
    /// complete.
    pub fn handle(
        &mut self,
        bytes: &[u8],
        age: &mut dyn FnMut(u32, Duration),
    ) -> (usize, Result<SegmentStep, Refusal>) {
        let (used, step) = match self.phase {
            // Nothing may follow a complete reply.
            Phase::Done if bytes.is_empty() => (0, Ok(SegmentStep::More)),
            Phase::Done => (bytes.len(), Err(Refusal::Malformed)),
            Phase::Surplus => {
                let used = bytes.len().min(self.fields.left as usize);
                self.fields.left = self.fields.left.saturating_sub(used as u32);
                (used, Ok(self.surplus()))
            }
            _ => match self.fields.fill(bytes) {
                (used, Some(field)) => (used, self.field_complete(&mut Reader::new(&field), age)),
                (used, None) => (used, Ok(SegmentStep::More)),
            },
        };
        if step.is_err() {
            self.phase = Phase::Done;
        }
        (used, step)
    }

    fn collect(&mut self, phase: Phase, need: usize) -> Result<SegmentStep, Refusal> {
        self.fields.collect(need)?;
        self.phase = phase;
        Ok(SegmentStep::More)
    }

    fn field_complete(
        &mut self,
        reader: &mut Reader<'_>,
        tell: &mut dyn FnMut(u32, Duration),
    ) -> Result<SegmentStep, Refusal> {
        match self.phase {
            Phase::Header => match open(&mut self.fields, reader)?.message {
                MessageType::NegotiationResponse => self.collect(Phase::Negotiation, 8),
                MessageType::SegmentList => self.collect(Phase::RequestId, REQUEST_ID_BYTES + 4),
                _ => Err(Refusal::Unexpected),
            },
            Phase::RequestId => {
                // 3.1.5.4: MUST verify that the RequestID is that of the request, or else discard.
                if *reader.array()? != self.request_id {
                    return Err(Refusal::NotAsked);
                }
                self.ranges(reader.u32_be()?)
            }
            Phase::Range(left) => {
                self.range(range(reader)?)?;
                self.ranges(left)
            }
            Phase::BlobSize => {
                // Nothing comes behind it (fact 33), so it is all that is left.
                if reader.u32_be()? != self.fields.left {
                    return Err(Refusal::Malformed);
                }
                // 2.2.6, fact 42: a blob that is too short MUST be discarded; the message is good.
                Ok(match self.collect(Phase::BlobHead, BLOB_HEAD_BYTES) {
                    Ok(step) => step,
                    Err(_) => self.surplus(),
                })
            }
            Phase::BlobHead => {
                // 2.2.6.1.1: a version, a unit or a count that cannot be: the blob MUST be discarded.
                let head = parse_head(*reader.array()?);
                let fits = |count: u8| u32::from(count).saturating_mul(AGE_BYTES as u32) <= self.fields.left;
                let (unit, count) = head.filter(|(_, count)| fits(*count)).unwrap_or_default();
                self.ages(unit, count)
            }
            Phase::Age { unit, count } => {
                let (number, age) = parse_age(unit, *reader.array()?);
                let index = self.first.saturating_add(u32::from(number));
                // Of a segment that is not there, an age says nothing.
                if self.listed.contains(index) {
                    tell(index, age);
                }
                self.ages(unit, count)
            }
            Phase::Negotiation => {
                self.phase = Phase::Done;
                let versions = VersionRange::parse(reader.array()?);
                if self.fields.left == 0 {
                    Ok(SegmentStep::Negotiation(versions))
                } else {
                    Err(Refusal::Malformed)
                }
            }
            // These do not collect a field.
            Phase::Surplus | Phase::Done => Err(Refusal::Malformed),
        }
    }

    fn ranges(&mut self, left: u32) -> Result<SegmentStep, Refusal> {
        match left.checked_sub(1) {
            Some(left) => self.collect(Phase::Range(left), RANGE_BYTES),
            None => self.collect(Phase::BlobSize, 4),
        }
    }

    /// 3.1.5.4: MUST make sure that all of the range lies within the ids that were asked for, or
    /// else discard the reply.
    fn range(&mut self, range: Range) -> Result<(), Refusal> {
        if range.index.checked_add(range.count).is_none_or(|end| end > self.asked) {
            return Err(Refusal::NotAsked);
        }
        if self.listed.is_empty() {
            self.first = range.index;
        }
        self.listed.insert_range(range);
        Ok(())
    }

    fn ages(&mut self, unit: u64, left: u8) -> Result<SegmentStep, Refusal> {
        match left.checked_sub(1) {
            Some(count) => self.collect(Phase::Age { unit, count }, AGE_BYTES),
            None => Ok(self.surplus()),
        }
    }

    /// Passes over what is left of the blob, if anything is.
    fn surplus(&mut self) -> SegmentStep {
        if self.fields.left > 0 {
            self.phase = Phase::Surplus;
            return SegmentStep::More;
        }
        self.phase = Phase::Done;
        SegmentStep::Segments(self.listed)
    }
}

#[cfg(test)]
mod tests;
