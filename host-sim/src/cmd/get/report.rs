//! What came of it, for people and for machines, and the bar while it goes on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::Range;

use indicatif::{HumanBytes, ProgressBar};
use peerdist_core::fetch::{Failures, Source};
use serde_json::{Value, json};

use super::super::bar;
use super::task::{State, Task};

/// Runs that are told of one file: with peers that take turns there may be one for each block, and memory
/// must not grow with the file.
const MAX_RUNS: usize = 16_384;

/// Where bytes came from.
#[derive(Default)]
pub struct Sources {
    /// This machine: the cache, or what an earlier attempt left of the file.
    pub cache: u64,
    /// The hosted cache.
    pub hosted: u64,
    /// Each peer.
    pub peers: BTreeMap<SocketAddr, u64>,
    /// The origin, block by block.
    pub origin: u64,
    /// How the origin failed when it was asked, and how often, before it gave something or was given up.
    pub failures: BTreeMap<String, u32>,
    /// Runs of bytes with the same source and the same reasons, by their beginning.
    runs: BTreeMap<u64, Run>,
    /// Bytes that no run tells of, since there were too many.
    untold: u64,
}

#[derive(PartialEq, Eq)]
struct Run {
    end: u64,
    source: String,
    why: Vec<String>,
}

impl Sources {
    /// A block was handed out.
    pub fn block(&mut self, range: Range<u64>, source: Source, failures: &Failures) {
        let len = range.end - range.start;
        let source = match source {
            Source::Local => {
                self.cache += len;
                "cache".into()
            }
            Source::HostedCache(cache) => {
                self.hosted += len;
                format!("hosted cache {cache}")
            }
            Source::Peer(peer) => {
                *self.peers.entry(peer).or_default() += len;
                format!("peer {peer}")
            }
            Source::Origin => {
                self.origin += len;
                "origin".into()
            }
        };
        let reason = |failure: &peerdist_core::fetch::Failure| match failure.peer {
            Some(peer) => format!("{peer}: {}", failure.cause),
            None => failure.cause.to_string(),
        };
        let mut run = Run { end: range.end, source, why: failures.iter().map(reason).collect() };
        // One run with its neighbours, if they are alike.
        if self.runs.get(&range.end).is_some_and(|next| next.source == run.source && next.why == run.why)
            && let Some(next) = self.runs.remove(&range.end)
        {
            run.end = next.end;
        }
        let full = self.runs.len() >= MAX_RUNS;
        match self.runs.range_mut(..range.start).next_back() {
            Some((_, before))
                if before.end == range.start && before.source == run.source && before.why == run.why =>
            {
                before.end = run.end;
            }
            _ if full => self.untold += run.end - range.start,
            _ => drop(self.runs.insert(range.start, run)),
        }
    }

    /// Bytes of all peers.
    pub fn of_peers(&self) -> u64 {
        self.peers.values().sum()
    }

    /// The shares, as in `peers 80 %, origin 20 %`.
    fn shares(&self, plain: u64) -> String {
        let origin = self.origin + plain;
        let all = self.cache + self.hosted + self.of_peers() + origin;
        let share = |bytes: u64| (bytes as f64 * 100.0 / all.max(1) as f64).round();
        let named = [
            ("hosted cache", self.hosted),
            ("peers", self.of_peers()),
            ("origin", origin),
            ("cache", self.cache),
        ];
        let shown = named.iter().filter(|(_, bytes)| *bytes > 0);
        shown.map(|(name, bytes)| format!("{name} {} %", share(*bytes))).collect::<Vec<_>>().join(", ")
    }
}

/// Shows how far all of them are.
pub fn show(bar: &ProgressBar, tasks: &[Task]) {
    if bar.is_hidden() {
        return;
    }
    let len: Option<u64> = tasks.iter().map(Task::len).sum();
    if let (Some(len), None) = (len, bar.length()) {
        bar.set_length(len);
        bar.set_style(bar::style("{bar:20} {binary_bytes} of {binary_total_bytes}  {wide_msg}"));
    }
    bar.set_position(tasks.iter().map(|task| task.received).sum());
    let mut all = Sources::default();
    for task in tasks {
        all.cache += task.sources.cache;
        all.hosted += task.sources.hosted;
        all.origin += task.sources.origin + task.plain();
        for (peer, bytes) in &task.sources.peers {
            *all.peers.entry(*peer).or_default() += bytes;
        }
    }
    bar.set_message(all.shares(0));
}

/// A line for each file, and if so wanted one for each run of bytes of it.
pub fn text(tasks: &[Task], why: bool) -> String {
    let mut text = String::new();
    for task in tasks {
        let len = match task.state {
            State::Done(len) => len,
            _ => continue,
        };
        // Writing to a string cannot fail.
        _ = write!(text, "{}: {}", task.file.display(), HumanBytes(len));
        let shares = task.sources.shares(task.plain());
        _ = match (shares.is_empty(), task.encoded) {
            (true, _) => writeln!(text),
            (_, true) => writeln!(text, ", {shares}"),
            (_, false) => writeln!(text, ", {shares}, which gave no content information"),
        };
        if why {
            for (failure, times) in &task.sources.failures {
                _ = writeln!(text, "  {failure} ({times} times)");
            }
            for (start, Run { end, source, why }) in &task.sources.runs {
                let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
                _ = writeln!(text, "  {start}-{end} {source}{why}");
            }
            if task.sources.untold > 0 {
                _ = writeln!(text, "  and {} bytes in smaller parts", task.sources.untold);
            }
        }
    }
    text
}

/// All of it as one object.
pub fn json(tasks: &[Task]) -> String {
    let files = tasks.iter().map(|task| {
        let Sources { cache, hosted, peers, origin, failures, runs, untold } = &task.sources;
        let peers: serde_json::Map<String, Value> =
            peers.iter().map(|(peer, bytes)| (peer.to_string(), json!(bytes))).collect();
        let runs = runs.iter().map(
            |(start, run)| json!({ "start": start, "end": run.end, "source": run.source, "why": run.why }),
        );
        json!({
            "url": task.asked.as_str(),
            "final_url": task.url.as_str(),
            "file": task.file.to_string_lossy(),
            "bytes": match task.state { State::Done(len) => Some(len), _ => None },
            "content_information": task.encoded,
            "sources": {
                "cache": cache,
                "hosted": hosted,
                "peers": peers,
                "origin": origin + task.plain(),
            },
            "origin_failures": failures,
            "parts": runs.collect::<Vec<_>>(),
            "untold": untold,
            "error": task.fault().map(|fault| fault.text.as_str()),
        })
    });
    format!("{}\n", json!({ "files": files.collect::<Vec<_>>() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alike_neighbours_are_one() {
        let mut sources = Sources::default();
        for (range, source) in [
            (10..20, Source::Origin),
            (0..10, Source::Origin),
            (30..40, Source::Local),
            (20..30, Source::Origin),
            (40..50, Source::Local),
        ] {
            sources.block(range, source, &Failures::new());
        }
        let runs: Vec<_> = sources.runs.iter().map(|(start, run)| (*start, run.end)).collect();
        assert_eq!(runs, [(0, 30), (30, 50)]);
        assert_eq!(sources.shares(50), "origin 80 %, cache 20 %");
        sources.block(50..150, Source::HostedCache(([10, 0, 0, 1], 80).into()), &Failures::new());
        assert_eq!(sources.shares(0), "hosted cache 67 %, origin 20 %, cache 13 %");
    }

    #[test]
    fn the_list_of_runs_has_an_end() {
        let mut sources = Sources::default();
        // Every other block, so that none is a neighbour of another.
        for block in 0..20_000 {
            sources.block(block * 20..block * 20 + 10, Source::Origin, &Failures::new());
        }
        assert_eq!((sources.runs.len(), sources.untold), (16_384, (20_000 - 16_384) * 10));
        assert_eq!(sources.origin, 200_000);
    }
}
