//! Character data of XML 1.0, decoded while it is read: the half of [`xml`](super::xml) that looks
//! at what the tokenizer has found well-formed.

use heapless::Vec;

use crate::bytes::hex_value;

/// Character data that has been checked: text, references, CDATA sections, and comments and
/// processing instructions, which count for nothing. Or the value of an attribute.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    raw: &'a [u8],
    attribute: bool,
}

/// A token that does not fit the buffer lent for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenTooLong;

impl<'a> Text<'a> {
    pub(super) const fn content(raw: &'a [u8]) -> Self {
        Self { raw, attribute: false }
    }

    pub(super) const fn attribute(raw: &'a [u8]) -> Self {
        Self { raw, attribute: true }
    }

    /// As it stands in the document.
    pub(super) const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether there is nothing at all, not even markup.
    pub(super) const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The characters in UTF-8, decoded: references replaced, line ends made one line feed.
    pub fn bytes(&self) -> Bytes<'a> {
        Bytes { rest: self.raw, attribute: self.attribute, cdata: false, character: 0, left: 0 }
    }

    /// The tokens between white space.
    pub fn tokens(&self) -> Tokens<'a> {
        Tokens { bytes: self.bytes() }
    }

    /// Whether the decoded characters are exactly `expected`.
    #[inline(never)]
    pub fn is(&self, expected: &[u8]) -> bool {
        self.bytes().eq(expected.iter().copied())
    }

    /// The only token, in at most `N` bytes; `None` if there is none or another.
    pub fn only_token<const N: usize>(&self) -> Option<Vec<u8, N>> {
        let mut buf = [0; N];
        Vec::from_slice(self.only_token_in(&mut buf)?).ok()
    }

    /// The only token, in `buf`.
    pub(super) fn only_token_in<'b>(&self, buf: &'b mut [u8]) -> Option<&'b [u8]> {
        let mut tokens = self.tokens();
        let token = tokens.next_token(buf)?.ok()?;
        tokens.next_token(&mut []).is_none().then_some(token)
    }
}

/// The decoded bytes of a [`Text`].
#[derive(Clone, Debug)]
pub struct Bytes<'a> {
    rest: &'a [u8],
    attribute: bool,
    cdata: bool,
    /// What a reference stands for, and how many bytes of it are still to come.
    character: u32,
    left: u32,
}

impl Iterator for Bytes<'_> {
    type Item = u8;

    #[inline(never)]
    fn next(&mut self) -> Option<u8> {
        #[cfg(test)]
        work::count();
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            return Some(0x80 | (self.character >> (6 * left)) as u8 & 0x3f);
        }
        loop {
            if self.cdata
                && let Some(tail) = self.rest.strip_prefix(b"]]>")
            {
                self.rest = tail;
                self.cdata = false;
                continue;
            }
            let (&first, tail) = self.rest.split_first()?;
            self.rest = tail;
            match first {
                b'<' if !self.cdata => self.markup(tail)?,
                b'&' if !self.cdata => {
                    let (character, tail) = reference(tail)?;
                    self.rest = tail;
                    return Some(self.decoded(character));
                }
                // XML, 2.11: a line ends in one line feed; 3.3.3: and in an attribute, in a space.
                b'\r' | b'\n' | b'\t' if self.attribute => {
                    if first == b'\r' {
                        self.rest = tail.strip_prefix(b"\n").unwrap_or(tail);
                    }
                    return Some(b' ');
                }
                b'\r' => {
                    self.rest = tail.strip_prefix(b"\n").unwrap_or(tail);
                    return Some(b'\n');
                }
                _ => return Some(first),
            }
        }
    }
}

impl<'a> Bytes<'a> {
    /// Steps into a CDATA section, or over a comment or a processing instruction.
    fn markup(&mut self, tail: &'a [u8]) -> Option<()> {
        if let Some(tail) = tail.strip_prefix(b"![CDATA[") {
            self.cdata = true;
            self.rest = tail;
            return Some(());
        }
        let (body, stop) = match tail.strip_prefix(b"!--") {
            Some(comment) => (comment, b"-->".as_slice()),
            None => (tail.strip_prefix(b"?")?, b"?>".as_slice()),
        };
        self.rest = body.get(find(body, stop)?..)?.strip_prefix(stop)?;
        Some(())
    }

    /// The first byte of `character` in UTF-8 (RFC 3629, 3); the others come later.
    fn decoded(&mut self, character: char) -> u8 {
        (self.character, self.left) = (character.into(), 0);
        let mut first = self.character;
        // As many bits at the top of the first byte as there are bytes, in front of what is left.
        let mut room = 0x7f;
        while first > room {
            room = if self.left == 0 { 0x1f } else { room >> 1 };
            self.left += 1;
            first >>= 6;
        }
        if self.left == 0 { first as u8 } else { (0xff80 >> self.left) as u8 | first as u8 }
    }
}

/// The tokens of a [`Text`], cut at white space.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    bytes: Bytes<'a>,
}

impl Tokens<'_> {
    /// Copies the next token to the front of `buf`; `None` at the end. A token with more bytes
    /// than `buf` is an error and is passed over.
    #[inline(never)]
    pub fn next_token<'b>(&mut self, buf: &'b mut [u8]) -> Option<Result<&'b [u8], TokenTooLong>> {
        let first = self.bytes.find(|&byte| !is_space(byte))?;
        let mut len = 0usize;
        let mut next = Some(first);
        while let Some(byte) = next.filter(|&byte| !is_space(byte)) {
            if let Some(slot) = buf.get_mut(len) {
                *slot = byte;
            }
            len = len.saturating_add(1);
            next = self.bytes.next();
        }
        let buf: &'b [u8] = buf;
        Some(buf.get(..len).ok_or(TokenTooLong))
    }
}

/// What `text`, which followed an ampersand, stands for, and what comes after the semicolon (XML,
/// 4.1, 4.6).
#[inline(never)]
pub(super) fn reference(text: &[u8]) -> Option<(char, &[u8])> {
    const PREDEFINED: [(&[u8], char); 5] =
        [(b"lt;", '<'), (b"gt;", '>'), (b"amp;", '&'), (b"apos;", '\''), (b"quot;", '"')];
    for (name, character) in PREDEFINED {
        if let Some(tail) = text.strip_prefix(name) {
            return Some((character, tail));
        }
    }
    let digits = text.strip_prefix(b"#")?;
    let (radix, digits) = match digits.strip_prefix(b"x") {
        Some(digits) => (16, digits),
        None => (10, digits),
    };
    let (mut code, mut rest) = (0u32, digits);
    while let Some((&digit, tail)) = rest.split_first() {
        if digit == b';' && rest.len() != digits.len() {
            return Some((char::from_u32(code)?, tail));
        }
        rest = tail;
        code = code * radix + hex_value(digit).map(u32::from).filter(|&value| value < radix)?;
        if code > u32::from(char::MAX) {
            return None;
        }
    }
    None
}

/// XML, 2.2, production 2.
pub(super) fn is_char(character: char) -> bool {
    matches!(character,
        '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

/// XML, 2.3, production 3.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Where `needle` begins first.
#[inline(never)]
pub(super) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let mut rest = hay;
    let mut at = 0usize;
    while !rest.starts_with(needle) {
        rest = rest.get(1..)?;
        at = at.wrapping_add(1);
    }
    Some(at)
}

/// How many bytes of text have been asked for: what a document costs.
#[cfg(test)]
pub(super) mod work {
    extern crate std;

    std::thread_local! {
        static BYTES: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
    }

    pub(super) fn count() {
        BYTES.set(BYTES.get() + 1);
    }

    /// So many since it was asked for last.
    pub(in crate::discovery) fn done() -> u64 {
        BYTES.replace(0)
    }
}
