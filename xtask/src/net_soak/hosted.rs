//! Hosted caches in the soak: one that runs on, and one that is killed over and over, for a time with a disk that
//! is full. When it is back it has every block that it had.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::Tally;
use crate::Result;
use crate::lab::{Lab, Random, Running, address};

/// The hosts: the one that runs on first.
pub const HOSTS: [(&str, u16); 2] = [("cache-a", 50), ("cache-b", 51)];

/// Less than the files take, of which there are two versions.
const FULL_MIB: u32 = 4;

/// It is killed within this time.
const LIFE_MS: u64 = 3_000;

/// A life in so many is with the small disk.
const FULL_LIVES: u64 = 3;

/// What clients need to know of them.
pub struct Hosted {
    cert: String,
    key: String,
    full: Option<PathBuf>,
}

impl Hosted {
    /// Before any of them runs.
    pub fn new(lab: &mut Lab) -> Result<Self> {
        let (cert, key) = lab.certificate("hosted", &HOSTS.map(|(_, number)| number))?;
        Ok(Self { cert, key, full: lab.small_disk("hosted-full", FULL_MIB)? })
    }

    /// The file with the certificate that is to be trusted.
    pub fn certificate(&self) -> &str {
        &self.cert
    }

    /// One that is ready.
    pub fn start(&self, lab: &Lab, index: usize, cache: &Path) -> Result<Running> {
        let (host, number) = HOSTS[index];
        let (bind, cache) = (address(number, false), cache.display().to_string());
        lab.hosted(host, &["--bind", &bind, "--cache", &cache, "--cert", &self.cert, "--key", &self.key])
    }

    /// The second comes and goes; how many blocks it had in the end.
    pub fn disturb(&self, lab: &Lab, end: Instant, random: &mut Random, tally: &Tally) -> Result<u64> {
        let blocks = || lab.status_of(HOSTS[1].0, "NumberOfBlocks");
        let usual = PathBuf::from("hosted-b");
        let mut had = 0;
        let mut life = 0;
        while Instant::now() < end {
            let full = self.full.as_deref().filter(|_| life % FULL_LIVES == FULL_LIVES - 1);
            let running = self.start(lab, 1, full.unwrap_or(&usual))?;
            let has = blocks().ok_or("a hosted cache does not tell its blocks")?;
            if full.is_none() && has < had {
                return Err(format!("a hosted cache had {had} blocks, and has {has} after it was killed"));
            }
            let life_time = Duration::from_millis(500 + random.below(LIFE_MS));
            thread::sleep(life_time.min(end.saturating_duration_since(Instant::now())));
            if full.is_none() {
                had = blocks().ok_or("a hosted cache does not live")?;
            }
            // Whatever it is doing.
            drop(running);
            tally.restarts.fetch_add(1, Ordering::Relaxed);
            life += 1;
        }
        Ok(had)
    }
}

/// The options of a client: both of them, in any order, by either version.
pub fn options(random: &mut Random) -> Vec<String> {
    let mut options = Vec::new();
    let first = random.below(2) as usize;
    for index in [first, 1 - first] {
        let address = address(HOSTS[index].1, false);
        let scheme = if random.below(2) == 0 { "http" } else { "https" };
        options.extend(["--hosted".to_string(), format!("{scheme}://{address}")]);
    }
    if random.below(4) == 0 {
        options.push("--with-peers".into());
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_know_both() {
        let mut random = Random(1);
        for _ in 0..20 {
            let options = options(&mut random);
            let has = |number| options.iter().any(|option| option.ends_with(&address(number, false)));
            assert!(has(50) && has(51), "{options:?}");
        }
    }
}
