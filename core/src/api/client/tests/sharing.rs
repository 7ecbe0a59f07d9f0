//! Several contents of the same blocks, and of the same tables.

use super::*;

/// Once it has been left alone for so long.
const LATER: Instant = Instant::from_millis(2_000);

#[test]
fn who_leaves_a_block_unfinished_keeps_nobody_else_out() {
    let mut world = World::v1(2 * BLOCK, 1_024);
    let [slow, other] = [world.open(), world.open()];
    world.add(slow, 0..1_000);
    // It may go on with it at any time.
    assert_eq!(world.add(other, 0..BLOCK), committed(0));
    assert_eq!(world.missing(other, 0), 0..2 * BLOCK);
    assert!(world.waits());
    world.add(slow, 1_000..2_000);
    world.now = LATER;
    world.work(LATER);
    world.expect(other, 0..BLOCK);
    assert!(!world.waits());
    assert_eq!(world.client.given_up(), 2_000);
    // What is verified stays, and there is nothing left to be done.
    assert_eq!(world.add(slow, 2_000..BLOCK), committed(0));
    world.expect(slow, 0..BLOCK);
}

#[test]
fn who_adds_all_the_time_keeps_its_place() {
    let mut world = World::v1(BLOCK, 1_024);
    let [steady, other] = [world.open(), world.open()];
    for start in (0..BLOCK).step_by(4_096) {
        let kept = world.add(steady, start..start + 4_096);
        assert_eq!(kept.committed, u32::from(start + 4_096 == BLOCK), "{start}");
        world.now += Duration::from_millis(900);
        world.work(world.now);
        assert_eq!(world.add(other, 0..1_000), committed(0));
    }
    world.expect(other, 0..BLOCK);
}

#[test]
fn a_block_given_up_is_free_for_those_who_wait() {
    let mut world = World::v1(BLOCK, 1_024);
    let [first, other] = [world.open(), world.open()];
    world.add(first, 0..1_000);
    assert_eq!(world.add(other, 0..BLOCK), committed(0));
    world.with(|client, parts, _| client.close_content(first, parts)).unwrap();
    world.work(START);
    world.expect(other, 0..BLOCK);
    // Nobody else's.
    assert_eq!(world.client.given_up(), 0);
}

/// Who asks peers for a block adds no more to it.
#[test]
fn what_was_added_of_a_block_that_is_asked_for_is_counted() {
    let mut world = World::v1(2 * BLOCK, 1_024);
    let handle = world.open();
    world.add(handle, 0..700);
    assert!(matches!(world.read(handle, 0, 1, Patience::Endless), ReadResult::Missing { .. }));
    assert_eq!(world.client.given_up(), 700);
    // Not what a download gives up: it gets it again.
    let download = world.client.open_download(&mut world.store).unwrap();
    let info = world.info.clone();
    world.describe(download, &info);
    let piece = world.content[..900].to_vec();
    world.with(|client, parts, _| client.add_data(parts, download, 0, &piece)).unwrap();
    assert!(matches!(world.read(download, 0, 1, Patience::Endless), ReadResult::Missing { .. }));
    assert_eq!(world.client.given_up(), 700);
}

#[test]
fn a_download_takes_over_and_is_not_taken_over() {
    let mut world = World::v1(BLOCK, 1_024);
    let application = world.open();
    let download = world.client.open_download(&mut world.store).unwrap();
    let info = world.info.clone();
    world.describe(download, &info);
    let ask = |world: &mut World| {
        world.with(|client, parts, _| client.add_data(parts, download, 0, &[])).unwrap().1
    };
    world.add(application, 0..1_000);
    assert_eq!(ask(&mut world), Added::Known);
    world.now = LATER;
    world.work(LATER);
    assert_eq!(ask(&mut world), Added::Partial);
    assert_eq!(world.client.given_up(), 1_000);
    // The origin may take its time.
    world.now = LATER + Duration::from_secs(60);
    world.work(world.now);
    assert_eq!(world.add(application, 0..BLOCK), committed(0));
    let content = world.content.clone();
    let added = world.with(|client, parts, _| client.add_data(parts, download, 0, &content));
    assert_eq!(added, Ok((BLOCK as usize, Added::Committed)));
}

/// Downloads are as many as they may be, so the rows that applications leave are enough.
#[test]
fn applications_leave_rows_to_downloads() {
    let mut world = World::v1(BLOCK * 12, 0);
    world.client = Client::new(1);
    let mut contents = StdVec::new();
    while let Ok(content) = world.client.open_content(&mut world.store, TAG) {
        contents.push(content);
        // The store has room for no more.
        if contents.len() == 7 {
            break;
        }
    }
    assert_eq!(contents.len(), 7.min(CONTENTS - 1));
    let download = world.client.open_download(&mut world.store).unwrap();
    let (info, content) = (world.info.clone(), contents[0]);
    world.describe(content, &info);
    world.describe(download, &info);
    let begins = |world: &mut World, handle, block: usize| {
        world.with(|client, parts, _| client.add_data(parts, handle, block as u64 * BLOCK, &[]))
    };
    for block in 0..INTAKES - 2 {
        assert_eq!(begins(&mut world, content, block), Ok((0, Added::Partial)), "{block}");
    }
    // As many as it has connections to its origin.
    assert_eq!(begins(&mut world, content, INTAKES), Err(ApiError::Full));
    for block in [INTAKES, INTAKES + 1] {
        assert_eq!(begins(&mut world, download, block), Ok((0, Added::Partial)));
    }
}

/// However much waits for one of them.
#[test]
fn contents_are_looked_through_by_turns() {
    let mut world = World::v1(5 * BLOCK + 100, 1_024);
    let much = world.collecting();
    let little = world.client.open_content(&mut world.store, [8; 16]).unwrap();
    world.add(much, 0..5 * BLOCK);
    world.add(little, 5 * BLOCK..5 * BLOCK + 100);
    let info = world.info.clone();
    for handle in [much, little] {
        world.client.add_content_information(&mut world.store, handle, &info).unwrap();
        world.client.complete_content_information(&mut world.store, handle).unwrap();
    }
    world.check();
    for _ in 0..4 {
        assert!(world.with(|client, parts, waiting| client.settle(parts, waiting)).is_some());
    }
    let is_stored =
        |client: &mut Client, parts: &mut Parts<'_>, block| client.is_stored(parts, little, block * BLOCK);
    assert!(world.with(|client, parts, _| is_stored(client, parts, 5)));
    assert!(!world.with(|client, parts, _| is_stored(client, parts, 4)));
}

impl World {
    /// Has the table be full before the store is; of how many blocks.
    fn bound(&mut self) -> u64 {
        // Of small tables, a download would leave one content.
        let downloads = rows(1, 0);
        self.client = Client::new(downloads);
        (INTAKES - downloads * DOWNLOAD_INTAKES) as u64
    }
}

/// What found no row for its block is sealed once there is one, whoever had it.
#[test]
fn a_row_that_gets_free_is_for_whoever_waits() {
    let ends: [fn(&mut World, ContentHandle, u64); 3] = [
        |world, first, begun| {
            world.add(first, 1_000..begun);
        },
        |world, first, _| {
            world.with(|client, parts, _| client.drop_data(parts.storage, first, 0));
            world.work(START);
        },
        |world, first, _| {
            let mut wrong = world.content[1_000..BLOCK as usize].to_vec();
            wrong[0] ^= 1;
            world.add_bytes(first, 1_000, &wrong).unwrap();
        },
    ];
    for end in ends {
        let mut world = World::v1(12 * BLOCK, 1_024);
        let rows = world.bound();
        let [first, other] = [world.open(), world.open()];
        for block in 0..rows {
            world.add(first, block * BLOCK..block * BLOCK + 1_000);
        }
        let last = 11 * BLOCK..12 * BLOCK;
        assert_eq!(world.add(other, last.clone()), committed(0));
        assert!(world.waits());
        end(&mut world, first, BLOCK);
        world.expect(other, last);
    }
}

/// Even if there is no row but that of the block itself.
#[test]
fn an_idle_block_gives_way_in_a_full_table() {
    let mut world = World::v1(12 * BLOCK, 1_024);
    let rows = world.bound();
    let [first, other] = [world.open(), world.open()];
    for block in 0..rows {
        world.add(first, block * BLOCK..block * BLOCK + 1_000);
    }
    assert_eq!(world.add(other, 0..BLOCK), committed(0));
    // Nothing else has to happen for that.
    let idle = world.client.poll_timeout().unwrap();
    assert_eq!(idle, START + IDLE_INTAKE);
    world.now = idle;
    world.work(idle);
    world.expect(other, 0..BLOCK);
}

/// A block that was read, and is given up, makes room in the store.
#[test]
fn what_finds_no_room_in_the_store_is_sealed_once_there_is() {
    let mut world = World::v1((BLOCKS as u64 + 1) * BLOCK, 1_024);
    let content = world.open();
    let all = BLOCKS as u64 * BLOCK;
    let mut reads = StdVec::new();
    for at in (0..all).step_by(BLOCK as usize) {
        world.add(content, at..at + BLOCK);
        reads.push(world.client.block_read(START, content, at, 10, Patience::Local).unwrap());
        world.work(START);
    }
    // All that is there is being read.
    world.add(content, all..all + BLOCK);
    assert!(world.waits());
    world.with(|client, parts, _| client.end_read(parts, reads[3]));
    world.work(START);
    assert!(!world.waits());
    world.with(|client, parts, _| reads.iter().for_each(|read| client.end_read(parts, *read)));
    world.expect(content, all..all + BLOCK);
}
