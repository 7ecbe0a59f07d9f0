//! The messages as they are sent: templates with holes, in the one form that all known peers take
//! (facts 24, 26 and 30). One id is never broken over lines.

use core::net::SocketAddr;

use super::{
    ADDRESSING, Availabilities, DISCOVERY, MAX_SENT_BYTES, MessageId, PEERDIST, SOAP, Scope, Uuid, Version,
};
use crate::bytes::{NoRoom, Writer};
use crate::content::SegmentId;
use crate::discovery::base64::Encoder;
use crate::discovery::xaddr::{MAX_XADDR_TEXT, emit_xaddr};

/// A probe of version 1 to be sent (2.2.2.1).
#[derive(Clone, Copy, Debug)]
pub struct ProbeRepr<'a> {
    /// The id of this message.
    pub message_id: Uuid,
    /// The segments asked for.
    pub ids: &'a [SegmentId],
}

/// An answer of version 1 to be sent (2.2.2.2).
#[derive(Clone, Copy, Debug)]
pub struct ProbeMatchesRepr<'a> {
    /// The id of this message.
    pub message_id: Uuid,
    /// The id of the probe.
    pub relates_to: &'a MessageId,
    /// 2.2.3.6: grows with each start of the service.
    pub instance_id: u32,
    /// 2.2.3.7: grows with each message.
    pub message_number: u32,
    /// 2.2.3.4: who answers.
    pub endpoint: Uuid,
    /// The segments, and how many blocks of each there are; never zero (fact 24).
    pub scopes: &'a [(Scope, u32)],
    /// Where they are served.
    pub xaddr: SocketAddr,
}

// In a template, `$` and a letter are a hole: `fixed` names what is the same in every message of a
// version, `longest` the others.

const ENVELOPE: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
    <soap:Envelope xmlns:soap=\"$S\" xmlns:wsa=\"$A\" xmlns:wsd=\"$D\" xmlns:PeerDist=\"$P\">\
    <soap:Header><wsa:To>";

// 2.2.3.1: Types MUST be this.
const PROBE: &str = "urn:schemas-xmlsoap-org:ws:2005:04:discovery</wsa:To>\
    <wsa:Action>$D/Probe</wsa:Action><wsa:MessageID>$m</wsa:MessageID></soap:Header>\
    <soap:Body><wsd:Probe><wsd:Types>PeerDist:PeerDistData$t</wsd:Types>\
    <wsd:Scopes MatchBy=\"$b\">$s</wsd:Scopes></wsd:Probe></soap:Body></soap:Envelope>";

// 2.2.3.1: Types MUST be this; 2.2.3.4: Address MUST be a GUID as a "uuid:" scheme URI; 2.2.3.5:
// MetadataVersion MUST be 1, and 2 in version 2; 2.2.3.9: the data MUST be formatted like this.
const MATCHES: &str = "$A/role/anonymous</wsa:To><wsa:Action>$D/ProbeMatches</wsa:Action>\
    <wsa:MessageID>$m</wsa:MessageID><wsa:RelatesTo>$r</wsa:RelatesTo>\
    <wsd:AppSequence InstanceId=\"$i\" MessageNumber=\"$n\" /></soap:Header>\
    <soap:Body><wsd:ProbeMatches><wsd:ProbeMatch>\
    <wsa:EndpointReference><wsa:Address>$e</wsa:Address></wsa:EndpointReference>\
    <wsd:Types>PeerDist:PeerDistData$t</wsd:Types><wsd:Scopes>$s</wsd:Scopes><wsd:XAddrs>$x</wsd:XAddrs>\
    <wsd:MetadataVersion>$v</wsd:MetadataVersion>\
    <PeerDist:PeerDistData><PeerDist:$k>$d</PeerDist:$k></PeerDist:PeerDistData>\
    </wsd:ProbeMatch></wsd:ProbeMatches></soap:Body></soap:Envelope>";

/// What stands in a hole of each message of a version.
const fn fixed(hole: u8, version: Version) -> Option<&'static [u8]> {
    Some(match (hole, version) {
        (b'S', _) => SOAP,
        (b'A', _) => ADDRESSING,
        (b'D', _) => DISCOVERY,
        (b'P', _) => PEERDIST,
        (b't', Version::V1) => b"",
        (b't', Version::V2) => b"V2",
        (b'b', Version::V1) => b"http://schemas.xmlsoap.org/ws/2005/04/discovery/strcmp0",
        // Fact 26.
        (b'b', Version::V2) => b"http://schemas.microsoft.com/p2p/2010/05/PeerDistV2MatchingRule",
        (b'v', Version::V1) => b"1",
        (b'v', Version::V2) => b"2",
        (b'k', Version::V1) => b"BlockCount",
        (b'k', Version::V2) => b"SegmentAges",
        _ => return None,
    })
}

/// Bytes of the longest message of a template, but for what its sender decides the length of: the id
/// of the probe, the scopes and the data.
pub(super) const fn longest(template: &str, version: Version) -> usize {
    let mut rest = template.as_bytes();
    let mut len = 0;
    while let [byte, tail @ ..] = rest {
        (rest, len) = match (*byte, tail) {
            (b'$', [hole, tail @ ..]) => (
                tail,
                len + match (fixed(*hole, version), *hole) {
                    (Some(text), _) => text.len(),
                    (None, b'm' | b'e') => Uuid::URN_BYTES,
                    // 32 bits in decimal digits.
                    (None, b'i' | b'n') => 10,
                    (None, b'x') => MAX_XADDR_TEXT,
                    (None, _) => 0,
                },
            ),
            _ => (tail, len + 1),
        };
    }
    len
}

/// Bytes of a probe without the scopes.
pub(super) const fn probe_bytes(version: Version) -> usize {
    longest(ENVELOPE, version) + longest(PROBE, version)
}

/// Bytes of an answer without the id of the probe, the scopes and the data, with numbers and address
/// at their longest.
pub(super) const fn matches_bytes(version: Version) -> usize {
    longest(ENVELOPE, version) + longest(MATCHES, version)
}

/// What an answer can take beside: id of the probe, scopes and data.
pub(in crate::discovery) const MAX_ANSWER_TEXT: usize = {
    let (v1, v2) = (matches_bytes(Version::V1), matches_bytes(Version::V2));
    MAX_SENT_BYTES - if v1 < v2 { v1 } else { v2 }
};

type Fill<'a> = dyn FnMut(u8, &mut Writer<'_>) + 'a;

/// Writes a message; `fill` writes what goes into a hole that is not [`fixed`].
fn emit(template: &str, version: Version, buf: &mut [u8], fill: &mut Fill<'_>) -> Result<usize, NoRoom> {
    let mut writer = Writer::new(buf);
    for part in [ENVELOPE, template] {
        let mut bytes = part.bytes();
        while let Some(byte) = bytes.next() {
            if byte != b'$' {
                writer.put(&[byte]);
                continue;
            }
            let hole = bytes.next().unwrap_or_default();
            match fixed(hole, version) {
                Some(text) => writer.put(text),
                None => fill(hole, &mut writer),
            }
        }
    }
    writer.end()
}

/// Writes a probe for `ids`, which are of one length in version 2.
pub(in crate::discovery) fn emit_probe(
    version: Version,
    message_id: &Uuid,
    ids: &[SegmentId],
    buf: &mut [u8],
) -> Result<usize, NoRoom> {
    emit(PROBE, version, buf, &mut |hole, writer| match (hole, version) {
        (b'm', _) => message_id.emit(writer),
        // 2.2.3.3: the peer MUST populate the scopes with the segments it is searching for,
        (_, Version::V1) => {
            for (index, id) in ids.iter().enumerate() {
                writer.text(if index == 0 { "" } else { " " });
                writer.hex_upper(id.as_bytes());
            }
        }
        // ... with a single scope string in version 2. Both numbers fit what they are written as:
        // more ids or longer ones do not fit a datagram.
        (_, Version::V2) => {
            let [high, low] = (ids.first().map_or(0, |id| id.as_bytes().len()) as u16).to_be_bytes();
            let mut encoder = Encoder::new(writer);
            encoder.put(&[high, low, ids.len() as u8]);
            for id in ids {
                encoder.put(id.as_bytes());
            }
            encoder.end();
        }
    })
}

/// An answer, but for the texts that it is about.
#[derive(Clone, Copy)]
pub(in crate::discovery) struct Answer<'a> {
    pub(in crate::discovery) version: Version,
    pub(in crate::discovery) message_id: &'a Uuid,
    /// InstanceId and MessageNumber.
    pub(in crate::discovery) sequence: (u32, u32),
    pub(in crate::discovery) endpoint: &'a Uuid,
    pub(in crate::discovery) xaddr: SocketAddr,
}

/// The texts of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::discovery) enum Part {
    /// The id of the probe.
    RelatesTo,
    Scopes,
    /// Block counts, or ages.
    Data,
}

impl Answer<'_> {
    /// Writes the answer to the front of `buf` and returns its bytes. `text` writes its parts.
    pub(in crate::discovery) fn emit(
        &self,
        buf: &mut [u8],
        text: &mut dyn FnMut(Part, &mut Writer<'_>),
    ) -> Result<usize, NoRoom> {
        let (instance_id, message_number) = self.sequence;
        emit(MATCHES, self.version, buf, &mut |hole, writer| match hole {
            b'm' => self.message_id.emit(writer),
            b'i' => writer.decimal(instance_id.into()),
            b'n' => writer.decimal(message_number.into()),
            b'e' => self.endpoint.emit(writer),
            // 2.2.3.8: MUST contain an address and a port that a remote host can connect to.
            b'x' => emit_xaddr(self.xaddr, writer),
            b'r' => text(Part::RelatesTo, writer),
            b's' => text(Part::Scopes, writer),
            _ => text(Part::Data, writer),
        })
    }
}

/// What an answer says.
#[derive(Clone, Copy)]
pub(in crate::discovery) enum Body<'a> {
    V1(&'a [(Scope, u32)]),
    /// With the ages as the blob that is sent.
    V2(&'a Availabilities, &'a [u8]),
}

impl Body<'_> {
    pub(in crate::discovery) const fn version(&self) -> Version {
        match self {
            Self::V1(_) => Version::V1,
            Self::V2(..) => Version::V2,
        }
    }

    /// Writes a part of an answer to the probe `relates_to`.
    pub(in crate::discovery) fn emit(&self, relates_to: &MessageId, part: Part, writer: &mut Writer<'_>) {
        match (part, self) {
            (Part::RelatesTo, _) => relates_to.emit(writer),
            (Part::Scopes, Self::V1(scopes)) => {
                for (index, (scope, _)) in scopes.iter().enumerate() {
                    writer.text(if index == 0 { "" } else { " " });
                    scope.emit(writer);
                }
            }
            // 2.2.3.9: a packed array of integers in network byte order; 32 bits each (fact 24).
            (Part::Data, Self::V1(scopes)) => {
                for (_, blocks) in *scopes {
                    writer.hex_upper(&blocks.to_be_bytes());
                }
            }
            (Part::Scopes, Self::V2(availability, _)) => Encoder::all(availability.packed(), writer),
            (Part::Data, Self::V2(_, ages)) => Encoder::all(ages, writer),
        }
    }
}

impl ProbeRepr<'_> {
    const FIXED_BYTES: usize = probe_bytes(Version::V1);

    /// How many ids of `id_bytes` bytes each fit a probe of [`MAX_SENT_BYTES`].
    pub const fn capacity(id_bytes: usize) -> usize {
        // One space goes between two ids.
        (MAX_SENT_BYTES + 1 - Self::FIXED_BYTES) / id_bytes.saturating_mul(2).saturating_add(1)
    }

    /// How many of `ids`, from the first on, fit one probe.
    pub fn fitting(ids: &[SegmentId]) -> usize {
        fitting(MAX_SENT_BYTES + 1 - Self::FIXED_BYTES, 1, &mut ids.iter().map(|id| id.as_bytes().len()))
    }

    /// Writes the probe to the front of `buf` and returns its bytes.
    pub fn emit(&self, buf: &mut [u8]) -> Result<usize, NoRoom> {
        emit_probe(Version::V1, &self.message_id, self.ids, buf)
    }
}

impl ProbeMatchesRepr<'_> {
    const FIXED_BYTES: usize = matches_bytes(Version::V1);

    /// How many segments with ids of `id_bytes` bytes fit an answer of [`MAX_SENT_BYTES`] to a
    /// probe whose message id has `message_id_bytes` bytes.
    pub const fn capacity(message_id_bytes: usize, id_bytes: usize) -> usize {
        let room = (MAX_SENT_BYTES + 1 - Self::FIXED_BYTES).saturating_sub(message_id_bytes);
        room / id_bytes.saturating_mul(2).saturating_add(9)
    }

    /// How many of `scopes`, from the first on, fit one answer to the probe `relates_to`.
    pub fn fitting(relates_to: &MessageId, scopes: &[(Scope, u32)]) -> usize {
        let room = (MAX_SENT_BYTES + 1 - Self::FIXED_BYTES).saturating_sub(relates_to.emitted_len());
        // A space goes before an id, and 8 digits of block count are elsewhere.
        fitting(room, 9, &mut scopes.iter().map(|(scope, _)| scope.id.as_bytes().len()))
    }

    /// Writes the answer to the front of `buf` and returns its bytes.
    pub fn emit(&self, buf: &mut [u8]) -> Result<usize, NoRoom> {
        let body = Body::V1(self.scopes);
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

/// How many ids of these lengths fit, in hexadecimal digits and with `more` characters each.
fn fitting(mut room: usize, more: usize, lens: &mut dyn Iterator<Item = usize>) -> usize {
    let mut count = 0usize;
    while let Some(left) =
        lens.next().and_then(|len| room.checked_sub(len.saturating_mul(2).checked_add(more)?))
    {
        room = left;
        count = count.saturating_add(1);
    }
    count
}
