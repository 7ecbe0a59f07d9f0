//! What of a content lies in the store, under which label, and what does not.

use core::ops::Range;

use super::reads::{Stage, Wish};
use super::{Client, Completion, Content, ContentHandle, ContentTag, Located, Parts, ReadResult, State};
use crate::content::SegmentId;
use crate::fetch::Failures;
use crate::store::{BlockId, Label, SlotId, Storage};

/// Blocks that one call of the machine counts for a read of no bytes.
const RUN_STEP: u32 = 64;

/// Segments that are searched for where a missing range ends, or blocks that are kept apart; one that reaches
/// beyond ends there.
const EXTENT_SEGMENTS: u32 = 16;

impl Client {
    /// Labels what is cached by a content from now on.
    pub(in crate::api) fn set_label(&mut self, handle: ContentHandle, label: Option<Label>) {
        if let Some(content) = self.content_mut(handle) {
            content.label = label;
        }
    }

    /// Whether a content with that tag is open.
    pub(in crate::api) fn has_tag(&self, tag: ContentTag) -> bool {
        let open = |content: &&Content| !matches!(content.state, State::Closed);
        self.contents.iter().filter(open).any(|content| content.tag == tag)
    }

    /// Labels a block that a content has cached, or has found in the store.
    pub(super) fn label(&mut self, storage: &mut dyn Storage, handle: ContentHandle, slot: SlotId) {
        if let Some(label) = self.content(handle).and_then(|content| content.label) {
            storage.label(slot, label);
            self.flushable = true;
        }
    }

    /// Which blocks of a segment are in the store; what is kept apart belongs to none.
    pub fn stored_blocks<'s>(
        &self,
        storage: &'s dyn Storage,
        segment: SegmentId,
    ) -> impl Iterator<Item = u32> + use<'s> {
        let first = storage.has(&BlockId { segment, index: 0 }).then_some(0);
        let first = first.or_else(|| storage.next_block(&segment, 0));
        core::iter::successors(first, move |index| storage.next_block(&segment, *index))
    }

    /// What an application is told to be missing from where `missing` begins. If peers were asked, that is the rest
    /// of the block: of those behind, they may have some. If nobody was, it reaches to the next block in the
    /// store, or to where the content ends to be described.
    #[inline(never)]
    pub(super) fn missing(
        &self,
        parts: &mut Parts<'_>,
        handle: ContentHandle,
        wish: &Wish,
        block_end: u64,
        described: u64,
    ) -> Range<u64> {
        let mut end = block_end.min(described);
        for _ in 0..EXTENT_SEGMENTS {
            if !wish.local || end >= described {
                break;
            }
            let Ok(Located { segment, block, kept, .. }) = self.locate(parts, handle, end) else { break };
            if parts.storage.has(&kept) {
                break;
            }
            // Blocks that are kept apart have nothing in common by which they could be found together.
            let next = match segment.is_whole() {
                true => parts.storage.next_block(&block.segment, block.index),
                false => block.index.checked_add(1),
            };
            let bytes = next.map_or(u32::MAX, |next| next.saturating_mul(segment.block_bytes()));
            let bytes = bytes.min(segment.byte_len());
            end = segment.offset().saturating_add(bytes.into()).min(described);
        }
        wish.offset..end
    }

    /// What a read comes to whose time was over before there was a row for it. A stream moves on.
    #[inline(never)]
    pub(in crate::api) fn out_of_time(
        &mut self,
        parts: &mut Parts<'_>,
        handle: ContentHandle,
        offset: Option<u64>,
    ) -> ReadResult {
        let at = offset.unwrap_or(self.position(handle));
        let described = self.ready(handle).map_or(0..0, |complete| complete.info.range());
        if !described.contains(&at) {
            return ReadResult::NoMore;
        }
        let located = match self.locate(parts, handle, at) {
            Ok(located) => located,
            Err(error) => return ReadResult::Failed(error),
        };
        let range = at..located.end().min(described.end);
        if let (None, Some(content)) = (offset, self.content_mut(handle)) {
            content.position = range.end;
        }
        ReadResult::TimedOut { range }
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
                let located = if end < described.end { self.locate(parts, handle, end).ok() } else { None };
                let here = located.filter(|located| located.stored(parts.storage).is_some());
                is_over = here.is_none();
                let Some(located) = here else { break };
                end = located.end();
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
