//! What many of the dialogues between nodes check.

use peerdist_core::content::{Info, SegmentId};
use peerdist_core::crypto::{SoftCrypto, hash};
use peerdist_core::download::{DownloadError, DownloadEvent};
use peerdist_core::fetch::{Failure, Source};
use peerdist_core::store::seal::open_at;
use peerdist_core::store::{BlockId, Store};
use peerdist_core::time::Duration;

use crate::pair::{Net, Seen};

/// Longer than any dialogue takes.
pub const LONG: Duration = Duration::from_secs(120);

/// Bytes without a pattern.
pub fn content(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ len as u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// Checks that a download is done, and that each byte came once and right.
pub fn assert_whole(seen: &Seen, content: &[u8], encoded: bool) {
    let attempt = |event: &DownloadEvent| matches!(event, DownloadEvent::OriginFailed { .. });
    let (_, first) = seen.events.iter().find(|(_, event)| !attempt(event)).unwrap();
    let begun = matches!(first, DownloadEvent::Begun { encoded: is, .. } if *is == encoded);
    assert!(begun, "{first:?}");
    let (_, last) = seen.events.last().unwrap();
    let done = matches!(last, DownloadEvent::Done { len } if *len == content.len() as u64);
    assert!(done, "{last:?}");
    assert!(seen.times.iter().all(|times| *times == 1), "each byte once");
    assert!(seen.data == content, "the right bytes");
}

/// Where each block came from, and what failed before.
pub fn blocks(seen: &Seen) -> Vec<(Source, Vec<Failure>)> {
    let blocks = seen.events.iter().filter_map(|(_, event)| match event {
        DownloadEvent::Block { source, failures, .. } => Some((*source, failures.to_vec())),
        _ => None,
    });
    blocks.collect()
}

/// The error that a download ended with.
pub fn failed(seen: &Seen) -> Option<DownloadError> {
    seen.events.iter().find_map(|(_, event)| match event {
        DownloadEvent::Failed(error) => Some(*error),
        _ => None,
    })
}

/// The ids of the segments that `info` describes.
pub fn segments(info: &[u8]) -> Vec<SegmentId> {
    crate::info::segments(&info).iter().map(|segment| segment.id(&mut SoftCrypto)).collect()
}

/// Checks every block that a node has of `info` afresh; how many there are.
pub fn verify_store(net: &mut Net, host: usize, info: &[u8]) -> u32 {
    let algorithm = Info::parse(&info).unwrap().algorithm();
    let mut verified = 0;
    for described in crate::info::segments(&info) {
        let segment = described.id(&mut SoftCrypto);
        for index in 0..described.block_count() {
            let storage = &mut net.hosts[host].store;
            let Some(stored) = storage.find(&BlockId { segment, index }) else { continue };
            let mut plain = vec![0; stored.plain_len as usize];
            let len = open_at(storage, &mut SoftCrypto, described.secret(), &stored, 0, &mut plain).unwrap();
            assert_eq!(Some(len as u32), described.block_len(index));
            let expected = described.block_hash(&info, index).unwrap().unwrap();
            assert_eq!(hash(&mut SoftCrypto, algorithm, &plain), expected);
            verified += 1;
        }
    }
    verified
}
