//! Which address we have: the one that DHCP gives, or else the one that is set.

use peerdist_core::time::{Duration, Instant};

use crate::config::Place;
use crate::log::log;

/// How long a server is waited for before the address that is set is taken. It goes on being looked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who said what our address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A server.
    Dhcp,
    /// The owner.
    Config,
}

impl By {
    /// One word for a machine.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dhcp => "dhcp",
            Self::Config => "config",
        }
    }
}

/// Our address, as it comes and goes.
pub struct Address {
    fallback: Place,
    place: Option<(Place, By)>,
    /// It was not said to the stack yet.
    new: bool,
    /// When the address that is set is taken, unless a server gives another one before.
    fallback_at: Option<Instant>,
    /// Whether the cable is in.
    link: bool,
    /// How often it was pulled.
    pub link_losses: u32,
    /// How often a lease ended and no other one came in its place.
    pub lease_losses: u32,
}

impl Address {
    /// There is none yet.
    pub fn new(now: Instant, fallback: Place) -> Self {
        let fallback_at = Some(now + PATIENCE);
        Self { fallback, place: None, new: false, fallback_at, link: true, link_losses: 0, lease_losses: 0 }
    }

    /// It, and who gave it.
    pub fn place(&self) -> Option<&(Place, By)> {
        self.place.as_ref()
    }

    /// Whether the cable is in.
    pub fn has_link(&self) -> bool {
        self.link
    }

    /// The cable is in, or it is not.
    pub fn handle_link(&mut self, now: Instant, up: bool) {
        if self.link == up {
            return;
        }
        self.link = up;
        if up {
            log!("the link is up: looking for DHCP again");
            // The network may be another one. Until that shows, the address stays.
            self.fallback_at = Some(now + PATIENCE);
        } else {
            log!("the link is down");
            // Before there was an address, it was only not in yet.
            let lost = self.place.is_some();
            self.link_losses = self.link_losses.saturating_add(lost.into());
            self.fallback_at = None;
        }
    }

    /// A server has given that address, or what it had given is over.
    pub fn handle_lease(&mut self, now: Instant, lease: Option<Place>) {
        match lease {
            Some(place) => {
                log!("{}/{} by DHCP", place.address, place.prefix);
                self.fallback_at = None;
                self.take(place, By::Dhcp);
            }
            None if matches!(self.place, Some((_, By::Dhcp))) => {
                log!("the lease of DHCP is over");
                self.lease_losses = self.lease_losses.saturating_add(1);
                if self.link {
                    self.fallback_at = self.fallback_at.or(Some(now));
                }
            }
            None => {}
        }
    }

    /// The address that the stack has to take now, once.
    pub fn poll(&mut self, now: Instant) -> Option<Place> {
        if self.fallback_at.is_some_and(|at| at <= now) {
            self.fallback_at = None;
            log!("no DHCP: {}/{} as set", self.fallback.address, self.fallback.prefix);
            self.take(self.fallback, By::Config);
        }
        let new = core::mem::take(&mut self.new);
        self.place.filter(|_| new).map(|(place, _)| place)
    }

    /// When there is something to do, if nothing comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.fallback_at
    }

    fn take(&mut self, place: Place, by: By) {
        self.place = Some((place, by));
        self.new = true;
    }
}
