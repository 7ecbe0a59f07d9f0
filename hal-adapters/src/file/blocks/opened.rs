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
    /// The checksum of each page, until it has been compared.
    pages: Vec<Option<u32>>,
}

impl Opened {
    /// Fills `buf` from `offset` of a block on, from pages that are as they were written: no other
    /// byte gets there. The caller has compared the offset with the length.
    pub fn read(
        &mut self,
        row: u32,
        block: &Block,
        offset: u32,
        buf: &mut [u8],
        packs: &mut Packs,
    ) -> io::Result<()> {
        if let Some(position) = self.0.iter().position(|open| open.row == row) {
            self.0.get_mut(..=position).unwrap_or_default().rotate_right(1);
        } else if buf.len() == block.len as usize {
            // As one serves it: straight from the file.
            return read_whole(block, buf, packs);
        } else {
            let open = OpenBlock::load(row, block, packs)?;
            self.insert(open);
        }
        self.0.first_mut().map_or(Ok(()), |open| open.read(offset, buf))
    }

    /// Holds a block that was just committed: who fetched it is about to read it.
    pub fn keep(&mut self, row: u32, bytes: Vec<u8>) {
        self.insert(OpenBlock { row, bytes, pages: Vec::new() });
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
    fn load(row: u32, block: &Block, packs: &mut Packs) -> io::Result<Self> {
        let mut bytes = vec![0; block.len as usize];
        let entry = entry(block, &mut bytes, packs)?;
        let pages = entry.pages.iter().take(bytes.len().div_ceil(PAGE_BYTES));
        Ok(Self { row, pages: pages.copied().map(Some).collect(), bytes })
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

/// Reads a block into `buf`, which is as long.
fn read_whole(block: &Block, buf: &mut [u8], packs: &mut Packs) -> io::Result<()> {
    let read = entry(block, buf, packs);
    let result = read.and_then(|entry| {
        let mut pages = entry.pages.iter().enumerate().take(buf.len().div_ceil(PAGE_BYTES));
        pages.try_for_each(|(page, crc)| check(buf, page, *crc))
    });
    if result.is_err() {
        buf.fill(0);
    }
    result
}

/// Reads a block, and its entry, if that is still the one of `block`.
fn entry(block: &Block, buf: &mut [u8], packs: &mut Packs) -> io::Result<Entry> {
    let is_same = |entry: &Entry| (entry.id, entry.seal, entry.len) == (block.id, block.seal, block.len);
    let entry = packs.read(block.place, buf)?.filter(is_same);
    entry.ok_or_else(|| damaged_entry(block.place.entry))
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
