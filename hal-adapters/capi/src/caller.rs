//! The caller's memory. From the acceptance of an operation to its end its OVERLAPPED, its buffer and what
//! it fills are ours (3.2 of the reference); before and after they are not touched.
#![allow(unsafe_code, reason = "pointers that C hands in are followed here, and nowhere else")]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::types::{DWORD, HANDLE, OVERLAPPED, STATUS_PENDING};

/// The OVERLAPPED of an operation.
pub(crate) struct Overlapped(NonNull<OVERLAPPED>);

/// A pointer to an OVERLAPPED that goes back to the caller. Nobody here follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) *mut OVERLAPPED);

/// Bytes that the caller gives.
pub(crate) struct Input {
    bytes: *const u8,
    len: usize,
}

/// Room that the caller gives.
pub(crate) struct Room {
    bytes: *mut u8,
    len: usize,
}

/// A value that the caller wants.
pub(crate) struct Out<T>(NonNull<T>);

// SAFETY: who makes one promises that the memory is ours until the operation ends, in whatever thread that is.
unsafe impl Send for Overlapped {}
// SAFETY: it is a number here.
unsafe impl Send for Address {}
// SAFETY: as for `Overlapped`.
unsafe impl Send for Input {}
// SAFETY: as for `Overlapped`.
unsafe impl Send for Room {}
// SAFETY: as for `Overlapped`.
unsafe impl<T: Send> Send for Out<T> {}

impl Overlapped {
    /// `None` of NULL.
    ///
    /// # Safety
    /// What is not NULL points to an OVERLAPPED that nobody else writes to until [`finish`](Self::finish).
    pub(crate) unsafe fn new(pointer: *mut OVERLAPPED) -> Option<Self> {
        NonNull::new(pointer).map(Self)
    }

    pub(crate) fn address(&self) -> Address {
        Address(self.0.as_ptr())
    }

    /// The offset that the caller gave.
    pub(crate) fn offset(&self) -> u64 {
        // SAFETY: by `new` it is there, and nobody writes to it.
        let (low, high) = unsafe { ((*self.0.as_ptr()).Offset, (*self.0.as_ptr()).OffsetHigh) };
        u64::from(high) << 32 | u64::from(low)
    }

    /// The event that is set at the end.
    pub(crate) fn event(&self) -> HANDLE {
        // SAFETY: by `new` it is there, and nobody writes to it.
        unsafe { (*self.0.as_ptr()).hEvent }
    }

    /// The operation is accepted.
    pub(crate) fn begin(&mut self) {
        // SAFETY: by `new` it is there, and ours.
        unsafe { (*self.0.as_ptr()).InternalHigh = 0 };
        internal(self.0).store(STATUS_PENDING as usize, Ordering::Release);
    }

    /// The operation has ended; from now on the memory is the caller's.
    pub(crate) fn finish(self, code: DWORD, bytes: DWORD, offset: Option<u64>) {
        let overlapped = self.0.as_ptr();
        // SAFETY: by `new` it is there, and ours until the code is in it, which comes last.
        unsafe {
            (*overlapped).InternalHigh = bytes as usize;
            if let Some(offset) = offset {
                ((*overlapped).Offset, (*overlapped).OffsetHigh) = (offset as u32, (offset >> 32) as u32);
            }
        }
        internal(self.0).store(code as usize, Ordering::Release);
    }
}

/// What an OVERLAPPED says: the code and the bytes of an operation that has ended; `None` of one that has not.
///
/// # Safety
/// The pointer is one to an OVERLAPPED.
pub(crate) unsafe fn ended(overlapped: NonNull<OVERLAPPED>) -> Option<(DWORD, DWORD)> {
    let code = internal(overlapped).load(Ordering::Acquire) as u32;
    if code == STATUS_PENDING {
        return None;
    }
    // SAFETY: it is there, and after the code nothing else is written to it.
    let bytes = unsafe { (*overlapped.as_ptr()).InternalHigh } as u32;
    Some((code, bytes))
}

/// Where threads agree on whether an operation has ended.
fn internal<'a>(overlapped: NonNull<OVERLAPPED>) -> &'a AtomicUsize {
    // SAFETY: callers have a pointer to an OVERLAPPED, whose first word is aligned, and which all of us only
    // write to as an atomic while an operation is under way.
    unsafe { AtomicUsize::from_ptr(&raw mut (*overlapped.as_ptr()).Internal) }
}

impl Input {
    /// `None` where there should be bytes and is NULL.
    ///
    /// # Safety
    /// What is not NULL points to so many bytes that nobody writes to while this value lives.
    pub(crate) unsafe fn new(bytes: *const u8, len: DWORD) -> Option<Self> {
        (!bytes.is_null() || len == 0).then_some(Self { bytes, len: len as usize })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: by `new` it is not NULL and has so many bytes.
        unsafe { core::slice::from_raw_parts(self.bytes, self.len) }
    }
}

impl Room {
    /// `None` where there should be room and is NULL.
    ///
    /// # Safety
    /// What is not NULL points to so many bytes that nobody else uses while this value lives.
    pub(crate) unsafe fn new(bytes: *mut u8, len: DWORD) -> Option<Self> {
        (!bytes.is_null() || len == 0).then_some(Self { bytes, len: len as usize })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The room, which may hold anything so far.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        if self.len == 0 {
            return &mut [];
        }
        // SAFETY: by `new` it is not NULL and has so many bytes, which are ours. They may not have been
        // written to yet; nobody here reads them before.
        unsafe { core::slice::from_raw_parts_mut(self.bytes, self.len) }
    }
}

impl<T> Out<T> {
    /// `None` of NULL.
    ///
    /// # Safety
    /// What is not NULL points to a `T`, or to room for one, that nobody else uses while this value lives.
    pub(crate) unsafe fn new(pointer: *mut T) -> Option<Self> {
        NonNull::new(pointer).map(Self)
    }

    pub(crate) fn put(&mut self, value: T) {
        // SAFETY: by `new` there is room for it, though at any address: some of it comes as bytes.
        unsafe { self.0.as_ptr().write_unaligned(value) };
    }
}

/// What a pointer points to; `None` of NULL.
///
/// # Safety
/// What is not NULL points to a `T`.
pub(crate) unsafe fn read<T: Copy>(pointer: *const T) -> Option<T> {
    // SAFETY: the caller promises it.
    NonNull::new(pointer.cast_mut()).map(|pointer| unsafe { pointer.as_ptr().read_unaligned() })
}
