//! The consumer's part of the reference.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::held::Of;
use super::{Action, Done, Lane, Model, On, Result, Stage, code};

/// A block of the store: it is kept for whoever cached or read it.
pub(super) struct Block {
    labels: BTreeSet<u8>,
    pins: u32,
}

pub(super) struct Content {
    pub(super) instance: usize,
    tag: u8,
    key: usize,
    phase: Phase,
    collected: Vec<u8>,
    /// What was collected, once it is parsed, and what is left to check of it.
    material: Option<(usize, u32)>,
    position: u64,
    settling: Settling,
    row: usize,
    /// Blocks whose beginning has come, by where they begin.
    filling: BTreeMap<u64, Vec<u8>>,
    /// Those of them that have not been gone on with for long: others may have their place.
    idle: BTreeSet<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Collecting,
    Checking,
    Ready,
    Unusable(u32),
    Invalidated,
    Closed,
}

/// From where on what waits is still to be looked through: that of all contents of the tag, then its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settling {
    Tagged(u64),
    Own(u64),
    Done,
}

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
    is_issued: bool,
    /// Peers are asked for the block at this offset.
    waits_at: Option<u64>,
}

/// What was read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Data {
    block: (&'static str, u64),
    body: usize,
    range: Range<u64>,
}

impl Content {
    /// Whether its content information is in the store.
    pub(super) fn is_kept(&self) -> bool {
        !matches!(self.phase, Phase::Invalidated | Phase::Closed)
    }

    fn described(&self) -> Option<usize> {
        self.material.filter(|(_, turns)| *turns == 0 && self.is_kept()).map(|(material, _)| material)
    }
}

impl Model<'_> {
    pub(super) fn open_content(&mut self, instance: usize, tag: u8, key: usize) -> Result<()> {
        self.available(instance)?;
        let open = self.contents.iter().filter(|row| row.phase != Phase::Closed).count();
        if open == self.sizes.contents || self.stored_infos() == self.sizes.stored_infos {
            return Err(code::FULL);
        }
        let taken = |row: &usize| self.contents.iter().any(|other| other.is_kept() && other.row == *row);
        let row = (0..).find(|row| !taken(row)).unwrap();
        self.contents.push(Content {
            instance,
            tag,
            key,
            phase: Phase::Collecting,
            collected: Vec::new(),
            material: None,
            position: 0,
            settling: Settling::Tagged(0),
            row,
            filling: BTreeMap::new(),
            idle: BTreeSet::new(),
        });
        Ok(())
    }

    /// How much content information has been fed.
    pub fn collected(&self, content: usize) -> usize {
        self.contents[content].collected.len()
    }

    /// Whether it is not said what comes of bytes that are added.
    pub fn is_contradicted(&self, content: usize, offset: u64, bytes: &[u8]) -> bool {
        self.held.contradicts(content, self.contents[content].tag, offset, bytes)
    }

    pub(super) fn close_content(&mut self, content: usize) -> Result<()> {
        if self.contents[content].phase == Phase::Closed {
            return Err(code::INVALID_HANDLE);
        }
        self.end_content(content, code::ABORTED, Phase::Closed);
        Ok(())
    }

    /// Ends all that a content has, unless it is closed.
    pub(super) fn end_content(&mut self, content: usize, code: u32, then: Phase) {
        if self.contents[content].phase == Phase::Closed {
            return;
        }
        self.end_all(code, |row| row.on == On::Content(content));
        for operation in 0..self.operations.len() {
            if self.operations[operation].on != On::Content(content) {
                continue;
            }
            // What was read is lost, also to who has not heard of it.
            let Some(data) = self.operations[operation].data.take() else { continue };
            self.unpin(&data);
            if self.operations[operation].stage == Stage::Data {
                self.operations[operation].stage = Stage::Gone;
            }
            for (.., done) in self.ended.iter_mut().filter(|(.., done)| done.operation == operation) {
                (done.code, done.bytes, done.offset) = (code, 0, None);
            }
        }
        self.held.close(content);
        let row = &mut self.contents[content];
        row.idle.clear();
        row.phase = then;
        if !std::mem::take(&mut row.filling).is_empty() {
            self.unsettle_all();
        }
    }

    pub(super) fn add_content_information(&mut self, content: usize, bytes: &[u8]) -> Result<()> {
        if self.open_phase(content)? != Phase::Collecting {
            return Err(code::ALREADY_COMPLETED);
        }
        if self.is_under_way(On::Content(content), |action| *action == Action::AddInfo) {
            return Err(code::INVALID_PARAMETER);
        }
        let operation = self.accept_on(content, Action::AddInfo)?;
        self.contents[content].collected.extend(bytes);
        self.end(operation, Done { bytes: bytes.len() as u32, ..self.done(operation) });
        Ok(())
    }

    pub(super) fn complete_content_information(&mut self, content: usize) -> Result<()> {
        if self.open_phase(content)? != Phase::Collecting {
            return Err(code::ALREADY_COMPLETED);
        }
        let operation = self.accept_on(content, Action::CompleteInfo)?;
        let collected = &self.contents[content].collected;
        let mut materials = self.library.materials.iter();
        let place = materials.position(|material| material.bytes == *collected);
        let parsed = place.map(|place| (place, &self.library.materials[place]));
        let fails = match parsed {
            Some((_, material)) if material.turns == 0 => material.fails,
            Some(_) => None,
            None if collected.starts_with(&[0, 3]) => Some(code::INFO_VERSION),
            None => Some(code::CANNOT_PARSE),
        };
        match (fails, parsed) {
            (None, Some((place, material))) => {
                let row = &mut self.contents[content];
                row.phase = Phase::Checking;
                (row.position, row.material) = (material.range.start, Some((place, material.turns)));
            }
            (fails, _) => {
                self.contents[content].phase = Phase::Unusable(fails.unwrap());
                self.fail(operation, fails.unwrap());
            }
        }
        Ok(())
    }

    pub(super) fn add_data(&mut self, content: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        if let Phase::Unusable(code) = self.open_phase(content)? {
            return Err(code);
        }
        let operation = self.accept_on(content, Action::AddData)?;
        let end = self.contents[content].described().and_then(|place| self.library.materials[place].end);
        if end.is_some_and(|end| offset >= end) {
            self.fail(operation, code::OUT_OF_BOUNDS);
            return Ok(());
        }
        let all = offset..(offset + bytes.len() as u64).min(end.unwrap_or(u64::MAX));
        let mut at = offset;
        while at < all.end {
            // One block after the other, and what lies between those that can be verified.
            let (block, until) = match self.block_at(content, at) {
                Ok((block, _)) => (Some(block.clone()), block.end),
                Err(next) => (None, next),
            };
            let until = until.min(all.end);
            let piece = &bytes[(at - offset) as usize..(until - offset) as usize];
            match block {
                Some(block) => self.add_to_block(content, block, at, piece),
                None => self.hold(content, at, piece),
            }
            at = until;
        }
        self.end(operation, Done { bytes: bytes.len() as u32, ..self.done(operation) });
        Ok(())
    }

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
        let read = Read { offset, max, patience, is_issued: false, waits_at: None };
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

    pub(super) fn cancel_client(&mut self, content: usize, one: Option<usize>) -> Result<()> {
        if self.contents[content].phase == Phase::Closed {
            return Err(code::INVALID_HANDLE);
        }
        self.available(self.contents[content].instance)?;
        self.open_phase(content)?;
        let mut meant = self.pending(|row| row.on == On::Content(content));
        meant.retain(|operation| one.is_none_or(|one| one == *operation));
        if meant.is_empty() {
            return Err(code::OPERATION_NOT_FOUND);
        }
        for operation in meant {
            // More may be added, as if it had not been asked for.
            if self.operations[operation].action == Action::CompleteInfo {
                let row = &mut self.contents[content];
                (row.phase, row.material) = (Phase::Collecting, None);
            }
            self.fail(operation, code::ABORTED);
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, instance: usize, tag: u8, key: usize) -> Result<()> {
        self.available(instance)?;
        self.accept(instance, On::Instance(instance), key, Action::Flush(tag))?;
        self.held.flush(tag);
        self.flushes = true;
        Ok(())
    }

    pub(super) fn information(&self, content: usize) -> Result<()> {
        self.open_phase(content).map(drop)
    }

    /// Does all that can be done; if `elapsed`, searches for peers end as well, in vain.
    pub(super) fn drive(&mut self, elapsed: bool) {
        self.turn += 1;
        self.work(elapsed);
        let mut any = false;
        for row in self.contents.iter_mut().filter(|_| elapsed) {
            any |= row.filling.keys().any(|start| row.idle.insert(*start));
            row.idle.extend(row.filling.keys());
        }
        if any {
            self.unsettle_all();
            self.work(elapsed);
        }
    }

    fn work(&mut self, elapsed: bool) {
        loop {
            let mut moved = self.check();
            let issued = self.pending(|row| matches!(row.action, Action::Read(read) if read.is_issued));
            for operation in issued {
                moved |= self.advance(operation, elapsed);
            }
            self.work_server();
            self.work_flushes();
            moved |= self.become_ready();
            for operation in self.pending(|row| matches!(row.action, Action::Read(read) if !read.is_issued)) {
                let Action::Read(read) = self.operations[operation].action else { unreachable!() };
                self.operations[operation].action = Action::Read(Read { is_issued: true, ..read });
                moved = true;
            }
            moved |= self.settle();
            if !moved {
                return;
            }
        }
    }

    /// Checks block hashes, one content after the other.
    fn check(&mut self) -> bool {
        let mut waiting: Vec<_> =
            self.contents.iter_mut().filter(|row| row.phase == Phase::Checking).collect();
        waiting.sort_by_key(|row| row.row);
        let turns = waiting.into_iter().filter_map(|row| row.material.as_mut());
        let Some((_, turns)) = turns.into_iter().find(|(_, turns)| *turns > 0) else { return false };
        *turns -= 1;
        true
    }

    fn become_ready(&mut self) -> bool {
        let mut any = false;
        for content in 0..self.contents.len() {
            let row = &self.contents[content];
            let Some((place, 0)) = row.material.filter(|_| row.phase == Phase::Checking) else { continue };
            let fails = self.library.materials[place].fails;
            self.contents[content].phase = fails.map_or(Phase::Ready, Phase::Unusable);
            if fails.is_some() {
                self.contents[content].material = None;
            }
            let completes =
                self.pending(|row| row.on == On::Content(content) && row.action == Action::CompleteInfo);
            for operation in completes {
                self.end_in(Lane::None, operation, Done { code: fails.unwrap_or(0), ..self.done(operation) });
            }
            any = true;
        }
        any
    }

    fn work_flushes(&mut self) {
        if !std::mem::take(&mut self.flushes) {
            return;
        }
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

    /// Moves one read on; whether it has ended.
    fn advance(&mut self, operation: usize, elapsed: bool) -> bool {
        let row = &self.operations[operation];
        let (Action::Read(mut read), On::Content(content)) = (row.action, row.on) else { unreachable!() };
        let is_stream = |row: &super::Operation| {
            row.on == On::Content(content) && matches!(row.action, Action::Read(Read { offset: None, .. }))
        };
        if read.offset.is_none() && self.pending(is_stream)[0] != operation {
            return false;
        }
        let (tag, position, settling) = {
            let row = &self.contents[content];
            (row.tag, row.position, row.settling)
        };
        if read.waits_at.is_none() && self.held.is_used && settling != Settling::Done {
            return false;
        }
        let lane = if read.offset.is_none() { Lane::Stream(content) } else { Lane::None };
        let offset = read.offset.unwrap_or(position);
        let done = self.done(operation);
        let place = self.contents[content].described().unwrap();
        let range = self.library.materials[place].range.clone();
        let stored =
            |model: &Self, at: u64| model.block_at(content, at).ok().filter(|(_, key)| model.is_stored(*key));
        if !range.contains(&offset) {
            self.end_in(lane, operation, Done { code: code::NO_MORE, ..done });
            if read.max > 0 {
                self.unsettle(content);
            }
            return true;
        }
        if read.max == 0 {
            let mut end = offset;
            while end < range.end
                && let Some((block, _)) = stored(self, end)
            {
                end = block.end;
            }
            let bytes = (end.min(range.end) - offset) as u32;
            self.end_in(lane, operation, Done { bytes, offset: Some(offset), ..done });
            return true;
        }
        let (block, key) = self.block_at(content, offset).unwrap();
        let (code, end) = if self.is_stored(key) {
            (0, block.end.min(offset.saturating_add(read.max.into())))
        } else if read.patience == Patience::Local {
            let mut end = block.end;
            while end < range.end && stored(self, end).is_none() {
                end = self.block_at(content, end).unwrap().0.end;
            }
            (code::MISSING, end)
        } else if elapsed {
            (if read.patience == Patience::Short { code::TIMEOUT } else { code::MISSING }, block.end)
        } else {
            let is_new = read.waits_at.is_none();
            if is_new {
                // Peers are asked for it: what was added of it is given up.
                self.give_up(content, block.start);
                self.displace(&key);
            }
            read.waits_at = Some(offset);
            self.operations[operation].action = Action::Read(read);
            return is_new;
        };
        let end = end.min(range.end);
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
        self.end_in(
            lane,
            operation,
            Done { code, bytes: (end - offset) as u32, offset: Some(offset), ..done },
        );
        true
    }

    /// Looks through a block of what waits for a content.
    fn settle(&mut self) -> bool {
        let unsettled = |at: &usize| {
            let row = &self.contents[*at];
            row.described().is_some() && row.settling != Settling::Done
        };
        // Each has its turn.
        let turn = |at: &usize| {
            let row = self.contents[*at].row;
            (row < self.next_settled, row)
        };
        let first = (0..self.contents.len()).filter(unsettled).min_by_key(turn);
        let Some(content) = first.filter(|_| self.held.is_used) else { return false };
        let Content { settling, tag, .. } = self.contents[content];
        let blocks = &self.library.materials[self.contents[content].described().unwrap()].blocks;
        let range = blocks[0].0.start..blocks[blocks.len() - 1].0.end;
        let next = match settling {
            Settling::Tagged(from) => {
                match self.held.first(Of::Tag(tag), range.start.max(from)..range.end) {
                    Some(at) => {
                        let (block, key) = self.block_at(content, at).unwrap();
                        let all = self.held.all(Of::Tag(tag), block.clone());
                        if let Some(bytes) = all.filter(|_| self.make_way(&key)) {
                            // They may be of another content: only what is right is used up.
                            if self.is_right(content, &block, &bytes) {
                                self.commit(content, key);
                                self.held.forget(Of::Tag(tag), block.clone());
                            }
                            self.unsettle_all();
                        }
                        Settling::Tagged(block.end)
                    }
                    None => Settling::Own(0),
                }
            }
            Settling::Own(from) => {
                match self.held.first(Of::Content(content), range.start.max(from)..range.end) {
                    Some(at) => {
                        let (block, key) = self.block_at(content, at).unwrap();
                        if self.is_stored(key) {
                            self.held.forget(Of::Content(content), block.clone());
                        } else if self.begin(content, &block, &key) {
                            self.pull(content, &block, key);
                        }
                        Settling::Own(block.end)
                    }
                    None => Settling::Done,
                }
            }
            Settling::Done => return false,
        };
        self.contents[content].settling = next;
        self.next_settled = self.contents[content].row + 1;
        true
    }

    /// Adds bytes of one block: those in order are taken, and others held.
    fn add_to_block(&mut self, content: usize, block: Range<u64>, at: u64, bytes: &[u8]) {
        let (_, key) = self.block_at(content, at).unwrap();
        let filled =
            self.contents[content].filling.get(&block.start).map(|bytes| block.start + bytes.len() as u64);
        let (at, bytes) = match filled {
            Some(filled) if at < filled => (filled, bytes.get((filled - at) as usize..).unwrap_or_default()),
            _ => (at, bytes),
        };
        if bytes.is_empty() {
            return;
        }
        let begins = filled.is_none() && at == block.start && self.make_way(&key);
        if filled != Some(at) && self.is_stored(key) {
            self.held.forget(Of::Content(content), block);
        } else if filled == Some(at) || begins {
            self.contents[content].filling.entry(block.start).or_default().extend(bytes);
            self.contents[content].idle.remove(&block.start);
            self.pull(content, &block, key);
        } else {
            self.hold(content, at, bytes);
        }
    }

    /// Whether a block is being filled by a content, from now on if what waits is its beginning.
    fn begin(&mut self, content: usize, block: &Range<u64>, key: &(&'static str, u64)) -> bool {
        let is_filling = self.contents[content].filling.contains_key(&block.start);
        let begins =
            !is_filling && self.held.at(Of::Content(content), block.start).is_some() && self.make_way(key);
        let filling = &mut self.contents[content].filling;
        if begins {
            filling.entry(block.start).or_default();
        }
        filling.contains_key(&block.start)
    }

    /// Goes on with what waits, and verifies what is whole.
    fn pull(&mut self, content: usize, block: &Range<u64>, key: (&'static str, u64)) {
        let mut bytes = self.contents[content].filling.remove(&block.start).unwrap();
        let is_idle = self.contents[content].idle.remove(&block.start);
        let before = bytes.len();
        while let at = block.start + bytes.len() as u64
            && at < block.end
            && let Some(byte) = self.held.at(Of::Content(content), at)
        {
            bytes.push(byte);
        }
        let end = block.start + bytes.len() as u64;
        if bytes.len() > before {
            self.held.forget(Of::Content(content), block.start..end);
        }
        if end < block.end {
            if is_idle && bytes.len() == before {
                self.contents[content].idle.insert(block.start);
            }
            self.contents[content].filling.insert(block.start, bytes);
            return;
        }
        match self.is_right(content, block, &bytes) {
            true => self.commit(content, key),
            false => self.bad_blocks += 1,
        }
        self.unsettle_all();
    }

    fn is_right(&self, content: usize, block: &Range<u64>, bytes: &[u8]) -> bool {
        let material = &self.library.materials[self.contents[content].described().unwrap()];
        self.library.bodies[material.body][block.start as usize..block.end as usize] == *bytes
    }

    fn commit(&mut self, content: usize, key: (&'static str, u64)) {
        let labels = BTreeSet::from([self.contents[content].tag]);
        self.blocks.insert(key, Block { labels, pins: 0 });
    }

    /// Whether nobody has a block or is about to have it, and there is room.
    fn can_begin(&self, key: &(&'static str, u64)) -> bool {
        let filling = |at: usize| {
            let keys = self.contents[at].filling.keys();
            keys.map(move |start| self.block_at(at, *start).unwrap().1)
        };
        let all: Vec<_> = (0..self.contents.len()).flat_map(filling).collect();
        !self.is_stored(*key) && !all.contains(key) && all.len() < self.sizes.intakes
    }

    /// The same, once who does not go on with it has given it up.
    fn make_way(&mut self, key: &(&'static str, u64)) -> bool {
        if !self.is_stored(*key) {
            self.displace(key);
        }
        self.can_begin(key)
    }

    /// Who does not go on with a block gives it up.
    fn displace(&mut self, key: &(&'static str, u64)) {
        for content in 0..self.contents.len() {
            for start in self.contents[content].idle.clone() {
                if self.block_at(content, start).unwrap().1 == *key {
                    self.give_up(content, start);
                }
            }
        }
    }

    fn give_up(&mut self, content: usize, start: u64) {
        self.contents[content].idle.remove(&start);
        if self.contents[content].filling.remove(&start).is_some() {
            self.unsettle_all();
        }
    }

    fn hold(&mut self, content: usize, at: u64, bytes: &[u8]) {
        self.held.hold(content, self.contents[content].tag, at, bytes);
        self.unsettle(content);
    }

    fn unsettle(&mut self, content: usize) {
        let settling = &mut self.contents[content].settling;
        if *settling == Settling::Done {
            *settling = Settling::Own(0);
        }
    }

    fn unsettle_all(&mut self) {
        (0..self.contents.len()).for_each(|content| self.unsettle(content));
    }

    /// The block of a content that can be verified and has the byte at an offset, with the name under which it is
    /// kept; or where the next one begins.
    fn block_at(
        &self,
        content: usize,
        at: u64,
    ) -> core::result::Result<(Range<u64>, (&'static str, u64)), u64> {
        let place = self.contents[content].described().ok_or(u64::MAX)?;
        let blocks = &self.library.materials[place].blocks;
        match blocks.iter().find(|(block, _)| at < block.end) {
            Some((block, name)) if block.contains(&at) => Ok((block.clone(), (*name, block.start))),
            Some((block, _)) => Err(block.start),
            None => Err(u64::MAX),
        }
    }

    /// Where a block lies: what is kept apart is of use once its hash is proven.
    fn kept(&self, key: (&'static str, u64)) -> (&'static str, u64) {
        let apart = ("d apart", key.1);
        let is_apart = key.0 == "d" && !self.blocks.contains_key(&key) && self.blocks.contains_key(&apart);
        if is_apart { apart } else { key }
    }

    fn is_stored(&self, key: (&'static str, u64)) -> bool {
        self.blocks.contains_key(&self.kept(key))
    }

    fn unpin(&mut self, data: &Data) {
        self.blocks.get_mut(&data.block).unwrap().pins -= 1;
        self.flushes = true;
        self.unsettle_all();
    }

    fn accept_on(&mut self, content: usize, action: Action) -> Result<usize> {
        let Content { instance, key, .. } = self.contents[content];
        self.accept(instance, On::Content(content), key, action)
    }

    fn open_phase(&self, content: usize) -> Result<Phase> {
        match self.contents[content].phase {
            Phase::Closed => Err(code::INVALID_HANDLE),
            Phase::Invalidated => Err(code::INVALIDATED),
            phase => Ok(phase),
        }
    }
}
