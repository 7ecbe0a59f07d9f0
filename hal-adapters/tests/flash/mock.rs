//! A NOR flash that insists on its rules, and whose power goes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Words of `WORD` bytes, sectors of `SECTOR`; what is read is aligned to `READ`.
#[derive(Clone)]
pub struct Mock<const READ: usize, const WORD: usize, const SECTOR: usize> {
    pub bytes: Vec<u8>,
    /// Words that may not be written before the next erase.
    written: Vec<bool>,
    /// Of each sector.
    pub erases: Vec<u32>,
    /// Writes and erases so far.
    pub operations: u32,
    /// The operation that is cut off, with the power.
    pub cut: Option<u32>,
    /// Those that fail, and end as if they were cut off.
    pub failing: Option<fn(u32) -> bool>,
    /// Bytes in which an ECC finds errors, up to the next erase.
    pub unreadable: Range<usize>,
    /// Sectors in which something was written, since that was cleared.
    pub touched: Rc<RefCell<BTreeSet<usize>>>,
    /// A byte that cannot be read the next time.
    pub unreadable_once: Rc<Cell<Option<usize>>>,
    rng: ChaCha8Rng,
}

impl<const READ: usize, const WORD: usize, const SECTOR: usize> Mock<READ, WORD, SECTOR> {
    /// What a flash may have when it comes: any bytes, and nothing may be written before an erase.
    pub fn new(sectors: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = vec![0; sectors * SECTOR];
        rng.fill_bytes(&mut bytes);
        let written = vec![true; bytes.len() / WORD];
        let erases = vec![0; sectors];
        let (unreadable, unreadable_once, touched) = (0..0, Rc::default(), Rc::default());
        let (operations, cut, failing) = (0, None, None);
        Self { bytes, written, erases, operations, cut, failing, unreadable, touched, unreadable_once, rng }
    }

    /// Makes a sector the same as another one.
    pub fn copy_sector(&mut self, from: usize, to: usize) {
        self.bytes.copy_within(from..from + SECTOR, to);
        self.written.copy_within(from / WORD..(from + SECTOR) / WORD, to / WORD);
    }

    /// Power is back.
    pub fn revive(&mut self) {
        self.cut = None;
    }

    pub fn is_off(&self) -> bool {
        self.cut.is_some_and(|cut| self.operations > cut)
    }

    /// Counts an operation; says whether it ends before its end: cut off, or failed.
    fn ends_early(&mut self) -> Result<bool, NorFlashErrorKind> {
        let number = self.operations;
        self.operations += 1;
        if self.cut.is_some_and(|cut| number > cut) {
            return Err(NorFlashErrorKind::Other);
        }
        Ok(self.cut == Some(number) || self.failing.is_some_and(|fails| fails(number)))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.next_u32() as usize % bound
    }

    /// Any of the bits that would have changed did, in the word in which it was cut off: none of them, some,
    /// or all those of some bytes.
    fn tear_word(&mut self, at: usize, bytes: &[u8]) {
        let (kind, whole) = (self.below(4), self.below(bytes.len() + 1));
        for (index, byte) in bytes.iter().enumerate() {
            let kept = match kind {
                0 => 0xff,
                1 if index < whole => 0,
                1 => 0xff,
                2 => self.rng.next_u32() as u8,
                _ => (self.rng.next_u32() & self.rng.next_u32()) as u8,
            };
            self.bytes[at + index] &= byte | kept;
        }
        // What reads as erased can be written.
        self.written[at / WORD] = self.bytes[at..at + WORD].iter().any(|byte| *byte != 0xff);
    }

    fn tear_sector(&mut self, from: usize) {
        let (kind, at) = (self.below(6), self.below(SECTOR / WORD + 1) * WORD);
        let sector = &mut self.bytes[from..from + SECTOR];
        match kind {
            0 => {}
            1 => sector[..at].fill(0xff),
            2 => sector[at..].fill(0xff),
            3 => self.rng.fill_bytes(sector),
            4 => sector.iter_mut().for_each(|byte| *byte |= self.rng.next_u32() as u8),
            _ => sector.fill(0xff),
        }
        // Bits that read as erased may not stay so: only a whole erase counts.
        self.written[from / WORD..(from + SECTOR) / WORD].fill(true);
    }
}

impl<const READ: usize, const WORD: usize, const SECTOR: usize> ErrorType for Mock<READ, WORD, SECTOR> {
    type Error = NorFlashErrorKind;
}

impl<const READ: usize, const WORD: usize, const SECTOR: usize> ReadNorFlash for Mock<READ, WORD, SECTOR> {
    const READ_SIZE: usize = READ;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let from = offset as usize;
        assert!(from.is_multiple_of(READ) && bytes.len().is_multiple_of(READ), "an unaligned read");
        let meets = from < self.unreadable.end && from + bytes.len() > self.unreadable.start;
        let once = self.unreadable_once.get().filter(|at| (from..from + bytes.len()).contains(at));
        if once.is_some() {
            self.unreadable_once.set(None);
        }
        if self.is_off() || meets || once.is_some() {
            return Err(NorFlashErrorKind::Other);
        }
        bytes.copy_from_slice(&self.bytes[from..from + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const READ: usize, const WORD: usize, const SECTOR: usize> NorFlash for Mock<READ, WORD, SECTOR> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        let (from, to) = (from as usize, to as usize);
        assert!(from.is_multiple_of(SECTOR) && to == from + SECTOR, "not one sector");
        if self.ends_early()? {
            self.erases[from / SECTOR] += 1;
            self.tear_sector(from);
            return Err(NorFlashErrorKind::Other);
        }
        self.erases[from / SECTOR] += 1;
        self.bytes[from..to].fill(0xff);
        if self.unreadable.start / SECTOR == from / SECTOR {
            self.unreadable = 0..0;
        }
        self.written[from / WORD..to / WORD].fill(false);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        let from = offset as usize;
        assert!(from.is_multiple_of(WORD) && bytes.len().is_multiple_of(WORD), "an unaligned write");
        assert!(!bytes.is_empty() && from / SECTOR == (from + bytes.len() - 1) / SECTOR, "no sector's");
        let words = from / WORD..(from + bytes.len()) / WORD;
        assert!(words.clone().all(|word| !self.written[word]), "a word is written twice");
        self.touched.borrow_mut().insert(from / SECTOR);
        let early = self.ends_early()?;
        let whole = if early { self.below(words.len()) * WORD } else { bytes.len() };
        for (to, from) in self.bytes[from..].iter_mut().zip(&bytes[..whole]) {
            *to &= from;
        }
        self.written[words.start..words.start + whole / WORD].fill(true);
        if early {
            self.tear_word(from + whole, &bytes[whole..whole + WORD]);
            return Err(NorFlashErrorKind::Other);
        }
        Ok(())
    }
}
