//! A whole URL: asks the origin for content information, reads through [`api::client`](crate::api::client),
//! fills holes from the origin, and hands out verified bytes. It has no other way to a block, and asks
//! [`fetch`](crate::fetch) itself only who has a segment and who wants it.
//!
//! Stretch by stretch, blocks are wanted in random order: when an office starts together, its
//! clients then fetch different blocks over the WAN and find each other's (flash crowd). A block
//! that no peer has goes to the origin; before long, all that are still missing are asked for
//! again among the peers. Bytes are handed out as blocks arrive, so in any order, each with its
//! offset. An origin that does not speak the coding simply gives the file.

mod blocks;
mod crowd;
mod event;
pub mod origin;
mod phase;
mod pieces;
mod stage;
mod stretch;
mod sweep;
mod unseen;

use core::ops::Range;

use crate::api::client::{Client, Completion, Parts, ReadId};
use crate::encoding::InfoVersion;
use crate::time::{Duration, Instant, earliest};
use blocks::{BEYOND_END, Blocks};
pub use blocks::{ORIGIN_STREAMS, WINDOW};
use crowd::after;
pub use event::{DownloadError, DownloadEvent, HOST_BYTES, PATH_BYTES, Url, VALIDATOR_BYTES, Validator};
use origin::{OriginEvent, OriginFailure, OriginStream, Request, Tags, Want};
pub use phase::Need;
use phase::Phase;
use pieces::Place;
pub use stage::Stage;

/// Where a range ends if nobody knows how long the content is: servers count in 63 bits.
const OPEN_END: u64 = i64::MAX as u64;

/// Failures of the origin in a row before the download ends.
const ORIGIN_ATTEMPTS: u8 = 8;

/// How long to wait after the origin's first failure; doubles with each.
const ORIGIN_BACKOFF: Duration = Duration::from_millis(250);

/// One download under way.
// Small fields come first: a microcontroller reaches those with short instructions.
#[repr(C)]
pub struct Download {
    phase: Phase,
    attempts: u8,
    /// What lies before it was there already.
    resumed: bool,
    /// It is still to be said that it has begun, with content information or without.
    begun: Option<bool>,
    /// It is still to be said how the origin failed, at which attempt.
    trouble: Option<(OriginFailure, u8)>,
    retry_at: Instant,
    handed_out: u64,
    /// Bytes of the content, once the origin has told.
    len: Option<u64>,
    /// Offsets of what is to be handed out; what the content does not have of it is not missed.
    wanted: Range<u64>,
    /// It is still to be said how it has ended.
    ended: Option<Result<(), DownloadError>>,
    /// What comes by content information, or else plainly.
    work: Work,
    /// What tells plain content from others, so that it can go on where it broke off.
    tags: Tags,
    url: Url,
}

#[allow(clippy::large_enum_variant, reason = "there is no heap to put the large variant on")]
enum Work {
    Plain(Stage),
    Blocks(Blocks),
}

impl Download {
    /// Begins to download what lies in `wanted`, which is not empty.
    pub fn new(now: Instant, url: Url, wanted: Range<u64>) -> Self {
        Self {
            url,
            work: Work::Plain(Stage::new(wanted.start)),
            wanted,
            phase: Phase::Asking,
            len: None,
            tags: Tags::default(),
            resumed: false,
            handed_out: 0,
            attempts: 0,
            retry_at: now,
            begun: None,
            trouble: None,
            ended: None,
        }
    }

    /// Makes a download that has just begun one of the rest of plain content that `validator` tells.
    pub fn resume(&mut self, validator: &Validator) {
        (self.phase, self.resumed) = (Phase::AskingPart, true);
        self.tags.kept.clone_from(validator);
    }

    /// What tells the content from a later one, if the origin gives it plainly and says so.
    pub fn validator(&self) -> Option<&Validator> {
        Some(&self.tags.kept).filter(|validator| !validator.is_empty())
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
        self.blocks().map_or(0, |blocks| blocks.reads.len())
    }

    /// Whether `read` is one of its reads.
    pub fn owns(&self, read: ReadId) -> bool {
        self.blocks().is_some_and(|blocks| blocks.owns(read))
    }

    /// Takes the end of one of its reads.
    pub fn handle_completion(&mut self, now: Instant, client: &Client, completion: &Completion) {
        if let Work::Blocks(blocks) = &mut self.work {
            blocks.handle_completion(now, &self.wanted, client, completion);
        }
    }

    /// Moves on: begins reads.
    pub fn work(&mut self, now: Instant, client: &mut Client, parts: &mut Parts<'_>) {
        let Self { phase, work, wanted, len, .. } = self;
        let ended = match (*phase, work) {
            (Phase::Reading, Work::Blocks(blocks)) => {
                match blocks.work(now, wanted, len.unwrap_or_default(), client, parts) {
                    Ok(false) => return,
                    Ok(true) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            (Phase::PlainEnd, Work::Plain(stage)) if stage.is_empty() => Ok(()),
            _ => return,
        };
        self.end(ended, client, parts);
    }

    /// What is wanted from the origin now, if another connection to it may be used; whoever has one
    /// [asks](Self::ask), or else [puts it back](Self::put_back).
    pub fn need(&mut self, now: Instant, client: &mut Client, parts: &mut Parts<'_>) -> Option<Need> {
        if now < self.retry_at {
            return None;
        }
        match (self.phase, &mut self.work) {
            (Phase::Asking, _) => Some(Need { want: Want::Info, block: None }),
            (Phase::AskingPart, Work::Plain(stage)) => {
                let end = self.wanted.end.min(self.len.unwrap_or(OPEN_END));
                Some(Need { want: Want::Range(stage.offset()..end), block: None })
            }
            (Phase::Reading, Work::Blocks(blocks)) => {
                let (block, range) = blocks.need(now, client, parts)?;
                Some(Need { want: Want::Range(range), block: Some(block) })
            }
            _ => None,
        }
    }

    /// Bytes of the content, once the origin has told.
    pub fn content_len(&self) -> Option<u64> {
        self.len
    }

    /// Has a connection carry `need`, by a client that takes content information up to `max_info`; `false`
    /// if it cannot carry another request, or none for this URL.
    #[inline(never)]
    pub fn ask(
        &mut self,
        now: Instant,
        stream: &mut OriginStream,
        max_info: InfoVersion,
        need: &Need,
    ) -> bool {
        let goes_on = match &self.work {
            Work::Plain(stage) => self.resumed || stage.offset() > self.wanted.start,
            Work::Blocks(_) => false,
        };
        // Of a part, only what is of the content whose beginning is here.
        let conditional = goes_on && self.phase == Phase::AskingPart && !self.tags.kept.is_empty();
        if !stream.ask(now, &self.request(max_info), &need.want, self.len, conditional) {
            return false;
        }
        match (&need.want, need.block, &mut self.work) {
            (Want::Range(range), Some(block), Work::Blocks(blocks)) => {
                blocks.miss(now, block, range, Place::Asked);
            }
            _ => self.phase = if self.phase == Phase::AskingPart { Phase::Part } else { Phase::Asked },
        }
        true
    }

    /// What is still to be sent by `stream`, into `buf`.
    pub fn poll_origin(&self, stream: &mut OriginStream, max_info: InfoVersion, buf: &mut [u8]) -> usize {
        stream.poll(&self.request(max_info), buf)
    }

    fn request(&self, max_info: InfoVersion) -> Request<'_> {
        Request { url: &self.url, max_info, condition: &self.tags.kept }
    }

    /// A block that is being asked of the origin, and that a peer has by now: where it begins. Its
    /// connection has to be closed.
    pub fn dropped(&mut self, client: &mut Client, parts: &mut Parts<'_>) -> Option<u64> {
        match &mut self.work {
            Work::Blocks(blocks) => blocks.dropped(client, parts),
            Work::Plain(_) => None,
        }
    }

    /// No connection could be made for what was [needed](Self::need), through no fault of the
    /// origin's: it is needed again.
    pub fn put_back(&mut self, want: &Want, client: &mut Client, parts: &mut Parts<'_>) {
        match (want, self.phase, &mut self.work) {
            (Want::Info, Phase::Asked, _) => self.phase = Phase::Asking,
            (Want::Range(_), Phase::Part, _) => self.phase = Phase::AskingPart,
            (Want::Range(range), _, Work::Blocks(blocks)) => blocks.put_back(range.start, client, parts),
            _ => {}
        }
    }

    /// Takes bytes from the origin, and returns how many were used.
    #[inline(never)]
    pub fn handle_origin(
        &mut self,
        now: Instant,
        stream: &mut OriginStream,
        client: &mut Client,
        parts: &mut Parts<'_>,
        bytes: &[u8],
    ) -> usize {
        let mut used = 0usize;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            let (mut offered, mut location) = (rest, None);
            if let Work::Plain(stage) = &mut self.work {
                // A plain body is taken no faster than it is handed out.
                offered = rest.get(..stage.room()).unwrap_or(rest);
                // Only the answer to the first request can send us to another place.
                let first = self.phase == Phase::Part && self.resumed && self.handed_out == 0;
                location = Some(stage).filter(|_| first || self.phase == Phase::Asked);
            }
            if offered.is_empty() && !rest.is_empty() {
                return used;
            }
            let (taken, event) = stream.handle(now, &mut self.tags, location, offered);
            used = used.saturating_add(taken);
            match event {
                Ok(None) if offered.len() < rest.len() && taken > 0 => continue,
                Ok(None) => return used,
                Ok(Some(OriginEvent::Moved)) => {
                    self.phase = Phase::Moved;
                    stream.take_want();
                    return used;
                }
                Ok(Some(event)) => self.origin_event(now, event, client, parts),
                Err(failure) => {
                    self.origin_failed(now, stream.take_want(), failure, client, parts);
                    return used;
                }
            }
            if self.is_plain() {
                self.tags.keep();
            }
            let part = self.phase == Phase::Part;
            if part {
                self.len = self.len.or(stream.content_len());
            }
            // What else comes of this reply, nobody wants.
            let awaited = |start| part || self.blocks().is_some_and(|blocks| blocks.awaits(start));
            if matches!(self.phase, Phase::AskingPart | Phase::Over) || stream.is_spare(&awaited) {
                stream.take_want();
                return bytes.len();
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
    ) {
        match stream.handle_eof(now) {
            Ok(Some(event)) => self.origin_event(now, event, client, parts),
            Ok(None) => {}
            Err(failure) => self.origin_failed(now, stream.take_want(), failure, client, parts),
        }
    }

    /// A connection to the origin ended before its request was answered.
    #[inline(never)]
    pub fn origin_failed(
        &mut self,
        now: Instant,
        want: Option<Want>,
        failure: OriginFailure,
        client: &mut Client,
        parts: &mut Parts<'_>,
    ) {
        match (want, &mut self.work) {
            (None, _) => return,
            _ if self.phase == Phase::Over => return,
            (Some(Want::Range(range)), Work::Blocks(blocks)) => blocks.put_back(range.start, client, parts),
            (Some(_), work) => {
                match work {
                    Work::Plain(stage) => stage.clear(),
                    Work::Blocks(blocks) => {
                        blocks.close(client, parts);
                        (self.work, self.len) = (Work::Plain(Stage::new(self.wanted.start)), None);
                    }
                }
                let begun = self.handed_out > 0;
                if begun && self.tags.kept.is_empty() || failure.is_final() {
                    // Plain bytes are out already, and there is no telling whether a second
                    // attempt would continue them.
                    return self.end(Err(DownloadError::Origin(failure)), client, parts);
                }
                let part = begun || self.phase == Phase::Part;
                self.phase = if part { Phase::AskingPart } else { Phase::Asking };
                if !begun && !self.resumed {
                    self.tags.kept.clear();
                }
            }
        }
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts >= ORIGIN_ATTEMPTS {
            return self.end(Err(DownloadError::Origin(failure)), client, parts);
        }
        self.trouble = Some((failure, self.attempts));
        let wait = ORIGIN_BACKOFF.micros() << self.attempts.saturating_sub(1).min(6);
        self.retry_at = now + Duration::from_micros(wait);
    }

    /// Fills the front of `buf` with bytes to hand out: where they belong and how many.
    #[inline(never)]
    pub fn poll_data(
        &mut self,
        client: &mut Client,
        parts: &mut Parts<'_>,
        buf: &mut [u8],
    ) -> Option<(u64, usize)> {
        let (offset, len) = match &mut self.work {
            Work::Blocks(blocks) => blocks.poll_data(client, parts, buf)?,
            Work::Plain(stage) if self.phase != Phase::Moved => {
                let handed_out = stage.poll(false, buf)?;
                if handed_out.1 > 0 {
                    // What was not handed out is forgotten when the line breaks, so it is no progress before.
                    self.attempts = 0;
                }
                handed_out
            }
            Work::Plain(_) => return None,
        };
        self.handed_out = self.handed_out.saturating_add(len as u64);
        Some((offset, len))
    }

    /// Fills the front of `buf` with where the content is instead, if the origin said so; that ends it.
    pub fn poll_moved(&mut self, buf: &mut [u8]) -> Option<usize> {
        match &mut self.work {
            Work::Plain(stage) if self.phase == Phase::Moved => {
                let len = stage.poll(true, buf)?.1;
                self.phase = Phase::Over;
                Some(len)
            }
            _ => None,
        }
    }

    /// Whether there is something to be said of it.
    pub fn has_event(&self) -> bool {
        self.begun.is_some()
            || self.trouble.is_some()
            || self.ended.is_some()
            || self.blocks().is_some_and(Blocks::has_event)
    }

    /// What is to be said of it next.
    #[inline(never)]
    pub fn poll_event(&mut self, client: &mut Client, parts: &mut Parts<'_>) -> Option<DownloadEvent> {
        if let Some(encoded) = self.begun.take() {
            return Some(DownloadEvent::Begun { len: self.len, encoded });
        }
        if let Some((failure, attempt)) = self.trouble.take() {
            return Some(DownloadEvent::OriginFailed { failure, attempt, of: ORIGIN_ATTEMPTS });
        }
        if let Work::Blocks(blocks) = &mut self.work
            && let Some(event) = blocks.poll_event(&self.wanted, client, parts)
        {
            self.attempts = 0;
            return Some(event);
        }
        Some(match self.ended.take()? {
            Ok(()) => DownloadEvent::Done { len: self.handed_out },
            Err(error) => DownloadEvent::Failed(error),
        })
    }

    /// Whether more to do at once has come up since this was asked last.
    pub fn take_more(&mut self) -> bool {
        match &mut self.work {
            Work::Blocks(blocks) => core::mem::take(&mut blocks.more),
            Work::Plain(_) => false,
        }
    }

    /// Ends it, whatever its state.
    pub fn cancel(&mut self, client: &mut Client, parts: &mut Parts<'_>) {
        match &mut self.work {
            Work::Blocks(blocks) => blocks.close(client, parts),
            Work::Plain(stage) => stage.clear(),
        }
        self.phase = Phase::Over;
    }

    /// When it has something to do without new input.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        earliest(after(now, self.retry_at), self.blocks().and_then(|blocks| blocks.poll_timeout(now)))
    }

    fn origin_event(
        &mut self,
        now: Instant,
        event: OriginEvent<'_>,
        client: &mut Client,
        parts: &mut Parts<'_>,
    ) {
        let result = match (event, &mut self.work) {
            (OriginEvent::InfoBegun { content_len }, _) => {
                let opened = client.open_download(parts.storage);
                opened.map_err(DownloadError::from).map(|content| {
                    self.work = Work::Blocks(Blocks::new(content));
                    (self.len, self.begun) = (Some(content_len), Some(true));
                })
            }
            (OriginEvent::Info(bytes), Work::Blocks(blocks)) => {
                blocks.info_bytes = blocks.info_bytes.saturating_add(bytes.len() as u32);
                client
                    .add_content_information(parts.storage, blocks.content, bytes)
                    .map_err(|_| DownloadError::Full)
            }
            (OriginEvent::InfoEnd, Work::Blocks(blocks)) => {
                self.phase = Phase::Reading;
                blocks.expect_pace(now.since(self.retry_at));
                client
                    .complete_content_information(parts.storage, blocks.content)
                    .map_err(DownloadError::from)
            }
            (OriginEvent::PlainBegun { len }, Work::Plain(_)) => {
                let all = self.wanted.start == 0 && self.wanted.end >= len.unwrap_or(OPEN_END);
                self.phase = if all { Phase::Plain } else { Phase::AskingPart };
                self.len = len;
                if len.is_some_and(|len| len <= self.wanted.start && !all) {
                    Err(BEYOND_END)
                } else {
                    self.begun = Some(false);
                    Ok(())
                }
            }
            (OriginEvent::Plain(bytes) | OriginEvent::Data { bytes, .. }, Work::Plain(stage)) => {
                // No more was offered than there is room for.
                stage.push(bytes);
                Ok(())
            }
            (OriginEvent::DataEnd { start }, Work::Plain(stage))
                if self.len.is_some_and(|len| stage.end() < len.min(self.wanted.end)) =>
            {
                let want = Some(Want::Range(start..self.wanted.end));
                return self.origin_failed(now, want, OriginFailure::BadReply, client, parts);
            }
            (OriginEvent::PlainEnd | OriginEvent::DataEnd { .. }, Work::Plain(_)) => {
                self.phase = Phase::PlainEnd;
                Ok(())
            }
            (OriginEvent::Data { offset, bytes }, Work::Blocks(blocks)) => {
                blocks.add_data(now, offset, bytes, client, parts)
            }
            // The range is over. If its block is not whole, the origin did not give what it has to
            // have, and is asked again like one that failed.
            (OriginEvent::DataEnd { start }, Work::Blocks(blocks)) if blocks.awaits(start) => {
                let want = Some(Want::Range(start..start));
                return self.origin_failed(now, want, OriginFailure::BadReply, client, parts);
            }
            _ => Ok(()),
        };
        if let Err(error) = result {
            self.end(Err(error), client, parts);
        }
    }

    #[inline(never)]
    fn end(&mut self, how: Result<(), DownloadError>, client: &mut Client, parts: &mut Parts<'_>) {
        self.cancel(client, parts);
        self.ended = Some(how);
    }

    fn blocks(&self) -> Option<&Blocks> {
        match &self.work {
            Work::Blocks(blocks) => Some(blocks),
            Work::Plain(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
