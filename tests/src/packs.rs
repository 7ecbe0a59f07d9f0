//! A directory of blocks as a `FileBlocks` of `peerdist-hal` finds it, with more of them than anybody wants to commit
//! one by one. The tables are whole; where blocks would lie there are holes, which nobody reads.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

/// Blocks of a pack.
pub const ENTRIES: u32 = 128;

/// Bytes of a block's plaintext: sealed, it has 16 pages, and no other lies between.
const PLAIN_LEN: u32 = 65_520;

const PAGE_BYTES: u32 = 4_096;
const PAGES: u32 = 16;
const ENTRY_BYTES: usize = 256;

/// Writes the packs of the blocks of those numbers, the first of which begins a pack. `name` says of each the
/// segment's name, of 65 bytes at most, and its index within the segment.
pub fn write(directory: &Path, blocks: Range<u32>, name: impl Fn(u32) -> (Vec<u8>, u32)) -> io::Result<()> {
    for first in blocks.clone().step_by(ENTRIES as usize) {
        let in_pack = first..blocks.end.min(first.saturating_add(ENTRIES));
        let table: Vec<u8> =
            in_pack.zip(PAGES..).flat_map(|(block, place)| entry(name(block), place)).collect();
        let path = directory.join(format!("peerdist-blocks-{:04x}", first / ENTRIES));
        let mut file = File::create(path)?;
        file.write_all(&table)?;
        file.set_len(u64::from(PAGE_BYTES * PAGES * (1 + ENTRIES)))?;
    }
    Ok(())
}

/// The entry of the block that lies behind so many others, the table among them.
fn entry((segment, index): (Vec<u8>, u32), place: u32) -> [u8; ENTRY_BYTES] {
    let mut bytes = b"PeerDBk\x02".to_vec();
    for number in [index, PLAIN_LEN + 16, PLAIN_LEN] {
        bytes.extend(number.to_le_bytes());
    }
    // When it was committed, AES-128, and an IV.
    bytes.extend(1_700_000_000u64.to_le_bytes());
    bytes.extend([1, segment.len() as u8]);
    bytes.extend([9; 16]);
    bytes.extend(&segment);
    let mut entry = [0; ENTRY_BYTES];
    entry[..bytes.len()].copy_from_slice(&bytes);
    // Behind the longest name and 33 checksums of pages; at the end its own, and when it was used.
    entry[242..244].copy_from_slice(&(place as u16 * PAGES as u16).to_le_bytes());
    let crc = crc32fast::hash(&entry[..248]);
    entry[248..252].copy_from_slice(&crc.to_le_bytes());
    entry[252..].copy_from_slice(&1_700_000_000u32.to_le_bytes());
    entry
}
