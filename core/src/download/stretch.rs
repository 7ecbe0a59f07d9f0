//! The run of blocks that is worked on at a time, in the order of the content.

use core::ops::Range;

use crate::api::client::{ApiError, Client, ContentHandle, NEAR_SEGMENTS};
use crate::content::{Segment, Version};
use crate::limits::{BLOCK_BYTES, SEGMENT_BLOCKS};
use crate::store::Storage;

/// Segments of content information 2.0 in a stretch, each a block. So many are near each other,
/// and have 17 MiB if they are 67 KiB long: enough that clients that start together rarely pick the
/// same ones.
pub(super) const STRETCH_SEGMENTS: u32 = NEAR_SEGMENTS;

/// Blocks of the longest stretch.
pub(super) const STRETCH_BLOCKS: u32 = SEGMENT_BLOCKS;

const _: () = assert!(STRETCH_SEGMENTS <= STRETCH_BLOCKS);

/// One segment of version 1.0, or [`STRETCH_SEGMENTS`] of version 2.0. Its blocks are counted from 0.
pub(super) struct Stretch {
    version: Version,
    segments: Range<u32>,
    /// The segments of all that is wanted end there.
    end: u32,
    wanted: Range<u64>,
}

impl Stretch {
    /// The empty stretch in front of what is `wanted`, which is not empty.
    #[inline(never)]
    pub(super) fn before(
        client: &Client,
        storage: &dyn Storage,
        content: ContentHandle,
        version: Version,
        wanted: Range<u64>,
    ) -> Result<Self, ApiError> {
        let first = client.segment_at(storage, content, wanted.start)?.index();
        // Content information may describe segments behind its range.
        let last = client.segment_at(storage, content, wanted.end.saturating_sub(1))?;
        Ok(Self { version, segments: first..first, end: last.index().saturating_add(1), wanted })
    }

    /// Goes on to the next stretch: its blocks, or `None` behind the last.
    #[inline(never)]
    pub(super) fn advance(
        &mut self,
        client: &mut Client,
        storage: &dyn Storage,
        content: ContentHandle,
    ) -> Result<Option<Range<u32>>, ApiError> {
        let first = self.segments.end;
        if first >= self.end {
            return Ok(None);
        }
        let segment = client.segment(storage, content, first)?;
        client.go_to(content, &segment);
        let (segments, blocks) = match self.version {
            Version::V1 => {
                let Range { start, end } = segment.blocks_in_range();
                let before = |offset: u64| offset.saturating_sub(segment.offset());
                let first = before(self.wanted.start) / u64::from(BLOCK_BYTES);
                let behind = before(self.wanted.end).div_ceil(BLOCK_BYTES.into());
                // Those that are compared with are 32 bits long.
                (1, first.max(start.into()) as u32..behind.min(end.into()) as u32)
            }
            Version::V2 => {
                let segments = self.end.saturating_sub(first).min(STRETCH_SEGMENTS);
                (segments, 0..segments)
            }
        };
        self.segments = first..first.saturating_add(segments);
        Ok(Some(blocks))
    }

    /// The segment that all blocks of it belong to, if there is one: peers can then be asked which
    /// of them they have.
    pub(super) fn segment(
        &self,
        client: &Client,
        storage: &dyn Storage,
        content: ContentHandle,
    ) -> Result<Option<Segment>, ApiError> {
        match self.version {
            Version::V1 => client.segment(storage, content, self.segments.start).map(Some),
            Version::V2 => Ok(None),
        }
    }

    /// Offsets of a block in the content, except that the last one of version 1.0 may be shorter.
    #[inline(never)]
    pub(super) fn span(
        &self,
        client: &Client,
        storage: &dyn Storage,
        content: ContentHandle,
        block: u32,
    ) -> Result<Range<u64>, ApiError> {
        let (segment, block) = match self.version {
            Version::V1 => (self.segments.start, block),
            Version::V2 => (self.segments.start.saturating_add(block), 0),
        };
        let segment = client.segment(storage, content, segment)?;
        let len = u64::from(segment.block_bytes());
        let start = segment.offset().saturating_add(u64::from(block).saturating_mul(len));
        Ok(start..start.saturating_add(len))
    }
}
