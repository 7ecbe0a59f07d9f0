//! Which bytes an excerpt of content information 1.0 consists of.

use core::ops::Range;

use super::wire::HEADER_BYTES;
use super::{Info, List};
use crate::content::excerpt::{MAX_SPANS, Span};
use crate::content::{self, EndForm, Excerpt, InfoSource};
use crate::limits::{BLOCK_BYTES, SEGMENT_BYTES};

impl Info {
    /// The structure as one that can be written elsewhere, byte for byte as it was parsed.
    pub fn whole<'a>(&self, source: &'a dyn InfoSource) -> Excerpt<'a> {
        self.spans(self, source, 0)
    }

    /// The content information of a part of the range; `None` if `range`, in bytes of the content,
    /// is empty or reaches beyond [`range`](Self::range).
    pub fn excerpt<'a>(
        &self,
        source: &'a dyn InfoSource,
        range: Range<u64>,
        form: EndForm,
    ) -> Option<Excerpt<'a>> {
        let known = self.range();
        if range.is_empty() || range.start < known.start || range.end > known.end {
            return None;
        }
        let first = self.segment_at(range.start)?;
        let last = self.segment_at(range.end.checked_sub(1)?)?;
        let content_start = self.segment_start(first);
        let offset_in_first = u32::try_from(range.start.checked_sub(content_start)?).ok()?;
        let end_in_last = u32::try_from(range.end.checked_sub(self.segment_start(last))?).ok()?;
        let read_in_last = if form == EndForm::Zero && end_in_last == self.segment_len(last) {
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
            let start = match self.list(index).start {
                0 => 0,
                _ => offset_in_first / BLOCK_BYTES,
            };
            let count = end_in_segment.div_ceil(BLOCK_BYTES).checked_sub(start)?;
            Some(List { start, count })
        };
        let part = Self {
            algorithm: self.algorithm,
            content_start,
            segments: last.checked_sub(first)?.checked_add(1)?,
            last_len: self.segment_len(last),
            offset_in_first,
            read_in_last,
            first_list: list(first, if first == last { end_in_last } else { SEGMENT_BYTES })?,
            last_list: list(last, end_in_last)?,
        };
        Some(self.spans(&part, source, first))
    }

    /// `part` as pieces of this structure, of which its segments are those from `first` on.
    fn spans<'a>(&self, part: &Self, source: &'a dyn InfoSource, first: u32) -> Excerpt<'a> {
        let digest_len = part.digest_len();
        let copy_hashes = |index: u32, list: List| {
            let left_out = u64::from(list.start.saturating_sub(self.list(index).start)) * digest_len;
            let at = self.list_at(index).saturating_add(4 + left_out);
            Span::original(at, u64::from(list.count) * digest_len)
        };
        let descriptions = part.list_at(0).saturating_sub(HEADER_BYTES as u64);
        let mut header = [0; HEADER_BYTES];
        // The buffer is as long as a header, so this cannot fail.
        _ = part.header().emit(&mut header);
        let mut spans = [Span::NONE; MAX_SPANS];
        let (front, back) = (
            [
                Span::made(&header),
                Span::original(self.description_at(first), descriptions),
                Span::made(&part.first_list.count.to_le_bytes()),
                copy_hashes(first, part.first_list),
            ],
            [
                Span::original(
                    self.list_at(first.saturating_add(1)),
                    part.list_at(part.last()).saturating_sub(part.list_at(1)),
                ),
                Span::made(&part.last_list.count.to_le_bytes()),
                copy_hashes(first.saturating_add(part.last()), part.last_list),
            ],
        );
        let back = if part.segments == 1 { [Span::NONE; 3] } else { back };
        spans.iter_mut().zip(front.iter().chain(&back)).for_each(|(span, from)| *span = *from);
        Excerpt::new(source, content::Info::V1(*part), spans)
    }
}
