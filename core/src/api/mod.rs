//! The PeerDist API, as an application sees it: instances, publications, content handles, operations
//! that end later.
//!
//! The table in `docs/API.md` has the name of each function here and in PEERDIST.H. A node whose type
//! names an [`Application`] has an [`Api`], on which all calls are methods. Wrong use is refused by an
//! [`ApiError`], and changes nothing: what comes of a call that was accepted is a
//! [`Completion`](operation::Completion). Handles know by their type what they are of, and by a
//! generation which use of a row they are.
//!
//! The consumer's part stands on [`client`], which downloads use as well, and is not among these
//! calls yet: the node has it as methods of its own.

pub mod client;
mod code;
mod error;
mod instance;
pub mod operation;
mod server;
mod tables;
pub mod waiting;

pub use code::Code;
pub use error::{Added, ApiError, ReadError};
pub use instance::{InstanceHandle, SUPPORTED_VERSION, Status, StatusInfo, UserId};
pub use server::{InfoHandle, InfoVersions, PublicationOptions, Published, StreamHandle};
pub use tables::{Application, Installed, NoApplication, Standard, Tabled, Tables};

use client::Parts;

/// The calls of the API, on a node.
pub struct Api<'a> {
    tables: Tables<'a>,
    parts: Parts<'a>,
    /// Whether the node has work that needs no input.
    busy: &'a mut bool,
}

/// What an operation is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Handle {
    /// An instance.
    Instance(InstanceHandle),
    /// A publication that grows.
    Stream(StreamHandle),
    /// Content information that is read.
    Info(InfoHandle),
}

impl<'a> Api<'a> {
    pub(crate) fn new(tables: Tables<'a>, parts: Parts<'a>, busy: &'a mut bool) -> Self {
        Self { tables, parts, busy }
    }
}

#[cfg(test)]
mod tests;
