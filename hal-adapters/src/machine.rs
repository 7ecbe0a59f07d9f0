//! What drivers need of a node.

#[cfg(all(any(feature = "embassy", feature = "smoltcp"), not(feature = "ipv6")))]
use core::net::IpAddr;
use core::net::SocketAddr;

use peerdist_core::api::Application;
use peerdist_core::crypto::Crypto;
use peerdist_core::node::{Input, Node, Output, Service, StreamError, StreamId};
use peerdist_core::store::Storage;
use peerdist_core::time::{Duration, Instant};
use rand_core::CryptoRng;

/// How long a closed connection waits for the other side to close, too. One that never does, and goes on
/// sending, would have the socket for good; without any wait, what has come and was not read would have it
/// reset, and the other side lose what it was sent last.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

/// How many sockets of a pool listen, where a stack has no backlog but them: a connection that finds none of
/// them is refused. One in four; but who fetches two blocks at a time connects twice at once, so two, up to
/// half of them.
#[cfg(any(feature = "embassy", feature = "smoltcp"))]
pub(crate) const fn listening(sockets: usize) -> usize {
    match sockets {
        0..=3 => sockets.div_ceil(4),
        4..=7 => 2,
        _ => sockets.div_ceil(4),
    }
}

/// Pieces of downloads that are handed out before others have their turn, be it the network, be it a
/// watchdog: content that is here already comes as fast as it can be deciphered.
#[cfg(any(feature = "embassy", feature = "smoltcp"))]
pub(crate) const PIECES: usize = 8;

/// After this long without an acknowledgement, the other host is gone: longer than a node waits for an origin,
/// whose silence would else look like a refusal.
#[cfg(any(feature = "embassy", feature = "smoltcp"))]
pub(crate) const GONE: Duration = Duration::from_secs(90);

/// A node, whatever it is made of: so a driver's code exists once.
pub(crate) trait Machine {
    fn accept(&mut self, now: Instant, remote: SocketAddr) -> Option<StreamId>;
    #[cfg(any(feature = "tls", all(feature = "smoltcp", feature = "std")))]
    fn accept_secured(&mut self, now: Instant, remote: SocketAddr) -> Option<StreamId>;
    /// What stands between a node and its driver has sent a message once more.
    #[cfg(feature = "negotiate")]
    fn sent_again(&mut self, _: Instant, _: StreamId) {}
    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize;
    fn poll_output<'b>(&mut self, now: Instant, buffer: &'b mut [u8]) -> Option<Output<'b>>;
    fn poll_stream(&mut self, now: Instant, stream: StreamId, room: &mut [u8]) -> Result<usize, StreamError>;
    fn poll_timeout(&self, now: Instant) -> Option<Instant>;
}

impl<S, C, R, const STREAMS: usize, const BLOCKS: usize, const DOWNLOADS: usize, P, A> Machine
    for Node<S, C, R, STREAMS, BLOCKS, DOWNLOADS, P, A>
where
    S: Storage,
    C: Crypto,
    R: CryptoRng,
    P: Service,
    A: Application,
{
    fn accept(&mut self, now: Instant, remote: SocketAddr) -> Option<StreamId> {
        self.accept(now, remote)
    }

    #[cfg(any(feature = "tls", all(feature = "smoltcp", feature = "std")))]
    fn accept_secured(&mut self, now: Instant, remote: SocketAddr) -> Option<StreamId> {
        self.accept_secured(now, remote)
    }

    #[cfg(feature = "negotiate")]
    fn sent_again(&mut self, now: Instant, stream: StreamId) {
        self.sent_again(now, stream);
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

#[cfg(feature = "embassy")]
impl<M: Machine> Machine for &mut M {
    fn accept(&mut self, now: Instant, remote: SocketAddr) -> Option<StreamId> {
        (**self).accept(now, remote)
    }

    #[cfg(any(feature = "tls", all(feature = "smoltcp", feature = "std")))]
    fn accept_secured(&mut self, now: Instant, remote: SocketAddr) -> Option<StreamId> {
        (**self).accept_secured(now, remote)
    }

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        (**self).handle_input(now, input)
    }

    fn poll_output<'b>(&mut self, now: Instant, buffer: &'b mut [u8]) -> Option<Output<'b>> {
        (**self).poll_output(now, buffer)
    }

    fn poll_stream(&mut self, now: Instant, stream: StreamId, room: &mut [u8]) -> Result<usize, StreamError> {
        (**self).poll_stream(now, stream, room)
    }

    fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        (**self).poll_timeout(now)
    }
}

/// An address as smoltcp has it.
#[cfg(any(feature = "embassy", feature = "smoltcp"))]
pub(crate) fn endpoint(address: SocketAddr) -> smoltcp::wire::IpEndpoint {
    #[cfg(feature = "ipv6")]
    let ip = smoltcp::wire::IpAddress::from(address.ip());
    #[cfg(not(feature = "ipv6"))]
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.into(),
        // Without IPv6 in the stack there is no such endpoint; sending to the unspecified one
        // fails, as it should.
        IpAddr::V6(_) => smoltcp::wire::Ipv4Address::UNSPECIFIED.into(),
    };
    smoltcp::wire::IpEndpoint::new(ip, address.port())
}

#[cfg(test)]
#[cfg(any(feature = "embassy", feature = "smoltcp"))]
pub(crate) mod at_hand;
