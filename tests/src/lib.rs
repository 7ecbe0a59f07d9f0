//! What the integration tests share.

pub mod captures;
pub mod check;
pub mod fuzz;
pub mod info;
pub mod model;
pub mod origin;
pub mod packs;
pub mod pair;
pub mod shared;
pub mod site;
pub mod tables;
