//! One direction of a cable, in the words of netem: `rate`, `delay`, `loss`, and a queue before it.
//!
//! A link holds no frames. [`Link::send`] says when a frame that enters now arrives, or that it never will;
//! the world keeps it until then.

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
    /// How many frames are lost on the way, each for itself.
    pub loss: Loss,
    /// Bytes that wait before the link, including the frame being sent; what comes on top is dropped.
    pub queue: u64,
}

/// The probability that a frame is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Out of 2^32.
    parts: u64,
}

impl Loss {
    /// No frame is lost.
    pub const NONE: Self = Self { parts: 0 };

    /// A loss in per cent; `None` unless it lies between 0 and 100.
    pub fn from_percent(percent: f64) -> Option<Self> {
        // The range excludes NaN too.
        (0.0..=100.0)
            .contains(&percent)
            .then(|| Self { parts: (percent / 100.0 * 4_294_967_296.0).round() as u64 })
    }

    /// The loss in per cent.
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
    /// Frames that found the queue full.
    pub dropped: u64,
}

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
    /// An idle link, whose losses are drawn from `seed`.
    pub fn new(config: LinkConfig, seed: &Seed) -> Self {
        let queue_nanos = nanos(config.queue, config.rate);
        Self { config, rng: seed.rng(), busy_until: 0, queue_nanos, stats: LinkStats::default() }
    }

    /// A frame of `length` bytes enters: when it arrives, or `None` if it is lost or dropped.
    ///
    /// Frames arrive in the order in which they entered.
    pub fn send(&mut self, now: Instant, length: usize) -> Option<Instant> {
        self.stats.frames += 1;
        self.stats.bytes += length as u64;

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
        Some(Instant::from_micros(self.busy_until.div_ceil(1_000)) + self.config.delay)
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

    const WAN: LinkConfig = LinkConfig {
        rate: 2_000_000,
        delay: Duration::from_millis(50),
        loss: Loss::NONE,
        queue: DEFAULT_QUEUE,
    };

    fn link(config: LinkConfig) -> Link {
        Link::new(config, &Seed::new(1))
    }

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn a_frame_takes_its_bits_over_the_rate_and_then_the_delay() {
        let mut wan = link(WAN);
        // 1514 + 24 bytes at 4 us each, then 50 ms.
        assert_eq!(wan.send(at(0), 1514), Some(at(6_152 + 50_000)));
        // The next one waits for the first to leave.
        assert_eq!(wan.send(at(1_000), 1514), Some(at(12_304 + 50_000)));
        // A short frame is padded to 60 bytes: 84 on the wire. The link has been idle meanwhile.
        assert_eq!(wan.send(at(1_000_000), 42), Some(at(1_000_336 + 50_000)));
    }

    #[test]
    fn fractions_of_a_microsecond_add_up() {
        let mut lan = link(LinkConfig { rate: 1_000_000_000, delay: Duration::ZERO, queue: u64::MAX, ..WAN });
        // 12.304 us each: a thousand of them take 12,304 us and not 13,000.
        let last = (0..1_000).map(|_| lan.send(at(0), 1514)).last();
        assert_eq!(last, Some(Some(at(12_304))));
    }

    #[test]
    fn a_full_queue_drops_and_drains() {
        let mut wan = link(LinkConfig { queue: 4_000, ..WAN });
        let arrivals: Vec<bool> = (0..4).map(|_| wan.send(at(0), 1514).is_some()).collect();
        // Two frames are 3,076 bytes on the wire; a third would be 4,614.
        assert_eq!(arrivals, [true, true, false, false]);
        // 2,456 us later the first 614 bytes have gone.
        assert_eq!(wan.send(at(2_455), 1514), None);
        assert_eq!(wan.send(at(2_456), 1514), Some(at(18_456 + 50_000)));
        assert_eq!(wan.stats(), LinkStats { frames: 6, bytes: 6 * 1514, lost: 0, dropped: 3 });
    }

    #[test]
    fn an_idle_link_takes_a_frame_larger_than_its_queue() {
        let mut wan = link(LinkConfig { queue: 0, ..WAN });
        assert!(wan.send(at(0), 1514).is_some());
        assert_eq!(wan.send(at(0), 60), None);
    }

    #[test]
    fn losses_come_at_the_rate_asked_for_and_from_the_seed() {
        let lossy = |percent, seed| {
            let loss = Loss::from_percent(percent).unwrap();
            let mut link = Link::new(LinkConfig { loss, queue: u64::MAX, ..WAN }, &Seed::new(seed));
            (0..10_000).map(|_| link.send(at(0), 60).is_none()).collect::<Vec<_>>()
        };
        let count = |lost: &[bool]| lost.iter().filter(|&&lost| lost).count();
        assert!((400..600).contains(&count(&lossy(5.0, 1))));
        assert_eq!(lossy(5.0, 1), lossy(5.0, 1));
        assert_ne!(lossy(5.0, 1), lossy(5.0, 2));
        assert_eq!(count(&lossy(0.0, 1)), 0);
        assert_eq!(count(&lossy(100.0, 1)), 10_000);
    }

    #[test]
    fn a_loss_is_a_percentage() {
        for wrong in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Loss::from_percent(wrong), None);
        }
        assert_eq!(Loss::from_percent(12.5).map(Loss::percent), Some(12.5));
    }
}
