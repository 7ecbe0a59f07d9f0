//! The log and the end of the program by semihosting: the debugger's, here QEMU's.
//!
//! Each line stops the processor, so nothing is logged where data passes.

use defmt_semihosting as _;

/// Arm's operation that ends a program, with a status.
const SYS_EXIT_EXTENDED: u32 = 0x20;

/// The program ended by itself, with a code.
const APPLICATION_EXIT: u32 = 0x2_0026;

/// Ends QEMU with that status.
pub fn exit(code: u32) -> ! {
    let block = [APPLICATION_EXIT, code];
    loop {
        // SAFETY: the operation takes the address of two words, which live until it returns.
        unsafe { cortex_m::asm::semihosting_syscall(SYS_EXIT_EXTENDED, block.as_ptr() as u32) };
    }
}
