//! Committed blocks that are being read in small pieces: from memory, so that they cost the disk one read.

use std::format;
use std::io;
use std::vec;
use std::vec::Vec;

use super::disk::{Entry, PAGE_BYTES};
use super::packs::Packs;
use super::{Block, damaged_entry};

/// Blocks that are held, of 128 KiB at most: those that two downloads hand out, or that as many
/// readers are in the middle of.
const MAX_OPENED: usize = 32;

/// Blocks, most recently used first.
#[derive(Default)]
pub struct Opened(Vec<OpenBlock>);

struct OpenBlock {
    row: u32,
    bytes: Vec<u8>,
    /// The time of last use that its entry has, in seconds of Unix.
    stamped: u32,
    /// The checksum of each page, until it has been compared.
    pages: Vec<Option<u32>>,
}

impl Opened {
    /// Fills `buf` from `offset` of a block on, from pages that are as they were written: no other
    /// byte gets there. The caller has compared the offset with the length. The time of last use that the
    /// entry has.
    pub fn read(
        &mut self,
        row: u32,
        block: &Block,
        offset: u32,
        buf: &mut [u8],
        packs: &Packs,
    ) -> io::Result<u32> {
        if let Some(position) = self.0.iter().position(|open| open.row == row) {
            self.0.get_mut(..=position).unwrap_or_default().rotate_right(1);
        } else if buf.len() == block.len as usize {
            // As one serves it: straight from the file.
            return read_whole(block, buf, packs);
        } else {
            let open = OpenBlock::load(row, block, packs)?;
            self.insert(open);
        }
        self.0.first_mut().map_or(Ok(0), |open| open.read(offset, buf).map(|()| open.stamped))
    }

    /// Holds a block that was just committed: who fetched it is about to read it.
    pub fn keep(&mut self, row: u32, bytes: Vec<u8>, stamped: u32) {
        self.insert(OpenBlock { row, bytes, stamped, pages: Vec::new() });
    }

    /// The entry of a block has another time of last use now.
    pub fn stamp(&mut self, row: u32, stamped: u32) {
        let open = self.0.iter_mut().filter(|open| open.row == row);
        open.for_each(|open| open.stamped = stamped);
    }

    /// Drops the block of a row.
    pub fn forget(&mut self, row: u32) {
        self.0.retain(|open| open.row != row);
    }

    fn insert(&mut self, open: OpenBlock) {
        self.0.truncate(MAX_OPENED - 1);
        self.0.insert(0, open);
    }
}

impl OpenBlock {
    fn load(row: u32, block: &Block, packs: &Packs) -> io::Result<Self> {
        let mut bytes = vec![0; block.len as usize];
        let entry = of_block(block, packs.read(block.place, &mut bytes)?)?;
        let pages = entry.pages.iter().take(bytes.len().div_ceil(PAGE_BYTES));
        Ok(Self { row, stamped: entry.stamped, pages: pages.copied().map(Some).collect(), bytes })
    }

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> io::Result<()> {
        let Self { bytes: data, pages, .. } = self;
        let start = offset as usize;
        let end = start.saturating_add(buf.len());
        let first = start / PAGE_BYTES;
        let touched = pages.iter_mut().enumerate().take(end.div_ceil(PAGE_BYTES)).skip(first);
        for (page, crc) in touched {
            if let Some(expected) = *crc {
                check(data, page, expected)?;
                *crc = None;
            }
        }
        match data.get(start..end) {
            Some(data) => buf.copy_from_slice(data),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }
}

/// Reads a block into `buf`, which is as long. The time of last use that its entry has.
fn read_whole(block: &Block, buf: &mut [u8], packs: &Packs) -> io::Result<u32> {
    let read = packs.read(block.place, buf).and_then(|entry| of_block(block, entry));
    let result = read.and_then(|entry| {
        let mut pages = entry.pages.iter().enumerate().take(buf.len().div_ceil(PAGE_BYTES));
        pages.try_for_each(|(page, crc)| check(buf, page, *crc))?;
        Ok(entry.stamped)
    });
    if result.is_err() {
        buf.fill(0);
    }
    result
}

/// An entry that was read, if it is still the one of `block`.
pub fn of_block(block: &Block, entry: Option<Entry>) -> io::Result<Entry> {
    let is_same =
        |entry: &Entry| (entry.id, entry.seal.algorithm, entry.len) == (block.id, block.algorithm, block.len);
    entry.filter(is_same).ok_or_else(|| damaged_entry(block.place.entry))
}

/// Compares a page of `data`, a whole block, with its checksum.
fn check(data: &[u8], page: usize, crc: u32) -> io::Result<()> {
    if data.chunks(PAGE_BYTES).nth(page).map(crc32fast::hash) == Some(crc) {
        return Ok(());
    }
    let start = page.saturating_mul(PAGE_BYTES);
    let what = format!("the checksum of the page at byte {start} of the block differs");
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}
