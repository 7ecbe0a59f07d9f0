//! Streams: content on its way into a publication.

use super::{Appending, Content, Publication, PublicationId, State};
use crate::api::client::Parts;
use crate::api::error::ApiError;
use crate::api::instance::InstanceHandle;
use crate::api::operation::{Action, OperationId, Outcome};
use crate::api::{Api, Handle};
use crate::content::publish::{PublishError, v1, v2};
use crate::content::segmenter::Segmentation;
use crate::content::{Version, gathered_front};
use crate::store::{InfoId, Storage};

/// What [`Api::publish_stream`] opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StreamHandle {
    instance: InstanceHandle,
    index: u16,
    generation: u32,
}

/// What can be said of a publication (PEERDIST_PUBLICATION_OPTIONS), all of it reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PublicationOptions {
    /// The version of this structure, not of content information: 1 or 2.
    pub version: u32,
    /// Has to be 0.
    pub flags: u32,
}

impl Default for PublicationOptions {
    fn default() -> Self {
        Self { version: 2, flags: 0 }
    }
}

/// A row of the table of streams.
pub struct Stream {
    generation: u32,
    instance: InstanceHandle,
    key: usize,
    stage: Stage,
}

enum Stage {
    Free,
    Open(Publishing),
    /// The publication is complete, and lives without the stream.
    Complete(PublicationId),
    /// There is nothing more to do on the stream but to close it.
    Over(ApiError),
}

/// A publication that grows.
struct Publishing {
    publication: PublicationId,
    /// 0 if nobody knows yet.
    len: u64,
    taken: u64,
    v1: Option<(InfoId, v1::Publisher)>,
    v2: Option<(InfoId, v2::Publisher)>,
}

impl StreamHandle {
    /// Of which instance it is.
    pub const fn instance(self) -> InstanceHandle {
        self.instance
    }

    pub(super) fn row(self, streams: &[Stream]) -> Option<&Stream> {
        let row = streams.get(usize::from(self.index))?;
        (row.generation == self.generation && !matches!(row.stage, Stage::Free)).then_some(row)
    }

    fn row_mut(self, streams: &mut [Stream]) -> Result<&mut Stream, ApiError> {
        self.row(streams).ok_or(ApiError::InvalidHandle)?;
        streams.get_mut(usize::from(self.index)).ok_or(ApiError::InvalidHandle)
    }
}

impl Stream {
    pub(in crate::api) fn free() -> Self {
        Self { generation: 0, instance: InstanceHandle::NONE, key: 0, stage: Stage::Free }
    }

    pub(super) fn publication(&self) -> Option<PublicationId> {
        match &self.stage {
            Stage::Open(Publishing { publication, .. }) | Stage::Complete(publication) => Some(*publication),
            Stage::Free | Stage::Over(_) => None,
        }
    }

    /// The publication that is lost without the stream.
    fn growing(&self) -> Option<PublicationId> {
        match &self.stage {
            Stage::Open(Publishing { publication, .. }) => Some(*publication),
            _ => None,
        }
    }

    /// Leaves nothing to do but to close it; returns the publication that is lost.
    pub(super) fn invalidate(&mut self) -> Option<PublicationId> {
        let growing = self.growing();
        if !matches!(self.stage, Stage::Free) {
            self.stage = Stage::Over(ApiError::Invalidated);
        }
        growing
    }

    /// A publication is gone. Contradiction C6: calls on a stream that has lost its own are refused as
    /// cancelled.
    pub(super) fn lose(&mut self, id: PublicationId) {
        if self.publication() == Some(id) {
            self.stage = Stage::Over(ApiError::Aborted);
        }
    }

    pub(super) fn close_of(&mut self, instance: InstanceHandle) {
        if self.instance == instance {
            self.stage = Stage::Free;
        }
    }
}

impl Api<'_> {
    /// Begins to publish content under an identifier (PeerDistServerPublishStream). `len` is all the
    /// bytes that will be added, or 0 if that is not known. `key` comes with the completions.
    pub fn publish_stream(
        &mut self,
        instance: InstanceHandle,
        identifier: &[u8],
        len: u64,
        options: PublicationOptions,
        key: usize,
    ) -> Result<StreamHandle, ApiError> {
        let user = self.tables.available(instance)?.user();
        let PublicationOptions { version: 1 | 2, flags: 0 } = options else {
            return Err(ApiError::InvalidParameter);
        };
        let name = self.name(user, identifier)?;
        // Complete or in progress, of whichever instance: it is left alone.
        if self.tables.published(&name).is_some() {
            return Err(ApiError::AlreadyExists);
        }
        let is_free = |(_, row): &(u16, &mut Stream)| matches!(row.stage, Stage::Free);
        let (index, _) = (0u16..).zip(&mut *self.tables.streams).find(is_free).ok_or(ApiError::Full)?;
        let mut places = (0u16..).zip(&*self.tables.publications);
        let (place, row) = places.find(|(_, row)| row.is_free()).ok_or(ApiError::Full)?;
        let id = PublicationId { index: place, generation: row.generation.wrapping_add(1) };
        let (info_v1, info_v2) = self.create_infos()?;
        let (secret_v1, secret_v2) = self.secrets();
        // It fails for another algorithm only.
        let v1 =
            info_v1.and_then(|id| Some((id, v1::Publisher::gather(super::ALGORITHM_V1, secret_v1).ok()?)));
        let v2 = info_v2.map(|id| (id, v2::Publisher::new(secret_v2, Segmentation::ContentDefined)));
        if let Some(row) = self.tables.publications.get_mut(usize::from(place)) {
            let generation = id.generation;
            *row =
                Publication { generation, state: State::Growing, instance, name, v1: info_v1, v2: info_v2 };
        }
        let row = self.tables.streams.get_mut(usize::from(index)).ok_or(ApiError::Full)?;
        let generation = row.generation.wrapping_add(1);
        let stage = Stage::Open(Publishing { publication: id, len, taken: 0, v1, v2 });
        *row = Stream { generation, instance, key, stage };
        Ok(StreamHandle { instance, index, generation })
    }

    /// Adds the next bytes of the content (PeerDistServerPublishAddToStream). They are hashed at once and
    /// not kept, so the caller has them back; and the more there are, the longer it takes. Where the store
    /// is full, the publication is lost.
    pub fn add_to_stream(&mut self, stream: StreamHandle, bytes: &[u8]) -> Result<OperationId, ApiError> {
        // 32 bits count what is transferred.
        let len = u32::try_from(bytes.len()).map_err(|_| ApiError::InvalidParameter)?;
        let key = self.open_stream(stream)?;
        // Gap G2: a second call while one is under way is a wrong call.
        if self.tables.is_under_way(Handle::Stream(stream), Action::Add) {
            return Err(ApiError::InvalidParameter);
        }
        let operation = self.tables.accept(stream.instance, Handle::Stream(stream), key, Action::Add)?;
        let row = stream.row_mut(self.tables.streams)?;
        let Stage::Open(publishing) = &mut row.stage else { return Err(ApiError::InvalidHandle) };
        if publishing.len > 0 && publishing.len.saturating_sub(publishing.taken) < len.into() {
            self.tables.end(operation, Outcome::Failed(ApiError::OutOfBounds));
            return Ok(operation);
        }
        publishing.taken = publishing.taken.saturating_add(len.into());
        let result = publishing.add(&mut self.parts, bytes);
        let lost = publishing.publication;
        if result.is_err() {
            row.stage = Stage::Over(ApiError::Full);
            self.tables.refuse(operation);
            self.remove(lost);
            return Err(ApiError::Full);
        }
        self.tables.end(operation, Outcome::Taken(len));
        Ok(operation)
    }

    /// Declares the content whole (PeerDistServerPublishCompleteStream): once that has succeeded, its
    /// content information is there to be read.
    pub fn complete_stream(&mut self, stream: StreamHandle) -> Result<OperationId, ApiError> {
        let key = self.open_stream(stream)?;
        let operation = self.tables.accept(stream.instance, Handle::Stream(stream), key, Action::Complete)?;
        *self.busy = true;
        Ok(operation)
    }

    /// Closes a stream (PeerDistServerCloseStreamHandle). What is not complete is lost.
    pub fn close_stream(&mut self, stream: StreamHandle) -> Result<(), ApiError> {
        let row = stream.row_mut(self.tables.streams)?;
        let growing = row.growing();
        row.stage = Stage::Free;
        self.tables.end_all(ApiError::Aborted, &|row| row.handle == Handle::Stream(stream));
        if let Some(growing) = growing {
            self.remove(growing);
        }
        Ok(())
    }

    /// Completes a publication.
    pub(super) fn complete(&mut self, stream: StreamHandle) -> Outcome {
        let Ok(row) = stream.row_mut(self.tables.streams) else { return Outcome::Failed(ApiError::Aborted) };
        let publishing = match core::mem::replace(&mut row.stage, Stage::Over(ApiError::AlreadyCompleted)) {
            Stage::Open(publishing) => publishing,
            other => {
                row.stage = other;
                return Outcome::Failed(ApiError::Aborted);
            }
        };
        let id = publishing.publication;
        match publishing.finish(&mut self.parts) {
            Ok(content) => {
                row.stage = Stage::Complete(id);
                if let Some(row) = self.tables.publication(id) {
                    row.state = State::Complete(content);
                }
                Outcome::Done
            }
            Err(error) => {
                self.remove(id);
                Outcome::Failed(error)
            }
        }
    }

    /// The key of a stream that can be added to.
    fn open_stream(&self, stream: StreamHandle) -> Result<usize, ApiError> {
        let row = stream.row(self.tables.streams).ok_or(ApiError::InvalidHandle)?;
        let completing =
            |row: &super::Operation| row.handle == Handle::Stream(stream) && row.action == Action::Complete;
        match &row.stage {
            Stage::Free => Err(ApiError::InvalidHandle),
            Stage::Open(_) if self.tables.first_pending(&completing).is_none() => Ok(row.key),
            Stage::Open(_) | Stage::Complete(_) => Err(ApiError::AlreadyCompleted),
            Stage::Over(error) => Err(*error),
        }
    }

    /// A place in the store for each version that is published.
    fn create_infos(&mut self) -> Result<(Option<InfoId>, Option<InfoId>), ApiError> {
        let (min, max) = self.tables.desk.published.bounds();
        let storage = &mut *self.parts.storage;
        let mut create = |wanted: bool| match wanted {
            true => storage.create_info().map(Some),
            false => Ok(None),
        };
        let first = create(min == 1).map_err(|_| ApiError::Full)?;
        match create(max == 2) {
            Ok(second) => Ok((first, second)),
            Err(_) => {
                first.into_iter().for_each(|info| storage.remove_info(info));
                Err(ApiError::Full)
            }
        }
    }
}

impl Publishing {
    fn add(&mut self, parts: &mut Parts<'_>, bytes: &[u8]) -> Result<(), PublishError> {
        if let Some((id, publisher)) = &mut self.v1 {
            publisher.update(parts.crypto, bytes, &mut Appending::new(parts.storage, *id, Version::V1))?;
        }
        if let Some((id, publisher)) = &mut self.v2 {
            publisher.update(parts.crypto, bytes, &mut Appending::new(parts.storage, *id, Version::V2))?;
        }
        Ok(())
    }

    fn finish(self, parts: &mut Parts<'_>) -> Result<Content, ApiError> {
        // Gap G4: less than was announced is a wrong call, and the publication is discarded.
        if self.len > 0 && self.taken < self.len {
            return Err(ApiError::InvalidParameter);
        }
        let mut content = Content { len: self.taken, v1: None, v2: None };
        // Fact 13: empty content has no content information. So the publication is complete, and what is
        // read of it ends where it begins.
        if self.taken == 0 {
            return Ok(content);
        }
        if let Some((id, publisher)) = self.v1 {
            let sink = &mut Appending::new(parts.storage, id, Version::V1);
            content.v1 = Some(publisher.finish_here(parts.crypto, sink).map_err(|_| ApiError::Full)?);
        }
        if let Some((id, publisher)) = self.v2 {
            let sink = &mut Appending::new(parts.storage, id, Version::V2);
            content.v2 = Some(publisher.finish(parts.crypto, sink).map_err(|_| ApiError::Full)?);
        }
        Ok(content)
    }
}

impl<'a> Appending<'a> {
    fn new(storage: &'a mut dyn Storage, id: InfoId, version: Version) -> Self {
        Self { storage, id, front: gathered_front(version) }
    }
}
