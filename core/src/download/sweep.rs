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
use crate::limits::rows;
use crate::retrieval::set::IndexSet;
use crate::retrieval::wire::Range as BlockRange;
use crate::time::{Duration, Instant};

/// How often blocks that nobody had are asked for again among the peers.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Blocks that are asked for to see whether anybody is there: as many as one probe can carry, so that a
/// peer which has only a part is hardly missed.
const CANARIES: u32 = 16;

/// Failures that are kept, of all blocks; of others it is only known whether any peer answered.
const NOTES: usize = rows(16, 4);

/// Not handed out yet.
const TODO: u8 = 1 << 0;
/// Something is under way: a question, a request to the origin, handing out.
const BUSY: u8 = 1 << 1;
/// Asked for in this sweep.
const ASKED: u8 = 1 << 2;
/// No peer had it when it was last asked for.
const MISSING: u8 = 1 << 3;
/// No peer answered at all when it was last asked for, which is all that failed.
const ALONE: u8 = 1 << 4;
/// No peer gave it when it was asked for, or a request to the origin was given up since one had
/// it: that is done once.
const TRIED: u8 = 1 << 5;
/// In the store when the stretch began.
const LOCAL: u8 = 1 << 6;
/// A peer has it, where that is known without asking for each block.
const HELD: u8 = 1 << 7;

/// Marks of so many blocks, a bit of each word for one.
const BITS: u32 = u32::BITS;

/// The words of each mark, in the order of the marks.
type Marks = [u32; u8::BITS as usize];

/// One bit for each block of a stretch.
type Bits = [u32; WORDS];

const WORDS: usize = super::stretch::STRETCH_BLOCKS.div_ceil(BITS) as usize;

/// One thing that failed on the way to a block.
struct Note {
    block: u32,
    failure: Failure,
}

/// Where each block of a stretch stands.
// Small fields come first: a microcontroller reaches those with short instructions.
#[derive(Default)]
#[repr(C)]
pub(super) struct Sweep {
    begun: Instant,
    /// Blocks asked for whose answer is awaited.
    awaited: u32,
    /// What peers have is known without asking for each block.
    surveyed: bool,
    /// What they do not have, they do not have: all that can be known of it is known.
    settled: bool,
    /// Any peer has any of it.
    anybody: bool,
    met_peers: bool,
    /// Only [`CANARIES`] of this sweep are asked for, unless they meet a peer.
    canary: bool,
    /// One of them met nobody: no others follow before all have come back.
    doubt: bool,
    /// Who does not have a block is met in vain.
    spare: bool,
    marks: [Marks; WORDS],
    notes: Vec<Note, NOTES>,
}

impl Sweep {
    /// Begins the first sweep of a stretch, of which the blocks in `range` are wanted.
    #[inline(never)]
    pub(super) fn begin(&mut self, now: Instant, range: Range<u32>) {
        let mut todo = IndexSet::EMPTY;
        todo.insert_range(BlockRange { index: range.start, count: range.end.saturating_sub(range.start) });
        for (marks, todo) in self.marks.iter_mut().zip(todo.words()) {
            *marks = [*todo, 0, 0, 0, 0, 0, 0, 0];
        }
        self.notes.clear();
        (self.begun, self.awaited) = (now, 0);
        (self.surveyed, self.settled, self.anybody) = (false, false, false);
        (self.met_peers, self.canary, self.doubt, self.spare) = (false, true, false, false);
    }

    /// Peers will be surveyed.
    pub(super) fn expect_survey(&mut self) {
        (self.surveyed, self.canary) = (true, false);
    }

    /// Whether more than [`CANARIES`] are asked for only in a sweep that finds some of them.
    pub(super) fn spare(&mut self, spare: bool) {
        self.spare = spare;
    }

    /// The block is in the store, so that no peer needs to have it.
    pub(super) fn is_here(&mut self, block: u32) {
        self.mark(block, LOCAL, 0);
    }

    /// What is known of the peers by now; whether they have more than before, or all is known that can be.
    #[inline(never)]
    pub(super) fn survey(&mut self, survey: &Survey) -> bool {
        let mut news = survey.settled != self.settled;
        for ([.., held], now) in self.marks.iter_mut().zip(survey.held.words()) {
            news |= now & !*held != 0;
            *held = *now;
        }
        (self.settled, self.anybody) = (survey.settled, survey.anybody);
        news
    }

    /// Blocks that peers have by now and did not have before, of those that are still to come; none where it was not known
    /// what they had.
    pub(super) fn newly_held(&self, survey: &Survey) -> u32 {
        if !self.settled || !self.anybody {
            return 0;
        }
        let words = self.marks.iter().zip(survey.held.words());
        words.map(|([todo, .., held], now)| (now & !held & todo).count_ones()).sum()
    }

    /// Whether a request to the origin can be given up, since a peer has the block and has not
    /// failed to give it; that can be done once.
    pub(super) fn give_up(&mut self, block: u32) -> bool {
        let drop = self.marks_of(block) & (HELD | TRIED) == HELD;
        if drop {
            self.mark(block, TRIED, BUSY);
        }
        drop
    }

    /// Whether all is handed out.
    pub(super) fn is_done(&self) -> bool {
        self.marks.iter().all(|[todo, ..]| *todo == 0)
    }

    /// The next block to ask the peers for; it counts as asked.
    #[inline(never)]
    pub(super) fn next(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Option<u32> {
        if self.canary && (self.doubt || self.awaited >= CANARIES) {
            return None;
        }
        let mut block = pick(&self.open(), rng);
        if block.is_none() && self.begin_again(now) {
            block = pick(&self.open(), rng);
        }
        self.ask(block?);
        block
    }

    /// Blocks that can be asked for in this sweep.
    fn open(&self) -> Bits {
        let everywhere = if self.surveyed { 0 } else { u32::MAX };
        let open = |[todo, busy, asked, _, _, _, local, held]: Marks| {
            todo & !busy & !asked & (held | local | everywhere)
        };
        self.marks.map(open)
    }

    /// A block that is in the store already is asked for, outside the order.
    pub(super) fn ask(&mut self, block: u32) {
        self.mark(block, ASKED | BUSY, 0);
        self.awaited = self.awaited.saturating_add(1);
    }

    /// The block is here, and will be handed out: another gave it, or the store. Returns whether it was asked for before,
    /// and nobody had it.
    pub(super) fn found(&mut self, block: u32, from_other: bool) -> bool {
        let in_vain = self.marks_of(block) & (MISSING | TRIED) == MISSING | TRIED;
        self.answered(from_other);
        self.mark(block, 0, MISSING);
        self.spare_rest();
        in_vain
    }

    /// No peer had the block.
    pub(super) fn nobody(&mut self, block: u32, failures: &[Failure]) {
        let alone = self.note(block, failures);
        let in_vain = alone || self.spare;
        self.answered(!in_vain);
        self.mark(block, TRIED, 0);
        self.doubt |= self.canary && in_vain;
        self.put_back(block);
        self.spare_rest();
    }

    /// Once all canaries have come back and met nobody, the rest of the sweep is missing without being asked
    /// for.
    fn spare_rest(&mut self) {
        if self.canary && self.doubt && self.awaited == 0 {
            (self.canary, self.doubt) = (false, false);
            for [todo, busy, asked, missing, alone, ..] in &mut self.marks {
                let rest = *todo & !*busy & !*asked;
                *asked |= *todo;
                *missing |= rest;
                *alone |= if self.spare { 0 } else { rest };
            }
        }
    }

    /// A peer has the block, and the store had no room for it: it is asked for anew.
    pub(super) fn no_room(&mut self, block: u32) {
        self.answered(true);
        self.lost(block);
    }

    /// The block has been handed out.
    pub(super) fn handed_out(&mut self, block: u32) {
        self.mark(block, 0, TODO | BUSY);
    }

    /// The block was here, and is gone: it is looked for anew.
    pub(super) fn lost(&mut self, block: u32) {
        self.mark(block, 0, ASKED | BUSY);
    }

    /// A missing block to ask the origin for: any of those that it is soonest our turn for, unless
    /// `turn` gives more than `latest`.
    #[inline(never)]
    pub(super) fn wanted(
        &self,
        rng: &mut dyn CryptoRng,
        turn: &dyn Fn(u32) -> usize,
        latest: usize,
    ) -> Option<u32> {
        let everywhere = if self.surveyed && self.settled { u32::MAX } else { 0 };
        let (mut soonest, mut ours) = (latest, [0; WORDS]);
        for (index, [todo, busy, _, missing, _, _, local, held]) in self.marks.iter().enumerate() {
            let mut left = todo & !busy & (missing | everywhere & !held & !local);
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left.wrapping_sub(1);
                let turn = turn((index as u32).wrapping_mul(BITS).wrapping_add(bit));
                if turn < soonest {
                    (soonest, ours) = (turn, [0; WORDS]);
                }
                if turn == soonest
                    && let Some(word) = ours.get_mut(index)
                {
                    *word |= 1 << bit;
                }
            }
        }
        pick(&ours, rng)
    }

    /// The block may come from elsewhere without our doing: it is looked for in the next sweep.
    pub(super) fn wait_for(&mut self, block: u32) {
        self.mark(block, ASKED, BUSY | MISSING);
    }

    /// The origin is asked for the block, since no peer gave it.
    pub(super) fn take(&mut self, block: u32) {
        let alone = self.surveyed && !self.anybody && self.notes.iter().all(|note| note.block != block);
        self.mark(block, BUSY | if alone { ALONE } else { 0 }, MISSING);
    }

    /// The origin did not give the block after all.
    pub(super) fn put_back(&mut self, block: u32) {
        self.mark(block, MISSING, BUSY);
    }

    /// What failed on the way to the block, of which at least something did if it was `missing`.
    #[inline(never)]
    pub(super) fn why(&mut self, block: u32, missing: bool) -> Failures {
        let mut failures = Failures::new();
        self.notes.retain(|note| {
            let its = note.block == block;
            if its {
                // There is room for all that were noted of a block.
                let _ = failures.push(note.failure);
            }
            !its
        });
        let alone = self.marks_of(block) & ALONE > 0;
        if failures.is_empty() && (missing || alone) {
            let cause = if alone { Cause::NoPeer } else { Cause::NotHeld };
            let _ = failures.push(Failure { peer: None, cause });
        }
        failures
    }

    /// Keeps what failed on the way to the block, in place of what did before; whether that is only that
    /// nobody answered.
    #[inline(never)]
    pub(super) fn note(&mut self, block: u32, failures: &[Failure]) -> bool {
        self.notes.retain(|note| note.block != block);
        if let [Failure { peer: None, cause: Cause::NoPeer }] = failures {
            self.mark(block, ALONE, 0);
            return true;
        }
        self.mark(block, 0, ALONE);
        for failure in failures {
            if self.notes.is_full() {
                // That a peer failed is worth a note more than that it does not have the block.
                let plain = |note: &Note| note.failure.cause == Cause::NotHeld;
                let mut left = self.notes.iter().position(plain).unwrap_or(0) as isize;
                self.notes.retain(|_| {
                    left -= 1;
                    left != -1
                });
            }
            let _ = self.notes.push(Note { block, failure: *failure });
        }
        false
    }

    /// When the next sweep begins.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.begun + ASK_AGAIN
    }

    fn answered(&mut self, met_peer: bool) {
        self.awaited = self.awaited.saturating_sub(1);
        if met_peer {
            self.met_peers = true;
            (self.canary, self.doubt) = (false, false);
        }
    }

    fn begin_again(&mut self, now: Instant) -> bool {
        let again = self.awaited == 0 && now >= self.poll_timeout();
        if again {
            self.begun = now;
            self.marks.iter_mut().for_each(|[_, _, asked, ..]| *asked = 0);
            self.canary = !core::mem::take(&mut self.met_peers) && !self.surveyed;
        }
        again
    }

    /// Sets some marks of a block, and takes others off it.
    #[inline(never)]
    fn mark(&mut self, block: u32, set: u8, take: u8) {
        let Some(marks) = self.marks.get_mut((block / BITS) as usize) else { return };
        let bit = 1 << (block % BITS);
        for (mark, word) in marks.iter_mut().enumerate() {
            if set >> mark & 1 > 0 {
                *word |= bit;
            }
            if take >> mark & 1 > 0 {
                *word &= !bit;
            }
        }
    }

    /// The marks that a block has.
    fn marks_of(&self, block: u32) -> u8 {
        let Some(marks) = self.marks.get((block / BITS) as usize) else { return 0 };
        marks.iter().rev().fold(0, |all, word| all << 1 | (word >> (block % BITS) & 1) as u8)
    }
}

/// Any of `blocks`.
#[inline(never)]
fn pick(blocks: &Bits, rng: &mut dyn CryptoRng) -> Option<u32> {
    let count = blocks.iter().map(|word| word.count_ones()).sum();
    let mut nth = if count > 1 { rng.next_u32().checked_rem(count)? } else { 0 };
    for (first, word) in (0u32..).step_by(BITS as usize).zip(blocks) {
        let mut left = *word;
        while left != 0 {
            if nth == 0 {
                return Some(first.saturating_add(left.trailing_zeros()));
            }
            nth -= 1;
            left &= left.wrapping_sub(1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Fixed;

    fn failures(cause: Cause) -> Failures {
        let peer = (cause != Cause::NoPeer).then(|| ([10, 0, 0, 7], 80).into());
        Failures::from_slice(&[Failure { peer, cause }]).unwrap()
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn sweep(range: Range<u32>) -> Sweep {
        let mut sweep = Sweep::default();
        sweep.begin(at(0), range);
        sweep
    }

    /// How many blocks have all of these marks.
    fn count(sweep: &Sweep, marks: u8) -> usize {
        (0..512).filter(|block| sweep.marks_of(*block) & marks == marks).count()
    }

    /// The origin gives the block: why no peer did.
    fn take(sweep: &mut Sweep, block: u32) -> Failures {
        sweep.take(block);
        sweep.why(block, true)
    }

    /// What a hosted cache had all along was not brought just now.
    #[test]
    fn what_is_newly_held() {
        let mut sweep = sweep(0..8);
        sweep.expect_survey();
        let held =
            |count, settled, anybody| Survey { held: IndexSet::up_to(count), anybody, settled, again: None };
        let mut newly = |survey| {
            let newly = sweep.newly_held(&survey);
            sweep.survey(&survey);
            newly
        };
        let told = [held(0, false, true), held(3, true, true), held(5, true, true)].map(&mut newly);
        assert_eq!(told, [0, 0, 2]);
        // It rests, and then tells again.
        let rested = [held(0, true, false), held(6, true, true), held(9, true, true)].map(&mut newly);
        assert_eq!(rested, [0, 0, 2], "the ninth is not wanted");
    }

    #[test]
    fn every_block_is_asked_for_once_a_sweep() {
        let mut sweep = sweep(3..7);
        let rng = &mut Fixed(1);
        let asked: Vec<u32, 4> = (0..4).map(|_| sweep.next(at(0), rng).unwrap()).collect();
        assert_eq!(asked, [4, 5, 6, 3]);
        assert_eq!(sweep.next(at(0), rng), None);
        assert_eq!(sweep.wanted(rng, &|_| 0, 0), None, "none is missing while it is being asked for");

        sweep.found(4, true);
        sweep.handed_out(4);
        for block in [5, 6, 3] {
            sweep.nobody(block, &failures(Cause::NotHeld));
        }
        assert_eq!(sweep.next(at(999), rng), None);
        assert_eq!(sweep.wanted(rng, &|_| 0, 0), Some(5));
        assert_eq!(*take(&mut sweep, 5), *failures(Cause::NotHeld));
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
        let mut sweep = sweep(0..100);
        let rng = &mut Fixed(0);
        assert_eq!(ask(&mut sweep, 0), 16);
        assert_eq!(sweep.wanted(rng, &|_| 0, 0), None);
        for block in 0..16 {
            assert_eq!(ask(&mut sweep, 300), 0, "the canaries are out");
            sweep.nobody(block, &failures(Cause::NoPeer));
        }
        assert_eq!(ask(&mut sweep, 300), 0, "nobody there");
        assert_eq!(count(&sweep, MISSING | ALONE), 100, "all may come from the origin");
        assert_eq!(*take(&mut sweep, 99), *failures(Cause::NoPeer));

        assert_eq!(ask(&mut sweep, 1_000), 16, "others may have come");
        sweep.nobody(0, &failures(Cause::NoPeer));
        sweep.nobody(1, &failures(Cause::NotHeld));
        assert_eq!(ask(&mut sweep, 1_000), 99 - 16, "somebody came");
    }

    /// Who waits for others asks for a few blocks, and for all once some are found; what nobody brought is no reason to
    /// say that nobody is there.
    #[test]
    fn who_waits_asks_for_little() {
        let mut sweep = sweep(0..100);
        sweep.spare(true);
        assert_eq!(ask(&mut sweep, 0), 16);
        for block in 0..16 {
            sweep.nobody(block, &failures(Cause::NotHeld));
        }
        assert_eq!(ask(&mut sweep, 999), 0);
        assert_eq!((count(&sweep, MISSING), count(&sweep, ALONE)), (100, 0));
        assert_eq!(ask(&mut sweep, 1_000), 16);
        assert!(sweep.found(3, true), "it was not there before");
        assert_eq!(ask(&mut sweep, 1_000), 100 - 16);
        assert!(!sweep.found(50, true), "it may have been there all along");
        // Whoever goes to the origin asks for all, found or not.
        let mut sweep = self::sweep(0..100);
        sweep.spare(false);
        assert_eq!(ask(&mut sweep, 0), 16);
        sweep.nobody(0, &failures(Cause::NotHeld));
        assert_eq!(ask(&mut sweep, 0), 100 - 16);
    }

    /// What is in the store already is read whether peers are there or not.
    #[test]
    fn local_blocks_are_no_canaries() {
        let mut sweep = sweep(0..100);
        for block in 0..50 {
            assert_eq!(sweep.next(at(0), &mut Fixed(0)), Some(block));
            sweep.found(block, false);
            sweep.handed_out(block);
        }
        assert_eq!(ask(&mut sweep, 0), 16);
        assert_eq!(count(&sweep, TODO), 50);
    }

    #[test]
    fn what_went_wrong_is_remembered_before_what_nobody_held() {
        let mut sweep = sweep(0..20);
        let rng = &mut Fixed(0);
        for block in 0..20 {
            assert_eq!(sweep.next(at(0), rng), Some(block));
            let cause = if block == 0 { Cause::BadBlock } else { Cause::NotHeld };
            sweep.nobody(block, &failures(cause));
        }
        assert_eq!(*take(&mut sweep, 0), *failures(Cause::BadBlock));
        // Forgotten, but not made up.
        assert_eq!(*take(&mut sweep, 1), [Failure { peer: None, cause: Cause::NotHeld }]);
        sweep.nobody(1, &failures(Cause::NoPeer));
        assert_eq!(*take(&mut sweep, 1), *failures(Cause::NoPeer));
    }

    #[test]
    fn what_rotted_is_asked_for_again() {
        let mut sweep = sweep(0..1);
        let rng = &mut Fixed(0);
        assert_eq!(sweep.next(at(0), rng), Some(0));
        sweep.found(0, true);
        sweep.lost(0);
        assert_eq!(sweep.next(at(0), rng), Some(0));
    }
}
