//! [MS-PCHC] The hosted cache: clients offer what they got from the origin, one box keeps it for all.
//!
//! [`wire`] is the codec, [`client`] offers, [`server`] takes offers. HTTP carries them, and [`pull`](crate::pull) gets
//! what is offered.
//!
//! # Section 3, and where it is kept
//!
//! | section | what | where | tested by |
//! |---|---|---|---|
//! | 3.1.1 | what is known of offered segments | [`server::Offer`]; blocks are the store's | `two_messages_that_offer_the_same`, `descriptions_of_one_segment_are_one` |
//! | 3.1.3 | the URLs, and the certificate | [`wire::Version::of_path`], [`serve`](crate::serve); TLS is whose sockets they are | `each_version_has_its_url`, `the_wrong_url_for_a_version` |
//! | 3.1.5.1 | INITIAL_OFFER_MESSAGE | `server::Server::initial_offer` | `a_segment_is_described`, `what_is_here_is_not_asked_for`, `version_1` |
//! | 3.1.5.2 | SEGMENT_INFO_MESSAGE | `server::Server::described_offer`, [`server::Server::check`] | `a_segment_is_described`, `content_information_that_lies`, `other_bytes_than_it_hashed` |
//! | 3.1.5.3 | BATCHED_OFFER_MESSAGE | `server::Server::offer` | `a_batch_is_taken`, `who_else_offers_it_is_asked_for_the_rest`, `version_2` |
//! | 3.1.5.4 | anything else is dropped | [`server::Desk::finish`]; a 400 in [`serve`](crate::serve) | `messages_that_are_none`, `more_than_128_descriptors`, `no_descriptors`, `a_tag_of_another_size` |
//! | 3.2.1 | what is kept of segments to offer | [`client::News`]; blocks are the store's | `the_table_is_full`, `what_is_here_already` |
//! | 3.2.2, 3.2.6 | the request timer | [`client::Client::work`] | `a_message_expires` |
//! | 3.2.3 | where hosted caches are | [`client::Place`] | `the_next_one_stands_in`, `each_gets_what_it_can_take` |
//! | 3.2.4 | when blocks are news | [`client::News`] | `when_a_segment_is_news`, `what_came_from_the_origin_is_offered`, `messages_are_apart` |
//! | 3.2.5.1 | a response to INITIAL_OFFER_MESSAGE | [`OfferStream`](crate::offering::OfferStream), [`client::Client::answered`] | `an_initial_offer_and_what_describes_it`, `version_1_gets_what_describes_a_segment` |
//! | 3.2.5.2 | a response to SEGMENT_INFO_MESSAGE | the same | `an_initial_offer_and_what_describes_it` |
//! | 3.2.5.3 | 401 | [`client::Client::failed`]; an adapter that can tell who we are sends it again: [`Node::sent_again`](crate::node::Node::sent_again) | `other_answers`, `sent_again_it_expires_later` |
//! | 3.2.5.4 | a response to BATCHED_OFFER_MESSAGE | the same | `a_batched_offer`, `a_batch_is_full` |
//! | 3.2.5.5 | anything else is dropped | [`OfferStream`](crate::offering::OfferStream) | `other_answers`, `the_connection_ends` |
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
