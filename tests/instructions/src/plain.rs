//! A client and a server that are nothing but smoltcp: what the node's work is told apart from.

use core::cell::RefCell;

use heapless::Vec;
use peerdist_core::bytes::Writer;
use peerdist_core::retrieval::wire::{GET_BLOCKS_BYTES, GetBlocks, PATH};
use peerdist_core::store::{BlockId, Store, Stored};
use peerdist_core::time::Instant;
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::wire::IpAddress;

use crate::cable::Card;
use crate::stack::{self, PORT};

/// What stands in front of a block in a reply, at most.
pub const HEAD_BYTES: usize = 512;

/// Asks for blocks, one after the other over one connection, and counts what comes.
pub struct Client<'c> {
    card: Card<'c>,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// What is asked for next.
    next: BlockId,
    /// How many blocks there are.
    blocks: u32,
    /// The beginning of the last reply.
    pub head: Vec<u8, HEAD_BYTES>,
    /// Bytes of the last reply, and how many of them have come.
    pub len: usize,
    got: usize,
    /// The request has been sent.
    asked: bool,
}

impl<'c> Client<'c> {
    /// One with that address.
    pub fn new(number: u8, mut card: Card<'c>, first: BlockId, blocks: u32) -> Self {
        let interface = stack::interface(number, &mut card);
        let mut sockets = stack::sockets();
        let handle = stack::add_tcp(&mut sockets);
        let head = Vec::new();
        Self { card, interface, sockets, handle, next: first, blocks, head, len: 0, got: 0, asked: false }
    }

    /// Connects to the machine of that number, and begins anew with the first block.
    pub fn connect(&mut self, number: u8) {
        self.next.index = 0;
        self.begin();
        let remote = (IpAddress::Ipv4(stack::address(number)), PORT);
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        socket.abort();
        socket.set_nagle_enabled(false);
        socket.connect(self.interface.context(), remote, 40_000 + u16::from(number)).unwrap();
    }

    fn begin(&mut self) {
        self.head.clear();
        (self.len, self.got, self.asked) = (0, 0, false);
    }

    /// Takes and sends what there is; and whether all blocks have come.
    pub fn poll(&mut self, now: Instant) -> (Option<Instant>, bool) {
        let time = stack::time(now);
        self.interface.poll(time, &mut self.card, &mut self.sockets);
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        while socket.can_recv() {
            let Self { head, len, got, .. } = self;
            let taken = socket.recv(|data| {
                if *len == 0 {
                    let room = HEAD_BYTES - head.len();
                    head.extend_from_slice(&data[..room.min(data.len())]).unwrap();
                    *len = whole_len(head).unwrap_or(0);
                }
                *got += data.len();
                (data.len(), ())
            });
            taken.unwrap();
            if self.len > 0 && self.got == self.len {
                self.next.index += 1;
                if self.next.index == self.blocks {
                    return (None, true);
                }
                (self.len, self.got, self.asked) = (0, 0, false);
                self.head.clear();
            }
        }
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        if !self.asked && socket.can_send() {
            let mut body = [0; GET_BLOCKS_BYTES];
            let mut writer = Writer::new(&mut body);
            GetBlocks::emit_one(self.next.segment.as_bytes(), self.next.index, &mut writer).unwrap();
            let body = writer.finish();
            for part in [
                "POST ",
                PATH,
                " HTTP/1.1\r\nHost: peer\r\nConnection: keep-alive\r\nContent-Length: ",
                heapless::format!(8; "{}\r\n\r\n", body.len()).unwrap().as_str(),
            ] {
                socket.send_slice(part.as_bytes()).unwrap();
            }
            socket.send_slice(body).unwrap();
            self.asked = true;
            self.interface.poll(time, &mut self.card, &mut self.sockets);
        }
        (stack::next(self.interface.poll_at(time, &self.sockets)), false)
    }
}

/// Bytes of a whole reply that begins so; `None` until its head is there.
fn whole_len(head: &[u8]) -> Option<usize> {
    let text = |at: usize, wanted: &[u8]| {
        head.get(at..at + wanted.len()).is_some_and(|it| it.eq_ignore_ascii_case(wanted))
    };
    let end = (0..head.len()).find(|at| text(*at, b"\r\n\r\n"))? + 4;
    let field = b"\r\ncontent-length: ";
    let value = (0..end).find(|at| text(*at, field))? + field.len();
    let digits = head[value..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(end + digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')))
}

/// Answers each request with the bytes that a node would send, out of the same store.
pub struct Server<'c> {
    card: Card<'c>,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// What stands in front of a block.
    head: Vec<u8, HEAD_BYTES>,
    next: BlockId,
    /// The block that is sent, and how much of head and block is gone.
    sending: Option<(Stored, usize)>,
}

impl<'c> Server<'c> {
    /// One with that address, that begins with `first`.
    pub fn new(number: u8, mut card: Card<'c>, first: BlockId, head: Vec<u8, HEAD_BYTES>) -> Self {
        let interface = stack::interface(number, &mut card);
        let mut sockets = stack::sockets();
        let handle = stack::add_tcp(&mut sockets);
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.set_nagle_enabled(false);
        socket.listen(PORT).unwrap();
        Self { card, interface, sockets, handle, head, next: first, sending: None }
    }

    /// Takes a request, sends what there is room for.
    pub fn poll(&mut self, now: Instant, store: &RefCell<&mut dyn Store>) -> (Option<Instant>, bool) {
        let time = stack::time(now);
        let mut more = true;
        while more {
            self.interface.poll(time, &mut self.card, &mut self.sockets);
            more = self.send(&mut **store.borrow_mut());
        }
        (stack::next(self.interface.poll_at(time, &self.sockets)), false)
    }

    fn send(&mut self, store: &mut dyn Store) -> bool {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        let mut moved = false;
        // A request comes in one segment.
        while socket.can_recv() {
            socket.recv(|data| (data.len(), ())).unwrap();
            if self.sending.is_none() {
                self.sending = store.find(&self.next).map(|stored| (stored, 0));
            }
            moved = true;
        }
        while let Some((stored, gone)) = &mut self.sending
            && socket.can_send()
        {
            let head = &self.head;
            let sent = socket.send(|room| {
                let len = match head.get(*gone..).filter(|rest| !rest.is_empty()) {
                    Some(rest) => {
                        let len = rest.len().min(room.len());
                        room[..len].copy_from_slice(&rest[..len]);
                        len
                    }
                    None => {
                        let offset = *gone - head.len();
                        let len = (stored.len as usize - offset).min(room.len());
                        store.read(stored.slot, offset as u32, &mut room[..len]).unwrap();
                        len
                    }
                };
                (len, len)
            });
            *gone += sent.unwrap();
            moved = true;
            if *gone == head.len() + stored.len as usize {
                self.sending = None;
                self.next.index += 1;
            }
        }
        moved
    }
}
