//! Writes a package from front to back.

use std::io::{self, Write};

use peerdist_core::content::SegmentId;
use peerdist_core::crypto::CipherAlgorithm;
use peerdist_core::limits::{MAX_SEGMENT_V2_BYTES, SEGMENT_BLOCKS};
use peerdist_core::store::BlockId;
use sha2::{Digest as _, Sha256};

use super::{END, END_HEAD_BYTES, Head, MAGIC, order};

/// A package on its way into an output.
pub struct Writer<W> {
    output: W,
    count: u64,
    bytes: u64,
    last: Option<BlockId>,
    total: Sha256,
}

/// Whether a block can be in a package: it is not in clear, and no longer than blocks are.
pub fn is_packable(head: &Head) -> bool {
    head.seal.algorithm != CipherAlgorithm::None
        && head.id.index < SEGMENT_BLOCKS
        && (1..=MAX_SEGMENT_V2_BYTES).contains(&head.plain_len)
        && is_name(&head.id.segment)
}

/// Whether blocks have such names: ids, and those of what is not verified.
fn is_name(segment: &SegmentId) -> bool {
    let bytes = segment.as_bytes();
    match bytes.split_last() {
        Some((last, _)) if segment.is_unverifiable() => *last == 0,
        _ => SegmentId::from_slice(bytes).is_some(),
    }
}

impl<W: Write> Writer<W> {
    /// Writes the beginning.
    pub fn new(mut output: W) -> io::Result<Self> {
        output.write_all(&MAGIC)?;
        let total = Sha256::new_with_prefix(MAGIC);
        Ok(Self { output, count: 0, bytes: MAGIC.len() as u64, last: None, total })
    }

    /// Writes a block. It fails unless the block [can be](is_packable) in a package, has the bytes that are said of it,
    /// and is behind the one before, in the order of segments and their blocks.
    pub fn put(&mut self, head: &Head, block: &[u8]) -> io::Result<()> {
        let is_next = self.last.is_none_or(|last| order(&last, &head.id).is_lt());
        if !is_next || !is_packable(head) || block.len() != head.len() as usize {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a block that cannot come here"));
        }
        let bytes = head.emit();
        let checksum = Sha256::new_with_prefix(bytes).chain_update(block).finalize();
        for part in [&bytes, block, &checksum] {
            self.output.write_all(part)?;
            self.bytes += part.len() as u64;
        }
        self.total.update(checksum);
        (self.count, self.last) = (self.count + 1, Some(head.id));
        Ok(())
    }

    /// Writes the end: without it, it is no package. Gives the output back, and the number of its bytes.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        let mut head = [0; END_HEAD_BYTES];
        head[..4].copy_from_slice(&END);
        head[8..].copy_from_slice(&self.count.to_le_bytes());
        let checksum = self.total.chain_update(head).finalize();
        self.output.write_all(&head)?;
        self.output.write_all(&checksum)?;
        self.output.flush()?;
        Ok((self.output, self.bytes + (head.len() + checksum.len()) as u64))
    }
}
