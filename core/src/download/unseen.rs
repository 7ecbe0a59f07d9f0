//! Others who get the same segment and share a hosted cache with us: nobody hears of them, only what they bring to
//! the hosted cache can be seen.
//!
//! All wait a moment before they turn to the origin, each for another time, and who sees meanwhile that somebody
//! brings blocks leaves it to them. Who gets blocks from the origin sees how many others bring at the same time:
//! where there are more than it takes to keep its link busy, some of them stop, by chance. Who waits begins when no
//! more is brought.

use rand_core::CryptoRng;

use crate::fetch::GETTERS;
use crate::time::{Duration, Instant};

/// How long the first wait may take for each block of a segment, and for all of them: who wants only a little gets
/// it sooner.
const FIRST: [Duration; 2] = [Duration::from_millis(25), Duration::from_secs(1)];

/// How long nothing may be brought before some of those who wait begin, and until all of them would have.
const STALLED: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(12)];

/// What is seen of the others.
pub(super) struct Unseen {
    /// Whether we get blocks from the origin, or wait for those who do.
    gets: bool,
    /// When we begin to.
    at: Instant,
    /// Blocks that others have brought while we got one.
    brought: u32,
    /// The block behind the one that we got last.
    next: u32,
}

impl Unseen {
    /// Of a segment of so many blocks.
    pub(super) fn new(now: Instant, blocks: u32, rng: &mut dyn CryptoRng) -> Self {
        let [each, most] = FIRST;
        let wait = Duration::from_micros(each.micros().saturating_mul(blocks.into())).min(most);
        Self { gets: false, at: now + any_of(wait, rng), brought: 0, next: rng.next_u32() }
    }

    /// Whether it is time to get blocks from the origin.
    pub(super) fn may_get(&mut self, now: Instant) -> bool {
        self.gets |= now >= self.at;
        self.gets
    }

    /// Others have brought so many blocks that we lack.
    pub(super) fn brought(&mut self, now: Instant, blocks: u32, rng: &mut dyn CryptoRng) {
        self.brought = self.brought.saturating_add(blocks);
        if !self.gets && blocks > 0 {
            self.wait(now, rng);
        }
    }

    /// We have got a block ourselves.
    pub(super) fn got(&mut self, now: Instant, block: u32, rng: &mut dyn CryptoRng) {
        self.next = block.wrapping_add(1);
        let all = core::mem::take(&mut self.brought).saturating_add(1);
        let stays = rng.next_u32().checked_rem(all).unwrap_or(0) < GETTERS as u32;
        if self.gets && !stays {
            self.gets = false;
            self.wait(now, rng);
        }
    }

    /// How many other blocks come before that one: where we go on is no other's place.
    pub(super) fn turn(&self, block: u32) -> usize {
        usize::from(block != self.next)
    }

    /// When we begin, if nothing is brought.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.gets).then_some(self.at)
    }

    fn wait(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        let [least, most] = STALLED;
        let more = Duration::from_micros(most.micros().saturating_sub(least.micros()));
        self.at = now + least + any_of(more, rng);
    }
}

/// Any duration up to that one.
fn any_of(most: Duration, rng: &mut dyn CryptoRng) -> Duration {
    Duration::from_micros(u64::from(rng.next_u32()).checked_rem(most.micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Fixed;

    const NOW: Instant = Instant::from_millis(1_000);

    fn after(millis: u64) -> Instant {
        NOW + Duration::from_millis(millis)
    }

    /// A little is got at once, more after a moment.
    #[test]
    fn the_first_wait() {
        for (blocks, drawn, wait) in [(4, 99_999, 99), (4, 100_000, 0), (512, 999_999, 999), (512, 1_000_000, 0)] {
            let mut unseen = Unseen::new(NOW, blocks, &mut Fixed(drawn));
            assert_eq!((unseen.may_get(after(wait)), unseen.may_get(after(wait + 1))), (wait == 0, true));
        }
    }

    /// Who sees others bring blocks waits for more of them, and begins when no more come.
    #[test]
    fn others_are_left_to_it() {
        let mut unseen = Unseen::new(NOW, 512, &mut Fixed(999_999));
        for second in 0..60 {
            unseen.brought(NOW + Duration::from_secs(second), 1, &mut Fixed(500_000));
            assert!(!unseen.may_get(NOW + Duration::from_secs(second + 1)));
        }
        assert_eq!(unseen.poll_timeout(), Some(NOW + Duration::from_millis(62_500)));
        assert!(!unseen.may_get(after(62_499)) && unseen.may_get(after(62_500)));
        assert_eq!(unseen.poll_timeout(), None);
        // Who has begun goes on.
        unseen.brought(after(63_000), 1, &mut Fixed(0));
        assert!(unseen.may_get(after(63_000)));
    }

    /// Of more than are needed, some stop; of fewer, none.
    #[test]
    fn there_are_enough_getters() {
        for (brought, drawn, stays) in [(0, 7, true), (7, 7, true), (8, 8, false), (39, 47, true), (39, 48, false)] {
            let mut unseen = Unseen::new(NOW, 1, &mut Fixed(0));
            assert!(unseen.may_get(NOW));
            unseen.brought(NOW, brought, &mut Fixed(0));
            unseen.got(NOW, 5, &mut Fixed(drawn));
            assert_eq!(unseen.may_get(NOW), stays, "{brought} {drawn}");
            assert_eq!([unseen.turn(5), unseen.turn(6), unseen.turn(7)], [1, 0, 1]);
        }
    }
}
