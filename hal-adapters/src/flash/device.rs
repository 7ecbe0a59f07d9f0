//! The flash as a ring of sectors, and records that lie across them.

use embedded_storage::nor_flash::NorFlash;

use super::layout::{Geometry, MAX_LEN, PAGE_BYTES, STRUCT_BYTES, Sector, Words};

/// Bytes of the longest word that is written or read at once: an STM32H7's, 256 bits and their ECC. Who
/// programs whole pages only is no such flash.
pub const MAX_WORD: usize = STRUCT_BYTES;

/// The flash failed; [`Device::error`] has the reason.
pub struct Failed;

/// How the sectors are opened into which a record goes on.
#[derive(Clone, Copy, Default)]
pub struct Opening {
    /// What time it is.
    pub seconds: u32,
    /// Whether other blocks have begun behind it, in the sector in which it ends.
    pub shared: bool,
}

/// Where a record lies.
#[derive(Clone, Copy)]
pub struct Span {
    /// The sector in which it begins.
    pub sector: u32,
    /// Where in it, from behind its header on.
    pub within: u32,
    /// That sector's number in the log; each that follows has one more.
    pub seq: u32,
    /// Bytes of the block.
    pub len: u32,
}

/// A flash, and what it said last.
pub struct Device<F: NorFlash> {
    flash: F,
    sectors: u32,
    /// Why it failed last.
    pub error: Option<F::Error>,
    /// How often it failed.
    pub failures: u32,
}

impl<F: NorFlash> Device<F> {
    /// Bytes of a sector.
    pub const ERASE: u32 = F::ERASE_SIZE as u32;
    const HEADER: u32 = STRUCT_BYTES as u32;

    /// Bytes of a word.
    pub const WORD: u32 = F::WRITE_SIZE as u32;

    /// Bytes of a sector behind its header.
    pub const PAYLOAD: u32 = Self::ERASE - Self::HEADER;

    /// Where a record has its [`Record`](super::layout::Record): behind the mark.
    pub const RECORD: u32 = Self::WORD;

    /// Where it has its [`Commit`](super::layout::Commit).
    pub const COMMIT: u32 = Self::RECORD + STRUCT_BYTES as u32;

    /// Bytes of a record before the block, which lie in one sector.
    pub const FRONT: u32 = Self::COMMIT + STRUCT_BYTES as u32;

    /// Bytes of a checksum behind a page.
    pub const CHECKSUM: u32 = if Self::WORD > 4 { Self::WORD } else { 4 };

    const POSSIBLE: () = {
        assert!(F::WRITE_SIZE.is_power_of_two() && F::WRITE_SIZE <= MAX_WORD);
        assert!(F::READ_SIZE.is_power_of_two() && F::READ_SIZE <= MAX_WORD);
        assert!(F::ERASE_SIZE.is_multiple_of(MAX_WORD));
        assert!(F::ERASE_SIZE >= 256 && F::ERASE_SIZE <= 1 << 30);
    };

    /// Takes a flash; `None` if it has less than two sectors.
    pub fn new(flash: F) -> Option<Self> {
        const { Self::POSSIBLE };
        let sectors = u32::try_from(flash.capacity()).unwrap_or(u32::MAX) / Self::ERASE;
        (sectors >= 2).then_some(Self { flash, sectors, error: None, failures: 0 })
    }

    /// How many sectors there are.
    pub fn sectors(&self) -> u32 {
        self.sectors
    }

    /// The sector that comes `by` after that one; `by` is no more than there are.
    pub fn after(&self, sector: u32, by: u32) -> u32 {
        let left = self.sectors.saturating_sub(sector);
        if by < left { sector.saturating_add(by) } else { by.saturating_sub(left) }
    }

    /// How many sectors after `from` another one comes.
    pub fn distance(&self, from: u32, to: u32) -> u32 {
        match to.checked_sub(from) {
            Some(ahead) => ahead,
            None => self.sectors.saturating_sub(from.saturating_sub(to)),
        }
    }

    /// Bytes of the record of a block; `None` if it is longer than all the flash.
    pub fn record_len(&self, len: u32) -> Option<u32> {
        if len > MAX_LEN {
            return None;
        }
        let pages = len.div_ceil(PAGE_BYTES);
        let data = len.next_multiple_of(Self::WORD).saturating_add(pages.saturating_mul(Self::CHECKSUM));
        let all = data.saturating_add(Self::FRONT);
        (u64::from(all) <= u64::from(self.sectors) * u64::from(Self::PAYLOAD)).then_some(all)
    }

    /// How many sectors a record lies in.
    pub fn sectors_of(&self, span: &Span) -> u32 {
        let len = self.record_len(span.len).unwrap_or(1);
        span.within.saturating_add(len).div_ceil(Self::PAYLOAD)
    }

    /// Where a page of a block begins within its record.
    pub fn page_at(page: u32) -> u32 {
        page.saturating_mul(PAGE_BYTES + Self::CHECKSUM).saturating_add(Self::FRONT)
    }

    /// The header of a sector; `None` if it is erased, damaged or another's.
    pub fn header(&mut self, sector: u32) -> Result<Option<Sector>, Failed> {
        let mut words: Words = [[0; 4]; _];
        self.read(sector.saturating_mul(Self::ERASE), words.as_flattened_mut())?;
        Ok(Sector::parse(&words, self.geometry()))
    }

    /// Erases a sector and writes its header, unless the log came to it before. If that cannot be told, a
    /// sector that is `shared` with other blocks is left as it is.
    pub fn open(&mut self, sector: u32, header: Sector, shared: bool) -> Result<(), Failed> {
        match self.header(sector) {
            Ok(Some(found)) if found.seq == header.seq => return Ok(()),
            Err(failed) if shared => return Err(failed),
            _ => {}
        }
        let words = header.emit(self.geometry());
        let from = sector.saturating_mul(Self::ERASE);
        self.erase(sector)?;
        self.write(from, words.as_flattened())
    }

    /// Erases a sector.
    pub fn erase(&mut self, sector: u32) -> Result<(), Failed> {
        let from = sector.saturating_mul(Self::ERASE);
        let erased = self.flash.erase(from, from.saturating_add(Self::ERASE));
        if erased.is_err() {
            warning!("sector {} of the flash cannot be erased", sector);
        }
        self.keep(erased)
    }

    /// Writes whole words, which were erased.
    pub fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Failed> {
        let written = self.flash.write(address, bytes);
        if written.is_err() {
            warning!("the flash cannot be written at {}", address);
        }
        self.keep(written)
    }

    /// Fills `buf` with a record's bytes from `at` on.
    pub fn read_record(&mut self, span: &Span, mut at: u32, mut buf: &mut [u8]) -> Result<(), Failed> {
        while !buf.is_empty() {
            let (_, address, room) = self.locate(span, at);
            let now = buf.len().min(room as usize);
            let (now, rest) = core::mem::take(&mut buf).split_at_mut(now);
            self.read(address, now)?;
            (at, buf) = (at.saturating_add(room), rest);
        }
        Ok(())
    }

    /// Writes whole words of a record from `at` on, and opens the sectors that begin there.
    pub fn write_record(
        &mut self,
        span: &Span,
        mut at: u32,
        mut bytes: &[u8],
        opening: Opening,
    ) -> Result<(), Failed> {
        let Opening { seconds, shared } = opening;
        let end = span.within.saturating_add(self.record_len(span.len).unwrap_or(0));
        while !bytes.is_empty() {
            let (passed, address, room) = self.locate(span, at);
            if passed > 0 && room == Self::PAYLOAD {
                let sector = self.after(span.sector, passed);
                let first = end.saturating_sub(passed.saturating_mul(Self::PAYLOAD)).min(Self::PAYLOAD);
                self.open(sector, Sector { seq: span.seq.wrapping_add(passed), first, seconds }, shared)?;
            }
            let (now, rest) = bytes.split_at_checked(room as usize).unwrap_or((bytes, &[]));
            self.write(address, now)?;
            (at, bytes) = (at.saturating_add(room), rest);
        }
        Ok(())
    }

    /// Where a record has its byte `at`: how many sectors after its first, at which address, and how many
    /// bytes come in that sector from there on.
    fn locate(&self, span: &Span, at: u32) -> (u32, u32, u32) {
        let at = span.within.saturating_add(at);
        let (passed, within) = (at / Self::PAYLOAD, at % Self::PAYLOAD);
        let address = self.after(span.sector, passed).saturating_mul(Self::ERASE);
        (passed, address.saturating_add(Self::HEADER).saturating_add(within), Self::PAYLOAD - within)
    }

    /// Reads from any address.
    pub fn read(&mut self, mut address: u32, mut buf: &mut [u8]) -> Result<(), Failed> {
        let size = F::READ_SIZE;
        while !buf.is_empty() {
            let skip = address as usize % size;
            let whole = buf.len() / size * size;
            let taken = if skip == 0 && whole > 0 {
                let read = self.flash.read(address, buf.get_mut(..whole).unwrap_or_default());
                self.keep(read)?;
                whole
            } else {
                let mut word = [0; MAX_WORD];
                let word = word.get_mut(..size).unwrap_or_default();
                let read = self.flash.read(address - skip as u32, word);
                self.keep(read)?;
                let from = word.get(skip..).unwrap_or_default();
                buf.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                from.len().min(buf.len())
            };
            address = address.saturating_add(taken as u32);
            buf = buf.get_mut(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn geometry(&self) -> Geometry {
        [Self::ERASE, Self::WORD, self.sectors]
    }

    fn keep(&mut self, result: Result<(), F::Error>) -> Result<(), Failed> {
        result.map_err(|error| {
            self.error = Some(error);
            self.failures = self.failures.saturating_add(1);
            Failed
        })
    }
}
