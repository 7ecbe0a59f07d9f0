//! What the PeerDist API has to do, in plain Rust with as much memory as it takes: the reference for sequences
//! of calls. It shares nothing with core, which only made the [content information](library) beforehand.

mod call;
mod consumer;
mod data;
mod held;
pub mod library;
mod reads;
mod server;

use std::collections::BTreeMap;

pub use call::{Answer, Bytes, Call, Patience};
use library::Library;

/// How many rows each table has that calls can find full.
pub struct Sizes {
    /// Instances.
    pub instances: usize,
    /// Publications.
    pub publications: usize,
    /// Streams.
    pub streams: usize,
    /// Content information that is open.
    pub infos: usize,
    /// Contents.
    pub contents: usize,
    /// Operations.
    pub operations: usize,
    /// Content informations in the store.
    pub stored_infos: usize,
    /// Blocks that are being filled.
    pub intakes: usize,
    /// Pages of data that waits.
    pub pages: usize,
}

/// The codes of the functions.
pub(crate) mod code {
    pub const INVALID_HANDLE: u32 = 6;
    pub const FULL: u32 = 8;
    pub const INVALID_PARAMETER: u32 = 87;
    pub const ABORTED: u32 = 995;
    pub const NOT_FOUND: u32 = 1168;
    pub const DISABLED: u32 = 1260;
    pub const TIMEOUT: u32 = 1460;
    pub const INFO_VERSION: u32 = 4050;
    pub const CANNOT_PARSE: u32 = 4051;
    pub const MISSING: u32 = 4052;
    pub const NO_MORE: u32 = 4053;
    pub const INVALIDATED: u32 = 4057;
    pub const ALREADY_EXISTS: u32 = 4058;
    pub const OPERATION_NOT_FOUND: u32 = 4059;
    pub const ALREADY_COMPLETED: u32 = 4060;
    pub const OUT_OF_BOUNDS: u32 = 4061;
    pub const VERSION_UNSUPPORTED: u32 = 4062;
    pub const UNAVAILABLE: u32 = 4065;
}

/// What an operation came to, as an application sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Which.
    pub operation: usize,
    /// What the handle was opened with.
    pub key: usize,
    /// The number of the result.
    pub code: u32,
    /// Bytes transferred, or missing.
    pub bytes: u32,
    /// Where they begin.
    pub offset: Option<u64>,
    /// The status that is told, with the versions.
    pub status: Option<(u32, u32, u32)>,
}

/// Which completions have to come in order, of those that end while the node is driven.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    None,
    Server,
    Stream(usize),
}

/// What an operation is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// An instance.
    Instance(usize),
    /// A stream.
    Stream(usize),
    /// Content information.
    Info(usize),
    /// Content.
    Content(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Notify,
    Add,
    Complete,
    Retrieve(u32),
    AddInfo,
    CompleteInfo,
    AddData,
    Read(reads::Read),
    Flush(u8),
}

/// How far an operation is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Pending,
    /// It has ended, and nobody has seen it.
    Ended,
    /// What was read waits to be copied.
    Data,
    Gone,
}

struct Operation {
    instance: usize,
    on: On,
    key: usize,
    action: Action,
    stage: Stage,
    /// Of the table: the first that was free.
    row: usize,
    /// What was read: of which block, from where on, how many bytes.
    data: Option<reads::Data>,
}

struct Instance {
    is_open: bool,
    user: u32,
    notified: u32,
    row: usize,
}

/// The reference. Handles and operations are numbers, in the order in which they were made.
pub struct Model<'a> {
    /// What there is to be published and read.
    pub library: &'a mut Library,
    sizes: Sizes,
    status: u32,
    published: (u32, u32),
    instances: Vec<Instance>,
    publications: Vec<server::Publication>,
    streams: Vec<server::Stream>,
    infos: Vec<server::Info>,
    contents: Vec<consumer::Content>,
    operations: Vec<Operation>,
    /// Completions: those with the same number may come in any order, but for their lanes.
    ended: Vec<(u32, Lane, Done)>,
    turn: u32,
    blocks: BTreeMap<data::Key, data::Block>,
    held: held::Held,
    bad_blocks: u32,
    /// Bytes that found no room, or were given up.
    dropped: u64,
    /// Counts what comes of data.
    changes: u64,
    /// Whose waiting bytes are looked through next.
    next_settled: usize,
}

type Result<T> = core::result::Result<T, u32>;

impl<'a> Model<'a> {
    /// A node that has just been made.
    pub fn new(library: &'a mut Library, sizes: Sizes) -> Self {
        let held = held::Held::new(sizes.pages);
        Self {
            library,
            sizes,
            status: 2,
            published: (1, 2),
            instances: Vec::new(),
            publications: Vec::new(),
            streams: Vec::new(),
            infos: Vec::new(),
            contents: Vec::new(),
            operations: Vec::new(),
            ended: Vec::new(),
            turn: 0,
            blocks: BTreeMap::new(),
            held,
            bad_blocks: 0,
            dropped: 0,
            changes: 0,
            next_settled: 0,
        }
    }

    /// Takes a completion that has come; whether it is one that may come now.
    pub fn take(&mut self, done: &Done) -> core::result::Result<(), String> {
        let Some((turn, ..)) = self.ended.first() else { return Err("nothing has ended".into()) };
        let turn = *turn;
        let now: Vec<_> = self.ended.iter().take_while(|(other, ..)| *other == turn).collect();
        let place = now.iter().position(|(.., other)| other == done);
        let place = place
            .ok_or_else(|| format!("expected {:?}", now.iter().map(|(.., done)| done).collect::<Vec<_>>()))?;
        let lane = now[place].1;
        if lane != Lane::None && now[..place].iter().any(|(_, other, _)| *other == lane) {
            return Err("another one is before it".into());
        }
        self.ended.remove(place);
        let row = &mut self.operations[done.operation];
        row.stage = if row.data.is_some() { Stage::Data } else { Stage::Gone };
        Ok(())
    }

    /// Whether a completion is to come.
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    fn startup(&mut self, version: u32, user: u32) -> Result<()> {
        let (major, minor) = (version & 0xff, version >> 8 & 0xff);
        if version > 0xffff || major == 0 {
            return Err(code::INVALID_PARAMETER);
        }
        if major > 2 || (major == 2 && minor > 0) {
            return Err(code::VERSION_UNSUPPORTED);
        }
        let taken = |row: &usize| self.instances.iter().any(|other| other.is_open && other.row == *row);
        let row = (0..self.sizes.instances).find(|row| !taken(row)).ok_or(code::FULL)?;
        self.instances.push(Instance { is_open: true, user, notified: 0, row });
        Ok(())
    }

    fn shutdown(&mut self, instance: usize) -> Result<()> {
        self.instance(instance)?;
        self.end_all(code::ABORTED, |row| row.instance == instance);
        self.forget_published(instance);
        for content in 0..self.contents.len() {
            if self.contents[content].instance == instance {
                self.end_content(content, code::ABORTED, consumer::Phase::Closed);
            }
        }
        self.instances[instance].is_open = false;
        Ok(())
    }

    fn set_status(&mut self, status: u32) {
        self.status = status;
        if status != 2 {
            for operation in self.pending(|row| row.action != Action::Notify) {
                let is_flush = matches!(self.operations[operation].action, Action::Flush(_));
                self.fail(operation, if is_flush { code::ABORTED } else { code::INVALIDATED });
            }
            self.invalidate_published();
            for content in 0..self.contents.len() {
                self.end_content(content, code::INVALIDATED, consumer::Phase::Invalidated);
            }
        }
        self.notify();
    }

    fn register(&mut self, instance: usize, key: usize) -> Result<()> {
        self.instance(instance)?;
        if self.is_under_way(On::Instance(instance), |action| *action == Action::Notify) {
            return Err(code::INVALID_PARAMETER);
        }
        self.accept(instance, On::Instance(instance), key, Action::Notify)?;
        self.notify();
        Ok(())
    }

    fn unregister(&mut self, instance: usize) -> Result<()> {
        self.instance(instance)?;
        self.end_all(code::ABORTED, |row| row.instance == instance && row.action == Action::Notify);
        Ok(())
    }

    fn notify(&mut self) {
        let mut open: Vec<_> = (0..self.instances.len()).filter(|at| self.instances[*at].is_open).collect();
        open.sort_by_key(|at| self.instances[*at].row);
        for at in open {
            let registered = self.pending(|row| row.instance == at && row.action == Action::Notify);
            if self.instances[at].notified != self.status
                && let Some(operation) = registered.first()
            {
                self.instances[at].notified = self.status;
                let status = Some((self.status, self.published.0, self.published.1));
                self.end(*operation, Done { status, ..self.done(*operation) });
            }
        }
    }

    fn instance(&self, instance: usize) -> Result<&Instance> {
        Some(&self.instances[instance]).filter(|row| row.is_open).ok_or(code::INVALID_HANDLE)
    }

    fn available(&self, instance: usize) -> Result<u32> {
        let user = self.instance(instance)?.user;
        match self.status {
            0 => Err(code::DISABLED),
            1 => Err(code::UNAVAILABLE),
            _ => Ok(user),
        }
    }

    fn accept(&mut self, instance: usize, on: On, key: usize, action: Action) -> Result<usize> {
        let taken =
            |row: &usize| self.operations.iter().any(|other| other.stage != Stage::Gone && other.row == *row);
        let row = (0..self.sizes.operations).find(|row| !taken(row)).ok_or(code::FULL)?;
        self.operations.push(Operation { instance, on, key, action, stage: Stage::Pending, row, data: None });
        Ok(self.operations.len() - 1)
    }

    /// A success of no bytes.
    fn done(&self, operation: usize) -> Done {
        let key = self.operations[operation].key;
        Done { operation, key, code: 0, bytes: 0, offset: None, status: None }
    }

    /// Ends an operation by itself, before all that end later.
    fn end(&mut self, operation: usize, done: Done) {
        self.turn += 1;
        self.end_in(Lane::None, operation, done);
    }

    /// Ends an operation beside others of the same turn.
    fn end_in(&mut self, lane: Lane, operation: usize, done: Done) {
        self.operations[operation].stage = Stage::Ended;
        self.ended.push((self.turn, lane, done));
    }

    fn fail(&mut self, operation: usize, code: u32) {
        self.end(operation, Done { code, ..self.done(operation) });
    }

    fn end_all(&mut self, code: u32, meant: impl Fn(&Operation) -> bool) {
        for operation in self.pending(meant) {
            self.fail(operation, code);
        }
    }

    fn pending(&self, meant: impl Fn(&Operation) -> bool) -> Vec<usize> {
        let pending =
            |at: &usize| self.operations[*at].stage == Stage::Pending && meant(&self.operations[*at]);
        (0..self.operations.len()).filter(pending).collect()
    }

    /// Whether one is under way whose end nobody has seen.
    fn is_under_way(&self, on: On, meant: impl Fn(&Action) -> bool) -> bool {
        let unseen = |row: &Operation| matches!(row.stage, Stage::Pending | Stage::Ended);
        self.operations.iter().any(|row| unseen(row) && row.on == on && meant(&row.action))
    }
}
