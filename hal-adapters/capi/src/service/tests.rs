//! What only shows from inside.
#![allow(unsafe_code, reason = "functions of C are called")]

use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::exports::common::*;
use crate::exports::signals::*;
use crate::signals::SIGNALS;
use crate::types::*;

/// There is one service in a process, so tests take turns.
pub(crate) static TURN: Mutex<()> = Mutex::new(());

/// Who sees that an operation has ended has its packet, too, and its event is set: for as long as those cannot be had,
/// the operation has not ended.
#[test]
fn an_end_is_told_all_at_once() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut instance, queue, event) = (null_mut(), peerdist_queue_create(), peerdist_event_create());
    // SAFETY: the pointer is valid.
    assert_eq!(unsafe { PeerDistStartup(PEERDIST_VERSION, &raw mut instance, null_mut()) }, ERROR_SUCCESS);
    let mut status = -1;
    let mut overlapped = OVERLAPPED { Internal: 0, InternalHigh: 0, Offset: 0, OffsetHigh: 0, hEvent: event };
    // SAFETY: it stays valid until the operation has ended, which the last lines wait for.
    let internal = unsafe { AtomicUsize::from_ptr(&raw mut overlapped.Internal) };
    let mut register = || {
        // SAFETY: as above, and so does the status.
        let accepted = unsafe {
            PeerDistRegisterForStatusChangeNotification(
                instance,
                queue,
                5,
                &raw mut overlapped,
                &raw mut status,
            )
        };
        assert_eq!(accepted, ERROR_IO_PENDING);
    };
    let take = || {
        let (mut bytes, mut key, mut taken) = (0, 0, null_mut());
        // SAFETY: the pointers are valid.
        unsafe { peerdist_queue_get(queue, &raw mut bytes, &raw mut key, &raw mut taken, 0) != 0 && key == 5 }
    };
    // What the status is now ends the first.
    register();
    assert!(peerdist_event_wait(event, 10_000) == WAIT_OBJECT_0 && take());
    peerdist_event_reset(event);
    register();
    let changer = SIGNALS.change(|_| {
        let changer = thread::spawn(|| peerdist_set_status(PEERDIST_STATUS_DISABLED));
        while !SIGNALS.is_waited_for() {
            thread::yield_now();
        }
        assert_eq!(internal.load(Ordering::Acquire), STATUS_PENDING as usize);
        changer
    });
    assert_eq!(changer.unwrap().join().unwrap(), ERROR_SUCCESS);
    assert_eq!(internal.load(Ordering::Acquire), ERROR_SUCCESS as usize);
    assert!(peerdist_event_wait(event, 0) == WAIT_OBJECT_0 && take());
    assert_eq!(PeerDistShutdown(instance), ERROR_SUCCESS);
    assert_eq!(peerdist_set_status(PEERDIST_STATUS_AVAILABLE), ERROR_SUCCESS);
}
