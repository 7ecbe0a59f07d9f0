extern crate std;

use heapless::Vec;

use super::*;

type Small = RamStore<[Page; 20], [Entry; 3], [u8; 32]>;

fn store() -> Small {
    RamStore::new([const { Page::EMPTY }; 20], [const { Entry::EMPTY }; 3], [0; 32])
}

fn block(index: u32) -> BlockId {
    BlockId { segment: SegmentId::from_slice(&[7; 32]).unwrap(), index }
}

#[test]
fn nothing_is_found_before_it_is_committed() {
    let mut store = store();
    let slot = store.reserve(&block(3), 5_000).unwrap();
    store.write(slot, 0, &[1; 5_000]).unwrap();
    assert_eq!(store.find(&block(3)), None);
    assert_eq!(store.blocks(&block(3).segment), 0);
    assert_eq!(store.reserve(&block(3), 16), Err(ReserveError::Exists));
}

#[test]
fn pieces_cross_pages() {
    let mut store = store();
    let slot = store.reserve(&block(0), 3 * PAGE_BYTES as u32).unwrap();
    let bytes: [u8; 6_000] = core::array::from_fn(|i| (i % 251) as u8);
    store.write(slot, 4_000, &bytes).unwrap();
    let mut back = [0; 6_000];
    store.read(slot, 4_000, &mut back).unwrap();
    assert_eq!(back, bytes);
    assert_eq!(store.write(slot, 3 * PAGE_BYTES as u32, &[1]), Err(StoreError::OutOfRange));
    assert_eq!(store.read(slot, u32::MAX, &mut back), Err(StoreError::OutOfRange));
}

#[test]
fn a_full_block_takes_a_sixteenth_a_page() {
    assert_eq!(CipherAlgorithm::Aes128.sealed_len(65_536).div_ceil(PAGE_BYTES as u32) as usize, BLOCK_PAGES);
}

#[test]
fn pages_come_back() {
    let mut store = store();
    for _ in 0..10 {
        let slot = store.reserve(&block(0), 65_552).unwrap();
        // 16 of 20 pages are gone: the next is refused and leaves nothing behind.
        assert_eq!(store.reserve(&block(1), 65_552), Err(ReserveError::Full));
        let small = store.reserve(&block(2), 4 * PAGE_BYTES as u32).unwrap();
        store.release(small);
        store.release(slot);
        assert_eq!(store.write(slot, 0, &[0]), Err(StoreError::Stale));
        store.release(slot);
    }
}

#[test]
fn the_table_of_blocks_is_a_bound() {
    let mut store = store();
    for index in 0..3 {
        store.reserve(&block(index), 16).unwrap();
    }
    assert_eq!(store.reserve(&block(3), 16), Err(ReserveError::Full));
}

#[test]
fn content_informations_grow_side_by_side() {
    let mut store = store();
    let a = store.create_info().unwrap();
    let b = store.create_info().unwrap();
    store.append_info(a, b"one ").unwrap();
    store.append_info(b, b"secret").unwrap();
    store.append_info(a, b"two ").unwrap();
    store.append_info(b, b"s").unwrap();
    let mut text = [0; 8];
    store.read_info(a, 0, &mut text).unwrap();
    assert_eq!(&text, b"one two ");
    store.read_info(b, 0, &mut text[..7]).unwrap();
    assert_eq!(&text[..7], b"secrets");
    assert_eq!(store.read_info(a, 1, &mut text), Err(InfoUnreadable { offset: 1 }));

    store.remove_info(b);
    assert_eq!(store.info_len(b), 0);
    assert!(!store.infos.bytes().windows(3).any(|bytes| bytes == b"sec"), "removed bytes are wiped");
    store.read_info(a, 0, &mut text).unwrap();
    assert_eq!(&text, b"one two ");

    assert_eq!(store.append_info(a, &[0; 25]), Err(InfoStoreFull));
    assert_eq!(store.info_len(a), 8);
    assert_eq!(store.append_info(b, b"x"), Err(InfoStoreFull));
}

/// Bytes that were moved, and that came, of so many infos that grow by turns until nothing more has room.
fn grown(infos: usize, room: usize) -> (usize, usize) {
    let mut store =
        RamStore::new([const { Page::EMPTY }; 1], [const { Entry::EMPTY }; 1], std::vec![0; room]);
    let ids: std::vec::Vec<_> = (0..infos).map(|_| store.create_info().unwrap()).collect();
    let piece = |info: usize, count: usize| {
        core::array::from_fn::<u8, 16, _>(|at| (info * 7 + count * 16 + at) as u8)
    };
    let mut count = 0;
    'full: loop {
        for (info, id) in ids.iter().enumerate() {
            if store.append_info(*id, &piece(info, count)).is_err() {
                break 'full;
            }
        }
        count += 1;
    }
    for (info, id) in ids.iter().enumerate() {
        for count in 0..count {
            let mut read = [0; 16];
            store.read_info(*id, count as u64 * 16, &mut read).unwrap();
            assert_eq!(read, piece(info, count));
        }
    }
    (store.moved(), ids.iter().map(|id| store.info_len(*id) as usize).sum())
}

/// Publications that grow by turns.
#[test]
fn content_informations_that_grow_by_turns_are_moved_a_few_times() {
    let (moved, came) = grown(2, 1 << 16);
    assert_eq!(came, 1 << 16, "all of it is used");
    assert!(moved <= 32 * came, "{moved} for {came}");
    let (moved, came) = grown(INFO_SLOTS, 1 << 16);
    assert_eq!(came, 1 << 16);
    assert!(moved <= 128 * came, "{moved} for {came}");
    let (moved, twice) = grown(INFO_SLOTS, 1 << 17);
    assert_eq!(twice, 1 << 17);
    assert!(moved <= 128 * twice, "{moved} for {twice}");
}

#[test]
fn the_least_used_block_makes_room_unless_it_is_pinned() {
    let mut store = store();
    let put = |store: &mut Small, index| put(store, &block(index));
    let slots = [0, 1, 2].map(|index| {
        store.set_time(Instant::from_millis(100 + u64::from(index)));
        put(&mut store, index).unwrap()
    });
    let segment = block(0).segment;
    let age = |store: &Small| store.age(&segment, Instant::from_millis(110)).map(Duration::millis);
    assert_eq!(age(&store), Some(10), "that of the oldest block");
    // Block 0 is used, so block 1 goes first; then 2, since 0 is pinned, although used before.
    store.read(slots[0], 0, &mut [0; 16]).unwrap();
    put(&mut store, 3).unwrap();
    assert_eq!([0, 1, 2, 3].map(|index| store.find(&block(index)).is_some()), [true, false, true, true]);
    store.pin(slots[0]);
    store.read(slots[2], 0, &mut [0; 16]).unwrap();
    put(&mut store, 4).unwrap();
    assert_eq!([0, 2, 3, 4].map(|index| store.find(&block(index)).is_some()), [true, true, false, true]);
    assert_eq!(store.read(slots[1], 0, &mut [0; 1]), Err(StoreError::Stale));

    for index in [0, 2, 4] {
        let slot = store.find(&block(index)).unwrap().slot;
        store.pin(slot);
    }
    assert_eq!(put(&mut store, 5), Err(ReserveError::Full));
    store.unpin(slots[0]);
    assert_eq!(put(&mut store, 5), Err(ReserveError::Full), "it was pinned twice");
    store.unpin(slots[0]);
    put(&mut store, 5).unwrap();
    assert_eq!(store.find(&block(0)), None);
    assert_eq!(age(&store), Some(8), "blocks 2, 4 and 5 are left");
    let other = SegmentId::from_slice(&[8; 32]).unwrap();
    assert_eq!(store.age(&other, Instant::from_millis(110)), None);
}

impl<P, E, I> RamStore<P, E, I>
where
    P: AsRef<[Page]> + AsMut<[Page]>,
    E: AsRef<[Entry]> + AsMut<[Entry]>,
    I: AsRef<[u8]> + AsMut<[u8]>,
{
    /// Flips a bit of a stored byte, as failing memory would.
    fn moved(&self) -> usize {
        self.infos.moved
    }

    pub(crate) fn rot(&mut self, slot: SlotId, offset: u32) {
        let (page, within) = self.locate(self.entry(slot).unwrap(), offset).unwrap();
        self.pages.as_mut()[page as usize].data[within] ^= 1;
        self.whole = NO_PAGE;
    }
}

#[test]
fn content_information_does_not_outlive_the_store() {
    let mut infos = [0; 32];
    {
        let mut store =
            RamStore::new([const { Page::EMPTY }; 1], [const { Entry::EMPTY }; 1], &mut infos[..]);
        let id = store.create_info().unwrap();
        store.append_info(id, &[9; 20]).unwrap();
    }
    assert_eq!(infos, [0; 32]);
}

/// Commits a block of 10 bytes.
fn put<P, E, I>(store: &mut RamStore<P, E, I>, id: &BlockId) -> Result<SlotId, ReserveError>
where
    P: AsRef<[Page]> + AsMut<[Page]>,
    E: AsRef<[Entry]> + AsMut<[Entry]>,
    I: AsRef<[u8]> + AsMut<[u8]>,
{
    use crate::crypto::{HashAlgorithm, Secret, SoftCrypto, hash};
    use crate::store::verify::{Expected, Intake};

    let (kp, algorithm) = (Secret::from_slice(&[5; 32]).unwrap(), HashAlgorithm::Sha256);
    let expected = Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, &[1; 10]), len: 10 };
    let slot = store.reserve(id, 16)?;
    let seal = Seal { algorithm: CipherAlgorithm::Aes128, iv: [0; 16] };
    let mut intake = Intake::new(&mut SoftCrypto, slot, seal, expected);
    intake.update(store, &mut SoftCrypto, &kp, &[1; 10]).unwrap();
    Ok(slot)
}

#[test]
fn blocks_live_28_days_and_as_long_as_they_are_pinned() {
    const DAY: u64 = 24 * 60 * 60;
    let day = |days: u64| Instant::ZERO + Duration::from_secs(days * DAY);
    let mut store = store();
    let segment = block(0).segment;
    let slots = [0, 1, 2].map(|index| {
        store.set_time(day(10 + u64::from(index)));
        put(&mut store, &block(index)).unwrap()
    });
    let found = |store: &Small| [0, 1, 2].map(|index| store.find(&block(index)).is_some());
    store.set_time(day(38));
    assert_eq!(
        (found(&store), store.age(&segment, day(38))),
        ([true; 3], Some(Duration::from_secs(28 * DAY)))
    );
    store.pin(slots[0]);
    store.set_time(day(39) + Duration::from_micros(1));
    // Who reads block 0 may do so, but nobody begins to; block 1 has gone.
    assert_eq!((found(&store), store.blocks(&segment)), ([false, false, true], 1));
    assert_eq!(store.next_block(&segment, 0), Some(2));
    assert_eq!(store.age(&segment, day(39)), Some(Duration::from_secs(27 * DAY)));
    assert_eq!(store.read(slots[0], 0, &mut [0; 16]), Ok(()));
    assert_eq!(store.read(slots[1], 0, &mut [0; 16]), Err(StoreError::Stale));
    assert_eq!(store.reserve(&block(0), 16), Err(ReserveError::Exists));
    store.unpin(slots[0]);
    store.set_time(day(39) + Duration::from_micros(2));
    assert_eq!(store.read(slots[0], 0, &mut [0; 16]), Err(StoreError::Stale));
    put(&mut store, &block(0)).unwrap();

    store.set_max_age(Duration::from_secs(DAY));
    store.set_time(day(40));
    assert_eq!((found(&store), store.blocks(&segment)), ([true, false, false], 1));
    store.set_time(day(41));
    assert_eq!((found(&store), store.blocks(&segment)), ([false; 3], 0));
    for index in 0..3 {
        store.reserve(&block(index), 6 * PAGE_BYTES as u32).unwrap();
    }
}

#[test]
fn nobody_goes_in_vain() {
    let mut store = store();
    put(&mut store, &block(0)).unwrap();
    let reserved = store.reserve(&block(1), 16 * PAGE_BYTES as u32).unwrap();
    assert_eq!(store.reserve(&block(2), 5 * PAGE_BYTES as u32), Err(ReserveError::Full));
    assert!(store.find(&block(0)).is_some());
    store.reserve(&block(2), 4 * PAGE_BYTES as u32).unwrap();
    assert_eq!(store.find(&block(0)), None);
    store.release(reserved);
}

/// What a list of blocks says, a store says too, whatever comes and goes.
#[test]
fn lookups_agree_with_a_list() {
    for rows in [0, 1, 2, 3, 7, 16] {
        let (mut pages, mut entries) = ([const { Page::EMPTY }; 16], [const { Entry::EMPTY }; 16]);
        let mut store = RamStore::new(&mut pages[..rows], &mut entries[..rows], []);
        let mut list = Vec::<(BlockId, SlotId, bool), 16>::new();
        let mut random = 1u32;
        for _ in 0..3_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let pick = |from: u32, below: u32| (random >> from) % below;
            // The ids of some segments begin alike.
            let mut id = [pick(8, 2) as u8; 32];
            id[31] = pick(10, 2) as u8;
            let segment = SegmentId::from_slice(&id).unwrap();
            let index = if pick(12, 16) == 0 { u32::MAX } else { pick(16, 12) };
            let id = BlockId { segment, index };
            let listed = list.iter().position(|(other, ..)| *other == id);
            match pick(28, 4) {
                0 => {
                    let result = store.reserve(&id, 16);
                    match (listed, list.len() < rows) {
                        (Some(_), _) => assert_eq!(result, Err(ReserveError::Exists)),
                        (None, false) => assert_eq!(result, Err(ReserveError::Full)),
                        (None, true) => list.push((id, result.unwrap(), false)).unwrap(),
                    }
                }
                1 if listed.is_none() && list.len() < rows => {
                    let slot = put(&mut store, &id).unwrap();
                    store.pin(slot);
                    list.push((id, slot, true)).unwrap();
                }
                2 => listed.into_iter().for_each(|at| store.release(list.swap_remove(at).1)),
                _ => {}
            }
            let committed = |id: &BlockId| list.iter().find(|(other, _, done)| other == id && *done);
            assert_eq!(store.find(&id).map(|stored| stored.slot), committed(&id).map(|(_, slot, _)| *slot));
            let of_segment = list.iter().filter(|(id, _, done)| *done && id.segment == segment);
            let indices: Vec<u32, 16> = of_segment.map(|(id, ..)| id.index).collect();
            assert_eq!(store.blocks(&segment) as usize, indices.len());
            let after = indices.iter().copied().filter(|&other| other > index).min();
            assert_eq!(store.next_block(&segment, index), after);
        }
    }
}
