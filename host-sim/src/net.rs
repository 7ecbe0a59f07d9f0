//! The command on a real network: a node on the kernel's sockets, with its blocks in files.
//!
//! [`local`] finds our addresses, [`cache`] opens the files, [`station`] is the node that runs over
//! them, and what others may ask of it. [`holder`] says who has a port that we wanted.

pub mod cache;
pub mod holder;
pub mod local;
pub mod station;
