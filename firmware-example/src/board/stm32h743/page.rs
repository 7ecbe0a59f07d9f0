//! The sockets of the page.

use embassy_net::tcp::{State, TcpSocket};
use embassy_time::{Duration, with_timeout};

use super::{Shared, now};
use crate::page::{PORT, Progress, REPLY_BYTES, Request};

/// Connections at once: one is answered while the next begins.
pub const SOCKETS: usize = 2;

/// Bytes that wait of a request.
pub const RECEIVE_BYTES: usize = 256;

/// Bytes that wait of a reply: all of it.
pub const SEND_BYTES: usize = REPLY_BYTES;

/// Whoever is silent for so long is cut off, and so is who takes longer for the whole of it than twice that.
const TIMEOUT: Duration = Duration::from_secs(5);
const IN_ALL: Duration = Duration::from_secs(10);

/// Answers on one socket, one client after the other.
pub async fn run(shared: Shared, mut socket: TcpSocket<'static>) -> ! {
    socket.set_timeout(Some(TIMEOUT));
    loop {
        // The port is not zero and the socket is closed, so this cannot fail.
        let _ = socket.accept(PORT).await;
        let closed = with_timeout(IN_ALL, converse(shared, &mut socket)).await;
        if closed.is_err() || socket.state() != State::Closed {
            // Whoever is still there has all that it gets.
            socket.abort();
            let _ = with_timeout(TIMEOUT, socket.flush()).await;
        }
    }
}

async fn converse(Shared { driver, app, .. }: Shared, socket: &mut TcpSocket<'static>) {
    let mut request = Request::default();
    loop {
        // An error is the end of the connection, or of what the client has to say.
        match socket.read_with(|bytes| (bytes.len(), request.take(bytes))).await {
            Ok(Progress::More) => {}
            Ok(Progress::Whole) => break,
            Ok(Progress::Endless) | Err(_) => return,
        }
    }
    // Nothing has been sent on this connection, so all its room is in one piece.
    let dropped = driver.dropped_datagrams();
    let answer = |room: &mut [u8]| {
        let len = driver.with_node(|node| app.borrow().answer(now(), node, dropped, &request, room));
        (len, ())
    };
    if socket.write_with(answer).await.is_err() {
        return;
    }
    socket.close();
    // Until all of it has been acknowledged, and the client has closed as well.
    let _ = socket.flush().await;
    while socket.may_recv() && socket.read_with(|bytes| (bytes.len(), ())).await.is_ok() {}
}
