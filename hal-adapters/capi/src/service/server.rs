//! The publisher's calls.

use peerdist_core::api::operation::{Completion, OperationId, Outcome};
use peerdist_core::api::{InfoHandle, InfoVersions, PublicationOptions, StreamHandle};
use peerdist_core::crypto::{Crypto as _, Digest, HashAlgorithm, SoftCrypto};

use super::{Answer, End, Port, Service, number};
use crate::caller::{Address, Input, Overlapped, Room};
use crate::last_error;
use crate::machine::PIECE;
use crate::types::*;

/// A publication that grows.
pub(super) struct Stream {
    pub(super) instance: HANDLE,
    core: StreamHandle,
    port: Port,
    /// The SHA-256 of its identifier, by which its operations are cancelled.
    name: Digest,
    /// What may still be added, if that is known.
    left: Option<u64>,
}

/// Content information that is read.
pub(super) struct Info {
    pub(super) instance: HANDLE,
    core: InfoHandle,
    port: Port,
    name: Digest,
}

/// What an operation is to do.
pub(super) enum Work {
    /// Bytes are given to the node in pieces, so that it has time for others, and the caller time to cancel.
    Add {
        piece: Option<OperationId>,
        stream: StreamHandle,
        input: Input,
        given: usize,
    },
    Complete(OperationId),
    Retrieve {
        operation: OperationId,
        info: InfoHandle,
        room: Room,
    },
}

impl Work {
    pub(super) fn operation(&self) -> Option<OperationId> {
        match self {
            Self::Add { piece, .. } => *piece,
            Self::Complete(operation) | Self::Retrieve { operation, .. } => Some(*operation),
        }
    }
}

impl Service {
    pub(crate) fn publish_stream(
        &mut self,
        instance: HANDLE,
        identifier: &[u8],
        len: u64,
        options: PublicationOptions,
        port: Port,
    ) -> Answer<PEERDIST_STREAM_HANDLE> {
        let core = self.instance(instance)?;
        let core = self.api().publish_stream(core, identifier, len, options, 0).map_err(number)?;
        let left = (len > 0).then_some(len);
        let stream = Stream { instance, core, port, name: name(identifier), left };
        self.streams.insert(stream).ok_or_else(|| {
            _ = self.api().close_stream(core);
            ERROR_NOT_ENOUGH_MEMORY
        })
    }

    pub(crate) fn add_to_stream(
        &mut self,
        instance: HANDLE,
        handle: HANDLE,
        input: Input,
        overlapped: Overlapped,
    ) -> Answer<()> {
        let stream = self.stream(instance, handle)?;
        let (core, port, left) = (stream.core, stream.port, stream.left);
        self.check_serial(handle)?;
        // Where an offset is reserved, it has to be zero (3, rule 10 of the reference).
        if overlapped.offset() != 0 {
            return Err(ERROR_INVALID_PARAMETER);
        }
        // G4: what does not fit is refused by the node as a whole, before any of it is hashed.
        let fits = left.is_none_or(|left| left >= input.len() as u64);
        let first = if fits { input.len().min(PIECE) } else { input.len() };
        self.accept(instance, handle, port, overlapped, |service| {
            let bytes = input.bytes().get(..first).unwrap_or_default();
            let piece = service.api().add_to_stream(core, bytes).map_err(number)?;
            Ok(super::Work::Server(Work::Add { piece: Some(piece), stream: core, input, given: first }))
        })
    }

    pub(crate) fn complete_stream(
        &mut self,
        instance: HANDLE,
        handle: HANDLE,
        overlapped: Overlapped,
    ) -> Answer<()> {
        let Stream { core, port, .. } = *self.stream(instance, handle)?;
        self.check_serial(handle)?;
        if overlapped.offset() != 0 {
            return Err(ERROR_INVALID_PARAMETER);
        }
        self.accept(instance, handle, port, overlapped, |service| {
            let operation = service.api().complete_stream(core).map_err(number)?;
            Ok(super::Work::Server(Work::Complete(operation)))
        })
    }

    pub(crate) fn close_stream(&mut self, instance: HANDLE, handle: HANDLE) -> Answer<()> {
        let core = self.stream(instance, handle)?.core;
        self.api().close_stream(core).map_err(number)?;
        self.take_completions();
        self.end_all(ERROR_OPERATION_ABORTED, |operation| operation.on == handle);
        self.streams.remove(handle);
        Ok(())
    }

    pub(crate) fn unpublish(&mut self, instance: HANDLE, identifier: &[u8]) -> Answer<()> {
        let core = self.instance(instance)?;
        self.api().unpublish(core, identifier).map_err(number)?;
        self.take_completions();
        let name = name(identifier);
        while let Some(index) = self.position_of(instance, &name, None) {
            self.end(index, End::code(ERROR_OPERATION_ABORTED));
        }
        Ok(())
    }

    pub(crate) fn open_content_information(
        &mut self,
        instance: HANDLE,
        identifier: &[u8],
        (offset, len): (u64, u64),
        versions: Option<InfoVersions>,
        port: Port,
    ) -> Answer<PEERDIST_CONTENTINFO_HANDLE> {
        let core = self.instance(instance)?;
        let mut api = self.api();
        let core = match versions {
            Some(versions) => {
                api.open_content_information_ex(core, identifier, offset, len, versions, 0).map_err(number)?
            }
            None => api.open_content_information(core, identifier, offset, len, 0).map_err(number)?,
        };
        self.infos.insert(Info { instance, core, port, name: name(identifier) }).ok_or_else(|| {
            _ = self.api().close_content_information(core);
            ERROR_NOT_ENOUGH_MEMORY
        })
    }

    pub(crate) fn retrieve_content_information(
        &mut self,
        instance: HANDLE,
        handle: HANDLE,
        room: Room,
        overlapped: Overlapped,
    ) -> Answer<()> {
        let Info { core, port, .. } = *self.info(instance, handle)?;
        if overlapped.offset() != 0 {
            return Err(ERROR_INVALID_PARAMETER);
        }
        self.accept(instance, handle, port, overlapped, |service| {
            let max = room.len() as DWORD;
            let operation = service.api().retrieve_content_information(core, max).map_err(number)?;
            Ok(super::Work::Server(Work::Retrieve { operation, info: core, room }))
        })
    }

    /// C7: no policy stands in the way.
    pub(crate) fn close_content_information(&mut self, instance: HANDLE, handle: HANDLE) -> Answer<()> {
        let core = self.info(instance, handle)?.core;
        self.api().close_content_information(core).map_err(number)?;
        self.take_completions();
        self.infos.remove(handle);
        Ok(())
    }

    /// C5: the call succeeds, and the last error tells how the operation ends.
    pub(crate) fn cancel_server(
        &mut self,
        instance: HANDLE,
        identifier: &[u8],
        overlapped: Address,
    ) -> Answer<()> {
        let core = self.instance(instance)?;
        let position = self.position_of(instance, &name(identifier), Some(overlapped));
        let Some(index) = position else { return Err(self.nothing_to_cancel(instance)) };
        let running = self.operations.get(index).and_then(|operation| operation.work.operation());
        match running {
            Some(running) => {
                self.api().cancel_server_operation(core, identifier, running).map_err(number)?;
                self.take_completions();
            }
            // Between two pieces; those that were given are part of the stream, so the caller has to know of them.
            None => {
                let bytes = match self.operations.get(index).map(|operation| &operation.work) {
                    Some(super::Work::Server(Work::Add { given, .. })) => *given as DWORD,
                    _ => 0,
                };
                self.end(index, End { bytes, ..End::code(ERROR_OPERATION_ABORTED) });
            }
        }
        last_error::set(ERROR_OPERATION_ABORTED);
        Ok(())
    }

    /// Gives the next piece of an AddToStream; whether there was one to give.
    pub(super) fn feed_server(&mut self, index: usize) -> bool {
        let Self { operations, node, .. } = self;
        let Some(operation) = operations.get_mut(index) else { return false };
        let super::Work::Server(Work::Add { piece: piece @ None, stream, input, given }) =
            &mut operation.work
        else {
            return false;
        };
        let rest = input.bytes().get(*given..).unwrap_or_default();
        let bytes = rest.get(..PIECE).unwrap_or(rest);
        match node.api().add_to_stream(*stream, bytes) {
            Ok(running) => {
                *piece = Some(running);
                *given += bytes.len();
            }
            // C6: it may be that the stream has just lost its publication.
            Err(error) => self.end(index, End::code(number(error))),
        }
        true
    }

    /// The node is done with an operation, or with a piece of it.
    pub(super) fn server_ended(&mut self, index: usize, completion: &Completion) {
        let Self { operations, node, streams, .. } = self;
        let Some(operation) = operations.get_mut(index) else { return };
        let super::Work::Server(work) = &mut operation.work else { return };
        let mut end = End::code(completion.code().number());
        match (work, completion.outcome) {
            (Work::Add { piece, input, given, .. }, Outcome::Taken(taken)) => {
                if let Some(left) = streams.get_mut(operation.on).and_then(|stream| stream.left.as_mut()) {
                    *left = left.saturating_sub(taken.into());
                }
                if *given < input.len() {
                    *piece = None;
                    return;
                }
                end.bytes = input.len() as DWORD;
            }
            (Work::Retrieve { info, room, .. }, Outcome::Data { offset, len }) => {
                let room = room.bytes().get_mut(..len as usize).unwrap_or_default();
                match node.api().copy_content_information(*info, offset, room) {
                    Ok(copied) => (end.bytes, end.offset) = (copied as DWORD, Some(offset)),
                    Err(error) => end.code = number(error),
                }
            }
            _ => {}
        }
        self.end(index, end);
    }

    /// The first operation of an instance on what has that name; the one that has this OVERLAPPED, if that
    /// is said.
    fn position_of(&self, instance: HANDLE, name: &Digest, overlapped: Option<Address>) -> Option<usize> {
        self.operations.iter().position(|operation| {
            let stream = self.streams.get(operation.on).map(|stream| &stream.name);
            let named = stream.or_else(|| self.infos.get(operation.on).map(|info| &info.name));
            operation.instance == instance
                && named.is_some_and(|other| other.as_bytes() == name.as_bytes())
                && overlapped.is_none_or(|address| operation.overlapped.address() == address)
        })
    }

    /// G2: a second call while bytes are being added is a wrong call, and changes nothing.
    fn check_serial(&self, stream: HANDLE) -> Answer<()> {
        let adds = |operation: &super::Operation| {
            operation.on == stream && matches!(operation.work, super::Work::Server(Work::Add { .. }))
        };
        if self.operations.iter().any(adds) { Err(ERROR_INVALID_PARAMETER) } else { Ok(()) }
    }

    /// A stream of that instance: a handle with another one's is none.
    fn stream(&self, instance: HANDLE, handle: HANDLE) -> Answer<&Stream> {
        self.instance(instance)?;
        let stream = self.streams.get(handle).filter(|stream| stream.instance == instance);
        stream.ok_or(ERROR_INVALID_HANDLE)
    }

    fn info(&self, instance: HANDLE, handle: HANDLE) -> Answer<&Info> {
        self.instance(instance)?;
        let info = self.infos.get(handle).filter(|info| info.instance == instance);
        info.ok_or(ERROR_INVALID_HANDLE)
    }
}

fn name(identifier: &[u8]) -> Digest {
    let mut state = SoftCrypto.hash_start(HashAlgorithm::Sha256);
    SoftCrypto.hash_update(&mut state, identifier);
    SoftCrypto.hash_finish(state)
}
