//! Everything: a node that serves, fetches, and downloads from origins.
#![no_std]
#![no_main]

use peerdist_core::crypto::SoftCrypto;
use peerdist_core::download::Url;
use peerdist_core::node::{DOWNLOADS, Serving};
use peerdist_core::time::Instant;
use size::{any, unknown_u64};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    size::crypto(size::provider(&mut SoftCrypto));
    let mut peer = size::peer::<DOWNLOADS, Serving>();
    loop {
        let now = Instant::from_micros(unknown_u64());
        size::turn(&mut peer, now);
        size::add_data(&mut peer);
        if let (Ok(host), Ok(path)) = (any("a").try_into(), any("/").try_into())
            && let Some(download) = peer.download(now, Url { origin: size::address(), host, path })
        {
            peer.cancel_download(download);
        }
    }
}
