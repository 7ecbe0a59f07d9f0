//! Reads of blocks that another content has begun to add.

use super::client::*;
use super::peers::Link;
use super::*;
use crate::api::client::IDLE_INTAKE;
use crate::time::Duration;

const DEFAULT: Patience = Patience::from_millis(0xffff_fffe);
const LATENCY: Duration = Duration::from_millis(1);

/// Node 0 with two contents of the same bytes, all of which the peer has; the second has its beginning.
fn begun(bytes: &[u8], version: Version) -> (Link, ContentHandle, ContentHandle) {
    let mut link = Link::new(LATENCY);
    let content = link.share(bytes, version);
    let other = link.open(0, bytes, version);
    add_data(&mut link.nodes[0], other, 0, &bytes[..1_000]);
    link.settle();
    (link, content, other)
}

fn add(link: &mut Link, content: ContentHandle, at: usize, bytes: &[u8]) {
    let operation = link.nodes[0].api().add_data(content, at as u64, bytes).unwrap();
    let (completion, _) = link.until_end(0);
    assert_eq!((completion.operation, completion.outcome), (operation, Outcome::Taken(bytes.len() as u32)));
}

/// Whatever a peer sent would find no place: so it is asked once the block has been left alone.
#[test]
fn what_another_content_is_about_to_leave_is_fetched() {
    let bytes = random(100_000);
    for version in [Version::V1, Version::V2] {
        for before in [IDLE_INTAKE, LATENCY, Duration::from_micros(1)] {
            let (mut link, content, _) = begun(&bytes, version);
            link.now = NOW + Duration::from_micros(IDLE_INTAKE.micros() - before.micros());
            link.settle();
            link.nodes[0].api().block_read(link.now, content, 0, 10, DEFAULT).unwrap();
            let (completion, took) = link.until_end(0);
            assert_eq!(completion.outcome, Outcome::Data { offset: 0, len: 10 }, "{version:?} {before:?}");
            assert!(took >= before);
            // It was added in vain.
            assert_eq!(link.nodes[0].api().dropped(), Dropped { bad_blocks: 0, bytes: 1_000 });
        }
    }
}

/// Its beginning comes when the peer has been asked already.
#[test]
fn what_another_content_begins_meanwhile_is_fetched() {
    let bytes = random(100_000);
    for version in [Version::V1, Version::V2] {
        let mut link = Link::new(LATENCY);
        let content = link.share(&bytes, version);
        let other = link.open(0, &bytes, version);
        let read = link.nodes[0].api().block_read(link.now, content, 0, 10, DEFAULT).unwrap();
        link.settle();
        add(&mut link, other, 0, &bytes[..1_000]);
        assert!(link.nodes[0].api().is_pending(read));
        assert_eq!(link.until_end(0).0.outcome, Outcome::Data { offset: 0, len: 10 }, "{version:?}");
    }
}

#[test]
fn what_another_content_completes_is_read_at_once() {
    let bytes = random(100_000);
    let (mut link, content, other) = begun(&bytes, Version::V1);
    let read = link.nodes[0].api().block_read(link.now, content, 5, 10, DEFAULT).unwrap();
    link.now += Duration::from_millis(900);
    add(&mut link, other, 1_000, &bytes[1_000..2_000]);
    link.now += Duration::from_millis(900);
    link.settle();
    assert!(link.nodes[0].api().is_pending(read));
    add(&mut link, other, 2_000, &bytes[2_000..]);
    let (completion, took) = link.until_end(0);
    assert_eq!((completion.outcome, took), (Outcome::Data { offset: 5, len: 10 }, Duration::ZERO));
}

#[test]
fn what_another_content_gives_up_is_fetched_at_once() {
    let bytes = random(100_000);
    let (mut link, content, other) = begun(&bytes, Version::V1);
    link.nodes[0].api().block_read(link.now, content, 5, 10, DEFAULT).unwrap();
    link.settle();
    link.nodes[0].api().close_content(other).unwrap();
    let (completion, took) = link.until_end(0);
    assert_eq!(completion.outcome, Outcome::Data { offset: 5, len: 10 });
    assert!(took < IDLE_INTAKE);
}

/// Who goes on with its block may take longer than a reader has time. Who asks the store alone asks nobody.
#[test]
fn time_passes_while_another_content_goes_on() {
    let bytes = random(100_000);
    let (mut link, content, other) = begun(&bytes, Version::V1);
    let (now, patience) = (link.now, Patience::from_millis(1_500));
    let read = link.nodes[0].api().block_read(now, content, 5, 10, patience).unwrap();
    let local = link.nodes[0].api().block_read(now, content, 5, 10, LOCAL).unwrap();
    let (completion, took) = link.until_end(0);
    assert_eq!((completion.operation, completion.code(), took), (local, Code::MissingData, Duration::ZERO));
    link.now += Duration::from_millis(900);
    add(&mut link, other, 1_000, &bytes[1_000..2_000]);
    let (completion, _) = link.until_end(0);
    assert_eq!(completion.operation, read);
    assert_eq!(completion.outcome, Outcome::TimedOut { offset: 5, len: 65_531 });
    assert_eq!(link.now.since(now), Duration::from_millis(1_500));
}

/// Content information that goes on does not say any more where the block was.
#[test]
fn what_was_begun_is_given_up_with_its_description() {
    let bytes = random(100_000);
    let (mut node, instance) = client();
    let begun = node.api().open_content(instance, [7; 16], 0).unwrap();
    let info = expected(&bytes, Version::V2);
    node.api().add_content_information(begun, &info).unwrap();
    node.api().complete_content_information(begun).unwrap();
    node.api().add_data(begun, 0, &bytes[..1_000]).unwrap();
    node.api().cancel_client_operation(begun, None).unwrap();
    ended(&mut node);
    assert_eq!(node.api().dropped().bytes, 1_000);
    let content = open_content(&mut node, instance, &info);
    add_data(&mut node, content, 0, &bytes);
    assert_eq!(read(&mut node, content, 0, 0), Outcome::Stored { offset: 0, len: 100_000 });
}

/// More blocks are read than are looked for at a time.
#[test]
fn what_is_added_before_its_turn_to_be_looked_for_is_read_at_once() {
    let bytes = random(200_000);
    let mut link = Link::new(LATENCY);
    let content = link.open(0, &bytes, Version::V1);
    let reads = [0, 65_536, 131_072].map(|offset| {
        link.nodes[0].api().block_read(link.now, content, offset, 10, Patience::Endless).unwrap()
    });
    link.settle();
    link.nodes[0].api().add_data(content, 131_072, &bytes[131_072..196_608]).unwrap();
    link.settle();
    let ended: Vec<_> = core::iter::from_fn(|| link.nodes[0].api().poll_operation()).collect();
    assert_eq!(ended[1].operation, reads[2]);
    assert_eq!(ended[1].outcome, Outcome::Data { offset: 131_072, len: 10 });
}
