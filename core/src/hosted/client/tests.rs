extern crate std;

use std::vec;
use std::vec::Vec;

use super::{
    Came, Client, Counters, Duration, Failure, Instant, LONG_REST, News, Place, Places, REST, ResponseCode,
    SHORT_INTERVAL, SocketAddr, State, TRIES, Version, poll_timeout,
};
use crate::content::segmenter::{SegmentLen, Segmentation};
use crate::content::{Info, SegmentId};
use crate::crypto::{HashAlgorithm, SoftCrypto};
use crate::hosted::wire::{DESCRIPTOR_BYTES, Descriptor, OPENING_BYTES};
use crate::offering::OfferStream;
use crate::store::ram::{Entry, Page, RamStore};
use crate::store::{InfoId, InfoStore, InfoView};
use crate::tests::{published_v1, published_v2};

type TestStore = RamStore<Vec<Page>, Vec<Entry>, Vec<u8>>;

const NOW: Instant = Instant::from_millis(5_000);
const SECOND: Duration = Duration::from_secs(1);

struct World {
    news: Vec<News>,
    state: State,
    store: TestStore,
    places: Places,
    info: InfoId,
    now: Instant,
}

fn v1() -> Place {
    let port = |port| SocketAddr::from(([10, 0, 0, 9], port));
    Place { blocks: port(80), offers: port(443), version: Version::V1 }
}

fn v2() -> Place {
    Place::v2(([10, 0, 0, 9], 80).into())
}

impl World {
    /// A content described by `info`, and a table of so many rows.
    fn new(info: &[u8], rows: usize, places: &[Place]) -> Self {
        let mut store =
            RamStore::new(vec![Page::EMPTY; 4], vec![Entry::EMPTY; 4], vec![0; 2 * info.len() + 1_000]);
        let id = store.create_info().unwrap();
        store.append_info(id, info).unwrap();
        let news = (0..rows).map(|_| News::FREE).collect();
        let places = places.iter().copied().collect();
        Self { news, state: State::default(), store, places, info: id, now: NOW }
    }

    fn client(&mut self) -> Client<'_> {
        Client { news: &mut self.news, state: &mut self.state }
    }

    /// A block of segment `index` has come; the segment's name.
    fn came(&mut self, index: u32) -> SegmentId {
        let Self { news, state, store, places, info: id, now } = self;
        let source = InfoView { store: &*store, id: *id };
        let info = Info::parse(&source).unwrap();
        let segment = info.segment(&source, index).unwrap();
        let name = segment.id(&mut SoftCrypto);
        (state.worked, state.describes) = (*now, places.iter().any(|place| place.version == Version::V1));
        let tag = *b"0123456789abcdef";
        let came = Came { info: &info, info_id: *id, segment: &segment, id: name, tag };
        Client { news, state }.came(&came, store);
        name
    }

    fn work(&mut self) -> bool {
        let Self { news, state, store, places, now, .. } = self;
        Client { news, state }.work(*now, places, store)
    }

    fn after(&mut self, time: Duration) -> bool {
        self.now += time;
        self.work()
    }

    /// A connection that carries the message under way, and all that it sends.
    fn carry(&mut self) -> (OfferStream, Vec<u8>) {
        let to = self.state.waits_for().unwrap();
        let mut stream = OfferStream::new(self.now, to, &self.places[usize::from(to)]);
        let sent = self.begin(&mut stream);
        (stream, sent)
    }

    fn begin(&mut self, stream: &mut OfferStream) -> Vec<u8> {
        assert!(stream.begin());
        self.state.carried(self.now);
        stream.handle_connected(self.now);
        let Self { news, state, store, .. } = self;
        let client = Client { news, state };
        let mut sent = Vec::new();
        // In pieces of any size.
        for size in (1..).cycle() {
            let mut room = vec![0; size % 97 + 1];
            match stream.poll(&client, 8_080, store, &mut room).unwrap() {
                0 => break,
                len => sent.extend_from_slice(&room[..len]),
            }
        }
        sent
    }

    /// The hosted cache answers.
    fn answer(&mut self, stream: &mut OfferStream, bytes: &[u8]) -> Option<Result<ResponseCode, Failure>> {
        let mut result = None;
        for piece in bytes.chunks(7) {
            let (used, came) = stream.handle(self.now, piece);
            assert!(used == piece.len() || came.is_some());
            result = result.or(came);
        }
        match result {
            Some(Ok(code)) => {
                let Self { news, state, store, now, .. } = self;
                Client { news, state }.answered(*now, code, store);
            }
            Some(Err(failure)) => {
                self.fail(failure);
            }
            None => {}
        }
        result
    }

    fn fail(&mut self, failure: Failure) {
        let Self { news, state, store, places, now, .. } = self;
        Client { news, state }.failed(*now, places, failure, store);
    }

    fn wakes(&self) -> Option<Instant> {
        poll_timeout(&self.news, &self.state, &self.places)
    }
}

fn response(code: u8) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\0\0\0\x01", &[code][..]].concat()
}

fn body(sent: &[u8]) -> &[u8] {
    &sent[sent.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4..]
}

/// Content information 1.0 of a segment of so many blocks, of which the last has a byte.
fn blocks(count: usize) -> Vec<u8> {
    published_v1(&vec![7; (count - 1) * (1 << 16) + 1])
}

/// Content information 2.0 of that many segments.
fn segments(count: u8) -> Vec<u8> {
    let content: Vec<u8> = (0..count).flat_map(|n| [n; 100]).collect();
    published_v2(&content, Segmentation::Fixed(SegmentLen::new(100).unwrap()))
}

/// 2.2.1.5, by its bytes.
#[test]
fn a_batched_offer() {
    let mut world = World::new(&blocks(3), 4, &[v2()]);
    let id = world.came(0);
    assert!(world.work());
    let (mut stream, sent) = world.carry();
    let head = "POST /0131501b-d67f-491b-9a40-c4bf27bcb4d4 HTTP/1.1\r\nHost: 10.0.0.9:80\r\nContent-Length: 75\r\n\r\n";
    assert_eq!(core::str::from_utf8(&sent[..head.len()]), Ok(head));
    let expected = [
        &[0, 2, 0, 3, 0, 0, 0, 0, 0x1F, 0x90, 0, 0, 0, 0, 0, 0][..],
        &[0, 1, 0, 0, 0, 2, 0, 1, 0, 16],
        b"0123456789abcdef",
        &[1],
        id.as_bytes(),
    ];
    assert_eq!(body(&sent), expected.concat());
    let nothing = TestStore::new(vec![], vec![], vec![]);
    assert_eq!(stream.poll(&world.client(), 80, &nothing, &mut [0; 9]), Ok(0));
    assert_eq!(world.answer(&mut stream, &response(0)), Some(Ok(ResponseCode::Ok)));
    assert!(!world.client().has_news());
    assert!(stream.is_idle() && stream.keeps_open());
}

/// 2.2.1.3, 2.2.1.4: the segment's name; then its tag, and content information of it alone as the origin sent it.
#[test]
fn an_initial_offer_and_what_describes_it() {
    let info = blocks(3);
    let mut world = World::new(&info, 4, &[v1()]);
    let id = world.came(0);
    assert!(world.work());
    let (mut stream, sent) = world.carry();
    assert!(
        sent.starts_with(b"POST /C574AC30-5794-4AEE-B1BB-6651C5315029 HTTP/1.1\r\nHost: 10.0.0.9:443\r\n")
    );
    let opening = |message| vec![0, 1, 0, message, 0, 0, 0, 0, 0x1F, 0x90, 0, 0, 0, 0, 0, 0];
    assert_eq!(body(&sent), [&opening(1), id.as_bytes()].concat());
    // More of it comes meanwhile: that is for the next offer.
    world.came(0);
    assert_eq!(world.answer(&mut stream, &response(1)), Some(Ok(ResponseCode::Interested)));

    let sent = world.begin(&mut stream);
    let message = body(&sent);
    assert_eq!(message[..32], [&opening(2)[..], b"0123456789abcdef"].concat());
    let told = Info::parse(&&message[32..]).unwrap();
    assert_eq!(told.range(), 0..131_073);
    // All but dwReadBytesInLastSegment, which must be the number of bytes, is as it was.
    assert_eq!(message[32..42], info[..10]);
    assert_eq!(message[42..46], 131_073u32.to_le_bytes());
    assert_eq!(message[46..], info[14..]);
    assert_eq!(world.answer(&mut stream, &response(0)), Some(Ok(ResponseCode::Ok)));
    assert!(world.client().has_news());
    let short = SHORT_INTERVAL.micros();
    assert!(!world.after(Duration::from_micros(short - 1)) && world.after(Duration::from_micros(1)));
    let sent = world.begin(&mut stream);
    assert_eq!(body(&sent), [&opening(1), id.as_bytes()].concat());
    assert_eq!(world.answer(&mut stream, &response(0)), Some(Ok(ResponseCode::Ok)));
    assert!(!world.client().has_news());
    let Counters { blocks, messages, segments, described, .. } = world.state.counters;
    assert_eq!((blocks, messages, segments, described), (2, 3, 2, 1));
    // The copy of what describes it is gone.
    let free = world.store.create_info().unwrap();
    assert_eq!(world.store.append_info(free, &vec![0; info.len() + 1_000]), Ok(()));
}

/// 3.2.4: a fifth of a segment's blocks is enough at once; fewer wait until no more come.
#[test]
fn when_a_segment_is_news() {
    let mut world = World::new(&blocks(100), 4, &[v2()]);
    for _ in 0..19 {
        world.came(0);
    }
    assert!(!world.work());
    assert_eq!(world.wakes(), Some(NOW + SECOND));
    world.now = NOW + Duration::from_millis(900);
    world.came(0);
    assert!(world.work(), "20 of 100");

    let mut world = World::new(&blocks(100), 4, &[v2()]);
    world.came(0);
    assert!(!world.after(Duration::from_millis(900)));
    world.came(0);
    assert!(!world.after(Duration::from_millis(900)));
    assert!(world.after(Duration::from_millis(100)));
}

/// 2.2.1.5: no more than 128 in a message, however many there are; 2.0's segments are news with their only block.
#[test]
fn a_batch_is_full() {
    let mut world = World::new(&segments(150), 200, &[v2()]);
    let names: Vec<SegmentId> = (0..150).map(|index| world.came(index)).collect();
    assert!(world.work());
    let (mut stream, sent) = world.carry();
    let descriptors = &body(&sent)[OPENING_BYTES..];
    assert_eq!(descriptors.len(), 128 * DESCRIPTOR_BYTES);
    for (descriptor, name) in descriptors.chunks(DESCRIPTOR_BYTES).zip(&names) {
        assert_eq!((descriptor[26], &descriptor[27..]), (4, name.as_bytes()));
    }
    assert_eq!(world.answer(&mut stream, &response(0)), Some(Ok(ResponseCode::Ok)));
    assert!(!world.after(Duration::from_millis(999)));
    assert!(world.after(Duration::from_millis(1)));
    let sent = world.begin(&mut stream);
    assert_eq!(body(&sent).len(), OPENING_BYTES + 22 * DESCRIPTOR_BYTES);
}

/// What is taken of other segments in between is none of a segment's own.
#[test]
fn tries_are_a_segments_own() {
    let mut world = World::new(&blocks(3), 4, &[v1()]);
    world.came(0);
    for tries in 1..=TRIES {
        assert!(world.after(LONG_REST));
        world.fail(Failure::Status(400));
        assert_eq!(world.state.counters.forgotten > 0, tries == TRIES);
        let World { news, store, .. } = &mut world;
        assert!(news.iter_mut().all(|row| !row.taken(store)));
    }
}

/// Version 1.0 has no message for content information 2.0.
#[test]
fn what_has_no_message() {
    let mut world = World::new(&segments(2), 4, &[v1()]);
    world.came(0);
    assert!(!world.work());
    assert!(!world.client().has_news());
    assert_eq!(world.state.counters.unusable, 1);
}

/// Where there is no room, the segment of which nothing came for longest is forgotten, but not what is being offered.
#[test]
fn the_table_is_full() {
    let mut world = World::new(&segments(4), 2, &[v2()]);
    let mut names = Vec::new();
    names.push(world.came(0));
    assert!(world.work());
    for index in 1..4 {
        world.now += SECOND;
        names.push(world.came(index));
    }
    assert_eq!(world.state.counters.forgotten, 2);
    let (mut stream, sent) = world.carry();
    assert!(body(&sent).ends_with(names[0].as_bytes()));
    assert_eq!(world.answer(&mut stream, &response(0)), Some(Ok(ResponseCode::Ok)));
    assert!(world.after(SECOND));
    let (_, sent) = world.carry();
    assert!(body(&sent).ends_with(names[3].as_bytes()));
}

/// 3.2.5.3, 3.2.5.5: what is no response to an offer.
#[test]
fn other_answers() {
    let ok = "HTTP/1.1 200 OK\r\n";
    for (answer, failure) in [
        (
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n",
            Failure::Unauthorized,
        ),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno.", Failure::Status(404)),
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", Failure::Status(503)),
        (&std::format!("{ok}Content-Length: 0\r\n\r\n"), Failure::BadResponse),
        (&std::format!("{ok}Content-Length: 4\r\n\r\n\0\0\0\x01"), Failure::BadResponse),
        (&std::format!("{ok}Content-Length: 6\r\n\r\n\0\0\0\x01\0\0"), Failure::BadResponse),
        (&std::format!("{ok}Content-Length: 5\r\n\r\n\0\0\0\x01\x02"), Failure::BadResponse),
        (&std::format!("{ok}Content-Length: 5\r\n\r\n\0\0\0\x02\0"), Failure::BadResponse),
        ("SSH-2.0-OpenSSH_9.6\r\n", Failure::BadResponse),
    ] {
        let mut world = World::new(&blocks(3), 4, &[v2()]);
        world.came(0);
        assert!(world.work());
        let (mut stream, _) = world.carry();
        assert_eq!(world.answer(&mut stream, answer.as_bytes()), Some(Err(failure)), "{answer}");
        assert_eq!(world.state.poll_failure(), Some((v2().offers, failure)));
        assert_eq!(world.state.poll_failure(), None);
        // It rests, and then is offered the same again.
        let rest = if failure == Failure::Unauthorized { LONG_REST } else { REST };
        assert_eq!((world.work(), world.wakes()), (false, Some(NOW + rest)));
        assert!(world.after(rest));
    }
}

/// The connection ends before a response.
#[test]
fn the_connection_ends() {
    let mut world = World::new(&blocks(3), 4, &[v2()]);
    world.came(0);
    assert!(world.work());
    let (mut stream, _) = world.carry();
    let (used, result) = stream.handle(NOW, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\0");
    assert!(used > 0 && result.is_none());
    assert_eq!(stream.handle_eof(NOW), Some(Err(Failure::Lost)));
    assert_eq!(stream.handle_eof(NOW), None, "it is told once");
}

/// What is here is offered at once, where a row is free for it; a hosted cache of version 1.0 has no use for it.
#[test]
fn what_is_here_already() {
    let descriptor = |n| Descriptor {
        block_bytes: 65_536,
        segment_bytes: 70_000,
        tag: *b"0123456789abcdef",
        algorithm: HashAlgorithm::Sha256,
        segment: [n; 32],
    };
    let mut world = World::new(&blocks(1), 2, &[v2()]);
    let here = |world: &mut World, n| {
        let now = world.now;
        world.client().here(now, &descriptor(n))
    };
    assert_eq!([1, 1, 2, 3].map(|n| here(&mut world, n)), [true, true, true, false]);
    assert!(world.work());
    let (mut stream, sent) = world.carry();
    assert_eq!(body(&sent).len(), OPENING_BYTES + 2 * DESCRIPTOR_BYTES);
    assert_eq!(world.answer(&mut stream, &response(0)), Some(Ok(ResponseCode::Ok)));
    assert!(here(&mut world, 3));
    let mut world = World::new(&blocks(1), 2, &[v1()]);
    assert!(here(&mut world, 1) && !world.work() && !world.client().has_news());
}

/// Of two hosted caches, each gets what there is a message for; what fits neither is thrown away, and nobody waits for
/// what the one that is awake cannot take.
#[test]
fn each_gets_what_it_can_take() {
    let mut world = World::new(&segments(2), 4, &[v1(), v2()]);
    world.came(0);
    assert!(world.work());
    assert_eq!(world.state.waits_for(), Some(1));
    let (mut stream, _) = world.carry();
    assert_eq!(world.answer(&mut stream, b"HTTP/1.1 503 No\r\n\r\n"), None);
    assert_eq!(stream.handle_eof(world.now), Some(Err(Failure::Status(503))));
    world.fail(Failure::Status(503));
    assert_eq!((world.work(), world.wakes()), (false, Some(NOW + REST)), "the other one is awake");
    assert!(world.client().has_news());
    assert!(world.after(REST));
    assert_eq!(world.state.waits_for(), Some(1));
}

/// What cannot be read any more is nobody's fault but ours: it is forgotten, before its message and in the middle, and
/// the next one goes to the same hosted cache.
#[test]
fn what_describes_a_segment_is_gone() {
    for sent in [0, 250] {
        let contents = [blocks(3), blocks(2)];
        let mut world = World::new(&contents[0], 4, &[v1()]);
        world.came(0);
        assert!(world.work());
        let (mut stream, _) = world.carry();
        world.info = world.store.create_info().unwrap();
        world.store.append_info(world.info, &contents[1]).unwrap();
        world.state.descriptions = 2;
        let next = world.came(0);
        assert_eq!(world.answer(&mut stream, &response(1)), Some(Ok(ResponseCode::Interested)));
        assert!(stream.begin());
        world.state.carried(world.now);
        let World { news, state, store, .. } = &mut world;
        let info = news[0].segment.as_ref().unwrap().info.unwrap();
        let client = Client { news, state };
        assert_eq!(stream.poll(&client, 80, store, &mut vec![0; sent]), Ok(sent));
        store.remove_info(info);
        assert_eq!(stream.poll(&client, 80, store, &mut [0; 1_000]), Err(Failure::Unreadable));
        world.fail(Failure::Unreadable);
        let Counters { failed, forgotten, .. } = world.state.counters;
        assert_eq!((failed, forgotten, world.state.poll_failure()), (1, 1, None));
        world.now += SECOND;
        assert!(world.work());
        let (_, sent) = world.carry();
        assert!(body(&sent).ends_with(next.as_bytes()));
    }
}

/// A segment that there was no room to describe is described when more of it comes.
#[test]
fn there_was_no_room_to_describe_it() {
    let contents = [blocks(3), blocks(2)];
    let mut world = World::new(&contents[0], 4, &[v1()]);
    world.state.descriptions = 1;
    world.came(0);
    assert!(world.after(SECOND));
    world.info = world.store.create_info().unwrap();
    world.store.append_info(world.info, &contents[1]).unwrap();
    let next = world.came(0);
    let (mut stream, _) = world.carry();
    assert_eq!(world.answer(&mut stream, &response(0)), Some(Ok(ResponseCode::Ok)));
    assert_eq!(world.came(0), next);
    assert!(world.after(SECOND));
    let sent = world.begin(&mut stream);
    assert!(body(&sent).ends_with(next.as_bytes()));
    assert_eq!(world.state.counters.unusable, 0);
}

/// Who cannot be reached is offered the same for ever; what is refused, or breaks the connection, goes after a few
/// times.
#[test]
fn what_fails_again_and_again_is_forgotten() {
    for (failure, forgets) in [
        (Failure::Unreachable, false),
        (Failure::Unauthorized, false),
        (Failure::Status(503), false),
        (Failure::Status(400), true),
        (Failure::BadResponse, true),
        (Failure::Lost, true),
    ] {
        let mut world = World::new(&blocks(3), 4, &[v1()]);
        world.came(0);
        assert!(world.after(SECOND));
        world.fail(failure);
        assert!(world.after(LONG_REST));
        let (mut stream, _) = world.carry();
        world.came(0);
        // What is taken counts from the beginning again.
        world.answer(&mut stream, &response(0));
        for tries in 1..=2 * TRIES {
            assert!(world.after(LONG_REST), "{failure:?}");
            world.fail(failure);
            let is_over = forgets && tries == TRIES;
            assert_eq!((world.client().has_news(), world.state.counters.forgotten > 0), (!is_over, is_over));
            if is_over {
                break;
            }
        }
    }
}
