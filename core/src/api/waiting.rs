//! Data that an application added and that cannot be sealed yet: its key is not known, or what lies
//! before it in its block has not come. It waits here, outside the store, in pages that whoever builds
//! the node lends, and is wiped when it goes.

use core::ops::Range;

use zeroize::Zeroize;

use super::client::{ContentHandle, ContentTag};
use crate::bytes::copy;

/// Bytes of a page: one run of bytes each, so that what comes in small pieces wastes little.
pub const PAGE_BYTES: usize = 512;

/// A run of bytes of one content, or nothing.
pub struct Page {
    holder: Holder,
    tag: ContentTag,
    offset: u64,
    /// Where its bytes begin and how many there are.
    skip: usize,
    len: usize,
    /// Counts up, so that the oldest is known.
    age: u32,
    bytes: [u8; PAGE_BYTES],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Nobody,
    /// An open content.
    Content(ContentHandle),
    /// A content that was closed: any other one of its tag may describe the bytes.
    Closed(ContentHandle),
}

/// Whose pages are meant.
#[derive(Clone, Copy)]
pub enum Of {
    /// Those of an open content.
    Content(ContentHandle),
    /// Those that a content put there, whether it is open or was closed.
    Holder(ContentHandle),
    /// Those of all contents of this tag, open or closed.
    Tag(ContentTag),
}

/// The pages of one node.
pub struct Waiting<'a> {
    pages: &'a mut [Page],
}

impl Page {
    /// Nothing waits in it.
    pub const EMPTY: Self = Self {
        holder: Holder::Nobody,
        tag: [0; 16],
        offset: 0,
        skip: 0,
        len: 0,
        age: 0,
        bytes: [0; PAGE_BYTES],
    };

    /// Whether nothing waits in it.
    pub fn is_empty(&self) -> bool {
        self.holder == Holder::Nobody
    }

    fn holder(&self) -> Option<ContentHandle> {
        match self.holder {
            Holder::Nobody => None,
            Holder::Content(content) | Holder::Closed(content) => Some(content),
        }
    }

    fn is(&self, of: Of) -> bool {
        match of {
            Of::Content(content) => self.holder == Holder::Content(content),
            Of::Holder(content) => self.holder() == Some(content),
            Of::Tag(tag) => self.holder != Holder::Nobody && self.tag == tag,
        }
    }

    fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.len as u64)
    }

    /// The bytes from `offset` on.
    fn from(&self, offset: u64) -> &[u8] {
        let skip = usize::try_from(offset.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        self.held().get(skip..).unwrap_or_default()
    }

    /// Bytes that it can hold behind those it has.
    fn room(&self) -> usize {
        PAGE_BYTES.saturating_sub(self.skip.saturating_add(self.len))
    }

    fn held(&self) -> &[u8] {
        self.bytes.get(self.skip..).and_then(|bytes| bytes.get(..self.len)).unwrap_or_default()
    }

    /// Wipes all but the bytes that it holds.
    fn trim(&mut self) {
        let end = self.skip.saturating_add(self.len);
        self.bytes.get_mut(..self.skip).unwrap_or_default().zeroize();
        self.bytes.get_mut(end..).unwrap_or_default().zeroize();
    }

    fn wipe(&mut self) {
        self.holder = Holder::Nobody;
        (self.skip, self.len) = (0, 0);
        self.bytes.zeroize();
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl<'a> Waiting<'a> {
    /// What waits in `pages`.
    pub fn new(pages: &'a mut [Page]) -> Self {
        Self { pages }
    }

    /// Keeps `bytes` of a content, at `offset`; for how many there was no room. What waits already is not
    /// kept twice. Room is made of what closed contents left, oldest first.
    #[must_use]
    pub fn hold(&mut self, content: ContentHandle, tag: ContentTag, offset: u64, bytes: &[u8]) -> u32 {
        let of = Of::Content(content);
        if offset.checked_add(bytes.len() as u64).is_none() {
            return bytes.len() as u32;
        }
        let (mut offset, mut bytes, mut lost) = (offset, bytes, 0u32);
        while !bytes.is_empty() {
            let known = self.run(of, offset).len().min(bytes.len());
            let fresh = bytes.get(..self.gap(of, offset).min(bytes.len())).unwrap_or_default();
            let mut taken = if known > 0 { known } else { self.add(content, tag, offset, fresh) };
            if taken == 0 {
                taken = fresh.len();
                lost = lost.saturating_add(taken as u32);
            }
            offset = offset.saturating_add(taken as u64);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        lost
    }

    /// The bytes that wait from `offset` on, as far as one page has them.
    pub fn run(&self, of: Of, offset: u64) -> &[u8] {
        let page = self.pages.iter().find(|page| page.is(of) && page.range().contains(&offset));
        page.map_or(&[], |page| page.from(offset))
    }

    /// Where the first bytes within `range` begin.
    pub fn first(&self, of: Of, range: &Range<u64>) -> Option<u64> {
        let begins = |page: &Page| page.offset.max(range.start);
        let within = |page: &&Page| page.is(of) && begins(page) < page.range().end.min(range.end);
        self.pages.iter().filter(within).map(begins).min()
    }

    /// Whether all bytes of `range` wait.
    pub fn covers(&self, of: Of, range: &Range<u64>) -> bool {
        let mut at = range.start;
        while at < range.end {
            let run = self.run(of, at).len();
            if run == 0 {
                return false;
            }
            at = at.saturating_add(run as u64);
        }
        true
    }

    /// Forgets what waits within `range`, and wipes it. A page cannot hold what is in front of it and what is
    /// behind: how many bytes are lost by that.
    #[must_use]
    pub fn forget(&mut self, of: Of, range: &Range<u64>) -> u32 {
        let mut lost = 0u32;
        for page in self.pages.iter_mut().filter(|page| page.is(of)) {
            let held = page.range();
            if held.start >= range.end || held.end <= range.start {
                continue;
            }
            if held.start < range.start {
                // What is behind a block that is whole by now comes again, at worst.
                lost = lost.saturating_add(held.end.saturating_sub(range.end) as u32);
                page.len = range.start.saturating_sub(held.start) as usize;
            } else if held.end > range.end {
                let gone = range.end.saturating_sub(held.start) as usize;
                page.skip = page.skip.saturating_add(gone);
                page.offset = range.end;
                page.len = page.len.saturating_sub(gone);
            } else {
                page.len = 0;
            }
            page.trim();
            if page.len == 0 {
                page.wipe();
            }
        }
        lost
    }

    /// Whose bytes wait at `offset` for any content of `tag`, in the page of that number or behind: that page,
    /// and who.
    pub fn holder(&self, tag: ContentTag, offset: u64, page: usize) -> Option<(usize, ContentHandle)> {
        let pages = self.pages.iter().enumerate().skip(page);
        let mut held = pages.filter(|(_, page)| page.is(Of::Tag(tag)) && page.range().contains(&offset));
        held.find_map(|(number, page)| Some((number, page.holder()?)))
    }

    /// The content is closed: what waits of it may still be described by another one of its tag.
    pub fn close(&mut self, content: ContentHandle) {
        for page in self.pages.iter_mut().filter(|page| page.is(Of::Content(content))) {
            page.holder = Holder::Closed(content);
        }
    }

    /// Forgets all that waits with that tag.
    pub fn flush(&mut self, tag: ContentTag) {
        self.pages
            .iter_mut()
            .filter(|page| page.holder != Holder::Nobody && page.tag == tag)
            .for_each(Page::wipe);
    }

    /// Bytes from `offset` on that do not wait yet.
    fn gap(&self, of: Of, offset: u64) -> usize {
        let next = self
            .pages
            .iter()
            .filter(|page| page.is(of) && page.offset > offset)
            .map(|page| page.offset)
            .min();
        next.map_or(usize::MAX, |next| usize::try_from(next.saturating_sub(offset)).unwrap_or(usize::MAX))
    }

    /// Adds bytes that do not wait yet, to the page that ends where they begin or to another, and
    /// returns how many.
    fn add(&mut self, content: ContentHandle, tag: ContentTag, offset: u64, bytes: &[u8]) -> usize {
        let of = Of::Content(content);
        let newest = self.pages.iter().map(|page| page.age).max().unwrap_or(0);
        let grows = |page: &Page| page.is(of) && page.range().end == offset && page.room() > 0;
        let position = self.pages.iter().position(grows).or_else(|| self.free());
        let Some(page) = position.and_then(|position| self.pages.get_mut(position)) else { return 0 };
        if !grows(page) {
            page.wipe();
            (page.holder, page.tag, page.offset) = (Holder::Content(content), tag, offset);
            page.age = newest.saturating_add(1);
        }
        let room = page.bytes.get_mut(page.skip.saturating_add(page.len)..).unwrap_or_default();
        let len = copy(room, bytes);
        page.len = page.len.saturating_add(len);
        len
    }

    /// A page that is empty, or that of the closed contents that is oldest.
    fn free(&self) -> Option<usize> {
        let empty = self.pages.iter().position(|page| page.holder == Holder::Nobody);
        empty.or_else(|| {
            let closed =
                self.pages.iter().enumerate().filter(|(_, page)| matches!(page.holder, Holder::Closed(_)));
            closed.min_by_key(|(_, page)| page.age).map(|(position, _)| position)
        })
    }
}

#[cfg(test)]
mod tests;
