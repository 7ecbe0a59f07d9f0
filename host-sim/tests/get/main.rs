//! `peerdist get` and `peerdist peer` as processes on loopback, with origins that the test runs itself.

mod bad;
mod fetch;
mod hosted;
mod offered;
mod package;
mod peer;
mod place;
mod plain;
mod secured;
mod uploads;
