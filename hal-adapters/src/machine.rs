//! What drivers need of a node.

use core::net::SocketAddr;

use peerdist_core::crypto::Crypto;
use peerdist_core::node::{Input, Node, Output, StreamError, StreamId};
use peerdist_core::store::Storage;
use peerdist_core::time::{Duration, Instant};
use rand_core::CryptoRng;

/// How long a closed connection waits for the other side to close, too. One that never does, and goes on
/// sending, would have the socket for good; without any wait, what has come and was not read would have it
/// reset, and the other side lose what it was sent last.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

/// A node, whatever it is made of: so a driver's code exists once.
pub(crate) trait Machine {
    fn accept(&mut self, now: Instant, remote: SocketAddr) -> Option<StreamId>;
    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize;
    fn poll_output<'b>(&mut self, now: Instant, buffer: &'b mut [u8]) -> Option<Output<'b>>;
    fn poll_stream(&mut self, now: Instant, stream: StreamId, room: &mut [u8]) -> Result<usize, StreamError>;
    fn poll_timeout(&self, now: Instant) -> Option<Instant>;
}

impl<S, C, R, const STREAMS: usize, const BLOCKS: usize> Machine for Node<S, C, R, STREAMS, BLOCKS>
where
    S: Storage,
    C: Crypto,
    R: CryptoRng,
{
    fn accept(&mut self, now: Instant, remote: SocketAddr) -> Option<StreamId> {
        self.accept(now, remote)
    }

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        self.handle_input(now, input)
    }

    fn poll_output<'b>(&mut self, now: Instant, buffer: &'b mut [u8]) -> Option<Output<'b>> {
        self.poll_output(now, buffer)
    }

    fn poll_stream(&mut self, now: Instant, stream: StreamId, room: &mut [u8]) -> Result<usize, StreamError> {
        self.poll_stream(now, stream, room)
    }

    fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.poll_timeout(now)
    }
}
