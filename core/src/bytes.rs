//! Cursors over bytes: every codec reads through [`Reader`] and writes through [`Writer`].
//!
//! Neither can panic. Byte order is named at each call, since content information 1.0 is
//! little-endian, as are SMB's structures around it, and everything else is big-endian.

use crate::time::divide;

/// The bytes ended before the value did, at `offset` from the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Truncated {
    /// Where the value that did not fit begins.
    pub offset: usize,
}

/// The buffer lent to an emitter is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoRoom;

/// How many bytes there are, for `Debug` of what may be content, content information or a secret:
/// none of these belongs in a log.
pub(crate) struct Len<'a>(pub(crate) &'a [u8]);

impl core::fmt::Debug for Len<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

/// The path of a request's target. A server MUST take the absolute form too (RFC 9112 3.2.2), which a client sends
/// that believes in a proxy.
pub fn path_of(target: &[u8]) -> &[u8] {
    let Some((scheme, rest)) = target.split_at_checked(7) else { return target };
    if !scheme.eq_ignore_ascii_case(b"http://") {
        return target;
    }
    rest.iter().position(|&byte| byte == b'/').and_then(|at| rest.get(at..)).unwrap_or_default()
}

/// A cursor that takes values off the front of a slice.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, offset: 0 }
    }

    /// How many bytes have been taken.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// What has not been taken yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `len` bytes.
    #[inline(never)]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Truncated> {
        match self.rest.split_at_checked(len) {
            Some((head, tail)) => {
                self.rest = tail;
                self.offset = self.offset.wrapping_add(len);
                Ok(head)
            }
            None => Err(Truncated { offset: self.offset }),
        }
    }

    /// Takes exactly `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Truncated> {
        let truncated = Truncated { offset: self.offset };
        self.take(N)?.first_chunk().ok_or(truncated)
    }

    /// Takes one byte.
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        self.array().map(|&[byte]| byte)
    }

    /// Takes a little-endian 16-bit integer.
    pub fn u16_le(&mut self) -> Result<u16, Truncated> {
        self.array().map(|bytes| u16::from_le_bytes(*bytes))
    }

    /// Takes a little-endian 32-bit integer.
    #[inline(never)]
    pub fn u32_le(&mut self) -> Result<u32, Truncated> {
        self.array().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// Takes a little-endian 64-bit integer.
    pub fn u64_le(&mut self) -> Result<u64, Truncated> {
        self.array().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Takes a big-endian 32-bit integer.
    #[inline(never)]
    pub fn u32_be(&mut self) -> Result<u32, Truncated> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Takes a big-endian 64-bit integer.
    pub fn u64_be(&mut self) -> Result<u64, Truncated> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }
}

impl core::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { rest, offset } = self;
        f.debug_struct("Reader").field("rest", &Len(rest)).field("offset", offset).finish()
    }
}

/// A cursor that puts values at the front of a slice.
///
/// What does not fit is left out, and so is all that would come after it; [`check`](Self::check)
/// tells, once all has been put.
pub struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
    full: bool,
}

impl core::fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Writer").field("len", &self.len).field("full", &self.full).finish_non_exhaustive()
    }
}

impl<'a> Writer<'a> {
    /// Starts at the front of `buf`.
    pub const fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0, full: false }
    }

    /// How many bytes have been put.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been put.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there was room for everything so far.
    pub const fn check(&self) -> Result<(), NoRoom> {
        if self.full { Err(NoRoom) } else { Ok(()) }
    }

    /// How many bytes have been put, if there was room for everything.
    pub const fn end(&self) -> Result<usize, NoRoom> {
        if self.full { Err(NoRoom) } else { Ok(self.len) }
    }

    /// The bytes put so far.
    pub fn finish(self) -> &'a mut [u8] {
        let len = self.len;
        self.buf.get_mut(..len).unwrap_or_default()
    }

    /// Puts `bytes`, or nothing at all.
    #[inline(never)]
    pub fn put(&mut self, bytes: &[u8]) {
        let end = self.len.wrapping_add(bytes.len());
        match self.buf.get_mut(self.len..end) {
            Some(room) if !self.full => {
                room.copy_from_slice(bytes);
                self.len = end;
            }
            _ => self.full = true,
        }
    }

    /// Puts the bytes of `text`.
    pub fn text(&mut self, text: &str) {
        self.put(text.as_bytes());
    }

    /// Puts `count` zero bytes.
    pub fn zeros(&mut self, count: usize) {
        for _ in 0..count {
            if self.full {
                return;
            }
            self.put(&[0]);
        }
    }

    /// Puts a little-endian 16-bit integer.
    pub fn u16_le(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    /// Puts a little-endian 32-bit integer.
    #[inline(never)]
    pub fn u32_le(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    /// Puts a little-endian 64-bit integer.
    pub fn u64_le(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    /// Puts a big-endian 32-bit integer.
    #[inline(never)]
    pub fn u32_be(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Puts a big-endian 64-bit integer.
    pub fn u64_be(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    /// Puts `value` in decimal digits.
    #[inline(never)]
    pub fn decimal(&mut self, mut value: u64) {
        let mut digits = [0u8; 20];
        let mut len = 0;
        for slot in digits.iter_mut().rev() {
            let (rest, digit) = divide(value, 10);
            *slot = b'0' + digit as u8;
            value = rest;
            len += 1;
            if value == 0 {
                break;
            }
        }
        self.put(digits.get(20 - len..).unwrap_or_default());
    }

    /// Puts `bytes` in upper-case hexadecimal digits.
    #[inline(never)]
    pub fn hex_upper(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.put(&[hex_digit(byte >> 4, false), hex_digit(byte & 15, false)]);
        }
    }
}

/// What stands before and behind the first `byte`.
pub(crate) fn split_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&other| other == byte)?;
    let (before, rest) = text.split_at_checked(at)?;
    Some((before, rest.split_first()?.1))
}

/// The elements of a comma-separated list, each taken apart at the first `separator` in it, without white
/// space around either half. Empty elements are skipped; an element without the separator has nothing behind
/// it.
pub(crate) struct List<'a> {
    rest: &'a [u8],
    separator: u8,
}

impl<'a> List<'a> {
    pub(crate) const fn new(rest: &'a [u8], separator: u8) -> Self {
        Self { rest, separator }
    }
}

impl<'a> Iterator for List<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (element, rest) = split_byte(self.rest, b',').unwrap_or((self.rest, &[]));
            self.rest = rest;
            let element = element.trim_ascii();
            if !element.is_empty() {
                let (name, value) = split_byte(element, self.separator).unwrap_or((element, &[]));
                return Some((name.trim_ascii(), value.trim_ascii()));
            }
        }
        None
    }
}

/// Whether both are the same but for the case of ASCII letters.
#[inline(never)]
pub(crate) fn eq_no_case(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// One hexadecimal digit, of the lower four bits of `nibble`.
pub(crate) const fn hex_digit(nibble: u8, lower: bool) -> u8 {
    match nibble & 15 {
        digit @ 0..=9 => b'0' + digit,
        letter => letter - 10 + if lower { b'a' } else { b'A' },
    }
}

/// The value of one hexadecimal digit of either case.
pub const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Decodes hexadecimal `text` of either case into the front of `out` and returns the bytes
/// written; `None` for an odd number of digits, a stray character, or too little room.
pub fn decode_hex<'b>(text: &[u8], out: &'b mut [u8]) -> Option<&'b [u8]> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let out = out.get_mut(..pairs.len())?;
    for (byte, &[high, low]) in out.iter_mut().zip(pairs) {
        *byte = hex_value(high)? << 4 | hex_value(low)?;
    }
    Some(out)
}

/// Copies as many bytes as both sides have and returns how many that is.
pub fn copy(to: &mut [u8], from: &[u8]) -> usize {
    let len = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
        to.copy_from_slice(from);
    }
    len
}

/// Reads an unsigned decimal number that must fill `text`; `None` if it is empty, has another
/// character in it, or does not fit 64 bits.
pub fn parse_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for &digit in text {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_reports_where_it_ran_out() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(reader.u32_be(), Ok(0x0102_0304));
        assert_eq!(reader.u32_le(), Err(Truncated { offset: 4 }));
        assert_eq!(reader.u16_le(), Ok(0x0605));
        assert_eq!(reader.rest(), &[]);
    }

    #[test]
    fn big_endian_numbers() {
        let mut buf = [0; 8];
        let mut writer = Writer::new(&mut buf);
        writer.u64_be(0x0102_0304_0506_0708);
        assert_eq!(writer.check(), Ok(()));
        assert_eq!(buf, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Reader::new(&buf).u64_be(), Ok(0x0102_0304_0506_0708));
    }

    #[test]
    fn writer_puts_all_or_nothing() {
        let mut buf = [0xaa; 3];
        let mut writer = Writer::new(&mut buf);
        writer.u16_le(0x0201);
        assert_eq!(writer.check(), Ok(()));
        writer.u32_be(7);
        assert_eq!(writer.check(), Err(NoRoom));
        // Nothing that is put later stands in its place.
        writer.put(&[9]);
        assert_eq!(writer.check(), Err(NoRoom));
        assert_eq!(writer.finish(), &[1, 2]);
    }

    #[test]
    fn numbers_as_text() {
        let mut buf = [0; 64];
        let mut writer = Writer::new(&mut buf);
        for value in [0, 7, 10, u64::MAX] {
            writer.decimal(value);
            writer.text(" ");
        }
        writer.hex_upper(&[0x0f, 0xa0]);
        assert_eq!(writer.finish(), b"0 7 10 18446744073709551615 0FA0");
        assert_eq!(parse_decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_decimal(b"18446744073709551616"), None);
        assert_eq!(parse_decimal(b""), None);
        assert_eq!(parse_decimal(b"+1"), None);
    }

    #[test]
    fn hexadecimal_of_either_case() {
        let mut out = [0; 2];
        assert_eq!(decode_hex(b"0fA0", &mut out), Some(&[0x0f, 0xa0][..]));
        assert_eq!(decode_hex(b"0f0", &mut out), None);
        assert_eq!(decode_hex(b"0g", &mut out), None);
        assert_eq!(decode_hex(b"000000", &mut out), None);
    }
}
