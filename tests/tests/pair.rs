//! Whole nodes with each other: downloads, peers that fail or lie, origins that misbehave.

use peerdist_core::download::DownloadError;
use peerdist_core::fetch::{Cause, Failure, Source};
use peerdist_core::node::Config;
use peerdist_core::time::Duration;
use peerdist_tests::check::{LONG, assert_whole, blocks, content, failed, verify_store};
use peerdist_tests::pair::{Net, host_address};

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

        let begun = net.now;
        let second = net.download(1);
        net.drive_download(1, second, LONG);
        let millis = net.now.since(begun).millis();
        assert!(millis < 200, "a probe's round trip and a few more: {millis}");
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

#[test]
fn the_first_client_is_as_fast_as_the_origin() {
    let content = content(2_000_000);
    let mut net = Net::new(3, 1, 40, content.clone());
    let begun = net.now;
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &content, true);
    let millis = net.now.since(begun).millis();
    assert!(millis < 1_000, "{millis}");
}

/// In a store too small for the content, what has been handed out makes room; the rest is still
/// served.
#[test]
fn a_store_that_is_smaller_than_the_content() {
    let content = content(10 * 65_536);
    for blocks in [1, 2, 4] {
        let mut net = Net::new(4, 1, blocks, content.clone());
        let id = net.download(0);
        net.drive_download(0, id, LONG);
        assert_whole(net.seen(0, id), &content, true);
        let info = net.origin.info.clone();
        assert_eq!(verify_store(&mut net, 0, &info), blocks as u32);
    }
}

/// A block that rots while it is handed out is fetched again, and handed out from where it tore:
/// every byte once, without waiting for anything else to happen.
#[test]
fn a_block_that_rots_while_it_is_handed_out() {
    let content = content(2 * 65_536 + 100);
    for reads in [0, 1, 2, 50, 51, 130, 131, 200] {
        let mut net = Net::new(6, 1, 8, content.clone());
        net.hosts[0].store.rot_after(reads);
        let begun = net.now;
        let id = net.download(0);
        net.drive_download(0, id, LONG);
        assert_whole(net.seen(0, id), &content, true);
        let millis = net.now.since(begun).millis();
        assert!(millis < 2_000, "{reads}: {millis}");
        let again = net.origin.body_bytes - content.len() as u64;
        assert!(again == 100 || again == 65_536, "{reads}: {again} bytes came again");
    }
}

/// The same where nothing else is under way that would wake the node up.
#[test]
fn the_only_block_rots() {
    let content = content(1_000);
    let mut net = Net::new(6, 1, 8, content.clone());
    net.hosts[0].store.rot_after(0);
    let begun = net.now;
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &content, true);
    let millis = net.now.since(begun).millis();
    assert!(millis < 500, "{millis}");
}

/// A store without room for a single block cannot be helped, whoever else has the blocks.
#[test]
fn a_store_that_is_no_store() {
    for holder in [false, true] {
        let mut net = Net::new(4, 1, 0, content(70_000));
        if holder {
            let host = net.add_host(5, 8, Config::default());
            let id = net.download(host);
            net.drive_download(host, id, LONG);
        }
        let sent = net.origin.body_bytes;
        let id = net.download(0);
        net.drive_download(0, id, LONG);
        assert_eq!(failed(net.seen(0, id)), Some(DownloadError::Full));
        assert_eq!(net.origin.body_bytes, sent, "there is no use for it");
        let asked = net.node(0).counters().fetch.asked;
        assert!(asked < 1_000, "{asked}");
    }
}

/// A store with room for a few blocks is full of what is on its way from a slow peer: the rest waits for
/// that, and does not come from the origin instead.
#[test]
fn a_small_store_beside_a_slow_peer() {
    let content = content(20 * 65_536);
    for blocks in 1..5 {
        let mut net = Net::new(8, 1, 32, content.clone());
        let first = net.download(0);
        net.drive_download(0, first, LONG);
        let second = net.add_host(9, blocks, Config::default());
        (net.latency, net.window) = (Duration::from_millis(50), 8 * 1_024);
        let sent = net.origin.body_bytes;
        let id = net.download(second);
        net.drive_download(second, id, LONG);
        assert_whole(net.seen(second, id), &content, true);
        assert_eq!(net.origin.body_bytes, sent, "{blocks}");
    }
}

/// The same where half of it has to come from a slow origin: what is asked for is asked for once.
#[test]
fn a_small_store_before_a_slow_origin() {
    let content = content(20 * 65_536);
    for blocks in 1..5 {
        let mut net = Net::new(8, 1, 32, content.clone());
        let first = net.download(0);
        net.drive_until(LONG, |net| net.origin.body_bytes >= 10 * 65_536);
        net.cancel_download(0, first);
        let second = net.add_host(9, blocks, Config::default());
        (net.latency, net.window) = (Duration::from_millis(50), 8 * 1_024);
        let sent = net.origin.body_bytes;
        let id = net.download(second);
        net.drive_download(second, id, LONG);
        assert_whole(net.seen(second, id), &content, true);
        let sent = (net.origin.body_bytes - sent) / 65_536;
        assert!(sent <= 14, "{sent} blocks, {blocks}");
    }
}

/// Two downloads share a store with room for one block: each waits for the other.
#[test]
fn two_downloads_in_a_store_for_one_block() {
    let content = content(10 * 65_536);
    let mut net = Net::new(5, 1, 1, content.clone());
    (net.latency, net.window) = (Duration::from_millis(50), 8 * 1_024);
    let ids = [net.download(0), net.download(0)];
    for id in ids {
        net.drive_download(0, id, LONG);
        assert_whole(net.seen(0, id), &content, true);
    }
}

/// The same content twice at once on one node: what one has fetched, the other finds.
#[test]
fn two_downloads_of_one_content() {
    let content = content(700_000);
    let mut net = Net::new(5, 1, 16, content.clone());
    let ids = [net.download(0), net.download(0)];
    for id in ids {
        net.drive_download(0, id, LONG);
        assert_whole(net.seen(0, id), &content, true);
    }
    let sent = net.origin.body_bytes;
    assert!(sent < 1_050_000, "{sent} bytes for a content of 700,000");
}

/// Whatever the sizes of pieces and windows, the bytes are the same.
#[test]
fn pieces_of_any_size() {
    let content = content(70_000);
    for (chunk, window) in [(1, 64), (7, 7), (536, 2_048), (100_000, 1_000_000)] {
        let mut net = Net::new(9, 2, 4, content.clone());
        (net.chunk, net.window) = (chunk, window);
        net.latency = Duration::from_micros(1);
        for host in [0, 1] {
            let id = net.download(host);
            net.drive_download(host, id, LONG);
            assert_whole(net.seen(host, id), &content, true);
        }
        assert_eq!(net.origin.body_bytes, content.len() as u64);
    }
}
