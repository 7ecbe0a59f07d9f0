//! The peers that we know of: how much to ask of each at a time, and whom not to ask for a while.

use core::net::SocketAddr;

use heapless::Vec;

use super::Cause;
use crate::limits::{BLOCK_BYTES, REQUEST_TIMEOUT};
use crate::time::{Duration, Instant};

/// Peers known at once: as many as a set of them has bits.
pub const MAX_PEERS: usize = PeerSet::BITS as usize;

/// Blocks asked of one peer at a time, at most; a server has 64 uploads for everybody (fact 48).
pub const MAX_WINDOW: u8 = 16;

/// Blocks asked of a peer at a time before it is known how fast it is.
const FIRST_WINDOW: u8 = 4;

/// An exchange that took this long came near to the end of its request timer (fact 38).
const LATE: Duration = Duration::from_micros(REQUEST_TIMEOUT.micros() / 2);

/// How long a peer is shunned that sent something wrong.
const LIAR: Duration = Duration::from_secs(300);

/// How long a peer rests that could not be reached.
const ABSENT: Duration = Duration::from_secs(5);

/// How long a peer rests after [`SLOW_STRIKES`] time-outs in a row.
const SLOW: Duration = Duration::from_secs(5);

/// Time-outs that make a peer slow. One alone may be a lost frame.
const SLOW_STRIKES: u8 = 3;

/// How long a peer may keep us waiting for blocks that it does not have, all questions together,
/// before it rests: a first window of them, each to the end of its request timer.
const PATIENCE: Duration = Duration::from_micros(REQUEST_TIMEOUT.micros() * FIRST_WINDOW as u64);

/// Ports of one host that are known at once. One is usual; who names many at a time must not take the
/// places of others.
const HOST_SHARE: usize = 4;

/// A peer that was silent for this long gives way to one that is new.
const STALE: Duration = Duration::from_secs(10);

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
pub(super) struct Peers(Vec<Peer, MAX_PEERS>);

pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// It said something of use then.
    heard: Instant,
    /// It is not asked before.
    until: Instant,
    /// That is since it lied.
    liar: bool,
    strikes: u8,
    /// Questions that it may have at a time.
    window: u8,
    /// Questions that it has.
    asked: u8,
    /// Quick answers since the window grew.
    quick: u8,
    /// What the quickest of all took, for a full block.
    best: Duration,
    /// How long it took to say that it does not have a block, all in all since it last gave one.
    wasted: Duration,
    trust: u8,
}

impl Peer {
    fn new(now: Instant, address: SocketAddr) -> Self {
        Self {
            address,
            heard: now,
            until: Instant::ZERO,
            liar: false,
            strikes: 0,
            window: FIRST_WINDOW,
            asked: 0,
            quick: 0,
            best: REQUEST_TIMEOUT,
            wasted: Duration::ZERO,
            trust: 0,
        }
    }
}

impl Peers {
    /// The place of a peer, if it is known.
    pub(super) fn place(&self, address: SocketAddr) -> Option<u8> {
        (0u8..).zip(&self.0).find(|(_, peer)| peer.address == address).map(|(place, _)| place)
    }

    /// The peer in a place.
    pub(super) fn get(&self, place: u8) -> Option<&Peer> {
        self.0.get(usize::from(place))
    }

    fn get_mut(&mut self, place: u8) -> Option<&mut Peer> {
        self.0.get_mut(usize::from(place))
    }

    /// A place for a peer that answered, and whether another one has lost it: whatever was noted by
    /// place has to be forgotten then. `None` if all places are in use, or all that its host may have.
    pub(super) fn meet(&mut self, now: Instant, address: SocketAddr) -> Option<(u8, bool)> {
        if let Some(place) = self.place(address) {
            self.get_mut(place)?.heard = now;
            return Some((place, false));
        }
        let is_beside = |peer: &Peer| peer.address.ip() == address.ip();
        let crowded = self.0.iter().filter(|peer| is_beside(peer)).count() >= HOST_SHARE;
        if !crowded && self.0.push(Peer::new(now, address)).is_ok() {
            return Some((self.0.len() as u8 - 1, false));
        }
        // Who was silent for longest, then who rests, then the liar who has atoned most.
        let rank = |peer: &Peer| match peer {
            _ if peer.asked > 0 || (crowded && !is_beside(peer)) => None,
            _ if peer.liar && peer.until > now => Some((2, peer.until)),
            _ if peer.until > now => Some((1, peer.until)),
            _ if peer.heard + STALE < now => Some((0, peer.heard)),
            _ => None,
        };
        let ranked = (0u8..).zip(&mut self.0).filter_map(|(place, it)| Some((rank(it)?, place, it)));
        let (_, place, out) = ranked.min_by_key(|(rank, place, _)| (*rank, *place))?;
        *out = Peer::new(now, address);
        Some((place, true))
    }

    /// Those in `set` that may be asked now.
    pub(super) fn willing(&self, now: Instant, set: PeerSet) -> PeerSet {
        places(set).filter(|place| !self.is_shunned(now, *place)).map(only).fold(0, |set, one| set | one)
    }

    /// Those that may be asked without a probe: they gave us blocks not long ago.
    pub(super) fn trusted(&self, now: Instant) -> PeerSet {
        let trusted = |peer: &Peer| peer.trust > 0 && peer.heard + STALE >= now;
        let set = (0u8..).zip(&self.0).filter(|(_, peer)| trusted(peer));
        set.map(|(place, _)| only(place)).fold(0, |set, one| set | one)
    }

    fn is_shunned(&self, now: Instant, place: u8) -> bool {
        let Some(peer) = self.get(place) else { return true };
        // Another port makes no other host of a liar.
        let lied = |other: &Peer| other.liar && other.until > now && other.address.ip() == peer.address.ip();
        peer.until > now || self.0.iter().any(lied)
    }

    /// How many of its questions a peer has, and may have.
    pub(super) fn load(&self, place: u8) -> (u8, u8) {
        self.get(place).map_or((0, 0), |peer| (peer.asked, peer.window))
    }

    /// A question goes to a peer.
    pub(super) fn asked(&mut self, place: u8) {
        if let Some(peer) = self.get_mut(place) {
            peer.asked = peer.asked.saturating_add(1);
        }
    }

    /// A question to a peer is over, however it ended.
    pub(super) fn over(&mut self, address: SocketAddr) {
        let Some(place) = self.place(address) else { return };
        if let Some(peer) = self.get_mut(place) {
            peer.asked = peer.asked.saturating_sub(1);
        }
    }

    /// A good answer came from a peer, that says nothing of how fast blocks come.
    pub(super) fn heard(&mut self, now: Instant, address: SocketAddr) {
        let place = self.place(address);
        if let Some(peer) = place.and_then(|place| self.get_mut(place)) {
            (peer.heard, peer.strikes) = (now, 0);
        }
    }

    /// A good answer came from a peer: a block of `len` bytes, after `took`.
    pub(super) fn answered(&mut self, now: Instant, place: u8, took: Duration, len: u32) {
        let Some(peer) = self.get_mut(place) else { return };
        (peer.heard, peer.strikes) = (now, 0);
        // Quick is what a full block would be: what a few bytes took says nothing of the next ones.
        let full = took.micros().saturating_mul(BLOCK_BYTES.into()) / u64::from(len.max(1));
        peer.best = peer.best.min(Duration::from_micros(full));
        // What goes to it at a time it must be able to deliver within the request timer: the window
        // shrinks with each answer that was nearly too late. It grows whenever a whole window came
        // about as quickly as a single block would: while questions only wait for one another,
        // more of them bring nothing but full queues.
        if took > LATE {
            (peer.window, peer.quick) = (peer.window.saturating_sub(1).max(1), 0);
        } else if full <= peer.best.micros().saturating_mul(3) / 2 {
            peer.quick = peer.quick.saturating_add(1);
            if peer.quick >= peer.window {
                (peer.window, peer.quick) = (peer.window.saturating_add(1).min(MAX_WINDOW), 0);
            }
        }
    }

    /// A peer has given us a block that verified.
    pub(super) fn trust(&mut self, place: u8) {
        if let Some(peer) = self.get_mut(place) {
            (peer.trust, peer.wasted) = (TRUST, Duration::ZERO);
        }
    }

    /// A peer does not have what it was thought to have, or is too busy to send it, and took so long
    /// to say so; whether it rests from now on. An honest "no" is quick; who is slow with it every
    /// time rests for as long as it has kept us waiting, which is longer each time.
    pub(super) fn disappoint(&mut self, now: Instant, place: u8, took: Duration) -> bool {
        let Some(peer) = self.get_mut(place) else { return false };
        peer.trust = peer.trust.saturating_sub(1);
        (peer.window, peer.quick) = (peer.window.saturating_sub(1).max(1), 0);
        peer.wasted = (peer.wasted + took).min(LIAR);
        let rests = peer.wasted >= PATIENCE;
        if rests {
            peer.liar &= peer.until > now;
            peer.until = peer.until.max(now + peer.wasted);
        }
        rests
    }

    /// Counts `cause` against a peer; whether it is shunned from now on. What is wrong is only then
    /// a lie if it is `certain` that content information is right.
    pub(super) fn punish(&mut self, now: Instant, address: SocketAddr, cause: Cause, certain: bool) -> bool {
        let Some(place) = self.place(address) else { return false };
        let Some(peer) = self.get_mut(place) else { return false };
        if cause == Cause::TimedOut {
            peer.strikes = peer.strikes.saturating_add(1);
            (peer.window, peer.quick) = ((peer.window / 2).max(1), 0);
        }
        let rest = match cause {
            Cause::BadBlock | Cause::BadReply if certain => LIAR,
            Cause::BadBlock | Cause::BadReply | Cause::Unreachable | Cause::Refused => ABSENT,
            Cause::TimedOut if peer.strikes >= SLOW_STRIKES => SLOW,
            // An honest "no", a lost frame, and what is not the peer's fault.
            Cause::TimedOut
            | Cause::NotHeld
            | Cause::NoPeer
            | Cause::Shunned
            | Cause::StoreFull
            | Cause::OnItsWay => return false,
        };
        if cause != Cause::TimedOut {
            peer.strikes = 0;
        }
        peer.trust = 0;
        // Anybody can name another's port as its own: what is no reply at all says nothing of the host.
        let lied = rest == LIAR && cause == Cause::BadBlock;
        peer.liar = lied || (peer.liar && peer.until > now);
        peer.until = peer.until.max(now + rest);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    const NOW: Instant = Instant::from_millis(60_000);

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
        assert!(peers.punish(NOW, address(1), Cause::BadBlock, true));
        assert!(is_shunned(&peers, 299, 1) && !is_shunned(&peers, 300, 1));
        let (other_port, _) = peers.meet(NOW, SocketAddr::new(address(1).ip(), 8_080)).unwrap();
        assert!(is_shunned(&peers, 0, other_port), "it is the same host");
        assert!(!is_shunned(&peers, 0, 2));
        assert!(!peers.punish(NOW, address(2), Cause::NotHeld, true));
        assert!(!is_shunned(&peers, 0, 2));
    }

    /// Anybody can name a port of another host that speaks no HTTP.
    #[test]
    fn what_is_no_reply_shuns_one_port() {
        let mut peers = peers(2);
        assert!(peers.punish(NOW, address(1), Cause::BadReply, true));
        let (other_port, _) = peers.meet(NOW, SocketAddr::new(address(1).ip(), 8_080)).unwrap();
        assert!(is_shunned(&peers, 299, 1) && !is_shunned(&peers, 0, other_port));
    }

    #[test]
    fn a_short_block_proves_no_lie() {
        let mut peers = peers(2);
        assert!(peers.punish(NOW, address(1), Cause::BadBlock, false));
        assert!(is_shunned(&peers, 4, 1) && !is_shunned(&peers, 5, 1));
    }

    #[test]
    fn one_time_out_may_be_a_lost_frame() {
        let mut peers = peers(2);
        assert!(!peers.punish(NOW, address(1), Cause::TimedOut, true));
        assert!(!peers.punish(NOW, address(1), Cause::TimedOut, true));
        assert!(!is_shunned(&peers, 0, 1));
        assert!(peers.punish(NOW, address(1), Cause::TimedOut, true));
        assert!(is_shunned(&peers, 4, 1));
    }

    #[test]
    fn an_answer_in_time_forgives_time_outs() {
        let mut peers = peers(2);
        for _ in 0..10 {
            assert!(!peers.punish(NOW, address(1), Cause::TimedOut, true));
            assert!(!peers.punish(NOW, address(1), Cause::TimedOut, true));
            peers.answered(NOW, 1, Duration::ZERO, BLOCK_BYTES);
        }
        assert!(!is_shunned(&peers, 0, 1));
    }

    /// Fact 38: what is asked at a time is what the peer can deliver within its 2 s.
    #[test]
    fn the_window_follows_what_a_peer_delivers() {
        let mut peers = peers(1);
        let window = |peers: &Peers| peers.load(0).1;
        assert_eq!(window(&peers), 4);
        (0..4).for_each(|_| peers.answered(NOW, 0, Duration::from_millis(100), BLOCK_BYTES));
        assert_eq!(window(&peers), 5, "a whole window came quickly");
        (0..9).for_each(|_| peers.answered(NOW, 0, Duration::from_millis(151), BLOCK_BYTES));
        assert_eq!(window(&peers), 5, "neither quick nor late");
        peers.answered(NOW, 0, Duration::from_millis(1_001), BLOCK_BYTES);
        assert_eq!(window(&peers), 4);
        peers.punish(NOW, address(0), Cause::TimedOut, true);
        assert_eq!(window(&peers), 2);
        peers.disappoint(NOW, 0, Duration::ZERO);
        (0..3).for_each(|_| peers.answered(NOW, 0, Duration::from_millis(1_900), BLOCK_BYTES));
        assert_eq!(window(&peers), 1, "but never none");
        (0..1_000).for_each(|_| peers.answered(NOW, 0, Duration::ZERO, BLOCK_BYTES));
        assert_eq!(window(&peers), MAX_WINDOW);
    }

    /// The last block of a segment may have a few bytes, and comes in no time.
    #[test]
    fn a_short_block_does_not_make_full_ones_slow() {
        let mut peers = peers(1);
        peers.answered(NOW, 0, Duration::from_millis(1), 100);
        (0..4).for_each(|_| peers.answered(NOW, 0, Duration::from_millis(100), BLOCK_BYTES));
        assert_eq!(peers.load(0).1, 5);
        peers.answered(NOW, 0, Duration::from_millis(1), 0);
        assert_eq!(peers.load(0).1, 5);
    }

    /// Who claims to have everything, and has nothing, is asked less and less.
    #[test]
    fn who_is_slow_to_say_no_rests_longer_each_time() {
        let mut peers = peers(2);
        let slow = Duration::from_millis(1_990);
        assert!((0..4).all(|_| !peers.disappoint(NOW, 1, slow)));
        assert!(peers.disappoint(NOW, 1, slow));
        assert!(is_shunned(&peers, 9, 1) && !is_shunned(&peers, 10, 1) && !is_shunned(&peers, 0, 0));
        assert!(peers.disappoint(NOW, 1, slow));
        assert!(is_shunned(&peers, 11, 1) && !is_shunned(&peers, 12, 1));
        peers.trust(1);
        assert!(!peers.disappoint(NOW, 1, slow), "a block makes up for it");
        assert!((0..7_999).all(|_| !peers.disappoint(NOW, 0, Duration::from_millis(1))));
        assert_eq!(peers.load(0).1, 1, "who is quick to say so is only asked for less at a time");
    }

    #[test]
    fn trust_is_earned_with_blocks_and_lost_with_empty_hands() {
        let mut peers = peers(3);
        assert_eq!(peers.trusted(NOW), 0);
        peers.trust(1);
        peers.trust(2);
        assert_eq!(peers.trusted(NOW), 0b110);
        (0..TRUST).for_each(|_| assert!(!peers.disappoint(NOW, 1, Duration::ZERO)));
        assert_eq!(peers.trusted(NOW), 0b100);
        assert_eq!(peers.trusted(NOW + STALE), 0b100);
        assert_eq!(peers.trusted(NOW + STALE + Duration::from_micros(1)), 0);
    }

    #[test]
    fn a_full_table_keeps_who_is_there_and_who_lied() {
        let mut peers = peers(MAX_PEERS as u8);
        assert_eq!(peers.meet(NOW, address(100)), None, "a flood of newcomers drives nobody out");
        peers.punish(NOW, address(3), Cause::BadBlock, true);
        peers.punish(NOW, address(7), Cause::Unreachable, true);
        assert_eq!(peers.meet(NOW, address(100)), Some((7, true)), "who rests goes first");
        assert_eq!(peers.meet(NOW, address(101)), Some((3, true)), "then a liar");
        let later = NOW + STALE + Duration::from_micros(1);
        (1..MAX_PEERS as u8).for_each(|place| peers.answered(later, place, Duration::ZERO, BLOCK_BYTES));
        peers.asked(0);
        assert_eq!(peers.meet(later, address(102)), None, "who is being asked stays");
        peers.over(address(0));
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
        peers.punish(NOW, address(2), Cause::Unreachable, true);
        assert_eq!(peers.meet(NOW, port(80)), None, "another's place is not its own");
        peers.punish(NOW, port(2), Cause::Unreachable, true);
        assert_eq!(peers.meet(NOW, port(80)), Some((2, true)));
    }

    #[test]
    fn sets_of_peers() {
        assert_eq!(places(0).count(), 0);
        assert!(places(0x8000_0005).eq([0, 2, 31]));
        assert_eq!(only(31), 0x8000_0000);
    }
}
