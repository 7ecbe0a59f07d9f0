//! Whether many others want a content at the moment: what they have not got, they soon may have.

use core::net::IpAddr;
use core::ops::Range;

use super::{Content, ContentHandle, client};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::tables::Tables;
use crate::content::SegmentId;
use crate::time::{Duration, Instant};

/// So many others are a crowd.
pub const CROWD: usize = 3;

/// Segments of a content that others are listened for at a time: those that were read last.
const WATCHED: usize = 4;

/// How long who was heard to look for a segment counts: they ask again sooner, while they miss any of it.
pub const CROWD_LASTS: Duration = Duration::from_secs(10);

/// What is known of a content (PEERDIST_CLIENT_BASIC_INFO).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BasicInfo {
    /// Whether at least [`CROWD`] other hosts were heard, within [`CROWD_LASTS`], to probe for one of the
    /// segments that were read last. Who misses data may then wait for it and try again, instead of going to the
    /// origin.
    pub flash_crowd: bool,
}

/// Who else looks for segments of a content.
pub(super) struct Crowd {
    /// Where segments lie in the content, and what they are called; the latest at the end.
    segments: [Option<(Range<u64>, SegmentId)>; WATCHED],
    heard: [Option<(IpAddr, Instant)>; CROWD],
}

impl Crowd {
    pub(super) const NONE: Self = Self { segments: [const { None }; WATCHED], heard: [None; CROWD] };

    /// `from` looks for `segment`.
    fn note(&mut self, now: Instant, from: IpAddr, segment: &SegmentId) {
        if self.segments.iter().flatten().all(|(_, watched)| watched != segment) {
            return;
        }
        let same = |row: &&mut Option<(IpAddr, Instant)>| row.is_some_and(|(host, _)| host == from);
        let row = match self.heard.iter_mut().find(same) {
            Some(row) => Some(row),
            // Whoever was silent for longest makes room.
            None => self.heard.iter_mut().min_by_key(|row| row.map(|(_, at)| at)),
        };
        if let Some(row) = row {
            *row = Some((from, now));
        }
    }

    fn is_there(&self, now: Instant) -> bool {
        let lately = |(_, at): (IpAddr, Instant)| now.since(at) <= CROWD_LASTS;
        self.heard.iter().all(|row| row.is_some_and(lately))
    }
}

impl Api<'_> {
    /// What is known of a content (PeerDistClientGetInformationByHandle).
    pub fn information(&self, now: Instant, content: ContentHandle) -> Result<BasicInfo, ApiError> {
        let row = content.row(self.tables.contents)?;
        row.open()?;
        Ok(BasicInfo { flash_crowd: row.crowd.is_there(now) })
    }

    /// Listens for those who look for the segment at `offset`.
    pub(super) fn watch(&mut self, content: ContentHandle, handle: client::ContentHandle, offset: u64) {
        let Ok(row) = content.row_mut(self.tables.contents) else { return };
        let known = |row: &Option<(Range<u64>, SegmentId)>| {
            row.as_ref().is_some_and(|(range, _)| range.contains(&offset))
        };
        if let Some(at) = row.crowd.segments.iter().position(known) {
            // By now it is the latest.
            return row.crowd.segments.get_mut(at..).unwrap_or_default().rotate_left(1);
        }
        let Ok(segment) = self.client.segment_at(self.parts.storage, handle, offset) else { return };
        let range = segment.offset()..segment.offset().saturating_add(segment.byte_len().into());
        let id = segment.id(self.parts.crypto);
        // The oldest goes.
        row.crowd.segments.rotate_left(1);
        if let Some(latest) = row.crowd.segments.last_mut() {
            *latest = Some((range, id));
        }
    }
}

impl Tables<'_> {
    /// Another host probes for a segment.
    pub(crate) fn heard(&mut self, now: Instant, from: IpAddr, segment: &SegmentId) {
        self.contents.iter_mut().for_each(|content: &mut Content| content.crowd.note(now, from, segment));
    }
}
