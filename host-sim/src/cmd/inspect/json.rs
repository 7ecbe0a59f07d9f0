//! The structure as one JSON object, which is never in memory.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::ops::Range;

use peerdist_core::content::{InfoError, Segment, v1, v2};
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};
use serde::ser::{Error as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use super::{Header, Hex, HodState, Stop, Structure, block_bytes, bytes_of};

pub fn write(structure: &Structure<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let walk = Walk { structure, error: RefCell::new(None) };
    let document = Document {
        file: structure.input.name(),
        encoded_length: structure.source().len(),
        version: structure.version(),
        hash: match structure.algorithm {
            HashAlgorithm::Sha256 => "sha256",
            HashAlgorithm::Sha384 => "sha384",
            HashAlgorithm::Sha512 => "sha512",
            HashAlgorithm::TruncatedSha512 => "truncated_sha512",
        },
        header: header(structure),
        range: structure.info.as_ref().map(|info| info.range().into()),
        content_end: structure.info.as_ref().map(|info| info.content_end()),
        chunks: matches!(structure.header, Header::V2(_)).then_some(Chunks(&walk)),
        segments: Segments(&walk),
        hod_mismatches: &structure.mismatches,
    };
    let written = serde_json::to_writer_pretty(&mut *out, &document);
    if let Some(error) = walk.error.take() {
        return Err(Stop::Info(error));
    }
    written.map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}

/// A walk over the structure, and why it could not be read, which serde has no room for.
struct Walk<'a> {
    structure: &'a Structure<'a>,
    error: RefCell<Option<InfoError>>,
}

impl Walk<'_> {
    fn note<T, E: serde::ser::Error>(&self, result: Result<T, InfoError>) -> Result<T, E> {
        result.map_err(|error| {
            self.error.replace(Some(error));
            E::custom(error)
        })
    }
}

#[derive(Serialize)]
struct Document<'a> {
    file: &'a str,
    encoded_length: u64,
    version: &'static str,
    hash: &'static str,
    header: HeaderFields,
    range: Option<Bounds>,
    content_end: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<Chunks<'a>>,
    segments: Segments<'a>,
    /// Read once the segments are written.
    hod_mismatches: &'a Cell<u64>,
}

#[derive(Serialize)]
struct Bounds {
    start: u64,
    end: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum HeaderFields {
    V1 {
        #[serde(rename = "Version")]
        version: u16,
        #[serde(rename = "dwHashAlgo")]
        hash_code: u32,
        #[serde(rename = "dwOffsetInFirstSegment")]
        offset_in_first: u32,
        #[serde(rename = "dwReadBytesInLastSegment")]
        read_in_last: u32,
        #[serde(rename = "cSegments")]
        segments: u32,
    },
    V2 {
        #[serde(rename = "bMinorVersion")]
        minor: u8,
        #[serde(rename = "bMajorVersion")]
        major: u8,
        #[serde(rename = "bHashAlgo")]
        hash_code: u32,
        #[serde(rename = "ullStartInContent")]
        content_start: u64,
        #[serde(rename = "ullIndexOfFirstSegment")]
        index_of_first: u64,
        #[serde(rename = "dwOffsetInFirstSegment")]
        offset_in_first: u32,
        #[serde(rename = "ullLengthOfRange")]
        range_len: u64,
    },
}

fn header(structure: &Structure<'_>) -> HeaderFields {
    let hash_code = structure.hash_code;
    match structure.header {
        Header::V1(v1::wire::HeaderRepr { offset_in_first, read_in_last, segments, .. }) => {
            HeaderFields::V1 {
                version: v1::wire::VERSION,
                hash_code,
                offset_in_first,
                read_in_last,
                segments,
            }
        }
        Header::V2(v2::wire::HeaderRepr { content_start, index_of_first, offset_in_first, range_len }) => {
            let [minor, major] = v2::wire::VERSION;
            HeaderFields::V2 {
                minor,
                major,
                hash_code,
                content_start,
                index_of_first,
                offset_in_first,
                range_len,
            }
        }
    }
}

struct Chunks<'a>(&'a Walk<'a>);

#[derive(Serialize)]
struct ChunkFields {
    #[serde(rename = "bChunkType")]
    kind: u8,
    #[serde(rename = "dwChunkDataLength")]
    data_len: u64,
    first_segment: u32,
    segment_count: u32,
}

impl Serialize for Chunks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for chunk in self.0.structure.chunks() {
            let chunk = self.0.note(chunk)?;
            seq.serialize_element(&ChunkFields {
                kind: 0,
                data_len: chunk.data_len(),
                first_segment: chunk.first_segment,
                segment_count: chunk.segments,
            })?;
        }
        seq.end()
    }
}

struct Segments<'a>(&'a Walk<'a>);

#[derive(Serialize)]
struct SegmentFields<'a> {
    index: u32,
    range: Bounds,
    in_range: Option<Bounds>,
    block_size: u32,
    block_count: u32,
    #[serde(serialize_with = "hex")]
    hod: &'a [u8],
    hod_check: HodState,
    #[serde(serialize_with = "hex_or_null")]
    secret_kp: Option<&'a [u8]>,
    #[serde(serialize_with = "hex")]
    id_hohodk: &'a [u8],
    listed_blocks: Bounds,
    blocks_in_range: Bounds,
    blocks: Blocks<'a>,
}

impl Serialize for Segments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(walk) = self;
        let structure = walk.structure;
        let mut seq = serializer.serialize_seq(None)?;
        for segment in structure.segments() {
            let segment = walk.note(segment)?;
            let bytes = bytes_of(&segment);
            seq.serialize_element(&SegmentFields {
                index: segment.index(),
                in_range: structure.in_range(&bytes).map(Into::into),
                range: bytes.into(),
                block_size: segment.block_bytes(),
                block_count: segment.block_count(),
                hod: segment.hod().as_bytes(),
                hod_check: walk.note(structure.check_hod(&segment))?,
                secret_kp: structure.show_secrets.then(|| segment.secret().expose()),
                id_hohodk: segment.id(&mut SoftCrypto).as_bytes(),
                listed_blocks: segment.listed_blocks().into(),
                blocks_in_range: segment.blocks_in_range().into(),
                blocks: Blocks { walk, segment: &segment },
            })?;
        }
        seq.end()
    }
}

struct Blocks<'a> {
    walk: &'a Walk<'a>,
    segment: &'a Segment,
}

#[derive(Serialize)]
struct BlockFields<'a> {
    index: u32,
    range: Bounds,
    in_range: Option<Bounds>,
    #[serde(serialize_with = "hex")]
    hash: &'a [u8],
}

impl Serialize for Blocks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { walk, segment } = self;
        let mut seq = serializer.serialize_seq(None)?;
        for index in segment.listed_blocks() {
            let hash = walk.note(segment.block_hash(walk.structure.source(), index))?;
            let hash = hash.ok_or_else(|| S::Error::custom("a listed block has a hash"))?;
            let bytes = block_bytes(segment, index);
            seq.serialize_element(&BlockFields {
                index,
                in_range: walk.structure.in_range(&bytes).map(Into::into),
                range: bytes.into(),
                hash: hash.as_bytes(),
            })?;
        }
        seq.end()
    }
}

impl<T: Into<u64>> From<Range<T>> for Bounds {
    fn from(range: Range<T>) -> Self {
        Self { start: range.start.into(), end: range.end.into() }
    }
}

fn hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Hex(bytes))
}

fn hex_or_null<S: Serializer>(bytes: &Option<&[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => hex(bytes, serializer),
        None => serializer.serialize_none(),
    }
}
