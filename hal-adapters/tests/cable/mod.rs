//! A cable between two stacks, that can be told what to lose.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};

/// Frames on their way to one side.
pub type Queue = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// One end of the cable.
pub struct Card {
    incoming: Queue,
    outgoing: Queue,
    /// Loses the TCP segments that it sends.
    pub mute: bool,
}

pub struct Incoming(Vec<u8>);

pub struct Outgoing<'a>(&'a Card);

impl Card {
    pub fn new(incoming: &Queue, outgoing: &Queue) -> Self {
        Self { incoming: incoming.clone(), outgoing: outgoing.clone(), mute: false }
    }
}

impl Device for Card {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Incoming, Outgoing<'_>)> {
        let frame = self.incoming.borrow_mut().pop_front()?;
        Some((Incoming(frame), Outgoing(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1_514;
        capabilities
    }
}

impl RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut frame = vec![0; len];
        let result = fill(&mut frame);
        // IPv4 in Ethernet, TCP in IPv4.
        let is_tcp = frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&6);
        if !(self.0.mute && is_tcp) {
            self.0.outgoing.borrow_mut().push_back(frame);
        }
        result
    }
}
