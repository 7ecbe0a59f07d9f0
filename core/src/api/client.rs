//! The consumer: content handles, reads that complete later, data from the origin.
//!
//! Reads are answered from the store, then by peers; the origin is the application's business. A
//! read that nobody can answer completes with the range that is missing: the application gets it
//! elsewhere and adds it by [`Client::add_data`].

use core::ops::Range;

use heapless::{Deque, Vec};
use rand_core::CryptoRng;

pub use super::error::{Added, ApiError, ReadError};
use crate::content::{HodCheck, Info, InfoError, Progress, Segment, v1, v2};
use crate::crypto::{CipherAlgorithm, Crypto, Seal, Secret};
use crate::fetch::{Failures, Fetch, Job, JobId, Source};
use crate::store::seal::{SealError, open_at};
use crate::store::verify::{Expected, Intake, VerifyError};
use crate::store::{BlockId, InfoId, InfoView, ReserveError, Storage, StoreError, Stored};
use crate::time::{Duration, Instant};

/// Contents open at once.
pub const CONTENTS: usize = 4;

/// Reads at once, over all contents, until their data is copied: those of the application, and
/// those of downloads.
pub const READS: usize = 56;

/// Blocks whose data from the origin is incomplete, over all contents.
pub const INTAKES: usize = 8;

/// Block hashes checked against a segment's HoD in one call of the machine.
const HOD_STEP: u32 = 64;

/// Segments of content information 2.0 that are near: within them a search begins at the first.
/// Few enough that searching costs little beside hashing a block; as many as a download works on at
/// a time.
pub const NEAR_SEGMENTS: u32 = 256;

/// What a read waits for by default (PEERDIST_READ_TIMEOUT_DEFAULT).
pub const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// An open content: an index, and its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ContentHandle {
    index: u8,
    generation: u32,
}

/// A read under way. No two of one client are ever the same, as far as 32 bits go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ReadId(u32);

/// A tag that groups what one application cached (PEERDIST_CONTENT_TAG).
pub type ContentTag = [u8; 16];

/// What a read came to.
#[derive(Clone, Debug)]
pub enum ReadResult {
    /// `range` of the content is ready for [`Client::copy_read`]; fewer bytes than asked for are
    /// normal.
    Data {
        /// Offsets in the content.
        range: Range<u64>,
        /// Where it came from.
        source: Source,
    },
    /// Neither the store nor a peer has `range` (PEERDIST_ERROR_MISSING_DATA).
    Missing {
        /// Offsets in the content.
        range: Range<u64>,
    },
    /// The time was over first; a retry may succeed (ERROR_TIMEOUT).
    TimedOut {
        /// Offsets in the content.
        range: Range<u64>,
    },
    /// The offset lies outside the content information's range (PEERDIST_ERROR_NO_MORE); or what
    /// that says of the block contradicts the block that is stored: HoD binds a segment's block
    /// hashes, and not the length of its last block.
    NoMore,
}

/// A read that has ended.
#[derive(Clone, Debug)]
pub struct Completion {
    /// Which.
    pub read: ReadId,
    /// Of which content.
    pub content: ContentHandle,
    /// How.
    pub result: ReadResult,
    /// What failed on the way.
    pub failures: Failures,
}

/// Contents, reads and completions of one application.
pub struct Client {
    contents: [Content; CONTENTS],
    reads: Vec<Read, READS>,
    intakes: Vec<Inflow, INTAKES>,
    /// The segment being checked, and whose it is: one at a time, for the state of a hash is large.
    check: Option<(ContentHandle, HodCheck)>,
    next_read: u32,
    /// Counts what shows that blocks do not lie in the store for ever.
    moved: u32,
}

struct Content {
    generation: u32,
    state: State,
    tag: ContentTag,
    position: u64,
}

#[allow(clippy::large_enum_variant, reason = "there is no heap to put the large variant on")]
enum State {
    Closed,
    Collecting(InfoId),
    /// Block hashes of version 1.0 are being checked against HoD, segment by segment. In version
    /// 2.0 a block's hash is the HoD (fact 12).
    Checking {
        info_id: InfoId,
        info: v1::Info,
        segment: u32,
    },
    Ready {
        info_id: InfoId,
        info: Info,
        /// From where segments are searched for.
        near: Option<v2::Place>,
    },
    Unusable(InfoId, InfoError),
}

struct Read {
    id: ReadId,
    content: ContentHandle,
    streaming: bool,
    stage: Stage,
}

enum Stage {
    Open(Wish),
    /// Completed with data: its block is pinned until the reader has it.
    Ready(Ready),
    /// Completed without data: there is nothing to copy.
    Over,
}

/// A read under way.
struct Wish {
    /// `None`: a stream read that has not begun.
    offset: Option<u64>,
    max: u64,
    deadline: Instant,
    search: Search,
}

enum Search {
    New,
    /// Its block is not in the store, and no job was free.
    Starved,
    Waiting(JobId),
}

/// Data of a read, and what opening its block takes.
struct Ready {
    stored: Stored,
    /// Where in the block it begins, and how many bytes it has.
    within: u32,
    len: u32,
    /// Where the block's key stands in the content information.
    secret_at: u64,
}

/// A block being filled with data from the origin.
struct Inflow {
    content: ContentHandle,
    start: u64,
    /// Where its key stands in the content information.
    secret_at: u64,
    intake: Intake,
}

/// A block of a content, found by offset.
struct Located {
    segment: Segment,
    block: BlockId,
    expected: Expected,
    /// Offsets of the block in the content.
    span: Range<u64>,
}

/// The parts of the machine that a client works with.
pub struct Parts<'a> {
    /// Both stores.
    pub storage: &'a mut dyn Storage,
    /// The crypto provider.
    pub crypto: &'a mut dyn Crypto,
    /// The source of entropy.
    pub rng: &'a mut dyn CryptoRng,
    /// The corridor to peers.
    pub fetch: &'a mut Fetch,
    /// Its jobs.
    pub jobs: &'a mut [Job],
    /// How data from the origin is sealed.
    pub cipher: CipherAlgorithm,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            contents: core::array::from_fn(|_| Content {
                generation: 0,
                state: State::Closed,
                tag: [0; 16],
                position: 0,
            }),
            reads: Vec::new(),
            intakes: Vec::new(),
            check: None,
            next_read: 0,
            moved: 0,
        }
    }
}

impl Client {
    /// Opens an empty content (PeerDistClientOpenContent).
    pub fn open_content(
        &mut self,
        storage: &mut dyn Storage,
        tag: ContentTag,
    ) -> Result<ContentHandle, ApiError> {
        let closed = |content: &Content| matches!(content.state, State::Closed);
        let (index, content) =
            (0u8..).zip(&mut self.contents).find(|(_, content)| closed(content)).ok_or(ApiError::Full)?;
        let info = storage.create_info().map_err(|_| ApiError::Full)?;
        content.generation = content.generation.wrapping_add(1);
        (content.state, content.tag, content.position) = (State::Collecting(info), tag, 0);
        Ok(ContentHandle { index, generation: content.generation })
    }

    /// Closes a content and cancels its reads (PeerDistClientCloseContent). What is cached stays.
    pub fn close_content(&mut self, handle: ContentHandle, parts: &mut Parts<'_>) -> Result<(), ApiError> {
        let content = self.content_mut(handle)?;
        let state = core::mem::replace(&mut content.state, State::Closed);
        match state {
            State::Collecting(id) | State::Unusable(id, _) => parts.storage.remove_info(id),
            State::Checking { info_id, .. } | State::Ready { info_id, .. } => {
                parts.storage.remove_info(info_id);
            }
            State::Closed => {}
        }
        self.check.take_if(|(checked, _)| *checked == handle);
        self.reads.retain(|read| {
            if read.content == handle {
                read.end(parts);
            }
            read.content != handle
        });
        self.intakes.retain(|inflow| {
            if inflow.content == handle {
                parts.storage.release(inflow.intake.slot());
            }
            inflow.content != handle
        });
        Ok(())
    }

    /// Adds the next piece of content information, of any length
    /// (PeerDistClientAddContentInformation).
    pub fn add_content_information(
        &mut self,
        storage: &mut dyn Storage,
        handle: ContentHandle,
        bytes: &[u8],
    ) -> Result<(), ApiError> {
        let State::Collecting(id) = self.content_mut(handle)?.state else {
            return Err(ApiError::InvalidState);
        };
        storage.append_info(id, bytes).map_err(|_| ApiError::Full)
    }

    /// Declares the content information complete (PeerDistClientCompleteContentInformation).
    /// Reads can begin once [`Client::is_ready`] says so.
    pub fn complete_content_information(
        &mut self,
        storage: &mut dyn Storage,
        handle: ContentHandle,
    ) -> Result<(), ApiError> {
        let content = self.content_mut(handle)?;
        let State::Collecting(info_id) = content.state else { return Err(ApiError::InvalidState) };
        match Info::parse(&InfoView { store: storage, id: info_id }) {
            Ok(info) => {
                content.position = info.range().start;
                content.state = match info {
                    Info::V1(info) => State::Checking { info_id, info, segment: 0 },
                    Info::V2(_) => State::Ready { info_id, info, near: None },
                };
                Ok(())
            }
            Err(error) => {
                content.state = State::Unusable(info_id, error);
                Err(ApiError::CannotParse(error))
            }
        }
    }

    /// Whether reads can begin: `Ok(None)` while block hashes are still being checked.
    pub fn is_ready(&self, handle: ContentHandle) -> Result<Option<&Info>, ApiError> {
        match &self.content(handle)?.state {
            State::Ready { info, .. } => Ok(Some(info)),
            State::Checking { .. } => Ok(None),
            State::Unusable(_, error) => Err(ApiError::CannotParse(*error)),
            State::Collecting(_) | State::Closed => Err(ApiError::InvalidState),
        }
    }

    /// Reads up to `max` bytes from `offset` on (PeerDistClientBlockRead): ends with what of them
    /// lies in one block.
    pub fn block_read(
        &mut self,
        now: Instant,
        content: ContentHandle,
        offset: u64,
        max: u64,
        timeout: Duration,
    ) -> Result<ReadId, ApiError> {
        self.read(now, content, Some(offset), max, timeout)
    }

    /// Reads up to `max` bytes where the last stream read ended (PeerDistClientStreamRead). A
    /// missing range moves the position too: the hole is the application's to fill.
    pub fn stream_read(
        &mut self,
        now: Instant,
        content: ContentHandle,
        max: u64,
        timeout: Duration,
    ) -> Result<ReadId, ApiError> {
        self.read(now, content, None, max, timeout)
    }

    /// Copies data of a completed read, `skip` bytes into it, into `buf`, and returns how many.
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
        let Ok(kp) = self.secret(storage, read.content, *secret_at) else { return Ok(0) };
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
        self.reads.retain(|read| {
            if read.id == id {
                read.end(parts);
                self.moved = self.moved.wrapping_add(1);
            }
            read.id != id
        });
    }

    /// Adds data that came from the origin, at `offset` of the content (PeerDistClientAddData). A
    /// block is verified whole, so where the range begins or ends inside one, the rest of that
    /// block has to be added too.
    /// Returns how many bytes were used, up to the end of their block, and what became of them.
    pub fn add_data(
        &mut self,
        parts: &mut Parts<'_>,
        handle: ContentHandle,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(usize, Added), ApiError> {
        let rest = |end: u64| {
            let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
            bytes.len().min(left)
        };
        // What goes on with a block needs no search.
        let ours = |inflow: &Inflow| inflow.content == handle && inflow.span().contains(&offset);
        let position = match self.intakes.iter().position(ours) {
            Some(position) => position,
            None => {
                let located = self.locate(parts, handle, offset)?;
                if offset > located.span.start {
                    return Ok((rest(located.span.end), Added::OutOfOrder));
                }
                let Some(inflow) = begin_intake(parts, handle, &located)? else {
                    return Ok((rest(located.span.end), Added::Known));
                };
                self.intakes.push(inflow).map_err(|inflow| {
                    parts.storage.release(inflow.intake.slot());
                    ApiError::Full
                })?;
                self.intakes.len().saturating_sub(1)
            }
        };
        let secret_at = self.intakes.get(position).map_or(0, |inflow| inflow.secret_at);
        let kp = self.secret(parts.storage, handle, secret_at)?;
        let Some(inflow) = self.intakes.get_mut(position) else { return Err(ApiError::Full) };
        let rest = rest(inflow.span().end);
        if u64::from(inflow.intake.taken()) != offset.saturating_sub(inflow.start) {
            return Ok((rest, Added::OutOfOrder));
        }
        let (storage, crypto) = (&mut *parts.storage, &mut *parts.crypto);
        let result = inflow.intake.update(storage, crypto, &kp, bytes);
        let slot = inflow.intake.slot();
        self.moved = self.moved.wrapping_add(u32::from(!bytes.is_empty()));
        if !matches!(result, Ok((_, false))) && position < self.intakes.len() {
            self.intakes.swap_remove(position);
        }
        match result {
            Ok((used, false)) => Ok((used, Added::Partial)),
            Ok((used, true)) => Ok((used, Added::Committed)),
            Err(VerifyError::Seal(_)) => {
                parts.storage.release(slot);
                Err(ApiError::Full)
            }
            Err(_) => {
                parts.storage.release(slot);
                Ok((rest, Added::Bad))
            }
        }
    }

    /// Changes whenever data was added or a read was ended: as long as it does, a full store gets room.
    pub fn moved(&self) -> u32 {
        self.moved
    }

    /// Whether the block of `handle` that holds `offset` is in the store.
    pub fn is_stored(&self, parts: &mut Parts<'_>, handle: ContentHandle, offset: u64) -> bool {
        let Ok(located) = self.locate(parts, handle, offset) else { return false };
        parts.storage.find(&located.block).is_some_and(|stored| stored.plain_len == located.expected.len)
    }

    /// Drops what is incomplete of the block that begins at `start`: its source broke off.
    pub fn drop_data(&mut self, storage: &mut dyn Storage, handle: ContentHandle, start: u64) {
        self.intakes.retain(|inflow| {
            let gone = inflow.content == handle && inflow.start == start;
            if gone {
                storage.release(inflow.intake.slot());
            }
            !gone
        });
    }

    /// All reads that have not ended, or whose data is still to be copied.
    pub fn reads(&self) -> impl Iterator<Item = ReadId> + '_ {
        self.reads.iter().map(|read| read.id)
    }

    /// The segment of `handle` with `index`.
    pub fn segment(
        &self,
        storage: &dyn Storage,
        handle: ContentHandle,
        index: u32,
    ) -> Result<Segment, ApiError> {
        let (view, info, near) = self.ready(storage, handle)?;
        info.segment_near(&view, near, index).map_err(ApiError::CannotParse)
    }

    /// The segment of `handle` that holds the byte at `offset`.
    pub fn segment_at(
        &self,
        storage: &dyn Storage,
        handle: ContentHandle,
        offset: u64,
    ) -> Result<Segment, ApiError> {
        let (view, info, near) = self.ready(storage, handle)?;
        let segment = info.segment_at_near(&view, near, offset).map_err(ApiError::CannotParse)?;
        segment.ok_or(ApiError::InvalidState)
    }

    /// The next segments that are asked for, by index or offset, are `segment` and those behind it.
    pub fn go_to(&mut self, handle: ContentHandle, segment: &Segment) {
        if let Ok(Content { state: State::Ready { near, .. }, .. }) = self.content_mut(handle) {
            *near = segment.place();
        }
    }

    /// Moves everything on: checks content information, begins reads, completes them. Returns
    /// whether anything moved, so that there may be more to do at once.
    pub fn work<const N: usize>(
        &mut self,
        now: Instant,
        parts: &mut Parts<'_>,
        completions: &mut Deque<Completion, N>,
    ) -> bool {
        let mut more = self.check(parts);
        let is_new = |read: &&Read| matches!(&read.stage, Stage::Open(Wish { search: Search::New, .. }));
        let new = |reads: &[Read]| reads.iter().filter(is_new).count();
        let before = new(&self.reads);
        for index in 0..self.reads.len() {
            if completions.is_full() {
                break;
            }
            let begun = self.reads.get(index).is_some_and(Read::has_job);
            if let Some(completion) = self.advance(now, parts, index) {
                // Room was checked above.
                let _ = completions.push_back(completion);
                more = true;
            }
            more |= begun != self.reads.get(index).is_some_and(Read::has_job);
        }
        self.reads.retain(|read| !matches!(read.stage, Stage::Over));
        // What was just wanted has to be searched for.
        more || new(&self.reads) < before
    }

    /// When the first read runs out of time.
    pub fn poll_timeout(&self) -> Option<Instant> {
        // A stream read without an offset waits for its turn, which another one's end brings.
        let waits = |wish: &&Wish| wish.offset.is_some();
        self.reads.iter().filter_map(Read::wish).filter(waits).map(|wish| wish.deadline).min()
    }

    fn read(
        &mut self,
        now: Instant,
        content: ContentHandle,
        offset: Option<u64>,
        max: u64,
        timeout: Duration,
    ) -> Result<ReadId, ApiError> {
        self.is_ready(content)?.ok_or(ApiError::InvalidState)?;
        let id = ReadId(self.next_read);
        let wish = Wish { offset, max: max.max(1), deadline: now + timeout, search: Search::New };
        let read = Read { id, content, streaming: offset.is_none(), stage: Stage::Open(wish) };
        self.reads.push(read).map_err(|_| ApiError::Full)?;
        self.next_read = self.next_read.wrapping_add(1);
        Ok(id)
    }

    /// Moves one read on; its completion if it ends.
    fn advance(&mut self, now: Instant, parts: &mut Parts<'_>, index: usize) -> Option<Completion> {
        let (earlier, read) = self.reads.split_at_mut_checked(index)?;
        let read = read.first_mut()?;
        let handle = read.content;
        let position = self.contents.get(usize::from(handle.index)).map_or(0, |content| content.position);
        // Stream reads are answered first in, first out.
        let queued = |other: &Read| other.streaming && other.content == handle && other.wish().is_some();
        let Stage::Open(wish) = &mut read.stage else { return None };
        if wish.offset.is_none() {
            if earlier.iter().any(queued) {
                return None;
            }
            wish.offset = Some(position);
        }
        let (offset, max, deadline) = (wish.offset?, wish.max, wish.deadline);
        let (result, failures) = match wish.search {
            // What finding its block costs is not spent again before a job is free.
            Search::Starved if now < deadline && !Fetch::has_room(parts.jobs) => return None,
            Search::New | Search::Starved => match self.begin(now, parts, handle, offset, max) {
                Begun::Local(ready) => {
                    let range = offset..offset.saturating_add(ready.len.into());
                    self.reads.get_mut(index)?.ready(parts, ready);
                    (ReadResult::Data { range, source: Source::Local }, Failures::new())
                }
                Begun::Wanted(job) => {
                    self.reads.get_mut(index)?.search(Search::Waiting(job));
                    return None;
                }
                Begun::NoJob(_) if now < deadline => {
                    self.reads.get_mut(index)?.search(Search::Starved);
                    return None;
                }
                Begun::NoJob(range) => (ReadResult::TimedOut { range }, Failures::new()),
                Begun::Outside => (ReadResult::NoMore, Failures::new()),
            },
            Search::Waiting(job) => self.outcome(now, parts, index, job, offset, max)?,
        };
        let read = self.reads.get_mut(index)?;
        let (id, streaming) = (read.id, read.streaming);
        let moved = match &result {
            ReadResult::Data { range, .. } => Some(range.end),
            ReadResult::Missing { range } | ReadResult::TimedOut { range } => Some(range.end),
            ReadResult::NoMore => None,
        };
        if !matches!(result, ReadResult::Data { .. }) {
            read.stage = Stage::Over;
        }
        if let (true, Some(end), Ok(content)) = (streaming, moved, self.content_mut(handle)) {
            content.position = end;
        }
        Some(Completion { read: id, content: handle, result, failures })
    }

    /// Begins a read: from the store, or by a job.
    fn begin(
        &mut self,
        now: Instant,
        parts: &mut Parts<'_>,
        handle: ContentHandle,
        offset: u64,
        max: u64,
    ) -> Begun {
        if !self.is_ready(handle).is_ok_and(|info| info.is_some_and(|info| info.range().contains(&offset))) {
            return Begun::Outside;
        }
        let Ok(located) = self.locate(parts, handle, offset) else { return Begun::Outside };
        self.come_near(handle, &located.segment);
        if let Some(stored) = parts.storage.find(&located.block) {
            if stored.plain_len != located.expected.len {
                return Begun::Outside;
            }
            let range = self.wanted_range(handle, &located.span, offset, max);
            return Begun::Local(Ready::new(stored, &located, &range));
        }
        let Parts { fetch, jobs, .. } = parts;
        match fetch.want(now, jobs, located.block, located.expected, located.segment.secret()) {
            Some(job) => Begun::Wanted(job),
            None => Begun::NoJob(self.wanted_range(handle, &located.span, offset, max)),
        }
    }

    fn outcome(
        &mut self,
        now: Instant,
        parts: &mut Parts<'_>,
        index: usize,
        job: JobId,
        offset: u64,
        max: u64,
    ) -> Option<(ReadResult, Failures)> {
        let read = self.reads.get(index)?;
        let (handle, deadline) = (read.content, read.wish()?.deadline);
        let outcome = Fetch::outcome(parts.jobs, job);
        if outcome.is_none() && now < deadline {
            return None;
        }
        let failures = match &outcome {
            Some(outcome) => outcome.failures.clone(),
            None => parts.fetch.expire(now, parts.storage, parts.jobs, job),
        };
        // It was found before, so only a failing store of content information can hide it now.
        let Ok(located) = self.locate(parts, handle, offset) else {
            return Some((ReadResult::NoMore, failures));
        };
        let range = self.wanted_range(handle, &located.span, offset, max);
        let Some(outcome) = outcome else {
            return Some((ReadResult::TimedOut { range }, failures));
        };
        let result = match parts.storage.find(&located.block) {
            Some(stored) if stored.plain_len != located.expected.len => ReadResult::NoMore,
            Some(stored) => {
                // Whatever the peers said, it may have been added meanwhile.
                let source = outcome.source.unwrap_or(Source::Local);
                self.reads.get_mut(index)?.ready(parts, Ready::new(stored, &located, &range));
                ReadResult::Data { range, source }
            }
            None => ReadResult::Missing { range },
        };
        Some((result, failures))
    }

    /// What of `max` bytes from `offset` lies in the block and in the content information's range.
    fn wanted_range(&self, handle: ContentHandle, span: &Range<u64>, offset: u64, max: u64) -> Range<u64> {
        let end = match self.is_ready(handle) {
            Ok(Some(info)) => info.range().end,
            _ => span.end,
        };
        offset..offset.saturating_add(max).min(span.end).min(end)
    }

    /// The block that holds `offset`, if its hash is listed: in the range, or in a block that the
    /// range has a part of.
    fn locate(&self, parts: &mut Parts<'_>, handle: ContentHandle, offset: u64) -> Result<Located, ApiError> {
        let segment = self.segment_at(parts.storage, handle, offset)?;
        let (view, info, _) = self.ready(&*parts.storage, handle)?;
        let (within, block_bytes) =
            (offset.saturating_sub(segment.offset()), u64::from(segment.block_bytes()));
        // No segment is empty, so neither are its blocks.
        let index = within.checked_div(block_bytes).ok_or(ApiError::InvalidState)?;
        let start = segment.offset().saturating_add(index.saturating_mul(block_bytes));
        let index = index as u32;
        let len = segment.block_len(index).ok_or(ApiError::InvalidState)?;
        let hash =
            segment.block_hash(&view, index).map_err(ApiError::CannotParse)?.ok_or(ApiError::InvalidState)?;
        let block = BlockId { segment: segment.id(parts.crypto), index };
        let expected = Expected { algorithm: info.algorithm(), hash, len };
        Ok(Located { segment, block, expected, span: start..start.saturating_add(u64::from(len)) })
    }

    /// Whoever reads beyond what is near reads on from there: most read in order.
    fn come_near(&mut self, handle: ContentHandle, segment: &Segment) {
        let Ok(Content { state: State::Ready { near, .. }, .. }) = self.content(handle) else { return };
        let distance = near.and_then(|near| segment.index().checked_sub(near.index()));
        if distance.is_none_or(|distance| distance >= NEAR_SEGMENTS) {
            self.go_to(handle, segment);
        }
    }

    /// The segment secret that stands there in the content information of `handle`.
    fn secret(&self, storage: &dyn Storage, handle: ContentHandle, at: u64) -> Result<Secret, ApiError> {
        let (view, info, _) = self.ready(storage, handle)?;
        info.secret_at(&view, at).map_err(ApiError::CannotParse)
    }

    /// The content information of a content, and from where its segments are searched for.
    #[allow(clippy::type_complexity, reason = "it is taken apart where it is made")]
    fn ready<'a>(
        &'a self,
        store: &'a dyn Storage,
        handle: ContentHandle,
    ) -> Result<(InfoView<'a, dyn Storage + 'a>, &'a Info, Option<v2::Place>), ApiError> {
        match &self.content(handle)?.state {
            State::Ready { info_id, info, near } => Ok((InfoView { store, id: *info_id }, info, *near)),
            _ => Err(ApiError::InvalidState),
        }
    }

    fn content(&self, handle: ContentHandle) -> Result<&Content, ApiError> {
        let content = self.contents.get(usize::from(handle.index)).ok_or(ApiError::InvalidHandle)?;
        let open = content.generation == handle.generation && !matches!(content.state, State::Closed);
        if open { Ok(content) } else { Err(ApiError::InvalidHandle) }
    }

    fn content_mut(&mut self, handle: ContentHandle) -> Result<&mut Content, ApiError> {
        self.content(handle)?;
        self.contents.get_mut(usize::from(handle.index)).ok_or(ApiError::InvalidHandle)
    }
}

enum Begun {
    Local(Ready),
    Wanted(JobId),
    NoJob(Range<u64>),
    Outside,
}

impl Read {
    fn wish(&self) -> Option<&Wish> {
        match &self.stage {
            Stage::Open(wish) => Some(wish),
            Stage::Ready(_) | Stage::Over => None,
        }
    }

    fn has_job(&self) -> bool {
        self.wish().is_some_and(|wish| matches!(wish.search, Search::Waiting(_)))
    }

    fn search(&mut self, next: Search) {
        if let Stage::Open(wish) = &mut self.stage {
            wish.search = next;
        }
    }

    fn ready(&mut self, parts: &mut Parts<'_>, ready: Ready) {
        parts.storage.pin(ready.stored.slot);
        self.stage = Stage::Ready(ready);
    }

    /// Gives up what it holds.
    fn end(&self, parts: &mut Parts<'_>) {
        match &self.stage {
            Stage::Open(Wish { search: Search::Waiting(job), .. }) => {
                Fetch::cancel(parts.storage, parts.jobs, *job);
            }
            Stage::Ready(ready) => parts.storage.unpin(ready.stored.slot),
            Stage::Open(_) | Stage::Over => {}
        }
    }
}

impl Ready {
    /// The bytes of `range` in a block.
    fn new(stored: Stored, block: &Located, range: &Range<u64>) -> Self {
        let bytes = |from: u64, to: u64| u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX);
        let within = bytes(block.span.start, range.start);
        Self { stored, within, len: bytes(range.start, range.end), secret_at: block.segment.secret_at() }
    }
}

impl Inflow {
    /// Offsets of its block in the content.
    fn span(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.intake.plain_len().into())
    }
}

impl Client {
    /// MS-PCCRC 2.2: before any block is made available, its segment's block hashes MUST match
    /// HoD. Some of them at a time; whether there is more to check.
    fn check(&mut self, parts: &mut Parts<'_>) -> bool {
        let is_checking = |content: &&mut Content| matches!(content.state, State::Checking { .. });
        let mut contents = (0u8..).zip(&mut self.contents);
        let content = match &self.check {
            Some((handle, _)) => contents.nth(handle.index.into()),
            None => contents.find(|(_, content)| is_checking(content)),
        };
        let Some((index, content)) = content else { return false };
        let handle = ContentHandle { index, generation: content.generation };
        let State::Checking { info_id, info, segment } = &mut content.state else { return false };
        let (info_id, info) = (*info_id, *info);
        let view = InfoView { store: &*parts.storage, id: info_id };
        let result = match &mut self.check {
            Some((_, running)) => {
                running.step(&view, parts.crypto, HOD_STEP).map(|progress| progress == Progress::Done)
            }
            // A partial list cannot be checked against HoD, so its hashes are worth nothing: a block
            // that matches them might be anybody's, and would be served under the segment's name.
            None => info.segment(&view, *segment).and_then(|described| {
                HodCheck::new(parts.crypto, &described).map(|begun| {
                    self.check = Some((handle, begun));
                    false
                })
            }),
        };
        match result {
            Ok(false) => return true,
            Ok(true) => {
                *segment = segment.saturating_add(1);
                if *segment >= info.segment_count() {
                    content.state = State::Ready { info_id, info: Info::V1(info), near: None };
                }
            }
            Err(error) => content.state = State::Unusable(info_id, error),
        }
        self.check = None;
        true
    }
}

/// Reserves a slot for a block from the origin; `None` if the block is here or on its way.
fn begin_intake(
    parts: &mut Parts<'_>,
    content: ContentHandle,
    located: &Located,
) -> Result<Option<Inflow>, ApiError> {
    let len = parts.cipher.sealed_len(located.expected.len);
    let slot = match parts.storage.reserve(&located.block, len) {
        Ok(slot) => slot,
        Err(ReserveError::Exists) => return Ok(None),
        Err(ReserveError::Full) => return Err(ApiError::Full),
    };
    // MS-PCCRR 5.1: an IV suitable for the cipher: fresh for each encryption.
    let mut iv = [0; 16];
    parts.rng.fill_bytes(&mut iv);
    let seal = Seal { algorithm: parts.cipher, iv };
    let intake = Intake::new(parts.crypto, slot, seal, located.expected);
    let secret_at = located.segment.secret_at();
    Ok(Some(Inflow { content, start: located.span.start, secret_at, intake }))
}
