//! [MS-PCCRR] Retrieval: blocks from peers.
pub mod client;
pub mod server;
pub mod wire;
