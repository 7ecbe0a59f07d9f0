//! Cancelling, closing, and that each operation has one end.

use std::collections::HashMap;
use std::ptr::null_mut;

use peerdist::exports::client::*;
use peerdist::exports::server::*;
use peerdist::exports::signals::*;
use peerdist::types::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::desk::{Desk, Operation, content};

fn cancel(desk: &Desk, name: &[u8], operation: *mut OVERLAPPED) -> u32 {
    // SAFETY: the name is ours, and the operation is not followed.
    unsafe { PeerDistServerCancelAsyncOperation(desk.instance, name.len() as u32, name.as_ptr(), operation) }
}

#[test]
fn conformance_35_cancel_by_identifier() {
    let desk = Desk::new();
    let (stream, bytes) = (desk.publish(b"name", 0, 2).unwrap(), content(32 << 20));
    let mut operation = Operation::new();
    // SAFETY: it ends before the bytes and it go.
    assert_eq!(unsafe { desk.add(stream, &bytes, operation.get()) }, ERROR_IO_PENDING);
    assert_eq!(cancel(&desk, b"other", operation.get()), PEERDIST_ERROR_OPERATION_NOTFOUND);
    assert_eq!(cancel(&desk, b"name", null_mut()), ERROR_INVALID_PARAMETER);
    assert_eq!(cancel(&desk, b"name", operation.get()), ERROR_SUCCESS);
    // C5. The end was told before that returned.
    assert_eq!(peerdist_last_error(), ERROR_OPERATION_ABORTED);
    let packet = desk.packet(0).unwrap();
    assert_eq!(packet.code, ERROR_OPERATION_ABORTED);
    // What was added so far is told, and part of the stream, which goes on behind it.
    let taken = packet.bytes;
    assert!(taken > 0 && (taken as usize) < bytes.len());
    assert_eq!(operation.poll(), (ERROR_OPERATION_ABORTED, taken));
    assert_eq!(cancel(&desk, b"name", operation.get()), PEERDIST_ERROR_OPERATION_NOTFOUND);
    assert_eq!(desk.packet(50), None);
    let mut operation = Operation::new();
    // SAFETY: as above.
    assert_eq!(unsafe { desk.add(stream, b"more", operation.get()) }, ERROR_IO_PENDING);
    assert_eq!(operation.wait(), (ERROR_SUCCESS, 4));
    let mut operation = Operation::new();
    // SAFETY: it ends before it goes.
    let code = unsafe { PeerDistServerPublishCompleteStream(desk.instance, stream, operation.get()) };
    assert_eq!((code, operation.wait().0), (ERROR_IO_PENDING, ERROR_SUCCESS));
    while desk.packet(0).is_some() {}
    desk.publish_whole(b"same", &[&bytes[..taken as usize], b"more"].concat());
    assert_eq!(desk.info(b"name"), desk.info(b"same"));
}

#[test]
fn conformance_53_closed_with_a_hundred_reads() {
    let desk = Desk::new();
    desk.publish_whole(b"name", &content(10_000_000));
    let read = desk.open_ready(&desk.info(b"name"), 9);
    let mut reads: Vec<_> = (0..100).map(|index| (Operation::at(index * 70_000), vec![0; 1_000])).collect();
    for (index, (operation, buffer)) in reads.iter_mut().enumerate() {
        let (buffer, pointer) = (buffer.as_mut_ptr(), operation.get());
        // SAFETY: they end before these go.
        let code = unsafe {
            if index % 2 == 0 {
                PeerDistClientBlockRead(desk.instance, read, 1_000, buffer, INFINITE, pointer)
            } else {
                PeerDistClientStreamRead(desk.instance, read, 1_000, buffer, INFINITE, pointer)
            }
        };
        assert_eq!(code, ERROR_IO_PENDING);
    }
    assert_eq!(PeerDistClientCloseContent(desk.instance, read), ERROR_SUCCESS);
    // All have ended by now, each once.
    let mut ends = HashMap::new();
    while let Some(packet) = desk.packet(0) {
        assert_eq!((packet.key, packet.code), (9, ERROR_OPERATION_ABORTED));
        *ends.entry(packet.operation).or_insert(0) += 1;
    }
    assert!(ends.len() == 100 && ends.values().all(|count| *count == 1));
    assert!(reads.iter_mut().all(|(operation, _)| operation.poll() == (ERROR_OPERATION_ABORTED, 0)));
}

#[test]
fn conformance_54_cancel_reads() {
    let desk = Desk::new();
    desk.publish_whole(b"name", &content(1_000_000));
    let read = desk.open_ready(&desk.info(b"name"), 0);
    let cancel = |operation| PeerDistClientCancelAsyncOperation(desk.instance, read, operation);
    assert_eq!(cancel(null_mut()), PEERDIST_ERROR_OPERATION_NOTFOUND);
    let mut reads: Vec<_> = (0..5).map(|index| (Operation::at(index * 70_000), vec![0; 1_000])).collect();
    for (operation, buffer) in &mut reads {
        // SAFETY: they end before these go.
        let code = unsafe { desk.block_read(read, buffer, INFINITE, operation.get()) };
        assert_eq!(code, ERROR_IO_PENDING);
    }
    // One.
    assert_eq!(cancel(reads[2].0.get()), ERROR_SUCCESS);
    assert_eq!(peerdist_last_error(), ERROR_OPERATION_ABORTED);
    assert_eq!(desk.packet(0).map(|packet| packet.operation), Some(reads[2].0.get()));
    // One that has ended, and one that there never was.
    assert_eq!(cancel(reads[2].0.get()), PEERDIST_ERROR_OPERATION_NOTFOUND);
    assert_eq!(cancel(Operation::new().get()), PEERDIST_ERROR_OPERATION_NOTFOUND);
    // All others, in the order in which they were asked for.
    assert_eq!(cancel(null_mut()), ERROR_SUCCESS);
    for index in [0, 1, 3, 4] {
        let packet = desk.packet(0).unwrap();
        assert_eq!((packet.operation, packet.code), (reads[index].0.get(), ERROR_OPERATION_ABORTED));
    }
    assert_eq!(desk.packet(50), None);
}

#[test]
fn conformance_59_no_buffer() {
    let desk = Desk::new();
    desk.publish_whole(b"name", &content(100_000));
    let read = desk.open_ready(&desk.info(b"name"), 0);
    let mut operation = Operation::new();
    let instance = desk.instance;
    // SAFETY: they are refused.
    let codes = unsafe {
        [
            PeerDistClientBlockRead(instance, read, 1, null_mut(), 0, operation.get()),
            PeerDistClientStreamRead(instance, read, 1, null_mut(), 0, operation.get()),
        ]
    };
    assert_eq!(codes, [ERROR_INVALID_PARAMETER; 2]);
    assert!(operation.is_untouched());
    // Without room it is a question, and needs no buffer.
    // SAFETY: it ends before it goes.
    let code = unsafe { PeerDistClientBlockRead(instance, read, 0, null_mut(), 0, operation.get()) };
    assert_eq!((code, operation.wait()), (ERROR_IO_PENDING, (ERROR_SUCCESS, 0)));
}

/// How often something is begun, unless the environment says otherwise: valgrind is slow.
const CALLS: usize = 10_000;

#[test]
fn conformance_15_each_operation_ends_once() {
    let desk = Desk::new();
    let all = content(700_000);
    desk.publish_whole(b"name", &all);
    let info = desk.info(b"name");
    let mut rng = ChaCha8Rng::seed_from_u64(15);
    let (mut begun, mut ended) = (0, 0);
    let mut under_way: HashMap<*mut OVERLAPPED, (Operation, Vec<u8>)> = HashMap::new();
    let mut take = |under_way: &mut HashMap<_, (Operation, Vec<u8>)>, milliseconds| {
        let Some(packet) = desk.packet(milliseconds) else { return false };
        let (mut operation, _) =
            under_way.remove(&packet.operation).expect("it was begun, and has not ended");
        assert_eq!(operation.poll().0, packet.code);
        ended += 1;
        true
    };
    let (mut read, mut stream) = (desk.open_ready(&info, 1), desk.publish(b"stream", 0, 1).unwrap());
    let calls = std::env::var("CONFORMANCE_CALLS").ok().and_then(|calls| calls.parse().ok()).unwrap_or(CALLS);
    for _ in 0..calls {
        let at = u64::from(rng.next_u32()) % all.len() as u64;
        let (mut operation, mut buffer) = (Operation::at(at), vec![0; (rng.next_u32() % 3_000) as usize]);
        let (pointer, len, bytes) = (operation.get(), buffer.len() as u32, buffer.as_mut_ptr());
        let instance = desk.instance;
        // SAFETY: what is accepted is kept until it has ended.
        let code = unsafe {
            match rng.next_u32() % 12 {
                0..4 => PeerDistClientBlockRead(instance, read, len, bytes, rng.next_u32() % 50, pointer),
                4 | 5 => PeerDistClientStreamRead(instance, read, len, bytes, rng.next_u32() % 50, pointer),
                6 | 7 => PeerDistClientAddData(instance, read, len, bytes, pointer),
                8 => {
                    operation = Operation::new();
                    desk.add(stream, &buffer, operation.get())
                }
                9 => {
                    let any = under_way.keys().next().copied().unwrap_or(null_mut());
                    PeerDistClientCancelAsyncOperation(instance, read, any)
                }
                10 => PeerDistClientCancelAsyncOperation(instance, read, null_mut()),
                _ if rng.next_u32() % 16 == 0 => {
                    assert_eq!(PeerDistClientCloseContent(instance, read), ERROR_SUCCESS);
                    assert_eq!(PeerDistServerCloseStreamHandle(instance, stream), ERROR_SUCCESS);
                    while take(&mut under_way, 0) {}
                    assert!(under_way.is_empty(), "closing ends all");
                    read = desk.open_ready(&info, 1);
                    stream = desk.publish(b"stream", 0, 1).unwrap();
                    0
                }
                _ => 0,
            }
        };
        if code == ERROR_IO_PENDING {
            begun += 1;
            under_way.insert(operation.get(), (operation, buffer));
        }
        if rng.next_u32() % 2 == 0 {
            take(&mut under_way, 0);
        }
    }
    while !under_way.is_empty() {
        take(&mut under_way, INFINITE);
    }
    take(&mut under_way, 50);
    assert_eq!((begun, under_way.len()), (ended, 0));
    assert!(begun > calls / 4);
}
