//! The message under way: its bytes, from any of them on, so that it need not lie anywhere as a whole.

use super::news::Fresh;
use super::{Client, News, What};
use crate::bytes::{Writer, copy};
use crate::hosted::wire::{DESCRIPTOR_BYTES, OPENING_BYTES, Opening, TAG_BYTES};
use crate::limits::PIECE_BYTES;
use crate::store::InfoStore;
use zeroize::Zeroizing;

impl Client<'_> {
    /// The path that the message goes to, and how many bytes it has; `None` without one, or if what it is about cannot
    /// be read any more.
    pub(crate) fn message(&self, infos: &dyn InfoStore) -> Option<(&'static str, u64)> {
        let request = self.state.request.as_ref()?;
        let len = match request.what {
            What::Batch(count) => u64::from(count).saturating_mul(DESCRIPTOR_BYTES as u64),
            What::Initial => self.segment()?.id().len() as u64,
            What::Described => {
                let len = Some(infos.info_len(self.segment()?.info?)).filter(|len| *len > 0)?;
                len.saturating_add(TAG_BYTES as u64)
            }
        };
        Some((request.what.version().path(), len.saturating_add(OPENING_BYTES as u64)))
    }

    /// Fills the front of `buf` with the message from `offset` on, and returns how much; 0 where it cannot be
    /// read any more. The client says that it serves its blocks at `port` (2.2.1.2: MUST be set).
    pub(crate) fn read_message(
        &self,
        port: u16,
        infos: &dyn InfoStore,
        offset: u64,
        buf: &mut [u8],
    ) -> usize {
        let Some(request) = &self.state.request else { return 0 };
        let mut opening = [0; OPENING_BYTES];
        let _ = Opening::new(request.what.version(), request.what.message(), port)
            .emit(&mut Writer::new(&mut opening));
        let Some(behind) = offset.checked_sub(OPENING_BYTES as u64) else {
            return copy(buf, opening.get(offset as usize..).unwrap_or_default());
        };
        let at = usize::try_from(behind).unwrap_or(usize::MAX);
        match request.what {
            What::Batch(_) => self.read_descriptor(at, buf),
            What::Initial => {
                let id = self.segment().map_or(&[][..], Fresh::id);
                copy(buf, id.get(at..).unwrap_or_default())
            }
            What::Described => {
                let Some(segment) = self.segment() else { return 0 };
                let Some(at) = behind.checked_sub(TAG_BYTES as u64) else {
                    return copy(buf, segment.tag.get(at..).unwrap_or_default());
                };
                let Some(info) = segment.info else { return 0 };
                // Kp passes through this buffer.
                let mut piece = Zeroizing::new([0; PIECE_BYTES]);
                let left = infos.info_len(info).saturating_sub(at);
                let len = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES).min(buf.len());
                let piece = piece.get_mut(..len).unwrap_or_default();
                if infos.read_info(info, at, piece).is_ok() { copy(buf, piece) } else { 0 }
            }
        }
    }

    fn read_descriptor(&self, at: usize, buf: &mut [u8]) -> usize {
        let (index, within) = (at / DESCRIPTOR_BYTES, at % DESCRIPTOR_BYTES);
        let descriptor = self.news.iter().filter_map(News::sent).nth(index).and_then(Fresh::descriptor);
        let Some(descriptor) = descriptor else { return 0 };
        let mut bytes = [0; DESCRIPTOR_BYTES];
        let _ = descriptor.emit(&mut Writer::new(&mut bytes));
        copy(buf, bytes.get(within..).unwrap_or_default())
    }

    /// The segment that a message of version 1.0 is about.
    fn segment(&self) -> Option<&Fresh> {
        self.news.iter().find_map(News::sent)
    }
}
