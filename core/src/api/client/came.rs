//! Blocks that came from an origin, for who offers them to others.

use super::{Client, ContentTag, Parts};
use crate::content::{Info, Segment, SegmentId};
use crate::store::{InfoId, Storage};

/// A block that came whole from an origin, by what describes it.
pub struct Came<'a> {
    /// The content information of its content.
    pub info: &'a Info,
    /// Where that is kept.
    pub info_id: InfoId,
    /// Its segment.
    pub segment: &'a Segment,
    /// The segment's name.
    pub id: SegmentId,
    /// The tag of its content; `None` of a download.
    pub tag: Option<ContentTag>,
}

impl Client {
    /// Tells of each block that has come whole from an origin since the last call, of contents that are open.
    pub fn take_came(&mut self, parts: &mut Parts<'_>, tell: &mut dyn FnMut(&Came<'_>, &mut dyn Storage)) {
        while let Some((handle, start)) = self.came.pop_front() {
            let Ok(located) = self.locate(parts, handle, start) else { continue };
            let (Ok(complete), Some(content)) = (self.ready(handle), self.content(handle)) else { continue };
            let tag = (!content.of_download).then_some(content.tag);
            let (info, info_id) = (&complete.info, complete.info_id);
            let (segment, id) = (&located.segment, located.block.segment);
            tell(&Came { info, info_id, segment, id, tag }, parts.storage);
        }
    }
}
