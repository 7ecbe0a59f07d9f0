//! [MS-PCHC] 3.2, the client: what came from an origin is offered to a hosted cache, which then asks for the
//! blocks.
//!
//! A table has one row for each segment of which blocks came. Once there are enough of them, or no more come, the
//! segment is news, and goes into the next message: version 2.0 offers up to 128 segments in one, version 1.0 one
//! segment, and then what describes it if the hosted cache asks for that.
//!
//! One message is under way at a time, and messages are [`INTERVAL`] apart, or [`SHORT_INTERVAL`] where each is about one
//! segment. It goes to the first hosted cache of
//! a list that is not at rest; whoever does not take a message rests, and what was in it is offered to the next.

mod message;
mod news;

use core::net::SocketAddr;

use heapless::Vec;

use self::news::Sent;
pub use self::news::{Came, News};
use super::wire::{ContentTag, MAX_DESCRIPTORS, MessageType, ResponseCode, Version};
pub use crate::limits::HOSTED_CACHES;
use crate::limits::rows;
use crate::store::InfoStore;
use crate::time::{Duration, Instant, earliest};

/// The tag of what a download got (3.2.1: each higher-layer component SHOULD select a unique one).
pub const DOWNLOAD_TAG: ContentTag = *b"peerdist\0\0\0\0\0\0\0\0";

/// 3.2.2: the request timer ticks every 5 seconds.
const TICK: Duration = Duration::from_secs(5);

/// 3.2.2: a message expires when the count of ticks exceeds that at which it was sent by more than 2. The timer is
/// started with the only message that is under way, so that is the third tick from then on.
const EXPIRY: Duration = Duration::from_micros(TICK.micros() * 3);

/// How long it takes from one message to the next.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// The same after a message of version 1.0.
pub const SHORT_INTERVAL: Duration = Duration::from_millis(100);

/// How long a hosted cache rests that failed.
pub const REST: Duration = Duration::from_secs(30);

/// How long one rests that wants to know who we are (3.2.5.3), and was not told.
pub const LONG_REST: Duration = Duration::from_secs(600);

/// How often a segment is offered to those who do not take the message that it is in, before it is forgotten: it
/// keeps back others.
pub const TRIES: u8 = 3;

/// Segments that are described at a time, unless set otherwise.
const DESCRIBED: usize = rows(4, 1);

/// A hosted cache, and where it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it serves blocks, over HTTP.
    pub blocks: SocketAddr,
    /// Where it takes offers: over HTTP those of version 2.0, over HTTPS those of version 1.0 (2.1).
    pub offers: SocketAddr,
    /// Of which version.
    pub version: Version,
}

impl Place {
    /// One of version 2.0, where both are at one address.
    pub const fn v2(address: SocketAddr) -> Self {
        Self { blocks: address, offers: address, version: Version::V2 }
    }
}

/// The hosted caches that a client knows, the first choice first.
pub type Places = Vec<Place, HOSTED_CACHES>;

/// Why a hosted cache did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Failure {
    /// No connection came about.
    Unreachable,
    /// The connection was lost.
    Lost,
    /// No response came until the message expired (3.2.6).
    Expired,
    /// It wants to know who we are (401: SPNEGO, 2.1), and the adapter did not tell it.
    Unauthorized,
    /// Another status of HTTP than 200.
    Status(u16),
    /// What came is no response (3.2.5.5).
    BadResponse,
    /// It is ours: what describes the segment cannot be read any more.
    Unreadable,
}

impl Failure {
    /// How many of the [`TRIES`] of what is in the message that costs: none, where the message is not to blame.
    const fn tries(self) -> u8 {
        match self {
            Self::Unreachable | Self::Unauthorized | Self::Status(503) => 0,
            Self::Lost | Self::Expired | Self::Status(_) | Self::BadResponse => 1,
            Self::Unreadable => TRIES,
        }
    }
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unreachable => f.write_str("cannot be reached"),
            Self::Lost => f.write_str("the connection was lost"),
            Self::Expired => f.write_str("no response in time"),
            Self::Unauthorized => {
                f.write_str("it asks for authentication (401, Negotiate), which is not supported")
            }
            Self::Status(code) => write!(f, "it answers with status {code}"),
            Self::BadResponse => f.write_str("its answer is no response to an offer"),
            Self::Unreadable => f.write_str("what describes a segment cannot be read any more"),
        }
    }
}

impl core::error::Error for Failure {}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Blocks that came from origins.
    pub blocks: u32,
    /// Messages that were answered.
    pub messages: u32,
    /// Segments offered in those, each time that it was.
    pub segments: u32,
    /// Of those, the ones that had to be described (version 1.0).
    pub described: u32,
    /// Messages that were not taken.
    pub failed: u32,
    /// Blocks that cannot be offered: of an algorithm or a version that the hosted caches have no message for.
    pub unusable: u32,
    /// Segments that were forgotten before they were offered: for want of room, since they failed too often, or
    /// since nothing describes them any more.
    pub forgotten: u32,
}

/// What is to be offered, in a table of any size.
pub struct Client<'a> {
    /// Segments of which blocks came from an origin.
    pub news: &'a mut [News],
    /// What is not in the table.
    pub state: &'a mut State,
}

/// What is not in a table.
pub struct State {
    request: Option<Request>,
    rests: [Instant; HOSTED_CACHES],
    failure: Option<(SocketAddr, Failure)>,
    /// Before then, no message is sent.
    after: Instant,
    /// When it was moved on last: what comes has come then.
    worked: Instant,
    /// Whether there are hosted caches of version 1.0, for which segments are described.
    describes: bool,
    /// How many segments are described for hosted caches of version 1.0 at a time. Each takes a place for content
    /// information, and 16 KiB of it, of which contents need some: how much there is, the owner of the store knows.
    pub descriptions: usize,
    /// What happened so far.
    pub counters: Counters,
}

/// The message under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    what: What,
    /// Whom it goes to, by its number in the list.
    to: u8,
    /// When it expires, once a connection has it.
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A BATCHED_OFFER_MESSAGE with so many of the rows that are marked.
    Batch(u8),
    /// An INITIAL_OFFER_MESSAGE about the row that is marked.
    Initial,
    /// A SEGMENT_INFO_MESSAGE about the row that is marked.
    Described,
}

impl What {
    const fn version(self) -> Version {
        match self {
            Self::Batch(_) => Version::V2,
            Self::Initial | Self::Described => Version::V1,
        }
    }

    const fn message(self) -> MessageType {
        match self {
            Self::Batch(_) => MessageType::BatchedOffer,
            Self::Initial => MessageType::InitialOffer,
            Self::Described => MessageType::SegmentInfo,
        }
    }
}

impl Default for State {
    /// Nothing was sent, and all hosted caches are awake.
    fn default() -> Self {
        Self {
            request: None,
            rests: [Instant::ZERO; HOSTED_CACHES],
            failure: None,
            after: Instant::ZERO,
            worked: Instant::ZERO,
            describes: false,
            descriptions: DESCRIBED,
            counters: Counters::default(),
        }
    }
}

impl State {
    /// A hosted cache that did not take a message, and why; the latest, once.
    pub fn poll_failure(&mut self) -> Option<(SocketAddr, Failure)> {
        self.failure.take()
    }

    /// Whether a message is under way.
    pub fn is_under_way(&self) -> bool {
        self.request.is_some()
    }

    /// The number of the hosted cache for which a message waits that no connection has yet.
    pub(crate) fn waits_for(&self) -> Option<u8> {
        self.request.filter(|request| request.until.is_none()).map(|request| request.to)
    }

    /// A connection has the message.
    pub(crate) fn carried(&mut self, now: Instant) {
        if let Some(request) = &mut self.request {
            // 3.2.2: the request timer is started when a message is sent.
            request.until = Some(now + EXPIRY);
        }
    }

    /// It has lost it before anything was sent.
    pub(crate) fn not_carried(&mut self) {
        if let Some(request) = &mut self.request {
            request.until = None;
        }
    }

    /// When the first of the hosted caches has rested; `None` without any.
    pub fn rested_at(&self, places: &Places) -> Option<Instant> {
        places.iter().zip(self.rests).map(|(_, rests)| rests).min()
    }
}

impl Client<'_> {
    /// Whether there is anything that was not offered.
    pub fn has_news(&self) -> bool {
        self.state.request.is_some() || self.news.iter().any(News::is_fresh)
    }

    /// Gives up a message that has expired; then makes the next, if it is time. Whether a message waits for a
    /// connection.
    pub fn work(&mut self, now: Instant, places: &Places, infos: &mut dyn InfoStore) -> bool {
        self.state.worked = now;
        self.state.describes = places.iter().any(|place| place.version == Version::V1);
        if self.state.request.is_some_and(|request| request.until.is_some_and(|until| until <= now)) {
            // 3.2.6: the outstanding request MUST be removed.
            self.failed(now, places, Failure::Expired, infos);
        }
        if self.state.request.is_none() && self.state.after <= now {
            let rests = self.state.rests;
            for ((to, place), _) in (0u8..).zip(places).zip(rests).filter(|(_, rests)| *rests <= now) {
                if let Some(what) = self.choose(now, place.version, places, infos) {
                    self.send(what, to);
                    break;
                }
            }
        }
        self.state.waits_for().is_some()
    }

    /// A response came to the message under way.
    pub fn answered(&mut self, now: Instant, code: ResponseCode, infos: &mut dyn InfoStore) {
        // 3.2.5.1, 3.2.5.2, 3.2.5.4: MUST be removed from those that are outstanding, and its timer cancelled.
        let Some(request) = self.state.request.take() else { return };
        bump(&mut self.state.counters.messages, 1);
        if code == ResponseCode::Interested && request.what == What::Initial {
            // 3.2.5.1: the client MUST respond with a SEGMENT_INFO_MESSAGE, which has a timer of its own.
            bump(&mut self.state.counters.described, 1);
            self.send(What::Described, request.to);
            return;
        }
        let taken = self.news.iter_mut().map(|row| u32::from(row.taken(infos))).sum();
        bump(&mut self.state.counters.segments, taken);
        self.state.after = now
            + match request.what.version() {
                Version::V1 => SHORT_INTERVAL,
                Version::V2 => INTERVAL,
            };
    }

    /// The message under way was not taken: whom it went to rests, unless the fault is ours, and what was in it is news
    /// again, but not for ever.
    pub fn failed(&mut self, now: Instant, places: &Places, failure: Failure, infos: &mut dyn InfoStore) {
        let Some(request) = self.state.request.take() else { return };
        bump(&mut self.state.counters.failed, 1);
        for row in self.news.iter_mut().filter(|row| row.sent().is_some()) {
            if row.not_taken(failure.tries()) {
                bump(&mut self.state.counters.forgotten, 1);
                row.clear(infos);
            }
        }
        if failure == Failure::Unreadable {
            return;
        }
        // 3.2.5.3 has it sent again with SPNEGO, which is the adapter's: what comes here would come each time.
        let rest = if failure == Failure::Unauthorized { LONG_REST } else { REST };
        if let Some(rests) = self.state.rests.get_mut(usize::from(request.to)) {
            *rests = now + rest;
        }
        let to = places.get(usize::from(request.to));
        self.state.failure = to.map(|place| (place.offers, failure)).or(self.state.failure);
    }

    fn send(&mut self, what: What, to: u8) {
        self.state.request = Some(Request { what, to, until: None });
    }

    /// Marks what the next message to a hosted cache of that version is about.
    fn choose(
        &mut self,
        now: Instant,
        version: Version,
        places: &Places,
        infos: &mut dyn InfoStore,
    ) -> Option<What> {
        let mut marked = 0u8;
        // 2.2.1.5: MUST NOT contain more than 128; version 1.0 has one in a message.
        let most = if version == Version::V2 { MAX_DESCRIPTORS } else { 1 };
        for row in self.news.iter_mut() {
            if usize::from(marked) >= most {
                break;
            }
            match row.send(now, version, places) {
                Some(Sent::Marked) => marked = marked.saturating_add(1),
                Some(Sent::Never(blocks)) => {
                    bump(&mut self.state.counters.unusable, blocks);
                    row.clear(infos);
                }
                None => {}
            }
        }
        match (marked, version) {
            (0, _) => None,
            (_, Version::V2) => Some(What::Batch(marked)),
            (_, Version::V1) => Some(What::Initial),
        }
    }
}

/// When [`Client::work`] has something to do without new input.
pub fn poll_timeout(news: &[News], state: &State, places: &Places) -> Option<Instant> {
    if let Some(request) = &state.request {
        return request.until;
    }
    let next = news.iter().fold(None, |next, row| {
        let fits = |(place, _): &(&Place, Instant)| row.fits(place.version);
        let awake = || places.iter().zip(state.rests).filter(fits).map(|(_, rests)| rests).min();
        // What fits nobody is thrown away by the first that is awake.
        let awake = || awake().or_else(|| state.rested_at(places));
        earliest(next, row.due_at().map(|due| due.max(awake().unwrap_or(due))))
    });
    next.map(|next| next.max(state.after)).filter(|_| !places.is_empty())
}

fn bump(counter: &mut u32, by: u32) {
    *counter = counter.wrapping_add(by);
}

#[cfg(test)]
mod tests;
