//! The comparison: block after block, with a buffer that is as long for any file.

use std::fs;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::iter::Peekable;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::thread;

use indicatif::ProgressBar;
use peerdist_core::content::{Info, InfoError, InfoSource, Segment, Version, segment_secret};
use peerdist_core::crypto::{Crypto, Digest, HashAlgorithm, HashState, Secret};

use super::report::{Difference, Report};
use crate::cmd::info::{block_bytes, bytes_of, segments};

/// Bytes that are read, and then hashed while others are read, at once: enough for every core to have some blocks.
const BUFFER_BYTES: usize = 8 << 20;

/// Blocks that are hashed at once, since in version 2.0 they may have a byte each.
const MAX_BATCH: usize = 4_096;

/// Content information and all it is compared with, but for the file.
pub struct Check<'a> {
    pub info: &'a Info,
    pub source: &'a dyn InfoSource,
    /// The server secret, if segment secrets are to follow from it.
    pub ks: Option<Secret>,
    /// Whether the file may go on.
    pub part: bool,
    pub bar: &'a ProgressBar,
}

/// Why the comparison ends early.
pub enum Stop {
    Info(InfoError),
    File(io::Error),
}

/// A content, read from front to back.
pub struct File {
    reader: Reader,
    position: u64,
    /// Whether its end has been read.
    ended: bool,
}

enum Reader {
    /// With its length.
    Regular(fs::File, u64),
    Pipe(Box<dyn Read + Send>),
}

struct Block {
    segment: Rc<Segment>,
    index: u32,
    range: Range<u64>,
    /// Its hash, if it is listed.
    listed: Option<Digest>,
}

/// Blocks that follow each other, and the bytes of as many of them as the file has.
struct Batch {
    blocks: Vec<Block>,
    /// Bytes of all of them.
    len: usize,
    buffer: Vec<u8>,
    filled: usize,
}

/// What is known of the segment under way.
struct Progress {
    /// Of the hashes of its blocks; what version 2.0 does not need.
    hod: HashState,
    listed_differ: bool,
    /// The listed blocks that have been compared.
    blocks: u32,
    compared: Option<Range<u64>>,
    /// Whether the file has all of it.
    whole: bool,
}

/// Compares a file with empty content.
pub fn empty(file: &mut File, part: bool) -> io::Result<Report> {
    let mut report = Report::default();
    if !part && file.fill(&mut [0])? > 0 {
        report.add(Difference::FileGoesOn { offset: 0 });
    }
    Ok(report)
}

impl Check<'_> {
    pub fn run(&self, file: &mut File, crypto: &mut dyn Crypto) -> Result<Report, Stop> {
        let mut report = Report::default();
        if self.ks.is_some() {
            report.set_secret_checked();
        }
        let algorithm = self.info.algorithm();
        file.skip_to(self.info.segment(self.source, 0)?.offset())?;
        let mut blocks =
            segments(self.info, self.source).flat_map(|segment| self.blocks_of(segment)).peekable();
        let (mut now, mut next) = (Batch::new(), Batch::new());
        let mut digests = Vec::new();
        let mut progress = Progress::new(crypto, algorithm);
        let mut ends = false;
        now.plan(&mut blocks)?;
        now.filled = file.fill(now.room())?;
        while !now.blocks.is_empty() {
            next.plan(&mut blocks)?;
            let (room, reader) = (next.room(), &mut *file);
            next.filled = thread::scope(|scope| {
                let reading = thread::Builder::new().spawn_scoped(scope, move || reader.fill(room))?;
                let messages = now.messages();
                digests.clear();
                digests.resize(messages.len(), Digest::EMPTY);
                crypto.hash_many(algorithm, &messages, &mut digests);
                reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })?;

            for (n, block) in now.blocks.iter().enumerate() {
                if block.index == 0 {
                    progress = Progress::new(crypto, algorithm);
                    self.check_secret(crypto, &block.segment, &mut report);
                }
                match digests.get(n) {
                    Some(digest) => self.compare(crypto, block, digest, &mut progress, &mut report),
                    None => {
                        progress.whole = false;
                        let needed = block.segment.blocks_in_range().contains(&block.index);
                        if needed && !std::mem::replace(&mut ends, true) {
                            report.add(self.file_ends(file, block)?);
                        }
                    }
                }
                if block.index + 1 == block.segment.block_count() {
                    self.close(crypto, &block.segment, &progress, &mut report);
                }
            }
            self.bar.inc(now.filled as u64);
            std::mem::swap(&mut now, &mut next);
        }
        let whole = 0..self.info.content_end();
        if !self.part && self.info.range() == whole && file.position == whole.end && file.fill(&mut [0])? > 0
        {
            report.add(Difference::FileGoesOn { offset: whole.end });
        }
        Ok(report)
    }

    fn blocks_of(
        &self,
        segment: Result<Segment, InfoError>,
    ) -> impl Iterator<Item = Result<Block, InfoError>> + '_ {
        let segment = segment.map(Rc::new);
        let count = segment.as_ref().map_or(1, |segment| segment.block_count());
        (0..count).map(move |index| {
            let segment = segment.clone()?;
            let listed = segment.block_hash(self.source, index)?;
            Ok(Block { range: block_bytes(&segment, index), segment, index, listed })
        })
    }

    fn check_secret(&self, crypto: &mut dyn Crypto, segment: &Segment, report: &mut Report) {
        let Some(ks) = &self.ks else { return };
        // MS-PCCRC 2.2: Kp = HMAC(Ks, HoD).
        if segment_secret(crypto, self.info.algorithm(), ks, segment.hod()) != *segment.secret() {
            report.add(Difference::Secret { segment: segment.index() });
        }
    }

    fn compare(
        &self,
        crypto: &mut dyn Crypto,
        block: &Block,
        digest: &Digest,
        progress: &mut Progress,
        report: &mut Report,
    ) {
        crypto.hash_update(&mut progress.hod, digest.as_bytes());
        let Some(listed) = &block.listed else { return };
        progress.blocks += 1;
        let start = progress.compared.as_ref().map_or(block.range.start, |compared| compared.start);
        progress.compared = Some(start..block.range.end);
        if listed != digest {
            progress.listed_differ = true;
            report.add(Difference::Block {
                segment: block.segment.index(),
                block: self.number(block),
                range: block.range.clone(),
            });
        }
    }

    /// Ends a segment: only now its HoD is known.
    fn close(&self, crypto: &mut dyn Crypto, segment: &Segment, progress: &Progress, report: &mut Report) {
        if !progress.whole {
            if let Some(compared) = &progress.compared {
                report.add_segment(compared, progress.blocks);
                report.add_unchecked_hod();
            }
            return;
        }
        let range = bytes_of(segment);
        report.add_segment(&range, segment.block_count());
        // In version 2.0 the HoD is the hash of the block, which has been compared.
        if self.info.version() == Version::V2 || progress.listed_differ {
            return;
        }
        // MS-PCCRC 2.2: HoD = Hash(BlockHashList).
        if crypto.hash_finish(progress.hod.clone()) == *segment.hod() {
            return;
        }
        let (listed, segment_index) = (segment.listed_blocks(), segment.index());
        if listed == (0..segment.block_count()) {
            return report.add(Difference::BlockHashes { segment: segment_index, range });
        }
        let before = range.start..block_bytes(segment, listed.start).start;
        let after = block_bytes(segment, listed.end.saturating_sub(1)).end..range.end;
        let ranges = [before, after].into_iter().filter(|range| !range.is_empty()).collect();
        report.add(Difference::UnlistedBlock { segment: segment_index, ranges });
    }

    /// What to say when the file has no byte of `block`, or not all, and no block before was missing.
    fn file_ends(&self, file: &File, block: &Block) -> Result<Difference, InfoError> {
        let last_byte = self.info.range().end.saturating_sub(1);
        let end = match self.info.segment_at(self.source, last_byte)? {
            Some(segment) => block_bytes(&segment, segment.blocks_in_range().end.saturating_sub(1)).end,
            None => self.info.content_end(),
        };
        Ok(Difference::FileEnds {
            offset: file.position,
            segment: block.segment.index(),
            block: self.number(block),
            range: file.position.max(block.range.start)..end,
        })
    }

    /// The number of a block where segments have several.
    fn number(&self, block: &Block) -> Option<u32> {
        (self.info.version() == Version::V1).then_some(block.index)
    }
}

impl Batch {
    fn new() -> Self {
        Self { blocks: Vec::new(), len: 0, buffer: vec![0; BUFFER_BYTES], filled: 0 }
    }

    /// Takes the blocks that come next, as many as there is room for.
    fn plan(
        &mut self,
        blocks: &mut Peekable<impl Iterator<Item = Result<Block, InfoError>>>,
    ) -> Result<(), InfoError> {
        self.blocks.clear();
        self.len = 0;
        while let Some(block) = blocks.next_if(|block| self.has_room(block)) {
            let block = block?;
            self.len += block.len();
            self.blocks.push(block);
        }
        Ok(())
    }

    /// An error needs none.
    fn has_room(&self, block: &Result<Block, InfoError>) -> bool {
        block.as_ref().map_or(true, |block| {
            self.blocks.len() < MAX_BATCH && self.len + block.len() <= self.buffer.len()
        })
    }

    /// For the bytes of the blocks.
    fn room(&mut self) -> &mut [u8] {
        self.buffer.get_mut(..self.len).unwrap_or_default()
    }

    /// The blocks of which all bytes are there.
    fn messages(&self) -> Vec<&[u8]> {
        let mut rest = self.buffer.get(..self.filled).unwrap_or_default();
        let whole = self.blocks.iter().map_while(|block| {
            let (message, later) = rest.split_at_checked(block.len())?;
            rest = later;
            Some(message)
        });
        whole.collect()
    }
}

impl Block {
    /// At most 128 KiB.
    fn len(&self) -> usize {
        (self.range.end - self.range.start) as usize
    }
}

impl Progress {
    fn new(crypto: &mut dyn Crypto, algorithm: HashAlgorithm) -> Self {
        Self {
            hod: crypto.hash_start(algorithm),
            listed_differ: false,
            blocks: 0,
            compared: None,
            whole: true,
        }
    }
}

impl File {
    /// Opens the file at `path`, or stdin if that is `-`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let reader = if path == Path::new("-") {
            Reader::Pipe(Box::new(io::stdin()))
        } else {
            let file = fs::File::open(path)?;
            let metadata = file.metadata()?;
            match metadata.is_file() {
                true => Reader::Regular(file, metadata.len()),
                false => Reader::Pipe(Box::new(file)),
            }
        };
        Ok(Self { reader, position: 0, ended: false })
    }

    /// Goes on at `offset`, or where the file ends, if that is before.
    fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        self.position = match &mut self.reader {
            Reader::Regular(file, len) => file.seek(SeekFrom::Start(offset.min(*len)))?,
            Reader::Pipe(pipe) => io::copy(&mut pipe.take(offset), &mut io::sink())?,
        };
        Ok(())
    }

    /// Fills `buffer`, unless the file ends; returns how many bytes that were.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        // An end is final: a pipe may get another writer, and a file may grow.
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty() && !self.ended) {
            let read = match &mut self.reader {
                Reader::Regular(file, _) => file.read(room),
                Reader::Pipe(pipe) => pipe.read(room),
            };
            match read {
                Ok(0) => self.ended = true,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }
}

impl From<InfoError> for Stop {
    fn from(error: InfoError) -> Self {
        Self::Info(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe that another writer opens once the first has closed it.
    struct Reopened(u8);

    impl Read for Reopened {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            buffer[0] = self.0;
            Ok(usize::from(self.0 != 3))
        }
    }

    #[test]
    fn an_end_is_final() {
        let mut file = File { reader: Reader::Pipe(Box::new(Reopened(0))), position: 0, ended: false };
        let mut buffer = [0; 5];
        assert_eq!(file.fill(&mut buffer).expect("readable"), 2);
        assert_eq!(buffer[..2], [1, 2]);
        assert_eq!(file.fill(&mut buffer).expect("readable"), 0);
        assert_eq!(file.position, 2);
    }
}
