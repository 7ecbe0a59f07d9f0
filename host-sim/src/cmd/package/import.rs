//! `peerdist package import`.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use indicatif::ProgressBar;
use peerdist_core::store::seal::SealError;
use peerdist_core::store::verify::VerifyError;
use peerdist_hal::file::FileBlocks;
use peerdist_sim::crypto::FastCrypto;
use peerdist_sim::net::cache::{self, Limits};
use peerdist_sim::package::{Known, Outcome, PackageError, Reader, Record, TakeError, take};
use serde::Serialize;

use super::Stop;
use crate::cmd::info::{self, count};
use crate::cmd::{Ending, Failure, bar, one_line, print, tell};

/// Bytes that are read at once: a block or two.
const BUFFER_BYTES: usize = 256 << 10;

/// Blocks that are not what they should be, of which each has a line: more say that it is another content.
const MAX_TOLD: u64 = 10;

pub struct Order<'a> {
    pub cache: &'a Path,
    pub file: &'a Path,
    pub limits: Limits,
    pub as_received: bool,
    pub json: bool,
}

/// What came of it.
#[derive(Default, Serialize)]
struct Report {
    complete: bool,
    blocks: u64,
    verified: u64,
    as_received: u64,
    present: u64,
    unknown: u64,
    refused: u64,
    evicted: u64,
}

type Input = Reader<BufReader<Box<dyn Read>>>;

impl Order<'_> {
    /// Takes what is in the package, and says what became of it, also where the package ends too early.
    pub fn run(&self, known: &Known<'_>) -> Result<Ending, Stop> {
        let (mut reader, bar) = self.open()?;
        let storage = cache::open(self.cache, self.limits);
        let mut blocks = storage.map_err(|error| Failure(format!("--cache {error}")))?.blocks;
        let mut report = Report::default();
        let taken = self.take(&mut reader, known, &mut blocks, &bar, &mut report);
        bar.finish_and_clear();
        report.complete = taken.is_ok();
        report.evicted = blocks.counters().evicted;
        print(&if self.json { report.to_json()? } else { report.to_text(&one_line(&self.name())) })?;
        taken?;
        Ok(if report.unknown + report.refused == 0 { Ending::Good } else { Ending::Bad })
    }

    /// Opens the package, and reads how it begins: before there is a cache for it.
    fn open(&self) -> Result<(Input, ProgressBar), Failure> {
        let unreadable = |error: io::Error| Failure(format!("{}: {error}", self.name()));
        let (input, len): (Box<dyn Read>, _) = if self.file == Path::new("-") {
            (Box::new(io::stdin().lock()), None)
        } else {
            let file = File::open(self.file).map_err(unreadable)?;
            let len = file.metadata().map_err(unreadable)?.len();
            (Box::new(file), Some(len))
        };
        let reader = Reader::new(BufReader::with_capacity(BUFFER_BYTES, input));
        Ok((reader.map_err(|error| self.wrong(&error))?, bar::of_bytes(len)))
    }

    fn take(
        &self,
        reader: &mut Input,
        known: &Known<'_>,
        blocks: &mut FileBlocks,
        bar: &ProgressBar,
        report: &mut Report,
    ) -> Result<(), Stop> {
        while let Some(record) = reader.next_record().map_err(|error| self.wrong(&error))? {
            let outcome = take(blocks, &mut FastCrypto, known, &record, self.as_received);
            match outcome.map_err(|error| self.failed(error, blocks))? {
                Outcome::Verified => report.verified += 1,
                Outcome::AsReceived => report.as_received += 1,
                Outcome::Present => report.present += 1,
                Outcome::Unknown => report.unknown += 1,
                Outcome::Refused(reason) => {
                    report.refused += 1;
                    if report.refused <= MAX_TOLD {
                        self.tell_refused(&record, reason);
                    }
                }
            }
            report.blocks += 1;
            bar.set_position(reader.offset());
        }
        Ok(())
    }

    fn tell_refused(&self, Record { offset, head, .. }: &Record<'_>, reason: VerifyError) {
        let reason = match reason {
            VerifyError::Length => "its length differs",
            VerifyError::Hash => "its hash differs",
            VerifyError::Padding => "its padding is none",
            VerifyError::Seal(SealError::NoKey) => "the segment secret is too short for its cipher",
            VerifyError::Seal(SealError::Store(_)) => "it could not be read back",
        };
        let (index, segment) = (head.id.index, head.id.segment);
        tell(&format!(
            "{}: at byte {offset}: block {index} of segment {segment:?} is not what its content information says: {reason}",
            self.name(),
        ));
    }

    /// What is in the cache by now stays.
    fn failed(&self, error: TakeError, blocks: &FileBlocks) -> Stop {
        if let TakeError::Info(number, error) = error {
            return Stop::Info(number, error);
        }
        let reason = match blocks.take_error() {
            Some(error) => error.to_string(),
            None => format!("{}: no room for a block", self.cache.display()),
        };
        Failure(format!("--cache {reason}")).into()
    }

    fn wrong(&self, error: &PackageError) -> Failure {
        Failure(format!("{}: {error}", self.name()))
    }

    fn name(&self) -> String {
        info::name(self.file, "stdin")
    }
}

impl Report {
    fn to_json(&self) -> Result<String, Failure> {
        let json = serde_json::to_string(self).map_err(|error| Failure(format!("JSON: {error}")))?;
        Ok(json + "\n")
    }

    fn to_text(&self, name: &str) -> String {
        let Self { blocks, verified, as_received, present, unknown, refused, evicted, .. } = self;
        let mut text = format!("{name}: {}: {verified} verified", count(*blocks, "block"));
        for (number, what) in [
            (as_received, "kept as received, unverified"),
            (present, "there before"),
            (unknown, "left out, without content information"),
            (refused, "refused"),
        ] {
            if *number > 0 {
                text += &format!(", {number} {what}");
            }
        }
        if *evicted > 0 {
            text += &format!("; {} went to make room", count(*evicted, "block"));
        }
        text + "\n"
    }
}
