//! The publisher's part of the reference.

use super::{Action, Done, Lane, Model, On, Result, Stage, code};

pub(super) struct Publication {
    user: u32,
    id: Vec<u8>,
    instance: usize,
    is_gone: bool,
    /// Once it is complete.
    content: Option<Vec<u8>>,
    versions: (u32, u32),
}

pub(super) struct Stream {
    instance: usize,
    key: usize,
    publication: usize,
    len: u64,
    content: Vec<u8>,
    stage: StreamStage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamStage {
    Open,
    Complete,
    /// All calls but closing end so.
    Over(u32),
    Closed,
}

pub(super) struct Info {
    instance: usize,
    key: usize,
    publication: usize,
    is_invalidated: bool,
    is_closed: bool,
    bytes: Vec<u8>,
    position: u64,
}

impl Model<'_> {
    /// Content informations that lie in the store.
    pub(super) fn stored_infos(&self) -> usize {
        let of = |row: &Publication| if row.is_gone { 0 } else { row.versions.1 - row.versions.0 + 1 };
        let published: u32 = self.publications.iter().map(of).sum();
        published as usize + self.contents.iter().filter(|content| content.is_kept()).count()
    }

    pub(super) fn publish(
        &mut self,
        instance: usize,
        id: &[u8],
        len: u64,
        options: (u32, u32),
        key: usize,
    ) -> Result<()> {
        let user = self.available(instance)?;
        if !matches!(options, (1 | 2, 0)) || !is_identifier(id) {
            return Err(code::INVALID_PARAMETER);
        }
        if self.find(user, id).is_some() {
            return Err(code::ALREADY_EXISTS);
        }
        let versions = self.published;
        let streams = self.streams.iter().filter(|row| row.stage != StreamStage::Closed).count();
        let publications = self.publications.iter().filter(|row| !row.is_gone).count();
        let infos = self.stored_infos() + (versions.1 - versions.0 + 1) as usize;
        if streams == self.sizes.streams
            || publications == self.sizes.publications
            || infos > self.sizes.stored_infos
        {
            return Err(code::FULL);
        }
        let publication = self.publications.len();
        self.publications.push(Publication {
            user,
            id: id.to_vec(),
            instance,
            is_gone: false,
            content: None,
            versions,
        });
        let (content, stage) = (Vec::new(), StreamStage::Open);
        self.streams.push(Stream { instance, key, publication, len, content, stage });
        Ok(())
    }

    pub(super) fn add(&mut self, stream: usize, bytes: &[u8]) -> Result<()> {
        let row = self.open_stream(stream)?;
        let (instance, key) = (row.instance, row.key);
        if self.is_under_way(On::Stream(stream), |action| *action == Action::Add) {
            return Err(code::INVALID_PARAMETER);
        }
        let operation = self.accept(instance, On::Stream(stream), key, Action::Add)?;
        let row = &mut self.streams[stream];
        if row.len > 0 && (row.content.len() + bytes.len()) as u64 > row.len {
            self.fail(operation, code::OUT_OF_BOUNDS);
        } else {
            row.content.extend(bytes);
            self.end(operation, Done { bytes: bytes.len() as u32, ..self.done(operation) });
        }
        Ok(())
    }

    pub(super) fn complete(&mut self, stream: usize) -> Result<()> {
        let row = self.open_stream(stream)?;
        let (instance, key) = (row.instance, row.key);
        self.accept(instance, On::Stream(stream), key, Action::Complete).map(drop)
    }

    pub(super) fn close_stream(&mut self, stream: usize) -> Result<()> {
        let was = std::mem::replace(&mut self.streams[stream].stage, StreamStage::Closed);
        if was == StreamStage::Closed {
            return Err(code::INVALID_HANDLE);
        }
        self.end_all(code::ABORTED, |row| row.on == On::Stream(stream));
        if was == StreamStage::Open {
            self.remove(self.streams[stream].publication);
        }
        Ok(())
    }

    pub(super) fn unpublish(&mut self, instance: usize, id: &[u8]) -> Result<()> {
        let user = self.available(instance)?;
        if !is_identifier(id) {
            return Err(code::INVALID_PARAMETER);
        }
        let publication = self.find(user, id).ok_or(code::NOT_FOUND)?;
        for operation in self.pending_on(instance, publication) {
            self.fail(operation, code::ABORTED);
        }
        self.remove(publication);
        Ok(())
    }

    pub(super) fn open_info(
        &mut self,
        instance: usize,
        id: &[u8],
        (offset, len): (u64, u64),
        versions: Option<(u32, u32)>,
        key: usize,
    ) -> Result<()> {
        let user = self.available(instance)?;
        let (min, max) = versions.unwrap_or((1, 2));
        if min > max || !is_identifier(id) {
            return Err(code::INVALID_PARAMETER);
        }
        let publication = self.find(user, id).ok_or(code::NOT_FOUND)?;
        let Publication { content, versions, .. } = &self.publications[publication];
        let content = content.as_ref().ok_or(code::NOT_FOUND)?;
        // What was published, and what the service still does.
        let (low, high) = (versions.0.max(self.published.0), versions.1.min(self.published.1));
        let can = |version: &u32| (min.max(low)..=max.min(high)).contains(version);
        let version = [2, 1].into_iter().find(can).ok_or(code::INFO_VERSION)?;
        let all = content.len() as u64;
        let range =
            if (offset, len) == (0, 0) { 0..all } else { offset..all.min(offset.saturating_add(len)) };
        if range.is_empty() && (offset, len) != (0, 0) {
            return Err(code::INVALID_PARAMETER);
        }
        if self.infos.iter().filter(|row| !row.is_closed).count() == self.sizes.infos {
            return Err(code::FULL);
        }
        let bytes = if range.is_empty() { &[] } else { self.library.published(content, version, range) };
        let bytes = bytes.to_vec();
        let (is_invalidated, is_closed) = (false, false);
        self.infos.push(Info { instance, key, publication, is_invalidated, is_closed, bytes, position: 0 });
        Ok(())
    }

    pub(super) fn retrieve(&mut self, info: usize, max: u32) -> Result<()> {
        let row = self.open_row(info)?;
        let (instance, key) = (row.instance, row.key);
        if max == 0 {
            return Err(code::INVALID_PARAMETER);
        }
        if self.publications[row.publication].is_gone {
            return Err(code::NOT_FOUND);
        }
        self.accept(instance, On::Info(info), key, Action::Retrieve(max)).map(drop)
    }

    pub(super) fn copy_info(&self, info: usize, offset: u64, len: usize) -> Result<Vec<u8>> {
        let row = self.open_row(info)?;
        if self.publications[row.publication].is_gone {
            return Err(code::NOT_FOUND);
        }
        let retrieved = &row.bytes[..row.position as usize];
        Ok(retrieved.iter().skip(offset as usize).take(len).copied().collect())
    }

    pub(super) fn close_info(&mut self, info: usize) -> Result<()> {
        if std::mem::replace(&mut self.infos[info].is_closed, true) {
            return Err(code::INVALID_HANDLE);
        }
        self.end_all(code::ABORTED, |row| row.on == On::Info(info));
        Ok(())
    }

    pub(super) fn cancel_server(&mut self, instance: usize, id: &[u8], operation: usize) -> Result<()> {
        let user = self.available(instance)?;
        if !is_identifier(id) {
            return Err(code::INVALID_PARAMETER);
        }
        let publication = self.find(user, id).ok_or(code::OPERATION_NOT_FOUND)?;
        if !self.pending_on(instance, publication).contains(&operation) {
            return Err(code::OPERATION_NOT_FOUND);
        }
        self.fail(operation, code::ABORTED);
        Ok(())
    }

    /// Carries out what waits, in the order in which it was asked for.
    pub(super) fn work_server(&mut self) {
        for operation in self.pending(|row| matches!(row.action, Action::Complete | Action::Retrieve(_))) {
            let row = &self.operations[operation];
            let done = match (row.action, row.on) {
                (Action::Complete, On::Stream(stream)) => self.completed(operation, stream),
                (Action::Retrieve(max), On::Info(info)) => self.retrieved(operation, info, max),
                _ => unreachable!(),
            };
            self.end_in(Lane::Server, operation, done);
        }
    }

    fn completed(&mut self, operation: usize, stream: usize) -> Done {
        let done = self.done(operation);
        let Stream { stage, len, content, publication, .. } = &mut self.streams[stream];
        let publication = *publication;
        if *stage != StreamStage::Open {
            return Done { code: code::ABORTED, ..done };
        }
        if (content.len() as u64) < *len {
            *stage = StreamStage::Over(code::ALREADY_COMPLETED);
            self.remove(publication);
            return Done { code: code::INVALID_PARAMETER, ..done };
        }
        *stage = StreamStage::Complete;
        self.publications[publication].content = Some(content.clone());
        done
    }

    fn retrieved(&mut self, operation: usize, info: usize, max: u32) -> Done {
        let done = self.done(operation);
        let row = &mut self.infos[info];
        if self.publications[row.publication].is_gone {
            return Done { code: code::NOT_FOUND, ..done };
        }
        let bytes = (row.bytes.len() as u64 - row.position).min(max.into());
        if bytes == 0 {
            return Done { code: code::NO_MORE, ..done };
        }
        let offset = Some(row.position);
        row.position += bytes;
        Done { bytes: bytes as u32, offset, ..done }
    }

    pub(super) fn invalidate_published(&mut self) {
        for stream in 0..self.streams.len() {
            match self.streams[stream].stage {
                StreamStage::Open => self.remove(self.streams[stream].publication),
                StreamStage::Closed => continue,
                _ => {}
            }
            self.streams[stream].stage = StreamStage::Over(code::INVALIDATED);
        }
        self.infos.iter_mut().for_each(|info| info.is_invalidated = true);
    }

    pub(super) fn forget_published(&mut self, instance: usize) {
        for publication in 0..self.publications.len() {
            if self.publications[publication].instance == instance {
                self.remove(publication);
            }
        }
        let streams = self.streams.iter_mut().filter(|row| row.instance == instance);
        streams.for_each(|row| row.stage = StreamStage::Closed);
        self.infos.iter_mut().filter(|row| row.instance == instance).for_each(|row| row.is_closed = true);
    }

    fn find(&self, user: u32, id: &[u8]) -> Option<usize> {
        self.publications.iter().position(|row| !row.is_gone && row.user == user && row.id == id)
    }

    fn remove(&mut self, publication: usize) {
        if std::mem::replace(&mut self.publications[publication].is_gone, true) {
            return;
        }
        let is_on = |row: &&mut Stream| {
            row.publication == publication && matches!(row.stage, StreamStage::Open | StreamStage::Complete)
        };
        self.streams.iter_mut().filter(is_on).for_each(|row| row.stage = StreamStage::Over(code::ABORTED));
    }

    /// What an instance has under way on a publication.
    fn pending_on(&self, instance: usize, publication: usize) -> Vec<usize> {
        self.pending(|row| {
            let of = match row.on {
                On::Stream(stream) => self.streams[stream].publication,
                On::Info(info) => self.infos[info].publication,
                _ => return false,
            };
            row.instance == instance && of == publication
        })
    }

    fn open_stream(&self, stream: usize) -> Result<&Stream> {
        let row = &self.streams[stream];
        let completes = |row: &super::Operation| {
            row.stage == Stage::Pending && row.on == On::Stream(stream) && row.action == Action::Complete
        };
        match row.stage {
            StreamStage::Closed => Err(code::INVALID_HANDLE),
            StreamStage::Over(code) => Err(code),
            StreamStage::Complete => Err(code::ALREADY_COMPLETED),
            StreamStage::Open if self.operations.iter().any(completes) => Err(code::ALREADY_COMPLETED),
            StreamStage::Open => Ok(row),
        }
    }

    fn open_row(&self, info: usize) -> Result<&Info> {
        let row = &self.infos[info];
        match (row.is_closed, row.is_invalidated) {
            (true, _) => Err(code::INVALID_HANDLE),
            (_, true) => Err(code::INVALIDATED),
            _ => Ok(row),
        }
    }
}

fn is_identifier(id: &[u8]) -> bool {
    (1..=65_535).contains(&id.len())
}
