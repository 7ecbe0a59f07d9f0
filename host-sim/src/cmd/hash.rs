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
use peerdist_sim::publish::{self, Layout, Order, publish, publish_file};
use peerdist_sim::scenario::parse_size;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::secret::SecretArgs;
use super::{Ending, Failure, bar, one_line, print, tell};

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

    /// Describe only the bytes from A on and before B
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
            job.target.check(&self.files)?;
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

    /// Refuses to replace the content itself, or what is no file.
    fn check(&self, files: &[PathBuf]) -> Result<(), Failure> {
        let Self::File(path) = self else { return Ok(()) };
        let failure = |reason: &str| Err(Failure(format!("-o {}: {reason}", path.display())));
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => failure("is a folder"),
            Ok(metadata) if !metadata.is_file() => failure("not a regular file"),
            Ok(_) if files.iter().any(|file| is_same(file, path)) => failure("is a file to be hashed"),
            _ => Ok(()),
        }
    }

    /// Where files are kept until they are complete.
    fn folder(&self) -> PathBuf {
        let Self::File(path) = self else { return std::env::temp_dir() };
        match path.parent() {
            Some(parent) if parent != "" => parent.to_path_buf(),
            _ => PathBuf::from("."),
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
                let mut file = tempfile::tempfile().map_err(|error| self.unwritable(&error))?;
                self.make(layout, key, range, &file)?;
                let copied = file.rewind().and_then(|()| io::copy(&mut file, &mut io::stdout()));
                copied.map_err(|error| Failure(format!("stdout: {error}")))?;
                Ok(String::new())
            }
            Target::File(path) => {
                let file = NamedTempFile::with_prefix_in(".peerdist-", self.target.folder());
                let file = file.map_err(|error| self.unwritable(&error))?;
                let made = self.make(layout, key, range, file.as_file())?;
                // Through a link, not in its place.
                let end = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                file.persist(end).map_err(|error| self.unwritable(&error.error))?;
                Ok(format!("{}: {made}, {}\n", self.name(), one_line(&path.display().to_string())))
            }
        }
    }

    /// Writes the content information to `file`; says how much there is.
    fn make(
        &self,
        layout: Layout,
        key: &[u8],
        range: Option<Range<u64>>,
        file: &File,
    ) -> Result<String, Failure> {
        let open =
            |file: io::Result<File>| file.and_then(InfoFile::new).map_err(|error| self.unwritable(&error));
        let mut sink = open(file.try_clone())?;
        let Some(range) = range else {
            let info = self.publish(layout, key, &mut sink)?;
            return Ok(info.map_or_else(|| summary(0, 0), |info| summary_of(&info)));
        };
        let mut whole = open(tempfile::tempfile_in(self.target.folder()))?;
        let info = self.publish(layout, key, &mut whole)?;
        let len = info.as_ref().map_or(0, Info::content_end);
        let excerpt = info.and_then(|info| info.excerpt(&whole, range, EndForm::Zero).transpose());
        let Some(excerpt) = excerpt else {
            return Err(Failure(format!("{}: --range reaches beyond its {len} bytes", self.name())));
        };
        let excerpt = excerpt.map_err(|error| Failure(format!("{}: {error}", self.name())))?;
        excerpt.emit(&mut sink).map_err(|error| {
            let file = if matches!(error, EmitError::Sink(_)) { &sink } else { &whole };
            self.unwritable(&file.take_error().unwrap_or_else(|| io::Error::other(error)))
        })?;
        Ok(summary_of(excerpt.info()))
    }

    fn publish(&self, layout: Layout, key: &[u8], sink: &mut InfoFile) -> Result<Option<Info>, Failure> {
        let unreadable = |error: io::Error| Failure(format!("{}: {error}", self.name()));
        let file = match &self.source {
            Source::Stdin => None,
            Source::File(path) => Some(File::open(path).map_err(unreadable)?),
        };
        let len = match &file {
            Some(file) => Some(file.metadata().map_err(unreadable)?).filter(fs::Metadata::is_file),
            None => None,
        };
        let bar = bar::of_bytes(len.map(|metadata| metadata.len()));
        bar.set_message(self.name());
        let order = Order { layout, key, watch: &mut |done| bar.set_position(done) };
        let published = match file {
            Some(file) => publish_file(file, order, sink),
            None => publish(&mut io::stdin(), None, order, sink),
        };
        bar.finish_and_clear();
        published.map_err(|error| match error {
            publish::Error::Publish(PublishError::Sink(_)) => {
                self.unwritable(&sink.take_error().unwrap_or_else(|| io::Error::other(error)))
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
        Failure(match &self.target {
            Target::Stdout => format!("a file in {}: {error}", self.target.folder().display()),
            Target::File(path) => format!("-o {}: {error}", path.display()),
        })
    }
}

fn summary_of(info: &Info) -> String {
    let range = info.range();
    summary(range.end - range.start, info.segment_count())
}

fn summary(bytes: u64, segments: u32) -> String {
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    format!("{bytes} byte{}, {segments} segment{}", plural(bytes), plural(segments.into()))
}

fn random_key() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut key = Zeroizing::new(vec![0; RANDOM_KEY_BYTES]);
    getrandom::fill(&mut key).map_err(|error| Failure(format!("no random key: {error}")))?;
    Ok(key)
}
