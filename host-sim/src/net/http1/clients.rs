//! Who has how many connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many connections there may be at once.
#[derive(Debug)]
pub struct Limits {
    /// Of all clients.
    pub connections: usize,
    /// Of one address, so that it does not shut out all others. What comes from this machine has no such bound:
    /// it may be a proxy, which speaks for many.
    pub per_client: usize,
    /// Connections that were closed at once, as their client had its share.
    pub refused: AtomicU64,
}

/// The connections of each client.
#[derive(Clone, Default)]
pub struct Clients(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection among those of its client, until it is dropped.
pub struct Share {
    clients: Clients,
    client: IpAddr,
}

impl Limits {
    /// So many, and none were refused so far.
    pub const fn new(connections: usize, per_client: usize) -> Self {
        Self { connections, per_client, refused: AtomicU64::new(0) }
    }
}

impl Clients {
    /// One more connection of a client, if it may have it.
    pub fn take(&self, client: IpAddr, limits: &Limits) -> Option<Share> {
        let client = client.to_canonical();
        let mut table = self.table();
        let count = table.entry(client).or_default();
        if *count >= limits.per_client && !client.is_loopback() {
            limits.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        Some(Share { clients: self.clone(), client })
    }

    fn table(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut table = self.clients.table();
        if let Some(count) = table.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_for_each() {
        let (clients, limits) = (Clients::default(), Limits::new(512, 2));
        let take = |client: &str| clients.take(client.parse().expect("an address"), &limits);
        let (first, second) = (take("192.0.2.1"), take("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some() && take("192.0.2.1").is_none());
        let other = take("192.0.2.2");
        assert!(other.is_some());
        drop(first);
        let third = take("192.0.2.1");
        assert!(third.is_some() && take("192.0.2.1").is_none());
        let ours: Vec<_> = (0..10).map(|_| take("127.0.0.1")).collect();
        assert!(ours.iter().all(Option::is_some));
        assert_eq!(limits.refused.load(Ordering::Relaxed), 2);
        drop((second, third, other, ours));
        assert!(clients.table().is_empty());
    }
}
