//! Content informations side by side in one piece of memory.
//!
//! Each has room behind it to grow. Where that is used up it moves behind all others with twice as much, so that it
//! moves seldom; and where there is no more memory for that, all share what is left.

use heapless::Vec;
use zeroize::Zeroize;

use super::INFO_SLOTS;
use crate::bytes::copy;
use crate::content::{InfoSource as _, InfoUnreadable};
use crate::store::{InfoId, InfoStore, InfoStoreFull};

/// All of them, wiped when they go: they hold the keys of what they describe.
pub(super) struct Infos<I: AsMut<[u8]>> {
    bytes: I,
    spans: Vec<Span, INFO_SLOTS>,
    next: u8,
    /// Bytes that were moved so far.
    #[cfg(test)]
    pub(super) moved: usize,
}

/// Where one lies; they follow each other without gaps, in the order of this table.
struct Span {
    id: InfoId,
    len: usize,
    /// With what it may grow by.
    room: usize,
}

impl<I: AsRef<[u8]> + AsMut<[u8]>> Infos<I> {
    pub(super) fn new(bytes: I) -> Self {
        Self {
            bytes,
            spans: Vec::new(),
            next: 0,
            #[cfg(test)]
            moved: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Where one begins, and its place in the table.
    fn find(&self, id: InfoId) -> Option<(usize, usize)> {
        let mut start = 0usize;
        for (place, span) in self.spans.iter().enumerate() {
            if span.id == id {
                return Some((start, place));
            }
            start = start.saturating_add(span.room);
        }
        None
    }

    fn span(&self, id: InfoId) -> Option<core::ops::Range<usize>> {
        let (start, place) = self.find(id)?;
        Some(start..start.saturating_add(self.spans.get(place)?.len))
    }

    /// Bytes up to the end of the last.
    fn used(&self) -> usize {
        self.spans.iter().map(|span| span.room).fold(0, usize::saturating_add)
    }

    /// Has the bytes of `range` change places: those behind its first `front` bytes come first.
    fn rotate(&mut self, range: core::ops::Range<usize>, front: usize) {
        if let Some(bytes) = self.bytes.as_mut().get_mut(range)
            && (1..bytes.len()).contains(&front)
        {
            bytes.rotate_left(front);
            #[cfg(test)]
            {
                self.moved += bytes.len();
            }
        }
    }

    /// Moves one behind all others.
    fn move_last(&mut self, id: InfoId) -> Option<()> {
        let (start, place) = self.find(id)?;
        let (used, room) = (self.used(), self.spans.get(place)?.room);
        self.rotate(start..used, room);
        if let spans @ [_, ..] = self.spans.get_mut(place..)? {
            spans.rotate_left(1);
        }
        Some(())
    }

    /// Makes room for one to be `len` bytes long; `None` if there is none.
    fn grow(&mut self, id: InfoId, len: usize) -> Option<()> {
        let (start, place) = self.find(id)?;
        let (all, used) = (self.bytes.as_ref().len(), self.used());
        let span = self.spans.get_mut(place)?;
        if len <= span.room {
            return Some(());
        }
        let others = used.saturating_sub(span.room);
        // Behind the last there is nobody.
        let is_last = start.saturating_add(span.room) == used;
        if others.checked_add(len)? > all {
            return self.share(id, len);
        }
        if is_last {
            span.room = len;
            return Some(());
        }
        self.move_last(id)?;
        self.spans.last_mut()?.room = len.saturating_mul(2).min(all.saturating_sub(others));
        Some(())
    }

    /// Gives each an equal part of the memory that nobody has, where one is to be `len` bytes long.
    fn share(&mut self, id: InfoId, len: usize) -> Option<()> {
        let target = |span: &Span| if span.id == id { len } else { span.len };
        let taken = self.spans.iter().map(target).fold(0, usize::saturating_add);
        let part = self.bytes.as_ref().len().checked_sub(taken)?.checked_div(self.spans.len())?;
        // First all of them to the front, and then, the last first, to their places.
        let (mut from, mut to) = (0usize, 0usize);
        for place in 0..self.spans.len() {
            let span = self.spans.get_mut(place)?;
            let (len, room) = (span.len, span.room);
            span.room = target(span).saturating_add(part);
            self.rotate(to..from.saturating_add(len), from.saturating_sub(to));
            (from, to) = (from.saturating_add(room), to.saturating_add(len));
        }
        let (mut from, mut to) = (to, self.used());
        for place in (0..self.spans.len()).rev() {
            let span = self.spans.get(place)?;
            let len = span.len;
            (from, to) = (from.saturating_sub(len), to.saturating_sub(span.room));
            self.rotate(from..to.saturating_add(len), len);
        }
        Some(())
    }
}

impl<I: AsRef<[u8]> + AsMut<[u8]>> InfoStore for Infos<I> {
    fn create_info(&mut self) -> Result<InfoId, InfoStoreFull> {
        while self.find(InfoId(self.next)).is_some() {
            self.next = self.next.wrapping_add(1);
        }
        let id = InfoId(self.next);
        self.next = self.next.wrapping_add(1);
        self.spans.push(Span { id, len: 0, room: 0 }).map_err(|_| InfoStoreFull)?;
        Ok(id)
    }

    fn append_info(&mut self, id: InfoId, bytes: &[u8]) -> Result<(), InfoStoreFull> {
        let len = self.span(id).ok_or(InfoStoreFull)?.len();
        let grown = len.checked_add(bytes.len()).ok_or(InfoStoreFull)?;
        self.grow(id, grown).ok_or(InfoStoreFull)?;
        let (start, place) = self.find(id).ok_or(InfoStoreFull)?;
        let (start, end) = (start.saturating_add(len), start.saturating_add(grown));
        copy(self.bytes.as_mut().get_mut(start..end).ok_or(InfoStoreFull)?, bytes);
        self.spans.get_mut(place).ok_or(InfoStoreFull)?.len = grown;
        Ok(())
    }

    fn info_len(&self, id: InfoId) -> u64 {
        self.span(id).map_or(0, |span| span.len() as u64)
    }

    fn read_info(&self, id: InfoId, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        let unreadable = InfoUnreadable { offset };
        let info = self.bytes.as_ref().get(self.span(id).ok_or(unreadable)?).ok_or(unreadable)?;
        info.read_at(offset, buf)
    }

    fn remove_info(&mut self, id: InfoId) {
        if self.move_last(id).is_none() {
            return;
        }
        let used = self.used();
        let Some(span) = self.spans.pop() else { return };
        if let Some(bytes) = self.bytes.as_mut().get_mut(used.saturating_sub(span.room)..used) {
            bytes.zeroize();
        }
    }
}

impl<I: AsMut<[u8]>> Drop for Infos<I> {
    fn drop(&mut self) {
        self.bytes.as_mut().zeroize();
    }
}
