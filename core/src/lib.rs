//! peerdist
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#[macro_use]
mod macros;
pub mod api;
pub mod bytes;
pub mod content;
pub mod crypto;
pub mod discovery;
pub mod download;
pub mod encoding;
pub mod fetch;
pub mod http;
pub mod limits;
pub mod node;
pub mod retrieval;
pub mod serve;
pub mod store;
pub mod time;
