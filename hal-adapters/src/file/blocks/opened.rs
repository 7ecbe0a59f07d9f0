//! Committed blocks that are being read: in small pieces from memory, so that they cost the disk one
//! read; as a whole, as one serves it, straight from the file, which stays open for the next one who
//! wants it.

use std::format;
use std::fs::File;
use std::io;
use std::vec;
use std::vec::Vec;

use super::disk::{HEADER_BYTES, Header, PAGE_BYTES};
use super::{Block, read_exact_at};

/// Blocks that are held, of 128 KiB at most: those that two downloads hand out, or that as many
/// readers are in the middle of.
const MAX_OPENED: usize = 32;

/// Files that are held open: of blocks that many want at about the same time. Systems give a process
/// as few as 256.
const MAX_FILES: usize = 64;

/// Blocks and files, each most recently used first.
#[derive(Default)]
pub struct Opened {
    blocks: Vec<OpenBlock>,
    files: Vec<OpenFile>,
}

struct OpenFile {
    row: u32,
    file: File,
    header: Header,
}

struct OpenBlock {
    row: u32,
    /// The file: [`HEADER_BYTES`], and the block.
    bytes: Vec<u8>,
    /// The checksum of each page, until it has been compared.
    pages: Vec<Option<u32>>,
}

impl Opened {
    /// Fills `buf` from `offset` of a block on, from pages that are as they were written: no other
    /// byte gets there. The caller has compared the offset with the length. `open` opens the file.
    pub fn read(
        &mut self,
        row: u32,
        block: &Block,
        offset: u32,
        buf: &mut [u8],
        open: impl FnOnce() -> io::Result<File>,
    ) -> io::Result<()> {
        let result = self.read_from(row, block, offset, buf, open);
        if result.is_err() {
            // Whoever tries again reads the file again.
            self.forget(row);
        }
        result
    }

    fn read_from(
        &mut self,
        row: u32,
        block: &Block,
        offset: u32,
        buf: &mut [u8],
        open: impl FnOnce() -> io::Result<File>,
    ) -> io::Result<()> {
        if let Some(position) = self.blocks.iter().position(|open| open.row == row) {
            self.blocks.get_mut(..=position).unwrap_or_default().rotate_right(1);
        } else if buf.len() == block.len as usize {
            match self.files.iter().position(|open| open.row == row) {
                Some(position) => self.files.get_mut(..=position).unwrap_or_default().rotate_right(1),
                None => {
                    let open = OpenFile::new(row, block, open()?)?;
                    self.files.truncate(MAX_FILES - 1);
                    self.files.insert(0, open);
                }
            }
            return self.files.first().map_or(Ok(()), |open| open.read_whole(buf));
        } else {
            let open = OpenBlock::load(row, block, &open()?)?;
            self.insert(open);
        }
        self.blocks.first_mut().map_or(Ok(()), |open| open.read(offset, buf))
    }

    /// Holds a block that was just committed, as its file has it: who fetched it is about to read it.
    pub fn keep(&mut self, row: u32, bytes: Vec<u8>) {
        self.insert(OpenBlock { row, bytes, pages: Vec::new() });
    }

    /// Drops the block of a row.
    pub fn forget(&mut self, row: u32) {
        self.blocks.retain(|open| open.row != row);
        self.files.retain(|open| open.row != row);
    }

    fn insert(&mut self, open: OpenBlock) {
        self.blocks.truncate(MAX_OPENED - 1);
        self.blocks.insert(0, open);
    }
}

impl OpenBlock {
    fn load(row: u32, block: &Block, file: &File) -> io::Result<Self> {
        let mut bytes = vec![0; HEADER_BYTES.saturating_add(block.len as usize)];
        read_exact_at(file, &mut bytes, 0)?;
        let header = header(&bytes, block)?;
        let pages = header.pages.iter().take((block.len as usize).div_ceil(PAGE_BYTES));
        Ok(Self { row, bytes, pages: pages.copied().map(Some).collect() })
    }

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> io::Result<()> {
        let Self { bytes, pages, .. } = self;
        let data = bytes.get(HEADER_BYTES..).unwrap_or_default();
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

impl OpenFile {
    fn new(row: u32, block: &Block, file: File) -> io::Result<Self> {
        let mut bytes = [0; HEADER_BYTES];
        read_exact_at(&file, &mut bytes, 0)?;
        let header = header(&bytes, block)?;
        Ok(Self { row, file, header })
    }

    /// Reads the block into `buf`, which is as long.
    fn read_whole(&self, buf: &mut [u8]) -> io::Result<()> {
        let mut pages = self.header.pages.iter().enumerate().take(buf.len().div_ceil(PAGE_BYTES));
        let read = read_exact_at(&self.file, buf, HEADER_BYTES as u64);
        let result = read.and_then(|()| pages.try_for_each(|(page, crc)| check(buf, page, *crc)));
        if result.is_err() {
            buf.fill(0);
        }
        result
    }
}

/// The header in front of a block's bytes, if it is the one of `block`.
fn header(bytes: &[u8], block: &Block) -> io::Result<Header> {
    let is_same = |header: &Header| (header.id, header.seal, header.len) == (block.id, block.seal, block.len);
    let header = bytes.first_chunk().and_then(Header::parse).filter(is_same);
    header.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the header is damaged"))
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
