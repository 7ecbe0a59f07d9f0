//! Signals that end the process, for commands that have something to finish first.

/// Has `then` called when a signal asks the process to end; a second one ends it at once.
#[cfg(unix)]
pub fn on_end(then: impl Fn() + Send + 'static) {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;
    use signal_hook::iterator::Signals;

    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    let again = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Without it, the second one is waited out like the first.
        _ = flag::register_conditional_default(signal, again.clone());
        _ = flag::register(signal, again.clone());
    }
    // Without a thread for it the signals end the process as ever.
    _ = std::thread::Builder::new().spawn(move || {
        for _ in signals.forever() {
            then();
        }
    });
}

/// Elsewhere, they end the process as ever: what is in the cache stays whole.
#[cfg(not(unix))]
pub fn on_end(_then: impl Fn() + Send + 'static) {}
