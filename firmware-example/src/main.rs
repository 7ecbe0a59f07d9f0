//! A cache of a branch office on bare metal: no operating system, no allocator, no `std`.
//!
//! [`app`] is the appliance, and what stands beside it belongs to any board; [`stack`] is its wiring over
//! smoltcp, for boards that have no other; [`board`] has the loop.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod address;
mod app;
#[allow(unsafe_code, reason = "registers, and what the machine calls; each place says why it is sound")]
mod board;
mod config;
mod json;
mod log;
mod page;
mod preload;
#[cfg(feature = "mps2-an385")]
mod stack;
mod start;
mod store;
mod watch;
