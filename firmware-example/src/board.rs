//! QEMU's `mps2-an385`: a Cortex-M3 at 25 MHz with 4 MiB of memory and a LAN9118.
//!
//! What a port to another board replaces is here, and so is all `unsafe` code of this program.

pub mod clock;
pub mod console;
pub mod entropy;
mod faults;
pub mod lan9118;
pub mod watchdog;

use cortex_m::interrupt;

use lan9118::Lan9118;

/// Sleeps until a frame comes or the clock ticks, which is at the latest a millisecond from now.
pub fn idle(card: &mut Lan9118) {
    // With interrupts held back, none comes between the look and the sleep: one that is pending ends
    // the sleep, and is taken afterwards.
    interrupt::free(|_| {
        card.listen();
        if !card.has_frame() {
            cortex_m::asm::wfi();
        }
    });
}
