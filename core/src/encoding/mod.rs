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

mod client;
mod server;

use crate::bytes::{NoRoom, Writer, eq_no_case, parse_decimal, split_byte};

pub use self::client::{Reply, ReplyCoding, ReplyError, emit_ask, emit_hash_request, emit_missing_data};
pub use self::server::{Available, Coding, ServerRequest};

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
        writer.decimal(u64::from(self.major));
        writer.put(b".");
        writer.decimal(u64::from(self.minor));
        writer.check()
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

/// The name of the coding: emitted like this, accepted in any case (fact 16).
const CODING: &[u8] = b"peerdist";

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

fn parse_bool(text: &[u8]) -> Option<bool> {
    if eq_no_case(text, b"true") {
        return Some(true);
    }
    eq_no_case(text, b"false").then_some(false)
}

#[cfg(test)]
mod tests;
