//! What serves on the sockets of this machine: the content server, and the endpoint that tells how a server
//! does.
//!
//! ```text
//!   origin    admin        what is answered
//!       │      │
//!       └─http1─┘           connections and their limits, by hyper
//! ```

pub mod admin;
pub mod http1;
pub mod listen;
pub mod origin;
pub mod percent;
