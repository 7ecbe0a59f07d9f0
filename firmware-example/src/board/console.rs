//! Lines for a person, and the end of the program, by semihosting: the debugger's, here QEMU's.
//!
//! Each call stops the processor, so nothing is printed where data passes.

use core::fmt::{self, Write};

/// Bytes of the longest line; what is longer is cut.
const LINE_BYTES: usize = 160;

// Operations of Arm's semihosting.
const SYS_WRITE0: u32 = 0x04;
const SYS_EXIT_EXTENDED: u32 = 0x20;

/// The program ended by itself, with a code.
const APPLICATION_EXIT: u32 = 0x2_0026;

/// Prints one line.
pub fn line(text: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; LINE_BYTES], len: 0 };
    // What does not fit is cut.
    let _ = line.write_fmt(text);
    line.print();
}

/// Ends QEMU with that status.
pub fn exit(code: u32) -> ! {
    let block = [APPLICATION_EXIT, code];
    loop {
        // SAFETY: the operation takes the address of two words, which live until it returns.
        unsafe { cortex_m::asm::semihosting_syscall(SYS_EXIT_EXTENDED, block.as_ptr() as u32) };
    }
}

struct Line {
    bytes: [u8; LINE_BYTES],
    len: usize,
}

impl Line {
    fn print(mut self) {
        // Behind the text there is room for the end of the line and of the string.
        self.len = self.len.min(LINE_BYTES - 2);
        self.bytes[self.len] = b'\n';
        self.bytes[self.len + 1] = 0;
        // SAFETY: the operation reads a string up to its zero, which is inside of `bytes`.
        unsafe { cortex_m::asm::semihosting_syscall(SYS_WRITE0, self.bytes.as_ptr() as u32) };
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(text.bytes()) {
            *place = byte;
            self.len += 1;
        }
        Ok(())
    }
}
