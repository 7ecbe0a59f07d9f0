//! Fact 47: what one client may have kept and done, and who gives way to whom.

use super::*;

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
