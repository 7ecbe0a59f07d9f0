//! The consumer's functions.

use super::{call, code, input, out, overlapped, pending, port, room};
use crate::caller::{self, Address};
use crate::types::*;
use core::ffi::c_void;

/// Opens a content. The tag marks what is cached through it. Port and key are those of all calls on the handle.
///
/// # Safety
/// The pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientOpenContent(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    pContentTag: *const PEERDIST_CONTENT_TAG,
    hCompletionPort: HANDLE,
    ulCompletionKey: ULONG_PTR,
    phContentHandle: *mut PEERDIST_CONTENT_HANDLE,
) -> DWORD {
    code((|| {
        // SAFETY: the caller promises it.
        let (tag, content) = unsafe { (caller::read(pContentTag), out(phContentHandle)) };
        let (tag, mut content) = (tag.ok_or(ERROR_INVALID_PARAMETER)?, content?);
        let port = port(hCompletionPort, ulCompletionKey)?;
        call(|service, _| service.open_content(hPeerDist, tag.Data, port)).map(|handle| content.put(handle))
    })())
}

/// Closes a content: its operations end as cancelled. What is cached stays.
#[unsafe(no_mangle)]
pub extern "C" fn PeerDistClientCloseContent(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
) -> DWORD {
    code(call(|service, _| service.close_content(hPeerDist, hContentHandle)))
}

/// Adds the next piece of content information, of any length. One call at a time for each content.
///
/// # Safety
/// `pBuffer` and `lpOverlapped` are NULL or valid until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientAddContentInformation(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
    cbNumberOfBytes: DWORD,
    pBuffer: *const u8,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    pending((|| {
        // SAFETY: the caller promises it.
        let (input, overlapped) = unsafe { (input(pBuffer, cbNumberOfBytes)?, overlapped(lpOverlapped)?) };
        call(|service, _| service.add_content_information(hPeerDist, hContentHandle, input, overlapped))
    })())
}

/// Declares the content information whole: once this has succeeded, the content can be read.
///
/// # Safety
/// `lpOverlapped` is NULL or valid until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientCompleteContentInformation(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    pending((|| {
        // SAFETY: the caller promises it.
        let overlapped = unsafe { overlapped(lpOverlapped)? };
        call(|service, _| service.complete_content_information(hPeerDist, hContentHandle, overlapped))
    })())
}

/// Puts bytes from the origin into the cache; the OVERLAPPED says where in the content they are. What is not as
/// the content information says is dropped, and the operation succeeds all the same.
///
/// # Safety
/// `pBuffer` and `lpOverlapped` are NULL or valid until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientAddData(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
    cbNumberOfBytes: DWORD,
    pBuffer: *const u8,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    pending((|| {
        // SAFETY: the caller promises it.
        let (input, overlapped) = unsafe { (input(pBuffer, cbNumberOfBytes)?, overlapped(lpOverlapped)?) };
        call(|service, _| service.add_data(hPeerDist, hContentHandle, input, overlapped))
    })())
}

/// Reads at the offset that the OVERLAPPED says; fewer bytes than there is room for are normal. What neither the
/// cache nor a peer has is told as a range by PEERDIST_ERROR_MISSING_DATA or ERROR_TIMEOUT. Without room, it
/// tells how many bytes are in the cache from there on.
///
/// # Safety
/// `pBuffer` and `lpOverlapped` are NULL or valid until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientBlockRead(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
    cbMaxNumberOfBytes: DWORD,
    pBuffer: *mut u8,
    dwTimeoutInMilliseconds: DWORD,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    pending((|| {
        // SAFETY: the caller promises it.
        let (room, overlapped) = unsafe { (room(pBuffer, cbMaxNumberOfBytes)?, overlapped(lpOverlapped)?) };
        let timeout = dwTimeoutInMilliseconds;
        call(|service, now| service.block_read(now, hPeerDist, hContentHandle, room, timeout, overlapped))
    })())
}

/// Reads on where the last such read ended, be it with data or with a missing range.
///
/// # Safety
/// `pBuffer` and `lpOverlapped` are NULL or valid until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientStreamRead(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
    cbMaxNumberOfBytes: DWORD,
    pBuffer: *mut u8,
    dwTimeoutInMilliseconds: DWORD,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    pending((|| {
        // SAFETY: the caller promises it.
        let (room, overlapped) = unsafe { (room(pBuffer, cbMaxNumberOfBytes)?, overlapped(lpOverlapped)?) };
        let timeout = dwTimeoutInMilliseconds;
        call(|service, now| service.stream_read(now, hPeerDist, hContentHandle, room, timeout, overlapped))
    })())
}

/// Removes from the cache what came there under a tag. It ends once none of that is being read or
/// given to a peer.
///
/// # Safety
/// The pointers are NULL or valid, `lpOverlapped` until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientFlushContent(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    pContentTag: *const PEERDIST_CONTENT_TAG,
    hCompletionPort: HANDLE,
    ulCompletionKey: ULONG_PTR,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    pending((|| {
        // SAFETY: the caller promises it.
        let (tag, overlapped) = unsafe { (caller::read(pContentTag), overlapped(lpOverlapped)?) };
        let tag = tag.ok_or(ERROR_INVALID_PARAMETER)?;
        let port = port(hCompletionPort, ulCompletionKey)?;
        call(|service, _| service.flush_content(hPeerDist, tag.Data, port, overlapped))
    })())
}

/// Tells what is known of a content: a PEERDIST_CLIENT_BASIC_INFO.
///
/// # Safety
/// `lpInformation` is NULL or valid for `dwBufferSize` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistClientGetInformationByHandle(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
    PeerDistClientInfoClass: PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS,
    dwBufferSize: DWORD,
    lpInformation: *mut c_void,
) -> DWORD {
    code((|| {
        let is_small = (dwBufferSize as usize) < size_of::<PEERDIST_CLIENT_BASIC_INFO>();
        if PeerDistClientInfoClass != PeerDistClientBasicInfo || is_small {
            return Err(ERROR_INVALID_PARAMETER);
        }
        // SAFETY: the caller promises that there is room for it.
        let mut info = unsafe { out(lpInformation.cast::<PEERDIST_CLIENT_BASIC_INFO>())? };
        let crowd = call(|service, now| service.is_crowded(now, hPeerDist, hContentHandle))?;
        info.put(PEERDIST_CLIENT_BASIC_INFO { fFlashCrowd: crowd.into() });
        Ok(())
    })())
}

/// Cancels the operation that has this OVERLAPPED, or all on the content, if it is NULL. Their ends are told
/// before this returns.
#[unsafe(no_mangle)]
pub extern "C" fn PeerDistClientCancelAsyncOperation(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentHandle: PEERDIST_CONTENT_HANDLE,
    pOverlapped: *mut OVERLAPPED,
) -> DWORD {
    let overlapped = (!pOverlapped.is_null()).then_some(Address(pOverlapped));
    code(call(|service, _| service.cancel_client(hPeerDist, hContentHandle, overlapped)))
}
