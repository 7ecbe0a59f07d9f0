//! QEMU's monitor: what one would do to a board from outside.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::run::target_dir;
use crate::{Result, size};

/// What it says when it waits for a command.
const PROMPT: &[u8] = b"(qemu) ";

/// How long QEMU may take to open it, and to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What `cortex-m-rt` fills the stack with before the program begins.
const PAINT: [u8; 4] = 0xcccc_cccc_u32.to_le_bytes();

/// The monitor of one QEMU.
pub struct Monitor {
    path: PathBuf,
}

impl Monitor {
    /// One that `qemu` is told to open.
    pub fn add(qemu: &mut Command) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Beside other people's sockets, since the path of one may not be long.
        let path = std::env::temp_dir().join(format!("xtask-qemu-{}-{number}", std::process::id()));
        qemu.arg("-monitor").arg(format!("unix:{},server=on,wait=off", path.display()));
        Self { path }
    }

    /// Has it carry out a command, and returns what it says to it.
    pub fn command(&self, command: &str) -> Result<String> {
        let failure = |error: std::io::Error| format!("QEMU's monitor, `{command}`: {error}");
        let mut stream = self.connect().map_err(failure)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failure)?;
        read_to_prompt(&mut stream).map_err(failure)?;
        stream.write_all(format!("{command}\n").as_bytes()).map_err(failure)?;
        let said = read_to_prompt(&mut stream).map_err(failure)?;
        // It repeats the command as one would see it typed.
        Ok(said.split_once('\n').map(|(_, said)| said.trim().to_owned()).unwrap_or_default())
    }

    /// The deepest that the stack of `elf`, which is running, has been so far, in bytes.
    pub fn deepest_stack(&self, elf: &Path) -> Result<u64> {
        let image = size::read(elf)?;
        let (end, start) = (image.address("_stack_end")?, image.address("_stack_start")?);
        let dump = target_dir().join("stack.bin");
        let bytes = start.checked_sub(end).ok_or("the stack ends above its start")?;
        let said = self.command(&format!("pmemsave {end:#x} {bytes:#x} \"{}\"", dump.display()))?;
        let memory = fs::read(&dump).map_err(|error| format!("{}: {error}; {said}", dump.display()))?;
        if memory.len() != bytes as usize {
            return Err(format!("QEMU's monitor wrote {} of {bytes} bytes: {said}", memory.len()));
        }
        unpainted(&memory).ok_or_else(|| "the stack is not painted".to_owned())
    }

    fn connect(&self) -> std::io::Result<UnixStream> {
        let end = Instant::now() + PATIENCE;
        loop {
            match UnixStream::connect(&self.path) {
                // QEMU has not opened it yet, or still talks to us about the command before.
                Err(_) if Instant::now() < end => thread::sleep(Duration::from_millis(10)),
                other => return other,
            }
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}

fn read_to_prompt(stream: &mut UnixStream) -> std::io::Result<String> {
    let (mut said, mut byte) = (Vec::new(), [0]);
    while !said.ends_with(PROMPT) {
        stream.read_exact(&mut byte)?;
        said.push(byte[0]);
    }
    said.truncate(said.len() - PROMPT.len());
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// How many bytes at the end of `memory` are what was in use: from the first word on that has lost its paint.
/// `None` if none has it.
fn unpainted(memory: &[u8]) -> Option<u64> {
    let (words, _) = memory.as_chunks::<4>();
    let painted = words.iter().take_while(|word| **word == PAINT).count();
    (painted > 0).then_some(((words.len() - painted) * 4) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_where_paint_is_lost_first() {
        let mut memory = [0xcc; 64];
        assert_eq!(unpainted(&memory), Some(0));
        memory[50] = 1;
        memory[33] = 1;
        assert_eq!(unpainted(&memory), Some(32));
        memory[0] = 0;
        assert_eq!(unpainted(&memory), None);
    }
}
