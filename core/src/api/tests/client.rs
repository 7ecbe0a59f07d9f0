//! Contents: their content information, and reads.

use super::*;
use crate::store::InfoStore;

/// With room for many operations, and for four blocks of each version.
pub(super) type ClientNode = NodeOf<Tabled<2, 1, 1, 1, 4, 128, 400>>;

const TAG: [u8; 16] = *b"a tag of 16 byte";
pub(super) const LOCAL: Patience = Patience::Local;

pub(super) fn client() -> (ClientNode, InstanceHandle) {
    let mut node = node_of(1 << 16, 8);
    let instance = start(&mut node);
    (node, instance)
}

/// Opens a content with that content information.
pub(super) fn open_content(node: &mut ClientNode, instance: InstanceHandle, info: &[u8]) -> ContentHandle {
    let content = node.api().open_content(instance, TAG, 0).unwrap();
    let operation = node.api().add_content_information(content, info);
    assert_eq!(outcome(node, operation), Outcome::Taken(info.len() as u32));
    let operation = node.api().complete_content_information(content);
    assert_eq!(outcome(node, operation), Outcome::Done);
    content
}

pub(super) fn add_data(node: &mut ClientNode, content: ContentHandle, offset: u64, bytes: &[u8]) -> Outcome {
    let operation = node.api().add_data(content, offset, bytes);
    outcome(node, operation)
}

/// Reads without asking anybody.
pub(super) fn read(node: &mut ClientNode, content: ContentHandle, offset: u64, max: u32) -> Outcome {
    let operation = node.api().block_read(NOW, content, offset, max, LOCAL);
    outcome(node, operation)
}

/// Reads, and copies what there is.
pub(super) fn bytes_at(
    node: &mut ClientNode,
    content: ContentHandle,
    offset: u64,
    max: u32,
) -> Option<Vec<u8>> {
    let operation = node.api().block_read(NOW, content, offset, max, LOCAL);
    match outcome(node, operation) {
        Outcome::Data { offset: at, len } => {
            assert_eq!(at, offset);
            let mut bytes = std::vec![0; len as usize];
            assert_eq!(node.api().copy_read(operation.unwrap(), 0, &mut bytes), Ok(bytes.len()));
            node.api().end_read(operation.unwrap());
            Some(bytes)
        }
        Outcome::Missing { .. } => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn conformance_36_content_information_byte_by_byte() {
    let (mut node, instance) = client();
    let bytes = random(200_000);
    for version in [Version::V1, Version::V2] {
        let content = node.api().open_content(instance, TAG, 0).unwrap();
        for byte in expected(&bytes, version).chunks(1) {
            let operation = node.api().add_content_information(content, byte);
            // G2: until its completion has been taken.
            let second = node.api().add_content_information(content, byte);
            assert_eq!(second, Err(ApiError::InvalidParameter));
            assert_eq!(outcome(&mut node, operation), Outcome::Taken(1));
        }
        let operation = node.api().complete_content_information(content);
        for refused in [
            node.api().add_content_information(content, b"x"),
            node.api().complete_content_information(content),
        ] {
            assert_eq!(refused, Err(ApiError::AlreadyCompleted));
        }
        assert_eq!(outcome(&mut node, operation), Outcome::Done);
        assert_eq!(node.api().complete_content_information(content), Err(ApiError::AlreadyCompleted));
        assert_eq!(read(&mut node, content, 0, 1), Outcome::Missing { offset: 0, len: 200_000 });
        node.api().close_content(content).unwrap();
    }
}

/// What completing content information comes to, and then a read.
fn completed(info: &[u8]) -> (Code, Result<OperationId, ApiError>) {
    let (mut node, instance) = client();
    let content = node.api().open_content(instance, TAG, 0).unwrap();
    let operation = node.api().add_content_information(content, info);
    assert_eq!(outcome(&mut node, operation), Outcome::Taken(info.len() as u32));
    node.api().complete_content_information(content).unwrap();
    let [completion] = ended(&mut node)[..] else { panic!("one") };
    let refused = node.api().block_read(NOW, content, 0, 1, LOCAL);
    assert_eq!(node.api().close_content(content), Ok(()));
    (completion.code(), refused)
}

/// As on the publisher's side: it is as if it had not been asked for.
#[test]
fn a_cancelled_completion_leaves_content_information_open() {
    let bytes = random(200_000);
    for version in [Version::V1, Version::V2] {
        let (mut node, instance) = client();
        let info = expected(&bytes, version);
        let content = node.api().open_content(instance, TAG, 0).unwrap();
        let (first, rest) = info.split_at(info.len() - 1);
        let operation = node.api().add_content_information(content, first);
        assert!(matches!(outcome(&mut node, operation), Outcome::Taken(_)));
        let operation = node.api().add_content_information(content, rest);
        assert_eq!(outcome(&mut node, operation), Outcome::Taken(1));
        let operation = node.api().complete_content_information(content).unwrap();
        node.api().cancel_client_operation(content, Some(operation)).unwrap();
        assert_eq!(outcome(&mut node, Ok(operation)), Outcome::Failed(ApiError::Aborted));
        let refused = node.api().block_read(NOW, content, 0, 1, LOCAL);
        assert_eq!(refused, Err(ApiError::InvalidParameter));
        let operation = node.api().complete_content_information(content);
        assert_eq!(outcome(&mut node, operation), Outcome::Done);
        assert_eq!(read(&mut node, content, 0, 1), Outcome::Missing { offset: 0, len: 200_000 });
    }
}

#[test]
fn conformance_37_truncated_content_information_cannot_be_parsed() {
    for version in [Version::V1, Version::V2] {
        let info = expected(b"content", version);
        for len in [0, 1, 17, 40, info.len() - 1] {
            let refused = (Code::CannotParseContentInfo, Err(ApiError::InvalidParameter));
            assert_eq!(completed(&info[..len]), refused, "{len}");
        }
    }
    // Block hashes that are not those of the segment show when they are checked.
    let mut info = expected(b"content", Version::V1);
    *info.last_mut().unwrap() ^= 1;
    assert_eq!(completed(&info).0, Code::CannotParseContentInfo);
}

#[test]
fn conformance_38_another_version_is_not_supported() {
    let mut info = expected(b"content", Version::V1);
    info[1] = 3;
    assert_eq!(completed(&info).0, Code::ContentInfoVersionUnsupported);
}

#[test]
fn conformance_39_no_read_before_content_information_is_complete() {
    let (mut node, instance) = client();
    let content = node.api().open_content(instance, TAG, 0).unwrap();
    let refuses = |node: &mut ClientNode| {
        let mut api = node.api();
        for refused in [api.block_read(NOW, content, 0, 1, LOCAL), api.stream_read(NOW, content, 1, LOCAL)] {
            assert_eq!(refused.map_err(|error| error.code().number()), Err(87));
        }
    };
    refuses(&mut node);
    let operation = node.api().add_content_information(content, &expected(b"content", Version::V1));
    assert_eq!(outcome(&mut node, operation), Outcome::Taken(134));
    refuses(&mut node);
    let operation = node.api().complete_content_information(content);
    // It has not ended yet.
    refuses(&mut node);
    assert_eq!(outcome(&mut node, operation), Outcome::Done);
    assert_eq!(read(&mut node, content, 0, 1), Outcome::Missing { offset: 0, len: 7 });
}

/// `ended` finds that nothing is sent.
#[test]
fn conformance_40_a_read_of_the_empty_store_alone_misses_all() {
    let (mut node, instance) = client();
    let bytes = random(300_000);
    for version in [Version::V1, Version::V2] {
        let content = open_content(&mut node, instance, &expected(&bytes, version));
        node.api().block_read(NOW, content, 0, 9, LOCAL).unwrap();
        let [completion] = ended(&mut node)[..] else { panic!("one") };
        assert_eq!(completion.code(), Code::MissingData);
        assert_eq!((completion.offset(), completion.bytes()), (Some(0), 300_000));
        assert_eq!(read(&mut node, content, 299_999, 9), Outcome::Missing { offset: 299_999, len: 1 });
        let some = open_content(&mut node, instance, &part(&bytes, version, 100..70_000));
        assert_eq!(read(&mut node, some, 100, 9), Outcome::Missing { offset: 100, len: 69_900 });
        node.api().close_content(content).unwrap();
        node.api().close_content(some).unwrap();
    }
}

#[test]
fn conformance_43_data_that_was_added_is_read() {
    let (mut node, instance) = client();
    let bytes = random(200_000);
    for version in [Version::V1, Version::V2] {
        let content = open_content(&mut node, instance, &expected(&bytes, version));
        assert_eq!(add_data(&mut node, content, 0, &bytes), Outcome::Taken(200_000));
        let mut at = 0;
        while at < bytes.len() {
            let read = bytes_at(&mut node, content, at as u64, 50_000).unwrap();
            assert_eq!(read, bytes[at..at + read.len()]);
            assert!((1..=50_000).contains(&read.len()));
            at += read.len();
        }
        node.api().close_content(content).unwrap();
    }
}

#[test]
fn conformance_44_data_that_is_wrong_is_dropped_and_counted() {
    let (mut node, instance) = client();
    let bytes = random(100_000);
    let content = open_content(&mut node, instance, &expected(&bytes, Version::V1));
    let mut wrong = bytes.clone();
    wrong[65_535] ^= 1;
    // G9.
    assert_eq!(add_data(&mut node, content, 0, &wrong), Outcome::Taken(100_000));
    assert_eq!(node.api().dropped(), Dropped { bad_blocks: 1, bytes: 0 });
    // The block that is right is there, the other is not.
    assert_eq!(read(&mut node, content, 0, 1), Outcome::Missing { offset: 0, len: 65_536 });
    assert_eq!(bytes_at(&mut node, content, 65_536, 100_000).unwrap(), bytes[65_536..]);
    assert_eq!(add_data(&mut node, content, 0, &bytes), Outcome::Taken(100_000));
    assert_eq!(bytes_at(&mut node, content, 0, 100_000).unwrap(), bytes[..65_536]);
}

#[test]
fn conformance_45_data_past_the_end_is_out_of_bounds() {
    let (mut node, instance) = client();
    for version in [Version::V1, Version::V2] {
        let content = open_content(&mut node, instance, &expected(b"content", version));
        for offset in [7, 8, u64::MAX] {
            let out = Outcome::Failed(ApiError::OutOfBounds);
            assert_eq!(add_data(&mut node, content, offset, b"x"), out);
        }
        // What begins inside is taken as far as the content goes.
        assert_eq!(add_data(&mut node, content, 0, b"content, and more"), Outcome::Taken(17));
        assert_eq!(bytes_at(&mut node, content, 0, 100).unwrap(), b"content");
        node.api().close_content(content).unwrap();
    }
}

#[test]
fn conformance_47_a_read_of_no_bytes_counts_what_is_here() {
    let (mut node, instance) = client();
    let bytes = random(200_000);
    let content = open_content(&mut node, instance, &expected(&bytes, Version::V1));
    assert_eq!(read(&mut node, content, 5, 0), Outcome::Stored { offset: 5, len: 0 });
    add_data(&mut node, content, 65_536, &bytes[65_536..196_608]);
    assert_eq!(read(&mut node, content, 5, 0), Outcome::Stored { offset: 5, len: 0 });
    assert_eq!(read(&mut node, content, 65_536, 0), Outcome::Stored { offset: 65_536, len: 131_072 });
    assert_eq!(read(&mut node, content, 196_607, 0), Outcome::Stored { offset: 196_607, len: 1 });
    assert_eq!(read(&mut node, content, 196_608, 0), Outcome::Stored { offset: 196_608, len: 0 });
    add_data(&mut node, content, 196_608, &bytes[196_608..]);
    node.api().block_read(NOW, content, 70_000, 0, Patience::from_millis(0xffff_fffe)).unwrap();
    let [completion] = ended(&mut node)[..] else { panic!("one") };
    assert_eq!(completion.code(), Code::Success);
    assert_eq!((completion.offset(), completion.bytes()), (Some(70_000), 130_000));
    // A stream read of none stays where it is.
    for _ in 0..2 {
        let operation = node.api().stream_read(NOW, content, 0, LOCAL);
        assert_eq!(outcome(&mut node, operation), Outcome::Stored { offset: 0, len: 0 });
    }
}

#[test]
fn conformance_48_reads_around_the_range() {
    let (mut node, instance) = client();
    let bytes = random(200_000);
    for version in [Version::V1, Version::V2] {
        let end = 150_000;
        let content = open_content(&mut node, instance, &part(&bytes, version, 70_000..end));
        for (offset, expected) in [
            (69_999, Outcome::Failed(ApiError::NoMore)),
            (70_000, Outcome::Missing { offset: 70_000, len: end as u32 - 70_000 }),
            (end - 1, Outcome::Missing { offset: end - 1, len: 1 }),
            // C4.
            (end, Outcome::Failed(ApiError::NoMore)),
            (end + 1, Outcome::Failed(ApiError::NoMore)),
            (u64::MAX, Outcome::Failed(ApiError::NoMore)),
        ] {
            for max in [1, u32::MAX] {
                assert_eq!(read(&mut node, content, offset, max), expected, "{offset} {version:?}");
            }
        }
        node.api().close_content(content).unwrap();
    }
}

#[test]
fn conformance_49_stream_reads_follow_each_other() {
    let (mut node, instance) = client();
    let bytes = random(200_000);
    let content = open_content(&mut node, instance, &expected(&bytes, Version::V1));
    add_data(&mut node, content, 0, &bytes);
    let asked: Vec<_> =
        (1..=16).map(|n| node.api().stream_read(NOW, content, n * 1_000, LOCAL).unwrap()).collect();
    let (mut next, mut seen) = (0, Vec::new());
    // What is copied leaves its row to those that wait.
    while seen.len() < asked.len() {
        let completions = ended(&mut node);
        assert!(!completions.is_empty());
        for completion in completions {
            assert_eq!(completion.offset(), Some(next));
            let len = completion.bytes() as usize;
            let mut buf = std::vec![0; len];
            assert_eq!(node.api().copy_read(completion.operation, 0, &mut buf), Ok(len));
            assert_eq!(buf, bytes[next as usize..][..len]);
            node.api().end_read(completion.operation);
            next += len as u64;
            seen.push(completion.operation);
        }
    }
    assert_eq!(seen, asked);
    // A block ends between two of them, where one is cut short.
    assert!((65_536..136_000).contains(&next));
}

#[test]
fn conformance_50_51_52_a_stream_goes_over_holes_to_the_end() {
    let (mut node, instance) = client();
    let bytes = random(200_000);
    let content = open_content(&mut node, instance, &expected(&bytes, Version::V1));
    add_data(&mut node, content, 0, &bytes[..65_536]);
    add_data(&mut node, content, 131_072, &bytes[131_072..196_608]);
    let stream = |node: &mut ClientNode, max| {
        // 52: which no other read disturbs.
        node.api().block_read(NOW, content, 0, 10, LOCAL).unwrap();
        node.api().stream_read(NOW, content, max, LOCAL).unwrap();
        let completions = ended(node);
        completions.iter().for_each(|completion| node.api().end_read(completion.operation));
        assert_eq!(completions.len(), 2);
        completions.into_iter().find(|completion| completion.bytes() != 10).unwrap().outcome
    };
    assert_eq!(stream(&mut node, 60_000), Outcome::Data { offset: 0, len: 60_000 });
    assert_eq!(stream(&mut node, 60_000), Outcome::Data { offset: 60_000, len: 5_536 });
    assert_eq!(stream(&mut node, 5), Outcome::Missing { offset: 65_536, len: 65_536 });
    assert_eq!(stream(&mut node, 70_000), Outcome::Data { offset: 131_072, len: 65_536 });
    assert_eq!(stream(&mut node, 5), Outcome::Missing { offset: 196_608, len: 3_392 });
    for _ in 0..3 {
        assert_eq!(stream(&mut node, 5), Outcome::Failed(ApiError::NoMore));
    }
}

#[test]
fn conformance_53_closing_with_a_hundred_reads_cancels_a_hundred() {
    let (mut node, instance) = client();
    let content = open_content(&mut node, instance, &expected(b"content", Version::V1));
    let other = open_content(&mut node, instance, &expected(b"content", Version::V1));
    let kept = node.api().block_read(NOW, other, 0, 1, Patience::Endless).unwrap();
    let asked: Vec<_> = (0..100)
        .map(|n| match n % 2 {
            0 => node.api().block_read(NOW, content, 0, 1, Patience::Endless).unwrap(),
            _ => node.api().stream_read(NOW, content, 1, Patience::Endless).unwrap(),
        })
        .collect();
    node.api().close_content(content).unwrap();
    assert_eq!(node.api().close_content(content), Err(ApiError::InvalidHandle));
    let completions: Vec<_> = core::iter::from_fn(|| node.api().poll_operation()).collect();
    assert!(completions.iter().map(|completion| completion.operation).eq(asked));
    assert!(completions.iter().all(|completion| completion.code() == Code::OperationAborted));
    assert!(node.api().is_pending(kept));
}

#[test]
fn conformance_54_one_operation_is_cancelled_or_all() {
    let (mut node, instance) = client();
    let content = open_content(&mut node, instance, &expected(b"content", Version::V1));
    let other = open_content(&mut node, instance, &expected(b"content", Version::V1));
    let reads: Vec<_> = (0..5)
        .map(|_| node.api().block_read(NOW, content, 0, 1, Patience::from_millis(0xffff_fffe)).unwrap())
        .collect();
    let cancel = |node: &mut ClientNode, content, operation| {
        node.api().cancel_client_operation(content, operation).map_err(|error| error.code())
    };
    assert_eq!(cancel(&mut node, other, Some(reads[2])), Err(Code::OperationNotFound));
    assert_eq!(cancel(&mut node, other, None), Err(Code::OperationNotFound));
    assert_eq!(cancel(&mut node, content, Some(reads[2])), Ok(()));
    assert_eq!(cancel(&mut node, content, Some(reads[2])), Err(Code::OperationNotFound));
    let taken = node.api().poll_operation().unwrap();
    assert_eq!((taken.operation, taken.code()), (reads[2], Code::OperationAborted));
    assert_eq!(cancel(&mut node, content, Some(reads[2])), Err(Code::OperationNotFound));
    assert_eq!(cancel(&mut node, content, None), Ok(()));
    assert_eq!(cancel(&mut node, content, None), Err(Code::OperationNotFound));
    assert_eq!(core::iter::from_fn(|| node.api().poll_operation()).count(), 4);
}

/// Data waits to be copied, and has a place meanwhile.
#[test]
fn what_was_read_stays_until_it_is_given_up() {
    let (mut node, instance) = client();
    let bytes = random(65_536);
    let content = open_content(&mut node, instance, &expected(&bytes, Version::V1));
    add_data(&mut node, content, 0, &bytes);
    let operation = node.api().block_read(NOW, content, 100, 1_000, LOCAL);
    assert_eq!(outcome(&mut node, operation), Outcome::Data { offset: 100, len: 1_000 });
    let operation = operation.unwrap();
    let mut buf = [0; 600];
    assert_eq!(node.api().copy_read(operation, 0, &mut buf), Ok(600));
    assert_eq!(buf, bytes[100..700]);
    assert_eq!(node.api().copy_read(operation, 600, &mut buf), Ok(400));
    assert_eq!(buf[..400], bytes[700..1_100]);
    node.api().end_read(operation);
    assert!(node.api().copy_read(operation, 0, &mut buf).is_err());
    node.api().end_read(operation);
    // Of a content that is closed, there is nothing to copy; whoever has not seen the end is told so.
    let reads = [(); 2].map(|()| node.api().block_read(NOW, content, 0, 10, LOCAL).unwrap());
    while node.poll_timeout(NOW) == Some(NOW) {
        assert!(node.poll_output(NOW, &mut [0; 1_400]).is_none());
    }
    let first = node.api().poll_operation().unwrap();
    assert_eq!((first.operation, first.outcome), (reads[0], Outcome::Data { offset: 0, len: 10 }));
    node.api().close_content(content).unwrap();
    assert!(node.api().copy_read(reads[0], 0, &mut buf).is_err());
    let second = node.api().poll_operation().unwrap();
    assert_eq!((second.operation, second.code()), (reads[1], Code::OperationAborted));
    assert!(node.api().poll_operation().is_none());
}

/// 13, the consumer's half.
#[test]
fn conformance_13_a_service_that_goes_invalidates_contents() {
    let (mut node, instance) = client();
    let content = open_content(&mut node, instance, &expected(b"content", Version::V1));
    let collecting = node.api().open_content(instance, TAG, 0).unwrap();
    let pending = node.api().block_read(NOW, content, 0, 1, Patience::Endless).unwrap();
    node.api().set_status(Status::Disabled);
    let [completion] = ended(&mut node)[..] else { panic!("one") };
    assert_eq!((completion.operation, completion.code()), (pending, Code::Invalidated));
    for status in [Status::Disabled, Status::Available] {
        node.api().set_status(status);
        let mut api = node.api();
        for refused in [
            api.block_read(NOW, content, 0, 1, LOCAL).err(),
            api.stream_read(NOW, content, 1, LOCAL).err(),
            api.add_data(content, 0, b"content").err(),
            api.add_content_information(collecting, b"x").err(),
            api.complete_content_information(collecting).err(),
        ] {
            assert_eq!(refused, Some(ApiError::Invalidated));
        }
    }
    node.api().set_status(Status::Unavailable);
    assert_eq!(node.api().open_content(instance, TAG, 0), Err(ApiError::Unavailable));
    assert_eq!(node.api().cancel_client_operation(content, None), Err(ApiError::Unavailable));
    node.api().set_status(Status::Available);
    assert_eq!(node.api().cancel_client_operation(content, None), Err(ApiError::Invalidated));
    for handle in [content, collecting] {
        assert_eq!(node.api().close_content(handle), Ok(()));
    }
    let content = open_content(&mut node, instance, &expected(b"content", Version::V1));
    add_data(&mut node, content, 0, b"content");
    assert_eq!(bytes_at(&mut node, content, 0, 9).unwrap(), b"content");
}

/// 5, the consumer's half; 29 as well.
#[test]
fn conformance_05_contents_of_a_closed_instance_are_invalid_handles() {
    let (mut node, instance) = client();
    let content = open_content(&mut node, instance, &expected(b"content", Version::V1));
    let pending = node.api().block_read(NOW, content, 0, 1, Patience::Endless).unwrap();
    node.api().shutdown(instance).unwrap();
    let completion = node.api().poll_operation().unwrap();
    assert_eq!((completion.operation, completion.code()), (pending, Code::OperationAborted));
    let mut api = node.api();
    for refused in [
        api.open_content(instance, TAG, 0).err(),
        api.close_content(content).err(),
        api.add_content_information(content, b"x").err(),
        api.complete_content_information(content).err(),
        api.add_data(content, 0, b"x").err(),
        api.block_read(NOW, content, 0, 1, LOCAL).err(),
        api.stream_read(NOW, content, 1, LOCAL).err(),
        api.cancel_client_operation(content, None).err(),
    ] {
        assert_eq!(refused, Some(ApiError::InvalidHandle));
    }
    // The engine's content is free, and its content information is gone.
    let kept: Vec<_> = (0..8).map(|_| node.storage_mut().create_info()).collect();
    assert!(kept.iter().all(Result::is_ok));
}

#[test]
fn contents_are_as_many_as_there_are_rows() {
    let (mut node, instance) = client();
    // The engine has fewer on small devices.
    let rows = 4.min(crate::api::client::CONTENTS);
    let contents: Vec<_> = (0..rows).map(|_| node.api().open_content(instance, TAG, 0).unwrap()).collect();
    assert_eq!(node.api().open_content(instance, TAG, 0), Err(ApiError::Full));
    node.api().close_content(contents[1]).unwrap();
    let again = node.api().open_content(instance, TAG, 0).unwrap();
    assert!(!contents.contains(&again));
    assert_eq!(again.instance(), instance);
}

/// By its hashes alone, but for the last block.
#[test]
fn conformance_58_offsets_beyond_4_gib() {
    let algorithm = HashAlgorithm::Sha256;
    let (len, last) = ((4u64 << 30) + (32 << 20) + 5, 5usize);
    let ks = server_secret(&mut SoftCrypto, algorithm, KEY);
    let mut info = std::vec![0; info_len(algorithm, len).unwrap() as usize];
    let sink = &mut info.as_mut_slice();
    let mut publisher = v1::Publisher::new(algorithm, ks, len).unwrap();
    let hash = crate::crypto::hash(&mut SoftCrypto, algorithm, b"a block");
    while publisher.missing() > last as u64 {
        publisher.push_block(&mut SoftCrypto, &hash, 65_536, sink).unwrap();
    }
    publisher.update(&mut SoftCrypto, b"bytes", sink).unwrap();
    publisher.finish(sink).unwrap();

    let mut node: ClientNode = node_of(3 << 20, 2);
    let instance = start(&mut node);
    let content = open_content(&mut node, instance, &info);
    let at = len - 5;
    assert_eq!(read(&mut node, content, at, 9), Outcome::Missing { offset: at, len: 5 });
    add_data(&mut node, content, at, b"bytes");
    assert_eq!(bytes_at(&mut node, content, at, 9).unwrap(), b"bytes");
    assert_eq!(bytes_at(&mut node, content, at + 2, 9).unwrap(), b"tes");
    // What is missing is as long as 32 bits tell; the next read tells of more.
    let Outcome::Missing { offset: 0, len: missing } = read(&mut node, content, 0, 1) else { panic!() };
    assert!(missing >= 64 * 65_536);
    assert_eq!(read(&mut node, content, len, 1), Outcome::Failed(ApiError::NoMore));
}
