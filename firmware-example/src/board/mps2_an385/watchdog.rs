//! The CMSDK's watchdog: not fed, it interrupts first and then resets the machine.

use core::ptr;

use super::clock::CLOCK_HZ;

/// Seconds without food before it interrupts. It counts on while QEMU waits for the processor of a busy host.
const SECONDS: u32 = 16;

const LOAD: usize = 0x4000_8000;
const CONTROL: usize = 0x4000_8008;
const CLEAR: usize = 0x4000_800c;
const LOCK: usize = 0x4000_8c00;

/// What opens the registers for writing.
const KEY: u32 = 0x1acc_e551;

/// It interrupts, and resets when that was in vain.
const ENABLED: u32 = 0b11;

/// The board's.
pub struct Dog(());

impl Dog {
    /// Starts it. It cannot be stopped.
    pub fn start() -> Self {
        for (register, value) in [(LOCK, KEY), (LOAD, SECONDS * CLOCK_HZ), (CONTROL, ENABLED)] {
            write(register, value);
        }
        Self(())
    }

    /// The main loop is alive.
    pub fn feed(&mut self) {
        // Clearing its interrupt makes it count from the beginning.
        write(CLEAR, 1);
    }
}

fn write(register: usize, value: u32) {
    // SAFETY: this is called with the addresses above alone, which are the watchdog's registers; it
    // reads and writes no memory.
    unsafe { ptr::write_volatile(register as *mut u32, value) }
}
