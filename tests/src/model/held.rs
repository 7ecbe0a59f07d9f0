//! Bytes that wait to be verified: of each content, what came first at each offset.

use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes that are kept together.
const PIECE: u64 = 512;

/// All that waits.
#[derive(Default)]
pub(super) struct Held {
    rows: Vec<Holding>,
    /// Whether anything ever did.
    pub(super) is_used: bool,
}

struct Holding {
    content: usize,
    tag: u8,
    is_open: bool,
    pieces: BTreeMap<u64, [Option<u8>; PIECE as usize]>,
}

/// Whose bytes are meant.
#[derive(Clone, Copy)]
pub(super) enum Of {
    Content(usize),
    Tag(u8),
}

impl Holding {
    fn is(&self, of: Of) -> bool {
        match of {
            Of::Content(content) => self.is_open && self.content == content,
            Of::Tag(tag) => self.tag == tag,
        }
    }

    fn at(&self, offset: u64) -> Option<u8> {
        self.pieces.get(&(offset / PIECE))?[(offset % PIECE) as usize]
    }
}

impl Held {
    /// Keeps what is not there yet.
    pub(super) fn hold(&mut self, content: usize, tag: u8, offset: u64, bytes: &[u8]) {
        self.is_used = true;
        let place = self.rows.iter().position(|other| other.content == content).unwrap_or_else(|| {
            self.rows.push(Holding { content, tag, is_open: true, pieces: BTreeMap::new() });
            self.rows.len() - 1
        });
        for (offset, byte) in (offset..).zip(bytes) {
            let piece = self.rows[place].pieces.entry(offset / PIECE).or_insert([None; PIECE as usize]);
            piece[(offset % PIECE) as usize].get_or_insert(*byte);
        }
    }

    /// The byte at an offset.
    pub(super) fn at(&self, of: Of, offset: u64) -> Option<u8> {
        self.rows.iter().filter(|row| row.is(of)).find_map(|row| row.at(offset))
    }

    /// Where the first of a range is.
    pub(super) fn first(&self, of: Of, range: Range<u64>) -> Option<u64> {
        if range.is_empty() {
            return None;
        }
        let first = |row: &Holding| {
            let pieces = row.pieces.range(range.start / PIECE..range.end.div_ceil(PIECE));
            let held = pieces.flat_map(|(at, piece)| (at * PIECE..).zip(piece));
            held.filter_map(|(at, byte)| byte.map(|_| at)).find(|at| range.contains(at))
        };
        self.rows.iter().filter(|row| row.is(of)).filter_map(first).min()
    }

    /// All bytes of a range, if all are there.
    pub(super) fn all(&self, of: Of, range: Range<u64>) -> Option<Vec<u8>> {
        range.map(|offset| self.at(of, offset)).collect()
    }

    pub(super) fn forget(&mut self, of: Of, range: Range<u64>) {
        for row in self.rows.iter_mut().filter(|row| row.is(of)) {
            for (at, piece) in row.pieces.range_mut(range.start / PIECE..range.end.div_ceil(PIECE)) {
                let held = (at * PIECE..).zip(piece).filter(|(at, _)| range.contains(at));
                held.for_each(|(_, byte)| *byte = None);
            }
        }
    }

    /// What a closed content leaves is for others of its tag.
    pub(super) fn close(&mut self, content: usize) {
        self.rows.iter_mut().filter(|row| row.content == content).for_each(|row| row.is_open = false);
    }

    pub(super) fn flush(&mut self, tag: u8) {
        self.rows.iter_mut().filter(|row| row.tag == tag).for_each(|row| row.pieces.clear());
    }

    /// Whether other contents of the tag hold other bytes there: which of them is tried is not said.
    pub(super) fn contradicts(&self, content: usize, tag: u8, offset: u64, bytes: &[u8]) -> bool {
        let others = self.rows.iter().filter(|row| row.tag == tag && row.content != content);
        let mut held = others.filter(|row| !row.pieces.is_empty());
        held.any(|row| (offset..).zip(bytes).any(|(at, byte)| row.at(at).is_some_and(|other| other != *byte)))
    }
}
