//! Blocks in files: what any store does, and what only one does that outlives its process.

mod any_store;
mod failing;
mod killed;
mod reopened;
#[path = "../stores/mod.rs"]
mod stores;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use peerdist_core::content::SegmentId;
use peerdist_core::crypto::{CipherAlgorithm, HashAlgorithm, Seal, Secret, SoftCrypto, hash};
use peerdist_core::store::ram::{Entry, PAGE_BYTES, Page, RamStore};
use peerdist_core::store::seal::{SealError, open_at};
use peerdist_core::store::verify::{Expected, Intake, Verifier, VerifyError};
use peerdist_core::store::{BlockId, Label, MAX_AGE, ReserveError, SlotId, Store, StoreError};
use peerdist_core::time::{Duration, Instant};
use peerdist_hal::file::{Counters, FileBlocks, MAX_RESERVED, OpenError, Options, committed};
use stores::{block, segment, text, which};
use tempfile::{TempDir, tempdir};

const NOW: u64 = 1_700_000_000;
const DAY: u64 = 24 * 60 * 60;
const ENTRY_BYTES: usize = 256;

/// Where the blocks of a file begin.
const TABLE_BYTES: usize = 65_536;

const ROOM: Options = Options { sync: false, ..Options::new(1 << 30) };

fn key() -> Secret {
    Secret::from_slice(&[5; 32]).unwrap()
}

fn expected(plain: &[u8]) -> Expected {
    let algorithm = HashAlgorithm::Sha256;
    Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, plain), len: plain.len() as u32 }
}

fn seal(index: u32) -> Seal {
    let iv = std::array::from_fn(|at| (index >> (8 * (at % 4))) as u8);
    Seal { algorithm: CipherAlgorithm::Aes128, iv }
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

/// The first file of a store.
fn pack(directory: &Path) -> PathBuf {
    directory.join("peerdist-blocks-0000")
}

/// How many blocks the files of a directory have.
fn kept(directory: &Path) -> usize {
    committed(directory).unwrap().len()
}

/// A directory with the same files.
fn copy(from: &Path) -> TempDir {
    let to = tempdir().unwrap();
    for path in files(from) {
        fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
    }
    to
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
