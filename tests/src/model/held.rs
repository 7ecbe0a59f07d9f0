//! Bytes that wait to be verified: what came first at each offset, in pages of which there are only so many.

use std::ops::Range;

/// Bytes of a page: one run of one content.
const PAGE: usize = 512;

/// All that waits.
pub(super) struct Held {
    pages: Vec<Option<Page>>,
    /// Pages that were ever begun.
    begun: u64,
    /// Counts what changes.
    pub(super) changes: u64,
    /// Whether anything ever waited.
    pub(super) is_used: bool,
}

struct Page {
    content: usize,
    tag: u8,
    is_open: bool,
    offset: u64,
    bytes: Vec<u8>,
    /// Bytes in front that were forgotten: their room is not used again.
    skipped: usize,
    age: u64,
}

/// Whose bytes are meant.
#[derive(Clone, Copy)]
pub(super) enum Of {
    /// Those of an open content.
    Content(usize),
    /// Those of one that may be closed.
    Holder(usize),
    /// Those of all contents of the tag, open or closed.
    Tag(u8),
}

impl Page {
    fn is(&self, of: Of) -> bool {
        match of {
            Of::Content(content) => self.is_open && self.content == content,
            Of::Holder(content) => self.content == content,
            Of::Tag(tag) => self.tag == tag,
        }
    }

    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    fn has(&self, offset: u64) -> bool {
        (self.offset..self.end()).contains(&offset)
    }

    fn room(&self) -> usize {
        PAGE - self.skipped - self.bytes.len()
    }
}

impl Held {
    pub(super) fn new(pages: usize) -> Self {
        let pages = std::iter::repeat_with(|| None).take(pages).collect();
        Self { pages, begun: 0, changes: 0, is_used: false }
    }

    /// Keeps what is not there yet; for how many bytes there is no room.
    pub(super) fn hold(&mut self, content: usize, tag: u8, mut offset: u64, mut bytes: &[u8]) -> u64 {
        self.is_used = true;
        let mut lost = 0;
        while !bytes.is_empty() {
            let own = || self.pages.iter().flatten().filter(|page| page.is(Of::Content(content)));
            let known = own().find(|page| page.has(offset)).map(|page| page.end());
            let next = own().map(|page| page.offset).filter(|next| *next > offset).min();
            let until = known.or(next).map_or(bytes.len(), |end| bytes.len().min((end - offset) as usize));
            let taken = match known {
                Some(_) => until,
                None => match self.add(content, tag, offset, &bytes[..until]) {
                    0 => {
                        lost += until as u64;
                        until
                    }
                    taken => taken,
                },
            };
            offset += taken as u64;
            bytes = &bytes[taken..];
        }
        lost
    }

    /// Adds what is new to the page that ends there, or to another; how much of it has room.
    fn add(&mut self, content: usize, tag: u8, offset: u64, bytes: &[u8]) -> usize {
        let grows =
            |page: &&mut Page| page.is(Of::Content(content)) && page.end() == offset && page.room() > 0;
        if self.pages.iter_mut().flatten().find(grows).is_none() {
            let place = self.pages.iter().position(Option::is_none).or_else(|| {
                // What closed contents left makes room, oldest first.
                let closed =
                    self.pages.iter().enumerate().filter_map(|(place, page)| Some((page.as_ref()?, place)));
                closed
                    .filter(|(page, _)| !page.is_open)
                    .min_by_key(|(page, _)| page.age)
                    .map(|(_, place)| place)
            });
            let Some(place) = place else { return 0 };
            self.begun += 1;
            let (bytes, age) = (Vec::new(), self.begun);
            self.pages[place] = Some(Page { content, tag, is_open: true, offset, bytes, skipped: 0, age });
        }
        let page = self.pages.iter_mut().flatten().find(grows).unwrap();
        let len = page.room().min(bytes.len());
        page.bytes.extend(&bytes[..len]);
        self.changes += 1;
        len
    }

    /// The bytes from an offset on that the first page has which has that one.
    fn run(&self, of: Of, offset: u64) -> &[u8] {
        let page = self.pages.iter().flatten().find(|page| page.is(of) && page.has(offset));
        page.map_or(&[], |page| &page.bytes[(offset - page.offset) as usize..])
    }

    /// Where the first of a range is.
    pub(super) fn first(&self, of: Of, range: Range<u64>) -> Option<u64> {
        let pages = self.pages.iter().flatten().filter(|page| page.is(of));
        let within = pages.filter(|page| page.offset.max(range.start) < page.end().min(range.end));
        within.map(|page| page.offset.max(range.start)).min()
    }

    /// The bytes of a range from its beginning on, as far as they are there.
    pub(super) fn bytes(&self, of: Of, range: Range<u64>) -> Vec<u8> {
        let (mut bytes, len) = (Vec::new(), (range.end - range.start) as usize);
        while let run = self.run(of, range.start + bytes.len() as u64)
            && !run.is_empty()
            && bytes.len() < len
        {
            bytes.extend(run);
        }
        bytes.truncate(len);
        bytes
    }

    /// Those of a tag that hold the byte at an offset, as their pages lie.
    pub(super) fn holders(&self, tag: u8, offset: u64) -> Vec<usize> {
        let pages = self.pages.iter().flatten().filter(|page| page.is(Of::Tag(tag)) && page.has(offset));
        pages.map(|page| page.content).collect()
    }

    /// Forgets a range; how many bytes behind it are lost with it, since a page is one run.
    pub(super) fn forget(&mut self, of: Of, range: Range<u64>) -> u64 {
        let mut lost = 0;
        for place in &mut self.pages {
            let Some(page) = place.as_mut().filter(|page| page.is(of)) else { continue };
            if page.offset >= range.end || page.end() <= range.start {
                continue;
            }
            self.changes += 1;
            if page.offset < range.start {
                lost += page.end().saturating_sub(range.end);
                page.bytes.truncate((range.start - page.offset) as usize);
            } else if page.end() > range.end {
                let gone = (range.end - page.offset) as usize;
                page.bytes.drain(..gone);
                (page.offset, page.skipped) = (range.end, page.skipped + gone);
            } else {
                *place = None;
            }
        }
        lost
    }

    /// What a closed content leaves is for others of its tag.
    pub(super) fn close(&mut self, content: usize) {
        let pages = self.pages.iter_mut().flatten().filter(|page| page.content == content);
        pages.for_each(|page| page.is_open = false);
    }

    pub(super) fn flush(&mut self, tag: u8) {
        for place in &mut self.pages {
            if place.as_ref().is_some_and(|page| page.tag == tag) {
                *place = None;
            }
        }
    }
}
