//! One direction of a cable, in the words of netem: `rate`, `delay` and `jitter`, `loss`, `duplicate`, `reorder`
//! and `corrupt`, and a queue before it.
//!
//! A link holds no frames. [`Link::send`] says when a frame that enters now arrives, as how many copies, and
//! with which bit flipped; the world keeps it until then.
//!
//! What a link does to a frame is drawn in one order: loss, the flipped bit, jitter, reordering; then whether
//! there is a copy, which has the same said about it again. What cannot happen draws nothing, so a fault that
//! is not asked for changes no run.

use peerdist_core::time::{Duration, Instant};
use rand_core::Rng as _;

use crate::rng::{Rng, Seed};

/// What a frame costs on the wire beyond its bytes: preamble 8, check sequence 4, gap 12.
pub const FRAME_OVERHEAD: usize = 24;

/// The shortest frame that Ethernet sends, without its check sequence: shorter ones are padded.
pub const MIN_FRAME: usize = 60;

/// How many bytes wait before a link when its configuration says nothing else.
///
/// Room for the full windows of a dozen connections, so that on a clean network nothing is dropped.
pub const DEFAULT_QUEUE: u64 = 1024 * 1024;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// What a link is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// Bits per second; zero counts as one.
    pub rate: u64,
    /// The time from a frame's last bit in to its last bit out.
    pub delay: Duration,
    /// By how much a frame's delay differs from `delay` at most, either way; all differences are equally likely.
    /// Frames may overtake each other by it.
    pub jitter: Duration,
    /// How many frames are lost on the way, each for itself.
    pub loss: Probability,
    /// How many frames are followed by a copy, which takes its own time on the wire and its own chances.
    pub duplicate: Probability,
    /// How many frames arrive without any delay, and so overtake those before them.
    pub reorder: Probability,
    /// How many frames arrive with one bit flipped, anywhere in them.
    pub corrupt: Probability,
    /// Bytes that wait before the link, including the frame being sent; what comes on top is dropped.
    pub queue: u64,
}

impl LinkConfig {
    /// A link that does nothing to its frames, with the usual queue.
    pub const fn new(rate: u64, delay: Duration) -> Self {
        Self {
            rate,
            delay,
            jitter: Duration::ZERO,
            loss: Probability::NEVER,
            duplicate: Probability::NEVER,
            reorder: Probability::NEVER,
            corrupt: Probability::NEVER,
            queue: DEFAULT_QUEUE,
        }
    }
}

/// How likely it is that something happens to a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probability {
    /// Out of 2^32.
    parts: u64,
}

impl Probability {
    /// It happens to no frame.
    pub const NEVER: Self = Self { parts: 0 };

    /// So many per cent; `None` unless it lies between 0 and 100.
    pub fn from_percent(percent: f64) -> Option<Self> {
        // The range excludes NaN too.
        (0.0..=100.0)
            .contains(&percent)
            .then(|| Self { parts: (percent / 100.0 * 4_294_967_296.0).round() as u64 })
    }

    /// In per cent.
    pub fn percent(self) -> f64 {
        self.parts as f64 / 4_294_967_296.0 * 100.0
    }

    fn strikes(self, rng: &mut Rng) -> bool {
        self.parts != 0 && u64::from(rng.next_u32()) < self.parts
    }
}

/// What has happened on a link so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Frames that entered, whether they arrive or not.
    pub frames: u64,
    /// Their bytes, without [`FRAME_OVERHEAD`].
    pub bytes: u64,
    /// Frames lost on the way.
    pub lost: u64,
    /// Frames that found the queue full, copies included.
    pub dropped: u64,
    /// Frames that were followed by a copy.
    pub duplicated: u64,
    /// Frames that arrived without delay, copies included.
    pub reordered: u64,
    /// Frames that arrived with a bit flipped, copies included.
    pub corrupted: u64,
}

/// A frame reaches the end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// The bit that is flipped, counted from the frame's first.
    pub flipped: Option<usize>,
}

/// What becomes of a frame: it arrives or not, and so does its copy, if it has one.
pub type Arrivals = [Option<Arrival>; 2];

/// One direction of a cable.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    rng: Rng,
    /// When the last frame's last bit leaves, in nanoseconds: at 1 Gbit/s a microsecond is 125 bytes,
    /// too coarse to add up.
    busy_until: u64,
    /// How long a full queue takes to send, in nanoseconds.
    queue_nanos: u64,
    stats: LinkStats,
}

impl Link {
    /// An idle link, whose chances are drawn from `seed`.
    pub fn new(config: LinkConfig, seed: &Seed) -> Self {
        let queue_nanos = nanos(config.queue, config.rate);
        Self { config, rng: seed.rng(), busy_until: 0, queue_nanos, stats: LinkStats::default() }
    }

    /// A frame of `length` bytes enters: when it arrives, or that it does not because it is lost or dropped.
    ///
    /// Without jitter and reordering, frames arrive in the order in which they entered.
    pub fn send(&mut self, now: Instant, length: usize) -> Arrivals {
        self.stats.frames += 1;
        self.stats.bytes += length as u64;
        let frame = self.pass(now, length);
        if !self.config.duplicate.strikes(&mut self.rng) {
            return [frame, None];
        }
        self.stats.duplicated += 1;
        [frame, self.pass(now, length)]
    }

    fn pass(&mut self, now: Instant, length: usize) -> Option<Arrival> {
        let now = now.micros().saturating_mul(1_000);
        let wire_bytes = (length.max(MIN_FRAME) + FRAME_OVERHEAD) as u64;
        let send_nanos = nanos(wire_bytes, self.config.rate);
        let waiting = self.busy_until.saturating_sub(now);
        // An idle link takes any frame, however small the queue.
        if waiting > 0 && waiting.saturating_add(send_nanos) > self.queue_nanos {
            self.stats.dropped += 1;
            return None;
        }
        self.busy_until = self.busy_until.max(now).saturating_add(send_nanos);

        // A frame lost on the way has taken its time on the wire like any other.
        if self.config.loss.strikes(&mut self.rng) {
            self.stats.lost += 1;
            return None;
        }
        let flipped = self.flip(length);
        let delay = self.delay();
        Some(Arrival { at: Instant::from_micros(self.busy_until.div_ceil(1_000)) + delay, flipped })
    }

    fn flip(&mut self, length: usize) -> Option<usize> {
        let bits = length as u64 * 8;
        if bits == 0 || !self.config.corrupt.strikes(&mut self.rng) {
            return None;
        }
        self.stats.corrupted += 1;
        Some((self.rng.next_u64() % bits) as usize)
    }

    fn delay(&mut self) -> Duration {
        let LinkConfig { delay, jitter, reorder, .. } = self.config;
        let micros = match jitter.micros() {
            0 => delay.micros(),
            // Between `delay - jitter` and `delay + jitter`, both included.
            jitter => {
                let drawn = self.rng.next_u64() % jitter.saturating_mul(2).saturating_add(1);
                delay.micros().saturating_add(drawn).saturating_sub(jitter)
            }
        };
        if reorder.strikes(&mut self.rng) {
            self.stats.reordered += 1;
            return Duration::ZERO;
        }
        Duration::from_micros(micros)
    }

    /// What the link is like.
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// What has happened so far.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }
}

/// How long `bytes` take at `rate`, rounded up.
fn nanos(bytes: u64, rate: u64) -> u64 {
    let nanos = (u128::from(bytes) * 8 * u128::from(NANOS_PER_SEC)).div_ceil(u128::from(rate.max(1)));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAN: LinkConfig = LinkConfig::new(2_000_000, Duration::from_millis(50));

    fn link(config: LinkConfig) -> Link {
        Link::new(config, &Seed::new(1))
    }

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    /// A frame arrives once, whole, at so many microseconds.
    fn whole(micros: u64) -> Arrivals {
        [Some(Arrival { at: at(micros), flipped: None }), None]
    }

    const NOWHERE: Arrivals = [None, None];

    fn percent(percent: f64) -> Probability {
        Probability::from_percent(percent).unwrap()
    }

    #[test]
    fn a_frame_takes_its_bits_over_the_rate_and_then_the_delay() {
        let mut wan = link(WAN);
        // 1514 + 24 bytes at 4 us each, then 50 ms.
        assert_eq!(wan.send(at(0), 1514), whole(6_152 + 50_000));
        // The next one waits for the first to leave.
        assert_eq!(wan.send(at(1_000), 1514), whole(12_304 + 50_000));
        // A short frame is padded to 60 bytes: 84 on the wire. The link has been idle meanwhile.
        assert_eq!(wan.send(at(1_000_000), 42), whole(1_000_336 + 50_000));
    }

    #[test]
    fn fractions_of_a_microsecond_add_up() {
        let mut lan = link(LinkConfig { rate: 1_000_000_000, delay: Duration::ZERO, queue: u64::MAX, ..WAN });
        // 12.304 us each: a thousand of them take 12,304 us and not 13,000.
        let last = (0..1_000).map(|_| lan.send(at(0), 1514)).last();
        assert_eq!(last, Some(whole(12_304)));
    }

    #[test]
    fn a_full_queue_drops_and_drains() {
        let mut wan = link(LinkConfig { queue: 4_000, ..WAN });
        let arrivals: Vec<bool> = (0..4).map(|_| wan.send(at(0), 1514) != NOWHERE).collect();
        // Two frames are 3,076 bytes on the wire; a third would be 4,614.
        assert_eq!(arrivals, [true, true, false, false]);
        // 2,456 us later the first 614 bytes have gone.
        assert_eq!(wan.send(at(2_455), 1514), NOWHERE);
        assert_eq!(wan.send(at(2_456), 1514), whole(18_456 + 50_000));
        assert_eq!(wan.stats(), LinkStats { frames: 6, bytes: 6 * 1514, dropped: 3, ..LinkStats::default() });
    }

    #[test]
    fn an_idle_link_takes_a_frame_larger_than_its_queue() {
        let mut wan = link(LinkConfig { queue: 0, ..WAN });
        assert_ne!(wan.send(at(0), 1514), NOWHERE);
        assert_eq!(wan.send(at(0), 60), NOWHERE);
    }

    #[test]
    fn losses_come_at_the_rate_asked_for_and_from_the_seed() {
        let lossy = |loss, seed| {
            let loss = percent(loss);
            let mut link = Link::new(LinkConfig { loss, queue: u64::MAX, ..WAN }, &Seed::new(seed));
            (0..10_000).map(|_| link.send(at(0), 60) == NOWHERE).collect::<Vec<_>>()
        };
        let count = |lost: &[bool]| lost.iter().filter(|&&lost| lost).count();
        assert!((400..600).contains(&count(&lossy(5.0, 1))));
        assert_eq!(lossy(5.0, 1), lossy(5.0, 1));
        assert_ne!(lossy(5.0, 1), lossy(5.0, 2));
        assert_eq!(count(&lossy(0.0, 1)), 0);
        assert_eq!(count(&lossy(100.0, 1)), 10_000);
    }

    #[test]
    fn a_copy_follows_its_frame_and_takes_its_own_time_on_the_wire() {
        let mut wan = link(LinkConfig { duplicate: percent(100.0), ..WAN });
        let [frame, copy] = wan.send(at(0), 1514);
        assert_eq!([frame, None], whole(6_152 + 50_000));
        assert_eq!([copy, None], whole(12_304 + 50_000));
        assert_eq!([wan.send(at(0), 1514)[0], None], whole(18_456 + 50_000));
        // Two frames entered, whatever came of them.
        assert_eq!(wan.stats(), LinkStats { frames: 2, bytes: 3028, duplicated: 2, ..LinkStats::default() });
    }

    #[test]
    fn a_copy_finds_the_queue_full_like_any_frame() {
        let mut wan = link(LinkConfig { duplicate: percent(100.0), queue: 0, ..WAN });
        assert_eq!(wan.send(at(0), 1514), whole(6_152 + 50_000));
        assert_eq!((wan.stats().duplicated, wan.stats().dropped), (1, 1));
    }

    #[test]
    fn a_reordered_frame_overtakes_and_still_waits_for_the_wire() {
        let mut wan = link(LinkConfig { reorder: percent(50.0), ..WAN });
        let arrivals: Vec<u64> =
            (1..=1_000).map(|n| wan.send(at(0), 42)[0].unwrap().at.micros() - 336 * n).collect();
        // 84 bytes on the wire take 336 us; of the delay a frame has all or nothing.
        assert!(arrivals.iter().all(|&delay| delay == 50_000 || delay == 0));
        let overtaking = arrivals.iter().filter(|&&delay| delay == 0).count();
        assert!((400..600).contains(&overtaking), "{overtaking}");
        assert_eq!(wan.stats().reordered, overtaking as u64);
    }

    #[test]
    fn jitter_reaches_both_of_its_ends_and_no_further() {
        let mut wan = link(LinkConfig { jitter: Duration::from_micros(2), ..WAN });
        let mut delays: Vec<u64> =
            (0..100).map(|n| wan.send(at(n * 1_000), 42)[0].unwrap().at.micros() - n * 1_000 - 336).collect();
        delays.sort_unstable();
        delays.dedup();
        assert_eq!(delays, [49_998, 49_999, 50_000, 50_001, 50_002]);
    }

    #[test]
    fn corruption_flips_one_bit_anywhere() {
        let mut wan = link(LinkConfig { corrupt: percent(100.0), ..WAN });
        let mut bits: Vec<usize> =
            (0..1_000).map(|n| wan.send(at(n * 1_000), 2)[0].unwrap().flipped.unwrap()).collect();
        bits.sort_unstable();
        bits.dedup();
        assert_eq!(bits, (0..16).collect::<Vec<_>>());
        assert_eq!(wan.stats().corrupted, 1_000);
        // There is nothing to flip in nothing.
        assert_eq!(wan.send(at(2_000_000), 0)[0].unwrap().flipped, None);
    }

    #[test]
    fn what_cannot_happen_draws_nothing() {
        let loss = percent(5.0);
        let mut lossy = link(LinkConfig { loss, queue: u64::MAX, ..WAN });
        let mut rng = Seed::new(1).rng();
        for _ in 0..1_000 {
            // One draw for each frame: whether it is lost.
            assert_eq!(lossy.send(at(0), 60) == NOWHERE, u64::from(rng.next_u32()) < loss.parts);
        }
    }

    #[test]
    fn with_every_fault_a_link_repeats_itself() {
        let arrivals = |seed| {
            let some = percent(20.0);
            let config = LinkConfig {
                jitter: Duration::from_millis(5),
                loss: some,
                duplicate: some,
                reorder: some,
                corrupt: some,
                ..WAN
            };
            let mut link = Link::new(config, &Seed::new(seed));
            (0..500).map(|n| link.send(at(n * 7_000), 1514)).collect::<Vec<_>>()
        };
        assert_eq!(arrivals(1), arrivals(1));
        assert_ne!(arrivals(1), arrivals(2));
    }

    #[test]
    fn a_probability_is_a_percentage() {
        for wrong in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Probability::from_percent(wrong), None);
        }
        assert_eq!(Probability::from_percent(12.5).map(Probability::percent), Some(12.5));
    }
}
