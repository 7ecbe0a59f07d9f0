//! The board: a counter, a line to print on, and an end. All `unsafe` code of this program is here.

use core::cell::UnsafeCell;
use core::fmt::{self, Write as _};
use core::mem::MaybeUninit;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use core::{ptr, slice};

use cortex_m_rt::{ExceptionFrame, exception};
use heapless::String;

/// The first timer of the CMSDK, which counts down, at 25 MHz.
const CONTROL: usize = 0x4000_0000;
const VALUE: usize = 0x4000_0004;
const RELOAD: usize = 0x4000_0008;

/// Instructions in a tick: QEMU is told that each takes a nanosecond (`-icount shift=0`).
const INSTRUCTIONS: u64 = 40;

/// Arm's operations that print a text that ends with a zero, and end the program with a status.
const SYS_WRITE0: u32 = 0x04;
const SYS_EXIT_EXTENDED: u32 = 0x20;

/// The program ended by itself, with a code.
const APPLICATION_EXIT: u32 = 0x2_0026;

/// The status of a panic, as of a Rust program on a host, and of a fault.
const PANICKED: u32 = 101;
const FAULTED: u32 = 102;

/// Bytes that are lent in all.
const ARENA_BYTES: usize = 3_500 * 1_024;

/// So many values, each made by `make`, for good.
pub fn lend<T>(count: usize, mut make: impl FnMut() -> T) -> &'static mut [T] {
    /// Aligned for whatever is lent.
    #[repr(align(8))]
    struct Arena(UnsafeCell<[MaybeUninit<u8>; ARENA_BYTES]>);
    // SAFETY: there is one thread, and no interrupt.
    unsafe impl Sync for Arena {}
    static ARENA: Arena = Arena(UnsafeCell::new([MaybeUninit::uninit(); ARENA_BYTES]));
    static USED: AtomicUsize = AtomicUsize::new(0);

    assert!(align_of::<T>() <= align_of::<Arena>(), "of a greater alignment than the arena");
    let start = USED.load(Relaxed);
    let end = start + count * size_of::<T>();
    assert!(end <= ARENA_BYTES, "the arena is full");
    USED.store(end.next_multiple_of(align_of::<Arena>()), Relaxed);
    // SAFETY: within the arena, aligned, nobody else's from now on, and written before it is read.
    unsafe {
        let first = ARENA.0.get().cast::<u8>().add(start).cast::<T>();
        (0..count).for_each(|index| first.add(index).write(make()));
        slice::from_raw_parts_mut(first, count)
    }
}

/// Begins to count.
pub fn start_counter() {
    for (register, value) in [(RELOAD, u32::MAX), (VALUE, u32::MAX), (CONTROL, 1)] {
        // SAFETY: registers of the timer, which reads and writes no memory.
        unsafe { ptr::write_volatile(register as *mut u32, value) };
    }
}

/// Instructions since some beginning, modulo 2^32 ticks.
pub fn since(start: u32) -> u64 {
    u64::from(start.wrapping_sub(ticks())) * INSTRUCTIONS
}

/// What the counter shows.
pub fn ticks() -> u32 {
    // SAFETY: a register of the timer.
    unsafe { ptr::read_volatile(VALUE as *const u32) }
}

/// Prints a line; what is too long is cut.
pub fn print(text: fmt::Arguments<'_>) {
    let mut line = String::<256>::new();
    _ = line.write_fmt(text);
    while line.len() + 2 > line.capacity() {
        line.pop();
    }
    _ = line.push_str("\n\0");
    // SAFETY: the operation reads up to the zero at the end, which lives until it returns.
    unsafe { cortex_m::asm::semihosting_syscall(SYS_WRITE0, line.as_ptr() as u32) };
}

/// Ends QEMU with that status.
pub fn exit(code: u32) -> ! {
    let block = [APPLICATION_EXIT, code];
    loop {
        // SAFETY: the operation takes the address of two words, which live until it returns.
        unsafe { cortex_m::asm::semihosting_syscall(SYS_EXIT_EXTENDED, block.as_ptr() as u32) };
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    print(format_args!("{info}"));
    exit(PANICKED)
}

// SAFETY: it does not return.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    print(format_args!("fault at pc {:#010x}", frame.pc()));
    exit(FAULTED)
}
