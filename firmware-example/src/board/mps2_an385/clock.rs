//! The time since the start, from SysTick.

use core::cell::Cell;

use cortex_m::interrupt::{self, Mutex};
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use peerdist_core::time::Instant;

/// Ticks a second of the processor's clock, that of the MPS2 images.
pub const CLOCK_HZ: u32 = 25_000_000;

/// Milliseconds since the start.
static MILLIS: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));

/// Begins to count.
pub fn start(systick: &mut SYST) {
    systick.set_clock_source(SystClkSource::Core);
    systick.set_reload(CLOCK_HZ / 1_000 - 1);
    systick.clear_current();
    systick.enable_counter();
    systick.enable_interrupt();
}

/// What time it is.
pub fn now() -> Instant {
    Instant::from_millis(interrupt::free(|free| MILLIS.borrow(free).get()))
}

// In front of each line of the log.
defmt::timestamp!("{=u64:ms}", now().micros() / 1_000);

#[exception]
fn SysTick() {
    interrupt::free(|free| {
        let millis = MILLIS.borrow(free);
        millis.set(millis.get().wrapping_add(1));
    });
}
