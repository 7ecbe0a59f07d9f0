//! Disks that rot, are full, or are meddled with.

use super::*;

const LEN: usize = 9_000;

/// Every byte of the entry, and some of every page, before the opening and after.
#[test]
fn a_flipped_byte_anywhere() {
    let (directory, mut store) = fresh(ROOM);
    put(&mut store, 0, LEN).unwrap();
    drop(store);
    let path = pack(directory.path());
    let whole = fs::read(&path).unwrap();
    let end = TABLE_BYTES + CipherAlgorithm::Aes128.sealed_len(LEN as u32) as usize;
    let sealed = &whole[TABLE_BYTES..end];
    // All but the time of last use.
    for at in (0..ENTRY_BYTES - 4).chain((TABLE_BYTES..end).step_by(97)) {
        let mut rotten = whole.clone();
        rotten[at] ^= 0x10;
        // While the store is open, the entry is compared when the block is read.
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
        assert_eq!(store.find(&block(0)).is_some(), at >= ENTRY_BYTES);
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

/// Reads a block of which byte `at` of the file has rotted, a piece at a time, and whole.
fn read_right_or_damaged(store: &mut FileBlocks, slot: SlotId, sealed: &[u8], at: usize) {
    let mut whole = vec![0; sealed.len()];
    assert_eq!(store.read(slot, 0, &mut whole), Err(StoreError::Damaged), "{at}");
    assert_eq!(whole, vec![0; sealed.len()], "{at}");
    let rotten = at.checked_sub(TABLE_BYTES).map(|at| at / 4_096);
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

/// Who was told the wrong IV reads nothing with it, whatever becomes of the file meanwhile.
#[test]
fn an_entry_that_comes_back() {
    let (directory, mut store) = fresh(ROOM);
    put(&mut store, 3, LEN).unwrap();
    drop(store);
    let mut store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
    let whole = fs::read(pack(directory.path())).unwrap();
    fs::write(pack(directory.path()), &whole[..ENTRY_BYTES - 1]).unwrap();
    let stored = store.find(&block(3)).unwrap();
    assert_ne!(stored.seal, seal(3));
    assert!(store.take_error().is_some());
    fs::write(pack(directory.path()), &whole).unwrap();
    // Another may be told the right one.
    assert_eq!(store.find(&block(3)).unwrap().seal, seal(3));
    let mut piece = [0; 100];
    for len in [100, stored.len as usize] {
        assert_eq!(store.read(stored.slot, 0, &mut vec![0; len]), Err(StoreError::Damaged));
        assert!(store.take_error().is_some());
    }
    assert_eq!((store.counters().damaged, store.blocks(&segment(7))), (2, 1));
    assert_eq!(store.reserve(&block(3), 16), Err(ReserveError::Exists));
    store.release(stored.slot);
    let slot = put(&mut store, 3, LEN).unwrap();
    assert_eq!((store.read(slot, 0, &mut piece), has(&mut store, 3, LEN)), (Ok(()), true));
}

#[test]
fn what_is_no_file_of_blocks() {
    let (directory, mut store) = fresh(ROOM);
    put(&mut store, 0, LEN).unwrap();
    drop(store);
    let path = |number: u16| directory.path().join(format!("peerdist-blocks-{number:04x}"));
    // A copy has the same blocks; one is empty, one is noise. A folder has our name, and cannot go:
    // that keeps nobody out.
    fs::copy(path(0), path(2)).unwrap();
    fs::write(path(3), b"").unwrap();
    fs::write(path(4), vec![0xa5; TABLE_BYTES + 100]).unwrap();
    fs::create_dir(path(1)).unwrap();
    fs::write(path(1).join("file"), b"bytes").unwrap();
    let mut store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
    assert_eq!((which(&store, 0..4), store.counters().damaged), (vec![0], 1 + 128));
    assert_eq!(files(directory.path()), [path(0), path(1)]);
    assert!(store.take_error().is_some());
    (1..=128).for_each(|index| assert!(put(&mut store, index, 100).is_ok()));
    assert_eq!(files(directory.path()), [path(0), path(1), path(2)]);
    assert!((1..=128).all(|index| has(&mut store, index, 100)) && has(&mut store, 0, LEN));
    drop(store);
    let store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
    assert_eq!(which(&store, 0..200).len(), 129);
}

/// Files have no more pages than blocks once had at the same time.
#[test]
fn room_is_used_again() {
    let (directory, mut store) = fresh(Options { max_size: 40 * (3 * 4_096 + 256), ..ROOM });
    for index in 0..2_000 {
        put(&mut store, index, 1 + len(index)).unwrap();
    }
    let used: u64 = files(directory.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(used <= (2 * store.size()).max(1 << 20), "{used} bytes for {}", store.size());
    let newest = (0..2_000).filter(|index| has(&mut store, *index, 1 + len(*index))).count();
    assert_eq!((newest, kept(directory.path())), (store.count(), store.count()));
}

/// Bytes of a block, one to three pages.
fn len(index: u32) -> usize {
    (index.wrapping_mul(2_654_435_761) >> 8) as usize % 12_000
}

/// What was removed takes nothing of the disk, whoever else lies in the same file.
#[cfg(target_os = "linux")]
#[test]
fn room_goes_back_to_the_disk() {
    use std::os::unix::fs::MetadataExt;
    let (directory, mut store) = fresh(ROOM);
    (0..20).for_each(|index| assert!(put(&mut store, index, 100_000).is_ok()));
    let taken = || fs::metadata(pack(directory.path())).unwrap().blocks() * 512;
    assert!(taken() > 2_000_000);
    for index in 0..19 {
        store.release(store.find(&block(index)).unwrap().slot);
    }
    assert!(taken() < 200_000, "{}", taken());
    assert!(has(&mut store, 19, 100_000));
}

#[test]
fn a_file_that_was_cut_is_damaged() {
    let (directory, mut store) = fresh(ROOM);
    put(&mut store, 0, LEN).unwrap();
    // What was just written is still in memory.
    drop(store);
    let mut store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
    let path = pack(directory.path());
    fs::write(&path, b"").unwrap();
    let slot = store.find(&block(0)).unwrap().slot;
    assert_eq!(store.read(slot, 0, &mut [0; 16]), Err(StoreError::Damaged));
    let error = store.take_error().unwrap();
    assert_eq!(error.error.kind(), ErrorKind::UnexpectedEof);
    assert!(error.to_string().starts_with(&format!("{}: ", path.display())));
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
    let (target, link) = (directory.path().join("target"), pack(directory.path()));
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
    assert_eq!((which(&store, 0..3), store.counters().unreadable), (vec![], 1));
    assert!(store.take_error().is_some());
    // What is not found can come again.
    taken.clear();
    put(&mut store, 0, LEN).unwrap();
    assert_eq!(files(directory.path()).len(), 2);
    drop(store);
    let mut store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
    assert_eq!((store.counters(), kept(directory.path())), (Counters::default(), 3));

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
    if !is_limited("trap '' XFSZ; ulimit -f 144", "failing::no_room_on_the_disk") {
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
        assert_eq!(error.path, pack(directory.path()), "{error}");
        assert_eq!((error.error.kind(), store.counters().failed), (ErrorKind::FileTooLarge, failed));
        assert_eq!((store.size(), kept(directory.path())), (4_096 + 256, 1));
    }
    let slot = reserve(&mut store, &block(1), 100).unwrap();
    let taken = || fs::metadata(pack(directory.path())).unwrap().len();
    assert!(taken() >= 65_536 + 4_096 + 112, "its room is taken");
    store.release(slot);
    put(&mut store, 1, 100).unwrap();
    assert!(has(&mut store, 0, 100) && has(&mut store, 1, 100));
}
