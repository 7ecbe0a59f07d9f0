//! [MS-PCCRD] 3.2: what keeps a server from answering too often.
//!
//! Three tables of fixed size, each told the time: probes answered lately, how many answers a second
//! there may be, and segments that many others have.

use core::net::SocketAddr;

use heapless::Vec;

use crate::content::SegmentId;
use crate::discovery::fingerprint;
use crate::discovery::wire::MessageId;
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

/// The time that earns one answer.
const PER_ANSWER: u64 = 1_000_000 / ANSWERS_PER_SECOND as u64;

/// Segments remembered as those that many others have.
pub const MAX_CROWDS: usize = 32;

/// For how long others are relied on. The document knows no end; but when those that answer are
/// gone, those that kept silent have to speak.
pub const CROWDED_FOR: Duration = Duration::from_secs(600);

/// Probes that were answered, or left to others, by their [`fingerprint`], oldest first.
#[derive(Debug, Default)]
pub(super) struct Remembered(Vec<(Instant, u64), MAX_REMEMBERED>);

impl Remembered {
    /// Whether this probe was dealt with a moment ago.
    pub(super) fn contains(&mut self, now: Instant, from: SocketAddr, message_id: &MessageId) -> bool {
        self.0.retain(|(at, _)| now.since(*at) < REMEMBERED_FOR);
        let probe = fingerprint(Some(from), message_id.as_bytes());
        self.0.iter().any(|(_, other)| *other == probe)
    }

    pub(super) fn push(&mut self, now: Instant, from: SocketAddr, message_id: &MessageId) {
        // A second answer to the oldest is the lesser evil.
        make_room(&mut self.0);
        let _ = self.0.push((now, fingerprint(Some(from), message_id.as_bytes())));
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
        let earned = now.since(self.at).micros() / PER_ANSWER;
        self.at += Duration::from_micros(earned.saturating_mul(PER_ANSWER));
        let left = self.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)).min(ANSWERS_AT_ONCE);
        self.left = left.saturating_sub(1);
        left > 0
    }
}

/// Segments that enough others have, the one learnt of first before the others.
#[derive(Debug, Default)]
pub(super) struct Crowds(Vec<Crowd, MAX_CROWDS>);

#[derive(Debug)]
struct Crowd {
    at: Instant,
    /// Its [`fingerprint`].
    segment: u64,
    /// Enough others have all of it.
    whole: bool,
}

impl Crowds {
    /// Takes what is known of `segment` now: `None` if few have it, else whether enough have all
    /// of it.
    pub(super) fn learn(&mut self, now: Instant, segment: &SegmentId, whole: Option<bool>) {
        let segment = fingerprint(None, segment.as_bytes());
        self.0.retain(|crowd| crowd.segment != segment && now.since(crowd.at) < CROWDED_FOR);
        let Some(whole) = whole else { return };
        // One that is forgotten is answered for.
        make_room(&mut self.0);
        let _ = self.0.push(Crowd { at: now, segment, whole });
    }

    /// `None` if few have `segment`, else whether enough have all of it.
    pub(super) fn whole(&self, now: Instant, segment: &SegmentId) -> Option<bool> {
        let segment = fingerprint(None, segment.as_bytes());
        let crowd = self.0.iter().find(|crowd| crowd.segment == segment)?;
        (now.since(crowd.at) < CROWDED_FOR).then_some(crowd.whole)
    }
}

/// Drops the first, which is the oldest, where there is no room for one more.
fn make_room<T, const N: usize>(table: &mut Vec<T, N>) {
    let mut room = !table.is_full();
    table.retain(|_| core::mem::replace(&mut room, true));
}
