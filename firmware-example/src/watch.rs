//! Saying in the log what others did to us, or the flash, once it has happened: numbers that only the page shows
//! are seen by nobody who is not looking.

use peerdist_core::node;
use peerdist_core::time::{Duration, Instant};

use crate::log::log;
use crate::store;

/// How often the numbers are looked at: so many lines a second at most has each of them.
const EVERY: Duration = Duration::from_secs(1);

/// How many there are: a hosted cache has one more.
const COUNT: usize = if cfg!(feature = "hosted-cache") { 9 } else { 8 };

/// What the numbers count.
const WORDS: [&str; COUNT] = [
    "connections closed for others, as all streams are in use",
    "connections refused, as all streams are busy",
    "uploads ended, as nobody took them",
    "stored blocks found damaged",
    "blocks gone for others, as the store is full",
    "operations of the flash failed",
    "blocks of peers that do not verify",
    "datagrams that are no messages",
    #[cfg(feature = "hosted-cache")]
    "blocks came that clients offered",
];

/// The numbers as they were.
pub struct Watch {
    next: Instant,
    seen: [u32; COUNT],
}

impl Watch {
    /// All numbers are 0.
    pub fn new(now: Instant) -> Self {
        Self { next: now + EVERY, seen: [0; _] }
    }

    /// Whether it is time to look. Nobody is woken for it: numbers grow when something comes.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next <= now
    }

    /// Says what has grown.
    pub fn look(
        &mut self,
        now: Instant,
        counters: &node::Counters,
        store: &store::Numbers,
        #[cfg(feature = "hosted-cache")] offered: u32,
    ) {
        self.next = now + EVERY;
        let numbers = [
            counters.gave_way,
            counters.refused,
            counters.serve.timed_out,
            counters.serve.damaged,
            store.evicted,
            store.failures,
            counters.fetch.bad_blocks,
            counters.malformed_datagrams,
            #[cfg(feature = "hosted-cache")]
            offered,
        ];
        for ((seen, number), words) in self.seen.iter_mut().zip(numbers).zip(WORDS) {
            if number != *seen {
                log!("{} {} (+{})", number, words, number.wrapping_sub(*seen));
                *seen = number;
            }
        }
    }
}
