//! Whom not to ask for a while.

use core::net::SocketAddr;

use heapless::Vec;

use super::Cause;
use crate::time::{Duration, Instant};

/// Peers under a penalty at once; past that the one that ends first is forgiven.
const PENALTIES: usize = 32;

/// How long a peer is shunned that sent something wrong.
const LIAR: Duration = Duration::from_secs(300);

/// How long a peer rests that could not be reached.
const ABSENT: Duration = Duration::from_secs(5);

/// How long a peer rests after [`SLOW_STRIKES`] time-outs in a row.
const SLOW: Duration = Duration::from_secs(5);

/// Time-outs that make a peer slow. One alone may be a lost frame.
const SLOW_STRIKES: u8 = 3;

/// The peers that failed us, and until when that counts.
#[derive(Default)]
pub(super) struct Penalties(Vec<Penalty, PENALTIES>);

struct Penalty {
    peer: SocketAddr,
    strikes: u8,
    until: Instant,
    liar: bool,
}

impl Penalties {
    /// Whether `peer` is not to be asked now.
    pub(super) fn is_shunned(&self, now: Instant, peer: SocketAddr) -> bool {
        let about = |penalty: &Penalty| match penalty.liar {
            // Another port makes no other host of it.
            true => penalty.peer.ip() == peer.ip(),
            false => penalty.peer == peer,
        };
        self.0.iter().any(|penalty| penalty.until > now && about(penalty))
    }

    /// Counts `cause` against `peer`; whether it is shunned from now on. What is wrong is only then
    /// a lie if it is `certain` that content information is right.
    pub(super) fn punish(&mut self, now: Instant, peer: SocketAddr, cause: Cause, certain: bool) -> bool {
        let strikes = match cause {
            Cause::TimedOut => self.strikes(peer).saturating_add(1),
            _ => 0,
        };
        let rest = match cause {
            Cause::BadBlock | Cause::BadReply if certain => LIAR,
            Cause::BadBlock | Cause::BadReply => ABSENT,
            Cause::Unreachable | Cause::Refused => ABSENT,
            Cause::TimedOut if strikes >= SLOW_STRIKES => SLOW,
            Cause::TimedOut => Duration::ZERO,
            // An honest "no", and what is not the peer's fault.
            Cause::NotHeld | Cause::NoPeer | Cause::Shunned | Cause::StoreFull | Cause::OnItsWay => {
                return false;
            }
        };
        let (until, liar) = (now + rest, rest == LIAR);
        match self.0.iter_mut().find(|penalty| penalty.peer == peer) {
            Some(penalty) => {
                penalty.strikes = strikes;
                penalty.liar = liar || (penalty.liar && penalty.until > now);
                penalty.until = penalty.until.max(until);
            }
            None => self.insert(Penalty { peer, strikes, until, liar }),
        }
        rest > Duration::ZERO
    }

    /// A block came from `peer` in time: earlier time-outs no longer count.
    pub(super) fn forgive(&mut self, peer: SocketAddr) {
        if let Some(penalty) = self.0.iter_mut().find(|penalty| penalty.peer == peer) {
            penalty.strikes = 0;
        }
    }

    fn strikes(&self, peer: SocketAddr) -> u8 {
        self.0.iter().find(|penalty| penalty.peer == peer).map_or(0, |penalty| penalty.strikes)
    }

    fn insert(&mut self, penalty: Penalty) {
        if self.0.is_full() {
            let first = self.0.iter_mut().min_by_key(|penalty| penalty.until);
            if let Some(first) = first {
                *first = penalty;
            }
        } else {
            let _ = self.0.push(penalty);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn peer(last: u8) -> SocketAddr {
        (Ipv4Addr::new(10, 0, 0, last), 80).into()
    }

    #[test]
    fn a_liar_is_shunned_at_once_and_for_long() {
        let mut penalties = Penalties::default();
        let now = Instant::from_millis(1);
        assert!(penalties.punish(now, peer(1), Cause::BadBlock, true));
        assert!(penalties.is_shunned(now + Duration::from_secs(299), peer(1)));
        assert!(!penalties.is_shunned(now + Duration::from_secs(300), peer(1)));
        let other_port = SocketAddr::new(peer(1).ip(), 8_080);
        assert!(penalties.is_shunned(now, other_port), "it is the same host");
        assert!(!penalties.is_shunned(now, peer(2)));
        assert!(!penalties.punish(now, peer(2), Cause::NotHeld, true));
        assert!(!penalties.is_shunned(now, peer(2)));
    }

    #[test]
    fn a_short_block_proves_no_lie() {
        let mut penalties = Penalties::default();
        let now = Instant::from_millis(1);
        assert!(penalties.punish(now, peer(1), Cause::BadBlock, false));
        assert!(penalties.is_shunned(now + Duration::from_secs(4), peer(1)));
        assert!(!penalties.is_shunned(now + Duration::from_secs(5), peer(1)));
    }

    #[test]
    fn one_time_out_may_be_a_lost_frame() {
        let mut penalties = Penalties::default();
        let now = Instant::from_millis(1);
        assert!(!penalties.punish(now, peer(1), Cause::TimedOut, true));
        assert!(!penalties.punish(now, peer(1), Cause::TimedOut, true));
        assert!(!penalties.is_shunned(now, peer(1)));
        assert!(penalties.punish(now, peer(1), Cause::TimedOut, true));
        assert!(penalties.is_shunned(now, peer(1)));
    }

    #[test]
    fn a_block_in_time_forgives_time_outs() {
        let mut penalties = Penalties::default();
        let now = Instant::from_millis(1);
        for _ in 0..10 {
            assert!(!penalties.punish(now, peer(1), Cause::TimedOut, true));
            assert!(!penalties.punish(now, peer(1), Cause::TimedOut, true));
            penalties.forgive(peer(1));
        }
        assert!(!penalties.is_shunned(now, peer(1)));
    }

    #[test]
    fn the_table_forgives_who_is_nearest_to_it() {
        let mut penalties = Penalties::default();
        let now = Instant::from_millis(1);
        penalties.punish(now, peer(0), Cause::Unreachable, true);
        for last in 1..=PENALTIES as u8 {
            penalties.punish(now, peer(last), Cause::BadBlock, true);
        }
        assert!(!penalties.is_shunned(now, peer(0)));
        assert!(penalties.is_shunned(now, peer(1)));
    }
}
