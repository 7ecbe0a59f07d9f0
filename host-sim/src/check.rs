//! The checkers: they stand outside the hosts and believe nobody.
//!
//! A host hands every byte it delivers to its [`Delivery`], which compares it with the origin's content. Whatever its node commits to its store, and would serve from then on, [`Blocks`] compares with
//! the content too. What a client claims about itself decides nothing, but that it failed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use peerdist_core::content::{Info, Segment};
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::store::seal::open_at;
use peerdist_core::store::{BlockId, Store};
use sha2::{Digest, Sha256};

/// What all clients should end up with.
#[derive(Clone, Debug)]
pub struct Content {
    bytes: Arc<[u8]>,
    sha256: [u8; 32],
}

impl Content {
    /// Takes the content and hashes it.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let sha256 = Sha256::digest(&bytes).into();
        Self { bytes, sha256 }
    }

    /// The content itself.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// How long it is.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Its SHA-256.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

/// What the blocks of the content are, by their names.
#[derive(Debug)]
pub struct Blocks {
    content: Content,
    segments: HashMap<Vec<u8>, Segment>,
}

impl Blocks {
    /// The blocks of `content` as its content information `info` names them; none without.
    pub fn new(content: &Content, info: &[u8]) -> Self {
        let mut segments = HashMap::new();
        if let Ok(parsed) = Info::parse(&info) {
            let mut next = parsed.segment(&info, 0).ok();
            while let Some(segment) = next {
                next = parsed.next_segment(&info, &segment).ok().flatten();
                segments.insert(segment.id(&mut SoftCrypto).as_bytes().to_vec(), segment);
            }
        }
        Self { content: content.clone(), segments }
    }

    /// Whether a committed block is the content's: it is opened and compared, byte by byte.
    pub fn right(&self, store: &mut dyn Store, block: &BlockId) -> bool {
        let Some(segment) = self.segments.get(block.segment.as_bytes()) else { return false };
        let Some(stored) = store.find(block) else { return false };
        let start = segment.offset() + u64::from(block.index) * u64::from(segment.block_bytes());
        let len = segment.block_len(block.index).unwrap_or(0) as usize;
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let expected = self.content.bytes.get(start..).and_then(|rest| rest.get(..len));
        let mut plain = vec![0; stored.plain_len as usize];
        let opened = open_at(store, &mut SoftCrypto, segment.secret(), &stored, 0, &mut plain);
        opened == Ok(len) && expected == Some(&plain[..])
    }
}

/// What arrived at one client, in any order.
#[derive(Debug)]
pub struct Delivery {
    content: Content,
    /// What arrived, where it belongs, as soon as that is not what the content has there.
    differing: Option<Vec<u8>>,
    /// The ranges that have arrived, by their start: disjoint, and never touching.
    arrived: BTreeMap<usize, usize>,
    received: u64,
    wrong_at: Option<u64>,
}

/// What a [`Delivery`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every byte, every one right, and none twice.
    Complete,
    /// What came was right, but it is not all.
    Missing,
    /// The byte at this offset is not the content's, lies behind its end, or came a second time.
    Wrong(u64),
}

impl Delivery {
    /// Nothing has arrived yet.
    pub fn new(content: Content) -> Self {
        Self { content, differing: None, arrived: BTreeMap::new(), received: 0, wrong_at: None }
    }

    /// The next bytes arrived, in order.
    pub fn push(&mut self, bytes: &[u8]) {
        self.write_at(self.received, bytes);
    }

    /// Bytes arrived that belong at `offset`.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let Some(end) = start.checked_add(bytes.len()).filter(|end| *end <= self.content.bytes.len()) else {
            // What lies behind the end is wrong from there on.
            let right = self.content.size().saturating_sub(offset).min(bytes.len() as u64);
            return self.wrong(offset + right);
        };
        if bytes.is_empty() {
            return;
        }
        let expected = &self.content.bytes[start..end];
        if expected != bytes {
            self.differing.get_or_insert_with(|| self.content.bytes.to_vec());
            let right = expected.iter().zip(bytes).take_while(|(expected, byte)| expected == byte).count();
            self.wrong(offset + right as u64);
        }
        if let Some(differing) = &mut self.differing {
            differing[start..end].copy_from_slice(bytes);
        }
        if !self.note(start, end) {
            self.wrong(offset);
        }
    }

    /// Bytes that are to come in all.
    pub fn expected(&self) -> u64 {
        self.content.size()
    }

    /// Bytes so far, right or wrong.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The SHA-256 of the bytes so far, in the order of the content. Of a complete delivery it is that of
    /// the content, with which every byte was compared.
    pub fn sha256(&self) -> [u8; 32] {
        if self.verdict() == Verdict::Complete {
            return self.content.sha256;
        }
        let bytes = self.differing.as_deref().unwrap_or(&self.content.bytes);
        let mut hash = Sha256::new();
        self.arrived.iter().for_each(|(&start, &end)| hash.update(&bytes[start..end]));
        hash.finalize().into()
    }

    /// What it comes to so far.
    pub fn verdict(&self) -> Verdict {
        match self.wrong_at {
            Some(offset) => Verdict::Wrong(offset),
            None if self.received < self.content.size() => Verdict::Missing,
            None => Verdict::Complete,
        }
    }

    /// Notes that `start..end` arrived; whether none of it had before.
    fn note(&mut self, mut start: usize, mut end: usize) -> bool {
        let overlaps = self.arrived.range(..end).next_back().is_some_and(|(_, &before)| before > start);
        if let Some((&before, &touching)) = self.arrived.range(..=start).next_back()
            && touching >= start
        {
            start = before;
            end = end.max(touching);
        }
        while let Some((&after, &its_end)) = self.arrived.range(start..=end).next() {
            end = end.max(its_end);
            self.arrived.remove(&after);
        }
        self.arrived.insert(start, end);
        !overlaps
    }

    fn wrong(&mut self, offset: u64) {
        self.wrong_at = Some(self.wrong_at.map_or(offset, |first| first.min(offset)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(content: &[u8], pushed: &[&[u8]]) -> Verdict {
        let mut delivery = Delivery::new(Content::new(content));
        pushed.iter().for_each(|bytes| delivery.push(bytes));
        delivery.verdict()
    }

    #[test]
    fn judges_every_byte() {
        assert_eq!(verdict(b"abcdef", &[b"abc", b"def"]), Verdict::Complete);
        assert_eq!(verdict(b"abcdef", &[b"abc", b"", b"de"]), Verdict::Missing);
        assert_eq!(verdict(b"abcdef", &[b"abc", b"dXf"]), Verdict::Wrong(4));
        assert_eq!(verdict(b"abcdef", &[b"Xbc", b"dXf"]), Verdict::Wrong(0));
        assert_eq!(verdict(b"abcdef", &[b"abc", b"defg"]), Verdict::Wrong(6));
        assert_eq!(verdict(b"abcdef", &[b"abcdef", b"g", b"h"]), Verdict::Wrong(6));
        assert_eq!(verdict(b"", &[]), Verdict::Complete);
        assert_eq!(verdict(b"", &[b"a"]), Verdict::Wrong(0));
    }

    #[test]
    fn order_does_not_matter_and_twice_is_wrong() {
        let content = Content::new(*b"abcdefgh");
        let mut delivery = Delivery::new(content.clone());
        for (offset, bytes) in [(4, b"ef"), (0, b"ab"), (6, b"gh")] {
            delivery.write_at(offset, bytes);
            assert_eq!(delivery.verdict(), Verdict::Missing);
        }
        assert_eq!(delivery.sha256(), Content::new(*b"abefgh").sha256());
        delivery.write_at(2, b"cd");
        assert_eq!((delivery.verdict(), delivery.sha256()), (Verdict::Complete, content.sha256()));
        assert_eq!(delivery.arrived.len(), 1);

        let mut delivery = Delivery::new(content.clone());
        delivery.write_at(2, b"cd");
        delivery.write_at(1, b"bc");
        assert_eq!(delivery.verdict(), Verdict::Wrong(1));
        let mut delivery = Delivery::new(content);
        delivery.write_at(u64::MAX, b"a");
        assert_eq!(delivery.verdict(), Verdict::Wrong(u64::MAX));
    }

    #[test]
    fn hashes_what_came_and_not_what_should_have_come() {
        let mut delivery = Delivery::new(Content::new(*b"abc"));
        delivery.push(b"abX");
        assert_eq!(delivery.sha256(), Content::new(*b"abX").sha256());
        assert_eq!(delivery.received(), 3);
    }
}
