//! What must hold for any bytes whatsoever: one function per codec, and one for the node.
//!
//! `tests/fuzz` feeds these functions with bytes that a fuzzer makes up, `tests/tests/fuzz.rs` with
//! cut and flipped vectors. To add a codec, write a function in a file below, name it in [`ALL`],
//! and give it a wrapper in `tests/fuzz/fuzz_targets`. A function asserts more than that nothing
//! panics: what was accepted is the same when it has been written and read again, every accessor
//! answers within its bounds, and the pieces in which bytes arrive make no difference.

mod content;
mod discovery;
mod encoding;
mod hosted;
mod http;
mod node;
mod quick;
mod retrieval;
mod secrets;
mod seeds;
mod xml;

pub use self::content::{content_v1, content_v2, segmenter};
pub use self::discovery::discovery;
pub use self::encoding::encoding;
pub use self::hosted::hosted_offer;
pub use self::http::{http_conn, http_lines};
pub use self::node::node;
pub use self::quick::agree;
pub use self::retrieval::{retrieval_reply, retrieval_request};
pub use self::secrets::{hash_file, secret_key};
pub use self::seeds::all_vectors;
use self::seeds::vectors;
pub use self::xml::xml;

/// A function for the fuzzer.
pub struct Target {
    /// The name of the function, and of its wrapper in `tests/fuzz/fuzz_targets`.
    pub name: &'static str,
    /// Takes any bytes, and panics if something does not hold.
    pub body: fn(&[u8]),
    /// What to begin with: every vector of its kind.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub static ALL: &[Target] = &[
    Target { name: "content_v1", body: content_v1, seeds: seeds::content_v1 },
    Target { name: "content_v2", body: content_v2, seeds: seeds::content_v2 },
    Target { name: "discovery", body: discovery, seeds: seeds::discovery },
    Target { name: "encoding", body: encoding, seeds: seeds::encoding },
    Target { name: "hash_file", body: hash_file, seeds: seeds::hash_file },
    Target { name: "hosted_offer", body: hosted_offer, seeds: || vectors(&["pchc-"]) },
    Target { name: "http_conn", body: http_conn, seeds: seeds::http_conn },
    Target { name: "http_lines", body: http_lines, seeds: seeds::http_lines },
    Target { name: "node", body: node, seeds: node::seeds },
    Target {
        name: "retrieval_reply",
        body: retrieval_reply,
        seeds: || {
            vectors(&["pccrr-blk-", "pccrr-blklist-", "pccrr-seglist-", "pccrr-nego-resp-", "pccrr-extblob-"])
        },
    },
    Target {
        name: "retrieval_request",
        body: retrieval_request,
        seeds: || vectors(&["pccrr-get", "pccrr-nego-req-", "client-wire/"]),
    },
    Target { name: "secret_key", body: secret_key, seeds: seeds::secret_key },
    Target { name: "segmenter", body: segmenter, seeds: seeds::segmenter },
    Target { name: "xml", body: xml, seeds: seeds::xml },
];

/// Two numbers for a target to make choices with: the last 16 bytes, which most formats leave to
/// the sender, so that a fuzzer can turn them at will.
fn numbers(data: &[u8]) -> (u64, u64) {
    let mut last = [0; 16];
    for (slot, byte) in last.iter_mut().zip(data.iter().rev()) {
        *slot = *byte;
    }
    let number = u128::from_le_bytes(last);
    (number as u64, (number >> 64) as u64)
}
