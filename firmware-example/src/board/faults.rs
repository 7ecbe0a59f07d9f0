//! Panics and faults of a Cortex-M: they leave a note in memory that outlives a reset, say what happened, and
//! reset the machine. What was committed is on flash.

use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m::peripheral::SCB;
use cortex_m::register::msp;
use cortex_m_rt::{ExceptionFrame, exception};

use crate::log::log;
use crate::start::{Cause, Start};

/// Words of a note: a magic number, the cause, where it was, and the sum of these.
type Note = [u32; 4];

/// Memory that a reset leaves as it is, and a start does not fill.
#[unsafe(link_section = ".uninit.note")]
static mut NOTE: Note = [0; 4];

const MAGIC: u32 = u32::from_le_bytes(*b"note");

/// Words of the stack that are searched for return addresses.
const DEPTH: usize = 128;

/// A tenth of a second, in cycles.
#[cfg(feature = "stm32h743")]
const MOMENT: u32 = 40_000_000;

unsafe extern "C" {
    /// Of the linker script: their addresses alone count.
    static __stext: u8;
    static __etext: u8;
    static _stack_start: u8;
}

/// What the program before this one left, once; `starts` is still to be counted.
pub fn take_note() -> Start {
    // SAFETY: four words that only this file uses, here before there is any other code that could, and in
    // handlers that do not return. Any bits are a word.
    let [magic, cause, at, sum] = unsafe { ptr::read_volatile(&raw const NOTE) };
    let cause = match cause {
        1 => Cause::Watchdog,
        2 => Cause::Panic,
        3 => Cause::Fault,
        _ => Cause::Outside,
    };
    let whole = magic == MAGIC && sum == check(cause, at);
    write([0; 4]);
    if whole { Start { starts: 0, cause, at } } else { Start { starts: 0, cause: Cause::Outside, at: 0 } }
}

/// Leaves a note, and resets the machine. `say` has the rest to tell.
pub fn reset(cause: Cause, at: u32, say: impl FnOnce()) -> ! {
    static ENDING: AtomicBool = AtomicBool::new(false);
    // Should the log itself be what failed, the note of the first failure stays, and nobody is told twice.
    if !ENDING.swap(true, Ordering::Relaxed) {
        write([MAGIC, number(cause), at, check(cause, at)]);
        say();
        // A debug probe fetches the log from memory, and is given a moment to do so.
        #[cfg(feature = "stm32h743")]
        cortex_m::asm::delay(MOMENT);
    }
    SCB::sys_reset()
}

fn number(cause: Cause) -> u32 {
    match cause {
        Cause::Outside => 0,
        Cause::Watchdog => 1,
        Cause::Panic => 2,
        Cause::Fault => 3,
    }
}

fn check(cause: Cause, at: u32) -> u32 {
    !(MAGIC.wrapping_add(number(cause)) ^ at)
}

fn write(note: Note) {
    // SAFETY: as in `take_note`.
    unsafe { ptr::write_volatile(&raw mut NOTE, note) }
}

/// Where somebody came from who called what has `sp` as its stack: the first word there that could be a return
/// address. Messages and names of files would take 20 KB of the image; with this, `addr2line` has the line.
#[allow(clippy::ptr_as_ptr, reason = "an address of the linker's, as a number")]
fn caller(sp: u32, mut skip: usize) -> u32 {
    let text = (&raw const __stext) as u32..(&raw const __etext) as u32;
    let end = (&raw const _stack_start) as u32;
    for at in (sp..end).step_by(4).take(DEPTH) {
        // SAFETY: from the stack pointer up to the end of the stack there is memory, and words are aligned.
        let word = unsafe { ptr::read_volatile(at as *const u32) };
        // Code of Thumb has an odd address.
        if word % 2 == 1 && text.contains(&word) {
            if skip == 0 {
                return word - 1;
            }
            skip -= 1;
        }
    }
    0
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    let sp = msp::read();
    let at = caller(sp, 0);
    reset(Cause::Panic, at, || {
        log!("panicked at {:#010x}, called from {:#010x} or {:#010x}", at, caller(sp, 1), caller(sp, 2));
    })
}

// SAFETY: all faults end here, as none of them is enabled by itself; it does not return.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    // SAFETY: the registers of the system control block are always there, and reading these changes
    // nothing.
    let scb = unsafe { &*SCB::PTR };
    reset(Cause::Fault, frame.pc(), || {
        log!(
            "fault at {:#010x}, called from {:#010x}: cfsr {:#010x}, hfsr {:#010x}, bfar {:#010x}",
            frame.pc(),
            frame.lr(),
            scb.cfsr.read(),
            scb.hfsr.read(),
            scb.bfar.read(),
        );
    })
}
