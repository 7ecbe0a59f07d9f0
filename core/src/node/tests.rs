extern crate std;

mod hosted;

use super::*;
use crate::crypto::SoftCrypto;
use crate::limits::rows;
use crate::store::ram::{Entry, Page, RamStore};
use crate::tests::Fixed;

type Sized<const STREAMS: usize, const BLOCKS: usize> =
    Node<RamStore<[Page; 0], [Entry; 0], [u8; 0]>, SoftCrypto, Fixed, STREAMS, BLOCKS>;

/// A block of 64 KiB must not need a buffer of 64 KiB, nor anything near it.
#[test]
fn a_block_in_flight_takes_little_memory() {
    let block = (size_of::<Sized<4, 9>>() - size_of::<Sized<4, 1>>()) / 8;
    assert!(block <= 1_024, "{block} bytes for each block in flight");
    let stream = (size_of::<Sized<12, 1>>() - size_of::<Sized<4, 1>>()) / 8;
    assert!(stream <= rows(1_280, 960), "{stream} bytes for each stream");
    let rest = size_of::<Sized<0, 0>>();
    assert!(rest <= rows(49, 13) * 1_024, "{rest} bytes for all the rest");
}

/// What does nothing for others neither accepts them nor looks at their probes.
#[test]
fn a_client_serves_nobody() {
    use crate::content::SegmentId;
    use crate::discovery::wire::{ProbeRepr, Uuid};

    type Lean<P> = Node<RamStore<[Page; 0], [Entry; 0], [u8; 0]>, SoftCrypto, Fixed, 4, 1, 0, P>;
    fn counted<P: Service>() -> (bool, u32) {
        let (now, from) = (Instant::from_millis(1_000), SocketAddr::from(([10, 0, 0, 2], 5_000)));
        let store = RamStore::new([Page::EMPTY; 0], [Entry::EMPTY; 0], [0; 0]);
        let mut node = Lean::<P>::new(Config::default(), store, SoftCrypto, Fixed(4));
        node.set_addresses(&[Subnet { address: [10, 0, 0, 1].into(), prefix: 24 }]);
        let ids = [SegmentId::from_slice(&[7; 32]).unwrap()];
        let mut probe = [0; 2_048];
        let probe = ProbeRepr { message_id: Uuid::random(&mut Fixed(4)), ids: &ids }
            .emit(&mut probe)
            .map(|len| &probe[..len]);
        node.handle_input(now, Input::Datagram { from, data: probe.unwrap() });
        (node.accept(now, from).is_some(), node.counters().answer.probes)
    }
    assert_eq!(counted::<Serving>(), (true, 1));
    assert_eq!(counted::<ClientOnly>(), (false, 0));
    // Nor does it keep tables for that, or for downloads.
    assert!(size_of::<Lean<ClientOnly>>() < size_of::<Lean<Serving>>());
    assert!(size_of::<Lean<Serving>>() + DOWNLOADS * size_of::<Download>() <= size_of::<Sized<4, 1>>());
}

/// Who gets a segment shares what nobody has with others who do, whether it serves them or not.
#[test]
fn who_serves_nobody_hears_who_else_gets_a_segment() {
    use crate::content::SegmentId;
    use crate::crypto::HashAlgorithm;
    use crate::discovery::wire::{ProbeRepr, Uuid};

    /// Whether another one's turn comes before ours at any block, after a probe from there.
    fn waits_for<P: Service>(from: [u8; 4]) -> bool {
        let now = Instant::from_millis(1_000);
        let store = RamStore::new([Page::EMPTY; 0], [Entry::EMPTY; 0], [0; 0]);
        let mut node: Node<_, _, _, 4, 1, 1, P> = Node::new(Config::default(), store, SoftCrypto, Fixed(4));
        node.set_addresses(&[Subnet { address: [10, 0, 0, 1].into(), prefix: 24 }]);
        let segment = SegmentId::from_slice(&[7; 32]).unwrap();
        node.common.fetch.survey(now, &segment, HashAlgorithm::Sha256, 64, now);
        let mut probe = [0; 2_048];
        let probe = ProbeRepr { message_id: Uuid::random(&mut Fixed(4)), ids: &[segment] }
            .emit(&mut probe)
            .map(|len| &probe[..len]);
        let from = SocketAddr::from((from, 5_000));
        node.handle_input(now, Input::Datagram { from, data: probe.unwrap() });
        let crowd = node.common.fetch.crowd(now, &segment, Duration::from_secs(1));
        (0..64).any(|block| crowd.turn(block) > 0)
    }
    for (from, waits) in [([10, 0, 0, 2], true), ([10, 0, 0, 1], false), ([10, 0, 1, 2], false)] {
        assert_eq!(waits_for::<ClientOnly>(from), waits, "{from:?}");
        assert_eq!(waits_for::<Serving>(from), waits, "{from:?}");
    }
}

/// What is content, content information or a secret must not get into logs by way of `Debug`.
#[test]
fn debug_shows_no_bytes() {
    use crate::bytes::{Reader, Writer};
    use crate::download::origin::OriginEvent;
    use crate::http::conn::Event;
    use crate::retrieval::client::Step;
    use crate::store::verify::Expected;
    use std::format;

    let data = &[0xd3; 4][..];
    let stream = StreamId { index: 1, generation: 2 };
    let from = SocketAddr::from(([10, 0, 0, 1], 80));
    let hash = crate::crypto::Digest::from_slice(data).unwrap();
    for shown in [
        format!("{:?}", Input::Datagram { from, data }),
        format!("{:?}", Input::Data { stream, data }),
        format!("{:?}", Output::Datagram { to: from, data }),
        format!("{:?}", Output::Data { download: DownloadId { index: 0, generation: 1 }, offset: 7, data }),
        format!("{:?}", OriginEvent::Info(data)),
        format!("{:?}", OriginEvent::Plain(data)),
        format!("{:?}", OriginEvent::Data { offset: 7, bytes: data }),
        format!("{:?}", Event::Body(data)),
        format!("{:?}", Step::Piece(data)),
        format!("{:?}", Reader::new(data)),
        format!("{:?}", Writer::new(&mut [0xd3; 4])),
        format!("{:?}", Expected { algorithm: crate::crypto::HashAlgorithm::Sha256, hash, len: 4 }),
    ] {
        assert!(!shown.contains("211") && !shown.contains("d3"), "{shown}");
    }
    assert_eq!(format!("{:?}", OriginEvent::Info(data)), "Info([4 bytes])");
}

/// What was never asked for needs no end.
#[test]
fn a_connection_that_is_not_wanted_any_more_is_not_asked_for() {
    let now = Instant::from_millis(1_000);
    let store = RamStore::new([Page::EMPTY; 0], [Entry::EMPTY; 0], [0; 0]);
    let mut node = Sized::<4, 1>::new(Config::default(), store, SoftCrypto, Fixed(4));
    let download = |node: &mut Sized<4, 1>, last| {
        let (host, path) = ("origin".try_into().unwrap(), "/".try_into().unwrap());
        node.download(now, Url { origin: ([10, 1, 0, last], 80).into(), host, path }).unwrap()
    };
    let downloads: [DownloadId; DOWNLOADS] = core::array::from_fn(|n| download(&mut node, n as u8 + 1));
    let mut buf = [0; 2_048];
    let Some(Output::Connect { stream, remote, .. }) = node.poll_output(now, &mut buf) else { panic!() };
    assert_eq!(remote, ([10, 1, 0, 1], 80).into());
    for later in &downloads[1..] {
        node.cancel_download(*later);
        assert!(node.poll_output(now, &mut buf).is_none());
    }
    node.cancel_download(downloads[0]);
    let Some(Output::Abort { stream: aborted }) = node.poll_output(now, &mut buf) else { panic!() };
    assert_eq!(aborted, stream);
    assert!(node.poll_output(now, &mut buf).is_none());
}

/// Where the content is instead is told when the head is over, and is no content before.
#[test]
fn a_place_is_no_content_however_the_head_comes() {
    let now = Instant::from_millis(1_000);
    let store = RamStore::new([Page::EMPTY; 0], [Entry::EMPTY; 0], [0; 0]);
    let mut node = Sized::<4, 1>::new(Config::default(), store, SoftCrypto, Fixed(4));
    let (host, path) = ("origin".try_into().unwrap(), "/".try_into().unwrap());
    node.download(now, Url { origin: ([10, 1, 0, 1], 80).into(), host, path }).unwrap();
    let mut buf = [0; 2_048];
    let Some(Output::Connect { stream, .. }) = node.poll_output(now, &mut buf) else { panic!() };
    node.handle_input(now, Input::Connected { stream });
    while node.poll_stream(now, stream, &mut buf).unwrap() > 0 {}
    for data in [&b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n"[..], b"Content-Length: 0\r\n"] {
        assert_eq!(node.handle_input(now, Input::Data { stream, data }), data.len());
        assert!(node.poll_output(now, &mut buf).is_none());
    }
    node.handle_input(now, Input::Data { stream, data: b"\r\n" });
    let mut moved = false;
    while let Some(output) = node.poll_output(now, &mut buf) {
        match output {
            Output::Moved { location, .. } => moved = location == b"http://x/",
            Output::Data { .. } => panic!("that is no content"),
            _ => {}
        }
    }
    assert!(moved);
}

/// What an origin does with each connection.
#[derive(Clone, Copy)]
enum Origin {
    /// It takes it and says nothing.
    Silent,
    /// It refuses it.
    Refuses,
    /// It takes the request and resets.
    Resets,
    /// It answers so.
    Says(&'static [u8]),
}

/// What is said of a download from such an origin until it has ended, and when, in seconds.
fn told_of(origins: &[Origin]) -> std::vec::Vec<(u64, DownloadEvent)> {
    let begun = Instant::from_millis(1_000);
    let store = RamStore::new([Page::EMPTY; 0], [Entry::EMPTY; 0], [0; 0]);
    let mut node = Sized::<4, 1>::new(Config::default(), store, SoftCrypto, Fixed(4));
    let (host, path) = ("origin".try_into().unwrap(), "/".try_into().unwrap());
    node.download(begun, Url { origin: ([10, 1, 0, 1], 80).into(), host, path }).unwrap();
    let (mut now, mut told, mut origins) = (begun, std::vec::Vec::new(), origins.iter().cycle());
    let mut buf = [0; 2_048];
    loop {
        while let Some(output) = node.poll_output(now, &mut buf) {
            match output {
                Output::Download { event, .. } => told.push((now.since(begun).millis() / 1_000, event)),
                Output::Connect { stream, .. } => match origins.next().unwrap() {
                    Origin::Refuses => drop(node.handle_input(now, Input::Lost { stream })),
                    origin => {
                        node.handle_input(now, Input::Connected { stream });
                        assert!(node.poll_stream(now, stream, &mut [0; 2_048]).unwrap() > 0);
                        match origin {
                            Origin::Resets => drop(node.handle_input(now, Input::Lost { stream })),
                            Origin::Says(data) => drop(node.handle_input(now, Input::Data { stream, data })),
                            Origin::Silent | Origin::Refuses => {}
                        }
                    }
                },
                _ => {}
            }
        }
        if matches!(told.last(), Some((_, DownloadEvent::Failed(_)))) {
            return told;
        }
        now = node.poll_timeout(now).expect("it is never left alone");
    }
}

/// Nobody has to wait for the end to know how it goes: each attempt is told when it fails, and only once.
#[test]
fn each_attempt_that_the_origin_fails_at_is_told() {
    use crate::download::DownloadError;
    use crate::download::origin::OriginFailure::{self, BadReply, Broken, Silent, Status, Unreachable};

    let attempts = |told: &[(u64, DownloadEvent)]| -> std::vec::Vec<(u64, OriginFailure, u8)> {
        let attempt = |(at, event): &(u64, DownloadEvent)| match event {
            DownloadEvent::OriginFailed { failure, attempt, of: 8 } => (*at, *failure, *attempt),
            other => panic!("{other:?}"),
        };
        told.iter().map(attempt).collect()
    };
    let ended = |told: &[(u64, DownloadEvent)]| match told.last() {
        Some((at, DownloadEvent::Failed(DownloadError::Origin(failure)))) => (*at, *failure),
        other => panic!("{other:?}"),
    };
    let origins = [
        Origin::Silent,
        Origin::Refuses,
        Origin::Resets,
        Origin::Says(b"SSH-2.0\r\n\r\n"),
        Origin::Says(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"),
    ];
    let told = told_of(&origins);
    let begins = [(60, Silent), (60, Unreachable), (60, Broken), (61, BadReply), (63, Status(503))];
    let rest = [(127, Silent), (135, Unreachable)];
    let all = begins.into_iter().chain(rest).zip(1..).map(|((at, failure), attempt)| (at, failure, attempt));
    assert_eq!(attempts(&told[..told.len() - 1]), all.collect::<std::vec::Vec<_>>());
    assert_eq!(ended(&told).1, Broken);

    // An origin that is gone for good takes minutes, but nobody is left without a word for long.
    let told = told_of(&[Origin::Silent]);
    assert_eq!(told.len(), 8);
    assert!(told.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 80), "{told:?}");
    assert_eq!(ended(&told).1, Silent);
}
