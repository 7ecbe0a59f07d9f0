//! Content information of both versions.

use std::ops::Range;

use peerdist_core::content::publish::v2::Publisher;
use peerdist_core::content::segmenter::{MIN_SEGMENT_BYTES, SegmentLen, Segmentation, Segmenter};
use peerdist_core::content::{EndForm, Excerpt, HodCheck, Info, Progress, Segment, server_secret, v1, v2};
use peerdist_core::content::{InfoFault, InfoSource};
use peerdist_core::crypto::{HashAlgorithm, SoftCrypto};
use peerdist_core::limits::{MAX_SEGMENT_V2_BYTES, SEGMENT_BLOCKS};

use super::numbers;

/// See `content` below; and what the parts of version 1.0 read, they write again.
pub fn content_v1(data: &[u8]) {
    if let Ok(header) = v1::wire::HeaderRepr::parse(data) {
        let mut buf = [0; v1::wire::HEADER_BYTES];
        header.emit(&mut buf).unwrap();
        assert_eq!(buf, data[..header.buffer_len()]);
    }
    for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
        match v1::wire::SegmentRepr::parse(algorithm, data) {
            Ok(repr) => {
                let mut buf = vec![0; repr.buffer_len()];
                repr.emit(&mut buf).unwrap();
                assert_eq!(buf, data[..buf.len()]);
            }
            Err(error) => assert!(error.offset <= data.len() as u64, "{error}"),
        }
    }
    content(data);
}

/// See `content` below; and what the parts of version 2.0 read, they write again.
pub fn content_v2(data: &[u8]) {
    if let Ok(header) = v2::wire::HeaderRepr::parse(data) {
        let mut buf = [0; v2::wire::HEADER_BYTES];
        header.emit(&mut buf).unwrap();
        assert_eq!(buf, data[..header.buffer_len()]);
    }
    if let Ok(chunk) = v2::wire::ChunkRepr::parse(data) {
        let mut buf = [0; v2::wire::CHUNK_HEAD_BYTES];
        chunk.emit(&mut buf).unwrap();
        assert_eq!(buf, data[..chunk.buffer_len()]);
    }
    if let Ok(repr) = v2::wire::SegmentRepr::parse(data) {
        let mut buf = [0; v2::wire::DESCRIPTION_BYTES];
        repr.emit(&mut buf).unwrap();
        assert_eq!(buf, data[..repr.buffer_len()]);
    }
    content(data);
}

/// Segments are within their bounds and make up the content, and the pieces in which it comes make
/// no difference, to them or to what is published.
pub fn segmenter(data: &[u8]) {
    let (a, b) = numbers(data);
    let fixed = MIN_FIXED + (a % u64::from(MAX_SEGMENT_V2_BYTES - MIN_FIXED)) as u32;
    let fixed = SegmentLen::new(fixed).unwrap();
    // Longer than what a fuzzer makes up, and made of it: otherwise no segment would ever end.
    let byte = |n: usize| data.get(n % data.len().max(1)).map_or(0, |byte| *byte);
    let content: Vec<u8> = (0..150_000 + (b % 50_000) as usize).map(byte).collect();
    let content = &content[..];
    for segmentation in [Segmentation::ContentDefined, Segmentation::Fixed(fixed)] {
        let (mut segmenter, mut rest, mut lens) = (Segmenter::new(segmentation), content, Vec::new());
        while let Some(len) = segmenter.push(rest) {
            rest = &rest[len..];
            lens.push(len as u32);
        }
        let bounds = match segmentation {
            Segmentation::ContentDefined => MIN_SEGMENT_BYTES..=MAX_SEGMENT_V2_BYTES,
            Segmentation::Fixed(len) => len.get()..=len.get(),
        };
        assert!(lens.iter().all(|len| bounds.contains(len)), "{lens:?}");
        assert_eq!(segmenter.len() as usize, rest.len());
        assert!(rest.len() < *bounds.end() as usize);

        let pieces = [content.len(), 1 + (a >> 32) as usize % 5_000];
        let [whole, cut] = pieces.map(|piece| published(segmentation, content, piece));
        assert!(whole == cut, "pieces make a difference");
        let info = Info::parse(&whole.as_slice()).unwrap();
        assert_eq!(info.segment_count() as usize, lens.len() + usize::from(!rest.is_empty()));
        assert_eq!(info.range(), 0..content.len() as u64);
    }
}

/// What a fuzzed fixed length is at least, so that there are not too many segments to hash.
const MIN_FIXED: u32 = 2_000;

fn published(segmentation: Segmentation, content: &[u8], piece: usize) -> Vec<u8> {
    let ks = server_secret(&mut SoftCrypto, HashAlgorithm::TruncatedSha512, b"key");
    let mut publisher = Publisher::new(ks, segmentation);
    let mut room = vec![0; 36 + 68 * (content.len() / MIN_FIXED as usize + 1)];
    let sink = &mut room.as_mut_slice();
    content.chunks(piece).for_each(|piece| publisher.update(&mut SoftCrypto, piece, sink).unwrap());
    let info = publisher.finish(&mut SoftCrypto, sink).unwrap();
    room.truncate(info.encoded_len() as usize);
    room
}

/// What is accepted is written again byte for byte, any part of it parses to just that part, every
/// hash of it can be read, and its segments cover its range without a gap.
fn content(data: &[u8]) {
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
    let beyond = |part: Range<u64>| assert!(info.excerpt(source, part, EndForm::Zero).unwrap().is_none());
    beyond(start..start);
    beyond(start..range.end.saturating_add(1).max(start));
    if let Some(before) = range.start.checked_sub(1) {
        beyond(before..end);
    }
}

/// Reads every segment and checks that together they are what the range needs.
fn segments(info: &Info, source: &dyn InfoSource) {
    let range = info.range();
    assert!(range.start < range.end && range.end <= info.content_end());
    let last = info.segment_count() - 1;
    let index_at = |offset| info.segment_at(source, offset).unwrap().map(|segment| segment.index());
    assert_eq!(index_at(range.start), Some(0));
    assert_eq!(index_at(info.content_end()), None);
    assert!(info.segment(source, info.segment_count()).is_err());

    let (mut next, mut position, mut covered) = (Some(info.segment(source, 0).unwrap()), None, 0);
    for index in 0..=last {
        let segment = next.unwrap();
        let end = segment.offset() + u64::from(segment.byte_len());
        assert!(position.is_none_or(|position| position == segment.offset()), "a gap before {index}");
        position = Some(end);
        assert_eq!(segment, info.segment(source, index).unwrap());
        assert_eq!(segment.index(), index);
        assert_eq!([segment.offset(), end - 1].map(index_at), [Some(index); 2]);

        let part = range.start.max(segment.offset())..range.end.min(end);
        let in_range = if part.is_empty() {
            // Only version 2.0 may describe more than its range.
            assert!(matches!(info, Info::V2(_)));
            0..0
        } else {
            covered += part.end - part.start;
            let block = |at: u64| ((at - segment.offset()) / u64::from(segment.block_bytes())) as u32;
            block(part.start)..block(part.end - 1) + 1
        };
        assert_eq!(segment.blocks_in_range(), in_range);
        blocks(info.algorithm(), &segment, source);
        next = info.next_segment(source, &segment).unwrap();
    }
    assert_eq!((next, position), (None, Some(info.content_end())));
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
    let early = check.step(source, &mut SoftCrypto, segment.block_count() - 1);
    // In version 2.0 there is nothing to read.
    let left = if *segment.hod() == segment.block_hash(source, 0).unwrap().unwrap() {
        Progress::Done
    } else {
        Progress::More
    };
    assert_eq!(early, Ok(left));
    let verdict = check.step(source, &mut SoftCrypto, 1);
    let mismatch = verdict.is_err_and(|error| error.reason == InfoFault::HashMismatch);
    assert!(mismatch || verdict == Ok(Progress::Done), "{verdict:?}");
    assert_eq!(check.step(source, &mut SoftCrypto, 1), verdict);
}

fn excerpt(info: &Info, source: &dyn InfoSource, part: &Range<u64>, form: EndForm) {
    let excerpt = info.excerpt(source, part.clone(), form).unwrap().unwrap();
    let bytes = emitted(&excerpt);
    let read: &dyn InfoSource = &bytes.as_slice();
    let again = Info::parse(read).unwrap();
    assert_eq!(&again, excerpt.info());
    assert_eq!(again.range(), *part);
    segments(&again, read);

    for index in 0..again.segment_count() {
        let here = again.segment(read, index).unwrap();
        let there = info.segment_at(source, here.offset()).unwrap().unwrap();
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
    assert_eq!(emitted(&again.excerpt(&excerpt, part.clone(), form).unwrap().unwrap()), bytes);
}

fn emitted(excerpt: &Excerpt<'_>) -> Vec<u8> {
    let mut bytes = vec![0; excerpt.len() as usize];
    excerpt.emit(&mut bytes.as_mut_slice()).unwrap();
    bytes
}
