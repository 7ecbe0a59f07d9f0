//! Whether this computer gives a thread its turn when it is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often that is tried, and how late it may be: the simulation is late by no more without being held up.
const TURN: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_millis(50);

/// A watch over that, which ends with this value.
pub struct Pace(Arc<State>);

#[derive(Default)]
struct State {
    slow: AtomicBool,
    over: AtomicBool,
}

impl Pace {
    /// Watches from now on.
    pub fn watch() -> Self {
        let state = Arc::new(State::default());
        let watched = state.clone();
        thread::spawn(move || {
            while !watched.over.load(Ordering::Relaxed) {
                let start = Instant::now();
                thread::sleep(TURN);
                watched.note(start.elapsed());
            }
        });
        Self(state)
    }

    /// Whether a turn came too late since.
    pub fn was_slow(&self) -> bool {
        self.0.slow.load(Ordering::Relaxed)
    }
}

impl State {
    fn note(&self, turn: Duration) {
        if turn > TURN + LATE {
            self.slow.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_comes_late_is_noted() {
        let pace = Pace(Arc::default());
        pace.0.note(TURN + LATE);
        assert!(!pace.was_slow());
        pace.0.note(TURN + LATE + Duration::from_millis(1));
        assert!(pace.was_slow());
    }
}
