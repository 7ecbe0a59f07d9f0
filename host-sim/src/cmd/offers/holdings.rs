//! What the cache of a peer has, offered to hosted caches: all of it when the peer starts, and again from time to time.
//!
//! A hosted cache answers every offer alike, whether it has room for it, lets no more wait of one client, or has lost
//! since what it got. So the only way to know that it has all is to offer all and see that it asks for nothing.

use std::time::Duration as StdDuration;

use peerdist_core::crypto::HashAlgorithm;
use peerdist_core::hosted::client::DOWNLOAD_TAG;
use peerdist_core::hosted::wire::Descriptor;
use peerdist_core::limits::BLOCK_BYTES;
use peerdist_core::store::SlotId;
use peerdist_core::time::{Duration, Instant};
use peerdist_hal::file::FileBlocks;
use peerdist_sim::net::station::Station;

use super::QUIET;

/// After how long all is offered again: what has come into the cache meanwhile, and what a hosted cache has lost.
const AGAIN: Duration = Duration::from_secs(3_600);

/// The same where something was asked for, so that there may be more, or where a hosted cache is back.
const AGAIN_SOON: Duration = Duration::from_secs(10);

/// What is offered before a hosted cache has got what it wants of it: half of what ours lets wait of one client.
const PORTION_SEGMENTS: usize = 256;
const PORTION_BYTES: u64 = 128 << 20;

/// How long a portion is waited for at most: peers may be asking for blocks all the time.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often it is seen whether there is something to do.
const LOOK: StdDuration = StdDuration::from_millis(500);
const IDLE_LOOK: StdDuration = StdDuration::from_secs(5);

/// The cache of a peer, and how far it was offered.
#[derive(Default)]
pub struct Holdings {
    /// Where the last block is of each segment that is still to be offered.
    left: Vec<SlotId>,
    /// How often all was offered.
    passes: usize,
    pace: Pace,
}

/// When to offer more.
#[derive(Default)]
struct Pace {
    seen: Seen,
    /// When that changed last.
    moved: Instant,
    /// Whether all was offered once, or is.
    begun: bool,
    /// When all had been offered, and was taken.
    ended: Option<Instant>,
    /// Whether there is a reason to do so again soon.
    soon: bool,
    /// Whether a message has failed since the last one that was taken.
    away: bool,
    /// Segments and bytes of the portion that is on offer, and since when.
    segments: usize,
    bytes: u64,
    opened: Instant,
}

/// What a station has counted.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    /// Blocks that others have asked for.
    blocks: u32,
    /// Messages that were taken.
    messages: u32,
    /// Those that were not.
    failed: u32,
    /// Whether anything waits for a message.
    waits: bool,
}

impl Holdings {
    /// Offers as much as there is room for. After how long to come back.
    pub fn offer<const STREAMS: usize>(&mut self, station: &mut Station<STREAMS>) -> StdDuration {
        let (now, blocks) = (station.now(), station.node.counters().serve.blocks);
        let Some(offers) = station.node.offers() else { return IDLE_LOOK };
        let (counters, waits) = (offers.state.counters, offers.has_news());
        let seen = Seen { blocks, messages: counters.messages, failed: counters.failed, waits };
        if self.pace.look(now, seen, self.left.is_empty()) {
            self.left = last_blocks(&station.node.storage().blocks);
            // Who has no room for all takes what comes first: something else each time, and last what was taken before.
            let shift = (blocks as usize + self.passes / 2).checked_rem(self.left.len());
            self.left.rotate_right(shift.unwrap_or_default());
            self.passes += 1;
        }
        let mut any = false;
        while self.pace.has_room()
            && let Some(last) = self.left.pop()
        {
            // It may have gone meanwhile.
            let Some(descriptor) = describe(&station.node.storage().blocks, last) else { continue };
            let Some(mut offers) = station.node.offers() else { break };
            if !offers.here(now, &descriptor) {
                self.left.push(last);
                break;
            }
            self.pace.take(now, descriptor.segment_bytes);
            any = true;
        }
        match (any, self.left.is_empty()) {
            (true, _) => StdDuration::ZERO,
            (false, false) => LOOK,
            (false, true) => IDLE_LOOK,
        }
    }
}

impl Pace {
    /// Takes note of what has happened, and whether nothing is left to offer; whether to begin again with all.
    fn look(&mut self, now: Instant, seen: Seen, is_over: bool) -> bool {
        let before = std::mem::replace(&mut self.seen, seen);
        if seen != before || seen.waits {
            self.moved = now;
        }
        self.away |= seen.failed != before.failed;
        // Who was away may have lost what it had.
        let is_back = seen.messages != before.messages && std::mem::take(&mut self.away);
        self.soon |= is_back || seen.blocks != before.blocks;
        let in_time = now >= self.moved + QUIET;
        if in_time || !seen.waits && now >= self.opened + PATIENCE {
            (self.segments, self.bytes, self.opened) = (0, 0, now);
        }
        if !is_over || seen.waits {
            self.ended = None;
            return false;
        }
        let ended = *self.ended.get_or_insert(now);
        let begins = !std::mem::replace(&mut self.begun, true)
            || now >= ended + if self.soon { AGAIN_SOON } else { AGAIN };
        if begins {
            (self.ended, self.soon) = (None, false);
        }
        begins
    }

    fn has_room(&self) -> bool {
        self.segments < PORTION_SEGMENTS && self.bytes < PORTION_BYTES
    }

    fn take(&mut self, now: Instant, bytes: u32) {
        if self.segments == 0 {
            self.opened = now;
        }
        (self.segments, self.bytes) = (self.segments + 1, self.bytes + u64::from(bytes));
    }
}

/// Where the last block is of each segment that was verified.
fn last_blocks(blocks: &FileBlocks) -> Vec<SlotId> {
    let mut last = Vec::new();
    for slot in blocks.slots() {
        let Some((id, _)) = blocks.named_at(slot) else { continue };
        match last.last_mut() {
            // They are in the order of their names.
            Some((segment, at)) if *segment == id.segment => *at = slot,
            _ if id.segment.is_unverifiable() => {}
            _ => last.push((id.segment, slot)),
        }
    }
    last.into_iter().map(|(_, slot)| slot).collect()
}

/// A segment, as much of it as its last block tells; `None` for what has a name of another length, for which there is
/// no descriptor (2.2.1.5).
fn describe(blocks: &FileBlocks, last: SlotId) -> Option<Descriptor> {
    let (id, plain_len) = blocks.named_at(last)?;
    let segment = id.segment.as_bytes().try_into().ok()?;
    let segment_bytes = id.index.saturating_mul(BLOCK_BYTES).saturating_add(plain_len);
    // The only block of a segment may be content information 2.0; a hosted cache cannot tell.
    let (algorithm, block_bytes) = match id.index {
        0 => (HashAlgorithm::TruncatedSha512, plain_len),
        _ => (HashAlgorithm::Sha256, BLOCK_BYTES),
    };
    Some(Descriptor { block_bytes, segment_bytes, tag: DOWNLOAD_TAG, algorithm, segment })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A peer without anything left to offer.
    struct World {
        pace: Pace,
        seen: Seen,
        now: Instant,
    }

    impl World {
        /// One that has offered all.
        fn new() -> Self {
            let mut world =
                Self { pace: Pace::default(), seen: Seen::default(), now: Instant::from_millis(7) };
            assert!(world.begins(), "all is offered when it starts");
            world
        }

        fn begins(&mut self) -> bool {
            self.pace.look(self.now, self.seen, true)
        }

        /// After how many seconds all is offered again.
        fn again(&mut self) -> u64 {
            let begun = self.now;
            while !self.begins() {
                self.now += SECOND;
            }
            self.now.since(begun).millis() / 1_000
        }
    }

    #[test]
    fn all_is_offered_from_time_to_time() {
        let mut world = World::new();
        assert_eq!([world.again(), world.again()], [3_600, 3_600]);
    }

    /// What had no room is offered until nothing more is asked for.
    #[test]
    fn where_something_was_asked_for_there_may_be_more() {
        let mut world = World::new();
        world.seen.blocks += 5;
        assert_eq!([world.again(), world.again()], [10, 3_600]);
    }

    #[test]
    fn who_was_away_is_offered_all_again() {
        let mut world = World::new();
        world.seen.waits = true;
        for _ in 0..9_999 {
            world.now += SECOND;
            world.seen.failed += u32::from(world.now.since(Instant::ZERO).millis() % 30_000 < 1_000);
            assert!(!world.begins(), "what it was offered still waits");
        }
        (world.seen.waits, world.seen.messages) = (false, 1);
        assert_eq!([world.again(), world.again()], [10, 3_600]);
    }

    #[test]
    fn a_portion_at_a_time() {
        let mut world = World::new();
        let many = |world: &mut World| {
            let mut count = 0;
            while world.pace.has_room() {
                world.pace.take(world.now, 32 << 20);
                count += 1;
            }
            count
        };
        assert_eq!(many(&mut world), 4);
        // A hosted cache comes for it, and then for no more.
        for _ in 0..60 {
            world.now += SECOND;
            world.seen.blocks += 1;
            world.pace.look(world.now, world.seen, false);
            assert!(!world.pace.has_room());
        }
        world.now += SECOND;
        world.pace.look(world.now, world.seen, false);
        assert!(!world.pace.has_room());
        world.now += SECOND;
        world.pace.look(world.now, world.seen, false);
        assert_eq!(many(&mut world), 4);
        // Peers ask for blocks without end.
        let mut waited = 0;
        while !world.pace.has_room() {
            (waited, world.now) = (waited + 1, world.now + SECOND);
            world.seen.blocks += 1;
            world.pace.look(world.now, world.seen, false);
        }
        assert_eq!(waited, 300);
        while world.pace.has_room() {
            world.pace.take(world.now, 1);
        }
        assert_eq!(world.pace.segments, 256);
        // What waits for a message is waited for.
        world.seen.waits = true;
        world.now += Duration::from_secs(1_000);
        world.pace.look(world.now, world.seen, false);
        assert!(!world.pace.has_room());
    }
}
