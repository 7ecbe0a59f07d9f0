//! The log: `log!("what {}", value)`.
//!
//! A line is a number and its values; the words stay in the ELF file, and `defmt-print` has them back. What
//! is logged has a form for `defmt` and one for `core::fmt`, so that the tests on a host print the same.

/// Logs a line.
macro_rules! log {
    ($($text:tt)*) => { defmt::info!($($text)*) };
}

pub(crate) use log;
