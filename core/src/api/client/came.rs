//! Blocks that came from an origin, for who offers them to others.

use super::{Client, Parts};
use crate::hosted::client::{Came, DOWNLOAD_TAG};
use crate::store::Storage;

impl Client {
    /// Tells of each block that has come whole from an origin since the last call, of contents that are open.
    pub fn take_came(&mut self, parts: &mut Parts<'_>, tell: &mut dyn FnMut(&Came<'_>, &mut dyn Storage)) {
        while let Some((handle, start)) = self.came.pop_front() {
            let Ok(located) = self.locate(parts, handle, start) else { continue };
            let (Ok(complete), Some(content)) = (self.ready(handle), self.content(handle)) else { continue };
            let tag = if content.of_download { DOWNLOAD_TAG } else { content.tag };
            let (info, info_id) = (&complete.info, complete.info_id);
            let (segment, id) = (&located.segment, located.block.segment);
            tell(&Came { info, info_id, segment, id, tag }, parts.storage);
        }
    }
}
