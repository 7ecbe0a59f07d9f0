//! QEMU's socket network device (`-netdev socket,connect=ADDR:PORT`): a TCP connection that carries frames, each
//! behind its length in four bytes, the most significant first.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use super::{Bytes, Line};

/// Bytes of the longest frame that QEMU sends (`NET_BUFSIZE`). Behind a longer one nobody could say where the next
/// begins: it is no length, but something else.
const MAX_FRAME: usize = 4_096 + 65_536;

/// How long nobody is taken after that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The socket of the switch that one machine's cable goes into.
#[derive(Clone, Debug)]
pub struct Jack(Arc<TcpListener>);

impl Jack {
    /// Waits for a machine at `address`; on port 0, at one that is free.
    pub fn listen(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).map(|listener| Self(Arc::new(listener)))
    }

    /// Where it waits.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Takes machines, one after the other, until the run is over.
    pub(super) fn serve(&self, line: &Line) {
        while !line.is_over() {
            let Ok((stream, from)) = self.0.accept() else {
                // A machine that went again, or too many open files: it passes.
                thread::sleep(ACCEPT_PAUSE);
                continue;
            };
            let Ok(writer) = stream.try_clone() else { continue };
            let Some(frames) = line.plug(&from) else { return };
            thread::spawn(move || write_frames(writer, &frames));
            let end = read_frames(stream, |frame| line.pass(frame));
            if !line.unplug(&end) {
                return;
            }
        }
    }
}

/// Why no more frames come.
#[derive(Debug)]
enum End {
    /// It has gone.
    Closed,
    /// In the middle of a frame.
    CutShort,
    /// Of its bytes nothing can be made any more.
    OutOfStep(usize),
    Failed(io::Error),
    /// Nobody wants any.
    Over,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it has closed the connection"),
            Self::CutShort => f.write_str("it has closed the connection in the middle of a frame"),
            Self::OutOfStep(length) => write!(
                f,
                "a length of {length} bytes came, QEMU's frames have {MAX_FRAME} at most: nobody can tell where the \
                 next one begins"
            ),
            Self::Failed(error) => error.fmt(f),
            Self::Over => f.write_str("the run is over"),
        }
    }
}

/// Passes on what a machine sends, until it goes, says nonsense, or `pass` has enough.
fn read_frames(stream: impl io::Read, mut pass: impl FnMut(Bytes) -> bool) -> End {
    let mut stream = io::BufReader::new(stream);
    loop {
        let mut head = [0; 4];
        match stream.read(&mut head) {
            Ok(0) => return End::Closed,
            Ok(length) => {
                if let Err(error) = stream.read_exact(&mut head[length..]) {
                    return cut(error);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return End::Failed(error),
        }
        let length = u32::from_be_bytes(head) as usize;
        if length > MAX_FRAME {
            return End::OutOfStep(length);
        }
        let mut frame = vec![0; length];
        if let Err(error) = stream.read_exact(&mut frame) {
            return cut(error);
        }
        if !pass(frame) {
            return End::Over;
        }
    }
}

fn cut(error: io::Error) -> End {
    if error.kind() == io::ErrorKind::UnexpectedEof { End::CutShort } else { End::Failed(error) }
}

fn write_frames(mut stream: TcpStream, frames: &Receiver<Bytes>) {
    // Without it, frames only arrive later.
    let _ = stream.set_nodelay(true);
    let mut bytes = Vec::new();
    for frame in frames {
        bytes.clear();
        bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&frame);
        if stream.write_all(&bytes).is_err() {
            break;
        }
    }
    // Also where the reading half has had enough of it. If it has gone, nothing is left to be closed.
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(stream: &[u8]) -> (Vec<Bytes>, End) {
        let mut frames = Vec::new();
        let end = read_frames(stream, |frame| {
            frames.push(frame);
            true
        });
        (frames, end)
    }

    #[test]
    fn frames_are_behind_their_lengths() {
        let (frames, end) = frames(b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c");
        assert_eq!(frames, [&b"ab"[..], b"", b"c"]);
        assert!(matches!(end, End::Closed), "{end}");
    }

    #[test]
    fn what_is_cut_short_or_too_long_ends_it() {
        for stream in [&b"\0\0\0\x02ab\0\0\0\x03cd"[..], b"\0\0\0\x02ab\0\0"] {
            let (frames, end) = frames(stream);
            assert_eq!(frames, [b"ab"]);
            assert!(matches!(end, End::CutShort), "{end}");
        }
        let mut stream = (MAX_FRAME as u32 + 1).to_be_bytes().to_vec();
        stream.resize(MAX_FRAME + 10, 0);
        let (none, end) = frames(&stream);
        assert_eq!(none, [b""; 0]);
        assert!(end.to_string().starts_with("a length of 69633 bytes came"), "{end}");
        stream[..4].copy_from_slice(&(MAX_FRAME as u32).to_be_bytes());
        assert_eq!(frames(&stream).0.first().map(Vec::len), Some(MAX_FRAME));
    }
}
