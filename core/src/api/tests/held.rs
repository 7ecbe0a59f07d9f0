//! Data that cannot be verified when it comes.

use super::client::*;
use super::*;

/// Whether all of a content is in the store.
fn is_whole(node: &mut ClientNode, content: ContentHandle, bytes: &[u8]) -> bool {
    let len = bytes.len() as u32;
    if read(node, content, 0, 0) != (Outcome::Stored { offset: 0, len }) {
        return false;
    }
    let mut at = 0;
    while at < bytes.len() {
        let read = bytes_at(node, content, at as u64, len).unwrap();
        assert_eq!(read, bytes[at..at + read.len()]);
        at += read.len();
    }
    true
}

#[test]
fn data_comes_in_any_order() {
    let bytes = random(150_000);
    for version in [Version::V1, Version::V2] {
        for seed in 1..=20 {
            let (mut node, instance) = client();
            let content = open_content(&mut node, instance, &expected(&bytes, version));
            let mut pieces: Vec<(usize, &[u8])> =
                bytes.chunks(9_973).enumerate().map(|(n, piece)| (n * 9_973, piece)).collect();
            let mut rng = Xorshift(seed);
            while !pieces.is_empty() {
                let (at, piece) = pieces.swap_remove(rng.below(pieces.len() as u64) as usize);
                assert!(!is_whole(&mut node, content, &bytes));
                let taken = Outcome::Taken(piece.len() as u32);
                assert_eq!(add_data(&mut node, content, at as u64, piece), taken);
            }
            assert!(is_whole(&mut node, content, &bytes), "{version:?} {seed}");
            assert_eq!(node.api().dropped(), Dropped::default());
        }
    }
}

/// G12.
#[test]
fn data_may_come_before_content_information() {
    let bytes = random(150_000);
    for version in [Version::V1, Version::V2] {
        let info = expected(&bytes, version);
        let (mut node, instance) = client();
        let content = node.api().open_content(instance, [7; 16], 0).unwrap();
        let taken = |range: &core::ops::Range<usize>| Outcome::Taken(range.len() as u32);
        for range in [100_000..150_000, 0..1_000] {
            assert_eq!(
                add_data(&mut node, content, range.start as u64, &bytes[range.clone()]),
                taken(&range)
            );
        }
        let operation = node.api().add_content_information(content, &info);
        assert_eq!(outcome(&mut node, operation), Outcome::Taken(info.len() as u32));
        let range = 1_000..50_000;
        assert_eq!(add_data(&mut node, content, 1_000, &bytes[range.clone()]), taken(&range));
        let operation = node.api().complete_content_information(content);
        assert_eq!(outcome(&mut node, operation), Outcome::Done);
        assert!(!is_whole(&mut node, content, &bytes));
        let range = 50_000..100_000;
        assert_eq!(add_data(&mut node, content, 50_000, &bytes[range.clone()]), taken(&range));
        assert!(is_whole(&mut node, content, &bytes), "{version:?}");
    }
}

#[test]
fn conformance_46_data_outside_the_range_is_verified_by_a_later_content() {
    let bytes = random(200_000);
    for version in [Version::V1, Version::V2] {
        let (mut node, instance) = client();
        let range = 150_000..170_000;
        let some = open_content(&mut node, instance, &part(&bytes, version, range));
        assert_eq!(add_data(&mut node, some, 0, &bytes), Outcome::Taken(200_000));
        // What is described was verified, and the rest is nowhere yet.
        assert_eq!(bytes_at(&mut node, some, 150_000, 10).unwrap(), bytes[150_000..150_010]);
        let whole = open_content(&mut node, instance, &expected(&bytes, version));
        for at in [0, 70_000, 120_000] {
            assert_eq!(bytes_at(&mut node, whole, at, 10).unwrap(), bytes[at as usize..][..10]);
        }
        assert_eq!(node.api().dropped(), Dropped::default());
    }
}

/// The block in which the range begins has a part outside, and that comes with the rest of the content.
#[test]
fn a_block_is_verified_when_its_last_bytes_come_whatever_the_range() {
    let bytes = random(160_000);
    for version in [Version::V1, Version::V2] {
        let (mut node, instance) = client();
        let range = 140_000..150_000;
        let content = open_content(&mut node, instance, &part(&bytes, version, range));
        // What waits is looked through, and there is nothing to be made of it.
        add_data(&mut node, content, 159_990, &bytes[159_990..]);
        assert_eq!(bytes_at(&mut node, content, 140_000, 10), None);
        for range in [140_100..160_000, 0..140_100] {
            add_data(&mut node, content, range.start as u64, &bytes[range]);
        }
        assert_eq!(bytes_at(&mut node, content, 140_000, 10).unwrap(), bytes[140_000..140_010]);
    }
}

/// Wrong bytes that wait are no obstacle where the right ones come in order, whatever the range.
#[test]
fn bytes_in_order_are_taken_before_those_that_wait() {
    let bytes = random(160_000);
    let (mut node, instance) = client();
    let content = open_content(&mut node, instance, &part(&bytes, Version::V2, 140_000..150_000));
    add_data(&mut node, content, 140_100, &[bytes[140_100] ^ 1]);
    add_data(&mut node, content, 0, &bytes);
    assert_eq!(bytes_at(&mut node, content, 140_100, 1).unwrap(), bytes[140_100..140_101]);
    assert_eq!(node.api().dropped(), Dropped::default());
}

/// What another content holds under the same tag may be of something else.
#[test]
fn what_is_held_for_another_content_is_left_to_it() {
    let (mut node, instance) = client();
    let (ours, theirs) = (random(65_536), std::vec![7; 65_536]);
    let waiting = node.api().open_content(instance, *b"a tag of 16 byte", 0).unwrap();
    assert_eq!(add_data(&mut node, waiting, 0, &theirs), Outcome::Taken(65_536));
    let content = open_content(&mut node, instance, &expected(&ours, Version::V1));
    assert_eq!(bytes_at(&mut node, content, 0, 1), None);
    add_data(&mut node, content, 0, &ours);
    assert!(is_whole(&mut node, content, &ours));
    let info = expected(&theirs, Version::V1);
    let operation = node.api().add_content_information(waiting, &info);
    assert_eq!(outcome(&mut node, operation), Outcome::Taken(info.len() as u32));
    let operation = node.api().complete_content_information(waiting);
    assert_eq!(outcome(&mut node, operation), Outcome::Done);
    assert!(is_whole(&mut node, waiting, &theirs));
    assert_eq!(node.api().dropped(), Dropped::default());
}

/// G9, of data that came before content information.
#[test]
fn what_waited_and_is_wrong_is_counted() {
    let (mut node, instance) = client();
    let content = node.api().open_content(instance, [7; 16], 0).unwrap();
    add_data(&mut node, content, 0, &std::vec![0; 1_000]);
    let operation = node.api().add_content_information(content, &expected(&random(1_000), Version::V1));
    outcome(&mut node, operation);
    let operation = node.api().complete_content_information(content);
    assert_eq!(outcome(&mut node, operation), Outcome::Done);
    assert_eq!(node.api().dropped(), Dropped { bad_blocks: 1, bytes: 0 });
}

/// Each holds bytes of its own at the same place.
#[test]
fn contents_of_one_tag_are_not_mixed() {
    for version in [Version::V1, Version::V2] {
        let (mut node, instance) = client();
        let wanted = random(65_536);
        for bytes in [std::vec![7; 65_536], wanted.clone()] {
            let content = node.api().open_content(instance, *b"a tag of 16 byte", 0).unwrap();
            assert_eq!(add_data(&mut node, content, 0, &bytes), Outcome::Taken(65_536));
            node.api().close_content(content).unwrap();
        }
        let content = open_content(&mut node, instance, &expected(&wanted, version));
        assert!(is_whole(&mut node, content, &wanted), "{version:?}");
    }
}

/// Segments of version 1.0 have 32 MiB, so a range that ends with one may be followed by others.
#[test]
fn the_end_of_a_full_segment_is_not_that_of_the_content() {
    let (mut node, instance) = client();
    let bytes = std::vec![5; (32 << 20) + 10];
    let content = open_content(&mut node, instance, &part(&bytes, Version::V1, 0..32 << 20));
    assert_eq!(add_data(&mut node, content, 32 << 20, &bytes[..10]), Outcome::Taken(10));
    assert_eq!(node.api().dropped(), Dropped::default());
}

#[test]
fn what_finds_no_room_is_dropped_and_counted() {
    let (mut node, instance) = client();
    let bytes = random(70_000);
    // There are 400 pages of 512 bytes.
    let waiting = node.api().open_content(instance, [0; 16], 0).unwrap();
    assert_eq!(add_data(&mut node, waiting, 0, &std::vec![0; 200 * 1_024]), Outcome::Taken(200 * 1_024));
    assert_eq!(node.api().dropped(), Dropped::default());
    assert_eq!(add_data(&mut node, waiting, 200 * 1_024, b"x"), Outcome::Taken(1));
    assert_eq!(node.api().dropped(), Dropped { bad_blocks: 0, bytes: 1 });
    let content = open_content(&mut node, instance, &expected(&bytes, Version::V1));
    add_data(&mut node, content, 40_000, &bytes[40_000..]);
    assert!(node.api().dropped().bytes > 20_000);
    // What a closed content has left makes room.
    node.api().close_content(waiting).unwrap();
    add_data(&mut node, content, 40_000, &bytes[40_000..]);
    add_data(&mut node, content, 0, &bytes[..40_000]);
    assert!(is_whole(&mut node, content, &bytes));
}

#[test]
fn data_that_overlaps_is_taken_once() {
    let (mut node, instance) = client();
    let bytes = random(100_000);
    let content = open_content(&mut node, instance, &expected(&bytes, Version::V1));
    for range in [0..30_000, 10_000..40_000, 60_000..70_000, 20_000..35_000, 39_000..65_536, 65_000..100_000]
    {
        let taken = Outcome::Taken(range.len() as u32);
        assert_eq!(add_data(&mut node, content, range.start as u64, &bytes[range]), taken);
    }
    assert!(is_whole(&mut node, content, &bytes));
}

/// Pages may be lent once the node is made. Until then nothing waits.
#[test]
fn pages_are_lent() {
    type Lent = NodeOf<Lending<'static, Tabled<2, 1, 1, 1, 2, 8, 0>>>;
    assert!(size_of::<Lent>() < size_of::<NodeOf<Tabled<2, 1, 1, 1, 2, 8, 4>>>());
    let mut node: Lent = node_of(1 << 16, 1);
    let instance = start(&mut node);
    let content = node.api().open_content(instance, [7; 16], 0).unwrap();
    let hold = |node: &mut Lent| {
        let operation = node.api().add_data(content, 1_000, &[1; 700]);
        assert_eq!(outcome(node, operation), Outcome::Taken(700));
        node.api().dropped().bytes
    };
    assert_eq!(hold(&mut node), 700);
    let pages: Vec<_> = (0..2).map(|_| waiting::Page::EMPTY).collect();
    node.application().lend_pages(pages.leak());
    assert_eq!(hold(&mut node), 700);
}
