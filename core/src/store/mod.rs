//! Where blocks and content information are kept.
//!
//! A block is kept as it travels: ciphertext, its IV and algorithm, its length. It comes in by
//! `reserve → write in pieces → verify → commit`; what was not committed is never found. The one
//! door is [`verify`]: [`Store::commit`] asks for a [`Verified`], which only
//! that module can make.

pub mod ram;
pub mod seal;
pub mod split;
pub mod verify;

use crate::content::{InfoSource, InfoUnreadable, SegmentId};
use crate::crypto::Seal;
use crate::time::{Duration, Instant};
use verify::Verified;

/// A block's name: its segment, and its index within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BlockId {
    /// The segment, HoHoDk.
    pub segment: SegmentId,
    /// The block within the segment, from 0; no segment has more than 512.
    pub index: u32,
}

/// A slot of the store. Its generation makes a stale one fail instead of reading another block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SlotId {
    /// Which slot.
    pub index: u32,
    /// Which use of it.
    pub generation: u32,
}

/// A committed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Stored {
    /// Where it is.
    pub slot: SlotId,
    /// How it is sealed.
    pub seal: Seal,
    /// Bytes as stored and sent, padding included.
    pub len: u32,
    /// Bytes of the plaintext.
    pub plain_len: u32,
}

/// Why no slot could be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ReserveError {
    /// The budget is used up.
    Full,
    /// The block is here already, or another slot is reserved for it.
    Exists,
}

/// Why a slot could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StoreError {
    /// The slot was released or replaced since.
    Stale,
    /// The bytes asked for lie outside the slot.
    OutOfRange,
    /// What was read is not what was written: the piece's checksum differs.
    Damaged,
}

/// A mark on blocks, of [`LABELS`]: whose they are, so that they can be forgotten together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Label(u8);

/// Labels of which each block can have any. They last as long as the value of a store, and not over a restart.
pub const LABELS: usize = 8;

impl Label {
    /// The label of that number, below [`LABELS`].
    pub const fn new(number: u8) -> Option<Self> {
        if (number as usize) < LABELS { Some(Self(number)) } else { None }
    }

    const fn bit(self) -> u8 {
        1 << (self.0 & 7)
    }
}

/// The labels of a block, as a store keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels(u8);

impl Labels {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Whether that one is among them.
    pub const fn has(self, label: Label) -> bool {
        self.0 & label.bit() != 0
    }

    /// Adds one.
    pub const fn put(&mut self, label: Label) {
        self.0 |= label.bit();
    }

    /// Takes one off, unless it is the only one of a block that is pinned; whether none is left by that, so
    /// that the block has to go.
    pub const fn take_off(&mut self, label: Label, pinned: bool) -> bool {
        if !self.has(label) || pinned && self.0 == label.bit() {
            return false;
        }
        self.0 &= !label.bit();
        self.0 == 0
    }
}

/// How long blocks are kept, where nobody says otherwise (fact 49): 28 days.
pub const MAX_AGE: Duration = Duration::from_secs(28 * 24 * 60 * 60);

/// A place for blocks: a RAM arena, NOR flash, files.
pub trait Store {
    /// Reserves a slot of `len` stored bytes for `block`. Where there is no room, blocks that were
    /// not used for longest go, except those that are pinned.
    fn reserve(&mut self, block: &BlockId, len: u32) -> Result<SlotId, ReserveError>;

    /// Writes `bytes` at `offset` of a reserved slot.
    fn write(&mut self, slot: SlotId, offset: u32, bytes: &[u8]) -> Result<(), StoreError>;

    /// Fills `buf` from `offset` of a slot, reserved or committed. A committed piece that no
    /// longer matches its checksum is [`StoreError::Damaged`].
    fn read(&mut self, slot: SlotId, offset: u32, buf: &mut [u8]) -> Result<(), StoreError>;

    /// Makes the block in `verified`'s slot visible.
    fn commit(&mut self, verified: Verified) -> Result<(), StoreError>;

    /// Gives a slot up, reserved or committed; a stale one is nobody's loss.
    fn release(&mut self, slot: SlotId);

    /// Keeps a committed slot from being given to another block, until as many calls of
    /// [`unpin`](Self::unpin).
    fn pin(&mut self, slot: SlotId);

    /// Takes one [`pin`](Self::pin) back; of a slot that is gone, there is none.
    fn unpin(&mut self, slot: SlotId);

    /// The committed block of that name. One that is too old is not found, although who has pinned
    /// it may read it to its end.
    fn find(&self, block: &BlockId) -> Option<Stored>;

    /// Whether there is a block to be found. A store that looks up elsewhere how a block is sealed answers this
    /// without.
    fn has(&self, block: &BlockId) -> bool {
        self.find(block).is_some()
    }

    /// How many blocks of `segment` are committed.
    fn blocks(&self, segment: &SegmentId) -> u32;

    /// The first committed block of `segment` after `index`.
    fn next_block(&self, segment: &SegmentId, index: u32) -> Option<u32>;

    /// Puts a label on a committed block, beside those it has. A store without labels has no use for it.
    fn label(&mut self, _slot: SlotId, _label: Label) {}

    /// Takes a label off all blocks, and forgets those that have no other: but for those that are pinned,
    /// which keep it. Whether it is off all.
    fn forget_labelled(&mut self, _label: Label) -> bool {
        true
    }

    /// Whether any block has that label.
    fn is_labelled(&self, _label: Label) -> bool {
        false
    }

    /// Tells what time it is: blocks that are too old by then go, except those that are pinned. A
    /// store that keeps no ages has no use for it.
    fn set_time(&mut self, _now: Instant) {}

    /// How long the oldest committed block of `segment` has been here; `None` without any, or if
    /// nobody can tell.
    fn age(&self, _segment: &SegmentId, _now: Instant) -> Option<Duration> {
        None
    }
}

/// One content information kept in an [`InfoStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InfoId(pub u8);

/// The store of content information is full, or the one named is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InfoStoreFull;

/// A place for content information, kept and read in pieces: a large file's does not fit a
/// microcontroller's RAM. It holds segment secrets, so what is removed is wiped.
pub trait InfoStore {
    /// Makes a new, empty one.
    fn create_info(&mut self) -> Result<InfoId, InfoStoreFull>;

    /// Adds `bytes` at its end, all of them or none.
    fn append_info(&mut self, id: InfoId, bytes: &[u8]) -> Result<(), InfoStoreFull>;

    /// Bytes it has so far.
    fn info_len(&self, id: InfoId) -> u64;

    /// Fills `buf` from `offset` on.
    fn read_info(&self, id: InfoId, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable>;

    /// Removes and wipes it.
    fn remove_info(&mut self, id: InfoId);
}

/// Both stores as the machine takes them.
pub trait Storage: Store + InfoStore {}

impl<T: Store + InfoStore> Storage for T {}

/// One content information of an [`InfoStore`], as a source to parse.
#[derive(Clone, Copy)]
pub struct InfoView<'a, S: ?Sized> {
    /// Where it is kept.
    pub store: &'a S,
    /// Which one.
    pub id: InfoId,
}

impl<S: InfoStore + ?Sized> InfoSource for InfoView<'_, S> {
    fn len(&self) -> u64 {
        self.store.info_len(self.id)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), InfoUnreadable> {
        self.store.read_info(self.id, offset, buf)
    }
}
