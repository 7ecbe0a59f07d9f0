//! [MS-PCCRR] Retrieval: blocks from peers, one exchange a block.
//!
//! [`wire`] is the codec, [`client`] reads a reply as it arrives, [`server`] answers a request
//! from the store. HTTP carries both; that is another room.

pub mod client;
pub mod server;
pub mod wire;
