//! The consumer: content handles, reads that complete later, data from the origin.
//!
//! Reads are answered from the store, then by peers; the origin is the application's business. A
//! read that nobody can answer completes with the range that is missing: the application gets it
//! elsewhere and adds it by [`Client::add_data`].

use core::ops::Range;

use heapless::Vec;
use rand_core::CryptoRng;

pub use super::error::{Added, ApiError, ReadError};
use crate::content::{HodCheck, Info, InfoError, Segment, v2};
use crate::crypto::{CipherAlgorithm, Crypto};
use crate::fetch::{Failures, Fetch, Job, Source};
use crate::hosted::client::Came;
use crate::limits::rows;
use crate::store::verify::Expected;
use crate::store::{BlockId, InfoId, InfoStore, InfoView, Label, Storage, Stored};
use crate::time::Duration;
use anywhere::Settling;
use intakes::Inflow;
use reads::{Ended, Read};

pub mod anywhere;
mod information;
mod intakes;
mod local;
mod reads;

/// Contents open at once: each download that a node may have has one, and applications the rest.
pub const CONTENTS: usize = rows(16, 2);

/// Reads at once, over all contents, until their data is copied: those of the application, and
/// those of downloads. More of them than blocks in flight only wait.
pub const READS: usize = rows(56, 8);

/// Blocks whose data from the origin is incomplete, over all contents: as many as a download has connections
/// to it, and what applications add, which leave so many to each download that a node may have.
pub const INTAKES: usize = rows(8, 3);

/// Blocks that a download fills at a time.
pub const DOWNLOAD_INTAKES: usize = 2;

/// After how long a block to which its application adds nothing is begun anew by others that have it.
pub const IDLE_INTAKE: Duration = Duration::from_secs(1);

/// Block hashes checked against a segment's HoD in one call of the machine.
const HOD_STEP: u32 = 64;

/// Segments of content information 2.0 that are near: within them a search begins at the first.
/// Few enough that searching costs little beside hashing a block; as many as a download works on at
/// a time.
pub const NEAR_SEGMENTS: u32 = 256;

/// What a read waits for by default (PEERDIST_READ_TIMEOUT_DEFAULT).
pub const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a read looks for its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Patience {
    /// In the store alone: nobody is asked (PEERDIST_READ_TIMEOUT_LOCAL_CACHE_ONLY).
    Local,
    /// Among peers too, for so long.
    For(Duration),
    /// Among peers too, until all have been asked.
    Endless,
}

impl Patience {
    /// What an application means by so many milliseconds: 0 is the store alone, `0xFFFF_FFFE` the
    /// [default](DEFAULT_READ_TIMEOUT), `0xFFFF_FFFF` (INFINITE, which no document explains) no limit.
    pub const fn from_millis(millis: u32) -> Self {
        match millis {
            0 => Self::Local,
            0xFFFF_FFFE => Self::For(DEFAULT_READ_TIMEOUT),
            u32::MAX => Self::Endless,
            _ => Self::For(Duration::from_millis(millis as u64)),
        }
    }
}

impl From<Duration> for Patience {
    fn from(timeout: Duration) -> Self {
        Self::For(timeout)
    }
}

/// An open content: an index, and its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ContentHandle {
    pub(super) index: u8,
    pub(super) generation: u32,
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
    /// A read of no bytes: `range` is what of the content lies in the store from its offset on. No peer is
    /// asked, and there is nothing to copy.
    Local {
        /// Offsets in the content.
        range: Range<u64>,
    },
    /// The offset lies outside the content information's range (PEERDIST_ERROR_NO_MORE).
    NoMore,
    /// Content information cannot be read any more; or what it says of the block contradicts the block that is
    /// stored: HoD binds a segment's block hashes, and not the length of its last block.
    Failed(ApiError),
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
    /// Rows of each table that applications leave to downloads.
    for_downloads: usize,
    next_read: u32,
    /// Counts what shows that blocks do not lie in the store for ever.
    moved: u32,
    /// Whether anything may wait outside the store.
    holds: bool,
    /// Whose is looked through next.
    next_settled: u8,
    /// Whether any block may be kept apart.
    parted: bool,
    /// Whether a block has come whole from an origin since reads were looked at.
    fresh: bool,
    /// Whether a flush may find what it did not: a block that nobody reads any more, or one with a new label.
    flushable: bool,
    /// Bytes that applications added, of blocks that were given up: others have them, or nothing describes them.
    given_up: u64,
    /// Whether a block may be free that somebody was adding.
    freed: bool,
}

struct Content {
    generation: u32,
    state: State,
    tag: ContentTag,
    position: u64,
    settling: Settling,
    /// What is cached by it is labelled so.
    label: Option<Label>,
    of_download: bool,
}

#[allow(clippy::large_enum_variant, reason = "there is no heap to put the large variant on")]
enum State {
    Closed,
    Collecting(InfoId),
    Complete(Complete),
    Unusable(InfoId, InfoError),
}

/// Content information that was parsed.
struct Complete {
    info_id: InfoId,
    info: Info,
    /// The first segment whose block hashes have not been checked against HoD, if there is one. In
    /// version 2.0 there is none, for a block's hash is the HoD (fact 12).
    unchecked: Option<u32>,
    /// From where segments are searched for.
    near: Option<v2::Place>,
}

/// A block of a content, found by offset.
struct Located {
    segment: Segment,
    block: BlockId,
    /// Its name in the store, which is another one if its hash cannot be checked.
    kept: BlockId,
    expected: Expected,
    /// Where the block begins in the content.
    start: u64,
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
    /// Who is told of each block that has come whole from an origin.
    pub told: Option<&'a mut dyn Told>,
}

/// Who is told of blocks that come from origins, to offer them to others.
pub trait Told {
    /// One has, and is in the store.
    fn came(&mut self, came: &Came<'_>, infos: &mut dyn InfoStore);
}

impl Client {
    /// One of a node that may have so many downloads at a time.
    #[inline(always)]
    pub fn new(downloads: usize) -> Self {
        Self {
            // A constant would take as much flash as it takes memory.
            contents: core::array::from_fn(|_| Content {
                generation: 0,
                state: State::Closed,
                tag: [0; 16],
                position: 0,
                settling: Settling::Done,
                label: None,
                of_download: false,
            }),
            reads: Vec::new(),
            intakes: Vec::new(),
            check: None,
            for_downloads: downloads,
            next_read: 0,
            moved: 0,
            holds: false,
            next_settled: 0,
            parted: false,
            fresh: false,
            flushable: false,
            given_up: 0,
            freed: false,
        }
    }

    /// Opens an empty content (PeerDistClientOpenContent).
    pub fn open_content(
        &mut self,
        storage: &mut dyn Storage,
        tag: ContentTag,
    ) -> Result<ContentHandle, ApiError> {
        self.open(storage, tag, false)
    }

    /// The same for a download, which finds the row that applications leave to it.
    pub fn open_download(&mut self, storage: &mut dyn Storage) -> Result<ContentHandle, ApiError> {
        self.open(storage, [0; 16], true)
    }

    #[inline(never)]
    fn open(
        &mut self,
        storage: &mut dyn Storage,
        tag: ContentTag,
        of_download: bool,
    ) -> Result<ContentHandle, ApiError> {
        let theirs = |content: &&Content| !content.of_download && !matches!(content.state, State::Closed);
        let opened = self.contents.iter().filter(theirs).count();
        if !of_download && opened.saturating_add(self.for_downloads) >= CONTENTS {
            return Err(ApiError::Full);
        }
        let closed = |content: &Content| matches!(content.state, State::Closed);
        let (index, content) =
            (0u8..).zip(&mut self.contents).find(|(_, content)| closed(content)).ok_or(ApiError::Full)?;
        let info = storage.create_info().map_err(|_| ApiError::Full)?;
        content.generation = content.generation.wrapping_add(1);
        (content.state, content.tag, content.position) = (State::Collecting(info), tag, 0);
        (content.settling, content.label) = (Settling::Tagged(0), None);
        content.of_download = of_download;
        Ok(ContentHandle { index, generation: content.generation })
    }

    /// Closes a content and cancels its reads (PeerDistClientCloseContent). What is cached stays.
    #[inline(never)]
    pub fn close_content(&mut self, handle: ContentHandle, parts: &mut Parts<'_>) -> Result<(), ApiError> {
        let content = self.content_mut(handle).ok_or(ApiError::InvalidHandle)?;
        match &content.state {
            State::Collecting(id)
            | State::Unusable(id, _)
            | State::Complete(Complete { info_id: id, .. }) => parts.storage.remove_info(*id),
            State::Closed => {}
        }
        content.state = State::Closed;
        if self.check.as_ref().is_some_and(|(checked, _)| *checked == handle) {
            self.check = None;
        }
        self.end_reads(parts, Ended::Of(handle));
        self.drop_intakes(parts.storage, handle, None);
        Ok(())
    }

    /// Changes whenever data was added or a read was ended: as long as it does, a full store gets room.
    pub fn moved(&self) -> u32 {
        self.moved
    }

    /// Bytes that applications added, of blocks that were given up.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Whether a flush may find what it did not when this was asked last.
    pub(super) fn has_flushable(&mut self) -> bool {
        core::mem::take(&mut self.flushable)
    }

    /// Whether the block of `handle` that holds `offset` is in the store.
    pub fn is_stored(&self, parts: &mut Parts<'_>, handle: ContentHandle, offset: u64) -> bool {
        let Ok(located) = self.locate(parts, handle, offset) else { return false };
        located.stored(parts.storage).is_some()
    }

    /// Where the next stream read of `handle` begins, as far as those before it have ended.
    pub fn position(&self, handle: ContentHandle) -> u64 {
        self.content(handle).map_or(0, |content| content.position)
    }

    /// The segment of `handle` with `index`.
    pub fn segment(
        &self,
        storage: &dyn Storage,
        handle: ContentHandle,
        index: u32,
    ) -> Result<Segment, ApiError> {
        let complete = self.ready(handle)?;
        let segment = complete.info.segment_near(&complete.view(storage), complete.near, index);
        segment.map_err(ApiError::CannotParse)
    }

    /// The segment of `handle` that holds the byte at `offset`.
    pub fn segment_at(
        &self,
        storage: &dyn Storage,
        handle: ContentHandle,
        offset: u64,
    ) -> Result<Segment, ApiError> {
        let complete = self.ready(handle)?;
        match complete.info.segment_at_near(&complete.view(storage), complete.near, offset) {
            Ok(Some(segment)) => Ok(segment),
            Ok(None) => Err(ApiError::InvalidState),
            Err(error) => Err(ApiError::CannotParse(error)),
        }
    }

    /// The next segments that are asked for, by index or offset, are `segment` and those behind it.
    pub fn go_to(&mut self, handle: ContentHandle, segment: &Segment) {
        if let Some(Content { state: State::Complete(complete), .. }) = self.content_mut(handle) {
            complete.near = segment.place();
        }
    }

    /// The block that holds `offset`, if its hash is listed: in the range, or in a block that the
    /// range has a part of.
    #[inline(never)]
    fn locate(&self, parts: &mut Parts<'_>, handle: ContentHandle, offset: u64) -> Result<Located, ApiError> {
        let segment = self.segment_at(parts.storage, handle, offset)?;
        let complete = self.ready(handle)?;
        // No segment is longer than 32 bits tell; none is empty, so neither are its blocks.
        let within = offset.saturating_sub(segment.offset()) as u32;
        let index = within.checked_div(segment.block_bytes()).ok_or(ApiError::InvalidState)?;
        let start = segment.offset().saturating_add(index.saturating_mul(segment.block_bytes()).into());
        let len = segment.block_len(index).ok_or(ApiError::InvalidState)?;
        let hash = match segment.block_hash(&complete.view(parts.storage), index) {
            Ok(Some(hash)) => hash,
            Ok(None) => return Err(ApiError::InvalidState),
            Err(error) => return Err(ApiError::CannotParse(error)),
        };
        let block = BlockId { segment: segment.id(parts.crypto), index };
        let expected = Expected { algorithm: segment.algorithm(), hash, len };
        let mut kept = expected.kept_as(parts.crypto, &block, segment.is_whole());
        if segment.is_whole() && self.parted && !parts.storage.has(&kept) {
            // By now the hash is proven under which it was kept apart.
            let apart = expected.kept_as(parts.crypto, &block, false);
            kept = if parts.storage.has(&apart) { apart } else { kept };
        }
        Ok(Located { segment, block, kept, expected, start })
    }

    /// Whoever reads beyond what is near reads on from there: most read in order.
    fn come_near(&mut self, handle: ContentHandle, segment: &Segment) {
        let Ok(Complete { near, .. }) = self.ready(handle) else { return };
        let distance = near.and_then(|near| segment.index().checked_sub(near.index()));
        if distance.is_none_or(|distance| distance >= NEAR_SEGMENTS) {
            self.go_to(handle, segment);
        }
    }

    /// The content information of a content whose reads can begin.
    fn ready(&self, handle: ContentHandle) -> Result<&Complete, ApiError> {
        match self.content(handle).map(|content| &content.state) {
            Some(State::Complete(complete)) if complete.unchecked.is_none() => Ok(complete),
            Some(_) => Err(ApiError::InvalidState),
            None => Err(ApiError::InvalidHandle),
        }
    }

    fn content(&self, handle: ContentHandle) -> Option<&Content> {
        let content = self.contents.get(usize::from(handle.index))?;
        let open = content.generation == handle.generation && !matches!(content.state, State::Closed);
        open.then_some(content)
    }

    fn content_mut(&mut self, handle: ContentHandle) -> Option<&mut Content> {
        self.content(handle)?;
        self.contents.get_mut(usize::from(handle.index))
    }
}

impl Content {
    /// Whether its reads can begin.
    fn is_ready(&self) -> bool {
        matches!(&self.state, State::Complete(complete) if complete.unchecked.is_none())
    }

    /// Whether what waits outside the store has to be looked through for it.
    fn is_unsettled(&self) -> bool {
        self.is_ready() && self.settling != Settling::Done
    }
}

impl Complete {
    fn view<'a>(&self, store: &'a dyn Storage) -> InfoView<'a, dyn Storage + 'a> {
        InfoView { store, id: self.info_id }
    }
}

impl Located {
    /// It, in the store, unless what is there contradicts what is said of it.
    fn stored(&self, storage: &dyn Storage) -> Option<Stored> {
        storage.find(&self.kept).filter(|stored| stored.plain_len == self.expected.len)
    }

    /// Where the block ends in the content.
    fn end(&self) -> u64 {
        self.start.saturating_add(self.expected.len.into())
    }
}

/// How many of `bytes`, which begin at `offset`, lie before `end`.
fn until(end: u64, offset: u64, bytes: &[u8]) -> usize {
    bytes.len().min(usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
