//! A simulated LAN for peerdist: deterministic, in virtual time, and drawn from one seed; and what the
//! command `peerdist` does with files.
//!
//! ```text
//!   scenario ──▶ run ──▶ report          what to simulate; doing it; what came of it
//!                 │
//!       world (virtual time)  ◀── check  the checkers stand outside the hosts
//!       │        │         │
//!     hosts    link      switch          bytes, time and chance come in
//!                 │
//!                rng                     one seed
//!
//!   publish ──▶ hashing ──▶ crypto        content information of files, by all cores
//!                             │
//!                           lanes         SHA-512 of several messages at once
//!
//!   net                                   what serves on the sockets of this machine
//!   package                               blocks of a cache in a file, for another one
//! ```
//!
//! [`net`] takes the same node to real networks. [`port`] takes real machines into the simulated one, in real time,
//! where [`services`] give them an address. [`hostile`] is a host that means no good.
//!
//! A run is its [`scenario`]: the same scenario gives the same frames at the same times. [`link`] and [`switch`]
//! are machines without input and output; [`world`] moves frames between them and whatever implements
//! [`world::Host`], so a test can build any LAN from these parts:
//!
//! ```
//! use peerdist_core::time::{Duration, Instant};
//! use peerdist_sim::link::LinkConfig;
//! use peerdist_sim::rng::Seed;
//! use peerdist_sim::world::{Frame, Host, Outcome, World};
//!
//! /// Says one thing to everybody, and hears.
//! #[derive(Default)]
//! struct Shouter {
//!     said: bool,
//!     heard: Vec<Instant>,
//! }
//!
//! impl Host for Shouter {
//!     fn receive(&mut self, now: Instant, _frame: Frame) {
//!         self.heard.push(now);
//!     }
//!
//!     fn poll(&mut self, _now: Instant, send: &mut dyn FnMut(Frame)) -> Option<Instant> {
//!         if !std::mem::replace(&mut self.said, true) {
//!             send(Frame::from([&[0xff; 12][..], &[0x88, 0xb5], b"hello"].concat()));
//!         }
//!         None
//!     }
//! }
//!
//! let cable = LinkConfig::new(1_000_000, Duration::from_millis(2));
//! let mut world = World::new(Seed::new(42));
//! let ports = [(); 3].map(|()| world.attach(Shouter::default(), cable, cable));
//! let outcome = world.run_until(Instant::from_millis(1_000), |world| {
//!     ports.iter().all(|&port| world.host(port).heard.len() >= 2)
//! });
//! assert_eq!(outcome, Outcome::Done);
//! ```
#![forbid(unsafe_code)]

pub mod check;
pub mod crypto;
pub mod hashing;
pub mod host;
pub mod hosted;
pub mod hostile;
#[cfg(target_arch = "x86_64")]
mod lanes;
pub mod link;
pub mod net;
pub mod origin;
pub mod package;
pub mod pcap;
pub mod port;
pub mod publish;
pub mod report;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod services;
pub mod stack;
pub mod switch;
pub mod world;
