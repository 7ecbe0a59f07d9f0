//! Content information of a part of a content, made from that of more of it.
//!
//! An [`Excerpt`] is a source of its own, so a server can send it piece by piece without holding
//! it: most of it is the original's bytes, with another header and other counts.

use zeroize::Zeroizing;

use super::{Info, InfoSink, InfoSource, InfoUnreadable, InfoUnwritable, v1, v2};
use crate::limits::PIECE_BYTES;

/// Content information that is read from another one.
#[derive(Clone)]
pub struct Excerpt<'a> {
    source: &'a dyn InfoSource,
    info: Info,
    plan: Plan,
}

/// Which bytes an excerpt consists of, without the original: for who comes back to it later.
#[derive(Clone)]
pub struct Plan {
    spans: [Span; MAX_SPANS],
}

/// How the end of the range is written when it is the end of the last segment (fact 7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum EndForm {
    /// As 0, like Windows.
    #[default]
    Zero,
    /// As the number of bytes, which is equally legal.
    Explicit,
}

/// Copying content information from a source to a sink stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum EmitError {
    /// The original could not be read.
    Source(InfoUnreadable),
    /// The sink could not take it.
    Sink(InfoUnwritable),
}

impl core::fmt::Display for EmitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Source(at) => write!(f, "content information cannot be read at {}", at.offset),
            Self::Sink(at) => write!(f, "content information cannot be written at {}", at.offset),
        }
    }
}

impl core::error::Error for EmitError {}

impl<'a> Excerpt<'a> {
    pub(super) const fn new(source: &'a dyn InfoSource, info: Info, spans: [Span; MAX_SPANS]) -> Self {
        Self { source, info, plan: Plan { spans } }
    }

    /// How to read the same bytes again.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What [`Info::parse`] finds in the excerpt.
    pub const fn info(&self) -> &Info {
        &self.info
    }

    /// Writes the excerpt to `sink`, in order.
    pub fn emit(&self, sink: &mut dyn InfoSink) -> Result<(), EmitError> {
        // Kp passes through this buffer.
        let mut buf = Zeroizing::new([0; PIECE_BYTES]);
        let mut at = 0;
        while let Some(left) = self.len().checked_sub(at).filter(|&left| left > 0) {
            let len = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let piece = buf.get_mut(..len).unwrap_or_default();
            self.read_at(at, piece).map_err(EmitError::Source)?;
            sink.write_at(at, piece).map_err(EmitError::Sink)?;
            at = at.saturating_add(len as u64);
        }
        Ok(())
    }
}

impl InfoSource for Excerpt<'_> {
    fn len(&self) -> u64 {
        self.info.encoded_len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        self.plan.read_at(self.source, offset, buf)
    }
}

impl Plan {
    /// Bytes of the excerpt.
    pub fn len(&self) -> u64 {
        self.spans.iter().map(Span::len).fold(0, u64::saturating_add)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `offset` of the excerpt on, from the source that it was made of.
    pub fn read_at(
        &self,
        source: &dyn InfoSource,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<(), InfoUnreadable> {
        let unreadable = InfoUnreadable { offset };
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len()) {
            return Err(unreadable);
        }
        let mut skip = offset;
        let mut rest = buf;
        for Span { len, origin } in &self.spans {
            let Some(here) = len.checked_sub(skip).filter(|&here| here > 0) else {
                skip = skip.saturating_sub(*len);
                continue;
            };
            let take = usize::try_from(here).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = core::mem::take(&mut rest).split_at_mut_checked(take).ok_or(unreadable)?;
            match origin {
                Origin::Original(at) if !now.is_empty() => {
                    source.read_at(at.saturating_add(skip), now).map_err(|_| unreadable)?;
                }
                Origin::Original(_) => {}
                Origin::Made(bytes) => InfoSource::read_at(&bytes[..], skip, now).map_err(|_| unreadable)?,
            }
            skip = 0;
            rest = later;
        }
        if rest.is_empty() { Ok(()) } else { Err(unreadable) }
    }
}

/// Pieces that an excerpt consists of: a header, and twice what is cut and what is copied, with
/// something whole between.
pub(super) const MAX_SPANS: usize = 7;

/// Bytes of the longest piece in which an excerpt differs from its original: a header.
const MAX_MADE: usize = if v1::wire::HEADER_BYTES > v2::wire::HEADER_BYTES {
    v1::wire::HEADER_BYTES
} else {
    v2::wire::HEADER_BYTES
};

/// A piece of an excerpt.
#[derive(Clone, Copy)]
pub(super) struct Span {
    len: u64,
    origin: Origin,
}

/// Where bytes of an excerpt come from.
#[derive(Clone, Copy)]
enum Origin {
    /// From here on in the original.
    Original(u64),
    /// From these.
    Made([u8; MAX_MADE]),
}

impl Span {
    /// No bytes.
    pub(super) const NONE: Self = Self::original(0, 0);

    /// `len` bytes from `at` on in the original.
    pub(super) const fn original(at: u64, len: u64) -> Self {
        Self { len, origin: Origin::Original(at) }
    }

    /// Bytes of the piece.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Up to a header's number of `bytes`.
    pub(super) fn made(bytes: &[u8]) -> Self {
        let mut made = [0; MAX_MADE];
        let len = crate::bytes::copy(&mut made, bytes) as u64;
        Self { len, origin: Origin::Made(made) }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::ops::Range;
    use std::vec::Vec;

    use super::*;
    use crate::content::segmenter::Segmentation;
    use crate::content::v1::info_len;
    use crate::content::{publish, server_secret};
    use crate::crypto::{HashAlgorithm, SoftCrypto, hash};

    const END: u64 = (64 << 20) + 65_537;

    /// Two full segments and two blocks, published from block hashes alone.
    fn original_v1() -> Vec<u8> {
        let algorithm = HashAlgorithm::Sha384;
        let ks = server_secret(&mut SoftCrypto, algorithm, b"key");
        let mut publisher = publish::v1::Publisher::new(algorithm, ks, END).unwrap();
        let mut bytes = std::vec![0; info_len(algorithm, END).unwrap() as usize];
        let sink = &mut bytes.as_mut_slice();
        for n in 0u32..1_026 {
            let digest = hash(&mut SoftCrypto, algorithm, &n.to_le_bytes());
            publisher.push_block(&mut SoftCrypto, &digest, publisher.next_block_len(), sink).unwrap();
        }
        publisher.finish(sink).unwrap();
        bytes
    }

    /// The same content in segments of 100,000 bytes, seven of them in a chunk.
    fn original_v2() -> Vec<u8> {
        let algorithm = HashAlgorithm::TruncatedSha512;
        let ks = server_secret(&mut SoftCrypto, algorithm, b"key");
        let segmentation = Segmentation::ContentDefined;
        let mut publisher = publish::v2::Publisher::with_layout(ks, segmentation, EndForm::Zero, 7);
        let segments = END.div_ceil(100_000);
        let mut bytes = std::vec![0; (31 + segments * 68 + segments.div_ceil(7) * 5) as usize];
        let sink = &mut bytes.as_mut_slice();
        for n in 0..segments {
            let digest = hash(&mut SoftCrypto, algorithm, &n.to_le_bytes());
            let len = (END - n * 100_000).min(100_000) as u32;
            publisher.push_segment(&mut SoftCrypto, &digest, len, sink).unwrap();
        }
        let info = publisher.finish(&mut SoftCrypto, sink).unwrap();
        assert_eq!(Info::parse(&bytes.as_slice()), Ok(Info::V2(info)));
        bytes
    }

    fn originals() -> [Vec<u8>; 2] {
        [original_v1(), original_v2()]
    }

    fn emitted(excerpt: &Excerpt<'_>) -> Vec<u8> {
        let mut bytes = std::vec![0; excerpt.len() as usize];
        excerpt.emit(&mut bytes.as_mut_slice()).unwrap();
        bytes
    }

    fn part<'a>(info: &Info, source: &'a dyn InfoSource, range: Range<u64>, form: EndForm) -> Excerpt<'a> {
        info.excerpt(source, range, form).unwrap().unwrap()
    }

    #[test]
    fn the_whole_is_the_same_bytes() {
        for bytes in originals() {
            let source = &bytes.as_slice();
            let info = Info::parse(source).unwrap();
            assert_eq!((info.range(), info.content_end()), (0..END, END));
            assert_eq!(emitted(&info.whole(source)), bytes);
            assert_eq!(emitted(&part(&info, source, info.range(), EndForm::Zero)), bytes);
        }
    }

    #[test]
    fn parts_parse_to_their_range_and_hashes() {
        let (segment, block) = (1u64 << 25, 1u64 << 16);
        for (bytes, range) in originals().iter().flat_map(|bytes| {
            let ranges = [
                0..1,
                5 * block - 1..5 * block + 1,
                segment - 1..segment,
                segment - 1..segment + 1,
                segment..2 * segment,
                3 * block + 7..END - 1,
                2 * segment + block..END,
                100..2 * segment,
                700_000..1_400_000,
                699_999..700_001,
            ];
            ranges.map(|range| (bytes, range))
        }) {
            let source = &bytes.as_slice();
            let info = Info::parse(source).unwrap();
            for form in [EndForm::Zero, EndForm::Explicit] {
                let excerpt = part(&info, source, range.clone(), form);
                let bytes = emitted(&excerpt);
                let part_source = &bytes.as_slice();
                let part_info = Info::parse(part_source).unwrap();
                assert_eq!(&part_info, excerpt.info());
                assert_eq!(part_info.range(), range);
                for index in 0..part_info.segment_count() {
                    let here = part_info.segment(part_source, index).unwrap();
                    let there = info.segment_at(source, here.offset()).unwrap().unwrap();
                    assert_eq!((here.hod(), here.byte_len()), (there.hod(), there.byte_len()));
                    assert!(here.secret() == there.secret());
                    assert_eq!(here.listed_blocks(), 0..here.blocks_in_range().end);
                    for block in here.listed_blocks() {
                        let hash = here.block_hash(part_source, block).unwrap().unwrap();
                        assert_eq!(hash, there.block_hash(source, block).unwrap().unwrap());
                    }
                }
                // An excerpt of an excerpt, read through both.
                let narrow = range.end - 1..range.end;
                let twice = part(&part_info, &excerpt, narrow.clone(), form);
                assert_eq!(emitted(&twice), emitted(&part(&info, source, narrow, form)));
            }
        }
    }

    #[test]
    fn read_in_any_pieces() {
        for bytes in originals() {
            let source = &bytes.as_slice();
            let info = Info::parse(source).unwrap();
            let excerpt = part(&info, source, (1 << 25) - 1..(1 << 26) + 1, EndForm::Zero);
            let expected = emitted(&excerpt);
            for piece in [1, 7, 18, 4_097] {
                for (n, part) in expected.chunks(piece).enumerate() {
                    let mut buf = std::vec![0; part.len()];
                    excerpt.read_at((n * piece) as u64, &mut buf).unwrap();
                    assert_eq!(buf, part);
                }
            }
            let unreadable = InfoUnreadable { offset: excerpt.len() - 1 };
            assert_eq!(excerpt.read_at(excerpt.len() - 1, &mut [0; 2]), Err(unreadable));
            assert!(excerpt.read_at(u64::MAX, &mut [0]).is_err());
            assert_eq!(excerpt.read_at(excerpt.len(), &mut []), Ok(()));
            assert!(excerpt.read_at(excerpt.len() + 1, &mut []).is_err());
        }
    }

    #[test]
    fn ranges_that_are_not_described() {
        for bytes in originals() {
            let source = &bytes.as_slice();
            let info = Info::parse(source).unwrap();
            for range in [Range { start: 1, end: 1 }, Range { start: 2, end: 1 }, 0..END + 1, END..END + 1] {
                assert!(info.excerpt(source, range, EndForm::Zero).unwrap().is_none());
            }
        }
    }

    #[test]
    fn a_sink_without_room_is_reported() {
        for bytes in originals() {
            let source = &bytes.as_slice();
            let info = Info::parse(source).unwrap();
            let error = info.whole(source).emit(&mut [0; 2_000].as_mut_slice());
            assert_eq!(error, Err(EmitError::Sink(InfoUnwritable { offset: 1_024 })));
        }
    }
}
