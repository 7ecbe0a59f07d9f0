//! What stands in for events, completion ports and GetLastError where there is no Windows.

use super::truth;
use crate::caller::{self, Address};
use crate::last_error;
use crate::signals::{Packet, SIGNALS, Signals};
use crate::types::*;

/// The code of the last call of this thread that returned FALSE, NULL or WAIT_FAILED; after a cancelling
/// call that succeeded, ERROR_OPERATION_ABORTED.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_last_error() -> DWORD {
    last_error::get()
}

/// Makes an event that is not set: for OVERLAPPED::hEvent. NULL if there are too many.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_event_create() -> HANDLE {
    made(SIGNALS.with(|signals| signals.events.insert(false)).flatten())
}

/// Sets an event: who waits for it goes on.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_event_set(hEvent: HANDLE) -> BOOL {
    truth(set(hEvent, true))
}

/// Takes that back. An operation that is accepted does it with its event.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_event_reset(hEvent: HANDLE) -> BOOL {
    truth(set(hEvent, false))
}

/// Waits until an event is set: WAIT_OBJECT_0, WAIT_TIMEOUT or WAIT_FAILED. The event stays set. On bare
/// metal it does not wait: peerdist_poll is what makes events happen.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_event_wait(hEvent: HANDLE, dwMilliseconds: DWORD) -> DWORD {
    let look = |signals: &mut Signals| match signals.events.get(hEvent) {
        None => Some(WAIT_FAILED),
        Some(is_set) => is_set.then_some(WAIT_OBJECT_0),
    };
    let result = SIGNALS.wait(dwMilliseconds, look).unwrap_or(WAIT_TIMEOUT);
    if result == WAIT_FAILED {
        last_error::set(ERROR_INVALID_HANDLE);
    }
    result
}

/// Closes an event. Operations that would have set it end without.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_event_close(hEvent: HANDLE) -> BOOL {
    let closed = SIGNALS.change(|signals| signals.events.remove(hEvent)).flatten();
    truth(closed.map(drop).ok_or(ERROR_INVALID_HANDLE))
}

/// Makes a queue that stands in for a completion port. NULL if there are too many.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_queue_create() -> HANDLE {
    made(SIGNALS.with(Signals::create_queue).flatten())
}

/// Takes the next packet out of a queue, and waits for one if there is none.
///
/// TRUE if there was a packet of an operation that succeeded. FALSE, with the code in peerdist_last_error, if
/// there was one of an operation that failed; then *lpOverlapped is not NULL, and bytes and key are told as
/// well. FALSE with NULL in *lpOverlapped if there was none: WAIT_TIMEOUT, or ERROR_INVALID_HANDLE of what
/// is no queue, or was closed meanwhile.
///
/// # Safety
/// The three pointers are valid for writes; none is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerdist_queue_get(
    hQueue: HANDLE,
    lpNumberOfBytes: *mut DWORD,
    lpCompletionKey: *mut ULONG_PTR,
    lpOverlapped: *mut *mut OVERLAPPED,
    dwMilliseconds: DWORD,
) -> BOOL {
    // SAFETY: the caller promises that what is not NULL can be written to.
    let outs =
        unsafe { (super::out(lpNumberOfBytes), super::out(lpCompletionKey), super::out(lpOverlapped)) };
    let (Ok(mut bytes), Ok(mut key), Ok(mut overlapped)) = outs else {
        return truth(Err(ERROR_INVALID_PARAMETER));
    };
    let look = |signals: &mut Signals| signals.get(hQueue).transpose();
    match SIGNALS.wait(dwMilliseconds, look).unwrap_or(Err(WAIT_TIMEOUT)) {
        Ok(packet) => {
            bytes.put(packet.bytes);
            key.put(packet.key);
            overlapped.put(packet.overlapped.0);
            truth(if packet.code == ERROR_SUCCESS { Ok(()) } else { Err(packet.code) })
        }
        Err(code) => {
            overlapped.put(core::ptr::null_mut());
            truth(Err(code))
        }
    }
}

/// Puts a packet of the caller's own into a queue: what is said comes out as it is, as of an operation that
/// succeeded.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_queue_post(
    hQueue: HANDLE,
    dwNumberOfBytes: DWORD,
    ulCompletionKey: ULONG_PTR,
    lpOverlapped: *mut OVERLAPPED,
) -> BOOL {
    let overlapped = Address(lpOverlapped);
    let packet = Packet { key: ulCompletionKey, bytes: dwNumberOfBytes, overlapped, code: ERROR_SUCCESS };
    truth(SIGNALS.change(|signals| signals.post(hQueue, packet)).unwrap_or(Err(ERROR_INVALID_HANDLE)))
}

/// Closes a queue with what is in it. Operations whose packets would have gone there end without.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_queue_close(hQueue: HANDLE) -> BOOL {
    truth(SIGNALS.change(|signals| signals.close_queue(hQueue)).unwrap_or(Err(ERROR_INVALID_HANDLE)))
}

/// What became of an operation: TRUE if it succeeded. FALSE with the code in peerdist_last_error if it failed,
/// with ERROR_IO_INCOMPLETE if it has not ended, and bWait is FALSE. Bytes are told of a success, of
/// PEERDIST_ERROR_MISSING_DATA and ERROR_TIMEOUT, and of ERROR_OPERATION_ABORTED.
///
/// # Safety
/// `lpOverlapped` is NULL or that of an operation that was accepted, and stays valid until this returns;
/// `lpNumberOfBytesTransferred` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistGetOverlappedResult(
    lpOverlapped: *mut OVERLAPPED,
    lpNumberOfBytesTransferred: *mut DWORD,
    bWait: BOOL,
) -> BOOL {
    let Some(overlapped) = core::ptr::NonNull::new(lpOverlapped) else {
        return truth(Err(ERROR_INVALID_PARAMETER));
    };
    // G7: the end is told to all who wait here, with an event or without. Who waits looks before he sleeps,
    // and an end is written before it is told, so none is missed.
    let milliseconds = if bWait == 0 { 0 } else { INFINITE };
    // SAFETY: the caller promises that it is one.
    let look = |_: &mut Signals| unsafe { caller::ended(overlapped) };
    let Some((code, bytes)) = SIGNALS.wait(milliseconds, look) else {
        return truth(Err(ERROR_IO_INCOMPLETE));
    };
    // C2: of a missing range, the length is told; of what was cancelled, how much of it was done.
    let is_told =
        matches!(code, ERROR_SUCCESS | PEERDIST_ERROR_MISSING_DATA | ERROR_TIMEOUT | ERROR_OPERATION_ABORTED);
    // SAFETY: the caller promises that what is not NULL can be written to.
    if let (true, Ok(mut out)) = (is_told, unsafe { super::out(lpNumberOfBytesTransferred) }) {
        out.put(bytes);
    }
    truth(if code == ERROR_SUCCESS { Ok(()) } else { Err(code) })
}

fn set(event: HANDLE, set: bool) -> Result<(), DWORD> {
    let row = |signals: &mut Signals| signals.events.get_mut(event).map(|is_set| *is_set = set);
    SIGNALS.change(row).flatten().ok_or(ERROR_INVALID_HANDLE)
}

fn made(handle: Option<HANDLE>) -> HANDLE {
    handle.unwrap_or_else(|| {
        last_error::set(ERROR_NOT_ENOUGH_MEMORY);
        core::ptr::null_mut()
    })
}
