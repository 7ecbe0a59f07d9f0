//! Reads and data of an application with no peer around: what is in the store, what is missing, and
//! what waits.

extern crate std;

use std::vec;
use std::vec::Vec as StdVec;

use super::anywhere::Kept;
use super::*;
use crate::api::waiting::{Page as WaitingPage, Waiting};
use crate::content::segmenter::{SegmentLen, Segmentation};
use crate::content::{EndForm, InfoSource};
use crate::crypto::SoftCrypto;
use crate::fetch::Config;
use crate::store::ram::{BLOCK_PAGES, Entry, Page, RamStore};
use crate::store::split::Split;
use crate::tests::{Fixed, published_v1, published_v2};
use crate::time::Instant;

mod faults;
mod sharing;

const BLOCKS: usize = 8;
const BLOCK: u64 = 65_536;
const TAG: ContentTag = [7; 16];
const START: Instant = Instant::from_millis(1_000);

type TestStore = Split<RamStore<StdVec<Page>, StdVec<Entry>, StdVec<u8>>, faults::Infos>;

/// An application's client with its surroundings.
struct World {
    client: Client,
    fetch: Fetch,
    jobs: [Job; 4],
    store: TestStore,
    pages: StdVec<WaitingPage>,
    now: Instant,
    completed: StdVec<Completion>,
    content: StdVec<u8>,
    info: StdVec<u8>,
}

fn bytes(len: u64) -> StdVec<u8> {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Content information of `range` alone.
fn excerpt(info: &StdVec<u8>, range: Range<u64>) -> StdVec<u8> {
    let source = info.as_slice();
    let parsed = Info::parse(&source).unwrap();
    let excerpt = parsed.excerpt(&source, range, EndForm::Zero).unwrap().unwrap();
    let mut part = vec![0; excerpt.len() as usize];
    excerpt.read_at(0, &mut part).unwrap();
    part
}

impl World {
    fn new(content: StdVec<u8>, info: StdVec<u8>, waiting: usize) -> Self {
        Self {
            client: Client::new(0),
            fetch: Fetch::new(Config { distributed: false, ..Config::default() }),
            jobs: [const { Job::FREE }; 4],
            store: Split {
                blocks: RamStore::new(
                    vec![Page::EMPTY; BLOCKS * BLOCK_PAGES],
                    vec![Entry::EMPTY; BLOCKS],
                    StdVec::new(),
                ),
                infos: faults::Infos::new(16_384),
            },
            pages: (0..waiting).map(|_| WaitingPage::EMPTY).collect(),
            now: START,
            completed: StdVec::new(),
            content,
            info,
        }
    }

    /// Content of so many bytes in version 1.0, with room for so much to wait.
    fn v1(len: u64, waiting: usize) -> Self {
        let content = bytes(len);
        let info = published_v1(&content);
        Self::new(content, info, waiting)
    }

    fn with<T>(&mut self, run: impl FnOnce(&mut Client, &mut Parts<'_>, &mut Waiting<'_>) -> T) -> T {
        let Self { client, fetch, jobs, store, pages, .. } = self;
        let (crypto, rng, cipher) = (&mut SoftCrypto, &mut Fixed(4), CipherAlgorithm::Aes128);
        let mut parts = Parts { storage: store, crypto, rng, fetch, jobs, cipher, told: None };
        run(client, &mut parts, &mut Waiting::new(pages))
    }

    fn collecting(&mut self) -> ContentHandle {
        self.client.open_content(&mut self.store, TAG).unwrap()
    }

    fn describe(&mut self, handle: ContentHandle, info: &[u8]) {
        self.client.add_content_information(&mut self.store, handle, info).unwrap();
        self.client.complete_content_information(&mut self.store, handle).unwrap();
        self.work(self.now);
    }

    /// An open content whose reads can begin.
    fn open(&mut self) -> ContentHandle {
        let (handle, info) = (self.collecting(), self.info.clone());
        self.describe(handle, &info);
        handle
    }

    /// Has content information checked, and looks through nothing.
    fn check(&mut self) {
        while self.with(|client, parts, _| client.work(START, parts, &mut |_, _| {})) {}
    }

    /// All that can be done.
    fn work(&mut self, now: Instant) {
        loop {
            let mut completed = StdVec::new();
            let more = self.with(|client, parts, waiting| {
                let Parts { storage, crypto, rng, fetch, jobs, .. } = &mut *parts;
                let fetched = fetch.work(now, jobs, *storage, *crypto, *rng);
                let worked = client.work(now, parts, &mut |_, completion| completed.push(completion));
                fetched | worked | client.settle(parts, waiting).is_some()
            });
            self.completed.append(&mut completed);
            if !more {
                return;
            }
        }
    }

    fn add(&mut self, handle: ContentHandle, range: Range<u64>) -> Kept {
        let data = self.content[range.start as usize..range.end as usize].to_vec();
        let kept = self.add_bytes(handle, range.start, &data);
        kept.unwrap().expect("within the content")
    }

    fn add_bytes(&mut self, handle: ContentHandle, at: u64, data: &[u8]) -> Result<Option<Kept>, ApiError> {
        let kept = self.with(|client, parts, waiting| client.add_anywhere(parts, waiting, handle, at, data));
        self.work(self.now);
        kept
    }

    fn read(&mut self, handle: ContentHandle, offset: u64, max: u64, patience: Patience) -> ReadResult {
        self.client.block_read(self.now, handle, offset, max, patience).unwrap();
        self.work(self.now);
        self.completed.pop().expect("it has ended").result
    }

    /// What a read of no bytes tells.
    fn here(&mut self, handle: ContentHandle, offset: u64) -> Range<u64> {
        match self.read(handle, offset, 0, Patience::Local) {
            ReadResult::Local { range } => range,
            other => panic!("{other:?}"),
        }
    }

    /// Reads all of `range` from the store, as it was published.
    fn expect(&mut self, handle: ContentHandle, range: Range<u64>) {
        let mut at = range.start;
        while at < range.end {
            let read = self.client.block_read(self.now, handle, at, range.end - at, Patience::Local).unwrap();
            self.work(self.now);
            let ReadResult::Data { range: got, source } = self.completed.pop().unwrap().result else {
                panic!("{at} is missing")
            };
            assert_eq!(source, Source::Local);
            let mut buf = vec![0; (got.end - got.start) as usize];
            let copied = self.with(|client, parts, _| {
                let copied = client.copy_read(parts.storage, parts.crypto, read, 0, &mut buf);
                client.end_read(parts, read);
                copied
            });
            assert_eq!(copied, Ok(buf.len()));
            assert!(buf == self.content[got.start as usize..got.end as usize]);
            at = got.end;
        }
    }

    fn missing(&mut self, handle: ContentHandle, offset: u64) -> Range<u64> {
        match self.read(handle, offset, 10, Patience::Local) {
            ReadResult::Missing { range } => range,
            other => panic!("{other:?}"),
        }
    }

    fn waits(&self) -> bool {
        self.pages.iter().any(|page| !page.is_empty())
    }
}

fn committed(committed: u32) -> Kept {
    Kept { committed, ..Kept::default() }
}

#[test]
fn a_read_of_the_store_alone_tells_all_that_is_missing() {
    let mut world = World::v1(5 * BLOCK + 100, 0);
    let handle = world.open();
    assert_eq!(world.missing(handle, 0), 0..5 * BLOCK + 100);
    assert_eq!(world.missing(handle, 70_000), 70_000..5 * BLOCK + 100);
    assert_eq!(world.add(handle, 3 * BLOCK..4 * BLOCK), committed(1));
    assert_eq!(world.missing(handle, 0), 0..3 * BLOCK);
    assert_eq!(world.missing(handle, 2 * BLOCK + 5), 2 * BLOCK + 5..3 * BLOCK);
    assert_eq!(world.missing(handle, 4 * BLOCK), 4 * BLOCK..5 * BLOCK + 100);
    world.expect(handle, 3 * BLOCK + 9..4 * BLOCK);
    // Nobody was asked.
    assert!(Fetch::has_room(&world.jobs[..1]));
}

#[test]
fn what_is_missing_of_a_range_ends_with_it() {
    let mut world = World::v1(5 * BLOCK, 0);
    let part = excerpt(&world.info, 100..3 * BLOCK + 50);
    let handle = world.collecting();
    world.describe(handle, &part);
    assert_eq!(world.missing(handle, 100), 100..3 * BLOCK + 50);
    for outside in [0, 99, 3 * BLOCK + 50, 5 * BLOCK, u64::MAX] {
        assert!(matches!(world.read(handle, outside, 9, Patience::Local), ReadResult::NoMore), "{outside}");
        assert!(matches!(world.read(handle, outside, 0, Patience::Local), ReadResult::NoMore), "{outside}");
    }
}

#[test]
fn a_read_of_no_bytes_counts_what_is_here() {
    let mut world = World::v1(5 * BLOCK + 100, 0);
    let handle = world.open();
    assert_eq!(world.here(handle, 12), 12..12);
    world.add(handle, BLOCK..3 * BLOCK);
    assert_eq!(world.here(handle, 12), 12..12);
    assert_eq!(world.here(handle, BLOCK + 7), BLOCK + 7..3 * BLOCK);
    world.add(handle, 3 * BLOCK..5 * BLOCK + 100);
    assert_eq!(world.here(handle, BLOCK), BLOCK..5 * BLOCK + 100);
}

#[test]
fn a_stream_reads_over_a_hole_and_a_query_moves_nothing() {
    let mut world = World::v1(3 * BLOCK, 0);
    let handle = world.open();
    world.add(handle, 2 * BLOCK..3 * BLOCK);
    let stream = |world: &mut World, max| {
        world.client.stream_read(START, handle, max, Patience::Local).unwrap();
        world.work(START);
        world.completed.pop().unwrap().result
    };
    assert!(matches!(stream(&mut world, 0), ReadResult::Local { range } if range == (0..0)));
    assert!(matches!(stream(&mut world, 10), ReadResult::Missing { range } if range == (0..2 * BLOCK)));
    assert!(matches!(stream(&mut world, 0), ReadResult::Local { range } if range == (2 * BLOCK..3 * BLOCK)));
    assert!(
        matches!(stream(&mut world, 10), ReadResult::Data { range, .. } if range == (2 * BLOCK..2 * BLOCK + 10))
    );
    assert!(matches!(stream(&mut world, u64::MAX), ReadResult::Data { range, .. } if range.end == 3 * BLOCK));
    assert!(matches!(stream(&mut world, 10), ReadResult::NoMore));
    assert!(matches!(stream(&mut world, 0), ReadResult::NoMore));
}

#[test]
fn waiting_for_peers_ends_with_the_time() {
    let mut world = World::v1(BLOCK, 0);
    let handle = world.open();
    let end = |millis| Patience::from_millis(millis);
    assert_eq!(end(0), Patience::Local);
    assert_eq!(end(1), Patience::For(Duration::from_millis(1)));
    assert_eq!(end(0xFFFF_FFFE), Patience::For(Duration::from_secs(5)));
    assert_eq!(end(u32::MAX), Patience::Endless);
    for patience in [Patience::For(Duration::from_millis(1)), Patience::Endless] {
        // Where nobody can be asked, nobody has it.
        assert!(matches!(world.read(handle, 0, 1, patience), ReadResult::Missing { .. }));
    }
}

#[test]
fn pieces_in_any_order_become_blocks() {
    let len = 4 * BLOCK + 1_000;
    let mut world = World::v1(len, 1_024);
    let handle = world.open();
    let size = 3_000;
    // Every piece once, in an order that has nothing to do with theirs.
    let count = len.div_ceil(size);
    let mut kept = Kept::default();
    for step in 0..count {
        let start = step * 37 % count * size;
        let now = world.add(handle, start..len.min(start + size));
        kept =
            Kept { committed: kept.committed + now.committed, dropped: kept.dropped + now.dropped, ..kept };
    }
    assert_eq!((kept.dropped, kept.bad), (0, 0));
    world.expect(handle, 0..len);
    assert!(!world.waits());
}

#[test]
fn what_comes_before_content_information_is_verified_once_that_is_here() {
    for v2 in [false, true] {
        let len = 3 * BLOCK + 77;
        let mut world = World::v1(len, 1_024);
        if v2 {
            world.info = published_v2(&world.content, Segmentation::ContentDefined);
        }
        let handle = world.collecting();
        assert_eq!(world.add(handle, BLOCK + 5..len), committed(0));
        assert_eq!(world.add(handle, 0..BLOCK + 5), committed(0));
        assert!(world.waits());
        let info = world.info.clone();
        world.describe(handle, &info);
        world.expect(handle, 0..len);
        assert!(!world.waits());
    }
}

#[test]
fn what_lies_outside_the_range_waits_for_another_content_of_the_tag() {
    let len = 4 * BLOCK;
    for closed in [false, true] {
        let mut world = World::v1(len, 1_024);
        let part = excerpt(&world.info, 0..BLOCK);
        let first = world.collecting();
        world.describe(first, &part);
        assert_eq!(world.add(first, 2 * BLOCK..3 * BLOCK + 10), committed(0));
        if closed {
            world.with(|client, parts, waiting| {
                client.close_content(first, parts).unwrap();
                waiting.close(first);
            });
        }
        let second = world.open();
        world.expect(second, 2 * BLOCK..3 * BLOCK);
        assert_eq!(world.missing(second, 3 * BLOCK), 3 * BLOCK..len);
        // What is not a whole block stays with who added it.
        assert!(world.waits());
    }
}

#[test]
fn what_waits_for_another_content_is_not_taken_for_this_one() {
    let mut world = World::v1(2 * BLOCK, 1_024);
    let other = world.collecting();
    let zeros = vec![0; 2 * BLOCK as usize];
    assert_eq!(world.add_bytes(other, 0, &zeros), Ok(Some(committed(0))));
    let handle = world.open();
    assert_eq!(world.missing(handle, 0), 0..2 * BLOCK);
    let info = published_v1(&zeros);
    world.describe(other, &info);
    world.content = zeros;
    world.expect(other, 0..2 * BLOCK);
}

#[test]
fn wrong_bytes_are_counted_and_never_found() {
    let mut world = World::v1(2 * BLOCK, 1_024);
    let handle = world.open();
    let mut wrong = world.content[..BLOCK as usize].to_vec();
    wrong[40_000] ^= 1;
    // Behind its beginning first, so that it has to wait.
    assert_eq!(world.add_bytes(handle, 20_000, &wrong[20_000..]), Ok(Some(committed(0))));
    let bad = Kept { bad: 1, ..Kept::default() };
    assert_eq!(world.add_bytes(handle, 0, &wrong[..20_000]), Ok(Some(bad)));
    assert!(!world.waits());
    assert_eq!(world.missing(handle, 0), 0..2 * BLOCK);
    assert_eq!(world.add(handle, 0..2 * BLOCK), committed(2));
    world.expect(handle, 0..2 * BLOCK);
}

#[test]
fn there_is_an_end_of_the_content_where_it_is_known() {
    let mut world = World::v1(2 * BLOCK + 5, 64);
    let handle = world.open();
    assert_eq!(world.add_bytes(handle, 2 * BLOCK + 5, &[1]), Ok(None));
    assert_eq!(world.add_bytes(handle, u64::MAX, &[1]), Ok(None));
    // What reaches beyond is cut off.
    let mut end = world.content[2 * BLOCK as usize..].to_vec();
    end.extend([9; 50]);
    let cut = Kept { committed: 1, dropped: 50, ..Kept::default() };
    assert_eq!(world.add_bytes(handle, 2 * BLOCK, &end), Ok(Some(cut)));
    assert!(!world.waits());
    // The last segment is short, so the end is known here too, and in version 2.0 not.
    let part = excerpt(&world.info, 10..20);
    let ranged = world.collecting();
    world.describe(ranged, &part);
    assert_eq!(world.add_bytes(ranged, 2 * BLOCK + 5, &[1]), Ok(None));
    world.with(|client, parts, _| client.close_content(ranged, parts)).unwrap();
    let part = excerpt(&published_v2(&world.content, Segmentation::ContentDefined), 10..20);
    let ranged = world.collecting();
    world.describe(ranged, &part);
    assert_eq!(world.add_bytes(ranged, 2 * BLOCK + 5, &[1]), Ok(Some(committed(0))));
}

#[test]
fn without_room_it_is_dropped_and_counted() {
    let mut world = World::v1(2 * BLOCK, 2);
    let handle = world.open();
    let kept = world.add(handle, 10..3_010);
    assert_eq!((kept.committed, kept.dropped), (0, 3_000 - 2 * 512));
    // In order it needs none.
    assert_eq!(world.add(handle, 0..2 * BLOCK), committed(2));
    let unusable = world.collecting();
    world.client.add_content_information(&mut world.store, unusable, &[9; 200]).unwrap();
    assert!(world.client.complete_content_information(&mut world.store, unusable).is_err());
    assert!(matches!(world.add_bytes(unusable, 0, &[1]), Err(ApiError::CannotParse(_))));
}

/// A page has no room for what is in front of a block that goes, and for what is behind it.
#[test]
fn what_is_lost_around_a_tiny_block_is_counted() {
    let content = bytes(500);
    let tiny = Segmentation::Fixed(SegmentLen::new(100).unwrap());
    let mut world = World::new(content.clone(), published_v2(&content, tiny), 8);
    let (handle, info) = (world.collecting(), world.info.clone());
    world.add(handle, 150..500);
    world.client.add_content_information(&mut world.store, handle, &info).unwrap();
    world.client.complete_content_information(&mut world.store, handle).unwrap();
    world.check();
    let step =
        |client: &mut Client, parts: &mut Parts<'_>, waiting: &mut Waiting<'_>| client.settle(parts, waiting);
    let mut all = Kept::default();
    while let Some(kept) = world.with(step) {
        all.committed += kept.committed;
        all.dropped += kept.dropped;
    }
    let lost = 350 - 50 - 100 * all.committed;
    assert_eq!(all, Kept { committed: 1, bad: 0, dropped: lost });
}
