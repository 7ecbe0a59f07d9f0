//! The log.

/// Prints a line, with the time in front.
macro_rules! log {
    ($($text:tt)*) => {{
        let millis = $crate::board::clock::now().micros() / 1_000;
        $crate::board::console::line(format_args!("{:>8} {}", millis, format_args!($($text)*)));
    }};
}

pub(crate) use log;
