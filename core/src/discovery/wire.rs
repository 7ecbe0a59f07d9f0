//! [MS-PCCRD] 2.2: the messages, on WS-Discovery (April 2005) and SOAP 1.2, as UDP datagrams.
//!
//! [`parse`] takes everything that known peers send (fact 25): any prefixes and order, white space
//! anywhere, elements nobody knows. [`ProbeRepr::emit`] and [`ProbeMatchesRepr::emit`] write the
//! one form that all known peers take (fact 24), prefixes included: some of them search for strings.
//! Version 2 is [`ProbeV2Repr`] and [`ProbeMatchesV2Repr`].

mod v2;

use core::net::SocketAddr;

use heapless::Vec;
use rand_core::CryptoRng;

pub use self::v2::{
    Availabilities, Availability, Ids, MAX_IDS, MAX_PROBE_V2_IDS, ProbeMatchV2, ProbeMatchesV2Repr, ProbeV2,
    ProbeV2Repr,
};
pub use super::xaddr::XAddrs;
use super::xaddr::emit_xaddr;
use super::xml::{Element, Event, Text, Tokenizer, Tokens, XmlError};
use crate::bytes::{NoRoom, Writer, decode_hex, hex_digit, hex_value};
use crate::content::SegmentId;
use crate::limits::MAX_DIGEST_BYTES;

/// Bytes of the longest datagram sent: under 1,400, so that no network fragments it (fact 29).
pub const MAX_SENT_BYTES: usize = 1_399;

/// Bytes of a message id; `urn:uuid:` and a UUID are 45.
pub const MAX_MESSAGE_ID_BYTES: usize = 80;

/// Segment ids in one message: six times what fits a datagram of [`MAX_SENT_BYTES`].
pub const MAX_SCOPES: usize = 64;

/// Matches in one message; known peers send one for each message.
pub const MAX_MATCHES: usize = 8;

/// Types in one message: ours and what else a device may be.
pub const MAX_TYPES: usize = 16;

/// Segment ids that fit one probe, if they are of the shortest kind.
pub const MAX_PROBE_IDS: usize = ProbeRepr::capacity(32);

/// Segment ids that fit one datagram of an answer, if they and the message id are of the shortest
/// kind.
pub const MAX_ANSWER_IDS: usize = ProbeMatchesRepr::capacity(0, 32);

const SOAP: &[u8] = b"http://www.w3.org/2003/05/soap-envelope";
const ADDRESSING: &[u8] = b"http://schemas.xmlsoap.org/ws/2004/08/addressing";
const DISCOVERY: &[u8] = b"http://schemas.xmlsoap.org/ws/2005/04/discovery";
/// 2.2.1: the namespace URI that MUST be used.
const PEERDIST: &[u8] = b"http://schemas.microsoft.com/p2p/2007/09/PeerDistributionDiscovery";

const PROBE_ACTION: &[u8] = b"http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe";
const MATCHES_ACTION: &[u8] = b"http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches";

/// What a datagram says.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is no heap; it lives on the stack for one datagram")]
pub enum Message<'a> {
    /// Who has these segments?
    Probe(Probe<'a>),
    /// I have these segments.
    ProbeMatches(ProbeMatches<'a>),
    /// The same in version 2.
    ProbeV2(ProbeV2<'a>),
    /// A message that is none of ours: of another service, or another message of WS-Discovery.
    Other,
}

/// Why a datagram is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Malformed {
    /// Not XML, or beyond the bounds of the tokenizer.
    Xml(XmlError),
    /// An element that may stand once stands twice.
    Repeated,
    /// The action in the header is not that of the body.
    Action,
    /// A message id that is missing, longer than [`MAX_MESSAGE_ID_BYTES`], or not a URI.
    MessageId,
    /// Scopes that are missing, more than [`MAX_SCOPES`], or not segment ids (3.2.4.1).
    Scopes,
    /// More than [`MAX_TYPES`] types.
    TooManyTypes,
    /// More than [`MAX_MATCHES`] matches.
    TooManyMatches,
}

/// A probe of version 1 (2.2.2.1).
#[derive(Clone, Debug)]
pub struct Probe<'a> {
    /// To be repeated by the answer as it is.
    pub message_id: MessageId,
    /// The segments asked for.
    pub scopes: Scopes<'a>,
}

/// Matches of either version (2.2.2.2).
#[derive(Clone, Debug)]
pub struct ProbeMatches<'a> {
    /// The message id of the probe.
    pub relates_to: MessageId,
    /// The matches of version 1 that are in order.
    pub matches: Vec<ProbeMatch<'a>, MAX_MATCHES>,
    /// The matches of version 2 that are in order.
    pub matches_v2: Vec<ProbeMatchV2<'a>, MAX_MATCHES>,
    /// How many matches were not in order.
    pub discarded: u32,
}

/// What one peer says it has, in version 1.
#[derive(Clone, Copy, Debug)]
pub struct ProbeMatch<'a> {
    /// The segments.
    pub scopes: Scopes<'a>,
    /// Where the peer serves them: each address serves each segment (fact 25).
    pub xaddrs: XAddrs<'a>,
    counts: Text<'a>,
    /// Hexadecimal digits of one count: 4 or 8.
    count_digits: usize,
}

/// The identifier of a message, verbatim: a URI, usually of the form `urn:uuid:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageId(Vec<u8, MAX_MESSAGE_ID_BYTES>);

/// A random identifier, version 4 of RFC 9562.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Uuid([u8; 16]);

/// Segment ids of version 1, checked: at least one and at most [`MAX_SCOPES`] (2.2.3.3).
#[derive(Clone, Copy, Debug)]
pub struct Scopes<'a>(Text<'a>);

/// A segment id, and how a peer wrote it: the rule of comparison is case-sensitive (2.2.3.3), so
/// an answer repeats the letters it was asked for (fact 24).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The segment.
    pub id: SegmentId,
    /// One bit for each digit, the first one lowest: set where it is a lower-case letter. In bytes,
    /// since many are kept, and a number would have them all padded.
    lower: [u8; 2 * MAX_DIGEST_BYTES / 8],
}

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

/// Reads a datagram. What belongs to other services is [`Message::Other`], even if it would be
/// malformed as one of our messages.
pub fn parse(datagram: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut xml = Tokenizer::new(datagram)?;
    let mut message = (Header::default(), Body::Other);
    let (mut soap, mut headers, mut bodies) = (false, 0u32, 0u32);
    while let Some(event) = xml.next_event()? {
        match event {
            Event::Start(root) if !soap && root.name.is(SOAP, b"Envelope") => soap = true,
            Event::Start(element) if soap && element.name.is(SOAP, b"Header") => {
                headers = headers.saturating_add(1);
                message.0 = Header::parse(&mut xml)?;
            }
            Event::Start(element) if soap && element.name.is(SOAP, b"Body") => {
                bodies = bodies.saturating_add(1);
                message.1 = Body::parse(&mut xml)?;
            }
            Event::Start(_) => xml.skip()?,
            Event::End | Event::Text(_) => {}
        }
    }
    let (mut header, body) = message;
    header.repeated |= headers > 1 || bodies > 1;
    body.message(&header)
}

/// The header blocks that matter, as they stand.
#[derive(Default)]
struct Header<'a> {
    action: Option<Text<'a>>,
    message_id: Option<Text<'a>>,
    relates_to: Option<Text<'a>>,
    repeated: bool,
}

impl<'a> Header<'a> {
    fn parse(xml: &mut Tokenizer<'a>) -> Result<Self, Malformed> {
        let mut header = Self::default();
        while let Some(element) = next_child(xml)? {
            let field = if element.name.is(ADDRESSING, b"Action") {
                &mut header.action
            } else if element.name.is(ADDRESSING, b"MessageID") {
                &mut header.message_id
            } else if element.name.is(ADDRESSING, b"RelatesTo") {
                &mut header.relates_to
            } else {
                xml.skip()?;
                continue;
            };
            header.repeated |= field.replace(xml.text()?).is_some();
        }
        Ok(header)
    }
}

/// The body, before it is known whether the header fits it.
#[expect(clippy::large_enum_variant, reason = "there is no heap; it lives on the stack for one datagram")]
enum Body<'a> {
    Probe(Target<'a>),
    Matches(Vec<Target<'a>, MAX_MATCHES>),
    Other,
}

impl<'a> Body<'a> {
    fn parse(xml: &mut Tokenizer<'a>) -> Result<Self, Malformed> {
        let mut body = Self::Other;
        while let Some(element) = next_child(xml)? {
            if element.name.is(DISCOVERY, b"Probe") {
                body = Self::Probe(Target::parse(xml)?);
            } else if element.name.is(DISCOVERY, b"ProbeMatches") {
                let mut matches = Vec::new();
                while let Some(element) = next_child(xml)? {
                    if element.name.is(DISCOVERY, b"ProbeMatch") {
                        let target = Target::parse(xml)?;
                        matches.push(target).map_err(|_| Malformed::TooManyMatches)?;
                    } else {
                        xml.skip()?;
                    }
                }
                body = Self::Matches(matches);
            } else {
                xml.skip()?;
            }
        }
        Ok(body)
    }

    fn message(self, header: &Header<'a>) -> Result<Message<'a>, Malformed> {
        match self {
            Self::Other => Ok(Message::Other),
            Self::Probe(target) if target.kind == Kind::Other => Ok(Message::Other),
            Self::Probe(target) => {
                check_header(header, PROBE_ACTION)?;
                let message_id = MessageId::parse(header.message_id)?;
                if target.repeated {
                    return Err(Malformed::Repeated);
                }
                // 3.2.4.1: a probe with empty or wrongly formatted scopes is malformed.
                if target.kind == Kind::V2 {
                    let ids = target.scopes.and_then(Ids::check).ok_or(Malformed::Scopes)?;
                    return Ok(Message::ProbeV2(ProbeV2 { message_id, ids }));
                }
                let scopes = target.scopes.and_then(Scopes::check).ok_or(Malformed::Scopes)?;
                Ok(Message::Probe(Probe { message_id, scopes }))
            }
            Self::Matches(targets) => {
                // 3.1.4.1: the types MUST be checked.
                let ours = targets.iter().filter(|target| target.kind != Kind::Other);
                if ours.clone().next().is_none() {
                    return Ok(Message::Other);
                }
                check_header(header, MATCHES_ACTION)?;
                let relates_to = MessageId::parse(header.relates_to)?;
                let (mut matches, mut matches_v2, mut discarded) = (Vec::new(), Vec::new(), 0u32);
                for target in ours {
                    // As many matches as targets, so there is room.
                    let kept = match target.kind {
                        Kind::V2 => ProbeMatchV2::check(target).is_some_and(|it| matches_v2.push(it).is_ok()),
                        _ => ProbeMatch::check(target).is_some_and(|it| matches.push(it).is_ok()),
                    };
                    discarded = discarded.saturating_add(u32::from(!kept));
                }
                Ok(Message::ProbeMatches(ProbeMatches { relates_to, matches, matches_v2, discarded }))
            }
        }
    }
}

/// Which version a list of types speaks of (2.2.3.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    V1,
    V2,
    Other,
}

/// The content of a Probe or a ProbeMatch, as it stands.
struct Target<'a> {
    kind: Kind,
    types: Option<Text<'a>>,
    scopes: Option<Text<'a>>,
    xaddrs: Option<Text<'a>>,
    counts: Option<Text<'a>>,
    ages: Option<Text<'a>>,
    repeated: bool,
}

impl<'a> Target<'a> {
    fn parse(xml: &mut Tokenizer<'a>) -> Result<Self, Malformed> {
        let mut target = Self {
            kind: Kind::Other,
            types: None,
            scopes: None,
            xaddrs: None,
            counts: None,
            ages: None,
            repeated: false,
        };
        while let Some(element) = next_child(xml)? {
            if element.name.is(DISCOVERY, b"Types") {
                let (types, kind) = parse_types(xml)?;
                target.kind = kind;
                target.repeated |= target.types.replace(types).is_some();
            } else if element.name.is(DISCOVERY, b"Scopes") {
                target.repeated |= target.scopes.replace(xml.text()?).is_some();
            } else if element.name.is(DISCOVERY, b"XAddrs") {
                target.repeated |= target.xaddrs.replace(xml.text()?).is_some();
            } else if element.name.is(PEERDIST, b"PeerDistData") {
                while let Some(element) = next_child(xml)? {
                    let field = if element.name.is(PEERDIST, b"BlockCount") {
                        &mut target.counts
                    } else if element.name.is(PEERDIST, b"SegmentAges") {
                        &mut target.ages
                    } else {
                        xml.skip()?;
                        continue;
                    };
                    target.repeated |= field.replace(xml.text()?).is_some();
                }
            } else {
                xml.skip()?;
            }
        }
        Ok(target)
    }
}

/// The next child of the element open last; `None` at the end of that.
fn next_child<'a>(xml: &mut Tokenizer<'a>) -> Result<Option<Element<'a>>, XmlError> {
    loop {
        match xml.next_event()? {
            Some(Event::Start(element)) => return Ok(Some(element)),
            Some(Event::Text(_)) => {}
            Some(Event::End) | None => return Ok(None),
        }
    }
}

/// A list of qualified names; prefixes are resolved where they stand (fact 25).
fn parse_types<'a>(xml: &mut Tokenizer<'a>) -> Result<(Text<'a>, Kind), Malformed> {
    let text = xml.text()?;
    let mut kind = Kind::Other;
    let mut tokens = text.tokens();
    let mut count = 0usize;
    // A longer token cannot be one of ours.
    let mut buf = [0; 128];
    while let Some(token) = tokens.next_token(&mut buf) {
        count = count.saturating_add(1);
        if count > MAX_TYPES {
            return Err(Malformed::TooManyTypes);
        }
        let Ok(token) = token else { continue };
        let mut parts = token.rsplitn(2, |&byte| byte == b':');
        let local = parts.next().unwrap_or_default();
        let prefix = parts.next().unwrap_or_default();
        if !xml.resolve(prefix).is_some_and(|namespace| namespace.is(PEERDIST)) {
            continue;
        }
        match local {
            b"PeerDistData" if kind == Kind::Other => kind = Kind::V1,
            b"PeerDistDataV2" => kind = Kind::V2,
            _ => {}
        }
    }
    Ok((text, kind))
}

fn check_header(header: &Header<'_>, expected: &[u8]) -> Result<(), Malformed> {
    if header.repeated {
        return Err(Malformed::Repeated);
    }
    let action = header.action.and_then(|action| action.only_token::<128>());
    if action.is_some_and(|action| action == expected) { Ok(()) } else { Err(Malformed::Action) }
}

impl From<XmlError> for Malformed {
    fn from(error: XmlError) -> Self {
        Self::Xml(error)
    }
}

impl<'a> ProbeMatch<'a> {
    /// The segments and how many blocks of each the peer has.
    pub fn segments(&self) -> impl Iterator<Item = (SegmentId, u32)> + use<'a> {
        let digits = self.count_digits;
        let mut counts = self.counts.bytes().filter_map(hex_value);
        // There are at least as many counts as scopes.
        self.scopes.iter().map(move |scope| {
            let count = counts.by_ref().take(digits);
            (scope.id, count.fold(0u32, |count, digit| count << 4 | u32::from(digit)))
        })
    }

    fn check(target: &Target<'a>) -> Option<Self> {
        let scopes = target.scopes.and_then(Scopes::check)?;
        let xaddrs = target.xaddrs.and_then(XAddrs::check)?;
        let counts = target.counts?;
        let mut digits = 0usize;
        for byte in counts.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
            hex_value(byte)?;
            digits = digits.saturating_add(1);
        }
        let scope_count = scopes.iter().count();
        // The document speaks of 16 bits, its examples and all peers of 32 (fact 25).
        let count_digits = if digits >= scope_count.checked_mul(8)? {
            8
        } else if digits == scope_count.checked_mul(4)? {
            4
        } else {
            return None;
        };
        (!target.repeated).then_some(Self { scopes, xaddrs, counts, count_digits })
    }
}

impl MessageId {
    /// The id as it was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The UUID that the id is, in the forms that known peers give it (fact 25).
    pub fn uuid(&self) -> Option<Uuid> {
        Uuid::parse(&self.0)
    }

    fn parse(text: Option<Text<'_>>) -> Result<Self, Malformed> {
        let id = text.and_then(|text| text.only_token()).ok_or(Malformed::MessageId)?;
        // RFC 3986, 2: what a URI cannot contain; an ampersand is all that is left to escape.
        let is_uri = |byte: &u8| byte.is_ascii_graphic() && !b"<>\"".contains(byte);
        if id.iter().all(is_uri) { Ok(Self(id)) } else { Err(Malformed::MessageId) }
    }

    /// Bytes of the id inside an XML document.
    fn emitted_len(&self) -> usize {
        let escaped = self.0.iter().filter(|&&byte| byte == b'&').count();
        self.0.len().saturating_add(escaped.saturating_mul(4))
    }

    fn emit(&self, writer: &mut Writer<'_>) {
        for byte in &self.0 {
            match byte {
                b'&' => writer.text("&amp;"),
                _ => writer.put(&[*byte]),
            }
        }
    }
}

impl Uuid {
    /// Bytes of a UUID with `urn:uuid:` before it.
    const URN_BYTES: usize = 45;

    /// Draws a UUID.
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        // RFC 9562, 5.4: version 4 in the high half of octet 6, variant 10 in octet 8.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Reads a UUID of either case, with or without `urn:uuid:` or `uuid:` before it.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = strip_prefix_ignoring_case(text, b"urn:");
        let text = strip_prefix_ignoring_case(text, b"uuid:");
        let mut bytes = [0; 16];
        let mut parts = text.split(|&byte| byte == b'-');
        let mut room = bytes.as_mut_slice();
        for len in [4usize, 2, 2, 2, 6] {
            let (part, rest) = room.split_at_mut_checked(len)?;
            if decode_hex(parts.next()?, part)?.len() != len {
                return None;
            }
            room = rest;
        }
        parts.next().is_none().then_some(Self(bytes))
    }

    fn emit(&self, writer: &mut Writer<'_>) {
        writer.text("urn:uuid:");
        for (index, byte) in self.0.iter().enumerate() {
            if let 4 | 6 | 8 | 10 = index {
                writer.text("-");
            }
            writer.put(&[hex_digit(byte >> 4, true), hex_digit(byte & 15, true)]);
        }
    }
}

impl<'a> Scopes<'a> {
    /// The scopes in the order of the message.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + use<'a> {
        let mut tokens = self.0.tokens();
        core::iter::from_fn(move || next_scope(&mut tokens).flatten())
    }

    /// The segment ids in the order of the message.
    pub fn ids(&self) -> impl Iterator<Item = SegmentId> + use<'a> {
        self.iter().map(|scope| scope.id)
    }

    fn check(text: Text<'a>) -> Option<Self> {
        let mut tokens = text.tokens();
        let mut count = 0usize;
        while let Some(scope) = next_scope(&mut tokens) {
            scope?;
            count = count.saturating_add(1);
            if count > MAX_SCOPES {
                return None;
            }
        }
        (count > 0).then_some(Self(text))
    }
}

fn next_scope(tokens: &mut Tokens<'_>) -> Option<Option<Scope>> {
    let mut buf = [0; 2 * MAX_DIGEST_BYTES];
    Some(tokens.next_token(&mut buf)?.ok().and_then(Scope::parse))
}

impl Scope {
    /// A scope written in upper case, as our own are.
    pub const fn new(id: SegmentId) -> Self {
        Self { id, lower: [0; 2 * MAX_DIGEST_BYTES / 8] }
    }

    /// Reads 64, 96 or 128 hexadecimal digits (2.2.3.3, fact 25).
    fn parse(token: &[u8]) -> Option<Self> {
        let mut buf = [0; MAX_DIGEST_BYTES];
        let id = SegmentId::from_slice(decode_hex(token, &mut buf)?)?;
        let lower = token.iter().rev().fold(0u128, |lower, digit| lower << 1 | u128::from(*digit >= b'a'));
        Some(Self { id, lower: lower.to_le_bytes() })
    }

    fn emit(&self, writer: &mut Writer<'_>) {
        let mut lower = u128::from_le_bytes(self.lower);
        for byte in self.id.as_bytes() {
            writer.put(&[hex_digit(byte >> 4, lower & 1 == 1), hex_digit(byte & 15, lower & 2 == 2)]);
            lower >>= 2;
        }
    }
}

/// `text` without `prefix` in any case, if it begins with it.
pub(super) fn strip_prefix_ignoring_case<'t>(text: &'t [u8], prefix: &[u8]) -> &'t [u8] {
    match text.split_at_checked(prefix.len()) {
        Some((head, tail)) if head.eq_ignore_ascii_case(prefix) => tail,
        _ => text,
    }
}

// The messages as they are sent, cut where something varies. One id is never broken over lines.

const ENVELOPE: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
    <soap:Envelope xmlns:soap=\"http://www.w3.org/2003/05/soap-envelope\" \
    xmlns:wsa=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
    xmlns:wsd=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\" \
    xmlns:PeerDist=\"http://schemas.microsoft.com/p2p/2007/09/PeerDistributionDiscovery\">\
    <soap:Header><wsa:To>";
const PROBE_TO: &str = "urn:schemas-xmlsoap-org:ws:2005:04:discovery</wsa:To>\
    <wsa:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</wsa:Action><wsa:MessageID>";
const PROBE_BODY: &str = "</wsa:MessageID></soap:Header><soap:Body><wsd:Probe>\
    <wsd:Types>PeerDist:PeerDistData</wsd:Types>\
    <wsd:Scopes MatchBy=\"http://schemas.xmlsoap.org/ws/2005/04/discovery/strcmp0\">";
const PROBE_END: &str = "</wsd:Scopes></wsd:Probe></soap:Body></soap:Envelope>";

const MATCHES_TO: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</wsa:To>\
    <wsa:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches</wsa:Action><wsa:MessageID>";
const MATCHES_RELATES: &str = "</wsa:MessageID><wsa:RelatesTo>";
const MATCHES_INSTANCE: &str = "</wsa:RelatesTo><wsd:AppSequence InstanceId=\"";
const MATCHES_NUMBER: &str = "\" MessageNumber=\"";
const MATCHES_BODY: &str = "\" /></soap:Header><soap:Body><wsd:ProbeMatches><wsd:ProbeMatch>\
    <wsa:EndpointReference><wsa:Address>";
// 2.2.3.1: Types MUST be this.
const MATCHES_SCOPES: &str = "</wsa:Address></wsa:EndpointReference>\
    <wsd:Types>PeerDist:PeerDistData</wsd:Types><wsd:Scopes>";
const MATCHES_XADDRS: &str = "</wsd:Scopes><wsd:XAddrs>";
// 2.2.3.5: MetadataVersion MUST be 1 (2 is for version 2); 2.2.3.9: MUST be formatted like this.
const MATCHES_COUNT: &str = "</wsd:XAddrs><wsd:MetadataVersion>1</wsd:MetadataVersion>\
    <PeerDist:PeerDistData><PeerDist:BlockCount>";
const COUNT_END: &str = "</PeerDist:BlockCount>";
const MATCHES_END: &str = "</PeerDist:PeerDistData></wsd:ProbeMatch></wsd:ProbeMatches>\
    </soap:Body></soap:Envelope>";

/// Characters of the longest transport address: an IPv6 address of 39 with brackets and port.
const MAX_XADDR_TEXT: usize = 47;

/// Bytes of what [`emit_matches_head`] writes, without the id of the probe, and with both numbers
/// at their longest: 10 digits.
const MATCHES_HEAD: usize = ENVELOPE.len()
    + MATCHES_TO.len()
    + Uuid::URN_BYTES
    + MATCHES_RELATES.len()
    + MATCHES_INSTANCE.len()
    + 10
    + MATCHES_NUMBER.len()
    + 10
    + MATCHES_BODY.len()
    + Uuid::URN_BYTES;

/// Writes an answer up to the address of who gives it.
fn emit_matches_head(
    writer: &mut Writer<'_>,
    (message_id, relates_to): (Uuid, &MessageId),
    (instance_id, message_number): (u32, u32),
    endpoint: Uuid,
) {
    writer.text(ENVELOPE);
    writer.text(MATCHES_TO);
    message_id.emit(writer);
    writer.text(MATCHES_RELATES);
    relates_to.emit(writer);
    writer.text(MATCHES_INSTANCE);
    writer.decimal(instance_id.into());
    writer.text(MATCHES_NUMBER);
    writer.decimal(message_number.into());
    writer.text(MATCHES_BODY);
    // 2.2.3.4: MUST be a GUID as a "uuid:" scheme URI.
    endpoint.emit(writer);
}

impl ProbeRepr<'_> {
    const FIXED_BYTES: usize =
        ENVELOPE.len() + PROBE_TO.len() + Uuid::URN_BYTES + PROBE_BODY.len() + PROBE_END.len();

    /// How many ids of `id_bytes` bytes each fit a probe of [`MAX_SENT_BYTES`].
    pub const fn capacity(id_bytes: usize) -> usize {
        // One space goes between two ids.
        (MAX_SENT_BYTES + 1 - Self::FIXED_BYTES) / id_bytes.saturating_mul(2).saturating_add(1)
    }

    /// How many of `ids`, from the first on, fit one probe.
    pub fn fitting(ids: &[SegmentId]) -> usize {
        let mut room = MAX_SENT_BYTES + 1 - Self::FIXED_BYTES;
        let fits = |id: &&SegmentId| {
            let len = id.as_bytes().len().saturating_mul(2).saturating_add(1);
            room.checked_sub(len).map(|left| room = left).is_some()
        };
        ids.iter().take_while(fits).count()
    }

    /// Writes the probe to the front of `buf` and returns its bytes.
    pub fn emit(&self, buf: &mut [u8]) -> Result<usize, NoRoom> {
        let mut writer = Writer::new(buf);
        writer.text(ENVELOPE);
        writer.text(PROBE_TO);
        self.message_id.emit(&mut writer);
        writer.text(PROBE_BODY);
        // 2.2.3.3: the peer MUST populate the scopes with the segments it is searching for.
        for (index, id) in self.ids.iter().enumerate() {
            if index != 0 {
                writer.text(" ");
            }
            writer.hex_upper(id.as_bytes());
        }
        writer.text(PROBE_END);
        writer.end()
    }
}

impl ProbeMatchesRepr<'_> {
    /// Everything but the id of the probe and the segments, with numbers and address at their
    /// longest.
    const FIXED_BYTES: usize = MATCHES_HEAD
        + MATCHES_SCOPES.len()
        + MATCHES_XADDRS.len()
        + MAX_XADDR_TEXT
        + MATCHES_COUNT.len()
        + COUNT_END.len()
        + MATCHES_END.len();

    /// How many segments with ids of `id_bytes` bytes fit an answer of [`MAX_SENT_BYTES`] to a
    /// probe whose message id has `message_id_bytes` bytes.
    pub const fn capacity(message_id_bytes: usize, id_bytes: usize) -> usize {
        let room = (MAX_SENT_BYTES + 1 - Self::FIXED_BYTES).saturating_sub(message_id_bytes);
        room / id_bytes.saturating_mul(2).saturating_add(9)
    }

    /// How many of `scopes`, from the first on, fit one answer to the probe `relates_to`.
    pub fn fitting(relates_to: &MessageId, scopes: &[(Scope, u32)]) -> usize {
        let room = MAX_SENT_BYTES + 1 - Self::FIXED_BYTES;
        let mut room = room.saturating_sub(relates_to.emitted_len());
        let fits = |(scope, _): &&(Scope, u32)| {
            // The digits, a space before them, and 8 digits of block count.
            let len = scope.id.as_bytes().len().saturating_mul(2).saturating_add(9);
            room.checked_sub(len).map(|left| room = left).is_some()
        };
        scopes.iter().take_while(fits).count()
    }

    /// Writes the answer to the front of `buf` and returns its bytes.
    pub fn emit(&self, buf: &mut [u8]) -> Result<usize, NoRoom> {
        let mut writer = Writer::new(buf);
        emit_matches_head(
            &mut writer,
            (self.message_id, self.relates_to),
            (self.instance_id, self.message_number),
            self.endpoint,
        );
        writer.text(MATCHES_SCOPES);
        for (index, (scope, _)) in self.scopes.iter().enumerate() {
            if index != 0 {
                writer.text(" ");
            }
            scope.emit(&mut writer);
        }
        writer.text(MATCHES_XADDRS);
        // 2.2.3.8: MUST contain an address and a port that a remote host can connect to.
        emit_xaddr(self.xaddr, &mut writer);
        writer.text(MATCHES_COUNT);
        // 2.2.3.9: a packed array of integers in network byte order; 32 bits each (fact 24).
        for (_, blocks) in self.scopes {
            writer.hex_upper(&blocks.to_be_bytes());
        }
        writer.text(COUNT_END);
        writer.text(MATCHES_END);
        writer.end()
    }
}

#[cfg(test)]
mod tests;
