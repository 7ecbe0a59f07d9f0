//! Content information 2.0 from end to end: asked for, downloaded, shared, and read by the
//! application.

use std::ops::Range;

use peerdist_core::api::client::{Added, ApiError, ContentHandle, NEAR_SEGMENTS, ReadId, ReadResult};
use peerdist_core::content::EndForm;
use peerdist_core::content::segmenter::{SegmentLen, Segmentation};
use peerdist_core::crypto::SoftCrypto;
use peerdist_core::download::{DownloadError, DownloadEvent};
use peerdist_core::encoding::InfoVersion;
use peerdist_core::fetch::{Cause, Failure, Source};
use peerdist_core::node::Config;
use peerdist_core::store::{BlockId, Store};
use peerdist_core::time::Duration;
use peerdist_tests::check::{LONG, assert_whole, blocks, content, failed, verify_store};
use peerdist_tests::info::{block_range, excerpt, segments};
use peerdist_tests::origin::publish_v2;
use peerdist_tests::pair::{Net, Storage, host_address, memory};

const TIMEOUT: Duration = Duration::from_secs(5);

fn fixed(len: u32) -> Segmentation {
    Segmentation::Fixed(SegmentLen::new(len).unwrap())
}

/// An origin of content information 2.0, in segments of such lengths, and `count` nodes that ask for it.
fn net_of(seed: u64, count: u64, blocks: usize, content: Vec<u8>, segmentation: Segmentation) -> Net {
    let mut net = Net::new(seed, 0, 0, content);
    net.origin.info = publish_v2(&net.origin.content, segmentation);
    for index in 0..count {
        let storage = Storage::new(memory(blocks, 2 * net.origin.info.len()));
        let config = Config { content_information: InfoVersion::V2, ..Config::default() };
        net.add_host_with(seed + index, storage, config);
    }
    net
}

/// Where the blocks of content information begin and end.
fn spans(info: &[u8]) -> Vec<Range<u64>> {
    segments(&info).iter().map(|segment| block_range(segment, 0)).collect()
}

/// Which blocks a download has handed out, in that order.
fn handed_out(net: &Net, host: usize, download: u64) -> Vec<Range<u64>> {
    let ranges = net.seen(host, download).events.iter().filter_map(|(_, event)| match event {
        DownloadEvent::Block { range, .. } => Some(range.clone()),
        _ => None,
    });
    ranges.collect()
}

#[test]
fn the_second_client_gets_all_from_the_first() {
    for (len, segmentation) in [
        (1, Segmentation::ContentDefined),
        (16, Segmentation::ContentDefined),
        (400_000, Segmentation::ContentDefined),
        (131_072, fixed(131_072)),
        (131_073, fixed(131_072)),
        (300_000, fixed(131_072)),
        (65_536, fixed(65_536)),
    ] {
        let content = content(len);
        let mut net = net_of(1, 2, 16, content.clone(), segmentation);
        let info = net.origin.info.clone();
        let first = net.download(0);
        net.drive_download(0, first, LONG);
        assert_whole(net.seen(0, first), &content, true);
        for (source, failures) in blocks(net.seen(0, first)) {
            assert_eq!(source, Source::Origin);
            assert_eq!(failures, [Failure { peer: None, cause: Cause::NoPeer }]);
        }
        assert_eq!(net.origin.body_bytes, len as u64);
        let mut ranges = handed_out(&net, 0, first);
        ranges.sort_by_key(|range| range.start);
        assert_eq!(ranges, spans(&info));

        let second = net.download(1);
        net.drive_download(1, second, LONG);
        assert_whole(net.seen(1, second), &content, true);
        for (source, failures) in blocks(net.seen(1, second)) {
            assert_eq!((source, failures), (Source::Peer(host_address(0)), vec![]));
        }
        assert_eq!(net.origin.body_bytes, len as u64, "no more than content information");
        for host in [0, 1] {
            assert_eq!(verify_store(&mut net, host, &info) as usize, ranges.len());
        }
        net.drive(LONG);
        assert_eq!(net.open_connections(), 0);
    }
}

/// Blocks are fetched in random order, but one stretch after the other.
#[test]
fn more_than_one_stretch() {
    let segments = NEAR_SEGMENTS as usize * 2 + 7;
    let content = content(segments * 500 - 1);
    let mut net = net_of(2, 2, segments, content.clone(), fixed(500));
    for host in [0, 1] {
        let id = net.download(host);
        net.drive_download(host, id, LONG);
        assert_whole(net.seen(host, id), &content, true);
        let order: Vec<_> = handed_out(&net, host, id).iter().map(|range| range.start / 500).collect();
        assert_eq!(order.len(), segments);
        assert!(!order.is_sorted());
        for (n, stretch) in order.chunks(NEAR_SEGMENTS as usize).enumerate() {
            assert!(stretch.iter().all(|block| *block as usize / NEAR_SEGMENTS as usize == n));
        }
        let source = if host == 0 { Source::Origin } else { Source::Peer(host_address(0)) };
        assert!(blocks(net.seen(host, id)).iter().all(|(from, _)| *from == source));
    }
    assert_eq!(net.origin.body_bytes, content.len() as u64);
}

#[test]
fn a_store_that_is_smaller_than_the_content() {
    let content = content(900_000);
    for blocks in [2, 3] {
        let mut net = net_of(4, 1, blocks, content.clone(), fixed(131_072));
        let id = net.download(0);
        net.drive_download(0, id, LONG);
        assert_whole(net.seen(0, id), &content, true);
        let info = net.origin.info.clone();
        // A block of 128 KiB takes the place of two, and the last one, which is short, that of one.
        let also_last = u32::from(blocks == 3 && stored_last(&net));
        assert_eq!(verify_store(&mut net, 0, &info), 1 + also_last);
    }
}

/// Whether the last, short block is there.
fn stored_last(net: &Net) -> bool {
    let info = net.origin.info.clone();
    let last = segments(&info.as_slice()).pop().unwrap();
    net.hosts[0].store.find(&BlockId { segment: last.id(&mut SoftCrypto), index: 0 }).is_some()
}

#[test]
fn beside_a_liar() {
    let content = content(600_000);
    let met = (0..8).filter(|seed| {
        let mut net = net_of(*seed, 3, 24, content.clone(), Segmentation::ContentDefined);
        for host in [0, 1] {
            let id = net.download(host);
            net.drive_download(host, id, LONG);
        }
        net.hosts[0].tamper = Some(|offset| u8::from(offset == 300));
        let sent = net.origin.body_bytes;
        let id = net.download(2);
        net.drive_download(2, id, LONG);
        assert_whole(net.seen(2, id), &content, true);
        assert_eq!(net.origin.body_bytes, sent, "the honest peer has everything");
        let liar = Failure { peer: Some(host_address(0)), cause: Cause::BadBlock };
        let failures: Vec<_> =
            blocks(net.seen(2, id)).into_iter().flat_map(|(_, failures)| failures).collect();
        assert!(failures.iter().all(|failure| *failure == liar), "{failures:?}");
        let info = net.origin.info.clone();
        assert_eq!(verify_store(&mut net, 2, &info) as usize, spans(&info).len());
        !failures.is_empty()
    });
    assert!(met.count() > 1, "hardly a run met the liar");
}

#[test]
fn a_lone_liar() {
    let content = content(300_000);
    let mut net = net_of(6, 2, 16, content.clone(), Segmentation::ContentDefined);
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    net.hosts[0].tamper = Some(|offset| u8::from(offset % 1_000 == 300));
    let id = net.download(1);
    net.drive_download(1, id, LONG);
    assert_whole(net.seen(1, id), &content, true);
    assert!(blocks(net.seen(1, id)).iter().all(|(source, _)| *source == Source::Origin));
    assert_eq!(net.origin.body_bytes, 600_000);
}

/// The version is the highest that both sides have.
#[test]
fn versions_are_negotiated() {
    let content = content(200_000);
    // An origin of 1.0, and a client that takes 2.0 as well.
    let mut net = Net::new(8, 0, 0, content.clone());
    net.add_host(8, 8, Config { content_information: InfoVersion::V2, ..Config::default() });
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &content, true);
    assert_eq!(handed_out(&net, 0, id).len(), 4);
    // An origin of 2.0, and a client that takes 1.0 alone.
    let mut net = net_of(8, 0, 0, content.clone(), Segmentation::ContentDefined);
    net.add_host(8, 8, Config::default());
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &content, false);
}

#[test]
fn changed_content() {
    let mut net = net_of(7, 1, 16, content(400_000), fixed(100_000));
    net.origin.content[250_000] ^= 1;
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_eq!(failed(net.seen(0, id)), Some(DownloadError::Changed { offset: 200_000 }));
    assert!(net.seen(0, id).times.iter().all(|times| *times <= 1));
}

/// Content information may describe segments behind its range; the content ends with the range.
#[test]
fn segments_behind_the_range() {
    let all = content(1_000);
    let mut net = net_of(7, 1, 16, all.clone(), fixed(100));
    // ullLengthOfRange: seven segments of ten.
    net.origin.info[23..31].copy_from_slice(&700u64.to_be_bytes());
    net.origin.content.truncate(700);
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &all[..700], true);
    assert_eq!(handed_out(&net, 0, id).len(), 7);
}

/// Opens `info` on a node.
fn open(net: &mut Net, host: usize, info: &[u8]) -> ContentHandle {
    let node = net.node(host);
    let handle = node.open_content([7; 16]).unwrap();
    for piece in info.chunks(67) {
        node.add_content_information(handle, piece).unwrap();
    }
    assert_eq!(node.complete_content_information(handle), Ok(()));
    assert_eq!(node.is_ready(handle), Ok(true), "there are no block hashes to check");
    handle
}

fn completed(net: &mut Net, host: usize) -> (ReadId, ReadResult) {
    let end = net.now + LONG;
    loop {
        net.settle();
        if let Some(completion) = net.node(host).poll_completion() {
            return (completion.read, completion.result);
        }
        assert!(net.step() && net.now < end, "no completion");
    }
}

/// Reads and copies; the range, and where it came from.
fn read(
    net: &mut Net,
    host: usize,
    handle: ContentHandle,
    offset: u64,
    max: u64,
) -> Option<(Range<u64>, Source)> {
    let now = net.now;
    let read = net.node(host).block_read(now, handle, offset, max, TIMEOUT).unwrap();
    let (id, result) = completed(net, host);
    assert_eq!(id, read);
    let ReadResult::Data { range, source } = result else {
        assert!(matches!(result, ReadResult::Missing { .. } | ReadResult::NoMore), "{result:?}");
        return None;
    };
    let (mut all, mut buf) = (Vec::<u8>::new(), [0; 777]);
    while let len @ 1.. = net.node(host).copy_read(read, all.len() as u64, &mut buf).unwrap() {
        all.extend(&buf[..len]);
    }
    assert!(all == net.origin.content[range.start as usize..range.end as usize]);
    net.node(host).end_read(read);
    Some((range, source))
}

#[test]
fn reads_end_where_segments_do() {
    let mut net = net_of(31, 2, 16, content(400_000), Segmentation::ContentDefined);
    let info = net.origin.info.clone();
    let spans = spans(&info);
    let ours = open(&mut net, 0, &info);
    let bytes = net.origin.content.clone();
    for span in &spans {
        let mut offset = span.start as usize;
        for len in [1, 1_000, usize::MAX] {
            let end = bytes.len().min(offset.saturating_add(len));
            let (used, added) = net.node(0).add_data(ours, offset as u64, &bytes[offset..end]).unwrap();
            offset += used;
            let whole = offset as u64 == span.end;
            assert_eq!(added, if whole { Added::Committed } else { Added::Partial });
        }
        assert_eq!(offset as u64, span.end, "what lies behind belongs to the next");
    }
    let theirs = open(&mut net, 1, &info);
    let peer = Source::Peer(host_address(0));
    let [first, second, .., last] = &spans[..] else { panic!("{spans:?}") };
    for (offset, max, end, source) in [
        (first.end - 5, 100, first.end, peer),
        (0, 10, 10, Source::Local),
        (second.start, u64::MAX, second.end, peer),
        (second.start + 1, 1, second.start + 2, Source::Local),
        (399_999, 9, 400_000, peer),
        (last.start, u64::MAX, 400_000, Source::Local),
    ] {
        assert_eq!(read(&mut net, 1, theirs, offset, max), Some((offset..end, source)));
    }
    assert_eq!(read(&mut net, 1, theirs, 400_000, 1), None);
    assert_eq!(net.origin.requests, []);
}

/// A range that begins and ends inside segments: only what lies in it is read, whole blocks are added.
#[test]
fn ranges_that_begin_and_end_inside_segments() {
    let mut net = net_of(31, 1, 16, content(1_000), fixed(100));
    let info = excerpt(&net.origin.info.as_slice(), &(250..730), EndForm::Explicit);
    let handle = open(&mut net, 0, &info);
    let bytes = net.origin.content.clone();
    assert_eq!(net.node(0).add_data(handle, 199, &bytes[199..]), Err(ApiError::InvalidState));
    assert_eq!(net.node(0).add_data(handle, 250, &bytes[250..300]), Ok((50, Added::OutOfOrder)));
    for start in [200, 300, 700] {
        let whole = Ok((100, Added::Committed));
        assert_eq!(net.node(0).add_data(handle, start, &bytes[start as usize..]), whole);
        assert_eq!(net.node(0).add_data(handle, start, &bytes[start as usize..]), Ok((100, Added::Known)));
    }
    let local = |range| Some((range, Source::Local));
    assert_eq!(read(&mut net, 0, handle, 250, 500), local(250..300));
    assert_eq!(read(&mut net, 0, handle, 300, 500), local(300..400));
    assert_eq!(read(&mut net, 0, handle, 700, 500), local(700..730));
    assert_eq!(read(&mut net, 0, handle, 249, 1), None);
    assert_eq!(read(&mut net, 0, handle, 730, 1), None);
    let now = net.now;
    net.node(0).block_read(now, handle, 450, 500, TIMEOUT).unwrap();
    let (_, missing) = completed(&mut net, 0);
    assert!(matches!(missing, ReadResult::Missing { ref range } if *range == (450..500)), "{missing:?}");
}

#[test]
fn a_short_last_block_is_added() {
    let mut net = net_of(31, 1, 16, content(131_072 + 17), fixed(131_072));
    let info = net.origin.info.clone();
    let handle = open(&mut net, 0, &info);
    let bytes = net.origin.content.clone();
    let node = net.node(0);
    let mut wrong = bytes[131_072..].to_vec();
    wrong[16] ^= 1;
    assert_eq!(node.add_data(handle, 131_072, &wrong), Ok((17, Added::Bad)));
    assert_eq!(node.add_data(handle, 131_072, &bytes[131_072..131_080]), Ok((8, Added::Partial)));
    assert_eq!(node.add_data(handle, 131_082, &bytes[131_082..]), Ok((7, Added::OutOfOrder)));
    assert_eq!(node.add_data(handle, 131_080, &bytes[131_080..]), Ok((9, Added::Committed)));
    assert_eq!(read(&mut net, 0, handle, 131_080, 99), Some((131_080..131_089, Source::Local)));
}

/// What searching costs does not grow with the number of segments.
#[test]
fn thousands_of_segments() {
    let mut net = net_of(31, 1, 1_000, content(80_000 * 4), fixed(4));
    let info = net.origin.info.clone();
    let handle = open(&mut net, 0, &info);
    let bytes = net.origin.content.clone();
    for first in [0u64, 40_000, 79_700] {
        // A read leads there, from far away.
        assert_eq!(read(&mut net, 0, handle, first * 4, 1), None);
        let before = net.hosts[0].store.info_reads();
        for start in (first..first + 300).map(|segment| segment * 4) {
            let data = &bytes[start as usize..][..4];
            assert_eq!(net.node(0).add_data(handle, start, data), Ok((4, Added::Committed)));
            assert_eq!(read(&mut net, 0, handle, start, 9), Some((start..start + 4, Source::Local)));
        }
        let reads = (net.hosts[0].store.info_reads() - before) / 300;
        assert!(reads < 2 * u64::from(NEAR_SEGMENTS), "{reads} for each block");
    }
}

/// A piece of a block of which earlier pieces are here, and a piece that is copied, take one look
/// into content information.
#[test]
fn pieces_are_not_searched_for() {
    let mut net = net_of(31, 1, 16, content(400 * 100), fixed(100));
    let info = net.origin.info.clone();
    let handle = open(&mut net, 0, &info);
    let bytes = net.origin.content.clone();
    let start = 399 * 100;
    net.node(0).add_data(handle, start, &bytes[start as usize..][..1]).unwrap();
    let before = net.hosts[0].store.info_reads();
    for offset in start + 1..start + 100 {
        net.node(0).add_data(handle, offset, &bytes[offset as usize..][..1]).unwrap();
    }
    let now = net.now;
    assert_eq!(net.hosts[0].store.info_reads() - before, 99);
    let read = net.node(0).block_read(now, handle, start, 100, TIMEOUT).unwrap();
    assert!(matches!(completed(&mut net, 0).1, ReadResult::Data { .. }));
    let before = net.hosts[0].store.info_reads();
    for skip in 0..100 {
        let mut buf = [0];
        assert_eq!(net.node(0).copy_read(read, skip, &mut buf), Ok(1));
        assert_eq!(buf[0], bytes[(start + skip) as usize]);
    }
    assert_eq!(net.hosts[0].store.info_reads() - before, 100);
}

/// The same content in two versions shares nothing: their identifiers differ.
#[test]
fn a_version_has_its_own_blocks() {
    let content = content(100_000);
    let mut net = net_of(9, 1, 16, content.clone(), Segmentation::ContentDefined);
    let v2 = net.origin.info.clone();
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    net.origin.info = peerdist_tests::origin::publish(&content);
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert_whole(net.seen(0, id), &content, true);
    assert!(blocks(net.seen(0, id)).iter().all(|(source, _)| *source == Source::Origin));
    net.origin.info = publish_v2(&content, Segmentation::ContentDefined);
    assert_eq!(net.origin.info, v2);
    let id = net.download(0);
    net.drive_download(0, id, LONG);
    assert!(blocks(net.seen(0, id)).iter().all(|(source, _)| *source == Source::Local));
}
