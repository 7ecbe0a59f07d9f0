//! What is sent of a file, or of its content information, in the state that the head of the reply names.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Bytes;
use peerdist_core::content::{EndForm, Excerpt, Info, InfoSource as _};

use super::cache::Source;
use super::files::State;
use crate::net::http1::Chunks;

/// Bytes that are read at a time: more would not go any faster.
const CHUNK_BYTES: u64 = 128 * 1_024;

/// Bytes that were sent, counted as they are read.
#[derive(Debug, Default)]
pub struct Sent {
    /// Of files.
    pub content: AtomicU64,
    /// Of content information.
    pub info: AtomicU64,
}

/// A part of a file.
pub struct Content {
    file: File,
    state: State,
    range: Range<u64>,
    sent: Arc<Sent>,
}

impl Content {
    /// `range` of a file in this state.
    pub fn new(file: File, state: State, range: Range<u64>, sent: Arc<Sent>) -> Self {
        Self { file, state, range, sent }
    }
}

impl Chunks for Content {
    fn next(&mut self) -> io::Result<Bytes> {
        let mut chunk = vec![0; self.left().min(CHUNK_BYTES) as usize];
        read_exact_at(&self.file, &mut chunk, self.range.start)?;
        // What was read is of the state that was named only if nobody has written meanwhile.
        if !State::of(&self.file)?.has_bytes_of(&self.state) {
            return Err(io::Error::other("changed while it was sent"));
        }
        self.range.start += chunk.len() as u64;
        self.sent.content.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        Ok(chunk.into())
    }

    fn left(&self) -> u64 {
        self.range.end - self.range.start
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buf, offset)
}

#[cfg(not(unix))]
fn read_exact_at(mut file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    io::Read::read_exact(&mut file, buf)
}

/// Content information of a part of a file.
pub struct Description {
    source: Source,
    info: Info,
    part: Range<u64>,
    at: u64,
    len: u64,
    sent: Arc<Sent>,
}

impl Description {
    /// That of `part` of the content that `info` describes; `None` if it cannot be read.
    pub fn new(source: Source, info: Info, part: Range<u64>, sent: Arc<Sent>) -> Option<Self> {
        let len = excerpt(&source, &info, &part)?.len();
        Some(Self { source, info, part, at: 0, len, sent })
    }
}

fn excerpt<'a>(source: &'a Source, info: &Info, part: &Range<u64>) -> Option<Excerpt<'a>> {
    // As it was published, with no byte different, where that is all that is asked for.
    match *part == info.range() {
        true => Some(info.whole(source)),
        false => info.excerpt(source, part.clone(), EndForm::Zero).ok()?,
    }
}

impl Chunks for Description {
    fn next(&mut self) -> io::Result<Bytes> {
        let broken = || io::Error::other("content information cannot be read");
        let excerpt = excerpt(&self.source, &self.info, &self.part).ok_or_else(broken)?;
        let mut chunk = vec![0; (self.len - self.at).min(CHUNK_BYTES) as usize];
        excerpt.read_at(self.at, &mut chunk).map_err(|_| broken())?;
        self.at += chunk.len() as u64;
        self.sent.info.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        Ok(chunk.into())
    }

    fn left(&self) -> u64 {
        self.len - self.at
    }
}
