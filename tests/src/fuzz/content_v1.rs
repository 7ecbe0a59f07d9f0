//! Content information 1.0.

use std::ops::Range;

use peerdist_core::content::v1::wire::{HEADER_BYTES, HeaderRepr, SegmentRepr};
use peerdist_core::content::v1::{EndForm, Excerpt, HodCheck, Info, Progress, Segment};
use peerdist_core::content::{InfoFault, InfoSource};
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};
use peerdist_core::limits::{BLOCK_BYTES, SEGMENT_BLOCKS};

use super::numbers;

/// What is accepted is written again byte for byte, any part of it parses to just that part, every
/// hash of it can be read, and its segments cover its range without a gap.
pub fn content_v1(data: &[u8]) {
    fixed_parts(data);
    let source: &dyn InfoSource = &data;
    let info = match Info::parse(source) {
        Ok(info) => info,
        Err(error) => {
            // The place of a field that is missing may lie beyond the end.
            let inside = error.offset <= data.len() as u64 || error.reason == InfoFault::Truncated;
            assert!(inside, "{error}");
            return;
        }
    };
    assert_eq!(emitted(&info.whole(source)), data);
    segments(&info, source);

    let (range, (a, b)) = (info.range(), numbers(data));
    let start = range.start + a % (range.end - range.start);
    let end = start + 1 + b % (range.end - start);
    for part in [range.clone(), start..end, range.start..end, start..range.end, start..start + 1] {
        for form in [EndForm::Zero, EndForm::Explicit] {
            excerpt(&info, source, &part, form);
        }
    }
    let beyond = |part: Range<u64>| assert!(info.excerpt(source, part, EndForm::Zero).is_none());
    beyond(start..start);
    beyond(start..range.end.saturating_add(1).max(start));
    if let Some(before) = range.start.checked_sub(1) {
        beyond(before..end);
    }
}

fn fixed_parts(data: &[u8]) {
    if let Ok(header) = HeaderRepr::parse(data) {
        let mut buf = [0; HEADER_BYTES];
        header.emit(&mut buf).unwrap();
        assert_eq!(buf, data[..header.buffer_len()]);
    }
    for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
        match SegmentRepr::parse(algorithm, data) {
            Ok(repr) => {
                let mut buf = vec![0; repr.buffer_len()];
                repr.emit(&mut buf).unwrap();
                assert_eq!(buf, data[..buf.len()]);
            }
            Err(error) => assert!(error.offset <= data.len() as u64, "{error}"),
        }
    }
}

/// Reads every segment and checks that together they are what the range needs.
fn segments(info: &Info, source: &dyn InfoSource) {
    let range = info.range();
    assert!(range.start < range.end && range.end <= info.content_end());
    let last = info.segment_count() - 1;
    assert_eq!(info.segment_at(range.start), Some(0));
    assert_eq!(info.segment_at(range.end - 1), Some(last));
    assert_eq!(info.segment_at(info.content_end()), None);
    assert!(info.segment(source, info.segment_count()).is_err());

    let (mut next, mut covered) = (None, 0);
    for index in 0..=last {
        let segment = info.segment(source, index).unwrap();
        let end = segment.offset() + u64::from(segment.byte_len());
        assert!(next.is_none_or(|next| next == segment.offset()), "a gap before segment {index}");
        next = Some(end);
        assert_eq!(segment.index(), index);
        assert_eq!(info.segment_at(segment.offset()), Some(index));
        assert_eq!(info.segment_at(end - 1), Some(index));

        let part = range.start.max(segment.offset())..range.end.min(end);
        covered += part.end - part.start;
        let block = |offset: u64| ((offset - segment.offset()) / u64::from(BLOCK_BYTES)) as u32;
        assert_eq!(segment.blocks_in_range(), block(part.start)..block(part.end - 1) + 1);
        blocks(info.algorithm(), &segment, source);
    }
    assert_eq!(next, Some(info.content_end()));
    assert_eq!(covered, range.end - range.start);
}

fn blocks(algorithm: HashAlgorithm, segment: &Segment, source: &dyn InfoSource) {
    let (listed, needed) = (segment.listed_blocks(), segment.blocks_in_range());
    assert!(listed.start <= needed.start && needed.end <= listed.end);
    assert!(listed.end <= segment.block_count() && segment.block_count() <= SEGMENT_BLOCKS);
    let mut bytes = 0;
    for index in 0..=segment.block_count() {
        bytes += segment.block_len(index).unwrap_or_default();
        let digest = segment.block_hash(source, index).unwrap();
        assert_eq!(digest.is_some(), listed.contains(&index), "block {index}");
        assert!(digest.is_none_or(|digest| digest.as_bytes().len() == algorithm.digest_len()));
    }
    assert_eq!(bytes, segment.byte_len());
    assert_eq!(segment.id(&mut SoftCrypto).as_bytes().len(), algorithm.digest_len());

    let whole = listed == (0..segment.block_count());
    let Ok(mut check) = HodCheck::new(&mut SoftCrypto, segment) else { return assert!(!whole) };
    assert!(whole);
    let mut verdict = check.step(source, &mut SoftCrypto, segment.block_count() - 1);
    assert_eq!(verdict, Ok(Progress::More), "a block hash is left");
    verdict = check.step(source, &mut SoftCrypto, 1);
    let mismatch = verdict.is_err_and(|error| error.reason == InfoFault::HashMismatch);
    assert!(mismatch || verdict == Ok(Progress::Done), "{verdict:?}");
    assert_eq!(check.step(source, &mut SoftCrypto, 1), verdict);
}

fn excerpt(info: &Info, source: &dyn InfoSource, part: &Range<u64>, form: EndForm) {
    let excerpt = info.excerpt(source, part.clone(), form).unwrap();
    let bytes = emitted(&excerpt);
    let read: &dyn InfoSource = &bytes.as_slice();
    let again = Info::parse(read).unwrap();
    assert_eq!(&again, excerpt.info());
    assert_eq!(again.range(), *part);
    segments(&again, read);

    for index in 0..again.segment_count() {
        let here = again.segment(read, index).unwrap();
        let there = info.segment(source, info.segment_at(here.offset()).unwrap()).unwrap();
        assert_eq!((here.hod(), here.byte_len()), (there.hod(), there.byte_len()));
        assert!(here.secret() == there.secret());
        for block in here.listed_blocks() {
            assert_eq!(here.block_hash(read, block), there.block_hash(source, block));
        }
    }

    // In two pieces, and through two excerpts.
    let (head, tail) = bytes.split_at(bytes.len() / 2 + 1);
    for (offset, piece) in [(0, head), (head.len(), tail)] {
        let mut buf = vec![0; piece.len()];
        excerpt.read_at(offset as u64, &mut buf).unwrap();
        assert_eq!(buf, piece);
    }
    assert!(excerpt.read_at(bytes.len() as u64, &mut [0]).is_err());
    assert_eq!(emitted(&again.excerpt(&excerpt, part.clone(), form).unwrap()), bytes);
}

fn emitted(excerpt: &Excerpt<'_>) -> Vec<u8> {
    let mut bytes = vec![0; excerpt.len() as usize];
    excerpt.emit(&mut bytes.as_mut_slice()).unwrap();
    bytes
}
