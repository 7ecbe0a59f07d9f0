//! Dialogues: what clients send, what they are answered, and what is asked of them then.

use super::*;
use crate::crypto::{CipherAlgorithm, HashAlgorithm, Seal, SoftCrypto};
use crate::hosted::wire::{DESCRIPTOR_BYTES, OPENING_BYTES};
use crate::store::ram::{Entry, Page, RamStore};
use crate::store::verify::keep_as_received;
use crate::store::{BlockId, Store};
use crate::tests::published_by;
use crate::time::Duration;

extern crate std;
use std::vec::Vec;

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/vectors/pchc-", $name, ".bin"))
    };
}

const CLIENT: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 7));
const OTHER: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 8));

struct Cache {
    offers: Vec<Offer>,
    messages: Vec<Message>,
    state: State,
    store: RamStore<Vec<Page>, Vec<Entry>, Vec<u8>>,
    now: Instant,
    keys: u64,
}

impl Cache {
    fn new(offers: usize, limits: Limits) -> Self {
        let pages = std::vec![Page::EMPTY; 64];
        let entries = std::vec![Entry::EMPTY; 16];
        Self {
            offers: (0..offers).map(|_| Offer::FREE).collect(),
            messages: (0..2).map(|_| Message::FREE).collect(),
            state: State::new(limits),
            store: RamStore::new(pages, entries, std::vec![0; 4096]),
            now: Instant::ZERO,
            keys: 0,
        }
    }

    /// With room for three full batches.
    fn roomy() -> Self {
        Self::new(384, Limits::default())
    }

    fn server(&mut self) -> Server<'_> {
        Server { offers: &mut self.offers, messages: &mut self.messages, state: &mut self.state }
    }

    fn begin(&mut self, client: IpAddr, version: Version) -> Option<Key> {
        self.keys += 1;
        let (key, now) = (Key(self.keys), self.now);
        let Self { offers, messages, state, store, .. } = self;
        let mut server = Server { offers, messages, state };
        server.begin(now, key, SocketAddr::new(client, 50_000), version, store).then_some(key)
    }

    fn take(&mut self, key: Key, bytes: &[u8]) {
        let Self { offers, messages, state, store, now, .. } = self;
        Server { offers, messages, state }.take(*now, key, bytes, store);
    }

    fn finish(&mut self, key: Key) -> Option<ResponseCode> {
        let Self { offers, messages, state, store, now, .. } = self;
        Server { offers, messages, state }.finish(*now, key, store)
    }

    /// A whole message, in pieces of that many bytes.
    fn send_in(
        &mut self,
        client: IpAddr,
        version: Version,
        message: &[u8],
        piece: usize,
    ) -> Option<ResponseCode> {
        let key = self.begin(client, version).unwrap();
        message.chunks(piece).for_each(|piece| self.take(key, piece));
        self.finish(key)
    }

    fn send(&mut self, client: IpAddr, version: Version, message: &[u8]) -> Option<ResponseCode> {
        self.send_in(client, version, message, 1_000)
    }

    /// Looks at what content information has come.
    fn check(&mut self) {
        let Self { offers, messages, state, store, .. } = self;
        while (Server { offers, messages, state }).check(store, &mut SoftCrypto) {}
    }

    fn next(&mut self) -> Option<Wanted> {
        self.next_beside(&|_| 0)
    }

    fn next_beside(&mut self, asked: &dyn Fn(SocketAddr) -> usize) -> Option<Wanted> {
        let Self { offers, messages, state, store, now, .. } = self;
        Server { offers, messages, state }.next(*now, store, asked)
    }

    fn ended(&mut self, wanted: &Wanted, ended: Ended) {
        let now = self.now;
        self.server().ended(now, wanted.offer, wanted.client, wanted.block.index, ended);
    }

    fn expire(&mut self) {
        let Self { offers, messages, state, store, now, .. } = self;
        Server { offers, messages, state }.expire(*now, store);
    }

    /// Puts a block into the store as a pull would.
    fn keep(&mut self, wanted: &Wanted) {
        let block = BlockId { segment: wanted.block.segment.unverifiable().unwrap(), ..wanted.block };
        let slot = self.store.reserve(&block, 16).unwrap();
        self.store.write(slot, 0, &[9; 16]).unwrap();
        let seal = Seal { algorithm: CipherAlgorithm::Aes128, iv: [1; 16] };
        keep_as_received(&mut self.store, &block, slot, seal, 16, 5).unwrap();
    }

    fn offers(&self) -> usize {
        self.offers.iter().filter(|row| row.offered.is_some()).count()
    }
}

impl Server<'_> {
    fn counters(&self) -> &Counters {
        &self.state.counters
    }
}

/// A batch of segments with one block each.
fn batch(port: u16, segments: core::ops::Range<u8>) -> Vec<u8> {
    let mut message = [0; OPENING_BYTES];
    let mut writer = crate::bytes::Writer::new(&mut message);
    let kind = crate::hosted::wire::MessageType::BatchedOffer;
    crate::hosted::wire::Opening::new(Version::V2, kind, port).emit(&mut writer).unwrap();
    let mut message = message.to_vec();
    for number in segments {
        message.extend(descriptor(number, 5, 5));
    }
    message
}

fn descriptor(number: u8, block_bytes: u32, segment_bytes: u32) -> [u8; DESCRIPTOR_BYTES] {
    let mut room = [0; DESCRIPTOR_BYTES];
    let descriptor = crate::hosted::wire::Descriptor {
        block_bytes,
        segment_bytes,
        tag: *b"BITS-4.0\0\0\0\0\0\0\0\0",
        algorithm: HashAlgorithm::TruncatedSha512,
        segment: [number; 32],
    };
    descriptor.emit(&mut crate::bytes::Writer::new(&mut room)).unwrap();
    room
}

/// 3.1.5.3: the code MUST be 0, and the blocks are asked of the client, on the port that it names. However the
/// message is cut into pieces.
#[test]
fn a_batch_is_taken() {
    for piece in [1, 7, 59, 10_000] {
        let mut cache = Cache::roomy();
        let answer = cache.send_in(CLIENT, Version::V2, vector!("batched-offer-3"), piece);
        assert_eq!(answer, Some(ResponseCode::Ok));
        for len in [61_440, 87_040, 45_056] {
            let wanted = cache.next().unwrap();
            assert_eq!(wanted.client, SocketAddr::new(CLIENT, 8282));
            assert!(
                matches!(wanted.known, Known::Length(HashAlgorithm::TruncatedSha512, said) if said == len)
            );
            assert_eq!(wanted.block.index, 0);
        }
        assert!(cache.next().is_none());
    }
    let mut cache = Cache::roomy();
    assert_eq!(cache.send(CLIENT, Version::V2, vector!("batched-offer-128")), Some(ResponseCode::Ok));
    // They are one segment, again and again.
    assert_eq!((cache.server().counters().offered, cache.offers()), (128, 1));
    assert_eq!(cache.send(OTHER, Version::V2, &batch(80, 0..128)), Some(ResponseCode::Ok));
    assert_eq!(cache.offers(), 129);
}

/// 3.1.5.4: anything else MUST be dropped, and leaves nothing behind (fact 44).
#[test]
fn what_is_no_offer_is_dropped() {
    let mut cache = Cache::roomy();
    let bad: [(Version, &[u8]); 9] = [
        (Version::V2, vector!("batched-offer-neg-129")),
        (Version::V2, vector!("batched-offer-neg-empty")),
        (Version::V2, vector!("batched-offer-neg-notag")),
        (Version::V1, vector!("initial-offer-neg-version")),
        (Version::V1, vector!("initial-offer-neg-type")),
        // 2.1: neither URL takes the other's version.
        (Version::V1, vector!("batched-offer-3")),
        (Version::V2, vector!("initial-offer")),
        (Version::V2, &[]),
        (Version::V2, &vector!("batched-offer-3")[..OPENING_BYTES + DESCRIPTOR_BYTES + 1]),
    ];
    for (dropped, (version, message)) in (1..).zip(bad) {
        assert_eq!(cache.send(CLIENT, version, message), None);
        assert_eq!((cache.offers(), cache.server().counters().dropped), (0, dropped));
        assert!(cache.next().is_none());
    }
    // An id of a length that no digest has.
    let mut short = vector!("initial-offer").to_vec();
    short.pop();
    assert_eq!(cache.send(CLIENT, Version::V1, &short), None);
    let long = [&vector!("initial-offer-48")[..], &[7; 17]].concat();
    assert_eq!(cache.send(CLIENT, Version::V1, &long), None);
}

/// Fact 44: an algorithm that nobody knows is answered, and ends what is read; what came before it counts.
#[test]
fn strange_algorithms_end_a_batch() {
    let mut cache = Cache::roomy();
    assert_eq!(
        cache.send(CLIENT, Version::V2, vector!("batched-offer-neg-hashalgo")),
        Some(ResponseCode::Ok)
    );
    assert!(cache.next().is_none());
    let strange = vector!("batched-offer-neg-hashalgo").get(OPENING_BYTES..).unwrap();
    let message = [&batch(80, 1..2), strange, &descriptor(2, 5, 5)].concat();
    assert_eq!(cache.send(CLIENT, Version::V2, &message), Some(ResponseCode::Ok));
    assert_eq!(cache.next().map(|wanted| wanted.block.segment.as_bytes()[0]), Some(1));
    assert!(cache.next().is_none());
    assert_eq!(cache.server().counters().unusable, 2);
}

/// Fact 44: a segment may have more bytes than a block; who offers more than anybody has is not believed.
#[test]
fn sizes_of_segments() {
    let mut cache = Cache::roomy();
    let message = [&batch(80, 0..0)[..], &descriptor(1, 65_536, 65_537)].concat();
    assert_eq!(cache.send(CLIENT, Version::V2, &message), Some(ResponseCode::Ok));
    for (index, len) in [(0, 65_536), (1, 1)] {
        let wanted = cache.next().unwrap();
        assert_eq!(wanted.block.index, index);
        assert!(matches!(wanted.known, Known::Length(_, said) if said == len));
    }
    assert!(cache.next().is_none());

    for (unusable, (block, segment)) in (1..).zip([
        (0, 5),
        (5, 0),
        (131_073, 131_073),
        (65_536, u32::MAX),
        (65_536, (32 << 20) + 1),
        (1, 513),
    ]) {
        let message = [&batch(80, 0..0)[..], &descriptor(2, block, segment)].concat();
        assert_eq!(cache.send(CLIENT, Version::V2, &message), Some(ResponseCode::Ok));
        assert_eq!(cache.server().counters().unusable, unusable);
        assert!(cache.next().is_none());
    }
}

/// 3.1.5.1, 3.1.5.2: interested, until the block hashes are here; those are asked for with their hashes.
#[test]
fn a_segment_is_described() {
    let mut cache = Cache::roomy();
    let info = vector!("segment-info-128000-fixed");
    // Whatever came before, it is answered by 0 (3.1.5.2).
    assert_eq!(cache.send_in(CLIENT, Version::V1, info, 13), Some(ResponseCode::Ok));
    assert!(cache.next().is_none(), "its hashes were not looked at");
    cache.check();
    let (first, second) = (cache.next().unwrap(), cache.next().unwrap());
    assert!(cache.next().is_none());
    let segment = first.block.segment;
    for (wanted, len) in [(&first, 65_536), (&second, 62_464)] {
        let Known::Hash(expected, _) = &wanted.known else { panic!("without a hash") };
        assert_eq!((expected.len, expected.algorithm), (len, HashAlgorithm::Sha256));
        assert_eq!((wanted.client, wanted.block.segment), (SocketAddr::new(CLIENT, 8282), segment));
    }
    cache.ended(&first, Ended::Here(65_536));
    cache.ended(&second, Ended::NotHeld);
    assert!(cache.next().is_none());
    assert_eq!(cache.server().counters().bytes[Application::Other as usize], 65_536);

    // Now it is known, and what is missing is asked of whoever offers it next.
    let initial = [&vector!("initial-offer")[..OPENING_BYTES], segment.as_bytes()].concat();
    assert_eq!(cache.send(OTHER, Version::V1, &initial), Some(ResponseCode::Ok));
    let again = cache.next().unwrap();
    assert_eq!((again.client, again.block), (SocketAddr::new(OTHER, 8282), first.block));
    // Of another, nothing is known.
    assert_eq!(cache.send(OTHER, Version::V1, vector!("initial-offer")), Some(ResponseCode::Interested));
    assert_eq!(cache.send(OTHER, Version::V1, vector!("initial-offer-48")), Some(ResponseCode::Interested));
}

/// A hosted cache that trusts keeps apart, as it comes, what it could verify; but for what has no name apart.
#[test]
fn what_is_described_is_kept_as_it_comes_where_that_is_wanted() {
    let mut cache = Cache::roomy();
    cache.state.rules.trusts = true;
    assert_eq!(cache.send(CLIENT, Version::V1, vector!("segment-info-128000-fixed")), Some(ResponseCode::Ok));
    cache.check();
    let (first, second) = (cache.next().unwrap(), cache.next().unwrap());
    for (wanted, len) in [(&first, 65_536), (&second, 62_464)] {
        let Known::Length(HashAlgorithm::Sha256, said) = wanted.known else { panic!("it would be verified") };
        assert_eq!(said, len);
    }
    cache.keep(&first);
    cache.ended(&first, Ended::Here(65_536));
    cache.ended(&second, Ended::NotHeld);
    let initial = [&vector!("initial-offer")[..OPENING_BYTES], first.block.segment.as_bytes()].concat();
    assert_eq!(cache.send(OTHER, Version::V1, &initial), Some(ResponseCode::Ok));
    assert_eq!(cache.next().map(|wanted| wanted.block), Some(second.block), "the first is here");
    // Without trust it is asked for again, to be verified.
    cache.state.rules.trusts = false;
    assert_eq!(cache.send(OTHER, Version::V1, &initial), Some(ResponseCode::Ok));
    let again = cache.next().unwrap();
    assert!(again.block == first.block && matches!(again.known, Known::Hash(..)));

    // An id of 64 bytes has no name beside it.
    let info = published_by(HashAlgorithm::Sha512, &[7; 10]);
    let message = [&vector!("segment-info-128000-fixed")[..OPENING_BYTES], &[0; 16], &info].concat();
    let mut cache = Cache::roomy();
    cache.state.rules.trusts = true;
    assert_eq!(cache.send(CLIENT, Version::V1, &message), Some(ResponseCode::Ok));
    cache.check();
    assert!(matches!(cache.next().unwrap().known, Known::Hash(..)));
}

/// Fact 44: content information that cannot be read is answered, and ignored; so is what lies about its hashes.
#[test]
fn bad_descriptions_are_ignored() {
    let mut cache = Cache::roomy();
    let bad: [&[u8]; 6] = [
        vector!("segment-info-neg-version"),
        vector!("segment-info-neg-hashalgo"),
        vector!("segment-info-neg-nosegments"),
        vector!("segment-info-neg-twosegments"),
        &vector!("segment-info-128000-fixed")[..180],
        &[&vector!("segment-info-128000-fixed")[..], &[0; 40_000]].concat(),
    ];
    for (number, message) in (1..).zip(bad) {
        assert_eq!(cache.send(CLIENT, Version::V1, message), Some(ResponseCode::Ok));
        cache.check();
        assert!(cache.next().is_none());
        assert_eq!(cache.server().counters().bad_infos + cache.server().counters().refused, number);
    }
    let mut lie = vector!("segment-info-128000-fixed").to_vec();
    *lie.last_mut().unwrap() ^= 1;
    assert_eq!(cache.send(CLIENT, Version::V1, &lie), Some(ResponseCode::Ok));
    cache.check();
    assert!(cache.next().is_none());
    assert_eq!((cache.server().counters().lies, cache.offers()), (1, 0));
    // Nothing of them is left in the store.
    assert_eq!(cache.send(CLIENT, Version::V1, vector!("segment-info-smbtag")), Some(ResponseCode::Ok));
    cache.check();
    let wanted = cache.next().unwrap();
    cache.ended(&wanted, Ended::Here(10));
    assert_eq!(cache.server().counters().bytes[Application::Smb as usize], 10);
}

/// What is here is not asked for, verified or not.
#[test]
fn what_is_here_is_not_asked_for() {
    let mut cache = Cache::roomy();
    assert_eq!(cache.send(CLIENT, Version::V2, &batch(80, 1..4)), Some(ResponseCode::Ok));
    for _ in 0..3 {
        let wanted = cache.next().unwrap();
        cache.keep(&wanted);
        cache.ended(&wanted, Ended::Here(5));
    }
    assert!(cache.next().is_none());
    assert_eq!(cache.offers(), 0);
    assert_eq!(cache.send(OTHER, Version::V2, &batch(80, 1..5)), Some(ResponseCode::Ok));
    assert_eq!(cache.next().map(|wanted| wanted.block.segment.as_bytes()[0]), Some(4));
    assert!(cache.next().is_none());
    assert_eq!(cache.server().counters().bytes[Application::Bits as usize], 15);
}

/// A client whose port cannot be reached is told of, and all that it offers is given up, but for what another
/// offers as well: that one is asked.
#[test]
fn a_client_that_cannot_be_reached() {
    let mut cache = Cache::roomy();
    assert_eq!(cache.send(CLIENT, Version::V2, &batch(81, 1..4)), Some(ResponseCode::Ok));
    assert_eq!(cache.send(OTHER, Version::V2, &batch(82, 2..3)), Some(ResponseCode::Ok));
    for first in [true, false] {
        let wanted = cache.next().unwrap();
        cache.ended(&wanted, Ended::Unreachable);
        assert_eq!((cache.offers(), cache.state.counters.given_up), if first { (3, 0) } else { (1, 2) });
        cache.now += Duration::from_secs(5);
    }
    assert_eq!(cache.state.poll_unreachable(), Some(SocketAddr::new(CLIENT, 81)));
    assert_eq!(cache.state.poll_unreachable(), None);
    let wanted = cache.next().unwrap();
    assert_eq!((wanted.client, wanted.block.segment.as_bytes()[0]), (SocketAddr::new(OTHER, 82), 2));
    assert!(cache.next().is_none());
    assert_eq!((cache.offers(), cache.server().counters().given_up), (1, 2));
}

/// A client that offers and never serves is given up after a while; one that serves is not.
#[test]
fn offers_are_kept_while_blocks_come() {
    let mut cache = Cache::roomy();
    assert_eq!(cache.send(CLIENT, Version::V2, &batch(80, 1..9)), Some(ResponseCode::Ok));
    assert_eq!(cache.send(OTHER, Version::V2, &batch(80, 11..14)), Some(ResponseCode::Ok));
    let patience = Limits::default().patience;
    for _ in 0..16 {
        let Some(wanted) = cache.next() else { break };
        cache.now += Duration::from_secs(8);
        cache.expire();
        let ended = if wanted.client.ip() == CLIENT { Ended::Here(5) } else { Ended::Again };
        cache.ended(&wanted, ended);
    }
    assert!(cache.server().counters().blocks >= 5, "{:?}", cache.state.counters);
    cache.now += patience;
    cache.expire();
    assert_eq!(cache.offers(), 0);
    assert!(cache.server().counters().given_up >= 3);
}

/// Who was not asked yet has not failed; but nobody waits for ever.
#[test]
fn offers_wait_for_their_turn() {
    let mut cache = Cache::roomy();
    assert_eq!(cache.send(CLIENT, Version::V2, &batch(80, 1..2)), Some(ResponseCode::Ok));
    cache.now += Limits::default().patience;
    cache.expire();
    let wanted = cache.next().unwrap();
    cache.ended(&wanted, Ended::Again);
    cache.now += Limits::default().patience;
    cache.expire();
    assert_eq!(cache.offers(), 0);
    assert_eq!(cache.send(CLIENT, Version::V2, &batch(80, 1..2)), Some(ResponseCode::Ok));
    let late = poll_timeout(&cache.offers, &cache.messages, &cache.state.limits, cache.now).unwrap();
    assert!(late > cache.now + Limits::default().patience);
    cache.now = late;
    cache.expire();
    assert_eq!(cache.offers(), 0);
}

/// What could not be got is asked for again, but not at once.
#[test]
fn a_pause_before_it_is_asked_for_again() {
    let mut cache = Cache::roomy();
    assert_eq!(cache.send(CLIENT, Version::V2, &batch(80, 1..2)), Some(ResponseCode::Ok));
    let wanted = cache.next().unwrap();
    cache.ended(&wanted, Ended::Again);
    assert!(cache.next().is_none());
    let next = poll_timeout(&cache.offers, &cache.messages, &cache.state.limits, cache.now).unwrap();
    assert!(next > cache.now && next < cache.now + Limits::default().patience);
    cache.now = next;
    assert_eq!(cache.next().map(|wanted| wanted.block), Some(wanted.block));
}

/// A block that is not what was offered ends its segment, but not the client's others.
#[test]
fn what_is_not_as_offered() {
    let mut cache = Cache::roomy();
    assert_eq!(cache.send(CLIENT, Version::V2, &batch(80, 1..3)), Some(ResponseCode::Ok));
    let wanted = cache.next().unwrap();
    cache.ended(&wanted, Ended::Bad);
    let other = cache.next().unwrap();
    assert_ne!(other.block, wanted.block);
    assert!(cache.next().is_none());
    assert_eq!((cache.server().counters().lies, cache.offers()), (1, 1));
    cache.ended(&other, Ended::Full);
    assert_eq!((cache.server().counters().refused, cache.offers()), (1, 0));
}

/// Fact 47: one client has its share of the table, and of the work, and others theirs.
#[test]
fn a_client_has_its_share() {
    let limits = Limits { segments: 3, bytes: 1_000, blocks: 2, ..Limits::default() };
    let mut cache = Cache::new(5, limits);
    assert_eq!(cache.send(CLIENT, Version::V2, &batch(80, 0..100)), Some(ResponseCode::Ok));
    assert_eq!((cache.offers(), cache.server().counters().refused), (3, 97));
    let large = [&batch(80, 0..0)[..], &descriptor(200, 1_001, 1_001), &descriptor(201, 9, 9)].concat();
    assert_eq!(cache.send(OTHER, Version::V2, &large), Some(ResponseCode::Ok));
    assert_eq!((cache.offers(), cache.server().counters().refused), (4, 98));
    // Two are asked of the first; the turn is the other's.
    let wanted = cache.next_beside(&|client| if client.ip() == CLIENT { 2 } else { 0 }).unwrap();
    assert_eq!(wanted.client.ip(), OTHER);
    assert!(cache.next_beside(&|_| 2).is_none());
}

/// In turn, so that a client with many segments does not keep back one with few.
#[test]
fn offers_take_turns() {
    let mut cache = Cache::roomy();
    let many = [&batch(80, 0..0)[..], &descriptor(1, 10, 5_000)].concat();
    assert_eq!(cache.send(CLIENT, Version::V2, &many), Some(ResponseCode::Ok));
    assert_eq!(cache.send(OTHER, Version::V2, &batch(80, 2..3)), Some(ResponseCode::Ok));
    let (a, b) = (cache.next().unwrap(), cache.next().unwrap());
    assert_ne!(a.client, b.client);
}

/// Content information has few places in the store: one client has some of them, arriving or whole.
#[test]
fn a_client_has_its_share_of_descriptions() {
    let mut cache = Cache::new(8, Limits { infos: 2, ..Limits::default() });
    cache.messages.extend([Message::FREE, Message::FREE]);
    let info = vector!("segment-info-128000-fixed");
    assert_eq!(cache.send(CLIENT, Version::V1, info), Some(ResponseCode::Ok));
    let arriving = cache.begin(CLIENT, Version::V1).unwrap();
    cache.take(arriving, &info[..100]);
    // 3.1.5.2: it is answered by 0 all the same.
    assert_eq!(cache.send(CLIENT, Version::V1, info), Some(ResponseCode::Ok));
    assert_eq!((cache.server().counters().refused, cache.offers()), (1, 1));
    assert_eq!(cache.send(OTHER, Version::V1, vector!("segment-info-smbtag")), Some(ResponseCode::Ok));
    cache.take(arriving, &info[100..]);
    assert_eq!(cache.finish(arriving), Some(ResponseCode::Ok));
    cache.check();
    assert_eq!((cache.server().counters().refused, cache.offers()), (1, 1), "they are one segment");
    while let Some(wanted) = cache.next() {
        cache.ended(&wanted, Ended::Here(5));
    }
    // What is only kept is nobody's share.
    let others: [&[u8]; 2] = [info, vector!("segment-info-smbtag")];
    for info in others {
        assert_eq!(cache.send(CLIENT, Version::V1, info), Some(ResponseCode::Ok));
    }
    assert_eq!(cache.server().counters().refused, 1);
}

/// The turn is a client's and not a segment's: of two clients each has half of what is asked, whatever they offer.
#[test]
fn turns_are_those_of_clients() {
    let mut cache = Cache::roomy();
    assert_eq!(cache.send(CLIENT, Version::V2, &batch(80, 0..100)), Some(ResponseCode::Ok));
    assert_eq!(cache.send(OTHER, Version::V2, &batch(80, 100..103)), Some(ResponseCode::Ok));
    let asked: Vec<IpAddr> = (0..8).map(|_| cache.next().unwrap().client.ip()).collect();
    for pair in asked[..6].chunks(2) {
        assert_ne!(pair[0], pair[1]);
    }
    assert_eq!(asked[6..], [CLIENT; 2], "the other has no more");
}

/// Content information that was of use is forgotten for what comes, and never while it is in use.
#[test]
fn what_is_kept_gives_way() {
    let mut cache = Cache::new(2, Limits::default());
    assert_eq!(cache.send(CLIENT, Version::V1, vector!("segment-info-128000-fixed")), Some(ResponseCode::Ok));
    cache.check();
    let (first, second) = (cache.next().unwrap(), cache.next().unwrap());
    let segment = first.block.segment;
    cache.ended(&first, Ended::Here(1));
    assert!(cache.next().is_none());
    assert_eq!(cache.send(CLIENT, Version::V2, &batch(80, 1..4)), Some(ResponseCode::Ok));
    assert_eq!(
        (cache.offers(), cache.server().counters().refused),
        (2, 2),
        "a block of the first is awaited"
    );
    cache.ended(&second, Ended::Here(1));
    assert!(cache.next().is_some());
    assert_eq!(cache.send(CLIENT, Version::V2, &batch(80, 4..5)), Some(ResponseCode::Ok));
    assert_eq!((cache.offers(), cache.server().counters().refused), (2, 2));
    let initial = [&vector!("initial-offer")[..OPENING_BYTES], segment.as_bytes()].concat();
    assert_eq!(cache.send(OTHER, Version::V1, &initial), Some(ResponseCode::Interested));
}

/// As many messages arrive as there are rows; one of which nothing more comes gives its row, and what it offered.
#[test]
fn messages_that_stop() {
    let mut cache = Cache::roomy();
    let message = batch(80, 1..3);
    let [a, b] = [(); 2].map(|()| cache.begin(CLIENT, Version::V2).unwrap());
    cache.take(a, &message[..OPENING_BYTES + DESCRIPTOR_BYTES]);
    cache.take(b, &message[..3]);
    assert_eq!(cache.begin(OTHER, Version::V2), None);
    assert!(cache.next().is_none(), "it is not whole");
    cache.now += crate::limits::REQUEST_TIMEOUT;
    let c = cache.begin(OTHER, Version::V2).unwrap();
    assert_eq!(cache.offers(), 0, "of the one that gave way");
    assert_eq!(cache.server().counters().abandoned, 1);
    // What still comes of that one is nobody's.
    cache.take(a, &message[OPENING_BYTES + DESCRIPTOR_BYTES..]);
    assert_eq!(cache.finish(a), None);
    cache.take(c, &message);
    assert_eq!(cache.finish(c), Some(ResponseCode::Ok));
    assert_eq!(cache.offers(), 2);
    cache.now += crate::limits::UPLOAD_TIMEOUT;
    cache.expire();
    assert!(cache.messages.iter().all(Message::is_free));
    assert_eq!(cache.server().counters().abandoned, 2);
}

/// What a message offers counts once it is whole: until then it neither keeps back who offers the same, nor has it a
/// say in what others offer.
#[test]
fn messages_that_end_badly_take_nothing_along() {
    let mut cache = Cache::roomy();
    let message = batch(80, 1..3);
    let bad = cache.begin(CLIENT, Version::V2).unwrap();
    cache.take(bad, &message);
    assert_eq!(cache.send(OTHER, Version::V2, &message), Some(ResponseCode::Ok));
    cache.take(bad, &[0]);
    assert_eq!(cache.finish(bad), None);
    let wanted = [(); 2].map(|()| cache.next().unwrap());
    assert!(wanted.iter().all(|wanted| wanted.client.ip() == OTHER));

    let bad = cache.begin(CLIENT, Version::V2).unwrap();
    cache.take(bad, &message);
    cache.ended(&wanted[0], Ended::Bad);
    assert!(cache.next().is_none(), "it is not whole");
    cache.take(bad, &[0]);
    assert_eq!(cache.finish(bad), None);
    cache.ended(&wanted[1], Ended::Bad);
    assert_eq!((cache.next().is_none(), cache.offers()), (true, 0));
}

/// Two messages at once that offer the same: who is whole first is asked first, and the other one then.
#[test]
fn two_messages_that_offer_the_same() {
    let mut cache = Cache::roomy();
    let message = batch(80, 1..3);
    let [first, second] = [CLIENT, OTHER].map(|client| cache.begin(client, Version::V2).unwrap());
    [first, second].into_iter().for_each(|key| cache.take(key, &message));
    assert_eq!(cache.finish(second), Some(ResponseCode::Ok));
    assert_eq!(cache.finish(first), Some(ResponseCode::Ok));
    assert_eq!(cache.offers(), 2);
    let wanted = [(); 2].map(|()| cache.next().unwrap());
    assert!(wanted.iter().all(|wanted| wanted.client.ip() == OTHER));
    cache.ended(&wanted[0], Ended::Bad);
    let rest = cache.next().unwrap();
    assert_eq!((rest.client.ip(), rest.block), (CLIENT, wanted[0].block));
}

/// The same segment of two clients is one row; who described it first is asked first.
#[test]
fn descriptions_of_one_segment_are_one() {
    let mut cache = Cache::roomy();
    for client in [CLIENT, OTHER] {
        assert_eq!(
            cache.send(client, Version::V1, vector!("segment-info-128000-fixed")),
            Some(ResponseCode::Ok)
        );
    }
    cache.check();
    assert_eq!(cache.offers(), 1);
    let wanted = cache.next().unwrap();
    assert_eq!(wanted.client.ip(), CLIENT);
    // Who refuses is no liar.
    cache.ended(&wanted, Ended::Refused);
    let wanted = cache.next().unwrap();
    assert_eq!((wanted.client.ip(), wanted.block.index), (OTHER, 0));
    assert_eq!((cache.server().counters().lies, cache.server().counters().given_up), (0, 0));
}

/// Blocks of the one who was asked before are late: who is asked now is not to blame for them.
#[test]
fn outcomes_are_those_of_whoever_was_asked() {
    let mut cache = Cache::roomy();
    for client in [CLIENT, OTHER] {
        assert_eq!(cache.send(client, Version::V2, &batch(80, 1..5)), Some(ResponseCode::Ok));
    }
    for _ in 0..2 {
        assert_eq!(cache.state.poll_unreachable(), None);
        let asked: Vec<Wanted> = (0..4).map(|_| cache.next().unwrap()).collect();
        for wanted in &asked {
            assert_eq!(wanted.client.ip(), CLIENT);
            cache.ended(wanted, Ended::Unreachable);
        }
        cache.now += Duration::from_secs(5);
    }
    assert_eq!(cache.state.poll_unreachable(), Some(SocketAddr::new(CLIENT, 80)));
    assert_eq!(cache.server().counters().given_up, 0);
    let again: Vec<Wanted> = (0..4).map(|_| cache.next().unwrap()).collect();
    assert!(again.iter().all(|wanted| wanted.client.ip() == OTHER));
    cache.ended(&again[0], Ended::Here(5));
    assert_eq!(cache.state.poll_unreachable(), None);
}

/// 3.1.5.3: what one client does not have is asked of the other who offers the segment, and what one did not have is
/// asked of it again when it offers again.
#[test]
fn who_else_offers_it_is_asked_for_the_rest() {
    let mut cache = Cache::roomy();
    let parts = [&batch(80, 0..0)[..], &descriptor(1, 10, 20)].concat();
    for client in [CLIENT, OTHER] {
        assert_eq!(cache.send(client, Version::V2, &parts), Some(ResponseCode::Ok));
    }
    let (first, second) = (cache.next().unwrap(), cache.next().unwrap());
    cache.keep(&first);
    cache.ended(&first, Ended::Here(10));
    cache.ended(&second, Ended::NotHeld);
    let rest = cache.next().unwrap();
    assert_eq!((rest.client.ip(), rest.block), (OTHER, second.block));
    assert_eq!(cache.send(OTHER, Version::V2, &parts), Some(ResponseCode::Ok));
    cache.ended(&rest, Ended::NotHeld);
    assert_eq!(cache.next().map(|wanted| (wanted.client.ip(), wanted.block)), Some((OTHER, second.block)));
}

/// Who says something else of a segment has no say in what another one offers.
#[test]
fn sizes_are_not_those_of_whoever_was_first() {
    let mut cache = Cache::roomy();
    let said = |bytes| [&batch(80, 0..0)[..], &descriptor(1, bytes, bytes)].concat();
    assert_eq!(cache.send(CLIENT, Version::V2, &said(4)), Some(ResponseCode::Ok));
    assert_eq!(cache.send(OTHER, Version::V2, &said(5)), Some(ResponseCode::Ok));
    let wrong = cache.next().unwrap();
    cache.ended(&wrong, Ended::Bad);
    let right = cache.next().unwrap();
    assert!(matches!(right.known, Known::Length(_, 5)));
    assert_eq!(right.client.ip(), OTHER);
}

/// Content information that is only kept gives way for what comes, byte by byte too.
#[test]
fn descriptions_that_are_kept_give_way() {
    let mut cache = Cache::roomy();
    cache.store = RamStore::new(std::vec![Page::EMPTY; 4], std::vec![Entry::EMPTY; 4], std::vec![0; 200]);
    for _ in 0..2 {
        let info = vector!("segment-info-128000-fixed");
        assert_eq!(cache.send_in(CLIENT, Version::V1, info, 13), Some(ResponseCode::Ok));
        cache.check();
        // The second time, it is known, or was forgotten for itself.
        while let Some(wanted) = cache.next() {
            cache.ended(&wanted, Ended::NotHeld);
        }
    }
    assert_eq!((cache.server().counters().refused, cache.offers()), (0, 1));
}
