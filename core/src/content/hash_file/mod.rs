//! [MS-SMB2 2.2.32.4.1] The content information file that an SMB server keeps for a file, and
//! how it answers FSCTL_SRV_READ_HASH from it (MS-SMB2 3.3.5.15.7).
//!
//! ```text
//! HASH_HEADER             version, the source file's time, size and name, where the rest stands
//! content information     1.0 or 2.0, HashBlobLength bytes from HashBlobOffset on
//! ```
//!
//! [`HashFile`] is the checked view of such a file, [`ReadHash`] what a server decides, and
//! [`wire`] the bytes of all of it. Like content information itself, the file is an [`InfoSource`]
//! that is read in pieces. SMB is somebody else's: here are the contents of its IOCTL buffers.

mod read_hash;
pub mod wire;

pub use self::read_hash::{Answer, Buffer, Dialect, FileBased, HashLevel, NtStatus, ReadHash, Reply};
use self::wire::{HASH_HEADER_BYTES, HashHeaderRepr, SRV_HASH_VER_2, field};
use super::{InfoError, InfoFault, InfoSource, InfoUnreadable};
use crate::bytes::Reader;

/// A content information file whose header has been checked against its length.
#[derive(Clone, Copy)]
pub struct HashFile<'a> {
    source: &'a dyn InfoSource,
    /// Without the name, which stays where it is.
    header: HashHeaderRepr<'static>,
    name_len: u16,
}

impl<'a> HashFile<'a> {
    /// Checks the header of the file that `source` holds; nothing of what it says to follow is
    /// read.
    ///
    /// The buffer of a response by file is such a file as well, if it has the header.
    pub fn parse(source: &'a dyn InfoSource) -> Result<Self, InfoError> {
        let mut buf = [0; HASH_HEADER_BYTES];
        let len = usize::try_from(source.len()).unwrap_or(HASH_HEADER_BYTES).min(HASH_HEADER_BYTES);
        let bytes = buf.get_mut(..len).unwrap_or_default();
        source.read_at(0, bytes).map_err(|_| InfoError::new("HashType", 0, InfoFault::Unreadable))?;
        let (header, name_len) = HashHeaderRepr::parse_fixed(&mut Reader::new(bytes))?;
        let truncated = |field, at| Err(InfoError::new(field, at, InfoFault::Truncated));
        if field::SOURCE_FILE_NAME + u64::from(name_len) > source.len() {
            return truncated("SourceFileName", field::SOURCE_FILE_NAME);
        }
        let Some(left) = source.len().checked_sub(header.hash_blob_offset.into()) else {
            return truncated("HashBlobOffset", field::HASH_BLOB_OFFSET);
        };
        if u64::from(header.hash_blob_length) > left {
            return truncated("HashBlobLength", field::HASH_BLOB_LENGTH);
        }
        Ok(Self { source, header, name_len })
    }

    /// What the hashes are for: [`SRV_HASH_TYPE_PEER_DIST`](wire::SRV_HASH_TYPE_PEER_DIST), if we
    /// know them.
    pub const fn hash_type(&self) -> u32 {
        self.header.hash_type
    }

    /// The version of the content information: [`SRV_HASH_VER_1`](wire::SRV_HASH_VER_1) or
    /// [`SRV_HASH_VER_2`], if we know it.
    pub const fn hash_version(&self) -> u32 {
        self.header.hash_version
    }

    /// When the source file was last written when its hashes were made, as a FILETIME.
    pub const fn source_file_change_time(&self) -> u64 {
        self.header.source_file_change_time
    }

    /// How many bytes the source file had when its hashes were made.
    pub const fn source_file_size(&self) -> u64 {
        self.header.source_file_size
    }

    /// Whether the file is being updated, so that what is in it does not count.
    pub const fn is_dirty(&self) -> bool {
        self.header.dirty
    }

    /// The full name of the source file, in UTF-16LE.
    pub fn source_file_name(&self) -> Window<'a> {
        Window { source: self.source, start: field::SOURCE_FILE_NAME, len: self.name_len.into() }
    }

    /// The content information.
    pub fn blob(&self) -> Window<'a> {
        let start = u64::from(self.header.hash_blob_offset);
        let len = match (self.header.hash_version, self.header.hash_blob_length) {
            // Servers send a length of 0 in version 2, whatever follows (fact 15).
            (SRV_HASH_VER_2, 0) => self.source.len().saturating_sub(start),
            (_, len) => len.into(),
        };
        Window { source: self.source, start, len }
    }

    /// All that stands in front of the content information: the header, and bytes between them if
    /// there are any. In a copy of it HashBlobOffset is right.
    fn front(&self) -> Window<'a> {
        Window { source: self.source, start: 0, len: self.header.hash_blob_offset.into() }
    }
}

/// A part of a content information file, as a source of its own.
#[derive(Clone, Copy)]
pub struct Window<'a> {
    source: &'a dyn InfoSource,
    start: u64,
    len: u64,
}

impl InfoSource for Window<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        let unreadable = InfoUnreadable { offset };
        let end = offset.checked_add(buf.len() as u64).ok_or(unreadable)?;
        if end > self.len {
            return Err(unreadable);
        }
        self.source.read_at(self.start.saturating_add(offset), buf).map_err(|_| unreadable)
    }
}

#[cfg(test)]
mod tests;
