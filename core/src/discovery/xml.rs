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
use crate::bytes::split_byte;

/// Bytes of a document (fact 29: datagrams of up to 32 KiB are accepted).
pub const MAX_DOCUMENT_BYTES: usize = 32 * 1_024;

/// Elements open at the same time; a discovery message has 6.
pub const MAX_DEPTH: usize = 16;

/// Attributes of one element, namespace declarations included; a discovery message has 4.
pub const MAX_ATTRIBUTES: usize = 16;

/// Namespace declarations in scope at the same time; a discovery message has 4.
pub const MAX_BINDINGS: usize = 24;

/// The namespace that the prefix `xml` stands for (Namespaces in XML, 3).
const XML_NAMESPACE: &[u8] = b"http://www.w3.org/XML/1998/namespace";

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
    document: &'a [u8],
    /// Bytes that have been read.
    at: usize,
    /// Where the piece that was read last begins.
    begin: usize,
    /// The names of the open elements as they are written, outermost first.
    open: Vec<&'a [u8], MAX_DEPTH>,
    /// The namespace declarations in scope, innermost last.
    bindings: Vec<Binding<'a>, MAX_BINDINGS>,
    pending: Pending,
    root_seen: bool,
    /// The start tag that was read last.
    element: Element<'a>,
    /// What is wrong, once something is.
    wrong: XmlErrorKind,
}

/// The kind of a piece, which the tokenizer keeps itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Start,
    End,
    Text,
    /// The whole document has been read and found well-formed.
    Over,
}

/// What is left to do about the piece that was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Nothing,
    /// It was an empty-element tag, so an end comes next.
    End,
    /// It was an end: the element and what it declared go out of scope with the next piece.
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

#[derive(Clone, Copy, Default)]
struct Attribute<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Tokenizer<'a> {
    /// Begins with `document`: checks its size, its characters and its XML declaration.
    pub fn new(document: &'a [u8]) -> Result<Self, XmlError> {
        let mut xml = Self::over(document);
        match xml.check() {
            Some(()) => Ok(xml),
            None => Err(xml.error()),
        }
    }

    /// The next piece; `None` once the whole document has been read and found well-formed.
    ///
    /// After an error the tokenizer is of no further use.
    pub fn next_event(&mut self) -> Result<Option<Event<'a>>, XmlError> {
        match self.step() {
            Some(Step::Start) => Ok(Some(Event::Start(self.element))),
            Some(Step::End) => Ok(Some(Event::End)),
            Some(Step::Text) => Ok(Some(Event::Text(Text::content(self.since(self.begin))))),
            Some(Step::Over) => Ok(None),
            None => Err(self.error()),
        }
    }

    /// To be called right after a `Start`: reads to the end of that element, which must have no
    /// child elements, and returns its character data.
    pub fn text(&mut self) -> Result<Text<'a>, XmlError> {
        self.leaf().ok_or_else(|| self.error())
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
            return Some(Text::attribute(XML_NAMESPACE));
        }
        self.binding(prefix).map(|binding| binding.namespace).filter(|namespace| !namespace.is_empty())
    }

    // What follows returns `None` for a document that is refused, and leaves the reason in `wrong`:
    // an error that is handed up through every call would be many times the code.

    /// Reads `document`, which is to be [checked](Self::check) first.
    pub(super) const fn over(document: &'a [u8]) -> Self {
        Self {
            document,
            at: 0,
            begin: 0,
            open: Vec::new(),
            bindings: Vec::new(),
            pending: Pending::Nothing,
            root_seen: false,
            element: Element { name: Name { namespace: None, local: &[] }, attributes: &[] },
            wrong: XmlErrorKind::Syntax,
        }
    }

    /// Checks size and characters of the document, and reads its XML declaration.
    pub(super) fn check(&mut self) -> Option<()> {
        if self.document.len() > MAX_DOCUMENT_BYTES {
            return self.fail(XmlErrorKind::TooLong);
        }
        let Ok(text) = core::str::from_utf8(self.document) else { return self.fail(XmlErrorKind::Encoding) };
        self.eat(b"\xef\xbb\xbf");
        if !text.chars().all(is_char) {
            return self.fail(XmlErrorKind::Character);
        }
        let begin = self.at;
        if self.eat(b"<?xml") && is_space(self.peek()) {
            return self.declaration();
        }
        self.at = begin;
        Some(())
    }

    /// Reads the next piece.
    pub(super) fn step(&mut self) -> Option<Step> {
        match core::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Nothing => {}
            Pending::End => {
                self.pending = Pending::Close;
                return Some(Step::End);
            }
            Pending::Close => self.close(),
        }
        loop {
            self.begin = self.at;
            if self.rest().is_empty() {
                return match (self.open.is_empty(), self.root_seen) {
                    (false, _) => self.fail(XmlErrorKind::Truncated),
                    (true, false) => self.fail(XmlErrorKind::Outside),
                    (true, true) => Some(Step::Over),
                };
            } else if self.eat(b"<!--") {
                // XML, 2.5: two hyphens may only end a comment.
                self.until(b"--")?;
                self.expect(b">")?;
            } else if self.eat(b"<![CDATA[") {
                self.until(b"]]>")?;
                if self.open.is_empty() {
                    return self.fail(XmlErrorKind::Outside);
                }
                return Some(Step::Text);
            } else if self.eat(b"<!") {
                let doctype = self.eat(b"DOCTYPE");
                return self.fail(if doctype { XmlErrorKind::Doctype } else { XmlErrorKind::Syntax });
            } else if self.eat(b"<?") {
                self.instruction()?;
            } else if self.eat(b"</") {
                return self.end_tag();
            } else if self.eat(b"<") {
                return self.start_tag();
            } else if self.open.is_empty() {
                // Beside the root element there is white space alone.
                if !self.skip_space() {
                    return self.fail(XmlErrorKind::Outside);
                }
            } else {
                self.scan(b'<')?;
                return Some(Step::Text);
            }
        }
    }

    /// As [`text`](Self::text).
    pub(super) fn leaf(&mut self) -> Option<Text<'a>> {
        let begin = self.at;
        let mut end = begin;
        loop {
            match self.step()? {
                Step::Text => end = self.at,
                Step::End => return Some(Text::content(self.document.get(begin..end).unwrap_or_default())),
                Step::Start => return self.fail(XmlErrorKind::NotText),
                Step::Over => return self.fail(XmlErrorKind::Truncated),
            }
        }
    }

    /// The start tag that was read last.
    pub(super) const fn element(&self) -> &Element<'a> {
        &self.element
    }

    /// Why the document is refused, once it is.
    pub(super) const fn error(&self) -> XmlError {
        XmlError { kind: self.wrong, offset: self.at }
    }

    fn binding(&self, prefix: &[u8]) -> Option<&Binding<'a>> {
        self.bindings.iter().rev().find(|binding| binding.prefix == prefix)
    }

    /// What follows `<?xml`: `version="1.0" encoding="utf-8" standalone="yes"?>` (XML, 2.8).
    fn declaration(&mut self) -> Option<()> {
        const NAMES: [&[u8]; 3] = [b"version", b"encoding", b"standalone"];
        let mut attribute = Attribute::default();
        let mut next = 0;
        while self.attribute(&mut attribute)? {
            let Attribute { name, value } = attribute;
            // In this order; the first one must be there, and no other.
            let place = NAMES.iter().position(|it| *it == name).unwrap_or(0);
            if place < next || (place == 0) != (next == 0) || NAMES.get(place) != Some(&name) {
                return self.fail(XmlErrorKind::Syntax);
            }
            let (good, wrong) = match place {
                0 => (is_version(value), XmlErrorKind::Syntax),
                1 => (is_encoding(value), XmlErrorKind::Encoding),
                _ => (matches!(value, b"yes" | b"no"), XmlErrorKind::Syntax),
            };
            if !good {
                return self.fail(wrong);
            }
            next = place.saturating_add(1);
        }
        if next == 0 || !self.eat(b"?>") {
            return self.fail(XmlErrorKind::Syntax);
        }
        Some(())
    }

    /// What follows `<?` (XML, 2.6).
    fn instruction(&mut self) -> Option<()> {
        if self.name()?.eq_ignore_ascii_case(b"xml") {
            return self.fail(XmlErrorKind::Syntax);
        }
        if self.skip_space() { self.until(b"?>") } else { self.expect(b"?>") }
    }

    /// What follows `</` (XML, 3.1).
    fn end_tag(&mut self) -> Option<Step> {
        let name = self.name()?;
        self.skip_space();
        self.expect(b">")?;
        if self.open.last() != Some(&name) {
            return self.fail(XmlErrorKind::Mismatch);
        }
        self.pending = Pending::Close;
        Some(Step::End)
    }

    /// What follows `<` (XML, 3.1; Namespaces in XML, 3 to 6).
    #[inline(never)]
    fn start_tag(&mut self) -> Option<Step> {
        if self.open.is_empty() && self.root_seen {
            return self.fail(XmlErrorKind::Outside);
        }
        let name = self.name()?;
        let begin = self.at;
        let mut attributes = Vec::<Attribute<'a>, MAX_ATTRIBUTES>::new();
        let mut attribute = Attribute::default();
        while self.attribute(&mut attribute)? {
            if attributes.push(attribute).is_err() {
                return self.fail(XmlErrorKind::TooManyAttributes);
            }
        }
        let raw = self.since(begin);
        if self.eat(b"/") {
            self.pending = Pending::End;
        }
        self.expect(b">")?;

        if self.open.push(name).is_err() {
            return self.fail(XmlErrorKind::TooDeep);
        }
        self.root_seen = true;
        for attribute in &attributes {
            self.declare(attribute)?;
        }
        self.check_attribute_names(&attributes)?;
        let (prefix, local) = split_name(name);
        let namespace = self.resolve(prefix);
        if namespace.is_none() && !prefix.is_empty() {
            return self.fail(XmlErrorKind::Prefix);
        }
        self.element = Element { name: Name { namespace, local }, attributes: raw };
        Some(Step::Start)
    }

    /// Takes an attribute for the namespace declaration that it may be.
    #[inline(never)]
    fn declare(&mut self, attribute: &Attribute<'a>) -> Option<()> {
        let prefix = match attribute.name.strip_prefix(b"xmlns") {
            Some([]) => [].as_slice(),
            Some([b':', prefix @ ..]) => prefix,
            _ => return Some(()),
        };
        let namespace = Text::attribute(attribute.value);
        // Namespaces in XML, 3: `xml` stands for its own namespace and nothing else does, `xmlns`
        // and its namespace are out of bounds; 5: only the default namespace can be undeclared.
        let is_xml = namespace.is(XML_NAMESPACE);
        let undeclared = namespace.is_empty() && !prefix.is_empty();
        if undeclared || prefix == b"xmlns" || namespace.is(XMLNS_NAMESPACE) || is_xml != (prefix == b"xml") {
            return self.fail(XmlErrorKind::Prefix);
        }
        // Whatever is found here goes out of scope no sooner than this binding.
        let same = |other: &&Binding<'a>| other.namespace.bytes().eq(namespace.bytes());
        let number = self.bindings.iter().find(same).map_or(self.bindings.len(), |other| other.number);
        let depth = self.open.len();
        if self.bindings.push(Binding { prefix, namespace, number, depth }).is_err() {
            return self.fail(XmlErrorKind::TooManyBindings);
        }
        Some(())
    }

    /// XML, 3.1: no two attributes with the same name; Namespaces in XML, 6.3: nor with the same local
    /// name and namespace.
    #[inline(never)]
    fn check_attribute_names(&mut self, attributes: &[Attribute<'a>]) -> Option<()> {
        let mut seen = Vec::<_, MAX_ATTRIBUTES>::new();
        for attribute in attributes {
            let (prefix, local) = split_name(attribute.name);
            // Nothing but `xml` can stand for its namespace, nor anything for that of `xmlns`.
            let number = match prefix {
                b"" => usize::MAX,
                b"xml" => usize::MAX - 1,
                b"xmlns" => usize::MAX - 2,
                _ => match self.binding(prefix) {
                    Some(binding) => binding.number,
                    None => return self.fail(XmlErrorKind::Prefix),
                },
            };
            if seen.contains(&(number, local)) {
                return self.fail(XmlErrorKind::DuplicateAttribute);
            }
            // There are no more than attributes.
            let _ = seen.push((number, local));
        }
        Some(())
    }

    /// Ends the element open last, and the scope of what it declared.
    fn close(&mut self) {
        self.open.pop();
        let depth = self.open.len();
        while self.bindings.last().is_some_and(|binding| binding.depth > depth) {
            self.bindings.pop();
        }
    }

    /// White space and an attribute after it (XML, 3.1); `false` where the tag ends.
    #[inline(never)]
    fn attribute(&mut self, attribute: &mut Attribute<'a>) -> Option<bool> {
        let spaced = self.skip_space();
        match self.peek() {
            END => return self.fail(XmlErrorKind::Truncated),
            b'>' | b'/' | b'?' => return Some(false),
            _ if !spaced => return self.fail(XmlErrorKind::Syntax),
            _ => {}
        }
        attribute.name = self.name()?;
        self.skip_space();
        self.expect(b"=")?;
        self.skip_space();
        let quote = if self.peek() == b'"' { b'"' } else { b'\'' };
        self.expect(&[quote])?;
        let begin = self.at;
        self.scan(quote)?;
        attribute.value = self.since(begin);
        self.expect(&[quote])?;
        Some(true)
    }

    /// A name (XML, 2.3) with at most one colon inside (Namespaces in XML, 4).
    #[inline(never)]
    fn name(&mut self) -> Option<&'a [u8]> {
        let begin = self.at;
        // Other bytes cannot be part of a name; which ones of these may is judged below.
        while matches!(self.peek(), b'0'..=b':' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'-' | b'.' | 0x80..) {
            self.advance(1);
        }
        let name = self.since(begin);
        if name.is_empty() && self.rest().is_empty() {
            return self.fail(XmlErrorKind::Truncated);
        }
        if !is_name(name) {
            return self.fail(XmlErrorKind::Name);
        }
        Some(name)
    }

    /// Reads up to `stop`, or to the end: character data (XML, 2.4) or the value of an attribute.
    #[inline(never)]
    fn scan(&mut self, stop: u8) -> Option<()> {
        loop {
            match self.peek() {
                END => return Some(()),
                byte if byte == stop => return Some(()),
                b'<' => return self.fail(XmlErrorKind::Syntax),
                b']' if stop == b'<' && self.rest().starts_with(b"]]>") => {
                    return self.fail(XmlErrorKind::Syntax);
                }
                b'&' => {
                    let before = self.rest();
                    let Some((character, tail)) = before.get(1..).and_then(reference) else {
                        return self.fail(XmlErrorKind::Reference);
                    };
                    // XML, 4.1: what is referred to must be a character that could stand there.
                    if !is_char(character) {
                        return self.fail(XmlErrorKind::Character);
                    }
                    self.advance(before.len().saturating_sub(tail.len()));
                }
                _ => self.advance(1),
            }
        }
    }

    #[inline(never)]
    fn rest(&self) -> &'a [u8] {
        self.document.get(self.at..).unwrap_or_default()
    }

    /// The next byte, or [`END`].
    #[inline(never)]
    fn peek(&self) -> u8 {
        self.document.get(self.at).copied().unwrap_or(END)
    }

    /// The bytes from `begin` to where the tokenizer stands.
    #[inline(never)]
    fn since(&self, begin: usize) -> &'a [u8] {
        self.document.get(begin..self.at).unwrap_or_default()
    }

    /// Takes `len` bytes, which have been seen.
    const fn advance(&mut self, len: usize) {
        self.at = self.at.saturating_add(len);
    }

    #[inline(never)]
    fn eat(&mut self, expected: &[u8]) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.advance(expected.len());
        }
        found
    }

    #[inline(never)]
    fn expect(&mut self, expected: &[u8]) -> Option<()> {
        if self.eat(expected) {
            return Some(());
        }
        let truncated = expected.starts_with(self.rest());
        self.fail(if truncated { XmlErrorKind::Truncated } else { XmlErrorKind::Syntax })
    }

    /// Takes everything before `stop`, and `stop`.
    #[inline(never)]
    fn until(&mut self, stop: &[u8]) -> Option<()> {
        match find(self.rest(), stop) {
            Some(len) => self.advance(len.saturating_add(stop.len())),
            None => return self.fail(XmlErrorKind::Truncated),
        }
        Some(())
    }

    #[inline(never)]
    fn skip_space(&mut self) -> bool {
        let begin = self.at;
        while is_space(self.peek()) {
            self.advance(1);
        }
        self.at != begin
    }

    const fn fail<T>(&mut self, kind: XmlErrorKind) -> Option<T> {
        self.wrong = kind;
        None
    }
}

/// What stands behind the last byte: no character of XML is this one.
const END: u8 = 0;

impl<'a> Element<'a> {
    /// The value of the attribute that is written exactly `name`.
    pub fn attribute(&self, name: &[u8]) -> Option<Text<'a>> {
        self.attributes().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The attributes as they are written, prefix and all, with their values.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a [u8], Text<'a>)> + use<'a> {
        // The tag was checked when it was read, so this ends where the tag does.
        let mut xml = Tokenizer::over(self.attributes);
        core::iter::from_fn(move || {
            let mut attribute = Attribute::default();
            xml.attribute(&mut attribute)?.then(|| (attribute.name, Text::attribute(attribute.value)))
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
pub(super) fn split_name(name: &[u8]) -> (&[u8], &[u8]) {
    split_byte(name, b':').unwrap_or((&[], name))
}

/// A name with no more than one colon, which stands between two names (Namespaces in XML, 4).
fn is_name(name: &[u8]) -> bool {
    let Ok(name) = core::str::from_utf8(name) else { return false };
    let (mut colons, mut begins) = (0u32, true);
    for character in name.chars() {
        if character == ':' && !begins {
            (colons, begins) = (colons.saturating_add(1), true);
        } else if is_one_of(&NAME_START, character) || !begins && is_one_of(&NAME_CHARACTER, character) {
            begins = false;
        } else {
            return false;
        }
    }
    !begins && colons <= 1
}

/// XML, 2.3, production 4 without the colon; and from 10000 on, all up to EFFFF.
const NAME_START: [(u16, u16); 14] = [
    (0x41, 0x5a),
    (0x5f, 0x5f),
    (0x61, 0x7a),
    (0xc0, 0xd6),
    (0xd8, 0xf6),
    (0xf8, 0x2ff),
    (0x370, 0x37d),
    (0x37f, 0x1fff),
    (0x200c, 0x200d),
    (0x2070, 0x218f),
    (0x2c00, 0x2fef),
    (0x3001, 0xd7ff),
    (0xf900, 0xfdcf),
    (0xfdf0, 0xfffd),
];

/// XML, 2.3, production 4a: what else may follow.
const NAME_CHARACTER: [(u16, u16); 5] =
    [(0x2d, 0x2e), (0x30, 0x39), (0xb7, 0xb7), (0x300, 0x36f), (0x203f, 0x2040)];

fn is_one_of(ranges: &[(u16, u16)], character: char) -> bool {
    match u16::try_from(u32::from(character)) {
        Ok(code) => ranges.iter().any(|(first, last)| (*first..=*last).contains(&code)),
        Err(_) => character <= '\u{effff}',
    }
}

/// Encodings of which UTF-8 is one, or all.
fn is_encoding(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"utf-8") || value.eq_ignore_ascii_case(b"us-ascii")
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
