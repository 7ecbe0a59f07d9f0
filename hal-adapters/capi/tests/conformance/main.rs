//! The conformance tests of the reference that concern the C interface, by number: events, completion ports,
//! GetOverlappedResult, cancelling. The others are core's (`docs/API.md` has the list).
//!
//! They also run under valgrind (`cargo xtask capi`), which sees whether memory is touched after an operation.
#![cfg(feature = "std")]
#![allow(unsafe_code, reason = "the functions are those that C calls")]

mod cancel;
mod desk;
mod machinery;
mod status;
