//! The code by which calls that return a BOOL tell more: one for each thread.

#[cfg(feature = "std")]
mod place {
    use std::cell::Cell;

    thread_local! { static LAST: Cell<u32> = const { Cell::new(0) }; }

    pub(crate) fn set(code: u32) {
        // A thread that ends asks no more.
        _ = LAST.try_with(|last| last.set(code));
    }

    pub(crate) fn get() -> u32 {
        LAST.try_with(Cell::get).unwrap_or_default()
    }
}

#[cfg(not(feature = "std"))]
mod place {
    use core::sync::atomic::{AtomicU32, Ordering};

    static LAST: AtomicU32 = AtomicU32::new(0);

    pub(crate) fn set(code: u32) {
        LAST.store(code, Ordering::Relaxed);
    }

    pub(crate) fn get() -> u32 {
        LAST.load(Ordering::Relaxed)
    }
}

pub(crate) use place::{get, set};
