//! Interrupts of the board that nobody else takes.

use cortex_m::peripheral::NVIC;
use cortex_m_rt::exception;

use super::lan9118;
use crate::board::faults;
use crate::log::log;
use crate::start::Cause;

// SAFETY: it touches no memory of the program that it interrupts, and does not return.
#[exception]
unsafe fn NonMaskableInt() -> ! {
    faults::reset(Cause::Watchdog, 0, || log!("the main loop stands still: the watchdog was not fed"))
}

// SAFETY: it touches only the interrupt of which it is told, and the card's registers by their driver.
#[exception]
unsafe fn DefaultHandler(number: i16) {
    if number == lan9118::IRQ {
        lan9118::hush();
    } else {
        log!("unexpected interrupt {}", number);
        NVIC::mask(lan9118::Line(number.unsigned_abs()));
    }
}
