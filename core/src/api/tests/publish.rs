//! Streams and publications.

use super::*;

/// Both versions of what is published are what the publishers make in one go.
fn check(node: &mut TestNode, instance: InstanceHandle, id: &[u8], content: &[u8]) {
    for (number, version) in [(1, Version::V1), (2, Version::V2)] {
        let info = info_of(node, instance, id, (0, 0), number).unwrap();
        assert!(info == expected(content, version), "{version:?} of {} bytes", content.len());
    }
}

#[test]
fn conformance_21_empty_content_is_complete_and_has_nothing_to_read() {
    let mut node = node();
    let instance = start(&mut node);
    let stream = open(&mut node, instance, b"nothing", 0).unwrap();
    assert_eq!(complete(&mut node, stream), Outcome::Done);
    for version in [1, 2] {
        assert_eq!(info_of(&mut node, instance, b"nothing", (0, 0), version), Ok(Vec::new()));
    }
    // Nor does it have a part.
    assert_eq!(info_of(&mut node, instance, b"nothing", (0, 1), 1), Err(ApiError::InvalidParameter));
    assert_eq!(info_of(&mut node, instance, b"nothing", (0, 0), 3), Err(ApiError::InfoVersion));
    // No bytes are no content either.
    let stream = open(&mut node, instance, b"no bytes", 0).unwrap();
    assert_eq!(add(&mut node, stream, b""), Outcome::Taken(0));
    assert_eq!(complete(&mut node, stream), Outcome::Done);
    assert_eq!(info_of(&mut node, instance, b"no bytes", (0, 0), 1), Ok(Vec::new()));
}

#[test]
fn conformance_22_the_length_that_was_announced_is_kept_to() {
    let mut node = node();
    let instance = start(&mut node);
    // Exactly, and once too much in between.
    let stream = open(&mut node, instance, b"exact", 6).unwrap();
    assert_eq!(add(&mut node, stream, b"con"), Outcome::Taken(3));
    assert_eq!(add(&mut node, stream, b"tent"), Outcome::Failed(ApiError::OutOfBounds));
    assert_eq!(add(&mut node, stream, b"tes"), Outcome::Taken(3));
    assert_eq!(add(&mut node, stream, b"t"), Outcome::Failed(ApiError::OutOfBounds));
    assert_eq!(complete(&mut node, stream), Outcome::Done);
    check(&mut node, instance, b"exact", b"contes");
    // G4: too little discards it.
    let stream = open(&mut node, instance, b"short", 6).unwrap();
    assert_eq!(add(&mut node, stream, b"conte"), Outcome::Taken(5));
    assert_eq!(complete(&mut node, stream), Outcome::Failed(ApiError::InvalidParameter));
    assert_eq!(node.api().add_to_stream(stream, b"s"), Err(ApiError::AlreadyCompleted));
    assert_eq!(node.api().complete_stream(stream), Err(ApiError::AlreadyCompleted));
    assert_eq!(info_of(&mut node, instance, b"short", (0, 0), 1), Err(ApiError::NotFound));
    publish(&mut node, instance, b"short", b"again", 9);
    assert_eq!(node.api().close_stream(stream), Ok(()));
    check(&mut node, instance, b"short", b"again");
}

#[test]
fn conformance_23_an_identifier_in_use_is_refused() {
    let mut node = node();
    let (first, second) = (start(&mut node), start(&mut node));
    let stream = open(&mut node, first, b"id", 0).unwrap();
    assert_eq!(add(&mut node, stream, b"content"), Outcome::Taken(7));
    for instance in [first, second] {
        assert_eq!(open(&mut node, instance, b"id", 0), Err(ApiError::AlreadyExists));
    }
    assert_eq!(complete(&mut node, stream), Outcome::Done);
    for instance in [first, second] {
        assert_eq!(open(&mut node, instance, b"id", 0), Err(ApiError::AlreadyExists));
    }
    check(&mut node, second, b"id", b"content");
}

#[test]
fn conformance_24_each_user_has_identifiers_of_their_own() {
    let mut node = node();
    let ours = start(&mut node);
    let theirs = node.api().startup(SUPPORTED_VERSION, UserId(8)).unwrap();
    publish(&mut node, ours, b"id", b"ours", 9);
    assert_eq!(info_of(&mut node, theirs, b"id", (0, 0), 1), Err(ApiError::NotFound));
    assert_eq!(node.api().unpublish(theirs, b"id"), Err(ApiError::NotFound));
    publish(&mut node, theirs, b"id", b"theirs", 9);
    check(&mut node, ours, b"id", b"ours");
    check(&mut node, theirs, b"id", b"theirs");
    node.api().unpublish(theirs, b"id").unwrap();
    check(&mut node, ours, b"id", b"ours");
}

#[test]
fn conformance_25_second_add_to_stream_is_refused() {
    let mut node = node();
    let instance = start(&mut node);
    let stream = open(&mut node, instance, b"id", 0).unwrap();
    let first = node.api().add_to_stream(stream, b"con").unwrap();
    // G2: until its completion has been taken.
    assert_eq!(node.api().add_to_stream(stream, b"xxx"), Err(ApiError::InvalidParameter));
    assert_eq!(outcome(&mut node, Ok(first)), Outcome::Taken(3));
    assert_eq!(add(&mut node, stream, b"tent"), Outcome::Taken(4));
    assert_eq!(complete(&mut node, stream), Outcome::Done);
    check(&mut node, instance, b"id", b"content");
}

#[test]
fn conformance_26_closing_before_completion_loses_the_publication() {
    let mut node = node();
    let instance = start(&mut node);
    for _ in 0..20 {
        let stream = open(&mut node, instance, b"id", 0).unwrap();
        assert_eq!(add(&mut node, stream, &[7; 70_000]), Outcome::Taken(70_000));
        assert_eq!(info_of(&mut node, instance, b"id", (0, 0), 1), Err(ApiError::NotFound));
        assert_eq!(node.api().close_stream(stream), Ok(()));
        assert_eq!(info_of(&mut node, instance, b"id", (0, 0), 1), Err(ApiError::NotFound));
        assert_eq!(node.api().close_stream(stream), Err(ApiError::InvalidHandle));
    }
    publish(&mut node, instance, b"id", b"content", 9);
    check(&mut node, instance, b"id", b"content");
}

#[test]
fn conformance_27_closing_after_completion_leaves_the_publication() {
    let mut node = node();
    let instance = start(&mut node);
    publish(&mut node, instance, b"id", b"content", 9);
    check(&mut node, instance, b"id", b"content");
}

#[test]
fn conformance_28_what_is_unpublished_is_not_found() {
    let mut node = node();
    let (instance, other) = (start(&mut node), start(&mut node));
    let stream = open(&mut node, instance, b"id", 0).unwrap();
    assert_eq!(add(&mut node, stream, b"content"), Outcome::Taken(7));
    assert_eq!(complete(&mut node, stream), Outcome::Done);
    let infos = [instance, other]
        .map(|instance| node.api().open_content_information(instance, b"id", 0, 0, 0).unwrap());
    let pending = infos.map(|info| node.api().retrieve_content_information(info, 9).unwrap());
    assert_eq!(node.api().unpublish(instance, b"id"), Ok(()));
    assert_eq!(node.api().unpublish(instance, b"id"), Err(ApiError::NotFound));
    // What this instance had under way is cancelled; another's finds nothing.
    let completions = ended(&mut node);
    assert!(completions.iter().map(|completion| completion.operation).eq(pending));
    assert!(completions.iter().map(Completion::code).eq([Code::OperationAborted, Code::NotFound]));
    assert_eq!(info_of(&mut node, instance, b"id", (0, 0), 1), Err(ApiError::NotFound));
    for info in infos {
        assert_eq!(node.api().retrieve_content_information(info, 9), Err(ApiError::NotFound));
        assert_eq!(node.api().copy_content_information(info, 0, &mut [0]), Err(ApiError::NotFound));
        assert_eq!(node.api().close_content_information(info), Ok(()));
        assert_eq!(node.api().close_content_information(info), Err(ApiError::InvalidHandle));
    }
    // C6: a stream without its publication.
    assert_eq!(node.api().add_to_stream(stream, b"x"), Err(ApiError::Aborted));
    assert_eq!(node.api().complete_stream(stream), Err(ApiError::Aborted));
    // The row may be another's by now.
    publish(&mut node, instance, b"id", b"other", 9);
    assert_eq!(node.api().close_stream(stream), Ok(()));
    check(&mut node, instance, b"id", b"other");
}

/// G6.
#[test]
fn unpublishing_while_it_grows_cancels() {
    let mut node = node();
    let instance = start(&mut node);
    let stream = open(&mut node, instance, b"id", 0).unwrap();
    assert_eq!(add(&mut node, stream, b"content"), Outcome::Taken(7));
    let operation = node.api().complete_stream(stream);
    assert_eq!(node.api().unpublish(instance, b"id"), Ok(()));
    assert_eq!(outcome(&mut node, operation), Outcome::Failed(ApiError::Aborted));
    assert_eq!(node.api().add_to_stream(stream, b"x"), Err(ApiError::Aborted));
    assert_eq!(node.api().close_stream(stream), Ok(()));
}

#[test]
fn conformance_29_shutdown_unpublishes_and_closes() {
    let mut node = node();
    let (first, second) = (start(&mut node), start(&mut node));
    publish(&mut node, first, b"whole", b"content", 9);
    let growing = open(&mut node, first, b"growing", 0).unwrap();
    let theirs = node.api().open_content_information(second, b"whole", 0, 0, 0).unwrap();
    let pending = node.api().complete_stream(growing);
    node.api().shutdown(first).unwrap();
    // It has ended before the call returned.
    assert_eq!(node.api().poll_operation().map(|done| Ok(done.operation)), Some(pending));
    for id in [&b"whole"[..], b"growing"] {
        assert_eq!(info_of(&mut node, second, id, (0, 0), 1), Err(ApiError::NotFound));
        publish(&mut node, second, id, b"again", 9);
    }
    assert_eq!(node.api().retrieve_content_information(theirs, 9), Err(ApiError::NotFound));
}

#[test]
fn conformance_30_sizes_around_boundaries() {
    let segment = 32 << 20;
    // Zeros are hashed as fast as anything, and cut at the maximum in version 2.0.
    let zeros = std::vec![0; segment + 1];
    for (len, piece) in [
        (1, 1),
        (65_535, 65_536),
        (65_536, 40_000),
        (65_537, 65_537),
        (segment - 1, 1 << 20),
        (segment, 3 << 20),
        (segment + 1, segment + 1),
    ] {
        let mut node = node();
        let instance = start(&mut node);
        publish(&mut node, instance, b"id", &zeros[..len], piece);
        check(&mut node, instance, b"id", &zeros[..len]);
    }
    // Around the bounds of segments of version 2.0, and one that is cut by its content.
    let content = random(300_000);
    for len in [32_767, 32_768, 32_769, 131_071, 131_072, 131_073, 299_999] {
        for piece in [1_000, 65_536, 300_000] {
            let mut node = node();
            let instance = start(&mut node);
            publish(&mut node, instance, b"id", &content[..len], piece);
            check(&mut node, instance, b"id", &content[..len]);
            node.api().unpublish(instance, b"id").unwrap();
            publish(&mut node, instance, b"id", &zeros[..len], piece);
            check(&mut node, instance, b"id", &zeros[..len]);
        }
    }
}

#[test]
fn streams_grow_side_by_side() {
    let mut node = node();
    let instance = start(&mut node);
    let contents = [random(150_000), random(80_000), std::vec![3; 140_000]];
    let streams: Vec<_> = (0..3).map(|n| open(&mut node, instance, &[n], 0).unwrap()).collect();
    for step in 0..150 {
        for (stream, content) in streams.iter().zip(&contents) {
            if let Some(piece) = content.chunks(1_000).nth(step) {
                assert_eq!(add(&mut node, *stream, piece), Outcome::Taken(piece.len() as u32));
            }
        }
    }
    for stream in &streams {
        assert_eq!(complete(&mut node, *stream), Outcome::Done);
    }
    for (n, content) in (0..).zip(&contents) {
        check(&mut node, instance, &[n], content);
    }
}

#[test]
fn identifiers_have_1_to_65535_bytes() {
    let mut node = node();
    let instance = start(&mut node);
    let long = std::vec![7; 65_536];
    for id in [&[][..], &long] {
        assert_eq!(open(&mut node, instance, id, 0), Err(ApiError::InvalidParameter));
        let mut api = node.api();
        assert_eq!(api.unpublish(instance, id), Err(ApiError::InvalidParameter));
        assert_eq!(api.open_content_information(instance, id, 0, 0, 0), Err(ApiError::InvalidParameter));
    }
    publish(&mut node, instance, &long[1..], b"long", 9);
    publish(&mut node, instance, &long[2..], b"other", 9);
    check(&mut node, instance, &long[1..], b"long");
    check(&mut node, instance, &long[2..], b"other");
}

#[test]
fn publication_options_are_reserved() {
    let mut node = node();
    let instance = start(&mut node);
    for (version, flags) in [(0, 0), (3, 0), (1, 1), (2, u32::MAX)] {
        let refused = node.api().publish_stream(instance, b"id", 0, PublicationOptions { version, flags }, 0);
        assert_eq!(refused, Err(ApiError::InvalidParameter));
    }
    let one = PublicationOptions { version: 1, flags: 0 };
    assert!(node.api().publish_stream(instance, b"id", 0, one, 0).is_ok());
    assert!(open(&mut node, instance, b"id 2", 0).is_ok());
}

#[test]
fn full_tables_refuse_and_lose_nothing() {
    let mut node = node();
    let instance = start(&mut node);
    // As many as there are rows for publications.
    (0..4).for_each(|n| publish(&mut node, instance, &[n], b"content", 9));
    assert_eq!(open(&mut node, instance, b"one more", 0), Err(ApiError::Full));
    node.api().unpublish(instance, &[0]).unwrap();
    let stream = open(&mut node, instance, b"one more", 0).unwrap();
    // As many as there are rows for content informations.
    let infos: Vec<_> =
        (0..4).map(|_| node.api().open_content_information(instance, &[1], 0, 0, 0).unwrap()).collect();
    assert_eq!(node.api().open_content_information(instance, &[1], 0, 0, 0), Err(ApiError::Full));
    node.api().close_content_information(infos[3]).unwrap();
    // As many as there are rows for operations.
    let pending: Vec<_> =
        (0..8).map(|_| node.api().retrieve_content_information(infos[0], 1).unwrap()).collect();
    assert_eq!(node.api().retrieve_content_information(infos[0], 1), Err(ApiError::Full));
    assert_eq!(node.api().add_to_stream(stream, b"content"), Err(ApiError::Full));
    assert_eq!(node.api().complete_stream(stream), Err(ApiError::Full));
    assert_eq!(node.api().register_status(instance, 0), Err(ApiError::Full));
    assert!(ended(&mut node).iter().map(|completion| completion.operation).eq(pending));
    assert_eq!(add(&mut node, stream, b"content"), Outcome::Taken(7));
    assert_eq!(complete(&mut node, stream), Outcome::Done);
    check(&mut node, instance, b"one more", b"content");
}

/// Its rows, its places in the store and its bytes are free again.
#[test]
fn a_full_store_loses_the_publication_and_nothing_else() {
    let mut node = node_with(Published::Both, 700);
    let instance = start(&mut node);
    publish(&mut node, instance, b"small", b"content", 9);
    for _ in 0..9 {
        let stream = open(&mut node, instance, b"large", 0).unwrap();
        let full = node.api().add_to_stream(stream, &[0; 1 << 20]);
        assert_eq!(full, Err(ApiError::Full));
        assert!(ended(&mut node).is_empty());
        assert_eq!(node.api().add_to_stream(stream, b"x"), Err(ApiError::Full));
        assert_eq!(node.api().complete_stream(stream), Err(ApiError::Full));
        assert_eq!(info_of(&mut node, instance, b"large", (0, 0), 1), Err(ApiError::NotFound));
        assert_eq!(node.api().close_stream(stream), Ok(()));
    }
    // Full at the very end: the description of 80 bytes does not fit beside the other's.
    let mut node = node_with(Published::Both, 150);
    let instance = start(&mut node);
    let stream = open(&mut node, instance, b"id", 0).unwrap();
    assert_eq!(add(&mut node, stream, b"content"), Outcome::Taken(7));
    assert_eq!(complete(&mut node, stream), Outcome::Failed(ApiError::Full));
    assert_eq!(node.api().close_stream(stream), Ok(()));
    // No place for a second one.
    let mut node = node_with(Published::Both, 1 << 20);
    let instance = start(&mut node);
    (0..3).for_each(|n| publish(&mut node, instance, &[n], b"content", 9));
    use crate::store::InfoStore;
    let foreign = node.storage_mut().create_info().unwrap();
    assert_eq!(open(&mut node, instance, b"id", 0), Err(ApiError::Full));
    node.storage_mut().remove_info(foreign);
    assert!(open(&mut node, instance, b"id", 0).is_ok());
}

/// Whoever has not been given a secret has one of their own.
#[test]
fn a_server_secret_is_drawn_if_none_is_set() {
    let info = |seed| {
        let store = RamStore::new(Vec::new(), Vec::new(), std::vec![0; 1_000]);
        let mut node = TestNode::new(Config::default(), store, SoftCrypto, Xorshift(seed));
        let instance = start(&mut node);
        publish(&mut node, instance, b"id", b"content", 9);
        [1, 2].map(|version| info_of(&mut node, instance, b"id", (0, 0), version).unwrap())
    };
    let [ours, theirs] = [info(1), info(2)];
    assert_eq!(ours, info(1));
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_ne!(*ours, theirs);
        assert_eq!(ours.len(), theirs.len());
    }
}
