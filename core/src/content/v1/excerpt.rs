//! Content information of a part of a content, made from that of more of it.
//!
//! An [`Excerpt`] is a source of its own, so a server can send it piece by piece without holding
//! it: most of it is the original's bytes, with another header and other counts.

use core::ops::Range;

use zeroize::Zeroizing;

use super::wire::HEADER_BYTES;
use super::{EndForm, Info, List};
use crate::content::{InfoSink, InfoSource, InfoUnreadable, InfoUnwritable};
use crate::limits::{BLOCK_BYTES, PIECE_BYTES, SEGMENT_BYTES};

/// Content information that is read from another one.
#[derive(Clone, Copy)]
pub struct Excerpt<'a> {
    source: &'a dyn InfoSource,
    original: Info,
    info: Info,
    /// The first segment of `info` among those of `original`.
    first: u32,
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

    pub(super) fn whole(original: &Info, source: &'a dyn InfoSource) -> Self {
        Self { source, original: *original, info: *original, first: 0 }
    }

    pub(super) fn of_range(
        original: &Info,
        source: &'a dyn InfoSource,
        range: Range<u64>,
        form: EndForm,
    ) -> Option<Self> {
        let known = original.range();
        if range.is_empty() || range.start < known.start || range.end > known.end {
            return None;
        }
        let first = original.segment_at(range.start)?;
        let last = original.segment_at(range.end.checked_sub(1)?)?;
        let content_start = original.segment_start(first);
        let offset_in_first = u32::try_from(range.start.checked_sub(content_start)?).ok()?;
        let end_in_last = u32::try_from(range.end.checked_sub(original.segment_start(last))?).ok()?;
        let read_in_last = if form == EndForm::Zero && end_in_last == original.segment_len(last) {
            0
        } else if first == last {
            // 2.3.1.1: in a single segment it is the length of the range (fact 8).
            end_in_last.checked_sub(offset_in_first)?
        } else {
            end_in_last
        };

        // Fact 9: lists begin with block 0 and leave out what lies behind the range, unless the
        // original has already left out what lies before it.
        let list = |index: u32, end_in_segment: u32| {
            let start = match original.list(index).start {
                0 => 0,
                _ => offset_in_first / BLOCK_BYTES,
            };
            let count = end_in_segment.div_ceil(BLOCK_BYTES).checked_sub(start)?;
            Some(List { start, count })
        };
        let info = Info {
            algorithm: original.algorithm,
            content_start,
            segments: last.checked_sub(first)?.checked_add(1)?,
            last_len: original.segment_len(last),
            offset_in_first,
            read_in_last,
            first_list: list(first, if first == last { end_in_last } else { SEGMENT_BYTES })?,
            last_list: list(last, end_in_last)?,
        };
        Some(Self { source, original: *original, info, first })
    }

    /// The excerpt as pieces in order, and where each comes from.
    fn spans<'b>(&self, made: &'b MadeBytes) -> [(u64, Origin<'b>); 7] {
        let (original, info) = (&self.original, &self.info);
        let digest_len = info.digest_len();
        let last = self.first.saturating_add(info.last());
        let copy_hashes = |index: u32, list: List| {
            let left_out = u64::from(list.start.saturating_sub(original.list(index).start)) * digest_len;
            let at = original.list_at(index).saturating_add(4 + left_out);
            (u64::from(list.count) * digest_len, Origin::Original(at))
        };
        let first_list = info.list_at(0);
        let descriptions = first_list.saturating_sub(HEADER_BYTES as u64);
        let (between, last_count, last_hashes) = if info.segments == 1 {
            (0, &[][..], (0, Origin::Made(&[])))
        } else {
            let between = info.list_at(info.last()).saturating_sub(info.list_at(1));
            (between, &made.last_count[..], copy_hashes(last, info.last_list))
        };
        [
            (HEADER_BYTES as u64, Origin::Made(&made.header)),
            (descriptions, Origin::Original(original.description_at(self.first))),
            (4, Origin::Made(&made.first_count)),
            copy_hashes(self.first, info.first_list),
            (between, Origin::Original(original.list_at(self.first.saturating_add(1)))),
            (last_count.len() as u64, Origin::Made(last_count)),
            last_hashes,
        ]
    }

    fn made(&self) -> Option<MadeBytes> {
        let mut header = [0; HEADER_BYTES];
        self.info.header().emit(&mut header).ok()?;
        Some(MadeBytes {
            header,
            first_count: self.info.first_list.count.to_le_bytes(),
            last_count: self.info.last_list.count.to_le_bytes(),
        })
    }
}

impl InfoSource for Excerpt<'_> {
    fn len(&self) -> u64 {
        self.info.encoded_len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        let unreadable = InfoUnreadable { offset };
        let made = self.made().ok_or(unreadable)?;
        let mut skip = offset;
        let mut rest = buf;
        for (len, origin) in self.spans(&made) {
            let Some(here) = len.checked_sub(skip).filter(|&here| here > 0) else {
                skip = skip.saturating_sub(len);
                continue;
            };
            let take = usize::try_from(here).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = core::mem::take(&mut rest).split_at_mut_checked(take).ok_or(unreadable)?;
            match origin {
                Origin::Original(at) if !now.is_empty() => {
                    self.source.read_at(at.saturating_add(skip), now)?;
                }
                Origin::Original(_) => {}
                Origin::Made(bytes) => InfoSource::read_at(bytes, skip, now)?,
            }
            skip = 0;
            rest = later;
        }
        if rest.is_empty() { Ok(()) } else { Err(unreadable) }
    }
}

/// The bytes in which an excerpt differs from its original.
struct MadeBytes {
    header: [u8; HEADER_BYTES],
    first_count: [u8; 4],
    last_count: [u8; 4],
}

/// Where bytes of an excerpt come from.
#[derive(Clone, Copy)]
enum Origin<'b> {
    /// From here on in the original.
    Original(u64),
    /// From these.
    Made(&'b [u8]),
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::content::publish::Publisher;
    use crate::content::server_secret;
    use crate::content::v1::info_len;
    use crate::crypto::{HashAlgorithm, SoftCrypto, hash};

    /// Two full segments and two blocks, published from block hashes alone.
    fn original() -> Vec<u8> {
        let (algorithm, content_len) = (HashAlgorithm::Sha384, (64 << 20) + 65_537);
        let ks = server_secret(&mut SoftCrypto, algorithm, b"key");
        let mut publisher = Publisher::new(algorithm, ks, content_len).unwrap();
        let mut bytes = std::vec![0; info_len(algorithm, content_len).unwrap() as usize];
        let sink = &mut bytes.as_mut_slice();
        for n in 0u32..1_026 {
            let digest = hash(&mut SoftCrypto, algorithm, &n.to_le_bytes());
            publisher.push_block(&mut SoftCrypto, &digest, publisher.next_block_len(), sink).unwrap();
        }
        publisher.finish(sink).unwrap();
        bytes
    }

    fn emitted(excerpt: &Excerpt<'_>) -> Vec<u8> {
        let mut bytes = std::vec![0; excerpt.len() as usize];
        excerpt.emit(&mut bytes.as_mut_slice()).unwrap();
        bytes
    }

    #[test]
    fn the_whole_is_the_same_bytes() {
        let bytes = original();
        let source = &bytes.as_slice();
        let info = Info::parse(source).unwrap();
        assert_eq!(emitted(&info.whole(source)), bytes);
        assert_eq!(emitted(&info.excerpt(source, info.range(), EndForm::Zero).unwrap()), bytes);
    }

    #[test]
    fn parts_parse_to_their_range_and_hashes() {
        let bytes = original();
        let source = &bytes.as_slice();
        let info = Info::parse(source).unwrap();
        let end = info.content_end();
        let (segment, block) = (1u64 << 25, 1u64 << 16);
        for range in [
            0..1,
            5 * block - 1..5 * block + 1,
            segment - 1..segment,
            segment - 1..segment + 1,
            segment..2 * segment,
            3 * block + 7..end - 1,
            2 * segment + block..end,
            100..2 * segment,
        ] {
            for form in [EndForm::Zero, EndForm::Explicit] {
                let excerpt = info.excerpt(source, range.clone(), form).unwrap();
                let part = emitted(&excerpt);
                let part_source = &part.as_slice();
                let part_info = Info::parse(part_source).unwrap();
                assert_eq!(&part_info, excerpt.info());
                assert_eq!(part_info.range(), range);
                for index in 0..part_info.segment_count() {
                    let here = part_info.segment(part_source, index).unwrap();
                    let there = info.segment(source, info.segment_at(here.offset()).unwrap()).unwrap();
                    assert_eq!((here.hod(), here.byte_len()), (there.hod(), there.byte_len()));
                    assert!(here.secret() == there.secret());
                    assert_eq!(here.listed_blocks(), 0..here.blocks_in_range().end);
                    for block in here.listed_blocks() {
                        assert_eq!(
                            here.block_hash(part_source, block).unwrap().unwrap(),
                            there.block_hash(source, block).unwrap().unwrap()
                        );
                    }
                }
                // An excerpt of an excerpt, read through both.
                let narrow = range.end - 1..range.end;
                let twice = part_info.excerpt(&excerpt, narrow.clone(), form).unwrap();
                assert_eq!(emitted(&twice), emitted(&info.excerpt(source, narrow, form).unwrap()));
            }
        }
    }

    #[test]
    fn read_in_any_pieces() {
        let bytes = original();
        let source = &bytes.as_slice();
        let info = Info::parse(source).unwrap();
        let excerpt = info.excerpt(source, (1 << 25) - 1..(1 << 26) + 1, EndForm::Zero).unwrap();
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
    }

    #[test]
    fn ranges_that_are_not_described() {
        let bytes = original();
        let source = &bytes.as_slice();
        let info = Info::parse(source).unwrap();
        let end = info.content_end();
        for range in [Range { start: 1, end: 1 }, Range { start: 2, end: 1 }, 0..end + 1, end..end + 1] {
            assert!(info.excerpt(source, range, EndForm::Zero).is_none());
        }
    }

    #[test]
    fn a_sink_without_room_is_reported() {
        let bytes = original();
        let source = &bytes.as_slice();
        let excerpt = Info::parse(source).unwrap().whole(source);
        let mut room = [0; 2_000];
        let error = excerpt.emit(&mut room.as_mut_slice());
        assert_eq!(error, Err(EmitError::Sink(InfoUnwritable { offset: 1_024 })));
    }
}
