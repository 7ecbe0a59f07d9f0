//! Of which segments blocks came from an origin that were not offered yet.

use super::{Client, Places, TRIES, bump};
use crate::content::{EndForm, Info, InfoSource, Segment, SegmentId};
use crate::crypto::HashAlgorithm;
use crate::hosted::wire::{ContentTag, Descriptor, ID_BYTES, Version};
use crate::limits::PIECE_BYTES;
use crate::store::{InfoId, InfoStore, InfoView};
use crate::time::{Duration, Instant};
use zeroize::Zeroizing;

/// A segment is offered once so many hundredths of its blocks came since it was last (3.2.4 SHOULD be a
/// sufficient number; as Windows does).
const ENOUGH: u32 = 20;

/// Or if no block came for so long.
const QUIET: Duration = Duration::from_secs(1);

/// A row of the table of news: one segment.
pub struct News {
    pub(super) segment: Option<Fresh>,
}

/// A segment of which blocks came.
pub(super) struct Fresh {
    id: SegmentId,
    algorithm: HashAlgorithm,
    segment_bytes: u32,
    block_bytes: u32,
    pub(super) tag: ContentTag,
    /// What describes it alone, for hosted caches of version 1.0.
    pub(super) info: Option<InfoId>,
    /// Blocks that came and were not offered, and of these, those that the message under way offers.
    fresh: u32,
    sent: u32,
    /// How often it was not taken since it was last.
    tries: u8,
    /// When the last one came.
    moved: Instant,
}

/// What a row is for the next message.
pub(super) enum Sent {
    /// Part of it.
    Marked,
    /// It has so many blocks that can be offered to nobody of that version.
    Never(u32),
}

/// A block that came from an origin, and what describes it.
pub struct Came<'a> {
    /// Content information of which its segment is part.
    pub info: &'a Info,
    /// Where that is kept.
    pub info_id: InfoId,
    /// That segment.
    pub segment: &'a Segment,
    /// Its name.
    pub id: SegmentId,
    /// Whose it is.
    pub tag: ContentTag,
}

impl News {
    /// A row without a segment.
    pub const FREE: Self = Self { segment: None };

    pub(super) fn is_fresh(&self) -> bool {
        self.segment.as_ref().is_some_and(|segment| segment.fresh > 0)
    }

    /// When it is news, if no more comes.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let segment = self.segment.as_ref().filter(|segment| segment.fresh > 0)?;
        Some(if segment.is_enough() { segment.moved } else { segment.moved + QUIET })
    }

    /// Marks a row that is news as part of the next message.
    pub(super) fn send(&mut self, now: Instant, version: Version, places: &Places) -> Option<Sent> {
        let due = self.due_at().is_some_and(|due| due <= now);
        let segment = self.segment.as_mut().filter(|_| due)?;
        if segment.fits(version) {
            segment.sent = segment.fresh;
            return Some(Sent::Marked);
        }
        // Another one may take it.
        let fits = places.iter().any(|place| segment.fits(place.version));
        (!fits).then_some(Sent::Never(segment.fresh))
    }

    /// The message that it was part of was taken; whether it was part of one.
    pub(super) fn taken(&mut self, infos: &mut dyn InfoStore) -> bool {
        let Some(segment) = &mut self.segment else { return false };
        let taken = core::mem::take(&mut segment.sent);
        segment.fresh = segment.fresh.saturating_sub(taken);
        if taken > 0 {
            segment.tries = 0;
        }
        if segment.fresh == 0 {
            self.clear(infos);
        }
        taken > 0
    }

    /// The message that it is part of was not taken, which costs so many tries; whether none is left.
    pub(super) fn not_taken(&mut self, tries: u8) -> bool {
        let Some(segment) = &mut self.segment else { return false };
        (segment.sent, segment.tries) = (0, segment.tries.saturating_add(tries));
        segment.tries >= TRIES
    }

    /// Frees the row.
    pub(super) fn clear(&mut self, infos: &mut dyn InfoStore) {
        if let Some(id) = self.segment.take().and_then(|segment| segment.info) {
            infos.remove_info(id);
        }
    }

    /// Whether a message of that version can be about it.
    pub(super) fn fits(&self, version: Version) -> bool {
        self.segment.as_ref().is_some_and(|segment| segment.fits(version))
    }

    /// The segment, if the message under way is about it.
    pub(super) fn sent(&self) -> Option<&Fresh> {
        self.segment.as_ref().filter(|segment| segment.sent > 0)
    }
}

impl Fresh {
    fn is_enough(&self) -> bool {
        let blocks = self.segment_bytes.div_ceil(self.block_bytes.max(1));
        self.fresh.saturating_mul(100) >= blocks.saturating_mul(ENOUGH)
    }

    /// Whether that version has a message for it: 2.2.1.5 numbers two algorithms, and version 1.0 has it described.
    pub(super) fn fits(&self, version: Version) -> bool {
        match version {
            Version::V1 => self.info.is_some(),
            Version::V2 => {
                matches!(self.algorithm, HashAlgorithm::Sha256 | HashAlgorithm::TruncatedSha512)
                    && self.id.as_bytes().len() == ID_BYTES
            }
        }
    }

    /// The name of the segment, HoHoDk.
    pub(super) fn id(&self) -> &[u8] {
        self.id.as_bytes()
    }

    /// How version 2.0 describes it.
    pub(super) fn descriptor(&self) -> Option<Descriptor> {
        let segment: &[u8; ID_BYTES] = self.id.as_bytes().try_into().ok()?;
        let Self { block_bytes, segment_bytes, tag, algorithm, .. } = *self;
        Some(Descriptor { block_bytes, segment_bytes, tag, algorithm, segment: *segment })
    }
}

impl Client<'_> {
    /// A block came from an origin. For hosted caches of version 1.0, if there are any, what describes its segment is
    /// copied.
    pub fn came(&mut self, came: &Came<'_>, infos: &mut dyn InfoStore) {
        let (now, describes) = (self.state.worked, self.state.describes);
        bump(&mut self.state.counters.blocks, 1);
        let described =
            self.news.iter().filter(|row| row.segment.as_ref().is_some_and(|it| it.info.is_some()));
        let describes = describes && described.count() < self.state.descriptions;
        let same = |row: &&mut News| row.segment.as_ref().is_some_and(|segment| segment.id == came.id);
        if let Some(segment) = self.news.iter_mut().find(same).and_then(|row| row.segment.as_mut()) {
            segment.fresh = segment.fresh.saturating_add(1);
            segment.moved = now;
            if describes && segment.info.is_none() {
                // There was no room for it before.
                segment.info = describe(came, infos);
            }
            return;
        }
        let (algorithm, segment_bytes) = (came.segment.algorithm(), came.segment.byte_len());
        let info = if describes { describe(came, infos) } else { None };
        // 2.2.1.5: there is a number for no other algorithm.
        let named = matches!(algorithm, HashAlgorithm::Sha256 | HashAlgorithm::TruncatedSha512);
        if !named && info.is_none() {
            bump(&mut self.state.counters.unusable, 1);
            return;
        }
        let Some(row) = self.room(infos) else {
            if let Some(info) = info {
                infos.remove_info(info);
            }
            bump(&mut self.state.counters.forgotten, 1);
            return;
        };
        row.segment = Some(Fresh {
            id: came.id,
            algorithm,
            segment_bytes,
            block_bytes: came.segment.block_bytes(),
            tag: came.tag,
            info,
            fresh: 1,
            sent: 0,
            tries: 0,
            moved: now,
        });
    }

    /// A segment is here, wherever it came from, with all the blocks that it is said to have: hosted caches of version 2.0
    /// are offered it, which have no need of more. `false` without a free row, for nothing gives way to it.
    pub fn here(&mut self, now: Instant, descriptor: &Descriptor) -> bool {
        let &Descriptor { block_bytes, segment_bytes, tag, algorithm, ref segment } = descriptor;
        let Some((id, fresh)) = SegmentId::from_slice(segment).zip(descriptor.blocks()) else { return true };
        if self.news.iter().any(|row| row.segment.as_ref().is_some_and(|known| known.id == id)) {
            return true;
        }
        let free = self.news.iter_mut().find(|row| row.segment.is_none());
        let is_room = free.is_some();
        free.into_iter().for_each(|row| {
            let (info, sent, tries, moved) = (None, 0, 0, now);
            row.segment = Some(Fresh {
                id,
                algorithm,
                segment_bytes,
                block_bytes,
                tag,
                info,
                fresh,
                sent,
                tries,
                moved,
            });
        });
        is_room
    }

    /// A row that is free, or that of which nothing came for longest and which no message is about.
    fn room(&mut self, infos: &mut dyn InfoStore) -> Option<&mut News> {
        let free = self.news.iter().position(|row| row.segment.is_none());
        let index = free.or_else(|| {
            let rows = self.news.iter().enumerate();
            let idle = rows.filter_map(|(index, row)| {
                let segment = row.segment.as_ref().filter(|segment| segment.sent == 0)?;
                Some((segment.moved, index))
            });
            idle.min().map(|(_, index)| index)
        })?;
        let row = self.news.get_mut(index)?;
        if row.segment.is_some() {
            bump(&mut self.state.counters.forgotten, 1);
        }
        row.clear(infos);
        Some(row)
    }
}

/// Content information 1.0 of one whole segment alone, in a place of its own; `None` for that of version 2.0,
/// which has no message, for a segment whose block hashes are not all known, and without room.
fn describe(came: &Came<'_>, infos: &mut dyn InfoStore) -> Option<InfoId> {
    let (Info::V1(info), source) = (came.info, came.info_id) else { return None };
    let segment = came.segment;
    // MS-PCCRC 2.2: who gets it MUST be able to hold the block hashes against HoD.
    if !segment.is_whole() {
        return None;
    }
    // 2.2.1.4: dwOffsetInFirstSegment and dwReadBytesInLastSegment are those of the whole segment.
    let end = segment.offset().checked_add(segment.byte_len().into())?;
    let range = info.range();
    let whole = segment.offset().max(range.start)..end.min(range.end);
    let plan = {
        let view = InfoView { store: &*infos, id: source };
        let excerpt = info.excerpt(&view, whole, EndForm::Explicit)?;
        excerpt.plan().clone()
    };
    let id = infos.create_info().ok()?;
    // Kp passes through this buffer.
    let mut buf = Zeroizing::new([0; PIECE_BYTES]);
    let mut at = 0u64;
    while let Some(left) = plan.len().checked_sub(at).filter(|left| *left > 0) {
        let len = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let piece = buf.get_mut(..len).unwrap_or_default();
        let view = InfoView { store: &*infos, id: source };
        let read = plan.read_at(&view as &dyn InfoSource, at, piece);
        if read.is_err() || infos.append_info(id, piece).is_err() {
            infos.remove_info(id);
            return None;
        }
        at = at.saturating_add(len as u64);
    }
    Some(id)
}
