//! Content information of what a file or a pipe holds, made by many cores in a few MiB of memory.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek as _, Write as _};
use std::time::SystemTime;

use peerdist_core::content::publish::{PublishError, v1, v2};
use peerdist_core::content::segmenter::{SegmentLen, Segmentation};
use peerdist_core::content::{Info, InfoSink, InfoUnwritable, emit_empty, server_secret};
use peerdist_core::crypto::{Digest, HashAlgorithm, Secret};
use peerdist_core::limits::BLOCK_BYTES;

use crate::crypto::FastCrypto;
use crate::hashing::hash_segments;

/// Which content information is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Version 1.0 with SHA-256, SHA-384 or SHA-512.
    V1(HashAlgorithm),
    /// Version 2.0.
    V2(Segmentation),
}

impl Layout {
    /// The hash behind it.
    pub const fn algorithm(self) -> HashAlgorithm {
        match self {
            Self::V1(algorithm) => algorithm,
            Self::V2(_) => HashAlgorithm::TruncatedSha512,
        }
    }
}

/// Content information cannot be made.
#[derive(Debug)]
pub enum Error {
    /// The content cannot be read.
    Content(io::Error),
    /// The file has other bytes than at the beginning.
    Changed,
    /// The file has so many bytes, as the system says, and gives another number of them.
    Length(u64),
    /// The publisher stopped, which is the sink's fault but for content of absurd length.
    Publish(PublishError),
    /// The hashes of a pipe could not be kept until its end.
    Kept(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Content(error)
    }
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        Self::Publish(error)
    }
}

impl From<InfoUnwritable> for Error {
    fn from(error: InfoUnwritable) -> Self {
        Self::Publish(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(error) => error.fmt(f),
            Self::Changed => f.write_str("changed while it was hashed"),
            Self::Length(len) => {
                write!(f, "gives other than the {len} bytes that it should have: try a pipe")
            }
            Self::Publish(error) => error.fmt(f),
            Self::Kept(error) => {
                write!(f, "hashes cannot be kept in {}: {error}", std::env::temp_dir().display())
            }
        }
    }
}

impl std::error::Error for Error {}

/// What is made, and of what.
pub struct Order<'a> {
    /// Which content information.
    pub layout: Layout,
    /// The server secret key it is published under.
    pub key: &'a [u8],
    /// How many cores may hash at once.
    pub workers: usize,
    /// Is told again and again how many bytes are done.
    pub watch: &'a mut (dyn FnMut(u64) + Send),
}

/// Makes content information of an open file, from its beginning on, and writes it to `sink`;
/// `None` of an empty file, for which there is a mere header.
///
/// The file must not change meanwhile, if it is a regular one. Any other is read to its end, and so is
/// one of length 0, since the system makes some up as they are read, whose length it cannot tell.
pub fn publish_file<S: InfoSink + Send>(
    mut file: File,
    order: Order<'_>,
    sink: &mut S,
) -> Result<Option<Info>, Error> {
    let before = Seen::of(&file)?;
    let len = before.map(|seen| seen.len).filter(|len| *len > 0);
    let published = publish(&mut file, len, order, sink);
    if matches!(published, Ok(_) | Err(Error::Changed)) && Seen::of(&file)? != before {
        return Err(Error::Changed);
    }
    match (published, len) {
        (Err(Error::Changed), Some(len)) => Err(Error::Length(len)),
        (published, _) => published,
    }
}

/// Makes content information of `content`, whose number of bytes is `len` if that is known, and
/// writes it to `sink`; `None` of no bytes, for which there is a mere header.
pub fn publish<S: InfoSink + Send>(
    content: &mut (dyn Read + Send),
    len: Option<u64>,
    order: Order<'_>,
    sink: &mut S,
) -> Result<Option<Info>, Error> {
    let algorithm = order.layout.algorithm();
    let ks = server_secret(&mut FastCrypto, algorithm, order.key);
    let (mut maker, segmentation) = match order.layout {
        // Segments of version 1.0 have a whole number of blocks, so blocks are cut without regard to them.
        Layout::V1(_) => match len {
            Some(len @ 1..) => {
                (Maker::V1(Box::new(v1::Publisher::new(algorithm, ks, len)?)), Segmentation::Fixed(BLOCK))
            }
            _ => (Maker::Later(Kept::new(algorithm, ks)?), Segmentation::Fixed(BLOCK)),
        },
        Layout::V2(segmentation) => (Maker::V2(Box::new(v2::Publisher::new(ks, segmentation))), segmentation),
    };
    let mut done = 0;
    let mut each = |digest: &Digest, bytes: u32| {
        done += u64::from(bytes);
        (order.watch)(done);
        maker.push(digest, bytes, sink)
    };
    hash_segments(&FastCrypto, order.workers, algorithm, segmentation, content, &mut each)?;
    if len.is_some_and(|len| len != done) {
        return Err(Error::Changed);
    }
    if done == 0 {
        emit_empty(algorithm, sink)?;
        return Ok(None);
    }
    maker.finish(sink).map(Some)
}

/// A block of version 1.0.
const BLOCK: SegmentLen = SegmentLen::new(BLOCK_BYTES).expect("a block is shorter than segments may be");

/// What shows that a regular file has changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    len: u64,
    /// Where the system keeps it.
    modified: Option<SystemTime>,
}

impl Seen {
    /// `None` of what is no regular file.
    fn of(file: &File) -> io::Result<Option<Self>> {
        let metadata = file.metadata()?;
        Ok(metadata.is_file().then(|| Self { len: metadata.len(), modified: metadata.modified().ok() }))
    }
}

enum Maker {
    V1(Box<v1::Publisher>),
    V2(Box<v2::Publisher>),
    Later(Kept),
}

impl Maker {
    fn push(&mut self, digest: &Digest, len: u32, sink: &mut dyn InfoSink) -> Result<(), Error> {
        match self {
            Self::V1(publisher) => match publisher.push_block(&mut FastCrypto, digest, len, sink) {
                // The file has become longer or shorter: its last block is not where it was.
                Err(PublishError::TooLong | PublishError::BlockLength { .. }) => Err(Error::Changed),
                other => Ok(other?),
            },
            Self::V2(publisher) => Ok(publisher.push_segment(&mut FastCrypto, digest, len, sink)?),
            Self::Later(kept) => kept.push(digest, len),
        }
    }

    fn finish(self, sink: &mut dyn InfoSink) -> Result<Info, Error> {
        match self {
            Self::V1(publisher) => Ok(Info::V1(publisher.finish(sink)?)),
            Self::V2(publisher) => Ok(Info::V2(publisher.finish(&mut FastCrypto, sink)?)),
            Self::Later(kept) => kept.finish(sink),
        }
    }
}

/// Block hashes of version 1.0, kept until the length of the content is known and with it their
/// places: in a file, since a pipe may go on for long.
struct Kept {
    algorithm: HashAlgorithm,
    ks: Secret,
    hashes: BufWriter<File>,
    content_len: u64,
}

impl Kept {
    fn new(algorithm: HashAlgorithm, ks: Secret) -> Result<Self, Error> {
        let hashes = BufWriter::new(tempfile::tempfile().map_err(Error::Kept)?);
        Ok(Self { algorithm, ks, hashes, content_len: 0 })
    }

    fn push(&mut self, digest: &Digest, len: u32) -> Result<(), Error> {
        self.content_len += u64::from(len);
        self.hashes.write_all(digest.as_bytes()).map_err(Error::Kept)
    }

    fn finish(self, sink: &mut dyn InfoSink) -> Result<Info, Error> {
        let mut file = self.hashes.into_inner().map_err(|error| Error::Kept(error.into_error()))?;
        file.rewind().map_err(Error::Kept)?;
        let mut hashes = BufReader::new(file);
        let mut publisher = v1::Publisher::new(self.algorithm, self.ks, self.content_len)?;
        let mut hash = vec![0; self.algorithm.digest_len()];
        while let len @ 1.. = publisher.next_block_len() {
            hashes.read_exact(&mut hash).map_err(Error::Kept)?;
            let digest = Digest::from_slice(&hash).expect("it was written from a digest");
            publisher.push_block(&mut FastCrypto, &digest, len, sink)?;
        }
        Ok(Info::V1(publisher.finish(sink)?))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use tempfile::NamedTempFile;

    use super::*;
    use crate::hashing::cores;

    const LAYOUTS: [Layout; 2] =
        [Layout::V1(HashAlgorithm::Sha256), Layout::V2(Segmentation::ContentDefined)];
    const LEN: u64 = 3_000_000;

    /// Publishes a file to which `change` is done while it is read.
    fn publish_changing(layout: Layout, change: fn(&File, &Path)) -> Result<Option<Info>, Error> {
        let named = NamedTempFile::new().expect("a folder for temporary files");
        let (file, path) = (named.as_file(), named.path());
        file.set_len(LEN).expect("a disk with room");
        let mut once = Some(change);
        let mut watch = |_| {
            if let Some(change) = once.take() {
                change(file, path);
            }
        };
        let order = Order { layout, key: b"key", workers: cores(), watch: &mut watch };
        let mut room = vec![0; 100_000];
        publish_file(named.reopen().expect("it is there"), order, &mut room.as_mut_slice())
    }

    #[test]
    fn a_file_that_changes_is_refused() {
        for layout in LAYOUTS {
            publish_changing(layout, |_, _| ()).expect("it did not change");
            for change in [
                |file: &File, _: &Path| file.set_len(LEN + 1).expect("a disk with room"),
                |file: &File, _: &Path| file.set_len(100_000).expect("it can be shorter"),
                |file: &File, _: &Path| {
                    let modified = file.metadata().expect("readable").modified().expect("kept");
                    file.set_modified(modified + Duration::from_secs(9)).expect("it is ours");
                },
            ] {
                let outcome = publish_changing(layout, change);
                assert!(matches!(outcome, Err(Error::Changed)), "{layout:?}: {outcome:?}");
            }
        }
    }

    #[test]
    fn content_of_another_length_than_announced_is_refused() {
        let content = vec![7; 200_000];
        for layout in LAYOUTS {
            for len in [0, 1, 131_072, 199_999, 200_001, 262_144, 300_000] {
                let order = Order { layout, key: b"key", workers: cores(), watch: &mut |_| {} };
                let mut room = vec![0; 100_000];
                let outcome = publish(&mut &content[..], Some(len), order, &mut room.as_mut_slice());
                assert!(matches!(outcome, Err(Error::Changed)), "{layout:?} {len}: {outcome:?}");
            }
        }
    }
}
