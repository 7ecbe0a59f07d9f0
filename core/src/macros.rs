//! Log macros, defined once: silent by default, `log` or `defmt` by feature.
//!
//! What is logged is metadata. Secrets are a type without `Debug`, so they cannot get here.

// The core logs little; not every level has a user at all times.
#![allow(unused_macros)]

#[cfg(all(feature = "log", feature = "defmt"))]
compile_error!("the features `log` and `defmt` are alternatives: enable at most one of them");

#[cfg(feature = "log")]
macro_rules! debug {
    ($($arg:expr),* $(,)?) => { log::debug!($($arg),*) };
}
#[cfg(feature = "defmt")]
macro_rules! debug {
    ($($arg:expr),* $(,)?) => { defmt::debug!($($arg),*) };
}
#[cfg(not(any(feature = "log", feature = "defmt")))]
macro_rules! debug {
    ($format:expr $(, $arg:expr)* $(,)?) => { { $( let _ = &$arg; )* } };
}

#[cfg(feature = "log")]
macro_rules! warning {
    ($($arg:expr),* $(,)?) => { log::warn!($($arg),*) };
}
#[cfg(feature = "defmt")]
macro_rules! warning {
    ($($arg:expr),* $(,)?) => { defmt::warn!($($arg),*) };
}
#[cfg(not(any(feature = "log", feature = "defmt")))]
macro_rules! warning {
    ($format:expr $(, $arg:expr)* $(,)?) => { { $( let _ = &$arg; )* } };
}
