//! Progress on stderr, if that is a terminal.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where bars are drawn, if anywhere.
pub fn target() -> ProgressDrawTarget {
    let shown = io::stderr().is_terminal() && !dumb();
    if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

/// A bar for `len` bytes, or a count of bytes where that is not known.
pub fn of_bytes(len: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(len, target());
    bar.set_style(style(match len {
        Some(_) => "{bar:20} {binary_bytes} of {binary_total_bytes}  {wide_msg}",
        None => "{spinner} {binary_bytes}  {wide_msg}",
    }));
    bar
}

/// The templates are constants: should one be wrong, the usual bar is good enough.
pub fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Whether the terminal can only write one line after the other.
pub fn dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
