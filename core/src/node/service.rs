//! What a node does for other peers, by type: what a device does not do is not linked, and has no
//! table.

use rand_core::CryptoRng;

use crate::discovery::server::{Config, Server};
use crate::hosted::client::{self, Client, News, Places};
use crate::hosted::server::{self as offers, Message, Offer, State};
use crate::pull::Pulls;
use crate::retrieval::server::Role;
use crate::time::{Instant, earliest};

/// Whether a node serves others: [`Serving`], [`HostedCache`] or [`ClientOnly`].
pub trait Service {
    /// Whether probes are answered, and connections of peers accepted.
    const SERVES: bool;

    /// Whether anything is offered to hosted caches.
    const OFFERS: bool = false;

    /// As what it serves.
    fn role(&self) -> Role {
        Role::Peer
    }

    /// A service that knows nobody.
    fn new(config: Config, instance_id: u32, rng: &mut dyn CryptoRng) -> Self;

    /// The part that answers probes.
    fn server(&self) -> Option<&Server>;

    /// The same, to give it work.
    fn server_mut(&mut self) -> Option<&mut Server>;

    /// What is offered to a hosted cache.
    fn hosted(&mut self) -> Option<Hosted<'_>> {
        None
    }

    /// When there is something to do with that, without new input.
    fn poll_timeout(&self, _now: Instant, _places: &Places) -> Option<Instant> {
        None
    }

    /// What is to be offered to hosted caches.
    fn offers(&mut self) -> Option<Client<'_>> {
        None
    }
}

/// What a hosted cache works with, so that the code that does exists once and not for each size.
pub struct Hosted<'a> {
    /// What clients offer.
    pub server: offers::Server<'a>,
    /// What is asked of them.
    pub pulls: &'a mut Pulls,
}

/// Answers probes, and serves the blocks that are in the store.
pub struct Serving(Server);

impl Service for Serving {
    const SERVES: bool = true;

    #[inline(always)]
    fn new(config: Config, instance_id: u32, rng: &mut dyn CryptoRng) -> Self {
        Self(Server::with_config(config, instance_id, rng))
    }

    fn server(&self) -> Option<&Server> {
        Some(&self.0)
    }

    fn server_mut(&mut self) -> Option<&mut Server> {
        Some(&mut self.0)
    }
}

/// [`Serving`] that offers to hosted caches what comes from origins (MS-PCHC 3.2): so many segments wait for that at a
/// time.
pub struct Offering<const NEWS: usize> {
    peer: Serving,
    news: [News; NEWS],
    state: client::State,
}

impl<const NEWS: usize> Service for Offering<NEWS> {
    const SERVES: bool = true;
    const OFFERS: bool = true;

    #[inline(always)]
    fn new(config: Config, instance_id: u32, rng: &mut dyn CryptoRng) -> Self {
        let peer = Serving::new(config, instance_id, rng);
        Self { peer, news: [const { News::FREE }; NEWS], state: client::State::default() }
    }

    fn server(&self) -> Option<&Server> {
        self.peer.server()
    }

    fn server_mut(&mut self) -> Option<&mut Server> {
        self.peer.server_mut()
    }

    fn poll_timeout(&self, _now: Instant, places: &Places) -> Option<Instant> {
        client::poll_timeout(&self.news, &self.state, places)
    }

    fn offers(&mut self) -> Option<Client<'_>> {
        let Self { news, state, .. } = self;
        Some(Client { news, state })
    }
}

/// Takes blocks from others and gives none: probes are not answered, connections are refused.
pub struct ClientOnly;

impl Service for ClientOnly {
    const SERVES: bool = false;

    fn new(_: Config, _: u32, _: &mut dyn CryptoRng) -> Self {
        Self
    }

    fn server(&self) -> Option<&Server> {
        None
    }

    fn server_mut(&mut self) -> Option<&mut Server> {
        None
    }
}

/// Takes what clients offer, keeps it, and gives it out (MS-PCHC): so many segments on offer at a time, and so many
/// messages that are arriving. Probes are not answered: whoever uses a hosted cache knows where it is.
pub struct HostedCache<const OFFERS: usize, const MESSAGES: usize> {
    offers: [Offer; OFFERS],
    messages: [Message; MESSAGES],
    state: State,
    pulls: Pulls,
}

impl<const OFFERS: usize, const MESSAGES: usize> Default for HostedCache<OFFERS, MESSAGES> {
    /// Nothing is offered.
    fn default() -> Self {
        Self {
            offers: core::array::from_fn(|_| Offer::FREE),
            messages: core::array::from_fn(|_| Message::FREE),
            state: State::default(),
            pulls: Pulls::default(),
        }
    }
}

impl<const OFFERS: usize, const MESSAGES: usize> Service for HostedCache<OFFERS, MESSAGES> {
    const SERVES: bool = true;

    fn role(&self) -> Role {
        Role::HostedCache
    }

    fn new(_: Config, _: u32, _: &mut dyn CryptoRng) -> Self {
        Self::default()
    }

    fn server(&self) -> Option<&Server> {
        None
    }

    fn server_mut(&mut self) -> Option<&mut Server> {
        None
    }

    fn hosted(&mut self) -> Option<Hosted<'_>> {
        let Self { offers, messages, state, pulls } = self;
        Some(Hosted { server: offers::Server { offers, messages, state }, pulls })
    }

    fn poll_timeout(&self, now: Instant, _places: &Places) -> Option<Instant> {
        let Self { offers, messages, state, pulls } = self;
        earliest(offers::poll_timeout(offers, messages, &state.limits, now), pulls.poll_timeout())
    }
}
