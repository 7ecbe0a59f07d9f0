//! [MS-SMB2 2.2.31.2, 2.2.32.4] What FSCTL_SRV_READ_HASH and content information files are made
//! of, as bytes. All fields are little-endian (fact 15).
//!
//! Values that the document does not list stay values: what they come to is decided by
//! [`ReadHash`](super::ReadHash).

use crate::bytes::{NoRoom, Reader, Writer};
use crate::content::{InfoError, InfoFault};

/// HashType of all that is here: hashes for BranchCache.
pub const SRV_HASH_TYPE_PEER_DIST: u32 = 1;

/// HashVersion of content information 1.0.
pub const SRV_HASH_VER_1: u32 = 1;

/// HashVersion of content information 2.0, as of SMB 3.x.
pub const SRV_HASH_VER_2: u32 = 2;

/// HashRetrievalType that counts in bytes of the content information file.
pub const SRV_HASH_RETRIEVE_HASH_BASED: u32 = 1;

/// HashRetrievalType that counts in bytes of the file that the hashes are of, as of SMB 3.x.
pub const SRV_HASH_RETRIEVE_FILE_BASED: u32 = 2;

/// Bytes of a HASH_HEADER up to the source file's name.
pub const HASH_HEADER_BYTES: usize = 36;

/// Bytes of a SRV_READ_HASH request.
pub const REQUEST_BYTES: usize = 24;

/// Bytes of a SRV_HASH_RETRIEVE_HASH_BASED response up to its buffer.
pub const HASH_BASED_BYTES: u32 = 16;

/// Bytes of a SRV_HASH_RETRIEVE_FILE_BASED response up to its buffer.
pub const FILE_BASED_BYTES: u32 = 24;

/// Where fields of the HASH_HEADER stand.
pub(super) mod field {
    pub const HASH_BLOB_LENGTH: u64 = 24;
    pub const HASH_BLOB_OFFSET: u64 = 28;
    pub const SOURCE_FILE_NAME: u64 = 36;
}

/// What a content information file begins with (MS-SMB2 2.2.32.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HashHeaderRepr<'a> {
    /// [`SRV_HASH_TYPE_PEER_DIST`].
    pub hash_type: u32,
    /// [`SRV_HASH_VER_1`] or [`SRV_HASH_VER_2`].
    pub hash_version: u32,
    /// When the source file was last written, as a FILETIME: in 100 ns since the year 1601, UTC.
    pub source_file_change_time: u64,
    /// Bytes of the source file.
    pub source_file_size: u64,
    /// Bytes of the content information.
    pub hash_blob_length: u32,
    /// Where the content information begins, in bytes from the start of the file: not inside of
    /// the header.
    pub hash_blob_offset: u32,
    /// Whether the file is being updated, so that what is in it does not count.
    pub dirty: bool,
    /// The full name of the source file, in UTF-16LE: 65,535 bytes at most.
    pub source_file_name: &'a [u8],
}

impl<'a> HashHeaderRepr<'a> {
    /// Reads the header, with the name, at the front of `bytes`.
    ///
    /// Judges that the content information is not inside of the header; whether it is inside of
    /// the file, [`HashFile`](super::HashFile) judges.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, InfoError> {
        let mut reader = Reader::new(bytes);
        let (fixed, name_len) = Self::parse_fixed(&mut reader)?;
        let source_file_name = reader.take(name_len.into()).map_err(InfoError::cut("SourceFileName"))?;
        Ok(Self { source_file_name, ..fixed })
    }

    /// Reads the header without the name, and how many bytes the name has.
    pub(super) fn parse_fixed(reader: &mut Reader<'_>) -> Result<(Self, u16), InfoError> {
        let header = Self {
            hash_type: reader.u32_le().map_err(InfoError::cut("HashType"))?,
            hash_version: reader.u32_le().map_err(InfoError::cut("HashVersion"))?,
            source_file_change_time: reader.u64_le().map_err(InfoError::cut("SourceFileChangeTime"))?,
            source_file_size: reader.u64_le().map_err(InfoError::cut("SourceFileSize"))?,
            hash_blob_length: reader.u32_le().map_err(InfoError::cut("HashBlobLength"))?,
            hash_blob_offset: reader.u32_le().map_err(InfoError::cut("HashBlobOffset"))?,
            // 2.2.32.4.1: a nonzero value is true.
            dirty: reader.u16_le().map_err(InfoError::cut("Dirty"))? != 0,
            source_file_name: &[],
        };
        let name_len = reader.u16_le().map_err(InfoError::cut("SourceFileNameLength"))?;
        // 2.2.32.4.1: the content information follows the header.
        if u64::from(header.hash_blob_offset) < HASH_HEADER_BYTES as u64 + u64::from(name_len) {
            let reason = InfoFault::OutOfRange(header.hash_blob_offset.into());
            return Err(InfoError::new("HashBlobOffset", field::HASH_BLOB_OFFSET, reason));
        }
        Ok((header, name_len))
    }

    /// Bytes that [`emit`](Self::emit) writes, and so the lowest offset of the content
    /// information.
    pub const fn buffer_len(&self) -> usize {
        HASH_HEADER_BYTES.saturating_add(self.source_file_name.len())
    }

    /// Writes the header to the front of `buf`. There is no room in it for a name of more than
    /// 65,535 bytes.
    pub fn emit(&self, buf: &mut [u8]) -> Result<(), NoRoom> {
        let name_len = u16::try_from(self.source_file_name.len()).map_err(|_| NoRoom)?;
        let mut writer = Writer::new(buf);
        writer.u32_le(self.hash_type);
        writer.u32_le(self.hash_version);
        writer.u64_le(self.source_file_change_time);
        writer.u64_le(self.source_file_size);
        writer.u32_le(self.hash_blob_length);
        writer.u32_le(self.hash_blob_offset);
        writer.u16_le(self.dirty.into());
        writer.u16_le(name_len);
        writer.put(self.source_file_name);
        writer.check()
    }
}

/// A SRV_READ_HASH request (MS-SMB2 2.2.31.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ReadHashRequest {
    /// [`SRV_HASH_TYPE_PEER_DIST`].
    pub hash_type: u32,
    /// [`SRV_HASH_VER_1`] or [`SRV_HASH_VER_2`].
    pub hash_version: u32,
    /// [`SRV_HASH_RETRIEVE_HASH_BASED`] or [`SRV_HASH_RETRIEVE_FILE_BASED`].
    pub hash_retrieval_type: u32,
    /// Bytes wanted at most: of the content information file, or of the file that it is of.
    pub length: u32,
    /// Where they begin, in bytes of the same file.
    pub offset: u64,
}

impl ReadHashRequest {
    /// Reads the request at the front of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, InfoError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            hash_type: reader.u32_le().map_err(InfoError::cut("HashType"))?,
            hash_version: reader.u32_le().map_err(InfoError::cut("HashVersion"))?,
            hash_retrieval_type: reader.u32_le().map_err(InfoError::cut("HashRetrievalType"))?,
            length: reader.u32_le().map_err(InfoError::cut("Length"))?,
            offset: reader.u64_le().map_err(InfoError::cut("Offset"))?,
        })
    }

    /// Writes the request, of [`REQUEST_BYTES`].
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.u32_le(self.hash_type);
        writer.u32_le(self.hash_version);
        writer.u32_le(self.hash_retrieval_type);
        writer.u32_le(self.length);
        writer.u64_le(self.offset);
        writer.check()
    }
}

/// What a SRV_HASH_RETRIEVE_HASH_BASED response has in front of its buffer (MS-SMB2 2.2.32.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HashBasedHead {
    /// Where the buffer's bytes begin in the content information file.
    pub offset: u64,
    /// Bytes of the buffer.
    pub buffer_length: u32,
}

impl HashBasedHead {
    /// Reads the response at the front of `bytes`: its head, and its buffer.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), InfoError> {
        let mut reader = Reader::new(bytes);
        let offset = reader.u64_le().map_err(InfoError::cut("Offset"))?;
        let (buffer_length, buffer) = take_buffer(&mut reader)?;
        Ok((Self { offset, buffer_length }, buffer))
    }

    /// Writes the head, of [`HASH_BASED_BYTES`]; the buffer comes next.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.u64_le(self.offset);
        writer.u32_le(self.buffer_length);
        // 2.2.32.4.2: the server MUST set Reserved to 0.
        writer.u32_le(0);
        writer.check()
    }
}

/// What a SRV_HASH_RETRIEVE_FILE_BASED response has in front of its buffer (MS-SMB2 2.2.32.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FileBasedHead {
    /// Where the part of the file that the hashes are of begins, in bytes of the file.
    pub file_data_offset: u64,
    /// How many bytes of the file the hashes are of.
    pub file_data_length: u64,
    /// Bytes of the buffer.
    pub buffer_length: u32,
}

impl FileBasedHead {
    /// Reads the response at the front of `bytes`: its head, and its buffer.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), InfoError> {
        let mut reader = Reader::new(bytes);
        let file_data_offset = reader.u64_le().map_err(InfoError::cut("FileDataOffset"))?;
        let file_data_length = reader.u64_le().map_err(InfoError::cut("FileDataLength"))?;
        let (buffer_length, buffer) = take_buffer(&mut reader)?;
        Ok((Self { file_data_offset, file_data_length, buffer_length }, buffer))
    }

    /// Writes the head, of [`FILE_BASED_BYTES`]; the buffer comes next.
    pub fn emit(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.u64_le(self.file_data_offset);
        writer.u64_le(self.file_data_length);
        writer.u32_le(self.buffer_length);
        // 2.2.32.4.3: the server MUST set Reserved to zero.
        writer.u32_le(0);
        writer.check()
    }
}

/// BufferLength, Reserved and Buffer, with which both responses end.
fn take_buffer<'a>(reader: &mut Reader<'a>) -> Result<(u32, &'a [u8]), InfoError> {
    let len = reader.u32_le().map_err(InfoError::cut("BufferLength"))?;
    // 2.2.32.4.2 and 2.2.32.4.3: the client MUST ignore Reserved on receipt.
    reader.u32_le().map_err(InfoError::cut("Reserved"))?;
    let all = usize::try_from(len).unwrap_or(usize::MAX);
    Ok((len, reader.take(all).map_err(InfoError::cut("Buffer"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version 1 header with the name `\a` in front of 134 bytes of content information.
    #[rustfmt::skip]
    const HEADER: [u8; 40] = [
        1, 0, 0, 0,  1, 0, 0, 0,
        0x00, 0x80, 0x3e, 0xd5, 0xde, 0xb1, 0x9d, 0x01,
        0x05, 0, 0, 0, 1, 0, 0, 0,
        0x86, 0, 0, 0,  40, 0, 0, 0,  0, 0,  4, 0,
        b'\\', 0, b'a', 0,
    ];

    const REPR: HashHeaderRepr<'static> = HashHeaderRepr {
        hash_type: SRV_HASH_TYPE_PEER_DIST,
        hash_version: SRV_HASH_VER_1,
        source_file_change_time: 116_444_736_000_000_000, // 1970-01-01
        source_file_size: (1 << 32) + 5,
        hash_blob_length: 134,
        hash_blob_offset: 40,
        dirty: false,
        source_file_name: b"\\\0a\0",
    };

    fn fault<T>(result: Result<T, InfoError>) -> (&'static str, u64, InfoFault) {
        let error = result.map(|_| ()).unwrap_err();
        (error.field, error.offset, error.reason)
    }

    /// Every cut of `bytes` is refused, in the field, of those that begin at `fields`, that is cut.
    #[track_caller]
    fn refuses_cuts<T>(
        parse: impl Fn(&'static [u8]) -> Result<T, InfoError>,
        bytes: &'static [u8],
        fields: &[(&'static str, u64)],
    ) {
        for len in 0..bytes.len() {
            let &(field, at) = fields.iter().rfind(|&&(_, at)| at <= len as u64).unwrap();
            assert_eq!(fault(parse(&bytes[..len])), (field, at, InfoFault::Truncated), "{len}");
        }
    }

    #[test]
    fn header_there_and_back() {
        assert_eq!(HashHeaderRepr::parse(&HEADER), Ok(REPR));
        let mut buf = [0; 40];
        assert_eq!(REPR.buffer_len(), buf.len());
        assert_eq!(REPR.emit(&mut buf), Ok(()));
        assert_eq!(buf, HEADER);
        for room in 0..40 {
            assert_eq!(REPR.emit(&mut buf[..room]), Err(NoRoom));
        }
        refuses_cuts(
            HashHeaderRepr::parse,
            &HEADER,
            &[
                ("HashType", 0),
                ("HashVersion", 4),
                ("SourceFileChangeTime", 8),
                ("SourceFileSize", 16),
                ("HashBlobLength", 24),
                ("HashBlobOffset", 28),
                ("Dirty", 32),
                ("SourceFileNameLength", 34),
                ("SourceFileName", 36),
            ],
        );
    }

    #[test]
    fn values_of_a_header() {
        let with = |at: usize, value: u8| {
            let mut bytes = HEADER;
            bytes[at] = value;
            bytes
        };
        // Values that the document does not list.
        assert_eq!(HashHeaderRepr::parse(&with(3, 9)), Ok(HashHeaderRepr { hash_type: 0x0900_0001, ..REPR }));
        assert_eq!(HashHeaderRepr::parse(&with(4, 3)), Ok(HashHeaderRepr { hash_version: 3, ..REPR }));
        for at in [32, 33] {
            assert_eq!(HashHeaderRepr::parse(&with(at, 2)), Ok(HashHeaderRepr { dirty: true, ..REPR }));
        }
        let mut buf = [0; 40];
        HashHeaderRepr { dirty: true, ..REPR }.emit(&mut buf).unwrap();
        assert_eq!(buf, with(32, 1));

        let inside = fault(HashHeaderRepr::parse(&with(28, 39)));
        assert_eq!(inside, ("HashBlobOffset", 28, InfoFault::OutOfRange(39)));
        assert!(HashHeaderRepr::parse(&with(28, 41)).is_ok());
        let inside = fault(HashHeaderRepr::parse(&with(34, 5)));
        assert_eq!(inside, ("HashBlobOffset", 28, InfoFault::OutOfRange(40)));
    }

    #[test]
    fn names_as_long_as_their_length_can_say() {
        let name = [1; 65_536];
        let mut buf = [0; 65_572];
        let longest = HashHeaderRepr { source_file_name: &name[1..], hash_blob_offset: 65_571, ..REPR };
        assert_eq!(longest.emit(&mut buf), Ok(()));
        assert_eq!(HashHeaderRepr::parse(&buf), Ok(longest));
        assert_eq!(HashHeaderRepr { source_file_name: &name, ..longest }.emit(&mut buf), Err(NoRoom));
    }

    #[test]
    fn requests_there_and_back() {
        #[rustfmt::skip]
        const REQUEST: [u8; REQUEST_BYTES] = [
            1, 0, 0, 0,  2, 0, 0, 0,  2, 0, 0, 0,  0, 0, 1, 0,
            0x03, 0, 0, 0, 0x80, 0, 0, 0,
        ];
        let request = ReadHashRequest {
            hash_type: SRV_HASH_TYPE_PEER_DIST,
            hash_version: SRV_HASH_VER_2,
            hash_retrieval_type: SRV_HASH_RETRIEVE_FILE_BASED,
            length: 65_536,
            offset: (1 << 39) + 3,
        };
        assert_eq!(ReadHashRequest::parse(&REQUEST), Ok(request));
        let mut buf = [0; REQUEST_BYTES];
        assert_eq!(request.emit(&mut Writer::new(&mut buf)), Ok(()));
        assert_eq!(buf, REQUEST);
        assert_eq!(request.emit(&mut Writer::new(&mut buf[1..])), Err(NoRoom));
        refuses_cuts(
            ReadHashRequest::parse,
            &REQUEST,
            &[("HashType", 0), ("HashVersion", 4), ("HashRetrievalType", 8), ("Length", 12), ("Offset", 16)],
        );
        let odd = ReadHashRequest { hash_type: 7, hash_version: 8, hash_retrieval_type: 9, ..request };
        odd.emit(&mut Writer::new(&mut buf)).unwrap();
        assert_eq!(ReadHashRequest::parse(&buf), Ok(odd));
    }

    #[test]
    fn hash_based_responses_there_and_back() {
        #[rustfmt::skip]
        const RESPONSE: [u8; 19] = [
            0, 0, 0, 0, 2, 0, 0, 0,  3, 0, 0, 0,  0, 0, 0, 0,
            7, 8, 9,
        ];
        let head = HashBasedHead { offset: 1 << 33, buffer_length: 3 };
        assert_eq!(HashBasedHead::parse(&RESPONSE), Ok((head, &[7, 8, 9][..])));
        let mut buf = [0xaa; 16];
        assert_eq!(head.emit(&mut Writer::new(&mut buf)), Ok(()));
        assert_eq!((&buf, buf.len()), (&RESPONSE[..16].try_into().unwrap(), HASH_BASED_BYTES as usize));
        assert_eq!(head.emit(&mut Writer::new(&mut buf[1..])), Err(NoRoom));
        let fields = [("Offset", 0), ("BufferLength", 8), ("Reserved", 12), ("Buffer", 16)];
        refuses_cuts(HashBasedHead::parse, &RESPONSE, &fields);

        let mut reserved = RESPONSE;
        reserved[12..16].fill(0xff);
        assert_eq!(HashBasedHead::parse(&reserved), Ok((head, &[7, 8, 9][..])));
        let mut long = RESPONSE;
        long[8..12].fill(0xff);
        assert_eq!(fault(HashBasedHead::parse(&long)), ("Buffer", 16, InfoFault::Truncated));
    }

    #[test]
    fn file_based_responses_there_and_back() {
        #[rustfmt::skip]
        const RESPONSE: [u8; 26] = [
            0, 0, 2, 0, 1, 0, 0, 0,  0, 0, 0, 0, 2, 0, 0, 0,
            2, 0, 0, 0,  0, 0, 0, 0,
            7, 8,
        ];
        let head = FileBasedHead {
            file_data_offset: (1 << 32) + 131_072,
            file_data_length: 1 << 33,
            buffer_length: 2,
        };
        assert_eq!(FileBasedHead::parse(&RESPONSE), Ok((head, &[7, 8][..])));
        let mut buf = [0xaa; 24];
        assert_eq!(head.emit(&mut Writer::new(&mut buf)), Ok(()));
        assert_eq!((&buf, buf.len()), (&RESPONSE[..24].try_into().unwrap(), FILE_BASED_BYTES as usize));
        assert_eq!(head.emit(&mut Writer::new(&mut buf[1..])), Err(NoRoom));
        let fields = [
            ("FileDataOffset", 0),
            ("FileDataLength", 8),
            ("BufferLength", 16),
            ("Reserved", 20),
            ("Buffer", 24),
        ];
        refuses_cuts(FileBasedHead::parse, &RESPONSE, &fields);

        let mut reserved = RESPONSE;
        reserved[20..24].fill(0xff);
        assert_eq!(FileBasedHead::parse(&reserved), Ok((head, &[7, 8][..])));
    }
}
