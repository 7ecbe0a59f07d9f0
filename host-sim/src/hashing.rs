//! Content is hashed by many cores, in one pass and in about 2 MiB for each core, whatever its length.
//!
//! ```text
//!            reads and cuts          hashes            takes the hashes
//! worker 1   ▓▓▓                     ░░░░░░░░░░░░░     ▪
//! worker 2      ▓▓▓                  ░░░░░░░░░░░░░      ▪
//!            one at a time,          all at once       in the content's order
//!            in the content's order
//! ```
//!
//! What a core has read it cuts and hashes itself, while the bytes are still in its cache.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::num::NonZero;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use peerdist_core::content::segmenter::{Segmentation, Segmenter};
use peerdist_core::crypto::{Crypto, Digest, HashAlgorithm};
use peerdist_core::limits::MAX_SEGMENT_V2_BYTES;

/// Bytes that are read at a time: about as many as the second-level cache of a core takes, and
/// segments enough to fill the lanes of its vector unit twice.
const READ_BYTES: usize = 1_024 * 1_024;

/// Segments of one reading: their digests take less than 160 KiB, however short the segments are.
const READ_SEGMENTS: usize = 2_048;

/// Workers: what they read takes at most 18 MiB in all, and the digests, if segments are short, 14 MiB more.
const MAX_WORKERS: usize = 16;

/// Readings that may be hashed before their turn, for each worker: a worker that the system has
/// stopped for a while does not stop the others at once.
const AHEAD: u64 = 4;

/// How many cores there are, of those that are of use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(MAX_WORKERS)
}

/// Cuts `content` as `segmentation` says, hashes the segments with as many cores as `workers`, at least
/// one, each core with a `crypto` of its own, and gives `each` the digests and lengths in the order of the content.
///
/// Stops at the first error of `content` or `each`.
pub fn hash_segments<C: Crypto + Clone + Send, E: From<io::Error> + Send>(
    crypto: &C,
    workers: usize,
    algorithm: HashAlgorithm,
    segmentation: Segmentation,
    content: &mut (dyn Read + Send),
    each: &mut (dyn FnMut(&Digest, u32) -> Result<(), E> + Send),
) -> Result<(), E> {
    let workers = workers.clamp(1, MAX_WORKERS);
    let scale = Scale { workers, room: AHEAD * workers as u64, read_bytes: READ_BYTES };
    scale.hash_segments(crypto, algorithm, segmentation, content, each)
}

/// How much is done at once.
struct Scale {
    workers: usize,
    /// Readings that may be hashed from the one on whose turn it is.
    room: u64,
    read_bytes: usize,
}

impl Scale {
    fn hash_segments<C: Crypto + Clone + Send, E: From<io::Error> + Send>(
        &self,
        crypto: &C,
        algorithm: HashAlgorithm,
        segmentation: Segmentation,
        content: &mut (dyn Read + Send),
        each: &mut (dyn FnMut(&Digest, u32) -> Result<(), E> + Send),
    ) -> Result<(), E> {
        let cutter = Mutex::new(Cutter::new(segmentation, content, self.read_bytes));
        let queue = Queue { state: Mutex::new(State::new(each)), turn: Condvar::new(), room: self.room };
        let work = |mut crypto: C| {
            let _alarm = Alarm(&queue);
            let mut reading = Reading::new(self.read_bytes);
            loop {
                // After a panic of another worker the content is over.
                let next = cutter.lock().unwrap_or_else(PoisonError::into_inner).read(&mut reading);
                let going_on = match next {
                    Ok(true) => queue.push(reading.number, reading.hash(&mut crypto, algorithm)),
                    Ok(false) => false,
                    Err(error) => queue.fail(error.into()),
                };
                if !going_on {
                    break;
                }
            }
        };
        thread::scope(|scope| {
            // The last worker is this thread: should the system have no others, it does all.
            for _ in 1..self.workers {
                let crypto = crypto.clone();
                if thread::Builder::new().spawn_scoped(scope, || work(crypto)).is_err() {
                    break;
                }
            }
            work(crypto.clone());
        });
        queue.state.into_inner().expect("the scope has passed on any panic").outcome
    }
}

/// Reads the content and finds the ends of its segments.
struct Cutter<'a> {
    content: &'a mut (dyn Read + Send),
    segmenter: Segmenter,
    read_bytes: usize,
    /// The begin of a segment whose end was not read yet.
    begun: Vec<u8>,
    readings: u64,
    over: bool,
}

/// Whole segments that were read.
struct Reading {
    number: u64,
    bytes: Vec<u8>,
    lens: Vec<u32>,
}

impl<'a> Cutter<'a> {
    fn new(segmentation: Segmentation, content: &'a mut (dyn Read + Send), read_bytes: usize) -> Self {
        let read_bytes = match segmentation {
            // A multiple of the length, if there is one, leaves no segment begun.
            Segmentation::Fixed(len) => {
                let len = len.get() as usize;
                (read_bytes - read_bytes % len).min(READ_SEGMENTS * len)
            }
            Segmentation::ContentDefined => read_bytes,
        };
        let segmenter = Segmenter::new(segmentation);
        Self { content, segmenter, read_bytes, begun: Vec::new(), readings: 0, over: false }
    }

    /// Fills `reading`; `false` if the content is over, or failed before.
    fn read(&mut self, reading: &mut Reading) -> io::Result<bool> {
        if self.over {
            return Ok(false);
        }
        // Taken back below, unless reading fails.
        self.over = true;
        let Reading { number, bytes, lens } = reading;
        let old = self.begun.len();
        bytes[..old].copy_from_slice(&self.begun);
        let new = fill(self.content, &mut bytes[old..old + self.read_bytes])?;
        self.over = new < self.read_bytes;

        let end = old + new;
        let (mut begin, mut seen) = (0, old);
        lens.clear();
        while let Some(len) = self.segmenter.push(&bytes[seen..end]) {
            seen += len;
            lens.push((seen - begin) as u32);
            begin = seen;
        }
        if self.over && begin < end {
            lens.push((end - begin) as u32);
            begin = end;
        }
        self.begun.clear();
        self.begun.extend_from_slice(&bytes[begin..end]);
        *number = self.readings;
        self.readings += 1;
        Ok(!lens.is_empty() || !self.over)
    }
}

impl Reading {
    fn new(read_bytes: usize) -> Self {
        Self { number: 0, bytes: vec![0; MAX_SEGMENT_V2_BYTES as usize + read_bytes], lens: Vec::new() }
    }

    fn hash(&self, crypto: &mut impl Crypto, algorithm: HashAlgorithm) -> Vec<(Digest, u32)> {
        let mut rest = &self.bytes[..];
        let segments = self.lens.iter().map(|&len| {
            let segment;
            (segment, rest) = rest.split_at(len as usize);
            segment
        });
        let segments: Vec<&[u8]> = segments.collect();
        let mut digests = vec![Digest::EMPTY; segments.len()];
        crypto.hash_many(algorithm, &segments, &mut digests);
        digests.into_iter().zip(self.lens.iter().copied()).collect()
    }
}

/// Fills `buf`, but for what is behind the end.
fn fill(content: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match content.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Brings the hashes back into the order of the content.
struct Queue<'a, E> {
    state: Mutex<State<'a, E>>,
    turn: Condvar,
    room: u64,
}

struct State<'a, E> {
    each: &'a mut (dyn FnMut(&Digest, u32) -> Result<(), E> + Send),
    /// The reading whose turn it is.
    next: u64,
    /// Of readings behind it.
    hashed: BTreeMap<u64, Vec<(Digest, u32)>>,
    outcome: Result<(), E>,
}

impl<E> Queue<'_, E> {
    /// Takes the hashes of a reading; `false` if there is no use in more.
    fn push(&self, number: u64, hashes: Vec<(Digest, u32)>) -> bool {
        let waits = |state: &mut State<'_, E>| state.outcome.is_ok() && number >= state.next + self.room;
        // The lock is poisoned if `each` has panicked.
        let Ok(state) = self.state.lock() else { return false };
        let Ok(mut state) = self.turn.wait_while(state, waits) else { return false };
        state.hashed.insert(number, hashes);
        state.drain();
        self.turn.notify_all();
        state.outcome.is_ok()
    }

    fn fail(&self, error: E) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.outcome.is_ok() {
            state.outcome = Err(error);
        }
        self.turn.notify_all();
        false
    }
}

/// Wakes the other workers when one panics: its reading, for whose hashes they wait, never comes. Nobody sees
/// this error, since the scope passes the panic on.
struct Alarm<'q, 'a, E: From<io::Error>>(&'q Queue<'a, E>);

impl<E: From<io::Error>> Drop for Alarm<'_, '_, E> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(io::Error::other("a worker has panicked").into());
        }
    }
}

impl<'a, E> State<'a, E> {
    fn new(each: &'a mut (dyn FnMut(&Digest, u32) -> Result<(), E> + Send)) -> Self {
        Self { each, next: 0, hashed: BTreeMap::new(), outcome: Ok(()) }
    }

    fn drain(&mut self) {
        while self.outcome.is_ok()
            && let Some(hashes) = self.hashed.remove(&self.next)
        {
            self.next += 1;
            self.outcome = hashes.iter().try_for_each(|(digest, len)| (self.each)(digest, *len));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use peerdist_core::content::segmenter::SegmentLen;
    use peerdist_core::crypto::{CipherBlock, CipherKey, HashState, Secret, SoftCrypto, hash};

    use super::*;

    const ALGORITHM: HashAlgorithm = HashAlgorithm::Sha256;

    /// Gives a few bytes at a time, and fails at its end, if it is to.
    struct Dripping<'a> {
        rest: &'a [u8],
        fails: bool,
    }

    impl Read for Dripping<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let len = (self.rest.len() % 9_000 + 1).min(self.rest.len()).min(buf.len());
            if len == 0 && self.fails {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let (now, later) = self.rest.split_at(len);
            buf[..len].copy_from_slice(now);
            self.rest = later;
            Ok(len)
        }
    }

    fn hashes(
        content: &mut (dyn Read + Send),
        segmentation: Segmentation,
        stop_after: usize,
    ) -> (Vec<(Digest, u32)>, io::Result<()>) {
        let mut hashes = Vec::new();
        let mut each = |digest: &Digest, len| {
            hashes.push((*digest, len));
            if hashes.len() == stop_after { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        };
        let outcome = hash_segments(&SoftCrypto, cores(), ALGORITHM, segmentation, content, &mut each);
        (hashes, outcome)
    }

    fn content() -> Vec<u8> {
        (0..5_000_000u64).map(|i| (i * i / 1_000 % 257) as u8).collect()
    }

    #[test]
    fn hashes_come_in_order() {
        let content = content();
        for len in [1_000, 65_536, 99_991, 131_072] {
            for rest in [&content[..], &content[..2 << 20], &content[..70_000], &[]] {
                let segmentation = Segmentation::Fixed(SegmentLen::new(len).expect("a length"));
                let expected: Vec<(Digest, u32)> = rest
                    .chunks(len as usize)
                    .map(|segment| (hash(&mut SoftCrypto, ALGORITHM, segment), segment.len() as u32))
                    .collect();
                let (hashes, outcome) =
                    hashes(&mut Dripping { rest, fails: false }, segmentation, usize::MAX);
                outcome.expect("nothing fails");
                assert!(hashes == expected, "{len} {}", rest.len());
            }
        }
    }

    /// A provider that calls `before` with what it is to hash.
    #[derive(Clone)]
    struct Spied<F>(F);

    impl<F: Fn(&[&[u8]])> Crypto for Spied<F> {
        fn hash_start(&mut self, algorithm: HashAlgorithm) -> HashState {
            SoftCrypto.hash_start(algorithm)
        }

        fn hash_update(&mut self, state: &mut HashState, data: &[u8]) {
            SoftCrypto.hash_update(state, data);
        }

        fn hash_finish(&mut self, state: HashState) -> Digest {
            SoftCrypto.hash_finish(state)
        }

        fn hash_many(&mut self, algorithm: HashAlgorithm, messages: &[&[u8]], digests: &mut [Digest]) {
            (self.0)(messages);
            SoftCrypto.hash_many(algorithm, messages, digests);
        }

        fn hmac(&mut self, algorithm: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Secret {
            SoftCrypto.hmac(algorithm, key, parts)
        }

        fn cbc_encrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]) {
            SoftCrypto.cbc_encrypt(key, chain, blocks);
        }

        fn cbc_decrypt(&mut self, key: CipherKey<'_>, chain: &mut CipherBlock, blocks: &mut [CipherBlock]) {
            SoftCrypto.cbc_decrypt(key, chain, blocks);
        }
    }

    /// Counts the bytes that are read and not yet given on.
    struct Counting<'a> {
        content: &'a [u8],
        ahead: &'a AtomicUsize,
        most: usize,
    }

    impl Read for Counting<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let len = self.content.read(buf)?;
            self.most = self.most.max(self.ahead.fetch_add(len, Ordering::SeqCst) + len);
            Ok(len)
        }
    }

    #[test]
    fn workers_wait_for_their_turn() {
        const READ: usize = 1_000;
        let content = &content()[..500_000];
        for (workers, room) in [(1, 1), (3, 1), (3, 4)] {
            for (segmentation, len) in [
                (Segmentation::Fixed(SegmentLen::new(300).expect("a length")), Some(300)),
                (Segmentation::Fixed(SegmentLen::new(1_000).expect("a length")), Some(1_000)),
                (Segmentation::ContentDefined, None),
            ] {
                // Now and then a worker falls behind, and the others would run far ahead if they did not wait.
                let calls = AtomicUsize::new(0);
                let crypto = Spied(|_: &[&[u8]]| {
                    if calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(100) {
                        (0..1_000).for_each(|_| thread::yield_now());
                    }
                });
                let ahead = AtomicUsize::new(0);
                let mut hashes = Vec::new();
                let mut each = |digest: &Digest, len: u32| -> io::Result<()> {
                    hashes.push((*digest, len));
                    ahead.fetch_sub(len as usize, Ordering::SeqCst);
                    Ok(())
                };
                let mut source = Counting { content, ahead: &ahead, most: 0 };
                let scale = Scale { workers, room, read_bytes: READ };
                let outcome = scale.hash_segments(&crypto, ALGORITHM, segmentation, &mut source, &mut each);
                outcome.expect("nothing fails");
                // A reading in the hands of each worker, and those that are hashed.
                let held = (workers + room as usize) * READ;
                let begun = if len.is_none() { MAX_SEGMENT_V2_BYTES as usize } else { 0 };
                assert!(source.most <= held + begun, "{workers} {room} {len:?}: {}", source.most);
                let mut rest = content;
                for (digest, len) in hashes {
                    let segment;
                    (segment, rest) = rest.split_at(len as usize);
                    assert!(digest == hash(&mut SoftCrypto, ALGORITHM, segment));
                }
                assert_eq!((rest.len(), ahead.into_inner()), (0, 0));
            }
        }
    }

    /// Whether a panic is passed on, of a provider or of the receiver of hashes, at the given call.
    fn panics(crypto_at: usize, each_at: usize) -> bool {
        let calls = AtomicUsize::new(0);
        let crypto = Spied(|_: &[&[u8]]| {
            assert_ne!(calls.fetch_add(1, Ordering::SeqCst), crypto_at, "as it is to");
        });
        let mut given = 0;
        let mut each = |_: &Digest, _: u32| -> io::Result<()> {
            given += 1;
            assert_ne!(given, each_at, "as it is to");
            Ok(())
        };
        let content = content();
        let scale = Scale { workers: 3, room: 1, read_bytes: 1_000 };
        let segmentation = Segmentation::Fixed(SegmentLen::new(1_000).expect("a length"));
        let run = || {
            _ = scale.hash_segments(&crypto, ALGORITHM, segmentation, &mut &content[..], &mut each);
        };
        catch_unwind(AssertUnwindSafe(run)).is_err()
    }

    #[test]
    fn a_panic_is_passed_on() {
        assert!(!panics(usize::MAX, usize::MAX));
        for at in [0, 1, 2, 100] {
            assert!(panics(at, usize::MAX), "{at}");
            assert!(panics(usize::MAX, at + 1), "{at}");
        }
    }

    #[test]
    fn the_first_failure_ends_it() {
        let content = content();
        let mut source = Dripping { rest: &content, fails: true };
        let (_, outcome) = hashes(&mut source, Segmentation::ContentDefined, usize::MAX);
        assert_eq!(outcome.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        let mut source = Dripping { rest: &content, fails: false };
        let (hashes, outcome) = hashes(&mut source, Segmentation::ContentDefined, 3);
        assert_eq!(outcome.map_err(|error| error.kind()), Err(io::ErrorKind::StorageFull));
        assert_eq!(hashes.len(), 3);
    }
}
