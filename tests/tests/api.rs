//! The consumer's API on whole nodes: information in pieces, reads, data from the application.

use peerdist_core::api::client::{
    Added, ApiError, CONTENTS, Completion, ContentHandle, Patience, ReadError, ReadId, ReadResult,
};
use peerdist_core::content::{EndForm, Info, InfoFault, InfoSource};
use peerdist_core::fetch::Source;
use peerdist_core::node::APPLICATION_READS;
use peerdist_core::store::Store as _;
use peerdist_core::store::ram::INFO_SLOTS;
use peerdist_core::time::Duration;
use peerdist_tests::check::{LONG, content, segments, verify_store};
use peerdist_tests::origin::publish;
use peerdist_tests::pair::{Act, BLOCKS, Net, host_address};

const LEN: usize = 200_000;
const TIMEOUT: Duration = Duration::from_secs(5);

/// `count` nodes that have nothing yet.
fn net(count: usize) -> Net {
    Net::new(31, count, 8, content(LEN))
}

/// Opens the content on a node, in pieces of odd lengths, and waits until it is ready.
fn open(net: &mut Net, host: usize) -> ContentHandle {
    let info = net.origin.info.clone();
    open_with(net, host, &info)
}

/// The same with other content information.
fn open_with(net: &mut Net, host: usize, info: &[u8]) -> ContentHandle {
    let node = net.node(host);
    let handle = node.open_content([7; 16]).unwrap();
    let mut rest = info;
    for len in (1..).map(|n| n * 7 % 31) {
        let (piece, later) = rest.split_at(rest.len().min(len));
        assert_eq!(node.add_content_information(handle, piece), Ok(()));
        assert_eq!(node.is_ready(handle), Err(ApiError::InvalidState));
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(node.complete_content_information(handle), Ok(()));
    net.drive_until(LONG, |net| net.hosts[host].is_ready(handle));
    handle
}

/// Content information of `range` alone.
fn excerpt(info: &[u8], range: std::ops::Range<u64>) -> Vec<u8> {
    let excerpt = Info::parse(&info).unwrap().excerpt(&info, range, EndForm::Zero).unwrap().unwrap();
    let mut part = vec![0; InfoSource::len(&excerpt) as usize];
    excerpt.read_at(0, &mut part).unwrap();
    part
}

/// Adds all of the content, in pieces of odd lengths.
fn add_all(net: &mut Net, host: usize, handle: ContentHandle) {
    let content = net.origin.content.clone();
    let (mut offset, mut committed) = (0, 0);
    for len in (1..).map(|n| n * 1_301 % 9_973) {
        let piece = &content[offset..content.len().min(offset + len)];
        let (used, added) = net.node(host).add_data(handle, offset as u64, piece).unwrap();
        assert!(used <= piece.len());
        offset += used;
        match added {
            Added::Partial => assert_eq!(used, piece.len()),
            Added::Committed => committed += 1,
            other => panic!("{other:?}"),
        }
        if offset == content.len() {
            break;
        }
    }
    assert_eq!(committed, content.len().div_ceil(65_536));
}

fn completion(net: &mut Net, host: usize) -> Completion {
    let end = net.now + LONG;
    loop {
        net.settle();
        if let Some(completion) = net.node(host).poll_completion() {
            return completion;
        }
        assert!(net.step() && net.now < end, "no completion");
    }
}

fn copy_all(net: &mut Net, host: usize, read: ReadId) -> Vec<u8> {
    let (mut all, mut buf) = (Vec::new(), [0; 777]);
    loop {
        match net.node(host).copy_read(read, all.len() as u64, &mut buf).unwrap() {
            0 => return all,
            len => all.extend(&buf[..len]),
        }
    }
}

#[test]
fn what_one_node_adds_another_reads() {
    let mut net = net(2);
    let ours = open(&mut net, 0);
    add_all(&mut net, 0, ours);
    let info = net.origin.info.clone();
    assert_eq!(verify_store(&mut net, 0, &info), 4);

    let theirs = open(&mut net, 1);
    for (offset, max, end) in [
        (0, 10, 10),
        (65_530, 100, 65_536),
        (65_536, u64::MAX, 131_072),
        (199_999, 9, 200_000),
        (70_000, 1, 70_001),
    ] {
        let now = net.now;
        let read = net.node(1).block_read(now, theirs, offset, max, TIMEOUT).unwrap();
        let completion = completion(&mut net, 1);
        assert_eq!((completion.read, completion.content), (read, theirs));
        let ReadResult::Data { range, source } = completion.result else { panic!("{completion:?}") };
        assert_eq!(range, offset..end);
        let known = matches!(offset, 65_530 | 70_000);
        assert_eq!(source, if known { Source::Local } else { Source::Peer(host_address(0)) });
        assert!(copy_all(&mut net, 1, read) == net.origin.content[offset as usize..end as usize]);
        net.node(1).end_read(read);
        assert_eq!(net.node(1).copy_read(read, 0, &mut [0; 9]), Err(ReadError::NoSuchRead));
    }
    assert_eq!(net.origin.requests, []);
}

#[test]
fn stream_reads_come_in_order_and_end() {
    let mut net = net(1);
    let handle = open(&mut net, 0);
    add_all(&mut net, 0, handle);
    let now = net.now;
    let reads: Vec<_> =
        (0..6).map(|_| net.node(0).stream_read(now, handle, 50_000, TIMEOUT).unwrap()).collect();
    let mut position = 0;
    for read in &reads {
        let completion = completion(&mut net, 0);
        assert_eq!(completion.read, *read);
        let ReadResult::Data { range, .. } = completion.result else { panic!("{completion:?}") };
        assert_eq!(range.start, position);
        let bytes = copy_all(&mut net, 0, *read);
        assert!(bytes == net.origin.content[range.start as usize..range.end as usize]);
        position = range.end;
    }
    while position < LEN as u64 {
        let now = net.now;
        let read = net.node(0).stream_read(now, handle, u64::MAX, TIMEOUT).unwrap();
        let ReadResult::Data { range, .. } = completion(&mut net, 0).result else { panic!("no data") };
        net.node(0).end_read(read);
        position = range.end;
    }
    let now = net.now;
    net.node(0).stream_read(now, handle, 1, TIMEOUT).unwrap();
    assert!(matches!(completion(&mut net, 0).result, ReadResult::NoMore));
}

#[test]
fn missing_and_then_added() {
    let mut net = net(1);
    let handle = open(&mut net, 0);
    let now = net.now;
    net.node(0).block_read(now, handle, 65_540, 100, TIMEOUT).unwrap();
    let missing = completion(&mut net, 0);
    assert!(
        matches!(missing.result, ReadResult::Missing { ref range } if *range == (65_540..131_072)),
        "{missing:?}"
    );
    assert!(net.now.since(now) < Duration::from_secs(1));

    let content = net.origin.content.clone();
    let block = &content[65_536..131_072];
    let node = net.node(0);
    assert_eq!(node.add_data(handle, 65_540, &block[4..]), Ok((65_532, Added::OutOfOrder)));
    assert_eq!(node.add_data(handle, 65_536, &block[..9]), Ok((9, Added::Partial)));
    assert_eq!(node.add_data(handle, 65_536, &block[..9]), Ok((9, Added::OutOfOrder)));
    let mut wrong = block.to_vec();
    wrong[10] ^= 1;
    assert_eq!(node.add_data(handle, 65_545, &wrong[9..]), Ok((65_527, Added::Bad)));
    assert_eq!(node.add_data(handle, 65_536, &content[65_536..]), Ok((65_536, Added::Committed)));
    assert_eq!(node.add_data(handle, 65_536, block), Ok((65_536, Added::Known)));
    assert_eq!(node.add_data(handle, LEN as u64, b"x"), Err(ApiError::InvalidState));
    let now = net.now;
    net.node(0).block_read(now, handle, 65_540, 100, TIMEOUT).unwrap();
    assert!(matches!(completion(&mut net, 0).result, ReadResult::Data { source: Source::Local, .. }));
}

/// Content information of a range lists a part of the hashes, which nothing proves: what matches them is read
/// and kept, but never as the segment's.
#[test]
fn blocks_of_a_range_are_kept_apart() {
    let mut net = net(3);
    let ours = open(&mut net, 0);
    add_all(&mut net, 0, ours);
    let whole = net.origin.info.clone();
    let part = excerpt(&whole, 10..100_000);
    let theirs = open_with(&mut net, 1, &part);
    let segment = segments(&whole)[0];
    for (offset, from_peer) in [(10, true), (65_536, true), (70_000, false)] {
        let now = net.now;
        let read = net.node(1).block_read(now, theirs, offset, 500, TIMEOUT).unwrap();
        let ReadResult::Data { range, source } = completion(&mut net, 1).result else {
            panic!("it is there")
        };
        assert_eq!(source, if from_peer { Source::Peer(host_address(0)) } else { Source::Local });
        assert!(copy_all(&mut net, 1, read) == net.origin.content[range.start as usize..range.end as usize]);
        net.node(1).end_read(read);
    }
    assert_eq!(net.node(1).storage().blocks(&segment), 0);
    let now = net.now;
    net.node(1).block_read(now, theirs, 100_000, 1, TIMEOUT).unwrap();
    assert!(matches!(completion(&mut net, 1).result, ReadResult::NoMore));

    // Here, whoever has the whole list has proven it; nobody else gets anything of it.
    let whole = open(&mut net, 1);
    let now = net.now;
    net.node(1).block_read(now, whole, 0, 1, Patience::Local).unwrap();
    assert!(matches!(completion(&mut net, 1).result, ReadResult::Data { source: Source::Local, .. }));
    net.node(1).block_read(now, whole, 150_000, 1, Patience::Local).unwrap();
    assert!(matches!(completion(&mut net, 1).result, ReadResult::Missing { .. }));
    net.node(0).set_addresses(&[]);
    let other = open(&mut net, 2);
    let now = net.now;
    net.node(2).block_read(now, other, 0, 1, TIMEOUT).unwrap();
    assert!(matches!(completion(&mut net, 2).result, ReadResult::Missing { .. }));
}

/// The application may have the data before any peer answers.
#[test]
fn what_is_added_meanwhile_ends_the_read() {
    let mut net = net(1);
    let handle = open(&mut net, 0);
    let now = net.now;
    net.node(0).block_read(now, handle, 0, 100, TIMEOUT).unwrap();
    net.step();
    let content = net.origin.content.clone();
    assert_eq!(net.node(0).add_data(handle, 0, &content), Ok((65_536, Added::Committed)));
    let completion = completion(&mut net, 0);
    assert!(matches!(completion.result, ReadResult::Data { source: Source::Local, .. }), "{completion:?}");
}

/// Neither a peer that is silent nor the time that is over keeps it from what is here by now.
#[test]
fn what_is_added_while_a_peer_is_silent_ends_the_read_at_once() {
    let mut net = net(1);
    let claims = segments(&net.origin.info);
    net.add_fake(claims, |_| Act::Silence);
    let handle = open(&mut net, 0);
    let now = net.now;
    net.node(0).block_read(now, handle, 65_536, 100, Duration::from_millis(900)).unwrap();
    net.drive_past(now + Duration::from_millis(600));
    assert_eq!(net.node(0).counters().fetch.asked, 1);
    let block = net.origin.content[65_536..131_072].to_vec();
    assert_eq!(net.node(0).add_data(handle, 65_536, &block), Ok((65_536, Added::Committed)));
    let completion = completion(&mut net, 0);
    assert!(matches!(completion.result, ReadResult::Data { source: Source::Local, .. }), "{completion:?}");
    assert!(net.now.since(now) < Duration::from_millis(700));
}

/// Who asks peers for a block gives up what was added of it: else it would keep theirs out.
#[test]
fn a_part_that_was_added_keeps_no_peer_out() {
    let mut net = net(2);
    let ours = open(&mut net, 0);
    add_all(&mut net, 0, ours);
    let theirs = open(&mut net, 1);
    assert_eq!(net.node(1).add_data(theirs, 0, &[7; 100]), Ok((100, Added::Partial)));
    let now = net.now;
    net.node(1).block_read(now, theirs, 0, 100, TIMEOUT).unwrap();
    let completion = completion(&mut net, 1);
    assert!(matches!(completion.result, ReadResult::Data { source: Source::Peer(_), .. }), "{completion:?}");
}

#[test]
fn a_slow_peer_is_not_waited_for() {
    let mut net = net(1);
    let claims = segments(&net.origin.info);
    net.add_fake(claims, |_| Act::Silence);
    let handle = open(&mut net, 0);
    let now = net.now;
    net.node(0).block_read(now, handle, 100, 10, Duration::from_millis(700)).unwrap();
    let completion = completion(&mut net, 0);
    assert!(matches!(completion.result, ReadResult::TimedOut { ref range } if *range == (100..65_536)));
    assert_eq!(net.now.since(now), Duration::from_millis(700));
    net.drive(LONG);
    assert_eq!(net.open_connections(), 0);
}

/// More reads than blocks can be fetched at once: each ends in its time.
#[test]
fn reads_that_wait_end_too() {
    let mut net = Net::new(31, 1, 8, content(20 * 65_536));
    let claims = segments(&net.origin.info);
    net.add_fake(claims, |_| Act::Silence);
    let handle = open(&mut net, 0);
    let now = net.now;
    let timeout = Duration::from_millis(700);
    let jobs = BLOCKS as u64;
    for block in 0..jobs + 3 {
        let timeout = if block < jobs { TIMEOUT } else { timeout };
        net.node(0).block_read(now, handle, block * 65_536, 10, timeout).unwrap();
    }
    for _ in 0..3 {
        let completion = completion(&mut net, 0);
        assert!(matches!(completion.result, ReadResult::TimedOut { .. }), "{completion:?}");
    }
    assert_eq!(net.now.since(now), timeout);
    for _ in 0..jobs {
        completion(&mut net, 0);
    }
}

#[test]
fn stream_reads_wait_for_each_other() {
    let mut net = net(1);
    let claims = segments(&net.origin.info);
    net.add_fake(claims, |_| Act::Silence);
    let handle = open(&mut net, 0);
    let now = net.now;
    for (millis, max) in [(900, 1), (300, 1), (900, 1)] {
        net.node(0).stream_read(now, handle, max, Duration::from_millis(millis)).unwrap();
    }
    for start in 0..3 {
        let completion = completion(&mut net, 0);
        assert!(
            matches!(completion.result, ReadResult::TimedOut { ref range } if range.start == start * 65_536)
        );
    }
}

#[test]
fn closing_cancels() {
    let mut net = net(1);
    let claims = segments(&net.origin.info);
    net.add_fake(claims, |_| Act::Silence);
    let handle = open(&mut net, 0);
    let now = net.now;
    for block in 0..4 {
        net.node(0).block_read(now, handle, block * 65_536, 10, TIMEOUT).unwrap();
    }
    net.node(0).add_data(handle, 0, &[0; 10]).unwrap();
    let soon = now + Duration::from_millis(500);
    net.drive_past(soon);
    assert!(net.open_connections() > 0);
    let node = net.node(0);
    assert_eq!(node.close_content(handle), Ok(()));
    assert_eq!(node.close_content(handle), Err(ApiError::InvalidHandle));
    assert!(node.block_read(now, handle, 0, 1, TIMEOUT).is_err());
    net.drive_past(soon + Duration::from_millis(10));
    assert_eq!(net.open_connections(), 0, "nobody is asked any more");
    assert!(net.node(0).poll_completion().is_none());

    // Its place, its blocks and its jobs are free.
    let again = open(&mut net, 0);
    assert_ne!(again, handle);
    add_all(&mut net, 0, again);
}

#[test]
fn bounds_and_misuse() {
    let mut net = net(1);
    let info = publish(&content(LEN));
    let node = net.node(0);
    let places = CONTENTS.min(INFO_SLOTS);
    let handles: Vec<_> = (0..places).map(|_| node.open_content([0; 16]).unwrap()).collect();
    assert_eq!(node.open_content([0; 16]), Err(ApiError::Full));
    assert!(node.block_read(Default::default(), handles[0], 0, 1, TIMEOUT).is_err());
    node.add_content_information(handles[0], &info[..50]).unwrap();
    let Err(ApiError::CannotParse(error)) = node.complete_content_information(handles[0]) else {
        panic!("it was cut")
    };
    assert_eq!(error.reason, InfoFault::Truncated);
    assert!(node.complete_content_information(handles[0]).is_err());
    for handle in handles {
        assert_eq!(node.close_content(handle), Ok(()));
    }
    let handle = open(&mut net, 0);
    let now = net.now;
    let node = net.node(0);
    let reads = (0..100).map_while(|_| node.block_read(now, handle, 0, 1, TIMEOUT).ok()).count();
    assert_eq!(reads, APPLICATION_READS);
    for _ in 0..reads {
        assert!(matches!(completion(&mut net, 0).result, ReadResult::Missing { .. }));
    }
    assert_eq!(net.node(0).counters().fetch.asked, 0);
    assert_eq!(net.node(0).counters().probe.probes, 1, "they were one job");
}
