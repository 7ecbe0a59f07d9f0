//! Calls of the API, as data: what the reference is asked, and what an application would ask a node.

use super::library::Library;
use super::reads::Patience as Wait;
use super::{Model, Stage};

pub use super::reads::Patience;

/// Bytes of a body of the library; the first one is another one if they are `spoilt`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    /// Of which body.
    pub body: usize,
    /// From where on.
    pub from: usize,
    /// How many, as far as there are.
    pub len: usize,
    /// Whether they are to be wrong.
    pub spoilt: bool,
}

impl Bytes {
    /// What they are.
    pub fn of(self, library: &Library) -> Vec<u8> {
        let body = &library.bodies[self.body];
        let from = self.from.min(body.len());
        let mut bytes = body[from..body.len().min(from + self.len)].to_vec();
        if let (true, Some(first)) = (self.spoilt, bytes.first_mut()) {
            *first ^= 1;
        }
        bytes
    }
}

/// A call. Handles and operations are numbers, in the order in which they were made; keys are numbers too.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "they are the parameters of the functions")]
pub enum Call {
    Startup {
        version: u32,
        user: u32,
    },
    Shutdown {
        instance: usize,
    },
    Status {
        instance: usize,
    },
    Register {
        instance: usize,
        key: usize,
    },
    Unregister {
        instance: usize,
    },
    SetStatus {
        status: u32,
    },
    SetPublished {
        versions: (u32, u32),
    },
    Publish {
        instance: usize,
        id: Vec<u8>,
        len: u64,
        options: (u32, u32),
        key: usize,
    },
    AddToStream {
        stream: usize,
        bytes: Bytes,
    },
    CompleteStream {
        stream: usize,
    },
    CloseStream {
        stream: usize,
    },
    Unpublish {
        instance: usize,
        id: Vec<u8>,
    },
    OpenInfo {
        instance: usize,
        id: Vec<u8>,
        range: (u64, u64),
        versions: Option<(u32, u32)>,
        key: usize,
    },
    Retrieve {
        info: usize,
        max: u32,
    },
    CopyInfo {
        info: usize,
        offset: u64,
        len: usize,
    },
    CloseInfo {
        info: usize,
    },
    CancelServer {
        instance: usize,
        id: Vec<u8>,
        operation: usize,
    },
    OpenContent {
        instance: usize,
        tag: u8,
        key: usize,
    },
    CloseContent {
        content: usize,
    },
    AddContentInfo {
        content: usize,
        material: usize,
        from: usize,
        len: usize,
    },
    CompleteContentInfo {
        content: usize,
    },
    AddData {
        content: usize,
        offset: u64,
        bytes: Bytes,
    },
    BlockRead {
        content: usize,
        offset: u64,
        max: u32,
        patience: Wait,
    },
    StreamRead {
        content: usize,
        max: u32,
        patience: Wait,
    },
    CopyRead {
        operation: usize,
        skip: u64,
        len: usize,
    },
    EndRead {
        operation: usize,
    },
    CancelClient {
        content: usize,
        operation: Option<usize>,
    },
    Flush {
        instance: usize,
        tag: u8,
        key: usize,
    },
    Information {
        content: usize,
    },
    IsPending {
        operation: usize,
    },
    Dropped,
    /// The node is driven.
    Drive,
    /// The same, until nobody looks for peers any more.
    Elapse,
    /// So many completions are taken, as far as there are.
    Take(usize),
}

/// What a call answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The code of what was refused.
    Refused(u32),
    /// Success.
    Done,
    /// A new handle.
    Opened,
    /// It is accepted, and ends later.
    Accepted,
    /// What was copied.
    Copied(Vec<u8>),
    /// There is no such read, or nothing of it to be copied.
    NoSuchRead,
    /// The status, and the versions.
    Status(u32, u32, u32),
    /// Yes or no.
    Is(bool),
    /// Blocks that were bad, and bytes for which there was no room.
    Dropped(u32, u64),
}

impl Model<'_> {
    /// What a call answers with. Completions are [taken](Self::take) apart.
    pub fn call(&mut self, call: &Call) -> Answer {
        let done = |result: super::Result<()>, then| result.map_or_else(Answer::Refused, |()| then);
        match *call {
            Call::Startup { version, user } => done(self.startup(version, user), Answer::Opened),
            Call::Shutdown { instance } => done(self.shutdown(instance), Answer::Done),
            Call::Status { instance } => {
                let (min, max) = self.published;
                done(self.instance(instance).map(drop), Answer::Status(self.status, min, max))
            }
            Call::Register { instance, key } => done(self.register(instance, key), Answer::Accepted),
            Call::Unregister { instance } => done(self.unregister(instance), Answer::Done),
            Call::SetStatus { status } => {
                self.set_status(status);
                Answer::Done
            }
            Call::SetPublished { versions } => {
                self.published = versions;
                Answer::Done
            }
            Call::Publish { instance, ref id, len, options, key } => {
                done(self.publish(instance, id, len, options, key), Answer::Opened)
            }
            Call::AddToStream { stream, bytes } => {
                let bytes = bytes.of(self.library);
                done(self.add(stream, &bytes), Answer::Accepted)
            }
            Call::CompleteStream { stream } => done(self.complete(stream), Answer::Accepted),
            Call::CloseStream { stream } => done(self.close_stream(stream), Answer::Done),
            Call::Unpublish { instance, ref id } => done(self.unpublish(instance, id), Answer::Done),
            Call::OpenInfo { instance, ref id, range, versions, key } => {
                done(self.open_info(instance, id, range, versions, key), Answer::Opened)
            }
            Call::Retrieve { info, max } => done(self.retrieve(info, max), Answer::Accepted),
            Call::CopyInfo { info, offset, len } => {
                self.copy_info(info, offset, len).map_or_else(Answer::Refused, Answer::Copied)
            }
            Call::CloseInfo { info } => done(self.close_info(info), Answer::Done),
            Call::CancelServer { instance, ref id, operation } => {
                done(self.cancel_server(instance, id, operation), Answer::Done)
            }
            Call::OpenContent { instance, tag, key } => {
                done(self.open_content(instance, tag, key), Answer::Opened)
            }
            Call::CloseContent { content } => done(self.close_content(content), Answer::Done),
            Call::AddContentInfo { content, material, from, len } => {
                let bytes = self.library.materials[material].bytes[from..from + len].to_vec();
                done(self.add_content_information(content, &bytes), Answer::Accepted)
            }
            Call::CompleteContentInfo { content } => {
                done(self.complete_content_information(content), Answer::Accepted)
            }
            Call::AddData { content, offset, bytes } => {
                let bytes = bytes.of(self.library);
                done(self.add_data(content, offset, &bytes), Answer::Accepted)
            }
            Call::BlockRead { content, offset, max, patience } => {
                done(self.read(content, Some(offset), max, patience), Answer::Accepted)
            }
            Call::StreamRead { content, max, patience } => {
                done(self.read(content, None, max, patience), Answer::Accepted)
            }
            Call::CopyRead { operation, skip, len } => {
                self.copy_read(operation, skip, len).map_or(Answer::NoSuchRead, Answer::Copied)
            }
            Call::EndRead { operation } => {
                self.end_read(operation);
                Answer::Done
            }
            Call::CancelClient { content, operation } => {
                done(self.cancel_client(content, operation), Answer::Done)
            }
            Call::Flush { instance, tag, key } => done(self.flush(instance, tag, key), Answer::Accepted),
            Call::Information { content } => done(self.information(content), Answer::Is(false)),
            Call::IsPending { operation } => Answer::Is(self.operations[operation].stage == Stage::Pending),
            Call::Dropped => Answer::Dropped(self.bad_blocks, self.dropped),
            Call::Drive | Call::Elapse => {
                self.drive(matches!(call, Call::Elapse));
                Answer::Done
            }
            Call::Take(_) => Answer::Done,
        }
    }
}
