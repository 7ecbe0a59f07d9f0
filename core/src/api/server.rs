//! The publisher: content in, under an identifier; content information out.
//!
//! A publication belongs to a user, and lives as long as the instance that made it. While its content
//! comes, the hashes of blocks and of segments are appended to the store, with all that can be said
//! before the end (see [`content::Gathered`](crate::content::Gathered)): nothing is kept twice, and
//! completing takes no longer than hashing what is left of the last block.

mod info;
mod stream;

pub use info::{InfoHandle, InfoVersions, Opened};
pub use stream::{PublicationOptions, Stream, StreamHandle};

use zeroize::Zeroizing;

use super::Api;
use super::error::ApiError;
use super::instance::{InstanceHandle, UserId};
use super::operation::{Action, Operation, OperationId, Outcome};
use super::tables::Tables;
use crate::content::{InfoSink, InfoUnwritable, Version, server_secret, v1, v2};
use crate::crypto::{Digest, HashAlgorithm, Secret};
use crate::store::{InfoId, Storage};

/// The hash behind content information 1.0 that is published: what Windows uses.
const ALGORITHM_V1: HashAlgorithm = HashAlgorithm::Sha256;

/// Bytes of a server secret that nobody gave.
const DRAWN_SECRET_BYTES: usize = 32;

/// Which versions of content information are published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Published {
    /// 1.0, as a service that was downgraded.
    V1,
    /// 2.0.
    V2,
    /// Whichever is asked for. All content is hashed twice.
    #[default]
    Both,
}

impl Published {
    /// The lowest, and the highest.
    pub(super) const fn bounds(self) -> (u32, u32) {
        match self {
            Self::V1 => (1, 1),
            Self::V2 => (2, 2),
            Self::Both => (1, 2),
        }
    }
}

/// What segment secrets are made of, in either version: wiped on drop.
pub struct ServerSecrets {
    v1: Secret,
    v2: Secret,
}

/// A publication: an index, and its use.
#[derive(Clone, Copy, PartialEq, Eq)]
struct PublicationId {
    index: u16,
    generation: u32,
}

/// A row of the table of publications.
pub struct Publication {
    generation: u32,
    state: State,
    instance: InstanceHandle,
    /// Of the user and the identifier.
    name: Digest,
    v1: Option<InfoId>,
    v2: Option<InfoId>,
}

enum State {
    Free,
    /// Its stream is open.
    Growing,
    Complete(Content),
}

/// Content that is published.
struct Content {
    len: u64,
    v1: Option<v1::Info>,
    v2: Option<v2::Info>,
}

impl Publication {
    pub(super) fn free() -> Self {
        Self {
            generation: 0,
            state: State::Free,
            instance: InstanceHandle::NONE,
            name: Digest::EMPTY,
            v1: None,
            v2: None,
        }
    }

    fn is_free(&self) -> bool {
        matches!(self.state, State::Free)
    }

    /// Which versions it is published in.
    fn has(&self, version: Version) -> bool {
        match version {
            Version::V1 => self.v1.is_some(),
            Version::V2 => self.v2.is_some(),
        }
    }
}

impl Api<'_> {
    /// Sets which versions of content information are published from now on, where not both are: as an
    /// administrator who pins the service to the old one.
    pub fn set_published(&mut self, published: Published) {
        self.tables.desk.published = published;
    }

    /// Sets the server secret key (MS-PCCRC 2.5), for what is published from now on. Whoever knows it and
    /// a content's hashes can read what peers send of that content. Where none is set, one is drawn.
    pub fn set_server_secret(&mut self, key: &[u8]) {
        let crypto = &mut *self.parts.crypto;
        self.tables.desk.secrets = Some(ServerSecrets {
            v1: server_secret(crypto, ALGORITHM_V1, key),
            v2: server_secret(crypto, HashAlgorithm::TruncatedSha512, key),
        });
    }

    /// Removes what is published under an identifier, complete or not, and cancels what this instance has
    /// under way on it (PeerDistServerUnpublish). Handles stay open; what is asked of them is refused.
    ///
    /// Gap G6: also while it is still streaming.
    pub fn unpublish(&mut self, instance: InstanceHandle, identifier: &[u8]) -> Result<(), ApiError> {
        let user = self.tables.available(instance)?.user();
        let name = self.name(user, identifier)?;
        let id = self.tables.published(&name).ok_or(ApiError::NotFound)?;
        self.cancel(instance, id, None);
        self.remove(id);
        Ok(())
    }

    /// Cancels an operation on a stream or on content information of that identifier
    /// (PeerDistServerCancelAsyncOperation). It ends as cancelled, unless it has ended already.
    pub fn cancel_server_operation(
        &mut self,
        instance: InstanceHandle,
        identifier: &[u8],
        operation: OperationId,
    ) -> Result<(), ApiError> {
        let user = self.tables.available(instance)?.user();
        let name = self.name(user, identifier)?;
        let id = self.tables.published(&name).ok_or(ApiError::OperationNotFound)?;
        if self.cancel(instance, id, Some(operation)) { Ok(()) } else { Err(ApiError::OperationNotFound) }
    }

    /// Does what operations wait for, in the order in which they were accepted.
    pub(super) fn work_server(&mut self) {
        let waits = |row: &Operation| matches!(row.action, Action::Complete | Action::Retrieve { .. });
        while let Some(operation) = self.tables.first_pending(&waits) {
            let Some(row) = self.tables.pending(operation) else { return };
            let outcome = match (row.action, row.stream(), row.info()) {
                (Action::Complete, Some(stream), _) => self.complete(stream),
                (Action::Retrieve { max }, _, Some(info)) => self.retrieve(info, max),
                _ => Outcome::Failed(ApiError::Aborted),
            };
            self.tables.end(operation, outcome);
        }
    }

    /// Ends all that is open, but for instances: the service is away. What is complete stays published.
    pub(super) fn invalidate(&mut self) {
        while let Some(operation) = self.tables.first_pending(&|row| row.action != Action::Notify) {
            // A flush is on no handle that could be invalidated: it is cancelled.
            let flush = self.tables.pending(operation).is_some_and(|row| row.flushed().is_some());
            let error = if flush { ApiError::Aborted } else { ApiError::Invalidated };
            self.tables.end(operation, Outcome::Failed(error));
        }
        for index in 0..self.tables.streams.len() {
            if let Some(growing) = self.tables.streams.get_mut(index).and_then(Stream::invalidate) {
                self.remove(growing);
            }
        }
        self.tables.infos.iter_mut().for_each(Opened::invalidate);
    }

    /// Closes all handles of an instance, and removes what it published.
    pub(super) fn forget_published(&mut self, instance: InstanceHandle) {
        for index in 0..self.tables.publications.len() {
            let Some(row) = self.tables.publications.get(index) else { continue };
            if !row.is_free() && row.instance == instance {
                self.remove(PublicationId { index: index as u16, generation: row.generation });
            }
        }
        self.tables.streams.iter_mut().for_each(|stream| stream.close_of(instance));
        self.tables.infos.iter_mut().for_each(|opened| opened.close_of(instance));
    }

    /// The name of what `user` publishes under `identifier`: two users' are never the same.
    fn name(&mut self, user: UserId, identifier: &[u8]) -> Result<Digest, ApiError> {
        // Gap G5: 1 to 65,535 bytes.
        if identifier.is_empty() || identifier.len() > usize::from(u16::MAX) {
            return Err(ApiError::InvalidParameter);
        }
        let crypto = &mut *self.parts.crypto;
        let mut state = crypto.hash_start(HashAlgorithm::Sha256);
        crypto.hash_update(&mut state, &user.0.to_be_bytes());
        crypto.hash_update(&mut state, identifier);
        Ok(crypto.hash_finish(state))
    }

    /// The server secrets, drawn if nobody has given a key.
    fn secrets(&mut self) -> (Secret, Secret) {
        if self.tables.desk.secrets.is_none() {
            let mut key = Zeroizing::new([0; DRAWN_SECRET_BYTES]);
            self.parts.rng.fill_bytes(&mut key[..]);
            self.set_server_secret(&key[..]);
        }
        match &self.tables.desk.secrets {
            Some(secrets) => (secrets.v1.clone(), secrets.v2.clone()),
            None => (Secret::EMPTY, Secret::EMPTY),
        }
    }

    /// Cancels what `instance` has under way on a publication, all of it or one operation; whether there
    /// was anything.
    fn cancel(&mut self, instance: InstanceHandle, of: PublicationId, one: Option<OperationId>) -> bool {
        let mut any = false;
        while let Some(operation) = self.tables.first_on(instance, of, one) {
            self.tables.end(operation, Outcome::Failed(ApiError::Aborted));
            any = true;
        }
        any
    }

    /// Removes a publication with all that is kept of it. Whoever still has a handle finds nothing.
    fn remove(&mut self, id: PublicationId) {
        let Some(row) = self.tables.publications.get_mut(usize::from(id.index)) else { return };
        if row.generation != id.generation {
            return;
        }
        (row.state, row.name) = (State::Free, Digest::EMPTY);
        let kept = [row.v1.take(), row.v2.take()];
        kept.into_iter().flatten().for_each(|info| self.parts.storage.remove_info(info));
        self.tables.streams.iter_mut().for_each(|stream| stream.lose(id));
    }
}

impl Tables<'_> {
    /// The publication of that name.
    fn published(&self, name: &Digest) -> Option<PublicationId> {
        let mut rows = (0u16..).zip(&*self.publications);
        let (index, row) = rows.find(|(_, row)| !row.is_free() && row.name == *name)?;
        Some(PublicationId { index, generation: row.generation })
    }

    /// The first operation that `instance` has under way on a publication, or that one.
    fn first_on(
        &self,
        instance: InstanceHandle,
        of: PublicationId,
        one: Option<OperationId>,
    ) -> Option<OperationId> {
        self.first_pending(&|row| {
            let stream = row.stream().and_then(|stream| stream.row(self.streams)?.publication());
            let info = row.info().and_then(|info| Some(info.row(self.infos)?.publication()));
            row.instance == instance
                && one.is_none_or(|one| row.is(one))
                && stream.or(info).is_some_and(|id| id == of)
        })
    }

    fn publication(&mut self, id: PublicationId) -> Option<&mut Publication> {
        let row = self.publications.get_mut(usize::from(id.index))?;
        (!row.is_free() && row.generation == id.generation).then_some(row)
    }
}

/// Makes two of the parts of the machine into a sink that appends.
struct Appending<'a> {
    storage: &'a mut dyn Storage,
    id: InfoId,
    /// Bytes in front that are not kept.
    front: u64,
}

impl InfoSink for Appending<'_> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), InfoUnwritable> {
        let unwritable = InfoUnwritable { offset };
        match offset.checked_sub(self.front) {
            None => Ok(()),
            Some(at) if at == self.storage.info_len(self.id) => {
                self.storage.append_info(self.id, bytes).map_err(|_| unwritable)
            }
            // A second chunk: nobody has that much room for segments of 2.0.
            Some(_) => Err(unwritable),
        }
    }
}
