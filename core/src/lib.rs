//! peerdist
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#[macro_use]
mod macros;
pub mod bytes;
pub mod content;
pub mod crypto;
pub mod discovery;
pub mod encoding;
pub mod http;
pub mod limits;
pub mod retrieval;
pub mod store;
pub mod time;
