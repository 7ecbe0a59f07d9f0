//! Reads: by offset, or one behind the other.

use core::ops::Range;

use super::ContentHandle;
use crate::api::client::{Completion, Patience, ReadError, ReadId, ReadResult};
use crate::api::error::ApiError;
use crate::api::operation::{Action, Operation, OperationId, Outcome};
use crate::api::tables::Tables;
use crate::api::{Api, Handle};
use crate::time::{Instant, earliest};

/// A read under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) struct Reading {
    /// `None` of a stream read.
    offset: Option<u64>,
    max: u32,
    patience: Patience,
    /// When it was asked for.
    since: Instant,
    /// The engine's read; `None` while it waits for a row of the engine's table.
    issued: Option<ReadId>,
}

impl Api<'_> {
    /// Reads up to `max` bytes from `offset` on (PeerDistClientBlockRead): ends as soon as there are some,
    /// for [`copy_read`](Self::copy_read). With `max` 0 it tells how many bytes from there on are in
    /// the store.
    pub fn block_read(
        &mut self,
        now: Instant,
        content: ContentHandle,
        offset: u64,
        max: u32,
        patience: Patience,
    ) -> Result<OperationId, ApiError> {
        self.read(now, content, Some(offset), max, patience)
    }

    /// The same where the stream read before ended (PeerDistClientStreamRead); what was missing moves the
    /// position as well. Those that wait are served in order.
    pub fn stream_read(
        &mut self,
        now: Instant,
        content: ContentHandle,
        max: u32,
        patience: Patience,
    ) -> Result<OperationId, ApiError> {
        self.read(now, content, None, max, patience)
    }

    /// Copies data of a read that has ended, from `skip` bytes into it, and returns how many bytes that were.
    pub fn copy_read(
        &mut self,
        operation: OperationId,
        skip: u64,
        buf: &mut [u8],
    ) -> Result<usize, ReadError> {
        let read = self.tables.data_of(operation).ok_or(ReadError::NoSuchRead)?;
        self.client.copy_read(self.parts.storage, self.parts.crypto, read, skip, buf)
    }

    /// Gives up the data of a read: it has been copied. Until then its block cannot go, and its operation
    /// keeps its row.
    pub fn end_read(&mut self, operation: OperationId) {
        if let Some(read) = self.tables.take_data_of(operation) {
            self.client.end_read(&mut self.parts, read);
            *self.busy = true;
        }
    }

    fn read(
        &mut self,
        now: Instant,
        content: ContentHandle,
        offset: Option<u64>,
        max: u32,
        patience: Patience,
    ) -> Result<OperationId, ApiError> {
        self.tables.ready(content)?;
        let reading = Reading { offset, max, patience, since: now, issued: None };
        let operation = self.accept_on(content, Action::Read(reading))?;
        *self.busy = true;
        Ok(operation)
    }

    /// Cancels what the engine does for an operation.
    pub(super) fn give_up_read(&mut self, operation: OperationId) {
        let action = self.tables.pending(operation).map(|row| row.action);
        if let Some(Action::Read(Reading { issued: Some(read), .. })) = action {
            self.client.end_read(&mut self.parts, read);
            *self.busy = true;
        }
    }

    /// Gives reads to the engine, as many as it takes, in the order in which they were accepted, and ends those that
    /// have waited for too long; whether there were any.
    pub(in crate::api) fn issue_reads(&mut self, now: Instant) -> bool {
        let waits = |row: &Operation| matches!(row.action, Action::Read(Reading { issued: None, .. }));
        let mut any = false;
        while let Some(left) = self.reads_left.checked_sub(1)
            && let Some(operation) = self.tables.first_pending(&waits)
        {
            let Some(row) = self.tables.pending(operation) else { break };
            let (Handle::Content(content), Action::Read(mut reading)) = (row.handle, row.action) else {
                break;
            };
            match self.issue(now, content, &reading) {
                Ok(read) => reading.issued = Some(read),
                // Downloads have the rest of the table.
                Err(ApiError::Full) => break,
                Err(error) => {
                    self.tables.end(operation, Outcome::Failed(error));
                    continue;
                }
            }
            if let Some(row) = self.tables.pending(operation) {
                row.action = Action::Read(reading);
            }
            (self.reads_left, any) = (left, true);
        }
        any | self.expire_reads(now)
    }

    /// Ends reads that have found no row in their time; whether there were any.
    fn expire_reads(&mut self, now: Instant) -> bool {
        let mut any = false;
        loop {
            let (due, wakes) = self.tables.deadlines(now);
            self.tables.desk.wakes = wakes;
            let Some(operation) = due else { return any };
            let Some(row) = self.tables.pending(operation) else { break };
            let (Handle::Content(content), Action::Read(reading)) = (row.handle, row.action) else { break };
            let outcome = match self.tables.ready(content) {
                Ok(handle) => outcome(&self.client.out_of_time(&mut self.parts, handle, reading.offset)),
                Err(error) => Outcome::Failed(error),
            };
            self.tables.end(operation, outcome);
            any = true;
        }
        any
    }

    fn issue(&mut self, now: Instant, content: ContentHandle, reading: &Reading) -> Result<ReadId, ApiError> {
        let handle = self.tables.ready(content)?;
        // The clock starts at the call.
        let patience = match reading.patience {
            Patience::For(timeout) => Patience::For((reading.since + timeout).since(now)),
            other => other,
        };
        let max = reading.max.into();
        let offset = match reading.offset {
            Some(offset) => offset,
            None => self.client.position(handle),
        };
        self.watch(content, handle, offset);
        match reading.offset {
            Some(offset) => self.client.block_read(now, handle, offset, max, patience),
            None => self.client.stream_read(now, handle, max, patience),
        }
    }
}

impl Tables<'_> {
    /// A read of the engine has ended; whether it was for an operation.
    pub(crate) fn came(&mut self, completion: &Completion) -> bool {
        let read = completion.read;
        let of = |row: &Operation| matches!(row.action, Action::Read(Reading { issued: Some(issued), .. }) if issued == read);
        let Some(operation) = self.first_pending(&of) else { return false };
        let outcome = outcome(&completion.result);
        match outcome {
            Outcome::Data { .. } => self.end_with_data(operation, read, outcome),
            _ => self.end(operation, outcome),
        }
        true
    }

    /// Of reads that wait for a row, the first whose time is over, and when that of the next one is. A stream read
    /// first waits for those before it. One of no bytes asks the store alone, whatever its time.
    fn deadlines(&mut self, now: Instant) -> (Option<OperationId>, Option<Instant>) {
        let Self { desk, contents, operations, .. } = self;
        if !operations.iter().any(|row| row.is_pending() && deadline(row).is_some()) {
            return (None, None);
        }
        let age = |id: OperationId| desk.age(id);
        contents.iter_mut().for_each(|content| content.first_stream_read = None);
        for row in operations.iter().filter(|row| row.is_pending()) {
            if let (Handle::Content(content), Action::Read(Reading { offset: None, .. })) =
                (row.handle, row.action)
                && let Ok(content) = content.row_mut(contents)
                && content.first_stream_read.is_none_or(|first| age(first) < age(row.id()))
            {
                content.first_stream_read = Some(row.id());
            }
        }
        let (mut due, mut wakes) = (None, None);
        for row in operations.iter().filter(|row| row.is_pending()) {
            let Some((is_stream, deadline)) = deadline(row) else { continue };
            let Handle::Content(content) = row.handle else { continue };
            let first = content.row(contents).ok().and_then(|content| content.first_stream_read);
            if is_stream && first != Some(row.id()) {
                continue;
            }
            if deadline <= now && due.is_none_or(|due| age(due) < age(row.id())) {
                due = Some(row.id());
            }
            wakes = earliest(wakes, Some(deadline));
        }
        (due, wakes)
    }
}

/// When a read that waits for a row runs out of time, and whether it is of a stream.
fn deadline(row: &Operation) -> Option<(bool, Instant)> {
    match row.action {
        Action::Read(Reading { offset, max: 1.., patience: Patience::For(timeout), since, issued: None }) => {
            Some((offset.is_none(), since + timeout))
        }
        _ => None,
    }
}

fn outcome(result: &ReadResult) -> Outcome {
    // 32 bits count, and who wants to know more reads on.
    let len = |range: &Range<u64>| u32::try_from(range.end.saturating_sub(range.start)).unwrap_or(u32::MAX);
    match result {
        ReadResult::Data { range, .. } => Outcome::Data { offset: range.start, len: len(range) },
        ReadResult::Local { range } => Outcome::Stored { offset: range.start, len: len(range) },
        // Contradiction C2: the completion has the range, though the read failed.
        ReadResult::Missing { range } => Outcome::Missing { offset: range.start, len: len(range) },
        ReadResult::TimedOut { range } => Outcome::TimedOut { offset: range.start, len: len(range) },
        // Contradiction C4: the end itself is beyond the range.
        ReadResult::NoMore => Outcome::Failed(ApiError::NoMore),
        ReadResult::Failed(error) => Outcome::Failed(*error),
    }
}
