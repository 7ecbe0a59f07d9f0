//! Committed blocks that are being read, with the page of each that was read last.

use std::boxed::Box;
use std::format;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::vec::Vec;

use super::disk::{HEADER_BYTES, Header, PAGE_BYTES};
use super::{Block, private, read_exact_at};

/// Files that are held open to be read, and 4 KiB of memory with each: small reads of as many
/// blocks by turns cost the disk and the checksum one pass.
const MAX_OPENED: usize = 32;

/// Files of committed blocks, most recently used first.
#[derive(Default)]
pub struct Opened(Vec<OpenBlock>);

struct OpenBlock {
    row: u32,
    file: File,
    header: Header,
    /// Which page `data` has; it is whole.
    page: Option<u32>,
    data: Box<[u8; PAGE_BYTES]>,
}

impl Opened {
    /// Fills `buf` from `offset` of a block on, from pages that are as they were written: no other
    /// byte gets there. The caller has compared the offset with the length.
    pub fn read(
        &mut self,
        row: u32,
        block: &Block,
        path: &Path,
        offset: u32,
        buf: &mut [u8],
    ) -> io::Result<()> {
        let result = self.open(row, block, path).and_then(|open| open.read(offset, buf));
        if result.is_err() {
            // Whoever tries again reads the file again.
            self.forget(row);
        }
        result
    }

    /// The file that was read last.
    pub fn last(&self) -> Option<&File> {
        self.0.first().map(|open| &open.file)
    }

    /// Closes the file of a row.
    pub fn forget(&mut self, row: u32) {
        self.0.retain(|open| open.row != row);
    }

    fn open(&mut self, row: u32, block: &Block, path: &Path) -> io::Result<&mut OpenBlock> {
        let open = match self.0.iter().position(|open| open.row == row) {
            Some(position) => self.0.remove(position),
            None => OpenBlock::open(row, block, path).or_else(|_| {
                // There may be too many open files, and these are some of them.
                self.0.clear();
                OpenBlock::open(row, block, path)
            })?,
        };
        self.0.truncate(MAX_OPENED - 1);
        self.0.insert(0, open);
        self.0.first_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl OpenBlock {
    fn open(row: u32, block: &Block, path: &Path) -> io::Result<Self> {
        // It is written to as well: its time of last use.
        let file = private().open(path)?;
        let mut bytes = [0; HEADER_BYTES];
        read_exact_at(&file, &mut bytes, 0)?;
        let is_same =
            |header: &Header| (header.id, header.seal, header.len) == (block.id, block.seal, block.len);
        match Header::parse(&bytes).filter(is_same) {
            Some(header) => Ok(Self { row, file, header, page: None, data: Box::new([0; _]) }),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "the header is damaged")),
        }
    }

    fn read(&mut self, mut offset: u32, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let page = self.load(offset / PAGE_BYTES as u32)?;
            let mut from = page.get(offset as usize % PAGE_BYTES..).unwrap_or_default();
            let len = from.read(buf)?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buf = buf.get_mut(len..).unwrap_or_default();
            offset = offset.saturating_add(len as u32);
        }
        Ok(())
    }

    /// The bytes of a page, checked.
    fn load(&mut self, page: u32) -> io::Result<&[u8]> {
        let start = page.saturating_mul(PAGE_BYTES as u32);
        let len = PAGE_BYTES.min(self.header.len.saturating_sub(start) as usize);
        let data = self.data.get_mut(..len).unwrap_or_default();
        if self.page != Some(page) {
            self.page = None;
            read_exact_at(&self.file, data, (HEADER_BYTES as u64).saturating_add(start.into()))?;
            if self.header.pages.get(page as usize) != Some(&crc32fast::hash(data)) {
                let what = format!("the checksum of the page at byte {start} of the block differs");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            self.page = Some(page);
        }
        Ok(data)
    }
}
