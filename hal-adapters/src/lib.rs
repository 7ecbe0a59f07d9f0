//! Adapters between a `peerdist-core` node and the world.
//!
//! An adapter moves bytes and time, and decides nothing: what to send, to whom and when is the
//! node's business. There is one file per world, each behind a feature of the same name.
#![cfg_attr(not(any(feature = "file", feature = "std")), no_std)]
#![forbid(unsafe_code)]

#[macro_use]
mod log;

#[cfg(any(feature = "file", feature = "flash"))]
mod clock;
#[cfg(feature = "embassy")]
pub mod embassy;
#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "flash")]
pub mod flash;
#[cfg(any(feature = "embassy", feature = "smoltcp", feature = "std"))]
mod machine;
#[cfg(any(feature = "embassy", feature = "smoltcp"))]
mod neighbors;
#[cfg(feature = "smoltcp")]
pub mod smoltcp;
#[cfg(feature = "std")]
pub mod std;
#[cfg(all(feature = "tap", target_os = "linux"))]
pub mod tap;
