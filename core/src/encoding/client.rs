//! What a client asks, and makes of the reply (MS-PCCRTP 3.1).

use super::{CODING, InfoVersion, Param, Version, parse_bool};
use crate::bytes::{List, NoRoom, Writer, eq_no_case, parse_decimal};

/// Writes the client's headers that ask for content information up to `max_info`.
pub fn emit_ask(writer: &mut Writer<'_>, max_info: InfoVersion) -> Result<(), NoRoom> {
    writer.put(b"Accept-Encoding: peerdist\r\n");
    // MS-PCCRTP 3.1.4: the client MUST also include Version, the highest that it supports.
    writer.put(b"X-P2P-PeerDist: Version=1.1\r\n");
    emit_info_range(writer, max_info)?;
    writer.put(b"\r\n");
    writer.check()
}

/// Writes the client's headers that ask again for content information, after a reply with
/// [`Reply::Plain::make_hash_request`] (MS-PCCRTP 3.1.5.1).
pub fn emit_hash_request(writer: &mut Writer<'_>, max_info: InfoVersion) -> Result<(), NoRoom> {
    // The document's example leaves Accept-Encoding out. A server that does not know hash
    // requests needs it, and none is known to mind.
    writer.put(b"Accept-Encoding: peerdist\r\n");
    writer.put(b"X-P2P-PeerDist: Version=1.1\r\n");
    emit_info_range(writer, max_info)?;
    writer.put(b", HashRequest=true\r\n");
    writer.check()
}

/// Writes the client's headers that ask for the content itself, because no peer has it. The
/// range is a matter of HTTP.
pub fn emit_missing_data(writer: &mut Writer<'_>, max_info: InfoVersion) -> Result<(), NoRoom> {
    // MS-PCCRTP 2.2: MissingDataRequest MUST NOT be sent with Accept-Encoding: peerdist.
    writer.put(b"X-P2P-PeerDist: Version=1.1, MissingDataRequest=true\r\n");
    emit_info_range(writer, max_info)?;
    writer.put(b"\r\n");
    writer.check()
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
        if eq_no_case(name, b"Content-Encoding") {
            for (coding, _) in List::new(value, b';') {
                if eq_no_case(coding, CODING) && !self.encoded {
                    self.encoded = true;
                } else if !coding.is_empty() && !eq_no_case(coding, b"identity") {
                    self.other = true;
                }
            }
        } else if eq_no_case(name, b"X-P2P-PeerDist") {
            for (param, value) in List::new(value, b'=') {
                if eq_no_case(param, b"Version") {
                    self.version.note(Version::parse(value));
                } else if eq_no_case(param, b"ContentLength") {
                    self.content_len.note(parse_decimal(value));
                }
            }
        } else if eq_no_case(name, b"X-P2P-PeerDistEx") {
            for (param, value) in List::new(value, b'=') {
                if eq_no_case(param, b"MakeHashRequest") {
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

fn emit_info_range(writer: &mut Writer<'_>, max_info: InfoVersion) -> Result<(), NoRoom> {
    // MS-PCCRTP 3.1.4: with Version=1.1 the client MUST also include this header, which MUST
    // include both. MS-PCCRTP 2.2: MinContentInformation is always 1.0.
    writer.put(b"X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=");
    max_info.version().emit(writer)
}
