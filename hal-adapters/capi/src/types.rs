//! The types and constants of the Peer Distribution API, with its names, values and layouts.

use core::ffi::{c_int, c_void};

/// An opaque value as large as a pointer; NULL is none.
pub type HANDLE = *mut c_void;
/// 32 bits.
pub type DWORD = u32;
/// Not zero: yes.
pub type BOOL = c_int;
/// As many bits as a pointer has.
pub type ULONG_PTR = usize;
/// 64 bits.
pub type ULONGLONG = u64;

/// What PeerDistStartup makes.
pub type PEERDIST_INSTANCE_HANDLE = HANDLE;
/// What PeerDistServerPublishStream makes.
pub type PEERDIST_STREAM_HANDLE = HANDLE;
/// What PeerDistServerOpenContentInformation makes.
pub type PEERDIST_CONTENTINFO_HANDLE = HANDLE;
/// What PeerDistClientOpenContent makes.
pub type PEERDIST_CONTENT_HANDLE = HANDLE;

/// One of PEERDIST_STATUS_DISABLED, PEERDIST_STATUS_UNAVAILABLE and PEERDIST_STATUS_AVAILABLE.
pub type PEERDIST_STATUS = c_int;
/// Switched off by policy or configuration.
pub const PEERDIST_STATUS_DISABLED: PEERDIST_STATUS = 0;
/// Enabled, but not ready.
pub const PEERDIST_STATUS_UNAVAILABLE: PEERDIST_STATUS = 1;
/// Can be used.
pub const PEERDIST_STATUS_AVAILABLE: PEERDIST_STATUS = 2;

/// What PeerDistClientGetInformationByHandle is asked for.
pub type PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS = c_int;
/// A PEERDIST_CLIENT_BASIC_INFO.
pub const PeerDistClientBasicInfo: PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS = 0;
/// One more than the last of them.
pub const MaximumPeerDistClientInfoByHandlesClass: PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS = 1;

/// The version of the API: the major one in the low byte.
pub const PEERDIST_VERSION: DWORD = 2;
/// The first version of PEERDIST_PUBLICATION_OPTIONS.
pub const PEERDIST_PUBLICATION_OPTIONS_VERSION_1: DWORD = 1;
/// The second version of PEERDIST_PUBLICATION_OPTIONS.
pub const PEERDIST_PUBLICATION_OPTIONS_VERSION_2: DWORD = 2;
/// The usual version of PEERDIST_PUBLICATION_OPTIONS.
pub const PEERDIST_PUBLICATION_OPTIONS_VERSION: DWORD = 2;
/// Content information of Windows 7.
pub const PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_1: DWORD = 1;
/// Content information of Windows 8.
pub const PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_2: DWORD = 2;
/// The usual version of content information.
pub const PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION: DWORD = 2;
/// A read waits for nobody.
pub const PEERDIST_READ_TIMEOUT_LOCAL_CACHE_ONLY: DWORD = 0;
/// A read waits for five seconds.
pub const PEERDIST_READ_TIMEOUT_DEFAULT: DWORD = 0xFFFF_FFFE;
/// No end of waiting.
pub const INFINITE: DWORD = 0xFFFF_FFFF;

/// `OVERLAPPED::Internal` of an operation that has not ended.
pub const STATUS_PENDING: DWORD = 0x103;
/// What peerdist_event_wait returns once the event is set.
pub const WAIT_OBJECT_0: DWORD = 0;
/// The time was over first.
pub const WAIT_TIMEOUT: DWORD = 258;
/// There is no such event.
pub const WAIT_FAILED: DWORD = 0xFFFF_FFFF;

/// Done.
pub const ERROR_SUCCESS: DWORD = 0;
/// There is no such handle, or it is of another kind or instance.
pub const ERROR_INVALID_HANDLE: DWORD = 6;
/// No memory for the call: a table or a store is full.
pub const ERROR_NOT_ENOUGH_MEMORY: DWORD = 8;
/// A parameter is wrong, or the call does not fit the state.
pub const ERROR_INVALID_PARAMETER: DWORD = 87;
/// The operation was cancelled.
pub const ERROR_OPERATION_ABORTED: DWORD = 995;
/// The operation has not ended.
pub const ERROR_IO_INCOMPLETE: DWORD = 996;
/// Accepted: exactly one completion follows.
pub const ERROR_IO_PENDING: DWORD = 997;
/// Nothing of that identifier is published.
pub const ERROR_NOT_FOUND: DWORD = 1168;
/// Switched off by policy.
pub const ERROR_ACCESS_DISABLED_BY_POLICY: DWORD = 1260;
/// The time was over first.
pub const ERROR_TIMEOUT: DWORD = 1460;
/// Content information has a version that is not understood, or not wanted.
pub const PEERDIST_ERROR_CONTENTINFO_VERSION_UNSUPPORTED: DWORD = 4050;
/// Content information is malformed.
pub const PEERDIST_ERROR_CANNOT_PARSE_CONTENTINFO: DWORD = 4051;
/// Neither the cache nor a peer has the data.
pub const PEERDIST_ERROR_MISSING_DATA: DWORD = 4052;
/// Nothing is left.
pub const PEERDIST_ERROR_NO_MORE: DWORD = 4053;
/// Not started.
pub const PEERDIST_ERROR_NOT_INITIALIZED: DWORD = 4054;
/// Started already.
pub const PEERDIST_ERROR_ALREADY_INITIALIZED: DWORD = 4055;
/// The instance is being closed.
pub const PEERDIST_ERROR_SHUTDOWN_IN_PROGRESS: DWORD = 4056;
/// A change of status has made the handle useless; it still has to be closed.
pub const PEERDIST_ERROR_INVALIDATED: DWORD = 4057;
/// The identifier is published already.
pub const PEERDIST_ERROR_ALREADY_EXISTS: DWORD = 4058;
/// There is no such operation under way.
pub const PEERDIST_ERROR_OPERATION_NOTFOUND: DWORD = 4059;
/// That was done already.
pub const PEERDIST_ERROR_ALREADY_COMPLETED: DWORD = 4060;
/// The offset lies behind the end of the content.
pub const PEERDIST_ERROR_OUT_OF_BOUNDS: DWORD = 4061;
/// The version of the API that is asked for is too new.
pub const PEERDIST_ERROR_VERSION_UNSUPPORTED: DWORD = 4062;
/// The configuration cannot be used.
pub const PEERDIST_ERROR_INVALID_CONFIGURATION: DWORD = 4063;
/// No licence.
pub const PEERDIST_ERROR_NOT_LICENSED: DWORD = 4064;
/// The service does not run, or not yet.
pub const PEERDIST_ERROR_SERVICE_UNAVAILABLE: DWORD = 4065;
/// A peer or the hosted cache is not trusted.
pub const PEERDIST_ERROR_TRUST_FAILURE: DWORD = 4066;

/// An operation: the caller keeps it until it has ended, and touches none of it before.
#[repr(C)]
#[derive(Debug)]
pub struct OVERLAPPED {
    /// STATUS_PENDING, then the code.
    pub Internal: ULONG_PTR,
    /// Bytes that were transferred.
    pub InternalHigh: ULONG_PTR,
    /// The low half of the offset.
    pub Offset: DWORD,
    /// The high half of the offset.
    pub OffsetHigh: DWORD,
    /// An event that is set at the end, or NULL.
    pub hEvent: HANDLE,
}

/// What groups the content that a client caches.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PEERDIST_CONTENT_TAG {
    /// Of the client's choice.
    pub Data: [u8; 16],
}

/// How content is published.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PEERDIST_PUBLICATION_OPTIONS {
    /// The version of this structure.
    pub dwVersion: DWORD,
    /// 0.
    pub dwFlags: DWORD,
}

/// Which content information the client can read.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PEERDIST_RETRIEVAL_OPTIONS {
    /// 16.
    pub cbSize: DWORD,
    /// The lowest version.
    pub dwContentInfoMinVersion: DWORD,
    /// The highest version.
    pub dwContentInfoMaxVersion: DWORD,
    /// 0.
    pub dwReserved: DWORD,
}

/// How the service is doing.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PEERDIST_STATUS_INFO {
    /// 16, which the caller sets.
    pub cbSize: DWORD,
    /// The status.
    pub status: PEERDIST_STATUS,
    /// The lowest version of content information.
    pub dwMinVer: DWORD,
    /// The highest version of content information.
    pub dwMaxVer: DWORD,
}

/// What is known of a content.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PEERDIST_CLIENT_BASIC_INFO {
    /// Not zero while many clients fetch it: what is missing now may soon be there.
    pub fFlashCrowd: BOOL,
}

/// The layouts are the interface.
const _: () = {
    const WORD: usize = size_of::<usize>();
    assert!(size_of::<HANDLE>() == WORD && size_of::<BOOL>() == 4);
    assert!(size_of::<OVERLAPPED>() == if WORD == 8 { 32 } else { 20 });
    assert!(core::mem::offset_of!(OVERLAPPED, Internal) == 0);
    assert!(core::mem::offset_of!(OVERLAPPED, InternalHigh) == WORD);
    assert!(core::mem::offset_of!(OVERLAPPED, Offset) == 2 * WORD);
    assert!(core::mem::offset_of!(OVERLAPPED, OffsetHigh) == 2 * WORD + 4);
    assert!(core::mem::offset_of!(OVERLAPPED, hEvent) == 2 * WORD + 8);
    assert!(size_of::<PEERDIST_CONTENT_TAG>() == 16 && align_of::<PEERDIST_CONTENT_TAG>() == 1);
    assert!(size_of::<PEERDIST_PUBLICATION_OPTIONS>() == 8);
    assert!(core::mem::offset_of!(PEERDIST_PUBLICATION_OPTIONS, dwFlags) == 4);
    assert!(size_of::<PEERDIST_RETRIEVAL_OPTIONS>() == 16);
    assert!(core::mem::offset_of!(PEERDIST_RETRIEVAL_OPTIONS, dwContentInfoMinVersion) == 4);
    assert!(core::mem::offset_of!(PEERDIST_RETRIEVAL_OPTIONS, dwContentInfoMaxVersion) == 8);
    assert!(core::mem::offset_of!(PEERDIST_RETRIEVAL_OPTIONS, dwReserved) == 12);
    assert!(size_of::<PEERDIST_STATUS_INFO>() == 16);
    assert!(core::mem::offset_of!(PEERDIST_STATUS_INFO, status) == 4);
    assert!(core::mem::offset_of!(PEERDIST_STATUS_INFO, dwMinVer) == 8);
    assert!(core::mem::offset_of!(PEERDIST_STATUS_INFO, dwMaxVer) == 12);
    assert!(size_of::<PEERDIST_CLIENT_BASIC_INFO>() == 4);
};
