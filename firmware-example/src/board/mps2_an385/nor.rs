//! What stands in for NOR flash on a board that has none: memory that nothing is loaded into, and that keeps
//! its bytes over a reset (QEMU's `system_reset`). It has a flash's rules: an erase sets the bits of a
//! sector, a write takes some away.

use core::ops::Range;
use core::slice;
use core::sync::atomic::{AtomicBool, Ordering};

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};

/// Bytes of a sector.
pub const SECTOR: usize = 4_096;

/// Bytes of a word.
const WORD: usize = 4;

unsafe extern "C" {
    /// Of `memory.x`: their addresses alone count.
    static mut _nor_start: u8;
    static mut _nor_end: u8;
}

/// A part of it.
pub struct Nor(&'static mut [u8]);

impl Nor {
    /// All of it; `None` the second time.
    pub fn take() -> Option<Self> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Ordering::Relaxed) {
            return None;
        }
        let (start, end) = (&raw mut _nor_start, &raw mut _nor_end);
        let len = (end as usize).checked_sub(start as usize)?;
        // SAFETY: between these addresses of `memory.x` there is memory that the linker places nothing in,
        // any bytes in it are bytes, and nobody else has it, since it is given away once.
        Some(Self(unsafe { slice::from_raw_parts_mut(start, len) }))
    }

    /// The first so many sectors, and the rest.
    pub fn split(self, sectors: usize) -> Option<(Self, Self)> {
        let (first, rest) = self.0.split_at_mut_checked(sectors.checked_mul(SECTOR)?)?;
        Some((Self(first), Self(rest)))
    }

    /// What is on it.
    pub fn bytes(&self) -> &[u8] {
        self.0
    }

    fn get(&mut self, range: Range<usize>, unit: usize) -> Result<&mut [u8], NorFlashErrorKind> {
        if !range.start.is_multiple_of(unit) || !range.end.is_multiple_of(unit) {
            return Err(NorFlashErrorKind::NotAligned);
        }
        self.0.get_mut(range).ok_or(NorFlashErrorKind::OutOfBounds)
    }
}

impl ErrorType for Nor {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Nor {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let from = offset as usize;
        bytes.copy_from_slice(self.get(from..from.saturating_add(bytes.len()), 1)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl NorFlash for Nor {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.get(from as usize..to as usize, SECTOR)?.fill(0xff);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        let from = offset as usize;
        let place = self.get(from..from.saturating_add(bytes.len()), WORD)?;
        place.iter_mut().zip(bytes).for_each(|(to, from)| *to &= from);
        Ok(())
    }
}
