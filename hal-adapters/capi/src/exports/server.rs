//! The publisher's functions.

use peerdist_core::api::{InfoVersions, PublicationOptions};

use super::{call, code, input, out, overlapped, pending, port, room};
use crate::caller::{self, Address};
use crate::types::*;

/// Begins to publish content under an identifier, 1 to 65,535 bytes of the caller's choice. `cbContentLength` is
/// the length of the content, or 0 if that is not known. Port and key are those of all calls on the stream.
///
/// # Safety
/// The pointers are NULL or valid, those to bytes for as many as are said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerPublishStream(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    cbContentIdentifier: DWORD,
    pContentIdentifier: *const u8,
    cbContentLength: ULONGLONG,
    pPublishOptions: *const PEERDIST_PUBLICATION_OPTIONS,
    hCompletionPort: HANDLE,
    ulCompletionKey: ULONG_PTR,
    phStream: *mut PEERDIST_STREAM_HANDLE,
) -> DWORD {
    code((|| {
        // SAFETY: the caller promises it.
        let (identifier, mut stream, options) = unsafe {
            (input(pContentIdentifier, cbContentIdentifier)?, out(phStream)?, caller::read(pPublishOptions))
        };
        let options = options.map_or_else(PublicationOptions::default, |options| PublicationOptions {
            version: options.dwVersion,
            flags: options.dwFlags,
        });
        let port = port(hCompletionPort, ulCompletionKey)?;
        let id = identifier.bytes();
        call(|service, _| service.publish_stream(hPeerDist, id, cbContentLength, options, port))
            .map(|handle| stream.put(handle))
    })())
}

/// Adds the next bytes of the content. One call at a time for each stream. ERROR_NOT_ENOUGH_MEMORY of a store
/// that is full, as result or as end, loses the publication: the stream can only be closed.
///
/// # Safety
/// `pBuffer` and `lpOverlapped` are NULL or valid until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerPublishAddToStream(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hStream: PEERDIST_STREAM_HANDLE,
    cbNumberOfBytes: DWORD,
    pBuffer: *const u8,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    pending((|| {
        // SAFETY: the caller promises it.
        let (input, overlapped) = unsafe { (input(pBuffer, cbNumberOfBytes)?, overlapped(lpOverlapped)?) };
        call(|service, _| service.add_to_stream(hPeerDist, hStream, input, overlapped))
    })())
}

/// Declares the content whole: once this has succeeded, its content information can be retrieved.
///
/// # Safety
/// `lpOverlapped` is NULL or valid until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerPublishCompleteStream(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hStream: PEERDIST_STREAM_HANDLE,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    pending((|| {
        // SAFETY: the caller promises it.
        let overlapped = unsafe { overlapped(lpOverlapped)? };
        call(|service, _| service.complete_stream(hPeerDist, hStream, overlapped))
    })())
}

/// Closes a stream. Content that is not complete is not published.
#[unsafe(no_mangle)]
pub extern "C" fn PeerDistServerCloseStreamHandle(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hStream: PEERDIST_STREAM_HANDLE,
) -> DWORD {
    code(call(|service, _| service.close_stream(hPeerDist, hStream)))
}

/// Removes what is published under an identifier.
///
/// # Safety
/// `pContentIdentifier` is NULL or valid for as many bytes as are said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerUnpublish(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    cbContentIdentifier: DWORD,
    pContentIdentifier: *const u8,
) -> DWORD {
    code((|| {
        // SAFETY: the caller promises it.
        let identifier = unsafe { input(pContentIdentifier, cbContentIdentifier)? };
        call(|service, _| service.unpublish(hPeerDist, identifier.bytes()))
    })())
}

/// Opens the content information of what is published: of a part of the content, or of all, if offset and
/// length are both 0. Port and key are those of all calls on the handle.
///
/// # Safety
/// The pointers are NULL or valid, that to the identifier for as many bytes as are said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerOpenContentInformation(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    cbContentIdentifier: DWORD,
    pContentIdentifier: *const u8,
    ullContentOffset: ULONGLONG,
    cbContentLength: ULONGLONG,
    hCompletionPort: HANDLE,
    ulCompletionKey: ULONG_PTR,
    phContentInfo: *mut PEERDIST_CONTENTINFO_HANDLE,
) -> DWORD {
    code((|| {
        // SAFETY: the caller promises it.
        let (identifier, mut info) =
            unsafe { (input(pContentIdentifier, cbContentIdentifier)?, out(phContentInfo)?) };
        let port = port(hCompletionPort, ulCompletionKey)?;
        let (id, range) = (identifier.bytes(), (ullContentOffset, cbContentLength));
        call(|service, _| service.open_content_information(hPeerDist, id, range, None, port))
            .map(|handle| info.put(handle))
    })())
}

/// The same, in the highest version that is published of those that the client can read.
///
/// # Safety
/// The pointers are NULL or valid, that to the identifier for as many bytes as are said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerOpenContentInformationEx(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    cbContentIdentifier: DWORD,
    pContentIdentifier: *const u8,
    ullContentOffset: ULONGLONG,
    cbContentLength: ULONGLONG,
    pRetrievalOptions: *const PEERDIST_RETRIEVAL_OPTIONS,
    hCompletionPort: HANDLE,
    ulCompletionKey: ULONG_PTR,
    phContentInfo: *mut PEERDIST_CONTENTINFO_HANDLE,
) -> DWORD {
    code((|| {
        // SAFETY: the caller promises it.
        let (identifier, mut info, options) = unsafe {
            let identifier = input(pContentIdentifier, cbContentIdentifier)?;
            (identifier, out(phContentInfo)?, caller::read(pRetrievalOptions).ok_or(ERROR_INVALID_PARAMETER)?)
        };
        if options.cbSize != size_of::<PEERDIST_RETRIEVAL_OPTIONS>() as DWORD || options.dwReserved != 0 {
            return Err(ERROR_INVALID_PARAMETER);
        }
        let versions =
            InfoVersions { min: options.dwContentInfoMinVersion, max: options.dwContentInfoMaxVersion };
        let port = port(hCompletionPort, ulCompletionKey)?;
        let (id, range) = (identifier.bytes(), (ullContentOffset, cbContentLength));
        call(|service, _| service.open_content_information(hPeerDist, id, range, Some(versions), port))
            .map(|handle| info.put(handle))
    })())
}

/// Reads the next bytes of content information. The OVERLAPPED tells where in it they are.
///
/// # Safety
/// `pBuffer` and `lpOverlapped` are NULL or valid until the operation has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerRetrieveContentInformation(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentInfo: PEERDIST_CONTENTINFO_HANDLE,
    cbMaxNumberOfBytes: DWORD,
    pBuffer: *mut u8,
    lpOverlapped: *mut OVERLAPPED,
) -> DWORD {
    pending((|| {
        // SAFETY: the caller promises it.
        let (room, overlapped) = unsafe { (room(pBuffer, cbMaxNumberOfBytes)?, overlapped(lpOverlapped)?) };
        call(|service, _| service.retrieve_content_information(hPeerDist, hContentInfo, room, overlapped))
    })())
}

/// Closes content information.
#[unsafe(no_mangle)]
pub extern "C" fn PeerDistServerCloseContentInformation(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    hContentInfo: PEERDIST_CONTENTINFO_HANDLE,
) -> DWORD {
    code(call(|service, _| service.close_content_information(hPeerDist, hContentInfo)))
}

/// Cancels the operation that has this OVERLAPPED, on a stream or on content information of that identifier.
/// Its end is told before this returns.
/// Of PeerDistServerPublishAddToStream it tells how many bytes are part of the stream, which goes on behind them.
///
/// # Safety
/// `pContentIdentifier` is NULL or valid for as many bytes as are said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PeerDistServerCancelAsyncOperation(
    hPeerDist: PEERDIST_INSTANCE_HANDLE,
    cbContentIdentifier: DWORD,
    pContentIdentifier: *const u8,
    pOverlapped: *mut OVERLAPPED,
) -> DWORD {
    code((|| {
        // SAFETY: the caller promises it.
        let identifier = unsafe { input(pContentIdentifier, cbContentIdentifier)? };
        if pOverlapped.is_null() {
            return Err(ERROR_INVALID_PARAMETER);
        }
        call(|service, _| service.cancel_server(hPeerDist, identifier.bytes(), Address(pOverlapped)))
    })())
}
