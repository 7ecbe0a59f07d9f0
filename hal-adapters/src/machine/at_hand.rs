//! What the tests of the drivers drive in place of a node.

use core::convert::Infallible;

use peerdist_core::crypto::SoftCrypto;
use peerdist_core::download::Url;
use peerdist_core::node::{Config, DownloadId};
use peerdist_core::store::ram::{Entry, Page, RamStore};

use super::*;

/// A node that has a piece of its download at hand, so many times.
pub(crate) struct AtHand {
    download: DownloadId,
    pieces: usize,
}

impl AtHand {
    pub(crate) fn new(pieces: usize) -> Self {
        let store = RamStore::new([Page::EMPTY; 0], [Entry::EMPTY; 0], [0; 0]);
        let mut node: Node<_, _, _, 1, 1> = Node::new(Config::default(), store, SoftCrypto, Zero);
        let (host, path) = ("origin".try_into().unwrap(), "/".try_into().unwrap());
        let url = Url { origin: ([10, 0, 0, 1], 80).into(), host, path };
        Self { download: node.download(Instant::ZERO, url).unwrap(), pieces }
    }
}

impl Machine for AtHand {
    fn accept(&mut self, _: Instant, _: SocketAddr) -> Option<StreamId> {
        None
    }

    #[cfg(feature = "tls")]
    fn accept_secured(&mut self, _: Instant, _: SocketAddr) -> Option<StreamId> {
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
