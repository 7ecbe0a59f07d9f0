//! Forgetting what was cached under a tag.
//!
//! Stores know [`LABELS`], and no tags: the first of these go to tags as they come, and are free again
//! when nothing is left that has them. The last one is for all tags that find none free, so that to
//! flush one of those flushes them all: what goes too much is fetched again, and what stayed would be found.

use super::ContentTag;
use crate::api::error::ApiError;
use crate::api::instance::InstanceHandle;
use crate::api::operation::{Action, OperationId, Outcome};
use crate::api::waiting::Waiting;
use crate::api::{Api, Handle};
use crate::store::{LABELS, Label, Storage};

/// Tags that have a label of their own.
pub const TAGS: usize = LABELS - 1;

/// Which tag has which label.
#[derive(Clone, Copy)]
pub struct Tags {
    own: [Option<ContentTag>; TAGS],
    /// Whether any tag had to share.
    shared: bool,
}

impl Tags {
    pub(crate) const NONE: Self = Self { own: [None; TAGS], shared: false };

    /// The label that a tag has of its own.
    fn own(&self, tag: ContentTag) -> Option<Label> {
        let mut rows = (0u8..).zip(&self.own);
        let (number, _) = rows.find(|(_, other)| **other == Some(tag))?;
        Label::new(number)
    }

    /// The labels under which a tag may have cached anything: it may have shared before it had its own.
    fn find(&self, tag: ContentTag) -> [Option<Label>; 2] {
        [self.own(tag), if self.shared { Label::new(TAGS as u8) } else { None }]
    }

    /// The same, of one for which something is about to be cached: one of its own if there is a free one.
    fn give(&mut self, tag: ContentTag, is_free: &dyn Fn(ContentTag, Label) -> bool) -> Option<Label> {
        if !self.own.contains(&Some(tag)) {
            let mut rows = (0u8..).zip(&mut self.own);
            let free = rows.find(|(number, row)| {
                row.is_none_or(|other| Label::new(*number).is_some_and(|label| is_free(other, label)))
            });
            if let Some((_, row)) = free {
                *row = Some(tag);
            }
        }
        let own = self.own(tag);
        self.shared |= own.is_none();
        own.or(Label::new(TAGS as u8))
    }
}

impl Api<'_> {
    /// Removes from the cache all blocks that were cached under `tag` alone, added or read, since the node
    /// was made, and what waits under it (PeerDistClientFlushContent). It ends once none is left: while one is
    /// being read, that takes until then. No content need be open; an unknown tag is fine.
    pub fn flush_content(
        &mut self,
        instance: InstanceHandle,
        tag: ContentTag,
        key: usize,
    ) -> Result<OperationId, ApiError> {
        self.tables.available(instance)?;
        let handle = Handle::Instance(instance);
        let operation = self.tables.accept(instance, handle, key, Action::Flush(tag))?;
        Waiting::new(self.tables.pages).flush(tag);
        (*self.busy, self.tables.desk.flushes) = (true, true);
        Ok(operation)
    }

    /// Does what flushes wait for. Nothing but reads keeps a block: until one is given up or another is cached, nothing
    /// changes.
    pub(in crate::api) fn work_flushes(&mut self) {
        let changed = self.client.has_flushable();
        if !core::mem::take(&mut self.tables.desk.flushes) && !changed {
            return;
        }
        let mut last = None;
        while let Some(id) = self.tables.pending_after(last, &|row| row.flushed().is_some()) {
            last = Some(id);
            let Some(tag) = self.tables.pending(id).and_then(|row| row.flushed()) else { break };
            let mut is_over = true;
            for label in self.tables.desk.tags.find(tag).into_iter().flatten() {
                is_over &= self.parts.storage.forget_labelled(label);
            }
            if is_over {
                self.tables.end(id, Outcome::Done);
            }
        }
    }

    /// The label of what a content with that tag caches.
    pub(super) fn label(&mut self, tag: ContentTag) -> Option<Label> {
        let (client, storage): (_, &dyn Storage) = (&*self.client, &*self.parts.storage);
        let is_free = |tag, label| !client.has_tag(tag) && !storage.is_labelled(label);
        self.tables.desk.tags.give(tag, &is_free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_labels_as_long_as_there_are_any() {
        let tag = |n: u8| [n; 16];
        let mut tags = Tags::NONE;
        let never = |_: ContentTag, _: Label| false;
        for n in 0..TAGS as u8 {
            assert_eq!(tags.give(tag(n), &never), Label::new(n));
        }
        let shared = Label::new(TAGS as u8);
        assert!(shared.is_some());
        assert_eq!(tags.find(tag(80)), [None, None]);
        assert_eq!((tags.give(tag(90), &never), tags.give(tag(91), &never)), (shared, shared));
        assert_eq!(tags.give(tag(3), &never), Label::new(3));
        // Nothing is left of that one.
        assert_eq!(tags.give(tag(92), &|other, _| other == tag(4)), Label::new(4));
        assert_eq!((tags.find(tag(92)), tags.find(tag(4))), ([Label::new(4), shared], [None, shared]));
    }
}
