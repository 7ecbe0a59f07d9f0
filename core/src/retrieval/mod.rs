//! [MS-PCCRR] Retrieval: blocks from peers, one exchange a block.
//!
//! [`wire`] is the codec, [`client`] reads a reply as it arrives, [`server`] answers a request
//! from the store, [`set`] is what a list of ranges comes down to. HTTP carries all of it; that is
//! another room.
//!
//! # Where we differ from the document, or are more patient than it
//!
//! Each is a numbered fact of `docs/FACTS.md`, and has one place in the code.
//!
//! | fact | what | where |
//! |---|---|---|
//! | 32 | the minor version stands first | [`wire::Version::from_wire`] |
//! | 32 | the type fixes the version that is sent | [`wire::MessageType::version`] |
//! | 32 | a request with another version that we speak is answered all the same | [`wire::Request::parse`], [`server::Exchange`] (`header`) |
//! | 33 | what a pad holds is not looked at | `wire::padded`, the machines |
//! | 33 | a VrfBlock is skipped, of any length | [`client::Exchange::handle`] |
//! | 33 | DataForVrfBlock and the blob are skipped, of any length | [`server::Exchange::handle`] |
//! | 34 | the key is the beginning of Kp | [`CipherAlgorithm::key`](crate::crypto::CipherAlgorithm::key) |
//! | 34 | the reply's CryptoAlgoId counts | [`client::Exchange`] (`header`) |
//! | 35 | a block is handed out as it came | [`server::Exchange::read`] |
//! | 36 | a missing block is algorithm 0, size 0, without an IV | [`wire::BlockReply::new`] |
//! | 36 | a missing block may come with an IV, or under any known algorithm | [`client::Exchange`] (`iv_size`) |
//! | 36 | a plain block with data is refused, unless the caller says otherwise | [`client::AcceptPlain`] |
//! | 36 | sizes that lie, another type, another major version are refused | [`client::Refusal`] |
//! | 37 | replies of up to 384 KiB, requests of up to 96 KiB | [`MAX_REPLY_BYTES`](crate::limits::MAX_REPLY_BYTES), [`MAX_REQUEST_BYTES`](crate::limits::MAX_REQUEST_BYTES) |
//! | 38 | 2 s for an exchange; empty replies beyond the limit of uploads | [`REQUEST_TIMEOUT`](crate::limits::REQUEST_TIMEOUT), [`server::Exchange::finish`] |
//! | 39 | we ask for one range of one block | [`wire::GetBlocks::emit_one`] |
//! | 39 | no range, or Count 0, gets an empty reply | [`server::Exchange::finish`] |
//! | 39 | a count that lies, or no segment id, is dropped | [`server::Exchange::handle`]; as a 400 in `serve` |
//! | 40 | a negotiation is answered with all that we speak | [`wire::OUR_VERSIONS`] |
//! | 40 | after a NEGO_RESP, the same request once more | [`wire::VersionRange::speaks`], in `fetch::stream` |
//! | 40 | NextBlockIndex is sent, and not believed | [`server::Exchange`], [`client::Exchange`] |
//! | 41 | any case, with or without the last slash, or doubled | [`wire::is_retrieval_path`] |
//! | 40 | after a NEGO_RESP to GETSEGLIST, blocks are asked for without | [`client::SegmentStep::Negotiation`] |
//! | 41 | GETSEGLIST is for a hosted cache | [`server::Role`] |
//! | 42 | ages have 24 bits, little-endian, in four units; surplus is ignored | [`crate::ages::Ages::parse`] |
//! | 42 | one age that is too much for hundredths makes all of them seconds | [`crate::ages::AgesRepr::emit`] |
//! | 42 | a bad blob costs only itself; ages count from the first range | [`wire::SegmentList::ages`], [`client::SegmentExchange`] |
//! | 42 | a range beyond the request voids the reply | [`wire::SegmentList::answers`], [`client::SegmentExchange`] |
//! | 42 | no age past number 255, nor of more than [`server::LISTED_AGES`] segments | [`server::Exchange`] |
//!
//! # Section 3, and where it is kept
//!
//! | section | what | where |
//! |---|---|---|
//! | 3 | a server negotiates; lists of segments are a hosted cache's | [`server::Exchange`], [`server::Role`] |
//! | 3.1.1, 3.1.2, 3.1.6.1 | what is outstanding, and the request timer | `fetch::stream`, [`REQUEST_TIMEOUT`](crate::limits::REQUEST_TIMEOUT) |
//! | 3.1.4.1 | a client may negotiate first | not done (fact 40) |
//! | 3.1.4.2, 3.1.5.2 | lists of blocks | [`client::Exchange::list`] |
//! | 3.1.4.3, 3.1.5.3 | blocks | [`wire::GetBlocks::emit_one`], [`client::Exchange`]; opened in `store::verify` |
//! | 3.1.4.4, 3.1.5.4 | lists of segments | [`client::SegmentExchange`] |
//! | 3.1.5.1 | after a NEGO_RESP | `fetch::stream`, [`wire::VersionRange::speaks`], [`wire::MessageType::version`] |
//! | 3.1.5.5 | anything else is discarded | [`client::Refusal`] |
//! | 3.2.1, 3.2.3 | active clients | `serve::Upload::is_active`, counted in `node` |
//! | 3.2.2, 3.2.6.1 | the upload timer | `serve::Upload::deadline`, [`UPLOAD_TIMEOUT`](crate::limits::UPLOAD_TIMEOUT) |
//! | 3.2.5.1 to 3.2.5.4 | requests | [`server::Exchange::finish`] |
//! | 3.2.5.5 | anything else is dropped | [`server::Exchange::finish`], a 400 in `serve` |
//! | 5.1 | the key never travels, the IV does | [`server::Exchange`] |
//!
//! Not in the list of facts: a segment id of 1 to 64 bytes is well-formed though only 32, 48 and 64
//! can be anybody's; the ranges of a request may overlap, in any order, and more than 256 of them;
//! blocks past the 512th are asked for in vain ([`set::SET_INDICES`]).

pub mod client;
mod fields;
pub mod server;
pub mod set;
pub mod wire;
