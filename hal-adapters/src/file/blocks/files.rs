//! The files of packs, of which some are held open.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::vec::Vec;

use super::disk::file_name;
use crate::file::private;

/// Files that are held open. Systems give a process as few as 256.
const MAX_FILES: usize = 64;

pub struct Files {
    pub directory: PathBuf,
    /// Most recently used first.
    held: Vec<(u16, File)>,
    /// What is closed when there are too many open files.
    spare: Option<File>,
}

impl Files {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, held: Vec::new(), spare: None }
    }

    pub fn path(&self, number: u16) -> PathBuf {
        self.directory.join(file_name(number))
    }

    /// The file of a pack, which stays open for the next who wants it.
    pub fn file(&mut self, number: u16) -> io::Result<&File> {
        match self.held.iter().position(|(open, _)| *open == number) {
            Some(position) => self.held.get_mut(..=position).unwrap_or_default().rotate_right(1),
            None => {
                let file = self.open(&private(), number)?;
                self.hold(number, file);
            }
        }
        self.held.first().map(|(_, file)| file).ok_or(io::ErrorKind::NotFound.into())
    }

    /// Holds the file of a pack open.
    pub fn hold(&mut self, number: u16, file: File) {
        self.held.truncate(MAX_FILES - 1);
        self.held.insert(0, (number, file));
    }

    /// Closes the file of a pack.
    pub fn close(&mut self, number: u16) {
        self.held.retain(|(open, _)| *open != number);
    }

    /// Opens a file, in the place of another or the spare one if there is no free one.
    pub fn open(&mut self, options: &OpenOptions, number: u16) -> io::Result<File> {
        let path = self.path(number);
        options.open(&path).or_else(|error| {
            let other = self.held.pop().map(|(_, file)| file);
            drop(other.or_else(|| self.spare.take()).ok_or(error)?);
            options.open(&path)
        })
    }

    /// Takes a place in the table of open files, for when there is no other.
    pub fn take_spare(&mut self, name: &str) {
        if self.spare.is_none() {
            self.spare = File::open(self.directory.join(name)).ok();
        }
    }
}
