extern crate std;

use std::vec;
use std::vec::Vec;

use super::*;
use crate::retrieval::wire::{OUR_VERSIONS, REQUEST_ID_BYTES};

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../../../tests/vectors/", $name))
    };
}

/// RequestID of the vectors.
const REQUEST_ID: [u8; REQUEST_ID_BYTES] =
    [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];

/// What a reply comes down to: which segments, and their ages in milliseconds.
type Seen = (SegmentStep, Vec<(u32, u64)>);

fn id(first: u8) -> SegmentId {
    SegmentId::from_slice(&core::array::from_fn::<u8, 32, _>(|i| first + i as u8)).unwrap()
}

fn ask(ids: &[SegmentId], blob: &[u8]) -> (Vec<u8>, SegmentExchange) {
    let mut buf = vec![0; 40_000];
    let mut writer = Writer::new(&mut buf);
    let exchange = SegmentExchange::ask(REQUEST_ID, ids, blob, &mut writer).unwrap();
    (writer.finish().to_vec(), exchange)
}

fn exchange(asked: usize) -> SegmentExchange {
    ask(&vec![id(0); asked], &[]).1
}

/// Feeds `bytes` in chunks.
fn feed(exchange: &mut SegmentExchange, bytes: &[u8], chunk: usize) -> Result<Seen, Refusal> {
    let (mut last, mut ages) = (SegmentStep::More, Vec::new());
    for mut bytes in bytes.chunks(chunk) {
        while !bytes.is_empty() {
            let (used, step) = exchange.handle(bytes, &mut |index, age| ages.push((index, age.millis())));
            bytes = &bytes[used..];
            last = step?;
        }
    }
    Ok((last, ages))
}

fn set(ranges: &[(u32, u32)]) -> SegmentStep {
    let mut set = IndexSet::EMPTY;
    ranges.iter().for_each(|&(index, count)| set.insert_range(Range { index, count }));
    SegmentStep::Segments(set)
}

/// A reply with these ranges and this blob, which claims to have `blob_len` bytes.
fn reply_claiming(ranges: &[(u32, u32)], blob: &[u8], blob_len: u32) -> Vec<u8> {
    let size = (16 + 16 + 4 + 8 * ranges.len() + 4 + blob.len()) as u32;
    let mut bytes = Vec::new();
    for word in [size, 2, 7, size, 1] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(REQUEST_ID);
    bytes.extend((ranges.len() as u32).to_be_bytes());
    for (index, count) in ranges {
        bytes.extend(index.to_be_bytes());
        bytes.extend(count.to_be_bytes());
    }
    bytes.extend(blob_len.to_be_bytes());
    bytes.extend(blob);
    bytes
}

fn reply(ranges: &[(u32, u32)], blob: &[u8]) -> Vec<u8> {
    reply_claiming(ranges, blob, blob.len() as u32)
}

/// 3.1.4.4: RequestID and SegmentIDs are those of the request.
#[test]
fn our_request_is_theirs() {
    assert_eq!(ask(&[id(0)], &[]).0, vector!("pccrr-getseglist-1.bin"));
    assert_eq!(ask(&[id(0), id(0x20), id(0x60)], &[]).0, vector!("pccrr-getseglist-3.bin"));
    let blob = [0, 1, 3, 2, 0, 1, 0, 0, 1, 2, 3, 4];
    assert_eq!(ask(&[id(0), id(0x20)], &blob).0, vector!("pccrr-getseglist-extblob.bin"));
}

/// 2.2.3 and fact 39: what cannot be asked for is not sent.
#[test]
fn requests_that_cannot_be() {
    let mut buf = vec![0; 120_000];
    let mut ask = |count: usize, blob: usize, room: usize| {
        let (ids, blob) = (vec![id(0); count], vec![0; blob]);
        SegmentExchange::ask(REQUEST_ID, &ids, &blob, &mut Writer::new(&mut buf[..room])).map(drop)
    };
    assert_eq!(ask(0, 0, 1_000), Err(AskError::NoSegment));
    assert_eq!(ask(512, 0, 18_472), Ok(()));
    assert_eq!(ask(513, 0, 120_000), Err(AskError::TooMany));
    // 76 bytes around one id and the blob.
    assert_eq!(ask(1, 98_304 - 76, 98_304), Ok(()));
    assert_eq!(ask(1, 98_304 - 75, 120_000), Err(AskError::TooLong));
    assert_eq!(ask(1, 0, 75), Err(AskError::NoRoom));
}

/// 3.1.5.4, with the bytes of another implementation: of its two ages, the second is that of number
/// 1, and both count from number 0.
#[test]
fn a_list_in_any_pieces() {
    let bytes = vector!("pccrr-seglist-fixed-extblob.bin");
    for chunk in 1..=bytes.len() {
        let mut exchange = exchange(6);
        let seen = (set(&[(0, 2), (5, 1)]), vec![(0, 10), (1, 2_629_140)]);
        assert_eq!(feed(&mut exchange, bytes, chunk), Ok(seen));
        assert!(exchange.is_done());
        assert_eq!(exchange.handle(&[], &mut |_, _| ()), (0, Ok(SegmentStep::More)));
        assert_eq!(exchange.handle(&[0], &mut |_, _| ()).1, Err(Refusal::Malformed));
    }
    let seen = feed(&mut exchange(6), vector!("pccrr-seglist-fixed.bin"), 7);
    assert_eq!(seen, Ok((set(&[(0, 2), (5, 1)]), vec![])));
    assert_eq!(feed(&mut exchange(1), &reply(&[], &[]), 7), Ok((set(&[]), vec![])));
}

/// 3.1.5.4: the RequestID MUST be that of the request.
#[test]
fn another_request_id_is_refused() {
    for at in 20..36 {
        let mut bytes = *vector!("pccrr-seglist-fixed.bin");
        bytes[at] ^= 1;
        assert_eq!(feed(&mut exchange(6), &bytes, 99), Err(Refusal::NotAsked), "byte {at}");
    }
}

/// 3.1.5.4, fact 42: a range beyond the request drops the reply, whatever else is in it.
#[test]
fn a_range_beyond_the_request_is_refused() {
    let bytes = vector!("pccrr-seglist-fixed-extblob.bin");
    assert_eq!(feed(&mut exchange(5), bytes, 99), Err(Refusal::NotAsked));
    for beyond in [(6, 1), (5, 2), (0, 7), (u32::MAX, 1), (1, u32::MAX)] {
        assert_eq!(feed(&mut exchange(6), &reply(&[(0, 1), beyond], &[]), 99), Err(Refusal::NotAsked));
    }
    assert_eq!(feed(&mut exchange(6), &reply(&[(0, 6)], &[]), 99), Ok((set(&[(0, 6)]), vec![])));
    let all = reply(&[(0, 512)], &[]);
    assert_eq!(feed(&mut exchange(512), &all, 99), Ok((set(&[(0, 512)]), vec![])));
    // 2.2.1.2: Count MUST be greater than 0.
    assert_eq!(feed(&mut exchange(6), &reply(&[(0, 0)], &[]), 99), Err(Refusal::Malformed));
}

/// Fact 42: ages count from the first range's index, be it the smallest or not; one of a segment
/// that is not listed says nothing.
#[test]
fn ages_count_from_the_first_range() {
    let blob = [0, 1, 1, 4, 0, 9, 0, 0, 1, 8, 0, 0, 2, 7, 0, 0, 255, 6, 0, 0];
    let seen = feed(&mut exchange(9), &reply(&[(3, 2), (0, 1)], &blob), 5).unwrap();
    assert_eq!(seen, (set(&[(0, 1), (3, 2)]), vec![(3, 9_000), (4, 8_000)]));
    let seen = feed(&mut exchange(300), &reply(&[(20, 280)], &blob), 5).unwrap();
    assert_eq!(seen.1, [(20, 9_000), (21, 8_000), (22, 7_000), (275, 6_000)]);
    assert_eq!(feed(&mut exchange(9), &reply(&[], &blob), 5), Ok((set(&[]), vec![])));
}

/// 2.2.6 and 2.2.6.1.1: a bad blob MUST be discarded; fact 42: the message is kept, and surplus
/// ignored.
#[test]
fn a_bad_blob_costs_only_itself() {
    for bad in [
        &[0][..],
        &[0, 1, 1],
        &[0, 2, 1, 1, 0, 1, 0, 0],
        &[1, 0, 1, 1, 0, 1, 0, 0],
        &[0, 1, 0, 1, 0, 1, 0, 0],
        &[0, 1, 5, 1, 0, 1, 0, 0],
        &[0, 1, 1, 2, 0, 1, 0, 0],
        &[0, 1, 1, 1, 0, 1, 0],
        &[0, 1, 1, 0, 0, 1, 0, 0],
    ] {
        for chunk in [1, 3, 999] {
            let seen = feed(&mut exchange(2), &reply(&[(0, 2)], bad), chunk);
            assert_eq!(seen, Ok((set(&[(0, 2)]), vec![])), "{bad:?}");
        }
    }
    let surplus = [0, 1, 2, 1, 1, 5, 0, 0, 1, 2, 3, 4, 5, 6, 7];
    for chunk in [1, 4, 999] {
        let seen = feed(&mut exchange(2), &reply(&[(0, 2)], &surplus), chunk);
        assert_eq!(seen, Ok((set(&[(0, 2)]), vec![(1, 500)])));
    }
}

/// 3.1.5.4: MUST be well-formed. A size that lies about the blob is known before any age is told.
#[test]
fn sizes_that_lie_are_refused() {
    let blob = [0, 1, 1, 1, 0, 1, 0, 0];
    for claimed in [0, 7, 9, u32::MAX] {
        let bytes = reply_claiming(&[(0, 1)], &blob, claimed);
        let mut told = false;
        let mut exchange = exchange(1);
        let (mut rest, mut step) = (&bytes[..], Ok(SegmentStep::More));
        while step.is_ok() {
            let (used, next) = exchange.handle(rest, &mut |_, _| told = true);
            (rest, step) = (&rest[used..], next);
        }
        assert_eq!((step, told, exchange.is_done()), (Err(Refusal::Malformed), false, true), "{claimed}");
    }
    for (at, refusal) in [
        (3, Refusal::Malformed),
        (7, Refusal::Unexpected),
        (11, Refusal::Unexpected),
        (15, Refusal::Malformed),
        (39, Refusal::Malformed),
    ] {
        let mut bytes = reply(&[(0, 1)], &blob);
        bytes[at] ^= 1;
        assert_eq!(feed(&mut exchange(1), &bytes, 99), Err(refusal), "byte {at}");
    }
    // What another implementation makes by mistake: no transport header.
    assert!(feed(&mut exchange(6), vector!("pccrr-seglist-raw.bin"), 99).is_err());
}

/// 3.1.5.5: messages of other types MUST be discarded.
#[test]
fn other_messages_are_refused() {
    for other in [&vector!("pccrr-blk-empty.bin")[..], vector!("pccrr-blklist-2.bin")] {
        assert_eq!(feed(&mut exchange(6), other, 99), Err(Refusal::Unexpected));
    }
}

/// 3.1.5.1 and fact 40: a cache that speaks version 1.0 alone has no lists of segments, and blocks
/// are asked for without.
#[test]
fn negotiation() {
    let step = feed(&mut exchange(6), vector!("pccrr-nego-resp-1.0-1.0.bin"), 5).unwrap().0;
    let SegmentStep::Negotiation(range) = step else { panic!("{step:?}") };
    assert!(!range.speaks(MessageType::GetSegmentList.version()));
    assert!(range.speaks(MessageType::GetBlocks.version()));
    let step = feed(&mut exchange(6), vector!("pccrr-nego-resp-1.0-2.0.bin"), 5).unwrap().0;
    assert_eq!(step, SegmentStep::Negotiation(OUR_VERSIONS));
}

#[test]
fn every_cut_is_incomplete() {
    let bytes = vector!("pccrr-seglist-fixed-extblob.bin");
    for len in 0..bytes.len() {
        let mut exchange = exchange(6);
        assert_eq!(feed(&mut exchange, &bytes[..len], 99).map(|seen| seen.0), Ok(SegmentStep::More));
        assert!(!exchange.is_done());
    }
}
