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
    assert!(!store.infos.windows(3).any(|bytes| bytes == b"sec"), "removed bytes are wiped");
    store.read_info(a, 0, &mut text).unwrap();
    assert_eq!(&text, b"one two ");

    assert_eq!(store.append_info(a, &[0; 25]), Err(InfoStoreFull));
    assert_eq!(store.info_len(a), 8);
    assert_eq!(store.append_info(b, b"x"), Err(InfoStoreFull));
}

#[test]
fn the_least_used_block_makes_room_unless_it_is_pinned() {
    use crate::crypto::{HashAlgorithm, Secret, SoftCrypto, hash};
    use crate::store::verify::{Expected, Intake};

    let mut store = store();
    let (kp, algorithm) = (Secret::from_slice(&[5; 32]).unwrap(), HashAlgorithm::Sha256);
    let expected = Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, &[1; 10]), len: 10 };
    let put = |store: &mut Small, index| {
        let slot = store.reserve(&block(index), 16)?;
        let seal = Seal { algorithm: CipherAlgorithm::Aes128, iv: [0; 16] };
        let mut intake = Intake::new(&mut SoftCrypto, slot, seal, expected);
        intake.update(store, &mut SoftCrypto, &kp, &[1; 10]).unwrap();
        Ok::<_, ReserveError>(slot)
    };
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
