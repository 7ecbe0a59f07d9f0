//! The scripted [origin](crate::origin) on a socket of the system.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::origin::{Origin, Session};

/// Bytes of a reply that are sent at once.
const PIECE_BYTES: usize = 64 * 1024;

/// How long a request is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// An origin that listens, until the process ends.
#[derive(Clone)]
pub struct Site {
    /// Where.
    pub address: SocketAddr,
    origin: Arc<Mutex<Origin>>,
    /// Told of each request.
    asked: Arc<Condvar>,
}

impl Site {
    /// Listens on a free port of `ip`. After each `PIECE_BYTES` of a reply it waits for `pace`.
    pub fn open(ip: IpAddr, origin: Origin, pace: Duration) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let origin = Arc::new(Mutex::new(origin));
        let site = Self { address, origin, asked: Arc::default() };
        let shared = site.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let site = shared.clone();
                thread::spawn(move || site.serve(stream, pace));
            }
        });
        site
    }

    /// What it serves and has done so far.
    pub fn origin(&self) -> MutexGuard<'_, Origin> {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it was asked so many requests in all; `false` if that takes longer than a minute.
    pub fn wait_for_requests(&self, count: usize) -> bool {
        let fewer = |origin: &mut Origin| origin.requests.len() < count;
        let waited = self.asked.wait_timeout_while(self.origin(), PATIENCE, fewer);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The URL of its content.
    pub fn url(&self) -> String {
        format!("http://{}/content", self.address)
    }

    /// Answers on one connection, until it ends.
    pub fn serve(&self, mut stream: impl Read + Write, pace: Duration) {
        let mut session = Session::default();
        let mut buf = [0; 4_096];
        while let Ok(len @ 1..) = stream.read(&mut buf) {
            let (reply, close) = session.handle(&mut self.origin(), &buf[..len]);
            self.asked.notify_all();
            for piece in reply.chunks(PIECE_BYTES) {
                if stream.write_all(piece).and_then(|()| stream.flush()).is_err() {
                    return;
                }
                thread::sleep(pace);
            }
            if close {
                return;
            }
        }
    }
}
