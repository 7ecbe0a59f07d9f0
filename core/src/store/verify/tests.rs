use super::*;
use crate::content::SegmentId;
use crate::crypto::{CipherBlock, SoftCrypto, hash};
use crate::store::ram::{Entry, PAGE_BYTES, Page, RamStore};
use crate::store::seal::open_at;
use crate::store::{BlockId, Store};

type Memory = RamStore<[Page; 20], [Entry; 2], [u8; 0]>;

const IV: CipherBlock = [9; 16];
const AES: Seal = Seal { algorithm: CipherAlgorithm::Aes128, iv: IV };

fn memory() -> Memory {
    RamStore::new([const { Page::EMPTY }; 20], [const { Entry::EMPTY }; 2], [])
}

fn block() -> BlockId {
    BlockId { segment: SegmentId::from_slice(&[7; 32]).unwrap(), index: 0 }
}

fn kp() -> Secret {
    Secret::from_slice(&[5; 32]).unwrap()
}

fn text<const N: usize>() -> [u8; N] {
    core::array::from_fn(|i| ((i * 7 + 3) % 251) as u8)
}

fn expected(plain: &[u8]) -> Expected {
    let algorithm = HashAlgorithm::Sha256;
    Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, plain), len: plain.len() as u32 }
}

/// Takes `plain` in pieces of `chunk` bytes and leaves it committed.
fn take(store: &mut Memory, plain: &[u8], chunk: usize) -> Result<(), VerifyError> {
    let slot = store.reserve(&block(), AES.algorithm.sealed_len(plain.len() as u32)).unwrap();
    let mut intake = Intake::new(&mut SoftCrypto, slot, AES, expected(plain));
    let mut done = false;
    for piece in plain.chunks(chunk) {
        let (taken, whole) = intake.update(store, &mut SoftCrypto, &kp(), piece)?;
        assert_eq!(taken, piece.len());
        done = whole;
    }
    assert!(done);
    Ok(())
}

/// Copies the sealed bytes of the committed block, as they would travel.
fn sealed(store: &mut Memory) -> ([u8; 20_000], usize) {
    let stored = store.find(&block()).unwrap();
    let mut bytes = [0; 20_000];
    store.read(stored.slot, 0, &mut bytes[..stored.len as usize]).unwrap();
    (bytes, stored.len as usize)
}

/// Puts `sealed` into a fresh store as a peer's reply would, and verifies it.
fn verify(sealed: &[u8], seal: Seal, expected: Expected) -> (Memory, Result<bool, VerifyError>) {
    let mut store = memory();
    let slot = store.reserve(&block(), sealed.len() as u32).unwrap();
    store.write(slot, 0, sealed).unwrap();
    let result = Verifier::new(&mut SoftCrypto, slot, seal, sealed.len() as u32, expected)
        .and_then(|mut verifier| verifier.step(&mut store, &mut SoftCrypto, &kp(), u32::MAX));
    if result.is_err() {
        store.release(slot);
    }
    (store, result)
}

#[test]
fn what_goes_in_comes_out_at_any_offset() {
    for chunk in [1, 15, 16, 17, 1_000, 1_024, 10_000] {
        let plain = text::<10_000>();
        let mut store = memory();
        take(&mut store, &plain, chunk).unwrap();
        let stored = store.find(&block()).unwrap();
        assert_eq!((stored.len, stored.plain_len), (10_016, 10_000));
        for offset in [0, 1, 15, 16, 1_023, 1_024, 4_111, 4_112, 9_999] {
            let mut buf = [0; 3_000];
            let len = open_at(&mut store, &mut SoftCrypto, &kp(), &stored, offset, &mut buf).unwrap();
            assert_eq!(len, 3_000.min(10_000 - offset as usize));
            assert_eq!(buf[..len], plain[offset as usize..][..len]);
        }
    }
}

#[test]
fn a_peers_block_is_verified_in_steps() {
    let plain = text::<10_000>();
    let mut first = memory();
    take(&mut first, &plain, 999).unwrap();
    let (bytes, len) = sealed(&mut first);

    let mut store = memory();
    let slot = store.reserve(&block(), len as u32).unwrap();
    store.write(slot, 0, &bytes[..len]).unwrap();
    let mut verifier = Verifier::new(&mut SoftCrypto, slot, AES, len as u32, expected(&plain)).unwrap();
    let mut steps = 0;
    while !verifier.step(&mut store, &mut SoftCrypto, &kp(), 2_048).unwrap() {
        assert_eq!(store.find(&block()), None, "visible before it is verified");
        steps += 1;
    }
    assert_eq!(steps, 4);
    assert_eq!(store.find(&block()).unwrap().seal, AES);
}

#[test]
fn bad_blocks_stay_out() {
    let plain = text::<10_001>();
    let mut first = memory();
    take(&mut first, &plain, 10_001).unwrap();
    let (good, len) = sealed(&mut first);
    let good = &good[..len];
    assert_eq!(verify(good, AES, expected(&plain)).1, Ok(true));

    // A flipped bit in the text, in the last cipher block, and in the IV.
    let mut bad = [0; 10_016];
    for at in [0, 5_000, len - 1] {
        copy_flipped(&mut bad, good, at);
        let (store, result) = verify(&bad[..len], AES, expected(&plain));
        assert!(matches!(result, Err(VerifyError::Hash | VerifyError::Padding)), "{at}: {result:?}");
        assert_eq!(store.find(&block()), None);
    }
    let other_iv = Seal { iv: [8; 16], ..AES };
    assert_eq!(verify(good, other_iv, expected(&plain)).1, Err(VerifyError::Hash));
    // Too long, too short, and another cipher than was used.
    assert_eq!(verify(&good[..len - 16], AES, expected(&plain)).1, Err(VerifyError::Length));
    let plainly = Seal { algorithm: CipherAlgorithm::None, iv: IV };
    assert_eq!(verify(good, plainly, expected(&plain)).1, Err(VerifyError::Length));
}

fn copy_flipped(to: &mut [u8], from: &[u8], at: usize) {
    to[..from.len()].copy_from_slice(from);
    to[at] ^= 1;
}

/// Right text with wrong padding decrypts to the right hash, and is still refused.
#[test]
fn garbage_behind_good_text_is_a_bad_block() {
    let plain = text::<20>();
    let mut blocks = [[0xee; 16]; 2];
    blocks[0].copy_from_slice(&plain[..16]);
    blocks[1][..4].copy_from_slice(&plain[16..]);
    let secret = kp();
    SoftCrypto.cbc_encrypt(AES.algorithm.key(&secret).unwrap(), &mut IV.clone(), &mut blocks);
    let (store, result) = verify(blocks.as_flattened(), AES, expected(&plain));
    assert_eq!(result, Err(VerifyError::Padding));
    assert_eq!(store.find(&block()), None);
}

#[test]
fn plain_blocks_verify_too() {
    let plain = text::<5_000>();
    let seal = Seal { algorithm: CipherAlgorithm::None, iv: IV };
    assert_eq!(verify(&plain, seal, expected(&plain)).1, Ok(true));
}

#[test]
fn wrong_text_from_the_application_is_not_committed() {
    let plain = text::<100>();
    let mut store = memory();
    let slot = store.reserve(&block(), 112).unwrap();
    let mut intake = Intake::new(&mut SoftCrypto, slot, AES, expected(&plain));
    assert_eq!(intake.update(&mut store, &mut SoftCrypto, &kp(), &plain[..99]), Ok((99, false)));
    assert_eq!(intake.update(&mut store, &mut SoftCrypto, &kp(), b"!?"), Err(VerifyError::Hash));
    assert_eq!(store.find(&block()), None);
}

#[test]
fn rot_at_rest_is_found() {
    let plain = text::<10_000>();
    let mut store = memory();
    take(&mut store, &plain, 10_000).unwrap();
    let stored = store.find(&block()).unwrap();
    store.rot(stored.slot, PAGE_BYTES as u32 + 17);
    let mut buf = [0; PAGE_BYTES];
    assert_eq!(store.read(stored.slot, 0, &mut buf), Ok(()));
    assert_eq!(store.read(stored.slot, PAGE_BYTES as u32, &mut buf), Err(StoreError::Damaged));
    // Also where reading begins in the middle of the page.
    assert_eq!(store.read(stored.slot, PAGE_BYTES as u32 + 100, &mut buf[..9]), Err(StoreError::Damaged));
}
