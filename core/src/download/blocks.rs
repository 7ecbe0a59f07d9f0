//! A content by its content information: its blocks, from the store, from peers, and from the origin.

use core::ops::Range;

use heapless::{Deque, Vec};

use super::DownloadError;
use super::crowd::{Surveyed, after};
use super::event::DownloadEvent;
use super::origin::OriginFailure;
use super::pieces::{Missed, Place, Ready};
use super::stretch::Stretch;
use super::sweep::Sweep;
use super::unseen::Unseen;
use crate::api::client::{
    Added, ApiError, Client, Completion, ContentHandle, DEFAULT_READ_TIMEOUT, Parts, ReadId, ReadResult,
};
use crate::fetch::{Failure, Source};
use crate::limits::{BLOCK_BYTES, rows};
use crate::store::Storage;
use crate::time::{Duration, Instant, earliest};

/// Connections to the origin that one download uses: with two, one request's round trip passes
/// while the other's bytes arrive.
pub const ORIGIN_STREAMS: usize = 2;

/// Blocks asked for among the peers at once; no more are than the node has in flight.
pub const WINDOW: usize = rows(16, 4);

/// What is said of a range behind the content's end, as a server would.
pub(super) const BEYOND_END: DownloadError = DownloadError::Origin(OriginFailure::Status(416));

/// A block that the origin gives in this time is waited for together with the next.
const QUICK: Duration = Duration::from_secs(2);

/// How long the origin is thought to take for a block before it has given one.
const FIRST_PACE: Duration = Duration::from_secs(5);

/// Bytes that might have come in the round trips before content information does.
const ROUND_TRIP_BYTES: u64 = 16 * 1_024;

/// Blocks that are got at a time while the store has room for any number.
const ALL_ROOM: usize = WINDOW + ORIGIN_STREAMS;

/// How long to wait before a block is asked for again that the store had no room for.
pub(super) const ASK_LATER: Duration = Duration::from_millis(250);

/// How long a store may be full while nobody moves anything in it, before the download ends: longer
/// than an origin may be silent, or an upload may take, since what they hold is free then.
const FULL_PATIENCE: Duration = Duration::from_secs(90);

/// Blocks that are tried one after the other when another download is getting those chosen.
const CHOICES: u32 = 4;

/// Blocks handed out without finding the store full, before one more is got at a time.
const STEADY_BLOCKS: u8 = 16;

/// Blocks from the origin that are wrong before the content counts as another one: once or twice may be a
/// proxy's fault.
const BAD_BLOCKS: u8 = 2;

/// The blocks of a content that is being downloaded.
// Small fields come first: a microcontroller reaches those with short instructions.
#[repr(C)]
pub(super) struct Blocks {
    pub(super) content: ContentHandle,
    /// There is something to do at once: a block that was here is gone, or one that was missing is
    /// here.
    pub(super) more: bool,
    /// The store was full for too long.
    gave_up: bool,
    bad_blocks: u8,
    /// Blocks handed out since the store was last full.
    steady: u8,
    /// Blocks that are got at a time: as many as the store was seen to have room for.
    room: usize,
    /// How long the origin took for the latest block.
    pace: Duration,
    /// How long it may take for a block, by what it took for content information, of which there are so many bytes.
    expected_pace: Duration,
    pub(super) info_bytes: u32,
    /// Before then, no block is asked for that needs room.
    full_until: Instant,
    /// Since when the store is full, and how much had moved in it then.
    full: Option<(Instant, u32)>,
    /// A block that rotted while it was handed out, and how far it had come.
    torn: Option<(u32, u32)>,
    /// A block of which content information says what cannot be.
    contradicted: Option<u32>,
    /// The blocks that are worked on, once content information is checked; `u32`s below count them.
    stretch: Option<Stretch>,
    /// Who else has its blocks or wants them, where one segment has them all.
    pub(super) surveyed: Option<Surveyed>,
    /// The others, where they are not seen.
    unseen: Option<Unseen>,
    /// Blocks that they turned out to have brought meanwhile.
    brought: u32,
    /// Those that the origin is asked for, or that are in the store, and still have to be read.
    missed: Vec<Missed, ORIGIN_STREAMS>,
    pub(super) reads: Vec<(ReadId, u32), WINDOW>,
    ready: Deque<Ready, WINDOW>,
    sweep: Sweep,
}

impl Blocks {
    /// Of a content that is still to be told about.
    pub(super) fn new(content: ContentHandle) -> Self {
        Self {
            content,
            stretch: None,
            sweep: Sweep::default(),
            surveyed: None,
            unseen: None,
            brought: 0,
            pace: FIRST_PACE,
            expected_pace: FIRST_PACE,
            info_bytes: 0,
            reads: Vec::new(),
            ready: Deque::new(),
            missed: Vec::new(),
            torn: None,
            bad_blocks: 0,
            room: ALL_ROOM,
            steady: 0,
            full: None,
            full_until: Instant::ZERO,
            gave_up: false,
            contradicted: None,
            more: false,
        }
    }

    /// Content information has come in that time: blocks will come no faster, though what a connection takes to come
    /// about says nothing of that.
    pub(super) fn expect_pace(&mut self, took: Duration) {
        let bytes = u64::from(self.info_bytes).saturating_add(ROUND_TRIP_BYTES);
        let pace = took.micros().saturating_mul(BLOCK_BYTES.into()).checked_div(bytes).unwrap_or(0);
        self.expected_pace = Duration::from_micros(pace);
    }

    /// Whether `read` is one of its reads.
    pub(super) fn owns(&self, read: ReadId) -> bool {
        self.reads.iter().any(|(id, _)| *id == read) || self.ready.iter().any(|ready| ready.read == read)
    }

    /// Takes the end of one of its reads, of what lies in `wanted`.
    #[inline(never)]
    pub(super) fn handle_completion(
        &mut self,
        now: Instant,
        wanted: &Range<u64>,
        client: &Client,
        completion: &Completion,
    ) {
        let Some(position) = self.reads.iter().position(|(id, _)| *id == completion.read) else { return };
        let (read, block) = self.reads.swap_remove(position);
        let failures = &completion.failures;
        let missed = self.missed.iter().position(|missed| missed.block == block);
        let missed = missed.map(|missed| self.missed.swap_remove(missed).place);
        match &completion.result {
            ReadResult::Data { range, source } => {
                self.full = None;
                let mut source = *source;
                match missed {
                    Some(Place::Read { fetched: true }) => source = Source::Origin,
                    Some(_) => {}
                    None => drop(self.sweep.note(block, failures)),
                }
                let from_peer = matches!(source, Source::Peer(_));
                let from_hosted = matches!(source, Source::HostedCache(_));
                // What was asked for in vain before, somebody has brought since.
                if self.sweep.found(block, from_peer || from_hosted) && from_hosted {
                    self.brought = self.brought.saturating_add(1);
                }
                if let Some(surveyed) = &mut self.surveyed
                    && from_peer
                {
                    surveyed.progress(now, self.pace);
                }
                // A block's bytes are counted in 32 bits everywhere.
                let part = |offset: u64| offset.min(range.end).saturating_sub(range.start) as u32;
                // What was handed out of it before is not handed out again.
                let torn = self.torn.take_if(|(torn, _)| *torn == block);
                let given = torn.map_or(part(wanted.start), |(_, given)| given);
                let (start, len, missed) = (range.start, part(wanted.end), missed.is_some());
                // There is room for all reads that can be under way.
                let _ = self.ready.push_back(Ready { read, block, start, len, given, source, missed });
            }
            // A peer has it, and there was no room for it: that is no reason to go to the origin.
            ReadResult::Missing { .. } if failures.iter().any(Failure::is_full) => {
                self.sweep.no_room(block);
                self.store_full(now, client);
            }
            ReadResult::Missing { .. } | ReadResult::TimedOut { .. } => {
                self.sweep.nobody(block, failures);
                self.wake();
            }
            // All its reads lie in the range, so the content information contradicts what is
            // stored, or cannot be read any more.
            ReadResult::NoMore | ReadResult::Failed(_) | ReadResult::Local { .. } => {
                self.contradicted = Some(block);
            }
        }
    }

    /// Moves on: begins reads. Whether all that lies in `wanted` has been handed out, of a content that the
    /// origin has said to have `len` bytes.
    #[inline(never)]
    pub(super) fn work(
        &mut self,
        now: Instant,
        wanted: &Range<u64>,
        len: u64,
        client: &mut Client,
        parts: &mut Parts<'_>,
    ) -> Result<bool, DownloadError> {
        if let Some(block) = self.contradicted {
            return Err(DownloadError::Changed { offset: self.span(client, parts.storage, block)?.start });
        }
        if self.gave_up {
            return Err(DownloadError::Full);
        }
        let content = self.content;
        if self.stretch.is_none() {
            let Some(info) = client.is_ready(content)? else { return Ok(false) };
            let version = info.version();
            // What was asked for is the whole content, so both must mean the same bytes.
            if info.range() != (0..len) {
                return Err(DownloadError::Origin(OriginFailure::BadReply));
            }
            let wanted = wanted.start..wanted.end.min(len);
            if wanted.is_empty() {
                return Err(BEYOND_END);
            }
            self.stretch = Some(Stretch::before(client, parts.storage, content, version, wanted)?);
        }
        while self.sweep.is_done() {
            let Some(stretch) = &mut self.stretch else { return Ok(false) };
            let Some(blocks) = stretch.advance(client, parts.storage, content)? else { return Ok(true) };
            let count = blocks.end.saturating_sub(blocks.start);
            self.sweep.begin(now, blocks);
            self.missed.clear();
            self.enter(now, count, client, parts)?;
        }
        let mut brought = core::mem::take(&mut self.brought);
        if let Some(surveyed) = &mut self.surveyed {
            brought = surveyed.look(now, parts.fetch, &mut self.sweep);
        }
        if let Some(unseen) = &mut self.unseen {
            unseen.brought(now, brought, parts.rng);
            // Many wait, and ask for little; whoever goes to the origin asks first what need not come from there.
            self.sweep.spare(unseen.waits());
        }
        // Reads beyond the jobs there are would only wait.
        let window = WINDOW.min(parts.jobs.len());
        while self.reads.len() + self.ready.len() < window {
            let Some(block) = self.pick(now, parts) else { break };
            let span = self.span(client, parts.storage, block)?;
            let max = span.end.saturating_sub(span.start);
            match client.block_read(now, content, span.start, max, DEFAULT_READ_TIMEOUT.into()) {
                // There is room: the window was looked at.
                Ok(read) => drop(self.reads.push((read, block))),
                Err(_) => {
                    self.sweep.nobody(block, &[]);
                    break;
                }
            }
        }
        Ok(false)
    }

    /// Looks who may have the blocks of a stretch that has just begun, of which so many are wanted.
    #[inline(never)]
    fn enter(
        &mut self,
        now: Instant,
        wanted: u32,
        client: &Client,
        parts: &mut Parts<'_>,
    ) -> Result<(), ApiError> {
        self.end_survey(parts);
        if parts.fetch.is_hosted_alone() {
            // What blocks took says more, once there were any.
            let known = self.pace != FIRST_PACE;
            let pace = if known { self.pace } else { self.expected_pace };
            self.unseen = Some(Unseen::new(now, wanted, pace, parts.rng).after(self.unseen.as_ref()));
        }
        let Some(stretch) = &self.stretch else { return Ok(()) };
        let Some(segment) = stretch.segment(client, parts.storage, self.content)? else { return Ok(()) };
        let segment_id = segment.id(parts.crypto);
        self.sweep.expect_survey();
        for index in client.stored_blocks(parts.storage, segment_id) {
            self.sweep.is_here(index);
        }
        self.surveyed = Some(Surveyed::new(now, segment_id, segment.algorithm(), segment.block_count()));
        Ok(())
    }

    /// Nobody needs to know any more who has its blocks.
    pub(super) fn end_survey(&mut self, parts: &mut Parts<'_>) {
        if let Some(surveyed) = self.surveyed.take() {
            parts.fetch.end_survey(surveyed.segment());
        }
    }

    /// A block to read: one that has just landed, or the next of the sweep.
    fn pick(&mut self, now: Instant, parts: &mut Parts<'_>) -> Option<u32> {
        for missed in &mut self.missed {
            if let Place::Stored { fetched } = missed.place {
                missed.place = Place::Read { fetched };
                self.sweep.ask(missed.block);
                return Some(missed.block);
            }
        }
        let room = now >= self.full_until && self.under_way() < self.room;
        if room { self.sweep.next(now, parts.rng) } else { None }
    }

    /// Blocks that have a place in the store, or may soon have one.
    fn under_way(&self) -> usize {
        let read = |missed: &&Missed| matches!(missed.place, Place::Read { .. });
        let missed = self.missed.len().saturating_sub(self.missed.iter().filter(read).count());
        self.reads.len() + self.ready.len() + missed
    }

    /// See [`Stretch::span`].
    fn span(&self, client: &Client, storage: &dyn Storage, block: u32) -> Result<Range<u64>, ApiError> {
        let stretch = self.stretch.as_ref().ok_or(ApiError::InvalidState)?;
        stretch.span(client, storage, self.content, block)
    }

    /// The next block to ask the origin for, and its place in the content.
    #[inline(never)]
    pub(super) fn need(
        &mut self,
        now: Instant,
        client: &mut Client,
        parts: &mut Parts<'_>,
    ) -> Option<(u32, Range<u64>)> {
        let content = self.content;
        let streams = if self.room < ALL_ROOM { 1 } else { ORIGIN_STREAMS };
        // The next request goes out when half of the one before has come: two that began together
        // would end together, and leave the link idle for a round trip. Where a block takes long,
        // that is no loss, and two would only be late twice.
        let may_go_on = |it: &Missed| it.place != Place::Asked || self.pace <= QUICK && it.is_half_full();
        if now < self.full_until || self.missed.len() >= streams || !self.missed.iter().all(may_go_on) {
            return None;
        }
        for _ in 0..CHOICES {
            let block = self.choose(now, parts)?;
            // What cannot be read any more ends the download when it is read again.
            let span = self.span(client, parts.storage, block).ok()?;
            // Another download may have brought it meanwhile.
            if client.is_stored(parts, content, span.start) {
                self.miss(now, block, &span, Place::Stored { fetched: false });
                self.more = true;
                return None;
            }
            // Its place in the store comes first: there is no use for a reply without one.
            match client.add_data(parts, content, span.start, &[]) {
                // Another download is getting it.
                Ok((_, Added::Known)) => self.sweep.wait_for(block),
                Ok(_) => return Some((block, span)),
                Err(_) => {
                    self.store_full(now, client);
                    return None;
                }
            }
        }
        if let Some(surveyed) = &mut self.surveyed {
            surveyed.rest(now);
        }
        None
    }

    /// A missing block to ask the origin for, if it is our turn to.
    #[inline(never)]
    fn choose(&mut self, now: Instant, parts: &mut Parts<'_>) -> Option<u32> {
        let Self { sweep, surveyed, unseen, .. } = self;
        if unseen.as_mut().is_some_and(|unseen| !unseen.may_get(now)) {
            return None;
        }
        // Any: of what others got a moment ago nobody knows yet, and who goes close behind one of them never would.
        let Some(surveyed) = surveyed else { return sweep.wanted(parts.rng, &|_| 0, 0) };
        let block = match unseen {
            Some(_) if !surveyed.may_look(now) => return None,
            Some(unseen) => {
                let block = sweep.wanted(parts.rng, &|block| unseen.turn(block), usize::MAX);
                block.inspect(|block| unseen.takes(*block))
            }
            None => {
                let latest = surveyed.patience(now, self.pace)?;
                let crowd = parts.fetch.crowd(now, surveyed.segment(), self.pace);
                sweep.wanted(parts.rng, &|block| crowd.turn(block), latest)
            }
        };
        if block.is_none() {
            surveyed.rest(now);
        }
        block
    }

    /// The origin is asked for the block, or it is in the store: no peer had it.
    pub(super) fn miss(&mut self, now: Instant, block: u32, range: &Range<u64>, place: Place) {
        self.sweep.take(block);
        let len = range.end.saturating_sub(range.start) as u32;
        // No more is needed than there is room for.
        let _ = self.missed.push(Missed { block, place, start: range.start, len, received: 0, since: now });
    }

    /// Whether the block that begins at `start` is awaited from the origin.
    pub(super) fn awaits(&self, start: u64) -> bool {
        self.missed.iter().any(|missed| missed.place == Place::Asked && missed.start == start)
    }

    /// A block that is being asked of the origin, and that a peer has by now: where it begins.
    pub(super) fn dropped(&mut self, client: &mut Client, parts: &mut Parts<'_>) -> Option<u64> {
        let Self { missed, sweep, .. } = self;
        let mut spare = |missed: &&Missed| {
            missed.place == Place::Asked && !missed.is_nearly_full() && sweep.give_up(missed.block)
        };
        let start = missed.iter().find(&mut spare)?.start;
        self.take_asked(start, client, parts);
        Some(start)
    }

    /// The origin did not give the block that begins at `start` after all.
    pub(super) fn put_back(&mut self, start: u64, client: &mut Client, parts: &mut Parts<'_>) {
        if let Some(block) = self.take_asked(start, client, parts) {
            self.sweep.put_back(block);
        }
    }

    /// The origin is not asked any more for the block that begins at `start`.
    fn take_asked(&mut self, start: u64, client: &mut Client, parts: &mut Parts<'_>) -> Option<u32> {
        client.drop_data(parts.storage, self.content, start);
        let its = |missed: &Missed| missed.place == Place::Asked && missed.start == start;
        let position = self.missed.iter().position(its)?;
        Some(self.missed.swap_remove(position).block)
    }

    /// Takes bytes from the origin that belong at `offset`.
    #[inline(never)]
    pub(super) fn add_data(
        &mut self,
        now: Instant,
        mut offset: u64,
        mut bytes: &[u8],
        client: &mut Client,
        parts: &mut Parts<'_>,
    ) -> Result<(), DownloadError> {
        while !bytes.is_empty() {
            // What fills no hole is not wanted any more: its block came from elsewhere.
            let Some(hole) = self.missed.iter_mut().find(|missed| missed.is_asked(offset)) else { break };
            let start = hole.start;
            let Ok((used, added)) = client.add_data(parts, self.content, offset, bytes) else {
                // Its place in the store is gone.
                self.put_back(start, client, parts);
                self.store_full(now, client);
                break;
            };
            hole.received = hole.received.saturating_add(used as u32);
            match added {
                Added::Committed => {
                    // It is read like any other.
                    hole.place = Place::Stored { fetched: true };
                    self.pace = now.since(hole.since);
                    if let Some(unseen) = &mut self.unseen {
                        unseen.got(now, parts.rng);
                    }
                    self.full = None;
                    self.wake();
                }
                Added::Bad => {
                    self.bad_blocks = self.bad_blocks.saturating_add(1);
                    if self.bad_blocks > BAD_BLOCKS {
                        return Err(DownloadError::Changed { offset: start });
                    }
                }
                Added::Partial | Added::OutOfOrder | Added::Known => {}
            }
            offset = offset.saturating_add(used as u64);
            bytes = bytes.get(used.max(1)..).unwrap_or_default();
        }
        Ok(())
    }

    /// Everything in the store is in use. By what is under way it gets free, so there is less of that
    /// from now on; but not if nothing moves in the store for long.
    fn store_full(&mut self, now: Instant, client: &Client) {
        (self.room, self.steady) = (self.under_way().min(self.room).max(1), 0);
        self.full_until = now + ASK_LATER;
        match self.full {
            Some((since, moved)) if moved == client.moved() => self.gave_up = since + FULL_PATIENCE <= now,
            _ => self.full = Some((now, client.moved())),
        }
    }

    /// There may be something to get from the origin that was not there before.
    fn wake(&mut self) {
        if let Some(surveyed) = &mut self.surveyed {
            surveyed.wake();
        }
    }

    /// Fills the front of `buf` with bytes to hand out: where they belong and how many.
    #[inline(never)]
    pub(super) fn poll_data(
        &mut self,
        client: &mut Client,
        parts: &mut Parts<'_>,
        buf: &mut [u8],
    ) -> Option<(u64, usize)> {
        loop {
            let ready = self.ready.front_mut()?;
            // What is to be said of it comes first.
            if ready.is_over() {
                return None;
            }
            let rest = ready.len.saturating_sub(ready.given) as usize;
            let given = u64::from(ready.given);
            let room = buf.get_mut(..rest.min(buf.len())).unwrap_or_default();
            match client.copy_read(parts.storage, parts.crypto, ready.read, given, room) {
                Ok(len) if len > 0 => {
                    ready.given = ready.given.saturating_add(len as u32);
                    return Some((ready.start.saturating_add(given), len));
                }
                // It rotted, or it is gone: it is looked for again.
                _ => {
                    client.end_read(parts, ready.read);
                    if given > 0 {
                        self.torn = Some((ready.block, ready.given));
                    }
                    self.sweep.lost(ready.block);
                    self.ready.pop_front();
                    self.wake();
                    self.more = true;
                }
            }
        }
    }

    /// Whether a block has been handed out of which nothing has been said yet.
    pub(super) fn has_event(&self) -> bool {
        self.ready.front().is_some_and(Ready::is_over)
    }

    /// What is to be said of a block that lies in `wanted` and has been handed out.
    #[inline(never)]
    pub(super) fn poll_event(
        &mut self,
        wanted: &Range<u64>,
        client: &mut Client,
        parts: &mut Parts<'_>,
    ) -> Option<DownloadEvent> {
        if !self.has_event() {
            return None;
        }
        let Ready { read, block, start, len, source, missed, .. } = self.ready.pop_front()?;
        client.end_read(parts, read);
        let failures = self.sweep.why(block, missed);
        self.sweep.handed_out(block);
        (self.full, self.full_until) = (None, Instant::ZERO);
        self.steady = self.steady.saturating_add(1);
        if self.steady >= STEADY_BLOCKS {
            (self.room, self.steady) = (ALL_ROOM.min(self.room + 1), 0);
        }
        let range = start.max(wanted.start)..start.saturating_add(len.into());
        Some(DownloadEvent::Block { range, source, failures })
    }

    /// Forgets what is under way, except what has been handed out.
    pub(super) fn close(&mut self, client: &mut Client, parts: &mut Parts<'_>) {
        self.end_survey(parts);
        // The handle is ours alone, so closing it cannot fail.
        let _ = client.close_content(self.content, parts);
        self.reads.clear();
        self.missed.clear();
        while self.ready.back().is_some_and(|ready| !ready.is_over()) {
            self.ready.pop_back();
        }
    }

    /// When it has something to do without new input.
    #[inline(never)]
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let own = earliest(after(now, self.sweep.poll_timeout()), after(now, self.full_until));
        let begins = self.unseen.as_ref().and_then(Unseen::poll_timeout).and_then(|at| after(now, at));
        let others = self.surveyed.as_ref().and_then(|surveyed| surveyed.poll_timeout(now));
        earliest(earliest(own, others), begins)
    }
}
