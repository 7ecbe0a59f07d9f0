//! Operations: what is accepted ends once, whatever else happens.

use super::*;

#[test]
fn conformance_35_a_pending_retrieval_is_cancelled() {
    let mut node = node();
    let (instance, other) = (start(&mut node), start(&mut node));
    publish(&mut node, instance, b"id", b"content", 9);
    publish(&mut node, instance, b"other", b"content", 9);
    let info = node.api().open_content_information(instance, b"id", 0, 0, 0).unwrap();
    let first = node.api().retrieve_content_information(info, 5).unwrap();
    let second = node.api().retrieve_content_information(info, 5).unwrap();
    let cancel = |node: &mut TestNode, instance, id: &[u8]| {
        node.api().cancel_server_operation(instance, id, first).err()
    };
    // Of another identifier, of none, of another instance.
    assert_eq!(cancel(&mut node, instance, b"other"), Some(ApiError::OperationNotFound));
    assert_eq!(cancel(&mut node, instance, b"none"), Some(ApiError::OperationNotFound));
    assert_eq!(cancel(&mut node, other, b"id"), Some(ApiError::OperationNotFound));
    assert_eq!(cancel(&mut node, instance, b""), Some(ApiError::InvalidParameter));
    assert_eq!(cancel(&mut node, instance, b"id"), None);
    // It has ended before the call returned.
    assert_eq!(node.api().poll_operation().unwrap().outcome, Outcome::Failed(ApiError::Aborted));
    assert_eq!(cancel(&mut node, instance, b"id"), Some(ApiError::OperationNotFound));
    // What was cancelled did not move on.
    let outcome = outcome(&mut node, Ok(second));
    assert_eq!(outcome, Outcome::Data { offset: 0, len: 5 });
    assert_eq!(node.api().cancel_server_operation(instance, b"id", second), Err(ApiError::OperationNotFound));
}

#[test]
fn a_cancelled_completion_leaves_the_stream_open() {
    let mut node = node();
    let instance = start(&mut node);
    let stream = open(&mut node, instance, b"id", 0).unwrap();
    assert_eq!(add(&mut node, stream, b"con"), Outcome::Taken(3));
    let operation = node.api().complete_stream(stream).unwrap();
    assert_eq!(node.api().add_to_stream(stream, b"x"), Err(ApiError::AlreadyCompleted));
    assert_eq!(node.api().complete_stream(stream), Err(ApiError::AlreadyCompleted));
    assert_eq!(node.api().cancel_server_operation(instance, b"id", operation), Ok(()));
    assert_eq!(outcome(&mut node, Ok(operation)), Outcome::Failed(ApiError::Aborted));
    assert_eq!(add(&mut node, stream, b"tent"), Outcome::Taken(4));
    assert_eq!(complete(&mut node, stream), Outcome::Done);
    assert_eq!(info_of(&mut node, instance, b"id", (0, 0), 1), Ok(expected(b"content", Version::V1)));
}

#[test]
fn closing_cancels_what_is_pending_on_the_handle() {
    let mut node = node();
    let instance = start(&mut node);
    publish(&mut node, instance, b"id", b"content", 9);
    let stream = open(&mut node, instance, b"growing", 0).unwrap();
    let added = node.api().add_to_stream(stream, b"content").unwrap();
    let completing = node.api().complete_stream(stream).unwrap();
    let infos = [0; 2].map(|_| node.api().open_content_information(instance, b"id", 0, 0, 0).unwrap());
    let [kept, cancelled] = infos.map(|info| node.api().retrieve_content_information(info, 5).unwrap());
    node.api().close_stream(stream).unwrap();
    node.api().close_content_information(infos[1]).unwrap();
    let codes: Vec<_> = ended(&mut node).iter().map(|done| (done.operation, done.code())).collect();
    assert_eq!(
        codes,
        [
            // It had ended before.
            (added, Code::Success),
            (completing, Code::OperationAborted),
            (cancelled, Code::OperationAborted),
            (kept, Code::Success),
        ]
    );
}

#[test]
fn conformance_16_key_and_operation_come_back() {
    let mut node = node();
    let instance = start(&mut node);
    let options = PublicationOptions::default();
    let stream = node.api().publish_stream(instance, b"id", 0, options, usize::MAX).unwrap();
    let check = |node: &mut TestNode, operation: Result<OperationId, ApiError>, key, handle| {
        let [completion] = ended(node)[..] else { panic!("one") };
        assert_eq!(Ok(completion.operation), operation);
        assert_eq!((completion.key, completion.handle, completion.instance), (key, handle, instance));
        assert_eq!(completion.code(), Code::Success);
    };
    let operation = node.api().add_to_stream(stream, b"content");
    check(&mut node, operation, usize::MAX, Handle::Stream(stream));
    let operation = node.api().complete_stream(stream);
    check(&mut node, operation, usize::MAX, Handle::Stream(stream));
    let info = node.api().open_content_information(instance, b"id", 0, 0, 6).unwrap();
    let operation = node.api().retrieve_content_information(info, 4);
    check(&mut node, operation, 6, Handle::Info(info));
    let operation = node.api().register_status(instance, 5);
    check(&mut node, operation, 5, Handle::Instance(instance));
    assert_eq!((stream.instance(), info.instance()), (instance, instance));
}

/// 14 and 15: what is accepted has one completion, and what is refused none, however calls and
/// cancellations meet; the store is empty when all is closed.
#[test]
fn conformance_14_15_one_completion_for_each_accepted_call() {
    const RUNS: u64 = 10_000;
    for seed in 1..=RUNS {
        let mut run = Run::new(seed);
        for _ in 0..12 {
            run.step();
        }
        run.finish();
    }
}

/// Calls drawn from a seed.
struct Run {
    rng: Xorshift,
    node: TestNode,
    instance: InstanceHandle,
    streams: Vec<StreamHandle>,
    infos: Vec<InfoHandle>,
    /// Accepted, and not taken yet.
    open: Vec<OperationId>,
    seen: Vec<OperationId>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut node = node_with(Published::Both, 2_000);
        let instance = start(&mut node);
        publish(&mut node, instance, b"0", b"content", 9);
        let rng = Xorshift(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self {
            rng,
            node,
            instance,
            streams: Vec::new(),
            infos: Vec::new(),
            open: Vec::new(),
            seen: Vec::new(),
        }
    }

    fn step(&mut self) {
        let Self { rng, node, instance, streams, infos, open, .. } = self;
        let id = [b'0' + rng.below(2) as u8];
        let pick = |rng: &mut Xorshift, len: usize| rng.below(len.max(1) as u64) as usize;
        let (stream, info) = (pick(rng, streams.len()), pick(rng, infos.len()));
        let accepted = match rng.below(16) {
            0 | 1 => {
                streams.extend(super::open(node, *instance, &id, 0));
                None
            }
            2 => {
                infos.extend(node.api().open_content_information(*instance, &id, 0, 0, 0));
                None
            }
            3 | 4 => streams.get(stream).map(|handle| node.api().add_to_stream(*handle, b"bytes")),
            5 | 6 => streams.get(stream).map(|handle| node.api().complete_stream(*handle)),
            7 | 8 => infos.get(info).map(|handle| node.api().retrieve_content_information(*handle, 20)),
            9 => {
                let operation = open.get(pick(rng, open.len()));
                if let Some(operation) = operation {
                    let was_pending = node.api().is_pending(*operation);
                    let cancelled = node.api().cancel_server_operation(*instance, &id, *operation).is_ok();
                    // Of whom it is not, it goes on.
                    assert!(cancelled <= was_pending);
                    assert_eq!(node.api().is_pending(*operation), was_pending && !cancelled);
                }
                None
            }
            10 => {
                if !streams.is_empty() {
                    node.api().close_stream(streams.swap_remove(stream)).unwrap();
                }
                None
            }
            11 => {
                if !infos.is_empty() {
                    node.api().close_content_information(infos.swap_remove(info)).unwrap();
                }
                None
            }
            12 => {
                _ = node.api().unpublish(*instance, &id);
                None
            }
            13 => Some(node.api().register_status(*instance, 0)),
            14 => {
                let status = [Status::Available, Status::Available, Status::Disabled][rng.below(3) as usize];
                node.api().set_status(status);
                None
            }
            _ => {
                if rng.below(2) == 0 {
                    let completion = node.api().poll_operation();
                    self.take(completion);
                } else {
                    self.take_all();
                }
                None
            }
        };
        if let Some(Ok(operation)) = accepted {
            assert!(!self.seen.contains(&operation) && !self.open.contains(&operation));
            self.open.push(operation);
        }
    }

    fn take(&mut self, completion: Option<Completion>) {
        let Some(completion) = completion else { return };
        let known = self.open.iter().position(|operation| *operation == completion.operation);
        self.open.swap_remove(known.expect("it was accepted, and has not ended before"));
        self.seen.push(completion.operation);
    }

    fn take_all(&mut self) {
        ended(&mut self.node).into_iter().for_each(|completion| self.take(Some(completion)));
    }

    fn finish(mut self) {
        self.take_all();
        // All that can be left is a registration.
        assert!(self.open.len() <= 1);
        self.node.api().shutdown(self.instance).unwrap();
        self.take_all();
        assert_eq!(self.open, []);
        use crate::store::InfoStore;
        let kept: Vec<_> = (0..8).map(|_| self.node.storage_mut().create_info()).collect();
        assert!(kept.iter().all(Result::is_ok), "nothing is kept");
        assert!(self.node.storage_mut().append_info(kept[7].unwrap(), &[0; 2_000]).is_ok());
    }
}

/// The same for the consumer's calls, and what is read is always right: calls drawn from a seed, on contents of which
/// some of the data comes, in any order, and some of it wrong.
#[test]
fn conformance_60_reads_are_right_and_end_once() {
    const RUNS: u64 = 1_000;
    let mut read = 0;
    for seed in 1..=RUNS {
        let mut run = Reads::new(seed);
        for _ in 0..40 {
            run.step();
        }
        read += run.finish();
    }
    assert!(read > 2 * RUNS, "{read}");
}

const LEN: usize = 140_000;

/// A content in one version or the other, and what is under way on its handles.
struct Reads {
    rng: Xorshift,
    node: std::boxed::Box<client::ClientNode>,
    instance: InstanceHandle,
    bytes: Vec<u8>,
    info: Vec<u8>,
    contents: Vec<ContentHandle>,
    /// Accepted, and not taken yet.
    open: Vec<OperationId>,
    /// With data that has not been copied.
    unread: Vec<Completion>,
    /// How many had data.
    read: u64,
}

impl Reads {
    fn new(seed: u64) -> Self {
        let mut node: std::boxed::Box<client::ClientNode> = std::boxed::Box::new(node_of(1 << 16, 4));
        let instance = start(&mut node);
        let bytes = random(LEN);
        let info = expected(&bytes, if seed.is_multiple_of(2) { Version::V1 } else { Version::V2 });
        let rng = Xorshift(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (contents, open, unread) = (Vec::new(), Vec::new(), Vec::new());
        Self { rng, node, instance, bytes, info, contents, open, unread, read: 0 }
    }

    fn step(&mut self) {
        let at = self.rng.below(self.contents.len().max(1) as u64) as usize;
        let (offset, len) = (self.rng.below(LEN as u64), 1 + self.rng.below(70_000) as usize);
        let what = self.rng.below(14);
        let Some(content) = self.contents.get(at).copied().filter(|_| what > 0) else {
            let opened = self.node.api().open_content(self.instance, [0; 16], 0);
            let Ok(content) = opened else { return };
            self.contents.push(content);
            let added = self.node.api().add_content_information(content, &self.info);
            self.accept(added);
            return;
        };
        let mut api = self.node.api();
        let accepted = match what {
            1 | 2 => api.complete_content_information(content),
            3..=5 => {
                // Now and then from where a block begins.
                let offset = if self.rng.below(2) == 0 { offset - offset % 65_536 } else { offset };
                let mut piece = self.bytes[offset as usize..].to_vec();
                piece.truncate(2 * len);
                if self.rng.below(8) == 0 {
                    piece[0] ^= 1;
                }
                api.add_data(content, offset, &piece)
            }
            6..=8 => api.block_read(NOW, content, offset, len as u32, Patience::Local),
            9 => api.stream_read(NOW, content, len as u32, Patience::Local),
            10 => api.block_read(NOW, content, offset, 0, Patience::Local),
            11 => {
                let operation = self.open.get(self.rng.below(8) as usize).copied();
                _ = api.cancel_client_operation(content, operation);
                // If that was it, it is asked for again.
                api.complete_content_information(content)
            }
            12 if self.rng.below(4) == 0 => {
                api.close_content(content).unwrap();
                self.contents.swap_remove(at);
                self.unread.retain(|completion| completion.handle != Handle::Content(content));
                return;
            }
            _ => return self.take_all(),
        };
        self.accept(accepted);
    }

    fn accept(&mut self, operation: Result<OperationId, ApiError>) {
        if let Ok(operation) = operation {
            assert!(!self.open.contains(&operation));
            self.open.push(operation);
        }
        // Rows come back when data is copied.
        if self.open.len() + self.unread.len() > 20 {
            self.take_all();
        }
    }

    /// What is copied leaves its row to those that wait.
    fn take_all(&mut self) {
        while self.take_some() {}
    }

    fn take_some(&mut self) -> bool {
        let completions = ended(&mut self.node);
        let any = !completions.is_empty();
        for completion in completions {
            let known = self.open.iter().position(|operation| *operation == completion.operation);
            self.open.swap_remove(known.expect("it was accepted, and has not ended before"));
            match completion.outcome {
                Outcome::Data { .. } => self.unread.push(completion),
                Outcome::Missing { offset, len } | Outcome::Stored { offset, len } => {
                    assert!(offset + u64::from(len) <= LEN as u64);
                }
                Outcome::TimedOut { .. } => panic!("nobody was asked"),
                Outcome::Done | Outcome::Taken(_) | Outcome::Status(_) | Outcome::Failed(_) => {}
            }
        }
        for completion in self.unread.drain(..) {
            let (offset, len) = (completion.offset().unwrap() as usize, completion.bytes() as usize);
            let mut buf = std::vec![0; len];
            assert_eq!(self.node.api().copy_read(completion.operation, 0, &mut buf), Ok(len));
            assert!(buf == self.bytes[offset..][..len]);
            self.node.api().end_read(completion.operation);
            self.read += 1;
        }
        any
    }

    fn finish(mut self) -> u64 {
        self.take_all();
        assert_eq!(self.open, []);
        self.node.api().shutdown(self.instance).unwrap();
        assert!(ended(&mut self.node).is_empty());
        self.read
    }
}
