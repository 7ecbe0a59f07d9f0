//! The exported functions. Each turns what C hands in into values, and what comes back into a code; the
//! service does the rest.
#![allow(unsafe_code, reason = "functions that C calls, with pointers that it vouches for")]
#![allow(non_snake_case, reason = "parameters have the names of the reference")]

pub mod client;
pub mod common;
pub mod server;
pub mod signals;

use peerdist_core::time::Instant;

use crate::caller::{Input, Out, Overlapped, Room};
use crate::last_error;
use crate::machine;
use crate::service::{Answer, Port, Service};
use crate::signals::SIGNALS;
use crate::types::*;

/// Has the service do something.
fn call<T>(act: impl FnOnce(&mut Service, Instant) -> Answer<T>) -> Answer<T> {
    machine::with(act)
}

/// The result of a call that does what it does at once.
fn code(answer: Answer<()>) -> DWORD {
    answer.err().unwrap_or(ERROR_SUCCESS)
}

/// The result of a call that ends later. Whatever it is but ERROR_IO_PENDING, no completion follows.
fn pending(answer: Answer<()>) -> DWORD {
    answer.err().unwrap_or(ERROR_IO_PENDING)
}

/// The result of a call that returns a BOOL.
fn truth(answer: Answer<()>) -> BOOL {
    match answer {
        Ok(()) => 1,
        Err(code) => {
            last_error::set(code);
            0
        }
    }
}

/// A port, if the handle is one, or NULL.
fn port(hCompletionPort: HANDLE, ulCompletionKey: ULONG_PTR) -> Answer<Port> {
    let is_port = SIGNALS.with(|signals| signals.is_port(hCompletionPort)).unwrap_or_default();
    is_port.then_some(Port { queue: hCompletionPort, key: ulCompletionKey }).ok_or(ERROR_INVALID_HANDLE)
}

/// # Safety
/// As for [`Overlapped::new`].
unsafe fn overlapped(lpOverlapped: *mut OVERLAPPED) -> Answer<Overlapped> {
    // SAFETY: the caller promises it.
    unsafe { Overlapped::new(lpOverlapped) }.ok_or(ERROR_INVALID_PARAMETER)
}

/// # Safety
/// As for [`Input::new`].
unsafe fn input(pBuffer: *const u8, cbNumberOfBytes: DWORD) -> Answer<Input> {
    // SAFETY: the caller promises it.
    unsafe { Input::new(pBuffer, cbNumberOfBytes) }.ok_or(ERROR_INVALID_PARAMETER)
}

/// # Safety
/// As for [`Room::new`].
unsafe fn room(pBuffer: *mut u8, cbMaxNumberOfBytes: DWORD) -> Answer<Room> {
    // SAFETY: the caller promises it.
    unsafe { Room::new(pBuffer, cbMaxNumberOfBytes) }.ok_or(ERROR_INVALID_PARAMETER)
}

/// # Safety
/// As for [`Out::new`].
unsafe fn out<T>(pointer: *mut T) -> Answer<Out<T>> {
    // SAFETY: the caller promises it.
    unsafe { Out::new(pointer) }.ok_or(ERROR_INVALID_PARAMETER)
}
