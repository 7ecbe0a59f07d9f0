//! `peerdist package export`.

use std::fs;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;
use std::time::Duration;

use peerdist_hal::file::FileBlocks;
use peerdist_sim::crypto::FastCrypto;
use peerdist_sim::net::cache::{self, Limits};
use peerdist_sim::package::{Head, Known, Writer, is_packable};
use serde::Serialize;

use super::Stop;
use crate::cmd::get::part::Part;
use crate::cmd::info::count;
use crate::cmd::{Ending, Failure, bar, one_line, print, tell, unbuffered};

/// Bytes that are written at once: a block or two.
const BUFFER_BYTES: usize = 256 << 10;

pub struct Order<'a> {
    pub cache: &'a Path,
    pub output: &'a Path,
    pub force: bool,
    pub json: bool,
}

/// What came of it.
#[derive(Default, Serialize)]
struct Report {
    blocks: u64,
    segments: u64,
    bytes: u64,
    damaged: u64,
    unfit: u64,
    missing: u64,
}

/// A [`Part`] as it is written from its beginning.
struct Sink {
    part: Part,
    at: u64,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Order<'_> {
    /// Puts all blocks, or those that are wanted, into the package.
    pub fn run(&self, wanted: Option<&Known<'_>>) -> Result<Ending, Stop> {
        let is_stdout = self.output == Path::new("-");
        if is_stdout && self.json {
            return Err(Failure("-o -: stdout takes the package, and no JSON".into()).into());
        }
        if is_stdout && io::stdout().is_terminal() {
            return Err(Failure("-o -: a package is binary, and stdout is a terminal".into()).into());
        }
        if !is_stdout {
            self.check()?;
        }
        let mut blocks = self.open()?;
        let report = if is_stdout {
            let output = unbuffered(io::stdout()).map_err(|error| self.unwritable(&error))?;
            self.write(&mut blocks, wanted, output)?.0
        } else {
            let mut part = Part::new(self.output).map_err(|error| self.unwritable(&error))?;
            part.clear().map_err(|error| self.unwritable(&error))?;
            let (report, Sink { part, at }) = self.write(&mut blocks, wanted, Sink { part, at: 0 })?;
            // Somebody else may have been faster.
            self.check()?;
            part.persist(at).map_err(|error| self.unwritable(&error))?;
            report
        };
        if report.damaged > 0 {
            let reason = blocks.take_error().map(|error| format!(": {error}")).unwrap_or_default();
            tell(&format!("{} could not be read, and are left out{reason}", count(report.damaged, "block")));
        }
        if report.unfit > 0 {
            tell(&format!("{} are not as they travel, and are left out", count(report.unfit, "block")));
        }
        if report.missing > 0 {
            tell(&format!("{} of the content are not in the cache", count(report.missing, "block")));
        }
        if self.json {
            let json = serde_json::to_string(&report).map_err(|error| Failure(format!("JSON: {error}")))?;
            print(&(json + "\n"))?;
        } else if !is_stdout {
            let Report { blocks, segments, bytes, .. } = report;
            let name = one_line(&self.output.display().to_string());
            let (blocks, segments) = (count(blocks, "block"), count(segments, "segment"));
            print(&format!("{name}: {blocks} of {segments}, {}\n", count(bytes, "byte")))?;
        }
        let all = report.damaged + report.unfit + report.missing == 0;
        Ok(if all { Ending::Good } else { Ending::Bad })
    }

    /// Whether the output could be written. Links and devices are not replaced even with `--force`.
    fn check(&self) -> Result<(), Failure> {
        let failure = |reason: String| Err(Failure(format!("-o {}: {reason}", self.output.display())));
        match fs::symlink_metadata(self.output) {
            Ok(found) if !found.is_file() => failure("exists, and is not a regular file".into()),
            Ok(_) if !self.force => failure("exists; --force replaces it".into()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => failure(error.to_string()),
            _ => Ok(()),
        }
    }

    /// Opens the cache so that no block of it goes: neither for its age nor for its room.
    fn open(&self) -> Result<FileBlocks, Failure> {
        if !self.cache.join("blocks").is_dir() {
            return Err(Failure(format!("--cache {}: there is no cache", self.cache.display())));
        }
        let limits = Limits { max_size: u64::MAX, max_age: Duration::MAX };
        let storage = cache::open(self.cache, limits);
        storage.map(|storage| storage.blocks).map_err(|error| Failure(format!("--cache {error}")))
    }

    fn write<W: Write>(
        &self,
        blocks: &mut FileBlocks,
        wanted: Option<&Known<'_>>,
        output: W,
    ) -> Result<(Report, W), Stop> {
        let unwritable = |error| self.unwritable(&error);
        let mut report = Report::default();
        let buffered = BufWriter::with_capacity(BUFFER_BYTES, output);
        let mut writer = Writer::new(buffered).map_err(unwritable)?;
        let bar = bar::of_bytes(Some(blocks.size()));
        let (mut bytes, mut last) = (Vec::new(), None);
        for slot in blocks.slots() {
            let Some((id, stored)) = blocks.committed_at(slot) else { continue };
            bar.inc(stored.len.into());
            if let Some(known) = wanted
                && !known.has(&mut FastCrypto, &id)?
            {
                continue;
            }
            let head = Head { id, seal: stored.seal, plain_len: stored.plain_len };
            if !is_packable(&head) {
                report.unfit += 1;
            } else if blocks.peek(slot, &mut bytes).is_err() {
                report.damaged += 1;
            } else {
                writer.put(&head, &bytes).map_err(unwritable)?;
                report.blocks += 1;
                report.segments += u64::from(last.replace(id.segment) != Some(id.segment));
            }
        }
        bar.finish_and_clear();
        if let Some(known) = wanted {
            report.missing = known.missing(&mut FastCrypto, blocks)?;
        }
        let (buffered, len) = writer.finish().map_err(unwritable)?;
        report.bytes = len;
        let output = buffered.into_inner().map_err(|error| self.unwritable(error.error()))?;
        Ok((report, output))
    }

    fn unwritable(&self, error: &io::Error) -> Failure {
        match self.output == Path::new("-") {
            true => Failure(format!("stdout: {error}")),
            false => Failure(format!("-o {}: {error}", self.output.display())),
        }
    }
}
