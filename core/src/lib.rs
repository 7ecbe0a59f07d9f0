//! BranchCache (Windows Peer Distribution) as a machine without a world: bytes, time and entropy
//! come in, bytes and events go out. No `std`, no allocator, no `unsafe`, no clock, no socket.
//!
//! # Layers
//!
//! ```text
//!             node                     one peer; passes events between the parts
//!          download                    a whole URL
//!         api      serve               we read; somebody reads from us
//!             fetch                    blocks: store → peers → missing, and why
//!  discovery retrieval encoding http   rooms, one per protocol; they never see each other
//!             store                    blocks as they travel, and the one door that verifies
//!            content                   identifiers, secrets, content information
//!  ages bytes crypto time limits       leaves
//! ```
//!
//! | module | document |
//! |---|---|
//! | [`content`] | MS-PCCRC: content identification |
//! | [`discovery`] | MS-PCCRD: who has a segment |
//! | [`retrieval`] | MS-PCCRR: blocks from peers |
//! | [`encoding`] | MS-PCCRTP: the `peerdist` HTTP coding |
//! | [`api`] | the PeerDist API |
//!
//! # The loop
//!
//! A [`Node`](node::Node) is driven by one loop: hand in what has come, drain what goes out, send
//! what the streams have to say, sleep until the next thing happens. This one has no network, so
//! the download that it begins fails. A ready-made loop over smoltcp sockets is `Driver` in the
//! package `peerdist-hal`.
//!
//! ```
//! use peerdist_core::crypto::SoftCrypto;
//! use peerdist_core::discovery::Subnet;
//! use peerdist_core::download::{DownloadEvent, Url};
//! use peerdist_core::node::{Config, Input, Node, Output};
//! use peerdist_core::store::ram::{Entry, Page, RamStore};
//! use peerdist_core::time::Instant;
//! use core::convert::Infallible;
//!
//! /// A source of entropy, by the traits of `rand_core` 0.10. On a device: its true random number
//! /// generator, for IVs come from it. This one is a placeholder and must not be used.
//! struct Entropy(u8);
//!
//! impl rand_core::TryRng for Entropy {
//!     type Error = Infallible;
//!
//!     fn try_next_u32(&mut self) -> Result<u32, Infallible> {
//!         Ok(0)
//!     }
//!
//!     fn try_next_u64(&mut self) -> Result<u64, Infallible> {
//!         Ok(0)
//!     }
//!
//!     fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
//!         bytes.fill(self.0);
//!         Ok(())
//!     }
//! }
//!
//! impl rand_core::TryCryptoRng for Entropy {}
//!
//! // Memory for the store is lent, and the sizes of the tables are constants: eight connections,
//! // two blocks being fetched.
//! let store = RamStore::new([const { Page::EMPTY }; 32], [const { Entry::EMPTY }; 2], [0; 1024]);
//! let mut node: Node<_, _, _, 8, 2> = Node::new(Config::default(), store, SoftCrypto, Entropy(7));
//! // Under which address others reach us, and how much of it is the network's; without one,
//! // nobody's probe is answered.
//! node.set_addresses(&[Subnet { address: "192.0.2.7".parse().unwrap(), prefix: 24 }]);
//!
//! let mut now = Instant::ZERO;
//! let url = Url {
//!     origin: "192.0.2.1:80".parse().unwrap(),
//!     host: "intranet".try_into().unwrap(),
//!     path: "/setup.exe".try_into().unwrap(),
//! };
//! node.download(now, url).unwrap();
//!
//! let mut buffer = [0; 1400];
//! 'driving: loop {
//!     // 1. What has come: datagrams, connections, bytes. Here only time has passed.
//!     node.handle_input(now, Input::Timeout);
//!     // 2. Drain.
//!     while let Some(output) = node.poll_output(now, &mut buffer) {
//!         match output {
//!             Output::Datagram { to, data } => println!("{} bytes to {to}", data.len()),
//!             Output::Connect { stream, remote, .. } => {
//!                 println!("connect to {remote}");
//!                 node.handle_input(now, Input::Lost { stream }); // There is no network.
//!             }
//!             Output::Data { offset, data, .. } => println!("{} bytes at {offset}", data.len()),
//!             Output::Download { event: DownloadEvent::Failed(error), .. } => {
//!                 println!("{error:?}");
//!                 break 'driving;
//!             }
//!             // Close, abort, offer unused bytes again, other events.
//!             _ => {}
//!         }
//!         // 3. Fill the free room of each stream's socket by `poll_stream`.
//!     }
//!     // 4. Wait for input, or until the node has something to do.
//!     now = node.poll_timeout(now).expect("a download under way has a deadline");
//! }
//! ```
//!
//! # What a device does
//!
//! The type of a node says it, and what is left out is not linked and takes no memory:
//!
//! ```
//! # use peerdist_core::crypto::SoftCrypto;
//! # use peerdist_core::api::Standard;
//! # use peerdist_core::node::{ClientOnly, Node, Serving};
//! /// Serves, and gets whole URLs from peers and their origins: two at once, or fewer if it says so.
//! type Cache<S, R> = Node<S, SoftCrypto, R, 8, 2>;
//! /// Serves, and reads what the application has content information of: no URLs.
//! type Peer<S, R> = Node<S, SoftCrypto, R, 8, 2, 0>;
//! /// Reads the same way, and serves nobody.
//! type Reader<S, R> = Node<S, SoftCrypto, R, 4, 2, 0, ClientOnly>;
//! /// Serves, and applications publish on it by the PeerDist API.
//! type Publisher<S, R> = Node<S, SoftCrypto, R, 8, 2, 0, Serving, Standard>;
//! ```
//!
//! # Features
//!
//! - `large-tables`, on by default: tables for a node that talks to many at once. Without it they are for a device
//!   of some four connections: a node takes less than half of the memory, one download at a time, and fewer peers,
//!   segments and reads together ([`limits::DOWNLOADS`], [`fetch::MAX_PEERS`], [`fetch::MAX_SEGMENTS`],
//!   [`api::client::READS`] and others, each with both numbers where it is). What goes over the network is the
//!   same.
//! - `log`, `defmt`: where log lines go. They are alternatives: both together do not compile.
//!   Without either, log lines cost nothing.
#![no_std]
#![forbid(unsafe_code)]
#![allow(clippy::large_enum_variant, reason = "without an allocator there is nowhere else to put them")]
#[macro_use]
mod macros;

pub mod ages;
pub mod api;
pub mod bytes;
pub mod content;
pub mod crypto;
pub mod discovery;
pub mod download;
pub mod encoding;
pub mod fetch;
pub mod hosted;
pub mod http;
pub mod limits;
pub mod node;
pub mod offering;
pub mod pull;
pub mod retrieval;
pub mod serve;
pub mod store;
pub mod time;

#[cfg(test)]
mod tests;
