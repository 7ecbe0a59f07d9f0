//! Others who get the same segment and share a hosted cache with us: nobody hears of them, only what they bring to
//! the hosted cache can be seen.
//!
//! All wait before they turn to the origin, each for another time, and who sees meanwhile that somebody brings
//! blocks leaves it to them. The times are drawn so that of any number of waiters few are early, and hardly any
//! others begin before those are seen to: as receivers of multicast hold back what one of them says for all
//! (RFC 5401). Who waits begins when no more is brought; and of those who bring, some stop where they are more than
//! it takes to keep the origin's link busy.

use rand_core::CryptoRng;

use crate::time::{Duration, Instant};

/// The longest wait takes so many times what a block is expected to take, within these bounds: a moment where the
/// origin is quick, and longer in a crowd, which makes it slow.
const PACES: u64 = 10;
const LONGEST: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(60)];

/// But who wants only a little does not wait longer for each block of it.
const FOR_EACH: Duration = Duration::from_millis(40);

/// How long nothing may be brought before somebody else begins, and what those who wait for that have as their longest
/// wait at least.
const STALLED: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(10)];

/// So many bring blocks at a time without any of them stopping.
const ENOUGH: u32 = 8;

/// Of 2 to this many waiters, one or two are early.
const CROWD_BITS: u32 = 10;

/// What is seen of the others.
pub(super) struct Unseen {
    /// Whether we get blocks from the origin, or wait for those who do.
    gets: bool,
    /// When we begin to.
    at: Instant,
    /// The longest wait.
    longest: Duration,
    /// Blocks that others have brought while we got one.
    brought: u32,
    /// Whether they have brought any.
    are_there: bool,
    /// The block behind the one that we asked for last.
    next: u32,
}

impl Unseen {
    /// Of a segment of so many blocks, for each of which the origin may take as long as `pace`.
    pub(super) fn new(now: Instant, blocks: u32, pace: Duration, rng: &mut dyn CryptoRng) -> Self {
        let times = |one: Duration, times: u64| Duration::from_micros(one.micros().saturating_mul(times));
        let [least, most] = LONGEST;
        let longest = times(pace, PACES).clamp(least, most);
        let first = longest.min(times(FOR_EACH, blocks.into()));
        let at = now + some_of(first, rng);
        Self { gets: false, at, longest, brought: 0, are_there: false, next: rng.next_u32() }
    }

    /// The same after a segment of which it was known that nobody else gets it: there is no reason to wait once more.
    pub(super) fn after(self, last: Option<&Self>) -> Self {
        Self { gets: last.is_some_and(|last| last.gets && !last.are_there), ..self }
    }

    /// Whether it is time to get blocks from the origin.
    pub(super) fn may_get(&mut self, now: Instant) -> bool {
        self.gets |= now >= self.at;
        self.gets
    }

    /// Whether we wait for others, as of when it was last looked.
    pub(super) fn waits(&self) -> bool {
        !self.gets
    }

    /// Others have brought so many blocks that we lack.
    pub(super) fn brought(&mut self, now: Instant, blocks: u32, rng: &mut dyn CryptoRng) {
        self.brought = self.brought.saturating_add(blocks);
        self.are_there |= blocks > 0;
        if !self.gets && blocks > 0 {
            self.wait(now, rng);
        }
    }

    /// We ask the origin for a block, and go on behind it.
    pub(super) fn takes(&mut self, block: u32) {
        self.next = block.wrapping_add(1);
    }

    /// We have got a block ourselves.
    pub(super) fn got(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        let all = core::mem::take(&mut self.brought).saturating_add(1);
        let stays = rng.next_u32().checked_rem(all).unwrap_or(0) < ENOUGH;
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
        let [stalled, least] = STALLED;
        self.at = now + stalled + some_of(self.longest.max(least), rng);
    }
}

/// A wait of up to `longest`: each `1/CROWD_BITS` of it earlier is half as likely.
fn some_of(longest: Duration, rng: &mut dyn CryptoRng) -> Duration {
    const ONE: u64 = 1 << 16;
    const ALL: u64 = CROWD_BITS as u64 * ONE;
    let drawn = rng.next_u32() | 1;
    // The logarithm to the base of 2, of which the fraction is taken to be straight.
    let (zeros, fraction) = (drawn.leading_zeros(), drawn.wrapping_shl(drawn.leading_zeros()) >> 15);
    let missing = u64::from(zeros)
        .saturating_mul(ONE)
        .saturating_add(ONE)
        .saturating_sub(u64::from(fraction) & (ONE - 1));
    let part = ALL.saturating_sub(missing);
    Duration::from_micros(longest.micros().saturating_mul(part).checked_div(ALL).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Fixed;

    const NOW: Instant = Instant::from_millis(1_000);

    fn after(millis: u64) -> Instant {
        NOW + Duration::from_millis(millis)
    }

    /// When one that drew this begins.
    fn begins(blocks: u32, pace: u64, drawn: u32) -> u64 {
        let mut unseen = Unseen::new(NOW, blocks, Duration::from_millis(pace), &mut Fixed(drawn));
        let at = unseen.poll_timeout().unwrap();
        let just_before = Instant::from_micros(at.micros().saturating_sub(1));
        assert!((at == NOW || !unseen.may_get(just_before)) && unseen.may_get(at));
        assert_eq!(unseen.poll_timeout(), None);
        at.since(NOW).micros().div_ceil(1_000)
    }

    /// Each tenth of the wait earlier is half as likely.
    #[test]
    fn few_are_early() {
        let tenths = [u32::MAX, 1 << 31, 1 << 30, 3 << 29, 1 << 22, 1 << 21, 1];
        assert_eq!(tenths.map(|drawn| begins(512, 1_000, drawn)), [10_000, 9_000, 8_000, 8_500, 0, 0, 0]);
    }

    /// The quicker the origin, and the less is wanted, the sooner.
    #[test]
    fn the_first_wait() {
        for (blocks, pace, longest) in
            [(512, 1, 250), (512, 1_000, 10_000), (512, 99_000, 20_480), (4, 99_000, 160)]
        {
            assert_eq!(begins(blocks, pace, u32::MAX), longest);
        }
    }

    /// Who sees others bring blocks waits for more of them, and begins when no more come.
    #[test]
    fn others_are_left_to_it() {
        let mut unseen = Unseen::new(NOW, 512, Duration::from_secs(2), &mut Fixed(u32::MAX));
        for second in 0..60 {
            unseen.brought(NOW + Duration::from_secs(second), 1, &mut Fixed(1 << 31));
            assert!(!unseen.may_get(NOW + Duration::from_secs(second + 1)));
        }
        let at = after(59_000 + 3_000 + 18_000);
        assert_eq!(unseen.poll_timeout(), Some(at));
        assert!(unseen.may_get(at));
        // Who has begun goes on.
        unseen.brought(at, 1, &mut Fixed(1));
        assert!(unseen.may_get(at));
    }

    /// Who got a segment alone does not wait before the next one.
    #[test]
    fn alone_there_is_nobody_to_wait_for() {
        let new = || Unseen::new(NOW, 512, Duration::from_secs(2), &mut Fixed(u32::MAX));
        let begins = |last: &Unseen| new().after(Some(last)).may_get(NOW);
        let mut last = new();
        assert!(!new().after(None).may_get(NOW) && !begins(&last), "it may not be alone");
        assert!(last.may_get(NOW + LONGEST[1]) && begins(&last));
        last.got(NOW, &mut Fixed(0));
        assert!(begins(&last));
        last.brought(NOW, 1, &mut Fixed(1));
        last.got(NOW, &mut Fixed(0));
        assert!(last.may_get(NOW) && !begins(&last), "somebody else is there");
    }

    /// Of more than are needed, some stop; of fewer, none.
    #[test]
    fn there_are_enough_getters() {
        for (brought, drawn, stays) in
            [(0, 3, true), (7, 7, true), (8, 8, false), (39, 47, true), (39, 48, false)]
        {
            let mut unseen = Unseen::new(NOW, 1, Duration::ZERO, &mut Fixed(1));
            assert!(unseen.may_get(NOW));
            unseen.brought(NOW, brought, &mut Fixed(0));
            unseen.takes(5);
            unseen.got(NOW, &mut Fixed(drawn));
            assert_eq!(unseen.may_get(NOW), stays, "{brought} {drawn}");
            assert_eq!([unseen.turn(5), unseen.turn(6), unseen.turn(7)], [1, 0, 1]);
        }
    }
}
