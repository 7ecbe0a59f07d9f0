//! Content information as the commands get it: from a file, a pipe or stdin.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::ops::Range;
use std::path::Path;

use peerdist_core::content::{
    Info, InfoError, InfoFault, InfoSource, InfoUnreadable, Segment, parse_empty, v1, v2,
};
use peerdist_core::crypto::HashAlgorithm;
use peerdist_hal::file::InfoFile;
use zeroize::Zeroizing;

use super::Failure;

/// Bytes from a pipe that stay in memory: content information 1.0 of 8 GiB. More go to a temporary file.
const SPOOL_MEMORY: usize = 4 << 20;

/// Bytes that are taken from a pipe at most: content information 1.0 of 8 TiB. A pipe may never end, and a disk does.
const MAX_SPOOL: u64 = 4 << 30;

/// Content information that can be read at any place, and its name for messages.
pub struct Input {
    name: String,
    source: Source,
}

enum Source {
    File(InfoFile),
    /// Segment secrets are among them.
    Memory(Zeroizing<Vec<u8>>),
}

impl Input {
    /// Opens the file at `path`, or takes all of stdin if that is `-`.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let name = name(path, "stdin");
        match source(path) {
            Ok(source) => Ok(Self { name, source }),
            Err(error) => Err(Failure(format!("{name}: {error}"))),
        }
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn source(&self) -> &dyn InfoSource {
        &self.source
    }

    /// Checks the structure: its algorithm, and what it says of segments. `None` is a header without any, which
    /// stands for empty content.
    pub fn parse(&self) -> Result<(HashAlgorithm, Option<Info>), Failure> {
        if let Some(algorithm) = parse_empty(self.source()) {
            return Ok((algorithm, None));
        }
        let info = Info::parse(self.source()).map_err(|error| self.failure(&error))?;
        Ok((info.algorithm(), Some(info)))
    }

    /// The line that says what is wrong with it.
    pub fn failure(&self, error: &InfoError) -> Failure {
        let reason = match (&self.source, error.reason) {
            (Source::File(file), InfoFault::Unreadable) => file.take_error(),
            _ => None,
        };
        Failure(match reason {
            Some(reason) => format!("{}: {error}: {reason}", self.name),
            None => format!("{}: {error}", self.name),
        })
    }
}

impl InfoSource for Source {
    fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.len(),
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        match self {
            Self::File(file) => file.read_at(offset, buf),
            Self::Memory(bytes) => bytes.as_slice().read_at(offset, buf),
        }
    }
}

/// The segments in order; nothing after an error.
pub fn segments<'a>(
    info: &'a Info,
    source: &'a dyn InfoSource,
) -> impl Iterator<Item = Result<Segment, InfoError>> + 'a {
    let first = info.segment(source, 0).map(Some).transpose();
    std::iter::successors(first, |last| {
        let last = last.as_ref().ok()?;
        info.next_segment(source, last).transpose()
    })
}

/// The bytes of the content that a segment has.
pub fn bytes_of(segment: &Segment) -> Range<u64> {
    segment.offset()..segment.offset().saturating_add(segment.byte_len().into())
}

/// The bytes of the content that a block of a segment has.
pub fn block_bytes(segment: &Segment, block: u32) -> Range<u64> {
    let start = segment.offset().saturating_add(u64::from(block) * u64::from(segment.block_bytes()));
    start..start.saturating_add(segment.block_len(block).unwrap_or_default().into())
}

/// A range of bytes for people: up to its end, and not including it, as `hash --range` takes it.
pub fn span(range: &Range<u64>) -> String {
    format!("bytes {}-{}", range.start, range.end)
}

/// So many of them, for people.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// What messages call the file at `path`, where `-` stands for `stdin`.
pub fn name(path: &Path, stdin: &str) -> String {
    if path == Path::new("-") { stdin.into() } else { path.display().to_string() }
}

fn source(path: &Path) -> io::Result<Source> {
    if path == Path::new("-") {
        return spool(io::stdin().lock());
    }
    let file = File::open(path)?;
    if file.metadata()?.is_file() { InfoFile::new(file).map(Source::File) } else { spool(file) }
}

fn spool(mut pipe: impl Read) -> io::Result<Source> {
    // All the room at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SPOOL_MEMORY));
    pipe.by_ref().take(SPOOL_MEMORY as u64).read_to_end(&mut bytes)?;
    if bytes.len() < SPOOL_MEMORY {
        return Ok(Source::Memory(bytes));
    }
    // What is no content information is not worth the room of more of it.
    check_header(&bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let mut file = tempfile::tempfile()?;
    file.write_all(&bytes)?;
    let rest = MAX_SPOOL - SPOOL_MEMORY as u64;
    if io::copy(&mut pipe.take(rest + 1), &mut file)? > rest {
        return Err(io::Error::other(format!("more than {} GiB in a pipe", MAX_SPOOL >> 30)));
    }
    InfoFile::new(file).map(Source::File)
}

/// Refuses bytes that do not begin as content information of either version does.
fn check_header(bytes: &[u8]) -> Result<(), InfoError> {
    // Byte 1 is the major version in both.
    match bytes.get(1) {
        Some(2) => v2::wire::HeaderRepr::parse(bytes).map(drop),
        _ => v1::wire::HeaderRepr::parse(bytes).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(source: &Source) -> Vec<u8> {
        let mut bytes = vec![0; source.len() as usize];
        source.read_at(0, &mut bytes).expect("readable");
        bytes
    }

    /// Of version 2.0, and what it describes is not looked at here.
    const HEADER: [u8; 3] = [0, 2, 4];

    #[test]
    fn what_never_ends_and_is_no_content_information_is_refused_early() {
        let refusal = spool(io::repeat(0)).err().expect("it is refused");
        assert_eq!(refusal.to_string(), "Version at byte 0: 0x0000 is not supported");
        let refusal = spool(io::repeat(2)).err().expect("it is refused");
        assert_eq!(refusal.to_string(), "bMinorVersion at byte 0: 0x0202 is not supported");
    }

    #[test]
    fn much_goes_to_a_file() {
        for (len, in_memory) in [(0, true), (SPOOL_MEMORY - 1, true), (SPOOL_MEMORY, false), (5 << 20, false)]
        {
            let mut bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let front = bytes.len().min(HEADER.len());
            bytes[..front].copy_from_slice(&HEADER[..front]);
            let source = spool(bytes.as_slice()).expect("spooled");
            assert_eq!(matches!(source, Source::Memory(_)), in_memory, "{len}");
            assert!(bytes_of(&source) == bytes, "{len}");
        }
    }
}
