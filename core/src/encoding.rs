//! [MS-PCCRTP] The `peerdist` coding of HTTP content: who asks for it, who gets it, and the
//! headers both sides write.
//!
//! The server half decides by the headers of a request ([`ServerRequest`], [`Coding`]); the client
//! half asks ([`emit_ask`], [`emit_hash_request`], [`emit_missing_data`]) and understands the
//! reply ([`ReplyCoding`]). All of it is pure: headers in, decision out. Header names and values
//! come as HTTP framing gives them, without white space around the value.
//!
//! Deviations, each with its fact: any range of versions that holds one we have is served, not
//! only those the text lists (fact 17); `MissingDataRequest` beats `Accept-Encoding` (fact 18).

use crate::bytes::{NoRoom, Writer, parse_decimal, split_byte};

/// A version of the coding or of content information.
///
/// MS-PCCRTP 2.2: major and minor MUST be considered as separate multidigit numbers, so 1.23 is
/// higher than 1.3. The derived order does that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Version {
    /// The number before the dot.
    pub major: u32,
    /// The number after the dot.
    pub minor: u32,
}

impl Version {
    /// The coding as of Windows 7; also content information 1.0.
    pub const V1_0: Self = Self { major: 1, minor: 0 };
    /// The coding as of Windows 8, which can negotiate content information.
    pub const V1_1: Self = Self { major: 1, minor: 1 };
    /// Content information 2.0.
    pub const V2_0: Self = Self { major: 2, minor: 0 };

    /// Reads `major.minor`. There can be no spaces around the dot (MS-PCCRTP 2.2).
    fn parse(text: &[u8]) -> Option<Self> {
        let (major, minor) = split_byte(text, b'.')?;
        let number = |digits| u32::try_from(parse_decimal(digits)?).ok();
        Some(Self { major: number(major)?, minor: number(minor)? })
    }

    fn emit(self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.decimal(u64::from(self.major))?;
        writer.put(b".")?;
        writer.decimal(u64::from(self.minor))
    }
}

/// The structure that an encoded body is (MS-PCCRC 2.3 and 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum InfoVersion {
    /// Content information 1.0.
    V1,
    /// Content information 2.0.
    V2,
}

impl InfoVersion {
    /// Its number in headers.
    pub const fn version(self) -> Version {
        match self {
            Self::V1 => Version::V1_0,
            Self::V2 => Version::V2_0,
        }
    }
}

/// What a server has for the requested content, or for the requested range of it.
///
/// MS-PCCRTP 3.2 allows the coding only where the reply has an `ETag` or `Last-Modified` header:
/// without both, nothing is available. Empty content has no content information (fact 13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Available {
    /// Content information 1.0 is at hand.
    pub v1: bool,
    /// Content information 2.0 is at hand.
    pub v2: bool,
    /// More is being made, so that it pays to ask again.
    pub coming: bool,
}

/// How a server is to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Coding {
    /// With the content itself.
    Plain {
        /// And tell the client to ask again for the hashes.
        make_hash_request: bool,
    },
    /// With content information in place of the content.
    Encoded {
        /// Of the coding: 1.0 or 1.1, never higher than the client's.
        version: Version,
        /// Of the content information.
        info: InfoVersion,
    },
}

impl Coding {
    /// Writes the header lines that this answer needs beside those of HTTP itself
    /// (`Content-Length`, `ETag` or `Last-Modified`, `Content-Range`).
    ///
    /// `content_len` is the number of bytes of the content, or of the requested range of it,
    /// before coding; only an encoded answer tells it.
    pub fn emit_headers(self, writer: &mut Writer<'_>, content_len: u64) -> Result<(), NoRoom> {
        match self {
            Self::Encoded { version, .. } => {
                // MS-PCCRTP 3.2.5.1: the PeerDist header MUST contain Version and ContentLength.
                // In this order, since one client searches for the text (fact 16).
                writer.put(b"Content-Encoding: peerdist\r\nX-P2P-PeerDist: Version=")?;
                version.emit(writer)?;
                writer.put(b", ContentLength=")?;
                writer.decimal(content_len)?;
                writer.put(b"\r\n")?;
            }
            Self::Plain { make_hash_request: true } => {
                // MS-PCCRTP 3.2.5.1: the server SHOULD say so if the hashes are not available.
                writer.put(b"X-P2P-PeerDist: Version=1.1\r\n")?;
                writer.put(b"X-P2P-PeerDistEx: MakeHashRequest=true\r\n")?;
            }
            Self::Plain { make_hash_request: false } => {}
        }
        // Caches on the way must not hand an encoded reply to whoever did not ask (fact 22), and
        // clients fetch missing blocks by range (fact 20).
        writer.put(b"Vary: Accept-Encoding, X-P2P-PeerDist, X-P2P-PeerDistEx\r\n")?;
        writer.put(b"Accept-Ranges: bytes\r\n")
    }
}

/// What the headers of one request say about the coding (MS-PCCRTP 3.2.5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerRequest {
    accepts: bool,
    refuses: bool,
    version: Param<Version>,
    missing_data: Param<bool>,
    min_info: Param<Version>,
    max_info: Param<Version>,
    hash_request: Param<bool>,
}

impl ServerRequest {
    /// Notes a header of the request; most are none of our business.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"Accept-Encoding") {
            for (coding, weight) in split_list(value, b';') {
                if coding.eq_ignore_ascii_case(CODING) {
                    // `*` never selects a coding that only some clients can undo (fact 17).
                    if weighs(weight) { self.accepts = true } else { self.refuses = true }
                }
            }
        } else if name.eq_ignore_ascii_case(b"X-P2P-PeerDist") {
            for (param, value) in split_list(value, b'=') {
                if param.eq_ignore_ascii_case(b"Version") {
                    self.version.note(Version::parse(value));
                } else if param.eq_ignore_ascii_case(b"MissingDataRequest") {
                    self.missing_data.note(parse_bool(value));
                }
            }
        } else if name.eq_ignore_ascii_case(b"X-P2P-PeerDistEx") {
            for (param, value) in split_list(value, b'=') {
                if param.eq_ignore_ascii_case(b"MinContentInformation") {
                    self.min_info.note(Version::parse(value));
                } else if param.eq_ignore_ascii_case(b"MaxContentInformation") {
                    self.max_info.note(Version::parse(value));
                } else if param.eq_ignore_ascii_case(b"HashRequest") {
                    self.hash_request.note(parse_bool(value));
                }
            }
        }
    }

    /// Whether the client could not get this data from its peers.
    pub fn is_missing_data(&self) -> bool {
        self.missing_data == Param::Value(true)
    }

    /// Decides how to answer, when all headers are noted. `method` is case-sensitive, as in
    /// HTTP; `http_1_1` is false for a request of HTTP/1.0.
    pub fn decide(&self, method: &[u8], http_1_1: bool, available: Available) -> Coding {
        const PLAIN: Coding = Coding::Plain { make_hash_request: false };
        let Some((version, infos)) = self.wanted(method, http_1_1) else { return PLAIN };
        // The highest version that both sides have. A range from 2.0 on is no offence (fact 17).
        let info = if infos.v2 && available.v2 {
            InfoVersion::V2
        } else if infos.v1 && available.v1 {
            InfoVersion::V1
        } else {
            // The hint is for clients of 1.1 or higher (fact 19). Who sends a hash request was
            // told already: telling it again would have it fetch the content over and over.
            let hint = version >= Version::V1_1 && self.hash_request != Param::Value(true);
            return Coding::Plain { make_hash_request: available.coming && hint };
        };
        Coding::Encoded { version, info }
    }

    /// The version of the coding and the versions of content information that this request
    /// allows; `None` if it is to be answered plainly.
    fn wanted(&self, method: &[u8], http_1_1: bool) -> Option<(Version, Infos)> {
        // Windows uses the coding for GET only (MS-PCCRTP 3.1.4, note 4).
        if method != b"GET" || self.refuses {
            return None;
        }
        // A value that is neither true nor false is as good as true: who writes the parameter
        // wants data (fact 18).
        if !matches!(self.missing_data, Param::Absent | Param::Value(false)) {
            return None;
        }
        // MS-PCCRTP 3.2: an HTTP/1.0 request has to name the coding; a hash request of HTTP/1.1
        // may come without (fact 19).
        let hash_request = http_1_1 && self.hash_request == Param::Value(true);
        if !self.accepts && !hash_request {
            return None;
        }
        // MS-PCCRTP 3.1.4: the client MUST tell its version. Another major one is another coding.
        let Param::Value(Version { major: 1, minor }) = self.version else { return None };
        let version = if minor == 0 { Version::V1_0 } else { Version::V1_1 };
        let infos = self.infos(version)?;
        Some((version, infos))
    }

    fn infos(&self, version: Version) -> Option<Infos> {
        match (self.min_info, self.max_info) {
            // MS-PCCRTP 3.2.5.1: without the PeerDistEx header the server MUST respond with
            // version 1.0.
            (Param::Absent, Param::Absent) => Some(Infos { v1: true, v2: false }),
            // MS-PCCRTP 3.2.5.1: the server MUST respond with a version within the range.
            (Param::Value(min), Param::Value(max)) => {
                let has = |info: Version| min <= info && info <= max;
                // A client of coding 1.0 does not know of content information 2.0.
                let v2 = has(Version::V2_0) && version >= Version::V1_1;
                let v1 = has(Version::V1_0);
                // MS-PCCRTP 3.2.5.1: outside of the range the server MUST NOT respond with
                // content information.
                (v1 || v2).then_some(Infos { v1, v2 })
            }
            _ => None,
        }
    }
}

/// Writes the client's headers that ask for content information up to `max_info`.
pub fn emit_ask(writer: &mut Writer<'_>, max_info: InfoVersion) -> Result<(), NoRoom> {
    writer.put(b"Accept-Encoding: peerdist\r\n")?;
    // MS-PCCRTP 3.1.4: the client MUST also include Version, the highest that it supports.
    writer.put(b"X-P2P-PeerDist: Version=1.1\r\n")?;
    emit_info_range(writer, max_info)?;
    writer.put(b"\r\n")
}

/// Writes the client's headers that ask again for content information, after a reply with
/// [`Reply::Plain::make_hash_request`] (MS-PCCRTP 3.1.5.1).
pub fn emit_hash_request(writer: &mut Writer<'_>, max_info: InfoVersion) -> Result<(), NoRoom> {
    // The document's example leaves Accept-Encoding out. A server that does not know hash
    // requests needs it, and none is known to mind.
    writer.put(b"Accept-Encoding: peerdist\r\n")?;
    writer.put(b"X-P2P-PeerDist: Version=1.1\r\n")?;
    emit_info_range(writer, max_info)?;
    writer.put(b", HashRequest=true\r\n")
}

/// Writes the client's headers that ask for the content itself, because no peer has it. The
/// range is a matter of HTTP.
pub fn emit_missing_data(writer: &mut Writer<'_>, max_info: InfoVersion) -> Result<(), NoRoom> {
    // MS-PCCRTP 2.2: MissingDataRequest MUST NOT be sent with Accept-Encoding: peerdist.
    writer.put(b"X-P2P-PeerDist: Version=1.1, MissingDataRequest=true\r\n")?;
    emit_info_range(writer, max_info)?;
    writer.put(b"\r\n")
}

/// What a reply carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reply {
    /// The content itself.
    Plain {
        /// The server has no hashes yet, and it pays to ask again (MS-PCCRTP 3.1.5.1).
        make_hash_request: bool,
    },
    /// Content information; its own first bytes tell its version.
    Encoded {
        /// Bytes of the content, or of the range of it in a 206, before coding.
        content_len: u64,
        /// Of the coding.
        version: Version,
    },
}

/// Why a reply cannot be used: its body is neither known to be content nor content information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ReplyError {
    /// Another coding than `peerdist`, alone or on top of it.
    OtherCoding,
    /// Encoded, but without a version of the coding that we know.
    Version,
    /// Encoded, but without a readable ContentLength.
    ContentLength,
    /// ContentLength without the coding: something on the way has dropped `Content-Encoding`.
    NotEncoded,
}

/// What the headers of one reply say about the coding (MS-PCCRTP 3.1.5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyCoding {
    encoded: bool,
    other: bool,
    version: Param<Version>,
    content_len: Param<u64>,
    make_hash_request: Param<bool>,
}

impl ReplyCoding {
    /// Notes a header of the reply; most are none of our business.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"Content-Encoding") {
            for (coding, _) in split_list(value, b';') {
                if coding.eq_ignore_ascii_case(CODING) && !self.encoded {
                    self.encoded = true;
                } else if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
                    self.other = true;
                }
            }
        } else if name.eq_ignore_ascii_case(b"X-P2P-PeerDist") {
            for (param, value) in split_list(value, b'=') {
                if param.eq_ignore_ascii_case(b"Version") {
                    self.version.note(Version::parse(value));
                } else if param.eq_ignore_ascii_case(b"ContentLength") {
                    self.content_len.note(parse_decimal(value));
                }
            }
        } else if name.eq_ignore_ascii_case(b"X-P2P-PeerDistEx") {
            for (param, value) in split_list(value, b'=') {
                if param.eq_ignore_ascii_case(b"MakeHashRequest") {
                    self.make_hash_request.note(parse_bool(value));
                }
            }
        }
    }

    /// Decides what the body is, when all headers are noted.
    pub fn decide(&self) -> Result<Reply, ReplyError> {
        if self.other {
            return Err(ReplyError::OtherCoding);
        }
        if !self.encoded {
            // Content information taken for content would be wrong data, so this is not guessed.
            if self.content_len != Param::Absent {
                return Err(ReplyError::NotEncoded);
            }
            return Ok(Reply::Plain { make_hash_request: self.make_hash_request == Param::Value(true) });
        }
        // MS-PCCRTP 3.2.5.1: the header MUST contain Version and ContentLength.
        let Param::Value(version @ Version { major: 1, .. }) = self.version else {
            return Err(ReplyError::Version);
        };
        match self.content_len {
            Param::Value(content_len) => Ok(Reply::Encoded { content_len, version }),
            Param::Absent | Param::Bad => Err(ReplyError::ContentLength),
        }
    }
}

/// The name of the coding: emitted like this, accepted in any case (fact 16).
const CODING: &[u8] = b"peerdist";

/// The versions of content information that a client takes.
#[derive(Clone, Copy, Debug)]
struct Infos {
    v1: bool,
    v2: bool,
}

/// A parameter that may be given more than once, if it always says the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Param<T> {
    #[default]
    Absent,
    Value(T),
    Bad,
}

impl<T: Copy + PartialEq> Param<T> {
    fn note(&mut self, value: Option<T>) {
        *self = match (*self, value) {
            (Self::Absent, Some(value)) => Self::Value(value),
            (Self::Value(known), Some(value)) if known == value => *self,
            _ => Self::Bad,
        };
    }
}

fn emit_info_range(writer: &mut Writer<'_>, max_info: InfoVersion) -> Result<(), NoRoom> {
    // MS-PCCRTP 3.1.4: with Version=1.1 the client MUST also include this header, which MUST
    // include both. MS-PCCRTP 2.2: MinContentInformation is always 1.0.
    writer.put(b"X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=")?;
    max_info.version().emit(writer)
}

/// The elements of a comma-separated list, each taken apart at its first `separator`. With and
/// without white space around both (fact 18).
fn split_list(value: &[u8], separator: u8) -> impl Iterator<Item = (&[u8], &[u8])> {
    value.split(|&byte| byte == b',').map(move |element| {
        let (name, value) = split_byte(element, separator).unwrap_or((element, &[]));
        (name.trim_ascii(), value.trim_ascii())
    })
}

/// Whether a coding with these parameters is wanted: not with a weight of zero (RFC 9110 12.4.2),
/// nor with one that cannot be read.
fn weighs(params: &[u8]) -> bool {
    params.split(|&byte| byte == b';').all(|param| match split_byte(param.trim_ascii(), b'=') {
        Some((name, weight)) if name.trim_ascii().eq_ignore_ascii_case(b"q") => {
            let weight = weight.trim_ascii();
            weight.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
                && weight.iter().any(|byte| matches!(byte, b'1'..=b'9'))
        }
        _ => true,
    })
}

fn parse_bool(text: &[u8]) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"true") {
        return Some(true);
    }
    text.eq_ignore_ascii_case(b"false").then_some(false)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    const ALL: Available = Available { v1: true, v2: true, coming: false };
    const ONLY_V1: Available = Available { v1: true, v2: false, coming: false };
    const SOON: Available = Available { v1: false, v2: false, coming: true };
    const PLAIN: Coding = Coding::Plain { make_hash_request: false };
    const V1_OF_1_0: Coding = Coding::Encoded { version: Version::V1_0, info: InfoVersion::V1 };
    const V1_OF_1_1: Coding = Coding::Encoded { version: Version::V1_1, info: InfoVersion::V1 };
    const V2_OF_1_1: Coding = Coding::Encoded { version: Version::V1_1, info: InfoVersion::V2 };

    fn lines(head: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
        head.lines().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().as_bytes(), value.trim().as_bytes()))
        })
    }

    fn request(head: &str) -> ServerRequest {
        let mut request = ServerRequest::default();
        lines(head).for_each(|(name, value)| request.header(name, value));
        request
    }

    fn answer(head: &str, available: Available) -> Coding {
        request(head).decide(b"GET", true, available)
    }

    fn reply(head: &str) -> Result<Reply, ReplyError> {
        let mut reply = ReplyCoding::default();
        lines(head).for_each(|(name, value)| reply.header(name, value));
        reply.decide()
    }

    const ASK_1_0: &str = "Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1.0";
    const ASK_1_1: &str = "Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1.1\n\
        X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0";

    #[test]
    fn versions_are_numbers() {
        assert!(Version::parse(b"1.23") > Version::parse(b"1.3"));
        assert_eq!(Version::parse(b"999.999"), Some(Version { major: 999, minor: 999 }));
        for bad in [&b""[..], b"1", b"1.", b".1", b"1. 1", b"1.1.1", b"1.-1", b"4294967296.0"] {
            assert_eq!(Version::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn who_asks_is_answered_in_its_version() {
        assert_eq!(answer(ASK_1_0, ALL), V1_OF_1_0);
        assert_eq!(answer(ASK_1_1, ALL), V2_OF_1_1);
        assert_eq!(answer(ASK_1_1, ONLY_V1), V1_OF_1_1);
        assert_eq!(answer("Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1.1", ALL), V1_OF_1_1);
        assert_eq!(answer("accept-encoding:gzip,PEERDIST\nx-p2p-peerdist:version=1.23", ALL), V1_OF_1_1);
        // MS-PCCRTP 4.
        let example = "Accept-Encoding: gzip, deflate, peerdist\nX-P2P-PeerDist: Version=1.1\n\
            X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=1.0";
        assert_eq!(answer(example, ALL), V1_OF_1_1);
    }

    #[test]
    fn who_does_not_ask_gets_the_content() {
        for head in [
            "",
            "Accept-Encoding: peerdist",
            "X-P2P-PeerDist: Version=1.0",
            "Accept-Encoding: *\nX-P2P-PeerDist: Version=1.0",
            "Accept-Encoding: peerdistx\nX-P2P-PeerDist: Version=1.0",
            "Accept-Encoding: peerdist;q=0\nX-P2P-PeerDist: Version=1.0",
            "Accept-Encoding: peerdist ; Q=0.000, *\nX-P2P-PeerDist: Version=1.0",
            "Accept-Encoding: peerdist;q=x\nX-P2P-PeerDist: Version=1.0",
            "Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=999.999",
            "Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1 .0",
            "Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1.0, Version=1.1",
            "Accept-Encoding: peerdist\nX-P2P-PeerDist: ContentLength=7",
        ] {
            assert_eq!(answer(head, ALL), PLAIN, "{head}");
        }
        assert_eq!(answer(&ASK_1_0.replace("peerdist\n", "peerdist;q=0.1\n"), ALL), V1_OF_1_0);
        for method in [&b"HEAD"[..], b"POST", b"get"] {
            assert_eq!(request(ASK_1_1).decide(method, true, ALL), PLAIN);
        }
        assert_eq!(request(ASK_1_0).decide(b"GET", false, ALL), V1_OF_1_0);
    }

    #[test]
    fn ranges_of_content_information() {
        for (range, all, only_v1) in [
            ("Min={1.0}, Max={1.0}", V1_OF_1_1, V1_OF_1_1),
            ("Min={2.0}, Max={2.0}", V2_OF_1_1, PLAIN),
            ("Min={1.0},Max={1.23}", V1_OF_1_1, V1_OF_1_1),
            ("Min={0.5}, Max={3.0}", V2_OF_1_1, V1_OF_1_1),
            ("Min={1.1}, Max={1.9}", PLAIN, PLAIN),
            ("Min={3.0}, Max={4.0}", PLAIN, PLAIN),
            ("Min={2.0}, Max={1.0}", PLAIN, PLAIN),
            ("Min={1.0}", PLAIN, PLAIN),
            ("Min={1.0}, Max={x}", PLAIN, PLAIN),
            ("Other=1", V1_OF_1_1, V1_OF_1_1),
        ] {
            let range = range.replace("={", "ContentInformation=").replace('}', "");
            let head = std::format!(
                "Accept-Encoding: peerdist\nX-P2P-PeerDist: Version=1.1\nX-P2P-PeerDistEx: {range}"
            );
            assert_eq!(answer(&head, ALL), all, "{head}");
            assert_eq!(answer(&head, ONLY_V1), only_v1, "{head}");
        }
        // A client of coding 1.0 does not know of content information 2.0.
        assert_eq!(answer(&ASK_1_1.replace("Version=1.1", "Version=1.0"), ALL), V1_OF_1_0);
    }

    #[test]
    fn missing_data_beats_everything_but_false() {
        for (value, expected) in [("true", PLAIN), ("yes", PLAIN), ("", PLAIN), ("false", V1_OF_1_0)] {
            for comma in [",", ", "] {
                let head = std::format!("{ASK_1_0}{comma}MissingDataRequest={value}");
                assert_eq!(answer(&head, ALL), expected, "{head}");
                assert_eq!(request(&head).is_missing_data(), value == "true");
            }
        }
    }

    #[test]
    fn hash_requests() {
        let hint = Coding::Plain { make_hash_request: true };
        assert_eq!(answer(ASK_1_1, SOON), hint);
        assert_eq!(answer(ASK_1_0, SOON), PLAIN);
        assert_eq!(answer("", SOON), PLAIN);
        assert_eq!(answer(ASK_1_1, Available::default()), PLAIN);
        // MS-PCCRTP 4: without Accept-Encoding.
        let again = "X-P2P-PeerDist: Version=1.1\n\
            X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0, HashRequest=true";
        assert_eq!(answer(again, ALL), V2_OF_1_1);
        assert_eq!(answer(again, SOON), PLAIN);
        assert_eq!(request(again).decide(b"GET", false, ALL), PLAIN);
        assert_eq!(answer(&again.replace("=true", "=1"), ALL), PLAIN);
    }

    fn emitted(emit: impl FnOnce(&mut Writer<'_>) -> Result<(), NoRoom>) -> std::string::String {
        let mut buf = [0; 256];
        let mut writer = Writer::new(&mut buf);
        emit(&mut writer).unwrap();
        core::str::from_utf8(writer.finish()).unwrap().into()
    }

    #[test]
    fn headers_of_answers() {
        const COMMON: &str =
            "Vary: Accept-Encoding, X-P2P-PeerDist, X-P2P-PeerDistEx\r\nAccept-Ranges: bytes\r\n";
        for (coding, text) in [
            (PLAIN, ""),
            (
                Coding::Plain { make_hash_request: true },
                "X-P2P-PeerDist: Version=1.1\r\nX-P2P-PeerDistEx: MakeHashRequest=true\r\n",
            ),
            (
                V1_OF_1_0,
                "Content-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.0, ContentLength=5000000000\r\n",
            ),
            (
                V2_OF_1_1,
                "Content-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1, ContentLength=5000000000\r\n",
            ),
        ] {
            let head = emitted(|writer| coding.emit_headers(writer, 5_000_000_000));
            assert_eq!(head, std::format!("{text}{COMMON}"));
            let understood = match coding {
                Coding::Plain { make_hash_request } => Reply::Plain { make_hash_request },
                Coding::Encoded { version, .. } => Reply::Encoded { content_len: 5_000_000_000, version },
            };
            assert_eq!(reply(&head), Ok(understood));
        }
        for room in 0..90 {
            let mut buf = [0; 256];
            let result = V1_OF_1_0.emit_headers(&mut Writer::new(&mut buf[..room]), 7);
            assert_eq!(result, Err(NoRoom));
        }
    }

    #[test]
    fn headers_of_requests() {
        let ask = emitted(|writer| emit_ask(writer, InfoVersion::V1));
        assert_eq!(
            ask,
            "Accept-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.1\r\n\
             X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=1.0\r\n"
        );
        assert_eq!(answer(&ask, ALL), V1_OF_1_1);
        assert_eq!(answer(&emitted(|writer| emit_ask(writer, InfoVersion::V2)), ALL), V2_OF_1_1);
        let again = emitted(|writer| emit_hash_request(writer, InfoVersion::V2));
        assert!(again.ends_with("MaxContentInformation=2.0, HashRequest=true\r\n"));
        assert_eq!(answer(&again, SOON), PLAIN);
        assert_eq!(answer(&again, ALL), V2_OF_1_1);
        let missing = emitted(|writer| emit_missing_data(writer, InfoVersion::V1));
        assert_eq!(
            missing,
            "X-P2P-PeerDist: Version=1.1, MissingDataRequest=true\r\n\
             X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=1.0\r\n"
        );
        assert!(request(&missing).is_missing_data());
        assert_eq!(answer(&missing, ALL), PLAIN);
    }

    #[test]
    fn replies() {
        let encoded = |content_len, version| Ok(Reply::Encoded { content_len, version });
        for (head, expected) in [
            ("Content-Length: 7", Ok(Reply::Plain { make_hash_request: false })),
            ("Content-Encoding: identity", Ok(Reply::Plain { make_hash_request: false })),
            ("X-P2P-PeerDistEx: MakeHashRequest=false", Ok(Reply::Plain { make_hash_request: false })),
            (
                "X-P2P-PeerDist: Version=1.1\nX-P2P-PeerDistEx: MakeHashRequest=true",
                Ok(Reply::Plain { make_hash_request: true }),
            ),
            (
                "Content-Encoding: PeerDist\nX-P2P-PeerDist: Version=1.0, ContentLength=102400",
                encoded(102_400, Version::V1_0),
            ),
            (
                "content-encoding: peerdist\nx-p2p-peerdist: contentlength=1,version=1.1",
                encoded(1, Version::V1_1),
            ),
            ("Content-Encoding: gzip", Err(ReplyError::OtherCoding)),
            (
                "Content-Encoding: peerdist, gzip\nX-P2P-PeerDist: Version=1.0, ContentLength=1",
                Err(ReplyError::OtherCoding),
            ),
            (
                "Content-Encoding: peerdist, peerdist\nX-P2P-PeerDist: Version=1.0, ContentLength=1",
                Err(ReplyError::OtherCoding),
            ),
            ("Content-Encoding: peerdist", Err(ReplyError::Version)),
            (
                "Content-Encoding: peerdist\nX-P2P-PeerDist: Version=2.0, ContentLength=1",
                Err(ReplyError::Version),
            ),
            ("Content-Encoding: peerdist\nX-P2P-PeerDist: ContentLength=1", Err(ReplyError::Version)),
            ("Content-Encoding: peerdist\nX-P2P-PeerDist: Version=1.0", Err(ReplyError::ContentLength)),
            (
                "Content-Encoding: peerdist\nX-P2P-PeerDist: Version=1.0, ContentLength=-1",
                Err(ReplyError::ContentLength),
            ),
            (
                "Content-Encoding: peerdist\nX-P2P-PeerDist: Version=1.0, ContentLength=1\n\
                 X-P2P-PeerDist: ContentLength=2",
                Err(ReplyError::ContentLength),
            ),
            ("X-P2P-PeerDist: Version=1.0, ContentLength=1", Err(ReplyError::NotEncoded)),
        ] {
            assert_eq!(reply(head), expected, "{head}");
        }
    }
}
