//! Seconds for stores, which have no clock of their own.

use peerdist_core::time::Instant;

/// A time of day, which goes on with the time that a [`Store`](peerdist_core::store::Store) is told.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    /// Seconds when it was set.
    seconds: u64,
    /// What the store had been told last by then, or was told first.
    set: Option<Instant>,
    /// What it has been told last.
    told: Option<Instant>,
}

impl Clock {
    pub(crate) const fn new(seconds: u64) -> Self {
        Self { seconds, set: None, told: None }
    }

    pub(crate) fn set(&mut self, seconds: u64) {
        *self = Self { seconds, set: self.told, told: self.told };
    }

    /// Goes on to `now`. Whether it is the first time, or another second.
    pub(crate) fn tell(&mut self, now: Instant) -> bool {
        let before = self.told.map(|_| self.now());
        (self.set, self.told) = (self.set.or(Some(now)), Some(now));
        before != Some(self.now())
    }

    /// Seconds by what was told last.
    pub(crate) fn now(&self) -> u64 {
        self.told.map_or(self.seconds, |told| self.at(told))
    }

    /// Seconds at `now`.
    pub(crate) fn at(&self, now: Instant) -> u64 {
        let passed = self.set.map_or(0, |set| now.since(set).millis() / 1_000);
        self.seconds.saturating_add(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_where_it_was_set() {
        let at = |seconds: u64| Instant::from_millis(seconds * 1_000 + 7);
        let mut clock = Clock::new(100);
        assert_eq!((clock.now(), clock.at(at(9))), (100, 100));
        assert!(clock.tell(at(20)) && !clock.tell(at(20)));
        assert_eq!((clock.now(), clock.at(at(25))), (100, 105));
        assert!(clock.tell(at(30)));
        assert_eq!((clock.now(), clock.at(at(31))), (110, 111));
        clock.set(500);
        assert_eq!((clock.now(), clock.at(at(31))), (500, 501));
        clock.tell(at(40));
        assert_eq!(clock.now(), 510);
        clock.set(u64::MAX);
        assert_eq!(clock.at(at(99)), u64::MAX);
    }
}
