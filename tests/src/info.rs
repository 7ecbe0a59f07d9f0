//! Content information in tests: copied, cut, asked everything.

use std::ops::Range;
use std::path::PathBuf;

use peerdist_core::content::{
    EndForm, HodCheck, Info, InfoFault, InfoSource, Progress, Segment, Version, v1, v2,
};
use peerdist_core::crypto::SoftCrypto;

/// The bytes of a file of `tests/vectors`.
pub fn vector(path: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `source` holds, parsed and written again.
pub fn copy(source: &dyn InfoSource) -> Vec<u8> {
    let info = Info::parse(source).unwrap();
    let whole = info.whole(source);
    let mut out = vec![0xaa; whole.len() as usize];
    whole.emit(&mut out.as_mut_slice()).unwrap();
    assert_eq!(whole.info(), &info);
    out
}

/// The content information of `range`, made from that of more and parsed.
pub fn excerpt(source: &dyn InfoSource, range: &Range<u64>, form: EndForm) -> Vec<u8> {
    let info = Info::parse(source).unwrap();
    let excerpt = info.excerpt(source, range.clone(), form).unwrap().unwrap();
    let mut out = vec![0xaa; excerpt.len() as usize];
    excerpt.emit(&mut out.as_mut_slice()).unwrap();
    let part = Info::parse(&out.as_slice()).unwrap();
    assert_eq!((&part.range(), &part), (range, excerpt.info()));
    out
}

/// All segments that `source` describes, in order.
pub fn segments(source: &dyn InfoSource) -> Vec<Segment> {
    let info = Info::parse(source).unwrap();
    let first = info.segment(source, 0).unwrap();
    std::iter::successors(Some(first), |segment| info.next_segment(source, segment).unwrap()).collect()
}

/// The verdict on the block hashes of `segment`.
pub fn check_hod(source: &dyn InfoSource, segment: &Segment) -> Result<(), InfoFault> {
    let mut check = HodCheck::new(&mut SoftCrypto, segment).map_err(|error| error.reason)?;
    while check.step(source, &mut SoftCrypto, 3).map_err(|error| error.reason)? == Progress::More {}
    Ok(())
}

/// Where a block stands in the content.
pub fn block_range(segment: &Segment, block: u32) -> Range<u64> {
    let start = segment.offset() + u64::from(block) * u64::from(segment.block_bytes());
    start..start + u64::from(segment.block_len(block).unwrap())
}

/// Asks `blob` everything, and tells whether it parses. What parses is consistent: it is emitted
/// unchanged, its segments follow each other, and their blocks cover its range.
pub fn walk(blob: &[u8]) -> bool {
    let source = &blob;
    let info = match Info::parse(source) {
        Ok(info) => info,
        Err(error) => {
            assert!(error.to_string().starts_with(error.field));
            return false;
        }
    };
    assert_eq!(copy(source), blob);
    assert_eq!(info.encoded_len(), blob.len() as u64);
    let range = info.range();
    assert!(range.start < range.end && range.end <= info.content_end());

    let segments = segments(source);
    assert_eq!(segments.len(), info.segment_count() as usize);
    let (mut at, mut covered) = (segments[0].offset(), range.start);
    for (index, segment) in (0..).zip(&segments) {
        assert_eq!((segment.index(), segment.offset()), (index, at));
        at += u64::from(segment.byte_len());
        covered = walk_segment(source, segment, covered..range.end);
        assert_eq!(&info.segment(source, index).unwrap(), segment);
        for offset in [segment.offset(), at - 1] {
            assert_eq!(info.segment_at(source, offset).unwrap().as_ref(), Some(segment));
        }
    }
    assert_eq!((at, covered), (info.content_end(), range.end));

    assert!(info.segment(source, info.segment_count()).is_err());
    for outside in [segments[0].offset().checked_sub(1), Some(info.content_end()), Some(u64::MAX)] {
        assert!(outside.is_none_or(|offset| info.segment_at(source, offset).unwrap().is_none()));
    }
    excerpt(source, &(range.end - 1..range.end), EndForm::Zero);
    true
}

/// Asks `segment` everything. Its blocks in the range begin where `missing` does; returns where
/// they end, or the range does.
fn walk_segment(source: &dyn InfoSource, segment: &Segment, missing: Range<u64>) -> u64 {
    segment.id(&mut SoftCrypto);
    let _ = check_hod(source, segment);
    let (listed, in_range) = (segment.listed_blocks(), segment.blocks_in_range());
    assert!(listed.end <= segment.block_count() && segment.block_len(segment.block_count()).is_none());
    for block in 0..=segment.block_count() {
        let hash = segment.block_hash(source, block).unwrap();
        assert_eq!(hash.is_some(), listed.contains(&block));
    }
    in_range.fold(missing.start, |covered, block| {
        assert!(listed.contains(&block));
        let bytes = block_range(segment, block);
        // Of the first block, the front may lie before the range; each other one begins where the
        // one before it ends. None lies outside.
        assert!(bytes.start <= covered && covered < bytes.end && covered < missing.end);
        bytes.end.min(missing.end)
    })
}

/// Lets the content of `blob` begin at `base`, which has been 0.
pub fn move_to(blob: &mut [u8], base: u64) {
    let info = Info::parse(&&*blob).unwrap();
    assert_eq!(info.range().start, 0);
    match info.version() {
        Version::V1 => {
            let len = v1::wire::description_bytes(info.algorithm());
            let descriptions = blob[v1::wire::HEADER_BYTES..].chunks_exact_mut(len);
            for description in descriptions.take(info.segment_count() as usize) {
                let offset = u64::from_le_bytes(*description.first_chunk().unwrap());
                description[..8].copy_from_slice(&(offset + base).to_le_bytes());
            }
        }
        Version::V2 => {
            let header = v2::wire::HeaderRepr::parse(blob).unwrap();
            let index_of_first = base.div_ceil(131_072);
            v2::wire::HeaderRepr { content_start: base, index_of_first, ..header }.emit(blob).unwrap();
        }
    }
}

/// The generator splitmix64: a seed always draws the same numbers.
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound as u64) as usize
    }

    /// A number of `range`.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.draw() % (range.end - range.start)
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.draw().to_le_bytes()).flatten().take(len).collect()
    }
}
