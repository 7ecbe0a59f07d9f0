//! What somebody who looks on wants to happen in a run in real time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::scenario::Member;

/// Something that is to happen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The clients may start: all times of the scenario count from now.
    Start,
    /// That host is without its cable.
    Leave(Member),
    /// It has it again.
    Return(Member),
    /// A hostile host opens connections to that one, as many as a flood has that says nothing else.
    Flood(Member),
}

/// Orders on their way to a run; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Orders(Arc<Mutex<VecDeque<Order>>>);

impl Orders {
    /// Has that done next, after what was given before.
    pub fn give(&self, order: Order) {
        self.lock().push_back(order);
    }

    /// What is to be done next.
    pub(super) fn take(&self) -> Option<Order> {
        self.lock().pop_front()
    }

    /// Whether something is.
    pub(super) fn are_waiting(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Whoever panicked left a list of orders.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Order>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
