//! Content information is made in the background, of one file at a time, by as many cores as it may have.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use peerdist_core::content::publish::PublishError;
use peerdist_core::content::segmenter::Segmentation;
use peerdist_core::content::v1::info_len;
use peerdist_core::crypto::HashAlgorithm;
use zeroize::Zeroizing;

use super::cache::{HashCache, Sink};
use super::files::{Opened, Refusal, Root, SETTLE, State};
use crate::publish::{self, Layout, Order, publish};

/// Files that wait to be hashed, at most. Who asks for one more is told to come again all the same.
const MAX_WAITING: usize = 4_096;

/// How often a file is begun again that has just changed, or does while it is hashed. Then somebody has to ask for it anew.
const MAX_CHANGES: u32 = 5;

/// How long the walk through the folder rests where files are hashed before anybody asks.
const WALK_PAUSE: Duration = Duration::from_secs(60);

/// The hash of content information 1.0.
const ALGORITHM: HashAlgorithm = HashAlgorithm::Sha256;

/// When files are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// When a client asks for one that wants content information.
    Asked,
    /// All, and new ones within minutes; those that somebody asks for come first.
    Always,
}

/// Where a file is on its way to content information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nobody has asked for it.
    Idle,
    /// Others come first, or it has just been written.
    Waiting,
    /// It is being hashed.
    Hashing,
}

/// How much was hashed.
#[derive(Debug, Default)]
pub struct Counters {
    /// Files of which there is content information since.
    pub files: AtomicU64,
    /// Bytes that were read for it, twice for both versions.
    pub bytes: AtomicU64,
    /// Files that would not stay as they were, or could not be read, or their content information not kept.
    pub failures: AtomicU64,
}

/// What the thread needs.
pub struct Task {
    /// The files.
    pub root: Arc<Root>,
    /// Where the content information goes.
    pub cache: Arc<HashCache>,
    /// The server secret key.
    pub key: Zeroizing<Vec<u8>>,
    /// Bytes of the shortest file that is hashed; at least one.
    pub min_size: u64,
    /// Cores that hash at once.
    pub workers: usize,
    /// When files are hashed.
    pub when: When,
    /// Is told, in a line, what fails.
    pub tell: fn(&str),
}

/// The thread that hashes.
pub struct Hasher {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something was asked for, or it is to end.
    wake: Condvar,
    /// One file more has been worked on.
    done: Condvar,
    ends: AtomicBool,
    counters: Counters,
}

#[derive(Default)]
struct Queue {
    asked: VecDeque<Job>,
    now: Option<PathBuf>,
}

struct Job {
    path: PathBuf,
    due: Instant,
    changes: u32,
}

impl Queue {
    fn has(&self, path: &Path) -> bool {
        self.now.as_deref() == Some(path) || self.asked.iter().any(|job| job.path == path)
    }
}

impl Hasher {
    /// Starts the thread.
    pub fn start(task: Task) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new().name("hasher".into()).spawn({
            let shared = shared.clone();
            move || task.run(&shared)
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Asks for the content information of a file.
    pub fn ask(&self, path: &Path) {
        if self.progress(path) == Progress::Idle {
            self.shared.push(path, Duration::ZERO, 0);
        }
    }

    /// Where the file is.
    pub fn progress(&self, path: &Path) -> Progress {
        let queue = self.shared.queue();
        match () {
            () if queue.now.as_deref() == Some(path) => Progress::Hashing,
            () if queue.has(path) => Progress::Waiting,
            () => Progress::Idle,
        }
    }

    /// Waits until the file is neither hashed nor to be, but no longer than this.
    pub fn wait_for(&self, path: &Path, patience: Duration) {
        let end = Instant::now() + patience;
        let mut queue = self.shared.queue();
        while queue.has(path) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = match self.shared.done.wait_timeout(queue, left) {
                Ok((queue, _)) => queue,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Files that somebody waits for.
    pub fn waiting(&self) -> u64 {
        let queue = self.shared.queue();
        queue.asked.len() as u64 + u64::from(queue.now.is_some())
    }

    /// How much was hashed.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Gives up what is under way, and waits until that is done.
    pub fn end(&self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        self.shared.wake.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Should it have panicked, its message is out.
        _ = thread.map(JoinHandle::join);
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, path: &Path, after: Duration, changes: u32) {
        let mut queue = self.queue();
        if queue.asked.len() >= MAX_WAITING || queue.asked.iter().any(|job| job.path == path) {
            return;
        }
        queue.asked.push_back(Job { path: path.into(), due: Instant::now() + after, changes });
        self.wake.notify_all();
    }

    /// The next file that somebody has asked for, which is waited for until `latest`, if it is given.
    fn next(&self, latest: Option<Instant>) -> Option<Job> {
        let mut queue = self.queue();
        queue.now = None;
        self.done.notify_all();
        loop {
            let now = Instant::now();
            if self.ends.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(at) = queue.asked.iter().position(|job| job.due <= now) {
                let job = queue.asked.remove(at)?;
                queue.now = Some(job.path.clone());
                return Some(job);
            }
            if latest.is_some_and(|latest| latest <= now) {
                return None;
            }
            let due = queue.asked.iter().map(|job| job.due).chain(latest).min();
            queue = match due {
                Some(due) => match self.wake.wait_timeout(queue, due - now) {
                    Ok((queue, _)) => queue,
                    Err(poisoned) => poisoned.into_inner().0,
                },
                None => self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Why there is no content information of a file.
#[derive(Debug)]
enum Failure {
    /// It was just written.
    Fresh,
    /// It has changed.
    Changed,
    /// The server ends.
    Ends,
    /// It is not there any more, or too short.
    Gone,
    File(io::Error),
    Cache(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Cache(error)
    }
}

impl Task {
    fn run(&self, shared: &Shared) {
        let mut walk = (self.when == When::Always).then(|| self.root.walk());
        let mut rest = None;
        while !shared.ends.load(Ordering::Relaxed) {
            // While there are files to walk to, nobody is waited for.
            let latest = match (&walk, rest) {
                (Some(_), _) => Some(Instant::now()),
                (None, rest) => rest,
            };
            if let Some(job) = shared.next(latest) {
                self.work(shared, &job);
            } else if let Some(files) = &mut walk {
                match files.next() {
                    Some(path) => self.visit(shared, path),
                    None => (walk, rest) = (None, Some(Instant::now() + WALK_PAUSE)),
                }
            } else if self.when == When::Always {
                walk = Some(self.root.walk());
            }
        }
    }

    /// Hashes a file on the way through the folder, unless it was before.
    fn visit(&self, shared: &Shared, path: PathBuf) {
        let Ok(Opened { state, .. }) = self.root.open_file(&path) else { return };
        if state.len >= self.min_size && !self.cache.seems_here(&path, &state) {
            shared.queue().now = Some(path.clone());
            self.work(shared, &Job { path, due: Instant::now(), changes: 0 });
        }
    }

    fn work(&self, shared: &Shared, job: &Job) {
        let failed = |of: &Path, error: io::Error| {
            shared.counters.failures.fetch_add(1, Ordering::Relaxed);
            (self.tell)(&format!("{}: {error}", of.display()));
        };
        match self.describe(shared, &job.path) {
            Ok(()) | Err(Failure::Ends | Failure::Gone) => {}
            Err(Failure::Fresh | Failure::Changed) if job.changes < MAX_CHANGES => {
                shared.push(&job.path, SETTLE, job.changes + 1);
            }
            Err(Failure::Fresh | Failure::Changed) => {
                shared.counters.failures.fetch_add(1, Ordering::Relaxed);
            }
            Err(Failure::File(error)) => failed(&job.path, error),
            Err(Failure::Cache(error)) => failed(self.cache.folder(), error),
        }
    }

    /// Makes the content information of a file, if it stays as it is meanwhile.
    fn describe(&self, shared: &Shared, path: &Path) -> Result<(), Failure> {
        let Opened { mut file, state } = self.root.open_file(path).map_err(|refusal| match refusal {
            Refusal::Failed(error) => Failure::File(error),
            _ => Failure::Gone,
        })?;
        if state.len < self.min_size {
            return Err(Failure::Gone);
        }
        if !state.is_settled(SystemTime::now()) {
            return Err(Failure::Fresh);
        }
        if self.cache.get(path, &state).is_some() {
            return Ok(());
        }
        let len_v1 = info_len(ALGORITHM, state.len).ok_or(Failure::Gone)?;
        self.cache.put(path, state, len_v1, |v1, v2| {
            self.publish(shared, &mut file, &state, Layout::V1(ALGORITHM), v1)?;
            let len =
                self.publish(shared, &mut file, &state, Layout::V2(Segmentation::ContentDefined), v2)?;
            // A change between the two readings shows here, too.
            match State::of(&file).map_err(Failure::File)? == state {
                true => Ok(len),
                false => Err(Failure::Changed),
            }
        })?;
        shared.counters.files.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Reads the file from its beginning, and returns the bytes of its content information.
    fn publish(
        &self,
        shared: &Shared,
        file: &mut File,
        state: &State,
        layout: Layout,
        sink: &mut Sink,
    ) -> Result<u64, Failure> {
        io::Seek::rewind(file).map_err(Failure::File)?;
        let mut content = Watched { file, shared };
        let order = Order { layout, key: &self.key, workers: self.workers, watch: &mut |_| {} };
        match publish(&mut content, Some(state.len), order, sink) {
            Ok(info) => info.map(|info| info.encoded_len()).ok_or(Failure::Gone),
            Err(_) if shared.ends.load(Ordering::Relaxed) => Err(Failure::Ends),
            Err(publish::Error::Changed) => Err(Failure::Changed),
            Err(publish::Error::Publish(error @ PublishError::Sink(_))) => {
                Err(Failure::Cache(sink.take_error().unwrap_or_else(|| io::Error::other(error))))
            }
            Err(publish::Error::Content(error)) => Err(Failure::File(error)),
            Err(error) => Err(Failure::File(io::Error::other(error))),
        }
    }
}

/// A file that is read, and counted, until the server ends.
struct Watched<'a> {
    file: &'a mut File,
    shared: &'a Shared,
}

impl Read for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.shared.ends.load(Ordering::Relaxed) {
            return Err(io::Error::other("the server ends"));
        }
        let read = self.file.read(buf)?;
        self.shared.counters.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
