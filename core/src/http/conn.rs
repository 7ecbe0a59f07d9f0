//! [RFC 9112] conn.
