//! What a firmware image takes, read from its ELF sections.

use std::path::Path;

use crate::Result;

/// Bytes of an image.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Flash: vector table, code, constants, initial values.
    pub flash: u64,
    /// Static memory; the stack comes on top.
    pub ram: u64,
}

/// Adds up the sections of the 32-bit little-endian ELF file at `path`.
pub fn of(path: &Path) -> Result<Size> {
    let elf = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    sections(&elf).ok_or_else(|| format!("{} is not a 32-bit little-endian ELF file", path.display()))
}

fn sections(elf: &[u8]) -> Option<Size> {
    const ALLOCATED: u32 = 2;
    const WRITABLE: u32 = 1;
    const NO_BITS: u32 = 8;
    let word = |at: usize| Some(u32::from_le_bytes(*elf.get(at..)?.first_chunk()?));
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(*elf.get(at..)?.first_chunk()?)));

    // The class (32-bit) and the data encoding (little-endian) follow the magic number.
    elf.strip_prefix(b"\x7fELF\x01\x01")?;
    let (table, entry_bytes, entries) = (word(0x20)? as usize, half(0x2e)?, half(0x30)?);
    let mut size = Size::default();
    for entry in 0..entries {
        let at = table.checked_add(entry * entry_bytes)?;
        let (kind, flags, bytes) = (word(at + 4)?, word(at + 8)?, u64::from(word(at + 20)?));
        if flags & ALLOCATED == 0 {
            continue;
        }
        if kind != NO_BITS {
            size.flash += bytes;
        }
        if flags & WRITABLE != 0 {
            size.ram += bytes;
        }
    }
    Some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_by_kind() {
        let mut elf = b"\x7fELF\x01\x01".to_vec();
        elf.resize(0x34, 0);
        elf[0x20] = 0x34;
        elf[0x2e] = 40;
        elf[0x30] = 4;
        // Kind, flags and bytes of: code, initialised data, zeroed data, debug information.
        for (kind, flags, bytes) in [(1u32, 6u32, 100u32), (1, 3, 10), (8, 3, 1), (1, 0, 5_000)] {
            let mut entry = [0; 40];
            entry[4..8].copy_from_slice(&kind.to_le_bytes());
            entry[8..12].copy_from_slice(&flags.to_le_bytes());
            entry[20..24].copy_from_slice(&bytes.to_le_bytes());
            elf.extend(entry);
        }
        assert_eq!(sections(&elf), Some(Size { flash: 110, ram: 11 }));
        assert_eq!(sections(&elf[..100]), None);
        assert_eq!(sections(b"#!/bin/sh"), None);
    }
}
