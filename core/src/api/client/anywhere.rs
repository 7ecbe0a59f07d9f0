//! Data from the application at any offset, in any order, before or after there is content information
//! (PeerDistClientAddData): what cannot be sealed yet waits outside the store.

use core::ops::Range;

use super::{Added, ApiError, CONTENTS, Client, ContentHandle, ContentTag, Parts, State, until};
use crate::api::waiting::{Of, Waiting};
use crate::content::Info;
use crate::limits::{SEGMENT_BYTES, VERIFY_STEP_BYTES};
use crate::store::Storage;

/// What became of data that was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Kept {
    /// Blocks that are whole, verified and in the store since.
    pub committed: u32,
    /// Blocks that were whole and are not what the content information says: dropped (gap G9).
    pub bad: u32,
    /// Bytes for which there was no room.
    pub dropped: u32,
}

/// How far what waits for a content has been looked through.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Settling {
    Done,
    /// What waits for any content of the same tag, from there on.
    Tagged(u64),
    /// Its own, from there on.
    Own(u64),
}

impl Settling {
    /// All of its own may be of use. That follows what waits for any content, which is looked through once.
    fn restart(&mut self) {
        if !matches!(self, Self::Tagged(_)) {
            *self = Self::Own(0);
        }
    }
}

impl Client {
    /// Adds bytes at `offset` of a content, as many as there are. What it is not known yet how to verify, or
    /// what lacks bytes before it in its block, is held in `waiting`. `Ok(None)`: `offset` is beyond
    /// the end of the content.
    #[inline(never)]
    pub fn add_anywhere(
        &mut self,
        parts: &mut Parts<'_>,
        waiting: &mut Waiting<'_>,
        handle: ContentHandle,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Option<Kept>, ApiError> {
        let content = self.content(handle).ok_or(ApiError::InvalidHandle)?;
        let mut adding = Adding { handle, tag: content.tag, offset, bytes, kept: Kept::default() };
        match &content.state {
            State::Unusable(_, error) => return Err(ApiError::CannotParse(*error)),
            State::Complete(complete) if complete.unchecked.is_none() => {}
            // Gap G12: it is verified later.
            _ => {
                self.hold(waiting, &mut adding, bytes.len());
                return Ok(Some(adding.kept));
            }
        }
        if let Some(end) = self.content_end(parts.storage, handle) {
            if offset >= end {
                return Ok(None);
            }
            adding.bytes = bytes.get(..until(end, offset, bytes)).unwrap_or_default();
            adding.kept.dropped = bytes.len().saturating_sub(adding.bytes.len()) as u32;
        }
        while !adding.bytes.is_empty() {
            self.add_piece(parts, waiting, &mut adding);
        }
        Ok(Some(adding.kept))
    }

    /// Looks through what waits for contents whose reads can begin, a few KiB of each in turn: what can be sealed
    /// by now goes into the store. What became of it, if there may be more.
    #[inline(never)]
    pub fn settle(&mut self, parts: &mut Parts<'_>, waiting: &mut Waiting<'_>) -> Option<Kept> {
        let contents = (0u8..).zip(&self.contents).cycle().skip(self.next_settled.into()).take(CONTENTS);
        let mut unsettled = contents.filter(|(_, content)| self.holds && content.is_unsettled());
        let (index, content) = unsettled.next()?;
        let mut kept = Kept::default();
        let (handle, tag) = (ContentHandle { index, generation: content.generation }, content.tag);
        let settling = content.settling;
        if let Some(content) = self.content_mut(handle) {
            content.settling = Settling::Done;
        }
        let settling = match settling {
            Settling::Done => Settling::Done,
            Settling::Tagged(from) => {
                let next = self.settle_tagged(parts, waiting, handle, tag, from, &mut kept);
                next.map_or(Settling::Own(0), Settling::Tagged)
            }
            Settling::Own(from) => {
                self.settle_own(parts, waiting, handle, from, &mut kept).map_or(Settling::Done, Settling::Own)
            }
        };
        // Whoever gave a block or a row free may have given it to what was passed over.
        if let Some(content) = self.content_mut(handle)
            && (content.settling == Settling::Done || matches!(settling, Settling::Tagged(_)))
        {
            content.settling = settling;
        }
        self.next_settled = index.saturating_add(1);
        Some(kept)
    }

    /// What waits for a content may be of use by now.
    pub(super) fn unsettle(&mut self, handle: ContentHandle) {
        if let Some(content) = self.content_mut(handle) {
            content.settling.restart();
        }
    }

    /// The same of all contents: others do not keep a block from them any more.
    pub(super) fn unsettle_all(&mut self) {
        self.freed = true;
        self.contents.iter_mut().for_each(|content| content.settling.restart());
    }

    /// Takes what bytes of one block are in front.
    fn add_piece(&mut self, parts: &mut Parts<'_>, waiting: &mut Waiting<'_>, adding: &mut Adding<'_>) {
        let Adding { handle, offset, bytes, .. } = *adding;
        if let Some(filled) = self.filled(handle, offset) {
            match offset.checked_sub(filled.end) {
                // It was here before.
                None => return adding.skip(until(filled.end, offset, bytes)),
                Some(0) => return self.feed(parts, waiting, adding),
                Some(_) => {}
            }
        }
        let Ok(located) = self.locate(parts, handle, offset) else {
            let described = self.described(parts, handle, 0);
            let len =
                if offset < described.start { until(described.start, offset, bytes) } else { bytes.len() };
            return self.hold(waiting, adding, len);
        };
        // What is added in order is found from near by.
        self.come_near(handle, &located.segment);
        let rest = until(located.end(), offset, bytes);
        if parts.storage.has(&located.kept) {
            adding.kept.lose(waiting.forget(Of::Content(handle), &(located.start..located.end())));
            adding.skip(rest);
        } else if offset == located.start {
            self.feed(parts, waiting, adding);
        } else {
            self.hold(waiting, adding, rest);
        }
    }

    /// Seals the bytes in front, and those that wait for them.
    fn feed(&mut self, parts: &mut Parts<'_>, waiting: &mut Waiting<'_>, adding: &mut Adding<'_>) {
        let Adding { handle, offset, bytes, .. } = *adding;
        let Ok((used, added)) = self.add_data(parts, handle, offset, bytes) else {
            // No table or store has room for its block; that may change.
            let rest =
                self.locate(parts, handle, offset).map_or(bytes.len(), |it| until(it.end(), offset, bytes));
            return self.hold(waiting, adding, rest);
        };
        match added {
            Added::Partial => {
                adding.skip(used);
                adding.kept.add(self.pull(parts, waiting, Of::Content(handle), handle, offset, u32::MAX));
            }
            // A peer may still fail to give it.
            Added::Known => self.hold(waiting, adding, used),
            Added::OutOfOrder => adding.skip(used),
            Added::Committed | Added::Bad => {
                adding.kept.count(added);
                adding.skip(used);
            }
        }
    }

    /// Seals what waits for the block under way that holds `offset`, about `budget` bytes of it.
    fn pull(
        &mut self,
        parts: &mut Parts<'_>,
        waiting: &mut Waiting<'_>,
        of: Of,
        handle: ContentHandle,
        offset: u64,
        budget: u32,
    ) -> Kept {
        let (mut kept, mut pulled) = (Kept::default(), 0u32);
        while let Some(filled) = self.filled(handle, offset)
            && pulled < budget
        {
            let run = waiting.run(of, filled.end);
            if run.is_empty() {
                break;
            }
            let Ok((used, added)) = self.add_data(parts, handle, filled.end, run) else { break };
            pulled = pulled.saturating_add(used.max(1) as u32);
            kept.count(added);
            // What another content left is not given up before it is proven to be of this one.
            if added == Added::Committed || matches!(of, Of::Content(_)) {
                kept.lose(waiting.forget(of, &(filled.start..filled.end.saturating_add(used as u64))));
            }
            if added != Added::Partial {
                break;
            }
        }
        kept
    }

    /// One step through a content's own; where to go on.
    fn settle_own(
        &mut self,
        parts: &mut Parts<'_>,
        waiting: &mut Waiting<'_>,
        handle: ContentHandle,
        from: u64,
        kept: &mut Kept,
    ) -> Option<u64> {
        let of = Of::Content(handle);
        let at = waiting.first(of, &self.described(parts, handle, from))?;
        let Ok(located) = self.locate(parts, handle, at) else { return None };
        let block = located.start..located.end();
        let filled = self.filled(handle, block.start);
        if parts.storage.has(&located.kept) {
            kept.lose(waiting.forget(of, &block));
        } else if !waiting.run(of, filled.as_ref().map_or(block.start, |filled| filled.end)).is_empty()
            && (filled.is_some() || self.begin_intake(parts, handle, &located) == Ok(true))
        {
            kept.add(self.pull(parts, waiting, of, handle, block.start, VERIFY_STEP_BYTES));
            // What made no progress is left for later.
            let before = filled.map_or(block.start, |filled| filled.end);
            let filled = self.filled(handle, block.start).filter(|filled| filled.end > before);
            if filled.is_some_and(|filled| !waiting.run(of, filled.end).is_empty()) {
                return Some(block.start);
            }
        }
        Some(block.end)
    }

    /// One step through what waits for any content of its tag: a block is tried if all of it is there, for
    /// it may be of another one; where to go on.
    fn settle_tagged(
        &mut self,
        parts: &mut Parts<'_>,
        waiting: &mut Waiting<'_>,
        handle: ContentHandle,
        tag: ContentTag,
        from: u64,
        kept: &mut Kept,
    ) -> Option<u64> {
        let at = waiting.first(Of::Tag(tag), &self.described(parts, handle, from))?;
        let Ok(located) = self.locate(parts, handle, at) else { return None };
        let block = located.start..located.end();
        // Several may hold parts of one content, or each another content: which it is shows when it is tried.
        let (mut of, mut page) = (Of::Tag(tag), 0);
        loop {
            if waiting.covers(of, &block) && self.begin_intake(parts, handle, &located) == Ok(true) {
                let pulled = self.pull(parts, waiting, of, handle, block.start, u32::MAX);
                if pulled.committed > 0 {
                    kept.add(pulled);
                    break;
                }
            }
            let Some((number, holder)) = waiting.holder(tag, block.start, page) else { break };
            (of, page) = (Of::Holder(holder), number.saturating_add(1));
        }
        Some(block.end)
    }

    /// The first `len` bytes have to wait.
    fn hold(&mut self, waiting: &mut Waiting<'_>, adding: &mut Adding<'_>, len: usize) {
        let bytes = adding.bytes.get(..len).unwrap_or(adding.bytes);
        self.holds = true;
        adding.kept.lose(waiting.hold(adding.handle, adding.tag, adding.offset, bytes));
        // It may be the last that its block lacked.
        self.unsettle(adding.handle);
        adding.skip(bytes.len());
    }

    /// The bytes of a content that can be verified, from `from` on: those of blocks of which content
    /// information describes any part.
    fn described(&self, parts: &mut Parts<'_>, handle: ContentHandle, from: u64) -> Range<u64> {
        let range = self.ready(handle).map_or(0..0, |complete| complete.info.range());
        let mut block =
            |offset| self.locate(parts, handle, offset).map(|located| located.start..located.end());
        let start = block(range.start).map_or(range.start, |block| block.start);
        let end = block(range.end.saturating_sub(1)).map_or(range.end, |block| block.end);
        start.max(from)..end
    }

    /// What of the block under way that holds `offset` has been taken.
    fn filled(&self, handle: ContentHandle, offset: u64) -> Option<Range<u64>> {
        let inflow = self.intakes.get(self.inflow(handle, offset)?)?;
        Some(inflow.start..inflow.start.saturating_add(inflow.intake.taken().into()))
    }

    /// Where the content ends, if that is known: in version 1.0, behind a last segment that is shorter than
    /// the others. Version 2.0 tells nothing of the kind, and few ranges of it end with a segment: what
    /// begins at 0 and does is taken for all.
    fn content_end(&self, storage: &dyn Storage, handle: ContentHandle) -> Option<u64> {
        let complete = self.ready(handle).ok()?;
        match &complete.info {
            Info::V1(info) => {
                let last =
                    info.segment(&complete.view(storage), info.segment_count().checked_sub(1)?).ok()?;
                let end = last.offset().saturating_add(last.byte_len().into());
                (last.byte_len() < SEGMENT_BYTES).then_some(end)
            }
            Info::V2(info) => {
                let end = info.content_end();
                (complete.info.range() == (0..end)).then_some(end)
            }
        }
    }
}

/// Bytes that are being added.
struct Adding<'a> {
    handle: ContentHandle,
    tag: ContentTag,
    offset: u64,
    bytes: &'a [u8],
    kept: Kept,
}

impl Adding<'_> {
    /// The first `len` bytes are dealt with.
    fn skip(&mut self, len: usize) {
        // Nothing would ever come of an empty step.
        let len = len.max(1);
        self.offset = self.offset.saturating_add(len as u64);
        self.bytes = self.bytes.get(len..).unwrap_or_default();
    }
}

impl Kept {
    fn add(&mut self, more: Self) {
        self.committed = self.committed.saturating_add(more.committed);
        self.bad = self.bad.saturating_add(more.bad);
        self.lose(more.dropped);
    }

    fn lose(&mut self, bytes: u32) {
        self.dropped = self.dropped.saturating_add(bytes);
    }

    fn count(&mut self, added: Added) {
        self.committed = self.committed.saturating_add(u32::from(added == Added::Committed));
        self.bad = self.bad.saturating_add(u32::from(added == Added::Bad));
    }
}
