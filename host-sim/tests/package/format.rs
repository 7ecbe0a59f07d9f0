//! The format: what is packed comes out, and nothing else does.

use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::*;

/// The example in the documentation, byte by byte.
#[test]
fn the_example_of_the_documentation() {
    let info = v1_of(b"hello");
    let package = pack(&blocks(info, b"hello", CipherAlgorithm::Aes128));
    let dump: String = package
        .chunks(16)
        .enumerate()
        .map(|(row, bytes)| {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{:04x}  {}\n", row * 16, hex.join(" "))
        })
        .collect();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/PACKAGE.md");
    let page = fs::read_to_string(page).expect("it is there");
    assert!(page.contains(&format!("```text\n{dump}```\n")), "{dump}");
}

#[test]
fn what_is_packed_comes_out() {
    let (_, blocks) = small();
    let package = pack(&blocks);
    assert_eq!(package.len(), MAGIC.len() + 2 * (HEAD_BYTES + 48 + 32) + (HEAD_BYTES + 32 + 32) + 48);
    let (read, error) = unpack(package.as_slice());
    assert!(error.is_none() && read == blocks);
    assert!(unpack(pack(&[]).as_slice()).1.is_none());
    let longest = Head { plain_len: 131_072, ..blocks[0].0 };
    let longest = [(longest, vec![3; MAX_BLOCK_BYTES as usize])];
    assert!(unpack(pack(&longest).as_slice()).0 == longest);
}

/// Whichever bit is flipped, it is found, and what was whole before it comes out as it was.
#[test]
fn every_flipped_bit_is_found() {
    let (_, blocks) = small();
    let package = pack(&blocks);
    let starts = [8, 184, 360, 520];
    for at in 0..package.len() {
        for bit in 0..8 {
            let mut flipped = package.clone();
            flipped[at] ^= 1 << bit;
            let (read, error) = unpack(flipped.as_slice());
            let whole = starts.iter().filter(|start| **start <= at).count().saturating_sub(1);
            assert!(read.len() <= whole && read == blocks[..read.len()], "byte {at}, bit {bit}");
            let Some(PackageError::Damaged(offset, _)) = error else { panic!("byte {at}, bit {bit}") };
            assert!(offset <= package.len() as u64, "byte {at}, bit {bit}: at {offset}");
            assert!(read.len() == whole, "byte {at}, bit {bit}: found before it is there");
        }
    }
}

#[test]
fn every_cut_and_every_byte_too_many_is_found() {
    let (_, blocks) = small();
    let package = pack(&blocks);
    for len in 0..package.len() {
        let (offset, fault) = fault(&package[..len]);
        let expected = if len < 7 { (0, Fault::NoPackage) } else { (len as u64, Fault::Truncated) };
        assert_eq!((offset, fault), expected, "{len}");
        let mut longer = package.clone();
        longer.insert(len, !package[len]);
        assert!(unpack(longer.as_slice()).1.is_some(), "{len}");
    }
    let trailing = [&package[..], &[0]].concat();
    assert_eq!(fault(&trailing), (package.len() as u64, Fault::Trailing));
}

/// Changes a record and has its checksum right all the same.
fn forged(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut package = pack(&small().1);
    let (_, rest) = package.split_at_mut(MAGIC.len());
    let (record, rest) = rest.split_at_mut(HEAD_BYTES + 48);
    change(record);
    rest[..32].copy_from_slice(&Sha256::digest(record));
    package
}

#[test]
fn what_a_hostile_package_says_is_not_believed() {
    let number = |at: usize, value: u32| {
        move |record: &mut [u8]| record[at..at + 4].copy_from_slice(&value.to_le_bytes())
    };
    for (package, offset, expected) in [
        (forged(|record| record[0] = 0), 8, Fault::NoRecord),
        (forged(|record| record[4] = 0), 12, Fault::Cipher(0)),
        (forged(|record| record[4] = 4), 12, Fault::Cipher(4)),
        (forged(|record| record[5] = 0), 13, Fault::IdLength(0)),
        (forged(|record| record[5] = 31), 13, Fault::IdLength(31)),
        (forged(|record| record[5] = 65), 13, Fault::IdLength(65)),
        (forged(|record| record[5] = 255), 13, Fault::IdLength(255)),
        (forged(|record| record[6] = 1), 14, Fault::NotZero),
        (forged(|record| record[95] = 1), 103, Fault::NotZero),
        (forged(|record| (record[5], record[64]) = (33, 7)), 72, Fault::NotZero),
        (forged(number(8, 512)), 16, Fault::Index(512)),
        (forged(number(8, u32::MAX)), 16, Fault::Index(u32::MAX)),
        (forged(number(12, 0)), 20, Fault::Length(0)),
        (forged(number(12, 131_073)), 20, Fault::Length(131_073)),
        (forged(number(12, u32::MAX)), 20, Fault::Length(u32::MAX)),
        // Longer than all that follows.
        (forged(number(12, 131_072)), pack(&small().1).len() as u64, Fault::Truncated),
    ] {
        assert_eq!(fault(&package), (offset, expected));
    }
    let mut other = pack(&small().1);
    other[7] = 2;
    assert_eq!(fault(&other), (7, Fault::Version(2)));
    // A record that is as it should be, in a package that is not.
    let package = forged(|record| record[50] ^= 1);
    assert_eq!(fault(&package), (536, Fault::Checksum));
}

/// A record twice, out of order, left out, and a count that says otherwise.
#[test]
fn records_are_all_there_once() {
    let (_, blocks) = small();
    let package = pack(&blocks);
    let [first, second, third, end] =
        [8..184, 184..360, 360..520, 520..568].map(|range: std::ops::Range<usize>| &package[range]);
    assert_eq!(package.len(), 568);
    let joined = |parts: &[&[u8]]| [&MAGIC[..], &parts.concat()].concat();
    // The short segment may be any of them.
    let at = |parts: &[&[u8]]| (MAGIC.len() + parts.concat().len()) as u64;
    assert_eq!(fault(&joined(&[first, first, second])), (at(&[first]), Fault::Order));
    assert_eq!(fault(&joined(&[second, first, third, end])), (at(&[second]), Fault::Order));
    assert_eq!(fault(&joined(&[first, third, end])), (at(&[first, third]) + 8, Fault::Count(3)));
    assert_eq!(fault(&joined(&[first, second, third, end, end])), (568, Fault::Trailing));
    // The same number of others.
    let others = pack(&blocks_of_another());
    let end = &others[others.len() - 48..];
    assert_eq!(fault(&joined(&[first, second, third, end])), (536, Fault::Checksum));
}

fn blocks_of_another() -> Vec<Block> {
    let content: Vec<u8> = content(100).iter().map(|byte| byte ^ 1).collect();
    blocks(v2_of(&content, 40), &content, CipherAlgorithm::Aes128)
}

/// A writer makes nothing that a reader refuses.
#[test]
fn what_cannot_be_packed_is_not() {
    let (_, blocks) = small();
    let (head, bytes) = &blocks[1];
    let plain = Seal { algorithm: CipherAlgorithm::None, ..head.seal };
    let mut writer = Writer::new(Vec::new()).expect("room");
    for wrong in [
        Head { seal: plain, ..*head },
        Head { plain_len: 0, ..*head },
        Head { plain_len: 131_073, ..*head },
        Head { id: BlockId { index: 512, ..head.id }, ..*head },
        Head {
            id: BlockId { segment: SegmentId::from_stored(&[7; 33]).expect("33 bytes"), index: 0 },
            ..*head
        },
    ] {
        assert!(!is_packable(&wrong));
        let error = writer.put(&wrong, &vec![0; wrong.len() as usize]).expect_err("it is refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    assert!(writer.put(head, &bytes[1..]).is_err(), "not all of it");
    writer.put(head, bytes).expect("it is right");
    assert!(writer.put(head, bytes).is_err(), "twice");
    assert!(writer.put(&blocks[0].0, &blocks[0].1).is_err(), "before it");
}

/// Gives what it has, and then fails.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf)? {
            0 => Err(io::Error::other("the stick was pulled out")),
            read => Ok(read),
        }
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    let package = pack(&small().1);
    for len in 0..=package.len() {
        let (_, error) = unpack(Failing(&package[..len]));
        let error = error.expect("it fails");
        assert_eq!(error.to_string(), format!("at byte {len}: the stick was pulled out"));
    }
}

/// Bytes that are drawn, and packages with bytes that are: no panic, and never a block that was not packed.
#[test]
fn whatever_comes() {
    let (_, blocks) = small();
    let package = pack(&blocks);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    for _ in 0..20_000 {
        let mut changed = package.clone();
        for _ in 0..=draw(4) {
            let (from, to, len) = (draw(changed.len()), draw(changed.len()), draw(200));
            match draw(4) {
                0 => changed[from] = draw(256) as u8,
                1 => changed.truncate(from + 1),
                2 => drop(changed.drain(from..(from + len).min(changed.len() - 1).max(from))),
                _ => {
                    let piece = changed[from..(from + len).min(changed.len())].to_vec();
                    changed.splice(to..to, piece);
                }
            }
        }
        let (read, error) = unpack(changed.as_slice());
        assert!(read.iter().all(|block| blocks.contains(block)));
        assert!(error.is_some() || changed == package);
    }
}
