//! [RFC 9112] wire.
