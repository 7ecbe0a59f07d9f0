//! What all callers share: behind a mutex where there are threads, in a cell where there is one context.

#[cfg(feature = "std")]
pub(crate) use hosted::Shared;

#[cfg(not(feature = "std"))]
pub(crate) use bare::Shared;

#[cfg(feature = "std")]
mod hosted {
    #[cfg(test)]
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
    use std::time::{Duration, Instant};

    use crate::types::INFINITE;

    /// A value for one thread at a time, and waiting for it to change.
    pub(crate) struct Shared<T> {
        value: Mutex<T>,
        changed: Condvar,
        /// How many threads wait for their turn.
        #[cfg(test)]
        waiting: AtomicUsize,
    }

    impl<T> Shared<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self {
                value: Mutex::new(value),
                changed: Condvar::new(),
                #[cfg(test)]
                waiting: AtomicUsize::new(0),
            }
        }

        /// Does something with the value. Who waits for it is not told.
        pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> Option<R> {
            Some(act(&mut self.lock()))
        }

        /// Does something with the value, and has those look again who wait for it.
        pub(crate) fn change<R>(&self, act: impl FnOnce(&mut T) -> R) -> Option<R> {
            let result = act(&mut self.lock());
            self.changed.notify_all();
            Some(result)
        }

        /// Waits until `look` finds what it looks for, for so many milliseconds at most.
        pub(crate) fn wait<R>(
            &self,
            milliseconds: u32,
            mut look: impl FnMut(&mut T) -> Option<R>,
        ) -> Option<R> {
            let end = Instant::now().checked_add(Duration::from_millis(milliseconds.into()));
            let mut value = self.lock();
            loop {
                if let Some(found) = look(&mut value) {
                    return Some(found);
                }
                let rest = match end.filter(|_| milliseconds != INFINITE) {
                    Some(end) => end.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())?,
                    None => Duration::MAX,
                };
                value = self.changed.wait_timeout(value, rest).unwrap_or_else(PoisonError::into_inner).0;
            }
        }

        fn lock(&self) -> MutexGuard<'_, T> {
            #[cfg(test)]
            self.waiting.fetch_add(1, Ordering::AcqRel);
            let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
            #[cfg(test)]
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            value
        }

        /// Whether a thread waits for its turn.
        #[cfg(test)]
        pub(crate) fn is_waited_for(&self) -> bool {
            self.waiting.load(Ordering::Acquire) > 0
        }
    }
}

#[cfg(not(feature = "std"))]
mod bare {
    use core::cell::RefCell;

    /// A value for the one context there is.
    pub(crate) struct Shared<T>(RefCell<T>);

    // SAFETY: the header has the caller promise that all calls are from one context, and none from an
    // interrupt; so nobody else is looking at the cell. A call from inside of a callback finds it borrowed.
    #[allow(unsafe_code, reason = "statics are shared by type, and here by nobody")]
    unsafe impl<T> Sync for Shared<T> {}

    impl<T> Shared<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(RefCell::new(value))
        }

        /// Does something with the value; `None` from inside of a callback.
        pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> Option<R> {
            self.0.try_borrow_mut().ok().map(|mut value| act(&mut value))
        }

        /// The same, since nobody waits.
        pub(crate) fn change<R>(&self, act: impl FnOnce(&mut T) -> R) -> Option<R> {
            self.with(act)
        }

        /// Looks once, since nothing changes while the only context waits.
        pub(crate) fn wait<R>(
            &self,
            _milliseconds: u32,
            look: impl FnOnce(&mut T) -> Option<R>,
        ) -> Option<R> {
            self.with(look).flatten()
        }
    }
}
