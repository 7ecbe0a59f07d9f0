//! How operations end: codes, packets, events.

use std::ptr::null_mut;
use std::thread;

use peerdist::exports::client::*;
use peerdist::exports::server::*;
use peerdist::exports::signals::*;
use peerdist::types::*;

use crate::desk::{Desk, Operation, content};

#[test]
fn conformance_14_what_is_refused_has_no_packet() {
    let desk = Desk::new();
    let (mut operation, mut buffer) = (Operation::new(), [0; 10]);
    let content = desk.open(1);
    // G3: before content information is complete, nothing is read.
    // SAFETY: it is refused.
    let code = unsafe { desk.block_read(content, &mut buffer, 0, operation.get()) };
    assert_eq!(code, ERROR_INVALID_PARAMETER);
    // SAFETY: as above.
    let code = unsafe {
        PeerDistClientStreamRead(desk.instance, content, 10, buffer.as_mut_ptr(), 0, operation.get())
    };
    assert_eq!(code, ERROR_INVALID_PARAMETER);
    // An event that is none would never be set.
    let mut eventful = Operation::with_event(content);
    // SAFETY: as above.
    let code = unsafe { PeerDistClientCompleteContentInformation(desk.instance, content, eventful.get()) };
    assert_eq!(code, ERROR_INVALID_HANDLE);
    // A port that is none is refused where it is given.
    let mut made = null_mut();
    // SAFETY: as above.
    let code =
        unsafe { PeerDistClientOpenContent(desk.instance, &crate::desk::TAG, content, 0, &raw mut made) };
    assert_eq!((code, made.is_null()), (ERROR_INVALID_HANDLE, true));
    assert!(operation.is_untouched() && eventful.is_untouched());
    assert_eq!(desk.packet(100), None);
}

#[test]
fn conformance_16_keys_and_pointers() {
    let desk = Desk::new();
    let (one, two) = (desk.publish(b"one", 0, 1).unwrap(), desk.publish(b"two", 0, usize::MAX).unwrap());
    let (mut first, mut second, mut third) = (Operation::new(), Operation::new(), Operation::new());
    // SAFETY: they end before the bytes and they go.
    unsafe {
        assert_eq!(desk.add(one, b"abc", first.get()), ERROR_IO_PENDING);
        assert_eq!(desk.add(two, b"", second.get()), ERROR_IO_PENDING);
        assert_eq!(desk.add(one, b"defg", third.get()), ERROR_IO_PENDING);
    }
    for (key, bytes, operation) in [(1, 3, &mut first), (usize::MAX, 0, &mut second), (1, 4, &mut third)] {
        let packet = desk.packet(INFINITE).unwrap();
        assert_eq!((packet.key, packet.bytes, packet.code), (key, bytes, ERROR_SUCCESS));
        assert_eq!(packet.operation, operation.get());
    }
}

#[test]
fn conformance_17_foreign_packets() {
    let desk = Desk::new();
    let (stream, mut operation, mut foreign) =
        (desk.publish(b"name", 0, 3).unwrap(), Operation::new(), Operation::new());
    assert_ne!(peerdist_queue_post(desk.queue, 11, 12, foreign.get()), 0);
    // SAFETY: it ends before the bytes and it go.
    assert_eq!(unsafe { desk.add(stream, b"abc", operation.get()) }, ERROR_IO_PENDING);
    assert_ne!(peerdist_queue_post(desk.queue, 13, 14, null_mut()), 0);
    let packets = [(); 3].map(|()| desk.packet(INFINITE).unwrap());
    assert_eq!(packets.map(|packet| packet.key), [12, 3, 14]);
    assert_eq!(packets.map(|packet| packet.operation), [foreign.get(), operation.get(), null_mut()]);
}

#[test]
fn conformance_18_events_and_ports() {
    let desk = Desk::new();
    let event = peerdist_event_create();
    // C1: with both, both tell.
    let stream = desk.publish(b"both", 0, 4).unwrap();
    let mut operation = Operation::with_event(event);
    // SAFETY: it ends before the bytes and it go.
    assert_eq!(unsafe { desk.add(stream, b"abc", operation.get()) }, ERROR_IO_PENDING);
    assert_eq!(peerdist_event_wait(event, INFINITE), WAIT_OBJECT_0);
    assert_eq!(desk.packet(INFINITE).map(|packet| packet.operation), Some(operation.get()));
    // Only the port: that event stays as it was, which was reset when it was last used.
    assert_ne!(peerdist_event_reset(event), 0);
    let mut operation = Operation::new();
    // SAFETY: as above.
    assert_eq!(unsafe { desk.add(stream, b"abc", operation.get()) }, ERROR_IO_PENDING);
    assert!(desk.packet(INFINITE).is_some());
    assert_eq!(peerdist_event_wait(event, 0), WAIT_TIMEOUT);

    // Without a port.
    let mut stream = null_mut();
    // SAFETY: all of it is ours.
    let code = unsafe {
        PeerDistServerPublishStream(
            desk.instance,
            4,
            b"none".as_ptr(),
            0,
            std::ptr::null(),
            null_mut(),
            5,
            &raw mut stream,
        )
    };
    assert_eq!(code, ERROR_SUCCESS);
    // Only the event, which was set before: it is reset when the operation is accepted.
    assert_ne!(peerdist_event_set(event), 0);
    let (mut operation, bytes) = (Operation::with_event(event), content(8 << 20));
    // SAFETY: as above.
    assert_eq!(unsafe { desk.add(stream, &bytes, operation.get()) }, ERROR_IO_PENDING);
    assert_eq!(peerdist_event_wait(event, INFINITE), WAIT_OBJECT_0);
    assert_eq!(operation.poll(), (ERROR_SUCCESS, bytes.len() as u32));
    // Neither: there is only polling.
    let mut operation = Operation::new();
    // SAFETY: as above.
    assert_eq!(unsafe { desk.add(stream, b"abc", operation.get()) }, ERROR_IO_PENDING);
    while operation.poll().0 == ERROR_IO_INCOMPLETE {
        thread::yield_now();
    }
    assert_eq!(operation.poll(), (ERROR_SUCCESS, 3));
    assert_eq!(desk.packet(50), None);
    assert_ne!(peerdist_event_close(event), 0);
}

#[test]
fn conformance_19_results() {
    let desk = Desk::new();
    let stream = desk.publish(b"name", 2, 0).unwrap();
    // What does not fit ends with an error, and has no bytes to tell.
    let mut failed = Operation::new();
    // SAFETY: they end before the bytes and they go.
    assert_eq!(unsafe { desk.add(stream, b"abc", failed.get()) }, ERROR_IO_PENDING);
    assert_eq!(failed.wait(), (PEERDIST_ERROR_OUT_OF_BOUNDS, 0));
    // Another thread waits for an end, one polls until then.
    let (stream, bytes) = (desk.publish(b"long", 0, 0).unwrap(), content(16 << 20));
    let mut long = Operation::new();
    // SAFETY: as above.
    assert_eq!(unsafe { desk.add(stream, &bytes, long.get()) }, ERROR_IO_PENDING);
    let (address, len) = (long.get().expose_provenance(), bytes.len() as u32);
    let waits = thread::spawn(move || {
        let mut bytes = 0;
        // SAFETY: it lives until this thread has ended.
        let fine = unsafe {
            PeerDistGetOverlappedResult(std::ptr::with_exposed_provenance_mut(address), &raw mut bytes, 1)
        };
        (fine, bytes)
    });
    assert_eq!(long.poll(), (ERROR_IO_INCOMPLETE, 0), "16 MiB are not hashed at once");
    assert_eq!(waits.join().unwrap(), (1, len));
    assert_eq!(long.poll(), (ERROR_SUCCESS, len));
}

#[test]
fn conformance_20_reserved_offsets() {
    let desk = Desk::new();
    desk.publish_whole(b"name", b"content");
    let (stream, info, content) =
        (desk.publish(b"other", 0, 0).unwrap(), desk.open_info(b"name", 0).unwrap(), desk.open(0));
    for offset in [1, 1 << 32] {
        let mut operation = Operation::at(offset);
        let (instance, pointer, mut buffer) = (desk.instance, operation.get(), [0; 4]);
        // SAFETY: all of it is refused.
        let codes = unsafe {
            [
                desk.add(stream, b"abc", pointer),
                PeerDistServerPublishCompleteStream(instance, stream, pointer),
                PeerDistServerRetrieveContentInformation(instance, info, 4, buffer.as_mut_ptr(), pointer),
                PeerDistClientAddContentInformation(instance, content, 4, buffer.as_ptr(), pointer),
                PeerDistClientFlushContent(instance, &crate::desk::TAG, null_mut(), 0, pointer),
            ]
        };
        assert_eq!(codes, [ERROR_INVALID_PARAMETER; 5]);
        assert!(operation.is_untouched());
    }
    assert_eq!(desk.packet(50), None);
}

/// Tries of what a fast thread may have done before it is looked at.
const TRIES: usize = 20;

/// G2: a second call, also one that would complete the stream, while the first is under way.
#[test]
fn conformance_25_one_at_a_time() {
    assert!((0..TRIES).any(|_| is_refused_while_another_is_under_way(|desk, stream, _, second| {
        // SAFETY: it is refused, or has ended when the desk is closed.
        unsafe { desk.add(stream, b"more", second) }
    })));
    assert!((0..TRIES).any(|_| is_refused_while_another_is_under_way(|desk, stream, _, second| {
        // SAFETY: the same.
        unsafe { PeerDistServerPublishCompleteStream(desk.instance, stream, second) }
    })));
    // What is under way has its OVERLAPPED.
    assert!((0..TRIES).any(|_| is_refused_while_another_is_under_way(|desk, _, first, second| {
        let other = desk.publish(b"other", 0, 8).unwrap();
        // SAFETY: it is refused, as long as the first has not ended.
        match unsafe { desk.add(other, b"more", first) } {
            // By then it had; whose packet comes twice is no matter.
            ERROR_IO_PENDING => {
                assert!(desk.packet(INFINITE).is_some());
                // SAFETY: as above.
                unsafe { desk.add(other, b"more", second) }
            }
            code => code,
        }
    })));
    let (desk, mut first, bytes) = (Desk::new(), Operation::new(), content(4));
    let stream = desk.publish(b"name", 0, 8).unwrap();
    for _ in 0..2 {
        // SAFETY: it ends before the bytes and it go.
        assert_eq!(unsafe { desk.add(stream, &bytes, first.get()) }, ERROR_IO_PENDING);
        assert_eq!(desk.packet(INFINITE).map(|packet| packet.bytes), Some(4));
    }
}

/// Whether `call` was refused after a long AddToStream; or else that had ended by then.
fn is_refused_while_another_is_under_way(
    call: impl Fn(&Desk, HANDLE, *mut OVERLAPPED, *mut OVERLAPPED) -> u32,
) -> bool {
    let desk = Desk::new();
    let (stream, bytes) = (desk.publish(b"name", 0, 8).unwrap(), content(16 << 20));
    let (mut first, mut second) = (Operation::new(), Operation::new());
    // SAFETY: it ends before the bytes and it go.
    assert_eq!(unsafe { desk.add(stream, &bytes, first.get()) }, ERROR_IO_PENDING);
    let refused = match call(&desk, stream, first.get(), second.get()) {
        ERROR_IO_PENDING => false,
        code => {
            assert_eq!(code, ERROR_INVALID_PARAMETER);
            assert!(second.is_untouched());
            true
        }
    };
    assert_eq!(desk.packet(INFINITE).map(|packet| packet.operation), Some(first.get()));
    if !refused {
        assert_eq!(desk.packet(INFINITE).map(|packet| packet.operation), Some(second.get()));
    }
    refused
}

#[test]
fn conformance_45_data_behind_the_end() {
    let desk = Desk::new();
    desk.publish_whole(b"name", &content(700_000));
    let (read, data) = (desk.open_ready(&desk.info(b"name"), 0), content(600_000));
    let add = |offset| {
        let mut operation = Operation::at(offset);
        // SAFETY: it ends before the bytes and it go.
        let code = unsafe {
            PeerDistClientAddData(desk.instance, read, data.len() as u32, data.as_ptr(), operation.get())
        };
        assert_eq!(code, ERROR_IO_PENDING);
        operation.wait()
    };
    assert_eq!(add(700_000), (PEERDIST_ERROR_OUT_OF_BOUNDS, 0));
    assert_eq!(add(1 << 40), (PEERDIST_ERROR_OUT_OF_BOUNDS, 0));
    // What only ends behind it is taken, however it is given to the node.
    assert_eq!(add(300_000), (ERROR_SUCCESS, 600_000));
    assert_eq!(add(699_999), (ERROR_SUCCESS, 600_000));
}

#[test]
fn conformance_55_flush_by_tag() {
    let desk = Desk::new();
    let all = content(100_000);
    desk.publish_whole(b"name", &all);
    let read = desk.open_ready(&desk.info(b"name"), 0);
    let (mut add, mut buffer) = (Operation::new(), [0; 1_000]);
    // SAFETY: it ends before the bytes and it go.
    let code =
        unsafe { PeerDistClientAddData(desk.instance, read, all.len() as u32, all.as_ptr(), add.get()) };
    assert_eq!((code, add.wait()), (ERROR_IO_PENDING, (ERROR_SUCCESS, 100_000)));
    let mut code_of_read = || {
        let mut operation = Operation::new();
        // SAFETY: it ends before the buffer and it go.
        let code = unsafe { desk.block_read(read, &mut buffer, 0, operation.get()) };
        assert_eq!(code, ERROR_IO_PENDING);
        operation.wait().0
    };
    let flush = |tag: &[u8; 16], key| {
        let (mut operation, tag) = (Operation::new(), PEERDIST_CONTENT_TAG { Data: *tag });
        // SAFETY: it ends before it goes.
        let code = unsafe {
            PeerDistClientFlushContent(desk.instance, &raw const tag, desk.queue, key, operation.get())
        };
        assert_eq!((code, operation.wait().0), (ERROR_IO_PENDING, ERROR_SUCCESS));
    };
    assert_eq!(code_of_read(), ERROR_SUCCESS);
    flush(b"some other tag !", 1);
    assert_eq!(code_of_read(), ERROR_SUCCESS);
    flush(&crate::desk::TAG.Data, 2);
    assert_eq!(code_of_read(), PEERDIST_ERROR_MISSING_DATA);
    // The port is that of the call.
    let keys: Vec<_> = std::iter::from_fn(|| desk.packet(0)).map(|packet| packet.key).collect();
    assert_eq!(keys, [0, 0, 1, 0, 2, 0]);
}

#[test]
fn conformance_56_information_by_handle() {
    let desk = Desk::new();
    let content = desk.open(0);
    let mut information = PEERDIST_CLIENT_BASIC_INFO { fFlashCrowd: 9 };
    let mut ask = |class, size| {
        // SAFETY: it is ours.
        unsafe {
            PeerDistClientGetInformationByHandle(
                desk.instance,
                content,
                class,
                size,
                (&raw mut information).cast(),
            )
        }
    };
    assert_eq!(ask(MaximumPeerDistClientInfoByHandlesClass, 4), ERROR_INVALID_PARAMETER);
    assert_eq!(ask(-1, 4), ERROR_INVALID_PARAMETER);
    assert_eq!(ask(PeerDistClientBasicInfo, 3), ERROR_INVALID_PARAMETER);
    assert_eq!(ask(PeerDistClientBasicInfo, 4), ERROR_SUCCESS);
    assert_eq!(information.fFlashCrowd, 0);
}

/// What a read that has ended leaves to others is used at once, and not when something else happens.
#[test]
fn more_reads_than_there_are_rows() {
    let desk = Desk::new();
    let all = content(60_000);
    desk.publish_whole(b"name", &all);
    let read = desk.open_ready(&desk.info(b"name"), 3);
    let mut operation = Operation::new();
    let (instance, len) = (desk.instance, all.len() as u32);
    // SAFETY: it ends before the bytes and it go.
    let code = unsafe { PeerDistClientAddData(instance, read, len, all.as_ptr(), operation.get()) };
    assert_eq!((code, operation.wait()), (ERROR_IO_PENDING, (ERROR_SUCCESS, len)));
    assert_eq!(desk.packet(INFINITE).map(|packet| packet.code), Some(ERROR_SUCCESS));
    let mut reads: Vec<_> = (0..300).map(|_| (Operation::new(), vec![0; all.len()])).collect();
    for (operation, buffer) in &mut reads {
        // SAFETY: they end before these go.
        assert_eq!(unsafe { desk.block_read(read, buffer, 0, operation.get()) }, ERROR_IO_PENDING);
    }
    for count in 0..reads.len() {
        let packet = desk.packet(5_000).unwrap_or_else(|| panic!("only {count} have ended"));
        assert_eq!((packet.code, packet.bytes), (ERROR_SUCCESS, len));
    }
    assert!(reads.iter().all(|(_, buffer)| *buffer == all));
}
