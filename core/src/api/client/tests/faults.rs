//! Content information that cannot be read any more, wholly or for a while.

use core::cell::RefCell;

use super::*;
use crate::content::{InfoFault, InfoUnreadable};
use crate::store::{InfoId, InfoStore, InfoStoreFull};

/// Keeps content information in memory, until something breaks.
pub struct Infos {
    ram: RamStore<StdVec<Page>, StdVec<Entry>, StdVec<u8>>,
    /// What is read from there on cannot be read.
    pub broken: RefCell<StdVec<u64>>,
}

impl Infos {
    pub fn new(len: usize) -> Self {
        let ram = RamStore::new(StdVec::new(), StdVec::new(), vec![0; len]);
        Self { ram, broken: RefCell::default() }
    }
}

impl InfoStore for Infos {
    fn create_info(&mut self) -> Result<InfoId, InfoStoreFull> {
        self.ram.create_info()
    }

    fn append_info(&mut self, id: InfoId, bytes: &[u8]) -> Result<(), InfoStoreFull> {
        self.ram.append_info(id, bytes)
    }

    fn info_len(&self, id: InfoId) -> u64 {
        self.ram.info_len(id)
    }

    fn read_info(&self, id: InfoId, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        if self.broken.borrow().contains(&offset) {
            return Err(InfoUnreadable { offset });
        }
        self.ram.read_info(id, offset, buf)
    }

    fn remove_info(&mut self, id: InfoId) {
        self.ram.remove_info(id);
    }
}

impl World {
    /// Where the key of the first segment stands, which is read by itself, and the hash of its second block.
    fn places(&self, handle: ContentHandle) -> [u64; 2] {
        let segment = self.client.segment(&self.store, handle, 0).unwrap();
        let key = segment.secret_at();
        [key, key + 32 + 4 + 32]
    }

    fn breaks(&self, at: u64) {
        self.store.infos.broken.borrow_mut().push(at);
    }
}

#[test]
fn a_key_that_cannot_be_read_is_told() {
    let mut world = World::v1(BLOCK, 0);
    let handle = world.open();
    world.add(handle, 0..BLOCK);
    let read = world.client.block_read(START, handle, 0, 10, Patience::Local).unwrap();
    world.work(START);
    assert!(matches!(world.completed.pop().unwrap().result, ReadResult::Data { .. }));
    let [key, _] = world.places(handle);
    world.breaks(key);
    let mut copy =
        || world.with(|client, parts, _| client.copy_read(parts.storage, parts.crypto, read, 0, &mut [0; 9]));
    let Err(ReadError::Info(error)) = copy() else { panic!("it cannot be read") };
    assert_eq!((error.offset, error.reason), (key, InfoFault::Unreadable));
    world.store.infos.broken.borrow_mut().clear();
    let copied =
        world.with(|client, parts, _| client.copy_read(parts.storage, parts.crypto, read, 0, &mut [0; 9]));
    assert_eq!(copied, Ok(9));
}

#[test]
fn a_fault_within_the_range_is_not_its_end() {
    let mut world = World::v1(2 * BLOCK, 0);
    let handle = world.open();
    let [_, hash] = world.places(handle);
    world.breaks(hash);
    assert_eq!(world.missing(handle, 0), 0..BLOCK);
    let ReadResult::Failed(ApiError::CannotParse(error)) = world.read(handle, BLOCK, 1, Patience::Local)
    else {
        panic!("it cannot be read")
    };
    assert_eq!((error.offset, error.reason), (hash, InfoFault::Unreadable));
    assert!(matches!(world.read(handle, 2 * BLOCK, 1, Patience::Local), ReadResult::NoMore));
}

/// Of version 1.0, the length of a segment's last block is bound by nothing.
#[test]
fn a_length_that_contradicts_the_block_is_no_end() {
    let mut world = World::v1(BLOCK + 9, 0);
    let handle = world.open();
    world.add(handle, 0..BLOCK + 9);
    let mut lies = world.info.clone();
    // cbSegment, behind the header and ullOffsetInContent.
    assert_eq!(lies[18 + 8..][..4], (BLOCK as u32 + 9).to_le_bytes());
    lies[18 + 8] -= 1;
    let liar = world.collecting();
    world.describe(liar, &lies);
    let ReadResult::Failed(ApiError::CannotParse(error)) = world.read(liar, BLOCK, 1, Patience::Local) else {
        panic!("it is another block")
    };
    assert_eq!((error.offset, error.reason), (18 + 8, InfoFault::OutOfRange(BLOCK + 8)));
}

/// What cannot go on is left for later.
#[test]
fn looking_through_what_waits_comes_to_an_end() {
    let mut world = World::v1(2 * BLOCK, 1_024);
    let handle = world.collecting();
    world.add(handle, 0..2 * BLOCK);
    let info = world.info.clone();
    world.client.add_content_information(&mut world.store, handle, &info).unwrap();
    world.client.complete_content_information(&mut world.store, handle).unwrap();
    world.check();
    let [key, _] = world.places(handle);
    world.breaks(key);
    let mut steps = 0;
    while world.with(|client, parts, waiting| client.settle(parts, waiting)).is_some() {
        steps += 1;
        assert!(steps < 100, "it never comes to rest");
    }
    world.store.infos.broken.borrow_mut().clear();
    // Each read looks again.
    world.missing(handle, 0);
    world.expect(handle, 0..2 * BLOCK);
}
