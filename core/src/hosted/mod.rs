//! [MS-PCHC] The hosted cache: clients offer what they got from the origin, one box keeps it for all.
//!
//! [`wire`] is the codec, [`client`] offers, [`server`] takes offers. HTTP carries them, and [`pull`](crate::pull) gets
//! what is offered.
//!
//! # Section 3, and where it is kept
//!
//! | section | what | where |
//! |---|---|---|
//! | 3.1.1 | what is known of offered segments | [`server::Offer`]; blocks are the store's |
//! | 3.1.3 | the URLs | [`wire::Version::of_path`], [`serve`](crate::serve) |
//! | 3.1.5.1 | INITIAL_OFFER_MESSAGE | `server::Server::initial_offer` |
//! | 3.1.5.2 | SEGMENT_INFO_MESSAGE | `server::Server::described_offer`, [`server::Server::check`] |
//! | 3.1.5.3 | BATCHED_OFFER_MESSAGE | `server::Server::offer` |
//! | 3.1.5.4 | anything else is dropped | [`server::Desk::finish`]; a 400 in [`serve`](crate::serve) |
//! | 3.2.1 | what is kept of segments to offer | [`client::News`]; blocks are the store's |
//! | 3.2.2, 3.2.6 | the request timer | [`client::Client::work`] |
//! | 3.2.4 | when blocks are news | [`client::News`] |
//! | 3.2.5 | what a response means | [`OfferStream`](crate::offering::OfferStream), [`client::Client::answered`] |
//!
//! # Facts of `docs/FACTS.md`
//!
//! | fact | what | where |
//! |---|---|---|
//! | 43 | headers are big-endian, content information stays as it is | [`wire::Opening`] |
//! | 44 | what is dropped, and what is answered and ignored | [`wire::Malformed`], [`server::Message`] |
//! | 45 | one URL for each version | [`wire::Version`] |
//! | 46 | 0 once all block hashes are known | `server::Server::initial_offer` |
//! | 47 | kept as received; bounds for each client | [`server::Limits`], [`store::verify`](crate::store::verify) |
//! | 48 | the tags of applications | [`server::Application`] |

pub mod client;
pub mod server;
pub mod wire;
