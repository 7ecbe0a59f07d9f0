//! What stands in for events and completion ports where there is no Windows: the same calls, in the same
//! observable order.

use crate::caller::Address;
use crate::handle::{Kind, Table};
use crate::sync::Shared;
use crate::types::{DWORD, ERROR_INVALID_HANDLE, ERROR_NOT_ENOUGH_MEMORY, HANDLE};

#[cfg(feature = "std")]
mod sizes {
    pub(super) const EVENTS: usize = 1_024;
    pub(super) const QUEUES: usize = 256;
    /// Packets in a queue, and those that operations under way will put into it.
    pub(super) const PACKETS: usize = 1 << 20;
    pub(super) type Packets = std::collections::VecDeque<super::Packet>;
}

#[cfg(not(feature = "std"))]
mod sizes {
    pub(super) const EVENTS: usize = 16;
    pub(super) const QUEUES: usize = 4;
    /// Packets in a queue, and those that operations under way will put into it.
    pub(super) const PACKETS: usize = 64;
    pub(super) type Packets = heapless::Deque<super::Packet, PACKETS>;
}

use sizes::{EVENTS, PACKETS, Packets, QUEUES};

/// All events and queues of the process, and the news that an operation has ended.
pub(crate) static SIGNALS: Shared<Signals> = Shared::new(Signals::new());

pub(crate) struct Signals {
    /// Whether each is set.
    pub(crate) events: Table<bool, EVENTS>,
    queues: Table<Queue, QUEUES>,
}

#[derive(Default)]
struct Queue {
    packets: Packets,
    /// Packets that operations under way will put into it.
    awaited: usize,
}

/// What comes out of a queue.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    pub(crate) key: usize,
    pub(crate) bytes: DWORD,
    pub(crate) overlapped: Address,
    pub(crate) code: DWORD,
}

impl Signals {
    const fn new() -> Self {
        Self { events: Table::new(Kind::Event), queues: Table::new(Kind::Queue) }
    }

    pub(crate) fn create_queue(&mut self) -> Option<HANDLE> {
        self.queues.insert(Queue::default())
    }

    /// Closes a queue with what is in it. What operations under way would put into it is dropped.
    pub(crate) fn close_queue(&mut self, queue: HANDLE) -> Result<(), DWORD> {
        self.queues.remove(queue).map(drop).ok_or(ERROR_INVALID_HANDLE)
    }

    /// Whether there is such a queue, or it is NULL, which is none.
    pub(crate) fn is_port(&self, queue: HANDLE) -> bool {
        queue.is_null() || self.queues.get(queue).is_some()
    }

    /// An operation is about to be accepted: an event that is none would never tell its end, and a queue
    /// keeps room for its packet.
    pub(crate) fn expect(&mut self, event: HANDLE, queue: HANDLE) -> Result<(), DWORD> {
        if !event.is_null() && self.events.get(event).is_none() {
            return Err(ERROR_INVALID_HANDLE);
        }
        // A queue that was closed since is no reason to refuse: nobody waits for it.
        if let Some(queue) = self.queues.get_mut(queue) {
            if !queue.has_room() {
                return Err(ERROR_NOT_ENOUGH_MEMORY);
            }
            queue.awaited += 1;
        }
        Ok(())
    }

    /// It was accepted. Its event is reset, as by calls of Windows that take an OVERLAPPED, so that it can
    /// be used again.
    pub(crate) fn reset(&mut self, event: HANDLE) {
        if let Some(is_set) = self.events.get_mut(event) {
            *is_set = false;
        }
    }

    /// It was not accepted after all.
    pub(crate) fn forget(&mut self, queue: HANDLE) {
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.awaited = queue.awaited.saturating_sub(1);
        }
    }

    /// It has ended. C1: the event is set and the packet queued, whichever of the two the caller awaits.
    pub(crate) fn tell(&mut self, event: HANDLE, queue: HANDLE, packet: Packet) {
        if let Some(is_set) = self.events.get_mut(event) {
            *is_set = true;
        }
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.awaited = queue.awaited.saturating_sub(1);
            queue.put(packet);
        }
    }

    /// Puts a packet of the caller's own into a queue.
    pub(crate) fn post(&mut self, queue: HANDLE, packet: Packet) -> Result<(), DWORD> {
        let queue = self.queues.get_mut(queue).ok_or(ERROR_INVALID_HANDLE)?;
        if !queue.has_room() {
            return Err(ERROR_NOT_ENOUGH_MEMORY);
        }
        queue.put(packet);
        Ok(())
    }

    /// The next packet of a queue, if there is one.
    pub(crate) fn get(&mut self, queue: HANDLE) -> Result<Option<Packet>, DWORD> {
        let queue = self.queues.get_mut(queue).ok_or(ERROR_INVALID_HANDLE)?;
        Ok(queue.packets.pop_front())
    }
}

impl Queue {
    fn has_room(&self) -> bool {
        self.packets.len() + self.awaited < PACKETS
    }

    #[allow(clippy::let_unit_value, reason = "the two kinds of deque answer differently")]
    fn put(&mut self, packet: Packet) {
        // There was room when it was announced.
        let _ = self.packets.push_back(packet);
    }
}
