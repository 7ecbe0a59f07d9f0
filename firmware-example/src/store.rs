//! Where blocks and content information are: blocks on flash, and content information, which is only wanted
//! while a file is fetched, in memory. After a reset, what was committed is served without it.

use embedded_storage::nor_flash::NorFlash;
use peerdist_core::store::Storage;
use peerdist_core::store::ram::{self, RamStore};
use peerdist_core::store::split::Split;
use peerdist_hal::flash::{Entry, FlashStore, TooSmall};

/// Blocks at most: each has a row in memory. Full ones have 64 KiB.
pub const ROWS: usize = if cfg!(feature = "four-connections") { 64 } else { 128 };

/// Bytes of content information: in version 1.0, a block of 64 KiB takes 32.
pub const INFO_BYTES: usize = if cfg!(feature = "four-connections") { 2_560 } else { 18 * 1_024 };

/// Where content information is.
pub type Infos = RamStore<[ram::Page; 0], [ram::Entry; 0], &'static mut [u8]>;

/// Both.
pub type FlashAndRam<F> = Split<FlashStore<F, &'static mut [Entry]>, Infos>;

/// Finds the blocks on `flash`. `rows`: one for each block that is kept at most; `infos`: as many bytes as content
/// information takes.
#[inline(never)]
pub fn mount<F: NorFlash>(
    flash: F,
    rows: &'static mut [Entry],
    infos: &'static mut [u8],
) -> Result<FlashAndRam<F>, TooSmall> {
    let blocks = FlashStore::mount(flash, rows, 0)?;
    Ok(Split { blocks, infos: RamStore::new([], [], infos) })
}

/// What a store tells of itself.
pub trait Shelf: Storage {
    /// Its numbers.
    fn numbers(&self) -> Numbers;
}

/// Numbers of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Blocks that are kept.
    pub blocks: u32,
    /// Segments that they are of.
    pub segments: u32,
    /// Blocks that are too old to be found.
    pub expired: u32,
    /// Blocks at most.
    pub rows: u32,
    /// Blocks that went for others since the start.
    pub evicted: u32,
    /// Writes, reads and erases that failed since the start.
    pub failures: u32,
    /// Sectors that were begun since the flash was new.
    pub sectors_used: u32,
}

impl<F: NorFlash> Shelf for FlashAndRam<F> {
    fn numbers(&self) -> Numbers {
        let blocks = &self.blocks;
        Numbers {
            blocks: blocks.count() as u32,
            segments: blocks.segments() as u32,
            expired: blocks.expired() as u32,
            rows: ROWS as u32,
            evicted: blocks.evicted(),
            failures: blocks.failures(),
            sectors_used: blocks.sectors_used(),
        }
    }
}
