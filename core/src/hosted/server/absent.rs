//! Clients that cannot be reached on the port that they name: when they are given up, and whom to tell of.

use core::net::SocketAddr;

use heapless::Vec;

use crate::limits::rows;
use crate::time::{Duration, Instant};

/// Clients kept in mind. Of more at once, those that failed longest ago are forgotten: they are tried once more, and
/// may be told of sooner.
const CLIENTS: usize = rows(16, 4);

/// Attempts to connect that fail in a row before all that a client offers is given up.
const ATTEMPTS: u8 = 2;

/// What fails within this time is one attempt: several connections are tried at once.
const ATTEMPT: Duration = Duration::from_secs(1);

/// How often a client is told of at most; and for how long it is remembered that it could not be reached.
pub const TELL_AGAIN: Duration = Duration::from_secs(60);

/// The table.
#[derive(Default)]
pub(super) struct Absent {
    clients: Vec<Client, CLIENTS>,
}

/// A host, by the port that was tried last.
struct Client {
    at: SocketAddr,
    attempts: u8,
    /// When the last attempt failed.
    failed: Instant,
    told: Option<Instant>,
    /// It waits to be told of.
    waits: bool,
}

impl Absent {
    /// No connection to a client came about; whether it is given up now.
    pub(super) fn failed(&mut self, now: Instant, at: SocketAddr) -> bool {
        let Some(client) = self.client(now, at) else { return false };
        if client.at != at || client.failed + TELL_AGAIN <= now {
            (client.at, client.attempts, client.failed) = (at, 1, now);
        } else if client.failed + ATTEMPT <= now {
            (client.attempts, client.failed) = (client.attempts.saturating_add(1), now);
        }
        let gone = client.attempts >= ATTEMPTS;
        if gone && client.told.is_none_or(|told| told + TELL_AGAIN <= now) {
            (client.told, client.waits) = (Some(now), true);
        }
        gone
    }

    /// A client can be reached.
    pub(super) fn reached(&mut self, at: SocketAddr) {
        self.clients.iter_mut().filter(|client| client.at == at).for_each(|client| client.attempts = 0);
    }

    /// The next one to tell of.
    pub(super) fn tell(&mut self) -> Option<SocketAddr> {
        let client =
            self.clients.iter_mut().filter(|client| client.waits).min_by_key(|client| client.told)?;
        client.waits = false;
        Some(client.at)
    }

    /// The row of a host; in a full table, that of another one.
    fn client(&mut self, now: Instant, at: SocketAddr) -> Option<&mut Client> {
        let new = Client { at, attempts: 1, failed: now, told: None, waits: false };
        // Who names many ports is one client.
        let index = match self.clients.iter().position(|client| client.at.ip() == at.ip()) {
            Some(index) => index,
            None if self.clients.is_full() => {
                let order =
                    |&index: &usize| self.clients.get(index).map(|client| (client.waits, client.failed));
                let index = (0..self.clients.len()).min_by_key(order)?;
                *self.clients.get_mut(index)? = new;
                index
            }
            None => {
                self.clients.push(new).ok()?;
                self.clients.len().checked_sub(1)?
            }
        };
        self.clients.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8, port: u16) -> SocketAddr {
        ([10, 0, 0, last], port).into()
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    /// All connections of one attempt are one; then it takes another, in a row.
    #[test]
    fn one_attempt_is_none() {
        let mut absent = Absent::default();
        assert!((0..8).all(|_| !absent.failed(at(1), client(1, 80))));
        absent.reached(client(1, 80));
        assert!(!absent.failed(at(6), client(1, 80)));
        assert!(!absent.failed(at(70), client(1, 80)), "that is long ago");
        assert_eq!(absent.tell(), None);
        assert!(absent.failed(at(75), client(1, 80)));
        assert_eq!((absent.tell(), absent.tell()), (Some(client(1, 80)), None));
    }

    /// Every client is told of, in order, and each once a minute, whatever ports it names.
    #[test]
    fn each_client_is_told_of() {
        let mut absent = Absent::default();
        for now in 0..59 {
            for last in 0..3 {
                absent.failed(at(now), client(last, 80 + now as u16 / 10));
            }
        }
        for last in 0..3 {
            assert_eq!(absent.tell(), Some(client(last, 85)));
        }
        assert_eq!(absent.tell(), None);
        assert!(absent.failed(at(61), client(1, 85)));
        assert_eq!((absent.tell(), absent.tell()), (Some(client(1, 85)), None));
    }

    /// More than there is room for: who waits to be told of stays.
    #[test]
    fn a_full_table() {
        let mut absent = Absent::default();
        for now in [0, 5] {
            absent.failed(at(now), client(1, 80));
        }
        for last in 0..200 {
            assert!(!absent.failed(at(10), client(last, 81)));
            assert!(absent.failed(at(11), client(last, 81)));
        }
        assert_eq!(core::iter::from_fn(|| absent.tell()).count(), CLIENTS);
    }
}
