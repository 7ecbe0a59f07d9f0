//! A small pull tokenizer for XML 1.0 with namespaces, made for messages from strangers.
//!
//! It neither allocates nor recurses, every dimension of a document has a bound with a name, and
//! what lies inside the bounds is well-formed or refused: a document is accepted only if
//! everything in it was seen to be right up to its last byte. Stricter than XML in three points:
//! the encoding is UTF-8, there is no document type declaration and so no entity but the
//! predefined ones, and the bounds below.
//!
//! What the tokenizer yields are views of the document. Character data is decoded while it is read
//! ([`Text::bytes`], [`Text::tokens`]), so nothing is ever copied to a place of unknown size.

use heapless::Vec;

pub use super::text::{Bytes, Text, TokenTooLong, Tokens};
use super::text::{find, is_char, is_space, reference};
use crate::bytes::Reader;

/// Bytes of a document (fact 29: datagrams of up to 32 KiB are accepted).
pub const MAX_DOCUMENT_BYTES: usize = 32 * 1_024;

/// Elements open at the same time; a discovery message has 6.
pub const MAX_DEPTH: usize = 16;

/// Attributes of one element, namespace declarations included; a discovery message has 4.
pub const MAX_ATTRIBUTES: usize = 16;

/// Namespace declarations in scope at the same time; a discovery message has 4.
pub const MAX_BINDINGS: usize = 24;

/// The namespace that the prefix `xml` stands for (Namespaces in XML, 3).
const XML_NAMESPACE: Text<'static> = Text::attribute(b"http://www.w3.org/XML/1998/namespace");

/// The namespace that no prefix may stand for (Namespaces in XML, 3).
const XMLNS_NAMESPACE: &[u8] = b"http://www.w3.org/2000/xmlns/";

/// Why a document is refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct XmlError {
    /// What is wrong.
    pub kind: XmlErrorKind,
    /// Bytes from the start of the document to where the tokenizer stood.
    pub offset: usize,
}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum XmlErrorKind {
    /// More than [`MAX_DOCUMENT_BYTES`].
    TooLong,
    /// More than [`MAX_DEPTH`] open elements.
    TooDeep,
    /// More than [`MAX_ATTRIBUTES`] in one tag.
    TooManyAttributes,
    /// More than [`MAX_BINDINGS`] namespace declarations in scope.
    TooManyBindings,
    /// A document type declaration: never needed, and the root of all XML bombs.
    Doctype,
    /// Bytes that are not UTF-8, or a declaration of another encoding.
    Encoding,
    /// A character that XML does not have, such as a control character.
    Character,
    /// The document ends too early.
    Truncated,
    /// Markup that is not well-formed.
    Syntax,
    /// Something that is not a name, or has more than one colon, stands for a name.
    Name,
    /// An end tag that does not close the element open last.
    Mismatch,
    /// A reference to something other than a predefined entity or a character.
    Reference,
    /// Two attributes of one element with the same name.
    DuplicateAttribute,
    /// A prefix that is not declared, or a declaration that is not allowed.
    Prefix,
    /// Character data or a second element beside the root element, or no element at all.
    Outside,
    /// A child where the caller asked for character data alone.
    NotText,
}

/// A piece of a document.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A start tag, or an empty-element tag, which is followed by its own `End`.
    Start(Element<'a>),
    /// The element open last ends.
    End,
    /// Character data or a CDATA section; comments and processing instructions part it.
    Text(Text<'a>),
}

/// A start tag.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    /// The name of the element.
    pub name: Name<'a>,
    attributes: &'a [u8],
}

/// A name whose prefix has been resolved.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    /// The namespace name; `None` outside of any namespace.
    pub namespace: Option<Text<'a>>,
    /// The part after the prefix.
    pub local: &'a [u8],
}

/// Reads a document from front to back.
#[derive(Debug)]
pub struct Tokenizer<'a> {
    reader: Reader<'a>,
    /// The names of the open elements as they are written, outermost first.
    open: Vec<&'a [u8], MAX_DEPTH>,
    /// The namespace declarations in scope, innermost last.
    bindings: Vec<Binding<'a>, MAX_BINDINGS>,
    pending: Pending,
    root_seen: bool,
}

/// What is left to do about the event returned last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Nothing,
    /// It was an empty-element tag, so an end comes next.
    End,
    /// It was an end: the element and what it declared go out of scope with the next event.
    Close,
}

#[derive(Clone, Copy, Debug)]
struct Binding<'a> {
    /// Empty for the default namespace.
    prefix: &'a [u8],
    namespace: Text<'a>,
    /// The same number for the same namespace: names are compared by it, since a document that
    /// repeats two long namespaces in many names would have them compared as often.
    number: usize,
    depth: usize,
}

#[derive(Clone, Copy)]
struct Attribute<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Tokenizer<'a> {
    /// Begins with `document`: checks its size, its characters and its XML declaration.
    pub fn new(document: &'a [u8]) -> Result<Self, XmlError> {
        let mut xml = Self {
            reader: Reader::new(document),
            open: Vec::new(),
            bindings: Vec::new(),
            pending: Pending::Nothing,
            root_seen: false,
        };
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(xml.error(XmlErrorKind::TooLong));
        }
        let text = core::str::from_utf8(document).map_err(|_| xml.error(XmlErrorKind::Encoding))?;
        xml.eat(b"\xef\xbb\xbf");
        if !text.chars().all(is_char) {
            return Err(xml.error(XmlErrorKind::Character));
        }
        if xml.rest().starts_with(b"<?xml") && xml.rest().get(5).is_some_and(|&byte| is_space(byte)) {
            xml.declaration()?;
        }
        Ok(xml)
    }

    /// The next piece; `None` once the whole document has been read and found well-formed.
    ///
    /// After an error the tokenizer is of no further use.
    pub fn next_event(&mut self) -> Result<Option<Event<'a>>, XmlError> {
        match core::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Nothing => {}
            Pending::End => {
                self.pending = Pending::Close;
                return Ok(Some(Event::End));
            }
            Pending::Close => self.close(),
        }
        loop {
            let before = self.reader;
            if self.rest().is_empty() {
                return match (self.open.is_empty(), self.root_seen) {
                    (false, _) => Err(self.error(XmlErrorKind::Truncated)),
                    (true, false) => Err(self.error(XmlErrorKind::Outside)),
                    (true, true) => Ok(None),
                };
            } else if self.eat(b"<!--") {
                self.comment()?;
            } else if self.eat(b"<![CDATA[") {
                self.until(b"]]>")?;
                if self.open.is_empty() {
                    return Err(self.error(XmlErrorKind::Outside));
                }
                return Ok(Some(Event::Text(Text::content(self.between(&before)))));
            } else if self.eat(b"<!") {
                let doctype = self.rest().starts_with(b"DOCTYPE");
                return Err(self.error(if doctype { XmlErrorKind::Doctype } else { XmlErrorKind::Syntax }));
            } else if self.eat(b"<?") {
                self.instruction()?;
            } else if self.eat(b"</") {
                self.end_tag()?;
                return Ok(Some(Event::End));
            } else if self.eat(b"<") {
                return self.start_tag().map(|element| Some(Event::Start(element)));
            } else if let Some(text) = self.character_data()? {
                return Ok(Some(Event::Text(text)));
            }
        }
    }

    /// To be called right after a `Start`: reads to the end of that element, which must have no
    /// child elements, and returns its character data.
    pub fn text(&mut self) -> Result<Text<'a>, XmlError> {
        let begin = self.reader;
        let mut content = Text::content(&[]);
        loop {
            match self.next_event()? {
                Some(Event::Text(_)) => content = Text::content(self.between(&begin)),
                Some(Event::End) => return Ok(content),
                Some(Event::Start(_)) => return Err(self.error(XmlErrorKind::NotText)),
                None => return Err(self.error(XmlErrorKind::Truncated)),
            }
        }
    }

    /// To be called right after a `Start`: reads to the end of that element.
    pub fn skip(&mut self) -> Result<(), XmlError> {
        let mut depth = 1usize;
        while depth > 0 {
            match self.next_event()? {
                Some(Event::Start(_)) => depth = depth.saturating_add(1),
                Some(Event::End) => depth = depth.saturating_sub(1),
                Some(Event::Text(_)) => {}
                None => break,
            }
        }
        Ok(())
    }

    /// The namespace that `prefix` stands for here; the empty prefix stands for the default one.
    /// `None` if the prefix is not declared, or there is no default namespace. Right after an
    /// `End` the declarations of the element that ended still hold.
    pub fn resolve(&self, prefix: &[u8]) -> Option<Text<'a>> {
        if prefix == b"xml" {
            return Some(XML_NAMESPACE);
        }
        self.binding(prefix).map(|binding| binding.namespace).filter(|namespace| !namespace.is_empty())
    }

    fn binding(&self, prefix: &[u8]) -> Option<&Binding<'a>> {
        self.bindings.iter().rev().find(|binding| binding.prefix == prefix)
    }

    /// `<?xml version="1.0" encoding="utf-8" standalone="yes"?>` (XML, 2.8).
    fn declaration(&mut self) -> Result<(), XmlError> {
        self.eat(b"<?xml");
        let version = self.attribute()?;
        if !version.is_some_and(|it| it.name == b"version" && is_version(it.value)) {
            return Err(self.error(XmlErrorKind::Syntax));
        }
        let mut next = self.attribute()?;
        if let Some(encoding) = next.filter(|it| it.name == b"encoding") {
            let known = [b"utf-8".as_slice(), b"us-ascii"];
            if !known.iter().any(|name| encoding.value.eq_ignore_ascii_case(name)) {
                return Err(self.error(XmlErrorKind::Encoding));
            }
            next = self.attribute()?;
        }
        if let Some(standalone) = next {
            if standalone.name != b"standalone" || !matches!(standalone.value, b"yes" | b"no") {
                return Err(self.error(XmlErrorKind::Syntax));
            }
            next = self.attribute()?;
        }
        if next.is_some() || !self.eat(b"?>") {
            return Err(self.error(XmlErrorKind::Syntax));
        }
        Ok(())
    }

    /// What follows `<!--` (XML, 2.5): two hyphens may only end it.
    fn comment(&mut self) -> Result<(), XmlError> {
        self.until(b"--")?;
        self.expect(b">")
    }

    /// What follows `<?` (XML, 2.6).
    fn instruction(&mut self) -> Result<(), XmlError> {
        let target = self.name()?;
        if target.eq_ignore_ascii_case(b"xml") {
            return Err(self.error(XmlErrorKind::Syntax));
        }
        if self.skip_space() { self.until(b"?>").map(|_| ()) } else { self.expect(b"?>") }
    }

    /// What follows `</` (XML, 3.1).
    fn end_tag(&mut self) -> Result<(), XmlError> {
        let name = self.name()?;
        self.skip_space();
        self.expect(b">")?;
        if self.open.last() != Some(&name) {
            return Err(self.error(XmlErrorKind::Mismatch));
        }
        self.pending = Pending::Close;
        Ok(())
    }

    /// What follows `<` (XML, 3.1; Namespaces in XML, 3 to 6).
    fn start_tag(&mut self) -> Result<Element<'a>, XmlError> {
        if self.open.is_empty() && self.root_seen {
            return Err(self.error(XmlErrorKind::Outside));
        }
        let name = self.name()?;
        let begin = self.reader;
        let mut attributes = Vec::<Attribute<'a>, MAX_ATTRIBUTES>::new();
        while let Some(attribute) = self.attribute()? {
            if attributes.iter().any(|other| other.name == attribute.name) {
                return Err(self.error(XmlErrorKind::DuplicateAttribute));
            }
            attributes.push(attribute).map_err(|_| self.error(XmlErrorKind::TooManyAttributes))?;
        }
        let raw = self.between(&begin);
        if self.eat(b"/") {
            self.pending = Pending::End;
        }
        self.expect(b">")?;

        self.open.push(name).map_err(|_| self.error(XmlErrorKind::TooDeep))?;
        self.root_seen = true;
        for attribute in &attributes {
            self.declare(attribute)?;
        }
        self.check_attribute_names(&attributes)?;
        Ok(Element { name: self.qualify(name)?, attributes: raw })
    }

    /// Takes an attribute for the namespace declaration that it may be.
    fn declare(&mut self, attribute: &Attribute<'a>) -> Result<(), XmlError> {
        let prefix = match attribute.name.strip_prefix(b"xmlns") {
            Some([]) => [].as_slice(),
            Some([b':', prefix @ ..]) => prefix,
            _ => return Ok(()),
        };
        let namespace = Text::attribute(attribute.value);
        // Namespaces in XML, 3: `xml` stands for its own namespace and nothing else does, `xmlns`
        // and its namespace are out of bounds; 5: only the default namespace can be undeclared.
        let is_xml = XML_NAMESPACE.bytes().eq(namespace.bytes());
        let undeclared = namespace.is_empty() && !prefix.is_empty();
        if undeclared || prefix == b"xmlns" || namespace.is(XMLNS_NAMESPACE) || is_xml != (prefix == b"xml") {
            return Err(self.error(XmlErrorKind::Prefix));
        }
        // Whatever is found here goes out of scope no sooner than this binding.
        let same = |other: &&Binding<'a>| other.namespace.bytes().eq(namespace.bytes());
        let number = self.bindings.iter().find(same).map_or(self.bindings.len(), |other| other.number);
        let depth = self.open.len();
        self.bindings
            .push(Binding { prefix, namespace, number, depth })
            .map_err(|_| self.error(XmlErrorKind::TooManyBindings))
    }

    /// Namespaces in XML, 6.3: no two attributes with the same local name and namespace.
    fn check_attribute_names(&self, attributes: &[Attribute<'a>]) -> Result<(), XmlError> {
        let mut seen = Vec::<_, MAX_ATTRIBUTES>::new();
        for attribute in attributes {
            let (prefix, local) = split_name(attribute.name);
            if prefix.is_empty() || prefix == b"xmlns" {
                continue;
            }
            // Nothing else can stand for the namespace of `xml`.
            let number = match prefix {
                b"xml" => None,
                _ => Some(self.binding(prefix).ok_or(self.error(XmlErrorKind::Prefix))?.number),
            };
            if seen.contains(&(number, local)) {
                return Err(self.error(XmlErrorKind::DuplicateAttribute));
            }
            // There are no more than attributes.
            let _ = seen.push((number, local));
        }
        Ok(())
    }

    fn qualify(&self, name: &'a [u8]) -> Result<Name<'a>, XmlError> {
        let (prefix, local) = split_name(name);
        let namespace = self.resolve(prefix);
        if namespace.is_none() && !prefix.is_empty() {
            return Err(self.error(XmlErrorKind::Prefix));
        }
        Ok(Name { namespace, local })
    }

    /// Ends the element open last, and the scope of what it declared.
    fn close(&mut self) {
        self.open.pop();
        let depth = self.open.len();
        while self.bindings.last().is_some_and(|binding| binding.depth > depth) {
            self.bindings.pop();
        }
    }

    /// Text up to the next markup (XML, 2.4); `None` for white space beside the root element.
    fn character_data(&mut self) -> Result<Option<Text<'a>>, XmlError> {
        let begin = self.reader;
        while self.rest().first().is_some_and(|&byte| byte != b'<') {
            self.advance(1);
        }
        let raw = self.between(&begin);
        if self.open.is_empty() {
            let blank = raw.iter().all(|&byte| is_space(byte));
            return if blank { Ok(None) } else { Err(self.error(XmlErrorKind::Outside)) };
        }
        if find(raw, b"]]>").is_some() {
            return Err(self.error(XmlErrorKind::Syntax));
        }
        self.check_references(raw)?;
        Ok(Some(Text::content(raw)))
    }

    /// White space and an attribute after it (XML, 3.1); `None` where the tag ends.
    fn attribute(&mut self) -> Result<Option<Attribute<'a>>, XmlError> {
        let spaced = self.skip_space();
        match self.rest().first() {
            None => return Err(self.error(XmlErrorKind::Truncated)),
            Some(b'>' | b'/' | b'?') => return Ok(None),
            Some(_) if !spaced => return Err(self.error(XmlErrorKind::Syntax)),
            Some(_) => {}
        }
        let name = self.name()?;
        self.skip_space();
        self.expect(b"=")?;
        self.skip_space();
        let value = if self.eat(b"\"") {
            self.until(b"\"")?
        } else {
            self.expect(b"'")?;
            self.until(b"'")?
        };
        if value.contains(&b'<') {
            return Err(self.error(XmlErrorKind::Syntax));
        }
        self.check_references(value)?;
        Ok(Some(Attribute { name, value }))
    }

    /// A name (XML, 2.3) with at most one colon inside (Namespaces in XML, 4).
    fn name(&mut self) -> Result<&'a [u8], XmlError> {
        let begin = self.reader;
        // Other bytes cannot be part of a name; which ones of these may is judged below.
        while self
            .rest()
            .first()
            .is_some_and(|&byte| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"_:-.".contains(&byte))
        {
            self.advance(1);
        }
        let name = self.between(&begin);
        if name.is_empty() && self.rest().is_empty() {
            return Err(self.error(XmlErrorKind::Truncated));
        }
        let (prefix, local) = split_name(name);
        let prefixed = name.contains(&b':');
        if !is_simple_name(local) || prefixed && !is_simple_name(prefix) {
            return Err(self.error(XmlErrorKind::Name));
        }
        Ok(name)
    }

    fn check_references(&self, raw: &[u8]) -> Result<(), XmlError> {
        let mut rest = raw;
        while let Some((&first, tail)) = rest.split_first() {
            rest = tail;
            if first == b'&' {
                let (character, tail) = reference(tail).ok_or(self.error(XmlErrorKind::Reference))?;
                // XML, 4.1: what is referred to must be a character that could stand there.
                if !is_char(character) {
                    return Err(self.error(XmlErrorKind::Character));
                }
                rest = tail;
            }
        }
        Ok(())
    }

    fn rest(&self) -> &'a [u8] {
        self.reader.rest()
    }

    /// The bytes from where the reader stood to where it stands.
    fn between(&self, begin: &Reader<'a>) -> &'a [u8] {
        let len = self.reader.offset().saturating_sub(begin.offset());
        begin.rest().get(..len).unwrap_or_default()
    }

    fn advance(&mut self, len: usize) {
        // Callers have seen these bytes, so they are there.
        let _ = self.reader.take(len);
    }

    fn eat(&mut self, expected: &[u8]) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.advance(expected.len());
        }
        found
    }

    fn expect(&mut self, expected: &[u8]) -> Result<(), XmlError> {
        if self.eat(expected) {
            return Ok(());
        }
        let truncated = expected.starts_with(self.rest());
        Err(self.error(if truncated { XmlErrorKind::Truncated } else { XmlErrorKind::Syntax }))
    }

    /// Takes everything before `stop`, and `stop`.
    fn until(&mut self, stop: &[u8]) -> Result<&'a [u8], XmlError> {
        let len = find(self.rest(), stop).ok_or(self.error(XmlErrorKind::Truncated))?;
        let taken = self.reader.take(len).unwrap_or_default();
        self.advance(stop.len());
        Ok(taken)
    }

    fn skip_space(&mut self) -> bool {
        let begin = self.reader.offset();
        while self.rest().first().is_some_and(|&byte| is_space(byte)) {
            self.advance(1);
        }
        self.reader.offset() != begin
    }

    fn error(&self, kind: XmlErrorKind) -> XmlError {
        XmlError { kind, offset: self.reader.offset() }
    }
}

impl<'a> Element<'a> {
    /// The value of the attribute that is written exactly `name`.
    pub fn attribute(&self, name: &[u8]) -> Option<Text<'a>> {
        self.attributes().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The attributes as they are written, prefix and all, with their values.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a [u8], Text<'a>)> + use<'a> {
        // The tag was checked when it was read, so this ends where the tag does.
        let mut xml = Tokenizer {
            reader: Reader::new(self.attributes),
            open: Vec::new(),
            bindings: Vec::new(),
            pending: Pending::Nothing,
            root_seen: false,
        };
        core::iter::from_fn(move || {
            let attribute = xml.attribute().ok().flatten()?;
            Some((attribute.name, Text::attribute(attribute.value)))
        })
    }
}

impl Name<'_> {
    /// Whether this is the name `local` in `namespace`.
    pub fn is(&self, namespace: &[u8], local: &[u8]) -> bool {
        self.local == local && self.namespace.is_some_and(|it| it.is(namespace))
    }
}

/// The prefix, empty if there is none, and the local part.
fn split_name(name: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = find(name, b":") else { return (&[], name) };
    match name.split_at_checked(colon) {
        Some((prefix, [_, local @ ..])) => (prefix, local),
        _ => (&[], name),
    }
}

/// A name without a colon (Namespaces in XML, 3).
fn is_simple_name(name: &[u8]) -> bool {
    let Ok(name) = core::str::from_utf8(name) else { return false };
    let mut characters = name.chars();
    characters.next().is_some_and(is_name_start) && characters.all(is_name_character)
}

/// XML, 2.3, production 4 without the colon.
fn is_name_start(character: char) -> bool {
    matches!(character,
        'A'..='Z' | '_' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}'
        | '\u{f8}'..='\u{2ff}' | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}'
        | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}'
        | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

/// XML, 2.3, production 4a without the colon.
fn is_name_character(character: char) -> bool {
    is_name_start(character)
        || matches!(character,
            '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// XML, 2.8, production 26.
fn is_version(value: &[u8]) -> bool {
    value.strip_prefix(b"1.").is_some_and(|minor| !minor.is_empty() && minor.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::String;
    use std::vec::Vec;

    use super::*;

    /// Everything a document says, as `<namespace|local`, `>` and `"text"`.
    fn read(document: &str) -> Result<String, XmlErrorKind> {
        read_bytes(document.as_bytes())
    }

    fn read_bytes(document: &[u8]) -> Result<String, XmlErrorKind> {
        let string = |text: Text<'_>| String::from_utf8(text.bytes().collect()).unwrap();
        let mut out = String::new();
        let mut xml = Tokenizer::new(document).map_err(|error| error.kind)?;
        while let Some(event) = xml.next_event().map_err(|error| error.kind)? {
            match event {
                Event::Start(element) => {
                    out += "<";
                    if let Some(namespace) = element.name.namespace {
                        out += &string(namespace);
                        out += "|";
                    }
                    out += core::str::from_utf8(element.name.local).unwrap();
                    for (name, value) in element.attributes() {
                        out += " ";
                        out += core::str::from_utf8(name).unwrap();
                        out += "=";
                        out += &string(value);
                    }
                }
                Event::End => out += ">",
                Event::Text(text) => {
                    out += "\"";
                    out += &string(text);
                    out += "\"";
                }
            }
        }
        Ok(out)
    }

    #[test]
    fn documents_that_are_well_formed() {
        let cases = [
            ("<a/>", "<a>"),
            ("\u{feff}<?xml version=\"1.0\" encoding='UTF-8' standalone='yes' ?>\n<a></a >\n", "<a>"),
            ("<a>x<!-- y - z -->w<?p q?><?p?></a><!----><?p ?>", "<a\"x\"\"w\">"),
            ("<a>&lt;&#65;&#x000042;&amp;&gt;&quot;&apos;&#x1F600;</a>", "<a\"<AB&>\"'\u{1f600}\">"),
            ("<a><![CDATA[<b>&amp;]]]]><![CDATA[>]]></a>", "<a\"<b>&amp;]]\"\">\">"),
            ("<a>1\r\n2\r3\n\r</a>", "<a\"1\n2\n3\n\n\">"),
            ("<a b = '&lt;\r\n\t\n' c=\"'>/\"/>", "<a b=<    c='>/>"),
            (
                "<a xmlns='u'><b xmlns=''/><p:c xmlns:p='v'/><b/></a>",
                "<u|a xmlns=u<b xmlns=><v|c xmlns:p=v><u|b>>",
            ),
            ("<p:a xmlns:p='u&amp;v' p:x='1' x='2'/>", "<u&v|a xmlns:p=u&v p:x=1 x=2>"),
            ("<a xml:lang='en'/>", "<a xml:lang=en>"),
            (
                "<a xmlns:p='u' xmlns:q='u'><b xmlns:q='v' p:c='1' q:c='2' xml:c='3'/></a>",
                "<a xmlns:p=u xmlns:q=u<b xmlns:q=v p:c=1 q:c=2 xml:c=3>>",
            ),
            ("<\u{e9}l\u{e9}ment/>", "<\u{e9}l\u{e9}ment>"),
        ];
        for (document, said) in cases {
            assert_eq!(read(document).as_deref(), Ok(said), "{document}");
        }
    }

    #[test]
    fn documents_that_are_not() {
        use XmlErrorKind::*;
        let cases = [
            ("", Outside),
            ("  ", Outside),
            ("x<a/>", Outside),
            ("<a/>x", Outside),
            ("<a/><b/>", Outside),
            ("<![CDATA[]]><a/>", Outside),
            ("<a", Truncated),
            ("<a>", Truncated),
            ("<a b='", Truncated),
            ("<a><!-- ", Truncated),
            ("<a/><", Outside),
            ("<a/><?p", Truncated),
            ("<a><b></a></b>", Mismatch),
            ("</a>", Mismatch),
            ("<!DOCTYPE a><a/>", Doctype),
            ("<a><!ELEMENT></a>", Syntax),
            ("<a><!-- -- --></a>", Syntax),
            ("<a><!-- ---></a>", Syntax),
            ("<a b='1'c='2'/>", Syntax),
            ("<a b=1/>", Syntax),
            ("<a b/>", Syntax),
            ("<a b='<'/>", Syntax),
            ("<a/ >", Syntax),
            ("<a?>", Syntax),
            ("<a>]]></a>", Syntax),
            (" <?xml version='1.0'?><a/>", Syntax),
            ("<?xml version='2.0'?><a/>", Syntax),
            ("<?xml encoding='utf-8'?><a/>", Syntax),
            ("<?xml version='1.0' encoding='utf-16'?><a/>", Encoding),
            ("< a/>", Name),
            ("<1/>", Name),
            ("<a:/>", Name),
            ("<:a/>", Name),
            ("<a:b:c/>", Name),
            ("<\u{d7}/>", Name),
            ("<a>\u{1}</a>", Character),
            ("<a>\u{ffff}</a>", Character),
            ("<a>&nbsp;</a>", Reference),
            ("<a>&</a>", Reference),
            ("<a>&#0;</a>", Character),
            ("<a>&#;</a>", Reference),
            ("<a>&#xd800;</a>", Reference),
            ("<a>&#99999999999;</a>", Reference),
            ("<a b='&x;'/>", Reference),
            ("<a b='' b=''/>", DuplicateAttribute),
            ("<a xmlns:p='u' xmlns:q='u' p:b='' q:b=''/>", DuplicateAttribute),
            ("<a xmlns:p='u'><b xmlns:q='v'/><b xmlns:q='&#117;' q:b='' p:b=''/></a>", DuplicateAttribute),
            ("<a xml:b='' xml:b=''/>", DuplicateAttribute),
            ("<p:a/>", Prefix),
            ("<a p:b=''/>", Prefix),
            ("<a><p:b xmlns:p='u'/><p:b/></a>", Prefix),
            ("<a xmlns:p=''/>", Prefix),
            ("<a xmlns:xml='u'/>", Prefix),
            ("<a xmlns:xmlns='u'/>", Prefix),
            ("<a xmlns='http://www.w3.org/2000/xmlns/'/>", Prefix),
        ];
        for (document, kind) in cases {
            assert_eq!(read(document), Err(kind), "{document}");
        }
        assert_eq!(read_bytes(b"<a>\xff</a>"), Err(Encoding));
    }

    #[test]
    fn bounds() {
        let nested = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(read(&nested(MAX_DEPTH + 1)), Err(XmlErrorKind::TooDeep));
        assert_eq!(read(&"<a>".repeat(10_000)), Err(XmlErrorKind::TooDeep));

        let list = |name: &str, count: usize| {
            (0..count).map(|i| std::format!(" {name}{i}='u'")).collect::<Vec<_>>().concat()
        };
        assert!(read(&std::format!("<a{}/>", list("b", MAX_ATTRIBUTES))).is_ok());
        assert_eq!(
            read(&std::format!("<a{}/>", list("b", MAX_ATTRIBUTES + 1))),
            Err(XmlErrorKind::TooManyAttributes)
        );
        let declare = |count| std::format!("<a{}><b{}/></a>", list("xmlns:a", 12), list("xmlns:b", count));
        assert!(read(&declare(12)).is_ok());
        assert_eq!(read(&declare(13)), Err(XmlErrorKind::TooManyBindings));
        let siblings = "<b xmlns='u'/>".repeat(1_000);
        assert!(read(&std::format!("<a>{siblings}</a>")).is_ok());

        let long = |len: usize| std::format!("<a>{}</a>", "x".repeat(len - 7));
        assert!(read(&long(MAX_DOCUMENT_BYTES)).is_ok());
        assert_eq!(read(&long(MAX_DOCUMENT_BYTES + 1)), Err(XmlErrorKind::TooLong));
    }

    #[test]
    fn tokens_pass_over_what_is_not_text() {
        let document = b"<a> one\n t<!-- -->w<![CDATA[o thr]]>e&#101;<?x y?>\t<!-- --> </a>";
        let mut xml = Tokenizer::new(document).unwrap();
        assert!(matches!(xml.next_event(), Ok(Some(Event::Start(_)))));
        let text = xml.text().unwrap();
        assert!(matches!(xml.next_event(), Ok(None)));

        let mut tokens = text.tokens();
        let mut buf = [0; 4];
        assert_eq!(tokens.next_token(&mut buf), Some(Ok(&b"one"[..])));
        assert_eq!(tokens.next_token(&mut buf), Some(Ok(&b"two"[..])));
        assert_eq!(tokens.next_token(&mut buf), Some(Err(TokenTooLong)));
        assert_eq!(tokens.next_token(&mut buf), None);
        assert_eq!(text.only_token::<8>(), None);
    }

    #[test]
    fn leaves_and_what_is_skipped() {
        let mut xml = Tokenizer::new(b"<a><b/><c><d/>x<d>y</d></c><e>z</e><f><g/></f></a>").unwrap();
        let start = |xml: &mut Tokenizer<'static>| match xml.next_event() {
            Ok(Some(Event::Start(element))) => element,
            other => panic!("{other:?}"),
        };
        start(&mut xml);
        start(&mut xml);
        assert!(xml.text().unwrap().is(b""));
        assert_eq!(start(&mut xml).name.local, b"c");
        xml.skip().unwrap();
        assert_eq!(start(&mut xml).name.local, b"e");
        assert_eq!(xml.text().unwrap().only_token::<1>().as_deref(), Some(&b"z"[..]));
        start(&mut xml);
        assert_eq!(xml.text().map(|_| ()).map_err(|error| error.kind), Err(XmlErrorKind::NotText));
    }
}
