//! Content information is made in the background, of one file at a time, by as many cores as it may have.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use peerdist_core::content::publish::PublishError;
use peerdist_core::content::segmenter::{MIN_SEGMENT_BYTES, Segmentation};
use peerdist_core::content::v1::info_len;
use peerdist_core::crypto::HashAlgorithm;
use zeroize::Zeroizing;

use super::cache::{HashCache, Sink};
use super::files::{Opened, Refusal, Root, SETTLE, State, Walk};
use crate::publish::{self, Layout, Order, publish};

/// Files that wait to be hashed, at most. Who asks for one more is told to come again all the same.
const MAX_WAITING: usize = 4_096;

/// How often a file is begun again that has just changed, or does while it is hashed. Then somebody has to ask for it anew.
const MAX_CHANGES: u32 = 5;

/// How long the walk through the folder rests where files are hashed before anybody asks.
const WALK_PAUSE: Duration = Duration::from_secs(60);

/// How long it rests where the hash cache fails: a full disk stays full for a while, and every walk would read
/// a file in vain.
const FAULT_PAUSE: Duration = Duration::from_secs(3_600);

/// The hash of content information 1.0.
const ALGORITHM: HashAlgorithm = HashAlgorithm::Sha256;

/// Bytes of content information 2.0, at most: of a segment, in a chunk of its own, and before all of them.
const SEGMENT_V2_BYTES: u64 = 68 + 5;
const HEADER_V2_BYTES: u64 = 64;

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
    /// Their bytes.
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
    counters: Counters,
}

#[derive(Default)]
struct Queue {
    asked: VecDeque<Job>,
    now: Option<Now>,
    /// Here, or else it could come between a look at it and the wait that follows, which nobody would end.
    ends: bool,
}

/// What is being hashed.
struct Now {
    path: PathBuf,
    /// A client has asked for it since that began.
    asked: bool,
}

struct Job {
    path: PathBuf,
    due: Instant,
    changes: u32,
    /// By a client: then the content information of others may have to go for it.
    asked: bool,
}

/// What the walks through the folder have found out.
#[derive(Default)]
struct Learned {
    /// Files that could not be hashed, in these states: once more would be of no use.
    failed: HashMap<PathBuf, State>,
    /// On this walk, the hash cache has been rid of what is of no use.
    swept: bool,
    /// There was no room, and that was told.
    full: bool,
    /// The hash cache fails: so would it with the next file.
    fault: bool,
}

impl Learned {
    /// A walk begins.
    fn begin(&mut self, root: &Root) {
        (self.swept, self.fault) = (false, false);
        self.failed.retain(|path, state| is_there(root, path, state));
    }
}

fn is_there(root: &Root, path: &Path, state: &State) -> bool {
    root.open_file(path).is_ok_and(|opened| opened.state == *state)
}

impl Queue {
    fn begin(&mut self, path: &Path) {
        self.now = Some(Now { path: path.into(), asked: false });
    }

    fn is_now(&self, path: &Path) -> bool {
        self.now.as_ref().is_some_and(|now| now.path == path)
    }

    fn has(&self, path: &Path) -> bool {
        self.is_now(path) || self.asked.iter().any(|job| job.path == path)
    }

    fn push(&mut self, job: Job) {
        if let Some(waiting) = self.asked.iter_mut().find(|waiting| waiting.path == job.path) {
            waiting.asked |= job.asked;
        } else if self.asked.len() < MAX_WAITING {
            self.asked.push_back(job);
        }
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
        self.shared.ask(path);
    }

    /// Where the file is.
    pub fn progress(&self, path: &Path) -> Progress {
        let queue = self.shared.queue();
        match () {
            () if queue.is_now(path) => Progress::Hashing,
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
        self.shared.end();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Should it have panicked, its message is out.
        _ = thread.map(JoinHandle::join);
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, path: &Path) {
        let mut queue = self.queue();
        match &mut queue.now {
            Some(now) if now.path == path => now.asked = true,
            _ => queue.push(Job { path: path.into(), due: Instant::now(), changes: 0, asked: true }),
        }
        self.wake.notify_all();
    }

    /// Has what was being hashed wait again, for a client if one has asked for it meanwhile.
    fn again(&self, mut job: Job) {
        let mut queue = self.queue();
        job.asked |= queue.now.take().is_some_and(|now| now.asked);
        queue.push(job);
    }

    /// Whether a client has asked for what is being hashed since that began. If not, that is over: who asks from
    /// here on has it begun anew.
    fn is_asked(&self) -> bool {
        let mut queue = self.queue();
        queue.now.take_if(|now| !now.asked);
        queue.now.is_some()
    }

    fn end(&self) {
        self.queue().ends = true;
        self.wake.notify_all();
    }

    fn ends(&self) -> bool {
        self.queue().ends
    }

    /// The next file that somebody has asked for, which is waited for until `latest`, if it is given.
    fn next(&self, latest: Option<Instant>) -> Option<Job> {
        let mut queue = self.queue();
        queue.now = None;
        self.done.notify_all();
        loop {
            let now = Instant::now();
            if queue.ends {
                return None;
            }
            if let Some(at) = queue.asked.iter().position(|job| job.due <= now) {
                let job = queue.asked.remove(at)?;
                queue.begin(&job.path);
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
    /// The content information of others would have to go for it.
    Full,
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
        let (mut rest, mut learned) = (None, Learned::default());
        while !shared.ends() {
            // While there are files to walk to, nobody is waited for.
            let latest = match (&walk, rest) {
                (Some(_), _) => Some(Instant::now()),
                (None, rest) => rest,
            };
            if let Some(job) = shared.next(latest) {
                self.work(shared, &mut learned, job);
            } else if let Some(files) = &mut walk {
                if !self.step(shared, &mut learned, files) {
                    let pause = if learned.fault { FAULT_PAUSE } else { WALK_PAUSE };
                    (walk, rest) = (None, Some(Instant::now() + pause));
                }
            } else if self.when == When::Always {
                learned.begin(&self.root);
                walk = Some(self.root.walk());
            }
        }
    }

    /// Goes on to the next file of a walk, unless that is over.
    fn step(&self, shared: &Shared, learned: &mut Learned, walk: &mut Walk) -> bool {
        let next = walk.next().filter(|_| !learned.fault);
        next.map(|path| self.visit(shared, learned, path)).is_some()
    }

    /// Hashes a file on the way through the folder, unless it was before, or cannot be.
    fn visit(&self, shared: &Shared, learned: &mut Learned, path: PathBuf) {
        let Ok(Opened { state, .. }) = self.root.open_file(&path) else { return };
        let failed = learned.failed.get(&path) == Some(&state);
        if state.len >= self.min_size && !failed && !self.cache.seems_here(&path, &state) {
            shared.queue().begin(&path);
            self.work(shared, learned, Job { path, due: Instant::now(), changes: 0, asked: false });
        }
    }

    fn work(&self, shared: &Shared, learned: &mut Learned, job: Job) {
        let failed = |of: &Path, error: io::Error| {
            shared.counters.failures.fetch_add(1, Ordering::Relaxed);
            (self.tell)(&format!("{}: {error}", of.display()));
        };
        let opened = match self.root.open_file(&job.path) {
            Ok(opened) if opened.state.len >= self.min_size => opened,
            Err(Refusal::Failed(error)) => return failed(&job.path, error),
            // It is not there any more, or too short.
            _ => return,
        };
        let state = opened.state;
        match self.describe(shared, learned, &job, opened) {
            Ok(()) | Err(Failure::Ends | Failure::Gone) => {}
            Err(Failure::Fresh | Failure::Changed) if job.changes < MAX_CHANGES => {
                shared.again(Job { due: Instant::now() + SETTLE, changes: job.changes + 1, ..job });
            }
            // Nothing was read, and the next state is about to come.
            Err(Failure::Fresh) => _ = shared.counters.failures.fetch_add(1, Ordering::Relaxed),
            Err(failure @ (Failure::Changed | Failure::File(_))) => {
                let error = match failure {
                    Failure::File(error) => error,
                    _ => io::Error::other("does not stay as it is while it is hashed"),
                };
                failed(&job.path, error);
                if self.when == When::Always {
                    learned.failed.insert(job.path, state);
                }
            }
            Err(Failure::Cache(error)) => {
                failed(self.cache.folder(), error);
                learned.fault = true;
            }
            Err(Failure::Full) if shared.is_asked() => shared.again(job),
            Err(Failure::Full) if learned.full => {}
            Err(Failure::Full) => {
                learned.full = true;
                let folder = self.cache.folder().display();
                let why =
                    "full, so not all files are hashed before a client asks: --hash-cache-size is too small";
                (self.tell)(&format!("{folder}: {why}"));
            }
        }
    }

    /// Makes the content information of a file, if it stays as it is meanwhile.
    fn describe(
        &self,
        shared: &Shared,
        learned: &mut Learned,
        Job { path, asked, .. }: &Job,
        Opened { mut file, state }: Opened,
    ) -> Result<(), Failure> {
        if !state.is_settled(SystemTime::now()) {
            return Err(Failure::Fresh);
        }
        if self.cache.get(path, &state).is_some() {
            return Ok(());
        }
        let len_v1 = info_len(ALGORITHM, state.len).ok_or(Failure::Gone)?;
        // What nobody has asked for makes no room: with more files than there is room for, all would be hashed
        // again and again.
        if !asked && !self.has_room(learned, path, &state, len_v1)? {
            return Err(Failure::Full);
        }
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
        shared.counters.bytes.fetch_add(state.len, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the content information of a file has room beside all that is of use, at its longest: how long it
    /// is shows only when the file has been read.
    fn has_room(
        &self,
        learned: &mut Learned,
        path: &Path,
        state: &State,
        len_v1: u64,
    ) -> Result<bool, Failure> {
        let segments = state.len.div_ceil(MIN_SEGMENT_BYTES.into());
        let most = len_v1 + HEADER_V2_BYTES + segments.saturating_mul(SEGMENT_V2_BYTES);
        if !self.cache.has_room(path, most) && !learned.swept {
            learned.swept = true;
            self.cache.sweep(|path, state| is_there(&self.root, path, state))?;
        }
        Ok(self.cache.has_room(path, most))
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
            Err(_) if shared.ends() => Err(Failure::Ends),
            Err(publish::Error::Changed) => Err(Failure::Changed),
            Err(publish::Error::Publish(error @ PublishError::Sink(_))) => {
                Err(Failure::Cache(sink.take_error().unwrap_or_else(|| io::Error::other(error))))
            }
            Err(publish::Error::Content(error)) => Err(Failure::File(error)),
            Err(error) => Err(Failure::File(io::Error::other(error))),
        }
    }
}

/// A file that is read until the server ends.
struct Watched<'a> {
    file: &'a mut File,
    shared: &'a Shared,
}

impl Read for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.shared.ends() {
            return Err(io::Error::other("the server ends"));
        }
        self.file.read(buf)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    const LEN: u64 = 300_000;

    /// A folder with these files, which have been there for a while, and a hash cache of so many bytes.
    fn task(names: &[&str], max_bytes: u64, tell: fn(&str)) -> (TempDir, Task) {
        let folder = tempfile::tempdir().expect("a folder");
        let (root, cache) = (folder.path().join("root"), folder.path().join("cache"));
        for folder in [&root, &cache] {
            fs::create_dir(folder).expect("a writable folder");
        }
        for name in names {
            fs::write(root.join(name), vec![7; LEN as usize]).expect("a writable folder");
        }
        let task = Task {
            root: Arc::new(Root::open(&root).expect("a folder")),
            cache: Arc::new(HashCache::open(&cache, b"key", max_bytes).expect("a writable folder")),
            key: Zeroizing::new(b"key".to_vec()),
            min_size: 1,
            workers: 1,
            when: When::Always,
            tell,
        };
        names.iter().for_each(|name| settle(&task, name));
        (folder, task)
    }

    fn settle(task: &Task, name: &str) {
        while !state(task, name).is_settled(SystemTime::now()) {
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn state(task: &Task, name: &str) -> State {
        task.root.open_file(Path::new(name)).expect("it is there").state
    }

    fn walk(task: &Task, shared: &Shared, learned: &mut Learned) {
        learned.begin(&task.root);
        let mut walk = task.root.walk();
        while task.step(shared, learned, &mut walk) {}
    }

    fn count(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    #[test]
    fn walks_end_where_the_hash_cache_is_full() {
        static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let tell = |line: &str| TOLD.lock().expect("nobody panics").push(line.into());
        let (_first, task) = task(&["a"], u64::MAX, tell);
        let (shared, mut learned) = (Shared::default(), Learned::default());
        walk(&task, &shared, &mut learned);
        assert_eq!((count(&shared.counters.files), count(&shared.counters.bytes)), (1, LEN));
        let one = task.cache.bytes();
        drop(task);

        let names = ["a", "b", "c", "d", "e", "f"];
        // Of these three have room, and perhaps one more, which is not certain before it is hashed.
        let (folder, task) = super::tests::task(&names, 4 * one, tell);
        for _ in 0..3 {
            walk(&task, &shared, &mut learned);
        }
        let is_here = |name: &&str| task.cache.seems_here(Path::new(name), &state(&task, name));
        let here: Vec<&str> = names.into_iter().filter(is_here).collect();
        assert_eq!((here.len(), count(&shared.counters.files), task.cache.count()), (3, 4, 3));
        let told = std::mem::take(&mut *TOLD.lock().expect("nobody panics"));
        assert!(told.len() == 1 && told[0].contains("--hash-cache-size"), "{told:?}");

        // A client gets what it asks for; then the oldest has to go, and does not come back by itself.
        let away = names.into_iter().find(|name| !is_here(name)).expect("three of six");
        for name in [away, "a", "b", "c", "d", "e", "f", away] {
            let job = Job { path: name.into(), due: Instant::now(), changes: 0, asked: true };
            task.work(&shared, &mut learned, job);
            assert!(is_here(&name), "{name}");
        }
        let files = count(&shared.counters.files);
        walk(&task, &shared, &mut learned);
        assert!(is_here(&away) && count(&shared.counters.files) == files);

        // What is of files that are gone has to make room.
        for name in names.into_iter().filter(is_here) {
            fs::remove_file(folder.path().join("root").join(name)).expect("it is ours");
        }
        walk(&task, &shared, &mut learned);
        let left = task.root.walk().count();
        assert!(left > 0 && task.cache.count() == left.min(3) as u64, "{left}");
        assert_eq!(TOLD.lock().expect("nobody panics").len(), 0, "it was told before");
    }

    /// A file of sysfs has fewer bytes than it says.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_cannot_be_hashed_is_not_read_again_until_it_changes() {
        static TOLD: AtomicU64 = AtomicU64::new(0);
        const NAME: &str = "online";
        let (_folder, task) = task(&[], u64::MAX, |_| _ = TOLD.fetch_add(1, Ordering::Relaxed));
        let root = Root::open(&Path::new("/sys/devices/system/cpu").join(NAME)).expect("there are some");
        let task = Task { root: Arc::new(root), ..task };
        settle(&task, NAME);
        let (shared, mut learned) = (Shared::default(), Learned::default());
        walk(&task, &shared, &mut learned);
        let last = Job { changes: MAX_CHANGES, ..shared.queue().asked.pop_front().expect("begun again") };
        task.work(&shared, &mut learned, last);
        for _ in 0..3 {
            walk(&task, &shared, &mut learned);
        }
        assert!(shared.queue().asked.is_empty(), "begun again");
        assert_eq!((count(&shared.counters.failures), count(&TOLD)), (1, 1));
        let before = State { modified: 0, ..state(&task, NAME) };
        learned.failed.insert(NAME.into(), before);
        walk(&task, &shared, &mut learned);
        assert_eq!(shared.queue().asked.len(), 1, "it has changed");
    }

    #[test]
    fn who_asks_for_what_a_walk_hashes_is_heard() {
        let (_folder, task) = task(&["a"], 1, |_| {});
        let (path, mut learned) = (Path::new("a"), Learned::default());
        let shared = Shared::default();
        let walked = |shared: &Shared| {
            shared.queue().begin(path);
            Job { path: path.into(), due: Instant::now(), changes: 0, asked: false }
        };
        // There is no room unless somebody asks.
        let job = walked(&shared);
        shared.ask(path);
        task.work(&shared, &mut learned, job);
        let job = shared.next(Some(Instant::now())).expect("begun again");
        task.work(&shared, &mut learned, job);
        assert!(task.cache.seems_here(path, &state(&task, "a")) && !learned.full);

        // It is begun again, be it asked for before that or behind it.
        for asked in [[true, false], [false, true], [false, false]] {
            let shared = Shared::default();
            let job = walked(&shared);
            let [before, behind] = asked.map(|asked| {
                move |shared: &Shared| {
                    if asked {
                        shared.ask(path)
                    }
                }
            });
            before(&shared);
            shared.again(job);
            behind(&shared);
            let jobs: Vec<bool> = shared.queue().asked.iter().map(|job| job.asked).collect();
            assert_eq!(jobs, [asked.contains(&true)], "{asked:?}");
        }
        // Nobody has asked by the end, and who does from then on is not late.
        let shared = Shared::default();
        walked(&shared);
        assert!(!shared.is_asked());
        shared.ask(path);
        assert_eq!(shared.queue().asked.len(), 1);
    }

    #[test]
    fn a_hash_cache_that_fails_ends_the_walk() {
        let (folder, task) = task(&["a", "b", "c"], u64::MAX, |_| {});
        fs::remove_dir_all(folder.path().join("cache")).expect("it is ours");
        let (shared, mut learned) = (Shared::default(), Learned::default());
        let mut walk = task.root.walk();
        while task.step(&shared, &mut learned, &mut walk) {}
        assert_eq!(count(&shared.counters.failures), 1);
    }
}
