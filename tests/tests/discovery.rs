//! Discovery against what others say: the XML tokenizer of core against quick-xml, and a client
//! against a server through bytes alone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;

use peerdist_core::content::SegmentId;
use peerdist_core::discovery::client::{Client, Config, Extent, Found};
use peerdist_core::discovery::server::{self, Holding, Server};
use peerdist_core::discovery::wire::{
    Availability, MAX_PROBE_IDS, MAX_PROBE_V2_IDS, MAX_SENT_BYTES, Message, parse,
};
use peerdist_core::discovery::xml::{Event, MAX_DOCUMENT_BYTES, Text, Tokenizer, XmlErrorKind};
use peerdist_core::discovery::{GROUP_V4, GROUP_V6, Subnet};
use peerdist_core::time::{Duration, Instant, earliest};
use quick_xml::events::Event as Theirs;
use quick_xml::events::attributes::Attribute;
use quick_xml::name::{QName, ResolveResult};
use quick_xml::{NsReader, XmlVersion};
use rand_core::{TryCryptoRng, TryRng};

const CORPUS: [&[u8]; 11] = [
    include_bytes!("../vectors/v1-probe.xml"),
    include_bytes!("../vectors/pccrd-probe.bin"),
    include_bytes!("../vectors/pccrd-probematches.bin"),
    include_bytes!("../vectors/own-probe-v2.xml"),
    include_bytes!("../vectors/own-probematches-v2.xml"),
    b"<?xml version='1.0' encoding='utf-8' standalone='no'?><!-- c --><a b='1' c=\"2\">t</a><?p i?>",
    b"<a xmlns='u' xmlns:p='v'><p:b p:c='1' c='2'/><d xmlns=''><e/></d><f xmlns:p='w'><p:g/></f></a>",
    b"<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x1F600;<![CDATA[<x>&y;]]]]><!-- - -->\r\n z\r</a >",
    b"<a b='&lt;&#10;\t\r\n' c='>/>'> <b/> <c></c> </a>\n",
    "<\u{e9}t\u{e9} na\u{ef}f='\u{4e2d}'>\u{6587}</\u{e9}t\u{e9}>".as_bytes(),
    b"<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a></a></a></a></a></a></a></a>",
];

const SNIPPETS: [&str; 40] = [
    "<",
    ">",
    "/",
    "&",
    ";",
    "'",
    "\"",
    "=",
    " ",
    "\r",
    "\n",
    "x",
    ":",
    "-",
    "?",
    "!",
    "]]>",
    "]]",
    "<!--",
    "-->",
    "--",
    "<![CDATA[",
    "<?p q?>",
    "<?xml version='1.0'?>",
    "<!DOCTYPE a>",
    "<b>",
    "</b>",
    "<b/>",
    "</a>",
    "<a ",
    "&lt;",
    "&#65;",
    "&#x0;",
    "&nbsp;",
    " b='1'",
    " xmlns='u'",
    " xmlns:p='v'",
    " p:c='3'",
    "\u{feff}",
    "\u{1}",
];

/// What quick-xml does not look for and XML or Namespaces in XML forbid, and what the bounds of
/// the tokenizer are: only for these may we refuse what quick-xml takes.
///
/// - `Encoding`: the declaration names an encoding that the bytes are not in.
/// - `Character`: control characters and the like.
/// - `Name`: characters that no name has, and colons where none may be.
/// - `Syntax`: `<` in a value, `]]>` in text, attributes without white space before them, an XML
///   declaration in another place, and the like.
/// - `Prefix`, `DuplicateAttribute`: declarations that are reserved; attributes that have the same
///   name only once their prefixes are resolved.
const STRICTER: [XmlErrorKind; 11] = [
    XmlErrorKind::TooLong,
    XmlErrorKind::TooDeep,
    XmlErrorKind::TooManyAttributes,
    XmlErrorKind::TooManyBindings,
    XmlErrorKind::Doctype,
    XmlErrorKind::Encoding,
    XmlErrorKind::Character,
    XmlErrorKind::Name,
    XmlErrorKind::Syntax,
    XmlErrorKind::Prefix,
    XmlErrorKind::DuplicateAttribute,
];

#[test]
fn the_corpus_is_accepted_by_both() {
    for document in CORPUS {
        assert_eq!(ours(document).map_err(|kind| format!("{kind:?}")), theirs(document));
    }
}

#[test]
fn agrees_with_quick_xml_on_mutated_documents() {
    let mut rng = XorShift(0x9e37_79b9_7f4a_7c15);
    let (mut accepted, mut refused) = (0u32, 0u32);
    let mut stricter = BTreeMap::<String, u32>::new();
    for round in 0..200_000 {
        let mut document = CORPUS[round % CORPUS.len()].to_vec();
        for _ in 0..=rng.below(3) {
            mutate(&mut document, &mut rng);
        }
        let shown = String::from_utf8_lossy(&document);
        match (ours(&document), theirs(&document)) {
            (Ok(ours), Ok(theirs)) => {
                assert_eq!(ours, theirs, "{shown}");
                accepted += 1;
            }
            (Ok(_), Err(theirs)) => panic!("only we accept ({theirs}): {shown}"),
            (Err(kind), Ok(_)) => {
                assert!(STRICTER.contains(&kind), "only they accept ({kind:?}): {shown}");
                *stricter.entry(format!("{kind:?}")).or_default() += 1;
            }
            (Err(_), Err(_)) => refused += 1,
        }
    }
    println!("both accept {accepted}, both refuse {refused}, only we refuse {stricter:?}");
    assert!(accepted > 20_000 && refused > 20_000);
}

#[test]
fn whatever_the_tokenizer_accepts_the_codec_survives() {
    let mut rng = XorShift(1);
    let mut messages = 0;
    for round in 0..100_000 {
        let mut document = CORPUS[round % 5].to_vec();
        mutate(&mut document, &mut rng);
        match parse(&document) {
            Ok(Message::Probe(probe)) => messages += probe.scopes.ids().count().min(1),
            Ok(Message::ProbeV2(probe)) => messages += probe.ids.iter().count().min(1),
            Ok(Message::ProbeMatches(all)) => {
                messages += all.matches_v2.iter().filter(|one| one.availability(2).is_some()).count();
                messages += all
                    .matches
                    .iter()
                    .map(|one| one.segments().count() * one.xaddrs.iter().count())
                    .sum::<usize>();
            }
            Ok(_) | Err(_) => {}
        }
    }
    assert!(messages > 10_000);
}

/// A client that asks for as much as fits, and a server that has it all: nothing but datagrams and
/// time pass between them.
#[test]
fn a_client_finds_a_server() {
    let mut rng = XorShift(7);
    let mut client = Client::new(Config::default());
    let once = server::Config { sends: 1, ..server::Config::default() };
    let mut server = Server::with_config(once, 1_700_000_000, &mut rng);
    let ids: Vec<_> = (0..MAX_PROBE_IDS as u8).map(|n| SegmentId::from_slice(&[n; 32]).unwrap()).collect();
    let client_addr = "192.0.2.2:50000".parse().unwrap();
    let server_addr: SocketAddr = "192.0.2.1:8080".parse().unwrap();
    server.set_addresses(&[Subnet { address: server_addr.ip(), prefix: 24 }]);
    let mut now = Instant::ZERO;
    let probe = client.probe(now, &mut rng, &ids).unwrap();
    let (mut found, mut expired) = (Vec::new(), None);
    let mut buf = [0; MAX_SENT_BYTES];
    loop {
        while let Some((to, len)) = client.poll_transmit(now, &mut buf) {
            assert_eq!(to, GROUP_V4);
            let Ok(Message::Probe(probe)) = parse(&buf[..len]) else { panic!("no probe") };
            server
                .handle_probe(now, &mut rng, client_addr, &probe, &mut |id| u32::from(id.as_bytes()[0]) + 1);
        }
        while let Some((to, len)) = server.poll_transmit(now, server_addr.port(), &mut buf) {
            assert_eq!(to, client_addr);
            let Ok(Message::ProbeMatches(matches)) = parse(&buf[..len]) else { panic!("no match") };
            client.handle_matches(now, server_addr, &matches, &mut |one| found.push(one));
        }
        expired = client.poll_expired(now).or(expired);
        match earliest(client.poll_timeout(), server.poll_timeout()) {
            Some(next) => now = next,
            None => break,
        }
    }
    assert_eq!(expired, Some(probe));
    assert_eq!(now, Instant::from_millis(300));
    let expected: Vec<_> = (1..)
        .zip(&ids)
        .map(|(blocks, &segment)| {
            let extent = Extent::Blocks(blocks);
            Found { probe, segment, peer: server_addr, extent, age: None }
        })
        .collect();
    assert_eq!(found, expected, "each once, though the probe was sent twice");
    assert_eq!((client.counters().sent, server.counters().repeats), (2, 1));
}

/// The same in version 2 over IPv6, with answers that are repeated.
#[test]
fn a_client_finds_a_server_in_version_2() {
    let mut rng = XorShift(9);
    let (mut client, mut server) = (Client::new(Config::default()), Server::new(7, &mut rng));
    let ours = [Subnet { address: "2001:db8::1".parse().unwrap(), prefix: 64 }];
    client.set_addresses(&ours);
    server.set_addresses(&ours);
    let ids: Vec<_> = (0..MAX_PROBE_V2_IDS as u8).map(|n| SegmentId::from_slice(&[n; 32]).unwrap()).collect();
    let client_addr = "[fe80::2]:50000".parse().unwrap();
    let server_addr: SocketAddr = "[2001:db8::1]:8080".parse().unwrap();
    let age = Duration::from_secs(3_600);
    let of = [Availability::Nothing, Availability::Some, Availability::All];
    let holding =
        |n: u8| Holding { availability: of[usize::from(n) % 3], age: n.is_multiple_of(2).then_some(age) };
    let mut now = Instant::ZERO;
    let probe = client.probe_v2(now, &mut rng, &ids).unwrap();
    let (mut found, mut answers) = (Vec::new(), 0);
    let mut buf = [0; MAX_SENT_BYTES];
    loop {
        while let Some((to, len)) = client.poll_transmit(now, &mut buf) {
            assert_eq!(to, GROUP_V6);
            let Ok(Message::ProbeV2(probe)) = parse(&buf[..len]) else { panic!("no probe") };
            let mut have = |id: &SegmentId| holding(id.as_bytes()[0]);
            server.handle_probe_v2(now, &mut rng, client_addr, &probe, &mut have);
        }
        while let Some((_, len)) = server.poll_transmit(now, server_addr.port(), &mut buf) {
            let Ok(Message::ProbeMatches(matches)) = parse(&buf[..len]) else { panic!("no match") };
            answers += 1;
            client.handle_matches(now, server_addr, &matches, &mut |one| found.push(one));
        }
        client.replies(now, &mut |id, replies| {
            let held = holding(id.as_bytes()[0]).availability;
            assert_eq!(replies.all, u8::from(held != Availability::Nothing));
            assert_eq!(replies.whole, u8::from(held == Availability::All));
        });
        client.poll_expired(now);
        match earliest(client.poll_timeout(), server.poll_timeout()) {
            Some(next) => now = next,
            None => break,
        }
    }
    assert_eq!((answers, server.counters().repeats), (2, 1), "one answer, sent twice");
    let mut expected = Vec::new();
    for (n, &segment) in (0..).zip(&ids) {
        let Holding { availability, age } = holding(n);
        let extent = match availability {
            Availability::Nothing => continue,
            Availability::Some => Extent::Part,
            Availability::All => Extent::Whole,
        };
        expected.push(Found { probe, segment, peer: server_addr, extent, age });
    }
    assert_eq!(found[..expected.len()], expected);
    // The repeat may have come too late.
    assert!(found.len() == expected.len() || found[expected.len()..] == expected);
}

/// Elements with their namespaces and attributes, their ends, and the text between, of a document
/// that was read to its end.
fn ours(document: &[u8]) -> Result<String, XmlErrorKind> {
    let string = |text: Text<'_>| String::from_utf8(text.bytes().collect()).unwrap();
    let utf8 = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
    let mut out = String::new();
    let mut xml = Tokenizer::new(document).map_err(|error| error.kind)?;
    while let Some(event) = xml.next_event().map_err(|error| error.kind)? {
        match event {
            Event::Start(element) => {
                let namespace = element.name.namespace.map(string);
                out += &format!("\u{1}start {namespace:?} {}", utf8(element.name.local));
                for (name, value) in element.attributes() {
                    out += &format!(" {}={:?}", utf8(name), string(value));
                }
                out += "\u{1}";
            }
            Event::End => out += "\u{1}end\u{1}",
            Event::Text(text) => out += &string(text),
        }
    }
    Ok(out)
}

/// The same from quick-xml. It leaves some of the document's rules to its caller: a single root,
/// nothing but white space beside it, that all is closed at the end, known prefixes, and known
/// entities.
fn theirs(document: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(document).map_err(|error| error.to_string())?;
    let mut xml = NsReader::from_str(text);
    xml.config_mut().check_comments = true;
    xml.config_mut().expand_empty_elements = true;
    xml.resolver_mut().set_max_namespace_bindings(1_000);
    let version = XmlVersion::Implicit1_0;
    let mut out = String::new();
    let (mut depth, mut roots) = (0u32, 0u32);
    loop {
        let event = xml.read_event().map_err(|error| error.to_string())?;
        let outside = depth == 0;
        match event {
            Theirs::Start(start) => {
                roots += u32::from(outside);
                depth += 1;
                let (namespace, local) = xml.resolver().resolve_element(start.name());
                let namespace = namespace_of(namespace)?;
                out += &format!("\u{1}start {namespace:?} {}", local.as_ref());
                for attribute in start.attributes() {
                    let attribute = attribute.map_err(|error| error.to_string())?;
                    let is_declaration = attribute.key.as_namespace_binding().is_some();
                    if !is_declaration {
                        namespace_of(xml.resolver().resolve_attribute(attribute.key).0)?;
                    }
                    let value = attribute.normalized_value(version).map_err(|error| error.to_string())?;
                    out += &format!(" {}={value:?}", attribute.key.as_ref());
                }
                out += "\u{1}";
            }
            Theirs::End(_) => {
                depth -= 1;
                out += "\u{1}end\u{1}";
            }
            Theirs::Text(text) => {
                let text = text.xml10_content();
                if !outside {
                    out += &text;
                } else if !text.trim_matches(['\t', '\r', '\n', ' ']).is_empty() {
                    return Err("text beside the root".into());
                }
            }
            Theirs::CData(_) | Theirs::GeneralRef(_) if outside => return Err("text beside the root".into()),
            Theirs::CData(text) => out += &text.xml10_content(),
            Theirs::GeneralRef(reference) => {
                match reference.resolve_char_ref().map_err(|error| error.to_string())? {
                    Some(character) => out.push(character),
                    None => {
                        let entity = quick_xml::escape::resolve_xml_entity(&reference);
                        out += entity.ok_or("unknown entity")?;
                    }
                }
            }
            Theirs::Decl(declaration) if declaration.contains('&') => {
                return Err("reference in a declaration".into());
            }
            // It takes a declaration for well-formed until somebody asks what it declares.
            Theirs::Decl(declaration)
                if declaration.version().is_err()
                    || declaration.encoding().is_some_and(|it| it.is_err())
                    || declaration.standalone().is_some_and(|it| it.is_err()) =>
            {
                return Err("an attribute of a declaration".into());
            }
            Theirs::DocType(_) | Theirs::Comment(_) | Theirs::PI(_) | Theirs::Decl(_) => {}
            Theirs::Empty(_) => unreachable!("empty elements are expanded"),
            Theirs::Eof => break,
        }
    }
    if depth == 0 && roots == 1 { Ok(out) } else { Err(format!("{depth} open, {roots} roots")) }
}

fn namespace_of(resolved: ResolveResult<'_>) -> Result<Option<String>, String> {
    match resolved {
        ResolveResult::Unbound => Ok(None),
        ResolveResult::Bound(namespace) => {
            // A namespace name is the value of an attribute; quick-xml hands it out as it stands.
            let value = Attribute { key: QName("xmlns"), value: namespace.as_ref().into() };
            let value = value.normalized_value(XmlVersion::Implicit1_0);
            value.map(|it| Some(it.into())).map_err(|it| it.to_string())
        }
        ResolveResult::Unknown(prefix) => Err(format!("unknown prefix {prefix}")),
    }
}

fn mutate(document: &mut Vec<u8>, rng: &mut XorShift) {
    let at = rng.below(document.len() + 1);
    let end = (at + rng.below(20)).min(document.len());
    match rng.below(6) {
        0 => {
            if let Some(byte) = document.get_mut(at) {
                *byte ^= 1 << rng.below(7);
            }
        }
        1 => drop(document.drain(at..end)),
        2 => {
            let piece = document[at..end].to_vec();
            let to = rng.below(document.len() + 1);
            document.splice(to..to, piece);
        }
        3 => document.truncate(at),
        _ => {
            let snippet = SNIPPETS[rng.below(SNIPPETS.len())];
            document.splice(at..at, snippet.bytes());
        }
    }
    assert!(document.len() <= MAX_DOCUMENT_BYTES);
}

/// Marsaglia's generator: a run is its seed. Anyone can predict it.
struct XorShift(u64);

impl TryRng for XorShift {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.below(1 << 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from(self.try_next_u32()?) << 32 | u64::from(self.try_next_u32()?))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        dst.iter_mut().for_each(|byte| *byte = self.below(256) as u8);
        Ok(())
    }
}

impl TryCryptoRng for XorShift {}

impl XorShift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
