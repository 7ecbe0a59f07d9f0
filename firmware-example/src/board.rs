//! The boards: for each a file with its `main`, and a folder with its drivers and its `memory.x`. All
//! `unsafe` code of this program is here, and so is what a port to another board writes anew.
//!
//! The feature that has the board's name chooses it. A board more is: a feature, two lines here, its name in
//! `build.rs`, and its target in `.cargo/config.toml`.

mod faults;
#[cfg(feature = "mps2-an385")]
mod mps2_an385;

#[cfg(feature = "stm32h743")]
mod stm32h743;

#[cfg(not(any(feature = "mps2-an385", feature = "stm32h743")))]
compile_error!("no board is chosen: build with the feature `mps2-an385` or `stm32h743`");

#[cfg(all(feature = "mps2-an385", feature = "stm32h743"))]
compile_error!("two boards are chosen: build `stm32h743` without the default features");
