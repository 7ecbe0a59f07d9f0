//! The consumer's part of the reference: contents, and what describes them.

use std::collections::{BTreeMap, BTreeSet};

use super::data::Settling;
use super::{Action, Done, Lane, Model, On, Result, Stage, code};

pub(super) struct Content {
    pub(super) instance: usize,
    pub(super) tag: u8,
    key: usize,
    pub(super) phase: Phase,
    collected: Vec<u8>,
    /// What was collected, once it is parsed, and what is left to check of it.
    material: Option<(usize, u32)>,
    pub(super) position: u64,
    pub(super) settling: Settling,
    pub(super) row: usize,
    /// Blocks whose beginning has come, by where they begin.
    pub(super) filling: BTreeMap<u64, Vec<u8>>,
    /// Those of them that have not been gone on with for long: others may have their place.
    pub(super) idle: BTreeSet<u64>,
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

impl Content {
    /// Whether its content information is in the store.
    pub(super) fn is_kept(&self) -> bool {
        !matches!(self.phase, Phase::Invalidated | Phase::Closed)
    }

    pub(super) fn described(&self) -> Option<usize> {
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
                // Nothing says any more of which blocks it is.
                row.idle.clear();
                let begun = std::mem::take(&mut row.filling);
                self.dropped += begun.values().map(|bytes| bytes.len() as u64).sum::<u64>();
                self.unsettle_all();
            }
            self.fail(operation, code::ABORTED);
        }
        Ok(())
    }

    pub(super) fn information(&self, content: usize) -> Result<()> {
        self.open_phase(content).map(drop)
    }

    /// Checks block hashes, one content after the other.
    pub(super) fn check(&mut self) -> bool {
        let mut waiting: Vec<_> =
            self.contents.iter_mut().filter(|row| row.phase == Phase::Checking).collect();
        waiting.sort_by_key(|row| row.row);
        let turns = waiting.into_iter().filter_map(|row| row.material.as_mut());
        let Some((_, turns)) = turns.into_iter().find(|(_, turns)| *turns > 0) else { return false };
        *turns -= 1;
        true
    }

    pub(super) fn become_ready(&mut self) -> bool {
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

    pub(super) fn accept_on(&mut self, content: usize, action: Action) -> Result<usize> {
        let Content { instance, key, .. } = self.contents[content];
        self.accept(instance, On::Content(content), key, action)
    }

    pub(super) fn open_phase(&self, content: usize) -> Result<Phase> {
        match self.contents[content].phase {
            Phase::Closed => Err(code::INVALID_HANDLE),
            Phase::Invalidated => Err(code::INVALIDATED),
            phase => Ok(phase),
        }
    }
}
