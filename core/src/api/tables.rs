//! What a node keeps for applications, by type: without any, nothing of it is linked, and there is
//! no table.

use super::client;
use super::consumer::{Content, Dropped, Tags};
use super::instance::{Instance, Status};
use super::operation::Operation;
use super::server::{Opened, Publication, Published, ServerSecrets, Stream};
use super::waiting::Page;
use crate::time::Instant;

/// What is kept for applications: [`Tabled`] or [`NoApplication`].
pub trait Application {
    /// With nothing open.
    fn new() -> Self;

    /// What is kept.
    fn tables(&mut self) -> Option<Tables<'_>>;

    /// When something of it runs out of time.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// An application that is there.
pub trait Installed {
    /// With nothing open.
    fn new() -> Self;

    /// What is kept.
    fn lend(&mut self) -> Tables<'_>;

    /// When something of it runs out of time.
    fn wakes(&self) -> Option<Instant>;
}

impl<T: Installed> Application for T {
    #[inline(always)]
    fn new() -> Self {
        T::new()
    }

    fn tables(&mut self) -> Option<Tables<'_>> {
        Some(self.lend())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.wakes()
    }
}

/// The tables, so that the code that works with them exists once and not for each size.
pub struct Tables<'a> {
    pub(super) desk: &'a mut Desk,
    pub(super) instances: &'a mut [Instance],
    pub(super) publications: &'a mut [Publication],
    pub(super) streams: &'a mut [Stream],
    pub(super) infos: &'a mut [Opened],
    pub(super) contents: &'a mut [Content],
    pub(super) operations: &'a mut [Operation],
    pub(super) pages: &'a mut [Page],
}

/// What all instances share.
pub struct Desk {
    pub(super) status: Status,
    pub(super) published: Published,
    pub(super) secrets: Option<ServerSecrets>,
    pub(super) next_operation: u32,
    pub(super) next_end: u32,
    pub(super) dropped: Dropped,
    pub(super) tags: Tags,
    /// Whether a flush was accepted that nothing has been done for yet.
    pub(super) flushes: bool,
    /// When the first of the reads that wait for a row runs out of time.
    pub(super) wakes: Option<Instant>,
}

/// Nobody uses the API: downloads are on the engine below it.
pub struct NoApplication;

impl Application for NoApplication {
    fn new() -> Self {
        Self
    }

    fn tables(&mut self) -> Option<Tables<'_>> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// Tables for so many instances, publications, streams that are being published, content informations
/// that are being read, contents and operations, each up to 65,535; and so many [pages](super::waiting) for
/// data that cannot be verified yet: a block of 64 KiB takes 128. The engine bounds contents ([`CONTENTS`](super::client::CONTENTS)) as well.
pub struct Tabled<
    const INSTANCES: usize,
    const PUBLICATIONS: usize,
    const STREAMS: usize,
    const INFOS: usize,
    const CONTENTS: usize,
    const OPERATIONS: usize,
    const PAGES: usize,
> {
    desk: Desk,
    instances: [Instance; INSTANCES],
    publications: [Publication; PUBLICATIONS],
    streams: [Stream; STREAMS],
    infos: [Opened; INFOS],
    contents: [Content; CONTENTS],
    operations: [Operation; OPERATIONS],
    pages: [Page; PAGES],
}

/// Tables whose pages are lent once the node is made: those are most of it, and need never lie on the stack on which
/// it is made.
pub struct Lending<'a, A> {
    tables: A,
    pages: &'a mut [Page],
}

impl<'a, A> Lending<'a, A> {
    /// Lends pages, in place of those that there are: what waits there is forgotten.
    pub fn lend_pages(&mut self, pages: &'a mut [Page]) {
        self.pages = pages;
    }
}

impl<A: Installed> Installed for Lending<'_, A> {
    #[inline(always)]
    fn new() -> Self {
        Self { tables: A::new(), pages: &mut [] }
    }

    fn lend(&mut self) -> Tables<'_> {
        Tables { pages: self.pages, ..self.tables.lend() }
    }

    fn wakes(&self) -> Option<Instant> {
        self.tables.wakes()
    }
}

/// What suits a host, in 381 KiB. Each publication keeps one or two content informations in the store.
/// A node with it belongs on the heap.
pub type Standard = Tabled<8, 64, 8, 32, { client::CONTENTS }, 128, 512>;

impl<
    const INSTANCES: usize,
    const PUBLICATIONS: usize,
    const STREAMS: usize,
    const INFOS: usize,
    const CONTENTS: usize,
    const OPERATIONS: usize,
    const PAGES: usize,
> Installed for Tabled<INSTANCES, PUBLICATIONS, STREAMS, INFOS, CONTENTS, OPERATIONS, PAGES>
{
    // Inlined, they are built where the node is, and never lie on the stack beside it.
    #[inline(always)]
    fn new() -> Self {
        Self {
            desk: Desk {
                status: Status::Available,
                published: Published::Both,
                secrets: None,
                next_operation: 0,
                next_end: 0,
                dropped: Dropped { bad_blocks: 0, bytes: 0 },
                tags: Tags::NONE,
                flushes: false,
                wakes: None,
            },
            // Constants would take as much flash as they take memory.
            instances: core::array::from_fn(|_| Instance::FREE),
            publications: core::array::from_fn(|_| Publication::free()),
            streams: core::array::from_fn(|_| Stream::free()),
            infos: core::array::from_fn(|_| Opened::free()),
            contents: core::array::from_fn(|_| Content::free()),
            operations: core::array::from_fn(|_| Operation::FREE),
            pages: core::array::from_fn(|_| Page::EMPTY),
        }
    }

    fn lend(&mut self) -> Tables<'_> {
        Tables {
            desk: &mut self.desk,
            instances: &mut self.instances,
            publications: &mut self.publications,
            streams: &mut self.streams,
            infos: &mut self.infos,
            contents: &mut self.contents,
            operations: &mut self.operations,
            pages: &mut self.pages,
        }
    }

    fn wakes(&self) -> Option<Instant> {
        self.desk.wakes
    }
}
