//! A process that ends at any moment, and a disk that keeps what it likes of what was not synced.

use super::*;

const LEN: usize = 100;

/// Opens what is left of a directory: of blocks 0 to 9, those `committed` are there and whole,
/// and no others, and the store takes new ones.
fn check(directory: &Path, committed: &[u32]) -> Counters {
    let mut store = FileBlocks::open(directory, ROOM, NOW).unwrap();
    let counters = store.counters();
    assert_eq!(which(&store, 0..10), committed);
    assert!(committed.iter().all(|&index| has(&mut store, index, LEN)));
    put(&mut store, 99, LEN).unwrap();
    assert!(has(&mut store, 99, LEN));
    assert_eq!(kept(directory), committed.len() + 1, "nothing is left over");
    counters
}

/// Where the entry of the block that was committed as the nth is, and where its bytes are.
fn parts(nth: usize) -> [std::ops::Range<usize>; 2] {
    let (entry, bytes) = (nth * ENTRY_BYTES, TABLE_BYTES + nth * 4_096);
    [entry..entry + ENTRY_BYTES, bytes..bytes + 112]
}

/// Stops after every call, and within the commit: the bytes come first, any part of them, and
/// then the entry.
#[test]
fn after_and_within_every_call() {
    let (directory, mut store) = fresh(Options::new(1 << 20));
    let mut committed = Vec::new();
    for index in 0..4 {
        // What is not committed leaves nothing.
        let stop = |committed: &[u32]| {
            let left = copy(directory.path());
            assert_eq!(check(left.path(), committed), Counters::default());
        };
        let slot = reserve(&mut store, &block(index), LEN).unwrap();
        stop(&committed);
        let plain = text(index, LEN);
        let mut intake = Intake::new(&mut SoftCrypto, slot, seal(index), expected(&plain));
        for piece in plain[..LEN - 20].chunks(20) {
            intake.update(&mut store, &mut SoftCrypto, &key(), piece).unwrap();
            stop(&committed);
        }
        let mut before = fs::read(pack(directory.path())).unwrap_or_default();
        intake.update(&mut store, &mut SoftCrypto, &key(), &plain[LEN - 20..]).unwrap();
        let whole = fs::read(pack(directory.path())).unwrap();
        let len = before.len();
        before.resize(whole.len(), 0);
        // The one that was removed has made room for the last.
        let [entry, bytes] = parts(if index == 3 { 1 } else { index as usize });
        for end in bytes.clone().step_by(if index == 3 { 1 } else { 31 }).chain([bytes.end]) {
            let torn = [&before[..bytes.start], &whole[bytes.start..end], &before[end..]].concat();
            for file in [&torn[..], &torn[..end.max(len)]] {
                let left = copy(directory.path());
                fs::write(pack(left.path()), file).unwrap();
                assert_eq!(check(left.path(), &committed), Counters::default());
            }
        }
        assert_eq!(whole[..entry.start], before[..entry.start]);
        assert_eq!(whole[entry.end..bytes.start], before[entry.end..bytes.start]);
        committed.push(index);
        stop(&committed);
        if index == 2 {
            store.release(store.find(&block(1)).unwrap().slot);
            committed.retain(|other| *other != 1);
            stop(&committed);
        }
    }
}

/// Without `sync`, power may go when an entry is there but not its bytes, or part of the table.
#[test]
fn a_file_that_did_not_reach_the_disk() {
    let (directory, mut store) = fresh(ROOM);
    put(&mut store, 0, LEN).unwrap();
    put(&mut store, 1, LEN).unwrap();
    let whole = fs::read(pack(directory.path())).unwrap();
    let [entry, bytes] = parts(1);
    for end in entry.clone() {
        let left = copy(directory.path());
        let mut file = whole.clone();
        file[end..entry.end].fill(0);
        fs::write(pack(left.path()), &file).unwrap();
        // The time of last use may be missing: that it has not reached the disk tells nobody.
        let stamp = entry.end - 4;
        let there: &[u32] = if end >= stamp { &[0, 1] } else { &[0] };
        let is_damaged = (entry.start + 1..stamp).contains(&end);
        assert_eq!(check(left.path(), there).damaged, u64::from(is_damaged), "{end}");
    }
    for lost in [bytes.start..bytes.end, bytes.start + 50..bytes.end] {
        for file in [[&whole[..lost.start], &vec![0; lost.len()]].concat(), whole[..lost.start].to_vec()] {
            let left = copy(directory.path());
            fs::write(pack(left.path()), file).unwrap();
            let mut store = FileBlocks::open(left.path(), ROOM, NOW).unwrap();
            let slot = store.find(&block(1)).unwrap().slot;
            assert_eq!(store.read(slot, 0, &mut [0; 16]), Err(StoreError::Damaged));
            store.release(slot);
            drop(store);
            check(left.path(), &[0]);
        }
    }
    // The room of a block that was removed was given to another, and only the latter has reached
    // the disk; or both have the same name.
    let [first, _] = parts(0);
    for to in [entry.start + ENTRY_BYTES, entry.start] {
        let left = copy(directory.path());
        let mut file = whole.clone();
        file.copy_within(first.clone(), to);
        fs::write(pack(left.path()), &file).unwrap();
        let there: &[u32] = if to == entry.start { &[0] } else { &[0, 1] };
        assert_eq!(check(left.path(), there), Counters::default());
    }
}

/// Bytes of a block that the child commits.
fn len(index: u32) -> usize {
    (index.wrapping_mul(2_654_435_761) >> 12) as usize % 40_000
}

/// Runs itself anew, and kills that process at some moment after it has committed a few blocks.
#[test]
fn a_process_that_is_killed() {
    const CHILD: &str = "PEERDIST_TEST_CHILD";
    const ROUNDS: u32 = 24;
    if let Some(arguments) = std::env::var_os(CHILD) {
        let arguments = arguments.into_string().unwrap();
        let (from, directory) = arguments.split_once(' ').unwrap();
        let from: u32 = from.parse().unwrap();
        let options = Options { sync: from.is_multiple_of(2), ..ROOM };
        let mut store = FileBlocks::open(directory, options, NOW).unwrap();
        for index in from..from + 10_000 {
            // Another is under way, and is given up after a while.
            let other = reserve(&mut store, &block(u32::MAX - index), 30_000).unwrap();
            store.write(other, 0, &[1; 10_000]).unwrap();
            put(&mut store, index, len(index)).unwrap();
            println!("\ncommitted {index}");
            store.release(other);
        }
        return;
    }
    let directory = tempdir().unwrap();
    let mut committed = Vec::new();
    let mut random = 1u32;
    for round in 0..ROUNDS {
        let this = std::env::current_exe().unwrap();
        let arguments = format!("{} {}", round * 100_001, directory.path().display());
        let mut child = Command::new(this)
            .args(["--exact", "killed::a_process_that_is_killed", "--nocapture"])
            .env(CHILD, arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut report = |committed: &mut Vec<u32>, at_most: usize| {
            let said = lines.by_ref().map_while(Result::ok);
            let said = said.filter_map(|line| line.strip_prefix("committed ")?.parse::<u32>().ok());
            committed.extend(said.take(at_most));
        };
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        report(&mut committed, 1 + (random >> 28) as usize);
        // Whatever it does by then: what must hold does so at any moment.
        std::thread::sleep(std::time::Duration::from_micros((random >> 12 & 0xfff).into()));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had reported before it died, but was not read yet.
        report(&mut committed, usize::MAX);
        assert!(committed.len() > round as usize);
        let mut store = FileBlocks::open(directory.path(), ROOM, NOW).unwrap();
        assert!(committed.iter().all(|&index| has(&mut store, index, len(index))));
        // One may be committed and not reported in each round; none is half there.
        let mut found = 0;
        let mut next = store.find(&block(0)).map(|_| 0).or_else(|| store.next_block(&segment(7), 0));
        while let Some(index) = next {
            assert!(has(&mut store, index, len(index)));
            (found, next) = (found + 1, store.next_block(&segment(7), index));
        }
        assert!((committed.len()..=committed.len() + round as usize + 1).contains(&found), "{found}");
        assert_eq!(store.counters(), Counters::default());
        assert_eq!(kept(directory.path()), found);
    }
}
