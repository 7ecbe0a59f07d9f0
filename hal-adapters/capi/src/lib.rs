//! The Peer Distribution API in C: the 28 functions with their original names and signatures, over a node.
//!
//! `include/peerdist.h` is what C programs read. With the feature `std` the library brings a thread and sockets of
//! its own; without it, it is for bare metal, and its caller moves bytes and time.
// Without `std` on a host it is for tests, which have a panic handler already.
#![cfg_attr(all(not(feature = "std"), target_os = "none"), no_std)]
#![allow(
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    clippy::upper_case_acronyms,
    reason = "the names are those of the reference"
)]

mod caller;
pub mod exports;
mod handle;
mod last_error;
pub mod machine;
mod service;
mod signals;
mod sync;
pub mod types;
