//! What is forgotten by tag.

use super::client::*;
use super::*;
use crate::api::client::ContentTag;

const OURS: ContentTag = [1; 16];
const THEIRS: ContentTag = [2; 16];

/// A content of that tag, whole in the store.
fn cached(node: &mut ClientNode, instance: InstanceHandle, tag: ContentTag, bytes: &[u8]) -> ContentHandle {
    let content = opened(node, instance, tag, bytes);
    assert_eq!(add_data(node, content, 0, bytes), Outcome::Taken(bytes.len() as u32));
    assert!(here(node, content));
    content
}

fn opened(node: &mut ClientNode, instance: InstanceHandle, tag: ContentTag, bytes: &[u8]) -> ContentHandle {
    let content = node.api().open_content(instance, tag, 0).unwrap();
    describe(node, content, bytes);
    content
}

fn describe(node: &mut ClientNode, content: ContentHandle, bytes: &[u8]) {
    let operation = node.api().add_content_information(content, &expected(bytes, Version::V1));
    assert!(matches!(outcome(node, operation), Outcome::Taken(_)));
    let operation = node.api().complete_content_information(content);
    assert_eq!(outcome(node, operation), Outcome::Done);
}

/// Whether the first byte is in the store.
fn here(node: &mut ClientNode, content: ContentHandle) -> bool {
    matches!(read(node, content, 0, 0), Outcome::Stored { len: 1.., .. })
}

fn flush(node: &mut ClientNode, instance: InstanceHandle, tag: ContentTag) -> Outcome {
    let operation = node.api().flush_content(instance, tag, 0);
    outcome(node, operation)
}

#[test]
fn conformance_55_a_tag_is_flushed_and_no_other() {
    let (mut node, instance) = client();
    let bytes = random(140_000);
    let ours = cached(&mut node, instance, OURS, &bytes[..70_000]);
    let theirs = cached(&mut node, instance, THEIRS, &bytes[70_000..]);
    assert_eq!(flush(&mut node, instance, [9; 16]), Outcome::Done, "nobody's tag");
    assert!(here(&mut node, ours) && here(&mut node, theirs));
    assert_eq!(flush(&mut node, instance, OURS), Outcome::Done);
    assert_eq!(read(&mut node, ours, 0, 1), Outcome::Missing { offset: 0, len: 70_000 });
    assert!(here(&mut node, theirs));
    // No handle need be open, and the key is that of the call.
    node.api().close_content(theirs).unwrap();
    let operation = node.api().flush_content(instance, THEIRS, 77).unwrap();
    let [completion] = ended(&mut node)[..] else { panic!("one") };
    assert_eq!((completion.operation, completion.key, completion.outcome), (operation, 77, Outcome::Done));
    let again = opened(&mut node, instance, THEIRS, &bytes[70_000..]);
    assert!(!here(&mut node, again));
}

#[test]
fn what_another_tag_has_too_stays() {
    let (mut node, instance) = client();
    let bytes = random(70_000);
    let ours = cached(&mut node, instance, OURS, &bytes);
    let theirs = opened(&mut node, instance, THEIRS, &bytes);
    // To read it is to have it.
    assert_eq!(bytes_at(&mut node, theirs, 0, 9).unwrap(), bytes[..9]);
    assert_eq!(flush(&mut node, instance, OURS), Outcome::Done);
    assert_eq!(read(&mut node, ours, 0, 0), Outcome::Stored { offset: 0, len: 65_536 });
    assert_eq!(flush(&mut node, instance, THEIRS), Outcome::Done);
    assert!(!here(&mut node, ours));
}

#[test]
fn what_is_being_read_goes_when_it_was_read() {
    let (mut node, instance) = client();
    let bytes = random(70_000);
    let content = cached(&mut node, instance, OURS, &bytes);
    let read = node.api().block_read(NOW, content, 0, 9, LOCAL);
    assert_eq!(outcome(&mut node, read), Outcome::Data { offset: 0, len: 9 });
    let operation = node.api().flush_content(instance, OURS, 0).unwrap();
    assert_eq!(ended(&mut node), []);
    let mut copied = [0; 9];
    assert_eq!(node.api().copy_read(read.unwrap(), 0, &mut copied), Ok(9));
    assert_eq!(copied, bytes[..9]);
    node.api().end_read(read.unwrap());
    let [completion] = ended(&mut node)[..] else { panic!("one") };
    assert_eq!((completion.operation, completion.outcome), (operation, Outcome::Done));
    assert!(!here(&mut node, content));
}

#[test]
fn what_waits_goes_too() {
    let (mut node, instance) = client();
    let bytes = random(70_000);
    let contents = [OURS, THEIRS].map(|tag| {
        let content = node.api().open_content(instance, tag, 0).unwrap();
        assert_eq!(add_data(&mut node, content, 0, &bytes), Outcome::Taken(70_000));
        content
    });
    assert_eq!(flush(&mut node, instance, OURS), Outcome::Done);
    node.api().close_content(contents[1]).unwrap();
    assert_eq!(flush(&mut node, instance, THEIRS), Outcome::Done);
    describe(&mut node, contents[0], &bytes);
    assert!(!here(&mut node, contents[0]));
}

#[test]
fn more_tags_than_labels_lose_too_much_and_never_too_little() {
    let (mut node, instance) = client();
    let bytes = random(12 * 100);
    for (n, bytes) in (0..12).zip(bytes.chunks(100)) {
        let content = cached(&mut node, instance, [n; 16], bytes);
        // The tag is done with, and what it has stays.
        node.api().close_content(content).unwrap();
    }
    for (n, bytes) in (0..12).zip(bytes.chunks(100)).rev() {
        assert_eq!(flush(&mut node, instance, [n; 16]), Outcome::Done);
        let content = opened(&mut node, instance, [99; 16], bytes);
        assert!(!here(&mut node, content), "{n}");
        node.api().close_content(content).unwrap();
    }
}

/// A tag that had to share, and has a label of its own by now.
#[test]
fn a_tag_that_shared_is_flushed_whole() {
    let (mut node, instance) = client();
    let bytes = random(9 * 100);
    let pieces: Vec<&[u8]> = bytes.chunks(100).collect();
    for n in 0..8 {
        let content = cached(&mut node, instance, [n; 16], pieces[usize::from(n)]);
        node.api().close_content(content).unwrap();
    }
    assert_eq!(flush(&mut node, instance, [0; 16]), Outcome::Done);
    // The first eight blocks are all there is room for.
    let again = cached(&mut node, instance, [7; 16], pieces[8]);
    node.api().close_content(again).unwrap();
    assert_eq!(flush(&mut node, instance, [7; 16]), Outcome::Done);
    for piece in [7, 8] {
        let content = opened(&mut node, instance, [99; 16], pieces[piece]);
        assert!(!here(&mut node, content), "{piece}");
        node.api().close_content(content).unwrap();
    }
    // Nobody else's went with it that had a label of its own.
    let content = opened(&mut node, instance, [99; 16], pieces[3]);
    assert!(here(&mut node, content));
}

#[test]
fn a_flush_needs_the_service_and_ends_with_it() {
    let (mut node, instance) = client();
    let content = cached(&mut node, instance, OURS, &random(100));
    let read = node.api().block_read(NOW, content, 0, 9, LOCAL);
    assert!(matches!(outcome(&mut node, read), Outcome::Data { .. }));
    let pending = node.api().flush_content(instance, OURS, 0).unwrap();
    assert_eq!(ended(&mut node), []);
    node.api().set_status(Status::Disabled);
    let ends = ended(&mut node);
    let end = ends.iter().find(|end| end.operation == pending).unwrap();
    assert_eq!(end.outcome, Outcome::Failed(ApiError::Aborted));
    assert_eq!(node.api().flush_content(instance, OURS, 0), Err(ApiError::Disabled));
    node.api().set_status(Status::Available);
    assert_eq!(flush(&mut node, instance, OURS), Outcome::Done);
    node.api().shutdown(instance).unwrap();
    assert_eq!(node.api().flush_content(instance, OURS, 0), Err(ApiError::InvalidHandle));
}

/// However their rows lie.
#[test]
fn flushes_end_in_the_order_in_which_they_were_accepted() {
    let (mut node, instance) = client();
    let content = cached(&mut node, instance, OURS, &random(70_000));
    // The first row is that of a read, and is free when the last flush is accepted.
    let read = node.api().block_read(NOW, content, 0, 9, LOCAL);
    assert!(matches!(outcome(&mut node, read), Outcome::Data { .. }));
    let mut flushes: Vec<_> = (0..3).map(|_| node.api().flush_content(instance, OURS, 0).unwrap()).collect();
    assert_eq!(ended(&mut node), []);
    node.api().end_read(read.unwrap());
    flushes.push(node.api().flush_content(instance, OURS, 0).unwrap());
    let ends: Vec<_> = ended(&mut node).iter().map(|end| end.operation).collect();
    assert_eq!(ends, flushes);
}

/// What keeps it has to go first.
#[test]
fn a_flush_takes_all_that_is_cached_until_it_ends() {
    let (mut node, instance) = client();
    let bytes = random(140_000);
    let content = cached(&mut node, instance, OURS, &bytes[..70_000]);
    let read = node.api().block_read(NOW, content, 0, 9, LOCAL);
    assert!(matches!(outcome(&mut node, read), Outcome::Data { .. }));
    let flush = node.api().flush_content(instance, OURS, 0).unwrap();
    assert_eq!(ended(&mut node), []);
    // It is new, and goes with what was there.
    let other = opened(&mut node, instance, OURS, &bytes[70_000..]);
    add_data(&mut node, other, 0, &bytes[70_000..]);
    assert!(!here(&mut node, other));
    node.api().close_content(content).unwrap();
    let [completion] = ended(&mut node)[..] else { panic!("one") };
    assert_eq!((completion.operation, completion.outcome), (flush, Outcome::Done));
    assert!(!here(&mut node, other));
}
