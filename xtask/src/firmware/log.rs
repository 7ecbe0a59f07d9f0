//! What processes say, line by line: shown, and waited for.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::run::{first_program, shown};

/// How long something may take that is waited for: much longer than it does, and as long as the simulation waits.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Why something did not come about that was waited for.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// Time was over, which may be this computer's fault.
    Late(String),
    /// Whatever else: it is nobody's but of what runs here.
    Wrong(String),
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::Wrong(reason)
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Late(reason) | Failure::Wrong(reason) => reason,
        }
    }
}

/// What nobody may say while something else is waited for.
pub const ALARMS: &[&str] = &["panicked", "fault at"];

/// The lines of a process, or of two that end together.
pub struct Log {
    name: &'static str,
    lines: Receiver<String>,
}

impl Log {
    /// Shows the lines of the streams of somebody of that name from now on, and takes them.
    pub fn follow(name: &'static str, streams: Vec<Option<Box<dyn Read + Send>>>) -> Result<Self> {
        let (sender, lines) = mpsc::channel();
        for stream in streams {
            let sender = sender.clone();
            let stream = stream.ok_or_else(|| format!("{name} has no such stream"))?;
            thread::spawn(move || {
                for line in BufReader::new(stream).split(b'\n').map_while(std::io::Result::ok) {
                    let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                    println!("    {name}: {line}");
                    // Nobody may be interested any more.
                    let _ = sender.send(line);
                }
            });
        }
        Ok(Self { name, lines })
    }

    /// The next line with `words` in it; those before it are gone, and none of [`ALARMS`] is among them.
    pub fn wait_for(&self, words: &str) -> Result<String, Failure> {
        self.wait_without(words, ALARMS)
    }

    /// The same, where no line before it may have any of `alarms`.
    pub fn wait_without(&self, words: &str, alarms: &[&str]) -> Result<String, Failure> {
        self.wait_until(Instant::now() + PATIENCE, words, alarms)
    }

    fn wait_until(&self, end: Instant, words: &str, alarms: &[&str]) -> Result<String, Failure> {
        let (name, mut last) = (self.name, String::new());
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).map_err(|error| match error {
                RecvTimeoutError::Timeout => Failure::Late(format!("{name} did not say `{words}`")),
                // All streams have ended, and so has who spoke.
                RecvTimeoutError::Disconnected => {
                    Failure::Wrong(format!("{name} ended and did not say `{words}`, but at last: {last}"))
                }
            })?;
            if line.contains(words) {
                return Ok(line);
            }
            if alarms.iter().any(|alarm| line.contains(alarm)) {
                return Err(Failure::Wrong(format!("{name} said: {line}")));
            }
            last = line;
        }
    }

    /// Lines that have come and were not waited for, all of them.
    pub fn rest(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }
}

/// A stream of a process, one of several kinds.
pub fn boxed(stream: Option<impl Read + Send + 'static>) -> Option<Box<dyn Read + Send>> {
    stream.map(|stream| Box::new(stream) as _)
}

/// A command whose process does not outlive us, not even if we are killed, where Linux can see to that.
pub fn dies_with_us(program: impl AsRef<OsStr>) -> Command {
    if first_program(&["setpriv"]).is_none() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// A process that does not outlive us, with pipes for what goes in and out.
pub struct Running(pub Child);

impl Running {
    /// Starts it.
    pub fn start(command: &mut Command) -> Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map(Self).map_err(|error| format!("{}: {error}", shown(command)))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        self.0.try_wait().ok().flatten().map(|status| status.to_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(said: &'static [u8]) -> Log {
        Log::follow("somebody", vec![Some(Box::new(said))]).unwrap()
    }

    #[test]
    fn lines_are_waited_for_in_their_order() {
        let log = log(b"one\ntwo \xff\r\none more\nthree\n");
        assert_eq!(log.wait_for("two").as_deref(), Ok("two \u{fffd}"));
        assert_eq!(log.wait_for("one").as_deref(), Ok("one more"));
        assert_eq!(log.wait_for("e").as_deref(), Ok("three"));
        assert_eq!(log.rest(), [""; 0]);
    }

    #[test]
    fn no_alarm_is_passed_over() {
        let said = |line: &str| Err(Failure::Wrong(format!("somebody said: {line}")));
        assert_eq!(log(b"one\nfault at 0x10\ntwo\n").wait_for("two"), said("fault at 0x10"));
        assert_eq!(log(b"two\nthree\nfour\n").wait_without("four", &["three"]), said("three"));
    }

    #[test]
    fn who_has_ended_is_waited_for_no_longer() {
        let start = Instant::now();
        let ended = "somebody ended and did not say `two`, but at last: one".to_owned();
        assert_eq!(log(b"one\n").wait_for("two"), Err(Failure::Wrong(ended)));
        assert!(start.elapsed() < PATIENCE);
    }

    #[test]
    fn silence_may_be_a_slow_computer() {
        let (stream, _open) = std::os::unix::net::UnixStream::pair().unwrap();
        let log = Log::follow("somebody", vec![Some(Box::new(stream))]).unwrap();
        let late = Failure::Late("somebody did not say `two`".to_owned());
        assert_eq!(log.wait_until(Instant::now(), "two", ALARMS), Err(late));
    }
}
