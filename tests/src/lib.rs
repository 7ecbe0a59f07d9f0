//! What the integration tests share.

pub mod origin;
pub mod pair;
