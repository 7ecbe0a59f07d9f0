//! Blocks in files: what any store does, and what only one does that outlives its process.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{CipherAlgorithm, HashAlgorithm, Seal, Secret, SoftCrypto, hash};
use peerdist_core::store::ram::{Entry, PAGE_BYTES, Page, RamStore};
use peerdist_core::store::seal::{SealError, open_at};
use peerdist_core::store::verify::{Expected, Intake, Verifier, VerifyError};
use peerdist_core::store::{BlockId, MAX_AGE, ReserveError, SlotId, Store, StoreError};
use peerdist_core::time::{Duration, Instant};
use peerdist_hal::file::{Counters, FileBlocks, MAX_RESERVED, OpenError, Options};
use tempfile::{TempDir, tempdir};

const NOW: u64 = 1_700_000_000;
const DAY: u64 = 24 * 60 * 60;
const HEADER_BYTES: usize = 256;

const ROOM: Options = Options { sync: false, ..Options::new(1 << 30) };

fn key() -> Secret {
    Secret::from_slice(&[5; 32]).unwrap()
}

fn segment(of: u8) -> SegmentId {
    SegmentId::from_slice(&[of; 32]).unwrap()
}

fn block(index: u32) -> BlockId {
    BlockId { segment: segment(7), index }
}

/// The plaintext of a block, which no other has.
fn text(index: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ index.wrapping_mul(101)) as u8).collect()
}

fn expected(plain: &[u8]) -> Expected {
    let algorithm = HashAlgorithm::Sha256;
    Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, plain), len: plain.len() as u32 }
}

fn seal(index: u32) -> Seal {
    Seal { algorithm: CipherAlgorithm::Aes128, iv: [index as u8; 16] }
}

fn reserve(store: &mut dyn Store, id: &BlockId, len: usize) -> Result<SlotId, ReserveError> {
    store.reserve(id, CipherAlgorithm::Aes128.sealed_len(len as u32))
}

/// Seals, verifies and commits a block as what comes from an origin.
fn put_block(store: &mut dyn Store, id: BlockId, len: usize) -> Result<SlotId, ReserveError> {
    let slot = reserve(store, &id, len)?;
    let plain = text(id.index, len);
    let mut intake = Intake::new(&mut SoftCrypto, slot, seal(id.index), expected(&plain));
    let taken = intake.update(store, &mut SoftCrypto, &key(), &plain);
    assert_eq!(taken.map_err(|error| panic!("{error:?}")), Ok::<_, ()>((len, true)));
    Ok(slot)
}

fn put(store: &mut dyn Store, index: u32, len: usize) -> Result<SlotId, ReserveError> {
    put_block(store, block(index), len)
}

/// Whether a block is there; if it is, it opens to the right text.
fn has(store: &mut dyn Store, index: u32, len: usize) -> bool {
    let Some(stored) = store.find(&block(index)) else { return false };
    let mut plain = vec![0; len + 1];
    assert_eq!(open_at(store, &mut SoftCrypto, &key(), &stored, 0, &mut plain), Ok(len));
    assert_eq!(plain[..len], text(index, len));
    assert_eq!(stored.seal, seal(index));
    true
}

fn which(store: &dyn Store, indices: std::ops::Range<u32>) -> Vec<u32> {
    indices.filter(|index| store.find(&block(*index)).is_some()).collect()
}

fn fresh(options: Options) -> (TempDir, FileBlocks) {
    let directory = tempdir().unwrap();
    let store = FileBlocks::open(directory.path(), options, NOW).unwrap();
    (directory, store)
}

/// The files in a directory beside the lock, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| !path.ends_with("peerdist-block.lock")).collect();
    paths.sort();
    paths
}

fn name(index: u32) -> String {
    format!("peerdist-block-{}-{index:08x}", "07".repeat(32))
}

/// A directory with the same files.
fn copy(from: &Path) -> TempDir {
    let to = tempdir().unwrap();
    for path in files(from) {
        fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
    }
    to
}

/// What any store does; each has room for three blocks of three pages.
mod any_store {
    use super::*;

    const LEN: usize = 3 * PAGE_BYTES - 100;

    fn on_both(check: fn(&mut dyn Store)) {
        check(&mut RamStore::new(vec![Page::EMPTY; 9], vec![Entry::EMPTY; 3], []));
        // With its header, each file takes four pages of a disk.
        let (_directory, mut files) = fresh(Options { max_size: 3 * 16_384 + 1, ..ROOM });
        check(&mut files);
    }

    #[test]
    fn nothing_is_found_before_it_is_committed() {
        on_both(|store| {
            let slot = store.reserve(&block(3), 5_000).unwrap();
            store.write(slot, 0, &[1; 5_000]).unwrap();
            assert_eq!((store.find(&block(3)), store.blocks(&segment(7))), (None, 0));
            assert_eq!(store.next_block(&segment(7), 0), None);
            assert_eq!(store.reserve(&block(3), 16), Err(ReserveError::Exists));
            store.release(slot);
            put(store, 3, LEN).unwrap();
            assert_eq!(store.reserve(&block(3), 16), Err(ReserveError::Exists));
        });
    }

    #[test]
    fn pieces_in_any_order() {
        on_both(|store| {
            let slot = store.reserve(&block(0), 10_000).unwrap();
            let bytes = text(9, 10_000);
            for at in [9_999, 3, 4_096, 8_000, 0] {
                let end = [3, 4_096, 8_000, 9_999, 10_000].into_iter().find(|end| *end > at).unwrap();
                store.write(slot, at as u32, &bytes[at..end]).unwrap();
            }
            let mut back = vec![0; 10_000];
            store.read(slot, 0, &mut back).unwrap();
            assert_eq!(back, bytes);
            store.read(slot, 4_000, &mut back[..5_000]).unwrap();
            assert_eq!(back[..5_000], bytes[4_000..9_000]);
            store.read(slot, 10_000, &mut []).unwrap();
            for (offset, len) in [(9_999, 2), (10_000, 1), (u32::MAX, 1)] {
                assert_eq!(store.write(slot, offset, &back[..len]), Err(StoreError::OutOfRange));
                assert_eq!(store.read(slot, offset, &mut back[..len]), Err(StoreError::OutOfRange));
            }
        });
    }

    #[test]
    fn a_committed_block_is_read_at_any_offset() {
        on_both(|store| {
            let slot = put(store, 1, LEN).unwrap();
            assert!(has(store, 1, LEN));
            assert_eq!(store.write(slot, 0, &[0]), Err(StoreError::Stale));
            let stored = store.find(&block(1)).unwrap();
            assert_eq!((stored.slot, stored.plain_len, stored.len % 16), (slot, LEN as u32, 0));
            let mut sealed = vec![0; stored.len as usize];
            store.read(slot, 0, &mut sealed).unwrap();
            for (offset, len) in
                [(4_095, 2), (5_000, 5_000), (sealed.len() - 1, 1), (sealed.len(), 0), (1, 0)]
            {
                let mut piece = vec![0; len];
                store.read(slot, offset as u32, &mut piece).unwrap();
                assert_eq!(piece, sealed[offset..offset + len]);
            }
            assert_eq!(store.read(slot, stored.len, &mut [0]), Err(StoreError::OutOfRange));
        });
    }

    #[test]
    fn a_block_from_a_peer_is_verified_where_it_lies() {
        on_both(|store| {
            put(store, 1, LEN).unwrap();
            let stored = store.find(&block(1)).unwrap();
            let mut sealed = vec![0; stored.len as usize];
            store.read(stored.slot, 0, &mut sealed).unwrap();
            store.release(stored.slot);
            for wrong in [true, false] {
                let slot = store.reserve(&block(1), stored.len).unwrap();
                sealed[5_000] ^= u8::from(wrong);
                store.write(slot, 0, &sealed).unwrap();
                sealed[5_000] ^= u8::from(wrong);
                let expected = expected(&text(1, LEN));
                let mut verifier =
                    Verifier::new(&mut SoftCrypto, slot, stored.seal, stored.len, expected).unwrap();
                let result = loop {
                    match verifier.step(store, &mut SoftCrypto, &key(), 1_000) {
                        Ok(false) => {}
                        result => break result,
                    }
                };
                assert_eq!(result, if wrong { Err(VerifyError::Hash) } else { Ok(true) });
                assert_eq!(has(store, 1, LEN), !wrong);
                if wrong {
                    store.release(slot);
                }
            }
        });
    }

    #[test]
    fn what_is_gone_is_stale() {
        on_both(|store| {
            let slot = put(store, 0, LEN).unwrap();
            store.release(slot);
            store.release(slot);
            let other = put(store, 1, LEN).unwrap();
            assert_eq!(store.read(slot, 0, &mut [0]), Err(StoreError::Stale));
            assert_eq!(store.write(slot, 0, &[0]), Err(StoreError::Stale));
            store.release(slot);
            store.pin(slot);
            store.unpin(slot);
            assert_eq!((store.find(&block(0)), store.find(&block(1)).unwrap().slot), (None, other));
            let nowhere = SlotId { index: 99, generation: 0 };
            assert_eq!(store.read(nowhere, 0, &mut [0]), Err(StoreError::Stale));
        });
    }

    #[test]
    fn parts_of_segments() {
        on_both(|store| {
            put(store, 9, 100).unwrap();
            put(store, u32::MAX, 100).unwrap();
            put_block(store, BlockId { segment: segment(8), index: 10 }, 100).unwrap();
            assert_eq!([7, 8, 9].map(|of| store.blocks(&segment(of))), [2, 1, 0]);
            let after = [0, 8, 9, u32::MAX - 1, u32::MAX].map(|index| store.next_block(&segment(7), index));
            assert_eq!(after, [Some(9), Some(9), Some(u32::MAX), Some(u32::MAX), None]);
        });
    }

    #[test]
    fn the_least_used_block_makes_room_unless_it_is_pinned() {
        on_both(|store| {
            let slots = [0, 1, 2].map(|index| put(store, index, LEN).unwrap());
            // Block 0 is used, so block 1 goes first; then 2 stays, and 0 is pinned.
            assert!(has(store, 0, LEN));
            put(store, 3, LEN).unwrap();
            assert_eq!(which(store, 0..4), [0, 2, 3]);
            store.pin(slots[0]);
            assert!(has(store, 2, LEN));
            put(store, 4, LEN).unwrap();
            assert_eq!(which(store, 0..5), [0, 2, 4]);
            for index in [0, 2, 4] {
                let slot = store.find(&block(index)).unwrap().slot;
                store.pin(slot);
            }
            assert_eq!(put(store, 5, LEN), Err(ReserveError::Full));
            store.unpin(slots[0]);
            assert_eq!(put(store, 5, LEN), Err(ReserveError::Full), "it was pinned twice");
            store.unpin(slots[0]);
            put(store, 5, LEN).unwrap();
            assert_eq!(which(store, 0..6), [2, 4, 5]);
        });
    }

    #[test]
    fn what_never_fits_moves_nobody() {
        on_both(|store| {
            let reserved = [0, 1].map(|index| reserve(store, &block(index), LEN).unwrap());
            put(store, 2, LEN).unwrap();
            store.pin(store.find(&block(2)).unwrap().slot);
            assert_eq!(reserve(store, &block(3), LEN), Err(ReserveError::Full));
            reserved.into_iter().for_each(|slot| store.release(slot));
            assert_eq!(store.reserve(&block(3), u32::MAX), Err(ReserveError::Full));
            assert!(has(store, 2, LEN));
        });
    }

    #[test]
    fn who_may_go_stays_if_that_is_not_enough() {
        on_both(|store| {
            let reserved = [0, 1].map(|index| reserve(store, &block(index), LEN).unwrap());
            put(store, 2, 100).unwrap();
            store.release(reserved[1]);
            put(store, 1, LEN).unwrap();
            store.pin(store.find(&block(1)).unwrap().slot);
            assert_eq!(reserve(store, &block(3), 4 * PAGE_BYTES), Err(ReserveError::Full));
            assert!(has(store, 2, 100));
            store.unpin(store.find(&block(1)).unwrap().slot);
            reserve(store, &block(3), 4 * PAGE_BYTES).unwrap();
            assert_eq!(which(store, 0..4), [2]);
        });
    }
}

/// What is there after the process has gone.
mod reopened {
    use super::*;

    #[test]
    fn committed_blocks_are_found_again() {
        let (directory, mut store) = fresh(Options::new(1 << 20));
        for (index, len) in [(0, 65_536), (1, 1), (2, 4_096), (u32::MAX, 131_072)] {
            put(&mut store, index, len).unwrap();
        }
        let long = BlockId { segment: SegmentId::from_slice(&[3; 64]).unwrap(), index: 5 };
        put_block(&mut store, long, 7).unwrap();
        let size = store.size();
        assert_eq!(size, (17 + 1 + 2 + 33 + 1) * 4_096);
        drop(store);
        let mut store = FileBlocks::open(directory.path(), Options::new(1 << 20), NOW).unwrap();
        for (index, len) in [(0, 65_536), (1, 1), (2, 4_096), (u32::MAX, 131_072)] {
            assert!(has(&mut store, index, len));
        }
        assert_eq!(store.find(&long).map(|stored| stored.plain_len), Some(7));
        assert_eq!((store.blocks(&segment(7)), store.next_block(&segment(7), 2)), (4, Some(u32::MAX)));
        assert_eq!((store.size(), store.counters()), (size, Counters::default()));
        assert!(store.take_error().is_none());
    }

    #[test]
    fn never_in_clear() {
        let (directory, mut store) = fresh(ROOM);
        put(&mut store, 0, 5_000).unwrap();
        let bytes = fs::read(directory.path().join(name(0))).unwrap();
        assert!(text(0, 5_000).chunks(16).all(|piece| bytes.windows(16).all(|window| window != piece)));
    }

    #[test]
    fn the_order_of_use_survives() {
        let options = Options { max_size: 4 * 4_096, ..ROOM };
        let (directory, mut store) = fresh(options);
        for index in 0..4 {
            store.set_now(NOW + u64::from(index));
            put(&mut store, index, 100).unwrap();
        }
        store.set_now(NOW + DAY);
        assert!(has(&mut store, 1, 100));
        drop(store);
        let mut store = FileBlocks::open(directory.path(), options, NOW + DAY).unwrap();
        put(&mut store, 4, 100).unwrap();
        put(&mut store, 5, 100).unwrap();
        assert_eq!(which(&store, 0..6), [1, 3, 4, 5]);
        drop(store);
        // A budget that has become smaller holds from the opening on.
        let options = Options { max_size: 2 * 4_096, ..ROOM };
        let store = FileBlocks::open(directory.path(), options, NOW + DAY).unwrap();
        assert_eq!((which(&store, 0..6).len(), store.size(), store.counters().evicted), (2, 8_192, 2));
        assert_eq!(files(directory.path()).len(), 2);
    }

    /// The age of a segment in a store that was not told the time but by its clock.
    fn age(store: &FileBlocks, of: u8) -> Option<Duration> {
        store.age(&segment(of), Instant::ZERO)
    }

    #[test]
    fn blocks_age() {
        let (directory, mut store) = fresh(ROOM);
        put(&mut store, 0, 100).unwrap();
        store.set_now(NOW + 10 * DAY);
        let other = BlockId { segment: segment(8), index: 1 };
        put(&mut store, 1, 100).unwrap();
        put_block(&mut store, other, 100).unwrap();
        let days = |days| Some(Duration::from_secs(days * DAY));
        assert_eq!((age(&store, 7), age(&store, 8), age(&store, 9)), (days(10), days(0), None));
        store.set_now(NOW + 28 * DAY);
        assert_eq!((which(&store, 0..2), age(&store, 7)), (vec![0, 1], days(28)));

        // Reading makes nothing younger. What is pinned is not found, but stays while it is.
        assert!(has(&mut store, 0, 100));
        let slot = store.find(&block(0)).unwrap().slot;
        store.pin(slot);
        store.set_now(NOW + 28 * DAY + 1);
        assert_eq!((which(&store, 0..2), store.blocks(&segment(7))), (vec![1], 1));
        assert_eq!(
            (age(&store, 7), store.next_block(&segment(7), 0)),
            (days(18).map(|age| age + Duration::from_secs(1)), Some(1))
        );
        put(&mut store, 2, 100).unwrap();
        assert_eq!(store.read(slot, 0, &mut [0; 16]), Ok(()));
        assert_eq!(files(directory.path()).len(), 4);
        store.unpin(slot);
        assert_eq!(store.read(slot, 0, &mut [0; 16]), Err(StoreError::Stale));
        assert_eq!((files(directory.path()).len(), store.counters().expired), (3, 1));
        put(&mut store, 0, 100).unwrap();

        // A clock that is not right yet costs nothing; at the opening, age counts too.
        drop(store);
        let store = FileBlocks::open(directory.path(), ROOM, 0).unwrap();
        assert_eq!((age(&store, 7), store.blocks(&segment(7))), (days(0), 3));
        store.set_now(NOW + 28 * DAY + 2);
        assert_eq!(store.blocks(&segment(7)), 3);
        drop(store);
        let store = FileBlocks::open(directory.path(), ROOM, NOW + 39 * DAY).unwrap();
        assert_eq!(
            (store.counters().expired, store.blocks(&segment(7)), store.blocks(&segment(8))),
            (2, 2, 0)
        );
        assert_eq!(files(directory.path()).len(), 2);
    }

    /// As a node has it: from an origin of its own, time goes on.
    #[test]
    fn blocks_age_while_the_store_is_told_the_time() {
        let (directory, mut store) = fresh(ROOM);
        let after = |days: u64| Instant::from_millis(7) + Duration::from_secs(days * DAY);
        let days = |days| Some(Duration::from_secs(days * DAY));
        put(&mut store, 0, 100).unwrap();
        store.set_time(after(1));
        put(&mut store, 1, 100).unwrap();
        store.set_time(after(4));
        put(&mut store, 2, 100).unwrap();
        assert_eq!([4, 6].map(|day| store.age(&segment(7), after(day))), [days(3), days(5)]);
        assert_eq!(store.age(&segment(8), after(4)), None);
        // Somebody sets the clock; it goes on from there.
        store.set_now(NOW + 10 * DAY);
        assert_eq!([4, 6].map(|day| store.age(&segment(7), after(day))), [days(10), days(12)]);
        store.set_time(after(22));
        assert_eq!((which(&store, 0..3), store.age(&segment(7), after(22))), (vec![0, 1, 2], Some(MAX_AGE)));
        store.set_time(after(22) + Duration::from_secs(1));
        // Nothing else has to happen for the files to go.
        assert_eq!((which(&store, 0..3), store.counters().expired), (vec![2], 2));
        assert_eq!(files(directory.path()), [directory.path().join(name(2))]);
        drop(store);
        let mut store = FileBlocks::open(directory.path(), ROOM, NOW + 13 * DAY).unwrap();
        assert_eq!(age(&store, 7), days(10));
        // When many expire at once, nobody waits until all their files have gone.
        for index in 3..50 {
            put(&mut store, index, 100).unwrap();
        }
        store.set_now(NOW + 99 * DAY);
        assert_eq!((which(&store, 0..50), store.blocks(&segment(7))), (vec![], 0));
        for left in [32, 16, 0, 0] {
            store.set_time(after(0));
            assert_eq!(files(directory.path()).len(), left);
        }
    }

    #[test]
    fn other_peoples_files_stay() {
        let directory = tempdir().unwrap();
        let others = [
            "notes".into(),
            "peerdist-block-".into(),
            "peerdist-info-00".into(),
            format!("{}.bak", name(1)),
            format!("{}.part.part", name(1)),
            name(1)[..60].to_owned(),
            name(0xab).to_uppercase(),
        ];
        others.iter().for_each(|name| fs::write(directory.path().join(name), b"bytes").unwrap());
        let mut store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
        put(&mut store, 1, 100).unwrap();
        let slot = store.find(&block(1)).unwrap().slot;
        store.release(slot);
        drop(store);
        assert_eq!(files(directory.path()).len(), others.len());
        for name in others {
            assert_eq!(fs::read(directory.path().join(name)).unwrap(), b"bytes");
        }
    }

    #[test]
    fn one_at_a_time() {
        let (directory, mut store) = fresh(ROOM);
        put(&mut store, 1, 100).unwrap();
        let refused = FileBlocks::open(directory.path(), ROOM, NOW).unwrap_err();
        assert!(matches!(&refused, OpenError::InUse(path) if path == directory.path()), "{refused}");
        assert!(has(&mut store, 1, 100));
        drop(store);
        assert!(has(&mut FileBlocks::open(directory.path(), ROOM, NOW).unwrap(), 1, 100));
    }
}

/// A process that ends at any moment, and a disk that keeps what it likes of what was not synced.
mod killed {
    use super::*;

    const LEN: usize = 100;

    /// Opens what is left of a directory: of blocks 0 to 9, those `committed` are there and whole,
    /// and no others, and the store takes new ones.
    fn check(directory: &Path, committed: &[u32]) -> Counters {
        let mut store = FileBlocks::open(directory, ROOM, NOW).unwrap();
        let counters = store.counters();
        assert_eq!(which(&store, 0..10), committed);
        assert!(committed.iter().all(|&index| has(&mut store, index, LEN)));
        put(&mut store, 99, LEN).unwrap();
        assert!(has(&mut store, 99, LEN));
        assert_eq!(files(directory).len(), committed.len() + 1, "nothing is left over");
        counters
    }

    /// Stops after every call, and within the commit: the file that is written has any length, or its
    /// end before its beginning.
    #[test]
    fn after_and_within_every_call() {
        let (directory, mut store) = fresh(Options::new(1 << 20));
        let mut committed = Vec::new();
        for index in 0..4 {
            // What is not committed leaves nothing.
            let stop = |committed: &[u32]| {
                let left = copy(directory.path());
                assert_eq!(check(left.path(), committed), Counters::default());
            };
            let slot = reserve(&mut store, &block(index), LEN).unwrap();
            stop(&committed);
            let plain = text(index, LEN);
            let mut intake = Intake::new(&mut SoftCrypto, slot, seal(index), expected(&plain));
            for piece in plain[..LEN - 20].chunks(20) {
                intake.update(&mut store, &mut SoftCrypto, &key(), piece).unwrap();
                stop(&committed);
            }
            intake.update(&mut store, &mut SoftCrypto, &key(), &plain[LEN - 20..]).unwrap();
            let whole = fs::read(directory.path().join(name(index))).unwrap();
            let before = vec![0; whole.len()];
            // Within the commit: before the file has its name, any part of it is there.
            for len in (0..=whole.len()).step_by(if index == 3 { 1 } else { 31 }) {
                let torn = [&whole[..len], &before[len..]].concat();
                let reordered = [&before[..len], &whole[len..]].concat();
                for bytes in [&torn[..], &reordered, &whole[..len]] {
                    let left = copy(directory.path());
                    let path = left.path().join(name(index));
                    fs::remove_file(&path).unwrap();
                    fs::write(path.with_extension("part"), bytes).unwrap();
                    assert_eq!(check(left.path(), &committed).unfinished, 1);
                }
            }
            committed.push(index);
            stop(&committed);
            if index == 2 {
                store.release(store.find(&block(1)).unwrap().slot);
                committed.retain(|other| *other != 1);
                stop(&committed);
            }
        }
    }

    /// Without `sync`, power may go when a file has its name but not its bytes.
    #[test]
    fn a_file_that_did_not_reach_the_disk() {
        let (directory, mut store) = fresh(ROOM);
        put(&mut store, 0, LEN).unwrap();
        put(&mut store, 1, LEN).unwrap();
        let whole = fs::read(directory.path().join(name(1))).unwrap();
        for len in 0..whole.len() {
            let left = copy(directory.path());
            fs::write(left.path().join(name(1)), &whole[..len]).unwrap();
            assert_eq!(check(left.path(), &[0]).damaged, 1, "{len}");
        }
        let zeros = vec![0; whole.len() - HEADER_BYTES];
        for bytes in [vec![0; whole.len()], [&vec![0; HEADER_BYTES], &whole[HEADER_BYTES..]].concat()] {
            let left = copy(directory.path());
            fs::write(left.path().join(name(1)), bytes).unwrap();
            assert_eq!(check(left.path(), &[0]).damaged, 1);
        }
        let left = copy(directory.path());
        fs::write(left.path().join(name(1)), [&whole[..HEADER_BYTES], &zeros].concat()).unwrap();
        let mut store = FileBlocks::open(left.path(), ROOM, NOW).unwrap();
        let slot = store.find(&block(1)).unwrap().slot;
        assert_eq!(store.read(slot, 0, &mut [0; 16]), Err(StoreError::Damaged));
        store.release(slot);
        drop(store);
        check(left.path(), &[0]);
    }

    /// Bytes of a block that the child commits.
    fn len(index: u32) -> usize {
        (index.wrapping_mul(2_654_435_761) >> 12) as usize % 40_000
    }

    /// Runs itself anew, and kills that process at some moment after it has committed a few blocks.
    #[test]
    fn a_process_that_is_killed() {
        const CHILD: &str = "PEERDIST_TEST_CHILD";
        const ROUNDS: u32 = 24;
        if let Some(arguments) = std::env::var_os(CHILD) {
            let arguments = arguments.into_string().unwrap();
            let (from, directory) = arguments.split_once(' ').unwrap();
            let from: u32 = from.parse().unwrap();
            let options = Options { sync: from.is_multiple_of(2), ..ROOM };
            let mut store = FileBlocks::open(directory, options, NOW).unwrap();
            for index in from..from + 10_000 {
                // Another is under way, and is given up after a while.
                let other = reserve(&mut store, &block(u32::MAX - index), 30_000).unwrap();
                store.write(other, 0, &[1; 10_000]).unwrap();
                put(&mut store, index, len(index)).unwrap();
                println!("\ncommitted {index}");
                store.release(other);
            }
            return;
        }
        let directory = tempdir().unwrap();
        let mut committed = Vec::new();
        let mut random = 1u32;
        for round in 0..ROUNDS {
            let this = std::env::current_exe().unwrap();
            let arguments = format!("{} {}", round * 100_001, directory.path().display());
            let mut child = Command::new(this)
                .args(["--exact", "killed::a_process_that_is_killed", "--nocapture"])
                .env(CHILD, arguments)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut report = |committed: &mut Vec<u32>, at_most: usize| {
                let said = lines.by_ref().map_while(Result::ok);
                let said = said.filter_map(|line| line.strip_prefix("committed ")?.parse::<u32>().ok());
                committed.extend(said.take(at_most));
            };
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            report(&mut committed, 1 + (random >> 28) as usize);
            // Whatever it does by then: what must hold does so at any moment.
            std::thread::sleep(std::time::Duration::from_micros((random >> 12 & 0xfff).into()));
            child.kill().unwrap();
            child.wait().unwrap();
            // What it had reported before it died, but was not read yet.
            report(&mut committed, usize::MAX);
            assert!(committed.len() > round as usize);
            let mut store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
            assert!(committed.iter().all(|&index| has(&mut store, index, len(index))));
            // One may be committed and not reported in each round; none is half there.
            let mut found = 0;
            let mut next = store.find(&block(0)).map(|_| 0).or_else(|| store.next_block(&segment(7), 0));
            while let Some(index) = next {
                assert!(has(&mut store, index, len(index)));
                (found, next) = (found + 1, store.next_block(&segment(7), index));
            }
            assert!((committed.len()..=committed.len() + round as usize + 1).contains(&found), "{found}");
            let counters = store.counters();
            assert!(counters.unfinished <= 1, "{counters:?}");
            assert_eq!(counters, Counters { unfinished: counters.unfinished, ..Counters::default() });
            assert_eq!(files(directory.path()).len(), found);
        }
    }
}

/// Disks that rot, are full, or are meddled with.
mod failing {
    use super::*;

    const LEN: usize = 9_000;

    /// Every byte of the header, and some of every page, before the opening and after.
    #[test]
    fn a_flipped_byte_anywhere() {
        let (directory, mut store) = fresh(ROOM);
        put(&mut store, 0, LEN).unwrap();
        drop(store);
        let path = directory.path().join(name(0));
        let whole = fs::read(&path).unwrap();
        let sealed = &whole[HEADER_BYTES..];
        for at in (0..HEADER_BYTES).chain((HEADER_BYTES..whole.len()).step_by(97)) {
            let mut rotten = whole.clone();
            rotten[at] ^= 0x10;
            // While the store is open, the header is compared when the file is opened to be read.
            fs::write(&path, &whole).unwrap();
            let mut store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
            fs::write(&path, &rotten).unwrap();
            let slot = store.find(&block(0)).unwrap().slot;
            read_right_or_damaged(&mut store, slot, sealed, at);
            assert!(store.counters().damaged > 0);
            let error = store.take_error().unwrap();
            assert_eq!((&error.path, error.error.kind()), (&path, ErrorKind::InvalidData));
            drop(store);

            let mut store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
            assert_eq!(store.find(&block(0)).is_some(), at >= HEADER_BYTES);
            match store.find(&block(0)) {
                Some(stored) => {
                    read_right_or_damaged(&mut store, stored.slot, sealed, at);
                    store.release(stored.slot);
                    put(&mut store, 0, LEN).unwrap();
                    assert!(has(&mut store, 0, LEN));
                }
                None => assert_eq!((store.counters().damaged, path.exists()), (1, false)),
            }
        }
    }

    /// Reads a block of which byte `at` of the file has rotted, a piece at a time.
    fn read_right_or_damaged(store: &mut FileBlocks, slot: SlotId, sealed: &[u8], at: usize) {
        let rotten = at.checked_sub(HEADER_BYTES).map(|at| at / 4_096);
        for (index, right) in sealed.chunks(1_024).enumerate() {
            let mut piece = vec![0; right.len()];
            let result = store.read(slot, index as u32 * 1_024, &mut piece);
            if rotten.is_none_or(|page| page == index / 4) {
                assert_eq!((result, piece), (Err(StoreError::Damaged), vec![0; right.len()]), "{at}");
            } else {
                assert_eq!((result, piece), (Ok(()), right.to_vec()), "{at}");
            }
        }
    }

    #[test]
    fn files_under_wrong_names() {
        let (directory, mut store) = fresh(ROOM);
        put(&mut store, 0, LEN).unwrap();
        put(&mut store, 1, LEN).unwrap();
        drop(store);
        let path = |index| directory.path().join(name(index));
        fs::copy(path(0), path(2)).unwrap();
        fs::write(path(1), [fs::read(path(1)).unwrap(), vec![0]].concat()).unwrap();
        // It has our name, and cannot go: that keeps nobody out.
        fs::create_dir(path(3)).unwrap();
        fs::write(path(3).join("file"), b"bytes").unwrap();
        let mut store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
        assert_eq!((which(&store, 0..4), store.counters().damaged), (vec![0], 3));
        assert_eq!(files(directory.path()), [path(0), path(3)]);
        assert!(store.take_error().is_some());
        // A block whose name is taken is not committed, and the store goes on.
        let slot = reserve(&mut store, &block(3), LEN).unwrap();
        let plain = text(3, LEN);
        let mut intake = Intake::new(&mut SoftCrypto, slot, seal(3), expected(&plain));
        let result = intake.update(&mut store, &mut SoftCrypto, &key(), &plain);
        assert_eq!(result, Err(VerifyError::Seal(SealError::Store(StoreError::Damaged))));
        assert_eq!((store.counters().failed, store.find(&block(3))), (1, None));
        store.release(slot);
        assert!(has(&mut store, 0, LEN));
        put(&mut store, 1, LEN).unwrap();
        assert_eq!(files(directory.path()), [path(0), path(1), path(3)]);
    }

    #[test]
    fn a_file_that_is_gone_is_damaged() {
        let (directory, mut store) = fresh(ROOM);
        put(&mut store, 0, LEN).unwrap();
        // What was just written is still in memory.
        drop(store);
        let mut store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
        fs::remove_file(directory.path().join(name(0))).unwrap();
        let slot = store.find(&block(0)).unwrap().slot;
        assert_eq!(store.read(slot, 0, &mut [0; 16]), Err(StoreError::Damaged));
        let error = store.take_error().unwrap();
        assert_eq!(error.error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().starts_with(&format!("{}: ", directory.path().join(name(0)).display())));
        store.release(slot);
        assert!(store.take_error().is_none());
        put(&mut store, 0, LEN).unwrap();
        assert!(has(&mut store, 0, LEN));
    }

    #[test]
    fn as_many_reservations_as_the_bound() {
        let (directory, mut store) = fresh(ROOM);
        let slots: Vec<_> =
            (0..MAX_RESERVED as u32).map(|index| reserve(&mut store, &block(index), 10).unwrap()).collect();
        assert_eq!(reserve(&mut store, &block(99), 10), Err(ReserveError::Full));
        store.release(slots[5]);
        reserve(&mut store, &block(99), 10).unwrap();
        assert!(store.take_error().is_none());
        drop(store);
        assert_eq!(files(directory.path()), [""; 0].map(PathBuf::from));
    }

    /// More blocks by turns than are held open.
    #[test]
    fn many_readers() {
        let (_directory, mut store) = fresh(ROOM);
        let slots: Vec<_> = (0..70).map(|index| put(&mut store, index, LEN).unwrap()).collect();
        let mut sealed = vec![Vec::new(); slots.len()];
        for offset in (0..LEN as u32).step_by(1_000) {
            for (slot, bytes) in slots.iter().zip(&mut sealed) {
                let mut piece = [0; 1_000];
                store.read(*slot, offset, &mut piece).unwrap();
                bytes.extend(piece);
            }
        }
        for (slot, bytes) in slots.iter().zip(sealed) {
            let mut whole = vec![0; LEN];
            store.read(*slot, 0, &mut whole).unwrap();
            assert_eq!(whole, bytes);
        }
    }

    #[cfg(unix)]
    #[test]
    fn files_are_their_owners_alone_and_links_are_not_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let (directory, mut store) = fresh(ROOM);
        put(&mut store, 0, LEN).unwrap();
        reserve(&mut store, &block(1), LEN).unwrap();
        for entry in fs::read_dir(directory.path()).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        drop(store);
        let (target, link) = (directory.path().join("target"), directory.path().join(name(0)));
        fs::rename(&link, &target).unwrap();
        symlink(&target, &link).unwrap();
        let store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
        assert_eq!((store.find(&block(0)), store.counters().damaged), (None, 1));
        assert_eq!(files(directory.path()), [target]);
    }

    /// Runs a test anew, in a process and with limits of its own. Says whether this is that process.
    #[cfg(unix)]
    fn is_limited(limits: &str, test: &str) -> bool {
        const LIMITED: &str = "PEERDIST_TEST_LIMITED";
        if std::env::var_os(LIMITED).is_some() {
            return true;
        }
        let run = format!("{limits}; exec \"$0\" --exact {test}");
        let this = std::env::current_exe().unwrap();
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", &run]).arg(this).env(LIMITED, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
        false
    }

    /// Who cannot open files now may do so later: no block is lost by that.
    #[cfg(unix)]
    #[test]
    fn no_more_files_can_be_opened() {
        if !is_limited("ulimit -n 64", "failing::no_more_files_can_be_opened") {
            return;
        }
        let (directory, mut store) = fresh(ROOM);
        for index in 0..3 {
            put(&mut store, index, LEN).unwrap();
        }
        drop(store);
        let mut taken = Vec::new();
        while let Ok(file) = fs::File::open("/dev/null") {
            taken.push(file);
        }
        // There is room for the lock and the directory itself.
        taken.truncate(taken.len() - 2);
        let mut store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
        assert_eq!((which(&store, 0..3), store.counters().unreadable), (vec![], 3));
        assert!(store.take_error().is_some());
        // What is not found can come again.
        taken.clear();
        put(&mut store, 0, LEN).unwrap();
        assert_eq!(files(directory.path()).len(), 3);
        drop(store);
        let mut store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
        assert_eq!(store.counters(), Counters::default());

        // An open store has kept a place for itself.
        while let Ok(file) = fs::File::open("/dev/null") {
            taken.push(file);
        }
        assert!((0..3).all(|index| has(&mut store, index, LEN)));
        put(&mut store, 3, LEN).unwrap();
        assert_eq!(store.counters(), Counters::default());
    }

    /// Runs itself anew where no file may grow beyond a few KiB, in place of a disk that is full.
    #[cfg(unix)]
    #[test]
    fn no_room_on_the_disk() {
        // Without the trap, the signal of the limit ends the process.
        if !is_limited("trap '' XFSZ; ulimit -f 8", "failing::no_room_on_the_disk") {
            return;
        }
        let (directory, mut store) = fresh(ROOM);
        put(&mut store, 0, 100).unwrap();
        let slot = reserve(&mut store, &block(1), 60_000).unwrap();
        let plain = text(1, 60_000);
        let mut intake = Intake::new(&mut SoftCrypto, slot, seal(1), expected(&plain));
        let result = intake.update(&mut store, &mut SoftCrypto, &key(), &plain);
        assert_eq!(result, Err(VerifyError::Seal(SealError::Store(StoreError::Damaged))));
        store.release(slot);
        // From now on that shows before a block has come.
        for failed in [2, 3] {
            assert_eq!(reserve(&mut store, &block(1), 60_000), Err(ReserveError::Full));
            let error = store.take_error().unwrap();
            assert!(error.path.ends_with(format!("{}.part", name(1))), "{error}");
            assert_eq!((error.error.kind(), store.counters().failed), (ErrorKind::FileTooLarge, failed));
            assert_eq!((store.size(), files(directory.path()).len()), (4_096, 1));
        }
        let slot = reserve(&mut store, &block(1), 100).unwrap();
        assert_eq!(files(directory.path()).len(), 2, "its room is taken");
        store.release(slot);
        assert_eq!(files(directory.path()).len(), 1);
        put(&mut store, 1, 100).unwrap();
        assert!(has(&mut store, 0, 100) && has(&mut store, 1, 100));
    }
}

#[test]
fn what_is_forgotten_is_what_nobody_reads() {
    let (directory, mut store) = fresh(ROOM);
    let slots: Vec<_> = (0..5).map(|index| put(&mut store, index, 100).unwrap()).collect();
    store.pin(slots[1]);
    // In use: it goes last.
    assert!(has(&mut store, 0, 100));
    let pending = reserve(&mut store, &block(9), 100).unwrap();
    assert_eq!((store.count(), store.forget(2)), (5, 2));
    assert_eq!(which(&store, 0..6), [0, 1, 4]);
    assert_eq!(store.forget(usize::MAX), 2);
    assert_eq!((store.forget(usize::MAX), store.count(), which(&store, 0..6)), (0, 1, vec![1]));
    store.unpin(slots[1]);
    store.write(pending, 0, &[1]).unwrap();
    assert_eq!((store.forget(1), store.count()), (1, 0));
    store.release(pending);
    assert_eq!((store.size(), files(directory.path()).len()), (0, 0));
}
