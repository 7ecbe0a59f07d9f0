//! Reads a package from front to back, with room for one block.

use std::io::{self, Read};

use peerdist_core::store::BlockId;
use sha2::{Digest as _, Sha256};

use super::{
    CHECKSUM_BYTES, END, END_HEAD_BYTES, Fault, HEAD_BYTES, Head, MAGIC, PackageError, RECORD, Record, order,
};

/// A package from its first byte on. After an error, nothing more comes but errors.
pub struct Reader<R> {
    input: R,
    offset: u64,
    count: u64,
    last: Option<BlockId>,
    /// Of the beginning and the checksums of the records.
    total: Sha256,
    block: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Open,
    Ended,
    Failed,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning. What takes long to read a few bytes of should be buffered.
    pub fn new(input: R) -> Result<Self, PackageError> {
        let (total, block) = (Sha256::new_with_prefix(MAGIC), Vec::new());
        let mut reader = Self { input, offset: 0, count: 0, last: None, total, block, state: State::Open };
        let mut magic = [0; MAGIC.len()];
        let read = reader.read(&mut magic);
        let (name, version) = magic.split_at(MAGIC.len() - 1);
        match read {
            Err(error @ PackageError::Unreadable(..)) => Err(error),
            _ if !MAGIC.starts_with(name) => Err(PackageError::Damaged(0, Fault::NoPackage)),
            Err(error) => Err(error),
            Ok(()) if magic != MAGIC => {
                Err(PackageError::Damaged(name.len() as u64, Fault::Version(version[0])))
            }
            Ok(()) => Ok(reader),
        }
    }

    /// Bytes that have been read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next block, whole as it was packed; `None` once the package has ended as it should.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, PackageError> {
        let offset = self.offset;
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Open => {}
            State::Failed => return Err(PackageError::Damaged(offset, Fault::NoRecord)),
            State::Ended => {
                self.state = State::Ended;
                return Ok(None);
            }
        }
        let damaged = |at: usize, fault| Err(PackageError::Damaged(offset + at as u64, fault));
        let mut head = [0; HEAD_BYTES];
        let (short, rest) = head.split_at_mut(END_HEAD_BYTES);
        self.read(short)?;
        if short.starts_with(&END) {
            let short = std::array::from_fn(|at| short[at]);
            self.end(offset, &short)?;
            self.state = State::Ended;
            return Ok(None);
        }
        if !short.starts_with(&RECORD) {
            return damaged(0, Fault::NoRecord);
        }
        self.read(rest)?;
        let parsed = match Head::parse(&head) {
            Ok(parsed) => parsed,
            Err((at, fault)) => return damaged(at, fault),
        };
        let mut block = std::mem::take(&mut self.block);
        block.resize(parsed.len() as usize, 0);
        let mut checksum = [0; CHECKSUM_BYTES];
        self.read(&mut block).and_then(|()| self.read(&mut checksum))?;
        if Sha256::new_with_prefix(head).chain_update(&block).finalize()[..] != checksum {
            return damaged(0, Fault::Checksum);
        }
        if self.last.is_some_and(|last| !order(&last, &parsed.id).is_lt()) {
            return damaged(0, Fault::Order);
        }
        self.total.update(checksum);
        (self.last, self.block, self.count) = (Some(parsed.id), block, self.count + 1);
        self.state = State::Open;
        Ok(Some(Record { offset, head: parsed, bytes: &self.block }))
    }

    fn end(&mut self, offset: u64, head: &[u8; END_HEAD_BYTES]) -> Result<(), PackageError> {
        let damaged = |at: usize, fault| Err(PackageError::Damaged(offset + at as u64, fault));
        let mut checksum = [0; CHECKSUM_BYTES];
        self.read(&mut checksum)?;
        if let Some(at) = (4..8).find(|&at| head[at] != 0) {
            return damaged(at, Fault::NotZero);
        }
        let count = u64::from_le_bytes(std::array::from_fn(|at| head[8 + at]));
        if count != self.count {
            return damaged(8, Fault::Count(count));
        }
        if self.total.clone().chain_update(head).finalize()[..] != checksum {
            return damaged(END_HEAD_BYTES, Fault::Checksum);
        }
        match self.read(&mut [0]) {
            Ok(()) => Err(PackageError::Damaged(self.offset - 1, Fault::Trailing)),
            Err(PackageError::Damaged(..)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Fills `buf`; where the input ends before, the bytes that are there are in it.
    fn read(&mut self, buf: &mut [u8]) -> Result<(), PackageError> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.input.read(&mut buf[filled..]) {
                Ok(0) => return Err(PackageError::Damaged(self.offset, Fault::Truncated)),
                Ok(read) => {
                    filled += read;
                    self.offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(PackageError::Unreadable(self.offset, error)),
            }
        }
        Ok(())
    }
}
