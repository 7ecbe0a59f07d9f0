//! [MS-PCCRD] 2.2.3.3, 2.2.3.9: base64Binary of XML Schema, character by character.
//!
//! Character data is decoded while it is read, and white space may stand between any two
//! characters; a decoder of slices would need a copy of both the text and the bytes. RFC 4648,
//! section 4, has the alphabet.

use super::text::is_space;
use crate::bytes::Writer;

/// A character that does not belong here, missing padding, or bits that stand for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotBase64;

/// Characters that `bytes` bytes take, padding included.
pub(super) const fn encoded_len(bytes: usize) -> usize {
    bytes.div_ceil(3).saturating_mul(4)
}

/// Bytes that fit `characters` characters.
pub(super) const fn decoded_len(characters: usize) -> usize {
    (characters / 4).saturating_mul(3)
}

/// Writes bytes that come piece by piece.
pub(super) struct Encoder<'e, 'a> {
    writer: &'e mut Writer<'a>,
    /// The bytes of a group that is not complete, the last one lowest.
    group: u32,
    len: u32,
}

impl<'e, 'a> Encoder<'e, 'a> {
    pub(super) const fn new(writer: &'e mut Writer<'a>) -> Self {
        Self { writer, group: 0, len: 0 }
    }

    /// Writes `bytes`, and no more.
    pub(super) fn all(bytes: &[u8], writer: &'e mut Writer<'a>) {
        let mut encoder = Self::new(writer);
        encoder.put(bytes);
        encoder.end();
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.group = self.group << 8 | u32::from(*byte);
            self.len += 1;
            if self.len == 3 {
                self.write(4);
            }
        }
    }

    /// Writes what is left, padded.
    pub(super) fn end(mut self) {
        if self.len > 0 {
            let (characters, missing) = (self.len + 1, 3 - self.len);
            self.group <<= 8 * missing;
            self.write(characters);
        }
    }

    /// Writes the group, in as many characters that are not padding.
    #[inline(never)]
    fn write(&mut self, characters: u32) {
        for place in 0..4 {
            let sextet = (self.group >> (18 - 6 * place)) as u8;
            self.writer.put(&[if place < characters { character(sextet) } else { b'=' }]);
        }
        (self.group, self.len) = (0, 0);
    }
}

/// The character of the lower six bits of `sextet`.
fn character(sextet: u8) -> u8 {
    match sextet & 63 {
        upper @ 0..=25 => b'A' + upper,
        lower @ 26..=51 => b'a' + (lower - 26),
        digit @ 52..=61 => b'0' + (digit - 52),
        62 => b'+',
        _ => b'/',
    }
}

fn sextet(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// The bytes that characters stand for. After an error there is no more.
#[derive(Clone, Debug)]
pub(super) struct Decode<I> {
    characters: I,
    /// The bytes of a group that have not been handed out, the next one first.
    group: [u8; 3],
    left: u8,
    /// Padding, an error or the end has been seen.
    over: bool,
}

impl<I: Iterator<Item = u8>> Decode<I> {
    pub(super) const fn new(characters: I) -> Self {
        Self { characters, group: [0; 3], left: 0, over: false }
    }

    fn next_character(&mut self) -> Option<u8> {
        self.characters.find(|&byte| !is_space(byte))
    }

    /// Reads four characters; `None` at the end.
    fn next_group(&mut self) -> Option<Result<(), NotBase64>> {
        let first = self.next_character()?;
        Some(self.read_group(first).ok_or(NotBase64))
    }

    fn read_group(&mut self, first: u8) -> Option<()> {
        // Nothing follows padding.
        if self.over {
            return None;
        }
        let (a, b) = (sextet(first)?, sextet(self.next_character()?)?);
        let (c, d) = (self.next_character()?, self.next_character()?);
        // XML Schema Part 2, 3.2.16: the bits of the last character that stand for nothing are 0.
        let (c, d) = match (c, d) {
            (b'=', b'=') if b & 15 == 0 => (None, None),
            (c, b'=') => (Some(sextet(c).filter(|c| c & 3 == 0)?), None),
            (c, d) => (Some(sextet(c)?), Some(sextet(d)?)),
        };
        self.over = d.is_none();
        self.left = 1 + u8::from(c.is_some()) + u8::from(d.is_some());
        let (c, d) = (c.unwrap_or(0), d.unwrap_or(0));
        self.group = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
        Some(())
    }
}

impl<I: Iterator<Item = u8>> Iterator for Decode<I> {
    type Item = Result<u8, NotBase64>;

    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0
            && let Err(error) = self.next_group()?
        {
            // What comes after an error means nothing.
            self.over = true;
            self.characters.by_ref().for_each(drop);
            return Some(Err(error));
        }
        let [next, rest @ ..] = self.group;
        let [second, third] = rest;
        self.group = [second, third, 0];
        self.left = self.left.saturating_sub(1);
        Some(Ok(next))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::bytes::NoRoom;

    fn decoded(text: &str) -> Result<Vec<u8>, NotBase64> {
        Decode::new(text.bytes()).collect()
    }

    /// The test vectors of RFC 4648, 10, and the last characters of the alphabet.
    const CASES: [(&[u8], &str); 8] = [
        (b"", ""),
        (b"f", "Zg=="),
        (b"fo", "Zm8="),
        (b"foo", "Zm9v"),
        (b"foob", "Zm9vYg=="),
        (b"fooba", "Zm9vYmE="),
        (b"foobar", "Zm9vYmFy"),
        (&[0xfb, 0xff, 0xbf, 0x40], "+/+/QA=="),
    ];

    #[test]
    fn both_ways() {
        for (bytes, text) in CASES {
            assert_eq!(decoded(text).as_deref(), Ok(bytes));
            let mut buf = [0; 12];
            let mut writer = Writer::new(&mut buf);
            Encoder::all(bytes, &mut writer);
            assert_eq!(writer.len(), encoded_len(bytes.len()));
            assert!(decoded_len(writer.len()) >= bytes.len());
            assert_eq!(writer.finish(), text.as_bytes());
        }
        let all: Vec<u8> = (0..=255).collect();
        let mut buf = [0; encoded_len(256)];
        Encoder::all(&all, &mut Writer::new(&mut buf));
        assert_eq!(decoded(core::str::from_utf8(&buf).unwrap()), Ok(all));
        let mut buf = [0; 3];
        let mut writer = Writer::new(&mut buf);
        Encoder::all(&[1], &mut writer);
        assert_eq!(writer.check(), Err(NoRoom));
    }

    #[test]
    fn white_space_counts_for_nothing() {
        assert_eq!(decoded(" Z\r\n\tm 9 v\nY g = =\n"), Ok(b"foob".to_vec()));
        assert_eq!(decoded(" \n"), Ok(Vec::new()));
    }

    #[test]
    fn garbage() {
        let bad = [
            "Z",
            "Zg",
            "Zg=",
            "Zm8",
            "Zm9",
            "=",
            "====",
            "Z===",
            "Zg=x",
            "Zg==Zg==",
            "Zg===",
            "Zm8=Z",
            "Zm9v=",
            // Bits that stand for nothing are set.
            "Zh==",
            "Zm9=",
            "Zm9v-_==",
            "Zm9v\u{e9}",
            "Zm,v",
            "Zm9vYmF",
        ];
        for bad in bad {
            let mut bytes = Decode::new(bad.bytes());
            let until = bytes.by_ref().take_while(Result::is_ok).count();
            assert!(decoded(bad).is_err() && until <= 6, "{bad}");
            assert_eq!(bytes.next(), None, "{bad}");
        }
    }
}
