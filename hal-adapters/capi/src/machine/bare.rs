//! On bare metal: the caller gives memory once, moves bytes and time, and is the only context.
#![allow(unsafe_code, reason = "memory, and functions that are called back")]

mod memory;
mod platform;

use core::ffi::c_void;
use core::mem::MaybeUninit;

use peerdist_core::api::waiting::Page as WaitingPage;
use peerdist_core::api::{Lending, Published, Tabled, client};
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::discovery::Subnet;
use peerdist_core::node::{Config, Input, Node, Output, Serving, StreamId};
use peerdist_core::store::ram::{Entry, Page, RamStore};
use peerdist_core::time::Instant;

use self::memory::Memory;
use self::platform::{Entropy, Platform, address, callbacks, socket};
use crate::caller;
use crate::service::{Answer, Service};
use crate::sync::Shared;
use crate::types::*;

pub(crate) const INSTANCES: usize = 2;
pub(crate) const STREAMS: usize = 2;
pub(crate) const INFOS: usize = 2;
pub(crate) const CONTENTS: usize = client::CONTENTS;
pub(crate) const OPERATIONS: usize = 16;

/// Publications; with the contents, as many as a store in memory has content informations for.
const PUBLICATIONS: usize = 2;

/// Pages of data that cannot be verified yet: a block's.
const WAITING_PAGES: usize = 128;

/// Bytes that the node is given at once.
pub(crate) const PIECE: usize = 4_096;

/// Connections at once.
const CONNECTIONS: usize = 8;

/// Blocks that are fetched at once.
const BLOCKS: usize = 2;

/// What is sent at once: a datagram, or bytes of a connection.
const BUFFER_BYTES: usize = 1_472;

/// Rounds in one peerdist_poll; what is left is for the next.
const ROUNDS: usize = 16;

type Store = RamStore<&'static mut [Page], &'static mut [Entry], &'static mut [u8]>;
type Application = Lending<'static, Tabled<INSTANCES, PUBLICATIONS, STREAMS, INFOS, CONTENTS, OPERATIONS, 0>>;
type BareNode = Node<Store, SoftCrypto, Entropy, CONNECTIONS, BLOCKS, 0, Serving, Application>;

pub(crate) type Machine = &'static mut BareNode;

/// An address and a port.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct peerdist_address {
    /// 4 or 6.
    pub family: u8,
    /// Of its network: how many bits all hosts there share.
    pub prefix: u8,
    /// The port, as a number.
    pub port: u16,
    /// The bytes of the address as they are sent; of IPv4, the first four.
    pub bytes: [u8; 16],
}

/// What the library calls on bare metal; all of it, with `context`, from inside of its own functions and never
/// afterwards. A callback must not call the library: what is asked of it then is refused by
/// PEERDIST_ERROR_SERVICE_UNAVAILABLE.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct peerdist_platform {
    /// The size of this structure.
    pub size: DWORD,
    /// Grows with each start of the machine, so that peers notice the restart: a counter, or a clock.
    pub instance: DWORD,
    /// Which versions of content information are published: 1, 2, or 0 for both.
    pub versions: DWORD,
    /// Bytes of the key from which segments get their secrets.
    pub server_secret_bytes: DWORD,
    /// That key, or NULL: then one is drawn.
    pub server_secret: *const u8,
    /// Under which address peers reach this machine, with its network, and on which port.
    pub address: peerdist_address,
    /// Handed to all that follow.
    pub context: *mut c_void,
    /// Sends a datagram from UDP port 3702; to a group, with a TTL of 1.
    pub send_datagram: Option<
        unsafe extern "C" fn(context: *mut c_void, to: *const peerdist_address, data: *const u8, len: usize),
    >,
    /// Begins to open a TCP connection, which has this number from now on; 0 if there is no socket for it.
    pub open: Option<
        unsafe extern "C" fn(context: *mut c_void, connection: DWORD, to: *const peerdist_address) -> BOOL,
    >,
    /// Closes a connection once all that was given was sent. Its number is forgotten.
    pub close: Option<unsafe extern "C" fn(context: *mut c_void, connection: DWORD)>,
    /// Resets a connection at once. Its number is forgotten.
    pub reset: Option<unsafe extern "C" fn(context: *mut c_void, connection: DWORD)>,
    /// How many bytes can be sent on a connection now.
    pub room: Option<unsafe extern "C" fn(context: *mut c_void, connection: DWORD) -> usize>,
    /// Sends bytes, which there was room for.
    pub send:
        Option<unsafe extern "C" fn(context: *mut c_void, connection: DWORD, data: *const u8, len: usize)>,
    /// The bytes that were not used by peerdist_received can be offered again.
    pub resume: Option<unsafe extern "C" fn(context: *mut c_void, connection: DWORD)>,
    /// Fills a buffer with random bytes that are fit for keys.
    pub entropy: Option<unsafe extern "C" fn(context: *mut c_void, buffer: *mut u8, len: usize)>,
    /// The library has found a mistake of its own, and can do nothing more; this should not return.
    pub fatal: Option<unsafe extern "C" fn(context: *mut c_void)>,
}

/// The service with its surroundings.
struct Board {
    service: Service,
    platform: Platform,
    /// The streams of the node that have a connection.
    streams: [Option<StreamId>; CONNECTIONS],
    now: Instant,
    buffer: [u8; BUFFER_BYTES],
}

static BOARD: Shared<Option<&'static mut Board>> = Shared::new(None);

/// What the panic handler calls.
static FATAL: Shared<Option<Platform>> = Shared::new(None);

pub(crate) fn with<T>(act: impl FnOnce(&mut Service, Instant) -> Answer<T>) -> Answer<T> {
    let answer = BOARD.with(|board| {
        // Before peerdist_init no handle is valid.
        let board = board.as_mut().ok_or(ERROR_INVALID_HANDLE)?;
        act(&mut board.service, board.now)
    });
    // From inside of a callback.
    answer.unwrap_or(Err(PEERDIST_ERROR_SERVICE_UNAVAILABLE))
}

pub(crate) fn startup(version: DWORD) -> Answer<PEERDIST_INSTANCE_HANDLE> {
    match with(|service, _| service.startup(version)) {
        Err(ERROR_INVALID_HANDLE) => Err(PEERDIST_ERROR_NOT_INITIALIZED),
        answer => answer,
    }
}

pub(crate) fn shutdown(instance: HANDLE) -> Answer<()> {
    with(|service, _| service.shutdown(instance))
}

pub(crate) fn set_status(status: PEERDIST_STATUS) -> Answer<()> {
    let status = super::status(status)?;
    with(|service, _| {
        service.set_status(status);
        Ok(())
    })
}

/// Sets up the library on bare metal: with memory that is its own from now on, the larger the more blocks it keeps.
/// ERROR_NOT_ENOUGH_MEMORY if it is too small; PEERDIST_ERROR_ALREADY_INITIALIZED the second time.
///
/// All calls of the library have to come from one context, and none from an interrupt. On a Cortex-M3 this one takes
/// 12,000 bytes of the stack at most, peerdist_poll some 13,000 without the callbacks, and all others less: 16 KiB do.
///
/// # Safety
/// `memory` is valid for so many bytes, for ever, and nobody else uses it. `platform` is valid until this returns,
/// and what it names can be called for ever.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerdist_init(
    memory: *mut c_void,
    memory_bytes: usize,
    platform: *const peerdist_platform,
) -> DWORD {
    // SAFETY: the caller promises it. The size stands first.
    let size = unsafe { caller::read(platform.cast::<DWORD>()) };
    if memory.is_null() || size != Some(size_of::<peerdist_platform>() as DWORD) {
        return ERROR_INVALID_PARAMETER;
    }
    // SAFETY: as above.
    let Some(platform) = (unsafe { caller::read(platform) }) else { return ERROR_INVALID_PARAMETER };
    let place = BOARD.with(|board| {
        if board.is_some() {
            return PEERDIST_ERROR_ALREADY_INITIALIZED;
        }
        // SAFETY: the caller promises it.
        let mut memory = unsafe { Memory::new(memory.cast(), memory_bytes) };
        let made = Places::of(&mut memory).ok_or(ERROR_NOT_ENOUGH_MEMORY);
        match made.and_then(|places| Board::new(places, &platform)) {
            Ok(made) => {
                *board = Some(made);
                ERROR_SUCCESS
            }
            Err(code) => code,
        }
    });
    place.unwrap_or(PEERDIST_ERROR_SERVICE_UNAVAILABLE)
}

/// Has the library do what there is to do at `now`, in microseconds of a clock that never goes back, and returns
/// when to call it again at the latest: `now` means at once, UINT64_MAX never. To be called after each other call,
/// too: what those leave to do is done here.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_poll(now: ULONGLONG) -> ULONGLONG {
    let next = on_board(None, |board| {
        board.now = board.now.max(Instant::from_micros(now));
        board.poll()
    });
    next.map_or(u64::MAX, Instant::micros)
}

/// A datagram has come to UDP port 3702.
///
/// # Safety
/// The pointers are NULL or valid until this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerdist_datagram(from: *const peerdist_address, data: *const u8, len: usize) {
    // SAFETY: the caller promises it.
    let (from, data) = unsafe { (caller::read(from), bytes(data, len)) };
    let Some(from) = from.as_ref().and_then(socket) else { return };
    on_board((), |board| {
        board.service.node.handle_input(board.now, Input::Datagram { from, data });
    });
}

/// Somebody has connected to our port: the number of the connection from now on, or 0 if it is to be reset.
///
/// # Safety
/// The pointer is NULL or valid until this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerdist_accept(from: *const peerdist_address) -> DWORD {
    // SAFETY: the caller promises it.
    let from = unsafe { caller::read(from) };
    let Some(from) = from.as_ref().and_then(socket) else { return 0 };
    on_board(0, |board| {
        let stream = board.service.node.accept(board.now, from);
        stream.map_or(0, |stream| board.keep(stream))
    })
}

/// A connection that the library asked for is open.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_connected(connection: DWORD) {
    on_stream(connection, (), |board, stream| {
        board.service.node.handle_input(board.now, Input::Connected { stream });
    });
}

/// Bytes have come on a connection. Returns how many were used; the rest is to be offered again after `resume` was
/// called, in front of all that comes later.
///
/// # Safety
/// The pointer is NULL or valid for so many bytes, until this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerdist_received(connection: DWORD, data: *const u8, len: usize) -> usize {
    // SAFETY: the caller promises it.
    let data = unsafe { bytes(data, len) };
    on_stream(connection, 0, |board, stream| {
        board.service.node.handle_input(board.now, Input::Data { stream, data })
    })
}

/// The other side sends no more on a connection, and all that it has sent was used.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_ended(connection: DWORD) {
    on_stream(connection, (), |board, stream| {
        board.service.node.handle_input(board.now, Input::Eof { stream });
    });
}

/// A connection is lost, or did not come about. Its number is forgotten.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_lost(connection: DWORD) {
    on_stream(connection, (), |board, stream| {
        board.service.node.handle_input(board.now, Input::Lost { stream });
        board.forget(stream);
    });
}

/// Where things are put.
struct Places {
    board: &'static mut MaybeUninit<Board>,
    node: &'static mut MaybeUninit<BareNode>,
    waiting: &'static mut [WaitingPage],
    /// Of all the memory that is left.
    store: Store,
}

impl Places {
    /// By itself: what this takes of the stack is not taken beside what making a node takes.
    #[inline(never)]
    fn of(memory: &mut Memory) -> Option<Self> {
        Some(Self {
            board: memory.room()?,
            node: memory.room()?,
            waiting: memory.slice(WAITING_PAGES, || WaitingPage::EMPTY)?,
            store: store(memory)?,
        })
    }
}

impl Board {
    /// Made where it stays.
    #[inline(never)]
    fn new(places: Places, platform: &peerdist_platform) -> Answer<&'static mut Self> {
        let (callbacks, entropy) = callbacks(platform).ok_or(ERROR_INVALID_PARAMETER)?;
        let address = socket(&platform.address).ok_or(ERROR_INVALID_PARAMETER)?;
        // SAFETY: the caller of peerdist_init promises that what is not NULL has so many bytes.
        let secret = unsafe { bytes(platform.server_secret, platform.server_secret_bytes as usize) };
        let published = match platform.versions {
            0 => Published::Both,
            1 => Published::V1,
            2 => Published::V2,
            _ => return Err(ERROR_INVALID_PARAMETER),
        };
        let Places { board, node, waiting, store } = places;
        let config = Config {
            port: address.port(),
            instance_id: platform.instance,
            reserved_streams: CONNECTIONS / 2,
            max_uploads: CONNECTIONS / 2,
            ..Config::default()
        };
        let node = node.write(Node::new(config, store, SoftCrypto, entropy));
        node.application().lend_pages(waiting);
        node.set_addresses(&[Subnet { address: address.ip(), prefix: platform.address.prefix }]);
        node.api().set_published(published);
        if !secret.is_empty() {
            node.api().set_server_secret(secret);
        }
        FATAL.with(|fatal| *fatal = Some(callbacks));
        Ok(board.write(Self {
            service: Service::new(node, 0),
            platform: callbacks,
            streams: [None; CONNECTIONS],
            now: Instant::ZERO,
            buffer: [0; BUFFER_BYTES],
        }))
    }

    /// Does what can be done. When there is something to do again.
    fn poll(&mut self) -> Option<Instant> {
        let now = self.now;
        self.service.node.handle_input(now, Input::Timeout);
        for _ in 0..ROUNDS {
            self.drain();
            let sent = self.send();
            let more = self.service.work();
            let next = self.service.node.poll_timeout(now);
            if !sent && !more && next.is_none_or(|next| next > now) {
                return next;
            }
        }
        Some(now)
    }

    /// Has the platform do what the node wants.
    fn drain(&mut self) {
        let Self { service, platform, streams, now, buffer } = self;
        let Platform { context, .. } = *platform;
        while let Some(output) = service.node.poll_output(*now, buffer) {
            match output {
                Output::Datagram { to, data } => {
                    let to = address(to);
                    // SAFETY: who gave the callbacks promises that they can be called like this.
                    unsafe { (platform.send_datagram)(context, &raw const to, data.as_ptr(), data.len()) };
                }
                Output::Connect { stream, remote, .. } => {
                    let to = address(remote);
                    keep(streams, stream);
                    // SAFETY: as above.
                    let opened = unsafe { (platform.open)(context, number(stream), &raw const to) };
                    if opened == 0 {
                        forget(streams, stream);
                        service.node.handle_input(*now, Input::NoSocket { stream });
                    }
                }
                Output::Close { stream } => {
                    forget(streams, stream);
                    // SAFETY: as above.
                    unsafe { (platform.close)(context, number(stream)) };
                }
                Output::Abort { stream } => {
                    forget(streams, stream);
                    // SAFETY: as above.
                    unsafe { (platform.reset)(context, number(stream)) };
                }
                Output::Resume { stream } => {
                    // SAFETY: as above.
                    unsafe { (platform.resume)(context, number(stream)) };
                }
                // Nobody downloads here.
                Output::Data { .. } | Output::Moved { .. } | Output::Download { .. } => {}
            }
        }
    }

    /// Sends what the streams have to say; whether there was anything.
    fn send(&mut self) -> bool {
        let Self { service, platform, streams, now, buffer } = self;
        let Platform { context, .. } = *platform;
        let mut sent = false;
        for place in streams {
            while let Some(stream) = *place {
                // SAFETY: who gave the callbacks promises that they can be called like this.
                let room = unsafe { (platform.room)(context, number(stream)) };
                let room = buffer.get_mut(..room.min(BUFFER_BYTES)).unwrap_or_default();
                let len = match service.node.poll_stream(*now, stream, room) {
                    Ok(0) => break,
                    Ok(len) => len,
                    Err(_) => {
                        *place = None;
                        // SAFETY: as above.
                        unsafe { (platform.reset)(context, number(stream)) };
                        break;
                    }
                };
                sent = true;
                // SAFETY: as above.
                unsafe { (platform.send)(context, number(stream), room.as_ptr(), len) };
            }
        }
        sent
    }

    fn keep(&mut self, stream: StreamId) -> DWORD {
        keep(&mut self.streams, stream);
        number(stream)
    }

    fn forget(&mut self, stream: StreamId) {
        forget(&mut self.streams, stream);
    }
}

fn on_board<R>(otherwise: R, act: impl FnOnce(&mut Board) -> R) -> R {
    BOARD.with(|board| board.as_mut().map(|board| act(board))).flatten().unwrap_or(otherwise)
}

fn on_stream<R>(connection: DWORD, otherwise: R, act: impl FnOnce(&mut Board, StreamId) -> R) -> R {
    on_board(None, |board| {
        let stream = board.streams.iter().flatten().find(|stream| number(**stream) == connection).copied()?;
        Some(act(board, stream))
    })
    .unwrap_or(otherwise)
}

fn keep(streams: &mut [Option<StreamId>; CONNECTIONS], stream: StreamId) {
    if let Some(place) = streams.get_mut(usize::from(stream.index)) {
        *place = Some(stream);
    }
}

fn forget(streams: &mut [Option<StreamId>; CONNECTIONS], stream: StreamId) {
    if let Some(place) = streams.get_mut(usize::from(stream.index))
        && *place == Some(stream)
    {
        *place = None;
    }
}

/// The number of a connection, which is never 0.
fn number(stream: StreamId) -> DWORD {
    (stream.generation << 8) | (u32::from(stream.index) + 1)
}

/// A store in all the memory that is left: an eighth for content information, the rest for blocks.
fn store(memory: &mut Memory) -> Option<Store> {
    let infos = memory.slice(memory.left() / 8, || 0u8)?;
    // Segments of content information 2.0 have fewer pages than a block of 1.0 has.
    const PAGES_OF_ENTRY: usize = 8;
    let pages = memory.left() / (size_of::<Page>() + size_of::<Entry>().div_ceil(PAGES_OF_ENTRY));
    // One of each is lost to alignment at most.
    let pages = pages.checked_sub(2)?;
    let entries = memory.slice(pages.div_ceil(PAGES_OF_ENTRY), || Entry::EMPTY)?;
    let pages = memory.slice(pages, || Page::EMPTY)?;
    Some(RamStore::new(pages, entries, infos))
}

/// # Safety
/// What is not NULL points to so many bytes, which nobody writes to for as long as they are used.
unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if data.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: the caller promises it.
    unsafe { core::slice::from_raw_parts(data, len) }
}

/// A mistake of the library's: the platform is told, and nothing goes on.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    if let Some(platform) = FATAL.with(|platform| *platform).flatten() {
        // SAFETY: who gave the callback promises that it can be called like this.
        unsafe { (platform.fatal)(platform.context) };
    }
    loop {
        core::hint::spin_loop();
    }
}
