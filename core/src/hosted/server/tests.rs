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
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/pchc-", $name, ".bin"))
    };
}

mod bad_input;
mod shares;

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

    /// Another client has what it wants, whatever came before.
    fn assert_open(&mut self) {
        let segment = [99; 32];
        let message = batch(82, 99..100);
        assert_eq!(self.send(OTHER, Version::V2, &message), Some(ResponseCode::Ok));
        let asked = core::iter::from_fn(|| self.next()).find(|wanted| wanted.client.ip() == OTHER).unwrap();
        assert_eq!(asked.block.segment.as_bytes(), segment);
        self.keep(&asked);
        self.ended(&asked, Ended::Here(5));
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
