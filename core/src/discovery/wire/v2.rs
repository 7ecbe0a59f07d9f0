//! [MS-PCCRD] 2.2.2, 2.2.3: what version 2 says otherwise. One scope names all segments in base64,
//! an answer has two bits for each of them, and their ages.
//!
//! Types tell the versions apart; `MatchBy` and `MetadataVersion` are written as they must be and
//! not looked at (fact 24).

use core::net::SocketAddr;

use heapless::Vec;

use super::emit::{Answer, Body, emit_probe, matches_bytes, probe_bytes};
use super::{MAX_SENT_BYTES, MessageId, Text, Uuid, Version, XAddrs};
use crate::ages::{Ages, blob_bytes};
use crate::bytes::NoRoom;
use crate::content::SegmentId;
use crate::discovery::base64::{Decode, decoded_len, encoded_len};
use crate::limits::MAX_DIGEST_BYTES;

/// Segments in one probe: their count is one byte.
pub const MAX_IDS: usize = 255;

/// Segment ids that fit one probe that we send, if they are of the shortest kind.
pub const MAX_PROBE_V2_IDS: usize = ProbeV2Repr::capacity(32);

/// Bytes before the ids of a scope: their size and their count.
const SCOPE_HEADER: usize = 3;

/// Segments that a byte of an answer speaks of.
const PER_BYTE: usize = 4;

/// A probe of version 2 (2.2.2.1).
#[derive(Clone, Debug)]
pub struct ProbeV2<'a> {
    /// To be repeated by the answer as it is.
    pub message_id: MessageId,
    /// The segments asked for.
    pub ids: Ids<'a>,
}

/// Segment ids of one length, checked: 1 to [`MAX_IDS`] (2.2.3.3, fact 26).
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a> {
    scope: Text<'a>,
    id_bytes: usize,
}

/// What a peer says it has of a segment. Only a hint (fact 27).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Availability {
    /// No block.
    #[default]
    Nothing,
    /// Some of its blocks.
    Some,
    /// All of its blocks.
    All,
}

/// What a peer has of the segments of a probe, in its order; packed, two bits each (fact 27).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Availabilities {
    bytes: Vec<u8, { MAX_IDS.div_ceil(PER_BYTE) }>,
    len: u8,
}

/// What one peer says it has (2.2.2.2).
#[derive(Clone, Copy, Debug)]
pub struct ProbeMatchV2<'a> {
    /// Where the peer serves the segments: each address serves each of them (fact 25).
    pub xaddrs: XAddrs<'a>,
    scope: Text<'a>,
    scope_bytes: usize,
    ages: Option<Text<'a>>,
}

/// A probe of version 2 to be sent (2.2.2.1).
#[derive(Clone, Copy, Debug)]
pub struct ProbeV2Repr<'a> {
    message_id: Uuid,
    ids: &'a [SegmentId],
}

/// An answer of version 2 to be sent (2.2.2.2).
#[derive(Clone, Copy, Debug)]
pub struct ProbeMatchesV2Repr<'a> {
    /// The id of this message.
    pub message_id: Uuid,
    /// The id of the probe.
    pub relates_to: &'a MessageId,
    /// 2.2.3.6: grows with each start of the service.
    pub instance_id: u32,
    /// 2.2.3.7: grows with each message.
    pub message_number: u32,
    /// 2.2.3.4: who answers; another than in answers of version 1 (fact 30).
    pub endpoint: Uuid,
    /// What we have of each segment of the probe.
    pub availability: &'a Availabilities,
    /// How long: the extensible blob, that [`AgesRepr`](crate::ages::AgesRepr) writes.
    pub ages: &'a [u8],
    /// Where it is served.
    pub xaddr: SocketAddr,
}

impl<'a> Ids<'a> {
    /// The segment ids in the order of the message.
    pub fn iter(&self) -> impl Iterator<Item = SegmentId> + use<'a> {
        let mut bytes = Decode::new(self.scope.bytes()).map_while(Result::ok).skip(SCOPE_HEADER);
        let id_bytes = self.id_bytes;
        core::iter::from_fn(move || {
            let mut id = [0; MAX_DIGEST_BYTES];
            let id = id.get_mut(..id_bytes)?;
            for slot in &mut *id {
                *slot = bytes.next()?;
            }
            SegmentId::from_slice(id)
        })
    }

    /// 3.2.4.1: empty or wrongly formatted scopes make a probe malformed.
    pub(super) fn check(scope: Text<'a>) -> Option<Self> {
        let mut bytes = Decode::new(scope.bytes());
        let mut header = [0; SCOPE_HEADER];
        for byte in &mut header {
            *byte = bytes.next()?.ok()?;
        }
        let [high, low, count] = header;
        let (id_bytes, count) = (usize::from(u16::from_be_bytes([high, low])), usize::from(count));
        let one = [0; MAX_DIGEST_BYTES];
        SegmentId::from_slice(one.get(..id_bytes)?)?;
        let rest = count_bytes(bytes)?;
        // Fact 26: the length must be that of the ids, of which there is at least one.
        (count > 0 && rest == id_bytes.checked_mul(count)?).then_some(Self { scope, id_bytes })
    }
}

/// How many bytes there are; `None` if it is not base64.
fn count_bytes<I: Iterator<Item = u8>>(mut bytes: Decode<I>) -> Option<usize> {
    bytes.try_fold(0usize, |count, byte| byte.ok().and(count.checked_add(1)))
}

impl Availability {
    const fn bits(self) -> u8 {
        match self {
            Self::Nothing => 0b00,
            Self::Some => 0b10,
            Self::All => 0b11,
        }
    }

    /// All without some, `01`, is nothing (fact 27).
    const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0b10 => Self::Some,
            0b11 => Self::All,
            _ => Self::Nothing,
        }
    }
}

impl Availabilities {
    /// None yet.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), len: 0 }
    }

    /// How many segments it speaks of.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether it speaks of none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds the next segment; gives it back if there are [`MAX_IDS`].
    pub fn push(&mut self, next: Availability) -> Result<(), Availability> {
        let within = self.len() % PER_BYTE;
        let len = self.len.checked_add(1).ok_or(next)?;
        if within == 0 {
            self.bytes.push(0).map_err(|_| next)?;
        }
        // Fact 27: of a byte the high bits come first.
        if let Some(byte) = self.bytes.last_mut() {
            *byte |= next.bits() << (6 - 2 * within as u32);
        }
        self.len = len;
        Ok(())
    }

    /// What there is of each segment, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Availability> + '_ {
        unpack(self.bytes.iter().copied()).take(self.len())
    }

    /// Whether there is anything of any segment.
    pub fn any(&self) -> bool {
        self.bytes.iter().any(|byte| *byte != 0)
    }

    /// The bytes that are sent.
    pub(super) fn packed(&self) -> &[u8] {
        &self.bytes
    }
}

fn unpack(bytes: impl Iterator<Item = u8>) -> impl Iterator<Item = Availability> {
    bytes.flat_map(|byte| [6, 4, 2, 0].map(|shift| Availability::from_bits(byte >> shift)))
}

impl<'a> ProbeMatchV2<'a> {
    /// What the peer has of each of the `asked` segments of the probe, in its order; `None` if the
    /// answer is too short for that, and to be discarded (fact 27).
    pub fn availability(&self, asked: usize) -> Option<impl Iterator<Item = Availability> + use<'a>> {
        let bytes = Decode::new(self.scope.bytes()).map_while(Result::ok);
        (self.scope_bytes >= asked.div_ceil(PER_BYTE)).then(|| unpack(bytes).take(asked))
    }

    /// How long the peer has had the segments, by their index in the probe. The blob is decoded
    /// into `buf`; `None` if there is none, one that is longer, or a bad one (fact 28).
    pub fn ages<'b>(&self, buf: &'b mut [u8]) -> Option<Ages<'b>> {
        let mut len = 0usize;
        for byte in Decode::new(self.ages?.bytes()) {
            let byte = byte.ok()?;
            // What is beyond the longest blob is surplus, and what `buf` has no room for is not there.
            if let Some(slot) = buf.get_mut(len) {
                *slot = byte;
                len = len.saturating_add(1);
            }
        }
        Ages::parse(buf.get(..len)?)
    }

    pub(super) fn check(
        scope: Option<Text<'a>>,
        xaddrs: Option<Text<'a>>,
        ages: Option<Text<'a>>,
    ) -> Option<Self> {
        let scope = scope?;
        let scope_bytes = count_bytes(Decode::new(scope.bytes())).filter(|&bytes| bytes > 0)?;
        let xaddrs = XAddrs::check(xaddrs?)?;
        Some(Self { xaddrs, scope, scope_bytes, ages })
    }
}

impl<'a> ProbeV2Repr<'a> {
    const FIXED_BYTES: usize = probe_bytes(Version::V2);

    /// A probe for `ids`; `None` if there are none, more than [`MAX_IDS`], or of several lengths.
    pub fn new(message_id: Uuid, ids: &'a [SegmentId]) -> Option<Self> {
        let alike = alike(ids);
        (1..=MAX_IDS).contains(&alike).then_some(Self { message_id, ids }).filter(|_| alike == ids.len())
    }

    /// How many ids of `id_bytes` bytes each fit a probe of [`MAX_SENT_BYTES`].
    pub const fn capacity(id_bytes: usize) -> usize {
        let room = decoded_len(MAX_SENT_BYTES - Self::FIXED_BYTES).saturating_sub(SCOPE_HEADER);
        match room.checked_div(id_bytes) {
            Some(count) => count,
            None => 0,
        }
    }

    /// How many of `ids`, from the first on, fit one probe: as long as they are of one length.
    pub fn fitting(ids: &[SegmentId]) -> usize {
        let first = ids.first().map_or(0, |id| id.as_bytes().len());
        alike(ids).min(Self::capacity(first))
    }

    /// Writes the probe to the front of `buf` and returns its bytes.
    pub fn emit(&self, buf: &mut [u8]) -> Result<usize, NoRoom> {
        emit_probe(Version::V2, &self.message_id, self.ids, buf)
    }
}

/// How many of `ids` are as long as the first.
fn alike(ids: &[SegmentId]) -> usize {
    let len = |id: &SegmentId| id.as_bytes().len();
    ids.iter().take_while(|id| ids.first().map(len) == Some(len(id))).count()
}

impl ProbeMatchesV2Repr<'_> {
    /// How many ages fit an answer to the probe `relates_to` for `asked` segments; `None` if the
    /// answer does not even fit without any.
    pub fn fitting_ages(relates_to: &MessageId, asked: usize) -> Option<usize> {
        const ROOM: usize = MAX_SENT_BYTES - matches_bytes(Version::V2);
        let others = relates_to.emitted_len().saturating_add(encoded_len(asked.div_ceil(PER_BYTE)));
        let room = decoded_len(ROOM.checked_sub(others)?);
        Some(room.checked_sub(blob_bytes(0))? / (blob_bytes(1) - blob_bytes(0)))
    }

    /// Writes the answer to the front of `buf` and returns its bytes.
    pub fn emit(&self, buf: &mut [u8]) -> Result<usize, NoRoom> {
        let body = Body::V2(self.availability, self.ages);
        let answer = Answer {
            version: body.version(),
            message_id: &self.message_id,
            sequence: (self.instance_id, self.message_number),
            endpoint: &self.endpoint,
            xaddr: self.xaddr,
        };
        answer.emit(buf, &mut |part, writer| body.emit(self.relates_to, part, writer))
    }
}
