//! Blocks that are filled with data from the origin, in order.

use super::{
    Added, ApiError, Client, ContentHandle, DOWNLOAD_INTAKES, IDLE_INTAKE, INTAKES, Located, Parts, Told,
    until,
};
use crate::crypto::Seal;
use crate::hosted::client::{Came, DOWNLOAD_TAG};
use crate::store::verify::{Intake, VerifyError};
use crate::store::{ReserveError, Storage};
use crate::time::Instant;

/// A block being filled with data from the origin.
pub(super) struct Inflow {
    content: ContentHandle,
    pub(super) start: u64,
    /// Where its key stands in the content information.
    secret_at: u64,
    pub(super) intake: Intake,
    pace: Pace,
}

/// Whether an application still adds to a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// It has, since the machine was moved on last.
    Fresh,
    /// Not since then.
    Quiet(Instant),
    /// Not for long: whoever else has the block may have its place.
    Idle,
}

impl Client {
    /// Adds data that came from the origin, at `offset` of the content (PeerDistClientAddData). A
    /// block is verified whole, so where the range begins or ends inside one, the rest of that
    /// block has to be added too.
    /// Returns how many bytes were used, up to the end of their block, and what became of them.
    pub fn add_data(
        &mut self,
        parts: &mut Parts<'_>,
        handle: ContentHandle,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(usize, Added), ApiError> {
        // What goes on with a block needs no search.
        let mut position = self.inflow(handle, offset);
        if position.is_none() {
            if let Some(done) = self.begin_block(parts, handle, offset, bytes)? {
                return Ok(done);
            }
            position = self.intakes.len().checked_sub(1);
        }
        let Some(position) = position else { return Err(ApiError::Full) };
        let Some(inflow) = self.intakes.get(position) else { return Err(ApiError::Full) };
        let complete = self.ready(handle)?;
        let kp = complete.info.secret_at(&complete.view(parts.storage), inflow.secret_at);
        let kp = kp.map_err(ApiError::CannotParse)?;
        let Some(inflow) = self.intakes.get_mut(position) else { return Err(ApiError::Full) };
        let rest = until(inflow.end(), offset, bytes);
        if u64::from(inflow.intake.taken()) != offset.saturating_sub(inflow.start) {
            return Ok((rest, Added::OutOfOrder));
        }
        let (storage, crypto) = (&mut *parts.storage, &mut *parts.crypto);
        let result = inflow.intake.update(storage, crypto, &kp, bytes);
        inflow.pace = Pace::Fresh;
        let (slot, begun) = (inflow.intake.slot(), inflow.start);
        self.moved = self.moved.wrapping_add(u32::from(!bytes.is_empty()));
        if !matches!(result, Ok((_, false))) && position < self.intakes.len() {
            self.intakes.swap_remove(position);
        }
        if matches!(
            result,
            Ok((_, true)) | Err(VerifyError::Length | VerifyError::Hash | VerifyError::Padding)
        ) {
            // Others may have waited for its row, or for the block.
            self.unsettle_all();
        }
        match result {
            Ok((used, false)) => Ok((used, Added::Partial)),
            Ok((used, true)) => {
                self.fresh = true;
                self.label(parts.storage, handle, slot);
                if let Some(told) = parts.told.take() {
                    self.tell(parts, handle, begun, told);
                    parts.told = Some(told);
                }
                Ok((used, Added::Committed))
            }
            Err(error) => {
                parts.storage.release(slot);
                match error {
                    VerifyError::Seal(_) => Err(ApiError::Full),
                    _ => Ok((rest, Added::Bad)),
                }
            }
        }
    }

    /// Tells of a block that has come whole from an origin.
    #[inline(never)]
    fn tell(&self, parts: &mut Parts<'_>, handle: ContentHandle, start: u64, told: &mut dyn Told) {
        let Ok(located) = self.locate(parts, handle, start) else { return };
        let (Ok(complete), Some(content)) = (self.ready(handle), self.content(handle)) else { return };
        let tag = if content.of_download { DOWNLOAD_TAG } else { content.tag };
        let (info, info_id) = (&complete.info, complete.info_id);
        let (segment, id) = (&located.segment, located.block.segment);
        told.came(&Came { info, info_id, segment, id, tag }, parts.storage);
    }

    /// Drops what is incomplete of the block that begins at `start`: its source broke off.
    pub fn drop_data(&mut self, storage: &mut dyn Storage, handle: ContentHandle, start: u64) {
        self.drop_intakes(storage, handle, Some(start));
    }

    /// The block that is filled with the data at `offset` of a content.
    pub(super) fn inflow(&self, handle: ContentHandle, offset: u64) -> Option<usize> {
        self.intakes
            .iter()
            .position(|inflow| inflow.content == handle && offset >= inflow.start && offset < inflow.end())
    }

    /// Begins with the block that the byte at `offset` is of; or else what becomes of `bytes`, and of how many.
    #[inline(never)]
    fn begin_block(
        &mut self,
        parts: &mut Parts<'_>,
        handle: ContentHandle,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Option<(usize, Added)>, ApiError> {
        let located = self.locate(parts, handle, offset)?;
        let rest = until(located.end(), offset, bytes);
        if offset > located.start {
            return Ok(Some((rest, Added::OutOfOrder)));
        }
        let begun = self.begin_intake(parts, handle, &located)?;
        Ok(if begun { None } else { Some((rest, Added::Known)) })
    }

    /// Reserves a slot for a block from the origin; `false` if the block is here or on its way.
    #[inline(never)]
    pub(super) fn begin_intake(
        &mut self,
        parts: &mut Parts<'_>,
        content: ContentHandle,
        located: &Located,
    ) -> Result<bool, ApiError> {
        let len = parts.cipher.sealed_len(located.expected.len);
        let slot = loop {
            match parts.storage.reserve(&located.kept, len) {
                Ok(slot) => break slot,
                Err(ReserveError::Exists) if self.displace(parts, located) => {}
                Err(ReserveError::Exists) => return Ok(false),
                Err(ReserveError::Full) => return Err(ApiError::Full),
            }
        };
        // MS-PCCRR 5.1: an IV suitable for the cipher: fresh for each encryption.
        let mut iv = [0; 16];
        parts.rng.fill_bytes(&mut iv);
        let seal = Seal { algorithm: parts.cipher, iv };
        let intake = Intake::new(parts.crypto, slot, seal, located.expected);
        let secret_at = located.segment.secret_at();
        let inflow = Inflow { content, start: located.start, secret_at, intake, pace: Pace::Fresh };
        if !self.has_intake(content) || self.intakes.push(inflow).is_err() {
            parts.storage.release(slot);
            return Err(ApiError::Full);
        }
        Ok(true)
    }

    /// Whether there is a row for a block of a content: applications leave some to downloads.
    fn has_intake(&self, content: ContentHandle) -> bool {
        let of_download = |of: ContentHandle| self.content(of).is_some_and(|content| content.of_download);
        let theirs = self.intakes.iter().filter(|inflow| !of_download(inflow.content)).count();
        let left = self.for_downloads.saturating_mul(DOWNLOAD_INTAKES);
        of_download(content) || theirs.saturating_add(left) < INTAKES
    }

    /// Gives up what another content has of a block and does not go on with; whether there was anything.
    #[inline(never)]
    pub(super) fn displace(&mut self, parts: &mut Parts<'_>, block: &Located) -> bool {
        let idle = self.adder(parts, block).filter(|inflow| inflow.pace == Pace::Idle);
        let Some(&Inflow { content, start, .. }) = idle else { return false };
        self.give_up(parts.storage, content, Some(start));
        true
    }

    /// Forgets what was added of the block that begins at `start`, or of all, and counts it.
    #[inline(never)]
    pub(super) fn give_up(&mut self, storage: &mut dyn Storage, handle: ContentHandle, start: Option<u64>) {
        let of_application = self.content(handle).is_some_and(|content| !content.of_download);
        let its = self.intakes.iter().filter(|inflow| of_application && inflow.is(handle, start));
        let bytes = its.map(|inflow| u64::from(inflow.intake.taken())).fold(0, u64::saturating_add);
        self.given_up = self.given_up.saturating_add(bytes);
        self.drop_intakes(storage, handle, start);
    }

    /// Where data of a block is being added, of whichever content.
    pub(super) fn adder(&self, parts: &mut Parts<'_>, block: &Located) -> Option<&Inflow> {
        self.intakes.iter().find(|inflow| {
            let located = self.locate(parts, inflow.content, inflow.start);
            located.is_ok_and(|located| located.kept == block.kept)
        })
    }

    /// Sees which blocks are not gone on with. Those of downloads are: they come, or are given up.
    pub(super) fn watch_intakes(&mut self, now: Instant) {
        let Self { intakes, contents, .. } = self;
        let mut any = false;
        for inflow in intakes {
            let content = contents.get(usize::from(inflow.content.index));
            inflow.pace = match inflow.pace {
                Pace::Fresh => Pace::Quiet(now),
                Pace::Quiet(since)
                    if now.since(since) >= IDLE_INTAKE && content.is_some_and(|it| !it.of_download) =>
                {
                    any = true;
                    Pace::Idle
                }
                pace => pace,
            };
        }
        if any {
            self.unsettle_all();
        }
    }

    /// Forgets what is incomplete of a content: of the block that begins at `start`, or of all.
    #[inline(never)]
    pub(super) fn drop_intakes(
        &mut self,
        storage: &mut dyn Storage,
        handle: ContentHandle,
        start: Option<u64>,
    ) {
        let before = self.intakes.len();
        self.intakes.retain(|inflow| {
            let goes = inflow.is(handle, start);
            if goes {
                storage.release(inflow.intake.slot());
            }
            !goes
        });
        if self.intakes.len() < before {
            self.unsettle_all();
        }
    }

    /// When the next block that is not gone on with gives way, if anybody may wait for it.
    pub(super) fn idle_at(&self) -> Option<Instant> {
        let of_download = |of: ContentHandle| self.content(of).is_some_and(|content| content.of_download);
        let awaited = self.holds || self.is_any_barred();
        let theirs = self.intakes.iter().filter(|inflow| awaited && !of_download(inflow.content));
        let quiet = theirs.filter_map(|inflow| match inflow.pace {
            Pace::Quiet(since) => Some(since + IDLE_INTAKE),
            Pace::Fresh | Pace::Idle => None,
        });
        quiet.min()
    }
}

impl Inflow {
    /// Whether it is of a content, and of the block that begins there.
    fn is(&self, content: ContentHandle, start: Option<u64>) -> bool {
        self.content == content && start.is_none_or(|start| start == self.start)
    }

    /// Where its block ends in the content.
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(self.intake.plain_len().into())
    }
}
