//! Instances, the status, and who is told of it.

use std::ptr::null_mut;

use peerdist::exports::client::*;
use peerdist::exports::common::*;
use peerdist::exports::server::*;
use peerdist::types::*;

use crate::desk::{Desk, Operation, content, startup};

impl Desk {
    fn register(&self, operation: &mut Operation, status: &mut PEERDIST_STATUS) -> u32 {
        // SAFETY: tests end what they began before they drop it.
        unsafe {
            PeerDistRegisterForStatusChangeNotification(
                self.instance,
                self.queue,
                77,
                operation.get(),
                status,
            )
        }
    }
}

#[test]
fn conformance_01_versions() {
    let _desk = Desk::new();
    for version in [1, 2] {
        assert_eq!(PeerDistShutdown(startup(version).unwrap()), ERROR_SUCCESS);
    }
    assert_eq!(startup(3), Err((PEERDIST_ERROR_VERSION_UNSUPPORTED, PEERDIST_VERSION)));
    assert_eq!(startup(0), Err((ERROR_INVALID_PARAMETER, PEERDIST_VERSION)));
    let mut instance = null_mut();
    // SAFETY: it is ours.
    assert_eq!(unsafe { PeerDistStartup(1, &raw mut instance, null_mut()) }, ERROR_SUCCESS);
    assert_eq!(PeerDistShutdown(instance), ERROR_SUCCESS);
}

#[test]
fn conformance_03_shutdown_twice() {
    let _desk = Desk::new();
    let instance = startup(PEERDIST_VERSION).unwrap();
    assert_eq!(PeerDistShutdown(instance), ERROR_SUCCESS);
    assert_eq!(PeerDistShutdown(instance), ERROR_INVALID_HANDLE);
}

#[test]
fn conformance_04_instances_are_independent() {
    let desk = Desk::new();
    desk.publish_whole(b"first", &content(70_000));
    let other = startup(PEERDIST_VERSION).unwrap();
    assert_eq!(PeerDistShutdown(other), ERROR_SUCCESS);
    let info = desk.open_info(b"first", 0).expect("it is still there");
    assert_eq!(PeerDistServerCloseContentInformation(desk.instance, info), ERROR_SUCCESS);
}

#[test]
fn conformance_06_size_of_the_status() {
    let desk = Desk::new();
    let mut info = PEERDIST_STATUS_INFO { cbSize: 0, status: 9, dwMinVer: 9, dwMaxVer: 9 };
    for size in [0, 12, 20] {
        info.cbSize = size;
        // SAFETY: it is ours.
        assert_eq!(unsafe { PeerDistGetStatusEx(desk.instance, &raw mut info) }, ERROR_INVALID_PARAMETER);
        assert_eq!(info.status, 9);
    }
    info.cbSize = 16;
    // SAFETY: it is ours.
    assert_eq!(unsafe { PeerDistGetStatusEx(desk.instance, &raw mut info) }, ERROR_SUCCESS);
    assert_eq!(
        (info.cbSize, info.status, info.dwMinVer, info.dwMaxVer),
        (16, PEERDIST_STATUS_AVAILABLE, 1, 2)
    );
}

#[test]
fn conformance_07_to_12_notifications() {
    let desk = Desk::with_status(PEERDIST_STATUS_DISABLED);
    let (mut operation, mut status) = (Operation::new(), 9);
    // 7: the first one waits for a service that is disabled.
    assert_eq!(desk.register(&mut operation, &mut status), ERROR_IO_PENDING);
    assert_eq!((operation.poll().0, desk.packet(50)), (ERROR_IO_INCOMPLETE, None));
    // One registration for each instance.
    let mut second = Operation::new();
    assert_eq!(desk.register(&mut second, &mut 0), ERROR_INVALID_PARAMETER);
    assert!(second.is_untouched());
    assert_eq!(peerdist_set_status(PEERDIST_STATUS_AVAILABLE), ERROR_SUCCESS);
    assert_eq!((operation.wait().0, status), (ERROR_SUCCESS, PEERDIST_STATUS_AVAILABLE));
    let packet = desk.packet(INFINITE).unwrap();
    assert_eq!((packet.key, packet.operation, packet.code), (77, operation.get(), ERROR_SUCCESS));
    // 9: the next one waits for a change; 11: that is made and taken back.
    let mut operation = Operation::new();
    assert_eq!(desk.register(&mut operation, &mut status), ERROR_IO_PENDING);
    assert_eq!((operation.poll().0, desk.packet(50)), (ERROR_IO_INCOMPLETE, None));
    // 12: it is cancelled, and the last error says so (C5).
    assert_eq!(PeerDistUnregisterForStatusChangeNotification(desk.instance), ERROR_SUCCESS);
    assert_eq!(peerdist::exports::signals::peerdist_last_error(), ERROR_OPERATION_ABORTED);
    assert_eq!(desk.packet(INFINITE).map(|packet| packet.code), Some(ERROR_OPERATION_ABORTED));
    assert_eq!(PeerDistUnregisterForStatusChangeNotification(desk.instance), ERROR_SUCCESS);
    assert_eq!(desk.packet(50), None);
    // 11: what changes and changes back between two registrations is nothing new.
    peerdist_set_status(PEERDIST_STATUS_UNAVAILABLE);
    peerdist_set_status(PEERDIST_STATUS_AVAILABLE);
    let mut operation = Operation::new();
    assert_eq!(desk.register(&mut operation, &mut status), ERROR_IO_PENDING);
    assert_eq!(desk.packet(50), None);
    PeerDistUnregisterForStatusChangeNotification(desk.instance);
    assert_eq!(desk.packet(INFINITE).map(|packet| packet.code), Some(ERROR_OPERATION_ABORTED));
    // 10: what changes between two registrations is told by the second, in the other form too.
    peerdist_set_status(PEERDIST_STATUS_UNAVAILABLE);
    let mut operation = Operation::new();
    let mut info = PEERDIST_STATUS_INFO { cbSize: 16, status: 9, dwMinVer: 9, dwMaxVer: 9 };
    // SAFETY: they live until it has ended.
    let code = unsafe {
        PeerDistRegisterForStatusChangeNotificationEx(
            desk.instance,
            null_mut(),
            0,
            operation.get(),
            &raw mut info,
        )
    };
    // C3: as the other form.
    assert_eq!((code, operation.wait().0), (ERROR_IO_PENDING, ERROR_SUCCESS));
    assert_eq!((info.status, info.dwMaxVer), (PEERDIST_STATUS_UNAVAILABLE, 2));
}

#[test]
fn conformance_08_the_first_one_is_told_at_once() {
    let desk = Desk::new();
    let (mut operation, mut status) = (Operation::new(), 9);
    assert_eq!(desk.register(&mut operation, &mut status), ERROR_IO_PENDING);
    assert_eq!((operation.wait().0, status), (ERROR_SUCCESS, PEERDIST_STATUS_AVAILABLE));
}

#[test]
fn conformance_13_handles_become_useless() {
    let desk = Desk::new();
    desk.publish_whole(b"name", &content(200_000));
    let info = desk.info(b"name");
    let (content, stream) = (desk.open_ready(&info, 5), desk.publish(b"other", 0, 6).unwrap());
    let (mut pending, mut buffer) = (Operation::new(), [0; 100]);
    // SAFETY: it ends before they do.
    let code = unsafe { desk.block_read(content, &mut buffer, INFINITE, pending.get()) };
    assert_eq!(code, ERROR_IO_PENDING);
    peerdist_set_status(PEERDIST_STATUS_DISABLED);
    assert_eq!(desk.packet(INFINITE).map(|packet| packet.code), Some(PEERDIST_ERROR_INVALIDATED));

    let refused = |expected| {
        let mut operation = Operation::new();
        // SAFETY: it is refused.
        assert_eq!(unsafe { desk.block_read(content, &mut [0; 9], 0, operation.get()) }, expected);
        // SAFETY: as above.
        assert_eq!(unsafe { desk.add(stream, b"more", operation.get()) }, expected);
        assert!(operation.is_untouched());
    };
    refused(PEERDIST_ERROR_INVALIDATED);
    let mut made = null_mut();
    // SAFETY: they are ours.
    let open =
        |made| unsafe { PeerDistClientOpenContent(desk.instance, &crate::desk::TAG, null_mut(), 0, made) };
    assert_eq!(open(&raw mut made), ERROR_ACCESS_DISABLED_BY_POLICY);
    peerdist_set_status(PEERDIST_STATUS_UNAVAILABLE);
    assert_eq!(open(&raw mut made), PEERDIST_ERROR_SERVICE_UNAVAILABLE);
    // G10: they stay so when it comes back.
    peerdist_set_status(PEERDIST_STATUS_AVAILABLE);
    refused(PEERDIST_ERROR_INVALIDATED);
    let cancelled = PeerDistClientCancelAsyncOperation(desk.instance, content, null_mut());
    assert_eq!(cancelled, PEERDIST_ERROR_INVALIDATED);
    assert_eq!(PeerDistClientCloseContent(desk.instance, content), ERROR_SUCCESS);
    assert_eq!(PeerDistServerCloseStreamHandle(desk.instance, stream), ERROR_SUCCESS);
    let again = desk.open_ready(&info, 7);
    assert_eq!(PeerDistClientCloseContent(desk.instance, again), ERROR_SUCCESS);
    assert_eq!(desk.packet(50), None);
}
