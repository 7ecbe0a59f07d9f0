//! The command on a real network: a node on the kernel's sockets or on a TAP device, the content server, and
//! the endpoint that tells how a server does.
//!
//! ```text
//!             peer                      what a node tells of itself
//!            │    │
//!   station──┘    └──admin    origin     a node that runs; what is answered
//!    │   │   │        │         │
//!  wire local cache   └──http1──┘        sockets, addresses and files; connections and limits, by hyper
//! ```
//!
//! [`holder`] says who has a port that we wanted; [`names`] asks for addresses without waiting for them; [`tls`]
//! has the certificate of a server.

pub mod admin;
pub mod cache;
pub mod holder;
pub mod http1;
pub mod listen;
pub use peerdist_hal::std::local;
pub mod names;
pub mod origin;
pub mod peer;
pub mod percent;
pub mod station;
pub mod tls;
pub mod wire;
