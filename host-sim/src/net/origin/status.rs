//! What the content server tells of itself.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::Site;
use super::files::Opened;
use super::hasher::Progress;
use crate::net::admin::{Administered, Metric};

impl Administered for Site {
    fn status(&self) -> Value {
        let hashed = self.hasher.counters();
        json!({
            "BranchCacheIsEnabled": true,
            "BranchCacheServiceStatus": "Running",
            "Role": "ContentServer",
            "Version": env!("CARGO_PKG_VERSION"),
            "UptimeSeconds": self.begun.elapsed().as_secs(),
            "ContentServerConfiguration": {
                "ContentServerIsEnabled": true,
                "ListenAddress": self.address.to_string(),
                "RootPath": self.root.path().display().to_string(),
                "MinimumSizeAsNumberOfBytes": self.min_size,
            },
            "HashCache": {
                "CacheFileDirectoryPath": self.cache.folder().display().to_string(),
                "MaxCacheSizeAsNumberOfBytes": self.cache.max_bytes(),
                "CurrentSizeOnDiskAsNumberOfBytes": self.cache.bytes(),
                "CurrentActiveCacheSize": self.cache.bytes(),
                "NumberOfFiles": self.cache.count(),
            },
            "Hashing": {
                "FilesWaiting": self.hasher.waiting(),
                "FilesHashed": load(&hashed.files),
                "BytesHashed": load(&hashed.bytes),
                "Failures": load(&hashed.failures),
            },
            "Replies": {
                "Plain": load(&self.replies.plain),
                "PlainWithHint": load(&self.replies.hints),
                "Encoded": load(&self.replies.encoded),
                "NotModified": load(&self.replies.not_modified),
                "Refused": load(&self.replies.refused),
                "ContentBytes": load(&self.sent.content),
                "ContentInformationBytes": load(&self.sent.info),
            },
            "NetworkConfiguration": { "ConnectionsRefused": load(&self.limits.refused) },
        })
    }

    fn metrics(&self) -> Vec<Metric> {
        let (hashed, replies) = (self.hasher.counters(), &self.replies);
        vec![
            Metric::labeled(
                "origin_replies_total",
                "Replies, by kind.",
                "kind",
                &[
                    ("plain", load(&replies.plain)),
                    ("plain_with_hint", load(&replies.hints)),
                    ("encoded", load(&replies.encoded)),
                    ("not_modified", load(&replies.not_modified)),
                    ("refused", load(&replies.refused)),
                ],
            ),
            Metric::labeled(
                "origin_sent_bytes_total",
                "Bytes of bodies that were sent.",
                "of",
                &[("content", load(&self.sent.content)), ("content_information", load(&self.sent.info))],
            ),
            Metric::new(
                "origin_refused_connections_total",
                "Connections that were refused, as their client had its share.",
                load(&self.limits.refused),
            ),
            Metric::new("origin_hashed_files_total", "Files that were hashed.", load(&hashed.files)),
            Metric::new("origin_hashed_bytes_total", "Bytes of these files.", load(&hashed.bytes)),
            Metric::new(
                "origin_hash_failures_total",
                "Files that could not be hashed.",
                load(&hashed.failures),
            ),
            Metric::new("origin_hash_waiting", "Files that wait to be hashed.", self.hasher.waiting()),
            Metric::new("origin_hash_cache_bytes", "Bytes of the hash cache.", self.cache.bytes()),
            Metric::new("origin_hash_cache_max_bytes", "Bytes it may have.", self.cache.max_bytes()),
            Metric::new("origin_uptime_seconds", "Seconds since the start.", self.begun.elapsed().as_secs()),
        ]
    }

    fn has_hashes(&self) -> bool {
        true
    }

    fn hashes(&self, path: &str) -> Option<Value> {
        let found = self.root.find_decoded(path).ok()?;
        let Opened { state, .. } = self.root.open_file(&found).ok()?;
        let entry = self.cache.get(&found, &state);
        let progress = match (&entry, self.hasher.progress(&found)) {
            (Some(_), _) => "Ready",
            (None, Progress::Hashing) => "Hashing",
            (None, Progress::Waiting) => "Waiting",
            (None, Progress::Idle) if state.len < self.min_size => "TooSmall",
            (None, Progress::Idle) => "NotAskedFor",
        };
        Some(json!({
            "Path": path,
            "Ready": entry.is_some(),
            "State": progress,
            "ContentLength": state.len,
        }))
    }

    fn clear_hashes(&self) -> Option<Result<u64, String>> {
        Some(self.cache.clear().map_err(|error| error.to_string()))
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
