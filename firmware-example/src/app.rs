//! The appliance: a node that answers, serves and preloads, with a page of its numbers, on any board and over
//! any TCP/IP stack. With the feature `hosted-cache` it answers no probes, and gets what clients offer.
//!
//! It is a machine without a world, as the node is that it is about: nothing here waits, or knows a register
//! or a socket.
//!
//! # How a board uses it
//!
//! 1. It finds out why it was started, which is a [`Start`] (`board/faults.rs` has it on a Cortex-M,
//!    `peerdist_hal::flash::count_start` the number), reads its owner's sheet ([`read_config`]), and mounts its
//!    blocks ([`store::mount`](crate::store::mount)) on flash. For these three it has three parts of flash.
//!    It makes a node, which [`Peer`] names, of [`node_config`], the store, a source of entropy and
//!    [`SoftCrypto`], and an [`App`]. Both stay in statics.
//! 2. An adapter (`peerdist_hal::smoltcp`, `peerdist_hal::embassy`) moves what goes between the node and the
//!    network. What it hands out for the application goes to [`App::handle_output`].
//! 3. What DHCP says goes to [`App::handle_lease`], what the card says of the cable to [`App::handle_link`].
//! 4. After each of these, and at [`App::poll_timeout`], it calls [`App::poll`] until there is nothing left,
//!    and does what that says: give the stack another address, and have it join the group of discovery with it;
//!    or ask the name server, whose answer goes to [`App::handle_resolved`]; or have the adapter poll the node.
//! 5. What comes on connections to TCP port [`page::PORT`] goes to a [`page::Request`] for each, until it is
//!    whole; [`App::answer`] writes the reply, and the connection is closed behind it. Two connections at a
//!    time, each cut off after some seconds of silence, are enough.
//! 6. It feeds the watchdog for as long as all of this happens.
//!
//! `board/mps2_an385.rs` does so in one loop. Tasks that share node and app in a `RefCell` can do it as well: no
//! borrow has to last over an `await`.

use core::net::{IpAddr, Ipv4Addr};

use peerdist_core::crypto::SoftCrypto;
use peerdist_core::discovery::Subnet;
#[cfg(feature = "hosted-cache")]
use peerdist_core::hosted::server::Counters as OfferCounters;
use peerdist_core::node::{self, Node, Output};
use peerdist_core::time::{Instant, earliest};
use rand_core::CryptoRng;

use crate::address::Address;
use crate::config::{Config, Place, SheetError};
use crate::json::Writer;
use crate::log::log;
use crate::page::Request;
use crate::preload::{Failure, Preload, Target, origin_words, without_query};
use crate::start::Start;
use crate::store::{self, Shelf};
use crate::watch::Watch;

/// Connections at once. Windows asks for a segment over as many as 34 (fact 38).
pub const STREAMS: usize = if cfg!(feature = "four-connections") { 4 } else { 36 };

/// Those of them that are kept for what is fetched.
const RESERVED: usize = 2;

/// Blocks that are fetched at once.
pub const FETCHES: usize = 2;

/// The node of an appliance, over a store `S` and a source of entropy `R`.
pub type Peer<S, R> = Node<S, SoftCrypto, R, STREAMS, FETCHES, PRELOADS, Service>;

/// What it is to others.
#[cfg(not(feature = "hosted-cache"))]
type Service = node::Serving;

/// The same: segments on offer at a time, and messages that are arriving.
#[cfg(feature = "hosted-cache")]
type Service = node::HostedCache<32, 4>;

/// URLs that are preloaded at once.
const PRELOADS: usize = 1;

/// How the node of an appliance is set.
pub fn node_config(config: &Config, start: &Start) -> node::Config {
    node::Config {
        port: config.port,
        // Fact 30: peers forget where we are when it falls.
        instance_id: start.starts,
        max_uploads: STREAMS - RESERVED,
        // Whoever uses a hosted cache knows where it is.
        distributed: cfg!(not(feature = "hosted-cache")),
        reserved_streams: RESERVED,
        ..node::Config::default()
    }
}

/// What the owner set, or else what is set in the image, as [`Config::read`] has it; and why it is not the
/// owner's.
pub fn read_config(sheet: &[u8]) -> (Config, Option<SheetError>) {
    match Config::read(sheet) {
        Ok(config) => {
            log!("set by the owner: preload {}", without_query(&config.preload));
            (config, None)
        }
        Err(SheetError::Absent) => {
            log!("nothing is set on flash: the image's own settings");
            (Config::default(), Some(SheetError::Absent))
        }
        Err(error) => {
            let line = if let SheetError::Line(line) = error { line } else { 0 };
            log!("settings refused: {} (line {}): the image's own", error.words(), line);
            (Config::default(), Some(error))
        }
    }
}

/// What there is to do for the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// The stack takes this address, route and name server in place of those that it had, and joins the group
    /// of discovery again: who joined without an address, or with another, has told nobody of this one.
    Address(Place),
    /// The address of this name is asked for.
    Resolve(&'a str),
    /// The node has something to do: its adapter polls it.
    Node,
}

/// The appliance.
pub struct App {
    config: Config,
    refused: Option<SheetError>,
    start: Start,
    address: Address,
    preload: Preload,
    watch: Watch,
    /// The node has to be polled.
    begun: bool,
}

impl App {
    /// An appliance without an address yet.
    #[inline(never)]
    pub fn new(now: Instant, start: Start, (config, refused): (Config, Option<SheetError>)) -> Self {
        log!("start {}, after a reset by {} at {:#x}", start.starts, start.cause.word(), start.at);
        let address = Address::new(now, config.fallback);
        let preload = Preload::new(now, !config.preload.is_empty());
        Self { config, refused, start, address, preload, watch: Watch::new(now), begun: false }
    }

    /// How it is set.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether the cable was in when that was told last.
    pub fn has_link(&self) -> bool {
        self.address.has_link()
    }

    /// The cable is in, or it is not. When it is in again, the board begins again with DHCP.
    pub fn handle_link(&mut self, now: Instant, up: bool) {
        self.address.handle_link(now, up);
    }

    /// A server of DHCP has given that address; or what it had given is over.
    pub fn handle_lease(&mut self, now: Instant, lease: Option<Place>) {
        self.address.handle_lease(now, lease);
    }

    /// What the node hands out for the application.
    pub fn handle_output(&mut self, now: Instant, output: Output<'_>) {
        self.preload.handle_output(now, output);
    }

    /// The address of the name that was to be resolved, or why there is none.
    #[inline(never)]
    pub fn handle_resolved<S: Shelf, R: CryptoRng>(
        &mut self,
        now: Instant,
        node: &mut Peer<S, R>,
        address: Result<Ipv4Addr, Failure>,
    ) {
        let url = address
            .and_then(|address| Target::parse(&self.config.preload).and_then(|target| target.url(address)));
        let begun = url.and_then(|url| {
            let IpAddr::V4(address) = url.origin.ip() else { return Err(Failure::NotFound) };
            node.download(now, url).map(|_| address).ok_or(Failure::Busy)
        });
        match begun {
            Ok(address) => {
                log!("preloading {} from {}", without_query(&self.config.preload), address);
                self.preload.begun(node.storage().numbers());
                self.begun = true;
            }
            Err(failure) => self.preload.fail(now, failure),
        }
    }

    /// The next thing for the board to do; `None` when there is nothing left.
    #[inline(never)]
    pub fn poll<S: Shelf, R: CryptoRng>(
        &mut self,
        now: Instant,
        node: &mut Peer<S, R>,
    ) -> Option<Action<'_>> {
        if self.watch.is_due(now) {
            let stock = node.storage().numbers();
            self.watch.look(
                now,
                &node.counters(),
                &stock,
                #[cfg(feature = "hosted-cache")]
                offers(node).blocks,
            );
            self.preload.wonder(&stock);
        }
        if let Some(place) = self.address.poll(now) {
            node.set_addresses(&[Subnet { address: IpAddr::V4(place.address), prefix: place.prefix }]);
            return Some(Action::Address(place));
        }
        if core::mem::take(&mut self.begun) {
            return Some(Action::Node);
        }
        if self.address.place().is_none() || !self.preload.is_due(now) {
            return None;
        }
        let address = Target::parse(&self.config.preload).map(|target| target.host.parse().ok());
        match address {
            Ok(Some(address)) => {
                self.handle_resolved(now, node, Ok(address));
                core::mem::take(&mut self.begun).then_some(Action::Node)
            }
            Ok(None) => {
                self.preload.resolving();
                Target::parse(&self.config.preload).ok().map(|target| Action::Resolve(target.host))
            }
            Err(failure) => {
                self.preload.fail(now, failure);
                None
            }
        }
    }

    /// When [`poll`](Self::poll) has something to do even if nothing comes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let preload = self.preload.poll_timeout().filter(|_| self.address.place().is_some());
        earliest(preload, self.address.poll_timeout())
    }

    /// Writes the reply to a whole request, and returns its length: [`REPLY_BYTES`](crate::page::REPLY_BYTES)
    /// at most. `dropped`: datagrams that found no room in the socket.
    #[cfg_attr(
        not(feature = "hosted-cache"),
        allow(
            clippy::needless_pass_by_ref_mut,
            reason = "only a hosted cache lends what it knows of offers"
        )
    )]
    pub fn answer<S: Shelf, R: CryptoRng>(
        &self,
        now: Instant,
        node: &mut Peer<S, R>,
        dropped: u32,
        request: &Request,
        reply: &mut [u8],
    ) -> usize {
        let (counters, store) = (node.counters(), node.storage().numbers());
        #[cfg(feature = "hosted-cache")]
        let offers = offers(node);
        request.answer(reply, |json| {
            self.tell(
                now,
                &counters,
                &store,
                #[cfg(feature = "hosted-cache")]
                &offers,
                dropped,
                json,
            );
        })
    }

    /// The numbers.
    fn tell(
        &self,
        now: Instant,
        counters: &node::Counters,
        store: &store::Numbers,
        #[cfg(feature = "hosted-cache")] offers: &OfferCounters,
        dropped: u32,
        json: &mut Writer<'_>,
    ) {
        let Self { address, preload, start, .. } = self;
        json.open();
        json.numbers("uptime_ms starts", &[now.micros() / 1_000, start.starts.into()]);
        json.word("last_reset", Some(start.cause.word()));
        json.numbers("reset_at", &[start.at.into()]);
        json.word("settings", Some(self.refused.map_or("taken", SheetError::words)));
        let place = address.place();
        json.address("address", place.map(|(place, _)| place.address));
        json.object("preload");
        json.word("state", Some(preload.state().word()));
        json.numbers(
            "bytes origin_bytes failures",
            &[preload.bytes, preload.from_origin, preload.failures.into()],
        );
        json.word("failure", preload.failure.map(Failure::words));
        let status = preload.failure.map_or(0, Failure::status);
        json.numbers("status origin_failures", &[status.into(), preload.troubles.into()]);
        json.word("origin_failure", preload.trouble.map(origin_words));
        json.close();
        json.object("network");
        json.word("link", Some(if address.has_link() { "up" } else { "down" }));
        json.word("address_by", place.map(|(_, by)| by.word()));
        json.numbers("link_losses lease_losses", &[address.link_losses.into(), address.lease_losses.into()]);
        json.close();
        json.object("store");
        json.numbers(
            "blocks rows evicted failures sectors_used",
            &[
                store.blocks.into(),
                store.rows.into(),
                store.evicted.into(),
                store.failures.into(),
                store.sectors_used.into(),
            ],
        );
        json.close();
        let node::Counters { serve, fetch, answer, .. } = counters;
        json.object("serve");
        json.numbers(
            "answered blocks block_bytes dropped damaged timed_out refused gave_way",
            &[
                serve.answered.into(),
                serve.blocks.into(),
                serve.block_bytes,
                serve.dropped.into(),
                serve.damaged.into(),
                serve.timed_out.into(),
                counters.refused.into(),
                counters.gave_way.into(),
            ],
        );
        json.close();
        json.object("fetch");
        json.numbers(
            "asked verified bad_blocks timed_out",
            &[fetch.asked.into(), fetch.verified.into(), fetch.bad_blocks.into(), fetch.timed_out.into()],
        );
        json.close();
        json.object("answer");
        json.numbers(
            "probes no_match sent",
            &[answer.probes.into(), answer.no_match.into(), answer.sent.into()],
        );
        json.close();
        json.numbers(
            "malformed_datagrams dropped_datagrams",
            &[counters.malformed_datagrams.into(), dropped.into()],
        );
        #[cfg(feature = "hosted-cache")]
        tell_offers(offers, json);
        json.close();
    }
}

/// What clients have offered so far, and what came of it.
#[cfg(feature = "hosted-cache")]
fn offers<S: Shelf, R: CryptoRng>(node: &mut Peer<S, R>) -> OfferCounters {
    node.hosted().map(|state| state.counters).unwrap_or_default()
}

#[cfg(feature = "hosted-cache")]
fn tell_offers(offers: &OfferCounters, json: &mut Writer<'_>) {
    json.object("offers");
    json.numbers(
        "messages segments unusable refused given_up blocks block_bytes",
        &[
            offers.messages.into(),
            offers.offered.into(),
            offers.unusable.into(),
            offers.refused.into(),
            offers.given_up.into(),
            offers.blocks.into(),
            offers.bytes.iter().fold(0, |sum, bytes| sum.wrapping_add(*bytes)),
        ],
    );
    json.close();
}
