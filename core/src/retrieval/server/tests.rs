extern crate std;

use super::*;
use crate::crypto::{CipherAlgorithm, HashAlgorithm, Seal, Secret, SoftCrypto, hash};
use crate::limits::MAX_REQUEST_BYTES;
use crate::retrieval::client::{self, Step};
use crate::retrieval::set::SET_INDICES;
use crate::retrieval::wire::{self, GetBlockList, GetSegmentList, Range};
use crate::store::ram::{Entry, Page, RamStore};
use crate::store::verify::{Expected, Intake, keep_as_received};
use crate::time::Instant;

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/vectors/", $name))
    };
}

fn segment() -> SegmentId {
    SegmentId::from_slice(&core::array::from_fn::<u8, 32, _>(|i| i as u8)).unwrap()
}

fn store_with(indices: &[u32]) -> RamStore<[Page; 4], [Entry; 4], [u8; 0]> {
    let mut store = RamStore::new([const { Page::EMPTY }; 4], [const { Entry::EMPTY }; 4], []);
    let kp = Secret::from_slice(&core::array::from_fn::<u8, 32, _>(|i| 0xa0 + i as u8)).unwrap();
    let iv = core::array::from_fn(|i| i as u8);
    let plain: [u8; 15] = core::array::from_fn(|i| (i * 7 + 3) as u8);
    let algorithm = HashAlgorithm::Sha256;
    let expected = Expected { algorithm, hash: hash(&mut SoftCrypto, algorithm, &plain), len: 15 };
    for &index in indices {
        let slot = store.reserve(&BlockId { segment: segment(), index }, 16).unwrap();
        let seal = Seal { algorithm: CipherAlgorithm::Aes128, iv };
        let mut intake = Intake::new(&mut SoftCrypto, slot, seal, expected);
        intake.update(&mut store, &mut SoftCrypto, &kp, &plain).unwrap();
    }
    store
}

/// Reads `request` in pieces of every kind and answers it.
fn answer_as(role: Role, request: &[u8], store: &dyn Store, busy: bool) -> Option<Exchange> {
    let mut exchange = Exchange::new(role);
    let (first, rest) = request.split_at(request.len() / 3);
    first.chunks(1).chain(rest.chunks(7)).for_each(|piece| exchange.handle(Instant::ZERO, store, piece));
    exchange.finish(store, busy).then_some(exchange)
}

fn answer(request: &[u8], store: &dyn Store, busy: bool) -> Option<Exchange> {
    answer_as(Role::Peer, request, store, busy)
}

fn ask(index: u32) -> [u8; 68] {
    let mut bytes = *vector!("pccrr-getblks-0.bin");
    bytes[56..60].copy_from_slice(&index.to_be_bytes());
    bytes
}

fn read_all(answer: Option<Exchange>, store: &mut dyn Store, chunk: usize) -> heapless::Vec<u8, 256> {
    let mut reply = answer.unwrap();
    let (mut all, total) = (heapless::Vec::new(), reply.len());
    while !reply.is_empty() {
        let mut buf = [0; 256];
        let len = reply.read(store, &mut buf[..chunk]).unwrap();
        all.extend_from_slice(&buf[..len]).unwrap();
    }
    assert_eq!(all.len(), total as usize);
    all
}

/// 3.2.5.3, against the bytes of another implementation.
#[test]
fn a_stored_block_is_served_as_it_is() {
    let mut store = store_with(&[5, 6]);
    for chunk in 1..=108 {
        let reply = read_all(answer(&ask(5), &store, false), &mut store, chunk);
        assert_eq!(reply[..], vector!("pccrr-blk-aes128-15.bin")[..]);
    }
}

/// 3.2.5.3: NextBlockIndex MUST be calculated.
#[test]
fn next_block_index_is_the_next_one_held() {
    let mut store = store_with(&[2, 9, 7]);
    for (index, next) in [(2u32, 7u32), (7, 9), (9, 0)] {
        let reply = read_all(answer(&ask(index), &store, false), &mut store, 256);
        assert_eq!(reply[60..64], next.to_be_bytes());
    }
}

/// 3.2.5.3: calculated for a missing block as well, but not at the limit of active clients.
#[test]
fn next_block_index_of_what_is_missing() {
    let mut store = store_with(&[9]);
    for (index, busy, next) in [(2u32, false, 9u32), (10, false, 0), (2, true, 0)] {
        let reply = read_all(answer(&ask(index), &store, busy), &mut store, 256);
        assert_eq!((&reply[60..64], &reply[64..68]), (&next.to_be_bytes()[..], &[0; 4][..]), "{index}");
    }
    // Fact 39: a request for nothing, under the index that it names.
    let mut nothing = ask(4);
    nothing[63] = 0;
    let reply = read_all(answer(&nothing, &store, false), &mut store, 256);
    assert_eq!(reply[56..68], [0, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0, 0]);
}

/// 3.2.5.3: for a missing block, and at the limit of active clients, the reply MUST be empty, under
/// the segment id and the index of the request.
#[test]
fn missing_blocks_and_full_house_are_empty_replies() {
    let mut store = store_with(&[5]);
    let zero = *vector!("pccrr-getblks-count0.bin");
    for (request, busy) in [(ask(4), false), (ask(5), true), (zero, false)] {
        let reply = read_all(answer(&request, &store, busy), &mut store, 256);
        let index = u32::from_be_bytes(request[56..60].try_into().unwrap());
        let mut exchange = client::Exchange::new(BlockId { segment: segment(), index }, 15);
        let mut rest = &reply[..];
        let mut last = Step::More;
        while !rest.is_empty() {
            let (used, step) = exchange.handle(rest);
            (rest, last) = (&rest[used..], step.unwrap());
        }
        assert_eq!(last, Step::Missing);
    }
}

/// 3.2.5.1, and 3.2.5.5: malformed messages MUST be discarded.
#[test]
fn negotiation_and_nonsense() {
    let mut store = store_with(&[]);
    let reply = read_all(answer(vector!("pccrr-nego-req-1.0-2.0.bin"), &store, false), &mut store, 5);
    assert_eq!(reply[..], vector!("pccrr-nego-resp-1.0-2.0.bin")[..]);
    for nonsense in [&[][..], &[0; 16], vector!("pccrr-getblks-neg-count10.bin")] {
        assert!(answer(nonsense, &store, false).is_none());
    }
}

/// A request as long as may be, of which most means nothing.
#[test]
fn requests_of_any_length() {
    let mut store = store_with(&[5, 6]);
    let mut bytes = ask(5);
    let vrf = MAX_REQUEST_BYTES - 68;
    bytes[8..12].copy_from_slice(&MAX_REQUEST_BYTES.to_be_bytes());
    bytes[64..68].copy_from_slice(&vrf.to_be_bytes());
    let read = |len: u32| {
        let mut exchange = Exchange::new(Role::Peer);
        exchange.handle(Instant::ZERO, &store, &bytes);
        (0..len).for_each(|_| exchange.handle(Instant::ZERO, &store, &[7]));
        exchange.finish(&store, false).then_some(exchange)
    };
    let (short, whole, long) = (read(vrf - 1), read(vrf), read(vrf + 1));
    assert!(short.is_none() && long.is_none());
    assert_eq!(read_all(whole, &mut store, 99)[..], vector!("pccrr-blk-aes128-15.bin")[..]);
}

/// MsgSize may not count more than the fields have.
#[test]
fn bytes_behind_the_last_field_are_malformed() {
    let store = store_with(&[5]);
    for request in
        [&ask(5)[..], vector!("pccrr-getblklist-crypto1.bin"), vector!("pccrr-nego-req-1.0-2.0.bin")]
    {
        let mut longer = heapless::Vec::<u8, 80>::from_slice(request).unwrap();
        longer.extend_from_slice(&[0; 4]).unwrap();
        longer[11] += 4;
        assert!(answer(request, &store, false).is_some());
        assert!(answer(&longer, &store, false).is_none());
    }
}

fn ask_list(ranges: &[(u32, u32)]) -> heapless::Vec<u8, 256> {
    let mut buf = [0; 256];
    let mut writer = Writer::new(&mut buf);
    let ranges = ranges.iter().map(|&(index, count)| Range { index, count });
    GetBlockList::emit_for(segment().as_bytes(), PREFERRED, ranges, &mut writer).unwrap();
    heapless::Vec::from_slice(writer.finish()).unwrap()
}

/// What a BLKLIST says: ranges, NextBlockIndex.
fn list(answer: Option<Exchange>, store: &mut dyn Store) -> (heapless::Vec<(u32, u32), 8>, u32) {
    let reply = read_all(answer, store, 3);
    let Ok(wire::Reply::BlockList(list)) = wire::Reply::parse(&reply) else { panic!("{reply:?}") };
    assert_eq!(list.segment, segment().as_bytes());
    (list.ranges.iter().map(|range| (range.index, range.count)).collect(), list.next)
}

/// 3.2.5.2: the intersection of what is needed and what is held; Windows has it in order and in as
/// few ranges as possible.
#[test]
fn a_list_is_the_intersection() {
    let mut store = store_with(&[3, 4, 9, 511]);
    for (asked, listed, next) in [
        (&[(0, 512)][..], &[(3, 2), (9, 1), (511, 1)][..], 0),
        (&[(8, 2), (4, 1)], &[(4, 1), (9, 1)], 511),
        (&[(0, 4)], &[(3, 1)], 4),
        (&[(0, 3)], &[], 3),
        (&[(5, 4), (5, 4), (6, 0)], &[], 9),
        (&[(9, u32::MAX)], &[(9, 1), (511, 1)], 0),
        (&[(512, 9)], &[], 0),
    ] {
        let got = list(answer(&ask_list(asked), &store, false), &mut store);
        assert_eq!((&got.0[..], got.1), (listed, next), "{asked:?}");
    }
    let mut first = store_with(&[0]);
    assert_eq!(list(answer(&ask_list(&[(0, 1)]), &first, false), &mut first).0[..], [(0, 1)]);
}

/// Fact 39, and 3.2.5.2: an empty list, not a drop.
#[test]
fn lists_of_nothing() {
    let mut store = store_with(&[3]);
    let nothing = vector!("pccrr-getblklist-0ranges.bin");
    for (request, busy) in
        [(&nothing[..], false), (&ask_list(&[(3, 0)]), false), (&ask_list(&[(3, 1)]), true)]
    {
        let reply = read_all(answer(request, &store, busy), &mut store, 256);
        assert_eq!(reply[..], vector!("pccrr-blklist-empty.bin")[..]);
    }
    // An id of no digest's length is nobody's segment.
    let odd = vector!("pccrr-getblklist-id33pad3.bin");
    let reply = read_all(answer(odd, &store, false), &mut store, 256);
    let Ok(wire::Reply::BlockList(list)) = wire::Reply::parse(&reply) else { panic!() };
    assert!(list.ranges.is_empty() && list.segment.len() == 33);
    assert!(answer(vector!("pccrr-getblklist-neg-count10.bin"), &store, false).is_none());
}

#[test]
fn the_longest_list_comes_in_pieces() {
    let mut store = Aged(std::vec![(segment(), None)]);
    let mut reply = answer(&ask_list(&[(0, SET_INDICES)]), &store, false).unwrap();
    assert_eq!(reply.len(), 64 + 256 * 8);
    let mut all = heapless::Vec::<u8, 2_200>::new();
    while !reply.is_empty() {
        let mut buf = [0; 13];
        let len = reply.read(&mut store, &mut buf).unwrap();
        all.extend_from_slice(&buf[..len]).unwrap();
    }
    let Ok(wire::Reply::BlockList(list)) = wire::Reply::parse(&all) else { panic!() };
    assert!(list.ranges.iter().eq((0..SET_INDICES).step_by(2).map(|index| Range { index, count: 1 })));
}

/// 3.2.5.4 for a hosted cache; a peer is not asked for segments.
#[test]
fn segments_are_for_a_hosted_cache() {
    let mut store = store_with(&[5]);
    let request = vector!("pccrr-getseglist-3.bin");
    for (busy, ranges) in [(false, &[(0, 1)][..]), (true, &[])] {
        let reply = read_all(answer_as(Role::HostedCache, request, &store, busy), &mut store, 5);
        let Ok(wire::Reply::SegmentList(list)) = wire::Reply::parse(&reply) else { panic!() };
        assert!(list.answers(request[16..32].try_into().unwrap(), 3));
        assert!(list.ranges.iter().map(|range| (range.index, range.count)).eq(ranges.iter().copied()));
    }
    assert!(answer(request, &store, false).is_none());
    for nonsense in
        [&vector!("pccrr-getseglist-0.bin")[..], vector!("pccrr-getseglist-neg-count2.bin"), &request[..147]]
    {
        assert!(answer_as(Role::HostedCache, nonsense, &store, false).is_none());
    }
}

/// Fact 47: what a hosted cache cannot verify it hands out as it came, and lists; a peer has no such thing.
#[test]
fn what_cannot_be_verified_is_a_hosted_caches() {
    let mut store = store_with(&[6]);
    let apart = segment().unverifiable().unwrap();
    for (segment, index) in [(apart, 5), (apart, 7), (apart, 6)] {
        let block = BlockId { segment, index };
        let Ok(slot) = store.reserve(&block, 16) else { continue };
        store.write(slot, 0, &[index as u8; 16]).unwrap();
        let seal = Seal { algorithm: CipherAlgorithm::Aes128, iv: [3; 16] };
        keep_as_received(&mut store, &block, slot, seal, 16, 15).unwrap();
    }
    let block = |role, index, store: &mut dyn Store| {
        let reply = read_all(answer_as(role, &ask(index), store, false), store, 64);
        let Ok(wire::Reply::Block(block)) = wire::Reply::parse(&reply) else { panic!() };
        (block.block.first().copied(), block.around.iv.first().copied(), block.around.next)
    };
    assert_eq!(block(Role::HostedCache, 5, &mut store), (Some(5), Some(3), 6));
    assert_eq!(block(Role::HostedCache, 7, &mut store), (Some(7), Some(3), 0));
    // What is verified comes first.
    let (_, iv, next) = block(Role::HostedCache, 6, &mut store);
    assert_eq!((iv, next), (Some(0), 7));
    for index in [5, 7] {
        assert_eq!(block(Role::Peer, index, &mut store).0, None);
    }
    for (role, listed) in [(Role::HostedCache, &[(5, 3)][..]), (Role::Peer, &[(6, 1)])] {
        let reply = read_all(answer_as(role, &ask_list(&[(0, 9)]), &store, false), &mut store, 64);
        let Ok(wire::Reply::BlockList(list)) = wire::Reply::parse(&reply) else { panic!() };
        assert!(list.ranges.iter().map(|range| (range.index, range.count)).eq(listed.iter().copied()));
    }
    // Nobody can ask for it by the name that it has in the store.
    let mut buf = [0; 128];
    let mut writer = Writer::new(&mut buf);
    wire::GetBlocks::emit_one(apart.as_bytes(), 5, &mut writer).unwrap();
    let by_name = writer.finish();
    for role in [Role::HostedCache, Role::Peer] {
        let reply = read_all(answer_as(role, by_name, &store, false), &mut store, 64);
        let Ok(wire::Reply::Block(block)) = wire::Reply::parse(&reply) else { panic!() };
        assert!(block.block.is_empty());
    }
}

/// A segment that is asked for twice is there twice, with an odd one between and a blob behind.
#[test]
fn segments_keep_their_numbers() {
    let mut store = store_with(&[5]);
    let (odd, here) = ([9; 33], segment());
    let ids = [&odd[..], here.as_bytes(), &odd[..7], here.as_bytes(), here.as_bytes()];
    let mut buf = [0; 512];
    let mut writer = Writer::new(&mut buf);
    GetSegmentList::emit_for(&[7; 16], PREFERRED, ids.into_iter(), &[0; 5], &mut writer).unwrap();
    let request = writer.finish();
    let reply = read_all(answer_as(Role::HostedCache, request, &store, false), &mut store, 5);
    let Ok(wire::Reply::SegmentList(list)) = wire::Reply::parse(&reply) else { panic!() };
    assert!(list.answers(&[7; 16], 5));
    assert!(list.ranges.iter().map(|range| (range.index, range.count)).eq([(1, 1), (3, 2)]));
    // Fact 42: ages count from the first range.
    assert_eq!(list.blob, [0, 1, 3, 3, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
    assert!(list.ages().map(|(number, _)| number).eq([1, 3, 4]));
}

/// A store of segments, with the age of each in milliseconds, and every second block of them.
struct Aged(std::vec::Vec<(SegmentId, Option<u64>)>);

impl Store for Aged {
    fn reserve(&mut self, _: &BlockId, _: u32) -> Result<crate::store::SlotId, crate::store::ReserveError> {
        Err(crate::store::ReserveError::Full)
    }
    fn write(&mut self, _: crate::store::SlotId, _: u32, _: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::Stale)
    }
    fn read(&mut self, _: crate::store::SlotId, _: u32, _: &mut [u8]) -> Result<(), StoreError> {
        Err(StoreError::Stale)
    }
    fn commit(&mut self, _: crate::store::verify::Verified) -> Result<(), StoreError> {
        Err(StoreError::Stale)
    }
    fn release(&mut self, _: crate::store::SlotId) {}
    fn pin(&mut self, _: crate::store::SlotId) {}
    fn unpin(&mut self, _: crate::store::SlotId) {}
    fn find(&self, block: &BlockId) -> Option<Stored> {
        let slot = crate::store::SlotId { index: 0, generation: 0 };
        let seal = Seal { algorithm: CipherAlgorithm::Aes128, iv: [0; 16] };
        let is_here = self.blocks(&block.segment) > 0 && block.index.is_multiple_of(2);
        is_here.then_some(Stored { slot, seal, len: 16, plain_len: 15 })
    }
    fn blocks(&self, segment: &SegmentId) -> u32 {
        self.0.iter().filter(|(id, _)| id == segment).count() as u32
    }
    fn next_block(&self, _: &SegmentId, _: u32) -> Option<u32> {
        None
    }
    fn age(&self, segment: &SegmentId, _: Instant) -> Option<Duration> {
        self.0.iter().find(|(id, _)| id == segment).and_then(|(_, age)| age.map(Duration::from_millis))
    }
}

fn numbered(number: u16) -> SegmentId {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&number.to_be_bytes());
    SegmentId::from_slice(&id).unwrap()
}

/// What a hosted cache with those segments answers if it is asked for `asked` of them.
fn aged(held: &[(u16, Option<u64>)], asked: u16) -> std::vec::Vec<u8> {
    let mut store = Aged(held.iter().map(|&(number, age)| (numbered(number), age)).collect());
    let ids: std::vec::Vec<_> = (0..asked).map(numbered).collect();
    let mut buf = std::vec![0; 20_000];
    let mut writer = Writer::new(&mut buf);
    GetSegmentList::emit_for(&[7; 16], PREFERRED, ids.iter().map(SegmentId::as_bytes), &[], &mut writer)
        .unwrap();
    let mut reply = answer_as(Role::HostedCache, writer.finish(), &store, false).unwrap();
    let mut bytes = std::vec![0; reply.len() as usize];
    bytes.chunks_mut(37).for_each(|room| assert_eq!(reply.read(&mut store, room), Ok(room.len())));
    assert!(reply.is_empty());
    bytes
}

fn segments_of(reply: &[u8]) -> wire::SegmentList<'_> {
    let Ok(wire::Reply::SegmentList(list)) = wire::Reply::parse(reply) else { panic!() };
    list
}

/// 2.2.6.1, fact 42: unit 3, or 1 for all if one age is too much; what is not known is left out, and
/// without a single age there is no blob.
#[test]
fn ages_of_segments() {
    let reply = aged(&[(2, Some(1_239)), (3, None), (4, Some(0))], 9);
    assert_eq!(segments_of(&reply).blob, [0, 1, 3, 2, 0, 123, 0, 0, 2, 0, 0, 0]);
    let reply = aged(&[(2, Some(1_239)), (3, None), (4, Some(167_772_160))], 9);
    assert_eq!(segments_of(&reply).blob, [0, 1, 1, 2, 0, 1, 0, 0, 2, 0x5c, 0x8f, 2]);
    let reply = aged(&[(2, None), (3, None)], 9);
    assert_eq!((segments_of(&reply).blob, segments_of(&reply).ranges.len()), (&[][..], 1));
    // Older than 49 days is as old as that.
    let reply = aged(&[(0, Some(u64::MAX / 1_000))], 1);
    assert_eq!(segments_of(&reply).blob, [0, 1, 1, 1, 0, 0x37, 0x89, 0x41]);
}

/// Fact 42: no age past number 255; and no more of them than there is room for.
#[test]
fn ages_of_many_segments() {
    let reply = aged(&[(9, Some(50)), (264, Some(60)), (265, Some(70))], 300);
    assert_eq!(segments_of(&reply).blob, [0, 1, 3, 2, 0, 5, 0, 0, 255, 6, 0, 0]);
    assert_eq!(segments_of(&reply).ranges.len(), 2, "the last two are neighbours");
    let held: std::vec::Vec<_> = (0..512).map(|number| (number, Some(10 * u64::from(number)))).collect();
    let reply = aged(&held, 512);
    let list = segments_of(&reply);
    assert!(list.ranges.iter().eq([Range { index: 0, count: 512 }]));
    let ages = (0..LISTED_AGES as u32).map(|number| (number, Duration::from_millis(10 * u64::from(number))));
    assert!(list.ages().eq(ages));
}

/// 3.2.5.4: nothing at all is told at the limit of active clients.
#[test]
fn no_ages_in_a_full_house() {
    let mut store = store_with(&[5]);
    let request = vector!("pccrr-getseglist-1.bin");
    for (busy, len) in [(false, 8), (true, 0)] {
        let reply = read_all(answer_as(Role::HostedCache, request, &store, busy), &mut store, 5);
        assert_eq!(segments_of(&reply).blob.len(), len);
    }
}

/// 3.2.5.1 and the first step of all others: any message of another major version.
#[test]
fn other_versions_learn_ours() {
    let mut store = store_with(&[]);
    let (blocks, list) = (ask(0), ask_list(&[(0, 1)]));
    for request in [&blocks[..], &list, vector!("pccrr-getseglist-1.bin")] {
        let mut other = heapless::Vec::<u8, 256>::from_slice(request).unwrap();
        other[3] = 3;
        let reply = read_all(answer(&other, &store, true), &mut store, 256);
        assert_eq!(reply[..], vector!("pccrr-nego-resp-1.0-2.0.bin")[..]);
    }
}

#[test]
fn rot_ends_the_reply() {
    let mut store = store_with(&[5]);
    let mut reply = answer(&ask(5), &store, false).unwrap();
    store.rot(reply.block().unwrap().slot, 3);
    assert_eq!(reply.read(&mut store, &mut [0; 256]), Err(StoreError::Damaged));
}
