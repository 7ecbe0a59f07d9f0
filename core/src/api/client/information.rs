//! Content information: added piece by piece, declared complete, checked.

use super::{ApiError, Client, Complete, ContentHandle, HOD_STEP, Parts, State};
use crate::content::{HodCheck, Info, Progress};
use crate::store::{InfoView, Storage};

impl Client {
    /// Adds the next piece of content information, of any length
    /// (PeerDistClientAddContentInformation).
    pub fn add_content_information(
        &mut self,
        storage: &mut dyn Storage,
        handle: ContentHandle,
        bytes: &[u8],
    ) -> Result<(), ApiError> {
        match self.content(handle).ok_or(ApiError::InvalidHandle)?.state {
            State::Collecting(id) => storage.append_info(id, bytes).map_err(|_| ApiError::Full),
            _ => Err(ApiError::InvalidState),
        }
    }

    /// Declares the content information complete (PeerDistClientCompleteContentInformation).
    /// Reads can begin once [`Client::is_ready`] says so.
    #[inline(never)]
    pub fn complete_content_information(
        &mut self,
        storage: &mut dyn Storage,
        handle: ContentHandle,
    ) -> Result<(), ApiError> {
        let content = self.content_mut(handle).ok_or(ApiError::InvalidHandle)?;
        let State::Collecting(info_id) = content.state else { return Err(ApiError::InvalidState) };
        match Info::parse(&InfoView { store: storage, id: info_id }) {
            Ok(info) => {
                content.position = info.range().start;
                let unchecked = matches!(info, Info::V1(_)).then_some(0);
                content.state = State::Complete(Complete { info_id, info, unchecked, near: None });
                Ok(())
            }
            Err(error) => {
                content.state = State::Unusable(info_id, error);
                Err(ApiError::CannotParse(error))
            }
        }
    }

    /// Takes that back, as long as no read can begin: more may be added. Blocks that were begun are given up, for nothing
    /// says any more which they are.
    pub(in crate::api) fn reopen_content_information(
        &mut self,
        storage: &mut dyn Storage,
        handle: ContentHandle,
    ) {
        self.give_up(storage, handle, None);
        let Some(content) = self.content_mut(handle) else { return };
        if let State::Complete(Complete { info_id, .. }) = content.state {
            content.state = State::Collecting(info_id);
        }
        if self.check.as_ref().is_some_and(|(checked, _)| *checked == handle) {
            self.check = None;
        }
    }

    /// Whether reads can begin: `Ok(None)` while block hashes are still being checked.
    pub fn is_ready(&self, handle: ContentHandle) -> Result<Option<&Info>, ApiError> {
        match &self.content(handle).ok_or(ApiError::InvalidHandle)?.state {
            State::Complete(complete) => Ok(complete.unchecked.is_none().then_some(&complete.info)),
            State::Unusable(_, error) => Err(ApiError::CannotParse(*error)),
            State::Collecting(_) | State::Closed => Err(ApiError::InvalidState),
        }
    }

    /// MS-PCCRC 2.2: before any block is made available, its segment's block hashes MUST match
    /// HoD. Some of them at a time; whether there is more to check.
    #[inline(never)]
    pub(super) fn check(&mut self, parts: &mut Parts<'_>) -> bool {
        let mut waiting =
            (0u8..).zip(&mut self.contents).filter_map(|(index, content)| match &mut content.state {
                State::Complete(Complete { unchecked: Some(_), .. }) => {
                    Some((ContentHandle { index, generation: content.generation }, content))
                }
                _ => None,
            });
        let next = match &self.check {
            Some((handle, _)) => waiting.find(|(waiting, _)| waiting == handle),
            None => waiting.next(),
        };
        let Some((handle, content)) = next else { return false };
        let State::Complete(complete) = &mut content.state else { return false };
        let Some(segment) = complete.unchecked else { return false };
        let view = complete.view(parts.storage);
        let result = match &mut self.check {
            Some((_, running)) => running.step(&view, parts.crypto, HOD_STEP),
            // A partial list cannot be checked against HoD: a block that matches it might be anybody's, and is
            // kept apart from those of the segment.
            None => complete.info.segment(&view, segment).and_then(|described| {
                if !described.is_whole() {
                    self.parted = true;
                    return Ok(Progress::Done);
                }
                self.check = Some((handle, HodCheck::new(parts.crypto, &described)?));
                Ok(Progress::More)
            }),
        };
        match result {
            Ok(Progress::More) => return true,
            Ok(Progress::Done) => {
                let next = segment.saturating_add(1);
                complete.unchecked = (next < complete.info.segment_count()).then_some(next);
            }
            Err(error) => content.state = State::Unusable(complete.info_id, error),
        }
        self.check = None;
        true
    }
}
