//! Content information of what is published, read from its beginning to its end.

use super::{Content, Publication, PublicationId, Published, State};
use crate::api::error::ApiError;
use crate::api::instance::InstanceHandle;
use crate::api::operation::{Action, OperationId, Outcome};
use crate::api::{Api, Handle};
use crate::content::{EndForm, Gathered, InfoError, Plan, Version};
use crate::store::{InfoView, Storage};

/// What [`Api::open_content_information`] opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InfoHandle {
    instance: InstanceHandle,
    index: u16,
    generation: u32,
}

/// The versions of content information that who asks can read (PEERDIST_RETRIEVAL_OPTIONS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InfoVersions {
    /// The lowest.
    pub min: u32,
    /// The highest.
    pub max: u32,
}

/// A row of the table of content informations that are open.
pub struct Opened {
    generation: u32,
    instance: InstanceHandle,
    key: usize,
    stage: Stage,
    publication: PublicationId,
    version: Version,
    /// Which bytes; `None` of empty content.
    plan: Option<Plan>,
    /// What was retrieved lies in front of it.
    position: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Free,
    Open,
    Invalidated,
}

impl InfoHandle {
    /// Of which instance it is.
    pub const fn instance(self) -> InstanceHandle {
        self.instance
    }

    pub(super) fn row(self, infos: &[Opened]) -> Option<&Opened> {
        let row = infos.get(usize::from(self.index))?;
        (row.generation == self.generation && row.stage != Stage::Free).then_some(row)
    }

    fn row_mut(self, infos: &mut [Opened]) -> Result<&mut Opened, ApiError> {
        self.row(infos).ok_or(ApiError::InvalidHandle)?;
        infos.get_mut(usize::from(self.index)).ok_or(ApiError::InvalidHandle)
    }
}

impl Opened {
    pub(in crate::api) fn free() -> Self {
        Self {
            generation: 0,
            instance: InstanceHandle::NONE,
            key: 0,
            stage: Stage::Free,
            publication: PublicationId { index: u16::MAX, generation: 0 },
            version: Version::V1,
            plan: None,
            position: 0,
        }
    }

    pub(super) fn publication(&self) -> PublicationId {
        self.publication
    }

    pub(super) fn invalidate(&mut self) {
        if self.stage == Stage::Open {
            self.stage = Stage::Invalidated;
        }
    }

    pub(super) fn close_of(&mut self, instance: InstanceHandle) {
        if self.instance == instance {
            self.stage = Stage::Free;
        }
    }

    fn usable(&self) -> Result<(), ApiError> {
        match self.stage {
            Stage::Open => Ok(()),
            Stage::Free => Err(ApiError::InvalidHandle),
            Stage::Invalidated => Err(ApiError::Invalidated),
        }
    }

    /// Bytes of the content information.
    fn len(&self) -> u64 {
        self.plan.as_ref().map_or(0, Plan::len)
    }
}

impl Api<'_> {
    /// Opens the content information of what is published under an identifier, in the highest version
    /// that it has (PeerDistServerOpenContentInformation): of `len` bytes from `offset` on, or up to the
    /// content's end if that is nearer; or of all of it, if both are 0. `key` comes with the completions.
    pub fn open_content_information(
        &mut self,
        instance: InstanceHandle,
        identifier: &[u8],
        offset: u64,
        len: u64,
        key: usize,
    ) -> Result<InfoHandle, ApiError> {
        let (min, max) = Published::Both.bounds();
        self.open_content_information_ex(instance, identifier, offset, len, InfoVersions { min, max }, key)
    }

    /// The same, in the highest of `versions` that is published (PeerDistServerOpenContentInformationEx).
    pub fn open_content_information_ex(
        &mut self,
        instance: InstanceHandle,
        identifier: &[u8],
        offset: u64,
        len: u64,
        versions: InfoVersions,
        key: usize,
    ) -> Result<InfoHandle, ApiError> {
        let user = self.tables.available(instance)?.user();
        if versions.min > versions.max {
            return Err(ApiError::InvalidParameter);
        }
        let name = self.name(user, identifier)?;
        let publication = self.tables.published(&name).ok_or(ApiError::NotFound)?;
        // A service that was downgraded gives no more than it says.
        let (min, max) = self.tables.desk.published.bounds();
        let row = self.tables.publication(publication).ok_or(ApiError::NotFound)?;
        // Gap G6: until it is complete, there is nothing to be found.
        let State::Complete(content) = &row.state else { return Err(ApiError::NotFound) };
        let asked = |number| versions.min.max(min) <= number && number <= versions.max.min(max);
        let version = match () {
            () if asked(2) && row.has(Version::V2) => Version::V2,
            () if asked(1) && row.has(Version::V1) => Version::V1,
            () => return Err(ApiError::InfoVersion),
        };
        let end = match (offset, len) {
            (0, 0) => content.len,
            _ => offset.saturating_add(len).min(content.len),
        };
        // A range has at least one byte (MS-PCCRC 2.3), unless it is all of nothing.
        if offset >= end && (offset, len) != (0, 0) {
            return Err(ApiError::InvalidParameter);
        }
        let plan = row.plan(self.parts.storage, version, offset, end).map_err(ApiError::CannotParse)?;
        let mut rows = (0u16..).zip(&mut *self.tables.infos);
        let (index, row) = rows.find(|(_, row)| row.stage == Stage::Free).ok_or(ApiError::Full)?;
        let generation = row.generation.wrapping_add(1);
        *row =
            Opened { generation, instance, key, stage: Stage::Open, publication, version, plan, position: 0 };
        Ok(InfoHandle { instance, index, generation })
    }

    /// Reads the next bytes, `max` at most (PeerDistServerRetrieveContentInformation): the completion says
    /// which, for [`copy_content_information`](Self::copy_content_information).
    pub fn retrieve_content_information(
        &mut self,
        info: InfoHandle,
        max: u32,
    ) -> Result<OperationId, ApiError> {
        let row = info.row_mut(self.tables.infos)?;
        row.usable()?;
        // What is retrieved has at least one byte.
        if max == 0 {
            return Err(ApiError::InvalidParameter);
        }
        let (key, publication) = (row.key, row.publication);
        self.tables.publication(publication).ok_or(ApiError::NotFound)?;
        let operation =
            self.tables.accept(info.instance, Handle::Info(info), key, Action::Retrieve { max })?;
        *self.busy = true;
        Ok(operation)
    }

    /// Copies what was retrieved, from `offset` on, and returns how many bytes that were. They are
    /// secret: whoever has them can read the content.
    pub fn copy_content_information(
        &mut self,
        info: InfoHandle,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, ApiError> {
        let row = info.row(self.tables.infos).ok_or(ApiError::InvalidHandle)?;
        row.usable()?;
        let published = self.tables.publications.get(usize::from(row.publication.index));
        let published = published.filter(|published| published.generation == row.publication.generation);
        let published = published.filter(|published| !published.is_free()).ok_or(ApiError::NotFound)?;
        let left = row.position.saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let (Some(plan), Some(buf @ [_, ..])) = (&row.plan, buf.get_mut(..len)) else { return Ok(0) };
        let read = published.read(self.parts.storage, row.version, plan, offset, buf);
        read.ok_or(ApiError::NotFound).map(|()| len)
    }

    /// Closes content information (PeerDistServerCloseContentInformation). Contradiction C7: no policy
    /// stands in the way.
    pub fn close_content_information(&mut self, info: InfoHandle) -> Result<(), ApiError> {
        let row = info.row_mut(self.tables.infos)?;
        (row.stage, row.plan) = (Stage::Free, None);
        self.tables.end_all(ApiError::Aborted, &|row| row.handle == Handle::Info(info));
        Ok(())
    }

    /// Moves on over what is retrieved.
    pub(super) fn retrieve(&mut self, info: InfoHandle, max: u32) -> Outcome {
        let Some(row) = info.row(self.tables.infos) else { return Outcome::Failed(ApiError::Aborted) };
        let (offset, left) = (row.position, row.len().saturating_sub(row.position));
        if self.tables.publication(row.publication).is_none() {
            return Outcome::Failed(ApiError::NotFound);
        }
        let len = u32::try_from(left).unwrap_or(u32::MAX).min(max);
        // The end is always told by a completion, never by a refusal.
        if len == 0 {
            return Outcome::Failed(ApiError::NoMore);
        }
        if let Ok(row) = info.row_mut(self.tables.infos) {
            row.position = offset.saturating_add(len.into());
        }
        Outcome::Data { offset, len }
    }
}

impl Publication {
    /// Which bytes the content information of a part of the content consists of; `None` if that is empty.
    fn plan(
        &self,
        storage: &dyn Storage,
        version: Version,
        start: u64,
        end: u64,
    ) -> Result<Option<Plan>, InfoError> {
        let State::Complete(Content { len, v1, v2 }) = &self.state else { return Ok(None) };
        let (range, is_whole) = (start..end, start == 0 && end == *len);
        let excerpt = match (version, self.v1, v1, self.v2, v2) {
            (Version::V1, Some(id), Some(info), ..) => {
                let view = InfoView { store: storage, id };
                let source = Gathered::v1(&view, info);
                match is_whole {
                    true => Some(info.whole(&source).plan().clone()),
                    false => info.excerpt(&source, range, EndForm::Zero).map(|part| part.plan().clone()),
                }
            }
            (Version::V2, _, _, Some(id), Some(info)) => {
                let view = InfoView { store: storage, id };
                let source = Gathered::v2(&view, info);
                match is_whole {
                    true => Some(info.whole(&source).plan().clone()),
                    false => info.excerpt(&source, range, EndForm::Zero)?.map(|part| part.plan().clone()),
                }
            }
            _ => None,
        };
        Ok(excerpt)
    }

    /// Reads what a plan says; `None` if the store cannot.
    fn read(
        &self,
        storage: &dyn Storage,
        version: Version,
        plan: &Plan,
        offset: u64,
        buf: &mut [u8],
    ) -> Option<()> {
        let State::Complete(content) = &self.state else { return None };
        match version {
            Version::V1 => {
                let view = InfoView { store: storage, id: self.v1? };
                plan.read_at(&Gathered::v1(&view, content.v1.as_ref()?), offset, buf).ok()
            }
            Version::V2 => {
                let view = InfoView { store: storage, id: self.v2? };
                plan.read_at(&Gathered::v2(&view, content.v2.as_ref()?), offset, buf).ok()
            }
        }
    }
}
