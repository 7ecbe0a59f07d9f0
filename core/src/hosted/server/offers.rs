//! A row of the table of offers: one segment, whoever offers it, and how far getting it has come.

use core::net::SocketAddr;

use heapless::Deque;

use super::{Application, Key};
use crate::content::SegmentId;
use crate::crypto::HashAlgorithm;
use crate::limits::rows;
use crate::store::InfoId;
use crate::time::{Duration, Instant};

/// How long a segment may wait for its turn, and then be asked for as any other.
const QUEUE: Duration = Duration::from_secs(300);

/// Who offers a segment beside the one who is asked for it: in a crowd, each has got a part.
pub(super) type Others = Deque<SocketAddr, { rows(8, 2) }>;

/// A row of the table of offers: one segment, whoever offers it.
pub struct Offer {
    pub(super) offered: Option<Offered>,
}

pub(super) struct Offered {
    pub(super) stage: Stage,
    /// Not known of content information that was not looked at yet.
    pub(super) segment: Option<SegmentId>,
    /// Whom it is asked of, and who offers it as well, the next first.
    pub(super) client: SocketAddr,
    pub(super) others: Others,
    pub(super) from: Application,
    pub(super) what: What,
    /// Bytes of the segment, and of each block but the last.
    pub(super) bytes: u32,
    pub(super) block_bytes: u32,
    /// The next block to ask for.
    pub(super) next: u32,
    /// Blocks that are being asked for.
    pub(super) asked: u8,
    /// Whether any was asked of whoever offers it now.
    pub(super) tried: bool,
    /// When it was offered, was first asked for, or a block came last.
    pub(super) moved: Instant,
    /// Before then, nothing more of it is asked for.
    pub(super) after: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Of a message that is not whole: a row of its own, whoever else offers the same.
    Arriving(Key),
    /// Its content information is looked at first.
    Fresh,
    /// Its blocks are asked for.
    Wanted,
    /// Nobody is asked for more of it; what was asked for is still awaited.
    Over,
    /// All that there was has come; its content information is kept, for the next INITIAL_OFFER_MESSAGE.
    Kept,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Version 2.0: as it comes, since nothing tells what it is.
    AsReceived(HashAlgorithm),
    /// Version 1.0.
    Described(InfoId),
}

impl Offer {
    /// A row without an offer.
    pub const FREE: Self = Self { offered: None };

    pub(super) fn is_arriving(&self, key: Key) -> bool {
        self.offered.as_ref().is_some_and(|offered| offered.stage == Stage::Arriving(key))
    }

    /// Frees a row that has no content information.
    pub(super) fn clear(&mut self) {
        self.offered = None;
    }
}

impl Offered {
    pub(super) fn is_kept(&self) -> bool {
        self.stage == Stage::Kept && self.asked == 0
    }

    /// Whether it has content information that is of use to its client.
    pub(super) fn takes_place(&self) -> bool {
        self.info().is_some() && !self.is_kept()
    }

    pub(super) fn info(&self) -> Option<InfoId> {
        match self.what {
            What::Described(info) => Some(info),
            What::AsReceived(_) => None,
        }
    }

    pub(super) const fn blocks(&self) -> u32 {
        self.bytes.div_ceil(if self.block_bytes == 0 { 1 } else { self.block_bytes })
    }

    pub(super) fn block_len(&self, index: u32) -> u32 {
        let before = index.saturating_mul(self.block_bytes);
        self.bytes.saturating_sub(before).min(self.block_bytes)
    }

    /// Whether a block of it may be asked for.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let is_left = self.next < self.blocks() || self.asked == 0;
        self.stage == Stage::Wanted && self.after <= now && is_left
    }

    /// Whether that is what `other` offers. Who says something else of a segment is believed as little as who was
    /// first; of content information that is known, all is known.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let said = |offered: &Self| (offered.what, offered.bytes, offered.block_bytes);
        self.segment == other.segment && (self.info().is_some() || said(self) == said(other))
    }

    /// Somebody offers it, who may have what is still missing.
    pub(super) fn also(&mut self, now: Instant, client: SocketAddr) {
        match self.stage {
            Stage::Kept | Stage::Over => {
                (self.client, self.next, self.moved) = (client, 0, now);
                self.others.clear();
                (self.stage, self.tried) = (Stage::Wanted, false);
            }
            // It may have more of it by now.
            Stage::Wanted if client == self.client => self.next = 0,
            _ if client == self.client => {}
            _ if self.others.iter().any(|other| *other == client) => {}
            // Where there is no room, it will offer it again with what comes next.
            _ => drop(self.others.push_back(client)),
        }
    }

    /// Turns to whoever offers it as well; `false` if that is nobody.
    pub(super) fn turn(&mut self, now: Instant) -> bool {
        let Some(other) = self.others.pop_front() else { return false };
        (self.client, self.next, self.moved, self.after) = (other, 0, now, now);
        self.tried = false;
        true
    }

    /// When it is given up, unless a block comes. Whoever waits for its turn is not to blame.
    pub(super) fn late_at(&self, patience: Duration) -> Option<Instant> {
        let waits = self.stage == Stage::Wanted && self.asked == 0;
        let since = if self.tried { self.moved } else { self.moved + QUEUE };
        waits.then_some(since + patience)
    }

    /// Nothing more of it is asked for. What is known of it stays known.
    pub(super) fn end(&mut self) {
        self.stage = match self.what {
            What::Described(_) if self.segment.is_some() => Stage::Kept,
            _ => Stage::Over,
        };
    }
}

pub(super) fn row(offers: &mut [Offer], index: usize) -> Option<&mut Offered> {
    offers.get_mut(index)?.offered.as_mut()
}
