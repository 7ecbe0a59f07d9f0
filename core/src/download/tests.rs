extern crate std;

use std::vec;
use std::vec::Vec as StdVec;

use super::*;
use crate::api::client::{Added, ReadResult};
use crate::crypto::{CipherAlgorithm, SoftCrypto};
use crate::encoding::InfoVersion;
use crate::fetch::stream::Answer;
use crate::fetch::{Cause, Config, Failure, Failures, Fetch, Job};
use crate::store::ram::{BLOCK_PAGES, Entry, Page, RamStore};
use crate::store::{BlockId, Store};
use crate::tests::{Fixed, published_v1};

const BLOCKS: usize = 3;

/// A download with its surroundings, where there are no peers.
struct World {
    now: Instant,
    download: Download,
    client: Client,
    fetch: Fetch,
    jobs: [Job; 4],
    store: RamStore<StdVec<Page>, StdVec<Entry>, StdVec<u8>>,
    content: StdVec<u8>,
    info: StdVec<u8>,
}

impl World {
    /// The content information is here, and no peer has any of it.
    fn reading() -> Self {
        Self::reading_by(Config { distributed: false, ..Config::default() })
    }

    fn reading_by(config: Config) -> Self {
        let now = Instant::from_millis(1_000);
        let (host, path) = ("origin".try_into().unwrap(), "/".try_into().unwrap());
        let url = Url { origin: ([10, 1, 0, 1], 80).into(), host, path };
        let content: StdVec<u8> = (0..BLOCKS * 65_536).map(|at| (at / 7) as u8).collect();
        let pages = vec![Page::EMPTY; BLOCKS * BLOCK_PAGES];
        let mut world = Self {
            now,
            download: Download::new(now, url.clone(), 0..u64::MAX),
            client: Client::new(1),
            fetch: Fetch::new(config),
            jobs: [const { Job::FREE }; 4],
            store: RamStore::new(pages, vec![Entry::EMPTY; BLOCKS], vec![0; 8_192]),
            info: published_v1(&content),
            content,
        };
        let need = world.need().unwrap();
        assert_eq!(need.want, Want::Info);
        let head = std::format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: peerdist\r\nX-P2P-PeerDist: Version=1.0, \
             ContentLength={}\r\nContent-Length: {}\r\n\r\n",
            world.content.len(),
            world.info.len()
        );
        let reply = [head.as_bytes(), &world.info].concat();
        world.origin_answers(&need, &reply);
        world.settle();
        world
    }

    fn with<T>(&mut self, run: impl FnOnce(&mut Download, &mut Client, &mut Parts<'_>, Instant) -> T) -> T {
        let Self { now, download, client, fetch, jobs, store, .. } = self;
        let (crypto, rng, cipher) = (&mut SoftCrypto, &mut Fixed(4), CipherAlgorithm::Aes128);
        run(
            download,
            client,
            &mut Parts { storage: store, crypto, rng, fetch, jobs, cipher, told: None },
            *now,
        )
    }

    fn need(&mut self) -> Option<Need> {
        self.with(|download, client, parts, now| download.need(now, client, parts))
    }

    /// A connection carries `need`, and `reply` comes.
    fn origin_answers(&mut self, need: &Need, reply: &[u8]) {
        self.with(|download, client, parts, now| {
            let mut origin = OriginStream::new(now);
            assert!(download.ask(now, &mut origin, InfoVersion::V1, need));
            let mut rest = reply;
            while !rest.is_empty() {
                rest = &rest[download.handle_origin(now, &mut origin, client, parts, rest)..];
            }
            let event = download.poll_event(client, parts);
            assert!(matches!(event, None | Some(DownloadEvent::Begun { encoded: true, .. })));
        });
    }

    /// All that can be done now is done.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.with(|download, client, parts, now| {
                download.work(now, client, parts);
                assert!(!download.has_event());
                client.work(now, parts, &mut |client, completion| {
                    download.handle_completion(now, client, &completion);
                });
                let Parts { storage, crypto, rng, fetch, jobs, .. } = parts;
                fetch.work(now, jobs, *storage, *crypto, *rng);
            });
        }
    }

    /// Whoever is asked for a block does not have it.
    fn nobody_has_it(&mut self) {
        self.with(|_, _, parts, now| {
            let Parts { storage, crypto, rng, fetch, jobs, .. } = parts;
            while let Some(ask) = fetch.next_ask(now, jobs, *rng, &|_| true) {
                fetch.answered(now, jobs, *storage, *crypto, &ask, Answer::Failed(Cause::NotHeld));
            }
        });
        self.settle();
    }

    /// Another download brings all blocks.
    fn store_all(&mut self) {
        let (content, info) = (self.content.clone(), self.info.clone());
        self.with(|_, client, parts, now| {
            let other = client.open_content(parts.storage, [1; 16]).unwrap();
            client.add_content_information(parts.storage, other, &info).unwrap();
            client.complete_content_information(parts.storage, other).unwrap();
            while client.is_ready(other).unwrap().is_none() {
                client.work(now, parts, &mut |_, _| {});
            }
            for (offset, block) in (0..).step_by(65_536).zip(content.chunks(65_536)) {
                assert_eq!(client.add_data(parts, other, offset, block), Ok((65_536, Added::Committed)));
            }
        });
    }
}

/// What another download has brought is read as soon as that is seen.
#[test]
fn a_missing_block_that_is_here_is_read_at_once() {
    let mut world = World::reading();
    assert!(!world.download.take_more());
    world.store_all();
    assert!(world.need().is_none() && world.download.reads_under_way() == 0);
    assert!(world.download.take_more() && !world.download.take_more());
    world.with(|download, client, parts, now| download.work(now, client, parts));
    assert_eq!(world.download.reads_under_way(), 1);
}

/// A block of the origin's that the store lost, and has no room for any more, is no block that waits to be
/// read: the origin is asked again.
#[test]
fn what_landed_and_has_no_room_is_forgotten() {
    let mut world = World::reading();
    let need = world.need().unwrap();
    let Want::Range(range) = need.want.clone() else { panic!("not for a block") };
    let head = std::format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {}-{}/{}\r\nContent-Length: {}\r\n\r\n",
        range.start,
        range.end - 1,
        world.content.len(),
        range.end - range.start
    );
    let reply = [head.as_bytes(), &world.content[range.start as usize..range.end as usize]].concat();
    world.origin_answers(&need, &reply);
    world.with(|download, client, parts, now| download.work(now, client, parts));
    let blocks = world.download.blocks().unwrap();
    let (content, (read, index)) = (blocks.content, blocks.reads[0]);
    let segment = *blocks.surveyed.as_ref().unwrap().segment();
    let stored = world.store.find(&BlockId { segment, index }).unwrap();
    world.store.release(stored.slot);
    let failures = Failures::from_slice(&[Failure { peer: None, cause: Cause::StoreFull }]).unwrap();
    let result = ReadResult::Missing { range };
    let completion = Completion { read, content, result, failures };
    world.download.handle_completion(world.now, &world.client, &completion);
    assert!(world.need().is_none(), "not before there may be room");
    world.now += blocks::ASK_LATER;
    assert!(world.need().is_some());
}

/// A hosted cache that is thought to have everything, as it does not tell, has been brought nothing: who finds that out
/// does not wait for others.
#[test]
fn a_guess_is_nothing_that_others_brought() {
    let hosted = [([10, 1, 0, 9], 80).into()].into_iter().collect();
    let mut world = World::reading_by(Config { distributed: false, hosted, ..Config::default() });
    for _ in 0..BLOCKS {
        world.nobody_has_it();
    }
    world.now += Duration::from_millis(200);
    world.settle();
    assert!(world.need().is_some());
}
