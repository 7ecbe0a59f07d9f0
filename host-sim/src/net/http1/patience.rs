//! A connection whose client must take what it asked for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a client may be waited for until it has taken [`PROGRESS_BYTES`].
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that show a client to be there: a line that takes longer for them is slower than a modem.
const PROGRESS_BYTES: usize = 16 * 1_024;

/// Breaks writing off when the other side does not take what it asked for: a reader that trickles would hold
/// its connection for ever.
pub struct Patient<T> {
    inner: T,
    /// Since a write has waited.
    waiting: Option<Pin<Box<Sleep>>>,
    taken: usize,
    patience: Duration,
}

impl<T> Patient<T> {
    /// Watches `inner`.
    pub fn new(inner: T) -> Self {
        Self { inner, waiting: None, taken: 0, patience: PATIENCE }
    }

    fn watch(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(taken)) => {
                self.taken = self.taken.saturating_add(taken);
                if self.taken >= PROGRESS_BYTES {
                    (self.waiting, self.taken) = (None, 0);
                }
                outcome
            }
            Poll::Ready(Err(_)) => outcome,
            Poll::Pending => {
                let patience = self.patience;
                let sleep = self.waiting.get_or_insert_with(|| {
                    self.taken = 0;
                    Box::pin(tokio::time::sleep_until(Instant::now() + patience))
                });
                sleep.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, buf);
        self.watch(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, bufs);
        self.watch(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // All that there was to take is taken, so nobody is waited for.
        self.waiting = None;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// In a time that passes only while all wait.
    fn run(test: impl Future<Output = ()>) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().expect("a runtime").block_on(test);
    }

    fn impatient<T>(inner: T) -> Patient<T> {
        Patient { patience: Duration::from_millis(50), ..Patient::new(inner) }
    }

    #[test]
    fn who_takes_nothing_is_given_up() {
        run(async {
            let (_idle, theirs) = duplex(PROGRESS_BYTES);
            let mut stream = impatient(theirs);
            stream.write_all(&[0; PROGRESS_BYTES]).await.expect("there is room");
            let error = stream.write_all(&[0; 1]).await.expect_err("nobody reads");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn who_trickles_is_given_up() {
        run(async {
            let (mut reader, theirs) = duplex(64);
            let mut stream = impatient(theirs);
            let trickle = tokio::spawn(async move {
                // Until the writer is gone.
                while reader.read_u8().await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
            let error = stream.write_all(&[0; PROGRESS_BYTES]).await.expect_err("too slow");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            drop(stream);
            trickle.await.expect("it ends with the connection");
        });
    }

    #[test]
    fn who_is_not_waited_for_may_be_idle() {
        run(async {
            let (mut reader, theirs) = duplex(64);
            let mut stream = impatient(theirs);
            let read = tokio::spawn(async move {
                let mut taken = [0; 300];
                for _ in 0..2 {
                    reader.read_exact(&mut taken).await.expect("all comes");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
            for _ in 0..2 {
                stream.write_all(&[0; 300]).await.expect("somebody reads");
                stream.flush().await.expect("nothing is held back");
                tokio::time::sleep(Duration::from_millis(70)).await;
            }
            read.await.expect("no panic");
        });
    }

    #[test]
    fn who_takes_enough_is_waited_for() {
        run(async {
            let (mut reader, theirs) = duplex(64);
            let mut stream = impatient(theirs);
            let all = tokio::spawn(async move {
                let mut taken = vec![0; 4 * PROGRESS_BYTES];
                reader.read_exact(&mut taken).await
            });
            stream.write_all(&[0; 4 * PROGRESS_BYTES]).await.expect("somebody reads");
            all.await.expect("no panic").expect("all comes");
        });
    }
}
