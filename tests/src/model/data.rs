//! The consumer's part of the reference: data from the application, until it is in the store.

use std::collections::BTreeSet;
use std::ops::Range;

use super::consumer::{Content, Phase};
use super::held::Of;
use super::{Action, Done, Model, Result, code};

/// The name of a block: that of its segment, and where it begins.
pub(super) type Key = (&'static str, u64);

/// A block of the store: it is kept for whoever cached or read it.
pub(super) struct Block {
    pub(super) labels: BTreeSet<u8>,
    pub(super) pins: u32,
}

/// From where on what waits is still to be looked through: that of all contents of the tag, then its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Settling {
    Tagged(u64),
    Own(u64),
    Done,
}

impl Model<'_> {
    pub(super) fn add_data(&mut self, content: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        if let Phase::Unusable(code) = self.open_phase(content)? {
            return Err(code);
        }
        let operation = self.accept_on(content, Action::AddData)?;
        let end = self.contents[content].described().and_then(|place| self.library.materials[place].end);
        if end.is_some_and(|end| offset >= end) {
            self.fail(operation, code::OUT_OF_BOUNDS);
            return Ok(());
        }
        let all = offset..(offset + bytes.len() as u64).min(end.unwrap_or(u64::MAX));
        self.dropped += offset + bytes.len() as u64 - all.end;
        let mut at = offset;
        while at < all.end {
            // One block after the other, and what lies between those that can be verified.
            let (block, until) = match self.block_at(content, at) {
                Ok((block, _)) => (Some(block.clone()), block.end),
                Err(next) => (None, next),
            };
            let until = until.min(all.end);
            let piece = &bytes[(at - offset) as usize..(until - offset) as usize];
            match block {
                Some(block) => self.add_to_block(content, block, at, piece),
                None => self.hold(content, at, piece),
            }
            at = until;
        }
        self.end(operation, Done { bytes: bytes.len() as u32, ..self.done(operation) });
        Ok(())
    }

    /// Looks through a block of what waits for a content.
    pub(super) fn settle(&mut self) -> bool {
        let unsettled = |at: &usize| {
            let row = &self.contents[*at];
            row.described().is_some() && row.settling != Settling::Done
        };
        // Each has its turn.
        let turn = |at: &usize| {
            let row = self.contents[*at].row;
            (row < self.next_settled, row)
        };
        let first = (0..self.contents.len()).filter(unsettled).min_by_key(turn);
        let Some(content) = first.filter(|_| self.held.is_used) else { return false };
        let Content { settling, tag, row, .. } = self.contents[content];
        let blocks = &self.library.materials[self.contents[content].described().unwrap()].blocks;
        let range = blocks[0].0.start..blocks[blocks.len() - 1].0.end;
        let (of, from, over) = match settling {
            Settling::Tagged(from) => (Of::Tag(tag), from, Settling::Own(0)),
            Settling::Own(from) => (Of::Content(content), from, Settling::Done),
            Settling::Done => unreachable!(),
        };
        self.contents[content].settling = Settling::Done;
        let next = match self.held.first(of, range.start.max(from)..range.end) {
            None => over,
            Some(at) => {
                let (block, key) = self.block_at(content, at).unwrap();
                let end = block.end;
                if let Settling::Tagged(_) = settling {
                    self.settle_tagged(content, tag, &block, key);
                    Settling::Tagged(end)
                } else {
                    self.settle_own(content, &block, key);
                    Settling::Own(end)
                }
            }
        };
        if self.contents[content].settling == Settling::Done || matches!(next, Settling::Tagged(_)) {
            self.contents[content].settling = next;
        }
        self.next_settled = row + 1;
        true
    }

    /// A block may be there whole, held by several contents together or by one of them.
    fn settle_tagged(&mut self, content: usize, tag: u8, block: &Range<u64>, key: Key) {
        let holders = self.held.holders(tag, block.start).into_iter().map(Of::Holder);
        for of in std::iter::once(Of::Tag(tag)).chain(holders) {
            let bytes = self.held.bytes(of, block.clone());
            if bytes.len() < (block.end - block.start) as usize || !self.make_way(&key) {
                continue;
            }
            // They may be of another content: only what is right is used up.
            let is_right = self.is_right(content, block, &bytes);
            if is_right {
                self.commit(content, key);
                self.dropped += self.held.forget(of, block.clone());
            }
            self.unsettle_all();
            if is_right {
                break;
            }
        }
    }

    fn settle_own(&mut self, content: usize, block: &Range<u64>, key: Key) {
        let of = Of::Content(content);
        if self.is_stored(key) {
            self.dropped += self.held.forget(of, block.clone());
            return;
        }
        let is_filling = self.contents[content].filling.contains_key(&block.start);
        if !is_filling && !self.held.bytes(of, block.start..block.start + 1).is_empty() && self.make_way(&key)
        {
            self.changes += 1;
            self.contents[content].filling.insert(block.start, Vec::new());
        }
        if self.contents[content].filling.contains_key(&block.start) {
            self.pull(content, block, key);
        }
    }

    /// Whatever has happened: what can be done now was not to be forgotten.
    pub(super) fn look_again(&mut self) -> bool {
        let before = (self.changes, self.held.changes);
        let next_settled = self.next_settled;
        let settling: Vec<_> = self.contents.iter().map(|row| row.settling).collect();
        self.unsettle_all();
        while self.settle() {}
        let changed = before != (self.changes, self.held.changes);
        if !changed {
            self.next_settled = next_settled;
            self.contents.iter_mut().zip(settling).for_each(|(row, settling)| row.settling = settling);
        }
        changed
    }

    /// Adds bytes of one block: those in order are taken, and others held.
    fn add_to_block(&mut self, content: usize, block: Range<u64>, at: u64, bytes: &[u8]) {
        let (_, key) = self.block_at(content, at).unwrap();
        let filled =
            self.contents[content].filling.get(&block.start).map(|bytes| block.start + bytes.len() as u64);
        let (at, bytes) = match filled {
            Some(filled) if at < filled => (filled, bytes.get((filled - at) as usize..).unwrap_or_default()),
            _ => (at, bytes),
        };
        if bytes.is_empty() {
            return;
        }
        let begins = filled.is_none() && at == block.start && self.make_way(&key);
        if filled != Some(at) && self.is_stored(key) {
            self.dropped += self.held.forget(Of::Content(content), block);
        } else if filled == Some(at) || begins {
            self.contents[content].filling.entry(block.start).or_default().extend(bytes);
            self.contents[content].idle.remove(&block.start);
            self.pull(content, &block, key);
        } else {
            self.hold(content, at, bytes);
        }
    }

    /// Goes on with what waits, and verifies what is whole.
    fn pull(&mut self, content: usize, block: &Range<u64>, key: Key) {
        let of = Of::Content(content);
        let mut bytes = self.contents[content].filling.remove(&block.start).unwrap();
        let is_idle = self.contents[content].idle.remove(&block.start);
        let before = bytes.len();
        bytes.extend(self.held.bytes(of, block.start + before as u64..block.end));
        let end = block.start + bytes.len() as u64;
        if bytes.len() > before {
            self.dropped += self.held.forget(of, block.start..end);
        }
        if end < block.end {
            if is_idle && bytes.len() == before {
                self.contents[content].idle.insert(block.start);
            }
            self.contents[content].filling.insert(block.start, bytes);
            return;
        }
        match self.is_right(content, block, &bytes) {
            true => self.commit(content, key),
            false => self.bad_blocks += 1,
        }
        self.changes += 1;
        self.unsettle_all();
    }

    fn is_right(&self, content: usize, block: &Range<u64>, bytes: &[u8]) -> bool {
        let material = &self.library.materials[self.contents[content].described().unwrap()];
        self.library.bodies[material.body][block.start as usize..block.end as usize] == *bytes
    }

    fn commit(&mut self, content: usize, key: Key) {
        let labels = BTreeSet::from([self.contents[content].tag]);
        self.blocks.insert(key, Block { labels, pins: 0 });
        self.changes += 1;
    }

    /// Blocks that are being filled.
    fn filling(&self) -> Vec<Key> {
        let of = |at: usize| {
            let starts = self.contents[at].filling.keys();
            starts.map(move |start| self.block_at(at, *start).unwrap().1)
        };
        (0..self.contents.len()).flat_map(of).collect()
    }

    pub(super) fn is_filling(&self, key: &Key) -> bool {
        self.filling().contains(key)
    }

    /// Whether nobody has a block or is about to have it, and there is room, once who does not go on with it has given
    /// it up.
    fn make_way(&mut self, key: &Key) -> bool {
        if self.is_stored(*key) {
            return false;
        }
        self.displace(key);
        !self.is_filling(key) && self.filling().len() < self.sizes.intakes
    }

    /// Who does not go on with a block gives it up.
    pub(super) fn displace(&mut self, key: &Key) {
        for content in 0..self.contents.len() {
            for start in self.contents[content].idle.clone() {
                if self.block_at(content, start).unwrap().1 == *key {
                    self.give_up(content, start);
                }
            }
        }
    }

    pub(super) fn give_up(&mut self, content: usize, start: u64) {
        self.contents[content].idle.remove(&start);
        if let Some(bytes) = self.contents[content].filling.remove(&start) {
            self.dropped += bytes.len() as u64;
            self.changes += 1;
            self.unsettle_all();
        }
    }

    /// Time has passed: whether there are blocks with which nobody has gone on since.
    pub(super) fn become_idle(&mut self) -> bool {
        let mut any = false;
        for row in &mut self.contents {
            let before = row.idle.len();
            row.idle.extend(row.filling.keys());
            any |= row.idle.len() > before;
        }
        if any {
            self.unsettle_all();
        }
        any
    }

    fn hold(&mut self, content: usize, at: u64, bytes: &[u8]) {
        self.dropped += self.held.hold(content, self.contents[content].tag, at, bytes);
        self.unsettle(content);
    }

    pub(super) fn unsettle(&mut self, content: usize) {
        let settling = &mut self.contents[content].settling;
        if !matches!(settling, Settling::Tagged(_)) {
            *settling = Settling::Own(0);
        }
    }

    pub(super) fn unsettle_all(&mut self) {
        (0..self.contents.len()).for_each(|content| self.unsettle(content));
    }

    /// The block of a content that can be verified and has the byte at an offset, with the name under which it is
    /// kept; or where the next one begins.
    pub(super) fn block_at(&self, content: usize, at: u64) -> core::result::Result<(Range<u64>, Key), u64> {
        let place = self.contents[content].described().ok_or(u64::MAX)?;
        let blocks = &self.library.materials[place].blocks;
        match blocks.iter().find(|(block, _)| at < block.end) {
            Some((block, name)) if block.contains(&at) => Ok((block.clone(), (*name, block.start))),
            Some((block, _)) => Err(block.start),
            None => Err(u64::MAX),
        }
    }

    /// Where a block lies: what is kept apart is of use once its hash is proven.
    pub(super) fn kept(&self, key: Key) -> Key {
        let apart = ("d apart", key.1);
        let is_apart = key.0 == "d" && !self.blocks.contains_key(&key) && self.blocks.contains_key(&apart);
        if is_apart { apart } else { key }
    }

    pub(super) fn is_stored(&self, key: Key) -> bool {
        self.blocks.contains_key(&self.kept(key))
    }
}
