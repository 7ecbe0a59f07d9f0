//! The structure for people.

use std::fmt::Display;
use std::io::Write;
use std::ops::Range;

use peerdist_core::content::{Segment, v1, v2};
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};

use super::{Header, Hex, HodState, Stop, Structure, bytes_of};
use crate::cmd::info::{count, span};
use crate::cmd::one_line;

pub fn write(structure: &Structure<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let name = one_line(structure.input.name());
    writeln!(out, "{name}: content information {}, {} bytes", structure.version(), structure.source().len())?;
    write_header(structure, out)?;
    match &structure.info {
        Some(info) => {
            let range = info.range();
            field(out, "range", format!("{}: {} bytes", span(&range), range.end - range.start))?;
            field(out, "content end", format!("{}, where the last segment ends", info.content_end()))?;
        }
        None => field(out, "range", "none: this stands for empty content")?,
    }
    let mut chunks = structure.chunks();
    let mut next = chunks.next().transpose()?;
    for segment in structure.segments() {
        let segment = segment?;
        if let Some(chunk) = next.take_if(|chunk| chunk.first_segment == segment.index()) {
            writeln!(out, "\nchunk")?;
            field(out, "bChunkType", "0x00")?;
            field(
                out,
                "dwChunkDataLength",
                format!("{}: {}", chunk.data_len(), count(chunk.segments.into(), "segment")),
            )?;
            next = chunks.next().transpose()?;
        }
        write_segment(structure, &segment, out)?;
    }
    Ok(())
}

fn write_header(structure: &Structure<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let code = structure.hash_code;
    let hash = match structure.algorithm {
        HashAlgorithm::Sha256 => "SHA-256",
        HashAlgorithm::Sha384 => "SHA-384",
        HashAlgorithm::Sha512 => "SHA-512",
        HashAlgorithm::TruncatedSha512 => "SHA-512, of which 32 bytes count",
    };
    let all = |len: u64| if len == 0 { "0: all up to the end".into() } else { len.to_string() };
    match structure.header {
        Header::V1(header) => {
            field(out, "Version", format!("{:#06x}", v1::wire::VERSION))?;
            field(out, "dwHashAlgo", format!("{code:#010x}: {hash}"))?;
            field(out, "dwOffsetInFirstSegment", header.offset_in_first)?;
            field(out, "dwReadBytesInLastSegment", all(header.read_in_last.into()))?;
            field(out, "cSegments", header.segments)
        }
        Header::V2(header) => {
            let [minor, major] = v2::wire::VERSION;
            field(out, "bMinorVersion", minor)?;
            field(out, "bMajorVersion", major)?;
            field(out, "bHashAlgo", format!("{code:#04x}: {hash}"))?;
            field(out, "ullStartInContent", header.content_start)?;
            field(out, "ullIndexOfFirstSegment", header.index_of_first)?;
            field(out, "dwOffsetInFirstSegment", header.offset_in_first)?;
            field(out, "ullLengthOfRange", all(header.range_len))
        }
    }
}

fn write_segment(structure: &Structure<'_>, segment: &Segment, out: &mut dyn Write) -> Result<(), Stop> {
    let is_v1 = matches!(structure.header, Header::V1(_));
    let bytes = bytes_of(segment);
    writeln!(out, "\nsegment {}: {}", segment.index(), span(&bytes))?;
    if is_v1 {
        field(out, "ullOffsetInContent", segment.offset())?;
    }
    field(out, "cbSegment", segment.byte_len())?;
    if is_v1 {
        field(out, "cbBlockSize", segment.block_bytes())?;
    }
    let part = match structure.in_range(&bytes) {
        Some(part) if part == bytes => "all of it".into(),
        Some(part) => span(&part),
        None => "nothing of it".into(),
    };
    field(out, "in the range", part)?;
    let state = match structure.check_hod(segment)? {
        HodState::Match => "matches the block hashes",
        HodState::Mismatch => "DOES NOT MATCH the block hashes",
        HodState::PartialList => "cannot be checked: hashes are left out",
        HodState::SingleBlock => "is the hash of the only block",
    };
    field(out, "SegmentHashOfData (HoD)", state)?;
    writeln!(out, "    {}", Hex(segment.hod().as_bytes()))?;
    let secret = segment.secret().expose();
    if structure.show_secrets {
        field(out, "SegmentSecret (Kp, Ke)", "")?;
        writeln!(out, "    {}", Hex(secret))?;
    } else {
        field(out, "SegmentSecret (Kp, Ke)", format!("{} bytes, not shown", secret.len()))?;
    }
    field(out, "identifier (HoHoDk)", "")?;
    writeln!(out, "    {}", Hex(segment.id(&mut SoftCrypto).as_bytes()))?;
    if is_v1 {
        write_blocks(structure, segment, out)?;
    }
    Ok(())
}

fn write_blocks(structure: &Structure<'_>, segment: &Segment, out: &mut dyn Write) -> Result<(), Stop> {
    let listed = segment.listed_blocks();
    let blocks = |range: &Range<u32>| match range.len() {
        1 => format!("block {}", range.start),
        _ => format!("blocks {}-{}", range.start, range.end.saturating_sub(1)),
    };
    field(out, "cBlocks", format!("{}: {} of {}", listed.len(), blocks(&listed), segment.block_count()))?;
    field(out, "blocks in the range", blocks(&segment.blocks_in_range()))?;
    for index in listed {
        if let Some(hash) = segment.block_hash(structure.source(), index)? {
            writeln!(out, "    {index:>3}  {}", Hex(hash.as_bytes()))?;
        }
    }
    Ok(())
}

fn field(out: &mut dyn Write, name: &str, value: impl Display) -> Result<(), Stop> {
    let line = format!("  {name:<25} {value}");
    Ok(writeln!(out, "{}", line.trim_end())?)
}
