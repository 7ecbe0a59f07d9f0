//! The consumer's calls.

use peerdist_core::api::client::ContentTag;
use peerdist_core::api::operation::{Completion, OperationId, Outcome};
use peerdist_core::api::{ApiError, ContentHandle, Patience};
use peerdist_core::time::Instant;

use super::{Answer, End, Port, Service, number};
use crate::caller::{Address, Input, Overlapped, Room};
use crate::last_error;
use crate::machine::PIECE;
use crate::types::*;

/// A content that is open.
pub(super) struct Content {
    pub(super) instance: HANDLE,
    core: ContentHandle,
    port: Port,
}

/// What an operation is to do.
pub(super) enum Work {
    /// Bytes are given to the node in pieces, as those of a stream are.
    Add {
        piece: Option<OperationId>,
        content: ContentHandle,
        kind: Kind,
        input: Input,
        given: usize,
    },
    Read(OperationId, Room),
    /// Nothing but what the node does.
    Plain(OperationId),
}

/// What bytes are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Info,
    /// Content, from that offset on.
    Data(u64),
}

impl Work {
    pub(super) fn operation(&self) -> Option<OperationId> {
        match self {
            Self::Add { piece, .. } => *piece,
            Self::Read(operation, _) | Self::Plain(operation) => Some(*operation),
        }
    }
}

impl Service {
    pub(crate) fn open_content(
        &mut self,
        instance: HANDLE,
        tag: ContentTag,
        port: Port,
    ) -> Answer<PEERDIST_CONTENT_HANDLE> {
        let core = self.instance(instance)?;
        let core = self.api().open_content(core, tag, 0).map_err(number)?;
        self.contents.insert(Content { instance, core, port }).ok_or_else(|| {
            _ = self.api().close_content(core);
            ERROR_NOT_ENOUGH_MEMORY
        })
    }

    pub(crate) fn close_content(&mut self, instance: HANDLE, handle: HANDLE) -> Answer<()> {
        let core = self.content(instance, handle)?.core;
        self.api().close_content(core).map_err(number)?;
        self.take_completions();
        self.end_all(ERROR_OPERATION_ABORTED, |operation| operation.on == handle);
        self.contents.remove(handle);
        Ok(())
    }

    pub(crate) fn add_content_information(
        &mut self,
        instance: HANDLE,
        handle: HANDLE,
        input: Input,
        overlapped: Overlapped,
    ) -> Answer<()> {
        self.check_collecting(instance, handle)?;
        // Where an offset is reserved, it has to be zero (3, rule 10 of the reference).
        if overlapped.offset() != 0 {
            return Err(ERROR_INVALID_PARAMETER);
        }
        self.add(handle, Kind::Info, input, overlapped)
    }

    /// No offset is asked for here, so none is looked at.
    pub(crate) fn complete_content_information(
        &mut self,
        instance: HANDLE,
        handle: HANDLE,
        overlapped: Overlapped,
    ) -> Answer<()> {
        self.check_collecting(instance, handle)?;
        let Content { core, port, .. } = *self.content(instance, handle)?;
        self.accept(instance, handle, port, overlapped, |service| {
            let operation = service.api().complete_content_information(core).map_err(number)?;
            Ok(super::Work::Client(Work::Plain(operation)))
        })
    }

    /// G9: data that is not what it should be is dropped, and the operation succeeds. G12: it may come before
    /// content information is complete.
    pub(crate) fn add_data(
        &mut self,
        instance: HANDLE,
        handle: HANDLE,
        input: Input,
        overlapped: Overlapped,
    ) -> Answer<()> {
        self.content(instance, handle)?;
        let offset = overlapped.offset();
        self.add(handle, Kind::Data(offset), input, overlapped)
    }

    pub(crate) fn block_read(
        &mut self,
        now: Instant,
        instance: HANDLE,
        handle: HANDLE,
        room: Room,
        timeout: DWORD,
        overlapped: Overlapped,
    ) -> Answer<()> {
        let Content { core, port, .. } = *self.content(instance, handle)?;
        let offset = overlapped.offset();
        self.accept(instance, handle, port, overlapped, |service| {
            let (max, timeout) = (room.len() as DWORD, Patience::from_millis(timeout));
            let operation = service.api().block_read(now, core, offset, max, timeout).map_err(number)?;
            Ok(super::Work::Client(Work::Read(operation, room)))
        })
    }

    /// The position is the library's: the offset is not looked at.
    pub(crate) fn stream_read(
        &mut self,
        now: Instant,
        instance: HANDLE,
        handle: HANDLE,
        room: Room,
        timeout: DWORD,
        overlapped: Overlapped,
    ) -> Answer<()> {
        let Content { core, port, .. } = *self.content(instance, handle)?;
        self.accept(instance, handle, port, overlapped, |service| {
            let (max, timeout) = (room.len() as DWORD, Patience::from_millis(timeout));
            let operation = service.api().stream_read(now, core, max, timeout).map_err(number)?;
            Ok(super::Work::Client(Work::Read(operation, room)))
        })
    }

    pub(crate) fn flush_content(
        &mut self,
        instance: HANDLE,
        tag: ContentTag,
        port: Port,
        overlapped: Overlapped,
    ) -> Answer<()> {
        let core = self.instance(instance)?;
        if overlapped.offset() != 0 {
            return Err(ERROR_INVALID_PARAMETER);
        }
        self.accept(instance, instance, port, overlapped, |service| {
            let operation = service.api().flush_content(core, tag, 0).map_err(number)?;
            Ok(super::Work::Client(Work::Plain(operation)))
        })
    }

    pub(crate) fn is_crowded(&mut self, now: Instant, instance: HANDLE, handle: HANDLE) -> Answer<bool> {
        let core = self.content(instance, handle)?.core;
        self.api().information(now, core).map(|information| information.flash_crowd).map_err(number)
    }

    /// C5: the call succeeds, and the last error tells how the operations end.
    pub(crate) fn cancel_client(
        &mut self,
        instance: HANDLE,
        handle: HANDLE,
        overlapped: Option<Address>,
    ) -> Answer<()> {
        let core = self.content(instance, handle)?.core;
        let is_meant = |operation: &super::Operation| {
            operation.on == handle
                && overlapped.is_none_or(|address| operation.overlapped.address() == address)
        };
        let meant = self.operations.iter().find(|operation| is_meant(operation));
        let Some(meant) = meant else {
            let code = self.nothing_to_cancel(instance);
            let useless = self.api().is_invalidated(core) && code == PEERDIST_ERROR_OPERATION_NOTFOUND;
            return Err(if useless { PEERDIST_ERROR_INVALIDATED } else { code });
        };
        // What is between two pieces the node does not know of.
        let one = meant.work.operation();
        if overlapped.is_none() || one.is_some() {
            match self.api().cancel_client_operation(core, one.filter(|_| overlapped.is_some())) {
                Ok(()) | Err(ApiError::OperationNotFound) => {}
                Err(error) => return Err(number(error)),
            }
            self.take_completions();
        }
        self.end_all(ERROR_OPERATION_ABORTED, is_meant);
        last_error::set(ERROR_OPERATION_ABORTED);
        Ok(())
    }

    /// Gives the next piece of an operation; whether there was one to give.
    pub(super) fn feed_client(&mut self, index: usize) -> bool {
        let Some(operation) = self.operations.get_mut(index) else { return false };
        let super::Work::Client(Work::Add { piece: piece @ None, content, kind, input, given }) =
            &mut operation.work
        else {
            return false;
        };
        let rest = input.bytes().get(*given..).unwrap_or_default();
        let bytes = rest.get(..PIECE).unwrap_or(rest);
        let mut api = self.node.api();
        let result = match *kind {
            Kind::Info => api.add_content_information(*content, bytes),
            Kind::Data(offset) => api.add_data(*content, offset.saturating_add(*given as u64), bytes),
        };
        match result {
            Ok(running) => {
                *piece = Some(running);
                *given += bytes.len();
            }
            Err(error) => self.end(index, End::code(number(error))),
        }
        true
    }

    /// The node is done with an operation, or with a piece of it.
    pub(super) fn client_ended(&mut self, index: usize, completion: &Completion) {
        let Some(operation) = self.operations.get_mut(index) else { return };
        let super::Work::Client(work) = &mut operation.work else { return };
        let mut end =
            End { code: completion.code().number(), bytes: completion.bytes(), offset: completion.offset() };
        match (work, completion.outcome) {
            (Work::Add { piece, input, given, .. }, Outcome::Taken(_)) => {
                if *given < input.len() {
                    *piece = None;
                    return;
                }
                end.bytes = input.len() as DWORD;
            }
            // The content ends within what was given, which is no mistake; a mistake is to begin behind its end.
            (Work::Add { input, given, .. }, Outcome::Failed(ApiError::OutOfBounds)) if *given > PIECE => {
                (end.code, end.bytes) = (ERROR_SUCCESS, input.len() as DWORD);
            }
            (Work::Read(read, room), Outcome::Data { len, .. }) => {
                let (read, mut api) = (*read, self.node.api());
                let room = room.bytes().get_mut(..len as usize).unwrap_or_default();
                let mut copied = 0;
                while let Some(rest) = room.get_mut(copied..).filter(|rest| !rest.is_empty()) {
                    match api.copy_read(read, copied as u64, rest) {
                        Ok(more) if more > 0 => copied += more,
                        // What has rotted in the store is not there any more.
                        _ => {
                            end.code = PEERDIST_ERROR_MISSING_DATA;
                            break;
                        }
                    }
                }
                api.end_read(read);
            }
            _ => {}
        }
        self.end(index, end);
    }

    fn add(&mut self, handle: HANDLE, kind: Kind, input: Input, overlapped: Overlapped) -> Answer<()> {
        let Content { instance, core, port } = *self.contents.get(handle).ok_or(ERROR_INVALID_HANDLE)?;
        self.accept(instance, handle, port, overlapped, |service| {
            let bytes = input.bytes().get(..PIECE).unwrap_or(input.bytes());
            let mut api = service.api();
            let piece = match kind {
                Kind::Info => api.add_content_information(core, bytes),
                Kind::Data(offset) => api.add_data(core, offset, bytes),
            };
            let (piece, given) = (Some(piece.map_err(number)?), bytes.len());
            Ok(super::Work::Client(Work::Add { piece, content: core, kind, input, given }))
        })
    }

    /// G2: a second call while content information is being added is a wrong call, and changes nothing.
    fn check_collecting(&self, instance: HANDLE, handle: HANDLE) -> Answer<()> {
        self.content(instance, handle)?;
        let adds = |operation: &super::Operation| {
            operation.on == handle
                && matches!(operation.work, super::Work::Client(Work::Add { kind: Kind::Info, .. }))
        };
        if self.operations.iter().any(adds) { Err(ERROR_INVALID_PARAMETER) } else { Ok(()) }
    }

    /// A content of that instance: a handle with another one's is none.
    fn content(&self, instance: HANDLE, handle: HANDLE) -> Answer<&Content> {
        self.instance(instance)?;
        let content = self.contents.get(handle).filter(|content| content.instance == instance);
        content.ok_or(ERROR_INVALID_HANDLE)
    }
}
