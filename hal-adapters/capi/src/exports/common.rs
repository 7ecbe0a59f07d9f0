//! The functions that clients and servers share.

use super::{call, code, out, overlapped, pending, port};
use crate::caller::Out;
use crate::machine;
use crate::service::{StatusOut, status_info};
use crate::types::*;

/// Makes an instance, which every other call wants. `dwVersionRequested` is the lowest version of this API
/// that the caller can do with; `pdwSupportedVersion` receives the highest there is, also where that is too low.
///
/// # Safety
/// The pointers are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistStartup(
    dwVersionRequested: DWORD,
    phPeerDist: *mut PEERDIST_INSTANCE_HANDLE,
    pdwSupportedVersion: *mut DWORD,
) -> DWORD {
    // SAFETY: the caller promises that what is not NULL can be written to.
    let (instance, supported) = unsafe { (out(phPeerDist), Out::new(pdwSupportedVersion)) };
    let Ok(mut instance) = instance else { return ERROR_INVALID_PARAMETER };
    if let Some(mut supported) = supported {
        supported.put(peerdist_core::api::SUPPORTED_VERSION);
    }
    code(machine::startup(dwVersionRequested).map(|handle| instance.put(handle)))
}

/// Closes an instance: its operations end as cancelled, what it published is removed, its handles are closed.
#[unsafe(no_mangle)]
pub extern "C" fn PeerDistShutdown(hPeerDist: PEERDIST_INSTANCE_HANDLE) -> DWORD {
    code(machine::shutdown(hPeerDist))
}

/// How the service is doing.
///
/// # Safety
/// The pointer is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistGetStatus(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    pPeerDistStatus: *mut PEERDIST_STATUS,
) -> DWORD {
    // SAFETY: the caller promises that what is not NULL can be written to.
    let Ok(mut status) = (unsafe { out(pPeerDistStatus) }) else { return ERROR_INVALID_PARAMETER };
    let answer = call(|service, _| service.status(hPeerDist));
    code(answer.map(|info| status.put(status_info(info).status)))
}

/// How the service is doing, and which versions of content information it knows.
///
/// # Safety
/// The pointer is NULL or that of a structure whose `cbSize` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistGetStatusEx(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    pPeerDistStatus: *mut PEERDIST_STATUS_INFO,
) -> DWORD {
    // SAFETY: the caller promises that what is not NULL is such a structure.
    let Ok(mut status) = (unsafe { status_out(pPeerDistStatus) }) else { return ERROR_INVALID_PARAMETER };
    let answer = call(|service, _| service.status(hPeerDist));
    code(answer.map(|info| status.put(status_info(info))))
}

/// Completes once the status is another than the one that this instance was told last, or than
/// PEERDIST_STATUS_DISABLED at first. One registration for each instance; each is good for one notification.
///
/// # Safety
/// `lpOverlapped` and `pPeerDistStatus` are NULL or valid until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistRegisterForStatusChangeNotification(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hCompletionPort: HANDLE,
    ulCompletionKey: ULONG_PTR,
    lpOverlapped: *mut OVERLAPPED,
    pPeerDistStatus: *mut PEERDIST_STATUS,
) -> DWORD {
    pending((|| {
        // SAFETY: the caller promises it.
        let (overlapped, status) = unsafe { (overlapped(lpOverlapped)?, out(pPeerDistStatus)?) };
        let port = port(hCompletionPort, ulCompletionKey)?;
        call(|service, _| service.register_status(hPeerDist, port, StatusOut::Plain(status), overlapped))
    })())
}

/// The same, for which versions of content information the service knows as well.
///
/// # Safety
/// `lpOverlapped` and `pPeerDistStatus` are NULL or valid until the operation has ended; `cbSize` of the
/// latter is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistRegisterForStatusChangeNotificationEx(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hCompletionPort: HANDLE,
    ulCompletionKey: ULONG_PTR,
    lpOverlapped: *mut OVERLAPPED,
    pPeerDistStatus: *mut PEERDIST_STATUS_INFO,
) -> DWORD {
    pending((|| {
        // SAFETY: the caller promises it.
        let (overlapped, status) = unsafe { (overlapped(lpOverlapped)?, status_out(pPeerDistStatus)?) };
        let port = port(hCompletionPort, ulCompletionKey)?;
        call(|service, _| service.register_status(hPeerDist, port, StatusOut::Info(status), overlapped))
    })())
}

/// Cancels the registration, if there is one.
#[unsafe(no_mangle)]
pub extern "C" fn PeerDistUnregisterForStatusChangeNotification(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
) -> DWORD {
    code(call(|service, _| service.unregister_status(hPeerDist)))
}

/// Sets the status of the service, which the owner of the machine decides: for instance after its network came
/// or went. Other than PEERDIST_STATUS_AVAILABLE, it makes all handles but instances useless.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_set_status(status: PEERDIST_STATUS) -> DWORD {
    code(machine::set_status(status))
}

/// # Safety
/// What is not NULL points to a structure whose first field is set.
unsafe fn status_out(pointer: *mut PEERDIST_STATUS_INFO) -> Result<Out<PEERDIST_STATUS_INFO>, DWORD> {
    // SAFETY: the caller promises it. Only the size is read, since the rest need not be set.
    let size = unsafe { crate::caller::read(pointer.cast::<DWORD>()) };
    if size != Some(size_of::<PEERDIST_STATUS_INFO>() as DWORD) {
        return Err(ERROR_INVALID_PARAMETER);
    }
    // SAFETY: as above.
    unsafe { out(pointer) }
}
