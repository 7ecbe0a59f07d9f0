//! The consumer's part of the reference: reads, and how time passes.

use std::collections::BTreeSet;
use std::ops::Range;

use super::consumer::Phase;
use super::data::{Key, Settling};
use super::{Action, Done, Lane, Model, On, Operation, Result, Stage, code};

/// How long a read looks for its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// In the store alone.
    Local,
    /// Less than a search for peers takes.
    Short,
    /// Until the search is over.
    Endless,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Read {
    /// `None` of a stream read.
    offset: Option<u64>,
    max: u32,
    patience: Patience,
    stage: ReadStage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadStage {
    Accepted,
    /// It has a row, and has not looked yet.
    Issued,
    /// Somebody else adds its block.
    Barred,
    /// Peers are asked for its block.
    Asking,
    /// They do not have it.
    Asked,
}

/// What was read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Data {
    block: Key,
    body: usize,
    range: Range<u64>,
}

impl Model<'_> {
    pub(super) fn read(
        &mut self,
        content: usize,
        offset: Option<u64>,
        max: u32,
        patience: Patience,
    ) -> Result<()> {
        if self.open_phase(content)? != Phase::Ready {
            return Err(code::INVALID_PARAMETER);
        }
        let read = Read { offset, max, patience, stage: ReadStage::Accepted };
        self.accept_on(content, Action::Read(read)).map(drop)
    }

    /// What a read has, from `skip` bytes on; `None` if it has nothing.
    pub(super) fn copy_read(&self, operation: usize, skip: u64, len: usize) -> Option<Vec<u8>> {
        let data = self.operations[operation].data.as_ref()?;
        let range = data.range.start as usize..data.range.end as usize;
        let bytes = &self.library.bodies[data.body][range];
        Some(bytes.iter().skip(skip as usize).take(len).copied().collect())
    }

    pub(super) fn end_read(&mut self, operation: usize) {
        if self.operations[operation].stage == Stage::Data {
            self.operations[operation].stage = Stage::Gone;
            let data = self.operations[operation].data.take().unwrap();
            self.unpin(&data);
        }
    }

    pub(super) fn unpin(&mut self, data: &Data) {
        self.blocks.get_mut(&data.block).unwrap().pins -= 1;
        self.unsettle_all();
    }

    pub(super) fn flush(&mut self, instance: usize, tag: u8, key: usize) -> Result<()> {
        self.available(instance)?;
        self.accept(instance, On::Instance(instance), key, Action::Flush(tag))?;
        self.held.flush(tag);
        Ok(())
    }

    /// Does all that can be done; if `elapsed`, so much time passes that nothing is left to wait for.
    pub(super) fn drive(&mut self, elapsed: bool) {
        self.turn += 1;
        self.work(false);
        if elapsed {
            self.work(true);
            // A search is over sooner than somebody is found not to go on.
            while self.end_searches() || self.become_idle() {
                self.work(true);
            }
        }
    }

    /// Does what can be done by now; if it `is_late`, reads that are short of time have none left.
    fn work(&mut self, is_late: bool) {
        while self.pass(is_late) || self.look_again() {}
    }

    fn end_searches(&mut self) -> bool {
        let asking = self.reads(|stage| stage == ReadStage::Asking);
        asking.iter().for_each(|operation| self.set_stage(*operation, ReadStage::Asked));
        !asking.is_empty()
    }

    fn pass(&mut self, is_late: bool) -> bool {
        let mut moved = self.check();
        for operation in self.reads(|stage| stage != ReadStage::Accepted) {
            moved |= self.advance(operation, is_late);
        }
        self.work_server();
        self.work_flushes();
        moved |= self.become_ready();
        for operation in self.reads(|stage| stage == ReadStage::Accepted) {
            self.set_stage(operation, ReadStage::Issued);
            moved = true;
        }
        moved | self.settle()
    }

    fn reads(&self, meant: impl Fn(ReadStage) -> bool) -> Vec<usize> {
        self.pending(|row| matches!(row.action, Action::Read(read) if meant(read.stage)))
    }

    fn set_stage(&mut self, operation: usize, stage: ReadStage) {
        if let Action::Read(read) = &mut self.operations[operation].action {
            read.stage = stage;
        }
    }

    /// A flush goes on as long as anything is left that only its tag has.
    fn work_flushes(&mut self) {
        for operation in self.pending(|row| matches!(row.action, Action::Flush(_))) {
            let Action::Flush(tag) = self.operations[operation].action else { unreachable!() };
            let mut is_over = true;
            self.blocks.retain(|_, block| {
                if block.pins > 0 && block.labels == BTreeSet::from([tag]) {
                    is_over = false;
                    return true;
                }
                !(block.labels.remove(&tag) && block.labels.is_empty())
            });
            if is_over {
                self.end_in(Lane::None, operation, self.done(operation));
            }
        }
    }

    /// Moves one read on; whether it has got anywhere.
    fn advance(&mut self, operation: usize, is_late: bool) -> bool {
        let row = &self.operations[operation];
        let (Action::Read(read), On::Content(content)) = (row.action, row.on) else { unreachable!() };
        let is_stream = |row: &Operation| {
            row.on == On::Content(content) && matches!(row.action, Action::Read(Read { offset: None, .. }))
        };
        if read.offset.is_none() && self.pending(is_stream)[0] != operation {
            return false;
        }
        let row = &self.contents[content];
        let (tag, position) = (row.tag, row.position);
        // What it reads may only have to be verified.
        if read.stage == ReadStage::Issued && self.held.is_used && row.settling != Settling::Done {
            return false;
        }
        let offset = read.offset.unwrap_or(position);
        let place = row.described().unwrap();
        let range = self.library.materials[place].range.clone();
        let done = self.done(operation);
        let lane = if read.offset.is_none() { Lane::Stream(content) } else { Lane::None };
        if !range.contains(&offset) {
            self.end_in(lane, operation, Done { code: code::NO_MORE, ..done });
            if read.max > 0 {
                self.unsettle(content);
            }
            return true;
        }
        if read.max == 0 {
            let end = self.stretch(content, offset..range.end, true);
            let bytes = (end - offset) as u32;
            self.end_in(lane, operation, Done { bytes, offset: Some(offset), ..done });
            return true;
        }
        let (block, key) = self.block_at(content, offset).unwrap();
        let is_late = is_late && read.patience == Patience::Short;
        let asks = matches!(read.stage, ReadStage::Issued | ReadStage::Barred);
        let (code, end) = if self.is_stored(key) {
            (0, block.end.min(offset.saturating_add(read.max.into())).min(range.end))
        } else if read.patience == Patience::Local {
            (code::MISSING, self.stretch(content, offset..range.end, false))
        } else if asks && self.ask(content, &block, key) {
            self.set_stage(operation, ReadStage::Asking);
            return true;
        } else if is_late {
            (code::TIMEOUT, block.end.min(range.end))
        } else if read.stage == ReadStage::Asked {
            (code::MISSING, block.end.min(range.end))
        } else if read.stage == ReadStage::Issued {
            self.set_stage(operation, ReadStage::Barred);
            return true;
        } else {
            return false;
        };
        if code == 0 {
            let body = self.library.materials[place].body;
            let key = self.kept(key);
            let kept = self.blocks.get_mut(&key).unwrap();
            kept.pins += 1;
            kept.labels.insert(tag);
            self.operations[operation].data = Some(Data { block: key, body, range: offset..end });
        }
        if read.offset.is_none() {
            self.contents[content].position = end;
        }
        self.unsettle(content);
        let bytes = (end - offset) as u32;
        self.end_in(lane, operation, Done { code, bytes, offset: Some(offset), ..done });
        true
    }

    /// Peers are asked for a block, and what was added of it is given up: by the reader, and by who does not go on with
    /// it. Whether that is of use: what they sent would find no place while somebody adds it.
    fn ask(&mut self, content: usize, block: &Range<u64>, key: Key) -> bool {
        self.give_up(content, block.start);
        self.displace(&key);
        !self.is_filling(&key)
    }

    /// How far all of a range is stored from its beginning on, or none of it.
    fn stretch(&self, content: usize, range: Range<u64>, stored: bool) -> u64 {
        let mut end = range.start;
        while end < range.end
            && let Ok((block, key)) = self.block_at(content, end)
            && self.is_stored(key) == stored
        {
            end = block.end;
        }
        end.min(range.end)
    }
}
