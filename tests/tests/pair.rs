//! Whole nodes with each other: downloads, peers that fail or lie, origins that misbehave.

use peerdist_core::download::DownloadEvent;
use peerdist_core::fetch::{Cause, Failure, Source};
use peerdist_core::time::Duration;
use peerdist_tests::pair::{Net, Seen, host_address};

const LONG: Duration = Duration::from_secs(120);

fn content(len: usize) -> Vec<u8> {
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

fn assert_whole(seen: &Seen, content: &[u8], encoded: bool) {
    let (_, first) = seen.events.first().unwrap();
    let begun = matches!(first, DownloadEvent::Begun { encoded: is, .. } if *is == encoded);
    assert!(begun, "{first:?}");
    let (_, last) = seen.events.last().unwrap();
    let done = matches!(last, DownloadEvent::Done { len } if *len == content.len() as u64);
    assert!(done, "{last:?}");
    assert!(seen.times.iter().all(|times| *times == 1), "each byte once");
    assert!(seen.data == content, "the right bytes");
}

fn blocks(seen: &Seen) -> Vec<(Source, Vec<Failure>)> {
    let blocks = seen.events.iter().filter_map(|(_, event)| match event {
        DownloadEvent::Block { source, failures, .. } => Some((*source, failures.to_vec())),
        _ => None,
    });
    blocks.collect()
}

#[test]
fn the_second_client_gets_all_from_the_first() {
    for len in [1, 15, 16, 65_535, 65_536, 65_537, 200_000] {
        let content = content(len);
        let mut net = Net::new(1, 2, 8, content.clone());
        let first = net.download(0);
        net.drive_download(0, first, LONG);
        assert_whole(net.seen(0, first), &content, true);
        for (source, failures) in blocks(net.seen(0, first)) {
            assert_eq!(source, Source::Origin);
            assert_eq!(failures, [Failure { peer: None, cause: Cause::NoPeer }]);
        }
        assert_eq!(net.origin.body_bytes, len as u64);

        let second = net.download(1);
        net.drive_download(1, second, LONG);
        assert_whole(net.seen(1, second), &content, true);
        for (source, failures) in blocks(net.seen(1, second)) {
            assert_eq!(source, Source::Peer(host_address(0)));
            assert_eq!(failures, []);
        }
        assert_eq!(net.origin.body_bytes, len as u64, "no more than content information");
        net.drive(LONG);
        assert_eq!(net.open_connections(), 0, "idle connections are closed");
    }
}

#[test]
fn two_segments() {
    let content = content(32 * 1_024 * 1_024 + 70_000);
    let mut net = Net::new(2, 2, 520, content.clone());
    (net.chunk, net.window) = (16 * 1_024, 64 * 1_024);
    let first = net.download(0);
    net.drive_download(0, first, LONG);
    assert_whole(net.seen(0, first), &content, true);
    let second = net.download(1);
    net.drive_download(1, second, LONG);
    assert_whole(net.seen(1, second), &content, true);
    assert!(blocks(net.seen(1, second)).iter().all(|(source, _)| *source == Source::Peer(host_address(0))));
    assert_eq!(net.origin.body_bytes, content.len() as u64);
}
