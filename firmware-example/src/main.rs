//! peerdist on a bare Cortex-M3.
//!
//! So far this proves one thing: that the core links, and the smoltcp adapter compiles, without
//! an operating system, an allocator or `std`. It derives the identifier of a segment, as a
//! content server and a client both must, and sleeps; it speaks to no network and no board.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;

use cortex_m_rt::entry;
use peerdist_core::content::{segment_id, segment_secret, server_secret};
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto, hash};
// The adapter compiles with smoltcp for this target. Nothing of it is called yet.
extern crate peerdist_hal as _;

#[entry]
fn main() -> ! {
    let algorithm = HashAlgorithm::Sha256;
    let crypto = &mut SoftCrypto;
    let block_hash = hash(crypto, algorithm, black_box(b"one small block"));
    let hod = hash(crypto, algorithm, block_hash.as_bytes());
    let ks = server_secret(crypto, algorithm, black_box(b"server secret key"));
    let kp = segment_secret(crypto, algorithm, &ks, &hod);
    // Without this the optimiser would see that nobody looks at the result, and link nothing.
    black_box(segment_id(crypto, algorithm, &kp, &hod));
    loop {
        cortex_m::asm::wfi();
    }
}

/// There is no console to complain to: stop, where a debugger finds the panic.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        cortex_m::asm::udf();
    }
}
