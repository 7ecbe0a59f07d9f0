//! A whole URL: asks the origin for content information, reads through [`api`](crate::api), fills
//! holes from the origin, and hands out verified bytes.
//!
//! Stretch by stretch, blocks are wanted in random order: when an office starts together, its
//! clients then fetch different blocks over the WAN and find each other's (flash crowd). A block
//! that no peer has goes to the origin; before long, all that are still missing are asked for
//! again among the peers. Bytes are handed out as blocks arrive, so in any order, each with its
//! offset. An origin that does not speak the coding simply gives the file.

mod crowd;
mod event;
pub mod origin;
mod phase;
mod pieces;
mod stretch;
mod sweep;

use core::ops::Range;

use heapless::{Deque, Vec};

use crate::api::client::{
    Added, ApiError, Client, Completion, ContentHandle, DEFAULT_READ_TIMEOUT, Parts, ReadId, ReadResult,
};
use crate::bytes::copy;
use crate::fetch::{Failure, Failures, Source};
use crate::retrieval::set::IndexSet;
use crate::store::{BlockId, Storage};
use crate::time::{Duration, Instant, earliest};
use crowd::Surveyed;
use event::info_error;
pub use event::{DownloadError, DownloadEvent, HOST_BYTES, PATH_BYTES, Url, VALIDATOR_BYTES, Validator};
use origin::{OriginEvent, OriginFailure, OriginStream, Want};
pub use phase::Need;
use phase::Phase;
use pieces::{Hole, Landed, Ready};
use stretch::Stretch;
use sweep::Sweep;

/// Connections to the origin that one download uses: with two, one request's round trip passes
/// while the other's bytes arrive.
pub const ORIGIN_STREAMS: usize = 2;

/// Blocks asked for among the peers at once.
pub const WINDOW: usize = 16;

/// A block that the origin gives in this time is waited for together with the next.
const QUICK: Duration = Duration::from_secs(2);

/// How long the origin is thought to take for a block before it has given one.
const FIRST_PACE: Duration = Duration::from_secs(5);

/// Blocks that are got at a time while the store has room for any number.
const ALL_ROOM: usize = WINDOW + ORIGIN_STREAMS;

/// Plain bytes from the origin that wait to be handed out.
const STAGE_BYTES: usize = 2_048;

/// Where a range ends if nobody knows how long the content is: servers count in 63 bits.
const OPEN_END: u64 = i64::MAX as u64;

/// What is said of a range behind the content's end, as a server would.
const BEYOND_END: DownloadError = DownloadError::Origin(OriginFailure::Status(416));

/// Failures of the origin in a row before the download ends.
const ORIGIN_ATTEMPTS: u8 = 8;

/// How long to wait after the origin's first failure; doubles with each.
const ORIGIN_BACKOFF: Duration = Duration::from_millis(250);

/// How long to wait before a block is asked for again that the store had no room for.
const ASK_LATER: Duration = Duration::from_millis(250);

/// How long a store may be full while nobody moves anything in it, before the download ends: longer
/// than an origin may be silent, or an upload may take, since what they hold is free then.
const FULL_PATIENCE: Duration = Duration::from_secs(90);

/// Blocks that are tried one after the other when another download is getting those chosen.
const CHOICES: u32 = 4;

/// Blocks handed out without finding the store full, before one more is got at a time.
const STEADY_BLOCKS: u8 = 16;

/// One download under way.
pub struct Download {
    url: Url,
    /// Offsets of what is to be handed out; what the content does not have of it is not missed.
    wanted: Range<u64>,
    phase: Phase,
    content: Option<ContentHandle>,
    /// The blocks that are worked on, once content information is here; `u32`s below count them.
    stretch: Option<Stretch>,
    sweep: Sweep,
    /// Who else has its blocks or wants them, where one segment has them all.
    surveyed: Option<Surveyed>,
    /// How long the origin took for the latest block.
    pace: Duration,
    reads: Vec<(ReadId, u32), WINDOW>,
    ready: Deque<Ready, WINDOW>,
    holes: Vec<Hole, ORIGIN_STREAMS>,
    /// Blocks from the origin that are in the store, and still have to be read.
    landed: Vec<Landed, ORIGIN_STREAMS>,
    /// A block that rotted while it was handed out, and how far it had come.
    torn: Option<(u32, u32)>,
    /// Bytes of the content, as the origin said beside its content information.
    announced: u64,
    stage: Vec<u8, STAGE_BYTES>,
    stage_offset: u64,
    plain_len: Option<u64>,
    /// What tells plain content from others, so that it can go on where it broke off.
    validator: Validator,
    /// What lies before it was there already.
    resumed: bool,
    handed_out: u64,
    attempts: u8,
    bad_blocks: u8,
    retry_at: Instant,
    /// Blocks that are got at a time: as many as the store was seen to have room for.
    room: usize,
    /// Blocks handed out since the store was last full.
    steady: u8,
    /// Since when the store is full, and how much had moved in it then.
    full: Option<(Instant, u32)>,
    /// Before then, no block is asked for that needs room.
    full_until: Instant,
    /// The store was full for too long.
    gave_up: bool,
    /// A block of which content information says what cannot be.
    contradicted: Option<u32>,
    /// There is something to do at once: a block that was here is gone, or one that was missing is
    /// here.
    more: bool,
}

impl Download {
    /// Begins to download what lies in `wanted`, which is not empty.
    pub fn new(now: Instant, url: Url, wanted: Range<u64>) -> Self {
        Self {
            url,
            wanted,
            phase: Phase::Asking,
            content: None,
            stretch: None,
            sweep: Sweep::default(),
            surveyed: None,
            pace: FIRST_PACE,
            reads: Vec::new(),
            ready: Deque::new(),
            holes: Vec::new(),
            landed: Vec::new(),
            torn: None,
            announced: 0,
            stage: Vec::new(),
            stage_offset: 0,
            plain_len: None,
            validator: Validator::new(),
            resumed: false,
            handed_out: 0,
            attempts: 0,
            bad_blocks: 0,
            retry_at: now,
            room: ALL_ROOM,
            steady: 0,
            full: None,
            full_until: now,
            gave_up: false,
            contradicted: None,
            more: false,
        }
    }

    /// Begins to download the rest of plain content that `validator` tells, which is not empty.
    pub fn rest(now: Instant, url: Url, wanted: Range<u64>, validator: Validator) -> Self {
        let stage_offset = wanted.start;
        let begun = Self::new(now, url, wanted);
        Self { phase: Phase::AskingPart, stage_offset, validator, resumed: true, ..begun }
    }

    /// What tells the content from a later one, if the origin gives it plainly and says so.
    pub fn validator(&self) -> Option<&Validator> {
        Some(&self.validator).filter(|validator| !validator.is_empty())
    }

    /// What the content has to be told by whose part is [needed](Self::need), since it goes on.
    pub fn condition(&self) -> Option<&Validator> {
        let goes_on = self.resumed || self.stage_offset > self.wanted.start;
        self.validator().filter(|_| goes_on && self.phase == Phase::AskingPart)
    }

    /// What is being downloaded.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the origin gives it plainly, no faster than it is handed out.
    pub fn is_plain(&self) -> bool {
        matches!(self.phase, Phase::Plain | Phase::Part)
    }

    /// How many blocks are being asked for.
    pub fn reads_under_way(&self) -> usize {
        self.reads.len()
    }

    /// Whether `read` is one of its reads.
    pub fn owns(&self, read: ReadId) -> bool {
        self.reads.iter().any(|(id, _)| *id == read) || self.ready.iter().any(|ready| ready.read == read)
    }

    /// Takes the end of one of its reads.
    pub fn handle_completion(&mut self, now: Instant, client: &Client, completion: Completion) {
        let Some(position) = self.reads.iter().position(|(id, _)| *id == completion.read) else { return };
        let (read, block) = self.reads.swap_remove(position);
        match completion.result {
            ReadResult::Data { range, source } => {
                self.full = None;
                let landed = self.landed.iter().position(|landed| landed.block == block);
                let (source, failures) = match landed.map(|landed| self.landed.swap_remove(landed)) {
                    Some(landed) if landed.fetched => (Source::Origin, landed.failures),
                    Some(landed) => (source, landed.failures),
                    None => (source, completion.failures),
                };
                let from_peer = matches!(source, Source::Peer(_));
                self.sweep.found(block, from_peer);
                if from_peer {
                    let pace = self.pace;
                    self.surveyed.iter_mut().for_each(|surveyed| surveyed.progress(now, pace));
                }
                // A block's bytes are counted in 32 bits everywhere.
                let part = |offset: u64| offset.min(range.end).saturating_sub(range.start) as u32;
                let len = part(self.wanted.end);
                // What was handed out of it before is not handed out again.
                let torn = self.torn.take_if(|(torn, _)| *torn == block);
                let given = torn.map_or(part(self.wanted.start), |(_, given)| given);
                let ready = Ready { read, block, start: range.start, len, given, source, failures };
                // There is room for all reads that can be under way.
                let _ = self.ready.push_back(ready);
            }
            // A peer has it, and there was no room for it: that is no reason to go to the origin.
            ReadResult::Missing { .. } if completion.failures.iter().any(Failure::is_full) => {
                self.landed.retain(|landed| landed.block != block);
                self.sweep.no_room(block);
                self.store_full(now, client);
            }
            ReadResult::Missing { .. } | ReadResult::TimedOut { .. } => {
                self.landed.retain(|landed| landed.block != block);
                self.sweep.nobody(block, completion.failures);
                self.surveyed.iter_mut().for_each(Surveyed::wake);
            }
            // All its reads lie in the range, so the content information contradicts what is
            // stored, or cannot be read any more.
            ReadResult::NoMore => self.contradicted = Some(block),
        }
    }

    /// Moves on: begins reads. The event that follows from it, if any.
    pub fn work(
        &mut self,
        now: Instant,
        client: &mut Client,
        parts: &mut Parts<'_>,
    ) -> Option<DownloadEvent> {
        if let Some(block) = self.contradicted.take() {
            let error = match self.span(client, parts.storage, block) {
                Ok(span) => DownloadError::Changed { offset: span.start },
                Err(error) => info_error(error),
            };
            return self.fail(error, client, parts);
        }
        if core::mem::take(&mut self.gave_up) {
            return self.fail(DownloadError::Full, client, parts);
        }
        match self.phase {
            Phase::Checking => self.check(now, client, parts),
            Phase::Reading => self.read(now, client, parts),
            Phase::PlainEnd if self.stage.is_empty() => {
                self.phase = Phase::Over;
                Some(DownloadEvent::Done { len: self.handed_out })
            }
            _ => None,
        }
    }

    /// What is wanted from the origin now, if another connection to it may be used; whoever takes
    /// it calls [`Download::taken`], or else [`Download::put_back`].
    pub fn need(&mut self, now: Instant, client: &mut Client, parts: &mut Parts<'_>) -> Option<Need> {
        if now < self.retry_at {
            return None;
        }
        match self.phase {
            Phase::Asking => Some(Need { want: Want::Info, block: None }),
            Phase::AskingPart => {
                let end = self.wanted.end.min(self.plain_len.unwrap_or(OPEN_END));
                Some(Need { want: Want::Range(self.stage_offset..end), block: None })
            }
            Phase::Reading => self.need_block(now, client, parts),
            _ => None,
        }
    }

    fn need_block(&mut self, now: Instant, client: &mut Client, parts: &mut Parts<'_>) -> Option<Need> {
        let content = self.content?;
        let streams = if self.room < ALL_ROOM { 1 } else { ORIGIN_STREAMS };
        // The next request goes out when half of the one before has come: two that began together
        // would end together, and leave the link idle for a round trip. Where a block takes long,
        // that is no loss, and two would only be late twice.
        let may_ask = now >= self.full_until
            && self.holes.len() + self.landed.len() < streams
            && self.holes.iter().all(|hole| self.pace <= QUICK && hole.is_half_full());
        if !may_ask {
            return None;
        }
        for _ in 0..CHOICES {
            let block = self.choose(now, parts)?;
            // What cannot be read any more ends the download when it is read again.
            let span = self.span(client, parts.storage, block).ok()?;
            // Another download may have brought it meanwhile.
            if client.is_stored(parts, content, span.start) {
                let failures = self.sweep.take(block);
                let _ = self.landed.push(Landed { block, failures, reading: false, fetched: false });
                self.more = true;
                return None;
            }
            // Its place in the store comes first: there is no use for a reply without one.
            match client.add_data(parts, content, span.start, &[]) {
                // Another download is getting it.
                Ok((_, Added::Known)) => self.sweep.wait_for(block),
                Ok(_) => return Some(Need { want: Want::Range(span), block: Some(block) }),
                Err(_) => {
                    self.store_full(now, client);
                    return None;
                }
            }
        }
        self.surveyed.iter_mut().for_each(|surveyed| surveyed.rest(now));
        None
    }

    /// Bytes of the content, once the origin has told.
    pub fn content_len(&self) -> Option<u64> {
        self.content.map(|_| self.announced).or(self.plain_len)
    }

    /// A connection carries `need`.
    pub fn taken(&mut self, now: Instant, need: &Need) {
        let (Want::Range(range), Some(block)) = (&need.want, need.block) else {
            self.phase = if self.phase == Phase::AskingPart { Phase::Part } else { Phase::Asked };
            return;
        };
        let failures = self.sweep.take(block);
        // No more is needed than there is room for.
        let _ = self.holes.push(Hole { block, range: range.clone(), failures, received: 0, since: now });
    }

    /// A block that is being asked of the origin, and that a peer has by now: where it begins. Its
    /// connection has to be closed.
    pub fn dropped(&mut self, client: &mut Client, parts: &mut Parts<'_>) -> Option<u64> {
        let Self { holes, sweep, .. } = self;
        let mut spare = |hole: &&Hole| !hole.is_nearly_full() && sweep.give_up(hole.block);
        let start = holes.iter().find(&mut spare)?.range.start;
        self.take_hole(start)?;
        client.drop_data(parts.storage, self.content?, start);
        Some(start)
    }

    /// No connection could be made for what was [needed](Self::need), through no fault of the
    /// origin's: it is needed again.
    pub fn put_back(&mut self, want: Want, client: &mut Client, parts: &mut Parts<'_>) {
        match want {
            Want::Info if self.phase == Phase::Asked => self.phase = Phase::Asking,
            Want::Info => {}
            Want::Range(_) if self.phase == Phase::Part => self.phase = Phase::AskingPart,
            Want::Range(range) => self.put_block_back(range.start, client, parts),
        }
    }

    /// Takes bytes from the origin. Returns how many were used and the event that follows.
    pub fn handle_origin(
        &mut self,
        now: Instant,
        stream: &mut OriginStream,
        client: &mut Client,
        parts: &mut Parts<'_>,
        bytes: &[u8],
    ) -> (usize, Option<DownloadEvent>) {
        let mut used = 0usize;
        loop {
            // A plain body is taken no faster than it is handed out.
            let rest = bytes.get(used..).unwrap_or_default();
            let room = STAGE_BYTES.saturating_sub(self.stage.len());
            let offered = rest.get(..rest.len().min(room)).unwrap_or_default();
            if offered.is_empty() && !rest.is_empty() {
                return (used, None);
            }
            let (taken, event) = stream.handle(now, offered);
            used = used.saturating_add(taken);
            let result = match event {
                Ok(None) if offered.len() < rest.len() && taken > 0 => continue,
                Ok(None) => return (used, None),
                Ok(Some(event)) => self.origin_event(now, event, client, parts),
                Err(failure) => {
                    if self.is_moved(stream) {
                        return (used, None);
                    }
                    return (used, self.origin_failed(now, stream.take_want(), failure, client, parts));
                }
            };
            let part = self.phase == Phase::Part;
            if self.is_plain() && self.validator.is_empty() {
                self.validator.clone_from(stream.validator());
            }
            if part {
                self.plain_len = self.plain_len.or(stream.content_len());
            }
            // What else comes of this reply, nobody wants.
            if matches!(self.phase, Phase::AskingPart | Phase::Over)
                || stream.is_spare(&|start| part || self.holes.iter().any(|hole| hole.range.start == start))
            {
                stream.take_want();
                return (bytes.len(), result);
            }
            if result.is_some() {
                return (used, result);
            }
        }
    }

    /// The origin closes its connection.
    pub fn handle_origin_eof(
        &mut self,
        now: Instant,
        stream: &mut OriginStream,
        client: &mut Client,
        parts: &mut Parts<'_>,
    ) -> Option<DownloadEvent> {
        match stream.handle_eof(now) {
            Ok(event) => self.origin_event(now, event?, client, parts),
            Err(failure) => self.origin_failed(now, stream.take_want(), failure, client, parts),
        }
    }

    /// A connection to the origin ended before its request was answered.
    pub fn origin_failed(
        &mut self,
        now: Instant,
        want: Option<Want>,
        failure: OriginFailure,
        client: &mut Client,
        parts: &mut Parts<'_>,
    ) -> Option<DownloadEvent> {
        match want {
            None => return None,
            Some(Want::Range(range)) if self.phase != Phase::Part => {
                self.put_block_back(range.start, client, parts);
            }
            Some(_) => {
                self.drop_content(client, parts);
                let begun = self.handed_out > 0;
                if begun && self.validator.is_empty() || failure.is_final() {
                    // Plain bytes are out already, and there is no telling whether a second
                    // attempt would continue them.
                    return self.fail(DownloadError::Origin(failure), client, parts);
                }
                let part = begun || self.phase == Phase::Part;
                self.phase = if part { Phase::AskingPart } else { Phase::Asking };
                if !begun && !self.resumed {
                    self.validator.clear();
                }
            }
        }
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts >= ORIGIN_ATTEMPTS {
            return self.fail(DownloadError::Origin(failure), client, parts);
        }
        let wait = ORIGIN_BACKOFF.micros() << self.attempts.saturating_sub(1).min(6);
        self.retry_at = now + Duration::from_micros(wait);
        None
    }

    /// Fills the front of `buf` with bytes to hand out: where they belong and how many, and the
    /// event that follows when a block is complete.
    pub fn poll_data(
        &mut self,
        client: &mut Client,
        parts: &mut Parts<'_>,
        buf: &mut [u8],
    ) -> Option<(u64, usize, Option<DownloadEvent>)> {
        if !self.stage.is_empty() {
            let len = copy(buf, &self.stage);
            if len > 0 {
                // What was not handed out is forgotten when the line breaks, so it is no progress before.
                self.attempts = 0;
            }
            let offset = self.stage_offset;
            self.stage_offset = offset.saturating_add(len as u64);
            self.handed_out = self.handed_out.saturating_add(len as u64);
            let kept = self.stage.len().saturating_sub(len);
            self.stage.rotate_left(len.min(kept.saturating_add(len)));
            self.stage.truncate(kept);
            return Some((offset, len, None));
        }
        while let Some(ready) = self.ready.front_mut() {
            let given = u64::from(ready.given);
            let rest = ready.len.saturating_sub(ready.given) as usize;
            let buf = buf.get_mut(..rest.min(buf.len())).unwrap_or_default();
            let len = match client.copy_read(parts.storage, parts.crypto, ready.read, given, buf) {
                Ok(len) if len > 0 => len,
                // It rotted, or it is gone: it is looked for again.
                _ => {
                    client.end_read(parts, ready.read);
                    if given > 0 {
                        self.torn = Some((ready.block, ready.given));
                    }
                    self.sweep.lost(ready.block);
                    self.surveyed.iter_mut().for_each(Surveyed::wake);
                    self.more = true;
                    self.ready.pop_front();
                    continue;
                }
            };
            let offset = ready.start.saturating_add(given);
            ready.given = ready.given.saturating_add(len as u32);
            self.handed_out = self.handed_out.saturating_add(len as u64);
            if ready.given < ready.len {
                return Some((offset, len, None));
            }
            let ready = self.ready.pop_front()?;
            client.end_read(parts, ready.read);
            self.sweep.handed_out(ready.block);
            (self.attempts, self.full, self.full_until) = (0, None, Instant::ZERO);
            self.steady = self.steady.saturating_add(1);
            if self.steady >= STEADY_BLOCKS {
                (self.room, self.steady) = (ALL_ROOM.min(self.room + 1), 0);
            }
            let Ready { start, len: bytes, source, failures, .. } = ready;
            let range = start.max(self.wanted.start)..start.saturating_add(bytes.into());
            return Some((offset, len, Some(DownloadEvent::Block { range, source, failures })));
        }
        None
    }

    /// Fills the front of `buf` with where the content is instead, if the origin said so; that ends it.
    pub fn poll_moved(&mut self, buf: &mut [u8]) -> Option<usize> {
        let moved = self.phase == Phase::Moved;
        moved.then(|| {
            self.phase = Phase::Over;
            copy(buf, &self.stage)
        })
    }

    /// Whether more to do at once has come up since this was asked last.
    pub fn take_more(&mut self) -> bool {
        core::mem::take(&mut self.more)
    }

    /// Ends it, whatever its state.
    pub fn cancel(&mut self, client: &mut Client, parts: &mut Parts<'_>) {
        self.drop_content(client, parts);
        self.phase = Phase::Over;
    }

    /// When it has something to do without new input.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let retry = [self.retry_at, self.full_until].into_iter().filter(|at| *at > now).min();
        let sweep = (self.phase == Phase::Reading).then(|| self.sweep.poll_timeout()).filter(|at| *at > now);
        let surveyed = self.surveyed.as_ref().and_then(|surveyed| surveyed.poll_timeout(now));
        earliest(earliest(retry, sweep), surveyed)
    }

    fn origin_event(
        &mut self,
        now: Instant,
        event: OriginEvent<'_>,
        client: &mut Client,
        parts: &mut Parts<'_>,
    ) -> Option<DownloadEvent> {
        match event {
            OriginEvent::InfoBegun { content_len } => match client.open_content(parts.storage, [0; 16]) {
                Ok(content) => {
                    (self.content, self.announced) = (Some(content), content_len);
                    Some(DownloadEvent::Begun { len: Some(content_len), encoded: true })
                }
                Err(_) => self.fail(DownloadError::Full, client, parts),
            },
            OriginEvent::Info(bytes) => {
                let content = self.content?;
                match client.add_content_information(parts.storage, content, bytes) {
                    Ok(()) => None,
                    Err(_) => self.fail(DownloadError::Full, client, parts),
                }
            }
            OriginEvent::InfoEnd => {
                let content = self.content?;
                self.phase = Phase::Checking;
                match client.complete_content_information(parts.storage, content) {
                    Ok(()) => None,
                    Err(error) => self.fail(info_error(error), client, parts),
                }
            }
            OriginEvent::PlainBegun { len } => {
                let all = self.wanted.start == 0 && self.wanted.end >= len.unwrap_or(OPEN_END);
                self.phase = if all { Phase::Plain } else { Phase::AskingPart };
                (self.plain_len, self.stage_offset) = (len, self.wanted.start);
                if len.is_some_and(|len| len <= self.wanted.start && !all) {
                    return self.fail(BEYOND_END, client, parts);
                }
                Some(DownloadEvent::Begun { len, encoded: false })
            }
            OriginEvent::Plain(bytes) => {
                // No more was offered than there is room for.
                let _ = self.stage.extend_from_slice(bytes);
                None
            }
            OriginEvent::PlainEnd => {
                self.phase = Phase::PlainEnd;
                None
            }
            OriginEvent::Data { bytes, .. } if self.phase == Phase::Part => {
                // No more was offered than there is room for.
                let _ = self.stage.extend_from_slice(bytes);
                None
            }
            OriginEvent::DataEnd { start } if self.phase == Phase::Part => {
                let end = self.stage_offset.saturating_add(self.stage.len() as u64);
                if self.plain_len.is_some_and(|len| end < len.min(self.wanted.end)) {
                    let want = Some(Want::Range(start..self.wanted.end));
                    return self.origin_failed(now, want, OriginFailure::BadReply, client, parts);
                }
                self.phase = Phase::PlainEnd;
                None
            }
            OriginEvent::Data { offset, bytes } => self.add_data(now, offset, bytes, client, parts),
            // The range is over. If its block is not whole, the origin did not give what it has to
            // have, and is asked again like one that failed.
            OriginEvent::DataEnd { start } => {
                let range = self.hole(start)?.range.clone();
                self.origin_failed(now, Some(Want::Range(range)), OriginFailure::BadReply, client, parts)
            }
        }
    }

    fn add_data(
        &mut self,
        now: Instant,
        mut offset: u64,
        mut bytes: &[u8],
        client: &mut Client,
        parts: &mut Parts<'_>,
    ) -> Option<DownloadEvent> {
        let content = self.content?;
        while !bytes.is_empty() {
            // What fills no hole is not wanted any more: its block came from elsewhere.
            let hole = self.hole(offset)?;
            let (start, since) = (hole.range.start, hole.since);
            let (used, added) = match client.add_data(parts, content, offset, bytes) {
                Ok(added) => added,
                // Its place in the store is gone.
                Err(_) => {
                    self.put_block_back(start, client, parts);
                    self.store_full(now, client);
                    return None;
                }
            };
            hole.received = hole.received.saturating_add(used as u32);
            match added {
                Added::Committed => {
                    self.pace = now.since(since);
                    self.surveyed.iter_mut().for_each(Surveyed::wake);
                    self.full = None;
                    self.land(start);
                }
                Added::Bad => {
                    // Once or twice may be a proxy's fault.
                    self.bad_blocks = self.bad_blocks.saturating_add(1);
                    if self.bad_blocks > 2 {
                        return self.fail(DownloadError::Changed { offset: start }, client, parts);
                    }
                }
                Added::Partial | Added::OutOfOrder | Added::Known => {}
            }
            offset = offset.saturating_add(used as u64);
            bytes = bytes.get(used.max(1)..).unwrap_or_default();
        }
        None
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

    /// Blocks that have a place in the store, or may soon have one.
    fn under_way(&self) -> usize {
        let landed = self.landed.iter().filter(|landed| !landed.reading).count();
        self.reads.len() + self.ready.len() + self.holes.len() + landed
    }

    /// The origin did not give the block that begins at `start` after all.
    fn put_block_back(&mut self, start: u64, client: &mut Client, parts: &mut Parts<'_>) {
        if let Some(hole) = self.take_hole(start) {
            self.sweep.put_back(hole.block, hole.failures);
        }
        if let Some(content) = self.content {
            client.drop_data(parts.storage, content, start);
        }
    }

    /// A block from the origin is in the store: it is read like any other.
    fn land(&mut self, start: u64) {
        let Some(Hole { block, failures, .. }) = self.take_hole(start) else { return };
        // As many can have landed as can be fetched, since what has landed is read at once.
        let _ = self.landed.push(Landed { block, failures, reading: false, fetched: true });
    }

    /// The block being fetched from the origin that `offset` lies in.
    fn hole(&mut self, offset: u64) -> Option<&mut Hole> {
        self.holes.iter_mut().find(|hole| hole.range.contains(&offset))
    }

    /// The block that begins at `start` is not being fetched any more.
    fn take_hole(&mut self, start: u64) -> Option<Hole> {
        let position = self.holes.iter().position(|hole| hole.range.start == start)?;
        Some(self.holes.swap_remove(position))
    }

    fn check(&mut self, now: Instant, client: &mut Client, parts: &mut Parts<'_>) -> Option<DownloadEvent> {
        match client.is_ready(self.content?) {
            Ok(None) => None,
            // What was asked for is the whole content, so both must mean the same bytes.
            Ok(Some(info)) if info.range() != (0..self.announced) => {
                self.fail(DownloadError::Origin(OriginFailure::BadReply), client, parts)
            }
            Ok(Some(info)) => {
                let wanted = self.wanted.start..self.wanted.end.min(self.announced);
                if wanted.is_empty() {
                    return self.fail(BEYOND_END, client, parts);
                }
                match Stretch::before(client, parts.storage, self.content?, info.version(), wanted) {
                    Ok(before) => self.stretch = Some(before),
                    Err(error) => return self.fail(info_error(error), client, parts),
                }
                self.phase = Phase::Reading;
                self.read(now, client, parts)
            }
            Err(error) => self.fail(info_error(error), client, parts),
        }
    }

    fn read(&mut self, now: Instant, client: &mut Client, parts: &mut Parts<'_>) -> Option<DownloadEvent> {
        let content = self.content?;
        while self.sweep.is_done() {
            match self.stretch.as_mut()?.advance(client, parts.storage, content) {
                Ok(Some(blocks)) => {
                    self.sweep = Sweep::new(now, blocks);
                    self.landed.clear();
                    if let Err(error) = self.enter(now, client, parts) {
                        return self.fail(info_error(error), client, parts);
                    }
                }
                Ok(None) => {
                    let len = self.handed_out;
                    self.cancel(client, parts);
                    return Some(DownloadEvent::Done { len });
                }
                Err(error) => return self.fail(info_error(error), client, parts),
            }
        }
        if let Some(surveyed) = &mut self.surveyed {
            surveyed.look(now, parts.fetch, &mut self.sweep);
        }
        // Reads beyond the jobs there are would only wait.
        let window = WINDOW.min(parts.jobs.len());
        while self.reads.len() + self.ready.len() < window {
            let Some(block) = self.pick(now, parts) else { break };
            let span = match self.span(client, parts.storage, block) {
                Ok(span) => span,
                Err(error) => return self.fail(info_error(error), client, parts),
            };
            let max = span.end.saturating_sub(span.start);
            match client.block_read(now, content, span.start, max, DEFAULT_READ_TIMEOUT) {
                // There is room: the window was looked at.
                Ok(read) => drop(self.reads.push((read, block))),
                Err(_) => {
                    self.sweep.nobody(block, Failures::new());
                    break;
                }
            }
        }
        None
    }

    /// Looks who may have the blocks of a stretch that has just begun.
    fn enter(&mut self, now: Instant, client: &Client, parts: &mut Parts<'_>) -> Result<(), ApiError> {
        self.end_survey(parts);
        let (Some(content), Some(stretch)) = (self.content, &self.stretch) else { return Ok(()) };
        let Some(segment) = stretch.segment(client, parts.storage, content)? else { return Ok(()) };
        let id = segment.id(parts.crypto);
        let mut local = IndexSet::EMPTY;
        let mut next = parts.storage.find(&BlockId { segment: id, index: 0 }).map(|_| 0);
        next = next.or_else(|| parts.storage.next_block(&id, 0));
        while let Some(index) = next {
            local.insert(index);
            next = parts.storage.next_block(&id, index);
        }
        self.sweep.expect_survey(local);
        self.surveyed = Some(Surveyed::new(now, id, segment.algorithm(), segment.block_count()));
        Ok(())
    }

    fn end_survey(&mut self, parts: &mut Parts<'_>) {
        if let Some(surveyed) = self.surveyed.take() {
            parts.fetch.end_survey(surveyed.segment());
        }
    }

    /// A missing block to ask the origin for, if it is our turn to.
    fn choose(&mut self, now: Instant, parts: &mut Parts<'_>) -> Option<u32> {
        let Some(surveyed) = &mut self.surveyed else { return self.sweep.wanted(parts.rng, &|_| 0, 0) };
        let latest = surveyed.patience(now, self.pace)?;
        let crowd = parts.fetch.crowd(now, surveyed.segment(), self.pace);
        let block = self.sweep.wanted(parts.rng, &|block| crowd.turn(block), latest);
        if block.is_none() {
            surveyed.rest(now);
        }
        block
    }

    /// A block to read: one that has just landed, or the next of the sweep.
    fn pick(&mut self, now: Instant, parts: &mut Parts<'_>) -> Option<u32> {
        if let Some(landed) = self.landed.iter_mut().find(|landed| !landed.reading) {
            landed.reading = true;
            self.sweep.ask(landed.block);
            return Some(landed.block);
        }
        let room = now >= self.full_until && self.under_way() < self.room;
        if room { self.sweep.next(now, parts.rng) } else { None }
    }

    /// See [`Stretch::span`].
    fn span(&self, client: &Client, storage: &dyn Storage, block: u32) -> Result<Range<u64>, ApiError> {
        let (Some(content), Some(stretch)) = (self.content, &self.stretch) else {
            return Err(ApiError::InvalidState);
        };
        stretch.span(client, storage, content, block)
    }

    /// Keeps where the content is instead, if the origin's answer to the first request said so.
    fn is_moved(&mut self, stream: &mut OriginStream) -> bool {
        let first = self.phase == Phase::Part && self.resumed && self.handed_out == 0;
        let location = stream.location().filter(|_| first || self.phase == Phase::Asked);
        let moved = location.is_some_and(|location| {
            self.stage.clear();
            self.stage.extend_from_slice(location).is_ok()
        });
        if moved {
            self.phase = Phase::Moved;
            stream.take_want();
        }
        moved
    }

    fn drop_content(&mut self, client: &mut Client, parts: &mut Parts<'_>) {
        self.end_survey(parts);
        if let Some(content) = self.content.take() {
            // The handle is ours alone, so closing it cannot fail.
            let _ = client.close_content(content, parts);
        }
        self.reads.clear();
        self.ready.clear();
        self.holes.clear();
        self.stage.clear();
    }

    fn fail(
        &mut self,
        error: DownloadError,
        client: &mut Client,
        parts: &mut Parts<'_>,
    ) -> Option<DownloadEvent> {
        self.cancel(client, parts);
        Some(DownloadEvent::Failed(error))
    }
}

#[cfg(test)]
mod tests;
