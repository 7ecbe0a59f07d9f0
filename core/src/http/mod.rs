//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112), as far as peers, hosted caches and content servers
//! need it.
//!
//! [`wire`] knows lines and single header values; [`conn`] knows how they make up messages on a
//! byte stream, for both roles; [`select`] decides for a server by preconditions and ranges what
//! of a content a request is to get.
//!
//! There is no upgrade, no CONNECT, no transfer coding but `chunked`, no multipart range and no
//! folded header line.

pub mod conn;
pub mod date;
pub mod select;
pub mod wire;
