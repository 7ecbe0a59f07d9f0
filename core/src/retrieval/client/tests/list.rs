//! Lists of blocks.

use super::*;
use crate::retrieval::wire::OUR_VERSIONS;

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../../../tests/vectors/", $name))
    };
}

fn set(ranges: &[(u32, u32)]) -> IndexSet {
    let mut set = IndexSet::EMPTY;
    ranges.iter().for_each(|&(index, count)| set.insert_range(Range { index, count }));
    set
}

fn exchange(asked: &[(u32, u32)]) -> Exchange {
    let id: [u8; 32] = core::array::from_fn(|i| i as u8);
    Exchange::list(SegmentId::from_slice(&id).unwrap(), set(asked))
}

/// Feeds `bytes` in chunks and returns the last step.
fn feed<'a>(exchange: &mut Exchange, bytes: &'a [u8], chunk: usize) -> Result<Step<'a>, Refusal> {
    let mut last = Step::More;
    for mut bytes in bytes.chunks(chunk) {
        while !bytes.is_empty() {
            let (used, step) = exchange.handle(bytes);
            bytes = &bytes[used..];
            last = step?;
        }
    }
    Ok(last)
}

/// 3.1.4.2
#[test]
fn our_request_is_theirs() {
    for (asked, vector) in [
        (&[(0, 512)][..], &vector!("pccrr-getblklist-crypto1.bin")[..]),
        (&[(0, 1), (42, 7), (511, 1)], vector!("pccrr-getblklist-3ranges.bin")),
    ] {
        let mut buf = [0; 100];
        let mut writer = Writer::new(&mut buf);
        exchange(asked).emit(&mut writer).unwrap();
        assert_eq!(writer.finish(), vector);
    }
}

/// 3.1.5.2
#[test]
fn a_list_in_any_pieces() {
    let bytes = vector!("pccrr-blklist-2.bin");
    for chunk in 1..=bytes.len() {
        let mut exchange = exchange(&[(0, 512)]);
        let listed = set(&[(0, 2), (4, 508)]);
        assert_eq!(feed(&mut exchange, bytes, chunk), Ok(Step::Blocks));
        assert_eq!(exchange.blocks(), listed);
        assert!(exchange.is_done());
        assert_eq!(exchange.handle(&[0]).1, Err(Refusal::Malformed));
    }
    let none = vector!("pccrr-blklist-empty.bin");
    let mut exchange = exchange(&[(0, 4)]);
    assert_eq!(feed(&mut exchange, none, 9), Ok(Step::Blocks));
    assert!(exchange.blocks().is_empty());
}

/// 3.1.5.2: what was not asked for does not count, and a range of nothing else is a lie.
#[test]
fn ranges_are_those_that_were_asked_for() {
    let bytes = vector!("pccrr-blklist-2.bin");
    let mut some = exchange(&[(1, 2), (100, 1)]);
    assert_eq!(feed(&mut some, bytes, 99), Ok(Step::Blocks));
    assert_eq!(some.blocks(), set(&[(1, 1), (100, 1)]));
    assert_eq!(feed(&mut exchange(&[(0, 3)]), bytes, 99), Err(Refusal::NotAsked));
    let mut other = *bytes;
    other[63] = 0;
    other[67] = 0;
    assert_eq!(feed(&mut exchange(&[(0, 512)]), &other, 99), Err(Refusal::Malformed), "Count 0");
}

/// 3.1.5.2: well-formed, and the segment's that was asked for; 3.1.5.5: or else discarded.
#[test]
fn another_segment_type_or_version_is_refused() {
    let bytes = vector!("pccrr-blklist-2.bin");
    for (at, refusal) in [
        (3, Refusal::Malformed),
        (7, Refusal::Unexpected),
        (11, Refusal::Unexpected),
        (15, Refusal::Malformed),
        (23, Refusal::NotAsked),
        (24, Refusal::NotAsked),
        (59, Refusal::Malformed),
    ] {
        let mut other = *bytes;
        other[at] ^= 1;
        assert_eq!(feed(&mut exchange(&[(0, 512)]), &other, 99), Err(refusal), "byte {at}");
    }
    for other in [&vector!("pccrr-blk-empty.bin")[..], vector!("pccrr-seglist-fixed.bin")] {
        assert_eq!(feed(&mut exchange(&[(0, 512)]), other, 99), Err(Refusal::Unexpected));
    }
}

/// 3.1.5.1 and fact 40: the same request once more, if the type's major version is spoken.
#[test]
fn negotiation() {
    let mut exchange = exchange(&[(0, 512)]);
    let step = feed(&mut exchange, vector!("pccrr-nego-resp-1.0-2.0.bin"), 5);
    assert_eq!(step, Ok(Step::Negotiation(OUR_VERSIONS)));
    assert!(OUR_VERSIONS.speaks(MessageType::GetBlockList.version()));
}

#[test]
fn every_cut_is_incomplete() {
    let bytes = vector!("pccrr-blklist-2.bin");
    for len in 0..bytes.len() {
        let mut exchange = exchange(&[(0, 512)]);
        assert_eq!(feed(&mut exchange, &bytes[..len], 99), Ok(Step::More));
        assert!(!exchange.is_done());
    }
}
