extern crate std;

use core::convert::Infallible;
use std::vec::Vec;

use peerdist_core::crypto::SoftCrypto;
use peerdist_core::download::Url;
use peerdist_core::node::{Config, DownloadId, StreamError};
use peerdist_core::store::ram::{Entry, Page, RamStore};
use smoltcp::phy::{DeviceCapabilities, Medium};
use smoltcp::wire::EthernetAddress;

use super::*;

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

/// A node that has a piece of its download at hand, so many times.
struct AtHand {
    download: DownloadId,
    pieces: usize,
}

impl Machine for AtHand {
    fn accept(&mut self, _: Instant, _: SocketAddr) -> Option<StreamId> {
        None
    }

    fn handle_input(&mut self, _: Instant, _: Input<'_>) -> usize {
        0
    }

    fn poll_output<'b>(&mut self, _: Instant, buffer: &'b mut [u8]) -> Option<Output<'b>> {
        self.pieces = self.pieces.checked_sub(1)?;
        Some(Output::Data { download: self.download, offset: 0, data: buffer })
    }

    fn poll_stream(&mut self, _: Instant, _: StreamId, _: &mut [u8]) -> Result<usize, StreamError> {
        Err(StreamError)
    }

    fn poll_timeout(&self, _: Instant) -> Option<Instant> {
        None
    }
}

/// However much is at hand, others have their turn in between.
#[test]
fn a_poll_hands_out_so_many_pieces() {
    let mut node: Node<_, _, _, 1, 1> = Node::new(
        Config::default(),
        RamStore::new([Page::EMPTY; 0], [Entry::EMPTY; 0], [0; 0]),
        SoftCrypto,
        Zero,
    );
    let (host, path) = ("origin".try_into().unwrap(), "/".try_into().unwrap());
    let download = node.download(NOW, Url { origin: ([10, 0, 0, 1], 80).into(), host, path }).unwrap();

    let config = smoltcp::iface::Config::new(EthernetAddress([2, 0, 0, 0, 0, 1]).into());
    let mut interface = Interface::new(config, &mut NoCard, smoltcp::time::Instant::ZERO);
    let mut sockets = SocketSet::new(Vec::new());
    let packets = || udp::PacketBuffer::new(Vec::new(), Vec::new());
    let udp = sockets.add(udp::Socket::new(packets(), packets()));
    let mut driver = Driver::<0>::new(&mut interface, udp, [], 80, 0).unwrap();

    let mut node = AtHand { download, pieces: 2 * PIECES + 1 };
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

/// No source of entropy: none is needed here.
struct Zero;

impl rand_core::TryRng for Zero {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Zero {}
