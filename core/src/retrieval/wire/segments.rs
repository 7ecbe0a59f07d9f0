//! [MS-PCCRR] 2.2.4.4 and 2.2.5.4: which of many segments are there; only a hosted cache is asked
//! (fact 41).

use super::{
    CryptoAlgoId, HEADER_BYTES, Malformed, MessageType, RANGE_BYTES, Range, Ranges, TRANSPORT_BYTES,
    emit_header, emit_padded, emit_reply_header, padded_len, segment_id,
};
use crate::ages::Ages;
use crate::bytes::{NoRoom, Reader, Writer};
use crate::time::Duration;

/// Bytes of RequestID, which are opaque (fact 42).
pub const REQUEST_ID_BYTES: usize = 16;

/// Bytes that [`SegmentListReply::emit_head`] needs.
pub const SEGMENT_LIST_HEAD_BYTES: usize = TRANSPORT_BYTES + HEADER_BYTES + REQUEST_ID_BYTES + 4;

/// MSG_GETSEGLIST (2.2.4.4)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetSegmentList<'a> {
    /// RequestID
    pub request_id: &'a [u8; REQUEST_ID_BYTES],
    /// CryptoAlgoId, which means nothing here.
    pub cipher: CryptoAlgoId,
    /// The segments asked for.
    pub ids: SegmentIds<'a>,
    /// ExtensibleBlob, for [`Ages::parse`] if it is wanted.
    pub blob: &'a [u8],
}

/// The segment ids of a MSG_GETSEGLIST as they stand there: of 1 to 64 bytes each, at least one.
#[derive(Clone, Copy)]
pub struct SegmentIds<'a> {
    count: u32,
    /// Sizes, ids and pads.
    bytes: &'a [u8],
}

/// MSG_SEGLIST (2.2.5.4), whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentList<'a> {
    /// RequestID, that of the request.
    pub request_id: &'a [u8; REQUEST_ID_BYTES],
    /// CryptoAlgoId, which means nothing here.
    pub cipher: CryptoAlgoId,
    /// SegmentRanges: they number the ids of the request.
    pub ranges: Ranges<'a>,
    /// ExtensibleBlob; [`ages`](Self::ages) reads it.
    pub blob: &'a [u8],
}

/// What stands around the ranges in MSG_SEGLIST (2.2.5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentListReply<'a> {
    /// RequestID, that of the request.
    pub request_id: &'a [u8; REQUEST_ID_BYTES],
    /// CryptoAlgoId, which means nothing here.
    pub cipher: CryptoAlgoId,
    /// SegmentRangeCount
    pub count: u32,
    /// ExtensibleBlob
    pub blob: &'a [u8],
}

impl<'a> GetSegmentList<'a> {
    pub(super) fn parse(reader: &mut Reader<'a>, cipher: CryptoAlgoId) -> Result<Self, Malformed> {
        let request_id = reader.array()?;
        let ids = SegmentIds::parse(reader)?;
        Ok(Self { request_id, cipher, ids, blob: blob(reader)? })
    }

    /// Writes the whole message.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let Self { request_id, cipher, ids, blob } = *self;
        Self::emit_for(request_id, cipher, ids.iter(), blob, writer)
    }

    /// Bytes of a whole message that asks for `ids`.
    pub fn len_for<'i>(ids: impl Iterator<Item = &'i [u8]>, blob: &[u8]) -> usize {
        let ids = ids.map(|id| padded_len(id.len())).fold(0, usize::saturating_add);
        let lens = [REQUEST_ID_BYTES, 4, ids, 4, blob.len()];
        lens.into_iter().fold(HEADER_BYTES, usize::saturating_add)
    }

    /// Writes a whole message that asks for `ids`. There has to be one at least, or the message is
    /// dropped (fact 39).
    pub fn emit_for<'i>(
        request_id: &[u8; REQUEST_ID_BYTES],
        cipher: CryptoAlgoId,
        ids: impl Iterator<Item = &'i [u8]> + Clone,
        blob: &[u8],
        writer: &mut Writer<'_>,
    ) -> Result<(), NoRoom> {
        let size = Self::len_for(ids.clone(), blob);
        emit_header(writer, MessageType::GetSegmentList, size, cipher)?;
        writer.put(request_id);
        writer.u32_be(ids.clone().fold(0, |count: u32, _| count.saturating_add(1)));
        for id in ids {
            emit_padded(writer, id);
        }
        emit_blob(writer, blob)
    }
}

impl<'a> SegmentIds<'a> {
    fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let count = reader.u32_be()?;
        if count == 0 {
            return Err(Malformed::NoSegment);
        }
        let bytes = reader.rest();
        for _ in 0..count {
            segment_id(reader)?;
        }
        let len = bytes.len().saturating_sub(reader.rest().len());
        Ok(Self { count, bytes: bytes.get(..len).unwrap_or_default() })
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Never: without ids the message is malformed.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let mut reader = Reader::new(self.bytes);
        core::iter::from_fn(move || segment_id(&mut reader).ok())
    }
}

/// The same ids in the same order: what their pads hold does not matter.
impl PartialEq for SegmentIds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SegmentIds<'_> {}

impl core::fmt::Debug for SegmentIds<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> SegmentList<'a> {
    /// Whether this answers a request with that id for `asked` segments (3.1.5.4): the RequestID MUST
    /// match, and every range MUST lie within the ids of the request.
    pub fn answers(&self, request_id: &[u8; REQUEST_ID_BYTES], asked: u32) -> bool {
        let within = |range: Range| {
            range.count > 0 && range.index.checked_add(range.count).is_some_and(|end| end <= asked)
        };
        self.request_id == request_id && self.ranges.iter().all(within)
    }

    /// The ages in the blob, each with the number of its segment id in the request. None where the
    /// blob is bad: that is discarded and the message kept (fact 42).
    pub fn ages(&self) -> impl Iterator<Item = (u32, Duration)> + Clone + use<'a> {
        let first = self.ranges.iter().next().map(|range| range.index);
        let ages = first.and_then(|first| Some((first, Ages::parse(self.blob)?)));
        ages.into_iter().flat_map(|(first, ages)| {
            ages.iter().map(move |(index, age)| (first.saturating_add(u32::from(index)), age))
        })
    }

    pub(super) fn parse(reader: &mut Reader<'a>, cipher: CryptoAlgoId) -> Result<Self, Malformed> {
        let (request_id, ranges) = (reader.array()?, Ranges::parse(reader)?);
        Ok(Self { request_id, cipher, ranges, blob: blob(reader)? })
    }

    /// Writes the whole message, transport header included.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let Self { request_id, cipher, ranges, blob } = *self;
        let around = SegmentListReply { request_id, cipher, count: ranges.len() as u32, blob };
        around.emit_head(writer)?;
        for range in ranges.iter() {
            writer.put(&range.to_wire());
        }
        around.emit_tail(writer)
    }
}

impl SegmentListReply<'_> {
    /// Bytes of the whole reply, transport header included.
    pub const fn len(&self) -> usize {
        let ranges = (self.count as usize).saturating_mul(RANGE_BYTES);
        ranges.saturating_add(self.blob.len()).saturating_add(SEGMENT_LIST_HEAD_BYTES + 4)
    }

    /// Never: a reply has a header.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Writes everything before the ranges; each of them follows as [`Range::to_wire`] gives it.
    pub fn emit_head(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        emit_reply_header(writer, MessageType::SegmentList, self.len(), self.cipher)?;
        writer.put(self.request_id);
        writer.u32_be(self.count);
        writer.check()
    }

    /// Writes everything behind the ranges.
    pub fn emit_tail(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        emit_blob(writer, self.blob)
    }
}

/// No pad behind it (fact 33).
fn blob<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let len = reader.u32_be()? as usize;
    Ok(reader.take(len)?)
}

fn emit_blob(writer: &mut Writer<'_>, blob: &[u8]) -> Result<(), NoRoom> {
    writer.u32_be(blob.len() as u32);
    writer.put(blob);
    writer.check()
}
