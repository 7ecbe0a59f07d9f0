//! What the integration tests share.

pub mod check;
pub mod origin;
pub mod pair;
pub mod shared;
