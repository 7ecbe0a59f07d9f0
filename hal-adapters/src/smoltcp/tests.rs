extern crate std;

use core::convert::Infallible;
use std::vec::Vec;

use smoltcp::phy::{DeviceCapabilities, Medium};
use smoltcp::wire::EthernetAddress;

use super::*;
use crate::machine::at_hand::AtHand;

const NOW: Instant = Instant::from_millis(1);

/// A card that never has a frame, and no room for one.
struct NoCard;

/// A frame that there is not.
struct Nothing(Infallible);

impl smoltcp::phy::RxToken for Nothing {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, _: F) -> R {
        match self.0 {}
    }
}

impl smoltcp::phy::TxToken for Nothing {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _: usize, _: F) -> R {
        match self.0 {}
    }
}

impl Device for NoCard {
    type RxToken<'a> = Nothing;
    type TxToken<'a> = Nothing;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Nothing, Nothing)> {
        None
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Nothing> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        (capabilities.medium, capabilities.max_transmission_unit) = (Medium::Ethernet, 1_514);
        capabilities
    }
}

/// A driver without streams, and what it is on.
fn driver(sockets: &mut SocketSet<'_>, local_port: u16) -> (Interface, Driver<0>) {
    let config = smoltcp::iface::Config::new(EthernetAddress([2, 0, 0, 0, 0, 1]).into());
    let mut interface = Interface::new(config, &mut NoCard, smoltcp::time::Instant::ZERO);
    let packets = || udp::PacketBuffer::new(Vec::new(), Vec::new());
    let udp = sockets.add(udp::Socket::new(packets(), packets()));
    let driver = Driver::new(&mut interface, udp, [], 80, local_port).unwrap();
    (interface, driver)
}

/// Whatever is drawn, the ports do not crowd where the range begins: three of four numbers are below it.
#[test]
fn any_draw_is_another_first_port() {
    let first = |drawn| driver(&mut SocketSet::new(Vec::new()), drawn).1.next_local_port;
    assert_eq!([7, 0x4008, 0xffff].map(first), [FIRST_EPHEMERAL + 7, FIRST_EPHEMERAL + 8, u16::MAX]);
}

/// However much is at hand, others have their turn in between.
#[test]
fn a_poll_hands_out_so_many_pieces() {
    let mut sockets = SocketSet::new(Vec::new());
    let (mut interface, mut driver) = driver(&mut sockets, 0);
    let mut node = AtHand::new(2 * PIECES + 1);
    let mut polls = Vec::new();
    while polls.last() != Some(&0) {
        let mut pieces = 0;
        let mut buffer = [0; MIN_BUFFER];
        let next =
            driver.drive(NOW, &mut interface, &mut NoCard, &mut sockets, &mut node, &mut buffer, &mut |_| {
                pieces += 1
            });
        assert!(pieces < PIECES || next == Some(NOW), "{pieces} pieces, and then {next:?}");
        polls.push(pieces);
    }
    assert_eq!(polls, [PIECES, PIECES, 1, 0]);
}
