//! Time as the rows of tables keep it: in four bytes, looked at from now.

use crate::time::{Instant, divide};

/// A point in time, in milliseconds that wrap after 49 days. Nothing but how long ago it was is asked
/// of it, so that a row which was left alone for so long is taken for a new one, for as long as it
/// once was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick(u32);

impl Tick {
    /// The millisecond that `now` lies in.
    #[inline(never)]
    pub(super) const fn of(now: Instant) -> Self {
        Self(divide(now.micros(), 1_000).0 as u32)
    }

    /// Milliseconds from this point to `now`.
    pub(super) const fn age(self, now: Self) -> u32 {
        now.0.wrapping_sub(self.0)
    }
}

#[cfg(test)]
impl core::ops::Add<crate::time::Duration> for Tick {
    type Output = Self;

    fn add(self, span: crate::time::Duration) -> Self {
        Self(self.0.wrapping_add(span.millis() as u32))
    }
}

/// The row that gives way to a new one: that with the least number, of those that have one.
pub(super) fn least(rows: impl Iterator<Item = Option<u32>>) -> Option<usize> {
    let (mut place, mut number) = (None, u32::MAX);
    for (row, other) in rows.enumerate() {
        if let Some(other) = other
            && (other < number || place.is_none())
        {
            (place, number) = (Some(row), other);
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn ages_are_right_where_milliseconds_wrap() {
        let before = Tick::of(Instant::from_millis((1 << 32) - 2));
        let now = Tick::of(Instant::from_millis((1 << 32) + 3));
        assert_eq!((before.age(now), now.age(now)), (5, 0));
        assert_eq!(before + Duration::from_millis(5), now);
    }

    #[test]
    fn the_least_of_those_that_have_a_number() {
        assert_eq!(least([None, Some(3), None, Some(2), Some(2)].into_iter()), Some(3));
        assert_eq!(least([None, Some(u32::MAX)].into_iter()), Some(1));
        assert_eq!(least([None, None].into_iter()), None);
    }
}
