//! Time as it comes in: the machine owns no clock, every call is told what time it is.

use core::num::NonZeroU64;
use core::ops::{Add, AddAssign, Sub};

/// A point in time, in microseconds since an origin that the caller chooses.
///
/// The only promise asked of the caller is that time never runs backwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(
    /// One more than the microseconds, so that a time that may be absent takes no more room than
    /// one that may not: deadlines are most of what tables are full of.
    NonZeroU64,
);

/// A span of time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Duration(u64);

impl Instant {
    /// The caller's origin of time.
    pub const ZERO: Self = Self(NonZeroU64::MIN);

    /// A point `micros` microseconds after the origin; saturates one short of what 64 bits hold.
    pub const fn from_micros(micros: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(micros))
    }

    /// A point `millis` milliseconds after the origin; saturates.
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_micros(millis.saturating_mul(1_000))
    }

    /// Microseconds since the origin.
    pub const fn micros(self) -> u64 {
        self.0.get() - 1
    }

    /// The time since `earlier`, zero if `earlier` is later.
    #[inline(never)]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Default for Instant {
    fn default() -> Self {
        Self::ZERO
    }
}

impl core::fmt::Debug for Instant {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Instant").field(&self.micros()).finish()
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Instant {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Instant({=u64})", self.micros());
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of `micros` microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// A span of `millis` milliseconds; saturates.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// A span of `secs` seconds; saturates.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// The span in microseconds.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The span in whole milliseconds, rounded down.
    pub const fn millis(self) -> u64 {
        divide(self.0, 1_000).0
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    #[inline(never)]
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Add for Duration {
    type Output = Self;

    #[inline(never)]
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// Quotient and remainder; `by` is not zero and less than 2^31.
#[cfg(target_pointer_width = "64")]
#[inline]
pub(crate) const fn divide(value: u64, by: u32) -> (u64, u32) {
    (value / by as u64, (value % by as u64) as u32)
}

/// The same. A division of 64 bits is a library function on small machines, one of the largest, and a bit at
/// a time will do.
#[cfg(not(target_pointer_width = "64"))]
pub(crate) use divide_by_bits as divide;

#[cfg(any(test, not(target_pointer_width = "64")))]
#[inline(never)]
pub(crate) const fn divide_by_bits(value: u64, by: u32) -> (u64, u32) {
    let (mut quotient, mut rest) = (value, 0u32);
    let mut bits = 0;
    while bits < u64::BITS {
        rest = rest << 1 | (quotient >> 63) as u32;
        quotient <<= 1;
        if let Some(less) = rest.checked_sub(by) {
            rest = less;
            quotient |= 1;
        }
        bits += 1;
    }
    (quotient, rest)
}

/// The earlier of two optional deadlines.
#[inline(never)]
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, None) => a,
        (None, b) => b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let end = Instant::from_micros(u64::MAX);
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(Instant::ZERO - end, Duration::ZERO);
        assert_eq!(Instant::from_millis(u64::MAX), end);
        assert_eq!((Instant::ZERO.micros(), end.micros()), (0, u64::MAX - 1));
        assert_eq!(Duration::from_secs(u64::MAX).micros(), u64::MAX);
    }

    #[test]
    fn a_time_that_may_be_absent_takes_no_more_room() {
        assert_eq!(size_of::<Option<Instant>>(), size_of::<Instant>());
        assert!(None < Some(Instant::ZERO) && Instant::ZERO < Instant::from_micros(1));
    }

    #[test]
    fn quotients_and_remainders() {
        for value in [0, 1, 9, 10, 999_999, 1_000_000, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            for by in [1, 3, 10, 1_000, 1_000_000, (1 << 31) - 1] {
                let by_64 = u64::from(by);
                let whole = (value / by_64, (value % by_64) as u32);
                assert_eq!((divide(value, by), divide_by_bits(value, by)), (whole, whole));
            }
        }
    }

    #[test]
    fn earliest_of_two() {
        let (a, b) = (Instant::from_millis(1), Instant::from_millis(2));
        assert_eq!(earliest(Some(b), Some(a)), Some(a));
        assert_eq!(earliest(None, Some(b)), Some(b));
        assert_eq!(earliest(None, None), None);
    }
}
