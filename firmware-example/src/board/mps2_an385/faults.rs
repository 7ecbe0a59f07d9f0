//! What ends the program: it says why, and QEMU exits with a status of its own for each.

use core::panic::PanicInfo;

use cortex_m::peripheral::{NVIC, SCB};
use cortex_m_rt::{ExceptionFrame, exception};

use super::{console, lan9118};
use crate::log::log;

/// The status of a panic, as of a Rust program on a host.
const PANICKED: u32 = 101;

/// The status of a fault.
const FAULTED: u32 = 102;

/// The status when the watchdog was not fed.
const STARVED: u32 = 103;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    log!("panicked");
    console::exit(PANICKED)
}

// SAFETY: all faults end here, as none of them is enabled by itself; it does not return.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    // SAFETY: the registers of the system control block are always there, and reading these changes
    // nothing.
    let scb = unsafe { &*SCB::PTR };
    log!(
        "fault at pc {:#010x}, lr {:#010x}: cfsr {:#010x}, hfsr {:#010x}, bfar {:#010x}",
        frame.pc(),
        frame.lr(),
        scb.cfsr.read(),
        scb.hfsr.read(),
        scb.bfar.read(),
    );
    console::exit(FAULTED)
}

// SAFETY: it touches no memory of the program that it interrupts.
#[exception]
unsafe fn NonMaskableInt() -> ! {
    log!("the main loop stands still: the watchdog was not fed");
    console::exit(STARVED)
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
