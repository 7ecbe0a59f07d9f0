//! The PeerDist API, as an application sees it: instances, publications, content handles, operations
//! that end later.
//!
//! The table in `docs/API.md` has the name of each function here and in PEERDIST.H. A node whose type
//! names an [`Application`] has an [`Api`], on which all calls are methods. Wrong use is refused by an
//! [`ApiError`], and changes nothing: what comes of a call that was accepted is a
//! [`Completion`](operation::Completion). Handles know by their type what they are of, and by a
//! generation which use of a row they are.
//!
//! The consumer's part stands on the engine, [`client`], and so does [`download`](crate::download): whoever reads a
//! content does it there. A device without tables for the API pays nothing for them, and has the engine's calls as
//! methods of the node.

pub mod client;
mod code;
mod consumer;
mod error;
mod instance;
pub mod operation;
mod server;
mod tables;
pub mod waiting;

pub use client::Patience;
pub use code::Code;
pub use consumer::{BasicInfo, CROWD, CROWD_LASTS, ContentHandle, Dropped, TAGS};
pub use error::{Added, ApiError, ReadError};
pub use instance::{InstanceHandle, SUPPORTED_VERSION, Status, StatusInfo, UserId};
pub use server::{InfoHandle, InfoVersions, PublicationOptions, Published, StreamHandle};
pub use tables::{Application, Installed, Lending, NoApplication, Standard, Tabled, Tables};

use client::{Client, Parts};
use operation::Operation;

use crate::time::Instant;

/// The calls of the API, on a node.
pub struct Api<'a> {
    tables: Tables<'a>,
    parts: Parts<'a>,
    client: &'a mut Client,
    /// Reads that the engine takes for applications, beside those that it has.
    reads_left: usize,
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
    /// Content that is read.
    Content(ContentHandle),
}

impl<'a> Api<'a> {
    pub(crate) fn new(
        tables: Tables<'a>,
        parts: Parts<'a>,
        client: &'a mut Client,
        reads_left: usize,
        busy: &'a mut bool,
    ) -> Self {
        Self { tables, parts, client, reads_left, busy }
    }

    /// Does what operations wait for; whether there may be more to do at once.
    pub(crate) fn work(&mut self, now: Instant) -> bool {
        self.work_server();
        self.work_flushes();
        self.check_contents() | self.issue_reads(now) | self.settle()
    }
}

#[cfg(test)]
mod tests;
