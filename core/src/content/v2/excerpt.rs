//! Which bytes an excerpt of content information 2.0 consists of.

use core::ops::Range;

use super::wire::{CHUNK_HEAD_BYTES, ChunkRepr, DESCRIPTION_BYTES, HEADER_BYTES, HeaderRepr};
use super::{Info, Mark, Marks, Place, read_len};
use crate::content::excerpt::{MAX_SPANS, Span};
use crate::content::segment::Blocks;
use crate::content::{self, EndForm, Excerpt, InfoError, InfoSource};

impl Info {
    /// The structure as one that can be written elsewhere, byte for byte as it was parsed.
    pub fn whole<'a>(&self, source: &'a dyn InfoSource) -> Excerpt<'a> {
        let mut spans = [Span::NONE; MAX_SPANS];
        let rest = self.encoded_len.saturating_sub(HEADER_BYTES as u64);
        let made = [made_header(&self.header), Span::original(HEADER_BYTES as u64, rest)];
        spans.iter_mut().zip(made).for_each(|(span, from)| *span = from);
        Excerpt::new(source, content::Info::V2(self.clone()), spans)
    }

    /// The content information of a part of the range, read from the source that was parsed; `None`
    /// if `range`, in bytes of the content, is empty or reaches beyond [`range`](Self::range).
    ///
    /// The chunks are those of the original, without the segments that have no bytes of the range.
    pub fn excerpt<'a>(
        &self,
        source: &'a dyn InfoSource,
        range: Range<u64>,
        form: EndForm,
    ) -> Result<Option<Excerpt<'a>>, InfoError> {
        let known = self.range();
        if range.is_empty() || range.start < known.start || range.end > known.end {
            return Ok(None);
        }
        let (Some(first), Some(last)) =
            (self.segment_at(source, range.start)?, self.segment_at(source, range.end.saturating_sub(1))?)
        else {
            return Ok(None);
        };
        // Segments of version 2.0, which these are, have a place.
        let (Blocks::Whole { place: first_place, .. }, Blocks::Whole { place: last_place, .. }) =
            (&first.blocks, &last.blocks)
        else {
            return Ok(None);
        };
        let (start, end) = (first_place.mark, last_place.mark);
        let part_end = last.offset().saturating_add(last.byte_len().into());
        let header = HeaderRepr {
            content_start: start.offset,
            index_of_first: self.header.index_of_first.saturating_add(start.index.into()),
            // Both lie in one segment, so the difference fits.
            offset_in_first: range.start.saturating_sub(start.offset) as u32,
            range_len: match form {
                EndForm::Zero if range.end == part_end => 0,
                _ => range.end.saturating_sub(range.start),
            },
        };

        let count = end.index.saturating_sub(start.index).saturating_add(1);
        let first_count = first_place.chunk_segments.saturating_sub(start.within).min(count);
        let first_end = start.at().saturating_add(bytes_of(first_count));
        let last_count = end.within.saturating_add(1);
        let last_head_at = end.chunk_at.saturating_sub(CHUNK_HEAD_BYTES as u64);
        let front = [
            made_header(&header),
            made_chunk(first_count),
            Span::original(start.at(), bytes_of(first_count)),
        ];
        let back = [
            Span::original(first_end, last_head_at.saturating_sub(first_end)),
            made_chunk(last_count),
            Span::original(end.chunk_at, bytes_of(last_count)),
        ];
        let back = if start.chunk_at == end.chunk_at { [Span::NONE; 3] } else { back };
        let mut spans = [Span::NONE; MAX_SPANS];
        spans.iter_mut().zip(front.iter().chain(&back)).for_each(|(span, from)| *span = *from);

        let part = Self {
            header,
            segments: count,
            content_end: part_end,
            encoded_len: spans.iter().map(Span::len).fold(0, u64::saturating_add),
            marks: self.marks_of(source, *first_place, count)?,
        };
        Ok(Some(Excerpt::new(source, content::Info::V2(part), spans)))
    }

    /// Where the `count` segments from `first` on stand in an excerpt that begins with them.
    fn marks_of(&self, source: &dyn InfoSource, first: Place, count: u32) -> Result<Marks, InfoError> {
        let mut marks = Marks::new();
        let moved = (HEADER_BYTES + CHUNK_HEAD_BYTES) as u64;
        let left_out = first.mark.at().saturating_sub(moved);
        let mut next = Some(first);
        for index in 0..count {
            let Some(place) = next else { break };
            let Mark { within, chunk_at, offset, .. } = place.mark;
            // The first chunk has lost its front, the others have moved as they are.
            let same_chunk = chunk_at == first.mark.chunk_at;
            marks.note(Mark {
                index,
                within: if same_chunk { within.saturating_sub(first.mark.within) } else { within },
                chunk_at: if same_chunk { moved } else { chunk_at.saturating_sub(left_out) },
                offset,
            });
            let len = read_len(source, place.mark.at())?;
            next = self.step(source, place, len)?;
        }
        Ok(marks)
    }
}

/// Bytes of so many descriptions.
fn bytes_of(segments: u32) -> u64 {
    u64::from(segments) * DESCRIPTION_BYTES as u64
}

fn made_header(header: &HeaderRepr) -> Span {
    let mut bytes = [0; HEADER_BYTES];
    // The buffer is as long as a header, so this cannot fail.
    _ = header.emit(&mut bytes);
    Span::made(&bytes)
}

fn made_chunk(segments: u32) -> Span {
    let mut bytes = [0; CHUNK_HEAD_BYTES];
    // The buffer is as long as a head, so this cannot fail.
    _ = ChunkRepr { segments }.emit(&mut bytes);
    Span::made(&bytes)
}
