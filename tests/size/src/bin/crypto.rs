//! The crypto provider alone: what the other harnesses are compared with.
#![no_std]
#![no_main]

use peerdist_core::crypto::SoftCrypto;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    loop {
        size::crypto(size::provider(&mut SoftCrypto));
    }
}
