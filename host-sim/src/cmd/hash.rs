//! `peerdist hash`: content information of files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Seek as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use peerdist_core::content::publish::PublishError;
use peerdist_core::content::segmenter::{SegmentLen, Segmentation};
use peerdist_core::content::{EmitError, EndForm, Info};
use peerdist_core::crypto::HashAlgorithm;
use peerdist_hal::file::InfoFile;
use peerdist_sim::hashing::cores;
use peerdist_sim::publish::{self, Layout, Order, publish, publish_file};
use peerdist_sim::scenario::parse_size;
use zeroize::Zeroizing;

use super::info::count;
use super::secret::SecretArgs;
use super::temporary::{Output, Spool, folder_of, follow};
use super::{Ending, Failure, bar, one_line, print, tell, unbuffered, written};

/// What `--help` says at its end.
const EXIT_CODES: &str = "\
Exit codes:
  0  there is content information of every FILE
  2  of one there is none: for each, one line on stderr says why";

/// Bytes of a key that is drawn: as many as SHA-256 has.
const RANDOM_KEY_BYTES: usize = 32;

/// Makes the content information of files: the hashes and secrets by which peers find and decrypt their blocks.
///
/// INFO appears when it is complete; until then an older one stays. It holds the segment secrets, with which
/// anybody can read the content from the cache of a peer: only its owner may read it.
///
/// Of empty content, INFO is a header without segments, which no protocol carries. With --range, the whole FILE
/// is hashed all the same. Without a key a random one is used, and said so.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// The files to hash; - for stdin, alone
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The file to write, - for stdout; of several FILEs, the folder for a FILE.info each
    #[arg(short, long, value_name = "INFO")]
    output: PathBuf,

    /// The version of the content information
    #[arg(long, value_name = "VERSION", default_value = "1", allow_hyphen_values = true)]
    content_info: ContentInfo,

    /// The hash of version 1; version 2 has one of its own [default: sha256]
    #[arg(long, value_name = "ALGORITHM", ignore_case = true, allow_hyphen_values = true)]
    algo: Option<Algorithm>,

    #[command(flatten)]
    secret: SecretArgs,

    /// Describe only the bytes from A up to, not including, B
    #[arg(long, value_name = "A-B", allow_hyphen_values = true, value_parser = parse_range)]
    range: Option<Range<u64>>,

    /// Bytes of a segment of version 2: 1 to 131072 [default: cut where the content says so, near 64KiB]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = parse_segment_len)]
    segment_size: Option<SegmentLen>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ContentInfo {
    #[value(name = "1")]
    V1,
    #[value(name = "2")]
    V2,
}

#[derive(Clone, Copy, ValueEnum)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

fn parse_range(text: &str) -> Result<Range<u64>, &'static str> {
    let (start, end) = text.split_once('-').ok_or("not A-B")?;
    let number = |text: &str| text.parse().map_err(|_| "not two numbers of bytes, A-B");
    match number(start)?..number(end)? {
        range if range.is_empty() => Err("no bytes: B is the first that is left out"),
        range => Ok(range),
    }
}

fn parse_segment_len(text: &str) -> Result<SegmentLen, &'static str> {
    let bytes = parse_size(text).map_err(|_| "not a number of bytes from 1 to 131072")?;
    u32::try_from(bytes).ok().and_then(SegmentLen::new).ok_or("a segment has 1 to 131072 bytes")
}

/// Hashes the files and prints a line for each.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let layout = args.layout()?;
    let jobs = args.jobs()?;
    let (key, drawn) = match args.secret.key()? {
        Some(key) => (key, false),
        None => (random_key()?, true),
    };
    let mut failed = 0;
    for job in &jobs {
        match job.run(layout, &key, args.range.clone()) {
            Ok(line) => print(&line)?,
            Err(failure) => {
                failure.tell();
                failed += 1;
            }
        }
    }
    if drawn && failed < jobs.len() {
        tell("a random key was used: the segment secrets (Kp) cannot be derived again");
    }
    Ok(if failed == 0 { Ending::Good } else { Ending::Partial })
}

impl Args {
    fn layout(&self) -> Result<Layout, Failure> {
        let wrong = |text: &str| Err(Failure(text.into()));
        match (self.content_info, self.algo, self.segment_size) {
            (ContentInfo::V1, _, Some(_)) => {
                wrong("--segment-size: segments of content information 1 have 32 MiB; add --content-info 2")
            }
            (ContentInfo::V2, Some(_), _) => {
                wrong("--algo: content information 2 has one hash, SHA-512 cut to 32 bytes")
            }
            (ContentInfo::V1, algorithm, None) => Ok(Layout::V1(match algorithm {
                None | Some(Algorithm::Sha256) => HashAlgorithm::Sha256,
                Some(Algorithm::Sha384) => HashAlgorithm::Sha384,
                Some(Algorithm::Sha512) => HashAlgorithm::Sha512,
            })),
            (ContentInfo::V2, None, Some(len)) => Ok(Layout::V2(Segmentation::Fixed(len))),
            (ContentInfo::V2, None, None) => Ok(Layout::V2(Segmentation::ContentDefined)),
        }
    }

    /// What is to be made from what, once it is sure that nothing will be overwritten which is not meant to be.
    fn jobs(&self) -> Result<Vec<Job>, Failure> {
        let is_dash = |path: &Path| path == "-";
        let jobs = match &self.files[..] {
            [file] => {
                let source = if is_dash(file) { Source::Stdin } else { Source::File(file.clone()) };
                let target =
                    if is_dash(&self.output) { Target::stdout()? } else { self.output.clone().into() };
                vec![Job { source, target }]
            }
            files if files.iter().any(|file| is_dash(file)) => {
                return Err(Failure("-: stdin is hashed alone".into()));
            }
            _ if is_dash(&self.output) => {
                return Err(Failure("-o -: stdout takes the content information of one file".into()));
            }
            files => in_folder(files, &self.output)?,
        };
        for job in &jobs {
            job.target.check(&self.files, self.secret.key.as_deref())?;
        }
        if let [_, _, ..] = &jobs[..] {
            fs::create_dir_all(&self.output)
                .map_err(|error| Failure(format!("-o {}: {error}", self.output.display())))?;
        }
        Ok(jobs)
    }
}

/// A job for each of the files, whose names are those of the files.
fn in_folder(files: &[PathBuf], folder: &Path) -> Result<Vec<Job>, Failure> {
    let mut names: BTreeMap<OsString, &Path> = BTreeMap::new();
    let jobs = files.iter().map(|file| {
        let Some(name) = file.file_name() else {
            return Err(Failure(format!(
                "{}: has no name to call its content information by",
                file.display()
            )));
        };
        let mut name = name.to_os_string();
        name.push(".info");
        let target = folder.join(&name);
        match names.insert(name, file) {
            None => Ok(Job { source: Source::File(file.clone()), target: target.into() }),
            Some(other) => Err(Failure(format!(
                "{} and {}: both would become {}",
                other.display(),
                file.display(),
                target.display()
            ))),
        }
    });
    jobs.collect()
}

/// One content to hash.
struct Job {
    source: Source,
    target: Target,
}

enum Source {
    Stdin,
    File(PathBuf),
}

enum Target {
    Stdout,
    File(PathBuf),
}

impl From<PathBuf> for Target {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl Target {
    fn stdout() -> Result<Self, Failure> {
        if io::stdout().is_terminal() {
            return Err(Failure("-o -: content information is binary, and stdout is a terminal".into()));
        }
        Ok(Self::Stdout)
    }

    /// Refuses to replace the content itself, the key, or what is no file.
    fn check(&self, files: &[PathBuf], key: Option<&Path>) -> Result<(), Failure> {
        let Self::File(path) = self else { return Ok(()) };
        let failure = |reason: &str| Err(Failure(format!("-o {}: {reason}", path.display())));
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => failure("is a folder"),
            Ok(metadata) if !metadata.is_file() => failure("not a regular file"),
            Ok(_) if files.iter().any(|file| is_same(file, path)) => failure("is a file to be hashed"),
            Ok(_) if key.is_some_and(|key| is_same(key, path)) => failure("is the server secret key"),
            _ => Ok(()),
        }
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    fs::canonicalize(one).is_ok_and(|one| fs::canonicalize(other).is_ok_and(|other| one == other))
}

impl Job {
    /// Makes the content information; the line that says what was made, unless stdout is taken.
    fn run(&self, layout: Layout, key: &[u8], range: Option<Range<u64>>) -> Result<String, Failure> {
        match &self.target {
            Target::Stdout => {
                let spool = self.spool(&std::env::temp_dir())?;
                self.make(layout, key, range, spool.file(), &std::env::temp_dir())?;
                let mut file = spool.file();
                written(
                    file.rewind()
                        .and_then(|()| io::copy(&mut file, &mut unbuffered(io::stdout())?).map(drop)),
                )?;
                Ok(String::new())
            }
            Target::File(path) => {
                let unwritable = |error| self.unwritable(&error);
                // Through links, not in their place, and made where it will be: they may lead to another disk.
                let end = follow(path).map_err(unwritable)?;
                let folder = folder_of(&end).to_path_buf();
                let output = Output::new(end).map_err(unwritable)?;
                let made = self.make(layout, key, range, output.file(), &folder)?;
                output.persist(true).map_err(unwritable)?;
                Ok(format!("{}: {made}, {}\n", self.name(), one_line(&path.display().to_string())))
            }
        }
    }

    /// Writes the content information to `file`, with `folder` for what has to be kept meanwhile; says how
    /// much there is.
    fn make(
        &self,
        layout: Layout,
        key: &[u8],
        range: Option<Range<u64>>,
        file: &File,
        folder: &Path,
    ) -> Result<String, Failure> {
        let open = |file: &File| file.try_clone().and_then(InfoFile::new);
        let mut sink = open(file).map_err(|error| self.unwritable(&error))?;
        let Some(range) = range else {
            let info = self.publish(layout, key, &mut sink, |error| self.unwritable(error))?;
            return Ok(info.map_or_else(|| summary(0, 0), |info| summary_of(&info)));
        };
        let spool = self.spool(folder)?;
        let unkept = |error: &io::Error| unkept(folder, error);
        let mut whole = open(spool.file()).map_err(|error| unkept(&error))?;
        let info = self.publish(layout, key, &mut whole, unkept)?;
        let len = info.as_ref().map_or(0, Info::content_end);
        match info.map(|info| cut(&info, &whole, range, &mut sink)).transpose() {
            Ok(made) => made
                .flatten()
                .ok_or_else(|| Failure(format!("{}: --range reaches beyond its {len} bytes", self.name()))),
            Err(Uncut::Whole(error)) => Err(unkept(&error)),
            Err(Uncut::Sink(error)) => Err(self.unwritable(&error)),
        }
    }

    fn spool(&self, folder: &Path) -> Result<Spool, Failure> {
        Spool::new(folder).map_err(|error| unkept(folder, &error))
    }

    fn publish(
        &self,
        layout: Layout,
        key: &[u8],
        sink: &mut InfoFile,
        unwritable: impl Fn(&io::Error) -> Failure,
    ) -> Result<Option<Info>, Failure> {
        let unreadable = |error: io::Error| Failure(format!("{}: {error}", self.name()));
        let file = match &self.source {
            Source::Stdin => None,
            Source::File(path) => Some(File::open(path).map_err(unreadable)?),
        };
        let len = match &file {
            Some(file) => Some(file.metadata().map_err(unreadable)?).filter(fs::Metadata::is_file),
            None => None,
        };
        // Files of the system, such as those in /proc, have bytes of which their length tells nothing.
        let bar = bar::of_bytes(len.map(|metadata| metadata.len()).filter(|len| *len > 0));
        bar.set_message(self.name());
        let order = Order { layout, key, workers: cores(), watch: &mut |done| bar.set_position(done) };
        let published = match file {
            Some(file) => publish_file(file, order, sink),
            None => publish(&mut io::stdin(), None, order, sink),
        };
        bar.finish_and_clear();
        published.map_err(|error| match error {
            publish::Error::Publish(PublishError::Sink(_)) => {
                unwritable(&sink.take_error().unwrap_or_else(|| io::Error::other(error)))
            }
            error => Failure(format!("{}: {error}", self.name())),
        })
    }

    fn name(&self) -> String {
        match &self.source {
            Source::Stdin => "stdin".into(),
            Source::File(path) => one_line(&path.display().to_string()),
        }
    }

    fn unwritable(&self, error: &io::Error) -> Failure {
        match &self.target {
            Target::Stdout => unkept(&std::env::temp_dir(), error),
            Target::File(path) => Failure(format!("-o {}: {error}", path.display())),
        }
    }
}

/// What is wrong with a file without a name.
fn unkept(folder: &Path, error: &io::Error) -> Failure {
    Failure(format!("a file in {}: {error}", folder.display()))
}

/// Why a range could not be cut out.
enum Uncut {
    Whole(io::Error),
    Sink(io::Error),
}

/// Writes to `sink` what `whole` says of `range`, and says how much that is; `None` if it reaches beyond the
/// content.
fn cut(
    info: &Info,
    whole: &InfoFile,
    range: Range<u64>,
    sink: &mut InfoFile,
) -> Result<Option<String>, Uncut> {
    // The reason of the system, where there is one.
    let reason = |file: &InfoFile, error| file.take_error().unwrap_or(error);
    let excerpt = info.excerpt(whole, range, EndForm::Zero);
    let Some(excerpt) = excerpt.map_err(|error| Uncut::Whole(reason(whole, io::Error::other(error))))? else {
        return Ok(None);
    };
    excerpt.emit(sink).map_err(|error| match error {
        EmitError::Sink(_) => Uncut::Sink(reason(sink, io::Error::other(error))),
        EmitError::Source(_) => Uncut::Whole(reason(whole, io::Error::other(error))),
    })?;
    Ok(Some(summary_of(excerpt.info())))
}

fn summary_of(info: &Info) -> String {
    let range = info.range();
    summary(range.end - range.start, info.segment_count())
}

fn summary(bytes: u64, segments: u32) -> String {
    format!("{}, {}", count(bytes, "byte"), count(segments.into(), "segment"))
}

fn random_key() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut key = Zeroizing::new(vec![0; RANDOM_KEY_BYTES]);
    getrandom::fill(&mut key).map_err(|error| Failure(format!("no random key: {error}")))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_or_written_is_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |name: &str, writable: bool| {
            let path = folder.path().join(name);
            File::options().create(true).append(true).open(&path).expect("a writable folder");
            let file = File::options().read(!writable).write(writable).open(path);
            file.and_then(InfoFile::new).expect("a regular file")
        };
        for layout in [
            Layout::V1(HashAlgorithm::Sha256),
            Layout::V2(Segmentation::Fixed(SegmentLen::new(100).expect("a length"))),
        ] {
            let mut whole = open("whole", true);
            let order = Order { layout, key: b"key", workers: cores(), watch: &mut |_| {} };
            let info =
                publish(&mut &[7; 5_000][..], Some(5_000), order, &mut whole).expect("a disk with room");
            let info = info.expect("not empty");
            let outcome = cut(&info, &whole, 100..200, &mut open("part", true));
            assert!(
                matches!(outcome, Err(Uncut::Whole(error)) if error.raw_os_error().is_some()),
                "{layout:?}"
            );
            let outcome = cut(&info, &open("whole", false), 100..200, &mut open("part", false));
            assert!(
                matches!(outcome, Err(Uncut::Sink(error)) if error.raw_os_error().is_some()),
                "{layout:?}"
            );
        }
    }
}
