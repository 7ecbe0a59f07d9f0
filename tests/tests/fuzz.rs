//! The fuzz targets on their seeds, cut and flipped: what a fuzzer would try first, in every run of
//! the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use peerdist_tests::fuzz::{ALL, all_vectors};

/// Cuts of one seed, and flips of each kind: all there are of a short one.
const TRIES: usize = 256;

#[test]
fn seeds_cut_anywhere() {
    for target in ALL {
        for seed in (target.seeds)() {
            for len in (0..=seed.len()).rev().step_by(seed.len().div_ceil(TRIES).max(1)) {
                run(target.name, target.body, &seed[..len]);
            }
        }
    }
}

#[test]
fn seeds_with_flipped_bits_and_bytes() {
    let mut random = Random(0x5eed);
    for target in ALL {
        for seed in (target.seeds)() {
            for _ in 0..TRIES.min(8 * seed.len()) {
                let mut bit = seed.clone();
                let at = random.below(8 * seed.len());
                bit[at / 8] ^= 1 << (at % 8);
                run(target.name, target.body, &bit);

                let mut byte = seed.clone();
                byte[random.below(seed.len())] = random.below(256) as u8;
                run(target.name, target.body, &byte);
            }
        }
    }
}

#[test]
fn every_target_has_its_wrapper() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let listed: BTreeSet<PathBuf> =
        ALL.iter().map(|target| fuzz.join(format!("fuzz_targets/{}.rs", target.name))).collect();
    let there: BTreeSet<PathBuf> =
        fs::read_dir(fuzz.join("fuzz_targets")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(listed, there, "the list in tests/src/fuzz.rs and the files in tests/fuzz/fuzz_targets");

    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for target in ALL {
        let name = target.name;
        let bin = format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n");
        assert!(manifest.contains(&bin), "tests/fuzz/Cargo.toml lacks {name}");
        let wrapper = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(
            wrapper.contains(&format!("peerdist_tests::fuzz::{name}(data)")),
            "the wrapper of {name}: {wrapper}"
        );
    }
}

#[test]
fn every_vector_is_a_seed() {
    let seeds: BTreeSet<Vec<u8>> = ALL.iter().flat_map(|target| (target.seeds)()).collect();
    for (name, vector) in all_vectors() {
        // No codec reads a passphrase.
        let exempt = name == "windows/server_passphrase.bin";
        assert!(exempt || seeds.contains(&vector), "no target in tests/src/fuzz.rs begins with {name}");
    }
}

/// Calls `body`, and tells the bytes that it fails on.
fn run(name: &str, body: fn(&[u8]), data: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| body(data)) {
        eprintln!("{name} fails on b\"{}\"", data.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % bound as u64) as usize
    }
}
