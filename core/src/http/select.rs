//! What of a content a request is to get: preconditions and ranges (RFC 9110 13 and 14).

use super::date;
use super::wire::{ByteRange, name_eq};

/// By what a client knows one state of a content from another.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// The entity tag, in its quotes; with `W/` before them if another state may have the same.
    pub etag: &'a [u8],
    /// `Last-Modified`, in seconds since the beginning of 1970.
    pub modified: u64,
    /// Whether no other state has the same `modified` (RFC 9110 8.8.2.2): it was over when it was
    /// read, so that nothing can have changed within the same second.
    pub modified_is_strong: bool,
}

/// What a request is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Selected {
    /// All of the content: 200.
    Whole,
    /// A part, never beyond the end: 206.
    Part {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// Nothing, as the client has it: 304.
    NotModified,
    /// Nothing, as this is not the state that the client wants it of: 412.
    Failed,
    /// Nothing, as the range is beyond the end: 416.
    Unsatisfied,
}

/// The preconditions and the range of one request.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'v> {
    validators: Validators<'v>,
    if_match: Option<bool>,
    if_none_match: Option<bool>,
    if_unmodified_since: Once<u64>,
    if_modified_since: Once<u64>,
    if_range: Once<bool>,
    range: Once<ByteRange>,
}

impl<'v> Selection<'v> {
    /// Of a request for the content that has these `validators`.
    pub fn new(validators: Validators<'v>) -> Self {
        Self {
            validators,
            if_match: None,
            if_none_match: None,
            if_unmodified_since: Once::Absent,
            if_modified_since: Once::Absent,
            if_range: Once::Absent,
            range: Once::Absent,
        }
    }

    /// Notes a header of the request; most are none of our business.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        if name_eq(name, b"If-Match") {
            self.if_match = Some(self.if_match == Some(true) || self.matches(value, strongly));
        } else if name_eq(name, b"If-None-Match") {
            self.if_none_match = Some(self.if_none_match != Some(false) && !self.matches(value, weakly));
        } else if name_eq(name, b"If-Unmodified-Since") {
            self.if_unmodified_since.note(date::parse(value));
        } else if name_eq(name, b"If-Modified-Since") {
            self.if_modified_since.note(date::parse(value));
        } else if name_eq(name, b"If-Range") {
            self.if_range.note(Some(self.is_same(value)));
        } else if name_eq(name, b"Range") {
            // RFC 9110 14.2: a server may ignore any range, such as several at once.
            self.range.note(ByteRange::parse(value).ok());
        }
    }

    /// Decides, when all headers are noted, in the order of RFC 9110 13.2.2. `method` is
    /// case-sensitive and `len` the number of bytes of the content.
    pub fn decide(&self, method: &[u8], len: u64) -> Selected {
        let modified = self.validators.modified;
        let wanted = match (self.if_match, self.if_unmodified_since) {
            (Some(matches), _) => matches,
            (None, Once::Value(date)) => modified <= date,
            // RFC 9110 13.1.4: a recipient MUST ignore what is no date.
            (None, _) => true,
        };
        if !wanted {
            return Selected::Failed;
        }
        let reads = method == b"GET" || method == b"HEAD";
        let is_new = match (self.if_none_match, self.if_modified_since) {
            (Some(differs), _) => differs,
            // RFC 9110 13.1.3: a recipient MUST ignore it with any other method.
            (None, Once::Value(date)) if reads => modified > date,
            (None, _) => true,
        };
        if !is_new {
            return if reads { Selected::NotModified } else { Selected::Failed };
        }
        match self.range {
            // RFC 9110 14.2: a server MUST ignore it with any other method.
            // RFC 9110 13.1.5: it MUST ignore it, too, if the content is not in the state of If-Range.
            Once::Value(range) if method == b"GET" && self.if_range.is_absent_or(true) => {
                match range.resolve(len) {
                    Some((first, last)) => Selected::Part { first, last },
                    None => Selected::Unsatisfied,
                }
            }
            _ => Selected::Whole,
        }
    }

    /// Whether a list of entity tags, or `*`, has that of the content.
    fn matches(&self, list: &[u8], same: fn(&[u8], &[u8]) -> bool) -> bool {
        if list == b"*" {
            return true;
        }
        let mut rest = list;
        while let Some((tag, behind)) = next_tag(rest) {
            if same(tag, self.validators.etag) {
                return true;
            }
            rest = behind;
        }
        false
    }

    /// Whether the content is in the state that an If-Range header names.
    fn is_same(&self, value: &[u8]) -> bool {
        match next_tag(value) {
            Some((tag, [])) => strongly(tag, self.validators.etag),
            // RFC 9110 13.1.5: a date is compared exactly, and only if it is a strong validator.
            _ => self.validators.modified_is_strong && date::parse(value) == Some(self.validators.modified),
        }
    }
}

/// Takes the first entity tag off a list, with its quotes. A list goes on behind a comma, and ends
/// where there is no tag.
fn next_tag(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let between = list.iter().take_while(|byte| b" \t,".contains(byte)).count();
    let list = list.get(between..)?;
    let mark = if list.starts_with(b"W/") { 2 } else { 0 };
    let quoted = list.get(mark..)?.strip_prefix(b"\"")?;
    let len = quoted.iter().position(|&byte| byte == b'"')?;
    list.split_at_checked(mark + len + 2)
}

/// RFC 9110 8.8.3.2: both are the same, and neither is weak.
fn strongly(one: &[u8], other: &[u8]) -> bool {
    one == other && !one.starts_with(b"W/")
}

/// RFC 9110 8.8.3.2: both are the same, weak or not.
fn weakly(one: &[u8], other: &[u8]) -> bool {
    let opaque = |tag| <[u8]>::strip_prefix(tag, b"W/").unwrap_or(tag);
    opaque(one) == opaque(other)
}

/// A header that may come once only, if it is to be heard.
#[derive(Clone, Copy, Debug)]
enum Once<T> {
    Absent,
    Value(T),
    Bad,
}

impl<T: PartialEq> Once<T> {
    fn note(&mut self, value: Option<T>) {
        *self = match (&self, value) {
            (Self::Absent, Some(value)) => Self::Value(value),
            _ => Self::Bad,
        };
    }

    fn is_absent_or(&self, wanted: T) -> bool {
        match self {
            Self::Absent => true,
            Self::Value(value) => *value == wanted,
            Self::Bad => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Selected::*;
    use super::*;

    const LEN: u64 = 1_000;
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn strong() -> Validators<'static> {
        Validators { etag: b"\"a,b\"", modified: 784_111_777, modified_is_strong: true }
    }

    fn weak() -> Validators<'static> {
        Validators { etag: b"W/\"a,b\"", modified_is_strong: false, ..strong() }
    }

    fn select(validators: Validators<'_>, method: &str, headers: &[(&str, &str)]) -> Selected {
        let mut selection = Selection::new(validators);
        headers.iter().for_each(|(name, value)| selection.header(name.as_bytes(), value.as_bytes()));
        selection.decide(method.as_bytes(), LEN)
    }

    #[test]
    fn ranges() {
        for (value, expected) in [
            ("bytes=0-0", Part { first: 0, last: 0 }),
            ("bytes=990-2000", Part { first: 990, last: 999 }),
            ("bytes=-10", Part { first: 990, last: 999 }),
            ("bytes=1000-", Unsatisfied),
            ("bytes=-0", Unsatisfied),
            ("bytes=0-1,3-4", Whole),
            ("bytes=4-3", Whole),
            ("lines=0-1", Whole),
        ] {
            assert_eq!(select(strong(), "GET", &[("range", value)]), expected, "{value}");
            assert_eq!(select(strong(), "HEAD", &[("Range", value)]), Whole, "{value}");
            assert_eq!(select(strong(), "GET", &[("Range", value), ("Range", value)]), Whole, "{value}");
        }
        let mut empty = Selection::new(strong());
        empty.header(b"Range", b"bytes=0-");
        assert_eq!(empty.decide(b"GET", 0), Unsatisfied);
    }

    #[test]
    fn if_match_and_if_unmodified_since() {
        for (name, value, expected, of_weak) in [
            ("If-Match", "*", Whole, Whole),
            ("If-Match", "\"a,b\"", Whole, Failed),
            ("If-Match", "\"x\" ,, \"a,b\",\"y\"", Whole, Failed),
            ("If-Match", "W/\"a,b\"", Failed, Failed),
            ("If-Match", "\"a\", \"b\"", Failed, Failed),
            ("If-Match", "a,b", Failed, Failed),
            ("If-Match", "", Failed, Failed),
            ("If-Unmodified-Since", THEN, Whole, Whole),
            ("If-Unmodified-Since", AFTER, Whole, Whole),
            ("If-Unmodified-Since", BEFORE, Failed, Failed),
            ("If-Unmodified-Since", "yesterday", Whole, Whole),
        ] {
            for method in ["GET", "HEAD", "POST"] {
                assert_eq!(select(strong(), method, &[(name, value)]), expected, "{name}: {value}");
                assert_eq!(select(weak(), method, &[(name, value)]), of_weak, "{name}: {value}");
            }
        }
        let twice = [("If-Match", "\"x\""), ("If-Match", "\"a,b\""), ("If-Match", "\"y\"")];
        assert_eq!(select(strong(), "GET", &twice), Whole);
        // The tag decides, and the date does not.
        let both = [("If-Match", "\"a,b\""), ("If-Unmodified-Since", BEFORE)];
        assert_eq!(select(strong(), "GET", &both), Whole);
    }

    #[test]
    fn if_none_match_and_if_modified_since() {
        for (name, value, expected) in [
            ("If-None-Match", "*", NotModified),
            ("If-None-Match", "\"a,b\"", NotModified),
            ("If-None-Match", "\"x\", W/\"a,b\"", NotModified),
            ("If-None-Match", "\"x\"", Whole),
            ("If-None-Match", "\"a,b", Whole),
            ("If-Modified-Since", THEN, NotModified),
            ("If-Modified-Since", AFTER, NotModified),
            ("If-Modified-Since", BEFORE, Whole),
            ("If-Modified-Since", "0", Whole),
        ] {
            for method in ["GET", "HEAD"] {
                assert_eq!(select(strong(), method, &[(name, value)]), expected, "{name}: {value}");
                assert_eq!(select(weak(), method, &[(name, value)]), expected, "{name}: {value}");
            }
        }
        let twice = [("If-None-Match", "\"a,b\""), ("If-None-Match", "\"x\"")];
        assert_eq!(select(strong(), "GET", &twice), NotModified);
        let both = [("If-None-Match", "\"x\""), ("If-Modified-Since", AFTER)];
        assert_eq!(select(strong(), "GET", &both), Whole);
        assert_eq!(select(strong(), "POST", &[("If-None-Match", "*")]), Failed);
        assert_eq!(select(strong(), "POST", &[("If-Modified-Since", AFTER)]), Whole);
        let first = [("If-Match", "\"x\""), ("If-None-Match", "\"a,b\"")];
        assert_eq!(select(strong(), "GET", &first), Failed);
        let last = [("If-None-Match", "\"a,b\""), ("Range", "bytes=0-1")];
        assert_eq!(select(strong(), "GET", &last), NotModified);
    }

    #[test]
    fn if_range() {
        let part = Part { first: 3, last: 4 };
        for (value, expected, of_weak) in [
            ("\"a,b\"", part, Whole),
            ("W/\"a,b\"", Whole, Whole),
            ("\"x\"", Whole, Whole),
            ("\"a,b\", \"x\"", Whole, Whole),
            (THEN, part, Whole),
            ("Sunday, 06-Nov-94 08:49:37 GMT", part, Whole),
            (AFTER, Whole, Whole),
            ("a", Whole, Whole),
            ("", Whole, Whole),
        ] {
            let headers = [("If-Range", value), ("Range", "bytes=3-4")];
            assert_eq!(select(strong(), "GET", &headers), expected, "{value}");
            assert_eq!(select(weak(), "GET", &headers), of_weak, "{value}");
            assert_eq!(select(strong(), "GET", &headers[..1]), Whole, "{value}");
        }
        let twice = [("If-Range", THEN), ("If-Range", THEN), ("Range", "bytes=3-4")];
        assert_eq!(select(strong(), "GET", &twice), Whole);
        // Of another state, even a range beyond the end is no offence.
        let other = [("If-Range", "\"x\""), ("Range", "bytes=1000-")];
        assert_eq!(select(strong(), "GET", &other), Whole);
    }
}
