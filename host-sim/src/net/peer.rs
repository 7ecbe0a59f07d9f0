//! What a peer tells of itself.

use std::path::PathBuf;

use peerdist_core::content::SegmentId;
use peerdist_core::hosted::server::Application;
use peerdist_core::store::{BlockId, Store as _};
use serde_json::{Value, json};

use super::admin::{Administered, Metric};
use super::cache::Limits;
use super::station::Control;

/// Blocks that are forgotten between two steps of the node: in the time between, it serves.
const FORGOTTEN_AT_ONCE: usize = 64;

/// A peer that can be asked how it does.
pub struct Peer<const STREAMS: usize> {
    /// How its node is reached.
    pub control: Control<STREAMS>,
    /// Where its cache is.
    pub cache: PathBuf,
    /// What that keeps.
    pub limits: Limits,
}

impl<const STREAMS: usize> Administered for Peer<STREAMS> {
    fn status(&self) -> Value {
        let now = self.control.snapshot();
        let addresses = now.addresses.iter().map(|local| local.subnet.address.to_string());
        let (serve, answer) = (now.node.serve, now.node.answer);
        let mode = match (&now.offers, &now.offering) {
            (Some(_), _) => "HostedServer",
            (None, Some(_)) => "HostedClient",
            (None, None) => "DistributedCache",
        };
        json!({
            "BranchCacheIsEnabled": true,
            "BranchCacheServiceStatus": "Running",
            "Role": if now.offers.is_some() { "HostedCache" } else { "Peer" },
            "Version": env!("CARGO_PKG_VERSION"),
            "UptimeSeconds": now.started.elapsed().map_or(0, |uptime| uptime.as_secs()),
            "ClientConfiguration": {
                "CurrentClientMode": mode,
                "DistributedCachingIsEnabled": now.distributed,
            },
            "NetworkConfiguration": {
                "Addresses": addresses.collect::<Vec<_>>(),
                "ContentRetrievalPort": now.port,
                "OpenConnections": now.connections,
                "ConnectionsTaken": now.sockets.accepted,
                "ConnectionsRefused": now.sockets.refused,
                "BytesReceived": now.sockets.received,
                "BytesSent": now.sockets.sent,
                "DatagramsNotSent": now.sockets.dropped_datagrams,
            },
            "DataCache": {
                "CacheFileDirectoryPath": self.cache.display().to_string(),
                "MaxCacheSizeAsNumberOfBytes": self.limits.max_size,
                "CurrentSizeOnDiskAsNumberOfBytes": now.size,
                "CurrentActiveCacheSize": now.size,
                "NumberOfBlocks": now.count,
                "MaxAgeSeconds": self.limits.max_age.as_secs(),
                "BlocksExpired": now.blocks.expired,
                "BlocksEvicted": now.blocks.evicted,
                "BlocksDamaged": now.blocks.damaged,
                "BlocksUnreadable": now.blocks.unreadable,
                "BlocksNotWritten": now.blocks.failed,
            },
            "PeerDiscovery": {
                "ProbesVersion1": answer.probes,
                "ProbesVersion2": answer.version2,
                "ProbesRepeated": answer.repeats,
                "ProbesWithoutMatch": answer.no_match,
                "ProbesFromElsewhere": answer.not_local,
                "SegmentsLeftToOthers": answer.crowded,
                "AnswersSent": answer.sent,
                "AnswersHeldBack": answer.too_many,
                "AnswersNotSent": answer.unsendable,
                "MalformedDatagrams": now.node.malformed_datagrams,
            },
            "HostedCacheClient": now.offering.map(|offers| json!({
                "BlocksFromOrigins": offers.blocks,
                "MessagesAnswered": offers.messages,
                "MessagesFailed": offers.failed,
                "SegmentsOffered": offers.segments,
                "SegmentsDescribed": offers.described,
                "SegmentsForgotten": offers.forgotten,
                "BlocksNotOffered": offers.unusable,
            })),
            "HostedCacheServer": now.offers.map(|offers| json!({
                "HttpsPort": now.tls_port,
                "ConnectionsNotSecured": now.sockets.not_secured,
                "MessagesAnswered": offers.messages,
                "MessagesDropped": offers.dropped,
                "MessagesAbandoned": offers.abandoned,
                "SegmentsOffered": offers.offered,
                "SegmentsUnusable": offers.unusable,
                "SegmentsRefused": offers.refused,
                "SegmentsGivenUp": offers.given_up,
                "ContentInformationUnreadable": offers.bad_infos,
                "SegmentsNotAsOffered": offers.lies,
                "BlocksReceived": offers.blocks,
                "BytesReceived": {
                    "WinINet": offers.bytes[Application::WinInet as usize],
                    "WebIO": offers.bytes[Application::WebIo as usize],
                    "BITS": offers.bytes[Application::Bits as usize],
                    "SMB": offers.bytes[Application::Smb as usize],
                    "Other": offers.bytes[Application::Other as usize],
                },
            })),
            "ContentRetrieval": {
                "RequestsAnswered": serve.answered,
                "RequestsDropped": serve.dropped,
                "RequestsTimedOut": serve.timed_out,
                "BlocksServed": serve.blocks,
                "BytesServed": serve.block_bytes,
                "DamagedBlocksFound": serve.damaged,
            },
        })
    }

    fn metrics(&self) -> Vec<Metric> {
        let now = self.control.snapshot();
        let (serve, answer) = (now.node.serve, now.node.answer);
        let uptime = now.started.elapsed().map_or(0, |uptime| uptime.as_secs());
        vec![
            Metric::new("peer_cache_blocks", "Blocks in the cache.", now.count as u64),
            Metric::new("peer_cache_bytes", "Bytes that they take.", now.size),
            Metric::new("peer_cache_max_bytes", "Bytes that they may take.", self.limits.max_size),
            Metric::labeled(
                "peer_cache_removed_blocks_total",
                "Blocks that went, by reason.",
                "reason",
                &[
                    ("expired", now.blocks.expired),
                    ("evicted", now.blocks.evicted),
                    ("damaged", now.blocks.damaged),
                ],
            ),
            Metric::new("peer_connections", "Open connections.", now.connections as u64),
            Metric::labeled(
                "peer_connections_total",
                "Connections from peers.",
                "outcome",
                &[
                    ("taken", now.sockets.accepted),
                    ("refused", now.sockets.refused),
                    ("not_secured", now.sockets.not_secured),
                ],
            ),
            Metric::labeled(
                "peer_stream_bytes_total",
                "Bytes over connections.",
                "direction",
                &[("received", now.sockets.received), ("sent", now.sockets.sent)],
            ),
            Metric::labeled(
                "peer_probes_total",
                "Probes of peers.",
                "version",
                &[("1", answer.probes.into()), ("2", answer.version2.into())],
            ),
            Metric::new("peer_probe_answers_total", "Answers to probes.", answer.sent.into()),
            Metric::labeled(
                "peer_requests_total",
                "Requests of peers.",
                "outcome",
                &[
                    ("answered", serve.answered.into()),
                    ("dropped", serve.dropped.into()),
                    ("timed_out", serve.timed_out.into()),
                ],
            ),
            Metric::new("peer_served_blocks_total", "Blocks sent whole.", serve.blocks.into()),
            Metric::new("peer_served_bytes_total", "Bytes of those blocks.", serve.block_bytes),
            Metric::new("peer_uptime_seconds", "Seconds since the start.", uptime),
        ]
    }

    fn has_segments(&self) -> bool {
        true
    }

    fn segment(&self, id: &[u8]) -> Option<Value> {
        let (segment, now) = (SegmentId::from_slice(id)?, self.control.now());
        let (blocks, bytes, age) = self.control.ask(move |node| {
            let (store, mut blocks, mut bytes) = (&node.storage().blocks, Vec::new(), 0u64);
            let first = store.find(&BlockId { segment, index: 0 }).map(|_| 0);
            let mut next = first.or_else(|| store.next_block(&segment, 0));
            while let Some(index) = next {
                blocks.push(index);
                let stored = store.find(&BlockId { segment, index });
                bytes += stored.map_or(0, |stored| u64::from(stored.plain_len));
                next = store.next_block(&segment, index);
            }
            (blocks, bytes, store.age(&segment, now))
        })?;
        (!blocks.is_empty()).then(|| {
            json!({
                "NumberOfBlocks": blocks.len(),
                "Blocks": runs(&blocks),
                "NumberOfBytes": bytes,
                "AgeSeconds": age.map(|age| age.millis() / 1_000),
            })
        })
    }

    fn clear_cache(&self) -> Option<Result<u64, String>> {
        // What comes meanwhile stays.
        let mut left = self.control.snapshot().count;
        let mut forgotten = 0;
        while left > 0 {
            let at_most = left.min(FORGOTTEN_AT_ONCE);
            let Some(went) = self.control.ask(move |node| node.storage_mut().blocks.forget(at_most)) else {
                return Some(Err("the peer has no time".into()));
            };
            if went == 0 {
                break;
            }
            forgotten += went as u64;
            left -= went;
        }
        Some(Ok(forgotten))
    }
}

/// Ascending numbers as runs, such as `0-3` or `7`.
fn runs(numbers: &[u32]) -> Vec<String> {
    numbers
        .chunk_by(|one, next| *next == one + 1)
        .filter_map(|run| run.first().zip(run.last()))
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_one() {
        assert_eq!(runs(&[0, 1, 2, 3, 7, 9, 10]), ["0-3", "7", "9-10"]);
        assert!(runs(&[]).is_empty());
    }
}
