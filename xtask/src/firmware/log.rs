//! What processes say, line by line: shown, and waited for.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::run::shown;

/// How long something may take that is waited for: much longer than it does, and as long as the simulation waits.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What nobody may say while something else is waited for.
pub const ALARMS: &[&str] = &["panicked", "fault at"];

/// The lines of a process.
pub struct Log {
    name: &'static str,
    lines: Receiver<String>,
    /// Threads that say what somebody says.
    sender: Sender<String>,
}

impl Log {
    /// One without lines yet, of somebody of that name.
    pub fn new(name: &'static str) -> Self {
        let (sender, lines) = mpsc::channel();
        Self { name, lines, sender }
    }

    /// Shows the lines of `stream` from now on, and takes them.
    pub fn follow(&self, stream: Option<impl Read + Send + 'static>) -> Result<()> {
        let (name, sender) = (self.name, self.sender.clone());
        let stream = stream.ok_or_else(|| format!("{name} has no such stream"))?;
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(std::io::Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                println!("    {name}: {line}");
                // Nobody may be interested any more.
                let _ = sender.send(line);
            }
        });
        Ok(())
    }

    /// The next line with `words` in it; those before it are gone, and none of [`ALARMS`] is among them.
    pub fn wait_for(&self, words: &str) -> Result<String> {
        self.wait_without(words, ALARMS)
    }

    /// The same, where no line before it may have any of `alarms`.
    pub fn wait_without(&self, words: &str, alarms: &[&str]) -> Result<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.map_err(|_| format!("{} did not say `{words}`", self.name))?;
            if line.contains(words) {
                return Ok(line);
            }
            if alarms.iter().any(|alarm| line.contains(alarm)) {
                return Err(format!("{} said: {line}", self.name));
            }
        }
    }

    /// Lines that have come and were not waited for, all of them.
    pub fn rest(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }
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

    #[test]
    fn lines_are_waited_for_in_their_order() {
        let log = Log::new("somebody");
        log.follow(Some(&b"one\ntwo \xff\r\none more\nthree\n"[..])).unwrap();
        assert_eq!(log.wait_for("two").as_deref(), Ok("two \u{fffd}"));
        assert_eq!(log.wait_for("one").as_deref(), Ok("one more"));
        assert_eq!(log.wait_for("e").as_deref(), Ok("three"));
        assert_eq!(log.rest(), [""; 0]);
    }

    #[test]
    fn no_alarm_is_passed_over() {
        let log = Log::new("somebody");
        log.follow(Some(&b"one\nfault at 0x10\ntwo\n"[..])).unwrap();
        assert_eq!(log.wait_for("two"), Err("somebody said: fault at 0x10".to_owned()));
        log.follow(Some(&b"two\nthree\nfour\n"[..])).unwrap();
        assert_eq!(log.wait_without("four", &["three"]), Err("somebody said: three".to_owned()));
    }
}
