//! The service behind the calls: a node, the handles that were given out, and the operations under way.
//!
//! It has no clock, no thread and no lock: `hosted` and `bare` call it, each in its own way.

mod client;
mod server;

use heapless::Vec;
use peerdist_core::api::operation::{Completion, OperationId, Outcome};
use peerdist_core::api::{Api, ApiError, InstanceHandle, Status, StatusInfo, UserId};

use crate::caller::{Address, Out, Overlapped};
use crate::handle::{Kind, Table};
use crate::last_error;
use crate::machine::{CONTENTS, INFOS, INSTANCES, Machine, OPERATIONS, STREAMS};
use crate::signals::{Packet, SIGNALS};
use crate::types::*;

/// A call's result: what it makes, or the code by which it is refused.
pub(crate) type Answer<T> = Result<T, DWORD>;

pub(crate) struct Service {
    pub(crate) node: Machine,
    instances: Table<InstanceHandle, INSTANCES>,
    streams: Table<server::Stream, STREAMS>,
    infos: Table<server::Info, INFOS>,
    contents: Table<client::Content, CONTENTS>,
    /// In the order in which they were accepted.
    operations: Vec<Operation, OPERATIONS>,
}

/// Where the end of an operation is told, beside its event.
#[derive(Clone, Copy)]
pub(crate) struct Port {
    /// NULL: nowhere.
    pub(crate) queue: HANDLE,
    pub(crate) key: usize,
}

// SAFETY: the handles in it are numbers, and what an operation has of the caller's memory may go to any thread.
#[allow(unsafe_code, reason = "handles are pointers by type only")]
unsafe impl Send for Service {}

/// An operation that was accepted and has not ended.
struct Operation {
    overlapped: Overlapped,
    port: Port,
    instance: HANDLE,
    /// The handle that it is on; the instance, where there is none.
    on: HANDLE,
    work: Work,
}

/// What an operation is to do.
enum Work {
    /// The node does it.
    Status(OperationId, StatusOut),
    Server(server::Work),
    Client(client::Work),
}

/// Where a new status goes.
pub(crate) enum StatusOut {
    Plain(Out<PEERDIST_STATUS>),
    Info(Out<PEERDIST_STATUS_INFO>),
}

/// How an operation ends.
struct End {
    code: DWORD,
    bytes: DWORD,
    /// What is put into the OVERLAPPED, where the reference has it so.
    offset: Option<u64>,
}

impl End {
    const fn code(code: DWORD) -> Self {
        Self { code, bytes: 0, offset: None }
    }
}

/// The number of an error.
fn number(error: ApiError) -> DWORD {
    error.code().number()
}

impl Service {
    /// `generation` is the latest of the handles that the one before has given out.
    pub(crate) fn new(node: Machine, generation: usize) -> Self {
        Self {
            node,
            instances: Table::after(Kind::Instance, generation),
            streams: Table::after(Kind::Stream, generation),
            infos: Table::after(Kind::Info, generation),
            contents: Table::after(Kind::Content, generation),
            operations: Vec::new(),
        }
    }

    /// The latest generation of a handle.
    #[cfg(feature = "std")]
    pub(crate) fn generation(&self) -> usize {
        let servers = self.streams.generation().max(self.infos.generation());
        self.instances.generation().max(self.contents.generation()).max(servers)
    }

    fn api(&mut self) -> Api<'_> {
        self.node.api()
    }

    /// Whether no instance is open.
    #[cfg(feature = "std")]
    pub(crate) fn is_idle(&self) -> bool {
        self.instances.iter().next().is_none()
    }

    pub(crate) fn startup(&mut self, version: DWORD) -> Answer<PEERDIST_INSTANCE_HANDLE> {
        let instance = self.api().startup(version, UserId::default()).map_err(number)?;
        let Some(handle) = self.instances.insert(instance) else {
            _ = self.api().shutdown(instance);
            return Err(ERROR_NOT_ENOUGH_MEMORY);
        };
        Ok(handle)
    }

    /// Each operation of the instance ends before this returns.
    pub(crate) fn shutdown(&mut self, handle: HANDLE) -> Answer<()> {
        let instance = self.instance(handle)?;
        self.api().shutdown(instance).map_err(number)?;
        self.take_completions();
        self.end_all(ERROR_OPERATION_ABORTED, |operation| operation.instance == handle);
        while let Some(stream) = find(self.streams.iter(), |stream| stream.instance == handle) {
            self.streams.remove(stream);
        }
        while let Some(info) = find(self.infos.iter(), |info| info.instance == handle) {
            self.infos.remove(info);
        }
        while let Some(content) = find(self.contents.iter(), |content| content.instance == handle) {
            self.contents.remove(content);
        }
        self.instances.remove(handle);
        Ok(())
    }

    pub(crate) fn status(&mut self, instance: HANDLE) -> Answer<StatusInfo> {
        let instance = self.instance(instance)?;
        self.api().status(instance).map_err(number)
    }

    /// C3: accepted like all others, whichever of the two calls it was.
    pub(crate) fn register_status(
        &mut self,
        instance: HANDLE,
        port: Port,
        out: StatusOut,
        overlapped: Overlapped,
    ) -> Answer<()> {
        let core = self.instance(instance)?;
        self.accept(instance, instance, port, overlapped, |service| {
            let operation = service.api().register_status(core, 0).map_err(number)?;
            Ok(Work::Status(operation, out))
        })
    }

    /// C5: the call succeeds, and the registration ends as cancelled, which the last error tells as well.
    /// Without a registration there is nothing to do.
    pub(crate) fn unregister_status(&mut self, handle: HANDLE) -> Answer<()> {
        let instance = self.instance(handle)?;
        let is_meant = |operation: &Operation| {
            operation.instance == handle && matches!(operation.work, Work::Status(..))
        };
        if self.operations.iter().any(is_meant) {
            last_error::set(ERROR_OPERATION_ABORTED);
        }
        self.api().unregister_status(instance).map_err(number)?;
        self.take_completions();
        Ok(())
    }

    pub(crate) fn set_status(&mut self, status: Status) {
        self.api().set_status(status);
        self.take_completions();
        if status != Status::Available {
            // Between two pieces the node knows of no operation.
            let waits = |operation: &Operation| !matches!(operation.work, Work::Status(..));
            self.end_all(PEERDIST_ERROR_INVALIDATED, waits);
        }
    }

    /// Does what there is to do between two turns of the network. Whether there is more.
    pub(crate) fn work(&mut self) -> bool {
        self.take_completions();
        let fed = self.feed();
        self.take_completions();
        fed
    }

    /// Gives each operation that has bytes left to give the next of them; whether any had.
    fn feed(&mut self) -> bool {
        let mut fed = false;
        let mut index = 0;
        while let Some(operation) = self.operations.get(index) {
            let address = operation.overlapped.address();
            fed |= self.feed_server(index) || self.feed_client(index);
            // Where it has ended, the next is at its place.
            if self.operations.get(index).is_some_and(|operation| operation.overlapped.address() == address) {
                index += 1;
            }
        }
        fed
    }

    /// What has ended in the node.
    fn take_completions(&mut self) {
        while let Some(completion) = self.api().poll_operation() {
            let id = completion.operation;
            let index = self.operations.iter().position(|operation| operation.work.operation() == Some(id));
            // What nobody waits for any more was told already.
            if let Some(index) = index {
                self.ended(index, &completion);
            }
        }
    }

    fn ended(&mut self, index: usize, completion: &Completion) {
        let Some(operation) = self.operations.get_mut(index) else { return };
        match &mut operation.work {
            Work::Status(_, out) => {
                if let Outcome::Status(info) = completion.outcome {
                    out.put(info);
                }
                self.end(index, End::code(completion.code().number()));
            }
            Work::Server(_) => self.server_ended(index, completion),
            Work::Client(_) => self.client_ended(index, completion),
        }
    }

    /// Accepts an operation if `start` does. What is refused leaves no trace: no packet, no event, and the
    /// OVERLAPPED as it was.
    fn accept(
        &mut self,
        instance: HANDLE,
        on: HANDLE,
        port: Port,
        mut overlapped: Overlapped,
        start: impl FnOnce(&mut Self) -> Answer<Work>,
    ) -> Answer<()> {
        if self.operations.is_full() {
            return Err(ERROR_NOT_ENOUGH_MEMORY);
        }
        // What is under way owns its OVERLAPPED, so another operation cannot have it.
        if self.position(overlapped.address()).is_some() {
            return Err(ERROR_INVALID_PARAMETER);
        }
        let event = overlapped.event();
        SIGNALS.with(|signals| signals.expect(event, port.queue)).unwrap_or(Err(ERROR_INVALID_HANDLE))?;
        let work = match start(self) {
            Ok(work) => work,
            Err(code) => {
                SIGNALS.with(|signals| signals.forget(port.queue));
                return Err(code);
            }
        };
        overlapped.begin();
        SIGNALS.with(|signals| signals.reset(event));
        // There is room, as was seen above.
        _ = self.operations.push(Operation { overlapped, port, instance, on, work });
        self.take_completions();
        Ok(())
    }

    /// Ends an operation: the one completion that follows its acceptance.
    fn end(&mut self, index: usize, end: End) {
        if index >= self.operations.len() {
            return;
        }
        let Operation { overlapped, port, .. } = self.operations.remove(index);
        let (event, address) = (overlapped.event(), overlapped.address());
        let packet = Packet { key: port.key, bytes: end.bytes, overlapped: address, code: end.code };
        // At once: who sees the end finds event and packet.
        SIGNALS.change(|signals| {
            overlapped.finish(end.code, end.bytes, end.offset);
            signals.tell(event, port.queue, packet);
        });
    }

    /// Ends all that are meant, in the order in which they were accepted.
    fn end_all(&mut self, code: DWORD, is_meant: impl Fn(&Operation) -> bool) {
        while let Some(index) = self.operations.iter().position(&is_meant) {
            self.end(index, End::code(code));
        }
    }

    /// Nobody will do any of it any more.
    #[cfg(feature = "std")]
    pub(crate) fn abandon(&mut self) {
        self.end_all(PEERDIST_ERROR_SERVICE_UNAVAILABLE, |_| true);
    }

    /// Why there is nothing to cancel. A service that is away has nothing under way.
    fn nothing_to_cancel(&mut self, instance: HANDLE) -> DWORD {
        match self.status(instance).map(|info| info.status) {
            Ok(Status::Available) => PEERDIST_ERROR_OPERATION_NOTFOUND,
            Ok(Status::Disabled) => ERROR_ACCESS_DISABLED_BY_POLICY,
            Ok(Status::Unavailable) => PEERDIST_ERROR_SERVICE_UNAVAILABLE,
            Err(code) => code,
        }
    }

    fn position(&self, overlapped: Address) -> Option<usize> {
        self.operations.iter().position(|operation| operation.overlapped.address() == overlapped)
    }

    fn instance(&self, handle: HANDLE) -> Answer<InstanceHandle> {
        self.instances.get(handle).copied().ok_or(ERROR_INVALID_HANDLE)
    }
}

/// The handle of the first that is so.
fn find<'a, T: 'a>(
    mut rows: impl Iterator<Item = (HANDLE, &'a T)>,
    is_so: impl Fn(&T) -> bool,
) -> Option<HANDLE> {
    rows.find(|(_, row)| is_so(row)).map(|(handle, _)| handle)
}

impl Work {
    /// What the node does of it at the moment.
    fn operation(&self) -> Option<OperationId> {
        match self {
            Self::Status(operation, _) => Some(*operation),
            Self::Server(work) => work.operation(),
            Self::Client(work) => work.operation(),
        }
    }
}

impl StatusOut {
    fn put(&mut self, info: StatusInfo) {
        match self {
            Self::Plain(out) => out.put(info.status as PEERDIST_STATUS),
            Self::Info(out) => out.put(status_info(info)),
        }
    }
}

/// A status as C has it.
pub(crate) fn status_info(info: StatusInfo) -> PEERDIST_STATUS_INFO {
    PEERDIST_STATUS_INFO {
        cbSize: size_of::<PEERDIST_STATUS_INFO>() as DWORD,
        status: info.status as PEERDIST_STATUS,
        dwMinVer: info.min_version,
        dwMaxVer: info.max_version,
    }
}

#[cfg(all(test, feature = "std"))]
pub(crate) mod tests;
