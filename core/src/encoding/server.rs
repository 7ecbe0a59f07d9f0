//! What a server makes of a request (MS-PCCRTP 3.2).

use super::{CODING, InfoVersion, Param, Version, parse_bool};
use crate::bytes::{List, NoRoom, Writer, eq_no_case, split_byte};

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
                writer.put(b"Content-Encoding: peerdist\r\nX-P2P-PeerDist: Version=");
                version.emit(writer)?;
                writer.put(b", ContentLength=");
                writer.decimal(content_len);
                // The ETag is that of the content, which clients name when they fetch the rest. So
                // a cache that holds both forms could take a 304 about one for the other, and hand
                // this to somebody who did not ask. It holds segment secrets, too: it is for one
                // client (facts 52 and 53).
                writer.put(b"\r\nCache-Control: private\r\n");
            }
            Self::Plain { make_hash_request: true } => {
                // MS-PCCRTP 3.2.5.1: the server SHOULD say so if the hashes are not available.
                writer.put(b"X-P2P-PeerDist: Version=1.1\r\n");
                writer.put(b"X-P2P-PeerDistEx: MakeHashRequest=true\r\n");
            }
            Self::Plain { make_hash_request: false } => {}
        }
        // Caches on the way must not hand an encoded reply to whoever did not ask (fact 22), and
        // clients fetch missing blocks by range (fact 20).
        writer.put(b"Vary: Accept-Encoding, X-P2P-PeerDist, X-P2P-PeerDistEx\r\n");
        writer.put(b"Accept-Ranges: bytes\r\n");
        writer.check()
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
        if eq_no_case(name, b"Accept-Encoding") {
            for (coding, weight) in List::new(value, b';') {
                if eq_no_case(coding, CODING) {
                    // `*` never selects a coding that only some clients can undo (fact 17).
                    if weighs(weight) { self.accepts = true } else { self.refuses = true }
                }
            }
        } else if eq_no_case(name, b"X-P2P-PeerDist") {
            for (param, value) in List::new(value, b'=') {
                if eq_no_case(param, b"Version") {
                    self.version.note(Version::parse(value));
                } else if eq_no_case(param, b"MissingDataRequest") {
                    self.missing_data.note(parse_bool(value));
                }
            }
        } else if eq_no_case(name, b"X-P2P-PeerDistEx") {
            for (param, value) in List::new(value, b'=') {
                if eq_no_case(param, b"MinContentInformation") {
                    self.min_info.note(Version::parse(value));
                } else if eq_no_case(param, b"MaxContentInformation") {
                    self.max_info.note(Version::parse(value));
                } else if eq_no_case(param, b"HashRequest") {
                    self.hash_request.note(parse_bool(value));
                }
            }
        }
    }

    /// Whether the client could not get this data from its peers.
    pub fn is_missing_data(&self) -> bool {
        self.missing_data == Param::Value(true)
    }

    /// Whether the client has the content, and comes again for content information alone.
    pub fn is_hash_request(&self) -> bool {
        self.hash_request == Param::Value(true)
    }

    /// Whether the client would take content information in some version, if there were any.
    pub fn wants_info(&self, method: &[u8], http_1_1: bool) -> bool {
        self.wanted(method, http_1_1).is_some()
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
            let hint = version >= Version::V1_1 && !self.is_hash_request();
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
        let hash_request = http_1_1 && self.is_hash_request();
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

/// The versions of content information that a client takes.
#[derive(Clone, Copy, Debug)]
struct Infos {
    v1: bool,
    v2: bool,
}

/// Whether a coding with these parameters is wanted: not with a weight of zero (RFC 9110 12.4.2),
/// nor with one that cannot be read.
fn weighs(params: &[u8]) -> bool {
    params.split(|&byte| byte == b';').all(|param| match split_byte(param.trim_ascii(), b'=') {
        Some((name, weight)) if eq_no_case(name.trim_ascii(), b"q") => {
            let weight = weight.trim_ascii();
            weight.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
                && weight.iter().any(|byte| matches!(byte, b'1'..=b'9'))
        }
        _ => true,
    })
}
