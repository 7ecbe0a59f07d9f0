//! How much memory a store of a million blocks takes: all that it keeps. Alone in its process.

use peak_alloc::PeakAlloc;
use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{CipherAlgorithm, HashAlgorithm, Seal, Secret, SoftCrypto, hash};
use peerdist_core::store::verify::{Expected, Intake};
use peerdist_core::store::{BlockId, Store};
use peerdist_hal::file::{Counters, FileBlocks, Options};
use peerdist_tests::packs;
use tempfile::tempdir;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const NOW: u64 = 1_700_000_000;
const OPTIONS: Options = Options { sync: false, ..Options::new(1 << 40) };

/// Bytes of each segment that has one block: nearly all that a hosted cache of version 2 has.
const WANTED: usize = 64;

/// As many more while it is opened.
const OPENING: usize = 8;

/// Opens a directory of so many blocks. The bytes of memory that it takes then, and those that it took at most.
fn open(directory: &std::path::Path, blocks: usize) -> (FileBlocks, usize, usize) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let store = FileBlocks::open(directory, OPTIONS, NOW).unwrap();
    assert_eq!((store.count(), store.counters()), (blocks, Counters::default()));
    (store, MEMORY.current_usage() - before, MEMORY.peak_usage() - before)
}

fn id(number: u32) -> [u8; 32] {
    let mut id = [7; 32];
    id[..4].copy_from_slice(&number.to_le_bytes());
    id
}

/// A block as a hosted cache keeps it whose key nobody told, or as a peer does.
fn name(number: u32) -> BlockId {
    let segment = SegmentId::from_slice(&id(number)).unwrap();
    let apart = segment.unverifiable().filter(|_| !number.is_multiple_of(4));
    BlockId { segment: apart.unwrap_or(segment), index: 0 }
}

fn put(store: &mut FileBlocks, id: BlockId) {
    let (key, algorithm) = (Secret::from_slice(&[5; 32]).unwrap(), HashAlgorithm::Sha256);
    let expected = Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, b"x"), len: 1 };
    let seal = Seal { algorithm: CipherAlgorithm::Aes128, iv: [3; 16] };
    let slot = store.reserve(&id, 16).unwrap();
    let mut intake = Intake::new(&mut SoftCrypto, slot, seal, expected);
    assert!(intake.update(store, &mut SoftCrypto, &key, b"x").is_ok());
}

/// At several counts, so that none is lucky; and when many have gone and others come.
#[test]
fn a_segment_takes_at_most_64_bytes() {
    let directory = tempdir().unwrap();
    let counts = [600_000, 1_000_000, 1_048_577];
    let mut written = 0;
    for count in counts {
        let segment = |number| (name(number).segment.as_bytes().to_vec(), 0);
        packs::write(directory.path(), written..count, segment).unwrap();
        // The next begin with the pack that is not full.
        written = count / packs::ENTRIES * packs::ENTRIES;
        let blocks = count as usize;
        let (mut store, resting, most) = open(directory.path(), blocks);
        let each = |bytes: usize| bytes as f64 / f64::from(count);
        println!("{count} segments: {:.2} bytes each, {:.2} while it opens", each(resting), each(most));
        assert!(resting <= WANTED * blocks, "{:.2} bytes for each of {count}", each(resting));
        assert!(most <= (WANTED + OPENING) * blocks, "{:.2} bytes for each of {count}", each(most));
        if count < 1_048_577 {
            continue;
        }

        let others = MEMORY.current_usage() - resting;
        for number in (0..count).step_by(211) {
            store.release(store.find(&name(number)).unwrap().slot);
            put(&mut store, name(count + number));
        }
        assert_eq!((store.count(), store.counters()), (blocks, Counters::default()));
        let now = MEMORY.current_usage() - others;
        println!("after others have come for one in 211: {:.2} bytes each", each(now));
        assert!(now <= WANTED * blocks, "{:.2} bytes for each of {count}", each(now));
        for number in (0..count).step_by(211) {
            let there = [number, number + 1, count + number, count + number + 1];
            assert_eq!(there.map(|number| store.blocks(&name(number).segment)), [0, 1, 1, 0], "{number}");
        }
    }

    // Of version 1, with 512 blocks each.
    let directory = tempdir().unwrap();
    let count = 100 * 512;
    let block = |number| (id(number / 512).to_vec(), number % 512);
    packs::write(directory.path(), 0..count, block).unwrap();
    let (_, resting, _) = open(directory.path(), count as usize);
    let each = resting as f64 / f64::from(count);
    println!(
        "segments of 512 blocks: {:.2} bytes for each block, {:.0} for each segment",
        each,
        each * 512.0
    );
    assert!(resting <= WANTED * count as usize, "{each:.2} bytes for each");
}
