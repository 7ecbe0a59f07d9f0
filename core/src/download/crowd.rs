//! What is known of the others who may have the segment that is being downloaded, or want it too.

use crate::content::SegmentId;
use crate::crypto::HashAlgorithm;
use crate::fetch::{Fetch, GETTERS};
use crate::time::{Duration, Instant, earliest};

use super::sweep::Sweep;

/// How soon it is looked again whether there is something to get from the origin, where it was
/// nobody's turn but others'.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A block that it is another's turn for is waited for while the crowd gets on: twice as long as we
/// take for one, within these bounds. Then so long again for each doubling of those whose turn it is
/// before ours, so that not all who wait lose patience at once.
const PATIENCE: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(30)];

/// A segment that peers are surveyed for.
pub(super) struct Surveyed {
    segment: SegmentId,
    algorithm: HashAlgorithm,
    blocks: u32,
    begun: Instant,
    /// What [`Fetch::news`] said when it was last looked.
    news: Option<u32>,
    again: Option<Instant>,
    /// Until then others got on, as fast as is worth waiting for.
    grown: Instant,
    /// Nothing is to be got from the origin before.
    look_at: Instant,
}

impl Surveyed {
    pub(super) fn new(now: Instant, segment: SegmentId, algorithm: HashAlgorithm, blocks: u32) -> Self {
        let (news, again) = (None, None);
        Self { segment, algorithm, blocks, begun: now, news, again, grown: now, look_at: now }
    }

    /// Looks around, if there may be something new. Of what it lacks, peers have so many blocks that they did not have
    /// before.
    pub(super) fn look(&mut self, now: Instant, fetch: &mut Fetch, sweep: &mut Sweep) -> u32 {
        if self.news == Some(fetch.news()) && self.again.is_none_or(|again| now < again) {
            return 0;
        }
        let survey = fetch.survey(now, &self.segment, self.algorithm, self.blocks, self.begun);
        (self.news, self.again) = (Some(fetch.news()), survey.again);
        // Of who does not tell, all is thought to be there: nobody brings more of that.
        let more = survey.held.count() < self.blocks;
        let brought = if more { sweep.newly_held(&survey) } else { 0 };
        if sweep.survey(&survey) {
            self.wake();
        }
        brought
    }

    /// A peer has given a block: others get on, and are worth waiting for as long as we would take for
    /// two. Whoever claims to get blocks and trickles them makes us no slower than half of what we could be.
    pub(super) fn progress(&mut self, now: Instant, pace: Duration) {
        (self.grown, self.look_at) = ((self.grown + pace + pace).min(now), now);
    }

    /// How many may be before us for the block that we get from the origin next; `None` if there
    /// is nothing to get now. `pace` is how long we take for one.
    pub(super) fn patience(&self, now: Instant, pace: Duration) -> Option<usize> {
        let [least, most] = PATIENCE;
        let patience = (pace + pace).clamp(least, most);
        let waited = now.since(self.grown).micros().checked_div(patience.micros()).unwrap_or(0);
        self.may_look(now).then_some(match waited {
            0 => 0,
            1 => 1,
            2 => 3,
            3 => GETTERS - 1,
            _ => usize::MAX,
        })
    }

    /// There is something to get that was not there before.
    pub(super) fn wake(&mut self) {
        self.look_at = Instant::ZERO;
    }

    /// Whether it may be looked by now whether there is something to get.
    pub(super) fn may_look(&self, now: Instant) -> bool {
        now >= self.look_at
    }

    /// There was nothing to get.
    pub(super) fn rest(&mut self, now: Instant) {
        self.look_at = now + LOOK_AGAIN;
    }

    pub(super) fn segment(&self) -> &SegmentId {
        &self.segment
    }

    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        earliest(self.again, after(now, self.look_at))
    }
}

/// A time, if it is still to come.
#[inline(never)]
pub(super) fn after(now: Instant, at: Instant) -> Option<Instant> {
    (at > now).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN: Instant = Instant::from_millis(1_000);

    fn surveyed() -> Surveyed {
        Surveyed::new(BEGUN, SegmentId::from_slice(&[7; 32]).unwrap(), HashAlgorithm::Sha256, 8)
    }

    /// How many may be before us, so many seconds after the beginning.
    fn before_us(surveyed: &Surveyed, seconds: u64, pace: u64) -> Option<usize> {
        surveyed.patience(BEGUN + Duration::from_secs(seconds), Duration::from_secs(pace))
    }

    /// Others are waited for while they give us blocks: twice as long as we take for one, within bounds.
    #[test]
    fn others_are_waited_for_while_they_get_on() {
        let mut surveyed = surveyed();
        for (pace, patience) in [(0, 3), (1, 3), (5, 10), (99, 30)] {
            assert_eq!(before_us(&surveyed, patience - 1, pace), Some(0), "{pace}");
            let later = [1, 2, 3, 4].map(|times| before_us(&surveyed, times * patience, pace));
            assert_eq!(later, [1, 3, 7, usize::MAX].map(Some), "the next in turn lose it first, {pace}");
        }
        surveyed.progress(BEGUN + Duration::from_secs(4), Duration::from_secs(2));
        assert_eq!((before_us(&surveyed, 6, 0), before_us(&surveyed, 7, 0)), (Some(0), Some(1)));
    }

    /// Eight forged getters and one that gives a block every 20 s, all of which could come from the origin
    /// in a second each.
    #[test]
    fn a_trickle_is_no_reason_to_wait() {
        let pace = Duration::from_secs(1);
        let mut surveyed = surveyed();
        let mut ours = 0;
        for second in 0..1_000 {
            let now = BEGUN + Duration::from_secs(second);
            if second % 20 == 19 {
                surveyed.progress(now, pace);
            }
            ours += u32::from(surveyed.patience(now, pace) == Some(usize::MAX));
        }
        assert!(ours >= 980, "{ours} blocks in 1,000 s");
    }

    /// Who gets on no slower than we would is waited for.
    #[test]
    fn a_crowd_that_gets_on_is_left_to_it() {
        let mut surveyed = surveyed();
        for second in 0..1_000 {
            let now = BEGUN + Duration::from_secs(second);
            if second % 2 == 1 {
                surveyed.progress(now, Duration::from_secs(1));
            }
            assert_eq!(surveyed.patience(now, Duration::from_secs(1)), Some(0));
        }
    }

    /// Where there was nothing to get, it is looked again after a while, or once there may be something.
    #[test]
    fn nothing_to_get() {
        let patience = |surveyed: &Surveyed, millis| {
            surveyed.patience(BEGUN + Duration::from_millis(millis), Duration::ZERO)
        };
        let mut surveyed = surveyed();
        surveyed.rest(BEGUN);
        assert_eq!((patience(&surveyed, 249), patience(&surveyed, 250)), (None, Some(0)));
        assert_eq!(surveyed.poll_timeout(BEGUN), Some(BEGUN + LOOK_AGAIN));
        surveyed.wake();
        assert_eq!(patience(&surveyed, 1), Some(0));
        surveyed.rest(BEGUN);
        surveyed.progress(BEGUN + Duration::from_millis(1), Duration::ZERO);
        assert_eq!(patience(&surveyed, 1), Some(0));
    }
}
