//! What a server answers to FSCTL_SRV_READ_HASH (MS-SMB2 3.3.5.15.7): a decision over bytes that
//! are at hand, and the answer as a source to be read in pieces.

use core::ops::Range;

use super::wire::{
    FILE_BASED_BYTES, FileBasedHead, HASH_BASED_BYTES, HashBasedHead, ReadHashRequest,
    SRV_HASH_RETRIEVE_FILE_BASED, SRV_HASH_RETRIEVE_HASH_BASED, SRV_HASH_TYPE_PEER_DIST, SRV_HASH_VER_1,
    SRV_HASH_VER_2, field,
};
use super::{HashFile, Window};
use crate::bytes::{NoRoom, Writer};
use crate::content::v2::wire::{CHUNK_HEAD_BYTES, DESCRIPTION_BYTES, HEADER_BYTES};
use crate::content::{EndForm, Excerpt, InfoError, InfoSource, InfoUnreadable, v2};

/// The newest dialect that a server implements, other than 2.0.2, which has no SRV_READ_HASH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Dialect {
    /// SMB 2.1: content information 1.0 only.
    Smb21,
    /// SMB 3.x: 1.0, and 2.0 by ranges of the file.
    Smb3,
}

/// For which files a server hands out hashes (ServerHashLevel of MS-SMB2 3.3.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum HashLevel {
    /// The server does not know SRV_READ_HASH.
    Unsupported,
    /// It does, but BranchCache is not installed.
    Unavailable,
    /// HashDisableAll: for none.
    DisableAll,
    /// HashEnableShare: for those on shares that allow it.
    EnableShare {
        /// HashEnabled of the share that the file is on.
        hash_enabled: bool,
    },
    /// HashEnableAll: for all.
    EnableAll,
}

/// The status of a SRV_READ_HASH request that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NtStatus {
    /// The server does not know SRV_READ_HASH.
    NotSupported,
    /// Hashes are switched off, for the server or for the share.
    HashNotSupported,
    /// There are no hashes that fit the request.
    HashNotPresent,
    /// The request is cut, or there is too little room for the answer.
    BufferTooSmall,
    /// The request asks for what does not exist.
    InvalidParameter,
    /// The request asks for what lies behind the end.
    EndOfFile,
}

impl NtStatus {
    /// Its number in the SMB2 header.
    pub const fn code(self) -> u32 {
        match self {
            Self::NotSupported => 0xc000_00bb,
            Self::HashNotSupported => 0xc000_a100,
            Self::HashNotPresent => 0xc000_a101,
            Self::BufferTooSmall => 0xc000_0023,
            Self::InvalidParameter => 0xc000_000d,
            Self::EndOfFile => 0xc000_0011,
        }
    }
}

impl core::fmt::Display for NtStatus {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotSupported => "STATUS_NOT_SUPPORTED",
            Self::HashNotSupported => "STATUS_HASH_NOT_SUPPORTED",
            Self::HashNotPresent => "STATUS_HASH_NOT_PRESENT",
            Self::BufferTooSmall => "STATUS_BUFFER_TOO_SMALL",
            Self::InvalidParameter => "STATUS_INVALID_PARAMETER",
            Self::EndOfFile => "STATUS_END_OF_FILE",
        })
    }
}

impl core::error::Error for NtStatus {}

/// An IOCTL request for FSCTL_SRV_READ_HASH, and what the server knows of the file it is about.
#[derive(Clone, Copy)]
pub struct ReadHash<'a> {
    /// The request's input buffer, InputCount bytes.
    pub input: &'a [u8],
    /// MaxOutputResponse of the request.
    pub max_output_response: u32,
    /// What the server implements.
    pub dialect: Dialect,
    /// For which files the server hands out hashes.
    pub hash_level: HashLevel,
    /// The content information file; `None` if it cannot be opened. One that was made before the
    /// file changed had better be `None`, too: only the server knows the file's present time,
    /// which [`HashFile`] allows to compare.
    pub file: Option<&'a dyn InfoSource>,
    /// Bytes of the file that the hashes are of.
    pub source_len: u64,
}

impl<'a> ReadHash<'a> {
    /// Decides what to answer. Cases come in the order of MS-SMB2 3.3.5.15.7, which tells what a
    /// request with two faults gets.
    pub fn decide(&self) -> Result<Answer<'a>, NtStatus> {
        match self.hash_level {
            // Who does not support SRV_READ_HASH MUST fail with this.
            HashLevel::Unsupported => return Err(NtStatus::NotSupported),
            // Who does, without BranchCache, SHOULD fail with this.
            HashLevel::Unavailable => return Err(NtStatus::HashNotPresent),
            _ => {}
        }
        // MUST be STATUS_BUFFER_TOO_SMALL: InputCount is less than the request.
        let request = ReadHashRequest::parse(self.input).map_err(|_| NtStatus::BufferTooSmall)?;
        let by_hash = match request.hash_retrieval_type {
            SRV_HASH_RETRIEVE_HASH_BASED => true,
            SRV_HASH_RETRIEVE_FILE_BASED => false,
            // MUST be STATUS_INVALID_PARAMETER: HashRetrievalType is neither.
            _ => return Err(NtStatus::InvalidParameter),
        };
        // MUST be STATUS_BUFFER_TOO_SMALL: MaxOutputResponse is less than the response's head.
        let head_len = if by_hash { HASH_BASED_BYTES } else { FILE_BASED_BYTES };
        let room = self.max_output_response.checked_sub(head_len).ok_or(NtStatus::BufferTooSmall)?;
        // MUST be STATUS_INVALID_PARAMETER: another HashType, a HashVersion that the server does
        // not implement, or one that does not go with the HashRetrievalType.
        match (self.dialect, request.hash_version, by_hash) {
            (_, SRV_HASH_VER_1, true) | (Dialect::Smb3, SRV_HASH_VER_2, false)
                if request.hash_type == SRV_HASH_TYPE_PEER_DIST => {}
            _ => return Err(NtStatus::InvalidParameter),
        }
        // MUST be STATUS_HASH_NOT_SUPPORTED: HashDisableAll.
        if self.hash_level == HashLevel::DisableAll {
            return Err(NtStatus::HashNotSupported);
        }
        // MUST be STATUS_HASH_NOT_PRESENT: the content information file does not open.
        let file = self.file.ok_or(NtStatus::HashNotPresent)?;
        // MUST be STATUS_HASH_NOT_SUPPORTED: HashEnableShare, and not for this share.
        if self.hash_level == (HashLevel::EnableShare { hash_enabled: false }) {
            return Err(NtStatus::HashNotSupported);
        }
        // Length MUST be set to the smaller of the room for the buffer and Length in the request.
        let length = room.min(request.length);
        // MUST be STATUS_HASH_NOT_PRESENT: the content information file is empty.
        if file.is_empty() {
            return Err(NtStatus::HashNotPresent);
        }
        // MUST be STATUS_END_OF_FILE: Offset is equal to or beyond the end of the content
        // information file, or of the file itself.
        let end = if by_hash { file.len() } else { self.source_len };
        let left = end.checked_sub(request.offset).filter(|&left| left > 0).ok_or(NtStatus::EndOfFile)?;
        let parsed = fitting(file, &request)?;

        let length = left.min(length.into());
        if by_hash {
            // Offset MUST be that of the request; it counts the HASH_HEADER (fact 15).
            let head = HashBasedHead { offset: request.offset, buffer_length: length as u32 };
            let front = Window { source: file, start: request.offset, len: length };
            let buffer = Buffer { front, hide_length: false, rest: &NOTHING };
            return Ok(Answer::Reply(Reply { head: Head::Hash(head), buffer }));
        }
        // If Offset is zero, the server MUST also copy the HASH_HEADER to the buffer's beginning;
        // at no other offset does it (fact 15).
        let header = match request.offset {
            0 => parsed.front(),
            _ => Window { len: 0, ..parsed.front() },
        };
        let room = u64::from(room).checked_sub(header.len()).ok_or(NtStatus::BufferTooSmall)?;
        let (offset, room) = (request.offset, room as u32);
        Ok(Answer::FileBased(FileBased { file: parsed, header, offset, length, room }))
    }
}

/// The checked file, if its hashes are what the request asks for.
fn fitting<'a>(file: &'a dyn InfoSource, request: &ReadHashRequest) -> Result<HashFile<'a>, NtStatus> {
    // The file MUST start with a valid HASH_HEADER. No status is named for one that does not;
    // it has no hashes to hand out.
    let file = HashFile::parse(file).map_err(|_| NtStatus::HashNotPresent)?;
    // MUST be STATUS_HASH_NOT_PRESENT: another HashType than the request's (so fact 15 reads it)
    // or HashVersion, or a file that is dirty.
    let fits = file.hash_type() == request.hash_type && file.hash_version() == request.hash_version;
    if fits && !file.is_dirty() { Ok(file) } else { Err(NtStatus::HashNotPresent) }
}

/// What follows in the buffer of a response by hash.
static NOTHING: &[u8] = &[];

/// How a request is answered that did not fail.
#[derive(Clone, Copy)]
pub enum Answer<'a> {
    /// With this.
    Reply(Reply<'a>),
    /// With content information 2.0 of a part of the file, which [`FileBased::excerpt`] makes.
    FileBased(FileBased<'a>),
}

/// An answer that lacks its content information 2.0.
///
/// [`excerpt`](Self::excerpt) makes it from that of the whole file; a caller who makes it otherwise
/// describes [`range`](Self::range), or less of it from its beginning on, until it fits
/// [`room`](Self::room).
#[derive(Clone, Copy)]
pub struct FileBased<'a> {
    file: HashFile<'a>,
    /// As much of it as goes in front: all or nothing.
    header: Window<'a>,
    offset: u64,
    length: u64,
    room: u32,
}

impl<'a> FileBased<'a> {
    /// The content information file, whose [`blob`](HashFile::blob) is of the whole file.
    pub const fn file(&self) -> &HashFile<'a> {
        &self.file
    }

    /// The part of the file that is asked for, in bytes; empty if the request's Length is 0.
    ///
    /// It is no longer than the room for the answer's buffer. Length counts bytes of the file, but
    /// the document limits it by the room all the same.
    pub const fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.length)
    }

    /// How many bytes of content information there is room for.
    pub const fn room(&self) -> u32 {
        self.room
    }

    /// Content information of the range, or of as many segments of it as there is certainly room
    /// for, from that of the whole file: `info`, parsed from `blob`. The answer takes it together
    /// with its range.
    ///
    /// Refuses an empty range, a range that `info` does not describe, and too little room for one
    /// segment.
    pub fn excerpt<'b>(&self, info: &v2::Info, blob: &'b dyn InfoSource) -> Result<Excerpt<'b>, NtStatus> {
        let broken = |_: InfoError| NtStatus::HashNotPresent;
        let part = |range| info.excerpt(blob, range, EndForm::Explicit).map_err(broken);
        let asked = self.range();
        let excerpt = part(asked.clone())?.ok_or(NtStatus::HashNotPresent)?;
        if excerpt.len() <= self.room.into() {
            return Ok(excerpt);
        }
        // Each segment may be the first of a chunk.
        let segment_bytes = (CHUNK_HEAD_BYTES + DESCRIPTION_BYTES) as u64;
        let fit = u64::from(self.room).saturating_sub(HEADER_BYTES as u64) / segment_bytes;
        let mut segment = info.segment_at(blob, asked.start).map_err(broken)?;
        let mut end = None;
        for _ in 0..fit {
            let Some(here) = segment else { break };
            end = Some(here.offset().saturating_add(here.byte_len().into()).min(asked.end));
            segment = info.next_segment(blob, &here).map_err(broken)?;
        }
        part(asked.start..end.ok_or(NtStatus::BufferTooSmall)?)?.ok_or(NtStatus::HashNotPresent)
    }

    /// The answer with `info`, which is of the bytes `covered` of the file. Both may be empty if
    /// nothing is asked for.
    ///
    /// Refuses what does not fit the room, and what does not cover the beginning of the range:
    /// whoever asks again from the covered end on would ask forever.
    pub fn reply<'b>(&self, info: &'b dyn InfoSource, covered: Range<u64>) -> Result<Reply<'b>, NtStatus>
    where
        'a: 'b,
    {
        if !covered.contains(&self.offset) && covered != self.range() {
            return Err(NtStatus::HashNotPresent);
        }
        if info.len() > self.room.into() {
            return Err(NtStatus::BufferTooSmall);
        }
        let buffer = Buffer { front: self.header, hide_length: true, rest: info };
        // SHOULD be the offset and length of the region that the returned content covers.
        let head = FileBasedHead {
            file_data_offset: covered.start,
            file_data_length: covered.end.saturating_sub(covered.start),
            buffer_length: buffer.len() as u32,
        };
        Ok(Reply { head: Head::File(head), buffer })
    }
}

/// A SRV_READ_HASH response: its head to emit, and its buffer to read.
///
/// The rest of the IOCTL response is the server's: CtlCode, FileId, offsets, Flags.
#[derive(Clone, Copy)]
pub struct Reply<'a> {
    head: Head,
    buffer: Buffer<'a>,
}

#[derive(Clone, Copy)]
enum Head {
    Hash(HashBasedHead),
    File(FileBasedHead),
}

impl<'a> Reply<'a> {
    /// Bytes of the response, head and buffer: at most MaxOutputResponse.
    pub fn output_count(&self) -> u32 {
        // OutputCount MUST be the size of the response, including its variable part.
        match self.head {
            Head::Hash(head) => HASH_BASED_BYTES.saturating_add(head.buffer_length),
            Head::File(head) => FILE_BASED_BYTES.saturating_add(head.buffer_length),
        }
    }

    /// Writes what stands in front of the buffer.
    pub fn emit_head(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        match self.head {
            Head::Hash(head) => head.emit(writer),
            Head::File(head) => head.emit(writer),
        }
    }

    /// The bytes behind the head.
    pub const fn buffer(&self) -> &Buffer<'a> {
        &self.buffer
    }
}

/// The buffer of a response, which is read from where its parts are.
#[derive(Clone, Copy)]
pub struct Buffer<'a> {
    /// Bytes of the content information file.
    front: Window<'a>,
    /// Whether they are a HASH_HEADER that must not tell HashBlobLength.
    hide_length: bool,
    rest: &'a dyn InfoSource,
}

impl InfoSource for Buffer<'_> {
    fn len(&self) -> u64 {
        self.front.len().saturating_add(self.rest.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        let unreadable = InfoUnreadable { offset };
        let left = self.front.len().saturating_sub(offset);
        let split = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let (front, rest) = buf.split_at_mut_checked(split).ok_or(unreadable)?;
        if !front.is_empty() {
            self.front.read_at(offset, front).map_err(|_| unreadable)?;
        }
        if self.hide_length {
            // For SRV_HASH_VER_2, the server MUST set HashBlobLength to zero.
            let length = field::HASH_BLOB_LENGTH..field::HASH_BLOB_OFFSET;
            let bytes = front.iter_mut().zip(offset..);
            bytes.filter(|(_, at)| length.contains(at)).for_each(|(byte, _)| *byte = 0);
        }
        let behind = offset.saturating_sub(self.front.len());
        if rest.is_empty() { Ok(()) } else { self.rest.read_at(behind, rest).map_err(|_| unreadable) }
    }
}
