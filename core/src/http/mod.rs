//! HTTP/1.1, as far as peers, hosted caches and content servers need it.
pub mod conn;
pub mod wire;
