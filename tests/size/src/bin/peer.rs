//! A peer: serves what it has, and reads through the API from peers, the hosted cache, or what the
//! application adds. No downloads of URLs.
#![no_std]
#![no_main]

use peerdist_core::crypto::SoftCrypto;
use peerdist_core::node::Serving;
use peerdist_core::time::Instant;
use size::unknown_u64;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    size::crypto(size::provider(&mut SoftCrypto));
    let mut peer = size::peer::<0, Serving>();
    loop {
        let now = Instant::from_micros(unknown_u64());
        size::turn(&mut peer, now);
        size::add_data(&mut peer);
    }
}
