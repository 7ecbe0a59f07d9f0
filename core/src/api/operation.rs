//! Calls that end later: each that was accepted has exactly one completion.
//!
//! An operation keeps its row until its completion has been taken, so there is always room for one:
//! without a row it is not accepted. Until then it counts as under way, since nobody but the caller
//! knows whether he has seen its end. Completions come in the order in which operations ended.

use super::client::{ContentTag, ReadId};
use super::code::Code;
use super::consumer::Reading;
use super::error::ApiError;
use super::instance::{InstanceHandle, StatusInfo};
use super::server::{InfoHandle, StreamHandle};
use super::tables::{Desk, Tables};
use super::{Api, Handle};

/// A call that was accepted. No two of a node are ever the same, as far as 32 bits go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct OperationId(u32);

/// An operation that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Completion {
    /// Which.
    pub operation: OperationId,
    /// Of which instance.
    pub instance: InstanceHandle,
    /// On what; it may be closed by now.
    pub handle: Handle,
    /// The number that was given when that was opened, or with the call.
    pub key: usize,
    /// How.
    pub outcome: Outcome,
}

/// What an operation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// It is done.
    Done,
    /// The status is another than the last that was told.
    Status(StatusInfo),
    /// So many bytes were taken.
    Taken(u32),
    /// Bytes are there to be copied.
    Data {
        /// Where they begin.
        offset: u64,
        /// How many.
        len: u32,
    },
    /// So many bytes in a row are in the store: the answer to a read of none.
    Stored {
        /// Where they begin.
        offset: u64,
        /// How many, as far as 32 bits count.
        len: u32,
    },
    /// Neither the store nor a peer has these bytes.
    Missing {
        /// Where they begin.
        offset: u64,
        /// How many.
        len: u32,
    },
    /// The time was over first; a retry may succeed.
    TimedOut {
        /// Where what is missing begins.
        offset: u64,
        /// How many bytes that is.
        len: u32,
    },
    /// It failed, or was cancelled.
    Failed(ApiError),
}

impl Completion {
    /// The number of the result.
    pub const fn code(&self) -> Code {
        match &self.outcome {
            Outcome::Failed(error) => error.code(),
            Outcome::Missing { .. } => Code::MissingData,
            Outcome::TimedOut { .. } => Code::Timeout,
            _ => Code::Success,
        }
    }

    /// Bytes transferred; or of what is missing.
    pub const fn bytes(&self) -> u32 {
        match self.outcome {
            Outcome::Taken(len) => len,
            Outcome::Data { len, .. }
            | Outcome::Stored { len, .. }
            | Outcome::Missing { len, .. }
            | Outcome::TimedOut { len, .. } => len,
            Outcome::Done | Outcome::Status(_) | Outcome::Failed(_) => 0,
        }
    }

    /// Where the bytes begin, if they were to be read from somewhere.
    pub const fn offset(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Data { offset, .. }
            | Outcome::Stored { offset, .. }
            | Outcome::Missing { offset, .. }
            | Outcome::TimedOut { offset, .. } => Some(offset),
            Outcome::Taken(_) | Outcome::Done | Outcome::Status(_) | Outcome::Failed(_) => None,
        }
    }
}

/// A row of the table of operations.
pub struct Operation {
    id: OperationId,
    stage: Stage,
    pub(super) instance: InstanceHandle,
    pub(super) handle: Handle,
    key: usize,
    pub(super) action: Action,
    /// The engine's read that holds its data.
    data: Option<ReadId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Free,
    Pending,
    /// The first number counts those that ended.
    Ended(u32, Outcome),
    /// Its completion has been taken, and its data has not.
    Taken,
}

/// What an operation is to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Notify,
    Add,
    Complete,
    Retrieve { max: u32 },
    AddInfo,
    CompleteInfo,
    AddData,
    Read(Reading),
    Flush(ContentTag),
}

impl Operation {
    pub(super) const FREE: Self = Self {
        id: OperationId(0),
        stage: Stage::Free,
        instance: InstanceHandle::NONE,
        handle: Handle::Instance(InstanceHandle::NONE),
        key: 0,
        action: Action::Add,
        data: None,
    };

    pub(super) fn is_pending(&self) -> bool {
        #[cfg(test)]
        super::tests::count_look();
        self.stage == Stage::Pending
    }

    /// Whether it has not ended, or nobody has seen that yet.
    fn is_under_way(&self) -> bool {
        matches!(self.stage, Stage::Pending | Stage::Ended(..))
    }

    pub(super) fn id(&self) -> OperationId {
        self.id
    }

    pub(super) fn is(&self, id: OperationId) -> bool {
        self.id == id
    }

    pub(super) fn stream(&self) -> Option<StreamHandle> {
        match self.handle {
            Handle::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// The tag of which all is to go.
    pub(super) fn flushed(&self) -> Option<ContentTag> {
        match self.action {
            Action::Flush(tag) => Some(tag),
            _ => None,
        }
    }

    pub(super) fn info(&self) -> Option<InfoHandle> {
        match self.handle {
            Handle::Info(info) => Some(info),
            _ => None,
        }
    }
}

impl Api<'_> {
    /// The next operation that has ended, in the order in which they did.
    pub fn poll_operation(&mut self) -> Option<Completion> {
        let Tables { operations, desk, .. } = &mut self.tables;
        // As far as 32 bits go: the oldest is the furthest from the one that comes next.
        let next = desk.next_end;
        let age = |row: &Operation| match row.stage {
            Stage::Ended(order, _) => Some(next.wrapping_sub(order)),
            Stage::Free | Stage::Pending | Stage::Taken => None,
        };
        let row = operations.iter_mut().filter(|row| age(row).is_some()).max_by_key(|row| age(row))?;
        let then = if row.data.is_some() { Stage::Taken } else { Stage::Free };
        let Stage::Ended(_, outcome) = core::mem::replace(&mut row.stage, then) else { return None };
        let Operation { id: operation, instance, handle, key, .. } = *row;
        Some(Completion { operation, instance, handle, key, outcome })
    }

    /// Whether an operation has not ended yet.
    pub fn is_pending(&self, operation: OperationId) -> bool {
        self.tables.operations.iter().any(|row| row.is_pending() && row.id == operation)
    }
}

impl Desk {
    /// How many were accepted after another.
    pub(super) fn age(&self, operation: OperationId) -> u32 {
        self.next_operation.wrapping_sub(operation.0)
    }
}

impl Tables<'_> {
    /// Accepts an operation, if there is a row for it.
    pub(super) fn accept(
        &mut self,
        instance: InstanceHandle,
        handle: Handle,
        key: usize,
        action: Action,
    ) -> Result<OperationId, ApiError> {
        let row = self.operations.iter_mut().find(|row| row.stage == Stage::Free).ok_or(ApiError::Full)?;
        self.desk.next_operation = self.desk.next_operation.wrapping_add(1);
        let id = OperationId(self.desk.next_operation);
        *row = Operation { id, stage: Stage::Pending, instance, handle, key, action, data: None };
        Ok(id)
    }

    /// Takes back what was accepted: there will be no completion.
    pub(super) fn refuse(&mut self, operation: OperationId) {
        if let Some(row) = self.pending(operation) {
            row.stage = Stage::Free;
        }
    }

    /// Ends an operation that has not ended yet.
    pub(super) fn end(&mut self, operation: OperationId, outcome: Outcome) {
        let order = self.desk.next_end;
        if let Some(row) = self.pending(operation) {
            row.stage = Stage::Ended(order, outcome);
            self.desk.next_end = order.wrapping_add(1);
        }
    }

    /// Ends one whose data the engine has.
    pub(super) fn end_with_data(&mut self, operation: OperationId, read: ReadId, outcome: Outcome) {
        if let Some(row) = self.pending(operation) {
            row.data = Some(read);
        }
        self.end(operation, outcome);
    }

    /// The engine's read that holds the data of an operation.
    pub(super) fn data_of(&self, operation: OperationId) -> Option<ReadId> {
        let row = self.operations.iter().find(|row| row.id == operation && row.stage != Stage::Free)?;
        row.data
    }

    /// The same, which is nobody's from now on.
    pub(super) fn take_data_of(&mut self, operation: OperationId) -> Option<ReadId> {
        let mut rows = self.operations.iter_mut();
        let row = rows.find(|row| row.id == operation && row.stage == Stage::Taken)?;
        row.stage = Stage::Free;
        row.data.take()
    }

    /// What has been read of a handle cannot be copied any more. Of a read that nobody has seen the end of,
    /// this is how it ended.
    pub(super) fn lose_data(&mut self, handle: Handle, error: ApiError) {
        for row in self.operations.iter_mut().filter(|row| row.handle == handle && row.data.is_some()) {
            row.data = None;
            match &mut row.stage {
                Stage::Ended(_, outcome) => *outcome = Outcome::Failed(error),
                Stage::Taken => row.stage = Stage::Free,
                Stage::Free | Stage::Pending => {}
            }
        }
    }

    /// Ends all operations that have not ended yet and are `meant`, in the order in which they were
    /// accepted.
    pub(super) fn end_all(&mut self, error: ApiError, meant: &dyn Fn(&Operation) -> bool) {
        while let Some(operation) = self.first_pending(meant) {
            self.end(operation, Outcome::Failed(error));
        }
    }

    /// Of those that are `meant` and have not ended yet, the one that was accepted first.
    pub(super) fn first_pending(&self, meant: &dyn Fn(&Operation) -> bool) -> Option<OperationId> {
        self.pending_after(None, meant)
    }

    /// The same of those that were accepted after another one.
    pub(super) fn pending_after(
        &self,
        other: Option<OperationId>,
        meant: &dyn Fn(&Operation) -> bool,
    ) -> Option<OperationId> {
        let age = |id: OperationId| self.desk.age(id);
        let later = |row: &&Operation| other.is_none_or(|other| age(row.id) < age(other));
        let rows = self.operations.iter().filter(later).filter(|row| row.is_pending() && meant(row));
        rows.max_by_key(|row| age(row.id)).map(|row| row.id)
    }

    /// Whether an operation that does `action` is under way on what `handle` names.
    pub(super) fn is_under_way(&self, handle: Handle, action: Action) -> bool {
        self.operations.iter().any(|row| row.is_under_way() && row.handle == handle && row.action == action)
    }

    /// The row of an operation that has not ended yet.
    pub(super) fn pending(&mut self, operation: OperationId) -> Option<&mut Operation> {
        self.operations.iter_mut().find(|row| row.is_pending() && row.id == operation)
    }
}
