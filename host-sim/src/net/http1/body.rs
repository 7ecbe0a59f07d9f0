//! The body of a reply: bytes at hand, or read piece by piece as the connection takes them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame, SizeHint};
use tokio::task::{self, JoinHandle};

/// What is read while it is sent.
pub trait Chunks: Send + 'static {
    /// The next bytes, at least one; called only while some are [`left`](Self::left). It may block. An error
    /// breaks the connection, so that the client knows it has not got all.
    fn next(&mut self) -> io::Result<Bytes>;

    /// Bytes that are still to come.
    fn left(&self) -> u64;
}

/// The body of a reply. It has one piece in memory at a time, and one thread while that is read.
#[derive(Default)]
pub struct Body(State);

#[derive(Default)]
enum State {
    #[default]
    Over,
    Ready(Bytes),
    Idle(Box<dyn Chunks>),
    Reading(JoinHandle<(Box<dyn Chunks>, io::Result<Bytes>)>, u64),
}

impl Body {
    /// Sends `chunks`.
    pub fn of(chunks: impl Chunks) -> Self {
        Self(if chunks.left() > 0 { State::Idle(Box::new(chunks)) } else { State::Over })
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        let bytes = bytes.into();
        Self(if bytes.is_empty() { State::Over } else { State::Ready(bytes) })
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            match std::mem::take(&mut self.0) {
                State::Over => return Poll::Ready(None),
                State::Ready(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                State::Idle(mut chunks) => {
                    let left = chunks.left();
                    let read = task::spawn_blocking(move || {
                        let bytes = chunks.next();
                        (chunks, bytes)
                    });
                    self.0 = State::Reading(read, left);
                }
                State::Reading(mut read, left) => {
                    let outcome = match Pin::new(&mut read).poll(context) {
                        Poll::Pending => {
                            self.0 = State::Reading(read, left);
                            return Poll::Pending;
                        }
                        Poll::Ready(outcome) => outcome,
                    };
                    return Poll::Ready(Some(match outcome {
                        Ok((chunks, Ok(bytes))) => {
                            if chunks.left() > 0 {
                                self.0 = State::Idle(chunks);
                            }
                            Ok(Frame::data(bytes))
                        }
                        Ok((_, Err(error))) => Err(error),
                        Err(error) => Err(io::Error::other(error)),
                    }));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, State::Over)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.0 {
            State::Over => 0,
            State::Ready(bytes) => bytes.len() as u64,
            State::Idle(chunks) => chunks.left(),
            State::Reading(_, left) => *left,
        })
    }
}
