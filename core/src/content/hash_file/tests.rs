//! A file of each version, and requests for it.

extern crate std;

use core::ops::Range;
use std::string::ToString;
use std::vec::Vec;

use super::wire::*;
use super::*;
use crate::bytes::Writer;
use crate::content::publish::v2::Publisher;
use crate::content::segmenter::{SegmentLen, Segmentation};
use crate::content::{EndForm, server_secret, v1};
use crate::crypto::{HashAlgorithm, SoftCrypto};

/// Content information 1.0 of five bytes, made up.
fn info_v1() -> Vec<u8> {
    let mut info = std::vec![0x00, 0x01, 0x0c, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    info.extend([0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 1, 0]);
    info.extend([0xaa; 64]);
    info.extend([1, 0, 0, 0]);
    info.extend([0xbb; 32]);
    info
}

/// A file of `version` with `info` behind a header, with a name of two characters, and behind
/// `gap` bytes.
fn file_of(version: u8, gap: u8, info: &[u8]) -> Vec<u8> {
    let mut file = std::vec![1, 0, 0, 0, version, 0, 0, 0];
    file.extend([0x00, 0x80, 0x3e, 0xd5, 0xde, 0xb1, 0x9d, 0x01]);
    file.extend([5, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([info.len() as u8, 0, 0, 0, 40 + gap, 0, 0, 0]);
    file.extend([0, 0, 4, 0]);
    file.extend(b"\\\0a\0");
    file.extend((0..gap).map(|_| 0xee));
    file.extend(info);
    file
}

fn refusal(file: &[u8]) -> (&'static str, u64, InfoFault) {
    let error = HashFile::parse(&file).err().unwrap();
    (error.field, error.offset, error.reason)
}

fn all_of(source: &dyn InfoSource) -> Vec<u8> {
    let mut bytes = std::vec![0; source.len() as usize];
    source.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_file_of_version_1() {
    for gap in [0, 8] {
        let file = file_of(1, gap, &info_v1());
        let source = &file.as_slice();
        let parsed = HashFile::parse(source).unwrap();
        assert_eq!((parsed.hash_type(), parsed.hash_version()), (1, 1));
        assert_eq!(parsed.source_file_change_time(), 116_444_736_000_000_000);
        assert_eq!((parsed.source_file_size(), parsed.is_dirty()), (5, false));
        assert_eq!(all_of(&parsed.source_file_name()), b"\\\0a\0");
        assert_eq!(all_of(&parsed.blob()), info_v1());
        assert_eq!(v1::Info::parse(&parsed.blob()).unwrap().range(), 0..5);
    }
}

#[test]
fn a_blob_ends_where_the_header_says() {
    // Bytes may follow: only the header tells where the content information ends.
    let mut file = file_of(1, 0, &info_v1());
    file.push(0);
    assert_eq!(HashFile::parse(&file.as_slice()).unwrap().blob().len(), 134);
    // In version 2, a length of zero tells nothing.
    for (version, len) in [(1, 0), (2, 7)] {
        let mut file = file_of(version, 1, &[9; 7]);
        file[24] = 0;
        assert_eq!(HashFile::parse(&file.as_slice()).unwrap().blob().len(), len);
    }
}

#[test]
fn windows_have_ends() {
    let file = file_of(1, 0, &info_v1());
    let source = &file.as_slice();
    let name = HashFile::parse(source).unwrap().source_file_name();
    let mut buf = [0; 2];
    assert_eq!(name.read_at(2, &mut buf), Ok(()));
    assert_eq!(&buf, b"a\0");
    for offset in [3, 4, 5, u64::MAX - 1, u64::MAX] {
        assert_eq!(name.read_at(offset, &mut buf), Err(InfoUnreadable { offset }));
    }
}

#[test]
fn headers_that_do_not_fit_their_file() {
    let file = file_of(1, 8, &info_v1());
    let fields = [
        ("HashType", 0),
        ("HashVersion", 4),
        ("SourceFileChangeTime", 8),
        ("SourceFileSize", 16),
        ("HashBlobLength", 24),
        ("HashBlobOffset", 28),
        ("Dirty", 32),
        ("SourceFileNameLength", 34),
        ("SourceFileName", 36),
        // The name is there; where the content information should begin, the file has ended.
        ("HashBlobOffset", 28),
        // It begins; where it should end, the file has ended.
        ("HashBlobLength", 24),
    ];
    let starts = [0, 4, 8, 16, 24, 28, 32, 34, 36, 40, 48];
    for len in 0..file.len() {
        let which = starts.iter().rposition(|&start| start <= len).unwrap();
        let (field, at) = fields[which];
        assert_eq!(refusal(&file[..len]), (field, at, InfoFault::Truncated), "{len}");
    }
    let with = |at: usize, value: [u8; 4]| {
        let mut file = file.clone();
        file[at..at + 4].copy_from_slice(&value);
        refusal(&file)
    };
    assert_eq!(with(24, [135, 0, 0, 0]), ("HashBlobLength", 24, InfoFault::Truncated));
    assert_eq!(with(24, [0xff; 4]), ("HashBlobLength", 24, InfoFault::Truncated));
    assert_eq!(with(28, [49, 0, 0, 0]), ("HashBlobLength", 24, InfoFault::Truncated));
    assert_eq!(with(28, [0xff; 4]), ("HashBlobOffset", 28, InfoFault::Truncated));
    assert_eq!(with(28, [39, 0, 0, 0]), ("HashBlobOffset", 28, InfoFault::OutOfRange(39)));
    assert_eq!(with(28, [0; 4]), ("HashBlobOffset", 28, InfoFault::OutOfRange(0)));
    // Dirty, and a name up to the last byte in front of the content information, and one more.
    assert_eq!(with(32, [0, 0, 13, 0]), ("HashBlobOffset", 28, InfoFault::OutOfRange(48)));
    assert_eq!(with(32, [0, 0, 0xff, 0xff]), ("HashBlobOffset", 28, InfoFault::OutOfRange(48)));
}

/// A medium that always fails.
struct Torn;

impl InfoSource for Torn {
    fn len(&self) -> u64 {
        1_000
    }
    fn read_at(&self, offset: u64, _: &mut [u8]) -> Result<(), InfoUnreadable> {
        Err(InfoUnreadable { offset })
    }
}

#[test]
fn a_file_that_cannot_be_read() {
    let error = HashFile::parse(&Torn).err().unwrap();
    assert_eq!(error, InfoError::new("HashType", 0, InfoFault::Unreadable));
}

/// As in the table of MS-SMB2 2.2.31.2.
fn request(hash_type: u8, version: u8, retrieval: u8, length: u32, offset: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    (bytes[0], bytes[4], bytes[8]) = (hash_type, version, retrieval);
    bytes[12..16].copy_from_slice(&length.to_le_bytes());
    bytes[16..].copy_from_slice(&offset.to_le_bytes());
    bytes
}

/// What is asked, of a file of five bytes, when nothing is wrong.
fn asked<'a>(input: &'a [u8], file: &'a dyn InfoSource) -> ReadHash<'a> {
    ReadHash {
        input,
        max_output_response: 4_096,
        dialect: Dialect::Smb3,
        hash_level: HashLevel::EnableAll,
        file: Some(file),
        source_len: 5,
    }
}

fn status(asked: &ReadHash<'_>) -> Option<NtStatus> {
    asked.decide().err()
}

fn reply<'a>(asked: &ReadHash<'a>) -> Reply<'a> {
    match asked.decide() {
        Ok(Answer::Reply(reply)) => reply,
        _ => panic!("not answered at once"),
    }
}

fn file_based<'a>(asked: &ReadHash<'a>) -> FileBased<'a> {
    match asked.decide() {
        Ok(Answer::FileBased(plan)) => plan,
        _ => panic!("not answered by file"),
    }
}

/// The whole response, whose buffer is read in pieces of `step` bytes.
fn response(reply: &Reply<'_>, step: usize) -> Vec<u8> {
    let mut head = [0; 24];
    let mut writer = Writer::new(&mut head);
    reply.emit_head(&mut writer).unwrap();
    let mut bytes = writer.finish().to_vec();
    let mut buffer = std::vec![0; reply.buffer().len() as usize];
    for (index, piece) in buffer.chunks_mut(step).enumerate() {
        reply.buffer().read_at((index * step) as u64, piece).unwrap();
    }
    bytes.extend(buffer);
    assert_eq!(bytes.len(), reply.output_count() as usize);
    bytes
}

#[test]
fn statuses_have_the_numbers_of_windows() {
    for (status, code, name) in [
        (NtStatus::NotSupported, 0xC00000BB, "STATUS_NOT_SUPPORTED"),
        (NtStatus::HashNotSupported, 0xC000A100, "STATUS_HASH_NOT_SUPPORTED"),
        (NtStatus::HashNotPresent, 0xC000A101, "STATUS_HASH_NOT_PRESENT"),
        (NtStatus::BufferTooSmall, 0xC0000023, "STATUS_BUFFER_TOO_SMALL"),
        (NtStatus::InvalidParameter, 0xC000000D, "STATUS_INVALID_PARAMETER"),
        (NtStatus::EndOfFile, 0xC0000011, "STATUS_END_OF_FILE"),
    ] {
        assert_eq!((status.code(), status.to_string().as_str()), (code, name));
    }
}

#[test]
fn servers_that_hand_out_nothing() {
    let (file, good) = (file_of(1, 0, &info_v1()), request(1, 1, 1, 4_096, 0));
    let source = &file.as_slice();
    let ask = asked(&good, source);
    let with = |hash_level, file| status(&ReadHash { hash_level, file, ..ask });
    for (hash_level, expected) in [
        (HashLevel::Unsupported, Some(NtStatus::NotSupported)),
        (HashLevel::Unavailable, Some(NtStatus::HashNotPresent)),
        (HashLevel::DisableAll, Some(NtStatus::HashNotSupported)),
        (HashLevel::EnableShare { hash_enabled: false }, Some(NtStatus::HashNotSupported)),
        (HashLevel::EnableShare { hash_enabled: true }, None),
        (HashLevel::EnableAll, None),
    ] {
        assert_eq!(with(hash_level, Some(source)), expected, "{hash_level:?}");
    }
    assert_eq!(with(HashLevel::EnableAll, None), Some(NtStatus::HashNotPresent));
    // The order of the document: first the level, then the file, then the share.
    assert_eq!(with(HashLevel::DisableAll, None), Some(NtStatus::HashNotSupported));
    let share = HashLevel::EnableShare { hash_enabled: false };
    assert_eq!(with(share, None), Some(NtStatus::HashNotPresent));
    let cut = |hash_level| status(&ReadHash { hash_level, input: &[], ..ask });
    assert_eq!(cut(HashLevel::Unsupported), Some(NtStatus::NotSupported));
    assert_eq!(cut(HashLevel::Unavailable), Some(NtStatus::HashNotPresent));
    assert_eq!(cut(HashLevel::DisableAll), Some(NtStatus::BufferTooSmall));
}

#[test]
fn requests_that_do_not_fit_their_buffers() {
    for (version, least) in [(1, 16), (2, 24)] {
        let file = file_of(version, 0, &info_v1());
        // From behind the header on, so that nothing but the response's head needs room.
        let good = request(1, version, version, 4_096, 1);
        let source = &file.as_slice();
        let ask = asked(&good, source);
        for len in 0..24 {
            let cut = ReadHash { input: &good[..len], ..ask };
            assert_eq!(status(&cut), Some(NtStatus::BufferTooSmall), "{len}");
        }
        let long = [&good[..], &[0xff]].concat();
        assert_eq!(status(&ReadHash { input: &long, ..ask }), None);
        for max_output_response in [0, 1, least - 1] {
            let small = ReadHash { max_output_response, ..ask };
            assert_eq!(status(&small), Some(NtStatus::BufferTooSmall), "{max_output_response}");
        }
        for max_output_response in [least, u32::MAX] {
            assert_eq!(status(&ReadHash { max_output_response, ..ask }), None);
        }
    }
}

#[test]
fn parameters_that_go_together() {
    // HashType, HashVersion, HashRetrievalType: which dialects know the combination.
    for hash_type in 0..4 {
        for version in 0..4 {
            for retrieval in 0..4 {
                let file = file_of(version, 0, &info_v1());
                let input = request(hash_type, version, retrieval, 4_096, 0);
                let expected = |known: bool| (!known).then_some(NtStatus::InvalidParameter);
                let source = &file.as_slice();
                let ask = asked(&input, source);
                let known = matches!((hash_type, version, retrieval), (1, 1, 1));
                assert_eq!(
                    status(&ReadHash { dialect: Dialect::Smb21, ..ask }),
                    expected(known),
                    "{input:?}"
                );
                let known = matches!((hash_type, version, retrieval), (1, 1, 1) | (1, 2, 2));
                assert_eq!(status(&ask), expected(known), "{input:?}");
                // Before anything is said of files.
                let no_file = ReadHash { file: None, ..ask };
                assert_eq!(status(&no_file), expected(known).or(Some(NtStatus::HashNotPresent)), "{input:?}");
                let disabled = ReadHash { hash_level: HashLevel::DisableAll, ..ask };
                let or_disabled = expected(known).or(Some(NtStatus::HashNotSupported));
                assert_eq!(status(&disabled), or_disabled, "{input:?}");
            }
        }
    }
    // High bytes count.
    let file = file_of(1, 0, &info_v1());
    for at in [1, 5, 9, 3, 7, 11] {
        let mut input = request(1, 1, 1, 4_096, 0);
        input[at] = 1;
        assert_eq!(status(&asked(&input, &file.as_slice())), Some(NtStatus::InvalidParameter), "{at}");
    }
}

#[test]
fn offsets_at_and_behind_the_end() {
    let file = file_of(1, 0, &info_v1());
    let len = file.len() as u64;
    for (offset, expected) in [
        (0, None),
        (len - 1, None),
        (len, Some(NtStatus::EndOfFile)),
        (len + 1, Some(NtStatus::EndOfFile)),
        (u64::MAX, Some(NtStatus::EndOfFile)),
    ] {
        let input = request(1, 1, 1, u32::MAX, offset);
        // By hash, the length of the source file is nothing to go by.
        let source = &file.as_slice();
        let ask = ReadHash { source_len: 0, ..asked(&input, source) };
        assert_eq!(status(&ask), expected, "{offset}");
    }
    let file = file_of(2, 0, &info_v1());
    let end = (1u64 << 40) + 1;
    for (offset, source_len, expected) in [
        (0, 5, None),
        (4, 5, None),
        (5, 5, Some(NtStatus::EndOfFile)),
        (0, 0, Some(NtStatus::EndOfFile)),
        (end - 1, end, None),
        (end, end, Some(NtStatus::EndOfFile)),
        (u64::MAX, end, Some(NtStatus::EndOfFile)),
    ] {
        let input = request(1, 2, 2, u32::MAX, offset);
        let source = &file.as_slice();
        let ask = ReadHash { source_len, ..asked(&input, source) };
        assert_eq!(status(&ask), expected, "{offset} of {source_len}");
    }
}

#[test]
fn files_that_have_no_hashes_to_hand_out() {
    for version in [1, 2] {
        let input = request(1, version, version, 4_096, 0);
        let good = file_of(version, 0, &info_v1());
        assert_eq!(status(&asked(&input, &good.as_slice())), None);
        let with = |at: usize, value: u8| {
            let mut file = good.clone();
            file[at] = value;
            file
        };
        for bad in [
            Vec::new(),           // Empty.
            good[..35].to_vec(),  // No whole HASH_HEADER.
            with(28, 39),         // No valid one.
            with(25, 1),          // Nor this.
            with(0, 2),           // Another HashType.
            with(3, 1),           // Another HashType.
            with(4, 3 - version), // Another HashVersion.
            with(32, 1),          // Dirty.
            with(33, 0x80),       // Dirty.
        ] {
            assert_eq!(status(&asked(&input, &bad.as_slice())), Some(NtStatus::HashNotPresent), "{bad:?}");
        }
        assert_eq!(status(&asked(&input, &Torn)), Some(NtStatus::HashNotPresent));
    }
    // A request for the type 2 of retrieval is one for the type 1 of hashes (fact 15).
    let input = request(1, 2, 2, 4_096, 0);
    let mut file = file_of(2, 0, &info_v1());
    file[0] = 2;
    assert_eq!(status(&asked(&input, &file.as_slice())), Some(NtStatus::HashNotPresent));
    // The end is looked for before the header.
    let input = request(1, 1, 1, 4_096, 1);
    assert_eq!(status(&asked(&input, &[0].as_slice())), Some(NtStatus::EndOfFile));
    assert_eq!(status(&asked(&input, &[0, 0].as_slice())), Some(NtStatus::HashNotPresent));
}

#[test]
fn answers_by_hash() {
    let file = file_of(1, 0, &info_v1());
    for (max_output_response, length, offset, expected) in [
        (4_096, 4_096, 0, 0..174),
        (4_096, 174, 0, 0..174),
        (4_096, 173, 0, 0..173),
        (4_096, u32::MAX, 170, 170..174),
        (4_096, 0, 0, 0..0),
        (16, 4_096, 3, 3..3),
        (17, 4_096, 3, 3..4),
        (116, 4_096, 40, 40..140),
        (116, 99, 40, 40..139),
        (u32::MAX, u32::MAX, 1, 1..174),
    ] {
        let input = request(1, 1, 1, length, offset);
        let source = &file.as_slice();
        let reply = reply(&ReadHash { max_output_response, ..asked(&input, source) });
        let mut bytes = std::vec![offset as u8, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([expected.len() as u8, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(&file[expected]);
        for step in [1, 7, 4_096] {
            assert_eq!(response(&reply, step), bytes);
        }
        assert!(reply.output_count() <= max_output_response);
        let end = reply.buffer().len();
        let behind = reply.buffer().read_at(end, &mut [0]);
        assert_eq!(behind, Err(InfoUnreadable { offset: end }));
    }
}

#[test]
fn answers_by_file() {
    // Excerpts are the caller's: any bytes do.
    let excerpt: &[u8] = &[0x5a; 80];
    for gap in [0, 3] {
        let file = file_of(2, gap, &info_v1());
        let input = request(1, 2, 2, 3_000, 0);
        let source = &file.as_slice();
        let ask = ReadHash { source_len: 1 << 40, ..asked(&input, source) };
        let plan = file_based(&ask);
        assert_eq!(all_of(&plan.file().blob()), info_v1());
        assert_eq!((plan.range(), plan.room()), (0..3_000, 4_096 - 24 - 40 - u32::from(gap)));

        let reply = plan.reply(&excerpt, 0..131_072).unwrap();
        let header = usize::from(40 + gap);
        let mut bytes = std::vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0];
        bytes.extend([header as u8 + 80, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(&file[..header]);
        bytes[24 + 24] = 0; // HashBlobLength.
        bytes.extend(excerpt);
        for step in [1, 3, 26, 41, 4_096] {
            assert_eq!(response(&reply, step), bytes);
        }
        // What a client finds in it.
        let (head, buffer) = FileBasedHead::parse(&bytes).unwrap();
        assert_eq!((head.file_data_offset, head.file_data_length), (0, 131_072));
        assert_eq!(all_of(&HashFile::parse(&buffer).unwrap().blob()), excerpt);
        let end = reply.buffer().len();
        for (offset, len) in [(end, 1), (end - 1, 2), (39, end as usize), (u64::MAX, 1)] {
            let result = reply.buffer().read_at(offset, &mut std::vec![0; len]);
            assert_eq!(result, Err(InfoUnreadable { offset }));
        }
    }
}

#[test]
fn only_the_offset_0_gets_the_header() {
    let file = file_of(2, 0, &info_v1());
    let input = request(1, 2, 2, 500, (1 << 33) + 1);
    let source = &file.as_slice();
    let plan = file_based(&ReadHash { source_len: 1 << 40, ..asked(&input, source) });
    assert_eq!((plan.range(), plan.room()), ((1 << 33) + 1..(1 << 33) + 501, 4_072));
    // Bytes where a header would have its HashBlobLength stay as they are.
    let excerpt: &[u8] = &[0x5a; 80];
    let reply = plan.reply(&excerpt, 1 << 33..(1 << 33) + 70_000).unwrap();
    let mut bytes = std::vec![0, 0, 0, 0, 2, 0, 0, 0, 0x70, 0x11, 1, 0, 0, 0, 0, 0];
    bytes.extend([80, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(excerpt);
    assert_eq!(response(&reply, 9), bytes);
}

#[test]
fn ranges_of_the_file() {
    let file = file_of(2, 0, &info_v1());
    for (max_output_response, length, offset, source_len, expected) in [
        (4_096, 100, 0, 5, 0..5),
        (4_096, 100, 3, 5, 3..5),
        (4_096, 100, 3, 1_000, 3..103),
        (4_096, u32::MAX, 3, u64::MAX, 3..4_075),
        (124, 1_000, 7, 1_000, 7..107),
        (24, 1_000, 7, 1_000, 7..7),
        (4_096, 0, 7, 1_000, 7..7),
        (4_096, 2, u64::MAX - 1, u64::MAX, u64::MAX - 1..u64::MAX),
    ] {
        let input = request(1, 2, 2, length, offset);
        let source = &file.as_slice();
        let ask = ReadHash { max_output_response, source_len, ..asked(&input, source) };
        assert_eq!(file_based(&ask).range(), expected);
    }
}

#[test]
fn parts_that_there_is_room_for() {
    // Ten segments of 100 bytes in chunks of three.
    let ks = server_secret(&mut SoftCrypto, HashAlgorithm::TruncatedSha512, b"key");
    let hundred = Segmentation::Fixed(SegmentLen::new(100).unwrap());
    let mut publisher = Publisher::with_layout(ks, hundred, EndForm::Zero, 3);
    let mut blob = [0; 31 + 10 * 68 + 4 * 5];
    publisher.update(&mut SoftCrypto, &[7; 1_000], &mut blob.as_mut_slice()).unwrap();
    let info = publisher.finish(&mut SoftCrypto, &mut blob.as_mut_slice()).unwrap();

    let mut file = file_of(2, 0, &[]);
    file.extend(&blob);
    let source = &file.as_slice();
    let excerpt = |max_output_response, length, offset| {
        let input = request(1, 2, 2, length, offset);
        let ask = ReadHash { max_output_response, source_len: 1_000, ..asked(&input, source) };
        let plan = file_based(&ask);
        let blob = plan.file().blob();
        let excerpt = plan.excerpt(&info, &blob)?;
        let covered = excerpt.info().range();
        let reply = plan.reply(&excerpt, covered.clone())?;
        assert!(reply.output_count() <= max_output_response);
        Ok::<_, NtStatus>((covered, excerpt.len()))
    };
    // All of what is asked for, with three chunks' heads.
    assert_eq!(excerpt(4_096, 600, 150), Ok((150..750, 31 + 3 * 5 + 7 * 68)));
    // Room for a header of 40 bytes, that of the content information and four segments, which are
    // counted as if each had a chunk of its own.
    assert_eq!(excerpt(24 + 40 + 31 + 4 * 73, 400, 0), Ok((0..363, 31 + 2 * 5 + 4 * 68)));
    assert_eq!(excerpt(24 + 31 + 2 * 73, 400, 301), Ok((301..478, 31 + 5 + 2 * 68)));
    assert_eq!(excerpt(24 + 31 + 2 * 73 - 6, 400, 301), Ok((301..400, 31 + 5 + 68)));
    assert_eq!(excerpt(24 + 31 + 72, 400, 301), Err(NtStatus::BufferTooSmall));
    assert_eq!(excerpt(4_096, 0, 301), Err(NtStatus::HashNotPresent));
}

#[test]
fn content_information_that_does_not_answer() {
    let file = file_of(2, 0, &info_v1());
    let input = request(1, 2, 2, 10, 100);
    let source = &file.as_slice();
    let ask = ReadHash { max_output_response: 104, source_len: 1_000, ..asked(&input, source) };
    let plan = file_based(&ask);
    let bytes = [0; 81];
    let with = |len: usize, covered| plan.reply(&&bytes[..len], covered).map(|reply| reply.output_count());
    assert_eq!(with(80, 100..110), Ok(104));
    assert_eq!(with(80, 0..101), Ok(104));
    assert_eq!(with(81, 100..110), Err(NtStatus::BufferTooSmall));
    for covered in [0..100, 101..110, 100..100, Range { start: 110, end: 100 }] {
        assert_eq!(with(80, covered), Err(NtStatus::HashNotPresent));
    }
    // Who asks for nothing gets nothing.
    let input = request(1, 2, 2, 0, 100);
    let plan = file_based(&ReadHash { input: &input, ..ask });
    let nothing: &[u8] = &[];
    assert_eq!(plan.reply(&nothing, 100..100).map(|reply| reply.output_count()), Ok(24));

    // No room for the header.
    let input = request(1, 2, 2, 10, 0);
    let with = |max_output_response| ReadHash { input: &input, max_output_response, ..ask };
    assert_eq!(status(&with(24 + 39)), Some(NtStatus::BufferTooSmall));
    assert_eq!(file_based(&with(24 + 40)).room(), 0);
}
