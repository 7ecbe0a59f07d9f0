//! `peerdist get` and `peerdist peer` as processes on loopback, with origins that the test runs itself.

mod asking;
mod bad;
mod fetch;
mod hosted;
#[cfg(feature = "negotiate")]
mod negotiated;
mod offered;
mod package;
mod peer;
mod place;
mod plain;
mod secured;
mod uploads;
