//! The peers that we know of: how much to ask of each at a time, and whom not to ask for a while.

use core::net::{IpAddr, SocketAddr};

use heapless::Vec;

use super::Cause;
use super::tick::{Tick, least};
use crate::limits::{BLOCK_BYTES, REQUEST_TIMEOUT, rows};

/// Peers known at once, for each of which a set of them has a bit. Others count as surplus until one of these is
/// silent or shunned.
pub const MAX_PEERS: usize = rows(32, 12);
const _: () = assert!(MAX_PEERS <= PeerSet::BITS as usize && HOST_SHARE < MAX_PEERS);

/// Blocks asked of one peer at a time, at most; a server has 64 uploads for everybody (fact 48).
pub const MAX_WINDOW: u8 = 16;

/// Blocks asked of a peer at a time before it is known how fast it is.
const FIRST_WINDOW: u8 = 4;

/// The request timer in microseconds.
const TIMER: u32 = REQUEST_TIMEOUT.micros() as u32;

/// An exchange that took this long, in microseconds, came near to the end of its request timer (fact
/// 38).
const LATE: u32 = TIMER / 2;

/// How long a peer is shunned that sent something wrong, in milliseconds.
const LIAR: u32 = 300_000;

/// How long a peer rests that could not be reached, in milliseconds.
const ABSENT: u32 = 5_000;

/// How long a peer rests after [`SLOW_STRIKES`] time-outs in a row, in milliseconds.
const SLOW: u32 = 5_000;

/// Time-outs that make a peer slow. One alone may be a lost frame.
const SLOW_STRIKES: u8 = 3;

/// How long a peer may keep us waiting for blocks that it does not have, all questions together,
/// before it rests, in microseconds: a first window of them, each to the end of its request timer.
const PATIENCE: u32 = TIMER * FIRST_WINDOW as u32;

/// After a peer has refused a connection, so many of its answers pass before its window may grow again.
const CROWDED: u8 = 64;

/// Ports of one host that are known at once. One is usual; who names many at a time must not take the
/// places of others.
const HOST_SHARE: usize = 4;

/// A peer that was silent for more milliseconds than this gives way to one that is new.
const STALE: u32 = 10_000;

/// How often in a row a peer that gave us blocks may turn out not to have another one before
/// it is no longer asked without a probe.
const TRUST: u8 = 4;

/// A set of known peers, one bit for each by its place in the table.
pub(super) type PeerSet = u32;

/// The places of the peers in `set`.
pub(super) fn places(set: PeerSet) -> impl Iterator<Item = u8> {
    let mut left = set;
    core::iter::from_fn(move || {
        let place = left.trailing_zeros() as u8;
        let found = left != 0;
        left &= left.wrapping_sub(1);
        found.then_some(place)
    })
}

/// The set of one.
pub(super) const fn only(place: u8) -> PeerSet {
    (1 as PeerSet).wrapping_shl(place as u32)
}

/// The table.
#[derive(Default)]
pub(super) struct Peers {
    table: Vec<Peer, MAX_PEERS>,
    /// Those whose blocks are being verified: they keep their places, so that nobody else is blamed.
    pub(super) on_trial: PeerSet,
}

pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// It said something of use then.
    heard: Tick,
    /// From then on it is not asked,
    rests: Tick,
    /// for so many milliseconds.
    rest: u32,
    /// Microseconds that the quickest of all answers took, for a full block.
    best: u32,
    /// Microseconds that it took to say that it does not have a block, all in all since it last gave
    /// one.
    wasted: u32,
    /// It rests since it lied.
    liar: bool,
    strikes: u8,
    /// Questions that it may have at a time.
    window: u8,
    /// Questions that it has.
    asked: u8,
    /// Quick answers since the window grew.
    quick: u8,
    /// Good answers that are still to come before the window may grow.
    crowded: u8,
    trust: u8,
}

impl Peer {
    fn new(now: Tick, address: SocketAddr) -> Self {
        Self {
            address,
            heard: now,
            rests: now,
            rest: 0,
            best: TIMER,
            wasted: 0,
            liar: false,
            strikes: 0,
            window: FIRST_WINDOW,
            asked: 0,
            quick: 0,
            crowded: 0,
            trust: 0,
        }
    }

    /// For how much longer it rests, in milliseconds.
    fn rest(&self, now: Tick) -> u32 {
        self.rest.saturating_sub(self.rests.age(now))
    }

    /// Lets it rest for so many milliseconds at least. Whether it lies is known until its rest is over.
    fn calm(&mut self, now: Tick, rest: u32, lied: bool) {
        let left = self.rest(now);
        self.liar = lied || (self.liar && left > 0);
        (self.rests, self.rest) = (now, left.max(rest));
    }

    fn shrink(&mut self, window: u8) {
        (self.window, self.quick) = (window.max(1), 0);
    }

    /// The less, the sooner it gives way to another: who was silent for longest, then who rests, then
    /// the liar who has atoned most. Others stay.
    fn rank(&self, now: Tick) -> Option<u32> {
        /// More than any rest, and than any silence that counts.
        const CLASS: u32 = 1 << 30;
        match (self.rest(now), self.heard.age(now)) {
            _ if self.asked > 0 => None,
            (0, silent) => (silent > STALE).then(|| CLASS.saturating_sub(silent)),
            (rest, _) if self.liar => Some(rest.saturating_add(2 * CLASS)),
            (rest, _) => Some(rest.saturating_add(CLASS)),
        }
    }
}

impl Peers {
    /// The place of a peer, if it is known.
    #[inline(never)]
    pub(super) fn place(&self, address: SocketAddr) -> Option<u8> {
        self.table.iter().position(|peer| peer.address == address).map(|place| place as u8)
    }

    /// The peer in a place.
    pub(super) fn get(&self, place: u8) -> Option<&Peer> {
        self.table.get(usize::from(place))
    }

    /// Its address.
    #[inline(never)]
    pub(super) fn address(&self, place: u8) -> Option<SocketAddr> {
        self.get(place).map(|peer| peer.address)
    }

    fn get_mut(&mut self, place: u8) -> Option<&mut Peer> {
        self.table.get_mut(usize::from(place))
    }

    /// The ports that are known of a host.
    #[inline(never)]
    fn ports(&self, host: IpAddr) -> PeerSet {
        self.filter(&|peer| peer.address.ip() == host)
    }

    fn filter(&self, is_one: &dyn Fn(&Peer) -> bool) -> PeerSet {
        let mut set = 0;
        for (place, peer) in (0..).zip(&self.table) {
            set |= if is_one(peer) { only(place) } else { 0 };
        }
        set
    }

    /// A place for a peer that answered, and whether another one has lost it: whatever was noted by
    /// place has to be forgotten then. `None` if all places are in use, or all that its host may have.
    #[inline(never)]
    pub(super) fn meet(&mut self, now: Tick, address: SocketAddr) -> Option<(u8, bool)> {
        if let Some(place) = self.place(address) {
            self.get_mut(place)?.heard = now;
            return Some((place, false));
        }
        let beside = self.ports(address.ip());
        let crowded = beside.count_ones() as usize >= HOST_SHARE;
        if !crowded && !self.table.is_full() {
            let _ = self.table.push(Peer::new(now, address));
            return Some((self.table.len() as u8 - 1, false));
        }
        let among = if crowded { beside } else { PeerSet::MAX } & !self.on_trial;
        let ranks = (0..).zip(&self.table);
        let ranks = ranks.map(|(place, peer)| if among & only(place) != 0 { peer.rank(now) } else { None });
        let place = least(ranks)? as u8;
        *self.get_mut(place)? = Peer::new(now, address);
        Some((place, true))
    }

    /// Those in `set` that may be asked now.
    #[inline(never)]
    pub(super) fn willing(&self, now: Tick, set: PeerSet) -> PeerSet {
        let mut willing = set & self.filter(&|peer| peer.rest(now) == 0);
        // Another port makes no other host of a liar.
        for liar in places(self.filter(&|peer| peer.liar && peer.rest(now) > 0)) {
            willing &= !self.get(liar).map_or(0, |liar| self.ports(liar.address.ip()));
        }
        willing
    }

    /// Those that may be asked without a probe: they gave us blocks not long ago.
    #[inline(never)]
    pub(super) fn trusted(&self, now: Tick) -> PeerSet {
        self.filter(&|peer| peer.trust > 0 && peer.heard.age(now) <= STALE)
    }

    /// How many of its questions a peer has, and may have.
    pub(super) fn load(&self, place: u8) -> (u8, u8) {
        self.get(place).map_or((0, 0), |peer| (peer.asked, peer.window))
    }

    /// Whether a peer may have another question, and `reach` says that it can be carried to it.
    pub(super) fn is_free(&self, place: u8, reach: &dyn Fn(SocketAddr) -> bool) -> bool {
        self.get(place).is_some_and(|peer| peer.asked < peer.window && reach(peer.address))
    }

    /// A question goes to a peer.
    pub(super) fn asked(&mut self, place: u8) {
        if let Some(peer) = self.get_mut(place) {
            peer.asked = peer.asked.saturating_add(1);
        }
    }

    /// A question to a peer is over, however it ended.
    pub(super) fn over(&mut self, place: u8) {
        if let Some(peer) = self.get_mut(place) {
            peer.asked = peer.asked.saturating_sub(1);
        }
    }

    /// A good answer came from a peer, that says nothing of how fast blocks come.
    pub(super) fn heard(&mut self, now: Tick, place: u8) {
        if let Some(peer) = self.get_mut(place) {
            (peer.heard, peer.strikes) = (now, 0);
        }
    }

    /// A good answer came from a peer: a block of `len` bytes, after `took` microseconds.
    #[inline(never)]
    pub(super) fn answered(&mut self, now: Tick, place: u8, took: u32, len: u32) {
        const UNIT: u32 = BLOCK_BYTES >> 10;
        let Some(peer) = self.get_mut(place) else { return };
        (peer.heard, peer.strikes) = (now, 0);
        // Quick is what a full block would be: what a few bytes took says nothing of the next ones.
        let full = (took.min(TIMER) << 10) / (len / UNIT).max(1);
        peer.best = peer.best.min(full);
        // What goes to it at a time it must be able to deliver within the request timer: the window
        // shrinks with each answer that was nearly too late. It grows whenever a whole window came
        // about as quickly as a single block would: while questions only wait for one another,
        // more of them bring nothing but full queues.
        if took > LATE {
            peer.shrink(peer.window.saturating_sub(1));
        } else if peer.crowded > 0 {
            peer.crowded = peer.crowded.saturating_sub(1);
        } else if full <= peer.best.saturating_mul(3) / 2 {
            peer.quick = peer.quick.saturating_add(1);
            if peer.quick >= peer.window {
                (peer.window, peer.quick) = (peer.window.saturating_add(1).min(MAX_WINDOW), 0);
            }
        }
    }

    /// A peer takes no more than so many connections of ours, which have a question each.
    pub(super) fn crowded(&mut self, place: u8, connections: u8) {
        if let Some(peer) = self.get_mut(place) {
            peer.shrink(peer.window.min(connections));
            peer.crowded = CROWDED;
        }
    }

    /// A peer has given us a block that verified.
    pub(super) fn trust(&mut self, place: u8) {
        if let Some(peer) = self.get_mut(place) {
            (peer.trust, peer.wasted) = (TRUST, 0);
        }
    }

    /// A peer has given us a block that nobody can verify: that is no reason to trust it, but it did not keep us
    /// waiting for nothing.
    pub(super) fn made_up(&mut self, place: u8) {
        if let Some(peer) = self.get_mut(place) {
            peer.wasted = 0;
        }
    }

    /// A peer does not have what it was thought to have, or is too busy to send it, and took so many
    /// microseconds to say so; whether it rests from now on. An honest "no" is quick; who is slow with it
    /// every time rests for as long as it has kept us waiting, which is longer each time.
    pub(super) fn disappoint(&mut self, now: Tick, place: u8, took: u32) -> bool {
        let Some(peer) = self.get_mut(place) else { return false };
        peer.trust = peer.trust.saturating_sub(1);
        peer.shrink(peer.window.saturating_sub(1));
        peer.wasted = peer.wasted.saturating_add(took).min(LIAR * 1_000);
        let rests = peer.wasted >= PATIENCE;
        if rests {
            peer.calm(now, peer.wasted / 1_000, false);
        }
        rests
    }

    /// Counts `cause` against a peer; whether it is shunned from now on. What is wrong is only then
    /// a lie if it is `certain` that content information is right.
    #[inline(never)]
    pub(super) fn punish(&mut self, now: Tick, place: u8, cause: Cause, certain: bool) -> bool {
        let Some(peer) = self.get_mut(place) else { return false };
        let timed_out = cause == Cause::TimedOut;
        if timed_out {
            peer.strikes = peer.strikes.saturating_add(1);
            peer.shrink(peer.window / 2);
        }
        let rest = match cause {
            Cause::BadBlock | Cause::BadReply if certain => LIAR,
            Cause::BadBlock | Cause::BadReply | Cause::Unreachable | Cause::Broken | Cause::Refused => ABSENT,
            Cause::TimedOut if peer.strikes >= SLOW_STRIKES => SLOW,
            // An honest "no", a lost frame, and what is not the peer's fault.
            Cause::TimedOut
            | Cause::NotHeld
            | Cause::NoPeer
            | Cause::Shunned
            | Cause::StoreFull
            | Cause::OnItsWay => return false,
        };
        if !timed_out {
            peer.strikes = 0;
        }
        peer.trust = 0;
        // Anybody can name another's port as its own: what is no reply at all says nothing of the host.
        peer.calm(now, rest, rest == LIAR && cause == Cause::BadBlock);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Duration, Instant};
    use core::net::Ipv4Addr;

    const NOW: Tick = Tick::of(Instant::from_millis(60_000));

    fn address(last: u8) -> SocketAddr {
        (Ipv4Addr::new(10, 0, 0, last), 80).into()
    }

    fn peers(count: u8) -> Peers {
        let mut peers = Peers::default();
        (0..count).for_each(|last| assert_eq!(peers.meet(NOW, address(last)), Some((last, false))));
        peers
    }

    fn is_shunned(peers: &Peers, after: u64, place: u8) -> bool {
        peers.willing(NOW + Duration::from_secs(after), only(place)) == 0
    }

    #[test]
    fn a_liar_is_shunned_at_once_and_for_long() {
        let mut peers = peers(3);
        assert!(peers.punish(NOW, 1, Cause::BadBlock, true));
        assert!(is_shunned(&peers, 299, 1) && !is_shunned(&peers, 300, 1));
        let (other_port, _) = peers.meet(NOW, SocketAddr::new(address(1).ip(), 8_080)).unwrap();
        assert!(is_shunned(&peers, 0, other_port), "it is the same host");
        assert!(!is_shunned(&peers, 0, 2));
        assert!(!peers.punish(NOW, 2, Cause::NotHeld, true));
        assert!(!is_shunned(&peers, 0, 2));
    }

    /// Anybody can name a port of another host that speaks no HTTP.
    #[test]
    fn what_is_no_reply_shuns_one_port() {
        let mut peers = peers(2);
        assert!(peers.punish(NOW, 1, Cause::BadReply, true));
        let (other_port, _) = peers.meet(NOW, SocketAddr::new(address(1).ip(), 8_080)).unwrap();
        assert!(is_shunned(&peers, 299, 1) && !is_shunned(&peers, 0, other_port));
    }

    #[test]
    fn a_short_block_proves_no_lie() {
        let mut peers = peers(2);
        assert!(peers.punish(NOW, 1, Cause::BadBlock, false));
        assert!(is_shunned(&peers, 4, 1) && !is_shunned(&peers, 5, 1));
    }

    #[test]
    fn one_time_out_may_be_a_lost_frame() {
        let mut peers = peers(2);
        assert!(!peers.punish(NOW, 1, Cause::TimedOut, true));
        assert!(!peers.punish(NOW, 1, Cause::TimedOut, true));
        assert!(!is_shunned(&peers, 0, 1));
        assert!(peers.punish(NOW, 1, Cause::TimedOut, true));
        assert!(is_shunned(&peers, 4, 1));
    }

    /// Who refused a connection is asked over those that it took; later, whether it takes more by then.
    #[test]
    fn a_window_as_wide_as_the_connections_that_were_taken() {
        let mut peers = peers(1);
        peers.crowded(0, 2);
        assert_eq!(peers.load(0).1, 2);
        assert!(!is_shunned(&peers, 0, 0));
        peers.crowded(0, 3);
        assert_eq!(peers.load(0).1, 2, "a window does not grow by that");
        let mut answers = 0;
        while peers.load(0).1 == 2 {
            peers.answered(NOW, 0, 1_000, BLOCK_BYTES);
            answers += 1;
        }
        assert_eq!(answers, u32::from(CROWDED) + 2);
        peers.crowded(0, 0);
        assert_eq!(peers.load(0).1, 1);
    }

    #[test]
    fn an_answer_in_time_forgives_time_outs() {
        let mut peers = peers(2);
        for _ in 0..10 {
            assert!(!peers.punish(NOW, 1, Cause::TimedOut, true));
            assert!(!peers.punish(NOW, 1, Cause::TimedOut, true));
            peers.answered(NOW, 1, 0, BLOCK_BYTES);
        }
        assert!(!is_shunned(&peers, 0, 1));
    }

    /// Fact 38: what is asked at a time is what the peer can deliver within its 2 s.
    #[test]
    fn the_window_follows_what_a_peer_delivers() {
        let mut peers = peers(1);
        let window = |peers: &Peers| peers.load(0).1;
        assert_eq!(window(&peers), 4);
        (0..4).for_each(|_| peers.answered(NOW, 0, 100_000, BLOCK_BYTES));
        assert_eq!(window(&peers), 5, "a whole window came quickly");
        (0..9).for_each(|_| peers.answered(NOW, 0, 151_000, BLOCK_BYTES));
        assert_eq!(window(&peers), 5, "neither quick nor late");
        peers.answered(NOW, 0, 1_001_000, BLOCK_BYTES);
        assert_eq!(window(&peers), 4);
        peers.punish(NOW, 0, Cause::TimedOut, true);
        assert_eq!(window(&peers), 2);
        peers.disappoint(NOW, 0, 0);
        (0..3).for_each(|_| peers.answered(NOW, 0, 1_900_000, BLOCK_BYTES));
        assert_eq!(window(&peers), 1, "but never none");
        (0..1_000).for_each(|_| peers.answered(NOW, 0, 0, BLOCK_BYTES));
        assert_eq!(window(&peers), MAX_WINDOW);
    }

    /// The last block of a segment may have a few bytes, and comes in no time.
    #[test]
    fn a_short_block_does_not_make_full_ones_slow() {
        let mut peers = peers(1);
        peers.answered(NOW, 0, 1_000, 100);
        (0..4).for_each(|_| peers.answered(NOW, 0, 100_000, BLOCK_BYTES));
        assert_eq!(peers.load(0).1, 5);
        peers.answered(NOW, 0, 1_000, 0);
        assert_eq!(peers.load(0).1, 5);
    }

    /// Who claims to have everything, and has nothing, is asked less and less.
    #[test]
    fn who_is_slow_to_say_no_rests_longer_each_time() {
        let mut peers = peers(2);
        let slow = 1_990_000;
        assert!((0..4).all(|_| !peers.disappoint(NOW, 1, slow)));
        assert!(peers.disappoint(NOW, 1, slow));
        assert!(is_shunned(&peers, 9, 1) && !is_shunned(&peers, 10, 1) && !is_shunned(&peers, 0, 0));
        assert!(peers.disappoint(NOW, 1, slow));
        assert!(is_shunned(&peers, 11, 1) && !is_shunned(&peers, 12, 1));
        peers.trust(1);
        assert!(!peers.disappoint(NOW, 1, slow), "a block makes up for it");
        assert!((0..7_999).all(|_| !peers.disappoint(NOW, 0, 1_000)));
        assert_eq!(peers.load(0).1, 1, "who is quick to say so is only asked for less at a time");
    }

    #[test]
    fn trust_is_earned_with_blocks_and_lost_with_empty_hands() {
        let mut peers = peers(3);
        assert_eq!(peers.trusted(NOW), 0);
        peers.trust(1);
        peers.trust(2);
        assert_eq!(peers.trusted(NOW), 0b110);
        (0..TRUST).for_each(|_| assert!(!peers.disappoint(NOW, 1, 0)));
        assert_eq!(peers.trusted(NOW), 0b100);
        let after_stale = NOW + Duration::from_millis(STALE.into());
        assert_eq!(peers.trusted(after_stale), 0b100);
        assert_eq!(peers.trusted(after_stale + Duration::from_millis(1)), 0);
    }

    #[test]
    fn a_full_table_keeps_who_is_there_and_who_lied() {
        let mut peers = peers(MAX_PEERS as u8);
        assert_eq!(peers.meet(NOW, address(100)), None, "a flood of newcomers drives nobody out");
        peers.punish(NOW, 3, Cause::BadBlock, true);
        peers.punish(NOW, 7, Cause::Unreachable, true);
        assert_eq!(peers.meet(NOW, address(100)), Some((7, true)), "who rests goes first");
        assert_eq!(peers.meet(NOW, address(101)), Some((3, true)), "then a liar");
        let later = NOW + Duration::from_millis(u64::from(STALE) + 1);
        (1..MAX_PEERS as u8).for_each(|place| peers.answered(later, place, 0, BLOCK_BYTES));
        peers.asked(0);
        assert_eq!(peers.meet(later, address(102)), None, "who is being asked stays");
        peers.over(0);
        assert_eq!(peers.meet(later, address(102)), Some((0, true)), "who was silent goes");
    }

    /// A host has few ports, however many it names: a new one takes the place of one of its own.
    #[test]
    fn a_host_has_its_share_of_the_table() {
        let mut peers = Peers::default();
        let port = |port| SocketAddr::new(address(1).ip(), port);
        (0..HOST_SHARE as u16).for_each(|it| assert_eq!(peers.meet(NOW, port(it)), Some((it as u8, false))));
        assert_eq!(peers.meet(NOW, port(80)), None);
        assert_eq!(peers.meet(NOW, port(3)), Some((3, false)), "who is known stays so");
        assert_eq!(peers.meet(NOW, address(2)), Some((4, false)));
        peers.punish(NOW, 4, Cause::Unreachable, true);
        assert_eq!(peers.meet(NOW, port(80)), None, "another's place is not its own");
        peers.punish(NOW, 2, Cause::Unreachable, true);
        assert_eq!(peers.meet(NOW, port(80)), Some((2, true)));
    }

    #[test]
    fn sets_of_peers() {
        assert_eq!(places(0).count(), 0);
        assert!(places(0x8000_0005).eq([0, 2, 31]));
        assert_eq!(only(31), 0x8000_0000);
    }
}
