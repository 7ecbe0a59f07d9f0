//! What is called next: mostly what makes sense, on what was opened last, and now and then nonsense.

use peerdist_tests::info::Random;
use peerdist_tests::model::{Answer, Bytes, Call, Model, Patience};

/// What sequences are of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Any,
    /// Content of more than one block of version 1.0.
    Large,
    /// Several contents of the same blocks, whose data comes in parts.
    Shared,
}

/// How many handles of each kind there are, open or not.
pub struct Draw {
    random: Random,
    kind: Kind,
    shift: usize,
    instances: usize,
    streams: Vec<usize>,
    infos: usize,
    contents: usize,
    operations: usize,
    /// Calls that are to come next.
    planned: Vec<Call>,
}

impl Draw {
    pub fn new(mut random: Random, kind: Kind) -> Self {
        let shift = random.below(11);
        let planned = vec![Call::Startup { version: 2, user: 1 }];
        let streams = Vec::new();
        Self { random, kind, shift, instances: 0, streams, infos: 0, contents: 0, operations: 0, planned }
    }

    /// Counts what there is by now.
    pub fn answered(&mut self, call: &Call, answer: &Answer) {
        match (call, answer) {
            (Call::Startup { .. }, Answer::Opened) => self.instances += 1,
            (Call::Publish { .. }, Answer::Opened) => self.streams.push(0),
            (Call::OpenInfo { .. }, Answer::Opened) => self.infos += 1,
            (Call::OpenContent { .. }, Answer::Opened) => self.contents += 1,
            (Call::AddToStream { stream, bytes }, Answer::Accepted) => self.streams[*stream] += bytes.len,
            (_, Answer::Accepted) => {}
            _ => return,
        }
        self.operations += usize::from(*answer == Answer::Accepted);
    }

    pub fn call(&mut self, model: &Model<'_>) -> Call {
        if let Some(call) = self.planned.pop() {
            return call;
        }
        match self.random.below(40) {
            0..4 => self.of_instances(),
            4..14 if self.kind == Kind::Shared => self.of_shared(model),
            4..14 if self.streams.is_empty() || self.random.below(4) == 0 => self.publish(),
            4..9 => self.of_stream(),
            9..14 => self.of_info(),
            14..28 if self.contents == 0 || self.random.below(6) == 0 => self.open_content(),
            14..28 => self.of_content(model),
            28..32 => Call::Drive,
            32 => Call::Elapse,
            33..36 => Call::Take(1 + self.random.below(8)),
            36..39 if self.operations > 0 => self.of_operation(),
            _ => Call::Dropped,
        }
    }

    fn of_instances(&mut self) -> Call {
        let (instance, key) = (self.instance(), self.key());
        match self.random.below(24) {
            0..4 => {
                let version = [1, 2, 2, 2, 0x0001_0001, 0x0102, 3, 0, 0x0201][self.random.below(9)];
                Call::Startup { version, user: 1 + self.random.below(2) as u32 }
            }
            4..6 => Call::Shutdown { instance },
            6..8 => Call::Status { instance },
            8..13 => Call::Register { instance, key },
            13..15 => Call::Unregister { instance },
            15..18 => {
                // It is back soon, mostly: little can be done meanwhile.
                if self.random.below(4) > 0 {
                    self.planned.push(Call::SetStatus { status: 2 });
                }
                Call::SetStatus { status: self.random.below(3) as u32 }
            }
            18..20 => Call::SetPublished { versions: [(1, 1), (2, 2), (1, 2)][self.random.below(3)] },
            _ => Call::Flush { instance, tag: self.tag(), key },
        }
    }

    fn publish(&mut self) -> Call {
        let options = [(1, 0), (2, 0), (2, 0), (2, 0), (2, 0), (2, 0), (3, 0), (2, 1)][self.random.below(8)];
        let len = [0, 0, 0, 500, 1_000, u64::MAX][self.random.below(6)];
        Call::Publish { instance: self.instance(), id: self.id(), len, options, key: self.key() }
    }

    fn of_stream(&mut self) -> Call {
        let stream = recent(&mut self.random, self.streams.len());
        match self.random.below(9) {
            0..4 => {
                let len = [0, 1, 500, 500, 1_500][self.random.below(5)];
                let bytes = Bytes { body: 0, from: self.streams[stream], len, spoilt: false };
                self.plan(1, Call::Take(8));
                Call::AddToStream { stream, bytes }
            }
            4..7 => {
                self.plan(3, Call::Drive);
                Call::CompleteStream { stream }
            }
            7 => Call::CloseStream { stream },
            _ => Call::Unpublish { instance: self.instance(), id: self.id() },
        }
    }

    fn of_info(&mut self) -> Call {
        let (instance, id) = (self.instance(), self.id());
        if self.infos == 0 || self.random.below(3) == 0 {
            let range = [(0, 0), (0, 0), (1, 400), (499, 1), (0, 100), (500, 0), (300, u64::MAX), (9_999, 1)]
                [self.random.below(8)];
            let versions = [None, None, Some((1, 1)), Some((2, 2)), Some((1, 2)), Some((3, 4)), Some((2, 1))]
                [self.random.below(7)];
            return Call::OpenInfo { instance, id, range, versions, key: self.key() };
        }
        let info = recent(&mut self.random, self.infos);
        match self.random.below(8) {
            0..5 => {
                let len = self.random.below(300);
                let offset = [0, 0, 13, 100, u64::MAX][self.random.below(5)];
                self.plan(1, Call::CopyInfo { info, offset, len });
                self.plan(1, Call::Drive);
                Call::Retrieve { info, max: [1, 40, 100, 100_000, u32::MAX, 0][self.random.below(6)] }
            }
            5..7 => {
                Call::CopyInfo { info, offset: self.random.below(200) as u64, len: self.random.below(300) }
            }
            _ => Call::CloseInfo { info },
        }
    }

    fn open_content(&mut self) -> Call {
        // Most are made ready at once: reads want that.
        Call::OpenContent { instance: self.instance(), tag: self.tag(), key: self.key() }
    }

    fn of_content(&mut self, model: &Model<'_>) -> Call {
        let content = recent(&mut self.random, self.contents);
        let material = self.material(content);
        let described = &model.library.materials[material];
        let left = described.bytes.len() - model.collected(content).min(described.bytes.len());
        match self.random.below(20) {
            0..5 if left > 0 => {
                let part = 1 + self.random.below(left);
                let len = if self.random.below(4) > 0 { left } else { part };
                if len == left {
                    self.plan(3, Call::Drive);
                    self.plan(6, Call::CompleteContentInfo { content });
                    self.plan(5, Call::Take(8));
                }
                Call::AddContentInfo { content, material, from: model.collected(content), len }
            }
            0 => Call::AddContentInfo { content, material, from: 0, len: 1 },
            1 => Call::CompleteContentInfo { content },
            2..10 => self.add_data(model, content, described.body),
            10..15 => {
                let range = &described.range;
                let edges =
                    [0, range.start, range.start.wrapping_sub(1), range.end, range.end.wrapping_sub(1)];
                let anywhere = self.random.below(2_200) as u64;
                let offset = [edges[self.random.below(5)], anywhere, anywhere, 600, 65_536, u64::MAX]
                    [self.random.below(6)];
                let (max, patience) = self.reading();
                Call::BlockRead { content, offset, max, patience }
            }
            15..18 => {
                let (max, patience) = self.reading();
                Call::StreamRead { content, max, patience }
            }
            18 if self.random.below(3) == 0 => Call::CloseContent { content },
            18 => Call::Information { content },
            _ => {
                let any = self.random.below(2) == 0 || self.operations == 0;
                let operation = (!any).then(|| recent(&mut self.random, self.operations));
                Call::CancelClient { content, operation }
            }
        }
    }

    /// Blocks of 600 bytes, of which each has but a part.
    fn of_shared(&mut self, model: &Model<'_>) -> Call {
        if self.contents < 2 {
            return self.open_content();
        }
        let content = recent(&mut self.random, self.contents);
        match self.random.below(6) {
            0 => {
                let offset = self.random.below(4) as u64 * 300;
                let patience = [Patience::Short, Patience::Endless][self.random.below(2)];
                Call::BlockRead { content, offset, max: 10, patience }
            }
            1 if self.random.below(4) == 0 => Call::CloseContent { content },
            1 => Call::Elapse,
            _ => {
                let body = model.library.materials[self.material(content)].body;
                let (from, len) = (self.random.below(6) * 200, [100, 200, 400, 600][self.random.below(4)]);
                let bytes = Bytes { body, from, len, spoilt: self.random.below(8) == 0 };
                Call::AddData { content, offset: from as u64, bytes }
            }
        }
    }

    fn add_data(&mut self, model: &Model<'_>, content: usize, body: usize) -> Call {
        let all = model.library.bodies[body].len();
        let from = [0, 0, self.random.below(all), self.random.below(all) / 600 * 600][self.random.below(4)];
        let len = [all, 600, self.random.below(1_300), self.random.below(all)][self.random.below(4)];
        let spoilt = self.random.below(6) == 0;
        let bytes = Bytes { body, from, len, spoilt };
        let offset = match self.random.below(24) {
            0 => [all as u64, 1 << 40, u64::MAX / 2][self.random.below(3)],
            _ => from as u64,
        };
        Call::AddData { content, offset, bytes }
    }

    fn reading(&mut self) -> (u32, Patience) {
        let patience = match self.random.below(6) {
            0 => Patience::Short,
            1 => Patience::Endless,
            _ => Patience::Local,
        };
        ([0, 1, 100, 5_000, u32::MAX][self.random.below(5)], patience)
    }

    fn of_operation(&mut self) -> Call {
        let operation = recent(&mut self.random, self.operations);
        match self.random.below(8) {
            0..3 => {
                let skip = [0, 0, 7, u64::MAX][self.random.below(4)];
                Call::CopyRead { operation, skip, len: self.random.below(1_000) }
            }
            3..6 => Call::EndRead { operation },
            6 => Call::CancelServer { instance: self.instance(), id: self.id(), operation },
            _ => Call::IsPending { operation },
        }
    }

    /// Does that next, as often as not in six.
    fn plan(&mut self, often: usize, call: Call) {
        if self.random.below(6) < often {
            self.planned.push(call);
        }
    }

    /// The same content information for all of a content's life.
    fn material(&self, content: usize) -> usize {
        let number = content * 7 + self.shift;
        match self.kind {
            Kind::Large => [7, 0, 8, 7, 2][number % 5],
            Kind::Shared => [0, 0, 1, 0][number % 4],
            Kind::Any => [0, 2, 1, 0, 4, 3, 0, 5, 1, 6, 2][number % 11],
        }
    }

    fn instance(&mut self) -> usize {
        recent(&mut self.random, self.instances)
    }

    fn id(&mut self) -> Vec<u8> {
        match self.random.below(60) {
            0 => Vec::new(),
            1 => vec![1; 65_536],
            n if n < 40 => b"a".to_vec(),
            _ => b"another".to_vec(),
        }
    }

    fn tag(&mut self) -> u8 {
        self.random.below(3) as u8
    }

    fn key(&mut self) -> usize {
        self.random.below(1_000)
    }
}

/// Mostly one of the last.
fn recent(random: &mut Random, count: usize) -> usize {
    let back = if random.below(3) > 0 { random.below(2) } else { random.below(count.max(1)) };
    count.saturating_sub(1 + back)
}
