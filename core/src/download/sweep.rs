//! The blocks of the stretch being downloaded: which to ask for next, among the peers and of the
//! origin.
//!
//! In a sweep every block that is not here yet is asked for once among the peers, in random order.
//! What nobody has is missing: it may go to the origin, and is asked for again in the next sweep.
//! While no peer answers at all, a sweep is a few blocks, as many as one probe can ask for.
//!
//! Where a [`Survey`] tells what peers have, only that is asked for, as soon as it is there, and all
//! the rest is missing at once.

use core::ops::Range;

use heapless::Vec;
use rand_core::CryptoRng;

use crate::fetch::{Cause, Failure, Failures, Survey};
use crate::retrieval::set::IndexSet;
use crate::retrieval::wire::Range as BlockRange;
use crate::time::{Duration, Instant};

/// How often blocks that nobody had are asked for again among the peers.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Blocks that are asked for to see whether anybody is there: as many as one probe can carry, so that a
/// peer which has only a part is hardly missed.
const CANARIES: u32 = 16;

/// Blocks whose failures are kept in full; of others it is only known whether any peer answered.
const NOTES: usize = 8;

/// Where each block of a stretch stands.
#[derive(Default)]
pub(super) struct Sweep {
    /// Not handed out yet.
    todo: IndexSet,
    /// Something is under way: a question, a request to the origin, handing out.
    busy: IndexSet,
    /// Asked for in this sweep.
    asked: IndexSet,
    /// No peer had it when it was last asked for.
    missing: IndexSet,
    /// Of the missing: no peer answered at all.
    alone: IndexSet,
    /// No peer gave it when it was asked for, or a request to the origin was given up since one had
    /// it: that is done once.
    tried: IndexSet,
    /// In the store when the stretch began.
    local: IndexSet,
    /// What peers have, where that is known without asking for each block.
    held: Option<IndexSet>,
    /// What they do not have, they do not have: all that can be known of it is known.
    settled: bool,
    /// Any peer has any of it.
    anybody: bool,
    notes: Vec<(u32, Failures), NOTES>,
    begun: Instant,
    /// Blocks asked for whose answer is awaited.
    awaited: u32,
    met_peers: bool,
    /// Only [`CANARIES`] of this sweep are asked for, unless they meet a peer.
    canary: bool,
    /// One of them met nobody: no others follow before all have come back.
    doubt: bool,
}

impl Sweep {
    /// The first sweep of a stretch, of which the blocks in `range` are wanted.
    pub(super) fn new(now: Instant, range: Range<u32>) -> Self {
        let mut todo = IndexSet::EMPTY;
        todo.insert_range(BlockRange { index: range.start, count: range.end.saturating_sub(range.start) });
        Self { todo, begun: now, canary: true, ..Self::default() }
    }

    /// Peers will be surveyed, beside whom the blocks in `local` are here.
    pub(super) fn expect_survey(&mut self, local: IndexSet) {
        (self.local, self.held, self.canary) = (local, Some(IndexSet::EMPTY), false);
    }

    /// What is known of the peers by now; whether they have more than before.
    pub(super) fn survey(&mut self, survey: &Survey) -> bool {
        let before = self.held.replace(survey.held).unwrap_or_default();
        (self.settled, self.anybody) = (survey.settled, survey.anybody);
        survey.held.union(&before) != before
    }

    /// Whether all that can be known of what peers do not have is known.
    pub(super) fn has_settled(&self) -> bool {
        self.settled
    }

    /// Whether a request to the origin can be given up, since a peer has the block and has not
    /// failed to give it; that can be done once.
    pub(super) fn give_up(&mut self, block: u32) -> bool {
        let held = self.held.as_ref().is_some_and(|held| held.contains(block));
        let drop = held && !self.tried.contains(block);
        if drop {
            self.tried.insert(block);
            self.busy.remove(block);
        }
        drop
    }

    /// Whether all is handed out.
    pub(super) fn is_done(&self) -> bool {
        self.todo.is_empty()
    }

    /// The next block to ask the peers for; it counts as asked.
    pub(super) fn next(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Option<u32> {
        if self.canary && (self.doubt || self.awaited >= CANARIES) {
            return None;
        }
        let open = self.todo.without(&self.busy).without(&self.asked);
        let open = match &self.held {
            Some(held) => open.intersection(&held.union(&self.local)),
            None => open,
        };
        let block = match pick(&open, rng) {
            None if self.begin_again(now) => return self.next(now, rng),
            block => block?,
        };
        self.ask(block);
        Some(block)
    }

    /// A block that is in the store already is asked for, outside the order.
    pub(super) fn ask(&mut self, block: u32) {
        self.asked.insert(block);
        self.busy.insert(block);
        self.awaited = self.awaited.saturating_add(1);
    }

    /// The block is here, and will be handed out. `from_peer` tells who gave it.
    pub(super) fn found(&mut self, block: u32, from_peer: bool) {
        self.answered(from_peer);
        self.missing.remove(block);
        self.notes.retain(|(noted, _)| *noted != block);
        self.spare_rest();
    }

    /// No peer had the block.
    pub(super) fn nobody(&mut self, block: u32, failures: Failures) {
        let alone = matches!(*failures, [Failure { peer: None, cause: Cause::NoPeer }]);
        self.answered(!alone);
        self.tried.insert(block);
        self.doubt |= self.canary && alone;
        self.put_back(block, failures);
        self.spare_rest();
    }

    /// Once all canaries have come back and met nobody, the rest of the sweep is missing without being asked
    /// for.
    fn spare_rest(&mut self) {
        if self.canary && self.doubt && self.awaited == 0 {
            (self.canary, self.doubt) = (false, false);
            let rest = self.todo.without(&self.busy).without(&self.asked);
            self.asked = self.asked.union(&self.todo);
            self.missing = self.missing.union(&rest);
            self.alone = self.alone.union(&rest);
        }
    }

    /// A peer has the block, and the store had no room for it: it is asked for anew.
    pub(super) fn no_room(&mut self, block: u32) {
        self.answered(true);
        self.lost(block);
    }

    /// The block has been handed out.
    pub(super) fn handed_out(&mut self, block: u32) {
        self.busy.remove(block);
        self.todo.remove(block);
    }

    /// The block was here, and is gone: it is looked for anew.
    pub(super) fn lost(&mut self, block: u32) {
        self.busy.remove(block);
        self.asked.remove(block);
    }

    /// A missing block to ask the origin for: any of those that it is soonest our turn for, unless
    /// `turn` gives more than `latest`.
    pub(super) fn wanted(
        &self,
        rng: &mut dyn CryptoRng,
        turn: &dyn Fn(u32) -> usize,
        latest: usize,
    ) -> Option<u32> {
        let missing = match &self.held {
            Some(held) if self.settled => {
                let nobodys = self.todo.without(held).without(&self.local);
                self.missing.union(&nobodys)
            }
            _ => self.missing,
        };
        let missing = missing.without(&self.busy).intersection(&self.todo);
        let (mut first, mut ours) = (latest, IndexSet::EMPTY);
        for block in missing.iter() {
            let turn = turn(block);
            if turn < first {
                (first, ours) = (turn, IndexSet::EMPTY);
            }
            if turn == first {
                ours.insert(block);
            }
        }
        pick(&ours, rng)
    }

    /// The block may come from elsewhere without our doing: it is looked for in the next sweep.
    pub(super) fn wait_for(&mut self, block: u32) {
        self.busy.remove(block);
        self.missing.remove(block);
        self.asked.insert(block);
    }

    /// The origin is asked for the block: why no peer gave it.
    pub(super) fn take(&mut self, block: u32) -> Failures {
        self.missing.remove(block);
        self.busy.insert(block);
        match self.notes.iter().position(|(noted, _)| *noted == block) {
            Some(position) => self.notes.swap_remove(position).1,
            None => {
                let alone = self.alone.contains(block) || (self.held.is_some() && !self.anybody);
                let cause = if alone { Cause::NoPeer } else { Cause::NotHeld };
                let mut failures = Failures::new();
                // An empty list has room for one.
                let _ = failures.push(Failure { peer: None, cause });
                failures
            }
        }
    }

    /// The origin did not give the block after all.
    pub(super) fn put_back(&mut self, block: u32, failures: Failures) {
        self.busy.remove(block);
        self.missing.insert(block);
        self.notes.retain(|(noted, _)| *noted != block);
        if matches!(*failures, [Failure { peer: None, cause: Cause::NoPeer }]) {
            self.alone.insert(block);
            return;
        }
        self.alone.remove(block);
        // A block whose peer failed is worth a note more than one that nobody held.
        let plain = |(_, failures): &(u32, Failures)| failures.iter().all(|it| it.cause == Cause::NotHeld);
        if self.notes.is_full() {
            let position = self.notes.iter().position(plain).unwrap_or(0);
            if position < self.notes.len() {
                self.notes.swap_remove(position);
            }
        }
        let _ = self.notes.push((block, failures));
    }

    /// When the next sweep begins.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.begun + ASK_AGAIN
    }

    fn answered(&mut self, met_peer: bool) {
        self.awaited = self.awaited.saturating_sub(1);
        self.met_peers |= met_peer;
        if met_peer {
            (self.canary, self.doubt) = (false, false);
        }
    }

    fn begin_again(&mut self, now: Instant) -> bool {
        let again = self.awaited == 0 && now >= self.begun + ASK_AGAIN;
        if again {
            self.begun = now;
            self.asked = IndexSet::EMPTY;
            self.canary = !core::mem::take(&mut self.met_peers) && self.held.is_none();
        }
        again
    }
}

/// Any of `blocks`.
fn pick(blocks: &IndexSet, rng: &mut dyn CryptoRng) -> Option<u32> {
    let count = blocks.count();
    let nth = if count > 1 { rng.next_u32().checked_rem(count)? } else { 0 };
    blocks.iter().nth(nth as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;
    use rand_core::{TryCryptoRng, TryRng};

    /// Always draws the same number.
    struct Fixed(u32);

    impl TryRng for Fixed {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(self.0)
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            Ok(self.0.into())
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
            bytes.fill(self.0 as u8);
            Ok(())
        }
    }

    impl TryCryptoRng for Fixed {}

    fn failures(cause: Cause) -> Failures {
        let peer = (cause != Cause::NoPeer).then(|| ([10, 0, 0, 7], 80).into());
        Failures::from_slice(&[Failure { peer, cause }]).unwrap()
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn every_block_is_asked_for_once_a_sweep() {
        let mut sweep = Sweep::new(at(0), 3..7);
        let rng = &mut Fixed(1);
        let asked: Vec<u32, 4> = (0..4).map(|_| sweep.next(at(0), rng).unwrap()).collect();
        assert_eq!(asked, [4, 5, 6, 3]);
        assert_eq!(sweep.next(at(0), rng), None);
        assert_eq!(sweep.wanted(rng, &|_| 0, 0), None, "none is missing while it is being asked for");

        sweep.found(4, true);
        sweep.handed_out(4);
        for block in [5, 6, 3] {
            sweep.nobody(block, failures(Cause::NotHeld));
        }
        assert_eq!(sweep.next(at(999), rng), None);
        assert_eq!(sweep.wanted(rng, &|_| 0, 0), Some(5));
        assert_eq!(*sweep.take(5), *failures(Cause::NotHeld));
        assert_eq!(sweep.next(at(1_000), rng), Some(6), "a new sweep begins");
        assert_eq!(sweep.next(at(1_000), rng), Some(3));
        assert_eq!(sweep.next(at(1_000), rng), None, "one is being fetched, one is done");
        for block in [5, 6, 3] {
            sweep.found(block, false);
            sweep.handed_out(block);
        }
        assert!(sweep.is_done());
    }

    /// Asks for what can be asked for: how many.
    fn ask(sweep: &mut Sweep, millis: u64) -> u32 {
        (0..).take_while(|_| sweep.next(at(millis), &mut Fixed(0)).is_some()).count() as u32
    }

    #[test]
    fn canaries_look_whether_anybody_is_there() {
        let mut sweep = Sweep::new(at(0), 0..100);
        let rng = &mut Fixed(0);
        assert_eq!(ask(&mut sweep, 0), 16);
        assert_eq!(sweep.wanted(rng, &|_| 0, 0), None);
        for block in 0..16 {
            assert_eq!(ask(&mut sweep, 300), 0, "the canaries are out");
            sweep.nobody(block, failures(Cause::NoPeer));
        }
        assert_eq!(ask(&mut sweep, 300), 0, "nobody there");
        sweep.missing.iter().for_each(|block| assert!(sweep.alone.contains(block)));
        assert_eq!(sweep.missing.count(), 100, "all may come from the origin");
        assert_eq!(*sweep.take(99), *failures(Cause::NoPeer));

        assert_eq!(ask(&mut sweep, 1_000), 16, "others may have come");
        sweep.nobody(0, failures(Cause::NoPeer));
        sweep.nobody(1, failures(Cause::NotHeld));
        assert_eq!(ask(&mut sweep, 1_000), 99 - 16, "somebody came");
    }

    /// What is in the store already is read whether peers are there or not.
    #[test]
    fn local_blocks_are_no_canaries() {
        let mut sweep = Sweep::new(at(0), 0..100);
        for block in 0..50 {
            assert_eq!(sweep.next(at(0), &mut Fixed(0)), Some(block));
            sweep.found(block, false);
            sweep.handed_out(block);
        }
        assert_eq!(ask(&mut sweep, 0), 16);
        assert_eq!(sweep.todo.count(), 50);
    }

    #[test]
    fn what_went_wrong_is_remembered_before_what_nobody_held() {
        let mut sweep = Sweep::new(at(0), 0..20);
        let rng = &mut Fixed(0);
        for block in 0..20 {
            assert_eq!(sweep.next(at(0), rng), Some(block));
            let cause = if block == 0 { Cause::BadBlock } else { Cause::NotHeld };
            sweep.nobody(block, failures(cause));
        }
        assert_eq!(*sweep.take(0), *failures(Cause::BadBlock));
        // Forgotten, but not made up.
        assert_eq!(*sweep.take(1), [Failure { peer: None, cause: Cause::NotHeld }]);
        sweep.put_back(1, failures(Cause::NoPeer));
        assert_eq!(*sweep.take(1), *failures(Cause::NoPeer));
    }

    #[test]
    fn what_rotted_is_asked_for_again() {
        let mut sweep = Sweep::new(at(0), 0..1);
        let rng = &mut Fixed(0);
        assert_eq!(sweep.next(at(0), rng), Some(0));
        sweep.found(0, true);
        sweep.lost(0);
        assert_eq!(sweep.next(at(0), rng), Some(0));
    }
}
