//! An instance to test with, and what one does with it.

use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use peerdist::exports::client::*;
use peerdist::exports::common::*;
use peerdist::exports::server::*;
use peerdist::exports::signals::*;
use peerdist::machine::hosted::{peerdist_config, peerdist_configure};
use peerdist::types::*;

pub static TAG: PEERDIST_CONTENT_TAG = PEERDIST_CONTENT_TAG { Data: *b"conformance test" };

/// There is one service in a process, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// The only instance, unless a test makes more.
pub struct Desk {
    pub instance: HANDLE,
    pub queue: HANDLE,
    _turn: MutexGuard<'static, ()>,
}

/// What comes out of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub key: usize,
    pub bytes: u32,
    pub operation: *mut OVERLAPPED,
    pub code: u32,
}

impl Desk {
    /// The service is set to this status before the instance is made.
    pub fn with_status(status: PEERDIST_STATUS) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let config = peerdist_config {
            size: size_of::<peerdist_config>() as u32,
            versions: 0,
            address: c"127.0.98.1".as_ptr(),
            cache: null(),
            cache_bytes: 0,
            server_secret: null(),
            server_secret_bytes: 0,
            port: 0,
        };
        // SAFETY: it is valid, and so is the string.
        assert_eq!(unsafe { peerdist_configure(&raw const config) }, ERROR_SUCCESS);
        assert_eq!(peerdist_set_status(status), ERROR_SUCCESS);
        let instance = startup(PEERDIST_VERSION).expect("the version is ours");
        Self { instance, queue: peerdist_queue_create(), _turn: turn }
    }

    pub fn new() -> Self {
        Self::with_status(PEERDIST_STATUS_AVAILABLE)
    }

    /// The next packet; `None` if none comes in so many milliseconds.
    pub fn packet(&self, milliseconds: u32) -> Option<Packet> {
        let (mut bytes, mut key, mut operation) = (0, 0, null_mut());
        // SAFETY: they are ours.
        let fine = unsafe {
            peerdist_queue_get(self.queue, &raw mut bytes, &raw mut key, &raw mut operation, milliseconds)
        };
        let code = if fine == 0 { peerdist_last_error() } else { ERROR_SUCCESS };
        (code != WAIT_TIMEOUT).then_some(Packet { key, bytes, operation, code })
    }

    pub fn publish(&self, name: &[u8], len: u64, key: usize) -> Result<HANDLE, u32> {
        let mut stream = null_mut();
        // SAFETY: all of it is ours.
        let code = unsafe {
            PeerDistServerPublishStream(
                self.instance,
                name.len() as u32,
                name.as_ptr(),
                len,
                null(),
                self.queue,
                key,
                &raw mut stream,
            )
        };
        if code == ERROR_SUCCESS { Ok(stream) } else { Err(code) }
    }

    /// # Safety
    /// Bytes and operation are the library's if this is accepted.
    pub unsafe fn add(&self, stream: HANDLE, bytes: &[u8], operation: *mut OVERLAPPED) -> u32 {
        // SAFETY: the caller promises it.
        unsafe {
            PeerDistServerPublishAddToStream(
                self.instance,
                stream,
                bytes.len() as u32,
                bytes.as_ptr(),
                operation,
            )
        }
    }

    /// Publishes all of it, and takes the packets.
    pub fn publish_whole(&self, name: &[u8], content: &[u8]) {
        let stream = self.publish(name, 0, 0).unwrap();
        for bytes in content.chunks(1 << 20) {
            let mut operation = Operation::new();
            // SAFETY: it ends before they do.
            assert_eq!(unsafe { self.add(stream, bytes, operation.get()) }, ERROR_IO_PENDING);
            assert_eq!(operation.wait(), (ERROR_SUCCESS, bytes.len() as u32));
            assert_eq!(self.packet(INFINITE).map(|packet| packet.operation), Some(operation.get()));
        }
        let mut operation = Operation::new();
        // SAFETY: it ends before they do.
        let code = unsafe { PeerDistServerPublishCompleteStream(self.instance, stream, operation.get()) };
        assert_eq!((code, operation.wait().0), (ERROR_IO_PENDING, ERROR_SUCCESS));
        assert_eq!(self.packet(INFINITE).map(|packet| packet.operation), Some(operation.get()));
        assert_eq!(PeerDistServerCloseStreamHandle(self.instance, stream), ERROR_SUCCESS);
    }

    pub fn open_info(&self, name: &[u8], key: usize) -> Result<HANDLE, u32> {
        let mut info = null_mut();
        // SAFETY: all of it is ours.
        let code = unsafe {
            PeerDistServerOpenContentInformation(
                self.instance,
                name.len() as u32,
                name.as_ptr(),
                0,
                0,
                self.queue,
                key,
                &raw mut info,
            )
        };
        if code == ERROR_SUCCESS { Ok(info) } else { Err(code) }
    }

    /// The content information of what is published.
    pub fn info(&self, name: &[u8]) -> Vec<u8> {
        let info = self.open_info(name, 0).unwrap();
        let mut all = Vec::new();
        loop {
            let (mut operation, mut buffer) = (Operation::new(), [0; 1_000]);
            // SAFETY: it ends before they do.
            let code = unsafe {
                PeerDistServerRetrieveContentInformation(
                    self.instance,
                    info,
                    buffer.len() as u32,
                    buffer.as_mut_ptr(),
                    operation.get(),
                )
            };
            assert_eq!(code, ERROR_IO_PENDING);
            let (code, bytes) = operation.wait();
            assert_eq!(self.packet(INFINITE).map(|packet| packet.operation), Some(operation.get()));
            if code == PEERDIST_ERROR_NO_MORE {
                break;
            }
            assert_eq!((code, operation.offset()), (ERROR_SUCCESS, all.len() as u64));
            all.extend_from_slice(&buffer[..bytes as usize]);
        }
        assert_eq!(PeerDistServerCloseContentInformation(self.instance, info), ERROR_SUCCESS);
        all
    }

    pub fn open(&self, key: usize) -> HANDLE {
        let mut content = null_mut();
        // SAFETY: all of it is ours.
        let code = unsafe {
            PeerDistClientOpenContent(self.instance, &raw const TAG, self.queue, key, &raw mut content)
        };
        assert_eq!(code, ERROR_SUCCESS);
        content
    }

    /// A content that can be read, and the packets of which were taken.
    pub fn open_ready(&self, info: &[u8], key: usize) -> HANDLE {
        let content = self.open(key);
        let mut operation = Operation::new();
        // SAFETY: it ends before they do.
        let code = unsafe {
            PeerDistClientAddContentInformation(
                self.instance,
                content,
                info.len() as u32,
                info.as_ptr(),
                operation.get(),
            )
        };
        assert_eq!((code, operation.wait()), (ERROR_IO_PENDING, (ERROR_SUCCESS, info.len() as u32)));
        let mut complete = Operation::new();
        // SAFETY: it ends before it does.
        let code =
            unsafe { PeerDistClientCompleteContentInformation(self.instance, content, complete.get()) };
        assert_eq!((code, complete.wait().0), (ERROR_IO_PENDING, ERROR_SUCCESS));
        let keys = [self.packet(INFINITE), self.packet(INFINITE)].map(|packet| packet.unwrap().key);
        assert_eq!(keys, [key, key]);
        content
    }

    /// # Safety
    /// Buffer and operation are the library's if this is accepted.
    pub unsafe fn block_read(
        &self,
        content: HANDLE,
        buffer: &mut [u8],
        timeout: u32,
        operation: *mut OVERLAPPED,
    ) -> u32 {
        // SAFETY: the caller promises it.
        unsafe {
            PeerDistClientBlockRead(
                self.instance,
                content,
                buffer.len() as u32,
                buffer.as_mut_ptr(),
                timeout,
                operation,
            )
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        PeerDistShutdown(self.instance);
        peerdist_queue_close(self.queue);
    }
}

/// An OVERLAPPED at a place of its own.
pub struct Operation(Box<OVERLAPPED>);

impl Operation {
    pub fn new() -> Self {
        Self::at(0)
    }

    pub fn at(offset: u64) -> Self {
        Self(Box::new(OVERLAPPED {
            Internal: 0,
            InternalHigh: 0,
            Offset: offset as u32,
            OffsetHigh: (offset >> 32) as u32,
            hEvent: null_mut(),
        }))
    }

    pub fn with_event(event: HANDLE) -> Self {
        let mut operation = Self::new();
        operation.0.hEvent = event;
        operation
    }

    pub fn get(&mut self) -> *mut OVERLAPPED {
        &raw mut *self.0
    }

    pub fn offset(&self) -> u64 {
        u64::from(self.0.OffsetHigh) << 32 | u64::from(self.0.Offset)
    }

    /// Whether it was never touched.
    pub fn is_untouched(&self) -> bool {
        self.0.Internal == 0 && self.0.InternalHigh == 0
    }

    /// Its code and bytes, once it has ended.
    pub fn wait(&mut self) -> (u32, u32) {
        self.result(1)
    }

    /// Its code and bytes now.
    pub fn poll(&mut self) -> (u32, u32) {
        self.result(0)
    }

    fn result(&mut self, wait: BOOL) -> (u32, u32) {
        let mut bytes = 0;
        // SAFETY: they are ours.
        let fine = unsafe { PeerDistGetOverlappedResult(self.get(), &raw mut bytes, wait) };
        (if fine == 0 { peerdist_last_error() } else { ERROR_SUCCESS }, bytes)
    }
}

pub fn startup(version: u32) -> Result<HANDLE, (u32, u32)> {
    let (mut instance, mut supported) = (null_mut(), 0);
    // SAFETY: they are ours.
    let code = unsafe { PeerDistStartup(version, &raw mut instance, &raw mut supported) };
    if code == ERROR_SUCCESS { Ok(instance) } else { Err((code, supported)) }
}

pub fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}
