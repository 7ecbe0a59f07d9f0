//! The node, as an application calls it.

use peerdist_core::api::client::ReadError;
use peerdist_core::api::operation::{Completion, OperationId, Outcome};
use peerdist_core::api::{
    ApiError, ContentHandle, Handle, InfoHandle, InfoVersions, InstanceHandle, Patience, PublicationOptions,
    Published, Status, StreamHandle, Tabled, UserId,
};
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::discovery::Subnet;
use peerdist_core::node::{Config, Node, Serving};
use peerdist_core::store::ram::{Entry, Page, RamStore};
use peerdist_core::time::{Duration, Instant};
use peerdist_tests::model::library::{KEY, Library};
use peerdist_tests::model::{Answer, Call, Done, Patience as Wait};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

type Store = RamStore<Vec<Page>, Vec<Entry>, Vec<u8>>;
type Tables<const PAGES: usize> = Tabled<3, 3, 2, 2, 3, 8, PAGES>;
type TestNode<const PAGES: usize> = Node<Store, SoftCrypto, ChaCha8Rng, 4, 8, 0, Serving, Tables<PAGES>>;

/// Blocks in the store: never full.
const BLOCKS: usize = 24;

/// Longer than a search for peers.
const LONG: Duration = Duration::from_secs(120);

/// The node, with all handles that it has given.
pub struct Real<const PAGES: usize> {
    node: Box<TestNode<PAGES>>,
    now: Instant,
    pub instances: Vec<InstanceHandle>,
    streams: Vec<StreamHandle>,
    infos: Vec<InfoHandle>,
    contents: Vec<ContentHandle>,
    operations: Vec<(OperationId, InstanceHandle, Handle)>,
}

impl<const PAGES: usize> Real<PAGES> {
    pub fn new() -> Self {
        let store =
            RamStore::new(vec![Page::EMPTY; 4 * BLOCKS], vec![Entry::EMPTY; BLOCKS], vec![0; 1 << 13]);
        let rng = ChaCha8Rng::from_seed([1; 32]);
        let mut node = Box::new(Node::new(Config::default(), store, SoftCrypto, rng));
        node.set_addresses(&[Subnet { address: [10, 0, 0, 1].into(), prefix: 24 }]);
        node.api().set_server_secret(KEY);
        Self {
            node,
            now: Instant::from_millis(1_000),
            instances: Vec::new(),
            streams: Vec::new(),
            infos: Vec::new(),
            contents: Vec::new(),
            operations: Vec::new(),
        }
    }

    /// Whether no row of a table is in use, as far as that can be told from outside.
    pub fn is_empty(&mut self) -> bool {
        let mut api = self.node.api();
        self.operations.iter().all(|(operation, ..)| !api.is_pending(*operation))
            && api.poll_operation().is_none()
    }

    /// A completion, in the terms of the reference.
    pub fn take(&mut self) -> Option<Done> {
        let completion = self.node.api().poll_operation()?;
        let Completion { operation, instance, handle, key, outcome } = completion;
        let place = self.operations.iter().position(|row| *row == (operation, instance, handle));
        let status = match outcome {
            Outcome::Status(info) => Some((info.status as u32, info.min_version, info.max_version)),
            _ => None,
        };
        Some(Done {
            operation: place.unwrap_or_else(|| panic!("nobody asked for {completion:?}")),
            key,
            code: completion.code().number(),
            bytes: completion.bytes(),
            offset: completion.offset(),
            status,
        })
    }

    pub fn call(&mut self, library: &Library, call: &Call) -> Answer {
        let now = self.now;
        let mut api = self.node.api();
        let mut accepted = |result: Result<_, ApiError>, instance, handle| match result {
            Ok(operation) => {
                assert!(self.operations.iter().all(|(other, ..)| *other != operation));
                self.operations.push((operation, instance, handle));
                Answer::Accepted
            }
            Err(error) => refused(error),
        };
        match *call {
            Call::Startup { version, user } => {
                opened(&mut self.instances, api.startup(version, UserId(user)))
            }
            Call::Shutdown { instance } => done(api.shutdown(self.instances[instance])),
            Call::Status { instance } => match api.status(self.instances[instance]) {
                Ok(info) => Answer::Status(info.status as u32, info.min_version, info.max_version),
                Err(error) => refused(error),
            },
            Call::Register { instance, key } => {
                let instance = self.instances[instance];
                accepted(api.register_status(instance, key), instance, Handle::Instance(instance))
            }
            Call::Unregister { instance } => done(api.unregister_status(self.instances[instance])),
            Call::SetStatus { status } => {
                api.set_status([Status::Disabled, Status::Unavailable, Status::Available][status as usize]);
                Answer::Done
            }
            Call::SetPublished { versions } => {
                api.set_published(match versions {
                    (1, 1) => Published::V1,
                    (2, 2) => Published::V2,
                    _ => Published::Both,
                });
                Answer::Done
            }
            Call::Publish { instance, ref id, len, options: (version, flags), key } => {
                let options = PublicationOptions { version, flags };
                opened(&mut self.streams, api.publish_stream(self.instances[instance], id, len, options, key))
            }
            Call::AddToStream { stream, bytes } => {
                let stream = self.streams[stream];
                let result = api.add_to_stream(stream, &bytes.of(library));
                accepted(result, stream.instance(), Handle::Stream(stream))
            }
            Call::CompleteStream { stream } => {
                let stream = self.streams[stream];
                accepted(api.complete_stream(stream), stream.instance(), Handle::Stream(stream))
            }
            Call::CloseStream { stream } => done(api.close_stream(self.streams[stream])),
            Call::Unpublish { instance, ref id } => done(api.unpublish(self.instances[instance], id)),
            Call::OpenInfo { instance, ref id, range: (offset, len), versions, key } => {
                let instance = self.instances[instance];
                opened(
                    &mut self.infos,
                    match versions {
                        Some((min, max)) => {
                            let versions = InfoVersions { min, max };
                            api.open_content_information_ex(instance, id, offset, len, versions, key)
                        }
                        None => api.open_content_information(instance, id, offset, len, key),
                    },
                )
            }
            Call::Retrieve { info, max } => {
                let info = self.infos[info];
                accepted(api.retrieve_content_information(info, max), info.instance(), Handle::Info(info))
            }
            Call::CopyInfo { info, offset, len } => {
                let mut buf = vec![0xaa; len];
                match api.copy_content_information(self.infos[info], offset, &mut buf) {
                    Ok(len) => copied(buf, len),
                    Err(error) => refused(error),
                }
            }
            Call::CloseInfo { info } => done(api.close_content_information(self.infos[info])),
            Call::CancelServer { instance, ref id, operation } => {
                let (operation, ..) = self.operations[operation];
                done(api.cancel_server_operation(self.instances[instance], id, operation))
            }
            Call::OpenContent { instance, tag, key } => {
                opened(&mut self.contents, api.open_content(self.instances[instance], [tag; 16], key))
            }
            Call::CloseContent { content } => done(api.close_content(self.contents[content])),
            Call::AddContentInfo { content, material, from, len } => {
                let content = self.contents[content];
                let bytes = &library.materials[material].bytes[from..from + len];
                let result = api.add_content_information(content, bytes);
                accepted(result, content.instance(), Handle::Content(content))
            }
            Call::CompleteContentInfo { content } => {
                let content = self.contents[content];
                let result = api.complete_content_information(content);
                accepted(result, content.instance(), Handle::Content(content))
            }
            Call::AddData { content, offset, bytes } => {
                let content = self.contents[content];
                let result = api.add_data(content, offset, &bytes.of(library));
                accepted(result, content.instance(), Handle::Content(content))
            }
            Call::BlockRead { content, offset, max, patience } => {
                let content = self.contents[content];
                let result = api.block_read(now, content, offset, max, wait(patience));
                accepted(result, content.instance(), Handle::Content(content))
            }
            Call::StreamRead { content, max, patience } => {
                let content = self.contents[content];
                let result = api.stream_read(now, content, max, wait(patience));
                accepted(result, content.instance(), Handle::Content(content))
            }
            Call::CopyRead { operation, skip, len } => {
                let mut buf = vec![0xaa; len];
                match api.copy_read(self.operations[operation].0, skip, &mut buf) {
                    Ok(len) => copied(buf, len),
                    Err(ReadError::NoSuchRead) => Answer::NoSuchRead,
                    Err(error) => panic!("{error:?}"),
                }
            }
            Call::EndRead { operation } => {
                api.end_read(self.operations[operation].0);
                Answer::Done
            }
            Call::CancelClient { content, operation } => {
                let operation = operation.map(|operation| self.operations[operation].0);
                done(api.cancel_client_operation(self.contents[content], operation))
            }
            Call::Flush { instance, tag, key } => {
                let instance = self.instances[instance];
                accepted(api.flush_content(instance, [tag; 16], key), instance, Handle::Instance(instance))
            }
            Call::Information { content } => match api.information(now, self.contents[content]) {
                Ok(info) => Answer::Is(info.flash_crowd),
                Err(error) => refused(error),
            },
            Call::IsPending { operation } => Answer::Is(api.is_pending(self.operations[operation].0)),
            Call::Dropped => {
                let dropped = api.dropped();
                Answer::Dropped(dropped.bad_blocks, dropped.bytes)
            }
            Call::Drive => {
                self.drive();
                Answer::Done
            }
            Call::Elapse => {
                let end = now + LONG;
                self.drive();
                while let Some(next) = self.node.poll_timeout(self.now).filter(|next| *next < end) {
                    self.now = next.max(self.now + Duration::from_micros(1));
                    self.drive();
                }
                self.now = end;
                self.drive();
                Answer::Done
            }
            Call::Take(_) => Answer::Done,
        }
    }

    fn drive(&mut self) {
        let mut buf = [0; 1_400];
        loop {
            let output = self.node.poll_output(self.now, &mut buf);
            if output.is_none() && self.node.poll_timeout(self.now) != Some(self.now) {
                return;
            }
        }
    }
}

fn wait(patience: Wait) -> Patience {
    match patience {
        Wait::Local => Patience::from_millis(0),
        Wait::Short => Patience::from_millis(10),
        Wait::Endless => Patience::from_millis(u32::MAX),
    }
}

fn refused(error: ApiError) -> Answer {
    Answer::Refused(error.code().number())
}

fn done(result: Result<(), ApiError>) -> Answer {
    result.map_or_else(refused, |()| Answer::Done)
}

fn opened<H: PartialEq>(handles: &mut Vec<H>, result: Result<H, ApiError>) -> Answer {
    match result {
        Ok(handle) => {
            assert!(!handles.contains(&handle), "a handle comes twice");
            handles.push(handle);
            Answer::Opened
        }
        Err(error) => refused(error),
    }
}

fn copied(mut buf: Vec<u8>, len: usize) -> Answer {
    assert!(buf[len..].iter().all(|byte| *byte == 0xaa), "more is written than was copied");
    buf.truncate(len);
    Answer::Copied(buf)
}
