//! What a node keeps for applications, by type: without any, nothing of it is linked, and there is
//! no table.

use super::instance::{Instance, Status};
use super::operation::Operation;
use super::server::{Opened, Publication, Published, ServerSecrets, Stream};

/// What is kept for applications: [`Tabled`] or [`NoApplication`].
pub trait Application {
    /// With nothing open.
    fn new() -> Self;

    /// What is kept.
    fn tables(&mut self) -> Option<Tables<'_>>;
}

/// An application that is there.
pub trait Installed: Application {
    /// What is kept.
    fn lend(&mut self) -> Tables<'_>;
}

/// The tables, so that the code that works with them exists once and not for each size.
pub struct Tables<'a> {
    pub(super) desk: &'a mut Desk,
    pub(super) instances: &'a mut [Instance],
    pub(super) publications: &'a mut [Publication],
    pub(super) streams: &'a mut [Stream],
    pub(super) infos: &'a mut [Opened],
    pub(super) operations: &'a mut [Operation],
}

/// What all instances share.
pub struct Desk {
    pub(super) status: Status,
    pub(super) published: Published,
    pub(super) secrets: Option<ServerSecrets>,
    pub(super) next_operation: u32,
    pub(super) next_end: u32,
}

/// Nobody uses the API; downloads have their own door.
pub struct NoApplication;

impl Application for NoApplication {
    fn new() -> Self {
        Self
    }

    fn tables(&mut self) -> Option<Tables<'_>> {
        None
    }
}

/// Tables for so many instances, publications, streams that are being published, content informations
/// that are being read, and operations; each up to 65,535.
pub struct Tabled<
    const INSTANCES: usize,
    const PUBLICATIONS: usize,
    const STREAMS: usize,
    const INFOS: usize,
    const OPERATIONS: usize,
> {
    desk: Desk,
    instances: [Instance; INSTANCES],
    publications: [Publication; PUBLICATIONS],
    streams: [Stream; STREAMS],
    infos: [Opened; INFOS],
    operations: [Operation; OPERATIONS],
}

/// What suits a host, in 81 KiB. Each publication keeps one or two content informations in the store.
pub type Standard = Tabled<8, 64, 8, 32, 128>;

impl<
    const INSTANCES: usize,
    const PUBLICATIONS: usize,
    const STREAMS: usize,
    const INFOS: usize,
    const OPERATIONS: usize,
> Application for Tabled<INSTANCES, PUBLICATIONS, STREAMS, INFOS, OPERATIONS>
{
    fn new() -> Self {
        Self {
            desk: Desk {
                status: Status::Available,
                published: Published::Both,
                secrets: None,
                next_operation: 0,
                next_end: 0,
            },
            // Constants would take as much flash as they take memory.
            instances: core::array::from_fn(|_| Instance::FREE),
            publications: core::array::from_fn(|_| Publication::free()),
            streams: core::array::from_fn(|_| Stream::free()),
            infos: core::array::from_fn(|_| Opened::free()),
            operations: core::array::from_fn(|_| Operation::FREE),
        }
    }

    fn tables(&mut self) -> Option<Tables<'_>> {
        Some(self.lend())
    }
}

impl<
    const INSTANCES: usize,
    const PUBLICATIONS: usize,
    const STREAMS: usize,
    const INFOS: usize,
    const OPERATIONS: usize,
> Installed for Tabled<INSTANCES, PUBLICATIONS, STREAMS, INFOS, OPERATIONS>
{
    fn lend(&mut self) -> Tables<'_> {
        Tables {
            desk: &mut self.desk,
            instances: &mut self.instances,
            publications: &mut self.publications,
            streams: &mut self.streams,
            infos: &mut self.infos,
            operations: &mut self.operations,
        }
    }
}
