//! What of a content lies in the store, and what does not.

use core::ops::Range;

use super::{Client, Completion, ContentHandle, Parts, ReadResult, Stage, Wish};
use crate::fetch::Failures;
use crate::store::BlockId;

/// Blocks that one call of the machine counts for a read of no bytes.
const RUN_STEP: u32 = 64;

/// Segments that are searched for where a missing range ends; one that reaches beyond ends there.
const EXTENT_SEGMENTS: u32 = 16;

impl Client {
    /// All that is missing of a content from where `missing` begins: up to the next block in the store, or
    /// to where it ends to be described.
    #[inline(never)]
    pub(super) fn missing(
        &self,
        parts: &mut Parts<'_>,
        handle: ContentHandle,
        wish: &Wish,
        missing: Range<u64>,
        described: u64,
    ) -> Range<u64> {
        if !wish.whole {
            return missing;
        }
        let mut end = missing.end;
        for _ in 0..EXTENT_SEGMENTS {
            let Ok(segment) = self.segment_at(parts.storage, handle, end) else { break };
            let id = segment.id(parts.crypto);
            // No segment is longer than 32 bits tell.
            let within = end.saturating_sub(segment.offset()) as u32;
            let first = within.checked_div(segment.block_bytes()).unwrap_or(0);
            let begins = first == 0 && parts.storage.find(&BlockId { segment: id, index: 0 }).is_some();
            let next = if begins { Some(0) } else { parts.storage.next_block(&id, first.saturating_sub(1)) };
            let here = next.map(|next| next.saturating_mul(segment.block_bytes()));
            end = end.max(segment.offset().saturating_add(here.unwrap_or(segment.byte_len()).into()));
            if next.is_some() || end >= described {
                break;
            }
        }
        missing.start..end.min(described)
    }

    /// Counts what of the content lies in the store where `run` ends; its completion when that is all.
    #[inline(never)]
    pub(super) fn count(
        &mut self,
        parts: &mut Parts<'_>,
        index: usize,
        run: Range<u64>,
    ) -> Option<Completion> {
        let read = self.reads.get(index)?;
        let (id, handle) = (read.id, read.content);
        let (mut end, mut is_over) = (run.end, true);
        let described = self.ready(handle).map_or(0..0, |complete| complete.info.range());
        let result = if described.contains(&run.start) {
            for _ in 0..RUN_STEP {
                is_over = end >= described.end || !self.is_stored(parts, handle, end);
                if is_over {
                    break;
                }
                end = self.locate(parts, handle, end).map_or(end, |located| located.end());
            }
            ReadResult::Local { range: run.start..end.min(described.end) }
        } else {
            ReadResult::NoMore
        };
        let read = self.reads.get_mut(index)?;
        read.stage = if is_over { Stage::Over } else { Stage::Counting(run.start..end) };
        is_over.then(|| Completion { read: id, content: handle, result, failures: Failures::new() })
    }
}
