//! The log of adapters: silent, or `defmt`'s by feature.

// What is logged depends on the features.
#![allow(unused_macros)]

#[cfg(feature = "defmt")]
macro_rules! warning {
    ($($arg:tt)*) => { defmt::warn!($($arg)*) };
}
#[cfg(not(feature = "defmt"))]
macro_rules! warning {
    ($format:literal $(, $arg:expr)* $(,)?) => {{ $( let _ = &$arg; )* }};
}
