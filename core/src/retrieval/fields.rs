//! The fields of a message, one after the other, as its bytes arrive: in the same few bytes however
//! long the message is.

use crate::bytes::copy;
use crate::limits::MAX_DIGEST_BYTES;

/// Bytes that are collected at a time at most: a segment id, and three numbers behind it.
const FIELD_BYTES: usize = MAX_DIGEST_BYTES + 12;

/// The field that is being collected.
pub(super) struct Fields {
    /// Bytes of the message that come behind it, as MsgSize said.
    pub(super) left: u32,
    field: [u8; FIELD_BYTES],
    have: u8,
    need: u8,
}

/// MsgSize leaves no room for a field.
pub(super) struct Overrun;

impl Fields {
    /// Begins with a field of `need` bytes, in a message whose length is not known yet.
    pub(super) const fn new(need: u8) -> Self {
        Self { left: 0, field: [0; FIELD_BYTES], have: 0, need }
    }

    /// Takes bytes: how many were used, and the field if it is whole.
    #[inline(never)]
    pub(super) fn fill(&mut self, bytes: &[u8]) -> (usize, Option<[u8; FIELD_BYTES]>) {
        let room = self.field.get_mut(self.have.into()..self.need.into()).unwrap_or_default();
        let used = copy(room, bytes);
        self.have = self.have.saturating_add(used as u8);
        (used, (self.have >= self.need).then_some(self.field))
    }

    /// Begins with the next field, of `need` bytes.
    #[inline(never)]
    pub(super) fn collect(&mut self, need: usize) -> Result<(), Overrun> {
        (self.have, self.need) = (0, need.min(FIELD_BYTES) as u8);
        self.spend(need as u32)
    }

    /// Takes `count` bytes off what MsgSize announced.
    #[inline(never)]
    pub(super) fn spend(&mut self, count: u32) -> Result<(), Overrun> {
        self.left = self.left.checked_sub(count).ok_or(Overrun)?;
        Ok(())
    }
}
