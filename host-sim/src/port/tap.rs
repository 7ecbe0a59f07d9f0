//! A TAP device of Linux: what is behind it, a board at the end of a cable or a network of the kernel, is on the
//! simulated switch.

use std::fmt;
use std::io;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use peerdist_hal::tap::{OpenError, Tap};

use super::{Bytes, Line};

/// How often it is asked whether the run is over while no frame comes.
const TURN: Duration = Duration::from_millis(200);

/// How long a device that has gone is waited for before it is looked for again.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// Bytes of the longest frame that a device can give.
const MAX_FRAME: usize = 65_536;

/// A TAP device that is open.
#[derive(Clone, Debug)]
pub struct Jack {
    name: String,
    /// Until it is served.
    tap: Arc<Mutex<Option<Tap>>>,
}

impl Jack {
    /// Opens the device of that name.
    pub fn open(name: &str) -> Result<Self, OpenError> {
        let tap = Tap::open(name)?;
        Ok(Self { name: name.into(), tap: Arc::new(Mutex::new(Some(tap))) })
    }

    /// Moves frames until the run is over. A device that goes is looked for again.
    pub(super) fn serve(&self, line: &Line) {
        while !line.is_over() {
            let first = self.tap.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Ok(tap) = first.map_or_else(|| Tap::open(&self.name), Ok) else {
                thread::sleep(REOPEN_PAUSE);
                continue;
            };
            let tap = Arc::new(tap);
            let Some(frames) = line.plug(&self.name) else { return };
            let writer = Arc::clone(&tap);
            let sender = thread::spawn(move || write_frames(&writer, &frames));
            let end = read_frames(&tap, line);
            let goes_on = line.unplug(&end);
            // It ends with the cable; until then the device is still open, and so not to be had.
            let _ = sender.join();
            if !goes_on {
                return;
            }
        }
    }
}

/// Why no more frames come.
enum End {
    Gone(io::Error),
    /// Nobody wants any.
    Over,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(error) => write!(f, "the device cannot be read any more: {error}"),
            Self::Over => f.write_str("the run is over"),
        }
    }
}

fn read_frames(tap: &Arc<Tap>, line: &Line) -> End {
    let mut reader = match tap.reader() {
        Ok(reader) => reader,
        Err(error) => return End::Gone(error),
    };
    let mut frame = vec![0; MAX_FRAME];
    loop {
        match reader.recv(&mut frame, TURN) {
            Ok(Some(length)) => {
                let bytes = frame.get(..length).unwrap_or_default();
                if !line.pass(bytes.to_vec()) {
                    return End::Over;
                }
            }
            Ok(None) if line.is_over() => return End::Over,
            Ok(None) => {}
            Err(error) => return End::Gone(error),
        }
    }
}

fn write_frames(tap: &Tap, frames: &Receiver<Bytes>) {
    for frame in frames {
        // What cannot be sent is lost, as on a cable that is not plugged in.
        let _ = tap.send(&frame);
    }
}
