//! What a node does for other peers, by type: what a device does not do is not linked, and has no
//! table.

use rand_core::CryptoRng;

use crate::discovery::server::{Config, Server};

/// Whether a node serves other peers: [`Serving`] or [`ClientOnly`].
pub trait Service {
    /// Whether probes are answered, and connections of peers accepted.
    const SERVES: bool;

    /// A service that knows nobody.
    fn new(config: Config, instance_id: u32, rng: &mut dyn CryptoRng) -> Self;

    /// The part that answers probes.
    fn server(&self) -> Option<&Server>;

    /// The same, to give it work.
    fn server_mut(&mut self) -> Option<&mut Server>;
}

/// Answers probes, and serves the blocks that are in the store.
pub struct Serving(Server);

impl Service for Serving {
    const SERVES: bool = true;

    #[inline(always)]
    fn new(config: Config, instance_id: u32, rng: &mut dyn CryptoRng) -> Self {
        Self(Server::with_config(config, instance_id, rng))
    }

    fn server(&self) -> Option<&Server> {
        Some(&self.0)
    }

    fn server_mut(&mut self) -> Option<&mut Server> {
        Some(&mut self.0)
    }
}

/// Takes blocks from others and gives none: probes are not answered, connections are refused.
pub struct ClientOnly;

impl Service for ClientOnly {
    const SERVES: bool = false;

    fn new(_: Config, _: u32, _: &mut dyn CryptoRng) -> Self {
        Self
    }

    fn server(&self) -> Option<&Server> {
        None
    }

    fn server_mut(&mut self) -> Option<&mut Server> {
        None
    }
}
