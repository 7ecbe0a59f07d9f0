//! Content information that is read.

use super::*;

#[test]
fn conformance_31_pieces_make_no_difference() {
    let mut node = node();
    let instance = start(&mut node);
    let content = random(200_000);
    publish(&mut node, instance, b"id", &content, 65_536);
    for (number, version) in [(1, Version::V1), (2, Version::V2)] {
        let versions = InfoVersions { min: number, max: number };
        for max in [1, 7, 100_000, u32::MAX] {
            let info = node.api().open_content_information_ex(instance, b"id", 0, 0, versions, 0).unwrap();
            assert_eq!(retrieve_all(&mut node, info, max), expected(&content, version), "{max}");
            node.api().close_content_information(info).unwrap();
        }
    }
}

#[test]
fn what_was_retrieved_can_be_copied_and_no_more() {
    let mut node = node();
    let instance = start(&mut node);
    publish(&mut node, instance, b"id", b"content", 9);
    let whole = expected(b"content", Version::V2);
    let info = node.api().open_content_information(instance, b"id", 0, 0, 0).unwrap();
    let mut buf = [0; 64];
    assert_eq!(node.api().copy_content_information(info, 0, &mut buf), Ok(0));
    let operation = node.api().retrieve_content_information(info, 10);
    assert_eq!(node.api().copy_content_information(info, 0, &mut buf), Ok(0));
    assert_eq!(outcome(&mut node, operation), Outcome::Data { offset: 0, len: 10 });
    assert_eq!(node.api().copy_content_information(info, 0, &mut buf), Ok(10));
    assert_eq!(buf[..10], whole[..10]);
    assert_eq!(node.api().copy_content_information(info, 4, &mut buf), Ok(6));
    assert_eq!(buf[..6], whole[4..10]);
    assert_eq!(node.api().copy_content_information(info, 4, &mut buf[..2]), Ok(2));
    assert_eq!(node.api().copy_content_information(info, u64::MAX, &mut buf), Ok(0));
    assert_eq!(node.api().retrieve_content_information(info, 0), Err(ApiError::InvalidParameter));
}

/// Several at once are served in the order in which they were asked for.
#[test]
fn retrievals_follow_each_other() {
    let mut node = node();
    let instance = start(&mut node);
    publish(&mut node, instance, b"id", b"content", 9);
    let info = node.api().open_content_information(instance, b"id", 0, 0, 0).unwrap();
    let asked: Vec<_> =
        (1..=8).map(|max| node.api().retrieve_content_information(info, max * 10).unwrap()).collect();
    let completions = ended(&mut node);
    assert!(completions.iter().map(|completion| completion.operation).eq(asked));
    let whole = expected(b"content", Version::V2).len() as u64;
    let mut next = 0;
    for (max, completion) in (1..).zip(&completions) {
        if next == whole {
            assert_eq!(completion.code(), Code::NoMore);
            continue;
        }
        assert_eq!(completion.offset(), Some(next));
        assert_eq!(u64::from(completion.bytes()), (max * 10).min(whole - next));
        next += u64::from(completion.bytes());
    }
    assert_eq!(next, whole);
}

#[test]
fn conformance_32_after_the_end_there_is_no_more() {
    let mut node = node();
    let instance = start(&mut node);
    publish(&mut node, instance, b"id", b"content", 9);
    let info = node.api().open_content_information(instance, b"id", 0, 0, 3).unwrap();
    retrieve_all(&mut node, info, 1_000);
    for _ in 0..3 {
        let operation = node.api().retrieve_content_information(info, 1).unwrap();
        let [completion] = ended(&mut node)[..] else { panic!("one") };
        assert_eq!((completion.operation, completion.key), (operation, 3));
        assert_eq!((completion.code(), completion.bytes(), completion.offset()), (Code::NoMore, 0, None));
    }
}

#[test]
fn conformance_33_ranges() {
    let mut node = node();
    let instance = start(&mut node);
    let content = random(400_000);
    let end = content.len() as u64;
    publish(&mut node, instance, b"id", &content, 65_536);
    for (offset, len) in [
        (0, 65_536),
        (65_536, 131_072),
        (1, 1),
        (70_000, 100_001),
        (end - 5, 5),
        (end - 1, 1),
        (0, end),
        // C: a length that reaches beyond the end is clamped.
        (end - 1, 2),
        (100, u64::MAX),
        (0, u64::MAX),
    ] {
        for (number, version) in [(1, Version::V1), (2, Version::V2)] {
            let info = info_of(&mut node, instance, b"id", (offset, len), number).unwrap();
            let range = offset..offset.saturating_add(len).min(end);
            assert_eq!(info, part(&content, version, range), "{offset} {len} {version:?}");
        }
    }
    for (number, version) in [(1, Version::V1), (2, Version::V2)] {
        let info = info_of(&mut node, instance, b"id", (0, 0), number);
        assert_eq!(info, Ok(expected(&content, version)));
    }
    // No bytes, or none that are there.
    for (offset, len) in [(1, 0), (end, 0), (end, 1), (end + 1, 1), (u64::MAX, u64::MAX)] {
        assert_eq!(info_of(&mut node, instance, b"id", (offset, len), 1), Err(ApiError::InvalidParameter));
    }
}

/// A range that begins and ends in other segments of 32 MiB.
#[test]
fn ranges_across_segments() {
    let mut node = node();
    let instance = start(&mut node);
    let segment = 32 << 20;
    let content = std::vec![0; segment + 200_000];
    publish(&mut node, instance, b"id", &content, 1 << 20);
    for (offset, len) in [(segment as u64 - 1, 2), (100_000, segment as u64), (segment as u64, 70_000)] {
        for (number, version) in [(1, Version::V1), (2, Version::V2)] {
            let info = info_of(&mut node, instance, b"id", (offset, len), number).unwrap();
            assert_eq!(info, part(&content, version, offset..offset + len));
        }
    }
}

#[test]
fn conformance_34_the_highest_version_that_both_know() {
    for (published, choices) in [
        (Published::Both, [Ok(1), Ok(2), Ok(2), Ok(2), Err(ApiError::InfoVersion)]),
        (Published::V1, [Ok(1), Err(ApiError::InfoVersion), Ok(1), Ok(1), Err(ApiError::InfoVersion)]),
        (Published::V2, [Err(ApiError::InfoVersion), Ok(2), Ok(2), Ok(2), Err(ApiError::InfoVersion)]),
    ] {
        let mut node = node_with(published, 1_000);
        let instance = start(&mut node);
        publish(&mut node, instance, b"id", b"content", 9);
        let of = |number| expected(b"content", if number == 1 { Version::V1 } else { Version::V2 });
        for ((min, max), choice) in [(1, 1), (2, 2), (1, 2), (0, u32::MAX), (3, 3)].into_iter().zip(choices) {
            let versions = InfoVersions { min, max };
            let info = node.api().open_content_information_ex(instance, b"id", 0, 0, versions, 0);
            let bytes = info.map(|info| {
                let bytes = retrieve_all(&mut node, info, 1_000);
                node.api().close_content_information(info).unwrap();
                bytes
            });
            assert_eq!(bytes, choice.map(of), "{published:?} {min} {max}");
        }
        let versions = InfoVersions { min: 2, max: 1 };
        let refused = node.api().open_content_information_ex(instance, b"id", 0, 0, versions, 0);
        assert_eq!(refused, Err(ApiError::InvalidParameter));
        // The plain call gives what is configured.
        let info = node.api().open_content_information(instance, b"id", 0, 0, 0).unwrap();
        let default = if published == Published::V1 { 1 } else { 2 };
        assert_eq!(retrieve_all(&mut node, info, 1_000), of(default));
    }
}

/// What was published before has both versions, and only one of them is given.
#[test]
fn a_downgraded_service_gives_the_old_version() {
    let mut node = node_with(Published::Both, 1_000);
    let instance = start(&mut node);
    publish(&mut node, instance, b"id", b"content", 9);
    node.api().set_published(Published::V1);
    let info = node.api().open_content_information(instance, b"id", 0, 0, 0).unwrap();
    assert_eq!(retrieve_all(&mut node, info, 1_000), expected(b"content", Version::V1));
    let versions = InfoVersions { min: 2, max: 2 };
    let refused = node.api().open_content_information_ex(instance, b"id", 0, 0, versions, 0);
    assert_eq!(refused, Err(ApiError::InfoVersion));
}

#[test]
fn what_is_not_complete_is_not_found() {
    let mut node = node();
    let instance = start(&mut node);
    let missing = node.api().open_content_information(instance, b"id", 0, 0, 0);
    assert_eq!(missing, Err(ApiError::NotFound));
    let stream = open(&mut node, instance, b"id", 0).unwrap();
    let growing = node.api().open_content_information(instance, b"id", 0, 0, 0);
    assert_eq!(growing, Err(ApiError::NotFound));
    let operation = node.api().complete_stream(stream);
    let completing = node.api().open_content_information(instance, b"id", 0, 0, 0);
    assert_eq!(completing, Err(ApiError::NotFound));
    assert_eq!(outcome(&mut node, operation), Outcome::Done);
    assert!(node.api().open_content_information(instance, b"id", 0, 0, 0).is_ok());
}
