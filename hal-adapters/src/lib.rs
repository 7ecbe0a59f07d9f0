//! Adapters between a `peerdist-core` node and the world.
//!
//! An adapter moves bytes and time, and decides nothing: what to send, to whom and when is the
//! node's business. There is one file per world, each behind a feature of the same name.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "file")]
extern crate std;

#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "smoltcp")]
pub mod smoltcp;
