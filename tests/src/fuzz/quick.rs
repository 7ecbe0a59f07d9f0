//! quick-xml beside the tokenizer: two readers, one verdict.

use peerdist_core::discovery::xml::{
    Event, MAX_ATTRIBUTES, MAX_BINDINGS, MAX_DEPTH, MAX_DOCUMENT_BYTES, Text, Tokenizer, XmlErrorKind,
};
use quick_xml::events::Event as Theirs;
use quick_xml::events::attributes::Attribute;
use quick_xml::name::{QName, ResolveResult};
use quick_xml::{NsReader, XmlVersion};

/// Reads a document with both. What we accept, quick-xml accepts and reads the same from: elements
/// with their namespaces, attributes and text. What we alone refuse, we refuse for a reason that has
/// a name, and that is there to be seen. Returns our verdict, and whether quick-xml accepts it.
pub fn agree(document: &[u8]) -> (Result<(), XmlErrorKind>, bool) {
    let (ours, theirs) = (ours(document), theirs(document));
    let accepted = theirs.is_ok();
    let shown = || String::from_utf8_lossy(document);
    match (&ours, theirs) {
        (Ok(ours), Ok((theirs, _))) => assert_eq!(*ours, theirs, "{}", shown()),
        (Ok(_), Err(theirs)) => panic!("only we accept ({theirs}): {}", shown()),
        (Err(kind), Ok((_, size))) => {
            assert!(is_reason(*kind, document, &size), "only they accept ({kind:?}): {}", shown());
        }
        (Err(_), Err(_)) => {}
    }
    (ours.map(|_| ()), accepted)
}

/// What a document has the most of.
#[derive(Default)]
struct Size {
    depth: u32,
    attributes: usize,
    declarations: usize,
    /// It has a tag or an instruction that is not well-formed, and that quick-xml takes.
    lax: bool,
    /// It has a name that is no plain one.
    odd_name: bool,
}

/// Whether `document`, which quick-xml takes, may be refused as this: it is beyond a bound of ours,
/// or has what XML or Namespaces in XML forbid and quick-xml does not look for.
fn is_reason(kind: XmlErrorKind, document: &[u8], size: &Size) -> bool {
    let text = String::from_utf8_lossy(document);
    let is_char =
        |it: char| !matches!(it, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    match kind {
        XmlErrorKind::TooLong => document.len() > MAX_DOCUMENT_BYTES,
        XmlErrorKind::TooDeep => size.depth as usize > MAX_DEPTH,
        XmlErrorKind::TooManyAttributes => size.attributes > MAX_ATTRIBUTES,
        XmlErrorKind::TooManyBindings => size.declarations > MAX_BINDINGS,
        XmlErrorKind::Doctype => text.contains("<!DOCTYPE"),
        // The declaration names an encoding that the bytes are not in.
        XmlErrorKind::Encoding => text.contains("encoding"),
        // Control characters and the like, as they are or by reference.
        XmlErrorKind::Character => !text.chars().all(is_char) || text.contains("&#"),
        // Declarations that are reserved; attributes that have the same name only once their
        // prefixes are resolved.
        XmlErrorKind::Prefix => size.declarations > 0,
        XmlErrorKind::DuplicateAttribute => size.declarations > 1 && size.attributes > 1,
        XmlErrorKind::Syntax => {
            let cdata = text.matches("<![CDATA[").count();
            size.lax || size.odd_name || text.matches("]]>").count() > cdata
        }
        // Characters that no name has, or not at its start, and colons where none may be.
        XmlErrorKind::Name => size.lax || size.odd_name,
        _ => false,
    }
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
fn theirs(document: &[u8]) -> Result<(String, Size), String> {
    let text = std::str::from_utf8(document).map_err(|error| error.to_string())?;
    let mut xml = NsReader::from_str(text);
    xml.config_mut().check_comments = true;
    xml.config_mut().expand_empty_elements = true;
    xml.resolver_mut().set_max_namespace_bindings(1_000);
    let version = XmlVersion::Implicit1_0;
    let (mut out, mut size) = (String::new(), Size::default());
    let (mut depth, mut roots) = (0u32, 0u32);
    loop {
        let event = xml.read_event().map_err(|error| error.to_string())?;
        let outside = depth == 0;
        match event {
            Theirs::Start(start) => {
                roots += u32::from(outside);
                depth += 1;
                size.lax |= !is_strict(&start[start.name().as_ref().len()..]);
                size.odd_name |= !is_plain(start.name().as_ref());
                size.depth = size.depth.max(depth);
                size.attributes = size.attributes.max(start.attributes().count());
                let (namespace, local) = xml.resolver().resolve_element(start.name());
                let namespace = namespace_of(namespace)?;
                out += &format!("\u{1}start {namespace:?} {}", local.as_ref());
                for attribute in start.attributes() {
                    let attribute = attribute.map_err(|error| error.to_string())?;
                    let is_declaration = attribute.key.as_namespace_binding().is_some();
                    size.odd_name |= !is_plain(attribute.key.as_ref());
                    size.declarations += usize::from(is_declaration);
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
            Theirs::PI(instruction) => {
                let target = instruction.target();
                size.lax |= target.eq_ignore_ascii_case("xml");
                size.odd_name |= !is_plain(target);
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
            Theirs::Decl(declaration) => {
                // Nothing but a byte order mark stands before it.
                let before = xml.buffer_position() as usize - declaration.len() - "<??>".len();
                let first = before == 0 || before == 3 && document.starts_with(b"\xef\xbb\xbf");
                size.lax |= !first || !is_strict_declaration(&declaration);
            }
            Theirs::DocType(_) | Theirs::Comment(_) => {}
            Theirs::Empty(_) => unreachable!("empty elements are expanded"),
            Theirs::Eof => break,
        }
    }
    if depth == 0 && roots == 1 { Ok((out, size)) } else { Err(format!("{depth} open, {roots} roots")) }
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

/// Whether these are attributes as XML, 3.1 has them: white space, a name, an equals sign, and a
/// value in quotes without `<`.
fn is_strict(attributes: &str) -> bool {
    let space = [' ', '\t', '\r', '\n'];
    let mut rest = attributes;
    loop {
        let attribute = rest.trim_start_matches(space);
        if attribute.is_empty() {
            return true;
        }
        let Some((name, value)) = attribute.split_once('=') else { return false };
        let name = name.trim_end_matches(space);
        let value = value.trim_start_matches(space);
        let Some(quote) = value.chars().next().filter(|it| "'\"".contains(*it)) else { return false };
        let Some((value, after)) = value[1..].split_once(quote) else { return false };
        if attribute.len() == rest.len() || name.is_empty() || name.contains(space) || value.contains('<') {
            return false;
        }
        rest = after;
    }
}

/// Whether this is a declaration as XML, 2.8 has it.
fn is_strict_declaration(declaration: &str) -> bool {
    let attributes = declaration.strip_prefix("xml").unwrap_or_default();
    let names: Vec<&str> = attributes
        .split(['\'', '"'])
        .step_by(2)
        .map(|it| it.trim_matches(['=', ' ', '\t', '\r', '\n']))
        .collect();
    let values: Vec<&str> = attributes.split(['\'', '"']).skip(1).step_by(2).collect();
    let order = ["version", "encoding", "standalone"];
    let mut at = order.iter();
    let ordered = names.first() == Some(&"version")
        && names.iter().filter(|it| !it.is_empty()).all(|name| at.any(|it| it == name));
    let minor = values.first().and_then(|it| it.strip_prefix("1.")).unwrap_or_default();
    let version = !minor.is_empty() && minor.bytes().all(|it| it.is_ascii_digit());
    let standalone =
        names.iter().zip(&values).all(|(name, it)| *name != "standalone" || ["yes", "no"].contains(it));
    is_strict(attributes) && ordered && version && standalone
}

/// Whether this is a name in ASCII, with a prefix or without.
fn is_plain(name: &str) -> bool {
    let mut parts = name.splitn(2, ':');
    parts.all(|part| {
        part.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
            && part.chars().all(|it| it.is_ascii_alphanumeric() || "_-.".contains(it))
    })
}
