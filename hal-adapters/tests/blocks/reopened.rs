//! What is there after the process has gone.

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
    assert_eq!(size, (17 + 1 + 2 + 33 + 1) * 4_096 + 5 * 256);
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

/// More blocks than have their IV in memory, in any order.
#[test]
fn each_has_its_own_iv() {
    const COUNT: u32 = 1_100;
    let (directory, mut store) = fresh(ROOM);
    for index in 0..COUNT {
        put(&mut store, index, 1).unwrap();
    }
    let have_all = |store: &FileBlocks| {
        for index in (0..COUNT).chain((0..COUNT).rev()) {
            assert_eq!(store.find(&block(index)).map(|stored| stored.seal), Some(seal(index)));
        }
    };
    have_all(&store);
    let slots = store.slots();
    assert!(slots.iter().zip(0..).all(|(&slot, index)| {
        store.committed_at(slot).is_some_and(|(id, stored)| (id, stored.seal) == (block(index), seal(index)))
    }));
    drop(store);
    have_all(&FileBlocks::open(directory.path(), ROOM, NOW).unwrap());
}

#[test]
fn never_in_clear() {
    let (directory, mut store) = fresh(ROOM);
    put(&mut store, 0, 5_000).unwrap();
    let bytes = fs::read(pack(directory.path())).unwrap();
    assert!(text(0, 5_000).chunks(16).all(|piece| bytes.windows(16).all(|window| window != piece)));
}

#[test]
fn the_order_of_use_survives() {
    let options = Options { max_size: 4 * (4_096 + 256), ..ROOM };
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
    let options = Options { max_size: 2 * (4_096 + 256), ..ROOM };
    let store = FileBlocks::open(directory.path(), options, NOW + DAY).unwrap();
    assert_eq!((which(&store, 0..6).len(), store.size(), store.counters().evicted), (2, 8_704, 2));
    assert_eq!(kept(directory.path()), 2);
}

/// Neither a clock that is behind changes the order, nor one that was before for long.
#[test]
fn the_time_of_use_is_kept_until_the_clock_is_right() {
    let (directory, mut store) = fresh(ROOM);
    for index in 0..2 {
        store.set_now(NOW + u64::from(index));
        put(&mut store, index, 100).unwrap();
    }
    drop(store);
    let stamp = |index: usize| {
        let bytes = fs::read(pack(directory.path())).unwrap();
        let at = (index + 1) * ENTRY_BYTES - 4;
        u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()))
    };
    let mut store = FileBlocks::open(directory.path(), ROOM, 7).unwrap();
    for (now, used, stamped) in [
        (8, 0, NOW),
        (NOW + 3_599, 0, NOW),
        (NOW + 3_600, 0, NOW + 3_600),
        (NOW + 7_000, 0, NOW + 3_600),
        (NOW + DAY, 1, NOW + DAY),
    ] {
        store.set_now(now);
        assert!(has(&mut store, used, 100));
        assert_eq!(stamp(used as usize), stamped, "at {now}");
    }
    drop(store);
    // The oldest goes first, although both are of the future.
    let mut store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
    assert!(has(&mut store, 1, 100));
    assert_eq!((stamp(1), store.forget(1), which(&store, 0..2)), (NOW + DAY, 1, vec![1]));
    store.set_now(NOW + 3_600);
    assert!(has(&mut store, 1, 100));
    assert_eq!(stamp(1), NOW + 3_600);
    drop(store);
    let mut store = FileBlocks::open(directory.path(), ROOM, 0).unwrap();
    put(&mut store, 5, 100).unwrap();
    assert_eq!((store.forget(1), which(&store, 0..9)), (1, vec![5]));
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
    assert_eq!(kept(directory.path()), 4);
    store.unpin(slot);
    assert_eq!(store.read(slot, 0, &mut [0; 16]), Err(StoreError::Stale));
    assert_eq!((kept(directory.path()), store.counters().expired), (3, 1));
    put(&mut store, 0, 100).unwrap();

    // A clock that is not right yet costs nothing; at the opening, age counts too.
    drop(store);
    let store = FileBlocks::open(directory.path(), ROOM, 0).unwrap();
    assert_eq!((age(&store, 7), store.blocks(&segment(7))), (days(0), 3));
    store.set_now(NOW + 28 * DAY + 2);
    assert_eq!(store.blocks(&segment(7)), 3);
    drop(store);
    let store = FileBlocks::open(directory.path(), ROOM, NOW + 39 * DAY).unwrap();
    assert_eq!((store.counters().expired, store.blocks(&segment(7)), store.blocks(&segment(8))), (2, 2, 0));
    assert_eq!(kept(directory.path()), 2);
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
    // Nothing else has to happen for them to go.
    assert_eq!((which(&store, 0..3), store.counters().expired), (vec![2], 2));
    assert_eq!(committed(directory.path()).unwrap(), [block(2)]);
    drop(store);
    let mut store = FileBlocks::open(directory.path(), ROOM, NOW + 13 * DAY).unwrap();
    assert_eq!(age(&store, 7), days(10));
    // When many expire at once, nobody waits until all of them have gone.
    for index in 3..50 {
        put(&mut store, index, 100).unwrap();
    }
    store.set_now(NOW + 99 * DAY);
    assert_eq!((which(&store, 0..50), store.blocks(&segment(7))), (vec![], 0));
    for left in [32, 16, 0, 0] {
        store.set_time(after(0));
        assert_eq!(kept(directory.path()), left);
    }
    assert_eq!(files(directory.path()), [""; 0].map(PathBuf::from));
}

#[test]
fn other_peoples_files_stay() {
    let directory = tempdir().unwrap();
    let others = [
        "notes",
        "peerdist-blocks-",
        "peerdist-info-00",
        "peerdist-blocks-0000.bak",
        "peerdist-blocks-000",
        "peerdist-blocks-00AB",
        "PEERDIST-BLOCKS-0000",
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

/// All blocks in the order of their names, read without a use: those go first that would have gone.
#[test]
fn copied_as_they_are() {
    let (_directory, mut store) = fresh(Options { max_size: 4 * (4_096 + 256), ..ROOM });
    let apart = BlockId { segment: segment(7).unverifiable().unwrap(), index: 0 };
    let other = BlockId { segment: segment(6), index: 9 };
    for id in [block(3), apart, block(1), other] {
        put_block(&mut store, id, 100).unwrap();
    }
    let slots = store.slots();
    let names: Vec<BlockId> = slots.iter().map(|&slot| store.committed_at(slot).unwrap().0).collect();
    assert_eq!(names, [other, block(1), block(3), apart]);
    let (mut peeked, mut read) = (vec![7; 500], vec![0; 112]);
    for &slot in &slots {
        store.peek(slot, &mut peeked).unwrap();
        let (id, stored) = store.committed_at(slot).unwrap();
        assert_eq!(stored.len, peeked.len() as u32);
        assert_eq!(store.named_at(slot), Some((id, stored.plain_len)));
    }
    // By use, the first to come is the first to go still; with one that was read it is otherwise.
    put(&mut store, 4, 100).unwrap();
    assert_eq!(store.peek(slots[2], &mut peeked), Err(StoreError::Stale));
    store.read(slots[3], 0, &mut read).unwrap();
    store.peek(slots[3], &mut peeked).unwrap();
    assert_eq!(peeked, read);
    let reserved = reserve(&mut store, &block(8), 100).unwrap();
    assert_eq!((store.committed_at(reserved), which(&store, 0..9)), (None, vec![4]));
    assert_eq!(store.named_at(reserved), None);
    assert_eq!(store.peek(reserved, &mut peeked), Err(StoreError::Stale));
    assert_eq!(store.slots().len(), 3);
}
