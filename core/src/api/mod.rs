//! The PeerDist API: content handles, reads and their completions.
//!
//! What stands today is the consumer's part that a download needs: open a content, add its content
//! information, read it by offset or as a stream, add data that came from the origin.

pub mod client;
mod error;
pub mod waiting;
