//! What the two examples share: a peer on the sockets of this machine, and waiting for an operation.

use std::error::Error;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peerdist_core::api::Standard;
use peerdist_core::api::operation::{Completion, OperationId};
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::node::{Config, Node, Serving};
use peerdist_core::store::ram::{BLOCK_PAGES, Entry, Page, RamStore};
use peerdist_hal::std::{Clock, Driver, Options, local};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

/// Blocks that are kept, in memory: 32 MiB.
const BLOCKS: usize = 512;

/// Bytes of content information that are kept.
const INFO_BYTES: usize = 1 << 20;

/// A node with 32 connections, eight blocks that are fetched at once, no downloads of whole URLs; it gives to others
/// what it has, and there is an application.
pub type PeerNode =
    Node<RamStore<Vec<Page>, Vec<Entry>, Vec<u8>>, SoftCrypto, ChaCha20Rng, 32, 8, 0, Serving, Standard>;

/// A node with its sockets and its clock.
pub struct Peer {
    pub node: Box<PeerNode>,
    pub driver: Driver,
    pub clock: Clock,
}

impl Peer {
    /// On an address of this machine.
    pub fn open(address: IpAddr) -> Result<Self, Box<dyn Error>> {
        let addresses = local::of_interface(address)?;
        let options =
            Options { addresses: addresses.clone(), serve: true, port: 0, connections: 64, per_client: 64 };
        let driver = Driver::new(&options)?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let store = RamStore::new(
            vec![Page::EMPTY; BLOCKS * BLOCK_PAGES],
            vec![Entry::EMPTY; 2 * BLOCKS],
            vec![0; INFO_BYTES],
        );
        let config = Config {
            port: driver.port(),
            instance_id: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as u32,
            ..Config::default()
        };
        let mut node = Box::new(Node::new(config, store, SoftCrypto, ChaCha20Rng::from_seed(seed)));
        node.set_addresses(&addresses.iter().map(|local| local.subnet).collect::<Vec<_>>());
        Ok(Self { node, driver, clock: Clock::new() })
    }

    /// Drives the node until an operation has ended. Only one at a time is under way here, so it is the next to end.
    pub fn finish(&mut self, operation: OperationId) -> Result<Completion, Box<dyn Error>> {
        loop {
            let next = self.poll();
            if let Some(completion) = self.node.api().poll_operation() {
                assert_eq!(completion.operation, operation);
                return Ok(completion);
            }
            self.driver.wait(next)?;
        }
    }

    /// Moves all that can be moved. Returns how long there is nothing to do, unless something comes.
    pub fn poll(&mut self) -> Option<Duration> {
        // What the node hands out of itself is of downloads, of which there are none.
        let next = self.driver.poll(self.clock.now(), &mut self.node, &mut |_| {});
        self.clock.until(next)
    }
}

/// What stands in the command line behind the name of the program.
pub fn arguments<const COUNT: usize>(usage: &str) -> Result<[String; COUNT], Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    arguments.try_into().map_err(|_| format!("usage: {usage}").into())
}
