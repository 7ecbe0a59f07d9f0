extern crate std;

use std::vec::Vec;

use super::*;

const FIRST: ContentHandle = ContentHandle { index: 0, generation: 1 };
const SECOND: ContentHandle = ContentHandle { index: 1, generation: 1 };
const TAG: ContentTag = *b"0123456789abcdef";

fn byte(at: u64) -> u8 {
    (at % 251) as u8
}

fn bytes(range: Range<u64>) -> Vec<u8> {
    range.map(byte).collect()
}

fn pages(count: usize) -> Vec<Page> {
    (0..count).map(|_| Page::EMPTY).collect()
}

/// All bytes of `range`, one run after the other.
fn read(waiting: &Waiting<'_>, of: Of, range: Range<u64>) -> Vec<u8> {
    let mut found = Vec::new();
    while range.start + (found.len() as u64) < range.end {
        let run = waiting.run(of, range.start + found.len() as u64);
        if run.is_empty() {
            break;
        }
        found.extend_from_slice(run);
    }
    found.truncate((range.end - range.start) as usize);
    found
}

#[test]
fn pieces_in_any_order_are_read_in_order() {
    let mut pages = pages(8);
    let mut waiting = Waiting::new(&mut pages);
    let of = Of::Content(FIRST);
    for piece in [1_000..1_500, 0..300, 1_500..1_900, 300..1_000] {
        assert_eq!(waiting.hold(FIRST, TAG, piece.start, &bytes(piece.clone())), 0);
    }
    assert!(waiting.covers(of, &(0..1_900)));
    assert!(!waiting.covers(of, &(0..1_901)));
    assert_eq!(read(&waiting, of, 0..1_900), bytes(0..1_900));
    assert_eq!(read(&waiting, of, 1_234..1_700), bytes(1_234..1_700));
    assert_eq!(waiting.first(of, &(0..9_999)), Some(0));
    assert_eq!(waiting.first(of, &(700..9_999)), Some(700));
    assert_eq!(waiting.first(of, &(1_900..9_999)), None);
    assert!(waiting.run(Of::Content(SECOND), 0).is_empty());
}

#[test]
fn what_waits_already_takes_no_room_again() {
    let mut pages = pages(2);
    let mut waiting = Waiting::new(&mut pages);
    for _ in 0..5 {
        assert_eq!(waiting.hold(FIRST, TAG, 100, &bytes(100..900)), 0);
    }
    // The rest of the second page is used for what goes on from there.
    assert_eq!(waiting.hold(FIRST, TAG, 50, &[]), 0);
    assert_eq!(waiting.hold(FIRST, TAG, 200, &bytes(200..1_124)), 0);
    assert_eq!(waiting.hold(FIRST, TAG, 1_124, &[0]), 1);
    // What waits is not lost with what does not.
    assert_eq!(waiting.hold(FIRST, TAG, 0, &bytes(0..1_200)), 100 + 76);
    assert_eq!(read(&waiting, Of::Content(FIRST), 100..1_124), bytes(100..1_124));
}

#[test]
fn an_open_content_keeps_its_room_and_a_closed_one_gives_it_up_oldest_first() {
    let mut pages = pages(3);
    let mut waiting = Waiting::new(&mut pages);
    for at in [0, 10_000, 20_000] {
        assert_eq!(waiting.hold(FIRST, TAG, at, &bytes(at..at + 512)), 0);
    }
    assert_eq!(waiting.hold(SECOND, TAG, 0, &[1]), 1);
    waiting.close(FIRST);
    assert!(waiting.run(Of::Content(FIRST), 0).is_empty());
    assert!(waiting.covers(Of::Tag(TAG), &(0..512)));
    assert_eq!(waiting.hold(SECOND, TAG, 30_000, &bytes(30_000..30_512)), 0);
    assert!(waiting.run(Of::Tag(TAG), 0).is_empty());
    assert!(waiting.covers(Of::Tag(TAG), &(10_000..10_512)));
    assert!(waiting.covers(Of::Tag(TAG), &(20_000..20_512)));
    assert!(waiting.run(Of::Tag([0; 16]), 10_000).is_empty());
}

#[test]
fn a_range_is_forgotten_and_wiped_and_its_neighbours_stay() {
    let mut pages = pages(4);
    let mut waiting = Waiting::new(&mut pages);
    let of = Of::Content(FIRST);
    assert_eq!(waiting.hold(FIRST, TAG, 0, &bytes(0..1_536)), 0);
    assert_eq!(waiting.forget(of, &(200..1_100)), 0);
    assert_eq!(read(&waiting, of, 0..200), bytes(0..200));
    assert_eq!(waiting.first(of, &(200..2_000)), Some(1_100));
    assert_eq!(read(&waiting, of, 1_100..1_536), bytes(1_100..1_536));
    // Of one page, both ends cannot stay.
    assert_eq!(waiting.forget(of, &(50..60)), 140);
    assert_eq!(read(&waiting, of, 0..50), bytes(0..50));
    assert!(waiting.run(of, 60).is_empty());
    for page in &pages {
        let (before, rest) = page.bytes.split_at(page.skip);
        assert!(before.iter().chain(&rest[page.len..]).all(|&byte| byte == 0));
    }
}

#[test]
fn a_tag_is_flushed_whoever_holds_it() {
    let mut pages = pages(4);
    let mut waiting = Waiting::new(&mut pages);
    assert_eq!(waiting.hold(FIRST, TAG, 0, &[1; 10]), 0);
    waiting.close(FIRST);
    assert_eq!(waiting.hold(SECOND, TAG, 0, &[2; 10]), 0);
    assert_eq!(waiting.hold(SECOND, [7; 16], 100, &[3; 10]), 0);
    waiting.flush(TAG);
    assert!(waiting.run(Of::Tag(TAG), 0).is_empty());
    assert!(waiting.run(Of::Content(SECOND), 0).is_empty());
    assert_eq!(waiting.run(Of::Content(SECOND), 100), [3; 10]);
}

#[test]
fn ends_of_what_can_be_counted_do_no_harm() {
    let mut pages = pages(2);
    let mut waiting = Waiting::new(&mut pages);
    assert_eq!(waiting.hold(FIRST, TAG, u64::MAX - 1, &[1]), 0);
    let of = Of::Content(FIRST);
    assert_eq!(waiting.run(of, u64::MAX - 1), [1]);
    assert_eq!(waiting.hold(FIRST, TAG, u64::MAX, &[1, 2, 3]), 3);
    assert_eq!(waiting.first(of, &(0..u64::MAX)), Some(u64::MAX - 1));
}
