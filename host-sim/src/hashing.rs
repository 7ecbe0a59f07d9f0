//! Content is hashed by all cores, in one pass and in a few MiB, whatever its length.
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
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;

use peerdist_core::content::segmenter::{Segmentation, Segmenter};
use peerdist_core::crypto::{Crypto, Digest, HashAlgorithm};
use peerdist_core::limits::MAX_SEGMENT_V2_BYTES;

/// Bytes that are read at a time: about as many as the second-level cache of a core takes, and
/// segments enough to fill the lanes of its vector unit twice.
const READ_BYTES: usize = 1_024 * 1_024;

/// Segments of one reading: their digests stay below what the bytes take.
const READ_SEGMENTS: usize = 2_048;

/// Workers: what they hold is at most 20 MiB in all.
const MAX_WORKERS: usize = 16;

/// Readings that may be hashed before their turn, for each worker: a worker that the system has
/// stopped for a while does not stop the others at once.
const AHEAD: u64 = 4;

/// Cuts `content` as `segmentation` says, hashes the segments with all cores, each core with a
/// `crypto` of its own, and gives `each` the digests and lengths in the order of the content.
///
/// Stops at the first error of `content` or `each`.
pub fn hash_segments<C: Crypto + Clone + Send, E: From<io::Error> + Send>(
    crypto: &C,
    algorithm: HashAlgorithm,
    segmentation: Segmentation,
    content: &mut (dyn Read + Send),
    each: &mut (dyn FnMut(&Digest, u32) -> Result<(), E> + Send),
) -> Result<(), E> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_WORKERS);
    let cutter = Mutex::new(Cutter::new(segmentation, content));
    let room = AHEAD * workers as u64;
    let queue = Queue { state: Mutex::new(State::new(each)), turn: Condvar::new(), room };
    let work = |mut crypto: C| {
        let mut reading = Reading::new();
        loop {
            let next = lock(&cutter).read(&mut reading);
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
        // The last worker is this thread.
        for _ in 1..workers {
            let crypto = crypto.clone();
            scope.spawn(|| work(crypto));
        }
        work(crypto.clone());
    });
    queue.state.into_inner().expect("no worker has panicked").outcome
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no worker has panicked")
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
    fn new(segmentation: Segmentation, content: &'a mut (dyn Read + Send)) -> Self {
        let read_bytes = match segmentation {
            // A multiple of the length, if there is one, leaves no segment begun.
            Segmentation::Fixed(len) => {
                let len = len.get() as usize;
                (READ_BYTES - READ_BYTES % len).min(READ_SEGMENTS * len)
            }
            Segmentation::ContentDefined => READ_BYTES,
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
    fn new() -> Self {
        Self { number: 0, bytes: vec![0; MAX_SEGMENT_V2_BYTES as usize + READ_BYTES], lens: Vec::new() }
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
        let mut state = self.turn.wait_while(lock(&self.state), waits).expect("no worker has panicked");
        state.hashed.insert(number, hashes);
        state.drain();
        self.turn.notify_all();
        state.outcome.is_ok()
    }

    fn fail(&self, error: E) -> bool {
        let mut state = lock(&self.state);
        if state.outcome.is_ok() {
            state.outcome = Err(error);
        }
        self.turn.notify_all();
        false
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
    use peerdist_core::content::segmenter::SegmentLen;
    use peerdist_core::crypto::{SoftCrypto, hash};

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
        let outcome = hash_segments(&SoftCrypto, ALGORITHM, segmentation, content, &mut each);
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
