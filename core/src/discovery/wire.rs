//! [MS-PCCRD] 2.2: the messages, on WS-Discovery (April 2005) and SOAP 1.2, as UDP datagrams.
//!
//! [`parse`] takes everything that known peers send (fact 25): any prefixes and order, white space
//! anywhere, elements nobody knows. [`ProbeRepr::emit`] and [`ProbeMatchesRepr::emit`] write the
//! one form that all known peers take (fact 24), prefixes included: some of them search for strings.
//! Version 2 is [`ProbeV2Repr`] and [`ProbeMatchesV2Repr`].

mod emit;
mod v2;

use heapless::Vec;
use rand_core::CryptoRng;

pub(super) use self::emit::{Answer, Body, MAX_ANSWER_TEXT, Part, emit_probe};
pub use self::emit::{ProbeMatchesRepr, ProbeRepr};
pub use self::v2::{
    Availabilities, Availability, Ids, MAX_IDS, MAX_PROBE_V2_IDS, ProbeMatchV2, ProbeMatchesV2Repr, ProbeV2,
    ProbeV2Repr,
};
pub use super::xaddr::XAddrs;
use super::xml::{MAX_DEPTH, Name, Step, Text, Tokenizer, XmlError, split_name};
use crate::bytes::{Writer, decode_hex, hex_digit, hex_value};
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

/// Of the messages, and so of a probe and its answers (2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

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

/// Reads a datagram. What belongs to other services is [`Message::Other`], even if it would be
/// malformed as one of our messages.
#[inline(never)]
pub fn parse(datagram: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut reading = Reading {
        body: Place::Other,
        headers: 0,
        bodies: 0,
        targets: 0,
        kind: Kind::Other,
        ours: false,
        repeated: false,
        header_repeated: false,
        texts: [None; FIELDS],
        matches: ProbeMatches {
            relates_to: MessageId(Vec::new()),
            matches: Vec::new(),
            matches_v2: Vec::new(),
            discarded: 0,
        },
    };
    reading.document(datagram)?;
    reading.message()
}

/// Where an element stands in a message. From `Action` on they are fields: elements that hold text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Around the root element.
    Document,
    /// Nothing that matters, in an element or beside it.
    Other,
    Envelope,
    Header,
    Body,
    Probe,
    Matches,
    Match,
    Data,
    /// The names of the two versions, in the list of types.
    TypeV1,
    TypeV2,
    Action,
    MessageId,
    RelatesTo,
    Types,
    Scopes,
    XAddrs,
    Counts,
    Ages,
}

const FIELDS: usize = Place::Ages as usize - Place::Action as usize + 1;

/// Fields of the header, which come before those of a Probe or a ProbeMatch.
const HEADER_FIELDS: usize = Place::Types as usize - Place::Action as usize;

/// What stands where: below which element, in which namespace, by which name.
const PLACES: [(Place, &[u8], &str, Place); 17] = [
    (Place::Document, SOAP, "Envelope", Place::Envelope),
    (Place::Envelope, SOAP, "Header", Place::Header),
    (Place::Envelope, SOAP, "Body", Place::Body),
    (Place::Header, ADDRESSING, "Action", Place::Action),
    (Place::Header, ADDRESSING, "MessageID", Place::MessageId),
    (Place::Header, ADDRESSING, "RelatesTo", Place::RelatesTo),
    (Place::Body, DISCOVERY, "Probe", Place::Probe),
    (Place::Body, DISCOVERY, "ProbeMatches", Place::Matches),
    (Place::Matches, DISCOVERY, "ProbeMatch", Place::Match),
    // Those of a Probe are those of a ProbeMatch.
    (Place::Match, DISCOVERY, "Types", Place::Types),
    (Place::Match, DISCOVERY, "Scopes", Place::Scopes),
    (Place::Match, DISCOVERY, "XAddrs", Place::XAddrs),
    (Place::Match, PEERDIST, "PeerDistData", Place::Data),
    (Place::Data, PEERDIST, "BlockCount", Place::Counts),
    (Place::Data, PEERDIST, "SegmentAges", Place::Ages),
    // 2.2.3.1: names as well.
    (Place::Types, PEERDIST, "PeerDistData", Place::TypeV1),
    (Place::Types, PEERDIST, "PeerDistDataV2", Place::TypeV2),
];

impl Place {
    /// Where an element or a name stands that is found below this.
    fn child(self, name: &Name<'_>) -> Self {
        let parent = if self == Self::Probe { Self::Match } else { self };
        let is_it = |row: &&(Self, &[u8], &str, Self)| row.0 == parent && name.is(row.1, row.2.as_bytes());
        PLACES.iter().find(is_it).map_or(Self::Other, |row| row.3)
    }
}

/// Which version a list of types speaks of (2.2.3.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    V1,
    V2,
    Other,
}

/// A message while it is read.
struct Reading<'a> {
    /// What the body turned out to be: `Probe`, `Matches` or `Other`.
    body: Place,
    headers: u32,
    bodies: u32,
    targets: usize,
    /// Of the Probe or the ProbeMatch that was read last, as are its texts.
    kind: Kind,
    /// A field of it stands twice.
    repeated: bool,
    header_repeated: bool,
    /// The fields as they stand, in the order of [`Place`].
    texts: [Option<&'a [u8]>; FIELDS],
    /// One of the matches is one of ours.
    ours: bool,
    matches: ProbeMatches<'a>,
}

impl<'a> Reading<'a> {
    /// Reads all of the document.
    #[inline(never)]
    fn document(&mut self, datagram: &'a [u8]) -> Result<(), Malformed> {
        let mut xml = Tokenizer::over(datagram);
        let mut path = Vec::<Place, MAX_DEPTH>::new();
        let mut step = xml.check().map(|()| Step::Text);
        loop {
            match step {
                None => return Err(xml.error().into()),
                Some(Step::Over) => return Ok(()),
                Some(Step::Text) => {}
                Some(Step::End) => {
                    if path.pop() == Some(Place::Match) {
                        self.end_match()?;
                    }
                }
                Some(Step::Start) => {
                    let place = path.last().unwrap_or(&Place::Document).child(&xml.element().name);
                    if place as usize >= Place::Action as usize {
                        let Some(text) = xml.leaf() else { return Err(xml.error().into()) };
                        self.field(place, text);
                        if place == Place::Types {
                            self.kind = parse_types(&xml, text)?;
                        }
                    } else {
                        self.enter(place);
                        // The tokenizer has the same bound.
                        let _ = path.push(place);
                    }
                }
            }
            step = xml.step();
        }
    }

    /// An element begins. Of a message that has several, the last one is read.
    #[inline(never)]
    fn enter(&mut self, place: Place) {
        let (header, target) = self.texts.split_at_mut(HEADER_FIELDS);
        match place {
            Place::Header => {
                self.headers = self.headers.saturating_add(1);
                header.fill(None);
            }
            Place::Body => {
                self.bodies = self.bodies.saturating_add(1);
                self.body = Place::Other;
            }
            Place::Probe | Place::Match => {
                target.fill(None);
                (self.kind, self.repeated) = (Kind::Other, false);
                if place == Place::Probe {
                    self.body = place;
                }
            }
            Place::Matches => {
                self.body = place;
                (self.targets, self.ours, self.matches.discarded) = (0, false, 0);
                self.matches.matches.clear();
                self.matches.matches_v2.clear();
            }
            _ => {}
        }
    }

    /// What stands in a field.
    #[inline(never)]
    fn text(&self, place: Place) -> Option<Text<'a>> {
        let index = (place as usize).saturating_sub(Place::Action as usize);
        self.texts.get(index).copied().flatten().map(Text::content)
    }

    fn field(&mut self, place: Place, text: Text<'a>) {
        let index = (place as usize).saturating_sub(Place::Action as usize);
        let twice = self.texts.get_mut(index).is_some_and(|field| field.replace(text.raw()).is_some());
        let repeated = if index < HEADER_FIELDS { &mut self.header_repeated } else { &mut self.repeated };
        *repeated |= twice;
    }

    /// A ProbeMatch ends.
    #[inline(never)]
    fn end_match(&mut self) -> Result<(), Malformed> {
        self.targets = self.targets.saturating_add(1);
        if self.targets > MAX_MATCHES {
            return Err(Malformed::TooManyMatches);
        }
        let (scopes, xaddrs) = (self.text(Place::Scopes), self.text(Place::XAddrs));
        let (counts, ages) = (self.text(Place::Counts), self.text(Place::Ages));
        let all = &mut self.matches;
        // As many matches as targets, so there is room.
        let kept = match self.kind {
            // 3.1.4.1: the types MUST be checked.
            Kind::Other => return Ok(()),
            _ if self.repeated => false,
            Kind::V1 => {
                ProbeMatch::check(scopes, xaddrs, counts).is_some_and(|it| all.matches.push(it).is_ok())
            }
            Kind::V2 => {
                ProbeMatchV2::check(scopes, xaddrs, ages).is_some_and(|it| all.matches_v2.push(it).is_ok())
            }
        };
        self.ours = true;
        all.discarded = all.discarded.saturating_add(u32::from(!kept));
        Ok(())
    }

    /// Makes a message of what was read.
    #[inline(never)]
    fn message(mut self) -> Result<Message<'a>, Malformed> {
        let (is_probe, ours) = match self.body {
            Place::Probe => (true, self.kind != Kind::Other),
            Place::Matches => (false, self.ours),
            _ => (false, false),
        };
        if !ours {
            return Ok(Message::Other);
        }
        if self.header_repeated || self.headers > 1 || self.bodies > 1 {
            return Err(Malformed::Repeated);
        }
        let mut buf = [0; 128];
        let action = self.text(Place::Action).and_then(|action| action.only_token_in(&mut buf));
        let verb: &[u8] = if is_probe { b"/Probe" } else { b"/ProbeMatches" };
        if action.and_then(|action| action.strip_prefix(DISCOVERY)) != Some(verb) {
            return Err(Malformed::Action);
        }
        if !is_probe {
            self.matches.relates_to = MessageId::parse(self.text(Place::RelatesTo))?;
            return Ok(Message::ProbeMatches(self.matches));
        }
        let message_id = MessageId::parse(self.text(Place::MessageId))?;
        if self.repeated {
            return Err(Malformed::Repeated);
        }
        // 3.2.4.1: a probe with empty or wrongly formatted scopes is malformed.
        let scopes = self.text(Place::Scopes);
        if self.kind == Kind::V2 {
            let ids = scopes.and_then(Ids::check).ok_or(Malformed::Scopes)?;
            return Ok(Message::ProbeV2(ProbeV2 { message_id, ids }));
        }
        let scopes = scopes.and_then(Scopes::check).ok_or(Malformed::Scopes)?;
        Ok(Message::Probe(Probe { message_id, scopes }))
    }
}

/// A list of qualified names; prefixes are resolved where they stand (fact 25).
#[inline(never)]
fn parse_types(xml: &Tokenizer<'_>, text: Text<'_>) -> Result<Kind, Malformed> {
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
        let (prefix, local) = split_name(token.unwrap_or_default());
        match Place::Types.child(&Name { namespace: xml.resolve(prefix), local }) {
            Place::TypeV1 if kind == Kind::Other => kind = Kind::V1,
            Place::TypeV2 => kind = Kind::V2,
            _ => {}
        }
    }
    Ok(kind)
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

    #[inline(never)]
    fn check(scopes: Option<Text<'a>>, xaddrs: Option<Text<'a>>, counts: Option<Text<'a>>) -> Option<Self> {
        let scopes = Scopes::check(scopes?)?;
        let xaddrs = XAddrs::check(xaddrs?)?;
        let counts = counts?;
        let mut digits = 0usize;
        for byte in counts.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
            hex_value(byte)?;
            digits = digits.saturating_add(1);
        }
        let scope_count = scopes.count()?;
        // The document speaks of 16 bits, its examples and all peers of 32 (fact 25).
        let count_digits = if digits >= scope_count.checked_mul(8)? {
            8
        } else if digits == scope_count.checked_mul(4)? {
            4
        } else {
            return None;
        };
        Some(Self { scopes, xaddrs, counts, count_digits })
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
        let mut buf = [0; MAX_MESSAGE_ID_BYTES];
        let id = text.and_then(|text| text.only_token_in(&mut buf)).unwrap_or_default();
        // RFC 3986, 2: what a URI cannot contain; an ampersand is all that is left to escape.
        let is_uri = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"');
        if id.is_empty() || !id.iter().all(is_uri) {
            return Err(Malformed::MessageId);
        }
        Vec::from_slice(id).map(Self).map_err(|_| Malformed::MessageId)
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
        let mut text = strip_prefix_ignoring_case(text, b"uuid:");
        let mut bytes = [0; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            if is_behind_hyphen(index) {
                text = text.strip_prefix(b"-")?;
            }
            let (&[high, low], rest) = text.split_first_chunk()?;
            *byte = hex_value(high)? << 4 | hex_value(low)?;
            text = rest;
        }
        text.is_empty().then_some(Self(bytes))
    }

    fn emit(&self, writer: &mut Writer<'_>) {
        writer.text("urn:uuid:");
        for (index, byte) in self.0.iter().enumerate() {
            if is_behind_hyphen(index) {
                writer.text("-");
            }
            writer.put(&[hex_digit(byte >> 4, true), hex_digit(byte & 15, true)]);
        }
    }
}

/// Whether a hyphen stands before this byte of a UUID (RFC 9562, 4).
const fn is_behind_hyphen(index: usize) -> bool {
    matches!(index, 4 | 6 | 8 | 10)
}

impl<'a> Scopes<'a> {
    /// The scopes in the order of the message.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + use<'a> {
        let mut tokens = self.0.tokens();
        core::iter::from_fn(move || {
            let mut buf = [0; 2 * MAX_DIGEST_BYTES];
            Scope::parse(tokens.next_token(&mut buf)?.ok()?)
        })
    }

    /// The segment ids in the order of the message.
    pub fn ids(&self) -> impl Iterator<Item = SegmentId> + use<'a> {
        self.iter().map(|scope| scope.id)
    }

    fn check(text: Text<'a>) -> Option<Self> {
        let scopes = Self(text);
        scopes.count().filter(|count| (1..=MAX_SCOPES).contains(count)).map(|_| scopes)
    }

    /// How many there are; `None` if one of them is none, or there are too many.
    fn count(&self) -> Option<usize> {
        let mut tokens = self.0.tokens();
        let mut buf = [0; 2 * MAX_DIGEST_BYTES];
        let mut count = 0usize;
        while let Some(token) = tokens.next_token(&mut buf) {
            let token = token.ok()?;
            // 64, 96 or 128 hexadecimal digits (2.2.3.3, fact 25).
            if !matches!(token.len(), 64 | 96 | 128) || !token.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            count = count.saturating_add(1);
            if count > MAX_SCOPES {
                return None;
            }
        }
        Some(count)
    }
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
        let mut scope = Self::new(id);
        for (digits, bits) in token.chunks(8).zip(&mut scope.lower) {
            *bits = digits.iter().rev().fold(0, |bits, digit| bits << 1 | u8::from(*digit >= b'a'));
        }
        Some(scope)
    }

    fn emit(&self, writer: &mut Writer<'_>) {
        for (index, byte) in self.id.as_bytes().iter().enumerate() {
            // Two bits for each byte.
            let lower = self.lower.get(index / 4).map_or(0, |bits| bits >> (2 * (index % 4) as u32));
            writer.put(&[hex_digit(byte >> 4, lower & 1 == 1), hex_digit(byte & 15, lower & 2 == 2)]);
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

#[cfg(test)]
mod tests;
