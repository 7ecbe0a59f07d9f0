//! Reads: what they look for, in which order, and how they end.

use core::ops::Range;

use super::{
    ApiError, Client, Completion, ContentHandle, Located, Parts, Patience, ReadError, ReadId, ReadResult,
};
use crate::crypto::Crypto;
use crate::fetch::{Cause, Failures, Fetch, JobId, Source};
use crate::store::seal::{SealError, open_at};
use crate::store::{Storage, StoreError, Stored};
use crate::time::{Instant, earliest};

pub(super) struct Read {
    pub(super) id: ReadId,
    pub(super) content: ContentHandle,
    streaming: bool,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    Open(Wish),
    /// A read of no bytes: this range is in the store.
    Counting(Range<u64>),
    /// Completed with data: its block is pinned until the reader has it.
    Ready(Ready),
    /// Completed without data: there is nothing to copy.
    Over,
}

/// A read under way.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    /// Meaningless while it is queued.
    pub(super) offset: u64,
    max: u32,
    deadline: Instant,
    search: Search,
    /// Nobody is asked.
    pub(super) local: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// A stream read: it begins where those before it end.
    Queued,
    New,
    /// Its block is not in the store, and no job was free.
    Starved,
    /// Somebody else is adding its block: what peers sent would find no place.
    Barred,
    Waiting(JobId),
}

/// Data of a read, and what opening its block takes.
pub(super) struct Ready {
    stored: Stored,
    /// Where in the block it begins, and how many bytes it has.
    within: u32,
    len: u32,
    /// Where the block's key stands in the content information.
    secret_at: u64,
}

/// What came of asking others for the block of a read.
#[derive(Clone, Copy)]
enum Asked {
    /// It was not asked for.
    Nobody,
    /// They had it, or not.
    Answered(Option<Source>),
    /// They may have it: what one sent found no place, since the block was on its way already.
    Refused,
    /// The time is over.
    InVain,
}

/// Which reads end.
#[derive(Clone, Copy)]
pub(super) enum Ended {
    /// Those that were completed without data.
    Over,
    This(ReadId),
    Of(ContentHandle),
}

impl Client {
    /// Reads up to `max` bytes from `offset` on (PeerDistClientBlockRead): ends with what of them
    /// lies in one block; of no bytes, with what there is in the store.
    pub fn block_read(
        &mut self,
        now: Instant,
        content: ContentHandle,
        offset: u64,
        max: u64,
        patience: Patience,
    ) -> Result<ReadId, ApiError> {
        self.read(now, content, Some(offset), max, patience)
    }

    /// Reads up to `max` bytes where the last stream read ended (PeerDistClientStreamRead). A
    /// missing range moves the position too: the hole is the application's to fill.
    pub fn stream_read(
        &mut self,
        now: Instant,
        content: ContentHandle,
        max: u64,
        patience: Patience,
    ) -> Result<ReadId, ApiError> {
        self.read(now, content, None, max, patience)
    }

    /// Copies data of a completed read, `skip` bytes into it, into `buf`, and returns how many.
    #[inline(never)]
    pub fn copy_read(
        &mut self,
        storage: &mut dyn Storage,
        crypto: &mut dyn Crypto,
        read: ReadId,
        skip: u64,
        buf: &mut [u8],
    ) -> Result<usize, ReadError> {
        let read = self.reads.iter().find(|other| other.id == read).ok_or(ReadError::NoSuchRead)?;
        let Stage::Ready(Ready { stored, within, len, secret_at }) = &read.stage else {
            return Err(ReadError::NoSuchRead);
        };
        let complete = self.ready(read.content).map_err(|_| ReadError::NoSuchRead)?;
        let kp = complete.info.secret_at(&complete.view(storage), *secret_at).map_err(ReadError::Info)?;
        let skip = u32::try_from(skip).unwrap_or(u32::MAX);
        let len = buf.len().min(len.saturating_sub(skip) as usize);
        let buf = buf.get_mut(..len).unwrap_or_default();
        let result = open_at(storage, crypto, &kp, stored, within.saturating_add(skip), buf);
        if result == Err(SealError::Store(StoreError::Damaged)) {
            storage.release(stored.slot);
        }
        result.map_err(ReadError::Store)
    }

    /// Ends a read: completed, it gives its block free; under way, it is cancelled.
    pub fn end_read(&mut self, parts: &mut Parts<'_>, id: ReadId) {
        let before = self.reads.len();
        self.end_reads(parts, Ended::This(id));
        self.moved = self.moved.wrapping_add(u32::from(self.reads.len() < before));
    }

    /// All reads that have not ended, or whose data is still to be copied.
    pub fn reads(&self) -> impl Iterator<Item = ReadId> + '_ {
        self.reads.iter().map(|read| read.id)
    }

    /// Moves everything on: checks content information, begins reads, completes them. Returns
    /// whether anything moved, so that there may be more to do at once.
    #[inline(never)]
    pub fn work(
        &mut self,
        now: Instant,
        parts: &mut Parts<'_>,
        completed: &mut dyn FnMut(&Self, Completion),
    ) -> bool {
        let mut more = self.check(parts);
        self.watch_intakes(now);
        let freed = core::mem::take(&mut self.freed);
        for index in 0..self.reads.len() {
            let before = self.search(index);
            if let Some(completion) = self.advance(now, parts, index, freed) {
                completed(self, completion);
            }
            // What was just wanted has to be searched for; what has ended leaves a job.
            more |= before != self.search(index) || self.reads.get(index).is_some_and(Read::is_counting);
        }
        self.fresh = false;
        self.end_reads(parts, Ended::Over);
        more | (self.freed && self.is_any_barred())
    }

    /// When the first read runs out of time.
    pub fn poll_timeout(&self) -> Option<Instant> {
        // A stream read that is queued waits for its turn, which another one's end brings.
        let waits = |wish: &&Wish| wish.search != Search::Queued;
        let late = self.reads.iter().filter_map(Read::wish).filter(waits).map(|wish| wish.deadline).min();
        earliest(late, self.idle_at())
    }

    #[inline(never)]
    fn read(
        &mut self,
        now: Instant,
        content: ContentHandle,
        offset: Option<u64>,
        max: u64,
        patience: Patience,
    ) -> Result<ReadId, ApiError> {
        if self.is_ready(content)?.is_none() {
            return Err(ApiError::InvalidState);
        }
        let id = ReadId(self.next_read);
        let wish = Wish {
            offset: offset.unwrap_or_default(),
            // No block has more bytes than that.
            max: u32::try_from(max).unwrap_or(u32::MAX),
            deadline: match patience {
                // The clock starts at the call.
                Patience::For(timeout) => now + timeout,
                Patience::Local | Patience::Endless => Instant::from_micros(u64::MAX),
            },
            search: if offset.is_some() { Search::New } else { Search::Queued },
            local: patience == Patience::Local,
        };
        let read = Read { id, content, streaming: offset.is_none(), stage: Stage::Open(wish) };
        if self.reads.push(read).is_err() {
            return Err(ApiError::Full);
        }
        self.next_read = self.next_read.wrapping_add(1);
        Ok(id)
    }

    /// How far the read at `index` is; `None` once it has ended.
    fn search(&self, index: usize) -> Option<Search> {
        self.reads.get(index)?.wish().map(|wish| wish.search)
    }

    /// Moves one read on; its completion if it ends.
    #[inline(never)]
    fn advance(
        &mut self,
        now: Instant,
        parts: &mut Parts<'_>,
        index: usize,
        freed: bool,
    ) -> Option<Completion> {
        let (earlier, read) = self.reads.split_at_mut_checked(index)?;
        let read = read.first_mut()?;
        let Read { id, content: handle, streaming, .. } = *read;
        let wish = match &mut read.stage {
            Stage::Open(wish) => wish,
            Stage::Counting(run) => {
                let run = run.clone();
                return self.count(parts, index, run);
            }
            Stage::Ready(_) | Stage::Over => return None,
        };
        // Stream reads are answered first in, first out.
        if wish.search == Search::Queued {
            let queued = |other: &Read| other.streaming && other.content == handle && other.is_open();
            if earlier.iter().any(queued) {
                return None;
            }
            wish.offset = self.contents.get(usize::from(handle.index))?.position;
            wish.search = Search::New;
        }
        // What it reads may be here, and only has to be sealed.
        let content = self.contents.get(usize::from(handle.index))?;
        if wish.search == Search::New && self.holds && content.is_unsettled() {
            return None;
        }
        if wish.max == 0 {
            let run = wish.offset..wish.offset;
            read.stage = Stage::Counting(run.clone());
            return self.count(parts, index, run);
        }
        let (search, offset, is_late) = (wish.search, wish.offset, now >= wish.deadline);
        let mut failures = Failures::new();
        let asked = match search {
            Search::Waiting(job) => match Fetch::outcome(parts.jobs, job) {
                Some(outcome) => {
                    failures = outcome.failures;
                    let on_its_way = failures.iter().any(|failure| failure.cause == Cause::OnItsWay);
                    if on_its_way { Asked::Refused } else { Asked::Answered(outcome.source) }
                }
                // It was added meanwhile, and need not be asked for any more.
                None if (is_late || self.fresh) && self.is_stored(parts, handle, offset) => {
                    Fetch::cancel(parts.storage, parts.jobs, job);
                    Asked::Answered(Some(Source::Local))
                }
                None if is_late => {
                    failures = parts.fetch.expire(now, parts.storage, parts.jobs, job);
                    Asked::InVain
                }
                None => return None,
            },
            // What finding its block costs is not spent again before there may be a change.
            Search::Starved if !is_late && !self.fresh && !Fetch::has_room(parts.jobs) => return None,
            Search::Barred if !is_late && !freed => return None,
            Search::Queued | Search::New | Search::Starved | Search::Barred => Asked::Nobody,
        };
        let result = self.end(now, parts, index, asked)?;
        let read = self.reads.get_mut(index)?;
        let moved = match &result {
            ReadResult::Data { range, .. } => Some(range.end),
            ReadResult::Missing { range } | ReadResult::TimedOut { range } => {
                read.stage = Stage::Over;
                Some(range.end)
            }
            ReadResult::NoMore | ReadResult::Failed(_) | ReadResult::Local { .. } => {
                read.stage = Stage::Over;
                None
            }
        };
        if let (true, Some(end), Some(content)) = (streaming, moved, self.content_mut(handle)) {
            content.position = end;
        }
        // The peers' turn is over: what waits may be sealed by now.
        self.unsettle(handle);
        Some(Completion { read: id, content: handle, result, failures })
    }

    /// What a read comes to, if it ends now: from the store, or not at all. Otherwise its block is
    /// asked for.
    #[inline(never)]
    fn end(&mut self, now: Instant, parts: &mut Parts<'_>, index: usize, asked: Asked) -> Option<ReadResult> {
        let read = self.reads.get(index)?;
        let (handle, wish) = (read.content, *read.wish()?);
        let complete = match self.ready(handle) {
            Ok(complete) => complete,
            Err(error) => return Some(ReadResult::Failed(error)),
        };
        let described = complete.info.range();
        if !described.contains(&wish.offset) {
            return Some(ReadResult::NoMore);
        }
        let located = match self.locate(parts, handle, wish.offset) {
            Ok(located) => located,
            Err(error) => return Some(ReadResult::Failed(error)),
        };
        let end = wish.offset.saturating_add(wish.max.into()).min(located.end()).min(described.end);
        let range = wish.offset..end;
        let source = match asked {
            Asked::InVain => {
                let range = self.missing(parts, handle, &wish, located.end(), described.end);
                return Some(ReadResult::TimedOut { range });
            }
            // Whatever the peers said, it may have been added meanwhile.
            Asked::Answered(source) => source.unwrap_or(Source::Local),
            Asked::Refused => Source::Local,
            Asked::Nobody => {
                self.come_near(handle, &located.segment);
                Source::Local
            }
        };
        if let Some(stored) = parts.storage.find(&located.kept) {
            if stored.plain_len != located.expected.len {
                return Some(ReadResult::Failed(ApiError::CannotParse(located.segment.wrong_len())));
            }
            parts.storage.pin(stored.slot);
            self.label(parts.storage, handle, stored.slot);
            let ready = Ready::new(stored, &located, &range);
            self.reads.get_mut(index)?.stage = Stage::Ready(ready);
            return Some(ReadResult::Data { range, source });
        }
        let answered = match asked {
            Asked::Refused => self.adder(parts, &located).is_none(),
            other => !matches!(other, Asked::Nobody),
        };
        if answered || wish.local {
            let range = self.missing(parts, handle, &wish, located.end(), described.end);
            return Some(ReadResult::Missing { range });
        }
        // Who asks peers for a block gives up what was added of it.
        self.give_up(parts.storage, handle, Some(located.start));
        self.displace(parts, &located);
        let barred = self.adder(parts, &located).is_some();
        let Parts { fetch, jobs, .. } = parts;
        let proven = located.kept == located.block;
        let Located { block, expected, segment, .. } = &located;
        let job = match barred {
            true => None,
            false => fetch.want(now, jobs, *block, *expected, proven, segment.secret()),
        };
        if job.is_none() && now >= wish.deadline {
            let range = self.missing(parts, handle, &wish, located.end(), described.end);
            return Some(ReadResult::TimedOut { range });
        }
        if let Stage::Open(wish) = &mut self.reads.get_mut(index)?.stage {
            let none = if barred { Search::Barred } else { Search::Starved };
            wish.search = job.map_or(none, Search::Waiting);
        }
        None
    }

    /// Whether a read waits for a block that somebody else is adding.
    pub(super) fn is_any_barred(&self) -> bool {
        self.reads.iter().filter_map(Read::wish).any(|wish| wish.search == Search::Barred)
    }

    /// Forgets reads, and gives up what they hold.
    #[inline(never)]
    pub(super) fn end_reads(&mut self, parts: &mut Parts<'_>, ended: Ended) {
        let mut given_up = false;
        self.reads.retain(|read| {
            let goes = match ended {
                Ended::Over => matches!(read.stage, Stage::Over),
                Ended::This(id) => read.id == id,
                Ended::Of(content) => read.content == content,
            };
            match &read.stage {
                Stage::Open(Wish { search: Search::Waiting(job), .. }) if goes => {
                    Fetch::cancel(parts.storage, parts.jobs, *job);
                }
                Stage::Ready(ready) if goes => {
                    parts.storage.unpin(ready.stored.slot);
                    given_up = true;
                }
                _ => {}
            }
            !goes
        });
        if given_up {
            self.flushable = true;
            // Its block may make room for what waits.
            self.unsettle_all();
        }
    }
}

impl Read {
    /// Whether it has not been completed.
    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_) | Stage::Counting(_))
    }

    fn is_counting(&self) -> bool {
        matches!(self.stage, Stage::Counting(_))
    }

    fn wish(&self) -> Option<&Wish> {
        match &self.stage {
            Stage::Open(wish) => Some(wish),
            Stage::Counting(_) | Stage::Ready(_) | Stage::Over => None,
        }
    }
}

impl Ready {
    /// The bytes of `range` in a block.
    fn new(stored: Stored, block: &Located, range: &Range<u64>) -> Self {
        // No block is longer than 32 bits tell.
        let bytes = |from: u64, to: u64| to.saturating_sub(from) as u32;
        let within = bytes(block.start, range.start);
        Self { stored, within, len: bytes(range.start, range.end), secret_at: block.segment.secret_at() }
    }
}
