//! The consumer: contents of an instance, whose operations end later.
//!
//! What a content is and how its blocks are found is the business of [`client`](super::client), whose
//! engine downloads use as well. Here stands what the API asks for beside: who owns a content, what ends
//! when, and who else wants it.

mod crowd;
mod flush;
mod read;

pub use crowd::{BasicInfo, CROWD, CROWD_LASTS};
pub use flush::TAGS;
pub(super) use flush::Tags;
pub(super) use read::Reading;

use crowd::Crowd;

use super::client::anywhere::Kept;
use super::client::{self, ContentTag};
use super::error::ApiError;
use super::instance::InstanceHandle;
use super::operation::{Action, OperationId, Outcome};
use super::tables::Tables;
use super::waiting::Waiting;
use super::{Api, Handle, Operation};

/// What [`Api::open_content`] opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ContentHandle {
    instance: InstanceHandle,
    index: u16,
    generation: u32,
}

/// What was added in vain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Dropped {
    /// Blocks that were whole and not what content information says.
    pub bad_blocks: u32,
    /// Bytes that would have had to wait, for which there was no room; and those of blocks that were given up: others
    /// had them, or nothing describes them any more.
    pub bytes: u64,
}

/// A row of the table of contents.
pub struct Content {
    generation: u32,
    instance: InstanceHandle,
    key: usize,
    stage: Stage,
    crowd: Crowd,
    /// Of its stream reads, the one whose turn it is, whenever that was looked for.
    first_stream_read: Option<OperationId>,
}

#[derive(Clone, Copy)]
enum Stage {
    Free,
    /// Of the engine's contents, that one.
    Open(client::ContentHandle, Phase),
    Invalidated,
}

/// How far content information is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Collecting,
    Checking,
    Ready,
    Unusable(ApiError),
}

impl Dropped {
    fn count(&mut self, kept: Kept) {
        self.bad_blocks = self.bad_blocks.saturating_add(kept.bad);
        self.bytes = self.bytes.saturating_add(kept.dropped.into());
    }
}

impl ContentHandle {
    /// Of which instance it is.
    pub const fn instance(self) -> InstanceHandle {
        self.instance
    }

    fn row(self, contents: &[Content]) -> Result<&Content, ApiError> {
        let row = contents.get(usize::from(self.index)).filter(|row| row.generation == self.generation);
        row.filter(|row| !matches!(row.stage, Stage::Free)).ok_or(ApiError::InvalidHandle)
    }

    fn row_mut(self, contents: &mut [Content]) -> Result<&mut Content, ApiError> {
        self.row(contents)?;
        contents.get_mut(usize::from(self.index)).ok_or(ApiError::InvalidHandle)
    }
}

impl Content {
    pub(super) fn free() -> Self {
        Self {
            generation: 0,
            instance: InstanceHandle::NONE,
            key: 0,
            stage: Stage::Free,
            crowd: Crowd::NONE,
            first_stream_read: None,
        }
    }

    /// The engine's content, and how far its content information is.
    fn open(&self) -> Result<(client::ContentHandle, Phase), ApiError> {
        match self.stage {
            Stage::Open(handle, phase) => Ok((handle, phase)),
            Stage::Invalidated => Err(ApiError::Invalidated),
            Stage::Free => Err(ApiError::InvalidHandle),
        }
    }
}

impl Api<'_> {
    /// Opens an empty content (PeerDistClientOpenContent). `tag` groups what is cached by it; `key` comes
    /// with the completions.
    pub fn open_content(
        &mut self,
        instance: InstanceHandle,
        tag: ContentTag,
        key: usize,
    ) -> Result<ContentHandle, ApiError> {
        self.tables.available(instance)?;
        let label = self.label(tag);
        let mut rows = (0u16..).zip(&mut *self.tables.contents);
        let free = |(_, row): &(u16, &mut Content)| matches!(row.stage, Stage::Free);
        let (index, row) = rows.find(free).ok_or(ApiError::Full)?;
        let handle = self.client.open_content(self.parts.storage, tag)?;
        self.client.set_label(handle, label);
        let generation = row.generation.wrapping_add(1);
        let stage = Stage::Open(handle, Phase::Collecting);
        *row = Content { generation, instance, key, stage, ..Content::free() };
        Ok(ContentHandle { instance, index, generation })
    }

    /// Closes a content and cancels its operations (PeerDistClientCloseContent). What is cached stays.
    pub fn close_content(&mut self, content: ContentHandle) -> Result<(), ApiError> {
        content.row(self.tables.contents)?;
        self.end_content(content, ApiError::Aborted);
        content.row_mut(self.tables.contents)?.stage = Stage::Free;
        Ok(())
    }

    /// Adds the next piece of content information, of any length (PeerDistClientAddContentInformation).
    pub fn add_content_information(
        &mut self,
        content: ContentHandle,
        bytes: &[u8],
    ) -> Result<OperationId, ApiError> {
        let len = u32::try_from(bytes.len()).map_err(|_| ApiError::InvalidParameter)?;
        let row = content.row(self.tables.contents)?;
        let (handle, phase) = row.open()?;
        if phase != Phase::Collecting {
            return Err(ApiError::AlreadyCompleted);
        }
        // Gap G2: a second call while one is under way is a wrong call.
        if self.tables.is_under_way(Handle::Content(content), Action::AddInfo) {
            return Err(ApiError::InvalidParameter);
        }
        let operation = self.accept_on(content, Action::AddInfo)?;
        match self.client.add_content_information(self.parts.storage, handle, bytes) {
            Ok(()) => self.tables.end(operation, Outcome::Taken(len)),
            Err(error) => {
                self.tables.refuse(operation);
                return Err(error);
            }
        }
        Ok(operation)
    }

    /// Declares content information whole (PeerDistClientCompleteContentInformation): once that has
    /// succeeded, there may be reads.
    pub fn complete_content_information(&mut self, content: ContentHandle) -> Result<OperationId, ApiError> {
        let (handle, phase) = content.row(self.tables.contents)?.open()?;
        if phase != Phase::Collecting {
            return Err(ApiError::AlreadyCompleted);
        }
        let operation = self.accept_on(content, Action::CompleteInfo)?;
        let phase = match self.client.complete_content_information(self.parts.storage, handle) {
            Ok(()) => Phase::Checking,
            Err(error) => {
                self.tables.end(operation, Outcome::Failed(error));
                Phase::Unusable(error)
            }
        };
        content.row_mut(self.tables.contents)?.stage = Stage::Open(handle, phase);
        *self.busy = true;
        Ok(operation)
    }

    /// Adds data from the origin, at any offset and in any order (PeerDistClientAddData). A block is
    /// verified whole, and what is verified can be read, and is given to peers. What cannot be verified
    /// yet is held for a while, outside the store.
    ///
    /// Gap G9: what is not what content information says is dropped and counted, and the operation
    /// succeeds. Gap G12: data may come before content information is complete.
    pub fn add_data(
        &mut self,
        content: ContentHandle,
        offset: u64,
        bytes: &[u8],
    ) -> Result<OperationId, ApiError> {
        let len = u32::try_from(bytes.len()).map_err(|_| ApiError::InvalidParameter)?;
        let (handle, phase) = content.row(self.tables.contents)?.open()?;
        if let Phase::Unusable(error) = phase {
            return Err(error);
        }
        let operation = self.accept_on(content, Action::AddData)?;
        let waiting = &mut Waiting::new(self.tables.pages);
        let outcome = match self.client.add_anywhere(&mut self.parts, waiting, handle, offset, bytes) {
            Ok(Some(kept)) => {
                self.tables.desk.dropped.count(kept);
                Outcome::Taken(len)
            }
            Ok(None) => Outcome::Failed(ApiError::OutOfBounds),
            Err(error) => Outcome::Failed(error),
        };
        self.tables.end(operation, outcome);
        *self.busy = true;
        Ok(operation)
    }

    /// Cancels an operation on a content, or all of them (PeerDistClientCancelAsyncOperation): they end as
    /// cancelled, unless they have ended already.
    pub fn cancel_client_operation(
        &mut self,
        content: ContentHandle,
        operation: Option<OperationId>,
    ) -> Result<(), ApiError> {
        let row = content.row(self.tables.contents)?;
        self.tables.available(content.instance)?;
        row.open()?;
        let mut any = false;
        while let Some(id) = self.tables.first_pending(&|row| {
            row.handle == Handle::Content(content) && operation.is_none_or(|operation| row.is(operation))
        }) {
            self.give_up_read(id);
            self.give_up_completion(id, content);
            self.tables.end(id, Outcome::Failed(ApiError::Aborted));
            any = true;
        }
        if any { Ok(()) } else { Err(ApiError::OperationNotFound) }
    }

    /// Whether all that is left of a content is to close it.
    pub fn is_invalidated(&self, content: ContentHandle) -> bool {
        content.row(self.tables.contents).is_ok_and(|row| matches!(row.stage, Stage::Invalidated))
    }

    /// Leaves content information open whose completion is cancelled.
    fn give_up_completion(&mut self, operation: OperationId, content: ContentHandle) {
        let completes = self.tables.pending(operation).is_some_and(|row| row.action == Action::CompleteInfo);
        if let Ok(row) = content.row_mut(self.tables.contents)
            && completes
            && let Stage::Open(handle, Phase::Checking) = row.stage
        {
            row.stage = Stage::Open(handle, Phase::Collecting);
            self.client.reopen_content_information(self.parts.storage, handle);
        }
    }

    /// What was added in vain.
    pub fn dropped(&self) -> Dropped {
        let Dropped { bad_blocks, bytes } = self.tables.desk.dropped;
        Dropped { bad_blocks, bytes: bytes.saturating_add(self.client.given_up()) }
    }

    /// Ends what is under way on a content, and what it keeps in the engine.
    fn end_content(&mut self, content: ContentHandle, error: ApiError) {
        let handle = Handle::Content(content);
        self.tables.end_all(error, &|row| row.handle == handle);
        self.tables.lose_data(handle, error);
        let open = content.row(self.tables.contents).and_then(Content::open);
        if let Ok((handle, _)) = open {
            // It is open, so this cannot fail.
            _ = self.client.close_content(handle, &mut self.parts);
            // Another content of its tag may make use of what waits.
            Waiting::new(self.tables.pages).close(handle);
            *self.busy = true;
        }
    }

    /// The service is away.
    pub(super) fn invalidate_contents(&mut self) {
        self.each_content(|_| true, ApiError::Invalidated, Stage::Invalidated);
    }

    /// Closes the contents of an instance.
    pub(super) fn forget_contents(&mut self, instance: InstanceHandle) {
        self.each_content(|row| row.instance == instance, ApiError::Aborted, Stage::Free);
    }

    fn each_content(&mut self, meant: impl Fn(&Content) -> bool, error: ApiError, then: Stage) {
        for index in 0..self.tables.contents.len() {
            let Some(row) = self.tables.contents.get(index) else { return };
            if matches!(row.stage, Stage::Free) || !meant(row) {
                continue;
            }
            let (instance, generation) = (row.instance, row.generation);
            self.end_content(ContentHandle { instance, index: index as u16, generation }, error);
            if let Some(row) = self.tables.contents.get_mut(index) {
                row.stage = then;
            }
        }
    }

    /// Looks after contents whose content information is being checked; whether one has become ready.
    pub(super) fn check_contents(&mut self) -> bool {
        let mut any = false;
        for index in 0..self.tables.contents.len() {
            let Some(row) = self.tables.contents.get_mut(index) else { break };
            let Stage::Open(handle, Phase::Checking) = row.stage else { continue };
            let (instance, generation) = (row.instance, row.generation);
            let content = ContentHandle { instance, index: index as u16, generation };
            let outcome = match self.client.is_ready(handle) {
                Ok(None) => continue,
                Ok(Some(_)) => {
                    row.stage = Stage::Open(handle, Phase::Ready);
                    Outcome::Done
                }
                Err(error) => {
                    row.stage = Stage::Open(handle, Phase::Unusable(error));
                    Outcome::Failed(error)
                }
            };
            any = true;
            let completes = |row: &Operation| {
                row.handle == Handle::Content(content) && row.action == Action::CompleteInfo
            };
            if let Some(operation) = self.tables.first_pending(&completes) {
                self.tables.end(operation, outcome);
            }
        }
        any
    }

    /// Looks through what waits; whether there may be more.
    pub(super) fn settle(&mut self) -> bool {
        let kept = self.client.settle(&mut self.parts, &mut Waiting::new(self.tables.pages));
        self.tables.desk.dropped.count(kept.unwrap_or_default());
        kept.is_some()
    }

    fn accept_on(&mut self, content: ContentHandle, action: Action) -> Result<OperationId, ApiError> {
        let key = content.row(self.tables.contents)?.key;
        self.tables.accept(content.instance, Handle::Content(content), key, action)
    }
}

impl Tables<'_> {
    /// A content whose reads may begin.
    fn ready(&self, content: ContentHandle) -> Result<client::ContentHandle, ApiError> {
        match content.row(self.contents)?.open()? {
            (handle, Phase::Ready) => Ok(handle),
            // Gap G3: a read before content information has been completed is a wrong call.
            _ => Err(ApiError::InvalidParameter),
        }
    }
}
