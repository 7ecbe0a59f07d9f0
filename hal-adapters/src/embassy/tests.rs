extern crate std;

use core::sync::atomic::{AtomicBool, Ordering};
use std::boxed::Box;
use std::sync::Arc;
use std::task::Wake;
use std::vec::Vec;

use embassy_net::StackResources;
use embassy_net_driver_channel::State;
use embassy_net_driver_channel::driver::HardwareAddress;

use super::*;
use crate::machine::at_hand::AtHand;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// However much is at hand, others have their turn in between: it wakes itself, and waits like them.
#[test]
fn a_turn_hands_out_so_many_pieces() {
    // A card without frames, which nobody moves.
    let state = Box::leak(Box::new(State::<64, 1, 1>::new()));
    let hardware = HardwareAddress::Ethernet([2, 0, 0, 0, 0, 1]);
    let (_card, device) = embassy_net_driver_channel::new(state, hardware);
    let mut resources = StackResources::<2>::new();
    let (stack, _runner) = embassy_net::new(device, embassy_net::Config::default(), &mut resources, 1);
    let mut udp = UdpSocket::new(stack, &mut [], &mut [], &mut [], &mut []);

    let node = RefCell::new(AtHand::new(2 * PIECES + 1));
    let waker = RefCell::new(WakerRegistration::new());
    let desk = Desk { port: 80, waker, drained: Cell::new(false), dropped_datagrams: Cell::new(0) };
    let shared = Shared { node: &node, sockets: &[], desk: &desk };
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let task = Waker::from(flag.clone());
    let mut turns = Vec::new();
    while turns.last() != Some(&0) {
        flag.0.store(false, Ordering::Relaxed);
        let mut pieces = 0;
        let buffer = &mut [0; MIN_BUFFER];
        shared.pump(&mut Context::from_waker(&task), &mut udp, buffer, &mut |_| pieces += 1);
        assert_eq!(
            flag.0.load(Ordering::Relaxed),
            pieces == PIECES,
            "whether there is another turn: {pieces}"
        );
        turns.push(pieces);
    }
    assert_eq!(turns, [PIECES, PIECES, 1, 0]);
}
