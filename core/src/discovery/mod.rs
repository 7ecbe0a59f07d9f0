//! [MS-PCCRD] Discovery: who on the local network has a segment.
pub mod client;
pub mod server;
pub mod wire;
pub mod xml;
