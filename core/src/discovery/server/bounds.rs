//! [MS-PCCRD] 3.2: what keeps a server from answering too often.
//!
//! Three tables of fixed size, each told the time: probes answered lately, how many answers a second
//! there may be, and segments that many others have.

use core::net::SocketAddr;

use heapless::{Vec, VecView};

use crate::content::SegmentId;
use crate::discovery::wire::MessageId;
use crate::discovery::{FNV, fingerprint, mix};
use crate::limits::rows;
use crate::time::{Duration, Instant};

/// Probes remembered as answered, or as left to others.
pub const MAX_REMEMBERED: usize = 16;

/// How long a repeat is taken for one: less than 1 s, for a repeat after that deserves an answer
/// of its own (fact 29).
const REMEMBERED_FOR: Duration = Duration::from_millis(900);

/// Datagrams of answers a second in the long run, repeats aside. One probe may have as many as
/// [`MAX_PER_PROBE`](super::MAX_PER_PROBE), and one of a forged source makes all peers of the branch
/// answer: no more than this from each. A branch whose clients begin to download together asks less.
pub const ANSWERS_PER_SECOND: u32 = 200;

/// Datagrams of answers at once, after a pause.
pub const ANSWERS_AT_ONCE: u32 = 200;

/// The time that earns one answer, in microseconds.
const PER_ANSWER: u32 = 1_000_000 / ANSWERS_PER_SECOND;

/// Segments remembered as those that many others have.
pub const MAX_CROWDS: usize = rows(32, 8);

/// For how long others are relied on. The document knows no end; but when those that answer are
/// gone, those that kept silent have to speak.
pub const CROWDED_FOR: Duration = Duration::from_secs(600);

/// Things by their [`fingerprint`], and since when each is known, oldest first.
type Table = VecView<(Instant, u64)>;

/// Probes that were answered, or left to others.
#[derive(Debug, Default)]
pub(super) struct Remembered(Vec<(Instant, u64), MAX_REMEMBERED>);

impl Remembered {
    /// Whether this probe was dealt with a moment ago.
    pub(super) fn contains(&mut self, now: Instant, from: SocketAddr, message_id: &MessageId) -> bool {
        forget(&mut self.0, now, REMEMBERED_FOR);
        find(&self.0, fingerprint(from.ip(), from.port(), message_id.as_bytes())).is_some()
    }

    pub(super) fn push(&mut self, now: Instant, from: SocketAddr, message_id: &MessageId) {
        // A second answer to the oldest is the lesser evil.
        push(&mut self.0, now, fingerprint(from.ip(), from.port(), message_id.as_bytes()));
    }
}

/// How many answers may still be given: a bucket that time fills.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    /// Up to when time has been turned into answers.
    at: Instant,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: ANSWERS_AT_ONCE, at: Instant::ZERO }
    }
}

impl Allowance {
    /// Takes one; `false` if there is none.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        // What would be earned beyond them is lost, so more time is as good as so much.
        let most = ANSWERS_AT_ONCE * PER_ANSWER;
        let passed = u32::try_from(now.since(self.at).micros()).unwrap_or(u32::MAX);
        let earned = passed.min(most) / PER_ANSWER;
        self.at =
            if passed < most { self.at + Duration::from_micros((earned * PER_ANSWER).into()) } else { now };
        let left = self.left.saturating_add(earned).min(ANSWERS_AT_ONCE);
        self.left = left.saturating_sub(1);
        left > 0
    }
}

/// Segments that enough others have. The lowest bit says whether enough of them have all of it.
#[derive(Debug, Default)]
pub(super) struct Crowds(Vec<(Instant, u64), MAX_CROWDS>);

impl Crowds {
    /// Takes what is known of `segment` now: `None` if few have it, else whether enough have all
    /// of it.
    pub(super) fn learn(&mut self, now: Instant, segment: &SegmentId, whole: Option<bool>) {
        let name = name(segment);
        forget(&mut self.0, now, CROWDED_FOR);
        keep(&mut self.0, &mut |(_, crowd)| crowd | 1 != name);
        if let Some(whole) = whole {
            // One that is forgotten is answered for.
            push(&mut self.0, now, if whole { name } else { name - 1 });
        }
    }

    /// `None` if few have `segment`, else whether enough have all of it.
    pub(super) fn whole(&self, now: Instant, segment: &SegmentId) -> Option<bool> {
        let name = name(segment);
        let (at, whole) = match (find(&self.0, name), find(&self.0, name - 1)) {
            (Some(at), _) => (at, true),
            (None, at) => (at?, false),
        };
        (now.since(at) < CROWDED_FOR).then_some(whole)
    }
}

/// The fingerprint of a segment of which enough others have all.
fn name(segment: &SegmentId) -> u64 {
    mix(FNV, segment.as_bytes()) | 1
}

/// Since when it is known.
#[inline(never)]
fn find(table: &Table, fingerprint: u64) -> Option<Instant> {
    table.iter().find(|(_, other)| *other == fingerprint).map(|(at, _)| *at)
}

/// Drops what has been known for so long.
#[inline(never)]
fn forget(table: &mut Table, now: Instant, span: Duration) {
    keep(table, &mut |(at, _)| now.since(*at) < span);
}

/// Adds one at the end, in place of the oldest where there is no room.
#[inline(never)]
fn push(table: &mut Table, now: Instant, fingerprint: u64) {
    let mut room = !table.is_full();
    keep(table, &mut |_| core::mem::replace(&mut room, true));
    let _ = table.push((now, fingerprint));
}

#[inline(never)]
fn keep(table: &mut Table, is_kept: &mut dyn FnMut(&(Instant, u64)) -> bool) {
    table.retain(is_kept);
}
