//! `peerdist inspect`: what content information says, field by field.
//!
//! Both outputs are written while the structure is read, so its size does not matter.

mod json;
mod text;

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::PathBuf;

use peerdist_core::content::{HodCheck, Info, InfoError, InfoFault, InfoSource, Segment, v1, v2};
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};

use super::info::{self, Input, block_bytes, bytes_of};
use super::{Ending, Failure};

const AFTER_HELP: &str = "\
JSON: one object. Ranges are {\"start\", \"end\"}, the end not included; \"range\" and \"in_range\" are bytes of the
content, \"listed_blocks\" and \"blocks_in_range\" are blocks of the segment. Hashes are hexadecimal.
  file, encoded_length, version (\"1.0\", \"2.0\"), hash
  header       the fields of MS-PCCRC 2.3 or 2.4 by their names there
  range        what is described; null for empty content
  content_end  where the last segment ends; null for empty content
  chunks       of version 2.0: bChunkType, dwChunkDataLength, first_segment, segment_count
  segments     index, range, in_range, block_size, block_count, hod, hod_check, secret_kp (null unless
               --show-secrets), id_hohodk, listed_blocks, blocks_in_range,
               blocks (those listed): index, range, in_range, hash
  hod_mismatches
Of hod_check there are: match; mismatch; partial_list, when some block hashes are left out, so that nobody can
tell; single_block, in version 2.0, whose HoD is itself the hash of the only block.

Exit codes:
  0  the structure is sound
  1  it is, but some block hashes do not match their HoD
  2  it is refused, or cannot be read or written: one line on stderr says why";

/// Shows what content information says, field by field.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The content information; `-` for stdin
    info: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Print the segment secrets, too: who knows them can decrypt the content
    #[arg(long)]
    show_secrets: bool,
}

/// Runs it and prints the result.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let input = Input::open(&args.info)?;
    let structure = Structure::new(&input, args.show_secrets)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let written =
        if args.json { json::write(&structure, &mut out) } else { text::write(&structure, &mut out) };
    match written.and_then(|()| Ok(out.flush()?)) {
        Err(Stop::Info(error)) => return Err(input.failure(&error)),
        // Who stops reading has seen enough.
        Err(Stop::Write(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure(format!("stdout: {error}")));
        }
        _ => {}
    }
    Ok(if structure.mismatches.get() == 0 { Ending::Good } else { Ending::Bad })
}

/// Why the output ends early.
enum Stop {
    Info(InfoError),
    Write(io::Error),
}

impl From<InfoError> for Stop {
    fn from(error: InfoError) -> Self {
        Self::Info(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// What both outputs show.
struct Structure<'a> {
    input: &'a Input,
    header: Header,
    /// The number that stands for the hash algorithm.
    hash_code: u32,
    algorithm: HashAlgorithm,
    /// `None` for empty content.
    info: Option<Info>,
    show_secrets: bool,
    /// Segments seen so far whose block hashes do not match.
    mismatches: Cell<u64>,
}

enum Header {
    V1(v1::wire::HeaderRepr),
    V2(v2::wire::HeaderRepr),
}

/// What can be said of a segment's hash of data without the content.
#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum HodState {
    Match,
    Mismatch,
    PartialList,
    SingleBlock,
}

/// A chunk of version 2.0.
struct Chunk {
    first_segment: u32,
    segments: u32,
}

impl<'a> Structure<'a> {
    fn new(input: &'a Input, show_secrets: bool) -> Result<Self, Failure> {
        let (algorithm, info) = input.parse()?;
        let is_v2 = algorithm == HashAlgorithm::TruncatedSha512;
        let mut bytes = [0; v2::wire::HEADER_BYTES];
        let len = if is_v2 { v2::wire::HEADER_BYTES } else { v1::wire::HEADER_BYTES };
        let (bytes, _) = bytes.split_at_mut(len);
        let parsed = read(input.source(), "Version", 0, bytes).and_then(|()| match (is_v2, &info) {
            (true, _) => v2::wire::HeaderRepr::parse(bytes).map(Header::V2),
            // The parser knows that no header without segments is on the wire.
            (false, None) => Ok(Header::V1(v1::wire::HeaderRepr {
                algorithm,
                offset_in_first: 0,
                read_in_last: 0,
                segments: 0,
            })),
            (false, Some(_)) => v1::wire::HeaderRepr::parse(bytes).map(Header::V1),
        });
        let header = parsed.map_err(|error| input.failure(&error))?;
        let hash_code = match bytes {
            [_, _, code, ..] if is_v2 => (*code).into(),
            [_, _, a, b, c, d, ..] => u32::from_le_bytes([*a, *b, *c, *d]),
            _ => 0,
        };
        Ok(Self { input, header, hash_code, algorithm, info, show_secrets, mismatches: Cell::new(0) })
    }

    fn source(&self) -> &dyn InfoSource {
        self.input.source()
    }

    fn segments(&self) -> impl Iterator<Item = Result<Segment, InfoError>> + '_ {
        self.info.iter().flat_map(|info| info::segments(info, self.source()))
    }

    /// The chunks of version 2.0; version 1.0 has none.
    fn chunks(&self) -> impl Iterator<Item = Result<Chunk, InfoError>> + '_ {
        let segments = match (&self.header, &self.info) {
            (Header::V2(_), Some(info)) => info.segment_count(),
            _ => 0,
        };
        let (mut at, mut first_segment) = (v2::wire::HEADER_BYTES as u64, 0);
        std::iter::from_fn(move || {
            if first_segment >= segments {
                return None;
            }
            let chunk = self.chunk(at, first_segment);
            // After an error nothing follows.
            let count = chunk.as_ref().map_or(u32::MAX, |chunk| chunk.segments);
            first_segment = first_segment.saturating_add(count);
            at += v2::wire::CHUNK_HEAD_BYTES as u64 + u64::from(count) * v2::wire::DESCRIPTION_BYTES as u64;
            Some(chunk)
        })
    }

    fn chunk(&self, at: u64, first_segment: u32) -> Result<Chunk, InfoError> {
        let mut head = [0; v2::wire::CHUNK_HEAD_BYTES];
        read(self.source(), "bChunkType", at, &mut head)?;
        let v2::wire::ChunkRepr { segments } = v2::wire::ChunkRepr::parse(&head)
            .map_err(|error| InfoError { offset: at + error.offset, ..error })?;
        Ok(Chunk { first_segment, segments })
    }

    /// Holds the block hashes against the HoD, and counts those that do not match.
    fn check_hod(&self, segment: &Segment) -> Result<HodState, InfoError> {
        if matches!(self.header, Header::V2(_)) {
            return Ok(HodState::SingleBlock);
        }
        let checked = HodCheck::new(&mut SoftCrypto, segment)
            .and_then(|mut check| check.step(self.source(), &mut SoftCrypto, u32::MAX));
        match checked {
            Ok(_) => Ok(HodState::Match),
            Err(InfoError { reason: InfoFault::PartialList, .. }) => Ok(HodState::PartialList),
            Err(InfoError { reason: InfoFault::HashMismatch, .. }) => {
                self.mismatches.set(self.mismatches.get() + 1);
                Ok(HodState::Mismatch)
            }
            Err(error) => Err(error),
        }
    }

    /// The part of `bytes` of the content that is in the range.
    fn in_range(&self, bytes: &Range<u64>) -> Option<Range<u64>> {
        let range = self.info.as_ref()?.range();
        let part = bytes.start.max(range.start)..bytes.end.min(range.end);
        (!part.is_empty()).then_some(part)
    }

    const fn version(&self) -> &'static str {
        match self.header {
            Header::V1(_) => "1.0",
            Header::V2(_) => "2.0",
        }
    }
}

impl Chunk {
    fn data_len(&self) -> u64 {
        u64::from(self.segments) * v2::wire::DESCRIPTION_BYTES as u64
    }
}

/// Bytes in hexadecimal.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn read(source: &dyn InfoSource, field: &'static str, offset: u64, buf: &mut [u8]) -> Result<(), InfoError> {
    source.read_at(offset, buf).map_err(|_| InfoError { field, offset, reason: InfoFault::Unreadable })
}
