//! The internal flash in three parts: the owner's sheet, the number of starts, and the blocks.
//!
//! It has two banks of 8 sectors of 128 KiB. Its words have 32 bytes and an ECC, and are written once between
//! two erases. A word whose writing was cut off has an ECC that is wrong, and whoever reads it gets a bus
//! fault: so reading is done with bus faults held back, and asks the flash afterwards.

use core::arch::asm;
use core::ops::Range;
use core::ptr;

use cortex_m::peripheral::SCB;
use embassy_stm32::flash::{BANK1_REGION, BANK2_REGION, Blocking, Error, FLASH_BASE, Flash, WRITE_SIZE};
use embassy_stm32::pac;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

/// Bytes of a sector.
const SECTOR: usize = 128 << 10;

/// Bytes of a word.
const WORD: usize = 32;

/// Bytes of a bank.
const BANK: u32 = 1 << 20;

/// The owner's sheet, behind the program: `probe-rs download --binary-format bin --base-address 0x080a0000`.
pub const SHEET: Range<u32> = 5 * SECTOR as u32..6 * SECTOR as u32;

/// The number of starts.
pub const STARTS: Range<u32> = 6 * SECTOR as u32..BANK;

/// The blocks: the second bank.
pub const BLOCKS: Range<u32> = BANK..2 * BANK;

/// Of the register CCR: handlers with a priority of -1 or -2 go on after a bus fault.
const BUS_FAULTS_IGNORED: u32 = 1 << 8;

/// A part of the flash, in one bank.
pub struct Part<'f> {
    flash: &'f mut Flash<'static, Blocking>,
    range: Range<u32>,
}

/// Why it fails.
#[derive(Clone, Copy, Debug)]
pub enum PartError {
    /// The driver says so.
    Flash(Error),
    /// A word is damaged beyond repair, or its writing was cut off.
    Damaged,
    /// It does not lie in the part.
    Outside,
}

impl<'f> Part<'f> {
    /// One of the parts above.
    pub fn new(flash: &'f mut Flash<'static, Blocking>, range: Range<u32>) -> Self {
        Self { flash, range }
    }

    /// Where a piece of it lies in the whole flash.
    fn offset(&self, at: u32, len: usize) -> Result<u32, PartError> {
        let start = self.range.start.checked_add(at);
        let end = start.and_then(|start| start.checked_add(u32::try_from(len).ok()?));
        match (start, end) {
            (Some(start), Some(end)) if end <= self.range.end => Ok(start),
            _ => Err(PartError::Outside),
        }
    }
}

impl NorFlashError for PartError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Flash(error) => error.kind(),
            Self::Damaged => NorFlashErrorKind::Other,
            Self::Outside => NorFlashErrorKind::OutOfBounds,
        }
    }
}

impl ErrorType for Part<'_> {
    type Error = PartError;
}

impl ReadNorFlash for Part<'_> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), PartError> {
        let offset = self.offset(at, bytes.len())?;
        let address = FLASH_BASE as u32 + offset;
        let bank = pac::FLASH.bank(usize::from(offset >= BANK));
        // What was found before is not of this read.
        bank.ccr().write(|w| {
            w.set_clr_dbeccerr(true);
            w.set_clr_sneccerr(true);
        });
        // SAFETY: all of it lies in the flash, which is memory to be read, and which nobody writes to meanwhile,
        // since the driver is ours. That bus faults are held back is undone in any case: nothing here returns
        // early, and no interrupt comes.
        unsafe {
            let ccr = &(*SCB::PTR).ccr;
            ccr.modify(|bits| bits | BUS_FAULTS_IGNORED);
            asm!("cpsid f", "dsb", "isb", options(nostack));
            for (index, byte) in bytes.iter_mut().enumerate() {
                *byte = ptr::read_volatile((address as *const u8).add(index));
            }
            asm!("dsb", "cpsie f", "isb", options(nostack));
            ccr.modify(|bits| bits & !BUS_FAULTS_IGNORED);
        }
        if bank.sr().read().dbeccerr() { Err(PartError::Damaged) } else { Ok(()) }
    }

    fn capacity(&self) -> usize {
        self.range.len()
    }
}

impl NorFlash for Part<'_> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), PartError> {
        let len = to.checked_sub(from).ok_or(PartError::Outside)?;
        let from = self.offset(from, len as usize)?;
        self.flash.blocking_erase(from, from + len).map_err(PartError::Flash)
    }

    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), PartError> {
        let offset = self.offset(at, bytes.len())?;
        self.flash.blocking_write(offset, bytes).map_err(PartError::Flash)
    }
}

/// What is said above is what the driver knows of the chip.
const _: () = {
    assert!(BANK1_REGION.size == BANK && BANK2_REGION.size == BANK && WRITE_SIZE == WORD);
    assert!(BANK1_REGION.erase_size as usize == SECTOR && BANK2_REGION.erase_size as usize == SECTOR);
};
