//! [MS-PCHC] The hosted cache: clients offer what they got from the origin, one box keeps it for all.
//!
//! [`wire`] is the codec, [`server`] takes offers. HTTP carries them; getting what is offered is for another room.

pub mod server;
pub mod wire;
