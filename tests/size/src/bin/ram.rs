//! The memory of a node, as statics that are as large: with four streams and two blocks in flight, and with a
//! third block.
#![no_std]
#![no_main]

use peerdist_core::crypto::SoftCrypto;
use peerdist_core::node::Node;
use size::{AnyStore, Entropy, keep};

type Peer<const BLOCKS: usize> = Node<AnyStore, SoftCrypto, Entropy, 4, BLOCKS>;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[used]
#[unsafe(no_mangle)]
static NODE: [u8; size_of::<Peer<2>>()] = [0; size_of::<Peer<2>>()];

#[used]
#[unsafe(no_mangle)]
static NODE_FOR_ONE_BLOCK_MORE: [u8; size_of::<Peer<3>>()] = [0; size_of::<Peer<3>>()];

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    loop {
        keep(&NODE);
        keep(&NODE_FOR_ONE_BLOCK_MORE);
    }
}
