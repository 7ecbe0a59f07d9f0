//! [MS-PCCRC] Content information of random contents, and of bytes that nobody should have sent.

use std::cell::Cell;
use std::fs::read_dir;
use std::ops::Range;

use peerdist_core::content::publish::{v1, v2};
use peerdist_core::content::segmenter::{SegmentLen, Segmentation};
use peerdist_core::content::v1::info_len;
use peerdist_core::content::{
    EndForm, Info, InfoFault, InfoSource, InfoUnreadable, Segment, Version, server_secret,
};
use peerdist_core::crypto::{Digest, HashAlgorithm, Secret, SoftCrypto, hash};
use peerdist_tests::info::{Random, check_hod, copy, excerpt, move_to, segments, vector, walk};

const MAX_SEGMENT_V1: u64 = 32 << 20;
const MAX_SEGMENT_V2: u64 = 128 << 10;

#[test]
fn every_part_of_any_structure() {
    let mut random = Random(0x5eed_0003);
    let mut seen = [0; 2];
    for _ in 0..300 {
        let blob = structure(&mut random);
        let source = &blob.as_slice();
        assert!(walk(&blob));
        for _ in 0..6 {
            let (wide, narrow) = ranges(&mut random, source);
            let part = excerpt(source, &wide, form(&mut random));
            assert!(walk(&part));
            same_segments(source, &part.as_slice(), &wide);

            let form = form(&mut random);
            let direct = excerpt(source, &narrow, form);
            assert_eq!(excerpt(&part.as_slice(), &narrow, form), direct);
            // Read through the first excerpt, which was never written.
            let info = Info::parse(source).unwrap();
            let first = info.excerpt(source, wide, EndForm::Zero).unwrap().unwrap();
            assert_eq!(excerpt(&first, &narrow, form), direct);
        }
        seen[Info::parse(source).unwrap().version() as usize] += 1;
    }
    assert!(seen.iter().all(|&count| count > 100), "{seen:?}");
}

/// Others leave out the block hashes before the range too (fact 9), and of that parts can be made.
#[test]
fn leading_block_hashes_may_be_left_out() {
    let mut random = Random(0x5eed_0006);
    let mut seen = 0;
    while seen < 200 {
        let blob = structure(&mut random);
        let source = &blob.as_slice();
        let (wide, _) = ranges(&mut random, source);
        let full = excerpt(source, &wide, form(&mut random));
        let Some(part) = without_leading_blocks(&full) else { continue };
        let part = &part.as_slice();
        assert!(walk(part));
        assert_eq!(Info::parse(part).unwrap().range(), wide);
        let mut parts = vec![part.to_vec()];
        for _ in 0..4 {
            let narrow = part_of(&wide, &mut random, &segments(part));
            parts.push(excerpt(part, &narrow, form(&mut random)));
        }
        for part in &parts {
            let part = &part.as_slice();
            assert!(walk(part));
            for here in segments(part) {
                let there = Info::parse(source).unwrap().segment_at(source, here.offset()).unwrap().unwrap();
                assert_eq!(here.listed_blocks().end, here.blocks_in_range().end);
                for block in here.listed_blocks() {
                    assert_eq!(here.block_hash(part, block), there.block_hash(source, block));
                }
            }
        }
        seen += 1;
    }
}

#[test]
fn contents_begin_anywhere_below_2_to_the_64() {
    let mut random = Random(0x5eed_0004);
    for _ in 0..100 {
        let blob = structure(&mut random);
        let info = Info::parse(&blob.as_slice()).unwrap();
        let highest = u64::MAX - info.content_end();
        for base in [1 << 31, (1 << 32) - 1, (1 << 32) + 12_345, 1 << 63, highest - 1, highest] {
            let mut moved = blob.clone();
            move_to(&mut moved, base);
            let source = &moved.as_slice();
            assert!(walk(&moved));
            let (wide, _) = ranges(&mut random, source);
            assert!(base <= wide.start && wide.end <= base + info.content_end());
            let part = excerpt(source, &wide, form(&mut random));
            assert!(walk(&part));
            same_segments(source, &part.as_slice(), &wide);
        }
        // One byte further, and it would end past 2^64.
        let mut moved = blob.clone();
        move_to(&mut moved, highest);
        let at = match info.version() {
            // The offset of the last segment, as the one before it fits.
            Version::V1 => {
                18 + (info.segment_count() - 1) as usize * (16 + 2 * info.algorithm().digest_len())
            }
            Version::V2 => 3,
        };
        let field = &mut moved[at..at + 8];
        match info.version() {
            Version::V1 => {
                let next = u64::from_le_bytes(field.try_into().unwrap()) + 1;
                field.copy_from_slice(&next.to_le_bytes());
            }
            Version::V2 => field.copy_from_slice(&(highest + 1).to_be_bytes()),
        }
        let error = Info::parse(&moved.as_slice()).unwrap_err();
        assert!(matches!(error.reason, InfoFault::Misplaced(_)), "{error}");
    }
}

/// Whatever pieces content comes in, the same content information is made of it, and it is that of its
/// segments.
#[test]
fn pieces_make_no_difference() {
    let mut random = Random(0x5eed_0005);
    for round in 0..24 {
        let len = 1 + random.below(700_000);
        let content = random.bytes(len);
        let segmentation = match round % 3 {
            0 => Segmentation::ContentDefined,
            1 => Segmentation::Fixed(SegmentLen::MAX),
            _ => Segmentation::Fixed(SegmentLen::new(10_000 + random.below(120_000) as u32).unwrap()),
        };
        let (chunk, form) = (1 + random.below(9) as u32, form(&mut random));
        let layout = (segmentation, form, chunk);
        let whole = publish(layout, &content, &mut |left| left);
        assert!(walk(&whole));
        for most in [1 + random.below(100), 1 + random.below(50_000), 1 + random.below(700_000)] {
            assert_eq!(publish(layout, &content, &mut |_| random.below(most + 1)), whole);
        }

        let mut publisher = v2::Publisher::with_layout(ks(), Segmentation::ContentDefined, form, chunk);
        let mut pushed = vec![0xaa; whole.len()];
        let sink = &mut pushed.as_mut_slice();
        for segment in segments(&whole.as_slice()) {
            let bytes = &content[segment.offset() as usize..][..segment.byte_len() as usize];
            let hod = hash(&mut SoftCrypto, HashAlgorithm::TruncatedSha512, bytes);
            publisher.push_segment(&mut SoftCrypto, &hod, bytes.len() as u32, sink).unwrap();
        }
        let info = publisher.finish(&mut SoftCrypto, sink).unwrap();
        assert_eq!((&pushed, Info::V2(info)), (&whole, Info::parse(&whole.as_slice()).unwrap()));
    }
}

/// Version 1.0 says how long it is. Version 2.0 does not if its range goes to the end of its last
/// segment, whichever that is: cut after a chunk, it is all right and describes less.
#[test]
fn every_cut_is_refused_unless_it_cannot_be_told() {
    let (mut v1, mut v2, mut shorter) = (0, 0, 0);
    for blob in valid_blobs() {
        let info = Info::parse(&blob.as_slice()).unwrap();
        let chunk_ends = match info.version() {
            Version::V1 => Vec::new(),
            Version::V2 => chunk_ends(&blob),
        };
        let open_end = blob[23..31] == [0; 8];
        for len in 0..blob.len() {
            let cut = &&blob[..len];
            match Info::parse(cut) {
                Ok(less) => {
                    assert!(open_end && chunk_ends.contains(&len), "{len} of {}", blob.len());
                    assert!(walk(cut) && less.range().end < info.range().end);
                    shorter += 1;
                }
                Err(error) if chunk_ends.contains(&len) => {
                    assert!(!open_end);
                    assert_eq!(error.field, "ullLengthOfRange");
                }
                Err(error) => assert_eq!(error.reason, InfoFault::Truncated, "{len} of {}", blob.len()),
            }
        }
        let mut longer = blob.clone();
        longer.push(0);
        let error = Info::parse(&longer.as_slice()).unwrap_err();
        match info.version() {
            Version::V1 => {
                assert_eq!(error.reason, InfoFault::Trailing);
                v1 += 1;
            }
            // It could have been another chunk.
            Version::V2 => {
                assert_eq!((error.field, error.reason), ("bChunkType", InfoFault::Truncated));
                longer.extend([0; 4]);
                let error = Info::parse(&longer.as_slice()).unwrap_err();
                assert_eq!((error.field, error.reason), ("dwChunkDataLength", InfoFault::OutOfRange(0)));
                v2 += 1;
            }
        }
    }
    assert_eq!((v1, v2, shorter), (64, 11, 2));
}

#[test]
fn flipped_bits_never_panic() {
    let (mut accepted, mut refused) = (0, 0);
    for mut blob in valid_blobs() {
        for bit in 0..blob.len() * 8 {
            blob[bit / 8] ^= 1 << (bit % 8);
            *(if walk(&blob) { &mut accepted } else { &mut refused }) += 1;
            blob[bit / 8] ^= 1 << (bit % 8);
        }
    }
    assert!(accepted > 0 && refused > 0);
}

#[test]
fn many_changed_bytes_never_panic() {
    let mut random = Random(0x5eed_0002);
    let blobs = valid_blobs();
    for _ in 0..20_000 {
        let mut blob = blobs[random.below(blobs.len())].clone();
        for _ in 0..1 + random.below(8) {
            // Mostly where the structure is; a hash may be anything.
            let at = random.below(blob.len().min(110));
            blob[at] = random.below(256) as u8;
        }
        blob.truncate(blob.len() - random.below(2) * random.below(40));
        walk(&blob);
    }
}

/// A source that counts how often it is read.
struct Counting<'a> {
    bytes: &'a [u8],
    /// Bytes that it claims to have.
    len: u64,
    /// What follows `bytes`; `None`: it cannot be read.
    filler: Option<u8>,
    reads: Cell<u32>,
}

impl InfoSource for Counting<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        self.reads.set(self.reads.get() + 1);
        for (at, byte) in (offset..).zip(buf) {
            let known = usize::try_from(at).ok().and_then(|at| self.bytes.get(at));
            *byte = known.copied().or(self.filler).ok_or(InfoUnreadable { offset })?;
        }
        Ok(())
    }
}

/// Two reads for each of 1 in 16 segments, the one that is asked for and the head of its chunk.
#[test]
fn every_search_is_short() {
    for (count, chunk) in [(1, 1), (33, 1), (300, 1), (300, 7), (1_000, 2), (1_000, 5_000)] {
        let whole = from_lengths(&vec![100; count], EndForm::Zero, chunk);
        let end = 100 * count as u64;
        for blob in [excerpt(&whole.as_slice(), &(end / 3..end), EndForm::Zero), whole] {
            let len = blob.len() as u64;
            let source = Counting { bytes: &blob, len, filler: None, reads: Cell::new(0) };
            let info = Info::parse(&source).unwrap();
            let segments = segments(&blob.as_slice());
            let most = 2 * (segments.len() as u32 / 16) + 3;
            for (index, segment) in (0..).zip(&segments) {
                source.reads.set(0);
                assert_eq!(&info.segment(&source, index).unwrap(), segment);
                assert!(source.reads.replace(0) <= most);
                assert!(info.segment_at(&source, segment.offset() + 99).unwrap().is_some());
                assert!(source.reads.replace(0) <= most);
                let next = info.next_segment(&source, segment).unwrap();
                assert_eq!(next.as_ref(), segments.get(index as usize + 1));
                assert!(source.reads.get() <= 2);
            }
        }
    }
}

#[test]
fn huge_counts_are_refused_after_a_few_reads() {
    let mut seen = 0;
    for mut blob in valid_blobs() {
        let info = Info::parse(&blob.as_slice()).unwrap();
        let described = info.segment_count();
        let counts = match info.version() {
            Version::V1 => {
                let lists = 18 + described as usize * (16 + 2 * info.algorithm().digest_len());
                vec![(14, u32::MAX.to_le_bytes()), (lists, u32::MAX.to_le_bytes())]
            }
            // As many segments as a chunk can have, and bytes that are no number of segments.
            Version::V2 => [u32::MAX / 68 * 68, u32::MAX].map(|len| (32, len.to_be_bytes())).to_vec(),
        };
        for (at, count) in counts {
            let before: [u8; 4] = blob[at..at + 4].try_into().unwrap();
            blob[at..at + 4].copy_from_slice(&count);
            assert!(Info::parse(&blob.as_slice()).is_err());
            for filler in [None, Some(0), Some(0xff)] {
                let source = Counting { bytes: &blob, len: u64::MAX, filler, reads: Cell::new(0) };
                assert!(Info::parse(&source).is_err());
                // Whatever is announced, only what is there is read: twice a segment at the most.
                assert!(source.reads.get() <= 8 + 2 * described, "{} reads", source.reads.get());
            }
            blob[at..at + 4].copy_from_slice(&before);
            seen += 1;
        }
    }
    assert_eq!(seen, 2 * 75);
}

/// Kept blobs that parse, and two of version 2.0 in several chunks, of which one has an open end.
fn valid_blobs() -> Vec<Vec<u8>> {
    let folders = ["content-v1", "content-v2", "windows"];
    let mut names: Vec<_> = folders
        .into_iter()
        .flat_map(|folder| {
            let path = format!("{}/vectors/{folder}", env!("CARGO_MANIFEST_DIR"));
            read_dir(path)
                .unwrap()
                .map(move |file| format!("{folder}/{}", file.unwrap().file_name().display()))
        })
        .collect();
    names.sort();
    let kept = names.iter().map(|name| vector(name)).filter(|blob| Info::parse(&blob.as_slice()).is_ok());
    let chunks =
        [EndForm::Zero, EndForm::Explicit].map(|form| from_lengths(&[7, 131_072, 1, 9, 65_536], form, 2));
    kept.chain(chunks).collect()
}

/// Where the chunks of content information 2.0 end.
fn chunk_ends(blob: &[u8]) -> Vec<usize> {
    let mut at = 31;
    std::iter::from_fn(|| {
        let len = blob.get(at + 1..at + 5)?;
        at += 5 + u32::from_be_bytes(len.try_into().unwrap()) as usize;
        Some(at)
    })
    .collect()
}

/// Content information of a whole content that has random segments and hashes.
fn structure(random: &mut Random) -> Vec<u8> {
    let form = form(random);
    let algorithm = match random.below(6) {
        0 => HashAlgorithm::Sha256,
        1 => HashAlgorithm::Sha384,
        2 => HashAlgorithm::Sha512,
        _ => {
            let count = [1, 2, 3, 31, 32, 33, 300][random.below(7)];
            let count = 1 + random.below(count);
            let lengths: Vec<u32> = (0..count).map(|_| length(random, MAX_SEGMENT_V2) as u32).collect();
            return from_lengths(&lengths, form, 1 + random.below(count + 2) as u32);
        }
    };
    let content_len = random.below(4) as u64 * MAX_SEGMENT_V1 + length(random, MAX_SEGMENT_V1);
    let ks = server_secret(&mut SoftCrypto, algorithm, b"key");
    let mut publisher = v1::Publisher::with_end_form(algorithm, ks, content_len, form).unwrap();
    let mut blob = vec![0xaa; info_len(algorithm, content_len).unwrap() as usize];
    let sink = &mut blob.as_mut_slice();
    while publisher.missing() > 0 {
        let digest = Digest::from_slice(&random.bytes(algorithm.digest_len())).unwrap();
        publisher.push_block(&mut SoftCrypto, &digest, publisher.next_block_len(), sink).unwrap();
    }
    publisher.finish(sink).unwrap();
    blob
}

/// Content information 2.0 of a content that has segments of these lengths.
fn from_lengths(lengths: &[u32], form: EndForm, chunk: u32) -> Vec<u8> {
    let chunks = lengths.len().div_ceil(chunk as usize);
    let mut blob = vec![0xaa; 31 + 68 * lengths.len() + 5 * chunks];
    let sink = &mut blob.as_mut_slice();
    let mut publisher = v2::Publisher::with_layout(ks(), Segmentation::ContentDefined, form, chunk);
    for (n, &len) in (0u32..).zip(lengths) {
        let hod = hash(&mut SoftCrypto, HashAlgorithm::TruncatedSha512, &n.to_le_bytes());
        publisher.push_segment(&mut SoftCrypto, &hod, len, sink).unwrap();
    }
    publisher.finish(&mut SoftCrypto, sink).unwrap();
    blob
}

/// The content information 2.0 of `content`, given in pieces as long as `piece_len` says.
fn publish(
    (segmentation, form, chunk): (Segmentation, EndForm, u32),
    content: &[u8],
    piece_len: &mut dyn FnMut(usize) -> usize,
) -> Vec<u8> {
    let mut publisher = v2::Publisher::with_layout(ks(), segmentation, form, chunk);
    // A chunk for each of so many segments would fit.
    let mut blob = vec![0xaa; 31 + (68 + 5) * (content.len() / 10_000 + 1)];
    let sink = &mut blob.as_mut_slice();
    let mut rest = content;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece_len(rest.len()).min(rest.len()));
        publisher.update(&mut SoftCrypto, now, sink).unwrap();
        rest = later;
    }
    let info = publisher.finish(&mut SoftCrypto, sink).unwrap();
    blob.truncate(info.encoded_len() as usize);
    assert_eq!(copy(&blob.as_slice()), blob);
    blob
}

fn ks() -> Secret {
    server_secret(&mut SoftCrypto, HashAlgorithm::TruncatedSha512, b"key")
}

/// The shortest, the longest or any length.
fn length(random: &mut Random, max: u64) -> u64 {
    match random.below(4) {
        0 => 1 + random.below(3) as u64,
        1 => max - random.below(3) as u64,
        _ => random.within(1..max + 1),
    }
}

fn form(random: &mut Random) -> EndForm {
    if random.below(2) == 0 { EndForm::Zero } else { EndForm::Explicit }
}

/// A part of what `source` describes, and a part of that.
fn ranges(random: &mut Random, source: &dyn InfoSource) -> (Range<u64>, Range<u64>) {
    let segments = segments(source);
    let wide = part_of(&Info::parse(source).unwrap().range(), random, &segments);
    let narrow = part_of(&wide, random, &segments);
    (wide, narrow)
}

fn part_of(range: &Range<u64>, random: &mut Random, segments: &[Segment]) -> Range<u64> {
    let mut place = || match random.below(3) {
        0 if random.below(2) == 0 => range.end,
        0 => random.within(range.start..range.end),
        // Where a segment or one of its blocks begins, and next to it.
        n => {
            let segment = &segments[random.below(segments.len())];
            let block = (n - 1) * random.below(segment.block_count() as usize);
            let start = segment.offset() + block as u64 * u64::from(segment.block_bytes());
            (start + random.below(2) as u64).clamp(range.start, range.end)
        }
    };
    let (a, b) = (place(), place());
    let start = a.min(b).min(range.end - 1);
    start..a.max(b).max(start + 1)
}

/// The same without the block hashes that precede the range; `None` if there are none.
fn without_leading_blocks(blob: &[u8]) -> Option<Vec<u8>> {
    let info = Info::parse(&blob).unwrap();
    let first = info.segment(&blob, 0).unwrap();
    let left_out = first.blocks_in_range().start as usize;
    if left_out == 0 {
        return None;
    }
    let digest_len = info.algorithm().digest_len();
    let list = 18 + info.segment_count() as usize * (16 + 2 * digest_len);
    let count = first.listed_blocks().end - left_out as u32;
    let hashes = &blob[list + 4 + left_out * digest_len..];
    Some([&blob[..list], &count.to_le_bytes(), hashes].concat())
}

/// Checks that `part` has just the segments of `source` that have bytes of `range`, and their hashes.
fn same_segments(source: &dyn InfoSource, part: &dyn InfoSource, range: &Range<u64>) {
    let touched = |segment: &Segment| {
        segment.offset() < range.end && segment.offset() + u64::from(segment.byte_len()) > range.start
    };
    let (there, here) = (segments(source), segments(part));
    let there: Vec<_> = there.iter().filter(|segment| touched(segment)).collect();
    assert_eq!(here.len(), there.len());
    for (here, there) in here.iter().zip(there) {
        assert_eq!(
            (here.offset(), here.byte_len(), here.hod()),
            (there.offset(), there.byte_len(), there.hod())
        );
        assert!(here.secret() == there.secret());
        assert_eq!(here.listed_blocks(), 0..here.blocks_in_range().end);
        for block in here.listed_blocks() {
            assert_eq!(here.block_hash(part, block), there.block_hash(source, block));
        }
        let full = here.listed_blocks() == (0..here.block_count());
        assert_eq!(check_hod(part, here), if full { Ok(()) } else { Err(InfoFault::PartialList) });
    }
}
